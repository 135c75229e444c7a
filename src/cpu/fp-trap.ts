/**
 * When vector instructions are refused (Intel SDM vol. 3A, tables 14-1 and 12-1): CR0.EM and CR4.OSFXSR give #UD, CR0.TS gives #NM.
 */
import { EXC, raise } from "./context.ts";
import * as L from "./layout.ts";
import type { CpuState } from "./state.ts";

const EM = 4;
const TS = 8;
const OSFXSR = 0x200;

/** The word at FP_TRAP: bit 0 SSE, bit 1 MMX. */
export function fpTrap(s: CpuState): number {
  const cr0 = s.int(L.CR0);
  const off = (cr0 & (EM | TS)) !== 0;
  return (off || (s.int(L.CR4) & OSFXSR) === 0 ? 1 : 0) | (off ? 2 : 0);
}

/** The exception of an SSE (or MMX) instruction that must not run. */
export function raiseFpTrap(s: CpuState, sse: boolean): never {
  const undefinedNow = (s.int(L.CR0) & EM) !== 0 || (sse && (s.int(L.CR4) & OSFXSR) === 0);
  raise(undefinedNow ? EXC.ud : EXC.nm);
}
