/**
 * 8254 programmable interval timer: three 16-bit down counters on a 1.193182 MHz clock. Intel 8254 datasheet (order number 231164).
 *
 * A counter is not stepped: its state is exact at clock pulse `at`, and everything up to the present pulse is computed when somebody looks or when
 * OUT of counter 0 changes. Clock pulses are numbered from virtual time 0. A written count is loaded on the next clock pulse.
 *
 * Not modelled: the chip's undefined state after power up (here: mode 3 without a count, OUT high, as quiet as a board that firmware has left can be: the first
 * control word makes no edge); counts of 1 in modes 2 and 3, which the datasheet calls illegal (OUT then stays at one level). A counter without a count
 * keeps its last value.
 */
import { exists } from "../base/assert.ts";
import type { LinePin } from "../ports/line.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { Alarm, EventQueue } from "../sim/event-queue.ts";
import { PIT, PIT_CONTROL, PIT_HZ, PIT_READ_BACK, PIT_STATUS } from "./pit8254.regs.ts";
import { Oscillator } from "./ticks.ts";

const CLOCK = new Oscillator(PIT_HZ);
const NAMES = ["PIT counter 0", "PIT counter 1", "PIT counter 2", "PIT control"] as const;
/** Values of PIT_CONTROL.access. */
const ACCESS = { latch: 0, low: 1, high: 2, both: 3 } as const;

/** Both bytes, mode 3, binary. */
const POWER_ON_CONTROL = 0x36;

type CounterState = {
  /** Low six bits of the last control word. */
  control: number;
  /** 0 … 5. */
  mode: number;
  gate: boolean;
  out: boolean;
  /** Count register: 1 … 65536 (10000 in BCD); 0 while none was written since the control word. */
  count: number;
  /** A count was written that the counting element has not taken over yet. */
  nullCount: boolean;
  /** First byte of a two-byte count, and whether the second byte is due. */
  lowByte: number;
  writeHigh: boolean;
  readHigh: boolean;
  /** Latched count and its bytes still to be read. */
  latched: number;
  latchedBytes: number;
  /** Latched status byte, −1 when none. */
  latchedStatus: number;
  /** Counting element at pulse `at`. */
  element: number;
  at: number;
  /** Pulse at which the count register is transferred, −1 when none is due. */
  loadAt: number;
  /** A count was transferred: the element counts (gate permitting). */
  counting: boolean;
  /** Modes 0, 1, 4, 5: the end was reached once since the transfer. */
  expired: boolean;
  /** Mode 3: the count in use is odd. */
  odd: boolean;
};

export type PitState = { counters: CounterState[]; irqConnected: boolean };

export type PitOptions = {
  readonly name?: string;
  readonly queue: EventQueue;
  /** OUT of counter 0; null when nobody listens. */
  readonly irq: LinePin | null;
};

const freshCounter = (gate: boolean): CounterState => ({
  control: POWER_ON_CONTROL,
  mode: 3,
  gate,
  out: true,
  count: 0,
  nullCount: true,
  lowByte: 0,
  writeHigh: false,
  readHigh: false,
  latched: 0,
  latchedBytes: 0,
  latchedStatus: -1,
  element: 0,
  at: 0,
  loadAt: -1,
  counting: false,
  expired: false,
  odd: false,
});

export class Pit8254 implements Part {
  readonly name: string;
  readonly state: PitState;
  readonly window: Window;
  readonly #queue: EventQueue;
  readonly #irq: LinePin | null;
  readonly #alarm: Alarm;

  constructor(options: PitOptions) {
    this.name = options.name ?? "pit";
    this.#queue = options.queue;
    this.#irq = options.irq;
    this.state = { counters: [freshCounter(true), freshCounter(true), freshCounter(false)], irqConnected: true };
    this.#alarm = options.queue.alarm(`${this.name}.out0`, () => this.#sync());
    this.window = {
      name: this.name,
      size: 4,
      minWidth: 1,
      maxWidth: 1,
      read: offset => this.#read(offset),
      write: (offset, _width, value) => this.#write(offset, value),
      describe: offset => NAMES[offset] ?? "PIT",
    };
  }

  reset(phase: ResetPhase, _kind: ResetKind): void {
    if (phase === "enter") {
      this.#alarm.cancel();
      const at = this.#pulse();
      this.state.counters.forEach((counter, i) => {
        Object.assign(counter, freshCounter(i !== 2), { at });
      });
      this.state.irqConnected = true;
    } else if (phase === "hold") this.#irq?.set(this.state.counters[0]!.out);
  }

