/**
 * The capability registers, as they follow from what is built. VT-d specification 11.4.2 (CAP) and 11.4.3 (ECAP).
 */
import { CAP, DOMAIN_BITS, ECAP, FAULT_RECORDS, MAX_ADDRESS_MASK, VTD } from "./vtd.regs.ts";

/** What a unit can do. */
export type VtdFeatures = {
  /** Bits of an address on this host. */
  readonly hostBits: number;
  /** Most levels of second-level tables: 3, 4 or 5. Fewer, down to 3, work too. */
  readonly levels: number;
  /** Scalable mode: PASIDs, first-level and nested translation. */
  readonly scalable: boolean;
  /** Remapping of interrupts, with 32-bit destinations and posting. */
  readonly interrupts: boolean;
  /** Tables are read through the processors' caches. */
  readonly coherent?: boolean;
};

const SUPERPAGES_2M_1G = 3;
const PASID_BITS = 20;
const MAX_HANDLE_MASK = 15;

/** CAP and ECAP, two words each. */
export function capabilities({ levels, scalable, interrupts, coherent = true }: VtdFeatures): Uint32Array {
  const widths = (levels >= 3 ? 2 : 0) | (levels >= 4 ? 4 : 0) | (levels >= 5 ? 8 : 0);
  const faultOffset = VTD.FRCD / 16;
  let [capLow, capHigh, low, high] = [0, 0, 0, 0];
  capLow = CAP.domains.put(capLow, (DOMAIN_BITS - 4) / 2);
  capLow |= CAP.protectedLow.mask | CAP.protectedHigh.mask | CAP.zeroLengthRead.mask;
  capLow = CAP.agaw.put(capLow >>> 0, widths);
  capLow = CAP.maxGuestAddress.put(capLow, Math.min(12 + 9 * levels, 52) - 1);
  capLow = CAP.faultOffsetLow.put(capLow, faultOffset & 0xff);
  capHigh = CAP.faultOffsetHigh.put(capHigh, faultOffset >> 8);
  capHigh = CAP.superpages.put(capHigh, SUPERPAGES_2M_1G);
  capHigh = CAP.faultRecords.put(capHigh, FAULT_RECORDS - 1);
  capHigh = CAP.maxAddressMask.put(capHigh, MAX_ADDRESS_MASK);
  capHigh |= CAP.pageSelective.mask | CAP.writeDraining.mask | CAP.readDraining.mask;
  if (scalable) capHigh |= CAP.firstLevel1G.mask;
  if (scalable && levels === 5) capHigh |= CAP.firstLevel5.mask;
  if (interrupts) capHigh |= CAP.postedInterrupts.mask;
  if (coherent) low |= ECAP.coherent.mask;
  low |= ECAP.queuedInvalidation.mask | ECAP.passThrough.mask | ECAP.snoopControl.mask;
  if (interrupts) low |= ECAP.interruptRemapping.mask | ECAP.extendedInterruptMode.mask;
  low = ECAP.iotlbOffset.put(low >>> 0, VTD.IVA / 16);
  if (interrupts) low = ECAP.maxHandleMask.put(low, MAX_HANDLE_MASK);
  if (scalable) {
    low |= ECAP.nesting.mask | ECAP.executeRequests.mask | ECAP.supervisorRequests.mask;
    high = ECAP.pasidSizeHigh.put(high, PASID_BITS - 1);
    high |= ECAP.pasid.mask | ECAP.scalable.mask | ECAP.secondLevel.mask | ECAP.firstLevel.mask;
    if (coherent) high |= ECAP.scalableCoherent.mask;
    high |= ECAP.ridPasid.mask | ECAP.ridPrivileged.mask;
  }
  high |= ECAP.abortMode.mask;
  return Uint32Array.of(capLow, capHigh, low, high);
}
