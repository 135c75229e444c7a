/**
 * IRET, IRETD, IRETQ in every mode. Intel SDM vol. 2, "IRET/IRETD/IRETQ"; vol. 3A, 6.7.1 (NMIs are unblocked even when IRET faults), 20.2.7 and 20.3
 * (virtual-8086 mode), 7.4 (return from a nested task).
 */
import { EVENT } from "../../ports/events.ts";
import { type CpuContext, DONE, EXC, type HelperTable, raise } from "../context.ts";
import * as L from "../layout.ts";
import { type CpuState, FLAG, MODE } from "../state.ts";
import { CR0, CR4 } from "./control-bits.ts";
import { ReturnPath } from "./far-transfer-return.ts";
import type { Mmu } from "./mmu.ts";
import { operandSize } from "./operands.ts";
import type { Segmentation } from "./segmentation.ts";
import { GuestStack } from "./segmentation-stack.ts";
import { TASK, type TaskSwitch } from "./task-switch.ts";

/** CF, PF, AF, ZF, SF, TF, DF, OF, NT: any privilege may change these. */
const BASIC = 0x4dd5;
/** What 32- and 64-bit returns change besides. */
const EXTENDED = FLAG.rf | FLAG.ac | FLAG.id;

/**
 * RF counts for the instruction behind the return only, and there for instruction breakpoints only: when none is armed and nothing waits to be taken
 * first, it is gone at once. The same rule stands in isa/semantics/long-mode.ts.
 */
function dropResume(s: CpuState): void {
  const flags = s.int(L.FLAG_OTHER);
  if ((flags & FLAG.rf) === 0 || (s.int(L.DR7) & 0xff) !== 0 || s.int(L.PENDING_OFFSET) !== 0) return;
  s.setLo(L.FLAG_OTHER, flags & ~FLAG.rf);
}

export class InterruptReturn {
  readonly #ctx: CpuContext;
  readonly #mmu: Mmu;
  readonly #seg: Segmentation;
  readonly #tasks: TaskSwitch;
  readonly #stack: GuestStack;
  readonly #path: ReturnPath;
  /** The popped frame. */
  #ipLow = 0;
  #ipHigh = 0;
  #cs = 0;
  #flags = 0;
  #spLow = 0;
  #spHigh = 0;
  #ss = 0;

  constructor(ctx: CpuContext, mmu: Mmu, seg: Segmentation, tasks: TaskSwitch) {
    this.#ctx = ctx;
    this.#mmu = mmu;
    this.#seg = seg;
    this.#tasks = tasks;
    this.#stack = new GuestStack(ctx, mmu);
    this.#path = new ReturnPath(ctx, mmu, seg);
  }

  /** Returns with operands of `size` bytes. `next` is the address after the IRET (a nested task saves it). */
  run(size: number, next: number): void {
    const s = this.#ctx.state;
    s.setLo(L.NMI_BLOCKED, 0);
    if ((s.int(L.CR0) & CR0.pe) === 0) this.#real(size);
    else if (s.vm86) this.#virtual8086(size);
    else if ((s.int(L.FLAG_OTHER) & FLAG.nt) !== 0) this.#task(next);
    else if (s.int(L.CODE_MODE) === MODE.code64) this.#long(size);
    else this.#protected(size);
    dropResume(s);
    const { trace, index } = this.#ctx;
    if (trace.wants[EVENT.iret] !== 0) trace.emit(EVENT.iret, index, s.int(L.CPL), 0, 0, 0);
  }

