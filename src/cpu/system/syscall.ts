/**
 * Fast system calls and what goes with them: SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE. Intel SDM vol. 2B and
 * vol. 3A, sections 5.8.7 and 5.8.8; AMD64 APM vol. 3 for vendor AMD.
 *
 * Differences between the vendors: AMD executes SYSCALL and SYSRET outside 64-bit mode too, and SYSENTER and SYSEXIT in legacy mode only; AMD's SYSRET
 * does not check that RCX is canonical and leaves SS's attributes alone.
 *
 * The segment caches are written directly: base 0 (SEG_BASE of CS and SS reads 0 in 64-bit mode anyway), limit 4 GiB, fixed attributes. A change between 64-bit and other code has segmentation recompute what
 * derives from them.
 */
import { EVENT } from "../../ports/events.ts";
import { type CpuContext, DONE, EXC, type HelperTable, raise } from "../context.ts";
import * as L from "../layout.ts";
import { type CpuState, FLAG, MODE } from "../state.ts";
import { CR0, CR4, EFER } from "./control-bits.ts";
import type { SegmentationPort, TlbPort } from "./helper-ports.ts";
import { isCanonical, requireCpl0 } from "./operands.ts";

/** Attributes: P, S, G, type 11 (code, execute/read, accessed), L or D; data: type 3 (read/write, accessed), B. DPL is added. */
const CODE64 = 0xa09b;
const CODE32 = 0xc09b;
const DATA32 = 0xc093;
const DPL3 = 0x60;
/** What SYSRET takes from R11: all defined flags but RF and VM; bit 1 is set. */
const SYSRET_FLAGS = 0x3c7fd7;
const RCX = L.GPR + L.REG.rcx * 8;
const RDX = L.GPR + L.REG.rdx * 8;
const RSP = L.GPR + L.REG.rsp * 8;
const R11 = L.GPR + L.REG.r11 * 8;
const FS_BASE = L.SEG_BASE + L.SEG.fs * 8;
const GS_BASE = L.SEG_BASE + L.SEG.gs * 8;

class FastCalls {
  readonly #ctx: CpuContext;
  readonly #s: CpuState;
  readonly #tlb: TlbPort;
  readonly #seg: SegmentationPort;
  readonly #amd: boolean;
  readonly #hasSyscall: boolean;
  readonly #hasSysenter: boolean;

  constructor(ctx: CpuContext, tlb: TlbPort, seg: SegmentationPort) {
    this.#ctx = ctx;
    this.#s = ctx.state;
    this.#tlb = tlb;
    this.#seg = seg;
    this.#amd = ctx.model.vendor === "AuthenticAMD";
    this.#hasSyscall = ctx.model.has("syscall");
    this.#hasSysenter = ctx.model.has("sep");
  }

  /** Loads CS and SS caches flat and sets CPL. `sameMode`: the code was and is 64-bit, so that nothing else derives from the segments. */
  #flat(cs: number, csAttr: number, ss: number, ssAttr: number, cpl: number, sameMode: boolean): void {
    const s = this.#s;
    s.setLo(L.SEG_SELECTOR + L.SEG.cs * 4, cs);
    s.setLo(L.SEG_HIDDEN_BASE + L.SEG.cs * 4, 0);
    s.setLo(L.SEG_LIMIT + L.SEG.cs * 4, -1);
    s.setLo(L.SEG_ATTR + L.SEG.cs * 4, csAttr);
    s.setLo(L.SEG_SELECTOR + L.SEG.ss * 4, ss);
    if (ssAttr !== 0) {
      s.setLo(L.SEG_HIDDEN_BASE + L.SEG.ss * 4, 0);
      s.setLo(L.SEG_LIMIT + L.SEG.ss * 4, -1);
      s.setLo(L.SEG_ATTR + L.SEG.ss * 4, ssAttr);
    }
    s.setLo(L.CPL, cpl);
    if (!sameMode) this.#seg.recompute();
    this.#tlb.selectBank();
    const { trace } = this.#ctx;
    if (trace.wants[EVENT.cpl] !== 0) trace.emit(EVENT.cpl, this.#ctx.index, cpl, 0, 0, 0);
  }

