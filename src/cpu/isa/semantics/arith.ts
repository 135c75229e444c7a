/**
 * Integer addition, subtraction, logic and comparison (Intel SDM vol. 2: ADD, ADC, SUB, SBB, CMP, AND, OR, XOR, TEST, INC, DEC, NEG, NOT, XADD, CMPXCHG).
 */
import { c32, c64, type Ex, i32, i64, select } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import { GP_SIZES, type InstructionSet, imm, type Meaning, type Rm, zero } from "../define.ts";
import { carryFlag, flagsAdd, flagsIncDec, flagsLogic, flagsSub } from "../flags.ts";
import { k, type Ops, type Size } from "../ops.ts";

type Alu = {
  /** Computes the result and sets flags. */
  readonly run: (o: Ops, size: Size, a: Ex, b: Ex) => Ex;
  /** The result is only compared. */
  readonly discard?: boolean;
};

const t = (size: Size) => (size === 64 ? i64 : i32);
const carryOf = (o: Ops, size: Size): Ex => (size === 64 ? i64.extendU(carryFlag(o)) : carryFlag(o));

function add(o: Ops, size: Size, a: Ex, b: Ex, withCarry: boolean): Ex {
  const sum = t(size).add(a, b);
  const result = o.let(withCarry ? t(size).add(sum, carryOf(o, size)) : sum);
  flagsAdd(o, size, a, b, result);
  return result;
}

export function subtract(o: Ops, size: Size, a: Ex, b: Ex, withBorrow = false): Ex {
  const difference = t(size).sub(a, b);
  const result = o.let(withBorrow ? t(size).sub(difference, carryOf(o, size)) : difference);
  flagsSub(o, size, a, b, result);
  return result;
}

function logic(o: Ops, size: Size, value: Ex): Ex {
  const result = o.let(value);
  flagsLogic(o, size, result);
  return result;
}

const ALU: { readonly [name: string]: Alu } = {
  add: { run: (o, s, a, b) => add(o, s, a, b, false) },
  or: { run: (o, s, a, b) => logic(o, s, t(s).or(a, b)) },
  adc: { run: (o, s, a, b) => add(o, s, a, b, true) },
  sbb: { run: (o, s, a, b) => subtract(o, s, a, b, true) },
  and: { run: (o, s, a, b) => logic(o, s, t(s).and(a, b)) },
  sub: { run: (o, s, a, b) => subtract(o, s, a, b) },
  xor: { run: (o, s, a, b) => logic(o, s, t(s).xor(a, b)) },
  cmp: { run: (o, s, a, b) => subtract(o, s, a, b), discard: true },
  test: { run: (o, s, a, b) => logic(o, s, t(s).and(a, b)), discard: true },
};

/** `op E, source`. */
function toRm(alu: Alu, source: (o: Ops, size: Size) => Ex): Meaning {
  return (o, size, e) => {
    if (alu.discard) {
      const a = e.read();
      alu.run(o, size, a, o.let(source(o, size)));
    } else {
      const rm = e.modify();
      rm.commit(alu.run(o, size, rm.value, o.let(source(o, size))));
    }
    o.next();
  };
}

function unary(o: Ops, e: Rm, run: (a: Ex) => Ex): void {
  const rm = e.modify();
  rm.commit(run(rm.value));
  o.next();
}

const cmpxchg: Meaning = (o, size, e) => {
  const rm = e.modify();
  const accumulator = o.let(o.getGpr(0, size));
  subtract(o, size, accumulator, rm.value);
  const equal = o.let(t(size).eq(accumulator, rm.value));
  const source = o.let(o.getReg(L.REC.r1, size));
  // Memory is always written, with its old value when the comparison fails; a register is not touched then, not even its upper half.
  if (e.memory) rm.commit(o.let(select(equal, source, rm.value)));
  else o.f.if(equal, () => rm.commit(source));
  o.f.if(i32.eqz(equal), () => o.setGpr(0, size, rm.value));
  o.next();
};

const xadd: Meaning = (o, size, e) => {
  const rm = e.modify();
  const source = o.let(o.getReg(L.REC.r1, size));
  const sum = add(o, size, rm.value, source, false);
  o.setReg(L.REC.r1, size, rm.value);
  rm.commit(sum);
  o.next();
};

export function defineArithmetic(set: InstructionSet): void {
  for (const [name, alu] of Object.entries(ALU)) {
    set.define(
      `${name}_EG`,
      GP_SIZES,
      "both",
      toRm(alu, (o, s) => o.getReg(L.REC.r1, s)),
    );
    set.define(`${name}_EI`, GP_SIZES, "both", toRm(alu, imm));
    if (name === "test") continue;
    set.define(`${name}_GE`, GP_SIZES, "both", (o, size, e) => {
      const b = e.read();
      const register = o.let(o.regAddress(L.REC.r1));
      const result = alu.run(o, size, o.let(o.loadReg(register, size)), b);
      if (!alu.discard) o.storeReg(register, size, result);
      o.next();
    });
  }
  set.define("inc_E", GP_SIZES, "both", (o, size, e) =>
    unary(o, e, a => {
      const result = o.let(t(size).add(a, k(size, 1)));
      flagsIncDec(o, size, a, result, false);
      return result;
    }),
  );
  set.define("dec_E", GP_SIZES, "both", (o, size, e) =>
    unary(o, e, a => {
      const result = o.let(t(size).sub(a, k(size, 1)));
      flagsIncDec(o, size, a, result, true);
      return result;
    }),
  );
  set.define("neg_E", GP_SIZES, "both", (o, size, e) => unary(o, e, a => subtract(o, size, zero(size), a)));
  set.define("not_E", GP_SIZES, "both", (o, size, e) =>
    unary(o, e, a => o.let(size === 64 ? i64.xor(a, c64(-1)) : i32.xor(a, c32(-1)))),
  );
  set.define("cmpxchg_EG", GP_SIZES, "both", cmpxchg);
  set.define("xadd_EG", GP_SIZES, "both", xadd);
}
