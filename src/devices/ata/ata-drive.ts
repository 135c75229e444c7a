/**
 * What all drives on an ATA cable have in common: the task file with its two-byte FIFOs, status and INTRQ, the state diagrams of PIO in, PIO out, non-data
 * and DMA commands, resets and diagnostics. T13/1410D (ATA/ATAPI-6), chapters 7 and 9 (9.7 to 9.10 for the protocols, 9.2 to 9.3 for the resets).
 *
 * Decisions. Time: a drive looks at a command 5 µs after it was written, needs 5 µs from one PIO block to the next and 2 ms for a reset; drives add what
 * their commands take. Writes to the task file while BSY or DRQ is set are lost ("indeterminate", 7.1). With DMARQ asserted a drive shows BSY = 0, DRQ = 1.
 * Not modelled: queued and overlapped commands, the standby timer, power consumed.
 */
import type { CauseId, Ns } from "../../base/units.ts";
import type { BlockMedium } from "../../ports/block.ts";
import type { Alarm, EventQueue } from "../../sim/event-queue.ts";
import type { StateRecord } from "../../sim/state.ts";
import {
  ATA,
  ATA_COMMAND,
  ATA_CONTROL,
  ATA_DEVICE,
  ATA_ERROR,
  ATA_FEATURE,
  ATA_MODE,
  ATA_PASSED,
  ATA_POWER,
  ATA_STATUS,
} from "./ata.regs.ts";

const COMMAND_NS: Ns = 5_000;
const BLOCK_NS: Ns = 5_000;
const RESET_NS: Ns = 2_000_000;

const { err, drq, dsc, drdy, bsy } = ATA_STATUS;
/** What a drive shows that has nothing to do. */
const READY = drdy.mask | dsc.mask;

/** What a drive is doing. While `busy` its alarm is armed, and `step` says what comes then. */
export const PHASE = { ready: 0, busy: 1, dataIn: 2, dataOut: 3, packet: 4, dma: 5, held: 6, asleep: 7 } as const;
export const STEP = {
  execute: 0,
  nextBlock: 1,
  written: 2,
  reset: 3,
  diagnosed: 4,
  packet: 5,
  access: 6,
  ended: 7,
} as const;
type Step = (typeof STEP)[keyof typeof STEP];

export type DriveState = {
  /** Two-byte FIFOs: what was written last, and above it what was there before. */
  features: number;
  count: number;
  low: number;
  mid: number;
  high: number;
  device: number;
  status: number;
  error: number;
  /** INTRQ is wanted. */
  interrupt: boolean;
  phase: number;
  step: number;
  command: number;
  /** Next byte of the data: of the medium, or of the buffer. */
  position: number;
  /** Bytes of the data that are not in a PIO block yet, and have not moved by DMA. */
  left: number;
  ofMedium: boolean;
  toHost: boolean;
  /** Most bytes of a PIO block. */
  block: number;
  /** The present PIO block in the buffer. */
  at: number;
  end: number;
  buffer: Uint8Array;
  /** Selected DMA mode as SET FEATURES takes it, 0 for none; PIO mode. */
  dmaMode: number;
  pioMode: number;
  standby: boolean;
  /** The drive's own. */
  own: StateRecord;
};

export function freshDrive<O extends StateRecord>(bufferBytes: number, own: O): DriveState & { own: O } {
  return {
    ...{ features: 0, count: 0, low: 0, mid: 0, high: 0, device: 0, status: 0, error: 0, interrupt: false },
    ...{ phase: PHASE.ready, step: STEP.execute, command: 0, position: 0, left: 0, ofMedium: false, toHost: true },
    ...{ block: 0, at: 0, end: 0, buffer: new Uint8Array(bufferBytes), dmaMode: 0, pioMode: 0, standby: false, own },
  };
}

/** What a drive tells its cable. */
export interface AtaCable {
  /** INTRQ may have changed. */
  interruptChanged(cause: CauseId): void;
  /** DMARQ was asserted, or let go. */
  dmaChanged(): void;
}

export type AtaDriveOptions = {
  /** Unique in the machine: names the alarm. */
  readonly name: string;
  /** 0 or 1. */
  readonly unit: number;
  readonly queue: EventQueue;
  readonly cable: AtaCable;
  /** Null: a drive without a disk in it. */
  readonly medium: BlockMedium | null;
};

export abstract class AtaDrive<O extends StateRecord = StateRecord> {
  readonly state: DriveState & { own: O };
  readonly name: string;
  protected readonly unit: number;
  protected readonly medium: BlockMedium | null;
  readonly #cable: AtaCable;
  readonly #alarm: Alarm;

