/**
 * Real-time clock and CMOS RAM. Motorola MC146818A datasheet, on the PC's ports 0x70-0x73 with a second bank of 128 bytes.
 *
 * The clock runs in virtual time from a configured date, never the host's. It is brought up to date when somebody looks; alarms of the queue exist
 * only for interrupts that are enabled. An update ends on a whole second of the divider.
 *
 * Not modelled: daylight saving (the bit is kept and does nothing), the square wave pin, crystals other than 32768 Hz, the undefined values
 * that a read during an update gives (here: the old time). The century byte counts with the year; 2100 is a leap year, as in the chip.
 */
import type { LinePin } from "../ports/line.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { Alarm, EventQueue } from "../sim/event-queue.ts";
import {
  RTC,
  RTC_A,
  RTC_B,
  RTC_C,
  RTC_D,
  RTC_DIVIDER_32K,
  RTC_DONT_CARE,
  RTC_FIRST_UPDATE_TICKS,
  RTC_HZ,
  RTC_UIP_TICKS,
} from "./rtc.regs.ts";
import { Oscillator } from "./ticks.ts";

const CRYSTAL = new Oscillator(RTC_HZ);
const BANK = 128;
const DAY = 86_400;
const FLAGS = RTC_C.update.mask | RTC_C.alarm.mask | RTC_C.periodic.mask;
/** Rate 6 (1024 Hz) and the 32768 Hz divider: what a PC's firmware sets. */
const POWER_ON_A = 0x26;
const MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;

export type RtcDate = {
  readonly year: number;
  /** 1 … 12 */
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
};

export const RTC_DEFAULT_DATE: RtcDate = { year: 2026, month: 1, day: 1, hour: 0, minute: 0, second: 0 };

export type RtcState = {
  index: number;
  extendedIndex: number;
  /** Registers and RAM as the guest sees them; the update-in-progress bit is computed. */
  cmos: Uint8Array;
  extended: Uint8Array;
  /** Crystal tick at which the divider was zero. */
  base: number;
  /** Whole seconds of the divider that were dealt with. */
  seconds: number;
  /** Crystal tick up to which the periodic flag was dealt with. */
  periodicSeen: number;
  irqConnected: boolean;
};

export type RtcOptions = {
  readonly name?: string;
  readonly queue: EventQueue;
  readonly irq: LinePin | null;
  /** Time at power on, UTC. */
  readonly date?: RtcDate;
  /** CMOS bytes at power on, `[address, value]`: memory size, shutdown status and so on. */
  readonly cmos?: readonly (readonly [number, number])[];
  /** Bit 7 of port 0x70 was written: NMI is masked. */
  readonly nmiMask?: (masked: boolean) => void;
};

export class Rtc implements Part {
  readonly name: string;
  /** Ports 0x70-0x73: index, data, second bank's index, second bank's data. */
  readonly window: Window;
  readonly state: RtcState = {
    index: 0,
    extendedIndex: 0,
    cmos: new Uint8Array(BANK),
    extended: new Uint8Array(BANK),
    base: 0,
    seconds: 0,
    periodicSeen: 0,
    irqConnected: true,
  };
  readonly #options: RtcOptions;
  readonly #alarm: Alarm;

  constructor(options: RtcOptions) {
    this.#options = options;
    this.name = options.name ?? "rtc";
    this.#alarm = options.queue.alarm(this.name, () => this.#sync());
    this.#powerOn();
    this.window = {
      name: this.name,
      size: 4,
      minWidth: 1,
      maxWidth: 1,
      read: offset => this.#readPort(offset),
      write: (offset, _width, value) => this.#writePort(offset, value),
      describe: offset => ["CMOS index", "CMOS data", "CMOS index 2", "CMOS data 2"][offset] ?? this.name,
    };
  }

