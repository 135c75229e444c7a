/**
 * The x87's arithmetic and compare instructions, for register and memory operands alike.
 *
 * Document: Intel SDM vol 2 FADD to FDIVRP, FCOM, FUCOM, FCOMI, FTST, FXAM, FSQRT, FRNDINT, FSCALE, FPREM, FXTRACT;
 * vol 1 sections 8.5 (exceptions and their masked responses), 8.3.
 */
import { EQUAL, GREATER, LESS } from "./float-env.ts";
import { addUnpacked, divUnpacked, mulUnpacked, sqrtUnpacked } from "./softfloat-arith.ts";
import { compareUnpacked } from "./softfloat-compare.ts";
import { roundToIntegral } from "./softfloat-convert.ts";
import { extractExponent, extractSignificand, remainder, scale } from "./softfloat-rem.ts";
import { F80 } from "./softfloat-round.ts";
import { copyUnpacked, FINITE, INFINITE, NAN, Unpacked, ZERO } from "./softfloat-unpack.ts";
import { C0, C1, C2, C3, type X87State } from "./x87-state.ts";

/** Values of the reg field that name an arithmetic operation in opcodes D8, DA, DC and DE. */
export const ADD = 0;
export const MUL = 1;
export const COM = 2;
export const COMP = 3;
export const SUB = 4;
export const SUBR = 5;
export const DIV = 6;
export const DIVR = 7;

const first = new Unpacked();
const second = new Unpacked();
const kept = new Unpacked();
const zero = new Unpacked();

/** ST(0) op other, in the sense of the reg field: SUB is ST(0) - other, SUBR is other - ST(0). */
function compute(s: X87State, operation: number, st0: Unpacked, other: Unpacked): void {
  const env = s.env;
  const precision = env.precision;
  switch (operation) {
    case ADD:
      addUnpacked(env, F80, precision, st0, other, 0);
      break;
    case MUL:
      mulUnpacked(env, F80, precision, st0, other);
      break;
    case SUB:
      addUnpacked(env, F80, precision, st0, other, 1);
      break;
    case SUBR:
      addUnpacked(env, F80, precision, other, st0, 1);
      break;
    case DIV:
      divUnpacked(env, F80, precision, st0, other);
      break;
    default:
      divUnpacked(env, F80, precision, other, st0);
      break;
  }
}

/** ST(dest) = ST(0) op ST(i), dest being 0 or i; then perhaps a pop. */
export function arithRegister(s: X87State, operation: number, i: number, dest: number, pop: boolean): void {
  if (s.isEmpty(0) || s.isEmpty(i)) {
    if (s.underflow()) {
      s.writeDefaultNan(dest);
      if (pop) s.pop();
    }
    return;
  }
  s.begin();
  s.unpack(first, 0);
  s.unpack(second, i);
  compute(s, operation, first, second);
  if (s.deliver()) {
    s.writeResult(dest);
    if (pop) s.pop();
  }
}

/** ST(0) = ST(0) op operand, for an operand that came from memory. */
export function arithOperand(s: X87State, operation: number, operand: Unpacked): void {
  if (s.isEmpty(0)) {
    if (s.underflow()) s.writeDefaultNan(0);
    return;
  }
  s.begin();
  s.unpack(first, 0);
  compute(s, operation, first, operand);
  if (s.deliver()) s.writeResult(0);
}

function compareCodes(order: number): number {
  return order === GREATER ? 0 : order === LESS ? C0 : order === EQUAL ? C3 : C0 | C2 | C3;
}

/** Compares ST(0) with an unpacked operand and sets C3, C2, C0; pops 0, 1 or 2 registers. */
export function compareOperand(s: X87State, operand: Unpacked, signalling: boolean, pops: number): void {
  if (s.isEmpty(0)) {
    compareUnderflow(s, pops);
    return;
  }
  s.begin();
  s.unpack(first, 0);
  const order = compareUnpacked(s.env, first, operand, signalling);
  const delivered = s.deliver();
  s.setCodes(compareCodes(order));
  if (delivered) for (let n = 0; n < pops; n++) s.pop();
}

function compareUnderflow(s: X87State, pops: number): void {
  const masked = s.underflow();
  s.setCodes(C0 | C2 | C3);
  if (masked) for (let n = 0; n < pops; n++) s.pop();
}

/** FCOM and FUCOM with ST(i). */
export function compareRegister(s: X87State, i: number, signalling: boolean, pops: number): void {
  if (s.isEmpty(0) || s.isEmpty(i)) {
    compareUnderflow(s, pops);
    return;
  }
  s.unpack(second, i);
  compareOperand(s, second, signalling, pops);
}

