/**
 * The memory types that a PC's firmware leaves behind on every processor: everything write-back but the holes for devices. Intel SDM vol. 3A, 11.11
 * "Memory Type Range Registers (MTRRs)". Kernels believe that a PC without them is broken, and then do not use the PAT.
 */
import { LOW_RAM_LIMIT } from "./memory-map.ts";

/** MSR index, low word, high word. */
export type MsrValue = readonly [number, number, number];

const PHYSBASE0 = 0x200;
const PHYSMASK0 = 0x201;
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

/** @param physicalBits width of the processor's physical addresses */
export function firmwareMtrrs(physicalBits: number): MsrValue[] {
  const highMask = 2 ** (physicalBits - 32) - 1;
  return [
    // The last part of the lower 4 GiB: devices.
    [PHYSBASE0, LOW_RAM_LIMIT + UNCACHED, 0],
    [PHYSMASK0, LOW_RAM_LIMIT + VALID, highMask],
    [FIX64K_00000, WRITE_BACK, WRITE_BACK],
    [FIX16K_80000, WRITE_BACK, WRITE_BACK],
    [FIX16K_A0000, UNCACHED, UNCACHED],
    ...Array.from({ length: FIX4K_COUNT }, (_, i): MsrValue => [FIX4K_C0000 + i, WRITE_BACK, WRITE_BACK]),
    [DEF_TYPE, ENABLED, 0],
  ];
}
