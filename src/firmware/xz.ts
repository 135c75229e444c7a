/**
 * Unpacks XZ as Linux kernels are packed ("The .xz File Format" 1.1.0): any number of blocks, LZMA2 with or without the x86 filter, CRC32 or no check. No
 * published package does this in Node and in a browser: see ARCHITECTURE.md, "Libraries". Not read: other filters, CRC64, SHA-256, several streams.
 */
import { Lzma2 } from "./lzma2.ts";

/** "Header Magic Bytes": the first four of six. */
export const XZ_MAGIC = 0x587a37fd;
const MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
const FOOTER_MAGIC = [0x59, 0x5a];
const HEADER_BYTES = 12;
const CHECK = { none: 0, crc32: 1 } as const;
/** "Filter IDs": 5.3.1 and 5.3.2. */
const FILTER = { x86: 0x04, lzma2: 0x21 } as const;
const INDEX = 0x00;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** CRC32 of IEEE 802.3 over `bytes[from … to - 1]`. */
export function crc32(bytes: Uint8Array, from: number, to: number): number {
  let crc = -1;
  for (let i = from; i < to; i++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[i]!) & 0xff]!;
  return ~crc >>> 0;
}

type Block = { readonly unpadded: number; readonly size: number };

class Stream {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #out: Uint8Array;
  readonly #blocks: Block[] = [];
  #at = 0;
  #to = 0;
  #check = 0;

  constructor(bytes: Uint8Array, size: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#out = new Uint8Array(size);
  }

  unpack(): Uint8Array {
    this.#header();
    while (this.#u8() !== INDEX) {
      this.#at--;
      this.#block();
    }
    const start = this.#at - 1;
    this.#index(start);
    this.#footer(this.#at - start);
    if (this.#to !== this.#out.length) throw new Error(`${this.#to} bytes instead of ${this.#out.length}`);
    return this.#out;
  }

  #u8(): number {
    this.#need(1);
    return this.#bytes[this.#at++]!;
  }

