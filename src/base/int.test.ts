import { expect, test } from "vitest";
import { alignDown, alignUp, hex, highestBit, lowestBit, onesOf, sext, u32 } from "./int.ts";

test("u32 wraps to 32 bits, unsigned", () => {
  expect([u32(-1), u32(2 ** 32), u32(2 ** 32 + 5), u32(-(2 ** 31))]).toEqual([0xffffffff, 0, 5, 0x80000000]);
});

test("sext copies the top bit of the field into all bits above, and ignores what was there", () => {
  for (let bits = 1; bits <= 32; bits++) {
    const top = 2 ** (bits - 1);
    expect(sext(top, bits)).toBe(-top);
    expect(sext(top - 1, bits)).toBe(top - 1);
    expect(sext(2 ** bits - 1, bits)).toBe(-1);
    expect(sext(0, bits)).toBe(0);
  }
  expect(sext(0xff7f, 8)).toBe(0x7f);
  expect(sext(0x80, 8)).toBe(-0x80);
});

test("an open bus reads all ones in every width", () => {
  expect([1, 2, 4].map(onesOf)).toEqual([0xff, 0xffff, 0xffffffff]);
});

test("alignment works below and above 2^32", () => {
  for (const unit of [1, 2, 16, 4096, 65536]) {
    for (const value of [0, 1, 4095, 4096, 4097, 2 ** 32 - 1, 2 ** 32, 2 ** 45 + 3]) {
      const [down, up] = [alignDown(value, unit), alignUp(value, unit)];
      expect(BigInt(down)).toBe((BigInt(value) / BigInt(unit)) * BigInt(unit));
      expect(up - down).toBe(value === down ? 0 : unit);
    }
  }
});

test("highest and lowest set bit of every single bit and of pairs; -1 for zero", () => {
  expect([highestBit(0), lowestBit(0)]).toEqual([-1, -1]);
  for (let i = 0; i < 32; i++) {
    for (let j = i; j < 32; j++) {
      for (const word of [(1 << i) | (1 << j), ((1 << i) | (1 << j)) >>> 0]) {
        expect(lowestBit(word)).toBe(i);
        expect(highestBit(word)).toBe(j);
      }
    }
  }
});

test("hex is prefixed and padded", () => {
  expect([hex(0), hex(255), hex(0xf, 4), hex(2 ** 40)]).toEqual(["0x0", "0xff", "0x000f", "0x10000000000"]);
});
