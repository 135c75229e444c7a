import { expect, test } from "vitest";
import { Hasher } from "./hash.ts";

const hash = (fill: (h: Hasher) => void): string => {
  const h = new Hasher();
  fill(h);
  return h.digest();
};
const bytesFrom = (n: number): Uint8Array<ArrayBuffer> => Uint8Array.from({ length: n }, (_, i) => (i * 7 + 3) & 0xff);
/** Lower and upper bound that a fair 32-bit xor stays in, except once in very many runs. */
const differingBits = (a: string, b: string): number => {
  let n = 0;
  for (let i = 0; i < 32; i++) {
    for (let x = Number.parseInt(a[i]!, 16) ^ Number.parseInt(b[i]!, 16); x !== 0; x &= x - 1) n++;
  }
  return n;
};

test("32 hexadecimal digits, the same every time", () => {
  const one = hash(h => h.bytes(bytesFrom(1000)));
  expect(one).toMatch(/^[0-9a-f]{32}$/);
  expect(hash(h => h.bytes(bytesFrom(1000)))).toBe(one);
});

test("the order of words counts", () => {
  const digests = new Set<string>();
  for (const words of [
    [1, 2, 3, 4, 5],
    [2, 1, 3, 4, 5],
    [1, 2, 3, 5, 4],
    [5, 2, 3, 4, 1],
    [1, 3, 2, 4, 5],
  ]) {
    digests.add(
      hash(h => {
        for (const w of words) h.word(w);
      }),
    );
    digests.add(hash(h => h.words(Int32Array.from(words))));
  }
  expect(digests.size).toBe(10);
});

test("the length counts: trailing zeros, and tails of every length", () => {
  const bytes = new Set<string>();
  const words = new Set<string>();
  for (let n = 0; n < 40; n++) {
    bytes.add(hash(h => h.bytes(new Uint8Array(n))));
    words.add(hash(h => h.words(new Int32Array(n))));
  }
  expect([bytes.size, words.size]).toEqual([40, 40]);
});

test("bytes have one hash wherever they lie in their buffer", () => {
  for (const length of [0, 1, 3, 4, 5, 16, 17, 63, 64, 100]) {
    const content = bytesFrom(length);
    const aligned = hash(h => h.bytes(content));
    for (let shift = 1; shift < 8; shift++) {
      const moved = new Uint8Array(length + 8);
      moved.set(content, shift);
      expect(hash(h => h.bytes(moved.subarray(shift, shift + length)))).toBe(aligned);
    }
  }
});

test("a change of any one bit changes the hash, and about half of its bits", () => {
  const content = bytesFrom(70);
  const before = hash(h => h.bytes(content));
  const seen = new Set([before]);
  let sum = 0;
  for (let bit = 0; bit < content.length * 8; bit++) {
    content[bit >>> 3]! ^= 1 << (bit & 7);
    const after = hash(h => h.bytes(content));
    content[bit >>> 3]! ^= 1 << (bit & 7);
    seen.add(after);
    sum += differingBits(before, after);
  }
  expect(seen.size).toBe(content.length * 8 + 1);
  expect(Math.abs(sum / (content.length * 8) - 64)).toBeLessThan(4);
});

test("neighbouring values, also in pairs, do not collide", () => {
  const digests = new Set<string>();
  for (let a = 0; a < 64; a++)
    for (let b = 0; b < 64; b++) {
      digests.add(
        hash(h => {
          h.word(a);
          h.word(b);
        }),
      );
      digests.add(hash(h => h.words(Int32Array.of(a, b, a ^ b, -a))));
    }
  expect(digests.size).toBe(2 * 64 * 64);
});

test("numbers: fractions, both signs and everything to 2^53 are told apart", () => {
  const values = [
    0,
    1,
    -1,
    0.5,
    -0.5,
    1.5,
    2 ** 31,
    -(2 ** 31),
    2 ** 32,
    2 ** 32 + 1,
    -(2 ** 32),
    2 ** 53 - 1,
    2 ** 60,
  ];
  values.push(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, Number.MIN_VALUE, Number.MAX_VALUE);
  expect(new Set(values.map(v => hash(h => h.number(v)))).size).toBe(values.length);
});

test("strings: content and borders count", () => {
  const pairs = [
    ["ab", "c"],
    ["a", "bc"],
    ["", "abc"],
    ["abc", ""],
    ["abd", ""],
  ] as const;
  const digests = pairs.map(([a, b]) =>
    hash(h => {
      h.string(a);
      h.string(b);
    }),
  );
  expect(new Set(digests).size).toBe(pairs.length);
});

test("lanes are exact 32-bit arithmetic: a BigInt model of one hundred thousand words agrees", () => {
  // The loop of words(), written with unlimited integers and wrapped once per operation.
  const wrap = (x: bigint): bigint => x & 0xffffffffn;
  const rotl = (x: bigint, n: bigint): bigint => wrap((x << n) | (x >> (32n - n)));
  let [a, b, c, d] = [0x243f6a88n, 0x85a308d3n, 0x13198a2en, 0x03707344n];
  const mul = [0x9e3779b1n, 0x85ebca77n, 0xc2b2ae3dn, 0x27d4eb2fn] as const;
  const words = new Int32Array(100_000);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1, 0x01000193) | 0x40000000;
  for (let i = 0; i < words.length; i += 4) {
    const v = [0, 1, 2, 3].map(n => BigInt(words[i + n]! >>> 0));
    a = wrap(rotl(wrap((a ^ v[0]!) * mul[0]), 13n) + d);
    b = wrap(rotl(wrap((b ^ v[1]!) * mul[1]), 15n) + a);
    c = wrap(rotl(wrap((c ^ v[2]!) * mul[2]), 17n) + b);
    d = wrap(rotl(wrap((d ^ v[3]!) * mul[3]), 19n) + c);
  }
  for (let i = 0n; i < 8n; i++) {
    // word(): one step with the count and the number of the step.
    const value = wrap((100_000n + i + i) * 0x165667b1n);
    const t = wrap((a ^ value) * mul[0]);
    [a, b, c, d] = [b, c, wrap(d ^ rotl(t, 13n)), wrap(rotl(t, 17n) + value)];
  }
  expect(hash(h => h.words(words))).toBe([a, b, c, d].map(x => x.toString(16).padStart(8, "0")).join(""));
});
