/** "The .xz File Format" 1.1.0 (chapters in the names); what is packed comes from xz itself where it is installed. */
import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { unpackXz } from "./xz.ts";

/** CRC32 bit by bit (ISO 3309). */
function crc(bytes: readonly number[]): number[] {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let i = 0; i < 8; i++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  value = ~value >>> 0;
  return [0, 8, 16, 24].map(shift => (value >>> shift) & 0xff);
}
const pad = (bytes: number[]): number[] => [...bytes, ...Array((4 - (bytes.length % 4)) % 4).fill(0)];

type Parts = { check?: number; filters?: number[]; chunks: number[]; plain: number[]; records?: number[] };

/** A stream with one block, by hand. */
function stream({ check = 1, filters = [0x00, 0x21, 0x01, 0x16], chunks, plain, records }: Parts): Uint8Array {
  const flags = [0x00, check];
  const contents = pad([0, ...filters]);
  contents[0] = contents.length / 4;
  const header = [...contents, ...crc(contents)];
  const checksum = check === 1 ? crc(plain) : [];
  const unpadded = header.length + chunks.length + checksum.length;
  const index = pad([0x00, ...(records ?? [1, unpadded, plain.length])]);
  const footer = [(index.length + 4) / 4 - 1, 0, 0, 0, ...flags];
  return Uint8Array.from([
    ...[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, ...flags, ...crc(flags)],
    ...[...header, ...pad(chunks), ...checksum],
    ...[...index, ...crc(index), ...crc(footer), ...footer, 0x59, 0x5a],
  ]);
}

const PLAIN = [...new TextEncoder().encode("uncompressed")];
/** 5.3.1: control 1, size - 1 in big endian, data; end. */
const CHUNKS = [0x01, 0x00, PLAIN.length - 1, ...PLAIN, 0x00];
const text = (packed: Uint8Array, size = PLAIN.length): string => new TextDecoder().decode(unpackXz(packed, size));

describe("the container", () => {
  test("stream header, block, index and footer around an uncompressed chunk (chapters 2 to 4)", () => {
    expect(text(stream({ chunks: CHUNKS, plain: PLAIN }))).toBe("uncompressed");
    expect(text(stream({ chunks: CHUNKS, plain: PLAIN, check: 0 }))).toBe("uncompressed");
  });

  test("a chunk that does not reset the dictionary may only follow one that does (5.3.1)", () => {
    const two = [...CHUNKS.slice(0, -1), 0x02, 0x00, 0x00, 0x21, 0x00];
    expect(text(stream({ chunks: two, plain: [...PLAIN, 0x21] }), PLAIN.length + 1)).toBe("uncompressed!");
    expect(() => text(stream({ chunks: [0x02, ...CHUNKS.slice(1)], plain: PLAIN }))).toThrow(/chunk/);
  });

  test("what is not read is named: other checks, other filters", () => {
    expect(() => text(stream({ chunks: CHUNKS, plain: PLAIN, check: 4 }))).toThrow(/check 4/);
    const arm = [0x01, 0x07, 0x00, 0x21, 0x01, 0x16];
    expect(() => text(stream({ chunks: CHUNKS, plain: PLAIN, filters: arm }))).toThrow(/filter 7/);
  });

  test("every single byte that is changed, and every byte that is missing, is noticed", () => {
    const good = stream({ chunks: CHUNKS, plain: PLAIN });
    for (let at = 0; at < good.length; at++) {
      const bad = good.slice();
      bad[at]! ^= 0x10;
      expect(() => text(bad), `byte ${at}`).toThrow();
      expect(() => text(good.subarray(0, at)), `${at} bytes`).toThrow();
    }
  });

  test("an index that tells of other sizes, and a size that is not the kernel's", () => {
    expect(() => text(stream({ chunks: CHUNKS, plain: PLAIN, records: [1, 99, PLAIN.length] }))).toThrow(/index/);
    const other = [1, 12 + CHUNKS.length + 4, PLAIN.length + 1];
    expect(() => text(stream({ chunks: CHUNKS, plain: PLAIN, records: other }))).toThrow(/index/);
    expect(() => text(stream({ chunks: CHUNKS, plain: PLAIN, records: [0] }))).toThrow(/index/);
    expect(() => text(stream({ chunks: CHUNKS, plain: PLAIN }), 13)).toThrow(/12 bytes instead of 13/);
    expect(() => text(stream({ chunks: CHUNKS, plain: PLAIN }), 11)).toThrow(/more bytes than announced/);
  });
});

