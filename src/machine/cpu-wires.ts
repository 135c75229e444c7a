/**
 * The wires between a local APIC and its CPU. They carry every signal unchanged and let the scheduler look whether a waiting CPU woke up.
 */
import type { CauseId, Vector } from "../base/units.ts";
import type { CpuSignals } from "../ports/cpu-port.ts";
import { exists } from "../base/assert.ts";

/** Who is told that a CPU may have woken. */
export interface WakeListener {
  woken(cpu: number): void;
}

export class CpuWires implements CpuSignals {
  readonly #index: number;
  #cpu: CpuSignals | null = null;
  #listener: WakeListener | null = null;

  constructor(index: number) {
    this.#index = index;
  }

  /** Both ends exist only after the board has made them. */
  connect(cpu: CpuSignals, listener: WakeListener): void {
    this.#cpu = cpu;
    this.#listener = listener;
  }

  intr(level: boolean): void {
    this.#target().intr(level);
    if (level) this.#listener!.woken(this.#index);
  }

  nmi(cause: CauseId): void {
    this.#target().nmi(cause);
    this.#listener!.woken(this.#index);
  }

  smi(cause: CauseId): void {
    this.#target().smi(cause);
    this.#listener!.woken(this.#index);
  }

  init(cause: CauseId): void {
    this.#target().init(cause);
    this.#listener!.woken(this.#index);
  }

  startup(vector: Vector, cause: CauseId): void {
    this.#target().startup(vector, cause);
    this.#listener!.woken(this.#index);
  }

  #target(): CpuSignals {
    return exists(this.#cpu, `CPU ${this.#index} is not connected`);
  }
}
