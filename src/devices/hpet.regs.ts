/**
 * Registers of the high precision event timer. Intel IA-PC HPET Specification 1.0a (October 2004), section 2.3. Word 0 is the low half of a 64-bit
 * register.
 */
import { layout } from "../base/layout.ts";

/** 10 ns in femtoseconds: the counter runs at 100 MHz. */
export const HPET_PERIOD_FS = 10_000_000;
export const HPET_TICK_NS = 10;
export const HPET_VENDOR = 0x8086;
export const HPET_BYTES = 1024;
export const HPET_MAX_TIMERS = 8;

/** Offsets of the general registers (section 2.3.2). */
export const HPET = {
  capabilities: 0x000,
  configuration: 0x010,
  status: 0x020,
  counter: 0x0f0,
  timers: 0x100,
} as const;
/** Offsets inside a timer's block of `stride` bytes. */
export const HPET_TIMER = { stride: 0x20, configuration: 0x00, comparator: 0x08, fsbRoute: 0x10 } as const;

/** General capabilities and ID register (2.3.4). */
export const HPET_CAPABILITIES = layout("HPET capabilities", 64, {
  revision: [7, 0],
  lastTimer: [12, 8],
  wideCounter: 13,
  legacyCapable: 15,
  vendor: [31, 16],
  periodFs: [63, 32],
});

/** Comparators of a block that is not asked for more. */
export const HPET_TIMERS = 3;

/** Low word of the capabilities register of a block with `timers` comparators; firmware tells it in the HPET description table (3.2.4). */
export function hpetId(timers: number): number {
  const word = HPET_CAPABILITIES.wideCounter.mask | HPET_CAPABILITIES.legacyCapable.mask | 1;
  return HPET_CAPABILITIES.vendor.put(HPET_CAPABILITIES.lastTimer.put(word, timers - 1), HPET_VENDOR);
}

/** General configuration register (2.3.5). */
export const HPET_CONFIGURATION = layout("HPET configuration", 64, { enable: 0, legacy: 1 });

/** Timer n configuration and capabilities register (2.3.8). */
export const HPET_TIMER_CONFIG = layout("HPET timer configuration", 64, {
  level: 1,
  interruptEnable: 2,
  periodic: 3,
  periodicCapable: 4,
  wideCapable: 5,
  valueSet: 6,
  mode32: 8,
  route: [13, 9],
  fsbEnable: 14,
  fsbCapable: 15,
  routeCapability: [63, 32],
});
