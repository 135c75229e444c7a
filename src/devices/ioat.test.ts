import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { describePart } from "../ports/part.contract.ts";
import { TestBoard } from "../pci/board.testing.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import type { Rng } from "../sim/rng.ts";
import {
  IOAT,
  IOAT_CHANNEL,
  IOAT_CONTROL,
  IOAT_DESCRIPTOR_CONTROL,
  IOAT_ERROR,
  IOAT_NULL,
  IOAT_OPERATION,
  IOAT_STATUS,
} from "./ioat.regs.ts";
import { Ioat } from "./ioat.ts";

const BASE = 0xe0000000;
/** Where the tests put things in the MiB of RAM. */
const CHAIN = 0x10000;
const COMPLETION = 0x8000;
const SOURCE = 0x40000;
const TARGET = 0x80000;
const { interrupt, completion } = IOAT_DESCRIPTOR_CONTROL;

type Descriptor = {
  readonly operation?: number;
  readonly size: number;
  readonly source?: number;
  readonly destination?: number;
  readonly flags?: number;
  /** Of an XOR: all sources. */
  readonly sources?: readonly number[];
  readonly next?: number;
};

function make(channels = 2) {
  const queue = new EventQueue(new Clock());
  const board = new TestBoard();
  const part = new Ioat(board.slot("ioat", 4), { queue, channels });
  return { part, queue, board };
}

let rig: ReturnType<typeof make>;
const write = (offset: number, width: number, value: number): void =>
  rig.board.space.write(BASE + offset, width, value >>> 0);
const read = (offset: number, width: number): number => rig.board.space.read(BASE + offset, width);
const channel = (offset: number, n = 0): number => 0x80 * (n + 1) + offset;
const status = (): number => read(channel(IOAT_CHANNEL.statusLow), 4) & 7;
const error = (): number => read(channel(IOAT_CHANNEL.error), 4);
const ram = (): DataView => new DataView(rig.board.space.ram.buffer as ArrayBuffer);
const bytes = (at: number, length: number): number[] => [...rig.board.space.ram.bytes.subarray(at, at + length)];

function run(ns = 1e9): void {
  const { queue } = rig;
  const end = queue.clock.now() + ns;
  while (queue.nextDeadline() <= end) {
    queue.clock.advanceTo(queue.nextDeadline());
    queue.runDue();
  }
  queue.clock.advanceTo(end);
}

function writeDescriptor(at: number, d: Descriptor, next: number): number {
  const view = ram();
  const put = (offset: number, value: number): void => view.setBigUint64(at + offset, BigInt(value), true);
  const sources = d.sources ?? [d.source ?? 0];
  const count = d.sources === undefined ? 0 : (sources.length - 2) << 5;
  view.setUint32(at, d.size, true);
  view.setUint32(at + 4, (((d.operation ?? IOAT_OPERATION.copy) << 24) | (d.flags ?? 0) | count) >>> 0, true);
  put(8, sources[0]!);
  put(16, d.destination ?? 0);
  sources.slice(1, 5).forEach((source, i) => {
    put(32 + 8 * i, source);
  });
  if (sources.length <= 5) {
    put(24, d.next ?? next);
    return 1;
  }
  put(24, at + 64);
  sources.slice(5).forEach((source, i) => {
    put(64 + 8 * i, source);
  });
  put(64 + 24, d.next ?? next + 64);
  return 2;
}

/** Puts a chain into memory; returns how many times 64 bytes it has. */
function chain(descriptors: readonly Descriptor[], at = CHAIN): number {
  let slots = 0;
  for (const d of descriptors) slots += writeDescriptor(at + slots * 64, d, at + (slots + 1) * 64);
  return slots;
}

function start(count: number, at = CHAIN): void {
  write(channel(IOAT_CHANNEL.completionLow), 4, COMPLETION);
  write(channel(IOAT_CHANNEL.completionHigh), 4, 0);
  write(channel(IOAT_CHANNEL.chainLow), 4, at);
  write(channel(IOAT_CHANNEL.chainHigh), 4, 0);
  write(channel(IOAT_CHANNEL.count), 2, count);
}

