/**
 * The virtio block device: reads, writes, flushes, discards and zeroes the sectors of a medium. VIRTIO 1.2, 5.2.
 *
 * Decisions. Time: a request takes 10 µs and 1 ns per byte, a flush 50 µs (a fast solid state disk); up to 8 requests of a queue are under way, one after the
 * other, and each goes back at the end of its own time. Data moves when a request is fetched. Without VIRTIO_BLK_F_FLUSH every write is durable when it ends (5.2.6.2). A discarded sector keeps its contents.
 * A medium of a length that is no multiple of 512 has its whole sectors. Not modelled: SCSI and lifetime requests, secure erase, zoned devices, a writeback
 * cache that can be switched.
 */
import type { Ns } from "../../base/units.ts";
import type { BlockMedium } from "../../ports/block.ts";
import { BUS_STATUS } from "../../ports/initiator.ts";
import type { PciSlot } from "../../pci/function.ts";
import type { EventQueue } from "../../sim/event-queue.ts";
import type { Chain } from "./chain.ts";
import { PacedQueue } from "./paced-queue.ts";
import { VirtioFunction } from "./transport.ts";
import { VIRTIO_TYPE } from "./virtio.regs.ts";
import {
  BLK_CONFIG,
  BLK_CONFIG_BYTES,
  BLK_F,
  BLK_HEADER,
  BLK_HEADER_BYTES,
  BLK_ID_BYTES,
  BLK_RANGE,
  BLK_RANGE_BYTES,
  BLK_RANGE_FLAGS,
  BLK_S,
  BLK_T,
  SECTOR_BYTES,
} from "./virtio-blk.regs.ts";
import type { Virtqueue } from "./virtqueue.ts";

const CLASS_STORAGE = 0x018000;
const QUEUE_SIZE = 128;
/** Header and status have a descriptor each. */
const MAX_SEGMENTS = QUEUE_SIZE - 2;
const FETCH_NS = 500;
const REQUEST_NS = 10_000;
const BYTE_NS = 1;
const FLUSH_NS = 50_000;
const BATCH = 8;
/** Bytes that move in one piece. */
const PIECE = 65536;
/** The most sectors of one range, and ranges of one request. */
const MAX_RANGE = 0x3fffff;
const MAX_RANGES = 16;
const WORD = 2 ** 32;

type Status = (typeof BLK_S)[keyof typeof BLK_S];

export type VirtioBlockOptions = {
  readonly events: EventQueue;
  readonly medium: BlockMedium;
  /** What VIRTIO_BLK_T_GET_ID tells: up to 20 characters of ASCII. */
  readonly serial: string;
  /** 1 when left out. */
  readonly queues?: number;
};

export class VirtioBlock extends VirtioFunction {
  readonly #medium: BlockMedium;
  readonly #sectors: number;
  readonly #serial: Uint8Array;
  readonly #paced: PacedQueue[];
  readonly #bytes = new Uint8Array(PIECE);
  readonly #header = new Uint8Array(BLK_HEADER_BYTES);
  readonly #status = new Uint8Array(1);
  /** Bytes that the present request has put into the writable part. */
  #written = 0;

