/**
 * A remapping unit: DMA remapping, interrupt remapping and posting behind one page of registers. Document: Intel Virtualization Technology for Directed I/O,
 * Architecture Specification (rev. 4.0), chapter 11 for the registers; the parts of the unit cite theirs.
 *
 * Decisions: every command is complete when the write that gave it is; a set-root-table or set-interrupt-table command drops nothing by itself
 * (CAP.ESRTPS and CAP.ESIRTPS are 0), so a missing invalidation shows. The register-based invalidation interface works in legacy mode only (6.5.1). Not built: advanced fault
 * logging, device TLBs and page requests (ATS, PRS), enhanced commands, performance monitoring, performance of walks, memory types.
 */
import type { CauseId } from "../base/units.ts";
import { EVENT } from "../ports/events.ts";
import type { MessageBus, MsiTarget } from "../ports/message.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { Trace } from "../sim/trace.ts";
import { BindingCache, type BindingState } from "./binding-cache.ts";
import { DeviceTables } from "./device-tables.ts";
import { EventMessage, type EventMessageState } from "./event-message.ts";
import { FaultLog, type FaultLogState } from "./fault-log.ts";
import { FirstLevel } from "./first-level.ts";
import { InterruptRemap } from "./interrupt-remap.ts";
import { InterruptTable, type InterruptTableState } from "./interrupt-table.ts";
import { InvalidationQueue, type InvalidationQueueState } from "./invalidation-queue.ts";
import { Invalidation } from "./invalidation.ts";
import { Iotlb, type IotlbState } from "./iotlb.ts";
import { PagingCache, type PagingCacheState } from "./paging-cache.ts";
import { ProtectedMemory, type ProtectedMemoryState } from "./protected-memory.ts";
import { SecondLevel } from "./second-level.ts";
import { pageAddress, type TableMemory } from "./table-memory.ts";
import { DESCRIPTOR_TYPE } from "./tables.regs.ts";
import { Translator } from "./translator.ts";
import { capabilities, type VtdFeatures } from "./vtd-capabilities.ts";
import {
  CCMD,
  FAULT_RECORDS,
  FSTS,
  GCMD,
  IOTLB,
  IRTA,
  IVA,
  RTADDR,
  TABLE_MODE,
  VTD,
  VTD_BYTES,
  VTD_VERSION,
  vtdRegisterName,
} from "./vtd.regs.ts";

export type VtdOptions = VtdFeatures & {
  readonly name?: string;
  readonly memory: TableMemory;
  /** Where remapped interrupts and the unit's own go. */
  readonly bus: MessageBus;
  /** Where messages go that are not remapped. */
  readonly msi: MsiTarget;
  readonly trace?: Trace | null;
};

export type VtdState = {
  /** GSTS. */
  status: number;
  /** Low and high words of RTADDR and IRTA as written, and as latched by the commands. */
  root: Uint32Array;
  interruptTable: Uint32Array;
  /** CCMD, IVA and IOTLB, two words each. */
  contextCommand: Uint32Array;
  invalidateAddress: Uint32Array;
  iotlbCommand: Uint32Array;
  faults: FaultLogState;
  faultEvent: EventMessageState;
  queue: InvalidationQueueState;
  queueEvent: EventMessageState;
  protectedMemory: ProtectedMemoryState;
  /** What the unit has cached. */
  bindings: BindingState;
  contexts: BindingState;
  paging: PagingCacheState;
  iotlb: IotlbState;
  interrupts: InterruptTableState;
};

const FRCD_END = VTD.FRCD + 16 * FAULT_RECORDS;

export class Vtd implements Part, Window {
  readonly name: string;
  readonly size = VTD_BYTES;
  readonly minWidth = 4;
  readonly maxWidth = 4;
  readonly narrowWrites = "merge";
  readonly state: VtdState;
  /** For bus masters. */
  readonly dma: Translator;
  /** For messages and I/O APICs. */
  readonly interrupts: InterruptRemap;
  readonly #capabilities: Uint32Array;
  readonly #features: VtdFeatures;
  readonly #trace: Trace | null;
  readonly #faultEvent: EventMessage;
  readonly #queueEvent: EventMessage;
  readonly #faults: FaultLog;
  readonly #protected: ProtectedMemory;
  readonly #table: InterruptTable;
  readonly #tables: DeviceTables;
  readonly #invalidation: Invalidation;
  readonly #queue: InvalidationQueue;

