/** What all vector instructions have in common: every row has a meaning, alignment, traps, faults, the x87 state after MMX, fast paths. */
import { describe, expect, it } from "vitest";
import { TestRng } from "../../fpu/oracle/host.testkit.ts";
import { X87_LAYOUT } from "../../fpu/x87-state.ts";
import * as L from "../../layout.ts";
import { assemble, type Encoding, encodings, PAGE, VectorMachine } from "./sse.testkit.ts";

const machine = new VectorMachine();
const { state } = machine;
const all = encodings();

/** Of the rows with the operand size of 128 bits, those that read less memory or need no alignment (SDM vol. 2, each instruction). */
const UNALIGNED = /^(movu_|pmov[sz]x|insertps_|cvt(ss2sd|sd2ss|ps2pd|dq2pd|t?ps2pi)_)/;
const needsAlignment = ({ row }: Encoding): boolean =>
  row.rm === "xmm" && row.size === 128 && !UNALIGNED.test(row.name);

function prepare(): void {
  state.setLo(L.FP_TRAP, 0);
  state.setLo(L.MXCSR, 0x1f80);
  state.setNum(L.GPR + L.REG.rdi * 8, PAGE);
  machine.area(L.X87, X87_LAYOUT.size).fill(0);
  machine.fastMemory(false);
}

describe("the tables of vector instructions", () => {
  it("name only instructions that are defined", () => {
    expect(all.filter(e => !machine.set.definitions.has(e.row.name)).map(e => e.row.name)).toEqual([]);
  });
  it("leave undefined what the manual leaves empty (SDM vol. 2, tables A-3 to A-5)", () => {
    prepare();
    const holes = [
      [0xf3, 0x0f, 0x60, 0xc1], // PUNPCKLBW with F3
      [0x0f, 0x6c, 0xc1], // PUNPCKLQDQ exists for XMM only
      [0x66, 0x0f, 0xc5, 0x07, 0], // PEXTRW from memory is in another map
      [0x66, 0x0f, 0x73, 0xc8, 0], // group 14 /1
      [0x0f, 0x71, 0xd8, 0], // group 12 /3
      [0x66, 0x0f, 0x12, 0xc1], // MOVLPD between registers
      [0xf2, 0x0f, 0xf0, 0xc1], // LDDQU between registers
      [0x66, 0x0f, 0x38, 0x2a, 0xc1], // MOVNTDQA between registers
      [0x0f, 0x38, 0x10, 0xc1], // PBLENDVB without 66
      [0xf0, 0x66, 0x0f, 0xfc, 0x07], // LOCK PADDB
    ];
    for (const code of holes) expect(machine.run(code), `${code}`).toBe("undefined");
  });
});

describe("a processor without a feature", () => {
  it("finds its encodings undefined, whatever they mean without their prefix", () => {
    const older = new VectorMachine(["-sse3", "-ssse3", "-sse41", "-sse42"]);
    const gone = all.filter(e => /^(sse3|ssse3|sse4.|movbe)$/.test(e.row.feature ?? ""));
    expect(gone.length).toBeGreaterThan(100);
    for (const e of gone) {
      const code = assemble(e, e.row.only === "mem" ? -1 : 1, false, 0);
      expect(older.run(code), e.row.name).toBe("undefined");
    }
    expect(older.run([0x66, 0x0f, 0xfc, 0xc1])).toBe("done");
  });
});

