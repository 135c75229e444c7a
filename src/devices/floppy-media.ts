/**
 * Formats of floppy disks, known by the size of a raw image, and the drive that each belongs in (82077AA datasheet, table 5-3 "Sector size", and appendix
 * "Common drive formats"; IBM PC/AT Technical Reference, CMOS byte 0x10 "Diskette drive type"). Sectors are of 512 bytes, both sides are used.
 */
import { HostError } from "../base/assert.ts";
import { KIB, type Ns } from "../base/units.ts";

export const SECTOR_BYTES = 512;
/** N of an ID field: 128 << N bytes. */
export const SECTOR_SIZE_CODE = 2;
export const HEADS = 2;
const USAGE = 64;
const MINUTE_NS = 60e9;

export type FloppyFormat = {
  readonly name: string;
  readonly cylinders: number;
  /** Per track, numbered from 1. */
  readonly sectors: number;
  /** One turn. */
  readonly turnNs: Ns;
  /** Data rate code of DSR and CCR at which the drive reads and writes it. */
  readonly rate: number;
  /** What CMOS calls the drive. */
  readonly cmosType: number;
};

/** Data rates by code: time of a byte in MFM. 500, 300, 250 and 1000 kbit/s. */
export const BYTE_NS: readonly Ns[] = [16_000, 26_667, 32_000, 8_000];
const RATE = { kbps500: 0, kbps250: 2, kbps1000: 3 } as const;

const turn = (perMinute: number): Ns => MINUTE_NS / perMinute;
const FORMATS: readonly FloppyFormat[] = [
  { name: "360K", cylinders: 40, sectors: 9, turnNs: turn(300), rate: RATE.kbps250, cmosType: 1 },
  { name: "720K", cylinders: 80, sectors: 9, turnNs: turn(300), rate: RATE.kbps250, cmosType: 3 },
  // 360 turns a minute last 166 666 666.7 ns.
  { name: "1.2M", cylinders: 80, sectors: 15, turnNs: Math.round(turn(360)), rate: RATE.kbps500, cmosType: 2 },
  { name: "1.44M", cylinders: 80, sectors: 18, turnNs: turn(300), rate: RATE.kbps500, cmosType: 4 },
  { name: "2.88M", cylinders: 80, sectors: 36, turnNs: turn(300), rate: RATE.kbps1000, cmosType: 5 },
];

const bytesOf = ({ cylinders, sectors }: FloppyFormat): number => cylinders * HEADS * sectors * SECTOR_BYTES;

/** Throws {@link HostError} with status 64 when no floppy disk has that size. */
export function floppyFormat(name: string, bytes: number): FloppyFormat {
  const format = FORMATS.find(one => bytesOf(one) === bytes);
  if (format !== undefined) return format;
  const sizes = FORMATS.map(one => `${one.name} (${bytesOf(one) / KIB} KiB)`).join(", ");
  throw new HostError(`${name}: ${bytes} bytes are no floppy disk; there are ${sizes}`, USAGE);
}
