/**
 * For tests only: a slow, obvious model of IEEE-754 arithmetic on exact rationals in BigInt, independent of the
 * implementation. Document: IEEE 754-2008 sections 4.3, 5.4.1, 7.4 to 7.6, with tininess detected after rounding.
 */
import { OE, PE, ROUND_DOWN, ROUND_NEAREST, ROUND_UP, UE } from "./float-env.ts";

/** A format: significand bits (with the integer bit), exponent range of normal numbers. */
export interface Format {
  readonly precision: number;
  readonly expMin: number;
  readonly expMax: number;
}
export const BINARY32: Format = { precision: 24, expMin: -126, expMax: 127 };
export const BINARY64: Format = { precision: 53, expMin: -1022, expMax: 1023 };
export const EXTENDED: Format = { precision: 64, expMin: -16382, expMax: 16383 };

/** An exact value: sign * numerator / denominator, numerator and denominator not negative. */
export interface Exact {
  readonly sign: 0 | 1;
  readonly numerator: bigint;
  readonly denominator: bigint;
}

/** A rounded value: sign * significand * 2^(exp - precision + 1); infinite if so said. */
export interface Rounded {
  readonly sign: 0 | 1;
  readonly significand: bigint;
  readonly exp: number;
  readonly infinite: boolean;
  readonly flags: number;
}

function power(exp: number): bigint {
  return 1n << BigInt(exp);
}

function bits(value: bigint): number {
  return value.toString(2).length;
}

/** value / 2^unit as an integer, rounded; and whether it was inexact. */
function roundAt(value: Exact, unit: number, rounding: number): { quotient: bigint; inexact: boolean } {
  const numerator = unit < 0 ? value.numerator * power(-unit) : value.numerator;
  const denominator = unit < 0 ? value.denominator : value.denominator * power(unit);
  let quotient = numerator / denominator;
  const rest = numerator % denominator;
  if (rest !== 0n) {
    const half = rest * 2n - denominator;
    const up =
      rounding === ROUND_NEAREST
        ? half > 0n || (half === 0n && (quotient & 1n) === 1n)
        : rounding === (value.sign === 0 ? ROUND_UP : ROUND_DOWN);
    if (up) quotient++;
  }
  return { quotient, inexact: rest !== 0n };
}

/** floor(log2(value)) */
function exponentOf(value: Exact): number {
  let exp = bits(value.numerator) - bits(value.denominator);
  const a = exp >= 0 ? value.numerator : value.numerator * power(-exp);
  const b = exp >= 0 ? value.denominator * power(exp) : value.denominator;
  if (a < b) exp--;
  return exp;
}

/** Rounds a non-zero exact value to a format, all exceptions masked. */
export function roundExact(value: Exact, format: Format, rounding: number): Rounded {
  const { sign } = value;
  const { precision, expMin, expMax } = format;
  const exp = exponentOf(value);
  const unbounded = roundAt(value, exp - precision + 1, rounding);
  const carried = bits(unbounded.quotient) > precision;
  const expAfter = carried ? exp + 1 : exp;
  if (expAfter > expMax) {
    const infinite = rounding === ROUND_NEAREST || rounding === (sign === 0 ? ROUND_UP : ROUND_DOWN);
    return { sign, significand: power(precision) - 1n, exp: expMax, infinite, flags: OE | PE };
  }
  if (expAfter < expMin) {
    const tiny = roundAt(value, expMin - precision + 1, rounding);
    return { sign, significand: tiny.quotient, exp: expMin, infinite: false, flags: tiny.inexact ? UE | PE : 0 };
  }
  const significand = carried ? unbounded.quotient / 2n : unbounded.quotient;
  return { sign, significand, exp: expAfter, infinite: false, flags: unbounded.inexact ? PE : 0 };
}

/** The encoding of a rounded value in a format with an implicit integer bit, `width` bits wide. */
export function encode(r: Rounded, format: Format, width: number): bigint {
  const fraction = BigInt(format.precision - 1);
  const sign = r.sign === 1 ? power(width - 1) : 0n;
  if (r.infinite) return sign | (BigInt(2 * format.expMax + 1) << fraction);
  const normal = r.significand >> fraction !== 0n;
  const biased = normal ? BigInt(r.exp + format.expMax) : 0n;
  return sign | (biased << fraction) | (r.significand & (power(format.precision - 1) - 1n));
}

/** The value of a finite encoding. */
export function decode(pattern: bigint, format: Format, width: number): Exact {
  const fraction = format.precision - 1;
  const sign = (pattern >> BigInt(width - 1)) & 1n ? 1 : 0;
  const biased = Number((pattern >> BigInt(fraction)) & BigInt(2 * format.expMax + 1));
  const low = pattern & (power(fraction) - 1n);
  const significand = biased === 0 ? low : low | power(fraction);
  const unit = (biased === 0 ? format.expMin : biased - format.expMax) - fraction;
  return {
    sign,
    numerator: unit >= 0 ? significand * power(unit) : significand,
    denominator: unit >= 0 ? 1n : power(-unit),
  };
}

/** The value of a finite 80-bit encoding. */
export function decode80(se: number, significand: bigint): Exact {
  const biased = se & 0x7fff;
  const unit = (biased === 0 ? 1 : biased) - 16383 - 63;
  return {
    sign: se & 0x8000 ? 1 : 0,
    numerator: unit >= 0 ? significand * power(unit) : significand,
    denominator: unit >= 0 ? 1n : power(-unit),
  };
}

/** a op b exactly; the sign of an exact zero is left to the test. Square roots: see squareRoot. */
export function exactly(op: "add" | "sub" | "mul" | "div", a: Exact, b: Exact): Exact {
  if (op === "mul") {
    return {
      sign: a.sign === b.sign ? 0 : 1,
      numerator: a.numerator * b.numerator,
      denominator: a.denominator * b.denominator,
    };
  }
  if (op === "div") {
    return {
      sign: a.sign === b.sign ? 0 : 1,
      numerator: a.numerator * b.denominator,
      denominator: a.denominator * b.numerator,
    };
  }
  const signB = op === "sub" ? 1 - b.sign : b.sign;
  const left = a.numerator * b.denominator * (a.sign === 1 ? -1n : 1n);
  const right = b.numerator * a.denominator * (signB === 1 ? -1n : 1n);
  const sum = left + right;
  return { sign: sum < 0n ? 1 : 0, numerator: sum < 0n ? -sum : sum, denominator: a.denominator * b.denominator };
}

/** A value that rounds like the square root of a in every format: the root cut after 200 bits, with a sticky bit. */
export function squareRoot(a: Exact): Exact {
  // a = numerator / 2^k; make k even and the radicand long.
  const k = bits(a.denominator) - 1;
  const shift = 400 + bits(a.numerator) + k + ((400 + bits(a.numerator)) & 1);
  const even = shift + k + ((shift + k) & 1);
  const radicand = a.numerator << BigInt(even - k);
  let root = power(Math.ceil(bits(radicand) / 2) + 1);
  for (;;) {
    const next = (root + radicand / root) / 2n;
    if (next >= root) break;
    root = next;
  }
  const sticky = root * root === radicand ? 0n : 1n;
  return { sign: 0, numerator: root * 4n + sticky, denominator: power(even / 2 + 2) };
}
