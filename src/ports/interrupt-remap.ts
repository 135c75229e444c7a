/**
 * Interrupt remapping as an I/O APIC sees it. Devices' messages (MSI) reach the remapping unit as an {@link MsiTarget}; an I/O APIC hands over its whole
 * redirection entry, since the remappable format lies in bits that a message address has not (VT-d specification, 5.1.5.1 "I/OxAPIC Programming").
 */
import type { Bdf, CauseId } from "../base/units.ts";

/** An answer of {@link InterruptRemapping.fromIoApic}: the entry means what it says. */
export const NOT_REMAPPED = -1;

export interface InterruptRemapping {
  /** On; while false nobody asks. */
  readonly active: boolean;
  /**
   * An entry fires. Returns the number of local APICs that accepted what became of it (0 when it was blocked), or {@link NOT_REMAPPED}.
   * @param low @param high words of the redirection table entry
   */
  fromIoApic(low: number, high: number, requester: Bdf, cause: CauseId): number;
}
