/**
 * What a CD-ROM drive answers to the packets that ask about it and its disc: SPC-2 and MMC-3 (see atapi.regs.ts). Null where the packet asks for something
 * that there is not ("invalid field in CDB").
 */
import {
  CD_SECTOR,
  EVENT_CLASS_MEDIA,
  FEATURE,
  LEAD_OUT,
  MODE_PAGE,
  PAGE_CONTROL,
  PROFILE_CD_ROM,
  SENSE_BYTES,
  TOC_FORMAT,
  TOC_MSF,
} from "./atapi.regs.ts";

const TYPE_CD = 0x05;
const REMOVABLE = 0x80;
/** Frames of a second, and the two seconds before sector 0. */
const FRAMES = 75;
const LEAD_IN_FRAMES = 150;
/** Q sub-channel: position, a data track that must not be copied. */
const DATA_TRACK = 0x14;
/** 24 times 176.4 kB/s. */
const SPEED = 4234;
const BUFFER_KIB = 64;

export const get16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
export const get32 = (bytes: Uint8Array, at: number): number => get16(bytes, at) * 0x10000 + get16(bytes, at + 2);
const be16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff];
const be32 = (value: number): number[] => [...be16(value >>> 16), ...be16(value & 0xffff)];
const text = (value: string, length: number): number[] =>
  Array.from({ length }, (_, i) => (i < value.length ? value.charCodeAt(i) : 0x20));

/** SPC-2, 7.3. */
export function inquiry(packet: Uint8Array): Uint8Array | null {
  // Neither vital product data nor a page code without it.
  if ((packet[1]! & 3) !== 0 || packet[2] !== 0) return null;
  const head = [TYPE_CD, REMOVABLE, 0x00, 0x32, 31, 0, 0, 0];
  return Uint8Array.from([...head, ...text("IRETQ", 8), ...text("CD-ROM", 16), ...text("1.0", 4)]);
}

/** @param code additional sense code and qualifier */
export function senseData(key: number, code: number, information: number): Uint8Array {
  const bytes = new Uint8Array(SENSE_BYTES);
  bytes[0] = 0x70;
  bytes[2] = key;
  bytes.set(be32(information), 3);
  bytes[7] = SENSE_BYTES - 8;
  bytes.set(be16(code), 12);
  return bytes;
}

export const capacity = (sectors: number): Uint8Array => Uint8Array.from([...be32(sectors - 1), ...be32(CD_SECTOR)]);

function address(sector: number, msf: boolean): number[] {
  if (!msf) return be32(sector);
  const frame = sector + LEAD_IN_FRAMES;
  return [0, Math.floor(frame / FRAMES / 60), Math.floor(frame / FRAMES) % 60, frame % FRAMES];
}

/** One data track (MMC-3, 5.23). */
export function tableOfContents(packet: Uint8Array, sectors: number): Uint8Array | null {
  const msf = (packet[1]! & TOC_MSF) !== 0;
  // SFF-8020i had the format in the control byte.
  const format = (packet[2]! & 0x0f) === 0 ? packet[9]! >> 6 : packet[2]! & 0x0f;
  const start = packet[6]!;
  if (format === TOC_FORMAT.session)
    return Uint8Array.from([...be16(10), 1, 1, 0, DATA_TRACK, 1, 0, ...address(0, msf)]);
  if (format !== TOC_FORMAT.toc || (start > 1 && start !== LEAD_OUT)) return null;
  const track = (number: number, at: number): number[] => [0, DATA_TRACK, number, 0, ...address(at, msf)];
  const tracks = [...(start <= 1 ? track(1, 0) : []), ...track(LEAD_OUT, sectors)];
  return Uint8Array.from([...be16(tracks.length + 2), 1, 1, ...tracks]);
}

