/**
 * The kernel's tables and drivers: values that hardware sees are compared with words made by hand from the manuals.
 */
import { describe, expect, test } from "vitest";
import { runScenario } from "../machine/scenario.testing.ts";
import { EVENT } from "../ports/events.ts";
import { compute, int, load32, load64, out8, readClock, store32, type Task } from "../ports/task.ts";
import { describeInterrupt, INTERRUPT_PRIORITY, INTERRUPT_TYPE, typeOf } from "./descriptor.ts";
import { gateWords, GATE_TYPE } from "./interrupt-table.ts";
import { redirectionEntry } from "./io-apic.ts";
import { msiSource } from "./irq.ts";
import { Kernel } from "./kernel.ts";
import { Arena } from "./memory.ts";
import { composeMessage } from "./message.ts";
import { PciFunction } from "./pci.ts";
import { SoftIrqs } from "./soft-irq.ts";
import { SystemCalls } from "./system-calls.ts";
import { KERNEL_VECTOR, priorityOf, VectorAllocator } from "./vectors.ts";

function* nothing(): Task {
  yield* compute(1);
}

function kernelRun(main: (kernel: Kernel) => Task, devices: string[] = [], kinds: number[] = []) {
  let kernel!: Kernel;
  const run = runScenario(
    { devices },
    machine => {
      kernel = new Kernel(machine);
      kernel.start(function* () {
        yield* main(kernel);
        yield* kernel.powerOff();
      });
    },
    kinds,
  );
  return { run, kernel };
}

describe("descriptors", () => {
  test("numbers that are no vector are refused with a RangeError", () => {
    for (const number of [-1, 256, 1.5, Number.NaN])
      expect(() => describeInterrupt({ number, handler: nothing })).toThrow(RangeError);
    expect(() => new VectorAllocator(1).reserve(256)).toThrow(RangeError);
    expect(() => redirectionEntry(256, 0)).toThrow(RangeError);
    expect(() => redirectionEntry(15, 0)).toThrow(RangeError);
    expect(() => composeMessage({ vector: 300, destination: 0 })).toThrow(RangeError);
    expect(() => new SoftIrqs(1).register(32, nothing)).toThrow(RangeError);
    expect(() =>
      new SystemCalls().register(-1, function* () {
        yield* compute(1);
        return 0;
      }),
    ).toThrow(RangeError);
    expect(() => new Arena(0x100000).take(1)).toThrow(RangeError);
  });

  test("type and maskability follow from the vector (Intel SDM vol. 3A, table 6-1)", () => {
    expect([0, 2, 14, 31, 32, 255].map(typeOf)).toEqual([
      INTERRUPT_TYPE.internal,
      INTERRUPT_TYPE.nmi,
      INTERRUPT_TYPE.internal,
      INTERRUPT_TYPE.internal,
      INTERRUPT_TYPE.external,
      INTERRUPT_TYPE.external,
    ]);
    expect(describeInterrupt({ number: 2, handler: nothing })).toMatchObject({ maskable: false, controller: "none" });
    expect(describeInterrupt({ number: 64, handler: nothing })).toMatchObject({ maskable: true, nested: true });
  });
});

