/**
 * Segment registers: the hidden parts, the checks of loading them, and everything that follows from them (code mode, fast limits, stack mask).
 * Intel SDM vol. 3A, 3.4.3, 5.4-5.7; vol. 2 "MOV" and "POP" (segment loads); 20.1.1 and 20.2 (real-address and virtual-8086 mode).
 */
import { EVENT } from "../../ports/events.ts";
import { type CpuContext, EXC, raise } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG, MODE } from "../state.ts";
import { CR0, EFER } from "./control-bits.ts";
import { ATTR, Descriptor, errorOf, isNull } from "./descriptor.ts";
import { DescriptorTables } from "./descriptor-tables.ts";
import type { Mmu } from "./mmu.ts";

/** Rights of a segment in real-address mode (present, writable data, accessed) and in virtual-8086 mode (the same with DPL 3). */
const REAL_ATTR = 0x93;
const VM86_ATTR = 0xf3;

export class Segmentation {
  readonly tables: DescriptorTables;
  readonly ctx: CpuContext;
  readonly mmu: Mmu;
  readonly #scratch = new Descriptor();

  constructor(ctx: CpuContext, mmu: Mmu) {
    this.ctx = ctx;
    this.mmu = mmu;
    this.tables = new DescriptorTables(ctx, mmu);
  }

  /** IA-32e mode is active (EFER.LMA). */
  get longMode(): boolean {
    return (this.ctx.state.int(L.EFER) & EFER.lma) !== 0;
  }
  /** Selectors are shifted to bases: real-address or virtual-8086 mode. */
  get realOrVm86(): boolean {
    const s = this.ctx.state;
    return (s.int(L.CR0) & CR0.pe) === 0 || (s.int(L.FLAG_OTHER) & FLAG.vm) !== 0;
  }

  setCpl(cpl: number): void {
    const ctx = this.ctx;
    if (ctx.state.int(L.CPL) === cpl) return;
    ctx.state.setLo(L.CPL, cpl);
    if (ctx.trace.wants[EVENT.cpl] !== 0) ctx.trace.emit(EVENT.cpl, ctx.index, cpl, 0, 0, 0);
  }

  /**
   * Derives CODE_MODE, the bases that 64-bit mode zeroes, SEG_READ_TOP, SEG_WRITE_TOP, STACK_MASK and the TLB banks. To be called after a change of any
   * segment register, CPL, CR0.PE, EFLAGS.VM or EFER.LMA.
   */
  recompute(): void {
    const s = this.ctx.state;
    const cs = s.segAttr(L.SEG.cs);
    const long = (s.int(L.EFER) & EFER.lma) !== 0 && (cs & ATTR.long) !== 0;
    const mode = long ? MODE.code64 : (cs & ATTR.big) !== 0 ? MODE.code32 : MODE.code16;
    s.setLo(L.CODE_MODE, mode);
    for (let seg = 0; seg < 4; seg++) {
      s.set64(L.SEG_BASE + seg * 8, long ? 0 : s.int(L.SEG_HIDDEN_BASE + seg * 4), 0);
    }
    if (long) s.set64(L.STACK_MASK, -1, -1);
    else {
      s.set64(L.STACK_MASK, (s.segAttr(L.SEG.ss) & ATTR.big) !== 0 ? -1 : 0xffff, 0);
      const typed = !this.realOrVm86;
      for (let seg = 0; seg < 6; seg++) this.#tops(seg, typed);
      s.set64(L.SEG_READ_TOP + L.SEG.none * 8, -1, 0);
      s.set64(L.SEG_WRITE_TOP + L.SEG.none * 8, -1, 0);
    }
    this.mmu.tlb.selectCode();
    this.mmu.tlb.selectBank();
  }

