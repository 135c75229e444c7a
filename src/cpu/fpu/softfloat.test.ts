/** Arithmetic in all formats and rounding modes against exact rationals, and against the host's doubles. */
import { describe, expect, it } from "vitest";
import { DE, FloatEnv, IE, OE, PE, ROUND_DOWN, UE, ZE } from "./float-env.ts";
import { randomF32, randomF64, randomF80, TestRng } from "./oracle/host.testkit.ts";
import {
  BINARY32,
  BINARY64,
  decode,
  decode80,
  type Exact,
  EXTENDED,
  encode,
  exactly,
  type Format,
  roundExact,
  squareRoot,
} from "./softfloat.testkit.ts";
import * as s32 from "./softfloat-f32.ts";
import * as s64 from "./softfloat-f64.ts";
import * as s80 from "./softfloat-f80.ts";

const OPS = ["add", "sub", "mul", "div"] as const;
const CASES = 3000;

function join(hi: number, lo: number): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
}

/** Like expect(a).toBe(b), without its cost when they are equal: these loops make hundreds of thousands of checks. */
function same<T>(a: T, b: T): void {
  if (a !== b) expect(a).toBe(b);
}

/** The flags and pattern that the model expects of a binary operation on finite operands, b not zero for div. */
function expected(
  op: (typeof OPS)[number],
  a: Exact,
  b: Exact,
  format: Format,
  rounding: number,
): { value: ReturnType<typeof roundExact> | undefined; zeroSign: 0 | 1 } {
  const exact = exactly(op, a, b);
  if (exact.numerator !== 0n) return { value: roundExact(exact, format, rounding), zeroSign: 0 };
  const signB = op === "sub" ? 1 - b.sign : b.sign;
  const sum = op === "add" || op === "sub";
  const both = a.numerator === 0n && b.numerator === 0n && a.sign === signB;
  return { value: undefined, zeroSign: sum ? (both ? a.sign : rounding === ROUND_DOWN ? 1 : 0) : exact.sign };
}

describe("binary32 and binary64 arithmetic is correctly rounded with exact flags in every mode (IEEE 754 5.4.1)", () => {
  it.each(OPS)("%s of binary64", op => {
    const rng = new TestRng(op.charCodeAt(0));
    const env = new FloatEnv();
    const f = { add: s64.addF64, sub: s64.subF64, mul: s64.mulF64, div: s64.divF64 }[op];
    for (let n = 0; n < CASES; n++) {
      const [aHi, aLo] = randomF64(rng);
      const [bHi, bLo] = randomF64(rng);
      const finite = ((aHi >>> 20) & 0x7ff) !== 0x7ff && ((bHi >>> 20) & 0x7ff) !== 0x7ff;
      if (!finite || (op === "div" && ((bHi << 1) | bLo) === 0)) continue;
      env.rounding = n & 3;
      env.flags = 0;
      f(env, aHi, aLo, bHi, bLo);
      const a = decode(join(aHi, aLo), BINARY64, 64);
      const b = decode(join(bHi, bLo), BINARY64, 64);
      const { value, zeroSign } = expected(op, a, b, BINARY64, env.rounding);
      const want = value === undefined ? BigInt(zeroSign) << 63n : encode(value, BINARY64, 64);
      const denormal = isDenormal64(aHi, aLo) || isDenormal64(bHi, bLo) ? DE : 0;
      same(join(env.outHi, env.outLo), want);
      same(env.flags, (value?.flags ?? 0) | denormal);
    }
  });

  it.each(OPS)("%s of binary32", op => {
    const rng = new TestRng(op.charCodeAt(1));
    const env = new FloatEnv();
    const f = { add: s32.addF32, sub: s32.subF32, mul: s32.mulF32, div: s32.divF32 }[op];
    for (let n = 0; n < CASES; n++) {
      const x = randomF32(rng);
      const y = randomF32(rng);
      const finite = ((x >>> 23) & 0xff) !== 0xff && ((y >>> 23) & 0xff) !== 0xff;
      if (!finite || (op === "div" && y << 1 === 0)) continue;
      env.rounding = n & 3;
      env.flags = 0;
      f(env, x, y);
      const a = decode(BigInt(x), BINARY32, 32);
      const b = decode(BigInt(y), BINARY32, 32);
      const { value, zeroSign } = expected(op, a, b, BINARY32, env.rounding);
      const want = value === undefined ? BigInt(zeroSign) << 31n : encode(value, BINARY32, 32);
      const denormal = isDenormal32(x) || isDenormal32(y) ? DE : 0;
      same(BigInt(env.outLo >>> 0), want);
      same(env.flags, (value?.flags ?? 0) | denormal);
    }
  });

  it("square roots", () => {
    const rng = new TestRng(5);
    const env = new FloatEnv();
    for (let n = 0; n < CASES; n++) {
      const [hi, lo] = randomF64(rng);
      const magnitude = hi & 0x7fffffff;
      env.rounding = n & 3;
      if (magnitude >>> 20 !== 0x7ff && (magnitude | lo) !== 0) {
        env.flags = 0;
        s64.sqrtF64(env, magnitude, lo);
        const r = roundExact(squareRoot(decode(join(magnitude, lo), BINARY64, 64)), BINARY64, env.rounding);
        same(join(env.outHi, env.outLo), encode(r, BINARY64, 64));
        same(env.flags & ~DE, r.flags);
      }
      const x = randomF32(rng) & 0x7fffffff;
      if (x >= 0x7f800000 || x === 0) continue;
      env.flags = 0;
      s32.sqrtF32(env, x);
      const r = roundExact(squareRoot(decode(BigInt(x), BINARY32, 32)), BINARY32, env.rounding);
      same(BigInt(env.outLo >>> 0), encode(r, BINARY32, 32));
      same(env.flags & ~DE, r.flags);
    }
  });
});