  /** The battery carries time and RAM over a system reset; the RESET pin clears the enables and flags of registers B and C. */
  reset(phase: ResetPhase, kind: ResetKind): void {
    const { state: s } = this;
    if (phase === "enter") {
      this.#alarm.cancel();
      s.index = s.extendedIndex = 0;
      s.irqConnected = true;
      if (kind === "power") this.#powerOn();
      else {
        this.#advance();
        const { periodicInterrupt, alarmInterrupt, updateInterrupt, squareWave } = RTC_B;
        const enables = periodicInterrupt.mask | alarmInterrupt.mask | updateInterrupt.mask | squareWave.mask;
        s.cmos[RTC.b] = s.cmos[RTC.b]! & ~enables;
        s.cmos[RTC.c] = 0;
      }
    } else if (phase === "hold") {
      this.#options.nmiMask?.(false);
      this.#sync();
    }
  }

  /** The firmware's way to the CMOS RAM, without the ports. Address 0 … 127. */
  setCmos(address: number, value: number): void {
    this.#write(address, value & 0xff);
    this.#sync();
  }

  /** A byte of the CMOS RAM as the guest would read it, without the side effects of reading register C. */
  peekCmos(address: number): number {
    this.#advance();
    return address === RTC.c ? this.state.cmos[RTC.c]! : this.#read(address);
  }

  /** Connects or disconnects the interrupt line (HPET legacy replacement). */
  setIrqConnected(on: boolean): void {
    this.state.irqConnected = on;
    this.#sync();
  }

  #powerOn(): void {
    const { state: s } = this;
    const date = this.#options.date ?? RTC_DEFAULT_DATE;
    s.cmos.fill(0);
    s.extended.fill(0);
    s.base = s.periodicSeen = this.#tick();
    s.seconds = 0;
    s.cmos[RTC.a] = POWER_ON_A;
    s.cmos[RTC.b] = RTC_B.hours24.mask;
    s.cmos[RTC.d] = RTC_D.validRam.mask;
    this.#setTimeOfDay(date.hour * 3600 + date.minute * 60 + date.second);
    s.cmos[RTC.dayOfWeek] = dayOfWeek(date);
    s.cmos[RTC.dayOfMonth] = this.#encode(date.day);
    s.cmos[RTC.month] = this.#encode(date.month);
    s.cmos[RTC.year] = this.#encode(date.year % 100);
    s.cmos[RTC.century] = this.#encode(Math.floor(date.year / 100));
    for (const [address, value] of this.#options.cmos ?? []) s.cmos[address & (BANK - 1)] = value;
  }

