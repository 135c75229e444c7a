import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describePart } from "../../ports/part.contract.ts";
import { EVENT } from "../../ports/events.ts";
import { Driver, DriverQueue, fixture, type Piece, VERSION_1, VirtioRig } from "./driver.testing.ts";
import { Inverter, SIZE } from "./inverter.testing.ts";

const INDIRECT = 28;
const EVENT_INDEX = 29;

function start(features: readonly number[] = [VERSION_1], batch = 4) {
  const rig = new VirtioRig((slot, queue) => new Inverter(slot, queue, batch));
  const driver = new Driver(rig);
  expect(driver.negotiate(features)).toBe(true);
  const ring = new DriverQueue(rig, driver, 0, { base: 0x10000 });
  ring.enable();
  driver.ready();
  return { rig, driver, ring, space: rig.board.space };
}

const put = (space: ReturnType<typeof start>["space"], address: number, bytes: readonly number[]): void => {
  bytes.forEach((byte, i) => {
    space.write(address + i, 1, byte);
  });
};
const get = (space: ReturnType<typeof start>["space"], address: number, length: number): number[] =>
  Array.from({ length }, (_, i) => space.read(address + i, 1));

describe("split virtqueue: chains (VIRTIO 1.2, 2.7.5, 2.7.13)", () => {
  it("reads the readable buffers and writes the writable ones, and returns the head with the bytes written", () => {
    const { rig, ring, space } = start();
    put(space, 0x1000, [1, 2, 3]);
    put(space, 0x2000, [4]);
    const head = ring.add([
      { address: 0x1000, length: 3, write: false },
      { address: 0x2000, length: 1, write: false },
      { address: 0x3000, length: 2, write: true },
      { address: 0x4000, length: 9, write: true },
    ]);
    ring.kick();
    rig.run();
    expect(ring.fetch()).toEqual({ head, written: 4 });
    expect([get(space, 0x3000, 3), get(space, 0x4000, 3)]).toEqual([
      [254, 253, 0],
      [252, 251, 0],
    ]);
  });
  it("takes indirect tables, also behind ordinary descriptors, and ignores the write flag of the one that leads there (2.7.5.3.2)", () => {
    const { rig, ring, space } = start([VERSION_1, INDIRECT]);
    put(space, 0x1000, [1, 2]);
    const pieces: Piece[] = [
      { address: 0x1000, length: 1, write: false },
      { address: 0x1001, length: 1, write: false },
      { address: 0x3000, length: 2, write: true },
    ];
    const heads = [ring.add(pieces, 0x5000, 3), ring.add(pieces, 0x5100, 2)];
    space.write(ring.desc + 16 * heads[0]! + 12, 2, 4 | 2);
    ring.kick();
    rig.run();
    expect([ring.fetch(), ring.fetch()]).toEqual([
      { head: heads[0], written: 2 },
      { head: heads[1], written: 2 },
    ]);
    expect(rig.part.chains.map(({ bytes }) => bytes)).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });
  it("indices wrap at 2^16 and places at the queue size", () => {
    const { rig, ring } = start();
    const s = rig.part.queues[0]!.state;
    for (let i = 0; i < 5; i++) {
      ring.add([{ address: 0x1000, length: 1, write: false }]);
      ring.kick();
      rig.run(10_000);
      expect(ring.fetch()).not.toBeNull();
    }
    expect([s.taken, ring.usedIndex]).toEqual([5, 5]);
    s.taken = s.pushed = s.published = 0xfffe;
    rig.board.space.write(ring.used + 2, 2, 0xfffe);
    for (let i = 0; i < 3; i++) {
      rig.board.space.write(ring.avail + 4 + 2 * ((0xfffe + i) % SIZE), 2, i);
      ring.writeDescriptor(ring.desc + 16 * i, { address: 0x1000, length: 1 }, 0, 0);
    }
    ring.publish(1);
    rig.part.structures.write(0x3000, 2, 0);
    rig.run();
    expect(ring.usedIndex).toBe(1);
    expect([14, 15, 0].map(place => rig.board.space.read(ring.used + 4 + 8 * place, 4))).toEqual([0, 1, 2]);
  });
  it("a smaller queue than the device's largest", () => {
    const rig = new VirtioRig((slot, queue) => new Inverter(slot, queue));
    const driver = new Driver(rig);
    driver.negotiate([VERSION_1]);
    const ring = new DriverQueue(rig, driver, 0, { base: 0x10000, size: 4 });
    expect(ring.size).toBe(4);
    ring.enable();
    driver.ready();
    for (let i = 0; i < 11; i++) {
      const head = ring.add([{ address: 0x1000, length: 1, write: false }]);
      ring.kick();
      rig.run(10_000);
      expect(ring.fetch()).toEqual({ head, written: 0 });
    }
  });
  it("buffers that a transfer does not reach, or of no length, are not accessed", () => {
    const { rig, ring } = start();
    const lengths: number[] = [];
    rig.board.trace.listen({ event: (_t, _k, _s, _a, length) => void lengths.push(length) }, [EVENT.dmaWrite]);
    ring.add([
      { address: 0x1000, length: 0, write: false },
      { address: 0x1000, length: 3, write: false },
      { address: 0x2000, length: 0, write: true },
      { address: 0x2000, length: 2, write: true },
      { address: 0x3000, length: 4, write: true },
    ]);
    ring.kick();
    rig.run();
    // 2 and 1 of the 3 bytes, the entry of the used ring (8), its index (2).
    expect(lengths).toEqual([2, 1, 8, 2]);
  });
});

