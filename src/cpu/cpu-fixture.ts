/**
 * For tests: one processor with RAM and nothing else, flat 64-, 32- or 16-bit code, no paging tables unless the test makes them.
 */
import { type CpuBus, PAGE_KIND } from "../ports/cpu-bus.ts";
import type { RamView } from "../ports/ram-view.ts";
import { Clock } from "../sim/clock.ts";
import { Trace } from "../sim/trace.ts";
import { X86Cpu } from "./cpu.ts";
import { codePagesOffset, Engine, engineBytes } from "./engine.ts";
import * as L from "./layout.ts";
import { CpuModel } from "./model.ts";
import type { CpuState } from "./state.ts";
import { FakeApic } from "./system/mmu-fixture.ts";

export const RAM_BYTES = 16 * 1024 * 1024;
/** Page tables of {@link CpuFixture.longMode}: identity, 1 GiB in pages of 2 MiB. */
const TABLES = 0x8000;

/** RAM from physical address 0. */
class PlainRam implements RamView {
  readonly bytes: Uint8Array;
  readonly base: number;
  readonly codePages: Uint8Array;
  constructor(buffer: ArrayBuffer, base: number, size: number) {
    this.bytes = new Uint8Array(buffer, base, size);
    this.base = base;
    this.codePages = new Uint8Array(buffer, codePagesOffset(1), size / 4096);
  }
  invalidateCode(): void {}
}

/** RAM, and behind it a device that answers with the low bits of the address; ports answer with their number. */
export class PlainBus implements CpuBus {
  readonly generation = 1;
  pageOffset = 0;
  /** Writes to ports and device memory: [address, width, value]. */
  readonly writes: [number, number, number][] = [];
  readonly #ram: PlainRam;
  constructor(ram: PlainRam) {
    this.#ram = ram;
  }
  get plainRamEnd(): number {
    return this.#ram.bytes.length;
  }
  lookup(page: number): number {
    if (page >= this.#ram.codePages.length) return PAGE_KIND.window;
    this.pageOffset = this.#ram.base + page * 4096;
    return PAGE_KIND.ram;
  }
  read(address: number, width: number): number {
    return address % 2 ** (8 * width);
  }
  write(address: number, width: number, value: number): void {
    this.writes.push([address, width, value]);
  }
  portRead(port: number, width: number): number {
    return port % 2 ** (8 * width);
  }
  portWrite(port: number, width: number, value: number): void {
    this.writes.push([port, width, value]);
  }
}

export class CpuFixture {
  readonly engine: Engine;
  readonly cpu: X86Cpu;
  readonly s: CpuState;
  readonly ram: PlainRam;
  readonly bus: PlainBus;
  readonly apic = new FakeApic();

  constructor(model = new CpuModel(), ramBytes = RAM_BYTES, bsp = true) {
    const base = engineBytes(1, ramBytes);
    const pages = (base + ramBytes) / 65536;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.ram = new PlainRam(memory.buffer, base, ramBytes);
    this.bus = new PlainBus(this.ram);
    this.engine = new Engine(memory, 1, this.ram, model);
    const clock = new Clock();
    this.cpu = new X86Cpu({
      engine: this.engine,
      cpus: 1,
      bsp,
      index: 0,
      bus: this.bus,
      ram: this.ram,
      apic: this.apic,
      model,
      clock,
      trace: new Trace(clock),
    });
    this.cpu.reset("enter", "power");
    this.s = this.cpu.ctx.state;
  }

  /** Puts bytes into RAM. */
  load(address: number, bytes: ArrayLike<number>): void {
    this.ram.bytes.set(bytes, address);
  }

  #flat(attrCode: number): void {
    const s = this.s;
    for (let seg = 0; seg < 6; seg++) {
      s.setLo(L.SEG_SELECTOR + seg * 4, seg === 1 ? 8 : 16);
      s.set64(L.SEG_BASE + seg * 8, 0, 0);
      if (seg < 4) s.setLo(L.SEG_HIDDEN_BASE + seg * 4, 0);
      s.setLo(L.SEG_LIMIT + seg * 4, -1);
      s.setLo(L.SEG_ATTR + seg * 4, seg === 1 ? attrCode : 0xc093);
    }
  }

  /** 16-bit real mode with all segments at 0. */
  realMode(): void {
    const s = this.s;
    for (let seg = 0; seg < 6; seg++) {
      s.setLo(L.SEG_SELECTOR + seg * 4, 0);
      s.set64(L.SEG_BASE + seg * 8, 0, 0);
      if (seg < 4) s.setLo(L.SEG_HIDDEN_BASE + seg * 4, 0);
      s.setLo(L.SEG_LIMIT + seg * 4, 0xffff);
      s.setLo(L.SEG_ATTR + seg * 4, 0x93);
    }
    this.cpu.restored();
  }

  /** 32-bit protected mode, flat, ring 0, no paging. */
  protectedMode(): void {
    this.s.setLo(L.CR0, 0x11);
    this.s.setLo(L.CR4, 0x200);
    this.#flat(0xc09b);
    this.cpu.restored();
  }

  /** 64-bit mode, ring 0, identity-mapped. */
  longMode(): void {
    const s = this.s;
    const v = new DataView(this.engine.buffer, this.ram.base);
    v.setUint32(TABLES, (TABLES + 0x1000) | 7, true);
    v.setUint32(TABLES + 0x1000, (TABLES + 0x2000) | 7, true);
    for (let i = 0; i < 512; i++) v.setUint32(TABLES + 0x2000 + i * 8, (i * 0x200000) | 0x87, true);
    s.set64(L.CR3, TABLES, 0);
    s.setLo(L.CR4, 0x620);
    s.setLo(L.EFER, 0xd01);
    s.setLo(L.CR0, 0x80000011 | 0);
    this.#flat(0xa09b);
    this.cpu.restored();
  }

  /** Runs `code` at `address` until `count` instructions have retired or it halts. Returns how many did. */
  run(address: number, code: ArrayLike<number>, count: number): number {
    this.load(address, code);
    this.s.setNum(L.RIP, address);
    return this.cpu.run(count);
  }

  reg(n: number): bigint {
    return this.s.big(n * 8);
  }
}
