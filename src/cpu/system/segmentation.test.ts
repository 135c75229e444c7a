import { describe, expect, test } from "vitest";
import { EXC } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG, MODE } from "../state.ts";
import { faultOf } from "./mmu-fixture.ts";
import { AT, SEL, SystemFixture } from "./segmentation-fixture.ts";

const RAX = L.GPR;
const RCX = L.GPR + 8;

/** MOV `seg`, AX with `selector`: the fault, or null. */
function mov(f: SystemFixture, seg: number, selector: number): [number, number] | null {
  f.setGpr(0, selector);
  return faultOf(() => f.run("mov_sreg", { aux: seg, r2: RAX }));
}

describe("loading DS, ES, FS, GS in protected mode (SDM vol. 2, MOV)", () => {
  test("fills the hidden part and sets the accessed bit in the table (vol. 3A, 3.4.5.1)", () => {
    const f = new SystemFixture().protectedMode(0);
    f.descriptor(AT.gdt + 0x78, 0x12345678, 0xabcde, 0xc0f2);
    expect(mov(f, L.SEG.es, 0x7b)).toBe(null);
    expect(f.state.selector(L.SEG.es)).toBe(0x7b);
    expect(f.state.segBase(L.SEG.es)).toBe(0x12345678);
    expect(f.state.segLimit(L.SEG.es)).toBe(0xabcdefff);
    expect(f.state.segAttr(L.SEG.es)).toBe(0xc0f3);
    expect(f.state.u8[0x20000 + AT.gdt + 0x78 + 5]).toBe(0xf3);
    expect(f.state.lo(L.SEG_WRITE_TOP)).toBe(0xabcdefff);
  });
  test("null is allowed, and every access then takes the slow path", () => {
    const f = new SystemFixture().protectedMode(0);
    expect(mov(f, L.SEG.fs, 3)).toBe(null);
    expect(f.state.segAttr(L.SEG.fs) & L.ATTR_UNUSABLE).not.toBe(0);
    expect(f.state.big(L.SEG_READ_TOP + L.SEG.fs * 8)).toBe(0xffffffffffffffffn);
  });
  test("#GP(selector): beyond the table, system or execute-only segment, RPL or CPL above DPL", () => {
    const f = new SystemFixture().protectedMode(0);
    f.descriptor(AT.gdt + 0x70, 0, 0xfffff, 0xc099);
    expect(mov(f, L.SEG.ds, 0x80)).toEqual([EXC.gp, 0x80]);
    expect(mov(f, L.SEG.ds, SEL.tss)).toEqual([EXC.gp, SEL.tss]);
    expect(mov(f, L.SEG.ds, 0x70)).toEqual([EXC.gp, 0x70]);
    expect(mov(f, L.SEG.ds, SEL.data0 | 3)).toEqual([EXC.gp, SEL.data0]);
    expect(mov(f, L.SEG.ds, 0x0c)).toEqual([EXC.gp, 0x0c]);
    f.protectedMode(3);
    expect(mov(f, L.SEG.ds, SEL.data0)).toEqual([EXC.gp, SEL.data0]);
    expect(mov(f, L.SEG.ds, SEL.conforming0 | 3)).toBe(null);
  });
  test("#NP(selector) for a segment that is not present; nothing changes", () => {
    const f = new SystemFixture().protectedMode(0);
    f.descriptor(AT.gdt + 0x70, 0, 0xfffff, 0xc013);
    expect(mov(f, L.SEG.gs, 0x70)).toEqual([EXC.np, 0x70]);
    expect(f.state.selector(L.SEG.gs)).toBe(SEL.data0);
  });
  test("CS cannot be loaded: #UD", () => {
    const f = new SystemFixture().protectedMode(0);
    expect(mov(f, L.SEG.cs, SEL.code0)).toEqual([EXC.ud, -1]);
  });
});

