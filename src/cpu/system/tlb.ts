/**
 * One processor's translation lookaside buffers, in the bytes that generated code looks at (cpu/layout.ts): Intel SDM vol. 3A, section 4.10.
 *
 * An entry holds two tags. A tag that equals the page lets generated code touch RAM at once; NO_TAG sends it to the slow path, which finds the same
 * entry's other fields, so that device registers and pages with decoded code need no second walk of the page tables.
 *
 * A flush clears the slots that were filled since the last one, from a log; global pages are not in the log. Not modelled: PCIDs (every write of CR3
 * drops all pages that are not global, which the manual allows), paging-structure caches.
 */
import { PAGE } from "../../base/units.ts";
import { PAGE_KIND } from "../../ports/cpu-bus.ts";
import type { CpuContext } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG, MODE } from "../state.ts";
import { CR0, CR4 } from "./control-bits.ts";

/** Bits of an entry's flags word. Bits 31:28 hold bits 35:32 of the linear page number. */
export const ENTRY = {
  read: 1,
  /** Writing is permitted and the dirty bit is set already. */
  write: 2,
  /** The page lies in RAM: addend is valid. */
  ram: 4,
  /** The page lies in ROM: addend is valid for reads. */
  rom: 8,
  global: 16,
  /** Cut out of a page of 2 MiB or more. */
  large: 32,
  /** A data breakpoint on writes (on reads and writes) lies in the page: never write (or read) it without looking. */
  watchWrite: 64,
  watchRead: 128,
  /** Cut out of a page of 1 GiB. */
  huge: 256,
} as const;

const DATA_WORDS = L.DTLB_ENTRY / 4;
const CODE_WORDS = L.ITLB_ENTRY / 4;
const DATA_BANK = L.DTLB_ENTRIES * L.DTLB_ENTRY;
const CODE_BANK = L.ITLB_ENTRIES * L.ITLB_ENTRY;
const FLAGS = L.DTLB.flags / 4;
const PHYSICAL = L.DTLB.physical / 4;
const ADDEND = L.DTLB.addend / 4;
const LINEAR = L.DTLB.page / 4;
const WRITE_TAG = L.DTLB.tagWrite / 4;
const CODE_FLAGS = 3;
const LOG_SIZE = L.TLB_LOG_SIZE;
const TWO32 = 4294967296;
const LARGE_MAP = L.LARGE_MAP_SIZE;

/** Banks of the code TLB. */
const CODE = { supervisor: 0, supervisorLegacy: 1, user: 2, userLegacy: 3 } as const;

/** Bits 35:32 of a (signed) page number, shifted to bits 31:28. */
const highPart = (page: number): number => Math.floor(page / TWO32) << 28;

/** Contents of a {@link Tlb} in a snapshot. */
export type TlbState = { data: Uint8Array; log: Uint8Array; code: Float64Array; legacy: Float64Array };

export class Tlb {
  /** Bank whose entries the present privilege uses in the slow path (never `strict`). */
  bank: number = L.BANK.supervisor;
  /** Bank for implicit supervisor accesses (descriptor tables, TSS): these ignore EFLAGS.AC (SDM vol. 3A, 4.6.1). */
  systemBank: number = L.BANK.supervisor;
  /** Alignment checking is in force (CR0.AM, EFLAGS.AC, CPL 3). */
  strict = false;
  /** Of the last translation for execution, for {@link fillCode}: ENTRY.global, ENTRY.large. */
  codeFlags = 0;
  /** False: generated code leaves all page walks to TypeScript, which gives the same entries and knows of watches besides. */
  generatedWalks = true;
  readonly #ctx: CpuContext;
  readonly #u32: Uint32Array;
  readonly #i32: Int32Array;
  /** Word index of bank 0. */
  readonly #data: number;
  readonly #code: number;
  /** What was filled since the last flush, in the shared memory because generated code fills, too. */
  readonly #log: Int32Array;
  readonly #dataLog: Int32Array;
  readonly #codeLog: Int32Array;
  /** One byte per 2 MiB of linear space (modulo LARGE_MAP_SIZE): pieces of large pages were filled there. */
  readonly #largeMap: Uint8Array;
  #generation = -1;
  /** What the legacy banks of the code TLB hold: code mode, and limit of CS. */
  readonly #legacy = new Float64Array([-1, 0]);

