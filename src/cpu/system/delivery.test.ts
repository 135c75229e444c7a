import { describe, expect, test } from "vitest";
import { EVENT } from "../../ports/events.ts";
import { ACTIVITY } from "../../ports/processor.ts";
import { EXC } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG, MODE } from "../state.ts";
import { KIND } from "./delivery-kind.ts";
import { makesDoubleFault } from "./exceptions.ts";
import { faultOf } from "./mmu-fixture.ts";
import { AT, SEL, SystemFixture } from "./segmentation-fixture.ts";

const IF = FLAG.if;
/** Frame in 8-byte words from RSP upwards; high halves must be 0. */
function frame(f: SystemFixture, count: number): number[] {
  return Array.from({ length: count }, (_, i) => f.peek(f.rsp + i * 8) + f.peek(f.rsp + i * 8 + 4) * 2 ** 32);
}
const deliver = (f: SystemFixture, vector: number, kind: number, error = -1, rip = f.rip): [number, number] | null =>
  faultOf(() => f.delivery.deliver(vector, kind, error, rip));

describe("64-bit mode (SDM vol. 3A, 6.14)", () => {
  function user(): SystemFixture {
    const f = new SystemFixture().longMode(3);
    f.longGate(AT.idt + 0x80 * 16, SEL.long0, 0x1234_00009000, 0xee);
    f.longGate(AT.idt + 14 * 16, SEL.long0, 0x9000, 0x8f);
    f.rip = 0x5000;
    f.rsp = 0x7008;
    f.state.eflags = 0x2 | IF | FLAG.cf | FLAG.zf | FLAG.tf | FLAG.nt;
    return f;
  }
  test("INT n from privilege 3: RSP0, frame SS RSP RFLAGS CS RIP, IF and TF and NT cleared, SS null (6.14.2-6.14.4)", () => {
    const f = user();
    f.delivery.softwareInterrupt(0x80, KIND.softwareInt, 0x5002);
    expect(f.rsp).toBe(0x8000 - 40);
    expect(frame(f, 5)).toEqual([
      0x5002,
      SEL.long3,
      0x2 | IF | FLAG.cf | FLAG.zf | FLAG.tf | FLAG.nt,
      0x7008,
      SEL.data3,
    ]);
    expect(f.rip).toBe(0x1234_00009000);
    expect(f.state.eflags).toBe(0x2 | FLAG.cf | FLAG.zf);
    expect([f.state.cpl, f.state.selector(L.SEG.cs), f.state.selector(L.SEG.ss)]).toEqual([0, SEL.long0, 0]);
  });
  test("a fault pushes its error code and RF = 1; a trap gate leaves IF (6.12.1.2; vol. 3B, 18.3.1.1)", () => {
    const f = user();
    expect(deliver(f, 14, KIND.fault, 7)).toBe(null);
    expect(f.rsp).toBe(0x8000 - 48);
    expect(frame(f, 6)[0]).toBe(7);
    expect(frame(f, 6)[3]! & FLAG.rf).toBe(FLAG.rf);
    expect(f.state.eflags & (IF | FLAG.rf)).toBe(IF);
  });
  test("without a change of privilege RSP is aligned down to 16 bytes and SS stays (6.14.2)", () => {
    const f = new SystemFixture().longMode(0);
    f.longGate(AT.idt + 0x30 * 16, SEL.long0, 0x9000, 0x8e);
    f.rsp = 0x7009;
    f.rip = 0x5000;
    expect(deliver(f, 0x30, KIND.external)).toBe(null);
    expect(f.rsp).toBe(0x7000 - 40);
    expect(frame(f, 5)).toEqual([0x5000, SEL.long0, 2, 0x7009, SEL.data0]);
    expect(f.state.selector(L.SEG.ss)).toBe(SEL.data0);
  });
  test("IST replaces the stack even without a change of privilege (6.14.5)", () => {
    const f = new SystemFixture().longMode(0);
    f.longGate(AT.idt + 2 * 16, SEL.long0, 0x9000, 0x8e, 3);
    f.poke(AT.tss + 36 + 2 * 8, 0x9ff8, 0);
    f.rsp = 0x7000;
    expect(deliver(f, 2, KIND.nmi)).toBe(null);
    expect(f.rsp).toBe(0x9ff0 - 40);
    expect(f.state.int(L.NMI_BLOCKED)).toBe(1);
  });
  test("addresses in the upper half and the frame across two pages", () => {
    const f = user();
    f.map(-0x1000, 0x150000, 3);
    f.map(-0x2000, 0x151000, 3);
    f.poke(AT.tss + 4, 0xfffff010, 0xffffffff);
    f.delivery.softwareInterrupt(0x80, KIND.softwareInt, 0x5002);
    expect(f.rsp).toBe(-0x1000 + 0x10 - 40);
    expect([f.peek(0x151fe8), f.peek(0x150000), f.peek(0x150008)]).toEqual([0x5002, 0x7008, SEL.data3]);
  });
  test.each([
    ["vector beyond the IDT limit", (f: SystemFixture) => f.state.setLo(L.IDTR_LIMIT, 0x80 * 16 + 14), EXC.gp, 0x402],
    ["a gate of another type", (f: SystemFixture) => f.longGate(AT.idt + 0x800, SEL.long0, 0, 0xe5), EXC.gp, 0x402],
    ["gate DPL below CPL", (f: SystemFixture) => f.longGate(AT.idt + 0x800, SEL.long0, 0, 0x8e), EXC.gp, 0x402],
    ["gate not present", (f: SystemFixture) => f.longGate(AT.idt + 0x800, SEL.long0, 0, 0x6e), EXC.np, 0x402],
    ["null code selector", (f: SystemFixture) => f.longGate(AT.idt + 0x800, 0, 0, 0xee), EXC.gp, 0],
    ["code selector beyond the GDT", (f: SystemFixture) => f.longGate(AT.idt + 0x800, 0x80, 0, 0xee), EXC.gp, 0x80],
    ["a data segment", (f: SystemFixture) => f.longGate(AT.idt + 0x800, SEL.data0, 0, 0xee), EXC.gp, SEL.data0],
    ["a 32-bit code segment", (f: SystemFixture) => f.longGate(AT.idt + 0x800, SEL.code0, 0, 0xee), EXC.gp, SEL.code0],
    ["TSS too short for RSP0", (f: SystemFixture) => f.state.setLo(L.SEG_LIMIT + L.SEG.tr * 4, 10), EXC.ts, SEL.tss],
    ["RSP0 not canonical", (f: SystemFixture) => f.poke(AT.tss + 8, 0x8000), EXC.ss, 0],
    ["handler not canonical", (f: SystemFixture) => f.longGate(AT.idt + 0x800, SEL.long0, 2 ** 47, 0xee), EXC.gp, 0],
  ] as const)("%s: error code of INT n, and with EXT for a hardware interrupt (6.13)", (_, spoil, vector, error) => {
    const f = user();
    spoil(f);
    const before = f.state.u8.slice(0x1000, 0x1000 + L.SAVED_SIZE);
    expect(faultOf(() => f.delivery.softwareInterrupt(0x80, KIND.softwareInt, 0x5002))).toEqual([vector, error]);
    expect(f.state.u8.slice(0x1000, 0x1000 + L.SAVED_SIZE)).toEqual(before);
    if (_ !== "gate DPL below CPL") expect(deliver(f, 0x80, KIND.external)).toEqual([vector, error | 1]);
    else expect(deliver(f, 0x80, KIND.external)).toBe(null);
  });
  test("code segment not present: #NP(selector)", () => {
    const f = user();
    f.descriptor(AT.gdt + SEL.long0, 0, 0xfffff, 0xa01b);
    expect(faultOf(() => f.delivery.softwareInterrupt(0x80, 0, 0))).toEqual([EXC.np, SEL.long0]);
  });
  test("from compatibility mode the frame is 64 bits wide, and 64-bit mode is entered", () => {
    const f = user();
    f.segments(3, SEL.code3, 0xc09b);
    expect(f.state.codeMode).toBe(MODE.code32);
    f.delivery.softwareInterrupt(0x80, KIND.softwareInt, 0x5002);
    expect(frame(f, 5).slice(0, 2)).toEqual([0x5002, SEL.code3]);
    expect(f.state.codeMode).toBe(MODE.code64);
  });
});

