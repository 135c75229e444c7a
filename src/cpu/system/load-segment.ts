/**
 * Instructions that load or examine segment descriptors: MOV Sreg, POP Sreg, LDS/LES/LSS/LFS/LGS, LLDT, LTR, VERR, VERW, LAR, LSL, ARPL.
 * Intel SDM vol. 2, under each name.
 */
import { type CpuContext, DONE, EXC, type HelperTable, raise } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG } from "../state.ts";
import { Descriptor, errorOf, isNull, SYS } from "./descriptor.ts";
import type { Mmu } from "./mmu.ts";
import { hasMemory, isCanonical, operandSize, requireCpl0, writeRegister } from "./operands.ts";
import type { Segmentation } from "./segmentation.ts";
import { GuestStack } from "./segmentation-stack.ts";

/** Value of SHADOW that MOV SS and POP SS cast over the next boundary. */
export const SHADOW_MOV_SS = 2;
/** System types that LAR and LSL accept in legacy modes and in IA-32e mode, one bit each. */
const LAR_LEGACY = 0b0001_1010_0011_1110;
const LAR_LONG = 0b0001_1010_0000_0100;
const LSL_LEGACY = 0b0000_1010_0000_1110;
const LSL_LONG = 0b0000_1010_0000_0100;

class SegmentLoads {
  readonly #ctx: CpuContext;
  readonly #mmu: Mmu;
  readonly #seg: Segmentation;
  readonly #stack: GuestStack;
  readonly #d = new Descriptor();

  constructor(ctx: CpuContext, mmu: Mmu, seg: Segmentation) {
    this.#ctx = ctx;
    this.#mmu = mmu;
    this.#seg = seg;
    this.#stack = new GuestStack(ctx, mmu);
  }

