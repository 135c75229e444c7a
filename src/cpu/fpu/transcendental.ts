/**
 * The x87's transcendental instructions and constants, with 80-bit results.
 *
 * Document: Intel SDM vol 1 sections 8.3.6 to 8.3.10 (pi has a 66-bit significand in argument reduction), vol 2 F2XM1,
 * FYL2X, FYL2XP1, FPTAN, FPATAN, FSIN, FCOS, FSINCOS, FLD1 to FLDZ with their tables of special operands. Precision
 * control does not apply; results are rounded once by RC. Processors differ here by an ulp of the 64-bit significand;
 * these results are the correctly rounded ones (after the reduction by the 66-bit pi).
 */
import { type FloatEnv, PE, UE, ZE } from "./float-env.ts";
import {
  atanhRatio,
  atanOfSixteenths,
  atanRatio,
  BITS,
  bitLength,
  cosine,
  expm1Ratio,
  LN2,
  ONE,
  PI,
  shift,
  sinRatio,
} from "./bigfixed.ts";
import { denormalStops, propagateNan } from "./softfloat-arith.ts";
import { F80, invalid, packAny, packInfinity, packZero, roundPack, roundSignificand } from "./softfloat-round.ts";
import { FINITE, INFINITE, NAN, Unpacked, unpackF80, ZERO } from "./softfloat-unpack.ts";

const P = BigInt(BITS);
const x = new Unpacked();
const y = new Unpacked();
const result = new Unpacked();

/** FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2: exponent and the first 96 bits of each. */
const CONSTANTS: readonly (readonly [number, number, number, number])[] = [
  [0, 0x80000000, 0, 0],
  [1, 0xd49a784b, 0xcd1b8afe, 0x492bf6ff],
  [0, 0xb8aa3b29, 0x5c17f0bb, 0xbe87fed0],
  [1, 0xc90fdaa2, 0x2168c234, 0xc4c6628b],
  [-2, 0x9a209a84, 0xfbcff798, 0x8f8959ac],
  [-1, 0xb17217f7, 0xd1cf79ab, 0xc9e3b398],
];

/** Result of FLD1 (0), FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ (6), rounded by RC; never inexact in flags. */
export function loadConstant(env: FloatEnv, index: number): void {
  const row = CONSTANTS[index];
  if (row === undefined) {
    packZero(env, F80, 0);
    return;
  }
  result.cls = FINITE;
  result.sign = 0;
  result.exp = row[0];
  result.hi = row[1] | 0;
  result.lo = row[2] | 0;
  result.ext = row[3] | 0;
  roundSignificand(env, result, 64);
  packAny(env, F80, result, 64, true);
}

function start(env: FloatEnv): void {
  env.noResult = 0;
  env.roundedUp = 0;
}

function significand(u: Unpacked): bigint {
  return (BigInt(u.hi >>> 0) << 32n) | BigInt(u.lo >>> 0);
}

/** Rounds magnitude * 2^exp; inexact says that the true value is a little above the magnitude given. */
function deliver(env: FloatEnv, sign: number, magnitude: bigint, exp: number, inexact: boolean): void {
  const length = bitLength(magnitude);
  const top = shift(magnitude, 96 - length);
  result.cls = FINITE;
  result.sign = sign;
  result.exp = exp + length - 1;
  result.hi = Number(top >> 64n) | 0;
  result.lo = Number((top >> 32n) & 0xffffffffn) | 0;
  const lost = inexact || (length > 96 && shift(top, length - 96) !== magnitude);
  result.ext = Number(top & 0xffffffffn) | (lost ? 1 : 0);
  roundPack(env, F80, result, 64, true);
}

/** F2XM1: 2^x - 1 for -1 <= x <= 1. Outside, where the manual leaves it undefined, the same formula. */
export function f2xm1(env: FloatEnv, se: number, hi: number, lo: number): void {
  start(env);
  unpackF80(x, se, hi, lo);
  if (x.cls >= NAN) {
    propagateNan(env, F80, x, x);
  } else if (x.cls === INFINITE) {
    if (x.sign === 0) packInfinity(env, F80, 0);
    else deliver(env, 1, 1n, 0, false);
  } else if (x.cls === ZERO) {
    packZero(env, F80, x.sign);
  } else if (!denormalStops(env, x.denormal)) {
    if (x.exp >= 0) f2xm1Beyond(env, se, hi, lo);
    else f2xm1Inside(env);
  }
}

