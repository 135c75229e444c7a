import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Oscillator } from "./ticks.ts";

/** The definition, in unbounded integers. */
const ticksAt = (hz: number, ns: number): bigint => (BigInt(ns) * BigInt(hz)) / 1_000_000_000n;

describe("oscillator", () => {
  it("counts exactly at any time up to 100 days and never drifts", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9_000_000 }),
        fc.integer({ min: 0, max: 8_640_000_000_000_000 }),
        (hz, ns) => {
          expect(BigInt(new Oscillator(hz).ticksAt(ns))).toBe(ticksAt(hz, ns));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("gives the first nanosecond of a tick", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9_000_000 }), fc.integer({ min: 1, max: 100_000_000_000 }), (hz, tick) => {
        const oscillator = new Oscillator(hz);
        const time = oscillator.timeOf(tick);
        if (time > 8_640_000_000_000_000) return;
        expect(ticksAt(hz, time) >= BigInt(tick)).toBe(true);
        expect(ticksAt(hz, time - 1) < BigInt(tick)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
