/**
 * Shifts and rotates (Intel SDM vol. 2: SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD). A masked count of 0 leaves all flags alone; OF is defined for a count
 * of 1 only, and is computed for other counts by the same formula.
 */
import { c32, c64, type Ex, i32, i64 } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import { GP_SIZES, type InstructionSet, WIDE_SIZES } from "../define.ts";
import { auxOf, carryFlag, setFlags } from "../flags.ts";
import { type Ops, type Size, tyOf } from "../ops.ts";

/** A value of any size as zero-extended i64. */
const widen = (size: Size, a: Ex): Ex => (size === 64 ? a : i64.extendU(a));
const narrow = (size: Size, a: Ex): Ex => (size === 64 ? a : i32.wrap(a));
const bit = (value: Ex, index: Ex | number): Ex =>
  i32.and(i32.wrap(i64.shrU(value, typeof index === "number" ? c64(index) : index)), c32(1));
const signExtend = (size: Size, a: Ex): Ex =>
  size === 64
    ? a
    : size === 32
      ? i64.extendS(a)
      : size === 16
        ? i64.extend16s(i64.extendU(a))
        : i64.extend8s(i64.extendU(a));

type Shifted = {
  /** Result as i64; bits above the operand's size do not matter. */
  readonly result: Ex;
  readonly carry: Ex;
  readonly overflow: Ex;
};
/** `a` is i64 (zero-extended), `count` an i64 local, already masked, not 0. */
type Shift = (o: Ops, size: Size, a: Ex, count: Ex) => Shifted;

const shl: Shift = (o, size, a, count) => {
  const result = o.let(i64.shl(a, count));
  const carry = o.let(size === 64 ? bit(a, i64.sub(c64(64), count)) : bit(result, size));
  return { result, carry, overflow: i32.xor(bit(result, size - 1), carry) };
};
const shr: Shift = (_o, size, a, count) => ({
  result: i64.shrU(a, count),
  carry: bit(a, i64.sub(count, c64(1))),
  overflow: bit(a, size - 1),
});
const sar: Shift = (o, size, a, count) => {
  const value = o.let(signExtend(size, narrow(size, a)));
  return {
    result: i64.shrS(value, count),
    carry: i32.and(i32.wrap(i64.shrS(value, i64.sub(count, c64(1)))), c32(1)),
    overflow: c32(0),
  };
};

function rotateLeft(o: Ops, size: Size, a: Ex, count: Ex): Ex {
  if (size === 64) return o.let(i64.rotl(a, count));
  if (size === 32) return o.let(i64.extendU(i32.rotl(i32.wrap(a), i32.wrap(count))));
  const c = o.let(i64.and(count, c64(size - 1)));
  return o.let(i64.or(i64.shl(a, c), i64.shrU(a, i64.sub(c64(size), c))));
}
const rol: Shift = (o, size, a, count) => {
  const result = rotateLeft(o, size, a, count);
  const carry = o.let(bit(result, 0));
  return { result, carry, overflow: i32.xor(bit(result, size - 1), carry) };
};
const ror: Shift = (o, size, a, count) => {
  const result = rotateLeft(
    o,
    size,
    a,
    o.let(i64.and(i64.sub(c64(size), i64.and(count, c64(size - 1))), c64(size - 1))),
  );
  const carry = o.let(bit(result, size - 1));
  return { result, carry, overflow: i32.xor(carry, bit(result, size - 2)) };
};
/** Rotation through carry by `count` (1 … size) places to the left, with 65 = never. */
function throughCarry(o: Ops, size: Size, a: Ex, count: Ex, left: boolean): Shifted {
  const carryIn = o.let(i64.extendU(carryFlag(o)));
  if (size === 64) {
    const other = (shift: (x: Ex, n: Ex) => Ex): Ex => shift(shift(a, c64(1)), i64.sub(c64(64), count));
    const result = o.let(
      left
        ? i64.or(i64.or(i64.shl(a, count), i64.shl(carryIn, i64.sub(count, c64(1)))), other(i64.shrU))
        : i64.or(i64.or(i64.shrU(a, count), i64.shl(carryIn, i64.sub(c64(64), count))), other(i64.shl)),
    );
    const carry = o.let(left ? bit(a, i64.sub(c64(64), count)) : bit(a, i64.sub(count, c64(1))));
    return {
      result,
      carry,
      overflow: left ? i32.xor(bit(result, 63), carry) : i32.xor(bit(result, 63), bit(result, 62)),
    };
  }
  // The operand and CF as one number of size + 1 bits.
  const all = o.let(i64.or(a, i64.shl(carryIn, c64(size))));
  const places = size === 32 ? count : o.let(i64.remU(count, c64(size + 1)));
  const back = i64.sub(c64(size + 1), places);
  const turned = o.let(
    left ? i64.or(i64.shl(all, places), i64.shrU(all, back)) : i64.or(i64.shrU(all, places), i64.shl(all, back)),
  );
  const carry = o.let(bit(turned, size));
  return {
    result: turned,
    carry,
    overflow: left ? i32.xor(bit(turned, size - 1), carry) : i32.xor(bit(turned, size - 1), bit(turned, size - 2)),
  };
}
const rcl: Shift = (o, size, a, count) => throughCarry(o, size, a, count, true);
const rcr: Shift = (o, size, a, count) => throughCarry(o, size, a, count, false);

