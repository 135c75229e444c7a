import { beforeEach, describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import { Line } from "../ports/line.ts";
import { describePart } from "../ports/part.contract.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import type { Rng } from "../sim/rng.ts";
import { UART, UART_FCR, UART_LSR, UART_MSR } from "./uart16550.regs.ts";
import { Uart16550 } from "./uart16550.ts";

function make(instantTransmit = false) {
  const queue = new EventQueue(new Clock());
  const irq = new Line("irq4");
  const sent: number[] = [];
  const part = new Uart16550({
    name: "com1",
    queue,
    irq: irq.pin(),
    onTransmit: byte => sent.push(byte),
    instantTransmit,
  });
  return {
    part,
    queue,
    irq,
    bytes: sent,
    windows: [part.window],
    outputs: [irq],
    sent: () => sent.length,
    stimulate: (rng: Rng) => {
      if (rng.chance(3, 4)) part.receive(rng.below(256), rng.chance(1, 8) ? rng.below(256) : 0);
      else {
        const [cts, dsr, ri, dcd] = [0, 1, 2, 3].map(() => rng.chance(1, 2)) as [boolean, boolean, boolean, boolean];
        part.setModemInputs({ cts, dsr, ri, dcd });
      }
    },
  };
}

let rig: ReturnType<typeof make>;
const outb = (offset: number, value: number): void => rig.part.window.write(offset, 1, value);
const inb = (offset: number): number => rig.part.window.read(offset, 1);
function run(ns: number): void {
  const { queue } = rig;
  const end = queue.clock.now() + ns;
  while (queue.nextDeadline() <= end) {
    queue.clock.advanceTo(queue.nextDeadline());
    queue.runDue();
  }
  queue.clock.advanceTo(end);
}
/** 115200 baud, 8N1: ten bits of 1/115200 s, rounded up to a whole ns. */
const CHAR = Math.ceil(10e9 / 115_200);
const OUT2 = 0x08;
const iir = (): number => inb(UART.iirFcr) & 0x0f;

beforeEach(() => {
  rig = make();
  outb(UART.lcr, 0x03);
  outb(UART.mcr, OUT2);
});

describe("16550 layouts", () => {
  it("pins the words of the datasheet (table II)", () => {
    const { holdingEmpty, transmitterEmpty, overrun, fifoError } = UART_LSR;
    expect([holdingEmpty, transmitterEmpty, overrun, fifoError].map(f => f.mask)).toEqual([0x20, 0x40, 0x02, 0x80]);
    expect([UART_MSR.cts, UART_MSR.dsr, UART_MSR.ri, UART_MSR.dcd].map(f => f.mask)).toEqual([0x10, 0x20, 0x40, 0x80]);
    expect(UART_FCR.trigger.of(0xc7)).toBe(3);
  });
});

describe("16550 reset (table I)", () => {
  it("has LSR 60h, IIR 01h and zeros", () => {
    rig.part.reset("enter", "power");
    rig.part.reset("hold", "power");
    expect([UART.ier, UART.iirFcr, UART.lcr, UART.mcr, UART.lsr].map(inb)).toEqual([0, 1, 0, 0, 0x60]);
    expect(inb(UART.msr) & 0x0f).toBe(0);
  });
});

describe("16550 transmitter", () => {
  it("sends a byte after its character time at the programmed rate (8.2, 8.3)", () => {
    outb(UART.data, 0x41);
    run(CHAR - 1);
    expect(rig.bytes).toEqual([]);
    run(1);
    expect(rig.bytes).toEqual([0x41]);
    // 9600 baud, 7 data bits, parity, two stop bits: 11 bits.
    outb(UART.lcr, 0x80);
    outb(UART.data, 12);
    outb(UART.ier, 0);
    expect([inb(UART.data), inb(UART.ier)]).toEqual([12, 0]);
    outb(UART.lcr, 0x02 | 0x04 | 0x08);
    outb(UART.data, 0x42);
    run(Math.ceil(11e9 / 9600) - 1);
    expect(rig.bytes).toHaveLength(1);
    run(1);
    expect(rig.bytes).toHaveLength(2);
  });
  it("double-buffers without FIFOs: THRE at once, TEMT when both registers are empty (8.4)", () => {
    outb(UART.data, 1);
    expect(inb(UART.lsr)).toBe(0x20);
    outb(UART.data, 2);
    expect(inb(UART.lsr)).toBe(0);
    run(CHAR);
    expect(inb(UART.lsr)).toBe(0x20);
    run(CHAR);
    expect(inb(UART.lsr)).toBe(0x60);
    expect(rig.bytes).toEqual([1, 2]);
  });
  it("interrupts when the holding register empties; reading IIR or writing THR clears it (table IV)", () => {
    outb(UART.ier, 2);
    expect(rig.irq.level).toBe(true);
    expect(iir()).toBe(2);
    expect(rig.irq.level).toBe(false);
    expect(iir()).toBe(1);
    outb(UART.data, 1);
    outb(UART.data, 2);
    expect(rig.irq.level).toBe(false);
    run(CHAR);
    expect(rig.irq.level).toBe(true);
    outb(UART.data, 3);
    expect(rig.irq.level).toBe(false);
  });
  it("delays the empty indication of a single byte in FIFO mode by a character (8.11), and not after a burst", () => {
    outb(UART.iirFcr, 1);
    outb(UART.ier, 2);
    iir();
    outb(UART.data, 1);
    expect(inb(UART.lsr) & 0x20).toBe(0);
    run(CHAR);
    expect(iir()).toBe(2);
    for (const byte of [1, 2, 3, 4]) outb(UART.data, byte);
    run(3 * CHAR - 1);
    expect(inb(UART.lsr) & 0x20).toBe(0);
    run(1);
    // Byte 4 is in the shift register: the FIFO is empty.
    expect(inb(UART.lsr) & 0x60).toBe(0x20);
  });
  it("takes 16 bytes into the FIFO beside the one that is being sent", () => {
    outb(UART.iirFcr, 1);
    for (let i = 0; i < 18; i++) outb(UART.data, i);
    run(30 * CHAR);
    expect(rig.bytes).toEqual(Array.from({ length: 17 }, (_, i) => i));
  });
  it("sends in the same instant when configured so, and interrupts again each time", () => {
    rig = make(true);
    outb(UART.mcr, OUT2);
    outb(UART.ier, 2);
    iir();
    outb(UART.data, 0x55);
    expect(rig.bytes).toEqual([0x55]);
    expect(inb(UART.lsr)).toBe(0x60);
    expect(rig.irq.level).toBe(true);
  });
});

describe.each([false, true])("16550 transmitter interrupt as an edge (instant: %s)", instant => {
  it("rises again after every write, though the holding register empties at once", () => {
    rig = make(instant);
    let rises = 0;
    rig.irq.connect({ lineChanged: (_pin, level) => void (rises += level ? 1 : 0) }, 0);
    outb(UART.mcr, OUT2);
    outb(UART.ier, 2);
    expect(rises).toBe(1);
    outb(UART.data, 1);
    expect(rises).toBe(2);
    outb(UART.data, 2);
    run(CHAR);
    expect(rises).toBe(3);
  });
});

describe("16550 receiver", () => {
  it("interrupts for each character without FIFOs and overwrites on overrun (8.4)", () => {
    outb(UART.ier, 1 | 4);
    rig.part.receive(0x31);
    expect(iir()).toBe(4);
    rig.part.receive(0x32);
    expect(iir()).toBe(6);
    expect(inb(UART.lsr)).toBe(0x63);
    expect(inb(UART.lsr)).toBe(0x61);
    expect(inb(UART.data)).toBe(0x32);
    expect(iir()).toBe(1);
    expect(rig.irq.level).toBe(false);
  });
  it.each([
    [0x00, 1],
    [0x40, 4],
    [0x80, 8],
    [0xc0, 14],
  ])("interrupts at the trigger level of FCR %i: %i characters (8.5)", (trigger, level) => {
    outb(UART.iirFcr, trigger | 1);
    outb(UART.ier, 1);
    for (let i = 0; i < level - 1; i++) rig.part.receive(i);
    expect(rig.irq.level).toBe(false);
    rig.part.receive(level - 1);
    expect(inb(UART.iirFcr)).toBe(0xc4);
    inb(UART.data);
    expect(rig.irq.level).toBe(false);
  });
  it("times out four characters after the last arrival or read (8.11)", () => {
    outb(UART.iirFcr, 0xc1);
    outb(UART.ier, 1);
    rig.part.receive(1);
    run(2 * CHAR);
    rig.part.receive(2);
    run(4 * CHAR - 10);
    expect(rig.irq.level).toBe(false);
    run(10);
    expect(iir()).toBe(0xc);
    expect(inb(UART.data)).toBe(1);
    expect(rig.irq.level).toBe(false);
    run(4 * CHAR);
    expect(iir()).toBe(0xc);
    inb(UART.data);
    run(100 * CHAR);
    expect(iir()).toBe(1);
  });
  it("loses the seventeenth character in FIFO mode and says overrun", () => {
    outb(UART.iirFcr, 1);
    for (let i = 0; i < 17; i++) rig.part.receive(i);
    expect(inb(UART.lsr) & 0x03).toBe(3);
    expect(Array.from({ length: 16 }, () => inb(UART.data))).toEqual(Array.from({ length: 16 }, (_, i) => i));
    expect(inb(UART.lsr) & 1).toBe(0);
  });
  it("reveals a character's error when it reaches the top; bit 7 tells that one is in the FIFO (8.4)", () => {
    outb(UART.iirFcr, 1);
    outb(UART.ier, 4);
    rig.part.receive(1);
    rig.part.receive(0, UART_LSR.breakInterrupt.mask);
    expect(inb(UART.lsr)).toBe(0xe1);
    expect(rig.irq.level).toBe(false);
    inb(UART.data);
    expect(iir()).toBe(6);
    expect(inb(UART.lsr) & 0x90).toBe(0x90);
    expect(inb(UART.lsr) & 0x90).toBe(0);
  });
  it("clears the FIFO by FCR bit 1 and when FIFOs are switched (8.5)", () => {
    outb(UART.iirFcr, 1);
    rig.part.receive(1);
    outb(UART.iirFcr, 3);
    expect(inb(UART.lsr) & 1).toBe(0);
    rig.part.receive(1);
    outb(UART.iirFcr, 0);
    expect(inb(UART.lsr) & 1).toBe(0);
    expect(inb(UART.iirFcr)).toBe(1);
  });
});

describe("16550 priorities, modem and loopback", () => {
  it("identifies interrupts in the order of table IV", () => {
    outb(UART.ier, 0x0f);
    rig.part.setModemInputs({ cts: false, dsr: true, ri: false, dcd: true });
    rig.part.receive(1);
    rig.part.receive(2);
    expect(iir()).toBe(6);
    inb(UART.lsr);
    expect(iir()).toBe(4);
    inb(UART.data);
    expect(iir()).toBe(2);
    expect(iir()).toBe(0);
    expect(inb(UART.msr)).toBe(0xa1);
    expect(iir()).toBe(1);
  });
  it("sets a delta for each change, and for the ring indicator only at its trailing edge (8.9)", () => {
    rig.part.setModemInputs({ cts: true, dsr: true, ri: true, dcd: true });
    expect(inb(UART.msr)).toBe(0xf0);
    rig.part.setModemInputs({ cts: true, dsr: false, ri: false, dcd: false });
    expect(inb(UART.msr)).toBe(0x10 | 0x0e);
  });
  it("returns data and modem outputs in loopback and does not transmit (8.8)", () => {
    outb(UART.mcr, 0x10 | 0x0b);
    expect(inb(UART.msr) & 0xf0).toBe(0xb0);
    outb(UART.data, 0xae);
    rig.part.receive(0x11);
    run(CHAR);
    expect(inb(UART.data)).toBe(0xae);
    expect(rig.bytes).toEqual([]);
  });
  it("reaches its line only through OUT2", () => {
    outb(UART.mcr, 0);
    outb(UART.ier, 1);
    rig.part.receive(1);
    expect(iir()).toBe(4);
    expect(rig.irq.level).toBe(false);
    outb(UART.mcr, OUT2);
    expect(rig.irq.level).toBe(true);
  });
  it("keeps the scratch register", () => {
    outb(UART.scratch, 0xa5);
    expect(inb(UART.scratch)).toBe(0xa5);
  });
});

describePart("UART 16550", make);

describe("UART fuzz", () => {
  it(
    "keeps FIFO counts in range and interrupts only through OUT2",
    () => {
      fuzzPart(make, "uart", { maxAdvance: 10_000_000 }, ({ part, irq }) => {
        const { receivedCount, queuedCount, mcr, fcr, shifting } = part.state;
        expect(receivedCount).toBeLessThanOrEqual((fcr & 1) === 0 ? 1 : 16);
        expect(queuedCount).toBeLessThanOrEqual((fcr & 1) === 0 ? 1 : 16);
        expect(part.roomToReceive).toBeGreaterThanOrEqual(0);
        expect(queuedCount > 0 && shifting < 0).toBe(false);
        if (irq.level) expect(mcr & OUT2).toBe(OUT2);
      });
    },
    FUZZ_TIMEOUT,
  );
});