  constructor(ctx: CpuContext) {
    this.#ctx = ctx;
    this.#u32 = ctx.state.u32;
    this.#i32 = ctx.state.i32;
    this.#data = (ctx.state.base + L.DTLB_OFFSET) >>> 2;
    this.#code = (ctx.state.base + L.ITLB_OFFSET) >>> 2;
    const { buffer } = ctx.state.view;
    const log = ctx.state.base + L.TLB_LOG_OFFSET;
    this.#log = new Int32Array(buffer, log, 4);
    this.#dataLog = new Int32Array(buffer, log + L.TLB_LOG.data, LOG_SIZE);
    this.#codeLog = new Int32Array(buffer, log + L.TLB_LOG.code, LOG_SIZE);
    this.#largeMap = new Uint8Array(buffer, log + L.TLB_LOG.largeMap, LARGE_MAP);
    this.flushAll();
    this.selectBank();
  }

  get #dataCount(): number {
    return this.#log[0]!;
  }
  set #dataCount(value: number) {
    this.#log[0] = value;
  }
  get #codeCount(): number {
    return this.#log[1]!;
  }
  set #codeCount(value: number) {
    this.#log[1] = value;
  }

  /** Chooses the banks for the present CPL, EFLAGS.AC, CR0.AM and CR4.SMAP. To be called after any of these changed. */
  selectBank(): void {
    const s = this.#ctx.state;
    const user = s.int(L.CPL) === 3;
    const ac = (s.int(L.FLAG_OTHER) & FLAG.ac) !== 0;
    const smap = (s.int(L.CR4) & CR4.smap) !== 0;
    this.systemBank = smap ? L.BANK.supervisorSmap : L.BANK.supervisor;
    this.bank = user ? L.BANK.user : ac ? L.BANK.supervisor : this.systemBank;
    this.strict = user && ac && (s.int(L.CR0) & CR0.am) !== 0;
    const data = this.strict ? L.BANK.strict : this.bank;
    s.setLo(L.DTLB_BASE, s.base + L.DTLB_OFFSET + data * DATA_BANK);
    const long = s.int(L.CODE_MODE) === MODE.code64;
    const code = user ? (long ? CODE.user : CODE.userLegacy) : long ? CODE.supervisor : CODE.supervisorLegacy;
    s.setLo(L.ITLB_BASE, s.base + L.ITLB_OFFSET + code * CODE_BANK);
  }

  /**
   * The kind of code has changed, or the segment that it lies in. Decoded code is found by its address alone, so that legacy code of another kind, or
   * with another limit, must be looked up anew. 64-bit code has banks of its own.
   */
  selectCode(): void {
    const s = this.#ctx.state;
    const mode = s.int(L.CODE_MODE);
    if (mode === MODE.code64) return;
    const limit = s.segLimit(L.SEG.cs);
    const legacy = this.#legacy;
    if (legacy[0] === mode && legacy[1] === limit) return;
    legacy[0] = mode;
    legacy[1] = limit;
    for (const bank of [CODE.supervisorLegacy, CODE.userLegacy]) {
      const first = this.#code + (bank * CODE_BANK) / 4;
      for (let e = first; e < first + CODE_BANK / 4; e += CODE_WORDS) this.#clearCode(e);
    }
  }

  /** Bank of explicit accesses at privilege `cpl`, which need not be the present one. */
  bankOf(cpl: number): number {
    if (cpl === 3) return L.BANK.user;
    return (this.#ctx.state.int(L.FLAG_OTHER) & FLAG.ac) !== 0 ? L.BANK.supervisor : this.systemBank;
  }

  /** Word index of the slot of a page (linear / 4096, signed) in a data bank. */
  slot(bank: number, page: number): number {
    const low = page | 0;
    return this.#data + bank * (DATA_BANK / 4) + ((low + (low >>> 9)) & (L.DTLB_ENTRIES - 1)) * DATA_WORDS;
  }

  /** Word index of the entry that translates an address, −1 when there is none. */
  find(bank: number, linear: number): number {
    return this.findWords(bank, linear | 0, Math.floor(linear / TWO32) | 0);
  }

  /** The same for an address in two words. */
  findWords(bank: number, low: number, high: number): number {
    const page = (low >>> 12) | (high << 20);
    const e = this.#data + bank * (DATA_BANK / 4) + ((page + (page >>> 9)) & (L.DTLB_ENTRIES - 1)) * DATA_WORDS;
    const i32 = this.#i32;
    const flags = i32[e + FLAGS]!;
    if (i32[e + LINEAR] !== page || (flags & ENTRY.read) === 0) return -1;
    return ((flags ^ (high << 16)) & 0xf0000000) === 0 ? e : -1;
  }

  flags(entry: number): number {
    return this.#i32[entry + FLAGS]!;
  }
  physicalPage(entry: number): number {
    return this.#u32[entry + PHYSICAL]!;
  }
  /** Byte offset in the memory buffer of byte `linear` of an entry whose flags have ram or rom. */
  host(entry: number, linear: number): number {
    return (this.#i32[entry + ADDEND]! + (linear | 0)) >>> 0;
  }

  /**
   * Byte offset in the memory buffer of `size` bytes at `linear` when they may be read (or written) there at once, else −1: the same question that
   * generated code asks, for any bank.
   */
  direct(bank: number, linear: number, size: number, write: boolean): number {
    const low = linear | 0;
    const high = Math.floor(linear / TWO32) | 0;
    const page = (low >>> 12) | (high << 20);
    const e = this.#data + bank * (DATA_BANK / 4) + ((page + (page >>> 9)) & (L.DTLB_ENTRIES - 1)) * DATA_WORDS;
    const i32 = this.#i32;
    const tag = write ? e + WRITE_TAG : e;
    if (i32[tag] !== (low & -PAGE) || i32[tag + 1] !== high || (low & (PAGE - 1)) + size > PAGE) return -1;
    return (i32[e + ADDEND]! + low) >>> 0;
  }

  /**
   * Fills the slot of a page. `host` is the byte offset of the page in the memory buffer (ignored for devices), `flags` bits of {@link ENTRY}.
   * Returns the entry's word index.
   */
  fill(bank: number, page: number, physicalPage: number, host: number, flags: number): number {
    const e = this.slot(bank, page);
    const i32 = this.#i32;
    const before = i32[e + FLAGS]!;
    const logged = (before & (ENTRY.read | ENTRY.global)) === ENTRY.read;
    if (!logged && (flags & ENTRY.global) === 0) {
      if (this.#dataCount < LOG_SIZE) this.#dataLog[this.#dataCount] = e;
      this.#dataCount++;
    }
    if ((flags & ENTRY.large) !== 0) this.#noteLarge(page, flags);
    i32[e + FLAGS] = (flags & 0x0fffffff) | highPart(page);
    i32[e + PHYSICAL] = physicalPage | 0;
    i32[e + LINEAR] = page | 0;
    i32[e + ADDEND] = (host - page * PAGE) | 0;
    this.retag(e, page, host);
    return e;
  }

  /** Sets both tags of an entry from its flags and from whether its page holds decoded code. */
  retag(e: number, page: number, host: number): void {
    const i32 = this.#i32;
    const flags = i32[e + FLAGS]!;
    const low = page << 12;
    const high = Math.floor(page / 0x100000) | 0;
    const watched = (flags & (ENTRY.watchRead | ENTRY.watchWrite)) !== 0;
    if ((flags & (ENTRY.ram | ENTRY.rom)) === 0 && !watched) {
      const store = (flags & ENTRY.write) !== 0;
      i32[e] = low | L.DEVICE_TAG;
      i32[e + 1] = high;
      i32[e + WRITE_TAG] = store ? low | L.DEVICE_TAG : L.NO_TAG;
      i32[e + WRITE_TAG + 1] = store ? high : 0;
      return;
    }
    const readable = (flags & (ENTRY.ram | ENTRY.rom)) !== 0 && (flags & ENTRY.watchRead) === 0;
    i32[e] = readable ? low : L.NO_TAG;
    i32[e + 1] = readable ? high : 0;
    const ram = this.#ctx.ram;
    const writable =
      (flags & (ENTRY.ram | ENTRY.write | ENTRY.watchWrite)) === (ENTRY.ram | ENTRY.write) &&
      ram.codePages[(host - ram.base) >>> 12] === 0;
    i32[e + WRITE_TAG] = writable ? low : L.NO_TAG;
    i32[e + WRITE_TAG + 1] = writable ? high : 0;
  }

  /** Puts a page's table of decoded code into the code TLB of the present privilege. `linear` any address in the page. */
  fillCode(linear: number, tableAddress: number): void {
    const s = this.#ctx.state;
    const page = Math.floor(linear / PAGE);
    const e = (s.int(L.ITLB_BASE) >>> 2) + (page & (L.ITLB_ENTRIES - 1)) * CODE_WORDS;
    const i32 = this.#i32;
    const logged = i32[e] !== L.NO_TAG && (i32[e + CODE_FLAGS]! & ENTRY.global) === 0;
    if (!logged && (this.codeFlags & ENTRY.global) === 0) {
      if (this.#codeCount < LOG_SIZE) this.#codeLog[this.#codeCount] = e;
      this.#codeCount++;
    }
    if ((this.codeFlags & ENTRY.large) !== 0) this.#noteLarge(page, this.codeFlags);
    i32[e] = page << 12;
    i32[e + 1] = Math.floor(page / 0x100000) | 0;
    i32[e + 2] = tableAddress;
    i32[e + CODE_FLAGS] = this.codeFlags;
  }

  /** Whether the code TLB of the present privilege knows the page of `linear`. */
  knowsCode(linear: number): boolean {
    const page = Math.floor(linear / PAGE);
    const e = (this.#ctx.state.int(L.ITLB_BASE) >>> 2) + (page & (L.ITLB_ENTRIES - 1)) * CODE_WORDS;
    return this.#i32[e] === page << 12 && this.#i32[e + 1] === (Math.floor(page / 0x100000) | 0);
  }

  /** The table of decoded code that the code TLB of the present privilege has for a page, 0 for none. */
  codeTable(linear: number): number {
    const page = Math.floor(linear / PAGE);
    const e = (this.#ctx.state.int(L.ITLB_BASE) >>> 2) + (page & (L.ITLB_ENTRIES - 1)) * CODE_WORDS;
    const i32 = this.#i32;
    return i32[e] === page << 12 && i32[e + 1] === (Math.floor(page / 0x100000) | 0) ? i32[e + 2]! : 0;
  }

  /** Gives the entries of a page (linear / 4096) in all banks of the code TLB another table. */
  changeCodeTable(page: number, other: (table: number) => number): void {
    const i32 = this.#i32;
    for (let bank = 0; bank < L.BANKS; bank++) {
      const e = this.#code + bank * (CODE_BANK / 4) + (page & (L.ITLB_ENTRIES - 1)) * CODE_WORDS;
      if (i32[e] === page << 12 && i32[e + 1] === (Math.floor(page / 0x100000) | 0)) i32[e + 2] = other(i32[e + 2]!);
    }
  }

  /** Sets watchRead and watchWrite of all entries to what `flagsOf` says of their page. Translations stay. */
  changeWatches(flagsOf: (page: number) => number): void {
    const end = this.#data + (L.BANK.strict * DATA_BANK) / 4;
    for (let e = this.#data; e < end; e += DATA_WORDS) {
      const flags = this.#i32[e + FLAGS]!;
      if ((flags & ENTRY.read) === 0) continue;
      const page = (flags >> 28) * TWO32 + this.#u32[e + LINEAR]!;
      const watches = flagsOf(page);
      if ((flags & (ENTRY.watchRead | ENTRY.watchWrite)) === watches) continue;
      this.#i32[e + FLAGS] = (flags & ~(ENTRY.watchRead | ENTRY.watchWrite)) | watches;
      this.retag(e, page, this.host(e, page * PAGE));
    }
  }

  /** RAM page `ramPage` has decoded code from now on: writes to it must take the slow path. */
  purgeWritable(ramPage: number): void {
    const i32 = this.#i32;
    const host = (this.#ctx.ram.base + ramPage * PAGE) | 0;
    const end = this.#data + (L.BANKS * DATA_BANK) / 4;
    for (let e = this.#data; e < end; e += DATA_WORDS) {
      if ((i32[e + WRITE_TAG]! & (PAGE - 1)) !== 0 || ((i32[e + WRITE_TAG]! + i32[e + ADDEND]!) | 0) !== host) continue;
      i32[e + WRITE_TAG] = L.NO_TAG;
      i32[e + WRITE_TAG + 1] = 0;
    }
  }

  /** Drops everything, global pages too (CR0.PG, CR4.PGE and the like changed). */
  flushAll(): void {
    const dataEnd = this.#data + (L.BANKS * DATA_BANK) / 4;
    for (let e = this.#data; e < dataEnd; e += DATA_WORDS) this.#clear(e);
    const codeEnd = this.#code + (L.BANKS * CODE_BANK) / 4;
    for (let e = this.#code; e < codeEnd; e += CODE_WORDS) this.#clearCode(e);
    this.#dataCount = 0;
    this.#codeCount = 0;
    this.#forgetLarge();
  }

  /** Drops all pages that are not global (a write of CR3). */
  flushNonGlobal(): void {
    const i32 = this.#i32;
    if (this.#dataCount > LOG_SIZE) {
      const end = this.#data + (L.BANKS * DATA_BANK) / 4;
      for (let e = this.#data; e < end; e += DATA_WORDS) if ((i32[e + FLAGS]! & ENTRY.global) === 0) this.#clear(e);
    } else {
      for (let i = 0; i < this.#dataCount; i++) {
        const e = this.#dataLog[i]!;
        if ((i32[e + FLAGS]! & ENTRY.global) === 0) this.#clear(e);
      }
    }
    this.#dataCount = 0;
    if (this.#codeCount > LOG_SIZE) {
      const end = this.#code + (L.BANKS * CODE_BANK) / 4;
      for (let e = this.#code; e < end; e += CODE_WORDS)
        if ((i32[e + CODE_FLAGS]! & ENTRY.global) === 0) this.#clearCode(e);
    } else {
      for (let i = 0; i < this.#codeCount; i++) {
        const e = this.#codeLog[i]!;
        if ((i32[e + CODE_FLAGS]! & ENTRY.global) === 0) this.#clearCode(e);
      }
    }
    this.#codeCount = 0;
  }

  /** INVLPG: drops the page of `linear`, global or not; of a large page, all pieces (SDM vol. 3A, 4.10.4.1). */
  flushPage(linear: number): void {
    const page = Math.floor(linear / PAGE);
    const i32 = this.#i32;
    for (let bank = 0; bank < L.BANK.strict; bank++) {
      const e = this.slot(bank, page);
      if (i32[e + LINEAR] === (page | 0)) this.#clear(e);
    }
    for (let bank = 0; bank < L.BANKS; bank++)
      this.#clearCode(this.#code + bank * (CODE_BANK / 4) + (page & (L.ITLB_ENTRIES - 1)) * CODE_WORDS);
    if (this.#log[3] !== 0 || this.#largeMap[(page >> 9) & (LARGE_MAP - 1)] !== 0) this.#flushLarge();
  }

  #noteLarge(page: number, flags: number): void {
    if ((flags & ENTRY.huge) !== 0) this.#log[3] = 1;
    this.#largeMap[(page >> 9) & (LARGE_MAP - 1)] = 1;
    this.#log[2] = 1;
  }
  #forgetLarge(): void {
    if (this.#log[2] !== 0) this.#largeMap.fill(0);
    this.#log[2] = 0;
    this.#log[3] = 0;
  }

  /** Drops every piece of a large page: more than asked for, which is always allowed. */
  #flushLarge(): void {
    const i32 = this.#i32;
    const dataEnd = this.#data + (L.BANKS * DATA_BANK) / 4;
    for (let e = this.#data; e < dataEnd; e += DATA_WORDS) if ((i32[e + FLAGS]! & ENTRY.large) !== 0) this.#clear(e);
    const codeEnd = this.#code + (L.BANKS * CODE_BANK) / 4;
    for (let e = this.#code; e < codeEnd; e += CODE_WORDS)
      if ((i32[e + CODE_FLAGS]! & ENTRY.large) !== 0) this.#clearCode(e);
    this.#forgetLarge();
  }

  /** Tells generated code where page tables and pages may lie that it can reach by itself. */
  shareMap(): void {
    const { state, bus, ram } = this.#ctx;
    const shared = ram.codePages.buffer === state.view.buffer;
    state.setNum(L.WALK_LIMIT, shared && this.generatedWalks ? (bus.plainRamEnd ?? 0) : 0);
    state.setLo(L.WALK_RAM, ram.base);
    state.setLo(L.WALK_CODE_PAGES, shared ? ram.codePages.byteOffset : 0);
  }

  /** Drops everything when the map of physical memory changed since the last look (a BAR or A20 moved). True when it did. */
  checkGeneration(): boolean {
    const generation = this.#ctx.bus.generation;
    if (generation === this.#generation) return false;
    this.#generation = generation;
    this.flushAll();
    this.shareMap();
    return true;
  }

  /** The whole contents; code tables are named by `placeOf`. */
  save(placeOf: (table: number) => number): TlbState {
    const s = this.#ctx.state;
    const at = (offset: number, length: number): Uint8Array => s.u8.slice(s.base + offset, s.base + offset + length);
    return {
      data: at(L.DTLB_OFFSET, L.BANK.strict * DATA_BANK),
      log: at(L.TLB_LOG_OFFSET, L.TLB_LOG.largeMap + LARGE_MAP),
      code: this.codePlaces(placeOf),
      legacy: this.#legacy.slice(),
    };
  }

  /** Fills an empty TLB with what {@link save} gave; `tableOf` finds (or makes) the code table of a place. */
  load(saved: TlbState, tableOf: (place: number) => number): void {
    const s = this.#ctx.state;
    const { bus } = this.#ctx;
    s.u8.set(saved.data, s.base + L.DTLB_OFFSET);
    s.u8.set(saved.log, s.base + L.TLB_LOG_OFFSET);
    const end = this.#data + (L.BANK.strict * DATA_BANK) / 4;
    for (let e = this.#data; e < end; e += DATA_WORDS) {
      const flags = this.#i32[e + FLAGS]!;
      if ((flags & ENTRY.read) === 0) {
        this.#clear(e);
        continue;
      }
      const page = (flags >> 28) * TWO32 + this.#u32[e + LINEAR]!;
      const host = bus.lookup(this.#u32[e + PHYSICAL]!) <= PAGE_KIND.rom ? bus.pageOffset : 0;
      this.#i32[e + ADDEND] = (host - page * PAGE) | 0;
      this.retag(e, page, host);
    }
    this.setCodePlaces(saved.code, tableOf);
    this.#legacy.set(saved.legacy);
    this.#generation = bus.generation;
  }

  /** Valid entries of the code TLB: slot, place of the table, flags, tag (low, high). */
  codePlaces(placeOf: (table: number) => number): Float64Array {
    const out: number[] = [];
    const slots = (L.BANKS * CODE_BANK) / L.ITLB_ENTRY;
    for (let slot = 0; slot < slots; slot++) {
      const e = this.#code + slot * CODE_WORDS;
      if (this.#i32[e] === L.NO_TAG) continue;
      out.push(slot, placeOf(this.#u32[e + 2]!), this.#i32[e + CODE_FLAGS]!, this.#i32[e]!, this.#i32[e + 1]!);
    }
    return Float64Array.from(out);
  }

  setCodePlaces(places: Float64Array, tableOf: (place: number) => number): void {
    for (let i = 0; i < places.length; i += 5) {
      const e = this.#code + places[i]! * CODE_WORDS;
      this.#i32[e] = places[i + 3]!;
      this.#i32[e + 1] = places[i + 4]!;
      this.#i32[e + 2] = tableOf(places[i + 1]!);
      this.#i32[e + CODE_FLAGS] = places[i + 2]!;
    }
  }

  #clear(e: number): void {
    const i32 = this.#i32;
    i32[e] = L.NO_TAG;
    i32[e + 1] = 0;
    i32[e + WRITE_TAG] = L.NO_TAG;
    i32[e + WRITE_TAG + 1] = 0;
    i32[e + FLAGS] = 0;
    i32[e + LINEAR] = -1;
  }

  #clearCode(e: number): void {
    const i32 = this.#i32;
    i32[e] = L.NO_TAG;
    i32[e + 1] = 0;
    i32[e + 2] = 0;
    i32[e + CODE_FLAGS] = 0;
  }
}
