/** RFC 8878 (Zstandard), "The .xz File Format" 1.1.0, LZ4's legacy frame, RFC 1952 (GZIP): archives put together from the words of these documents. */
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { Cut, packedEnd } from "./packed-end.ts";

const le = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) & 255);
const filled = (count: number): number[] => Array<number>(count).fill(0x55);

/** The end is found wherever the archive lies and whatever follows; every cut is noticed. */
function whole(archive: number[]): void {
  for (const before of [0, 3, 1000]) {
    const bytes = Uint8Array.of(...filled(before), ...archive, ...filled(50));
    expect(packedEnd(bytes, before)).toBe(before + archive.length);
  }
  expect(packedEnd(Uint8Array.from(archive), 0)).toBe(archive.length);
  for (let length = 4; length < archive.length; length++)
    expect(() => packedEnd(Uint8Array.from(archive.slice(0, length)), 0), `${length} bytes`).toThrow(Cut);
}

describe("Zstandard (RFC 8878, 3.1.1)", () => {
  const MAGIC = le(0xfd2fb528, 4);
  /** Block_Header: Last_Block, Block_Type, Block_Size. */
  const block = (last: number, type: number, size: number): number[] => [
    ...le(last | (type << 1) | (size << 3), 3),
    ...filled(type === 1 ? 1 : size),
  ];

  // Frame_Header_Descriptor: bits 7-6 Frame_Content_Size_flag, 5 Single_Segment, 2 checksum, 1-0 dictionary id. 3.1.1.1: sizes of the fields.
  test.each([
    ["window only", 0x00, 1],
    ["single segment: a content size of 1 byte, no window", 0x20, 1],
    ["content size of 2 bytes", 0x40, 1 + 2],
    ["content size of 4 bytes", 0x80, 1 + 4],
    ["content size of 8 bytes", 0xc0, 1 + 8],
    ["single segment, content size of 8 bytes", 0xe0, 8],
    ["dictionary id of 1 byte", 0x01, 1 + 1],
    ["dictionary id of 2 bytes", 0x02, 1 + 2],
    ["dictionary id of 4 bytes", 0x03, 1 + 4],
  ])("frame header: %s", (_name, descriptor, bytes) => {
    whole([...MAGIC, descriptor, ...filled(bytes), ...block(1, 0, 7)]);
  });

  test("blocks up to the last: raw, RLE (one byte whatever its size), compressed; a checksum of 4 bytes if the header says so", () => {
    const blocks = [...block(0, 0, 300), ...block(0, 1, 100_000), ...block(0, 2, 40), ...block(1, 2, 3)];
    whole([...MAGIC, 0x00, 0x50, ...blocks]);
    whole([...MAGIC, 0x04, 0x50, ...blocks, ...filled(4)]);
    whole([...MAGIC, 0x00, 0x50, ...block(1, 0, 0)]);
  });
});

describe("LZ4, legacy frame", () => {
  const MAGIC = le(0x184c2102, 4);

  test("blocks with their sizes; 0 or an impossible size ends them, as does the end", () => {
    const archive = [...MAGIC, ...le(5, 4), ...filled(5), ...le(300, 4), ...filled(300)];
    for (const behind of [le(0, 4), filled(8), le(0xffffffff, 4)])
      expect(packedEnd(Uint8Array.of(...archive, ...behind), 0)).toBe(archive.length);
    expect(packedEnd(Uint8Array.from(archive), 0)).toBe(archive.length);
    for (const length of [11, 12, 13, 14, 15, 16, 17, 100, archive.length - 1]) {
      const cut = (): unknown => packedEnd(Uint8Array.from(archive.slice(0, length)), 0);
      if (length === 13) expect(cut()).toBe(13);
      else expect(cut, `${length} bytes`).toThrow(Cut);
    }
  });
});

