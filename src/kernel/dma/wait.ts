/** Waiting for what an interrupt handler says, on whichever CPU that runs. */
import { cli, halt, sti, type Task, thisCpu } from "../../ports/task.ts";
import type { Kernel } from "../kernel.ts";
import { KERNEL_VECTOR } from "../vectors.ts";

export class Completion {
  /** What {@link complete} was given; null while nothing has ended. */
  status: number | null = null;
  readonly #kernel: Kernel;
  /** −1: nobody waits. */
  #waiter = -1;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** Before something new is begun. */
  begin(): void {
    this.status = null;
  }

  /** The end, told by a handler. A waiter that sleeps on another CPU is woken there. */
  *complete(status: number): Task {
    this.status = status;
    const waiter = this.#waiter;
    if (waiter >= 0 && waiter !== (yield* thisCpu()))
      yield* this.#kernel.apic.sendIpi(waiter, KERNEL_VECTOR.reschedule);
  }

  /** Halts until the end; looks with interrupts off, so that none comes between the look and the halt (STI's shadow covers HLT). */
  *wait(): Task<number> {
    this.#waiter = yield* thisCpu();
    for (;;) {
      yield* cli();
      const { status } = this;
      yield* sti();
      if (status !== null) {
        this.#waiter = -1;
        return status;
      }
      yield* halt();
    }
  }
}
