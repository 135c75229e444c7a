/**
 * Choices drawn with a seed, as a part of the machine: its generator is saved, loaded and hashed with everything else.
 */
import type { Part } from "../ports/part.ts";
import type { Choice } from "../sim/choice.ts";
import { Rng, type RngState } from "../sim/rng.ts";

export class SeededChoice implements Choice, Part {
  readonly name = "choice";
  readonly state: RngState;
  readonly #rng: Rng;
  readonly #start: RngState;

  constructor(seed: number) {
    this.#rng = new Rng(seed).split("scheduler");
    this.state = this.#rng.state;
    this.#start = { ...this.state };
  }

  /** Only a cold start draws the same numbers again. */
  reset(phase: string, kind: string): void {
    if (phase === "enter" && kind === "power") Object.assign(this.state, this.#start);
  }

  choose(n: number, _label: string): number {
    return this.#rng.below(n);
  }
}