  syscall(record: number): number {
    const s = this.#s;
    const efer = s.lo(L.EFER);
    const mode = s.int(L.CODE_MODE);
    if (!this.#hasSyscall || !(efer & EFER.sce)) raise(EXC.ud);
    if (mode !== MODE.code64) {
      if (!this.#amd || !(s.int(L.CR0) & CR0.pe) || s.vm86) raise(EXC.ud);
      if (!(efer & EFER.lma)) return this.#legacySyscall(record);
    }
    const flags = s.eflags;
    const selector = s.hi(L.MSR.star) & 0xffff;
    s.setNum(RCX, this.#ctx.nextRip(record));
    s.set64(R11, this.#amd ? flags & ~FLAG.rf : flags, 0);
    const target = mode === MODE.code64 ? L.MSR.lstar : L.MSR.cstar;
    s.set64(L.RIP, s.lo(target), s.hi(target));
    s.eflags = flags & ~s.int(L.MSR.sfmask) & ~FLAG.rf;
    this.#flat(selector & 0xfffc, CODE64, (selector + 8) & 0xffff, DATA32, 0, mode === MODE.code64);
    return DONE.changed;
  }

  /** AMD, legacy protected mode: target and selectors in STAR, IF, VM and RF cleared, return address in ECX. */
  #legacySyscall(record: number): number {
    const s = this.#s;
    const selector = s.hi(L.MSR.star) & 0xffff;
    s.set64(RCX, this.#ctx.nextRip(record) >>> 0, 0);
    s.set64(L.RIP, s.lo(L.MSR.star), 0);
    s.eflags = s.eflags & ~(FLAG.if | FLAG.vm | FLAG.rf);
    this.#flat(selector & 0xfffc, CODE32, (selector + 8) & 0xffff, DATA32, 0, false);
    return DONE.changed;
  }

  sysret(record: number): number {
    const s = this.#s;
    const efer = s.lo(L.EFER);
    const mode = s.int(L.CODE_MODE);
    if (!this.#hasSyscall || !(efer & EFER.sce)) raise(EXC.ud);
    if (mode !== MODE.code64 && (!this.#amd || !(s.int(L.CR0) & CR0.pe) || s.vm86)) raise(EXC.ud);
    requireCpl0(s);
    const wide = mode === MODE.code64 && (s.u8[record + L.REC.prefix]! & L.PFX.opSize64) !== 0;
    // Intel checks here, at CPL 0; on AMD the fetch at CPL 3 will fault.
    if (wide && !this.#amd && !isCanonical(s.hi(RCX))) raise(EXC.gp, 0);
    const selector = s.hi(L.MSR.star) >>> 16;
    s.set64(L.RIP, s.lo(RCX), wide ? s.hi(RCX) : 0);
    // AMD in legacy mode has no R11: only IF is set.
    s.eflags = efer & EFER.lma ? (s.int(R11) & SYSRET_FLAGS) | 2 : s.eflags | FLAG.if;
    this.#flat(
      ((wide ? selector + 16 : selector) & 0xffff) | 3,
      (wide ? CODE64 : CODE32) | DPL3,
      ((selector + 8) & 0xffff) | 3,
      this.#amd ? 0 : DATA32 | DPL3,
      3,
      wide,
    );
    return DONE.changed;
  }

  #checkSysenter(): void {
    const s = this.#s;
    if (!this.#hasSysenter || (this.#amd && s.longMode)) raise(EXC.ud);
    if (!(s.int(L.CR0) & CR0.pe) || (s.lo(L.MSR.sysenterCs) & 0xfffc) === 0) raise(EXC.gp, 0);
  }

  sysenter(): number {
    this.#checkSysenter();
    const s = this.#s;
    const long = s.longMode;
    const selector = s.lo(L.MSR.sysenterCs) & 0xfffc;
    const sameMode = s.int(L.CODE_MODE) === MODE.code64;
    s.setLo(L.FLAG_OTHER, s.int(L.FLAG_OTHER) & ~(FLAG.vm | FLAG.if | FLAG.rf));
    s.set64(RSP, s.lo(L.MSR.sysenterEsp), long ? s.hi(L.MSR.sysenterEsp) : 0);
    s.set64(L.RIP, s.lo(L.MSR.sysenterEip), long ? s.hi(L.MSR.sysenterEip) : 0);
    this.#flat(selector, long ? CODE64 : CODE32, (selector + 8) & 0xffff, DATA32, 0, sameMode);
    return DONE.changed;
  }

  sysexit(record: number): number {
    this.#checkSysenter();
    const s = this.#s;
    requireCpl0(s);
    const wide = (s.u8[record + L.REC.prefix]! & L.PFX.opSize64) !== 0;
    if (wide && !(isCanonical(s.hi(RCX)) && isCanonical(s.hi(RDX)))) raise(EXC.gp, 0);
    const selector = s.lo(L.MSR.sysenterCs) & 0xffff;
    const sameMode = wide && s.int(L.CODE_MODE) === MODE.code64;
    s.set64(RSP, s.lo(RCX), wide ? s.hi(RCX) : 0);
    s.set64(L.RIP, s.lo(RDX), wide ? s.hi(RDX) : 0);
    this.#flat(
      ((selector + (wide ? 32 : 16)) & 0xffff) | 3,
      (wide ? CODE64 : CODE32) | DPL3,
      ((selector + (wide ? 40 : 24)) & 0xffff) | 3,
      DATA32 | DPL3,
      3,
      sameMode,
    );
    return DONE.changed;
  }
}

/** SWAPGS and the four base instructions: 64-bit mode only. */
function baseHelpers(ctx: CpuContext): HelperTable {
  const s = ctx.state;
  const check = (): void => {
    if (s.int(L.CODE_MODE) !== MODE.code64 || !(s.int(L.CR4) & CR4.fsgsbase)) raise(EXC.ud);
  };
  const read = (record: number, base: number): number => {
    check();
    const wide = (s.u8[record + L.REC.prefix]! & L.PFX.opSize64) !== 0;
    s.set64(s.u8[record + L.REC.r2]!, s.lo(base), wide ? s.hi(base) : 0);
    return DONE.next;
  };
  const write = (record: number, base: number): number => {
    check();
    const wide = (s.u8[record + L.REC.prefix]! & L.PFX.opSize64) !== 0;
    const from = s.u8[record + L.REC.r2]!;
    const high = wide ? s.hi(from) : 0;
    if (!isCanonical(high)) raise(EXC.gp, 0);
    s.set64(base, s.lo(from), high);
    return DONE.next;
  };
  return {
    swapgs: () => {
      if (s.int(L.CODE_MODE) !== MODE.code64) raise(EXC.ud);
      requireCpl0(s);
      const low = s.lo(GS_BASE);
      const high = s.hi(GS_BASE);
      s.set64(GS_BASE, s.lo(L.MSR.kernelGsBase), s.hi(L.MSR.kernelGsBase));
      s.set64(L.MSR.kernelGsBase, low, high);
      return DONE.next;
    },
    rdfsbase: record => read(record, FS_BASE),
    rdgsbase: record => read(record, GS_BASE),
    wrfsbase: record => write(record, FS_BASE),
    wrgsbase: record => write(record, GS_BASE),
  };
}

export function syscallHelpers(ctx: CpuContext, tlb: TlbPort, seg: SegmentationPort): HelperTable {
  const calls = new FastCalls(ctx, tlb, seg);
  return {
    syscall: record => calls.syscall(record),
    sysret: record => calls.sysret(record),
    sysenter: () => calls.sysenter(),
    sysexit: record => calls.sysexit(record),
    ...baseHelpers(ctx),
  };
}
