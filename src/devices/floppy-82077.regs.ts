/**
 * Registers, status bytes and commands of the 82077AA floppy disk controller (Intel 82077AA datasheet, order number 290166: chapter 2 "Microprocessor
 * interface", table 5-1 "Command set", chapter 6 "Status register encoding"). AT mode.
 */
import { layout } from "../base/layout.ts";

/** Offsets from 0x3F0. */
export const FDC = { dor: 2, tdr: 3, msr: 4, dsr: 4, fifo: 5, dir: 7, ccr: 7 } as const;

export const FDC_DOR = layout("FDC DOR", 8, { drive: [1, 0], notReset: 2, dmaGate: 3, motors: [7, 4] });
export const FDC_MSR = layout("FDC MSR", 8, { seeking: [3, 0], busy: 4, nonDma: 5, toHost: 6, request: 7 });
export const FDC_DSR = layout("FDC DSR", 8, { rate: [1, 0], precompensation: [4, 2], powerDown: 6, reset: 7 });
export const FDC_DIR_CHANGE = 0x80;

/** ST0: interrupt code in bits 7-6. */
export const ST0 = layout("ST0", 8, { drive: [1, 0], head: 2, equipmentCheck: 4, seekEnd: 5, code: [7, 6] });
export const CODE = { normal: 0, abnormal: 1, invalid: 2, polling: 3 } as const;
export const ST1 = {
  missingMark: 0x01,
  notWritable: 0x02,
  noData: 0x04,
  overrun: 0x10,
  crc: 0x20,
  endOfTrack: 0x80,
} as const;
export const ST2 = { missingMark: 0x01, badCylinder: 0x02, wrongCylinder: 0x10, crc: 0x20, controlMark: 0x40 } as const;
/** Bits 5 and 3 are always 1. */
export const ST3 = layout("ST3", 8, { drive: [1, 0], head: 2, one3: 3, track0: 4, one5: 5, writeProtect: 6 });

/** First byte of a command. */
export const COMMAND_BYTE = layout("FDC command", 8, { code: [4, 0], skip: 5, mfm: 6, multiTrack: 7 });
export const HEAD_DRIVE = layout("FDC head, drive", 8, { drive: [1, 0], head: 2, enableCount: 7 });
export const CONFIGURE = layout("FDC configure", 8, { threshold: [3, 0], noPolling: 4, noFifo: 5, impliedSeek: 6 });
export const PERPENDICULAR = layout("FDC perpendicular", 8, { modes: [1, 0], drives: [5, 2], overwrite: 7 });

export type FdcCommand =
  | "readTrack"
  | "specify"
  | "senseDrive"
  | "writeData"
  | "readData"
  | "recalibrate"
  | "senseInterrupt"
  | "writeDeleted"
  | "readId"
  | "readDeleted"
  | "format"
  | "dumpRegisters"
  | "seek"
  | "version"
  | "perpendicular"
  | "configure"
  | "lock"
  | "verify"
  | "relativeSeek";

type Row = readonly [command: FdcCommand, mask: number, value: number, bytes: number];

/** Which bits of the first byte say which command, and its bytes with that one. The 82077AA has no scan commands. */
const COMMANDS: readonly Row[] = [
  ["readTrack", 0xbf, 0x02, 9],
  ["specify", 0xff, 0x03, 3],
  ["senseDrive", 0xff, 0x04, 2],
  ["writeData", 0x3f, 0x05, 9],
  ["readData", 0x1f, 0x06, 9],
  ["recalibrate", 0xff, 0x07, 2],
  ["senseInterrupt", 0xff, 0x08, 1],
  ["writeDeleted", 0x3f, 0x09, 9],
  ["readId", 0xbf, 0x0a, 2],
  ["readDeleted", 0x1f, 0x0c, 9],
  ["format", 0xbf, 0x0d, 6],
  ["dumpRegisters", 0xff, 0x0e, 1],
  ["seek", 0xff, 0x0f, 3],
  ["version", 0xff, 0x10, 1],
  ["perpendicular", 0xff, 0x12, 2],
  ["configure", 0xff, 0x13, 4],
  ["lock", 0x7f, 0x14, 1],
  ["verify", 0x1f, 0x16, 9],
  ["relativeSeek", 0xbf, 0x8f, 3],
];

/** The command that begins with `byte` and its length; null: invalid. */
export function fdcCommand(byte: number): { command: FdcCommand; bytes: number } | null {
  for (const [command, mask, value, bytes] of COMMANDS) if ((byte & mask) === value) return { command, bytes };
  return null;
}
