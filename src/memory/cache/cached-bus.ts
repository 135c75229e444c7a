/**
 * A processor's way to memory through its caches: decides by the memory type of the page what an access does to them (Intel SDM vol. 3A, 12.3), and carries
 * out the instructions that manage caches. Stands between the processor and its {@link CpuBusPort}; everything that is not RAM goes straight on.
 *
 * Types. Write-back and write-protected loads and stores allocate lines; write-through loads do; uncached ones throw a cached copy out first. Write-combining
 * stores gather in up to four buffers of a line: devices do not see them until a buffer is full, is needed for another line, or is drained by a
 * fence, a locked instruction, an uncached access, I/O, or a load of the same line. Decision: other processors see them at once.
 *
 * With a store buffer, stores wait in it first: see store-buffer.ts.
 */
import type { PhysAddr } from "../../base/units.ts";
import { type CpuBus, type CpuCaches, MEMORY_TYPE, PAGE_KIND } from "../../ports/cpu-bus.ts";
import type { Part, ResetPhase } from "../../ports/part.ts";
import type { Alarm, EventQueue } from "../../sim/event-queue.ts";
import type { Ram } from "../ram.ts";
import { LINE_BYTES } from "./cache-array.ts";
import { type CacheHierarchy, lineOf } from "./hierarchy.ts";
import { FORWARD, StoreBuffer, type StoreBufferState } from "./store-buffer.ts";

const PAGE = 4096;
const WC_BUFFERS = 4;
const STORE_DEPTH = 56;
/** A store is seen by others after this long at the latest, in ns. */
const STORE_AGE = 5000;
const NO_LINE = -1;

export type CachedBusState = {
  /** By page of RAM: the type with which it was translated last. */
  types: Uint8Array;
  /** By page of RAM: this processor has executed code of it. What it writes there does not wait, so that it sees code that it changes. */
  executed: Uint8Array;
  /** Lines in the write-combining buffers, oldest first, and which bytes of each were written. */
  combining: Int32Array;
  written: Uint32Array;
  stores: StoreBufferState;
};

export type CachedBusOptions = {
  readonly cpu: number;
  /** The way on. */
  readonly bus: CpuBus;
  readonly ram: Ram;
  readonly caches: CacheHierarchy;
  /** A store buffer in front of the caches, and the queue whose clock ages it. */
  readonly stores: EventQueue | null;
};

export class CachedBus implements CpuBus, CpuCaches, Part {
  readonly name: string;
  readonly state: CachedBusState;
  readonly caches: CpuCaches = this;
  /** Page walks do not know where RAM lies: they ask. */
  readonly plainRamEnd = 0;
  readonly #cpu: number;
  readonly #bus: CpuBus;
  readonly #ram: Ram;
  readonly #caches: CacheHierarchy;
  readonly #queue: EventQueue | null;
  readonly #stores: StoreBuffer;
  readonly #age: Alarm | null;
  readonly #line = new Uint8Array(4);
  readonly #commit = (offset: number, width: number, value: number): void => this.#storeNow(offset, width, value);
  /** RAM offset of the last {@link #find}. */
  #offset = 0;
  #page = -1;
  #pageRam = -1;
  #generation = -1;

  constructor(options: CachedBusOptions) {
    const { cpu, bus, ram, caches, stores } = options;
    this.name = `cpu${cpu} cache port`;
    this.#cpu = cpu;
    this.#bus = bus;
    this.#ram = ram;
    this.#caches = caches;
    this.#queue = stores;
    this.#stores = new StoreBuffer(STORE_DEPTH);
    this.#age = stores === null ? null : stores.alarm(`${this.name} oldest store`, () => this.#drainStores());
    this.state = {
      types: new Uint8Array(ram.size / PAGE).fill(MEMORY_TYPE.writeBack),
      executed: new Uint8Array(ram.size / PAGE),
      combining: new Int32Array(WC_BUFFERS).fill(NO_LINE),
      written: new Uint32Array(WC_BUFFERS * 2),
      stores: this.#stores.state,
    };
  }

