/**
 * What may stand between bus masters and memory: DMA remapping hardware (an IOMMU). The bus master asks it per 4 KiB page, so that a bulk move is a few
 * translations and then array copies. Interrupt messages do not come this way: a remapping unit is an {@link MsiTarget} in front of the decoder.
 */
import type { Bdf, CauseId, PhysAddr } from "../base/units.ts";

/** An answer of {@link DmaRemapper.translate}. */
export const REMAP_FAULT = -1;

export interface DmaRemapper {
  /** Translation is on for somebody; while false nobody asks. */
  readonly active: boolean;
  /**
   * Where the byte at `address` lies in memory, as `requester` sees it; {@link REMAP_FAULT} when the access is refused (the unit has recorded why).
   * Holds to the end of the 4 KiB page. May read tables in memory, fill caches, and raise fault events.
   */
  translate(requester: Bdf, address: PhysAddr, write: boolean, cause: CauseId): PhysAddr;
}
