/**
 * A device's view of memory: what a driver must do between "this buffer" and "this address on the bus". Coherent memory that both sides may use at any
 * time; streaming mappings, which belong to the device from `map` or `syncForDevice` on and to the CPU from `syncForCpu` or `unmap` on; scatter-gather
 * lists. A buffer that the device cannot reach (mask), that crosses what it cannot cross (boundary), or that shares a cache line with somebody else's
 * data on a machine without coherence, is replaced by a bounce buffer, which is copied at these same steps: a driver that leaves one out is wrong on
 * all such machines.
 *
 * Translation is the identity, or an {@link IommuDomain}'s. A mapping of part of a page lets the device reach all of that page.
 */
import { alignDown, alignUp } from "../../base/int.ts";
import { PAGE, type PhysAddr } from "../../base/units.ts";
import type { PageMap } from "../../ports/page-map.ts";
import { load8, load32, store8, store32, store64, type Task } from "../../ports/task.ts";
import type { IommuDomain } from "../iommu-domain.ts";
import { type Direction, DIRECTION, type DmaCoherence, type DmaRegion } from "./coherence.ts";
import { DmaError, demand } from "./errors.ts";
import { CACHE_LINE, type DmaMemory } from "./memory.ts";

/** An address as the device says it. */
export type BusAddr = number;
export type Segment = { readonly address: PhysAddr; readonly bytes: number };
export type BusSegment = { readonly bus: BusAddr; readonly bytes: number };

export type DmaDeviceOptions = {
  readonly memory: DmaMemory;
  readonly coherence: DmaCoherence;
  /** The kernel's map: coherent memory is uncached in it where devices do not look into caches. */
  readonly map: PageMap;
  /** Address bits that the device has; 32 when absent. */
  readonly maskBits?: number;
  /** A segment does not cross a multiple of this; 0 or absent: no limit. */
  readonly boundary?: number;
  /** Bytes of a segment at most. */
  readonly maxSegment?: number;
  readonly domain?: IommuDomain | null;
};

/** Memory that both sides may use at any time. */
export type CoherentBuffer = { readonly address: PhysAddr; readonly bus: BusAddr; readonly bytes: number };

export class DmaMapping {
  readonly region: DmaRegion;
  readonly bus: BusAddr;
  /** Address of the memory that the device really uses when it is not the buffer; −1 otherwise. */
  readonly bounce: PhysAddr;
  /** Its place on the bus is its own, not part of a list's. */
  readonly alone: boolean;
  owner: "cpu" | "device" | "nobody" = "device";

  constructor(region: DmaRegion, bus: BusAddr, bounce: PhysAddr, alone = true) {
    this.region = region;
    this.bus = bus;
    this.bounce = bounce;
    this.alone = alone;
  }

  /** The CPU's address of byte `offset`. Throws EINVAL while the mapping is the device's. */
  at(offset = 0): PhysAddr {
    demand(this.owner !== "device", "the CPU uses a buffer that is the device's");
    demand(offset >= 0 && offset < this.region.bytes, `offset ${offset} in a buffer of ${this.region.bytes}`);
    return this.region.address + offset;
  }
}

export class SgMapping {
  readonly parts: readonly DmaMapping[];
  /** What the device is told: neighbours on the bus are one. */
  readonly segments: readonly BusSegment[];
  /** What remapping gave to the list as a whole. */
  readonly range: BusSegment | null;

  constructor(parts: readonly DmaMapping[], segments: readonly BusSegment[], range: BusSegment | null) {
    this.parts = parts;
    this.segments = segments;
    this.range = range;
  }

  get regions(): readonly DmaRegion[] {
    return this.parts.map(({ region }) => region);
  }
}

/** Copies by loads and stores, words where both lie so. */
export function* copyMemory(from: PhysAddr, to: PhysAddr, bytes: number): Task {
  let done = 0;
  const words = from % 4 === 0 && to % 4 === 0;
  for (; words && done + 4 <= bytes; done += 4) yield* store32(to + done, yield* load32(from + done));
  for (; done < bytes; done++) yield* store8(to + done, yield* load8(from + done));
}

export class DmaDevice {
  readonly domain: IommuDomain | null;
  readonly coherence: DmaCoherence;
  /** Mappings that live, for leaks. */
  readonly live = new Set<DmaMapping>();
  /** Mappings that needed a bounce buffer. */
  bounced = 0;
  readonly #o: DmaDeviceOptions;
  readonly #boundary: number;
  readonly #maxSegment: number;
  #limit = 0;

  constructor(options: DmaDeviceOptions) {
    this.#o = options;
    this.domain = options.domain ?? null;
    this.coherence = options.coherence;
    this.#boundary = options.boundary ?? 0;
    this.#maxSegment = options.maxSegment ?? Number.MAX_SAFE_INTEGER;
    this.setMask(options.maskBits ?? 32);
  }