function modePage(page: number, changeable: boolean, locked: boolean): number[] {
  if (page === MODE_PAGE.errorRecovery) return [page, 6, 0, changeable ? 0 : 5, 0, 0, 0, 0];
  const bytes = new Array<number>(22).fill(0);
  bytes[0] = page;
  bytes[1] = 20;
  if (changeable) return bytes;
  // Reads CD-R and CD-RW; a tray that software can eject and lock.
  bytes[2] = 0x03;
  bytes[6] = 0x29 | (locked ? 0x02 : 0);
  [bytes[8], bytes[9], bytes[14], bytes[15]] = [...be16(SPEED), ...be16(SPEED)] as [number, number, number, number];
  [bytes[12], bytes[13]] = be16(BUFFER_KIB) as [number, number];
  return bytes;
}

/** MODE SENSE(10) without block descriptors; the code of a sense is given back where saved values are asked for. */
export function modeSense(packet: Uint8Array, locked: boolean): Uint8Array | "saved" | null {
  const page = packet[2]! & 0x3f;
  const control = packet[2]! >> 6;
  if (control === PAGE_CONTROL.saved) return "saved";
  const known = [MODE_PAGE.errorRecovery, MODE_PAGE.capabilities];
  const wanted = page === MODE_PAGE.all ? known : known.filter(one => one === page);
  if (wanted.length === 0) return null;
  const pages = wanted.flatMap(one => modePage(one, control === PAGE_CONTROL.changeable, locked));
  return Uint8Array.from([...be16(pages.length + 6), 0, 0, 0, 0, 0, 0, ...pages]);
}

/** MMC-3, 5.5. @param medium the CD-ROM profile is current */
export function configuration(packet: Uint8Array, medium: boolean): Uint8Array | null {
  const type = packet[1]! & 3;
  const start = get16(packet, 2);
  const current = medium ? 1 : 0;
  /** Version in bits 5-2, persistent bit 1, current bit 0. */
  const feature = (code: number, flags: number, ...data: number[]): number[] => [
    ...be16(code),
    flags,
    data.length,
    ...data,
  ];
  const features: [code: number, current: boolean, bytes: number[]][] = [
    [FEATURE.profiles, true, feature(FEATURE.profiles, 3, ...be16(PROFILE_CD_ROM), current, 0)],
    [FEATURE.core, true, feature(FEATURE.core, 3, ...be32(2))],
    [FEATURE.removable, true, feature(FEATURE.removable, 3, 0x29, 0, 0, 0)],
    [FEATURE.randomRead, medium, feature(FEATURE.randomRead, current, ...be32(CD_SECTOR), ...be16(1), 0, 0)],
    [FEATURE.cdRead, medium, feature(FEATURE.cdRead, current)],
  ];
  if (type === 3) return null;
  const wanted = features.filter(([code, on]) => (type === 2 ? code === start : code >= start && (type === 0 || on)));
  const bytes = wanted.flatMap(([, , data]) => data);
  return Uint8Array.from([...be32(bytes.length + 4), 0, 0, ...be16(medium ? PROFILE_CD_ROM : 0), ...bytes]);
}

/** MMC-3, 5.6, polled. @param event what has happened to the disc since it was last asked */
export function eventStatus(packet: Uint8Array, event: number, medium: boolean, open: boolean): Uint8Array | null {
  if ((packet[1]! & 1) === 0) return null;
  const supported = 1 << EVENT_CLASS_MEDIA;
  // "No event available": the class is not asked for.
  if ((packet[4]! & supported) === 0) return Uint8Array.from([...be16(2), 0x80, supported]);
  const status = (medium ? 2 : 0) | (open ? 1 : 0);
  return Uint8Array.from([...be16(6), EVENT_CLASS_MEDIA, supported, event, status, 0, 0]);
}

/** MMC-3, 5.12: no changer. */
export const mechanismStatus = (open: boolean): Uint8Array => Uint8Array.from([0, open ? 0x10 : 0, 0, 0, 0, 0, 0, 0]);
