/**
 * Multiboot, version 0.6.96 (GNU GRUB): header, information record, entry state. ELF64 images are taken too (QEMU's loader takes ELF32 only).
 * Not supported: video modes, drives, configuration table, APM.
 */
import { HostError } from "../base/assert.ts";
import type { BootFile, BootPlan, MemoryFacts } from "./boot-plan.ts";
import { e820 } from "./e820.ts";
import { isElf, parseElf, physicalEntry } from "./elf.ts";
import { LayoutPlan } from "./layout-plan.ts";
import {
  basicMemory,
  commandLine,
  LOADER_NAME,
  placeByAddresses,
  placeModules,
  placeSegments,
  protectedEntry,
  type SectionTable,
  sectionTable,
} from "./multiboot-common.ts";
import { TableWriter } from "./table-writer.ts";

/** 3.1.1: the header lies in the first 8192 bytes, 32-bit aligned. */
const SEARCH = 8192;
const HEADER_MAGIC = 0x1badb002;
/** 3.2: EAX at entry. */
export const ENTRY_MAGIC1 = 0x2badb002;
/** Flags of the header (3.1.2). Bits 0–15 are requirements; of these we meet 0 (modules on pages) and 1 (memory information). */
const WANT_KNOWN = 0x0003;
const WANT_VIDEO = 0x0004;
const HAS_ADDRESSES = 0x00010000;
/** Flags of the information record (3.3). */
const HAS = { memory: 1, commandLine: 4, modules: 8, elf: 0x20, map: 0x40, name: 0x200 } as const;
/** Length of the record up to the end of the frame buffer fields. */
const INFO_BYTES = 116;

/** Offset of the header in the file, −1 when there is none. */
export function findHeader1(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const last = Math.min(SEARCH, bytes.length) - 12;
  for (let at = 0; at <= last; at += 4) {
    if (view.getUint32(at, true) !== HEADER_MAGIC) continue;
    if ((HEADER_MAGIC + view.getUint32(at + 4, true) + view.getUint32(at + 8, true)) >>> 0 === 0) return at;
  }
  return -1;
}

/** Throws {@link HostError} with status 66 when the image cannot be loaded. */
export function loadMultiboot1(kernel: BootFile, modules: readonly BootFile[], facts: MemoryFacts): BootPlan {
  const at = findHeader1(kernel.bytes);
  const view = new DataView(kernel.bytes.buffer, kernel.bytes.byteOffset, kernel.bytes.byteLength);
  const flags = view.getUint32(at + 4, true);
  if ((flags & 0xffff & ~(WANT_KNOWN | WANT_VIDEO)) !== 0) {
    throw new HostError(
      `${kernel.name}: its multiboot header requires features (flags 0x${flags.toString(16)}) that are not built`,
      66,
    );
  }
  const plan = new LayoutPlan(facts, kernel.name);
  let eip: number;
  let sections: SectionTable | null = null;
  if ((flags & HAS_ADDRESSES) !== 0) {
    if (at + 32 > kernel.bytes.length) throw new HostError(`${kernel.name}: truncated inside its multiboot header`, 66);
    const word = (offset: number): number => view.getUint32(at + offset, true);
    placeByAddresses(plan, kernel, at, { header: word(12), load: word(16), loadEnd: word(20), bssEnd: word(24) });
    eip = word(28);
  } else {
    if (!isElf(kernel.bytes))
      throw new HostError(
        `${kernel.name}: has a multiboot header, but is not an ELF file and gives no load addresses`,
        66,
      );
    const elf = parseElf(kernel.bytes, kernel.name);
    placeSegments(plan, kernel, elf);
    eip = physicalEntry(elf);
    sections = sectionTable(plan, kernel, elf);
  }
  const info = placeInfo(plan, kernel, modules, facts, sections);
  const entry = protectedEntry(plan, eip, ENTRY_MAGIC1, info);
  return { kind: "multiboot1", pieces: plan.pieces, entry };
}

/** Builds the information record and everything that it points to as one piece; returns its address. */
function placeInfo(
  plan: LayoutPlan,
  kernel: BootFile,
  modules: readonly BootFile[],
  facts: MemoryFacts,
  sections: SectionTable | null,
): number {
  const placed = placeModules(plan, modules);
  const build = (base: number): Uint8Array => {
    const out = new TableWriter();
    out.bytes(new Uint8Array(INFO_BYTES)).align(16);
    const here = (): number => base + out.length;
    const memory = basicMemory(facts);
    out.patch32(4, memory.lower);
    out.patch32(8, memory.upper);
    out.patch32(16, here());
    out.string(commandLine(kernel));
    const texts = placed.map(module => {
      const address = here();
      out.string(module.text);
      return address;
    });
    out.patch32(64, here());
    out.string(LOADER_NAME).align(4);
    out.patch32(20, placed.length);
    out.patch32(24, here());
    placed.forEach((module, i) => {
      out.u32(module.start, module.end, texts[i]!, 0);
    });
    const map = e820(facts);
    out.patch32(44, map.length * 24);
    out.patch32(48, here());
    for (const entry of map) out.u32(20).u64(entry.base, entry.length).u32(entry.type);
    let has = HAS.memory | HAS.commandLine | HAS.modules | HAS.map | HAS.name;
    if (sections !== null) {
      has |= HAS.elf;
      out.patch32(28, sections.count);
      out.patch32(32, sections.entrySize);
      out.align(8).patch32(36, here());
      out.bytes(sections.bytes);
      out.patch32(40, sections.names);
    }
    out.patch32(0, has);
    return out.done();
  };
  // The length does not depend on the address.
  const address = plan.roomForTables(build(0).length);
  plan.place("the multiboot information", address, build(address));
  return address;
}
