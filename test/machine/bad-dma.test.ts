/**
 * Devices on memory full of nonsense: chains that loop, point at themselves, at the device's own registers, at interrupt messages, at nothing, and lie about
 * their length. Each device keeps within a bound of work per virtual time, ends in a state that its document knows, and works after a reset. What single
 * mistakes end in is tested beside the devices: ioat.test.ts ("bad descriptors end in the documented error"), virtqueue.test.ts (DEVICE_NEEDS_RESET),
 * edu.test.ts, prd-engine.test.ts; the 8237A has no descriptors, and its registers,
 * requests and addresses at random are those of i8237.fuzz.test.ts.
 */
import { describe, expect, test } from "vitest";
import { IdeRig, PRIMARY, usualDrives } from "../../src/devices/ata/ide-rig.testing.ts";
import { Edu } from "../../src/devices/edu.ts";
import { Ioat } from "../../src/devices/ioat.ts";
import { Driver, DriverQueue, VERSION_1, VirtioRig } from "../../src/devices/virtio/driver.testing.ts";
import type { VirtioFunction } from "../../src/devices/virtio/transport.ts";
import { VirtioBlock } from "../../src/devices/virtio/virtio-blk.ts";
import { VirtioRng } from "../../src/devices/virtio/virtio-rng.ts";
import { TestBoard } from "../../src/pci/board.testing.ts";
import { EVENT } from "../../src/ports/events.ts";
import { Clock } from "../../src/sim/clock.ts";
import { EventQueue } from "../../src/sim/event-queue.ts";
import { Rng } from "../../src/sim/rng.ts";
import { FUZZ_STEPS } from "../fuzz-steps.ts";

const BASE = 0xe0000000;
const ROUNDS = Math.max(60, Math.floor(FUZZ_STEPS / 2000));
const RAM = 0x100000;

/** Counts what goes over the bus. */
class Meter {
  transactions = 0;
  bytes = 0;
  constructor(board: TestBoard) {
    const event = (_time: number, _kind: number, _subject: number, _address: number, bytes: number): void => {
      this.transactions++;
      this.bytes += bytes;
    };
    board.trace.listen({ event }, [EVENT.dmaRead, EVENT.dmaWrite]);
  }
}

/** Runs for `ns`; returns how many alarms there were. */
function run(queue: EventQueue, ns: number): number {
  const end = queue.clock.now() + ns;
  let alarms = 0;
  while (queue.nextDeadline() <= end) {
    queue.clock.advanceTo(queue.nextDeadline());
    queue.runDue();
    alarms++;
    if (alarms > ns) throw new Error("more alarms than nanoseconds");
  }
  queue.clock.advanceTo(end);
  return alarms;
}

/** Somewhere that a descriptor should not point to, or could. */
function somewhere(rng: Rng): number {
  return rng.pick([
    rng.below(RAM),
    rng.below(RAM / 64) * 64,
    rng.below(64) * 64,
    BASE + rng.below(0x200),
    BASE + 0x80 + rng.below(0x10) * 4,
    0xfee00000 + rng.below(0x2000) * 4,
    RAM - rng.below(200),
    0x50000000,
    0xffffffc0,
  ]);
}

/** 64-bit addresses and small numbers, in all of memory. */
function nonsense(bytes: Uint8Array, rng: Rng): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < 0x10000; at += 8) {
    view.setUint32(at, rng.pick([somewhere(rng), rng.below(300), rng.u32()]), true);
    view.setUint32(at + 4, rng.chance(1, 8) ? rng.u32() : 0, true);
  }
}

