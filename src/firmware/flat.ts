/**
 * Flat real-mode images: what a BIOS would have read from a boot disk. The whole image lies at 0x7C00 (a BIOS loads only the first sector; there is no
 * INT 13h here to load the rest with) and starts in real mode at 0000:7C00 with DL = 0x80. The interrupt vectors point to an IRET.
 */
import { HostError } from "../base/assert.ts";
import type { BootFile, BootPlan, LoadPiece, MemoryFacts } from "./boot-plan.ts";
import { EBDA } from "./e820.ts";
import { LayoutPlan } from "./layout-plan.ts";
import { TableWriter } from "./table-writer.ts";

const LOAD = 0x7c00;
const SECTOR = 512;
/** Where IBM's BIOS has its dummy interrupt handler: F000:FF53. */
const DUMMY_SEGMENT = 0xf000;
const DUMMY_OFFSET = 0xff53;
const IRET = 0xcf;
/** BIOS data area: KiB of conventional memory at 0040:0013. */
const BDA_MEMORY = 0x413;

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
  const vectors = new TableWriter();
  for (let i = 0; i < 256; i++) vectors.u16(DUMMY_OFFSET, DUMMY_SEGMENT);
  const firmware: LoadPiece[] = [
    { what: "interrupt vectors", address: 0, bytes: vectors.done(), size: 1024 },
    { what: "BIOS data", address: BDA_MEMORY, bytes: new TableWriter().u16(639).done(), size: 2 },
    { what: "dummy handler", address: DUMMY_SEGMENT * 16 + DUMMY_OFFSET, bytes: Uint8Array.of(IRET), size: 1 },
  ];
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
  return { kind: "flat", pieces: [...firmware, ...plan.pieces], entry };
}
