/**
 * The 82077AA floppy disk controller in AT mode (Intel 82077AA datasheet, order number 290166) with up to four drives: registers, command and result
 * phase, seeks, interrupts, reset. What data commands do with the disk is floppy-transfer.ts.
 *
 * Decisions: status registers A and B do not answer in AT mode, nor do the bits of DIR and TDR that the chip leaves alone; they read all-ones. Scan commands
 * are not the 82077AA's. A seek of a drive that is not there ends normally, a recalibration with an equipment check after 79 pulses. The head
 * of a drive is loaded until the head unload time after a command is over. Not modelled: power down, precompensation, tape drives, perpendicular
 * recording (its bits are kept; disks of 2.88M work at 1 Mbit/s in any case), polling of drives that become ready.
 */
import type { CauseId, Ns } from "../base/units.ts";
import type { DmaChannel, DmaClient } from "../ports/dma-request.ts";
import type { LinePin } from "../ports/line.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { Alarm, EventQueue } from "../sim/event-queue.ts";
import {
  CODE,
  COMMAND_BYTE,
  CONFIGURE,
  FDC,
  FDC_DIR_CHANGE,
  FDC_DOR,
  FDC_DSR,
  FDC_MSR,
  type FdcCommand,
  fdcCommand,
  HEAD_DRIVE,
  PERPENDICULAR,
  ST0,
  ST3,
} from "./floppy-82077.regs.ts";
import type { FloppyDrive } from "./floppy-drive.ts";
import { FIFO_BYTES, FloppyTransfer, OPERATION, type TransferHost, type TransferState } from "./floppy-transfer.ts";

const DRIVES = 4;
const MS: Ns = 1_000_000;
/** From the end of a reset to its interrupt. */
const POLLING_NS = 1_024_000;
/** Step rate, head load and head unload times stand for 500 kbit/s; by data rate code. */
const TIME_SCALE = [1, 5 / 3, 2, 0.5] as const;
const RECALIBRATE_PULSES = 79;
const INVALID = 0x80;
const VERSION = 0x90;
const OPEN = 0xff;
/** FIFO off, threshold of one byte, polling on, no implied seek. */
const CONFIGURATION_RESET = 0x20;
const RATE_RESET = 2;

export type FloppyOptions = {
  readonly queue: EventQueue;
  readonly irq: LinePin;
  /** Channel 2. */
  readonly dma: DmaChannel;
  /** By number. */
  readonly drives: readonly FloppyDrive[];
};

export type FloppyState = {
  dor: number;
  tdr: number;
  rate: number;
  /** Bytes of the command that came, and of the result. */
  command: Uint8Array;
  commandBytes: number;
  result: Uint8Array;
  resultBytes: number;
  resultRead: number;
  executing: boolean;
  /** Results wait (a command has ended); a seek or a reset has ended. */
  resultInterrupt: boolean;
  senseInterrupt: boolean;
  /** ST0 for Sense Interrupt Status, by drive; 0xFF: nothing. */
  ended: Uint8Array;
  /** Cylinder that the controller takes each drive for. */
  cylinder: Uint8Array;
  /** Steps still to make by drive, positive inward; how the seek ends. */
  steps: Int32Array;
  seekEnd: Uint8Array;
  configuration: number;
  precompensationTrack: number;
  specify: Uint8Array;
  perpendicular: number;
  locked: boolean;
  /** Last EOT or SC, for Dumpreg. */
  lastSector: number;
  /** The head is loaded until then, in this drive. */
  loadedUntil: Ns;
  loadedDrive: number;
  /** This command began with an implied seek. */
  implied: boolean;
  transfer: TransferState;
};

const NOTHING = 0xff;

export class Floppy82077 implements Part, DmaClient, TransferHost {
  readonly name = "floppy";
  readonly state: FloppyState;
  /** 8 ports from 0x3F0; 0x3F6 is the disk controller's. */
  readonly window: Window;
  readonly #options: FloppyOptions;
  readonly #queue: EventQueue;
  readonly #transfer: FloppyTransfer;
  readonly #dreq: LinePin;
  readonly #polling: Alarm;
  /** Observation only: the terminal count that the next interrupt follows. */
  #cause: CauseId = 0;
  readonly #stepping: readonly Alarm[];

