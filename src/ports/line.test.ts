import { describe, expect, test } from "vitest";
import { ModelBug } from "../base/assert.ts";
import { Clock } from "../sim/clock.ts";
import { loadState, saveState } from "../sim/state.ts";
import { Trace } from "../sim/trace.ts";
import { EVENT } from "./events.ts";
import { Line, type LineSink } from "./line.ts";

class Input implements LineSink {
  readonly changes: [number, boolean, number][] = [];
  readonly restored: [number, boolean][] = [];
  lineChanged(pin: number, level: boolean, cause: number): void {
    this.changes.push([pin, level, cause]);
  }
  lineRestored(pin: number, level: boolean): void {
    this.restored.push([pin, level]);
  }
}

describe("wired-OR", () => {
  test("the line is high while at least one driver is; sinks see only changes of the line", () => {
    const line = new Line("irq5");
    const [a, b] = [line.pin(), line.pin()];
    const input = new Input();
    line.connect(input, 5);
    expect(input.changes).toEqual([]);
    a.assert(3);
    b.assert(4);
    a.deassert(5);
    expect([line.level, a.level, b.level]).toEqual([true, false, true]);
    b.deassert(6);
    expect(line.level).toBe(false);
    expect(input.changes).toEqual([
      [5, true, 3],
      [5, false, 6],
    ]);
  });

  test("driving the level that is there already does nothing", () => {
    const line = new Line("x");
    const a = line.pin();
    const input = new Input();
    line.connect(input, 0);
    a.deassert();
    a.assert();
    a.assert();
    a.set(true);
    expect(input.changes.length).toBe(1);
  });

  test("a pulse is an edge up and down, but none on a line that another holds, or a pin that is high", () => {
    const line = new Line("x");
    const [a, b] = [line.pin(), line.pin()];
    const input = new Input();
    line.connect(input, 0);
    a.pulse(1);
    expect(input.changes.map(c => c[1])).toEqual([true, false]);
    b.assert();
    input.changes.length = 0;
    a.pulse(2);
    expect(input.changes).toEqual([]);
    b.pulse();
    expect([line.level, input.changes.length]).toEqual([false, 1]);
  });

  test("31 drivers fit, each with its own hold", () => {
    const line = new Line("x");
    const pins = Array.from({ length: 31 }, () => line.pin());
    for (const pin of pins) pin.assert();
    for (const [i, pin] of pins.entries()) {
      expect(line.level).toBe(true);
      pin.deassert();
      expect(pins.map(p => p.level)).toEqual(pins.map((_, j) => j > i));
    }
    expect(line.level).toBe(false);
    expect(() => line.pin()).toThrow(ModelBug);
  });
});

test("a sink connected to a high line is told at once; to a low line, nothing", () => {
  const line = new Line("x");
  const pin = line.pin();
  pin.assert(9);
  const [one, two] = [new Input(), new Input()];
  line.connect(one, 3);
  pin.deassert();
  line.connect(two, 4);
  expect(one.changes.map(c => c.slice(0, 2))).toEqual([
    [3, true],
    [3, false],
  ]);
  expect(two.changes).toEqual([]);
});

test("one sink on two inputs, two sinks on one line: all are told", () => {
  const line = new Line("x");
  const [one, two] = [new Input(), new Input()];
  line.connect(one, 0);
  line.connect(one, 7);
  line.connect(two, 1);
  line.pin().assert();
  expect(one.changes.map(c => c[0])).toEqual([0, 7]);
  expect(two.changes.map(c => c[0])).toEqual([1]);
});

test("a restored line makes no edge: sinks adopt its level, and the pins theirs", () => {
  const make = () => {
    const line = new Line("x");
    const pins = [line.pin(), line.pin()] as const;
    const input = new Input();
    line.connect(input, 2);
    return { line, pins, input };
  };
  const a = make();
  a.pins[1].assert();
  const b = make();
  loadState(b.line.state, saveState(a.line.state));
  b.line.restored();
  expect([b.input.changes, b.input.restored]).toEqual([[], [[2, true]]]);
  expect([b.line.level, b.pins[0].level, b.pins[1].level]).toEqual([true, false, true]);
  b.pins[1].deassert(1);
  expect(b.input.changes).toEqual([[2, false, 1]]);
});

test("the trace hears each change of the line, with its driver as the cause; sinks get the event's id", () => {
  const trace = new Trace(new Clock());
  const events: number[][] = [];
  trace.listen(
    { event: (_t, kind, subject, a, _b, _c, id, cause) => void events.push([kind, subject, a, id, cause]) },
    [EVENT.lineLevel],
  );
  const line = new Line("timer", 4, trace);
  const input = new Input();
  line.connect(input, 0);
  const [a, b] = [line.pin(), line.pin()];
  a.assert(50);
  b.assert(51);
  b.deassert(52);
  a.deassert(53);
  expect(events).toEqual([
    [EVENT.lineLevel, 4, 1, 1, 50],
    [EVENT.lineLevel, 4, 0, 2, 53],
  ]);
  expect(input.changes.map(c => c[2])).toEqual([1, 2]);
});