function build(): void {
  rig = make();
  for (const phase of ["enter", "hold", "exit"] as const) rig.part.reset(phase);
  rig.part.configWrite(0x10, 4, BASE);
  rig.part.configWrite(4, 2, 6);
  for (let i = 0; i < 0x20000; i++) rig.board.space.ram.bytes[SOURCE + i] = (i * 7 + (i >> 8)) & 0xff;
}
beforeEach(build);
const pin = (): boolean => rig.board.lines[0]!.level;

describePart("ioat", () => {
  const { part, queue, board } = make();
  const stimulate = (rng: Rng): void => {
    const offset = rng.pick(Object.values(IOAT_CHANNEL));
    // Memory is nobody's state here, so nothing is written to it.
    const isCompletion = offset === IOAT_CHANNEL.completionLow || offset === IOAT_CHANNEL.completionHigh;
    const value = rng.pick([0, 0x1000, 0x40, 3, 0x1f, rng.u32()]);
    part.window.write(0x80 + (offset & ~3), 4, isCompletion ? 0x50000000 : value);
    part.window.write(0x86, 2, rng.below(4));
    if (rng.chance(1, 4)) part.window.write(0x84, 1, rng.pick([4, 8, 0x20]));
    if (rng.chance(1, 3)) part.configWrite(4, 2, rng.pick([0, 6, 6, 0x406]));
    if (rng.chance(1, 3)) part.window.write(3, 1, rng.below(16));
  };
  return { part, queue, windows: [part.window], outputs: board.lines, sent: () => board.messages.length, stimulate };
});

describe("registers", () => {
  test("it says how many channels there are, 1 MiB transfers, version 3.3, fill, XOR and P+Q", () => {
    expect(read(IOAT.channelCount, 1)).toBe(2);
    expect(read(IOAT.transferCapacity, 1)).toBe(20);
    expect(read(IOAT.version, 1)).toBe(0x33);
    expect(read(IOAT.capability, 4)).toBe(0x340);
  });

  test("the literal places of the channel registers", () => {
    expect(Object.values(IOAT_CHANNEL)).toEqual([0, 2, 4, 6, 8, 0xc, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x2c]);
    expect([IOAT_CONTROL.interruptDisable.mask, IOAT_CONTROL.abortOnError.mask, IOAT_CONTROL.inUse.mask]).toEqual([
      1, 8, 0x100,
    ]);
    expect([IOAT_ERROR.readData.mask, IOAT_ERROR.length.mask, IOAT_ERROR.xorP.mask]).toEqual([0x100, 0x800, 0x10000]);
  });

  test("a reset of a channel is over when the command register is read, and leaves it halted", () => {
    start(chain([{ size: 64, source: SOURCE, destination: TARGET }]));
    write(channel(IOAT_CHANNEL.command), 1, 0x20);
    expect(read(channel(IOAT_CHANNEL.command), 1)).toBe(0);
    expect(status()).toBe(IOAT_STATUS.halted);
    run();
    expect(bytes(TARGET, 2)).toEqual([0, 0]);
  });
});

