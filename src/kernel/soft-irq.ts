/**
 * Deferred work: what a handler leaves for after the interrupt. Soft interrupts run on the CPU that raised them, at the end of the outermost handler,
 * with interrupts on; one that is raised meanwhile runs in the same go, up to a limit, and then at the end of the next interrupt.
 */
import { cli, sti, type Task } from "../ports/task.ts";

export type SoftHandler = (cpu: number) => Task;

/** Rounds at the end of one interrupt. */
const MOST_ROUNDS = 10;
const COUNT = 32;

export class SoftIrqs {
  readonly #handlers: (SoftHandler | null)[] = new Array<SoftHandler | null>(COUNT).fill(null);
  /** By CPU, a bit each. */
  readonly #raised: Uint32Array;
  readonly #running: Uint8Array;
  /** By number. */
  readonly counts = new Float64Array(COUNT);

  constructor(cpus: number) {
    this.#raised = new Uint32Array(cpus);
    this.#running = new Uint8Array(cpus);
  }

  /** Throws RangeError for a number that is not 0 to 31 or taken. A lower number runs first. */
  register(number: number, handler: SoftHandler): void {
    if (!Number.isInteger(number) || number < 0 || number >= COUNT) throw new RangeError(`no soft interrupt ${number}`);
    if (this.#handlers[number] !== null) throw new RangeError(`soft interrupt ${number} has a handler`);
    this.#handlers[number] = handler;
  }

  /** To be run on `cpu`, which is the one that asks. */
  raise(cpu: number, number: number): void {
    this.#raised[cpu]! |= 1 << number;
  }

  isPending(cpu: number): boolean {
    return this.#raised[cpu] !== 0;
  }

  /** Called with interrupts off; they are off again when it comes back. */
  *run(cpu: number): Task {
    if (this.#raised[cpu] === 0 || this.#running[cpu] !== 0) return;
    this.#running[cpu] = 1;
    for (let round = 0; round < MOST_ROUNDS && this.#raised[cpu] !== 0; round++) {
      const raised = this.#raised[cpu]!;
      this.#raised[cpu] = 0;
      yield* sti();
      for (let number = 0; number < COUNT; number++) {
        const handler = this.#handlers[number]!;
        if (((raised >>> number) & 1) === 0 || handler === null) continue;
        this.counts[number]!++;
        yield* handler(cpu);
      }
      yield* cli();
    }
    this.#running[cpu] = 0;
  }
}
