import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EVENT } from "../ports/events.ts";
import { Histogram } from "./histogram.ts";
import { InterruptStats } from "./interrupt-stats.ts";

/** Feeds events with running ids; `at` is the time. */
function feed(cpus = 2) {
  const stats = new InterruptStats(cpus);
  let id = 0;
  const tell = (at: number, kind: number, subject: number, a = 0, b = 0, c = 0, cause = 0): number => {
    stats.event(at, kind, subject, a, b, c, ++id, cause);
    return id;
  };
  return { stats, tell };
}

describe("latency and source follow the chain of causes", () => {
  test("a line through the I/O APIC: from the line's rise to the handler", () => {
    const { stats, tell } = feed();
    const line = tell(100, EVENT.lineLevel, 4, 1);
    const send = tell(105, EVENT.ioapicSend, 4, 0x34, 0, 0, line);
    const accept = tell(106, EVENT.lapicAccept, 1, 0x34, 1, 0, send);
    tell(350, EVENT.interrupt, 1, 0x34, 0, 0, accept);
    tell(380, EVENT.lapicEoi, 1, 0x34);
    tell(400, EVENT.iret, 1);
    const [vector] = stats.vectors();
    expect(vector).toMatchObject({ vector: 0x34, count: 1, perCpu: [0, 1], eois: 1, pending: 0, coalesced: 0 });
    expect(vector!.sources).toEqual([{ kind: "pin", number: 4, count: 1, perCpu: [0, 1] }]);
    expect(vector!.latency.min).toBe(250);
    expect(vector!.handler.max).toBe(50);
  });

  test("timer, IPI, message and 8259 are told apart", () => {
    const { stats, tell } = feed();
    const through = (raise: number, vector: number) => {
      const accept = tell(10, EVENT.lapicAccept, 0, vector, 0, 0, raise);
      tell(12, EVENT.interrupt, 0, vector, 0, 0, accept);
    };
    through(tell(9, EVENT.lvtFire, 0, 1, 0x20), 0x20);
    through(tell(9, EVENT.ipiSend, 1, 0x21), 0x21);
    through(tell(9, EVENT.msi, 8, 0x22), 0x22);
    const request = tell(5, EVENT.picRequest, 3, 0, 0, 0, tell(4, EVENT.lineLevel, 3, 1));
    const ack = tell(12, EVENT.picAck, 3, 0x0b, 0, 0, request);
    tell(12, EVENT.interrupt, 0, 0x0b, 1, 0, ack);
    tell(14, EVENT.picEoi, 3);
    const seen = stats.vectors().map(v => [v.vector, v.sources[0]!.kind, v.sources[0]!.number, v.latency.min, v.eois]);
    expect(seen).toEqual([
      [0x0b, "pic", 3, 8, 1],
      [0x20, "lvt", 1, 3, 0],
      [0x21, "ipi", 0, 3, 0],
      [0x22, "msi", 8, 3, 0],
    ]);
  });

  test("sources that share a vector are counted apart on each CPU, the more frequent one first", () => {
    const { stats, tell } = feed();
    for (const [sender, cpu] of [
      [0x0108, 1],
      [0xffff, 0],
      [0xffff, 1],
      [0xffff, 1],
    ] as const) {
      const accept = tell(2, EVENT.lapicAccept, cpu, 0x31, 0, 0, tell(1, EVENT.msi, sender, 0x31));
      tell(3, EVENT.interrupt, cpu, 0x31, 0, 0, accept);
    }
    expect(stats.vectors()[0]!.sources).toEqual([
      { kind: "msi", number: 0xffff, count: 3, perCpu: [1, 2] },
      { kind: "msi", number: 0x0108, count: 1, perCpu: [0, 1] },
    ]);
  });

  test("a level interrupt that is sent again after its EOI counts from that EOI", () => {
    const { stats, tell } = feed();
    const line = tell(100, EVENT.lineLevel, 9, 1);
    const take = (at: number) => {
      const accept = tell(at, EVENT.lapicAccept, 0, 0x39, 1, 0, tell(at, EVENT.ioapicSend, 9, 0x39, 0, 0, line));
      tell(at + 5, EVENT.interrupt, 0, 0x39, 0, 0, accept);
    };
    take(110);
    tell(900, EVENT.ioapicEoi, 9, 0x39, 1);
    take(900);
    expect([stats.vectors()[0]!.latency.min, stats.vectors()[0]!.latency.max]).toEqual([5, 15]);
  });

  test("an interrupt that waits while thousands of other events happen keeps its source and its beginning", () => {
    const { stats, tell } = feed();
    const accept = tell(2, EVENT.lapicAccept, 1, 0x31, 0, 0, tell(1, EVENT.ioapicSend, 4, 0x31));
    for (let i = 0; i < 10_000; i++) tell(3, EVENT.lapicAccept, 1, 0x31, 0, 1, tell(3, EVENT.ioapicSend, 4, 0x31));
    tell(50, EVENT.interrupt, 1, 0x31, 0, 0, accept);
    const [vector] = stats.vectors();
    expect(vector!.sources).toEqual([{ kind: "pin", number: 4, count: 1, perCpu: [0, 1] }]);
    expect(vector!.latency.max).toBe(49);
  });

  test("an unknown cause is counted and has no latency", () => {
    const { stats, tell } = feed();
    tell(5, EVENT.interrupt, 0, 0x40, 0, 0, 999_999);
    expect(stats.vectors()[0]).toMatchObject({
      count: 1,
      sources: [{ kind: "unknown", number: 0, count: 1, perCpu: [1, 0] }],
    });
    expect(stats.vectors()[0]!.latency.count).toBe(0);
  });
});

