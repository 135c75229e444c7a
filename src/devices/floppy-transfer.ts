/**
 * The execution phase of the 82077AA's data commands (Intel 82077AA datasheet, order number 290166: 4 "FIFO", 5.1 "Data transfer commands", 5.1.9 "Format
 * a track", 5.2.1 "Read ID", table 5-7 "Result phase", chapter 6 "Status register encoding"): which sector comes when, bytes at the pace of the disk through the
 * FIFO, terminal count, and how it ends.
 *
 * Bytes come and go by their time, in steps no finer than somebody sees. Without disk, motor or drive there is no index hole, and a command waits
 * for it until the controller is reset. Not modelled: CRC errors, FM (nothing is found), sectors of other sizes than 512 bytes, DTL.
 */
import type { Ns } from "../base/units.ts";
import type { Alarm, EventQueue } from "../sim/event-queue.ts";
import { CODE, ST1, ST2 } from "./floppy-82077.regs.ts";
import type { FloppyDrive } from "./floppy-drive.ts";
import { BYTE_NS, SECTOR_BYTES, SECTOR_SIZE_CODE } from "./floppy-media.ts";

export const FIFO_BYTES = 16;
/** ID field and gaps before the data field: gap 2, sync, marks and CRC. */
const HEADER_BYTES = 62;
const ID_BYTES = 4;

/** What is carried out. */
export const OPERATION = {
  none: 0,
  read: 1,
  readDeleted: 2,
  write: 3,
  writeDeleted: 4,
  verify: 5,
  readTrack: 6,
  format: 7,
  readId: 8,
} as const;
/** What the alarm is for. `drain`: the disk is done, the host has still bytes to take. */
const STAGE = { idle: 0, load: 1, search: 2, data: 3, drain: 4, fail: 5, slot: 6, formatted: 7 } as const;

/** Parameters of a command; those that it has not are 0. */
export type TransferRequest = {
  readonly operation: number;
  readonly drive: number;
  readonly head: number;
  readonly mfm: boolean;
  readonly multiTrack: boolean;
  readonly skip: boolean;
  readonly c: number;
  readonly h: number;
  readonly r: number;
  readonly n: number;
  /** Last sector; of a format: number of sectors. */
  readonly eot: number;
  /** Sectors that are verified, 0: up to the last one. */
  readonly count: number;
  /** Data byte of a format. */
  readonly fill: number;
};

export type TransferState = {
  operation: number;
  stage: number;
  drive: number;
  head: number;
  mfm: boolean;
  multiTrack: boolean;
  skip: boolean;
  c: number;
  h: number;
  r: number;
  n: number;
  eot: number;
  count: number;
  fill: number;
  /** Sector under the head, where it is not found by its number; slot of a format. */
  place: number;
  st1: number;
  st2: number;
  /** When the data field began. */
  began: Ns;
  /** Bytes of it that have passed. */
  position: number;
  sector: Uint8Array;
  fifo: Uint8Array;
  fifoCount: number;
  /** Bytes that came from the host. */
  taken: number;
  terminalCount: boolean;
  /** The host is asked for service. */
  asks: boolean;
  /** This sector is skipped, or the last one. */
  skipping: boolean;
  stop: boolean;
  /** How it ends when the host has taken everything. */
  end: number;
};

/** What the controller gives. */
export interface TransferHost {
  drive(number: number): FloppyDrive | null;
  /** A disk turns in that drive. */
  turning(number: number): boolean;
  /** Data rate code. */
  readonly rate: number;
  /** Bytes of the FIFO, 1 when it is off, and its threshold, 1 … 16. */
  readonly fifoBytes: number;
  readonly threshold: number;
  /** Transfers of the host whose time is over happen now. */
  settle(): void;
  /** Asks the host for service, or no longer: `asks` changed. */
  service(): void;
  /** Result phase. */
  finished(code: number, st1: number, st2: number): void;
}

