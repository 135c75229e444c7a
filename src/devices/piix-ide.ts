/**
 * The IDE controller of Intel's PIIX4: two channels in compatibility mode (fixed ports, interrupts 14 and 15) that master the bus. 82371AB data sheet
 * (290562-001), chapter 6; SFF-8038i 1.0. The drives are ata/, the engines ata/prd-engine.ts.
 *
 * Decisions. The function lies wherever the board puts it, not behind the PIIX4's ISA bridge. Timing registers set the pace of DMA: the strobes of Ultra DMA
 * where UDMACTL has it on, else sample and recovery clocks at 33 MHz where fast timing is enabled, else the compatible timing of 20 clocks. Data that the
 * processor moves itself (PIO) takes what its instructions take. Not modelled: prefetch and posting buffers, IORDY.
 */
import { hex } from "../base/int.ts";
import type { CauseId, Ns } from "../base/units.ts";
import type { BlockMedium } from "../ports/block.ts";
import type { Initiator } from "../ports/initiator.ts";
import type { LinePin } from "../ports/line.ts";
import type { ResetKind, ResetPhase } from "../ports/part.ts";
import type { Placement } from "../ports/pci.ts";
import type { Window } from "../ports/window.ts";
import { COMMAND, CONFIG, STATUS } from "../pci/config-space.regs.ts";
import { PciFunction, type PciSlot } from "../pci/function.ts";
import type { EventQueue } from "../sim/event-queue.ts";
import { ATA_BLOCK_BYTES } from "./ata/ata.regs.ts";
import { AtaChannel, type ChannelState, freshChannel } from "./ata/ata-channel.ts";
import { AtaDisk, freshDisk } from "./ata/ata-disk.ts";
import type { AtaDrive, DriveState } from "./ata/ata-drive.ts";
import { AtapiCd, freshCd } from "./ata/atapi-cd.ts";
import { type EngineHost, type EngineState, freshEngine, PrdEngine } from "./ata/prd-engine.ts";
import {
  BUS_MASTER_BAR,
  BUS_MASTER_CHANNEL,
  BUS_MASTER_PORTS,
  IDE_PLACES,
  IDETIM,
  PIIX_IDE,
  PIIX_IDE_CLASS,
  PIIX_IDE_DEVICE,
  PIIX_IDE_STATUS,
  PIIX_IDE_VENDOR,
  PIIX_IDE_WRITABLE,
  SIDETIM_RECOVERY,
} from "./piix-ide.regs.ts";

const CHANNELS = 2;
const REVISION = 0x01;
/** PCI's clock, ns. */
const CLOCK_NS = 30;
/** Sample 6 and recovery 14: the data port's compatible timing. */
const COMPATIBLE_CLOCKS = 20;
/** Strobe of Ultra DMA, by UDMATIM; the last is reserved. */
const STROBE_NS = [120, 90, 60, 60] as const;

/** A drive at one end of a cable. */
export type IdeDrive =
  | { readonly kind: "disk"; readonly medium: BlockMedium }
  /** Null: the tray is empty. */
  | { readonly kind: "cd"; readonly medium: BlockMedium | null };

export type PiixIdeOptions = {
  readonly queue: EventQueue;
  /** A driver of an ISA interrupt line: 14 and 15. */
  readonly isaPin: (irq: number) => LinePin;
  /** Primary 0 and 1, secondary 0 and 1; null where nothing is connected. */
  readonly drives: readonly (IdeDrive | null)[];
};

type ChannelRecord = { cable: ChannelState; engine: EngineState; drives: (DriveState | null)[] };
export type PiixIdeState = { channels: ChannelRecord[] };

function fresh(drives: readonly (IdeDrive | null)[]): PiixIdeState {
  const stateOf = (drive: IdeDrive | null): DriveState | null =>
    drive === null ? null : drive.kind === "disk" ? freshDisk() : freshCd();
  const channel = (n: number): ChannelRecord => ({
    cable: freshChannel(),
    engine: freshEngine(),
    drives: [stateOf(drives[2 * n] ?? null), stateOf(drives[2 * n + 1] ?? null)],
  });
  return { channels: Array.from({ length: CHANNELS }, (_, n) => channel(n)) };
}

class Channel {
  readonly cable: AtaChannel;
  readonly engine: PrdEngine;
  readonly drives: readonly (AtaDrive | null)[];
  readonly pin: LinePin;
  /** Places of the command and the control block. */
  readonly placements: readonly Placement[];
  mapped = false;

