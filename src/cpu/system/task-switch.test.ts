import { describe, expect, test } from "vitest";
import { EXC } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG } from "../state.ts";
import { KIND } from "./delivery-kind.ts";
import { faultOf, RAM_BASE } from "./mmu-fixture.ts";
import { AT, SEL, SystemFixture } from "./segmentation-fixture.ts";

const NEW = AT.tss2;

/** A new 32-bit task at privilege 0: EIP 0x9000, EFLAGS 0x202, registers 0x100 + n, ESP 0x6000. */
function machine(cpl = 0): SystemFixture {
  const f = new SystemFixture().protectedMode(cpl);
  f.rip = 0x5000;
  for (let i = 0; i < 8; i++) f.setGpr(i, 0x500 + i);
  f.rsp = 0x7000;
  f.state.eflags = 0x246;
  f.poke(NEW + 28, 0, 0x9000, 0x202);
  for (let i = 0; i < 8; i++) f.poke(NEW + 40 + i * 4, 0x100 + i);
  f.poke(NEW + 56, 0x6000);
  f.poke(NEW + 72, SEL.data0, SEL.code0, SEL.data0, SEL.data0, 0, SEL.data3, 0, 0);
  f.descriptor(AT.gdt + SEL.tss2, NEW, 0x67, 0xe9);
  return f;
}
const jump = (f: SystemFixture, selector: number = SEL.tss2): [number, number] | null =>
  faultOf(() => f.run("jmp_far", { imm: [0, selector] }));
const call = (f: SystemFixture, selector: number = SEL.tss2): [number, number] | null =>
  faultOf(() => f.run("call_far", { imm: [0, selector] }));
const busy = (f: SystemFixture, selector: number): boolean => (f.state.u8[RAM_BASE + AT.gdt + selector + 5]! & 2) !== 0;