function isDenormal64(hi: number, lo: number): boolean {
  return (hi & 0x7ff00000) === 0 && ((hi << 12) | lo) !== 0;
}
function isDenormal32(x: number): boolean {
  return (x & 0x7f800000) === 0 && x << 9 !== 0;
}

describe("80-bit arithmetic under precision control is correctly rounded (SDM vol 1 8.1.5.2)", () => {
  it.each(OPS)("%s with 24, 53 and 64 bits", op => {
    const rng = new TestRng(op.charCodeAt(2));
    const env = new FloatEnv();
    const f = { add: s80.addF80, sub: s80.subF80, mul: s80.mulF80, div: s80.divF80 }[op];
    for (let n = 0; n < CASES; n++) {
      const [aSe, aHi, aLo] = randomF80(rng);
      const [bSe, bHi, bLo] = randomF80(rng);
      if (!isPlain(aSe, aHi) || !isPlain(bSe, bHi) || (op === "div" && (bHi | bLo) === 0)) continue;
      env.rounding = n & 3;
      env.precision = rng.pick([24, 53, 64]);
      env.flags = 0;
      f(env, aSe, aHi, aLo, bSe, bHi, bLo);
      const a = decode80(aSe, join(aHi, aLo));
      const b = decode80(bSe, join(bHi, bLo));
      const format: Format = { ...EXTENDED, precision: env.precision };
      const { value, zeroSign } = expected(op, a, b, format, env.rounding);
      const got = `${env.outSe} ${join(env.outHi, env.outLo)} ${env.flags & ~DE}`;
      if (value === undefined) {
        same(got, `${zeroSign << 15} 0 0`);
        continue;
      }
      const significand = value.infinite ? 1n << 63n : value.significand << BigInt(64 - env.precision);
      const biased = value.infinite ? 0x7fff : significand >> 63n === 1n ? value.exp + 16383 : 0;
      same(got, `${(value.sign << 15) | biased} ${significand} ${value.flags}`);
    }
  });
});

function isPlain(se: number, hi: number): boolean {
  const biased = se & 0x7fff;
  return biased !== 0x7fff && (biased === 0 || hi >>> 31 === 1);
}

