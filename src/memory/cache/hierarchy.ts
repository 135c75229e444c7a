/**
 * Caches of the processors and their coherence: a level-1 data cache per CPU and a shared, inclusive last level, lines of 64 bytes, MESI. Intel SDM vol. 3A,
 * chapter 12 "Memory Cache Control": 12.3 (memory types), 12.4 (the protocol), 12.5.5 and 12.11 (WBINVD, INVD, CLFLUSH, write combining).
 *
 * Where the bytes are. The processors' caches are coherent among themselves, so that at each instant all CPUs see the same bytes. These are what guest RAM
 * (`Ram.bytes`) holds, which is why page walks, instruction fetch and the loader need not ask here. What can differ is what lies below, in the memory chips:
 * a line that was written and not yet written back, and a line that a device has changed behind the caches' back. Such a line keeps the chips' own bytes
 * in `below`, by its slot in the last level. A write-back drops them; a clean line that goes lets them become what the CPUs see. So a device that does not
 * snoop really reads stale bytes, and a CPU really reads a stale line, at no cost for lines that are equal.
 *
 * Not modelled: hardware prefetch and speculation (a line comes only when it is used), caching of instruction fetches and page tables (they see what the CPUs
 * see), cache-as-RAM, time (who asks gets the level that served it and charges what it likes).
 */
import { assert } from "../../base/assert.ts";
import type { Part, ResetPhase } from "../../ports/part.ts";
import type { StateRecord } from "../../sim/state.ts";
import type { MemoryCopy, Ram } from "../ram.ts";
import { CacheArray, LINE_BYTES, LINE_SHIFT, MESI } from "./cache-array.ts";

export type CacheGeometry = {
  readonly l1Bytes: number;
  readonly l1Ways: number;
  readonly llcBytes: number;
  readonly llcWays: number;
};

/** 32 KiB in 8 ways per CPU, 8 MiB in 16 ways for all: what CPUID leaf 4 says of the processors. */
export const DEFAULT_GEOMETRY: CacheGeometry = { l1Bytes: 32 << 10, l1Ways: 8, llcBytes: 8 << 20, llcWays: 16 };

/** Who served an access: the own L1, the last level, another CPU's L1 (which had it modified), memory. */
export const SERVED = { l1: 0, llc: 1, otherCpu: 2, memory: 3 } as const;

/** Columns of `counts`, per CPU. */
export const COUNT = { l1: 0, llc: 1, otherCpu: 2, memory: 3, writeBacks: 4, invalidated: 5 } as const;
/** Their number. */
export const COUNTS = 6;
/** Write-combining buffers of a CPU. */
const HELD_PER_CPU = 4;

export type CacheState = {
  l1: StateRecord[];
  llc: StateRecord;
  /** By slot of the last level: it is newer than memory, L1s aside. */
  dirty: Uint8Array;
  /** By slot of the last level: `below` holds what memory has. */
  differs: Uint8Array;
  below: Uint8Array;
  /** By slot of the last level, two words: CPUs whose L1 has the line. */
  sharers: Uint32Array;
  /** How many lines differ. */
  differing: number;
  /** Lines in write-combining buffers (no line: −1), and what memory has of them. */
  held: Int32Array;
  heldBelow: Uint8Array;
  holding: number;
  /** Per CPU: see {@link COUNT}. Write-backs are charged to the CPU whose access caused them. */
  counts: Float64Array;
};

export class CacheHierarchy implements Part {
  readonly name = "caches";
  /** Memory as bus masters see it that snoop the caches, and as those see it that do not. */
  readonly snooped: MemoryCopy = this.#copies(true);
  readonly unsnooped: MemoryCopy = this.#copies(false);
  readonly state: CacheState;
  readonly #ram: Ram;
  readonly #l1: readonly CacheArray[];
  readonly #llc: CacheArray;

