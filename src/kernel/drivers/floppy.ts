/**
 * Driver of the 82077AA floppy disk controller: sectors by DMA on channel 2, interrupt 6. Intel 82077AA datasheet (290166). 512 bytes a sector, MFM, both
 * sides; the 8237A reaches 24 bits and no further than a page of 64 KiB, so a buffer elsewhere is bounced (dma/device.ts).
 */
import { CODE, FDC, FDC_DOR, FDC_MSR, HEAD_DRIVE, ST0 } from "../../devices/floppy-82077.regs.ts";
import { in8, out8, pause, type Task } from "../../ports/task.ts";
import { type ChannelStatus, DmaChannel, type DmaController } from "../dma/channel.ts";
import { DIRECTION, type Direction } from "../dma/coherence.ts";
import { type DmaDevice, throwOnError } from "../dma/device.ts";
import { DmaError, demand } from "../dma/errors.ts";
import { Completion } from "../dma/wait.ts";
import type { Kernel } from "../kernel.ts";
import type { I8237Driver } from "./i8237.ts";

const BASE = 0x3f0;
const IRQ = 6;
const DMA_CHANNEL = 2;
const SECTOR = 512;
const SIZE_CODE = 2;
const GAP = 0x1b;
const RESULT_BYTES = 7;
/** First bytes of commands; reading and writing go over both sides (MT) in MFM. */
const COMMAND = { specify: 0x03, recalibrate: 0x07, sense: 0x08, seek: 0x0f, read: 0xc6, write: 0xc5 } as const;
const DRIVES = 4;

export type FloppyGeometry = { readonly cylinders: number; readonly sectors: number };
const HIGH_DENSITY: FloppyGeometry = { cylinders: 80, sectors: 18 };

export class FloppyDriver implements DmaController {
  readonly modes;
  readonly channel = new DmaChannel(DMA_CHANNEL, this);
  interrupts = 0;
  readonly #dma: DmaDevice;
  readonly #isa: I8237Driver;
  readonly #geometry: FloppyGeometry;
  /** Bytes of the command that {@link start} gives to the chip. */
  #command: readonly number[] = [];
  /** The interrupt that is awaited ends a seek or a reset: it has no result phase. */
  #seeking = false;
  #end: Completion | null = null;
  #cylinder = -1;

  /** @param dma with a mask of 24 bits and a boundary of 64 KiB */
  constructor(dma: DmaDevice, isa: I8237Driver, geometry: FloppyGeometry = HIGH_DENSITY) {
    this.#dma = dma;
    this.#isa = isa;
    this.#geometry = geometry;
    this.modes = isa.modes;
  }

  get sectors(): number {
    return 2 * this.#geometry.cylinders * this.#geometry.sectors;
  }

