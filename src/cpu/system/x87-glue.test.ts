import { describe, expect, it } from "vitest";
import { DONE } from "../context.ts";
import { X87 } from "../fpu/x87.ts";
import { X87_LAYOUT } from "../fpu/x87-state.ts";
import * as L from "../layout.ts";
import { FLAG } from "../state.ts";
import { CR0 } from "./control-bits.ts";
import { HelperFixture } from "./helper-fixture.ts";
import { x87Helpers } from "./x87-glue.ts";

const AT = 0x400;

const make = (f: HelperFixture) => {
  const x87 = new X87(f.state.view, f.state.base + L.X87);
  x87.init();
  const ferr: boolean[] = [];
  const t = x87Helpers(f.ctx, f.memory, x87, level => ferr.push(level));
  /** Register form, e.g. run(0xd9, 0xe8) for FLD1. */
  const run = (opcode: number, modrm: number): string =>
    f.fault(() => expect(t.x87!(f.record({ target: (opcode << 8) | modrm }))).toBe(DONE.next));
  /** Memory form with /reg at an address. */
  const memory = (opcode: number, reg: number, address = AT, fields: { prefix?: number; seg?: number } = {}): string =>
    f.fault(() => t.x87!(f.memoryRecord(address, { target: (opcode << 8) | (reg << 3), seg: L.SEG.ds, ...fields })));
  return { x87, t, ferr, run, memory };
};
const field = (f: HelperFixture, offset: number): bigint => f.state.view.getBigUint64(L.X87 + offset, true);

describe("x87 instructions (SDM vol. 1, chapter 8)", () => {
  it("load, add, store through memory", () => {
    const f = new HelperFixture();
    const m = make(f);
    f.memory.view.setFloat64(AT, 1.5, true);
    f.memory.view.setInt32(AT + 8, 40, true);
    expect(m.memory(0xdd, 0)).toBe("");
    expect(m.memory(0xda, 0, AT + 8)).toBe("");
    expect(m.memory(0xd9, 3, AT + 16)).toBe("");
    expect(f.memory.view.getFloat32(AT + 16, true)).toBe(41.5);
    expect(m.x87.state.top).toBe(0);
  });

  it("80-bit and BCD operands are 10 bytes", () => {
    const f = new HelperFixture();
    const m = make(f);
    f.memory.bytes.set([0x23, 0x01, 0, 0, 0, 0, 0, 0, 0, 0x80], AT);
    expect(m.memory(0xdf, 4)).toBe("");
    f.memory.bytes.fill(0xcc, AT + 16, AT + 40);
    expect(m.memory(0xdb, 7, AT + 16)).toBe("");
    // −123 = −1.921875 · 2^6.
    expect([...f.memory.bytes.slice(AT + 16, AT + 27)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0xf6, 0x05, 0xc0, 0xcc]);
  });

  it("undefined encodings are #UD, even when the unit is switched off", () => {
    const f = new HelperFixture();
    const m = make(f);
    f.state.setLo(L.CR0, f.state.int(L.CR0) | CR0.ts);
    expect(m.run(0xd9, 0xd1)).toBe("#ud");
    expect(m.memory(0xd9, 1)).toBe("#ud");
  });

  it("CR0.EM and TS raise #NM (vol. 3A, 2.5); WAIT needs MP and TS", () => {
    const f = new HelperFixture();
    const m = make(f);
    const cr0 = f.state.int(L.CR0);
    for (const bit of [CR0.em, CR0.ts]) {
      f.state.setLo(L.CR0, cr0 | bit);
      expect(m.run(0xd9, 0xe8)).toBe("#nm");
      expect(f.fault(() => m.t.fwait!(0))).toBe("");
    }
    f.state.setLo(L.CR0, cr0 | CR0.mp | CR0.ts);
    expect(f.fault(() => m.t.fwait!(0))).toBe("#nm");
  });

  it("FSTSW AX, FUCOMI and FCMOV pass values to and from the integer side", () => {
    const f = new HelperFixture();
    const m = make(f);
    f.setGpr("rax", -1n);
    m.run(0xd9, 0xe8);
    m.run(0xdf, 0xe0);
    expect(f.gpr("rax")).toBe(0xffff_ffff_ffff_3800n);
    m.run(0xd9, 0xee);
    f.state.eflags = 2 | FLAG.of | FLAG.sf | FLAG.af | FLAG.if;
    m.run(0xdb, 0xe9);
    // ST(0) = 0 < ST(1) = 1: CF.
    expect(f.state.eflags).toBe(2 | FLAG.cf | FLAG.if);
    m.run(0xda, 0xc1);
    m.memory(0xd9, 3);
    expect(f.memory.view.getFloat32(AT, true)).toBe(1);
  });

  it("non-control instructions note their address, opcode and operand (8.1.8, 8.1.9)", () => {
    const f = new HelperFixture();
    const m = make(f);
    f.state.setBig(L.RIP, 0xffff_8000_1234_5678n);
    f.state.setLo(L.SEG_SELECTOR + L.SEG.cs * 4, 0x33);
    f.state.setLo(L.SEG_SELECTOR + L.SEG.fs * 4, 0x53);
    f.state.setNum(L.SEG_BASE + L.SEG.fs * 8, 0x100);
    expect(m.memory(0xdd, 0, AT, { seg: L.SEG.fs })).toBe("");
    expect(field(f, X87_LAYOUT.instructionPointer)).toBe(0xffff_8000_1234_5678n);
    expect(field(f, X87_LAYOUT.dataPointer)).toBe(BigInt(AT - 0x100));
    expect(f.state.view.getUint16(L.X87 + X87_LAYOUT.opcode, true)).toBe(0x500);
    expect(f.state.view.getUint16(L.X87 + X87_LAYOUT.codeSelector, true)).toBe(0x33);
    expect(f.state.view.getUint16(L.X87 + X87_LAYOUT.dataSelector, true)).toBe(0x53);
    f.state.setNum(L.RIP, 0x99);
    m.memory(0xd9, 7);
    expect(field(f, X87_LAYOUT.instructionPointer)).toBe(0xffff_8000_1234_5678n);
  });
});

