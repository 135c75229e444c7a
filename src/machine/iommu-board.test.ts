import { describe, expect, test } from "vitest";
import { AddressSpace } from "../memory/address-space.ts";
import { BusMaster } from "../memory/bus-master.ts";
import { Ram } from "../memory/ram.ts";
import { BUS_STATUS } from "../ports/initiator.ts";
import type { InterruptMessage } from "../ports/message.ts";
import { Clock } from "../sim/clock.ts";
import { Rng } from "../sim/rng.ts";
import { Trace } from "../sim/trace.ts";
import { makeIommu, parseIommu, remappingFacts, VTD_BASE } from "./iommu-board.ts";

const MIB = 1 << 20;
const RAM = 32 * MIB;
const ATTEMPTS = process.env.IRETQ_NIGHTLY === "1" ? 10_000_000 : 100_000;
const DEVICE = 0x0018;
/** Device addresses that the domain has, and where they lie. */
const MAPPED = { iova: 0x12_3450_0000, memory: 16 * MIB, pages: 64 };
const IRQ_TABLE = 0x8000;

describe("--iommu", () => {
  test("vtd, with its keys", () => {
    expect(parseIommu("vtd")).toEqual({ levels: 4, scalable: false, interrupts: true, own: [] });
    expect(parseIommu("vtd,width=57,scalable=on,intremap=off")).toMatchObject({
      levels: 5,
      scalable: true,
      interrupts: false,
    });
    expect(parseIommu("vtd,width=39").levels).toBe(3);
    expect(parseIommu("vtd,own=3+1c.5").own).toEqual([0x18, 0xe5]);
  });
  test.each([
    "amd",
    "",
    "vtd,width=40",
    "vtd,x=1",
    "vtd,scalable",
    "vtd,scalable=yes",
    "vtd,width=39,width=48",
    "vtd,own=20",
    "vtd,own=3.8",
    "vtd,own=",
    "vtd,",
  ])("%j is refused with one line and status 64", text => {
    expect(() => parseIommu(text)).toThrow(
      expect.objectContaining({ status: 64, message: expect.stringMatching(/^--iommu: .+$/) }),
    );
  });
  test("what firmware tells: host width, interrupt remapping, one unit for all of PCI, the I/O APIC and the HPET if there is one", () => {
    const facts = remappingFacts(parseIommu("vtd"), 0, true);
    expect(facts).toMatchObject({ hostBits: 40, interruptRemapping: true });
    expect(facts.units).toMatchObject([{ base: 0xfed90000, all: true, scopes: [{ type: 3 }, { type: 4 }] }]);
    expect(remappingFacts(parseIommu("vtd,intremap=off"), 0, false).units[0]!.scopes.length).toBe(1);
    // A unit that has all of PCI comes after all others (8.3).
    expect(remappingFacts(parseIommu("vtd,own=3"), 0, true).units).toMatchObject([
      { base: 0xfed91000, all: false, scopes: [{ type: 1, requester: 0x18 }] },
      { base: 0xfed90000, all: true },
    ]);
  });
});

test("tables are read through the caches; on a machine without coherence they are not, and ECAP.C says so", () => {
  const space = new AddressSpace(new Ram(new ArrayBuffer(RAM), 0, RAM));
  space.mapRam("ram", 0, RAM, 0);
  const trace = new Trace(new Clock());
  // A line with the root entry in it, newer than memory.
  const snooped = {
    copyOut: (_: number, into: Uint8Array, at: number, length: number) => void into.fill(0xff, at, at + length),
    copyIn: () => {},
  };
  const ask = (coherent: boolean): number[] => {
    const caches = { snooped, unsnooped: space.ram, coherent };
    const around = { space, trace, caches, bus: { send: () => 0 }, msi: { msi: () => {} } };
    const unit = makeIommu(parseIommu("vtd"), around).units[0]!;
    unit.reset("enter", "power");
    unit.write(0x18, 4, 1 << 30);
    unit.write(0x18, 4, (1 << 31) >>> 0);
    unit.dma.translate(DEVICE, 0, 1, 4, 0);
    for (const region of space.regions()) if (region.base === VTD_BASE) space.unmap(region);
    return [unit.read(0x10) & 1, unit.read(0x40c) & 0xff];
  };
  // All ones has reserved bits set; memory has no present entry.
  expect(ask(true)).toEqual([1, 0xa]);
  expect(ask(false)).toEqual([0, 1]);
});

/** A board of memory, a unit and one bus master, whose domain has {@link MAPPED} and nothing else. */
function board() {
  const space = new AddressSpace(new Ram(new ArrayBuffer(RAM), 0, RAM));
  space.mapRam("ram", 0, RAM, 0);
  const trace = new Trace(new Clock());
  const sent: InterruptMessage[] = [];
  const plain: number[] = [];
  const bus = { send: (message: InterruptMessage) => sent.push(message) };
  const msi = { msi: (address: number) => void plain.push(address) };
  const unit = makeIommu(parseIommu("vtd"), { space, bus, msi, trace, caches: null }).units[0]!;
  unit.reset("enter", "power");
  const write = (offset: number, value: number): void => space.write(VTD_BASE + offset, 4, value >>> 0);
  const put = (at: number, value: number): void => space.writePair(at, 8, value % 2 ** 32, Math.floor(value / 2 ** 32));
  put(0x1000, 0x2001);
  put(0x2000 + 16 * DEVICE, 0x3001);
  put(0x2000 + 16 * DEVICE + 8, 0x102);
  const at = (level: number): number => 8 * (Math.floor(MAPPED.iova / 2 ** (12 + 9 * (level - 1))) % 512);
  put(0x3000 + at(4), 0x4003);
  put(0x4000 + at(3), 0x5003);
  put(0x5000 + at(2), 0x6003);
  for (let page = 0; page < MAPPED.pages; page++) put(0x6000 + at(1) + 8 * page, MAPPED.memory + 4096 * page + 3);
  write(0x20, 0x1000);
  write(0x18, 1 << 30);
  // Interrupt remapping with 256 entries, of which one, 7, is another function's.
  put(IRQ_TABLE + 16 * 7, 0x41_0001);
  put(IRQ_TABLE + 16 * 7 + 8, 0x4_0000 + DEVICE + 1);
  write(0xb8, IRQ_TABLE | 7);
  write(0x18, 1 << 24);
  write(0x18, (1 << 31) | (1 << 25));
  const master = new BusMaster(DEVICE, { space, msi: unit.interrupts, trace, remap: unit.dma });
  return { space, unit, master, sent, plain, write };
}

