/**
 * Decoded code, shared by all processors: per physical page and code mode a table of 64 lines of 64 bytes, each a table of 64 record addresses. Empty lines
 * share one table of zeros, so that a look-up has no branch. Records are only ever appended; when the space is used up, everything is dropped at once.
 *
 * A write to a page with decoded code takes the slow path and ends here: if it hits a line that holds code, the page's records are forgotten. Records that
 * are being executed stay intact (nothing is overwritten), and the processor leaves them at the end of the instruction.
 */
import { assert, exists } from "../base/assert.ts";
import type { RamView } from "../ports/ram-view.ts";
import { DECODED, type Decoder } from "./isa/decoder.ts";
import type { HandlerIndex } from "./isa/handlers.ts";
import * as L from "./layout.ts";

const LINES = 64;
const TABLE_SIZE = LINES * 4;
/** Added to the key of a page's second table, the one that leaves out a debugger's stops. */
const TAPPED = 1 << 24;
/** Longest run of straight-line code decoded at once, in instructions. */
const BLOCK_LIMIT = 48;
/** Bytes of the longest instruction. */
const LONGEST = 15;

/** Decoded code of one page in one mode. */
type PageCode = {
  readonly table: number;
  readonly mode: number;
  /** One bit per line that some instruction's bytes lie in. */
  linesLow: number;
  linesHigh: number;
};

export class CodeCache {
  readonly #u8: Uint8Array;
  readonly #i32: Int32Array;
  readonly #view: DataView;
  readonly #ram: RamView;
  readonly #decoder: Decoder;
  readonly #handlers: HandlerIndex;
  readonly #start: number;
  readonly #end: number;
  readonly #emptyLine: number;
  #top: number;
  #bottom: number;
  /** By host page number × 4 + mode, plus TAPPED. */
  readonly #pages = new Map<number, PageCode>();
  /** Instructions that cross a page, by the caller's key. */
  readonly #spans = new Map<string, number>();
  /** Key of the page that a table belongs to. */
  readonly #keys = new Map<number, number>();
  /** By offset in a page: not 0 where a tapped table must not lead to a record (see debug-stops.ts). */
  stopOffsets = new Uint8Array(4096);
  /** A page of RAM has code from now on: every processor must stop writing to it directly. */
  onCodePage: (ramPage: number) => void = () => {};
  /** All tables are about to go away; what it returns is called when they have. */
  onDrop: () => () => void = () => () => {};

  constructor(buffer: ArrayBuffer, start: number, end: number, ram: RamView, decoder: Decoder, handlers: HandlerIndex) {
    this.#u8 = new Uint8Array(buffer);
    this.#i32 = new Int32Array(buffer);
    this.#view = new DataView(buffer);
    this.#ram = ram;
    this.#decoder = decoder;
    this.#handlers = handlers;
    this.#start = start;
    this.#end = end;
    this.#emptyLine = start;
    this.#top = start + TABLE_SIZE;
    this.#bottom = end;
    this.#i32.fill(0, start >>> 2, this.#top >>> 2);
  }

