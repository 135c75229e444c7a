/**
 * A processor for tests of the machine: its "program" is a function that is called once per instruction. No registers, no memory.
 */
import type { CauseId, Vector } from "../base/units.ts";
import type { EntryState } from "../ports/entry-state.ts";
import { ACTIVITY, type Activity } from "../ports/processor.ts";
import type { BoardProcessor } from "./processor.ts";

export type FakeProgram = (cpu: FakeProcessor) => void;

export class FakeProcessor implements BoardProcessor {
  readonly tsc = { nsUntil: () => 0 };
  readonly name: string;
  readonly index: number;
  readonly state = { retired: 0, activity: ACTIVITY.running as number, intr: false, interrupts: 0, nmis: 0, sipi: 0 };
  readonly #program: FakeProgram;
  #stop = false;
  progress = 0;
  readonly notBuilt = new Map<string, number>();

  readonly #waitsForSipi: boolean;

  /** @param waitsForSipi true for an application processor of a whole board */
  constructor(index: number, program: FakeProgram, waitsForSipi = false) {
    this.index = index;
    this.#waitsForSipi = waitsForSipi;
    this.name = `cpu${index}`;
    this.#program = program;
  }

  get activity(): Activity {
    if (this.state.activity === ACTIVITY.halted && this.state.intr) return ACTIVITY.running;
    return this.state.activity as Activity;
  }

  get retired(): number {
    return this.state.retired;
  }

  reset(): void {
    const activity = this.#waitsForSipi ? ACTIVITY.waitForSipi : ACTIVITY.running;
    Object.assign(this.state, { activity, intr: false, interrupts: 0, nmis: 0, sipi: 0 });
  }

  start(_entry: EntryState): void {}

  presetMsrs(): void {}

  shutdownReason(): string {
    return `CPU ${this.index}: triple fault`;
  }

  run(budget: number): number {
    this.#stop = false;
    this.progress = 0;
    while (this.progress < budget && this.activity === ACTIVITY.running && !this.#stop) {
      if (this.state.intr) {
        this.state.intr = false;
        this.state.activity = ACTIVITY.running;
        this.state.interrupts++;
      }
      this.#program(this);
      this.state.retired++;
      this.progress++;
    }
    return this.progress;
  }

  /** The present instruction is a HLT. */
  halt(): void {
    this.state.activity = ACTIVITY.halted;
  }

  shutdown(): void {
    this.state.activity = ACTIVITY.shutdown;
  }

  stop(): void {
    this.#stop = true;
  }

  intr(level: boolean): void {
    this.state.intr = level;
  }

  nmi(_cause: CauseId): void {
    this.state.nmis++;
    if (this.state.activity === ACTIVITY.halted) this.state.activity = ACTIVITY.running;
  }

  smi(_cause: CauseId): void {}

  init(_cause: CauseId): void {
    this.state.activity = ACTIVITY.waitForSipi;
  }

  startup(vector: Vector, _cause: CauseId): void {
    if (this.state.activity !== ACTIVITY.waitForSipi) return;
    this.state.sipi = vector;
    this.state.activity = ACTIVITY.running;
  }
}
