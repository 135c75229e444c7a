/**
 * Multiboot2, version 2.0 (GNU GRUB): header tags, boot information tags, entry state. Not supported, and refused when a header requires it: frame
 * buffer, EFI. The relocatable tag is heeded only in that its image is loaded where it was linked.
 */
import { HostError } from "../base/assert.ts";
import type { BootFile, BootPlan, MemoryFacts } from "./boot-plan.ts";
import { e820 } from "./e820.ts";
import { isElf, parseElf, physicalEntry } from "./elf.ts";
import { LayoutPlan } from "./layout-plan.ts";
import {
  basicMemory,
  commandLine,
  type LoadAddresses,
  LOADER_NAME,
  placeByAddresses,
  placeModules,
  placeSegments,
  protectedEntry,
  type SectionTable,
  sectionTable,
} from "./multiboot-common.ts";
import { TableWriter } from "./table-writer.ts";

/** 3.1: the header lies in the first 32768 bytes, 64-bit aligned. */
const SEARCH = 32768;
const HEADER_MAGIC = 0xe85250d6;
const ARCH_I386 = 0;
/** 3.3: EAX at entry. */
export const ENTRY_MAGIC2 = 0x36d76289;
/** Types of header tags (3.1.3 to 3.1.13). */
const TAG = {
  end: 0,
  request: 1,
  address: 2,
  entry: 3,
  console: 4,
  align: 6,
  efiServices: 7,
  efi32: 8,
  efi64: 9,
  relocate: 10,
};
const OPTIONAL = 1;
/** Types of information tags (3.6). */
const INFO = { end: 0, commandLine: 1, name: 2, module: 3, memory: 4, map: 6, elf: 9 } as const;
const GIVEN: readonly number[] = Object.values(INFO);

/** Offset of the header in the file, −1 when there is none. */
export function findHeader2(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const last = Math.min(SEARCH, bytes.length) - 16;
  for (let at = 0; at <= last; at += 8) {
    if (view.getUint32(at, true) !== HEADER_MAGIC) continue;
    const sum =
      HEADER_MAGIC + view.getUint32(at + 4, true) + view.getUint32(at + 8, true) + view.getUint32(at + 12, true);
    if (sum >>> 0 === 0) return at;
  }
  return -1;
}

type HeaderTags = { addresses: LoadAddresses | null; entry: number | null };

/** Reads the header's tags; refuses what it requires and we have not. */
function readTags(kernel: BootFile, at: number): HeaderTags {
  const view = new DataView(kernel.bytes.buffer, kernel.bytes.byteOffset, kernel.bytes.byteLength);
  const word = (offset: number): number => view.getUint32(offset, true);
  const fail = (what: string): never => {
    throw new HostError(`${kernel.name}: its multiboot2 header ${what}`, 66);
  };
  if (word(at + 4) !== ARCH_I386) fail(`is for architecture ${word(at + 4)}, not i386`);
  const end = at + word(at + 8);
  if (end > kernel.bytes.length) fail("is truncated");
  const tags: HeaderTags = { addresses: null, entry: null };
  for (let tag = at + 16; tag + 8 <= end; ) {
    const type = view.getUint16(tag, true);
    const required = (view.getUint16(tag + 2, true) & OPTIONAL) === 0;
    const size = word(tag + 4);
    if (size < 8 || tag + size > end) fail(`has a broken tag of type ${type}`);
    if (type === TAG.end) break;
    if (type === TAG.request) {
      for (let i = tag + 8; i + 4 <= tag + size; i += 4) {
        if (required && !GIVEN.includes(word(i)))
          fail(`requires boot information of type ${word(i)}, which this PC has not`);
      }
    } else if (type === TAG.address && size >= 24) {
      tags.addresses = { header: word(tag + 8), load: word(tag + 12), loadEnd: word(tag + 16), bssEnd: word(tag + 20) };
    } else if (type === TAG.entry && size >= 12) tags.entry = word(tag + 8);
    else if (!harmless(type) && required) fail(`requires tag ${type}, which is not built`);
    tag += Math.ceil(size / 8) * 8;
  }
  return tags;
}

/** Tags that ask for nothing that a PC without EFI would do differently. */
function harmless(type: number): boolean {
  const known = [TAG.console, TAG.align, TAG.efiServices, TAG.efi32, TAG.efi64, TAG.relocate];
  return known.includes(type);
}

/** Throws {@link HostError} with status 66 when the image cannot be loaded. */
export function loadMultiboot2(kernel: BootFile, modules: readonly BootFile[], facts: MemoryFacts): BootPlan {
  const at = findHeader2(kernel.bytes);
  const tags = readTags(kernel, at);
  const plan = new LayoutPlan(facts, kernel.name);
  let eip: number;
  let sections: SectionTable | null = null;
  if (tags.addresses !== null) {
    placeByAddresses(plan, kernel, at, tags.addresses);
    if (tags.entry === null)
      throw new HostError(`${kernel.name}: its multiboot2 header gives addresses, but no entry`, 66);
    eip = tags.entry;
  } else {
    if (!isElf(kernel.bytes))
      throw new HostError(
        `${kernel.name}: has a multiboot2 header, but is not an ELF file and gives no load addresses`,
        66,
      );
    const elf = parseElf(kernel.bytes, kernel.name);
    placeSegments(plan, kernel, elf);
    eip = tags.entry ?? physicalEntry(elf);
    sections = sectionTable(plan, kernel, elf);
  }
  const bytes = buildInfo(plan, kernel, modules, facts, sections);
  const info = plan.roomForTables(bytes.length);
  plan.place("the multiboot2 information", info, bytes);
  const entry = protectedEntry(plan, eip, ENTRY_MAGIC2, info);
  return { kind: "multiboot2", pieces: plan.pieces, entry };
}

/** All tags, each on 8 bytes, behind the two words of total size and zero (3.6.1). */
function buildInfo(
  plan: LayoutPlan,
  kernel: BootFile,
  modules: readonly BootFile[],
  facts: MemoryFacts,
  sections: SectionTable | null,
): Uint8Array {
  const out = new TableWriter().u32(0, 0);
  const tag = (type: number, body: (w: TableWriter) => void): void => {
    out.align(8);
    const start = out.length;
    out.u32(type, 0);
    body(out);
    out.patch32(start + 4, out.length - start);
  };
  tag(INFO.commandLine, w => w.string(commandLine(kernel)));
  tag(INFO.name, w => w.string(LOADER_NAME));
  for (const module of placeModules(plan, modules)) {
    tag(INFO.module, w => w.u32(module.start, module.end).string(module.text));
  }
  const memory = basicMemory(facts);
  tag(INFO.memory, w => w.u32(memory.lower, memory.upper));
  tag(INFO.map, w => {
    w.u32(24, 0);
    for (const entry of e820(facts)) w.u64(entry.base, entry.length).u32(entry.type, 0);
  });
  if (sections !== null) {
    tag(INFO.elf, w => w.u32(sections.count, sections.entrySize, sections.names).bytes(sections.bytes));
  }
  tag(INFO.end, () => {});
  out.patch32(0, out.length);
  return out.done();
}
