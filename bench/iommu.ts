/**
 * What remapping costs: a bus master's reads of 64 B to 1 MiB beside a plain typed-array copy of as many bytes, without a unit, passed through, translated
 * with a warm and with a cold IOTLB; pages one after the other in memory, and scattered.
 *
 *     npx tsx bench/iommu.ts
 *
 * CPU time of this process, best of five; per row nanoseconds, share of the plain copy's speed, millions per second.
 */
import { AddressSpace } from "../src/memory/address-space.ts";
import { BusMaster } from "../src/memory/bus-master.ts";
import { Ram } from "../src/memory/ram.ts";
import { makeIommu, parseIommu, VTD_BASE } from "../src/machine/iommu-board.ts";
import { Clock } from "../src/sim/clock.ts";
import { Trace } from "../src/sim/trace.ts";

const RAM = 64 << 20;
const DATA = 16 << 20;
const TABLES = 8;
const TRANSLATED = 0x18;
const PASSED = 0x19;
const RUNS = 5;

function nanoseconds(work: () => void, count: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run <= RUNS; run++) {
    const before = process.cpuUsage();
    for (let i = 0; i < count; i++) work();
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, ((user + system) * 1000) / count);
  }
  return best;
}

/** @param scattered every page lies apart from its neighbours */
function board(scattered: boolean) {
  const space = new AddressSpace(new Ram(new ArrayBuffer(RAM), 0, RAM));
  space.mapRam("ram", 0, RAM, 0);
  const trace = new Trace(new Clock());
  const msi = { msi: () => {} };
  const unit = makeIommu(parseIommu("vtd"), { space, bus: { send: () => 1 }, msi, trace, caches: null }).units[0]!;
  unit.reset("enter", "power");
  const put = (at: number, value: number): void => space.writePair(at, 8, value, 0);
  put(0x1000, 0x2001);
  for (const [device, low] of [
    [TRANSLATED, 0x3001],
    [PASSED, 9],
  ] as const) {
    put(0x2000 + 16 * device, low);
    put(0x2008 + 16 * device, (device << 8) | 2);
  }
  put(0x3000, 0x4003);
  put(0x4000, 0x5003);
  for (let page = 0; page < 512 * TABLES; page++) {
    if (page % 512 === 0) put(0x5000 + page / 64, 0x10000 + 8 * page + 3);
    put(0x10000 + 8 * page, DATA + 4096 * (scattered ? page ^ 1 : page) + 3);
  }
  const write = (offset: number, value: number): void => space.write(VTD_BASE + offset, 4, value >>> 0);
  write(0x20, 0x1000);
  write(0x18, 1 << 30);
  write(0x18, 1 << 31);
  const master = (device: number, remap: typeof unit.dma | null): BusMaster =>
    new BusMaster(device, { space, msi, trace, remap });
  return { space, write, off: master(0, null), pass: master(PASSED, unit.dma), on: master(TRANSLATED, unit.dma) };
}

const buffer = new Uint8Array(1 << 20);
for (const scattered of [false, true]) {
  const { space, write, off, pass, on } = board(scattered);
  console.log(scattered ? "\npages scattered" : "pages one after the other");
  for (const [size, count] of [
    [64, 1_000_000],
    [4096, 300_000],
    [65536, 20_000],
    [1 << 20, 1000],
  ] as const) {
    const flush = (): void => {
      write(0x508, 0);
      write(0x50c, 0x9000_0000);
    };
    const plain = nanoseconds(() => buffer.set(space.ram.bytes.subarray(DATA, DATA + size), 0), count);
    const few = Math.min(count, 5000);
    const cold = (): void => {
      flush();
      on.read(0, buffer, 0, size);
    };
    const rows: [string, number][] = [
      ["off", nanoseconds(() => off.read(DATA, buffer, 0, size), count)],
      ["passed through", nanoseconds(() => pass.read(DATA, buffer, 0, size), count)],
      ["warm", nanoseconds(() => on.read(0, buffer, 0, size), count)],
      ["warm, write", nanoseconds(() => on.write(0, buffer, 0, size), count)],
      ["cold", nanoseconds(cold, few) - nanoseconds(flush, few)],
    ];
    const text = rows.map(([name, ns]) => {
      return `${name} ${ns.toFixed(0)} ns (${((100 * plain) / ns).toFixed(0)} %, ${(1e3 / ns).toFixed(2)} M/s)`;
    });
    console.log(`${size} B: plain ${plain.toFixed(0)} ns; ${text.join("; ")}`);
  }
}
