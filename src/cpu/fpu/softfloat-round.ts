/**
 * Rounding an unpacked result to binary32, binary64 or 80-bit extended, with the exceptions that come of it.
 *
 * Document: Intel SDM vol 1 sections 4.8.4 (rounding), 4.9.1.4 to 4.9.1.6 (overflow, underflow with tininess detected
 * after rounding, precision), 8.5.4 and 8.5.5 (x87 unmasked responses: the exponent is adjusted by 24576), 10.2.3.3
 * (flush to zero). Not modelled: nothing.
 */
import { type FloatEnv, IE, OE, PE, ROUND_DOWN, ROUND_NEAREST, ROUND_UP, UE } from "./float-env.ts";
import { FINITE, INFINITE, NAN, type Unpacked, ZERO } from "./softfloat-unpack.ts";

/** Destination formats. */
export const F32 = 0;
export const F64 = 1;
export const F80 = 2;

const EXP_MIN = [-126, -1022, -16382] as const;
const EXP_MAX = [127, 1023, 16383] as const;
/** Added to the exponent of an x87 result when underflow is unmasked, subtracted when overflow is (8.5.4, 8.5.5). */
const WRAP = 24576;

/**
 * Rounds hi:lo:ext to `precision` bits (24, 53, 64) counted from bit 63 down. Sets u.hi, u.lo, clears u.ext; a carry out
 * of the top becomes an exponent increment. Returns 1 if bits were lost; env.roundedUp tells whether the magnitude grew.
 */
export function roundSignificand(env: FloatEnv, u: Unpacked, precision: number): number {
  let hi = u.hi;
  let lo = u.lo;
  let rest: number; // the bits below the last kept one: bit 31 is the half, bit 0 sticky
  let odd: number;
  if (precision === 64) {
    rest = u.ext;
    odd = lo & 1;
  } else if (precision === 53) {
    rest = ((lo & 0x7ff) << 21) | (u.ext >>> 11) | ((u.ext & 0x7ff) !== 0 ? 1 : 0);
    lo &= ~0x7ff;
    odd = lo & 0x800;
  } else {
    rest = ((hi & 0xff) << 24) | (lo >>> 8) | (((lo & 0xff) | u.ext) !== 0 ? 1 : 0);
    lo = 0;
    hi &= ~0xff;
    odd = hi & 0x100;
  }
  u.ext = 0;
  env.roundedUp = 0;
  if (rest !== 0 && roundsUp(env.rounding, u.sign, rest, odd)) {
    env.roundedUp = 1;
    if (precision === 24) {
      hi = (hi + 0x100) | 0;
      if (hi === 0) {
        hi = 0x80000000 | 0;
        u.exp++;
      }
    } else {
      lo = (lo + (precision === 64 ? 1 : 0x800)) | 0;
      if (lo === 0) {
        hi = (hi + 1) | 0;
        if (hi === 0) {
          hi = 0x80000000 | 0;
          u.exp++;
        }
      }
    }
  }
  u.hi = hi;
  u.lo = lo;
  return rest !== 0 ? 1 : 0;
}

/** Whether the magnitude grows. rest: bit 31 is half a unit, lower bits the remainder; odd: the last kept bit. */
export function roundsUp(rounding: number, sign: number, rest: number, odd: number): boolean {
  if (rounding === ROUND_NEAREST) {
    if (rest >= 0) return false;
    return (rest & 0x7fffffff) !== 0 || odd !== 0;
  }
  if (rounding === ROUND_DOWN) return rest !== 0 && sign !== 0;
  if (rounding === ROUND_UP) return rest !== 0 && sign === 0;
  return false;
}

/** Shifts hi:lo:ext right by count >= 0 bits, collecting lost bits in bit 0 of ext. */
export function shiftRightSticky(u: Unpacked, count: number): void {
  let hi = u.hi;
  let lo = u.lo;
  let ext = u.ext;
  let lost = 0;
  if (count > 96) count = 96;
  while (count >= 32) {
    lost |= ext;
    ext = lo;
    lo = hi;
    hi = 0;
    count -= 32;
  }
  if (count > 0) {
    lost |= ext << (32 - count);
    ext = (ext >>> count) | (lo << (32 - count));
    lo = (lo >>> count) | (hi << (32 - count));
    hi >>>= count;
  }
  u.hi = hi | 0;
  u.lo = lo | 0;
  u.ext = ext | (lost !== 0 ? 1 : 0);
}

