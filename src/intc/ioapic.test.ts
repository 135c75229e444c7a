/**
 * Intel 82093AA data sheet (290566), sections 3.1–3.2, and ICH9 (316972) for the EOI register. Groups marked "kvm-unit-tests" repeat the behaviour list of
 * its x86/ioapic.c against local APICs on a fabric.
 */
import { describe, expect, test } from "vitest";
import { EVENT } from "../ports/events.ts";
import { Line } from "../ports/line.ts";
import { DELIVERY, InterruptMessage, type MessageBus } from "../ports/message.ts";
import { describePart } from "../ports/part.contract.ts";
import { ApicRig } from "./apic-rig.testing.ts";
import { RTE } from "./ioapic.regs.ts";
import { IoApic } from "./ioapic.ts";

const MASK = 0x10000;
const LEVEL = 0x8000;
const REMOTE_IRR = 0x4000;
const ACTIVE_LOW = 0x2000;
const SEND_PENDING = 0x1000;

class Bus implements MessageBus {
  readonly sent: InterruptMessage[] = [];
  accepts = 1;
  send(message: InterruptMessage): number {
    this.sent.push(Object.assign(new InterruptMessage(), message));
    return this.accepts;
  }
}
function rigOf(activeLow = 0) {
  const bus = new Bus();
  const io = new IoApic({ bus, activeLow });
  const access = {
    read: (index: number) => {
      io.write(0, 4, index);
      return io.read(0x10);
    },
    write: (index: number, value: number) => {
      io.write(0, 4, index);
      io.write(0x10, 4, value);
    },
  };
  const entry = (pin: number, low: number, high = 0) => {
    access.write(0x11 + 2 * pin, high);
    access.write(0x10 + 2 * pin, low);
  };
  const low = (pin: number) => access.read(0x10 + 2 * pin);
  const line = (pin: number, level: boolean) => io.lineChanged(pin, level, 0);
  return { bus, io, ...access, entry, low, line };
}

describePart("I/O APIC", () => {
  const bus = new Bus();
  const io = new IoApic({ bus, activeLow: 0xff0000 });
  const inputs = Array.from({ length: 24 }, (_, i) => new Line(`gsi${i}`, i));
  for (const line of inputs) line.connect(io, line.index);
  return {
    part: io,
    windows: [io],
    inputs,
    sent: () => bus.sent.length,
    stimulate: rng => {
      bus.accepts = rng.below(2);
      if (rng.chance(1, 2)) io.endOfInterrupt(rng.below(32), 0);
      io.write(0, 4, 0x10 + rng.below(48));
      if (rng.chance(1, 2)) io.write(0x10, 4, rng.below(32) | (rng.below(16) << 13));
    },
  };
});

describe("registers (3.1, 3.2)", () => {
  test("after reset: entries masked, id 0, version 0x00170020", () => {
    const { read } = rigOf();
    expect([read(0), read(1), read(2)]).toEqual([0, 0x00170020, 0]);
    for (let pin = 0; pin < 24; pin++) expect([read(0x10 + 2 * pin), read(0x11 + 2 * pin)]).toEqual([0x10000, 0]);
  });
  test("the id has bits 27:24 and loads the arbitration id", () => {
    const { read, write } = rigOf();
    write(0, 0xffff_ffff);
    expect([read(0), read(2)]).toEqual([0x0f00_0000, 0x0f00_0000]);
  });
  test("the version register is read-only, unknown indices read 0", () => {
    const { read, write } = rigOf();
    write(1, 0);
    write(0x40, 0xffff_ffff);
    expect([read(1), read(3), read(0x0f), read(0x40), read(0xff)]).toEqual([0x00170020, 0, 0, 0, 0]);
  });
  test("remote IRR and delivery status are read-only, reserved bits read 0", () => {
    const { entry, low, read } = rigOf();
    entry(3, 0xffff_f8ff, 0xffff_ffff);
    expect(low(3)).toBe(0x0001_a8ff);
    expect(read(0x17)).toBe(0xffff_0000);
  });
  test("the entry's fields lie where the sheet says", () => {
    expect([RTE.destinationMode.mask, RTE.polarity.mask, RTE.trigger.mask]).toEqual([0x800, 0x2000, 0x8000]);
    expect([RTE.destination.word, RTE.destination.mask]).toEqual([1, 0xff00_0000]);
  });
});

