/**
 * Interrupt remapping: messages of devices and of I/O APICs become what the interrupt remapping table says, or nothing. VT-d specification chapter 5.
 *
 * Decisions: an I/O APIC's entry in remappable format is taken as it is, without looking at its bits that have no meaning there (5.1.5.1); the trigger mode
 * of the message is the table's. In xAPIC mode, messages in compatibility format pass while software allows them (GCMD.CFI), in x2APIC mode never
 * (5.1.2.1).
 */
import type { Bdf, CauseId } from "../base/units.ts";
import { EVENT } from "../ports/events.ts";
import { type InterruptRemapping, NOT_REMAPPED } from "../ports/interrupt-remap.ts";
import { DELIVERY, InterruptMessage, type MessageBus, type MsiTarget } from "../ports/message.ts";
import type { Trace } from "../sim/trace.ts";
import type { FaultLog } from "./fault-log.ts";
import { FAULT } from "./faults.regs.ts";
import type { InterruptTable } from "./interrupt-table.ts";
import { PostedInterrupt } from "./posted-interrupt.ts";
import type { TableMemory } from "./table-memory.ts";
import { IRTE, REMAPPABLE, REMAPPABLE_RTE, XAPIC_DESTINATION } from "./tables.regs.ts";

const MSI_BASE = 0xfee0_0000;

export type InterruptRemapParts = {
  readonly table: InterruptTable;
  readonly memory: TableMemory;
  readonly faults: FaultLog;
  readonly bus: MessageBus;
  /** Where messages go that are not remapped. */
  readonly msi: MsiTarget;
  readonly trace: Trace | null;
};

export class InterruptRemap implements MsiTarget, InterruptRemapping {
  /** GSTS.IRES. */
  active = false;
  /** GSTS.CFIS: messages in compatibility format pass. */
  compatible = false;
  /** Observation only; of the blocked ones, `lost` met a full log. */
  readonly counts = { remapped: 0, posted: 0, blocked: 0, lost: 0 };
  readonly #parts: InterruptRemapParts;
  readonly #posted: PostedInterrupt;
  readonly #message = new InterruptMessage();

  constructor(parts: InterruptRemapParts) {
    this.#parts = parts;
    this.#posted = new PostedInterrupt(parts.memory);
  }

  msi(address: number, data: number, requester: Bdf, cause: CauseId): void {
    if (!this.active) {
      this.#parts.msi.msi(address, data, requester, cause);
      return;
    }
    if (!REMAPPABLE.remappable.on(address)) {
      if (this.#compatible()) this.#parts.msi.msi(address, data, requester, cause);
      else this.#block(FAULT.compatibleBlocked, 0, requester, false, cause);
      return;
    }
    const hasSubhandle = REMAPPABLE.subhandleValid.on(address);
    const handle = REMAPPABLE.handleLow.of(address) | (REMAPPABLE.handleHigh.of(address) << 15);
    const index = handle + (hasSubhandle ? data & 0xffff : 0);
    const reserved = hasSubhandle ? data & 0xffff_0000 : data;
    if (reserved !== 0) this.#block(FAULT.requestReserved, index, requester, false, cause);
    else this.#remap(index, requester, cause, true);
  }

  fromIoApic(low: number, high: number, requester: Bdf, cause: CauseId): number {
    if (!REMAPPABLE_RTE.remappable.on(high)) {
      if (this.#compatible()) return NOT_REMAPPED;
      this.#block(FAULT.compatibleBlocked, 0, requester, false, cause);
      return 0;
    }
    const index = REMAPPABLE_RTE.indexLow.of(high) | (REMAPPABLE_RTE.indexHigh.of(low) << 15);
    return this.#remap(index, requester, cause, false);
  }

  #compatible(): boolean {
    return this.compatible && !this.#parts.table.extended;
  }

  /** @param isMessage of a device, which is told of as such */
  #remap(index: number, requester: Bdf, cause: CauseId, isMessage: boolean): number {
    const { table, trace, bus } = this.#parts;
    const reason = table.find(index, requester);
    if (reason !== FAULT.none) return this.#block(reason, index, requester, table.faultsOff, cause);
    const { entry } = table;
    const [low, target] = [entry[0]!, entry[1]!];
    if (IRTE.posted.on(low)) return this.#post(index, requester, cause);
    const message = this.#message;
    const mode = IRTE.deliveryMode.of(low);
    const edgeOnly = mode !== DELIVERY.fixed && mode !== DELIVERY.lowest;
    message.vector = IRTE.vector.of(low);
    message.deliveryMode = mode;
    message.trigger = edgeOnly ? 0 : IRTE.trigger.of(low);
    message.level = 1;
    message.destinationMode = IRTE.destinationMode.of(low);
    message.redirectionHint = IRTE.redirectionHint.of(low);
    message.wide = table.extended;
    message.destination = table.extended ? target : (target >>> XAPIC_DESTINATION.shift) & 0xff;
    message.cause = cause;
    this.counts.remapped++;
    if (trace !== null) {
      if (isMessage) message.cause = trace.emit(EVENT.msi, requester, message.vector, mode, message.destination, cause);
      trace.emit(EVENT.irqRemap, requester, index, message.vector, message.destination, message.cause);
    }
    return bus.send(message);
  }

  #post(index: number, requester: Bdf, cause: CauseId): number {
    const { table, trace, bus } = this.#parts;
    const posted = this.#posted;
    const reason = posted.post(table.entry, table.extended);
    if (reason !== FAULT.none) return this.#block(reason, index, requester, table.faultsOff, cause);
    this.counts.posted++;
    const vector = IRTE.vector.of(table.entry[0]!);
    const id = trace?.emit(EVENT.irqPost, requester, index, vector, posted.notify ? 1 : 0, cause) ?? cause;
    if (!posted.notify) return 1;
    const message = this.#message;
    message.vector = posted.vector;
    message.deliveryMode = DELIVERY.fixed;
    message.trigger = 0;
    message.level = 1;
    message.destinationMode = message.redirectionHint = 0;
    message.wide = table.extended;
    message.destination = posted.destination;
    message.cause = trace?.emit(EVENT.msi, requester, message.vector, DELIVERY.fixed, message.destination, id) ?? id;
    return bus.send(message);
  }

  #block(reason: number, index: number, requester: Bdf, silent: boolean, cause: CauseId): number {
    const { faults, trace } = this.#parts;
    this.counts.blocked++;
    const id = trace?.emit(EVENT.iommuFault, requester, MSI_BASE, reason, 0, cause) ?? cause;
    if (silent) return 0;
    if (!faults.recordInterrupt(requester, reason, index & 0xffff, id)) this.counts.lost++;
    return 0;
  }
}
