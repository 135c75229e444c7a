/**
 * The first-level walk, as processors do it: 4 or 5 levels, pages of 4 KiB, 2 MiB and 1 GiB, user and supervisor privilege, accessed and dirty bits; alone or
 * nested, that is with every address in it translated by the second level. VT-d specification 3.6 "First-Level Translation", 3.7 "Nested Translation" and
 * 9.7 (formats).
 *
 * Decisions: accessed and dirty bits are set when the whole translation has succeeded; a page is offered to the IOTLB as writable once its dirty bit is set.
 * Not built: the extended accessed bit, memory types.
 */
import type { PhysAddr } from "../base/units.ts";
import { BOUND } from "./binding-cache.ts";
import { FAULT } from "./faults.regs.ts";
import type { PagingCache } from "./paging-cache.ts";
import { type SecondLevel, SHIFTS, SPANS } from "./second-level.ts";
import { RIGHTS, saltOf, SUPERVISOR_SHIFT } from "./spaces.ts";
import { beyondHost, pageAddress, type TableMemory } from "./table-memory.ts";
import { FIRST_LEVEL } from "./tables.regs.ts";

/** Half of the addresses that 4 and 5 levels span; the upper half lies beyond what a bus master can name here. */
const CANONICAL_END = [0, 0, 0, 0, 2 ** 47, 2 ** 56] as const;
const RESERVED_2M = 0x001f_e000;
const RESERVED_1G = 0x3fff_e000;
const ALL = RIGHTS.read | RIGHTS.write | RIGHTS.execute;
/** Permissions so far, in the paging-structure cache: as in {@link RIGHTS}, with this bit for user access. */
const USER = 8;

/** Where tables are, when they are not where they say. */
export type Nesting = { readonly space: number; readonly root: PhysAddr; readonly levels: number };

export class FirstLevel {
  host: PhysAddr = 0;
  shift = 12;
  /** Permissions by privilege (see spaces.ts). */
  rights = 0;
  readonly #memory: TableMemory;
  readonly #cache: PagingCache;
  readonly #second: SecondLevel;
  readonly #reservedHigh: number;
  /** Entries that this walk went through, by level, and their host pages' writability. */
  readonly #entries = new Float64Array(6);
  readonly #writable = new Uint8Array(6);
  #top = 0;
  #leaf = 0;

  constructor(memory: TableMemory, cache: PagingCache, second: SecondLevel, hostBits: number) {
    this.#memory = memory;
    this.#cache = cache;
    this.#second = second;
    this.#reservedHigh = beyondHost(hostBits);
  }

  /**
   * Returns {@link FAULT}.none or the reason.
   * @param flags of {@link BOUND} @param wanted one of the request's {@link RIGHTS}, for its privilege @param nesting null when not nested
   */
  walk(
    space: number,
    root: PhysAddr,
    levels: number,
    flags: number,
    address: PhysAddr,
    wanted: number,
    nesting: Nesting | null,
  ): number {
    if (address >= CANONICAL_END[levels]!) return FAULT.notCanonical;
    const reason = this.#descend(space, root, levels, flags, address, nesting);
    if (reason !== FAULT.none) return reason;
    const denied = this.#check(flags, wanted);
    return denied === FAULT.none ? this.#finish(wanted, nesting) : denied;
  }