describe("protected mode (SDM vol. 3A, 6.12)", () => {
  function at(cpl: number): SystemFixture {
    const f = new SystemFixture().protectedMode(cpl);
    f.gate(AT.idt + 0x80 * 8, SEL.code0, 0x12345678, 0xee);
    f.gate(AT.idt + 0x81 * 8, SEL.code0, 0x1234, 0xe6);
    f.rip = 0x5000;
    f.rsp = 0x7000;
    f.state.eflags = 0x3202;
    return f;
  }
  const words = (f: SystemFixture, count: number): number[] => f.words(f.rsp, count);
  test("inner privilege, 32-bit gate: SS ESP EFLAGS CS EIP on the stack of the TSS (6.12.1, figure 6-4)", () => {
    const f = at(3);
    f.delivery.softwareInterrupt(0x80, KIND.softwareInt, 0x5002);
    expect(f.rsp).toBe(0x8000 - 20);
    expect(words(f, 5)).toEqual([0x5002, SEL.code3, 0x3202, 0x7000, SEL.data3]);
    expect([f.rip, f.state.cpl, f.state.selector(L.SEG.ss), f.state.eflags]).toEqual([
      0x12345678,
      0,
      SEL.data0,
      0x3002,
    ]);
  });
  test("inner privilege, 16-bit gate pushes 16-bit words", () => {
    const f = at(3);
    f.delivery.softwareInterrupt(0x81, KIND.softwareInt, 0x5002);
    expect(f.rsp).toBe(0x8000 - 10);
    expect([0, 2, 4, 6, 8].map(i => f.peek16(f.rsp + i))).toEqual([0x5002, SEL.code3, 0x3202, 0x7000, SEL.data3]);
    expect(f.rip).toBe(0x1234);
  });
  test("same privilege: EFLAGS CS EIP and the error code on the present stack", () => {
    const f = at(0);
    f.gate(AT.idt + 13 * 8, SEL.code0, 0x9000, 0x8f);
    expect(deliver(f, 13, KIND.fault, 0x50)).toBe(null);
    expect(f.rsp).toBe(0x7000 - 16);
    expect(words(f, 4)).toEqual([0x50, 0x5000, SEL.code0, 0x3202 | FLAG.rf]);
    expect(f.state.eflags & IF).toBe(IF);
  });
  test("a conforming handler runs at the present privilege", () => {
    const f = at(3);
    f.gate(AT.idt + 0x80 * 8, SEL.conforming0, 0x9000, 0xee);
    f.delivery.softwareInterrupt(0x80, KIND.softwareInt, 0x5002);
    expect([f.state.cpl, f.state.selector(L.SEG.cs), f.rsp]).toEqual([3, SEL.conforming0 | 3, 0x7000 - 12]);
  });
  test.each([
    ["null SS0", (f: SystemFixture) => f.poke(AT.tss + 8, 0), EXC.ts, 0],
    ["SS0 of the wrong privilege", (f: SystemFixture) => f.poke(AT.tss + 8, SEL.data3), EXC.ts, SEL.data3 & ~3],
    ["SS0 beyond the GDT", (f: SystemFixture) => f.poke(AT.tss + 8, 0x80), EXC.ts, 0x80],
    ["SS0 not present", (f: SystemFixture) => f.descriptor(AT.gdt + SEL.data0, 0, 0xfffff, 0xc013), EXC.ss, SEL.data0],
    [
      "no room on the new stack",
      (f: SystemFixture) => f.descriptor(AT.gdt + SEL.data0, 0, 0x7ffe, 0x4093),
      EXC.ss,
      SEL.data0,
    ],
    [
      "offset beyond the code segment",
      (f: SystemFixture) => f.descriptor(AT.gdt + SEL.code0, 0, 0xffff, 0x409b),
      EXC.gp,
      0,
    ],
    ["TSS too short", (f: SystemFixture) => f.state.setLo(L.SEG_LIMIT + L.SEG.tr * 4, 8), EXC.ts, SEL.tss],
    ["vector beyond the IDT", (f: SystemFixture) => f.state.setLo(L.IDTR_LIMIT, 0x80 * 8 + 6), EXC.gp, 0x402],
  ] as const)("%s (vol. 2, INT n)", (_, spoil, vector, error) => {
    const f = at(3);
    spoil(f);
    expect(faultOf(() => f.delivery.softwareInterrupt(0x80, 0, 0x5002))).toEqual([vector, error]);
    expect(deliver(f, 0x80, KIND.external)).toEqual([vector, error | 1]);
    expect([f.rip, f.rsp, f.state.cpl]).toEqual([0x5000, 0x7000, 3]);
  });
  test("no room on the present stack: #SS(0), with EXT for hardware", () => {
    const f = at(0);
    f.state.setLo(L.SEG_LIMIT + L.SEG.ss * 4, 0x6fff);
    f.state.setLo(L.SEG_ATTR + L.SEG.ss * 4, 0x4097);
    expect(faultOf(() => f.delivery.softwareInterrupt(0x80, 0, 0))).toEqual([EXC.ss, 0]);
    expect(deliver(f, 0x80, KIND.external)).toEqual([EXC.ss, 1]);
    // Room for three words, not for the error code too.
    f.gate(AT.idt + 13 * 8, SEL.code0, 0x9000, 0x8f);
    f.state.setLo(L.SEG_LIMIT + L.SEG.ss * 4, 0x6ff3);
    expect(deliver(f, 13, KIND.fault, 0)).toEqual([EXC.ss, 1]);
    f.state.setLo(L.SEG_LIMIT + L.SEG.ss * 4, 0x6fef);
    expect(deliver(f, 13, KIND.fault, 0)).toBe(null);
  });
});

