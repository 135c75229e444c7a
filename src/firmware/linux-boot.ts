/**
 * Loads Linux kernels by "The Linux/x86 Boot Protocol" (Documentation/arch/x86/boot.rst), its chapter "64-bit Boot Protocol": a bzImage of protocol 2.12
 * or later enters its own decompressor at 0x200, a vmlinux (also one that the host has unpacked from a bzImage) enters at its ELF entry. Both start in
 * 64-bit mode with the zero page in RSI. Not used: the real-mode and 32-bit entries, EFI, setup_data.
 */
import { HostError } from "../base/assert.ts";
import { alignDown, alignUp } from "../base/int.ts";
import { GIB, MIB, PAGE, type PhysAddr } from "../base/units.ts";
import type { BootFile, BootPlan, EntryState, LinuxFacts, MemoryFacts } from "./boot-plan.ts";
import { e820, e820Bytes, put64 } from "./e820.ts";
import { isElf, parseElf, physicalEntry } from "./elf.ts";
import { checkInitrd } from "./initrd.ts";
import { LayoutPlan } from "./layout-plan.ts";
import { HEADER, LOADED_HIGH, OLDEST, parseSetup, type SetupHeader, ZERO_PAGE } from "./linux-header.ts";
import { placeSegments } from "./multiboot-common.ts";
import { TableWriter } from "./table-writer.ts";

export { isBzImage } from "./linux-header.ts";

/** "64-bit Boot Protocol": selectors __BOOT_CS and __BOOT_DS. */
const BOOT_CS = 0x10;
const BOOT_DS = 0x18;
/** Null, unused, 64-bit code, data (Intel SDM vol. 3A, 3.4.5 "Segment Descriptors"). */
const BOOT_GDT = [0, 0, 0, 0, 0x0000ffff, 0x00af9b00, 0x0000ffff, 0x00cf9300];
/** Entry of the decompressor behind the start of the protected-mode part. */
const ENTRY_64 = 0x200;
/** Present, writable; and page size, for pages of 2 MiB. */
const TABLE = 0x3;
const LARGE_PAGE = 0x83;
const LARGE = 2 * MIB;
const MAPPED_GIB = 4;
/** "undefined" boot loader without an assigned id. */
const LOADER_TYPE = 0xff;
const BANNER = "Linux version ";

/** A 64-bit ELF file that contains Linux' banner. */
export function isLinuxElf(image: BootFile): boolean {
  if (!isElf(image.bytes) || image.bytes[4] !== 2) return false;
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
  const plan = new LayoutPlan(facts, image.name);
  const { unpacked } = image;
  if (unpacked !== undefined) {
    const rip = placeVmlinux(plan, { ...image, bytes: unpacked });
    return finish(plan, image, facts, linux, { setup, rip, end: setup.address + setup.initSize });
  }
  const bytes = image.bytes.subarray(setup.fileOffset);
  plan.place("the kernel", setup.address, bytes, Math.max(setup.initSize, bytes.length));
  return finish(plan, image, facts, linux, { setup, rip: setup.address + ENTRY_64, end: plan.top() });
}

/** The same for a kernel without a setup header. */
export function loadVmlinux(image: BootFile, facts: MemoryFacts, linux: LinuxFacts): BootPlan {
  const plan = new LayoutPlan(facts, image.name);
  const rip = placeVmlinux(plan, image);
  return finish(plan, image, facts, linux, { setup: null, rip, end: plan.top() });
}

function placeVmlinux(plan: LayoutPlan, image: BootFile): PhysAddr {
  const elf = parseElf(image.bytes, image.name);
  if (elf.bits !== 64)
    throw new HostError(`${image.name}: is a 32-bit Linux kernel; only 64-bit kernels are booted`, 66);
  placeSegments(plan, image, elf);
  return physicalEntry(elf);
}

type Kernel = {
  readonly setup: SetupHeader | null;
  readonly rip: PhysAddr;
  /** First byte that neither the kernel nor its decompressor uses. */
  readonly end: PhysAddr;
};

