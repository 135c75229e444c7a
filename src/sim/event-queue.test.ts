import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HostError, ModelBug } from "../base/assert.ts";
import { Clock } from "./clock.ts";
import { type Alarm, EventQueue, PRIORITY } from "./event-queue.ts";

class Rig {
  readonly clock = new Clock();
  readonly queue = new EventQueue(this.clock);
  readonly fired: string[] = [];
  alarm(name: string, priority: number = PRIORITY.timer, then: () => void = () => {}): Alarm {
    return this.queue.alarm(
      name,
      () => {
        this.fired.push(name);
        then();
      },
      priority,
    );
  }
  /** Moves time to `time` and runs what is due. */
  at(time: number): string[] {
    this.clock.advanceTo(time);
    this.fired.length = 0;
    this.queue.runDue();
    return [...this.fired];
  }
}

describe("order", () => {
  test("by time, then priority, then the order of arming", () => {
    const r = new Rig();
    r.alarm("late", PRIORITY.line).armAt(20);
    r.alarm("host", PRIORITY.host).armAt(10);
    r.alarm("second", PRIORITY.device).armAt(10);
    const third = r.alarm("third", PRIORITY.device);
    r.alarm("fourth", PRIORITY.device).armAt(10);
    third.armAt(10);
    r.alarm("line", PRIORITY.line).armAt(10);
    expect(r.at(9)).toEqual([]);
    expect(r.at(20)).toEqual(["line", "second", "fourth", "third", "host", "late"]);
  });

  test("arming again moves an alarm behind its equals", () => {
    const r = new Rig();
    const a = r.alarm("a");
    a.armAt(5);
    r.alarm("b").armAt(5);
    a.armAt(5);
    expect(r.at(5)).toEqual(["b", "a"]);
  });

  test("a deadline in the past means now; Infinity means never", () => {
    const r = new Rig();
    r.clock.advanceTo(100);
    const a = r.alarm("a");
    a.armAt(1);
    expect(r.at(100)).toEqual(["a"]);
    a.armAt(200);
    a.armAt(Number.POSITIVE_INFINITY);
    expect([a.armed, a.deadline, r.queue.nextDeadline()]).toEqual([false, Infinity, Infinity]);
    a.armIn(7);
    expect(r.queue.nextDeadline()).toBe(107);
  });

  test("deadlines are whole nanoseconds, names are unique", () => {
    const r = new Rig();
    expect(() => r.alarm("a").armAt(1.5)).toThrow(ModelBug);
    expect(() => r.alarm("b").armAt(Number.NaN)).toThrow(ModelBug);
    expect(() => r.alarm("a")).toThrow(/exists already/);
  });
});

describe("inside a callback", () => {
  test("an alarm is not armed any more while it fires, and may arm itself again, for now too", () => {
    const r = new Rig();
    let left = 3;
    const a: Alarm = r.alarm("a", PRIORITY.timer, () => {
      expect([a.armed, a.deadline]).toEqual([false, Infinity]);
      if (--left > 0) a.armAt(r.clock.now());
      else a.armIn(10);
    });
    a.armAt(5);
    expect(r.at(5)).toEqual(["a", "a", "a"]);
    expect(r.queue.nextDeadline()).toBe(15);
  });

  test("an alarm cancelled by an earlier one of the same instant does not fire; one armed for now does", () => {
    const r = new Rig();
    const victim = r.alarm("victim");
    const extra = r.alarm("extra", PRIORITY.line);
    r.alarm("first", PRIORITY.line, () => {
      victim.cancel();
      extra.armAt(5);
    }).armAt(5);
    victim.armAt(5);
    r.alarm("last", PRIORITY.host).armAt(5);
    expect(r.at(5)).toEqual(["first", "extra", "last"]);
    victim.cancel();
    expect(victim.armed).toBe(false);
  });

  test("an alarm pushed later by an earlier one fires at its new time only", () => {
    const r = new Rig();
    const moved = r.alarm("moved");
    r.alarm("first", PRIORITY.line, () => moved.armIn(1)).armAt(5);
    moved.armAt(5);
    expect(r.at(5)).toEqual(["first"]);
    expect(r.at(6)).toEqual(["moved"]);
  });
});

