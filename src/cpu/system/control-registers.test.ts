import { describe, expect, it } from "vitest";
import { DONE } from "../context.ts";
import * as L from "../layout.ts";
import { CR0, CR4, EFER } from "./control-bits.ts";
import { ControlRegisters, controlRegisterHelpers } from "./control-registers.ts";
import { HelperFixture } from "./helper-fixture.ts";

const make = (f: HelperFixture) => {
  const table = controlRegisterHelpers(f.ctx, new ControlRegisters(f.ctx, f.tlb, f.seg, f.pdptes), f.memory);
  const write = (number: number, value: bigint | number): string => {
    f.setGpr("rbx", value);
    return f.fault(() => table.mov_to_cr!(f.record({ aux: number, r2: L.REG.rbx, length: 3 })));
  };
  const read = (number: number): bigint => {
    table.mov_from_cr!(f.record({ aux: number, r2: L.REG.rbx, length: 3 }));
    return f.gpr("rbx");
  };
  return { table, write, read };
};
const PG = 0x80000000;

describe("MOV to and from control registers (SDM vol. 2B)", () => {
  it("numbers that name no register are #UD, before the privilege check", () => {
    const f = new HelperFixture().long64(3);
    const m = make(f);
    for (const n of [1, 5, 6, 7, 9, 10, 15]) expect(m.write(n, 0)).toBe("#ud");
    for (const n of [0, 2, 3, 4, 8]) expect(m.write(n, 0)).toBe("#gp(0)");
    expect(f.fault(() => m.table.mov_from_cr!(f.record({ aux: 0 })))).toBe("#gp(0)");
  });

  it("move 64 bits in 64-bit mode and 32 otherwise", () => {
    const f = new HelperFixture();
    const m = make(f);
    expect(m.write(2, 0x1234_5678_9abc_def0n)).toBe("");
    expect(m.read(2)).toBe(0x1234_5678_9abc_def0n);
    f.protected32();
    expect(m.read(2)).toBe(0x9abc_def0n);
    expect(m.write(2, 0xffff_ffff_0000_0001n)).toBe("");
    expect(f.state.big(L.CR2)).toBe(1n);
  });

  it("bits 63:32 of CR0, CR4 and CR8 must be 0", () => {
    const m = make(new HelperFixture());
    for (const n of [0, 4, 8]) expect(m.write(n, 1n << 32n)).toBe("#gp(0)");
  });

  it("CR8 is the APIC's task priority, 4 bits", () => {
    const f = new HelperFixture();
    const m = make(f);
    expect(m.write(8, 0xb)).toBe("");
    expect(f.apic.cr8).toBe(0xb);
    expect(m.read(8)).toBe(0xbn);
    expect(m.write(8, 0x10)).toBe("#gp(0)");
  });
});