describe("I/OAT", () => {
  const CHANNEL = BASE + 0x80;

  function make() {
    const queue = new EventQueue(new Clock());
    const board = new TestBoard();
    const part = new Ioat(board.slot("ioat", 4), { queue, channels: 1 });
    for (const phase of ["enter", "hold", "exit"] as const) part.reset(phase);
    part.configWrite(0x10, 4, BASE);
    part.configWrite(4, 2, 6);
    return { queue, board, meter: new Meter(board) };
  }

  /** Descriptors in the first 4 KiB, mostly with operations and sizes that there are. */
  function descriptors(bytes: Uint8Array, rng: Rng): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at < 0x1000; at += 64) {
      const operation = rng.pick([0, 0, 0, 1, 0x87, 0x88, 0x89, 0x8a, rng.below(256)]);
      view.setUint32(at, rng.pick([1, 64, rng.below(4096), rng.below(2 ** 21), 0]), true);
      view.setUint32(at + 4, ((operation << 24) | rng.below(0x2000)) >>> 0, true);
      view.setUint32(at + 24, rng.chance(7, 8) ? rng.below(64) * 64 : somewhere(rng), true);
      view.setUint32(at + 28, rng.chance(1, 40) ? rng.u32() : 0, true);
    }
  }

  test("random descriptors: bounded work, a known state, and a reset mends it", () => {
    for (let round = 0; round < ROUNDS; round++) {
      const rng = new Rng(`ioat ${round}`);
      const { queue, board, meter } = make();
      const { space } = board;
      nonsense(space.ram.bytes, rng);
      descriptors(space.ram.bytes, rng);
      space.write(CHANNEL + 0x00, 2, rng.below(64));
      space.write(CHANNEL + 0x18, 4, somewhere(rng));
      space.write(CHANNEL + 0x10, 4, rng.below(64) * 64);
      space.write(CHANNEL + 0x06, 2, rng.pick([1, 8, 100, 0xffff]));
      run(queue, 100_000);
      // 100 ns and 8 bytes per ns each: what is fetched, up to nine transfers, and two words of status; what was cut short may come on top.
      expect(meter.transactions).toBeLessThan((100_000 / 100) * 13 + 200);
      expect(meter.bytes).toBeLessThan(100_000 * 8 * 3 + 12 * 2 ** 20);
      const status = space.read(CHANNEL + 0x08, 4) & 7;
      expect([0, 1, 2, 3]).toContain(status);
      // Its own registers may have been written by a descriptor; but an error that is not masked never goes on by itself.
      const error = space.read(CHANNEL + 0x28, 4) & ~space.read(CHANNEL + 0x2c, 4);
      if (error !== 0) expect([1, 2, 3]).toContain(status);

      space.write(CHANNEL + 0x04, 1, 0x20);
      expect([space.read(CHANNEL + 0x08, 4) & 7, space.read(CHANNEL + 0x28, 4)]).toEqual([3, 0]);
      const view = new DataView(space.ram.buffer as ArrayBuffer);
      for (const [at, value] of [
        [0, 100],
        [8, 0],
        [16, 0x20000],
        [24, 0x30000],
        [32, 0],
      ] as const)
        view.setBigUint64(0x10000 + at, BigInt(value), true);
      view.setBigUint64(0x10000 + 8, 0x20000n, true);
      view.setBigUint64(0x10000 + 16, 0x30000n, true);
      space.ram.bytes.fill(0x5a, 0x20000, 0x20064);
      space.write(CHANNEL + 0x10, 4, 0x10000);
      space.write(CHANNEL + 0x14, 4, 0);
      space.write(CHANNEL + 0x06, 2, 1);
      run(queue, 1000);
      expect([...space.ram.bytes.subarray(0x30000, 0x30064)]).toEqual(new Array(100).fill(0x5a));
    }
  });

  test("a descriptor that resets, aborts, or restarts its own channel", () => {
    for (const [value, status] of [
      [0x20, 3],
      [0x08, 3],
      [0x00010000, 1],
    ] as const) {
      const { queue, board } = make();
      const view = new DataView(board.space.ram.buffer as ArrayBuffer);
      for (let n = 0; n < 4; n++) {
        view.setUint32(n * 64, 4, true);
        view.setUint32(n * 64 + 8, 0x8000, true);
        view.setUint32(n * 64 + 16, n === 1 ? CHANNEL + 4 : 0x9000 + n * 4, true);
        view.setUint32(n * 64 + 24, (n + 1) * 64, true);
      }
      view.setUint32(0x8000, value, true);
      board.space.write(CHANNEL + 0x06, 2, 4);
      run(queue, 100_000);
      expect(board.space.read(CHANNEL + 0x08, 4) & 7).toBe(status);
      expect(board.space.read(CHANNEL + 0x28, 4)).toBe(0);
      // What comes behind the descriptor that stopped the channel is not done.
      expect(view.getUint32(0x9008, true)).toBe(status === 3 ? 0 : value);
    }
  });
});

