/**
 * The DMA API by itself: zones, mappings, ownership, bounce buffers, scatter-gather lists, cache operations, the document's errors. Transfers are made by a
 * bus master that the test holds. The document: "Direct Memory Access Mechanisms" and "Memory Coherence and Synchronization".
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MIB } from "../../base/units.ts";
import { CACHE_OP, compute, OP, type Task } from "../../ports/task.ts";
import { Arena } from "../memory.ts";
import { type ChannelStatus, DmaChannel, type DmaController, TRANSFER_MODE } from "./channel.ts";
import { DIRECTION, DmaCoherence } from "./coherence.ts";
import { DmaError, ERRNO } from "./errors.ts";
import { codeOf, dmaRun, fill, pattern, readBytes } from "./dma-rig.testing.ts";
import { DmaMemory, ISA_END, Zone } from "./memory.ts";
import { I8237Driver } from "../drivers/i8237.ts";

const NON_COHERENT = { caches: { coherent: false, storeBuffer: true } };
const { toDevice, fromDevice, bidirectional } = DIRECTION;

test("errors have POSIX's names and numbers, negative as the document returns them", () => {
  const codes = ["EIO", "ENOMEM", "EBUSY", "EINVAL"] as const;
  expect(codes.map(code => new DmaError(code, "").errno)).toEqual([-5, -12, -16, -22]);
  expect(ERRNO.EIO).toBe(5);
});

describe("memory for devices", () => {
  test("who reaches 24 bits gets memory below 16 MiB, everybody else above it; a full zone is helped out by the lower one", () => {
    const memory = new DmaMemory(new Arena(64 * MIB), { isaBytes: 65536, bytes: 65536 });
    expect(memory.allocate(100)).toBeGreaterThanOrEqual(ISA_END);
    expect(memory.allocate(100, { limit: ISA_END - 1 })).toBeLessThan(ISA_END);
    const large = memory.allocate(65536 - 128);
    expect(large).toBeGreaterThanOrEqual(ISA_END);
    expect(memory.allocate(4096)).toBeLessThan(ISA_END);
    expect(() => memory.allocate(65536)).toThrow(/^ENOMEM/);
    expect(() => memory.allocate(0)).toThrow(/^EINVAL/);
    memory.free(large);
    expect(() => memory.free(large)).toThrow(/^EINVAL/);
  });

  test("blocks never overlap, keep alignment, limit and boundary, and come back as one piece", () => {
    const wish = fc.record({
      bytes: fc.integer({ min: 1, max: 9000 }),
      align: fc.integer({ min: 6, max: 13 }),
      bounded: fc.boolean(),
      low: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(wish, fc.nat()), { maxLength: 60 }), steps => {
        const zone = new Zone(0x13000, 0x60000);
        const held: { at: number; bytes: number }[] = [];
        for (const [{ bytes, align, bounded, low }, drop] of steps) {
          const limit = low ? 0x2ffff : 0x5ffff;
          const at = zone.take(bytes, { alignment: 2 ** align, limit, ...(bounded ? { boundary: 16384 } : {}) });
          if (at >= 0) {
            expect(at % 2 ** align).toBe(0);
            expect(at).toBeGreaterThanOrEqual(0x13000);
            expect(at + bytes - 1).toBeLessThanOrEqual(limit);
            if (bounded) expect(Math.floor(at / 16384)).toBe(Math.floor((at + bytes - 1) / 16384));
            for (const other of held) {
              // Not even a cache line is shared.
              const apart =
                Math.floor((at + bytes - 1) / 64) < Math.floor(other.at / 64) ||
                Math.floor(at / 64) > Math.floor((other.at + other.bytes - 1) / 64);
              expect(apart).toBe(true);
            }
            held.push({ at, bytes });
          }
          if (drop % 2 === 1 && held.length > 0) zone.give(held.splice(drop % held.length, 1)[0]!.at);
        }
        for (const { at } of held) zone.give(at);
        expect(zone.free).toBe(0x60000 - 0x13000);
        expect(zone.take(0x60000 - 0x13000)).toBe(0x13000);
      }),
    );
  });
});

describe("cache operations", () => {
  /** What `task` asks of the processor, which answers 0. */
  function requests(task: Task): number[][] {
    const list: number[][] = [];
    for (let step = task.next(0); step.done !== true; step = task.next(0)) {
      const { op, a, b, c } = step.value;
      list.push([op, a, b, c]);
    }
    return list;
  }
  const flush = (address: number, bytes: number) => [OP.cache, CACHE_OP.flush, address, bytes];
  const barrier = [OP.fence, 0, 0, 0];

  test("before: what the device reads is flushed, what it fills is invalidated; after: what it has filled is invalidated", () => {
    const apart = new DmaCoherence(false);
    const regions = [
      { address: 0x1000, bytes: 300, direction: toDevice },
      { address: 0x2000, bytes: 64, direction: fromDevice },
    ];
    const before = [flush(0x1000, 300), barrier, flush(0x2000, 64), barrier];
    expect(requests(apart.synchronizeDmaOperation({ regions }, true))).toEqual(before);
    expect(requests(apart.synchronizeDmaOperation({ regions }, false))).toEqual([
      barrier,
      flush(0x2000, 64),
      barrier,
      barrier,
    ]);
    // With coherence the barriers are left.
    expect(requests(new DmaCoherence(true).synchronizeDmaOperation({ regions }, true))).toEqual([barrier, barrier]);
  });

  test("lazy invalidations are over before a device begins, as where the document flushes the IOMMU's TLB", () => {
    const log: string[] = [];
    const coherence = new DmaCoherence(true, function* () {
      yield* [];
      log.push("flushed");
    });
    expect(requests(coherence.flushDmaCoherence(0, 64))).toEqual([barrier]);
    expect(log).toEqual(["flushed"]);
  });

  test("a range that begins in the middle of a line is flushed to its last line", () => {
    let inMemory: number[] = [];
    dmaRun(NON_COHERENT, function* (rig) {
      const at = rig.memory.allocate(256) + 60;
      // Eight bytes on two lines: the document's loop flushes the first one only.
      yield* fill(at, pattern(8));
      yield* new DmaCoherence(false).flushDmaCoherence(at, 8);
      const bytes = new Uint8Array(8);
      rig.master(0x28).read(at, bytes, 0, 8);
      inMemory = [...bytes];
    });
    expect(inMemory).toEqual(pattern(8));
  });
});

