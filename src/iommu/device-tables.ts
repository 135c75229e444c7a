/**
 * From a requester to its address space: root and context tables in legacy mode; root, context, PASID directory and PASID tables in scalable mode. VT-d
 * specification 3.4 "Mapping Devices to Domains" and chapter 9 (formats). What was found goes through the binding caches.
 *
 * Not built: device TLBs and page requests, so that their enables are reserved bits.
 */
import type { Bdf, PhysAddr } from "../base/units.ts";
import { ACCESS, pasidOf } from "../ports/dma-remap.ts";
import { BINDING, type BindingCache, BOUND } from "./binding-cache.ts";
import { FAULT } from "./faults.regs.ts";
import { domainSpace, pasidSpace, saltOf } from "./spaces.ts";
import { beyondHost, pageAddress, type TableMemory } from "./table-memory.ts";
import {
  CONTEXT,
  CONTEXT_RESERVED,
  PASID_DIRECTORY,
  PASID_DIRECTORY_RESERVED,
  PASID_RESERVED,
  PASID_TYPE,
  PASID_WORD0,
  PASID_WORD2,
  PASID_WORD4,
  ROOT,
  ROOT_RESERVED_LOW,
  SM_CONTEXT,
  SM_CONTEXT_RESERVED,
  TRANSLATION,
} from "./tables.regs.ts";
import { TABLE_MODE } from "./vtd.regs.ts";

/** Bytes of the entries. */
const ROOT_BYTES = 16;
const CONTEXT_BYTES = 16;
const SM_CONTEXT_BYTES = 32;
const PASID_BYTES = 64;
const PASIDS_PER_TABLE = 64;
/** A directory of size 0 has this many entries. */
const LEAST_DIRECTORY = 128;
/** In scalable mode a root entry's halves have 128 functions each. */
const HALF_BUS = 128;
const MAX_WIDTH = 3;

/** What of the architecture is there. */
export type TableFeatures = {
  readonly hostBits: number;
  /** Levels of second-level tables, at most; 3 up to it are supported. */
  readonly maxLevels: number;
  readonly firstLevel5: boolean;
};

export class DeviceTables {
  /** Root table and mode, as latched by the last set-root-table command. */
  root: PhysAddr = 0;
  mode: number = TABLE_MODE.legacy;
  /** Why {@link find} gave −1, and whether the entry found so far silences faults. */
  reason: number = FAULT.none;
  faultsOff = false;
  readonly bindings: BindingCache;
  readonly #contexts: BindingCache;
  readonly #memory: TableMemory;
  readonly #features: TableFeatures;
  readonly #reservedHigh: number;
  readonly #entry = new Uint32Array(16);
  /** The scalable-mode context entry last found. */
  #directory: PhysAddr = 0;
  #directoryEntries = 0;
  #contextFlags = 0;
  #ridPasid = 0;

  constructor(memory: TableMemory, bindings: BindingCache, contexts: BindingCache, features: TableFeatures) {
    this.#memory = memory;
    this.bindings = bindings;
    this.#contexts = contexts;
    this.#features = features;
    this.#reservedHigh = (beyondHost(features.hostBits) | 0xfff0_0000) >>> 0;
  }

  /** Place in {@link bindings} of what a request is bound to, −1 with {@link reason} when there is nothing. */
  find(requester: Bdf, access: number): number {
    const pasid = (access & ACCESS.pasid) === 0 ? -1 : pasidOf(access);
    const slot = this.bindings.find(requester, pasid);
    return slot >= 0 ? slot : this.#miss(requester, pasid);
  }

