/**
 * Starts a bzImage at its real-mode entry, as boot loaders on a BIOS do it ("The Linux/x86 Boot Protocol", chapters "Memory Layout", "Sample Boot
 * Configuration" and "Running the Kernel"): for what is older than protocol 2.10 or borrows only the header, as iPXE does. The setup code asks the BIOS
 * (bios-rom.ts) for memory and everything else. Not used: protocols before 2.02, hooks.
 */
import type { BootFile, BootPlan, LinuxFacts, MemoryFacts } from "./boot-plan.ts";
import { biosPieces } from "./bios-rom.ts";
import { LayoutPlan } from "./layout-plan.ts";
import { CAN_USE_HEAP, HEADER, type SetupHeader } from "./linux-header.ts";
import { commandLineBytes, placeInitrd, requireMemory } from "./linux-places.ts";
import { LOADER_TYPE } from "./linux-zero-page.ts";

/** Boot sector and setup code lie here, in a segment of their own with heap and stack; the command line ends it. */
const BASE = 0x10000;
const HEAP_END = 0xe000;
/** "0x200 less than the offset of the end". */
const HEAP_END_BIAS = 0x200;
/** "normal" video mode. */
const NORMAL_VIDEO = 0xffff;

/** Throws {@link HostError} with status 66 when the image cannot be loaded. */
export function loadRealMode(image: BootFile, setup: SetupHeader, facts: MemoryFacts, linux: LinuxFacts): BootPlan {
  const plan = new LayoutPlan(facts, image.name);
  const text = commandLineBytes(image, setup);
  const kernel = image.bytes.subarray(setup.fileOffset);
  const end = setup.address + Math.max(setup.initSize, kernel.length);
  requireMemory(image, facts, "the kernel needs", end);
  const code = image.bytes.slice(0, setup.fileOffset);
  const view = new DataView(code.buffer);
  plan.place("the real-mode code", BASE, code, HEAP_END);
  plan.place("the command line", BASE + HEAP_END, text);
  plan.place("the kernel", setup.address, kernel, end - setup.address);
  const initrd = placeInitrd(plan, image, facts, linux.initrd, end, setup);
  view.setUint16(HEADER.videoMode, NORMAL_VIDEO, true);
  view.setUint8(HEADER.loaderType, LOADER_TYPE);
  view.setUint8(HEADER.loadFlags, view.getUint8(HEADER.loadFlags) | CAN_USE_HEAP);
  view.setUint32(HEADER.ramdisk, initrd.address, true);
  view.setUint32(HEADER.ramdiskSize, initrd.size, true);
  view.setUint16(HEADER.heapEnd, HEAP_END - HEAP_END_BIAS, true);
  view.setUint32(HEADER.commandLine, BASE + HEAP_END, true);
  const segment = BASE >> 4;
  const entry = {
    mode: "real",
    // "jmp far base_ptr + 0x20:0": behind the boot sector.
    cs: segment + 0x20,
    eip: 0,
    ds: segment,
    es: segment,
    ss: segment,
    esp: HEAP_END,
    eax: 0,
    ebx: 0,
    edx: 0,
    gdtBase: 0,
    gdtLimit: 0,
  } as const;
  return { kind: "linux", bios: true, pieces: [...biosPieces(), ...plan.pieces], entry };
}
