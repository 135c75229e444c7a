/** Sections are those of T13/1410D (ATA/ATAPI-6); CHS after X3T10/2008D (ATA-3). */
import { beforeEach, describe, expect, it } from "vitest";
import { IdeRig, medium, patternByte, PRIMARY, SECTORS, type Store } from "./ide-rig.testing.ts";

let rig: IdeRig;
let disk: Store;
function build(readOnly = false): void {
  disk = medium(SECTORS * 512, readOnly);
  rig = new IdeRig([{ kind: "disk", medium: disk }, null, null, null]).start();
}
beforeEach(() => build());

const COMMAND = PRIMARY.command;
const status = (): number => rig.status(PRIMARY);
const error = (): number => rig.in(COMMAND + 1);
const level = (): boolean => rig.lines[0]!.level;
const sectorOf = (number: number): number[] => Array.from({ length: 512 }, (_, i) => patternByte(number * 512 + i));
const address = (): number[] => [3, 4, 5].map(offset => rig.in(COMMAND + offset));
/** A command and its end. */
function run(command: number, registers: readonly number[] = []): void {
  rig.command(PRIMARY, command, registers);
  rig.settle();
}
/** LBA48: older bytes first. */
function wide(command: number, count: number, sector: number): void {
  rig.out(COMMAND + 6, 0xe0);
  const bytes = [0, 8, 16].map(shift => (sector >>> shift) & 0xff);
  const upper = Math.floor(sector / 2 ** 24);
  const pairs = [[0, 0], [count >> 8, count & 0xff], ...bytes.map((low, i) => [(upper >>> (8 * i)) & 0xff, low])];
  pairs.forEach((values, i) => {
    for (const value of values) rig.out(COMMAND + 1 + i, value);
  });
  rig.out(COMMAND + 7, command);
  rig.settle();
}
function identify(): number[] {
  run(0xec);
  return rig.words(PRIMARY, 256);
}
const text = (words: readonly number[], first: number, count: number): string =>
  String.fromCharCode(...words.slice(first, first + count).flatMap(word => [word >> 8, word & 0xff])).trim();
function write(words: number, value: number): void {
  for (let i = 0; i < words; i++) rig.out(COMMAND, value, 2);
}

describe("IDENTIFY DEVICE (8.16)", () => {
  it("is a PIO data-in command: BSY, then DRQ with an interrupt, then ready without one", () => {
    rig.command(PRIMARY, 0xec);
    expect([status(), level()]).toEqual([0x80, false]);
    rig.settle();
    expect([status(), level()]).toEqual([0x58, true]);
    rig.in(COMMAND + 7);
    rig.words(PRIMARY, 255);
    expect(status()).toBe(0x58);
    rig.words(PRIMARY, 1);
    rig.settle();
    expect([status(), level(), rig.edges[0]]).toEqual([0x50, false, 1]);
  });
  it("says what the disk has, word by word (table 22)", () => {
    const words = identify();
    expect([words[0]! & 0x8000, words[49]! & 0x0300, words[47]]).toEqual([0, 0x0300, 0x8010]);
    expect([words[60]! + words[61]! * 65536, words[100]! + words[101]! * 65536]).toEqual([SECTORS, SECTORS]);
    expect([words[1], words[3], words[6]]).toEqual([4, 16, 63]);
    // 48-bit addresses, FLUSH CACHE and its EXT; write cache and look-ahead on; host protected area.
    expect([words[83]! & 0x7400, words[85]! & 0x0060, words[82]! & 0x0400]).toEqual([0x7400, 0x0060, 0x0400]);
    expect([words[63]! & 7, words[88]! & 7, words[80]! & 0x40]).toEqual([7, 7, 0x40]);
    expect([text(words, 10, 10), text(words, 27, 20)]).toEqual(["iretq-ide0", "IRETQ DISK"]);
  });
  it("has A5h in the last word, and a checksum (8.16.60)", () => {
    const words = identify();
    const sum = words.reduce((total, word) => total + (word & 0xff) + (word >> 8), 0);
    expect([words[255]! & 0xff, sum & 0xff]).toEqual([0xa5, 0]);
  });
});

