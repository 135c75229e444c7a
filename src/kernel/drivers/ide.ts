/**
 * Driver of a disk on the primary channel of a PIIX4's IDE function: READ DMA and WRITE DMA with physical region descriptors, interrupt 14. SFF-8038i 1.0,
 * "Programming Interface for Bus Master IDE Controller"; ATA/ATAPI-6 (T13/1410D). 28-bit sector numbers; transfer modes as firmware left them.
 *
 * A region does not cross 64 KiB and a table neither; both have 32 address bits. The interrupt bit of the bus master says whether it was this
 * channel, and a transfer that ended well leaves "active" at 0 (SFF-8038i, 3.1).
 */
import { ATA, ATA_COMMAND, ATA_DEVICE, ATA_SECTOR, ATA_STATUS } from "../../devices/ata/ata.regs.ts";
import {
  BM,
  BM_COMMAND,
  BM_STATUS,
  BUS_MASTER_BAR,
  IDE_PLACES,
  PIIX_IDE_DEVICE,
  PIIX_IDE_VENDOR,
  PRD_BYTES,
  PRD_COUNT,
} from "../../devices/piix-ide.regs.ts";
import { CONFIG } from "../../pci/config-space.regs.ts";
import { in8, out8, out32, store32, type Task } from "../../ports/task.ts";
import { type ChannelStatus, DmaChannel, type DmaController, TRANSFER_MODE } from "../dma/channel.ts";
import { DIRECTION, type Direction, writeBarrier } from "../dma/coherence.ts";
import { type CoherentBuffer, type DmaDevice, type Segment, throwOnError } from "../dma/device.ts";
import { DmaError, demand } from "../dma/errors.ts";
import { Completion } from "../dma/wait.ts";
import type { Kernel } from "../kernel.ts";
import type { PciFunction } from "../pci.ts";

const { command: BLOCK, control: CONTROL, irq: IRQ } = IDE_PLACES[0];
const MOST_SECTORS = 256;
const LAST_SECTOR = 2 ** 28 - 1;
/** Regions of a table. */
const REGIONS = 64;

export class IdeDriver implements DmaController {
  readonly modes = [TRANSFER_MODE.scatterGather];
  readonly channel = new DmaChannel(0, this);
  interrupts = 0;
  readonly #fn: PciFunction;
  readonly #dma: DmaDevice;
  #busMaster = 0;
  #table: CoherentBuffer | null = null;
  #sector = 0;
  #end: Completion | null = null;

  /** @param dma with a mask of 32 bits and a boundary of 64 KiB */
  constructor(fn: PciFunction, dma: DmaDevice) {
    this.#fn = fn;
    this.#dma = dma;
  }

