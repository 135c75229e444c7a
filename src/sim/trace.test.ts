import { expect, test } from "vitest";
import { Clock } from "./clock.ts";
import { Trace, type TraceListener } from "./trace.ts";

class Recorder implements TraceListener {
  readonly events: number[][] = [];
  event(...args: number[]): void {
    this.events.push(args);
  }
}

test("a kind that nobody wants is not told, takes no id, and hands its cause through", () => {
  const trace = new Trace(new Clock());
  const r = new Recorder();
  trace.listen(r, [5]);
  expect([trace.wants[4], trace.wants[5]]).toEqual([0, 1]);
  expect(trace.emit(4, 1, 2, 3, 4, 77)).toBe(77);
  expect(r.events).toEqual([]);
  expect(trace.emit(5, 1, 2, 3, 4, 77)).toBe(1);
});

test("an event carries time, kind, subject, three values, its id and its cause", () => {
  const clock = new Clock();
  const trace = new Trace(clock);
  const r = new Recorder();
  trace.listen(r, [3, 9]);
  clock.advanceTo(500);
  const id = trace.emit(3, 10, 11, 12, 13, 0);
  clock.advanceTo(501);
  expect(trace.emit(9, 20, 21, 22, 23, id)).not.toBe(id);
  expect(r.events).toEqual([
    [500, 3, 10, 11, 12, 13, id, 0],
    [501, 9, 20, 21, 22, 23, id + 1, id],
  ]);
});

test("all listeners of a kind hear it in the order in which they came; each id is used once", () => {
  const trace = new Trace(new Clock());
  const order: string[] = [];
  const named = (name: string): TraceListener => ({ event: (_t, kind) => void order.push(`${name}${kind}`) });
  const [a, b] = [named("a"), named("b")];
  trace.listen(a, [1, 2]);
  trace.listen(b, [2]);
  const ids = [1, 2, 1].map(kind => trace.emit(kind, 0, 0, 0, 0, 0));
  expect(order).toEqual(["a1", "a2", "b2", "a1"]);
  expect(new Set(ids).size).toBe(3);
});

test("a listener that leaves hears nothing more; the last one of a kind takes the wish along", () => {
  const trace = new Trace(new Clock());
  const [a, b] = [new Recorder(), new Recorder()];
  trace.listen(a, [1, 2]);
  trace.listen(b, [2]);
  trace.unlisten(a);
  expect([trace.wants[1], trace.wants[2]]).toEqual([0, 1]);
  trace.emit(1, 0, 0, 0, 0, 0);
  trace.emit(2, 0, 0, 0, 0, 0);
  expect([a.events.length, b.events.length]).toEqual([0, 1]);
});

test("a listener may leave while it is told", () => {
  const trace = new Trace(new Clock());
  const b = new Recorder();
  const a: TraceListener = { event: () => trace.unlisten(a) };
  trace.listen(a, [1]);
  trace.listen(b, [1]);
  trace.emit(1, 0, 0, 0, 0, 0);
  trace.emit(1, 0, 0, 0, 0, 0);
  expect(b.events.length).toBe(2);
});
