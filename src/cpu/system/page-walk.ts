/**
 * The page walker: Intel SDM vol. 3A, chapter 4 (32-bit paging with PSE and PSE-36, PAE, 4-level paging with pages of 4 KiB, 2/4 MiB, 1 GiB), access
 * rights by 4.6, error codes by 4.7, accessed and dirty flags by 4.8. Not modelled: 5-level paging, protection keys, EPT.
 */
import { PAGE } from "../../base/units.ts";
import { PAGE_KIND } from "../../ports/cpu-bus.ts";
import { type CpuContext, EXC, raise } from "../context.ts";
import * as L from "../layout.ts";
import { CR0, CR4, EFER, PHYSICAL_BITS } from "./control-bits.ts";
import { effectiveType, patIndex } from "./memory-type.ts";

/** Kinds of access. */
export const ACCESS = { read: 0, write: 1, execute: 2 } as const;
/** Bits of a page-fault error code (SDM vol. 3A, 4.7). */
export const PFEC = { present: 1, write: 2, user: 4, reserved: 8, fetch: 16 } as const;

const P = 1;
const RW = 2;
const US = 4;
const A = 0x20;
const D = 0x40;
const PS = 0x80;
const G = 0x100;
const NX = 1 << 31;
/** Bits of the high word of an entry above the physical address and below bit 52. Page numbers are kept as signed words, so PHYSICAL_BITS may be at most 43. */
const HIGH_RESERVED = 0xfffff & -(1 << (PHYSICAL_BITS - 32));
/** High word's part of the physical address. */
const HIGH_ADDRESS = (1 << (PHYSICAL_BITS - 32)) - 1;
const TWO32 = 4294967296;
const CACHE_PAGES = 64;

export class PageWalker {
  /** Results of the last walk: physical page number (address / 4096). */
  page = 0;
  /** Page-fault error code of a walk that failed. */
  error = 0;
  /** The page is accessible with CPL 3; writable at all levels; dirty already (or now); global; cut out of a large page. */
  user = false;
  writable = false;
  dirty = false;
  global = false;
  large = false;
  /** Of 1 GiB. */
  huge = false;
  readonly #ctx: CpuContext;
  /** Told about a RAM page with decoded code in which an accessed or dirty flag was set. */
  readonly #onCodeWrite: (ramPage: number, offset: number, length: number) => void;
  readonly #i32: Int32Array;
  readonly #pse36: boolean;
  readonly #gigabytes: boolean;
  /** Where page-table pages lie: page number, and word index in the memory buffer (−1: not in RAM). */
  readonly #keys = new Int32Array(CACHE_PAGES).fill(-1);
  readonly #hosts = new Int32Array(CACHE_PAGES);
  #generation = -1;
  /** The entry that was read last. */
  #low = 0;
  #high = 0;
  /** Entries of this walk: page, byte offset in it, low word; for setting flags. */
  readonly #pages = new Int32Array(4);
  readonly #offsets = new Int32Array(4);
  readonly #words = new Int32Array(4);
  #depth = 0;
  #rights = 0;
  #nx = 0;
  #reserved = false;
  #reservedNx = 0;

  constructor(ctx: CpuContext, onCodeWrite: (ramPage: number, offset: number, length: number) => void) {
    this.#ctx = ctx;
    this.#onCodeWrite = onCodeWrite;
    this.#i32 = ctx.state.i32;
    this.#pse36 = ctx.model.has("pse36");
    this.#gigabytes = ctx.model.has("pdpe1gb");
  }

