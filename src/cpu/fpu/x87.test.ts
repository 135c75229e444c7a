/** Behaviours of the x87 that do not need the host: state, faults, images, MMX, the two halves of a store. */
import { beforeEach, describe, expect, it } from "vitest";
import { FloatEnv } from "./float-env.ts";
import { isDefined, isWaiting, updatesPointers, X87, X87_AX, X87_EFLAGS, X87_NO_STORE, X87_OK, X87_UD } from "./x87.ts";
import { ENV_PROTECTED16, ENV_PROTECTED32, ENV_REAL16, ENV_REAL32 } from "./x87-image.ts";
import { C0, C1, C2, C3, X87_LAYOUT } from "./x87-state.ts";

const BASE = 64;
const view = new DataView(new ArrayBuffer(BASE + X87_LAYOUT.size));
const x87 = new X87(view, BASE);
const s = x87.state;
const bytes = new DataView(new ArrayBuffer(512));

beforeEach(() => {
  new Uint8Array(view.buffer).fill(0);
  new Uint8Array(bytes.buffer).fill(0);
  x87.init();
});

/** FLD m64 */
function load(x: number): void {
  bytes.setFloat64(0, x, true);
  x87.execLoad(0xdd, 0, bytes, 0, 0);
}
/** FLDCW */
function control(word: number): void {
  bytes.setUint16(0, word, true);
  x87.execLoad(0xd9, 5, bytes, 0, 0);
}
function st(i: number): [number, number, number] {
  return [s.se(i), s.hi(i) >>> 0, s.lo(i) >>> 0];
}

describe("state (SDM vol 1 8.1, vol 2 FINIT)", () => {
  it("FNINIT gives 037F, 0000, FFFF and clears the pointers", () => {
    x87.noteInstruction(0xd8, 0xc1, 8, 1, 2);
    expect(x87.exec(0xdb, 0xe3)).toBe(X87_OK);
    expect([s.fcw, s.fsw, s.ftw]).toEqual([0x37f, 0, 0xffff]);
    expect(view.getBigUint64(BASE + X87_LAYOUT.instructionPointer, true)).toBe(0n);
  });

  it("lies wholly in the given bytes: another X87 on the same bytes goes on", () => {
    load(1.5);
    const other = new X87(view, BASE);
    other.exec(0xd8, 0xc0);
    expect(st(0)).toEqual([0x4000, 0xc0000000, 0]);
  });

  it("a load pushes and a pop empties; TOP counts down from 0 to 7", () => {
    load(1);
    expect([s.top, s.isEmpty(0), s.ftw]).toEqual([7, false, 0x3fff]);
    x87.exec(0xdd, 0xd8);
    expect([s.top, s.ftw]).toEqual([0, 0xffff]);
  });

  it("the tag word of an image tells valid, zero, special and empty (8.1.7)", () => {
    load(1);
    load(0);
    load(Number.POSITIVE_INFINITY);
    expect(s.fullTagWord()).toBe(0b00_01_10_1111111111);
  });
});

describe("stack faults (8.5.1)", () => {
  it("masked underflow: default NaN, IE and SF, C1 = 0", () => {
    x87.exec(0xd8, 0xc1);
    expect(st(0)).toEqual([0xffff, 0xc0000000, 0]);
    expect(s.fsw & 0xff).toBe(0x41);
    expect(s.fsw & C1).toBe(0);
  });

  it("masked overflow: the ninth load pushes the default NaN, C1 = 1", () => {
    for (let i = 0; i < 9; i++) load(i);
    expect(st(0)).toEqual([0xffff, 0xc0000000, 0]);
    expect(s.fsw & (C1 | 0x41)).toBe(C1 | 0x41);
    expect(s.top).toBe(7);
  });

  it("unmasked: nothing is pushed, ES and B are set, the exception is pending", () => {
    for (let i = 0; i < 8; i++) load(i);
    control(0x37e);
    const before = st(0);
    load(9);
    expect([s.top, st(0)]).toEqual([0, before]);
    expect(s.fsw & 0x8080).toBe(0x8080);
    expect(x87.pending()).toBe(true);
  });
});