  constructor(state: DriveState & { own: O }, options: AtaDriveOptions) {
    const { name, unit, queue, cable, medium } = options;
    this.state = state;
    this.name = name;
    this.unit = unit;
    this.medium = medium;
    this.#cable = cable;
    this.#alarm = queue.alarm(name, () => this.#next());
  }

  // --- for a kind of drive --------------------------------------------------------------------------------------------------------------------------------

  /** Count, LBA Low, Mid and High after a reset. */
  protected abstract readonly signature: readonly number[];
  /** Status after a reset. */
  protected abstract readonly resetStatus: number;
  /** Whether device 0 shows its own registers, but the status, for a device 1 that is not there. */
  abstract readonly answersForDevice1: boolean;
  /** DEVICE RESET is known, also while the drive is busy. */
  protected abstract readonly knowsDeviceReset: boolean;

  /** How long a command takes besides the time of every command. */
  protected abstract extraTime(command: number): Ns;
  protected abstract execute(command: number): void;
  /** Own state at power on (`hard`) or after a software reset. */
  protected abstract resetOwn(hard: boolean): void;
  /** All data has moved. */
  protected abstract dataDone(cause: CauseId): void;
  /** A data block is about to be offered. */
  protected blockReady(): void {}
  /** All bytes of a packet are here; the time for finding its data is over; the time between its data and its status is over. */
  protected packetWritten(): void {}
  protected packetReady(): void {}
  protected packetEnded(): void {}

  // --- the host's side ------------------------------------------------------------------------------------------------------------------------------------

  get busy(): boolean {
    return (this.state.status & (bsy.mask | drq.mask)) !== 0;
  }

  /** Any register but data; the status read acknowledges nothing here. @param hob the FIFOs' older bytes */
  readRegister(offset: number, hob: boolean): number {
    const s = this.state;
    switch (offset) {
      case ATA.error:
        return s.error;
      case ATA.count:
        return older(s.count, hob);
      case ATA.low:
        return older(s.low, hob);
      case ATA.mid:
        return older(s.mid, hob);
      case ATA.high:
        return older(s.high, hob);
      case ATA.device:
        return s.device;
      default:
        return s.status;
    }
  }

  /** Any register but data and command. */
  writeRegister(offset: number, value: number): void {
    const s = this.state;
    if (this.busy) return;
    switch (offset) {
      case ATA.features:
        s.features = pushed(s.features, value);
        return;
      case ATA.count:
        s.count = pushed(s.count, value);
        return;
      case ATA.low:
        s.low = pushed(s.low, value);
        return;
      case ATA.mid:
        s.mid = pushed(s.mid, value);
        return;
      case ATA.high:
        s.high = pushed(s.high, value);
        return;
      default:
        s.device = value;
    }
  }

  /** Reading Status acknowledges the interrupt (7.15.4). */
  acknowledge(): void {
    this.#setInterrupt(false, 0);
  }

  writeCommand(command: number): void {
    const s = this.state;
    if (command === ATA_COMMAND.deviceReset && this.knowsDeviceReset) {
      this.#abandon();
      this.#busy(STEP.reset, COMMAND_NS);
      return;
    }
    if (this.busy || s.phase === PHASE.asleep) return;
    this.#setInterrupt(false, 0);
    s.command = command;
    s.error = 0;
    this.#busy(STEP.execute, COMMAND_NS + this.extraTime(command));
  }

  /** A word from the data register. */
  readData(): number {
    const s = this.state;
    if (s.phase !== PHASE.dataIn) return 0xffff;
    const value = s.buffer[s.at]! | (s.at + 1 < s.end ? s.buffer[s.at + 1]! << 8 : 0);
    s.at += 2;
    if (s.at >= s.end) this.#blockRead();
    return value;
  }

  writeData(value: number): void {
    const s = this.state;
    if (s.phase !== PHASE.dataOut && s.phase !== PHASE.packet) return;
    s.buffer[s.at] = value & 0xff;
    s.buffer[s.at + 1] = value >> 8;
    s.at += 2;
    if (s.at < s.end) return;
    this.#busy(s.phase === PHASE.packet ? STEP.packet : STEP.written, BLOCK_NS);
  }

  /** SRST is held (9.3). */
  hold(): void {
    this.#abandon();
    this.state.phase = PHASE.held;
    this.state.status = bsy.mask;
  }

  /** SRST is let go. */
  release(): void {
    if (this.state.phase === PHASE.held) this.#busy(STEP.reset, RESET_NS);
  }