  #u32(): number {
    this.#need(4);
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }

  #need(count: number): void {
    if (this.#at + count > this.#bytes.length) throw new Error("the XZ stream is cut off");
  }

  /** "Multibyte Integers" (1.2): 7 bits per byte, lowest first. Larger ones than 2^53 are refused: nothing here is that large. */
  #integer(): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 49; scale *= 128) {
      const byte = this.#u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw new Error("a number in the XZ stream is too large");
  }

  /** The CRC32 that stands next is that of everything from `start` on. */
  #verify(start: number, what: string): void {
    const end = this.#at;
    if (this.#u32() !== crc32(this.#bytes, start, end)) throw new Error(`the checksum of ${what} is wrong`);
  }

  #zeros(start: number): void {
    while ((this.#at - start) % 4 !== 0) if (this.#u8() !== 0) throw new Error("padding of the XZ stream is not zero");
  }

  #header(): void {
    this.#need(HEADER_BYTES);
    if (MAGIC.some(byte => this.#u8() !== byte)) throw new Error("no XZ stream");
    const reserved = this.#u8();
    this.#check = this.#u8();
    this.#verify(MAGIC.length, "the XZ header");
    if (reserved !== 0 || (this.#check !== CHECK.none && this.#check !== CHECK.crc32)) {
      throw new Error(`XZ with check ${this.#check} instead of CRC32`);
    }
  }

  /** Chapter 3. */
  #block(): void {
    const start = this.#at;
    const { dictionary, x86 } = this.#blockHeader();
    const from = this.#to;
    const end = new Lzma2(this.#bytes, this.#at, this.#out, from, dictionary).run();
    this.#at = end.at;
    this.#to = end.to;
    if (x86) undoX86Filter(this.#out.subarray(from, end.to));
    let unpadded = this.#at - start;
    this.#zeros(start);
    if (this.#check === CHECK.crc32) {
      unpadded += 4;
      if (this.#u32() !== crc32(this.#out, from, end.to)) throw new Error("the checksum of the unpacked data is wrong");
    }
    this.#blocks.push({ unpadded, size: end.to - from });
  }

  /** 3.1; sizes, where present, are those of the index once more. */
  #blockHeader(): { readonly dictionary: number; readonly x86: boolean } {
    const start = this.#at;
    const end = start + this.#u8() * 4;
    const flags = this.#u8();
    if ((flags & 0x3c) !== 0) throw new Error("a block of XZ has unknown flags");
    if ((flags & 0x40) !== 0) this.#integer();
    if ((flags & 0x80) !== 0) this.#integer();
    let dictionary = 0;
    let x86 = false;
    const filters = (flags & 3) + 1;
    for (let i = 0; i < filters; i++) {
      const id = this.#integer();
      const size = this.#integer();
      const last = i === filters - 1;
      if (id === FILTER.lzma2 && last && size === 1) dictionary = dictionaryBytes(this.#u8());
      else if (id === FILTER.x86 && !last && !x86 && size === 0) x86 = true;
      else throw new Error(`XZ with filter ${id}: only x86 and LZMA2 are known`);
    }
    if (this.#at > end) throw new Error("a block header of XZ is too short");
    while (this.#at < end) if (this.#u8() !== 0) throw new Error("padding of the XZ stream is not zero");
    this.#verify(start, "an XZ block header");
    return { dictionary, x86 };
  }

  /** Chapter 4: the same sizes as the blocks'. */
  #index(start: number): void {
    let same = this.#integer() === this.#blocks.length;
    for (const { unpadded, size } of same ? this.#blocks : []) {
      const first = this.#integer();
      same = this.#integer() === size && first === unpadded && same;
    }
    if (!same) throw new Error("the XZ index does not belong to the blocks");
    this.#zeros(start);
    this.#verify(start, "the XZ index");
  }

  /** 2.1.2. @param indexBytes what "Backward Size" tells */
  #footer(indexBytes: number): void {
    const checksum = this.#u32();
    const start = this.#at;
    const backward = (this.#u32() + 1) * 4;
    const flags = this.#u8() === 0 && this.#u8() === this.#check;
    if (checksum !== crc32(this.#bytes, start, this.#at)) throw new Error("the checksum of the XZ footer is wrong");
    if (!flags || backward !== indexBytes || FOOTER_MAGIC.some(byte => this.#u8() !== byte)) {
      throw new Error("the XZ footer does not belong to the stream");
    }
  }
}

/** 5.3.1: 2 or 3 times a power of two, from 4 KiB on; 40 means 4 GiB - 1. */
function dictionaryBytes(code: number): number {
  if (code > 40) throw new Error("a bad dictionary size");
  return code === 40 ? 2 ** 32 - 1 : (2 | (code & 1)) * 2 ** ((code >> 1) + 11);
}

/** Highest byte of a displacement that is near. */
const isSign = (byte: number): boolean => byte === 0x00 || byte === 0xff;

/**
 * Makes the displacements behind E8 and E9 (CALL, JMP) relative again (5.3.2 "Branch/Call/Jump Filters"). The encoder could not know where instructions
 * begin: `recent` holds, one bit per byte back, which of the last three bytes looked like an opcode and was left alone, for it took them into account.
 */
function undoX86Filter(bytes: Uint8Array): void {
  let recent = 0;
  for (let at = 0; at + 5 <= bytes.length; at++) {
    const earlier = recent;
    recent = (recent << 1) & 7;
    if ((bytes[at]! & 0xfe) !== 0xe8) continue;
    // How far back a single one lies; two or more forbid the conversion.
    const back = 32 - Math.clz32(earlier);
    const lone = (earlier & (earlier - 1)) === 0;
    const clear = earlier === 0 || (lone && !isSign(bytes[at + 4 - back]!));
    if (clear && isSign(bytes[at + 4]!)) {
      convert(bytes, at, back);
      at += 4;
      recent = 0;
    } else recent |= 1;
  }
}

/** @param back distance of the one opcode-like byte before this, or 0: its operand overlaps this one, and must not look near afterwards */
function convert(bytes: Uint8Array, at: number, back: number): void {
  let value = bytes[at + 1]! | (bytes[at + 2]! << 8) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 24);
  const next = at + 5;
  let result = (value - next) | 0;
  while (back !== 0 && isSign((result >>> (24 - back * 8)) & 0xff)) {
    value = result ^ ((1 << (32 - back * 8)) - 1);
    result = (value - next) | 0;
  }
  bytes[at + 1] = result;
  bytes[at + 2] = result >> 8;
  bytes[at + 3] = result >> 16;
  // 25 bits with their sign.
  bytes[at + 4] = (result & 0x1000000) === 0 ? 0x00 : 0xff;
}

/** What `packed` holds, in `size` bytes. Throws an Error that says what is wrong with it. */
export function unpackXz(packed: Uint8Array, size: number): Uint8Array {
  return new Stream(packed, size).unpack();
}
