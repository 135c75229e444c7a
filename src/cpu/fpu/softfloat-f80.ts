/**
 * 80-bit extended operations on words (se, hi, lo), with the x87's precision control.
 *
 * Document: Intel SDM vol 1 sections 8.1.5.2 (precision control), 8.2, 8.5; vol 2, the instructions named below.
 */
import type { FloatEnv } from "./float-env.ts";
import { addUnpacked, divUnpacked, mulUnpacked, sqrtUnpacked } from "./softfloat-arith.ts";
import { compareUnpacked } from "./softfloat-compare.ts";
import { convertFormat, fromInteger, roundToIntegral, toDecimal, toInteger } from "./softfloat-convert.ts";
import { extractExponent, extractSignificand, remainder, scale } from "./softfloat-rem.ts";
import { F32, F64, F80 } from "./softfloat-round.ts";
import { Unpacked, unpackF80 } from "./softfloat-unpack.ts";

const a = new Unpacked();
const b = new Unpacked();

function load(aSe: number, aHi: number, aLo: number, bSe: number, bHi: number, bLo: number): void {
  unpackF80(a, aSe, aHi, aLo);
  unpackF80(b, bSe, bHi, bLo);
}

/** a + b, rounded to env.precision. */
export function addF80(
  env: FloatEnv,
  aSe: number,
  aHi: number,
  aLo: number,
  bSe: number,
  bHi: number,
  bLo: number,
): void {
  load(aSe, aHi, aLo, bSe, bHi, bLo);
  addUnpacked(env, F80, env.precision, a, b, 0);
}

/** a - b, rounded to env.precision. */
export function subF80(
  env: FloatEnv,
  aSe: number,
  aHi: number,
  aLo: number,
  bSe: number,
  bHi: number,
  bLo: number,
): void {
  load(aSe, aHi, aLo, bSe, bHi, bLo);
  addUnpacked(env, F80, env.precision, a, b, 1);
}

/** a * b, rounded to env.precision. */
export function mulF80(
  env: FloatEnv,
  aSe: number,
  aHi: number,
  aLo: number,
  bSe: number,
  bHi: number,
  bLo: number,
): void {
  load(aSe, aHi, aLo, bSe, bHi, bLo);
  mulUnpacked(env, F80, env.precision, a, b);
}

/** a / b, rounded to env.precision. */
export function divF80(
  env: FloatEnv,
  aSe: number,
  aHi: number,
  aLo: number,
  bSe: number,
  bHi: number,
  bLo: number,
): void {
  load(aSe, aHi, aLo, bSe, bHi, bLo);
  divUnpacked(env, F80, env.precision, a, b);
}

/** Square root of a, rounded to env.precision. */
export function sqrtF80(env: FloatEnv, se: number, hi: number, lo: number): void {
  unpackF80(a, se, hi, lo);
  sqrtUnpacked(env, F80, env.precision, a);
}

/** Remainder of a by b: FPREM, or FPREM1 with nearest. Sets env.quotient and env.partial. */
export function remF80(
  env: FloatEnv,
  aSe: number,
  aHi: number,
  aLo: number,
  bSe: number,
  bHi: number,
  bLo: number,
  nearest: boolean,
): void {
  load(aSe, aHi, aLo, bSe, bHi, bLo);
  remainder(env, a, b, nearest);
}

/** a * 2^trunc(b) (FSCALE). */
export function scaleF80(
  env: FloatEnv,
  aSe: number,
  aHi: number,
  aLo: number,
  bSe: number,
  bHi: number,
  bLo: number,
): void {
  load(aSe, aHi, aLo, bSe, bHi, bLo);
  scale(env, a, b);
}

/** The exponent of a as a value (FXTRACT, its first result). */
export function exponentF80(env: FloatEnv, se: number, hi: number, lo: number): void {
  unpackF80(a, se, hi, lo);
  extractExponent(env, a);
}

/** The significand of a as a value (FXTRACT, its second result). */
export function significandF80(env: FloatEnv, se: number, hi: number, lo: number): void {
  unpackF80(a, se, hi, lo);
  extractSignificand(env, a);
}

/** Compares a with b: LESS, EQUAL, GREATER or UNORDERED. signalling: quiet NaNs raise IE too. */
export function compareF80(
  env: FloatEnv,
  aSe: number,
  aHi: number,
  aLo: number,
  bSe: number,
  bHi: number,
  bLo: number,
  signalling: boolean,
): number {
  load(aSe, aHi, aLo, bSe, bHi, bLo);
  return compareUnpacked(env, a, b, signalling);
}

/** Converts to binary32 (in outLo). */
export function f80ToF32(env: FloatEnv, se: number, hi: number, lo: number): void {
  unpackF80(a, se, hi, lo);
  convertFormat(env, F32, a, false);
}

/** Converts to binary64. */
export function f80ToF64(env: FloatEnv, se: number, hi: number, lo: number): void {
  unpackF80(a, se, hi, lo);
  convertFormat(env, F64, a, false);
}

/** Converts to a signed integer of 16, 32 or 64 bits, by the given rounding mode. */
export function f80ToInt(env: FloatEnv, bits: number, se: number, hi: number, lo: number, rounding: number): void {
  unpackF80(a, se, hi, lo);
  toInteger(env, bits, a, rounding);
}

/** Converts to 18 digits of packed decimal, 10 bytes at offset. */
export function f80ToDecimal(env: FloatEnv, se: number, hi: number, lo: number, out: DataView, offset: number): void {
  unpackF80(a, se, hi, lo);
  toDecimal(env, a, out, offset);
}

/** Converts a signed 64-bit integer; exact. */
export function int64ToF80(env: FloatEnv, hi: number, lo: number): void {
  fromInteger(env, F80, hi, lo);
}

/** Rounds to an integral value by env.rounding (FRNDINT). */
export function roundIntF80(env: FloatEnv, se: number, hi: number, lo: number): void {
  unpackF80(a, se, hi, lo);
  roundToIntegral(env, F80, a, env.rounding, false, true);
}