describe("split virtqueue: notifications (2.7.7, 2.7.10)", () => {
  const one: Piece[] = [{ address: 0x1000, length: 1, write: false }];

  it("interrupts once for what comes back together, unless VIRTQ_AVAIL_F_NO_INTERRUPT is set", () => {
    const { rig, driver, ring } = start();
    rig.part.chainNs = 0;
    driver.useMsix(3);
    driver.write(22, 2, 0);
    driver.write(26, 2, 1);
    for (let i = 0; i < 3; i++) ring.add(one);
    ring.kick();
    rig.run();
    expect(rig.board.messages.map(({ data }) => data)).toEqual([0x41]);
    ring.setFlags(1);
    ring.add(one);
    ring.kick();
    rig.run();
    expect([rig.board.messages.length, ring.usedIndex]).toEqual([1, 4]);
  });
  it("with VIRTIO_F_EVENT_IDX interrupts exactly when used idx passes used_event, and ignores the flag", () => {
    const { rig, driver, ring } = start([VERSION_1, EVENT_INDEX], 1);
    driver.useMsix(3);
    driver.write(22, 2, 0);
    driver.write(26, 2, 0);
    ring.setFlags(1);
    const after: number[] = [];
    for (const event of [0, 0, 2, 5, 5, 5, 5]) {
      ring.setUsedEvent(event);
      ring.add(one);
      ring.kick();
      rig.run(10_000);
      ring.fetch();
      after.push(rig.board.messages.length);
    }
    // used idx: 1 2 3 4 5 6 7; entries 0, 2 and 5 are the ones asked for.
    expect(after).toEqual([1, 1, 2, 2, 2, 3, 3]);
  });
  it("with VIRTIO_F_EVENT_IDX asks for a notification of the next chain when the ring is empty", () => {
    const { rig, ring } = start([VERSION_1, EVENT_INDEX]);
    for (let i = 0; i < 3; i++) ring.add(one);
    ring.kick();
    rig.run();
    expect(ring.availEvent).toBe(3);
  });
  it("without it, used flags stay 0: the driver notifies always", () => {
    const { rig, ring } = start();
    ring.add(one);
    ring.kick();
    rig.run();
    expect([rig.board.space.read(ring.used, 2), ring.availEvent]).toEqual([0, 0]);
  });
  it("the driver sees each chain at the end of its own time, one after the other, with an interrupt for each", () => {
    const { rig, driver, ring } = start([VERSION_1], 2);
    driver.useMsix(3);
    driver.write(22, 2, 0);
    driver.write(26, 2, 1);
    for (let i = 0; i < 5; i++) ring.add(one);
    ring.kick();
    rig.run(100);
    // Two are under way at a time.
    expect(rig.part.chains.length).toBe(2);
    const seen = (): number[] => [ring.usedIndex, rig.board.messages.length, rig.part.chains.length];
    for (let n = 1; n <= 5; n++) {
      rig.run(999);
      expect(seen()).toEqual([n - 1, n - 1, Math.min(n + 1, 5)]);
      rig.run(1);
      expect(seen()).toEqual([n, n, Math.min(n + 2, 5)]);
    }
    rig.run();
    expect([seen(), rig.queue.nextDeadline()]).toEqual([[5, 5, 5], Number.POSITIVE_INFINITY]);
  });
  it("what a chain that comes later takes begins when the ones before it are over", () => {
    const { rig, ring } = start();
    ring.add(one);
    ring.kick();
    rig.run(100 + 600);
    ring.add(one);
    ring.kick();
    rig.run(400);
    expect(ring.usedIndex).toBe(1);
    rig.run(600);
    ring.add(one);
    ring.kick();
    rig.run(399);
    expect(ring.usedIndex).toBe(1);
    rig.run(1);
    expect(ring.usedIndex).toBe(2);
    rig.run(999);
    expect(ring.usedIndex).toBe(2);
    rig.run(1);
    expect(ring.usedIndex).toBe(3);
  });
  it("on a modelled bus a chain comes back when its bytes have had their time there, and what is over meanwhile asks then", () => {
    const asked: number[] = [];
    let pending = 0;
    let granted = (): void => {};
    const rig = new VirtioRig(
      (slot, queue) =>
        new Inverter(slot, queue, 4, done => {
          granted = () => {
            pending = 0;
            done();
          };
          const request = (bytes: number): void => {
            asked.push(bytes);
            pending = bytes;
          };
          return {
            get pending() {
              return pending;
            },
            request,
            cancel: () => {
              pending = 0;
            },
          };
        }),
    );
    const driver = new Driver(rig);
    driver.negotiate([VERSION_1]);
    const ring = new DriverQueue(rig, driver, 0, { base: 0x10000 });
    ring.enable();
    driver.ready();
    for (const length of [1, 2, 4]) ring.add([{ address: 0x1000, length, write: false }]);
    ring.kick();
    rig.run(100 + 1000);
    expect([asked, ring.usedIndex]).toEqual([[1], 0]);
    // A doorbell does not disturb it, and time that goes by only gathers.
    ring.kick();
    rig.run(5000);
    expect([asked, ring.usedIndex]).toEqual([[1], 0]);
    ring.add([{ address: 0x1000, length: 8, write: false }]);
    ring.kick();
    granted();
    expect(ring.usedIndex).toBe(1);
    rig.run(0);
    expect([asked, ring.usedIndex]).toEqual([[1, 6], 1]);
    granted();
    expect(ring.usedIndex).toBe(3);
    // The device began with the last one when it could fetch it.
    rig.run(999);
    expect(asked).toEqual([1, 6]);
    rig.run(1);
    expect(asked).toEqual([1, 6, 8]);
    driver.status = 0;
    expect(pending).toBe(0);
    rig.run();
    expect([asked, rig.queue.nextDeadline()]).toEqual([[1, 6, 8], Number.POSITIVE_INFINITY]);
  });
  it("a reset forgets what is under way", () => {
    const { rig, driver, ring } = start();
    for (let i = 0; i < 3; i++) ring.add(one);
    ring.kick();
    rig.run(100 + 1000);
    expect(ring.usedIndex).toBe(1);
    driver.status = 0;
    rig.run();
    expect([ring.usedIndex, rig.queue.nextDeadline()]).toEqual([1, Number.POSITIVE_INFINITY]);
    expect(rig.part.queues[0]!.state.due.every(time => time === 0)).toBe(true);
  });
  it("a doorbell while the device is at work neither hastens nor delays anything", () => {
    const { rig, driver, ring } = start();
    ring.add(one);
    ring.kick();
    rig.run(50);
    driver.notify(0);
    rig.run(49);
    expect(rig.part.chains).toHaveLength(0);
    rig.run(1);
    expect(rig.part.chains).toHaveLength(1);
    driver.notify(0);
    rig.run(999);
    expect(ring.usedIndex).toBe(0);
    rig.run(1);
    expect(ring.usedIndex).toBe(1);
  });
  it("doorbell, descriptor, completion and message are one chain of causes", () => {
    const { rig, driver, ring } = start();
    const events: { kind: number; a: number; b: number; id: number; cause: number }[] = [];
    rig.board.trace.listen(
      { event: (_t, kind, _s, a, b, _c, id, cause) => void events.push({ kind, a, b, id, cause }) },
      [EVENT.doorbell, EVENT.descriptor, EVENT.completion, EVENT.dmaWrite],
    );
    driver.useMsix(3);
    driver.write(22, 2, 0);
    driver.write(26, 2, 0);
    const head = ring.add([
      { address: 0x1000, length: 2, write: false },
      { address: 0x2000, length: 2, write: true },
    ]);
    ring.kick();
    rig.run();
    const [doorbell] = events.filter(({ kind }) => kind === EVENT.doorbell);
    const [descriptor] = events.filter(({ kind }) => kind === EVENT.descriptor);
    const [completion] = events.filter(({ kind }) => kind === EVENT.completion);
    expect(descriptor).toMatchObject({ a: 0, b: ring.desc + 16 * head, cause: doorbell!.id });
    expect(completion).toMatchObject({ a: 0, b: 4, cause: descriptor!.id });
    expect(events.filter(({ kind, cause }) => kind === EVENT.dmaWrite && cause === descriptor!.id)).toHaveLength(2);
  });
});

