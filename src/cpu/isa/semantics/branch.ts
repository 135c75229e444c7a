/**
 * Near branches (Intel SDM vol. 2: JMP, Jcc, CALL, RET, LOOP, JCXZ). Direct branches hold the target's offset from the start of the page in the immediate.
 * Forms `_in` stay in the page and go from record to record; forms `_out` leave it (or wrap the instruction pointer).
 */
import { c32, c64, type Ex, i32, i64 } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import { type InstructionSet, imm, WIDE_SIZES } from "../define.ts";
import { condition } from "../flags.ts";
import type { Ops, Size } from "../ops.ts";

const target = (o: Ops, size: Size): Ex => o.wrapRip(i64.add(i64.load(o.cpu, L.RIP_PAGE), o.field64(L.REC.imm)), size);

function take(o: Ops, size: Size, inPage: boolean): void {
  if (inPage) o.jumpTarget(target(o, size));
  else o.goto(o.let(target(o, size)));
}

/** The same for branches whose size is that of the address: the operand size that wraps RIP is in the record's mask. */
function takeMasked(o: Ops, inPage: boolean): void {
  const plain = target(o, 64);
  const rip = o.legacy ? i64.and(plain, i64.extendU(o.field32(L.REC.mask))) : plain;
  if (inPage) o.jumpTarget(rip);
  else o.goto(o.let(rip));
}

/** The return address of a call, as the value to push. */
function returnAddress(o: Ops, size: Size): Ex {
  const rip = o.wrapRip(o.nextRip(), size);
  return o.let(size === 64 ? rip : i32.wrap(rip));
}
const asRip = (o: Ops, size: Size, value: Ex): Ex => o.let(size === 64 ? value : i64.extendU(value));

/** RCX, ECX or CX by the address size. */
function counter(o: Ops, addressSize: Size): { value: Ex; set: (v: Ex) => void; ty: typeof i64 | typeof i32 } {
  return {
    value: o.let(o.getGpr(L.REG.rcx, addressSize)),
    set: v => o.setGpr(L.REG.rcx, addressSize, v),
    ty: addressSize === 64 ? i64 : i32,
  };
}
const isZero = (value: Ex, size: Size): Ex =>
  size === 64 ? i64.eqz(value) : i32.eqz(size === 16 ? i32.and(value, c32(0xffff)) : value);

/** LOOP (null), LOOPE (4), LOOPNE (5): `code` is the condition that must hold too. Here `size` is the address size. */
function loop(o: Ops, size: Size, code: number | null, inPage: boolean): void {
  const c = counter(o, size);
  const left = o.let(size === 64 ? i64.sub(c.value, c64(1)) : i32.sub(c.value, c32(1)));
  c.set(left);
  let taken: Ex = i32.eqz(isZero(left, size));
  if (code !== null) taken = i32.and(taken, i32.ne(condition(o, code), c32(0)));
  o.f.if(taken, () => takeMasked(o, inPage));
  o.next();
}

export function defineBranches(set: InstructionSet): void {
  for (const inPage of [true, false]) {
    const way = inPage ? "in" : "out";
    set.define(`jmp_${way}`, WIDE_SIZES, "none", (o, size) => take(o, size, inPage), true);
    for (let code = 0; code < 16; code++) {
      set.define(
        `j${code}_${way}`,
        WIDE_SIZES,
        "none",
        (o, size) => {
          o.f.if(condition(o, code), () => take(o, size, inPage));
          o.next();
        },
        true,
      );
    }
    set.define(
      `call_${way}`,
      WIDE_SIZES,
      "none",
      (o, size) => {
        o.push(size, returnAddress(o, size));
        take(o, size, inPage);
      },
      true,
    );
    for (const [name, code] of [
      ["loop", null],
      ["loope", 4],
      ["loopne", 5],
    ] as const) {
      set.define(`${name}_${way}`, WIDE_SIZES, "none", (o, size) => loop(o, size, code, inPage), true);
    }
    set.define(
      `jcxz_${way}`,
      WIDE_SIZES,
      "none",
      (o, size) => {
        o.f.if(isZero(counter(o, size).value, size), () => takeMasked(o, inPage));
        o.next();
      },
      true,
    );
  }
  set.define(
    "jmp_E",
    WIDE_SIZES,
    "both",
    (o, size, e) => {
      const rip = asRip(o, size, e.read());
      o.checkCanonical(rip);
      o.goto(rip);
    },
    true,
  );
  set.define(
    "call_E",
    WIDE_SIZES,
    "both",
    (o, size, e) => {
      const rip = asRip(o, size, e.read());
      o.checkCanonical(rip);
      o.push(size, returnAddress(o, size));
      o.goto(rip);
    },
    true,
  );
  set.define(
    "ret",
    WIDE_SIZES,
    "none",
    (o, size) => {
      const { value, commit } = o.pop(size);
      const rip = asRip(o, size, value);
      o.checkCanonical(rip);
      commit();
      o.goto(rip);
    },
    true,
  );
  set.define(
    "ret_I",
    WIDE_SIZES,
    "none",
    (o, size) => {
      const { value, commit } = o.pop(size);
      const rip = asRip(o, size, value);
      o.checkCanonical(rip);
      commit();
      const sp = i64.add(o.getGpr(L.REG.rsp, 64), i64.and(i64.extendU(imm(o, 32)), c64(0xffff)));
      o.setStack(o.let(o.legacy ? i64.and(sp, i64.load(o.cpu, L.STACK_MASK)) : sp));
      o.goto(rip);
    },
    true,
  );
}
