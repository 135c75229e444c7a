/**
 * Memory that devices may reach, by zone: below 16 MiB for the 24 address bits of ISA's DMA, and below 4 GiB for everybody else. A request says how far
 * its device reaches and gets the highest zone that will do, so that low memory is kept for those who need it. Blocks are whole cache lines: two buffers never
 * share one, which a machine whose devices do not look into caches depends on. (A {@link KernelMachine} tells of no memory above 4 GiB.)
 */
import { alignDown, alignUp } from "../../base/int.ts";
import { MIB, PAGE, type PhysAddr } from "../../base/units.ts";
import type { Arena } from "../memory.ts";
import { DmaError, demand } from "./errors.ts";

export const CACHE_LINE = 64;
/** First address that 24 address lines do not reach. */
export const ISA_END = 16 * MIB;

export type BlockWish = {
  /** A power of two; a cache line when absent. */
  readonly alignment?: number;
  /** Last address that it may have; none when absent. */
  readonly limit?: number;
  /** The block does not cross a multiple of this (a power of two). */
  readonly boundary?: number;
};

/** A range of addresses that is handed out and taken back: first fit from below, neighbours that are free are one. */
export class Zone {
  readonly begin: number;
  readonly end: number;
  readonly #unit: number;
  /** Free pieces as [begin, end), by address. */
  readonly #free: [number, number][];
  readonly #taken = new Map<number, number>();

  /** @param unit blocks are multiples of it */
  constructor(begin: number, end: number, unit = CACHE_LINE) {
    this.begin = alignUp(begin, unit);
    this.end = alignDown(end, unit);
    this.#unit = unit;
    this.#free = this.end > this.begin ? [[this.begin, this.end]] : [];
  }

  /** Bytes that are free. */
  get free(): number {
    return this.#free.reduce((sum, [begin, end]) => sum + end - begin, 0);
  }

  has(address: number): boolean {
    return address >= this.begin && address < this.end;
  }

  /** Bytes of the block at `address`; 0 when none begins there. */
  sizeAt(address: number): number {
    return this.#taken.get(address) ?? 0;
  }

  /** Address of a block of `bytes`, −1 when there is no room. */
  take(
    bytes: number,
    { alignment = this.#unit, limit = Number.MAX_SAFE_INTEGER, boundary = 0 }: BlockWish = {},
  ): number {
    const size = alignUp(bytes, this.#unit);
    for (const [i, [begin, end]] of this.#free.entries()) {
      let at = alignUp(begin, alignment);
      if (boundary > 0 && at % boundary !== 0 && (at % boundary) + bytes > boundary) at = alignUp(at, boundary);
      if (at + size > end || at + bytes - 1 > limit) continue;
      const rest: [number, number][] = [];
      if (at > begin) rest.push([begin, at]);
      if (at + size < end) rest.push([at + size, end]);
      this.#free.splice(i, 1, ...rest);
      this.#taken.set(at, size);
      return at;
    }
    return -1;
  }

  /** Throws EINVAL for an address at which no block begins. */
  give(address: number): void {
    const size = this.#taken.get(address);
    demand(size !== undefined, `no block begins at ${address.toString(16)}`);
    this.#taken.delete(address);
    const after = this.#free.findIndex(([begin]) => begin > address);
    const at = after < 0 ? this.#free.length : after;
    this.#free.splice(at, 0, [address, address + size]);
    this.#join(at);
    if (at > 0) this.#join(at - 1);
  }

  #join(at: number): void {
    const [here, next] = [this.#free[at]!, this.#free[at + 1]];
    if (next === undefined || here[1] !== next[0]) return;
    here[1] = next[1];
    this.#free.splice(at + 1, 1);
  }
}

export type DmaMemoryOptions = {
  /** Bytes below 16 MiB; 1 MiB when absent. */
  readonly isaBytes?: number;
  /** Bytes from 16 MiB on, as far as there is RAM; 16 MiB when absent, 0 for none. */
  readonly bytes?: number;
};

export class DmaMemory {
  /** Below 16 MiB. */
  readonly isa: Zone;
  /** From 16 MiB on; empty when there is no RAM. */
  readonly dma32: Zone;

  /** Takes both zones from the kernel's memory. Throws RangeError when that is used up. */
  constructor(arena: Arena, { isaBytes = MIB, bytes = 16 * MIB }: DmaMemoryOptions = {}) {
    const low = arena.take(isaBytes, 65536);
    if (low + isaBytes > ISA_END) throw new RangeError(`no ${isaBytes} bytes are left below 16 MiB`);
    this.isa = new Zone(low, low + isaBytes);
    const next = arena.end - arena.free;
    const first = next >= ISA_END ? alignUp(next, PAGE) : ISA_END;
    const high = bytes > 0 && arena.end >= first + bytes ? arena.take(bytes, next >= ISA_END ? PAGE : ISA_END) : 0;
    this.dma32 = new Zone(high, high === 0 ? 0 : high + bytes);
  }

  /** Address of `bytes` that `wish.limit` reaches. Throws ENOMEM; EINVAL for a size or boundary that cannot be. */
  allocate(bytes: number, wish: BlockWish = {}): PhysAddr {
    demand(Number.isInteger(bytes) && bytes > 0, `a block of ${bytes} bytes`);
    const { boundary = 0 } = wish;
    demand(boundary === 0 || bytes <= boundary, `${bytes} bytes cross every boundary of ${boundary}`);
    for (const zone of [this.dma32, this.isa]) {
      const at = zone.take(bytes, wish);
      if (at >= 0) return at;
    }
    throw new DmaError("ENOMEM", `${bytes} bytes of memory for DMA`);
  }

  /** Throws EINVAL for what was not allocated, or is free already. */
  free(address: PhysAddr): void {
    (this.isa.has(address) ? this.isa : this.dma32).give(address);
  }
}
