/**
 * For tests and benchmarks: a processor's state, 4 MiB of RAM at physical address 0, a device page at 0xFEC00000, ROM at 0x3F0000, a local APIC that
 * only remembers.
 */
import { PAGE } from "../../base/units.ts";
import { type CpuBus, PAGE_KIND } from "../../ports/cpu-bus.ts";
import type { LocalApicPort } from "../../ports/cpu-port.ts";
import type { RamView } from "../../ports/ram-view.ts";
import { Clock } from "../../sim/clock.ts";
import { Trace } from "../../sim/trace.ts";
import { CpuContext, GuestFault } from "../context.ts";
import * as L from "../layout.ts";
import { CpuModel } from "../model.ts";
import { CpuState } from "../state.ts";

export const RAM_BASE = 0x20000;
export const RAM_SIZE = 0x400000;
export const DEVICE = 0xfec00000;
export const ROM_PAGE = 0x3f0;
export const APIC_PAGE = 0xfee00;

export class FakeRam implements RamView {
  readonly bytes: Uint8Array;
  readonly base = RAM_BASE;
  readonly codePages = new Uint8Array(RAM_SIZE / PAGE);
  constructor(buffer: ArrayBuffer) {
    this.bytes = new Uint8Array(buffer, RAM_BASE, RAM_SIZE);
  }
  invalidateCode(page: number): void {
    this.codePages[page] = 0;
  }
}

export class FakeBus implements CpuBus {
  generation = 1;
  pageOffset = 0;
  lookups = 0;
  /** Every access that did not go to memory: [r or w, address, width, value]. */
  readonly log: (string | number)[][] = [];
  answer = 0x12345678;
  logging = true;
  lookup(page: number): number {
    this.lookups++;
    if (page >= RAM_SIZE / PAGE) return page === DEVICE / PAGE ? PAGE_KIND.window : PAGE_KIND.open;
    this.pageOffset = RAM_BASE + page * PAGE;
    return page === ROM_PAGE ? PAGE_KIND.rom : PAGE_KIND.ram;
  }
  read(address: number, width: number): number {
    if (this.logging) this.log.push(["r", address, width]);
    return width === 4 ? this.answer : this.answer & (2 ** (8 * width) - 1);
  }
  write(address: number, width: number, value: number): void {
    if (this.logging) this.log.push(["w", address, width, value]);
  }
  portRead(): number {
    return 0;
  }
  portWrite(): void {}
}

export class FakeApic implements LocalApicPort {
  mmioPage = APIC_PAGE;
  readonly regs = new Uint32Array(0x400);
  lastExtInt = false;
  lastSpurious = false;
  lastCause = 0;
  msrLow = 0;
  msrHigh = 0;
  apicId = 0;
  globallyEnabled = true;
  bsp = true;
  acknowledge(): number {
    return 0x30;
  }
  read(offset: number): number {
    return this.regs[offset >>> 2]!;
  }
  write(offset: number, _size: number, value: number): void {
    this.regs[offset >>> 2] = value;
  }
  readCr8(): number {
    return 0;
  }
  writeCr8(): void {}
  readMsr(): boolean {
    return false;
  }
  writeMsr(): boolean {
    return false;
  }
  initReset(): void {}
}

export class Fixture {
  readonly buffer = new ArrayBuffer(RAM_BASE + RAM_SIZE);
  readonly state = new CpuState(this.buffer, 0x1000);
  readonly bus = new FakeBus();
  readonly ram = new FakeRam(this.buffer);
  readonly apic = new FakeApic();
  readonly clock = new Clock();
  readonly trace = new Trace(this.clock);
  readonly ctx: CpuContext;
  /** Calls of the code-write hook. */
  readonly codeWrites: number[][] = [];
  readonly onCodeWrite = (page: number, offset: number, length: number): void => {
    this.codeWrites.push([page, offset, length]);
  };
  /** Address of a record that tests fill in; below the processor's area. */
  readonly record = 0x100;

  constructor(changes: readonly string[] = []) {
    const { state, bus, ram, apic, clock, trace } = this;
    const model = new CpuModel("GenuineIntel", changes);
    this.ctx = new CpuContext({ index: 0, state, bus, ram, apic, model, clock, trace });
    state.setLo(L.FLAG_OTHER, 2);
    state.set64(L.FLAG_RESULT, 1, 0);
  }

  poke(physical: number, ...words: number[]): void {
    words.forEach((word, i) => {
      this.state.view.setUint32(RAM_BASE + physical + i * 4, word, true);
    });
  }
  poke16(physical: number, value: number): void {
    this.state.view.setUint16(RAM_BASE + physical, value, true);
  }
  peek(physical: number): number {
    return this.state.view.getUint32(RAM_BASE + physical, true);
  }
  peek16(physical: number): number {
    return this.state.view.getUint16(RAM_BASE + physical, true);
  }
  /** `count` words from a physical address. */
  words(physical: number, count: number): number[] {
    return Array.from({ length: count }, (_, i) => this.peek(physical + i * 4));
  }
  gpr(n: number): number {
    return this.state.num(L.GPR + n * 8);
  }
  setGpr(n: number, value: number): void {
    this.state.setNum(L.GPR + n * 8, value);
  }

  /** A code or data descriptor at `physical`. `attr` as in SEG_ATTR; `limit` is the 20-bit field. */
  descriptor(physical: number, base: number, limit: number, attr: number): void {
    const low = (limit & 0xffff) | ((base & 0xffff) << 16);
    const high = ((base >>> 16) & 0xff) | ((attr & 0xf0ff) << 8) | (limit & 0xf0000) | (base & 0xff000000);
    this.poke(physical, low, high);
  }

  /** 4-level tables at 0x1000-0x4FFF: maps `linear` (4 KiB) to `physical` with `flags` in the last entry and US|RW|P above it. */
  map(linear: number, physical: number, flags: number, nx = false): void {
    const at = (shift: number): number => Math.floor(linear / 2 ** shift) & 0x1ff;
    this.poke(0x1000 + at(39) * 8, 0x2007, 0);
    this.poke(0x2000 + at(30) * 8, 0x3007, 0);
    const table = 0x4000 + (at(21) & 3) * 0x1000;
    this.poke(0x3000 + at(21) * 8, table | 7, 0);
    this.poke(table + at(12) * 8, (physical & -4096) | flags, Math.floor(physical / 2 ** 32) | (nx ? 1 << 31 : 0));
  }

  /** Turns 4-level paging on, with CR0.WP. */
  longPaging(cr4 = 0): void {
    const s = this.state;
    s.setLo(L.CR0, 0x80010011);
    s.setLo(L.CR3, 0x1000);
    s.setLo(L.CR4, 0x20 | cr4);
    s.setLo(L.EFER, 0xd01);
  }
}

/** What `action` raises as [vector, error], null when nothing. */
export function faultOf(action: () => unknown): [number, number] | null {
  try {
    action();
  } catch (fault) {
    if (fault instanceof GuestFault) return [fault.vector, fault.error];
    throw fault;
  }
  return null;
}
