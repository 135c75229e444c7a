/** For tests: a PIIX4 IDE function with drives, its ports, memory and interrupt lines. */
import type { BlockMedium } from "../../ports/block.ts";
import { Line } from "../../ports/line.ts";
import type { Window } from "../../ports/window.ts";
import { TestBoard } from "../../pci/board.testing.ts";
import { Clock } from "../../sim/clock.ts";
import { EventQueue } from "../../sim/event-queue.ts";
import type { Rng } from "../../sim/rng.ts";
import { type IdeDrive, PiixIde } from "../piix-ide.ts";

/** Ports of BAR 4, first channel. */
export const BMI = 0xc000;
export const PRIMARY = { command: 0x1f0, control: 0x3f6, bm: BMI, line: 0 } as const;
export const SECONDARY = { command: 0x170, control: 0x376, bm: BMI + 8, line: 1 } as const;
export type Place = { readonly command: number; readonly control: number; readonly bm: number; readonly line: number };

export type Store = BlockMedium & { readonly store: Uint8Array; flushes: number };

/** Every byte follows from its place. */
export const patternByte = (position: number): number =>
  (position * 7 + (position >> 9) * 13 + (position >> 17)) & 0xff;

export function medium(bytes: number, readOnly = false): Store {
  const store = new Uint8Array(bytes);
  for (let i = 0; i < bytes; i++) store[i] = patternByte(i);
  return {
    ...{ store, name: "store", bytes, readOnly, flushes: 0 },
    read: (position, into, offset, length) => {
      if (position < 0 || position + length > bytes) throw new Error(`read at ${position}+${length}`);
      into.set(store.subarray(position, position + length), offset);
    },
    write: (position, from, offset, length) => {
      if (readOnly || position < 0 || position + length > bytes) throw new Error(`write at ${position}+${length}`);
      store.set(from.subarray(offset, offset + length), position);
    },
    flush(): void {
      this.flushes++;
    },
  };
}

/** A disk of 4096 sectors that is really longer than CHS translation shows: 4 cylinders and 64 sectors. */
export const SECTORS = 4096;
export const CD_SECTORS = 300;

export function usualDrives(): { disk: Store; disc: Store; drives: (IdeDrive | null)[] } {
  const disk = medium(SECTORS * 512);
  const disc = medium(CD_SECTORS * 2048, true);
  return {
    disk,
    disc,
    drives: [{ kind: "disk", medium: disk }, null, { kind: "cd", medium: disc }, { kind: "cd", medium: null }],
  };
}

export class IdeRig {
  readonly board = new TestBoard();
  readonly queue = new EventQueue(new Clock());
  readonly lines = [new Line("IRQ 14", 14, this.board.trace), new Line("IRQ 15", 15, this.board.trace)];
  readonly part: PiixIde;
  /** Rising edges. */
  readonly edges = [0, 0];

  constructor(drives: readonly (IdeDrive | null)[]) {
    const isaPin = (irq: number) => this.lines[irq - 14]!.pin();
    this.part = new PiixIde(this.board.slot("ide", 1), { queue: this.queue, isaPin, drives });
    this.lines.forEach((line, n) => {
      line.connect({ lineChanged: (_pin, level) => void (this.edges[n]! += level ? 1 : 0) }, 0);
    });
  }

  /** Switched on, and what firmware does: decode both channels, BAR 4, I/O and bus mastering. */
  start(): this {
    for (const phase of ["enter", "hold", "exit"] as const) this.part.reset(phase, "power");
    return this.firmware();
  }

  firmware(): this {
    this.part.configWrite(0x40, 4, 0x80008000);
    this.part.configWrite(0x20, 4, BMI);
    this.part.configWrite(4, 2, 5);
    return this;
  }

  out(port: number, value: number, width = 1): void {
    this.board.ports.write(port, width, value);
  }
  in(port: number, width = 1): number {
    return this.board.ports.read(port, width);
  }
  /** Runs for `ns`. */
  run(ns: number): void {
    const end = this.queue.clock.now() + ns;
    while (this.queue.nextDeadline() <= end) {
      this.queue.clock.advanceTo(Math.max(this.queue.clock.now(), this.queue.nextDeadline()));
      this.queue.runDue();
    }
    this.queue.clock.advanceTo(end);
  }
  /** Until nothing is armed any more. */
  settle(): void {
    for (let i = 0; i < 100_000 && this.queue.nextDeadline() !== Number.POSITIVE_INFINITY; i++)
      this.run(this.queue.nextDeadline() - this.queue.clock.now());
  }
  /** Alternate status: acknowledges nothing. */
  status(at: Place): number {
    return this.in(at.control);
  }
  /** Features, count, LBA low, mid, high, device; then the command. */
  command(at: Place, command: number, registers: readonly number[] = []): void {
    const [features = 0, count = 0, low = 0, mid = 0, high = 0, device = 0xe0] = registers;
    this.out(at.command + 6, device);
    [features, count, low, mid, high].forEach((value, i) => {
      this.out(at.command + 1 + i, value);
    });
    this.out(at.command + 7, command);
  }
  words(at: Place, count: number): number[] {
    return Array.from({ length: count }, () => this.in(at.command, 2));
  }
  bytes(at: Place, count: number): number[] {
    return this.words(at, count / 2).flatMap(word => [word & 0xff, word >> 8]);
  }
  /** A PACKET command with its 12 bytes; runs until the drive rests. @param limit byte count, −1: by DMA */
  packet(at: Place, bytes: readonly number[], limit = 0xfffe, device = 0xa0): void {
    this.command(at, 0xa0, [limit < 0 ? 1 : 0, 0, 0, Math.max(0, limit) & 0xff, Math.max(0, limit) >> 8, device]);
    this.run(10_000);
    const all = [...bytes, ...new Array<number>(12 - bytes.length).fill(0)];
    for (let i = 0; i < 12; i += 2) this.out(at.command, all[i]! | (all[i + 1]! << 8), 2);
    this.settle();
  }
  /** Writes a table of regions. @param regions address, bytes, end of table */
  table(address: number, regions: readonly (readonly [number, number, boolean])[]): void {
    regions.forEach(([base, bytes, end], i) => {
      this.board.space.write(address + 8 * i, 4, base);
      this.board.space.write(address + 8 * i + 4, 4, ((bytes & 0xffff) | (end ? 0x80000000 : 0)) >>> 0);
    });
  }
  memory(address: number, length: number): number[] {
    return Array.from({ length }, (_, i) => this.board.space.read(address + i, 1));
  }
}

