/** The block device. VIRTIO 1.2, 5.2. */
import { layout } from "../../base/layout.ts";

/** Numbers of the feature bits (5.2.3). */
export const BLK_F = {
  segMax: 2,
  readOnly: 5,
  blkSize: 6,
  flush: 9,
  topology: 10,
  multiQueue: 12,
  discard: 13,
  writeZeroes: 14,
} as const;

/** Offsets in the device configuration (5.2.4). The capacity is 64 bits wide, in sectors. */
export const BLK_CONFIG = {
  capacity: 0,
  segMax: 12,
  blkSize: 20,
  physicalBlockExp: 24,
  optIoSize: 28,
  queueCount: 34,
  maxDiscardSectors: 36,
  maxDiscardSegments: 40,
  discardAlignment: 44,
  maxWriteZeroesSectors: 48,
  maxWriteZeroesSegments: 52,
  writeZeroesMayUnmap: 56,
} as const;
export const BLK_CONFIG_BYTES = 60;

/** "the actual data unit is always 512-byte sectors" (5.2.4). */
export const SECTOR_BYTES = 512;
/** Request header: le32 type, le32 reserved, le64 sector (5.2.6). */
export const BLK_HEADER = { type: 0, sector: 8, sectorHigh: 12 } as const;
export const BLK_HEADER_BYTES = 16;
/** Types of requests. */
export const BLK_T = { in: 0, out: 1, flush: 4, getId: 8, discard: 11, writeZeroes: 13 } as const;
/** Values of the status byte. */
export const BLK_S = { ok: 0, ioError: 1, unsupported: 2 } as const;
/** "the first 20 bytes" of the device's name. */
export const BLK_ID_BYTES = 20;
/** A range to discard or to fill with zeros: le64 sector, le32 num_sectors, le32 flags. */
export const BLK_RANGE = { sector: 0, sectorHigh: 4, sectors: 8, flags: 12 } as const;
export const BLK_RANGE_BYTES = 16;
export const BLK_RANGE_FLAGS = layout("range flags", 32, { unmap: 0, reserved: [31, 1] });