  /** Leaves the leaf's address in `host`, the permissions of all levels in `rights` (with {@link USER}). */
  #descend(
    space: number,
    root: PhysAddr,
    levels: number,
    flags: number,
    address: PhysAddr,
    nesting: Nesting | null,
  ): number {
    const salt = saltOf(space);
    let level = levels;
    let table = root;
    let rights = ALL | USER;
    for (let above = 2; above <= levels; above++) {
      const slot = this.#cache.find(above, space, salt, address);
      if (slot < 0) continue;
      level = above - 1;
      table = this.#cache.state.table[slot]!;
      rights = this.#cache.state.rights[slot]!;
      break;
    }
    this.#top = level;
    for (; ; level--) {
      const span = SPANS[level]!;
      const reason = this.#fetch(level, table + 8 * (Math.floor(address / span) % 512), nesting, level === levels);
      if (reason !== FAULT.none) return reason;
      const { low, high } = this.#memory;
      if (!FIRST_LEVEL.present.on(low)) return FAULT.firstNotPresent;
      const leaf = level === 1 || (level <= 3 && FIRST_LEVEL.large.on(low));
      if (this.#reserved(low, high, level, leaf, flags)) return FAULT.firstReserved;
      if (!FIRST_LEVEL.write.on(low)) rights &= ~RIGHTS.write;
      if (!FIRST_LEVEL.user.on(low)) rights &= ~USER;
      if (FIRST_LEVEL.noExecute.on(high)) rights &= ~RIGHTS.execute;
      table = pageAddress(low, high);
      if (leaf) {
        this.#leaf = level;
        this.host = table - (table % span) + (address % span);
        this.shift = SHIFTS[level]!;
        this.rights = rights;
        return FAULT.none;
      }
      this.#cache.insert(level, space, salt, address, table, rights);
    }
  }

  /** Reads the entry at `at`, in memory or in the second level's address space. */
  #fetch(level: number, at: PhysAddr, nesting: Nesting | null, isRoot: boolean): number {
    let host = at;
    this.#writable[level] = 1;
    if (nesting !== null) {
      if (at >= SPANS[nesting.levels + 1]!) return FAULT.nestedBeyondWidth;
      const reason = this.#second.walk(nesting.space, nesting.root, nesting.levels, at, RIGHTS.read);
      if (reason === FAULT.smNoRead) return isRoot ? FAULT.nestedRootRead : FAULT.nestedRead;
      if (reason !== FAULT.none) return reason;
      host = this.#second.host;
      this.#writable[level] = this.#second.rights & RIGHTS.write ? 1 : 0;
    }
    this.#entries[level] = host;
    if (this.#memory.read64(host)) return FAULT.none;
    return isRoot ? FAULT.firstRootAccess : FAULT.firstAccess;
  }

  #reserved(low: number, high: number, level: number, leaf: boolean, flags: number): boolean {
    let reserved = 0;
    if (!leaf) reserved = level > 3 ? FIRST_LEVEL.large.mask : 0;
    else if (level === 3) reserved = RESERVED_1G;
    else if (level === 2) reserved = RESERVED_2M;
    if ((low & reserved) !== 0 || (high & this.#reservedHigh) !== 0) return true;
    return FIRST_LEVEL.noExecute.on(high) && (flags & BOUND.noExecute) === 0;
  }

  /** Turns what the levels allow into permissions by privilege, and looks at what is wanted. */
  #check(flags: number, wanted: number): number {
    const own = this.rights & ALL;
    const user = (this.rights & USER) !== 0;
    let supervisor = own;
    if ((flags & BOUND.writeProtect) === 0) supervisor |= RIGHTS.write;
    if (user && (flags & BOUND.smep) !== 0) supervisor &= ~RIGHTS.execute;
    this.rights = (user ? own : 0) | (supervisor << SUPERVISOR_SHIFT);
    if ((this.rights & wanted) === wanted) return FAULT.none;
    const isSupervisor = wanted >> SUPERVISOR_SHIFT !== 0;
    if (!isSupervisor && !user) return FAULT.userDenied;
    const missing = wanted & ~this.rights;
    const kind = isSupervisor ? missing >> SUPERVISOR_SHIFT : missing;
    if ((kind & RIGHTS.write) !== 0) return FAULT.smNoWrite;
    return (kind & RIGHTS.execute) !== 0 ? FAULT.executeDenied : FAULT.smNoRead;
  }

  /** The second level's turn for the page itself, then accessed and dirty bits. */
  #finish(wanted: number, nesting: Nesting | null): number {
    const guest = this.host;
    const writes = (wanted & (RIGHTS.write | (RIGHTS.write << SUPERVISOR_SHIFT))) !== 0;
    const { shift } = this;
    if (nesting !== null) {
      if (guest >= SPANS[nesting.levels + 1]!) return FAULT.nestedBeyondWidth;
      const reads = (wanted & ~(RIGHTS.write | (RIGHTS.write << SUPERVISOR_SHIFT))) !== 0;
      const second = (reads ? RIGHTS.read : 0) | (writes ? RIGHTS.write : 0);
      const reason = this.#second.walk(nesting.space, nesting.root, nesting.levels, guest, second);
      if (reason !== FAULT.none) return reason;
      this.host = this.#second.host;
      this.shift = Math.min(shift, this.#second.shift);
      const allowed = this.#second.rights & RIGHTS.read ? this.#second.rights | RIGHTS.execute : this.#second.rights;
      this.rights &= allowed | (allowed << SUPERVISOR_SHIFT);
    }
    return this.#mark(writes);
  }

  #mark(writes: boolean): number {
    const { accessed, dirty } = FIRST_LEVEL;
    for (let level = this.#top; level >= this.#leaf; level--) {
      const at = this.#entries[level]!;
      if (!this.#memory.read64(at)) return FAULT.firstAccess;
      const { low, high } = this.#memory;
      const isLeaf = level === this.#leaf;
      const bits = accessed.mask | (isLeaf && writes ? dirty.mask : 0);
      if ((low & bits) !== bits) {
        if (this.#writable[level] === 0) return FAULT.nestedWrite;
        if (!this.#memory.write64(at, (low | bits) >>> 0, high)) return FAULT.firstAccess;
      }
      if (isLeaf && !writes && !dirty.on(low)) {
        this.rights &= ~(RIGHTS.write | (RIGHTS.write << SUPERVISOR_SHIFT));
      }
    }
    return FAULT.none;
  }
}