/** FTST: compares ST(0) with +0.0. */
export function test(s: X87State): void {
  zero.cls = ZERO;
  compareOperand(s, zero, true, 0);
}

/** FCOMI and FUCOMI: returns ZF, PF and CF as their EFLAGS bits (OF, SF and AF are to be cleared). */
export function compareToFlags(s: X87State, i: number, signalling: boolean, pop: boolean): number {
  if (s.isEmpty(0) || s.isEmpty(i)) {
    if (s.underflow() && pop) s.pop();
    return 0x45;
  }
  s.begin();
  s.unpack(first, 0);
  s.unpack(second, i);
  const order = compareUnpacked(s.env, first, second, signalling);
  if (s.deliver() && pop) s.pop();
  return order === GREATER ? 0 : order === LESS ? 0x01 : order === EQUAL ? 0x40 : 0x45;
}

/** FXAM: class of ST(0) in C3, C2, C0 and its sign in C1, also of an empty register. */
export function examine(s: X87State): void {
  const sign = s.se(0) & 0x8000;
  s.fsw = (s.fsw & ~C1) | (sign !== 0 ? C1 : 0);
  if (s.isEmpty(0)) {
    s.setCodes(C3 | C0);
    return;
  }
  s.unpack(first, 0);
  if (first.cls === ZERO) s.setCodes(C3);
  else if (first.cls === INFINITE) s.setCodes(C2 | C0);
  else if (first.cls === FINITE) s.setCodes(first.denormal !== 0 ? C3 | C2 : C2);
  else s.setCodes(first.cls < NAN + 2 ? C0 : 0);
}

/** FCHS and FABS: only the sign bit changes, whatever the register holds. */
export function changeSign(s: X87State, absolute: boolean): void {
  if (s.isEmpty(0)) {
    if (s.underflow()) s.writeDefaultNan(0);
    return;
  }
  s.fsw &= ~C1;
  const se = s.se(0);
  s.view.setUint16(s.at(0) + 8, absolute ? se & 0x7fff : se ^ 0x8000, true);
}

/** FSQRT and FRNDINT. */
export function unary(s: X87State, root: boolean): void {
  if (s.isEmpty(0)) {
    if (s.underflow()) s.writeDefaultNan(0);
    return;
  }
  s.begin();
  s.unpack(first, 0);
  if (root) sqrtUnpacked(s.env, F80, s.env.precision, first);
  else roundToIntegral(s.env, F80, first, s.env.rounding, false, true);
  if (s.deliver()) s.writeResult(0);
}

/** FSCALE. */
export function scaleTop(s: X87State): void {
  if (s.isEmpty(0) || s.isEmpty(1)) {
    if (s.underflow()) s.writeDefaultNan(0);
    return;
  }
  s.begin();
  s.unpack(first, 0);
  s.unpack(second, 1);
  scale(s.env, first, second);
  if (s.deliver()) s.writeResult(0);
}

/** FPREM and FPREM1. C2: reduction incomplete; else C0, C3, C1 are quotient bits 2, 1, 0. */
export function remainderTop(s: X87State, nearest: boolean): void {
  s.fsw &= ~C2;
  if (s.isEmpty(0) || s.isEmpty(1)) {
    if (s.underflow()) s.writeDefaultNan(0);
    return;
  }
  s.begin();
  s.unpack(first, 0);
  s.unpack(second, 1);
  const env = s.env;
  remainder(env, first, second, nearest);
  if (!s.deliver()) return;
  s.writeResult(0);
  if ((env.outSe & 0x7fff) === 0x7fff) return; // a NaN: no quotient
  const q = env.quotient;
  s.setCodes(env.partial !== 0 ? C2 : ((q & 4) !== 0 ? C0 : 0) | ((q & 2) !== 0 ? C3 : 0));
  s.fsw = (s.fsw & ~C1) | (env.partial === 0 && (q & 1) !== 0 ? C1 : 0);
}

/** FXTRACT: ST(0) becomes the exponent, the significand is pushed. */
export function extract(s: X87State): void {
  if (s.isEmpty(0) || !s.isEmpty(7)) {
    if (s.isEmpty(0) ? s.underflow() : s.overflow()) {
      s.writeDefaultNan(0);
      s.push();
      s.writeDefaultNan(0);
    }
    return;
  }
  s.begin();
  s.unpack(first, 0);
  copyUnpacked(kept, first);
  extractExponent(s.env, first);
  if (!s.deliver()) return;
  s.writeResult(0);
  extractSignificand(s.env, kept);
  s.push();
  s.writeResult(0);
}
