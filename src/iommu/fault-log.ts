/**
 * Primary fault logging: the fault status register, the fault recording registers, and the fault event. VT-d specification 7.3.1 "Primary Fault Logging" and
 * 7.4 "Fault Event".
 *
 * Decisions: faults of one requester are not collapsed, so every fault is either recorded or met by a full log (overflow). Records and status survive a
 * system reset ("sticky … cleared only through power good reset").
 */
import type { Bdf, CauseId, PhysAddr } from "../base/units.ts";
import { ACCESS, pasidOf } from "../ports/dma-remap.ts";
import type { ResetKind } from "../ports/part.ts";
import type { EventMessage } from "./event-message.ts";
import { FAULT_RECORDS, FRCD, FSTS } from "./vtd.regs.ts";

const WORDS = 4;
const STICKY = FSTS.overflow.mask | FSTS.queueError.mask | FSTS.completionError.mask | FSTS.timeout.mask;
/** Word of the fault bit. */
const FAULT_WORD = 3;

export type FaultLogState = {
  /** The bits that software clears. */
  status: number;
  /** Which record is next, and which was the first when faults became pending. */
  next: number;
  first: number;
  records: Uint32Array;
};

export class FaultLog {
  readonly state: FaultLogState = { status: 0, next: 0, first: 0, records: new Uint32Array(WORDS * FAULT_RECORDS) };
  readonly #event: EventMessage;

  constructor(event: EventMessage) {
    this.#event = event;
  }

  reset(kind: ResetKind): void {
    if (kind !== "power") return;
    this.state.status = this.state.next = this.state.first = 0;
    this.state.records.fill(0);
  }

  /** FSTS. */
  get status(): number {
    const pending = this.#anyRecord() ? FSTS.pending.mask : 0;
    return FSTS.recordIndex.put(this.state.status | pending, pending === 0 ? 0 : this.state.first);
  }

  /** The bits of FSTS that are set by errors, as an unsigned mask; set and not yet cleared. */
  has(mask: number): boolean {
    return (this.state.status & mask) !== 0;
  }

  writeStatus(value: number): void {
    this.state.status &= ~(value & STICKY);
    this.#settle();
  }

  /** An error other than a recorded fault: one of the sticky bits of FSTS. */
  raise(mask: number, cause: CauseId): void {
    const before = this.#anything();
    this.state.status |= mask;
    if (!before) this.#event.raise(cause);
  }

  /** A DMA request was refused. Returns false when there was no room for it. @param access of ports/dma-remap.ts */
  recordAddress(requester: Bdf, reason: number, address: PhysAddr, access: number, cause: CauseId): boolean {
    const page = address - (address % 4096);
    let top = FRCD.reason.put(0, reason);
    let source = FRCD.source.put(0, requester);
    // An AtomicOp counts as a read here and has the second type bit set (11.4.14).
    if ((access & (ACCESS.read | ACCESS.write)) !== ACCESS.write) top = FRCD.type.put(top, 1);
    if ((access & ACCESS.pasid) !== 0) {
      top = FRCD.pasid.put(top, pasidOf(access));
      source = FRCD.hasPasid.put(source, 1);
      source = FRCD.execute.put(source, (access & ACCESS.execute) === 0 ? 0 : 1);
      source = FRCD.privileged.put(source, (access & ACCESS.privileged) === 0 ? 0 : 1);
    }
    if ((access & (ACCESS.read | ACCESS.write)) === (ACCESS.read | ACCESS.write)) source = FRCD.type2.put(source, 1);
    return this.#record(page % 0x1_0000_0000, Math.floor(page / 0x1_0000_0000), source, top, cause);
  }

  /** An interrupt request was refused. */
  recordInterrupt(requester: Bdf, reason: number, index: number, cause: CauseId): boolean {
    return this.#record(0, (index << 16) >>> 0, requester, FRCD.reason.put(0, reason), cause);
  }

  #record(low: number, high: number, source: number, top: number, cause: CauseId): boolean {
    const s = this.state;
    if (FSTS.overflow.on(s.status)) return false;
    const at = WORDS * s.next;
    if (FRCD.fault.on(s.records[at + FAULT_WORD]!)) {
      this.raise(FSTS.overflow.mask, cause);
      return false;
    }
    const before = this.#anything();
    if (!this.#anyRecord()) s.first = s.next;
    s.records[at] = low;
    s.records[at + 1] = high;
    s.records[at + 2] = source;
    s.records[at + FAULT_WORD] = FRCD.fault.put(top, 1);
    s.next = (s.next + 1) % FAULT_RECORDS;
    if (!before) this.#event.raise(cause);
    return true;
  }

  /** @param word of the recording registers */
  read(word: number): number {
    return this.state.records[word]!;
  }

  write(word: number, value: number): void {
    if (word % WORDS !== FAULT_WORD || !FRCD.fault.on(value)) return;
    this.state.records[word] = FRCD.fault.put(this.state.records[word]!, 0);
    this.#settle();
  }

  #anyRecord(): boolean {
    const { records } = this.state;
    for (let at = FAULT_WORD; at < records.length; at += WORDS) if (FRCD.fault.on(records[at]!)) return true;
    return false;
  }

  #anything(): boolean {
    return this.state.status !== 0 || this.#anyRecord();
  }

  /** With everything dealt with, a pending event is, too. */
  #settle(): void {
    if (!this.#anything()) this.#event.withdraw();
  }
}
