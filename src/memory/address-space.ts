/**
 * Physical address space: who answers at which address. Regions of 1 byte to 64 GiB, RAM, ROM or a {@link Window}; the one of higher priority
 * wins where two lie on one another. What no region covers is an open bus: reads give all-ones, writes vanish.
 *
 * Mapping is rare and lookups are constant, so the regions are flattened into sorted, disjoint ranges; a lookup is a look at the range of the last
 * one and then a binary search. Not modelled: bus timing, cacheability (MTRRs decide that in the processor).
 */
import { assert } from "../base/assert.ts";
import { hex } from "../base/int.ts";
import { GIB, PAGE, type PhysAddr } from "../base/units.ts";
import { PAGE_KIND } from "../ports/cpu-bus.ts";
import type { Window } from "../ports/window.ts";
import { checkWindow, describeRegister, readWindow, writeWindow } from "./access.ts";
import type { MemoryCopy, Ram } from "./ram.ts";

export const MAX_REGION = 64 * GIB;
/** Addresses have 52 bits (Intel SDM vol. 3A, 4.1.4: MAXPHYADDR is at most 52). */
export const ADDRESS_LIMIT = 2 ** 52;

/** One mapping, as returned by `map…`; keep it to move or remove it. */
export class Region {
  readonly name: string;
  base: PhysAddr;
  readonly size: number;
  readonly priority: number;
  readonly writable: boolean;
  /** Offset in RAM of the first byte, −1 for a window. */
  readonly ramOffset: number;
  readonly window: Window | null;
  mapped = false;

  constructor(
    name: string,
    size: number,
    priority: number,
    ramOffset: number,
    writable: boolean,
    window: Window | null,
  ) {
    this.name = name;
    this.base = 0;
    this.size = size;
    this.priority = priority;
    this.ramOffset = ramOffset;
    this.writable = writable;
    this.window = window;
  }
}

/** A stretch of addresses with one answerer. `region` is null for the open bus. */
class Range {
  readonly start: PhysAddr;
  /** First address behind it. */
  readonly end: PhysAddr;
  readonly region: Region | null;
  /** Window offset of address `a` is `a - shift`; for RAM, the RAM offset. */
  readonly shift: number;
  /** For the inner loops: the window, or null. */
  readonly window: Window | null;
  constructor(start: PhysAddr, end: PhysAddr, region: Region | null) {
    this.start = start;
    this.end = end;
    this.region = region;
    this.window = region === null ? null : region.window;
    this.shift = region === null ? 0 : region.window === null ? region.base - region.ramOffset : region.base;
  }
}

export class AddressSpace {
  readonly ram: Ram;
  /** Grows with every change of the map or of A20. */
  generation = 1;
  /** High word of the last {@link readPair}. */
  high = 0;
  /** Byte offset in the RAM's buffer of the page last found by {@link lookup}. */
  pageOffset = 0;
  readonly #regions: Region[] = [];
  #ranges: Range[] = [new Range(0, ADDRESS_LIMIT, null)];
  #last: Range = this.#ranges[0]!;
  #a20 = true;

  constructor(ram: Ram) {
    this.ram = ram;
  }

  /** Maps `size` bytes of RAM from RAM offset `ramOffset`. */
  mapRam(name: string, base: PhysAddr, size: number, ramOffset: number, priority = 0): Region {
    return this.#mapMemory(name, base, size, ramOffset, priority, true);
  }

  /** Maps a piece of RAM such that writes through the address space vanish. */
  mapRom(name: string, base: PhysAddr, size: number, ramOffset: number, priority = 0): Region {
    return this.#mapMemory(name, base, size, ramOffset, priority, false);
  }

  mapWindow(window: Window, base: PhysAddr, priority = 0): Region {
    checkWindow(window);
    return this.map(new Region(window.name, window.size, priority, -1, true, window), base);
  }

