/**
 * Records that are no instructions of their own: they lead from record to record, or compute an address for the instruction behind them. They do not
 * count as retired.
 */
import { c32, c64, i32, i64 } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import type { InstructionSet } from "../define.ts";
import type { Ops } from "../ops.ts";

/** Takes back what dispatch counted for this record. */
function uncount(o: Ops): void {
  o.f.store32(o.cpu, L.COUNT, i32.add(i32.load(o.cpu, L.COUNT), c32(1)));
}

export function defineFlow(set: InstructionSet): void {
  // The code goes on at `offset` from the page, which is not decoded here, or lies on the next page.
  set.define(
    "cross",
    [32],
    "none",
    o => {
      uncount(o);
      o.goto(o.let(o.legacy ? i64.and(o.rip(), c64(0xffffffff)) : o.rip()));
    },
    true,
  );
  // The code goes on at a record that exists already.
  set.define("link", [32], "none", o => {
    uncount(o);
    o.follow();
  });
  // An address with 32 bits in 64-bit code, or one too far from the page, for the instruction behind.
  for (const [name, mask] of [
    ["ea32", 0xffffffffn],
    ["ea64", -1n],
  ] as const) {
    set.define(name, [64], "none", o => {
      const base = i64.load(o.regAddress(L.REC.r2));
      const index = i64.shl(i64.load(o.regAddress(L.REC.index)), i64.extendU(o.field8(L.REC.scale)));
      const sum = i64.add(i64.add(base, index), o.field64(L.REC.imm));
      o.f.store64(o.cpu, L.EA_TEMP, i64.and(sum, c64(mask)));
      o.continueWithin();
    });
  }
  for (const name of ["gp0", "undefined", "divide_error", "div128", "idiv128", "cmpxchg16b", "sse_trap", "mmx_trap"])
    set.helper(name, "both");
}
