/**
 * Characters from the host on their way into the serial port: one per character time, so that a burst of keys does not overrun the receiver.
 */
import type { Ns } from "../base/units.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import { type Alarm, type EventQueue, PRIORITY } from "../sim/event-queue.ts";

/** Ten bits at 115200 baud. */
const CHARACTER_NS: Ns = 86_806;

export class SerialFeed implements Part {
  readonly name = "serial-feed";
  readonly state: { waiting: number[] } = { waiting: [] };
  readonly #alarm: Alarm;
  readonly #queue: EventQueue;
  readonly #deliver: (byte: number) => void;

  constructor(queue: EventQueue, deliver: (byte: number) => void) {
    this.#queue = queue;
    this.#deliver = deliver;
    this.#alarm = queue.alarm(this.name, () => this.#next(), PRIORITY.host);
  }

  reset(phase: ResetPhase, kind: ResetKind): void {
    if (phase !== "enter" || kind !== "power") return;
    this.state.waiting.length = 0;
    this.#alarm.cancel();
  }

  /** Adds characters at the present instant. */
  push(bytes: Iterable<number>): void {
    for (const byte of bytes) this.state.waiting.push(byte & 0xff);
    if (!this.#alarm.armed && this.state.waiting.length > 0) this.#alarm.armAt(this.#queue.clock.now());
  }

  #next(): void {
    const byte = this.state.waiting.shift();
    if (byte !== undefined) this.#deliver(byte);
    if (this.state.waiting.length > 0) this.#alarm.armIn(CHARACTER_NS);
  }
}