describe("every vector instruction", () => {
  const vector = all.filter(e => e.row.fp !== undefined);
  const firstForm = (e: Encoding): number[] => assemble(e, e.row.only === "mem" ? -1 : 1, false, 0);

  it("traps before anything else when the system has not enabled it (SDM vol. 3A, 13.1)", () => {
    for (const e of vector) {
      prepare();
      state.setLo(L.FP_TRAP, 3);
      expect(machine.run(firstForm(e)), e.row.name).toBe(e.row.fp === "mmx" ? "mmx_trap" : "sse_trap");
    }
  });
  it("of MMX reports a pending x87 exception first (SDM vol. 3A, 12.4)", () => {
    for (const e of vector.filter(x => x.row.fp === "mmx")) {
      prepare();
      machine.area(L.X87 + X87_LAYOUT.statusWord, 2).set([0x81, 0x80]);
      expect(machine.run(firstForm(e)), e.row.name).toBe("fwait");
    }
  });
  it("with 16 bytes of memory needs them aligned, else #GP(0) (SDM vol. 1, 10.4.1)", () => {
    for (const e of vector.filter(x => x.row.only !== "reg")) {
      prepare();
      state.setNum(L.GPR + L.REG.rdi * 8, PAGE + 8);
      const misaligned = machine.run(assemble(e, -1, false, 0));
      expect(misaligned, e.row.name).toBe(needsAlignment(e) ? "gp0" : "done");
    }
  });
  it("that faults on memory changes no register", () => {
    const rng = new TestRng(7);
    for (const e of all.filter(x => x.row.only !== "reg")) {
      prepare();
      state.setNum(L.GPR + L.REG.rdi * 8, PAGE + 0x2000);
      const registers = machine.area(0, L.RIP);
      const xmms = machine.area(L.XMM, 0x110 + X87_LAYOUT.size);
      for (let i = 0; i < 32; i++) machine.xmm(0)[i] = rng.below(256);
      machine.st(0)[3] = 0x55;
      const before = [...registers, ...xmms, state.eflags];
      expect(machine.run(assemble(e, -1, false, 0xff)), e.row.name).toBe("page fault");
      expect([...registers, ...xmms, state.eflags], e.row.name).toEqual(before);
    }
  });
  it("in legacy code takes the address from the segment, and aligns the linear address (SDM vol. 1, 10.4.1)", () => {
    prepare();
    machine.ram(0x20, 16).set(Array.from({ length: 16 }, (_, i) => i + 1));
    // Segment limits that let nothing pass the fast path; the slow path of the test adds no base.
    state.setNum(L.SEG_BASE + L.SEG.ds * 8, 8);
    state.setNum(L.GPR + L.REG.rdi * 8, PAGE + 0x18);
    expect(machine.run([0x66, 0x0f, 0x6f, 0x07], 1)).toBe("done");
    state.setNum(L.GPR + L.REG.rdi * 8, PAGE + 0x20);
    expect(machine.run([0x66, 0x0f, 0x6f, 0x07], 1)).toBe("gp0");
    expect(machine.run([0xf3, 0x0f, 0x6f, 0x07], 1)).toBe("done");
    expect([...machine.xmm(0)]).toEqual([...machine.ram(0x20, 16)]);
    state.setNum(L.SEG_BASE + L.SEG.ds * 8, 0);
  });
});

describe("MMX registers (SDM vol. 1, 9.2 and vol. 3A, 12.2)", () => {
  it("are the x87's: TOP 0, tags valid, exponent and sign all ones", () => {
    prepare();
    const at = (offset: number): number => state.view.getUint16(state.base + L.X87 + offset, true);
    machine.area(L.X87 + X87_LAYOUT.statusWord, 2).set([0x00, 0x78]);
    machine.area(L.X87 + X87_LAYOUT.tagWord, 2).fill(0xff);
    machine.st(1).set([1, 2, 3, 4, 5, 6, 7, 8, 0, 0]);
    expect(machine.run([0x0f, 0x6f, 0xc1])).toBe("done"); // MOVQ mm0, mm1
    expect([...machine.st(0)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0xff]);
    expect(at(X87_LAYOUT.statusWord)).toBe(0x4000);
    expect(at(X87_LAYOUT.tagWord)).toBe(0);
    expect([...machine.st(1)].slice(8)).toEqual([0, 0]);
  });
});