describe("edge-triggered pins (3.2.4)", () => {
  test("send one message per rising edge, with the entry's fields", () => {
    const { bus, entry, line } = rigOf();
    entry(4, 0x0000_0934, 0x0500_0000);
    line(4, true);
    line(4, false);
    line(4, true);
    expect(bus.sent.length).toBe(2);
    const { vector, deliveryMode, destination, destinationMode, trigger, level } = bus.sent[0]!;
    expect([vector, deliveryMode, destination, destinationMode, trigger, level]).toEqual([0x34, 1, 5, 1, 0, 1]);
  });
  test("an edge on a masked pin is ignored and not held pending (bit 16)", () => {
    const { bus, entry, line } = rigOf();
    entry(4, 0x34 | MASK);
    line(4, true);
    entry(4, 0x34);
    expect(bus.sent.length).toBe(0);
    line(4, false);
    line(4, true);
    expect(bus.sent.length).toBe(1);
  });
  test("SMI, NMI, INIT and ExtINT are edges even if programmed as level", () => {
    for (const mode of [DELIVERY.smi, DELIVERY.nmi, DELIVERY.init, DELIVERY.extInt]) {
      const { bus, entry, low, line } = rigOf();
      entry(2, (mode << 8) | LEVEL);
      line(2, true);
      expect(bus.sent.map(m => [m.deliveryMode, m.trigger])).toEqual([[mode, 0]]);
      expect(low(2) & REMOTE_IRR).toBe(0);
    }
  });
  test("the reserved delivery modes send nothing", () => {
    const { bus, entry, line } = rigOf();
    entry(2, 0x334);
    entry(3, 0x634);
    line(2, true);
    line(3, true);
    expect(bus.sent.length).toBe(0);
  });
});

describe("level-triggered pins (3.2.4)", () => {
  test("remote IRR from acceptance to the EOI of the vector; while the line stays high it is sent again", () => {
    const { bus, io, entry, low, line } = rigOf();
    entry(9, 0x49 | LEVEL);
    line(9, true);
    expect(low(9) & REMOTE_IRR).toBe(REMOTE_IRR);
    io.endOfInterrupt(0x48, 0);
    expect(bus.sent.length).toBe(1);
    io.endOfInterrupt(0x49, 0);
    expect([bus.sent.length, low(9) & REMOTE_IRR]).toEqual([2, REMOTE_IRR]);
    line(9, false);
    io.endOfInterrupt(0x49, 0);
    expect([bus.sent.length, low(9) & REMOTE_IRR]).toEqual([2, 0]);
  });
  test("a second assertion while remote IRR is set sends nothing by itself", () => {
    const { bus, entry, line } = rigOf();
    entry(9, 0x49 | LEVEL);
    line(9, true);
    line(9, false);
    line(9, true);
    expect(bus.sent.length).toBe(1);
  });
  test("unmasking looks at the level", () => {
    const { bus, entry, line } = rigOf();
    entry(9, 0x49 | LEVEL | MASK);
    line(9, true);
    expect(bus.sent.length).toBe(0);
    entry(9, 0x49 | LEVEL);
    expect(bus.sent.length).toBe(1);
  });
  test("masking does not take an accepted interrupt back, and its EOI clears remote IRR", () => {
    const { bus, io, entry, low, line } = rigOf();
    entry(9, 0x49 | LEVEL);
    line(9, true);
    entry(9, 0x49 | LEVEL | MASK);
    expect(low(9) & REMOTE_IRR).toBe(REMOTE_IRR);
    io.endOfInterrupt(0x49, 0);
    expect([low(9) & REMOTE_IRR, bus.sent.length]).toEqual([0, 1]);
    entry(9, 0x49 | LEVEL);
    expect(bus.sent.length).toBe(2);
  });
  test("nobody accepts: remote IRR stays clear, delivery status is send pending, a write to the entry tries again", () => {
    const { bus, entry, low, line } = rigOf();
    bus.accepts = 0;
    entry(9, 0x49 | LEVEL);
    line(9, true);
    expect(low(9) & (REMOTE_IRR | SEND_PENDING)).toBe(SEND_PENDING);
    bus.accepts = 1;
    entry(9, 0x49 | LEVEL, 0x0100_0000);
    expect(low(9) & (REMOTE_IRR | SEND_PENDING)).toBe(REMOTE_IRR);
  });
  test("the EOI register ends the vector like a broadcast (ICH9, version 0x20)", () => {
    const { bus, io, entry, line } = rigOf();
    entry(9, 0x49 | LEVEL);
    line(9, true);
    io.write(0x40, 4, 0x49);
    expect(bus.sent.length).toBe(2);
  });
  test("one EOI ends all pins of that vector, in ascending order", () => {
    const { bus, io, entry, line } = rigOf();
    entry(20, 0x49 | LEVEL, 0x0100_0000);
    entry(9, 0x49 | LEVEL, 0x0200_0000);
    line(20, true);
    line(9, true);
    io.endOfInterrupt(0x49, 0);
    expect(bus.sent.map(m => m.destination)).toEqual([1, 2, 2, 1]);
  });
  test("changing to edge clears remote IRR, changing back sends while the line is high (Linux's way to end without EOI)", () => {
    const { bus, entry, low, line } = rigOf();
    entry(9, 0x49 | LEVEL);
    line(9, true);
    entry(9, 0x49 | MASK);
    expect(low(9) & REMOTE_IRR).toBe(0);
    entry(9, 0x49 | LEVEL | MASK);
    entry(9, 0x49 | LEVEL);
    expect(bus.sent.length).toBe(2);
  });
});