  /** Table of the page at byte offset `host` in the memory, for code of `mode`; made when there is none. `tapped`: the one without a debugger's stops. */
  table(host: number, mode: number, tapped = false): number {
    const key = (host >>> 12) * 4 + mode + (tapped ? TAPPED : 0);
    let page = this.#pages.get(key);
    if (page === undefined) {
      page = { table: this.#allocate(TABLE_SIZE), mode, linesLow: 0, linesHigh: 0 };
      this.#i32.fill(this.#emptyLine, page.table >>> 2, (page.table + TABLE_SIZE) >>> 2);
      this.#pages.set(key, page);
      this.#keys.set(page.table, key);
    }
    return page.table;
  }

  /** A number that names the page and mode of a table, and the way back, for processors that keep tables over {@link drop} or a snapshot. */
  placeOf(table: number): number {
    return exists(this.#keys.get(table), "code cache: unknown table");
  }
  tableOf(place: number): number {
    return this.table(((place & (TAPPED - 1)) >>> 2) * 4096, place & 3, place >= TAPPED);
  }
  /** Byte offset in the memory of the page that a table belongs to when it is one for code of `mode`, else −1. */
  hostOf(table: number, mode: number): number {
    const place = this.placeOf(table);
    return (place & 3) === mode ? ((place & (TAPPED - 1)) >>> 2) * 4096 : -1;
  }
  /** The table of the same page and mode, tapped or not. */
  tapped(table: number, tapped: boolean): number {
    const place = this.placeOf(table) & (TAPPED - 1);
    return this.table((place >>> 2) * 4096, place & 3, tapped);
  }
  /** {@link stopOffsets} has changed: what was decoded for tapped tables is forgotten. Not while a record is running. */
  forgetTapped(): void {
    for (const [key, page] of this.#pages)
      if (key >= TAPPED) this.#i32.fill(this.#emptyLine, page.table >>> 2, (page.table + TABLE_SIZE) >>> 2);
    this.#spans.clear();
  }

  /** Record at byte `offset` of the page whose table is given, 0 when it is not decoded. */
  find(table: number, offset: number): number {
    return this.#i32[(this.#i32[(table >>> 2) + (offset >>> 6)]! >>> 2) + (offset & 63)]!;
  }

  /** Whether a block of the longest kind fits; when not, the caller calls {@link drop} at a moment when no record is running. */
  get full(): boolean {
    return this.#top + BLOCK_LIMIT * (2 * L.RECORD_SIZE + TABLE_SIZE) + 4 * TABLE_SIZE > this.#bottom;
  }

  /** Forgets everything. */
  drop(): void {
    const restore = this.onDrop();
    for (const key of this.#pages.keys()) this.#unmark((((key & (TAPPED - 1)) >>> 2) << 12) >>> 0);
    this.#pages.clear();
    this.#keys.clear();
    this.#spans.clear();
    this.#top = this.#start + TABLE_SIZE;
    this.#bottom = this.#end;
    restore();
  }

  /** Decodes straight-line code from `offset` of the page at `host`. Returns its record, 0 when the first instruction crosses the page's end. */
  decode(host: number, mode: number, offset: number, tapped = false): number {
    const table = this.table(host, mode, tapped);
    const page = this.#pages.get((host >>> 12) * 4 + mode + (tapped ? TAPPED : 0))!;
    this.#mark(host);
    const decoder = this.#decoder;
    let at = offset;
    const first = this.#top;
    for (let n = 0; n < BLOCK_LIMIT; n++) {
      if (n > 0) {
        const known = at < 4096 ? this.find(table, at) : 0;
        if (known !== 0) {
          this.#append("link", at, mode, known);
          return first;
        }
      }
      if (at >= 4096 || (tapped && n > 0 && this.stopOffsets[at] !== 0)) break;
      const available = Math.min(15, 4096 - at);
      decoder.bytes.set(this.#u8.subarray(host + at, host + at + available));
      const record = this.#top;
      if (decoder.decode(available, mode, at, record) === DECODED.more) {
        if (n === 0) return 0;
        break;
      }
      this.#top += decoder.records * L.RECORD_SIZE;
      this.#enter(page, at, record);
      this.#cover(page, at, decoder.length);
      if (decoder.target >= 0) {
        const target = this.find(table, decoder.target);
        if (target !== 0) this.patch(record + (decoder.records - 1) * L.RECORD_SIZE, target);
      }
      at += decoder.length;
      if (decoder.ends) return first;
    }
    this.#append("cross", at, mode, 0);
    return first;
  }

  /**
   * An instruction whose bytes (`decoder.bytes`, `available`) were gathered by the caller: it crosses a page, lies in a device or is fetched one at a
   * time. `key` names it if it may be kept (both pages are RAM), else "".
   */
  decodeAlone(key: string, available: number, mode: number, offset: number, hosts: readonly number[]): number {
    const kept = key === "" ? undefined : this.#spans.get(key);
    if (kept !== undefined) return kept;
    const record = this.#top;
    if (this.#decoder.decode(available, mode, offset, record) === DECODED.more) return 0;
    this.#top += this.#decoder.records * L.RECORD_SIZE;
    this.#append("cross", offset + this.#decoder.length, mode, 0);
    if (key === "") {
      this.#top = record;
      return record;
    }
    this.#spans.set(key, record);
    for (const [i, host] of hosts.entries()) {
      this.table(host, mode);
      this.#mark(host);
      const page = this.#pages.get((host >>> 12) * 4 + mode)!;
      this.#cover(page, i === 0 ? offset : 0, i === 0 ? 4096 - offset : offset + this.#decoder.length - 4096);
    }
    return record;
  }

  /** Whether `record` is one that stays: not of an instruction that was decoded to run once, and not one of those that {@link drop} forgot. */
  keeps(record: number): boolean {
    return record < this.#top;
  }

  /** Tells a direct branch its target's record. */
  patch(branch: number, target: number): void {
    this.#i32[(branch + L.REC.target) >>> 2] = target;
  }

  /** Bytes of a page of RAM were written. True when decoded code went away; data beside it may change. */
  written(ramPage: number, offset: number, length: number): boolean {
    const host = this.#ram.base + ramPage * 4096;
    let hit = false;
    const first = offset >>> 6;
    const last = Math.min(4095, offset + length - 1) >>> 6;
    for (let n = 0; n < 6; n++) {
      const page = this.#pages.get(this.#variant(host, n));
      if (page === undefined) continue;
      let covered = false;
      for (let line = first; line <= last; line++) {
        if (((line < 32 ? page.linesLow >>> line : page.linesHigh >>> (line - 32)) & 1) !== 0) covered = true;
      }
      if (covered && this.#overlaps(page.table, offset, length)) hit = true;
    }
    if (!hit) return false;
    for (let n = 0; n < 6; n++) {
      const page = this.#pages.get(this.#variant(host, n));
      if (page === undefined) continue;
      this.#i32.fill(this.#emptyLine, page.table >>> 2, (page.table + TABLE_SIZE) >>> 2);
      page.linesLow = 0;
      page.linesHigh = 0;
    }
    this.#spans.clear();
    this.#unmark(host);
    return true;
  }

  /** Whether an instruction in a table has one of these bytes. Those over a page's end are in no table: there, any write counts. */
  #overlaps(table: number, offset: number, length: number): boolean {
    if (this.#spans.size > 0 && (offset < LONGEST || offset + length > 4096 - LONGEST)) return true;
    for (let at = Math.max(0, offset - LONGEST + 1), end = Math.min(4096, offset + length); at < end; at++) {
      const record = this.find(table, at);
      if (record !== 0 && at + this.#u8[record + L.REC.length]! > offset) return true;
    }
    return false;
  }

  /** Key of table `n` (0 … 5) of a page: three modes, tapped or not. */
  #variant(host: number, n: number): number {
    return (host >>> 12) * 4 + (n < 3 ? n : n - 3 + TAPPED);
  }

  #allocate(bytes: number): number {
    const at = this.#top;
    this.#top += bytes;
    assert(this.#top <= this.#bottom, "code cache: out of space");
    return at;
  }

  /** Makes `offset` of the page lead to `record`. */
  #enter(page: PageCode, offset: number, record: number): void {
    const slot = (page.table >>> 2) + (offset >>> 6);
    if (this.#i32[slot] === this.#emptyLine) this.#i32[slot] = this.#allocateLine();
    this.#i32[(this.#i32[slot]! >>> 2) + (offset & 63)] = record;
  }

  // Line tables come from the far end of the space, so that the records of a block stay one behind the other.
  #allocateLine(): number {
    this.#bottom -= TABLE_SIZE;
    assert(this.#top <= this.#bottom, "code cache: out of space");
    this.#i32.fill(0, this.#bottom >>> 2, (this.#bottom + TABLE_SIZE) >>> 2);
    return this.#bottom;
  }

  #cover(page: PageCode, offset: number, length: number): void {
    const last = Math.min(4095, offset + length - 1) >>> 6;
    for (let line = offset >>> 6; line <= last; line++) {
      if (line < 32) page.linesLow |= 1 << line;
      else page.linesHigh |= 1 << (line - 32);
    }
  }

  #append(name: "cross" | "link", offset: number, mode: number, target: number): void {
    const record = this.#allocate(L.RECORD_SIZE);
    const v = this.#view;
    v.setUint16(record + L.REC.handler, this.#handlers.find(name, 32, false, mode === 2), true);
    v.setUint16(record + L.REC.offset, offset, true);
    v.setUint8(record + L.REC.length, 0);
    v.setUint32(record + L.REC.target, target, true);
  }

  #mark(host: number): void {
    const ramPage = (host - this.#ram.base) >>> 12;
    if (host < this.#ram.base || this.#ram.codePages[ramPage] !== 0) return;
    this.#ram.codePages[ramPage] = 1;
    this.onCodePage(ramPage);
  }
  #unmark(host: number): void {
    if (host >= this.#ram.base) this.#ram.codePages[(host - this.#ram.base) >>> 12] = 0;
  }
}
