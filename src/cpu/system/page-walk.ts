/**
 * The page walker: Intel SDM vol. 3A, chapter 4 (32-bit paging with PSE and PSE-36, PAE, 4-level paging with pages of 4 KiB, 2/4 MiB, 1 GiB), access
 * rights by 4.6, error codes by 4.7, accessed and dirty flags by 4.8. Not modelled: 5-level paging, protection keys, EPT, memory types.
 */
import { PAGE } from "../../base/units.ts";
import { PAGE_KIND } from "../../ports/cpu-bus.ts";
import { type CpuContext, EXC, raise } from "../context.ts";
import * as L from "../layout.ts";
import { CR0, CR4, EFER, PHYSICAL_BITS } from "./control-bits.ts";

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
/** Bits of the high word of an entry above the physical address and below bit 52. Pages are kept in 32 bits, so PHYSICAL_BITS may be at most 44. */
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
  readonly #ctx: CpuContext;
  /** Told about a RAM page with decoded code in which an accessed or dirty flag was set. */
  readonly #onCodeWrite: (ramPage: number, offset: number, length: number) => void;
  readonly #keys = new Float64Array(CACHE_PAGES).fill(-1);
  readonly #hosts = new Float64Array(CACHE_PAGES);
  #generation = -1;
  /** The entry that was read last. */
  #low = 0;
  #high = 0;
  /** Entries of this walk: physical addresses and low words, for setting flags. */
  readonly #path = new Float64Array(4);
  readonly #words = new Int32Array(4);
  #depth = 0;
  #rights = 0;
  #nx = 0;
  #reserved = false;
  #reservedNx = 0;

  constructor(ctx: CpuContext, onCodeWrite: (ramPage: number, offset: number, length: number) => void) {
    this.#ctx = ctx;
    this.#onCodeWrite = onCodeWrite;
  }

  /**
   * Translates `linear` for an access in the sense of `bank` (BANK.user, BANK.supervisor or BANK.supervisorSmap). Sets accessed and dirty flags when it
   * is permitted. False: {@link error} holds the error code; nothing was changed.
   */
  walk(linear: number, access: number, bank: number): boolean {
    const s = this.#ctx.state;
    if ((s.int(L.CR0) & CR0.pg) === 0) return this.#identity(linear);
    const efer = s.int(L.EFER);
    this.#depth = 0;
    this.#rights = US | RW;
    this.#nx = 0;
    this.#reserved = false;
    this.#reservedNx = (efer & EFER.nxe) !== 0 ? 0 : NX;
    this.large = false;
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
    const table = (s.lo(L.CR3) & 0xffffffe0) >>> 0;
    for (let i = 0; i < 4; i++) {
      this.#read64(table + i * 8);
      const bad = (this.#low & 0x1e6) !== 0 || (this.#high & (HIGH_RESERVED | 0xfff00000)) !== 0;
      if ((this.#low & P) !== 0 && bad) raise(EXC.gp, 0);
    }
    for (let i = 0; i < 4; i++) {
      this.#read64(table + i * 8);
      s.set64(L.PDPTE + i * 8, this.#low, this.#high);
    }
  }

  #identity(linear: number): boolean {
    this.page = Math.floor((linear >>> 0) / PAGE);
    this.user = true;
    this.writable = true;
    this.dirty = true;
    this.global = false;
    this.large = false;
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
      this.#write32(this.#path[i]!, (word | wanted) >>> 0);
    }
  }

  /** Takes the entry just read (at `address`) into the rights. False: not present. */
  #step(address: number): boolean {
    const low = this.#low;
    if ((low & P) === 0) return false;
    this.#path[this.#depth] = address;
    this.#words[this.#depth] = low;
    this.#depth++;
    this.#rights &= low;
    return true;
  }

  /** The same for 8-byte entries: NX and the reserved high bits too. `reservedLow`: reserved bits of the low word. */
  #step64(address: number, reservedLow: number): boolean {
    this.#read64(address);
    if (!this.#step(address)) return false;
    this.#nx |= this.#high & NX;
    const high = this.#high & (HIGH_RESERVED | this.#reservedNx);
    if (high !== 0 || (this.#low & reservedLow) !== 0) this.#reserved = true;
    return true;
  }

  #walk32(linear: number): boolean {
    const s = this.#ctx.state;
    const word = linear | 0;
    const directory = (s.lo(L.CR3) & 0xfffff000) >>> 0;
    let address = directory + ((word >>> 22) << 2);
    this.#read32(address);
    if (!this.#step(address)) return false;
    const pde = this.#low;
    if ((pde & PS) !== 0 && (s.int(L.CR4) & CR4.pse) !== 0) {
      const pse36 = this.#ctx.model.has("pse36");
      if ((pde & (pse36 ? 0x200000 : 0x3fe000)) !== 0) this.#reserved = true;
      this.large = true;
      const high = pse36 ? (pde >>> 13) & 0xff : 0;
      this.page = high * 0x100000 + ((pde >>> 22) << 10) + ((word >>> 12) & 0x3ff);
      return true;
    }
    address = ((pde & 0xfffff000) >>> 0) + (((word >>> 12) & 0x3ff) << 2);
    this.#read32(address);
    if (!this.#step(address)) return false;
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
    const high = Math.floor(linear / TWO32);
    const root = ((s.lo(L.CR3) & 0xfffff000) >>> 0) + (s.lo(L.CR3 + 4) & HIGH_ADDRESS) * TWO32;
    if (!this.#step64(root + ((high >> 7) & 0x1ff) * 8, PS)) return false;
    if (this.#reserved) return true;
    const gigabytes = this.#ctx.model.has("pdpe1gb");
    const index = ((high << 2) | (word >>> 30)) & 0x1ff;
    if (!this.#step64(this.#frame() + index * 8, gigabytes ? 0 : PS)) return false;
    if (this.#reserved) return true;
    if ((this.#low & PS) !== 0) {
      if ((this.#low & 0x3fffe000) !== 0) this.#reserved = true;
      this.large = true;
      this.page = (this.#high & HIGH_ADDRESS) * 0x100000 + ((this.#low >>> 30) << 18) + ((word >>> 12) & 0x3ffff);
      return true;
    }
    return this.#directory(word);
  }

  /** The two lowest levels of PAE and 4-level paging, below the entry in #low/#high. */
  #directory(word: number): boolean {
    if (!this.#step64(this.#frame() + ((word >>> 21) & 0x1ff) * 8, 0)) return false;
    if (this.#reserved) return true;
    if ((this.#low & PS) !== 0) {
      if ((this.#low & 0x1fe000) !== 0) this.#reserved = true;
      this.large = true;
      this.page = (this.#high & HIGH_ADDRESS) * 0x100000 + ((this.#low >>> 21) << 9) + ((word >>> 12) & 0x1ff);
      return true;
    }
    if (!this.#step64(this.#frame() + ((word >>> 12) & 0x1ff) * 8, 0)) return false;
    this.page = (this.#high & HIGH_ADDRESS) * 0x100000 + (this.#low >>> 12);
    return true;
  }

  /** Physical address of the table that the entry just read points at. */
  #frame(): number {
    return (this.#high & HIGH_ADDRESS) * TWO32 + ((this.#low & 0xfffff000) >>> 0);
  }

  /** Byte offset of a page-table page in the memory buffer, −1 when it does not lie in RAM. */
  #host(page: number): number {
    const slot = page & (CACHE_PAGES - 1);
    if (this.#generation !== this.#ctx.bus.generation) {
      this.#generation = this.#ctx.bus.generation;
      this.#keys.fill(-1);
    }
    if (this.#keys[slot] === page) return this.#hosts[slot]!;
    const host = this.#ctx.bus.lookup(page) === PAGE_KIND.ram ? this.#ctx.bus.pageOffset : -1;
    this.#keys[slot] = page;
    this.#hosts[slot] = host;
    return host;
  }

  #read32(address: number): void {
    const page = Math.floor(address / PAGE);
    const host = this.#host(page);
    if (host >= 0) this.#low = this.#ctx.state.i32[(host + (address & 0xffc)) >>> 2]!;
    else this.#low = this.#ctx.bus.read(address, 4) | 0;
    this.#high = 0;
  }

  #read64(address: number): void {
    const page = Math.floor(address / PAGE);
    const host = this.#host(page);
    if (host >= 0) {
      const i = (host + (address & 0xff8)) >>> 2;
      this.#low = this.#ctx.state.i32[i]!;
      this.#high = this.#ctx.state.i32[i + 1]!;
    } else {
      this.#low = this.#ctx.bus.read(address, 4) | 0;
      this.#high = this.#ctx.bus.read(address + 4, 4) | 0;
    }
  }

  #write32(address: number, value: number): void {
    const host = this.#host(Math.floor(address / PAGE));
    if (host < 0) {
      this.#ctx.bus.write(address, 4, value);
      return;
    }
    const ram = this.#ctx.ram;
    const offset = address & 0xffc;
    this.#ctx.state.i32[(host + offset) >>> 2] = value;
    const ramPage = (host - ram.base) >>> 12;
    if (ram.codePages[ramPage] !== 0) this.#onCodeWrite(ramPage, offset, 4);
  }
}
