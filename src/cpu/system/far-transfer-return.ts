/**
 * The end of IRET and far RET in protected and IA-32e mode: checks of the code and stack segments that come from the stack, and the commit.
 * Intel SDM vol. 2, "IRET" and "RET", sections PROTECTED-MODE-RETURN, RETURN-TO-OUTER-PRIVILEGE-LEVEL.
 */
import { type CpuContext, EXC, raise } from "../context.ts";
import * as L from "../layout.ts";
import { MODE } from "../state.ts";
import { ATTR, Descriptor, errorOf, isNull } from "./descriptor.ts";
import type { Mmu } from "./mmu.ts";
import { isCanonical } from "./operands.ts";
import type { Segmentation } from "./segmentation.ts";

const RSP = L.GPR + L.REG.rsp * 8;

export class ReturnPath {
  /** Privilege level returned to, and whether to 64-bit code. */
  target = 0;
  long = false;
  readonly #ctx: CpuContext;
  readonly #mmu: Mmu;
  readonly #seg: Segmentation;
  readonly #code = new Descriptor();
  readonly #ss = new Descriptor();
  #nullStack = false;

  constructor(ctx: CpuContext, mmu: Mmu, seg: Segmentation) {
    this.#ctx = ctx;
    this.#mmu = mmu;
    this.#seg = seg;
  }

  /** Fetches and checks the code segment. */
  readCode(selector: number): void {
    if (isNull(selector)) raise(EXC.gp, 0);
    const d = this.#code;
    const error = errorOf(selector);
    const rpl = selector & 3;
    if (!this.#seg.tables.fetch(selector, d) || !d.isCode || rpl < this.#ctx.state.int(L.CPL)) raise(EXC.gp, error);
    if (d.isConforming ? d.dpl > rpl : d.dpl !== rpl) raise(EXC.gp, error);
    this.long = (d.attr & ATTR.long) !== 0 && this.#seg.longMode;
    if (this.long && !d.isLong) raise(EXC.gp, error);
    if (!d.present) raise(EXC.np, error);
    this.target = rpl;
  }

  /** Checks the instruction pointer against that segment: #GP(0). */
  checkOffset(low: number, high: number): void {
    if (this.long ? !isCanonical(high) : high !== 0 || low > this.#code.limit) raise(EXC.gp, 0);
  }

  /** Fetches and checks the stack segment: null is allowed only for 64-bit code below privilege 3. */
  readStack(selector: number): void {
    this.#nullStack = isNull(selector);
    if (!this.#nullStack) this.#seg.checkStack(selector, this.target, EXC.gp, 0, this.#ss);
    else if (!this.long || this.target === 3) raise(EXC.gp, 0);
  }

  /** Marks the segments accessed: the last thing that can fault. `stack`: readStack was called. */
  touch(stack: boolean): void {
    this.#seg.tables.markAccessed(this.#code);
    if (stack && !this.#nullStack) this.#seg.tables.markAccessed(this.#ss);
  }

  /** Loads SS and the stack pointer. To be called before {@link commitCode}. */
  commitStack(selector: number, low: number, high: number): void {
    const s = this.#ctx.state;
    if (this.#nullStack) this.#seg.setNull(L.SEG.ss, selector);
    else this.#seg.set(L.SEG.ss, selector, this.#ss);
    if (this.long) s.set64(RSP, low, high);
    else if ((s.segAttr(L.SEG.ss) & ATTR.big) !== 0) s.set64(RSP, low, 0);
    else s.u16[(s.base + RSP) >>> 1] = low;
  }

  /** Loads CS, RIP and CPL, and settles what follows from them. */
  commitCode(selector: number, low: number, high: number): void {
    const s = this.#ctx.state;
    const seg = this.#seg;
    const cpl = s.int(L.CPL);
    seg.set(L.SEG.cs, selector, this.#code);
    s.set64(L.RIP, low, high);
    if (this.target !== cpl) {
      seg.setCpl(this.target);
      seg.dropPrivileged(this.target);
    }
    if (this.long && s.int(L.CODE_MODE) === MODE.code64) this.#mmu.tlb.selectBank();
    else seg.recompute();
  }
}