const fresh = (): TransferState => ({
  ...{ operation: 0, stage: 0, drive: 0, head: 0, mfm: false, multiTrack: false, skip: false },
  ...{ c: 0, h: 0, r: 0, n: 0, eot: 0, count: 0, fill: 0, place: 0, st1: 0, st2: 0, began: 0, position: 0 },
  ...{ sector: new Uint8Array(SECTOR_BYTES), fifo: new Uint8Array(FIFO_BYTES), fifoCount: 0, taken: 0 },
  ...{ terminalCount: false, asks: false, skipping: false, stop: false, end: 0 },
});

export class FloppyTransfer {
  readonly state = fresh();
  readonly #host: TransferHost;
  readonly #queue: EventQueue;
  readonly #alarm: Alarm;

  constructor(queue: EventQueue, host: TransferHost) {
    this.#queue = queue;
    this.#host = host;
    this.#alarm = queue.alarm("floppy data", () => this.#due());
  }

  /** Ends whatever is going on. */
  abort(): void {
    Object.assign(this.state, { ...fresh(), sector: this.state.sector.fill(0), fifo: this.state.fifo.fill(0) });
    this.#alarm.cancel();
  }

  /** @param delay until the head is in place and loaded, ns */
  start(request: TransferRequest, delay: Ns): void {
    this.abort();
    Object.assign(this.state, request, { stage: STAGE.load });
    this.#alarm.armIn(delay);
  }

  /** From the host's memory to the disk. */
  get outward(): boolean {
    const { operation } = this.state;
    return operation === OPERATION.write || operation === OPERATION.writeDeleted || operation === OPERATION.format;
  }

