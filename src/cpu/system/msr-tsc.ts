/**
 * The time-stamp counter: 1 GHz, invariant, equal to virtual time in ns plus an offset that the guest may write. Intel SDM vol. 3B, section "Time-Stamp
 * Counter" (17.17) and "IA32_TSC_ADJUST"; RDTSC, RDTSCP and RDPMC in vol. 2B.
 *
 * Not modelled: performance counters (CPUID leaf 0xA says there are none, so that RDPMC always raises #GP).
 */
import type { TimestampCounter } from "../../ports/cpu-port.ts";
import { type CpuContext, DONE, EXC, type HelperTable, raise } from "../context.ts";
import * as L from "../layout.ts";
import { CR4 } from "./control-bits.ts";

const TWO32 = 4294967296;
/** Longest span that {@link Tsc.nsUntil} tells: 2^52 ns are 52 days. */
const FAR = 2 ** 52;

export class Tsc implements TimestampCounter {
  readonly #ctx: CpuContext;
  /** Result of {@link read}, unsigned words. */
  lo = 0;
  hi = 0;

  constructor(ctx: CpuContext) {
    this.#ctx = ctx;
  }

  /** Leaves the counter of this instant in `lo` and `hi`. */
  read(): void {
    const s = this.#ctx.state;
    const now = this.#ctx.clock.now();
    const low = (now >>> 0) + s.lo(L.MSR.tscOffset);
    this.lo = low >>> 0;
    this.hi = (Math.floor(now / TWO32) + s.hi(L.MSR.tscOffset) + (low >= TWO32 ? 1 : 0)) >>> 0;
  }

  /** WRMSR to IA32_TSC: what is added to the counter is added to IA32_TSC_ADJUST too (SDM vol. 3B, 17.17.3). */
  write(low: number, high: number): void {
    this.read();
    this.#shift(low, high, this.lo, this.hi);
  }

  /** WRMSR to IA32_TSC_ADJUST: the difference to its old value is added to the counter. */
  writeAdjust(low: number, high: number): void {
    const s = this.#ctx.state;
    this.#shift(low, high, s.lo(L.MSR.tscAdjust), s.hi(L.MSR.tscAdjust));
  }

  /** Adds (to − from) to the counter and to TSC_ADJUST. */
  #shift(toLow: number, toHigh: number, fromLow: number, fromHigh: number): void {
    const low = (toLow - fromLow) >>> 0;
    const high = toHigh - fromHigh - (toLow >>> 0 < fromLow >>> 0 ? 1 : 0);
    this.#add(L.MSR.tscOffset, low, high);
    this.#add(L.MSR.tscAdjust, low, high);
  }

  #add(offset: number, low: number, high: number): void {
    const s = this.#ctx.state;
    const sum = s.lo(offset) + low;
    s.set64(offset, sum, s.hi(offset) + high + (sum >= TWO32 ? 1 : 0));
  }

  nsUntil(low: number, high: number): number {
    this.read();
    const distance = ((high >>> 0) - this.hi) * TWO32 + ((low >>> 0) - this.lo);
    return Math.min(distance, FAR);
  }
}

/** RDTSC, RDTSCP, RDPMC. */
export function tscHelpers(ctx: CpuContext, tsc: Tsc): HelperTable {
  const s = ctx.state;
  const hasTscp = ctx.model.has("rdtscp");
  const hasTsc = ctx.model.has("tsc");
  const read = (): void => {
    if (s.int(L.CR4) & CR4.tsd && s.int(L.CPL) !== 0) raise(EXC.gp, 0);
    tsc.read();
    s.set64(L.GPR + L.REG.rax * 8, tsc.lo, 0);
    s.set64(L.GPR + L.REG.rdx * 8, tsc.hi, 0);
  };
  return {
    rdtsc: () => {
      if (!hasTsc) raise(EXC.ud);
      read();
      return DONE.next;
    },
    rdtscp: () => {
      if (!hasTscp) raise(EXC.ud);
      read();
      s.set64(L.GPR + L.REG.rcx * 8, s.lo(L.MSR.tscAux), 0);
      return DONE.next;
    },
    rdpmc: () => raise(EXC.gp, 0),
  };
}
