/**
 * What a scripted core's loads and stores reach: linear addresses through its page map, then its own local APIC, RAM (directly, or through the caches of a
 * board that has them), and the bus. Page faults: Intel SDM vol. 3A, 4.7, "Page-Fault Exceptions".
 */
import { HostError } from "../../base/assert.ts";
import { hex } from "../../base/int.ts";
import { MIB, PAGE } from "../../base/units.ts";
import { type CpuBus, type CpuCaches, MEMORY_TYPE, PAGE_KIND } from "../../ports/cpu-bus.ts";
import type { LocalApicPort } from "../../ports/cpu-port.ts";
import { EVENT } from "../../ports/events.ts";
import { PageMap } from "../../ports/page-map.ts";
import type { RamView } from "../../ports/ram-view.ts";
import type { CostTable } from "../../ports/task.ts";
import type { Trace } from "../../sim/trace.ts";
import { EXC, raise, raisePageFault } from "../context.ts";

const TWO32 = 4294967296;
/** First address that is not canonical (Intel SDM vol. 1, 3.3.7.1). */
const CANONICAL_END = 2 ** 47;
/** Bits of a page fault's error code (vol. 3A, figure 4-12). */
const FAULT = { present: 1, write: 2, user: 4 } as const;
/** Largest high word of an integer that a number holds exactly. */
const EXACT_HIGH = 0x1fffff;

export type ScriptedMemoryParts = {
  readonly index: number;
  readonly bus: CpuBus;
  readonly ram: RamView;
  readonly apic: LocalApicPort;
  readonly trace: Trace;
  readonly costs: CostTable;
};

export class ScriptedMemory {
  map = new PageMap();
  /** Nanoseconds that the accesses of the present operation cost. */
  cost = 0;
  /** High word of the last {@link readPair}. */
  high = 0;
  /** All of RAM. */
  readonly view: DataView;
  readonly #p: ScriptedMemoryParts;
  readonly #codePages: Uint8Array;
  readonly #caches: CpuCaches | null;
  #generation = -1;
  /** From 1 MiB to here RAM lies at its own offset. */
  #plainEnd = 0;

  constructor(parts: ScriptedMemoryParts) {
    this.#p = parts;
    const { bytes } = parts.ram;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#codePages = parts.ram.codePages;
    this.#caches = parts.bus.caches ?? null;
  }

  /**
   * Offset in {@link view} of `bytes` (at most a page) that may be read, and written when `write` says so, without more ado; −1 when they must go
   * through {@link read} and {@link write}. Charges for `bytes` in words of 8.
   */
  direct(linear: number, bytes: number, write: boolean): number {
    if (this.#caches !== null || !this.#plain(linear) || linear + bytes > this.#plainEnd) return -1;
    const last = linear + bytes - 1;
    if (!this.#isItself(linear, last)) return -1;
    const codePages = this.#codePages;
    if (write && (codePages[Math.floor(linear / PAGE)] !== 0 || codePages[Math.floor(last / PAGE)] !== 0)) return -1;
    const { costs } = this.#p;
    this.cost += (bytes >> 3) * (write ? costs.store : costs.load);
    return linear;
  }

  /** The pages at both addresses are themselves, for everybody. Asks for marks first: that is one load, and guard pages make most maps differ. */
  #isItself(first: number, last: number): boolean {
    const { map } = this;
    if (map.userByDefault && map.isPlain(Math.floor(first / PAGE)) && map.isPlain(Math.floor(last / PAGE))) return true;
    return !map.differs;
  }

  /** Unsigned value of 1, 2, 4 or 8 bytes. Throws a guest's fault. */
  read(linear: number, width: number, user: boolean): number {
    if (width === 8) {
      const low = this.readPair(linear, user);
      if (this.high > EXACT_HIGH)
        throw new HostError(`the 8 bytes at ${hex(linear)} need more than 53 bits: load two words`, 66);
      return this.high * TWO32 + low;
    }
    if (crosses(linear, width)) return this.#readBytes(linear, width, user);
    return this.#readPhysical(this.#translate(linear, false, user), width);
  }

  /** The low word of 8 bytes; the high one is left in `high`. */
  readPair(linear: number, user: boolean): number {
    const at = this.direct(linear, 8, false);
    if (at >= 0) {
      this.high = this.view.getUint32(at + 4, true);
      return this.view.getUint32(at, true);
    }
    const low = this.read(linear, 4, user);
    this.high = this.read(linear + 4, 4, user);
    return low;
  }

  /** 8 bytes as a number, inexact above 2^53: for addresses, which are not valid there. */
  readAddress(linear: number, user: boolean): number {
    const low = this.readPair(linear, user);
    return this.high * TWO32 + low;
  }

  write(linear: number, width: number, value: number, user: boolean): void {
    if (width === 8) {
      const high = Math.floor(value / TWO32);
      this.writePair(linear, value - high * TWO32, high, user);
    } else if (crosses(linear, width)) this.#writeBytes(linear, width, value, user);
    else this.#writePhysical(this.#translate(linear, true, user), width, value);
  }

  /** Both halves can be written, or neither is. */
  writePair(linear: number, low: number, high: number, user: boolean): void {
    const at = this.direct(linear, 8, true);
    if (at >= 0) {
      this.view.setUint32(at, low, true);
      this.view.setUint32(at + 4, high, true);
      return;
    }
    if (crosses(linear, 8)) this.probe(linear, 8, user);
    this.write(linear, 4, low, user);
    this.write(linear + 4, 4, high, user);
  }

  /** Physical address of the byte at `linear`, for an operation on its cache line. */
  physical(linear: number, user: boolean): number {
    return this.#translate(linear, false, user);
  }

  /** Faults when any of the bytes cannot be written. */
  probe(linear: number, bytes: number, user: boolean): void {
    this.#translate(linear, true, user);
    if (crosses(linear, bytes)) this.#translate(linear + bytes - 1, true, user);
  }

  #translate(linear: number, write: boolean, user: boolean): number {
    const { map } = this;
    if (linear >= 0 && linear < CANONICAL_END && this.#isItself(linear, linear)) return linear;
    const entry = map.entry(Math.floor(linear / PAGE));
    if (entry === null) {
      if (linear < -CANONICAL_END || linear >= CANONICAL_END) raise(EXC.gp, 0);
      if (linear < 0) raisePageFault(faultCode(0, write, user), linear);
      if (user && !map.userByDefault) raisePageFault(faultCode(FAULT.present, write, user), linear);
      return linear;
    }
    if (entry.physicalPage < 0) raisePageFault(faultCode(0, write, user), linear);
    if ((write && !entry.writable) || (user && !entry.user))
      raisePageFault(faultCode(FAULT.present, write, user), linear);
    this.#caches?.pageType(entry.physicalPage, entry.uncached ? MEMORY_TYPE.uncached : MEMORY_TYPE.writeBack);
    return entry.physicalPage * PAGE + (linear - Math.floor(linear / PAGE) * PAGE);
  }

  #readBytes(linear: number, width: number, user: boolean): number {
    let value = 0;
    for (let i = width - 1; i >= 0; i--)
      value = value * 256 + this.#readPhysical(this.#translate(linear + i, false, user), 1);
    return value;
  }

