/** Random operands with a bias to the edges: 0, 1, −1, least, greatest, powers of two and small numbers, in every width. */
import type { Rng } from "../../src/sim/rng.ts";

const EDGES = [0, 1, 2, -1, -2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000];

/** 32 bits. */
export function edge32(rng: Rng): number {
  switch (rng.below(6)) {
    case 0:
      return rng.u32();
    case 1:
      return rng.below(72);
    case 2:
      return -rng.below(72) >>> 0;
    case 3:
      return (1 << rng.below(32)) >>> 0;
    case 4:
      return ((1 << rng.below(32)) - 1) >>> 0;
    default:
      return rng.pick(EDGES) >>> 0;
  }
}

/** 64 bits as [low, high]: one edge over the whole width, or two halves. */
export function edge64(rng: Rng): [number, number] {
  const low = edge32(rng);
  switch (rng.below(6)) {
    case 0:
      return [low, 0];
    case 1:
      return [low, (low | 0) < 0 ? 0xffffffff : 0];
    case 2:
      return [0, (1 << rng.below(32)) >>> 0];
    case 3:
      return [0xffffffff, 0x7fffffff];
    default:
      return [low, rng.chance(1, 2) ? rng.u32() : edge32(rng)];
  }
}

const FLOATS32 = [0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 1, 0x7fffff];
const FLOATS32_MORE = [0x800000, 0x7f7fffff, 0x4f000000, 0xcf000000, 0x4b000000, 0x5f000000, 0x40490fdb, 0x3f000000];
const ALL32 = [...FLOATS32, ...FLOATS32_MORE];

function float32(rng: Rng): number {
  if (rng.chance(1, 3)) return rng.pick(ALL32);
  const exponent = rng.chance(1, 2) ? 120 + rng.below(16) : rng.below(256);
  return ((rng.below(2) << 31) | (exponent << 23) | (rng.u32() & 0x7fffff)) >>> 0;
}

/** High word of a double. */
function float64High(rng: Rng): number {
  const exponent = rng.chance(1, 2)
    ? 1016 + rng.below(16)
    : rng.pick([0, 0, 1, 2046, 2047, 2047, 1086, rng.below(2048)]);
  return ((rng.below(2) << 31) | (exponent << 20) | (rng.chance(1, 3) ? 0 : rng.u32() & 0xfffff)) >>> 0;
}

/** What a stretch of bytes is made of. */
export type Filling = "words" | "letters" | "singles" | "doubles" | "bytes";

/** Fills `length` (a multiple of 8) bytes. */
export function fill(view: DataView, at: number, length: number, kind: Filling, rng: Rng): void {
  for (let i = at; i < at + length; i += 8) {
    let low = 0;
    let high = 0;
    if (kind === "words") [low, high] = edge64(rng);
    else if (kind === "singles") [low, high] = [float32(rng), float32(rng)];
    else if (kind === "doubles") [low, high] = [rng.chance(1, 3) ? 0 : rng.u32(), float64High(rng)];
    else {
      const byte = (): number => (kind === "letters" ? rng.pick(LETTERS) : rng.pick(BYTES));
      low = (byte() | (byte() << 8) | (byte() << 16) | (byte() << 24)) >>> 0;
      high = (byte() | (byte() << 8) | (byte() << 16) | (byte() << 24)) >>> 0;
    }
    view.setUint32(i, low, true);
    view.setUint32(i + 4, high, true);
  }
}
const LETTERS = [0x61, 0x61, 0x61, 0x61, 0x61, 0x61, 0x61, 0x62];
const BYTES = [0, 1, 0x7f, 0x80, 0xff, 0x10, 0x55, 0xfe];
