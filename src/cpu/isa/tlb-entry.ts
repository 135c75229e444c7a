/** Where in a data TLB bank the entry of an address is, in generated code; the same slot as `Tlb.slot` of system/tlb.ts. */
import { c32, c64, type Ex, i32, i64 } from "../emit/expr.ts";
import type { FunctionBuilder } from "../emit/wasm.ts";
import * as L from "../layout.ts";

/**
 * Address (a local) of the entry for `linear` (i64) in the bank at `bank` (i32). Neighbouring pages never share a slot (hence a sum, not an exclusive or):
 * an access over their border, whose last byte's page is compared with the tag of the first byte's slot, must not hit.
 */
export function tlbEntry(f: FunctionBuilder, bank: Ex, linear: Ex): Ex {
  const vpn = f.let(i32.wrap(i64.shrU(linear, c64(12))));
  const slot = i32.shl(i32.and(i32.add(vpn, i32.shrU(vpn, c32(9))), c32(L.DTLB_ENTRIES - 1)), c32(5));
  return f.let(i32.add(bank, slot));
}
