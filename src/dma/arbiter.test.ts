import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { BusShare, BusTerms } from "../ports/bus-share.ts";
import { describePart } from "../ports/part.contract.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import { type ArbiterPolicy, BusArbiter } from "./arbiter.ts";

/** 100 MB/s: 10 ns per byte. */
const BANDWIDTH = 100_000_000;

class Rig {
  readonly clock = new Clock();
  readonly queue = new EventQueue(this.clock);
  readonly arbiter: BusArbiter;
  readonly order: string[] = [];
  readonly shares = new Map<string, BusShare>();

  constructor(policy: ArbiterPolicy, turnaroundNs = 0) {
    this.arbiter = new BusArbiter("bus", { queue: this.queue, policy, bandwidth: BANDWIDTH, turnaroundNs });
  }

  /** @param again bytes that it asks for whenever it has had everything; 0 for none */
  add(terms: BusTerms, again = 0): BusShare {
    const share = this.arbiter.share(terms, () => {
      this.order.push(terms.name);
      if (again > 0) this.shares.get(terms.name)!.request(again);
    });
    this.shares.set(terms.name, share);
    return share;
  }

  run(until: number): void {
    while (this.queue.nextDeadline() <= until) {
      this.clock.advanceTo(this.queue.nextDeadline());
      this.queue.runDue();
    }
    this.clock.advanceTo(until);
  }

  /** Part of the bandwidth that each has had in `ns`. */
  measured(ns: number): number[] {
    return this.arbiter.state.shares.map(({ bytes }) => (bytes * 1e9) / ns / BANDWIDTH);
  }
}

describePart("arbiter", () => {
  const rig = new Rig("weighted", 3);
  const shares = [
    rig.add({ name: "a", burst: 16 }),
    rig.add({ name: "b", weight: 3 }),
    rig.add({ name: "c", guaranteed: 1_000_000, burst: 7 }),
  ];
  return {
    part: rig.arbiter,
    queue: rig.queue,
    sent: () => rig.order.length,
    stimulate: rng => {
      const share = shares[rng.below(3)]!;
      if (rng.below(8) === 0) share.cancel();
      else share.request(1 + rng.below(200));
    },
  };
});

describe("time on the bus", () => {
  test("a request lasts as long as its bytes at the bus's bandwidth, and each burst its turnaround", () => {
    const rig = new Rig("fixed", 30);
    rig.add({ name: "a", burst: 64 }).request(100);
    rig.run(999 + 60);
    expect(rig.order).toEqual([]);
    rig.run(1000 + 60);
    expect(rig.order).toEqual(["a"]);
    expect(rig.arbiter.state.shares[0]).toMatchObject({ bytes: 100, bursts: 2, pending: 0 });
  });

  test("parts of a nanosecond are not lost: 3 bytes/ns for a million bytes", () => {
    const clock = new Clock();
    const queue = new EventQueue(clock);
    const arbiter = new BusArbiter("bus", { queue, policy: "fixed", bandwidth: 3_000_000_000 });
    let done = 0;
    const share = arbiter.share({ name: "a", burst: 1 }, () => {
      if (++done < 1_000_000) share.request(1);
    });
    share.request(1);
    while (queue.nextDeadline() < Number.POSITIVE_INFINITY) {
      clock.advanceTo(queue.nextDeadline());
      queue.runDue();
    }
    expect(done).toBe(1_000_000);
    expect(clock.now()).toBe(333_333);
  });

  test("what is taken back is not heard of; the burst on the bus goes to its end", () => {
    const rig = new Rig("round-robin");
    const first = rig.add({ name: "a" });
    first.request(64);
    rig.add({ name: "b" }).request(1);
    first.cancel();
    rig.run(640 + 10);
    expect(rig.order).toEqual(["b"]);
  });
});