/** For the suites that go over every part: all its windows, and random programs of drives and engines. */
export function fixture() {
  const { disk, disc, drives } = usualDrives();
  const rig = new IdeRig(drives);
  const { part, board, queue, lines } = rig;
  const ports = (name: string, first: number, size: number, maxWidth: 1 | 4): Window => ({
    ...{ name, size, minWidth: 1, maxWidth },
    read: (offset, width) => board.ports.read(first + offset, width),
    write: (offset, width, value) => board.ports.write(first + offset, width, value),
  });
  const config: Window = {
    ...{ name: "config", size: 256, minWidth: 1, maxWidth: 4 },
    read: (offset, width) => part.configRead(offset, width),
    write: (offset, width, value) => part.configWrite(offset, width, value),
  };
  const windows = [
    ...[ports("primary", 0x1f0, 8, 4), ports("secondary", 0x170, 8, 4), ports("control", 0x3f6, 1, 1)],
    ...[ports("control 2", 0x376, 1, 1), part.window, config],
  ];
  return { part, queue, rig, disk, disc, windows, outputs: lines, stimulate: (rng: Rng) => stimulate(rig, rng) };
}

const COMMANDS = [
  ...[0x00, 0x08, 0x20, 0x24, 0x25, 0x27, 0x29, 0x30, 0x34, 0x35, 0x37, 0x39, 0x40, 0x42, 0x90, 0x91, 0xa0, 0xa1],
  ...[0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xe0, 0xe1, 0xe2, 0xe5, 0xe6, 0xe7, 0xec, 0xef, 0xf8, 0xf9, 0x10, 0x70],
];
const PACKETS = [0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28, 0x2b, 0x43, 0x46, 0x4a, 0x5a, 0xa8, 0xbd, 0xff];
/** Where tables may lie: in memory, crossing its end, at nothing. */
const TABLES = [0x1000, 0x1ffc, 0xffff8, 0x8000_0000, 0xffff_fff8];

/** One step of what drivers do, right or wrong. */
function stimulate(rig: IdeRig, rng: Rng): void {
  const at = rng.chance(1, 2) ? PRIMARY : SECONDARY;
  switch (rng.below(8)) {
    case 0:
      rig.firmware();
      return;
    case 1:
      rig.command(at, rng.pick(COMMANDS), [
        ...[rng.pick([0, 1, 3]), rng.pick([0, 1, 2, 8, 0x22, 0x42]), rng.below(256), rng.below(20), 0],
        rng.pick([0xe0, 0xf0, 0x40, 0xa0]),
      ]);
      return;
    case 2:
      for (let i = 0; i < 4; i++) {
        const region = [
          rng.pick([0x2000, 0x4_0000, 0xf_ff00, 0x9000_0000]),
          rng.pick([0, 2, 512, 2048]),
          rng.chance(1, 3),
        ];
        rig.table(0x1000 + 8 * i, [region as [number, number, boolean]]);
      }
      return;
    case 3:
      rig.out(at.bm + 4, rng.pick(TABLES), 4);
      rig.out(at.bm, rng.pick([0, 1, 8, 9]));
      return;
    case 4:
      for (let i = 0; i < 256; i++) if (rng.chance(1, 2)) rig.in(at.command, 2);
      return;
    case 5: {
      const [code, length] = [rng.pick(PACKETS), rng.pick([0, 1, 2, 8, 255])];
      const bytes = [code, rng.pick([0, 1, 2]), rng.pick([0, 0x2a, 0x3f]), 0, rng.pick([0, 1, 2, 18]), rng.below(256)];
      bytes.push(0, 0, length, length, 0, 0);
      for (let i = 0; i < 12; i += 2) rig.out(at.command, bytes[i]! | (bytes[i + 1]! << 8), 2);
      return;
    }
    case 6:
      rig.out(at.control, rng.pick([0, 0, 2, 4, 0x80]));
      return;
    default:
      for (let i = 0; i < 256; i++) rig.out(at.command, rng.u32() & 0xffff, 2);
  }
}
