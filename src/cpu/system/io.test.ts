import { describe, expect, it } from "vitest";
import { DONE } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG } from "../state.ts";
import { CR4 } from "./control-bits.ts";
import { DebugRegisters } from "./debug-registers.ts";
import { HelperFixture } from "./helper-fixture.ts";
import { ioHelpers, PortIo } from "./io.ts";

const make = (f: HelperFixture) => ioHelpers(f.ctx, new PortIo(f.ctx, f.tlb, f.memory, new DebugRegisters(f.state)));

/** A TSS at 0x2000 whose I/O map (at offset 104) forbids everything but `allowed`. */
function tss(f: HelperFixture, allowed: readonly number[], limit = 104 + 8192): void {
  const s = f.state;
  s.setNum(L.SEG_BASE + L.SEG.tr * 8, 0x2000);
  s.setLo(L.SEG_LIMIT + L.SEG.tr * 4, limit);
  s.setLo(L.SEG_ATTR + L.SEG.tr * 4, 0x8b);
  f.memory.view.setUint16(0x2000 + 102, 104, true);
  f.memory.bytes.fill(0xff, 0x2000 + 104, 0x2000 + 104 + 8193);
  for (const port of allowed) f.memory.bytes[0x2000 + 104 + (port >>> 3)]! &= ~(1 << (port & 7));
}

describe("IN and OUT (SDM vol. 2)", () => {
  it("IN writes AL, AX, or EAX with zero extension", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.bus.ports.set(0x60, 0x12345678);
    const results = [1, 2, 4].map(width => {
      f.setGpr("rax", -1n);
      f.bus.ports.set(0x60, width === 1 ? 0x78 : width === 2 ? 0x5678 : 0x12345678);
      expect(t.in_imm!(f.record({ imm: 0x60, aux: width }))).toBe(DONE.next);
      return f.gpr("rax");
    });
    expect(results).toEqual([0xffff_ffff_ffff_ff78n, 0xffff_ffff_ffff_5678n, 0x1234_5678n]);
  });

  it("the port is the immediate byte, or DX", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.setGpr("rdx", 0xabcd_03f8);
    f.setGpr("rax", 0x11223344);
    t.in_dx!(f.record({ aux: 1 }));
    t.in_imm!(f.record({ imm: 0xffffff80 | 0, aux: 2 }));
    t.out_dx!(f.record({ aux: 1 }));
    t.out_imm!(f.record({ imm: 0x70, aux: 2 }));
    t.out_dx!(f.record({ aux: 4 }));
    t.out_dx!(f.record({ aux: 4, prefix: L.PFX.opSize16 }));
    expect(f.bus.log).toEqual([
      "in 3f8 1",
      "in 80 2",
      "out 3f8 1 ff",
      "out 70 2 ffff",
      "out 3f8 4 1122ffff",
      "out 3f8 2 ffff",
    ]);
  });

  it("an OUT that moves memory looks again", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.bus.portWrite = () => {
      f.bus.generation++;
    };
    expect(t.out_imm!(f.record({ imm: 0x92, aux: 1 }))).toBe(DONE.changed);
    expect(f.rip).toBe(0x1002);
    expect(f.tlb.log).toEqual(["generation"]);
  });
});

describe("I/O privilege (SDM vol. 1, 18.5)", () => {
  it("CPL ≤ IOPL needs no bitmap", () => {
    const f = new HelperFixture().protected32(3);
    f.state.setLo(L.FLAG_OTHER, 2 | (3 << 12));
    make(f).in_imm!(f.record({ imm: 1, aux: 1 }));
    expect(f.bus.log).toEqual(["in 1 1"]);
  });

  it("the bitmap decides when CPL > IOPL, each byte of the access", () => {
    const f = new HelperFixture().protected32(3);
    const t = make(f);
    tss(f, [0x3f8, 0x3f9, 0x3ff, 0x400]);
    const access = (port: number, width: number): string => {
      f.setGpr("rdx", port);
      return f.fault(() => t.in_dx!(f.record({ aux: width })));
    };
    expect(access(0x3f8, 1)).toBe("");
    expect(access(0x3f8, 2)).toBe("");
    expect(access(0x3f9, 2)).toBe("#gp(0)");
    expect(access(0x3f8, 4)).toBe("#gp(0)");
    expect(access(0x3ff, 2)).toBe("");
    expect(access(0x80, 1)).toBe("#gp(0)");
    expect(f.bus.log).toEqual(["in 3f8 1", "in 3f8 2", "in 3ff 2"]);
  });

  it("virtual-8086 mode always uses the bitmap, whatever IOPL is (18.5.2)", () => {
    const f = new HelperFixture().vm86(3);
    const t = make(f);
    tss(f, [0x20]);
    expect(f.fault(() => t.in_imm!(f.record({ imm: 0x20, aux: 1 })))).toBe("");
    expect(f.fault(() => t.in_imm!(f.record({ imm: 0x21, aux: 1 })))).toBe("#gp(0)");
  });

  it("a map beyond the limit, a short or a 16-bit TSS forbid all", () => {
    const f = new HelperFixture().protected32(3);
    const t = make(f);
    const access = (): string => f.fault(() => t.in_imm!(f.record({ imm: 0x20, aux: 1 })));
    tss(f, [0x20], 104 + 4);
    expect(access()).toBe("#gp(0)");
    tss(f, [0x20], 104 + 5);
    expect(access()).toBe("");
    tss(f, [0x20], 102);
    expect(access()).toBe("#gp(0)");
    tss(f, [0x20]);
    f.state.setLo(L.SEG_ATTR + L.SEG.tr * 4, 0x83);
    expect(access()).toBe("#gp(0)");
  });
});

