/**
 * Interrupt and exception delivery in IA-32e mode: 16-byte gates, 64-bit handlers, IST, frames of 64-bit words on a 16-byte aligned stack.
 * Intel SDM vol. 3A, 6.14; vol. 2 "INT n", section IA-32e-MODE.
 */
import { EVENT } from "../../ports/events.ts";
import { type CpuContext, EXC, raise } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG, MODE } from "../state.ts";
import { CLEARED, checksDpl, extOf, idtError } from "./delivery-kind.ts";
import { Descriptor, errorOf, isNull } from "./descriptor.ts";
import type { Mmu } from "./mmu.ts";
import { isCanonical } from "./operands.ts";
import type { Segmentation } from "./segmentation.ts";
import { GuestStack } from "./segmentation-stack.ts";
import { TaskStacks } from "./segmentation-tss.ts";

const INTERRUPT_GATE = 0x0e;
const TRAP_GATE = 0x0f;
const RSP = L.GPR + L.REG.rsp * 8;

export class LongDelivery {
  readonly #ctx: CpuContext;
  readonly #mmu: Mmu;
  readonly #seg: Segmentation;
  readonly #stack: GuestStack;
  readonly #stacks: TaskStacks;
  readonly #d = new Descriptor();
  /** The gate's words. */
  #gate0 = 0;
  #gate1 = 0;
  #gate2 = 0;
  /** Linear address that the frame ends at, aligned. */
  #top = 0;

  constructor(ctx: CpuContext, mmu: Mmu, seg: Segmentation) {
    this.#ctx = ctx;
    this.#mmu = mmu;
    this.#seg = seg;
    this.#stack = new GuestStack(ctx, mmu);
    this.#stacks = new TaskStacks(ctx, mmu);
  }

  /** @param error −1: no error code. @param rip what the frame will hold. @param image RFLAGS to push. */
  deliver(vector: number, kind: number, error: number, rip: number, image: number): void {
    const s = this.#ctx.state;
    const cpl = s.int(L.CPL);
    s.setNum(L.ARG0, rip);
    if (this.#ctx.deliver(vector, checksDpl(kind) ? 1 : 0, error, image) !== 0) {
      this.#entered(cpl);
      return;
    }
    const ext = extOf(kind);
    const d = this.#d;
    this.#readGate(vector, kind, ext, cpl);
    this.#readCode(cpl, ext);
    const target = d.isConforming ? cpl : d.dpl;
    const ist = this.#gate1 & 7;
    if (ist !== 0 || target !== cpl) {
      this.#stacks.readLong(target, ist, ext);
      this.#top = Math.floor(this.#stacks.sp / 16) * 16;
    } else this.#top = Math.floor(this.#currentSp() / 16) * 16;
    if (!isCanonical(this.#gate2)) {
      this.#reserve(error < 0 ? 5 : 6, target, ext);
      raise(EXC.gp, ext);
    }
    if ((d.attr & 1) === 0) this.#seg.tables.markAccessed(d);
    this.#pushFrame(error, rip, image, target, ext);
    this.#enter(target, cpl);
  }

  /** Generated code has done it all but what lies outside its reach. */
  #entered(cplBefore: number): void {
    const { state, trace, index } = this.#ctx;
    this.#mmu.tlb.selectBank();
    const cpl = state.int(L.CPL);
    if (cpl !== cplBefore && trace.wants[EVENT.cpl] !== 0) trace.emit(EVENT.cpl, index, cpl, 0, 0, 0);
  }

