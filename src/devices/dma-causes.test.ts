/**
 * Devices on a modelled bus, and the chain of causes from a doorbell to an interrupt, which the report and the trace follow.
 */
import { describe, expect, it } from "vitest";
import { BusArbiter } from "../dma/arbiter.ts";
import { DmaRig } from "../dma/dma-rig.testing.ts";
import { TestBoard } from "../pci/board.testing.ts";
import { EVENT } from "../ports/events.ts";
import { Line } from "../ports/line.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import type { Trace } from "../sim/trace.ts";
import { EDU, EDU_BUFFER, EDU_DMA } from "./edu.regs.ts";
import { Edu } from "./edu.ts";
import { Floppy82077 } from "./floppy-82077.ts";
import { FloppyDrive } from "./floppy-drive.ts";
import { SoundBlaster16 } from "./sound-blaster16.ts";

type Event = { kind: number; id: number; cause: number; a: number; b: number; c: number };

function watch(trace: Trace): Event[] {
  const events: Event[] = [];
  const { doorbell, descriptor, completion, dmaRead, dmaWrite } = EVENT;
  trace.listen(
    { event: (_time, kind, _subject, a, b, c, id, cause) => void events.push({ kind, id, cause, a, b, c }) },
    [doorbell, descriptor, completion, dmaRead, dmaWrite],
  );
  return events;
}

describe("edu", () => {
  /** A microsecond per byte. */
  const BANDWIDTH = 1_000_000;
  const BASE = 0xe0000000;
  const COUNT = 40;

  function make(isBusy: boolean) {
    const queue = new EventQueue(new Clock());
    const board = new TestBoard();
    const arbiter = new BusArbiter("bus", { queue, policy: "fixed", bandwidth: BANDWIDTH });
    const rival = arbiter.share({ name: "rival", burst: 100 }, () => {});
    if (isBusy) rival.request(100);
    const joinBus = (_channel: number | null, done: () => void) => arbiter.share({ name: "edu" }, done);
    const edu = new Edu({ ...board.slot("edu", 4), joinBus }, { queue });
    for (const phase of ["enter", "hold", "exit"] as const) edu.reset(phase);
    edu.configWrite(0x10, 4, BASE);
    edu.configWrite(4, 2, 6);
    const start = (): void => {
      const { start: begin, toRam, interruptAfter } = EDU_DMA;
      for (const [register, value] of [
        [EDU.dmaSource, EDU_BUFFER.base],
        [EDU.dmaDestination, 0x5000],
        [EDU.dmaCount, COUNT],
        [EDU.dmaCommand, begin.mask | toRam.mask | interruptAfter.mask],
      ] as const)
        edu.window.write(register, 4, value);
    };
    const run = (ns: number): void => {
      const end = queue.clock.now() + ns;
      while (queue.nextDeadline() <= end) {
        queue.clock.advanceTo(queue.nextDeadline());
        queue.runDue();
      }
      queue.clock.advanceTo(end);
    };
    return { edu, board, arbiter, start, run, busy: () => EDU_DMA.start.on(edu.window.read(EDU.dmaCommand, 4)) };
  }

  it("takes a microsecond and its time on the bus", () => {
    const { start, run, busy } = make(false);
    start();
    run(1000 + COUNT * 1000 - 1);
    expect(busy()).toBe(true);
    run(1);
    expect(busy()).toBe(false);
  });

  it("waits for who has the bus, and a reset takes its request back", () => {
    const { edu, arbiter, start, run, busy } = make(true);
    start();
    run(100_000 + COUNT * 1000 - 1);
    expect(busy()).toBe(true);
    for (const phase of ["enter", "hold", "exit"] as const) edu.reset(phase);
    expect(arbiter.state.shares[1]!.pending).toBe(0);
    run(1e6);
    expect(busy()).toBe(false);
  });

  it("asks for no bus that it may not use (bus master enable off)", () => {
    const { edu, arbiter, start, run, busy } = make(false);
    edu.configWrite(4, 2, 2);
    start();
    run(1000);
    expect(busy()).toBe(false);
    expect(arbiter.state.shares[1]!.bytes).toBe(0);
  });

  it("doorbell, access, completion and interrupt name each other as causes", () => {
    const { board, start, run } = make(false);
    const events = watch(board.trace);
    let interruptCause = 0;
    board.lines[0]!.connect({ lineChanged: (_pin, level, cause) => void (interruptCause = level ? cause : 0) }, 0);
    start();
    run(1e6);
    const [doorbell, access, completion] = events;
    expect(events.map(({ kind }) => kind)).toEqual([EVENT.doorbell, EVENT.dmaWrite, EVENT.completion]);
    expect([access!.cause, completion!.cause]).toEqual([doorbell!.id, doorbell!.id]);
    expect(completion).toMatchObject({ a: 0, b: COUNT, c: 0 });
    expect(interruptCause).toBe(completion!.id);
  });
});

