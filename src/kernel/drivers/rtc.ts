/** Driver of the real-time clock: its time, and its periodic, alarm and update interrupts. Motorola MC146818A data sheet. */
import { RTC, RTC_A, RTC_B, RTC_C } from "../../devices/rtc.regs.ts";
import { in8, out8, type Task } from "../../ports/task.ts";
import type { Kernel } from "../kernel.ts";

const INDEX = 0x70;
const DATA = 0x71;
const RTC_IRQ = 8;

export type RtcTime = {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hours: number;
  readonly minutes: number;
  readonly seconds: number;
};

const fromBcd = (value: number): number => (value >> 4) * 10 + (value & 15);

export class RtcDriver {
  periodic = 0;
  alarms = 0;
  updates = 0;

  *#read(register: number): Task<number> {
    yield* out8(INDEX, register);
    return yield* in8(DATA);
  }

  *#write(register: number, value: number): Task {
    yield* out8(INDEX, register);
    yield* out8(DATA, value);
  }

  /** Installs the handler. The interrupts are switched on one by one. */
  *start(kernel: Kernel, cpu = 0): Task {
    yield* kernel.irqs.request(kernel.isaSource(RTC_IRQ), { name: "RTC", handler: () => this.#handle(), cpu });
    yield* this.#read(RTC.c);
  }

  /** Reading register C says why and lets the line go; until then no further edge comes. */
  *#handle(): Task<boolean> {
    const flags = yield* this.#read(RTC.c);
    if (RTC_C.periodic.on(flags)) this.periodic++;
    if (RTC_C.alarm.on(flags)) this.alarms++;
    if (RTC_C.update.on(flags)) this.updates++;
    return RTC_C.interrupt.on(flags);
  }

  /** Periodic interrupts at 32768 / 2^(rate − 1) Hz, rate 3 to 15 (table 5 of the sheet); 0 switches them off. */
  *setPeriodic(rate: number): Task {
    if (rate !== 0 && (rate < 3 || rate > 15)) throw new RangeError(`RTC rate ${rate}: 3 to 15, or 0`);
    yield* this.#write(RTC.a, RTC_A.rate.put(yield* this.#read(RTC.a), rate));
    yield* this.#enable(RTC_B.periodicInterrupt.mask, rate !== 0);
  }

  *setUpdateInterrupt(on: boolean): Task {
    yield* this.#enable(RTC_B.updateInterrupt.mask, on);
  }

  *#enable(mask: number, on: boolean): Task {
    const before = yield* this.#read(RTC.b);
    yield* this.#write(RTC.b, on ? before | mask : before & ~mask);
  }

  /** The time, read while no update is in progress. */
  *time(): Task<RtcTime> {
    while (RTC_A.updateInProgress.on(yield* this.#read(RTC.a)));
    const binary = RTC_B.binary.on(yield* this.#read(RTC.b));
    const value = function* (this: RtcDriver, register: number): Task<number> {
      const raw = yield* this.#read(register);
      return binary ? raw : fromBcd(raw);
    }.bind(this);
    return {
      seconds: yield* value(RTC.seconds),
      minutes: yield* value(RTC.minutes),
      hours: yield* value(RTC.hours),
      day: yield* value(RTC.dayOfMonth),
      month: yield* value(RTC.month),
      year: (yield* value(RTC.century)) * 100 + (yield* value(RTC.year)),
    };
  }
}
