/**
 * Structures in memory. Document: VT-d specification (rev. 4.0), chapter 9 "Translation Structure Formats", 6.5.2 "Queued Invalidation Interface", 5.1
 * "Interrupt Remapping" and 9.10 to 9.12 (interrupt remapping table entry, posted interrupt descriptor).
 */
import { layout } from "../base/layout.ts";

/** Root entry, 128 bits (9.1). In scalable mode (9.2) each half has this form: low for devices 0 to 15, high for 16 to 31. */
export const ROOT = layout("root entry", 64, { present: 0, tableLow: [31, 12], tableHigh: [63, 32] });
export const ROOT_RESERVED_LOW = 0xffe;

/** Context entry, 128 bits (9.3). */
export const CONTEXT = layout("context entry", 128, {
  present: 0,
  faultsOff: 1,
  type: [3, 2],
  tableLow: [31, 12],
  tableHigh: [63, 32],
  width: [66, 64],
  domain: [87, 72],
});
export const CONTEXT_RESERVED = [0xff0, 0, 0xff00_0080, 0xffff_ffff] as const;
export const TRANSLATION = { untranslated: 0, all: 1, passThrough: 2 } as const;

/** Scalable-mode context entry, 256 bits (9.4). */
export const SM_CONTEXT = layout("scalable-mode context entry", 128, {
  present: 0,
  faultsOff: 1,
  deviceTlb: 2,
  pasid: 3,
  pageRequests: 4,
  directorySize: [11, 9],
  directoryLow: [31, 12],
  directoryHigh: [63, 32],
  ridPasid: [83, 64],
  ridPrivileged: 84,
});
/** Of the words 0, 2 and 3; the words 4 to 7 are all reserved. Without device TLBs and page requests their bits are reserved, too. */
export const SM_CONTEXT_RESERVED = [0x1f4, 0xffe0_0000, 0xffff_ffff] as const;
export const PASID_DIRECTORY = layout("PASID directory entry", 64, {
  present: 0,
  faultsOff: 1,
  tableLow: [31, 12],
  tableHigh: [63, 32],
});
export const PASID_DIRECTORY_RESERVED = 0xffc;

/** Scalable-mode PASID table entry, 512 bits, as words by number (9.6). */
export const PASID_WORD0 = layout("PASID entry word 0", 32, {
  present: 0,
  faultsOff: 1,
  width: [4, 2],
  secondExecute: 5,
  type: [8, 6],
  secondDirty: 9,
  secondLow: [31, 12],
});
export const PASID_WORD2 = layout("PASID entry word 2", 32, { domain: [15, 0] });
export const PASID_WORD4 = layout("PASID entry word 4", 32, {
  supervisor: 0,
  execute: 1,
  firstLevels: [3, 2],
  writeProtect: 4,
  noExecute: 5,
  smep: 6,
  extendedAccessed: 7,
  firstLow: [31, 12],
});
/** Word 0: bits 11:10, and execute and dirty enables that ECAP does not offer. */
export const PASID_RESERVED = [0xe20, 0x007f_0000, 0xf80] as const;
export const PASID_TYPE = { first: 1, second: 2, nested: 3, passThrough: 4 } as const;

/** Second-level paging entry (9.8). */
export const SECOND_LEVEL = layout("second-level entry", 64, {
  read: 0,
  write: 1,
  large: 7,
  snoop: 11,
  addressLow: [31, 12],
  addressHigh: [51, 32],
  transient: 62,
});
/** First-level paging entry (9.7), as on the processor. */
export const FIRST_LEVEL = layout("first-level entry", 64, {
  present: 0,
  write: 1,
  user: 2,
  accessed: 5,
  dirty: 6,
  large: 7,
  addressLow: [31, 12],
  addressHigh: [51, 32],
  noExecute: 63,
});

