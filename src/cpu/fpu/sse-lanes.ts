/**
 * One lane of the SSE floating-point operations: arithmetic by family, compare predicates, reciprocal approximations.
 *
 * Document: Intel SDM vol 2 CMPPS (table of predicates), RCPPS, RSQRTPS, ROUNDPS.
 */
import { EQUAL, type FloatEnv, LESS, UNORDERED } from "./float-env.ts";
import { addF32, compareF32, divF32, maxF32, minF32, mulF32, roundIntF32, sqrtF32, subF32 } from "./softfloat-f32.ts";
import { addF64, compareF64, divF64, maxF64, minF64, mulF64, roundIntF64, sqrtF64, subF64 } from "./softfloat-f64.ts";

/** Families of operations with the forms PS, PD, SS, SD: operation number divided by 4. */
export const ADD = 0;
export const MUL = 1;
export const SUB = 2;
export const MIN = 3;
export const DIV = 4;
export const MAX = 5;
export const SQRT = 6;
export const CMP = 7;
export const ROUND = 8;

/** One binary32 lane; a is the first (destination) operand. The result is in env.outLo. */
export function laneF32(env: FloatEnv, family: number, a: number, b: number, imm: number): void {
  switch (family) {
    case ADD:
      addF32(env, a, b);
      break;
    case MUL:
      mulF32(env, a, b);
      break;
    case SUB:
      subF32(env, a, b);
      break;
    case MIN:
      minF32(env, a, b);
      break;
    case DIV:
      divF32(env, a, b);
      break;
    case MAX:
      maxF32(env, a, b);
      break;
    case SQRT:
      sqrtF32(env, b);
      break;
    case CMP:
      env.outLo = predicate(imm, compareF32(env, a, b, isSignalling(imm)));
      break;
    default:
      roundIntF32(env, b, (imm & 4) !== 0 ? env.rounding : imm & 3, (imm & 8) !== 0);
  }
}

/** One binary64 lane; a is the first (destination) operand. The result is in env.outHi and env.outLo. */
export function laneF64(
  env: FloatEnv,
  family: number,
  aHi: number,
  aLo: number,
  bHi: number,
  bLo: number,
  imm: number,
): void {
  switch (family) {
    case ADD:
      addF64(env, aHi, aLo, bHi, bLo);
      break;
    case MUL:
      mulF64(env, aHi, aLo, bHi, bLo);
      break;
    case SUB:
      subF64(env, aHi, aLo, bHi, bLo);
      break;
    case MIN:
      minF64(env, aHi, aLo, bHi, bLo);
      break;
    case DIV:
      divF64(env, aHi, aLo, bHi, bLo);
      break;
    case MAX:
      maxF64(env, aHi, aLo, bHi, bLo);
      break;
    case SQRT:
      sqrtF64(env, bHi, bLo);
      break;
    case CMP:
      env.outLo = predicate(imm, compareF64(env, aHi, aLo, bHi, bLo, isSignalling(imm)));
      env.outHi = env.outLo;
      break;
    default:
      roundIntF64(env, bHi, bLo, (imm & 4) !== 0 ? env.rounding : imm & 3, (imm & 8) !== 0);
  }
}

/** LT, LE, NLT and NLE (1, 2, 5, 6) raise IE for quiet NaNs too. */
function isSignalling(imm: number): boolean {
  const p = imm & 3;
  return p === 1 || p === 2;
}

/** All ones or zero for a predicate 0 to 7: EQ, LT, LE, UNORD and, with bit 2, their negations. */
function predicate(imm: number, order: number): number {
  const p = imm & 3;
  const holds =
    p === 0
      ? order === EQUAL
      : p === 1
        ? order === LESS
        : p === 2
          ? order === LESS || order === EQUAL
          : order === UNORDERED;
  return holds !== ((imm & 4) !== 0) ? -1 : 0;
}

const single = new Float32Array(1);
const word = new Int32Array(single.buffer);

/** Rounds a positive or negative value to a 12-bit significand; tiny ones to a signed zero. */
function twelveBits(value: number): number {
  single[0] = value;
  const bits = (word[0]! + 0x400) & ~0x7ff;
  return (bits & 0x7f800000) === 0 ? bits & 0x80000000 : bits;
}

/**
 * RCPSS: 1/x to 12 bits. Processors differ in their tables; the manual promises a relative error of 1.5 * 2^-12, and
 * this is the exact reciprocal rounded to 12 bits. Denormals count as zeros; no exceptions.
 */
export function reciprocal(bits: number): number {
  const exponent = bits & 0x7f800000;
  if (exponent === 0) return (bits & 0x80000000) | 0x7f800000;
  if (exponent === 0x7f800000) return (bits & 0x7fffff) === 0 ? bits & 0x80000000 : bits | 0x400000;
  word[0] = bits;
  return twelveBits(1 / single[0]!);
}

/** RSQRTSS: 1/sqrt(x) to 12 bits; the default NaN for negative numbers. Denormals count as zeros; no exceptions. */
export function reciprocalRoot(bits: number): number {
  const exponent = bits & 0x7f800000;
  if (exponent === 0) return (bits & 0x80000000) | 0x7f800000;
  if (exponent === 0x7f800000 && (bits & 0x7fffff) !== 0) return bits | 0x400000;
  if ((bits & 0x80000000) !== 0) return 0xffc00000 | 0;
  if (exponent === 0x7f800000) return 0;
  word[0] = bits;
  return twelveBits(1 / Math.sqrt(single[0]!));
}
