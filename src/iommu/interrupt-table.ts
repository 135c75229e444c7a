/**
 * The interrupt remapping table and the cache of its entries. VT-d specification 5.1.4 "Interrupt-Remapping Table", 9.10 (IRTE) and 6.2.6 "Interrupt Entry
 * Cache". The cache really caches: an entry that software changes without an invalidation goes on as before. Only present entries without errors are held.
 */
import type { PhysAddr } from "../base/units.ts";
import { FAULT } from "./faults.regs.ts";
import type { TableMemory } from "./table-memory.ts";
import { IRTE, IRTE_RESERVED, POSTED_RESERVED, SOURCE_VALIDATION, XAPIC_DESTINATION } from "./tables.regs.ts";

const PLACES = 256;
const WORDS = 4;
const IRTE_BYTES = 16;
/** Delivery modes that an entry cannot have. */
const RESERVED_MODES = (1 << 3) | (1 << 6);
/** Bits of a requester id that a source qualifier ignores (9.10, SQ). */
const QUALIFIERS = [0, 4, 6, 7] as const;

export type InterruptTableState = {
  /** Index by place, −1 for none. */
  index: Int32Array;
  words: Uint32Array;
};

export class InterruptTable {
  readonly state: InterruptTableState = {
    index: new Int32Array(PLACES).fill(-1),
    words: new Uint32Array(WORDS * PLACES),
  };
  /** As latched by the last set-interrupt-table command. */
  base: PhysAddr = 0;
  entries = 0;
  extended = false;
  /** Words of the entry last found. */
  readonly entry = new Uint32Array(WORDS);
  /** The entry that {@link find} refused silences faults. */
  faultsOff = false;
  readonly #memory: TableMemory;

  constructor(memory: TableMemory) {
    this.#memory = memory;
  }

  clear(): void {
    this.state.index.fill(-1);
    this.state.words.fill(0);
  }

  /** 6.5.2.7: entries whose index equals `index` but for the lowest `mask` bits. */
  forget(index: number, mask: number): void {
    const held = this.state.index;
    for (let i = 0; i < PLACES; i++) if (held[i]! >= 0 && held[i]! >>> mask === index >>> mask) held[i] = -1;
  }

  /** Leaves the entry in {@link entry}. Returns {@link FAULT}.none or the reason. */
  find(index: number, requester: number): number {
    this.faultsOff = false;
    if (index >= this.entries) return FAULT.indexBeyondTable;
    const slot = index % PLACES;
    const { state, entry } = this;
    if (state.index[slot] === index) {
      for (let i = 0; i < WORDS; i++) entry[i] = state.words[WORDS * slot + i]!;
    } else {
      const reason = this.#load(index);
      if (reason !== FAULT.none) return reason;
      state.index[slot] = index;
      state.words.set(entry, WORDS * slot);
    }
    this.faultsOff = IRTE.faultsOff.on(entry[0]!);
    return this.#allows(requester) ? FAULT.none : FAULT.sourceInvalid;
  }

  #load(index: number): number {
    const { entry } = this;
    for (let half = 0; half < 2; half++) {
      if (!this.#memory.read64(this.base + IRTE_BYTES * index + 8 * half)) return FAULT.irteAccess;
      entry[2 * half] = this.#memory.low;
      entry[2 * half + 1] = this.#memory.high;
    }
    this.faultsOff = IRTE.faultsOff.on(entry[0]!);
    if (!IRTE.present.on(entry[0]!)) return FAULT.irteNotPresent;
    return this.#reserved() ? FAULT.irteReserved : FAULT.none;
  }

  #reserved(): boolean {
    const { entry } = this;
    const posted = IRTE.posted.on(entry[0]!);
    const masks = posted ? POSTED_RESERVED : IRTE_RESERVED;
    for (let i = 0; i < WORDS; i++) if ((entry[i]! & masks[i]!) !== 0) return true;
    if (IRTE.sourceValidation.of(entry[2]!) > SOURCE_VALIDATION.buses) return true;
    if (posted) return false;
    if ((RESERVED_MODES >> IRTE.deliveryMode.of(entry[0]!)) & 1) return true;
    return !this.extended && (entry[1]! & XAPIC_DESTINATION.reserved) !== 0;
  }

  /** Source validation (9.10, SVT, SQ, SID). */
  #allows(requester: number): boolean {
    const word = this.entry[2]!;
    const source = IRTE.source.of(word);
    switch (IRTE.sourceValidation.of(word)) {
      case SOURCE_VALIDATION.requester:
        return ((requester ^ source) & ~QUALIFIERS[IRTE.sourceQualifier.of(word)]!) === 0;
      case SOURCE_VALIDATION.buses:
        return requester >> 8 >= source >> 8 && requester >> 8 <= (source & 0xff);
      default:
        return true;
    }
  }
}