describe("loading SS (SDM vol. 2, MOV)", () => {
  test("null is #GP(0), but fits 64-bit mode below privilege 3", () => {
    const f = new SystemFixture().protectedMode(0);
    expect(mov(f, L.SEG.ss, 0)).toEqual([EXC.gp, 0]);
    f.longMode(0);
    expect(mov(f, L.SEG.ss, 0)).toBe(null);
    expect(mov(f, L.SEG.ss, 3)).toEqual([EXC.gp, 0]);
    f.longMode(3);
    expect(mov(f, L.SEG.ss, 3)).toEqual([EXC.gp, 0]);
  });
  test("RPL, DPL and CPL must agree; only writable data; #SS when not present", () => {
    const f = new SystemFixture().protectedMode(0);
    f.descriptor(AT.gdt + 0x70, 0, 0xfffff, 0xc091);
    f.descriptor(AT.gdt + 0x78, 0, 0xfffff, 0xc013);
    expect(mov(f, L.SEG.ss, SEL.data3)).toEqual([EXC.gp, SEL.data3 & ~3]);
    expect(mov(f, L.SEG.ss, 0x70)).toEqual([EXC.gp, 0x70]);
    expect(mov(f, L.SEG.ss, 0x78)).toEqual([EXC.ss, 0x78]);
  });
  test("casts a shadow over the next boundary (vol. 3A, 6.8.3); the stack mask follows the B flag", () => {
    const f = new SystemFixture().protectedMode(0);
    f.state.setLo(L.COUNT, 55);
    f.descriptor(AT.gdt + 0x70, 0, 0xffff, 0x0093);
    expect(mov(f, L.SEG.ss, 0x70)).toBe(null);
    expect([f.state.int(L.SHADOW), f.state.int(L.SHADOW_COUNT)]).toEqual([2, 55]);
    expect(f.state.big(L.STACK_MASK)).toBe(0xffffn);
    mov(f, L.SEG.ss, SEL.data0);
    expect(f.state.big(L.STACK_MASK)).toBe(0xffffffffn);
  });
  test("POP reads the stack, then moves the pointer by the operand size", () => {
    const f = new SystemFixture().protectedMode(0);
    f.rsp = 0x7000;
    f.poke(0x7000, 0xabcd0000 | SEL.data0);
    f.run("pop_sreg", { aux: L.SEG.ds });
    expect([f.state.selector(L.SEG.ds), f.rsp]).toEqual([SEL.data0, 0x7004]);
    f.poke(0x7004, 0x80);
    expect(faultOf(() => f.run("pop_sreg", { aux: L.SEG.ds }))).toEqual([EXC.gp, 0x80]);
    expect(f.rsp).toBe(0x7004);
  });
});

describe("modes", () => {
  test("64-bit mode reads zero bases of ES, CS, SS, DS; the loaded ones come back in compatibility mode (vol. 1, 3.2.4)", () => {
    const f = new SystemFixture().longMode(0);
    f.descriptor(AT.gdt + 0x70, 0x5000, 0xfffff, 0xc093);
    expect(mov(f, L.SEG.ds, 0x70)).toBe(null);
    expect(mov(f, L.SEG.fs, 0x70)).toBe(null);
    expect([f.state.segBase(L.SEG.ds), f.state.segBase(L.SEG.fs)]).toEqual([0, 0x5000]);
    expect(f.state.codeMode).toBe(MODE.code64);
    f.run("jmp_far_m", { prefix: L.PFX.memory, ...target(f, SEL.code0, 0x100) });
    expect(f.state.codeMode).toBe(MODE.code32);
    expect(f.state.segBase(L.SEG.ds)).toBe(0x5000);
  });
  test("real-address mode shifts the selector and keeps the limit (vol. 3A, 20.1.1)", () => {
    const f = new SystemFixture();
    f.state.setLo(L.SEG_LIMIT + L.SEG.ds * 4, 0xffffffff);
    expect(mov(f, L.SEG.ds, 0x1234)).toBe(null);
    expect([f.state.segBase(L.SEG.ds), f.state.segLimit(L.SEG.ds)]).toEqual([0x12340, 0xffffffff]);
    expect(f.state.codeMode).toBe(MODE.code16);
  });
  test("virtual-8086 mode: base, limit 0xFFFF, DPL 3 (20.2)", () => {
    const f = new SystemFixture().protectedMode(3);
    f.state.setLo(L.FLAG_OTHER, 2 | FLAG.vm);
    expect(mov(f, L.SEG.es, 0xffff)).toBe(null);
    const s = f.state;
    expect([s.segBase(L.SEG.es), s.segLimit(L.SEG.es), s.segAttr(L.SEG.es)]).toEqual([0xffff0, 0xffff, 0xf3]);
  });
});

/** Writes a far pointer at 0x6000 for a memory operand. */
function target(f: SystemFixture, selector: number, offset: number): object {
  f.poke(0x6000, offset, selector);
  f.state.setNum(L.SLOW_ADDRESS, 0x6000);
  return {};
}

