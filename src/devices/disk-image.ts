/**
 * A disk: what a source of the host holds, read when it is needed, and over it what the guest has written since, in chunks that are copied when they are first
 * written. What was written is the machine's state (saved, loaded, hashed); the source is not, and must not change while the machine lives.
 *
 * The machine never reads from the source what it wrote itself, so whether and when somebody writes it back to the host ({@link DiskImage.writeBack}) makes
 * no difference to a run. A platform reset leaves the disk alone; switching the machine on begins with the source.
 */
import { assert, HostError } from "../base/assert.ts";
import type { BlockMedium } from "../ports/block.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";

/** Where a disk's first contents come from. */
export interface DiskSource {
  /** For people. */
  readonly name: string;
  readonly bytes: number;
  /** Fills `into` from `offset` with the `length` bytes at `position`. Throws {@link HostError} when it cannot. */
  read(position: number, into: Uint8Array, offset: number, length: number): void;
}

export type DiskImageOptions = {
  /** Name of the part. */
  readonly name: string;
  readonly source: DiskSource;
  readonly readOnly?: boolean;
  /** The guest wants what it wrote to be durable. */
  readonly onFlush?: (image: DiskImage) => void;
};

export type DiskImageState = {
  /** Length of the disk: a snapshot fits only a disk of the same one. */
  bytes: number;
  /** Numbers of the chunks that were written, in the order of their first write, and their contents. */
  numbers: number[];
  chunks: Uint8Array[];
};

/** Bytes. */
export const CHUNK = 4096;
const UNUSABLE = 66;

export class DiskImage implements BlockMedium, Part {
  readonly name: string;
  readonly bytes: number;
  readonly readOnly: boolean;
  readonly state: DiskImageState;
  readonly #source: DiskSource;
  readonly #onFlush: (image: DiskImage) => void;
  /** Chunk number → place in the state. */
  readonly #places = new Map<number, number>();
  /** Chunks that the source has not got yet; follows from what the host did, not the machine. */
  readonly #dirty = new Set<number>();

  constructor(options: DiskImageOptions) {
    const { name, source, readOnly = false, onFlush = () => {} } = options;
    this.name = name;
    this.bytes = source.bytes;
    this.readOnly = readOnly;
    this.#source = source;
    this.#onFlush = onFlush;
    this.state = { bytes: source.bytes, numbers: [], chunks: [] };
  }

  reset(phase: ResetPhase, kind: ResetKind): void {
    if (phase !== "enter" || kind !== "power") return;
    this.state.numbers.length = this.state.chunks.length = 0;
    this.#places.clear();
    this.#dirty.clear();
  }

  /** Everything counts as not written back. */
  restored(): void {
    const { bytes, numbers } = this.state;
    if (bytes !== this.bytes)
      throw new HostError(
        `snapshot does not fit: ${this.#source.name} has ${this.bytes} bytes, not ${bytes}`,
        UNUSABLE,
      );
    this.#places.clear();
    this.#dirty.clear();
    numbers.forEach((number, place) => {
      this.#places.set(number, place);
      this.#dirty.add(number);
    });
  }

  read(position: number, into: Uint8Array, offset: number, length: number): void {
    this.#check(position, length);
    for (let done = 0; done < length; ) {
      const number = Math.floor((position + done) / CHUNK);
      const within = (position + done) % CHUNK;
      const place = this.#places.get(number);
      let part = Math.min(CHUNK - within, length - done);
      if (place !== undefined) {
        into.set(this.state.chunks[place]!.subarray(within, within + part), offset + done);
      } else {
        // As far as nothing was written, at once.
        for (let next = number + 1; part < length - done && !this.#places.has(next); next++)
          part = Math.min(part + CHUNK, length - done);
        this.#source.read(position + done, into, offset + done, part);
      }
      done += part;
    }
  }

  write(position: number, from: Uint8Array, offset: number, length: number): void {
    assert(!this.readOnly, `${this.name}: written although it is read-only`);
    this.#check(position, length);
    for (let done = 0; done < length; ) {
      const number = Math.floor((position + done) / CHUNK);
      const within = (position + done) % CHUNK;
      const part = Math.min(CHUNK - within, length - done);
      this.#chunk(number, part === CHUNK).set(from.subarray(offset + done, offset + done + part), within);
      this.#dirty.add(number);
      done += part;
    }
  }

  flush(): void {
    this.#onFlush(this);
  }

  /** Chunks that were written since they were written back. */
  get dirtyChunks(): number {
    return this.#dirty.size;
  }

  /**
   * Hands every chunk that was not written back to `put`, in order of position. A chunk counts as written back when `put` returns; when it throws,
   * that chunk and the others are kept for the next time.
   */
  writeBack(put: (position: number, bytes: Uint8Array) => void): void {
    for (const number of [...this.#dirty].sort((a, b) => a - b)) {
      const chunk = this.state.chunks[this.#places.get(number)!]!;
      const position = number * CHUNK;
      put(position, chunk.subarray(0, Math.min(CHUNK, this.bytes - position)));
      this.#dirty.delete(number);
    }
  }

  /** The written copy of a chunk, made when there is none. @param whole all of it is about to be written */
  #chunk(number: number, whole: boolean): Uint8Array {
    const place = this.#places.get(number);
    if (place !== undefined) return this.state.chunks[place]!;
    const chunk = new Uint8Array(CHUNK);
    const position = number * CHUNK;
    if (!whole) this.#source.read(position, chunk, 0, Math.min(CHUNK, this.bytes - position));
    this.#places.set(number, this.state.chunks.length);
    this.state.numbers.push(number);
    this.state.chunks.push(chunk);
    return chunk;
  }

  #check(position: number, length: number): void {
    assert(position >= 0 && length >= 0 && position + length <= this.bytes, `${this.name}: access behind the end`);
  }
}
