/**
 * What may stand between bus masters and memory: DMA remapping hardware (an IOMMU). The bus master asks it where a run of bytes lies; the answer holds for
 * as many bytes as lie in one piece, so that a bulk move is a few translations and a few array copies. Interrupt messages do not come this way: a
 * remapping unit is an {@link MsiTarget} in front of the decoder.
 */
import type { Bdf, CauseId, PhysAddr } from "../base/units.ts";

/** An answer of {@link DmaRemapper.translate}. */
export const REMAP_FAULT = -1;

/**
 * What a request is, as bits of one number; an AtomicOp is `read | write`, and a zero-length read is neither. A request with a process address space id
 * has `pasid` set and the id, of 20 bits, above ({@link withPasid}).
 */
export const ACCESS = { read: 1, write: 2, execute: 4, privileged: 8, pasid: 16 } as const;
const PASID_SHIFT = 5;

/** The bits to add to an access by a request with PASID. @param pasid 20 bits */
export const withPasid = (pasid: number): number => ACCESS.pasid | (pasid << PASID_SHIFT);
/** The PASID in an access that has one. */
export const pasidOf = (access: number): number => access >>> PASID_SHIFT;

export interface DmaRemapper {
  /** Somebody's requests are translated or refused; while false nobody asks. */
  readonly active: boolean;
  /** How many bytes from the address on the last {@link translate} holds for: at least 1, at most `length` (1 for a zero-length read). */
  readonly span: number;
  /**
   * Where the byte at `address` lies in memory, as `requester` sees it; {@link REMAP_FAULT} when the access is refused (the unit has recorded why).
   * May read tables in memory, fill caches, and raise fault events.
   * @param access bits of {@link ACCESS} @param length bytes that the requester would like to move
   */
  translate(requester: Bdf, address: PhysAddr, access: number, length: number, cause: CauseId): PhysAddr;
}
