/**
 * Posted interrupts: the request is noted in a descriptor in memory, and a notification is sent when nobody has been told yet. VT-d specification 5.2.3
 * "Interrupt-Posting Hardware Operation" and 9.12 (descriptor).
 */
import type { PhysAddr } from "../base/units.ts";
import { FAULT } from "./faults.regs.ts";
import type { TableMemory } from "./table-memory.ts";
import {
  POSTED_CONTROL,
  POSTED_CONTROL_OFFSET,
  POSTED_CONTROL_RESERVED,
  POSTED_IRTE,
  XAPIC_DESTINATION,
} from "./tables.regs.ts";

export class PostedInterrupt {
  /** After {@link post}: a notification is due, with this vector, to this processor. */
  notify = false;
  vector = 0;
  destination = 0;
  readonly #memory: TableMemory;

  constructor(memory: TableMemory) {
    this.#memory = memory;
  }

  /** Returns {@link FAULT}.none or the reason. @param entry words of the table's entry @param extended destinations have 32 bits */
  post(entry: Uint32Array, extended: boolean): number {
    const memory = this.#memory;
    const descriptor: PhysAddr = entry[3]! * 0x1_0000_0000 + ((entry[1]! & POSTED_IRTE.descriptorLow.mask) >>> 0);
    const vector = POSTED_IRTE.vector.of(entry[0]!);
    const request = descriptor + 8 * (vector >> 6);
    this.notify = false;
    if (!memory.read64(descriptor + POSTED_CONTROL_OFFSET)) return FAULT.postedAccess;
    const control = memory.low;
    const target = memory.high;
    const reserved = extended ? 0 : XAPIC_DESTINATION.reserved;
    if ((control & POSTED_CONTROL_RESERVED) !== 0 || (target & reserved) !== 0) return FAULT.postedReserved;
    if (!memory.read64(request)) return FAULT.postedAccess;
    const bit = (1 << (vector & 31)) >>> 0;
    const isHigh = (vector & 32) !== 0;
    const low = isHigh ? memory.low : (memory.low | bit) >>> 0;
    const high = isHigh ? (memory.high | bit) >>> 0 : memory.high;
    memory.write64(request, low, high);
    const urgent = POSTED_IRTE.urgent.on(entry[0]!);
    if (POSTED_CONTROL.outstanding.on(control) || (POSTED_CONTROL.suppress.on(control) && !urgent)) return FAULT.none;
    memory.write64(descriptor + POSTED_CONTROL_OFFSET, POSTED_CONTROL.outstanding.put(control, 1), target);
    this.notify = true;
    this.vector = POSTED_CONTROL.vector.of(control);
    this.destination = extended ? target : (target >>> XAPIC_DESTINATION.shift) & 0xff;
    return FAULT.none;
  }
}
