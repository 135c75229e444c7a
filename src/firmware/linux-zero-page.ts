/** `struct boot_params`, with which a Linux kernel starts in protected or 64-bit mode ("Zero Page", Documentation/arch/x86/zero-page.rst). */
import { KIB, MIB, PAGE, type PhysAddr } from "../base/units.ts";
import type { MemoryFacts } from "./boot-plan.ts";
import { e820, e820Bytes, put64 } from "./e820.ts";
import { HEADER, LOADED_HIGH, type SetupHeader, VMLINUX_VERSION, ZERO_PAGE } from "./linux-header.ts";
import type { PlacedInitrd } from "./linux-places.ts";

/** "undefined" boot loader without an assigned id. */
export const LOADER_TYPE = 0xff;

export type ZeroPageFacts = {
  readonly commandLine: PhysAddr;
  readonly initrd: PlacedInitrd;
  readonly rsdp: PhysAddr;
};

/** @param setup null for a vmlinux */
export function zeroPage(setup: SetupHeader | null, facts: MemoryFacts, places: ZeroPageFacts): Uint8Array {
  const page = new Uint8Array(PAGE);
  const view = new DataView(page.buffer);
  if (setup !== null) page.set(setup.bytes, HEADER.start);
  else {
    // What the kernel itself reads of a header.
    view.setUint16(HEADER.bootFlag, 0xaa55, true);
    page.set(new TextEncoder().encode("HdrS"), HEADER.magic);
    view.setUint16(HEADER.version, VMLINUX_VERSION, true);
    view.setUint8(HEADER.loadFlags, LOADED_HIGH);
  }
  view.setUint8(HEADER.loaderType, LOADER_TYPE);
  view.setUint32(HEADER.commandLine, places.commandLine, true);
  view.setUint32(HEADER.ramdisk, places.initrd.address, true);
  view.setUint32(HEADER.ramdiskSize, places.initrd.size, true);
  put64(view, ZERO_PAGE.rsdp, places.rsdp);
  // KiB above 1 MiB, for whoever does not read the map.
  view.setUint32(ZERO_PAGE.extendedMemory, Math.max(0, facts.lowBytes - MIB) / KIB, true);
  const map = e820(facts);
  view.setUint8(ZERO_PAGE.mapEntries, map.length);
  page.set(e820Bytes(map), ZERO_PAGE.map);
  return page;
}
