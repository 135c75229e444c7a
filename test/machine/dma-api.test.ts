/**
 * The DMA API on whole machines: remapping domains on the VT-d unit, data on coherent and non-coherent machines by random steps, wrong orders that give wrong
 * data, and that a run repeats.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MIB } from "../../src/base/units.ts";
import { codeOf, DmaRig, dmaRun, fill, pattern, readBytes } from "../../src/kernel/dma/dma-rig.testing.ts";
import {
  COST_TABLES,
  type Direction,
  DIRECTION,
  DmaCoherence,
  type DmaDevice,
  type DmaMapping,
  type DmaRegion,
  type IommuDomain,
  IoatDriver,
  IommuUnit,
  load32,
  load8,
  memoryBarrier,
  PciFunction,
  readClock,
  store8,
  type Task,
} from "../../src/kernel/index.ts";
import { parseIommu, VTD_BASE } from "../../src/machine/iommu-board.ts";
import { ScriptedMachine, scenario } from "../../src/machine/scenario.ts";
import { BUS_STATUS } from "../../src/ports/initiator.ts";
import { EVENT } from "../../src/ports/events.ts";

const PAGE = 4096;
const REQUESTER = 0x28;
const VTD = { board: { iommu: parseIommu("vtd,intremap=off") } };
const APART = { caches: { coherent: false, storeBuffer: true } };
const { toDevice, fromDevice, bidirectional } = DIRECTION;
const RUNS = process.env.IRETQ_NIGHTLY === "1" ? 500 : 4;

function* domainOf(
  rig: DmaRig,
  options: { lazy?: boolean; batch?: number; domains?: number } = {},
): Task<{ unit: IommuUnit; domain: IommuDomain; device: DmaDevice }> {
  const { domains } = options;
  const { costs } = rig.machine;
  const unit = new IommuUnit({
    base: VTD_BASE,
    memory: rig.memory,
    costs,
    ...(domains === undefined ? {} : { domains }),
  });
  yield* unit.initialise();
  const domain = yield* unit.createDomain(options);
  yield* unit.configureDeviceIommu(REQUESTER, domain);
  const coherence = new DmaCoherence(rig.coherent, () => domain.flushPending());
  return { unit, domain, device: rig.device({ domain, coherence }) };
}

describe.each([
  ["coherent", VTD],
  ["non-coherent", { ...VTD, ...APART }],
] as const)("remapping domains on a %s machine", (_name, options) => {
  test("a device reaches what is mapped, in the direction in which it is mapped, and nothing else; faults name it", () => {
    const seen: unknown[] = [];
    dmaRun(options, function* (rig) {
      const { unit, device } = yield* domainOf(rig);
      const master = rig.master(REQUESTER);
      const at = rig.memory.allocate(PAGE, { alignment: PAGE });
      yield* fill(at, pattern(PAGE));
      const mapping = yield* device.map(at, PAGE, toDevice);
      const bytes = new Uint8Array(PAGE);
      seen.push(master.read(mapping.bus, bytes, 0, PAGE), mapping.bus !== at);
      expect([...bytes]).toEqual(pattern(PAGE));
      seen.push(master.write(mapping.bus + 8, bytes, 0, 4), master.read(at, bytes, 0, 4));
      seen.push(rig.master(REQUESTER + 1).read(mapping.bus, bytes, 0, 4));
      const faults = yield* unit.takeFaults();
      seen.push(faults.map(({ reason, requester, write }) => [reason, requester, write]));
      seen.push((yield* unit.takeFaults()).length);
      yield* device.unmap(mapping);
      seen.push(master.read(mapping.bus, bytes, 0, 4));
    });
    const { ok, iommuFault } = BUS_STATUS;
    // 7.1.3: 5 write permission, 6 read permission, 2 context entry not present.
    const faults = [
      [5, REQUESTER, true],
      [6, REQUESTER, false],
      [2, REQUESTER + 1, false],
    ];
    expect(seen).toEqual([ok, true, iommuFault, iommuFault, iommuFault, faults, 0, iommuFault]);
  });

  test("scattered pages become one segment on the bus; unmapping the list takes all of them away", () => {
    const seen: unknown[] = [];
    const main = function* (rig: DmaRig): Task {
      const { device } = yield* domainOf(rig);
      // Something else comes first, so that the list has to be aligned for its invalidation.
      yield* device.map(rig.memory.allocate(64), 64, toDevice);
      const master = rig.master(REQUESTER);
      const pages = [0, 1, 2].map(() => rig.memory.allocate(3 * PAGE, { alignment: PAGE }));
      for (const [i, page] of pages.entries()) yield* fill(page, pattern(PAGE, i));
      const list = yield* device.mapSg(
        pages.toReversed().map(address => ({ address, bytes: PAGE })),
        toDevice,
      );
      seen.push(list.segments.length, list.segments[0]!.bytes);
      const bytes = new Uint8Array(3 * PAGE);
      master.read(list.segments[0]!.bus, bytes, 0, 3 * PAGE);
      seen.push([...bytes]);
      yield* device.unmapSg(list);
      for (const page of [0, 1, 2]) seen.push(master.read(list.segments[0]!.bus + page * PAGE, bytes, 0, 4));
    };
    const { run } = dmaRun(options, main, [EVENT.iommuInvalidate]);
    const expected = [...pattern(PAGE, 2), ...pattern(PAGE, 1), ...pattern(PAGE, 0)];
    expect(seen).toEqual([1, 3 * PAGE, expected, ...new Array(3).fill(BUS_STATUS.iommuFault)]);
    // Type 2, granularity 3: of these pages only, reads and writes drained; then the wait descriptor.
    expect(run.events.slice(-2).map(({ a }) => a & 0xff)).toEqual([0xf2, 0x65]);
  });

  test("strict: after unmap the device is out. Lazy: it still reaches the page until the batch is invalidated, and no address is given twice meanwhile", () => {
    const reach = (lazy: boolean): unknown[] => {
      const seen: unknown[] = [];
      dmaRun(options, function* (rig) {
        const { unit, domain, device } = yield* domainOf(rig, { lazy, batch: 4 });
        const master = rig.master(REQUESTER);
        const bytes = new Uint8Array(4);
        const at = rig.memory.allocate(PAGE, { alignment: PAGE });
        const first = yield* device.map(at, PAGE, toDevice);
        master.read(first.bus, bytes, 0, 4);
        const before = unit.commands;
        yield* device.unmap(first);
        seen.push(master.read(first.bus, bytes, 0, 4), unit.commands - before, domain.pending);
        const places = new Set<number>();
        for (let i = 0; i < 3; i++) {
          // Not map(), whose synchronization would flush what is pending.
          const bus = yield* domain.map(at, PAGE, toDevice, 2 ** 32 - 1);
          places.add(bus);
          yield* domain.unmap(bus, PAGE);
        }
        seen.push(places.has(first.bus), unit.commands - before, master.read(first.bus, bytes, 0, 4), domain.pending);
      });
      return seen;
    };
    const { ok, iommuFault } = BUS_STATUS;
    expect(reach(false)).toEqual([iommuFault, 1, 0, true, 4, iommuFault, 0]);
    expect(reach(true)).toEqual([ok, 0, 1, false, 1, iommuFault, 0]);
  });

  test("a device that only fills a buffer cannot read it; addresses that run out are -ENOMEM, unless a lazy domain still holds some", () => {
    const seen: unknown[] = [];
    dmaRun(options, function* (rig) {
      const { domain } = yield* domainOf(rig, { lazy: true });
      const master = rig.master(REQUESTER);
      const at = rig.memory.allocate(PAGE, { alignment: PAGE });
      // A mask of 20 bits and a page: there is one address only.
      const limit = 0x100fff;
      const bus = yield* domain.map(at, PAGE, fromDevice, limit);
      const bytes = new Uint8Array(4);
      seen.push(bus, master.write(bus, bytes, 0, 4), master.read(bus, bytes, 0, 4));
      seen.push(yield* codeOf(domain.map(at, PAGE, fromDevice, limit)));
      yield* domain.unmap(bus, PAGE);
      let forgotten = false;
      yield* domain.whenForgotten(() => {
        forgotten = true;
      });
      seen.push(forgotten, yield* domain.map(at, PAGE, toDevice, limit), forgotten);
      seen.push(yield* codeOf(domain.unmap(bus + PAGE, PAGE)));
    });
    const { ok, iommuFault } = BUS_STATUS;
    expect(seen).toEqual([0x100000, ok, iommuFault, "ENOMEM", false, 0x100000, true, "EINVAL"]);
  });

  test("domain ids that run out are -ENOMEM; a domain with a device in it is -EBUSY; its tables come back", () => {
    const seen: unknown[] = [];
    dmaRun(options, function* (rig) {
      const { unit, domain, device } = yield* domainOf(rig, { domains: 2 });
      const second = yield* unit.createDomain();
      seen.push(yield* codeOf(unit.createDomain()), yield* codeOf(unit.destroyDomain(domain)));
      const mapping = yield* device.map(rig.memory.allocate(64), 64, bidirectional);
      const bytes = new Uint8Array(4);
      // Into another domain: what the unit had of the first one is not used any more.
      seen.push(rig.master(REQUESTER).read(mapping.bus, bytes, 0, 4));
      yield* unit.configureDeviceIommu(REQUESTER, second);
      seen.push(rig.master(REQUESTER).read(mapping.bus, bytes, 0, 4));
      yield* device.unmap(mapping);
      const free = rig.memory.dma32.free;
      const { length } = domain.tables;
      yield* unit.destroyDomain(domain);
      seen.push(rig.memory.dma32.free - free === length * PAGE, yield* codeOf(unit.configureDeviceIommu(8, domain)));
      yield* unit.detach(REQUESTER);
      yield* unit.destroyDomain(second);
    });
    expect(seen).toEqual(["ENOMEM", "EBUSY", BUS_STATUS.ok, BUS_STATUS.iommuFault, true, "EINVAL"]);
  });
});

test("what strictness costs: a command for each unmapping, where a lazy domain needs one for a batch", () => {
  const spent = (lazy: boolean): number => {
    let ns = 0;
    dmaRun({ ...VTD, costs: COST_TABLES.desktop }, function* (rig) {
      const { domain } = yield* domainOf(rig, { lazy, batch: 10 });
      const at = rig.memory.allocate(PAGE, { alignment: PAGE });
      const places: number[] = [];
      for (let i = 0; i < 10; i++) places.push(yield* domain.map(at, PAGE, toDevice, 2 ** 32 - 1));
      const began = yield* readClock();
      for (const bus of places) yield* domain.unmap(bus, PAGE);
      ns = (yield* readClock()) - began;
    });
    return ns;
  };
  // Nine commands fewer, of 900 ns each, and their register accesses and descriptors.
  expect(spent(false) - spent(true)).toBeGreaterThan(9 * COST_TABLES.desktop.invalidateIotlb);
});

// --- data by random steps -----------------------------------------------------------------------------------------------------------------------------

type Step =
  | {
      readonly op: "map";
      readonly slot: number;
      readonly direction: Direction;
      readonly from: number;
      readonly bytes: number;
    }
  | { readonly op: "unmap" | "cpu"; readonly slot: number; readonly seed: number }
  | { readonly op: "device"; readonly slot: number; readonly seed: number };

const SLOTS = 3;
const SLOT_BYTES = 8192;
const stepOf = (direction: fc.Arbitrary<Direction>): fc.Arbitrary<Step> =>
  fc.oneof(
    fc.record({
      op: fc.constant("map" as const),
      slot: fc.nat(SLOTS - 1),
      direction,
      from: fc.integer({ min: 0, max: 200 }),
      bytes: fc.integer({ min: 1, max: 400 }),
    }),
    fc.record({
      op: fc.constantFrom("unmap" as const, "cpu" as const),
      slot: fc.nat(SLOTS - 1),
      seed: fc.nat(255),
    }),
    fc.record({ op: fc.constant("device" as const), slot: fc.nat(SLOTS - 1), seed: fc.nat(255) }),
    fc.record({ op: fc.constant("device" as const), slot: fc.nat(SLOTS - 1), seed: fc.nat(255) }),
  );
const anyDirection = fc.constantFrom<Direction>(toDevice, fromDevice, bidirectional);

/** Cache operations that a driver could leave out, for the device, by what it does, and for the CPU; its barriers stay. */
type LeftOut = "none" | "flush before reading" | "invalidate before filling" | "invalidate after filling";