describe("split virtqueue: causes", () => {
  it("a chain that the device finds by itself was caused by no doorbell", () => {
    const { rig, ring } = start();
    const causes: number[] = [];
    let bell = 0;
    const event = (
      _t: number,
      kind: number,
      _s: number,
      _a: number,
      _b: number,
      _c: number,
      id: number,
      cause: number,
    ) => {
      if (kind === EVENT.doorbell) bell = id;
      else causes.push(cause);
    };
    rig.board.trace.listen({ event }, [EVENT.doorbell, EVENT.descriptor]);
    ring.add([{ address: 0x1000, length: 1, write: false }]);
    ring.kick();
    rig.run(150);
    ring.add([{ address: 0x1000, length: 1, write: false }]);
    ring.publish();
    rig.run();
    expect([bell > 0, causes]).toEqual([true, [bell, 0]]);
  });
});

describe("split virtqueue: a driver that breaks the rules finds DEVICE_NEEDS_RESET (2.1.2)", () => {
  const one: Piece[] = [{ address: 0x1000, length: 1, write: false }];
  type Broken = (s: ReturnType<typeof start>) => void;
  const cases: [string, RegExp, Broken][] = [
    ["more chains than the queue has places", /17 chains/, ({ ring }) => ring.publish(17)],
    ["avail idx goes back", /65535 chains/, ({ ring }) => ring.publish(0xffff)],
    [
      "a head that is no descriptor",
      /descriptor 16 /,
      ({ ring }) => {
        ring.offer(16);
        ring.publish();
      },
    ],
    [
      "next leads outside the table",
      /descriptor 99 /,
      ({ ring }) => {
        ring.writeDescriptor(ring.desc, { address: 0x1000, length: 1 }, 1, 99);
        ring.offer(0);
        ring.publish();
      },
    ],
    [
      "a loop",
      /no end/,
      ({ ring }) => {
        ring.writeDescriptor(ring.desc, { address: 0x1000, length: 1 }, 1, 1);
        ring.writeDescriptor(ring.desc + 16, { address: 0x1000, length: 1 }, 1, 0);
        ring.offer(0);
        ring.publish();
      },
    ],
    [
      "a readable buffer behind a writable one (2.7.4.2)",
      /readable buffer behind/,
      ({ ring }) => {
        ring.add([{ address: 0x1000, length: 1, write: true }, ...one]);
        ring.publish();
      },
    ],
    [
      "more than 2^32 bytes",
      /2\^32/,
      ({ ring }) => {
        ring.add([
          { address: 0, length: 0xffffffff, write: false },
          { address: 0, length: 2, write: false },
        ]);
        ring.publish();
      },
    ],
    [
      "more than 2^32 bytes, counting both kinds",
      /2\^32/,
      ({ ring }) => {
        ring.add([
          { address: 0, length: 2, write: false },
          { address: 0, length: 0xffffffff, write: true },
        ]);
        ring.publish();
      },
    ],
    [
      "an indirect table inside an indirect table (2.7.5.3.1)",
      /in an indirect table/,
      ({ ring, space }) => {
        ring.add(one, 0x5000, 1);
        space.write(0x500c, 2, 4);
        ring.publish();
      },
    ],
    [
      "INDIRECT together with NEXT",
      /has a next one/,
      ({ ring, space }) => {
        ring.add(one, 0x5000, 1);
        space.write(ring.desc + 12, 2, 5);
        ring.publish();
      },
    ],
    [
      "an indirect table that is no multiple of 16",
      /table of 24 bytes/,
      ({ ring, space }) => {
        ring.add(one, 0x5000, 1);
        space.write(ring.desc + 8, 4, 24);
        ring.publish();
      },
    ],
    [
      "an empty indirect table",
      /table of 0 bytes/,
      ({ ring, space }) => {
        ring.add(one, 0x5000, 1);
        space.write(ring.desc + 8, 4, 0);
        ring.publish();
      },
    ],
    [
      "an indirect table longer than the queue",
      /table of 272 bytes/,
      ({ ring }) => {
        ring.add(
          Array.from({ length: 17 }, () => one[0]!),
          0x5000,
          17,
        );
        ring.publish();
      },
    ],
    [
      "next leads outside an indirect table",
      /descriptor 2 in a table of 2/,
      ({ ring, space }) => {
        ring.add([...one, ...one], 0x5000, 2);
        space.write(0x500e, 2, 2);
        ring.publish();
      },
    ],
    [
      "descriptors where there is no memory",
      /refuses an access at 0x70000000/,
      ({ rig, ring }) => {
        rig.part.queues[0]!.state.addresses[0] = 0x70000000;
        ring.add(one);
        ring.publish();
      },
    ],
  ];

  it.each(cases)("%s", (_, reason, act) => {
    const s = start([VERSION_1, INDIRECT]);
    act(s);
    s.driver.notify(0);
    s.rig.run();
    expect([s.rig.part.failure, s.driver.status]).toEqual([expect.stringMatching(reason), 0x4f]);
    expect([s.ring.usedIndex, s.rig.part.state.device.own.served]).toEqual([0, 0]);
    // "MUST send a device configuration change notification"
    expect([s.rig.pin, s.rig.board.space.read(s.driver.isr, 1)]).toEqual([true, 2]);
    s.driver.status = 0;
    expect([s.driver.status, s.rig.part.failure]).toEqual([0, ""]);
  });
  it("an indirect descriptor that was not agreed on", () => {
    const s = start();
    s.ring.add(one, 0x5000, 1);
    s.ring.kick();
    s.rig.run();
    expect(s.rig.part.failure).toMatch(/not agreed/);
  });
  it("nothing happens after that: no doorbell, no completion of what was under way", () => {
    const s = start([VERSION_1], 1);
    s.ring.add(one);
    s.ring.kick();
    s.rig.run(150);
    s.ring.publish(17 + 1);
    s.rig.run();
    expect(s.driver.status & 0x40).toBe(0x40);
    expect(s.ring.usedIndex).toBe(1);
    s.ring.publish(2);
    s.driver.notify(0);
    s.rig.run();
    expect(s.ring.usedIndex).toBe(1);
  });
  it("a bus master that is cut just finds nothing", () => {
    const s = start();
    s.ring.add(one);
    s.rig.part.configWrite(4, 2, 2);
    s.ring.kick();
    s.rig.run();
    expect([s.driver.status, s.ring.usedIndex]).toEqual([15, 0]);
    s.rig.part.configWrite(4, 2, 6);
    s.driver.notify(0);
    s.rig.run();
    expect(s.ring.usedIndex).toBe(1);
  });
  it("a chain longer than the queue, part of it in an indirect table (2.7.5.3.1)", () => {
    const rig = new VirtioRig((slot, queue) => new Inverter(slot, queue));
    const driver = new Driver(rig);
    driver.negotiate([VERSION_1, INDIRECT]);
    const ring = new DriverQueue(rig, driver, 0, { base: 0x10000, size: 4 });
    ring.enable();
    driver.ready();
    ring.add([...one, ...one, ...one, ...one], 0x5000, 2);
    ring.kick();
    rig.run();
    expect([ring.fetch()?.written, rig.part.failure]).toEqual([0, ""]);
    ring.add([...one, ...one, ...one, ...one, ...one], 0x5000, 2);
    ring.kick();
    rig.run();
    expect(rig.part.failure).toMatch(/too long/);
  });
  it("more chains in the device's hands than the queue has places", () => {
    const { rig, ring } = start();
    const queue = rig.part.queues[0]!;
    for (let i = 0; i < SIZE; i++) ring.add(one);
    ring.publish();
    expect(queue.take()).not.toBeNull();
    ring.publish(SIZE + 1);
    expect(queue.take()).toBeNull();
    expect(rig.part.failure).toMatch(/17 chains in a queue of 16/);
  });
  it("what is put back comes again", () => {
    const { rig, ring } = start();
    const queue = rig.part.queues[0]!;
    const heads = [ring.add(one), ring.add(one)];
    ring.publish();
    const other = queue.newChain();
    expect([queue.take()?.head, queue.take(other)?.head, other.head]).toEqual([heads[0], heads[1], heads[1]]);
    queue.putBack(2);
    expect([queue.take()?.head, queue.take()?.head, queue.take()]).toEqual([...heads, null]);
  });
  it("buffers that memory refuses are the device's business", () => {
    const s = start();
    s.ring.add([{ address: 0x70000000, length: 4, write: true }]);
    s.ring.add([
      { address: 0x1000, length: 4, write: false },
      { address: 0x70000000, length: 4, write: true },
    ]);
    s.ring.kick();
    s.rig.run();
    expect([s.driver.status, s.ring.fetch()?.written, s.ring.fetch()?.written]).toEqual([15, 0, 0]);
  });
});

