/**
 * What a bus master holds, and its only way to memory. Tagged with its requester id; a bridge may cut it (bus-master enable), an IOMMU may translate it.
 */
import type { Bdf, PhysAddr } from "../base/units.ts";

/** How a transaction ended. */
export const BUS_STATUS = { ok: 0, masterAbort: 1, targetAbort: 2, iommuFault: 3, disabled: 4 } as const;
/** By number. */
export const BUS_STATUS_NAMES = ["ok", "master abort", "target abort", "IOMMU fault", "bus mastering off"] as const;
export type BusStatus = (typeof BUS_STATUS)[keyof typeof BUS_STATUS];

export interface Initiator {
  readonly requester: Bdf;
  /** Copies `length` bytes at `address` into `into` from `offset`. On failure the bytes are all-ones. */
  read(address: PhysAddr, into: Uint8Array, offset: number, length: number): BusStatus;
  /** Writes `length` bytes of `from`. A write to 0xFEExxxxx is an interrupt message. */
  write(address: PhysAddr, from: Uint8Array, offset: number, length: number): BusStatus;
}