describe("the fast paths are the host's own doubles", () => {
  it("add, sub, mul, div, sqrt in round to nearest equal + - * / Math.sqrt, and Math.fround of them", () => {
    const rng = new TestRng(9);
    const env = new FloatEnv();
    const cell = new DataView(new ArrayBuffer(16));
    const word = (x: number, at: number) => {
      cell.setFloat64(0, x);
      return cell.getInt32(at);
    };
    for (let n = 0; n < 20000; n++) {
      const x = (rng.u32() / 65536 - 30000) * 2 ** (rng.below(80) - 40);
      const y = (rng.u32() / 65536 - 20000) * 2 ** (rng.below(80) - 40);
      const pairs = [
        [s64.addF64, x + y],
        [s64.subF64, x - y],
        [s64.mulF64, x * y],
        [s64.divF64, x / y],
      ] as const;
      for (const [f, want] of pairs) {
        f(env, word(x, 0), word(x, 4), word(y, 0), word(y, 4));
        same(env.outHi, word(want, 0));
        same(env.outLo, word(want, 4));
      }
      const p = Math.fround(x);
      const q = Math.fround(y);
      cell.setFloat32(8, p);
      cell.setFloat32(12, q);
      s32.mulF32(env, cell.getUint32(8), cell.getUint32(12));
      const product = env.outLo;
      cell.setFloat32(8, Math.fround(p * q));
      same(product, cell.getInt32(8));
    }
  });
});

describe("special operands", () => {
  const env = new FloatEnv();
  const f32 = (f: (e: FloatEnv, a: number, b: number) => void, a: number, b: number) => {
    env.flags = 0;
    env.rounding = 0;
    f(env, a, b);
    return [env.outLo >>> 0, env.flags];
  };

  it("SSE: the first NaN operand, quieted, is the result; a signalling one raises IE (SDM vol 1 table 4-7)", () => {
    expect(f32(s32.addF32, 0x7fc00001, 0xffc00002)).toEqual([0x7fc00001, 0]);
    expect(f32(s32.addF32, 0x7fc00001, 0x7f800002)).toEqual([0x7fc00001, IE]);
    expect(f32(s32.addF32, 0x7f800001, 0x7fc00002)).toEqual([0x7fc00001, IE]);
    expect(f32(s32.addF32, 0x3f800000, 0xff800002)).toEqual([0xffc00002, IE]);
  });

  it("x87: the NaN with the larger significand, and a quiet one before a signalling one (table 4-7)", () => {
    s80.addF80(env, 0x7fff, 0xc0000000, 1, 0xffff, 0xc0000000, 2);
    expect([env.outSe, env.outHi >>> 0, env.outLo]).toEqual([0xffff, 0xc0000000, 2]);
    s80.addF80(env, 0x7fff, 0x80000000, 9, 0xffff, 0xc0000000, 2);
    expect([env.outSe, env.outHi >>> 0, env.outLo]).toEqual([0xffff, 0xc0000000, 2]);
    s80.addF80(env, 0xffff, 0xc0000000, 2, 0x7fff, 0xc0000000, 2);
    expect(env.outSe).toBe(0x7fff);
  });

  it("a result just below the normal range that rounds up into it is tiny: UE and PE (4.9.1.5)", () => {
    // (1 - 2^-24) * 2^-126 has 24 significant bits, so it is tiny after rounding; as a denormal it is a tie.
    expect(f32(s32.mulF32, 0x3f7fffff, 0x00800000)).toEqual([0x00800000, UE | PE]);
    // (1 - 2^-23) * (1 + 2^-23) * 2^-126 = (1 - 2^-46) * 2^-126 rounds to 2^-126 in 24 bits already: not tiny.
    expect(f32(s32.mulF32, 0x3f7ffffe, 0x00800001)).toEqual([0x00800000, PE]);
    env.flags = 0;
    s64.mulF64(env, 0x3fefffff, 0xffffffff, 0x00100000, 0);
    expect([env.outHi, env.outLo, env.flags]).toEqual([0x00100000, 0, UE | PE]);
  });

  it("invalid operations give the default NaN, negative and quiet (4.8.3.7)", () => {
    expect(f32(s32.subF32, 0x7f800000, 0x7f800000)).toEqual([0xffc00000, IE]);
    expect(f32(s32.mulF32, 0x7f800000, 0x80000000)).toEqual([0xffc00000, IE]);
    expect(f32(s32.divF32, 0, 0x80000000)).toEqual([0xffc00000, IE]);
    expect(f32(s32.divF32, 0x7f800000, 0xff800000)).toEqual([0xffc00000, IE]);
    expect(f32((e, a) => s32.sqrtF32(e, a), 0xbf800000, 0)).toEqual([0xffc00000, IE]);
    expect(f32((e, a) => s32.sqrtF32(e, a), 0x80000000, 0)).toEqual([0x80000000, 0]);
  });

  it("a finite number divided by zero is an infinity with ZE (4.9.1.3)", () => {
    expect(f32(s32.divF32, 0xbf800000, 0)).toEqual([0xff800000, ZE]);
  });

  it("an unsupported 80-bit encoding is an invalid operand (8.2.2, table 8-3)", () => {
    for (const [se, hi] of [
      [0x7fff, 0x40000000],
      [0x7fff, 0],
      [0x3fff, 0x7fffffff],
    ] as const) {
      env.flags = 0;
      s80.mulF80(env, se, hi, 1, 0x3fff, 0x80000000, 0);
      expect([env.outSe, env.outHi >>> 0, env.outLo, env.flags]).toEqual([0xffff, 0xc0000000, 0, IE]);
    }
  });

  it("DAZ reads denormals as zeros without DE, FTZ gives zero with UE and PE (10.2.3.3, 10.2.3.4)", () => {
    env.daz = true;
    expect(f32(s32.mulF32, 0x807fffff, 0x40000000)).toEqual([0x80000000, 0]);
    env.daz = false;
    env.ftz = true;
    expect(f32(s32.mulF32, 0x80800000, 0x3f000000)).toEqual([0x80000000, UE | PE]);
    env.ftz = false;
    expect(f32(s32.mulF32, 0x80800000, 0x3f000000)).toEqual([0x80400000, 0]);
  });

  it("unmasked overflow and underflow of an 80-bit result adjust the exponent by 24576 (8.5.4, 8.5.5)", () => {
    env.masks = 0x3f & ~(OE | UE);
    env.flags = 0;
    env.precision = 64;
    s80.mulF80(env, 0x7ffe, 0x80000000, 0, 0x7ffe, 0x80000000, 0);
    expect([env.outSe, env.outHi >>> 0, env.flags]).toEqual([0x7ffe + 0x7ffe - 0x3fff - 24576, 0x80000000, OE]);
    env.flags = 0;
    s80.mulF80(env, 1, 0x80000000, 0, 1, 0x80000000, 0);
    expect([env.outSe, env.outHi >>> 0, env.flags]).toEqual([2 - 0x3fff + 24576, 0x80000000, UE]);
    env.masks = 0x3f;
  });

  it("an unmasked exception before the computation leaves no result (4.9.2)", () => {
    env.masks = 0x3f & ~DE;
    env.flags = 0;
    s64.mulF64(env, 0, 1, 0x7fe00000, 0);
    expect([env.noResult, env.flags]).toEqual([1, DE]);
    env.masks = 0x3f;
  });
});

