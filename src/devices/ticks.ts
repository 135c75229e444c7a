/**
 * Exact conversion between virtual time and the ticks of a fixed oscillator. Tick k is the first instant (in whole ns) at which k whole periods have passed
 * since virtual time 0, so every device on one oscillator shares its phase and nothing drifts. One second is a whole number of ticks of every
 * oscillator here, so the time is split at seconds and each product stays below 2^53.
 */
import { assert } from "../base/assert.ts";
import type { Ns } from "../base/units.ts";

const SECOND = 1_000_000_000;

export class Oscillator {
  /** Ticks per second; at most 9 MHz, so that ns × hz within a second is exact. */
  readonly hz: number;

  constructor(hz: number) {
    assert(Number.isInteger(hz) && hz >= 1 && hz <= 9_000_000, `oscillator of ${hz} Hz`);
    this.hz = hz;
  }

  /** Ticks that have passed at `time`. */
  ticksAt(time: Ns): number {
    const seconds = Math.floor(time / SECOND);
    return seconds * this.hz + Math.floor(((time - seconds * SECOND) * this.hz) / SECOND);
  }

  /** First instant at which `tick` ticks have passed; Infinity for Infinity. */
  timeOf(tick: number): Ns {
    if (tick === Number.POSITIVE_INFINITY) return tick;
    const seconds = Math.floor(tick / this.hz);
    return seconds * SECOND + Math.ceil(((tick - seconds * this.hz) * SECOND) / this.hz);
  }
}
