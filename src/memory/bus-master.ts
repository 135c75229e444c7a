/**
 * A bus master's port to memory: the only way in which a device reads or writes guest memory. An aligned 32-bit write to 0xFEExxxxx is an interrupt
 * message (Intel SDM vol. 3A, "Message Signalled Interrupts": message address register), unless it carries a PASID. Where there is remapping hardware an
 * access is translated run by run, and ends at the first page that is refused: what lies before it has moved.
 */
import { assert } from "../base/assert.ts";
import { type Bdf, type CauseId, PAGE, type PhysAddr } from "../base/units.ts";
import { ACCESS, type DmaRemapper, REMAP_FAULT, withPasid } from "../ports/dma-remap.ts";
import { EVENT } from "../ports/events.ts";
import { BUS_STATUS, type BusStatus } from "../ports/initiator.ts";
import type { MsiTarget } from "../ports/message.ts";
import { type MasterPort, NO_SNOOP } from "../ports/pci.ts";
import type { Trace } from "../sim/trace.ts";
import { ADDRESS_LIMIT, type AddressSpace } from "./address-space.ts";
import type { MemoryCopy } from "./ram.ts";

const MSI_BASE = 0xfee00000;
const MSI_END = 0xfef00000;

/** Memory behind the processors' caches. */
export type DmaCaches = {
  readonly snooped: MemoryCopy;
  readonly unsnooped: MemoryCopy;
  /** False: no access is snooped, as on machines whose software keeps caches and devices apart. */
  readonly coherent: boolean;
};

/** What lies behind all bus masters of a board. */
export type BusPath = {
  readonly space: AddressSpace;
  readonly msi: MsiTarget;
  readonly trace: Trace;
  /** Null: addresses on the bus are addresses in memory. */
  readonly remap: DmaRemapper | null;
  /** What stands between the bus and memory; null or left out: memory itself. */
  readonly caches?: DmaCaches | null;
};

export class BusMaster implements MasterPort {
  requester: Bdf;
  /** Bus-master enable: while false every access ends as `disabled`. */
  enabled = true;
  /** Cause that the next access carries, be it data or a message. */
  cause: CauseId = 0;
  readonly trace: Trace;
  readonly #space: AddressSpace;
  readonly #msi: MsiTarget;
  readonly #remap: DmaRemapper | null;
  readonly #wants: Uint8Array;
  /** RAM as this port sees it. */
  #memory: MemoryCopy;
  readonly #caches: DmaCaches | null;
  copyFailedReading = false;
  #buffer = new Uint8Array(0);
  /** What every access of this port is, besides reading or writing: its PASID, if it has one. */
  #attributes = 0;

  constructor(requester: Bdf, path: BusPath) {
    this.requester = requester;
    this.trace = path.trace;
    this.#space = path.space;
    this.#msi = path.msi;
    this.#remap = path.remap;
    this.#wants = path.trace.wants;
    this.#caches = path.caches ?? null;
    this.#memory = path.space.ram;
    this.noSnoop = false;
  }

  /** The No Snoop attribute (PCI Express Base 3.0, 2.2.6.5) of the following accesses: caches are passed by. */
  set noSnoop(on: boolean) {
    const caches = this.#caches;
    if (caches !== null) this.#memory = on || !caches.coherent ? caches.unsnooped : caches.snooped;
  }

  /** The process address space (20 bits) that the following accesses carry; null for none. */
  set pasid(pasid: number | null) {
    this.#attributes = pasid === null ? 0 : withPasid(pasid);
  }

