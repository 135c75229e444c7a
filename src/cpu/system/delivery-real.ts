/**
 * Interrupt delivery through the interrupt vector table: real-address mode (Intel SDM vol. 3A, 20.1.4), and INT n in virtual-8086 mode redirected to an
 * 8086 handler by CR4.VME (20.3.3, table 20-2).
 */
import { type CpuContext, EXC, raise } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG } from "../state.ts";
import { CR4 } from "./control-bits.ts";
import { extOf, idtError } from "./delivery-kind.ts";
import type { Mmu } from "./mmu.ts";
import type { Segmentation } from "./segmentation.ts";
import { GuestStack } from "./segmentation-stack.ts";

/** Offset in a 32-bit TSS of the I/O map's base; the redirection map's 32 bytes lie below that. */
const IO_MAP_BASE = 102;
const REDIRECTION_BYTES = 32;

export class RealDelivery {
  readonly #ctx: CpuContext;
  readonly #mmu: Mmu;
  readonly #seg: Segmentation;
  readonly #stack: GuestStack;

  constructor(ctx: CpuContext, mmu: Mmu, seg: Segmentation) {
    this.#ctx = ctx;
    this.#mmu = mmu;
    this.#seg = seg;
    this.#stack = new GuestStack(ctx, mmu);
  }

  /** Real-address mode. No error codes there. */
  deliver(vector: number, kind: number, rip: number, image: number): void {
    const s = this.#ctx.state;
    if (vector * 4 + 3 > s.lo(L.IDTR_LIMIT)) raise(EXC.gp, idtError(vector, extOf(kind)));
    const entry = this.#mmu.read32((s.lo(L.IDTR_BASE) + vector * 4) >>> 0);
    this.#push(image, rip);
    this.#seg.setReal(L.SEG.cs, entry >>> 16);
    s.set64(L.RIP, entry & 0xffff, 0);
    s.setLo(L.FLAG_OTHER, s.int(L.FLAG_OTHER) & ~(FLAG.if | FLAG.tf | FLAG.ac | FLAG.rf));
    this.#seg.recompute();
  }

  /** INT n in virtual-8086 mode: true when it was sent to the 8086 program. Raises #GP(0) when IOPL forbids it. */
  redirect(vector: number, rip: number, image: number): boolean {
    const s = this.#ctx.state;
    const free = (image & FLAG.iopl) === FLAG.iopl;
    if ((s.int(L.CR4) & CR4.vme) === 0 || this.#redirected(vector)) {
      if (!free) raise(EXC.gp, 0);
      return false;
    }
    const entry = this.#mmu.read32(vector * 4);
    if (!free) {
      const virtual = (image & FLAG.vif) !== 0 ? FLAG.if : 0;
      image = (image & ~FLAG.if) | FLAG.iopl | virtual;
    }
    this.#push(image, rip);
    this.#seg.setVm86(L.SEG.cs, entry >>> 16);
    s.set64(L.RIP, entry & 0xffff, 0);
    s.setLo(L.FLAG_OTHER, s.int(L.FLAG_OTHER) & ~(FLAG.tf | FLAG.nt | FLAG.rf | (free ? FLAG.if : FLAG.vif)));
    this.#seg.recompute();
    return true;
  }

  /** The vector's bit in the TSS's redirection map: 1 sends it to the protected-mode handler. */
  #redirected(vector: number): boolean {
    const s = this.#ctx.state;
    const base = s.segBase(L.SEG.tr);
    const limit = s.segLimit(L.SEG.tr);
    if (limit < IO_MAP_BASE + 1) raise(EXC.gp, 0);
    const at = this.#mmu.read16(base + IO_MAP_BASE) - REDIRECTION_BYTES + (vector >>> 3);
    if (at < 0 || at > limit) raise(EXC.gp, 0);
    return ((this.#mmu.read8(base + at) >>> (vector & 7)) & 1) !== 0;
  }

  #push(image: number, rip: number): void {
    const stack = this.#stack;
    stack.useCurrent(false);
    stack.reserve(3, 2, 0);
    stack.push(2, image);
    stack.push(2, this.#ctx.state.selector(L.SEG.cs));
    stack.push(2, rip);
    stack.commit();
  }
}