  #mapMemory(name: string, base: number, size: number, ramOffset: number, priority: number, writable: boolean): Region {
    assert(ramOffset >= 0 && ramOffset + size <= this.ram.size, `${name}: lies outside RAM`);
    return this.map(new Region(name, size, priority, ramOffset, writable, null), base);
  }

  /** Puts a region (back) at `base`. Overlapping a region of the same priority is our mistake. */
  map(region: Region, base: PhysAddr): Region {
    assert(!region.mapped, `${region.name} is mapped already`);
    assert(region.size >= 1 && region.size <= MAX_REGION, `${region.name}: size ${region.size}`);
    assert(base >= 0 && base + region.size <= ADDRESS_LIMIT, `${region.name}: ${hex(base)} is out of range`);
    for (const other of this.#regions) {
      const apart = base >= other.base + other.size || base + region.size <= other.base;
      assert(apart || other.priority !== region.priority, `${region.name} at ${hex(base)} overlaps ${other.name}`);
    }
    region.base = base;
    region.mapped = true;
    this.#regions.push(region);
    this.#flatten();
    return region;
  }

  unmap(region: Region): void {
    const index = this.#regions.indexOf(region);
    assert(index >= 0, `${region.name} is not mapped`);
    this.#regions.splice(index, 1);
    region.mapped = false;
    this.#flatten();
  }

  /** Moves a mapped region, as a BAR does. */
  remap(region: Region, base: PhysAddr): void {
    if (region.mapped && region.base === base) return;
    if (region.mapped) this.unmap(region);
    this.map(region, base);
  }

  /** Rebuilds the disjoint ranges: between two neighbouring edges the region of the highest priority answers. */
  #flatten(): void {
    const edges = new Set<number>([0, ADDRESS_LIMIT]);
    for (const region of this.#regions) edges.add(region.base).add(region.base + region.size);
    const sorted = [...edges].sort((a, b) => a - b);
    const ranges: Range[] = [];
    for (let i = 0; i + 1 < sorted.length; i++) {
      const start = sorted[i]!;
      let best: Region | null = null;
      for (const region of this.#regions) {
        if (start < region.base || start >= region.base + region.size) continue;
        if (best === null || region.priority > best.priority) best = region;
      }
      const before = ranges[ranges.length - 1];
      if (before !== undefined && before.region === best)
        ranges[ranges.length - 1] = new Range(before.start, sorted[i + 1]!, best);
      else ranges.push(new Range(start, sorted[i + 1]!, best));
    }
    this.#ranges = ranges;
    this.#last = ranges[0]!;
    this.generation++;
  }

  #find(address: PhysAddr): Range {
    const last = this.#last;
    if (address >= last.start && address < last.end) return last;
    assert(address >= 0 && address < ADDRESS_LIMIT, `physical address ${hex(address)} is out of range`);
    const ranges = this.#ranges;
    let low = 0;
    let high = ranges.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (ranges[middle]!.start <= address) low = middle;
      else high = middle - 1;
    }
    return (this.#last = ranges[low]!);
  }

  /** What lies at the 4 KiB page (address / 4096): one of {@link PAGE_KIND}; a page that is not wholly one thing is a window. */
  lookup(page: number): number {
    const address = page * PAGE;
    const range = this.#find(address);
    if (address + PAGE > range.end) return PAGE_KIND.window;
    const region = range.region;
    if (region === null) return PAGE_KIND.open;
    if (region.window !== null) return PAGE_KIND.window;
    this.pageOffset = this.ram.base + (address - range.shift);
    if (this.pageOffset % PAGE !== 0) return PAGE_KIND.window;
    return region.writable ? PAGE_KIND.ram : PAGE_KIND.rom;
  }

  /** End of the range that `address` lies in, when that is RAM at the offset that equals the address; else 0. */
  plainEnd(address: PhysAddr): PhysAddr {
    const { region, shift, end } = this.#find(address);
    return region !== null && region.window === null && region.writable && shift === 0 ? end : 0;
  }

  /** RAM offset of `address` when this and the following bytes, `length` in all, are one piece of RAM; else −1. */
  ramRun(address: PhysAddr, length: number): number {
    const range = this.#find(address);
    const region = range.region;
    const isRam = region !== null && region.window === null && region.writable && address + length <= range.end;
    return isRam ? address - range.shift : -1;
  }

  /** Unsigned value of `width` (1 … 4) bytes at any address. */
  read(address: PhysAddr, width: number): number {
    const range = this.#find(address);
    if (address + width > range.end) return this.#readBytes(address, width);
    if (range.window !== null) return readWindow(range.window, address - range.shift, width);
    if (range.region === null) return width === 4 ? 0xffffffff : 2 ** (8 * width) - 1;
    return this.ram.read(address - range.shift, width);
  }

  /** Writes the low `width` (1 … 4) bytes of `value`. */
  write(address: PhysAddr, width: number, value: number): void {
    const range = this.#find(address);
    if (address + width > range.end) this.#writeBytes(address, width, value);
    else if (range.window !== null) writeWindow(range.window, address - range.shift, width, value);
    else if (range.region?.writable) this.ram.write(address - range.shift, width, value);
  }

  /** `width` (1 … 8) bytes: returns the low word, leaves the high one in {@link high}. */
  readPair(address: PhysAddr, width: number): number {
    const low = this.read(address, Math.min(width, 4));
    this.high = width > 4 ? this.read(address + 4, width - 4) : 0;
    return low;
  }

  /** Writes `width` (1 … 8) bytes of the pair, the low word first. */
  writePair(address: PhysAddr, width: number, low: number, high: number): void {
    this.write(address, Math.min(width, 4), low);
    if (width > 4) this.write(address + 4, width - 4, high);
  }

  #readBytes(address: PhysAddr, width: number): number {
    let value = 0;
    let done = 0;
    while (done < width) {
      const span = Math.min(width - done, this.#find(address + done).end - address - done);
      value += this.read(address + done, span) * 2 ** (8 * done);
      done += span;
    }
    return value;
  }

  #writeBytes(address: PhysAddr, width: number, value: number): void {
    let done = 0;
    while (done < width) {
      const span = Math.min(width - done, this.#find(address + done).end - address - done);
      this.write(address + done, span, value >>> (8 * done));
      done += span;
    }
  }

  /** Copies a block out, for DMA and loaders. `memory`: how RAM is seen. False when any byte of it was an open bus (that byte is 0xFF). */
  readBlock(
    address: PhysAddr,
    into: Uint8Array,
    offset: number,
    length: number,
    memory: MemoryCopy = this.ram,
  ): boolean {
    let whole = true;
    for (let done = 0; done < length; ) {
      const at = address + done;
      const range = this.#find(at);
      const span = Math.min(length - done, range.end - at);
      if (range.region === null) {
        into.fill(0xff, offset + done, offset + done + span);
        whole = false;
      } else if (range.window === null) memory.copyOut(at - range.shift, into, offset + done, span);
      else readWindowBlock(range.window, at - range.shift, into, offset + done, span);
      done += span;
    }
    return whole;
  }

  /** Copies a block in. False when any byte of it went to an open bus. A ROM swallows it, as it does with a processor's store. */
  writeBlock(
    address: PhysAddr,
    from: Uint8Array,
    offset: number,
    length: number,
    memory: MemoryCopy = this.ram,
  ): boolean {
    let whole = true;
    for (let done = 0; done < length; ) {
      const at = address + done;
      const range = this.#find(at);
      const span = Math.min(length - done, range.end - at);
      if (range.region === null) whole = false;
      else if (range.window !== null) writeWindowBlock(range.window, at - range.shift, from, offset + done, span);
      else if (range.region.writable) memory.copyIn(at - range.shift, from, offset + done, span);
      done += span;
    }
    return whole;
  }

  /** The A20 gate: while it is closed, a processor's address line 20 is held low (bus masters are not affected). */
  get a20(): boolean {
    return this.#a20;
  }

  setA20(open: boolean): void {
    if (open === this.#a20) return;
    this.#a20 = open;
    this.generation++;
  }

  /** The address that a processor's address becomes behind the A20 gate. */
  throughA20(address: PhysAddr): PhysAddr {
    if (this.#a20) return address;
    return Math.floor(address / 0x100000) % 2 === 1 ? address - 0x100000 : address;
  }

  /** `part+REGISTER` for logs; an empty string for RAM and where nothing answers. */
  describe(address: PhysAddr): string {
    const range = this.#find(address);
    if (range.window === null) return "";
    const offset = address - range.shift;
    return describeRegister(range.window, offset);
  }

  /** Everything that is mapped, by address. */
  regions(): readonly Region[] {
    return [...this.#regions].sort((a, b) => a.base - b.base);
  }
}

function readWindowBlock(window: Window, offset: number, into: Uint8Array, at: number, length: number): void {
  for (let done = 0; done < length; ) {
    const width = (offset + done) % 4 === 0 && length - done >= 4 ? 4 : 1;
    const value = readWindow(window, offset + done, width);
    for (let i = 0; i < width; i++) into[at + done + i] = value >>> (8 * i);
    done += width;
  }
}

function writeWindowBlock(window: Window, offset: number, from: Uint8Array, at: number, length: number): void {
  for (let done = 0; done < length; ) {
    const width = (offset + done) % 4 === 0 && length - done >= 4 ? 4 : 1;
    let value = 0;
    for (let i = 0; i < width; i++) value |= from[at + done + i]! << (8 * i);
    writeWindow(window, offset + done, width, value >>> 0);
    done += width;
  }
}
