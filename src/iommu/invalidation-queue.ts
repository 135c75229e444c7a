/**
 * The invalidation queue: descriptors in memory, carried out in order as soon as the tail moves. VT-d specification 6.5.2 "Queued Invalidation Interface".
 *
 * Decisions: each descriptor is complete before the next is fetched, so fences and drains are always satisfied. A descriptor that is not understood stops
 * the queue in front of it until software clears the error. A wait descriptor whose status has no memory behind it loses it. A tail beyond the end
 * of the queue, or in the middle of a 256-bit descriptor, is an invalid tail. Not built: device-TLB descriptors and page group responses, which are
 * unknown types here (ECAP.DT, ECAP.PRS).
 */
import type { CauseId, PhysAddr } from "../base/units.ts";
import { EVENT } from "../ports/events.ts";
import type { Trace } from "../sim/trace.ts";
import type { EventMessage } from "./event-message.ts";
import type { FaultLog } from "./fault-log.ts";
import type { InterruptTable } from "./interrupt-table.ts";
import type { Invalidation } from "./invalidation.ts";
import { pageAddress, type TableMemory } from "./table-memory.ts";
import {
  CONTEXT_DESCRIPTOR,
  DESCRIPTOR,
  DESCRIPTOR_RESERVED,
  DESCRIPTOR_TYPE,
  INTERRUPT_DESCRIPTOR,
  IOTLB_DESCRIPTOR,
  WAIT_DESCRIPTOR,
} from "./tables.regs.ts";
import { FSTS, ICS, IQA, QUEUE_ERROR, QUEUE_OFFSET } from "./vtd.regs.ts";

const PAGE = 4096;
const NARROW = 16;
const WIDE = 32;

export type InvalidationQueueState = {
  enabled: boolean;
  /** Byte offsets in the queue. */
  head: number;
  tail: number;
  addressLow: number;
  addressHigh: number;
  /** ICS. */
  complete: number;
  error: number;
};

const fresh = (): InvalidationQueueState => ({
  enabled: false,
  head: 0,
  tail: 0,
  addressLow: 0,
  addressHigh: 0,
  complete: 0,
  error: QUEUE_ERROR.none,
});

export type InvalidationQueueParts = {
  readonly memory: TableMemory;
  readonly invalidation: Invalidation;
  readonly interrupts: InterruptTable;
  readonly faults: FaultLog;
  /** The invalidation completion event. */
  readonly event: EventMessage;
  readonly trace: Trace | null;
};

export class InvalidationQueue {
  readonly state = fresh();
  readonly #parts: InvalidationQueueParts;
  readonly #scalableOffered: boolean;
  readonly #d = new Uint32Array(8);

  /** @param scalableOffered descriptors of scalable mode are known */
  constructor(parts: InvalidationQueueParts, scalableOffered: boolean) {
    this.#parts = parts;
    this.#scalableOffered = scalableOffered;
  }

  reset(): void {
    Object.assign(this.state, fresh());
  }

  /** GCMD.QIE. "Hardware resets [the head] to 0 whenever the queued invalidation is disabled" (11.4.22). */
  enable(on: boolean): void {
    this.state.enabled = on;
    if (on) this.run(0);
    else this.state.head = 0;
  }

  setTail(value: number): void {
    this.state.tail = value & QUEUE_OFFSET.offset.mask;
    this.run(0);
  }

  setAddressLow(value: number): void {
    const wide = this.#scalableOffered ? IQA.wide.mask : 0;
    this.state.addressLow = (value & (IQA.size.mask | IQA.baseLow.mask | wide)) >>> 0;
  }

  clearComplete(value: number): void {
    this.state.complete &= ~(value & ICS.waitComplete.mask);
    if (this.state.complete === 0) this.#parts.event.withdraw();
  }

  /** Carries out what is queued; also after software has cleared the error bit. */
  run(cause: CauseId): void {
    const s = this.state;
    const bytes = PAGE << IQA.size.of(s.addressLow);
    const step = IQA.wide.on(s.addressLow) ? WIDE : NARROW;
    while (s.enabled && s.head !== s.tail && !this.#parts.faults.has(FSTS.queueError.mask)) {
      const error = s.tail >= bytes || s.tail % step !== 0 ? QUEUE_ERROR.tail : this.#next(step, cause);
      if (error !== QUEUE_ERROR.none) {
        s.error = error;
        this.#parts.faults.raise(FSTS.queueError.mask, cause);
        return;
      }
      s.head = (s.head + step) % bytes;
    }
  }

