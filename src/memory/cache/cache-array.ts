/**
 * The tags of one cache: set-associative, with the MESI state of each line (Intel SDM vol. 3A, section 12.4 "Cache Control Protocol", table 12-4) and true
 * least-recently-used replacement. It holds no data: see hierarchy.ts for where bytes are.
 *
 * A line is named by its number: RAM offset / 64. Its set is its number modulo the number of sets. Intel's caches replace by cheaper approximations of
 * LRU that are not documented; ours is exact, so that a test can say which line goes.
 */
import { assert } from "../../base/assert.ts";

export const LINE_BYTES = 64;
/** Bytes → line. */
export const LINE_SHIFT = 6;

/** Invalid, shared, exclusive, modified: each implies the rights of those before it. */
export const MESI = { invalid: 0, shared: 1, exclusive: 2, modified: 3 } as const;

export type CacheArrayState = {
  /** By slot (set × ways + way): the line, meaningless while its state is invalid. */
  lines: Int32Array;
  /** By slot: one of {@link MESI}. */
  mesi: Uint8Array;
  /** By slot: how many ways of its set were used later. */
  ages: Uint8Array;
};

export class CacheArray {
  readonly ways: number;
  readonly slots: number;
  readonly state: CacheArrayState;
  readonly #setMask: number;

  /** @param bytes capacity; bytes / 64 / ways must be a power of two */
  constructor(bytes: number, ways: number) {
    const sets = bytes / LINE_BYTES / ways;
    assert(Number.isInteger(Math.log2(sets)) && ways >= 1 && ways <= 255, `cache: ${bytes} bytes in ${ways} ways`);
    this.ways = ways;
    this.slots = sets * ways;
    this.#setMask = sets - 1;
    this.state = {
      lines: new Int32Array(this.slots),
      mesi: new Uint8Array(this.slots),
      ages: new Uint8Array(this.slots),
    };
    this.clear();
  }

  clear(): void {
    this.state.lines.fill(0);
    this.state.mesi.fill(MESI.invalid);
    for (let slot = 0; slot < this.slots; slot++) this.state.ages[slot] = slot % this.ways;
  }

  /** Slot that holds `line`, −1 when none does. */
  find(line: number): number {
    const { lines, mesi } = this.state;
    const first = (line & this.#setMask) * this.ways;
    for (let slot = first; slot < first + this.ways; slot++)
      if (lines[slot] === line && mesi[slot] !== MESI.invalid) return slot;
    return -1;
  }

  /** The line in `slot` was used just now. */
  touch(slot: number): void {
    const { ages } = this.state;
    const age = ages[slot]!;
    if (age === 0) return;
    const first = slot - (slot % this.ways);
    for (let other = first; other < first + this.ways; other++) if (ages[other]! < age) ages[other]!++;
    ages[slot] = 0;
  }

  /** Slot that `line` will take: an invalid one, else the one that was not used for the longest time. */
  victim(line: number): number {
    const { mesi, ages } = this.state;
    const first = (line & this.#setMask) * this.ways;
    let oldest = first;
    for (let slot = first; slot < first + this.ways; slot++) {
      if (mesi[slot] === MESI.invalid) return slot;
      if (ages[slot]! > ages[oldest]!) oldest = slot;
    }
    return oldest;
  }

  /** Puts `line` into `slot`; whatever was there is gone. */
  put(slot: number, line: number, mesi: number): void {
    this.state.lines[slot] = line;
    this.state.mesi[slot] = mesi;
    this.touch(slot);
  }
}
