/** Sections are those of T13/1410D (ATA/ATAPI-6), SPC-2 (T10/1236-D) and MMC-3 (T10/1363-D). */
import { beforeEach, describe, expect, it } from "vitest";
import { CD_SECTORS, IdeRig, patternByte, SECONDARY, usualDrives } from "./ide-rig.testing.ts";

const AT = SECONDARY;
const PORT = AT.command;
/** Drive 1 has no disc. */
const EMPTY = 0xb0;
let rig: IdeRig;
beforeEach(() => {
  rig = new IdeRig(usualDrives().drives).start();
  // The unit attention after power on.
  rig.packet(AT, [0]);
  rig.packet(AT, [0], 0xfffe, EMPTY);
  rig.out(PORT + 6, 0xa0);
  rig.in(PORT + 7);
});
const status = (): number => rig.status(AT);
const reason = (): number => rig.in(PORT + 2);
const count = (): number => rig.in(PORT + 4) | (rig.in(PORT + 5) << 8);
const line = () => rig.lines[1]!;

/** A packet by PIO: the bytes of all blocks, and the sizes of the blocks. */
function ask(bytes: readonly number[], limit = 0xfffe, device = 0xa0): { data: number[]; blocks: number[] } {
  rig.packet(AT, bytes, limit, device);
  const data: number[] = [];
  const blocks: number[] = [];
  while ((status() & 8) !== 0) {
    const size = count();
    blocks.push(size);
    rig.in(PORT + 7);
    data.push(...rig.bytes(AT, size + (size & 1)).slice(0, size));
    rig.settle();
  }
  return { data, blocks };
}
/** Key and code of REQUEST SENSE. */
function sense(device = 0xa0): [number, number] {
  const { data } = ask([0x03, 0, 0, 0, 18], 0xfffe, device);
  return [data[2]!, (data[12]! << 8) | data[13]!];
}
const sectorOf = (number: number): number[] => Array.from({ length: 2048 }, (_, i) => patternByte(number * 2048 + i));

describe("ATA commands of a packet device", () => {
  it("IDENTIFY PACKET DEVICE: ATAPI, CD-ROM, removable, packets of 12 bytes, DRQ in 50 µs (8.17)", () => {
    rig.command(AT, 0xa1, [0, 0, 0, 0, 0, 0xa0]);
    rig.settle();
    expect(status()).toBe(0x58);
    const words = rig.words(AT, 256);
    expect([words[0], words[82]! & 0x0210, words[49]! & 0x0300]).toEqual([0x85c0, 0x0210, 0x0300]);
    expect(words.reduce((sum, word) => sum + (word & 0xff) + (word >> 8), 0) & 0xff).toBe(0);
    expect([status(), words[255]! & 0xff]).toEqual([0x50, 0xa5]);
  });
  it("IDENTIFY DEVICE and READ SECTORS end with ABRT and show the signature (8.16.5, 8.34)", () => {
    for (const command of [0xec, 0x20]) {
      rig.command(AT, command, [0, 7, 7, 7, 7, 0xa0]);
      rig.settle();
      expect([status(), rig.in(PORT + 1), count(), reason()]).toEqual([0x51, 0x04, 0xeb14, 1]);
    }
  });
  it("other commands are known or end with ABRT", () => {
    for (const [command, ok] of [
      [0xe0, true],
      [0xe1, true],
      [0xe5, true],
      [0xe7, false],
      [0x00, false],
      [0xc8, false],
    ] as const) {
      rig.command(AT, command, [0, 0, 0, 0, 0, 0xa0]);
      rig.settle();
      expect([command, status()]).toEqual([command, ok ? 0x50 : 0x51]);
    }
  });
});

