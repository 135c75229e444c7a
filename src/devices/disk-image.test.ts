import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HostError } from "../base/assert.ts";
import type { Part } from "../ports/part.ts";
import { describePart } from "../ports/part.contract.ts";
import { hashState, loadState, saveState } from "../sim/state.ts";
import { CHUNK, DiskImage, type DiskSource } from "./disk-image.ts";

const BYTES = 5 * CHUNK + 1234;
const original = Uint8Array.from({ length: BYTES }, (_, i) => (i * 31 + (i >> 8)) & 0xff);

/** Much faster than toEqual. */
const same = (one: Uint8Array, two: Uint8Array): boolean => Buffer.compare(one, two) === 0;

/** A source that counts, and that tells what was asked of it. */
function source(bytes = original): DiskSource & { reads: [number, number][] } {
  const reads: [number, number][] = [];
  return {
    name: "disk.img",
    bytes: bytes.length,
    reads,
    read: (position, into, offset, length) => {
      reads.push([position, length]);
      into.set(bytes.subarray(position, position + length), offset);
    },
  };
}
const make = (from: DiskSource = source()) => new DiskImage({ name: "disk 1", source: from });
function all(disk: DiskImage): Uint8Array {
  const bytes = new Uint8Array(disk.bytes);
  disk.read(0, bytes, 0, bytes.length);
  return bytes;
}

describe("disk image", () => {
  it("reads from its source when it is asked, and no more than it is asked", () => {
    const from = source();
    const disk = make(from);
    expect(from.reads).toEqual([]);
    const into = new Uint8Array(700);
    disk.read(CHUNK - 100, into, 50, 600);
    expect(from.reads).toEqual([[CHUNK - 100, 600]]);
    expect([...into.subarray(50, 650)]).toEqual([...original.subarray(CHUNK - 100, CHUNK + 500)]);
    expect(into[49]! + into[650]!).toBe(0);
  });
  it("behaves like an array of bytes under any reads and writes, and never changes the source", () => {
    const place = fc.nat(BYTES - 1);
    const action = fc.record({ write: fc.boolean(), at: place, length: fc.nat(3 * CHUNK), fill: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 30 }), actions => {
        const before = original.slice();
        const disk = make();
        const model = original.slice();
        for (const { write, at, length: wanted, fill } of actions) {
          const length = Math.min(wanted, BYTES - at);
          if (write) {
            const bytes = Uint8Array.from({ length }, (_, i) => fill + i);
            disk.write(at, bytes, 0, length);
            model.set(bytes, at);
          } else {
            const into = new Uint8Array(length);
            disk.read(at, into, 0, length);
            expect(same(into, model.subarray(at, at + length))).toBe(true);
          }
        }
        expect(same(all(disk), model)).toBe(true);
        expect(same(original, before)).toBe(true);
        const written = original.slice();
        disk.writeBack((position, bytes) => written.set(bytes, position));
        expect(same(written, model)).toBe(true);
        expect(disk.dirtyChunks).toBe(0);
      }),
    );
  });
  it("writing back makes no difference to what is read, nor to the state", () => {
    const [one, two] = [make(), make()];
    const lines: string[] = [];
    for (const disk of [one, two]) disk.write(100, Uint8Array.of(1, 2, 3), 0, 3);
    one.writeBack((position, { length }) => lines.push(`${position}+${length}`));
    expect(lines).toEqual([`0+${CHUNK}`]);
    expect(hashState(one.state)).toBe(hashState(two.state));
    expect(same(all(one), all(two))).toBe(true);
    one.writeBack(() => lines.push("again"));
    expect(lines).toHaveLength(1);
  });
  it("writes back in order of position, the last chunk as long as it is; what fails stays to be written back", () => {
    const disk = make();
    for (const at of [BYTES - 1, 2 * CHUNK, 0]) disk.write(at, Uint8Array.of(9), 0, 1);
    const done: [number, number][] = [];
    let fail = true;
    const put = (position: number, { length }: Uint8Array): void => {
      if (position === 2 * CHUNK && fail) throw new HostError("disk.img: no space left on device", 74);
      done.push([position, length]);
    };
    expect(() => disk.writeBack(put)).toThrow("no space left");
    expect([done, disk.dirtyChunks]).toEqual([[[0, CHUNK]], 2]);
    fail = false;
    disk.writeBack(put);
    expect(done.slice(1)).toEqual([
      [2 * CHUNK, CHUNK],
      [5 * CHUNK, 1234],
    ]);
  });
  it("a source that fails does not change the disk", () => {
    const from: DiskSource = {
      name: "disk.img",
      bytes: BYTES,
      read: () => {
        throw new HostError("disk.img: was truncated while the machine ran", 74);
      },
    };
    const disk = make(from);
    expect(() => disk.write(10, Uint8Array.of(1), 0, 1)).toThrow("truncated");
    expect([disk.state.numbers, disk.dirtyChunks]).toEqual([[], 0]);
    disk.write(0, new Uint8Array(CHUNK), 0, CHUNK);
    expect(disk.state.numbers).toEqual([0]);
  });
  it("the guest's flush reaches whoever keeps the file", () => {
    let flushed = 0;
    new DiskImage({ name: "disk 1", source: source(), onFlush: () => void flushed++ }).flush();
    expect(flushed).toBe(1);
  });
  it("a platform reset leaves it alone; switching on begins with the source", () => {
    const disk: DiskImage & Part = make();
    disk.write(0, Uint8Array.of(77), 0, 1);
    disk.reset("enter", "system");
    expect(all(disk)[0]).toBe(77);
    disk.reset("enter", "power");
    expect([all(disk)[0], disk.dirtyChunks]).toEqual([original[0], 0]);
  });
  it("after a load, what the guest wrote counts as not written back, and replaces what was there", () => {
    const [one, two] = [make(), make()];
    one.write(CHUNK, Uint8Array.of(5), 0, 1);
    one.writeBack(() => {});
    two.write(0, Uint8Array.of(6), 0, 1);
    loadState(two.state, saveState(one.state));
    two.restored();
    expect(same(all(two), all(one))).toBe(true);
    expect(two.dirtyChunks).toBe(1);
  });
  it("a snapshot of another disk is refused", () => {
    const other = make(source(original.subarray(0, CHUNK)));
    loadState(other.state, saveState(make().state));
    expect(() => other.restored()).toThrow(/snapshot does not fit: disk.img has 4096 bytes, not 21714/);
  });
});

describePart("disk image", () => {
  const part = make();
  const stimulate = (rng: { below(n: number): number }): void => {
    const at = rng.below(BYTES);
    const bytes = Uint8Array.from({ length: Math.min(rng.below(6000), BYTES - at) }, (_, i) => i ^ at);
    part.write(at, bytes, 0, bytes.length);
  };
  const read = (offset: number): number => {
    const into = new Uint8Array(1);
    part.read(offset, into, 0, 1);
    return into[0]!;
  };
  const window = { name: "disk", size: BYTES, minWidth: 1, maxWidth: 1, read, write: () => {} } as const;
  return { part, stimulate, windows: [window] };
});
