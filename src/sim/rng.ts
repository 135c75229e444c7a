/**
 * Seeded random numbers, integers only. Generators are split by name, so that a new user of randomness does not disturb the others.
 * Algorithm: sfc32 (Chris Doty-Humphrey, PractRand), 32-bit integer operations only.
 */
import { assert } from "../base/assert.ts";

export type RngState = { a: number; b: number; c: number; counter: number };

export class Rng {
  readonly state: RngState;

  /** @param seed any string or number; the same seed gives the same sequence everywhere. */
  constructor(seed: string | number) {
    const text = String(seed);
    let h = 0x811c9dc5;
    for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
    this.state = { a: h | 0, b: Math.imul(h, 0x9e3779b1) | 0, c: text.length | 0, counter: 1 };
    for (let i = 0; i < 15; i++) this.u32();
  }

  /** A generator of its own, derived from this seed and `name` without drawing from this one. */
  split(name: string): Rng {
    const { a, b, c } = this.state;
    return new Rng(`${a}:${b}:${c}:${name}`);
  }

  /** Uniform in 0 … 2^32 − 1. */
  u32(): number {
    const s = this.state;
    const t = (s.a + s.b + s.counter) | 0;
    s.counter = (s.counter + 1) | 0;
    s.a = s.b ^ (s.b >>> 9);
    s.b = (s.c + (s.c << 3)) | 0;
    s.c = ((s.c << 21) | (s.c >>> 11)) + t;
    s.c |= 0;
    return t >>> 0;
  }

  /** Uniform in 0 … n − 1 (1 ≤ n ≤ 2^32), without bias. */
  below(n: number): number {
    assert(n >= 1 && n <= 0x100000000 && Number.isInteger(n), `rng: below(${n})`);
    const limit = 0x100000000 - (0x100000000 % n);
    for (;;) {
      const x = this.u32();
      if (x < limit) return x % n;
    }
  }

  /** True with probability `numerator / denominator`. */
  chance(numerator: number, denominator: number): boolean {
    return this.below(denominator) < numerator;
  }

  /** One element of a non-empty array. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}