describe("CR0 (SDM vol. 3A, 2.5, 9.8.5)", () => {
  it("PG without PE and NW without CD are #GP(0)", () => {
    const f = new HelperFixture().protected32();
    const m = make(f);
    expect(m.write(0, PG)).toBe("#gp(0)");
    expect(m.write(0, CR0.pe | CR0.nw)).toBe("#gp(0)");
    expect(m.write(0, CR0.pe | CR0.nw | CR0.cd)).toBe("");
  });

  it("ET reads 1 and reserved bits are ignored", () => {
    const m = make(new HelperFixture().protected32());
    expect(m.write(0, 0x1ff5_ffc1n)).toBe("");
    expect(m.read(0)).toBe(0x0005_0011n);
    expect(m.write(0, 1)).toBe("");
    expect(m.read(0)).toBe(0x11n);
  });

  it("entering protected mode recomputes the segments and looks again", () => {
    const f = new HelperFixture().real();
    const m = make(f);
    f.setGpr("rbx", CR0.pe);
    expect(m.table.mov_to_cr!(f.record({ aux: 0, r2: L.REG.rbx, length: 3 }))).toBe(DONE.changed);
    expect(f.rip).toBe(0x1003);
    expect(f.log).toEqual(["recompute"]);
    expect(f.tlb.log).toEqual(["bank"]);
  });

  it("paging on with LME sets LMA; it needs PAE, CS.L = 0 and a 32-bit TSS", () => {
    const f = new HelperFixture().protected32();
    const m = make(f);
    const s = f.state;
    s.setLo(L.EFER, EFER.lme);
    expect(m.write(0, PG + 1)).toBe("#gp(0)");
    s.setLo(L.CR4, CR4.pae);
    s.setLo(L.SEG_ATTR + L.SEG.cs * 4, 0xa09b);
    expect(m.write(0, PG + 1)).toBe("#gp(0)");
    s.setLo(L.SEG_ATTR + L.SEG.cs * 4, 0xc09b);
    for (const type of [1, 3]) {
      s.setLo(L.SEG_ATTR + L.SEG.tr * 4, 0x80 | type);
      expect(m.write(0, PG + 1)).toBe("#gp(0)");
    }
    s.setLo(L.SEG_ATTR + L.SEG.tr * 4, 0x8b);
    expect(m.write(0, PG + 1)).toBe("");
    expect(s.lo(L.EFER)).toBe(EFER.lme | EFER.lma);
    expect(f.tlb.log).toEqual(["all"]);
    expect(f.log).toEqual(["recompute"]);
  });

  it("paging off leaves IA-32e mode from compatibility mode, never from 64-bit mode or with PCIDE", () => {
    const f = new HelperFixture();
    const m = make(f);
    expect(m.write(0, 1)).toBe("#gp(0)");
    f.state.setLo(L.CODE_MODE, 1);
    f.state.setLo(L.CR4, CR4.pae | CR4.pcide);
    expect(m.write(0, 1)).toBe("#gp(0)");
    f.state.setLo(L.CR4, CR4.pae);
    expect(m.write(0, 1)).toBe("");
    expect(f.state.lo(L.EFER) & EFER.lma).toBe(0);
  });

  it("PAE paging on loads the PDPTEs; a bad one is #GP(0) and leaves CR0 as it was (4.4.1)", () => {
    const f = new HelperFixture().protected32();
    const m = make(f);
    f.state.setLo(L.CR4, CR4.pae);
    f.badPdpte = true;
    expect(m.write(0, PG + 1)).toBe("#gp(0)");
    f.badPdpte = false;
    f.log.length = 0;
    expect(m.write(0, PG + 1)).toBe("");
    expect(f.log).toEqual(["pdptes", "recompute"]);
    f.log.length = 0;
    expect(m.write(0, PG + CR0.cd + 1)).toBe("");
    expect(f.log).toEqual(["pdptes"]);
  });

  it("WP drops translations, TS does not", () => {
    const f = new HelperFixture();
    const m = make(f);
    const cr0 = f.state.lo(L.CR0);
    expect(m.write(0, cr0 + CR0.ts)).toBe("");
    expect(f.tlb.log).toEqual([]);
    expect(m.write(0, cr0 + CR0.wp)).toBe("");
    expect(f.tlb.log).toEqual(["all"]);
  });

  it("LMSW sets PE and cannot clear it; it changes bits 3:0 only", () => {
    const f = new HelperFixture().real();
    const m = make(f);
    f.setGpr("rbx", 0xffff_fff9n);
    expect(m.table.lmsw!(f.record({ r2: L.REG.rbx }))).toBe(DONE.changed);
    expect(f.state.lo(L.CR0)).toBe(0x19);
    f.setGpr("rbx", 6);
    m.table.lmsw!(f.record({ r2: L.REG.rbx }));
    expect(f.state.lo(L.CR0)).toBe(0x17);
    f.memory.view.setUint16(0x80, 8, true);
    m.table.lmsw!(f.memoryRecord(0x80));
    expect(f.state.lo(L.CR0)).toBe(0x19);
    f.protected32(3);
    expect(f.fault(() => m.table.lmsw!(f.record({})))).toBe("#gp(0)");
  });

  it("CLTS clears TS at CPL 0", () => {
    const f = new HelperFixture();
    const m = make(f);
    expect(m.table.clts!(f.record({}))).toBe(DONE.next);
    f.state.setLo(L.CR0, f.state.lo(L.CR0) | CR0.ts);
    expect(m.table.clts!(f.record({}))).toBe(DONE.changed);
    expect(f.state.lo(L.CR0) & CR0.ts).toBe(0);
    f.long64(3);
    expect(f.fault(() => m.table.clts!(f.record({})))).toBe("#gp(0)");
  });

  it("SMSW stores the machine status word; UMIP makes it privileged", () => {
    const f = new HelperFixture().long64(3);
    const m = make(f);
    f.setGpr("rbx", -1n);
    m.table.smsw!(f.record({ r2: L.REG.rbx, prefix: L.PFX.opSize16 }));
    expect(f.gpr("rbx")).toBe(0xffff_ffff_ffff_0031n);
    m.table.smsw!(f.record({ r2: L.REG.rbx }));
    expect(f.gpr("rbx")).toBe(0x8000_0031n);
    f.memory.view.setUint32(0x80, 0xffffffff, true);
    m.table.smsw!(f.memoryRecord(0x80, { prefix: L.PFX.opSize64 }));
    expect(f.memory.view.getUint32(0x80, true)).toBe(0xffff0031);
    f.state.setLo(L.CR4, CR4.pae | CR4.umip);
    expect(f.fault(() => m.table.smsw!(f.record({})))).toBe("#gp(0)");
  });
});

