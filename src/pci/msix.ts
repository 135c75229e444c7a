/**
 * MSI-X: up to 2048 vectors, each with address, data and mask, in a table that lies in a BAR beside an array of pending bits. PCI Local Bus Specification
 * 3.0, 6.8.2.
 *
 * Decisions: a masked interrupt is kept pending and sent once when vector and function are unmasked; pending bits are read only and go with a reset; an
 * interrupt while MSI-X is off is nobody's. Table and PBA take 32-bit accesses (a 64-bit one arrives as two).
 */
import { assert } from "../base/assert.ts";
import { lowestBit } from "../base/int.ts";
import type { CauseId } from "../base/units.ts";
import type { Window } from "../ports/window.ts";
import {
  MSIX,
  MSIX_BYTES,
  MSIX_CONTROL,
  MSIX_ENTRY,
  MSIX_ENTRY_BYTES,
  MSIX_MAX_VECTORS,
  MSIX_PLACE,
  MSIX_VECTOR_CONTROL,
} from "./capabilities.regs.ts";
import { CAPABILITY } from "./config-space.regs.ts";
import type { ConfigSpace } from "./config-space.ts";
import type { SendMessage } from "./msi.ts";

export type MsixOptions = {
  /** 1 … 2048. */
  readonly vectors: number;
  /** Number of the BAR that holds table and PBA. */
  readonly bar: number;
  /** Offsets in that BAR, multiples of 8; 0 and half of {@link msixBarBytes} when left out. */
  readonly table?: number;
  readonly pending?: number;
};

/** Four words per vector, and a bit per vector. */
export type MsixState = { table: Uint32Array; pending: Uint32Array };

const MASK = MSIX_VECTOR_CONTROL.mask.mask;
const WORDS = MSIX_ENTRY_BYTES / 4;

export const freshMsix = (vectors: number): MsixState => ({
  table: new Uint32Array(vectors * WORDS),
  pending: new Uint32Array(2 * Math.ceil(vectors / 64)),
});

/** Size of a BAR of its own: the table in the lower half, the PBA in the upper one. */
export function msixBarBytes(vectors: number): number {
  let bytes = 4096;
  while (bytes < 2 * vectors * MSIX_ENTRY_BYTES) bytes *= 2;
  return bytes;
}

export class Msix {
  /** Offset of the capability. */
  readonly offset: number;
  readonly vectors: number;
  /** A whole BAR with nothing but table and PBA. */
  readonly window: Window;
  readonly #space: ConfigSpace;
  readonly #state: MsixState;
  readonly #send: SendMessage;
  readonly #tableAt: number;
  readonly #pendingAt: number;

