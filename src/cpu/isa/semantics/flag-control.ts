/**
 * CLI, STI and reads of control registers where they need no more than privilege (Intel SDM vol. 2); virtual-8086 mode, protected-mode virtual interrupts and lack of privilege go to
 * the TypeScript helpers of the same names.
 */
import { c32, type Ex, i32, i64 } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import { FLAG } from "../../state.ts";
import type { InstructionSet } from "../define.ts";
import type { Ops } from "../ops.ts";

/** SHADOW value of STI. */
const SHADOW_STI = 1;

/** Not 0 when IF may be changed: real mode, or CPL ≤ IOPL outside virtual-8086 mode. */
function mayChange(o: Ops, flags: Ex): Ex {
  const real = i32.eqz(i32.and(i32.load(o.cpu, L.CR0), c32(1)));
  const privileged = i32.leU(i32.load(o.cpu, L.CPL), i32.and(i32.shrU(flags, c32(12)), c32(3)));
  return i32.or(real, i32.and(privileged, i32.eqz(i32.and(flags, c32(FLAG.vm)))));
}

function sti(o: Ops, flags: Ex): void {
  o.f.if(i32.eqz(i32.and(flags, c32(FLAG.if))), () => {
    const count = o.let(i32.load(o.cpu, L.COUNT));
    const debt = o.let(i32.load(o.cpu, L.DEBT));
    o.f.store32(o.cpu, L.FLAG_OTHER, i32.or(flags, c32(FLAG.if)));
    o.f.store32(o.cpu, L.SHADOW, c32(SHADOW_STI));
    o.f.store32(o.cpu, L.SHADOW_COUNT, i32.add(count, debt));
    // What waits is taken behind the next instruction: the rest of the run is held back.
    const waits = i32.ne(i32.load(o.cpu, L.PENDING_OFFSET), c32(0));
    o.f.if(i32.and(waits, i32.gtS(count, c32(1))), () => {
      o.f.store32(o.cpu, L.DEBT, i32.add(debt, i32.sub(count, c32(1))));
      o.f.store32(o.cpu, L.COUNT, c32(1));
    });
  });
}

export function defineFlagControl(set: InstructionSet): void {
  set.twin("cli", "sti");
  for (const name of ["cli", "sti"] as const) {
    set.define(name, [32], "none", o => {
      const flags = o.let(i32.load(o.cpu, L.FLAG_OTHER));
      o.f.if(i32.eqz(mayChange(o, flags)), () => o.helper(name));
      if (name === "sti") sti(o, flags);
      else o.f.store32(o.cpu, L.FLAG_OTHER, i32.and(flags, c32(~FLAG.if)));
      o.next();
    });
  }
}

/** MOV from CR0, CR2, CR3 and CR4 at privilege 0; CR8 and everything that faults go to the helper. */
export function defineControlReads(set: InstructionSet): void {
  set.twin("mov_from_cr");
  set.define("mov_from_cr", [32, 64], "both", (o, size) => {
    const number = o.let(o.field8(L.REC.aux));
    const plain = i32.and(i32.leU(number, c32(4)), i32.ne(number, c32(1)));
    o.f.if(i32.eqz(i32.and(plain, i32.eqz(i32.load(o.cpu, L.CPL)))), () => o.helper("mov_from_cr"));
    // CR2, CR3 and CR4 lie behind CR0, 8 bytes each; there is no CR1.
    const place = i32.shl(i32.sub(number, i32.ne(number, c32(0))), c32(3));
    const from = i32.add(o.cpu, place);
    o.setReg(L.REC.r2, size, o.let(size === 64 ? i64.load(from, L.CR0) : i32.load(from, L.CR0)));
    o.next();
  });
}
