/** Conversions between formats, integers and packed decimal, and rounding to integral values. */
import { describe, expect, it } from "vitest";
import { FloatEnv, IE, PE, ROUND_ZERO } from "./float-env.ts";
import { TestRng } from "./oracle/host.testkit.ts";
import { fromDecimal } from "./softfloat-convert.ts";
import { f32ToF64, f32ToInt, int32ToF32, int64ToF32, roundIntF32, uint32ToF32 } from "./softfloat-f32.ts";
import { f64ToF32, f64ToF80, f64ToInt, int32ToF64, int64ToF64, roundIntF64, uint32ToF64 } from "./softfloat-f64.ts";
import { f80ToDecimal, f80ToF64, f80ToInt, int64ToF80 } from "./softfloat-f80.ts";

const cell = new DataView(new ArrayBuffer(16));
function words(x: number): [number, number] {
  cell.setFloat64(0, x);
  return [cell.getInt32(0), cell.getInt32(4)];
}
function double(env: FloatEnv): number {
  cell.setInt32(0, env.outHi);
  cell.setInt32(4, env.outLo);
  return cell.getFloat64(0);
}
function single(env: FloatEnv): number {
  cell.setInt32(0, env.outLo);
  return cell.getFloat32(0);
}
function bitsOf(x: number): number {
  cell.setFloat32(0, x);
  return cell.getInt32(0);
}

