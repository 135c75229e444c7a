import { beforeEach, describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import { Line } from "../ports/line.ts";
import { describePart } from "../ports/part.contract.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import { Rng } from "../sim/rng.ts";
import { RTC, RTC_A, RTC_B, RTC_C } from "./rtc.regs.ts";
import { Rtc, type RtcDate } from "./rtc.ts";

function make(date?: RtcDate) {
  const queue = new EventQueue(new Clock());
  const irq = new Line("irq8");
  const masks: boolean[] = [];
  const part = new Rtc({
    queue,
    irq: irq.pin(),
    nmiMask: level => masks.push(level),
    cmos: [[0x17, 0x80]],
    ...(date === undefined ? {} : { date }),
  });
  return {
    part,
    queue,
    irq,
    masks,
    windows: [part.window],
    outputs: [irq],
    sent: () => masks.length,
    stimulate: (rng: Rng) => {
      // Aim at the registers: random indices mostly hit plain RAM.
      part.window.write(0, 1, rng.pick([0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]));
      if (rng.chance(1, 8)) part.setIrqConnected(rng.chance(3, 4));
    },
  };
}

let rig: ReturnType<typeof make>;
const poke = (address: number, value: number): void => {
  rig.part.window.write(0, 1, address);
  rig.part.window.write(1, 1, value);
};
const peek = (address: number): number => {
  rig.part.window.write(0, 1, address);
  return rig.part.window.read(1, 1);
};
function runTo(ns: number): void {
  const { queue } = rig;
  while (queue.nextDeadline() <= ns) {
    queue.clock.advanceTo(queue.nextDeadline());
    queue.runDue();
  }
  queue.clock.advanceTo(ns);
}
const SECOND = 1_000_000_000;
const hexTime = (): string =>
  [RTC.hours, RTC.minutes, RTC.seconds].map(r => peek(r).toString(16).padStart(2, "0")).join(":");
const hexDate = (): string =>
  [RTC.century, RTC.year, RTC.month, RTC.dayOfMonth].map(r => peek(r).toString(16).padStart(2, "0")).join("-");

beforeEach(() => {
  rig = make();
});

describe("RTC layouts", () => {
  it("pins the bits of the datasheet", () => {
    expect([RTC_A.updateInProgress.mask, RTC_A.divider.mask, RTC_A.rate.mask]).toEqual([0x80, 0x70, 0x0f]);
    const { set, periodicInterrupt, alarmInterrupt, updateInterrupt, squareWave, binary, hours24, daylightSaving } =
      RTC_B;
    expect(
      [set, periodicInterrupt, alarmInterrupt, updateInterrupt, squareWave, binary, hours24, daylightSaving].map(
        f => f.mask,
      ),
    ).toEqual([0x80, 0x40, 0x20, 0x10, 8, 4, 2, 1]);
    expect([RTC_C.interrupt.mask, RTC_C.periodic.mask, RTC_C.alarm.mask, RTC_C.update.mask]).toEqual([
      0x80, 0x40, 0x20, 0x10,
    ]);
  });
});

describe("RTC time and calendar (MC146818A: time, calendar and alarm locations)", () => {
  it("starts on 2026-01-01, a Thursday, in BCD and 24-hour mode, with the board's CMOS bytes", () => {
    expect([hexDate(), hexTime(), peek(RTC.dayOfWeek)]).toEqual(["20-26-01-01", "00:00:00", 5]);
    expect([peek(RTC.a), peek(RTC.b), peek(RTC.d), peek(0x17)]).toEqual([0x26, 0x02, 0x80, 0x80]);
  });
  it("counts seconds of virtual time", () => {
    runTo(59 * SECOND);
    expect(hexTime()).toBe("00:00:59");
    runTo(3 * 3600 * SECOND + 5 * SECOND);
    expect(hexTime()).toBe("03:00:05");
  });
  it("carries over the end of a century", () => {
    rig = make({ year: 1999, month: 12, day: 31, hour: 23, minute: 59, second: 59 });
    expect(peek(RTC.dayOfWeek)).toBe(6);
    runTo(SECOND);
    expect([hexDate(), hexTime(), peek(RTC.dayOfWeek)]).toEqual(["20-00-01-01", "00:00:00", 7]);
  });
  it("knows leap years by the two digits of the year", () => {
    rig = make({ year: 2024, month: 2, day: 28, hour: 12, minute: 0, second: 0 });
    runTo(86_400 * SECOND);
    expect(hexDate()).toBe("20-24-02-29");
    runTo(2 * 86_400 * SECOND);
    expect(hexDate()).toBe("20-24-03-01");
  });
  it("shows 12-hour and binary formats", () => {
    poke(RTC.b, 0x80 | 0x04);
    for (const [register, value] of [
      [RTC.hours, 11],
      [RTC.minutes, 59],
      [RTC.seconds, 59],
    ] as const)
      poke(register, value);
    poke(RTC.b, 0x04);
    runTo(SECOND);
    expect([peek(RTC.hours), peek(RTC.minutes), peek(RTC.seconds)]).toEqual([0x80 | 12, 0, 0]);
    runTo((1 + 12 * 3600) * SECOND);
    expect(peek(RTC.hours)).toBe(12);
    runTo((1 + 13 * 3600) * SECOND);
    expect(peek(RTC.hours)).toBe(1);
  });
  it("agrees with a clock that is stepped second by second", () => {
    const rng = new Rng("calendar");
    for (let round = 0; round < 20; round++) {
      const date = {
        year: 2000 + rng.below(100),
        month: 1 + rng.below(12),
        day: 1 + rng.below(28),
        hour: rng.below(24),
        minute: rng.below(60),
        second: rng.below(60),
      };
      rig = make(date);
      const slow = [date.second, date.minute, date.hour, date.day, date.month, date.year];
      let [sec, min, hour, day, month, year] = slow as [number, number, number, number, number, number];
      let now = 0;
      for (let hop = 0; hop < 4; hop++) {
        const span = rng.below(200_000);
        for (let i = 0; i < span; i++) {
          if (++sec < 60) continue;
          sec = 0;
          if (++min < 60) continue;
          min = 0;
          if (++hour < 24) continue;
          hour = 0;
          const last = month === 2 ? (year % 4 === 0 ? 29 : 28) : [4, 6, 9, 11].includes(month) ? 30 : 31;
          if (++day <= last) continue;
          day = 1;
          if (++month <= 12) continue;
          month = 1;
          year++;
        }
        now += span;
        runTo(now * SECOND);
        const pad = (n: number): string => String(n).padStart(2, "0");
        expect(`${hexDate()} ${hexTime()}`).toBe(
          `${pad(Math.floor(year / 100))}-${pad(year % 100)}-${pad(month)}-${pad(day)} ${pad(hour)}:${pad(min)}:${pad(sec)}`,
        );
      }
    }
  });
});

describe("RTC update cycle (MC146818A: update cycle)", () => {
  it("has UIP high from 244 + 1984 µs before the end of the update", () => {
    const uip = (ns: number): number => {
      runTo(ns);
      return peek(RTC.a) & 0x80;
    };
    // 73 ticks of 1/32768 s: 2227.8 µs.
    expect([SECOND - 2_227_784, SECOND - 2_227_783, SECOND - 1, SECOND].map(uip)).toEqual([0, 0x80, 0x80, 0]);
  });
  it("stops updates and UIP while SET is 1, and clears UIE", () => {
    poke(RTC.b, 0x82 | 0x10);
    expect(peek(RTC.b)).toBe(0x82);
    runTo(SECOND - 1000);
    expect(peek(RTC.a) & 0x80).toBe(0);
    runTo(10.5 * SECOND);
    expect(hexTime()).toBe("00:00:00");
    poke(RTC.b, 0x02);
    runTo(11 * SECOND);
    expect(hexTime()).toBe("00:00:01");
  });
  it("updates first 500 ms after the divider is released", () => {
    poke(RTC.a, 0x76);
    runTo(5 * SECOND + 1);
    poke(RTC.a, 0x26);
    runTo(5.499 * SECOND);
    expect(hexTime()).toBe("00:00:00");
    runTo(5.501 * SECOND);
    expect(hexTime()).toBe("00:00:01");
  });
});

describe("RTC interrupts (MC146818A: interrupts)", () => {
  it("sets flags without interrupts; reading register C clears them", () => {
    runTo(SECOND);
    expect(peek(RTC.c)).toBe(0x50);
    expect(peek(RTC.c)).toBe(0);
    expect(rig.queue.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
  });
  it("holds the line from the update until register C is read", () => {
    poke(RTC.b, 0x12);
    runTo(SECOND - 1);
    expect(rig.irq.level).toBe(false);
    runTo(SECOND);
    expect(rig.irq.level).toBe(true);
    runTo(SECOND * 3);
    expect(rig.irq.level).toBe(true);
    expect(peek(RTC.c) & 0x90).toBe(0x90);
    expect(rig.irq.level).toBe(false);
    runTo(SECOND * 4);
    expect(rig.irq.level).toBe(true);
  });
  it.each([
    [3, 8192],
    [6, 1024],
    [15, 2],
    [1, 256],
    [2, 128],
  ])("rate %i interrupts %i times a second", (rate, hz) => {
    poke(RTC.a, 0x20 | rate);
    poke(RTC.b, 0x42);
    let count = 0;
    rig.irq.connect(
      {
        lineChanged: (_pin, level) => {
          if (level) count++;
        },
      },
      0,
    );
    const end = 2 * SECOND;
    while (rig.queue.nextDeadline() <= end) {
      rig.queue.clock.advanceTo(rig.queue.nextDeadline());
      rig.queue.runDue();
      peek(RTC.c);
    }
    expect(count).toBe(2 * hz);
  });
  it("is silent with rate 0", () => {
    poke(RTC.a, 0x20);
    poke(RTC.b, 0x42);
    runTo(5 * SECOND);
    expect(rig.irq.level).toBe(false);
  });
  it.each([
    ["12:34:56", [0x12, 0x34, 0x56], 12 * 3600 + 34 * 60 + 56],
    ["every hour", [0xff, 0x00, 0x10], 10],
    ["every minute", [0xc0, 0xc0, 0x30], 30],
    ["every second", [0xff, 0xff, 0xff], 1],
    ["midnight, a day later", [0x00, 0x00, 0x00], 86_400],
  ] as const)("alarm: %s", (_name, [hour, minute, second], at) => {
    poke(RTC.hoursAlarm, hour);
    poke(RTC.minutesAlarm, minute);
    poke(RTC.secondsAlarm, second);
    poke(RTC.b, 0x22);
    runTo(at * SECOND - 1);
    expect(rig.irq.level).toBe(false);
    runTo(at * SECOND);
    expect(rig.irq.level).toBe(true);
    expect(peek(RTC.c) & 0xa0).toBe(0xa0);
  });
  it("never matches an alarm time that does not exist", () => {
    poke(RTC.hoursAlarm, 0x25);
    poke(RTC.b, 0x22);
    runTo(2 * 86_400 * SECOND);
    expect(rig.irq.level).toBe(false);
  });
  it("drops its line while it is disconnected", () => {
    poke(RTC.b, 0x12);
    runTo(SECOND);
    rig.part.setIrqConnected(false);
    expect(rig.irq.level).toBe(false);
    expect(rig.queue.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
    rig.part.setIrqConnected(true);
    expect(rig.irq.level).toBe(true);
  });
});

describe("CMOS RAM and ports", () => {
  it("keeps two banks of bytes; index ports are write only", () => {
    poke(0x0f, 0x05);
    rig.part.window.write(2, 1, 0x0f);
    rig.part.window.write(3, 1, 0x77);
    expect([peek(0x0f), rig.part.window.read(3, 1)]).toEqual([0x05, 0x77]);
    expect([rig.part.window.read(0, 1), rig.part.window.read(2, 1)]).toEqual([0xff, 0xff]);
  });
  it("tells bit 7 of the index as the NMI mask", () => {
    rig.part.window.write(0, 1, 0x80 | 0x0f);
    rig.part.window.write(0, 1, 0x0f);
    expect(rig.masks).toEqual([true, false]);
  });
  it("keeps time and RAM over a system reset and clears the interrupt enables", () => {
    poke(0x40, 0x12);
    poke(RTC.b, 0x72);
    runTo(7 * SECOND);
    for (const phase of ["enter", "hold", "exit"] as const) rig.part.reset(phase, "system");
    expect([peek(0x40), peek(RTC.b), rig.irq.level, hexTime()]).toEqual([0x12, 0x02, false, "00:00:07"]);
  });
});

describePart("RTC", make);

describe("RTC fuzz", () => {
  it(
    "drives its line exactly from flags and enables",
    () => {
      fuzzPart(make, "rtc", { maxAdvance: 2_000_000_000 }, ({ part, irq }) => {
        const { cmos, irqConnected, seconds } = part.state;
        expect(irq.level).toBe(irqConnected && (cmos[RTC.c]! & cmos[RTC.b]! & 0x70) !== 0);
        expect(seconds).toBeGreaterThanOrEqual(0);
      });
    },
    FUZZ_TIMEOUT,
  );
});
