/**
 * Who runs when, and what time it is meanwhile. SMP is round-robin on one thread in slices counted in instructions; the time model is called "fixed":
 * one instruction lasts 1 ns of its CPU. While one of n runnable CPUs runs, the clock moves floor(retired / n), so that a round of n slices of S
 * instructions lasts S ns, time never runs backwards in the order of execution, and every CPU does 1 instruction per ns on average.
 *
 * A run is cut at exactly the instruction boundary at which the next alarm falls; when all CPUs wait, the clock jumps to the next alarm. Everything that
 * decides the order is in {@link SchedulerState}, so that a run may be interrupted and gone on with anywhere without changing it.
 */
import { assert, ModelBug } from "../base/assert.ts";
import type { Ns } from "../base/units.ts";
import { ACTIVITY, type Processor } from "../ports/processor.ts";
import { type Choice, firstChoice } from "../sim/choice.ts";
import type { Clock, Progress } from "../sim/clock.ts";
import type { EventQueue } from "../sim/event-queue.ts";

/** Why {@link Scheduler.run} returned. */
export const STOP = {
  /** The instruction or time bound of this call. */
  bound: 0,
  /** All CPUs wait, and either no alarm is armed or none of the last ten seconds' could wake a CPU: only the host could go on. */
  idle: 1,
  /** Somebody called {@link Scheduler.requestStop}. */
  request: 2,
  /** A CPU shut down after a triple fault. */
  shutdown: 3,
} as const;
export type Stop = (typeof STOP)[keyof typeof STOP];

export type SchedulerState = {
  /** CPU whose slice it is. */
  current: number;
  /** Instructions left of that slice. */
  sliceLeft: number;
  /** Instructions retired that have not moved the clock yet, in units of 1/n ns. */
  carry: number;
  /** One byte per CPU: it takes part in the rounds. */
  runnable: Uint8Array;
  /** How many of these are set. */
  count: number;
  /** Instructions retired by all CPUs. */
  retired: number;
  /** Since when all CPUs have waited with interrupts off, −1 when they do not. */
  deafSince: Ns;
};

export type SchedulerOptions = {
  /** Instructions per slice when more than one CPU is runnable; 1000 when absent. */
  readonly slice?: number;
  /** Draws slice lengths: whole, half, quarter or double. */
  readonly choice?: Choice;
};

const LONE_SLICE = 1_000_000;
/** A machine whose CPUs all wait with interrupts off is given this long for an NMI to come. */
const DEAF_LIMIT = 10_000_000_000;
/** Slices and jumps of one call, so that a machine that only waits lets its host go on, too. */
const PATIENCE = 200_000;

export class Scheduler implements Progress {
  readonly state: SchedulerState;
  readonly #cpus: readonly Processor[];
  readonly #clock: Clock;
  readonly #queue: EventQueue;
  readonly #slice: number;
  readonly #choice: Choice;
  /** The CPU inside `run`, null between slices. */
  #running: Processor | null = null;
  /** Retired in the slice piece that is being accounted. */
  #done = 0;
  #sliceEnd: Ns = 0;
  #stopRequested = false;
  /** CPUs woken by the slice that is going on, one byte each, and whether there are any. */
  readonly #pending: Uint8Array;
  #anyPending = false;