function f2xm1Inside(env: FloatEnv): void {
  const product = significand(x) * LN2;
  const fixed = shift(product, x.exp - 63);
  const ratio = expm1Ratio(x.sign !== 0 ? -fixed : fixed);
  deliver(env, x.sign, product * ratio, x.exp - 63 - 2 * BITS, true);
}

function f2xm1Beyond(env: FloatEnv, se: number, hi: number, lo: number): void {
  if (x.exp === 0 && x.hi === (0x80000000 | 0) && x.lo === 0) {
    deliver(env, x.sign, 1n, x.sign !== 0 ? -1 : 0, false);
    return;
  }
  // Undefined by the manual: the operand comes back.
  env.outSe = se;
  env.outHi = hi | 0;
  env.outLo = lo | 0;
}

/** log2 of m * 2^exp for a positive m; the answer is numerator * 2^-scale, exact only if numerator says a power of 2. */
let logNumerator = 0n;
let logScale = 0;
let logExact = false;

function log2Of(m: bigint, exp: number): void {
  const length = bitLength(m);
  let power = exp + length - 1;
  let unit = 1n << BigInt(length - 1);
  // Above the square root of 2 (181/128 is near enough) the logarithm is taken from the next power.
  if (m * 128n > unit * 181n) {
    unit <<= 1n;
    power++;
  }
  logFromRatio(m - unit, m + unit, power);
}

/** power + log2((1 + z) / (1 - z)) with z = numerator / denominator. */
function logFromRatio(numerator: bigint, denominator: bigint, power: number): void {
  if (numerator === 0n) {
    logNumerator = BigInt(power);
    logScale = 0;
    logExact = true;
    return;
  }
  logExact = false;
  const magnitude = numerator < 0n ? -numerator : numerator;
  const extra = Math.max(0, bitLength(denominator) - bitLength(magnitude));
  const z = (numerator << BigInt(BITS + extra)) / denominator;
  const fixed = z >> BigInt(extra);
  const ratio = atanhRatio((fixed * fixed) >> P);
  logScale = BITS + extra;
  logNumerator = (BigInt(power) << BigInt(logScale)) + (2n * z * ratio) / LN2;
}

/** Delivers y * the logarithm. */
function deliverLog(env: FloatEnv): void {
  const negative = logNumerator < 0n;
  const magnitude = (negative ? -logNumerator : logNumerator) * significand(y);
  deliver(env, y.sign ^ (negative ? 1 : 0), magnitude, y.exp - 63 - logScale, !logExact);
  // Processors report every logarithm but that of 1 as inexact.
  env.flags |= (env.outSe & 0x7fff) === 0 ? UE | PE : PE;
}

/** FYL2X: y * log2(x). */
export function fyl2x(
  env: FloatEnv,
  ySe: number,
  yHi: number,
  yLo: number,
  xSe: number,
  xHi: number,
  xLo: number,
): void {
  start(env);
  unpackF80(y, ySe, yHi, yLo);
  unpackF80(x, xSe, xHi, xLo);
  if (x.cls >= NAN || y.cls >= NAN) {
    propagateNan(env, F80, y, x);
    return;
  }
  if (x.cls !== ZERO && x.sign !== 0) {
    invalid(env, F80);
    return;
  }
  const isOne = x.cls === FINITE && x.exp === 0 && x.hi === (0x80000000 | 0) && x.lo === 0;
  if ((x.cls === ZERO && y.cls === ZERO) || (x.cls === INFINITE && y.cls === ZERO) || (isOne && y.cls === INFINITE)) {
    invalid(env, F80);
    return;
  }
  const below = x.cls === ZERO || (x.cls === FINITE && x.exp < 0) ? 1 : 0;
  if (x.cls === ZERO) {
    fyl2xOfZero(env);
  } else if (denormalStops(env, x.denormal | y.denormal)) {
    return;
  } else if (x.cls === INFINITE || y.cls === INFINITE) {
    packInfinity(env, F80, y.sign ^ below);
  } else if (y.cls === ZERO || isOne) {
    packZero(env, F80, y.sign ^ below);
  } else {
    log2Of(significand(x), x.exp - 63);
    deliverLog(env);
  }
}

function fyl2xOfZero(env: FloatEnv): void {
  if (y.cls === FINITE) {
    env.flags |= ZE;
    if ((env.masks & ZE) === 0) env.noResult = 1;
  }
  packInfinity(env, F80, y.sign ^ 1);
}