  #readPort(offset: number): number {
    const { state: s } = this;
    // The index ports are write only.
    if (offset === 3) return s.extended[s.extendedIndex]!;
    if (offset !== 1) return 0xff;
    const value = this.#read(s.index);
    this.#sync();
    return value;
  }

  #writePort(offset: number, value: number): void {
    const { state: s } = this;
    if (offset === 0) {
      s.index = value & (BANK - 1);
      this.#options.nmiMask?.(value >= BANK);
    } else if (offset === 2) s.extendedIndex = value & (BANK - 1);
    else if (offset === 3) s.extended[s.extendedIndex] = value;
    else {
      this.#write(s.index, value);
      this.#sync();
    }
  }

  #read(address: number): number {
    this.#advance();
    const { cmos } = this.state;
    const value = cmos[address]!;
    if (address === RTC.a) return value | (this.#updateInProgress() ? RTC_A.updateInProgress.mask : 0);
    if (address === RTC.c) {
      const irq = this.#interrupting() ? RTC_C.interrupt.mask : 0;
      cmos[RTC.c] = 0;
      return value | irq;
    }
    return value;
  }

  #write(address: number, value: number): void {
    this.#advance();
    const { cmos } = this.state;
    if (address === RTC.a) this.#writeA(value);
    else if (address === RTC.b) {
      // "UIE is cleared … when the SET bit goes high."
      cmos[RTC.b] = RTC_B.set.on(value) ? value & ~RTC_B.updateInterrupt.mask : value;
    } else if (address === RTC.seconds) cmos[address] = value & 0x7f;
    else if (address !== RTC.c && address !== RTC.d) cmos[address] = value;
  }

  #writeA(value: number): void {
    const { state: s } = this;
    const ran = this.#running;
    s.cmos[RTC.a] = value & ~RTC_A.updateInProgress.mask;
    if (ran || !this.#running) return;
    s.base = this.#tick() - RTC_FIRST_UPDATE_TICKS;
    s.periodicSeen = this.#tick();
    s.seconds = 0;
  }

  #tick(): number {
    return CRYSTAL.ticksAt(this.#options.queue.clock.now());
  }

  get #running(): boolean {
    return RTC_A.divider.of(this.state.cmos[RTC.a]!) === RTC_DIVIDER_32K;
  }

  get #updates(): boolean {
    return this.#running && !RTC_B.set.on(this.state.cmos[RTC.b]!);
  }

  #updateInProgress(): boolean {
    const phase = (this.#tick() - this.state.base) % RTC_HZ;
    return this.#updates && phase >= RTC_HZ - RTC_UIP_TICKS;
  }

  /** Period of the periodic interrupt in ticks; 0 for none. Rates 1 and 2 are 256 and 128 Hz. */
  #period(): number {
    const rate = RTC_A.rate.of(this.state.cmos[RTC.a]!);
    if (rate === 0) return 0;
    return 1 << (rate < 3 ? rate + 6 : rate - 1);
  }

  #interrupting(): boolean {
    const { cmos } = this.state;
    return (cmos[RTC.c]! & cmos[RTC.b]! & FLAGS) !== 0;
  }

  /** Brings time and flags to the present. */
  #advance(): void {
    if (!this.#running) return;
    const { state: s } = this;
    const now = this.#tick();
    const seconds = Math.floor((now - s.base) / RTC_HZ);
    if (seconds > s.seconds) {
      if (this.#updates) this.#update(seconds - s.seconds);
      s.seconds = seconds;
    }
    const period = this.#period();
    if (period > 0 && Math.floor((now - s.base) / period) > Math.floor((s.periodicSeen - s.base) / period)) {
      this.#flag(RTC_C.periodic.mask);
    }
    s.periodicSeen = now;
  }

  #flag(mask: number): void {
    this.state.cmos[RTC.c] = this.state.cmos[RTC.c]! | mask;
  }

  /** `count` update cycles. */
  #update(count: number): void {
    if (!RTC_C.alarm.on(this.state.cmos[RTC.c]!) && this.#secondsToAlarm() <= count) this.#flag(RTC_C.alarm.mask);
    this.#flag(RTC_C.update.mask);
    const total = this.#timeOfDay() + count;
    this.#setTimeOfDay(total % DAY);
    for (let days = Math.floor(total / DAY); days > 0; days--) this.#nextDay();
  }

  #decode(value: number): number {
    return RTC_B.binary.on(this.state.cmos[RTC.b]!) ? value : (value >>> 4) * 10 + (value & 15);
  }

  #encode(value: number): number {
    return RTC_B.binary.on(this.state.cmos[RTC.b]!) ? value : (Math.floor(value / 10) << 4) | (value % 10);
  }

  /** Hour 0 … 23 of an hour byte; a wrong byte gives a wrong hour. */
  #decodeHour(value: number): number {
    if (RTC_B.hours24.on(this.state.cmos[RTC.b]!)) return this.#decode(value);
    return (this.#decode(value & 0x7f) % 12) + (value >= 0x80 ? 12 : 0);
  }

  #encodeHour(hour: number): number {
    if (RTC_B.hours24.on(this.state.cmos[RTC.b]!)) return this.#encode(hour);
    return this.#encode(hour % 12 === 0 ? 12 : hour % 12) | (hour >= 12 ? 0x80 : 0);
  }

  /** Seconds since midnight. */
  #timeOfDay(): number {
    const { cmos } = this.state;
    const hour = this.#decodeHour(cmos[RTC.hours]!);
    return (hour * 3600 + this.#decode(cmos[RTC.minutes]!) * 60 + this.#decode(cmos[RTC.seconds]!)) % DAY;
  }

  #setTimeOfDay(total: number): void {
    const { cmos } = this.state;
    cmos[RTC.hours] = this.#encodeHour(Math.floor(total / 3600));
    cmos[RTC.minutes] = this.#encode(Math.floor(total / 60) % 60);
    cmos[RTC.seconds] = this.#encode(total % 60);
  }

  #nextDay(): void {
    const { cmos } = this.state;
    const [week, month, year] = [cmos[RTC.dayOfWeek]!, this.#decode(cmos[RTC.month]!), this.#decode(cmos[RTC.year]!)];
    cmos[RTC.dayOfWeek] = week >= 7 ? 1 : week + 1;
    const length = month === 2 && year % 4 === 0 ? 29 : (MONTH_DAYS[month - 1] ?? 31);
    const day = this.#decode(cmos[RTC.dayOfMonth]!);
    cmos[RTC.dayOfMonth] = this.#encode(day >= length ? 1 : day + 1);
    if (day < length) return;
    cmos[RTC.month] = this.#encode(month >= 12 ? 1 : month + 1);
    if (month < 12) return;
    cmos[RTC.year] = this.#encode(year >= 99 ? 0 : year + 1);
    if (year >= 99) cmos[RTC.century] = this.#encode((this.#decode(cmos[RTC.century]!) + 1) % 100);
  }

  /** Value that an alarm byte asks for: −1 anything, −2 never. */
  #alarmField(address: number, limit: number): number {
    const byte = this.state.cmos[address]!;
    if ((byte & RTC_DONT_CARE) === RTC_DONT_CARE) return -1;
    const hours = address === RTC.hoursAlarm;
    const value = hours ? this.#decodeHour(byte) : this.#decode(byte);
    const again = hours ? this.#encodeHour(value) : this.#encode(value);
    return value < limit && again === byte ? value : -2;
  }

  /** Seconds from the present time of day to the next alarm, 1 … 86400; Infinity when the alarm bytes never match. */
  #secondsToAlarm(): number {
    const hour = this.#alarmField(RTC.hoursAlarm, 24);
    const minute = this.#alarmField(RTC.minutesAlarm, 60);
    const second = this.#alarmField(RTC.secondsAlarm, 60);
    if (hour === -2 || minute === -2 || second === -2) return Number.POSITIVE_INFINITY;
    const start = this.#timeOfDay();
    let time = start + 1;
    while (time <= start + DAY) {
      const [h, m, s] = [Math.floor(time / 3600) % 24, Math.floor(time / 60) % 60, time % 60];
      if (hour >= 0 && h !== hour) time += 3600 - (time % 3600);
      else if (minute >= 0 && m !== minute) time += 60 - (time % 60);
      else if (second >= 0 && s !== second) time++;
      else return time - start;
    }
    return Number.POSITIVE_INFINITY;
  }

  /** Tick of the next event that raises the line; Infinity when there is none. */
  #nextInterrupt(): number {
    const { state: s } = this;
    const [b, c] = [s.cmos[RTC.b]!, s.cmos[RTC.c]!];
    let tick = Number.POSITIVE_INFINITY;
    if (!this.#running) return tick;
    const period = this.#period();
    if (period > 0 && RTC_B.periodicInterrupt.on(b) && !RTC_C.periodic.on(c)) {
      tick = s.base + (Math.floor((s.periodicSeen - s.base) / period) + 1) * period;
    }
    if (!this.#updates) return tick;
    const second = (n: number): number => s.base + (s.seconds + n) * RTC_HZ;
    if (RTC_B.updateInterrupt.on(b) && !RTC_C.update.on(c)) tick = Math.min(tick, second(1));
    if (RTC_B.alarmInterrupt.on(b) && !RTC_C.alarm.on(c)) tick = Math.min(tick, second(this.#secondsToAlarm()));
    return tick;
  }

  #sync(): void {
    this.#advance();
    const { irqConnected } = this.state;
    this.#options.irq?.set(irqConnected && this.#interrupting());
    const deadline = irqConnected ? CRYSTAL.timeOf(this.#nextInterrupt()) : Number.POSITIVE_INFINITY;
    if (deadline !== this.#alarm.deadline) this.#alarm.armAt(deadline);
  }
}

/** 1 (Sunday) … 7; Sakamoto's rule for the Gregorian calendar. */
function dayOfWeek({ year, month, day }: RtcDate): number {
  const shift = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4][month - 1] ?? 0;
  const y = month < 3 ? year - 1 : year;
  return ((y + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400) + shift + day) % 7) + 1;
}
