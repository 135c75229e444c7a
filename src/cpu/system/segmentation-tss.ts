/** Stack pointers for inner privilege levels, from the task-state segment. Intel SDM vol. 3A, 6.12.1, 7.2.1, 7.6, 7.7 (figure 7-11). */
import { type CpuContext, EXC, raise } from "../context.ts";
import * as L from "../layout.ts";
import { errorOf } from "./descriptor.ts";
import type { Mmu } from "./mmu.ts";
import { isCanonical } from "./operands.ts";

/** Offset of RSP0 and of IST1 − 8 in a 64-bit TSS. */
const RSP0 = 4;
const IST0 = 28;

export class TaskStacks {
  /** Result of {@link read}: selector and pointer. */
  ss = 0;
  /** Unsigned for legacy TSSs, signed for a 64-bit one. */
  sp = 0;
  readonly #ctx: CpuContext;
  readonly #mmu: Mmu;

  constructor(ctx: CpuContext, mmu: Mmu) {
    this.#ctx = ctx;
    this.#mmu = mmu;
  }

  /** The present TSS has the 32-bit format. */
  get wide(): boolean {
    return (this.#ctx.state.segAttr(L.SEG.tr) & 8) !== 0;
  }

  /** Reads SS:ESP of privilege level `dpl` from a 16- or 32-bit TSS. Raises #TS when they lie beyond its limit. */
  read(dpl: number, ext: number): void {
    const s = this.#ctx.state;
    const wide = this.wide;
    const offset = wide ? dpl * 8 + 4 : dpl * 4 + 2;
    if (offset + (wide ? 5 : 3) > s.segLimit(L.SEG.tr)) this.#tooShort(ext);
    const address = s.segBase(L.SEG.tr) + offset;
    this.sp = wide ? this.#mmu.read32(address) : this.#mmu.read16(address);
    this.ss = this.#mmu.read16(address + (wide ? 4 : 2));
  }

  /** Reads RSP of `dpl`, or of stack table entry `ist` (1-7), from a 64-bit TSS. Raises #TS, or #SS(ext) for one that is not canonical. */
  readLong(dpl: number, ist: number, ext: number): void {
    const s = this.#ctx.state;
    const offset = ist === 0 ? RSP0 + dpl * 8 : IST0 + ist * 8;
    if (offset + 7 > s.segLimit(L.SEG.tr)) this.#tooShort(ext);
    this.#mmu.read64(s.segBase(L.SEG.tr) + offset);
    if (!isCanonical(this.#mmu.hi)) raise(EXC.ss, ext);
    this.sp = (this.#mmu.hi | 0) * 4294967296 + this.#mmu.lo;
    this.ss = dpl;
  }

  #tooShort(ext: number): never {
    raise(EXC.ts, errorOf(this.#ctx.state.selector(L.SEG.tr)) | ext);
  }
}
