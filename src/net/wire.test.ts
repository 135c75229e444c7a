import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import type { EthernetStation } from "../ports/ethernet.ts";
import { isGroup, macAt, macText, parseMac, putMac } from "../ports/ethernet.ts";
import { describePart } from "../ports/part.contract.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import type { Rng } from "../sim/rng.ts";
import { EthernetWire } from "./wire.ts";

type Seen = { at: number; end: number; bytes: number[] };

function make() {
  const queue = new EventQueue(new Clock());
  const part = new EthernetWire({ name: "wire", queue });
  const seen: Seen[] = [];
  const links: boolean[] = [];
  [0, 1].forEach(end => {
    const station: EthernetStation = {
      receive: (frame, length) => void seen.push({ at: queue.clock.now(), end, bytes: [...frame.subarray(0, length)] }),
      linkChanged: up => void links.push(up),
    };
    part.ports[end]!.connect(station);
  });
  const stimulate = (rng: Rng): void => {
    if (rng.chance(1, 20)) part.setLink(rng.chance(2, 3));
    const frame = Uint8Array.from({ length: 1 + rng.below(rng.pick([100, 1514, 9500])) }, () => rng.below(256));
    rng.pick(part.ports).send(frame, frame.length, 0);
  };
  return { part, queue, seen, links, stimulate, sent: () => seen.length + links.length };
}

let rig: ReturnType<typeof make>;
beforeEach(() => {
  rig = make();
});
function run(ns = 1e9): void {
  const end = rig.queue.clock.now() + ns;
  while (rig.queue.nextDeadline() <= end) {
    rig.queue.clock.advanceTo(rig.queue.nextDeadline());
    rig.queue.runDue();
  }
  rig.queue.clock.advanceTo(end);
}
const frame = (length: number, first = 1): Uint8Array => Uint8Array.from({ length }, (_, i) => (first + i) & 255);

describe("wire (IEEE 802.3, clause 4)", () => {
  it("a frame of 1514 bytes takes 1538 byte times of 8 ns at 1 Gbit/s, and a microsecond to arrive", () => {
    rig.part.ports[0].send(frame(1514), 1514, 0);
    expect(rig.part.ports[0].idleAt).toBe(12304);
    run();
    expect(rig.seen).toEqual([{ at: 13304, end: 1, bytes: [...frame(1514)] }]);
  });
  it("a short frame takes the 84 byte times of the shortest that there is: 14 880 952 frames a second at 10 Gbit/s", () => {
    const wire = new EthernetWire({ name: "fast", queue: rig.queue, megabits: 10_000, latency: 0 });
    wire.ports[1].send(frame(14), 14, 0);
    expect(wire.ports[1].idleAt).toBe(Math.ceil(1e9 / 14_880_952.38));
  });
  it("frames wait for each other, in order, and each direction has a wire of its own", () => {
    for (const first of [1, 2, 3]) rig.part.ports[0].send(frame(60, first), 60, 0);
    rig.part.ports[1].send(frame(60, 9), 60, 0);
    run();
    const order = rig.seen.map(({ at, end, bytes }) => [at, end, bytes[0]]);
    expect(order).toEqual([
      [1672, 1, 1],
      [1672, 0, 9],
      [2344, 1, 2],
      [3016, 1, 3],
    ]);
  });
  it("keeps the bytes as they were when they were sent, through the end of its ring", () => {
    const sent: number[][] = [];
    for (let i = 0; i < 200; i++) {
      const bytes = frame(1000 + i, i);
      sent.push([...bytes]);
      expect(rig.part.ports[0].send(bytes, bytes.length, 0)).toBe(true);
      bytes.fill(0xee);
      run(10_000);
    }
    run();
    expect(rig.seen.map(({ bytes }) => bytes)).toEqual(sent);
  });
  it("loses what its queue has no room for: 64 KiB or 128 frames", () => {
    const port = rig.part.ports[0];
    const accepted = (length: number): number => {
      let count = 0;
      while (count < 1000 && port.send(frame(length), length, 0)) count++;
      return count;
    };
    expect(accepted(1514)).toBe(43);
    run();
    expect(accepted(60)).toBe(128);
    expect(rig.part.state.lanes.map(({ dropped }) => dropped)).toEqual([2, 0]);
  });
  it("carries nothing longer than a tagged jumbo frame and nothing without a header", () => {
    expect([13, 14, 9018, 9019].map(length => rig.part.ports[0].send(frame(9019), length, 0))).toEqual([
      ...[false, true, true, false],
    ]);
  });
  it("a cable that is pulled loses what is on its way, tells both ends, and takes nothing", () => {
    rig.part.ports[0].send(frame(60), 60, 0);
    rig.part.setLink(false);
    rig.part.setLink(false);
    expect([rig.part.ports[0].linkUp, rig.part.ports[1].send(frame(60), 60, 0)]).toEqual([false, false]);
    run();
    expect([rig.seen, rig.links]).toEqual([[], [false, false]]);
    rig.part.setLink(true);
    expect(rig.part.ports[1].send(frame(60), 60, 0)).toBe(true);
    run();
    expect([rig.seen.length, rig.links]).toEqual([1, [false, false, true, true]]);
  });
  it("a reset of the machine does not reach what is on its way; a cold start does", () => {
    rig.part.ports[0].send(frame(60), 60, 0);
    rig.part.reset("enter", "system");
    run();
    expect(rig.seen.length).toBe(1);
    rig.part.ports[0].send(frame(60), 60, 0);
    rig.part.reset("enter", "power");
    run();
    expect(rig.seen.length).toBe(1);
  });
  it("tells its listener when the first bit leaves, whence, and what", () => {
    const heard: unknown[] = [];
    rig.part.listener = { frame: (time, from, bytes, length) => void heard.push([time, from, bytes[0], length]) };
    rig.part.ports[0].send(frame(60, 5), 60, 0);
    rig.part.ports[0].send(frame(61, 6), 61, 0);
    rig.part.ports[1].send(frame(62, 7), 62, 0);
    rig.part.ports[1].send(frame(9), 9, 0);
    expect(heard).toEqual([
      [0, 0, 5, 60],
      [672, 0, 6, 61],
      [0, 1, 7, 62],
    ]);
  });
});

