/**
 * A bus master's port to memory: the only way in which a device reads or writes guest memory. An aligned 32-bit write to 0xFEExxxxx is an interrupt
 * message (Intel SDM vol. 3A, "Message Signalled Interrupts": message address register). Not modelled here: translation (iommu/ stands before it).
 */
import { assert } from "../base/assert.ts";
import type { Bdf, CauseId, PhysAddr } from "../base/units.ts";
import { BUS_STATUS, type BusStatus } from "../ports/initiator.ts";
import type { MsiTarget } from "../ports/message.ts";
import type { MasterPort } from "../ports/pci.ts";
import { ADDRESS_LIMIT, type AddressSpace } from "./address-space.ts";

const MSI_BASE = 0xfee00000;
const MSI_END = 0xfef00000;

export class BusMaster implements MasterPort {
  requester: Bdf;
  /** Bus-master enable: while false every access ends as `disabled`. */
  enabled = true;
  /** Cause that an interrupt message of the next write carries. */
  cause: CauseId = 0;
  readonly #space: AddressSpace;
  readonly #msi: MsiTarget;

  constructor(requester: Bdf, space: AddressSpace, msi: MsiTarget) {
    this.requester = requester;
    this.#space = space;
    this.#msi = msi;
  }

  read(address: PhysAddr, into: Uint8Array, offset: number, length: number): BusStatus {
    assert(offset >= 0 && offset + length <= into.length, "bus master: read exceeds the buffer");
    if (!this.enabled || overlapsMsi(address, length) || address + length > ADDRESS_LIMIT) {
      into.fill(0xff, offset, offset + length);
      return this.enabled ? BUS_STATUS.masterAbort : BUS_STATUS.disabled;
    }
    if (this.#space.readBlock(address, into, offset, length)) return BUS_STATUS.ok;
    into.fill(0xff, offset, offset + length);
    return BUS_STATUS.masterAbort;
  }

  write(address: PhysAddr, from: Uint8Array, offset: number, length: number): BusStatus {
    assert(offset >= 0 && offset + length <= from.length, "bus master: write exceeds the buffer");
    if (!this.enabled) return BUS_STATUS.disabled;
    if (address + length > ADDRESS_LIMIT) return BUS_STATUS.masterAbort;
    if (overlapsMsi(address, length)) return this.#message(address, from, offset, length);
    return this.#space.writeBlock(address, from, offset, length) ? BUS_STATUS.ok : BUS_STATUS.masterAbort;
  }

  /** Only an aligned doubleword is a message; everything else in that range is refused. */
  #message(address: PhysAddr, from: Uint8Array, offset: number, length: number): BusStatus {
    if (length !== 4 || address % 4 !== 0) return BUS_STATUS.masterAbort;
    const data = from[offset]! | (from[offset + 1]! << 8) | (from[offset + 2]! << 16) | (from[offset + 3]! << 24);
    this.#msi.msi(address, data >>> 0, this.requester, this.cause);
    return BUS_STATUS.ok;
  }
}

function overlapsMsi(address: PhysAddr, length: number): boolean {
  return address < MSI_END && address + length > MSI_BASE;
}
