/**
 * Unpacked floating-point numbers: one form that binary32, binary64 and 80-bit extended values all fit into.
 *
 * Document: Intel SDM vol 1 section 4.2.2 (formats), 8.2.2 and table 8-3 (unsupported 80-bit encodings).
 * A finite non-zero value is (hi:lo / 2^63) * 2^exp with bit 63 of hi:lo set. A NaN keeps its payload left-justified in
 * hi:lo with the integer bit set, which is the form that a conversion to 80 bits gives it. Words are signed 32-bit.
 */

/** Class of an unpacked value. The order matters: everything from NAN on is not a number. */
export const ZERO = 0;
export const FINITE = 1;
export const INFINITE = 2;
export const NAN = 3;
export const SNAN = 4;
/** Pseudo-NaN, pseudo-infinity or unnormal: an invalid operand for every arithmetic instruction. */
export const UNSUPPORTED = 5;

/** An unpacked operand or result. */
export class Unpacked {
  cls: number = ZERO;
  sign = 0;
  exp = 0;
  hi = 0;
  lo = 0;
  /** The 32 bits below lo; bit 0 also collects everything lower. Operands have 0. */
  ext = 0;
  /** 1 for a denormal operand (binary32, binary64, 80-bit denormal and pseudo-denormal). */
  denormal = 0;
}

function setSpecial(u: Unpacked, cls: number, sign: number, hi: number, lo: number): void {
  u.cls = cls;
  u.sign = sign;
  u.exp = 0;
  u.hi = hi;
  u.lo = lo;
  u.ext = 0;
  u.denormal = 0;
}

/** Sets a finite non-zero value from a 64-bit significand that need not be normalised. */
export function setNormalised(u: Unpacked, sign: number, exp: number, hi: number, lo: number): void {
  if (hi === 0) {
    hi = lo;
    lo = 0;
    exp -= 32;
  }
  const shift = Math.clz32(hi);
  if (shift !== 0) {
    hi = (hi << shift) | (lo >>> (32 - shift));
    lo <<= shift;
  }
  u.cls = FINITE;
  u.sign = sign;
  u.exp = exp - shift;
  u.hi = hi | 0;
  u.lo = lo | 0;
  u.ext = 0;
}

/** Unpacks a binary32; with daz a denormal reads as zero. */
export function unpackF32(u: Unpacked, bits: number, daz: boolean): void {
  const sign = bits >>> 31;
  const biased = (bits >>> 23) & 0xff;
  const fraction = bits & 0x7fffff;
  if (biased === 0xff) {
    if (fraction === 0) setSpecial(u, INFINITE, sign, 0x80000000 | 0, 0);
    else setSpecial(u, (fraction & 0x400000) !== 0 ? NAN : SNAN, sign, 0x80000000 | (fraction << 8), 0);
  } else if (biased === 0) {
    if (fraction === 0 || daz) {
      setSpecial(u, ZERO, sign, 0, 0);
    } else {
      setNormalised(u, sign, -126, fraction << 8, 0);
      u.denormal = 1;
    }
  } else {
    setSpecial(u, FINITE, sign, 0x80000000 | (fraction << 8), 0);
    u.exp = biased - 127;
  }
}

/** Unpacks a binary64; with daz a denormal reads as zero. */
export function unpackF64(u: Unpacked, hi: number, lo: number, daz: boolean): void {
  const sign = hi >>> 31;
  const biased = (hi >>> 20) & 0x7ff;
  const topHi = ((hi & 0xfffff) << 11) | (lo >>> 21);
  const topLo = lo << 11;
  if (biased === 0x7ff) {
    if ((topHi | topLo) === 0) setSpecial(u, INFINITE, sign, 0x80000000 | 0, 0);
    else setSpecial(u, (hi & 0x80000) !== 0 ? NAN : SNAN, sign, 0x80000000 | topHi, topLo);
  } else if (biased === 0) {
    if ((topHi | topLo) === 0 || daz) {
      setSpecial(u, ZERO, sign, 0, 0);
    } else {
      setNormalised(u, sign, -1022, topHi, topLo);
      u.denormal = 1;
    }
  } else {
    setSpecial(u, FINITE, sign, 0x80000000 | topHi, topLo);
    u.exp = biased - 1023;
  }
}

/** Unpacks an 80-bit extended value. */
export function unpackF80(u: Unpacked, se: number, hi: number, lo: number): void {
  const sign = (se >>> 15) & 1;
  const biased = se & 0x7fff;
  hi |= 0;
  lo |= 0;
  if (biased === 0x7fff) {
    if (hi >= 0) setSpecial(u, UNSUPPORTED, sign, hi, lo);
    else if (hi === (0x80000000 | 0) && lo === 0) setSpecial(u, INFINITE, sign, hi, lo);
    else setSpecial(u, (hi & 0x40000000) !== 0 ? NAN : SNAN, sign, hi, lo);
  } else if (biased === 0) {
    if ((hi | lo) === 0) {
      setSpecial(u, ZERO, sign, 0, 0);
    } else {
      setNormalised(u, sign, -16382, hi, lo);
      u.denormal = 1;
    }
  } else if (hi >= 0) {
    setSpecial(u, UNSUPPORTED, sign, hi, lo);
  } else {
    setSpecial(u, FINITE, sign, hi, lo);
    u.exp = biased - 16383;
  }
}

/** Sets a value from a signed 64-bit integer; exact. */
export function setInt64(u: Unpacked, hi: number, lo: number): void {
  hi |= 0;
  lo |= 0;
  u.denormal = 0;
  if ((hi | lo) === 0) {
    setSpecial(u, ZERO, 0, 0, 0);
    return;
  }
  const sign = hi >>> 31;
  if (sign !== 0) {
    lo = -lo | 0;
    hi = (~hi + (lo === 0 ? 1 : 0)) | 0;
  }
  setNormalised(u, sign, 63, hi, lo);
}

/** Copies every field. */
export function copyUnpacked(to: Unpacked, from: Unpacked): void {
  to.cls = from.cls;
  to.sign = from.sign;
  to.exp = from.exp;
  to.hi = from.hi;
  to.lo = from.lo;
  to.ext = from.ext;
  to.denormal = from.denormal;
}
