/**
 * What the descriptors of an I/OAT engine make it do: copy, fill, XOR, P+Q (the parity and the syndrome of RAID-6 over GF(2^8) with the polynomial
 * x^8+x^4+x^3+x^2+1), and their validation. Documents: see ioat.regs.ts.
 *
 * Decisions. A transfer that ends in an error may have written its beginning. Sources are read one after the other, whole. A validation compares what memory
 * has at the destination (of P and Q) with what the sources give.
 */
import type { CauseId } from "../base/units.ts";
import { BUS_STATUS, type BusStatus } from "../ports/initiator.ts";
import { NO_SNOOP } from "../ports/pci.ts";
import {
  IOAT_DESCRIPTOR,
  IOAT_DESCRIPTOR_BYTES,
  IOAT_DESCRIPTOR_CONTROL,
  IOAT_ERROR,
  IOAT_EXTENSION,
  IOAT_NULL,
  IOAT_OPERATION,
  IOAT_PQ,
  IOAT_PQ_EXTENSION,
} from "./ioat.regs.ts";

/** The way to memory. */
export interface IoatMemory {
  read(address: number, into: Uint8Array, offset: number, length: number, cause: CauseId, noSnoop: boolean): BusStatus;
  write(address: number, from: Uint8Array, offset: number, length: number, cause: CauseId, noSnoop: boolean): BusStatus;
  /** Memory to memory, by bits of {@link NO_SNOOP}; afterwards {@link copyFailedReading} says which half of a failed one failed. */
  copy(source: number, target: number, length: number, cause: CauseId, noSnoop: number): BusStatus;
  readonly copyFailedReading: boolean;
  /** Greatest size of a transfer in bytes. */
  readonly capacity: number;
}

export const IOAT_ADDRESS_LIMIT = 2 ** 52;
const WORD = 2 ** 32;
const MAX_SOURCES = 8;
const { operation: OPERATION, sourcesLessTwo: SOURCES } = IOAT_DESCRIPTOR_CONTROL;
const SNOOP_OFF = IOAT_DESCRIPTOR_CONTROL.sourceSnoopDisable;
const TARGET_SNOOP_OFF = IOAT_DESCRIPTOR_CONTROL.destinationSnoopDisable;

const isXor = (operation: number): boolean =>
  operation === IOAT_OPERATION.xor || operation === IOAT_OPERATION.xorValidate;
const isPq = (operation: number): boolean => operation === IOAT_OPERATION.pq || operation === IOAT_OPERATION.pqValidate;

/** Number of sources of an XOR or P+Q, 1 for anything else. @param control a descriptor's control word */
export function sourcesOf(control: number): number {
  const operation = OPERATION.of(control);
  return isXor(operation) || isPq(operation) ? Math.min(MAX_SOURCES, SOURCES.of(control) + 2) : 1;
}

/** A copy that moves nothing. */
export const isNull = (control: number): boolean =>
  OPERATION.of(control) === IOAT_OPERATION.copy && (control & IOAT_NULL) !== 0;

/** How many times its size goes over the bus: sources that are read, destinations that are written or compared with. */
export function transfersOf(control: number): number {
  const operation = OPERATION.of(control);
  if (operation === IOAT_OPERATION.fill) return 1;
  if (!isPq(operation)) return sourcesOf(control) + 1;
  const { pDisable, qDisable } = IOAT_DESCRIPTOR_CONTROL;
  return sourcesOf(control) + (pDisable.on(control) ? 0 : 1) + (qDisable.on(control) ? 0 : 1);
}

/** More sources than find room in 64 bytes: the next 64 belong to the descriptor. */
export function hasExtension(control: number): boolean {
  const operation = OPERATION.of(control);
  return (isXor(operation) && sourcesOf(control) > 5) || (isPq(operation) && sourcesOf(control) > 3);
}

/** In the descriptor: where the address of XOR source `n` stands; one in the old place, four behind the link, three in the extension. */
function xorSource(n: number): number {
  if (n === 0) return IOAT_DESCRIPTOR.source;
  if (n < 5) return IOAT_DESCRIPTOR.source2 + 8 * (n - 1);
  return IOAT_DESCRIPTOR_BYTES + IOAT_EXTENSION.source6 + 8 * (n - 5);
}

/** The same for P+Q: three in the descriptor, three before the link of the extension and two behind it. */
function pqSource(n: number): number {
  if (n === 0) return IOAT_DESCRIPTOR.source;
  if (n < 3) return IOAT_DESCRIPTOR.source2 + 8 * (n - 1);
  return (
    IOAT_DESCRIPTOR_BYTES + (n < 6 ? IOAT_PQ_EXTENSION.source4 + 8 * (n - 3) : IOAT_PQ_EXTENSION.source7 + 8 * (n - 6))
  );
}