describe("streaming mappings", () => {
  test("the CPU's address is refused while the buffer is the device's; what is not mapped cannot be synchronized or unmapped", () => {
    const seen: unknown[] = [];
    dmaRun({}, function* (rig) {
      const device = rig.device();
      const at = rig.memory.allocate(256);
      const mapping = yield* device.map(at, 200, bidirectional);
      expect(mapping.bus).toBe(at);
      expect(() => mapping.at()).toThrow(/^EINVAL/);
      yield* device.syncForCpu(mapping);
      seen.push(mapping.at(199) - at);
      expect(() => mapping.at(200)).toThrow(/^EINVAL/);
      yield* device.syncForDevice(mapping);
      expect(() => mapping.at()).toThrow(/^EINVAL/);
      yield* device.unmap(mapping);
      seen.push(yield* codeOf(device.unmap(mapping)), yield* codeOf(device.syncForCpu(mapping)));
      seen.push(yield* codeOf(device.map(at, 0, toDevice)), device.live.size);
    });
    expect(seen).toEqual([199, "EINVAL", "EINVAL", "EINVAL", 0]);
  });

  test("out of reach: a bounce buffer below 16 MiB that crosses no 64 KiB; its bytes follow at each synchronization, and it is given back", () => {
    const seen: unknown[] = [];
    dmaRun({}, function* (rig) {
      const device = rig.device({ maskBits: 24, boundary: 65536 });
      const master = rig.master(0xf8);
      const at = rig.memory.allocate(5000);
      expect(at).toBeGreaterThanOrEqual(ISA_END);
      const free = rig.memory.isa.free;
      yield* fill(at, pattern(5000, 1));
      const mapping = yield* device.map(at, 5000, bidirectional);
      expect(mapping.bus + 5000).toBeLessThan(ISA_END);
      const bytes = new Uint8Array(5000);
      master.read(mapping.bus, bytes, 0, 5000);
      seen.push([...bytes]);
      // The device changes a part only: the rest stays what it was.
      master.write(mapping.bus + 100, Uint8Array.from(pattern(50, 2)), 0, 50);
      yield* device.syncForCpu(mapping);
      seen.push(yield* readBytes(at + 99, 52));
      yield* fill(at, [77]);
      yield* device.syncForDevice(mapping);
      master.read(mapping.bus, bytes, 0, 1);
      seen.push(bytes[0]);
      yield* device.unmap(mapping);
      expect(rig.memory.isa.free).toBe(free);
      expect(yield* codeOf(device.map(at, 70_000, toDevice))).toBe("EINVAL");
    });
    const before = pattern(5000, 1);
    expect(seen).toEqual([before, [before[99], ...pattern(50, 2), before[150]], 77]);
  });

  test("bounce buffers that run out are -ENOMEM, and a list that fails half way leaves nothing mapped", () => {
    const seen: unknown[] = [];
    dmaRun({}, function* (rig) {
      const device = rig.device({ maskBits: 24, boundary: 65536 });
      const free = rig.memory.isa.free;
      const at = rig.memory.allocate(2 * MIB);
      seen.push(yield* codeOf(device.mapSg([{ address: at, bytes: 2 * MIB }], toDevice)));
      expect(rig.memory.isa.free).toBe(free);
      seen.push(
        device.live.size,
        yield* codeOf(device.mapSg([], toDevice)),
        yield* codeOf(device.allocateCoherent(4 * MIB)),
      );
    });
    expect(seen).toEqual(["ENOMEM", 0, "EINVAL", "EINVAL"]);
  });

  test("a buffer that shares a cache line with other data is bounced where caches are not coherent: the neighbour keeps its bytes", () => {
    const run = (coherent: boolean): unknown[] => {
      const seen: unknown[] = [];
      dmaRun({ caches: { coherent, storeBuffer: false } }, function* (rig) {
        const device = rig.device();
        const at = rig.memory.allocate(128);
        const mapping = yield* device.map(at, 100, fromDevice);
        rig.master(0x28).write(mapping.bus, Uint8Array.from(pattern(100)), 0, 100);
        // Meanwhile, on the same line, something that is no part of the buffer.
        yield* fill(at + 100, [1, 2, 3]);
        yield* device.unmap(mapping);
        seen.push(device.bounced, yield* readBytes(at, 100), yield* readBytes(at + 100, 3));
      });
      return seen;
    };
    expect(run(false)).toEqual([1, pattern(100), [1, 2, 3]]);
    expect(run(true)).toEqual([0, pattern(100), [1, 2, 3]]);
  });
});