describe("polarity (3.2.4 bit 13)", () => {
  test("a line that rests high needs active-low", () => {
    const { bus, entry, line } = rigOf(1 << 16);
    entry(16, 0x50 | LEVEL | ACTIVE_LOW);
    expect(bus.sent.length).toBe(0);
    line(16, true);
    expect(bus.sent.length).toBe(1);
  });
  test("with the wrong polarity the idle line asks", () => {
    const { bus, entry } = rigOf(1 << 16);
    entry(16, 0x50 | LEVEL);
    expect(bus.sent.length).toBe(1);
    entry(5, 0x51 | LEVEL | ACTIVE_LOW);
    expect(bus.sent.length).toBe(2);
  });
  test("an edge pin of the wrong polarity sends on the trailing edge", () => {
    const { bus, entry, line } = rigOf();
    entry(4, 0x34 | ACTIVE_LOW | MASK);
    entry(4, 0x34 | ACTIVE_LOW);
    expect(bus.sent.length).toBe(0);
    line(4, true);
    expect(bus.sent.length).toBe(0);
    line(4, false);
    expect(bus.sent.length).toBe(1);
  });
});

describe("with local APICs (kvm-unit-tests ioapic.c)", () => {
  function machine() {
    const apics = new ApicRig(2);
    for (const apic of apics.lapics) apic.write(0xf0, 4, 0x1ff);
    const io = new IoApic({ bus: apics.fabric, trace: apics.trace });
    apics.fabric.attachEoiListener(io);
    const entry = (pin: number, low: number, high = 0) => {
      io.write(0, 4, 0x11 + 2 * pin);
      io.write(0x10, 4, high);
      io.write(0, 4, 0x10 + 2 * pin);
      io.write(0x10, 4, low);
    };
    /** Acknowledges and ends all that waits on a CPU. */
    const serve = (cpu = 0, handler: (vector: number) => void = () => {}) => {
      const vectors: number[] = [];
      while (apics.signals[cpu]!.level && vectors.length < 10) {
        vectors.push(apics.lapics[cpu]!.acknowledge());
        handler(vectors.at(-1)!);
        apics.lapics[cpu]!.eoi();
      }
      return vectors;
    };
    return { apics, io, entry, serve, line: (pin: number, level: boolean) => io.lineChanged(pin, level, 0) };
  }
  test("edge intr, level intr", () => {
    const { entry, serve, line } = machine();
    entry(14, 0x76);
    line(14, true);
    expect(serve()).toEqual([0x76]);
    entry(15, 0x77 | LEVEL);
    line(15, true);
    expect(serve(0, () => line(15, false))).toEqual([0x77]);
  });
  test("simultaneous edge interrupts: both, the higher vector first", () => {
    const { entry, serve, line } = machine();
    entry(14, 0x78);
    entry(15, 0x66);
    line(15, true);
    line(14, true);
    expect(serve()).toEqual([0x78, 0x66]);
  });
  test("coalesce simultaneous level interrupts; sequential ones are two", () => {
    const { entry, serve, line } = machine();
    entry(14, 0x73 | LEVEL);
    line(14, true);
    line(14, false);
    line(14, true);
    expect(serve(0, () => line(14, false))).toEqual([0x73]);
    line(14, true);
    expect(serve(0, () => line(14, false))).toEqual([0x73]);
  });
  test("retriggered level interrupts without and with masking", () => {
    const { entry, serve, line } = machine();
    entry(14, 0x61 | LEVEL);
    let runs = 0;
    line(14, true);
    expect(
      serve(0, () => {
        if (++runs === 2) line(14, false);
      }),
    ).toEqual([0x61, 0x61]);
    runs = 0;
    line(14, true);
    serve(0, () => {
      entry(14, 0x61 | LEVEL | MASK);
      runs++;
    });
    expect(runs).toBe(1);
    entry(14, 0x61 | LEVEL);
    expect(serve(0, () => line(14, false))).toEqual([0x61]);
  });
  test("masked level interrupt is delivered when unmasked", () => {
    const { entry, serve, line } = machine();
    entry(14, 0x73 | LEVEL | MASK);
    line(14, true);
    expect(serve()).toEqual([]);
    entry(14, 0x73 | LEVEL);
    expect(serve(0, () => line(14, false))).toEqual([0x73]);
  });
  test("TMR for an I/O APIC edge interrupt (expected false) and level interrupt (expected true)", () => {
    const { apics, entry, line } = machine();
    entry(14, 0x79);
    line(14, true);
    expect(apics.lapics[0]!.read(0x180 + 16 * 3, 4)).toBe(0);
    entry(15, 0x7a | LEVEL);
    line(15, true);
    expect(apics.lapics[0]!.read(0x180 + 16 * 3, 4)).toBe(1 << 26);
  });
  test("reconfigure self in the handler to another CPU", () => {
    const { entry, serve, line } = machine();
    entry(14, 0x84 | LEVEL);
    line(14, true);
    serve(0, () => entry(14, 0x84 | LEVEL, 0x0100_0000));
    expect(serve(1, () => line(14, false))).toEqual([0x84]);
  });
  test("EOI broadcast suppressed: the line waits for the EOI register", () => {
    const { apics, io, entry, serve, line } = machine();
    apics.lapics[0]!.write(0xf0, 4, 0x11ff);
    entry(14, 0x73 | LEVEL);
    line(14, true);
    expect(serve()).toEqual([0x73]);
    io.write(0x40, 4, 0x73);
    line(14, false);
    expect(serve()).toEqual([0x73]);
  });
  test("only a pin that had its message accepted tells of an EOI", () => {
    const { apics, entry, serve, line } = machine();
    const pins: number[] = [];
    apics.trace.listen({ event: (_t, _k, pin) => void pins.push(pin) }, [EVENT.ioapicEoi]);
    entry(14, 0x73 | LEVEL);
    entry(15, 0x73 | LEVEL);
    line(14, true);
    serve(0, () => line(14, false));
    expect(pins).toEqual([14]);
  });
  test("the chain of events from line to acknowledge is joined by causes", () => {
    const { apics, io, entry } = machine();
    const chain = new Map<number, [string, number]>();
    const names: Record<number, string> = {
      [EVENT.lineLevel]: "line",
      [EVENT.ioapicSend]: "send",
      [EVENT.lapicAccept]: "accept",
    };
    apics.trace.listen(
      { event: (_t, kind, _s, _a, _b, _c, id, cause) => void chain.set(id, [names[kind]!, cause]) },
      Object.keys(names).map(Number),
    );
    const wire = new Line("wire", 14, apics.trace);
    wire.connect(io, 14);
    entry(14, 0x52);
    wire.pin().assert();
    apics.lapics[0]!.acknowledge();
    const story: string[] = [];
    for (let id = apics.lapics[0]!.lastCause; id !== 0; id = chain.get(id)![1]) story.push(chain.get(id)![0]);
    expect(story).toEqual(["accept", "send", "line"]);
  });
});
