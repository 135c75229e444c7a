/**
 * Loads Linux kernels by "The Linux/x86 Boot Protocol" (Documentation/arch/x86/boot.rst), chapters "64-bit Boot Protocol" and "32-bit Boot Protocol": a
 * bzImage enters its own decompressor, a vmlinux (also one that the host has unpacked from a bzImage) its ELF entry, both with the zero page in RSI.
 * Real mode is linux-real.ts, Xen's way is pvh.ts. Not used: EFI, setup_data, relocation.
 */
import { HostError } from "../base/assert.ts";
import { alignUp } from "../base/int.ts";
import { GIB, MIB, PAGE, type PhysAddr } from "../base/units.ts";
import type { EntryState } from "../ports/entry-state.ts";
import type { BootFile, BootPlan, LinuxEntry, LinuxFacts, MemoryFacts } from "./boot-plan.ts";
import { put64 } from "./e820.ts";
import { isElf, parseElf, physicalEntry } from "./elf.ts";
import { LayoutPlan } from "./layout-plan.ts";
import { parseSetup, type SetupHeader } from "./linux-header.ts";
import { commandLineBytes, LIMITS, placeInitrd, placeSmall, requireMemory } from "./linux-places.ts";
import { loadRealMode } from "./linux-real.ts";
import { zeroPage } from "./linux-zero-page.ts";
import { placeSegments } from "./multiboot-common.ts";
import { loadPvh } from "./pvh.ts";
import { TableWriter } from "./table-writer.ts";

export { isBzImage } from "./linux-header.ts";

/** Both chapters: selectors __BOOT_CS and __BOOT_DS. */
const BOOT_CS = 0x10;
const BOOT_DS = 0x18;
/** Null, unused, code, data (Intel SDM vol. 3A, 3.4.5 "Segment Descriptors"). */
const BOOT_GDT = {
  linux64: [0, 0, 0, 0, 0x0000ffff, 0x00af9b00, 0x0000ffff, 0x00cf9300],
  linux32: [0, 0, 0, 0, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300],
} as const;
/** Entries of the decompressor behind the start of the protected-mode part. */
const ENTRY = { linux64: 0x200, linux32: 0 } as const;
/** Present, writable; and page size, for pages of 2 MiB. */
const TABLE = 0x3;
const LARGE_PAGE = 0x83;
const LARGE = 2 * MIB;
const MAPPED_GIB = 4;
const BANNER = "Linux version ";

/** An ELF file that contains Linux' banner. */
export function isLinuxElf(image: BootFile): boolean {
  if (!isElf(image.bytes)) return false;
  const wanted = new TextEncoder().encode(BANNER);
  const { bytes } = image;
  for (let at = bytes.indexOf(wanted[0]!); at >= 0; at = bytes.indexOf(wanted[0]!, at + 1)) {
    if (wanted.every((byte, i) => bytes[at + i] === byte)) return true;
  }
  return false;
}

/** Throws {@link HostError} with status 66 when the image cannot be loaded. */
export function loadBzImage(image: BootFile, facts: MemoryFacts, linux: LinuxFacts): BootPlan {
  const setup = parseSetup(image);
  const entry = linux.entry ?? setup.entries[0]!;
  const { unpacked } = image;
  if (entry === "pvh") {
    if (unpacked === undefined) throw new HostError(`${image.name}: is packed: its PVH entry cannot be reached`, 66);
    return loadPvh({ ...image, bytes: unpacked }, facts, linux);
  }
  if (!setup.entries.includes(entry)) throw noEntry(image, entry, setup.entries);
  if (entry === "linux16") return loadRealMode(image, setup, facts, linux);
  const plan = new LayoutPlan(facts, image.name);
  const end = setup.address + setup.initSize;
  requireMemory(image, facts, "the kernel needs", end);
  // A 64-bit kernel's 32-bit entry is that of its decompressor.
  if (unpacked !== undefined && entry === bitsOf(unpacked)) {
    const start = placeVmlinux(plan, { ...image, bytes: unpacked });
    return finish(plan, image, facts, linux, { setup, entry, start, end });
  }
  const bytes = image.bytes.subarray(setup.fileOffset);
  plan.place("the kernel", setup.address, bytes, Math.max(setup.initSize, bytes.length));
  return finish(plan, image, facts, linux, { setup, entry, start: setup.address + ENTRY[entry], end: plan.top() });
}