  constructor(options: FloppyOptions) {
    const { queue, dma } = options;
    this.#options = options;
    this.#queue = queue;
    this.#dreq = dma.attach(this);
    this.#transfer = new FloppyTransfer(queue, this);
    this.#polling = queue.alarm("floppy reset", () => this.#polled());
    this.#stepping = Array.from({ length: DRIVES }, (_, n) => queue.alarm(`floppy step ${n}`, () => this.#step(n)));
    this.state = {
      ...{ dor: 0, tdr: 0, rate: RATE_RESET, command: new Uint8Array(9), commandBytes: 0, result: new Uint8Array(10) },
      ...{ resultBytes: 0, resultRead: 0, executing: false, resultInterrupt: false, senseInterrupt: false },
      ...{
        ended: new Uint8Array(DRIVES).fill(NOTHING),
        cylinder: new Uint8Array(DRIVES),
        steps: new Int32Array(DRIVES),
      },
      ...{ seekEnd: new Uint8Array(DRIVES), configuration: CONFIGURATION_RESET, precompensationTrack: 0 },
      ...{ specify: new Uint8Array(2), perpendicular: 0, locked: false, lastSector: 0, loadedUntil: 0, loadedDrive: 0 },
      ...{ implied: false, transfer: this.#transfer.state },
    };
    this.window = {
      name: this.name,
      size: 8,
      minWidth: 1,
      maxWidth: 1,
      read: offset => this.#read(offset),
      write: (offset, _width, value) => this.#write(offset, value),
      describe: offset => `floppy ${NAMES[offset]}`,
    };
  }

  reset(phase: ResetPhase, _kind: ResetKind): void {
    if (phase === "enter") {
      const s = this.state;
      s.dor = s.tdr = s.perpendicular = s.precompensationTrack = s.lastSector = s.loadedUntil = s.loadedDrive = 0;
      s.rate = RATE_RESET;
      s.locked = false;
      s.specify.fill(0);
      s.cylinder.fill(0);
      s.configuration = CONFIGURATION_RESET;
      s.command.fill(0);
      s.result.fill(0);
      this.#idle();
    } else if (phase === "hold") this.#drive();
  }

  /** Nothing is going on any more. */
  #idle(): void {
    const s = this.state;
    s.commandBytes = s.resultBytes = s.resultRead = 0;
    s.executing = s.resultInterrupt = s.senseInterrupt = s.implied = false;
    s.ended.fill(NOTHING);
    s.steps.fill(0);
    s.seekEnd.fill(0);
    for (const alarm of this.#stepping) alarm.cancel();
    this.#polling.cancel();
    this.#transfer.abort();
  }

  /** Software reset by DOR or DSR (2.1.2, 2.1.5, 7 "Reset"): what LOCK protects and SPECIFY has set stays. */
  #softReset(): void {
    const s = this.state;
    if (!s.locked) {
      s.configuration = CONFIGURATION_RESET;
      s.precompensationTrack = 0;
    }
    s.perpendicular = PERPENDICULAR.modes.put(s.perpendicular, 0);
    this.#idle();
    this.#drive();
  }

