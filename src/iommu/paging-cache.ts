/**
 * Paging-structure caches: which table lies below an entry that is no leaf, so that a walk begins there. VT-d specification 6.2.5 "Caches for
 * Paging Structures". They really cache, too. A bank of 32 places per level, direct-mapped; only present entries without errors are held.
 */
import type { PhysAddr } from "../base/units.ts";
import { domainOf } from "./spaces.ts";

/** Entries of levels 2 (the directory that points to 4 KiB tables) to 5. */
const FIRST_LEVEL = 2;
const LEVELS = 4;
const PLACES = 32;
/** Bytes that an entry of each level spans. */
const SPANS = [2 ** 12, 2 ** 12, 2 ** 21, 2 ** 30, 2 ** 39, 2 ** 48] as const;

export type PagingCacheState = {
  /** Address / span of the level, −1 for none. */
  prefix: Float64Array;
  space: Float64Array;
  table: Float64Array;
  /** Permissions so far. */
  rights: Uint8Array;
};

export class PagingCache {
  readonly state: PagingCacheState = {
    prefix: new Float64Array(LEVELS * PLACES).fill(-1),
    space: new Float64Array(LEVELS * PLACES),
    table: new Float64Array(LEVELS * PLACES),
    rights: new Uint8Array(LEVELS * PLACES),
  };

  /** Place of the entry at `level` that covers `address`, −1 for none. */
  find(level: number, space: number, salt: number, address: PhysAddr): number {
    const prefix = Math.floor(address / SPANS[level]!);
    const slot = (level - FIRST_LEVEL) * PLACES + ((prefix ^ salt) & (PLACES - 1));
    return this.state.prefix[slot] === prefix && this.state.space[slot] === space ? slot : -1;
  }

  insert(level: number, space: number, salt: number, address: PhysAddr, table: PhysAddr, rights: number): void {
    const prefix = Math.floor(address / SPANS[level]!);
    const slot = (level - FIRST_LEVEL) * PLACES + ((prefix ^ salt) & (PLACES - 1));
    this.state.prefix[slot] = prefix;
    this.state.space[slot] = space;
    this.state.table[slot] = table;
    this.state.rights[slot] = rights;
  }

  clear(): void {
    const s = this.state;
    s.prefix.fill(-1);
    s.space.fill(0);
    s.table.fill(0);
    s.rights.fill(0);
  }

  forgetDomain(domain: number): void {
    const { prefix, space } = this.state;
    for (let i = 0; i < prefix.length; i++) if (domainOf(space[i]!) === domain) prefix[i] = -1;
  }

  forgetSpace(space: number): void {
    const s = this.state;
    for (let i = 0; i < s.prefix.length; i++) if (s.space[i] === space) s.prefix[i] = -1;
  }

  /** Entries of a space on the way to `count` pages of 4 KiB. */
  forgetSpacePages(space: number, address: PhysAddr, count: number): void {
    const s = this.state;
    for (let i = 0; i < s.prefix.length; i++) {
      if (s.space[i] === space && this.#covers(i, address, count)) s.prefix[i] = -1;
    }
  }

  #covers(slot: number, address: PhysAddr, count: number): boolean {
    const span = SPANS[FIRST_LEVEL + Math.floor(slot / PLACES)]!;
    const first = this.state.prefix[slot]! * span;
    return first < address + count * 2 ** 12 && first + span > address;
  }
}