  constructor(slot: PciSlot, options: VirtioBlockOptions) {
    const { events, medium, serial, queues = 1 } = options;
    super(slot, {
      type: VIRTIO_TYPE.block,
      classCode: CLASS_STORAGE,
      features: featuresOf(medium, queues),
      queues: new Array<number>(queues).fill(QUEUE_SIZE),
      config: configOf(medium, queues),
      own: {},
    });
    this.#medium = medium;
    this.#sectors = Math.floor(medium.bytes / SECTOR_BYTES);
    this.#serial = new Uint8Array(BLK_ID_BYTES);
    for (let i = 0; i < Math.min(serial.length, BLK_ID_BYTES); i++) this.#serial[i] = serial.charCodeAt(i);
    const serve = (chain: Chain, queue: Virtqueue): Ns => this.#serve(chain, queue);
    this.#paced = this.queues.map(
      queue =>
        new PacedQueue(queue, {
          events,
          name: queue.index === 0 ? `${slot.name} requests` : `${slot.name} requests ${queue.index}`,
          fetchNs: FETCH_NS,
          batch: BATCH,
          serve,
          join: done => this.joinBus(queues > 1 ? queue.index : null, done),
        }),
    );
  }

  protected override queueNotified(queue: Virtqueue): void {
    this.#paced[queue.index]!.notified();
  }

  protected override queueReset(queue: Virtqueue): void {
    this.#paced[queue.index]!.cancel();
  }

  protected override deviceReset(): void {
    for (const paced of this.#paced) paced.cancel();
  }

  /** 5.2.6: header, data, and a status byte at the end of the writable part. */
  #serve(chain: Chain, queue: Virtqueue): Ns {
    const header = this.#header;
    const readable = chain.readable - BLK_HEADER_BYTES;
    const writable = chain.writable - 1;
    if (readable < 0 || writable < 0) {
      this.needReset(`a request with ${chain.readable} readable and ${chain.writable} writable bytes`);
      return 0;
    }
    this.#written = 0;
    const type = chain.read(0, header, 0, BLK_HEADER_BYTES) === BUS_STATUS.ok ? get32(header, BLK_HEADER.type) : -1;
    const sector = get32(header, BLK_HEADER.sectorHigh) * WORD + get32(header, BLK_HEADER.sector);
    const status = this.#request(type, sector, chain, readable, writable);
    this.#status[0] = status;
    const told = chain.write(writable, this.#status, 0, 1) === BUS_STATUS.ok;
    // "len … the number of bytes written" counts from the start of the writable part: up to the status only when all before it was written.
    queue.push(chain, told && this.#written === writable ? writable + 1 : this.#written, status);
    return type === BLK_T.flush ? FLUSH_NS : REQUEST_NS + (readable + writable) * BYTE_NS;
  }

  /** @param type −1 when the header could not be read */
  #request(type: number, sector: number, chain: Chain, readable: number, writable: number): Status {
    switch (type) {
      case -1:
        return BLK_S.ioError;
      case BLK_T.in:
        return this.#inside(sector, writable) ? this.#read(sector * SECTOR_BYTES, chain, writable) : BLK_S.ioError;
      case BLK_T.out:
        if (this.#medium.readOnly || !this.#inside(sector, readable)) return BLK_S.ioError;
        return this.#write(sector * SECTOR_BYTES, chain, readable);
      case BLK_T.flush:
        if (!this.#medium.readOnly) this.#medium.flush();
        return BLK_S.ok;
      case BLK_T.getId:
        return this.#identify(chain, writable);
      case BLK_T.discard:
      case BLK_T.writeZeroes:
        return this.#medium.readOnly ? BLK_S.unsupported : this.#ranges(type, chain, readable);
      default:
        return BLK_S.unsupported;
    }
  }

  /** Whole sectors, all of them there. */
  #inside(sector: number, bytes: number): boolean {
    return bytes % SECTOR_BYTES === 0 && sector + bytes / SECTOR_BYTES <= this.#sectors;
  }

  #read(position: number, chain: Chain, length: number): Status {
    const bytes = this.#bytes;
    for (let done = 0; done < length; ) {
      const part = Math.min(PIECE, length - done);
      this.#medium.read(position + done, bytes, 0, part);
      if (chain.write(done, bytes, 0, part) !== BUS_STATUS.ok) return BLK_S.ioError;
      done += part;
      this.#written = done;
    }
    return BLK_S.ok;
  }

  #write(position: number, chain: Chain, length: number): Status {
    const bytes = this.#bytes;
    for (let done = 0; done < length; ) {
      const part = Math.min(PIECE, length - done);
      if (chain.read(BLK_HEADER_BYTES + done, bytes, 0, part) !== BUS_STATUS.ok) return BLK_S.ioError;
      this.#medium.write(position + done, bytes, 0, part);
      done += part;
    }
    if (!this.accepted(BLK_F.flush)) this.#medium.flush();
    return BLK_S.ok;
  }

  #identify(chain: Chain, writable: number): Status {
    const length = Math.min(writable, BLK_ID_BYTES);
    if (chain.write(0, this.#serial, 0, length) !== BUS_STATUS.ok) return BLK_S.ioError;
    this.#written = length;
    return BLK_S.ok;
  }

  /** Everything is looked at before anything is done. */
  #ranges(type: number, chain: Chain, readable: number): Status {
    const count = readable / BLK_RANGE_BYTES;
    if (!Number.isInteger(count) || count === 0 || count > MAX_RANGES) return BLK_S.ioError;
    const ranges = new Uint8Array(readable);
    if (chain.read(BLK_HEADER_BYTES, ranges, 0, readable) !== BUS_STATUS.ok) return BLK_S.ioError;
    for (let at = 0; at < readable; at += BLK_RANGE_BYTES) {
      const flags = get32(ranges, at + BLK_RANGE.flags);
      // 5.2.6.2: unknown flags, and unmap in a discard, are "unsupported".
      const unmap = type === BLK_T.discard && BLK_RANGE_FLAGS.unmap.on(flags);
      if (BLK_RANGE_FLAGS.reserved.on(flags) || unmap) return BLK_S.unsupported;
      const sectors = get32(ranges, at + BLK_RANGE.sectors);
      if (sectors > MAX_RANGE || !this.#inside(rangeSector(ranges, at), sectors * SECTOR_BYTES)) return BLK_S.ioError;
    }
    if (type === BLK_T.discard) return BLK_S.ok;
    for (let at = 0; at < readable; at += BLK_RANGE_BYTES)
      this.#zero(rangeSector(ranges, at) * SECTOR_BYTES, get32(ranges, at + BLK_RANGE.sectors) * SECTOR_BYTES);
    if (!this.accepted(BLK_F.flush)) this.#medium.flush();
    return BLK_S.ok;
  }

  #zero(position: number, length: number): void {
    const bytes = this.#bytes.fill(0);
    for (let done = 0; done < length; done += PIECE)
      this.#medium.write(position + done, bytes, 0, Math.min(PIECE, length - done));
  }
}

