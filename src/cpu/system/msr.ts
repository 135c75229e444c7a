/**
 * Model-specific registers: RDMSR and WRMSR. Intel SDM vol. 4, tables 2-2 (architectural MSRs) and 2-15 (Nehalem); AMD64 APM vol. 2, appendix A for
 * vendor AMD. An index that is not listed here raises #GP(0), reserved bits too.
 *
 * Not modelled: DEBUGCTL's BTF and LBR are stored and do nothing; machine-check banks (MCG_CAP says 0); performance counters; thermal and power MSRs;
 * P-states (PERF_STATUS tells one ratio). MISC_ENABLE's switches act where CPUID shows them (MONITOR, limit CPUID, XD disable).
 */
import { EVENT } from "../../ports/events.ts";
import { type CpuContext, DONE, EXC, type HelperTable, raise } from "../context.ts";
import * as L from "../layout.ts";
import { CR0, EFER } from "./control-bits.ts";
import type { TlbPort } from "./helper-ports.ts";
import {
  CORE_RATIO,
  FEATURE_CONTROL_LOCK,
  HWCR_TSC_FREQ_SEL,
  MSR_INDEX as I,
  MICROCODE,
  MISC_ENABLE,
  MISC_ENABLE_RESET,
  PAT_RESET_WORD,
} from "./msr-index.ts";
import type { Tsc } from "./msr-tsc.ts";
import { MTRR_CAP, mtrrOffset, writeMtrr } from "./mtrr.ts";
import { isCanonical, requireCpl0 } from "./operands.ts";

const MISC_ENABLE_WRITABLE =
  MISC_ENABLE.fastStrings |
  MISC_ENABLE.thermalControl |
  MISC_ENABLE.speedStep |
  MISC_ENABLE.monitor |
  MISC_ENABLE.limitCpuid |
  MISC_ENABLE.xtprDisable;
const MISC_ENABLE_READ_ONLY = MISC_ENABLE.btsUnavailable | MISC_ENABLE.pebsUnavailable | (1 << 7);
/** DEBUGCTL: LBR and BTF. */
const DEBUGCTL_WRITABLE = 3;
/** MCG_STATUS: RIPV, EIPV, MCIP. */
const MCG_STATUS_WRITABLE = 7;
/** SYSCFG: MtrrFixDramEn, MtrrFixDramModEn, MtrrVarDramEn, MtrrTom2En, Tom2ForceMemTypeWB. */
const SYSCFG_WRITABLE = 0x7c0000;
const APIC_BASE_EXTD = 0x400;

/** All MSRs of one processor. The plain ones lie in the register area (layout MSR). */
export class Msrs {
  readonly #ctx: CpuContext;
  readonly #tlb: TlbPort;
  readonly #tsc: Tsc;
  readonly #amd: boolean;
  /** Result of {@link read}, unsigned words. */
  lo = 0;
  hi = 0;
  /** Set by {@link write} when translation or decoding may have changed. */
  changed = false;

  constructor(ctx: CpuContext, tlb: TlbPort, tsc: Tsc) {
    this.#ctx = ctx;
    this.#tlb = tlb;
    this.#tsc = tsc;
    this.#amd = ctx.model.vendor === "AuthenticAMD";
  }

  /** Power-on values of the MSRs that do not start as 0. INIT leaves these alone (SDM vol. 3A, table 9-1), except that the PAT stays too. */
  reset(): void {
    const s = this.#ctx.state;
    for (let offset = L.MSR.star; offset <= L.MSR.microcode; offset += 8) s.set64(offset, 0, 0);
    s.set64(L.MSR.pat, PAT_RESET_WORD, PAT_RESET_WORD);
    // The slots of two Intel-only MSRs hold AMD's HWCR and SYSCFG.
    s.set64(L.MSR.miscEnable, this.#amd ? HWCR_TSC_FREQ_SEL : MISC_ENABLE_RESET, 0);
    s.set64(L.MSR.microcode, this.#amd ? MICROCODE.amd : 0, this.#amd ? 0 : MICROCODE.intel);
  }

  /** Reads MSR `index` into lo and hi. False: #GP(0). */
  read(index: number): boolean {
    if (index >= I.x2apicFirst && index <= I.x2apicLast) return this.#ctx.model.has("x2apic") && this.#readApic(index);
    switch (index) {
      case I.tsc:
        this.#tsc.read();
        return this.#give(this.#tsc.lo, this.#tsc.hi);
      case I.apicBase:
        return this.#readApic(index);
      case I.tscDeadline:
        return this.#ctx.model.has("tscDeadline") && this.#readApic(index);
      case I.mtrrCap:
        return this.#ctx.model.has("mtrr") && this.#give(MTRR_CAP, 0);
      case I.mcgCap:
        return this.#ctx.model.has("mca") && this.#give(0, 0);
      case I.efer:
        return this.#readSlot(L.EFER);
      case I.biosSignId:
        return this.#readSlot(L.MSR.microcode);
    }
    const slot = this.#slot(index);
    if (slot >= 0) return this.#readSlot(slot);
    return !this.#amd && this.#readIntelConstant(index);
  }

  #give(low: number, high: number): boolean {
    this.lo = low >>> 0;
    this.hi = high >>> 0;
    return true;
  }

  #readSlot(offset: number): boolean {
    return this.#give(this.#ctx.state.lo(offset), this.#ctx.state.hi(offset));
  }

