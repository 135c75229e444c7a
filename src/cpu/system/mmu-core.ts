/**
 * Linear memory for the rest of the processor: translation with the data TLB in front, and reads and writes of descriptor tables, task state and stacks.
 * The slow path of generated code is built on it in mmu.ts. Intel SDM vol. 3A, chapter 4.
 *
 * An access names the bank it is made in: BANK.user with user rights, BANK.supervisor, BANK.supervisorSmap. All of them see the same tables.
 */
import { PAGE } from "../../base/units.ts";
import { PAGE_KIND } from "../../ports/cpu-bus.ts";
import { EVENT } from "../../ports/events.ts";
import { type CpuContext, EXC, raise, raisePageFault } from "../context.ts";
import type { DebugStops } from "../debug-stops.ts";
import * as L from "../layout.ts";
import { EFER } from "./control-bits.ts";
import { ACCESS, PageWalker } from "./page-walk.ts";
import { ENTRY, Tlb } from "./tlb.ts";

/** Called after a processor wrote to a RAM page that holds decoded code. `ramPage` is the RAM offset / 4096, `offset` the first byte in the page. */
export type CodeWriteHook = (ramPage: number, offset: number, length: number) => void;

/** First address above the canonical ones; they begin at its negative. */
const CANONICAL = 2 ** 47;

/** A physically contiguous piece of an access. */
class Piece {
  /** Byte offset in the memory buffer, −1 when it is a device's. */
  host = -1;
  physical = 0;
  length = 0;
}

export class MmuCore {
  readonly ctx: CpuContext;
  readonly tlb: Tlb;
  readonly walker: PageWalker;
  /** What a debugger outside the machine watches. */
  stops: DebugStops | null = null;
  /** Result of {@link translate}. */
  physical = 0;
  /** The fault of an access that was refused: vector, error code, and for #PF the address (CR2 is not written here). */
  faultVector = 0;
  faultError = 0;
  faultAddress = 0;
  /** Result of {@link load}; operand of the helpers' stores. */
  lo = 0;
  hi = 0;
  protected readonly first = new Piece();
  protected readonly second = new Piece();
  readonly #onCodeWrite: CodeWriteHook;
  /** Data breakpoints in force: bit n for DRn; which of them also see reads; first address and length. */
  protected watching = 0;
  protected watchReads = 0;
  protected readonly watchFrom = new Float64Array(4);
  protected readonly watchLength = new Int32Array(4);

  constructor(ctx: CpuContext, onCodeWrite: CodeWriteHook) {
    this.ctx = ctx;
    this.tlb = new Tlb(ctx);
    this.walker = new PageWalker(ctx, onCodeWrite);
    this.#onCodeWrite = onCodeWrite;
    this.debugChanged();
  }

  /** Reads DR0-DR3 and DR7 anew; to be called after any of them changed (SDM vol. 3B, 18.2). */
  debugChanged(): void {
    const s = this.ctx.state;
    const dr7 = s.lo(L.DR7);
    const before = this.watching;
    this.watching = 0;
    this.watchReads = 0;
    for (let n = 0; n < 4; n++) {
      const kind = (dr7 >>> (16 + n * 4)) & 3;
      if (((dr7 >>> (n * 2)) & 3) === 0 || (kind & 1) === 0) continue;
      this.watching |= 1 << n;
      if (kind === 3) this.watchReads |= 1 << n;
      const code = (dr7 >>> (18 + n * 4)) & 3;
      const length = code === 0 ? 1 : code === 1 ? 2 : code === 2 ? 8 : 4;
      const address = (s.lo(L.EFER) & EFER.lma) !== 0 ? s.num(L.DR + n * 8) : s.lo(L.DR + n * 8);
      this.watchFrom[n] = Math.floor(address / length) * length;
      this.watchLength[n] = length;
    }
    if ((before | this.watching) !== 0) this.tlb.flushAll();
  }

