/**
 * A map from linear to physical pages for scripted cores: by default every address below 2^47 is itself, supervisor and user may write; single pages
 * differ. Stands for the page tables that an x86 core would walk (Intel SDM vol. 3A, chapter 4); accessed and dirty bits, large pages and stale
 * translations are not modelled.
 */
import { PAGE } from "../base/units.ts";

export type PageEntry = {
  readonly physicalPage: number;
  readonly writable: boolean;
  readonly user: boolean;
  /** Caches are passed by, on a board that has some. */
  readonly uncached: boolean;
};

export type PageRights = Partial<Omit<PageEntry, "physicalPage">>;

/** Pages below 4 GiB. */
const MARKED_PAGES = 1 << 20;

/** What an access may not do. */
export const NOT_MAPPED: PageEntry = {
  physicalPage: -1,
  writable: false,
  user: false,
  uncached: false,
};

export class PageMap {
  /** Names the map in CR3; a number of the kernel's choice, a multiple of 4096. */
  readonly root: number;
  /** What user mode may do where no page differs. */
  readonly userByDefault: boolean;
  readonly #entries = new Map<number, PageEntry>();
  /** One byte per page from 0 on, 1 where it differs, as far as that was needed; pages behind it are looked up. */
  #marks = new Uint8Array(0);

  constructor(root = 0, userByDefault = true) {
    this.root = root;
    this.userByDefault = userByDefault;
  }

  /** Some page is not itself. */
  get differs(): boolean {
    return this.#entries.size > 0 || !this.userByDefault;
  }

  /** Maps the page at linear `address` to physical `physical` (both multiples of 4096). */
  map(address: number, physical: number, rights: PageRights = {}): void {
    const { writable = true, user = this.userByDefault, uncached = false } = rights;
    this.#set(Math.floor(address / PAGE), { physicalPage: physical / PAGE, writable, user, uncached });
  }

  /** The page at `address` is not there: a guard page. */
  unmap(address: number): void {
    this.#set(Math.floor(address / PAGE), NOT_MAPPED);
  }

  #set(page: number, entry: PageEntry): void {
    this.#entries.set(page, entry);
    if (page < 0 || page >= MARKED_PAGES) return;
    if (page >= this.#marks.length) {
      const longer = new Uint8Array(Math.min(MARKED_PAGES, 2 * page + 1024));
      longer.set(this.#marks);
      this.#marks = longer;
    }
    this.#marks[page] = 1;
  }

  /** The page (from 0 on) is surely itself, and its rights are those by default. */
  isPlain(page: number): boolean {
    return page < this.#marks.length ? this.#marks[page] === 0 : page < MARKED_PAGES;
  }

  /** Entry of the page with this number, null where the address is itself. */
  entry(page: number): PageEntry | null {
    return this.#entries.get(page) ?? null;
  }
}