  /** EXECUTE DEVICE DIAGNOSTIC is for both devices (8.9). */
  diagnose(): void {
    this.#setInterrupt(false, 0);
    this.state.command = ATA_COMMAND.diagnose;
    this.#busy(STEP.diagnosed, RESET_NS);
  }

  /** Power on, or RESET- asserted: touches nobody. */
  powerOn(): void {
    const s = this.state;
    s.interrupt = s.standby = false;
    s.phase = PHASE.ready;
    s.step = STEP.execute;
    s.features = s.command = s.position = s.left = s.block = s.at = s.end = s.dmaMode = s.pioMode = 0;
    s.ofMedium = false;
    s.toHost = true;
    s.buffer.fill(0);
    this.#alarm.cancel();
    this.resetOwn(true);
    this.#showSignature();
  }

  // --- DMA ------------------------------------------------------------------------------------------------------------------------------------------------

  /** DMARQ. */
  get dmaRequest(): boolean {
    return this.state.phase === PHASE.dma;
  }

  get toHost(): boolean {
    return this.state.toHost;
  }

  /** Bytes that the drive still wants to move, in whole words. */
  get dmaLeft(): number {
    return this.state.left + (this.state.left & 1);
  }

  /** `length` bytes, at most {@link dmaLeft}, to the host; a pad byte at the end is 0. */
  take(into: Uint8Array, length: number): void {
    const s = this.state;
    const count = Math.min(length, s.left);
    if (s.ofMedium) this.medium!.read(s.position, into, 0, count);
    else into.set(s.buffer.subarray(s.position, s.position + count));
    into.fill(0, count, length);
    this.#moved(count);
  }

  give(from: Uint8Array, length: number): void {
    const s = this.state;
    const count = Math.min(length, s.left);
    this.medium!.write(s.position, from, 0, count);
    this.#moved(count);
  }