describe("a chain of descriptors", () => {
  test("runs as far as it was counted out, and writes its state to memory where a descriptor says so", () => {
    const count = chain([
      { size: 100, source: SOURCE, destination: TARGET },
      { size: 3, source: SOURCE + 1, destination: TARGET + 0x1000, flags: completion.mask },
      { size: 5, source: SOURCE, destination: TARGET + 0x2000 },
    ]);
    start(count - 1);
    expect(status()).toBe(IOAT_STATUS.active);
    run();
    expect(bytes(TARGET, 100)).toEqual(bytes(SOURCE, 100));
    expect(bytes(TARGET + 0x1000, 4)).toEqual([...bytes(SOURCE + 1, 3), 0]);
    expect(bytes(TARGET + 0x2000, 1)).toEqual([0]);
    expect(ram().getUint32(COMPLETION, true)).toBe((CHAIN + 64) | IOAT_STATUS.idle);
    expect(status()).toBe(IOAT_STATUS.idle);
    write(channel(IOAT_CHANNEL.count), 2, count);
    run();
    expect(bytes(TARGET + 0x2000, 5)).toEqual(bytes(SOURCE, 5));
    expect(read(channel(IOAT_CHANNEL.statusLow), 4)).toBe((CHAIN + 128) | IOAT_STATUS.idle);
  });

  test("a null descriptor moves nothing, whatever its size", () => {
    start(chain([{ size: 1, flags: IOAT_NULL | completion.mask }]));
    run();
    expect([status(), error()]).toEqual([IOAT_STATUS.idle, 0]);
    expect(ram().getUint32(COMPLETION, true)).toBe(CHAIN | IOAT_STATUS.idle);
  });

  test("the count goes round at 65536, and a chain that is a ring is one", () => {
    chain([
      { size: 8, source: SOURCE, destination: TARGET },
      { size: 8, source: SOURCE, destination: TARGET + 8, next: CHAIN },
    ]);
    start(0xffff);
    run(1e10);
    expect(rig.part.state.device.channels[0]!.fetched).toBe(0xffff);
    write(channel(IOAT_CHANNEL.count), 2, 1);
    run();
    expect([status(), rig.part.state.device.channels[0]!.fetched]).toEqual([IOAT_STATUS.idle, 1]);
  });

  test("suspend lets the batch end, and counting further goes on; abort drops it", () => {
    const count = chain(
      Array.from({ length: 20 }, (_, i) => ({ size: 64, source: SOURCE, destination: TARGET + i * 64 })),
    );
    start(count);
    write(channel(IOAT_CHANNEL.command), 1, 4);
    run();
    expect(status()).toBe(IOAT_STATUS.suspended);
    expect(bytes(TARGET + 7 * 64, 1)).toEqual(bytes(SOURCE, 1));
    expect(bytes(TARGET + 9 * 64 + 1, 1)).toEqual([0]);
    write(channel(IOAT_CHANNEL.count), 2, count);
    run();
    expect(bytes(TARGET + 19 * 64, 64)).toEqual(bytes(SOURCE, 64));
    start(count);
    write(channel(IOAT_CHANNEL.command), 1, 8);
    expect(status()).toBe(IOAT_STATUS.halted);
  });

  test("fill repeats eight bytes", () => {
    start(chain([{ operation: IOAT_OPERATION.fill, size: 11, source: 0x07060504030201, destination: TARGET }]));
    run();
    expect(bytes(TARGET, 12)).toEqual([1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 0]);
  });

  test.each([2, 3, 5, 6, 8])("XOR of %i sources; the validation finds a wrong bit", n => {
    const sources = Array.from({ length: n }, (_, i) => SOURCE + i * 0x1003);
    const expected = Array.from({ length: 300 }, (_, i) => sources.reduce((sum, at) => sum ^ bytes(at + i, 1)[0]!, 0));
    start(chain([{ operation: IOAT_OPERATION.xor, size: 300, sources, destination: TARGET }]));
    run();
    expect(bytes(TARGET, 300)).toEqual(expected);
    const check: Descriptor = { operation: IOAT_OPERATION.xorValidate, size: 300, sources, destination: TARGET };
    start(chain([check]));
    run();
    expect([status(), error()]).toEqual([IOAT_STATUS.idle, 0]);
    rig.board.space.ram.bytes[TARGET + 299]! ^= 0x10;
    start(chain([check]));
    run();
    expect([status(), error()]).toEqual([IOAT_STATUS.halted, IOAT_ERROR.xorP.mask]);
  });

  /** Multiplication in GF(2^8) as RAID-6 has it, bit by bit (H. P. Anvin, "The mathematics of RAID-6", section 1). */
  const times = (a: number, b: number): number => {
    let product = 0;
    for (let bit = 7; bit >= 0; bit--) {
      product = (product << 1) ^ ((product & 0x80) !== 0 ? 0x11d : 0);
      if (((b >> bit) & 1) !== 0) product ^= a;
    }
    return product & 0xff;
  };

  function writePq(operation: number, sources: readonly number[], coefficients: readonly number[], flags = 0): number {
    const view = ram();
    const put = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
    view.setUint32(CHAIN, 300, true);
    view.setUint32(CHAIN + 4, ((operation << 24) | flags | ((sources.length - 2) << 5)) >>> 0, true);
    // The literal places of the sources: 8, 32, 40; in the extension 0, 8, 16, and behind its link 32, 40.
    [8, 32, 40, 64, 72, 80, 96, 104].slice(0, sources.length).forEach((place, i) => {
      put(CHAIN + place, sources[i]!);
    });
    put(CHAIN + 16, TARGET);
    put(CHAIN + 24, CHAIN + 64);
    for (let i = 0; i < 8; i++) view.setUint8(CHAIN + 48 + i, coefficients[i] ?? 0);
    put(CHAIN + 56, TARGET + 0x1000);
    if (sources.length > 3) put(CHAIN + 64 + 24, CHAIN + 128);
    return sources.length > 3 ? 2 : 1;
  }

  test.each([2, 3, 4, 6, 8])("P+Q of %i sources; the validation says which of the two is wrong", n => {
    const sources = Array.from({ length: n }, (_, i) => SOURCE + i * 0x1003);
    const coefficients = [1, 2, 4, 8, 0x1d, 0xff, 0x80, 7].slice(0, n);
    const add = (values: readonly number[]): number => values.reduce((sum, value) => sum ^ value, 0);
    const at = (i: number): number[] => sources.map(source => bytes(source + i, 1)[0]!);
    start(writePq(IOAT_OPERATION.pq, sources, coefficients));
    run();
    expect([status(), error()]).toEqual([IOAT_STATUS.idle, 0]);
    expect(bytes(TARGET, 301)).toEqual([...Array.from({ length: 300 }, (_, i) => add(at(i))), 0]);
    expect(bytes(TARGET + 0x1000, 301)).toEqual([
      ...Array.from({ length: 300 }, (_, i) => add(at(i).map((value, k) => times(value, coefficients[k]!)))),
      0,
    ]);
    const validate = (flags = 0): number => {
      start(writePq(IOAT_OPERATION.pqValidate, sources, coefficients, flags));
      run();
      const found = error();
      write(channel(IOAT_CHANNEL.error), 4, 0xffffffff);
      return found;
    };
    expect(validate()).toBe(0);
    rig.board.space.ram.bytes[TARGET + 297]! ^= 1;
    expect(validate()).toBe(0x10000);
    rig.board.space.ram.bytes[TARGET + 0x1000]! ^= 1;
    expect(validate()).toBe(0x30000);
    // P is not looked at (bit 11), Q is not (bit 12).
    expect([validate(1 << 11), validate(1 << 12)]).toEqual([0x20000, 0x10000]);
  });

  test("validations that find a difference one after the other: each time the descriptor before is the last one done", () => {
    const check = {
      operation: IOAT_OPERATION.xorValidate,
      size: 64,
      sources: [SOURCE, SOURCE + 1],
      destination: SOURCE + 2,
    };
    write(channel(IOAT_CHANNEL.control), 2, IOAT_CONTROL.errorCompletion.mask);
    chain([{ size: 64, source: SOURCE, destination: TARGET }, check, check, check]);
    // A driver clears the error and goes on behind the descriptor that failed, with a new chain address.
    for (const n of [0, 1, 2]) {
      start(n === 0 ? 2 : 1, CHAIN + (n === 0 ? 0 : n + 1) * 64);
      run();
      expect(error()).toBe(IOAT_ERROR.xorP.mask);
      expect(ram().getUint32(COMPLETION, true)).toBe((CHAIN + n * 64) | IOAT_STATUS.halted);
      write(channel(IOAT_CHANNEL.error), 4, IOAT_ERROR.xorP.mask);
    }
  });

  test("P+Q without P writes Q only, and the other way round", () => {
    for (const [flag, touched] of [
      [1 << 11, TARGET + 0x1000],
      [1 << 12, TARGET],
    ] as const) {
      build();
      start(writePq(IOAT_OPERATION.pq, [SOURCE + 1, SOURCE + 0x1000], [3, 5], flag));
      run();
      const written = [TARGET, TARGET + 0x1000].filter(at => bytes(at, 300).some(byte => byte !== 0));
      expect(written).toEqual([touched]);
    }
  });

  test("an XOR whose second half falls into the next batch", () => {
    const copies = Array.from({ length: 7 }, () => ({ size: 8, source: SOURCE, destination: TARGET + 0x1000 }));
    const sources = Array.from({ length: 6 }, (_, i) => SOURCE + 1 + i);
    start(chain([...copies, { operation: IOAT_OPERATION.xor, size: 1, sources, destination: TARGET }]));
    run();
    expect(bytes(TARGET, 1)).toEqual([sources.reduce((sum, at) => sum ^ bytes(at, 1)[0]!, 0)]);
    expect(error()).toBe(0);
  });
});