describe("pending exceptions (8.6, 8.7)", () => {
  it("an unmasked ZE becomes pending and FNCLEX ends it", () => {
    control(0x37b);
    load(1);
    load(0);
    x87.exec(0xdc, 0xf9); // FDIV ST(1), ST(0)
    expect(s.fsw & 0x3f).toBe(0x04);
    expect(st(1)).toEqual([0x3fff, 0x80000000, 0]);
    expect(x87.pending()).toBe(true);
    x87.exec(0xdb, 0xe2);
    expect([x87.pending(), s.fsw & 0x80ff]).toEqual([false, 0]);
  });

  it("unmasking by FLDCW makes a flag that is already set pending", () => {
    load(1);
    load(3);
    x87.exec(0xd8, 0xf9); // inexact
    expect(x87.pending()).toBe(false);
    control(0x35f);
    expect(x87.pending()).toBe(true);
  });

  it("only FNINIT, FNCLEX, FNSTSW, FNSTCW, FNSTENV, FNSAVE (and 8087 no-operations) do not wait", () => {
    const nonWaiting: string[] = [];
    for (let opcode = 0xd8; opcode <= 0xdf; opcode++) {
      for (let modrm = 0; modrm < 256; modrm++) {
        if ((modrm < 0xc0 && (modrm & 0xc7) !== 0) || !isDefined(opcode, modrm) || isWaiting(opcode, modrm)) continue;
        nonWaiting.push(`${opcode.toString(16)}/${modrm < 0xc0 ? (modrm >>> 3) & 7 : modrm.toString(16)}`);
      }
    }
    expect(nonWaiting).toEqual(["d9/6", "d9/7", "db/e0", "db/e1", "db/e2", "db/e3", "db/e4", "dd/6", "dd/7", "df/e0"]);
  });

  it("the control instructions leave the pointers alone (8.1.8)", () => {
    expect([updatesPointers(0xd9, 0x28), updatesPointers(0xdb, 0xe3), updatesPointers(0xdd, 0x38)]).toEqual([
      false,
      false,
      false,
    ]);
    expect([updatesPointers(0xd9, 0x00), updatesPointers(0xd8, 0xc1), updatesPointers(0xdb, 0xf1)]).toEqual([
      true,
      true,
      true,
    ]);
  });
});

