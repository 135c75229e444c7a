/**
 * The second-level walk: 3 to 5 levels, pages of 4 KiB, 2 MiB and 1 GiB. VT-d specification 3.6 "Second-Level Translation" and 9.8 (formats).
 *
 * The walk ends at the first entry that denies what is asked, that has a reserved bit set, or that cannot be read. Snoop control and memory types are
 * accepted and do nothing. Not built: execute permission and accessed/dirty bits at this level (ECAP says so).
 */
import type { PhysAddr } from "../base/units.ts";
import { FAULT } from "./faults.regs.ts";
import type { PagingCache } from "./paging-cache.ts";
import { saltOf } from "./spaces.ts";
import { beyondHost, pageAddress, type TableMemory } from "./table-memory.ts";
import { SECOND_LEVEL } from "./tables.regs.ts";

const READ_WRITE = 3;
const LARGEST_PAGE_LEVEL = 3;
/** Low-word bits below the address of a page of 2 MiB and 1 GiB. */
const RESERVED_2M = 0x001f_f000;
const RESERVED_1G = 0x3fff_f000;
/** Bytes that an entry of each level spans. */
export const SPANS = [0, 2 ** 12, 2 ** 21, 2 ** 30, 2 ** 39, 2 ** 48, 2 ** 57] as const;
export const SHIFTS = [0, 12, 21, 30, 39, 48] as const;

/** Fault reasons, as a mode numbers them. */
export type SecondLevelFaults = {
  readonly access: number;
  readonly notPresent: number;
  readonly reserved: number;
  readonly read: number;
  readonly write: number;
};

export const LEGACY_FAULTS: SecondLevelFaults = {
  access: FAULT.pagingAccess,
  notPresent: 0,
  reserved: FAULT.pagingReserved,
  read: FAULT.noRead,
  write: FAULT.noWrite,
};
export const SCALABLE_FAULTS: SecondLevelFaults = {
  access: FAULT.secondAccess,
  notPresent: FAULT.secondNotPresent,
  reserved: FAULT.secondReserved,
  read: FAULT.smNoRead,
  write: FAULT.smNoWrite,
};

export class SecondLevel {
  /** Of the last successful walk: where the address lies, the page's shift, and permissions (bit 0 read, bit 1 write). */
  host: PhysAddr = 0;
  shift = 12;
  rights = 0;
  faults: SecondLevelFaults = LEGACY_FAULTS;
  readonly #memory: TableMemory;
  readonly #cache: PagingCache;
  readonly #reservedHigh: number;

  constructor(memory: TableMemory, cache: PagingCache, hostBits: number) {
    this.#memory = memory;
    this.#cache = cache;
    this.#reservedHigh = beyondHost(hostBits) | SECOND_LEVEL.transient.mask;
  }

  /** Returns {@link FAULT}.none or the reason. @param root table of the highest level @param wanted bit 0 read, bit 1 write */
  walk(space: number, root: PhysAddr, levels: number, address: PhysAddr, wanted: number): number {
    const salt = saltOf(space);
    let level = levels;
    let table = root;
    let rights = READ_WRITE;
    for (let above = 2; above <= levels; above++) {
      const slot = this.#cache.find(above, space, salt, address);
      if (slot < 0) continue;
      level = above - 1;
      table = this.#cache.state.table[slot]!;
      rights = this.#cache.state.rights[slot]!;
      // The entry above denies it, before anything below is looked at.
      if ((rights & wanted) !== wanted) return this.#denied(rights, wanted);
      break;
    }
    for (; ; level--) {
      const span = SPANS[level]!;
      if (!this.#memory.read64(table + 8 * (Math.floor(address / span) % 512))) return this.faults.access;
      const { low, high } = this.#memory;
      if ((low & READ_WRITE) === 0) return this.faults.notPresent || this.#denied(0, wanted);
      const leaf = level === 1 || (level <= LARGEST_PAGE_LEVEL && SECOND_LEVEL.large.on(low));
      if ((high & this.#reservedHigh) !== 0 || (low & reservedLow(level, leaf)) !== 0) return this.faults.reserved;
      rights &= low;
      if ((rights & wanted) !== wanted || rights === 0) return this.#denied(rights, wanted);
      table = pageAddress(low, high);
      if (leaf) {
        this.host = table + (address % span);
        this.shift = SHIFTS[level]!;
        this.rights = rights;
        return FAULT.none;
      }
      this.#cache.insert(level, space, salt, address, table, rights);
    }
  }

  /** What is missing; writing is looked at first, and a zero-length read misses reading. */
  #denied(rights: number, wanted: number): number {
    return (wanted & ~rights & 2) !== 0 ? this.faults.write : this.faults.read;
  }
}

function reservedLow(level: number, leaf: boolean): number {
  if (!leaf) return level > LARGEST_PAGE_LEVEL ? SECOND_LEVEL.large.mask : 0;
  return level === 3 ? RESERVED_1G : level === 2 ? RESERVED_2M : 0;
}