/** Rotates change CF and OF only. */
function setCarryOverflow(o: Ops, shifted: Shifted): void {
  const keep = i32.and(i32.load(o.cpu, L.FLAG_AUX), c32(0x3fffffff));
  o.f.store32(o.cpu, L.FLAG_AUX, i32.or(keep, auxOf(o, shifted.carry, shifted.overflow)));
}

const maskOf = (size: Size): Ex => c64(size === 64 ? 63 : 31);
const countImm = (o: Ops, size: Size): Ex => o.let(i64.and(o.field64(L.REC.imm), maskOf(size)));
const countCl = (o: Ops, size: Size): Ex => o.let(i64.and(i64.extendU(o.getGpr(L.REG.rcx, 8)), maskOf(size)));

function defineShift(set: InstructionSet, name: string, shift: Shift, rotate: boolean): void {
  for (const [suffix, countOf] of [
    ["EI", countImm],
    ["EC", countCl],
  ] as const) {
    set.define(`${name}_${suffix}`, GP_SIZES, "both", (o, size, e) => {
      const rm = e.modify();
      const count = countOf(o, size);
      const result = o.f.local(tyOf(size));
      o.f.set(result, rm.value);
      o.f.if(i64.ne(count, c64(0)), () => {
        const shifted = shift(o, size, o.let(widen(size, rm.value)), count);
        o.f.set(result, narrow(size, shifted.result));
        if (rotate) setCarryOverflow(o, shifted);
        else setFlags(o, size, result, auxOf(o, shifted.carry, shifted.overflow));
      });
      rm.commit(result);
      o.next();
    });
  }
}

/** SHLD and SHRD. For 16 bits a count above 16 is undefined in the manual; here the operand is followed by itself, as processors do. */
function defineDouble(set: InstructionSet, name: string, left: boolean): void {
  for (const [suffix, countOf] of [
    ["EI", countImm],
    ["EC", countCl],
  ] as const) {
    set.define(`${name}_${suffix}`, WIDE_SIZES, "both", (o, size, e) => {
      const rm = e.modify();
      const count = countOf(o, size);
      const result = o.f.local(tyOf(size));
      o.f.set(result, rm.value);
      o.f.if(i64.ne(count, c64(0)), () => {
        const a = o.let(widen(size, rm.value));
        const b = o.let(widen(size, o.getReg(L.REC.r1, size)));
        const { value, carry } = left ? doubleLeft(o, size, a, b, count) : doubleRight(o, size, a, b, count);
        const out = o.let(value);
        o.f.set(result, narrow(size, out));
        const overflow = i32.xor(bit(out, size - 1), bit(a, size - 1));
        setFlags(o, size, result, auxOf(o, carry, overflow));
      });
      rm.commit(result);
      o.next();
    });
  }
}
function doubleLeft(o: Ops, size: Size, a: Ex, b: Ex, count: Ex): { value: Ex; carry: Ex } {
  if (size === 64)
    return {
      value: i64.or(i64.shl(a, count), i64.shrU(b, i64.sub(c64(64), count))),
      carry: bit(a, i64.sub(c64(64), count)),
    };
  if (size === 32) {
    const both = o.let(i64.or(i64.shl(a, c64(32)), b));
    return { value: i64.shrU(i64.shl(both, count), c64(32)), carry: bit(both, i64.sub(c64(64), count)) };
  }
  const three = o.let(i64.or(i64.or(i64.shl(a, c64(32)), i64.shl(b, c64(16))), a));
  return { value: i64.shrU(i64.shl(three, count), c64(32)), carry: bit(three, i64.sub(c64(48), count)) };
}
function doubleRight(o: Ops, size: Size, a: Ex, b: Ex, count: Ex): { value: Ex; carry: Ex } {
  const carry = bit(size === 16 ? o.let(i64.or(a, i64.shl(b, c64(16)))) : a, i64.sub(count, c64(1)));
  if (size === 64) return { value: i64.or(i64.shrU(a, count), i64.shl(b, i64.sub(c64(64), count))), carry };
  if (size === 32) return { value: i64.shrU(o.let(i64.or(a, i64.shl(b, c64(32)))), count), carry };
  return { value: i64.shrU(o.let(i64.or(i64.or(a, i64.shl(b, c64(16))), i64.shl(a, c64(32)))), count), carry };
}

export function defineShifts(set: InstructionSet): void {
  defineShift(set, "rol", rol, true);
  defineShift(set, "ror", ror, true);
  defineShift(set, "rcl", rcl, true);
  defineShift(set, "rcr", rcr, true);
  defineShift(set, "shl", shl, false);
  defineShift(set, "shr", shr, false);
  defineShift(set, "sar", sar, false);
  defineDouble(set, "shld", true);
  defineDouble(set, "shrd", false);
}
