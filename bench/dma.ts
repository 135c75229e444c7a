/**
 * The I/OAT engine's pace: memory copied in elements of 64 B to 1 MiB beside a plain copy within the same typed array, without a remapping unit, passed
 * through, translated with a warm and with a cold IOTLB; and descriptors of 64 bytes.
 *
 *     npx tsx bench/dma.ts
 *
 * Elements go through the engine in chains, as a driver's would: descriptors are fetched, carried out, the last one's status is written back. CPU time of this
 * process, best of five; per row nanoseconds for an element, GB/s, share of the plain copy's speed. For a bare bus master see iommu.ts.
 */
import { loadavg } from "node:os";
import { Ioat } from "../src/devices/ioat.ts";
import { IOAT_CHANNEL, IOAT_DESCRIPTOR_CONTROL } from "../src/devices/ioat.regs.ts";
import { makeIommu, parseIommu, VTD_BASE } from "../src/machine/iommu-board.ts";
import { AddressSpace } from "../src/memory/address-space.ts";
import { BusMaster } from "../src/memory/bus-master.ts";
import { PortSpace } from "../src/memory/port-space.ts";
import { Ram } from "../src/memory/ram.ts";
import { devfnOf, PciBus } from "../src/pci/bus.ts";
import type { DmaRemapper } from "../src/ports/dma-remap.ts";
import { Clock } from "../src/sim/clock.ts";
import { EventQueue } from "../src/sim/event-queue.ts";
import { Trace } from "../src/sim/trace.ts";

const RAM = 64 << 20;
const SOURCE = 16 << 20;
const TARGET = 34 << 20;
/** Where elements lie one after the other. With the chain, no two pages meet in the IOTLB, which has 2048 places for pages of 4 KiB. */
const AREA = 2 << 20;
const CHAIN = 0x400000;
const COMPLETION = 0x700000;
const TRANSLATED = 3;
const PASSED = 4;
const RUNS = 5;
const MAX_CHAIN = 1024;
const CHANNEL = 0x80;
const PHASES = ["enter", "hold", "exit"] as const;

/** A board with an engine at `device`; `unit` false leaves the remapping hardware out. */
function board(device: number, unit: boolean) {
  const space = new AddressSpace(new Ram(new ArrayBuffer(RAM), 0, RAM));
  space.mapRam("ram", 0, RAM, 0);
  const clock = new Clock();
  const trace = new Trace(clock);
  const queue = new EventQueue(clock);
  const msi = { msi: () => {} };
  let remap: DmaRemapper | null = null;
  if (unit) {
    const vtd = makeIommu(parseIommu("vtd"), { space, bus: { send: () => 1 }, msi, trace, caches: null }).units[0]!;
    vtd.reset("enter", "power");
    remap = vtd.dma;
    fillTables(space);
  }
  const ioat = new Ioat(
    {
      name: "ioat",
      bus: new PciBus(null),
      devfn: devfnOf(device, 0),
      memory: { claim: () => ({ place: () => {}, remove: () => {} }) },
      io: new PortSpace(),
      master: new BusMaster(devfnOf(device, 0), { space, msi, trace, remap }),
      pin: () => null as never,
    },
    { queue },
  );
  for (const phase of PHASES) ioat.reset(phase);
  ioat.configWrite(4, 2, 6);
  return { space, queue, clock, ioat };
}

/** Addresses below 64 MiB are themselves in the domain of one device; the other one's pass through. */
function fillTables(space: AddressSpace): void {
  const put = (at: number, value: number): void => space.writePair(at, 8, value, 0);
  put(0x1000, 0x2001);
  for (const [device, low] of [
    [TRANSLATED, 0x3001],
    [PASSED, 9],
  ] as const) {
    put(0x2000 + 16 * devfnOf(device, 0), low);
    put(0x2008 + 16 * devfnOf(device, 0), (device << 8) | 2);
  }
  put(0x3000, 0x4003);
  put(0x4000, 0x5003);
  for (let page = 0; page < RAM / 4096; page++) {
    if (page % 512 === 0) put(0x5000 + page / 64, 0x100000 + 8 * page + 3);
    put(0x100000 + 8 * page, 4096 * page + 3);
  }
  const write = (offset: number, value: number): void => space.write(VTD_BASE + offset, 4, value >>> 0);
  write(0x20, 0x1000);
  write(0x18, 1 << 30);
  write(0x18, 1 << 31);
}

