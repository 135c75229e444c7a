/**
 * Virtual time: integer nanoseconds, and nothing else tells time. While a CPU executes a slice, time also moves inside it: the engine that runs
 * the slice tells how far it is, so that a device that is read in the middle sees the exact instant of that instruction.
 */
import { assert, ModelBug } from "../base/assert.ts";
import type { Ns } from "../base/units.ts";

/** Who moves time at this moment: tells the nanoseconds since {@link Clock.advanceTo} was last called. */
export interface Progress {
  elapsed(): Ns;
}

export type ClockState = { now: Ns };

/** The machine's one clock. */
export class Clock {
  readonly state: ClockState = { now: 0 };
  #progress: Progress | null = null;

  /** The present instant in ns. */
  now(): Ns {
    return this.#progress === null ? this.state.now : this.state.now + this.#progress.elapsed();
  }

  /** From now until {@link leave}, `progress` moves time. */
  enter(progress: Progress): void {
    assert(this.#progress === null, "clock: two slices at once");
    this.#progress = progress;
  }

  /** Ends the slice; time becomes what its progress says. */
  leave(): void {
    const now = this.now();
    this.#progress = null;
    this.state.now = now;
  }

  /** Moves time forward to `time` outside a slice. */
  advanceTo(time: Ns): void {
    assert(this.#progress === null, "clock: advanced inside a slice");
    if (time < this.state.now) throw new ModelBug(`clock: time would run backwards from ${this.state.now} to ${time}`);
    this.state.now = time;
  }
}