  constructor(
    cable: AtaChannel,
    engine: PrdEngine,
    drives: readonly (AtaDrive | null)[],
    pin: LinePin,
    placements: readonly Placement[],
  ) {
    this.cable = cable;
    this.engine = engine;
    this.drives = drives;
    this.pin = pin;
    this.placements = placements;
  }
}

export class PiixIde extends PciFunction<PiixIdeState> implements EngineHost {
  /** BAR 4. */
  readonly window: Window;
  readonly #options: PiixIdeOptions;
  readonly #channels: readonly Channel[];

  constructor(slot: PciSlot, options: PiixIdeOptions) {
    const identity = {
      ...{ vendor: PIIX_IDE_VENDOR, device: PIIX_IDE_DEVICE, revision: REVISION, classCode: PIIX_IDE_CLASS },
    };
    super(slot, identity, fresh(options.drives));
    this.#options = options;
    const { space } = this;
    const { timing, slaveTiming, ultraControl, ultraTiming } = PIIX_IDE_WRITABLE;
    // The only bits of the command register that this function has.
    const writable = COMMAND.io.mask | COMMAND.busMaster.mask;
    space.define({ name: "command", offset: CONFIG.command, size: 2, writable });
    const clears = STATUS.receivedMasterAbort.mask | STATUS.receivedTargetAbort.mask | STATUS.signaledTargetAbort.mask;
    space.define({ name: "status", offset: CONFIG.status, size: 2, value: PIIX_IDE_STATUS, clears });
    space.define({ name: "latency", offset: CONFIG.latency, size: 1, writable: 0xf0 });
    space.define({ name: "IDETIM primary", offset: PIIX_IDE.timing, size: 2, writable: timing });
    space.define({ name: "IDETIM secondary", offset: PIIX_IDE.timing + 2, size: 2, writable: timing });
    space.define({ name: "SIDETIM", offset: PIIX_IDE.slaveTiming, size: 1, writable: slaveTiming });
    space.define({ name: "UDMACTL", offset: PIIX_IDE.ultraControl, size: 1, writable: ultraControl });
    space.define({ name: "UDMATIM", offset: PIIX_IDE.ultraTiming, size: 2, writable: ultraTiming });
    this.#channels = this.state.device.channels.map((record, n) => this.#makeChannel(slot, record, n));
    this.window = {
      name: this.name,
      size: BUS_MASTER_PORTS,
      minWidth: 1,
      maxWidth: 4,
      read: (offset, width) => this.#read(offset, width),
      write: (offset, width, value) => this.#write(offset, width, value),
      describe: offset => describe(offset),
    };
    this.addBar(BUS_MASTER_BAR, { kind: "io", window: this.window });
  }