class Forgetful extends DmaCoherence {
  leftOut: LeftOut = "none";
  override *forDevice(region: DmaRegion): Task {
    const fills = region.direction === fromDevice;
    if (this.leftOut === (fills ? "invalidate before filling" : "flush before reading")) yield* memoryBarrier();
    else yield* super.forDevice(region);
  }
  override *forCpu(region: DmaRegion): Task {
    if (this.leftOut === "invalidate after filling") yield* memoryBarrier();
    else yield* super.forCpu(region);
  }
}

type World = {
  readonly coherent: boolean | null;
  readonly iommu: "none" | "strict" | "lazy";
  readonly maskBits: number;
};

/** Carries out the steps against a model of what each side must see. Gives the number of wrong words and bytes. */
function wrongBytes(world: World, steps: readonly Step[], leftOut: LeftOut = "none"): number {
  let wrong = 0;
  const { coherent, iommu, maskBits } = world;
  const options = {
    ...(coherent === null ? {} : { caches: { coherent, storeBuffer: true } }),
    ...(iommu === "none" ? {} : VTD),
  };
  dmaRun(options, function* (rig) {
    const coherence = new Forgetful(rig.coherent);
    coherence.leftOut = leftOut;
    const domain = iommu === "none" ? null : (yield* domainOf(rig, { lazy: iommu === "lazy", batch: 3 })).domain;
    const device = rig.device({ coherence, domain, maskBits });
    const master = rig.master(REQUESTER);
    const slots: { mapping: DmaMapping | null; at: number; model: number[] }[] = [];
    for (let i = 0; i < SLOTS; i++) {
      const at = rig.memory.allocate(SLOT_BYTES, { alignment: PAGE });
      slots.push({ mapping: null, at, model: pattern(SLOT_BYTES, i).slice(0, 640) });
      yield* fill(at, slots[i]!.model);
    }
    for (const step of steps) {
      const slot = slots[step.slot]!;
      if (step.op === "map") {
        if (slot.mapping !== null) continue;
        slot.mapping = yield* device.map(slot.at + step.from, step.bytes, step.direction);
      } else if (step.op === "unmap") {
        if (slot.mapping !== null) yield* device.unmap(slot.mapping);
        slot.mapping = null;
        wrong += yield* differences(slot.at, slot.model);
      } else if (slot.mapping === null) {
        slot.model[step.seed] = step.seed ^ 0x5a;
        yield* store8(slot.at + step.seed, step.seed ^ 0x5a);
      } else if (step.op === "cpu") {
        yield* device.syncForCpu(slot.mapping);
        wrong += yield* differences(slot.at, slot.model);
        if (slot.mapping.region.direction !== fromDevice) {
          const i = step.seed % slot.mapping.region.bytes;
          yield* store8(slot.mapping.at(i), step.seed);
          slot.model[slot.mapping.at(i) - slot.at] = step.seed;
        }
        yield* device.syncForDevice(slot.mapping);
      } else {
        yield* prefetch(slot.mapping);
        wrong += deviceStep(slot.mapping, slot.at, slot.model, step.seed, master);
      }
    }
    for (const slot of slots) {
      if (slot.mapping !== null) yield* device.unmap(slot.mapping);
      wrong += yield* differences(slot.at, slot.model);
    }
  });
  return wrong;
}