  /** A debugger's watches changed. */
  watchesChanged(): void {
    this.tlb.generatedWalks = this.stops?.watching !== true;
    this.tlb.shareMap();
    this.tlb.changeWatches(page => this.#watchFlags(page));
  }

  /** Tells the debugger of an access that took the slow path. */
  protected observe(linear: number, size: number, read: boolean, write: boolean): void {
    if (this.stops?.watching === true) this.stops.access(this.ctx.index, linear, size, read, write);
  }

  /**
   * Translates one address for an explicit access. True: {@link physical}. False: a page fault, {@link faultError} holds its error code.
   * @param access one of ACCESS
   */
  translate(linear: number, access: number, user: boolean): boolean {
    const walker = this.walker;
    const bank = user ? L.BANK.user : this.tlb.bankOf(0);
    if (access !== ACCESS.execute) {
      const e = this.tlb.find(bank, linear);
      if (e >= 0 && (access === ACCESS.read || (this.tlb.flags(e) & ENTRY.write) !== 0)) {
        this.physical = this.tlb.physicalPage(e) * PAGE + (linear & 0xfff);
        return true;
      }
    }
    if (!walker.walk(linear, access, bank)) return this.#pageFault(linear);
    if (access === ACCESS.execute)
      this.tlb.codeFlags =
        (walker.global ? ENTRY.global : 0) | (walker.large ? ENTRY.large : 0) | (walker.huge ? ENTRY.huge : 0);
    this.physical = walker.page * PAGE + (linear & 0xfff);
    return true;
  }

  /** See {@link PageWalker.loadPdptes}. */
  loadPdptes(): void {
    this.walker.loadPdptes();
  }

  /** Raises the fault that the fault fields describe. */
  throwFault(): never {
    if (this.faultVector === EXC.pf) raisePageFault(this.faultError, this.faultAddress);
    raise(this.faultVector, this.faultError);
  }

  /** Reads `size` (1, 2, 4, 8) bytes into {@link lo} and {@link hi} (unsigned). Raises #PF, or #GP(0) for an address that is not canonical. */
  load(bank: number, linear: number, size: number): void {
    const host = this.tlb.direct(bank, linear, size, false);
    const s = this.ctx.state;
    if (host < 0) {
      if (!this.prepare(bank, linear, size, false)) this.throwFault();
      s.set64(L.SYSTEM_DATA, 0, 0);
      this.readPieces(s.base + L.SYSTEM_DATA);
      this.observe(linear, size, true, false);
      this.lo = s.lo(L.SYSTEM_DATA);
      this.hi = s.hi(L.SYSTEM_DATA);
      return;
    }
    this.hi = 0;
    if (size === 8) {
      this.lo = s.view.getUint32(host, true);
      this.hi = s.view.getUint32(host + 4, true);
    } else if (size === 4) this.lo = s.view.getUint32(host, true);
    else this.lo = size === 2 ? s.view.getUint16(host, true) : s.u8[host]!;
  }

  /** Writes `size` (1, 2, 4, 8) bytes. Raises as {@link load} does, before anything is written. */
  store(bank: number, linear: number, size: number, low: number, high = 0): void {
    const host = this.tlb.direct(bank, linear, size, true);
    const s = this.ctx.state;
    if (host < 0) {
      if (!this.prepare(bank, linear, size, true)) this.throwFault();
      s.set64(L.SYSTEM_DATA, low, high);
      this.observe(linear, size, false, true);
      this.writePieces(s.base + L.SYSTEM_DATA);
    } else if (size === 8) {
      s.view.setUint32(host, low, true);
      s.view.setUint32(host + 4, high, true);
    } else if (size === 4) s.view.setUint32(host, low, true);
    else if (size === 2) s.view.setUint16(host, low, true);
    else s.u8[host] = low;
  }

  /** Raises what a read or write of `length` (≤ 4096) bytes would raise, and does nothing else. */
  probe(bank: number, linear: number, length: number, write: boolean): void {
    if (this.tlb.direct(bank, linear, length, write) >= 0) return;
    if (!this.prepare(bank, linear, length, write)) this.throwFault();
  }

  /** Implicit supervisor reads: descriptor tables, TSS (SDM vol. 3A, 4.6.1). */
  read8(linear: number): number {
    this.load(this.tlb.systemBank, linear, 1);
    return this.lo;
  }
  read16(linear: number): number {
    this.load(this.tlb.systemBank, linear, 2);
    return this.lo;
  }
  read32(linear: number): number {
    this.load(this.tlb.systemBank, linear, 4);
    return this.lo;
  }
  /** Into {@link lo} and {@link hi}. */
  read64(linear: number): void {
    this.load(this.tlb.systemBank, linear, 8);
  }
  write8(linear: number, value: number): void {
    this.store(this.tlb.systemBank, linear, 1, value);
  }
  write16(linear: number, value: number): void {
    this.store(this.tlb.systemBank, linear, 2, value);
  }
  write32(linear: number, value: number): void {
    this.store(this.tlb.systemBank, linear, 4, value);
  }
  write64(linear: number, low: number, high: number): void {
    this.store(this.tlb.systemBank, linear, 8, low, high);
  }

  /** Finds or fills the entry of the page of `linear`. −1: refused, see the fault fields. */
  protected entry(bank: number, linear: number, write: boolean): number {
    const e = this.tlb.find(bank, linear);
    if (e >= 0 && (!write || (this.tlb.flags(e) & ENTRY.write) !== 0)) return e;
    return this.#miss(bank, linear, write);
  }

  #miss(bank: number, linear: number, write: boolean): number {
    if (linear >= CANONICAL || linear < -CANONICAL) {
      this.faultVector = EXC.gp;
      this.faultError = 0;
      return -1;
    }
    this.tlb.checkGeneration();
    const walker = this.walker;
    if (!walker.walk(linear, write ? ACCESS.write : ACCESS.read, bank)) {
      this.#pageFault(linear);
      return -1;
    }
    const page = Math.floor(linear / PAGE);
    let flags: number = ENTRY.read;
    if (walker.dirty && (walker.writable || (bank !== L.BANK.user && !walker.writeProtect))) flags |= ENTRY.write;
    if (walker.global) flags |= ENTRY.global;
    if (walker.large) flags |= walker.huge ? ENTRY.large | ENTRY.huge : ENTRY.large;
    if (this.watching !== 0 || this.stops?.watching === true) flags |= this.#watchFlags(page);
    const { bus } = this.ctx;
    const kind = bus.lookup(walker.page);
    const caches = bus.caches ?? null;
    // With caches RAM is reached by the bus, like a device.
    if (caches !== null && kind === PAGE_KIND.ram) caches.pageType(walker.page, walker.memoryType());
    else if (kind === PAGE_KIND.ram) flags |= ENTRY.ram;
    else if (kind === PAGE_KIND.rom) flags |= ENTRY.rom;
    return this.tlb.fill(bank, page, walker.page, this.ctx.bus.pageOffset, flags);
  }

