import { expect, test } from "vitest";
import { EVENT } from "../ports/events.ts";
import { BUS_STATUS } from "../ports/initiator.ts";
import { Clock } from "../sim/clock.ts";
import { Trace } from "../sim/trace.ts";
import { DmaStats } from "./dma-stats.ts";

function make() {
  const clock = new Clock();
  const trace = new Trace(clock);
  const stats = new DmaStats();
  trace.listen(stats, DmaStats.KINDS);
  return { clock, trace, stats };
}

test("the latency of a completion counts from the doorbell that caused it, over the descriptor between them", () => {
  const { clock, trace, stats } = make();
  clock.advanceTo(100);
  const doorbell = trace.emit(EVENT.doorbell, 0x18, 2, 1, 0, 0);
  clock.advanceTo(130);
  const descriptor = trace.emit(EVENT.descriptor, 0x18, 2, 0x5000, 512, doorbell);
  clock.advanceTo(1130);
  trace.emit(EVENT.completion, 0x18, 2, 512, 0, descriptor);
  const [requester] = stats.requesters();
  expect(requester!.queues).toMatchObject([
    { queue: 2, doorbells: 1, descriptors: 1, completions: 1, bytes: 512, errors: 0 },
  ]);
  expect(requester!.queues[0]!.latency.max).toBe(1030);
});

test("work without a doorbell counts from its descriptor; a completion with an error code is an error", () => {
  const { clock, trace, stats } = make();
  const descriptor = trace.emit(EVENT.descriptor, 1, 0, 0, 64, 0);
  clock.advanceTo(7);
  trace.emit(EVENT.completion, 1, 0, 0, 5, descriptor);
  const queue = stats.requesters()[0]!.queues[0]!;
  expect(queue).toMatchObject({ errors: 1, bytes: 0 });
  expect(queue.latency.max).toBe(7);
});

test("accesses count by requester and by how they ended; bytes only of those that succeeded", () => {
  const { trace, stats } = make();
  trace.emit(EVENT.dmaRead, 0x20, 0x1000, 16, BUS_STATUS.ok, 0);
  trace.emit(EVENT.dmaRead, 0x20, 0x2000, 8, BUS_STATUS.ok, 0);
  trace.emit(EVENT.dmaWrite, 0x08, 0x1000, 4, BUS_STATUS.ok, 0);
  trace.emit(EVENT.dmaWrite, 0x20, 0x1000, 4096, BUS_STATUS.iommuFault, 0);
  trace.emit(EVENT.dmaWrite, 0x20, 0x1000, 4096, BUS_STATUS.disabled, 0);
  trace.emit(EVENT.dmaRead, 0x20, 0x1000, 4096, BUS_STATUS.masterAbort, 0);
  trace.emit(EVENT.dmaRead, 0x20, 0x1000, 4096, BUS_STATUS.targetAbort, 0);
  const [first, second] = stats.requesters();
  expect(first).toMatchObject({ requester: 0x08, writes: { accesses: 1, bytes: 4 }, reads: { accesses: 0, bytes: 0 } });
  expect(second).toMatchObject({
    requester: 0x20,
    reads: { accesses: 2, bytes: 24 },
    writes: { accesses: 0, bytes: 0 },
    failures: { masterAborts: 1, targetAborts: 1, iommuFaults: 1, disabled: 1 },
  });
});

test("a cause that has fallen out of the ring is no beginning", () => {
  const { clock, trace, stats } = make();
  const old = trace.emit(EVENT.doorbell, 1, 0, 0, 0, 0);
  for (let i = 0; i < 4096; i++) trace.emit(EVENT.doorbell, 1, 0, 0, 0, 0);
  clock.advanceTo(50);
  trace.emit(EVENT.completion, 1, 0, 1, 0, old);
  expect(stats.requesters()[0]!.queues[0]!.latency.max).toBe(0);
});