  /** Resets the chip, and moves the heads of drive 0 to track 0. Throws EIO when there is no drive. */
  *begin(kernel: Kernel, cpu = 0): Task {
    const end = (this.#end = new Completion(kernel));
    yield* kernel.irqs.request(kernel.isaSource(IRQ), { name: "floppy", handler: () => this.#handle(), cpu });
    const on = FDC_DOR.dmaGate.mask | FDC_DOR.motors.put(0, 1);
    this.#expectSeek();
    yield* out8(BASE + FDC.dor, 0);
    yield* out8(BASE + FDC.dor, on | FDC_DOR.notReset.mask);
    yield* end.wait();
    // The reset is reported for every drive (datasheet, "Reset").
    for (let drive = 0; drive < DRIVES; drive++) yield* this.#sense();
    yield* out8(BASE + FDC.ccr, 0);
    // 3 ms a step, 240 ms to unload, 16 ms to load; DMA mode.
    for (const byte of [COMMAND.specify, 0xdf, 0x10]) yield* this.#send(byte);
    yield* this.#seek([COMMAND.recalibrate, 0], 0);
  }

  /** Reads whole sectors into memory. Throws EINVAL beyond the disk, ENOMEM, EIO. */
  *read(sector: number, count: number, address: number): Task {
    yield* this.#move(sector, count, address, DIRECTION.fromDevice);
  }

  /** Writes whole sectors. */
  *write(sector: number, count: number, address: number): Task {
    yield* this.#move(sector, count, address, DIRECTION.toDevice);
  }

  /** A command per cylinder. */
  *#move(sector: number, count: number, address: number, direction: Direction): Task {
    demand(sector >= 0 && count > 0 && sector + count <= this.sectors, `sectors ${sector} to ${sector + count - 1}`);
    const perCylinder = 2 * this.#geometry.sectors;
    for (let done = 0; done < count; ) {
      const at = sector + done;
      const some = Math.min(count - done, perCylinder - (at % perCylinder));
      yield* this.#transfer(at, some, address + done * SECTOR, direction);
      done += some;
    }
  }

  *#transfer(sector: number, count: number, address: number, direction: Direction): Task {
    const { sectors } = this.#geometry;
    const cylinder = Math.floor(sector / (2 * sectors));
    const head = Math.floor(sector / sectors) % 2;
    if (cylinder !== this.#cylinder)
      yield* this.#seek([COMMAND.seek, HEAD_DRIVE.head.put(0, head), cylinder], cylinder);
    const first = direction === DIRECTION.fromDevice ? COMMAND.read : COMMAND.write;
    const place = [cylinder, head, (sector % sectors) + 1, SIZE_CODE, sectors, GAP, 0xff];
    this.#command = [first, HEAD_DRIVE.head.put(0, head), ...place];
    const end = this.#end!;
    let status = 0;
    const mapping = yield* this.#dma.map(address, count * SECTOR, direction);
    try {
      end.begin();
      const onCompletion = (_: DmaChannel, result: number): Task => end.complete(result);
      const segment = { bus: mapping.bus, bytes: count * SECTOR };
      yield* this.channel.configure(0, direction, segment, { regions: [mapping.region], onCompletion });
      yield* this.channel.startDmaTransfer();
      status = yield* end.wait();
    } finally {
      yield* this.#dma.unmap(mapping);
    }
    throwOnError(status, `sector ${sector}: status ${this.channel.errorFlags.toString(16)}`);
  }

  // --- the chip ---------------------------------------------------------------------------------------------------------------------------------

  *program(channel: DmaChannel): Task {
    yield* this.#isa.program(channel);
  }

  /** The controller listens before the device asks. */
  *start(channel: DmaChannel): Task {
    yield* this.#isa.start(channel);
    for (const byte of this.#command) yield* this.#send(byte);
  }

  *stop(channel: DmaChannel): Task {
    yield* this.#isa.stop(channel);
  }

  /** The result phase: ST0, ST1 and ST2 are the error; reading takes the interrupt back. */
  *status(channel: DmaChannel): Task<ChannelStatus> {
    const result: number[] = [];
    for (let i = 0; i < RESULT_BYTES; i++) result.push(yield* this.#receive());
    const [st0 = 0, st1 = 0, st2 = 0] = result;
    const isa = yield* this.#isa.status(channel);
    const error = ST0.code.of(st0) === CODE.normal ? 0 : st0 | (st1 << 8) | (st2 << 16);
    return { ...isa, error };
  }

  *#handle(): Task<boolean> {
    this.interrupts++;
    if (!this.#seeking) return yield* this.channel.handleInterrupt();
    this.#seeking = false;
    yield* this.#end!.complete(0);
    return true;
  }

  #expectSeek(): void {
    this.#seeking = true;
    this.#end!.begin();
  }

  *#seek(command: readonly number[], cylinder: number): Task {
    this.#expectSeek();
    for (const byte of command) yield* this.#send(byte);
    yield* this.#end!.wait();
    const [st0, at] = yield* this.#sense();
    if (ST0.code.of(st0) !== CODE.normal || at !== cylinder)
      throw new DmaError("EIO", `the drive does not reach cylinder ${cylinder}: ST0 ${st0.toString(16)}`);
    this.#cylinder = cylinder;
  }

  /** Sense Interrupt Status: ST0 and the present cylinder. */
  *#sense(): Task<readonly [number, number]> {
    yield* this.#send(COMMAND.sense);
    return [yield* this.#receive(), yield* this.#receive()];
  }

  *#send(byte: number): Task {
    yield* this.#ready(FDC_MSR.request.mask);
    yield* out8(BASE + FDC.fifo, byte);
  }

  *#receive(): Task<number> {
    yield* this.#ready(FDC_MSR.request.mask | FDC_MSR.toHost.mask);
    return yield* in8(BASE + FDC.fifo);
  }

  /** RQM, and the direction of the FIFO (2.1.3). */
  *#ready(wanted: number): Task {
    const mask = FDC_MSR.request.mask | FDC_MSR.toHost.mask;
    while (((yield* in8(BASE + FDC.msr)) & mask) !== wanted) yield* pause();
  }
}
