/** Sections are those of SFF-8038i 1.0. */
import { beforeEach, describe, expect, it } from "vitest";
import { EVENT } from "../../ports/events.ts";
import {
  CD_SECTORS,
  IdeRig,
  medium,
  patternByte,
  PRIMARY,
  SECONDARY,
  SECTORS,
  usualDrives,
} from "./ide-rig.testing.ts";

const TABLE = 0x1000;
const RAM_END = 0x100000;
let rig: IdeRig;
let store: Uint8Array;
beforeEach(() => {
  const { disk, drives } = usualDrives();
  store = disk.store;
  rig = new IdeRig(drives).start();
});

type Region = readonly [number, number, boolean];
const READ = 9;
const WRITE = 1;
/** Table, direction, READ or WRITE DMA, start. */
function begin(regions: readonly Region[], sectors: number, start: number, table = TABLE, at = PRIMARY): void {
  rig.table(TABLE, regions);
  rig.out(at.bm + 4, table, 4);
  rig.out(at.bm, start & 8);
  rig.out(at.bm + 2, 6);
  rig.command(at, start === READ ? 0xc8 : 0xca, [0, sectors, 0]);
  rig.out(at.bm, start);
}
function transfer(regions: readonly Region[], sectors: number, start = READ, table = TABLE): void {
  begin(regions, sectors, start, table);
  rig.settle();
}
/** Error, interrupt and active of the bus master's status. */
const bmi = (): number => rig.in(PRIMARY.bm + 2) & 7;
const status = (): number => rig.status(PRIMARY);
const pattern = (from: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => patternByte(from + i));

describe("registers (2.0)", () => {
  it("command: start and direction; the direction does not change while it is active", () => {
    rig.out(PRIMARY.bm, 0xff);
    expect([rig.in(PRIMARY.bm), bmi()]).toEqual([9, 1]);
    rig.out(PRIMARY.bm, 1);
    expect(rig.in(PRIMARY.bm)).toBe(9);
    rig.out(PRIMARY.bm, 0);
    expect([rig.in(PRIMARY.bm), bmi()]).toEqual([8, 0]);
    rig.out(PRIMARY.bm, 0);
    expect(rig.in(PRIMARY.bm)).toBe(0);
  });
  it("status: capable bits keep what is written, error and interrupt are cleared by ones, active takes no writes", () => {
    rig.out(PRIMARY.bm + 2, 0xff);
    expect(rig.in(PRIMARY.bm + 2)).toBe(0x60);
    rig.command(PRIMARY, 0xe1);
    rig.settle();
    expect(rig.in(PRIMARY.bm + 2)).toBe(0x64);
    rig.out(PRIMARY.bm + 2, 0x20);
    expect(rig.in(PRIMARY.bm + 2)).toBe(0x24);
    rig.out(PRIMARY.bm + 2, 0x04);
    expect(rig.in(PRIMARY.bm + 2)).toBe(0);
  });
  it("the table's address is a multiple of 4; each channel has its own", () => {
    rig.out(PRIMARY.bm + 4, 0x12345677, 4);
    rig.out(SECONDARY.bm + 4, 0x9abcdef0, 4);
    expect([rig.in(PRIMARY.bm + 4, 4), rig.in(SECONDARY.bm + 4, 4)]).toEqual([0x12345674, 0x9abcdef0]);
    rig.out(PRIMARY.bm + 6, 0xee);
    expect(rig.in(PRIMARY.bm + 4, 4)).toBe(0x12ee5674);
  });
});

