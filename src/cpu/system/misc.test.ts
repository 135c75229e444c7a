import { describe, expect, it } from "vitest";
import { ACTIVITY } from "../../ports/processor.ts";
import { DONE } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG } from "../state.ts";
import { CR4 } from "./control-bits.ts";
import { HelperFixture } from "./helper-fixture.ts";
import { miscHelpers } from "./misc.ts";
import { MISC_ENABLE_RESET } from "./msr-index.ts";

const make = (f: HelperFixture) => {
  const calls: number[][] = [];
  const delivery = { softwareInterrupt: (...args: number[]) => void calls.push(args) };
  f.state.setLo(L.MSR.miscEnable, MISC_ENABLE_RESET);
  return { calls, t: miscHelpers(f.ctx, f.tlb, f.memory, delivery) };
};

describe("LGDT, LIDT, SGDT, SIDT (SDM vol. 2)", () => {
  it("64-bit mode: 2 bytes of limit, 8 of base", () => {
    const f = new HelperFixture();
    const { t } = make(f);
    f.memory.view.setUint16(0x100, 0x7f, true);
    f.memory.view.setBigUint64(0x102, 0xffff_fe00_0000_1000n, true);
    expect(t.lgdt!(f.memoryRecord(0x100))).toBe(DONE.next);
    expect([f.state.big(L.GDTR_BASE), f.state.lo(L.GDTR_LIMIT)]).toEqual([0xffff_fe00_0000_1000n, 0x7f]);
    t.sgdt!(f.memoryRecord(0x200));
    expect(f.memory.bytes.slice(0x200, 0x20b)).toEqual(
      new Uint8Array([0x7f, 0, 0, 0x10, 0, 0, 0, 0xfe, 0xff, 0xff, 0]),
    );
    f.memory.view.setBigUint64(0x102, 0x8000_0000_0000n, true);
    expect(f.fault(() => t.lidt!(f.memoryRecord(0x100)))).toBe("#gp(0)");
  });

  it("other modes: 4 bytes of base, of which 16-bit operand size loads 3", () => {
    const f = new HelperFixture().real();
    const { t } = make(f);
    f.memory.bytes.set([0xff, 0x03, 0x78, 0x56, 0x34, 0x12], 0x100);
    t.lidt!(f.memoryRecord(0x100));
    expect([f.state.big(L.IDTR_BASE), f.state.lo(L.IDTR_LIMIT)]).toEqual([0x12345678n, 0x3ff]);
    t.sidt!(f.memoryRecord(0x200));
    expect(f.memory.bytes.slice(0x200, 0x207)).toEqual(new Uint8Array([0xff, 0x03, 0x78, 0x56, 0x34, 0x12, 0]));
    t.lidt!(f.memoryRecord(0x100, { prefix: L.PFX.opSize16 }));
    expect(f.state.big(L.IDTR_BASE)).toBe(0x345678n);
  });

  it("loads need CPL 0, stores too with UMIP", () => {
    const f = new HelperFixture().long64(3);
    const { t } = make(f);
    expect(f.fault(() => t.lgdt!(f.memoryRecord(0)))).toBe("#gp(0)");
    expect(f.fault(() => t.sgdt!(f.memoryRecord(0)))).toBe("");
    f.state.setLo(L.CR4, CR4.pae | CR4.umip);
    for (const name of ["sgdt", "sidt", "sldt", "str"]) {
      expect(
        f.fault(() => t[name]!(f.memoryRecord(0))),
        name,
      ).toBe("#gp(0)");
    }
  });
});

describe("SLDT, STR, MOV from segment register (SDM vol. 2)", () => {
  it("zero-extend to a register, store 16 bits to memory", () => {
    const f = new HelperFixture();
    const { t } = make(f);
    f.state.setLo(L.SEG_SELECTOR + L.SEG.tr * 4, 0x40);
    f.state.setLo(L.SEG_SELECTOR + L.SEG.ldtr * 4, 0x50);
    f.state.setLo(L.SEG_SELECTOR + L.SEG.gs * 4, 0x60);
    f.setGpr("rbx", -1n);
    t.str!(f.record({ r2: L.REG.rbx, prefix: L.PFX.opSize16 }));
    expect(f.gpr("rbx")).toBe(0xffff_ffff_ffff_0040n);
    t.sldt!(f.record({ r2: L.REG.rbx }));
    expect(f.gpr("rbx")).toBe(0x50n);
    f.memory.view.setUint32(0x80, 0xffffffff, true);
    t.mov_from_sreg!(f.memoryRecord(0x80, { aux: 5, prefix: L.PFX.opSize64 }));
    expect(f.memory.view.getUint32(0x80, true)).toBe(0xffff0060);
    expect(f.fault(() => t.mov_from_sreg!(f.record({ aux: 6 })))).toBe("#ud");
  });

  it("SLDT and STR are #UD in real-address and virtual-8086 mode", () => {
    const f = new HelperFixture().real();
    const { t } = make(f);
    expect(f.fault(() => t.sldt!(f.record({})))).toBe("#ud");
    f.vm86(3);
    expect(f.fault(() => t.str!(f.record({})))).toBe("#ud");
  });
});