describe("PACKET (8.22, 9.10)", () => {
  it("asks for the packet with DRQ, C/D = 1, I/O = 0 and without an interrupt", () => {
    const before = rig.edges[1]!;
    rig.command(AT, 0xa0, [0, 0, 0, 0xfe, 0xff, 0xa0]);
    rig.settle();
    expect([status(), reason() & 3, rig.edges[1]! - before]).toEqual([0x58, 1, 0]);
  });
  it("gives data with I/O = 1, C/D = 0, the size of the block and an interrupt, then the status with another one", () => {
    const before = rig.edges[1]!;
    rig.packet(AT, [0x12, 0, 0, 0, 36]);
    expect([status(), reason() & 3, count(), line().level]).toEqual([0x58, 2, 36, true]);
    rig.in(PORT + 7);
    rig.words(AT, 18);
    expect(status()).toBe(0x80);
    rig.settle();
    expect([status(), reason() & 3, line().level, rig.edges[1]! - before]).toEqual([0x50, 3, true, 2]);
  });
  it("without data: one interrupt, with the status", () => {
    const before = rig.edges[1]!;
    rig.packet(AT, [0x00]);
    expect([status(), reason() & 3, rig.edges[1]! - before]).toEqual([0x50, 3, 1]);
  });
  it("blocks are not larger than the byte count limit, and even but for the last (8.22.4)", () => {
    expect(ask([0x12, 0, 0, 0, 36], 10).blocks).toEqual([10, 10, 10, 6]);
    expect(ask([0x12, 0, 0, 0, 36], 11).blocks).toEqual([10, 10, 10, 6]);
    expect(ask([0x12, 0, 0, 0, 5], 5).blocks).toEqual([5]);
    expect(ask([0x28, 0, 0, 0, 0, 0, 0, 0, 40], 0xffff).blocks).toEqual([0xfffe, 40 * 2048 - 0xfffe]);
  });
  it("a limit of 0 ends with ABRT where there is data", () => {
    rig.packet(AT, [0x12, 0, 0, 0, 36], 0);
    expect([status(), rig.in(PORT + 1)]).toEqual([0x51, 0x04]);
  });
  it("overlapped packets are refused", () => {
    rig.command(AT, 0xa0, [2, 0, 0, 0, 1, 0xa0]);
    rig.settle();
    expect([status(), rig.in(PORT + 1)]).toEqual([0x51, 0x04]);
  });
  it("an error: CHK, the sense key in the error register, and REQUEST SENSE tells it once (SPC-2, 7.23)", () => {
    rig.packet(AT, [0xff]);
    expect([status(), rig.in(PORT + 1) >> 4, reason() & 3]).toEqual([0x51, 5, 3]);
    const { data } = ask([0x03, 0, 0, 0, 255]);
    expect([data.length, data[0], data[2], data[7], data[12], data[13]]).toEqual([18, 0x70, 5, 10, 0x20, 0]);
    expect(sense()).toEqual([0, 0]);
  });
});