/** Writes zero, infinity or a number whose significand is already rounded; exp within the format's range. */
function pack(env: FloatEnv, format: number, u: Unpacked): void {
  const sign = u.sign;
  if (format === F80) {
    const biased = u.cls === FINITE ? (u.hi < 0 ? u.exp + 16383 : 0) : u.cls === INFINITE ? 0x7fff : 0;
    env.outSe = (sign << 15) | biased;
    env.outHi = u.cls === ZERO ? 0 : u.hi;
    env.outLo = u.cls === ZERO ? 0 : u.lo;
  } else if (format === F64) {
    const biased = u.cls === FINITE ? (u.hi < 0 ? u.exp + 1023 : 0) : u.cls === INFINITE ? 0x7ff : 0;
    const number = u.cls === FINITE;
    env.outHi = (sign << 31) | (biased << 20) | (number ? (u.hi & 0x7fffffff) >>> 11 : 0);
    env.outLo = number ? (u.hi << 21) | (u.lo >>> 11) : 0;
  } else {
    const biased = u.cls === FINITE ? (u.hi < 0 ? u.exp + 127 : 0) : u.cls === INFINITE ? 0xff : 0;
    env.outHi = 0;
    env.outLo = (sign << 31) | (biased << 23) | (u.cls === FINITE ? (u.hi & 0x7fffffff) >>> 8 : 0);
  }
}

/** Writes a signed zero. */
export function packZero(env: FloatEnv, format: number, sign: number): void {
  env.outHi = 0;
  env.outLo = 0;
  if (format === F80) env.outSe = sign << 15;
  else if (format === F64) env.outHi = sign << 31;
  else env.outLo = sign << 31;
}

/** Writes a signed infinity. */
export function packInfinity(env: FloatEnv, format: number, sign: number): void {
  env.outHi = 0;
  env.outLo = 0;
  if (format === F80) {
    env.outSe = (sign << 15) | 0x7fff;
    env.outHi = 0x80000000 | 0;
  } else if (format === F64) {
    env.outHi = (sign << 31) | 0x7ff00000;
  } else {
    env.outLo = (sign << 31) | 0x7f800000;
  }
}

/** Writes the default NaN, "real indefinite": negative, quiet, payload 0 (SDM vol 1 section 4.8.3.7). */
export function packDefaultNan(env: FloatEnv, format: number): void {
  env.outLo = 0;
  if (format === F80) {
    env.outSe = 0xffff;
    env.outHi = 0xc0000000 | 0;
  } else if (format === F64) {
    env.outHi = 0xfff80000 | 0;
  } else {
    env.outHi = 0;
    env.outLo = 0xffc00000 | 0;
  }
}

/** Writes an unpacked NaN, made quiet, its payload cut on the right to fit. */
export function packNan(env: FloatEnv, format: number, u: Unpacked): void {
  const hi = u.hi | 0xc0000000;
  if (format === F80) {
    env.outSe = (u.sign << 15) | 0x7fff;
    env.outHi = hi;
    env.outLo = u.lo;
  } else if (format === F64) {
    env.outHi = (u.sign << 31) | 0x7ff00000 | ((hi & 0x7fffffff) >>> 11);
    env.outLo = (hi << 21) | (u.lo >>> 11);
  } else {
    env.outHi = 0;
    env.outLo = (u.sign << 31) | 0x7f800000 | ((hi & 0x7fffffff) >>> 8);
  }
}

/** Raises IE and writes the default NaN. */
export function invalid(env: FloatEnv, format: number): void {
  env.flags |= IE;
  env.roundedUp = 0;
  if ((env.masks & IE) === 0) env.noResult = 1;
  packDefaultNan(env, format);
}