describe("wire against a list of frames", () => {
  type Sent = { arrival: number; bytes: number[] };
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ end: fc.constantFrom(0, 1), length: fc.integer({ min: 10, max: 1600 }) }) },
    { weight: 1, arbitrary: fc.record({ end: fc.constantFrom(0, 1), length: fc.integer({ min: 8000, max: 9100 }) }) },
    { weight: 4, arbitrary: fc.record({ pass: fc.integer({ min: 0, max: 60_000 }) }) },
    { weight: 1, arbitrary: fc.record({ up: fc.boolean() }) },
  );
  it("accepts, delays and delivers the same, whatever is sent and when", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.constantFrom(10, 1000, 2500), (steps, megabits) => {
        const queue = new EventQueue(new Clock());
        const wire = new EthernetWire({ name: "wire", queue, megabits, latency: 777 });
        const seen: { end: number; at: number; bytes: number[] }[] = [];
        const expected: typeof seen = [];
        const onWay: [Sent[], Sent[]] = [[], []];
        const idle = [0, 0];
        let up = true;
        [0, 1].forEach(end => {
          const receive = (bytes: Uint8Array, length: number): void =>
            void seen.push({ end, at: queue.clock.now(), bytes: [...bytes.subarray(0, length)] });
          wire.ports[end]!.connect({ receive, linkChanged: () => {} });
        });
        const pass = (ns: number): void => {
          const until = queue.clock.now() + ns;
          while (queue.nextDeadline() <= until) {
            queue.clock.advanceTo(queue.nextDeadline());
            queue.runDue();
          }
          queue.clock.advanceTo(until);
          onWay.forEach((lane, end) => {
            for (const { arrival, bytes } of lane.filter(sent => sent.arrival <= until))
              expected.push({ end: 1 - end, at: arrival, bytes });
            onWay[end] = lane.filter(sent => sent.arrival > until);
          });
        };
        steps.forEach((what, n) => {
          if ("pass" in what) pass(what.pass);
          else if ("up" in what) {
            if (what.up !== up) {
              for (const lane of onWay) lane.length = 0;
              idle.fill(0);
            }
            up = what.up;
            wire.setLink(up);
          } else {
            const { end, length } = what;
            const lane = onWay[end]!;
            const bytes = Uint8Array.from({ length }, (_, i) => (n * 31 + i) & 255);
            const room = lane.length < 128 && lane.reduce((sum, sent) => sum + sent.bytes.length, length) <= 65536;
            const accepted = up && length >= 14 && length <= 9018 && room;
            expect(wire.ports[end]!.send(bytes, length, 0)).toBe(accepted);
            if (!accepted) return;
            const start = Math.max(queue.clock.now(), idle[end]!);
            idle[end] = start + Math.ceil(((Math.max(60, length) + 24) * 8000) / megabits);
            lane.push({ arrival: idle[end]! + 777, bytes: [...bytes] });
          }
        });
        pass(1e9);
        const order = (list: typeof seen): string[] =>
          [0, 1].flatMap(end => list.filter(one => one.end === end).map(one => `${end} ${one.at} ${one.bytes.join()}`));
        expect(order(seen)).toEqual(order(expected));
      }),
      { numRuns: 150 },
    );
  });
});

describePart("wire", make);

describe("MAC addresses (IEEE 802.3, 3.2.3)", () => {
  it("are read, written and shown with the first byte first", () => {
    expect(parseMac("52:54:00:12:34:56")).toBe(0x525400123456);
    expect(parseMac("FF-ff-FF-ff-FF-ff")).toBe(2 ** 48 - 1);
    expect(["", "52:54:00:12:34", "52:54:00:12:34:5", "5254.0012.3456", "g2:54:00:12:34:56"].map(parseMac)).toEqual([
      ...[null, null, null, null, null],
    ]);
    expect(macText(0x0a0b0c)).toBe("00:00:00:0a:0b:0c");
    const bytes = new Uint8Array(8);
    putMac(bytes, 1, 0x525400123456);
    expect([...bytes]).toEqual([0, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 0]);
    expect(macAt(bytes, 1)).toBe(0x525400123456);
  });
  it("are groups when the first bit on the wire is 1", () => {
    expect([0x010000000000, 0xffffffffffff, 0x333300000001, 0x525400123456, 0xfe0000000001].map(isGroup)).toEqual([
      ...[true, true, true, false, false],
    ]);
  });
});
