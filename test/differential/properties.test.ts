/** How instructions are run must not be seen: in one go or one at a time, saved and loaded in between, after their own bytes were changed. */
import { describe, expect, it } from "vitest";
import { ACTIVITY } from "../../src/ports/processor.ts";
import * as L from "../../src/cpu/layout.ts";
import { Rng } from "../../src/sim/rng.ts";
import { exceptionsOf, loadedFrom, stateDifference, streamFixture } from "./stream.ts";

const PROGRAMS = process.env.IRETQ_NIGHTLY === undefined ? 8 : 400;
const LENGTH = 4000;

describe("a random program with exceptions", () => {
  it("ends the same when it is run one instruction at a time (a budget is exact)", () => {
    let exceptions = 0;
    for (let seed = 0; seed < PROGRAMS; seed++) {
      const whole = streamFixture(new Rng(`stream/${seed}`));
      const single = loadedFrom(whole);
      const sliced = loadedFrom(whole);
      const rng = new Rng(`slices/${seed}`);
      expect(whole.cpu.run(LENGTH)).toBe(LENGTH);
      for (let n = 0; n < LENGTH; n++) expect(single.cpu.run(1)).toBe(1);
      for (let left = LENGTH; left > 0; ) left -= sliced.cpu.run(Math.min(left, 1 + rng.below(50)));
      expect(stateDifference(whole, single), `program ${seed}`).toEqual([]);
      expect(stateDifference(whole, sliced), `program ${seed}`).toEqual([]);
      expect(whole.s.int(L.ACTIVITY_OFFSET)).toBe(ACTIVITY.running);
      exceptions += exceptionsOf(whole);
    }
    expect(exceptions).toBeGreaterThan(PROGRAMS * 50);
  });

  it("goes on identically after it was saved and loaded at any instruction", () => {
    for (let seed = 0; seed < PROGRAMS; seed++) {
      const rng = new Rng(`save/${seed}`);
      const first = streamFixture(new Rng(`stream/${seed}`));
      first.cpu.run(rng.below(LENGTH));
      const second = loadedFrom(first);
      first.cpu.run(LENGTH);
      second.cpu.run(LENGTH);
      expect(stateDifference(first, second), `program ${seed}`).toEqual([]);
    }
  });
});