describe("words that hardware sees", () => {
  test("gate: offset 15:0, selector; IST, type, DPL, P, offset 31:16; offset 63:32 (SDM vol. 3A, figure 6-8)", () => {
    expect(gateWords({ address: 0x1234_89abcdef, type: GATE_TYPE.trap, privilegeLevel: 3, ist: 5 })).toEqual([
      0x0008cdef, 0x89abef05, 0x1234,
    ]);
    expect(gateWords({ address: 0x1000 })).toEqual([0x00081000, 0x00008e00, 0]);
    expect(gateWords({ address: 0x1000, present: false })[1]).toBe(0x0e00);
    expect(() => gateWords({ address: 0, ist: 8 })).toThrow(RangeError);
  });

  test("redirection entry: vector, mode 10:8, logical 11, polarity 13, trigger 15, mask 16; destination 63:56 (82093AA 3.2.4)", () => {
    expect(redirectionEntry(0x30, 2)).toEqual([0x30, 0x02000000]);
    expect(
      redirectionEntry(0xfe, 0xff, { level: true, activeLow: true, masked: true, logical: true, deliveryMode: 1 }),
    ).toEqual([0x1a9fe, 0xff000000]);
  });

  test("MSI: FEE, destination 19:12, redirection hint 3, logical 2; data: vector, mode 10:8 (SDM vol. 3A, Message Address Register Format)", () => {
    expect(composeMessage({ vector: 0x41, destination: 3 })).toEqual({ address: 0xfee03000, data: 0x41 });
    expect(composeMessage({ vector: 0x41, destination: 0xf, deliveryMode: 1, logical: true })).toEqual({
      address: 0xfee0f00c,
      data: 0x141,
    });
  });

  test("configureIoApicEntry writes the entry's two halves, masked in between; mask and unmask change bit 16 alone", () => {
    const seen: number[][] = [];
    kernelRun(function* ({ ioApic }) {
      yield* ioApic.configureIoApicEntry(20, 0x51, 7, { level: true, activeLow: true });
      seen.push(yield* ioApic.entry(20));
      yield* ioApic.mask(20);
      seen.push(yield* ioApic.entry(20));
      yield* ioApic.unmask(20);
      yield* ioApic.setDestination(20, 3);
      seen.push(yield* ioApic.entry(20));
    });
    expect(seen).toEqual([
      [0xa051, 0x07000000],
      [0x1a051, 0x07000000],
      [0xa051, 0x03000000],
    ]);
    expect(() => kernelRun(k => k.ioApic.configureIoApicEntry(24, 0x51, 0))).toThrow(RangeError);
  });
});

describe("vectors", () => {
  test("the priority decides the class; what the kernel keeps is never given away; a free vector can be had again", () => {
    const vectors = new VectorAllocator(2);
    for (const priority of Object.values(INTERRUPT_PRIORITY)) {
      const all = new Set<number>();
      for (;;) {
        let vector: number;
        try {
          vector = vectors.allocate(0, priority);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
          break;
        }
        expect(priorityOf(vector)).toBe(priority);
        expect(Object.values(KERNEL_VECTOR)).not.toContain(vector);
        all.add(vector);
      }
      // Three classes of 16, without the system call's.
      expect(all.size).toBe(priority === INTERRUPT_PRIORITY.normal ? 47 : 48);
    }
    expect(vectors.isUsed(1, 0x30)).toBe(false);
    vectors.free(0, 0x66);
    expect(vectors.allocate(0, INTERRUPT_PRIORITY.normal)).toBe(0x66);
    expect(vectors.allocate(1, INTERRUPT_PRIORITY.high, 0x95)).toBe(0x95);
    expect(vectors.allocate(1, INTERRUPT_PRIORITY.high, 0x95)).not.toBe(0x95);
  });
});