/** Everything beside the kernel: initrd, command line, page tables, GDT, zero page. */
function finish(plan: LayoutPlan, image: BootFile, facts: MemoryFacts, linux: LinuxFacts, kernel: Kernel): BootPlan {
  const { setup } = kernel;
  const limit = setup?.commandLineMax ?? 2047;
  const text = new TextEncoder().encode(image.args);
  if (text.length > limit) {
    throw new HostError(`${image.name}: takes a command line of ${limit} bytes, this one has ${text.length}`, 66);
  }
  const small = (what: string, bytes: Uint8Array, alignment = 16): PhysAddr => {
    const address = alignUp(plan.roomForTables(bytes.length + alignment - 16), alignment);
    plan.place(what, address, bytes);
    return address;
  };
  const initrd = placeInitrd(plan, image, facts, linux.initrd, kernel);
  // The zero page and the tables are whole pages; the smaller things go below them.
  const zeroPage = small("the zero page", new Uint8Array(PAGE), PAGE);
  const cr3 = placePageTables(plan);
  const commandLine = small("the command line", Uint8Array.of(...text, 0));
  const gdt = new TableWriter().u32(...BOOT_GDT).done();
  const gdtBase = small("the loader's GDT", gdt);
  const page = plan.pieces.find(piece => piece.address === zeroPage)!.bytes;
  fillZeroPage(page, setup, facts, { commandLine, initrd, rsdp: linux.rsdp });
  const entry: EntryState = {
    mode: "long",
    eip: kernel.rip,
    eax: 0,
    ebx: 0,
    edx: 0,
    esi: zeroPage,
    esp: gdtBase - 16,
    cr3,
    cs: BOOT_CS,
    ds: BOOT_DS,
    es: BOOT_DS,
    ss: BOOT_DS,
    gdtBase,
    gdtLimit: gdt.length - 1,
  };
  return { kind: "linux", pieces: plan.pieces, entry };
}

type PlacedInitrd = { readonly address: PhysAddr; readonly size: number };

/** As high as it may lie, so that the kernel has its surroundings free. */
function placeInitrd(
  plan: LayoutPlan,
  image: BootFile,
  facts: MemoryFacts,
  initrd: BootFile | null,
  kernel: Kernel,
): PlacedInitrd {
  if (initrd === null) return { address: 0, size: 0 };
  const size = initrd.bytes.length;
  if (size === 0) throw new HostError(`${initrd.name}: the initrd is empty`, 66);
  checkInitrd(initrd);
  const top = Math.min(facts.lowBytes, (kernel.setup?.initrdMax ?? 0x7fffffff) + 1);
  const address = alignDown(top - size, PAGE);
  const lowest = alignUp(kernel.end, PAGE);
  if (address < lowest) {
    const need = Math.ceil((lowest + size) / MIB);
    throw new HostError(
      `${image.name}: too large for memory: kernel and initrd need ${need}M, there are ${facts.lowBytes / MIB}M`,
      66,
    );
  }
  plan.place(`the initrd ${initrd.name}`, address, initrd.bytes);
  return { address, size };
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

type ZeroPageFacts = { readonly commandLine: PhysAddr; readonly initrd: PlacedInitrd; readonly rsdp: PhysAddr };

/** `struct boot_params` ("Zero Page", Documentation/arch/x86/zero-page.rst). */
function fillZeroPage(page: Uint8Array, setup: SetupHeader | null, facts: MemoryFacts, places: ZeroPageFacts): void {
  const view = new DataView(page.buffer, page.byteOffset, page.length);
  if (setup !== null) page.set(setup.bytes, HEADER.start);
  else {
    // A vmlinux has no header to copy: what the kernel itself reads of one.
    view.setUint16(HEADER.bootFlag, 0xaa55, true);
    page.set(new TextEncoder().encode("HdrS"), HEADER.magic);
    view.setUint16(HEADER.version, OLDEST, true);
    view.setUint8(HEADER.loadFlags, LOADED_HIGH);
  }
  view.setUint8(HEADER.loaderType, LOADER_TYPE);
  view.setUint32(HEADER.commandLine, places.commandLine, true);
  view.setUint32(HEADER.ramdisk, places.initrd.address, true);
  view.setUint32(HEADER.ramdiskSize, places.initrd.size, true);
  put64(view, ZERO_PAGE.rsdp, places.rsdp);
  // KiB above 1 MiB, for whoever does not read the map.
  view.setUint32(ZERO_PAGE.extendedMemory, Math.max(0, facts.lowBytes - MIB) / 1024, true);
  const map = e820(facts);
  view.setUint8(ZERO_PAGE.mapEntries, map.length);
  page.set(e820Bytes(map), ZERO_PAGE.map);
}