  constructor(options: VtdOptions) {
    const { memory, bus, msi, hostBits } = options;
    const trace = options.trace ?? null;
    this.name = options.name ?? "vtd";
    this.#features = options;
    this.#capabilities = capabilities(options);
    this.#trace = trace;
    this.#faultEvent = new EventMessage(bus);
    this.#queueEvent = new EventMessage(bus);
    this.#faults = new FaultLog(this.#faultEvent);
    this.#protected = new ProtectedMemory(hostBits);
    this.#table = new InterruptTable(memory);
    const [bindings, contexts, iotlb, paging] = [
      new BindingCache(),
      new BindingCache(),
      new Iotlb(),
      new PagingCache(),
    ];
    const maxLevels = options.levels;
    this.#tables = new DeviceTables(memory, bindings, contexts, { hostBits, maxLevels, firstLevel5: maxLevels === 5 });
    this.#invalidation = new Invalidation(bindings, contexts, iotlb, paging);
    const second = new SecondLevel(memory, paging, hostBits);
    this.dma = new Translator(
      {
        tables: this.#tables,
        second,
        first: new FirstLevel(memory, paging, second, hostBits),
        iotlb,
        faults: this.#faults,
        protectedMemory: this.#protected,
        trace,
      },
      2 ** guestBits(maxLevels),
    );
    const faults = this.#faults;
    this.interrupts = new InterruptRemap({ table: this.#table, memory, faults, bus, msi, trace });
    const { invalidation, interrupts, event } = {
      invalidation: this.#invalidation,
      interrupts: this.#table,
      event: this.#queueEvent,
    };
    const queueParts = { memory, invalidation, interrupts, faults, event, trace };
    this.#queue = new InvalidationQueue(queueParts, options.scalable);
    this.state = {
      status: 0,
      root: new Uint32Array(4),
      interruptTable: new Uint32Array(4),
      contextCommand: new Uint32Array(2),
      invalidateAddress: new Uint32Array(2),
      iotlbCommand: new Uint32Array(2),
      faults: this.#faults.state,
      faultEvent: this.#faultEvent.state,
      queue: this.#queue.state,
      queueEvent: this.#queueEvent.state,
      protectedMemory: this.#protected.state,
      bindings: bindings.state,
      contexts: contexts.state,
      paging: paging.state,
      iotlb: iotlb.state,
      interrupts: this.#table.state,
    };
  }

  reset(phase: ResetPhase, kind: ResetKind): void {
    if (phase !== "enter") return;
    const s = this.state;
    s.status = 0;
    for (const words of [s.root, s.interruptTable, s.contextCommand, s.invalidateAddress, s.iotlbCommand])
      words.fill(0);
    this.#faults.reset(kind);
    this.#faultEvent.reset();
    this.#queue.reset();
    this.#queueEvent.reset();
    this.#protected.reset();
    this.#invalidation.clear();
    this.#table.clear();
    this.#derive();
  }

  restored(): void {
    this.#derive();
  }

  /** Works out again what follows from the registers. */
  #derive(): void {
    const { status, root, interruptTable } = this.state;
    const table = interruptTable[2]!;
    this.#tables.root = pageAddress(root[2]!, root[3]!);
    this.#tables.mode = RTADDR.mode.of(root[2]!);
    this.#invalidation.scalable = this.#tables.mode === TABLE_MODE.scalable;
    this.#table.base = pageAddress(table, interruptTable[3]!);
    this.#table.entries = 2 << IRTA.size.of(table);
    this.#table.extended = IRTA.extended.on(table);
    this.#faultEvent.extended = this.#queueEvent.extended = this.#table.extended;
    this.dma.enabled = GCMD.translation.on(status);
    this.dma.active = this.dma.enabled || this.#protected.state.enabled;
    this.interrupts.active = GCMD.interruptRemapping.on(status);
    this.interrupts.compatible = GCMD.compatibleInterrupts.on(status);
  }

  describe(offset: number): string {
    return vtdRegisterName(offset);
  }

  // --- registers ------------------------------------------------------------------------------------------------------------------------------------

  read(offset: number): number {
    const s = this.state;
    if (offset >= VTD.CAP && offset < VTD.GCMD) return this.#capabilities[(offset - VTD.CAP) >> 2]!;
    if (offset >= VTD.FRCD && offset < FRCD_END) return this.#faults.read((offset - VTD.FRCD) >> 2);
    if (offset >= VTD.FECTL && offset <= VTD.FEUADDR) return this.#faultEvent.read(offset - VTD.FECTL);
    if (offset >= VTD.IECTL && offset <= VTD.IEUADDR) return this.#queueEvent.read(offset - VTD.IECTL);
    if (offset >= VTD.PLMBASE && offset < VTD.IQH) return this.#protected.read((offset - VTD.PLMBASE) >> 2);
    const high = (offset >> 2) & 1;
    switch (offset) {
      case VTD.VER:
        return VTD_VERSION;
      case VTD.GSTS:
        return s.status;
      case VTD.RTADDR:
      case VTD.RTADDR + 4:
        return s.root[high]!;
      case VTD.CCMD:
      case VTD.CCMD + 4:
        return s.contextCommand[high]!;
      case VTD.FSTS:
        return this.#faults.status;
      case VTD.PMEN:
        return this.#protected.control;
      case VTD.IRTA:
      case VTD.IRTA + 4:
        return s.interruptTable[high]!;
      case VTD.IOTLB:
      case VTD.IOTLB + 4:
        return s.iotlbCommand[high]!;
      default:
        return this.#readQueue(offset);
    }
  }

  #readQueue(offset: number): number {
    const q = this.state.queue;
    switch (offset) {
      case VTD.IQH:
        return q.head;
      case VTD.IQT:
        return q.tail;
      case VTD.IQA:
        return q.addressLow;
      case VTD.IQA + 4:
        return q.addressHigh;
      case VTD.ICS:
        return q.complete;
      case VTD.IQERCD:
        return this.#faults.has(FSTS.queueError.mask) ? q.error : 0;
      default:
        return 0;
    }
  }

