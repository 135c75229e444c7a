/**
 * Control registers: MOV to and from CR0, CR2, CR3, CR4, CR8, CLTS, LMSW, SMSW, XGETBV, XSETBV, and the mode switches that hang on them. Intel SDM
 * vol. 3A, sections 2.5 (control registers), 4.1 (paging modes, 4.10.4.1 what they flush), 9.8.5 (entering and leaving IA-32e mode), 10.8.6 (CR8);
 * vol. 2, the instructions.
 *
 * Not modelled: caching (CD, NW, PCD, PWT are stored), CR4.MCE (no machine checks), PCIDs as tags (a CR3 write drops all non-global translations, which
 * is allowed), 5-level paging, protection keys, CET, VMX and SMX bits (reserved).
 */
import { type CpuContext, DONE, EXC, GuestFault, type HelperTable, raise } from "../context.ts";
import { fpTrap } from "../fp-trap.ts";
import * as L from "../layout.ts";
import type { CpuState } from "../state.ts";
import { CR0, CR4, cr4Allowed, EFER, PHYSICAL_BITS } from "./control-bits.ts";
import type { MemoryPort, PdpteLoader, SegmentationPort, TlbPort } from "./helper-ports.ts";
import { hasMemory, operandSize, requireCpl0, writeRegister } from "./operands.ts";

const CR0_WRITABLE = CR0.pe | CR0.mp | CR0.em | CR0.ts | CR0.ne | CR0.wp | CR0.am | CR0.nw | CR0.cd | CR0.pg;
/** A change of these makes PAE paging reload its PDPTEs (SDM vol. 3A, 4.4.1), and of the second set flush the TLBs (4.10.4.1). */
const CR0_RELOADS = CR0.cd | CR0.nw | CR0.pg;
const CR0_FLUSHES = CR0.pg | CR0.wp;
const CR4_RELOADS = CR4.pae | CR4.pge | CR4.pse | CR4.smep;
const CR4_FLUSHES = CR4.pae | CR4.pge | CR4.pse | CR4.smep | CR4.smap | CR4.pcide;
/** CR3 high word: bits above MAXPHYADDR; bit 63 apart. */
const CR3_HIGH_RESERVED = ~((1 << (PHYSICAL_BITS - 32)) - 1);
const CR3_NO_FLUSH = 0x80000000 | 0;
const TSS16_TYPES = (1 << 1) | (1 << 3);
const ATTR_L = 0x2000;
/** XCR0: x87 (must be 1) and SSE. */
const XCR0_ALLOWED = 3;

export class ControlRegisters {
  readonly #ctx: CpuContext;
  readonly #s: CpuState;
  readonly #tlb: TlbPort;
  readonly #seg: SegmentationPort;
  readonly #pdptes: PdpteLoader;
  readonly #cr4Allowed: number;

  constructor(ctx: CpuContext, tlb: TlbPort, seg: SegmentationPort, pdptes: PdpteLoader) {
    this.#ctx = ctx;
    this.#s = ctx.state;
    this.#tlb = tlb;
    this.#seg = seg;
    this.#pdptes = pdptes;
    this.#cr4Allowed = cr4Allowed(ctx.model);
  }

  /**
   * Writes CR0 with all checks and consequences; raises #GP(0) with nothing changed. RIP must already be where the next instruction is: the code mode
   * may change here.
   */
  writeCr0(low: number): void {
    const s = this.#s;
    const old = s.int(L.CR0);
    const value = (low & CR0_WRITABLE) | CR0.et;
    if (value & CR0.pg && !(value & CR0.pe)) raise(EXC.gp, 0);
    if (value & CR0.nw && !(value & CR0.cd)) raise(EXC.gp, 0);
    const toggled = old ^ value;
    if (toggled & CR0.pg) {
      if (value & CR0.pg) this.#checkPagingOn();
      else this.#checkPagingOff();
    }
    s.setLo(L.CR0, value);
    if (value & CR0.pg && toggled & CR0_RELOADS) this.#reload(L.CR0, old);
    if (toggled & CR0.pg) {
      const efer = s.lo(L.EFER);
      const on = (value & CR0.pg) !== 0 && (efer & EFER.lme) !== 0;
      s.setLo(L.EFER, on ? efer | EFER.lma : efer & ~EFER.lma);
    }
    s.setLo(L.FP_TRAP, fpTrap(s));
    if (toggled & CR0_FLUSHES) this.#tlb.flushAll();
    if (toggled & (CR0.pe | CR0.pg)) this.#seg.recompute();
    if (toggled & (CR0.pe | CR0.am)) this.#tlb.selectBank();
  }

