/** Memory to memory: what a read and then a write do (ports/pci.ts). */
import fc from "fast-check";
import { expect, test } from "vitest";
import { EVENT } from "../ports/events.ts";
import { ACCESS, type DmaRemapper, REMAP_FAULT } from "../ports/dma-remap.ts";
import { BUS_STATUS } from "../ports/initiator.ts";
import { Clock } from "../sim/clock.ts";
import { Trace } from "../sim/trace.ts";
import { AddressSpace } from "./address-space.ts";
import { BusMaster } from "./bus-master.ts";
import { CacheHierarchy } from "./cache/hierarchy.ts";
import { Ram } from "./ram.ts";

const RAM = 0x10000;
const PAGE = 0x1000;

function make(remap: DmaRemapper | null = null, cached = false) {
  const space = new AddressSpace(new Ram(new ArrayBuffer(RAM), 0, RAM));
  // A hole at 0x8000, a ROM at 0xA000; the rest is RAM where its address says.
  space.mapRam("low", 0, 0x8000, 0);
  space.mapRam("high", 0x9000, 0x1000, 0x9000);
  space.mapRom("rom", 0xa000, 0x1000, 0xa000);
  for (let i = 0; i < RAM; i++) space.ram.bytes[i] = (i * 31) ^ (i >> 8);
  const trace = new Trace(new Clock());
  const events: number[][] = [];
  const event = (_time: number, kind: number, _subject: number, a: number, b: number, c: number): void =>
    void events.push([kind, a, b, c]);
  trace.listen({ event }, [EVENT.dmaRead, EVENT.dmaWrite]);
  const caches = cached ? { ...views(space.ram), coherent: true } : null;
  const master = new BusMaster(8, { space, msi: { msi: () => {} }, trace, remap, caches });
  return { space, master, events };
}
function views(ram: Ram) {
  const { snooped, unsnooped } = new CacheHierarchy(ram, 1);
  return { snooped, unsnooped };
}

/** Pages, by number on the bus: where they lie, and what is permitted. */
const PAGES: readonly (readonly [number, number])[] = [
  [0x3000, 3],
  [0x4000, 3],
  [0x1000, 1],
  [0x6000, 2],
  [0x8000, 3],
  [0xa000, 3],
  [0x2000, 0],
  [0x9000, 3],
];
class Remap implements DmaRemapper {
  readonly active = true;
  span = 0;
  translate(_requester: number, address: number, access: number, length: number): number {
    const [base, rights] = PAGES[Math.floor(address / PAGE)] ?? [0, 0];
    if ((access & ~rights & (ACCESS.read | ACCESS.write)) !== 0) return REMAP_FAULT;
    this.span = Math.min(length, PAGE - (address % PAGE));
    return base + (address % PAGE);
  }
}

const address = fc.integer({ min: 0, max: 0xbfff });
const length = fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 0x2000 }));

test.each([false, true])(
  "without remapping: the same bytes, status and events as a read and a write (caches: %s)",
  cached => {
    fc.assert(
      fc.property(address, address, length, (source, target, size) => {
        const one = make(null, cached);
        const two = make(null, cached);
        const buffer = new Uint8Array(size);
        const read = two.master.read(source, buffer, 0, size);
        const expected = read === BUS_STATUS.ok ? two.master.write(target, buffer, 0, size) : read;
        expect(one.master.copy(source, target, size, 0)).toBe(expected);
        if (expected !== BUS_STATUS.ok) expect(one.master.copyFailedReading).toBe(read !== BUS_STATUS.ok);
        expect(one.events).toEqual(two.events);
        expect(Buffer.compare(one.space.ram.bytes, two.space.ram.bytes)).toBe(0);
      }),
      { numRuns: 300 },
    );
  },
);

test("behind remapping hardware: run by run, up to the first page that is refused or where nothing is", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 0x8fff }),
      fc.integer({ min: 0, max: 0x8fff }),
      length,
      (source, target, size) => {
        const one = make(new Remap());
        const model = make().space.ram.bytes;
        // Byte by byte; where runs overlap in memory, a run is read whole before it is written.
        const place = (at: number, right: number): number => {
          const [base, rights] = PAGES[Math.floor(at / PAGE)] ?? [0, 0];
          return (rights & right) === 0 ? -1 : base + (at % PAGE);
        };
        let failed = 0;
        for (let done = 0; done < size && failed === 0; ) {
          const run = Math.min(size - done, PAGE - ((source + done) % PAGE), PAGE - ((target + done) % PAGE));
          const from = place(source + done, ACCESS.read);
          const to = place(target + done, ACCESS.write);
          // Both are translated before anything moves.
          if (from < 0) failed = 1;
          else if (to < 0) failed = 2;
          else if ((from & 0xf000) === 0x8000) failed = 1;
          else if ((to & 0xf000) === 0x8000) failed = 2;
          else if ((to & 0xf000) !== 0xa000) model.set(model.slice(from, from + run), to);
          done += run;
        }
        const status = one.master.copy(source, target, size, 0);
        expect([status !== BUS_STATUS.ok, one.master.copyFailedReading && status !== 0]).toEqual([
          failed !== 0,
          failed === 1,
        ]);
        expect(Buffer.compare(one.space.ram.bytes, model)).toBe(0);
        expect(one.events[0]).toEqual([EVENT.dmaRead, source, size, failed === 1 ? status : BUS_STATUS.ok]);
      },
    ),
    { numRuns: 500 },
  );
});

test("decoded code of a page that is copied over is thrown away", () => {
  const { space, master } = make();
  space.ram.codePages[3] = 1;
  master.copy(0x1000, 0x2fff, 2, 0);
  expect(space.ram.codePages[3]).toBe(0);
});

test("with bus mastering off, and to the messages' addresses, nothing moves", () => {
  const { master } = make();
  expect(master.copy(0x1000, 0xfee00000, 64, 0)).toBe(BUS_STATUS.masterAbort);
  master.enabled = false;
  expect(master.copy(0x1000, 0x2000, 64, 0)).toBe(BUS_STATUS.disabled);
  expect(master.copyFailedReading).toBe(true);
});
