/**
 * Fuzz targets of the devices: random accesses, stimuli and steps of time; every now and then the part is saved, loaded into a fresh one, compared, and
 * the fresh one goes on. Test code: imported by `*.test.ts` only.
 */
import { FUZZ_STEPS } from "./fuzz-steps.ts";
import { assert } from "../src/base/assert.ts";
import { onesOf } from "../src/base/int.ts";
import type { PartFixture } from "../src/ports/part.contract.ts";
import { Rng } from "../src/sim/rng.ts";
import { hashState, loadState, saveState } from "../src/sim/state.ts";

export type FuzzOptions = {
  /** Longest step of time in ns. */
  readonly maxAdvance: number;
  /** Alarms run in one step of time before the rest of the step is dropped. */
  readonly maxAlarms?: number;
  readonly steps?: number;
};

/** For the nightly run on a busy machine, ms. */
export const FUZZ_TIMEOUT = 1_800_000;
const RELOAD_EVERY = 2000;

/** Time moves up to `maxAdvance` ns, alarm by alarm. */
function advance({ queue }: PartFixture, rng: Rng, options: FuzzOptions): void {
  if (queue === undefined) return;
  const target = queue.clock.now() + rng.below(1 + (options.maxAdvance >>> rng.below(20)));
  for (let i = 0; i < (options.maxAlarms ?? 50) && queue.nextDeadline() <= target; i++) {
    queue.clock.advanceTo(Math.max(queue.clock.now(), queue.nextDeadline()));
    queue.runDue();
  }
  if (queue.nextDeadline() > target) queue.clock.advanceTo(target);
}

function access({ windows = [] }: PartFixture, rng: Rng): void {
  const window = rng.pick(windows);
  const widths = [1, 2, 4].filter(w => w >= window.minWidth && w <= window.maxWidth);
  const width = rng.pick(widths);
  const offset = Math.min(rng.below(window.size), window.size - width) & ~(width - 1);
  if (rng.chance(1, 2)) {
    const value = window.read(offset, width);
    assert(value >= 0 && value <= onesOf(width) && Number.isInteger(value), `${window.name}: read gives ${value}`);
  } else {
    const value = rng.chance(1, 3) ? 1 << rng.below(8 * width) : rng.u32() & onesOf(width);
    window.write(offset, width, (value & onesOf(width)) >>> 0);
  }
}

function reload<F extends PartFixture>(make: () => F, from: F): F {
  const to = make();
  loadState(to.part.state, saveState(from.part.state));
  if (to.queue !== undefined && from.queue !== undefined) {
    to.queue.clock.state.now = from.queue.clock.state.now;
    to.queue.load(from.queue.save());
  }
  const lines = (f: F) => [...(f.inputs ?? []), ...(f.outputs ?? [])];
  lines(to).forEach((line, i) => {
    loadState(line.state, saveState(lines(from)[i]!.state));
  });
  to.part.restored?.();
  for (const line of lines(to)) line.restored();
  assert(hashState(to.part.state) === hashState(from.part.state), "fuzz: a reloaded part has another hash");
  return to;
}

/** Runs the target; `check` throws when an invariant does not hold. */
export function fuzzPart<F extends PartFixture>(
  make: () => F,
  seed: string,
  options: FuzzOptions,
  check: (fixture: F) => void,
): void {
  const rng = new Rng(`fuzz ${seed}`);
  let fixture = make();
  for (const phase of ["enter", "hold", "exit"] as const) fixture.part.reset(phase, "power");
  const steps = options.steps ?? FUZZ_STEPS;
  for (let i = 0; i < steps; i++) {
    const what = rng.below(8);
    if (what < 5) access(fixture, rng);
    else if (what < 7) advance(fixture, rng, options);
    else fixture.stimulate?.(rng);
    if (i % 16 === 0) check(fixture);
    if (i % RELOAD_EVERY === RELOAD_EVERY - 1) fixture = reload(make, fixture);
  }
}
