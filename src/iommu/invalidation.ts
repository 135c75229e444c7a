/**
 * What an invalidation request drops. VT-d specification 6.5 "Invalidation of Translation Caches". One place for the registers and for the queue.
 */
import type { Bdf, PhysAddr } from "../base/units.ts";
import type { BindingCache } from "./binding-cache.ts";
import type { Iotlb } from "./iotlb.ts";
import type { PagingCache } from "./paging-cache.ts";
import { domainSpace, pasidSpace } from "./spaces.ts";
import { PASID_GRANULARITY } from "./tables.regs.ts";
import { GRANULARITY, MAX_ADDRESS_MASK } from "./vtd.regs.ts";

/** Bits of the function number that a function mask ignores: none, the third, the third and second, all. */
const FUNCTION_MASKS = [0, 4, 6, 7] as const;

export class Invalidation {
  /** Scalable mode: context entries know no domain. */
  scalable = false;
  readonly #bindings: BindingCache;
  readonly #contexts: BindingCache;
  readonly #iotlb: Iotlb;
  readonly #paging: PagingCache;

  constructor(bindings: BindingCache, contexts: BindingCache, iotlb: Iotlb, paging: PagingCache) {
    this.#bindings = bindings;
    this.#contexts = contexts;
    this.#iotlb = iotlb;
    this.#paging = paging;
  }

  /** 6.5.2.1. Returns the granularity that was done, 0 for one that does not exist. */
  context(granularity: number, domain: number, source: Bdf, functionMask: number): number {
    if (granularity === 0) return 0;
    if (granularity === GRANULARITY.global || (granularity === GRANULARITY.domain && this.scalable)) {
      this.#bindings.clear();
      this.#contexts.clear();
      return GRANULARITY.global;
    }
    if (granularity === GRANULARITY.domain) this.#bindings.forgetDomain(domain);
    else {
      const ignored = FUNCTION_MASKS[functionMask]!;
      this.#bindings.forgetRequesters(source, ignored, this.scalable ? -1 : domain);
      this.#contexts.forgetRequesters(source, ignored, -1);
    }
    return granularity;
  }

  /** 6.5.2.3. @param hint leaves entries that are no leaves @returns as {@link context} */
  iotlb(granularity: number, domain: number, address: PhysAddr, mask: number, hint: boolean): number {
    if (granularity === GRANULARITY.global) {
      this.#iotlb.clear();
      this.#paging.clear();
    } else if (granularity === GRANULARITY.domain) {
      this.#iotlb.forgetDomain(domain);
      this.#paging.forgetDomain(domain);
    } else if (granularity === GRANULARITY.fine) {
      if (mask > MAX_ADDRESS_MASK) return 0;
      const [start, pages] = range(address, mask);
      this.#iotlb.forgetPages(domain, start, pages);
      if (!hint) this.#paging.forgetSpacePages(domainSpace(domain), start, pages);
    }
    return granularity;
  }

  /** 6.5.2.4: what was translated with a PASID's first level; all of it (2), or pages of it (3). */
  pasidIotlb(pagesOnly: boolean, domain: number, pasid: number, address: PhysAddr, mask: number, hint: boolean): void {
    const space = pasidSpace(domain, pasid);
    if (!pagesOnly) {
      this.#iotlb.forgetSpace(space);
      this.#paging.forgetSpace(space);
      return;
    }
    const [start, pages] = range(address, mask);
    this.#iotlb.forgetSpacePages(space, start, pages);
    if (!hint) this.#paging.forgetSpacePages(space, start, pages);
  }

  /** 6.5.2.2. */
  pasidCache(granularity: number, domain: number, pasid: number): void {
    if (granularity === PASID_GRANULARITY.global) this.#bindings.clear();
    else if (granularity === PASID_GRANULARITY.domain) this.#bindings.forgetDomain(domain);
    else this.#bindings.forgetPasid(domain, pasid);
  }

  clear(): void {
    this.#bindings.clear();
    this.#contexts.clear();
    this.#iotlb.clear();
    this.#paging.clear();
  }
}

/** 2^mask pages, aligned: the low address bits are ignored. */
function range(address: PhysAddr, mask: number): [PhysAddr, number] {
  const pages = 2 ** mask;
  const bytes = pages * 4096;
  return [address - (address % bytes), pages];
}