/** An unmasked overflow or underflow: the adjusted result, or none. */
function unmasked(env: FloatEnv, format: number, u: Unpacked, inexact: number, wrap: number): void {
  if (inexact !== 0) env.flags |= PE;
  if (wrap === 0) {
    env.noResult = 1;
    return;
  }
  u.exp += wrap;
  // FSCALE can go beyond what the adjustment covers: then the result is infinity or zero (8.5.4, 8.5.5).
  if (u.exp > EXP_MAX[format]!) {
    env.flags |= PE;
    env.roundedUp = 1;
    packInfinity(env, format, u.sign);
  } else if (u.exp < EXP_MIN[format]!) {
    env.flags |= PE;
    env.roundedUp = 0;
    packZero(env, format, u.sign);
  } else {
    pack(env, format, u);
  }
}

/** The masked response to overflow (SDM vol 1 table 4-10). */
function overflow(env: FloatEnv, format: number, u: Unpacked, precision: number): void {
  env.flags |= OE | PE;
  const rounding = env.rounding;
  const toInfinity = rounding === ROUND_NEAREST || rounding === (u.sign !== 0 ? ROUND_DOWN : ROUND_UP);
  env.roundedUp = toInfinity ? 1 : 0;
  if (toInfinity) {
    packInfinity(env, format, u.sign);
    return;
  }
  u.hi = precision === 24 ? 0xffffff00 | 0 : -1;
  u.lo = precision === 24 ? 0 : precision === 53 ? 0xfffff800 | 0 : -1;
  u.exp = EXP_MAX[format]!;
  pack(env, format, u);
}

function underflow(env: FloatEnv, format: number, u: Unpacked, precision: number): void {
  if (env.ftz) {
    env.flags |= UE | PE;
    packZero(env, format, u.sign);
    return;
  }
  shiftRightSticky(u, EXP_MIN[format]! - u.exp);
  u.exp = EXP_MIN[format]!;
  if (roundSignificand(env, u, precision) !== 0) env.flags |= UE | PE;
  if ((u.hi | u.lo) === 0) packZero(env, format, u.sign);
  else pack(env, format, u);
}

/** Copy of the unrounded significand, needed when a result turns out to be tiny. */
let keptHi = 0;
let keptLo = 0;
let keptExt = 0;
let keptExp = 0;

/**
 * Rounds a finite non-zero, normalised u to `precision` bits in the format's exponent range and writes it; u is used up.
 * wrap: the unmasked response of an x87 register result (exponent adjusted); without it an unmasked overflow or
 * underflow leaves no result (SSE, and x87 stores to memory).
 */
export function roundPack(env: FloatEnv, format: number, u: Unpacked, precision: number, wrap: boolean): void {
  const exp = u.exp;
  if (exp < EXP_MIN[format]!) {
    keptHi = u.hi;
    keptLo = u.lo;
    keptExt = u.ext;
    keptExp = exp;
  }
  const inexact = roundSignificand(env, u, precision);
  if (u.exp < EXP_MIN[format]!) {
    if ((env.masks & UE) !== 0) {
      u.hi = keptHi;
      u.lo = keptLo;
      u.ext = keptExt;
      u.exp = keptExp;
      underflow(env, format, u, precision);
      return;
    }
    env.flags |= UE;
    unmasked(env, format, u, inexact, wrap ? WRAP : 0);
    return;
  }
  if (u.exp > EXP_MAX[format]!) {
    if ((env.masks & OE) !== 0) {
      overflow(env, format, u, precision);
      return;
    }
    env.flags |= OE;
    unmasked(env, format, u, inexact, wrap ? -WRAP : 0);
    return;
  }
  if (inexact !== 0) env.flags |= PE;
  pack(env, format, u);
}

/** The precision that a format's own width gives (24, 53, 64 bits). */
export function formatPrecision(format: number): number {
  return format === F32 ? 24 : format === F64 ? 53 : 64;
}

/** Writes any unpacked value to a format, rounding as needed: zero, infinity, NaN (quieted) or number. */
export function packAny(env: FloatEnv, format: number, u: Unpacked, precision: number, wrap: boolean): void {
  env.roundedUp = 0;
  if (u.cls === FINITE) roundPack(env, format, u, precision, wrap);
  else if (u.cls === ZERO) packZero(env, format, u.sign);
  else if (u.cls === INFINITE) packInfinity(env, format, u.sign);
  else if (u.cls >= NAN) packNan(env, format, u);
}