  #readApic(index: number): boolean {
    const apic = this.#ctx.apic;
    return apic.readMsr(index) && this.#give(apic.msrLow, apic.msrHigh);
  }

  #readIntelConstant(index: number): boolean {
    switch (index) {
      case I.platformId:
        return this.#give(0, 0);
      case I.smiCount:
        return this.#give(this.#ctx.state.lo(L.SMI_COUNT), 0);
      case I.platformInfo:
      case I.perfStatus:
        return this.#give(CORE_RATIO << 8, 0);
    }
    return false;
  }

  /** Storage of an MSR that reads back what was written; −1 when it has none. */
  #slot(index: number): number {
    switch (index) {
      case I.tscAdjust:
        return this.#amd ? -1 : L.MSR.tscAdjust;
      case I.sysenterCs:
        return this.#ctx.model.has("sep") ? L.MSR.sysenterCs : -1;
      case I.sysenterEsp:
        return this.#ctx.model.has("sep") ? L.MSR.sysenterEsp : -1;
      case I.sysenterEip:
        return this.#ctx.model.has("sep") ? L.MSR.sysenterEip : -1;
      case I.mcgStatus:
        return this.#ctx.model.has("mca") ? L.MSR.mcgStatus : -1;
      case I.debugCtl:
        return L.MSR.debugCtl;
      case I.miscEnable:
        return this.#amd ? -1 : L.MSR.miscEnable;
      case I.featureControl:
        return this.#amd ? -1 : L.MSR.featureControl;
      case I.amdHwcr:
        return this.#amd ? L.MSR.miscEnable : -1;
      case I.amdSyscfg:
        return this.#amd ? L.MSR.featureControl : -1;
    }
    return index >= I.efer ? this.#longModeSlot(index) : this.#mtrrSlot(index);
  }

  #mtrrSlot(index: number): number {
    const offset = mtrrOffset(index);
    if (offset < 0) return -1;
    return this.#ctx.model.has(offset === L.MSR.pat ? "pat" : "mtrr") ? offset : -1;
  }

  #longModeSlot(index: number): number {
    const model = this.#ctx.model;
    if (index === I.tscAux) return model.has("rdtscp") ? L.MSR.tscAux : -1;
    if (index === I.star) return model.has("syscall") ? L.MSR.star : -1;
    if (!model.has("lm")) return -1;
    switch (index) {
      case I.lstar:
        return L.MSR.lstar;
      case I.cstar:
        return L.MSR.cstar;
      case I.sfmask:
        return L.MSR.sfmask;
      case I.fsBase:
        return L.SEG_BASE + L.SEG.fs * 8;
      case I.gsBase:
        return L.SEG_BASE + L.SEG.gs * 8;
      case I.kernelGsBase:
        return L.MSR.kernelGsBase;
    }
    return -1;
  }

  /** Writes MSR `index`; words unsigned. False: #GP(0), nothing was written. Sets {@link changed}. */
  write(index: number, low: number, high: number): boolean {
    this.changed = false;
    const ctx = this.#ctx;
    if (index >= I.x2apicFirst && index <= I.x2apicLast) {
      return ctx.model.has("x2apic") && ctx.apic.writeMsr(index, low, high);
    }
    switch (index) {
      case I.tscDeadline:
        return ctx.model.has("tscDeadline") && ctx.apic.writeMsr(index, low, high);
      case I.tsc:
        this.#tsc.write(low, high);
        return this.#rearmDeadline();
      case I.tscAdjust:
        if (this.#amd) return false;
        this.#tsc.writeAdjust(low, high);
        return this.#rearmDeadline();
      case I.apicBase:
        return this.#writeApicBase(low, high);
      case I.efer:
        return this.#writeEfer(low, high);
      // Intel: writing 0 and CPUID is how the revision is asked for; the value does not stick. AMD: the patch level is read-only.
      case I.biosSignId:
        return !this.#amd;
    }
    if (this.#mtrrSlot(index) >= 0) return writeMtrr(ctx.state, index, low, high);
    return this.#writeSlot(index, low, high);
  }

  #writeSlot(index: number, low: number, high: number): boolean {
    const s = this.#ctx.state;
    const slot = this.#slot(index);
    if (slot < 0) return false;
    switch (index) {
      case I.lstar:
      case I.cstar:
      case I.fsBase:
      case I.gsBase:
      case I.kernelGsBase:
        if (!isCanonical(high)) return false;
        break;
      case I.sysenterEsp:
      case I.sysenterEip:
        // AMD keeps 32 bits: SYSENTER works in legacy mode only there (APM vol. 2, 6.1.2).
        if (this.#amd) high = 0;
        else if (!isCanonical(high)) return false;
        break;
      case I.sysenterCs:
        high = 0;
        break;
      case I.sfmask:
      case I.tscAux:
        if (high !== 0) return false;
        break;
      case I.mcgStatus:
        if (high !== 0 || low & ~MCG_STATUS_WRITABLE) return false;
        break;
      case I.debugCtl:
        if (high !== 0 || low & ~DEBUGCTL_WRITABLE) return false;
        break;
      case I.amdSyscfg:
        if (high !== 0 || low & ~SYSCFG_WRITABLE) return false;
        break;
      case I.amdHwcr:
        if (high !== 0) return false;
        break;
      case I.miscEnable:
        return this.#writeMiscEnable(low, high);
      case I.featureControl:
        if (high !== 0 || low & ~FEATURE_CONTROL_LOCK || s.lo(slot) & FEATURE_CONTROL_LOCK) return false;
        break;
    }
    s.set64(slot, low, high);
    return true;
  }

  #writeMiscEnable(low: number, high: number): boolean {
    const allowed = MISC_ENABLE_WRITABLE | MISC_ENABLE_READ_ONLY;
    if (low & ~allowed || high & ~MISC_ENABLE.xdDisableHigh) return false;
    const s = this.#ctx.state;
    s.set64(
      L.MSR.miscEnable,
      (low & MISC_ENABLE_WRITABLE) | (s.lo(L.MSR.miscEnable) & MISC_ENABLE_READ_ONLY),
      high & MISC_ENABLE.xdDisableHigh,
    );
    return true;
  }

  /** The register page may have moved or vanished: cached translations of it are stale. */
  #writeApicBase(low: number, high: number): boolean {
    const ctx = this.#ctx;
    if (!ctx.model.has("x2apic") && low & APIC_BASE_EXTD) return false;
    if (!ctx.apic.writeMsr(I.apicBase, low, high)) return false;
    this.#tlb.flushAll();
    this.changed = true;
    return true;
  }

  /** The timer's deadline is an absolute TSC value: when the TSC jumps, the same deadline lies at another time. */
  #rearmDeadline(): boolean {
    const { apic, model } = this.#ctx;
    if (model.has("tscDeadline") && apic.readMsr(I.tscDeadline)) {
      const low = apic.msrLow;
      const high = apic.msrHigh;
      if ((low | high) !== 0) apic.writeMsr(I.tscDeadline, low, high);
    }
    return true;
  }

  /** SDM vol. 3A, 2.2.1 and 9.8.5: reserved bits, and a change of LME while paging is on, raise #GP(0). */
  #writeEfer(low: number, high: number): boolean {
    const { state: s, model } = this.#ctx;
    let allowed: number = EFER.lma;
    if (model.has("syscall")) allowed |= EFER.sce;
    if (model.has("lm")) allowed |= EFER.lme;
    if (model.has("nx") && !(s.hi(L.MSR.miscEnable) & MISC_ENABLE.xdDisableHigh)) allowed |= EFER.nxe;
    const old = s.lo(L.EFER);
    if (high !== 0 || low & ~allowed) return false;
    if ((low ^ old) & EFER.lme && s.int(L.CR0) & CR0.pg) return false;
    // LMA is the processor's. Intel ignores what is written there; AMD wants it unchanged (APM vol. 2, 3.1.7).
    if (this.#amd && (low ^ old) & EFER.lma) return false;
    s.set64(L.EFER, (low & ~EFER.lma) | (old & EFER.lma), 0);
    if ((low ^ old) & EFER.nxe) {
      this.#tlb.flushAll();
      this.changed = true;
    }
    return true;
  }
}