  #moved(count: number): void {
    this.state.position += count;
    this.state.left -= count;
  }

  /** The last word has passed. */
  dmaDone(cause: CauseId): void {
    this.dataDone(cause);
  }

  // --- what a command does --------------------------------------------------------------------------------------------------------------------------------

  /** The command has ended; an interrupt says so. */
  protected complete(cause: CauseId = 0): void {
    this.#leave(READY);
    this.#setInterrupt(true, cause);
  }

  /** The same without an interrupt: the host has read its data. */
  protected completeQuietly(): void {
    this.#leave(READY);
  }

  /** @param error bits of the error register */
  protected fail(error: number): void {
    this.state.error = error;
    this.#leave(READY | err.mask);
    this.#setInterrupt(true, 0);
  }

  protected abort(): void {
    this.fail(ATA_ERROR.abrt.mask);
  }

  /** The power management that disks and packet devices share (T13/1410D). False: `command` is none of it. */
  protected powerCommand(command: number): boolean {
    const s = this.state;
    if (command === ATA_COMMAND.checkPower) s.count = s.standby ? ATA_POWER.standby : ATA_POWER.active;
    else if (command === ATA_COMMAND.idleImmediate) s.standby = false;
    else if (command === ATA_COMMAND.standbyImmediate || command === ATA_COMMAND.sleep) s.standby = true;
    else return false;
    this.complete();
    if (command === ATA_COMMAND.sleep) s.phase = PHASE.asleep;
    return true;
  }

  /** Data to the host by PIO, from `position` on, in blocks; the first one now. */
  protected sendBlocks(position: number, bytes: number, ofMedium: boolean, block: number): void {
    this.#data(position, bytes, ofMedium, true, block);
    this.#offerBlock();
  }

  /** Data from the host by PIO, in blocks. The first one is asked for without an interrupt (9.8). */
  protected receiveBlocks(position: number, bytes: number, block: number): void {
    this.#data(position, bytes, true, false, block);
    this.#expectBlock();
  }

  protected startDma(position: number, bytes: number, ofMedium: boolean, toHost: boolean): void {
    this.#data(position, bytes, ofMedium, toHost, 0);
    this.state.phase = PHASE.dma;
    this.state.status = READY | drq.mask;
    this.#cable.dmaChanged();
  }

  /** A packet of `bytes` is asked for (9.10): DRQ without an interrupt. */
  protected expectPacket(bytes: number): void {
    const s = this.state;
    s.at = 0;
    s.end = bytes;
    s.phase = PHASE.packet;
    s.status = READY | drq.mask;
  }

  protected showSignature(): void {
    [this.state.count, this.state.low, this.state.mid, this.state.high] = this.signature as [
      number,
      number,
      number,
      number,
    ];
  }

  protected wait(step: Step, ns: Ns): void {
    this.#busy(step, ns);
  }

  /** SET FEATURES, subcommand 03h (8.46.3). @param ultra highest mode of Ultra DMA */
  protected setTransferMode(ultra: number): void {
    const s = this.state;
    const mode = s.count & 0xff;
    const number = mode & 7;
    const kind = mode & 0xf8;
    if (mode === ATA_MODE.pioDefault || mode === ATA_MODE.pioDefaultNoIordy) s.pioMode = 0;
    else if (kind === ATA_MODE.pio && number <= 4) s.pioMode = number;
    else if ((kind === ATA_MODE.multiword && number <= 2) || (kind === ATA_MODE.ultra && number <= ultra))
      s.dmaMode = mode;
    else {
      this.abort();
      return;
    }
    this.complete();
  }

  protected get feature(): number {
    return this.state.features & 0xff;
  }

  protected get wantsTransferMode(): boolean {
    return this.feature === ATA_FEATURE.setTransferMode;
  }

  // --- states ---------------------------------------------------------------------------------------------------------------------------------------------

  #next(): void {
    const s = this.state;
    switch (s.step) {
      case STEP.execute:
        s.status = bsy.mask;
        this.execute(s.command);
        return;
      case STEP.nextBlock:
        this.#offerBlock();
        return;
      case STEP.written:
        this.#blockWritten();
        return;
      case STEP.packet:
        this.packetWritten();
        return;
      case STEP.access:
        this.packetReady();
        return;
      case STEP.ended:
        this.packetEnded();
        return;
      case STEP.reset:
        s.command = 0;
        this.resetOwn(false);
        this.#leave(0);
        this.#showSignature();
        return;
      default:
        this.#leave(0);
        this.#showSignature();
        // Device 0 speaks for both (8.9.8).
        if (this.unit === 0) this.#setInterrupt(true, 0);
    }
  }

  #busy(step: Step, ns: Ns): void {
    const s = this.state;
    s.phase = PHASE.busy;
    s.step = step;
    s.status = bsy.mask;
    this.#alarm.armIn(ns);
  }

  /** Whatever was going on is over. */
  #leave(status: number): void {
    const s = this.state;
    const dma = s.phase === PHASE.dma;
    s.phase = PHASE.ready;
    s.status = status;
    s.left = s.at = s.end = 0;
    if (dma) this.#cable.dmaChanged();
  }

  /** The same from outside, by a reset. */
  #abandon(): void {
    this.#alarm.cancel();
    this.state.standby = false;
    this.#leave(0);
    this.#setInterrupt(false, 0);
  }

  #showSignature(): void {
    this.showSignature();
    this.state.device = 0;
    this.state.error = ATA_PASSED;
    this.state.status = this.resetStatus;
  }

  #setInterrupt(on: boolean, cause: CauseId): void {
    this.state.interrupt = on;
    this.#cable.interruptChanged(cause);
  }

  #data(position: number, bytes: number, ofMedium: boolean, toHost: boolean, block: number): void {
    const s = this.state;
    s.position = position;
    s.left = bytes;
    s.ofMedium = ofMedium;
    s.toHost = toHost;
    s.block = block;
  }

  #offerBlock(): void {
    const s = this.state;
    const bytes = Math.min(s.left, s.block);
    s.at = s.ofMedium ? 0 : s.position;
    s.end = s.at + bytes;
    if (s.ofMedium) this.medium!.read(s.position, s.buffer, 0, bytes);
    this.#moved(bytes);
    s.phase = PHASE.dataIn;
    s.status = READY | drq.mask;
    this.blockReady();
    this.#setInterrupt(true, 0);
  }

  #blockRead(): void {
    if (this.state.left > 0) this.#busy(STEP.nextBlock, BLOCK_NS);
    else this.dataDone(0);
  }

  #expectBlock(): void {
    const s = this.state;
    s.at = 0;
    s.end = Math.min(s.left, s.block);
    s.phase = PHASE.dataOut;
    s.status = READY | drq.mask;
  }

  #blockWritten(): void {
    const s = this.state;
    this.medium!.write(s.position, s.buffer, 0, s.end);
    this.#moved(s.end);
    if (s.left === 0) {
      this.dataDone(0);
      return;
    }
    this.#expectBlock();
    this.#setInterrupt(true, 0);
  }
}

const older = (fifo: number, hob: boolean): number => (hob ? fifo >> 8 : fifo & 0xff);
const pushed = (fifo: number, value: number): number => ((fifo & 0xff) << 8) | value;

/** Whether nIEN lets interrupts through. */
export const interruptsEnabled = (control: number): boolean => !ATA_CONTROL.nIen.on(control);
/** Which device a device register selects. */
export const selectedBy = (device: number): number => ATA_DEVICE.dev.of(device);