describe("virtual-8086 mode (SDM vol. 3A, 20.2, 20.3)", () => {
  function v86(iopl: number, cr4 = 0): SystemFixture {
    const f = new SystemFixture().protectedMode(3);
    f.gate(AT.idt + 0x21 * 8, SEL.code0, 0x9000, 0xee);
    f.state.setLo(L.CR4, cr4);
    f.state.eflags = 0x202 | FLAG.vm | (iopl << 12);
    for (let seg = 0; seg < 6; seg++) f.seg.setVm86(seg, 0x100 + seg);
    f.seg.recompute();
    f.rip = 0x50;
    f.rsp = 0x200;
    f.poke(0x21 * 4, 0x12345678);
    return f;
  }
  test("an interrupt pushes GS FS DS ES SS ESP EFLAGS CS EIP and nulls the data segments (20.3.1)", () => {
    const f = v86(0);
    expect(deliver(f, 0x21, KIND.external)).toBe(null);
    expect(f.rsp).toBe(0x8000 - 36);
    expect(f.words(f.rsp, 9)).toEqual([0x50, 0x101, 0x202 | FLAG.vm, 0x200, 0x102, 0x100, 0x103, 0x104, 0x105]);
    expect(f.state.cpl).toBe(0);
    expect(f.state.eflags & (FLAG.vm | IF)).toBe(0);
    for (const seg of [L.SEG.es, L.SEG.ds, L.SEG.fs, L.SEG.gs])
      expect(f.state.segAttr(seg) & L.ATTR_UNUSABLE).not.toBe(0);
  });
  test("INT n needs IOPL 3, else #GP(0); INT3 does not (20.2.7)", () => {
    const f = v86(2);
    expect(faultOf(() => f.delivery.softwareInterrupt(0x21, KIND.softwareInt, 0x52))).toEqual([EXC.gp, 0]);
    f.gate(AT.idt + 3 * 8, SEL.code0, 0x9000, 0xee);
    expect(faultOf(() => f.delivery.softwareInterrupt(3, KIND.int3, 0x51))).toBe(null);
  });
  test("a handler of privilege other than 0: #GP(selector)", () => {
    const f = v86(3);
    f.gate(AT.idt + 0x21 * 8, SEL.code3 & ~3, 0x9000, 0xee);
    expect(faultOf(() => f.delivery.softwareInterrupt(0x21, 0, 0x52))).toEqual([EXC.gp, SEL.code3 & ~3]);
  });
  test("VME with the redirection bit clear goes to the 8086 handler; IOPL < 3 uses VIF (20.3.3, methods 5 and 6)", () => {
    const f = v86(3, 1);
    f.poke16(AT.tss + 102, 0x44);
    f.delivery.softwareInterrupt(0x21, KIND.softwareInt, 0x52);
    expect([f.rip, f.state.selector(L.SEG.cs), f.rsp]).toEqual([0x5678, 0x1234, 0x1fa]);
    const stack = 0x1020 + 0x1fa;
    expect([0, 2, 4].map(i => f.peek16(stack + i))).toEqual([0x52, 0x101, 0x3202]);
    expect(f.state.eflags & (FLAG.vm | IF)).toBe(FLAG.vm);
    const g = v86(0, 1);
    g.poke16(AT.tss + 102, 0x44);
    g.state.eflags = 0x2 | FLAG.vm | FLAG.vif;
    g.delivery.softwareInterrupt(0x21, KIND.softwareInt, 0x52);
    expect(g.peek16(stack + 4)).toBe(0x3202);
    expect(g.state.eflags & (FLAG.vif | IF)).toBe(0);
    const h = v86(3, 1);
    h.poke16(AT.tss + 102, 0x44);
    h.state.u8[0x20000 + AT.tss + 0x44 - 32 + 4] = 2;
    h.delivery.softwareInterrupt(0x21, KIND.softwareInt, 0x52);
    expect(h.state.cpl).toBe(0);
  });
});

