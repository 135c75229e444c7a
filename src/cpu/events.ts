/**
 * Events of one processor at an instruction boundary: takes what system/interrupt-window.ts chooses. INIT and start-up: Intel SDM vol. 3A, 9.1 and 9.4.
 */
import { EVENT } from "../ports/events.ts";
import { ACTIVITY } from "../ports/processor.ts";
import type { CpuContext } from "./context.ts";
import * as L from "./layout.ts";
import { resetRegisters } from "./reset.ts";
import { FLAG } from "./state.ts";
import type { Delivery } from "./system/delivery.ts";
import type { Exceptions } from "./system/exceptions.ts";
import { nextEvent, TAKE } from "./system/interrupt-window.ts";
import type { Mmu } from "./system/mmu.ts";
import type { Segmentation } from "./system/segmentation.ts";

/** Events taken at one boundary before time passes. */
const MOST_AT_ONCE = 64;

export class Events {
  readonly #ctx: CpuContext;
  readonly #mmu: Mmu;
  readonly #seg: Segmentation;
  readonly #delivery: Delivery;
  readonly #exceptions: Exceptions;
  readonly #bsp: boolean;

  constructor(ctx: CpuContext, mmu: Mmu, seg: Segmentation, delivery: Delivery, exceptions: Exceptions, bsp: boolean) {
    this.#ctx = ctx;
    this.#mmu = mmu;
    this.#seg = seg;
    this.#delivery = delivery;
    this.#exceptions = exceptions;
    this.#bsp = bsp;
  }

  /** What caused the pending NMI, for the trace. */
  set nmiCause(cause: number) {
    this.#delivery.nmiCause = cause;
  }

  /** Whether a processor that waits (halted, for SIPI, shut down) has something that makes it go on. */
  wakes(): boolean {
    const s = this.#ctx.state;
    const pending = s.int(L.PENDING_OFFSET);
    if ((pending & L.PENDING.init) !== 0) return true;
    const activity = s.int(L.ACTIVITY_OFFSET);
    if (activity === ACTIVITY.waitForSipi) return (pending & L.PENDING.sipi) !== 0;
    if ((pending & L.PENDING.nmi) !== 0 && s.int(L.NMI_BLOCKED) === 0) return true;
    if (activity === ACTIVITY.shutdown) return false;
    return (pending & L.PENDING.intr) !== 0 && (s.int(L.FLAG_OTHER) & FLAG.if) !== 0;
  }

  /**
   * Takes everything that may be taken now. The shadow word is valid. False: there was so much that time has to pass first (an interrupt that is raised
   * again by its own acknowledge, through a gate that leaves IF set, would go on for ever).
   */
  take(): boolean {
    const s = this.#ctx.state;
    for (let taken = 0; taken < MOST_AT_ONCE; taken++) {
      const pending = s.int(L.PENDING_OFFSET);
      // INIT comes first whatever the processor does; a start-up IPI behind it waits for the wait-for-SIPI state.
      if ((pending & L.PENDING.init) !== 0) {
        this.#init();
        continue;
      }
      const activity = s.int(L.ACTIVITY_OFFSET);
      const trap = s.int(L.DEBUG_TRAP);
      const event = nextEvent(activity, pending, trap, s.int(L.FLAG_OTHER), s.int(L.SHADOW), s.int(L.NMI_BLOCKED));
      if (event === TAKE.none) return true;
      if (event === TAKE.sipi) {
        this.#startup();
        continue;
      }
      this.#wake(activity);
      if (event === TAKE.taskTrap || event === TAKE.debugTrap) this.#exceptions.raiseDebug(trap, false);
      else if (event === TAKE.nmi) {
        this.#clear(L.PENDING.nmi);
        this.#exceptions.nmi();
      } else this.#exceptions.external(this.#ctx.apic.acknowledge());
    }
    return false;
  }

  /** A fault of the instruction at RIP. */
  exception(vector: number, error: number, address: number): void {
    this.#exceptions.raise(vector, error, address);
  }

  /** An instruction breakpoint at RIP, which has not run. */
  codeBreakpoint(hits: number): void {
    this.#exceptions.raiseDebug(hits, false);
  }

  #clear(bit: number): void {
    const s = this.#ctx.state;
    s.setLo(L.PENDING_OFFSET, s.int(L.PENDING_OFFSET) & ~bit);
  }

  #wake(activity: number): void {
    if (activity === ACTIVITY.running) return;
    const { state, trace, index } = this.#ctx;
    state.setLo(L.ACTIVITY_OFFSET, ACTIVITY.running);
    trace.emit(EVENT.wake, index, 0, 0, 0, 0);
  }

  #init(): void {
    const { state, model, apic } = this.#ctx;
    // INTR is a level: it stays what the local APIC drives, which may change it now.
    const kept = state.int(L.PENDING_OFFSET) & (L.PENDING.sipi | L.PENDING.intr);
    const vector = state.int(L.SIPI_VECTOR);
    resetRegisters(state, model, "init", this.#bsp);
    state.setLo(L.PENDING_OFFSET, kept);
    state.setLo(L.SIPI_VECTOR, vector);
    apic.initReset();
    this.#refresh();
  }

  #startup(): void {
    const s = this.#ctx.state;
    this.#clear(L.PENDING.sipi);
    const vector = s.int(L.SIPI_VECTOR) & 0xff;
    s.setLo(L.SEG_SELECTOR + L.SEG.cs * 4, vector << 8);
    s.set64(L.SEG_BASE + L.SEG.cs * 8, vector << 12, 0);
    s.setLo(L.SEG_HIDDEN_BASE + L.SEG.cs * 4, vector << 12);
    s.set64(L.RIP, 0, 0);
    this.#wake(ACTIVITY.waitForSipi);
    this.#refresh();
  }

  #refresh(): void {
    this.#mmu.tlb.flushAll();
    this.#seg.recompute();
    this.#mmu.tlb.selectBank();
    this.#mmu.debugChanged();
  }
}