describe("bad descriptors end in the documented error and halt the channel", () => {
  const cases: [string, Descriptor[], number, number][] = [
    ["a length of nothing", [{ size: 0, source: SOURCE, destination: TARGET }], IOAT_ERROR.length.mask, 1],
    [
      "a length above the capacity",
      [{ size: 2 ** 20 + 1, source: SOURCE, destination: TARGET }],
      IOAT_ERROR.length.mask,
      1,
    ],
    ["a source where nothing is", [{ size: 64, source: 0x50000000, destination: TARGET }], IOAT_ERROR.readData.mask, 1],
    [
      "a target where nothing is",
      [{ size: 64, source: SOURCE, destination: 0x50000000 }],
      IOAT_ERROR.writeData.mask,
      1,
    ],
    [
      "a source of more than 52 bits",
      [{ size: 64, source: 2 ** 52, destination: TARGET }],
      IOAT_ERROR.sourceAddress.mask,
      1,
    ],
    [
      "a target of more than 52 bits",
      [{ size: 64, source: SOURCE, destination: 2 ** 60 }],
      IOAT_ERROR.destinationAddress.mask,
      1,
    ],
    [
      "an unknown operation",
      [{ operation: 0x55, size: 64, source: SOURCE, destination: TARGET }],
      IOAT_ERROR.control.mask,
      1,
    ],
    [
      "a link that is not aligned",
      [{ size: 8, source: SOURCE, destination: TARGET, next: CHAIN + 8 }],
      IOAT_ERROR.descriptor.mask,
      2,
    ],
    [
      "a link to nowhere",
      [{ size: 8, source: SOURCE, destination: TARGET, next: 0x50000000 }],
      IOAT_ERROR.nextAddress.mask,
      2,
    ],
    [
      "an XOR whose second half was not counted out",
      [{ operation: IOAT_OPERATION.xor, size: 8, sources: [1, 2, 3, 4, 5, 6], destination: TARGET }],
      IOAT_ERROR.count.mask,
      1,
    ],
  ];
  test.each(cases)("%s", (_, descriptors, bit, count) => {
    write(channel(IOAT_CHANNEL.control), 2, IOAT_CONTROL.errorCompletion.mask);
    chain(descriptors);
    start(count);
    run();
    expect([status(), error()]).toEqual([IOAT_STATUS.halted, bit]);
    expect(ram().getUint32(COMPLETION, true) & 7).toBe(IOAT_STATUS.halted);
    // Nothing goes on until the error is cleared.
    chain([{ size: 8, source: SOURCE, destination: TARGET + 0x3000 }]);
    start(1);
    run();
    expect(bytes(TARGET + 0x3001, 1)).toEqual([0]);
    write(channel(IOAT_CHANNEL.error), 4, bit);
    start(1);
    run();
    expect(bytes(TARGET + 0x3000, 8)).toEqual(bytes(SOURCE, 8));
  });

  test("a chain address that is not aligned, or where nothing is", () => {
    start(1, CHAIN + 32);
    expect([status(), error()]).toEqual([IOAT_STATUS.halted, IOAT_ERROR.chainAddress.mask]);
    write(channel(IOAT_CHANNEL.error), 4, 0xffffffff);
    start(1, 0x50000000);
    expect([status(), error()]).toEqual([IOAT_STATUS.halted, IOAT_ERROR.chainAddress.mask]);
  });

  test("descriptors before a bad one are carried out", () => {
    const good = { size: 8, source: SOURCE, destination: TARGET };
    start(chain([good, { ...good, destination: TARGET + 8 }, { ...good, size: 0 }]));
    run();
    expect(bytes(TARGET + 8, 8)).toEqual(bytes(SOURCE, 8));
    expect(read(channel(IOAT_CHANNEL.statusLow), 4)).toBe((CHAIN + 64) | IOAT_STATUS.halted);
  });

  test("a completion address where nothing is", () => {
    chain([{ size: 8, source: SOURCE, destination: TARGET, flags: completion.mask }]);
    write(channel(IOAT_CHANNEL.completionLow), 4, 0x50000000);
    write(channel(IOAT_CHANNEL.chainLow), 4, CHAIN);
    write(channel(IOAT_CHANNEL.count), 2, 1);
    run();
    expect([status(), error()]).toEqual([IOAT_STATUS.halted, IOAT_ERROR.completionAddress.mask]);
  });

  test("with bus mastering off nothing is fetched", () => {
    rig.part.configWrite(4, 2, 2);
    start(chain([{ size: 8, source: SOURCE, destination: TARGET }]));
    expect([status(), error()]).toEqual([IOAT_STATUS.halted, IOAT_ERROR.chainAddress.mask]);
  });
});

