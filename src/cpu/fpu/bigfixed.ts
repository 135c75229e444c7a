/**
 * Series for the transcendental functions in fixed point on BigInt, with far more bits than an 80-bit result keeps.
 *
 * Document: the Taylor series of exp, atanh, atan, sin and cos; Machin's formula for pi. Every value is scaled by
 * 2^BITS unless named otherwise. The truncation errors of at most some hundred units in the last of 192 places leave
 * results correctly rounded except within 2^-180 of a tie.
 */

/** Fraction bits of the fixed-point values. */
export const BITS = 192;
const P = BigInt(BITS);
/** 1.0 */
export const ONE: bigint = 1n << P;

/** value * 2^count for a count of either sign, truncated toward minus infinity. */
export function shift(value: bigint, count: number): bigint {
  return count >= 0 ? value << BigInt(count) : value >> BigInt(-count);
}

/** Number of bits of a positive value. */
export function bitLength(value: bigint): number {
  const digits = value.toString(16);
  return digits.length * 4 - Math.clz32(Number.parseInt(digits[0]!, 16)) + 28;
}

/** (exp(y) - 1) / y for |y| < 1. */
export function expm1Ratio(y: bigint): bigint {
  let term = ONE;
  let sum = ONE;
  for (let k = 2n; term !== 0n && term !== -1n; k++) {
    term = ((term * y) >> P) / k;
    sum += term;
  }
  return sum;
}

/** atanh(z) / z, given z squared, for |z| below 0.6. */
export function atanhRatio(z2: bigint): bigint {
  let power = ONE;
  let sum = ONE;
  for (let k = 3n; power !== 0n; k += 2n) {
    power = (power * z2) >> P;
    sum += power / k;
  }
  return sum;
}

/** atan(t) / t, given t squared, for |t| < 0.5; below 1 unless t is 0. */
export function atanRatio(t2: bigint): bigint {
  let power = ONE;
  let sum = ONE;
  let negative = true;
  for (let k = 3n; power !== 0n; k += 2n) {
    power = (power * t2) >> P;
    sum += negative ? -(power / k) : power / k;
    negative = !negative;
  }
  return sum;
}

/** sin(r) / r (first 2) or cos(r) (first 1), given r squared, for |r| < 1. */
function alternating(r2: bigint, first: bigint): bigint {
  let term = ONE;
  let sum = ONE;
  for (let k = first; term !== 0n && term !== -1n; k += 2n) {
    term = -((term * r2) >> P) / (k * (k + 1n));
    sum += term;
  }
  return sum;
}

/** sin(r) / r, given r squared. */
export function sinRatio(r2: bigint): bigint {
  return alternating(r2, 2n);
}

/** cos(r), given r squared. */
export function cosine(r2: bigint): bigint {
  return alternating(r2, 1n);
}

function atanOfInverse(n: bigint): bigint {
  return atanRatio(ONE / (n * n)) / n;
}

/** ln 2 = 2 atanh(1/3). */
export const LN2: bigint = (2n * atanhRatio(ONE / 9n)) / 3n;
/** pi = 16 atan(1/5) - 4 atan(1/239). */
export const PI: bigint = 16n * atanOfInverse(5n) - 4n * atanOfInverse(239n);

const atans: bigint[] = [];

/** atan(n / 16) for n from 1 to 16. */
export function atanOfSixteenths(n: number): bigint {
  for (let k = atans.length; k <= n; k++) {
    // atan(k/16) = atan((k-1)/16) + atan(16 / (256 + k(k-1)))
    const step = (ONE * 16n) / BigInt(256 + k * (k - 1));
    atans[k] = k === 0 ? 0n : atans[k - 1]! + ((step * atanRatio((step * step) >> P)) >> P);
  }
  return atans[n]!;
}
