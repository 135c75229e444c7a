import { beforeEach, describe, expect, it } from "vitest";
import { HostError } from "../../base/assert.ts";
import { describePart } from "../../ports/part.contract.ts";
import type { BlockMedium } from "../../ports/block.ts";
import { Driver, DriverQueue, fixture, type Piece, VERSION_1, VirtioRig } from "./driver.testing.ts";
import { BLK_CONFIG, BLK_F, BLK_S, BLK_T } from "./virtio-blk.regs.ts";
import { VirtioBlock } from "./virtio-blk.ts";

const SECTORS = 300;
const FLUSH = 9;
const [HEADER, DATA, STATUS] = [0x30000, 0x40000, 0x3f000];

const same = (one: Uint8Array, two: Uint8Array): boolean => Buffer.compare(one, two) === 0;

class Memory implements BlockMedium {
  readonly name = "memory";
  readonly store = Uint8Array.from({ length: SECTORS * 512 + 100 }, (_, i) => (i * 7) ^ (i >> 9));
  readonly bytes = this.store.length;
  readonly readOnly: boolean;
  flushes = 0;
  constructor(readOnly: boolean) {
    this.readOnly = readOnly;
  }
  read(position: number, into: Uint8Array, offset: number, length: number): void {
    expect(position + length).toBeLessThanOrEqual(this.bytes);
    into.set(this.store.subarray(position, position + length), offset);
  }
  write(position: number, from: Uint8Array, offset: number, length: number): void {
    expect(this.readOnly).toBe(false);
    this.store.set(from.subarray(offset, offset + length), position);
  }
  flush(): void {
    this.flushes++;
  }
}

let medium: Memory;
let rig: VirtioRig<VirtioBlock>;
let driver: Driver;
let ring: DriverQueue;

function start(features: readonly number[] = [VERSION_1, FLUSH], readOnly = false): void {
  medium = new Memory(readOnly);
  rig = new VirtioRig((slot, events) => new VirtioBlock(slot, { events, medium, serial: "serial-1" }));
  driver = new Driver(rig);
  expect(driver.negotiate(features)).toBe(true);
  ring = new DriverQueue(rig, driver, 0, { base: 0x10000 });
  ring.enable();
  driver.ready();
}
beforeEach(() => start());

const memory = (address: number, length: number): Uint8Array =>
  rig.board.space.ram.bytes.slice(address, address + length);

/** One request with the data in one piece at DATA. Returns its status and the length in the used ring. */
function request(type: number, sector: number, length: number, write: boolean): { status: number; written: number } {
  const { space } = rig.board;
  space.write(HEADER, 4, type);
  space.write(HEADER + 4, 4, 0);
  space.write(HEADER + 8, 4, sector % 2 ** 32);
  space.write(HEADER + 12, 4, Math.floor(sector / 2 ** 32));
  space.write(STATUS, 1, 0xee);
  const pieces: Piece[] = [{ address: HEADER, length: 16, write: false }];
  if (length > 0) pieces.push({ address: DATA, length, write });
  pieces.push({ address: STATUS, length: 1, write: true });
  expect(ring.add(pieces)).toBeGreaterThanOrEqual(0);
  ring.kick();
  rig.run();
  const used = ring.fetch()!;
  return { status: space.read(STATUS, 1), written: used.written };
}

/** Ranges for discard and write zeroes. */
function putRanges(...ranges: [sector: number, sectors: number, flags: number][]): number {
  ranges.forEach(([sector, sectors, flags], i) => {
    [sector, 0, sectors, flags].forEach((word, j) => {
      rig.board.space.write(DATA + 16 * i + 4 * j, 4, word >>> 0);
    });
  });
  return 16 * ranges.length;
}

