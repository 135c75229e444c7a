/**
 * Threaded handlers: the interrupt itself only wakes a task, which does the work with everything else running on. A level-triggered source stays masked
 * until the task is done, because its line stays high until then.
 */
import type { Task } from "../ports/task.ts";
import type { Irq, IrqOptions, IrqSource } from "./irq.ts";
import type { Kernel } from "./kernel.ts";
import { type KernelTask, WaitQueue } from "./scheduler.ts";

export type ThreadedIrq = { readonly irq: Irq; readonly task: KernelTask };

/** Requests a source whose work is done by a task on the same CPU. The scheduler must have been started there. */
export function* requestThreaded(
  kernel: Kernel,
  source: IrqSource,
  options: Omit<IrqOptions, "handler" | "shared">,
  work: () => Task,
): Task<ThreadedIrq> {
  const queue = new WaitQueue();
  let asked = 0;
  function* thread(): Task {
    for (;;) {
      yield* kernel.scheduler.wait(queue, () => asked > 0);
      asked = 0;
      yield* work();
      if (source.level) yield* source.unmask();
    }
  }
  const task = yield* kernel.scheduler.create(`irq ${options.name}`, options.cpu ?? 0, thread);
  function* handler(): Task<boolean> {
    if (source.level) yield* source.mask();
    asked++;
    yield* kernel.scheduler.wakeAll(queue);
    return true;
  }
  const irq = yield* kernel.irqs.request(source, { ...options, handler });
  return { irq, task };
}
