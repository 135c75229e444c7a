/** Sections are those of the Intel 82077AA datasheet (290166). */
import { beforeEach, describe, expect, it } from "vitest";
import { FUZZ_STEPS } from "../../test/fuzz-steps.ts";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import { HostError } from "../base/assert.ts";
import { DmaRig } from "../dma/dma-rig.testing.ts";
import type { BlockMedium } from "../ports/block.ts";
import { Line } from "../ports/line.ts";
import type { Part } from "../ports/part.ts";
import { describePart } from "../ports/part.contract.ts";
import type { Rng } from "../sim/rng.ts";
import { DiskImage } from "./disk-image.ts";
import { Floppy82077 } from "./floppy-82077.ts";
import { FloppyDrive } from "./floppy-drive.ts";
import { floppyFormat } from "./floppy-media.ts";

const MS = 1e6;
const LONG = 3e9;
const SIZE = 1474560;

/** Every sector begins with its number. */
function medium(bytes = SIZE, readOnly = false): BlockMedium & { readonly store: Uint8Array } {
  const store = new Uint8Array(bytes);
  for (let sector = 0; sector < bytes / 512; sector++) {
    store.fill(sector & 0xff, sector * 512, sector * 512 + 512);
    store[sector * 512] = sector >> 8;
  }
  return {
    ...{ store, name: "disk", bytes, readOnly },
    read: (position, into, offset, length) => into.set(store.subarray(position, position + length), offset),
    write: (position, from, offset, length) => store.set(from.subarray(offset, offset + length), position),
    flush: () => {},
  };
}

class FloppyRig {
  readonly dma = new DmaRig().cascade();
  readonly irq = new Line("IRQ 6", 6);
  readonly disk: ReturnType<typeof medium> | null;
  readonly drive: FloppyDrive;
  readonly chip: Floppy82077;
  interrupts = 0;

  constructor(disk: ReturnType<typeof medium> | null = medium()) {
    this.disk = disk;
    this.drive = new FloppyDrive(0, disk);
    const { queue, pair } = this.dma;
    this.chip = new Floppy82077({ queue, irq: this.irq.pin(), dma: pair.channels[2]!, drives: [this.drive] });
    this.irq.connect({ lineChanged: (_pin, level) => void (this.interrupts += level ? 1 : 0) }, 0);
    for (const phase of ["enter", "hold", "exit"] as const) {
      this.drive.reset(phase, "power");
      this.chip.reset(phase, "power");
    }
  }

  out(offset: number, value: number): void {
    this.chip.window.write(offset, 1, value);
  }
  in(offset: number): number {
    return this.chip.window.read(offset, 1);
  }
  /** Out of reset with motor and DMA gate, four senses, rate, step rate 3 ms. */
  ready(rate = 0, nonDma = 0): this {
    this.out(2, 0x1c);
    this.dma.run(2 * MS);
    for (let i = 0; i < 4; i++) this.command(0x08);
    this.out(7, rate);
    this.command(0x03, 0xdf, 0x02 | nonDma);
    return this;
  }
  /** Writes a command; returns its result when there is one at once. */
  command(...bytes: number[]): number[] {
    for (const byte of bytes) this.out(5, byte);
    return this.result();
  }
  result(): number[] {
    const bytes: number[] = [];
    while ((this.in(4) & 0xd0) === 0xd0 && bytes.length < 16) bytes.push(this.in(5));
    return bytes;
  }
  /** Runs until the interrupt, then gives the result. */
  finish(): number[] {
    const until = this.dma.queue.clock.now() + LONG;
    while (!this.irq.level && this.dma.queue.nextDeadline() <= until)
      this.dma.run(this.dma.queue.nextDeadline() - this.dma.queue.clock.now());
    return this.result();
  }
  transfer(toMemory: boolean, address: number, bytes: number): void {
    this.dma.program(2, { mode: toMemory ? 0x44 : 0x48, address, transfers: bytes });
    this.dma.unmask(2);
  }
  seek(cylinder: number): void {
    this.command(0x0f, 0, cylinder);
    this.finish();
    this.command(0x08);
  }
  memory(at: number, length: number): number[] {
    return [...this.dma.ram.bytes.subarray(at, at + length)];
  }
}

