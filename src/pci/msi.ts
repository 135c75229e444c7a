/**
 * The MSI capability: message address of 32 or 64 bits, 1 to 32 vectors, masks and pending bits. PCI Local Bus Specification 3.0, 6.8.1. All its state
 * lies in the function's configuration space.
 *
 * Decisions: a function that was given fewer vectors than it can use folds them ("modulo"); a value of Multiple Message Enable above what the function
 * can use counts as the most that it can use; an interrupt while MSI is off is nobody's.
 */
import { assert } from "../base/assert.ts";
import { lowestBit } from "../base/int.ts";
import type { CauseId } from "../base/units.ts";
import { MSI, MSI_CONTROL, MSI_OFFSETS } from "./capabilities.regs.ts";
import { CAPABILITY } from "./config-space.regs.ts";
import type { ConfigSpace } from "./config-space.ts";

export type MsiOptions = {
  /** A power of two up to 32. */
  readonly vectors: number;
  /** 64-bit message addresses. */
  readonly wide: boolean;
  /** Masks and pending bits per vector. */
  readonly maskable: boolean;
  /** Offset of the capability; the next free one when left out. */
  readonly at?: number;
};

/** Puts a message on the bus: a memory write of one doubleword. */
export type SendMessage = (addressLow: number, addressHigh: number, data: number, cause: CauseId) => void;

export class Msi {
  /** Offset of the capability. */
  readonly offset: number;
  readonly vectors: number;
  readonly #space: ConfigSpace;
  readonly #wide: boolean;
  readonly #maskable: boolean;
  readonly #at: { readonly data: number; readonly mask: number; readonly pending: number };
  readonly #send: SendMessage;

  constructor(space: ConfigSpace, options: MsiOptions, send: SendMessage) {
    const { vectors, wide, maskable } = options;
    const log = 31 - Math.clz32(vectors);
    assert(vectors >= 1 && vectors <= 32 && 1 << log === vectors, `MSI: ${vectors} vectors`);
    const at = wide ? MSI_OFFSETS.wide : MSI_OFFSETS.narrow;
    this.#space = space;
    this.#wide = wide;
    this.#maskable = maskable;
    this.#at = at;
    this.#send = send;
    this.vectors = vectors;
    const offset = space.addCapability(CAPABILITY.msi, maskable ? at.maskableBytes : at.bytes, options.at);
    this.offset = offset;
    const capable = MSI_CONTROL.capable.put(0, log);
    const value = capable | (wide ? MSI_CONTROL.wide.mask : 0) | (maskable ? MSI_CONTROL.maskable.mask : 0);
    const writable = MSI_CONTROL.enable.mask | MSI_CONTROL.enabled.mask;
    space.define({ name: "MSI control", offset: offset + MSI.control, size: 2, value, writable });
    space.define({ name: "MSI address", offset: offset + MSI.address, size: 4, writable: 0xfffffffc });
    if (wide)
      space.define({ name: "MSI address high", offset: offset + MSI.addressHigh, size: 4, writable: 0xffffffff });
    space.define({ name: "MSI data", offset: offset + at.data, size: 2, writable: 0xffff });
    if (!maskable) return;
    const writableMask = vectors === 32 ? 0xffffffff : (1 << vectors) - 1;
    space.define({ name: "MSI mask", offset: offset + at.mask, size: 4, writable: writableMask });
    space.define({ name: "MSI pending", offset: offset + at.pending, size: 4 });
  }

  get enabled(): boolean {
    return MSI_CONTROL.enable.on(this.#control());
  }

  /** Vectors that software has given, a power of two. */
  get allocated(): number {
    return Math.min(this.vectors, 1 << MSI_CONTROL.enabled.of(this.#control()));
  }

  /** The function has an interrupt on `vector`: sends it, or keeps it pending while it is masked. */
  deliver(vector: number, cause: CauseId): void {
    if (!this.enabled) return;
    const index = vector % this.allocated;
    if (this.#maskable && ((this.#mask() >>> index) & 1) !== 0) {
      this.#setPending((this.#pending() | (1 << index)) >>> 0);
      return;
    }
    this.#message(index, cause);
  }

  /** The reason for a pending interrupt has gone (6.8.1.7). */
  withdraw(vector: number): void {
    if (this.#maskable) this.#setPending((this.#pending() & ~(1 << (vector % this.allocated))) >>> 0);
  }

  /** After a write to the configuration space: what is pending and no longer masked is sent, lowest vector first. */
  written(): void {
    if (!this.#maskable || !this.enabled) return;
    let ready = this.#pending() & ~this.#mask();
    if (ready === 0) return;
    this.#setPending((this.#pending() & ~ready) >>> 0);
    for (; ready !== 0; ready &= ready - 1) this.#message(lowestBit(ready), 0);
  }

  #message(index: number, cause: CauseId): void {
    const { offset } = this;
    const low = this.#space.read(offset + MSI.address, 4);
    const high = this.#wide ? this.#space.read(offset + MSI.addressHigh, 4) : 0;
    const data = this.#space.read(offset + this.#at.data, 2);
    // "The function is permitted to modify the low-order bits of the message data", as many as vectors were given.
    this.#send(low, high, (data & ~(this.allocated - 1)) | index, cause);
  }

  #control(): number {
    return this.#space.read(this.offset + MSI.control, 2);
  }

  #mask(): number {
    return this.#space.read(this.offset + this.#at.mask, 4);
  }

  #pending(): number {
    return this.#space.read(this.offset + this.#at.pending, 4);
  }

  #setPending(bits: number): void {
    this.#space.put(this.offset + this.#at.pending, 4, bits);
  }
}
