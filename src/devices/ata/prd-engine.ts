/**
 * The bus master of one IDE channel: command, status and table registers, and the engine that goes through a table of physical region descriptors.
 * SFF-8038i 1.0; 82371AB (PIIX4) data sheet (290562-001), 6.2 and "Bus master function".
 *
 * How a transfer ends (SFF-8038i, 3.1, the table of "interrupt" and "active"): 1/0 when the regions and the drive's data are equally long; 1/1 when the
 * regions are longer; 0/0 when they are shorter (the drive waits on), with the error bit when memory did not answer.
 *
 * Decisions. A burst is what fits into a region; it takes its bytes' time, and moves at the end of it. Descriptors are fetched when the drive wants more, one
 * at a time. Regions and tables that cross 64 KiB ("shall not") go on there, addresses wrap at 4 GiB. A drive that wants the other direction than the command
 * register says is not served. While the bus master bit of the function is 0 the engine waits. Stopping an active engine forgets its place in the table.
 */
import type { CauseId, Ns, PhysAddr } from "../../base/units.ts";
import { EVENT } from "../../ports/events.ts";
import { BUS_STATUS, type BusStatus, type Initiator } from "../../ports/initiator.ts";
import type { Alarm, EventQueue } from "../../sim/event-queue.ts";
import { BM, BM_COMMAND, BM_STATUS, PRD_BYTES, PRD_COUNT, PRD_MAX_BYTES } from "../piix-ide.regs.ts";
import type { AtaDrive } from "./ata-drive.ts";

/** Completion's code when the table was shorter than the drive's data; bus errors have their own numbers. */
export const TABLE_SHORT = 0x10;
const STOPPED = 0x11;

export type EngineState = {
  command: number;
  status: number;
  table: number;
  /** Next descriptor. */
  next: PhysAddr;
  /** The present region: what is left of it, and whether it is the last. */
  address: PhysAddr;
  left: number;
  last: boolean;
  /** Bytes since the start bit was set. */
  moved: number;
};
export const freshEngine = (): EngineState => ({
  ...{ command: 0, status: 0, table: 0, next: 0, address: 0, left: 0, last: false, moved: 0 },
});

/** What the function has for its engines. */
export interface EngineHost {
  readonly dma: Initiator;
  /** Bus master enable. */
  readonly mayMaster: boolean;
  /** The drive of this channel that asserts DMARQ. */
  driveOf(channel: number): AtaDrive | null;
  /** Nanoseconds per word for the selected drive. */
  wordNs(channel: number): Ns;
  told(kind: number, a: number, b: number, c: number, cause: CauseId): CauseId;
  causedBy(cause: CauseId): void;
}

const WRITABLE_STATUS = BM_STATUS.drive0.mask | BM_STATUS.drive1.mask;
const CLEARED_STATUS = BM_STATUS.error.mask | BM_STATUS.interrupt.mask;
const WORD = 2 ** 32;

export class PrdEngine {
  readonly state: EngineState;
  readonly #channel: number;
  readonly #host: EngineHost;
  readonly #alarm: Alarm;
  readonly #bytes = new Uint8Array(PRD_MAX_BYTES);
  readonly #descriptor = new Uint8Array(PRD_BYTES);
  /** Of what happens next: the start bit, then the descriptors. */
  #cause: CauseId = 0;
  /** A completion is still to be told. */
  #open = false;

  constructor(state: EngineState, channel: number, queue: EventQueue, name: string, host: EngineHost) {
    this.state = state;
    this.#channel = channel;
    this.#host = host;
    this.#alarm = queue.alarm(name, () => this.#burstDone());
  }

  get active(): boolean {
    return BM_STATUS.active.on(this.state.status);
  }

  reset(): void {
    Object.assign(this.state, freshEngine());
    this.#alarm.cancel();
  }

  /** INTRQ rises. */
  interrupted(): void {
    this.state.status |= BM_STATUS.interrupt.mask;
  }

  // --- registers -------------------------------------------------------------------------------------------------------------------------------------------

  /** A byte of the channel's eight. */
  read(offset: number): number {
    const s = this.state;
    if (offset === BM.command) return s.command;
    if (offset === BM.status) return s.status;
    return offset >= BM.table ? (s.table >>> (8 * (offset - BM.table))) & 0xff : 0;
  }

  write(offset: number, value: number): void {
    const s = this.state;
    if (offset === BM.command) this.#writeCommand(value);
    else if (offset === BM.status) {
      const kept = s.status & (BM_STATUS.active.mask | (CLEARED_STATUS & ~value));
      s.status = kept | (value & WRITABLE_STATUS);
    } else if (offset >= BM.table) {
      const shift = 8 * (offset - BM.table);
      s.table = ((s.table & ~(0xff << shift)) | (value << shift)) & ~3;
      s.table >>>= 0;
    }
  }

