/**
 * Addition, subtraction, multiplication, division and square root on unpacked numbers, for every format.
 *
 * Document: IEEE 754-2008 section 5.4.1; Intel SDM vol 1 section 4.8.3.5 and table 4-7 (NaN operands), 4.9.1 and 4.9.2
 * (exceptions and their precedence). The destination format chooses the rule for two NaNs: F80 the x87 one, else SSE.
 */
import { DE, type FloatEnv, IE, ROUND_DOWN, ZE } from "./float-env.ts";
import { F80, invalid, packInfinity, packNan, packZero, roundPack, shiftRightSticky } from "./softfloat-round.ts";
import { FINITE, INFINITE, NAN, SNAN, UNSUPPORTED, Unpacked, ZERO } from "./softfloat-unpack.ts";

const result = new Unpacked();
const shifted = new Unpacked();

/** Writes the result of an operation with at least one operand that is not a number (table 4-7). */
export function propagateNan(env: FloatEnv, format: number, a: Unpacked, b: Unpacked): void {
  if (a.cls === UNSUPPORTED || b.cls === UNSUPPORTED) {
    invalid(env, format);
    return;
  }
  if (a.cls === SNAN || b.cls === SNAN) {
    env.flags |= IE;
    if ((env.masks & IE) === 0) env.noResult = 1;
  }
  packNan(env, format, chooseNan(format, a, b));
}

function chooseNan(format: number, a: Unpacked, b: Unpacked): Unpacked {
  if (b.cls < NAN) return a;
  if (a.cls < NAN) return b;
  if (format !== F80) return a;
  // The larger significand; a quiet NaN's is always larger than a signalling one's. Of equal ones the positive.
  const order = (a.hi >>> 0) - (b.hi >>> 0) || (a.lo >>> 0) - (b.lo >>> 0);
  if (order !== 0) return order > 0 ? a : b;
  return a.sign === 0 ? a : b;
}

/** Raises DE if an operand is denormal; true if that exception is unmasked, so that nothing is to be computed. */
export function denormalStops(env: FloatEnv, denormal: number): boolean {
  if (denormal === 0) return false;
  env.flags |= DE;
  if ((env.masks & DE) !== 0) return false;
  env.noResult = 1;
  return true;
}

/** result = a + b; negate 1 gives a - b (the sign of a NaN b is not changed). Neither operand may be `result`. */
export function addUnpacked(
  env: FloatEnv,
  format: number,
  precision: number,
  a: Unpacked,
  b: Unpacked,
  negate: number,
): void {
  env.noResult = 0;
  env.roundedUp = 0;
  if (a.cls >= NAN || b.cls >= NAN) {
    propagateNan(env, format, a, b);
    return;
  }
  const signB = b.sign ^ negate;
  if (a.cls === INFINITE && b.cls === INFINITE && a.sign !== signB) {
    invalid(env, format);
    return;
  }
  if (denormalStops(env, a.denormal | b.denormal)) return;
  if (a.cls === INFINITE) {
    packInfinity(env, format, a.sign);
  } else if (b.cls === INFINITE) {
    packInfinity(env, format, signB);
  } else if (a.cls === ZERO && b.cls === ZERO) {
    packZero(env, format, a.sign === signB ? a.sign : env.rounding === ROUND_DOWN ? 1 : 0);
  } else {
    addFinite(a, b, signB);
    if (result.cls === ZERO) packZero(env, format, env.rounding === ROUND_DOWN ? 1 : 0);
    else roundPack(env, format, result, precision, format === F80);
  }
}

/** Sum of two values of which at least one is not zero, into `result`. */
function addFinite(a: Unpacked, b: Unpacked, signB: number): void {
  result.cls = FINITE;
  if (b.cls === ZERO || a.cls === ZERO) {
    const only = b.cls === ZERO ? a : b;
    result.sign = b.cls === ZERO ? a.sign : signB;
    result.exp = only.exp;
    result.hi = only.hi;
    result.lo = only.lo;
    result.ext = 0;
    return;
  }
  let big = a;
  let small = b;
  let sign = a.sign;
  if (magnitudeLess(a, b)) {
    big = b;
    small = a;
    sign = signB;
  }
  shifted.hi = small.hi;
  shifted.lo = small.lo;
  shifted.ext = 0;
  shiftRightSticky(shifted, big.exp - small.exp);
  result.sign = sign;
  result.exp = big.exp;
  if (a.sign === signB) addSignificands(big);
  else subtractSignificands(big);
}

function magnitudeLess(a: Unpacked, b: Unpacked): boolean {
  if (a.exp !== b.exp) return a.exp < b.exp;
  if (a.hi !== b.hi) return a.hi >>> 0 < b.hi >>> 0;
  return a.lo >>> 0 < b.lo >>> 0;
}