  /** SDM vol. 3A, 9.8.5 and 4.1.2: with LME, paging needs PAE, a CS without L and a 32-bit TSS. */
  #checkPagingOn(): void {
    const s = this.#s;
    if (!(s.lo(L.EFER) & EFER.lme)) return;
    if (!(s.int(L.CR4) & CR4.pae)) raise(EXC.gp, 0);
    if (s.segAttr(L.SEG.cs) & ATTR_L) raise(EXC.gp, 0);
    if ((TSS16_TYPES >>> (s.segAttr(L.SEG.tr) & 0x1f)) & 1) raise(EXC.gp, 0);
  }

  /** Paging cannot go off in 64-bit mode, nor while PCIDs are on (MOV to CR0, "#GP(0)"). */
  #checkPagingOff(): void {
    const s = this.#s;
    if (s.codeMode === 2 || s.int(L.CR4) & CR4.pcide) raise(EXC.gp, 0);
  }

  /** In PAE paging outside IA-32e mode: loads the PDPTEs, or puts `old` back into the register at `offset` and faults. */
  #reload(offset: number, old: number): void {
    const s = this.#s;
    if (!(s.int(L.CR4) & CR4.pae) || s.lo(L.EFER) & EFER.lme) return;
    try {
      this.#pdptes.loadPdptes();
    } catch (fault) {
      if (fault instanceof GuestFault) s.setLo(offset, old);
      throw fault;
    }
  }

  /** Bit 63 asks to keep translations when CR4.PCIDE is set; else it is reserved. Ours are never kept. */
  writeCr3(low: number, high: number): void {
    const s = this.#s;
    if (s.int(L.CR4) & CR4.pcide) high &= ~CR3_NO_FLUSH;
    if (high & CR3_HIGH_RESERVED) raise(EXC.gp, 0);
    const oldLow = s.lo(L.CR3);
    const oldHigh = s.hi(L.CR3);
    s.set64(L.CR3, low, high);
    if (s.int(L.CR0) & CR0.pg && s.int(L.CR4) & CR4.pae && !(s.lo(L.EFER) & EFER.lma)) {
      try {
        this.#pdptes.loadPdptes();
      } catch (fault) {
        if (fault instanceof GuestFault) s.set64(L.CR3, oldLow, oldHigh);
        throw fault;
      }
    }
    this.#tlb.flushNonGlobal();
  }

  writeCr4(low: number): void {
    const s = this.#s;
    const old = s.int(L.CR4);
    const toggled = old ^ low;
    const lma = (s.lo(L.EFER) & EFER.lma) !== 0;
    if (low & ~this.#cr4Allowed) raise(EXC.gp, 0);
    if (lma && !(low & CR4.pae)) raise(EXC.gp, 0);
    // SDM vol. 3A, 4.10.1: PCIDE may go on only in IA-32e mode and with CR3[11:0] = 0.
    if (toggled & low & CR4.pcide && (!lma || s.lo(L.CR3) & 0xfff)) raise(EXC.gp, 0);
    s.setLo(L.CR4, low);
    if (s.int(L.CR0) & CR0.pg && toggled & CR4_RELOADS) this.#reload(L.CR4, old);
    s.setLo(L.FP_TRAP, fpTrap(s));
    if (toggled & CR4_FLUSHES) this.#tlb.flushAll();
    if (toggled & CR4.smap) this.#tlb.selectBank();
  }

  /** High words must be 0 for CR0, CR4 and CR8. Returns DONE. */
  move(record: number, number: number, low: number, high: number): number {
    const ctx = this.#ctx;
    switch (number) {
      case 0:
        if (high !== 0) raise(EXC.gp, 0);
        return this.#andAdvance(record, () => this.writeCr0(low));
      case 2:
        this.#s.set64(L.CR2, low, high);
        return DONE.next;
      case 3:
        this.writeCr3(low, high);
        break;
      case 4:
        if (high !== 0) raise(EXC.gp, 0);
        this.writeCr4(low);
        break;
      case 8:
        if (high !== 0 || low & ~0xf) raise(EXC.gp, 0);
        ctx.apic.writeCr8(low);
        return DONE.next;
    }
    ctx.advance(record);
    return DONE.changed;
  }

  /** Runs `write` with RIP behind the instruction, as the code mode in which that is computed may be gone after it. */
  #andAdvance(record: number, write: () => void): number {
    const rip = this.#ctx.nextRip(record);
    write();
    this.#s.setNum(L.RIP, rip);
    return DONE.changed;
  }

  /** LMSW: the low four bits of CR0, where PE can be set and not cleared. */
  lmsw(record: number, value: number): number {
    const old = this.#s.int(L.CR0);
    const low = (old & ~0xe) | (value & 0xf) | (old & CR0.pe);
    return this.#andAdvance(record, () => this.writeCr0(low));
  }
}

