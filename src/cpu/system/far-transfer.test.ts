import { describe, expect, test } from "vitest";
import { EXC } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG, MODE } from "../state.ts";
import { faultOf } from "./mmu-fixture.ts";
import { AT, SEL, SystemFixture } from "./segmentation-fixture.ts";

type Name = "jmp_far" | "call_far" | "jmp_far_m" | "call_far_m";

function go(f: SystemFixture, name: Name, selector: number, offset: number, prefix = 0): [number, number] | null {
  if (!name.endsWith("_m")) return faultOf(() => f.run(name, { imm: [offset, selector], prefix }));
  f.poke(0x6000, offset, prefix & L.PFX.opSize64 ? Math.floor(offset / 2 ** 32) : selector, selector);
  f.state.setNum(L.SLOW_ADDRESS, 0x6000);
  return faultOf(() => f.run(name, { prefix: prefix | L.PFX.memory }));
}
function at(cpl: number): SystemFixture {
  const f = new SystemFixture().protectedMode(cpl);
  f.rip = 0x5000;
  f.rsp = 0x7000;
  return f;
}

describe("far JMP and CALL to code segments (SDM vol. 2, JMP, CALL)", () => {
  test("JMP loads CS with RPL = CPL", () => {
    const f = at(3);
    expect(go(f, "jmp_far", SEL.code3 & ~3, 0x1234)).toBe(null);
    expect([f.rip, f.state.selector(L.SEG.cs), f.rsp]).toEqual([0x1234, SEL.code3, 0x7000]);
  });
  test("CALL pushes CS and the next address, as 32- or 16-bit words", () => {
    const f = at(0);
    expect(go(f, "call_far", SEL.code0, 0x1234)).toBe(null);
    expect([f.rip, f.rsp, ...f.words(0x6ff8, 2)]).toEqual([0x1234, 0x6ff8, 0x5002, SEL.code0]);
    const g = at(0);
    expect(go(g, "call_far_m", SEL.code0, 0x1234, L.PFX.opSize16)).toEqual([EXC.gp, 0]);
    g.poke(0x6000, (SEL.code0 << 16) | 0x4321);
    expect(faultOf(() => g.run("call_far_m", { prefix: L.PFX.opSize16 | L.PFX.memory }))).toBe(null);
    expect([g.rip, g.rsp, g.peek16(0x6ffc), g.peek16(0x6ffe)]).toEqual([0x4321, 0x6ffc, 0x5002, SEL.code0]);
  });
  test.each([
    ["null selector", 0, 3, EXC.gp, 0],
    ["beyond the table", 0x80, 3, EXC.gp, 0x80],
    ["a data segment", SEL.data3, 3, EXC.gp, SEL.data3 & ~3],
    ["nonconforming of another privilege", SEL.code0, 3, EXC.gp, SEL.code0],
    ["RPL above CPL", SEL.code0 | 3, 0, EXC.gp, SEL.code0],
    ["not present", 0x70, 0, EXC.np, 0x70],
    ["offset beyond the limit", 0x78, 0, EXC.gp, 0],
  ] as const)("%s", (_, selector, cpl, vector, error) => {
    const f = at(cpl);
    f.descriptor(AT.gdt + 0x70, 0, 0xfffff, 0xc01b);
    f.descriptor(AT.gdt + 0x78, 0, 0xff, 0x409b);
    for (const name of ["jmp_far", "call_far"] as const) {
      expect(go(f, name, selector, 0x1234)).toEqual([vector, error]);
      expect([f.rip, f.rsp]).toEqual([0x5000, 0x7000]);
    }
  });
  test("a conforming segment of inner privilege is entered without a change of CPL", () => {
    const f = at(3);
    expect(go(f, "call_far", SEL.conforming0, 0x1234)).toBe(null);
    expect([f.state.cpl, f.state.selector(L.SEG.cs)]).toEqual([3, SEL.conforming0 | 3]);
  });
  test("between 32-bit and 64-bit code in IA-32e mode; addresses must be canonical", () => {
    const f = new SystemFixture().longMode(0);
    f.rsp = 0x7000;
    expect(go(f, "call_far_m", SEL.code0, 0x1234)).toBe(null);
    expect([f.state.codeMode, f.rsp]).toEqual([MODE.code32, 0x6ff8]);
    expect(go(f, "jmp_far", SEL.long0, 0x4321)).toBe(null);
    expect([f.state.codeMode, f.rip]).toEqual([MODE.code64, 0x4321]);
    expect(go(f, "jmp_far_m", SEL.long0, 2 ** 47, L.PFX.opSize64)).toEqual([EXC.gp, 0]);
    expect(go(f, "jmp_far_m", SEL.long0, 0x7000_00001000, L.PFX.opSize64)).toBe(null);
    expect(f.rip).toBe(0x7000_00001000);
  });
  test("real-address mode", () => {
    const f = new SystemFixture();
    f.rip = 0x50;
    f.rsp = 0x7000;
    expect(go(f, "call_far", 0x1234, 0x10, L.PFX.opSize16)).toBe(null);
    expect([f.rip, f.state.segBase(L.SEG.cs), f.peek16(0x6ffc), f.peek16(0x6ffe)]).toEqual([
      0x10, 0x12340, 0x52, 0xf000,
    ]);
  });
});

