import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Window, WindowWidth } from "../ports/window.ts";
import { checkWindow, readWindow, writeWindow } from "./access.ts";

/** A window over plain bytes that notes every access and refuses what the policy must not let through. */
class Bytes implements Window {
  readonly name = "bytes";
  readonly size = 16;
  readonly minWidth: WindowWidth;
  readonly maxWidth: WindowWidth;
  readonly narrowWrites?: "merge" | "drop";
  readonly bytes = Uint8Array.from({ length: 16 }, (_, i) => 0x10 + i);
  readonly log: string[] = [];
  constructor(minWidth: WindowWidth, maxWidth: WindowWidth, narrowWrites?: "merge" | "drop") {
    this.minWidth = minWidth;
    this.maxWidth = maxWidth;
    if (narrowWrites !== undefined) this.narrowWrites = narrowWrites;
  }
  #check(offset: number, width: number): void {
    const natural = (width === 1 || width === 2 || width === 4) && offset % width === 0;
    if (!natural || width < this.minWidth || width > this.maxWidth || offset + width > 16) {
      throw new Error(`access of ${width} at ${offset}`);
    }
  }
  read(offset: number, width: number): number {
    this.#check(offset, width);
    this.log.push(`r${width}@${offset}`);
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + this.bytes[offset + i]!;
    return value;
  }
  write(offset: number, width: number, value: number): void {
    this.#check(offset, width);
    if (value < 0 || value >= 2 ** (8 * width)) throw new Error(`value ${value} for ${width}`);
    this.log.push(`w${width}@${offset}`);
    for (let i = 0; i < width; i++) this.bytes[offset + i] = Math.floor(value / 256 ** i);
  }
}

test("a wider access is split, lowest address first", () => {
  const window = new Bytes(1, 1);
  expect(readWindow(window, 4, 4)).toBe(0x17161514);
  writeWindow(window, 2, 2, 0xbeef);
  expect(window.log).toEqual(["r1@4", "r1@5", "r1@6", "r1@7", "w1@2", "w1@3"]);
  expect([window.bytes[2], window.bytes[3]]).toEqual([0xef, 0xbe]);
});

test("a narrower read reads the whole register once and is cut", () => {
  const window = new Bytes(4, 4);
  expect(readWindow(window, 5, 2)).toBe(0x1615);
  expect(window.log).toEqual(["r4@4"]);
});

test("a narrower write is merged where the window says so", () => {
  const window = new Bytes(4, 4, "merge");
  writeWindow(window, 6, 1, 0xaa);
  expect(window.log).toEqual(["r4@4", "w4@4"]);
  expect([...window.bytes.subarray(4, 8)]).toEqual([0x14, 0x15, 0xaa, 0x17]);
});

test("a narrower write vanishes where the window drops it, without a read", () => {
  const window = new Bytes(4, 4, "drop");
  writeWindow(window, 6, 2, 0xaaaa);
  expect(window.log).toEqual([]);
});

test("an access over two registers touches each once", () => {
  const window = new Bytes(4, 4, "merge");
  expect(readWindow(window, 2, 4)).toBe(0x15141312);
  expect(window.log).toEqual(["r4@0", "r4@4"]);
});

test("a window whose widths contradict one another is refused", () => {
  expect(() => checkWindow(new Bytes(4, 2))).toThrow(/minWidth/);
});

const widths: WindowWidth[] = [1, 2, 4];
describe.each(widths.flatMap(min => widths.filter(max => max >= min).map(max => ({ min, max }))))(
  "window that takes $min to $max bytes",
  ({ min, max }) => {
    test("reads and merging writes at any width and alignment equal plain bytes", () => {
      fc.assert(
        fc.property(
          fc.integer({ min: 0, max: 12 }),
          fc.integer({ min: 1, max: 4 }),
          fc.nat(0xffffffff),
          (offset, width, value) => {
            const window = new Bytes(min, max, "merge");
            const expected = window.bytes.slice();
            for (let i = 0; i < width; i++) expected[offset + i] = Math.floor(value / 256 ** i);
            let before = 0;
            for (let i = width - 1; i >= 0; i--) before = before * 256 + window.bytes[offset + i]!;
            expect(readWindow(window, offset, width)).toBe(before);
            writeWindow(window, offset, width, value);
            expect([...window.bytes]).toEqual([...expected]);
          },
        ),
      );
    });
  },
);