describe("operands", () => {
  it("reach XMM8 to XMM15 by REX, and ignore REX for MMX (SDM vol. 1, 3.7.2.1)", () => {
    prepare();
    machine.xmm(15).fill(0x5a);
    expect(machine.run([0x45, 0x0f, 0x28, 0xcf])).toBe("done"); // MOVAPS xmm9, xmm15
    expect([...machine.xmm(9)]).toEqual(new Array(16).fill(0x5a));
    machine.st(7).fill(0x77);
    expect(machine.run([0x45, 0x0f, 0x6f, 0xcf])).toBe("done"); // MOVQ mm1, mm7
    expect([...machine.st(1).subarray(0, 8)]).toEqual(new Array(8).fill(0x77));
  });
  it("of CRC32 may be AH (SDM vol. 2, 3.1.1.3)", () => {
    prepare();
    const crc = (code: number[]): number => {
      state.setNum(L.GPR, 0x1234);
      state.setNum(L.GPR + L.REG.rbx * 8, 0x12);
      expect(machine.run(code)).toBe("done");
      return state.lo(L.GPR);
    };
    expect(crc([0xf2, 0x0f, 0x38, 0xf0, 0xc4])).toBe(crc([0xf2, 0x0f, 0x38, 0xf0, 0xc3]));
  });
});

describe("RCPPS and RSQRTPS (SDM vol. 2: relative error at most 1.5 × 2^-12)", () => {
  it.each([
    ["RCPPS", 0x53, (x: number) => 1 / x],
    ["RSQRTPS", 0x52, (x: number) => 1 / Math.sqrt(x)],
  ] as const)("%s approximates", (_name, opcode, exact) => {
    prepare();
    const view = new DataView(machine.xmm(0).buffer, machine.xmm(0).byteOffset, 32);
    const values = [1.5, 3, 0.007, 12345];
    for (const [i, value] of values.entries()) view.setFloat32(16 + i * 4, value, true);
    expect(machine.run([0x0f, opcode, 0xc1])).toBe("done");
    for (const i of [0, 1, 2, 3]) {
      const wanted = exact(view.getFloat32(16 + i * 4, true));
      expect(Math.abs(view.getFloat32(i * 4, true) / wanted - 1)).toBeLessThanOrEqual(1.5 * 2 ** -12);
    }
  });
});

describe("MASKMOVDQU", () => {
  it("stores only the selected bytes, at the address size of the instruction (SDM vol. 2, MASKMOVDQU)", () => {
    prepare();
    machine.ram(0x10, 16).fill(0xee);
    machine.xmm(0).set(Array.from({ length: 16 }, (_, i) => i));
    machine.xmm(1).set(Array.from({ length: 16 }, (_, i) => (i % 3 === 0 ? 0x80 : 0x7f)));
    const wanted = Array.from({ length: 16 }, (_, i) => (i % 3 === 0 ? i : 0xee));
    state.setNum(L.GPR + L.REG.rdi * 8, PAGE + 0x10 + 2 ** 32);
    expect(machine.run([0x66, 0x0f, 0xf7, 0xc1])).toBe("page fault");
    expect(machine.run([0x67, 0x66, 0x0f, 0xf7, 0xc1])).toBe("done");
    expect([...machine.ram(0x10, 16)]).toEqual(wanted);
  });
});

describe("CRC32 (SDM vol. 2, CRC32)", () => {
  it('gives the published CRC-32C of "123456789", 0xE3069283, in pieces of every size', () => {
    prepare();
    const bytes = [...new TextEncoder().encode("123456789")];
    // 8 + 1 bytes: CRC32 with REX.W, then a byte.
    machine.ram(0, 9).set(bytes);
    const crc = (start: number, pieces: readonly (readonly [number, number[]])[]): number => {
      state.setNum(L.GPR, start);
      for (const [at, code] of pieces) {
        state.setNum(L.GPR + L.REG.rdi * 8, PAGE + at);
        expect(machine.run(code)).toBe("done");
      }
      return ~state.int(L.GPR) >>> 0;
    };
    const byte = [0xf2, 0x0f, 0x38, 0xf0, 0x07];
    const word = [0x66, 0xf2, 0x0f, 0x38, 0xf1, 0x07];
    const dword = [0xf2, 0x0f, 0x38, 0xf1, 0x07];
    const qword = [0xf2, 0x48, 0x0f, 0x38, 0xf1, 0x07];
    const wanted = 0xe3069283;
    expect(
      crc(0xffffffff, [
        [0, qword],
        [8, byte],
      ]),
    ).toBe(wanted);
    expect(
      crc(0xffffffff, [
        [0, dword],
        [4, dword],
        [8, byte],
      ]),
    ).toBe(wanted);
    expect(
      crc(0xffffffff, [
        [0, word],
        [2, word],
        [4, dword],
        [8, byte],
      ]),
    ).toBe(wanted);
    expect(
      crc(
        0xffffffff,
        [0, 1, 2, 3, 4, 5, 6, 7, 8].map(i => [i, byte] as const),
      ),
    ).toBe(wanted);
  });
});

