/**
 * The context cache and, in scalable mode, the PASID cache: what address space a requester (with its PASID, if it has one) is bound to. VT-d specification
 * 6.2.2 "Context-Cache" and 6.2.3 "PASID-Cache". It really caches; only present entries without errors are held. Direct-mapped.
 *
 * In scalable mode a request without PASID is held under its requester alone, together with what its context entry says of it, and goes when either
 * the context or the PASID entry is invalidated.
 */
import type { Bdf } from "../base/units.ts";

const PLACES = 512;

/** What becomes of a request's addresses. */
export const BINDING = { second: 1, passThrough: 2, first: 3, nested: 4, directory: 5 } as const;
/** Bits of {@link BindingState.flags}. */
export const BOUND = {
  faultsOff: 1,
  writeProtect: 2,
  noExecute: 4,
  smep: 8,
  supervisor: 16,
  execute: 32,
  /** Requests count as made with supervisor privilege (RID_PRIV). */
  privileged: 64,
  pasid: 128,
} as const;

export type BindingState = {
  /** Whom this is for: requester, −1 for nobody; and the PASID of the request, −1 for none. */
  requester: Int32Array;
  tag: Int32Array;
  domain: Int32Array;
  /** The PASID table's entry that it came from, −1 in legacy mode. */
  pasid: Int32Array;
  kind: Uint8Array;
  /** Levels of the second-level tables, and of the first-level ones. */
  levels: Uint8Array;
  firstLevels: Uint8Array;
  flags: Uint8Array;
  /** Tables. Of a PASID directory: where it lies, and in `first` how many entries it has. */
  second: Float64Array;
  first: Float64Array;
  /** See spaces.ts; of what the IOTLB holds for it. */
  space: Float64Array;
  salt: Int32Array;
};

const fresh = (): BindingState => ({
  requester: new Int32Array(PLACES).fill(-1),
  tag: new Int32Array(PLACES),
  domain: new Int32Array(PLACES),
  pasid: new Int32Array(PLACES),
  kind: new Uint8Array(PLACES),
  levels: new Uint8Array(PLACES),
  firstLevels: new Uint8Array(PLACES),
  flags: new Uint8Array(PLACES),
  second: new Float64Array(PLACES),
  first: new Float64Array(PLACES),
  space: new Float64Array(PLACES),
  salt: new Int32Array(PLACES),
});

export class BindingCache {
  readonly state = fresh();
  readonly #requester = this.state.requester;
  readonly #tag = this.state.tag;

  /** Where the binding is, or would be. @param pasid −1 for a request without */
  slotOf(requester: Bdf, pasid: number): number {
    return (requester ^ Math.imul(pasid + 1, 0x9e3779b1)) & (PLACES - 1);
  }

  /** −1 for none. */
  find(requester: Bdf, pasid: number): number {
    const slot = this.slotOf(requester, pasid);
    return this.#requester[slot] === requester && this.#tag[slot] === pasid ? slot : -1;
  }

  /** The place holds this from now on. */
  keep(slot: number, requester: Bdf, pasid: number): void {
    this.#requester[slot] = requester;
    this.#tag[slot] = pasid;
  }

  /** The place holds nothing. */
  drop(slot: number): void {
    this.#requester[slot] = -1;
  }

  clear(): void {
    const s = this.state;
    for (const array of [s.tag, s.domain, s.pasid, s.kind, s.levels, s.firstLevels, s.flags, s.salt]) array.fill(0);
    for (const array of [s.second, s.first, s.space]) array.fill(0);
    s.requester.fill(-1);
  }

  forgetDomain(domain: number): void {
    for (let i = 0; i < PLACES; i++) if (this.state.domain[i] === domain) this.drop(i);
  }

  /** Requesters that equal `source` but for the bits of `ignored`; of `domain` only, unless that is −1. */
  forgetRequesters(source: Bdf, ignored: number, domain: number): void {
    for (let i = 0; i < PLACES; i++) {
      const requester = this.#requester[i]!;
      if (requester < 0 || (domain >= 0 && this.state.domain[i] !== domain)) continue;
      if (((requester ^ source) & ~ignored) === 0) this.drop(i);
    }
  }

  forgetPasid(domain: number, pasid: number): void {
    const s = this.state;
    for (let i = 0; i < PLACES; i++) if (s.domain[i] === domain && s.pasid[i] === pasid) this.drop(i);
  }
}