  /** @param cpus 1 … 64 */
  constructor(ram: Ram, cpus: number, geometry: CacheGeometry = DEFAULT_GEOMETRY) {
    assert(cpus >= 1 && cpus <= 64, `caches: ${cpus} CPUs`);
    this.#ram = ram;
    this.#l1 = Array.from({ length: cpus }, () => new CacheArray(geometry.l1Bytes, geometry.l1Ways));
    this.#llc = new CacheArray(geometry.llcBytes, geometry.llcWays);
    const { slots } = this.#llc;
    this.state = {
      l1: this.#l1.map(l1 => l1.state),
      llc: this.#llc.state,
      dirty: new Uint8Array(slots),
      differs: new Uint8Array(slots),
      below: new Uint8Array(slots * LINE_BYTES),
      sharers: new Uint32Array(slots * 2),
      differing: 0,
      held: new Int32Array(cpus * HELD_PER_CPU).fill(-1),
      heldBelow: new Uint8Array(cpus * HELD_PER_CPU * LINE_BYTES),
      holding: 0,
      counts: new Float64Array(cpus * COUNTS),
    };
  }

  #copies(snoop: boolean): MemoryCopy {
    return {
      copyOut: (offset, into, at, length) => this.dmaRead(offset, into, at, length, snoop),
      copyIn: (offset, from, at, length) => this.dmaWrite(offset, from, at, length, snoop),
    };
  }

  /** A reset leaves caches invalid (SDM vol. 3A, table 10-1): what was not written back is lost. */
  reset(phase: ResetPhase): void {
    if (phase !== "enter") return;
    this.invalidateAll();
    for (const l1 of this.#l1) l1.clear();
    this.#llc.clear();
    this.state.held.fill(-1);
    this.state.holding = 0;
    this.state.counts.fill(0);
  }

  // --- what a CPU does ------------------------------------------------------------------------------------------------------------------------------

  /** CPU `cpu` is about to read the line with write-back, write-through or write-protected type. Returns one of {@link SERVED}. */
  load(cpu: number, line: number): number {
    const l1 = this.#l1[cpu]!;
    const slot = l1.find(line);
    if (slot >= 0) {
      l1.touch(slot);
      return this.#count(cpu, SERVED.l1);
    }
    return this.#count(cpu, this.#fetch(cpu, line, false));
  }

  /** CPU `cpu` is about to write the line with write-back type: afterwards it alone has it, modified. To be called before RAM changes. */
  store(cpu: number, line: number): number {
    const l1 = this.#l1[cpu]!;
    const slot = l1.find(line);
    if (slot < 0) return this.#count(cpu, this.#fetch(cpu, line, true));
    const { mesi } = l1.state;
    if (mesi[slot] !== MESI.modified) {
      const below = this.#llc.find(line);
      if (mesi[slot] === MESI.shared) this.#dropOthers(cpu, line, below);
      this.#keepBelow(below, line);
      mesi[slot] = MESI.modified;
    }
    l1.touch(slot);
    return this.#count(cpu, SERVED.l1);
  }

  /**
   * CPU `cpu` writes through: memory changes with the line, other CPUs lose it, and a line that is in no cache stays out (SDM vol. 3A, 12.3). `bytes` are
   * the line's bytes from `from` on that change; to be called before RAM changes, which the caller does as always.
   */
  storeThrough(cpu: number, line: number, from: number, bytes: Uint8Array, at: number, length: number): number {
    const slot = this.#llc.find(line);
    if (slot < 0) return this.#count(cpu, SERVED.memory);
    this.#collect(slot, line);
    this.#dropOthers(cpu, line, slot);
    if (this.state.differs[slot] !== 0) {
      if (this.state.dirty[slot] !== 0) this.#writeBack(cpu, slot);
      else this.state.below.set(bytes.subarray(at, at + length), slot * LINE_BYTES + from);
    }
    return this.#count(cpu, this.#l1[cpu]!.find(line) >= 0 ? SERVED.l1 : SERVED.llc);
  }

  /** An access with an uncached or write-combining type: a cached copy goes first, modified bytes to memory (SDM vol. 3A, 12.12.8). */
  uncached(cpu: number, line: number): void {
    const slot = this.#llc.find(line);
    if (slot >= 0) this.#evict(cpu, slot);
  }

  /** What is written to the line from now on, which is in no cache, waits in a write-combining buffer: memory keeps what it has. */
  holdBack(line: number): void {
    const { held, heldBelow } = this.state;
    if (held.includes(line)) return;
    const slot = held.indexOf(-1);
    assert(slot >= 0, "caches: more write-combining buffers than there are");
    held[slot] = line;
    this.state.holding++;
    this.#ram.copyOut(line * LINE_BYTES, heldBelow, slot * LINE_BYTES, LINE_BYTES);
  }

  /** The buffer is drained. */
  release(line: number): void {
    const slot = this.state.held.indexOf(line);
    if (slot < 0) return;
    this.state.held[slot] = -1;
    this.state.holding--;
  }

  /** CLFLUSH, CLFLUSHOPT: written back when modified, gone from all caches. */
  flush(cpu: number, line: number): void {
    const slot = this.#llc.find(line);
    if (slot >= 0) this.#evict(cpu, slot);
  }

  /** CLWB: written back when modified; it may stay, and does. */
  writeBackLine(cpu: number, line: number): void {
    const slot = this.#llc.find(line);
    if (slot < 0) return;
    this.#collect(slot, line);
    if (this.state.dirty[slot] !== 0) this.#writeBack(cpu, slot);
  }

  /** WBINVD: everything modified to memory, then all caches of all CPUs empty (the last level is shared). */
  writeBackAndInvalidateAll(cpu: number): void {
    const { mesi } = this.#llc.state;
    for (let slot = 0; slot < this.#llc.slots; slot++) if (mesi[slot] !== MESI.invalid) this.#evict(cpu, slot);
  }

  /** INVD: all caches empty, what was not written back is lost. */
  invalidateAll(): void {
    const { mesi, lines } = this.#llc.state;
    for (let slot = 0; slot < this.#llc.slots; slot++) {
      if (mesi[slot] === MESI.invalid) continue;
      this.#dropOthers(-1, lines[slot]!, slot);
      this.#surface(slot, lines[slot]!);
      this.state.dirty[slot] = 0;
      mesi[slot] = MESI.invalid;
    }
  }

  // --- what a device does ---------------------------------------------------------------------------------------------------------------------------

  /**
   * A bus master reads `length` bytes from RAM offset `offset`. Snooping: modified lines are written back and then shared, so that it gets the newest
   * bytes. Not snooping: it gets what memory has.
   */
  dmaRead(offset: number, into: Uint8Array, at: number, length: number, snoop: boolean): void {
    this.#ram.copyOut(offset, into, at, length);
    if (this.state.holding > 0) this.#readHeld(offset, into, at, length);
    if (this.state.differing === 0) return;
    const { differs, dirty, below } = this.state;
    for (let done = 0; done < length; ) {
      const line = Math.floor((offset + done) / LINE_BYTES);
      const within = (offset + done) % LINE_BYTES;
      const span = Math.min(LINE_BYTES - within, length - done);
      const slot = this.#llc.find(line);
      if (slot >= 0 && differs[slot] !== 0) {
        if (snoop) this.#collect(slot, line);
        if (snoop && dirty[slot] !== 0) this.#writeBack(-1, slot);
        // Still there: nobody snooped, or memory was changed behind a clean line, which no cache supplies.
        if (differs[slot] !== 0) {
          const from = slot * LINE_BYTES + within;
          into.set(below.subarray(from, from + span), at + done);
        }
      }
      done += span;
    }
  }

  /** Lines in write-combining buffers: nobody can snoop these. */
  #readHeld(offset: number, into: Uint8Array, at: number, length: number): void {
    const { held, heldBelow } = this.state;
    for (let slot = 0; slot < held.length; slot++) {
      const start = held[slot]! * LINE_BYTES;
      const from = Math.max(offset, start);
      const end = Math.min(offset + length, start + LINE_BYTES);
      if (held[slot] === -1 || from >= end) continue;
      const below = slot * LINE_BYTES + from - start;
      into.set(heldBelow.subarray(below, below + end - from), at + from - offset);
    }
  }

  /**
   * A bus master writes. Snooping: cached copies go, those modified only after their bytes went to memory. Not snooping: caches keep what they have.
   * Decision: a write-combining buffer of the line is drained first.
   */
  dmaWrite(offset: number, from: Uint8Array, at: number, length: number, snoop: boolean): void {
    for (let done = 0; done < length; ) {
      const line = Math.floor((offset + done) / LINE_BYTES);
      const within = (offset + done) % LINE_BYTES;
      const span = Math.min(LINE_BYTES - within, length - done);
      const slot = this.#llc.find(line);
      if (this.state.holding > 0) this.release(line);
      if (slot >= 0 && snoop) this.#evict(-1, slot);
      if (slot < 0 || snoop) this.#ram.copyIn(offset + done, from, at + done, span);
      else {
        this.#keepBelow(slot, line);
        this.state.below.set(from.subarray(at + done, at + done + span), slot * LINE_BYTES + within);
      }
      done += span;
    }
  }

  // --- for debuggers, checkers and tests -----------------------------------------------------------------------------------------------------------

  /** State of a line in a CPU's L1: one of {@link MESI}. */
  mesiOf(cpu: number, line: number): number {
    const l1 = this.#l1[cpu]!;
    const slot = l1.find(line);
    return slot < 0 ? MESI.invalid : l1.state.mesi[slot]!;
  }

  /** The line is in the last level (which includes all L1s). */
  isCached(line: number): boolean {
    return this.#llc.find(line) >= 0;
  }

  /** Byte that the memory chips have at RAM offset `offset`. */
  memoryByte(offset: number): number {
    const held = this.state.held.indexOf(Math.floor(offset / LINE_BYTES));
    if (held >= 0) return this.state.heldBelow[held * LINE_BYTES + (offset % LINE_BYTES)]!;
    const slot = this.#llc.find(Math.floor(offset / LINE_BYTES));
    if (slot < 0 || this.state.differs[slot] === 0) return this.#ram.bytes[offset]!;
    return this.state.below[slot * LINE_BYTES + (offset % LINE_BYTES)]!;
  }

  // --- coherence ------------------------------------------------------------------------------------------------------------------------------------

  #count(cpu: number, served: number): number {
    this.state.counts[cpu * COUNTS + served]!++;
    return served;
  }

  /** Brings a line into the L1 of `cpu`, modified or as the others allow. */
  #fetch(cpu: number, line: number, write: boolean): number {
    const { sharers } = this.state;
    let served: number = SERVED.llc;
    let slot = this.#llc.find(line);
    if (slot < 0) {
      slot = this.#llc.victim(line);
      if (this.#llc.state.mesi[slot] !== MESI.invalid) this.#evict(cpu, slot);
      this.#llc.put(slot, line, MESI.exclusive);
      served = SERVED.memory;
    } else {
      this.#llc.touch(slot);
      if (this.#collect(slot, line)) served = SERVED.otherCpu;
      if (write) this.#dropOthers(cpu, line, slot);
    }
    if (write) this.#keepBelow(slot, line);
    const alone = sharers[slot * 2] === 0 && sharers[slot * 2 + 1] === 0;
    this.#fillL1(cpu, line, write ? MESI.modified : alone ? MESI.exclusive : MESI.shared);
    sharers[slot * 2 + (cpu >> 5)]! |= 1 << (cpu & 31);
    return served;
  }

  #fillL1(cpu: number, line: number, mesi: number): void {
    const l1 = this.#l1[cpu]!;
    const slot = l1.victim(line);
    const { lines, mesi: states } = l1.state;
    if (states[slot] !== MESI.invalid) {
      const old = this.#llc.find(lines[slot]!);
      assert(old >= 0, "caches: a line of an L1 is not in the last level");
      if (states[slot] === MESI.modified) this.state.dirty[old] = 1;
      this.state.sharers[old * 2 + (cpu >> 5)]! &= ~(1 << (cpu & 31));
    }
    l1.put(slot, line, mesi);
  }

  /** Whoever has the line exclusive or modified shares it from now on; modified bytes come to the last level. True when somebody had it modified. */
  #collect(slot: number, line: number): boolean {
    let modified = false;
    for (let half = 0; half < 2; half++) {
      for (let bits = this.state.sharers[slot * 2 + half]!; bits !== 0; bits &= bits - 1) {
        const l1 = this.#l1[half * 32 + 31 - Math.clz32(bits & -bits)]!;
        const there = l1.find(line);
        if (l1.state.mesi[there] === MESI.modified) modified = true;
        l1.state.mesi[there] = MESI.shared;
      }
    }
    if (modified) this.state.dirty[slot] = 1;
    return modified;
  }

  /** All L1s but that of `cpu` (−1: all) lose the line; modified bytes come to the last level. */
  #dropOthers(cpu: number, line: number, slot: number): void {
    const { sharers, counts, dirty } = this.state;
    for (let half = 0; half < 2; half++) {
      for (let bits = sharers[slot * 2 + half]!; bits !== 0; bits &= bits - 1) {
        const other = half * 32 + 31 - Math.clz32(bits & -bits);
        if (other === cpu) continue;
        const l1 = this.#l1[other]!;
        const there = l1.find(line);
        if (l1.state.mesi[there] === MESI.modified) dirty[slot] = 1;
        l1.state.mesi[there] = MESI.invalid;
        counts[other * COUNTS + COUNT.invalidated]!++;
        sharers[slot * 2 + half]! &= ~(1 << (other & 31));
      }
    }
  }

  /** The line leaves all caches, modified bytes to memory. */
  #evict(cpu: number, slot: number): void {
    const line = this.#llc.state.lines[slot]!;
    this.#dropOthers(-1, line, slot);
    if (this.state.dirty[slot] !== 0) this.#writeBack(cpu, slot);
    else this.#surface(slot, line);
    this.#llc.state.mesi[slot] = MESI.invalid;
  }

  /** Memory gets the line's bytes. */
  #writeBack(cpu: number, slot: number): void {
    this.state.dirty[slot] = 0;
    this.#equal(slot);
    if (cpu >= 0) this.state.counts[cpu * COUNTS + COUNT.writeBacks]!++;
  }

  /** A line that was not written goes: from now on the CPUs see what memory has. */
  #surface(slot: number, line: number): void {
    if (this.state.differs[slot] === 0) return;
    this.#ram.copyIn(line * LINE_BYTES, this.state.below, slot * LINE_BYTES, LINE_BYTES);
    this.#equal(slot);
  }

  /** From now on memory may differ from what the CPUs see. */
  #keepBelow(slot: number, line: number): void {
    const { differs, below } = this.state;
    if (differs[slot] !== 0) return;
    differs[slot] = 1;
    this.state.differing++;
    this.#ram.copyOut(line * LINE_BYTES, below, slot * LINE_BYTES, LINE_BYTES);
  }

  #equal(slot: number): void {
    if (this.state.differs[slot] === 0) return;
    this.state.differs[slot] = 0;
    this.state.differing--;
  }
}

/** Line that RAM offset `offset` lies in. */
export const lineOf = (offset: number): number =>
  offset < 0x80000000 ? offset >> LINE_SHIFT : Math.floor(offset / LINE_BYTES);
