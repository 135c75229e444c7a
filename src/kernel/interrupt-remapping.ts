/**
 * Messages by interrupt remapping: a device is given the index of a table entry instead of vector and CPU, so moving an interrupt writes that entry and not
 * the device, and a device cannot raise what it was not given (source validation). VT-d specification rev. 4.0, 5.1 and 9.10. The I/O APIC keeps its
 * entries in the old format, which the unit lets through (CFI).
 */
import type { Bdf, PhysAddr } from "../base/units.ts";
import { MSI_BASE } from "../intc/msi-decode.regs.ts";
import { IRTE, REMAPPABLE, SOURCE_VALIDATION, XAPIC_DESTINATION } from "../iommu/tables.regs.ts";
import { DELIVERY } from "../ports/message.ts";
import { store32, type Task } from "../ports/task.ts";
import { DmaError } from "./dma/errors.ts";
import type { IommuUnit } from "./iommu-domain.ts";
import { checkVector } from "./descriptor.ts";
import type { DeviceMessage, MessageComposer, MessageTarget } from "./message.ts";

const ENTRIES = 256;
const ENTRY_BYTES = 16;

export class RemappingComposer implements MessageComposer {
  readonly #unit: IommuUnit;
  readonly #table: PhysAddr;
  /** Entries by requester and number of its vector. */
  readonly #entries = new Map<string, number>();

  private constructor(unit: IommuUnit, table: PhysAddr) {
    this.#unit = unit;
    this.#table = table;
  }

  /** Makes a table of 256 entries and switches remapping on. Throws ENOMEM, EIO. */
  static *create(unit: IommuUnit): Task<RemappingComposer> {
    const table = yield* unit.newTable();
    yield* unit.enableInterruptRemapping(table);
    return new RemappingComposer(unit, table);
  }

  /** Throws ENOMEM when all entries are used; RangeError for a vector that is none. */
  *compose(requester: Bdf, index: number, target: MessageTarget): Task<DeviceMessage> {
    checkVector(target.vector);
    const key = `${requester} ${index}`;
    const entry = this.#entries.get(key) ?? this.#entries.size;
    if (entry >= ENTRIES) throw new DmaError("ENOMEM", `all ${ENTRIES} interrupt remapping entries are used`);
    yield* this.#write(entry, requester, target);
    this.#entries.set(key, entry);
    let address = REMAPPABLE.remappable.put(MSI_BASE * 2 ** 20, 1);
    address = REMAPPABLE.handleLow.put(address, entry);
    return { address, data: 0 };
  }

  /** The low word, with the present bit, comes last, and what the unit has of the entry goes (5.1.6). */
  *#write(entry: number, requester: Bdf, target: MessageTarget): Task {
    const { vector, destination, deliveryMode = DELIVERY.fixed, logical = false } = target;
    const at = this.#table + ENTRY_BYTES * entry;
    let low = IRTE.vector.put(IRTE.present.put(0, 1), vector);
    low = IRTE.deliveryMode.put(IRTE.destinationMode.put(low, Number(logical)), deliveryMode);
    if (logical || deliveryMode === DELIVERY.lowest) low = IRTE.redirectionHint.put(low, 1);
    const source = IRTE.sourceValidation.put(IRTE.source.put(0, requester), SOURCE_VALIDATION.requester);
    yield* store32(at + 12, 0);
    yield* store32(at + 8, source);
    yield* store32(at + 4, destination << XAPIC_DESTINATION.shift);
    yield* store32(at, low);
    yield* this.#unit.published(at, ENTRY_BYTES);
    yield* this.#unit.invalidateInterruptEntry(entry);
  }
}