  reset(phase: ResetPhase): void {
    if (phase !== "enter") return;
    this.state.types.fill(MEMORY_TYPE.writeBack);
    this.state.executed.fill(0);
    this.state.combining.fill(NO_LINE);
    this.state.written.fill(0);
    this.#stores.clear();
    this.#age?.cancel();
  }

  restored(): void {
    this.#page = -1;
  }

  // --- CpuBus -----------------------------------------------------------------------------------------------------------------------------------------

  get generation(): number {
    return this.#bus.generation;
  }

  get pageOffset(): number {
    return this.#bus.pageOffset;
  }

  lookup(page: number): number {
    return this.#bus.lookup(page);
  }

  read(address: PhysAddr, width: number): number {
    if (!this.#find(address)) {
      this.fence();
      return this.#bus.read(address, width);
    }
    const offset = this.#offset;
    const found = this.#stores.find(offset, width);
    if (found === FORWARD.whole) return this.#stores.value;
    if (found === FORWARD.partial) this.#drainStores();
    this.#touch(offset, width);
    return this.#ram.read(offset, width);
  }

  write(address: PhysAddr, width: number, value: number): void {
    if (!this.#find(address)) {
      this.fence();
      this.#bus.write(address, width, value);
      return;
    }
    const offset = this.#offset;
    const type = this.state.types[offset >>> 12]!;
    const waits = this.#queue !== null && (type === MEMORY_TYPE.writeBack || type === MEMORY_TYPE.writeProtected);
    if (!waits || this.state.executed[offset >>> 12] !== 0) {
      this.#drainStores();
      this.#storeNow(offset, width, value);
      return;
    }
    if (this.#stores.room === 0) this.#drainStores();
    this.#stores.push(offset, width, value, this.#queue!.clock.now());
    if (!this.#age!.armed) this.#age!.armIn(STORE_AGE);
  }

  portRead(port: number, width: number): number {
    this.fence();
    return this.#bus.portRead(port, width);
  }

  portWrite(port: number, width: number, value: number): void {
    this.fence();
    this.#bus.portWrite(port, width, value);
  }

  // --- CpuCaches --------------------------------------------------------------------------------------------------------------------------------------

  pageType(page: number, type: number): void {
    if (this.#find(page * PAGE)) this.state.types[this.#offset >>> 12] = type;
  }

  begin(bytes: number): void {
    // Twice as many as whole words, for the worst alignment.
    if (this.#stores.room < bytes / 2) this.#drainStores();
  }

  flush(address: PhysAddr): void {
    this.#drainStores();
    if (this.#find(address)) this.#caches.flush(this.#cpu, lineOf(this.#offset));
  }

  writeBack(address: PhysAddr): void {
    this.#drainStores();
    if (this.#find(address)) this.#caches.writeBackLine(this.#cpu, lineOf(this.#offset));
  }

  writeBackAndInvalidateAll(): void {
    this.fence();
    this.#caches.writeBackAndInvalidateAll(this.#cpu);
  }

  invalidateAll(): void {
    this.fence();
    this.#caches.invalidateAll();
  }

  settle(): void {
    this.#drainStores();
  }

  overlay(ramOffset: number, bytes: Uint8Array): void {
    this.#stores.overlay(ramOffset, bytes);
  }

  fetched(ramOffset: number): void {
    const page = ramOffset >>> 12;
    if (this.state.executed[page] !== 0) return;
    this.state.executed[page] = 1;
    this.#drainStores();
  }

  fence(): void {
    this.#drainStores();
    for (let i = 0; i < WC_BUFFERS; i++) if (this.state.combining[i] !== NO_LINE) this.#drainCombining(i);
  }

  // ----------------------------------------------------------------------------------------------------------------------------------------------------

  /** Sets {@link #offset} when RAM lies at `address`. */
  #find(address: PhysAddr): boolean {
    const page = Math.floor(address / PAGE);
    if (page !== this.#page || this.#generation !== this.#bus.generation) {
      this.#generation = this.#bus.generation;
      this.#page = page;
      this.#pageRam = this.#bus.lookup(page) === PAGE_KIND.ram ? this.#bus.pageOffset - this.#ram.base : -1;
    }
    if (this.#pageRam < 0) return false;
    this.#offset = this.#pageRam + (address % PAGE);
    return true;
  }

  /** What a load does to the caches. */
  #touch(offset: number, width: number): void {
    const line = lineOf(offset);
    const last = lineOf(offset + width - 1);
    const type = this.state.types[offset >>> 12]!;
    for (let one = line; one <= last; one++) {
      if (type === MEMORY_TYPE.writeCombining) this.#drainLine(one);
      else if (type === MEMORY_TYPE.uncached) this.fence();
      if (type === MEMORY_TYPE.writeCombining || type === MEMORY_TYPE.uncached) this.#caches.uncached(this.#cpu, one);
      else this.#caches.load(this.#cpu, one);
    }
  }

  /** A store reaches the caches. */
  #storeNow(offset: number, width: number, value: number): void {
    const line = lineOf(offset);
    const inLine = Math.min(width, (line + 1) * LINE_BYTES - offset);
    this.#storeInLine(line, offset, inLine, value);
    if (inLine === width) return;
    this.#storeInLine(line + 1, offset + inLine, width - inLine, value >>> (8 * inLine));
  }

  #storeInLine(line: number, offset: number, width: number, value: number): void {
    switch (this.state.types[offset >>> 12]) {
      case MEMORY_TYPE.writeBack:
      case MEMORY_TYPE.writeProtected:
        this.#caches.store(this.#cpu, line);
        break;
      case MEMORY_TYPE.writeThrough:
        for (let i = 0; i < width; i++) this.#line[i] = value >>> (8 * i);
        this.#caches.storeThrough(this.#cpu, line, offset % LINE_BYTES, this.#line, 0, width);
        break;
      case MEMORY_TYPE.writeCombining:
        this.#combine(line, offset % LINE_BYTES, width);
        break;
      default:
        this.fence();
        this.#caches.uncached(this.#cpu, line);
    }
    this.#ram.write(offset, width, value);
    if (this.state.types[offset >>> 12] === MEMORY_TYPE.writeCombining) this.#drainIfFull(line);
  }

  #combine(line: number, from: number, width: number): void {
    const { combining, written } = this.state;
    let slot = combining.indexOf(line);
    if (slot < 0) {
      this.#caches.uncached(this.#cpu, line);
      slot = combining.indexOf(NO_LINE);
      if (slot < 0) {
        this.#drainCombining(0);
        combining.copyWithin(0, 1);
        written.copyWithin(0, 2);
        slot = WC_BUFFERS - 1;
      }
      combining[slot] = line;
      written[slot * 2] = written[slot * 2 + 1] = 0;
      this.#caches.holdBack(line);
    }
    for (let i = from; i < from + width; i++) written[slot * 2 + (i >>> 5)]! |= 1 << (i & 31);
  }

  #drainIfFull(line: number): void {
    const slot = this.state.combining.indexOf(line);
    const { written } = this.state;
    if (slot >= 0 && written[slot * 2] === 0xffffffff && written[slot * 2 + 1] === 0xffffffff)
      this.#drainCombining(slot);
  }

  #drainLine(line: number): void {
    const slot = this.state.combining.indexOf(line);
    if (slot >= 0) this.#drainCombining(slot);
  }

  #drainCombining(slot: number): void {
    this.#caches.release(this.state.combining[slot]!);
    this.state.combining[slot] = NO_LINE;
  }

  #drainStores(): void {
    if (this.#stores.state.count === 0) return;
    while (this.#stores.state.count > 0) this.#stores.pop(this.#commit);
    this.#age?.cancel();
  }
}
