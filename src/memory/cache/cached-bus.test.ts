import { beforeEach, describe, expect, test } from "vitest";
import { MEMORY_TYPE } from "../../ports/cpu-bus.ts";
import { describePart } from "../../ports/part.contract.ts";
import { Clock } from "../../sim/clock.ts";
import { EventQueue } from "../../sim/event-queue.ts";
import { Trace } from "../../sim/trace.ts";
import { AddressSpace } from "../address-space.ts";
import { CpuBusPort } from "../cpu-bus.ts";
import { PortSpace } from "../port-space.ts";
import { Ram } from "../ram.ts";
import { MESI } from "./cache-array.ts";
import { CachedBus } from "./cached-bus.ts";
import { CacheHierarchy } from "./hierarchy.ts";

const RAM_BYTES = 0x200000;
/** Two pages, behind 1 MiB. */
const PAGE_A = 0x110;
const A = PAGE_A * 4096;
const B = A + 4096;

function make(withStores: boolean) {
  const ram = new Ram(new ArrayBuffer(RAM_BYTES), 0, RAM_BYTES);
  const space = new AddressSpace(ram);
  space.mapRam("ram", 0, RAM_BYTES, 0);
  const ports = new PortSpace();
  const writes: number[] = [];
  space.mapWindow(
    {
      name: "device",
      size: 4096,
      minWidth: 4,
      maxWidth: 4,
      read: () => 5,
      write: (_, __, value) => void writes.push(value),
    },
    0xe0000000,
  );
  const clock = new Clock();
  const queue = new EventQueue(clock);
  const trace = new Trace(clock);
  const caches = new CacheHierarchy(ram, 2);
  const cpus = [0, 1].map(cpu => {
    const bus = new CpuBusPort(cpu, space, ports, trace);
    return new CachedBus({ cpu, bus, ram, caches, stores: withStores ? queue : null });
  });
  return { ram, caches, queue, clock, one: cpus[0]!, two: cpus[1]!, writes };
}

let rig: ReturnType<typeof make>;
beforeEach(() => {
  rig = make(false);
});
const memory = (at: number): number => rig.caches.memoryByte(at);
const dma = (at: number, length = 1): number[] => {
  const into = new Uint8Array(length);
  rig.caches.dmaRead(at, into, 0, length, false);
  return [...into];
};

describePart("cache port", () => {
  const { one, queue } = make(true);
  return {
    part: one,
    queue,
    // Only page types and stores that wait: caches and RAM are other parts' state.
    stimulate: rng => {
      one.pageType(rng.below(16), rng.pick([0, 1, 4, 5, 6]));
      if (one.state.stores.count < 40) one.state.stores.offsets[one.state.stores.count++] = rng.below(4096);
    },
    avoid: () => true,
  };
});

describe("memory types (Intel SDM vol. 3A, 12.3)", () => {
  test("write-back: a store stays in the cache; an access that crosses lines takes both", () => {
    rig.one.write(A + 62, 4, 0x44332211);
    expect([0, 1].map(n => rig.caches.mesiOf(0, A / 64 + n))).toEqual([MESI.modified, MESI.modified]);
    expect(rig.two.read(A + 62, 4)).toBe(0x44332211);
    expect(dma(A + 62, 4)).toEqual([0, 0, 0, 0]);
  });

  test("write-through: memory has it at once", () => {
    rig.one.pageType(PAGE_A, MEMORY_TYPE.writeThrough);
    rig.one.read(A, 4);
    rig.one.write(A, 4, 0x01020304);
    expect(dma(A, 4)).toEqual([4, 3, 2, 1]);
    expect(rig.caches.mesiOf(0, A / 64)).toBe(MESI.exclusive - 1);
  });

  test("uncached: nothing is cached, and what was goes", () => {
    rig.one.write(A, 1, 7);
    rig.one.pageType(PAGE_A, MEMORY_TYPE.uncached);
    expect(rig.one.read(A, 1)).toBe(7);
    expect(rig.caches.isCached(A / 64)).toBe(false);
    rig.one.write(A, 1, 8);
    expect(memory(A)).toBe(8);
  });

  test("write-combining: a device sees a line's bytes only when its buffer is drained", () => {
    rig.one.pageType(PAGE_A, MEMORY_TYPE.writeCombining);
    rig.one.write(A, 4, 0x11111111);
    rig.one.write(A + 64, 4, 0x22222222);
    expect([dma(A), dma(A + 64)]).toEqual([[0], [0]]);
    rig.one.fence();
    expect([dma(A), dma(A + 64)]).toEqual([[0x11], [0x22]]);
    expect(rig.caches.state.holding).toBe(0);
  });

  test.each([
    [
      "a full line",
      () => {
        for (let i = 4; i < 64; i += 4) rig.one.write(A + i, 4, 0x01010101);
      },
    ],
    ["a load of the line", () => void rig.one.read(A + 32, 1)],
    ["an access to a device", () => void rig.one.read(0xe0000000, 4)],
    ["I/O", () => rig.one.portWrite(0x80, 1, 0)],
    [
      "four other lines",
      () => {
        for (let i = 1; i <= 4; i++) rig.one.write(A + i * 64, 4, 1);
      },
    ],
  ])("%s drains a write-combining buffer (12.3.1)", (_, drain) => {
    rig.one.pageType(PAGE_A, MEMORY_TYPE.writeCombining);
    rig.one.write(A, 4, 0x33333333);
    expect(dma(A)).toEqual([0]);
    drain();
    expect(dma(A)).toEqual([0x33]);
  });
});