describe("real-address mode (SDM vol. 3A, 20.1.4)", () => {
  test("FLAGS, CS, IP as words; IF, TF, AC cleared", () => {
    const f = new SystemFixture();
    f.state.setLo(L.IDTR_LIMIT, 0x3ff);
    f.state.setNum(L.IDTR_BASE, 0);
    f.poke(0x21 * 4, 0x2000_0100);
    f.seg.setReal(L.SEG.cs, 0x300);
    f.rip = 0x50;
    f.rsp = 0x12340002;
    f.state.eflags = 0x302 | FLAG.ac;
    f.delivery.softwareInterrupt(0x21, KIND.softwareInt, 0x52);
    expect([f.rip, f.state.selector(L.SEG.cs), f.rsp]).toEqual([0x100, 0x2000, 0x1234fffc]);
    expect([f.peek16(0), f.peek16(0xfffe), f.peek16(0xfffc)]).toEqual([0x302, 0x300, 0x52]);
    expect(f.state.eflags).toBe(2);
    f.state.setLo(L.IDTR_LIMIT, 0x21 * 4 + 2);
    expect(deliver(f, 0x21, KIND.external)?.[0]).toBe(EXC.gp);
  });
});

describe("exceptions during delivery (SDM vol. 3A, 6.15, tables 6-4 and 6-5)", () => {
  test("the table", () => {
    const benign = [EXC.db, EXC.bp, EXC.ud, EXC.nm, EXC.mf, EXC.ac, EXC.xm, EXC.mc];
    const contributory = [EXC.de, EXC.ts, EXC.np, EXC.ss, EXC.gp];
    for (const second of [...benign, ...contributory, EXC.pf])
      for (const first of benign) expect(makesDoubleFault(first, KIND.fault, second)).toBe(false);
    for (const first of contributory) {
      for (const second of contributory) expect(makesDoubleFault(first, KIND.fault, second)).toBe(true);
      expect(makesDoubleFault(first, KIND.fault, EXC.pf)).toBe(false);
      expect(makesDoubleFault(EXC.pf, KIND.fault, first)).toBe(true);
    }
    expect(makesDoubleFault(EXC.pf, KIND.fault, EXC.pf)).toBe(true);
    expect(makesDoubleFault(EXC.pf, KIND.fault, EXC.ud)).toBe(false);
    expect(makesDoubleFault(EXC.gp, KIND.external, EXC.gp)).toBe(false);
  });
  function kernel(): SystemFixture {
    const f = new SystemFixture().longMode(0);
    f.rip = 0x5000;
    f.rsp = 0x7000;
    return f;
  }
  test("#PF writes CR2", () => {
    const f = kernel();
    f.longGate(AT.idt + 14 * 16, SEL.long0, 0x9000, 0x8e);
    expect(f.exceptions.raise(EXC.pf, 2, -0x123456789)).toBe(true);
    expect(f.state.num(L.CR2)).toBe(-0x123456789);
    expect(frame(f, 2)).toEqual([2, 0x5000]);
  });
  test("#GP whose gate is missing becomes #DF(0)", () => {
    const f = kernel();
    f.longGate(AT.idt + 8 * 16, SEL.long0, 0x9000, 0x8e);
    expect(f.exceptions.raise(EXC.gp, 0x10, 0)).toBe(true);
    expect(f.rip).toBe(0x9000);
    expect(frame(f, 2)).toEqual([0, 0x5000]);
    expect(f.exceptions.chain.links().map(link => [link.vector, link.error])).toEqual([
      [EXC.gp, 0x10],
      [EXC.gp, 13 * 8 + 3],
      [EXC.df, 0],
    ]);
  });
  test("a benign exception whose gate is missing is followed by #GP with IDT and EXT", () => {
    const f = kernel();
    f.longGate(AT.idt + 13 * 16, SEL.long0, 0x9000, 0x8e);
    expect(f.exceptions.raise(EXC.ud, -1, 0)).toBe(true);
    expect(frame(f, 2)).toEqual([6 * 8 + 3, 0x5000]);
  });
  test("a double fault that cannot be delivered shuts the processor down, with the whole chain", () => {
    const f = kernel();
    f.trace.wants[EVENT.shutdown] = 1;
    f.poke(AT.tss + 4, 0, 0);
    expect(f.exceptions.raise(EXC.pf, 0, 0xdead000)).toBe(false);
    expect(f.state.int(L.ACTIVITY_OFFSET)).toBe(ACTIVITY.shutdown);
    const links = f.exceptions.chain.links();
    expect(links.map(link => [link.vector, link.error])).toEqual([
      [EXC.pf, 0],
      [EXC.gp, 14 * 8 + 3],
      [EXC.df, 0],
      [EXC.gp, 8 * 8 + 3],
    ]);
    expect(links.map(link => [link.rip, link.rsp, link.cr2])).toEqual(Array(4).fill([0x5000, 0x7000, 0xdead000]));
  });
  test("a stack that is not mapped: #PF in the delivery of #PF makes #DF, whose IST saves it", () => {
    const f = kernel();
    f.longGate(AT.idt + 14 * 16, SEL.long0, 0x9000, 0x8e);
    f.longGate(AT.idt + 8 * 16, SEL.long0, 0xa000, 0x8e, 1);
    f.poke(AT.tss + 36, 0x9000, 0);
    f.rsp = 0x600000;
    expect(f.exceptions.raise(EXC.pf, 0, 0x700000)).toBe(true);
    expect([f.rip, f.rsp]).toEqual([0xa000, 0x9000 - 48]);
    expect(f.exceptions.chain.links()[1]).toMatchObject({ vector: EXC.pf, error: 2, cr2: 0x5fffd0 });
  });
  test("#DB records its conditions in DR6, clears DR7.GD, and pushes RF = 0 as a trap (vol. 3B, 18.2.3)", () => {
    const f = kernel();
    f.longGate(AT.idt + 16, SEL.long0, 0x9000, 0x8e);
    f.state.setLo(L.DR6, 0xffff0ff3);
    f.state.setLo(L.DR7, 0x2400);
    f.state.setLo(L.DEBUG_TRAP, 0x4004);
    f.state.setLo(L.PENDING_OFFSET, L.PENDING.debugTrap | L.PENDING.intr);
    expect(f.exceptions.raiseDebug(0x4004, false)).toBe(true);
    expect(f.state.lo(L.DR6)).toBe(0xffff4ff4);
    expect(f.state.lo(L.DR7)).toBe(0x400);
    expect([f.state.int(L.DEBUG_TRAP), f.state.int(L.PENDING_OFFSET)]).toEqual([0, L.PENDING.intr]);
    expect(frame(f, 3)[2]! & FLAG.rf).toBe(0);
  });
});