describe("PIO data-in (9.7)", () => {
  it("READ SECTORS: an interrupt before each sector, none after the last", () => {
    run(0x20, [0, 3, 5]);
    for (let n = 0; n < 3; n++) {
      expect([status(), level(), rig.edges[0]]).toEqual([0x58, true, n + 1]);
      rig.in(COMMAND + 7);
      expect(rig.bytes(PRIMARY, 512)).toEqual(sectorOf(5 + n));
      expect(status()).toBe(n < 2 ? 0x80 : 0x50);
      rig.settle();
    }
    expect([status(), level()]).toEqual([0x50, false]);
  });
  it("a count of 0 is 256 sectors, of READ SECTORS EXT 65536", () => {
    run(0x20, [0, 0, 0]);
    let sectors = 0;
    for (; (status() & 8) !== 0; rig.settle(), sectors++) rig.words(PRIMARY, 256);
    expect(sectors).toBe(256);
    wide(0x24, 0, 0);
    expect([status(), error()]).toEqual([0x51, 0x10]);
  });
  it("READ MULTIPLE: blocks of the size that SET MULTIPLE MODE has set, the last one smaller (8.32)", () => {
    run(0xc4, [0, 5, 0]);
    expect([status(), error()]).toEqual([0x51, 0x04]);
    run(0xc6, [0, 4]);
    expect(identify()[59]).toBe(0x0104);
    rig.in(COMMAND + 7);
    const before = rig.edges[0]!;
    run(0xc4, [0, 5, 10]);
    rig.in(COMMAND + 7);
    expect(rig.bytes(PRIMARY, 2048)).toEqual([10, 11, 12, 13].flatMap(sectorOf));
    rig.settle();
    rig.in(COMMAND + 7);
    expect(rig.bytes(PRIMARY, 512)).toEqual(sectorOf(14));
    rig.settle();
    expect([status(), rig.edges[0]! - before]).toEqual([0x50, 2]);
  });
  it("SET MULTIPLE MODE takes powers of two up to word 47 (8.49)", () => {
    for (const [count, ok] of [
      [16, true],
      [3, false],
      [0, false],
      [32, false],
      [1, true],
    ] as const) {
      run(0xc6, [0, count]);
      expect([count, status()]).toEqual([count, ok ? 0x50 : 0x51]);
    }
  });
});

describe("PIO data-out (9.8)", () => {
  it("WRITE SECTORS: DRQ without an interrupt first, an interrupt for each further sector and at the end", () => {
    run(0x30, [0, 2, 7]);
    expect([status(), rig.edges[0]]).toEqual([0x58, 0]);
    write(256, 0x1234);
    expect(status()).toBe(0x80);
    rig.settle();
    expect([status(), rig.edges[0]]).toEqual([0x58, 1]);
    rig.in(COMMAND + 7);
    write(256, 0x5678);
    rig.settle();
    expect([status(), rig.edges[0]]).toEqual([0x50, 2]);
    const at = 7 * 512;
    expect([...disk.store.subarray(at + 510, at + 514)]).toEqual([0x34, 0x12, 0x78, 0x56]);
    expect([disk.store[at - 1], disk.store[at + 1024]]).toEqual([patternByte(at - 1), patternByte(at + 1024)]);
  });
  it("WRITE MULTIPLE EXT writes blocks", () => {
    run(0xc6, [0, 8]);
    wide(0x39, 9, 20);
    write(2048, 0xaaaa);
    rig.settle();
    write(256, 0xbbbb);
    rig.settle();
    expect(status()).toBe(0x50);
    expect([disk.store[20 * 512], disk.store[28 * 512 - 1], disk.store[28 * 512], disk.store[29 * 512]]).toEqual([
      ...[0xaa, 0xaa, 0xbb],
      patternByte(29 * 512),
    ]);
  });
  it("without the write cache, every write is durable; FLUSH CACHE makes it so with it (8.12, 8.46)", () => {
    run(0x30, [0, 1, 7]);
    write(256, 1);
    rig.settle();
    expect(disk.flushes).toBe(0);
    run(0xe7);
    run(0xea);
    expect(disk.flushes).toBe(2);
    run(0xef, [0x82]);
    expect(identify()[85]! & 0x20).toBe(0);
    const before = disk.flushes;
    run(0x30, [0, 1, 7]);
    write(256, 1);
    rig.settle();
    expect(disk.flushes).toBe(before + 1);
  });
  it("a disk that cannot be written says WP", () => {
    build(true);
    for (const command of [0x30, 0xca, 0x34]) {
      if (command === 0x34) wide(command, 1, 7);
      else run(command, [0, 1, 7]);
      expect([status(), error() & 0x40]).toEqual([0x51, 0x40]);
    }
  });
});

