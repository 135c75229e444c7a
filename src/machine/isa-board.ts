/**
 * What lies on the ISA bus and uses its DMA: the two 8237A, and the cards that the user asked for. Its requester id is the ISA bridge's.
 */
import { HostError } from "../base/assert.ts";
import { I8237Pair } from "../dma/i8237-pair.ts";
import { DiskImage, type DiskImageOptions } from "../devices/disk-image.ts";
import { Floppy82077 } from "../devices/floppy-82077.ts";
import { FloppyDrive } from "../devices/floppy-drive.ts";
import { SB_IRQS } from "../devices/sb16.regs.ts";
import { SoundBlaster16 } from "../devices/sound-blaster16.ts";
import type { BusMaster } from "../memory/bus-master.ts";
import type { PortSpace } from "../memory/port-space.ts";
import type { JoinBus } from "../ports/bus-share.ts";
import type { Line, LinePin } from "../ports/line.ts";
import type { Part } from "../ports/part.ts";
import type { EventQueue } from "../sim/event-queue.ts";
import { IRQ } from "./irq-map.ts";
import { DMA_CHANNEL, PORT } from "./memory-map.ts";

export const MAX_FLOPPIES = 2;
const USAGE = 64;
/** The DREQ lines' numbers begin behind those of the interrupts. */
const FIRST_DREQ = 32;
const CASCADE = 4;

export type IsaBoardOptions = {
  readonly queue: EventQueue;
  readonly ports: PortSpace;
  readonly master: BusMaster;
  /** Null: the bus is not modelled. */
  readonly joinBus: JoinBus | null;
  /** A new driver on an interrupt line. */
  readonly pin: (irq: number) => LinePin;
  /** A drive each. */
  readonly floppies: readonly Omit<DiskImageOptions, "name">[];
  /** Hears what a Sound Blaster plays; null: there is none. */
  readonly onSound: SoundListener | null;
};

/** One frame: signed 16-bit samples, and the rate at which they are played. */
export type SoundListener = (left: number, right: number, rate: number) => void;

export class IsaBoard {
  readonly parts: Part[] = [];
  readonly dma: I8237Pair;
  /** Requests for DMA, whose state is the wires'. */
  readonly lines: readonly Line[];
  readonly floppies: readonly DiskImage[];
  /** What firmware keeps in CMOS about it: diskette drive types, and the equipment byte's part. */
  readonly cmos: readonly [number, number][];
  readonly #options: IsaBoardOptions;

  /** Throws {@link HostError} with status 64 for too many floppy disks, or one of an impossible size. */
  constructor(options: IsaBoardOptions) {
    const { queue, ports, master, joinBus, floppies, onSound } = options;
    this.#options = options;
    const shared = joinBus === null ? {} : { joinBus };
    this.dma = this.#add(new I8237Pair({ queue, master, firstLine: FIRST_DREQ, ...shared }));
    this.lines = this.dma.channels.filter(({ number }) => number !== CASCADE).map(({ dreq }) => dreq);
    ports.map(this.dma.lowWindow, PORT.dmaLow);
    ports.map(this.dma.highWindow, PORT.dmaHigh);
    // The POST code's port is a page register that nobody uses.
    ports.map(this.dma.pageWindow, PORT.dmaPages + 1, { offset: 1 });
    if (floppies.length > MAX_FLOPPIES)
      throw new HostError(`--floppy: ${floppies.length} are given, this PC has ${MAX_FLOPPIES} drives`, USAGE);
    this.floppies = floppies.map((disk, n) => this.#add(new DiskImage({ name: `floppy ${n}`, ...disk })));
    const drives = this.floppies.map((image, n) => this.#add(new FloppyDrive(n, image, floppies[n]!.source.name)));
    this.cmos = floppyCmos(drives);
    if (drives.length > 0) this.#makeFloppy(drives);
    if (onSound !== null) this.#makeSound(onSound);
  }

  #add<T extends Part>(part: T): T {
    this.parts.push(part);
    return part;
  }

  #makeFloppy(drives: readonly FloppyDrive[]): void {
    const { queue, ports, pin } = this.#options;
    const dma = this.dma.channels[DMA_CHANNEL.floppy]!;
    const { window } = this.#add(new Floppy82077({ queue, irq: pin(IRQ.floppy), dma, drives }));
    // The seventh port belongs to the disk controller.
    ports.map(window, PORT.floppy, { count: 6 });
    ports.map(window, PORT.floppy + 7, { offset: 7 });
  }

  #makeSound(onFrame: SoundListener): void {
    const { queue, ports, pin } = this.#options;
    const { channels } = this.dma;
    const card = this.#add(new SoundBlaster16({ queue, irqs: SB_IRQS.map(pin), channels, onFrame }));
    ports.map(card.window, PORT.soundBlaster);
  }

  /** Channel 4 as the cascade of channels 0 to 3, as a BIOS leaves it (IBM PC/AT Technical Reference, BIOS listing, POST). */
  initialise(): void {
    const { highWindow } = this.dma;
    highWindow.write(0x16, 1, 0xc0);
    highWindow.write(0x14, 1, 0);
  }
}

/** Bytes 0x10 and 0x14 (IBM PC/AT Technical Reference, "CMOS RAM addresses"). */
function floppyCmos(drives: readonly FloppyDrive[]): [number, number][] {
  if (drives.length === 0) return [];
  const [first = 0, second = 0] = drives.map(drive => drive.format?.cmosType ?? 0);
  return [
    [0x10, (first << 4) | second],
    [0x14, ((drives.length - 1) << 6) | 1],
  ];
}
