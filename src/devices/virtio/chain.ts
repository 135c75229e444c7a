/**
 * A descriptor chain that a device has taken: a list of pieces of guest memory, first those that the device reads, then those that it writes (VIRTIO 1.2,
 * 2.7.4.2). One object per queue is filled again for each chain, so that taking one allocates nothing.
 */
import { assert } from "../../base/assert.ts";
import type { CauseId } from "../../base/units.ts";
import { BUS_STATUS, type BusStatus, type Initiator } from "../../ports/initiator.ts";

/** The way to memory. */
export type ChainHost = {
  readonly memory: Initiator;
  /** What the following accesses are caused by. */
  setCause(cause: CauseId): void;
};

export class Chain {
  /** Index of the first descriptor: names the chain in the used ring. */
  head = 0;
  /** Bytes that the device may read, and that it may write. */
  readable = 0;
  writable = 0;
  /** Bytes that {@link Chain.read} and {@link Chain.write} have moved so far. */
  moved = 0;
  /** What the accesses to this chain's memory and its completion are caused by. Observation only. */
  cause: CauseId = 0;
  readonly #host: ChainHost;
  readonly #addresses: Float64Array;
  readonly #lengths: Float64Array;
  /** Pieces, and how many of them (the first ones) are readable. */
  #count = 0;
  #readableCount = 0;

  /** @param limit the most pieces that a chain can have */
  constructor(host: ChainHost, limit: number) {
    this.#host = host;
    this.#addresses = new Float64Array(limit);
    this.#lengths = new Float64Array(limit);
  }

  /** Pieces. */
  get count(): number {
    return this.#count;
  }

  /** Empties the object. */
  begin(head: number): void {
    this.head = head;
    this.readable = this.writable = this.moved = this.#count = this.#readableCount = 0;
    this.cause = 0;
  }

  /** Appends a piece. False when that is against the rules: readable behind writable, or too many. */
  add(address: number, length: number, writable: boolean): boolean {
    const i = this.#count;
    if (i === this.#addresses.length || (!writable && i !== this.#readableCount)) return false;
    this.#addresses[i] = address;
    this.#lengths[i] = length;
    this.#count = i + 1;
    if (writable) this.writable += length;
    else {
      this.readable += length;
      this.#readableCount = i + 1;
    }
    return true;
  }

  /**
   * Copies `length` bytes that lie `position` bytes into the readable part to `into` from `at`. They must lie inside ({@link Chain.readable}). The first
   * access that memory or an IOMMU refuses ends it, with its status.
   */
  read(position: number, into: Uint8Array, at: number, length: number): BusStatus {
    assert(position >= 0 && position + length <= this.readable, "virtqueue: read exceeds the chain");
    return this.#move(false, 0, this.#readableCount, position, into, at, length);
  }

  /** Copies `length` bytes of `from` to the place `position` bytes into the writable part; otherwise as {@link Chain.read}. */
  write(position: number, from: Uint8Array, at: number, length: number): BusStatus {
    assert(position >= 0 && position + length <= this.writable, "virtqueue: write exceeds the chain");
    return this.#move(true, this.#readableCount, this.#count, position, from, at, length);
  }

  #move(
    write: boolean,
    first: number,
    end: number,
    position: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): BusStatus {
    const { memory } = this.#host;
    let status: BusStatus = BUS_STATUS.ok;
    this.#host.setCause(this.cause);
    for (let i = first; i < end && length > 0; i++) {
      const here = this.#lengths[i]!;
      if (position >= here) {
        position -= here;
        continue;
      }
      const part = Math.min(length, here - position);
      const address = this.#addresses[i]! + position;
      status = write ? memory.write(address, bytes, at, part) : memory.read(address, bytes, at, part);
      if (status !== BUS_STATUS.ok) break;
      this.moved += part;
      position = 0;
      at += part;
      length -= part;
    }
    this.#host.setCause(0);
    return status;
  }
}