describe("INS and OUTS (SDM vol. 2)", () => {
  it("move one element and the index register, by DF and address size", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.setGpr("rdx", 0x1f0);
    f.setGpr("rdi", 0x100);
    f.setGpr("rsi", 0xffff_0200n);
    f.bus.ports.set(0x1f0, 0xbeef);
    expect(t.ins!(f.record({ aux: 2, prefix: L.PFX.addrSize64, seg: L.SEG.es }))).toBe(DONE.next);
    expect(f.memory.view.getUint16(0x100, true)).toBe(0xbeef);
    expect(f.gpr("rdi")).toBe(0x102n);
    f.protected32();
    f.state.setLo(L.FLAG_OTHER, 2 | FLAG.df);
    f.memory.view.setUint32(0x200, 0x1234, true);
    expect(t.outs!(f.record({ aux: 4, prefix: L.PFX.addrSize16, seg: L.SEG.ds }))).toBe(DONE.next);
    expect(f.bus.log.at(-1)).toBe("out 1f0 4 1234");
    expect(f.gpr("rsi")).toBe(0xffff_01fcn);
  });

  it("REP: one element per call, RIP stays until the count is 0", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.setGpr("rcx", 3);
    f.setGpr("rdx", 0x1f0);
    const record = f.record({ aux: 2, prefix: L.PFX.repe | L.PFX.addrSize64, seg: L.SEG.es });
    expect([t.ins!(record), t.ins!(record), t.ins!(record)]).toEqual([DONE.changed, DONE.changed, DONE.next]);
    expect(f.rip).toBe(0x1000);
    expect(f.gpr("rcx")).toBe(0n);
    expect(f.gpr("rdi")).toBe(6n);
    expect(t.ins!(record)).toBe(DONE.next);
    expect(f.bus.log).toHaveLength(3);
  });

  it("INS to memory that faults does not read the port", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.memory.readOnlyFrom = 0x3000;
    f.setGpr("rdi", 0x3000);
    f.setGpr("rcx", 2);
    const record = f.record({ aux: 1, prefix: L.PFX.repe | L.PFX.addrSize64, seg: L.SEG.es });
    expect(f.fault(() => t.ins!(record))).toBe("#pf(2)");
    expect(f.bus.log).toEqual([]);
  });

  it("OUTS in 64-bit mode adds the base of FS", () => {
    const f = new HelperFixture();
    f.state.setNum(L.SEG_BASE + L.SEG.fs * 8, 0x1000);
    f.memory.bytes[0x1234] = 0x42;
    f.setGpr("rsi", 0x234);
    make(f).outs!(f.record({ aux: 1, prefix: L.PFX.addrSize64, seg: L.SEG.fs }));
    expect(f.bus.log).toEqual(["out 0 1 42"]);
  });
});

describe("I/O breakpoints (SDM vol. 3B, 18.2.4)", () => {
  it("are traps: the access happens, then #DB is pending", () => {
    const f = new HelperFixture();
    const s = f.state;
    s.setLo(L.CR4, CR4.pae | CR4.de);
    s.set64(L.DR, 0x70, 0);
    s.setLo(L.DR7, 0x401 | (2 << 16));
    const t = make(f);
    t.out_imm!(f.record({ imm: 0x71, aux: 1 }));
    expect(s.int(L.DEBUG_TRAP)).toBe(0);
    t.out_imm!(f.record({ imm: 0x70, aux: 1 }));
    expect(s.int(L.DEBUG_TRAP)).toBe(1);
    expect(s.int(L.PENDING_OFFSET)).toBe(L.PENDING.debugTrap);
    expect(s.int(L.COUNT)).toBe(0);
    expect(f.bus.log).toHaveLength(2);
  });
});
