/** Sections are those of T13/1410D (ATA/ATAPI-6). */
import { beforeEach, describe, expect, it } from "vitest";
import { ATA_COMMAND, ATA_CONTROL, ATA_DEVICE, ATA_ERROR, ATA_SIGNATURE, ATA_STATUS } from "./ata.regs.ts";
import { IdeRig, medium, PRIMARY, SECONDARY, SECTORS, usualDrives } from "./ide-rig.testing.ts";

let rig: IdeRig;
beforeEach(() => {
  rig = new IdeRig(usualDrives().drives).start();
});
const two = (): IdeRig =>
  new IdeRig([
    { kind: "disk", medium: medium(SECTORS * 512) },
    { kind: "disk", medium: medium(100 * 512) },
    null,
    { kind: "disk", medium: medium(100 * 512) },
  ]).start();
const COMMAND = PRIMARY.command;

describe("registers (chapter 7)", () => {
  it("pins the bits and codes", () => {
    const { err, drq, df, drdy, bsy } = ATA_STATUS;
    expect([err, drq, df, drdy, bsy].map(field => field.mask)).toEqual([0x01, 0x08, 0x20, 0x40, 0x80]);
    expect([ATA_ERROR.abrt, ATA_ERROR.idnf, ATA_ERROR.icrc].map(field => field.mask)).toEqual([0x04, 0x10, 0x80]);
    expect([ATA_CONTROL.nIen, ATA_CONTROL.srst, ATA_CONTROL.hob].map(field => field.mask)).toEqual([2, 4, 0x80]);
    expect([ATA_DEVICE.dev, ATA_DEVICE.lba].map(field => field.mask)).toEqual([0x10, 0x40]);
    expect([ATA_SIGNATURE.disk, ATA_SIGNATURE.packet]).toEqual([
      [1, 1, 0, 0],
      [1, 1, 0x14, 0xeb],
    ]);
    const codes = [ATA_COMMAND.identify, ATA_COMMAND.readDmaExt, ATA_COMMAND.flushExt, ATA_COMMAND.packet];
    expect(codes).toEqual([0xec, 0x25, 0xea, 0xa0]);
  });
  it("after power on a disk is ready with its signature, diagnostics passed (9.12)", () => {
    expect(rig.status(PRIMARY)).toBe(0x50);
    expect([1, 2, 3, 4, 5, 6].map(offset => rig.in(COMMAND + offset))).toEqual([1, 1, 1, 0, 0, 0]);
  });
  it("an ATAPI drive shows 14h and EBh, and a status of 0 (9.12)", () => {
    expect(rig.status(SECONDARY)).toBe(0);
    expect([1, 2, 3, 4, 5, 6].map(offset => rig.in(0x170 + offset))).toEqual([1, 1, 1, 0x14, 0xeb, 0]);
  });
  it("task file registers are FIFOs of two bytes; HOB shows the older one until a register is written (6.20, 7.8)", () => {
    for (const [offset, values] of [
      [2, [0x12, 0x34]],
      [3, [0x56, 0x78]],
      [4, [0x9a, 0xbc]],
      [5, [0xde, 0xf0]],
    ] as const) {
      for (const value of values) rig.out(COMMAND + offset, value);
    }
    expect([2, 3, 4, 5].map(offset => rig.in(COMMAND + offset))).toEqual([0x34, 0x78, 0xbc, 0xf0]);
    rig.out(PRIMARY.control, 0x80);
    expect([2, 3, 4, 5].map(offset => rig.in(COMMAND + offset))).toEqual([0x12, 0x56, 0x9a, 0xde]);
    rig.out(COMMAND + 1, 0);
    expect(rig.in(COMMAND + 2)).toBe(0x34);
  });
  it("writes to the task file while BSY is set are lost, and commands as well", () => {
    rig.out(COMMAND + 2, 0x11);
    rig.command(PRIMARY, 0xe5, [0, 0x22]);
    expect(rig.status(PRIMARY)).toBe(0x80);
    rig.out(COMMAND + 3, 0x77);
    rig.out(COMMAND + 7, 0xe0);
    rig.settle();
    expect([rig.status(PRIMARY), rig.in(COMMAND + 2), rig.in(COMMAND + 3)]).toEqual([0x50, 0xff, 0]);
  });
});