describe("transfers", () => {
  it("the drive's data go through the regions in order, and nowhere else (1.1)", () => {
    transfer(
      [
        [0x3000, 100, false],
        [0x5002, 812, false],
        [0x2000, 112, true],
      ],
      2,
    );
    expect(rig.memory(0x3000, 101)).toEqual([...pattern(0, 100), 0]);
    expect(rig.memory(0x5001, 814)).toEqual([0, ...pattern(100, 812), 0]);
    expect(rig.memory(0x2000, 113)).toEqual([...pattern(912, 112), 0]);
  });
  it("WRITE DMA gathers", () => {
    for (let i = 0; i < 512; i++) rig.board.space.write(0x3000 + i, 1, 255 - (i & 0xff));
    transfer(
      [
        [0x3100, 256, false],
        [0x3000, 256, true],
      ],
      1,
      WRITE,
    );
    const bytes = Array.from({ length: 256 }, (_, i) => 255 - i);
    expect([...store.subarray(0, 512)]).toEqual([...bytes, ...bytes]);
    expect([bmi(), status(), rig.lines[0]!.level]).toEqual([4, 0x50, true]);
  });
  it("a count of 0 is 64 KiB", () => {
    transfer([[0x10000, 0, true]], 128);
    expect([bmi(), rig.board.space.read(0x1ffff, 1)]).toEqual([4, patternByte(0xffff)]);
  });
  it("bit 0 of address and count does not count (1.2)", () => {
    transfer([[0x3001, 513, true]], 1);
    expect([bmi(), ...rig.memory(0x3000, 2)]).toEqual([4, patternByte(0), patternByte(1)]);
  });
  it("goes on where table and regions cross 64 KiB", () => {
    rig.table(0x1fff8, [
      [0x2ff00, 512, false],
      [0x40000, 512, true],
    ]);
    transfer([], 2, READ, 0x1fff8);
    expect([bmi(), rig.board.space.read(0x30000, 1), rig.board.space.read(0x40000, 1)]).toEqual([
      ...[4, patternByte(256), patternByte(512)],
    ]);
  });
  it("the same table serves again and again: the address register stays (2.3)", () => {
    transfer([[0x3000, 512, true]], 1);
    expect(rig.in(PRIMARY.bm + 4, 4)).toBe(TABLE);
  });
  it("the start bit may come before the drive's command", () => {
    rig.table(TABLE, [[0x3000, 512, true]]);
    rig.out(PRIMARY.bm + 4, TABLE, 4);
    rig.out(PRIMARY.bm, READ);
    rig.settle();
    expect(bmi()).toBe(1);
    rig.command(PRIMARY, 0xc8, [0, 1, 0]);
    rig.settle();
    expect([bmi(), rig.board.space.read(0x3001, 1)]).toEqual([4, patternByte(1)]);
  });
  it("an ATAPI drive's data, with a pad byte after an odd length", () => {
    rig.packet(SECONDARY, [0]);
    rig.table(TABLE, [[0x3000, 4096, true]]);
    rig.out(SECONDARY.bm + 4, TABLE, 4);
    rig.out(SECONDARY.bm, READ);
    rig.packet(SECONDARY, [0x28, 0, 0, 0, 1, 0x2a, 0, 0, 2], -1);
    expect([rig.in(SECONDARY.bm + 2) & 7, rig.status(SECONDARY), rig.in(0x172) & 3]).toEqual([4, 0x50, 3]);
    expect(rig.memory(0x3000, 4096)).toEqual(pattern((CD_SECTORS - 2) * 2048, 4096));
    rig.out(SECONDARY.bm, 0);
    rig.out(SECONDARY.bm, READ);
    rig.packet(SECONDARY, [0x12, 0, 0, 0, 5], -1);
    expect(rig.memory(0x3000, 8)).toEqual([5, 0x80, 0, 0x32, 31, 0, ...pattern((CD_SECTORS - 2) * 2048 + 6, 2)]);
  });
});