describe("floating point on ordinary numbers", () => {
  /** Doubles in XMM0 and XMM1; the precision flag is set, so that inexact results change nothing. */
  const doubles = (...values: number[]): void => {
    prepare();
    state.setLo(L.MXCSR, 0x1fa0);
    const view = new DataView(machine.xmm(0).buffer, machine.xmm(0).byteOffset, 32);
    for (const [i, value] of values.entries()) view.setFloat64(i * 8, value, true);
    machine.slowCalls = 0;
  };
  const low = (): number => new DataView(machine.xmm(0).buffer, machine.xmm(0).byteOffset).getFloat64(0, true);

  it("is computed without calling out", () => {
    for (const [opcode, wanted] of [
      [0x58, 0.1 + 0.7],
      [0x59, 0.1 * 0.7],
      [0x5c, 0.1 - 0.7],
      [0x5e, 0.1 / 0.7],
      [0x51, Math.sqrt(0.7)],
      [0x5d, 0.1],
      [0x5f, 0.7],
    ] as const) {
      for (const prefix of [0xf2, 0x66]) {
        doubles(0.1, 0.1, 0.7, 0.7);
        expect(machine.run([prefix, 0x0f, opcode, 0xc1])).toBe("done");
        expect([low(), machine.slowCalls]).toEqual([wanted, 0]);
      }
    }
    for (const code of [
      [0x66, 0x0f, 0x2e, 0xc1],
      [0xf2, 0x0f, 0xc2, 0xc1, 1],
      [0xf2, 0x0f, 0x2c, 0xc1],
      [0xf2, 0x48, 0x0f, 0x2d, 0xc1],
      [0xf2, 0x0f, 0x2a, 0xc0],
      [0xf2, 0x0f, 0x5a, 0xc1],
      [0x66, 0x0f, 0x3a, 0x0b, 0xc1, 9],
    ]) {
      doubles(0.1, 0.1, 0.7, 0.7);
      expect(machine.run(code)).toBe("done");
      expect(machine.slowCalls, `${code}`).toBe(0);
    }
  });
  it("calls out while the precision flag is clear, for denormals, NaNs, overflow and underflow", () => {
    const slow = (mxcsr: number, a: number, b: number, opcode: number): number => {
      doubles(a, 0, b, 0);
      state.setLo(L.MXCSR, mxcsr);
      machine.run([0xf2, 0x0f, opcode, 0xc1]);
      return machine.slowCalls;
    };
    expect(slow(0x1f80, 0.1, 0.7, 0x58)).toBe(1);
    expect(slow(0x3fa0, 0.1, 0.7, 0x58)).toBe(1);
    expect(slow(0x9fa0, 0.1, 0.7, 0x58)).toBe(1);
    expect(slow(0x1fa0, Number.MIN_VALUE, 0.7, 0x58)).toBe(1);
    expect(slow(0x1fa0, Number.NaN, 0.7, 0x58)).toBe(1);
    expect(slow(0x1fa0, 1e200, 1e200, 0x59)).toBe(1);
    expect(slow(0x1fa0, 1e-200, 1e-200, 0x59)).toBe(1);
    expect(slow(0x1fa0, 1, 0, 0x5e)).toBe(1);
    expect(slow(0x1fa0, 0, 1, 0x5e)).toBe(0);
  });
  it("raises an unmasked exception without a result (SDM vol. 1, 11.5.2)", () => {
    doubles(1, 2, 0, 4);
    state.setLo(L.MXCSR, 0x1da0);
    expect(machine.run([0xf2, 0x0f, 0x5e, 0xc1])).toBe("fault");
    expect([low(), state.lo(L.MXCSR)]).toEqual([1, 0x1da4]);
  });
});
