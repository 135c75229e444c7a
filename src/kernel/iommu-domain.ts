/**
 * Remapping hardware as a kernel drives it: the document's `iommu_context_t` and `configure_device_iommu`, on an Intel VT-d unit (architecture
 * specification rev. 4.0). {@link IommuUnit} is the unit: root and context tables in memory, the queued invalidation interface with wait descriptors, and
 * its fault records. {@link IommuDomain} is an address space of devices: second-level tables, addresses that it hands out, and when what was unmapped is
 * really gone.
 *
 * Strict and lazy. After an entry is cleared the unit may still have the translation. A strict domain has it invalidated before `unmap` comes back; a
 * lazy one keeps the addresses out of use and invalidates for many of them at once, and until then a device may still reach memory that is not its own any
 * more. {@link IommuDomain.whenForgotten} is for those who must know.
 *
 * Legacy mode, 4 KiB pages, one unit. Tables are flushed out of the caches where the unit does not look into them (ECAP.C, 6.2.2.1).
 */
import { alignDown, alignUp } from "../base/int.ts";
import { type Bdf, PAGE, type PhysAddr } from "../base/units.ts";
import {
  CONTEXT,
  CONTEXT_DESCRIPTOR,
  DESCRIPTOR,
  DESCRIPTOR_TYPE,
  INTERRUPT_DESCRIPTOR,
  IOTLB_DESCRIPTOR,
  ROOT,
  SECOND_LEVEL,
  TRANSLATION,
  WAIT_DESCRIPTOR,
} from "../iommu/tables.regs.ts";
import { CAP, ECAP, FAULT_RECORDS, FRCD, FSTS, GCMD, GRANULARITY, VTD } from "../iommu/vtd.regs.ts";
import {
  CACHE_OP,
  type CostTable,
  cacheOperation,
  compute,
  load32,
  load64,
  pause,
  store32,
  store64,
  type Task,
} from "../ports/task.ts";
import { type Direction, DIRECTION, memoryBarrier, writeBarrier } from "./dma/coherence.ts";
import { DmaError, demand } from "./dma/errors.ts";
import { CACHE_LINE, type DmaMemory, Zone } from "./dma/memory.ts";
import { SpinLock } from "./spin-lock.ts";

const WORD = 2 ** 32;
/** Devices see addresses from here on; 0 stays unmapped, so that a pointer that nobody set is found. */
const IOVA_BEGIN = 0x100000;
/** Messages lie behind: these addresses are never translated (3.14). */
const IOVA_END = 0xfee00000;
const LEVEL_BITS = 9;
const ENTRIES = 512;
const DESCRIPTOR_BYTES = 16;
/** Unmapped ranges that a lazy domain collects before it invalidates. */
const LAZY_BATCH = 32;
/** Looks at the status word before the unit counts as dead. */
const PATIENCE = 100_000;

export type IommuFault = {
  readonly reason: number;
  readonly requester: Bdf;
  readonly address: number;
  readonly write: boolean;
};
/** One command of the invalidation queue: four words. */
type Command = readonly [number, number, number, number];

export type IommuUnitOptions = {
  /** Its register page. */
  readonly base: PhysAddr;
  readonly memory: DmaMemory;
  /** The machine's: every command lasts `invalidateIotlb`. Nothing when absent. */
  readonly costs?: Pick<CostTable, "invalidateIotlb">;
  /** Domain ids that are used, 1 to this; what the unit offers when absent. */
  readonly domains?: number;
};

export class IommuUnit {
  /** Entries of second-level tables: levels. */
  levels = 0;
  /** The unit looks into caches when it reads its tables. */
  coherent = true;
  /** Commands to the invalidation queue, wait descriptors not counted, and how often somebody waited for them. */
  commands = 0;
  waits = 0;
  readonly #o: IommuUnitOptions;
  readonly #root: PhysAddr;
  readonly #queue: PhysAddr;
  readonly #status: PhysAddr;
  /** Of the queue: handlers unmap, too. */
  readonly #lock: SpinLock;
  readonly #domainOf = new Map<Bdf, IommuDomain>();
  readonly #ids = new Set<number>();
  #tail = 0;
  #sequence = 0;
  #maxMask = 0;