  /** Level of OUT of `channel` (0 … 2) now. */
  out(channel: number): boolean {
    const counter = this.#counter(channel);
    if (channel === 0) this.#sync();
    else advance(counter, this.#pulse());
    return counter.out;
  }

  /** Drives GATE of `channel`. A rising edge is the trigger of modes 1, 2, 3 and 5. */
  setGate(channel: number, level: boolean): void {
    const counter = this.#counter(channel);
    if (counter.gate === level) return;
    if (channel === 0) this.#sync();
    advance(counter, this.#pulse());
    counter.gate = level;
    const { mode } = counter;
    if (level && mode !== 0 && mode !== 4 && counter.count !== 0) counter.loadAt = counter.at + 1;
    // "If GATE goes low during an output pulse, OUT is set high immediately" (modes 2 and 3).
    if (!level && (mode === 2 || mode === 3)) counter.out = true;
    if (channel === 0) this.#sync();
  }

  /** Connects or disconnects counter 0 and its interrupt line (HPET legacy replacement). */
  setIrqConnected(on: boolean): void {
    if (this.state.irqConnected === on) return;
    this.#sync();
    this.state.irqConnected = on;
    this.#sync();
  }

  #counter(channel: number): CounterState {
    return exists(this.state.counters[channel], `${this.name}: no counter ${channel}`);
  }

  #pulse(): number {
    return CLOCK.ticksAt(this.#queue.clock.now());
  }

  /** Brings counter 0 to the present, shows every edge of its OUT, and wakes up for the next one. */
  #sync(): void {
    const counter = this.#counter(0);
    const now = this.#pulse();
    const pin = this.state.irqConnected ? this.#irq : null;
    if (pin === null) {
      advance(counter, now);
      this.#irq?.deassert();
      this.#alarm.cancel();
      return;
    }
    pin.set(counter.out);
    let edge = nextChange(counter);
    while (edge <= now) {
      advance(counter, edge);
      pin.set(counter.out);
      edge = nextChange(counter);
    }
    advance(counter, now);
    const deadline = CLOCK.timeOf(edge);
    if (this.#alarm.deadline !== deadline) this.#alarm.armAt(deadline);
  }

  #read(offset: number): number {
    // "No operation": the data bus stays in the high-impedance state.
    if (offset === PIT.control) return 0xff;
    const counter = this.#counter(offset);
    if (counter.latchedStatus >= 0) {
      const status = counter.latchedStatus;
      counter.latchedStatus = -1;
      return status;
    }
    const access = PIT_CONTROL.access.of(counter.control);
    if (counter.latchedBytes > 0) {
      const high = access === ACCESS.high || (access === ACCESS.both && counter.latchedBytes === 1);
      counter.latchedBytes -= access === ACCESS.both ? 1 : counter.latchedBytes;
      return high ? counter.latched >>> 8 : counter.latched & 0xff;
    }
    if (offset === 0) this.#sync();
    else advance(counter, this.#pulse());
    const high = access === ACCESS.high || (access === ACCESS.both && counter.readHigh);
    if (access === ACCESS.both) counter.readHigh = !counter.readHigh;
    const value = countOf(counter);
    return high ? value >>> 8 : value & 0xff;
  }

  #write(offset: number, value: number): void {
    // OUT of counter 0 up to now is shown before anything changes.
    this.#sync();
    const now = this.#pulse();
    for (const counter of this.state.counters) advance(counter, now);
    if (offset !== PIT.control) writeCount(this.#counter(offset), value);
    else if (PIT_CONTROL.select.of(value) === 3) this.#readBack(value);
    else {
      const counter = this.#counter(PIT_CONTROL.select.of(value));
      if (PIT_CONTROL.access.of(value) === ACCESS.latch) latchCount(counter);
      else writeControl(counter, value);
    }
    this.#sync();
  }

  #readBack(value: number): void {
    const counters = PIT_READ_BACK.counters.of(value);
    this.state.counters.forEach((counter, i) => {
      if ((counters & (1 << i)) === 0) return;
      if (!PIT_READ_BACK.noCount.on(value)) latchCount(counter);
      if (!PIT_READ_BACK.noStatus.on(value)) latchStatus(counter);
    });
  }
}

/** Counts before the counting element wraps. */
const modulus = (c: CounterState): number => (PIT_CONTROL.bcd.on(c.control) ? 10_000 : 0x10000);

/** What the output latch follows: the counting element in the programmed code. */
function countOf(c: CounterState): number {
  const value = c.element % modulus(c);
  if (!PIT_CONTROL.bcd.on(c.control)) return value;
  const digit = (unit: number): number => Math.floor(value / unit) % 10;
  return (digit(1000) << 12) | (digit(100) << 8) | (digit(10) << 4) | digit(1);
}

/** "If a Counter is latched and then, some time later, latched again before the Count is read, the second Latch Command is ignored." */
function latchCount(c: CounterState): void {
  if (c.latchedBytes > 0) return;
  c.latched = countOf(c);
  c.latchedBytes = 2;
  c.readHigh = false;
}

function latchStatus(c: CounterState): void {
  if (c.latchedStatus >= 0) return;
  c.latchedStatus = c.control | (c.nullCount ? PIT_STATUS.nullCount.mask : 0) | (c.out ? PIT_STATUS.out.mask : 0);
}

function writeControl(c: CounterState, value: number): void {
  const { gate, at, element } = c;
  const bits = PIT_CONTROL.mode.of(value);
  Object.assign(c, freshCounter(gate), { at, element });
  c.control = value & 0x3f;
  // Modes 2 and 3 ignore the top mode bit (control word format: X10, X11).
  c.mode = bits > 5 ? bits - 4 : bits;
  c.out = c.mode !== 0;
}

