/**
 * Hardware task switches with 16- and 32-bit task-state segments. Intel SDM vol. 3A, chapter 7: the order of 7.3, the checks of table 7-1, busy flags
 * and links of table 7-2. Not available in IA-32e mode (7.7).
 *
 * Up to the commit a fault belongs to the old task and changed nothing; afterwards RIP is the new task's and faults are its own.
 */
import { assert } from "../../base/assert.ts";
import { type CpuContext, EXC, raise } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG } from "../state.ts";
import { CR0, CR4 } from "./control-bits.ts";
import { Descriptor, errorOf, isNull, SYS } from "./descriptor.ts";
import type { Mmu } from "./mmu.ts";
import type { Segmentation } from "./segmentation.ts";
import { GuestStack } from "./segmentation-stack.ts";

/** What causes a switch. */
export const TASK = { jump: 0, call: 1, interrupt: 2, iret: 3 } as const;

/** Smallest limits (SDM vol. 3A, table 7-1). */
const LIMIT32 = 0x67;
const LIMIT16 = 0x2b;
/** EFLAGS bits that exist; bit 1 is always 1. */
const FLAGS_MASK = 0x3f7fd5;
/** L0-L3 and LE of DR7: a task switch clears them (SDM vol. 3B, 18.2.4). */
const DR7_LOCAL = 0x155;
/** BT of DR6. */
const DEBUG_TASK = 0x8000;
/** Order of the general registers in a TSS is their numeric order; of the segments: ES CS SS DS FS GS, as in SEG. */
const SEGMENTS = 6;

export class TaskSwitch {
  readonly #ctx: CpuContext;
  readonly #mmu: Mmu;
  readonly #seg: Segmentation;
  readonly #stack: GuestStack;
  readonly #d = new Descriptor();
  /** The new task's registers as read: EIP, EFLAGS, 8 general, 6 selectors, LDT selector, CR3, T. */
  readonly #new = new Uint32Array(19);

  constructor(ctx: CpuContext, mmu: Mmu, seg: Segmentation) {
    this.#ctx = ctx;
    this.#mmu = mmu;
    this.#seg = seg;
    this.#stack = new GuestStack(ctx, mmu);
  }

