/**
 * Registers of a remapping unit. Document: Intel Virtualization Technology for Directed I/O, Architecture Specification (rev. 4.0), chapter 11 "Register
 * Descriptions" (10 in rev. 3.x). 64-bit registers are two words, the low one first.
 */
import { layout } from "../base/layout.ts";

/** Bytes of the register page. */
export const VTD_BYTES = 4096;

/** Offsets. */
export const VTD = {
  VER: 0x00,
  CAP: 0x08,
  ECAP: 0x10,
  GCMD: 0x18,
  GSTS: 0x1c,
  RTADDR: 0x20,
  CCMD: 0x28,
  FSTS: 0x34,
  FECTL: 0x38,
  FEDATA: 0x3c,
  FEADDR: 0x40,
  FEUADDR: 0x44,
  PMEN: 0x64,
  PLMBASE: 0x68,
  PLMLIMIT: 0x6c,
  PHMBASE: 0x70,
  PHMLIMIT: 0x78,
  IQH: 0x80,
  IQT: 0x88,
  IQA: 0x90,
  ICS: 0x9c,
  IECTL: 0xa0,
  IEDATA: 0xa4,
  IEADDR: 0xa8,
  IEUADDR: 0xac,
  IQERCD: 0xb0,
  IRTA: 0xb8,
  /** Where CAP.FRO says. */
  FRCD: 0x400,
  /** Where ECAP.IRO says: the address, and behind it the IOTLB invalidate register. */
  IVA: 0x500,
  IOTLB: 0x508,
} as const;

/** Architecture version 3.0. */
export const VTD_VERSION = 0x30;
/** Fault recording registers, 16 bytes each. */
export const FAULT_RECORDS = 8;
/** A domain id has 16 bits (CAP.ND = 6). */
export const DOMAIN_BITS = 16;
/** Largest address mask of a page-selective invalidation: 2^18 pages, 1 GiB. */
export const MAX_ADDRESS_MASK = 18;

/** 11.4.2. */
export const CAP = layout("CAP", 64, {
  domains: [2, 0],
  advancedFaultLog: 3,
  writeBufferFlush: 4,
  protectedLow: 5,
  protectedHigh: 6,
  cachingMode: 7,
  /** Bit 1: 3-level tables, bit 2: 4-level, bit 3: 5-level. */
  agaw: [12, 8],
  maxGuestAddress: [21, 16],
  zeroLengthRead: 22,
  faultOffsetLow: [31, 24],
  faultOffsetHigh: [33, 32],
  superpages: [37, 34],
  pageSelective: 39,
  faultRecords: [47, 40],
  maxAddressMask: [53, 48],
  writeDraining: 54,
  readDraining: 55,
  firstLevel1G: 56,
  postedInterrupts: 59,
  firstLevel5: 60,
});
/** 11.4.3. */
export const ECAP = layout("ECAP", 64, {
  coherent: 0,
  queuedInvalidation: 1,
  deviceTlb: 2,
  interruptRemapping: 3,
  extendedInterruptMode: 4,
  passThrough: 6,
  snoopControl: 7,
  iotlbOffset: [17, 8],
  maxHandleMask: [23, 20],
  nesting: 26,
  pageRequests: 29,
  executeRequests: 30,
  supervisorRequests: 31,
  extendedAccessed: 34,
  pasidSizeHigh: [39, 35],
  pasid: 40,
  scalable: 43,
  secondLevelDirty: 45,
  secondLevel: 46,
  firstLevel: 47,
  scalableCoherent: 48,
  ridPasid: 49,
  abortMode: 52,
  ridPrivileged: 53,
});
/** Commands and, at the same places, their status. */
export const GCMD = layout("GCMD", 32, {
  compatibleInterrupts: 23,
  setInterruptTable: 24,
  interruptRemapping: 25,
  queuedInvalidation: 26,
  writeBufferFlush: 27,
  advancedFaultLog: 28,
  setFaultLog: 29,
  setRootTable: 30,
  translation: 31,
});
/** Low word; the table is 4 KiB aligned. */
export const RTADDR = layout("RTADDR", 32, { mode: [11, 10], tableLow: [31, 12] });
export const TABLE_MODE = { legacy: 0, scalable: 1, abort: 3 } as const;
export const CCMD = layout("CCMD", 64, {
  domain: [15, 0],
  source: [31, 16],
  functionMask: [33, 32],
  actual: [60, 59],
  requested: [62, 61],
  invalidate: 63,
});
/** Granularity of context-cache and IOTLB invalidations, in CCMD, IOTLB and descriptors. */
export const GRANULARITY = { global: 1, domain: 2, fine: 3 } as const;
export const IOTLB = layout("IOTLB", 64, {
  domain: [47, 32],
  drainWrites: 48,
  drainReads: 49,
  actual: [58, 57],
  requested: [61, 60],
  invalidate: 63,
});
export const IVA = layout("IVA", 32, { addressMask: [5, 0], hint: 6, addressLow: [31, 12] });
export const FSTS = layout("FSTS", 32, {
  overflow: 0,
  pending: 1,
  queueError: 4,
  completionError: 5,
  timeout: 6,
  recordIndex: [15, 8],
});
/** FECTL and IECTL. */
export const EVENT_CONTROL = layout("FECTL", 32, { pending: 30, masked: 31 });
export const ICS = layout("ICS", 32, { waitComplete: 0 });
export const PMEN = layout("PMEN", 32, { status: 0, enable: 31 });
/** Protected ranges are multiples of 2 MiB. */
export const PROTECTED_UNIT = 2 ** 21;
/** IQH and IQT: offset in the queue, of 128-bit units. */
export const QUEUE_OFFSET = layout("IQT", 32, { offset: [18, 4] });
export const IQA = layout("IQA", 32, { size: [2, 0], wide: 11, baseLow: [31, 12] });
export const IRTA = layout("IRTA", 32, { size: [3, 0], extended: 11, tableLow: [31, 12] });
/** A fault record: four words. */
export const FRCD = layout("FRCD", 128, {
  addressLow: [31, 12],
  addressHigh: [63, 32],
  source: [79, 64],
  type2: 92,
  privileged: 93,
  execute: 94,
  hasPasid: 95,
  reason: [103, 96],
  pasid: [123, 104],
  /** 1 read, 0 write. */
  type: 126,
  fault: 127,
});
/** Why the invalidation queue stopped (IQERCD.IQEI). */
export const QUEUE_ERROR = { none: 0, tail: 1, fetch: 2, type: 3, reserved: 4, width: 5 } as const;

/** Name of the register at `offset`. */
export function vtdRegisterName(offset: number): string {
  if (offset >= VTD.FRCD && offset < VTD.FRCD + 16 * FAULT_RECORDS)
    return `FRCD${(offset - VTD.FRCD) >> 4}.${((offset - VTD.FRCD) & 15) >> 2}`;
  for (const [name, at] of Object.entries(VTD)) if (at === offset) return name;
  for (const [name, at] of Object.entries(VTD)) if (at + 4 === offset && at % 8 === 0) return `${name} high`;
  return "reserved";
}