describe("virtio", () => {
  const INDIRECT = 28;
  function attach(rig: VirtioRig<VirtioFunction>, base: number): DriverQueue {
    const driver = new Driver(rig);
    expect(driver.negotiate([VERSION_1, INDIRECT])).toBe(true);
    const ring = new DriverQueue(rig, driver, 0, { base, size: 8 });
    ring.enable();
    driver.ready();
    return ring;
  }
  const STORE = 512 * 100;
  const medium = {
    name: "zeros",
    bytes: STORE,
    readOnly: false,
    read: (position: number, into: Uint8Array, offset: number, length: number): void => {
      expect(position + length).toBeLessThanOrEqual(STORE);
      into.fill(0x77, offset, offset + length);
    },
    write: (position: number, _from: Uint8Array, _offset: number, length: number): void =>
      expect(position + length).toBeLessThanOrEqual(STORE),
    flush: (): void => {},
  };
  const rigs: { readonly [name: string]: () => VirtioRig<VirtioFunction> } = {
    block: () => new VirtioRig((slot, events) => new VirtioBlock(slot, { events, medium, serial: "s" })),
    entropy: () => new VirtioRig((slot, events) => new VirtioRng(slot, { events, rng: new Rng("virtio") })),
  };

  test.each(Object.keys(rigs))(
    "%s: random rings: bounded work, at worst DEVICE_NEEDS_RESET, and a reset mends it",
    name => {
      let broken = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const rng = new Rng(`virtio ${round}`);
        const rig = rigs[name]!();
        const meter = new Meter(rig.board);
        const ring = attach(rig, 0x10000);
        const { bytes } = rig.board.space.ram;
        nonsense(bytes, rng);
        for (let n = 0; n < 8; n++) {
          const piece = { address: somewhere(rng), length: rng.pick([rng.below(4096), 16 * rng.below(20), rng.u32()]) };
          // Mostly chains; sometimes an indirect table, or a place that the queue does not have.
          const flags = rng.pick([0, 1, 1, 2, 3, 4, rng.below(8)]);
          ring.writeDescriptor(ring.desc + 16 * n, piece, flags, rng.pick([rng.below(8), rng.below(8), 300]));
        }
        for (let n = 0; n < 20; n++) {
          ring.offer(rng.chance(1, 20) ? 999 : rng.below(8));
          if (rng.chance(1, 20)) ring.publish(rng.below(0x10000));
          ring.kick();
          run(rig.queue, 5000);
        }
        // A chain costs 500 ns at least; it has at most as many descriptors as the queue and a table together, each fetched once and moved once.
        expect(meter.transactions).toBeLessThan(200 * 50);
        if ((new Driver(rig).status & 0x40) !== 0) broken++;

        bytes.fill(0);
        const mended = attach(rig, 0x20000);
        const pieces = [{ address: 0x9000, length: 512, write: true }];
        // Block: a header that says "read", from sector 0, and a place for the status.
        if (name === "block") {
          pieces.unshift({ address: 0x8000, length: 16, write: false });
          pieces.push({ address: 0xa000, length: 1, write: true });
        }
        mended.add(pieces);
        mended.kick();
        run(rig.queue, 1_000_000);
        const filled = bytes.subarray(0x9000, 0x9200).filter(byte => byte !== 0).length;
        expect(filled).toBeGreaterThan(400);
      }
      expect(broken).toBeGreaterThan(ROUNDS / 4);
    },
  );
});

describe("edu", () => {
  test("random addresses and counts: each transfer ends in its time, inside its buffer", () => {
    for (let round = 0; round < ROUNDS; round++) {
      const rng = new Rng(`edu ${round}`);
      const queue = new EventQueue(new Clock());
      const board = new TestBoard();
      const part = new Edu(board.slot("edu", 4), { queue });
      for (const phase of ["enter", "hold", "exit"] as const) part.reset(phase);
      part.configWrite(0x10, 4, BASE);
      part.configWrite(4, 2, 6);
      const meter = new Meter(board);
      for (let n = 0; n < 20; n++) {
        for (const register of [0x80, 0x88])
          board.space.write(BASE + register, 4, rng.chance(1, 2) ? 0x40000 + rng.below(5000) : somewhere(rng));
        board.space.write(BASE + 0x90, 4, rng.pick([0, 1, rng.below(5000), rng.u32()]));
        board.space.write(BASE + 0x98, 4, rng.below(8));
        run(queue, 200_000);
        expect(board.space.read(BASE + 0x98, 4) & 1).toBe(0);
      }
      expect(meter.transactions).toBeLessThanOrEqual(20);
      expect(meter.bytes).toBeLessThanOrEqual(20 * 4096);
    }
  });
});

describe("IDE bus master", () => {
  test("random tables of regions: the transfer ends or waits, and a reset of the drive mends it", () => {
    for (let round = 0; round < ROUNDS; round++) {
      const rng = new Rng(`ide ${round}`);
      const rig = new IdeRig(usualDrives().drives).start();
      const meter = new Meter(rig.board);
      const { bytes } = rig.board.space.ram;
      nonsense(bytes, rng);
      rig.table(
        0x1000,
        Array.from({ length: 20 }, () => [somewhere(rng) & ~1, rng.below(0x8000) * 2, rng.chance(1, 10)] as const),
      );
      const read = rng.chance(1, 2);
      const begin = (sectors: number, start: number): void => {
        rig.out(PRIMARY.bm, start & 8);
        rig.out(PRIMARY.bm + 2, 6);
        rig.command(PRIMARY, start === 9 ? 0xc8 : 0xca, [0, sectors, 0]);
        rig.out(PRIMARY.bm, start);
      };
      rig.out(PRIMARY.bm + 4, rng.chance(3, 4) ? 0x1000 : somewhere(rng), 4);
      begin(1 + rng.below(8), read ? 9 : 1);
      run(rig.queue, 1e9);
      // Eight sectors in pieces of at least a word, with a table entry of its own for each at worst.
      expect(meter.transactions).toBeLessThan(2 * 8 * 256 + 100);
      // Error, or not; the drive is not left in the middle without the bus master being active (SFF-8038i 2.3): one of the documented outcomes.
      expect([0, 1, 2, 4, 5, 6]).toContain(rig.in(PRIMARY.bm + 2) & 7);

      rig.out(PRIMARY.bm, 0);
      rig.out(PRIMARY.control, 4);
      rig.out(PRIMARY.control, 0);
      rig.settle();
      rig.table(0x1000, [[0x3000, 512, true]]);
      rig.out(PRIMARY.bm + 4, 0x1000, 4);
      begin(1, 9);
      rig.settle();
      expect([rig.in(PRIMARY.bm + 2) & 7, rig.status(PRIMARY)]).toEqual([4, 0x50]);
    }
  });
});
