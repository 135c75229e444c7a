/**
 * The emulated side: a processor at CPL 3 with the harness's pages and nothing else, as a program of Linux sees them. Exceptions are noted, not delivered.
 */
import { CpuFixture } from "../../src/cpu/cpu-fixture.ts";
import { X87_LAYOUT } from "../../src/cpu/fpu/x87-state.ts";
import * as L from "../../src/cpu/layout.ts";
import { CpuModel } from "../../src/cpu/model.ts";
import { FLAG } from "../../src/cpu/state.ts";
import {
  type Bits,
  CODE,
  codeBase,
  DATA,
  DATA_BYTES,
  IN,
  OPTION,
  OUT,
  RETIRED,
  START,
  WINDOW,
  WINDOW_BYTES,
} from "./records.ts";

/** Physical address of the page tables; not mapped. */
const TABLES = 0x8000;
const PRESENT = 7;
const NX = 0x80000000;
/** A REP instruction is run until RIP leaves it; none of ours takes longer. */
const MAX_RUNS = 1000;
/** Features of the host that the default model lacks, and that some rows need. */
const FEATURES = ["+movbe", "+abm"];

export class Emulator {
  readonly fixture = new CpuFixture(new CpuModel("GenuineIntel", FEATURES));
  readonly bits: Bits;
  readonly #view: DataView;
  readonly #x87: DataView;
  /** RIP of the instruction. */
  readonly #start: number;
  #vector = RETIRED;
  #error = 0;
  #address = 0;

  constructor(bits: Bits) {
    this.bits = bits;
    this.#start = START - codeBase(bits);
    const { s, cpu, engine, ram } = this.fixture;
    this.#view = new DataView(engine.buffer, ram.base, ram.bytes.length);
    this.#x87 = new DataView(engine.buffer, s.base + L.X87, X87_LAYOUT.size);
    ram.bytes.fill(0xcc, CODE, CODE + 0x2000);
    s.setLo(L.CPL, 3);
    if (bits === 64) this.#long();
    else this.#protected();
    // No exception is delivered.
    s.setLo(L.IDTR_LIMIT, 0);
    cpu.restored();
    cpu.units.events.exception = (vector, error, address) => {
      this.#vector = vector;
      this.#error = Math.max(0, error);
      this.#address = vector === 14 ? address : 0;
      cpu.stop();
    };
    // INTO is a trap: RIP points behind it.
    cpu.units.delivery.softwareInterrupt = (vector, _kind, nextRip) => {
      this.#vector = vector;
      s.setNum(L.RIP, nextRip);
      cpu.stop();
    };
  }

