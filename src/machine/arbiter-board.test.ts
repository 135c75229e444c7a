import { expect, test } from "vitest";
import { HostError } from "../base/assert.ts";
import { MIB } from "../base/units.ts";
import type { BusSpec, ShareTerms } from "./arbiter-board.ts";
import { Pc } from "./pc.ts";
import { parseDevice } from "./pci-devices.ts";

const spec = (terms: Record<string, ShareTerms> = {}): BusSpec => ({
  policy: "weighted",
  bandwidth: 1_000_000,
  turnaroundNs: 0,
  terms: new Map(Object.entries(terms)),
});
const make = (bus: BusSpec | null): Pc =>
  new Pc({ cpus: 1, memory: MIB * 8, image: null, devices: ["ioat,channels=2", "edu"].map(parseDevice), bus });

test("ISA's DMA, every channel of an I/OAT engine, and edu have a share each", () => {
  expect(
    make(spec())
      .bus!.accounts()
      .map(({ name }) => name),
  ).toEqual(["isa-dma", "ioat channel 0", "ioat channel 1", "edu"]);
});

test("terms for a part go for all of its channels but those with terms of their own", () => {
  const pc = make(spec({ ioat: { guaranteed: 1000 }, "ioat channel 1": { guaranteed: 7 } }));
  expect(pc.bus!.accounts().map(({ guaranteed }) => guaranteed)).toEqual([0, 1000, 7, 0]);
});

test("terms for somebody who is not there are refused, with the names that there are", () => {
  expect(() => make(spec({ oiat: { weight: 2 } }))).toThrow(HostError);
  expect(() => make(spec({ oiat: { weight: 2 } }))).toThrow(/called oiat: there are isa-dma, ioat channel 0/);
});

test("more cannot be guaranteed than the bus moves", () => {
  expect(() => make(spec({ ioat: { guaranteed: 500_000 } }))).not.toThrow();
  expect(() => make(spec({ ioat: { guaranteed: 500_001 } }))).toThrow(HostError);
});

test("without a bus there is no part more than before", () => {
  const names = make(null).parts.map(part => part.name);
  expect(names).not.toContain("bus");
  expect(
    make(spec())
      .parts.map(part => part.name)
      .filter(name => name !== "bus"),
  ).toEqual(names);
});