type Board = ReturnType<typeof board>;

/** A chain of `count` copies of `size` bytes, round and round in their areas; the last one writes its status. */
function writeChain({ space }: Board, size: number, count: number): void {
  const put = (at: number, value: number): void => space.writePair(at, 8, value % 2 ** 32, 0);
  for (let n = 0; n < count; n++) {
    const at = CHAIN + n * 64;
    space.write(at, 4, size);
    space.write(at + 4, 4, n === count - 1 ? IOAT_DESCRIPTOR_CONTROL.completion.mask : 0);
    put(at + 8, SOURCE + ((n * size) % AREA));
    put(at + 16, TARGET + ((n * size) % AREA));
    put(at + 24, at + 64);
  }
}

function runChain({ ioat, queue, clock }: Board, count: number): void {
  const { window } = ioat;
  window.write(CHANNEL + IOAT_CHANNEL.completionLow, 4, COMPLETION);
  window.write(CHANNEL + IOAT_CHANNEL.chainLow, 4, CHAIN);
  window.write(CHANNEL + IOAT_CHANNEL.count, 2, count);
  while (queue.nextDeadline() < Number.POSITIVE_INFINITY) {
    clock.advanceTo(queue.nextDeadline());
    queue.runDue();
  }
}

function nanoseconds(work: () => void, times: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run <= RUNS; run++) {
    const before = process.cpuUsage();
    for (let i = 0; i < times; i++) work();
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, ((user + system) * 1000) / times);
  }
  return best;
}

const off = board(0, false);
const pass = board(PASSED, true);
const on = board(TRANSLATED, true);
const flush = (): void => {
  on.space.write(VTD_BASE + 0x508, 4, 0);
  on.space.write(VTD_BASE + 0x50c, 4, 0x9000_0000);
};
const load = (): string => loadavg()[0]!.toFixed(1);

console.log(`load average ${load()}`);
for (const size of [64, 512, 4096, 65536, 1 << 20]) {
  const count = Math.max(128, Math.min(MAX_CHAIN, AREA / size));
  const times = Math.max(1, Math.floor((size <= 512 ? 200_000 : 64 << 20) / (size <= 512 ? count : count * size)));
  const { bytes } = off.space.ram;
  const plain = nanoseconds(() => {
    for (let n = 0; n < count; n++) {
      const at = (n * size) % AREA;
      bytes.set(bytes.subarray(SOURCE + at, SOURCE + at + size), TARGET + at);
    }
  }, times);
  const row = (name: string, ns: number): string =>
    `${name} ${(ns / count).toFixed(0)} ns (${((size * count) / ns).toFixed(2)} GB/s, ${((100 * plain) / ns).toFixed(0)} %)`;
  const cells = [row("plain", plain)];
  for (const [name, it] of [
    ["off", off],
    ["passed through", pass],
    ["warm", on],
  ] as const) {
    writeChain(it, size, count);
    cells.push(
      row(
        name,
        nanoseconds(() => runChain(it, count), times),
      ),
    );
  }
  const cold = nanoseconds(() => {
    flush();
    runChain(on, count);
  }, times);
  console.log(`${size} B: ${[...cells, row("cold", cold)].join("; ")}`);
}

writeChain(off, 64, MAX_CHAIN);
const each = nanoseconds(() => runChain(off, MAX_CHAIN), 300) / MAX_CHAIN;
console.log(
  `64-byte descriptors: ${(1e3 / each).toFixed(2)} million per second (${each.toFixed(0)} ns); load average ${load()}`,
);