it("the floppy controller's interrupt after a transfer is caused by the terminal count, one after a seek by nothing", () => {
  const dma = new DmaRig().cascade();
  const irq = new Line("IRQ 6", 6);
  const store = new Uint8Array(1440 * 1024);
  const drive = new FloppyDrive(0, {
    ...{ name: "disk", bytes: store.length, readOnly: false, write: () => {}, flush: () => {} },
    read: (position, into, offset, length) => into.set(store.subarray(position, position + length), offset),
  });
  const { queue, pair } = dma;
  const chip = new Floppy82077({ queue, irq: irq.pin(), dma: pair.channels[2]!, drives: [drive] });
  for (const phase of ["enter", "hold", "exit"] as const) {
    drive.reset(phase, "power");
    chip.reset(phase, "power");
  }
  const causes: number[] = [];
  irq.connect({ lineChanged: (_pin, level, cause) => void (level && causes.push(cause)) }, 0);
  const events = watch(dma.trace);
  const command = (...bytes: number[]): void => {
    for (const byte of bytes) chip.window.write(5, 1, byte);
    dma.run(3e9);
    while ((chip.window.read(4, 1) & 0xd0) === 0xd0) chip.window.read(5, 1);
  };
  chip.window.write(2, 1, 0x1c);
  dma.run(2e6);
  for (let i = 0; i < 4; i++) command(0x08);
  chip.window.write(7, 1, 0);
  command(0x03, 0xdf, 0x02);
  causes.length = 0;
  dma.program(2, { mode: 0x44, address: 0x3000, transfers: 512 });
  dma.unmask(2);
  // Read Data: drive, cylinder, head, sector, 512 bytes, last sector, gap, length.
  command(0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
  command(0x0f, 0, 5);
  const completion = events.find(({ kind }) => kind === EVENT.completion)!;
  expect(causes).toEqual([completion.id, 0]);
});

it("the sound card's interrupt after a block is caused by what told of that block", () => {
  const dma = new DmaRig().cascade();
  const irqs = [9, 5, 7, 10].map(n => new Line(`IRQ ${n}`, n));
  const { queue, pair } = dma;
  const { channels } = pair;
  const card = new SoundBlaster16({ queue, irqs: irqs.map(irq => irq.pin()), channels, onFrame: () => {} });
  for (const phase of ["enter", "hold", "exit"] as const) card.reset(phase, "power");
  const causes: number[] = [];
  irqs[1]!.connect({ lineChanged: (_pin, level, cause) => void (level && causes.push(cause)) }, 0);
  const events = watch(dma.trace);
  for (const channel of [1, 5]) {
    dma.program(channel, { mode: 0x48, address: 0x3000, transfers: 8 });
    dma.unmask(channel);
    // Eight samples: 8 bits on channel 1 by command C0h, 16 bits on channel 5 by B0h; the acknowledgement of each is at 0Eh and 0Fh.
    for (const byte of [channel === 1 ? 0xc0 : 0xb0, 0, 7, 0]) card.window.write(0xc, 1, byte);
    dma.run(1e8);
    card.window.read(channel === 1 ? 0xe : 0xf, 1);
  }
  const descriptors = events.filter(({ kind }) => kind === EVENT.descriptor);
  expect(descriptors.map(({ a }) => a)).toEqual([1, 5]);
  expect(causes).toEqual(descriptors.map(({ id }) => id));
});