describe("HLT, INVLPG, MONITOR and other system instructions (SDM vol. 2)", () => {
  it("HLT stops behind itself, at CPL 0", () => {
    const f = new HelperFixture();
    const { t } = make(f);
    expect(t.hlt!(f.record({ length: 1 }))).toBe(DONE.changed);
    expect(f.state.int(L.ACTIVITY_OFFSET)).toBe(ACTIVITY.halted);
    expect(f.rip).toBe(0x1001);
    f.long64(3);
    expect(f.fault(() => t.hlt!(f.record({})))).toBe("#gp(0)");
  });

  it("INVLPG flushes the page of a linear address; one that is not canonical is ignored", () => {
    const f = new HelperFixture();
    const { t } = make(f);
    t.invlpg!(f.memoryRecord(-0x1000));
    f.state.setBig(L.SLOW_ADDRESS, 0x8000_0000_0000n);
    t.invlpg!(f.record({ prefix: L.PFX.memory }));
    f.protected32();
    f.state.setNum(L.SEG_BASE + L.SEG.ds * 8, 0x10000);
    t.invlpg!(f.memoryRecord(0x2345, { seg: L.SEG.ds }));
    expect(f.tlb.log).toEqual(["page -1000", "page 12345"]);
    f.protected32(3);
    expect(f.fault(() => t.invlpg!(f.memoryRecord(0)))).toBe("#gp(0)");
  });

  it("INVD and WBINVD need CPL 0; CLFLUSH checks its byte like a load", () => {
    const f = new HelperFixture().long64(3);
    const { t } = make(f);
    expect(f.fault(() => t.wbinvd!(0))).toBe("#gp(0)");
    expect(f.fault(() => t.invd!(0))).toBe("#gp(0)");
    f.memory.faultAt = 0x1000;
    expect(f.fault(() => t.clflush!(f.memoryRecord(0xfff)))).toBe("");
    expect(f.fault(() => t.clflushopt!(f.memoryRecord(0x1000)))).toBe("#pf(0)");
  });

  it("MONITOR and MWAIT: CPL 0, ECX checked, MISC_ENABLE[18]", () => {
    const f = new HelperFixture();
    const { t } = make(f);
    f.setGpr("rax", 0x123);
    expect(t.monitor!(f.record({ prefix: L.PFX.addrSize64, seg: L.SEG.ds }))).toBe(DONE.next);
    expect([f.state.num(L.MONITOR_ADDRESS), f.state.int(L.MONITOR_ARMED)]).toEqual([0x123, 1]);
    expect(t.mwait!(f.record({}))).toBe(DONE.next);
    f.setGpr("rcx", 1);
    expect(f.fault(() => t.monitor!(f.record({})))).toBe("#gp(0)");
    expect(f.fault(() => t.mwait!(f.record({})))).toBe("");
    f.setGpr("rcx", 2);
    expect(f.fault(() => t.mwait!(f.record({})))).toBe("#gp(0)");
    f.state.setLo(L.MSR.miscEnable, 0);
    expect(f.fault(() => t.mwait!(f.record({})))).toBe("#ud");
    f.long64(3);
    expect(f.fault(() => t.monitor!(f.record({})))).toBe("#ud");
  });

  it("what the processor does not have is #UD", () => {
    const f = new HelperFixture();
    const { t } = make(f);
    for (const name of ["rsm", "ud2", "ud0", "ud1", "vmcall", "vmlaunch", "vmresume", "vmxoff", "getsec", "invpcid"]) {
      expect(
        f.fault(() => t[name]!(f.record({}))),
        name,
      ).toBe("#ud");
    }
  });
});

describe("software interrupts (SDM vol. 2A, INT n)", () => {
  it("name their vector, kind and return address", () => {
    const f = new HelperFixture();
    const { t, calls } = make(f);
    expect(t.int_n!(f.record({ imm: 0x80 - 0x100, length: 2 }))).toBe(DONE.changed);
    t.int3!(f.record({ length: 1 }));
    t.int1!(f.record({ length: 1 }));
    expect(calls).toEqual([
      [0x80, 0, 0x1002],
      [3, 1, 0x1001],
      [1, 3, 0x1001],
    ]);
  });

  it("INTO only with OF", () => {
    const f = new HelperFixture().protected32();
    const { t, calls } = make(f);
    expect(t.into!(f.record({ length: 1 }))).toBe(DONE.next);
    f.state.eflags = 2 | FLAG.of;
    expect(t.into!(f.record({ length: 1 }))).toBe(DONE.changed);
    expect(calls).toEqual([[4, 2, 0x1001]]);
  });
});