describe("packets that ask", () => {
  it("power on is a unit attention, which INQUIRY and REQUEST SENSE do not fail for (SPC-2, 7.3, 7.23)", () => {
    const fresh = new IdeRig(usualDrives().drives).start();
    fresh.packet(AT, [0x12, 0, 0, 0, 36]);
    expect(fresh.status(AT)).toBe(0x58);
    fresh.words(AT, 18);
    fresh.settle();
    fresh.packet(AT, [0x00]);
    expect([fresh.status(AT), fresh.in(PORT + 1) >> 4]).toEqual([0x51, 6]);
    fresh.packet(AT, [0x03, 0, 0, 0, 18]);
    const data = fresh.bytes(AT, 18);
    expect([data[2], data[12]]).toEqual([6, 0x29]);
    fresh.settle();
    fresh.packet(AT, [0x00]);
    expect(fresh.status(AT)).toBe(0x50);
  });
  it("INQUIRY: a removable CD-ROM (SPC-2, 7.3)", () => {
    const { data } = ask([0x12, 0, 0, 0, 255]);
    expect([data.length, data[0], data[1], data[4]]).toEqual([36, 5, 0x80, 31]);
    expect(String.fromCharCode(...data.slice(8, 16))).toBe("IRETQ   ");
    rig.packet(AT, [0x12, 1, 0x80, 0, 255]);
    expect(sense()).toEqual([5, 0x2400]);
  });
  it("READ CAPACITY: the last sector, and 2048 bytes (MMC-3, 5.20)", () => {
    expect(ask([0x25]).data).toEqual([0, 0, (CD_SECTORS - 1) >> 8, (CD_SECTORS - 1) & 0xff, 0, 0, 8, 0]);
  });
  it("READ TOC: one data track and the lead-out, as sectors and as minutes, seconds, frames (MMC-3, 5.23)", () => {
    const lba = [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 1, 44];
    expect(ask([0x43, 0, 0, 0, 0, 0, 0, 0, 255]).data).toEqual(lba);
    // 300 + 150 frames are 6 seconds.
    const msf = [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0, 0, 0x14, 0xaa, 0, 0, 0, 6, 0];
    expect(ask([0x43, 2, 0, 0, 0, 0, 0, 0, 255]).data).toEqual(msf);
    expect(ask([0x43, 0, 0, 0, 0, 0, 0xaa, 0, 255]).data).toEqual([0, 10, 1, 1, ...lba.slice(12)]);
    expect(ask([0x43, 0, 0, 0, 0, 0, 0, 0, 4]).data).toEqual([0, 18, 1, 1]);
    expect(ask([0x43, 0, 1, 0, 0, 0, 0, 0, 255]).data).toEqual([0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0]);
    for (const [format, start] of [
      [0, 2],
      [5, 0],
    ] as const) {
      rig.packet(AT, [0x43, 0, format, 0, 0, 0, start, 0, 255]);
      expect(sense()).toEqual([5, 0x2400]);
    }
  });
  it("MODE SENSE(10): header of 8 bytes, pages by number or all, changeable bits, none saved (SPC-2, 7.9, 8.3)", () => {
    const capabilities = ask([0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0]).data;
    expect([capabilities.length, capabilities[1], capabilities[8], capabilities[9]]).toEqual([30, 28, 0x2a, 20]);
    expect(capabilities[14]! & 0x0b).toBe(0x09);
    expect(ask([0x5a, 0, 0x3f, 0, 0, 0, 0, 1, 0]).data.length).toBe(38);
    expect(ask([0x5a, 0, 0x41, 0, 0, 0, 0, 1, 0]).data.slice(8)).toEqual([1, 6, 0, 0, 0, 0, 0, 0]);
    rig.packet(AT, [0x5a, 0, 0xc1, 0, 0, 0, 0, 1, 0]);
    expect(sense()).toEqual([5, 0x3900]);
    rig.packet(AT, [0x5a, 0, 0x08, 0, 0, 0, 0, 1, 0]);
    expect(sense()).toEqual([5, 0x2400]);
  });
  it("GET CONFIGURATION: the CD-ROM profile and its features (MMC-3, 5.5)", () => {
    const { data } = ask([0x46, 0, 0, 0, 0, 0, 0, 1, 0]);
    expect([data[3], data[6], data[7]]).toEqual([data.length - 4, 0, 8]);
    const features: number[] = [];
    for (let at = 8; at < data.length; at += 4 + data[at + 3]!) features.push(data[at]! * 256 + data[at + 1]!);
    expect(features).toEqual([0, 1, 3, 0x10, 0x1e]);
    expect(ask([0x46, 2, 0, 3, 0, 0, 0, 1, 0]).data.slice(8, 10)).toEqual([0, 3]);
    const empty = ask([0x46, 1, 0, 0, 0, 0, 0, 1, 0], 0xfffe, EMPTY).data;
    expect([empty[7], empty.length]).toEqual([0, 8 + 8 + 8 + 8]);
  });
  it("GET EVENT STATUS NOTIFICATION is polled only; it tells of the disc (MMC-3, 5.6)", () => {
    expect(ask([0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8]).data).toEqual([0, 6, 4, 0x10, 0, 2, 0, 0]);
    expect(ask([0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8]).data).toEqual([0, 2, 0x80, 0x10]);
    rig.packet(AT, [0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8]);
    expect(sense()).toEqual([5, 0x2400]);
  });
  it("MECHANISM STATUS: no slots (MMC-3, 5.12)", () => {
    expect(ask([0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8]).data).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });
});