  /**
   * Fetches the TSS descriptor of `selector`; raises `vector`(selector) unless it is an available one (for TASK.iret: a busy one) in the GDT, #NP when it
   * is not present.
   */
  fetch(selector: number, reason: number, vector: number, ext: number): Descriptor {
    const d = this.#d;
    const error = errorOf(selector) | ext;
    if ((selector & 4) !== 0 || isNull(selector) || !this.#seg.tables.fetch(selector, d)) raise(vector, error);
    const busy = reason === TASK.iret ? 2 : 0;
    if (d.isSegment || (d.type !== (SYS.tss16 | busy) && d.type !== (SYS.tss32 | busy))) raise(vector, error);
    if (!d.present) raise(EXC.np, error);
    return d;
  }

  /**
   * Switches to the task of descriptor `d` (from {@link fetch}).
   * @param rip what the old task goes on with
   * @param flags EFLAGS to save in the old TSS
   */
  run(d: Descriptor, reason: number, rip: number, flags: number, ext: number): void {
    const s = this.#ctx.state;
    assert(!this.#seg.longMode, "task switch in IA-32e mode");
    const wide = d.type >= SYS.tss32;
    if (d.limit < (wide ? LIMIT32 : LIMIT16)) raise(EXC.ts, errorOf(d.selector) | ext);
    const oldBase = s.segBase(L.SEG.tr);
    const oldSelector = s.selector(L.SEG.tr);
    const oldWide = (s.segAttr(L.SEG.tr) & 8) !== 0;
    const link = reason === TASK.call || reason === TASK.interrupt;
    const bank = this.#mmu.tlb.systemBank;
    this.#mmu.probe(bank, oldBase, oldWide ? LIMIT32 + 1 : LIMIT16 + 1, true);
    if (link) this.#mmu.probe(bank, d.base, 2, true);
    this.#read(d.base, wide);
    if (reason === TASK.iret) flags &= ~FLAG.nt;
    if (reason === TASK.iret || reason === TASK.jump) this.#markOld(oldSelector);
    if (reason !== TASK.iret) this.#seg.tables.markBusy(d.address, true);
    this.#save(oldBase, oldWide, rip, flags);
    if (link) this.#mmu.write16(d.base, oldSelector);
    this.#commit(d, wide, link);
    this.#loadSegments(ext);
    if ((this.#new[18]! & 1) !== 0) {
      s.setLo(L.DEBUG_TRAP, s.int(L.DEBUG_TRAP) | DEBUG_TASK);
      this.#ctx.post(L.PENDING.debugTrap);
    }
    if (s.lo(L.RIP) > s.segLimit(L.SEG.cs)) raise(EXC.gp, ext);
  }

  /** Pushes an exception's error code on the new task's stack: 4 bytes, or 2 for a 16-bit TSS. */
  pushError(error: number): void {
    const size = (this.#ctx.state.segAttr(L.SEG.tr) & 8) !== 0 ? 4 : 2;
    const stack = this.#stack;
    stack.useCurrent(false);
    stack.reserve(1, size, 1);
    stack.push(size, error);
    stack.commit();
  }

  /** The old task is not busy any longer. */
  #markOld(selector: number): void {
    this.#seg.tables.markBusy(this.#ctx.state.num(L.GDTR_BASE) + (selector & 0xfff8), false);
  }

  #read(base: number, wide: boolean): void {
    const mmu = this.#mmu;
    const to = this.#new;
    to[0] = wide ? mmu.read32(base + 32) : mmu.read16(base + 14);
    to[1] = wide ? mmu.read32(base + 36) : mmu.read16(base + 16);
    for (let i = 0; i < 8; i++) to[2 + i] = wide ? mmu.read32(base + 40 + i * 4) : mmu.read16(base + 18 + i * 2);
    for (let i = 0; i < SEGMENTS; i++)
      to[10 + i] = wide ? mmu.read16(base + 72 + i * 4) : i < 4 ? mmu.read16(base + 34 + i * 2) : 0;
    to[16] = mmu.read16(base + (wide ? 96 : 42));
    to[17] = wide ? mmu.read32(base + 28) : 0;
    to[18] = wide ? mmu.read16(base + 100) : 0;
  }

  #save(base: number, wide: boolean, rip: number, flags: number): void {
    const s = this.#ctx.state;
    const mmu = this.#mmu;
    if (wide) {
      mmu.write32(base + 32, rip);
      mmu.write32(base + 36, flags);
      for (let i = 0; i < 8; i++) mmu.write32(base + 40 + i * 4, s.lo(L.GPR + i * 8));
      for (let i = 0; i < SEGMENTS; i++) mmu.write16(base + 72 + i * 4, s.selector(i));
      return;
    }
    mmu.write16(base + 14, rip);
    mmu.write16(base + 16, flags);
    for (let i = 0; i < 8; i++) mmu.write16(base + 18 + i * 2, s.lo(L.GPR + i * 8));
    for (let i = 0; i < 4; i++) mmu.write16(base + 34 + i * 2, s.selector(i));
  }

  /** Everything but the descriptors of the new segments: these are not valid yet. */
  #commit(d: Descriptor, wide: boolean, link: boolean): void {
    const s = this.#ctx.state;
    const from = this.#new;
    this.#seg.set(L.SEG.tr, d.selector, d);
    s.setLo(L.SEG_ATTR + L.SEG.tr * 4, d.attr | 2);
    s.set64(L.RIP, from[0]!, 0);
    s.eflags = (from[1]! & FLAGS_MASK) | 2 | (link ? FLAG.nt : 0);
    for (let i = 0; i < 8; i++) s.set64(L.GPR + i * 8, from[2 + i]!, 0);
    s.setLo(L.CR0, s.int(L.CR0) | CR0.ts);
    s.setLo(L.DR7, s.int(L.DR7) & ~DR7_LOCAL);
    this.#mmu.debugChanged();
    for (let i = 0; i < SEGMENTS; i++) this.#seg.setNull(i, from[10 + i]!);
    this.#seg.setNull(L.SEG.ldtr, from[16]!);
    if (wide && (s.int(L.CR0) & CR0.pg) !== 0) {
      s.set64(L.CR3, from[17]!, 0);
      this.#mmu.tlb.flushNonGlobal();
      if ((s.int(L.CR4) & CR4.pae) !== 0) this.#mmu.loadPdptes();
    }
  }

  #loadSegments(ext: number): void {
    const s = this.#ctx.state;
    const seg = this.#seg;
    const selectors = this.#new;
    if (s.vm86) {
      seg.setCpl(3);
      for (let i = 0; i < SEGMENTS; i++) seg.setVm86(i, selectors[10 + i]!);
      seg.recompute();
      this.#loadLdt(selectors[16]!, ext);
      return;
    }
    const cs = selectors[10 + L.SEG.cs]!;
    seg.setCpl(cs & 3);
    seg.recompute();
    this.#loadLdt(selectors[16]!, ext);
    this.#loadCode(cs, ext);
    seg.loadStack(selectors[10 + L.SEG.ss]!, cs & 3, EXC.ts, ext);
    for (let i = 0; i < SEGMENTS; i++)
      if (i !== L.SEG.cs && i !== L.SEG.ss) seg.loadData(i, selectors[10 + i]!, EXC.ts, ext);
    seg.recompute();
  }

  #loadLdt(selector: number, ext: number): void {
    if (isNull(selector)) return;
    const d = this.#d;
    const error = errorOf(selector) | ext;
    if ((selector & 4) !== 0 || !this.#seg.tables.fetch(selector, d)) raise(EXC.ts, error);
    if (d.isSegment || d.type !== SYS.ldt || !d.present) raise(EXC.ts, error);
    this.#seg.set(L.SEG.ldtr, selector, d);
  }

  #loadCode(selector: number, ext: number): void {
    const d = this.#d;
    const error = errorOf(selector) | ext;
    if (isNull(selector) || !this.#seg.tables.fetch(selector, d) || !d.isCode) raise(EXC.ts, error);
    if (d.isConforming ? d.dpl > d.rpl : d.dpl !== d.rpl) raise(EXC.ts, error);
    if (!d.present) raise(EXC.np, error);
    this.#seg.tables.markAccessed(d);
    this.#seg.set(L.SEG.cs, selector, d);
    this.#seg.recompute();
  }
}