describe("addresses", () => {
  it("LBA of 28 bits: device, high, mid, low (7.6 to 7.10)", () => {
    run(0x20, [0, 1, 0xff, 0x0f, 0]);
    expect(rig.bytes(PRIMARY, 512)).toEqual(sectorOf(0xfff));
  });
  it("behind the end: IDNF, an interrupt, and the first sector that is not there", () => {
    run(0x20, [0, 1, 0x00, 0x10, 0]);
    expect([status(), error(), level(), address()]).toEqual([0x51, 0x10, true, [0x00, 0x10, 0]]);
    run(0x20, [0, 4, 0xfe, 0x0f, 0]);
    expect([status(), error(), address()]).toEqual([0x51, 0x10, [0x00, 0x10, 0]]);
    run(0xc8, [0, 1, 0, 0, 0, 0xef]);
    expect([status(), error()]).toEqual([0x51, 0x10]);
    wide(0x25, 1, 2 ** 40);
    expect([status(), error(), address()]).toEqual([0x51, 0x10, [0, 0, 0]]);
    rig.out(PRIMARY.control, 0x80);
    expect(address()).toEqual([0, 0, 1]);
  });
  it("READ SECTORS EXT needs the LBA bit", () => {
    run(0x24, [0, 1, 0, 0, 0, 0xa0]);
    expect([status(), error()]).toEqual([0x51, 0x04]);
  });
  it("CHS: (cylinder × heads + head) × sectors + sector − 1 (ATA-3, 7.1.2)", () => {
    run(0x20, [0, 1, 5, 2, 0, 0xa3]);
    expect(rig.bytes(PRIMARY, 512)).toEqual(sectorOf((2 * 16 + 3) * 63 + 4));
    for (const [sector, cylinder, head] of [
      [0, 0, 0],
      [64, 0, 0],
      [1, 4, 0],
    ] as const) {
      run(0x20, [0, 1, sector, cylinder, 0, 0xa0 | head]);
      expect([status(), error()]).toEqual([0x51, 0x10]);
    }
  });
  it("INITIALIZE DEVICE PARAMETERS changes the translation (8.18)", () => {
    run(0x91, [0, 32, 0, 0, 0, 0xa3]);
    const words = identify();
    expect([words[54], words[55], words[56], words[57]]).toEqual([32, 4, 32, 4096]);
    run(0x20, [0, 1, 32, 31, 0, 0xa3]);
    expect(rig.bytes(PRIMARY, 512)).toEqual(sectorOf(4095));
    run(0x20, [0, 1, 1, 0, 0, 0xa4]);
    expect([status(), error()]).toEqual([0x51, 0x10]);
    run(0x91, [0, 0, 0, 0, 0, 0xa3]);
    expect([status(), error()]).toEqual([0x51, 0x04]);
  });
  it("READ VERIFY looks, and moves nothing", () => {
    run(0x40, [0, 1, 0xff, 0x0f]);
    expect([status(), rig.edges[0]]).toEqual([0x50, 1]);
    run(0x42, [0, 1, 0xff, 0xff]);
    expect([status(), error()]).toEqual([0x51, 0x10]);
  });
  it("SEEK looks at the address, RECALIBRATE does nothing (ATA-3)", () => {
    run(0x70, [0, 0, 0xff, 0x0f]);
    expect(status()).toBe(0x50);
    run(0x70, [0, 0, 0xff, 0xff]);
    expect([status(), error()]).toEqual([0x51, 0x10]);
    run(0x10);
    expect(status()).toBe(0x50);
  });
});

