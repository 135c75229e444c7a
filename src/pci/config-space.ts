/**
 * The configuration space of one function: 256 or 4096 bytes, write masks as data, and the list of capabilities. PCI Local Bus Specification 3.0, 6.1 to
 * 6.3 and 6.7; PCI Express Base Specification 3.0, 7.9 for the list of extended capabilities.
 *
 * Whoever has a field declares it once with its reset value and its masks; undeclared bytes read 0 and swallow writes ("reserved", 6.1).
 */
import { assert } from "../base/assert.ts";
import { alignUp, hex, onesOf } from "../base/int.ts";
import { CONFIG, type ConfigField, EXTENDED_CAPABILITY, STATUS } from "./config-space.regs.ts";

export class ConfigSpace {
  /** The present contents, little endian: part of its function's state. */
  readonly bytes: Uint8Array;
  readonly #initial: Uint8Array;
  readonly #writable: Uint8Array;
  readonly #clears: Uint8Array;
  readonly #fields: ConfigField[] = [];
  /** Where the offset of the next capability is to be written. */
  #link: number = CONFIG.capabilities;
  #free: number = CONFIG.end;
  #extendedLink = 0;
  #extendedFree: number = CONFIG.extended;

  /** @param size 256 or 4096 */
  constructor(size: number, fields: readonly ConfigField[]) {
    this.bytes = new Uint8Array(size);
    this.#initial = new Uint8Array(size);
    this.#writable = new Uint8Array(size);
    this.#clears = new Uint8Array(size);
    for (const field of fields) this.define(field);
  }

  get size(): number {
    return this.bytes.length;
  }

  /** Declares a field, or declares it anew. */
  define(field: ConfigField): void {
    const { offset, size, value = 0, writable = 0, clears = 0 } = field;
    assert(offset + size <= this.size, `configuration field ${field.name}: lies outside`);
    assert((writable & clears) === 0, `configuration field ${field.name}: bits are writable and clear themselves`);
    this.#fields.push(field);
    for (let i = 0; i < size; i++) {
      this.#initial[offset + i] = this.bytes[offset + i] = value >>> (8 * i);
      this.#writable[offset + i] = writable >>> (8 * i);
      this.#clears[offset + i] = clears >>> (8 * i);
    }
  }

  /** Sets what a declared field holds after a reset. */
  preset(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) this.#initial[offset + i] = this.bytes[offset + i] = value >>> (8 * i);
  }

  /** Appends a capability to the list; returns its offset. Its fields are declared by the caller. @param size bytes, with id and link */
  addCapability(id: number, size: number, at = alignUp(this.#free, 4)): number {
    assert(at >= this.#free && at % 4 === 0 && at + size <= CONFIG.extended, `capability ${hex(id)}: no room`);
    this.preset(this.#link, 1, at);
    this.preset(CONFIG.status, 2, this.#initial[CONFIG.status]! | STATUS.capabilities.mask);
    this.define({ name: `capability ${hex(id)}`, offset: at, size: 2, value: id });
    this.#link = at + 1;
    this.#free = at + size;
    return at;
  }

  /** The same in extended configuration space. */
  addExtendedCapability(id: number, version: number, size: number): number {
    const at = alignUp(this.#extendedFree, 4);
    assert(at + size <= this.size, `extended capability ${hex(id)}: no room`);
    const { id: idField, version: versionField, next } = EXTENDED_CAPABILITY;
    const value = versionField.put(idField.put(0, id), version);
    if (this.#extendedLink !== 0) this.preset(this.#extendedLink, 4, next.put(this.initial(this.#extendedLink, 4), at));
    this.define({ name: `extended capability ${hex(id)}`, offset: at, size: 4, value });
    this.#extendedLink = at;
    this.#extendedFree = at + size;
    return at;
  }

  /** Back to the values after a reset. */
  reset(): void {
    this.bytes.set(this.#initial);
  }

  /** What `size` bytes at `offset` hold after a reset. */
  initial(offset: number, size: number): number {
    return little(this.#initial, offset, size);
  }

  /** Unsigned value of 1, 2 or 4 bytes; all-ones behind the end. */
  read(offset: number, width: number): number {
    return offset + width > this.size ? onesOf(width) : little(this.bytes, offset, width);
  }

  /** A write by software: what the masks let through. */
  write(offset: number, width: number, value: number): void {
    if (offset + width > this.size) return;
    for (let i = 0; i < width; i++) {
      const byte = (value >>> (8 * i)) & 0xff;
      const writable = this.#writable[offset + i]!;
      const old = this.bytes[offset + i]!;
      this.bytes[offset + i] = ((old & ~writable) | (byte & writable)) & ~(byte & this.#clears[offset + i]!);
    }
  }

  /** A change by the hardware itself. */
  put(offset: number, width: number, value: number): void {
    for (let i = 0; i < width; i++) this.bytes[offset + i] = value >>> (8 * i);
  }

  /** Name of the field that `offset` lies in, for logs. */
  describe(offset: number): string {
    const field = this.#fields.findLast(f => offset >= f.offset && offset < f.offset + f.size);
    return field?.name ?? hex(offset, 2);
  }
}

function little(bytes: Uint8Array, offset: number, width: number): number {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 256 + bytes[offset + i]!;
  return value;
}