/** Anywhere but in its domain: around it, in memory as it is, in all of the address space, at the unit's own registers and tables. */
function hostileAddress(rng: Rng): number {
  for (;;) {
    const kind = rng.below(5);
    let address = rng.below(RAM);
    if (kind === 1) address = MAPPED.iova + (rng.below(1 << 24) - (1 << 23));
    else if (kind === 2) address = rng.u32() + rng.below(1 << 20) * 2 ** 32;
    else if (kind === 3) address = VTD_BASE + rng.below(4096);
    else if (kind === 4) address = rng.u32();
    const isMessage = address + 16 > 0xfee00000 && address < 0xfef00000;
    const end = MAPPED.iova + 4096 * MAPPED.pages;
    if (!isMessage && (address + 16 <= MAPPED.iova || address >= end) && address + 16 <= 2 ** 52) return address;
  }
}

describe("a hostile device", () => {
  test("reaches what its domain has, and there only what it may", () => {
    const { master, space } = board();
    const data = Uint8Array.from({ length: 64 * 4096 }, (_, i) => i * 7);
    expect(master.write(MAPPED.iova, data, 0, data.length)).toBe(BUS_STATUS.ok);
    const back = new Uint8Array(data.length);
    expect(master.read(MAPPED.iova, back, 0, back.length)).toBe(BUS_STATUS.ok);
    expect(back).toEqual(data);
    expect(space.read(MAPPED.memory + 9, 1)).toBe(63);
    // Runs beyond the end: what lies before has moved.
    expect(
      master.write(
        MAPPED.iova + data.length - 4,
        Uint8Array.from({ length: 8 }, () => 0xee),
        0,
        8,
      ),
    ).toBe(BUS_STATUS.iommuFault);
    expect(space.read(MAPPED.memory + data.length - 4, 4)).toBe(0xeeeeeeee);
    expect(space.read(MAPPED.memory + data.length, 4)).toBe(0);
  });

  test(`${ATTEMPTS} random addresses and forged messages: not a byte read or written, no interrupt, every fault recorded or lost to a full log`, () => {
    const { space, unit, master, sent, plain, write } = board();
    const before = space.ram.bytes.slice();
    const rng = new Rng("hostile");
    const buffer = new Uint8Array(16);
    const reads = { recorded: 0, lost: 0 };
    const drain = (): void => {
      for (let record = 0; record < 8; record++) {
        const top = space.read(VTD_BASE + 0x40c + 16 * record, 4);
        if (top >>> 31 === 0) continue;
        const source = space.read(VTD_BASE + 0x408 + 16 * record, 4) & 0xffff;
        if (source !== DEVICE) expect(source).toBe(DEVICE);
        reads.recorded++;
        write(0x40c + 16 * record, 0x8000_0000);
      }
      write(0x34, 1);
    };
    let requests = 0;
    let messages = 0;
    for (let i = 0; i < ATTEMPTS; i++) {
      if (rng.below(4) === 0) {
        // Handles beyond the table, of nobody, of somebody else, and the format of old.
        buffer.fill(0);
        const address = 0xfee00000 + ((rng.below(1 << 15) & (rng.chance(1, 2) ? 0xff : -1)) << 5) + rng.below(8) * 4;
        if (rng.chance(1, 2)) buffer[0] = rng.below(256);
        master.write(address, buffer, 0, 4);
        messages++;
      } else if (rng.chance(1, 2)) {
        buffer.fill(0x5a);
        if (master.write(hostileAddress(rng), buffer, 0, 16) === BUS_STATUS.ok) expect("written").toBe("refused");
        requests++;
      } else {
        buffer.fill(0x5a);
        if (master.read(hostileAddress(rng), buffer, 0, 16) === BUS_STATUS.ok) expect("read").toBe("refused");
        for (const byte of buffer) if (byte !== 0xff) expect(byte).toBe(0xff);
        requests++;
      }
      if (i % 13 === 0) drain();
    }
    drain();
    expect([sent.length, plain.length]).toEqual([0, 0]);
    expect(Buffer.compare(space.ram.bytes, before)).toBe(0);
    expect(unit.dma.counts).toMatchObject({ hits: 0, faults: requests, silent: 0 });
    expect(unit.interrupts.counts).toMatchObject({ remapped: 0, posted: 0, blocked: messages });
    expect(reads.recorded + unit.dma.counts.lost + unit.interrupts.counts.lost).toBe(requests + messages);
    expect(reads.recorded).toBeGreaterThan(ATTEMPTS / 4);
  }, 1_200_000);
});