describe("onEarlier", () => {
  test("is told when the earliest deadline moves earlier, and only then", () => {
    const r = new Rig();
    const seen: number[] = [];
    const [a, b] = [r.alarm("a"), r.alarm("b")];
    r.queue.onEarlier = () => seen.push(r.queue.nextDeadline());
    a.armAt(100);
    b.armAt(100);
    b.armAt(200);
    b.armAt(50);
    b.armAt(60);
    a.armAt(55);
    a.cancel();
    b.armAt(59);
    expect(seen).toEqual([100, 50, 55, 59]);
  });
});

describe("save and load", () => {
  test("keeps the order of equals and of what is armed afterwards; drops what was armed before", () => {
    const make = (): [Rig, Alarm[]] => {
      const r = new Rig();
      return [r, ["a", "b", "c", "d"].map(name => r.alarm(name))];
    };
    const [one, alarms] = make();
    for (const i of [2, 0, 3, 1]) alarms[i]!.armAt(7);
    alarms[0]!.armAt(7);
    alarms[3]!.cancel();
    const saved = one.queue.save();

    const [two, copies] = make();
    copies[3]!.armAt(1);
    two.queue.load(saved);
    expect(two.queue.save()).toEqual(saved);
    copies[2]!.armAt(7);
    alarms[2]!.armAt(7);
    expect(two.at(7)).toEqual(["b", "a", "c"]);
    expect(one.at(7)).toEqual(["b", "a", "c"]);
  });

  test("loading tells nobody, and an alarm that the machine lacks is the snapshot's fault", () => {
    const r = new Rig();
    r.alarm("a").armAt(3);
    const saved = r.queue.save();
    const other = new Rig();
    expect(() => other.queue.load(saved)).toThrow(HostError);
    const same = new Rig();
    same.alarm("a");
    same.queue.onEarlier = () => expect.unreachable();
    same.queue.load(saved);
    expect(same.queue.nextDeadline()).toBe(3);
  });

  test("the saved form does not depend on the heap's shape", () => {
    const [one, two] = [new Rig(), new Rig()];
    for (const name of ["a", "b", "c", "d", "e"]) {
      one.alarm(name).armAt(10);
      two.alarm(name).armAt(10);
    }
    const extra = two.alarm("x");
    two.queue.load({ ...two.queue.save(), armed: [...two.queue.save().armed].reverse() });
    expect(extra.armed).toBe(false);
    expect(two.queue.save()).toEqual(one.queue.save());
  });
});

test("any sequence of arming, cancelling and running agrees with a sorted list", () => {
  type Entry = { name: number; deadline: number; priority: number; sequence: number };
  const step = fc.record({ what: fc.integer({ min: 0, max: 9 }), alarm: fc.nat(7), time: fc.nat(30) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), steps => {
      const r = new Rig();
      const alarms = Array.from({ length: 8 }, (_, i) => r.alarm(String(i), i & 3));
      let model: Entry[] = [];
      let sequence = 0;
      for (const { what, alarm, time } of steps) {
        const now = r.clock.now();
        if (what < 6) {
          alarms[alarm]!.armAt(now + time - 5);
          model = model.filter(e => e.name !== alarm);
          model.push({ name: alarm, deadline: now + time - 5, priority: alarm & 3, sequence: sequence++ });
        } else if (what < 7) {
          alarms[alarm]!.cancel();
          model = model.filter(e => e.name !== alarm);
        } else if (what < 8) r.queue.load(r.queue.save());
        else {
          model.sort((x, y) => x.deadline - y.deadline || x.priority - y.priority || x.sequence - y.sequence);
          const due = model.filter(e => e.deadline <= now + time);
          expect(r.at(now + time)).toEqual(due.map(e => String(e.name)));
          model = model.filter(e => e.deadline > now + time);
        }
        expect(r.queue.nextDeadline()).toBe(Math.min(Infinity, ...model.map(e => e.deadline)));
      }
    }),
    { numRuns: 200, seed: 1 },
  );
});
