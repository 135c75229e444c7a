/** A lock in memory that CPUs spin on, held with interrupts off: XCHG and PAUSE (Intel SDM vol. 3A, 8.10.6.1). */
import type { PhysAddr } from "../base/units.ts";
import { cli, exchange32, load32, pause, readSpecial, SPECIAL, store32, sti, type Task } from "../ports/task.ts";

export const FLAG_IF = 0x200;

export class SpinLock {
  readonly #word: PhysAddr;

  /** @param word 4 bytes, 0 at first */
  constructor(word: PhysAddr) {
    this.#word = word;
  }

  /** Gives what {@link release} wants back. */
  *acquire(): Task<number> {
    const flags = yield* readSpecial(SPECIAL.flags);
    yield* cli();
    while ((yield* exchange32(this.#word, 1)) !== 0) while ((yield* load32(this.#word)) !== 0) yield* pause();
    return flags;
  }

  *release(flags: number): Task {
    yield* store32(this.#word, 0);
    if ((flags & FLAG_IF) !== 0) yield* sti();
  }
}
