/**
 * High precision event timer. Intel IA-PC HPET Specification 1.0a: a 64-bit counter at 100 MHz and 3 to 8 comparators, each 32 or 64 bits wide, one-shot
 * or periodic, routed to an I/O APIC input, to the legacy IRQ 0 and 8, or sent as a message (FSB).
 *
 * 64-bit values are kept in two 32-bit halves; spans of time are plain numbers. The counter is not stepped: matches are counted when somebody
 * looks, and an enabled interrupt has an alarm. An edge interrupt drops its line and raises it, and the line stays up until the next match or until the
 * timer is reprogrammed. Periods below 128 ticks interrupt at most every 128 ticks (firmware tells that minimum in the ACPI table); the
 * comparator still follows every period.
 *
 * Not modelled: comparisons further than 65 days ahead; accesses narrower than 32 bits, which the specification forbids (writes are dropped).
 */
import { assert } from "../base/assert.ts";
import type { LinePin } from "../ports/line.ts";
import type { MsiTarget } from "../ports/message.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { Alarm, EventQueue } from "../sim/event-queue.ts";
import {
  HPET,
  HPET_BYTES,
  HPET_CONFIGURATION,
  HPET_MAX_TIMERS,
  HPET_PERIOD_FS,
  HPET_TICK_NS,
  HPET_TIMER,
  HPET_TIMER_CONFIG,
  HPET_TIMERS,
  hpetId,
} from "./hpet.regs.ts";

const CONFIG = HPET_TIMER_CONFIG;
const WORD = 0x100000000;
const ONES = 0xffffffff;
/** Distances with a higher upper half count as never: 2^49 ticks are 65 days. */
const FAR_HIGH = 1 << 17;
/** Least ticks between two interrupts of a periodic timer. */
export const HPET_MIN_PERIODIC_TICKS = 128;

type TimerState = {
  /** Low word of the configuration register. */
  config: number;
  comparatorLow: number;
  comparatorHigh: number;
  /** Last value written in periodic mode. */
  periodLow: number;
  periodHigh: number;
  fsbValue: number;
  fsbAddress: number;
  /** Ticks since `start` up to which matches were dealt with; −1: a match at once counts. */
  seen: number;
  /** The edge output is high. */
  edge: boolean;
  /** A 64-bit accumulator's low half was just set with VAL_SET: the high half belongs to it. */
  highFollows: boolean;
};

export type HpetState = {
  configuration: number;
  status: number;
  /** The counter at `start`, or while it is halted. */
  counterLow: number;
  counterHigh: number;
  /** Virtual time in ns of the counter's last start. */
  start: number;
  timers: TimerState[];
};

export type HpetOptions = {
  readonly name?: string;
  readonly queue: EventQueue;
  /** 3 … 8. */
  readonly timers?: number;
  /** Bit n: a timer may be routed to I/O APIC input n. */
  readonly routeCapability?: number;
  /** A new pin on I/O APIC input `input`; asked once per timer and allowed input. */
  readonly pin: (input: number) => LinePin | null;
  /** Pins on the lines of the PIT and of the RTC, for legacy replacement. */
  readonly legacyIrq0: LinePin | null;
  readonly legacyIrq8: LinePin | null;
  /** Legacy replacement went on or off: the board disconnects or reconnects PIT and RTC. */
  readonly legacyReplacement?: (on: boolean) => void;
  /** For FSB delivery; without it the capability bit is 0. */
  readonly msi?: MsiTarget | null;
};

const freshTimer = (config: number): TimerState => ({
  config,
  comparatorLow: ONES,
  comparatorHigh: ONES,
  periodLow: 0,
  periodHigh: 0,
  fsbValue: 0,
  fsbAddress: 0,
  seen: -1,
  edge: false,
  highFollows: false,
});

export class Hpet implements Part {
  readonly name: string;
  readonly state: HpetState;
  readonly window: Window;
  readonly #options: HpetOptions;
  readonly #msi: MsiTarget | null;
  readonly #routes: number;
  readonly #alarms: Alarm[];
  /** Pins by timer and input. */
  readonly #pins: (LinePin | null)[][];
  /** The pin that each timer drives at present. */
  readonly #driven: (LinePin | null)[];
  #low = 0;
  #high = 0;