describe("scatter-gather lists", () => {
  test("neighbours are one segment, up to the longest segment and not over a boundary", () => {
    const segments = (list: [number, number][], options: object): number[][] => {
      let found: number[][] = [];
      dmaRun({}, function* (rig) {
        const device = rig.device(options);
        const base = rig.memory.allocate(0x20000, { alignment: 0x20000 });
        const pieces = list.map(([offset, bytes]) => ({ address: base + offset, bytes }));
        const mapping = yield* device.mapSg(pieces, toDevice);
        found = mapping.segments.map(({ bus, bytes }) => [bus - base, bytes]);
        yield* device.unmapSg(mapping);
        expect(device.live.size).toBe(0);
      });
      return found;
    };
    const list: [number, number][] = [
      [0xf000, 0x800],
      [0xf800, 0x1000],
      [0x18000, 0x40],
    ];
    expect(segments(list, {})).toEqual([
      [0xf000, 0x1800],
      [0x18000, 0x40],
    ]);
    expect(segments(list, { boundary: 0x10000 })).toEqual([
      [0xf000, 0x1000],
      [0x10000, 0x800],
      [0x18000, 0x40],
    ]);
    expect(segments([[0, 0x2800]], { maxSegment: 0x1000 })).toEqual([
      [0, 0x1000],
      [0x1000, 0x1000],
      [0x2000, 0x800],
    ]);
  });
});

