/**
 * Binary64 operations on words: fast paths on the host's doubles, everything else through the unpacked forms.
 *
 * Document: IEEE 754-2008; Intel SDM vol 1 chapters 10 and 11. A fast path is taken only when rounding is to nearest and
 * operands and result are far from every exception but PE, which error-free transforms (Knuth's TwoSum, Dekker's
 * product) decide exactly. Host doubles are IEEE binary64 with round to nearest, which ECMAScript guarantees.
 */
import { type FloatEnv, PE, ROUND_NEAREST, ROUND_ZERO } from "./float-env.ts";
import { addUnpacked, divUnpacked, mulUnpacked, sqrtUnpacked } from "./softfloat-arith.ts";
import { compareUnpacked, takesSecond } from "./softfloat-compare.ts";
import { convertFormat, fromInteger, fromUint32, roundToIntegral, toInteger } from "./softfloat-convert.ts";
import { F32, F64, F80 } from "./softfloat-round.ts";
import { Unpacked, unpackF64 } from "./softfloat-unpack.ts";

const a = new Unpacked();
const b = new Unpacked();

const doubles = new Float64Array(2);
const words = new Int32Array(doubles.buffer);
const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const HI_A = LITTLE ? 1 : 0;
const LO_A = 1 - HI_A;
const HI_B = HI_A + 2;
const LO_B = LO_A + 2;

/** 2^27 + 1, Veltkamp's constant for splitting a double into halves whose products are exact. */
const SPLIT = 134217729;

/** Bounds of results for which products, quotients and their error terms neither overflow nor become denormal. */
const SAFE_MIN = 2 ** -900;
const SAFE_MAX = 2 ** 900;
const MIN_NORMAL = 2 ** -1022;

/** The error of the product p = x * y rounded to nearest, exact within the safe bounds (Dekker). */
function productError(x: number, y: number, p: number): number {
  const tx = SPLIT * x;
  const xh = tx - (tx - x);
  const xl = x - xh;
  const ty = SPLIT * y;
  const yh = ty - (ty - y);
  const yl = y - yh;
  return xl * yl - (p - xh * yh - xl * yh - xh * yl);
}

/** Whether a double is finite, not denormal, not zero and within the safe bounds. */
function isSafe(x: number): boolean {
  const m = Math.abs(x);
  return m >= SAFE_MIN && m <= SAFE_MAX;
}

function store(env: FloatEnv, r: number, inexact: boolean): void {
  doubles[0] = r;
  env.outHi = words[HI_A]!;
  env.outLo = words[LO_A]!;
  env.noResult = 0;
  if (inexact) env.flags |= PE;
}

function load(aHi: number, aLo: number, bHi: number, bLo: number): void {
  words[HI_A] = aHi;
  words[LO_A] = aLo;
  words[HI_B] = bHi;
  words[LO_B] = bLo;
}

/** Sum by the host; false when that would not be exact in effect. */
function fastAdd(env: FloatEnv, x: number, y: number): boolean {
  const r = x + y;
  const m = Math.abs(r);
  const mx = Math.abs(x);
  const my = Math.abs(y);
  if (!(m >= MIN_NORMAL || m === 0) || !(mx >= MIN_NORMAL || mx === 0) || !(my >= MIN_NORMAL || my === 0)) return false;
  if (!(m <= SAFE_MAX && mx <= SAFE_MAX && my <= SAFE_MAX)) return false;
  const t = r - x;
  store(env, r, x - (r - t) + (y - t) !== 0);
  return true;
}

/** a + b. */
export function addF64(env: FloatEnv, aHi: number, aLo: number, bHi: number, bLo: number): void {
  load(aHi, aLo, bHi, bLo);
  if (env.rounding === ROUND_NEAREST && fastAdd(env, doubles[0]!, doubles[1]!)) return;
  unpackF64(a, aHi, aLo, env.daz);
  unpackF64(b, bHi, bLo, env.daz);
  addUnpacked(env, F64, 53, a, b, 0);
}

/** a - b. */
export function subF64(env: FloatEnv, aHi: number, aLo: number, bHi: number, bLo: number): void {
  load(aHi, aLo, bHi, bLo);
  if (env.rounding === ROUND_NEAREST && fastAdd(env, doubles[0]!, -doubles[1]!)) return;
  unpackF64(a, aHi, aLo, env.daz);
  unpackF64(b, bHi, bLo, env.daz);
  addUnpacked(env, F64, 53, a, b, 1);
}

/** a * b. */
export function mulF64(env: FloatEnv, aHi: number, aLo: number, bHi: number, bLo: number): void {
  if (env.rounding === ROUND_NEAREST) {
    load(aHi, aLo, bHi, bLo);
    const x = doubles[0]!;
    const y = doubles[1]!;
    const r = x * y;
    if (isSafe(x) && isSafe(y) && isSafe(r)) {
      store(env, r, productError(x, y, r) !== 0);
      return;
    }
  }
  unpackF64(a, aHi, aLo, env.daz);
  unpackF64(b, bHi, bLo, env.daz);
  mulUnpacked(env, F64, 53, a, b);
}

