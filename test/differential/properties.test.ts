/** How instructions are run must not be seen: in one go or one at a time, saved and loaded in between, after their own bytes were changed. */
import { beforeEach, describe, expect, it } from "vitest";
import { ACTIVITY } from "../../src/ports/processor.ts";
import { CpuFixture } from "../../src/cpu/cpu-fixture.ts";
import * as L from "../../src/cpu/layout.ts";
import { FLAG } from "../../src/cpu/state.ts";
import { Rng } from "../../src/sim/rng.ts";
import { exceptionsOf, loadedFrom, stateDifference, streamFixture } from "./stream.ts";

/** Beyond what the fixture maps. */
const NOT_MAPPED = 0x4000_0000;
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
  }, 3_600_000);

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
  }, 3_600_000);
});

describe("the boundary between two instructions", () => {
  let f: CpuFixture;
  let events: string[];
  beforeEach(() => {
    f = new CpuFixture();
    f.longMode();
    events = [];
    f.cpu.units.events.exception = vector => {
      events.push(`exception ${vector}`);
      f.cpu.stop();
    };
    f.cpu.units.exceptions.raiseDebug = conditions => {
      events.push(`debug ${conditions.toString(16)}`);
      f.s.setLo(L.DEBUG_TRAP, 0);
      f.s.setLo(L.PENDING_OFFSET, 0);
      f.s.eflags = 2;
      return true;
    };
    f.s.setNum(L.GPR, NOT_MAPPED);
  });
  const JMP_RAX = [0xff, 0xe0];

  it("shows the single-step trap of a branch before the fault of fetching its target (SDM vol. 3A, table 6-2)", () => {
    f.s.eflags = FLAG.tf | 2;
    expect(f.run(0x20000, JMP_RAX, 2)).toBe(1);
    expect([f.s.num(L.RIP), events]).toEqual([NOT_MAPPED, ["debug 4000", "exception 14"]]);
  });

  it("ends a run before the fault of fetching the next instruction, which the next run raises", () => {
    expect(f.run(0x20000, JMP_RAX, 1)).toBe(1);
    expect([f.s.num(L.RIP), events]).toEqual([NOT_MAPPED, []]);
    expect(f.cpu.run(1)).toBe(0);
    expect(events).toEqual(["exception 14"]);
  });
});