/** Products in GF(2^8), by coefficient; made when asked for. */
const tables: (Uint8Array | undefined)[] = [];
function productsOf(coefficient: number): Uint8Array {
  const known = tables[coefficient];
  if (known !== undefined) return known;
  const table = new Uint8Array(256);
  for (let value = 0; value < 256; value++) {
    let product = 0;
    for (let a = value, b = coefficient; b !== 0; b >>= 1, a = (a << 1) ^ ((a & 0x80) !== 0 ? 0x11d : 0)) {
      if ((b & 1) !== 0) product ^= a;
    }
    table[value] = product;
  }
  tables[coefficient] = table;
  return table;
}

/** Bytes that can be had as words. */
class Buffer {
  bytes = new Uint8Array(0);
  words = new Uint32Array(0);

  /** Room for `size` bytes, or for `capacity` when it must grow. */
  need(size: number, capacity: number): void {
    if (this.bytes.length >= size) return;
    const bytes = new ArrayBuffer(size <= 4096 ? 4096 : capacity);
    this.bytes = new Uint8Array(bytes);
    this.words = new Uint32Array(bytes);
  }

  add(other: Buffer, size: number): void {
    const { words } = this;
    for (let i = 0, end = (size + 3) >> 2; i < end; i++) words[i]! ^= other.words[i]!;
  }

  addProducts(other: Buffer, coefficient: number, size: number): void {
    const { bytes } = this;
    const products = productsOf(coefficient);
    for (let i = 0; i < size; i++) bytes[i]! ^= products[other.bytes[i]!]!;
  }

  equals(other: Buffer, size: number): boolean {
    const whole = size >> 2;
    for (let i = 0; i < whole; i++) if (this.words[i] !== other.words[i]) return false;
    for (let i = whole * 4; i < size; i++) if (this.bytes[i] !== other.bytes[i]) return false;
    return true;
  }
}

export class IoatOperations {
  readonly #memory: IoatMemory;
  readonly #contents: Uint8Array;
  readonly #view: DataView;
  readonly #buffer = new Buffer();
  readonly #p = new Buffer();
  readonly #q = new Buffer();

  /** @param contents descriptors of 64 bytes each */
  constructor(memory: IoatMemory, contents: Uint8Array) {
    this.#memory = memory;
    this.#contents = contents;
    this.#view = new DataView(contents.buffer, contents.byteOffset, contents.length);
  }

  control(slot: number): number {
    return this.#view.getUint32(slot * IOAT_DESCRIPTOR_BYTES + IOAT_DESCRIPTOR.control, true);
  }

  size(slot: number): number {
    return this.#view.getUint32(slot * IOAT_DESCRIPTOR_BYTES + IOAT_DESCRIPTOR.size, true);
  }

  next(slot: number): number {
    return this.#address(slot * IOAT_DESCRIPTOR_BYTES + IOAT_DESCRIPTOR.next);
  }