  /** The device has `bits` address bits. Throws EINVAL for fewer than ISA's 24 or more than 64. */
  setMask(bits: number): void {
    demand(Number.isInteger(bits) && bits >= 24 && bits <= 64, `an address mask of ${bits} bits`);
    this.#limit = 2 ** Math.min(bits, 52) - 1;
  }

  get #wish() {
    return this.domain === null ? { limit: this.#limit } : {};
  }

  // --- coherent memory --------------------------------------------------------------------------------------------------------------------------

  /** Whole pages of zeroes. Throws ENOMEM, EINVAL. */
  *allocateCoherent(bytes: number): Task<CoherentBuffer> {
    const { memory, map } = this.#o;
    const size = alignUp(bytes, PAGE);
    const boundary = this.#boundary > 0 && this.domain === null ? { boundary: this.#boundary } : {};
    const address = memory.allocate(size, { alignment: PAGE, ...this.#wish, ...boundary });
    if (!this.coherence.coherent) {
      // Nobody may have lines of it: they would be written back over what a device writes.
      yield* this.coherence.invalidateDmaCoherence(address, size);
      for (let page = address; page < address + size; page += PAGE) map.map(page, page, { uncached: true });
    }
    for (let at = address; at < address + size; at += 8) yield* store64(at, 0);
    const bus = this.domain === null ? address : yield* this.#mapOrFree(address, size, DIRECTION.bidirectional, true);
    return { address, bus, bytes };
  }

  *freeCoherent({ address, bus, bytes }: CoherentBuffer): Task {
    const { memory, map } = this.#o;
    const size = alignUp(bytes, PAGE);
    if (!this.coherence.coherent)
      for (let page = address; page < address + size; page += PAGE) map.map(page, page, { uncached: false });
    if (this.domain !== null) yield* this.domain.unmap(bus, size);
    yield* this.#whenForgotten(() => memory.free(address));
  }

  /** With lazy invalidation the device may still reach memory that was unmapped. */
  *#whenForgotten(action: () => void): Task {
    if (this.domain === null) action();
    else yield* this.domain.whenForgotten(action);
  }

  // --- streaming --------------------------------------------------------------------------------------------------------------------------------

  /** Gives a buffer to the device. Throws EINVAL, ENOMEM. */
  *map(address: PhysAddr, bytes: number, direction: Direction): Task<DmaMapping> {
    demand(Number.isInteger(bytes) && bytes > 0 && address >= 0, `a mapping of ${bytes} bytes at ${address}`);
    demand(bytes <= this.#maxSegment, `${bytes} bytes are more than one segment holds`);
    const region = { address, bytes, direction };
    const bounce = this.#needsBounce(region) ? this.#bounceBuffer(bytes) : -1;
    const memory = bounce < 0 ? address : bounce;
    const bus = this.domain === null ? memory : yield* this.#mapOrFree(memory, bytes, direction, bounce >= 0);
    return yield* this.#begin(new DmaMapping(region, bus, bounce));
  }

  *#begin(mapping: DmaMapping): Task<DmaMapping> {
    this.live.add(mapping);
    if (mapping.bounce >= 0) this.bounced++;
    // Also for a device that only writes: it may write less than all, and the rest must be what it was.
    yield* this.#toDevice(mapping, true);
    return mapping;
  }

  *#mapOrFree(memory: PhysAddr, bytes: number, direction: Direction, own: boolean): Task<BusAddr> {
    try {
      return yield* this.domain!.map(memory, bytes, direction, this.#limit, this.#boundary);
    } catch (error) {
      if (own) this.#o.memory.free(memory);
      throw error;
    }
  }

  #bounceBuffer(bytes: number): PhysAddr {
    return this.#o.memory.allocate(bytes, { ...this.#wish, boundary: this.#boundary });
  }

