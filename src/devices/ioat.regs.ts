/**
 * Intel QuickData Technology (I/OAT), CB version 3.3, as integrated in Atom S1200. Intel Atom Processor S1200 Product Family datasheet vol. 2, chapter
 * "DMA engine"; the layout of the registers agrees with Intel 5400 Chipset MCH datasheet, section 3.11 "DMA Engine Configuration Registers".
 */
import { layout } from "../base/layout.ts";

export const IOAT_VENDOR = 0x8086;
/** Atom S1200, DMA channel 0: the one of its family that has XOR. */
export const IOAT_DEVICE = 0x0c50;
/** System peripheral, other. */
export const IOAT_CLASS = 0x088000;
export const IOAT_BYTES = 0x4000;
export const IOAT_VERSION = 0x33;
/** In the same BAR. */
export const IOAT_MSIX_TABLE = 0x1000;
export const IOAT_MSIX_PENDING = 0x1800;

/** Registers of all channels. */
export const IOAT = {
  channelCount: 0x00,
  transferCapacity: 0x01,
  generalControl: 0x02,
  interruptControl: 0x03,
  attention: 0x04,
  version: 0x08,
  perPort: 0x0a,
  interruptDelay: 0x0c,
  chipsetStatus: 0x0e,
  capability: 0x10,
} as const;

/** A channel's registers begin at 0x80 and lie 0x80 apart. */
export const IOAT_CHANNEL_BYTES = 0x80;
export const IOAT_CHANNEL = {
  control: 0x00,
  compatibility: 0x02,
  command: 0x04,
  count: 0x06,
  statusLow: 0x08,
  statusHigh: 0x0c,
  chainLow: 0x10,
  chainHigh: 0x14,
  completionLow: 0x18,
  completionHigh: 0x1c,
  currentLow: 0x20,
  currentHigh: 0x24,
  error: 0x28,
  errorMask: 0x2c,
} as const;

/** INTRCTRL. Reading the register clears the enable bit. */
export const IOAT_INTERRUPT = layout("ioat INTRCTRL", 8, { enable: 0, status: 1, interrupt: 2, vectorPerChannel: 3 });

/** CHANCTRL. */
export const IOAT_CONTROL = layout("ioat CHANCTRL", 16, {
  /** Reads 1 after an interrupt; writing 1 clears it and lets the next one through. */
  interruptDisable: 0,
  errorCompletion: 2,
  abortOnError: 3,
  errorInterrupt: 4,
  snoop: 5,
  inUse: 8,
  completionDca: 9,
  priority: [15, 12],
});

export const IOAT_COMMAND = layout("ioat CHANCMD", 8, { append: 1, suspend: 2, abort: 3, reset: 5 });

/** CHANSTS bits 2:0. Bits 63:6 are the address of the last descriptor that was completed. */
export const IOAT_STATUS = { active: 0, idle: 1, suspended: 2, halted: 3, armed: 4 } as const;

/** DMACAPABILITY. */
export const IOAT_CAPABILITY = layout("ioat DMACAPABILITY", 32, {
  pageBreak: 0,
  crc: 1,
  skipMarker: 2,
  dca: 4,
  crcMove: 5,
  fill: 6,
  apic: 7,
  xor: 8,
  pq: 9,
  errorWriteBack: 13,
  raid16: 17,
  prefetch: 23,
});

/** CHANERR. */
export const IOAT_ERROR = layout("ioat CHANERR", 32, {
  sourceAddress: 0,
  destinationAddress: 1,
  nextAddress: 2,
  descriptor: 3,
  chainAddress: 4,
  command: 5,
  parity: 6,
  dma: 7,
  readData: 8,
  writeData: 9,
  control: 10,
  length: 11,
  completionAddress: 12,
  interruptConfiguration: 13,
  soft: 14,
  unaffiliated: 15,
  xorP: 16,
  xorQ: 17,
  count: 18,
});

export const IOAT_DESCRIPTOR_BYTES = 64;
/** Offsets in a descriptor. */
export const IOAT_DESCRIPTOR = { size: 0, control: 4, source: 8, destination: 16, next: 24, source2: 32 } as const;
/** The second 64 bytes of an XOR of more than five sources. */
export const IOAT_EXTENSION = { source6: 0, next: 24 } as const;

/** P+Q: the destinations, and a coefficient of a byte for each source. */
export const IOAT_PQ = { p: 16, coefficients: 48, q: 56 } as const;
/** The second 64 bytes of a P+Q of more than three sources. */
export const IOAT_PQ_EXTENSION = { source4: 0, next: 24, source7: 32 } as const;

/** Control word of a descriptor. Bits 7:5 are flags in a copy, and the number of sources less two in an XOR or P+Q. */
export const IOAT_DESCRIPTOR_CONTROL = layout("ioat descriptor control", 32, {
  interrupt: 0,
  sourceSnoopDisable: 1,
  destinationSnoopDisable: 2,
  completion: 3,
  fence: 4,
  sourcesLessTwo: [7, 5],
  bundle: 8,
  destinationDca: 9,
  hint: 10,
  /** Of a P+Q. */
  pDisable: 11,
  qDisable: 12,
  operation: [31, 24],
});
/** In a copy: it moves nothing. */
export const IOAT_NULL = 1 << 5;

export const IOAT_OPERATION = {
  copy: 0x00,
  fill: 0x01,
  xor: 0x87,
  xorValidate: 0x88,
  pq: 0x89,
  pqValidate: 0x8a,
} as const;