  #makeChannel(slot: PciSlot, record: ChannelRecord, n: number): Channel {
    const { queue, drives, isaPin } = this.#options;
    const name = `${slot.name} ${n === 0 ? "primary" : "secondary"}`;
    const cable = new AtaChannel(record.cable, {
      name,
      onInterrupt: (level, cause) => this.#interrupt(n, level, cause),
      onDma: () => this.#channels[n]!.engine.pump(),
    });
    const made = record.drives.map((state, unit) => {
      const drive = drives[2 * n + unit] ?? null;
      if (state === null || drive === null) return null;
      const { medium } = drive;
      const identity = {
        serial: `iretq-ide${2 * n + unit}`,
        model: drive.kind === "disk" ? "IRETQ DISK" : "IRETQ CD-ROM",
      };
      const driveOptions = { name: `${name} ${unit}`, unit, queue, cable, medium, ...identity };
      if (drive.kind === "disk") return new AtaDisk(state as ReturnType<typeof freshDisk>, driveOptions);
      return new AtapiCd(state as ReturnType<typeof freshCd>, driveOptions);
    });
    cable.attach(made);
    const engine = new PrdEngine(record.engine, n, queue, `${name} bus master`, this);
    const placements = [slot.io.claim(cable.commandBlock), slot.io.claim(cable.controlBlock)];
    return new Channel(cable, engine, made, isaPin(IDE_PLACES[n]!.irq), placements);
  }

  // --- life ---------------------------------------------------------------------------------------------------------------------------------------------

  protected override resetDevice(): void {
    for (const { cable, engine } of this.#channels) {
      cable.powerOn();
      engine.reset();
    }
  }

  override reset(phase: ResetPhase, kind: ResetKind = "power"): void {
    // A last address that SET MAX made for good survives everything but a new machine.
    if (phase === "enter" && kind === "power")
      for (const { drives } of this.#channels) for (const drive of drives) if (drive instanceof AtaDisk) drive.forget();
    super.reset(phase);
    if (phase === "hold") this.#follow();
  }

  override busReset(): void {
    super.busReset();
    this.#follow();
  }

  override restored(): void {
    super.restored();
    this.#place();
  }

  override upstreamChanged(): void {
    super.upstreamChanged();
    this.#follow();
  }

  protected override configWritten(): void {
    this.#follow();
  }

  /** What lies outside and follows from the registers: places, interrupt lines; engines that were waiting. */
  #follow(): void {
    this.#place();
    for (const { cable, pin, engine } of this.#channels) {
      pin.set(cable.interrupt);
      engine.pump();
    }
  }

  /** Compatibility ports answer while I/O space and the channel's decode enable are on (6.1.12). */
  #place(): void {
    this.#channels.forEach((channel, n) => {
      const timing = this.space.read(PIIX_IDE.timing + 2 * n, 2);
      const { command, control } = IDE_PLACES[n]!;
      const decoded = COMMAND.io.on(this.command) && IDETIM.decode.on(timing);
      const wanted = decoded && this.slotBus.decodes(true, command, ATA_BLOCK_BYTES);
      if (wanted === channel.mapped) return;
      channel.mapped = wanted;
      const [commandBlock, controlBlock] = channel.placements;
      if (wanted) {
        commandBlock!.place(command);
        controlBlock!.place(control);
      } else for (const placement of channel.placements) placement.remove();
    });
  }

  #interrupt(n: number, level: boolean, cause: CauseId): void {
    const { pin, engine } = this.#channels[n]!;
    // "Set by the rising edge of the IDE interrupt line."
    if (level && !pin.level) engine.interrupted();
    pin.set(level, cause);
  }

  // --- for the engines ------------------------------------------------------------------------------------------------------------------------------------

  get dma(): Initiator {
    return this.master!;
  }

  get mayMaster(): boolean {
    return COMMAND.busMaster.on(this.command) && this.slotBus.masters;
  }

  driveOf(channel: number): AtaDrive | null {
    return this.#channels[channel]!.cable.dmaDrive;
  }

  told(kind: number, a: number, b: number, c: number, cause: CauseId): CauseId {
    return this.tell(kind, a, b, c, cause);
  }

  causedBy(cause: CauseId): void {
    this.dmaCause = cause;
  }

  wordNs(channel: number): Ns {
    const unit = this.#channels[channel]!.cable.state.selected;
    const { space } = this;
    if (((space.read(PIIX_IDE.ultraControl, 1) >> (2 * channel + unit)) & 1) !== 0)
      return STROBE_NS[((space.read(PIIX_IDE.ultraTiming, 2) >> (8 * channel + 4 * unit)) & 3) as 0 | 1 | 2 | 3];
    const timing = space.read(PIIX_IDE.timing + 2 * channel, 2);
    const fast = unit === 0 ? IDETIM.time0 : IDETIM.time1;
    if (!fast.on(timing)) return COMPATIBLE_CLOCKS * CLOCK_NS;
    const own = unit === 1 && IDETIM.slaveTiming.on(timing);
    const nibble = (space.read(PIIX_IDE.slaveTiming, 1) >> (4 * channel)) & 0xf;
    const sample = own ? SIDETIM_RECOVERY.sample.of(nibble) : IDETIM.sample.of(timing);
    const recovery = own ? SIDETIM_RECOVERY.recovery.of(nibble) : IDETIM.recovery.of(timing);
    return (5 - sample + 4 - recovery) * CLOCK_NS;
  }

  // --- BAR 4 ----------------------------------------------------------------------------------------------------------------------------------------------

  #read(offset: number, width: number): number {
    let value = 0;
    for (let at = offset + width - 1; at >= offset; at--)
      value = value * 256 + this.#channels[at >> 3]!.engine.read(at % BUS_MASTER_CHANNEL);
    return value;
  }

  #write(offset: number, width: number, value: number): void {
    for (let i = 0; i < width; i++) {
      const at = offset + i;
      this.#channels[at >> 3]!.engine.write(at % BUS_MASTER_CHANNEL, (value >>> (8 * i)) & 0xff);
    }
  }
}

const REGISTERS = ["command", "reserved", "status", "reserved", ...new Array<string>(4).fill("table")] as const;

function describe(offset: number): string {
  const channel = offset < BUS_MASTER_CHANNEL ? "primary" : "secondary";
  const register = REGISTERS[offset % BUS_MASTER_CHANNEL];
  return `IDE bus master ${channel} ${register ?? hex(offset)}`;
}
