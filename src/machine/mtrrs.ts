/**
 * The memory types that a PC's firmware leaves behind on every processor: everything write-back but the holes for devices. Intel SDM vol. 3A, 11.11
 * "Memory Type Range Registers (MTRRs)". Kernels believe that a PC without them is broken, and then do not use the PAT.
 */
import { GIB } from "../base/units.ts";
import { ECAM } from "./pci-map.ts";

/** MSR index, low word, high word. */
export type MsrValue = readonly [number, number, number];

/** Base and mask of variable range n are at 2n and 2n + 1 from here. */
const PHYSBASE0 = 0x200;
const FIX64K_00000 = 0x250;
const FIX16K_80000 = 0x258;
const FIX16K_A0000 = 0x259;
/** Eight registers of 4-KiB ranges, from 0xC0000 on. */
const FIX4K_C0000 = 0x268;
const FIX4K_COUNT = 8;
const DEF_TYPE = 0x2ff;
const UNCACHED = 0;
const WRITE_BACK = 0x06060606;
const VALID = 0x800;
/** E and FE, default type write-back. */
const ENABLED = 0xc06;

/** What lies between RAM below 4 GiB and the end of these: PCI's configuration space, then PCI and the chip set. Powers of two. */
const HOLES = [
  { base: 3 * GIB, size: GIB },
  { base: ECAM.base, size: ECAM.size },
];

/** @param physicalBits width of the processor's physical addresses */
export function firmwareMtrrs(physicalBits: number): MsrValue[] {
  const highMask = 2 ** (physicalBits - 32) - 1;
  return [
    ...HOLES.flatMap(({ base, size }, n): MsrValue[] => [
      [PHYSBASE0 + 2 * n, base + UNCACHED, 0],
      [PHYSBASE0 + 2 * n + 1, 2 ** 32 - size + VALID, highMask],
    ]),
    [FIX64K_00000, WRITE_BACK, WRITE_BACK],
    [FIX16K_80000, WRITE_BACK, WRITE_BACK],
    [FIX16K_A0000, UNCACHED, UNCACHED],
    ...Array.from({ length: FIX4K_COUNT }, (_, i): MsrValue => [FIX4K_C0000 + i, WRITE_BACK, WRITE_BACK]),
    [DEF_TYPE, ENABLED, 0],
  ];
}