/** a / b. */
export function divF64(env: FloatEnv, aHi: number, aLo: number, bHi: number, bLo: number): void {
  if (env.rounding === ROUND_NEAREST) {
    load(aHi, aLo, bHi, bLo);
    const x = doubles[0]!;
    const y = doubles[1]!;
    const r = x / y;
    if (isSafe(x) && isSafe(y) && isSafe(r)) {
      const p = r * y;
      store(env, r, p !== x || productError(r, y, p) !== 0);
      return;
    }
  }
  unpackF64(a, aHi, aLo, env.daz);
  unpackF64(b, bHi, bLo, env.daz);
  divUnpacked(env, F64, 53, a, b);
}

/** Square root of a. */
export function sqrtF64(env: FloatEnv, aHi: number, aLo: number): void {
  if (env.rounding === ROUND_NEAREST) {
    load(aHi, aLo, 0, 0);
    const x = doubles[0]!;
    if (x >= SAFE_MIN && x <= SAFE_MAX) {
      const r = Math.sqrt(x);
      const p = r * r;
      store(env, r, p !== x || productError(r, r, p) !== 0);
      return;
    }
  }
  unpackF64(a, aHi, aLo, env.daz);
  sqrtUnpacked(env, F64, 53, a);
}

/** Compares a with b: LESS, EQUAL, GREATER or UNORDERED. signalling: quiet NaNs raise IE too. */
export function compareF64(
  env: FloatEnv,
  aHi: number,
  aLo: number,
  bHi: number,
  bLo: number,
  signalling: boolean,
): number {
  unpackF64(a, aHi, aLo, env.daz);
  unpackF64(b, bHi, bLo, env.daz);
  return compareUnpacked(env, a, b, signalling);
}

function minMax(env: FloatEnv, aHi: number, aLo: number, bHi: number, bLo: number, wantMax: boolean): void {
  unpackF64(a, aHi, aLo, env.daz);
  unpackF64(b, bHi, bLo, env.daz);
  const second = takesSecond(env, a, b, wantMax);
  // An operand that DAZ reads as zero is returned as that zero.
  const flushed = env.daz && ((second ? bHi : aHi) & 0x7ff00000) === 0;
  env.outHi = (second ? bHi : aHi) & (flushed ? 0x80000000 : -1);
  env.outLo = flushed ? 0 : (second ? bLo : aLo) | 0;
}

/** Minimum as MINSD: the second operand when either is a NaN, both are zeros or they are equal. */
export function minF64(env: FloatEnv, aHi: number, aLo: number, bHi: number, bLo: number): void {
  minMax(env, aHi, aLo, bHi, bLo, false);
}

/** Maximum as MAXSD. */
export function maxF64(env: FloatEnv, aHi: number, aLo: number, bHi: number, bLo: number): void {
  minMax(env, aHi, aLo, bHi, bLo, true);
}

/** Converts to binary32 (in outLo). */
export function f64ToF32(env: FloatEnv, aHi: number, aLo: number): void {
  unpackF64(a, aHi, aLo, env.daz);
  convertFormat(env, F32, a, true);
}

/** Converts to 80 bits. */
export function f64ToF80(env: FloatEnv, aHi: number, aLo: number): void {
  unpackF64(a, aHi, aLo, false);
  convertFormat(env, F80, a, true);
}

/** 1.5 * 2^52: adding and subtracting it rounds a smaller double to an integer, ties to even. */
const ROUNDER = 6755399441055744;

/** Converts to a signed integer of 16, 32 or 64 bits, by the given rounding mode. */
export function f64ToInt(env: FloatEnv, bits: number, aHi: number, aLo: number, rounding: number): void {
  if (bits === 32 && (rounding === ROUND_NEAREST || rounding === ROUND_ZERO)) {
    load(aHi, aLo, 0, 0);
    const x = doubles[0]!;
    const m = Math.abs(x);
    if (m < 0x7fffffff && (m >= MIN_NORMAL || m === 0)) {
      const r = rounding === ROUND_ZERO ? Math.trunc(x) : x + ROUNDER - ROUNDER;
      env.outHi = r < 0 ? -1 : 0;
      env.outLo = r | 0;
      env.noResult = 0;
      if (r !== x) env.flags |= PE;
      return;
    }
  }
  unpackF64(a, aHi, aLo, env.daz);
  toInteger(env, bits, a, rounding);
}

/** Converts a signed 64-bit integer. */
export function int64ToF64(env: FloatEnv, hi: number, lo: number): void {
  fromInteger(env, F64, hi, lo);
}

/** Converts a signed 32-bit integer; exact. */
export function int32ToF64(env: FloatEnv, value: number): void {
  store(env, value | 0, false);
}

/** Converts an unsigned 32-bit integer; exact. */
export function uint32ToF64(env: FloatEnv, value: number): void {
  fromUint32(env, F64, value);
}

/** Rounds to an integral value; quiet suppresses PE. */
export function roundIntF64(env: FloatEnv, aHi: number, aLo: number, rounding: number, quiet: boolean): void {
  unpackF64(a, aHi, aLo, env.daz);
  roundToIntegral(env, F64, a, rounding, quiet, false);
}