  /** Reset is over: with polling on, all four drives are reported as changed. */
  #resetOver(): void {
    if (!CONFIGURE.noPolling.on(this.state.configuration)) this.#polling.armIn(POLLING_NS);
  }

  #polled(): void {
    const s = this.state;
    for (let drive = 0; drive < DRIVES; drive++) s.ended[drive] = ST0.code.put(drive, CODE.polling);
    s.senseInterrupt = true;
    this.#drive();
  }

  /** Outputs follow the state; DMAGATE# holds both. */
  #drive(): void {
    const s = this.state;
    const t = s.transfer;
    const gate = FDC_DOR.dmaGate.on(s.dor);
    const nonDma = this.#nonDma;
    const wanted = gate && (s.resultInterrupt || s.senseInterrupt || (t.asks && nonDma));
    this.#options.irq.set(wanted, this.#cause);
    if (wanted) this.#cause = 0;
    this.#dreq.set(gate && t.asks && !nonDma);
  }

  get #nonDma(): boolean {
    return (this.state.specify[1]! & 1) !== 0;
  }

  // --- registers ----------------------------------------------------------------------------------------------------------------------------------

  #read(offset: number): number {
    this.#settle();
    const s = this.state;
    switch (offset) {
      case FDC.dor:
        return s.dor;
      case FDC.tdr:
        return 0xfc | s.tdr;
      case FDC.msr:
        return this.#mainStatus();
      case FDC.fifo:
        return this.#readFifo();
      case FDC.dir:
        return this.#diskChange() ? OPEN : OPEN & ~FDC_DIR_CHANGE;
      default:
        return OPEN;
    }
  }

  #write(offset: number, value: number): void {
    this.#settle();
    const s = this.state;
    switch (offset) {
      case FDC.dor:
        this.#writeDor(value);
        return;
      case FDC.tdr:
        s.tdr = value & 3;
        return;
      case FDC.dsr:
        s.rate = FDC_DSR.rate.of(value);
        if (FDC_DSR.reset.on(value)) {
          this.#softReset();
          if (FDC_DOR.notReset.on(s.dor)) this.#resetOver();
        }
        return;
      case FDC.fifo:
        this.#writeFifo(value);
        return;
      case FDC.ccr:
        s.rate = value & 3;
        return;
      default:
    }
  }

  /** Before anybody looks: bytes that have passed, on the bus and under the head. */
  #settle(): void {
    this.#options.dma.settle();
    this.#transfer.catchUp();
  }

  #writeDor(value: number): void {
    const s = this.state;
    const was = FDC_DOR.notReset.on(s.dor);
    s.dor = value;
    if (!FDC_DOR.notReset.on(value)) this.#softReset();
    else if (!was) this.#resetOver();
    this.#drive();
  }

  #diskChange(): boolean {
    const { dor } = this.state;
    const number = FDC_DOR.drive.of(dor);
    const motor = (FDC_DOR.motors.of(dor) >> number) & 1;
    return motor === 1 && (this.drive(number)?.state.changed ?? false);
  }

  #mainStatus(): number {
    const s = this.state;
    if (!FDC_DOR.notReset.on(s.dor)) return 0;
    let status = 0;
    for (let n = 0; n < DRIVES; n++) if (this.#stepping[n]!.armed) status |= 1 << n;
    if (s.executing) {
      status |= FDC_MSR.busy.mask;
      if (!this.#nonDma) return status;
      status |= FDC_MSR.nonDma.mask | (this.#transfer.outward ? 0 : FDC_MSR.toHost.mask);
      return s.transfer.asks ? status | FDC_MSR.request.mask : status;
    }
    if (s.resultBytes > 0) return status | FDC_MSR.busy.mask | FDC_MSR.toHost.mask | FDC_MSR.request.mask;
    return status | FDC_MSR.request.mask | (s.commandBytes > 0 ? FDC_MSR.busy.mask : 0);
  }

  #readFifo(): number {
    const s = this.state;
    if (s.executing) return this.#nonDma ? this.#transfer.take() : OPEN;
    if (s.resultBytes === 0) return OPEN;
    const value = s.result[s.resultRead++]!;
    if (s.resultRead === s.resultBytes) s.resultBytes = s.resultRead = 0;
    s.resultInterrupt = false;
    this.#drive();
    return value;
  }

  #writeFifo(value: number): void {
    const s = this.state;
    if (!FDC_DOR.notReset.on(s.dor)) return;
    if (s.executing) {
      if (this.#nonDma) this.#transfer.give(value);
      return;
    }
    if (s.resultBytes > 0) return;
    s.command[s.commandBytes++] = value;
    const known = fdcCommand(s.command[0]!);
    if (known === null) {
      s.commandBytes = 0;
      this.#answer(INVALID);
    } else if (s.commandBytes === known.bytes) {
      s.commandBytes = 0;
      this.#execute(known.command);
    }
  }

  /** Result phase without an interrupt. */
  #answer(...bytes: number[]): void {
    this.state.result.set(bytes);
    this.state.resultBytes = bytes.length;
    this.state.resultRead = 0;
  }

  // --- commands -----------------------------------------------------------------------------------------------------------------------------------

  #execute(command: FdcCommand): void {
    const s = this.state;
    const [first, one, two] = [s.command[0]!, s.command[1]!, s.command[2]!];
    switch (command) {
      case "specify":
        s.specify.set([one, two]);
        return;
      case "senseDrive":
        this.#answer(this.#driveStatus(one));
        return;
      case "senseInterrupt":
        this.#sense();
        return;
      case "recalibrate":
        this.#recalibrate(one & 3);
        return;
      case "seek":
        this.#seek(one & 3, two - s.cylinder[one & 3]!, two);
        return;
      case "relativeSeek":
        this.#seek(one & 3, COMMAND_BYTE.mfm.on(first) ? two : -two, -1);
        return;
      case "version":
        this.#answer(VERSION);
        return;
      case "configure":
        s.configuration = two & 0x7f;
        s.precompensationTrack = s.command[3]!;
        return;
      case "perpendicular": {
        const bits = PERPENDICULAR.overwrite.on(one) ? one & 0x7f : (s.perpendicular & 0x7c) | (one & 3);
        s.perpendicular = bits & 0x3f;
        return;
      }
      case "lock":
        s.locked = COMMAND_BYTE.multiTrack.on(first);
        this.#answer(s.locked ? 0x10 : 0);
        return;
      case "dumpRegisters":
        this.#dump();
        return;
      default:
        this.#startTransfer(command, one);
    }
  }

  #dump(): void {
    const s = this.state;
    const state = (s.locked ? 0x80 : 0) | s.perpendicular;
    const [srt, hlt] = [s.specify[0]!, s.specify[1]!];
    this.#answer(...s.cylinder, srt, hlt, s.lastSector, state, s.configuration, s.precompensationTrack);
  }

  #driveStatus(byte: number): number {
    const number = HEAD_DRIVE.drive.of(byte);
    const drive = this.drive(number);
    let status = ST3.one3.mask | ST3.one5.mask | (byte & 7);
    if (drive?.track0 === true) status |= ST3.track0.mask;
    if (drive?.writeProtected === true) status |= ST3.writeProtect.mask;
    return status;
  }

  /** The drive of lowest number that has something to tell; a reset's interrupt is over with the first answer. */
  #sense(): void {
    const s = this.state;
    const drive = s.ended.findIndex(st0 => st0 !== NOTHING);
    if (drive < 0) {
      this.#answer(INVALID);
      return;
    }
    this.#answer(s.ended[drive]!, s.cylinder[drive]!);
    s.ended[drive] = NOTHING;
    s.senseInterrupt = s.ended.some(st0 => st0 !== NOTHING && ST0.code.of(st0) !== CODE.polling);
    this.#drive();
  }

  // --- seeks --------------------------------------------------------------------------------------------------------------------------------------

  /** One step, ns (5.2.6 "Specify"). */
  get #stepNs(): Ns {
    return Math.round((16 - (this.state.specify[0]! >> 4)) * MS * TIME_SCALE[this.state.rate]!);
  }

  #recalibrate(number: number): void {
    const s = this.state;
    const drive = this.drive(number);
    const distance = drive === null ? Number.POSITIVE_INFINITY : drive.state.cylinder;
    const reached = distance <= RECALIBRATE_PULSES;
    const failed = ST0.equipmentCheck.mask | ST0.code.put(0, CODE.abnormal);
    s.cylinder[number] = 0;
    this.#begin(number, -Math.min(distance, RECALIBRATE_PULSES), reached ? 0 : failed);
  }

  /** @param target cylinder afterwards, −1: as far as the steps go */
  #seek(number: number, steps: number, target: number): void {
    const s = this.state;
    s.cylinder[number] = target < 0 ? s.cylinder[number]! + steps : target;
    this.#begin(number, steps, 0);
  }

  #begin(number: number, steps: number, end: number): void {
    const s = this.state;
    s.steps[number] = steps;
    s.seekEnd[number] = end | ST0.seekEnd.mask | number;
    this.#stepping[number]!.armIn(this.#stepNs);
  }

  #step(number: number): void {
    const s = this.state;
    const left = s.steps[number]!;
    if (left !== 0) {
      this.drive(number)?.step(left > 0);
      s.steps[number] = left - Math.sign(left);
    }
    if (s.steps[number] !== 0) {
      this.#stepping[number]!.armIn(this.#stepNs);
      return;
    }
    s.ended[number] = s.seekEnd[number]!;
    s.senseInterrupt = true;
    this.#drive();
  }

  // --- data commands ------------------------------------------------------------------------------------------------------------------------------

  #startTransfer(command: FdcCommand, one: number): void {
    const s = this.state;
    const [first, , c, h, r, n, eot, , last] = s.command;
    const format = command === "format";
    const data = command !== "readId" && !format;
    const drive = HEAD_DRIVE.drive.of(one);
    if (data || format) s.lastSector = format ? h! : eot!;
    const verified = command === "verify" && HEAD_DRIVE.enableCount.on(one);
    s.executing = true;
    this.#transfer.start(
      {
        operation: OPERATION_OF[command]!,
        drive,
        head: HEAD_DRIVE.head.of(one),
        mfm: COMMAND_BYTE.mfm.on(first!),
        multiTrack: data && COMMAND_BYTE.multiTrack.on(first!),
        skip: data && COMMAND_BYTE.skip.on(first!),
        c: data ? c! : 0,
        h: data ? h! : 0,
        r: data ? r! : 0,
        n: data ? n! : format ? c! : 0,
        eot: data ? eot! : format ? h! : 0,
        count: verified ? last! : 0,
        fill: format ? n! : 0,
      },
      this.#settleHead(drive, data ? c! : -1),
    );
  }

  /** Implied seek and head load. Returns their time. */
  #settleHead(number: number, cylinder: number): Ns {
    const s = this.state;
    let time = 0;
    s.implied = cylinder >= 0 && CONFIGURE.impliedSeek.on(s.configuration) && cylinder !== s.cylinder[number];
    if (s.implied) {
      const steps = cylinder - s.cylinder[number]!;
      for (let i = 0; i < Math.abs(steps); i++) this.drive(number)?.step(steps > 0);
      s.cylinder[number] = cylinder;
      time = Math.abs(steps) * this.#stepNs;
    }
    if (s.loadedDrive !== number || this.#queue.clock.now() > s.loadedUntil)
      time += this.#headNs(s.specify[1]! >> 1, 128, 2);
    s.loadedDrive = number;
    s.loadedUntil = Number.MAX_SAFE_INTEGER;
    return time;
  }

  /** A time of SPECIFY: 0 stands for the longest. */
  #headNs(value: number, longest: number, milliseconds: number): Ns {
    return Math.round((value === 0 ? longest : value) * milliseconds * MS * TIME_SCALE[this.state.rate]!);
  }

  // --- for the transfer ---------------------------------------------------------------------------------------------------------------------------

  drive(number: number): FloppyDrive | null {
    return this.#options.drives[number] ?? null;
  }

  turning(number: number): boolean {
    const motor = (FDC_DOR.motors.of(this.state.dor) >> number) & 1;
    return motor === 1 && (this.drive(number)?.medium ?? null) !== null;
  }

  get rate(): number {
    return this.state.rate;
  }

  get fifoBytes(): number {
    return CONFIGURE.noFifo.on(this.state.configuration) ? 1 : FIFO_BYTES;
  }

  get threshold(): number {
    return CONFIGURE.threshold.of(this.state.configuration) + 1;
  }

  settle(): void {
    this.#options.dma.settle();
  }

  service(): void {
    this.#drive();
  }

  finished(code: number, st1: number, st2: number): void {
    const s = this.state;
    const { drive, head, c, h, r, n } = s.transfer;
    const st0 = ST0.code.put(drive | (head << 2), code) | (s.implied ? ST0.seekEnd.mask : 0);
    s.executing = s.implied = false;
    s.loadedUntil = this.#queue.clock.now() + this.#headNs(s.specify[0]! & 15, 16, 16);
    this.#answer(st0, st1, st2, c, h, r, n);
    s.resultInterrupt = true;
    this.#drive();
  }

  // --- DMA ----------------------------------------------------------------------------------------------------------------------------------------

  burst(): number {
    return this.#transfer.ready;
  }

  dmaRead(into: Uint8Array, offset: number, length: number): void {
    for (let i = 0; i < length; i++) into[offset + i] = this.#transfer.take();
  }

  dmaWrite(from: Uint8Array, offset: number, length: number): void {
    for (let i = 0; i < length; i++) this.#transfer.give(from[offset + i]!);
  }

  terminalCount(cause: CauseId): void {
    this.#cause = cause;
    this.#transfer.endOfData();
  }
}

const OPERATION_OF: { readonly [command in FdcCommand]?: number } = {
  readData: OPERATION.read,
  readDeleted: OPERATION.readDeleted,
  writeData: OPERATION.write,
  writeDeleted: OPERATION.writeDeleted,
  verify: OPERATION.verify,
  readTrack: OPERATION.readTrack,
  format: OPERATION.format,
  readId: OPERATION.readId,
};

const NAMES = ["SRA", "SRB", "DOR", "TDR", "MSR/DSR", "FIFO", "(disk)", "DIR/CCR"];
