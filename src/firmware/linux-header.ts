/**
 * The real-mode setup header of a bzImage ("The Linux/x86 Boot Protocol", chapters "The Real-Mode Kernel Header" and "Details of Header Fields"), read
 * and checked. Offsets are those in the file, and the same in the zero page.
 */
import { HostError } from "../base/assert.ts";
import { MIB, type PhysAddr } from "../base/units.ts";
import type { BootFile, LinuxEntry } from "./boot-plan.ts";

export const HEADER = {
  start: 0x1f1,
  setupSectors: 0x1f1,
  systemSize: 0x1f4,
  bootFlag: 0x1fe,
  jump: 0x200,
  videoMode: 0x1fa,
  magic: 0x202,
  version: 0x206,
  loaderType: 0x210,
  loadFlags: 0x211,
  ramdisk: 0x218,
  ramdiskSize: 0x21c,
  heapEnd: 0x224,
  commandLine: 0x228,
  initrdMax: 0x22c,
  relocatable: 0x234,
  extraLoadFlags: 0x236,
  commandLineSize: 0x238,
  payloadOffset: 0x248,
  payloadLength: 0x24c,
  preferred: 0x258,
  initSize: 0x260,
} as const;

/** Fields of the zero page outside the header (Documentation/arch/x86/zero-page.rst). */
export const ZERO_PAGE = { rsdp: 0x070, extendedMemory: 0x1e0, mapEntries: 0x1e8, map: 0x2d0 } as const;

const MAGIC = "HdrS";
/** Protocols that brought what is used here: a command line anywhere, an initrd's highest address, the command line's length, a payload, the size in memory, a 64-bit entry. */
const VERSION = {
  oldest: 0x202,
  initrdMax: 0x203,
  commandLineSize: 0x206,
  payload: 0x208,
  size: 0x20a,
  wide: 0x20c,
} as const;
/** What a vmlinux, which has no header, is given. */
export const VMLINUX_VERSION = VERSION.wide;
export const LOADED_HIGH = 0x01;
export const CAN_USE_HEAP = 0x80;
/** Where the protected-mode part lies for kernels that do not say it. */
const DEFAULT_ADDRESS = MIB;
const DEFAULT_INITRD_MAX = 0x37ffffff;
const DEFAULT_COMMAND_LINE = 255;
/** XLF_KERNEL_64 in xloadflags. */
const KERNEL_64 = 0x0001;
const SECTOR = 512;

export type SetupHeader = {
  /** The header as it goes into the zero page. */
  readonly bytes: Uint8Array;
  /** How it can be started, the best first. */
  readonly entries: readonly LinuxEntry[];
  /** Where the protected-mode part begins in the file. */
  readonly fileOffset: number;
  /** Bytes of the file that the header tells of; a signature may follow. */
  readonly fileBytes: number;
  /** Where it prefers to lie. */
  readonly address: PhysAddr;
  /** Bytes that it uses from there while it starts. */
  readonly initSize: number;
  /** Highest address that an initrd's last byte may have. */
  readonly initrdMax: PhysAddr;
  /** Bytes of the command line, without the terminating zero. */
  readonly commandLineMax: number;
  /** The compressed kernel in the file. */
  readonly payload: Uint8Array;
};

/** "HdrS" at 0x202. */
export function isBzImage(bytes: Uint8Array): boolean {
  return bytes.length >= HEADER.version && [...MAGIC].every((c, i) => bytes[HEADER.magic + i] === c.charCodeAt(0));
}

/** Throws {@link HostError} with status 66 for what cannot be booted. */
export function parseSetup(image: BootFile): SetupHeader {
  const { bytes, name } = image;
  const fail = (what: string): never => {
    throw new HostError(`${name}: ${what}`, 66);
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEADER.initSize + 4)
    fail(`truncated: a Linux kernel's header does not end within ${bytes.length} bytes`);
  if (view.getUint16(HEADER.bootFlag, true) !== 0xaa55) fail("is no valid bzImage: 0x55 0xAA is missing at byte 510");
  const version = view.getUint16(HEADER.version, true);
  if (version < VERSION.oldest) {
    fail(`is a Linux kernel with boot protocol ${version >> 8}.${version & 0xff}; 2.2 or later is needed (Linux 2.4)`);
  }
  if ((view.getUint8(HEADER.loadFlags) & LOADED_HIGH) === 0) fail("is a zImage; only a bzImage can be loaded");
  // "If this field contains 0, the real value is 4"; the boot sector counts extra.
  const fileOffset = ((view.getUint8(HEADER.setupSectors) || 4) + 1) * SECTOR;
  const size = view.getUint32(HEADER.systemSize, true) * 16;
  // The last unit of 16 bytes need not be whole.
  if (fileOffset + size - 15 > bytes.length) {
    fail(`truncated: its header tells of ${fileOffset + size} bytes, the file has ${bytes.length}`);
  }
  const field = (since: number, at: number, otherwise: number): number =>
    version >= since ? view.getUint32(at, true) : otherwise;
  const payloadStart = fileOffset + field(VERSION.payload, HEADER.payloadOffset, 0);
  const payloadEnd = payloadStart + field(VERSION.payload, HEADER.payloadLength, 0);
  if (payloadEnd > bytes.length) fail("is damaged: its payload would end outside the file");
  const high = field(VERSION.size, HEADER.preferred + 4, 0) * 2 ** 32;
  const address = field(VERSION.size, HEADER.preferred, DEFAULT_ADDRESS) + high;
  const initSize = field(VERSION.size, HEADER.initSize, size);
  if (address < MIB || initSize === 0) fail("is damaged: its header does not say where the kernel goes");
  // "The size of the setup header": 0x202 and the offset of the jump that stands there.
  const headerEnd = HEADER.magic + view.getUint8(HEADER.jump + 1);
  return {
    bytes: bytes.slice(HEADER.start, headerEnd),
    entries: entriesOf(version, view.getUint16(HEADER.extraLoadFlags, true)),
    fileOffset,
    fileBytes: fileOffset + size,
    address,
    initSize,
    initrdMax: field(VERSION.initrdMax, HEADER.initrdMax, DEFAULT_INITRD_MAX),
    commandLineMax: field(VERSION.commandLineSize, HEADER.commandLineSize, DEFAULT_COMMAND_LINE),
    payload: bytes.subarray(payloadStart, payloadEnd),
  };
}

/** A kernel that does not tell its size in memory is old, or no Linux: it is started as a BIOS does it, and asks for everything itself. */
function entriesOf(version: number, extraLoadFlags: number): LinuxEntry[] {
  const entries: LinuxEntry[] = ["linux16"];
  if (version >= VERSION.size) entries.unshift("linux32");
  if (version >= VERSION.wide && (extraLoadFlags & KERNEL_64) !== 0) entries.unshift("linux64");
  return entries;
}