describe("drives that are not there (9.16, table 4)", () => {
  it("a cable without drives reads 7Fh: DD7 is pulled down", () => {
    const empty = new IdeRig([null, null, null, null]).start();
    expect([1, 2, 3, 4, 5, 6, 7].map(offset => empty.in(COMMAND + offset))).toEqual(new Array(7).fill(0x7f));
    expect([empty.status(PRIMARY), empty.in(COMMAND, 2)]).toEqual([0x7f, 0xff7f]);
  });
  it("device 0 alone: of device 1 the status is 0, a disk shows its own other registers, commands do nothing", () => {
    rig.out(COMMAND + 3, 0x5a);
    rig.out(COMMAND + 6, 0xb0);
    expect([rig.status(PRIMARY), rig.in(COMMAND + 7), rig.in(COMMAND + 3), rig.in(COMMAND + 6)]).toEqual([
      0, 0, 0x5a, 0xb0,
    ]);
    rig.out(COMMAND + 7, 0xec);
    rig.settle();
    expect([rig.status(PRIMARY), rig.edges[0]]).toEqual([0, 0]);
  });
  it("device 0 alone, an ATAPI drive: of device 1 everything is 0", () => {
    const { drives } = usualDrives();
    const alone = new IdeRig([null, null, drives[2]!, null]).start();
    alone.out(0x176, 0xb0);
    expect([1, 2, 3, 4, 5, 6, 7].map(offset => alone.in(0x170 + offset))).toEqual(new Array(7).fill(0));
  });
  it("device 1 alone: nobody answers for device 0", () => {
    const both = two();
    both.out(0x176, 0xa0);
    expect([both.status(SECONDARY), both.in(0x174)]).toEqual([0x7f, 0x7f]);
    both.out(0x176, 0xb0);
    expect(both.status(SECONDARY)).toBe(0x50);
  });
});

describe("two drives, INTRQ", () => {
  it("both hear the task file, the selected one obeys the command", () => {
    const both = two();
    both.command(PRIMARY, 0xec, [0, 0, 0, 0, 0, 0xf0]);
    both.settle();
    expect(both.status(PRIMARY)).toBe(0x58);
    const words = both.words(PRIMARY, 256);
    expect(words[60]).toBe(100);
    both.out(COMMAND + 6, 0xe0);
    expect(both.status(PRIMARY)).toBe(0x50);
  });
  it("INTRQ is the selected drive's; a pending one waits for its selection (7.7.3)", () => {
    const both = two();
    both.command(PRIMARY, 0xe1);
    both.settle();
    expect(both.lines[0]!.level).toBe(true);
    both.out(COMMAND + 6, 0xf0);
    expect(both.lines[0]!.level).toBe(false);
    both.out(COMMAND + 6, 0xe0);
    expect(both.lines[0]!.level).toBe(true);
  });
  it("the status register acknowledges, the alternate status does not (7.3, 7.15)", () => {
    rig.command(PRIMARY, 0xe1);
    rig.settle();
    rig.status(PRIMARY);
    expect(rig.lines[0]!.level).toBe(true);
    rig.in(COMMAND + 7);
    expect(rig.lines[0]!.level).toBe(false);
  });
  it("a new command takes a pending interrupt away", () => {
    rig.command(PRIMARY, 0xe1);
    rig.settle();
    rig.out(COMMAND + 7, 0xe1);
    expect(rig.lines[0]!.level).toBe(false);
  });
  it("nIEN keeps it off the line, and lets it through when cleared (7.8.3)", () => {
    rig.out(PRIMARY.control, 2);
    rig.command(PRIMARY, 0xe1);
    rig.settle();
    expect(rig.lines[0]!.level).toBe(false);
    rig.out(PRIMARY.control, 0);
    expect(rig.lines[0]!.level).toBe(true);
  });
});