describe("handlers", () => {
  test("install and remove: the default handler counts what nobody wants, and ends what is in service", () => {
    let taken = 0;
    const { kernel, run } = kernelRun(
      function* (k) {
        const handler = function* (): Task {
          taken++;
          yield* compute(1);
        };
        const { number, statistics } = k.install({ number: 0x61, handler, description: "test" });
        yield* k.apic.sendToSelf(number);
        yield* compute(10);
        k.table.remove(number);
        yield* k.apic.sendToSelf(number);
        yield* compute(10);
        yield* int(number);
        expect(yield* k.apic.inService(number)).toBe(false);
        expect(statistics.count).toBe(1);
      },
      [],
      [EVENT.lapicEoi],
    );
    expect(taken).toBe(1);
    expect(kernel.unexpected).toBe(2);
    expect(run.events.map(({ a }) => a)).toEqual([0x61, 0x61]);
  });

  test("in-service bits are the hardware's: set while the handler runs, cleared by the one EOI", () => {
    const seen: boolean[] = [];
    kernelRun(function* (k) {
      k.install({
        number: 0x61,
        handler: function* () {
          seen.push(yield* k.apic.inService(0x61));
        },
      });
      yield* k.apic.sendToSelf(0x61);
      yield* compute(10);
      seen.push(yield* k.apic.inService(0x61));
    });
    expect(seen).toEqual([true, false]);
  });

  test("a source that is taken is not given to a second owner who does not share; release frees its vector", () => {
    const errors: unknown[] = [];
    const { kernel } = kernelRun(function* (k) {
      const source = k.isaSource(5);
      const irq = yield* k.irqs.request(source, { name: "one", handler: nothing });
      try {
        yield* k.irqs.request(k.isaSource(5), { name: "two", handler: nothing, shared: true });
      } catch (error) {
        errors.push(error);
      }
      yield* k.irqs.release(irq, nothing);
      expect(((yield* k.ioApic.entry(5))[0] >>> 16) & 1).toBe(1);
    });
    expect(errors[0]).toBeInstanceOf(RangeError);
    for (let vector = 0x30; vector < 0xf0; vector++) expect(kernel.vectors.isUsed(0, vector)).toBe(false);
  });

  test("an exception without a handler is a panic with its name and the handlers that were running; status 71", () => {
    const { kernel, run } = kernelRun(function* (k) {
      k.install({
        number: 0x71,
        description: "wild",
        handler: function* () {
          yield* load32(2 ** 47);
        },
      });
      yield* k.apic.sendToSelf(0x71);
      yield* compute(10);
    });
    expect(run.exit).toMatchObject({ kind: "guest-exit", status: 71 });
    expect(kernel.panicText).toBe("general protection on CPU 0, error code 0; in vector 0x71 (wild)");
    expect(run.machine.notes).toEqual([`kernel panic: ${kernel.panicText}`]);
  });

  test("statistics: how often, how long in all, and the longest", () => {
    kernelRun(function* (k) {
      let ns = 100;
      const { statistics } = k.install({
        number: 0x61,
        handler: function* () {
          yield* compute((ns *= 2));
        },
      });
      for (let i = 0; i < 3; i++) {
        yield* k.apic.sendToSelf(0x61);
        yield* compute(1);
      }
      expect(statistics.count).toBe(3);
      // 200, 400 and 800 ns of work, and a few operations of entry code around each.
      expect(statistics.handlerNs).toBeGreaterThanOrEqual(1400);
      expect(statistics.handlerNs).toBeLessThan(1420);
      expect(statistics.longestNs).toBeGreaterThanOrEqual(800);
    });
  });
});

test("a driver for a PCI device with MSI: edu's factorial tells its end by a message, one interrupt a request (docs/specs/edu.rst)", () => {
  const results: number[] = [];
  const { run } = kernelRun(
    function* (k) {
      const edu = new PciFunction(0, 1);
      expect(yield* edu.identity()).toBe(0x11e81234);
      yield* edu.enable();
      const base = yield* edu.memoryBar(0);
      yield* k.irqs.request(msiSource(edu), {
        name: "edu",
        handler: function* () {
          const status = yield* load32(base + 0x24);
          yield* store32(base + 0x64, status);
          results.push(yield* load32(base + 0x08));
        },
      });
      yield* store32(base + 0x20, 0x80);
      for (const n of [5, 10]) {
        const before = results.length;
        yield* store32(base + 0x08, n);
        const limit = (yield* readClock()) + 10_000_000;
        while (results.length === before && (yield* readClock()) < limit) yield* compute(1000);
      }
    },
    ["edu,addr=1"],
    [EVENT.msi],
  );
  expect(results).toEqual([120, 3628800]);
  expect(run.events).toHaveLength(2);
});

test("kernel memory: the IDT in RAM is what the processor reads, and a gate can be changed while it runs", () => {
  kernelRun(function* (k) {
    const before = yield* load64(k.table.base + 16 * 0x61 + 8);
    expect(before).toBe(0x7000);
    yield* k.configureGate(0x61, { privilegeLevel: 3 });
    expect((yield* load32(k.table.base + 16 * 0x61 + 4)) & 0x6000).toBe(0x6000);
    yield* out8(0x80, 1);
  });
});
