/** Waits for what an interrupt handler says. */
import { cli, halt, sti, type Task } from "../../ports/task.ts";

/** Halts until `isDone`; looks with interrupts off, so that none comes between the look and the halt (STI's shadow covers HLT). */
export function* waitUntil(isDone: () => boolean): Task {
  for (;;) {
    yield* cli();
    if (isDone()) break;
    yield* sti();
    yield* halt();
  }
  yield* sti();
}