test("time in nested handlers belongs to each its own, by CPU", () => {
  const { stats, tell } = feed();
  tell(0, EVENT.interrupt, 0, 0x30);
  tell(5, EVENT.interrupt, 1, 0x30);
  tell(10, EVENT.interrupt, 0, 0x50);
  tell(12, EVENT.exception, 0, 14, 2, 0);
  tell(14, EVENT.iret, 0);
  tell(25, EVENT.iret, 0);
  tell(30, EVENT.iret, 0);
  tell(100, EVENT.iret, 1);
  tell(101, EVENT.iret, 1);
  const [low, high] = stats.vectors();
  expect([low!.handler.min, low!.handler.max]).toEqual([30, 95]);
  expect([high!.handler.min, high!.handler.max]).toEqual([15, 15]);
  expect(stats.exceptions[14]).toBe(1);
});

test("accepted and never taken is unhandled; a coalesced request is not taken twice", () => {
  const { stats, tell } = feed();
  tell(1, EVENT.lapicAccept, 0, 0x60);
  tell(2, EVENT.lapicAccept, 0, 0x60, 0, 1);
  tell(3, EVENT.lapicAccept, 0, 0x61);
  tell(4, EVENT.interrupt, 0, 0x61);
  expect(stats.vectors().map(v => [v.vector, v.pending, v.coalesced])).toEqual([
    [0x60, 1, 1],
    [0x61, 0, 0],
  ]);
  expect(stats.unhandled()).toBe(1);
});

test("spurious interrupts of both controllers and NMIs are counted apart", () => {
  const { stats, tell } = feed();
  tell(1, EVENT.interrupt, 0, 0xff, 0, 1);
  tell(2, EVENT.picAck, 7, 0x0f, 1);
  tell(2, EVENT.interrupt, 0, 0x0f, 1, 1);
  tell(3, EVENT.nmi, 1);
  expect([stats.spuriousApic, stats.spuriousPic, stats.nmis]).toEqual([1, 1, 1]);
  expect(stats.vectors()).toEqual([]);
});

describe("histogram", () => {
  test("quantiles lie within 1/16 of those of the sorted values, extremes are exact", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.nat(100), fc.nat(1e6), fc.integer({ min: 0, max: 2 ** 40 - 1 })), { minLength: 1 }),
        fc.integer({ min: 1, max: 100 }),
        (values, percent) => {
          const histogram = new Histogram();
          for (const value of values) histogram.add(value);
          const sorted = [...values].sort((a, b) => a - b);
          const exact = sorted[Math.max(1, Math.ceil((percent / 100) * values.length)) - 1]!;
          const got = histogram.quantile(percent / 100);
          expect(got).toBeLessThanOrEqual(Math.max(exact, histogram.min));
          expect(got).toBeGreaterThanOrEqual(exact - exact / 16 - 1e-9);
          expect([histogram.min, histogram.max]).toEqual([sorted[0], sorted[sorted.length - 1]]);
        },
      ),
    );
  });
});
