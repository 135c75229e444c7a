/** "LZ4 Block Format Description" and "LZ4 Frame Format Description", chapter "Legacy frame". */
import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { unpackLz4 } from "./lz4.ts";

/** A legacy frame of blocks. */
const frame = (...blocks: number[][]): Uint8Array =>
  Uint8Array.from([0x02, 0x21, 0x4c, 0x18, ...blocks.flatMap(b => [b.length & 255, b.length >> 8, 0, 0, ...b])]);
const chars = (text: string): number[] => [...text].map(c => c.charCodeAt(0));
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

describe("blocks", () => {
  test("literals alone: the token's high nibble is their number", () => {
    expect(text(unpackLz4(frame([0x30, ...chars("abc")]), 3))).toBe("abc");
  });
  test("a match copies 4 bytes more than the low nibble from `offset` bytes back, also over itself", () => {
    expect(text(unpackLz4(frame([0x22, ...chars("ab"), 2, 0, 0x10, ...chars("!")]), 9))).toBe("abababab!");
  });
  test("a nibble of 15 goes on in the following bytes until one is not 255", () => {
    const many = Array.from({ length: 15 + 255 + 7 }, () => 0x78);
    expect(unpackLz4(frame([0xf0, 255, 7, ...many]), many.length)).toEqual(Uint8Array.from(many));
    expect(unpackLz4(frame([0x1f, 0x78, 1, 0, 255, 3, 0x10, 0x79]), 1 + 4 + 15 + 258 + 1).at(-2)).toBe(0x78);
  });
  test("blocks follow each other", () => {
    expect(text(unpackLz4(frame([0x10, 0x61], [0x10, 0x62]), 2))).toBe("ab");
  });
});

describe("damage is told, never read past", () => {
  test.each<[string, Uint8Array, number, RegExp]>([
    ["another magic", Uint8Array.of(1, 2, 3, 4), 0, /no LZ4/],
    ["an offset before the block", frame([0x10, 0x61, 2, 0]), 8, /outside/],
    ["an offset of 0", frame([0x10, 0x61, 0, 0, 0x10, 0x62]), 6, /outside/],
    ["into the block before", frame([0x10, 0x61], [0x10, 0x62, 2, 0]), 8, /outside/],
    ["cut literals", frame([0x30, 0x61]), 3, /fit/],
    ["more than was promised", frame([0x30, 0x61, 0x61, 0x61]), 2, /fit/],
    ["less than was promised", frame([0x10, 0x61]), 2, /1 bytes instead of 2/],
    ["a cut block", frame([0x30, 0x61, 0x61, 0x61]).subarray(0, 10), 3, /cut off/],
  ])("%s", (_name, packed, size, why) => {
    expect(() => unpackLz4(packed, size)).toThrow(why);
  });

  test("any bytes either unpack or are refused", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(255), { maxLength: 40 }), fc.nat(100), (block, size) => {
        try {
          expect(unpackLz4(frame(block), size).length).toBe(size);
        } catch (error) {
          expect(error).not.toBeInstanceOf(RangeError);
        }
      }),
    );
  });
});

const hasLz4 = spawnSync("lz4", ["--version"]).error === undefined;
test.runIf(hasLz4)("what the lz4 tool packs (lz4 -l -9), 17 MiB in three blocks", () => {
  const data = new Uint8Array(17 << 20);
  for (let i = 0, x = 1; i < data.length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    // Runs, repeats and noise.
    data[i] = i % 5000 < 3000 ? (i >> 6) & 255 : x >>> 24;
  }
  const { stdout } = spawnSync("lz4", ["-l", "-9", "-c"], { input: data, maxBuffer: 1 << 28 });
  expect(Buffer.compare(unpackLz4(new Uint8Array(stdout), data.length), data)).toBe(0);
});
