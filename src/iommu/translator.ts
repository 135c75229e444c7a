/**
 * DMA remapping: from a request to an address in memory. VT-d specification chapter 3; the order of the checks is 7.1.3.
 *
 * A hit costs two look-ups, without allocation. A denial by a cached second-level translation is final: with CAP.CM = 0 "partial permission increases
 * require invalidations for them to be effective" (11.4.2); a first-level one is looked up again, as processors do.
 */
import { type Bdf, type CauseId, PAGE, type PhysAddr } from "../base/units.ts";
import { ACCESS, type DmaRemapper, REMAP_FAULT } from "../ports/dma-remap.ts";
import { EVENT } from "../ports/events.ts";
import type { Trace } from "../sim/trace.ts";
import { BINDING, BOUND } from "./binding-cache.ts";
import type { DeviceTables } from "./device-tables.ts";
import type { FaultLog } from "./fault-log.ts";
import { FAULT } from "./faults.regs.ts";
import type { FirstLevel } from "./first-level.ts";
import type { Iotlb } from "./iotlb.ts";
import { LEGACY_FAULTS, SCALABLE_FAULTS, type SecondLevel, SPANS } from "./second-level.ts";
import { domainSpace, SUPERVISOR_SHIFT } from "./spaces.ts";
import type { ProtectedMemory } from "./protected-memory.ts";
import { TABLE_MODE } from "./vtd.regs.ts";

const READ_WRITE = ACCESS.read | ACCESS.write;
const RIGHTS = ACCESS.read | ACCESS.write | ACCESS.execute;
/** What needs a closer look. */
const SPECIAL = ACCESS.execute | ACCESS.privileged | ACCESS.pasid;
const INTERRUPT_BASE = 0xfee0_0000;
const INTERRUPT_END = 0xfef0_0000;

export type TranslatorParts = {
  readonly tables: DeviceTables;
  readonly second: SecondLevel;
  readonly first: FirstLevel;
  readonly iotlb: Iotlb;
  readonly faults: FaultLog;
  readonly protectedMemory: ProtectedMemory;
  readonly trace: Trace | null;
};

export class Translator implements DmaRemapper {
  active = false;
  span = 0;
  /** Translation is enabled (GSTS.TES). */
  enabled = false;
  /** First address that no requester has: 2^MGAW. */
  readonly #limit: PhysAddr;
  readonly #tables: DeviceTables;
  readonly #second: SecondLevel;
  readonly #first: FirstLevel;
  readonly #iotlb: Iotlb;
  readonly #faults: FaultLog;
  readonly #protected: ProtectedMemory;
  readonly #trace: Trace | null;
  readonly #nesting = { space: 0, root: 0, levels: 0 };
  /** Observation only, since the machine was made; of the faults, `silent` ones were not to be reported, `lost` ones met a full log. */
  readonly counts = { hits: 0, misses: 0, faults: 0, silent: 0, lost: 0 };

  constructor(parts: TranslatorParts, limit: PhysAddr) {
    this.#tables = parts.tables;
    this.#second = parts.second;
    this.#first = parts.first;
    this.#iotlb = parts.iotlb;
    this.#faults = parts.faults;
    this.#protected = parts.protectedMemory;
    this.#trace = parts.trace;
    this.#limit = limit;
  }

  translate(requester: Bdf, address: PhysAddr, access: number, length: number, cause: CauseId): PhysAddr {
    if (!this.enabled) return this.#untranslated(address, length);
    const slot = this.#tables.find(requester, access);
    if (slot < 0) return this.#fault(requester, this.#tables.reason, this.#tables.faultsOff, address, access, cause);
    if ((access & SPECIAL) !== 0) {
      const reason = this.#special(slot, address, access);
      if (reason !== FAULT.none) return this.#refuse(requester, slot, reason, address, access, cause);
    }
    const bound = this.#tables.bindings.state;
    const kind = bound.kind[slot]!;
    if (kind === BINDING.passThrough) return this.#passThrough(requester, slot, address, access, length, cause);
    const wanted = kind === BINDING.second ? access & READ_WRITE : firstLevelRights(access, bound.flags[slot]!);
    const place = this.#iotlb.find(bound.space[slot]!, bound.salt[slot]!, address);
    if (place < 0) return this.#walk(requester, slot, address, access, length, wanted, cause);
    if ((this.#iotlb.rights[place]! & wanted) === wanted) {
      this.counts.hits++;
      const host = this.#iotlb.hostOf(place, address);
      const rest = this.#iotlb.restOf(place, address);
      if (rest >= length) this.span = length > 0 ? length : 1;
      else this.#run(slot, address, host, rest, length, wanted);
      return host;
    }
    if (kind !== BINDING.second) return this.#walk(requester, slot, address, access, length, wanted, cause);
    const { read, write } = this.#levelFaults();
    const reason = (wanted & ~this.#iotlb.rights[place]! & ACCESS.write) !== 0 ? write : read;
    return this.#refuse(requester, slot, reason, address, access, cause);
  }

  /** How far the run goes on in memory, by what is cached; leaves it in {@link span}. @param first bytes that are known to */
  #run(slot: number, address: PhysAddr, host: PhysAddr, first: number, length: number, wanted: number): void {
    const bound = this.#tables.bindings.state;
    const iotlb = this.#iotlb;
    const space = bound.space[slot]!;
    const salt = bound.salt[slot]!;
    let span = iotlb.follow(space, salt, address, first, host, length, wanted);
    this.counts.hits += (span - first) / PAGE;
    while (span < length) {
      const place = iotlb.find(space, salt, address + span);
      if (place < 0 || (iotlb.rights[place]! & wanted) !== wanted) break;
      if (iotlb.hostOf(place, address + span) !== host + span) break;
      this.counts.hits++;
      span += iotlb.restOf(place, address + span);
    }
    this.span = Math.min(span, length);
  }

  #levelFaults(): typeof LEGACY_FAULTS {
    return this.#tables.mode === TABLE_MODE.legacy ? LEGACY_FAULTS : SCALABLE_FAULTS;
  }

