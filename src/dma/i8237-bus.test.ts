/**
 * The 8237A pair on a modelled bus: who has which part of a transfer's time.
 */
import { beforeEach, expect, it } from "vitest";
import type { BusShare } from "../ports/bus-share.ts";
import { BusArbiter } from "./arbiter.ts";
import { DmaRig } from "./dma-rig.testing.ts";
import { COPY_NS, GRANT_NS, TRANSFER_NS } from "./i8237-pair.ts";

const [VERIFY, WRITE, READ, SINGLE, BLOCK, DEMAND] = [0x00, 0x04, 0x08, 0x40, 0x80, 0x00];
/** A microsecond per byte. */
const BANDWIDTH = 1_000_000;
const BYTE_NS = 1000;

let rig: DmaRig;
let arbiter: BusArbiter;
let rival: BusShare;
beforeEach(() => {
  rig = new DmaRig(queue => {
    arbiter = new BusArbiter("bus", { queue, policy: "fixed", bandwidth: BANDWIDTH });
    rival = arbiter.share({ name: "rival", burst: 100 }, () => {});
    return (_channel, done) => arbiter.share({ name: "isa", burst: 4 }, done);
  }).cascade();
});
const start = (channel: number, mode: number, transfers: number): void => {
  rig.program(channel, { mode, address: 0x1000, transfers });
  rig.unmask(channel);
};
/** Bytes that the bus has moved for ISA. */
const moved = (): number => arbiter.state.shares[1]!.bytes;

it("a transfer takes its clocks and then the bus's time for its byte, or for both of its bytes on a channel of 16 bits", () => {
  for (const [channel, bytes] of [
    [1, 1],
    [5, 2],
  ] as const) {
    start(channel, SINGLE | WRITE, 10);
    rig.device(channel).ask(1);
    rig.run(GRANT_NS + TRANSFER_NS + bytes * BYTE_NS - 1);
    expect(rig.device(channel).state.given).toBe(0);
    rig.run(1);
    expect(rig.device(channel).state.given).toBe(bytes);
  }
  expect(moved()).toBe(3);
});

it("who has the bus lets it wait for the end of the burst", () => {
  rival.request(50);
  start(1, SINGLE | READ, 10);
  rig.device(1).ask(1);
  rig.run(51 * BYTE_NS - 1);
  expect(rig.device(1).taken.length).toBe(0);
  rig.run(1);
  expect(rig.device(1).taken.length).toBe(1);
});

it("every transfer of a block asks for itself, clocks first; the registers show what has been moved", () => {
  start(1, BLOCK | WRITE, 10);
  rig.device(1).ask(1);
  rig.run(GRANT_NS + 3 * (TRANSFER_NS + BYTE_NS));
  expect(rig.count(1)).toBe(9 - 3);
  expect(rig.address(1)).toBe(0x1003);
  rig.run(7 * (TRANSFER_NS + BYTE_NS) - 1);
  expect(rig.device(1).state.ends).toBe(0);
  rig.run(1);
  expect(rig.device(1).state.ends).toBe(1);
  expect(moved()).toBe(10);
});

it("verify moves nothing and asks for nothing", () => {
  rival.request(100);
  start(1, BLOCK | VERIFY, 10);
  rig.device(1).ask(10);
  rig.run(GRANT_NS + 10 * TRANSFER_NS);
  expect(rig.device(1).state).toMatchObject({ verified: 10, ends: 1 });
  expect(arbiter.state.shares[1]).toMatchObject({ bytes: 0, pending: 0 });
});

it("memory-to-memory reads and writes every byte over the bus", () => {
  rig.ram.bytes.set([7, 8, 9], 0x1000);
  rig.program(0, { mode: BLOCK, address: 0x1000, transfers: 3 });
  rig.program(1, { mode: BLOCK, address: 0x2000, transfers: 3 });
  rig.out(8, 1);
  rig.out(9, 4);
  rig.run(GRANT_NS + 3 * (COPY_NS + 2 * BYTE_NS) - 1);
  expect([...rig.ram.bytes.subarray(0x2000, 0x2003)]).toEqual([7, 8, 0]);
  rig.run(1);
  expect([...rig.ram.bytes.subarray(0x2000, 0x2003)]).toEqual([7, 8, 9]);
  expect(moved()).toBe(6);
});

it.each<[string, (channel: number) => void]>([
  ["DREQ drops", channel => rig.device(channel).ask(0)],
  ["the channel is masked", channel => rig.out(0xa, 4 | channel)],
  ["the mode is written", channel => rig.out(0xb, SINGLE | WRITE | channel)],
])("what waits for the bus when %s has not happened, and does not ask any more", (what, withdraw) => {
  rival.request(80);
  start(1, DEMAND | WRITE, 10);
  rig.device(1).ask(5);
  rig.run(GRANT_NS + TRANSFER_NS + 10);
  expect(arbiter.state.shares[1]!.pending).toBe(1);
  withdraw(1);
  expect(arbiter.state.shares[1]!.pending).toBe(0);
  rig.run(20 * BYTE_NS);
  expect(rig.device(1).state.given).toBe(0);
  // What still asks has its turn anew.
  rig.run(1e6);
  expect(rig.device(1).state.given > 0).toBe(what.startsWith("the mode"));
});

it("a register access while it waits changes nothing of its time", () => {
  rival.request(50);
  start(1, SINGLE | WRITE, 10);
  rig.device(1).ask(1);
  for (let i = 0; i < 50; i++) {
    rig.run(1000);
    rig.out(0xc, 0);
  }
  rig.run(BYTE_NS - 1);
  expect(rig.device(1).state.given).toBe(0);
  rig.run(1);
  expect(rig.device(1).state.given).toBe(1);
});