describe("task switch (SDM vol. 3A, 7.3)", () => {
  test("JMP saves the old task and loads the new one", () => {
    const f = machine();
    expect(jump(f)).toBe(null);
    expect(f.words(AT.tss + 32, 10)).toEqual([0x5002, 0x246, 0x500, 0x501, 0x502, 0x503, 0x7000, 0x505, 0x506, 0x507]);
    expect([0, 4, 8, 12, 16, 20].map(i => f.peek16(AT.tss + 72 + i))).toEqual([
      SEL.data0,
      SEL.code0,
      SEL.data0,
      SEL.data0,
      SEL.data0,
      SEL.data0,
    ]);
    expect([f.rip, f.state.eflags, f.rsp, f.gpr(0), f.gpr(7)]).toEqual([0x9000, 0x202, 0x6000, 0x100, 0x107]);
    const { es, cs, fs, gs, tr } = L.SEG;
    expect([es, cs, fs, gs, tr].map(seg => f.state.selector(seg))).toEqual([
      SEL.data0,
      SEL.code0,
      0,
      SEL.data3,
      SEL.tss2,
    ]);
    expect(f.state.int(L.CR0) & 8).toBe(8);
  });
  test("busy flags, NT and link by cause (table 7-2)", () => {
    const f = machine();
    expect(jump(f)).toBe(null);
    expect([busy(f, SEL.tss), busy(f, SEL.tss2), f.state.eflags & FLAG.nt]).toEqual([false, true, 0]);
    const g = machine();
    expect(call(g)).toBe(null);
    expect([busy(g, SEL.tss), busy(g, SEL.tss2), g.state.eflags & FLAG.nt, g.peek16(NEW)]).toEqual([
      true,
      true,
      FLAG.nt,
      SEL.tss,
    ]);
  });
  test("IRET with NT goes back by the link (7.4)", () => {
    const f = machine();
    call(f);
    f.rip = 0x9100;
    expect(faultOf(() => f.run("iret", {}))).toBe(null);
    expect([f.rip, f.rsp, f.state.eflags, f.state.selector(L.SEG.tr)]).toEqual([0x5002, 0x7000, 0x246, SEL.tss]);
    expect([busy(f, SEL.tss), busy(f, SEL.tss2)]).toEqual([true, false]);
    expect([f.peek(NEW + 32), f.peek(NEW + 36) & FLAG.nt]).toEqual([0x9102, 0]);
  });
  test("a link to a task that is not busy: #TS(selector)", () => {
    const f = machine();
    f.state.eflags = 2 | FLAG.nt;
    f.poke16(AT.tss, SEL.tss2);
    expect(faultOf(() => f.run("iret", {}))).toEqual([EXC.ts, SEL.tss2]);
    expect(f.rip).toBe(0x5000);
  });
  test("a busy TSS is #GP, a missing one #NP, a short one #TS; privilege of the descriptor counts", () => {
    const f = machine();
    f.descriptor(AT.gdt + SEL.tss2, NEW, 0x67, 0x8b);
    expect(jump(f)).toEqual([EXC.gp, SEL.tss2]);
    f.descriptor(AT.gdt + SEL.tss2, NEW, 0x67, 0x09);
    expect(jump(f)).toEqual([EXC.np, SEL.tss2]);
    f.descriptor(AT.gdt + SEL.tss2, NEW, 0x66, 0x89);
    expect(jump(f)).toEqual([EXC.ts, SEL.tss2]);
    const u = machine(3);
    u.descriptor(AT.gdt + SEL.tss2, NEW, 0x67, 0x89);
    expect(jump(u)).toEqual([EXC.gp, SEL.tss2]);
  });
  test("task gates work from the GDT and from the IDT; an error code is pushed on the new stack (6.12.2)", () => {
    const f = machine();
    f.gate(AT.gdt + 0x70, SEL.tss2, 0, 0x85);
    expect(call(f, 0x70)).toBe(null);
    expect(f.rip).toBe(0x9000);
    const g = machine(3);
    g.gate(AT.idt + 13 * 8, SEL.tss2, 0, 0x85);
    expect(faultOf(() => g.delivery.deliver(13, KIND.fault, 0x44, 0x5000))).toBe(null);
    expect([g.rip, g.state.cpl, g.rsp, g.peek(0x5ffc)]).toEqual([0x9000, 0, 0x5ffc, 0x44]);
    expect([g.peek(AT.tss + 32), g.peek(AT.tss + 36)]).toEqual([0x5000, 0x246 | FLAG.rf]);
    expect(g.state.eflags & FLAG.nt).toBe(FLAG.nt);
    const h = machine();
    h.gate(AT.idt + 13 * 8, SEL.data0, 0, 0x85);
    expect(faultOf(() => h.delivery.deliver(13, KIND.fault, 0, 0))).toEqual([EXC.gp, SEL.data0 | 1]);
  });
  test.each([
    ["CS null", 76, 0, EXC.ts, 0],
    ["CS is data", 76, SEL.data0, EXC.ts, SEL.data0],
    ["CS DPL differs from RPL", 76, SEL.code0 | 3, EXC.ts, SEL.code0],
    ["SS null", 80, 0, EXC.ts, 0],
    ["SS of another privilege", 80, SEL.data3, EXC.ts, SEL.data3 & ~3],
    ["DS beyond the table", 84, 0x80, EXC.ts, 0x80],
    ["DS not present", 84, 0x70, EXC.np, 0x70],
    ["SS not present", 80, 0x70, EXC.ss, 0x70],
    ["LDT is no LDT", 96, SEL.data0, EXC.ts, SEL.data0],
  ] as const)("%s: raised in the new task (table 7-1)", (_, offset, selector, vector, error) => {
    const f = machine();
    f.descriptor(AT.gdt + 0x70, 0, 0xfffff, 0xc013);
    f.poke(NEW + offset, selector);
    expect(jump(f)).toEqual([vector, error]);
    expect([f.rip, f.state.selector(L.SEG.tr)]).toEqual([0x9000, SEL.tss2]);
  });
  test("the LDT of the new task serves its segments", () => {
    const f = machine();
    f.descriptor(AT.ldt + 8, 0x1000, 0xfffff, 0xc093);
    f.poke(NEW + 96, SEL.ldt);
    f.poke(NEW + 84, 0x0c);
    expect(jump(f)).toBe(null);
    expect(f.state.segBase(L.SEG.ds)).toBe(0x1000);
  });
  test("CR3 is loaded with paging on", () => {
    const f = machine();
    f.poke(0x1000, 0x87);
    f.poke(0x3000, 0x87);
    f.state.setLo(L.CR4, 0x10);
    f.state.setLo(L.CR3, 0x1000);
    f.state.setLo(L.CR0, 0x80000011);
    f.mmu.tlb.flushAll();
    f.poke(NEW + 28, 0x3000);
    expect(jump(f)).toBe(null);
    expect(f.state.lo(L.CR3)).toBe(0x3000);
  });
  test("the T flag raises a debug trap with BT (7.2.1; vol. 3B, 18.3.1.5)", () => {
    const f = machine();
    f.poke(NEW + 100, 1);
    expect(jump(f)).toBe(null);
    expect(f.state.int(L.DEBUG_TRAP)).toBe(0x8000);
    expect(f.state.int(L.PENDING_OFFSET) & L.PENDING.debugTrap).toBe(L.PENDING.debugTrap);
  });
  test("VM in the new EFLAGS enters virtual-8086 mode", () => {
    const f = machine();
    f.poke(NEW + 36, FLAG.vm | 2);
    expect(jump(f)).toBe(null);
    expect([f.state.cpl, f.state.segBase(L.SEG.cs), f.state.segLimit(L.SEG.ds)]).toEqual([3, SEL.code0 * 16, 0xffff]);
  });
  test("a 16-bit TSS saves and loads words (7.6)", () => {
    const f = machine();
    f.descriptor(AT.gdt + SEL.tss2, NEW, 0x2b, 0x81);
    [0x9000, 0x202, 1, 2, 3, 4, 0x6000, 6, 7, 8, SEL.data0, SEL.code0, SEL.data0, SEL.data0, 0].forEach((word, i) => {
      f.poke16(NEW + 14 + i * 2, word);
    });
    expect(call(f)).toBe(null);
    expect([f.rip, f.rsp, f.gpr(0), f.state.eflags]).toEqual([0x9000, 0x6000, 1, 0x202 | FLAG.nt]);
    expect(f.state.selector(L.SEG.gs)).toBe(0);
    f.rip = 0x9100;
    f.setGpr(0, 0xabcd);
    expect(faultOf(() => f.run("iret", {}))).toBe(null);
    expect([f.peek16(NEW + 14), f.peek16(NEW + 18), f.rip]).toEqual([0x9102, 0xabcd, 0x5002]);
  });
});
