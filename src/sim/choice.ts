/**
 * One interface for every free choice that the simulation has (a slice length, a tie between equal priorities): drawn at random, enumerated
 * exhaustively, or replayed from a recording.
 */
import { assert } from "../base/assert.ts";
import type { Rng } from "./rng.ts";

export interface Choice {
  /** Picks one of `n` (≥ 1) alternatives, 0 … n − 1; `label` names the decision for reports. */
  choose(n: number, label: string): number;
}

/** Always the first alternative: the machine's default behaviour. */
export const firstChoice: Choice = { choose: () => 0 };

/** Draws with a seeded generator and records what it drew. */
export class RandomChoice implements Choice {
  readonly taken: number[] = [];
  readonly #rng: Rng;
  constructor(rng: Rng) {
    this.#rng = rng;
  }
  choose(n: number, _label: string): number {
    const pick = this.#rng.below(n);
    this.taken.push(pick);
    return pick;
  }
}

/** Repeats a recorded sequence; then the first alternative. */
export class ReplayChoice implements Choice {
  readonly #taken: readonly number[];
  #next = 0;
  constructor(taken: readonly number[]) {
    this.#taken = taken;
  }
  choose(n: number, label: string): number {
    const pick = this.#taken[this.#next++] ?? 0;
    assert(pick < n, `replay: ${label} has ${n} alternatives, the recording says ${pick}`);
    return pick;
  }
}

/** Enumerates all sequences of choices, depth first: `while (e.next()) run(e)`. */
export class ExhaustiveChoice implements Choice {
  readonly #path: { pick: number; n: number }[] = [];
  #depth = 0;
  #started = false;
  /** Prepares the next sequence; false when all have been seen. */
  next(): boolean {
    this.#depth = 0;
    if (!this.#started) {
      this.#started = true;
      return true;
    }
    while (this.#path.length > 0) {
      const last = this.#path[this.#path.length - 1]!;
      if (++last.pick < last.n) return true;
      this.#path.pop();
    }
    return false;
  }
  choose(n: number, label: string): number {
    assert(n >= 1, `choice ${label}: nothing to choose from`);
    if (this.#depth === this.#path.length) this.#path.push({ pick: 0, n });
    const step = this.#path[this.#depth++]!;
    assert(step.n === n, `choice ${label}: had ${step.n} alternatives before, now ${n}`);
    return step.pick;
  }
}
