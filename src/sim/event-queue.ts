/**
 * What happens later: named alarms in a binary heap, ordered by (time, priority, sequence). A part creates its alarms once, in its constructor;
 * the queue holds names and times, never closures made on the way, so that it can be saved, loaded and hashed.
 */
import { assert, HostError, ModelBug } from "../base/assert.ts";
import type { Ns } from "../base/units.ts";
import type { Clock } from "./clock.ts";

/** Order of alarms that fall on the same nanosecond; lower runs first. */
export const PRIORITY = { line: 0, timer: 1, device: 2, host: 3 } as const;

/** A named timer. Its callback runs at its deadline, once, unless armed again. */
export class Alarm {
  readonly name: string;
  readonly priority: number;
  /** Absolute time in ns; Infinity when not armed. */
  deadline: Ns = Number.POSITIVE_INFINITY;
  sequence = 0;
  heapIndex = -1;
  readonly fire: () => void;
  readonly #queue: EventQueue;

  constructor(queue: EventQueue, name: string, priority: number, fire: () => void) {
    this.#queue = queue;
    this.name = name;
    this.priority = priority;
    this.fire = fire;
  }

  get armed(): boolean {
    return this.heapIndex >= 0;
  }

  /** (Re-)arms for the absolute time `deadline` (ns); a time in the past means now. */
  armAt(deadline: Ns): void {
    this.#queue.arm(this, deadline);
  }

  /** (Re-)arms for `delay` ns from now. */
  armIn(delay: Ns): void {
    this.#queue.arm(this, this.#queue.clock.now() + delay);
  }

  cancel(): void {
    this.#queue.cancel(this);
  }
}

export type QueueState = { sequence: number; armed: { name: string; deadline: Ns; sequence: number }[] };

export class EventQueue {
  readonly clock: Clock;
  readonly #alarms = new Map<string, Alarm>();
  readonly #heap: Alarm[] = [];
  #sequence = 0;
  /** Called when the earliest deadline moves earlier, so that a running slice can be cut short. */
  onEarlier: (() => void) | null = null;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Creates a named alarm; names are unique in a machine. */
  alarm(name: string, fire: () => void, priority: number = PRIORITY.timer): Alarm {
    assert(!this.#alarms.has(name), `event queue: alarm ${name} exists already`);
    const alarm = new Alarm(this, name, priority, fire);
    this.#alarms.set(name, alarm);
    return alarm;
  }

  /** Earliest deadline in ns, Infinity when nothing is armed. */
  nextDeadline(): Ns {
    return this.#heap.length === 0 ? Number.POSITIVE_INFINITY : this.#heap[0]!.deadline;
  }

  arm(alarm: Alarm, deadline: Ns): void {
    if (deadline !== Math.floor(deadline))
      throw new ModelBug(`alarm ${alarm.name}: deadline ${deadline} is no integer`);
    const before = this.nextDeadline();
    if (alarm.heapIndex >= 0) this.#remove(alarm);
    if (deadline === Number.POSITIVE_INFINITY) return;
    alarm.deadline = deadline;
    alarm.sequence = this.#sequence++;
    this.#insert(alarm);
    if (deadline < before && this.onEarlier !== null) this.onEarlier();
  }

  cancel(alarm: Alarm): void {
    if (alarm.heapIndex >= 0) this.#remove(alarm);
  }

  /** Runs every alarm whose deadline is not after the clock's present instant, in order. */
  runDue(): void {
    const now = this.clock.now();
    while (this.#heap.length > 0 && this.#heap[0]!.deadline <= now) {
      const alarm = this.#heap[0]!;
      this.#remove(alarm);
      alarm.fire();
    }
  }

  save(): QueueState {
    const armed = this.#heap.map(a => ({ name: a.name, deadline: a.deadline, sequence: a.sequence }));
    armed.sort((x, y) => x.sequence - y.sequence);
    return { sequence: this.#sequence, armed };
  }

  load(state: QueueState): void {
    while (this.#heap.length > 0) this.#remove(this.#heap[0]!);
    for (const { name, deadline, sequence } of state.armed) {
      const alarm = this.#alarms.get(name);
      if (alarm === undefined) throw new HostError(`snapshot does not fit: no alarm is called ${name}`, 66);
      alarm.deadline = deadline;
      alarm.sequence = sequence;
      this.#insert(alarm);
    }
    this.#sequence = state.sequence;
  }

  #before(a: Alarm, b: Alarm): boolean {
    if (a.deadline !== b.deadline) return a.deadline < b.deadline;
    if (a.priority !== b.priority) return a.priority < b.priority;
    return a.sequence < b.sequence;
  }

  #insert(alarm: Alarm): void {
    this.#heap.push(alarm);
    alarm.heapIndex = this.#heap.length - 1;
    this.#up(alarm.heapIndex);
  }

  #remove(alarm: Alarm): void {
    const index = alarm.heapIndex;
    const last = this.#heap.pop()!;
    alarm.heapIndex = -1;
    alarm.deadline = Number.POSITIVE_INFINITY;
    if (last === alarm) return;
    this.#heap[index] = last;
    last.heapIndex = index;
    this.#up(index);
    this.#down(last.heapIndex);
  }

  #swap(i: number, j: number): void {
    const a = this.#heap[i]!;
    const b = this.#heap[j]!;
    this.#heap[i] = b;
    this.#heap[j] = a;
    b.heapIndex = i;
    a.heapIndex = j;
  }

  #up(start: number): void {
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.#before(this.#heap[index]!, this.#heap[parent]!)) return;
      this.#swap(index, parent);
      index = parent;
    }
  }

  #down(start: number): void {
    let index = start;
    for (;;) {
      let least = index;
      for (let child = 2 * index + 1; child <= 2 * index + 2 && child < this.#heap.length; child++) {
        if (this.#before(this.#heap[child]!, this.#heap[least]!)) least = child;
      }
      if (least === index) return;
      this.#swap(index, least);
      index = least;
    }
  }
}
