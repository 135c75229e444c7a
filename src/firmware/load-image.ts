/**
 * Finds out what a file is and loads it, or says in one line why that is impossible.
 */
import { HostError } from "../base/assert.ts";
import type { BootFile, BootPlan, MemoryFacts } from "./boot-plan.ts";
import { isElf, parseElf } from "./elf.ts";
import { isBootSector, loadFlat } from "./flat.ts";
import { findHeader1, loadMultiboot1 } from "./multiboot1.ts";
import { findHeader2, loadMultiboot2 } from "./multiboot2.ts";

/** Linux boot protocol: "HdrS" at 0x202 of a bzImage. */
const LINUX_MAGIC_OFFSET = 0x202;
const LINUX_MAGIC = "HdrS";

/** A plan for `image`: multiboot 2, multiboot 1, or boot sectors, in this order. Throws {@link HostError} with status 66. */
export function loadImage(image: BootFile, modules: readonly BootFile[], facts: MemoryFacts): BootPlan {
  if (image.bytes.length === 0) throw new HostError(`${image.name}: is empty`, 66);
  if (findHeader2(image.bytes) >= 0) return loadMultiboot2(image, modules, facts);
  if (findHeader1(image.bytes) >= 0) return loadMultiboot1(image, modules, facts);
  if (isElf(image.bytes)) {
    const { bits } = parseElf(image.bytes, image.name);
    const where = "in its first 8192 (version 1) or 32768 (version 2) bytes";
    throw new HostError(`${image.name}: is a ${bits}-bit ELF file, but has no multiboot header ${where}`, 66);
  }
  if (isLinux(image.bytes)) {
    throw new HostError(`${image.name}: is a Linux kernel (bzImage); booting these is not supported yet`, 66);
  }
  if (isBootSector(image.bytes)) {
    if (modules.length > 0) throw new HostError(`${image.name}: a boot sector cannot be given modules`, 66);
    return loadFlat(image, facts);
  }
  throw new HostError(`${image.name}: ${whyNot(image.bytes)}`, 66);
}

function isLinux(bytes: Uint8Array): boolean {
  const at = LINUX_MAGIC_OFFSET;
  return bytes.length >= at + 4 && [...LINUX_MAGIC].every((c, i) => bytes[at + i] === c.charCodeAt(0));
}

function whyNot(bytes: Uint8Array): string {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return "is compressed (gzip); unpack it first";
  if (bytes.length >= 512 && bytes[510] === 0x55 && bytes[511] === 0xaa) {
    return `looks like a boot sector, but its ${bytes.length} bytes are no multiple of 512 (truncated?)`;
  }
  return "is not an ELF file, has no multiboot header and is no boot sector (0x55 0xAA at byte 510)";
}