  /**
   * Translates `linear` for an access in the sense of `bank` (BANK.user, BANK.supervisor or BANK.supervisorSmap). Sets accessed and dirty flags when it
   * is permitted. False: {@link error} holds the error code; nothing was changed.
   */
  walk(linear: number, access: number, bank: number): boolean {
    const s = this.#ctx.state;
    if ((s.int(L.CR0) & CR0.pg) === 0) return this.#identity(linear);
    this.#ctx.bus.caches?.settle();
    const efer = s.int(L.EFER);
    this.#checkGeneration();
    this.#depth = 0;
    this.#rights = US | RW;
    this.#nx = 0;
    this.#reserved = false;
    this.#reservedNx = (efer & EFER.nxe) !== 0 ? 0 : NX;
    this.large = false;
    this.huge = false;
    const present =
      (s.int(L.CR4) & CR4.pae) === 0
        ? this.#walk32(linear)
        : (efer & EFER.lma) !== 0
          ? this.#walk64(linear)
          : this.#walkPae(linear);
    if (!present) return this.#fail(access, bank, 0);
    if (this.#reserved) return this.#fail(access, bank, PFEC.present | PFEC.reserved);
    this.user = (this.#rights & US) !== 0;
    this.writable = (this.#rights & RW) !== 0;
    if (!this.#permitted(access, bank)) return this.#fail(access, bank, PFEC.present);
    this.#mark(access === ACCESS.write);
    const leaf = this.#words[this.#depth - 1]!;
    this.dirty = (leaf & D) !== 0;
    this.global = (leaf & G) !== 0 && (s.int(L.CR4) & CR4.pge) !== 0;
    return true;
  }

  /** Effective memory type of the last translation: one of MEMORY_TYPE (cpu-bus.ts). */
  memoryType(): number {
    const s = this.#ctx.state;
    const paging = (s.int(L.CR0) & CR0.pg) !== 0;
    return effectiveType(s, this.page, paging ? patIndex(this.#words[this.#depth - 1]!, this.large) : -1);
  }

  /** Whether supervisor writes ignore read-only pages. */
  get writeProtect(): boolean {
    return (this.#ctx.state.int(L.CR0) & CR0.wp) !== 0;
  }

  /**
   * Loads the four PAE page-directory-pointer entries from the table that CR3 points at, as MOV CR3 does; raises #GP(0) when one is present with reserved
   * bits set (SDM vol. 3A, 4.4.1). Nothing is changed then.
   */
  loadPdptes(): void {
    const s = this.#ctx.state;
    const table = s.lo(L.CR3) >>> 12;
    const offset = s.lo(L.CR3) & 0xfe0;
    this.#ctx.bus.caches?.settle();
    this.#checkGeneration();
    for (let i = 0; i < 4; i++) {
      this.#read64(table, offset + i * 8);
      const bad = (this.#low & 0x1e6) !== 0 || (this.#high & (HIGH_RESERVED | 0xfff00000)) !== 0;
      if ((this.#low & P) !== 0 && bad) raise(EXC.gp, 0);
    }
    for (let i = 0; i < 4; i++) {
      this.#read64(table, offset + i * 8);
      s.set64(L.PDPTE + i * 8, this.#low, this.#high);
    }
  }

  #identity(linear: number): boolean {
    this.page = linear >>> 12;
    this.user = true;
    this.writable = true;
    this.dirty = true;
    this.global = false;
    this.large = false;
    this.huge = false;
    return true;
  }

  #fail(access: number, bank: number, bits: number): boolean {
    const s = this.#ctx.state;
    if (access === ACCESS.write) bits |= PFEC.write;
    if (bank === L.BANK.user) bits |= PFEC.user;
    if (access === ACCESS.execute) {
      const nx = (s.int(L.CR4) & CR4.pae) !== 0 && (s.int(L.EFER) & EFER.nxe) !== 0;
      if (nx || (s.int(L.CR4) & CR4.smep) !== 0) bits |= PFEC.fetch;
    }
    this.error = bits;
    return false;
  }

  #permitted(access: number, bank: number): boolean {
    if (access === ACCESS.execute && this.#nx !== 0) return false;
    if (bank === L.BANK.user) return this.user && (access !== ACCESS.write || this.writable);
    if (access === ACCESS.execute) return !this.user || (this.#ctx.state.int(L.CR4) & CR4.smep) === 0;
    if (bank === L.BANK.supervisorSmap && this.user) return false;
    return access !== ACCESS.write || this.writable || !this.writeProtect;
  }

  /** Sets the accessed flag in all entries used, and the dirty flag in the last (SDM vol. 3A, 4.8). */
  #mark(write: boolean): void {
    const leaf = this.#depth - 1;
    for (let i = 0; i <= leaf; i++) {
      const wanted = i === leaf && write ? A | D : A;
      const word = this.#words[i]!;
      if ((word & wanted) === wanted) continue;
      this.#words[i] = word | wanted;
      this.#write32(this.#pages[i]!, this.#offsets[i]!, word | wanted);
    }
  }

  /** Takes the entry just read into the rights. False: not present. */
  #step(page: number, offset: number): boolean {
    const low = this.#low;
    if ((low & P) === 0) return false;
    const depth = this.#depth++;
    this.#pages[depth] = page;
    this.#offsets[depth] = offset;
    this.#words[depth] = low;
    this.#rights &= low;
    return true;
  }

  /** The same for 8-byte entries: NX and the reserved high bits too. `reservedLow`: reserved bits of the low word. */
  #step64(page: number, index: number, reservedLow: number): boolean {
    const offset = (index & 0x1ff) << 3;
    this.#read64(page, offset);
    if (!this.#step(page, offset)) return false;
    this.#nx |= this.#high & NX;
    const high = this.#high & (HIGH_RESERVED | this.#reservedNx);
    if (high !== 0 || (this.#low & reservedLow) !== 0) this.#reserved = true;
    return true;
  }

  #walk32(linear: number): boolean {
    const s = this.#ctx.state;
    const word = linear | 0;
    const directory = s.lo(L.CR3) >>> 12;
    const offset = (word >>> 22) << 2;
    this.#low = this.#read32(directory, offset);
    if (!this.#step(directory, offset)) return false;
    const pde = this.#low;
    if ((pde & PS) !== 0 && (s.int(L.CR4) & CR4.pse) !== 0) {
      if ((pde & (this.#pse36 ? 0x200000 : 0x3fe000)) !== 0) this.#reserved = true;
      this.large = true;
      const high = this.#pse36 ? (pde >>> 13) & 0xff : 0;
      this.page = (high << 20) | ((pde >>> 22) << 10) | ((word >>> 12) & 0x3ff);
      return true;
    }
    const table = pde >>> 12;
    const entry = ((word >>> 12) & 0x3ff) << 2;
    this.#low = this.#read32(table, entry);
    if (!this.#step(table, entry)) return false;
    this.page = this.#low >>> 12;
    return true;
  }

  #walkPae(linear: number): boolean {
    const s = this.#ctx.state;
    const word = linear | 0;
    const pdpte = L.PDPTE + (word >>> 30) * 8;
    this.#low = s.int(pdpte);
    this.#high = s.int(pdpte + 4);
    if ((this.#low & P) === 0) return false;
    return this.#directory(word);
  }

  #walk64(linear: number): boolean {
    const s = this.#ctx.state;
    const word = linear | 0;
    const high = Math.floor(linear / TWO32) | 0;
    const root = (s.lo(L.CR3) >>> 12) | ((s.lo(L.CR3 + 4) & HIGH_ADDRESS) << 20);
    if (!this.#step64(root, high >> 7, PS)) return false;
    if (this.#reserved) return true;
    if (!this.#step64(this.#frame(), (high << 2) | (word >>> 30), this.#gigabytes ? 0 : PS)) return false;
    if (this.#reserved) return true;
    if ((this.#low & PS) !== 0) {
      if ((this.#low & 0x3fffe000) !== 0) this.#reserved = true;
      this.large = true;
      this.huge = true;
      this.page = (this.#frame() & ~0x3ffff) | ((word >>> 12) & 0x3ffff);
      return true;
    }
    return this.#directory(word);
  }

  /** The two lowest levels of PAE and 4-level paging, below the entry in #low/#high. */
  #directory(word: number): boolean {
    if (!this.#step64(this.#frame(), word >>> 21, 0)) return false;
    if (this.#reserved) return true;
    if ((this.#low & PS) !== 0) {
      if ((this.#low & 0x1fe000) !== 0) this.#reserved = true;
      this.large = true;
      this.page = (this.#frame() & ~0x1ff) | ((word >>> 12) & 0x1ff);
      return true;
    }
    if (!this.#step64(this.#frame(), word >>> 12, 0)) return false;
    this.page = this.#frame();
    return true;
  }

  /** Page number that the entry just read points at. */
  #frame(): number {
    return ((this.#high & HIGH_ADDRESS) << 20) | (this.#low >>> 12);
  }

  #checkGeneration(): void {
    const generation = this.#ctx.bus.generation;
    if (this.#generation === generation) return;
    this.#generation = generation;
    this.#keys.fill(-1);
  }

  /** Word index in the memory buffer of a page-table page, −1 when it does not lie in RAM. */
  #host(page: number): number {
    const slot = page & (CACHE_PAGES - 1);
    if (this.#keys[slot] === page) return this.#hosts[slot]!;
    const host = this.#ctx.bus.lookup(page) === PAGE_KIND.ram ? this.#ctx.bus.pageOffset >>> 2 : -1;
    this.#keys[slot] = page;
    this.#hosts[slot] = host;
    return host;
  }

  #read32(page: number, offset: number): number {
    const host = this.#host(page);
    if (host >= 0) return this.#i32[host + (offset >>> 2)]!;
    return this.#ctx.bus.read(page * PAGE + offset, 4) | 0;
  }

  #read64(page: number, offset: number): void {
    const host = this.#host(page);
    if (host >= 0) {
      const i = host + (offset >>> 2);
      this.#low = this.#i32[i]!;
      this.#high = this.#i32[i + 1]!;
    } else {
      this.#low = this.#ctx.bus.read(page * PAGE + offset, 4) | 0;
      this.#high = this.#ctx.bus.read(page * PAGE + offset + 4, 4) | 0;
    }
  }

  #write32(page: number, offset: number, value: number): void {
    const host = this.#host(page);
    if (host < 0) {
      this.#ctx.bus.write(page * PAGE + offset, 4, value >>> 0);
      return;
    }
    this.#i32[host + (offset >>> 2)] = value;
    const ram = this.#ctx.ram;
    const ramPage = (host * 4 - ram.base) >>> 12;
    if (ram.codePages[ramPage] !== 0) this.#onCodeWrite(ramPage, offset, 4);
  }
}