/** The device reads all that it may and writes a part of what it may. */
function deviceStep(
  { region, bus }: DmaMapping,
  at: number,
  model: number[],
  seed: number,
  master: ReturnType<DmaRig["master"]>,
): number {
  let wrong = 0;
  const from = region.address - at;
  if (region.direction !== fromDevice) {
    const bytes = new Uint8Array(region.bytes);
    if (master.read(bus, bytes, 0, region.bytes) !== BUS_STATUS.ok) wrong++;
    for (let i = 0; i < region.bytes; i++) if (bytes[i] !== model[from + i]) wrong++;
  }
  if (region.direction !== toDevice) {
    const first = seed % region.bytes;
    const data = Uint8Array.from(pattern(Math.min(region.bytes - first, 100), seed));
    if (master.write(bus + first, data, 0, data.length) !== BUS_STATUS.ok) wrong++;
    for (const [i, byte] of data.entries()) model[from + first + i] = byte;
  }
  return wrong;
}

/** What a processor may do at any time: lines of the buffer come into the cache without having been asked for. */
function* prefetch({ region, bounce }: DmaMapping): Task {
  const at = bounce < 0 ? region.address : bounce;
  for (let i = 0; i < region.bytes; i += 64) yield* load8(at + i);
}

function* differences(at: number, model: readonly number[]): Task<number> {
  let wrong = 0;
  for (let i = 0; i < model.length; i += 4) {
    const [a = 0, b = 0, c = 0, d = 0] = model.slice(i, i + 4);
    if ((yield* load32(at + i)) !== (a | (b << 8) | (c << 16) | (d << 24)) >>> 0) wrong++;
  }
  return wrong;
}

