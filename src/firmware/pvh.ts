/**
 * Starts an ELF kernel by Xen's "x86/HVM direct boot ABI" (docs/misc/pvh.pandoc; structures in xen/include/public/arch-x86/hvm/start_info.h): 32-bit
 * protected mode at the address in its note XEN_ELFNOTE_PHYS32_ENTRY, with `hvm_start_info` in EBX. Linux, FreeBSD and unikernels have that note. Not
 * used: flags of Xen itself, modules besides the initrd.
 */
import { HostError } from "../base/assert.ts";
import type { BootFile, BootPlan, LinuxFacts, MemoryFacts } from "./boot-plan.ts";
import { e820 } from "./e820.ts";
import { isElf, noteWord, parseElf } from "./elf.ts";
import { LayoutPlan } from "./layout-plan.ts";
import { commandLineBytes, LIMITS, placeInitrd, placeSmall } from "./linux-places.ts";
import { placeSegments, protectedEntry } from "./multiboot-common.ts";
import { TableWriter } from "./table-writer.ts";

const NOTE = { name: "Xen", phys32Entry: 18 } as const;
/** XEN_HVM_START_MAGIC_VALUE: "xEn3" with the top bit of E set. */
const MAGIC = 0x336ec578;
/** Version 1 brought the memory map. */
const VERSION = 1;

/** True when the file has the note. */
export function hasPvhEntry(image: BootFile): boolean {
  return isElf(image.bytes) && entryOf(image) !== null;
}

const entryOf = (image: BootFile): number | null =>
  noteWord(image.bytes, parseElf(image.bytes, image.name), NOTE.name, NOTE.phys32Entry);

/** Throws {@link HostError} with status 66 when the image cannot be loaded. */
export function loadPvh(image: BootFile, facts: MemoryFacts, linux: LinuxFacts): BootPlan {
  const eip = entryOf(image);
  if (eip === null) throw new HostError(`${image.name}: has no PVH entry (no ELF note XEN_ELFNOTE_PHYS32_ENTRY)`, 66);
  const plan = new LayoutPlan(facts, image.name);
  placeSegments(plan, image, parseElf(image.bytes, image.name));
  const text = commandLineBytes(image, LIMITS);
  const initrd = placeInitrd(plan, image, facts, linux.initrd, plan.top(), LIMITS);
  const commandLine = placeSmall(plan, "the command line", text);
  const map = new TableWriter();
  const entries = e820(facts);
  // struct hvm_memmap_table_entry: address, size, type, reserved.
  for (const { base, length, type } of entries) map.u64(base, length).u32(type, 0);
  const memoryMap = placeSmall(plan, "the memory map", map.done());
  let modules = 0;
  if (linux.initrd !== null) {
    // struct hvm_modlist_entry: address, size, command line, reserved.
    modules = placeSmall(plan, "the list of modules", new TableWriter().u64(initrd.address, initrd.size, 0, 0).done());
  }
  const info = new TableWriter()
    .u32(MAGIC, VERSION, 0, linux.initrd === null ? 0 : 1)
    .u64(modules, commandLine, linux.rsdp, memoryMap)
    .u32(entries.length, 0)
    .done();
  const ebx = placeSmall(plan, "hvm_start_info", info);
  return { kind: "linux", pieces: plan.pieces, entry: protectedEntry(plan, eip, 0, ebx) };
}