test("coherent memory is seen by both sides at any time, also where devices do not look into caches: it is uncached there", () => {
  const seen: unknown[] = [];
  dmaRun(NON_COHERENT, function* (rig) {
    const device = rig.device();
    const master = rig.master(0x28);
    const buffer = yield* device.allocateCoherent(5000);
    expect(yield* readBytes(buffer.address + 4990, 4)).toEqual([0, 0, 0, 0]);
    for (let round = 0; round < 3; round++) {
      yield* fill(buffer.address, [round + 1]);
      const bytes = new Uint8Array(1);
      master.read(buffer.bus, bytes, 0, 1);
      master.write(buffer.bus + 1, Uint8Array.of(round + 101), 0, 1);
      seen.push(bytes[0], ...(yield* readBytes(buffer.address, 2)));
    }
    yield* device.freeCoherent(buffer);
    // Given back, its pages are as all others.
    yield* fill(buffer.address, [50]);
    const bytes = new Uint8Array(1);
    master.read(buffer.bus, bytes, 0, 1);
    seen.push(bytes[0]);
  });
  expect(seen).toEqual([1, 1, 101, 2, 2, 102, 3, 3, 103, 3]);
});

/** A controller that says what it is told to. */
class Scripted implements DmaController {
  readonly modes = [TRANSFER_MODE.scatterGather, TRANSFER_MODE.single];
  readonly log: string[] = [];
  next: ChannelStatus = { mine: true, complete: false, error: 0, transferred: 0 };
  *program(): Task {
    yield* [];
    this.log.push("program");
  }
  *start(channel: DmaChannel): Task {
    yield* [];
    this.log.push(`start ${channel.active}`);
  }
  *stop(): Task {
    yield* [];
    this.log.push("stop");
  }
  *status(): Task<ChannelStatus> {
    yield* [];
    return this.next;
  }
}

describe("channels", () => {
  const steps = [
    { source: 0, destination: 64, bytes: 64 },
    { source: 128, destination: 256, bytes: 36 },
  ];
  const run = (task: Task<unknown>): string | null => {
    const end = codeOf(task).next();
    return end.done === true ? end.value : "not done";
  };

  test("configure, start, progress, completion: status 0, all bytes, and the channel is free again", () => {
    const controller = new Scripted();
    const channel = new DmaChannel(3, controller);
    const told: number[] = [];
    const setup = { regions: [], onCompletion: (_: DmaChannel, status: number): undefined => void told.push(status) };
    expect(run(channel.startDmaTransfer())).toBe("EINVAL");
    expect(run(channel.configureScatterGatherDma(steps, setup))).toBe(null);
    expect(run(channel.startDmaTransfer())).toBe(null);
    expect(controller.log).toEqual(["program", "start true"]);
    // "Busy", where the document says "invalid" in one function and "busy" in the other.
    expect(run(channel.startDmaTransfer())).toBe("EBUSY");
    expect(run(channel.configureScatterGatherDma(steps, setup))).toBe("EBUSY");
    controller.next = { mine: true, complete: false, error: 0, transferred: 64 };
    run(channel.handleInterrupt());
    run(channel.handleInterrupt());
    // The register counts since the start: adding it up as the document does would count bytes twice.
    expect([channel.bytesTransferred, channel.remainingCount, channel.active]).toEqual([64, 36, true]);
    controller.next = { mine: true, complete: true, error: 0, transferred: 100 };
    run(channel.handleInterrupt());
    expect([told, channel.active, channel.bytesTransferred]).toEqual([[0], false, 100]);
    // A late interrupt calls nobody back.
    run(channel.handleInterrupt());
    expect(told).toEqual([0]);
  });

  test("an error: its bits, -EIO, free again; another device's interrupt is not claimed", () => {
    const controller = new Scripted();
    const channel = new DmaChannel(0, controller);
    const told: number[] = [];
    const setup = { regions: [], onCompletion: (_: DmaChannel, status: number): undefined => void told.push(status) };
    run(channel.configure(TRANSFER_MODE.single, fromDevice, { bus: 4096, bytes: 10 }, setup));
    run(channel.startDmaTransfer());
    controller.next = { mine: false, complete: true, error: 1, transferred: 0 };
    expect(channel.handleInterrupt().next(0)).toEqual({ done: true, value: false });
    expect([told, channel.active]).toEqual([[], true]);
    controller.next = { mine: true, complete: true, error: 0x22, transferred: 7 };
    run(channel.handleInterrupt());
    expect([told, channel.errorFlags, channel.active, channel.bytesTransferred]).toEqual([[-5], 0x22, false, 7]);
  });

  test("modes that the controller does not have, empty lists and descriptors without bytes are -EINVAL", () => {
    const channel = new DmaChannel(0, new Scripted());
    const setup = { regions: [] };
    expect(run(channel.configure(TRANSFER_MODE.block, toDevice, { bus: 0, bytes: 4 }, setup))).toBe("EINVAL");
    expect(run(channel.configureCascade())).toBe("EINVAL");
    expect(run(channel.configureScatterGatherDma([], setup))).toBe("EINVAL");
    expect(run(channel.configureScatterGatherDma([{ source: 0, destination: 0, bytes: 0 }], setup))).toBe("EINVAL");
  });
});

