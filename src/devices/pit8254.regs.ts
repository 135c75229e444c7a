/**
 * Registers of the 8254 programmable interval timer. Intel 8254 datasheet (order number 231164), "Programming the 8254".
 */
import { layout } from "../base/layout.ts";

/** Input clock of the PC's timer: 14.31818 MHz / 12. */
export const PIT_HZ = 1_193_182;

/** Offsets in the port window (A1, A0 of the chip). */
export const PIT = { counter0: 0, counter1: 1, counter2: 2, control: 3 } as const;

/** Control word ("Control Word Format"). `select` 3 is the read-back command; `access` 0 the counter latch command. */
export const PIT_CONTROL = layout("PIT control word", 8, {
  bcd: 0,
  mode: [3, 1],
  access: [5, 4],
  select: [7, 6],
});

/** "Read-Back Command": the two latch bits are active low. */
export const PIT_READ_BACK = layout("PIT read-back command", 8, {
  counters: [3, 1],
  noStatus: 4,
  noCount: 5,
  command: [7, 6],
});

/** "Status Byte". */
export const PIT_STATUS = layout("PIT status", 8, {
  bcd: 0,
  mode: [3, 1],
  access: [5, 4],
  nullCount: 6,
  out: 7,
});