  #needsBounce({ address, bytes, direction }: DmaRegion): boolean {
    const shares = address % CACHE_LINE !== 0 || (address + bytes) % CACHE_LINE !== 0;
    if (!this.coherence.coherent && direction !== DIRECTION.toDevice && shares) return true;
    if (this.domain !== null) return false;
    const crosses =
      this.#boundary > 0 && alignDown(address, this.#boundary) !== alignDown(address + bytes - 1, this.#boundary);
    return crosses || address + bytes - 1 > this.#limit;
  }

  /** Takes the buffer back for good. Throws EINVAL when it is not mapped. */
  *unmap(mapping: DmaMapping): Task {
    this.#check(mapping);
    if (mapping.owner === "device") yield* this.syncForCpu(mapping);
    this.live.delete(mapping);
    mapping.owner = "nobody";
    const { bus, bounce, region } = mapping;
    if (this.domain !== null && mapping.alone) yield* this.domain.unmap(bus, region.bytes);
    if (bounce >= 0) yield* this.#whenForgotten(() => this.#o.memory.free(bounce));
  }

  /** The CPU may look at the buffer and change it. Throws EINVAL when it is not mapped. */
  *syncForCpu(mapping: DmaMapping): Task {
    this.#check(mapping);
    const { region, bounce } = mapping;
    const { bytes, direction } = region;
    yield* this.coherence.forCpu(bounce < 0 ? region : { address: bounce, bytes, direction });
    if (bounce >= 0 && direction !== DIRECTION.toDevice) yield* copyMemory(bounce, region.address, bytes);
    mapping.owner = "cpu";
  }

  /** The device may go on. Throws EINVAL when it is not mapped. */
  *syncForDevice(mapping: DmaMapping): Task {
    this.#check(mapping);
    yield* this.#toDevice(mapping, mapping.region.direction !== DIRECTION.fromDevice);
    mapping.owner = "device";
  }

  *#toDevice({ region, bounce }: DmaMapping, copies: boolean): Task {
    const { address, bytes, direction } = region;
    if (bounce < 0) {
      yield* this.coherence.forDevice(region);
      return;
    }
    if (copies) yield* copyMemory(address, bounce, bytes);
    yield* this.coherence.forDevice({ address: bounce, bytes, direction });
  }

  #check(mapping: DmaMapping): void {
    demand(this.live.has(mapping), "the mapping is not there any more");
  }

  // --- scatter-gather ---------------------------------------------------------------------------------------------------------------------------

  /** Maps all pieces or none, and joins what lies side by side on the bus. Throws EINVAL, ENOMEM. */
  *mapSg(list: readonly Segment[], direction: Direction): Task<SgMapping> {
    demand(
      list.length > 0 && list.every(({ bytes }) => bytes > 0),
      "a scatter-gather list without an entry, or an empty entry",
    );
    const bounces = list.some(piece => this.#needsBounce({ ...piece, direction }));
    if (this.domain !== null && !bounces) return yield* this.#mapSgTogether(this.domain, list, direction);
    const parts: DmaMapping[] = [];
    try {
      for (const piece of list)
        for (const { address, bytes } of this.#split(piece)) parts.push(yield* this.map(address, bytes, direction));
    } catch (error) {
      for (const part of parts) yield* this.unmap(part);
      throw error;
    }
    return new SgMapping(parts, this.#merge(parts), null);
  }

  /** With remapping: all pages side by side on the bus, so that whole pages become one segment wherever they lie in memory. */
  *#mapSgTogether(domain: IommuDomain, list: readonly Segment[], direction: Direction): Task<SgMapping> {
    const { range, places } = yield* domain.mapList(list, direction, this.#limit);
    const parts: DmaMapping[] = [];
    const pieces: { bus: BusAddr; region: DmaRegion }[] = [];
    for (const [i, { address, bytes }] of list.entries()) {
      const region = { address, bytes, direction };
      parts.push(yield* this.#begin(new DmaMapping(region, places[i]!, -1, false)));
      for (const piece of this.#split({ address: places[i]!, bytes }))
        pieces.push({ bus: piece.address, region: { ...region, bytes: piece.bytes } });
    }
    return new SgMapping(parts, this.#merge(pieces), range);
  }

  /** Pieces that one segment can hold. */
  *#split({ address, bytes }: Segment): Generator<Segment, void> {
    for (let done = 0; done < bytes; ) {
      const at = address + done;
      let size = Math.min(bytes - done, this.#maxSegment);
      if (this.#boundary > 0) size = Math.min(size, this.#boundary - (at % this.#boundary));
      yield { address: at, bytes: size };
      done += size;
    }
  }

  #merge(parts: readonly Pick<DmaMapping, "bus" | "region">[]): BusSegment[] {
    const segments: { bus: BusAddr; bytes: number }[] = [];
    for (const { bus, region } of parts) {
      const last = segments.at(-1);
      if (last !== undefined && this.#joins(last, bus, region.bytes)) last.bytes += region.bytes;
      else segments.push({ bus, bytes: region.bytes });
    }
    return segments;
  }

  #joins(last: BusSegment, bus: BusAddr, bytes: number): boolean {
    const total = last.bytes + bytes;
    const end = last.bus + total - 1;
    const crosses = this.#boundary > 0 && alignDown(last.bus, this.#boundary) !== alignDown(end, this.#boundary);
    return last.bus + last.bytes === bus && total <= this.#maxSegment && !crosses;
  }

  *unmapSg({ parts, range }: SgMapping): Task {
    for (const part of parts) yield* this.unmap(part);
    if (range !== null) yield* this.domain!.unmap(range.bus, range.bytes);
  }

  *syncSgForCpu({ parts }: SgMapping): Task {
    for (const part of parts) yield* this.syncForCpu(part);
  }

  *syncSgForDevice({ parts }: SgMapping): Task {
    for (const part of parts) yield* this.syncForDevice(part);
  }
}

/** Throws EIO unless `status` (of a completion callback) is 0. */
export function throwOnError(status: number, what: string): void {
  if (status !== 0) throw new DmaError("EIO", what);
}