/** result = big + shifted. */
function addSignificands(big: Unpacked): void {
  const lo = (big.lo >>> 0) + (shifted.lo >>> 0);
  const hi = (big.hi >>> 0) + (shifted.hi >>> 0) + (lo > 0xffffffff ? 1 : 0);
  let ext = shifted.ext;
  if (hi > 0xffffffff) {
    ext = (lo << 31) | (ext >>> 1) | (ext & 1);
    result.lo = (hi << 31) | ((lo | 0) >>> 1);
    result.hi = 0x80000000 | ((hi | 0) >>> 1);
    result.exp++;
  } else {
    result.hi = hi | 0;
    result.lo = lo | 0;
  }
  result.ext = ext | 0;
}

/** result = big - shifted, normalised; big is not less. */
function subtractSignificands(big: Unpacked): void {
  let ext = -shifted.ext | 0;
  const low = (big.lo >>> 0) - (shifted.lo >>> 0) - (shifted.ext !== 0 ? 1 : 0);
  let lo = low | 0;
  let hi = ((big.hi >>> 0) - (shifted.hi >>> 0) - (low < 0 ? 1 : 0)) | 0;
  let exp = result.exp;
  if ((hi | lo | ext) === 0) {
    result.cls = ZERO;
    return;
  }
  while (hi === 0) {
    hi = lo;
    lo = ext;
    ext = 0;
    exp -= 32;
  }
  const shift = Math.clz32(hi);
  if (shift !== 0) {
    hi = (hi << shift) | (lo >>> (32 - shift));
    lo = (lo << shift) | (ext >>> (32 - shift));
    ext <<= shift;
  }
  result.exp = exp - shift;
  result.hi = hi;
  result.lo = lo;
  result.ext = ext;
}

/** High 32 bits (as a signed word) of the product of two unsigned words. */
export function multiplyHigh(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const middle = a1 * b0 + ((Math.imul(a0, b0) >>> 16) + a0 * b1); // below 2^33 + 2^16: exact
  return (a1 * b1 + Math.floor(middle / 65536)) | 0;
}

/** result = a * b. */
export function mulUnpacked(env: FloatEnv, format: number, precision: number, a: Unpacked, b: Unpacked): void {
  env.noResult = 0;
  env.roundedUp = 0;
  if (a.cls >= NAN || b.cls >= NAN) {
    propagateNan(env, format, a, b);
    return;
  }
  const sign = a.sign ^ b.sign;
  if ((a.cls | b.cls) === INFINITE && a.cls !== b.cls) {
    invalid(env, format); // zero times infinity: the classes 0 and 2
    return;
  }
  if (denormalStops(env, a.denormal | b.denormal)) return;
  if (a.cls === INFINITE || b.cls === INFINITE) {
    packInfinity(env, format, sign);
  } else if (a.cls === ZERO || b.cls === ZERO) {
    packZero(env, format, sign);
  } else {
    multiplySignificands(a, b);
    result.cls = FINITE;
    result.sign = sign;
    roundPack(env, format, result, precision, format === F80);
  }
}

function multiplySignificands(a: Unpacked, b: Unpacked): void {
  const w0 = Math.imul(a.lo, b.lo);
  let w1 = multiplyHigh(a.lo, b.lo) >>> 0;
  w1 += (Math.imul(a.hi, b.lo) >>> 0) + (Math.imul(a.lo, b.hi) >>> 0);
  let w2 = Math.floor(w1 / 0x100000000);
  w2 += (multiplyHigh(a.hi, b.lo) >>> 0) + (multiplyHigh(a.lo, b.hi) >>> 0) + (Math.imul(a.hi, b.hi) >>> 0);
  let hi = (multiplyHigh(a.hi, b.hi) + Math.floor(w2 / 0x100000000)) | 0;
  let lo = w2 | 0;
  let ext = w1 | 0;
  result.exp = a.exp + b.exp + 1;
  if (hi >= 0) {
    hi = (hi << 1) | (lo >>> 31);
    lo = (lo << 1) | (ext >>> 31);
    ext = (ext << 1) | (w0 >>> 31);
    result.exp--;
    result.ext = ext | ((w0 & 0x7fffffff) !== 0 ? 1 : 0);
  } else {
    result.ext = ext | (w0 !== 0 ? 1 : 0);
  }
  result.hi = hi;
  result.lo = lo;
}