describe("virtio block device (VIRTIO 1.2, 5.2)", () => {
  it("pins features (5.2.3), configuration (5.2.4), requests and their status (5.2.6)", () => {
    expect(Object.values(BLK_F)).toEqual([2, 5, 6, 9, 10, 12, 13, 14]);
    expect(Object.values(BLK_CONFIG)).toEqual([0, 12, 20, 24, 28, 34, 36, 40, 44, 48, 52, 56]);
    expect([Object.values(BLK_T), Object.values(BLK_S)]).toEqual([
      [0, 1, 4, 8, 11, 13],
      [0, 1, 2],
    ]);
  });
  it("is device 2 and tells its capacity in sectors, segments and block size", () => {
    const read = (offset: number, width: number): number => rig.board.space.read(driver.config + offset, width);
    expect(rig.part.configRead(2, 2)).toBe(0x1042);
    expect([read(0, 4), read(4, 4), read(12, 4), read(20, 4), read(34, 2)]).toEqual([SECTORS, 0, 126, 512, 1]);
  });
  it("reads sectors", () => {
    expect(request(0, 3, 1024, true)).toEqual({ status: 0, written: 1025 });
    expect(same(memory(DATA, 1024), medium.store.slice(3 * 512, 5 * 512))).toBe(true);
  });
  it("reads more than moves in one piece", () => {
    expect(request(0, 0, SECTORS * 512, true)).toEqual({ status: 0, written: SECTORS * 512 + 1 });
    expect(same(memory(DATA, SECTORS * 512), medium.store.slice(0, SECTORS * 512))).toBe(true);
  });
  it("writes sectors, and nothing around them", () => {
    const before = medium.store.slice();
    rig.board.space.ram.bytes.fill(0xa5, DATA, DATA + 512);
    expect(request(1, 7, 512, false)).toEqual({ status: 0, written: 1 });
    before.fill(0xa5, 7 * 512, 8 * 512);
    expect(same(medium.store, before)).toBe(true);
  });
  it("header, data and status may lie in any pieces (2.7.4)", () => {
    const { space } = rig.board;
    for (let i = 0; i < 16; i++) space.write(HEADER + 3 * i, 1, i === 8 ? 2 : 0);
    const pieces: Piece[] = [];
    for (let i = 0; i < 16; i++) pieces.push({ address: HEADER + 3 * i, length: 1, write: false });
    pieces.push({ address: DATA, length: 500, write: true }, { address: DATA + 500, length: 13, write: true });
    ring.add(pieces);
    ring.kick();
    rig.run();
    expect(ring.fetch()?.written).toBe(513);
    expect([...memory(DATA, 513)]).toEqual([...medium.store.slice(1024, 1536), 0]);
  });
  it("answers IOERR outside the capacity, also at 2^64 sectors, and for parts of sectors; the status byte is all that it writes", () => {
    const wrong: [number, number][] = [
      [SECTORS, 512],
      [SECTORS - 1, 1024],
      [2 ** 63, 512],
      [0, 511],
      [2 ** 32, 512],
    ];
    const before = medium.store.slice();
    for (const [sector, length] of wrong) {
      expect(request(0, sector, length, true)).toEqual({ status: 1, written: 0 });
      expect(request(1, sector, length, false)).toEqual({ status: 1, written: 1 });
    }
    expect(same(medium.store, before)).toBe(true);
  });
  it("a flush is done when it ends; other types are UNSUPP", () => {
    expect([request(4, 0, 0, false), medium.flushes]).toEqual([{ status: 0, written: 1 }, 1]);
    for (const type of [2, 3, 5, 10, 14, 0xffffffff]) expect(request(type, 0, 0, false).status).toBe(2);
  });
  it("without VIRTIO_BLK_F_FLUSH a write is durable when it ends (5.2.6.2)", () => {
    request(1, 0, 512, false);
    expect(medium.flushes).toBe(0);
    start([VERSION_1]);
    request(1, 0, 512, false);
    expect(medium.flushes).toBe(1);
  });
  it("tells its name in 20 bytes", () => {
    expect(request(8, 0, 20, true)).toEqual({ status: 0, written: 21 });
    expect(new TextDecoder().decode(memory(DATA, 20))).toBe("serial-1".padEnd(20, "\0"));
  });
  it("a read-only device says so, and refuses writes with IOERR (5.2.6.2)", () => {
    start([VERSION_1, 5], true);
    expect((driver.offered() >> 5n) & 1n).toBe(1n);
    expect(((driver.offered() >> 13n) & 3n) === 0n).toBe(true);
    expect(request(1, 0, 512, false).status).toBe(1);
    expect(request(0, 0, 512, true).status).toBe(0);
    expect([request(4, 0, 0, false).status, medium.flushes]).toEqual([0, 0]);
  });
  it("writes zeros over all ranges or none; discards keep what is there", () => {
    const before = medium.store.slice();
    expect(request(13, 0, putRanges([1, 2, 0], [10, 1, 1], [SECTORS, 1, 0]), false).status).toBe(1);
    expect(same(medium.store, before)).toBe(true);
    expect(request(11, 0, putRanges([0, 5, 0]), false).status).toBe(0);
    expect(same(medium.store, before)).toBe(true);
    expect(request(13, 0, putRanges([1, 2, 0], [10, 1, 1]), false).status).toBe(0);
    before.fill(0, 512, 1536).fill(0, 5120, 5632);
    expect(same(medium.store, before)).toBe(true);
  });
  it("zeros are durable when they are written without VIRTIO_BLK_F_FLUSH, too", () => {
    request(13, 0, putRanges([0, 1, 0]), false);
    expect(medium.flushes).toBe(0);
    start([VERSION_1]);
    request(13, 0, putRanges([0, 1, 0]), false);
    expect(medium.flushes).toBe(1);
  });
  it("takes no more ranges and no longer ones than it says (5.2.4)", () => {
    const read = (offset: number): number => rig.board.space.read(driver.config + offset, 4);
    const [sectors, ranges] = [read(36), read(40)];
    expect([sectors, ranges, read(48), read(52)]).toEqual([sectors, ranges, sectors, ranges]);
    const some = (count: number): [number, number, number][] => Array.from({ length: count }, () => [0, 1, 0]);
    for (const type of [11, 13]) {
      expect(request(type, 0, putRanges(...some(ranges)), false).status).toBe(0);
      expect(request(type, 0, putRanges(...some(ranges + 1)), false).status).toBe(1);
    }
    const huge = { ...new Memory(false), bytes: 2 ** 40, read: () => {}, write: () => {}, flush: () => {} };
    rig = new VirtioRig((slot, events) => new VirtioBlock(slot, { events, medium: huge, serial: "huge" }));
    driver = new Driver(rig);
    driver.negotiate([VERSION_1]);
    ring = new DriverQueue(rig, driver, 0, { base: 0x10000 });
    ring.enable();
    driver.ready();
    expect(request(11, 0, putRanges([0, sectors, 0]), false).status).toBe(0);
    expect(request(11, 0, putRanges([0, sectors + 1, 0]), false).status).toBe(1);
  });
  it("unknown flags of a range, and unmap in a discard, are UNSUPP (5.2.6.2)", () => {
    expect(request(13, 0, putRanges([0, 1, 2]), false).status).toBe(2);
    expect(request(11, 0, putRanges([0, 1, 1]), false).status).toBe(2);
    expect(request(11, 0, 15, false).status).toBe(1);
  });
  it("takes 500 ns to look, then 10 us and 1 ns a byte", () => {
    const { space } = rig.board;
    space.write(HEADER, 4, 0);
    ring.add([
      { address: HEADER, length: 16, write: false },
      { address: DATA, length: 512, write: true },
      { address: STATUS, length: 1, write: true },
    ]);
    ring.kick();
    rig.run(500 + 10_000 + 512 - 1);
    expect([ring.usedIndex, rig.pin]).toEqual([0, false]);
    rig.run(1);
    expect([ring.usedIndex, rig.pin]).toEqual([1, true]);
  });
  it("requests that were made together come back one by one, each when it is over", () => {
    const { space } = rig.board;
    for (let i = 0; i < 16; i++) space.write(HEADER + i, 1, 0);
    const lengths = [512, 4096, 1024];
    lengths.forEach((length, i) => {
      ring.add([
        { address: HEADER, length: 16, write: false },
        { address: DATA, length, write: true },
        { address: STATUS + i, length: 1, write: true },
      ]);
    });
    ring.kick();
    rig.run(500);
    lengths.forEach((length, i) => {
      rig.run(10_000 + length - 1);
      expect(ring.usedIndex).toBe(i);
      rig.run(1);
      expect(ring.usedIndex).toBe(i + 1);
    });
  });
  it("data that memory refuses is an IOERR, a request without room for header or status needs a reset", () => {
    const { space } = rig.board;
    space.write(HEADER, 4, 0);
    ring.add([
      { address: HEADER, length: 16, write: false },
      { address: 0x70000000, length: 512, write: true },
      { address: STATUS, length: 1, write: true },
    ]);
    ring.kick();
    rig.run();
    expect([ring.fetch()?.written, space.read(STATUS, 1)]).toEqual([0, 1]);
    ring.add([{ address: HEADER, length: 15, write: false }]);
    ring.kick();
    rig.run();
    expect([driver.status, rig.part.failure]).toEqual([0x4f, "a request with 15 readable and 0 writable bytes"]);
  });
  it("what the host cannot read is not the guest's business", () => {
    medium.read = () => {
      throw new HostError("disk.img: was truncated while the machine ran", 74);
    };
    expect(() => request(0, 0, 512, true)).toThrow("truncated");
  });
  it("several queues, if wanted", () => {
    const many = new VirtioRig((slot, events) => new VirtioBlock(slot, { events, medium, serial: "x", queues: 4 }));
    const other = new Driver(many);
    expect([(other.offered() >> 12n) & 1n, other.read(18, 2)]).toEqual([1n, 4]);
    expect(many.board.space.read(other.config + 34, 2)).toBe(4);
  });
});

describePart("virtio block device", () =>
  fixture(
    new VirtioRig((slot, events) => {
      // A medium that keeps nothing: its contents are another part's state.
      const { bytes } = new Memory(false);
      const empty = { name: "empty", bytes, readOnly: false, write: () => {}, flush: () => {} };
      const read = (_at: number, into: Uint8Array, offset: number, length: number): void =>
        void into.fill(0x5a, offset, offset + length);
      return new VirtioBlock(slot, { events, medium: { ...empty, read }, serial: "s" });
    }),
    [29],
  ),
);
