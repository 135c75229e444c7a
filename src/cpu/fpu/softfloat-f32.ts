/**
 * Binary32 operations on 32-bit patterns: fast paths on the host's doubles, everything else through the unpacked forms.
 *
 * Document: IEEE 754-2008; Intel SDM vol 1 chapters 10 and 11. A binary64 result rounded once more to binary32 is the
 * correctly rounded one for add, subtract, multiply, divide and square root, since 53 >= 2 * 24 + 2 (Figueroa 1995).
 * Results are in env.outLo.
 */
import { type FloatEnv, PE, ROUND_NEAREST } from "./float-env.ts";
import { addUnpacked, divUnpacked, mulUnpacked, sqrtUnpacked } from "./softfloat-arith.ts";
import { compareUnpacked, takesSecond } from "./softfloat-compare.ts";
import { convertFormat, fromInteger, fromUint32, roundToIntegral, toInteger } from "./softfloat-convert.ts";
import { F32, F64, F80 } from "./softfloat-round.ts";
import { Unpacked, unpackF32 } from "./softfloat-unpack.ts";

const a = new Unpacked();
const b = new Unpacked();

const singles = new Float32Array(2);
const words = new Int32Array(singles.buffer);

const MIN_NORMAL = 2 ** -126;
/** The largest finite binary32. */
const MAX_FINITE = 3.4028234663852886e38;

/** Whether an operand is zero or a normal number. */
function isPlain(x: number): boolean {
  const m = Math.abs(x);
  return (m >= MIN_NORMAL && m <= MAX_FINITE) || m === 0;
}

/** Whether a rounded result is finite and not (or not nearly) denormal; the boundary itself may have been tiny. */
function isClear(r: number): boolean {
  const m = Math.abs(r);
  return m > MIN_NORMAL && m <= MAX_FINITE;
}

function store(env: FloatEnv, r: number, inexact: boolean): void {
  singles[0] = r;
  env.outHi = 0;
  env.outLo = words[0]!;
  env.noResult = 0;
  if (inexact) env.flags |= PE;
}

function fastAdd(env: FloatEnv, x: number, y: number): boolean {
  if (!isPlain(x) || !isPlain(y)) return false;
  const wide = x + y;
  const r = Math.fround(wide);
  if (!isClear(r) && wide !== 0) return false;
  const t = wide - x;
  store(env, r, r !== wide || x - (wide - t) + (y - t) !== 0);
  return true;
}

/** a + b. */
export function addF32(env: FloatEnv, x: number, y: number): void {
  if (env.rounding === ROUND_NEAREST) {
    words[0] = x;
    words[1] = y;
    if (fastAdd(env, singles[0]!, singles[1]!)) return;
  }
  unpackF32(a, x, env.daz);
  unpackF32(b, y, env.daz);
  addUnpacked(env, F32, 24, a, b, 0);
}

/** a - b. */
export function subF32(env: FloatEnv, x: number, y: number): void {
  if (env.rounding === ROUND_NEAREST) {
    words[0] = x;
    words[1] = y;
    if (fastAdd(env, singles[0]!, -singles[1]!)) return;
  }
  unpackF32(a, x, env.daz);
  unpackF32(b, y, env.daz);
  addUnpacked(env, F32, 24, a, b, 1);
}

/** a * b. */
export function mulF32(env: FloatEnv, x: number, y: number): void {
  if (env.rounding === ROUND_NEAREST) {
    words[0] = x;
    words[1] = y;
    const wide = singles[0]! * singles[1]!; // exact: 48 bits
    const r = Math.fround(wide);
    if (isClear(singles[0]!) && isClear(singles[1]!) && isClear(r)) {
      store(env, r, r !== wide);
      return;
    }
  }
  unpackF32(a, x, env.daz);
  unpackF32(b, y, env.daz);
  mulUnpacked(env, F32, 24, a, b);
}

/** a / b. */
export function divF32(env: FloatEnv, x: number, y: number): void {
  if (env.rounding === ROUND_NEAREST) {
    words[0] = x;
    words[1] = y;
    const p = singles[0]!;
    const q = singles[1]!;
    const r = Math.fround(p / q);
    if (isClear(p) && isClear(q) && isClear(r)) {
      store(env, r, r * q !== p);
      return;
    }
  }
  unpackF32(a, x, env.daz);
  unpackF32(b, y, env.daz);
  divUnpacked(env, F32, 24, a, b);
}

/** Square root of a. */
export function sqrtF32(env: FloatEnv, x: number): void {
  if (env.rounding === ROUND_NEAREST) {
    words[0] = x;
    const p = singles[0]!;
    if (p > 0 && isClear(p)) {
      const r = Math.fround(Math.sqrt(p));
      store(env, r, r * r !== p);
      return;
    }
  }
  unpackF32(a, x, env.daz);
  sqrtUnpacked(env, F32, 24, a);
}

/** Compares a with b: LESS, EQUAL, GREATER or UNORDERED. signalling: quiet NaNs raise IE too. */
export function compareF32(env: FloatEnv, x: number, y: number, signalling: boolean): number {
  unpackF32(a, x, env.daz);
  unpackF32(b, y, env.daz);
  return compareUnpacked(env, a, b, signalling);
}

function minMax(env: FloatEnv, x: number, y: number, wantMax: boolean): void {
  unpackF32(a, x, env.daz);
  unpackF32(b, y, env.daz);
  const chosen = takesSecond(env, a, b, wantMax) ? y : x;
  env.outHi = 0;
  // An operand that DAZ reads as zero is returned as that zero.
  env.outLo = chosen & (env.daz && (chosen & 0x7f800000) === 0 ? 0x80000000 : -1);
}

/** Minimum as MINSS: the second operand when either is a NaN, both are zeros or they are equal. */
export function minF32(env: FloatEnv, x: number, y: number): void {
  minMax(env, x, y, false);
}

/** Maximum as MAXSS. */
export function maxF32(env: FloatEnv, x: number, y: number): void {
  minMax(env, x, y, true);
}

/** Converts to binary64; exact. */
export function f32ToF64(env: FloatEnv, x: number): void {
  unpackF32(a, x, env.daz);
  convertFormat(env, F64, a, true);
}

/** Converts to 80 bits; exact. */
export function f32ToF80(env: FloatEnv, x: number): void {
  unpackF32(a, x, false);
  convertFormat(env, F80, a, true);
}

/** Converts to a signed integer of 16, 32 or 64 bits, by the given rounding mode. */
export function f32ToInt(env: FloatEnv, bits: number, x: number, rounding: number): void {
  unpackF32(a, x, env.daz);
  toInteger(env, bits, a, rounding);
}

/** Converts a signed 64-bit integer. */
export function int64ToF32(env: FloatEnv, hi: number, lo: number): void {
  fromInteger(env, F32, hi, lo);
}

/** Converts a signed 32-bit integer. */
export function int32ToF32(env: FloatEnv, value: number): void {
  fromInteger(env, F32, value >> 31, value);
}

/** Converts an unsigned 32-bit integer. */
export function uint32ToF32(env: FloatEnv, value: number): void {
  fromUint32(env, F32, value);
}

/** Rounds to an integral value; quiet suppresses PE. */
export function roundIntF32(env: FloatEnv, x: number, rounding: number, quiet: boolean): void {
  unpackF32(a, x, env.daz);
  roundToIntegral(env, F32, a, rounding, quiet, false);
}
