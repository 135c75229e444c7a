/**
 * Finds where a packed archive ends, from the lengths in its headers and mostly without unpacking it: "Zstandard Compression and the
 * application/zstd Media Type" (RFC 8878), "The .xz File Format" 1.1.0, "LZ4 Frame Format Description" (legacy frame), "GZIP file format" (RFC 1952).
 */
import { Inflate } from "fflate";
import { alignUp } from "../base/int.ts";
import { LZ4_LEGACY_MAGIC } from "./lz4.ts";
import { XZ_MAGIC } from "./xz.ts";

const ZSTD_MAGIC = 0xfd2fb528;
const GZIP_MAGIC = 0x8b1f;
const GZIP_TRAILER = 8;

/** The archive goes on behind the end of the file. */
export class Cut extends Error {}

/** Reads inside `bytes` or says that they are cut off. */
class Reader {
  at: number;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, at: number) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
  }

  get left(): number {
    return this.#view.byteLength - this.at;
  }

  skip(count: number): void {
    if (count > this.left) throw new Cut();
    this.at += count;
  }

  u8(): number {
    this.skip(1);
    return this.#view.getUint8(this.at - 1);
  }

  u16(): number {
    return this.u8() | (this.u8() << 8);
  }

  u32(): number {
    this.skip(4);
    return this.#view.getUint32(this.at - 4, true);
  }
}

/** First byte behind the archive that begins at `at`; null when the format is not known or does not tell. Throws {@link Cut}. */
export function packedEnd(bytes: Uint8Array, at: number): number | null {
  const reader = new Reader(bytes, at);
  if (reader.left < 4) return null;
  const magic = reader.u32();
  if (magic === ZSTD_MAGIC) return zstdEnd(reader);
  if (magic === XZ_MAGIC) return xzEnd(reader, at);
  if (magic === LZ4_LEGACY_MAGIC) return lz4End(reader);
  if ((magic & 0xffff) === GZIP_MAGIC) checkGzip(bytes, at);
  return null;
}

/** RFC 8878, 3.1.1: frame header, blocks, checksum. */
function zstdEnd(reader: Reader): number {
  const descriptor = reader.u8();
  const single = (descriptor & 0x20) !== 0;
  const contentSize = [single ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  reader.skip((single ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]! + contentSize);
  for (let last = false; !last; ) {
    const header = reader.u16() | (reader.u8() << 16);
    last = (header & 1) !== 0;
    // A block of type RLE is one byte.
    reader.skip(((header >> 1) & 3) === 1 ? 1 : header >> 3);
  }
  reader.skip((descriptor & 4) !== 0 ? 4 : 0);
  return reader.at;
}

/** Chapters 2 to 4, and 5.3.1 for the chunks. Only blocks that end in LZMA2 are looked into. */
function xzEnd(reader: Reader, start: number): number {
  reader.skip(3);
  const check = reader.u8() & 15;
  reader.skip(4);
  // "Size of Check" (2.1.1.2).
  const checkBytes = check === 0 ? 0 : 4 << Math.floor((check - 1) / 3);
  for (let size = reader.u8(); size !== 0; size = reader.u8()) {
    reader.skip(size * 4 + 3);
    for (let control = reader.u8(); control !== 0; control = reader.u8()) {
      const first = (reader.u8() << 8) | reader.u8();
      if (control < 0x80) reader.skip(first + 1);
      else reader.skip(((reader.u8() << 8) | reader.u8()) + 1 + (control >= 0xc0 ? 1 : 0));
    }
    reader.skip(alignUp(reader.at - start, 4) - (reader.at - start) + checkBytes);
  }
  const index = reader.at - 1;
  const integer = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = reader.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  for (let records = integer(); records > 0; records--) {
    integer();
    integer();
  }
  reader.skip(alignUp(reader.at - index, 4) - (reader.at - index) + 4 + 12);
  return reader.at;
}

/** Blocks with their lengths; the file's end or what is no length ends them. */
function lz4End(reader: Reader): number {
  const LARGEST = (8 << 20) + (1 << 16);
  while (reader.left > 0) {
    const length = reader.u32();
    if (length === 0 || length > LARGEST) return reader.at - 4;
    reader.skip(length);
  }
  return reader.at;
}

/** Deflate tells its end only while it is unpacked. What follows the first member is not looked at. */
function checkGzip(bytes: Uint8Array, start: number): void {
  const reader = new Reader(bytes, start + 3);
  const flags = reader.u8();
  reader.skip(6);
  if ((flags & 4) !== 0) reader.skip(reader.u16());
  const texts = ((flags >> 3) & 1) + ((flags >> 4) & 1);
  for (let i = 0; i < texts; i++) while (reader.u8() !== 0);
  if ((flags & 2) !== 0) reader.skip(2);
  if (reader.left < GZIP_TRAILER) throw new Cut();
  try {
    new Inflate(() => {}).push(bytes.subarray(reader.at, bytes.length - GZIP_TRAILER), true);
  } catch (error) {
    // fflate's "unexpected EOF"; other damage is the guest's to find.
    if ((error as { code?: number }).code === 0) throw new Cut();
  }
}