const WORLDS: World[] = [null, true, false].flatMap(coherent => [
  { coherent, iommu: "none", maskBits: 24 },
  { coherent, iommu: "none", maskBits: 32 },
  { coherent, iommu: "strict", maskBits: 32 },
  { coherent, iommu: "lazy", maskBits: 24 },
]);

describe("data by random sequences of map, sync, transfer, unmap", () => {
  test.each(WORLDS)(
    "right in every byte when the API is followed: %o",
    world => {
      fc.assert(
        fc.property(fc.array(stepOf(anyDirection), { minLength: 5, maxLength: 25 }), steps => {
          expect(wrongBytes(world, steps)).toBe(0);
        }),
        { numRuns: RUNS, seed: 5 },
      );
    },
    120_000,
  );

  test.each([
    ["flush before reading", toDevice],
    ["invalidate before filling", fromDevice],
    ["invalidate after filling", fromDevice],
  ] as const)(
    'without the step "%s" some data is wrong on a non-coherent machine, and none on a coherent one',
    (leftOut, direction) => {
      const sequences = fc.sample(fc.array(stepOf(fc.constant(direction)), { minLength: 15, maxLength: 30 }), {
        numRuns: 5,
        seed: 11,
      });
      const wrong = (coherent: boolean): number =>
        sequences.filter(steps => wrongBytes({ coherent, iommu: "none", maskBits: 32 }, steps, leftOut) > 0).length;
      expect(wrong(false)).toBeGreaterThan(0);
      expect(wrong(true)).toBe(0);
    },
    120_000,
  );
});

