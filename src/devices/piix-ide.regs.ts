/**
 * The IDE function of Intel's PIIX4: 82371AB data sheet (290562-001), chapter 6 "IDE controller registers (PCI function 1)"; bus-master registers and
 * physical region descriptors: SFF-8038i 1.0, "Programming Interface for Bus Master IDE Controller".
 */
import { layout } from "../base/layout.ts";

export const PIIX_IDE_VENDOR = 0x8086;
export const PIIX_IDE_DEVICE = 0x7111;
/** IDE controller in compatibility mode that masters the bus. */
export const PIIX_IDE_CLASS = 0x010180;
/** DEVSEL medium, fast back-to-back. */
export const PIIX_IDE_STATUS = 0x0280;

/** Offsets in configuration space. */
export const PIIX_IDE = { timing: 0x40, slaveTiming: 0x44, ultraControl: 0x48, ultraTiming: 0x4a } as const;
/** IDETIM of a channel: bits 3-0 are drive 0's, 7-4 drive 1's. Clocks are PCI's. */
export const IDETIM = layout("IDETIM", 16, {
  time0: 0,
  iordy0: 1,
  prefetch0: 2,
  dmaOnly0: 3,
  time1: 4,
  iordy1: 5,
  prefetch1: 6,
  dmaOnly1: 7,
  recovery: [9, 8],
  sample: [13, 12],
  slaveTiming: 14,
  decode: 15,
});
/** SIDETIM: drive 1 of the primary channel in the low nibble, of the secondary one in the high nibble. */
export const SIDETIM_RECOVERY = layout("SIDETIM nibble", 8, { recovery: [1, 0], sample: [3, 2] });
/** Bits that can be written. */
export const PIIX_IDE_WRITABLE = {
  timing: 0xf3ff,
  slaveTiming: 0xff,
  ultraControl: 0x0f,
  ultraTiming: 0x3333,
} as const;

/** Compatibility mode: first command port, control port, interrupt. */
export const IDE_PLACES = [
  { command: 0x1f0, control: 0x3f6, irq: 14 },
  { command: 0x170, control: 0x376, irq: 15 },
] as const;

/** Ports of BAR 4 (BMIBA); a channel has 8. */
export const BUS_MASTER_BAR = 4;
export const BUS_MASTER_PORTS = 16;
export const BUS_MASTER_CHANNEL = 8;
export const BM = { command: 0, status: 2, table: 4 } as const;
export const BM_COMMAND = layout("BMIC", 8, { start: 0, toMemory: 3 });
export const BM_STATUS = layout("BMIS", 8, { active: 0, error: 1, interrupt: 2, drive0: 5, drive1: 6, simplex: 7 });

/** A physical region descriptor: address, then count and end of table. */
export const PRD_BYTES = 8;
export const PRD_COUNT = layout("PRD count", 32, { count: [15, 0], end: 31 });
/** What a count of 0 says. */
export const PRD_MAX_BYTES = 0x10000;
