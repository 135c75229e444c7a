/**
 * Flat real-mode images: what a BIOS would have read from a boot disk. The whole image lies at 0x7C00 (a BIOS loads only the first sector; INT 13h has
 * no disk here to load the rest from) and starts in real mode at 0000:7C00 with DL = 0x80, beside the vectors and services of bios-rom.ts.
 */
import { HostError } from "../base/assert.ts";
import type { BootFile, BootPlan, MemoryFacts } from "./boot-plan.ts";
import { biosPieces } from "./bios-rom.ts";
import { EBDA } from "./e820.ts";
import { LayoutPlan } from "./layout-plan.ts";

const LOAD = 0x7c00;
const SECTOR = 512;
/** A whole number of sectors, the first of which ends in 0x55 0xAA. */
export function isBootSector(bytes: Uint8Array): boolean {
  return bytes.length >= SECTOR && bytes.length % SECTOR === 0 && bytes[510] === 0x55 && bytes[511] === 0xaa;
}

export function loadFlat(image: BootFile, facts: MemoryFacts): BootPlan {
  if (LOAD + image.bytes.length > EBDA) {
    throw new HostError(
      `${image.name}: too large for memory: a boot image ends below 0x9fc00, this is ${image.bytes.length} bytes`,
      66,
    );
  }
  const plan = new LayoutPlan(facts, image.name);
  plan.place("boot sectors", LOAD, image.bytes);
  const entry = {
    mode: "real",
    eip: LOAD,
    eax: 0,
    ebx: 0,
    edx: 0x80,
    esp: LOAD,
    cs: 0,
    ds: 0,
    es: 0,
    ss: 0,
    gdtBase: 0,
    gdtLimit: 0,
  } as const;
  return { kind: "flat", bios: true, pieces: [...biosPieces(), ...plan.pieces], entry };
}