// --- order --------------------------------------------------------------------------------------------------------------------------------------------

/** A copy by I/OAT with `synchronizeDmaOperation` where `order` says; gives what the CPU finds in the target. */
function copied(order: "right" | "flush after the start" | "nothing after" | "nothing before"): {
  found: number[];
  hash: string;
} {
  let found: number[] = [];
  const options = { caches: { coherent: false, storeBuffer: true }, devices: ["ioat,addr=5"] };
  const { run } = dmaRun(options, function* (rig) {
    const driver = new IoatDriver(new PciFunction(0, 5), rig.device());
    yield* driver.begin(rig.kernel);
    const { channel } = driver;
    const coherence = new DmaCoherence(false);
    const [from, to] = [rig.memory.allocate(256), rig.memory.allocate(256)] as [number, number];
    const regions = [
      { address: from, bytes: 256, direction: toDevice },
      { address: to, bytes: 256, direction: fromDevice },
    ];
    // Both lie in the cache: the source written, the target as it was before.
    yield* fill(to, new Array(256).fill(0xee));
    yield* coherence.flushDmaCoherence(to, 256);
    yield* readBytes(to, 256);
    yield* fill(from, pattern(256));
    yield* channel.configureScatterGatherDma([{ source: from, destination: to, bytes: 256 }], { regions });
    const late = order === "flush after the start";
    if (order !== "nothing before" && !late) yield* coherence.synchronizeDmaOperation(channel, true);
    yield* channel.startDmaTransfer();
    while (channel.active) yield* load8(from + 512);
    if (late) yield* coherence.synchronizeDmaOperation(channel, true);
    if (order !== "nothing after") yield* coherence.synchronizeDmaOperation(channel, false);
    // A later transfer does not help the first.
    found = yield* readBytes(to, 256);
    expect(channel.bytesTransferred).toBe(256);
  });
  return { found, hash: run.hash };
}