describe("x87 exceptions (SDM vol. 1, 8.7)", () => {
  /** 1/0 with zero divide unmasked: pending. */
  const divideByZero = (f: HelperFixture, m: ReturnType<typeof make>): void => {
    f.memory.view.setUint16(AT, 0x37b, true);
    m.memory(0xd9, 5);
    m.run(0xd9, 0xe8);
    m.run(0xd9, 0xee);
    expect(m.run(0xde, 0xf9)).toBe("");
    expect(m.x87.pending()).toBe(true);
  };

  it("CR0.NE = 1: the next waiting instruction raises #MF, FN* do not", () => {
    const f = new HelperFixture();
    const m = make(f);
    divideByZero(f, m);
    expect(m.run(0xd9, 0xe8)).toBe("#mf");
    expect(f.fault(() => m.t.fwait!(0))).toBe("#mf");
    expect(f.fault(() => m.t.emms!(0))).toBe("#mf");
    expect(m.run(0xdf, 0xe0)).toBe("");
    expect(m.memory(0xdd, 7)).toBe("");
    expect(m.run(0xdb, 0xe2)).toBe("");
    expect(m.run(0xd9, 0xe8)).toBe("");
    expect(m.ferr).toEqual([]);
  });

  it("CR0.NE = 0: FERR# is asserted instead, and let go when the exception is cleared", () => {
    const f = new HelperFixture();
    const m = make(f);
    f.state.setLo(L.CR0, f.state.int(L.CR0) & ~CR0.ne);
    divideByZero(f, m);
    expect(m.ferr).toEqual([]);
    expect(f.fault(() => m.t.fwait!(0))).toBe("");
    expect(m.ferr).toEqual([true]);
    expect(m.run(0xdb, 0xe2)).toBe("");
    expect(m.ferr).toEqual([true, false]);
  });

  it("a store that faults neither pops nor sets flags", () => {
    const f = new HelperFixture();
    const m = make(f);
    m.run(0xd9, 0xeb);
    f.memory.readOnlyFrom = AT;
    for (const [opcode, reg] of [
      [0xd9, 3],
      [0xdd, 3],
      [0xdf, 7],
      [0xdf, 6],
      [0xdb, 7],
      [0xd9, 6],
      [0xdd, 6],
    ] as const) {
      expect(m.memory(opcode, reg), `${opcode.toString(16)} /${reg}`).toBe("#pf(2)");
    }
    expect(m.x87.state.top).toBe(7);
  });

  it("a load that faults changes nothing", () => {
    const f = new HelperFixture();
    const m = make(f);
    f.memory.faultAt = AT + 50;
    expect(m.memory(0xdd, 4)).toBe("#pf(0)");
    expect(m.memory(0xdb, 5, AT + 45)).toBe("#pf(0)");
  });
});

describe("FNSAVE and FRSTOR (SDM vol. 2)", () => {
  it.each([
    ["64-bit mode", (f: HelperFixture) => f, 0, 108],
    ["protected mode, 16 bits", (f: HelperFixture) => f.protected32(), L.PFX.opSize16, 94],
    ["real mode, 16 bits", (f: HelperFixture) => f.real(), L.PFX.opSize16, 94],
    ["real mode, 32 bits", (f: HelperFixture) => f.real(), 0, 108],
  ] as const)("%s: FNSAVE stores all and initialises, FRSTOR brings it back", (_name, mode, prefix, size) => {
    const f = mode(new HelperFixture());
    const m = make(f);
    f.state.setNum(L.RIP, 0x1230);
    m.run(0xd9, 0xeb);
    m.run(0xd9, 0xe8);
    const before = [...f.state.u8.slice(L.X87, L.X87 + X87_LAYOUT.opcode)];
    f.memory.bytes.fill(0xcc, AT, AT + 120);
    expect(m.memory(0xdd, 6, AT, { prefix })).toBe("");
    expect(m.x87.state.ftw).toBe(0xffff);
    expect([...f.memory.bytes.slice(AT + size, AT + 120)]).toEqual(new Array(120 - size).fill(0xcc));
    // ST(0) = 1.0 behind the environment.
    expect([...f.memory.bytes.slice(AT + size - 80, AT + size - 70)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f]);
    expect(m.memory(0xdd, 4, AT, { prefix })).toBe("");
    expect([...f.state.u8.slice(L.X87, L.X87 + X87_LAYOUT.opcode)]).toEqual(before);
  });

  it("EMMS empties the stack", () => {
    const f = new HelperFixture();
    const m = make(f);
    m.run(0xd9, 0xe8);
    expect(m.t.emms!(0)).toBe(DONE.next);
    expect(m.x87.state.ftw).toBe(0xffff);
    const cr0 = f.state.int(L.CR0);
    f.state.setLo(L.CR0, cr0 | CR0.ts);
    expect(f.fault(() => m.t.emms!(0))).toBe("#nm");
    f.state.setLo(L.CR0, cr0 | CR0.em);
    expect(f.fault(() => m.t.emms!(0))).toBe("#ud");
  });
});
