/**
 * The timer of a local APIC: one-shot, periodic, TSC-deadline. Intel SDM vol. 3A, section "APIC Timer". The bus clock is 1 GHz, so that one count is one
 * nanosecond times the divider. Counts are computed from the clock when they are read; nothing ticks.
 *
 * Decisions: a new divider keeps the present count and goes on with it at the new rate. Changing between one-shot and periodic keeps counting; changing
 * to or from TSC-deadline disarms (section "TSC-Deadline Mode"). The reserved mode 3 does not count.
 */
import type { Ns } from "../base/units.ts";
import type { TimestampCounter } from "../ports/cpu-port.ts";
import { type Alarm, type EventQueue, PRIORITY } from "../sim/event-queue.ts";
import { TIMER_MODE } from "./lapic.regs.ts";

/** Who hears that the count reached zero. */
export interface TimerOwner {
  timerExpired(): void;
}

export type LapicTimerState = {
  mode: number;
  /** Initial-count register. */
  initial: number;
  /** Divide configuration register, bits 3, 1, 0. */
  divide: number;
  counting: boolean;
  /** When the count reaches zero, absolute ns; 0 while not counting. */
  deadline: Ns;
  /** IA32_TSC_DEADLINE; 0 when disarmed. */
  tscLow: number;
  tscHigh: number;
};

/** A deadline further away is looked at again after this time: sums stay exact integers. */
const FARTHEST_NS = 2 ** 50;

/** Figure "Divide Configuration Register": bits 3, 1, 0. */
export function dividerOf(divide: number): number {
  const code = ((divide >>> 1) & 4) | (divide & 3);
  return code === 7 ? 1 : 2 << code;
}

export class LapicTimer {
  readonly state: LapicTimerState = {
    mode: TIMER_MODE.oneShot,
    initial: 0,
    divide: 0,
    counting: false,
    deadline: 0,
    tscLow: 0,
    tscHigh: 0,
  };
  readonly #queue: EventQueue;
  readonly #alarm: Alarm;
  readonly #tsc: TimestampCounter;
  readonly #owner: TimerOwner;

  constructor(queue: EventQueue, name: string, tsc: TimestampCounter, owner: TimerOwner) {
    this.#queue = queue;
    this.#tsc = tsc;
    this.#owner = owner;
    this.#alarm = queue.alarm(name, () => this.#expired(), PRIORITY.timer);
  }

  reset(): void {
    this.#disarm();
    this.state.mode = TIMER_MODE.oneShot;
    this.state.initial = 0;
    this.state.divide = 0;
  }

  setMode(mode: number): void {
    const s = this.state;
    if (mode === s.mode) return;
    if (mode >= TIMER_MODE.tscDeadline || s.mode >= TIMER_MODE.tscDeadline) this.#disarm();
    s.mode = mode;
  }

  setInitial(count: number): void {
    const s = this.state;
    if (s.mode >= TIMER_MODE.tscDeadline) return;
    s.initial = count;
    if (count === 0) this.#disarm();
    else this.#count(count);
  }

  setDivide(value: number): void {
    const s = this.state;
    const left = s.counting ? this.current() : 0;
    s.divide = value & 0xb;
    if (left > 0) this.#count(left);
  }

  /** Current-count register. */
  current(): number {
    const s = this.state;
    if (!s.counting) return 0;
    const divider = dividerOf(s.divide);
    const left = Math.ceil((s.deadline - this.#queue.clock.now()) / divider);
    if (left > 0) return left;
    // The alarm is due and will run at the end of this instruction; a periodic count has been reloaded at the deadline itself.
    return s.mode === TIMER_MODE.periodic ? s.initial + (left % s.initial) : 0;
  }

  writeTscDeadline(low: number, high: number): void {
    const s = this.state;
    if (s.mode !== TIMER_MODE.tscDeadline) return;
    s.tscLow = low;
    s.tscHigh = high;
    if (low === 0 && high === 0) this.#alarm.cancel();
    else this.#armTsc();
  }

  /** The TSC was written: the same value is another time away. */
  tscChanged(): void {
    const s = this.state;
    if (s.mode === TIMER_MODE.tscDeadline && (s.tscLow !== 0 || s.tscHigh !== 0)) this.#armTsc();
  }

  #count(count: number): void {
    const s = this.state;
    s.counting = true;
    s.deadline = this.#queue.clock.now() + count * dividerOf(s.divide);
    this.#alarm.armAt(s.deadline);
  }

  #armTsc(): void {
    const { tscLow, tscHigh } = this.state;
    const wait = Math.min(Math.max(Math.ceil(this.#tsc.nsUntil(tscLow, tscHigh)), 0), FARTHEST_NS);
    this.#alarm.armIn(wait);
  }

  #disarm(): void {
    const s = this.state;
    s.counting = false;
    s.deadline = 0;
    s.tscLow = s.tscHigh = 0;
    this.#alarm.cancel();
  }

  #expired(): void {
    const s = this.state;
    if (s.mode === TIMER_MODE.tscDeadline) {
      if (this.#tsc.nsUntil(s.tscLow, s.tscHigh) > 0) {
        this.#armTsc();
        return;
      }
      s.tscLow = s.tscHigh = 0;
    } else if (s.mode === TIMER_MODE.periodic) {
      // Periods that have gone by since would only set the same IRR bit again.
      const period = s.initial * dividerOf(s.divide);
      s.deadline += period * (Math.floor((this.#queue.clock.now() - s.deadline) / period) + 1);
      this.#alarm.armAt(s.deadline);
    } else {
      s.counting = false;
      s.deadline = 0;
    }
    this.#owner.timerExpired();
  }
}
