/**
 * An interrupt line: held, asserted and deasserted, wired-OR. Whoever drives it holds a {@link LinePin}; the line is high while at least one pin is.
 * Polarity belongs to the controller's input, not to the wire: `true` always means "asserted by the device" for the I/O APIC's polarity rules see
 * intc/ioapic.ts.
 */
import { assert } from "../base/assert.ts";
import type { CauseId } from "../base/units.ts";
import type { Trace } from "../sim/trace.ts";
import { EVENT } from "./events.ts";

/** The input side of a controller. */
export interface LineSink {
  /** Input `pin` now has `level`. Called only on changes, and once at connection if the line is high. */
  lineChanged(pin: number, level: boolean, cause: CauseId): void;
  /** After a load: adopt the level without seeing an edge. */
  lineRestored?(pin: number, level: boolean): void;
}

export type LineState = { asserters: number };

/** One driver's hold on a line. */
export class LinePin {
  readonly #line: Line;
  readonly #bit: number;
  constructor(line: Line, bit: number) {
    this.#line = line;
    this.#bit = bit;
  }
  get level(): boolean {
    return (this.#line.state.asserters & this.#bit) !== 0;
  }
  /** Drives the pin; does nothing when the level is the same already. */
  set(level: boolean, cause: CauseId = 0): void {
    this.#line.drive(this.#bit, level, cause);
  }
  assert(cause: CauseId = 0): void {
    this.set(true, cause);
  }
  deassert(cause: CauseId = 0): void {
    this.set(false, cause);
  }
  /** Up and down again: an edge. A pin that is high already makes none. */
  pulse(cause: CauseId = 0): void {
    this.set(true, cause);
    this.set(false, cause);
  }
}

/** A wire with up to 31 drivers and any number of sinks. */
export class Line {
  readonly name: string;
  /** The board's number of this line, the subject of its trace events. */
  readonly index: number;
  readonly state: LineState = { asserters: 0 };
  readonly #trace: Trace | null;
  readonly #sinks: { sink: LineSink; pin: number }[] = [];
  #pins = 0;

  constructor(name: string, index = 0, trace: Trace | null = null) {
    this.name = name;
    this.index = index;
    this.#trace = trace;
  }

  get level(): boolean {
    return this.state.asserters !== 0;
  }

  /** A new driver, low at first. */
  pin(): LinePin {
    assert(this.#pins < 31, `line ${this.name}: too many drivers`);
    return new LinePin(this, 1 << this.#pins++);
  }

  /** Connects `sink`'s input `pin`; transmits the present level when it is high. */
  connect(sink: LineSink, pin: number): void {
    this.#sinks.push({ sink, pin });
    if (this.level) sink.lineChanged(pin, true, 0);
  }

  /** Used by {@link LinePin}. */
  drive(bit: number, level: boolean, cause: CauseId): void {
    const before = this.state.asserters;
    const after = level ? before | bit : before & ~bit;
    if (after === before) return;
    this.state.asserters = after;
    if ((before !== 0) === (after !== 0)) return;
    const id =
      this.#trace === null ? cause : this.#trace.emit(EVENT.lineLevel, this.index, after !== 0 ? 1 : 0, 0, 0, cause);
    for (let i = 0; i < this.#sinks.length; i++) this.#sinks[i]!.sink.lineChanged(this.#sinks[i]!.pin, after !== 0, id);
  }

  /** After `state` was loaded: sinks adopt the level, nobody sees an edge. */
  restored(): void {
    for (const { sink, pin } of this.#sinks) sink.lineRestored?.(pin, this.level);
  }
}
