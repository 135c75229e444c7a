/**
 * Data movement (Intel SDM vol. 2: MOV, MOVZX, MOVSX, MOVSXD, LEA, XCHG, CMOVcc, SETcc, CBW…CQO, LAHF, SAHF, XLAT, CLC…STD, NOP, MOVNTI).
 */
import { c32, c64, type Ex, i32, i64, select } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import { FLAG } from "../../state.ts";
import { GP_SIZES, type InstructionSet, imm, WIDE_SIZES } from "../define.ts";
import { carryFlag, condition, setCarry, signed32, signed64 } from "../flags.ts";
import type { Ops, Size } from "../ops.ts";

/** Converts a value of `from` bits to `to` bits. */
export function convert(value: Ex, from: Size, to: Size, signed: boolean): Ex {
  if (from === to) return value;
  if (to === 64) return signed ? signed64(value, from) : i64.extendU(value);
  return signed ? signed32(value, from) : value;
}

function defineMoves(set: InstructionSet): void {
  set.define("mov_EG", GP_SIZES, "both", (o, size, e) => {
    e.write(o.let(o.getReg(L.REC.r1, size)));
    o.next();
  });
  set.define("mov_GE", GP_SIZES, "both", (o, size, e) => {
    o.setReg(L.REC.r1, size, e.read());
    o.next();
  });
  set.define("mov_EI", GP_SIZES, "both", (o, size, e) => {
    e.write(imm(o, size));
    o.next();
  });
  for (const from of [8, 16, 32] as const) {
    for (const signed of [false, true]) {
      const sizes = WIDE_SIZES.filter(to => to > from || (from === 16 && to === 16) || (from === 32 && to === 32));
      set.define(
        `${signed ? "movsx" : "movzx"}${from}_GE`,
        [...sizes, ...(from === 32 ? ([16] as const) : [])],
        "both",
        (o, size, e) => {
          const value = e.read(from);
          o.setReg(L.REC.r1, size, o.let(convert(value, from, size, signed)));
          o.next();
        },
      );
    }
  }
  set.define("lea", WIDE_SIZES, "mem", (o, size) => {
    const offset = o.legacy ? i64.extendU(o.offset32()) : o.offset64();
    o.setReg(L.REC.r1, size, o.let(size === 64 ? offset : i32.wrap(offset)));
    o.next();
  });
  set.define("xchg_EG", GP_SIZES, "both", (o, size, e) => {
    const rm = e.modify();
    const register = o.let(o.regAddress(L.REC.r1));
    const other = o.let(o.loadReg(register, size));
    rm.commit(other);
    o.storeReg(register, size, rm.value);
    o.next();
  });
  // MOV with a 64-bit absolute address (moffs).
  set.define("mov_AO", GP_SIZES, "mem", (o, size) => {
    o.setGpr(0, size, o.load(o.segment(), absolute(o), size));
    o.next();
  });
  set.define("mov_OA", GP_SIZES, "mem", (o, size) => {
    o.store(o.segment(), absolute(o), size, o.let(o.getGpr(0, size)));
    o.next();
  });
  set.define("xlat", [8], "mem", (o, size) => {
    const base = o.getGpr(L.REG.rbx, 64);
    const sum = i64.add(base, i64.extendU(o.getGpr(0, 8)));
    const wrapped = o.legacy
      ? i64.and(sum, i64.extendU(o.field32(L.REC.mask)))
      : i64.add(wrap64(o, sum), segmentBase(o));
    o.setGpr(0, 8, o.load(o.segment(), o.let(wrapped), size));
    o.next();
  });
}
/** An offset in 64-bit mode, cut to 32 bits when the address size is 32. */
function wrap64(o: Ops, offset: Ex): Ex {
  const wide = i32.and(o.field8(L.REC.prefix), c32(L.PFX.addrSize64));
  return select(wide, offset, i64.and(offset, c64(0xffffffff)));
}
const segmentBase = (o: Ops): Ex => i64.load(i32.add(o.cpu, o.field8(L.REC.seg)), L.SEG_BASE);
function absolute(o: Ops): Ex {
  const offset = o.field64(L.REC.imm);
  return o.let(o.legacy ? i64.and(offset, i64.extendU(o.field32(L.REC.mask))) : i64.add(offset, segmentBase(o)));
}

function defineConditional(set: InstructionSet): void {
  for (let code = 0; code < 16; code++) {
    set.define(`set${code}_E`, [8], "both", (o, _size, e) => {
      e.write(o.let(i32.ne(condition(o, code), c32(0))));
      o.next();
    });
    set.define(`cmov${code}_GE`, WIDE_SIZES, "both", (o, size, e) => {
      const value = e.read();
      // A 32-bit destination is zero-extended even when nothing moves.
      o.f.if(
        condition(o, code),
        () => o.setReg(L.REC.r1, size, value),
        size === 32 ? () => o.setReg(L.REC.r1, 32, o.let(o.getReg(L.REC.r1, 32))) : undefined,
      );
      o.next();
    });
  }
}

function defineExtensions(set: InstructionSet): void {
  set.define("cbw", WIDE_SIZES, "none", (o, size) => {
    const half = (size / 2) as Size;
    o.setGpr(0, size, o.let(convert(o.getGpr(0, half), half, size, true)));
    o.next();
  });
  set.define("cwd", WIDE_SIZES, "none", (o, size) => {
    const a = o.getGpr(0, size);
    o.setGpr(2, size, o.let(size === 64 ? i64.shrS(a, c64(63)) : i32.shrS(signed32(a, size), c32(31))));
    o.next();
  });
}

function defineFlagMoves(set: InstructionSet): void {
  set.define("clc", [32], "none", o => {
    setCarry(o, c32(0));
    o.next();
  });
  set.define("stc", [32], "none", o => {
    setCarry(o, c32(1));
    o.next();
  });
  set.define("cmc", [32], "none", o => {
    setCarry(o, o.let(i32.xor(carryFlag(o), c32(1))));
    o.next();
  });
  set.define("cld", [32], "none", o => {
    o.f.store32(o.cpu, L.FLAG_OTHER, i32.and(i32.load(o.cpu, L.FLAG_OTHER), c32(~FLAG.df)));
    o.next();
  });
  set.define("std", [32], "none", o => {
    o.f.store32(o.cpu, L.FLAG_OTHER, i32.or(i32.load(o.cpu, L.FLAG_OTHER), c32(FLAG.df)));
    o.next();
  });
  set.define("lahf", [32], "none", o => {
    // Condition code whose truth is the flag at each bit of AH: C, 1, P, 0, A, 0, Z, S.
    const bits = [2, -1, 10, -1, -2, -1, 4, 8];
    let value: Ex = c32(2);
    for (const [position, code] of bits.entries()) {
      if (code === -1) continue;
      const on =
        code === -2
          ? i32.and(i32.shrU(i32.load(o.cpu, L.FLAG_AUX), c32(3)), c32(1))
          : i32.ne(condition(o, code), c32(0));
      value = o.let(i32.or(value, i32.shl(on, c32(position))));
    }
    o.setGpr(0, 8, value, 1);
    o.next();
  });
  set.define("nop", [32], "both", o => o.next());
}

export function defineMove(set: InstructionSet): void {
  defineMoves(set);
  defineConditional(set);
  defineExtensions(set);
  defineFlagMoves(set);
}