  /** What only requests with PASID can be (5.1.3, 9.6): execute and supervisor requests, and an address that would be an interrupt without. */
  #special(slot: number, address: PhysAddr, access: number): number {
    const flags = this.#tables.bindings.state.flags[slot]!;
    if ((access & ACCESS.pasid) === 0) return FAULT.none;
    if (address >= INTERRUPT_BASE && address < INTERRUPT_END) return FAULT.interruptAddress;
    if ((access & ACCESS.execute) !== 0 && (flags & BOUND.execute) === 0) return FAULT.executeDisabled;
    return (access & ACCESS.privileged) !== 0 && (flags & BOUND.supervisor) === 0
      ? FAULT.supervisorDisabled
      : FAULT.none;
  }

  /** Translation is off: only protected memory is refused, silently: that is no remapping fault (11.4.17). */
  #untranslated(address: PhysAddr, length: number): PhysAddr {
    this.span = this.#protected.open(address, length);
    return this.span > 0 ? address : REMAP_FAULT;
  }

  #passThrough(
    requester: Bdf,
    slot: number,
    address: PhysAddr,
    access: number,
    length: number,
    cause: CauseId,
  ): PhysAddr {
    if (address >= this.#limit) {
      const reason = this.#tables.mode === TABLE_MODE.legacy ? FAULT.beyondWidth : FAULT.smBeyondWidth;
      return this.#refuse(requester, slot, reason, address, access, cause);
    }
    this.span = this.#protected.open(address, Math.min(Math.max(length, 1), this.#limit - address));
    return this.span > 0 ? address : REMAP_FAULT;
  }

  #walk(
    requester: Bdf,
    slot: number,
    address: PhysAddr,
    access: number,
    length: number,
    wanted: number,
    cause: CauseId,
  ): PhysAddr {
    this.counts.misses++;
    const bound = this.#tables.bindings.state;
    const id = this.#trace === null ? cause : this.#tellMiss(requester, address, bound.domain[slot]!, access, cause);
    const isSecond = bound.kind[slot] === BINDING.second;
    const reason = isSecond ? this.#walkSecond(slot, address, wanted) : this.#walkFirst(slot, address, wanted);
    if (reason !== FAULT.none) return this.#refuse(requester, slot, reason, address, access, id);
    const { host, shift, rights } = isSecond ? this.#second : this.#first;
    this.#iotlb.insert(bound.space[slot]!, bound.salt[slot]!, address, host, shift, rights);
    const size = SPANS[(shift - 3) / 9]!;
    this.span = Math.min(size - (address % size), Math.max(length, 1));
    return host;
  }

  #tellMiss(requester: Bdf, address: PhysAddr, domain: number, access: number, cause: CauseId): CauseId {
    return this.#trace!.emit(EVENT.iommuMiss, requester, address, domain, access & RIGHTS, cause);
  }

  #walkSecond(slot: number, address: PhysAddr, wanted: number): number {
    const bound = this.#tables.bindings.state;
    const levels = bound.levels[slot]!;
    this.#second.faults = this.#levelFaults();
    if (address >= this.#limit || address >= SPANS[levels + 1]!)
      return this.#tables.mode === TABLE_MODE.legacy ? FAULT.beyondWidth : FAULT.smBeyondWidth;
    return this.#second.walk(bound.space[slot]!, bound.second[slot]!, levels, address, wanted);
  }

  #walkFirst(slot: number, address: PhysAddr, wanted: number): number {
    const bound = this.#tables.bindings.state;
    const isNested = bound.kind[slot] === BINDING.nested;
    const nesting = this.#nesting;
    this.#second.faults = SCALABLE_FAULTS;
    nesting.space = domainSpace(bound.domain[slot]!);
    nesting.root = bound.second[slot]!;
    nesting.levels = bound.levels[slot]!;
    const levels = bound.firstLevels[slot]!;
    const flags = bound.flags[slot]!;
    return this.#first.walk(
      bound.space[slot]!,
      bound.first[slot]!,
      levels,
      flags,
      address,
      wanted,
      isNested ? nesting : null,
    );
  }

  #refuse(requester: Bdf, slot: number, reason: number, address: PhysAddr, access: number, cause: CauseId): PhysAddr {
    const silent = (this.#tables.bindings.state.flags[slot]! & BOUND.faultsOff) !== 0;
    return this.#fault(requester, reason, silent, address, access, cause);
  }

  /** @param silent fault processing is disabled where the fault was found */
  #fault(requester: Bdf, reason: number, silent: boolean, address: PhysAddr, access: number, cause: CauseId): PhysAddr {
    this.span = 1;
    this.counts.faults++;
    // The event comes first: the fault's interrupt is its consequence.
    const id = this.#trace?.emit(EVENT.iommuFault, requester, address, reason, access & RIGHTS, cause) ?? cause;
    if (silent) this.counts.silent++;
    else if (!this.#faults.recordAddress(requester, reason, address, access, id)) this.counts.lost++;
    return REMAP_FAULT;
  }
}

/** Permissions that a request wants of a first-level translation, by its privilege. Everything that is present may be read. */
function firstLevelRights(access: number, flags: number): number {
  const own = access & RIGHTS;
  const rights = own === 0 ? ACCESS.read : own;
  const isSupervisor = (access & ACCESS.privileged) !== 0 || (flags & BOUND.privileged) !== 0;
  return isSupervisor ? rights << SUPERVISOR_SHIFT : rights;
}
