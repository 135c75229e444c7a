import { describe, expect, test } from "vitest";
import { Field, layout } from "./layout.ts";

describe("one field", () => {
  test("of every width at every place: value, mask, test and replacement agree with plain arithmetic", () => {
    for (let low = 0; low < 32; low++) {
      for (let high = low; high < 32; high++) {
        const field = new Field("f", high, low);
        const max = 2 ** (high - low + 1) - 1;
        expect([field.max, field.mask, field.shift]).toEqual([max, max * 2 ** low, low]);
        for (const word of [0, 0xffffffff, 0xa5c35a3c]) {
          const value = Math.floor(word / 2 ** low) % (max + 1);
          expect(field.of(word)).toBe(value);
          expect(field.of(word | 0)).toBe(value);
          expect(field.on(word)).toBe(value !== 0);
          const cleared = word - value * 2 ** low;
          expect(field.put(word, 0)).toBe(cleared);
          expect(field.put(word | 0, max)).toBe(cleared + max * 2 ** low);
        }
        if (max < 0xffffffff) expect(() => field.put(0, max + 1)).toThrow(/does not fit/);
        expect(() => field.put(0, -1)).toThrow(/does not fit/);
      }
    }
  });

  test("bits above 31 lie in later words", () => {
    const field = new Field("destination", 63, 56);
    expect([field.word, field.shift, field.max, field.mask]).toEqual([1, 24, 0xff, 0xff000000]);
  });

  test("reversed, negative and word-straddling bits are refused", () => {
    expect(() => new Field("f", 3, 4)).toThrow(/reversed/);
    expect(() => new Field("f", 0, -1)).toThrow(/reversed/);
    expect(() => new Field("f", 32, 31)).toThrow(/straddle/);
    expect(() => new Field("f", 64, 63)).toThrow(/straddle/);
  });
});

describe("a layout", () => {
  test("overlapping fields are refused, in every word; neighbours are not", () => {
    expect(() => layout("R", 32, { a: [7, 4], b: 4 })).toThrow(/R.*b overlaps/);
    expect(() => layout("R", 32, { a: [31, 0], b: 31 })).toThrow(/overlaps/);
    expect(() => layout("R", 64, { a: [39, 32], b: [35, 33] })).toThrow(/overlaps/);
    expect(() => layout("R", 128, { a: [127, 96], b: 100 })).toThrow(/overlaps/);
    expect(() => layout("R", 64, { a: [7, 0], b: [15, 8], c: [39, 32], d: [47, 40] })).not.toThrow();
  });

  test("fields outside the register are refused", () => {
    expect(() => layout("R", 8, { a: 8 })).toThrow(/outside 8 bits/);
    expect(() => layout("R", 16, { a: [16, 12] })).toThrow(/outside/);
    expect(() => layout("R", 8, { a: 7 })).not.toThrow();
  });

  test("describe names single bits, gives wider fields as name=value, leaves zeros out and keeps the order", () => {
    const r = layout("RTE", 64, { vector: [7, 0], mode: [10, 8], mask: 16, destination: [63, 56] });
    expect(r.$.describe(0, 0)).toBe("");
    expect(r.$.describe(0x10030, 0x02000000)).toBe("vector=0x30 mask destination=0x2");
    expect(r.$.describe(0x700)).toBe("mode=0x7");
    expect([r.$.name, r.$.width, r.$.fields.map(f => f.name)]).toEqual([
      "RTE",
      64,
      ["vector", "mode", "mask", "destination"],
    ]);
  });
});