  constructor(name: string, space: ConfigSpace, state: MsixState, options: MsixOptions, send: SendMessage) {
    const { vectors, bar } = options;
    assert(vectors >= 1 && vectors <= MSIX_MAX_VECTORS, `MSI-X: ${vectors} vectors`);
    const size = msixBarBytes(vectors);
    this.#tableAt = options.table ?? 0;
    this.#pendingAt = options.pending ?? size / 2;
    assert(this.#tableAt % 8 === 0 && this.#pendingAt % 8 === 0, "MSI-X: table and PBA are aligned to 8 bytes");
    this.#space = space;
    this.#state = state;
    this.#send = send;
    this.vectors = vectors;
    this.offset = space.addCapability(CAPABILITY.msix, MSIX_BYTES);
    const place = (at: number): number => (MSIX_PLACE.bar.put(0, bar) | at) >>> 0;
    const writable = MSIX_CONTROL.enable.mask | MSIX_CONTROL.functionMask.mask;
    const at = this.offset;
    space.define({ name: "MSI-X control", offset: at + MSIX.control, size: 2, value: vectors - 1, writable });
    space.define({ name: "MSI-X table", offset: at + MSIX.table, size: 4, value: place(this.#tableAt) });
    space.define({ name: "MSI-X PBA", offset: at + MSIX.pending, size: 4, value: place(this.#pendingAt) });
    this.window = {
      name: `${name} MSI-X`,
      size,
      minWidth: 4,
      maxWidth: 4,
      narrowWrites: "drop",
      read: offset => this.read(offset),
      write: (offset, _width, value) => this.write(offset, value),
      describe: offset => this.#describe(offset),
    };
  }

  get enabled(): boolean {
    return MSIX_CONTROL.enable.on(this.#control());
  }

  /** All vectors masked (6.8.2.9: "the state after reset is 1"), nothing pending. */
  reset(): void {
    const { table, pending } = this.#state;
    table.fill(0);
    for (let i = MSIX_ENTRY.control; i < table.length; i += WORDS) table[i] = MASK;
    pending.fill(0);
  }

  /** A doubleword of the BAR; 0 outside table and PBA. */
  read(offset: number): number {
    const { table, pending } = this.#state;
    const entry = (offset - this.#tableAt) >> 2;
    if (entry >= 0 && entry < table.length) return table[entry]!;
    const word = (offset - this.#pendingAt) >> 2;
    return word >= 0 && word < pending.length ? pending[word]! : 0;
  }

  write(offset: number, value: number): void {
    const { table } = this.#state;
    const index = (offset - this.#tableAt) >> 2;
    if (index < 0 || index >= table.length) return;
    const word = index % WORDS;
    if (word === MSIX_ENTRY.control) {
      table[index] = value & MASK;
      this.#replay((index - word) / WORDS);
    } else table[index] = word === MSIX_ENTRY.address ? (value & ~3) >>> 0 : value;
  }

  /** The function has an interrupt on `vector`: sends it, or keeps it pending while it is masked. */
  deliver(vector: number, cause: CauseId): void {
    assert(vector >= 0 && vector < this.vectors, `MSI-X: there is no vector ${vector}`);
    if (!this.enabled) return;
    if (this.#masked(vector)) this.#state.pending[vector >>> 5]! |= 1 << (vector & 31);
    else this.#message(vector, cause);
  }

  /** The reason for a pending interrupt has gone (6.8.2.10). */
  withdraw(vector: number): void {
    this.#state.pending[vector >>> 5]! &= ~(1 << (vector & 31));
  }

  /** After a write to the configuration space: sends what has become free to go, lowest vector first. */
  written(): void {
    const { pending } = this.#state;
    if (!this.enabled || MSIX_CONTROL.functionMask.on(this.#control())) return;
    for (let i = 0; i < pending.length; i++) {
      for (let bits = pending[i]!; bits !== 0; bits &= bits - 1) this.#replay(32 * i + lowestBit(bits));
    }
  }

  #replay(vector: number): void {
    const bit = 1 << (vector & 31);
    const word = vector >>> 5;
    if ((this.#state.pending[word]! & bit) === 0 || !this.enabled || this.#masked(vector)) return;
    this.#state.pending[word]! &= ~bit;
    this.#message(vector, 0);
  }

  #masked(vector: number): boolean {
    if (MSIX_CONTROL.functionMask.on(this.#control())) return true;
    return (this.#state.table[vector * WORDS + MSIX_ENTRY.control]! & MASK) !== 0;
  }

  #message(vector: number, cause: CauseId): void {
    const { table } = this.#state;
    const at = vector * WORDS;
    const high = table[at + MSIX_ENTRY.addressHigh]!;
    this.#send(table[at + MSIX_ENTRY.address]!, high, table[at + MSIX_ENTRY.data]!, cause);
  }

  #control(): number {
    return this.#space.read(this.offset + MSIX.control, 2);
  }

  #describe(offset: number): string {
    const { table, pending } = this.#state;
    const entry = (offset - this.#tableAt) >> 2;
    if (entry >= 0 && entry < table.length) {
      const word = ["address", "address high", "data", "control"][entry % WORDS]!;
      return `MSI-X ${entry >> 2} ${word}`;
    }
    const word = (offset - this.#pendingAt) >> 2;
    return word >= 0 && word < pending.length ? `MSI-X pending ${word}` : "MSI-X reserved";
  }
}
