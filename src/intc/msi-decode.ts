/**
 * Turns a bus master's write to 0xFEExxxxx into an interrupt message. Document: Intel SDM vol. 3A, section "Message Signalled Interrupts".
 *
 * Decisions: the delivery modes 3 and 6 are reserved and such a message is dropped; SMI, NMI, INIT and ExtINT are edge whatever the trigger bit says
 * ("INIT, NMI, SMI: … must be programmed to edge"); the destination mode bit counts also without the redirection hint, as in every chip set in use.
 * Not modelled: a destination of more than 8 bits (address bits 11:4 are ignored); interrupt remapping is a target of its own in front of this one.
 */
import type { Bdf, CauseId } from "../base/units.ts";
import { EVENT } from "../ports/events.ts";
import { DELIVERY, InterruptMessage, type MessageBus, type MsiTarget } from "../ports/message.ts";
import type { Trace } from "../sim/trace.ts";
import { MSI_ADDRESS, MSI_DATA } from "./msi-decode.regs.ts";

/** Holds no state. */
export class MsiDecode implements MsiTarget {
  readonly #bus: MessageBus;
  readonly #trace: Trace | null;
  readonly #message = new InterruptMessage();

  constructor(bus: MessageBus, trace: Trace | null = null) {
    this.#bus = bus;
    this.#trace = trace;
  }

  msi(address: number, data: number, requester: Bdf, cause: CauseId): void {
    const mode = MSI_DATA.deliveryMode.of(data);
    if (mode === DELIVERY.remoteRead || mode === DELIVERY.startup) return;
    const message = this.#message;
    const edgeOnly = mode !== DELIVERY.fixed && mode !== DELIVERY.lowest;
    message.vector = data & 0xff;
    message.deliveryMode = mode;
    message.trigger = edgeOnly ? 0 : MSI_DATA.trigger.of(data);
    message.level = message.trigger === 0 ? 1 : MSI_DATA.level.of(data);
    message.destinationMode = MSI_ADDRESS.destinationMode.of(address);
    message.destination = MSI_ADDRESS.destination.of(address);
    message.redirectionHint = MSI_ADDRESS.redirectionHint.of(address);
    message.wide = false;
    message.cause = cause;
    if (this.#trace !== null) {
      message.cause = this.#trace.emit(EVENT.msi, requester, message.vector, mode, message.destination, cause);
    }
    this.#bus.send(message);
  }
}
