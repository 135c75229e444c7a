import { describe, expect, test } from "vitest";
import { ModelBug } from "../base/assert.ts";
import { Rng } from "./rng.ts";
import { loadState, saveState } from "./state.ts";

const draw = (rng: Rng, n: number): number[] => Array.from({ length: n }, () => rng.u32());

/** sfc32 as PractRand describes it, in unlimited integers, from a given state. */
function* sfc32(a: bigint, b: bigint, c: bigint, counter: bigint): Generator<number> {
  const wrap = (x: bigint): bigint => x & 0xffffffffn;
  for (;;) {
    const t = wrap(a + b + counter);
    counter = wrap(counter + 1n);
    a = b ^ (b >> 9n);
    b = wrap(c + (c << 3n));
    c = wrap(wrap((c << 21n) | (c >> 11n)) + t);
    yield Number(t);
  }
}
/** FNV-1a, 32 bits, of a text of ASCII characters. */
const fnv = (text: string): bigint =>
  [...text].reduce((h, c) => ((h ^ BigInt(c.charCodeAt(0))) * 0x01000193n) & 0xffffffffn, 0x811c9dc5n);

describe("the sequence", () => {
  test.each(["", "a", "run 1", 7, 123456789])("of seed %j is sfc32 behind 15 rounds, for ever the same", seed => {
    const text = String(seed);
    const h = fnv(text);
    const model = sfc32(h, (h * 0x9e3779b1n) & 0xffffffffn, BigInt(text.length), 1n);
    for (let i = 0; i < 15; i++) model.next();
    const expected = Array.from({ length: 1000 }, () => model.next().value);
    expect(draw(new Rng(seed), 1000)).toEqual(expected);
  });

  test("goes on from a saved state", () => {
    const rng = new Rng("x");
    draw(rng, 100);
    const saved = saveState(rng.state);
    const expected = draw(rng, 50);
    const other = new Rng("y");
    loadState(other.state, saved);
    expect(draw(other, 50)).toEqual(expected);
  });

  test("of neighbouring seeds has nothing in common", () => {
    const firsts = Array.from({ length: 2000 }, (_, i) => new Rng(i).u32());
    expect(new Set(firsts).size).toBe(2000);
  });
});

describe("split", () => {
  test("does not disturb its parent, and does not depend on what else was split", () => {
    const [a, b] = [new Rng("seed"), new Rng("seed")];
    const [disk] = [a.split("disk"), a.split("net")];
    expect(draw(disk, 20)).toEqual(draw(b.split("disk"), 20));
    expect(draw(a, 20)).toEqual(draw(b, 20));
  });

  test("gives another sequence for every name, parent, and moment", () => {
    const parent = new Rng("seed");
    const sequences = [parent, parent.split("a"), parent.split("b"), new Rng("seeds").split("a")].map(r => draw(r, 4));
    sequences.push(draw(parent.split("a"), 4));
    expect(new Set(sequences.map(String)).size).toBe(5);
  });
});

describe("below", () => {
  test("stays in range and takes 1 and 2^32", () => {
    const rng = new Rng("range");
    for (const n of [1, 2, 3, 7, 255, 2 ** 31, 2 ** 31 + 1, 2 ** 32 - 1, 2 ** 32]) {
      for (let i = 0; i < 200; i++) {
        const x = rng.below(n);
        expect(x >= 0 && x < n && Number.isInteger(x)).toBe(true);
      }
    }
    expect(rng.below(1)).toBe(0);
  });

  test("refuses everything else", () => {
    const rng = new Rng("range");
    for (const n of [0, -1, 1.5, 2 ** 32 + 1, Number.NaN]) expect(() => rng.below(n)).toThrow(ModelBug);
  });

  test("has no bias: three quarters of 2^32 would favour its first third two to one if cut by a remainder", () => {
    const rng = new Rng("bias");
    const n = 3 * 2 ** 30;
    const count = [0, 0, 0];
    for (let i = 0; i < 30_000; i++) count[Math.floor(rng.below(n) / 2 ** 30)]!++;
    // Standard deviation 82.
    for (const c of count) expect(Math.abs(c - 10_000)).toBeLessThan(400);
  });

  test("small ranges are even", () => {
    const rng = new Rng("even");
    const count = new Array<number>(10).fill(0);
    for (let i = 0; i < 50_000; i++) count[rng.below(10)]!++;
    for (const c of count) expect(Math.abs(c - 5000)).toBeLessThan(350);
  });
});

test("chance and pick", () => {
  const rng = new Rng("chance");
  let hits = 0;
  for (let i = 0; i < 20_000; i++) if (rng.chance(1, 4)) hits++;
  expect(Math.abs(hits - 5000)).toBeLessThan(300);
  expect([rng.chance(0, 3), rng.chance(3, 3)]).toEqual([false, true]);
  expect(new Set(Array.from({ length: 100 }, () => rng.pick(["a", "b", "c"])))).toEqual(new Set(["a", "b", "c"]));
});