  /** Replaces the flags in `mask`. */
  #setFlags(mask: number): void {
    const s = this.#ctx.state;
    s.setArithmetic(this.#flags);
    s.setLo(L.FLAG_OTHER, (s.int(L.FLAG_OTHER) & ~mask) | (this.#flags & mask & ~ARITHMETIC));
  }

  /** Reads IP, CS and FLAGS from the stack, and moves past them. */
  #popThree(size: number): void {
    const stack = this.#stack;
    stack.useCurrent(false);
    if (!stack.holds(0, size * 3)) raise(EXC.ss, 0);
    this.#ipLow = stack.peek(0, size);
    this.#ipHigh = size === 8 ? this.#mmu.hi : 0;
    this.#cs = stack.peek(size, size) & 0xffff;
    this.#flags = stack.peek(size * 2, size);
    stack.drop(size * 3);
  }

  #real(size: number): void {
    this.#popThree(size);
    if (this.#ipLow > this.#ctx.state.segLimit(L.SEG.cs)) raise(EXC.gp, 0);
    this.#stack.commit();
    this.#seg.setReal(L.SEG.cs, this.#cs);
    this.#ctx.state.set64(L.RIP, this.#ipLow, 0);
    const mask = BASIC | FLAG.if | FLAG.iopl;
    this.#setFlags(size === 2 ? mask : mask | EXTENDED);
    this.#seg.recompute();
  }

  #virtual8086(size: number): void {
    const s = this.#ctx.state;
    const other = s.int(L.FLAG_OTHER);
    const free = (other & FLAG.iopl) === FLAG.iopl;
    const virtual = !free && size === 2 && (s.int(L.CR4) & CR4.vme) !== 0;
    if (!free && !virtual) raise(EXC.gp, 0);
    this.#popThree(size);
    if (virtual) {
      const wantsInterrupt = (this.#flags & FLAG.if) !== 0 && (other & FLAG.vip) !== 0;
      if (wantsInterrupt || (this.#flags & FLAG.tf) !== 0) raise(EXC.gp, 0);
    }
    if (this.#ipLow > 0xffff) raise(EXC.gp, 0);
    this.#stack.commit();
    this.#seg.setVm86(L.SEG.cs, this.#cs);
    s.set64(L.RIP, this.#ipLow, 0);
    if (virtual) {
      const vif = (this.#flags & FLAG.if) !== 0 ? FLAG.vif : 0;
      this.#setFlags(BASIC);
      s.setLo(L.FLAG_OTHER, (s.int(L.FLAG_OTHER) & ~FLAG.vif) | vif);
    } else this.#setFlags(BASIC | FLAG.if | (size === 2 ? 0 : EXTENDED));
    this.#seg.recompute();
  }

  /** NT is set: back to the task that the TSS's link names. */
  #task(next: number): void {
    const s = this.#ctx.state;
    if (this.#seg.longMode) raise(EXC.gp, 0);
    const link = this.#mmu.read16(s.segBase(L.SEG.tr));
    const tss = this.#tasks.fetch(link, TASK.iret, EXC.ts, 0);
    this.#tasks.run(tss, TASK.iret, next, s.eflags, 0);
  }

  #mask(size: number): number {
    const s = this.#ctx.state;
    const cpl = s.int(L.CPL);
    let mask = size === 2 ? BASIC : BASIC | EXTENDED;
    if (cpl <= ((s.int(L.FLAG_OTHER) >>> 12) & 3)) mask |= FLAG.if;
    if (cpl === 0) mask |= size === 2 ? FLAG.iopl : FLAG.iopl | FLAG.vif | FLAG.vip;
    return mask;
  }

  /** From legacy or compatibility mode: SS:ESP is popped only by a return to an outer level. */
  #protected(size: number): void {
    const s = this.#ctx.state;
    const stack = this.#stack;
    const path = this.#path;
    this.#popThree(size);
    const cpl = s.int(L.CPL);
    if (size === 4 && cpl === 0 && (this.#flags & FLAG.vm) !== 0 && !this.#seg.longMode) {
      this.#toVirtual8086();
      return;
    }
    path.readCode(this.#cs);
    const outer = path.target > cpl;
    if (outer) {
      if (!stack.holds(0, size * 2)) raise(EXC.ss, 0);
      this.#spLow = stack.peek(0, size);
      this.#spHigh = size === 8 ? this.#mmu.hi : 0;
      this.#ss = stack.peek(size, size) & 0xffff;
      path.readStack(this.#ss);
    }
    path.checkOffset(this.#ipLow, this.#ipHigh);
    path.touch(outer);
    this.#setFlags(this.#mask(size));
    if (outer) path.commitStack(this.#ss, this.#spLow, this.#spHigh);
    else stack.commit();
    path.commitCode(this.#cs, this.#ipLow, this.#ipHigh);
  }

  /** From 64-bit mode: always pops five words. */
  #long(size: number): void {
    const path = this.#path;
    this.#popFive(size);
    path.readCode(this.#cs);
    path.readStack(this.#ss);
    path.checkOffset(this.#ipLow, this.#ipHigh);
    path.touch(true);
    this.#setFlags(this.#mask(size));
    path.commitStack(this.#ss, this.#spLow, this.#spHigh);
    path.commitCode(this.#cs, this.#ipLow, this.#ipHigh);
  }

  #popFive(size: number): void {
    const s = this.#ctx.state;
    const sp = s.num(L.GPR + L.REG.rsp * 8);
    const tlb = this.#mmu.tlb;
    const host = size === 8 && sp % 8 === 0 ? tlb.direct(tlb.bank, sp, 40, false) : -1;
    if (host >= 0 && !tlb.strict) {
      const u32 = s.u32;
      const i = host >>> 2;
      this.#ipLow = u32[i]!;
      this.#ipHigh = u32[i + 1]!;
      this.#cs = u32[i + 2]! & 0xffff;
      this.#flags = u32[i + 4]!;
      this.#spLow = u32[i + 6]!;
      this.#spHigh = u32[i + 7]!;
      this.#ss = u32[i + 8]! & 0xffff;
      return;
    }
    const stack = this.#stack;
    stack.useCurrent(true);
    this.#ipLow = stack.peek(0, size);
    this.#ipHigh = size === 8 ? this.#mmu.hi : 0;
    this.#cs = stack.peek(size, size) & 0xffff;
    this.#flags = stack.peek(size * 2, size);
    this.#spLow = stack.peek(size * 3, size);
    this.#spHigh = size === 8 ? this.#mmu.hi : 0;
    this.#ss = stack.peek(size * 4, size) & 0xffff;
  }

  /** EIP, CS and EFLAGS are popped; ESP, SS, ES, DS, FS, GS follow. */
  #toVirtual8086(): void {
    const s = this.#ctx.state;
    const stack = this.#stack;
    const seg = this.#seg;
    if (!stack.holds(0, 24)) raise(EXC.ss, 0);
    const esp = stack.peek(0, 4);
    const ss = stack.peek(4, 4);
    const es = stack.peek(8, 4);
    const ds = stack.peek(12, 4);
    const fs = stack.peek(16, 4);
    const gs = stack.peek(20, 4);
    if (this.#ipLow > 0xffff) raise(EXC.gp, 0);
    this.#setFlags(BASIC | EXTENDED | FLAG.if | FLAG.iopl | FLAG.vm | FLAG.vif | FLAG.vip);
    s.set64(L.GPR + L.REG.rsp * 8, esp, 0);
    s.set64(L.RIP, this.#ipLow, 0);
    seg.setVm86(L.SEG.cs, this.#cs);
    seg.setVm86(L.SEG.ss, ss & 0xffff);
    seg.setVm86(L.SEG.es, es & 0xffff);
    seg.setVm86(L.SEG.ds, ds & 0xffff);
    seg.setVm86(L.SEG.fs, fs & 0xffff);
    seg.setVm86(L.SEG.gs, gs & 0xffff);
    seg.setCpl(3);
    seg.recompute();
  }
}

/** CF, PF, AF, ZF, SF, OF: kept apart from the other flags. */
const ARITHMETIC = FLAG.cf | FLAG.pf | FLAG.af | FLAG.zf | FLAG.sf | FLAG.of;

/** Helper `iret`; operand size by the record's prefixes. */
export function iretHelpers(ctx: CpuContext, mmu: Mmu, seg: Segmentation, tasks: TaskSwitch): HelperTable {
  const iret = new InterruptReturn(ctx, mmu, seg, tasks);
  return {
    iret: record => {
      iret.run(operandSize(ctx.state, record), ctx.nextRip(record));
      return DONE.changed;
    },
  };
}
