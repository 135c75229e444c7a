/**
 * The real-mode setup header of a bzImage ("The Linux/x86 Boot Protocol", chapters "The Real-Mode Kernel Header" and "Details of Header Fields"), read
 * and checked. Offsets are those in the file, and the same in the zero page.
 */
import { HostError } from "../base/assert.ts";
import { MIB, type PhysAddr } from "../base/units.ts";
import type { BootFile } from "./boot-plan.ts";

export const HEADER = {
  start: 0x1f1,
  setupSectors: 0x1f1,
  systemSize: 0x1f4,
  bootFlag: 0x1fe,
  jump: 0x200,
  magic: 0x202,
  version: 0x206,
  loaderType: 0x210,
  loadFlags: 0x211,
  ramdisk: 0x218,
  ramdiskSize: 0x21c,
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
/** Protocol 2.12 brought xloadflags, which tell of a 64-bit entry. */
export const OLDEST = 0x020c;
export const LOADED_HIGH = 0x01;
const KERNEL_64 = 0x0001;
const SECTOR = 512;

export type SetupHeader = {
  /** The header as it goes into the zero page. */
  readonly bytes: Uint8Array;
  /** Where the protected-mode part begins in the file. */
  readonly fileOffset: number;
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
  if (version < OLDEST) {
    fail(`is a Linux kernel with boot protocol ${version >> 8}.${version & 0xff}; 2.12 or later is needed (Linux 3.8)`);
  }
  if ((view.getUint8(HEADER.loadFlags) & LOADED_HIGH) === 0) fail("is a zImage; only a bzImage can be loaded");
  if ((view.getUint16(HEADER.extraLoadFlags, true) & KERNEL_64) === 0) {
    fail("is a 32-bit Linux kernel; only kernels with a 64-bit entry are booted");
  }
  // "If this field contains 0, the real value is 4"; the boot sector counts extra.
  const fileOffset = ((view.getUint8(HEADER.setupSectors) || 4) + 1) * SECTOR;
  const size = view.getUint32(HEADER.systemSize, true) * 16;
  // The last unit of 16 bytes need not be whole.
  if (fileOffset + size - 15 > bytes.length) {
    fail(`truncated: its header tells of ${fileOffset + size} bytes, the file has ${bytes.length}`);
  }
  const payloadStart = fileOffset + view.getUint32(HEADER.payloadOffset, true);
  const payloadEnd = payloadStart + view.getUint32(HEADER.payloadLength, true);
  if (payloadEnd > bytes.length) fail("is damaged: its payload would end outside the file");
  const preferred = view.getUint32(HEADER.preferred, true) + view.getUint32(HEADER.preferred + 4, true) * 2 ** 32;
  const initSize = view.getUint32(HEADER.initSize, true);
  if (preferred < MIB || initSize === 0) fail("is damaged: its header does not say where the kernel goes");
  // "The size of the setup header": 0x202 and the offset of the jump that stands there.
  const headerEnd = HEADER.magic + view.getUint8(HEADER.jump + 1);
  return {
    bytes: bytes.slice(HEADER.start, headerEnd),
    fileOffset,
    address: preferred,
    initSize,
    initrdMax: view.getUint32(HEADER.initrdMax, true),
    commandLineMax: view.getUint32(HEADER.commandLineSize, true),
    payload: bytes.subarray(payloadStart, payloadEnd),
  };
}
