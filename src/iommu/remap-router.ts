/**
 * Several remapping units on one board: whose requests go to which. VT-d specification 8.3.1: a unit has the functions that its device scopes name, the
 * last one everything else. Holds no state.
 */
import type { Bdf, CauseId, PhysAddr } from "../base/units.ts";
import type { DmaRemapper } from "../ports/dma-remap.ts";
import type { MsiTarget } from "../ports/message.ts";
import type { Vtd } from "./vtd.ts";

/** Sixteen bits of requester id. */
const REQUESTERS = 1 << 16;

export class RemapRouter implements DmaRemapper, MsiTarget {
  span = 0;
  readonly #units: readonly Vtd[];
  /** Number of the unit, by requester. */
  readonly #unitOf: Uint8Array;

  /** @param units the last one has everything that is not in `scopes` @param scopes requester ids of the others, in their order */
  constructor(units: readonly Vtd[], scopes: readonly (readonly Bdf[])[]) {
    this.#units = units;
    this.#unitOf = new Uint8Array(REQUESTERS).fill(units.length - 1);
    scopes.forEach((requesters, unit) => {
      for (const requester of requesters) this.#unitOf[requester] = unit;
    });
  }

  get active(): boolean {
    for (let i = 0; i < this.#units.length; i++) if (this.#units[i]!.dma.active) return true;
    return false;
  }

  translate(requester: Bdf, address: PhysAddr, access: number, length: number, cause: CauseId): PhysAddr {
    const { dma } = this.#units[this.#unitOf[requester]!]!;
    const memory = dma.translate(requester, address, access, length, cause);
    this.span = dma.span;
    return memory;
  }

  msi(address: number, data: number, requester: Bdf, cause: CauseId): void {
    this.#units[this.#unitOf[requester]!]!.interrupts.msi(address, data, requester, cause);
  }
}
