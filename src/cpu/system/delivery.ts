/**
 * Delivery of an interrupt or exception: chooses the rules of the present mode and tells the trace. Intel SDM vol. 3A, chapter 6.
 *
 * A delivery that raises an exception itself leaves the registers as they were (a task switch beyond its commit excepted, as in the manual); what
 * follows then is decided in exceptions.ts.
 */
import { EVENT } from "../../ports/events.ts";
import type { CpuContext } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG } from "../state.ts";
import { CR0 } from "./control-bits.ts";
import { KIND } from "./delivery-kind.ts";
import { LongDelivery } from "./delivery-long.ts";
import { ProtectedDelivery } from "./delivery-protected.ts";
import { RealDelivery } from "./delivery-real.ts";
import type { DeliveryPort } from "./helper-ports.ts";
import type { Mmu } from "./mmu.ts";
import type { Segmentation } from "./segmentation.ts";
import type { TaskSwitch } from "./task-switch.ts";

export class Delivery implements DeliveryPort {
  /** Save RF as 1: the interrupt falls between two iterations of a repeated string instruction (SDM vol. 3B, 18.3.1.1). Cleared by each delivery. */
  resume = false;
  /** Deliveries that were tried, so that a single step knows whether its instruction ended in a handler. */
  count = 0;
  /** What caused the NMI that is delivered next, for the trace. */
  nmiCause = 0;
  readonly #ctx: CpuContext;
  readonly #seg: Segmentation;
  readonly #long: LongDelivery;
  readonly #protected: ProtectedDelivery;
  readonly #real: RealDelivery;

  constructor(ctx: CpuContext, mmu: Mmu, seg: Segmentation, tasks: TaskSwitch) {
    this.#ctx = ctx;
    this.#seg = seg;
    this.#long = new LongDelivery(ctx, mmu, seg);
    this.#protected = new ProtectedDelivery(ctx, mmu, seg, tasks);
    this.#real = new RealDelivery(ctx, mmu, seg);
  }

  /** INT n, INT3, INTO, INT1. `kind` is one of SOFTWARE_INT; `nextRip` the address after the instruction. */
  softwareInterrupt(vector: number, kind: number, nextRip: number): void {
    this.deliver(vector, kind, -1, nextRip);
    const { trace, index } = this.#ctx;
    if (trace.wants[EVENT.softwareInterrupt] !== 0) trace.emit(EVENT.softwareInterrupt, index, vector, 0, 0, 0);
  }

  /**
   * Delivers one event: registers then stand at the first instruction of the handler.
   * @param kind one of KIND
   * @param error error code, −1 when the vector has none
   * @param rip return address of the frame: RIP, but for software interrupts the next instruction
   */
  deliver(vector: number, kind: number, error: number, rip: number): void {
    const s = this.#ctx.state;
    this.count++;
    if (kind >= KIND.external) this.#tell(vector, kind, error, rip);
    let image = s.eflags;
    if (kind === KIND.fault || this.resume) image |= FLAG.rf;
    this.resume = false;
    if (this.#seg.longMode) this.#long.deliver(vector, kind, error, rip, image);
    else if ((s.int(L.CR0) & CR0.pe) === 0) this.#real.deliver(vector, kind, rip, image);
    else if (kind !== KIND.softwareInt || !s.vm86 || !this.#real.redirect(vector, rip, image))
      this.#protected.deliver(vector, kind, error, rip, image);
    s.setLo(L.SHADOW, 0);
    if (kind === KIND.nmi) s.setLo(L.NMI_BLOCKED, 1);
  }

  #tell(vector: number, kind: number, error: number, rip: number): void {
    const { trace, index, apic } = this.#ctx;
    if (kind === KIND.external) {
      if (trace.wants[EVENT.interrupt] === 0) return;
      trace.emit(EVENT.interrupt, index, vector, Number(apic.lastExtInt), Number(apic.lastSpurious), apic.lastCause);
    } else if (kind === KIND.nmi) trace.emit(EVENT.nmi, index, 0, 0, 0, this.nmiCause);
    else trace.emit(EVENT.exception, index, vector, error, rip, 0);
  }
}