  /** Throws EIO when there is no such function, ENOMEM. */
  *begin(kernel: Kernel, cpu = 0): Task {
    if ((yield* this.#fn.identity()) !== PIIX_IDE_DEVICE * 65536 + PIIX_IDE_VENDOR)
      throw new DmaError("EIO", "there is no PIIX4 IDE function");
    this.#end = new Completion(kernel);
    yield* this.#fn.enable();
    this.#busMaster = ((yield* this.#fn.read(CONFIG.bar + 4 * BUS_MASTER_BAR, 4)) & ~3) >>> 0;
    this.#table = yield* this.#dma.allocateCoherent(REGIONS * PRD_BYTES);
    yield* kernel.irqs.request(kernel.isaSource(IRQ), { name: "ide", handler: () => this.#handle(), cpu });
    yield* out8(CONTROL, 0);
  }

  /** Reads sectors into a list of buffers. Throws EINVAL, EBUSY, ENOMEM, EIO. */
  *read(sector: number, list: readonly Segment[]): Task {
    yield* this.#move(sector, list, DIRECTION.fromDevice);
  }

  *write(sector: number, list: readonly Segment[]): Task {
    yield* this.#move(sector, list, DIRECTION.toDevice);
  }

  *#move(sector: number, list: readonly Segment[], direction: Direction): Task {
    const end = this.#end!;
    let status = 0;
    const mapping = yield* this.#dma.mapSg(list, direction);
    try {
      const { segments, regions } = mapping;
      const toDisk = direction === DIRECTION.toDevice;
      const steps = segments.map(({ bus, bytes }) => ({
        source: toDisk ? bus : -1,
        destination: toDisk ? -1 : bus,
        bytes,
      }));
      this.#sector = sector;
      end.begin();
      const onCompletion = (_: DmaChannel, result: number): Task => end.complete(result);
      yield* this.channel.configureScatterGatherDma(steps, { regions, onCompletion }, direction);
      yield* this.channel.startDmaTransfer();
      status = yield* end.wait();
    } finally {
      yield* this.#dma.unmapSg(mapping);
    }
    throwOnError(status, `sector ${sector}: status and error ${this.channel.errorFlags.toString(16)}`);
  }

  // --- a controller -----------------------------------------------------------------------------------------------------------------------------

  /** The table, its address, the direction; old status bits away. Throws EINVAL for what is no whole number of sectors. */
  *program({ descriptors, bytes, direction }: DmaChannel): Task {
    const sectors = bytes / ATA_SECTOR;
    demand(Number.isInteger(sectors) && sectors <= MOST_SECTORS, `${bytes} bytes in one command`);
    demand(this.#sector >= 0 && this.#sector + sectors - 1 <= LAST_SECTOR, `sector ${this.#sector}`);
    demand(descriptors.length <= REGIONS, `${descriptors.length} regions`);
    const { address, bus } = this.#table!;
    for (const [i, { source, destination, bytes: size }] of descriptors.entries()) {
      const at = direction === DIRECTION.toDevice ? source : destination;
      demand(at % 2 === 0 && size % 2 === 0, "a region begins and ends at a word");
      yield* store32(address + i * PRD_BYTES, at);
      // A count of 0 says 64 KiB.
      const count = PRD_COUNT.count.put(0, size & 0xffff);
      yield* store32(address + i * PRD_BYTES + 4, PRD_COUNT.end.put(count, Number(i === descriptors.length - 1)));
    }
    yield* writeBarrier();
    const port = this.#busMaster;
    yield* out32(port + BM.table, bus);
    yield* out8(port + BM.command, this.#command(direction, 0));
    yield* out8(port + BM.status, BM_STATUS.interrupt.mask | BM_STATUS.error.mask);
  }

  #command(direction: Direction, start: number): number {
    return BM_COMMAND.start.put(BM_COMMAND.toMemory.put(0, Number(direction === DIRECTION.fromDevice)), start);
  }

  /** The command to the disk, then the start bit (SFF-8038i, 3.1). */
  *start({ bytes, direction }: DmaChannel): Task {
    const sector = this.#sector;
    const device = ATA_DEVICE.lba.put(ATA_DEVICE.head.put(0xa0, sector >>> 24), 1);
    yield* out8(BLOCK + ATA.device, device);
    yield* out8(BLOCK + ATA.count, (bytes / ATA_SECTOR) & 0xff);
    yield* out8(BLOCK + ATA.low, sector & 0xff);
    yield* out8(BLOCK + ATA.mid, (sector >> 8) & 0xff);
    yield* out8(BLOCK + ATA.high, (sector >> 16) & 0xff);
    const code = direction === DIRECTION.fromDevice ? ATA_COMMAND.readDma : ATA_COMMAND.writeDma;
    yield* out8(BLOCK + ATA.command, code);
    yield* out8(this.#busMaster + BM.command, this.#command(direction, 1));
  }

  *stop({ direction }: DmaChannel): Task {
    yield* out8(this.#busMaster + BM.command, this.#command(direction, 0));
  }

  /** Reading the disk's status takes its interrupt back. Error: status register, above it what the bus master says. */
  *status({ bytes, direction }: DmaChannel): Task<ChannelStatus> {
    const port = this.#busMaster;
    const state = yield* in8(port + BM.status);
    if (!BM_STATUS.interrupt.on(state)) return { mine: false, complete: false, error: 0, transferred: 0 };
    yield* out8(port + BM.command, this.#command(direction, 0));
    const status = yield* in8(BLOCK + ATA.status);
    yield* out8(port + BM.status, BM_STATUS.interrupt.mask | BM_STATUS.error.mask);
    const bad = ATA_STATUS.err.on(status) || ATA_STATUS.df.on(status) || BM_STATUS.error.on(state);
    const short = BM_STATUS.active.on(state);
    if (bad || short) return { mine: true, complete: false, error: status | (state << 8), transferred: 0 };
    return { mine: true, complete: true, error: 0, transferred: bytes };
  }

  *#handle(): Task<boolean> {
    this.interrupts++;
    return yield* this.channel.handleInterrupt();
  }
}
