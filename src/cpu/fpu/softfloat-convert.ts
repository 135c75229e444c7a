/**
 * Conversions between floating-point formats, integers and packed decimal, and rounding to an integral value.
 *
 * Document: Intel SDM vol 1 sections 4.8.3.7, 4.9.1.1 (integer indefinite), 4.7 (packed BCD, 18 digits),
 * table 4-1; vol 2 FIST, FISTTP, FBLD, FBSTP, FRNDINT, CVT*, ROUND*.
 */
import { type FloatEnv, IE, PE } from "./float-env.ts";
import { denormalStops } from "./softfloat-arith.ts";
import {
  F80,
  formatPrecision,
  invalid,
  packAny,
  packDefaultNan,
  packNan,
  roundPack,
  roundsUp,
  shiftRightSticky,
} from "./softfloat-round.ts";
import { FINITE, NAN, SNAN, setInt64, setNormalised, UNSUPPORTED, Unpacked, ZERO } from "./softfloat-unpack.ts";

const scratch = new Unpacked();

/**
 * Converts to another format with the rounding of the environment. widening: DE is raised for a denormal source (a
 * store that narrows an 80-bit value raises underflow instead, and no DE; SDM vol 2 FST).
 */
export function convertFormat(env: FloatEnv, format: number, u: Unpacked, reportDenormal: boolean): void {
  env.noResult = 0;
  env.roundedUp = 0;
  if (u.cls === UNSUPPORTED) {
    invalid(env, format);
  } else if (u.cls >= NAN) {
    if (u.cls === SNAN) {
      env.flags |= IE;
      if ((env.masks & IE) === 0) env.noResult = 1;
    }
    packNan(env, format, u);
  } else {
    const stopped = reportDenormal && denormalStops(env, u.denormal);
    // Into 80 bits the value is delivered even so: an x87 load completes when DE is unmasked.
    if (!stopped || format === F80) packAny(env, format, u, formatPrecision(format), false);
  }
}

/**
 * Rounds u to an integer whose magnitude is in hi:lo of u (exp is then meaningless); u must be below 2^64 in magnitude.
 * Returns 1 if it was not an integer before. `rounding` is given apart because the truncating forms ignore RC.
 */
function integerPart(env: FloatEnv, u: Unpacked, rounding: number): number {
  shiftRightSticky(u, 63 - u.exp);
  env.roundedUp = 0;
  if (u.ext === 0) return 0;
  if (roundsUp(rounding, u.sign, u.ext, u.lo & 1)) {
    env.roundedUp = 1;
    u.lo = (u.lo + 1) | 0;
    if (u.lo === 0) u.hi = (u.hi + 1) | 0;
  }
  u.ext = 0;
  return 1;
}

function integerIndefinite(env: FloatEnv, bits: number): void {
  env.flags |= IE;
  env.roundedUp = 0;
  if ((env.masks & IE) === 0) env.noResult = 1;
  env.outHi = bits === 64 ? 0x80000000 | 0 : 0;
  env.outLo = bits === 64 ? 0 : bits === 32 ? 0x80000000 | 0 : 0x8000;
}

/**
 * Converts to a signed integer of 16, 32 or 64 bits in outHi:outLo (one of 16 bits is in outLo, 0 to 0xFFFF).
 * Out of range, NaN and infinity raise IE and give the integer indefinite, the most negative value. DE is never raised.
 */
export function toInteger(env: FloatEnv, bits: number, source: Unpacked, rounding: number): void {
  env.noResult = 0;
  env.roundedUp = 0;
  env.outHi = 0;
  env.outLo = 0;
  if (source.cls === ZERO) return;
  if (source.cls !== FINITE || source.exp >= bits) {
    integerIndefinite(env, bits);
    return;
  }
  const u = scratch;
  u.sign = source.sign;
  u.exp = source.exp;
  u.hi = source.hi;
  u.lo = source.lo;
  u.ext = 0;
  const inexact = integerPart(env, u, rounding);
  // The magnitude must be at most 2^(bits-1) - 1, or 2^(bits-1) if negative. A 64-bit carry out cannot happen: values
  // of 2^63 and above are integers already.
  const limit = bits === 16 ? 0x8000 : 0x80000000;
  const over = bits === 64 ? u.hi < 0 : u.hi !== 0 || u.lo >>> 0 >= limit;
  const lowest = bits === 64 ? u.hi === (0x80000000 | 0) && u.lo === 0 : u.hi === 0 && u.lo >>> 0 === limit;
  if (over && !(lowest && u.sign !== 0)) {
    integerIndefinite(env, bits);
    return;
  }
  if (inexact !== 0) env.flags |= PE;
  let lo = u.lo;
  let hi = u.hi;
  if (u.sign !== 0) {
    lo = -lo | 0;
    hi = (~hi + (lo === 0 ? 1 : 0)) | 0;
  }
  env.outHi = hi;
  env.outLo = bits === 16 ? lo & 0xffff : lo;
}