/** result = a / b. */
export function divUnpacked(env: FloatEnv, format: number, precision: number, a: Unpacked, b: Unpacked): void {
  env.noResult = 0;
  env.roundedUp = 0;
  if (a.cls >= NAN || b.cls >= NAN) {
    propagateNan(env, format, a, b);
    return;
  }
  const sign = a.sign ^ b.sign;
  if (a.cls === b.cls && a.cls !== FINITE) {
    invalid(env, format); // zero by zero, infinity by infinity
    return;
  }
  if (b.cls === ZERO && a.cls === FINITE) {
    env.flags |= ZE;
    if ((env.masks & ZE) === 0) env.noResult = 1;
    packInfinity(env, format, sign);
    return;
  }
  if (denormalStops(env, a.denormal | b.denormal)) return;
  if (a.cls === INFINITE) {
    packInfinity(env, format, sign);
  } else if (a.cls === ZERO || b.cls === INFINITE) {
    packZero(env, format, sign);
  } else {
    divideSignificands(a, b);
    result.cls = FINITE;
    result.sign = sign;
    roundPack(env, format, result, precision, format === F80);
  }
}

/** Quotient digits of the division in progress: two per word. */
const digits = new Int32Array(6);

/**
 * Long division in base 2^16. The remainder is below the divisor, both as two words held in doubles; a digit estimated
 * from their leading 53 bits is at most one off, and the exact remainder says which way.
 */
function divideSignificands(a: Unpacked, b: Unpacked): void {
  const dHi = b.hi >>> 0;
  const dLo = b.lo >>> 0;
  let rHi = a.hi >>> 0;
  let rLo = a.lo >>> 0;
  let exp = a.exp - b.exp;
  // Halving is avoided: when a >= b the integer digit 1 is taken first and put back at the end.
  const integer = rHi > dHi || (rHi === dHi && rLo >= dLo);
  if (integer) {
    rLo -= dLo;
    rHi -= dHi;
    if (rLo < 0) {
      rLo += 0x100000000;
      rHi--;
    }
  }
  const divisor = dHi * 0x100000000 + dLo;
  for (let i = 0; i < 6; i++) {
    let digit = Math.floor(((rHi * 0x100000000 + rLo) / divisor) * 65536);
    const low = rLo * 65536 - digit * dLo;
    const carry = Math.floor(low / 0x100000000);
    rLo = low - carry * 0x100000000;
    rHi = rHi * 65536 - digit * dHi + carry;
    if (rHi < 0) {
      digit--;
      rLo += dLo;
      rHi += dHi + (rLo > 0xffffffff ? 1 : 0);
      if (rLo > 0xffffffff) rLo -= 0x100000000;
    } else if (rHi > dHi || (rHi === dHi && rLo >= dLo)) {
      digit++;
      rLo -= dLo;
      rHi -= dHi + (rLo < 0 ? 1 : 0);
      if (rLo < 0) rLo += 0x100000000;
    }
    digits[i] = digit;
  }
  let hi = (digits[0]! << 16) | digits[1]!;
  let lo = (digits[2]! << 16) | digits[3]!;
  let ext = (digits[4]! << 16) | digits[5]!;
  const sticky = rHi !== 0 || rLo !== 0 ? 1 : 0;
  if (integer) {
    ext = (lo << 31) | (ext >>> 1) | (ext & 1);
    lo = (hi << 31) | (lo >>> 1);
    hi = 0x80000000 | (hi >>> 1);
  } else {
    exp--; // the quotient is above one half, so its top bit is set
  }
  result.exp = exp;
  result.hi = hi;
  result.lo = lo;
  result.ext = ext | sticky;
}

/** result = square root of a. */
export function sqrtUnpacked(env: FloatEnv, format: number, precision: number, a: Unpacked): void {
  env.noResult = 0;
  env.roundedUp = 0;
  if (a.cls >= NAN) {
    propagateNan(env, format, a, a);
  } else if (a.cls === ZERO) {
    packZero(env, format, a.sign);
  } else if (a.sign !== 0) {
    invalid(env, format);
  } else if (denormalStops(env, a.denormal)) {
    return;
  } else if (a.cls === INFINITE) {
    packInfinity(env, format, 0);
  } else {
    rootSignificand(a);
    roundPack(env, format, result, precision, format === F80);
  }
}

/** Square root of a finite positive value, by Newton's iteration on a 192-bit integer. */
function rootSignificand(a: Unpacked): void {
  const odd = a.exp & 1;
  const significand = (BigInt(a.hi >>> 0) << 32n) | BigInt(a.lo >>> 0);
  // n = significand * 2^(127 or 128) has a root of exactly 96 bits.
  const n = significand << (odd !== 0 ? 128n : 127n);
  let root = BigInt(Math.floor(Math.sqrt(Number(n))));
  let correction = n;
  while (correction > 1n || correction < -1n) {
    const next = (root + n / root) >> 1n;
    correction = next - root;
    root = next;
  }
  while (root * root > n) root--;
  while ((root + 1n) * (root + 1n) <= n) root++;
  result.cls = FINITE;
  result.sign = 0;
  result.exp = (a.exp - odd) / 2;
  result.hi = Number((root >> 64n) & 0xffffffffn) | 0;
  result.lo = Number((root >> 32n) & 0xffffffffn) | 0;
  result.ext = Number(root & 0xffffffffn) | (root * root !== n ? 1 : 0);
}