let rig: FloppyRig;
beforeEach(() => {
  rig = new FloppyRig().ready();
});
const sectorOf = (number: number): number[] => [number >> 8, ...new Array(511).fill(number & 0xff)];

describe("reset and simple commands", () => {
  it("after a reset one interrupt, and Sense Interrupt Status tells of all four drives (5.2.4, 7.2)", () => {
    const fresh = new FloppyRig();
    expect(fresh.in(4)).toBe(0);
    fresh.out(2, 0x0c);
    fresh.dma.run(2 * MS);
    expect(fresh.irq.level).toBe(true);
    expect(fresh.command(0x08)).toEqual([0xc0, 0]);
    expect(fresh.irq.level).toBe(false);
    expect([1, 2, 3].map(() => fresh.command(0x08))).toEqual([
      [0xc1, 0],
      [0xc2, 0],
      [0xc3, 0],
    ]);
    expect(fresh.command(0x08)).toEqual([0x80]);
    expect(fresh.interrupts).toBe(1);
  });

  it("with polling disabled a software reset makes no interrupt, when the configuration is locked (5.2.7, 5.2.10)", () => {
    rig.command(0x13, 0, 0x1a, 0);
    expect(rig.command(0x94)).toEqual([0x10]);
    rig.out(4, 0x80);
    rig.dma.run(10 * MS);
    expect(rig.command(0x0e).slice(7)).toEqual([0x80, 0x1a, 0]);
    expect(rig.irq.level).toBe(false);
    expect(rig.command(0x14)).toEqual([0]);
    rig.out(4, 0x80);
    rig.dma.run(10 * MS);
    expect(rig.irq.level).toBe(true);
    expect(rig.command(0x0e).slice(7)).toEqual([0, 0x20, 0]);
  });

  it("Version gives 90h; invalid codes, Part ID and scan among them, give 80h (5.2.9, table 5-1)", () => {
    expect(rig.command(0x10)).toEqual([0x90]);
    for (const code of [0x00, 0x18, 0x11, 0x19, 0x1d, 0x1f, 0x01]) expect(rig.command(code)).toEqual([0x80]);
  });

  it("Dumpreg tells what was set (5.2.8)", () => {
    rig.command(0x03, 0xa1, 0x05);
    rig.command(0x13, 0, 0x57, 0x22);
    rig.command(0x12, 0x84 | 3);
    rig.seek(7);
    expect(rig.command(0x0e)).toEqual([7, 0, 0, 0, 0xa1, 0x05, 0, 0x07, 0x57, 0x22]);
  });

  it("Sense Drive Status: track 0, write protection, head and drive; bits 5 and 3 are 1 (table 6-4)", () => {
    expect(rig.command(0x04, 4)).toEqual([0x3c]);
    rig.seek(1);
    expect(rig.command(0x04, 0)).toEqual([0x28]);
    expect(new FloppyRig(medium(SIZE, true)).ready().command(0x04, 0)).toEqual([0x78]);
    expect(rig.command(0x04, 1)).toEqual([0x29]);
  });

  it("disk change shows while the motor of the selected drive is on, until a step (2.1.7)", () => {
    expect(rig.in(7)).toBe(0xff);
    rig.out(2, 0x0c);
    expect(rig.in(7)).toBe(0x7f);
    rig.out(2, 0x1c);
    rig.seek(1);
    expect(rig.in(7)).toBe(0x7f);
    const empty = new FloppyRig(null).ready();
    empty.seek(1);
    expect(empty.in(7)).toBe(0xff);
  });

  it("with DMAGATE# low neither interrupt nor request leaves the chip (2.1.2)", () => {
    rig.out(2, 0x14);
    rig.command(0x0f, 0, 1);
    rig.dma.run(LONG);
    expect(rig.irq.level).toBe(false);
    rig.out(2, 0x1c);
    expect(rig.irq.level).toBe(true);
  });
});

