/**
 * Finds out what a file is and loads it, or says in one line why that is impossible.
 */
import { HostError } from "../base/assert.ts";
import type { BootFile, BootPlan, LinuxFacts, MemoryFacts } from "./boot-plan.ts";
import { isElf, parseElf } from "./elf.ts";
import { isBootSector, loadFlat } from "./flat.ts";
import { isBzImage, isLinuxElf, loadBzImage, loadVmlinux } from "./linux-boot.ts";
import { findHeader1, loadMultiboot1 } from "./multiboot1.ts";
import { findHeader2, loadMultiboot2 } from "./multiboot2.ts";
import { hasPvhEntry, loadPvh } from "./pvh.ts";

const NO_LINUX: LinuxFacts = { initrd: null, rsdp: 0 };

/** A plan for `image`: multiboot 2, multiboot 1, Linux, PVH, or boot sectors, in this order. Throws {@link HostError} with status 66. */
export function loadImage(
  image: BootFile,
  modules: readonly BootFile[],
  facts: MemoryFacts,
  linux: LinuxFacts = NO_LINUX,
): BootPlan {
  const { bytes, name } = image;
  if (bytes.length === 0) throw new HostError(`${name}: is empty`, 66);
  const multiboot2 = findHeader2(bytes) >= 0;
  if (multiboot2 || findHeader1(bytes) >= 0) {
    if (linux.initrd !== null) throw new HostError(`${name}: a multiboot kernel takes modules, no initrd`, 66);
    if (linux.entry != null) throw new HostError(`${name}: a multiboot kernel has no choice of entries`, 66);
    return multiboot2 ? loadMultiboot2(image, modules, facts) : loadMultiboot1(image, modules, facts);
  }
  const isLinux = isBzImage(bytes) || isLinuxElf(image);
  if (isLinux && modules.length > 0) throw new HostError(`${name}: a Linux kernel takes an initrd, no modules`, 66);
  if (isLinux) return isBzImage(bytes) ? loadBzImage(image, facts, linux) : loadVmlinux(image, facts, linux);
  if (hasPvhEntry(image)) {
    if (modules.length > 0) throw new HostError(`${name}: a kernel with a PVH entry takes an initrd, no modules`, 66);
    return loadPvh(image, facts, linux);
  }
  if (isElf(bytes)) {
    const { bits } = parseElf(bytes, name);
    const where = "in its first 8192 (version 1) or 32768 (version 2) bytes";
    throw new HostError(
      `${name}: is a ${bits}-bit ELF file, but has neither a PVH entry nor a multiboot header ${where}`,
      66,
    );
  }
  if (isBootSector(bytes)) {
    if (modules.length > 0) throw new HostError(`${name}: a boot sector cannot be given modules`, 66);
    if (linux.initrd !== null) throw new HostError(`${name}: a boot sector cannot be given an initrd`, 66);
    return loadFlat(image, facts);
  }
  throw new HostError(`${name}: ${whyNot(bytes)}`, 66);
}

function whyNot(bytes: Uint8Array): string {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return "is compressed (gzip); unpack it first";
  if (bytes.length >= 512 && bytes[510] === 0x55 && bytes[511] === 0xaa) {
    return `looks like a boot sector, but its ${bytes.length} bytes are no multiple of 512 (truncated?)`;
  }
  return "is not an ELF file, has no multiboot header and is no boot sector (0x55 0xAA at byte 510)";
}