describe("interrupts", () => {
  const once = (): void => {
    start(chain([{ size: 8, source: SOURCE, destination: TARGET, flags: interrupt.mask }]));
    run();
  };

  test("by the pin: the attention bit, while enabled; reading INTRCTRL disables, reading ATTNSTATUS clears", () => {
    once();
    expect(pin()).toBe(false);
    write(IOAT.interruptControl, 1, 1);
    expect(pin()).toBe(true);
    expect(read(IOAT.interruptControl, 1)).toBe(0b111);
    expect(pin()).toBe(false);
    expect(read(IOAT.attention, 4)).toBe(1);
    write(IOAT.interruptControl, 1, 1);
    expect([pin(), read(IOAT.attention, 4)]).toEqual([false, 0]);
  });

  test("after an interrupt the next one waits until software re-arms by writing 1", () => {
    write(IOAT.interruptControl, 1, 1);
    once();
    expect(read(channel(IOAT_CHANNEL.control), 2) & 1).toBe(1);
    read(IOAT.attention, 4);
    once();
    expect(pin()).toBe(false);
    write(channel(IOAT_CHANNEL.control), 2, 1);
    expect(pin()).toBe(true);
    expect(read(channel(IOAT_CHANNEL.control), 2) & 1).toBe(1);
  });

  test("by MSI-X with a vector per channel", () => {
    const { part, board } = rig;
    let at = part.configRead(0x34, 1);
    while (part.configRead(at, 1) !== 0x11) at = part.configRead(at + 1, 1);
    for (const vector of [0, 1]) {
      write(0x1000 + vector * 16, 4, 0xfee00000);
      write(0x1008 + vector * 16, 4, 0x40 + vector);
      write(0x100c + vector * 16, 4, 0);
    }
    part.configWrite(at + 2, 2, 0x8000);
    write(IOAT.interruptControl, 1, 1 | 8);
    once();
    expect(board.messages.map(({ data }) => data)).toEqual([0x40]);
    chain([{ size: 8, source: SOURCE, destination: TARGET, flags: interrupt.mask }]);
    write(channel(IOAT_CHANNEL.chainLow, 1), 4, CHAIN);
    write(channel(IOAT_CHANNEL.count, 1), 2, 1);
    run();
    expect(board.messages.map(({ data }) => data)).toEqual([0x40, 0x41]);
    expect(pin()).toBe(false);
  });
});