  #currentSp(): number {
    const s = this.#ctx.state;
    return s.int(L.CODE_MODE) === MODE.code64 ? s.num(RSP) : s.lo(RSP);
  }

  #readGate(vector: number, kind: number, ext: number, cpl: number): void {
    const s = this.#ctx.state;
    const offset = vector * 16;
    if (offset + 15 > s.lo(L.IDTR_LIMIT)) raise(EXC.gp, idtError(vector, ext));
    const address = s.num(L.IDTR_BASE) + offset;
    const mmu = this.#mmu;
    const host = mmu.tlb.direct(mmu.tlb.systemBank, address, 16, false);
    if (host >= 0) {
      this.#gate0 = s.view.getInt32(host, true);
      this.#gate1 = s.view.getInt32(host + 4, true);
      this.#gate2 = s.view.getInt32(host + 8, true);
    } else {
      mmu.read64(address);
      this.#gate0 = mmu.lo | 0;
      this.#gate1 = mmu.hi | 0;
      this.#gate2 = mmu.read32(address + 8) | 0;
    }
    const type = (this.#gate1 >>> 8) & 0x1f;
    if (type !== INTERRUPT_GATE && type !== TRAP_GATE) raise(EXC.gp, idtError(vector, ext));
    if (checksDpl(kind) && ((this.#gate1 >>> 13) & 3) < cpl) raise(EXC.gp, idtError(vector, 0));
    if ((this.#gate1 & 0x8000) === 0) raise(EXC.np, idtError(vector, ext));
  }

  #readCode(cpl: number, ext: number): void {
    const d = this.#d;
    const selector = this.#gate0 >>> 16;
    if (isNull(selector)) raise(EXC.gp, ext);
    const error = errorOf(selector) | ext;
    if (!this.#seg.tables.fetch(selector, d) || !d.isCode || d.dpl > cpl) raise(EXC.gp, error);
    if (!d.present) raise(EXC.np, error);
    if (!d.isLong) raise(EXC.gp, error);
  }

  #reserve(count: number, target: number, ext: number): void {
    this.#stack.useLinear(this.#top, target);
    this.#stack.reserve(count, 8, ext);
  }

  #pushFrame(error: number, rip: number, image: number, target: number, ext: number): void {
    const s = this.#ctx.state;
    const tlb = this.#mmu.tlb;
    const bytes = error < 0 ? 40 : 48;
    const bottom = this.#top - bytes;
    const high = s.int(L.CODE_MODE) === MODE.code64 ? s.int(RSP + 4) : 0;
    const host = tlb.direct(tlb.bankOf(target), bottom, bytes, true);
    if (host < 0) {
      this.#pushSlowly(error, rip, image, target, ext);
    } else {
      const i32 = s.i32;
      let i = host >>> 2;
      if (error >= 0) {
        i32[i] = error;
        i32[i + 1] = 0;
        i += 2;
      }
      const ripHigh = Math.floor(rip / 4294967296);
      i32[i] = (rip - ripHigh * 4294967296) | 0;
      i32[i + 1] = ripHigh;
      i32[i + 2] = s.selector(L.SEG.cs);
      i32[i + 3] = 0;
      i32[i + 4] = image;
      i32[i + 5] = 0;
      i32[i + 6] = s.int(RSP);
      i32[i + 7] = high;
      i32[i + 8] = s.selector(L.SEG.ss);
      i32[i + 9] = 0;
    }
    this.#top = bottom;
  }

  #pushSlowly(error: number, rip: number, image: number, target: number, ext: number): void {
    const s = this.#ctx.state;
    const stack = this.#stack;
    this.#reserve(error < 0 ? 5 : 6, target, ext);
    stack.push(8, s.selector(L.SEG.ss));
    stack.pushNumber(8, this.#currentSp());
    stack.push(8, image);
    stack.push(8, s.selector(L.SEG.cs));
    stack.pushNumber(8, rip);
    if (error >= 0) stack.push(8, error);
  }

  #enter(target: number, cpl: number): void {
    const s = this.#ctx.state;
    const seg = this.#seg;
    const d = this.#d;
    seg.set(L.SEG.cs, (d.selector & 0xfffc) | target, d);
    if (target !== cpl) {
      seg.setNull(L.SEG.ss, target);
      seg.setCpl(target);
    }
    s.setNum(RSP, this.#top);
    s.set64(L.RIP, (this.#gate1 & 0xffff0000) | (this.#gate0 & 0xffff), this.#gate2);
    const interrupt = (this.#gate1 & 0x100) === 0;
    s.setLo(L.FLAG_OTHER, s.int(L.FLAG_OTHER) & ~(interrupt ? CLEARED | FLAG.if : CLEARED));
    if (s.int(L.CODE_MODE) === MODE.code64) this.#mmu.tlb.selectBank();
    else seg.recompute();
  }
}