  #writeCommand(value: number): void {
    const s = this.state;
    const was = BM_COMMAND.start.on(s.command);
    // "This bit must not be changed when the bus master function is active."
    const direction = (this.active ? s.command : value) & BM_COMMAND.toMemory.mask;
    s.command = direction | (value & BM_COMMAND.start.mask);
    if (!was && BM_COMMAND.start.on(value)) this.#start(value);
    else if (was && !BM_COMMAND.start.on(value) && this.active) this.#end(STOPPED);
  }

  #start(value: number): void {
    const s = this.state;
    s.status |= BM_STATUS.active.mask;
    s.next = s.table;
    s.left = s.moved = 0;
    s.last = false;
    this.#open = true;
    this.#cause = this.#host.told(EVENT.doorbell, this.#channel, value, 0, 0);
    this.pump();
  }

  // --- the engine ------------------------------------------------------------------------------------------------------------------------------------------

  /** Something has changed: DMARQ, the start bit, or whether the function may master the bus. */
  pump(): void {
    const s = this.state;
    const drive = this.#host.driveOf(this.#channel);
    if (drive === null) this.#alarm.cancel();
    if (drive === null || !this.active || this.#alarm.armed || !this.#host.mayMaster) return;
    if (drive.toHost !== BM_COMMAND.toMemory.on(s.command)) return;
    if (s.left === 0 && !this.#fetch()) return;
    const words = Math.min(s.left, drive.dmaLeft) / 2;
    this.#alarm.armIn(Math.ceil(words) * this.#host.wordNs(this.#channel));
  }

  /** The next descriptor. False when memory did not answer. */
  #fetch(): boolean {
    const s = this.state;
    const bytes = this.#descriptor;
    this.#host.causedBy(this.#cause);
    const status = this.#host.dma.read(s.next, bytes, 0, PRD_BYTES);
    if (status !== BUS_STATUS.ok) {
      this.#failed(status);
      return false;
    }
    const word = (at: number): number =>
      (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
    const second = word(4);
    s.address = (word(0) & ~1) >>> 0;
    s.left = PRD_COUNT.count.of(second) & ~1 || PRD_MAX_BYTES;
    s.last = PRD_COUNT.end.on(second);
    this.#cause = this.#host.told(EVENT.descriptor, this.#channel, s.next, s.left, this.#cause);
    s.next = (s.next + PRD_BYTES) % WORD;
    return true;
  }

  #burstDone(): void {
    const s = this.state;
    const drive = this.#host.driveOf(this.#channel);
    if (drive === null || !this.active || !this.#host.mayMaster) return;
    const length = Math.min(s.left, drive.dmaLeft);
    const status = this.#move(drive, length);
    if (status !== BUS_STATUS.ok) {
      this.#failed(status);
      return;
    }
    s.address = (s.address + length) % WORD;
    s.left -= length;
    s.moved += length;
    const exhausted = s.left === 0 && s.last;
    if (drive.dmaLeft === 0) {
      if (exhausted) s.status &= ~BM_STATUS.active.mask;
      drive.dmaDone(this.#completed(0));
    } else if (exhausted) this.#end(TABLE_SHORT);
    else this.pump();
  }

  /** One burst; a region that would leave the address space wraps. */
  #move(drive: AtaDrive, length: number): BusStatus {
    const { address } = this.state;
    const { dma } = this.#host;
    const bytes = this.#bytes;
    const below = Math.min(length, WORD - address);
    this.#host.causedBy(this.#cause);
    if (drive.toHost) {
      drive.take(bytes, length);
      const status = dma.write(address, bytes, 0, below);
      return status !== BUS_STATUS.ok || below === length ? status : dma.write(0, bytes, below, length - below);
    }
    let status = dma.read(address, bytes, 0, below);
    if (status === BUS_STATUS.ok && below < length) status = dma.read(0, bytes, below, length - below);
    if (status === BUS_STATUS.ok) drive.give(bytes, length);
    return status;
  }

  #failed(status: BusStatus): void {
    this.state.status |= BM_STATUS.error.mask;
    this.#end(status);
  }

  /** The engine is at rest before the drive is. */
  #end(code: number): void {
    const s = this.state;
    s.status &= ~BM_STATUS.active.mask;
    s.left = 0;
    this.#alarm.cancel();
    this.#completed(code);
  }

  /** @param code 0, {@link TABLE_SHORT} or how the bus answered */
  #completed(code: number): CauseId {
    if (!this.#open) return this.#cause;
    this.#open = false;
    return this.#host.told(EVENT.completion, this.#channel, this.state.moved, code, this.#cause);
  }
}