describe("8237A channels", () => {
  test("block mode on a request by software fills memory from a bus that nobody drives; the count and the terminal count say so", () => {
    const seen: unknown[] = [];
    dmaRun({}, function* (rig) {
      const driver = new I8237Driver(rig.kernel);
      const channel = new DmaChannel(1, driver);
      const told: number[] = [];
      const setup = { regions: [], onCompletion: (_: DmaChannel, status: number): undefined => void told.push(status) };
      const at = rig.memory.allocate(256, { limit: ISA_END - 1 });
      yield* channel.configure(TRANSFER_MODE.block, fromDevice, { bus: at, bytes: 100 }, setup);
      yield* channel.startDmaTransfer();
      yield* channel.handleInterrupt();
      seen.push(channel.active, channel.bytesTransferred);
      yield* driver.request(channel);
      while (channel.active) yield* channel.handleInterrupt();
      seen.push(told, channel.bytesTransferred, yield* readBytes(at + 98, 4));
    });
    // All-ones (IBM PC/AT: data lines are pulled up); behind the block nothing was written.
    expect(seen).toEqual([true, 0, [0], 100, [0xff, 0xff, 0, 0]]);
  });

  test('reading the status for one channel clears the terminal counts of all (datasheet, "Status register"); the other\'s is not lost', () => {
    const seen: unknown[] = [];
    dmaRun({}, function* (rig) {
      const driver = new I8237Driver(rig.kernel);
      const channels = [1, 3].map(number => new DmaChannel(number, driver));
      const at = rig.memory.allocate(256, { limit: ISA_END - 1 });
      for (const [i, channel] of channels.entries()) {
        const segment = { bus: at + 128 * i, bytes: 16 };
        yield* channel.configure(TRANSFER_MODE.block, fromDevice, segment, { regions: [] });
        yield* channel.startDmaTransfer();
        yield* driver.request(channel);
      }
      // Long enough for both.
      yield* compute(1_000_000);
      for (const channel of channels) yield* channel.handleInterrupt();
      seen.push(...channels.map(({ active, bytesTransferred }) => [active, bytesTransferred]));
    });
    expect(seen).toEqual([
      [false, 16],
      [false, 16],
    ]);
  });

  test("what 24 bits, a page or 16-bit channels cannot do is -EINVAL; channel 4 is the cascade", () => {
    const codes: unknown[] = [];
    dmaRun({}, function* (rig) {
      const driver = new I8237Driver(rig.kernel);
      const setup = { regions: [] };
      const ask = (number: number, bus: number, bytes: number): Task<string | null> =>
        codeOf(new DmaChannel(number, driver).configure(TRANSFER_MODE.single, toDevice, { bus, bytes }, setup));
      codes.push(yield* ask(2, ISA_END - 16, 32), yield* ask(2, 0x1fff0, 32), yield* ask(5, 0x1fff0, 32));
      codes.push(yield* ask(5, 0x20001, 32), yield* ask(5, 0x20000, 33), yield* ask(4, 0x20000, 32));
      codes.push(yield* codeOf(new DmaChannel(4, driver).configureCascade()));
      codes.push(
        yield* codeOf(
          new DmaChannel(2, driver).configureScatterGatherDma([{ source: 0, destination: -1, bytes: 4 }], setup),
        ),
      );
    });
    expect(codes).toEqual(["EINVAL", "EINVAL", "EINVAL", "EINVAL", "EINVAL", "EINVAL", null, "EINVAL"]);
  });
});