  /** The 16-bit source operand (ModRM.rm). */
  #source(record: number): number {
    const s = this.#ctx.state;
    if (!hasMemory(s, record)) return s.u16[(s.base + s.u8[record + L.REC.r2]!) >>> 1]!;
    this.#mmu.loadOperand(record, 2);
    return this.#mmu.lo & 0xffff;
  }

  #castShadow(seg: number): void {
    if (seg !== L.SEG.ss) return;
    const s = this.#ctx.state;
    s.setLo(L.SHADOW, SHADOW_MOV_SS);
    s.setLo(L.SHADOW_COUNT, s.int(L.COUNT) + s.int(L.DEBT));
  }

  movSreg(record: number): number {
    const seg = this.#ctx.state.u8[record + L.REC.aux]!;
    if (seg === L.SEG.cs || seg > L.SEG.gs) raise(EXC.ud);
    this.#seg.load(seg, this.#source(record));
    this.#castShadow(seg);
    return DONE.next;
  }

  popSreg(record: number): number {
    const s = this.#ctx.state;
    const seg = s.u8[record + L.REC.aux]!;
    const long = s.codeMode === 2;
    const size = long && operandSize(s, record) === 4 ? 8 : operandSize(s, record);
    const stack = this.#stack;
    stack.useCurrent(long);
    const selector = stack.peek(0, size) & 0xffff;
    this.#seg.load(seg, selector);
    stack.drop(size);
    stack.commit();
    this.#castShadow(seg);
    return DONE.next;
  }

  /** LDS and its kin: the offset to a register, the selector behind it to a segment register. */
  farPointer(record: number): number {
    const s = this.#ctx.state;
    if (!hasMemory(s, record)) raise(EXC.ud);
    const size = operandSize(s, record);
    this.#mmu.loadOperand(record, size + 2);
    const low = this.#mmu.lo;
    const high = this.#mmu.hi;
    const selector = s.u16[(s.base + L.SLOW_DATA + size) >>> 1]!;
    this.#seg.load(s.u8[record + L.REC.aux]!, selector);
    writeRegister(s, s.u8[record + L.REC.r1]!, size, low, high);
    return DONE.next;
  }

  lldt(record: number): number {
    this.#requireProtected();
    requireCpl0(this.#ctx.state);
    const selector = this.#source(record);
    if (isNull(selector)) {
      this.#seg.setNull(L.SEG.ldtr, selector);
      return DONE.next;
    }
    this.#systemDescriptor(selector, 1 << SYS.ldt);
    this.#setSystem(L.SEG.ldtr, selector);
    return DONE.next;
  }

  ltr(record: number): number {
    this.#requireProtected();
    requireCpl0(this.#ctx.state);
    const selector = this.#source(record);
    if (isNull(selector)) raise(EXC.gp, 0);
    const types = this.#seg.longMode ? 1 << SYS.tss32 : (1 << SYS.tss32) | (1 << SYS.tss16);
    this.#systemDescriptor(selector, types);
    this.#seg.tables.markBusy(this.#d.address, true);
    this.#d.attr |= 2;
    this.#setSystem(L.SEG.tr, selector);
    return DONE.next;
  }

  /** Fetches an LDT or TSS descriptor from the GDT; `types` is a set of system types. */
  #systemDescriptor(selector: number, types: number): void {
    const d = this.#d;
    const error = errorOf(selector);
    if ((selector & 4) !== 0 || !this.#seg.tables.fetch(selector, d)) raise(EXC.gp, error);
    if (d.isSegment || ((types >>> d.type) & 1) === 0) raise(EXC.gp, error);
    if (!d.present) raise(EXC.np, error);
    if (!this.#seg.longMode) return;
    if (!this.#seg.tables.fetchUpper(d) || !isCanonical(d.upperLo)) raise(EXC.gp, error);
  }

  #setSystem(seg: number, selector: number): void {
    const d = this.#d;
    this.#seg.set(seg, selector, d);
    this.#ctx.state.set64(L.SEG_BASE + seg * 8, d.base, d.upperLo);
  }

  #requireProtected(): void {
    if (this.#seg.realOrVm86) raise(EXC.ud);
  }

  #setZero(on: boolean): void {
    const s = this.#ctx.state;
    s.setArithmetic(on ? s.eflags | FLAG.zf : s.eflags & ~FLAG.zf);
  }

  /** Fetches the descriptor that LAR, LSL, VERR and VERW examine; false when it cannot be seen from here. */
  #visible(selector: number): boolean {
    const d = this.#d;
    if (isNull(selector) || !this.#seg.tables.fetch(selector, d)) return false;
    return d.isConforming || (d.dpl >= this.#ctx.state.int(L.CPL) && d.dpl >= (selector & 3));
  }

  verify(record: number, write: boolean): number {
    this.#requireProtected();
    const selector = this.#source(record);
    const d = this.#d;
    this.#setZero(this.#visible(selector) && (write ? d.isWritableData : d.isReadable));
    return DONE.next;
  }

  /** LAR and LSL: the register changes only when ZF becomes 1. */
  examine(record: number, limit: boolean): number {
    this.#requireProtected();
    const s = this.#ctx.state;
    const selector = this.#source(record);
    const d = this.#d;
    const long = this.#seg.longMode;
    const types = limit ? (long ? LSL_LONG : LSL_LEGACY) : long ? LAR_LONG : LAR_LEGACY;
    const fine = this.#visible(selector) && (d.isSegment || ((types >>> d.type) & 1) !== 0);
    if (fine) {
      const value = limit ? d.limit : d.hi & 0x00ffff00;
      writeRegister(s, s.u8[record + L.REC.r1]!, operandSize(s, record), value, 0);
    }
    this.#setZero(fine);
    return DONE.next;
  }

  arpl(record: number): number {
    this.#requireProtected();
    const s = this.#ctx.state;
    const rpl = s.u8[s.base + s.u8[record + L.REC.r1]!]! & 3;
    const memory = hasMemory(s, record);
    const register = (s.base + s.u8[record + L.REC.r2]!) >>> 1;
    if (memory && this.#mmu.slowRmw(s.u8[record + L.REC.seg]! >>> 3, 2) !== 0) this.#mmu.throwFault();
    const selector = memory ? s.lo(L.SLOW_DATA) & 0xffff : s.u16[register]!;
    const adjust = (selector & 3) < rpl;
    if (adjust && !memory) s.u16[register] = (selector & ~3) | rpl;
    if (adjust && memory) {
      s.setLo(L.SLOW_DATA, (selector & ~3) | rpl);
      this.#mmu.commitRmw();
    }
    this.#setZero(adjust);
    return DONE.next;
  }
}

/** Helpers by name. Operands: see each instruction; `aux` is the segment register's number, r1 ModRM.reg, r2 ModRM.rm. */
export function segmentationHelpers(ctx: CpuContext, mmu: Mmu, seg: Segmentation): HelperTable {
  const loads = new SegmentLoads(ctx, mmu, seg);
  const pointer = (record: number): number => loads.farPointer(record);
  return {
    mov_sreg: record => loads.movSreg(record),
    pop_sreg: record => loads.popSreg(record),
    les: pointer,
    lds: pointer,
    lss: pointer,
    lfs: pointer,
    lgs: pointer,
    lldt: record => loads.lldt(record),
    ltr: record => loads.ltr(record),
    verr: record => loads.verify(record, false),
    verw: record => loads.verify(record, true),
    lar: record => loads.examine(record, false),
    lsl: record => loads.examine(record, true),
    arpl: record => loads.arpl(record),
  };
}