/** #UD for the numbers that name no control register. */
function checkNumber(number: number): void {
  if (number > 8 || number === 1 || (number >= 5 && number <= 7)) raise(EXC.ud);
}

function moveHelpers(ctx: CpuContext, cr: ControlRegisters): HelperTable {
  const s = ctx.state;
  return {
    mov_to_cr: record => {
      const number = s.u8[record + L.REC.aux]!;
      checkNumber(number);
      requireCpl0(s);
      const from = s.u8[record + L.REC.r2]!;
      return cr.move(record, number, s.lo(from), s.codeMode === 2 ? s.hi(from) : 0);
    },
    mov_from_cr: record => {
      const number = s.u8[record + L.REC.aux]!;
      checkNumber(number);
      requireCpl0(s);
      const to = s.u8[record + L.REC.r2]!;
      if (number === 8) s.set64(to, ctx.apic.readCr8(), 0);
      else {
        const offset = L.CR0 + (number === 0 ? 0 : number - 1) * 8;
        s.set64(to, s.lo(offset), s.codeMode === 2 ? s.hi(offset) : 0);
      }
      return DONE.next;
    },
    clts: record => {
      requireCpl0(s);
      const cr0 = s.int(L.CR0);
      if (!(cr0 & CR0.ts)) return DONE.next;
      s.setLo(L.CR0, cr0 & ~CR0.ts);
      s.setLo(L.FP_TRAP, fpTrap(s));
      ctx.advance(record);
      return DONE.changed;
    },
  };
}

function mswHelpers(ctx: CpuContext, cr: ControlRegisters, memory: MemoryPort): HelperTable {
  const s = ctx.state;
  return {
    lmsw: record => {
      requireCpl0(s);
      if (!hasMemory(s, record)) return cr.lmsw(record, s.lo(s.u8[record + L.REC.r2]!));
      memory.loadOperand(record, 2);
      return cr.lmsw(record, memory.lo);
    },
    smsw: record => {
      if (s.int(L.CR4) & CR4.umip) requireCpl0(s);
      const cr0 = s.lo(L.CR0);
      if (hasMemory(s, record)) {
        memory.lo = cr0 & 0xffff;
        memory.hi = 0;
        memory.storeOperand(record, 2);
      } else writeRegister(s, s.u8[record + L.REC.r2]!, operandSize(s, record), cr0, 0);
      return DONE.next;
    },
  };
}

function xcrHelpers(ctx: CpuContext): HelperTable {
  const s = ctx.state;
  const { rax, rcx, rdx } = L.REG;
  const requireXsave = (): void => {
    if (!(s.int(L.CR4) & CR4.osxsave)) raise(EXC.ud);
  };
  return {
    xgetbv: () => {
      requireXsave();
      if (s.lo(L.GPR + rcx * 8) !== 0) raise(EXC.gp, 0);
      s.set64(L.GPR + rax * 8, s.lo(L.XCR0), 0);
      s.set64(L.GPR + rdx * 8, s.hi(L.XCR0), 0);
      return DONE.next;
    },
    xsetbv: () => {
      requireXsave();
      requireCpl0(s);
      const value = s.lo(L.GPR + rax * 8);
      const bad = s.lo(L.GPR + rcx * 8) !== 0 || s.lo(L.GPR + rdx * 8) !== 0 || (value & ~XCR0_ALLOWED) !== 0;
      if (bad || !(value & 1)) raise(EXC.gp, 0);
      s.set64(L.XCR0, value, 0);
      return DONE.next;
    },
  };
}

export function controlRegisterHelpers(ctx: CpuContext, cr: ControlRegisters, memory: MemoryPort): HelperTable {
  return { ...moveHelpers(ctx, cr), ...mswHelpers(ctx, cr, memory), ...xcrHelpers(ctx) };
}