describe("policies", () => {
  test("fixed: the lowest number first, and who is above starves the others", () => {
    const rig = new Rig("fixed");
    rig.add({ name: "low", priority: 5 }, 64).request(64);
    rig.add({ name: "high", priority: 1 }, 64).request(64);
    rig.run(640 * 10);
    // The low one was there first, and nobody is thrown off the bus.
    expect(rig.order).toEqual(["low", ...new Array<string>(9).fill("high")]);
  });

  test("round robin: a burst each in turn, whatever their number", () => {
    const rig = new Rig("round-robin");
    for (const name of ["a", "b", "c"]) rig.add({ name }, 64).request(64);
    rig.run(640 * 7);
    expect(rig.order.join("")).toBe("abcabca");
  });

  test("weighted: bandwidth in relation to the weights, to 2 %, whatever the bursts", () => {
    const rig = new Rig("weighted");
    rig.add({ name: "a", weight: 1, burst: 64 }, 1000).request(1000);
    rig.add({ name: "b", weight: 2, burst: 16 }, 1000).request(1000);
    rig.add({ name: "c", weight: 5, burst: 256 }, 1000).request(1000);
    rig.run(10_000_000);
    const [a, b, c] = rig.measured(10_000_000);
    expect(Math.abs(a! - 1 / 8)).toBeLessThan(0.02 / 8);
    expect(Math.abs(b! - 2 / 8)).toBeLessThan(0.02 / 4);
    expect(Math.abs(c! - 5 / 8)).toBeLessThan(0.02 / 2);
  });

  test("a holder that was silent starts level: it does not get the time that it never asked for", () => {
    const rig = new Rig("weighted");
    rig.add({ name: "busy" }, 64).request(64);
    const late = rig.add({ name: "late" }, 64);
    rig.run(6_400_000);
    late.request(64);
    rig.run(6_400_000 + 64_000);
    const [busy, other] = rig.arbiter.state.shares;
    expect(busy!.bytes).toBeGreaterThan(640_000 + 3100);
    expect(other!.bytes).toBeGreaterThan(3100);
    expect(other!.bytes).toBeLessThan(3300);
  });
});

/**
 * An audio stream: 192 000 bytes/s, as 48 kHz stereo of 16 bits, in pieces of 32 bytes, each of which must be there before the next is due. Counts
 * the pieces that were late.
 */
function underruns(rig: Rig, terms: Partial<BusTerms>, ns: number): number {
  const period = Math.floor((32 * 1e9) / 192_000);
  let late = 0;
  let there = true;
  const audio = rig.arbiter.share({ name: "audio", burst: 32, ...terms }, () => {
    there = true;
  });
  const tick = rig.queue.alarm("sample", () => {
    if (!there) late++;
    else audio.request(32);
    there = false;
    tick.armIn(period);
  });
  tick.armIn(1);
  rig.run(ns);
  return late;
}

/** Three disks, each of which could fill the bus alone: loaded three times over. */
function overload(rig: Rig): void {
  for (const name of ["disk 1", "disk 2", "disk 3"])
    rig.add({ name, burst: 16_384, weight: 100 }, 65_536).request(65_536);
}

describe("with the bus loaded three times over", () => {
  test("an audio stream with a guarantee never underruns", () => {
    const rig = new Rig("weighted");
    overload(rig);
    expect(underruns(rig, { weight: 0.001, guaranteed: 200_000 }, 1e9)).toBe(0);
  });

  test("and without one it does", () => {
    const rig = new Rig("weighted");
    overload(rig);
    expect(underruns(rig, { weight: 0.001 }, 1e9)).toBeGreaterThan(1000);
  });
});

test("everybody who always asks gets what was promised and his part of the rest, to 2 % (random terms)", () => {
  const terms = fc.record({
    weight: fc.integer({ min: 1, max: 8 }),
    /** Percent of the bandwidth. */
    guaranteed: fc.integer({ min: 0, max: 20 }),
    burst: fc.constantFrom(8, 32, 64, 100, 256),
  });
  fc.assert(
    fc.property(fc.array(terms, { minLength: 1, maxLength: 5 }), holders => {
      const rig = new Rig("weighted");
      holders.forEach((holder, i) => {
        const guaranteed = (holder.guaranteed * BANDWIDTH) / 100;
        rig.add({ ...holder, name: `${i}`, guaranteed }, 700).request(700);
      });
      const ns = 5_000_000;
      rig.run(ns);
      const rest = 1 - holders.reduce((sum, { guaranteed }) => sum + guaranteed / 100, 0);
      const weights = holders.reduce((sum, { weight }) => sum + weight, 0);
      rig.measured(ns).forEach((measured, i) => {
        const { guaranteed, weight } = holders[i]!;
        expect(Math.abs(measured - (guaranteed / 100 + (rest * weight) / weights))).toBeLessThan(0.02);
      });
    }),
    { numRuns: 60 },
  );
});