describe("floating point to integer", () => {
  const env = new FloatEnv();
  const convert = (x: number, bits: number, rounding: number) => {
    env.flags = 0;
    const [hi, lo] = words(x);
    f64ToInt(env, bits, hi, lo, rounding);
    const value = BigInt.asIntN(bits, (BigInt(env.outHi) << 32n) | BigInt(env.outLo >>> 0));
    return [value, env.flags];
  };

  it("rounds to nearest even, down, up and toward zero", () => {
    const rows: [number, bigint[]][] = [
      [2.5, [2n, 2n, 3n, 2n]],
      [3.5, [4n, 3n, 4n, 3n]],
      [-2.5, [-2n, -3n, -2n, -2n]],
      [-0.25, [0n, -1n, 0n, 0n]],
      [0.75, [1n, 0n, 1n, 0n]],
    ];
    for (const [x, want] of rows) {
      for (const bits of [16, 32, 64]) {
        for (let rounding = 0; rounding < 4; rounding++) {
          expect(convert(x, bits, rounding)).toEqual([want[rounding], PE]);
        }
      }
    }
  });

  it("gives the integer indefinite with IE, and no PE, out of range, for NaN and infinity (4.9.1.1)", () => {
    for (const x of [2 ** 63, -(2 ** 63) * 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(convert(x, 64, 0)).toEqual([-(2n ** 63n), IE]);
      expect(convert(x, 32, ROUND_ZERO)).toEqual([-(2n ** 31n), IE]);
      expect(convert(x, 16, 0)).toEqual([-(2n ** 15n), IE]);
    }
  });

  it("decides the range after rounding: 2147483647.5 fits when truncated only", () => {
    expect(convert(2147483647.5, 32, ROUND_ZERO)).toEqual([2147483647n, PE]);
    expect(convert(2147483647.5, 32, 0)).toEqual([-2147483648n, IE]);
    expect(convert(-2147483648.5, 32, 0)).toEqual([-2147483648n, PE]);
    expect(convert(-2147483648.5, 32, 1)).toEqual([-2147483648n, IE]);
    expect(convert(32767.5, 16, ROUND_ZERO)).toEqual([32767n, PE]);
    expect(convert(32767.5, 16, 0)).toEqual([-32768n, IE]);
    expect(convert(-(2 ** 63), 64, 0)).toEqual([-(2n ** 63n), 0]);
  });

  it("agrees with Math.trunc and Math.round-half-even on random doubles", () => {
    const rng = new TestRng(3);
    for (let n = 0; n < 5000; n++) {
      const x = (rng.u32() - 2 ** 31) / 2 ** rng.below(34);
      const t = Math.trunc(x);
      expect(convert(x, 32, ROUND_ZERO)).toEqual([BigInt(t), t === x ? 0 : PE]);
      const floor = Math.floor(x);
      const even = x - floor > 0.5 || (x - floor === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
      expect(convert(x, 64, 0)[0]).toBe(BigInt(even));
    }
    expect(
      (() => {
        env.flags = 0;
        f32ToInt(env, 32, bitsOf(-7.9), ROUND_ZERO);
        return [env.outLo, env.flags];
      })(),
    ).toEqual([-7, PE]);
  });
});

describe("integer to floating point", () => {
  const env = new FloatEnv();
  it("is exact where it fits and rounded otherwise", () => {
    env.flags = 0;
    int32ToF64(env, -2147483648);
    expect([double(env), env.flags]).toEqual([-2147483648, 0]);
    uint32ToF64(env, 0xffffffff);
    expect([double(env), env.flags]).toEqual([4294967295, 0]);
    int64ToF64(env, 0x7fffffff, 0xffffffff);
    expect([double(env), env.flags]).toEqual([2 ** 63, PE]);
    env.flags = 0;
    int32ToF32(env, 0x01000001);
    expect([single(env), env.flags]).toEqual([2 ** 24, PE]);
    uint32ToF32(env, 0xffffffff);
    expect(single(env)).toBe(2 ** 32);
    int64ToF32(env, -1, -1);
    expect(single(env)).toBe(-1);
    env.flags = 0;
    int64ToF80(env, 0x80000000, 0);
    expect([env.outSe, env.outHi >>> 0, env.outLo, env.flags]).toEqual([0xc03e, 0x80000000, 0, 0]);
    int64ToF80(env, 0, 0);
    expect([env.outSe, env.outHi, env.outLo]).toEqual([0, 0, 0]);
  });
});

describe("between formats", () => {
  const env = new FloatEnv();
  it("widening is exact, narrowing is Math.fround", () => {
    const rng = new TestRng(4);
    for (let n = 0; n < 3000; n++) {
      const x = (rng.u32() - 2 ** 31) * 2 ** (rng.below(300) - 150);
      const [hi, lo] = words(x);
      f64ToF32(env, hi, lo);
      expect(single(env)).toBe(Math.fround(x));
      f32ToF64(env, bitsOf(x));
      expect(double(env)).toBe(Math.fround(x));
      f64ToF80(env, hi, lo);
      f80ToF64(env, env.outSe, env.outHi, env.outLo);
      expect(double(env)).toBe(x);
    }
  });

  it("a NaN keeps the upper bits of its payload and becomes quiet", () => {
    env.flags = 0;
    f64ToF32(env, 0x7ff12345, 0x60000000);
    expect([env.outLo >>> 0, env.flags]).toEqual([0x7fc91a2b, IE]);
    f32ToF64(env, 0xffc00001);
    expect([env.outHi >>> 0, env.outLo]).toEqual([0xfff80000, 0x20000000]);
  });
});

describe("rounding to integral values (ROUNDSD, FRNDINT)", () => {
  const env = new FloatEnv();
  it("keeps the sign of zero and suppresses PE when told to", () => {
    const round = (x: number, rounding: number, quiet: boolean) => {
      env.flags = 0;
      const [hi, lo] = words(x);
      roundIntF64(env, hi, lo, rounding, quiet);
      return [double(env), env.flags];
    };
    expect(round(-0.5, 0, false)).toEqual([-0, PE]);
    expect(round(-0.5, 0, true)).toEqual([-0, 0]);
    expect(round(-0.5, 1, false)).toEqual([-1, PE]);
    expect(round(1e300, 2, false)).toEqual([1e300, 0]);
    expect(round(4503599627370495.5, 0, false)).toEqual([4503599627370496, PE]);
    roundIntF32(env, bitsOf(8388607.5), 1, false);
    expect(single(env)).toBe(8388607);
  });
});

describe("packed decimal (SDM vol 1 4.7, FBLD, FBSTP)", () => {
  const env = new FloatEnv();
  const view = new DataView(new ArrayBuffer(10));
  const digits = () => {
    let s = "";
    for (let i = 9; i >= 0; i--) s += view.getUint8(i).toString(16).padStart(2, "0");
    return s;
  };

  it("stores 18 digits and a sign, and loads them back", () => {
    const rng = new TestRng(8);
    for (let n = 0; n < 300; n++) {
      const value = (BigInt(rng.u32()) * BigInt(rng.u32()) * BigInt(n & 1 ? 1 : -1)) % 10n ** 18n;
      int64ToF80(env, Number(value >> 32n) | 0, Number(value & 0xffffffffn) | 0);
      const [se, hi, lo] = [env.outSe, env.outHi, env.outLo];
      env.flags = 0;
      f80ToDecimal(env, se, hi, lo, view, 0);
      const text = (value < 0n ? -value : value).toString().padStart(18, "0");
      expect([digits(), env.flags]).toEqual([`${value < 0n ? "80" : "00"}${text}`, 0]);
      fromDecimal(env, view, 0);
      expect([env.outSe, env.outHi, env.outLo]).toEqual([se, hi, lo]);
    }
  });

  it("10^18, NaN and infinity give the packed-decimal indefinite with IE", () => {
    int64ToF80(env, 0x0de0b6b3, 0xa7640000);
    env.flags = 0;
    f80ToDecimal(env, env.outSe, env.outHi, env.outLo, view, 0);
    expect([digits(), env.flags]).toEqual(["ffffc000000000000000", IE]);
    f80ToDecimal(env, 0x7fff, 0x80000000, 0, view, 0);
    expect(digits()).toBe("ffffc000000000000000");
  });

  it("integer stores of 80-bit values reach the ends of their ranges", () => {
    env.flags = 0;
    f80ToInt(env, 64, 0xc03e, 0x80000000, 0, 0);
    expect([env.outHi, env.outLo, env.flags]).toEqual([-2147483648, 0, 0]);
    f80ToInt(env, 64, 0x403e, 0x80000000, 0, 0);
    expect([env.outHi, env.outLo, env.flags]).toEqual([-2147483648, 0, IE]);
    env.flags = 0;
    f80ToInt(env, 64, 0x403d, 0xffffffff, 0xfffffffe, 0);
    expect([env.outHi, env.outLo, env.flags]).toEqual([0x7fffffff, -1, 0]);
  });
});