describe("minimum, maximum and compare", () => {
  const env = new FloatEnv();
  it("MIN and MAX give the second operand for a NaN (with IE), two zeros, or equals (vol 2 MINPS)", () => {
    const min = (a: number, b: number) => {
      env.flags = 0;
      s32.minF32(env, a, b);
      return [env.outLo >>> 0, env.flags];
    };
    expect(min(0x7fc00000, 0x3f800000)).toEqual([0x3f800000, IE]);
    expect(min(0x3f800000, 0x7f800001)).toEqual([0x7f800001, IE]);
    expect(min(0, 0x80000000)).toEqual([0x80000000, 0]);
    expect(min(0x80000000, 0)).toEqual([0, 0]);
    expect(min(0xc0000000, 0x3f800000)).toEqual([0xc0000000, 0]);
    s64.maxF64(env, 0x80000000, 0, 0, 0);
    expect([env.outHi, env.outLo]).toEqual([0, 0]);
  });

  it("a quiet NaN raises IE only in a signalling compare (vol 2 UCOMISD, COMISD)", () => {
    env.flags = 0;
    expect(s64.compareF64(env, 0x7ff80000, 0, 0, 0, false)).toBe(2);
    expect(env.flags).toBe(0);
    expect(s64.compareF64(env, 0x7ff80000, 0, 0, 0, true)).toBe(2);
    expect(env.flags).toBe(IE);
  });
});
