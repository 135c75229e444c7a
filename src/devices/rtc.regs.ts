/**
 * Registers of the real-time clock. Motorola MC146818A datasheet, "Registers"; the century byte at 0x32 is the PC's convention.
 */
import { layout } from "../base/layout.ts";

/** Crystal of the PC's clock. */
export const RTC_HZ = 32_768;

/** Addresses in the clock's RAM. */
export const RTC = {
  seconds: 0x00,
  secondsAlarm: 0x01,
  minutes: 0x02,
  minutesAlarm: 0x03,
  hours: 0x04,
  hoursAlarm: 0x05,
  dayOfWeek: 0x06,
  dayOfMonth: 0x07,
  month: 0x08,
  year: 0x09,
  a: 0x0a,
  b: 0x0b,
  c: 0x0c,
  d: 0x0d,
  century: 0x32,
} as const;

export const RTC_A = layout("RTC register A", 8, { rate: [3, 0], divider: [6, 4], updateInProgress: 7 });
export const RTC_B = layout("RTC register B", 8, {
  daylightSaving: 0,
  hours24: 1,
  binary: 2,
  squareWave: 3,
  updateInterrupt: 4,
  alarmInterrupt: 5,
  periodicInterrupt: 6,
  set: 7,
});
/** The flags have the positions of their enable bits in register B. */
export const RTC_C = layout("RTC register C", 8, { update: 4, alarm: 5, periodic: 6, interrupt: 7 });
export const RTC_D = layout("RTC register D", 8, { validRam: 7 });

/** RTC_A.divider for a 32768 Hz crystal; every other value stops the clock here. */
export const RTC_DIVIDER_32K = 2;
/** Alarm bytes 0xC0-0xFF match anything. */
export const RTC_DONT_CARE = 0xc0;
/** Ticks before the end of an update at which UIP goes high: 244 µs notice and 1984 µs of update. */
export const RTC_UIP_TICKS = 8 + 65;
/** Ticks from the release of the divider to the first update: 500 ms. */
export const RTC_FIRST_UPDATE_TICKS = 16_384;
