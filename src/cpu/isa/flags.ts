/**
 * Arithmetic flags as generated code keeps them (Intel SDM vol. 1, section 3.4.3.1): the result, sign-extended to 64 bits, gives ZF, SF and PF; a word of
 * carries gives CF (bit 31), OF (bit 31 xor bit 30) and AF (bit 3). Bits 15:8 and 0 correct PF and SF when flags were loaded as a whole.
 */
import { c32, c64, type Ex, i32, i64 } from "../emit/expr.ts";
import * as L from "../layout.ts";
import type { Ops, Size } from "./ops.ts";

/** Sign-extends a value of `size` bits to i64. */
export function signed64(value: Ex, size: Size): Ex {
  if (size === 64) return value;
  if (size === 32) return i64.extendS(value);
  return i64.extendS(size === 16 ? i32.extend16s(value) : i32.extend8s(value));
}

/** Sign-extends a value of 8, 16 or 32 bits to i32. */
export const signed32 = (value: Ex, size: Size): Ex =>
  size === 8 ? i32.extend8s(value) : size === 16 ? i32.extend16s(value) : value;

/** Brings a vector of carries out of each bit into the form of FLAG_AUX. */
function packCarries(carries: Ex, size: Size): Ex {
  const keep = c32(0xc0000008 | 0);
  if (size === 64)
    return i32.or(
      i32.and(i32.wrap(i64.shrU(carries, c64(32))), c32(0xc0000000 | 0)),
      i32.and(i32.wrap(carries), c32(8)),
    );
  if (size === 32) return i32.and(carries, keep);
  return i32.and(i32.or(i32.shl(carries, c32(32 - size)), i32.and(carries, c32(8))), keep);
}

/** Stores both words. `result` has the operand's type and size. */
export function setFlags(o: Ops, size: Size, result: Ex, aux: Ex): void {
  o.f.store64(o.cpu, L.FLAG_RESULT, signed64(result, size));
  o.f.store32(o.cpu, L.FLAG_AUX, aux);
}

/** ZF, SF, PF by the result; CF = OF = AF = 0. */
export const flagsLogic = (o: Ops, size: Size, result: Ex): void => setFlags(o, size, result, c32(0));

const ops = (size: Size) => (size === 64 ? i64 : i32);

/** After `result = a + b (+ carry)`. All three are locals. */
export function flagsAdd(o: Ops, size: Size, a: Ex, b: Ex, result: Ex): void {
  const t = ops(size);
  setFlags(o, size, result, packCarries(t.or(t.and(a, b), t.and(t.or(a, b), t.not(result))), size));
}

/** After `result = a − b (− borrow)`. */
export function flagsSub(o: Ops, size: Size, a: Ex, b: Ex, result: Ex): void {
  const t = ops(size);
  const notA = t.not(a);
  setFlags(o, size, result, packCarries(t.or(t.and(notA, b), t.and(t.or(notA, b), result)), size));
}

/** INC and DEC: as above, but CF stays. */
export function flagsIncDec(o: Ops, size: Size, a: Ex, result: Ex, decrement: boolean): void {
  const t = ops(size);
  const one = size === 64 ? c64(1) : c32(1);
  const notA = t.not(a);
  const carries = decrement
    ? t.or(t.and(notA, one), t.and(t.or(notA, one), result))
    : t.or(t.and(a, one), t.and(t.or(a, one), t.not(result)));
  const packed = o.let(packCarries(carries, size));
  const overflow = i32.and(i32.xor(packed, i32.shl(packed, c32(1))), c32(0x80000000 | 0));
  const carry = o.let(i32.and(i32.load(o.cpu, L.FLAG_AUX), c32(0x80000000 | 0)));
  const second = i32.shrU(i32.xor(carry, overflow), c32(1));
  setFlags(o, size, result, i32.or(i32.or(carry, second), i32.and(packed, c32(8))));
}

/** FLAG_AUX with CF and OF (i32 expressions, 0 or 1) and AF = 0. */
export function auxOf(o: Ops, carry: Ex, overflow: Ex): Ex {
  const c = o.let(carry);
  return i32.or(i32.shl(c, c32(31)), i32.shl(i32.xor(c, overflow), c32(30)));
}

/** CF as 0 or 1. */
export const carryFlag = (o: Ops): Ex => i32.shrU(i32.load(o.cpu, L.FLAG_AUX), c32(31));

/** Replaces CF, keeps the rest. */
export function setCarry(o: Ops, carry: Ex): void {
  const aux = o.let(i32.load(o.cpu, L.FLAG_AUX));
  const overflow = i32.and(i32.xor(aux, i32.shl(aux, c32(1))), c32(0x80000000 | 0));
  const c = o.let(i32.shl(carry, c32(31)));
  o.f.store32(
    o.cpu,
    L.FLAG_AUX,
    i32.or(i32.and(aux, c32(0x3fffffff)), i32.or(c, i32.shrU(i32.xor(c, overflow), c32(1)))),
  );
}

/** Condition `code` (0-15, as in Jcc) as an i32 that is not 0 when it holds; may be other than 1. */
export function condition(o: Ops, code: number): Ex {
  const aux = (): Ex => i32.load(o.cpu, L.FLAG_AUX);
  const result = (): Ex => i64.load(o.cpu, L.FLAG_RESULT);
  const negate = (e: Ex): Ex => (code & 1 ? i32.eqz(e) : e);
  const signBit = (): Ex => i32.xor(i32.wrap(i64.shrU(result(), c64(63))), i32.and(aux(), c32(1)));
  const less = (): Ex => {
    const a = o.let(aux());
    const overflow = i32.xor(i32.shrU(a, c32(31)), i32.shrU(a, c32(30)));
    return i32.and(i32.xor(i32.xor(i32.wrap(i64.shrU(result(), c64(63))), a), overflow), c32(1));
  };
  switch (code >> 1) {
    case 0: // O
      return code & 1
        ? i32.geS(i32.add(aux(), c32(0x40000000)), c32(0))
        : i32.ltS(i32.add(aux(), c32(0x40000000)), c32(0));
    case 1: // B
      return code & 1 ? i32.geS(aux(), c32(0)) : i32.ltS(aux(), c32(0));
    case 2: // Z
      return code & 1 ? i64.ne(result(), c64(0)) : i64.eqz(result());
    case 3: // BE
      return negate(i32.or(i32.ltS(aux(), c32(0)), i64.eqz(result())));
    case 4: // S
      return negate(signBit());
    case 5: {
      // P: an even number of ones
      const byte = i32.and(i32.xor(i32.wrap(result()), i32.shrU(aux(), c32(8))), c32(0xff));
      const odd = i32.and(i32.popcnt(byte), c32(1));
      return code & 1 ? odd : i32.eqz(odd);
    }
    case 6: // L
      return negate(less());
    default: // LE
      return negate(i32.or(less(), i64.eqz(result())));
  }
}