  #segment(seg: number, selector: number, attributes: number, base = 0, limit = -1): void {
    const { s } = this.fixture;
    s.setLo(L.SEG_SELECTOR + seg * 4, selector);
    s.set64(L.SEG_BASE + seg * 8, base, 0);
    if (seg < 4) s.setLo(L.SEG_HIDDEN_BASE + seg * 4, base);
    s.setLo(L.SEG_LIMIT + seg * 4, limit);
    s.setLo(L.SEG_ATTR + seg * 4, attributes);
  }

  /** 64-bit code, 4-level paging, NX: like Linux. */
  #long(): void {
    const { s } = this.fixture;
    const v = this.#view;
    const entry = (table: number, index: number, low: number, high = 0): void => {
      v.setUint32(table + index * 8, low, true);
      v.setUint32(table + index * 8 + 4, high, true);
    };
    entry(TABLES, 0, (TABLES + 0x1000) | PRESENT);
    entry(TABLES + 0x1000, 0, (TABLES + 0x2000) | PRESENT);
    entry(TABLES + 0x2000, CODE >>> 21, (TABLES + 0x3000) | PRESENT);
    for (const page of [0, 1]) {
      entry(TABLES + 0x3000, ((CODE >>> 12) & 511) + page, (CODE + page * 4096) | PRESENT);
      entry(TABLES + 0x3000, ((DATA >>> 12) & 511) + page, (DATA + page * 4096) | PRESENT, NX);
    }
    s.set64(L.CR3, TABLES, 0);
    s.setLo(L.CR4, 0x620);
    s.setLo(L.EFER, 0xd01);
    s.setLo(L.CR0, 0x80040033 | 0);
    this.#segment(L.SEG.cs, 0x33, 0xa0fb);
    this.#segment(L.SEG.ss, 0x2b, 0xc0f3);
    for (const seg of [0, 3, 4, 5]) this.#segment(seg, 0, L.ATTR_UNUSABLE, seg === L.SEG.gs ? DATA : 0);
  }

  /** 32-bit code, PAE with NX, flat but for FS: like Linux; or 16-bit code. */
  #protected(): void {
    const { s } = this.fixture;
    const v = this.#view;
    v.setUint32(TABLES, (TABLES + 0x1000) | 1, true);
    v.setUint32(TABLES + 0x1000 + (CODE >>> 21) * 8, (TABLES + 0x2000) | PRESENT, true);
    for (const page of [0, 1]) {
      v.setUint32(TABLES + 0x2000 + (((CODE >>> 12) & 511) + page) * 8, (CODE + page * 4096) | PRESENT, true);
      const data = TABLES + 0x2000 + (((DATA >>> 12) & 511) + page) * 8;
      v.setUint32(data, (DATA + page * 4096) | PRESENT, true);
      v.setUint32(data + 4, NX, true);
    }
    s.set64(L.CR3, TABLES, 0);
    s.set64(L.PDPTE, (TABLES + 0x1000) | 1, 0);
    s.setLo(L.CR4, 0x620);
    s.setLo(L.EFER, 0x801);
    s.setLo(L.CR0, 0x80040033 | 0);
    this.#segment(L.SEG.cs, 0x23, 0xc0fb);
    for (const seg of [0, 2, 3, 5]) this.#segment(seg, 0x2b, 0xc0f3);
    this.#segment(L.SEG.fs, 7, 0x40f3, DATA, 0xffff);
    if (this.bits === 32) return;
    this.#segment(L.SEG.cs, 0xf, 0xfb, CODE, 0xffff);
    this.#segment(L.SEG.ss, 0x17, 0xf3, DATA, 0xffff);
    this.#segment(L.SEG.ds, 7, 0x40f3, DATA, 0xffff);
  }

  /** Makes all accesses take the slow path again. */
  flush(): void {
    this.fixture.cpu.mmu.tlb.flushAll();
  }

  /** Runs the case at `from` in `input`, of so many instructions, and writes its result at `to` in `output`. */
  run(input: DataView, from: number, output: DataView, to: number, instructions = 1): void {
    const { s, cpu } = this.fixture;
    this.#give(input, from);
    this.#vector = RETIRED;
    this.#error = 0;
    this.#address = 0;
    for (let n = 0; n < MAX_RUNS; n++) {
      cpu.run(instructions);
      if (this.#vector !== RETIRED || s.num(L.RIP) !== this.#start) break;
    }
    this.#take(output, to);
  }

  #give(input: DataView, from: number): void {
    const { s, ram, engine } = this.fixture;
    const bytes = new Uint8Array(input.buffer, input.byteOffset + from, IN.size);
    ram.bytes.set(bytes.subarray(0, 15), START);
    engine.written(START >>> 12, START & 0xfff, 15);
    ram.bytes.set(bytes.subarray(IN.data, IN.data + WINDOW_BYTES), WINDOW);
    s.u8.set(bytes.subarray(IN.gpr, IN.gpr + 128), s.base + L.GPR);
    if (this.bits !== 64) {
      const es = (input.getUint32(from + IN.options, true) & OPTION.es) !== 0;
      if (es) this.#segment(L.SEG.es, 7, 0x40f3, DATA, 0xffff);
      else this.#segment(L.SEG.es, 0x2b, 0xc0f3);
      this.fixture.cpu.units.seg.recompute();
    }
    s.u8.set(bytes.subarray(IN.xmm, IN.xmm + 256), s.base + L.XMM);
    s.setLo(L.MXCSR, input.getUint32(from + IN.mxcsr, true));
    s.eflags = (input.getUint32(from + IN.flags, true) & ~FLAG.rf) | FLAG.if | 2;
    const x87 = this.#x87;
    x87.setUint16(X87_LAYOUT.controlWord, 0x37f, true);
    x87.setUint16(X87_LAYOUT.statusWord, 0, true);
    x87.setUint16(X87_LAYOUT.tagWord, 0xffff, true);
    s.u8.set(bytes.subarray(IN.st, IN.st + 128), s.base + L.X87);
    s.setNum(L.RIP, this.#start);
  }

  #take(output: DataView, to: number): void {
    const { s, ram } = this.fixture;
    const bytes = new Uint8Array(output.buffer, output.byteOffset + to, OUT.size);
    bytes.set(s.u8.subarray(s.base + L.GPR, s.base + L.GPR + 128), OUT.gpr);
    output.setUint32(to + OUT.rip, s.lo(L.RIP), true);
    output.setUint32(to + OUT.rip + 4, s.hi(L.RIP), true);
    output.setUint32(to + OUT.flags, s.eflags, true);
    output.setBigInt64(to + OUT.cr2, BigInt(this.#address), true);
    output.setUint32(to + OUT.vector, this.#vector, true);
    output.setUint32(to + OUT.error, this.#error, true);
    output.setUint32(to + OUT.mxcsr, s.lo(L.MXCSR), true);
    const x87 = this.#x87;
    output.setUint16(to + OUT.status, x87.getUint16(X87_LAYOUT.statusWord, true), true);
    const tags = x87.getUint16(X87_LAYOUT.tagWord, true);
    let full = 0;
    for (let i = 0; i < 8; i++) if (((tags >>> (i * 2)) & 3) !== 3) full |= 1 << i;
    output.setUint16(to + OUT.tags, full, true);
    bytes.set(s.u8.subarray(s.base + L.XMM, s.base + L.XMM + 256), OUT.xmm);
    bytes.set(s.u8.subarray(s.base + L.X87, s.base + L.X87 + 128), OUT.st);
    bytes.set(ram.bytes.subarray(WINDOW, WINDOW + WINDOW_BYTES), OUT.data);
    ram.bytes.fill(0, WINDOW, WINDOW + WINDOW_BYTES);
    output.setUint32(to + OUT.stray, this.#stray(), true);
  }

  /** As in harness.c: what was written to the data pages beside the window. */
  #stray(): number {
    const { s, ram } = this.fixture;
    const first = (ram.base + DATA) >>> 2;
    const words = s.u32;
    let sum = 0;
    for (let i = 0; i < DATA_BYTES / 4; i++) {
      const word = words[first + i]!;
      if (word === 0) continue;
      sum = (sum + Math.imul(word, 2 * i + 1)) >>> 0;
      words[first + i] = 0;
    }
    return sum;
  }
}