  /** Fetches, checks and carries out the descriptor at the head. */
  #next(step: number, cause: CauseId): number {
    const { memory } = this.#parts;
    const d = this.#d;
    const at = pageAddress(this.state.addressLow, this.state.addressHigh) + this.state.head;
    d.fill(0);
    for (let i = 0; i < step / 4; i += 2) {
      if (!memory.read64(at + 4 * i)) return QUEUE_ERROR.fetch;
      d[i] = memory.low;
      d[i + 1] = memory.high;
    }
    const type = DESCRIPTOR.typeLow.of(d[0]!) | (DESCRIPTOR.typeHigh.of(d[0]!) << 4);
    const reserved = DESCRIPTOR_RESERVED[type];
    const scalable = type === DESCRIPTOR_TYPE.pasidCache || type === DESCRIPTOR_TYPE.pasidIotlb;
    if (reserved === undefined || (scalable && !this.#scalableOffered)) return QUEUE_ERROR.type;
    if (this.#parts.invalidation.scalable && step === NARROW) return QUEUE_ERROR.width;
    for (let i = 0; i < 8; i++) if ((d[i]! & (reserved[i] ?? -1)) !== 0) return QUEUE_ERROR.reserved;
    return this.#carryOut(type, cause) ? QUEUE_ERROR.none : QUEUE_ERROR.reserved;
  }

  /** False for a granularity or mask that does not exist. */
  #carryOut(type: number, cause: CauseId): boolean {
    const d = this.#d;
    const granularity = DESCRIPTOR.granularity.of(d[0]!);
    const domain = IOTLB_DESCRIPTOR.domain.of(d[0]!);
    const address = pageAddress(d[2]!, 0) + d[3]! * 0x1_0000_0000;
    const id = this.#parts.trace?.emit(EVENT.iommuInvalidate, 0, d[0]! & 0xff, domain, address, cause) ?? cause;
    const { invalidation } = this.#parts;
    switch (type) {
      case DESCRIPTOR_TYPE.context: {
        const mask = CONTEXT_DESCRIPTOR.functionMask.of(d[1]!);
        return invalidation.context(granularity, domain, CONTEXT_DESCRIPTOR.source.of(d[1]!), mask) !== 0;
      }
      case DESCRIPTOR_TYPE.iotlb: {
        const { addressMask, hint } = IOTLB_DESCRIPTOR;
        return invalidation.iotlb(granularity, domain, address, addressMask.of(d[2]!), hint.on(d[2]!)) !== 0;
      }
      case DESCRIPTOR_TYPE.interrupt:
        this.#interrupts();
        return true;
      case DESCRIPTOR_TYPE.pasidIotlb:
        return this.#pasidIotlb(granularity, domain, address);
      case DESCRIPTOR_TYPE.pasidCache:
        if (granularity === 2) return false;
        invalidation.pasidCache(granularity, domain, IOTLB_DESCRIPTOR.pasid.of(d[1]!));
        return true;
      default:
        this.#wait(id);
        return true;
    }
  }

  #interrupts(): void {
    const d = this.#d;
    if (!INTERRUPT_DESCRIPTOR.selective.on(d[0]!)) this.#parts.interrupts.clear();
    else this.#parts.interrupts.forget(INTERRUPT_DESCRIPTOR.index.of(d[1]!), INTERRUPT_DESCRIPTOR.mask.of(d[0]!));
  }

  #pasidIotlb(granularity: number, domain: number, address: PhysAddr): boolean {
    const d = this.#d;
    if (granularity < 2) return false;
    const { addressMask, hint, pasid } = IOTLB_DESCRIPTOR;
    const mask = addressMask.of(d[2]!);
    this.#parts.invalidation.pasidIotlb(granularity === 3, domain, pasid.of(d[1]!), address, mask, hint.on(d[2]!));
    return true;
  }

  /** 6.5.2.8: status first, then the interrupt. */
  #wait(cause: CauseId): void {
    const d = this.#d;
    const { event, memory } = this.#parts;
    if (WAIT_DESCRIPTOR.status.on(d[0]!)) memory.write32(((d[2]! & ~3) >>> 0) + d[3]! * 0x1_0000_0000, d[1]!);
    if (!WAIT_DESCRIPTOR.interrupt.on(d[0]!)) return;
    const before = this.state.complete;
    this.state.complete = ICS.waitComplete.mask;
    if (before === 0) event.raise(cause);
  }
}