  constructor(options: HpetOptions) {
    const count = options.timers ?? HPET_TIMERS;
    assert(count >= 3 && count <= HPET_MAX_TIMERS, `HPET with ${count} timers`);
    this.#options = options;
    this.name = options.name ?? "hpet";
    this.#msi = options.msi ?? null;
    this.#routes = (options.routeCapability ?? 0x00ff0104) >>> 0;
    const indices = Array.from({ length: count }, (_, i) => i);
    this.state = {
      configuration: 0,
      status: 0,
      counterLow: 0,
      counterHigh: 0,
      start: 0,
      timers: indices.map(() => freshTimer(this.#resetConfig())),
    };
    this.#alarms = indices.map(i => options.queue.alarm(`${this.name}.timer${i}`, () => this.#sync(i)));
    this.#pins = indices.map(() =>
      Array.from({ length: 32 }, (_, input) => ((this.#routes >>> input) & 1 ? options.pin(input) : null)),
    );
    this.#driven = indices.map(() => null);
    this.window = {
      name: this.name,
      size: HPET_BYTES,
      minWidth: 4,
      maxWidth: 4,
      narrowWrites: "drop",
      read: offset => this.#read(offset),
      write: (offset, _width, value) => this.#write(offset, value >>> 0),
      describe: registerName,
    };
  }

  reset(phase: ResetPhase, _kind: ResetKind): void {
    const { state: s } = this;
    if (phase === "enter") {
      for (const alarm of this.#alarms) alarm.cancel();
      s.configuration = s.status = s.counterLow = s.counterHigh = s.start = 0;
      for (const timer of s.timers) Object.assign(timer, freshTimer(this.#resetConfig()));
    } else if (phase === "hold") {
      this.#driven.forEach((pin, i) => {
        pin?.deassert();
        this.#driven[i] = null;
      });
      this.#options.legacyReplacement?.(false);
    }
  }

  restored(): void {
    this.state.timers.forEach((timer, i) => {
      this.#driven[i] = this.#level(timer, i) ? this.#pinOf(timer, i) : null;
    });
  }

  #resetConfig(): number {
    return CONFIG.periodicCapable.mask | CONFIG.wideCapable.mask | (this.#msi === null ? 0 : CONFIG.fsbCapable.mask);
  }

  get #enabled(): boolean {
    return HPET_CONFIGURATION.enable.on(this.state.configuration);
  }

  /** "If the ENABLE_CNF bit and the LEG_RT_CNF bit are both set" (2.3.5). */
  get #legacy(): boolean {
    return this.#enabled && HPET_CONFIGURATION.legacy.on(this.state.configuration);
  }

  /** Ticks since `start`. */
  #elapsed(): number {
    return this.#enabled ? Math.floor((this.#options.queue.clock.now() - this.state.start) / HPET_TICK_NS) : 0;
  }

  /** Leaves the counter after `ticks` ticks in #low and #high. */
  #counterAfter(ticks: number): void {
    const sum = this.state.counterLow + ticks;
    this.#low = sum >>> 0;
    this.#high = (this.state.counterHigh + Math.floor(sum / WORD)) >>> 0;
  }

  #read(offset: number): number {
    const { state: s } = this;
    if (offset >= HPET.timers) return this.#readTimer(offset);
    if (offset === HPET.counter || offset === HPET.counter + 4) {
      this.#counterAfter(this.#elapsed());
      return offset === HPET.counter ? this.#low : this.#high;
    }
    if (offset === HPET.capabilities + 4) return HPET_PERIOD_FS;
    if (offset === HPET.configuration) return s.configuration;
    if (offset === HPET.status) {
      this.#syncAll();
      return s.status;
    }
    return offset === HPET.capabilities ? hpetId(s.timers.length) : 0;
  }

