/**
 * What the loaders of both multiboot versions share: the machine state at entry (Multiboot 0.6.96, 3.2 "Machine state"; Multiboot2 2.0, 3.3 "I386
 * machine state"), ELF segments, modules and section headers.
 */
import { HostError } from "../base/assert.ts";
import { MIB, type PhysAddr } from "../base/units.ts";
import type { EntryState } from "../ports/entry-state.ts";
import type { BootFile, MemoryFacts } from "./boot-plan.ts";
import { type ElfFile, SHF_ALLOC, SHT } from "./elf.ts";
import type { LayoutPlan } from "./layout-plan.ts";
import { TableWriter } from "./table-writer.ts";

export const LOADER_NAME = "iretq";
const CODE32 = 0x08;
const DATA32 = 0x10;
/** Null, 32-bit code and 32-bit data, both 0 … 4 GiB, present, accessed (Intel SDM vol. 3A, 3.4.5 "Segment Descriptors"). */
const FLAT_GDT = [0, 0, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300];

/** Protected mode, flat segments, paging off, IF = 0. The stack pointer is the kernel's business; ours points to free memory all the same. */
export function protectedEntry(plan: LayoutPlan, eip: PhysAddr, magic: number, info: PhysAddr): EntryState {
  const gdt = new TableWriter().u32(...FLAT_GDT).done();
  const gdtBase = plan.roomForTables(gdt.length);
  plan.place("the loader's GDT", gdtBase, gdt);
  return {
    mode: "protected",
    eip,
    eax: magic,
    ebx: info,
    edx: 0,
    esp: gdtBase - 16,
    cs: CODE32,
    ds: DATA32,
    es: DATA32,
    ss: DATA32,
    gdtBase,
    gdtLimit: gdt.length - 1,
  };
}

/** Places the segments of an ELF file at their physical addresses. */
export function placeSegments(plan: LayoutPlan, file: BootFile, elf: ElfFile): void {
  if (elf.segments.length === 0) throw new HostError(`${file.name}: has nothing to load (no PT_LOAD segment)`, 66);
  elf.segments.forEach((segment, i) => {
    const bytes = file.bytes.subarray(segment.fileOffset, segment.fileOffset + segment.fileSize);
    plan.place(`segment ${i}`, segment.physical, bytes, segment.memorySize);
  });
}

/** The addresses that a header without ELF gives (`a.out kludge` of version 1, address tag of version 2). */
export type LoadAddresses = {
  readonly header: number;
  readonly load: number;
  readonly loadEnd: number;
  readonly bssEnd: number;
};

/** Places a raw image by the addresses in its header, which was found at `headerOffset` of the file. */
export function placeByAddresses(plan: LayoutPlan, file: BootFile, headerOffset: number, at: LoadAddresses): void {
  const start = headerOffset - (at.header - at.load);
  const length = at.loadEnd === 0 ? file.bytes.length - start : at.loadEnd - at.load;
  if (at.load > at.header || start < 0 || length <= 0) {
    throw new HostError(`${file.name}: the load addresses in its multiboot header contradict each other`, 66);
  }
  if (start + length > file.bytes.length) {
    throw new HostError(`${file.name}: truncated: its multiboot header wants ${start + length} bytes of it`, 66);
  }
  const size = at.bssEnd === 0 ? length : at.bssEnd - at.load;
  if (size < length) throw new HostError(`${file.name}: its multiboot header ends the bss before the data`, 66);
  plan.place("image", at.load, file.bytes.subarray(start, start + length), size);
}

export type PlacedModule = { readonly start: PhysAddr; readonly end: PhysAddr; readonly text: string };

/** Places modules on page boundaries behind the kernel. */
export function placeModules(plan: LayoutPlan, modules: readonly BootFile[]): PlacedModule[] {
  return modules.map(module => {
    const start = plan.top();
    plan.place(`module ${module.name}`, start, module.bytes);
    return { start, end: start + module.bytes.length, text: commandLine(module) };
  });
}

/** File name and arguments, as boot loaders pass them. */
export const commandLine = (file: BootFile): string => (file.args === "" ? file.name : `${file.name} ${file.args}`);

export type SectionTable = {
  readonly bytes: Uint8Array;
  readonly count: number;
  readonly entrySize: number;
  readonly names: number;
};

/** Section headers with the addresses of what was loaded; symbol and string tables are placed behind the kernel. Null when the file has none. */
export function sectionTable(plan: LayoutPlan, file: BootFile, elf: ElfFile): SectionTable | null {
  if (elf.sections.length === 0) return null;
  const out = new TableWriter();
  for (const section of elf.sections) {
    let address = section.address;
    const wanted = section.type === SHT.symtab || section.type === SHT.strtab;
    const inFile = section.fileOffset + section.size <= file.bytes.length;
    if (wanted && inFile && section.size > 0 && Math.floor(section.flags / SHF_ALLOC) % 2 === 0) {
      address = plan.top();
      plan.place("symbols", address, file.bytes.subarray(section.fileOffset, section.fileOffset + section.size));
    }
    out.u32(section.nameOffset, section.type);
    const { flags, fileOffset, size, link, info, alignment, entrySize } = section;
    if (elf.bits === 64) out.u64(flags, address, fileOffset, size).u32(link, info).u64(alignment, entrySize);
    else out.u32(flags, address, fileOffset, size, link, info, alignment, entrySize);
  }
  return { bytes: out.done(), count: elf.sections.length, entrySize: elf.bits === 64 ? 64 : 40, names: elf.namesIndex };
}

/** KiB of conventional memory, and KiB from 1 MiB to the first hole. */
export function basicMemory(facts: MemoryFacts): { lower: number; upper: number } {
  return { lower: 639, upper: Math.max(0, (facts.lowBytes - MIB) / 1024) };
}