describe("how a transfer ends (3.1)", () => {
  it("interrupt 1, active 0: regions and data are equally long", () => {
    begin([[0x3000, 512, true]], 1, READ);
    expect([bmi(), status()]).toEqual([1, 0x80]);
    rig.settle();
    expect([bmi(), status(), rig.lines[0]!.level]).toEqual([4, 0x50, true]);
  });
  it("interrupt 1, active 1: the regions are longer", () => {
    transfer([[0x3000, 1024, true]], 1);
    expect([bmi(), status(), rig.board.space.read(0x3200, 1)]).toEqual([5, 0x50, 0]);
    rig.out(PRIMARY.bm, 8);
    expect(bmi()).toBe(4);
    transfer([[0x3000, 512, false]], 1);
    expect(bmi()).toBe(5);
  });
  it("interrupt 0, active 0: the regions are shorter; the drive waits until it is reset", () => {
    transfer([[0x3000, 512, true]], 2);
    expect([bmi(), status(), rig.lines[0]!.level]).toEqual([0, 0x58, false]);
    expect(rig.board.space.read(0x31ff, 1)).toBe(patternByte(511));
    rig.out(PRIMARY.bm, 0);
    rig.out(PRIMARY.control, 4);
    rig.out(PRIMARY.control, 0);
    rig.settle();
    transfer([[0x3000, 512, true]], 1);
    expect([bmi(), status()]).toEqual([4, 0x50]);
  });
  it("error: memory does not answer to a region, to the table, or in the middle of one", () => {
    const reset = (): void => {
      rig.out(PRIMARY.bm, 0);
      rig.out(PRIMARY.control, 4);
      rig.out(PRIMARY.control, 0);
      rig.settle();
    };
    for (const [regions, table, start] of [
      [[[0x80000000, 512, true]], TABLE, READ],
      [[[0x80000000, 512, true]], TABLE, WRITE],
      [[], 0x80000000, READ],
      [[], 0xfffffffc, READ],
      [[[RAM_END - 256, 512, true]], TABLE, READ],
      [
        [
          [0x3000, 512, false],
          [0x90000000, 512, true],
        ],
        TABLE,
        READ,
      ],
    ] as const) {
      transfer(regions, 2, start, table);
      expect([bmi(), status(), rig.lines[0]!.level]).toEqual([2, 0x58, false]);
      expect(rig.part.configRead(6, 2) & 0x2000).toBe(0x2000);
      rig.part.configWrite(6, 2, 0x2000);
      expect(rig.part.configRead(6, 2)).toBe(0x0280);
      reset();
    }
    expect([...store.subarray(0, 4)]).toEqual(pattern(0, 4));
  });
  it("a table of zeros gives regions of 64 KiB without an end, and ends with the drive's data", () => {
    transfer([], 255, READ, 0x80000);
    expect([bmi(), status()]).toEqual([5, 0x50]);
  });
  it("a table that lies in a region that it describes is read as it is then", () => {
    // The first region overwrites what follows it in the table.
    store.fill(0, 0, 1024);
    new DataView(store.buffer).setUint32(0, 0x4000, true);
    new DataView(store.buffer).setUint32(4, 0x80000200, true);
    transfer(
      [
        [TABLE + 8, 512, false],
        [0x3000, 512, true],
      ],
      2,
    );
    expect(bmi()).toBe(4);
    expect(rig.memory(0x3000, 2)).toEqual([0, 0]);
  });
  it("stopping it ends the transfer; a new start begins with the table again", () => {
    begin(
      [
        [0x3000, 512, false],
        [0x4000, 512, true],
      ],
      2,
      READ,
    );
    rig.run(56_000 + 20 * 30 * 256);
    expect([bmi(), rig.board.space.read(0x3001, 1), rig.board.space.read(0x4001, 1)]).toEqual([1, patternByte(1), 0]);
    rig.out(PRIMARY.bm, 8);
    rig.settle();
    expect([bmi(), status(), rig.board.space.read(0x4001, 1)]).toEqual([0, 0x58, 0]);
    rig.out(PRIMARY.bm, 9);
    rig.settle();
    expect([bmi(), rig.board.space.read(0x3001, 1)]).toEqual([5, patternByte(513)]);
  });
  it("a drive that is reset in the middle of a burst takes its time with it", () => {
    begin([[0x10000, 0, true]], 128, READ);
    rig.run(1e6);
    rig.out(PRIMARY.control, 4);
    rig.out(PRIMARY.control, 0);
    rig.run(3e6);
    expect([bmi(), rig.board.space.read(0x10001, 1)]).toEqual([1, 0]);
    // The first sector of READ DMA by cylinder, head and sector: SRST has left LBA off, and nobody writes the device register.
    rig.out(PRIMARY.command + 2, 1);
    rig.out(PRIMARY.command + 3, 10);
    rig.out(PRIMARY.command + 7, 0xc8);
    rig.run(55_000 + 256 * 600 - 1);
    expect(bmi()).toBe(1);
    rig.run(1);
    expect([bmi(), rig.board.space.read(0x10001, 1)]).toEqual([5, patternByte(9 * 512 + 1)]);
  });
  it("the other direction than the drive's: nothing moves", () => {
    rig.table(TABLE, [[0x3000, 512, true]]);
    rig.out(PRIMARY.bm + 4, TABLE, 4);
    rig.command(PRIMARY, 0xc8, [0, 1, 0]);
    rig.out(PRIMARY.bm, WRITE);
    rig.settle();
    expect([bmi(), status(), rig.board.space.read(0x3001, 1)]).toEqual([1, 0x58, 0]);
  });
  it("without bus master enable the engine waits for it", () => {
    rig.part.configWrite(4, 2, 1);
    transfer([[0x3000, 512, true]], 1);
    expect([bmi(), status()]).toEqual([1, 0x58]);
    rig.part.configWrite(4, 2, 5);
    rig.settle();
    expect([bmi(), rig.board.space.read(0x3001, 1)]).toEqual([4, patternByte(1)]);
  });
});

