/**
 * A processor's store buffer: stores wait here, in order, before the caches and so other processors see them, while the own loads do. It makes x86-TSO
 * visible: a load may be carried out before an older store to another place (Intel SDM vol. 3A, 9.2.3.4), until a fence or a locked instruction.
 *
 * When stores leave, whoever owns the buffer decides (cached-bus.ts); always all of them, so that a store that came in several pieces of up to 4 bytes is
 * seen whole.
 */
import type { Ns } from "../../base/units.ts";

export type StoreBufferState = {
  /** First in, first out; the arrays are filled from 0. */
  count: number;
  offsets: Float64Array;
  widths: Uint8Array;
  values: Uint32Array;
  times: Float64Array;
};

/** What {@link StoreBuffer.find} found. */
export const FORWARD = { none: 0, whole: 1, partial: 2 } as const;

export class StoreBuffer {
  readonly state: StoreBufferState;
  /** Value of the last {@link find} that found all of it. */
  value = 0;
  readonly #depth: number;

  constructor(depth: number) {
    this.#depth = depth;
    this.state = {
      count: 0,
      offsets: new Float64Array(depth),
      widths: new Uint8Array(depth),
      values: new Uint32Array(depth),
      times: new Float64Array(depth),
    };
  }

  get room(): number {
    return this.#depth - this.state.count;
  }

  /** Time of the oldest store; Infinity when there is none. */
  get oldest(): Ns {
    return this.state.count === 0 ? Number.POSITIVE_INFINITY : this.state.times[0]!;
  }

  clear(): void {
    const s = this.state;
    s.count = 0;
    s.offsets.fill(0);
    s.widths.fill(0);
    s.values.fill(0);
    s.times.fill(0);
  }

  /** There must be room. */
  push(offset: number, width: number, value: number, now: Ns): void {
    const s = this.state;
    const at = s.count++;
    s.offsets[at] = offset;
    s.widths[at] = width;
    s.values[at] = value;
    s.times[at] = now;
  }

  /** Takes out the oldest store and hands it to `write`. */
  pop(write: (offset: number, width: number, value: number) => void): void {
    const s = this.state;
    const offset = s.offsets[0]!;
    const width = s.widths[0]!;
    const value = s.values[0]!;
    s.offsets.copyWithin(0, 1);
    s.widths.copyWithin(0, 1);
    s.values.copyWithin(0, 1);
    s.times.copyWithin(0, 1);
    const last = --s.count;
    s.offsets[last] = s.widths[last] = s.values[last] = s.times[last] = 0;
    write(offset, width, value);
  }

  /** Puts all stores, oldest first, over `bytes`, a copy of what lies at `offset`. */
  overlay(offset: number, bytes: Uint8Array): void {
    const s = this.state;
    for (let i = 0; i < s.count; i++) {
      const at = s.offsets[i]! - offset;
      for (let byte = 0; byte < s.widths[i]!; byte++)
        if (at + byte >= 0 && at + byte < bytes.length) bytes[at + byte] = s.values[i]! >>> (8 * byte);
    }
  }

  /** What the youngest store that touches these bytes has of them: one of {@link FORWARD}. */
  find(offset: number, width: number): number {
    const s = this.state;
    for (let i = s.count - 1; i >= 0; i--) {
      const from = s.offsets[i]!;
      const end = from + s.widths[i]!;
      if (offset >= end || offset + width <= from) continue;
      if (offset < from || offset + width > end) return FORWARD.partial;
      const value = s.values[i]! >>> (8 * (offset - from));
      this.value = width === 4 ? value : value & (2 ** (8 * width) - 1);
      return FORWARD.whole;
    }
    return FORWARD.none;
  }
}
