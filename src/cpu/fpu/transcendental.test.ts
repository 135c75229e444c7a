/** The x87's transcendental functions and constants against literals, identities and the host's Math. */
import { describe, expect, it } from "vitest";
import { BITS, bitLength, LN2, PI } from "./bigfixed.ts";
import { DE, FloatEnv, IE, PE, UE, ZE } from "./float-env.ts";
import { TestRng } from "./oracle/host.testkit.ts";
import { f64ToF80 } from "./softfloat-f64.ts";
import { f2xm1, fcos, fpatan, fptan, fsin, fyl2x, fyl2xp1, loadConstant } from "./transcendental.ts";

const env = new FloatEnv();
const cell = new DataView(new ArrayBuffer(8));
type Words = readonly [se: number, hi: number, lo: number];

function words(x: number): Words {
  cell.setFloat64(0, x);
  f64ToF80(env, cell.getInt32(0), cell.getInt32(4));
  return out();
}
function out(): Words {
  return [env.outSe, env.outHi >>> 0, env.outLo >>> 0];
}
/** The result as a double. */
function value(): number {
  const biased = env.outSe & 0x7fff;
  const m = ((env.outHi >>> 0) * 2 ** 32 + (env.outLo >>> 0)) * 2 ** -63;
  return (env.outSe & 0x8000 ? -1 : 1) * m * 2 ** (biased - 16383);
}
const INF: Words = [0x7fff, 0x80000000, 0];
const NEG_INF: Words = [0xffff, 0x80000000, 0];
const ZERO: Words = [0, 0, 0];
const NEG_ZERO: Words = [0x8000, 0, 0];
const ONE: Words = [0x3fff, 0x80000000, 0];
const NAN: Words = [0x7fff, 0xc0000000, 1];
const INDEFINITE: Words = [0xffff, 0xc0000000, 0];

describe("fixed point", () => {
  it("pi and ln 2 have the digits of the literature", () => {
    // https://oeis.org/A062964 (pi in hexadecimal) and A002162
    expect((PI >> BigInt(BITS - 124)).toString(16)).toBe("3243f6a8885a308d313198a2e0370734");
    expect(Number((LN2 * 10n ** 15n) >> BigInt(BITS))).toBe(693147180559945);
  });

  it("bitLength counts bits", () => {
    for (const n of [1n, 2n, 15n, 16n, 255n, 256n, (1n << 200n) - 1n, 1n << 200n]) {
      expect(bitLength(n)).toBe(n.toString(2).length);
    }
  });
});

describe("constants by rounding mode (SDM vol 1 8.3.4, vol 2 FLDPI)", () => {
  // Columns: nearest, down, up, toward zero; the last byte of the significand.
  const rows: [number, number, number, number, number[]][] = [
    [1, 0x4000, 0xd49a784b, 0xcd1b8a00, [0xfe, 0xfe, 0xff, 0xfe]],
    [2, 0x3fff, 0xb8aa3b29, 0x5c17f000, [0xbc, 0xbb, 0xbc, 0xbb]],
    [3, 0x4000, 0xc90fdaa2, 0x2168c200, [0x35, 0x34, 0x35, 0x34]],
    [4, 0x3ffd, 0x9a209a84, 0xfbcff700, [0x99, 0x98, 0x99, 0x98]],
    [5, 0x3ffe, 0xb17217f7, 0xd1cf7900, [0xac, 0xab, 0xac, 0xab]],
  ];
  it.each(rows)("FLD constant %i", (index, se, hi, lo, last) => {
    for (let rounding = 0; rounding < 4; rounding++) {
      env.rounding = rounding;
      env.flags = 0;
      loadConstant(env, index);
      expect([...out(), env.flags]).toEqual([se, hi, lo + last[rounding]!, 0]);
    }
    env.rounding = 0;
  });
  it("FLD1 and FLDZ", () => {
    loadConstant(env, 0);
    expect(out()).toEqual(ONE);
    loadConstant(env, 6);
    expect(out()).toEqual(ZERO);
  });
});

describe("accuracy against the host's Math (double precision)", () => {
  const close = (got: number, want: number) => {
    expect(Math.abs(got - want)).toBeLessThanOrEqual(Math.abs(want) * 2 ** -50);
  };
  it("F2XM1, FYL2X, FYL2XP1, FPATAN, FSIN, FCOS, FPTAN over many magnitudes", () => {
    const rng = new TestRng(21);
    for (let n = 0; n < 400; n++) {
      const x = (rng.u32() / 2 ** 31 - 1) * 2 ** -rng.below(40);
      const y = (rng.u32() / 2 ** 31 - 1) * 2 ** (rng.below(40) - 20);
      f2xm1(env, ...words(x));
      close(value(), Math.expm1(x * Math.LN2));
      fyl2x(env, ...words(y), ...words(Math.abs(x) + 2 ** -41));
      const log = Math.log2(Math.abs(x) + 2 ** -41);
      if (Math.abs(log) > 0.01) close(value(), y * log);
      fyl2xp1(env, ...words(y), ...words(x / 4));
      close(value(), (y * Math.log1p(x / 4)) / Math.LN2);
      fpatan(env, ...words(y), ...words(x));
      close(value(), Math.atan2(y, x));
      if (Math.abs(y) > 1000) continue;
      fsin(env, ...words(y));
      const sine = Math.sin(y);
      if (Math.abs(sine) > 2 ** -10 || Math.abs(y) < 1) close(value(), sine);
      fcos(env, ...words(y));
      if (Math.abs(Math.cos(y)) > 2 ** -10) close(value(), Math.cos(y));
      fptan(env, ...words(y));
      if (Math.abs(sine) > 2 ** -10 && Math.abs(Math.cos(y)) > 2 ** -10) close(value(), Math.tan(y));
    }
  });

  it("FSIN reduces by the 66-bit pi: the sine of the 64-bit pi is the difference (SDM vol 1 8.3.8)", () => {
    // In units of 2^-66 the 66-bit pi ends in C234C and FLDPI in C2350: pi - x = -4 * 2^-66 = -2^-64.
    fsin(env, 0x4000, 0xc90fdaa2, 0x2168c235);
    expect(out()).toEqual([0x8000 | (0x3fff - 64), 0x80000000, 0]);
  });
});