/** Interrupt remapping table entry, 128 bits (9.10); the destination is a word of its own. */
export const IRTE = layout("IRTE", 128, {
  present: 0,
  faultsOff: 1,
  destinationMode: 2,
  redirectionHint: 3,
  trigger: 4,
  deliveryMode: [7, 5],
  available: [11, 8],
  posted: 15,
  vector: [23, 16],
  destination: [63, 32],
  source: [79, 64],
  sourceQualifier: [81, 80],
  sourceValidation: [83, 82],
});
export const IRTE_RESERVED = [0xff00_7000, 0, 0xfff0_0000, 0xffff_ffff] as const;
/** The same of an entry for posted interrupts (9.11): words 1 and 3 hold the descriptor's address. */
export const POSTED_IRTE = layout("posted IRTE", 128, {
  urgent: 14,
  vector: [23, 16],
  descriptorLow: [63, 38],
  descriptorHigh: [127, 96],
});
export const POSTED_RESERVED = [0xff00_30fc, 0x3f, 0xfff0_0000, 0] as const;
/** Without x2APIC mode the destination is bits 47:40. */
export const XAPIC_DESTINATION = { shift: 8, reserved: 0xffff_00ff } as const;
export const SOURCE_VALIDATION = { none: 0, requester: 1, buses: 2 } as const;

/** Posted interrupt descriptor, 64 bytes (9.12): 256 request bits, then this. */
export const POSTED_CONTROL = layout("posted interrupt descriptor", 64, {
  outstanding: 0,
  suppress: 1,
  vector: [23, 16],
  destination: [63, 32],
});
export const POSTED_CONTROL_OFFSET = 32;
export const POSTED_CONTROL_RESERVED = 0xff00_fffc;

/** A message in remappable format (5.1.2.2). */
export const REMAPPABLE = layout("remappable address", 32, {
  handleHigh: 2,
  subhandleValid: 3,
  remappable: 4,
  handleLow: [19, 5],
});
/** An I/O APIC's entry in remappable format (5.1.5.1). */
export const REMAPPABLE_RTE = layout("remappable RTE", 64, { indexHigh: 11, remappable: 48, indexLow: [63, 49] });

/** Descriptors of the invalidation queue (6.5.2); the type has three more bits above. */
export const DESCRIPTOR = layout("descriptor", 128, { typeLow: [3, 0], granularity: [5, 4], typeHigh: [11, 9] });
export const DESCRIPTOR_TYPE = { context: 1, iotlb: 2, interrupt: 4, wait: 5, pasidIotlb: 6, pasidCache: 7 } as const;
export const CONTEXT_DESCRIPTOR = layout("context-cache descriptor", 64, {
  domain: [31, 16],
  source: [47, 32],
  functionMask: [49, 48],
});
export const IOTLB_DESCRIPTOR = layout("IOTLB descriptor", 128, {
  domain: [31, 16],
  pasid: [51, 32],
  addressMask: [69, 64],
  hint: 70,
  addressLow: [95, 76],
  addressHigh: [127, 96],
});
export const INTERRUPT_DESCRIPTOR = layout("interrupt entry cache descriptor", 64, {
  selective: 4,
  mask: [31, 27],
  index: [47, 32],
});
export const WAIT_DESCRIPTOR = layout("wait descriptor", 64, { interrupt: 4, status: 5, fence: 6, drain: 7 });
/** Reserved bits of each descriptor, by type and word. */
export const DESCRIPTOR_RESERVED: { readonly [type: number]: readonly [number, number, number, number] } = {
  [DESCRIPTOR_TYPE.context]: [0xf1c0, 0xfffc_0000, 0xffff_ffff, 0xffff_ffff],
  [DESCRIPTOR_TYPE.iotlb]: [0xf100, 0xffff_ffff, 0xf80, 0],
  [DESCRIPTOR_TYPE.interrupt]: [0x07ff_f1e0, 0xffff_0000, 0xffff_ffff, 0xffff_ffff],
  [DESCRIPTOR_TYPE.wait]: [0xffff_f100, 0, 3, 0],
  [DESCRIPTOR_TYPE.pasidIotlb]: [0xf1c0, 0xfff0_0000, 0xf80, 0],
  [DESCRIPTOR_TYPE.pasidCache]: [0xf1c0, 0xfff0_0000, 0xffff_ffff, 0xffff_ffff],
};
/** Granularities of the PASID-cache descriptor. */
export const PASID_GRANULARITY = { domain: 0, pasid: 1, global: 3 } as const;
