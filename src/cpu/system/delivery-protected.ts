/**
 * Interrupt and exception delivery in protected mode and from virtual-8086 mode to a protected-mode handler: interrupt, trap and task gates.
 * Intel SDM vol. 3A, 6.11-6.13, 20.3.1; vol. 2 "INT n", section PROTECTED-MODE. Privilege: vol. 3A, 6.12.1.2.
 */
import { type CpuContext, EXC, raise } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG } from "../state.ts";
import { CLEARED, checksDpl, extOf, idtError } from "./delivery-kind.ts";
import { Descriptor, errorOf, isNull, SYS } from "./descriptor.ts";
import type { Mmu } from "./mmu.ts";
import type { Segmentation } from "./segmentation.ts";
import { GuestStack } from "./segmentation-stack.ts";
import { TaskStacks } from "./segmentation-tss.ts";
import { TASK, type TaskSwitch } from "./task-switch.ts";

const RSP = L.GPR + L.REG.rsp * 8;

export class ProtectedDelivery {
  readonly #ctx: CpuContext;
  readonly #mmu: Mmu;
  readonly #seg: Segmentation;
  readonly #tasks: TaskSwitch;
  readonly #stack: GuestStack;
  readonly #stacks: TaskStacks;
  readonly #gate = new Descriptor();
  readonly #code = new Descriptor();
  readonly #ss = new Descriptor();

  constructor(ctx: CpuContext, mmu: Mmu, seg: Segmentation, tasks: TaskSwitch) {
    this.#ctx = ctx;
    this.#mmu = mmu;
    this.#seg = seg;
    this.#tasks = tasks;
    this.#stack = new GuestStack(ctx, mmu);
    this.#stacks = new TaskStacks(ctx, mmu);
  }

  /** @param error −1: no error code. @param rip what the frame will hold. @param image EFLAGS to push. */
  deliver(vector: number, kind: number, error: number, rip: number, image: number): void {
    const s = this.#ctx.state;
    const ext = extOf(kind);
    const gate = this.#gate;
    this.#readGate(vector, kind, ext);
    if (gate.type === SYS.taskGate) {
      this.#taskGate(error, rip, image, ext);
      return;
    }
    const cpl = s.int(L.CPL);
    const code = this.#code;
    this.#readCode(cpl, ext);
    const target = code.isConforming ? cpl : code.dpl;
    const size = gate.type >= SYS.interruptGate32 ? 4 : 2;
    if (target !== cpl) this.#toInner(target, size, error, rip, image, ext);
    else this.#same(size, error, rip, image, ext);
  }

  #readGate(vector: number, kind: number, ext: number): void {
    const s = this.#ctx.state;
    const gate = this.#gate;
    const offset = vector * 8;
    if (offset + 7 > s.lo(L.IDTR_LIMIT)) raise(EXC.gp, idtError(vector, ext));
    this.#mmu.read64((s.lo(L.IDTR_BASE) + offset) >>> 0);
    gate.set(this.#mmu.lo, this.#mmu.hi);
    const type = gate.attr & 0x1f;
    const known = type === SYS.taskGate || (type & ~1) === SYS.interruptGate16 || (type & ~1) === SYS.interruptGate32;
    if (!known) raise(EXC.gp, idtError(vector, ext));
    if (checksDpl(kind) && gate.dpl < s.int(L.CPL)) raise(EXC.gp, idtError(vector, 0));
    if (!gate.present) raise(EXC.np, idtError(vector, ext));
  }

  #readCode(cpl: number, ext: number): void {
    const code = this.#code;
    const selector = this.#gate.gateSelector;
    if (isNull(selector)) raise(EXC.gp, ext);
    const error = errorOf(selector) | ext;
    if (!this.#seg.tables.fetch(selector, code) || !code.isCode || code.dpl > cpl) raise(EXC.gp, error);
    if (!code.present) raise(EXC.np, error);
    // A virtual-8086 task may enter a nonconforming segment of privilege 0 only.
    if (this.#ctx.state.vm86 && (code.isConforming || code.dpl !== 0)) raise(EXC.gp, error);
  }

  /** A stack of the inner level, named by the TSS. From virtual-8086 mode the data segments are pushed too, and become null. */
  #toInner(target: number, size: number, error: number, rip: number, image: number, ext: number): void {
    const s = this.#ctx.state;
    const seg = this.#seg;
    const ss = this.#ss;
    const stack = this.#stack;
    const vm86 = s.vm86;
    this.#stacks.read(target, ext);
    const selector = this.#stacks.ss;
    if (isNull(selector)) raise(EXC.ts, ext);
    seg.checkStack(selector, target, EXC.ts, ext, ss);
    stack.useSegment(ss, this.#stacks.sp, target);
    stack.reserve((vm86 ? 9 : 5) + (error < 0 ? 0 : 1), size, errorOf(selector) | ext);
    this.#checkOffset(ext);
    seg.tables.markAccessed(ss);
    seg.tables.markAccessed(this.#code);
    if (vm86) {
      stack.push(size, s.selector(L.SEG.gs));
      stack.push(size, s.selector(L.SEG.fs));
      stack.push(size, s.selector(L.SEG.ds));
      stack.push(size, s.selector(L.SEG.es));
    }
    stack.push(size, s.selector(L.SEG.ss));
    stack.push(size, s.int(RSP));
    this.#pushRest(size, error, rip, image);
    if (vm86) for (const data of DATA_SEGMENTS) seg.setNull(data, 0);
    seg.set(L.SEG.ss, selector, ss);
    seg.setCpl(target);
    this.#enter(target);
  }

  #same(size: number, error: number, rip: number, image: number, ext: number): void {
    const stack = this.#stack;
    stack.useCurrent(false);
    stack.reserve(3 + (error < 0 ? 0 : 1), size, ext);
    this.#checkOffset(ext);
    this.#seg.tables.markAccessed(this.#code);
    this.#pushRest(size, error, rip, image);
    this.#enter(this.#ctx.state.int(L.CPL));
  }

  #checkOffset(ext: number): void {
    if (this.#gate.gateOffset > this.#code.limit) raise(EXC.gp, ext);
  }

  #pushRest(size: number, error: number, rip: number, image: number): void {
    const stack = this.#stack;
    stack.push(size, image);
    stack.push(size, this.#ctx.state.selector(L.SEG.cs));
    stack.push(size, rip);
    if (error >= 0) stack.push(size, error);
  }

  #enter(target: number): void {
    const s = this.#ctx.state;
    this.#stack.commit();
    this.#seg.set(L.SEG.cs, (this.#code.selector & 0xfffc) | target, this.#code);
    s.set64(L.RIP, this.#gate.gateOffset, 0);
    const interrupt = (this.#gate.type & 1) === 0;
    s.setLo(L.FLAG_OTHER, s.int(L.FLAG_OTHER) & ~(interrupt ? CLEARED | FLAG.if : CLEARED));
    this.#seg.recompute();
  }

  #taskGate(error: number, rip: number, image: number, ext: number): void {
    const selector = this.#gate.gateSelector;
    const tss = this.#tasks.fetch(selector, TASK.interrupt, EXC.gp, ext);
    this.#tasks.run(tss, TASK.interrupt, rip, image, ext);
    if (error >= 0) this.#tasks.pushError(error);
  }
}

const DATA_SEGMENTS = [L.SEG.es, L.SEG.ds, L.SEG.fs, L.SEG.gs] as const;