describe("synchronizeDmaOperation on a machine whose devices do not look into caches", () => {
  test("before and after the transfer: the target has the source's bytes", () => {
    expect(copied("right").found).toEqual(pattern(256));
  });

  test("only after the start: the device has copied what memory had before", () => {
    expect(copied("flush after the start").found).toEqual(new Array(256).fill(0));
    expect(copied("nothing before").found).toEqual(new Array(256).fill(0));
  });

  test("nothing afterwards: lines that were read meanwhile are stale", () => {
    dmaRun(APART, function* (rig) {
      const coherence = new DmaCoherence(false);
      const at = rig.memory.allocate(64);
      const regions = [{ address: at, bytes: 64, direction: fromDevice }];
      yield* fill(at, [1]);
      yield* coherence.synchronizeDmaOperation({ regions }, true);
      // A look too early, or a prefetch: the line is in the cache again.
      yield* load8(at);
      rig.master(REQUESTER).write(at, Uint8Array.of(2), 0, 1);
      expect(yield* load8(at)).toBe(1);
      yield* coherence.synchronizeDmaOperation({ regions }, false);
      expect(yield* load8(at)).toBe(2);
    });
  });

  test("a dirty line that was not thrown out before goes over the device's data later", () => {
    dmaRun(APART, function* (rig) {
      const coherence = new DmaCoherence(false);
      const at = rig.memory.allocate(64);
      yield* fill(at, [1]);
      rig.master(REQUESTER).write(at, Uint8Array.of(2), 0, 1);
      yield* coherence.invalidateDmaCoherence(at, 64);
      expect(yield* load8(at)).toBe(1);
    });
  });

  test("saved in the middle of its copies and loaded, a machine ends in the state of one that was not", () => {
    const make = (): ScriptedMachine =>
      new ScriptedMachine(
        scenario({ memory: 48 * MIB, ...VTD, ...APART, devices: ["ioat,addr=5"] }, machine => {
          const rig = new DmaRig(machine);
          rig.kernel.start(function* () {
            const { domain } = yield* domainOf(rig, { lazy: true });
            const driver = new IoatDriver(new PciFunction(0, 5), rig.device({ domain }));
            yield* driver.begin(rig.kernel);
            const at = rig.memory.allocate(2048);
            for (let i = 0; i < 40; i++) {
              yield* store8(at, i);
              yield* driver.copy([{ address: at, bytes: 512 }], [{ address: at + 1024, bytes: 512 }]);
            }
            yield* rig.kernel.powerOff();
          });
        }),
      );
    const run = (machine: ScriptedMachine): string => {
      while (machine.pc.run(machine.pc.retired + 1e8, 60e9) === null);
      return machine.pc.stateHash();
    };
    const first = make();
    const whole = run(first);
    const second = make();
    second.pc.run(Math.floor(first.pc.retired / 2), 60e9);
    const third = make();
    third.load(second.save());
    expect(third.pc.stateHash()).toBe(second.pc.stateHash());
    expect([run(second), run(third)]).toEqual([whole, whole]);
  });

  test("the same run twice ends in the same state", () => {
    expect(copied("right").hash).toBe(copied("right").hash);
    const steps = fc.sample(fc.array(stepOf(anyDirection), { minLength: 20, maxLength: 20 }), {
      numRuns: 1,
      seed: 3,
    })[0]!;
    const hashes = [0, 1].map(() => {
      const { run } = dmaRun(
        { ...VTD, ...APART },
        function* (rig) {
          const { device } = yield* domainOf(rig, { lazy: true });
          for (const step of steps) {
            const mapping = yield* device.map(rig.memory.allocate(500), 400, bidirectional);
            rig.master(REQUESTER).write(mapping.bus + step.slot, Uint8Array.from(pattern(99)), 0, 99);
            yield* device.unmap(mapping);
          }
        },
        [EVENT.iommuInvalidate, EVENT.dmaWrite],
      );
      return `${run.hash} ${JSON.stringify(run.events)}`;
    });
    expect(hashes[0]).toBe(hashes[1]);
  });
});