describe("instructions that manage caches", () => {
  test("CLFLUSH and CLWB of an address, WBINVD and INVD of everything", () => {
    rig.one.write(A, 1, 1);
    rig.one.writeBack(A);
    expect([memory(A), rig.caches.isCached(A / 64)]).toEqual([1, true]);
    rig.one.flush(A);
    expect(rig.caches.isCached(A / 64)).toBe(false);
    rig.one.write(A, 1, 2);
    rig.two.writeBackAndInvalidateAll();
    expect([memory(A), rig.caches.isCached(A / 64)]).toEqual([2, false]);
    rig.one.write(A, 1, 3);
    rig.two.invalidateAll();
    expect(rig.one.read(A, 1)).toBe(2);
  });
});

describe("with a store buffer: x86-TSO (Intel SDM vol. 3A, 9.2)", () => {
  beforeEach(() => {
    rig = make(true);
  });

  test("loads may be reordered with older stores to different locations (9.2.3.4)", () => {
    const { one, two } = rig;
    one.write(A, 4, 1);
    two.write(B, 4, 1);
    expect([one.read(B, 4), two.read(A, 4)]).toEqual([0, 0]);
  });

  test("and are not when a fence stands between", () => {
    const { one, two } = rig;
    one.write(A, 4, 1);
    one.fence();
    two.write(B, 4, 1);
    two.fence();
    expect([one.read(B, 4), two.read(A, 4)]).toEqual([1, 1]);
  });

  test("intra-processor forwarding is allowed (9.2.3.5): the own load sees the own store, whole or in part", () => {
    const { one, two } = rig;
    one.write(A, 4, 0x44332211);
    one.write(A + 8, 2, 0x6655);
    expect([one.read(A, 4), one.read(A + 1, 2), one.read(A + 3, 1), one.read(A + 8, 2)]).toEqual([
      0x44332211, 0x3322, 0x44, 0x6655,
    ]);
    expect(two.read(A, 4)).toBe(0);
    // Needs more than one store has: everything goes out first.
    expect(one.read(A + 6, 4)).toBe(0x66550000);
    expect(two.read(A, 4)).toBe(0x44332211);
  });

  test("stores leave in order (9.2.3.2)", () => {
    const { one, two } = rig;
    for (let i = 0; i < 200; i++) {
      one.write(A, 4, i);
      one.write(B, 4, i);
      const later = two.read(B, 4);
      expect(two.read(A, 4)).toBeGreaterThanOrEqual(later);
    }
    expect(two.read(B, 4)).toBeGreaterThan(100);
  });

  test("a store is seen by others after a while, whatever its processor does", () => {
    const { one, two, queue, clock } = rig;
    one.write(A, 4, 1);
    clock.advanceTo(queue.nextDeadline());
    queue.runDue();
    expect(two.read(A, 4)).toBe(1);
  });

  test("a store of 64 bytes in pieces is seen whole or not at all", () => {
    const { one, two } = rig;
    for (let round = 1; round < 30; round++) {
      one.begin(64);
      for (let i = 0; i < 64; i += 4) one.write(A + i, 4, round);
      const seen = new Set(Array.from({ length: 16 }, (_, i) => two.read(A + i * 4, 4)));
      expect(seen.size).toBe(1);
    }
  });

  test("a page walk sees the stores before it; so does the first fetch from a page, and code that was executed changes at once", () => {
    const { one, two } = rig;
    one.write(A, 4, 1);
    one.settle();
    expect(two.read(A, 4)).toBe(1);
    one.write(A, 4, 2);
    one.fetched(A);
    expect(two.read(A, 4)).toBe(2);
    one.write(A, 4, 3);
    expect(two.read(A, 4)).toBe(3);
    one.write(B, 4, 4);
    one.fetched(A);
    expect(two.read(B, 4)).toBe(0);
  });

  test("an access to a device waits for the stores before it", () => {
    const { one, two } = rig;
    one.write(A, 4, 1);
    one.write(0xe0000000, 4, 9);
    expect([rig.writes, two.read(A, 4)]).toEqual([[9], 1]);
  });
});