  #address(at: number): number {
    return this.#view.getUint32(at + 4, true) * WORD + this.#view.getUint32(at, true);
  }

  /** Returns an error bit or 0. */
  carryOut(slot: number, cause: CauseId): number {
    const control = this.control(slot);
    const size = this.size(slot);
    const operation = OPERATION.of(control);
    if (isNull(control)) return 0;
    if (size === 0 || size > this.#memory.capacity) return IOAT_ERROR.length.mask;
    switch (operation) {
      case IOAT_OPERATION.copy:
        return this.#copy(slot, control, size, cause);
      case IOAT_OPERATION.fill:
        return this.#fill(slot, control, size, cause);
      case IOAT_OPERATION.xor:
      case IOAT_OPERATION.xorValidate:
        return this.#xor(slot, control, size, cause);
      case IOAT_OPERATION.pq:
      case IOAT_OPERATION.pqValidate:
        return this.#pq(slot, control, size, cause);
      default:
        return IOAT_ERROR.control.mask;
    }
  }

  #copy(slot: number, control: number, size: number, cause: CauseId): number {
    const at = slot * IOAT_DESCRIPTOR_BYTES;
    const source = this.#address(at + IOAT_DESCRIPTOR.source);
    const target = this.#address(at + IOAT_DESCRIPTOR.destination);
    if (source + size > IOAT_ADDRESS_LIMIT) return IOAT_ERROR.sourceAddress.mask;
    if (target + size > IOAT_ADDRESS_LIMIT) return IOAT_ERROR.destinationAddress.mask;
    const noSnoop =
      (SNOOP_OFF.on(control) ? NO_SNOOP.source : 0) | (TARGET_SNOOP_OFF.on(control) ? NO_SNOOP.target : 0);
    const status = this.#memory.copy(source, target, size, cause, noSnoop);
    if (status === BUS_STATUS.ok) return 0;
    return this.#memory.copyFailedReading ? IOAT_ERROR.readData.mask : IOAT_ERROR.writeData.mask;
  }

  #fill(slot: number, control: number, size: number, cause: CauseId): number {
    const at = slot * IOAT_DESCRIPTOR_BYTES + IOAT_DESCRIPTOR.source;
    this.#buffer.need(size, this.#memory.capacity);
    const { bytes } = this.#buffer;
    for (let i = 0; i < 8 && i < size; i++) bytes[i] = this.#contents[at + i]!;
    for (let done = 8; done < size; done *= 2) bytes.copyWithin(done, 0, Math.min(done, size - done));
    return this.#write(slot, IOAT_DESCRIPTOR.destination, this.#buffer, control, size, cause);
  }

  #xor(slot: number, control: number, size: number, cause: CauseId): number {
    const sum = this.#p;
    sum.need(size, this.#memory.capacity);
    sum.bytes.fill(0, 0, size);
    for (let n = 0, count = sourcesOf(control); n < count; n++) {
      const error = this.#read(slot, xorSource(n), SNOOP_OFF.on(control), size, cause);
      if (error !== 0) return error;
      sum.add(this.#buffer, size);
    }
    if (OPERATION.of(control) === IOAT_OPERATION.xor)
      return this.#write(slot, IOAT_DESCRIPTOR.destination, sum, control, size, cause);
    return this.#validate(slot, IOAT_DESCRIPTOR.destination, sum, IOAT_ERROR.xorP.mask, control, size, cause);
  }

  #pq(slot: number, control: number, size: number, cause: CauseId): number {
    const wantsP = !IOAT_DESCRIPTOR_CONTROL.pDisable.on(control);
    const wantsQ = !IOAT_DESCRIPTOR_CONTROL.qDisable.on(control);
    this.#p.need(size, this.#memory.capacity);
    this.#q.need(size, this.#memory.capacity);
    this.#p.bytes.fill(0, 0, size);
    this.#q.bytes.fill(0, 0, size);
    const coefficients = slot * IOAT_DESCRIPTOR_BYTES + IOAT_PQ.coefficients;
    for (let n = 0, count = sourcesOf(control); n < count; n++) {
      const error = this.#read(slot, pqSource(n), SNOOP_OFF.on(control), size, cause);
      if (error !== 0) return error;
      if (wantsP) this.#p.add(this.#buffer, size);
      if (wantsQ) this.#q.addProducts(this.#buffer, this.#contents[coefficients + n]!, size);
    }
    if (OPERATION.of(control) === IOAT_OPERATION.pq) {
      const error = wantsP ? this.#write(slot, IOAT_PQ.p, this.#p, control, size, cause) : 0;
      return error !== 0 || !wantsQ ? error : this.#write(slot, IOAT_PQ.q, this.#q, control, size, cause);
    }
    const { xorP, xorQ } = IOAT_ERROR;
    const p = wantsP ? this.#validate(slot, IOAT_PQ.p, this.#p, xorP.mask, control, size, cause) : 0;
    const q = wantsQ ? this.#validate(slot, IOAT_PQ.q, this.#q, xorQ.mask, control, size, cause) : 0;
    return p | q;
  }

  /** What the address at `offset` of the descriptor points to, into the buffer. */
  #read(slot: number, offset: number, noSnoop: boolean, size: number, cause: CauseId): number {
    const address = this.#address(slot * IOAT_DESCRIPTOR_BYTES + offset);
    if (address + size > IOAT_ADDRESS_LIMIT) return IOAT_ERROR.sourceAddress.mask;
    this.#buffer.need(size, this.#memory.capacity);
    const ok = this.#memory.read(address, this.#buffer.bytes, 0, size, cause, noSnoop) === BUS_STATUS.ok;
    return ok ? 0 : IOAT_ERROR.readData.mask;
  }

  #write(slot: number, offset: number, from: Buffer, control: number, size: number, cause: CauseId): number {
    const address = this.#address(slot * IOAT_DESCRIPTOR_BYTES + offset);
    if (address + size > IOAT_ADDRESS_LIMIT) return IOAT_ERROR.destinationAddress.mask;
    const noSnoop = TARGET_SNOOP_OFF.on(control);
    const ok = this.#memory.write(address, from.bytes, 0, size, cause, noSnoop) === BUS_STATUS.ok;
    return ok ? 0 : IOAT_ERROR.writeData.mask;
  }

  /** Returns `mismatch` when memory has something else than `expected`. */
  #validate(
    slot: number,
    offset: number,
    expected: Buffer,
    mismatch: number,
    control: number,
    size: number,
    cause: CauseId,
  ): number {
    const error = this.#read(slot, offset, TARGET_SNOOP_OFF.on(control), size, cause);
    if (error !== 0) return error;
    return this.#buffer.equals(expected, size) ? 0 : mismatch;
  }
}
