/**
 * The wires between a local APIC and its CPU, which the board makes before either end. They carry every signal unchanged and let the scheduler look
 * whether a waiting CPU woke up.
 */
import { exists } from "../base/assert.ts";
import type { CauseId, Ns, Vector } from "../base/units.ts";
import type { CpuSignals, TimestampCounter } from "../ports/cpu-port.ts";

/** Who is told that a CPU may have woken. */
export interface WakeListener {
  woken(cpu: number): void;
}

export class CpuWires implements CpuSignals, TimestampCounter {
  readonly #index: number;
  #cpu: CpuSignals | null = null;
  #listener: WakeListener | null = null;
  #tsc: TimestampCounter | null = null;

  constructor(index: number) {
    this.#index = index;
  }

  /** Both ends exist only after the board has made them. */
  connect(cpu: CpuSignals, tsc: TimestampCounter, listener: WakeListener): void {
    this.#cpu = cpu;
    this.#tsc = tsc;
    this.#listener = listener;
  }

  nsUntil(low: number, high: number): Ns {
    return exists(this.#tsc, `CPU ${this.#index} is not connected`).nsUntil(low, high);
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