function writeCount(c: CounterState, value: number): void {
  const access = PIT_CONTROL.access.of(c.control);
  if (access === ACCESS.both && !c.writeHigh) {
    c.lowByte = value;
    c.writeHigh = true;
    if (c.mode === 0) {
      c.counting = false;
      c.loadAt = -1;
      c.out = false;
    }
    return;
  }
  const raw = access === ACCESS.low ? value : access === ACCESS.high ? value << 8 : (value << 8) | c.lowByte;
  c.writeHigh = false;
  c.count = decodeCount(c, raw);
  c.nullCount = true;
  if (c.mode === 0) c.out = false;
  if (c.mode === 0 || c.mode === 4) c.loadAt = c.at + 1;
  // Modes 2 and 3 take a later count at the end of the period or half period; modes 1 and 5 take any count at the trigger.
  if ((c.mode === 2 || c.mode === 3) && !c.counting) c.loadAt = c.at + 1;
}

/** 0 stands for the largest count: 65536, or 10000 in BCD. */
function decodeCount(c: CounterState, raw: number): number {
  if (!PIT_CONTROL.bcd.on(c.control)) return raw === 0 ? 0x10000 : raw;
  const value = (raw >>> 12) * 1000 + ((raw >>> 8) & 15) * 100 + ((raw >>> 4) & 15) * 10 + (raw & 15);
  return value % 10_000 === 0 ? 10_000 : value % 10_000;
}

/** Transfers the count register into the counting element. */
function load(c: CounterState): void {
  c.odd = c.mode === 3 && c.count % 2 === 1;
  c.element = c.odd ? c.count - 1 : c.count;
  c.nullCount = false;
  c.counting = true;
  c.expired = false;
}

/** The first transfer after a control word or trigger, at pulse loadAt. */
function firstLoad(c: CounterState): void {
  load(c);
  c.at = c.loadAt;
  c.loadAt = -1;
  if (c.mode === 1) c.out = false;
  else if (c.mode !== 0) c.out = c.mode !== 2 || c.count !== 1;
}

/** Brings a counter to pulse `to`. */
function advance(c: CounterState, to: number): void {
  if (c.loadAt >= 0 && c.loadAt <= to) {
    run(c, c.loadAt - 1 - c.at);
    firstLoad(c);
  }
  if (to > c.at) {
    run(c, to - c.at);
    c.at = to;
  }
}

/** `pulses` clock pulses without a transfer from outside. */
function run(c: CounterState, pulses: number): void {
  if (pulses <= 0) return;
  // The strobe of modes 4 and 5 lasts one pulse whatever the gate does.
  if (c.mode >= 4) c.out = true;
  if (!c.counting || (!c.gate && c.mode !== 1 && c.mode !== 5)) return;
  if (c.mode === 2) runRate(c, pulses);
  else if (c.mode === 3) runSquare(c, pulses);
  else runOnce(c, pulses);
}

/** Modes 0, 1, 4, 5: one end of count, then the element wraps and goes on. */
function runOnce(c: CounterState, pulses: number): void {
  if (!c.expired && pulses >= c.element) {
    c.expired = true;
    c.out = c.mode < 4 || pulses > c.element;
  }
  const wrap = modulus(c);
  c.element = (((c.element - pulses) % wrap) + wrap) % wrap;
}

/** Mode 2: OUT is low while the element is 1, then the count is reloaded. */
function runRate(c: CounterState, pulses: number): void {
  if (pulses >= c.element) {
    pulses -= c.element;
    load(c);
    pulses %= c.count;
  }
  c.element -= pulses;
  c.out = c.element !== 1;
}

/** Pulses to the end of the present half period of mode 3. */
const halfLeft = (c: CounterState): number => c.element / 2 + (c.odd && c.out ? 1 : 0);

/** Mode 3: the element counts by two, OUT changes and the count is reloaded when it expires. */
function runSquare(c: CounterState, pulses: number): void {
  while (pulses >= halfLeft(c)) {
    pulses -= halfLeft(c);
    c.out = !c.out;
    load(c);
    if (c.count === 1) {
      c.out = true;
      return;
    }
    pulses %= c.count;
  }
  c.element -= 2 * pulses;
}

/** Pulse at which OUT may change next if nobody touches the counter; Infinity when it stays. */
function nextChange(c: CounterState): number {
  if (c.loadAt >= 0) return c.loadAt;
  if (c.mode >= 4 && !c.out) return c.at + 1;
  if (!c.counting || (!c.gate && c.mode !== 1 && c.mode !== 5)) return Number.POSITIVE_INFINITY;
  if (c.mode === 2) return c.count === 1 && c.element === 1 ? Infinity : c.at + (c.out ? c.element - 1 : 1);
  if (c.mode === 3) return c.count === 1 && c.out ? Infinity : c.at + halfLeft(c);
  return c.expired ? Number.POSITIVE_INFINITY : c.at + c.element;
}