const xz = (bytes: Uint8Array, ...args: string[]): Uint8Array =>
  new Uint8Array(spawnSync("xz", ["-c", "--check=crc32", ...args], { input: bytes, maxBuffer: 1 << 28 }).stdout);
const hasXz = spawnSync("xz", ["--version"]).error === undefined;
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

describe.runIf(hasXz)("what xz has packed", () => {
  /** Words of a small language: literals, near and far matches, repeated distances. */
  const words = Uint8Array.from({ length: 400_000 }, (_, i) => {
    const word = Math.imul(i >> 4, 0x9e3779b1) >>> 24;
    return (i & 15) < 9 ? word % 23 : (Math.imul(i & 15, word) ^ (i >> 13)) & 0xff;
  });
  const noise = Uint8Array.from(
    { length: 200_000 },
    (_, i) => (Math.imul(i ^ 0x5bd1, i * 0x2545f + 0x3c6ef35f) >>> 11) & 0xff,
  );
  /** Full of E8 and E9 with operands that look near, in all distances to each other. */
  const calls = Uint8Array.from({ length: 120_000 }, (_, i) => {
    let mixed = Math.imul(i + 1, 0x9e3779b1);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35) ^ (mixed >>> 16);
    const choice = (mixed >>> 8) & 15;
    return choice < 6 ? 0xe8 + (choice & 1) : choice < 9 ? 0x00 : choice < 12 ? 0xff : mixed >>> 24;
  });

  test.each([
    ["preset 0", ["-0"]],
    ["preset 9, extreme", ["-9e"]],
    ["literal context and position bits", ["--lzma2=preset=6,lc=1,lp=3,pb=0"]],
    ["all position bits", ["--lzma2=preset=6,lc=0,lp=0,pb=4"]],
    ["a small dictionary", ["--lzma2=preset=6,dict=4KiB"]],
    ["several blocks", ["--block-size=30000"]],
    ["the x86 filter, as kernels are packed", ["--x86", "--lzma2=dict=32MiB"]],
    ["the x86 filter in several blocks", ["--block-size=9999", "--x86", "--lzma2=preset=3"]],
  ])("%s", (_name, args) => {
    for (const plain of [words, noise, calls, new Uint8Array(70_000), Uint8Array.of(1)]) {
      expect(same(unpackXz(xz(plain, ...args), plain.length), plain)).toBe(true);
    }
  });

  test("a match that reaches behind the dictionary is an error (5.3.1: dictionary size)", () => {
    const packed = xz(words, "--lzma2=preset=6,dict=64KiB");
    expect([...packed.subarray(12, 17)]).toEqual([0x02, 0x00, 0x21, 0x01, 8]);
    packed[16] = 0;
    packed.set(crc([...packed.subarray(12, 20)]), 20);
    expect(() => unpackXz(packed, words.length)).toThrow(/too far back/);
  });

  test("damage anywhere ends in an error and not in other bytes", () => {
    const plain = words.subarray(0, 50_000);
    const packed = xz(plain, "--x86", "--lzma2");
    const places = fc.tuple(fc.nat(packed.length - 1), fc.integer({ min: 1, max: 255 }));
    fc.assert(
      fc.property(places, ([at, change]) => {
        const bad = packed.slice();
        bad[at]! ^= change;
        expect(() => unpackXz(bad, plain.length)).toThrow();
      }),
    );
  });
});