  write(offset: number, _width: number, value: number): void {
    if (offset >= VTD.FRCD && offset < FRCD_END) this.#faults.write((offset - VTD.FRCD) >> 2, value);
    else if (offset >= VTD.FECTL && offset <= VTD.FEUADDR) this.#faultEvent.write(offset - VTD.FECTL, value);
    else if (offset >= VTD.IECTL && offset <= VTD.IEUADDR) this.#queueEvent.write(offset - VTD.IECTL, value);
    else if (offset >= VTD.PLMBASE && offset < VTD.IQH) this.#protected.write((offset - VTD.PLMBASE) >> 2, value);
    else if (offset >= VTD.IQH && offset <= VTD.ICS) this.#writeQueue(offset, value);
    else this.#writeCommand(offset, value);
  }

  #writeQueue(offset: number, value: number): void {
    const q = this.state.queue;
    if (offset === VTD.IQT) this.#queue.setTail(value);
    else if (offset === VTD.IQA) this.#queue.setAddressLow(value);
    else if (offset === VTD.IQA + 4) q.addressHigh = (value & (2 ** (this.#features.hostBits - 32) - 1)) >>> 0;
    else if (offset === VTD.ICS) this.#queue.clearComplete(value);
  }

  #writeCommand(offset: number, value: number): void {
    const s = this.state;
    const high = (offset >> 2) & 1;
    switch (offset) {
      case VTD.GCMD:
        this.#command(value);
        return;
      case VTD.RTADDR:
        s.root[0] = value & (RTADDR.mode.mask | RTADDR.tableLow.mask);
        return;
      case VTD.RTADDR + 4:
        s.root[1] = value & (2 ** (this.#features.hostBits - 32) - 1);
        return;
      case VTD.IRTA:
        s.interruptTable[0] = value & (IRTA.size.mask | IRTA.extended.mask | IRTA.tableLow.mask);
        return;
      case VTD.IRTA + 4:
        s.interruptTable[1] = value & (2 ** (this.#features.hostBits - 32) - 1);
        return;
      case VTD.CCMD:
      case VTD.CCMD + 4:
        s.contextCommand[high] = value;
        if (high === 1 && CCMD.invalidate.on(value)) this.#invalidateContext();
        return;
      case VTD.FSTS:
        this.#faults.writeStatus(value);
        this.#queue.run(0);
        return;
      case VTD.PMEN:
        this.#protected.control = value;
        this.#derive();
        return;
      case VTD.IVA:
      case VTD.IVA + 4:
        s.invalidateAddress[high] = value;
        return;
      case VTD.IOTLB:
      case VTD.IOTLB + 4:
        s.iotlbCommand[high] = value;
        if (high === 1 && IOTLB.invalidate.on(value)) this.#invalidateIotlb();
    }
  }

  /** 11.4.4: one-shot commands leave a status bit; the others are what they are switched to. */
  #command(value: number): void {
    const s = this.state;
    const switches = [GCMD.translation, GCMD.interruptRemapping, GCMD.queuedInvalidation, GCMD.compatibleInterrupts];
    const before = s.status;
    if (GCMD.setRootTable.on(value)) {
      s.root.copyWithin(2, 0, 2);
      s.status |= GCMD.setRootTable.mask;
    }
    if (GCMD.setInterruptTable.on(value)) {
      s.interruptTable.copyWithin(2, 0, 2);
      s.status |= GCMD.setInterruptTable.mask;
    }
    for (const field of switches) s.status = field.put(s.status >>> 0, field.of(value));
    s.status >>>= 0;
    this.#derive();
    if (GCMD.queuedInvalidation.on(before) !== GCMD.queuedInvalidation.on(s.status))
      this.#queue.enable(GCMD.queuedInvalidation.on(s.status));
  }

  #invalidateContext(): void {
    const words = this.state.contextCommand;
    const [low, high] = [words[0]!, words[1]!];
    const [domain, source] = [CCMD.domain.of(low), CCMD.source.of(low)];
    const requested = CCMD.requested.of(high);
    let done = 0;
    if (this.#tables.mode === TABLE_MODE.legacy) {
      this.#tell(DESCRIPTOR_TYPE.context, requested, domain, source);
      done = this.#invalidation.context(requested, domain, source, CCMD.functionMask.of(high));
    }
    words[1] = CCMD.actual.put(CCMD.invalidate.put(high, 0), done);
  }

  #invalidateIotlb(): void {
    const { iotlbCommand: words, invalidateAddress: target } = this.state;
    const high = words[1]!;
    const requested = IOTLB.requested.of(high);
    const domain = IOTLB.domain.of(high);
    const address = pageAddress(target[0]!, 0) + target[1]! * 0x1_0000_0000;
    let done = 0;
    if (this.#tables.mode === TABLE_MODE.legacy) {
      const [mask, hint] = [IVA.addressMask.of(target[0]!), IVA.hint.on(target[0]!)];
      this.#tell(DESCRIPTOR_TYPE.iotlb, requested, domain, address);
      done = this.#invalidation.iotlb(requested, domain, address, mask, hint);
    }
    words[1] = IOTLB.actual.put(IOTLB.invalidate.put(high, 0), done);
  }

  #tell(type: number, granularity: number, domain: number, address: number): CauseId {
    return this.#trace?.emit(EVENT.iommuInvalidate, 0, type | (granularity << 4), domain, address, 0) ?? 0;
  }
}

/** What a requester can name: no more than the tables translate, and no more than a bus master here can say. */
function guestBits(levels: number): number {
  return Math.min(12 + 9 * levels, 52);
}