describe("CR3 (SDM vol. 3A, 4.5, 4.10.4.1)", () => {
  it("drops what is not global", () => {
    const f = new HelperFixture();
    const m = make(f);
    expect(m.write(3, 0xff_ffff_f018n)).toBe("");
    expect(m.read(3)).toBe(0xff_ffff_f018n);
    expect(f.tlb.log).toEqual(["non-global"]);
  });

  it("bits from MAXPHYADDR on are reserved; bit 63 asks for no flush when PCIDE is set", () => {
    const f = new HelperFixture();
    const m = make(f);
    expect(m.write(3, 1n << 40n)).toBe("#gp(0)");
    expect(m.write(3, (1n << 63n) + 0x1000n)).toBe("#gp(0)");
    f.state.setLo(L.CR4, CR4.pae | CR4.pcide);
    expect(m.write(3, (1n << 63n) + 0x1005n)).toBe("");
    expect(m.read(3)).toBe(0x1005n);
    expect(m.write(3, (1n << 62n) + 0x1005n)).toBe("#gp(0)");
  });

  it("loads the PDPTEs in PAE paging, or faults and stays", () => {
    const f = new HelperFixture().protected32();
    const m = make(f);
    f.state.setLo(L.CR0, CR0.pe | CR0.pg | CR0.et);
    f.state.setLo(L.CR4, CR4.pae);
    f.badPdpte = true;
    expect(m.write(3, 0x5000)).toBe("#gp(0)");
    f.badPdpte = false;
    expect(m.write(3, 0x5020)).toBe("");
    expect(f.log).toEqual(["pdptes", "pdptes"]);
  });
});