test("random chains of copies give what a loop over the descriptors gives", () => {
  const copy = fc.record({
    size: fc.integer({ min: 1, max: 600 }),
    source: fc.integer({ min: 0, max: 0xf000 }),
    destination: fc.integer({ min: 0, max: 0xf000 }),
  });
  fc.assert(
    fc.property(
      fc.array(copy, { minLength: 1, maxLength: 40 }),
      fc.array(fc.integer({ min: 1, max: 9 })),
      (copies, steps) => {
        build();
        const model = rig.board.space.ram.bytes.slice();
        const descriptors = copies.map(c => ({ ...c, source: SOURCE + c.source, destination: SOURCE + c.destination }));
        for (const { size, source, destination } of descriptors) {
          model.set(model.slice(source, source + size), destination);
        }
        const count = chain(descriptors);
        start(0);
        // Counted out in pieces, at random instants.
        let counted = 0;
        for (const step of steps) {
          counted = Math.min(count, counted + step);
          write(channel(IOAT_CHANNEL.count), 2, counted);
          run(step * 50);
        }
        write(channel(IOAT_CHANNEL.count), 2, count);
        run();
        expect(status()).toBe(IOAT_STATUS.idle);
        const differs = rig.board.space.ram.bytes.findIndex((byte, at) => at >= SOURCE && byte !== model[at]);
        expect(differs).toBe(-1);
      },
    ),
    { numRuns: 30 },
  );
});