  #readTimer(offset: number): number {
    const index = Math.floor((offset - HPET.timers) / HPET_TIMER.stride);
    const timer = this.state.timers[index];
    if (timer === undefined) return 0;
    switch ((offset - HPET.timers) % HPET_TIMER.stride) {
      case HPET_TIMER.configuration:
        return timer.config;
      case HPET_TIMER.configuration + 4:
        return this.#routes;
      case HPET_TIMER.comparator:
        this.#sync(index);
        return timer.comparatorLow;
      case HPET_TIMER.comparator + 4:
        this.#sync(index);
        return timer.comparatorHigh;
      case HPET_TIMER.fsbRoute:
        return timer.fsbValue;
      case HPET_TIMER.fsbRoute + 4:
        return timer.fsbAddress;
      default:
        return 0;
    }
  }

  #write(offset: number, value: number): void {
    this.#syncAll();
    if (offset >= HPET.timers) this.#writeTimer(offset, value);
    else {
      if (offset === HPET.configuration) this.#configure(value);
      else if (offset === HPET.status) this.state.status &= ~value;
      else if (offset === HPET.counter) this.#writeCounter(value, false);
      else if (offset === HPET.counter + 4) this.#writeCounter(value, true);
      for (const timer of this.state.timers) timer.highFollows = false;
    }
    this.#syncAll();
  }

  #configure(value: number): void {
    const { state: s } = this;
    const { enable, legacy } = HPET_CONFIGURATION;
    const wasLegacy = this.#legacy;
    const enabling = enable.on(value);
    if (enabling !== this.#enabled) {
      this.#counterAfter(this.#elapsed());
      s.counterLow = this.#low;
      s.counterHigh = this.#high;
      s.start = this.#options.queue.clock.now();
      for (const timer of s.timers) {
        timer.seen = -1;
        timer.edge &&= enabling;
      }
    }
    s.configuration = value & (enable.mask | legacy.mask);
    if (wasLegacy === this.#legacy) return;
    // The timers leave the lines before the PIT and the RTC take them back, and the other way round.
    if (this.#legacy) this.#options.legacyReplacement?.(true);
    else {
      for (const timer of s.timers.slice(0, 2)) timer.edge = false;
      this.#syncAll();
      this.#options.legacyReplacement?.(false);
    }
  }

  /** Meant for a halted counter (2.3.7); a running one goes on from the new value. */
  #writeCounter(value: number, high: boolean): void {
    const { state: s } = this;
    const elapsed = this.#elapsed();
    this.#counterAfter(elapsed);
    s.counterLow = high ? this.#low : value;
    s.counterHigh = high ? value : this.#high;
    s.start += elapsed * HPET_TICK_NS;
    for (const timer of s.timers) timer.seen = -1;
  }

  #writeTimer(offset: number, value: number): void {
    const index = Math.floor((offset - HPET.timers) / HPET_TIMER.stride);
    const timer = this.state.timers[index];
    if (timer === undefined) return;
    const register = (offset - HPET.timers) % HPET_TIMER.stride;
    const { highFollows } = timer;
    for (const other of this.state.timers) other.highFollows = false;
    if (register === HPET_TIMER.configuration) this.#configureTimer(timer, value);
    else if (register === HPET_TIMER.comparator) this.#writeComparator(timer, value);
    else if (register === HPET_TIMER.comparator + 4) this.#writeComparatorHigh(timer, value, highFollows);
    else if (register === HPET_TIMER.fsbRoute) timer.fsbValue = value;
    else if (register === HPET_TIMER.fsbRoute + 4) timer.fsbAddress = value;
  }

  #configureTimer(timer: TimerState, value: number): void {
    const { level, interruptEnable, periodic, valueSet, mode32, route, fsbEnable, fsbCapable } = CONFIG;
    const before = timer.config;
    let writable = level.mask | interruptEnable.mask | periodic.mask | valueSet.mask | mode32.mask;
    if (fsbCapable.on(before)) writable |= fsbEnable.mask;
    let config = (before & ~writable) | (value & writable);
    // "If the value is not supported … the value read back will not match what was written" (2.3.8).
    if ((this.#routes >>> route.of(value)) & 1) config = route.put(config >>> 0, route.of(value));
    // VAL_SET exists only in periodic mode.
    if (!periodic.on(config)) config &= ~valueSet.mask;
    timer.config = config >>> 0;
    if (mode32.on(config)) timer.comparatorHigh = timer.periodHigh = 0;
    const kept = interruptEnable.on(config) && !level.on(config) && !fsbEnable.on(config);
    if (!kept || route.of(before) !== route.of(config)) timer.edge = false;
  }

  /** In periodic mode every write sets the period; the accumulator too when VAL_SET is set, which it clears (2.3.8, 2.3.9.2.2). */
  #writeComparator(timer: TimerState, value: number): void {
    const periodic = CONFIG.periodic.on(timer.config);
    const accumulate = periodic && !CONFIG.valueSet.on(timer.config);
    if (periodic) timer.periodLow = value;
    if (accumulate) return;
    timer.comparatorLow = value;
    timer.seen = this.#elapsed() - 1;
    if (!periodic) return;
    timer.config = (timer.config & ~CONFIG.valueSet.mask) >>> 0;
    timer.highFollows = !CONFIG.mode32.on(timer.config);
  }

  #writeComparatorHigh(timer: TimerState, value: number, highFollows: boolean): void {
    if (CONFIG.mode32.on(timer.config)) return;
    const periodic = CONFIG.periodic.on(timer.config);
    if (periodic) timer.periodHigh = value;
    if (periodic && !highFollows && !CONFIG.valueSet.on(timer.config)) return;
    timer.comparatorHigh = value;
    timer.seen = this.#elapsed() - 1;
    timer.config = (timer.config & ~CONFIG.valueSet.mask) >>> 0;
  }

  /** Ticks since start of the first match after `seen`; Infinity when it is too far. */
  #nextMatch(timer: TimerState): number {
    this.#counterAfter(timer.seen + 1);
    const low = timer.comparatorLow - this.#low;
    if (CONFIG.mode32.on(timer.config)) return timer.seen + 1 + (low >>> 0);
    const high = (timer.comparatorHigh - this.#high - (low < 0 ? 1 : 0)) >>> 0;
    return high >= FAR_HIGH ? Number.POSITIVE_INFINITY : timer.seen + 1 + high * WORD + (low >>> 0);
  }

  /** Period in ticks, 0 when the timer is not periodic, Infinity when it is too long to count. */
  #period(timer: TimerState): number {
    if (!CONFIG.periodic.on(timer.config)) return 0;
    return timer.periodHigh >= FAR_HIGH ? Number.POSITIVE_INFINITY : timer.periodHigh * WORD + timer.periodLow;
  }

  #syncAll(): void {
    for (let i = 0; i < this.state.timers.length; i++) this.#sync(i);
  }

  /** Deals with matches up to now, drives the line, arms the alarm. */
  #sync(index: number): void {
    const timer = this.state.timers[index]!;
    const now = this.#elapsed();
    if (this.#enabled && now > timer.seen) {
      const match = this.#nextMatch(timer);
      if (match <= now) {
        this.#accumulate(timer, now - match);
        this.#matched(timer, index);
      }
      timer.seen = now;
    }
    this.#drive(timer, index);
    this.#arm(timer, index);
  }

  /** Adds as many periods as passed: one, and those that fit into `late` ticks. */
  #accumulate(timer: TimerState, late: number): void {
    const period = this.#period(timer);
    if (period === 0) return;
    const more = period === Number.POSITIVE_INFINITY ? 0 : Math.floor(late / period) * period;
    const low = timer.comparatorLow + timer.periodLow + (more % WORD);
    timer.comparatorLow = low >>> 0;
    if (CONFIG.mode32.on(timer.config)) return;
    const carry = Math.floor(low / WORD) + Math.floor(more / WORD);
    timer.comparatorHigh = (timer.comparatorHigh + timer.periodHigh + carry) >>> 0;
  }

  #matched(timer: TimerState, index: number): void {
    const { config } = timer;
    const enabled = CONFIG.interruptEnable.on(config);
    if (CONFIG.fsbEnable.on(config)) {
      if (enabled) this.#msi?.msi(timer.fsbAddress, timer.fsbValue, 0, 0);
    } else if (CONFIG.level.on(config)) this.state.status = (this.state.status | (1 << index)) >>> 0;
    else if (enabled) {
      timer.edge = false;
      this.#drive(timer, index);
      timer.edge = true;
    }
  }

  #pinOf(timer: TimerState, index: number): LinePin | null {
    if (this.#legacy && index < 2) return index === 0 ? this.#options.legacyIrq0 : this.#options.legacyIrq8;
    return this.#pins[index]![CONFIG.route.of(timer.config)]!;
  }

  #level(timer: TimerState, index: number): boolean {
    const { level, interruptEnable, fsbEnable } = CONFIG;
    if (!interruptEnable.on(timer.config) || fsbEnable.on(timer.config)) return false;
    return level.on(timer.config) ? (this.state.status & (1 << index)) !== 0 : timer.edge;
  }

  #drive(timer: TimerState, index: number): void {
    const pin = this.#level(timer, index) ? this.#pinOf(timer, index) : null;
    const before = this.#driven[index]!;
    if (pin === before) return;
    this.#driven[index] = pin;
    before?.deassert();
    pin?.assert();
  }

  #arm(timer: TimerState, index: number): void {
    const alarm = this.#alarms[index]!;
    const deadline = this.#deadline(timer, index);
    if (deadline !== alarm.deadline) alarm.armAt(deadline);
  }

  /** Time of the next match that somebody hears. */
  #deadline(timer: TimerState, index: number): number {
    const { level, interruptEnable, fsbEnable } = CONFIG;
    if (!this.#enabled || !interruptEnable.on(timer.config)) return Number.POSITIVE_INFINITY;
    const held = level.on(timer.config) && !fsbEnable.on(timer.config) && (this.state.status & (1 << index)) !== 0;
    if (held) return Number.POSITIVE_INFINITY;
    const period = this.#period(timer);
    let match = this.#nextMatch(timer);
    if (period > 0 && period < HPET_MIN_PERIODIC_TICKS) match = Math.max(match, timer.seen + HPET_MIN_PERIODIC_TICKS);
    return this.state.start + match * HPET_TICK_NS;
  }
}

function registerName(offset: number): string {
  const half = offset & 4 ? " high" : "";
  if (offset >= HPET.timers) {
    const register = ((offset - HPET.timers) % HPET_TIMER.stride) & ~7;
    const name =
      register === 0 ? "configuration" : register === 8 ? "comparator" : register === 16 ? "FSB route" : "reserved";
    return `HPET timer ${Math.floor((offset - HPET.timers) / HPET_TIMER.stride)} ${name}${half}`;
  }
  const name = (Object.keys(HPET) as (keyof typeof HPET)[]).find(key => HPET[key] === (offset & ~7));
  return `HPET ${name ?? "reserved"}${half}`;
}
