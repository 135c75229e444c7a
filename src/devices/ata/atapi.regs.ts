/**
 * Commands, sense data and pages of a CD-ROM drive: SCSI Primary Commands 2 (T10/1236-D), Multi-Media Commands 3 (T10/1363-D), as packets of 12 bytes.
 */
import { layout } from "../../base/layout.ts";

export const CD_SECTOR = 2048;
export const PACKET_BYTES = 12;

export const PACKET = {
  testUnitReady: 0x00,
  requestSense: 0x03,
  inquiry: 0x12,
  startStopUnit: 0x1b,
  preventAllow: 0x1e,
  readCapacity: 0x25,
  read10: 0x28,
  seek10: 0x2b,
  readToc: 0x43,
  getConfiguration: 0x46,
  getEventStatus: 0x4a,
  modeSense10: 0x5a,
  read12: 0xa8,
  mechanismStatus: 0xbd,
} as const;

export const SENSE_KEY = { none: 0x0, notReady: 0x2, illegalRequest: 0x5, unitAttention: 0x6 } as const;
/** Additional sense code and its qualifier. */
export const SENSE = {
  none: 0x0000,
  invalidOpcode: 0x2000,
  outOfRange: 0x2100,
  invalidField: 0x2400,
  mediumChanged: 0x2800,
  powerOn: 0x2900,
  savingNotSupported: 0x3900,
  noMediumTrayClosed: 0x3a01,
  noMediumTrayOpen: 0x3a02,
  removalPrevented: 0x5302,
} as const;

/** Fixed format (SPC-2, 7.23.2). */
export const SENSE_BYTES = 18;
export const START_STOP = layout("START STOP UNIT byte 4", 8, { start: 0, loadEject: 1 });
/** READ TOC, byte 1. */
export const TOC_MSF = 0x02;
export const TOC_FORMAT = { toc: 0, session: 1 } as const;
export const LEAD_OUT = 0xaa;
/** Mode pages, and which of their values is asked for. */
export const MODE_PAGE = { errorRecovery: 0x01, capabilities: 0x2a, all: 0x3f } as const;
export const PAGE_CONTROL = { current: 0, changeable: 1, standard: 2, saved: 3 } as const;
/** Features of GET CONFIGURATION (MMC-3, 5.2). */
export const FEATURE = {
  profiles: 0x0000,
  core: 0x0001,
  removable: 0x0003,
  randomRead: 0x0010,
  cdRead: 0x001e,
} as const;
export const PROFILE_CD_ROM = 0x0008;
/** Event classes of GET EVENT STATUS NOTIFICATION. */
export const EVENT_CLASS_MEDIA = 4;
export const MEDIA_EVENT = { none: 0, ejectRequest: 1, newMedia: 2, removal: 3 } as const;