  read(address: PhysAddr, into: Uint8Array, offset: number, length: number): BusStatus {
    assert(offset >= 0 && offset + length <= into.length, "bus master: read exceeds the buffer");
    const status = this.#read(address, into, offset, length);
    if (this.#wants[EVENT.dmaRead] !== 0) this.#tell(EVENT.dmaRead, address, length, status);
    return status;
  }

  write(address: PhysAddr, from: Uint8Array, offset: number, length: number): BusStatus {
    assert(offset >= 0 && offset + length <= from.length, "bus master: write exceeds the buffer");
    if (this.enabled && this.#isMessage(address, length)) return this.#message(address, from, offset, length);
    const status = this.#write(address, from, offset, length);
    if (this.#wants[EVENT.dmaWrite] !== 0) this.#tell(EVENT.dmaWrite, address, length, status);
    return status;
  }

  copy(source: PhysAddr, target: PhysAddr, length: number, noSnoop: number): BusStatus {
    const plain =
      this.#caches === null && this.enabled && source + length <= ADDRESS_LIMIT && target + length <= ADDRESS_LIMIT;
    if (!plain || this.#isMessage(source, length) || this.#isMessage(target, length))
      return this.#copyByBuffer(source, target, length, noSnoop);
    const remap = this.#remap;
    if (remap?.active === true) return this.#copyRemapped(remap, source, target, length);
    const from = this.#space.ramRun(source, length);
    const to = this.#space.ramRun(target, length);
    if (from < 0 || to < 0) return this.#copyByBuffer(source, target, length, noSnoop);
    this.#space.ram.move(from, to, length);
    this.#tellCopy(source, target, length, BUS_STATUS.ok);
    return BUS_STATUS.ok;
  }

  #copyByBuffer(source: PhysAddr, target: PhysAddr, length: number, noSnoop: number): BusStatus {
    if (this.#buffer.length < length) this.#buffer = new Uint8Array(Math.max(length, PAGE));
    this.noSnoop = (noSnoop & NO_SNOOP.source) !== 0;
    const status = this.read(source, this.#buffer, 0, length);
    this.copyFailedReading = status !== BUS_STATUS.ok;
    this.noSnoop = (noSnoop & NO_SNOOP.target) !== 0;
    return status === BUS_STATUS.ok ? this.write(target, this.#buffer, 0, length) : status;
  }

  #copyRemapped(remap: DmaRemapper, source: PhysAddr, target: PhysAddr, length: number): BusStatus {
    let status: BusStatus = BUS_STATUS.ok;
    for (let done = 0; done < length && status === BUS_STATUS.ok; ) {
      const access = this.#attributes;
      const from = remap.translate(this.requester, source + done, ACCESS.read | access, length - done, this.cause);
      const readable = from === REMAP_FAULT ? 0 : Math.min(remap.span, length - done);
      this.copyFailedReading = readable === 0;
      if (readable === 0) status = BUS_STATUS.iommuFault;
      else {
        const to = remap.translate(this.requester, target + done, ACCESS.write | access, readable, this.cause);
        if (to === REMAP_FAULT) status = BUS_STATUS.iommuFault;
        else {
          const chunk = Math.min(remap.span, readable);
          status = this.#moveRun(from, to, chunk);
          done += chunk;
        }
      }
    }
    this.#tellCopy(source, target, length, status);
    return status;
  }

  /** Within memory, at addresses in memory. */
  #moveRun(from: PhysAddr, to: PhysAddr, length: number): BusStatus {
    const source = this.#space.ramRun(from, length);
    const target = this.#space.ramRun(to, length);
    if (source >= 0 && target >= 0) {
      this.#space.ram.move(source, target, length);
      return BUS_STATUS.ok;
    }
    if (this.#buffer.length < length) this.#buffer = new Uint8Array(Math.max(length, PAGE));
    this.copyFailedReading = !this.#space.readBlock(from, this.#buffer, 0, length, this.#memory);
    const ok = !this.copyFailedReading && this.#space.writeBlock(to, this.#buffer, 0, length, this.#memory);
    return ok ? BUS_STATUS.ok : BUS_STATUS.masterAbort;
  }

  #tellCopy(source: PhysAddr, target: PhysAddr, length: number, status: BusStatus): void {
    const failedReading = status !== BUS_STATUS.ok && this.copyFailedReading;
    if (this.#wants[EVENT.dmaRead] !== 0)
      this.#tell(EVENT.dmaRead, source, length, failedReading ? status : BUS_STATUS.ok);
    if (!failedReading && this.#wants[EVENT.dmaWrite] !== 0) this.#tell(EVENT.dmaWrite, target, length, status);
  }

  #tell(kind: number, address: PhysAddr, length: number, status: BusStatus): void {
    this.trace.emit(kind, this.requester, address, length, status, this.cause);
  }

  #read(address: PhysAddr, into: Uint8Array, offset: number, length: number): BusStatus {
    if (!this.enabled || this.#isMessage(address, length) || address + length > ADDRESS_LIMIT) {
      into.fill(0xff, offset, offset + length);
      return this.enabled ? BUS_STATUS.masterAbort : BUS_STATUS.disabled;
    }
    const remap = this.#remap;
    if (remap?.active === true) return this.#readRemapped(remap, address, into, offset, length);
    if (this.#space.readBlock(address, into, offset, length, this.#memory)) return BUS_STATUS.ok;
    into.fill(0xff, offset, offset + length);
    return BUS_STATUS.masterAbort;
  }

  /** A read of nothing is translated, too: it may be refused (zero-length read). */
  #readRemapped(remap: DmaRemapper, address: PhysAddr, into: Uint8Array, offset: number, length: number): BusStatus {
    const access = length === 0 ? this.#attributes : ACCESS.read | this.#attributes;
    let done = 0;
    do {
      const memory = remap.translate(this.requester, address + done, access, length - done, this.cause);
      const chunk = Math.min(remap.span, length - done);
      if (memory === REMAP_FAULT || !this.#space.readBlock(memory, into, offset + done, chunk, this.#memory)) {
        into.fill(0xff, offset + done, offset + length);
        return memory === REMAP_FAULT ? BUS_STATUS.iommuFault : BUS_STATUS.masterAbort;
      }
      done += chunk;
    } while (done < length);
    return BUS_STATUS.ok;
  }

  #write(address: PhysAddr, from: Uint8Array, offset: number, length: number): BusStatus {
    if (!this.enabled) return BUS_STATUS.disabled;
    if (address + length > ADDRESS_LIMIT) return BUS_STATUS.masterAbort;
    const remap = this.#remap;
    if (remap?.active === true) return this.#writeRemapped(remap, address, from, offset, length);
    return this.#space.writeBlock(address, from, offset, length, this.#memory) ? BUS_STATUS.ok : BUS_STATUS.masterAbort;
  }

  #writeRemapped(remap: DmaRemapper, address: PhysAddr, from: Uint8Array, offset: number, length: number): BusStatus {
    const access = ACCESS.write | this.#attributes;
    for (let done = 0; done < length; ) {
      const memory = remap.translate(this.requester, address + done, access, length - done, this.cause);
      if (memory === REMAP_FAULT) return BUS_STATUS.iommuFault;
      const chunk = remap.span;
      if (!this.#space.writeBlock(memory, from, offset + done, chunk, this.#memory)) return BUS_STATUS.masterAbort;
      done += chunk;
    }
    return BUS_STATUS.ok;
  }

  /** Requests with PASID are memory accesses wherever they go. */
  #isMessage(address: PhysAddr, length: number): boolean {
    return address < MSI_END && address + length > MSI_BASE && this.#attributes === 0;
  }

  /** Only an aligned doubleword is a message; everything else in that range is refused. */
  #message(address: PhysAddr, from: Uint8Array, offset: number, length: number): BusStatus {
    if (length !== 4 || address % 4 !== 0) return BUS_STATUS.masterAbort;
    const data = from[offset]! | (from[offset + 1]! << 8) | (from[offset + 2]! << 16) | (from[offset + 3]! << 24);
    this.#msi.msi(address, data >>> 0, this.requester, this.cause);
    return BUS_STATUS.ok;
  }
}