  #pageFault(linear: number): false {
    this.faultVector = EXC.pf;
    this.faultError = this.walker.error;
    this.faultAddress = linear;
    return false;
  }

  #watchFlags(page: number): number {
    let flags = 0;
    for (let n = 0; n < 4; n++) {
      if ((this.watching & (1 << n)) === 0 || Math.floor(this.watchFrom[n]! / PAGE) !== page) continue;
      flags |= ENTRY.watchWrite;
      if ((this.watchReads & (1 << n)) !== 0) flags |= ENTRY.watchRead;
    }
    const stops = this.stops;
    if (stops?.watching !== true) return flags;
    if (stops.pageWatched(page, false)) flags |= ENTRY.watchWrite;
    if (stops.pageWatched(page, true)) flags |= ENTRY.watchRead;
    return flags;
  }

  /** Translates all of an access, filling {@link first} and {@link second}; nothing is read or written. False: see the fault fields. */
  protected prepare(bank: number, linear: number, size: number, write: boolean): boolean {
    const e = this.entry(bank, linear, write);
    if (e < 0) return false;
    const room = PAGE - (linear & 0xfff);
    this.#place(this.first, e, linear, Math.min(size, room));
    this.second.length = 0;
    if (size <= room) return true;
    let next = linear + room;
    if ((this.ctx.state.lo(L.EFER) & EFER.lma) === 0) next = next >>> 0;
    const f = this.entry(bank, next, write);
    if (f < 0) return false;
    this.#place(this.second, f, next, size - room);
    return true;
  }

  #place(piece: Piece, e: number, linear: number, length: number): void {
    const flags = this.tlb.flags(e);
    piece.host = (flags & (ENTRY.ram | ENTRY.rom)) !== 0 ? this.tlb.host(e, linear) : -1;
    piece.physical = this.tlb.physicalPage(e) * PAGE + (linear & 0xfff);
    piece.length = length;
    // Decoded code of the page may be gone since the entry was filled: let generated code write again.
    if ((flags & ENTRY.write) !== 0 && piece.host >= 0)
      this.tlb.retag(e, Math.floor(linear / PAGE), piece.host - (linear & 0xfff));
  }

  /** Reads the prepared access into the memory buffer from byte `to` on. */
  protected readPieces(to: number): void {
    this.#readPiece(this.first, to);
    if (this.second.length !== 0) this.#readPiece(this.second, to + this.first.length);
  }

  /** Writes the prepared access from the memory buffer from byte `from` on. */
  protected writePieces(from: number): void {
    this.ctx.bus.caches?.begin(this.first.length + this.second.length);
    this.#writePiece(this.first, from);
    if (this.second.length !== 0) this.#writePiece(this.second, from + this.first.length);
  }

  #readPiece(piece: Piece, to: number): void {
    const s = this.ctx.state;
    if (piece.host >= 0) {
      this.#copy(piece.host, to, piece.length);
      return;
    }
    let at = 0;
    while (at < piece.length) {
      const left = piece.length - at;
      const width = left >= 4 ? 4 : left >= 2 ? 2 : 1;
      const value = this.deviceRead(piece.physical + at, width);
      if (width === 4) s.view.setUint32(to + at, value, true);
      else if (width === 2) s.view.setUint16(to + at, value, true);
      else s.u8[to + at] = value;
      at += width;
    }
  }

  #writePiece(piece: Piece, from: number): void {
    const s = this.ctx.state;
    const ram = this.ctx.ram;
    const page = piece.host < 0 ? -1 : (piece.host - ram.base) >>> 12;
    if (piece.host >= 0 && !this.#isRom(piece)) {
      this.#copy(from, piece.host, piece.length);
      if (ram.codePages[page] !== 0) this.#onCodeWrite(page, piece.physical & 0xfff, piece.length);
      return;
    }
    let at = 0;
    while (at < piece.length) {
      const left = piece.length - at;
      const width = left >= 4 ? 4 : left >= 2 ? 2 : 1;
      const value =
        width === 4
          ? s.view.getUint32(from + at, true)
          : width === 2
            ? s.view.getUint16(from + at, true)
            : s.u8[from + at]!;
      this.deviceWrite(piece.physical + at, width, value);
      at += width;
    }
  }

  #copy(from: number, to: number, length: number): void {
    const { view, u8 } = this.ctx.state;
    let i = 0;
    for (; i + 4 <= length; i += 4) view.setUint32(to + i, view.getUint32(from + i, true), true);
    for (; i < length; i++) u8[to + i] = u8[from + i]!;
  }

  #isRom(piece: Piece): boolean {
    return this.ctx.bus.lookup(Math.floor(piece.physical / PAGE)) !== PAGE_KIND.ram;
  }

  /** 1, 2 or 4 bytes of a physical page that is not memory; the own local APIC answers before the bus. */
  protected deviceRead(physical: number, width: number): number {
    const apic = this.ctx.apic;
    const offset = physical & 0xfff;
    if ((physical - offset) / PAGE === apic.mmioPage) return this.apicRead(offset, width);
    return this.ctx.bus.read(physical, width);
  }

  /** Reads from the own local APIC's page; it lies in front of the bus, so that its accesses are traced here. */
  protected apicRead(offset: number, width: number): number {
    const { apic, trace } = this.ctx;
    const value = apic.read(offset, width);
    if (trace.wants[EVENT.mmioRead] !== 0) this.#tell(EVENT.mmioRead, offset, width, value);
    return value;
  }

  #tell(event: number, offset: number, width: number, value: number): void {
    const { apic, trace, index } = this.ctx;
    trace.emit(event, index, apic.mmioPage * PAGE + offset, width, value >>> 0, 0);
  }

  /** Reads `width` (1, 2, 4) bytes of a device page that the TLB holds as readable. */
  deviceLoad(page: number, offset: number, width: number): number {
    return page === this.ctx.apic.mmioPage
      ? this.apicRead(offset, width)
      : this.ctx.bus.read(page * PAGE + offset, width);
  }

  /** Writes the low `width` bytes of `value` to a device page that the TLB holds as writable. */
  deviceStore(page: number, offset: number, width: number, value: number): void {
    const unsigned = width === 4 ? value >>> 0 : width === 2 ? value & 0xffff : value & 0xff;
    this.deviceWrite(page * PAGE + offset, width, unsigned);
  }

  protected deviceWrite(physical: number, width: number, value: number): void {
    const { apic, trace } = this.ctx;
    const offset = physical & 0xfff;
    if ((physical - offset) / PAGE === apic.mmioPage) {
      this.ctx.bus.caches?.fence();
      if (trace.wants[EVENT.mmioWrite] !== 0) this.#tell(EVENT.mmioWrite, offset, width, value);
      apic.write(offset, width, value);
    } else {
      this.ctx.bus.write(physical, width, value);
      this.tlb.checkGeneration();
    }
  }
}