function featuresOf(medium: BlockMedium, queues: number): number[] {
  const { segMax, blkSize, topology, readOnly, flush, discard, writeZeroes, multiQueue } = BLK_F;
  const writing = medium.readOnly ? [readOnly] : [discard, writeZeroes];
  return [segMax, blkSize, topology, flush, ...writing, ...(queues > 1 ? [multiQueue] : [])];
}

function configOf(medium: BlockMedium, queues: number): Uint8Array {
  const bytes = new Uint8Array(BLK_CONFIG_BYTES);
  const view = new DataView(bytes.buffer);
  const sectors = Math.floor(medium.bytes / SECTOR_BYTES);
  view.setUint32(BLK_CONFIG.capacity, sectors % WORD, true);
  view.setUint32(BLK_CONFIG.capacity + 4, Math.floor(sectors / WORD), true);
  view.setUint32(BLK_CONFIG.segMax, MAX_SEGMENTS, true);
  view.setUint32(BLK_CONFIG.blkSize, SECTOR_BYTES, true);
  view.setUint16(BLK_CONFIG.queueCount, queues, true);
  if (medium.readOnly) return bytes;
  view.setUint32(BLK_CONFIG.maxDiscardSectors, MAX_RANGE, true);
  view.setUint32(BLK_CONFIG.maxDiscardSegments, MAX_RANGES, true);
  view.setUint32(BLK_CONFIG.discardAlignment, 1, true);
  view.setUint32(BLK_CONFIG.maxWriteZeroesSectors, MAX_RANGE, true);
  view.setUint32(BLK_CONFIG.maxWriteZeroesSegments, MAX_RANGES, true);
  view.setUint8(BLK_CONFIG.writeZeroesMayUnmap, 1);
  return bytes;
}

const rangeSector = (ranges: Uint8Array, at: number): number =>
  get32(ranges, at + BLK_RANGE.sectorHigh) * WORD + get32(ranges, at + BLK_RANGE.sector);

const get32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
