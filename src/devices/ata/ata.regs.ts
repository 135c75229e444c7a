/**
 * Registers, commands and signatures of ATA drives: AT Attachment with Packet Interface 6 (T13/1410D), chapter 7 "Interface register definitions",
 * chapter 8 "Command descriptions", 9.12 "Signature and persistence"; obsolete commands after ATA-3 (X3T10/2008D).
 */
import { layout } from "../../base/layout.ts";

/** Offsets in the command block: Error and Features, Status and Command share a place. */
export const ATA = {
  data: 0,
  error: 1,
  features: 1,
  count: 2,
  low: 3,
  mid: 4,
  high: 5,
  device: 6,
  status: 7,
  command: 7,
} as const;
export const ATA_BLOCK_BYTES = 8;
export const ATA_NAMES = ["data", "error", "count", "LBA low", "LBA mid", "LBA high", "device", "status"] as const;

/** 7.15; DSC was bit 4 before ATA-4 and is command dependent since. CHK is the name of ERR after PACKET. */
export const ATA_STATUS = layout("ATA status", 8, { err: 0, drq: 3, dsc: 4, df: 5, drdy: 6, bsy: 7 });
/** 7.9. */
export const ATA_ERROR = layout("ATA error", 8, { abrt: 2, idnf: 4, wp: 6, icrc: 7 });
/** 7.7. */
export const ATA_DEVICE = layout("ATA device", 8, { head: [3, 0], dev: 4, lba: 6 });
/** 7.8. */
export const ATA_CONTROL = layout("ATA device control", 8, { nIen: 1, srst: 2, hob: 7 });
/** Sector Count of PACKET: "interrupt reason" (7.12). */
export const ATAPI_REASON = layout("ATAPI interrupt reason", 8, { cd: 0, io: 1, rel: 2, tag: [7, 3] });
/** Features of PACKET (8.22.4). */
export const ATAPI_FEATURES = layout("ATAPI features", 8, { dma: 0, overlap: 1, toHost: 2 });

export const ATA_SECTOR = 512;

export const ATA_COMMAND = {
  nop: 0x00,
  deviceReset: 0x08,
  readSectors: 0x20,
  readSectorsExt: 0x24,
  readDmaExt: 0x25,
  readNativeMaxExt: 0x27,
  readMultipleExt: 0x29,
  writeSectors: 0x30,
  writeSectorsExt: 0x34,
  writeDmaExt: 0x35,
  setMaxExt: 0x37,
  writeMultipleExt: 0x39,
  verify: 0x40,
  verifyExt: 0x42,
  diagnose: 0x90,
  initializeParameters: 0x91,
  packet: 0xa0,
  identifyPacket: 0xa1,
  readMultiple: 0xc4,
  writeMultiple: 0xc5,
  setMultiple: 0xc6,
  readDma: 0xc8,
  writeDma: 0xca,
  standbyImmediate: 0xe0,
  idleImmediate: 0xe1,
  standby: 0xe2,
  idle: 0xe3,
  checkPower: 0xe5,
  sleep: 0xe6,
  flush: 0xe7,
  flushExt: 0xea,
  identify: 0xec,
  setFeatures: 0xef,
  readNativeMax: 0xf8,
  setMax: 0xf9,
} as const;
/** High nibble of commands with 16 codes each (ATA-3). */
export const ATA_FAMILY = { recalibrate: 0x10, seek: 0x70 } as const;
/** The same commands "without retry" (ATA-3). */
export const ATA_WITHOUT_RETRY: { readonly [code: number]: number } = {
  33: 0x20,
  49: 0x30,
  65: 0x40,
  201: 0xc8,
  203: 0xca,
};

/** Subcommands of SET FEATURES (table 44). */
export const ATA_FEATURE = {
  enableWriteCache: 0x02,
  setTransferMode: 0x03,
  keepSettings: 0x66,
  disableWriteCache: 0x82,
  disableLookAhead: 0x55,
  enableLookAhead: 0xaa,
  revertSettings: 0xcc,
} as const;

/** Transfer modes as SET FEATURES takes them: kind in the high five bits, number in the low three (table 45). */
export const ATA_MODE = { pioDefault: 0x00, pioDefaultNoIordy: 0x01, pio: 0x08, multiword: 0x20, ultra: 0x40 } as const;

/** Sector Count after CHECK POWER MODE (8.6.5). */
export const ATA_POWER = { standby: 0x00, active: 0xff } as const;

/** What a drive shows after a reset: Count, LBA Low, Mid, High (9.12). */
export const ATA_SIGNATURE = { disk: [0x01, 0x01, 0x00, 0x00], packet: [0x01, 0x01, 0x14, 0xeb] } as const;
/** Error register after diagnostics: this device passed, and device 1 passed or is not there (table 27). */
export const ATA_PASSED = 0x01;
/** What a host reads of a cable without drives: only DD7 has a pull-down resistor (table 4, note 3). */
export const ATA_NOBODY = 0x7f;
