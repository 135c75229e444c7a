/**
 * An ATAPI CD-ROM drive with one data disc, or none: the PACKET feature set (T13/1410D, 8.22 to 8.23, 9.10 and 9.11) and the packets of SPC-2 and MMC-3
 * that a driver of CD-ROMs sends.
 *
 * Decisions. Time: 1 ms from a packet that reads to its first sector, and 100 µs per sector; 5 µs for other packets. DRQ for a packet comes without an
 * interrupt (word 0, bits 6-5: 50 µs). The unit attention after power on is told once; SRST and DEVICE RESET make none. A disc is what was in the tray
 * when the machine was made; it can be ejected and loaded again. Data that a driver takes by PIO with a byte count limit of 0 ends with ABRT.
 * Not modelled: audio, READ CD, raw sectors, speeds, overlapped packets, MODE SELECT.
 */
import type { CauseId, Ns } from "../../base/units.ts";
import { ATA_COMMAND as C, ATA_ERROR, ATA_SECTOR, ATA_SIGNATURE, ATAPI_FEATURES, ATAPI_REASON } from "./ata.regs.ts";
import { AtaDrive, type AtaDriveOptions, type DriveState, freshDrive, STEP } from "./ata-drive.ts";
import { identifyData } from "./ata-identify.ts";
import { CD_SECTOR, MEDIA_EVENT, PACKET, PACKET_BYTES, SENSE, SENSE_KEY, START_STOP } from "./atapi.regs.ts";
import {
  capacity,
  configuration,
  eventStatus,
  get16,
  get32,
  inquiry,
  mechanismStatus,
  modeSense,
  senseData,
  tableOfContents,
} from "./atapi-replies.ts";

const ACCESS_NS: Ns = 1_000_000;
const SECTOR_NS: Ns = 100_000;
/** From the last byte of the data to the status. */
const STATUS_NS: Ns = 5_000;
/** Ultra DMA 0 to 2. */
const ULTRA_MODES = 0x07;
const LAST_ULTRA = 2;
/** The most bytes of a PIO block. */
const MAX_BLOCK = 0xfffe;

const TO_HOST = ATAPI_REASON.io.mask;
const COMMAND_PART = ATAPI_REASON.cd.mask;

export type CdOwn = {
  packet: Uint8Array;
  /** Data of this packet go by DMA; else in blocks of at most so many bytes. */
  dma: boolean;
  limit: number;
  /** What the last packet has left for REQUEST SENSE. */
  key: number;
  code: number;
  /** Code of a unit attention that nobody was told of, 0 for none. */
  attention: number;
  locked: boolean;
  open: boolean;
  /** What has happened to the disc, for GET EVENT STATUS NOTIFICATION. */
  event: number;
};

const fresh = (): CdOwn => ({
  ...{ packet: new Uint8Array(PACKET_BYTES), dma: false, limit: 0, key: 0, code: 0, attention: 0 },
  ...{ locked: false, open: false, event: 0 },
});
export const freshCd = (): DriveState & { own: CdOwn } => freshDrive(0x10000, fresh());

export type AtapiCdOptions = AtaDriveOptions & { readonly serial: string; readonly model: string };

export class AtapiCd extends AtaDrive<CdOwn> {
  readonly answersForDevice1 = false;
  protected readonly signature = ATA_SIGNATURE.packet;
  protected readonly resetStatus = 0;
  protected readonly knowsDeviceReset = true;
  readonly #options: AtapiCdOptions;
  readonly #sectors: number;

  constructor(state: DriveState & { own: CdOwn }, options: AtapiCdOptions) {
    super(state, options);
    this.#options = options;
    this.#sectors = Math.floor((this.medium?.bytes ?? 0) / CD_SECTOR);
    this.powerOn();
  }

  protected override resetOwn(hard: boolean): void {
    const { own } = this.state;
    own.dma = own.locked = false;
    own.limit = own.key = own.code = 0;
    if (!hard) return;
    own.packet.fill(0);
    own.open = false;
    own.event = MEDIA_EVENT.none;
    own.attention = SENSE.powerOn;
  }

  protected override extraTime(): Ns {
    return 0;
  }

