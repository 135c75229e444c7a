/**
 * Registers of the 8237A (Intel 8237A datasheet, "Register description" and the table of software command codes) and of the PC/AT's DMA page register
 * file (IBM PC/AT Technical Reference, system board, "DMA controllers": page register addresses).
 */
import { layout } from "../base/layout.ts";

/** By A3-A0; below 8: address and word count of channel n at 2n and 2n + 1. */
export const DMA_REG = {
  /** Read. */
  status: 0x8,
  /** Write. */
  command: 0x8,
  request: 0x9,
  singleMask: 0xa,
  mode: 0xb,
  clearFlipFlop: 0xc,
  /** Read. */
  temporary: 0xd,
  /** Write. */
  masterClear: 0xd,
  clearMask: 0xe,
  allMask: 0xf,
} as const;

export const DMA_COMMAND = layout("8237A command", 8, {
  memoryToMemory: 0,
  addressHold: 1,
  disable: 2,
  compressedTiming: 3,
  rotatingPriority: 4,
  extendedWrite: 5,
  dreqActiveLow: 6,
  dackActiveHigh: 7,
});

export const DMA_MODE = layout("8237A mode", 8, {
  channel: [1, 0],
  transfer: [3, 2],
  autoInitialize: 4,
  decrement: 5,
  mode: [7, 6],
});
/** Field `transfer`. "Write" is a write to memory. */
export const TRANSFER = { verify: 0, write: 1, read: 2, illegal: 3 } as const;
/** Field `mode`. */
export const SERVICE = { demand: 0, single: 1, block: 2, cascade: 3 } as const;

export const DMA_STATUS = layout("8237A status", 8, { terminalCount: [3, 0], request: [7, 4] });

/** Request register, and mask register by single bits. */
export const DMA_BIT = layout("8237A request, single mask", 8, { channel: [1, 0], set: 2 });
export const DMA_ALL_MASK = layout("8237A all mask", 8, { channels: [3, 0] });

/** Offset in the page register file at port 0x80, by channel; channel 4's place is the page of refresh cycles. The other places are spare bytes. */
export const PAGE_REGISTER: readonly number[] = [0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa];