  #miss(requester: Bdf, pasid: number): number {
    const slot = this.bindings.slotOf(requester, pasid);
    this.faultsOff = false;
    this.reason = this.#load(requester, pasid, slot);
    if (this.reason !== FAULT.none) return -1;
    this.bindings.keep(slot, requester, pasid);
    return slot;
  }

  /** Fills the place for this request. */
  #load(requester: Bdf, pasid: number, slot: number): number {
    if (this.mode === TABLE_MODE.legacy)
      return pasid >= 0 ? FAULT.legacyPasid : this.#loadLegacy(requester, slot, this.bindings);
    if (this.mode !== TABLE_MODE.scalable) return FAULT.tableMode;
    const reason = this.#findContext(requester);
    if (reason !== FAULT.none) return reason;
    if (pasid < 0) return this.#loadPasid(this.#ridPasid, slot, true);
    if ((this.#contextFlags & BOUND.pasid) === 0) return FAULT.pasidDisabled;
    return this.#loadPasid(pasid, slot, false);
  }

  /** Reads `count` words at `address` into #entry. */
  #fetch(address: PhysAddr, count: number): boolean {
    for (let i = 0; i < count; i += 2) {
      if (!this.#memory.read64(address + 4 * i)) return false;
      this.#entry[i] = this.#memory.low;
      this.#entry[i + 1] = this.#memory.high;
    }
    return true;
  }

  #loadLegacy(requester: Bdf, slot: number, cache: BindingCache): number {
    const e = this.#entry;
    if (!this.#fetch(this.root + ROOT_BYTES * (requester >> 8), 4)) return FAULT.rootAccess;
    if (!ROOT.present.on(e[0]!)) return FAULT.rootNotPresent;
    if ((e[0]! & ROOT_RESERVED_LOW) !== 0 || (e[1]! & this.#reservedHigh) !== 0 || (e[2]! | e[3]!) !== 0)
      return FAULT.rootReserved;
    const table = pageAddress(e[0]!, e[1]!);
    if (!this.#fetch(table + CONTEXT_BYTES * (requester & 0xff), 4)) return FAULT.contextAccess;
    this.faultsOff = CONTEXT.faultsOff.on(e[0]!);
    if (!CONTEXT.present.on(e[0]!)) return FAULT.contextNotPresent;
    if (CONTEXT_RESERVED.some((mask, i) => (e[i]! & mask) !== 0) || (e[1]! & this.#reservedHigh) !== 0)
      return FAULT.contextReserved;
    const type = CONTEXT.type.of(e[0]!);
    const levels = this.#levels(CONTEXT.width.of(e[2]!));
    if ((type !== TRANSLATION.untranslated && type !== TRANSLATION.passThrough) || levels === 0)
      return FAULT.contextInvalid;
    const kind = type === TRANSLATION.passThrough ? BINDING.passThrough : BINDING.second;
    const domain = CONTEXT.domain.of(e[2]!);
    this.#bind(cache, slot, kind, domain, -1, this.faultsOff ? BOUND.faultsOff : 0);
    cache.state.levels[slot] = levels;
    cache.state.second[slot] = pageAddress(e[0]!, e[1]!);
    return FAULT.none;
  }

  /** Levels of second-level tables for an address width field, 0 when they are not supported. */
  #levels(width: number): number {
    const levels = width + 2;
    return width >= 1 && width <= MAX_WIDTH && levels <= this.#features.maxLevels ? levels : 0;
  }

  #bind(cache: BindingCache, slot: number, kind: number, domain: number, pasid: number, flags: number): void {
    const s = cache.state;
    const space = kind === BINDING.second ? domainSpace(domain) : pasidSpace(domain, Math.max(pasid, 0));
    cache.drop(slot);
    s.kind[slot] = kind;
    s.domain[slot] = domain;
    s.pasid[slot] = pasid;
    s.flags[slot] = flags;
    s.levels[slot] = s.firstLevels[slot] = s.second[slot] = s.first[slot] = 0;
    s.space[slot] = space;
    s.salt[slot] = saltOf(space);
  }

  // --- scalable mode ------------------------------------------------------------------------------------------------------------------------------

  /** Leaves what the context entry says in #directory, #contextFlags and #ridPasid. */
  #findContext(requester: Bdf): number {
    const cache = this.#contexts;
    let slot = cache.find(requester, -1);
    if (slot < 0) {
      slot = cache.slotOf(requester, -1);
      const reason = this.#loadContext(requester, slot);
      if (reason !== FAULT.none) return reason;
      cache.keep(slot, requester, -1);
    }
    const s = cache.state;
    this.#directory = s.second[slot]!;
    this.#directoryEntries = s.first[slot]!;
    this.#contextFlags = s.flags[slot]!;
    this.#ridPasid = s.pasid[slot]!;
    this.faultsOff = (this.#contextFlags & BOUND.faultsOff) !== 0;
    return FAULT.none;
  }

  #loadContext(requester: Bdf, slot: number): number {
    const e = this.#entry;
    const devfn = requester & 0xff;
    const half = devfn < HALF_BUS ? 0 : 8;
    if (!this.#fetch(this.root + ROOT_BYTES * (requester >> 8) + half, 2)) return FAULT.smRootAccess;
    if (!ROOT.present.on(e[0]!)) return FAULT.smRootNotPresent;
    if ((e[0]! & ROOT_RESERVED_LOW) !== 0 || (e[1]! & this.#reservedHigh) !== 0) return FAULT.smRootReserved;
    const table = pageAddress(e[0]!, e[1]!);
    if (!this.#fetch(table + SM_CONTEXT_BYTES * (devfn % HALF_BUS), 8)) return FAULT.smContextAccess;
    this.faultsOff = SM_CONTEXT.faultsOff.on(e[0]!);
    if (!SM_CONTEXT.present.on(e[0]!)) return FAULT.smContextNotPresent;
    const [low, word2, word3] = SM_CONTEXT_RESERVED;
    const reserved = (e[0]! & low) | (e[1]! & this.#reservedHigh) | (e[2]! & word2) | (e[3]! & word3);
    if ((reserved | e[4]! | e[5]! | e[6]! | e[7]!) !== 0) return FAULT.smContextReserved;
    let flags = this.faultsOff ? BOUND.faultsOff : 0;
    if (SM_CONTEXT.pasid.on(e[0]!)) flags |= BOUND.pasid;
    if (SM_CONTEXT.ridPrivileged.on(e[2]!)) flags |= BOUND.privileged;
    this.#bind(this.#contexts, slot, BINDING.directory, 0, SM_CONTEXT.ridPasid.of(e[2]!), flags);
    this.#contexts.state.second[slot] = pageAddress(e[0]!, e[1]!);
    this.#contexts.state.first[slot] = LEAST_DIRECTORY << SM_CONTEXT.directorySize.of(e[0]!);
    return FAULT.none;
  }

  /** @param rid for requests without PASID, which borrow one */
  #loadPasid(pasid: number, slot: number, rid: boolean): number {
    const e = this.#entry;
    const index = Math.floor(pasid / PASIDS_PER_TABLE);
    if (index >= this.#directoryEntries) return rid ? FAULT.ridPasidError : FAULT.pasidTooLarge;
    if (!this.#fetch(this.#directory + 8 * index, 2)) return FAULT.directoryAccess;
    if (PASID_DIRECTORY.faultsOff.on(e[0]!)) this.faultsOff = true;
    if (!PASID_DIRECTORY.present.on(e[0]!)) return FAULT.directoryNotPresent;
    if ((e[0]! & PASID_DIRECTORY_RESERVED) !== 0 || (e[1]! & this.#reservedHigh) !== 0) return FAULT.directoryReserved;
    const table = pageAddress(e[0]!, e[1]!);
    if (!this.#fetch(table + PASID_BYTES * (pasid % PASIDS_PER_TABLE), 16)) return FAULT.pasidAccess;
    if (PASID_WORD0.faultsOff.on(e[0]!)) this.faultsOff = true;
    if (!PASID_WORD0.present.on(e[0]!)) return FAULT.pasidNotPresent;
    const [word0, word2, word4] = PASID_RESERVED;
    let reserved = (e[0]! & word0) | (e[1]! & this.#reservedHigh) | (e[2]! & word2) | (e[4]! & word4);
    reserved |= e[5]! & this.#reservedHigh;
    for (let i = 6; i < 16; i++) reserved |= e[i]!;
    if (reserved !== 0) return FAULT.pasidReserved;
    return this.#bindPasid(pasid, slot, rid ? this.#contextFlags & BOUND.privileged : 0);
  }

  /** The PASID table's entry in #entry becomes a binding. */
  #bindPasid(pasid: number, slot: number, privilege: number): number {
    const e = this.#entry;
    const type = PASID_WORD0.type.of(e[0]!);
    const usesFirst = type === PASID_TYPE.first || type === PASID_TYPE.nested;
    const usesSecond = type === PASID_TYPE.second || type === PASID_TYPE.nested;
    const levels = this.#levels(PASID_WORD0.width.of(e[0]!));
    const firstLevels = 4 + PASID_WORD4.firstLevels.of(e[4]!);
    if (!usesFirst && !usesSecond && type !== PASID_TYPE.passThrough) return FAULT.pasidInvalid;
    if (usesSecond && levels === 0) return FAULT.pasidInvalid;
    if (usesFirst && firstLevels > (this.#features.firstLevel5 ? 5 : 4)) return FAULT.pasidInvalid;
    const kind =
      type === PASID_TYPE.passThrough
        ? BINDING.passThrough
        : type === PASID_TYPE.second
          ? BINDING.second
          : type === PASID_TYPE.first
            ? BINDING.first
            : BINDING.nested;
    let flags = privilege;
    if (this.faultsOff) flags |= BOUND.faultsOff;
    if (PASID_WORD4.supervisor.on(e[4]!)) flags |= BOUND.supervisor;
    if (PASID_WORD4.execute.on(e[4]!)) flags |= BOUND.execute;
    if (PASID_WORD4.writeProtect.on(e[4]!)) flags |= BOUND.writeProtect;
    if (PASID_WORD4.noExecute.on(e[4]!)) flags |= BOUND.noExecute;
    if (PASID_WORD4.smep.on(e[4]!)) flags |= BOUND.smep;
    this.#bind(this.bindings, slot, kind, PASID_WORD2.domain.of(e[2]!), pasid, flags);
    const s = this.bindings.state;
    s.levels[slot] = usesSecond ? levels : 0;
    s.firstLevels[slot] = usesFirst ? firstLevels : 0;
    s.second[slot] = usesSecond ? pageAddress(e[0]!, e[1]!) : 0;
    s.first[slot] = usesFirst ? pageAddress(e[4]!, e[5]!) : 0;
    return FAULT.none;
  }
}