describe("call gates (SDM vol. 3A, 5.8.3-5.8.5)", () => {
  test("CALL to inner privilege copies parameters to the stack of the TSS (figure 5-13)", () => {
    const f = at(3);
    f.gate(AT.gdt + 0x70, SEL.code0, 0x9000, 0xec, 2);
    f.poke(0x7000, 0x111, 0x222);
    expect(go(f, "call_far", 0x73, 0xffff)).toBe(null);
    expect([f.rip, f.state.cpl, f.rsp]).toEqual([0x9000, 0, 0x8000 - 24]);
    expect(f.words(f.rsp, 6)).toEqual([0x5002, SEL.code3, 0x111, 0x222, 0x7000, SEL.data3]);
  });
  test("RET n takes the parameters from both stacks", () => {
    const f = at(3);
    f.gate(AT.gdt + 0x70, SEL.code0, 0x9000, 0xec, 2);
    go(f, "call_far", 0x73, 0);
    expect(faultOf(() => f.run("ret_far", { imm: [8, 0] }))).toBe(null);
    expect([f.rip, f.state.cpl, f.rsp, f.state.selector(L.SEG.ss)]).toEqual([0x5002, 3, 0x7008, SEL.data3]);
  });
  test("16-bit gates push and copy words", () => {
    const f = at(3);
    f.gate(AT.gdt + 0x70, SEL.code0, 0x9000, 0xe4, 1);
    f.poke16(0x7000, 0x777);
    expect(go(f, "call_far", 0x73, 0)).toBe(null);
    expect([0, 2, 4, 6, 8].map(i => f.peek16(f.rsp + i))).toEqual([0x5002, SEL.code3, 0x777, 0x7000, SEL.data3]);
  });
  test("a JMP may not gain privilege: #GP(code selector)", () => {
    const f = at(3);
    f.gate(AT.gdt + 0x70, SEL.code0, 0x9000, 0xec);
    expect(go(f, "jmp_far", 0x73, 0)).toEqual([EXC.gp, SEL.code0]);
    f.gate(AT.gdt + 0x70, SEL.conforming0, 0x9000, 0xec);
    expect(go(f, "jmp_far", 0x73, 0)).toBe(null);
    expect([f.rip, f.state.cpl]).toEqual([0x9000, 3]);
  });
  test("gate DPL below CPL or RPL is #GP(gate); not present #NP(gate); bad targets", () => {
    const f = at(3);
    f.gate(AT.gdt + 0x70, SEL.code0, 0x9000, 0x8c);
    expect(go(f, "call_far", 0x70, 0)).toEqual([EXC.gp, 0x70]);
    f.gate(AT.gdt + 0x70, SEL.code0, 0x9000, 0x6c);
    expect(go(f, "call_far", 0x70, 0)).toEqual([EXC.np, 0x70]);
    f.gate(AT.gdt + 0x70, 0, 0x9000, 0xec);
    expect(go(f, "call_far", 0x70, 0)).toEqual([EXC.gp, 0]);
    f.gate(AT.gdt + 0x70, SEL.data0, 0x9000, 0xec);
    expect(go(f, "call_far", 0x70, 0)).toEqual([EXC.gp, SEL.data0]);
    f.gate(AT.gdt + 0x70, SEL.code0, 0x9000, 0xec);
    f.poke(AT.tss + 8, SEL.data3);
    expect(go(f, "call_far", 0x70, 0)).toEqual([EXC.ts, SEL.data3 & ~3]);
    expect([f.rip, f.rsp, f.state.cpl]).toEqual([0x5000, 0x7000, 3]);
  });
  test("64-bit call gate: SS null, 8-byte words, no parameters (5.8.3.1)", () => {
    const f = new SystemFixture().longMode(3);
    f.rip = 0x5000;
    f.rsp = 0x7000;
    f.gate(AT.gdt + 0x70, SEL.long0, 0x9000, 0xec);
    f.poke(AT.gdt + 0x78, 0x1234, 0);
    expect(go(f, "call_far_m", 0x73, 0)).toBe(null);
    expect([f.rip, f.state.cpl, f.rsp, f.state.selector(L.SEG.ss)]).toEqual([0x1234_00009000, 0, 0x8000 - 32, 0]);
    expect(f.words(f.rsp, 8)).toEqual([0x5002, 0, SEL.long3, 0, 0x7000, 0, SEL.data3, 0]);
    expect(faultOf(() => f.run("ret_far", { prefix: L.PFX.opSize64 }))).toBe(null);
    expect([f.rip, f.rsp, f.state.cpl]).toEqual([0x5002, 0x7000, 3]);
    f.gate(AT.gdt + 0x70, SEL.code0, 0x9000, 0xec);
    expect(go(f, "call_far_m", 0x73, 0)).toEqual([EXC.gp, SEL.code0]);
    f.poke(AT.gdt + 0x7c, 0x1f00);
    expect(go(f, "call_far_m", 0x73, 0)).toEqual([EXC.gp, 0x70]);
  });
});