  /** Throws ENOMEM. */
  constructor(options: IommuUnitOptions) {
    this.#o = options;
    const page = (): PhysAddr => options.memory.allocate(PAGE, { alignment: PAGE });
    [this.#root, this.#queue, this.#status] = [page(), page(), page()];
    this.#lock = new SpinLock(this.#status + CACHE_LINE);
  }

  /** Switches translation on: from then on a device without a domain reaches nothing. Throws EIO when the unit does not answer. */
  *initialise(): Task {
    const { base } = this.#o;
    const capabilities = [yield* load32(base + VTD.CAP), yield* load32(base + VTD.CAP + 4)] as const;
    const extended = yield* load32(base + VTD.ECAP);
    const widths = CAP.agaw.of(capabilities[0]);
    this.levels = (widths & 4) !== 0 ? 4 : (widths & 2) !== 0 ? 3 : 5;
    this.#maxMask = CAP.maxAddressMask.of(capabilities[1]);
    this.coherent = ECAP.coherent.on(extended);
    if (!ECAP.queuedInvalidation.on(extended))
      throw new DmaError("EIO", "the remapping unit has no invalidation queue");
    for (const table of [this.#root, this.#queue, this.#status]) yield* this.clearTable(table);
    yield* store32(base + VTD.RTADDR, this.#root % WORD);
    yield* store32(base + VTD.RTADDR + 4, Math.floor(this.#root / WORD));
    yield* this.#command(GCMD.setRootTable.mask);
    yield* store32(base + VTD.IQT, 0);
    yield* store32(base + VTD.IQA, this.#queue % WORD);
    yield* store32(base + VTD.IQA + 4, Math.floor(this.#queue / WORD));
    yield* this.#command(GCMD.queuedInvalidation.mask);
    yield* this.submit([contextCommand(GRANULARITY.global), iotlbCommand(GRANULARITY.global)]);
    yield* this.#command(GCMD.translation.mask);
  }

  /** A bit of GCMD: the other enables are written as GSTS shows them (11.4.4). */
  *#command(mask: number): Task {
    const { base } = this.#o;
    const oneShot =
      GCMD.setRootTable.mask | GCMD.setInterruptTable.mask | GCMD.setFaultLog.mask | GCMD.writeBufferFlush.mask;
    const now = yield* load32(base + VTD.GSTS);
    yield* store32(base + VTD.GCMD, ((now & ~oneShot) | mask) >>> 0);
    yield* this.#until(function* () {
      return ((yield* load32(base + VTD.GSTS)) & mask) !== 0;
    }, "a command");
  }

  *#until(isDone: () => Task<boolean>, what: string): Task {
    for (let looks = 0; looks < PATIENCE; looks++) {
      if (yield* isDone()) return;
      yield* pause();
    }
    throw new DmaError("EIO", `the remapping unit does not finish ${what}`);
  }

  // --- tables -----------------------------------------------------------------------------------------------------------------------------------

  *clearTable(table: PhysAddr): Task {
    for (let at = table; at < table + PAGE; at += 8) yield* store64(at, 0);
    yield* this.published(table, PAGE);
  }

  /** What was stored is where the unit reads. */
  *published(address: PhysAddr, bytes: number): Task {
    if (!this.coherent) yield* cacheOperation(CACHE_OP.flush, address, bytes);
    yield* writeBarrier();
  }

  /** A page of zeroes for a table. Throws ENOMEM. */
  *newTable(): Task<PhysAddr> {
    const table = this.#o.memory.allocate(PAGE, { alignment: PAGE });
    yield* this.clearTable(table);
    return table;
  }

  freeTable(table: PhysAddr): void {
    this.#o.memory.free(table);
  }

  // --- domains and devices ----------------------------------------------------------------------------------------------------------------------

  /** The document's `allocate_iommu_context`. Throws ENOMEM when all domain ids are used. */
  *createDomain(options: DomainOptions = {}): Task<IommuDomain> {
    const low = yield* load32(this.#o.base + VTD.CAP);
    // CAP.ND: 2^(4 + 2 ND) domains; 0 is not used (11.4.2).
    const most = this.#o.domains ?? 2 ** (4 + 2 * CAP.domains.of(low)) - 1;
    let id = 1;
    while (this.#ids.has(id)) id++;
    if (id > most) throw new DmaError("ENOMEM", `all ${most} domains are used`);
    const root = yield* this.newTable();
    this.#ids.add(id);
    return new IommuDomain(this, id, root, options);
  }

  /** Gives a domain's tables and number back. Throws EBUSY while devices are in it. */
  *destroyDomain(domain: IommuDomain): Task {
    for (const [bdf, other] of this.#domainOf)
      if (other === domain) throw new DmaError("EBUSY", `device ${bdf.toString(16)} is in domain ${domain.id}`);
    yield* domain.flushPending();
    yield* this.submit([iotlbCommand(GRANULARITY.domain, domain.id)]);
    for (const table of domain.tables) this.freeTable(table);
    this.#ids.delete(domain.id);
  }

  /** The document's `configure_device_iommu`: from now on `requester` lives in `domain`. Throws EINVAL, ENOMEM, EIO. */
  *configureDeviceIommu(requester: Bdf, domain: IommuDomain): Task {
    demand(Number.isInteger(requester) && requester >= 0 && requester <= 0xffff, `requester ${requester}`);
    demand(this.#ids.has(domain.id), `domain ${domain.id} is not this unit's`);
    const at = yield* this.#contextEntry(requester, true);
    const before = this.#domainOf.get(requester);
    if (before !== undefined) yield* this.detach(requester);
    const low = CONTEXT.type.put(CONTEXT.present.put(0, 1), TRANSLATION.untranslated) + domain.root;
    const high = CONTEXT.domain.put(CONTEXT.width.put(0, this.levels - 2), domain.id);
    // Present comes last: an entry is never seen half written.
    yield* store64(at + 8, high);
    yield* store64(at, low);
    yield* this.published(at, DESCRIPTOR_BYTES);
    this.#domainOf.set(requester, domain);
  }

  /** The device reaches nothing any more. */
  *detach(requester: Bdf): Task {
    const domain = this.#domainOf.get(requester);
    if (domain === undefined) return;
    const at = yield* this.#contextEntry(requester, false);
    yield* store64(at, 0);
    yield* this.published(at, DESCRIPTOR_BYTES);
    // The context cache first: it is what the IOTLB is filled from (6.5.3.1).
    yield* this.submit([
      contextCommand(GRANULARITY.fine, domain.id, requester),
      iotlbCommand(GRANULARITY.domain, domain.id),
    ]);
    this.#domainOf.delete(requester);
  }

  *#contextEntry(requester: Bdf, makes: boolean): Task<PhysAddr> {
    const root = this.#root + DESCRIPTOR_BYTES * (requester >> 8);
    const entry = yield* load64(root);
    if (entry % 2 !== 0) return alignDown(entry, PAGE) + DESCRIPTOR_BYTES * (requester & 0xff);
    demand(makes, `there is no context table for ${requester.toString(16)}`);
    const table = yield* this.newTable();
    yield* store64(root, table + ROOT.present.mask);
    yield* this.published(root, DESCRIPTOR_BYTES);
    return table + DESCRIPTOR_BYTES * (requester & 0xff);
  }

  // --- invalidation -----------------------------------------------------------------------------------------------------------------------------

  /** Queues commands and a wait descriptor behind them, and waits until it has written its status (6.5.2.8). Throws EIO. */
  *submit(commands: readonly Command[]): Task {
    const flags = yield* this.#lock.acquire();
    try {
      yield* this.#submitLocked(commands);
    } finally {
      yield* this.#lock.release(flags);
    }
  }

  *#submitLocked(commands: readonly Command[]): Task {
    const { base, costs } = this.#o;
    const ticket = (this.#sequence = (this.#sequence % 0x7fffffff) + 1);
    const wait: Command = [
      DESCRIPTOR.typeLow.put(WAIT_DESCRIPTOR.fence.put(WAIT_DESCRIPTOR.status.mask, 1), DESCRIPTOR_TYPE.wait),
      ticket,
      this.#status % WORD,
      Math.floor(this.#status / WORD),
    ];
    for (const command of [...commands, wait]) {
      for (const [i, word] of command.entries()) yield* store32(this.#queue + this.#tail + 4 * i, word);
      yield* this.published(this.#queue + this.#tail, DESCRIPTOR_BYTES);
      this.#tail = (this.#tail + DESCRIPTOR_BYTES) % PAGE;
    }
    yield* memoryBarrier();
    yield* store32(base + VTD.IQT, this.#tail);
    this.commands += commands.length;
    this.waits++;
    if (costs !== undefined) yield* compute(costs.invalidateIotlb * commands.length);
    const unit = this;
    yield* this.#until(function* () {
      if (!unit.coherent) yield* cacheOperation(CACHE_OP.flush, unit.#status, 4);
      if ((yield* load32(unit.#status)) === ticket) return true;
      if (FSTS.queueError.on(yield* load32(base + VTD.FSTS))) throw new DmaError("EIO", "the unit refused a command");
      return false;
    }, "an invalidation");
  }

  /** Throws away what the unit has of a range of a domain: by pages where the mask allows it (6.5.2.3), else of the whole domain. */
  *invalidateRange(domain: number, address: number, bytes: number): Task {
    const pages = Math.ceil(bytes / PAGE);
    const mask = Math.ceil(Math.log2(pages));
    const aligned = address % (PAGE * 2 ** mask) === 0;
    if (mask > this.#maxMask || !aligned) yield* this.submit([iotlbCommand(GRANULARITY.domain, domain)]);
    else yield* this.submit([iotlbCommand(GRANULARITY.fine, domain, address, mask)]);
  }

  /** Forgets interrupt remapping entry `index`. */
  *invalidateInterruptEntry(index: number): Task {
    const type = DESCRIPTOR.typeLow.put(INTERRUPT_DESCRIPTOR.selective.mask, DESCRIPTOR_TYPE.interrupt);
    yield* this.submit([[type, INTERRUPT_DESCRIPTOR.index.put(0, index), 0, 0]]);
  }

  /** The interrupt remapping table lies at `table`, 256 entries; interrupts in the old format pass as they are (CFI). */
  *enableInterruptRemapping(table: PhysAddr): Task {
    const { base } = this.#o;
    yield* store32(base + VTD.IRTA, (table % WORD) + 7);
    yield* store32(base + VTD.IRTA + 4, Math.floor(table / WORD));
    yield* this.#command(GCMD.setInterruptTable.mask);
    yield* this.submit([[DESCRIPTOR_TYPE.interrupt, 0, 0, 0]]);
    yield* this.#command(GCMD.compatibleInterrupts.mask);
    yield* this.#command(GCMD.interruptRemapping.mask);
  }

  // --- faults -----------------------------------------------------------------------------------------------------------------------------------

  /** What was refused since the last look, and clears it. */
  *takeFaults(): Task<IommuFault[]> {
    const { base } = this.#o;
    const faults: IommuFault[] = [];
    for (let record = 0; record < FAULT_RECORDS; record++) {
      const at = base + VTD.FRCD + 16 * record;
      const top = yield* load32(at + 12);
      if (!FRCD.fault.on(top)) continue;
      const address = ((yield* load32(at)) & FRCD.addressLow.mask) >>> 0;
      const high = yield* load32(at + 4);
      const requester = FRCD.source.of(yield* load32(at + 8));
      faults.push({
        reason: FRCD.reason.of(top),
        requester,
        address: high * WORD + address,
        write: !FRCD.type.on(top),
      });
      yield* store32(at + 12, FRCD.fault.mask);
    }
    yield* store32(base + VTD.FSTS, FSTS.overflow.mask);
    return faults;
  }
}

export type DomainOptions = {
  /** Unmapped ranges are invalidated in batches. */
  readonly lazy?: boolean;
  /** Ranges of a batch. */
  readonly batch?: number;
};

/** An address space of devices. */
export class IommuDomain {
  readonly unit: IommuUnit;
  readonly id: number;
  /** Top of the second-level tables. */
  readonly root: PhysAddr;
  /** All of them. */
  readonly tables: PhysAddr[];
  readonly lazy: boolean;
  readonly #batch: number;
  readonly #addresses = new Zone(IOVA_BEGIN, IOVA_END, PAGE);
  /** Addresses that a device might still use, and what else waits for their end. */
  readonly #pending: (() => void)[] = [];
  #pendingRanges = 0;

  constructor(unit: IommuUnit, id: number, root: PhysAddr, { lazy = false, batch = LAZY_BATCH }: DomainOptions) {
    this.unit = unit;
    this.id = id;
    this.root = root;
    this.tables = [root];
    this.lazy = lazy;
    this.#batch = batch;
  }

  /** Ranges that were unmapped and not yet invalidated. */
  get pending(): number {
    return this.#pendingRanges;
  }

  /**
   * Gives memory a place on the bus, at the same offset in its page. Throws ENOMEM, or EINVAL for what crosses every boundary.
   * @param limit last address that the device has
   */
  *map(address: PhysAddr, bytes: number, direction: Direction, limit: number, boundary = 0): Task<number> {
    demand(boundary === 0 || (address % PAGE) + bytes <= boundary, `${bytes} bytes cross a boundary of ${boundary}`);
    const first = alignDown(address, PAGE);
    const size = alignUp(address + bytes, PAGE) - first;
    const bus = yield* this.#take(size, limit, boundary);
    yield* this.#enter(bus, first, size, direction);
    return bus + (address - first);
  }

  /** The same for several pieces, whose pages lie side by side on the bus: places of each, and the range of all. */
  *mapList(
    list: readonly { readonly address: PhysAddr; readonly bytes: number }[],
    direction: Direction,
    limit: number,
  ): Task<{ range: { bus: number; bytes: number }; places: number[] }> {
    const pages = list.map(({ address, bytes }) => alignUp(address + bytes, PAGE) - alignDown(address, PAGE));
    const bytes = pages.reduce((sum, one) => sum + one, 0);
    const bus = yield* this.#take(bytes, limit, 0);
    const places: number[] = [];
    let at = bus;
    for (const [i, { address }] of list.entries()) {
      yield* this.#enter(at, alignDown(address, PAGE), pages[i]!, direction);
      places.push(at + (address % PAGE));
      at += pages[i]!;
    }
    return { range: { bus, bytes }, places };
  }

  /** Addresses for `size` bytes; aligned so that one command invalidates them. */
  *#take(size: number, limit: number, boundary: number): Task<number> {
    const alignment = PAGE * 2 ** Math.ceil(Math.log2(size / PAGE));
    const wish = { alignment, limit, boundary };
    let bus = this.#addresses.take(size, wish);
    if (bus < 0 && this.#pendingRanges > 0) {
      yield* this.flushPending();
      bus = this.#addresses.take(size, wish);
    }
    if (bus < 0) throw new DmaError("ENOMEM", `domain ${this.id} has no ${size} bytes of addresses left`);
    return bus;
  }

  *#enter(bus: number, memory: PhysAddr, size: number, direction: Direction): Task {
    const reads = direction !== DIRECTION.fromDevice;
    const writes = direction !== DIRECTION.toDevice;
    const rights = (reads ? SECOND_LEVEL.read.mask : 0) + (writes ? SECOND_LEVEL.write.mask : 0);
    for (let done = 0; done < size; done += PAGE) {
      const at = yield* this.#entryOf(bus + done);
      yield* store64(at, memory + done + rights);
      yield* this.unit.published(at, 8);
    }
  }

  /** Address of the lowest table's entry; tables on the way are made. */
  *#entryOf(bus: number): Task<PhysAddr> {
    let table = this.root;
    for (let level = this.unit.levels; ; level--) {
      const at = table + 8 * (Math.floor(bus / (PAGE * 2 ** (LEVEL_BITS * (level - 1)))) % ENTRIES);
      if (level === 1) return at;
      const entry = yield* load64(at);
      table = alignDown(entry, PAGE);
      if (entry % 4 !== 0) continue;
      table = yield* this.unit.newTable();
      this.tables.push(table);
      yield* store64(at, table + SECOND_LEVEL.read.mask + SECOND_LEVEL.write.mask);
      yield* this.unit.published(at, 8);
    }
  }

  /** Takes away what {@link map} or {@link mapList} gave, by its place on the bus. Throws EINVAL for what is not mapped. */
  *unmap(bus: number, bytes: number): Task {
    const first = alignDown(bus, PAGE);
    const size = this.#addresses.sizeAt(first);
    demand(size > 0 && bus + bytes <= first + size, `nothing is mapped at ${bus.toString(16)}`);
    for (let at = first; at < first + size; at += PAGE) {
      const entry = yield* this.#entryOf(at);
      yield* store64(entry, 0);
      yield* this.unit.published(entry, 8);
    }
    if (!this.lazy) {
      yield* this.unit.invalidateRange(this.id, first, size);
      this.#addresses.give(first);
      return;
    }
    // No address twice while a device might still use it.
    this.#pending.push(() => this.#addresses.give(first));
    if (++this.#pendingRanges >= this.#batch) yield* this.flushPending();
  }

  /** `action` happens when no device can reach what was unmapped before: at once in a strict domain. */
  // biome-ignore lint/correctness/useYield: a task like its neighbours
  *whenForgotten(action: () => void): Task {
    if (this.#pendingRanges === 0) action();
    else this.#pending.push(action);
  }

  /** The end of all that is pending: one command for the whole domain. */
  *flushPending(): Task {
    if (this.#pendingRanges === 0) return;
    const actions = this.#pending.splice(0);
    this.#pendingRanges = 0;
    yield* this.unit.submit([iotlbCommand(GRANULARITY.domain, this.id)]);
    for (const action of actions) action();
  }
}

/** 6.5.2.1. */
function contextCommand(granularity: number, domain = 0, requester = 0): Command {
  const low = DESCRIPTOR.granularity.put(DESCRIPTOR_TYPE.context, granularity);
  return [CONTEXT_DESCRIPTOR.domain.put(low, domain), CONTEXT_DESCRIPTOR.source.put(0, requester), 0, 0];
}

/** 6.5.2.3; reads and writes on their way are drained (bits 6 and 7). */
function iotlbCommand(granularity: number, domain = 0, address = 0, mask = 0): Command {
  const low = DESCRIPTOR.granularity.put(DESCRIPTOR_TYPE.iotlb, granularity) | 0xc0;
  const third = IOTLB_DESCRIPTOR.addressMask.put(address % WORD, mask);
  return [IOTLB_DESCRIPTOR.domain.put(low, domain), 0, third, Math.floor(address / WORD)];
}