/** Converts a signed 64-bit integer to a format, rounded; narrower integers are sign-extended by the caller. */
export function fromInteger(env: FloatEnv, format: number, hi: number, lo: number): void {
  env.noResult = 0;
  setInt64(scratch, hi, lo);
  packAny(env, format, scratch, formatPrecision(format), false);
}

/** Converts an unsigned 32-bit integer to a format, rounded. */
export function fromUint32(env: FloatEnv, format: number, value: number): void {
  fromInteger(env, format, 0, value);
}

/**
 * Rounds to an integral value in the same format (FRNDINT, ROUNDSS and its kin). quiet: PE is not raised (bit 3 of the
 * immediate of ROUND*). reportDenormal: FRNDINT raises DE, ROUND* does not.
 */
export function roundToIntegral(
  env: FloatEnv,
  format: number,
  u: Unpacked,
  rounding: number,
  quiet: boolean,
  reportDenormal: boolean,
): void {
  env.noResult = 0;
  env.roundedUp = 0;
  if (u.cls !== FINITE) {
    convertFormat(env, format, u, false);
    return;
  }
  if (reportDenormal && denormalStops(env, u.denormal)) return;
  if (u.exp >= 63) {
    packAny(env, format, u, formatPrecision(format), false);
    return;
  }
  const sign = u.sign;
  const inexact = integerPart(env, u, rounding);
  const roundedUp = env.roundedUp;
  if ((u.hi | u.lo) === 0) u.cls = ZERO;
  else setNormalised(u, sign, 63, u.hi, u.lo);
  packAny(env, format, u, formatPrecision(format), false);
  env.roundedUp = roundedUp;
  if (inexact !== 0 && !quiet) env.flags |= PE;
}

/** 10^18, the first integer that 18 decimal digits cannot hold. */
const DECIMAL_LIMIT = 10n ** 18n;

/**
 * Converts to packed decimal, 10 bytes at `offset` (FBSTP): 18 digits, sign in bit 7 of the last byte. Out of range, NaN
 * and infinity raise IE and give the packed-decimal indefinite FFFF C000 0000 0000 0000.
 */
export function toDecimal(env: FloatEnv, source: Unpacked, out: DataView, offset: number): void {
  env.noResult = 0;
  env.roundedUp = 0;
  const u = scratch;
  u.sign = source.sign;
  u.exp = source.exp;
  u.hi = source.cls === ZERO ? 0 : source.hi;
  u.lo = source.cls === ZERO ? 0 : source.lo;
  u.ext = 0;
  let inexact = 0;
  let fits = source.cls === ZERO;
  if (source.cls === FINITE && source.exp < 63) {
    inexact = integerPart(env, u, env.rounding);
    fits = true;
  }
  let value = (BigInt(u.hi >>> 0) << 32n) | BigInt(u.lo >>> 0);
  if (!fits || value >= DECIMAL_LIMIT) {
    integerIndefinite(env, 64);
    for (let i = 0; i < 7; i++) out.setUint8(offset + i, 0);
    out.setUint8(offset + 7, 0xc0);
    out.setUint16(offset + 8, 0xffff, true);
    return;
  }
  if (inexact !== 0) env.flags |= PE;
  for (let i = 0; i < 9; i++) {
    const pair = Number(value % 100n);
    value /= 100n;
    out.setUint8(offset + i, (Math.floor(pair / 10) << 4) | (pair % 10));
  }
  out.setUint8(offset + 9, u.sign << 7);
}

/** Converts 10 bytes of packed decimal to an 80-bit value (FBLD); exact. Digits above 9 count as they stand. */
export function fromDecimal(env: FloatEnv, bytes: DataView, offset: number): void {
  env.noResult = 0;
  let value = 0n;
  for (let i = 8; i >= 0; i--) {
    const pair = bytes.getUint8(offset + i);
    value = value * 100n + BigInt((pair >>> 4) * 10 + (pair & 15));
  }
  const sign = bytes.getUint8(offset + 9) >>> 7;
  if (value === 0n) {
    scratch.cls = ZERO;
    scratch.sign = sign;
  } else {
    setNormalised(scratch, sign, 63, Number(value >> 32n) | 0, Number(value & 0xffffffffn) | 0);
  }
  packAny(env, F80, scratch, 64, false);
}

/** Writes u, whose significand may have bits in ext, as an 80-bit value of 64-bit precision. */
export function packExtended(env: FloatEnv, u: Unpacked): void {
  env.noResult = 0;
  env.roundedUp = 0;
  if (u.cls === FINITE) roundPack(env, F80, u, 64, true);
  else if (u.cls >= NAN) packDefaultNan(env, F80);
  else packAny(env, F80, u, 64, true);
}