  get #writes(): boolean {
    const { operation } = this.state;
    return operation === OPERATION.write || operation === OPERATION.writeDeleted;
  }

  get #now(): Ns {
    return this.#queue.clock.now();
  }

  /** The drive of the command, which is there when its disk turns or has turned. */
  get #drive(): FloppyDrive {
    return this.#host.drive(this.state.drive)!;
  }

  #due(): void {
    switch (this.state.stage) {
      case STAGE.load:
        this.#loaded();
        return;
      case STAGE.search:
        this.#beginData();
        return;
      case STAGE.data:
        this.#host.settle();
        this.catchUp();
        return;
      case STAGE.slot:
        this.#host.settle();
        this.#formatSlot();
        return;
      case STAGE.formatted:
        this.#finish(CODE.normal);
        return;
      case STAGE.drain:
        if (this.state.fifoCount === 0) this.#finish(this.state.end);
        return;
      default:
        this.#finish(CODE.abnormal);
    }
  }

  // --- finding sectors ----------------------------------------------------------------------------------------------------------------------------

  #loaded(): void {
    const s = this.state;
    if (!this.#turns()) return;
    const drive = this.#drive;
    if (this.outward && drive.writeProtected) {
      s.st1 |= ST1.notWritable;
      this.#finish(CODE.abnormal);
      return;
    }
    if (this.outward) this.#ask(true);
    if (s.operation === OPERATION.format) {
      if (s.eot === 0) {
        this.#finish(CODE.normal);
        return;
      }
      s.stage = STAGE.slot;
      this.#alarm.armIn(drive.toIndex(this.#now));
      return;
    }
    if (s.operation === OPERATION.readTrack) s.place = 1;
    this.#search();
  }

  /** Without index holes there is nothing but to wait for a reset. */
  #turns(): boolean {
    const turns = this.#host.turning(this.state.drive);
    if (!turns) this.state.stage = STAGE.search;
    return turns;
  }

  /** Waits for the sector, or for the second index hole when it is not there. */
  #search(): void {
    if (!this.#turns()) return;
    const s = this.state;
    const drive = this.#drive;
    const { format } = drive;
    if (!drive.formatted(this.#host.rate, s.mfm)) {
      this.#failAtIndex(ST1.missingMark, 0);
      return;
    }
    if (s.operation === OPERATION.readId) s.place = drive.nextSector(this.#now);
    else if (s.operation !== OPERATION.readTrack) {
      const wrong = s.c !== drive.state.cylinder;
      const missing = wrong || s.h !== s.head || s.n !== SECTOR_SIZE_CODE || s.r < 1 || s.r > format!.sectors;
      if (missing) {
        this.#failAtIndex(ST1.noData, wrong ? ST2.wrongCylinder : 0);
        return;
      }
      s.place = s.r;
    }
    s.stage = STAGE.search;
    const header = HEADER_BYTES * BYTE_NS[this.#host.rate]!;
    const first = s.operation === OPERATION.readTrack && s.place === 1;
    this.#alarm.armIn((first ? drive.toIndex(this.#now) : drive.toSector(this.#now, s.place)) + header);
  }

  #failAtIndex(st1: number, st2: number): void {
    const s = this.state;
    const drive = this.#drive;
    s.st1 |= st1;
    s.st2 |= st2;
    s.stage = STAGE.fail;
    this.#alarm.armIn(drive.toIndex(this.#now) + drive.format!.turnNs);
  }

  // --- data fields --------------------------------------------------------------------------------------------------------------------------------

  #beginData(): void {
    const s = this.state;
    const drive = this.#drive;
    if (s.operation === OPERATION.readId) {
      [s.c, s.h, s.r, s.n] = [drive.state.cylinder, s.head, s.place, SECTOR_SIZE_CODE];
      this.#finish(CODE.normal);
      return;
    }
    if (s.operation === OPERATION.readTrack && !this.#isHere(drive)) s.st1 |= ST1.noData;
    s.stage = STAGE.data;
    s.began = this.#now;
    s.position = 0;
    if (!this.#writes) {
      drive.read(s.head, s.place, s.sector);
      const other = drive.isDeleted(s.head, s.place) !== (s.operation === OPERATION.readDeleted);
      s.skipping = other && s.skip;
      s.stop = other && !s.skip && s.operation !== OPERATION.readTrack;
      if (s.stop) s.st2 |= ST2.controlMark;
    }
    this.catchUp();
  }

  /** Read Track compares the ID fields and goes on in any case. */
  #isHere(drive: FloppyDrive): boolean {
    const { c, h, r, n, head, place } = this.state;
    return c === drive.state.cylinder && h === head && r === place && n === SECTOR_SIZE_CODE;
  }

  /** The host gets or gives nothing in this sector. */
  get #silent(): boolean {
    const { operation, skipping, terminalCount } = this.state;
    return operation === OPERATION.verify || skipping || terminalCount;
  }

  /** Lets the bytes pass that have passed by now: to be called before anybody looks. */
  catchUp(): void {
    const s = this.state;
    if (s.stage !== STAGE.data) return;
    const pace = BYTE_NS[this.#host.rate]!;
    const passed = Math.floor((this.#now - s.began) / pace);
    const complete = this.#writes ? this.#toDisk(Math.min(SECTOR_BYTES, passed + 1)) : this.#fromDisk(passed);
    if (!complete) {
      s.st1 |= ST1.overrun;
      this.#finish(CODE.abnormal);
      return;
    }
    if (passed >= SECTOR_BYTES) {
      this.#sectorEnd();
      return;
    }
    this.#service();
    this.#alarm.armAt(s.began + pace * this.#nextOfInterest());
  }

  /** False: the FIFO was full when a byte came. */
  #fromDisk(passed: number): boolean {
    const s = this.state;
    const until = Math.min(SECTOR_BYTES, passed);
    if (this.#silent) s.position = until;
    const { fifoBytes } = this.#host;
    while (s.position < until) {
      if (s.fifoCount >= fifoBytes) return false;
      s.fifo[s.fifoCount++] = s.sector[s.position++]!;
    }
    return true;
  }

  /** False: a byte was not there when it was due. What a terminal count leaves of a sector is filled with zeros. */
  #toDisk(until: number): boolean {
    const s = this.state;
    while (s.position < until) {
      if (s.fifoCount === 0 && !s.terminalCount) return false;
      s.sector[s.position++] = s.fifoCount === 0 ? 0 : this.#shift();
    }
    return true;
  }

  #shift(): number {
    const { fifo } = this.state;
    const byte = fifo[0]!;
    fifo.copyWithin(0, 1, this.state.fifoCount--);
    return byte;
  }

  /** Byte time, from the beginning of the data field, at which a request is due or the host is too late. */
  #nextOfInterest(): number {
    const s = this.state;
    const { fifoBytes, threshold } = this.#host;
    if (this.#silent && !this.#writes) return SECTOR_BYTES;
    if (this.#writes) {
      if (s.terminalCount) return SECTOR_BYTES;
      const spare = s.asks ? s.fifoCount : s.fifoCount - Math.min(threshold, fifoBytes - 1) - 1;
      return Math.min(SECTOR_BYTES, s.position + Math.max(0, spare));
    }
    const free = s.asks ? fifoBytes - s.fifoCount + 1 : this.#readLevel - s.fifoCount;
    return Math.min(SECTOR_BYTES, s.position + Math.max(1, free));
  }

  get #readLevel(): number {
    const { fifoBytes, threshold } = this.#host;
    return fifoBytes === 1 ? 1 : Math.max(1, FIFO_BYTES - threshold);
  }

  /** DRQ by the FIFO's level. */
  #service(): void {
    const s = this.state;
    const { fifoBytes, threshold } = this.#host;
    if (this.outward) {
      const wants = s.operation === OPERATION.format ? s.taken < s.eot * ID_BYTES : !s.terminalCount;
      if (!wants || s.fifoCount >= this.#room) this.#ask(false);
      else if (s.fifoCount <= Math.min(threshold, fifoBytes - 1)) this.#ask(true);
    } else if (s.fifoCount === 0) this.#ask(false);
    else if (s.fifoCount >= this.#readLevel || s.position === SECTOR_BYTES) this.#ask(true);
  }

  /** A format needs a whole ID field, be the FIFO on or off. */
  get #room(): number {
    const { fifoBytes } = this.#host;
    return this.state.operation === OPERATION.format ? Math.max(ID_BYTES, fifoBytes) : fifoBytes;
  }

  #ask(level: boolean): void {
    if (this.state.asks === level) return;
    this.state.asks = level;
    this.#host.service();
  }

  // --- ends ---------------------------------------------------------------------------------------------------------------------------------------

  #sectorEnd(): void {
    const s = this.state;
    if (this.#writes) {
      this.#drive.write(s.head, s.place, s.sector, s.operation === OPERATION.writeDeleted);
      s.sector.fill(0);
    }
    const counted = s.operation === OPERATION.verify && s.count > 0 && --s.count === 0;
    const skipped = s.skipping;
    s.skipping = false;
    const more = this.#advance();
    const through = s.terminalCount && s.fifoCount === 0 && !skipped;
    const whole = !more && (s.operation === OPERATION.readTrack || (s.operation === OPERATION.verify && s.count === 0));
    if (through || counted || whole) {
      this.#endWhenTaken(CODE.normal);
      return;
    }
    if (!more && !s.stop) s.st1 |= ST1.endOfTrack;
    if (!more || s.stop) {
      this.#endWhenTaken(s.stop ? CODE.normal : CODE.abnormal);
      return;
    }
    this.#service();
    this.#search();
  }

  /** The next sector's address (table 5-7); false behind the last one. */
  #advance(): boolean {
    const s = this.state;
    if (s.operation === OPERATION.readTrack) {
      s.r++;
      return ++s.place <= Math.min(s.eot, this.#drive.format!.sectors);
    }
    if (s.r !== s.eot) {
      s.r = (s.r + 1) & 0xff;
      return true;
    }
    s.r = 1;
    if (!s.multiTrack) {
      s.c = (s.c + 1) & 0xff;
      return false;
    }
    s.h ^= 1;
    if (s.head === 0) {
      s.head = 1;
      return true;
    }
    s.c = (s.c + 1) & 0xff;
    return false;
  }

  /** The host takes what is in the FIFO first; with its last byte it may give the terminal count, which makes a normal end. */
  #endWhenTaken(code: number): void {
    const s = this.state;
    if (s.fifoCount === 0 || this.outward) {
      this.#finish(code);
      return;
    }
    s.stage = STAGE.drain;
    s.end = code;
    this.#service();
  }

  #finish(code: number): void {
    const s = this.state;
    const { st1, st2 } = s;
    this.#alarm.cancel();
    this.#ask(false);
    s.stage = STAGE.idle;
    s.operation = OPERATION.none;
    s.fifoCount = 0;
    this.#host.finished(code, st1, st2);
  }

  // --- the host's side ----------------------------------------------------------------------------------------------------------------------------

  /** Transfers that the host may make at once. */
  get ready(): number {
    return this.outward ? this.#room - this.state.fifoCount : this.state.fifoCount;
  }

  /** A byte for the host, all-ones when there is none. */
  take(): number {
    this.catchUp();
    const s = this.state;
    if (this.outward || s.fifoCount === 0) return 0xff;
    const byte = this.#shift();
    this.#moved();
    return byte;
  }

  /** A byte from the host; nobody has it when the FIFO is full. */
  give(byte: number): void {
    this.catchUp();
    const s = this.state;
    if (!this.outward || s.fifoCount >= this.#room || s.terminalCount) return;
    s.fifo[s.fifoCount++] = byte;
    s.taken++;
    this.#moved();
  }

  /** The FIFO's level changed. */
  #moved(): void {
    const s = this.state;
    if (s.stage === STAGE.drain) {
      this.#service();
      // A terminal count comes with the last byte or not at all.
      if (s.fifoCount === 0) this.#alarm.armIn(0);
      return;
    }
    this.#service();
    if (s.stage === STAGE.data) this.#alarm.armAt(s.began + BYTE_NS[this.#host.rate]! * this.#nextOfInterest());
  }

  /** TC: no further bytes. A sector that has begun is read or written to its end. */
  endOfData(): void {
    const s = this.state;
    if (s.operation === OPERATION.none || s.terminalCount) return;
    this.catchUp();
    s.terminalCount = true;
    this.#ask(false);
    if (this.outward) {
      if (s.stage === STAGE.data) this.#alarm.armAt(s.began + BYTE_NS[this.#host.rate]! * SECTOR_BYTES);
      return;
    }
    s.fifoCount = 0;
    if (s.stage === STAGE.data) this.#alarm.armAt(s.began + BYTE_NS[this.#host.rate]! * SECTOR_BYTES);
    else if (s.stage === STAGE.drain || s.stage === STAGE.search) {
      s.st1 &= ~ST1.endOfTrack;
      this.#finish(CODE.normal);
    }
  }

  // --- format -------------------------------------------------------------------------------------------------------------------------------------

  /** A slot of the track begins: its ID field must be there. */
  #formatSlot(): void {
    const s = this.state;
    const drive = this.#drive;
    if (s.fifoCount < ID_BYTES) {
      s.st1 |= ST1.overrun;
      this.#finish(CODE.abnormal);
      return;
    }
    const [c, h, r, n] = [this.#shift(), this.#shift(), this.#shift(), this.#shift()];
    const { cylinder } = drive.state;
    const fits = c === cylinder && h === s.head && n === SECTOR_SIZE_CODE && r >= 1 && r <= drive.format!.sectors;
    if (fits && drive.formatted(this.#host.rate, s.mfm)) {
      s.sector.fill(s.fill);
      drive.write(s.head, r, s.sector, false);
    }
    s.place++;
    const slot = Math.floor(drive.format!.turnNs / s.eot);
    if (s.place === s.eot) s.stage = STAGE.formatted;
    this.#service();
    this.#alarm.armIn(slot);
  }
}