describe("CR4 (SDM vol. 3A, 2.5)", () => {
  it("reserved bits, and bits of absent features, are #GP(0)", () => {
    const f = new HelperFixture();
    const m = make(f);
    for (const bit of [12, 13, 14, 15, 17, 18, 19, 22, 23, 24, 31])
      expect(m.write(4, BigInt(CR4.pae) | (1n << BigInt(bit)))).toBe("#gp(0)");
    const all = CR4.umip | CR4.smep | CR4.smap | CR4.fsgsbase | 0x7ff;
    expect(m.write(4, all)).toBe("");
    const g = new HelperFixture("GenuineIntel", ["-smep", "+xsave"]);
    const n = make(g);
    expect(n.write(4, CR4.pae | CR4.smep)).toBe("#gp(0)");
    expect(n.write(4, CR4.pae | CR4.osxsave)).toBe("");
  });

  it("PAE cannot be cleared in IA-32e mode", () => {
    expect(make(new HelperFixture()).write(4, 0)).toBe("#gp(0)");
    expect(make(new HelperFixture().protected32()).write(4, 0)).toBe("");
  });

  it("PCIDE goes on only in IA-32e mode with CR3[11:0] = 0 (4.10.1)", () => {
    const f = new HelperFixture("GenuineIntel", ["+pcid"]);
    const m = make(f);
    f.state.setLo(L.CR3, 0x1001);
    expect(m.write(4, CR4.pae | CR4.pcide)).toBe("#gp(0)");
    f.state.setLo(L.CR3, 0x1000);
    expect(m.write(4, CR4.pae | CR4.pcide)).toBe("");
    f.protected32();
    expect(m.write(4, CR4.pae | CR4.pcide)).toBe("#gp(0)");
  });

  it("paging bits flush all, SMAP chooses the bank anew, others do neither", () => {
    for (const [bits, flushes] of [
      [CR4.pge, ["all"]],
      [CR4.pse, ["all"]],
      [CR4.smep, ["all"]],
      [CR4.smap, ["all", "bank"]],
      [CR4.osfxsr | CR4.tsd | CR4.de | CR4.umip, []],
    ] as const) {
      const f = new HelperFixture();
      expect(make(f).write(4, CR4.pae | bits)).toBe("");
      expect(f.tlb.log).toEqual(flushes);
    }
  });
});

describe("FP_TRAP (SDM vol. 3A, 2.5 and 13.1)", () => {
  it("SSE needs OSFXSR, EM = 0, TS = 0; MMX needs EM = 0, TS = 0", () => {
    const f = new HelperFixture();
    const m = make(f);
    const cr0 = f.state.int(L.CR0);
    const trapAfter = (number: number, value: number): number => {
      expect(m.write(number, BigInt.asUintN(32, BigInt(value)))).toBe("");
      return f.state.int(L.FP_TRAP);
    };
    expect(trapAfter(0, cr0)).toBe(1);
    expect(trapAfter(4, CR4.pae | CR4.osfxsr)).toBe(0);
    expect(trapAfter(0, cr0 | CR0.ts)).toBe(3);
    m.table.clts!(f.record({}));
    expect(f.state.int(L.FP_TRAP)).toBe(0);
    expect(trapAfter(0, cr0 | CR0.em)).toBe(3);
  });
});

describe("XGETBV and XSETBV (SDM vol. 2)", () => {
  it("#UD without CR4.OSXSAVE; XCR0 bit 0 must stay 1; CPL 0", () => {
    const f = new HelperFixture("GenuineIntel", ["+xsave"]);
    const { table } = make(f);
    const set = (value: bigint): string => {
      f.setGpr("rax", value & 0xffffffffn);
      f.setGpr("rdx", value >> 32n);
      return f.fault(() => table.xsetbv!(f.record({})));
    };
    expect(set(3n)).toBe("#ud");
    expect(f.fault(() => table.xgetbv!(f.record({})))).toBe("#ud");
    f.state.setLo(L.CR4, CR4.pae | CR4.osxsave);
    for (const bad of [0n, 2n, 7n, 1n + (1n << 32n)]) expect(set(bad)).toBe("#gp(0)");
    expect(set(3n)).toBe("");
    f.state.setLo(L.CPL, 3);
    expect(set(1n)).toBe("#gp(0)");
    table.xgetbv!(f.record({}));
    expect([f.gpr("rax"), f.gpr("rdx")]).toEqual([3n, 0n]);
    f.setGpr("rcx", 1);
    expect(f.fault(() => table.xgetbv!(f.record({})))).toBe("#gp(0)");
    expect(set(3n)).toBe("#gp(0)");
  });
});
