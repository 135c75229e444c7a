/**
 * Far JMP, CALL and RET in every mode: to code segments, through call gates and task gates, to TSSs. Intel SDM vol. 2, "JMP", "CALL", "RET";
 * vol. 3A, 5.8.
 */
import { type CpuContext, DONE, EXC, type HelperTable, raise } from "../context.ts";
import * as L from "../layout.ts";
import { MODE } from "../state.ts";
import { ATTR, Descriptor, errorOf, isNull, SYS } from "./descriptor.ts";
import { ReturnPath } from "./far-transfer-return.ts";
import type { Mmu } from "./mmu.ts";
import { isCanonical, operandSize } from "./operands.ts";
import type { Segmentation } from "./segmentation.ts";
import { GuestStack } from "./segmentation-stack.ts";
import { TaskStacks } from "./segmentation-tss.ts";
import { TASK, type TaskSwitch } from "./task-switch.ts";

const RSP = L.GPR + L.REG.rsp * 8;

export class FarTransfer {
  readonly #ctx: CpuContext;
  readonly #mmu: Mmu;
  readonly #seg: Segmentation;
  readonly #tasks: TaskSwitch;
  readonly #stack: GuestStack;
  readonly #inner: GuestStack;
  readonly #stacks: TaskStacks;
  readonly #path: ReturnPath;
  readonly #d = new Descriptor();
  readonly #code = new Descriptor();
  readonly #ss = new Descriptor();
  /** Parameters that a call gate copies: at most 31. */
  readonly #parameters = new Uint32Array(31);

  constructor(ctx: CpuContext, mmu: Mmu, seg: Segmentation, tasks: TaskSwitch) {
    this.#ctx = ctx;
    this.#mmu = mmu;
    this.#seg = seg;
    this.#tasks = tasks;
    this.#stack = new GuestStack(ctx, mmu);
    this.#inner = new GuestStack(ctx, mmu);
    this.#stacks = new TaskStacks(ctx, mmu);
    this.#path = new ReturnPath(ctx, mmu, seg);
  }

  /**
   * Far JMP (`call` false) or CALL to selector:offset.
   * @param size operand size, 2, 4 or 8 bytes
   * @param next address of the following instruction
   */
  transfer(call: boolean, selector: number, low: number, high: number, size: number, next: number): void {
    if (size === 2) low &= 0xffff;
    if (this.#seg.realOrVm86) {
      this.#shifted(call, selector, low, size, next);
      return;
    }
    if (isNull(selector)) raise(EXC.gp, 0);
    const d = this.#d;
    if (!this.#seg.tables.fetch(selector, d)) raise(EXC.gp, errorOf(selector));
    if (d.isSegment) {
      this.#code.copy(d);
      this.#checkDirect();
      this.#sameLevel(call, low, high, size, next);
    } else this.#system(call, next);
  }

  /** Real-address and virtual-8086 mode. */
  #shifted(call: boolean, selector: number, offset: number, size: number, next: number): void {
    const s = this.#ctx.state;
    if (offset > (s.vm86 ? 0xffff : s.segLimit(L.SEG.cs))) raise(EXC.gp, 0);
    if (call) this.#push(size, next);
    if (s.vm86) this.#seg.setVm86(L.SEG.cs, selector);
    else this.#seg.setReal(L.SEG.cs, selector);
    s.set64(L.RIP, offset, 0);
    this.#seg.recompute();
  }