  #tops(seg: number, typed: boolean): void {
    const s = this.ctx.state;
    const attr = s.segAttr(seg);
    const limit = s.segLimit(seg);
    const down = (attr & (ATTR.code | ATTR.downConform)) === ATTR.downConform;
    const code = (attr & ATTR.code) !== 0;
    const flag = (attr & ATTR.readWrite) !== 0;
    const usable = !down && !(typed && (attr & L.ATTR_UNUSABLE) !== 0);
    const readable = usable && (!typed || !code || flag);
    const writable = usable && (!typed || (!code && flag));
    s.set64(L.SEG_READ_TOP + seg * 8, readable ? limit : -1, readable ? 0 : -1);
    s.set64(L.SEG_WRITE_TOP + seg * 8, writable ? limit : -1, writable ? 0 : -1);
  }

  /** Fills a segment register's hidden part from a descriptor. The caller has checked it, and calls {@link recompute}. */
  set(seg: number, selector: number, d: Descriptor): void {
    this.setRaw(seg, selector, d.base, d.limit, d.attr);
  }

  setRaw(seg: number, selector: number, base: number, limit: number, attr: number): void {
    const s = this.ctx.state;
    s.setLo(L.SEG_SELECTOR + seg * 4, selector);
    s.setLo(L.SEG_ATTR + seg * 4, attr);
    s.setLo(L.SEG_LIMIT + seg * 4, limit);
    if (seg < 4) {
      s.setLo(L.SEG_HIDDEN_BASE + seg * 4, base);
      if (s.int(L.CODE_MODE) === MODE.code64) base = 0;
    }
    s.set64(L.SEG_BASE + seg * 8, base, 0);
  }

  /**
   * Marks a segment register unusable. The base of FS and GS becomes 0 on Intel processors; AMD's keep it in long mode (AMD APM vol. 2, 4.5.3). SS keeps
   * its privilege level in the rights.
   */
  setNull(seg: number, selector: number): void {
    const s = this.ctx.state;
    s.setLo(L.SEG_SELECTOR + seg * 4, selector);
    s.setLo(L.SEG_ATTR + seg * 4, L.ATTR_UNUSABLE | ((selector & 3) << 5));
    s.setLo(L.SEG_LIMIT + seg * 4, 0);
    if (seg < 4) s.setLo(L.SEG_HIDDEN_BASE + seg * 4, 0);
    if (seg < 4 || !this.longMode || this.ctx.model.vendor === "GenuineIntel") s.set64(L.SEG_BASE + seg * 8, 0, 0);
  }

  /** Loads a segment register in real-address mode: limit and size stay what they were ("unreal mode"). */
  setReal(seg: number, selector: number): void {
    const s = this.ctx.state;
    const attr = s.segAttr(seg);
    const plain = (attr & (L.ATTR_UNUSABLE | ATTR.code | ATTR.downConform)) === 0 && (attr & ATTR.present) !== 0;
    if (plain || (seg === L.SEG.cs && (attr & L.ATTR_UNUSABLE) === 0)) {
      this.setRaw(seg, selector, selector << 4, s.segLimit(seg), (attr & (ATTR.big | ATTR.granular)) | REAL_ATTR);
    } else this.setRaw(seg, selector, selector << 4, 0xffff, REAL_ATTR);
  }

  /** Loads a segment register in virtual-8086 mode. */
  setVm86(seg: number, selector: number): void {
    this.setRaw(seg, selector, selector << 4, 0xffff, VM86_ATTR);
  }

  /** Base, limit and rights as after power-on or INIT (SDM vol. 3A, table 9-1): CS at 0xFFFF0000, 16 bits, real-address mode. */
  reset(): void {
    for (let seg = 0; seg < 6; seg++) this.setRaw(seg, 0, 0, 0xffff, REAL_ATTR);
    this.setRaw(L.SEG.cs, 0xf000, 0xffff0000, 0xffff, REAL_ATTR);
    this.setRaw(L.SEG.ldtr, 0, 0, 0xffff, ATTR.present | 2);
    this.setRaw(L.SEG.tr, 0, 0, 0xffff, ATTR.present | 11);
    this.ctx.state.setLo(L.CPL, 0);
    this.recompute();
  }

  /** Loads ES, CS (not by MOV), SS, DS, FS or GS by the rules of the present mode; raises with nothing changed. */
  load(seg: number, selector: number): void {
    const s = this.ctx.state;
    if (this.realOrVm86) {
      if ((s.int(L.FLAG_OTHER) & FLAG.vm) !== 0) this.setVm86(seg, selector);
      else this.setReal(seg, selector);
    } else if (seg === L.SEG.ss) this.loadStack(selector, s.int(L.CPL), EXC.gp, 0);
    else this.loadData(seg, selector, EXC.gp, 0);
    this.recompute();
  }

  /** Loads ES, DS, FS or GS in protected mode. `vector` is #GP, or #TS during a task switch; `ext` is or-ed to error codes. */
  loadData(seg: number, selector: number, vector: number, ext: number): void {
    if (isNull(selector)) {
      this.setNull(seg, selector);
      return;
    }
    const d = this.#scratch;
    const error = errorOf(selector) | ext;
    if (!this.tables.fetch(selector, d) || !d.isReadable) raise(vector, error);
    const cpl = this.ctx.state.int(L.CPL);
    if (!d.isConforming && (d.rpl > d.dpl || cpl > d.dpl)) raise(vector, error);
    if (!d.present) raise(EXC.np, error);
    this.tables.markAccessed(d);
    this.set(seg, selector, d);
  }

  /** Loads SS for privilege level `cpl` in protected mode. */
  loadStack(selector: number, cpl: number, vector: number, ext: number): void {
    if (isNull(selector)) {
      const allowed = this.ctx.state.int(L.CODE_MODE) === MODE.code64 && cpl !== 3 && (selector & 3) === cpl;
      if (!allowed) raise(vector, vector === EXC.ts ? errorOf(selector) | ext : ext);
      this.setNull(L.SEG.ss, selector);
      return;
    }
    const d = this.#scratch;
    this.checkStack(selector, cpl, vector, ext, d);
    this.tables.markAccessed(d);
    this.set(L.SEG.ss, selector, d);
  }

  /** Fetches a stack segment's descriptor for privilege level `cpl` and raises what is wrong with it. */
  checkStack(selector: number, cpl: number, vector: number, ext: number, into: Descriptor): void {
    const error = errorOf(selector) | ext;
    if (!this.tables.fetch(selector, into)) raise(vector, error);
    if ((selector & 3) !== cpl || !into.isWritableData || into.dpl !== cpl) raise(vector, error);
    if (!into.present) raise(EXC.ss, error);
  }

  /** After a return to outer privilege: data segments that the new level may not use become null (SDM vol. 3A, 5.8.6). */
  dropPrivileged(cpl: number): void {
    for (let seg = 0; seg < 6; seg++) {
      if (seg === L.SEG.cs || seg === L.SEG.ss) continue;
      const attr = this.ctx.state.segAttr(seg);
      if ((attr & L.ATTR_UNUSABLE) !== 0) continue;
      const conforming = (attr & (ATTR.code | ATTR.downConform)) === (ATTR.code | ATTR.downConform);
      if (!conforming && ((attr >>> 5) & 3) < cpl) this.setNull(seg, 0);
    }
  }
}