  get #loaded(): boolean {
    return this.#sectors > 0 && !this.state.own.open;
  }

  // --- ATA commands -----------------------------------------------------------------------------------------------------------------------------------------

  protected override execute(command: number): void {
    const s = this.state;
    s.toHost = true;
    switch (command) {
      case C.packet:
        this.#packet();
        return;
      case C.identifyPacket:
        s.buffer.set(this.#identify());
        this.sendBlocks(0, ATA_SECTOR, false, ATA_SECTOR);
        return;
      case C.setFeatures:
        if (this.wantsTransferMode) this.setTransferMode(LAST_ULTRA);
        else this.abort();
        return;
      default:
        if (this.powerCommand(command)) return;
        // IDENTIFY DEVICE and READ SECTORS show the signature (8.16.5.2, 8.34.4).
        if (command === C.identify || command === C.readSectors) this.showSignature();
        this.abort();
    }
  }

  #identify(): Uint8Array {
    const { unit } = this;
    const { serial, model } = this.#options;
    const { dmaMode } = this.state;
    // ATAPI, CD-ROM, removable, packets of 12 bytes. NOP, DEVICE RESET, PACKET, power management.
    const words = { 0: 0x85c0, 53: 0x0006, 82: 0x4218, 83: 0x4000, 84: 0x4000, 85: 0x4218, 87: 0x4000 };
    return identifyData({ unit, serial, model, dmaMode }, ULTRA_MODES, words);
  }

  #packet(): void {
    const { own, mid, high } = this.state;
    const { feature } = this;
    if (ATAPI_FEATURES.overlap.on(feature)) {
      this.abort();
      return;
    }
    own.dma = ATAPI_FEATURES.dma.on(feature);
    own.limit = Math.min(((high & 0xff) << 8) | (mid & 0xff), MAX_BLOCK);
    this.state.count = COMMAND_PART;
    this.expectPacket(PACKET_BYTES);
  }

  protected override packetWritten(): void {
    const { own, buffer } = this.state;
    own.packet.set(buffer.subarray(0, PACKET_BYTES));
    const { packet } = own;
    const sectors = packet[0] === PACKET.read10 ? get16(packet, 7) : packet[0] === PACKET.read12 ? get32(packet, 6) : 0;
    // As long as the disc is long: what is asked for beyond that fails at once.
    const time = sectors === 0 || !this.#loaded ? 0 : ACCESS_NS + Math.min(sectors, this.#sectors) * SECTOR_NS;
    if (time > 0) this.wait(STEP.access, time);
    else this.#carryOut();
  }

  protected override packetReady(): void {
    this.#carryOut();
  }

  protected override packetEnded(): void {
    this.#good(0);
  }

  protected override dataDone(cause: CauseId): void {
    // IDENTIFY PACKET DEVICE ends with its data.
    if (this.state.command !== C.packet) this.completeQuietly();
    else if (this.state.own.dma) this.#good(cause);
    else this.wait(STEP.ended, STATUS_NS);
  }

  protected override blockReady(): void {
    const s = this.state;
    if (s.command !== C.packet) return;
    const bytes = s.end - s.at;
    s.mid = bytes & 0xff;
    s.high = bytes >> 8;
    s.count = TO_HOST;
  }

  // --- packets ----------------------------------------------------------------------------------------------------------------------------------------------

  #good(cause: CauseId): void {
    this.state.own.key = this.state.own.code = 0;
    this.state.count = TO_HOST | COMMAND_PART;
    this.complete(cause);
  }

  /** CHECK CONDITION: the sense key in the error register, the rest for REQUEST SENSE. */
  #check(key: number, code: number): void {
    const { own } = this.state;
    own.key = key;
    own.code = code;
    this.state.count = TO_HOST | COMMAND_PART;
    this.fail(key << 4);
  }

  #invalidField(): void {
    this.#check(SENSE_KEY.illegalRequest, SENSE.invalidField);
  }

  /** @param allocation bytes that the host has room for */
  #reply(bytes: Uint8Array | null, allocation: number): void {
    if (bytes === null) {
      this.#invalidField();
      return;
    }
    const length = Math.min(bytes.length, allocation);
    this.state.buffer.set(bytes);
    this.#send(0, length, false);
  }

  #send(position: number, bytes: number, ofMedium: boolean): void {
    const { dma, limit } = this.state.own;
    if (bytes === 0) this.#good(0);
    else if (dma) this.startDma(position, bytes, ofMedium, true);
    else if (limit === 0) this.fail(ATA_ERROR.abrt.mask);
    // A block that is not the last has an even number of bytes (8.22.4).
    else this.sendBlocks(position, bytes, ofMedium, bytes > limit ? Math.max(2, limit & ~1) : limit);
  }

  #carryOut(): void {
    const { own } = this.state;
    const [code] = own.packet;
    const quiet: readonly number[] = [
      PACKET.inquiry,
      PACKET.requestSense,
      PACKET.getConfiguration,
      PACKET.getEventStatus,
    ];
    if (own.attention !== 0 && !quiet.includes(code!)) {
      const { attention } = own;
      own.attention = 0;
      this.#check(SENSE_KEY.unitAttention, attention);
    } else if (!this.#about(code!) && !this.#ofDisc(code!)) {
      this.#check(SENSE_KEY.illegalRequest, SENSE.invalidOpcode);
    }
  }

  /** Packets that need no disc. False for others. */
  #about(code: number): boolean {
    const { own } = this.state;
    const { packet, open, locked } = own;
    switch (code) {
      case PACKET.requestSense:
        this.#requestSense();
        return true;
      case PACKET.inquiry:
        this.#reply(inquiry(packet), get16(packet, 3));
        return true;
      case PACKET.startStopUnit:
        this.#startStop(packet[4]!);
        return true;
      case PACKET.preventAllow:
        own.locked = (packet[4]! & 1) !== 0;
        this.#good(0);
        return true;
      case PACKET.getConfiguration:
        this.#reply(configuration(packet, this.#loaded), get16(packet, 7));
        return true;
      case PACKET.getEventStatus:
        this.#events();
        return true;
      case PACKET.modeSense10: {
        const bytes = modeSense(packet, locked);
        if (bytes === "saved") this.#check(SENSE_KEY.illegalRequest, SENSE.savingNotSupported);
        else this.#reply(bytes, get16(packet, 7));
        return true;
      }
      case PACKET.mechanismStatus:
        this.#reply(mechanismStatus(open), get16(packet, 8));
        return true;
      default:
        return false;
    }
  }

  /** Packets that need a disc. False for others. */
  #ofDisc(code: number): boolean {
    const { packet, open } = this.state.own;
    const known: readonly number[] = [
      ...[PACKET.testUnitReady, PACKET.readCapacity, PACKET.readToc, PACKET.seek10],
      ...[PACKET.read10, PACKET.read12],
    ];
    if (!known.includes(code)) return false;
    if (!this.#loaded) this.#check(SENSE_KEY.notReady, open ? SENSE.noMediumTrayOpen : SENSE.noMediumTrayClosed);
    else if (code === PACKET.testUnitReady) this.#good(0);
    else if (code === PACKET.readCapacity) this.#reply(capacity(this.#sectors), 8);
    else if (code === PACKET.readToc) this.#reply(tableOfContents(packet, this.#sectors), get16(packet, 7));
    else if (code === PACKET.seek10) this.#read(get32(packet, 2), 0);
    else this.#read(get32(packet, 2), code === PACKET.read10 ? get16(packet, 7) : get32(packet, 6));
    return true;
  }

  #read(sector: number, sectors: number): void {
    if (sector + Math.max(1, sectors) > this.#sectors) this.#check(SENSE_KEY.illegalRequest, SENSE.outOfRange);
    else this.#send(sector * CD_SECTOR, sectors * CD_SECTOR, true);
  }

  /** What the last packet has left, else a unit attention; both are told once (SPC-2, 7.23): the good end of this packet forgets them. */
  #requestSense(): void {
    const { own } = this.state;
    const told = own.key !== 0 || own.attention === 0;
    const [key, code] = told ? [own.key, own.code] : [SENSE_KEY.unitAttention, own.attention];
    if (!told) own.attention = 0;
    this.#reply(senseData(key, code, 0), own.packet[4]!);
  }

  #startStop(byte: number): void {
    const { own } = this.state;
    if (START_STOP.loadEject.on(byte)) {
      const open = !START_STOP.start.on(byte);
      if (open && own.locked) {
        this.#check(SENSE_KEY.illegalRequest, SENSE.removalPrevented);
        return;
      }
      if (open !== own.open && this.#sectors > 0) {
        own.event = open ? MEDIA_EVENT.removal : MEDIA_EVENT.newMedia;
        if (!open) own.attention = SENSE.mediumChanged;
      }
      own.open = open;
    }
    this.#good(0);
  }

  #events(): void {
    const { own } = this.state;
    const { packet, open, event } = own;
    const bytes = eventStatus(packet, event, this.#loaded, open);
    if (bytes !== null && bytes.length > 4) own.event = MEDIA_EVENT.none;
    this.#reply(bytes, get16(packet, 7));
  }
}