/** The same for a kernel without a setup header. */
export function loadVmlinux(image: BootFile, facts: MemoryFacts, linux: LinuxFacts): BootPlan {
  const own = bitsOf(image.bytes);
  const entry = linux.entry ?? own;
  if (entry === "pvh") return loadPvh(image, facts, linux);
  if (entry !== own) throw noEntry(image, entry, [own]);
  const plan = new LayoutPlan(facts, image.name);
  const start = placeVmlinux(plan, image);
  return finish(plan, image, facts, linux, { setup: null, entry: own, start, end: plan.top() });
}

const bitsOf = (elf: Uint8Array): "linux64" | "linux32" => (elf[4] === 1 ? "linux32" : "linux64");

const noEntry = (image: BootFile, wanted: LinuxEntry, entries: readonly LinuxEntry[]): HostError =>
  new HostError(`${image.name}: has no entry of the kind ${wanted}, it has ${entries.join(" and ")}`, 66);

function placeVmlinux(plan: LayoutPlan, image: BootFile): PhysAddr {
  const elf = parseElf(image.bytes, image.name);
  placeSegments(plan, image, elf);
  return physicalEntry(elf);
}

type Kernel = {
  readonly setup: SetupHeader | null;
  readonly entry: "linux64" | "linux32";
  /** Address of the first instruction. */
  readonly start: PhysAddr;
  /** First byte that neither the kernel nor its decompressor uses. */
  readonly end: PhysAddr;
};

/** Everything beside the kernel: initrd, command line, page tables, GDT, zero page. */
function finish(plan: LayoutPlan, image: BootFile, facts: MemoryFacts, linux: LinuxFacts, kernel: Kernel): BootPlan {
  const { setup, entry } = kernel;
  const limits = setup ?? LIMITS;
  const text = commandLineBytes(image, limits);
  const initrd = placeInitrd(plan, image, facts, linux.initrd, kernel.end, limits);
  // The zero page and the tables are whole pages; the smaller things go below them.
  const page = new Uint8Array(PAGE);
  const esi = placeSmall(plan, "the zero page", page, PAGE);
  const paging = entry === "linux64" ? { cr3: placePageTables(plan) } : {};
  const commandLine = placeSmall(plan, "the command line", text);
  const gdt = new TableWriter().u32(...BOOT_GDT[entry]).done();
  const gdtBase = placeSmall(plan, "the loader's GDT", gdt);
  page.set(zeroPage(setup, facts, { commandLine, initrd, rsdp: linux.rsdp }));
  const state: EntryState = {
    mode: entry === "linux64" ? "long" : "protected",
    eip: kernel.start,
    eax: 0,
    ebx: 0,
    edx: 0,
    esi,
    esp: gdtBase - 16,
    ...paging,
    cs: BOOT_CS,
    ds: BOOT_DS,
    es: BOOT_DS,
    ss: BOOT_DS,
    gdtBase,
    gdtLimit: gdt.length - 1,
  };
  return { kind: "linux", pieces: plan.pieces, entry: state };
}

/** Identity tables for the first 4 GiB: one PML4, one PDPT, four page directories with pages of 2 MiB. Returns the PML4's address. */
function placePageTables(plan: LayoutPlan): PhysAddr {
  const size = (2 + MAPPED_GIB) * PAGE;
  const base = alignUp(plan.roomForTables(size + PAGE - 16), PAGE);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  put64(view, 0, base + PAGE + TABLE);
  for (let gib = 0; gib < MAPPED_GIB; gib++) {
    put64(view, PAGE + gib * 8, base + (2 + gib) * PAGE + TABLE);
    for (let i = 0; i < 512; i++) put64(view, (2 + gib) * PAGE + i * 8, gib * GIB + i * LARGE + LARGE_PAGE);
  }
  plan.place("the loader's page tables", base, bytes);
  return base;
}