  #writeBytes(linear: number, width: number, value: number, user: boolean): void {
    this.probe(linear, width, user);
    for (let i = 0; i < width; i++)
      this.#writePhysical(this.#translate(linear + i, true, user), 1, (value >>> (8 * i)) & 0xff);
  }

  /** `address` is RAM that lies at its own offset. */
  #plain(address: number): boolean {
    const { bus } = this.#p;
    if (bus.generation !== this.#generation) {
      this.#generation = bus.generation;
      this.#plainEnd = bus.plainRamEnd ?? 0;
    }
    return address >= MIB && address < this.#plainEnd;
  }

  /** Offset in RAM of an address, −1 when it is not RAM, −2 for ROM. */
  #ramOffset(address: number): number {
    if (this.#plain(address)) return address;
    const page = Math.floor(address / PAGE);
    const { bus, ram, apic } = this.#p;
    if (page === apic.mmioPage) return -1;
    const kind = bus.lookup(page);
    if (kind !== PAGE_KIND.ram && kind !== PAGE_KIND.rom) return -1;
    return kind === PAGE_KIND.rom ? -2 : bus.pageOffset - ram.base + (address - page * PAGE);
  }

  #readPhysical(address: number, width: number): number {
    const { costs, index, bus } = this.#p;
    const offset = this.#ramOffset(address);
    if (offset >= 0) {
      this.cost += costs.load;
      return this.#caches === null ? this.#load(offset, width) : bus.read(address, width);
    }
    this.cost += offset === -2 ? costs.load : costs.mmioRead;
    const apicOffset = this.#apicOffset(address);
    if (apicOffset < 0) return bus.read(address, width);
    const value = this.#p.apic.read(apicOffset, width) >>> 0;
    const { trace } = this.#p;
    if (trace.wants[EVENT.mmioRead] !== 0) trace.emit(EVENT.mmioRead, index, address, width, value, 0);
    return value;
  }

  #writePhysical(address: number, width: number, value: number): void {
    const { costs, index, bus } = this.#p;
    const offset = this.#ramOffset(address);
    if (offset >= 0) {
      this.cost += costs.store;
      if (this.#caches === null) this.#store(offset, width, value);
      else bus.write(address, width, value >>> 0);
      return;
    }
    this.cost += costs.mmioWrite;
    const apicOffset = this.#apicOffset(address);
    if (apicOffset < 0) bus.write(address, width, value >>> 0);
    else {
      const { trace } = this.#p;
      if (trace.wants[EVENT.mmioWrite] !== 0) trace.emit(EVENT.mmioWrite, index, address, width, value >>> 0, 0);
      this.#p.apic.write(apicOffset, width, value >>> 0);
    }
  }

  /** Offset in the local APIC's page, −1 elsewhere. */
  #apicOffset(address: number): number {
    const offset = address - this.#p.apic.mmioPage * PAGE;
    return offset >= 0 && offset < PAGE && this.#p.apic.mmioPage >= 0 ? offset : -1;
  }

  #load(offset: number, width: number): number {
    if (width === 4) return this.view.getUint32(offset, true);
    return width === 1 ? this.view.getUint8(offset) : this.view.getUint16(offset, true);
  }

  #store(offset: number, width: number, value: number): void {
    if (width === 4) this.view.setUint32(offset, value, true);
    else if (width === 1) this.view.setUint8(offset, value);
    else this.view.setUint16(offset, value, true);
    const page = offset < 0x80000000 ? offset >> 12 : Math.floor(offset / PAGE);
    if (this.#codePages[page] !== 0) this.#p.ram.invalidateCode(page);
  }
}

const faultCode = (present: number, write: boolean, user: boolean): number =>
  present | (write ? FAULT.write : 0) | (user ? FAULT.user : 0);

/** The bytes lie on two pages. */
const crosses = (linear: number, bytes: number): boolean => (linear & (PAGE - 1)) + bytes > PAGE;
