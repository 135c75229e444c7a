/**
 * How a remapping unit reads and writes its tables: 64 bits at a time, as VT-d's structures are laid out and updated (9, "hardware … must read … atomically").
 */
import type { PhysAddr } from "../base/units.ts";

export interface TableMemory {
  /** Words of the last {@link read64}. */
  readonly low: number;
  readonly high: number;
  /** Reads the quadword at `address`, a multiple of 8, into {@link low} and {@link high}. False when no memory is there. */
  read64(address: PhysAddr): boolean;
  /** False when no memory is there. */
  write64(address: PhysAddr, low: number, high: number): boolean;
  /** @param address a multiple of 4 */
  write32(address: PhysAddr, value: number): boolean;
}

/** An address field of two words: bits 31:12 of the low one, the low 20 bits of the high one. */
export const pageAddress = (low: number, high: number): PhysAddr =>
  (high & 0xfffff) * 0x1_0000_0000 + ((low & ~0xfff) >>> 0);

/** Bits of the high word of an address field that a host with `bits` address bits has not. */
export const beyondHost = (bits: number): number => (bits >= 52 ? 0 : 0xfffff & ~(2 ** Math.max(bits - 32, 0) - 1));