describe("split virtqueue against a driver that keeps its own books", () => {
  const piece = fc.record({ length: fc.integer({ min: 0, max: 40 }), write: fc.boolean() });
  const request = fc.record({
    pieces: fc.array(piece, { minLength: 1, maxLength: 6 }),
    indirect: fc.nat(6),
    wait: fc.constantFrom(0, 50, 1500, 20_000),
    kick: fc.boolean(),
  });

  it("every chain comes back once, in order, with the right bytes, and the driver that follows the hints never waits in vain", () => {
    fc.assert(
      fc.property(
        fc.array(request, { minLength: 1, maxLength: 60 }),
        fc.constantFrom(2, 4, 16),
        fc.boolean(),
        fc.integer({ min: 1, max: 5 }),
        fc.nat(0xffff),
        (requests, size, eventIndex, batch, origin) => {
          run(requests, { size, eventIndex, batch, origin });
        },
      ),
      { numRuns: 150 },
    );
  });

  type Request = { pieces: { length: number; write: boolean }[]; indirect: number; wait: number; kick: boolean };
  type Setting = { size: number; eventIndex: boolean; batch: number; origin: number };

  function run(requests: readonly Request[], { size, eventIndex, batch, origin }: Setting): void {
    const rig = new VirtioRig((slot, queue) => new Inverter(slot, queue, batch));
    const { space } = rig.board;
    const driver = new Driver(rig);
    driver.negotiate([VERSION_1, INDIRECT, ...(eventIndex ? [EVENT_INDEX] : [])]);
    const ring = new DriverQueue(rig, driver, 0, { base: 0x10000, size, origin });
    rig.part.queues[0]!.state.taken = rig.part.queues[0]!.state.pushed = rig.part.queues[0]!.state.published = origin;
    ring.enable();
    driver.ready();
    const waiting: { head: number; from: number; written: number; expected: number[]; to: Piece[] }[] = [];
    let hinted = ring.availIndex;
    let counter = 0;
    const drain = (): void => {
      for (let used = ring.fetch(); used !== null; used = ring.fetch()) {
        const wanted = waiting.shift()!;
        expect(used).toEqual({ head: wanted.head, written: wanted.written });
        const got = wanted.to.flatMap(({ address, length }) => get(space, address, length));
        expect(got.slice(0, wanted.written)).toEqual(wanted.expected);
      }
    };
    const kick = (): void => {
      const before = hinted;
      ring.publish();
      hinted = ring.availIndex;
      // 2.7.10.1: notify when avail_event was passed.
      const passed = ((hinted - ring.availEvent - 1) & 0xffff) < ((hinted - before) & 0xffff);
      if (!eventIndex || passed) driver.notify(0);
    };
    for (const { pieces, indirect, wait, kick: now } of requests) {
      const sorted = [...pieces].sort((a, b) => Number(a.write) - Number(b.write)).slice(0, size);
      let at = 0x20000 + ((counter % 64) << 9);
      const table = 0x40000 + ((counter % 64) << 8);
      counter++;
      const chain = sorted.map(({ length, write }) => ({ address: (at += 48) - 48, length, write }));
      const from = chain.filter(({ write }) => !write);
      const to = chain.filter(({ write }) => write);
      const bytes: number[] = [];
      for (const { address, length } of from)
        for (let i = 0; i < length; i++) {
          const byte = (counter * 7 + bytes.length) & 0xff;
          bytes.push(byte);
          space.write(address + i, 1, byte);
        }
      const room = to.reduce((sum, { length }) => sum + length, 0);
      const written = Math.min(room, bytes.length);
      const expected = bytes.slice(0, written).map(byte => 255 - byte);
      const entries = Math.min(indirect, chain.length);
      let head = ring.add(chain, table, entries);
      if (head < 0) {
        kick();
        rig.run(1_000_000);
        drain();
        head = ring.add(chain, table, entries);
      }
      if (head < 0) continue;
      waiting.push({ head, from: at, written, expected, to });
      if (now) kick();
      rig.run(wait);
      if (now) drain();
    }
    kick();
    rig.run(1_000_000);
    drain();
    expect([waiting.length, rig.part.failure, ring.free.length]).toEqual([0, "", size]);
  }
});

describePart("virtio function with a paced queue", () => {
  return fixture(new VirtioRig((slot, queue) => new Inverter(slot, queue)));
});