  constructor(cpus: readonly Processor[], clock: Clock, queue: EventQueue, options: SchedulerOptions = {}) {
    assert(cpus.length >= 1, "scheduler: no CPU");
    this.#cpus = cpus;
    this.#clock = clock;
    this.#queue = queue;
    this.#slice = options.slice ?? 1000;
    this.#pending = new Uint8Array(cpus.length);
    this.#choice = options.choice ?? firstChoice;
    assert(this.#slice >= 1 && Number.isInteger(this.#slice), `scheduler: slice of ${this.#slice}`);
    this.state = {
      current: 0,
      sliceLeft: 0,
      carry: 0,
      runnable: new Uint8Array(cpus.length),
      count: 0,
      retired: 0,
      deafSince: -1,
    };
    queue.onEarlier = () => {
      if (this.#running !== null && queue.nextDeadline() < this.#sliceEnd) this.#running.stop();
    };
  }

  /** After a reset: looks anew at what every CPU does and starts with the first. */
  reset(): void {
    const state = this.state;
    state.current = this.#cpus.length - 1;
    state.sliceLeft = 0;
    state.carry = 0;
    state.count = 0;
    state.deafSince = -1;
    state.runnable.fill(0);
    for (let i = 0; i < this.#cpus.length; i++) this.woken(i);
  }

  /** CPU `index` may have got something to do. Ends the slice of another CPU at its present instruction. */
  woken(index: number): void {
    const state = this.state;
    if (state.runnable[index] !== 0 || this.#cpus[index]!.activity !== ACTIVITY.running) return;
    const running = this.#running;
    if (running === null) this.#setRunnable(index);
    else {
      // The round gets longer only from the next instruction on: the clock of this slice divides by the present count.
      this.#pending[index] = 1;
      this.#anyPending = true;
      running.stop();
    }
    state.sliceLeft = 0;
  }

  #setRunnable(index: number): void {
    if (this.state.runnable[index] !== 0) return;
    this.state.runnable[index] = 1;
    this.state.count++;
    this.state.deafSince = -1;
    this.state.carry = 0;
  }

  #setWaiting(index: number): void {
    this.state.runnable[index] = 0;
    this.state.count--;
    this.state.carry = 0;
    this.state.sliceLeft = 0;
  }

  /** Makes {@link run} return at the end of the present instruction (power off, exit port, reset). */
  requestStop(): void {
    this.#stopRequested = true;
    this.#running?.stop();
  }

  /** Instructions retired by all CPUs, also in the middle of a slice. */
  get retired(): number {
    return this.state.retired + (this.#running === null ? 0 : this.#running.progress);
  }

  /** Nanoseconds since the clock was last moved, while a slice runs. */
  elapsed(): Ns {
    const done = this.#running === null ? this.#done : this.#running.progress;
    const state = this.state;
    return Math.floor((state.carry + done) / state.count);
  }

  /**
   * Runs until `untilRetired` instructions were retired since power on (exactly), or virtual time reaches `untilNs`, or something else happens
   * first. May return {@link STOP.bound} earlier than that, so that a host loop stays responsive: just call again.
   */
  run(untilRetired: number, untilNs: Ns = Number.POSITIVE_INFINITY): Stop {
    const state = this.state;
    const queue = this.#queue;
    const clock = this.#clock;
    let patience = PATIENCE;
    while (--patience > 0) {
      if (queue.nextDeadline() <= clock.state.now) queue.runDue();
      if (this.#stopRequested) {
        this.#stopRequested = false;
        return STOP.request;
      }
      const left = untilRetired - state.retired;
      const now = clock.state.now;
      if (left <= 0 || now >= untilNs) return STOP.bound;
      const next = queue.nextDeadline();
      const deadline = Math.min(next, untilNs);
      if (state.count === 0) {
        if (next === Number.POSITIVE_INFINITY || this.#deafForLong(now)) return STOP.idle;
        clock.advanceTo(deadline);
        continue;
      }
      if (state.sliceLeft === 0) this.#nextSlice();
      // Instructions until the clock reaches the deadline; never 0, since the deadline lies ahead.
      const untilDeadline = (deadline - now) * state.count - state.carry;
      const budget = Math.min(state.sliceLeft, left, untilDeadline);
      if (this.#runPiece(budget, now) === ACTIVITY.shutdown) return STOP.shutdown;
    }
    return STOP.bound;
  }

  /** Timers that tick for nobody would keep a machine busy for ever. */
  #deafForLong(now: Ns): boolean {
    const state = this.state;
    for (let i = 0; i < this.#cpus.length; i++) if (this.#cpus[i]!.deaf !== true) return false;
    if (state.deafSince < 0) state.deafSince = now;
    return now - state.deafSince >= DEAF_LIMIT;
  }

  /** Gives the next runnable CPU after the present one a fresh slice. */
  #nextSlice(): void {
    const state = this.state;
    const cpus = this.#cpus.length;
    let next = state.current;
    do {
      next = next + 1 === cpus ? 0 : next + 1;
    } while (state.runnable[next] === 0);
    state.current = next;
    state.sliceLeft = state.count === 1 ? LONE_SLICE : this.#drawSlice();
  }

  #drawSlice(): number {
    const slice = this.#slice;
    switch (this.#choice.choose(4, "slice length")) {
      case 1:
        return Math.max(1, slice >> 1);
      case 2:
        return Math.max(1, slice >> 2);
      case 3:
        return slice * 2;
      default:
        return slice;
    }
  }

  /** Lets the current CPU retire up to `budget` instructions, accounts for them and returns what it does now. */
  #runPiece(budget: number, now: Ns): number {
    const state = this.state;
    const cpu = this.#cpus[state.current]!;
    this.#sliceEnd = now + Math.ceil((state.carry + budget) / state.count);
    this.#running = cpu;
    this.#clock.enter(this);
    const done = cpu.run(budget);
    this.#running = null;
    this.#done = done;
    this.#clock.leave();
    if (done > budget || done < 0) throw new ModelBug(`${cpu.name} retired ${done} of ${budget} instructions`);
    state.carry = (state.carry + done) % state.count;
    state.retired += done;
    // A wake-up in the middle has set sliceLeft to 0.
    if (state.sliceLeft !== 0) state.sliceLeft -= done;
    const activity = cpu.activity;
    if (activity !== ACTIVITY.running) this.#setWaiting(state.current);
    if (this.#anyPending) this.#wakePending();
    return activity;
  }

  #wakePending(): void {
    this.#anyPending = false;
    for (let i = 0; i < this.#pending.length; i++) {
      if (this.#pending[i] === 0) continue;
      this.#pending[i] = 0;
      this.#setRunnable(i);
    }
  }
}