/** RDMSR and WRMSR: index in ECX, value in EDX:EAX; #GP(0) unless CPL is 0. */
export function msrHelpers(ctx: CpuContext, msrs: Msrs): HelperTable {
  const s = ctx.state;
  const RAX = L.GPR + L.REG.rax * 8;
  const RCX = L.GPR + L.REG.rcx * 8;
  const RDX = L.GPR + L.REG.rdx * 8;
  return {
    rdmsr: () => {
      requireCpl0(s);
      const index = s.lo(RCX);
      if (!msrs.read(index)) raise(EXC.gp, 0);
      s.set64(RAX, msrs.lo, 0);
      s.set64(RDX, msrs.hi, 0);
      if (ctx.trace.wants[EVENT.msrRead] !== 0) ctx.trace.emit(EVENT.msrRead, ctx.index, index, msrs.lo, msrs.hi, 0);
      return DONE.next;
    },
    wrmsr: record => {
      requireCpl0(s);
      const index = s.lo(RCX);
      const low = s.lo(RAX);
      const high = s.lo(RDX);
      if (!msrs.write(index, low, high)) raise(EXC.gp, 0);
      if (ctx.trace.wants[EVENT.msrWrite] !== 0) ctx.trace.emit(EVENT.msrWrite, ctx.index, index, low, high, 0);
      if (!msrs.changed) return DONE.next;
      ctx.advance(record);
      return DONE.changed;
    },
  };
}