/** FYL2XP1: y * log2(x + 1), accurate for x near 0; defined for |x| up to 1 - sqrt(1/2). */
export function fyl2xp1(
  env: FloatEnv,
  ySe: number,
  yHi: number,
  yLo: number,
  xSe: number,
  xHi: number,
  xLo: number,
): void {
  start(env);
  unpackF80(y, ySe, yHi, yLo);
  unpackF80(x, xSe, xHi, xLo);
  if (x.cls >= NAN || y.cls >= NAN) {
    propagateNan(env, F80, y, x);
    return;
  }
  const sign = x.sign ^ y.sign;
  if ((x.cls === ZERO && y.cls === INFINITE) || (x.cls === INFINITE && (x.sign !== 0 || y.cls === ZERO))) {
    invalid(env, F80);
  } else if (denormalStops(env, x.denormal | y.denormal)) {
    return;
  } else if (x.sign !== 0 && x.cls === FINITE && x.exp >= 0) {
    invalid(env, F80);
  } else if (x.cls === INFINITE || y.cls === INFINITE) {
    packInfinity(env, F80, sign);
  } else if (x.cls === ZERO || y.cls === ZERO) {
    packZero(env, F80, sign);
  } else {
    log2OfOnePlusX();
    deliverLog(env);
  }
}

function log2OfOnePlusX(): void {
  const m = significand(x);
  const signed = x.sign !== 0 ? -m : m;
  if (x.exp > 200) {
    log2Of(m, x.exp - 63);
  } else if (x.exp >= -1) {
    // 1 + x exactly, in units of 2^-64
    log2Of((1n << 64n) + shift(signed, x.exp + 1), -64);
  } else {
    // z = x / (2 + x); below 2^-400 the x in the denominator is far below every bit that counts.
    const two = 1n << BigInt(64 - Math.max(x.exp, -400));
    logFromRatio(signed, two + signed, 0);
    if (x.exp < -400) logScale += -400 - x.exp;
  }
}

/** FPATAN: the angle of the point (x, y), y in ST(1), x in ST(0). */
export function fpatan(
  env: FloatEnv,
  ySe: number,
  yHi: number,
  yLo: number,
  xSe: number,
  xHi: number,
  xLo: number,
): void {
  start(env);
  unpackF80(y, ySe, yHi, yLo);
  unpackF80(x, xSe, xHi, xLo);
  if (x.cls >= NAN || y.cls >= NAN) {
    propagateNan(env, F80, y, x);
    return;
  }
  if (denormalStops(env, x.denormal | y.denormal)) return;
  const sign = y.sign;
  if (y.cls === INFINITE) {
    const eighths = x.cls !== INFINITE ? 2n : x.sign !== 0 ? 3n : 1n;
    deliver(env, sign, PI * eighths, -BITS - 2, true);
  } else if (x.cls === INFINITE || y.cls === ZERO) {
    if (x.sign !== 0) deliver(env, sign, PI, -BITS, true);
    else packZero(env, F80, sign);
  } else if (x.cls === ZERO) {
    deliver(env, sign, PI, -BITS - 1, true);
  } else {
    atanOfQuotient(env, sign);
  }
}

/** Angle of a point off the axes. */
function atanOfQuotient(env: FloatEnv, sign: number): void {
  const difference = y.exp - x.exp;
  const my = significand(y);
  const mx = significand(x);
  const steep = difference > 0 || (difference === 0 && my > mx);
  const gap = Math.min(Math.abs(difference), 400);
  // t = small / large = q * 2^-(BITS + gap), with at least BITS significant bits
  const q = ((steep ? mx : my) << P) / (steep ? my : mx);
  const t = q >> BigInt(gap);
  const sixteenths = Number((t * 16n + ONE / 2n) >> P);
  let angle: bigint;
  let scale = 2 * BITS + gap;
  if (sixteenths === 0) {
    let ratio = atanRatio((t * t) >> P);
    if (ratio === ONE) ratio -= 1n; // atan(t) is below t
    angle = q * ratio;
  } else {
    const c = (ONE * BigInt(sixteenths)) / 16n;
    const u = ((t - c) << P) / (ONE + ((t * c) >> P));
    angle = shift(atanOfSixteenths(sixteenths) + ((u * atanRatio((u * u) >> P)) >> P), BITS + gap);
  }
  const pi = shift(PI, scale - BITS);
  if (steep) angle = pi / 2n - angle;
  if (x.sign !== 0) angle = pi - angle;
  if (!steep && x.sign === 0) scale += Math.abs(difference) - gap;
  deliver(env, sign, angle, -scale, true);
}

