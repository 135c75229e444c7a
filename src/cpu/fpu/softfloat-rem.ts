/**
 * Partial remainder, scale and extract of the x87, on 80-bit values.
 *
 * Document: Intel SDM vol 2 FPREM, FPREM1, FSCALE, FXTRACT.
 */
import { type FloatEnv, ZE } from "./float-env.ts";
import { denormalStops, propagateNan } from "./softfloat-arith.ts";
import { F80, invalid, packAny, packInfinity, packZero, roundPack } from "./softfloat-round.ts";
import { copyUnpacked, FINITE, INFINITE, NAN, setInt64, Unpacked, ZERO } from "./softfloat-unpack.ts";

const result = new Unpacked();

/**
 * Remainder of a by b. nearest false: FPREM (quotient truncated), true: FPREM1 (quotient to nearest, ties to even).
 * An exponent difference of 64 or more reduces only partly: env.partial = 1 (C2). Otherwise env.quotient has the low
 * bits of the quotient's magnitude. Exact, so no rounding applies, but a denormal result with underflow unmasked raises UE.
 */
export function remainder(env: FloatEnv, a: Unpacked, b: Unpacked, nearest: boolean): void {
  env.noResult = 0;
  env.roundedUp = 0;
  env.partial = 0;
  env.quotient = 0;
  if (a.cls >= NAN || b.cls >= NAN) {
    propagateNan(env, F80, a, b);
    return;
  }
  if (a.cls === INFINITE || b.cls === ZERO) {
    invalid(env, F80);
    return;
  }
  if (denormalStops(env, a.denormal | b.denormal)) return;
  if (a.cls === ZERO) {
    packZero(env, F80, a.sign);
    return;
  }
  const difference = a.exp - b.exp;
  if (b.cls === INFINITE || difference < -1) {
    packAny(env, F80, a, 64, true);
    return;
  }
  if (difference >= 64) reducePartly(env, a, b, difference);
  else reduceFully(env, a, b, difference, nearest);
}

function significand(u: Unpacked): bigint {
  return (BigInt(u.hi >>> 0) << 32n) | BigInt(u.lo >>> 0);
}

function packReduced(env: FloatEnv, value: bigint, sign: number, exp: number): void {
  if (value === 0n) {
    packZero(env, F80, sign);
    return;
  }
  setFromBig(result, sign, value, exp);
  roundPack(env, F80, result, 64, true);
}

/** Sets a finite value of a 64-bit or smaller significand; `exp` is the exponent of its bit 63. */
function setFromBig(u: Unpacked, sign: number, value: bigint, exp: number): void {
  let shift = 0n;
  while ((value << shift) >> 63n === 0n) shift++;
  const top = value << shift;
  u.cls = FINITE;
  u.sign = sign;
  u.exp = exp - Number(shift);
  u.hi = Number(top >> 32n) | 0;
  u.lo = Number(top & 0xffffffffn) | 0;
  u.ext = 0;
  u.denormal = 0;
}

function reduceFully(env: FloatEnv, a: Unpacked, b: Unpacked, difference: number, nearest: boolean): void {
  const divisor = significand(b) << (difference < 0 ? 1n : 0n);
  const dividend = significand(a) << BigInt(Math.max(difference, 0));
  const scale = difference < 0 ? a.exp : b.exp;
  let quotient = dividend / divisor;
  let rest = dividend - quotient * divisor;
  let sign = a.sign;
  if (nearest) {
    const twice = rest * 2n;
    if (twice > divisor || (twice === divisor && (quotient & 1n) === 1n)) {
      rest = divisor - rest;
      sign ^= 1;
      quotient++;
    }
  }
  env.quotient = Number(quotient & 7n);
  packReduced(env, rest, rest === 0n ? a.sign : sign, scale);
}

/** Subtracts a multiple of b * 2^(D - N) with N between 32 and 63, as the manual's pseudo code does. */
function reducePartly(env: FloatEnv, a: Unpacked, b: Unpacked, difference: number): void {
  env.partial = 1;
  const n = 32 + (difference & 31);
  const dividend = significand(a) << BigInt(n);
  packReduced(env, dividend % significand(b), a.sign, b.exp + difference - n);
}

/** a * 2^trunc(b) (FSCALE). */
export function scale(env: FloatEnv, a: Unpacked, b: Unpacked): void {
  env.noResult = 0;
  env.roundedUp = 0;
  if (a.cls >= NAN || b.cls >= NAN) {
    propagateNan(env, F80, a, b);
    return;
  }
  if (b.cls === INFINITE) {
    scaleByInfinity(env, a, b);
    return;
  }
  if (denormalStops(env, a.denormal | b.denormal)) return;
  if (a.cls !== FINITE || b.cls === ZERO) {
    packAny(env, F80, a, 64, true);
    return;
  }
  copyUnpacked(result, a);
  result.exp += truncatedExponent(b);
  roundPack(env, F80, result, 64, true);
}

function scaleByInfinity(env: FloatEnv, a: Unpacked, b: Unpacked): void {
  if ((b.sign === 0 && a.cls === ZERO) || (b.sign !== 0 && a.cls === INFINITE)) {
    invalid(env, F80);
  } else if (!denormalStops(env, a.denormal)) {
    if (b.sign === 0) packInfinity(env, F80, a.sign);
    else packZero(env, F80, a.sign);
  }
}

/** The integer part of a finite value, held within +-0x10000, which is beyond every exponent. */
function truncatedExponent(b: Unpacked): number {
  if (b.exp < 0) return 0;
  const magnitude = b.exp >= 16 ? 0x10000 : b.hi >>> (31 - b.exp);
  return b.sign !== 0 ? -magnitude : magnitude;
}

/** The exponent of a as a value (FXTRACT); of zero it is minus infinity with ZE. */
export function extractExponent(env: FloatEnv, a: Unpacked): void {
  env.noResult = 0;
  env.roundedUp = 0;
  if (a.cls >= NAN) {
    propagateNan(env, F80, a, a);
  } else if (a.cls === INFINITE) {
    packInfinity(env, F80, 0);
  } else if (a.cls === ZERO) {
    env.flags |= ZE;
    if ((env.masks & ZE) === 0) env.noResult = 1;
    packInfinity(env, F80, 1);
  } else if (!denormalStops(env, a.denormal)) {
    setInt64(result, a.exp < 0 ? -1 : 0, a.exp);
    packAny(env, F80, result, 64, true);
  }
}

/** The significand of a as a value between 1 and 2 with the sign of a (FXTRACT). Raises what extractExponent raises. */
export function extractSignificand(env: FloatEnv, a: Unpacked): void {
  if (a.cls >= NAN) {
    propagateNan(env, F80, a, a);
    return;
  }
  copyUnpacked(result, a);
  result.exp = 0;
  packAny(env, F80, result, 64, true);
}