describe("time and causes", () => {
  /** From DMARQ to the interrupt. */
  const duration = (sectors: number): number => {
    begin([[0x3000, sectors * 512, true]], sectors, READ);
    rig.run(55_000);
    const from = rig.queue.clock.now();
    for (let i = 0; i < 1e6 && !rig.lines[0]!.level; i++) rig.run(rig.queue.nextDeadline() - rig.queue.clock.now());
    rig.in(PRIMARY.command + 7);
    rig.out(PRIMARY.bm, 0);
    return rig.queue.clock.now() - from;
  };
  it("Ultra DMA: 120, 90 or 60 ns a word by UDMATIM (82371AB, 6.1.16)", () => {
    rig.part.configWrite(0x48, 1, 1);
    for (const [cycle, ns] of [
      [0, 120],
      [1, 90],
      [2, 60],
    ] as const) {
      rig.part.configWrite(0x4a, 2, cycle);
      expect(duration(8)).toBe(ns * 2048);
    }
  });
  it("else the clocks of IDETIM where fast timing is on, else 20 clocks (6.1.12)", () => {
    expect(duration(1)).toBe(20 * 30 * 256);
    rig.part.configWrite(0x40, 2, 0xa301);
    // Sample 3 clocks, recovery 1.
    expect(duration(1)).toBe(4 * 30 * 256);
    rig.part.configWrite(0x40, 2, 0x8001);
    expect(duration(1)).toBe(9 * 30 * 256);
  });
  it("SIDETIM has drive 1's clocks when IDETIM says so (6.1.13)", () => {
    const both = [0, 1].map(() => ({ kind: "disk", medium: medium(SECTORS * 512) }) as const);
    rig = new IdeRig([...both, null, null]).start();
    rig.part.configWrite(0x40, 2, 0xc010);
    // Sample 2 clocks, recovery 1.
    rig.part.configWrite(0x44, 1, 0x0f);
    rig.table(TABLE, [[0x3000, 512, true]]);
    rig.out(PRIMARY.bm + 4, TABLE, 4);
    rig.command(PRIMARY, 0xc8, [0, 1, 0, 0, 0, 0xf0]);
    rig.out(PRIMARY.bm, READ);
    rig.run(55_000 + 3 * 30 * 256 - 1);
    expect(bmi()).toBe(1);
    rig.run(1);
    expect(bmi()).toBe(4);
  });
  it("doorbell, descriptors, completion and the interrupt line are one chain of causes", () => {
    const events: [number, number, number, number, number, number][] = [];
    const listener = {
      event: (_t: number, kind: number, _s: number, a: number, b: number, c: number, id: number, cause: number) =>
        void events.push([kind, a, b, c, id, cause]),
    };
    const { doorbell, descriptor, completion, lineLevel, dmaRead, dmaWrite } = EVENT;
    rig.board.trace.listen(listener, [doorbell, descriptor, completion, lineLevel, dmaRead, dmaWrite]);
    transfer(
      [
        [0x3000, 512, false],
        [0x4000, 512, true],
      ],
      2,
    );
    const kinds = events.map(([kind]) => kind);
    expect(kinds).toEqual([
      ...[doorbell, dmaRead, descriptor, dmaWrite, dmaRead, descriptor, dmaWrite, completion, lineLevel],
    ]);
    const idOf = (index: number): number => events[index]![4];
    const causes = events.map(([, , , , , cause]) => cause);
    expect(causes).toEqual([0, idOf(0), idOf(0), idOf(2), idOf(2), idOf(2), idOf(5), idOf(5), idOf(7)]);
    expect(events[7]!.slice(1, 4)).toEqual([0, 1024, 0]);
    expect(events[2]!.slice(1, 4)).toEqual([0, TABLE, 512]);
  });
  it("a completion is told once for each doorbell, with what went wrong", () => {
    const codes: [number, number][] = [];
    const event = (_t: number, _k: number, _s: number, _a: number, bytes: number, code: number) =>
      void codes.push([bytes, code]);
    rig.board.trace.listen({ event }, [EVENT.completion]);
    transfer([[0x3000, 1024, true]], 1);
    rig.out(PRIMARY.bm, 0);
    expect(codes).toEqual([[512, 0]]);
    transfer([[0x3000, 512, true]], 2);
    rig.out(PRIMARY.bm, 0);
    expect(codes[1]).toEqual([512, 0x10]);
    rig.out(PRIMARY.control, 4);
    rig.out(PRIMARY.control, 0);
    rig.settle();
    transfer([[0x80000000, 512, true]], 1);
    expect(codes.slice(2)).toEqual([[0, 1]]);
  });
});