/** pi rounded to 66 bits, in units of 2^-66 (SDM vol 1 section 8.3.8). */
const PI66 = 0xc90fdaa22168c234cn;

/** The reduced operand, magnitude * 2^exp with a sign, and the number of quarter turns taken off. */
let turns = 0;
let reducedSign = 0;
let reduced = 0n;
let reducedExp = 0;

function reduce(): void {
  reduced = significand(x);
  reducedExp = x.exp - 63;
  reducedSign = x.sign;
  turns = 0;
  if (x.exp < -1) return;
  // In units of 2^-67 a quarter turn is PI66 itself.
  const scaled = shift(reduced, x.exp + 4);
  const count = (scaled + PI66 / 2n) / PI66;
  const rest = scaled - count * PI66;
  turns = Number(count & 3n);
  if (x.sign !== 0) turns = -turns & 3;
  reduced = rest < 0n ? -rest : rest;
  reducedSign = x.sign ^ (rest < 0n ? 1 : 0);
  reducedExp = -67;
}

/** Unpacks the operand and deals with what is not an ordinary number; 0 go on, 1 done, 2 out of range. */
function trigonometricOperand(env: FloatEnv, se: number, hi: number, lo: number): number {
  start(env);
  unpackF80(x, se, hi, lo);
  if (x.cls >= NAN) {
    propagateNan(env, F80, x, x);
    return 1;
  }
  if (x.cls === INFINITE) {
    invalid(env, F80);
    return 1;
  }
  if (x.cls === FINITE && x.exp >= 63) return 2;
  return denormalStops(env, x.denormal) ? 1 : 0;
}

function squareOfReduced(): bigint {
  const fixed = shift(reduced, reducedExp + BITS);
  return (fixed * fixed) >> P;
}

function deliverSine(env: FloatEnv, sign: number): void {
  let ratio = sinRatio(squareOfReduced());
  if (ratio === ONE) ratio -= 1n; // sin(r) is below r
  deliver(env, sign, reduced * ratio, reducedExp - BITS, true);
}

function deliverCosine(env: FloatEnv, sign: number): void {
  let value = cosine(squareOfReduced());
  if (value === ONE) value -= 1n; // cos(r) is below 1
  deliver(env, sign, value, -BITS, true);
}

/** FSIN; false if the operand is 2^63 or more in magnitude, and then there is no result. */
export function fsin(env: FloatEnv, se: number, hi: number, lo: number): boolean {
  const special = trigonometricOperand(env, se, hi, lo);
  if (special !== 0) return special === 1;
  if (x.cls === ZERO) {
    packZero(env, F80, x.sign);
    return true;
  }
  reduce();
  if ((turns & 1) === 0) deliverSine(env, reducedSign ^ (turns >> 1));
  else deliverCosine(env, turns >> 1);
  return true;
}

/** FCOS; false if the operand is out of range. */
export function fcos(env: FloatEnv, se: number, hi: number, lo: number): boolean {
  const special = trigonometricOperand(env, se, hi, lo);
  if (special !== 0) return special === 1;
  if (x.cls === ZERO) {
    deliver(env, 0, 1n, 0, false);
    return true;
  }
  reduce();
  if ((turns & 1) === 0) deliverCosine(env, turns >> 1);
  else deliverSine(env, reducedSign ^ (turns === 1 ? 1 : 0));
  return true;
}

/** FPTAN without the 1.0 that it pushes; false if the operand is out of range. */
export function fptan(env: FloatEnv, se: number, hi: number, lo: number): boolean {
  const special = trigonometricOperand(env, se, hi, lo);
  if (special !== 0) return special === 1;
  if (x.cls === ZERO) {
    packZero(env, F80, x.sign);
    return true;
  }
  reduce();
  const square = squareOfReduced();
  const cos = cosine(square);
  const sin = reduced * sinRatio(square);
  if ((turns & 1) === 0) {
    // tan = sin / cos; sin is scaled by 2^(reducedExp - BITS)
    deliver(env, reducedSign, (sin << P) / cos, reducedExp - BITS, true);
  } else {
    // -cot
    const wide = BigInt(2 * BITS);
    deliver(env, reducedSign ^ 1, (cos << wide) / sin, -reducedExp - 2 * BITS, true);
  }
  return true;
}
