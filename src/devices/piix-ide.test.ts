/** Sections are those of Intel's 82371AB (PIIX4) data sheet, 290562-001. */
import { beforeEach, describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import { EVENT } from "../ports/events.ts";
import { describePart } from "../ports/part.contract.ts";
import { Rng } from "../sim/rng.ts";
import { hashState, loadState, saveState } from "../sim/state.ts";
import { BMI, fixture, IdeRig, patternByte, PRIMARY, usualDrives } from "./ata/ide-rig.testing.ts";
import { BM, BM_COMMAND, BM_STATUS, IDE_PLACES, IDETIM, PIIX_IDE, PIIX_IDE_CLASS, PRD_COUNT } from "./piix-ide.regs.ts";

let rig: IdeRig;
beforeEach(() => {
  rig = new IdeRig(usualDrives().drives).start();
});
const config = (offset: number, width: number): number => rig.part.configRead(offset, width);

describe("configuration space (6.1)", () => {
  it("pins the registers of the documents", () => {
    expect([PIIX_IDE.timing, PIIX_IDE.slaveTiming, PIIX_IDE.ultraControl, PIIX_IDE.ultraTiming]).toEqual([
      0x40, 0x44, 0x48, 0x4a,
    ]);
    expect([IDETIM.decode.mask, IDETIM.slaveTiming.mask, IDETIM.sample.mask, IDETIM.recovery.mask]).toEqual([
      0x8000, 0x4000, 0x3000, 0x0300,
    ]);
    expect([BM.command, BM.status, BM.table, BM_COMMAND.toMemory.mask, BM_COMMAND.start.mask]).toEqual([0, 2, 4, 8, 1]);
    expect([BM_STATUS.active, BM_STATUS.error, BM_STATUS.interrupt].map(field => field.mask)).toEqual([1, 2, 4]);
    expect([BM_STATUS.drive0.mask, BM_STATUS.drive1.mask, BM_STATUS.simplex.mask]).toEqual([0x20, 0x40, 0x80]);
    expect([PRD_COUNT.count.mask, PRD_COUNT.end.mask, PIIX_IDE_CLASS]).toEqual([0xffff, 0x80000000, 0x010180]);
    expect(IDE_PLACES.map(({ command, control, irq }) => [command, control, irq])).toEqual([
      [0x1f0, 0x3f6, 14],
      [0x170, 0x376, 15],
    ]);
  });
  it("is 8086:7111, class 010180, with 16 ports at BAR 4", () => {
    expect([config(0, 4), config(8, 4) >>> 8]).toEqual([0x71118086, 0x010180]);
    rig.part.configWrite(0x20, 4, 0xffffffff);
    expect(config(0x20, 4)).toBe(0xfffffff1);
    expect([0x10, 0x14, 0x18, 0x1c, 0x24].map(offset => config(offset, 4))).toEqual([0, 0, 0, 0, 0]);
  });
  it("the command register has I/O space and bus master only (6.1.3)", () => {
    rig.part.configWrite(4, 2, 0xffff);
    expect(config(4, 2)).toBe(5);
  });
  it("timing registers: 0 after a reset, and their bits (6.1.12 to 6.1.16)", () => {
    for (const phase of ["enter", "hold", "exit"] as const) rig.part.reset(phase, "system");
    expect([0x40, 0x44, 0x48].map(offset => config(offset, 4))).toEqual([0, 0, 0]);
    for (let offset = 0x40; offset < 0x50; offset += 4) rig.part.configWrite(offset, 4, 0xffffffff);
    expect([0x40, 0x44, 0x48, 0x4c].map(offset => config(offset, 4))).toEqual([0xf3fff3ff, 0xff, 0x3333000f, 0]);
  });
});

describe("compatibility ports", () => {
  const answers = (): boolean[] => [0x1f7, 0x3f6, 0x177, 0x376].map(port => rig.in(port) !== 0xff);
  it("answer while I/O space and the channel's decode enable are on", () => {
    expect(answers()).toEqual([true, true, true, true]);
    rig.part.configWrite(0x40, 2, 0);
    expect(answers()).toEqual([false, false, true, true]);
    rig.part.configWrite(0x40, 4, 0x8000);
    expect(answers()).toEqual([true, true, false, false]);
    rig.part.configWrite(4, 2, 4);
    expect(answers()).toEqual([false, false, false, false]);
  });
  it("bus-master ports answer where BAR 4 says", () => {
    rig.out(BMI + 4, 0x1234, 2);
    rig.part.configWrite(0x20, 4, 0xd000);
    expect([rig.in(BMI + 4, 2), rig.in(0xd004, 2)]).toEqual([0xffff, 0x1234]);
  });
  it("interrupts set the bus master's bit by their rising edge, also without a transfer", () => {
    rig.command(PRIMARY, 0xe1);
    rig.settle();
    rig.out(BMI + 2, 4);
    expect([rig.lines[0]!.level, rig.in(BMI + 2)]).toEqual([true, 0]);
  });
  it("a reset takes the interrupt line down and forgets what was going on", () => {
    rig.command(PRIMARY, 0xec);
    rig.settle();
    for (const phase of ["enter", "hold", "exit"] as const) rig.part.reset(phase, "system");
    rig.firmware();
    expect([rig.lines[0]!.level, rig.status(PRIMARY)]).toEqual([false, 0x50]);
  });
});

it("saved at any step of a transfer and loaded, it goes on alike", () => {
  const begin = (one: IdeRig): void => {
    one.table(0x1000, [
      [0x3000, 512, false],
      [0x5000, 1024, false],
      [0x8000, 512, true],
    ]);
    one.out(BMI + 4, 0x1000, 4);
    one.command(PRIMARY, 0xc8, [0, 4, 3]);
    one.out(BMI, 9);
  };
  for (let steps = 0; steps < 6; steps++) {
    const first = new IdeRig(usualDrives().drives).start();
    begin(first);
    for (let i = 0; i < steps && first.queue.nextDeadline() < Number.POSITIVE_INFINITY; i++)
      first.run(first.queue.nextDeadline() - first.queue.clock.now());
    const second = new IdeRig(usualDrives().drives);
    second.board.space.writeBlock(0, Uint8Array.from(first.memory(0, 0x9000)), 0, 0x9000);
    loadState(second.part.state, saveState(first.part.state));
    second.queue.clock.state.now = first.queue.clock.now();
    second.queue.load(first.queue.save());
    second.lines.forEach((line, n) => {
      loadState(line.state, saveState(first.lines[n]!.state));
    });
    second.part.restored();
    first.settle();
    second.settle();
    expect([second.in(BMI + 2), second.lines[0]!.level]).toEqual([4, true]);
    expect(hashState(second.part.state)).toBe(hashState(first.part.state));
    expect(second.board.space.read(0x8001, 1)).toBe(patternByte(3 * 512 + 1537));
  }
});

it("whatever a program did, stop, SRST and a table that is right bring the disk back, and its data are what was written last", () => {
  const completions = { all: 0, failed: 0 };
  for (let seed = 0; seed < 60; seed++) {
    const { rig: one, stimulate, disk } = fixture();
    const event = (_t: number, _k: number, _s: number, _a: number, _b: number, code: number) => {
      completions.all++;
      if (code !== 0) completions.failed++;
    };
    one.board.trace.listen({ event }, [EVENT.completion]);
    one.start();
    const rng = new Rng(`program ${seed}`);
    for (let i = 0; i < 150; i++) {
      stimulate(rng);
      one.run(rng.below(300_000));
    }
    one.firmware();
    for (const control of [4, 0]) {
      one.out(BMI, 0);
      one.out(PRIMARY.control, control);
    }
    one.settle();
    one.command(PRIMARY, 0xf8);
    one.settle();
    // All of the disk again: SET MAX may have cut it.
    one.command(PRIMARY, 0xf9, [0, 0, 0xff, 0x0f, 0]);
    one.settle();
    one.table(0x1000, [[0x3000, 1024, true]]);
    one.out(BMI + 4, 0x1000, 4);
    one.out(BMI + 2, 6);
    one.command(PRIMARY, 0xc8, [0, 2, 5]);
    one.out(BMI, 9);
    one.settle();
    expect([seed, one.in(BMI + 2) & 7, one.status(PRIMARY), one.lines[0]!.level]).toEqual([seed, 4, 0x50, true]);
    expect(one.memory(0x3000, 1024)).toEqual([...disk.store.subarray(5 * 512, 7 * 512)]);
  }
  // The programs do reach the engines, and their errors.
  expect(completions.all).toBeGreaterThan(100);
  expect(completions.failed).toBeGreaterThan(20);
});

describePart("PIIX4 IDE", fixture);

it(
  "fuzz: random programs of task files, packets and bus masters never hang or throw; the line follows the selected drive",
  () => {
    fuzzPart(
      fixture,
      "ide",
      { maxAdvance: 3_000_000, steps: process.env.IRETQ_NIGHTLY === undefined ? 60_000 : 5_000_000 },
      ({ part, rig: one }) => {
        part.state.device.channels.forEach(({ cable, drives, engine }, n) => {
          const wanted = drives[cable.selected]?.interrupt === true && (cable.control & 2) === 0;
          expect(one.lines[n]!.level).toBe(wanted);
          // Active and error exclude each other; a drive that rests has nothing left to move.
          expect(engine.status & 3).not.toBe(3);
          for (const drive of drives) if (drive !== null && (drive.status & 0x88) === 0) expect(drive.left).toBe(0);
        });
      },
    );
  },
  FUZZ_TIMEOUT,
);
