/**
 * A stack that far transfers, interrupts and returns push to and pop from: the present one, or the one that a TSS names. Everything is checked before
 * anything is written. Intel SDM vol. 3A, 6.12.1, 6.14.2; vol. 2 "CALL", "INT n", "IRET".
 */
import { type CpuContext, EXC, raise } from "../context.ts";
import * as L from "../layout.ts";
import { MODE } from "../state.ts";
import { ATTR, type Descriptor, withinLimit } from "./descriptor.ts";
import type { Mmu } from "./mmu.ts";

const CANONICAL = 2 ** 47;
const MASK16 = 0xffff;

export class GuestStack {
  /** Stack pointer: an offset in a legacy segment (unsigned), a linear address in 64-bit mode (signed). */
  sp = 0;
  readonly #ctx: CpuContext;
  readonly #mmu: Mmu;
  #long = false;
  /** True for 32-bit stacks. */
  #wide = false;
  #base = 0;
  #limit = 0;
  #attr = 0;
  #bank = 0;

  constructor(ctx: CpuContext, mmu: Mmu) {
    this.#ctx = ctx;
    this.#mmu = mmu;
  }

  /** The present stack. `long`: addresses are linear and 64 bits wide. */
  useCurrent(long: boolean): void {
    const s = this.#ctx.state;
    this.#bank = this.#mmu.tlb.bank;
    this.#long = long;
    if (long) {
      this.sp = s.int(L.CODE_MODE) === MODE.code64 ? s.num(L.GPR + L.REG.rsp * 8) : s.lo(L.GPR + L.REG.rsp * 8);
      return;
    }
    this.#attr = s.segAttr(L.SEG.ss);
    this.#base = s.num(L.SEG_BASE + L.SEG.ss * 8);
    this.#limit = s.segLimit(L.SEG.ss);
    this.#wide = (this.#attr & ATTR.big) !== 0;
    this.sp = this.#wide ? s.lo(L.GPR + L.REG.rsp * 8) : s.lo(L.GPR + L.REG.rsp * 8) & MASK16;
  }

  /** A legacy stack segment that is not loaded yet, used with privilege `cpl`. */
  useSegment(d: Descriptor, sp: number, cpl: number): void {
    this.#long = false;
    this.#attr = d.attr;
    this.#base = d.base;
    this.#limit = d.limit;
    this.#wide = (d.attr & ATTR.big) !== 0;
    this.sp = this.#wide ? sp : sp & MASK16;
    this.#bank = this.#mmu.tlb.bankOf(cpl);
  }

  /** A 64-bit stack, used with privilege `cpl`. */
  useLinear(sp: number, cpl: number): void {
    this.#long = true;
    this.sp = sp;
    this.#bank = this.#mmu.tlb.bankOf(cpl);
  }

  /** Makes sure that `count` pushes of `size` bytes can be done; raises #SS(`error`) or #PF. */
  reserve(count: number, size: number, error: number): void {
    const total = count * size;
    if (this.#long) {
      const low = this.sp - total;
      if (low < -CANONICAL || this.sp > CANONICAL) raise(EXC.ss, error);
      this.#mmu.probe(this.#bank, low, total, true);
      return;
    }
    if (this.sp >= total) {
      if (!withinLimit(this.#attr, this.#limit, this.sp - total, total)) raise(EXC.ss, error);
      this.#mmu.probe(this.#bank, (this.#base + this.sp - total) >>> 0, total, true);
      return;
    }
    for (let i = 1; i <= count; i++) {
      const offset = this.#wrap(this.sp - i * size);
      if (!withinLimit(this.#attr, this.#limit, offset, size)) raise(EXC.ss, error);
      this.#mmu.probe(this.#bank, (this.#base + offset) >>> 0, size, true);
    }
  }

  /** Pushes `size` bytes; {@link reserve} was called. */
  push(size: number, low: number, high = 0): void {
    if (this.#long) {
      this.sp -= size;
      this.#mmu.store(this.#bank, this.sp, size, low, high);
      return;
    }
    this.sp = this.#wrap(this.sp - size);
    this.#mmu.store(this.#bank, (this.#base + this.sp) >>> 0, size, low, high);
  }

  /** Pushes a number (an address) as `size` bytes. */
  pushNumber(size: number, value: number): void {
    this.push(size, value | 0, Math.floor(value / 4294967296) | 0);
  }

  /** Reads the `size` bytes at byte `at` above the pointer to the memory unit's lo and hi, and returns lo; raises #SS(0) or #PF. */
  peek(at: number, size: number): number {
    if (this.#long) {
      const address = this.sp + at;
      if (address < -CANONICAL || address + size > CANONICAL) raise(EXC.ss, 0);
      this.#mmu.load(this.#bank, address, size);
    } else {
      const offset = this.#wrap(this.sp + at);
      if (!withinLimit(this.#attr, this.#limit, offset, size)) raise(EXC.ss, 0);
      this.#mmu.load(this.#bank, (this.#base + offset) >>> 0, size);
    }
    return this.#mmu.lo;
  }

  /** The same as a signed number (8 bytes) or an unsigned one. */
  peekNumber(at: number, size: number): number {
    const low = this.peek(at, size);
    return size === 8 ? (this.#mmu.hi | 0) * 4294967296 + low : low;
  }

  /** Whether bytes at … at + length − 1 above the pointer lie in the segment. */
  holds(at: number, length: number): boolean {
    if (this.#long) return this.sp + at + length <= CANONICAL && this.sp + at >= -CANONICAL;
    return withinLimit(this.#attr, this.#limit, this.#wrap(this.sp + at), length);
  }

  /** Moves the pointer up by `bytes`. */
  drop(bytes: number): void {
    this.sp = this.#long ? this.sp + bytes : this.#wrap(this.sp + bytes);
  }

  /** Writes the pointer to RSP, ESP or SP by the size of this stack. */
  commit(): void {
    const s = this.#ctx.state;
    if (this.#long) s.setNum(L.GPR + L.REG.rsp * 8, this.sp);
    else if (this.#wide) s.set64(L.GPR + L.REG.rsp * 8, this.sp, 0);
    else s.u16[(s.base + L.GPR + L.REG.rsp * 8) >>> 1] = this.sp;
  }

  #wrap(offset: number): number {
    return this.#wide ? offset >>> 0 : offset & MASK16;
  }
}