  /** Pushes CS and the return address on the present stack. */
  #push(size: number, next: number): void {
    const s = this.#ctx.state;
    const stack = this.#stack;
    stack.useCurrent(s.int(L.CODE_MODE) === MODE.code64);
    stack.reserve(2, size, 0);
    stack.push(size, s.selector(L.SEG.cs));
    stack.pushNumber(size, next);
    stack.commit();
  }

  /** Privilege checks of a direct transfer to the code segment in #code. */
  #checkDirect(): void {
    const code = this.#code;
    const cpl = this.#ctx.state.int(L.CPL);
    const error = errorOf(code.selector);
    if (!code.isCode) raise(EXC.gp, error);
    if (code.isConforming ? code.dpl > cpl : code.rpl > cpl || code.dpl !== cpl) raise(EXC.gp, error);
    if (this.#seg.longMode && (code.attr & ATTR.long) !== 0 && !code.isLong) raise(EXC.gp, error);
    if (!code.present) raise(EXC.np, error);
  }

  #checkOffset(low: number, high: number): void {
    const long = this.#seg.longMode && (this.#code.attr & ATTR.long) !== 0;
    if (long ? !isCanonical(high) : high !== 0 || low > this.#code.limit) raise(EXC.gp, 0);
  }

  /** To the code segment in #code, without a change of privilege. */
  #sameLevel(call: boolean, low: number, high: number, size: number, next: number): void {
    this.#checkOffset(low, high);
    this.#seg.tables.markAccessed(this.#code);
    if (call) this.#push(size, next);
    this.#enter(this.#ctx.state.int(L.CPL), low, high);
  }

  #enter(cpl: number, low: number, high: number): void {
    this.#seg.set(L.SEG.cs, (this.#code.selector & 0xfffc) | cpl, this.#code);
    this.#seg.setCpl(cpl);
    this.#ctx.state.set64(L.RIP, low, high);
    this.#seg.recompute();
  }

  /** The selector names a gate or a TSS. */
  #system(call: boolean, next: number): void {
    const d = this.#d;
    const error = errorOf(d.selector);
    const long = this.#seg.longMode;
    const callGate = d.type === SYS.callGate32 || (!long && d.type === SYS.callGate16);
    const task = !long && (d.type === SYS.taskGate || d.type === SYS.tss16 || d.type === SYS.tss32);
    if (!callGate && !task) raise(EXC.gp, error);
    if (d.dpl < this.#ctx.state.int(L.CPL) || d.rpl > d.dpl) raise(EXC.gp, error);
    if (callGate) {
      this.#callGate(call, next);
      return;
    }
    if (!d.present) raise(EXC.np, error);
    const reason = call ? TASK.call : TASK.jump;
    const selector = d.type === SYS.taskGate ? d.gateSelector : d.selector;
    this.#tasks.run(this.#tasks.fetch(selector, reason, EXC.gp, 0), reason, next, this.#ctx.state.eflags, 0);
  }

  #callGate(call: boolean, next: number): void {
    const gate = this.#d;
    const code = this.#code;
    const long = this.#seg.longMode;
    const cpl = this.#ctx.state.int(L.CPL);
    if (long && !this.#seg.tables.fetchUpper(gate)) raise(EXC.gp, errorOf(gate.selector));
    if (!gate.present) raise(EXC.np, errorOf(gate.selector));
    const selector = gate.gateSelector;
    if (isNull(selector)) raise(EXC.gp, 0);
    const error = errorOf(selector);
    if (!this.#seg.tables.fetch(selector, code) || !code.isCode || code.dpl > cpl) raise(EXC.gp, error);
    if (!call && !code.isConforming && code.dpl !== cpl) raise(EXC.gp, error);
    if (long && !code.isLong) raise(EXC.gp, error);
    if (!code.present) raise(EXC.np, error);
    const size = long ? 8 : gate.type === SYS.callGate32 ? 4 : 2;
    if (!call || code.isConforming || code.dpl === cpl) {
      this.#sameLevel(call, gate.gateOffset, long ? gate.upperLo : 0, size, next);
    } else if (long) this.#innerLong(next);
    else this.#innerLegacy(size, next);
  }

  /** More privilege through a 64-bit call gate: SS becomes null, nothing is copied. */
  #innerLong(next: number): void {
    const s = this.#ctx.state;
    const target = this.#code.dpl;
    const inner = this.#inner;
    this.#stacks.readLong(target, 0, 0);
    inner.useLinear(this.#stacks.sp, target);
    inner.reserve(4, 8, 0);
    this.#checkOffset(this.#d.gateOffset, this.#d.upperLo);
    this.#seg.tables.markAccessed(this.#code);
    const sp = s.int(L.CODE_MODE) === MODE.code64 ? s.num(RSP) : s.lo(RSP);
    inner.push(8, s.selector(L.SEG.ss));
    inner.pushNumber(8, sp);
    inner.push(8, s.selector(L.SEG.cs));
    inner.pushNumber(8, next);
    this.#seg.setNull(L.SEG.ss, target);
    inner.commit();
    this.#enter(target, this.#d.gateOffset, this.#d.upperLo);
  }

  /** More privilege through a 16- or 32-bit call gate: parameters are copied from the outer stack. */
  #innerLegacy(size: number, next: number): void {
    const s = this.#ctx.state;
    const seg = this.#seg;
    const target = this.#code.dpl;
    const inner = this.#inner;
    const count = this.#d.hi & 31;
    this.#stacks.read(target, 0);
    const selector = this.#stacks.ss;
    if (isNull(selector)) raise(EXC.ts, 0);
    seg.checkStack(selector, target, EXC.ts, 0, this.#ss);
    inner.useSegment(this.#ss, this.#stacks.sp, target);
    inner.reserve(4 + count, size, errorOf(selector));
    this.#checkOffset(this.#d.gateOffset, 0);
    this.#stack.useCurrent(false);
    for (let i = 0; i < count; i++) this.#parameters[i] = this.#stack.peek(i * size, size);
    seg.tables.markAccessed(this.#ss);
    seg.tables.markAccessed(this.#code);
    inner.push(size, s.selector(L.SEG.ss));
    inner.push(size, s.int(RSP));
    for (let i = count - 1; i >= 0; i--) inner.push(size, this.#parameters[i]!);
    inner.push(size, s.selector(L.SEG.cs));
    inner.push(size, next);
    seg.set(L.SEG.ss, selector, this.#ss);
    inner.commit();
    this.#enter(target, this.#d.gateOffset, 0);
  }

  /** Far RET; `release` bytes of parameters are dropped from the stack (and from the outer one). */
  return(size: number, release: number): void {
    const s = this.#ctx.state;
    const stack = this.#stack;
    const path = this.#path;
    stack.useCurrent(s.int(L.CODE_MODE) === MODE.code64);
    if (!stack.holds(0, size * 2)) raise(EXC.ss, 0);
    const low = stack.peek(0, size);
    const high = size === 8 ? this.#mmu.hi : 0;
    const selector = stack.peek(size, size) & 0xffff;
    if (this.#seg.realOrVm86) {
      stack.drop(size * 2 + release);
      this.#returnShifted(selector, low);
      return;
    }
    path.readCode(selector);
    if (path.target === s.int(L.CPL)) {
      path.checkOffset(low, high);
      path.touch(false);
      stack.drop(size * 2 + release);
      stack.commit();
    } else {
      if (!stack.holds(size * 2 + release, size * 2)) raise(EXC.ss, 0);
      const sp = stack.peekNumber(size * 2 + release, size);
      const ss = stack.peek(size * 3 + release, size) & 0xffff;
      path.readStack(ss);
      path.checkOffset(low, high);
      path.touch(true);
      const top = sp + release;
      path.commitStack(ss, top | 0, Math.floor(top / 4294967296));
    }
    path.commitCode(selector, low, high);
  }

  #returnShifted(selector: number, offset: number): void {
    const s = this.#ctx.state;
    if (offset > (s.vm86 ? 0xffff : s.segLimit(L.SEG.cs))) raise(EXC.gp, 0);
    this.#stack.commit();
    if (s.vm86) this.#seg.setVm86(L.SEG.cs, selector);
    else this.#seg.setReal(L.SEG.cs, selector);
    s.set64(L.RIP, offset, 0);
    this.#seg.recompute();
  }
}

/**
 * Helpers jmp_far and call_far (immediate: offset in the low half of REC.imm, selector in its high half), jmp_far_m and call_far_m (memory operand),
 * ret_far (REC.imm: bytes to release).
 */
export function farHelpers(ctx: CpuContext, mmu: Mmu, seg: Segmentation, tasks: TaskSwitch): HelperTable {
  const far = new FarTransfer(ctx, mmu, seg, tasks);
  const s = ctx.state;
  const immediate = (record: number, call: boolean): number => {
    const low = s.u32[(record + L.REC.imm) >>> 2]!;
    const selector = s.u16[(record + L.REC.imm + 4) >>> 1]!;
    far.transfer(call, selector, low, 0, operandSize(s, record), ctx.nextRip(record));
    return DONE.changed;
  };
  const memory = (record: number, call: boolean): number => {
    const size = operandSize(s, record);
    mmu.loadOperand(record, size + 2);
    const selector = s.u16[(s.base + L.SLOW_DATA + size) >>> 1]!;
    far.transfer(call, selector, mmu.lo, size === 8 ? mmu.hi : 0, size, ctx.nextRip(record));
    return DONE.changed;
  };
  return {
    jmp_far: record => immediate(record, false),
    call_far: record => immediate(record, true),
    jmp_far_m: record => memory(record, false),
    call_far_m: record => memory(record, true),
    ret_far: record => {
      far.return(operandSize(s, record), s.u16[(record + L.REC.imm) >>> 1]!);
      return DONE.changed;
    },
  };
}