describe("resets and diagnostics", () => {
  it("SRST: busy while it is held and after it, then the signature, device 0 and no interrupt (9.3)", () => {
    rig.command(PRIMARY, 0xe1, [0, 9, 9, 9, 9, 0xe0]);
    rig.out(PRIMARY.control, 4);
    rig.run(10e6);
    expect(rig.status(PRIMARY)).toBe(0x80);
    rig.out(PRIMARY.control, 0);
    expect(rig.status(PRIMARY)).toBe(0x80);
    rig.settle();
    expect([1, 2, 3, 4, 5, 6, 7].map(offset => rig.in(COMMAND + offset))).toEqual([1, 1, 1, 0, 0, 0, 0x50]);
    expect(rig.edges[0]).toBe(0);
  });
  it("SRST ends a transfer", () => {
    rig.command(PRIMARY, 0x20, [0, 2, 0]);
    rig.settle();
    expect(rig.status(PRIMARY)).toBe(0x58);
    rig.out(PRIMARY.control, 4);
    rig.out(PRIMARY.control, 0);
    rig.settle();
    expect([rig.status(PRIMARY), rig.lines[0]!.level, rig.in(COMMAND, 2)]).toEqual([0x50, false, 0xffff]);
  });
  it("EXECUTE DEVICE DIAGNOSTIC: both drives, code 01h, device 0 selected, one interrupt (8.9)", () => {
    const both = two();
    both.command(PRIMARY, 0x90, [0, 9, 9, 9, 9, 0xf0]);
    expect(both.status(PRIMARY)).toBe(0x80);
    both.settle();
    expect([both.edges[0], both.in(COMMAND + 1), both.in(COMMAND + 6), both.in(COMMAND + 2)]).toEqual([1, 1, 0, 1]);
    both.out(COMMAND + 6, 0x10);
    expect([both.in(COMMAND + 1), both.in(COMMAND + 4), both.lines[0]!.level]).toEqual([1, 0, false]);
  });
  it("DEVICE RESET is for ATAPI drives, also while they are busy; a disk aborts it (8.7)", () => {
    rig.command(SECONDARY, 0xa1);
    rig.out(0x177, 0x08);
    rig.settle();
    expect([rig.status(SECONDARY), rig.in(0x174), rig.in(0x175), rig.edges[1]]).toEqual([0, 0x14, 0xeb, 0]);
    rig.command(PRIMARY, 0x08);
    rig.settle();
    expect([rig.status(PRIMARY), rig.in(COMMAND + 1)]).toEqual([0x51, 0x04]);
  });
  it("SLEEP: only a reset wakes the drive (8.50)", () => {
    rig.command(PRIMARY, 0xe6);
    rig.settle();
    expect(rig.edges[0]).toBe(1);
    rig.command(PRIMARY, 0xe1);
    rig.settle();
    expect(rig.edges[0]).toBe(1);
    rig.out(PRIMARY.control, 4);
    rig.out(PRIMARY.control, 0);
    rig.settle();
    rig.command(PRIMARY, 0xe1);
    rig.settle();
    expect(rig.edges[0]).toBe(2);
  });
});

describe("the data register", () => {
  it("gives two words for a doubleword", () => {
    rig.command(PRIMARY, 0x20, [0, 1, 0]);
    rig.settle();
    // patternByte: 7 i for the first bytes.
    expect([rig.in(COMMAND, 4), rig.in(COMMAND, 2)]).toEqual([0x150e0700, 0x231c]);
  });
  it("takes nothing and gives all-ones without DRQ", () => {
    rig.out(COMMAND, 0x1234, 2);
    expect(rig.in(COMMAND, 2)).toBe(0xffff);
  });
});