describe("reading", () => {
  it("READ(10) and READ(12) give sectors of 2048 bytes (SBC, 5.2; MMC-3, 5.16)", () => {
    expect(ask([0x28, 0, 0, 0, 0, 9, 0, 0, 2]).data).toEqual([...sectorOf(9), ...sectorOf(10)]);
    expect(ask([0xa8, 0, 0, 0, 1, 0x2b, 0, 0, 0, 1]).data).toEqual(sectorOf(CD_SECTORS - 1));
  });
  it("a length of 0 is no error, and moves nothing", () => {
    expect(ask([0x28, 0, 0, 0, 0, 9, 0, 0, 0]).blocks).toEqual([]);
    expect(status()).toBe(0x50);
  });
  it("behind the end: illegal request, out of range", () => {
    rig.packet(AT, [0x28, 0, 0, 0, 1, 0x2b, 0, 0, 2]);
    expect(sense()).toEqual([5, 0x2100]);
    rig.packet(AT, [0xa8, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    expect(sense()).toEqual([5, 0x2100]);
    rig.packet(AT, [0x2b, 0, 0, 0, 1, 0x2c]);
    expect(sense()).toEqual([5, 0x2100]);
  });
  it("takes 1 ms and 100 µs per sector", () => {
    rig.command(AT, 0xa0, [0, 0, 0, 0, 8, 0xa0]);
    rig.run(5000);
    for (const word of [0x28, 0, 0, 0, 3, 0]) rig.out(PORT, word, 2);
    rig.run(5000 + 1_300_000 - 1);
    expect(status()).toBe(0x80);
    rig.run(1);
    expect(status()).toBe(0x58);
  });
});

describe("the tray", () => {
  const medium = (): number[] => ask([0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8]).data.slice(4, 6);
  it("without a disc: not ready, medium not present", () => {
    for (const code of [0x00, 0x25, 0x28, 0x43]) {
      rig.packet(AT, [code, 0, 0, 0, 0, 0, 0, 0, 1], 0xfffe, EMPTY);
      expect(rig.in(PORT + 1) >> 4).toBe(2);
      expect(sense(EMPTY)).toEqual([2, 0x3a01]);
    }
  });
  it("ejects and loads; both are events, and the new disc a unit attention (MMC-3, 5.42, 5.6)", () => {
    rig.packet(AT, [0x1b, 0, 0, 0, 2]);
    rig.packet(AT, [0x00]);
    expect(sense()).toEqual([2, 0x3a02]);
    expect(medium()).toEqual([3, 1]);
    expect(ask([0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8]).data[1]).toBe(0x10);
    rig.packet(AT, [0x1b, 0, 0, 0, 3]);
    expect(medium()).toEqual([2, 2]);
    expect(medium()).toEqual([0, 2]);
    rig.packet(AT, [0x00]);
    expect(sense()).toEqual([6, 0x2800]);
    rig.packet(AT, [0x00]);
    expect(status()).toBe(0x50);
  });
  it("a locked tray stays shut (MMC-3, 5.13)", () => {
    rig.packet(AT, [0x1e, 0, 0, 0, 1]);
    rig.packet(AT, [0x1b, 0, 0, 0, 2]);
    expect(sense()).toEqual([5, 0x5302]);
    expect(ask([0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0]).data[14]! & 2).toBe(2);
    rig.packet(AT, [0x1e, 0, 0, 0, 0]);
    rig.packet(AT, [0x1b, 0, 0, 0, 2]);
    expect(status()).toBe(0x50);
  });
});
