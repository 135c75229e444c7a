/**
 * An interrupt of the unit itself: fault event or invalidation event, with its mask and pending bits. VT-d specification 7.3 "Fault Reporting" and 11.4.9 to
 * 11.4.12 (FECTL, FEDATA, FEADDR, FEUADDR; IECTL and so on are the same).
 *
 * The unit's own messages are not remapped. The upper address
 * register holds bits 31:8 of an x2APIC destination.
 */
import type { CauseId } from "../base/units.ts";
import { DELIVERY, InterruptMessage, type MessageBus } from "../ports/message.ts";
import { EVENT_CONTROL } from "./vtd.regs.ts";

export type EventMessageState = { control: number; data: number; address: number; upper: number };

const fresh = (): EventMessageState => ({ control: EVENT_CONTROL.masked.mask, data: 0, address: 0, upper: 0 });

/** Offsets from the control register. */
const CONTROL = 0;
const DATA = 4;
const ADDRESS = 8;
const UPPER = 12;

export class EventMessage {
  readonly state = fresh();
  /** Destinations have 32 bits. */
  extended = false;
  readonly #bus: MessageBus;
  readonly #message = new InterruptMessage();

  constructor(bus: MessageBus) {
    this.#bus = bus;
  }

  reset(): void {
    Object.assign(this.state, fresh());
  }

  /** The condition has come up: sent at once, or pending while masked. */
  raise(cause: CauseId): void {
    const s = this.state;
    s.control = EVENT_CONTROL.pending.put(s.control, 1);
    if (!EVENT_CONTROL.masked.on(s.control)) this.#send(cause);
  }

  /** Software has dealt with the condition. */
  withdraw(): void {
    this.state.control = EVENT_CONTROL.pending.put(this.state.control, 0);
  }

  read(offset: number): number {
    const s = this.state;
    if (offset === CONTROL) return s.control;
    return offset === DATA ? s.data : offset === ADDRESS ? s.address : s.upper;
  }

  write(offset: number, value: number): void {
    const s = this.state;
    if (offset === DATA) s.data = value & 0xffff;
    else if (offset === ADDRESS) s.address = (value & ~3) >>> 0;
    else if (offset === UPPER) s.upper = value;
    else {
      s.control = EVENT_CONTROL.masked.put(s.control, EVENT_CONTROL.masked.of(value));
      if (EVENT_CONTROL.pending.on(s.control) && !EVENT_CONTROL.masked.on(s.control)) this.#send(0);
    }
  }

  /** The formats of SDM vol. 3A, "Message Signalled Interrupts". */
  #send(cause: CauseId): void {
    const { data, address, upper } = this.state;
    this.withdraw();
    const mode = (data >>> 8) & 7;
    if (address >>> 20 !== 0xfee || mode === DELIVERY.remoteRead || mode === DELIVERY.startup) return;
    const message = this.#message;
    message.vector = data & 0xff;
    message.deliveryMode = mode;
    message.trigger = 0;
    message.level = 1;
    message.destination = (((address >>> 12) & 0xff) | (this.extended ? upper & 0xffff_ff00 : 0)) >>> 0;
    message.destinationMode = (address >>> 2) & 1;
    message.redirectionHint = (address >>> 3) & 1;
    message.wide = this.extended;
    message.cause = cause;
    this.#bus.send(message);
  }
}