describe("seeks", () => {
  it("a step lasts 16 − SRT ms at 500 kbit/s; the drive's bit in MSR is set meanwhile (5.2.6, 2.1.4)", () => {
    rig.command(0x0f, 0, 5);
    expect(rig.in(4)).toBe(0x81);
    rig.dma.run(15 * MS - 1);
    expect(rig.irq.level).toBe(false);
    rig.dma.run(1);
    expect([rig.irq.level, rig.in(4), rig.drive.state.cylinder]).toEqual([true, 0x80, 5]);
    expect(rig.command(0x08)).toEqual([0x20, 5]);
  });

  it("Recalibrate goes to track 0; a drive that is not there has none after 79 pulses (5.2.2)", () => {
    rig.seek(30);
    rig.command(0x07, 0);
    rig.finish();
    expect(rig.command(0x08)).toEqual([0x20, 0]);
    expect(rig.drive.track0).toBe(true);
    rig.command(0x07, 1);
    rig.dma.run(79 * 3 * MS);
    expect(rig.command(0x08)).toEqual([0x71, 0]);
  });

  it("Relative Seek steps in or out from where it is (5.2.3)", () => {
    rig.command(0xcf, 0, 12);
    rig.finish();
    rig.command(0x08);
    rig.command(0x8f, 0, 2);
    rig.finish();
    expect(rig.command(0x08)).toEqual([0x20, 10]);
    expect(rig.drive.state.cylinder).toBe(10);
  });

  it("Read ID finds the next sector on the track (5.2.1)", () => {
    rig.seek(3);
    rig.command(0x4a, 4);
    const [st0, st1, st2, c, h, r, n] = rig.finish();
    expect([st0, st1, st2, c, h, n]).toEqual([4, 0, 0, 3, 1, 2]);
    expect(r).toBeGreaterThan(0);
    expect(r).toBeLessThan(19);
  });
});

