/**
 * The IOTLB: results of translation, by address space and page. VT-d specification 6.2.4 "IOTLB". It really caches: what software changes in its tables
 * without an invalidation goes on being translated as before.
 *
 * Direct-mapped, a bank each for pages of 4 KiB, 2 MiB and 1 GiB, so that what is replaced depends on nothing but the requests. Only successful
 * translations are held (CAP.CM = 0).
 */
import type { PhysAddr } from "../base/units.ts";
import { domainOf, isFirstLevel } from "./spaces.ts";

const SMALL = 2048;
const LARGE = 256;
const HUGE = 32;
const LARGE_BASE = SMALL;
const HUGE_BASE = SMALL + LARGE;
const PLACES = SMALL + LARGE + HUGE;
const PAGE_4K = 2 ** 12;
const PAGE_2M = 2 ** 21;
const PAGE_1G = 2 ** 30;
/** Multiplied by instead of divided: exact, as all are powers of two, and faster. */
const PER_4K = 2 ** -12;
const PER_2M = 2 ** -21;
const PER_1G = 2 ** -30;

export type IotlbState = {
  /** Number of the page (address / its size), −1 for none; {@link IotlbState.space}, host address and permissions of it. */
  page: Float64Array;
  space: Float64Array;
  host: Float64Array;
  rights: Uint8Array;
  /** There may be pages above 4 KiB. */
  large: boolean;
};

export class Iotlb {
  readonly state: IotlbState = {
    page: new Float64Array(PLACES).fill(-1),
    space: new Float64Array(PLACES),
    host: new Float64Array(PLACES),
    rights: new Uint8Array(PLACES),
    large: false,
  };
  /** Host address of the first byte, size in bytes and permissions of what {@link find} found. */
  readonly host = this.state.host;
  readonly rights = this.state.rights;
  readonly #page = this.state.page;
  readonly #space = this.state.space;

  /** Place of the translation of `address`, −1 for none. @param salt of the space */
  find(space: number, salt: number, address: PhysAddr): number {
    const page = Math.floor(address * PER_4K);
    const slot = (page ^ salt) & (SMALL - 1);
    if (this.#page[slot] === page && this.#space[slot] === space) return slot;
    return this.state.large ? this.#findLarge(space, salt, address) : -1;
  }

  #findLarge(space: number, salt: number, address: PhysAddr): number {
    const large = Math.floor(address * PER_2M);
    const slot = LARGE_BASE + ((large ^ salt) & (LARGE - 1));
    if (this.#page[slot] === large && this.#space[slot] === space) return slot;
    const huge = Math.floor(address * PER_1G);
    const last = HUGE_BASE + ((huge ^ salt) & (HUGE - 1));
    return this.#page[last] === huge && this.#space[last] === space ? last : -1;
  }

  /** Where `address`, in the page at a place, lies in memory. */
  hostOf(slot: number, address: PhysAddr): PhysAddr {
    return this.host[slot]! + (address - this.#page[slot]! * this.sizeAt(slot));
  }

  /** Bytes from `address` to the end of the page at a place. */
  restOf(slot: number, address: PhysAddr): number {
    return (this.#page[slot]! + 1) * this.sizeAt(slot) - address;
  }

  /**
   * How far a run goes on in cached pages of 4 KiB that lie one behind the other in memory. @param first bytes that are known to, up to the end of a page
   * @returns at least `first`; more than `length` when the last page is longer
   */
  follow(
    space: number,
    salt: number,
    address: PhysAddr,
    first: number,
    host: PhysAddr,
    length: number,
    wanted: number,
  ): number {
    let span = first;
    let page = Math.floor((address + first) * PER_4K);
    for (; span < length; span += PAGE_4K, page++) {
      const slot = (page ^ salt) & (SMALL - 1);
      if (this.#page[slot] !== page || this.#space[slot] !== space || this.host[slot] !== host + span) break;
      if ((this.rights[slot]! & wanted) !== wanted) break;
    }
    return span;
  }

  /** Size of the page at a place. */
  sizeAt(slot: number): number {
    return slot < LARGE_BASE ? PAGE_4K : slot < HUGE_BASE ? PAGE_2M : PAGE_1G;
  }

  /** @param host where `address` lies @param shift 12, 21 or 30 */
  insert(space: number, salt: number, address: PhysAddr, host: PhysAddr, shift: number, rights: number): void {
    const size = 2 ** shift;
    const page = Math.floor(address / size);
    let slot = (page ^ salt) & (SMALL - 1);
    if (shift === 21) slot = LARGE_BASE + ((page ^ salt) & (LARGE - 1));
    else if (shift === 30) slot = HUGE_BASE + ((page ^ salt) & (HUGE - 1));
    if (shift !== 12) this.state.large = true;
    this.#page[slot] = page;
    this.#space[slot] = space;
    this.host[slot] = host - (host % size);
    this.rights[slot] = rights;
  }

  clear(): void {
    const s = this.state;
    s.page.fill(-1);
    s.space.fill(0);
    s.host.fill(0);
    s.rights.fill(0);
    s.large = false;
  }

  forgetDomain(domain: number): void {
    for (let i = 0; i < PLACES; i++) if (domainOf(this.#space[i]!) === domain) this.#page[i] = -1;
  }

  /**
   * `count` pages of 4 KiB from `address` in a domain's second-level space; and all that the domain's first-level spaces hold, since nested translations
   * do not remember their second-level addresses; more than was asked for may always go (6.5).
   */
  forgetPages(domain: number, address: PhysAddr, count: number): void {
    const end = address + count * PAGE_4K;
    for (let i = 0; i < PLACES; i++) {
      const space = this.#space[i]!;
      if (this.#page[i]! < 0 || domainOf(space) !== domain) continue;
      if (isFirstLevel(space) || this.#overlaps(i, address, end)) this.#page[i] = -1;
    }
  }

  forgetSpace(space: number): void {
    for (let i = 0; i < PLACES; i++) if (this.#space[i] === space) this.#page[i] = -1;
  }

  /** Pages of one first-level space. */
  forgetSpacePages(space: number, address: PhysAddr, count: number): void {
    const end = address + count * PAGE_4K;
    for (let i = 0; i < PLACES; i++) {
      if (this.#space[i] === space && this.#overlaps(i, address, end)) this.#page[i] = -1;
    }
  }

  #overlaps(slot: number, start: PhysAddr, end: PhysAddr): boolean {
    const size = this.sizeAt(slot);
    const first = this.#page[slot]! * size;
    return first < end && first + size > start;
  }
}