describe("special operands (the tables of vol 2)", () => {
  const two = (f: typeof fyl2x, y: Words, x: Words) => {
    env.flags = 0;
    f(env, ...y, ...x);
    return [...out(), env.flags];
  };
  const half = words(0.5);
  const quarterPi: Words = [0x3ffe, 0xc90fdaa2, 0x2168c235];
  const pi: Words = [0x4000, 0xc90fdaa2, 0x2168c235];
  const halfPi: Words = [0x3fff, 0xc90fdaa2, 0x2168c235];
  const negative = (w: Words): Words => [w[0] | 0x8000, w[1], w[2]];

  it("FYL2X", () => {
    expect(two(fyl2x, ONE, ZERO)).toEqual([...NEG_INF, ZE]);
    expect(two(fyl2x, negative(ONE), NEG_ZERO)).toEqual([...INF, ZE]);
    expect(two(fyl2x, ZERO, ZERO)).toEqual([...INDEFINITE, IE]);
    expect(two(fyl2x, ONE, negative(ONE))).toEqual([...INDEFINITE, IE]);
    expect(two(fyl2x, INF, ONE)).toEqual([...INDEFINITE, IE]);
    expect(two(fyl2x, INF, half)).toEqual([...NEG_INF, 0]);
    expect(two(fyl2x, ZERO, INF)).toEqual([...INDEFINITE, IE]);
    expect(two(fyl2x, NEG_ZERO, half)).toEqual([...ZERO, 0]);
    expect(two(fyl2x, ONE, ONE)).toEqual([...ZERO, 0]);
    expect(two(fyl2x, ONE, words(8))).toEqual([...words(3), PE]);
    expect(two(fyl2x, NAN, ONE)).toEqual([...NAN, 0]);
  });

  it("FPATAN", () => {
    expect(two(fpatan, ZERO, ZERO)).toEqual([...ZERO, 0]);
    expect(two(fpatan, NEG_ZERO, NEG_ZERO)).toEqual([...negative(pi), PE]);
    expect(two(fpatan, ONE, ZERO)).toEqual([...halfPi, PE]);
    expect(two(fpatan, INF, INF)).toEqual([...quarterPi, PE]);
    expect(two(fpatan, NEG_INF, NEG_INF)).toEqual([0xc000, 0x96cbe3f9, 0x990e91a8, PE]);
    expect(two(fpatan, ONE, NEG_INF)).toEqual([...pi, PE]);
    expect(two(fpatan, ONE, INF)).toEqual([...ZERO, 0]);
    expect(two(fpatan, ONE, ONE)).toEqual([...quarterPi, PE]);
    expect(two(fpatan, [1, 0x80000000, 0], [0x7ffe, 0x80000000, 0])).toEqual([...ZERO, UE | PE]);
  });

  it("F2XM1, FYL2XP1", () => {
    const one = (w: Words) => {
      env.flags = 0;
      f2xm1(env, ...w);
      return [...out(), env.flags];
    };
    expect(one(ONE)).toEqual([...ONE, 0]);
    expect(one(negative(ONE))).toEqual([...negative(half), 0]);
    expect(one(NEG_ZERO)).toEqual([...NEG_ZERO, 0]);
    expect(one(NEG_INF)).toEqual([...negative(ONE), 0]);
    expect(two(fyl2xp1, INF, ZERO)).toEqual([...INDEFINITE, IE]);
    expect(two(fyl2xp1, ONE, NEG_ZERO)).toEqual([...NEG_ZERO, 0]);
    expect(two(fyl2xp1, [0x3fff, 0x80000000, 0], [0, 0, 1])).toEqual([0, 0, 1, DE | UE | PE]);
  });

  it("FSIN, FCOS, FPTAN: infinities are invalid, 2^63 and more is out of range", () => {
    for (const f of [fsin, fcos, fptan]) {
      env.flags = 0;
      expect(f(env, ...INF)).toBe(true);
      expect([...out(), env.flags]).toEqual([...INDEFINITE, IE]);
      env.flags = 0;
      expect(f(env, 0x403e, 0x80000000, 0)).toBe(false);
      expect(f(env, 0x403d, 0xffffffff, 0xffffffff)).toBe(true);
      expect(env.flags).toBe(PE);
    }
    fcos(env, ...ZERO);
    expect(out()).toEqual(ONE);
    fsin(env, ...NEG_ZERO);
    expect(out()).toEqual(NEG_ZERO);
  });

  it("directed rounding sees that the sine of a small number is below it, its tangent above", () => {
    env.rounding = 3;
    fsin(env, 0x3f00, 0x80000000, 0);
    expect(out()).toEqual([0x3eff, 0xffffffff, 0xffffffff]);
    fcos(env, 0x3f00, 0x80000000, 0);
    expect(out()).toEqual([0x3ffe, 0xffffffff, 0xffffffff]);
    env.rounding = 2;
    fptan(env, 0x3f00, 0x80000000, 0);
    expect(out()).toEqual([0x3f00, 0x80000000, 1]);
    env.rounding = 0;
  });
});