describe("data by DMA", () => {
  /** Read Data (46h) of sectors from `r` to `eot`. */
  const read = (r: number, eot: number, code = 0x46, c = 0, h = 0): void =>
    void rig.command(code, h << 2, c, h, r, 2, eot, 0x1b, 0xff);

  it.each([0x20, 0x00, 0x0a, 0x0f])("reads sectors to memory and ends with TC; configuration %i", configuration => {
    rig.command(0x13, 0, configuration, 0);
    rig.transfer(true, 0x10000, 1024);
    read(4, 18);
    expect(rig.in(4)).toBe(0x10);
    expect(rig.finish()).toEqual([0, 0, 0, 0, 0, 6, 2]);
    expect(rig.memory(0x10000, 1024)).toEqual([...sectorOf(3), ...sectorOf(4)]);
    expect(rig.irq.level).toBe(false);
  });

  it("a byte every 16 µs at 500 kbit/s, a sector per eighteenth of a turn of 200 ms", () => {
    rig.transfer(true, 0x10000, 18 * 512);
    const before = rig.dma.queue.clock.now();
    read(1, 18);
    rig.finish();
    const took = rig.dma.queue.clock.now() - before;
    expect(took).toBeGreaterThan(18 * 512 * 16000);
    expect(took).toBeLessThan(420 * MS);
  });

  it("with DMA in demand mode the same", () => {
    rig.command(0x13, 0, 0x03, 0);
    rig.transfer(true, 0x10000, 1024);
    rig.dma.out(0x0b, 0x04 | 2);
    read(4, 18);
    expect(rig.finish()).toEqual([0, 0, 0, 0, 0, 6, 2]);
    expect(rig.memory(0x10000, 1024)).toEqual([...sectorOf(3), ...sectorOf(4)]);
  });

  it("multi-track goes on at head 1; TC behind the last sector gives the next cylinder (5.1.1, table 5-7)", () => {
    rig.transfer(true, 0x10000, 36 * 512);
    read(1, 18, 0xc6);
    expect(rig.finish()).toEqual([4, 0, 0, 1, 0, 1, 2]);
    expect(rig.memory(0x10000 + 35 * 512, 512)).toEqual(sectorOf(35));
  });

  it("without TC the command ends behind EOT with the end of cylinder bit (table 6-2)", () => {
    rig.transfer(true, 0x10000, 4096);
    read(17, 18);
    expect(rig.finish()).toEqual([0x40, 0x80, 0, 1, 0, 1, 2]);
    expect(rig.memory(0x10000, 1024)).toEqual([...sectorOf(16), ...sectorOf(17)]);
  });

  it("nobody takes the bytes: overrun (table 6-2)", () => {
    read(1, 18);
    expect(rig.finish().slice(0, 3)).toEqual([0x40, 0x10, 0]);
    rig.command(0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    expect(rig.finish().slice(0, 3)).toEqual([0x40, 0x10, 0]);
    expect([...rig.disk!.store.subarray(0, 512)]).toEqual(sectorOf(0));
  });

  it("a sector that is not there: no data, after two index holes; another cylinder: wrong cylinder (table 6-2, 6-3)", () => {
    const before = rig.dma.queue.clock.now();
    read(19, 19);
    expect(rig.finish()).toEqual([0x40, 0x04, 0, 0, 0, 19, 2]);
    expect(rig.dma.queue.clock.now() - before).toBeGreaterThan(200 * MS);
    read(1, 18, 0x46, 5);
    expect(rig.finish().slice(0, 3)).toEqual([0x40, 0x04, 0x10]);
  });

  it("FM, or another data rate: missing address mark (table 6-2)", () => {
    read(1, 18, 0x06);
    expect(rig.finish().slice(0, 3)).toEqual([0x40, 0x01, 0]);
    rig.out(7, 2);
    read(1, 18);
    expect(rig.finish().slice(0, 3)).toEqual([0x40, 0x01, 0]);
  });

  it("implied seek (5.1, EIS)", () => {
    rig.command(0x13, 0, 0x60, 0);
    rig.transfer(true, 0x10000, 512);
    read(1, 18, 0x46, 2);
    expect(rig.finish()).toEqual([0x20, 0, 0, 2, 0, 2, 2]);
    expect(rig.memory(0x10000, 512)).toEqual(sectorOf(72));
  });

  it.each([0x20, 0x0a])("writes sectors; what TC leaves of one is zeros (5.1.3); configuration %i", configuration => {
    rig.command(0x13, 0, configuration, 0);
    for (let i = 0; i < 700; i++) rig.dma.ram.bytes[0x2000 + i] = i % 251;
    rig.transfer(false, 0x2000, 700);
    rig.command(0x45, 4, 0, 1, 2, 2, 18, 0x1b, 0xff);
    expect(rig.finish()).toEqual([4, 0, 0, 0, 1, 4, 2]);
    const expected = Array.from({ length: 1024 }, (_, i) => (i < 700 ? i % 251 : 0));
    expect([...rig.disk!.store.subarray(19 * 512, 21 * 512)]).toEqual(expected);
    expect([...rig.disk!.store.subarray(21 * 512, 22 * 512)]).toEqual(sectorOf(21));
  });

  it("a write-protected disk: not writable, nothing moves (table 6-2)", () => {
    rig = new FloppyRig(medium(SIZE, true)).ready();
    rig.transfer(false, 0x2000, 512);
    rig.command(0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    expect(rig.finish().slice(0, 3)).toEqual([0x40, 0x02, 0]);
    expect(rig.dma.count(2)).toBe(511);
  });

  it("deleted data: read with a control mark, skipped with SK, found by Read Deleted Data (5.1.1, 5.1.2, 5.1.4)", () => {
    rig.transfer(false, 0x2000, 512);
    rig.command(0x49, 0, 0, 0, 2, 2, 18, 0x1b, 0xff);
    expect(rig.finish()[0]).toBe(0);
    rig.transfer(true, 0x10000, 2048);
    read(1, 18);
    expect(rig.finish()).toEqual([0, 0, 0x40, 0, 0, 3, 2]);
    rig.transfer(true, 0x10000, 1024);
    read(1, 18, 0x66);
    expect(rig.finish()).toEqual([0, 0, 0, 0, 0, 4, 2]);
    expect(rig.memory(0x10000 + 512, 512)).toEqual(sectorOf(2));
    rig.transfer(true, 0x10000, 512);
    read(1, 18, 0x6c);
    expect(rig.finish()).toEqual([0, 0, 0, 0, 0, 3, 2]);
    expect(rig.memory(0x10000, 512)).toEqual(new Array(512).fill(0));
  });

  it("Read Track takes the sectors from the index on, and says when their addresses are others (5.1.5)", () => {
    rig.transfer(true, 0x10000, 18 * 512);
    read(1, 18, 0x42);
    expect(rig.finish().slice(0, 3)).toEqual([0, 0, 0]);
    expect(rig.memory(0x10000 + 17 * 512, 512)).toEqual(sectorOf(17));
    rig.transfer(true, 0x10000, 1024);
    read(7, 2, 0x42);
    expect(rig.finish().slice(0, 3)).toEqual([0, 4, 0]);
    expect(rig.memory(0x10000, 512)).toEqual(sectorOf(0));
  });

  it("Verify moves nothing; with EC it counts sectors (5.1.6, table 5-8)", () => {
    rig.command(0x56, 0, 0, 0, 1, 2, 18, 0x1b, 0);
    expect(rig.finish()).toEqual([0, 0, 0, 1, 0, 1, 2]);
    rig.command(0x56, 0x80, 0, 0, 1, 2, 18, 0x1b, 5);
    expect(rig.finish()).toEqual([0, 0, 0, 0, 0, 6, 2]);
    rig.command(0x56, 0x80, 0, 0, 1, 2, 18, 0x1b, 19);
    expect(rig.finish().slice(0, 2)).toEqual([0x40, 0x80]);
  });

  it("Format a Track fills the sectors whose addresses are given (5.1.9)", () => {
    rig.seek(1);
    for (let i = 0; i < 18; i++) rig.dma.ram.bytes.set([1, 0, i + 1, 2], 0x3000 + 4 * i);
    rig.transfer(false, 0x3000, 72);
    rig.command(0x4d, 0, 2, 18, 0x54, 0xf6);
    expect(rig.finish().slice(0, 3)).toEqual([0, 0, 0]);
    const track = rig.disk!.store.subarray(36 * 512, 54 * 512);
    expect([track.every(byte => byte === 0xf6), rig.disk!.store[54 * 512 + 1]]).toEqual([true, 54]);
  });

  it("without a disk, or with its motor off, a command waits for the index hole until the reset (5.1)", () => {
    rig.out(2, 0x0c);
    read(1, 18);
    rig.dma.run(LONG);
    expect(rig.in(4)).toBe(0x10);
    rig.out(2, 0x08);
    rig.out(2, 0x1c);
    rig.dma.run(2 * MS);
    expect(rig.command(0x08)).toEqual([0xc0, 0]);
  });
});

describe("without DMA", () => {
  it("each byte asks by RQM and interrupt (4.1, 2.1.4)", () => {
    rig = new FloppyRig().ready(0, 1);
    rig.command(0x46, 0, 0, 0, 3, 2, 3, 0x1b, 0xff);
    const got: number[] = [];
    for (let i = 0; i < 30000 && got.length < 512; i++) {
      rig.dma.run(8000);
      if (rig.in(4) !== 0xf0) continue;
      expect(rig.irq.level).toBe(true);
      got.push(rig.in(5));
    }
    expect(got).toEqual(sectorOf(2));
    expect(rig.finish()).toEqual([0x40, 0x80, 0, 1, 0, 1, 2]);
  });
});

describe("formats by size of the image", () => {
  it.each([
    [368640, "360K", 40, 9, 2],
    [737280, "720K", 80, 9, 2],
    [1228800, "1.2M", 80, 15, 0],
    [1474560, "1.44M", 80, 18, 0],
    [2949120, "2.88M", 80, 36, 3],
  ])("%i bytes: %s", (bytes, name, cylinders, sectors, rate) => {
    expect(floppyFormat("x", bytes)).toMatchObject({ name, cylinders, sectors, rate });
    rig = new FloppyRig(medium(bytes)).ready(rate);
    rig.seek(cylinders - 1);
    rig.transfer(true, 0x10000, 512);
    rig.command(0x46, 4, cylinders - 1, 1, sectors, 2, sectors, 0x1b, 0xff);
    expect(rig.finish().slice(0, 3)).toEqual([4, 0, 0]);
    expect(rig.memory(0x10000, 512)).toEqual(sectorOf(bytes / 512 - 1));
  });

  it("any other size is refused in one line that names the sizes", () => {
    const refused = /^a.img: 1000000 bytes are no floppy disk; there are 360K \(360 KiB\), .*2.88M \(2880 KiB\)$/;
    expect(() => floppyFormat("a.img", 1000000)).toThrow(refused);
    expect(() => floppyFormat("a.img", 1000000)).toThrow(HostError);
  });
});

function surroundings() {
  const source = medium();
  const image = new DiskImage({ name: "image", source });
  const made = new FloppyRig(Object.assign(image, { store: source.store }));
  const { chip, dma, irq, drive } = made;
  const parts: readonly Part[] = [image, drive, dma.pair, chip];
  // All that the controller works on belongs to what is saved: it would go on differently without.
  const part: Part = {
    name: "floppy and surroundings",
    state: { ...Object.fromEntries(parts.map(one => [one.name, one.state])), ram: dma.ram.bytes },
    reset: (phase, kind) => {
      for (const one of parts) one.reset(phase, kind);
      if (phase === "enter") dma.ram.bytes.fill(0);
    },
    restored: () => {
      for (const one of parts) one.restored?.();
    },
  };
  const commands = [
    [0x46, 0, 0, 0, 1, 2, 18, 27, 255],
    [0xc5, 4, 0, 1, 3, 2, 18, 27, 255],
    [0x4d, 0, 2, 18, 0x54, 0xf6],
    [0x56, 0x80, 0, 0, 1, 2, 18, 0, 5],
    [0x0f, 0, 3],
    [0x07, 0],
    [0x13, 0, 0x0a, 0],
    [0x08],
  ];
  const stimulate = (rng: Rng): void => {
    made.out(2, rng.pick([0x1c, 0x1c, 0x0c, 0x18]));
    if (rng.chance(1, 4)) made.ready();
    if (rng.chance(1, 2)) made.transfer(rng.chance(1, 2), 0x10000, 1 + rng.below(2000));
    for (const byte of rng.pick(commands)) made.out(5, byte);
  };
  const outputs = [irq, dma.pair.channels[2]!.dreq];
  return { made, part, queue: dma.queue, windows: [chip.window], outputs, stimulate };
}

describePart("82077AA", surroundings);

it("random commands, registers, requests and time: it answers, and keeps within its FIFO and its disk", {
  timeout: FUZZ_TIMEOUT,
}, () => {
  const steps = FUZZ_STEPS / 10;
  fuzzPart(surroundings, "82077AA", { maxAdvance: 400 * MS, steps }, ({ made }) => {
    const { transfer, resultBytes, resultRead, commandBytes } = made.chip.state;
    expect(transfer.fifoCount).toBeLessThanOrEqual(16);
    expect(transfer.position).toBeLessThanOrEqual(512);
    expect(resultRead).toBeLessThanOrEqual(resultBytes);
    expect(commandBytes).toBeLessThan(9);
    if (!made.chip.state.executing)
      expect([transfer.asks, made.dma.pair.channels[2]!.dreq.level]).toEqual([false, false]);
  });
});
