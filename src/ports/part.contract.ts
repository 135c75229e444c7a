/**
 * The suite that every part must pass. A part's own test calls `describePart("RTC", () => ({ part, windows, … }))`; `make` builds a fresh part with fresh
 * surroundings (clock, queue, lines) each time, always wired in the same way.
 *
 * Checked: a reset gives one known state whatever happened before; save → load → the same hash, and the copy then behaves like the original; neither
 * a load nor the first phase of a reset is seen outside; every width at every offset of every window answers an unsigned number of that width.
 *
 * Test code: imports vitest, and is imported by `*.test.ts` files only.
 */
import { describe, test } from "vitest";
import { assert } from "../base/assert.ts";
import { hex, onesOf } from "../base/int.ts";
import type { EventQueue, QueueState } from "../sim/event-queue.ts";
import { Rng } from "../sim/rng.ts";
import { hashState, loadState, type StateRecord, saveState } from "../sim/state.ts";
import type { Line, LinePin } from "./line.ts";
import type { Part, ResetKind } from "./part.ts";
import type { Window } from "./window.ts";

/** A part and what surrounds it in its test. */
export type PartFixture = {
  readonly part: Part;
  /** Every window of the part, memory-mapped and ports. */
  readonly windows?: readonly Window[];
  /** The queue that holds the part's alarms; its clock is saved, loaded and advanced with the part. */
  readonly queue?: EventQueue;
  /** Lines that the part hears. The suite drives them. */
  readonly inputs?: readonly Line[];
  /** Lines that the part drives. The suite counts their edges. */
  readonly outputs?: readonly Line[];
  /** How much the part told the outside so far by other ways than `outputs` (messages, signals, calls). */
  readonly sent?: () => number;
  /** Does one further random thing with the part that register accesses cannot (a keystroke, a message). Must depend on `rng` only. */
  readonly stimulate?: (rng: Rng) => void;
  /** Offsets whose reads or writes the suite must leave alone, with the reason in the test that says so. */
  readonly avoid?: (window: Window, offset: number) => boolean;
};

type Rig = { readonly fixture: PartFixture; readonly drivers: LinePin[]; edges: number };
type RigState = { part: StateRecord; queue: QueueState | null; now: number; lines: StateRecord[] };

/** Above this size offsets are sampled instead of enumerated. */
const ENUMERATED_BYTES = 16384;
const STEPS = 400;

function rigOf(make: () => PartFixture): Rig {
  const fixture = make();
  const rig: Rig = { fixture, drivers: (fixture.inputs ?? []).map(line => line.pin()), edges: 0 };
  const counter = { lineChanged: () => void rig.edges++ };
  for (const line of fixture.outputs ?? []) line.connect(counter, 0);
  return rig;
}

const seenOutside = (rig: Rig): number => rig.edges + (rig.fixture.sent?.() ?? 0);

function resetRig(rig: Rig, kind: ResetKind): void {
  const before = seenOutside(rig);
  rig.fixture.part.reset("enter", kind);
  assert(seenOutside(rig) === before, "reset: phase enter is seen outside the part");
  rig.fixture.part.reset("hold", kind);
  rig.fixture.part.reset("exit", kind);
}

function save(rig: Rig): RigState {
  const { part, queue, inputs = [], outputs = [] } = rig.fixture;
  return {
    part: saveState(part.state),
    queue: queue?.save() ?? null,
    now: queue?.clock.state.now ?? 0,
    lines: [...inputs, ...outputs].map(line => saveState(line.state)),
  };
}

function load(rig: Rig, saved: RigState): void {
  const { part, queue, inputs = [], outputs = [] } = rig.fixture;
  loadState(part.state, saved.part);
  if (queue !== undefined && saved.queue !== null) {
    queue.clock.state.now = saved.now;
    queue.load(saved.queue);
  }
  [...inputs, ...outputs].forEach((line, i) => {
    loadState(line.state, saved.lines[i]!);
  });
  part.restored?.();
  for (const line of [...inputs, ...outputs]) line.restored();
}

function checkedRead(window: Window, offset: number, width: number): number {
  const value = window.read(offset, width);
  const place = `${window.name} at ${hex(offset)}, ${width} bytes`;
  assert(Number.isInteger(value), `${place}: read gives ${value}, no integer`);
  assert(value >= 0 && value <= onesOf(width), `${place}: read gives ${value}, out of range`);
  return value;
}

const widthsOf = (window: Window): number[] => [1, 2, 4].filter(w => w >= window.minWidth && w <= window.maxWidth);

/** One random access, line change or moment of time. Returns what a read gave, so that two rigs can be compared. */
function step(rig: Rig, rng: Rng, moveTime: boolean): number {
  const { windows = [], queue, stimulate, avoid } = rig.fixture;
  const what = rng.below(16);
  if (what < 10 && windows.length > 0) {
    const window = rng.pick(windows);
    const width = rng.pick(widthsOf(window));
    const offset = Math.min(rng.below(window.size), window.size - width) & ~(width - 1);
    const value = rng.chance(1, 4) ? rng.pick([0, onesOf(width)]) : rng.u32() & onesOf(width);
    if (avoid?.(window, offset) === true) return 0;
    if (what < 4) return checkedRead(window, offset, width);
    window.write(offset, width, value >>> 0);
    return 0;
  }
  if (what < 13 && rig.drivers.length > 0) rng.pick(rig.drivers).set(rng.chance(1, 2));
  else if (what < 15) stimulate?.(rng);
  else if (queue !== undefined && moveTime) {
    const delta = rng.below(1 + 10 ** rng.below(9));
    const target = queue.clock.now() + delta;
    for (let i = 0; i < 1000 && queue.nextDeadline() <= target; i++) {
      queue.clock.advanceTo(Math.max(queue.clock.now(), queue.nextDeadline()));
      queue.runDue();
    }
    if (queue.nextDeadline() > target) queue.clock.advanceTo(target);
  }
  return 0;
}

