/**
 * Guest RAM: a stretch of one ArrayBuffer (the machine's WebAssembly memory). Processors reach the bytes directly; everybody else comes through
 * here, so that decoded code of an overwritten page is thrown away. Not modelled: ECC, refresh, bank timing.
 */
import { assert } from "../base/assert.ts";
import { PAGE } from "../base/units.ts";
import type { RamView } from "../ports/ram-view.ts";

const PAGE_SHIFT = 12;

/** Bulk access to RAM by offset: RAM itself, or RAM behind the processors' caches. */
export interface MemoryCopy {
  /** Copies `length` bytes at RAM offset `offset` into `into` from `at`. */
  copyOut(offset: number, into: Uint8Array, at: number, length: number): void;
  /** Copies `length` bytes of `from` at `at` to RAM offset `offset`. */
  copyIn(offset: number, from: Uint8Array, at: number, length: number): void;
}

export class Ram implements RamView, MemoryCopy {
  readonly bytes: Uint8Array;
  readonly base: number;
  readonly codePages: Uint8Array;
  /** Bytes. */
  readonly size: number;
  /** The buffer that `base` counts in. */
  readonly buffer: ArrayBufferLike;
  readonly #listeners: ((page: number) => void)[] = [];

  /**
   * @param buffer holds RAM at `base` … `base + size`
   * @param base byte offset, a multiple of 4096
   * @param size bytes, a multiple of 4096
   * @param codePages one byte per page, when the processors want to see these in a memory of their own
   */
  constructor(buffer: ArrayBufferLike, base: number, size: number, codePages = new Uint8Array(size / PAGE)) {
    assert(base % PAGE === 0 && size % PAGE === 0 && size > 0, `ram: ${size} bytes at ${base} are not whole pages`);
    assert(base + size <= buffer.byteLength, `ram: ${size} bytes at ${base} do not fit into ${buffer.byteLength}`);
    assert(codePages.length === size / PAGE, "ram: codePages must have one byte per page");
    this.buffer = buffer;
    this.base = base;
    this.size = size;
    this.bytes = new Uint8Array(buffer, base, size);
    this.codePages = codePages;
  }

  /** `listener` is told the page (RAM offset / 4096) whose decoded code has become stale. */
  onInvalidate(listener: (page: number) => void): void {
    this.#listeners.push(listener);
  }

  invalidateCode(page: number): void {
    this.codePages[page] = 0;
    for (let i = 0; i < this.#listeners.length; i++) this.#listeners[i]!(page);
  }

  /** Unsigned little-endian value of `width` (1 … 4) bytes at RAM offset `offset`. */
  read(offset: number, width: number): number {
    const bytes = this.bytes;
    let value = bytes[offset]!;
    if (width > 1) value |= bytes[offset + 1]! << 8;
    if (width > 2) value |= bytes[offset + 2]! << 16;
    if (width > 3) value |= bytes[offset + 3]! << 24;
    return value >>> 0;
  }

  /** Writes the low `width` (1 … 4) bytes of `value`, little endian. */
  write(offset: number, width: number, value: number): void {
    const bytes = this.bytes;
    bytes[offset] = value;
    if (width > 1) bytes[offset + 1] = value >>> 8;
    if (width > 2) bytes[offset + 2] = value >>> 16;
    if (width > 3) bytes[offset + 3] = value >>> 24;
    this.#touched(offset, width);
  }

  /** Copies `length` bytes at RAM offset `offset` into `into` from `at`. */
  copyOut(offset: number, into: Uint8Array, at: number, length: number): void {
    into.set(this.bytes.subarray(offset, offset + length), at);
  }

  /** Copies `length` bytes of `from` at `at` to RAM offset `offset`. */
  copyIn(offset: number, from: Uint8Array, at: number, length: number): void {
    this.bytes.set(from.subarray(at, at + length), offset);
    this.#touched(offset, length);
  }

  /** Copies `length` bytes at RAM offset `from` to RAM offset `to`; the two may overlap. */
  move(from: number, to: number, length: number): void {
    this.bytes.copyWithin(to, from, from + length);
    this.#touched(to, length);
  }

  /** Fills `length` bytes with `value`. */
  fill(offset: number, length: number, value = 0): void {
    this.bytes.fill(value, offset, offset + length);
    this.#touched(offset, length);
  }

  #touched(offset: number, length: number): void {
    if (length === 0) return;
    const last = Math.floor((offset + length - 1) / PAGE);
    for (let page = offset < 0x80000000 ? offset >> PAGE_SHIFT : Math.floor(offset / PAGE); page <= last; page++) {
      if (this.codePages[page] !== 0) this.invalidateCode(page);
    }
  }
}