describe("encodings", () => {
  it("exec says #UD exactly where isDefined says no (vol 2 appendix A, escape opcodes)", () => {
    for (let opcode = 0xd8; opcode <= 0xdf; opcode++) {
      for (let modrm = 0xc0; modrm < 256; modrm++) {
        x87.init();
        expect(x87.exec(opcode, modrm) === X87_UD).toBe(!isDefined(opcode, modrm));
      }
    }
    expect(["d9/1", "db/4", "db/6", "dd/5"].map(t => x87.memForm(Number.parseInt(t, 16), Number(t[3])))).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it("memory forms tell kind, size and direction", () => {
    expect(x87.memForm(0xdb, 7)).toEqual({ kind: "f80", size: 10, size16: 10, isStore: true, isArith: false });
    expect(x87.memForm(0xd9, 6)).toEqual({ kind: "environment", size: 28, size16: 14, isStore: true, isArith: false });
    expect(x87.memForm(0xdd, 4)).toEqual({ kind: "state", size: 108, size16: 94, isStore: false, isArith: false });
    expect(x87.memForm(0xde, 3)).toEqual({ kind: "i16", size: 2, size16: 2, isStore: false, isArith: true });
  });
});

describe("compare and examine", () => {
  it("FCOMI gives ZF, PF, CF; FNSTSW AX gives the status word", () => {
    load(1);
    load(2);
    expect(x87.exec(0xdb, 0xf1)).toBe(X87_EFLAGS);
    expect(x87.eflags).toBe(0);
    x87.exec(0xd9, 0xc9);
    x87.exec(0xdb, 0xf1);
    expect(x87.eflags).toBe(1);
    x87.exec(0xdb, 0xf0);
    expect(x87.eflags).toBe(0x40);
    expect(x87.exec(0xdf, 0xe0)).toBe(X87_AX);
    expect(x87.ax).toBe(s.fsw);
  });

  it("FCOM sets C3, C2, C0 as 000, 001, 100, 111 (vol 2 FCOM)", () => {
    const codes = (a: number, b: number) => {
      x87.init();
      load(b);
      load(a);
      x87.exec(0xd8, 0xd1);
      return s.fsw & (C0 | C2 | C3);
    };
    expect(codes(2, 1)).toBe(0);
    expect(codes(1, 2)).toBe(C0);
    expect(codes(1, 1)).toBe(C3);
    expect(codes(Number.NaN, 1)).toBe(C0 | C2 | C3);
    expect(s.fsw & 1).toBe(1);
    load(1);
    load(Number.NaN);
    x87.exec(0xdb, 0xe2);
    x87.exec(0xdd, 0xe1); // FUCOM: a quiet NaN is not invalid
    expect(s.fsw & 1).toBe(0);
  });

  it("FXAM classifies (vol 2 FXAM)", () => {
    const exam = (x: number | undefined) => {
      x87.init();
      if (x !== undefined) load(x);
      x87.exec(0xd9, 0xe5);
      return s.fsw & (C0 | C1 | C2 | C3);
    };
    expect(exam(undefined)).toBe(C3 | C0);
    expect(exam(-0)).toBe(C3 | C1);
    expect(exam(1)).toBe(C2);
    expect(exam(Number.NEGATIVE_INFINITY)).toBe(C2 | C0 | C1);
    expect(exam(Number.NaN) & ~C1).toBe(C0);
    s.write(0, 0, 1, 0);
    x87.exec(0xd9, 0xe5);
    expect(s.fsw & (C0 | C2 | C3)).toBe(C3 | C2);
    s.write(0, 5, 1, 0);
    x87.exec(0xd9, 0xe5);
    expect(s.fsw & (C0 | C2 | C3)).toBe(0);
  });

  it("FCMOVcc reads EFLAGS", () => {
    load(5);
    load(6);
    x87.eflags = 0;
    x87.exec(0xda, 0xc1);
    expect(st(0)).toEqual([0x4001, 0xc0000000, 0]);
    x87.eflags = 1;
    x87.exec(0xda, 0xc1);
    expect(st(0)).toEqual([0x4001, 0xa0000000, 0]);
  });
});

describe("stores in two halves", () => {
  it("execStore changes nothing; commitStore sets the flags and pops", () => {
    load(1 / 3);
    const before = new Uint8Array(view.buffer.slice(BASE));
    expect(x87.execStore(0xd9, 3, bytes, 100, 0)).toBe(X87_OK);
    expect(bytes.getFloat32(100, true)).toBe(Math.fround(1 / 3));
    expect(new Uint8Array(view.buffer.slice(BASE))).toEqual(before);
    x87.commitStore();
    expect([s.fsw & 0x3f, s.isEmpty(7)]).toEqual([0x20, true]);
  });

  it("an unmasked overflow stores nothing and does not pop (8.5.4)", () => {
    control(0x377);
    load(1e300);
    expect(x87.execStore(0xd9, 3, bytes, 100, 0)).toBe(X87_NO_STORE);
    x87.commitStore();
    expect([s.fsw & 0x3f, s.isEmpty(0), x87.pending()]).toEqual([0x08, false, true]);
  });

  it("FISTTP truncates whatever RC says; FISTP m64 of an empty stack gives the indefinite", () => {
    control(0xb7f);
    load(2.7);
    x87.execStore(0xdb, 1, bytes, 100, 0);
    x87.commitStore();
    expect(bytes.getInt32(100, true)).toBe(2);
    x87.execStore(0xdf, 7, bytes, 100, 0);
    x87.commitStore();
    expect(bytes.getBigInt64(100, true)).toBe(-(2n ** 63n));
    expect(s.fsw & 0x41).toBe(0x41);
  });
});

describe("images in memory", () => {
  const note = () => {
    load(1);
    x87.noteInstruction(0xdd, 0x45, 0x1234, 0, 0x89abcdef);
    x87.noteOperand(0x5678, 0, 0x76543210);
  };
  const store = (format: number) => {
    x87.execStore(0xd9, 6, bytes, 0, format);
    return Array.from({ length: format >= ENV_REAL32 ? 7 : 14 / 2 }, (_, i) =>
      format >= ENV_REAL32 ? bytes.getUint32(i * 4, true) : bytes.getUint16(i * 2, true),
    );
  };

  it("FNSTENV, 32-bit protected mode (figure 8-9)", () => {
    note();
    expect(store(ENV_PROTECTED32)).toEqual([
      0xffff037f, 0xffff3800, 0xffff3fff, 0x89abcdef, 0x05451234, 0x76543210, 0xffff5678,
    ]);
  });
  it("FNSTENV, 16-bit protected mode (figure 8-11)", () => {
    note();
    expect(store(ENV_PROTECTED16)).toEqual([0x037f, 0x3800, 0x3fff, 0xcdef, 0x1234, 0x3210, 0x5678]);
  });
  it("FNSTENV, real mode, 16 and 32 bits: linear addresses (figures 8-10 and 8-12)", () => {
    load(1);
    x87.noteInstruction(0xdd, 0x45, 0x1234, 0, 0x0010);
    x87.noteOperand(0x5678, 0, 0x0020);
    expect(store(ENV_REAL16)).toEqual([0x037f, 0x3800, 0x3fff, 0x2350, 0x1545, 0x67a0, 0x5000]);
    expect(store(ENV_REAL32).slice(3)).toEqual([0xffff2350, 0x1545, 0xffff67a0, 0x5000]);
  });
  it("FNSTENV masks all exceptions afterwards; FNSAVE initialises", () => {
    control(0x300);
    x87.execStore(0xd9, 6, bytes, 0, ENV_PROTECTED32);
    x87.commitStore();
    expect(s.fcw).toBe(0x37f);
    load(1);
    x87.execStore(0xdd, 6, bytes, 0, ENV_PROTECTED32);
    x87.commitStore();
    expect([s.ftw, s.fsw]).toEqual([0xffff, 0]);
  });

  it.each([ENV_REAL16, ENV_PROTECTED16, ENV_REAL32, ENV_PROTECTED32])(
    "FNSAVE then FRSTOR brings everything back, format %i",
    format => {
      load(1);
      load(-2.5);
      load(0);
      control(0x27f);
      x87.noteInstruction(0xd8, 0xc1, 0, 0, 0x1230);
      const before = new Uint8Array(view.buffer.slice(BASE));
      x87.execStore(0xdd, 6, bytes, 0, format);
      x87.commitStore();
      x87.execLoad(0xdd, 4, bytes, 0, format);
      const after = new Uint8Array(view.buffer.slice(BASE));
      // The 16-bit protected format has no opcode.
      if (format === ENV_PROTECTED16) before.set(after.subarray(134, 136), 134);
      expect(after).toEqual(before);
    },
  );

  it("FXSAVE: abridged tags, registers in stack order, both pointer layouts (vol 1 10.5.1)", () => {
    load(1);
    load(2);
    x87.noteInstruction(0xdd, 0x45, 0x1234, 0xffff8000, 0x89abcdef);
    x87.noteOperand(0x5678, 0x7fff, 0x76543210);
    x87.fxsave(false, bytes, 0);
    expect([0, 2, 4, 6].map(i => bytes.getUint16(i, true))).toEqual([0x37f, 0x3000, 0xc0, 0x545]);
    expect([8, 12, 16, 20].map(i => bytes.getUint32(i, true))).toEqual([0x89abcdef, 0x1234, 0x76543210, 0x5678]);
    expect([bytes.getUint16(40, true), bytes.getUint32(36, true), bytes.getUint16(56, true)]).toEqual([
      0x4000, 0x80000000, 0x3fff,
    ]);
    x87.fxsave(true, bytes, 0);
    expect(bytes.getBigUint64(8, true)).toBe(0xffff800089abcdefn);
    const before = new Uint8Array(view.buffer.slice(BASE));
    x87.init();
    x87.fxrstor(true, bytes, 0);
    before.fill(0, X87_LAYOUT.codeSelector); // the 64-bit form has no selectors
    expect(new Uint8Array(view.buffer.slice(BASE))).toEqual(before);
  });
});

describe("MMX registers lie on the significands (9.2, 9.5.1)", () => {
  it("an MMX instruction sets TOP = 0 and all tags valid; a write sets the exponent to ones; EMMS empties", () => {
    load(1);
    x87.enterMmx();
    expect([s.top, s.ftw]).toEqual([0, 0]);
    view.setBigUint64(BASE + 3 * X87_LAYOUT.registerStride, 0x1122334455667788n, true);
    x87.mmxWritten(3);
    expect(st(3)).toEqual([0xffff, 0x11223344, 0x55667788]);
    x87.emms();
    expect(s.ftw).toBe(0xffff);
  });
});

describe("environment of an operation", () => {
  it("takes rounding, precision and masks from the control word, and DAZ, FTZ from MXCSR", () => {
    const env = new FloatEnv();
    env.fromControlWord(0x0a3e);
    expect([env.rounding, env.precision, env.masks]).toEqual([2, 53, 0x3e]);
    env.fromControlWord(0x007f);
    expect(env.precision).toBe(24);
    env.fromMxcsr(0xffc0);
    expect([env.rounding, env.masks, env.ftz, env.daz]).toEqual([3, 0x3f, true, true]);
    env.fromMxcsr(0x1f80);
    expect([env.rounding, env.ftz, env.daz]).toEqual([0, false, false]);
  });
});