/** The same reads in both, over the beginning of every window; side effects of reading fall on both alike. */
function assertSameReads(original: Rig, copy: Rig): void {
  const windows = original.fixture.windows ?? [];
  for (let i = 0; i < windows.length; i++) {
    const [one, two] = [windows[i]!, copy.fixture.windows![i]!];
    const width = one.minWidth;
    for (let offset = 0; offset + width <= Math.min(one.size, 1024); offset += width) {
      if (original.fixture.avoid?.(one, offset) === true) continue;
      const [a, b] = [checkedRead(one, offset, width), checkedRead(two, offset, width)];
      assert(a === b, `load: ${one.name} at ${hex(offset)} reads ${hex(a)} in the original and ${hex(b)} in the copy`);
    }
  }
}

/** Any history followed by a power-on reset gives the state that a fresh part has after its reset. */
export function checkReset(make: () => PartFixture): void {
  const fresh = rigOf(make);
  resetRig(fresh, "power");
  const expected = hashState(fresh.fixture.part.state);
  for (let seed = 0; seed < 4; seed++) {
    const rig = rigOf(make);
    resetRig(rig, "power");
    const rng = new Rng(`reset ${seed}`);
    for (let i = 0; i < STEPS; i++) step(rig, rng, false);
    for (const pin of rig.drivers) pin.deassert();
    resetRig(rig, "power");
    assert(hashState(rig.fixture.part.state) === expected, `reset: the state depends on the history (seed ${seed})`);
    resetRig(rig, "system");
  }
}

/** A copy made by save and load has the same hash, tells nobody anything while it is loaded, and then goes on exactly as the original does. */
export function checkSaveLoad(make: () => PartFixture): void {
  for (let seed = 0; seed < 4; seed++) {
    const original = rigOf(make);
    resetRig(original, "power");
    const rng = new Rng(`save ${seed}`);
    for (let i = 0; i < STEPS; i++) step(original, rng, true);
    const saved = save(original);

    const copy = rigOf(make);
    const before = seenOutside(copy);
    load(copy, saved);
    assert(seenOutside(copy) === before, `load: something was seen outside the part (seed ${seed})`);
    const hash = hashState(original.fixture.part.state);
    assert(hashState(copy.fixture.part.state) === hash, `load: the hash differs (seed ${seed})`);

    assertSameReads(original, copy);
    const [one, two] = [new Rng(`go on ${seed}`), new Rng(`go on ${seed}`)];
    const sent = [seenOutside(original), seenOutside(copy)];
    for (let i = 0; i < STEPS; i++) {
      const [a, b] = [step(original, one, true), step(copy, two, true)];
      assert(a === b, `load: step ${i} reads ${hex(a)} in the original and ${hex(b)} in the copy (seed ${seed})`);
      assert(
        seenOutside(original) - sent[0]! === seenOutside(copy) - sent[1]!,
        `load: step ${i} is seen outside in one of original and copy only (seed ${seed})`,
      );
    }
    const [a, b] = [hashState(original.fixture.part.state), hashState(copy.fixture.part.state)];
    assert(a === b, `load: original and copy drift apart (seed ${seed})`);
  }
}

/** Every accepted width at every aligned offset (sampled in large windows): reads answer, writes do not throw. */
export function checkAccesses(make: () => PartFixture): void {
  const rig = rigOf(make);
  resetRig(rig, "power");
  const rng = new Rng("accesses");
  for (const window of rig.fixture.windows ?? []) {
    assert(window.size > 0 && window.minWidth <= window.maxWidth, `${window.name}: impossible geometry`);
    for (const width of widthsOf(window)) {
      const places = Math.floor(window.size / width);
      const all = window.size <= ENUMERATED_BYTES;
      const count = all ? places : ENUMERATED_BYTES / width;
      for (let i = 0; i < count; i++) {
        const offset = width * (all || i < 1024 ? i : rng.below(Math.min(places, 0x100000000)));
        if (rig.fixture.avoid?.(window, offset) === true) continue;
        checkedRead(window, offset, width);
        for (const value of [0, onesOf(width), rng.u32() & onesOf(width)]) window.write(offset, width, value >>> 0);
        checkedRead(window, offset, width);
        assert(typeof (window.describe?.(offset) ?? "") === "string", `${window.name}: describe gives no text`);
      }
    }
  }
}

/** Runs the whole suite. */
export function describePart(name: string, make: () => PartFixture): void {
  describe(`${name}: contract of a part`, () => {
    test("a power-on reset gives the same state after any history, and its first phase touches nobody", () => {
      checkReset(make);
    });
    test("save and load: same hash, nothing seen outside, the copy goes on as the original does", () => {
      checkSaveLoad(make);
    });
    test("every width at every offset of every window, known or not, is answered in range", () => {
      checkAccesses(make);
    });
  });
}
