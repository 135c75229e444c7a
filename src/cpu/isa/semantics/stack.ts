/**
 * The stack (Intel SDM vol. 2: PUSH, POP, PUSHA, POPA, LEAVE, PUSH Sreg). A register is written only after the last access that can fault.
 */
import { c32, c64, type Ex, i32, i64 } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import { type InstructionSet, imm, WIDE_SIZES } from "../define.ts";
import type { Ops, Size } from "../ops.ts";

const RSP = L.REG.rsp;

function popToMemory(o: Ops, size: Size): void {
  const { value, commit } = o.pop(size);
  // A base of RSP means the stack pointer after the pop; the pop itself must be undone if the store faults.
  const before = o.let(o.getGpr(RSP, 64));
  commit();
  const address = o.address();
  const after = o.let(o.getGpr(RSP, 64));
  o.setGpr(RSP, 64, before);
  o.store(o.segment(), address, size, value);
  o.setGpr(RSP, 64, after);
  o.next();
}

function pushAll(o: Ops, size: Size): void {
  const bytes = size / 8;
  const sp = o.let(o.getGpr(RSP, size));
  // In the order of the pushes: what a fault leaves behind lies below the stack pointer, which moves at the end.
  for (let i = 0; i < 8; i++)
    o.store(o.stackSegment(), o.stackAddress(-(i + 1) * bytes), size, i === RSP ? sp : o.let(o.getGpr(i, size)));
  o.setStack(o.stackAddress(-8 * bytes));
  o.next();
}

function popAll(o: Ops, size: Size): void {
  const bytes = size / 8;
  const values: (Ex | null)[] = [];
  for (let i = 0; i < 8; i++) values.push(i === 3 ? null : o.load(o.stackSegment(), o.stackAddress(i * bytes), size));
  const end = o.stackAddress(8 * bytes);
  for (let i = 0; i < 8; i++) {
    const value = values[i];
    if (value) o.setGpr(7 - i, size, value);
  }
  o.setStack(end);
  o.next();
}

function leave(o: Ops, size: Size): void {
  const bp = o.let(o.getGpr(L.REG.rbp, 64));
  const address = o.legacy ? o.let(i64.and(bp, i64.load(o.cpu, L.STACK_MASK))) : bp;
  const value = o.load(o.stackSegment(), address, size);
  const next = i64.add(address, c64(size / 8));
  o.setStack(o.legacy ? o.let(i64.and(next, i64.load(o.cpu, L.STACK_MASK))) : o.let(next));
  o.setGpr(L.REG.rbp, size, value);
  o.next();
}

export function defineStack(set: InstructionSet): void {
  set.define(
    "push_E",
    WIDE_SIZES,
    "both",
    (o, size, e) => {
      o.push(size, e.read());
      o.next();
    },
    true,
  );
  set.define(
    "pop_E",
    WIDE_SIZES,
    "both",
    (o, size, e) => {
      if (e.memory) {
        popToMemory(o, size);
        return;
      }
      const { value, commit } = o.pop(size);
      commit();
      e.write(value);
      o.next();
    },
    true,
  );
  set.define(
    "push_I",
    WIDE_SIZES,
    "none",
    (o, size) => {
      o.push(size, imm(o, size));
      o.next();
    },
    true,
  );
  set.define(
    "push_sreg",
    WIDE_SIZES,
    "none",
    (o, size) => {
      const slot = i32.add(o.cpu, i32.shl(o.field8(L.REC.aux), c32(2)));
      const selector = o.let(i32.and(i32.load(slot, L.SEG_SELECTOR), c32(0xffff)));
      o.push(size, size === 64 ? o.let(i64.extendU(selector)) : selector);
      o.next();
    },
    true,
  );
  set.define("pusha", [16, 32], "none", pushAll, true);
  set.define("popa", [16, 32], "none", popAll, true);
  set.define("leave", WIDE_SIZES, "none", leave, true);
}
