/** Reads descriptors from the GDT and LDT, and marks them accessed or busy. Intel SDM vol. 3A, 3.4.2, 3.5.1, 5.3. */
import type { CpuContext } from "../context.ts";
import * as L from "../layout.ts";
import { ATTR, type Descriptor } from "./descriptor.ts";
import type { Mmu } from "./mmu.ts";

const TABLE_LDT = 4;

export class DescriptorTables {
  readonly #ctx: CpuContext;
  readonly #mmu: Mmu;

  constructor(ctx: CpuContext, mmu: Mmu) {
    this.#ctx = ctx;
    this.#mmu = mmu;
  }

  /** Reads the descriptor that `selector` names. False when it lies outside its table, or its LDT is not there. May raise #PF. */
  fetch(selector: number, into: Descriptor): boolean {
    const offset = selector & 0xfff8;
    const s = this.#ctx.state;
    const local = (selector & TABLE_LDT) !== 0;
    if (local && (s.segAttr(L.SEG.ldtr) & L.ATTR_UNUSABLE) !== 0) return false;
    if (offset + 7 > this.#limit(local)) return false;
    const address = (local ? s.segBase(L.SEG.ldtr) : s.num(L.GDTR_BASE)) + offset;
    this.#mmu.read64(address);
    into.set(this.#mmu.lo, this.#mmu.hi);
    into.selector = selector;
    into.address = address;
    return true;
  }

  /** Reads the second half of a 16-byte system descriptor. False: outside the table, or its type field is not 0. */
  fetchUpper(into: Descriptor): boolean {
    const offset = into.selector & 0xfff8;
    if (offset + 15 > this.#limit((into.selector & TABLE_LDT) !== 0)) return false;
    this.#mmu.read64(into.address + 8);
    into.upperLo = this.#mmu.lo | 0;
    into.upperHi = this.#mmu.hi | 0;
    return (into.upperHi & 0x1f00) === 0;
  }

  /** Sets the accessed bit in memory (SDM vol. 3A, 3.4.5.1). */
  markAccessed(d: Descriptor): void {
    if ((d.attr & ATTR.accessed) !== 0) return;
    this.#mmu.write8(d.address + 5, (d.attr & 0xff) | ATTR.accessed);
    d.attr |= ATTR.accessed;
  }

  /** Sets or clears the busy bit of a TSS descriptor in memory. */
  markBusy(address: number, busy: boolean): void {
    const rights = this.#mmu.read8(address + 5);
    this.#mmu.write8(address + 5, busy ? rights | 2 : rights & ~2);
  }

  #limit(local: boolean): number {
    return local ? this.#ctx.state.segLimit(L.SEG.ldtr) : this.#ctx.state.lo(L.GDTR_LIMIT);
  }
}
