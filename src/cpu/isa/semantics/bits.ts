/**
 * Bit tests and scans (Intel SDM vol. 2: BT, BTS, BTR, BTC, BSF, BSR, LZCNT, POPCNT, BSWAP). BT changes CF only.
 */
import { c32, c64, type Ex, i32, i64, select } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import { type InstructionSet, type Rm, WIDE_SIZES } from "../define.ts";
import { auxOf, flagsLogic, setCarry, setFlags } from "../flags.ts";
import { k, type Ops, type Rmw, type Size } from "../ops.ts";

const t = (size: Size) => (size === 64 ? i64 : i32);
const log2 = (size: Size): number => (size === 16 ? 4 : size === 32 ? 5 : 6);

type BitAction = "bt" | "bts" | "btr" | "btc";

/** Tests bit `index` (already inside the operand) and changes it. */
function act(o: Ops, size: Size, action: BitAction, rmw: Rmw, index: Ex): void {
  const mask = o.let(t(size).shl(k(size, 1), index));
  const bit = t(size).and(rmw.value, mask);
  setCarry(o, size === 64 ? i64.ne(bit, c64(0)) : i32.ne(bit, c32(0)));
  if (action === "bts") rmw.commit(o.let(t(size).or(rmw.value, mask)));
  else if (action === "btr") rmw.commit(o.let(t(size).and(rmw.value, t(size).not(mask))));
  else if (action === "btc") rmw.commit(o.let(t(size).xor(rmw.value, mask)));
  o.next();
}

/** The operand for a bit offset in a register: a memory operand is a bit string that reaches far to both sides. */
function bitString(o: Ops, size: Size, e: Rm, action: BitAction, index: Ex): Rmw {
  if (!e.memory) return action === "bt" ? { value: e.read(), commit: () => {} } : e.modify();
  const offset = size === 64 ? index : i64.extendS(size === 16 ? i32.extend16s(index) : index);
  const bytes = i64.shl(i64.shrS(offset, c64(log2(size))), c64(log2(size) - 3));
  let address = i64.add(o.address(), bytes);
  if (o.legacy) address = i64.and(address, i64.extendU(o.field32(L.REC.mask)));
  const where = o.let(address);
  if (action === "bt") return { value: o.load(o.segment(), where, size), commit: () => {} };
  return o.modify(o.segment(), where, size);
}

function defineBitTest(set: InstructionSet, action: BitAction): void {
  set.define(`${action}_EG`, WIDE_SIZES, "both", (o, size, e) => {
    const index = o.let(o.getReg(L.REC.r1, size));
    const rmw = bitString(o, size, e, action, index);
    act(o, size, action, rmw, o.let(t(size).and(index, k(size, size - 1))));
  });
  set.define(`${action}_EI`, WIDE_SIZES, "both", (o, size, e) => {
    const index = o.let(
      size === 64 ? i64.and(o.field64(L.REC.imm), c64(63)) : i32.and(o.field32(L.REC.imm), c32(size - 1)),
    );
    const rmw = action === "bt" ? { value: e.read(), commit: () => {} } : e.modify();
    act(o, size, action, rmw, index);
  });
}

/** BSF and BSR: of zero, ZF is set and the destination stays (as on real processors). The other flags are undefined: those of the source. */
function defineScan(set: InstructionSet, name: string, forward: boolean): void {
  set.define(`${name}_GE`, WIDE_SIZES, "both", (o, size, e) => {
    const source = e.read();
    flagsLogic(o, size, source);
    const found = size === 64 ? i64.ne(source, c64(0)) : i32.ne(source, c32(0));
    o.f.if(found, () => {
      const top = k(size, size === 64 ? 63 : 31);
      o.setReg(L.REC.r1, size, o.let(forward ? t(size).ctz(source) : t(size).sub(top, t(size).clz(source))));
    });
    o.next();
  });
}

/** LZCNT: CF tells a source of zero, ZF a result of zero. */
function defineLzcnt(set: InstructionSet): void {
  set.define("lzcnt_GE", WIDE_SIZES, "both", (o, size, e) => {
    const source = e.read();
    const isZero = o.let(size === 64 ? i64.eqz(source) : i32.eqz(source));
    // Of 16 bits: behind them a one, so that 16 is the most.
    const result = o.let(t(size).clz(size === 16 ? i32.or(i32.shl(source, c32(16)), c32(0x8000)) : source));
    o.setReg(L.REC.r1, size, result);
    setFlags(o, size, result, auxOf(o, isZero, c32(0)));
    o.next();
  });
}

function swapBytes(size: Size, a: Ex): Ex {
  if (size === 32) {
    const outer = i32.and(i32.rotl(a, c32(8)), c32(0x00ff00ff));
    return i32.or(outer, i32.and(i32.rotr(a, c32(8)), c32(0xff00ff00 | 0)));
  }
  const low = swapBytes(32, i32.wrap(a));
  const high = swapBytes(32, i32.wrap(i64.shrU(a, c64(32))));
  return i64.or(i64.shl(i64.extendU(low), c64(32)), i64.extendU(high));
}

export function defineBits(set: InstructionSet): void {
  for (const action of ["bt", "bts", "btr", "btc"] as const) defineBitTest(set, action);
  defineScan(set, "bsf", true);
  defineScan(set, "bsr", false);
  defineLzcnt(set);
  set.define("popcnt_GE", WIDE_SIZES, "both", (o, size, e) => {
    const source = e.read();
    o.setReg(L.REC.r1, size, o.let(t(size).popcnt(source)));
    // ZF alone may be set; a source of zero has even parity, but PF is cleared.
    setFlags(o, size, select(size === 64 ? i64.eqz(source) : i32.eqz(source), k(size, 0), k(size, 1)), c32(0));
    const isZero = size === 64 ? i64.eqz(source) : i32.eqz(source);
    o.f.if(isZero, () => o.f.store32(o.cpu, L.FLAG_AUX, c32(0x100)));
    o.next();
  });
  // The 16-bit form is undefined; processors give zero.
  set.define("bswap_E", WIDE_SIZES, "reg", (o, size, e) => {
    const a = e.read();
    e.write(size === 16 ? c32(0) : o.let(swapBytes(size, a)));
    o.next();
  });
}