describe("far pointers, LLDT, LTR, VERR, VERW, LAR, LSL, ARPL (SDM vol. 2)", () => {
  test("LSS loads offset and selector", () => {
    const f = new SystemFixture().protectedMode(0);
    target(f, SEL.data0, 0x89abcdef);
    f.run("lss", { aux: L.SEG.ss, r1: RCX, prefix: L.PFX.memory });
    expect([f.state.selector(L.SEG.ss), f.state.lo(RCX)]).toEqual([SEL.data0, 0x89abcdef]);
    target(f, 0, 0x89ab);
    expect(faultOf(() => f.run("lss", { aux: L.SEG.ss, r1: RCX, prefix: L.PFX.memory }))).toEqual([EXC.gp, 0]);
  });
  test("LLDT then a selector with TI = 1; without an LDT #GP(selector)", () => {
    const f = new SystemFixture().protectedMode(0);
    f.descriptor(AT.ldt + 0x10, 0x777, 0xfffff, 0xc093);
    f.seg.setNull(L.SEG.ldtr, 0);
    expect(mov(f, L.SEG.ds, 0x14)).toEqual([EXC.gp, 0x14]);
    f.setGpr(0, SEL.ldt);
    f.run("lldt", { r2: RAX });
    expect(mov(f, L.SEG.ds, 0x14)).toBe(null);
    expect(f.state.segBase(L.SEG.ds)).toBe(0x777);
    f.setGpr(0, SEL.data0);
    expect(faultOf(() => f.run("lldt", { r2: RAX }))).toEqual([EXC.gp, SEL.data0]);
    f.protectedMode(3);
    expect(faultOf(() => f.run("lldt", { r2: RAX }))).toEqual([EXC.gp, 0]);
  });
  test("LTR marks the descriptor busy and refuses a busy one; 16 bytes in IA-32e mode", () => {
    const f = new SystemFixture().protectedMode(0);
    f.setGpr(0, SEL.tss2);
    f.run("ltr", { r2: RAX });
    expect(f.state.u8[0x20000 + AT.gdt + SEL.tss2 + 5]).toBe(0x8b);
    expect(faultOf(() => f.run("ltr", { r2: RAX }))).toEqual([EXC.gp, SEL.tss2]);
    f.setGpr(0, 0);
    expect(faultOf(() => f.run("ltr", { r2: RAX }))).toEqual([EXC.gp, 0]);
    const g = new SystemFixture().longMode(0);
    g.poke(AT.gdt + SEL.tss2 + 8, 0xffff8000, 0);
    g.setGpr(0, SEL.tss2);
    g.run("ltr", { r2: RAX });
    expect(g.state.segBase(L.SEG.tr)).toBe(-0x8000 * 2 ** 32 + AT.tss2);
  });
  test("VERR and VERW answer in ZF", () => {
    const f = new SystemFixture().protectedMode(3);
    const zf = (name: "verr" | "verw", selector: number): boolean => {
      f.setGpr(0, selector);
      f.run(name, { r2: RAX });
      return (f.state.eflags & FLAG.zf) !== 0;
    };
    expect([zf("verr", SEL.data3), zf("verw", SEL.data3), zf("verr", SEL.code3), zf("verw", SEL.code3)]).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect([zf("verr", SEL.data0), zf("verr", SEL.conforming0), zf("verr", SEL.tss), zf("verr", 0)]).toEqual([
      false,
      true,
      false,
      false,
    ]);
  });
  test("LAR and LSL give rights and byte limit, or leave the register and clear ZF", () => {
    const f = new SystemFixture().protectedMode(0);
    f.setGpr(0, SEL.data3);
    f.run("lar", { r1: RCX, r2: RAX });
    expect(f.state.lo(RCX)).toBe(0x00cff300);
    f.run("lsl", { r1: RCX, r2: RAX });
    expect(f.state.lo(RCX)).toBe(0xffffffff);
    f.setGpr(0, SEL.tss2);
    f.run("lsl", { r1: RCX, r2: RAX });
    expect([f.state.lo(RCX), f.state.eflags & FLAG.zf]).toEqual([0x67, FLAG.zf]);
    f.setGpr(0, 0x7c);
    f.run("lar", { r1: RCX, r2: RAX });
    expect([f.state.lo(RCX), f.state.eflags & FLAG.zf]).toEqual([0x67, 0]);
  });
  test("ARPL raises RPL to that of the other operand", () => {
    const f = new SystemFixture().protectedMode(0);
    f.setGpr(0, 0x21);
    f.setGpr(1, 0x1b);
    f.run("arpl", { r1: RCX, r2: RAX });
    expect([f.gpr(0), f.state.eflags & FLAG.zf]).toEqual([0x23, FLAG.zf]);
    f.setGpr(1, 0x19);
    f.run("arpl", { r1: RCX, r2: RAX });
    expect([f.gpr(0), f.state.eflags & FLAG.zf]).toEqual([0x23, 0]);
  });
  test("in real-address mode these raise #UD", () => {
    const f = new SystemFixture();
    for (const name of ["lldt", "ltr", "verr", "lar", "lsl", "arpl"] as const)
      expect(faultOf(() => f.run(name, {}))).toEqual([EXC.ud, -1]);
  });
});