describe("host protected area (6.21, 8.47)", () => {
  it("READ NATIVE MAX ADDRESS shows the last sector", () => {
    run(0xf8);
    expect([address(), rig.in(COMMAND + 6) & 0xf]).toEqual([[0xff, 0x0f, 0], 0]);
    run(0x27);
    rig.out(PRIMARY.control, 0x80);
    expect(address()).toEqual([0, 0, 0]);
  });
  it("SET MAX ADDRESS right behind it makes the disk shorter, until power off or for good", () => {
    run(0xf9, [0, 0, 99]);
    expect([status(), error()]).toEqual([0x51, 0x04]);
    run(0xf8);
    run(0xf9, [0, 0, 99]);
    expect([status(), identify()[60]]).toEqual([0x50, 100]);
    run(0x20, [0, 1, 100]);
    expect(error()).toBe(0x10);
    run(0xf8);
    run(0xe1);
    run(0xf9, [0, 1, 9]);
    expect(error()).toBe(0x04);
    for (const phase of ["enter", "hold", "exit"] as const) rig.part.reset(phase, "system");
    rig.firmware();
    expect(identify()[60]).toBe(SECTORS);
    run(0xf8);
    run(0xf9, [0, 1, 49]);
    for (const phase of ["enter", "hold", "exit"] as const) rig.part.reset(phase, "system");
    rig.firmware();
    expect(identify()[60]).toBe(50);
    run(0x27);
    wide(0x37, 0, SECTORS);
    expect([status(), error()]).toEqual([0x51, 0x10]);
  });
});

describe("features, power and the rest", () => {
  it("SET FEATURES 03h selects one DMA mode (8.46.11, word 63, word 88)", () => {
    run(0xef, [0x03, 0x42]);
    let words = identify();
    expect([words[88], words[63]! >> 8]).toEqual([0x043f, 0]);
    run(0xef, [0x03, 0x22]);
    words = identify();
    expect([words[88]! >> 8, words[63]]).toEqual([0, 0x0407]);
    for (const mode of [0x00, 0x01, 0x08, 0x0c]) {
      run(0xef, [0x03, mode]);
      expect(status()).toBe(0x50);
    }
    for (const mode of [0x0d, 0x23, 0x46, 0x10, 0x80]) {
      run(0xef, [0x03, mode]);
      expect([mode, status(), error()]).toEqual([mode, 0x51, 0x04]);
    }
  });
  it("a software reset reverts settings, unless 66h forbids it; the transfer mode stays (8.46.13)", () => {
    const reset = (): void => {
      rig.out(PRIMARY.control, 4);
      rig.out(PRIMARY.control, 0);
      rig.settle();
    };
    run(0xef, [0x03, 0x42]);
    run(0xef, [0x82]);
    run(0xef, [0x66]);
    run(0xc6, [0, 8]);
    reset();
    expect([identify()[85]! & 0x20, identify()[59], identify()[88]! >> 8]).toEqual([0, 0x108, 4]);
    run(0xef, [0xcc]);
    reset();
    expect([identify()[85]! & 0x20, identify()[59], identify()[88]! >> 8]).toEqual([0x20, 0, 4]);
  });
  it("CHECK POWER MODE: FFh active or idle, 00h standby (8.6)", () => {
    const mode = (): number => {
      run(0xe5);
      return rig.in(COMMAND + 2);
    };
    expect(mode()).toBe(0xff);
    run(0xe0);
    expect(mode()).toBe(0x00);
    run(0xe1);
    expect(mode()).toBe(0xff);
    run(0xe2, [0, 5]);
    expect(mode()).toBe(0x00);
    run(0x40, [0, 1]);
    expect(mode()).toBe(0xff);
  });
  it("NOP and whatever is not known end with ABRT and an interrupt (8.20)", () => {
    for (const command of [0x00, 0xa0, 0xa1, 0xb0, 0x01, 0xff, 0xf1]) {
      run(command);
      expect([command, status(), error(), level()]).toEqual([command, 0x51, 0x04, true]);
    }
  });
  it("DMA commands wait with DRQ for a bus master, without an interrupt", () => {
    for (const [command, register] of [
      [0xc8, 0],
      [0xca, 0],
    ] as const) {
      run(command, [register, 1, 0]);
      expect([status(), rig.edges[0]]).toEqual([0x58, 0]);
      rig.out(PRIMARY.control, 4);
      rig.out(PRIMARY.control, 0);
      rig.settle();
    }
  });
});
