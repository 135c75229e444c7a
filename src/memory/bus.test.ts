import { expect, test } from "vitest";
import { PAGE_KIND } from "../ports/cpu-bus.ts";
import { EVENT } from "../ports/events.ts";
import { BUS_STATUS } from "../ports/initiator.ts";
import { Clock } from "../sim/clock.ts";
import { Trace } from "../sim/trace.ts";
import { AddressSpace } from "./address-space.ts";
import { BusMaster } from "./bus-master.ts";
import { CpuBusPort } from "./cpu-bus.ts";
import { PortSpace } from "./port-space.ts";
import { Ram } from "./ram.ts";

function make() {
  const space = new AddressSpace(new Ram(new ArrayBuffer(0x202000), 0, 0x202000));
  space.mapRam("ram", 0, 0x202000, 0);
  const trace = new Trace(new Clock());
  const messages: number[][] = [];
  const msi = {
    msi: (address: number, data: number, requester: number, cause: number) =>
      void messages.push([address, data, requester, cause]),
  };
  const master = new BusMaster(0x0010, { space, msi, trace, remap: null });
  return { space, trace, messages, master, bus: new CpuBusPort(1, space, new PortSpace(), trace) };
}

test("with A20 closed a processor sees the first megabyte twice, and a bus master does not", () => {
  const { space, bus, master } = make();
  space.ram.write(0x500, 4, 0x11111111);
  space.ram.write(0x100500, 4, 0x22222222);
  space.setA20(false);
  expect(bus.read(0x100500, 4)).toBe(0x11111111);
  expect(bus.lookup(0x101)).toBe(PAGE_KIND.ram);
  expect(bus.pageOffset).toBe(0x1000);
  const seen = new Uint8Array(4);
  expect(master.read(0x100500, seen, 0, 4)).toBe(BUS_STATUS.ok);
  expect(seen[0]).toBe(0x22);
});

test("accesses of a processor are traced with address, width and value", () => {
  const { bus, trace } = make();
  const seen: number[][] = [];
  trace.listen({ event: (_time, kind, subject, a, b, c) => seen.push([kind, subject, a, b, c]) }, [
    EVENT.mmioRead,
    EVENT.mmioWrite,
    EVENT.portRead,
    EVENT.portWrite,
  ]);
  bus.read(0xfec00000, 4);
  bus.write(0xfec00010, 4, 5);
  bus.portRead(0x71, 1);
  bus.portWrite(0x70, 1, 0x8f);
  expect(seen).toEqual([
    [EVENT.mmioRead, 1, 0xfec00000, 4, 0xffffffff],
    [EVENT.mmioWrite, 1, 0xfec00010, 4, 5],
    [EVENT.portRead, 1, 0x71, 1, 0xff],
    [EVENT.portWrite, 1, 0x70, 1, 0x8f],
  ]);
});

test("a bus master's aligned doubleword to 0xFEExxxxx is an interrupt message and no memory write (SDM vol. 3A, MSI)", () => {
  const { master, messages } = make();
  master.cause = 77;
  const data = Uint8Array.from([0x31, 0x40, 0, 0x80]);
  expect(master.write(0xfee01004, data, 0, 4)).toBe(BUS_STATUS.ok);
  expect(messages).toEqual([[0xfee01004, 0x80004031, 0x10, 77]]);
  expect(master.write(0xfee01002, data, 0, 4)).toBe(BUS_STATUS.masterAbort);
  expect(master.write(0xfee01000, data, 0, 2)).toBe(BUS_STATUS.masterAbort);
  expect(messages.length).toBe(1);
});

test("a bus master that is cut off neither reads nor writes nor interrupts", () => {
  const { master, messages, space } = make();
  master.enabled = false;
  const data = Uint8Array.from([1, 2, 3, 4]);
  expect(master.write(0x1000, data, 0, 4)).toBe(BUS_STATUS.disabled);
  expect(master.write(0xfee00000, data, 0, 4)).toBe(BUS_STATUS.disabled);
  expect(master.read(0x1000, data, 1, 2)).toBe(BUS_STATUS.disabled);
  expect([...data]).toEqual([1, 0xff, 0xff, 4]);
  expect(space.ram.read(0x1000, 4)).toBe(0);
  expect(messages).toEqual([]);
});

test("a transfer that reaches the open bus is a master abort and reads all-ones", () => {
  const { master } = make();
  const data = new Uint8Array(8);
  expect(master.read(0x201ffc, data, 0, 8)).toBe(BUS_STATUS.masterAbort);
  expect([...data]).toEqual([255, 255, 255, 255, 255, 255, 255, 255]);
});