describe("far RET (SDM vol. 2, RET)", () => {
  test("same privilege", () => {
    const f = at(0);
    f.poke(0x7000, 0x1234, SEL.code0);
    expect(faultOf(() => f.run("ret_far", { imm: [0x10, 0] }))).toBe(null);
    expect([f.rip, f.rsp]).toEqual([0x1234, 0x7018]);
  });
  test("to outer privilege nulls data segments that the outer level may not use (vol. 3A, 5.8.6)", () => {
    const f = at(0);
    f.poke(0x7000, 0x1234, SEL.code3, 0x6000, SEL.data3);
    f.seg.loadData(L.SEG.gs, SEL.data3, EXC.gp, 0);
    expect(faultOf(() => f.run("ret_far", {}))).toBe(null);
    expect([f.rsp, f.state.selector(L.SEG.ds), f.state.selector(L.SEG.gs)]).toEqual([0x6000, 0, SEL.data3]);
  });
  test.each([
    ["null", 0, EXC.gp, 0],
    ["RPL below CPL", SEL.code0, EXC.gp, SEL.code0],
    ["a data segment", SEL.data3, EXC.gp, SEL.data3 & ~3],
    ["beyond the table", 0x83, EXC.gp, 0x80],
  ] as const)("%s", (_, selector, vector, error) => {
    const f = at(3);
    f.poke(0x7000, 0x1234, selector);
    expect(faultOf(() => f.run("ret_far", {}))).toEqual([vector, error]);
    expect([f.rip, f.rsp]).toEqual([0x5000, 0x7000]);
  });
  test("flags do not change", () => {
    const f = at(0);
    f.state.eflags = 0x2 | FLAG.cf | FLAG.of;
    f.poke(0x7000, 0x1234, SEL.code0);
    f.run("ret_far", {});
    expect(f.state.eflags).toBe(0x2 | FLAG.cf | FLAG.of);
  });
});