describe(".xz (chapters 2 to 5)", () => {
  /** 2.1.1: magic, flags (type of check), CRC. */
  const header = (check: number): number[] => [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, check, ...filled(4)];
  /** 3.1: the size byte counts units of 4 besides itself: (size + 1) * 4 bytes. */
  const blockHeader = (units: number): number[] => [units, ...filled(units * 4 + 3)];
  /** 5.3.1: 1 = uncompressed with a reset of the dictionary, 0xE0 = LZMA with new properties, 0x80 without. */
  const raw = (bytes: number): number[] => [1, (bytes - 1) >> 8, (bytes - 1) & 255, ...filled(bytes)];
  const lzma = (control: number, bytes: number): number[] => [
    ...[control, 0xff, 0xff, (bytes - 1) >> 8, (bytes - 1) & 255],
    ...filled(control >= 0xc0 ? 1 : 0),
    ...filled(bytes),
  ];
  const padded = (bytes: number[]): number[] => [...bytes, ...Array<number>((4 - (bytes.length % 4)) % 4).fill(0)];
  /** 4: indicator, number of records, records of two numbers, padding, CRC; 2.1.2: footer of 12 bytes. */
  const tail = (...numbers: number[][]): number[] => [
    ...padded([0, numbers.length / 2, ...numbers.flat()]),
    ...filled(4 + 12),
  ];

  // 2.1.1.2, "Size of Check": 0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64.
  test.each([
    [0, 0],
    [1, 4],
    [3, 4],
    [4, 8],
    [6, 8],
    [7, 16],
    [10, 32],
    [13, 64],
    [15, 64],
  ])("check of type %i: %i bytes", (check, bytes) => {
    whole([...header(check), ...padded([...blockHeader(2), ...raw(5), 0]), ...filled(bytes), ...tail([9], [5])]);
  });

  test("chunks of all kinds, several blocks, numbers of several bytes, no block at all", () => {
    const first = padded([...blockHeader(2), ...lzma(0xe0, 300), ...lzma(0x80, 7), ...lzma(0xc0, 8), ...raw(2), 0]);
    const second = padded([...blockHeader(5), ...lzma(0xff, 1), 0]);
    const records = [[0x80, 0x80, 0x01], [0xff, 0x01], [3], [4]];
    whole([...header(1), ...first, ...filled(4), ...second, ...filled(4), ...tail(...records)]);
    whole([...header(4), ...tail()]);
  });
});

describe("GZIP (RFC 1952)", () => {
  const body = [...gzipSync(Array.from({ length: 500 }, (_, i) => i * i).join())].slice(10);
  const header = (flags: number, more: number[]): number[] => [0x1f, 0x8b, 8, flags, ...filled(6), ...more];

  // 2.3: FEXTRA with its length, FNAME and FCOMMENT ended by 0, FHCRC.
  test.each([
    ["no flags", 0, []],
    ["FEXTRA", 4, [...le(300, 2), ...filled(300)]],
    ["FNAME", 8, [...filled(5), 0]],
    ["FCOMMENT", 16, [...filled(9), 0]],
    ["FHCRC", 2, filled(2)],
    ["all", 30, [...le(3, 2), 1, 2, 3, ...filled(4), 0, 0x41, 0, ...filled(2)]],
  ])("%s: whole archives do not tell their end, cut ones are noticed", (_name, flags, more) => {
    const archive = [...header(flags, more), ...body];
    expect(packedEnd(Uint8Array.from(archive), 0)).toBe(null);
    for (const length of [4, 10, 10 + more.length, archive.length - 40, archive.length - 9])
      expect(() => packedEnd(Uint8Array.from(archive.slice(0, length)), 0), `${length} bytes`).toThrow(Cut);
  });
});

test("other formats, and what is too short for any, do not tell", () => {
  expect(packedEnd(Uint8Array.of(1, 2, 3, 4, 5), 0)).toBe(null);
  expect(packedEnd(Uint8Array.of(0x28, 0xb5, 0x2f), 0)).toBe(null);
});
