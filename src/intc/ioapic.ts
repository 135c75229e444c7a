/**
 * The I/O APIC: 24 inputs, each with an entry that says which message it sends. Documents: Intel 82093AA data sheet (290566); for version 0x20 and its EOI
 * register the Intel ICH9 data sheet (316972).
 *
 * Polarity. A `Line` says "asserted" or not; the pin has a voltage. The board says per pin whether the line rests high (`activeLow`), so the pin is high
 * when `asserted XOR activeLow`, and the entry's polarity bit decides which voltage is active. A guest that programs the wrong polarity sees an
 * inverted input, as on the real chip.
 *
 * Decisions where the sheet leaves room:
 * - An edge on a masked pin is lost ("ignored (i.e., not delivered or held pending)", 3.2.4 bit 16); a level is looked at again when it is unmasked.
 * - Changing polarity can make an inactive pin active; on an unmasked edge-triggered pin that is an edge.
 * - Remote IRR is set when at least one local APIC accepted the level-triggered message, cleared by the EOI of its vector, and by changing the entry to
 *   edge-triggered (Linux relies on it where there is no EOI register). If nobody accepted, delivery status reads "send pending" and the message is sent
 *   again at the next write to the entry, change of the line or EOI.
 * - An accepted level interrupt is sent again right after its EOI while the line stays active. Several pins are served in ascending order.
 * - SMI, NMI, INIT and ExtINT are edge-triggered whatever the trigger bit says; the reserved delivery modes 3 and 6 send nothing.
 * - The extended destination id (bits 55:48, ICH9) is kept and not sent.
 * - With interrupt remapping on, what an entry sends is the remapping unit's to say; the entry's own trigger mode and vector stay those of remote IRR and EOI.
 * Not modelled: the serial APIC bus and its arbitration; the arbitration id only follows the id.
 */
import { ModelBug } from "../base/assert.ts";
import type { Bdf, CauseId, Vector } from "../base/units.ts";
import { EVENT } from "../ports/events.ts";
import { type InterruptRemapping, NOT_REMAPPED } from "../ports/interrupt-remap.ts";
import type { LineSink } from "../ports/line.ts";
import { DELIVERY, type EoiListener, InterruptMessage, type MessageBus } from "../ports/message.ts";
import type { Part, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { Trace } from "../sim/trace.ts";
import {
  IOAPIC_ID,
  IOAPIC_INDEX,
  IOAPIC_OFFSET,
  IOAPIC_PINS,
  IOAPIC_VERSION,
  RTE,
  RTE_WRITABLE,
} from "./ioapic.regs.ts";

export type IoApicOptions = {
  readonly name?: string;
  readonly bus: MessageBus;
  readonly trace?: Trace | null;
  /** Bit n: the line of pin n rests at the high voltage, i.e. is active-low. 0 by default. */
  readonly activeLow?: number;
  /** Interrupt remapping on the way to the bus, and as whom this I/O APIC sends there. */
  readonly remapping?: { readonly unit: InterruptRemapping; readonly requester: Bdf } | null;
};

export type IoApicState = {
  id: number;
  arbitration: number;
  select: number;
  /** Levels of the lines as their drivers mean them, a bit each. */
  asserted: number;
  /** The two words of each entry. */
  low: Uint32Array;
  high: Uint32Array;
};

const MASKED = RTE.mask.mask;
const REMOTE_IRR = RTE.remoteIrr.mask;
const LEVEL = RTE.trigger.mask;
const PENDING = RTE.deliveryStatus.mask;

export class IoApic implements Part, LineSink, EoiListener, Window {
  readonly name: string;
  readonly size = 4096;
  readonly minWidth = 4;
  readonly maxWidth = 4;
  readonly narrowWrites = "merge";
  readonly state: IoApicState = {
    id: 0,
    arbitration: 0,
    select: 0,
    asserted: 0,
    low: new Uint32Array(IOAPIC_PINS).fill(MASKED),
    high: new Uint32Array(IOAPIC_PINS),
  };
  readonly #bus: MessageBus;
  readonly #trace: Trace | null;
  readonly #activeLow: number;
  readonly #remapping: InterruptRemapping | null;
  readonly #requester: Bdf;
  readonly #message = new InterruptMessage();
  /** Why each pin was last asserted; observation only. */
  readonly #causes = new Float64Array(IOAPIC_PINS);

  constructor(options: IoApicOptions) {
    this.name = options.name ?? "ioapic";
    this.#bus = options.bus;
    this.#trace = options.trace ?? null;
    this.#activeLow = options.activeLow ?? 0;
    this.#remapping = options.remapping?.unit ?? null;
    this.#requester = options.remapping?.requester ?? 0;
  }

  /** The lines keep their levels, which belong to the wires. */
  reset(phase: ResetPhase): void {
    if (phase !== "enter") return;
    const s = this.state;
    s.id = s.arbitration = s.select = 0;
    s.low.fill(MASKED);
    s.high.fill(0);
  }

  lineChanged(pin: number, level: boolean, cause: CauseId): void {
    if (pin < 0 || pin >= IOAPIC_PINS) throw new ModelBug(`${this.name}: there is no pin ${pin}`);
    const was = this.#active(pin);
    if (level) this.state.asserted |= 1 << pin;
    else this.state.asserted &= ~(1 << pin);
    this.#inputChanged(pin, was, cause);
  }

  lineRestored(pin: number, level: boolean): void {
    if (level) this.state.asserted |= 1 << pin;
    else this.state.asserted &= ~(1 << pin);
  }

  /** EOI broadcast, or a write to the EOI register. */
  endOfInterrupt(vector: Vector, cause: CauseId): void {
    const { low } = this.state;
    const wanted = vector | LEVEL;
    for (let pin = 0; pin < IOAPIC_PINS; pin++) {
      const entry = low[pin]!;
      if ((entry & (LEVEL | 0xff)) !== wanted) continue;
      if ((entry & (REMOTE_IRR | PENDING)) === 0) continue;
      low[pin] = entry & ~REMOTE_IRR;
      if (this.#trace !== null) {
        const again = this.#active(pin) && (entry & MASKED) === 0;
        this.#trace.emit(EVENT.ioapicEoi, pin, vector, again ? 1 : 0, 0, cause);
      }
      this.#serviceLevel(pin);
    }
  }

  read(offset: number): number {
    const s = this.state;
    if (offset === IOAPIC_OFFSET.IOREGSEL) return s.select;
    if (offset !== IOAPIC_OFFSET.IOWIN) return 0;
    if (s.select === IOAPIC_INDEX.ID) return IOAPIC_ID.id.put(0, s.id);
    if (s.select === IOAPIC_INDEX.VERSION) return IOAPIC_VERSION;
    if (s.select === IOAPIC_INDEX.ARBITRATION) return IOAPIC_ID.id.put(0, s.arbitration);
    const pin = (s.select - IOAPIC_INDEX.TABLE) >> 1;
    if (pin < 0 || pin >= IOAPIC_PINS) return 0;
    return (s.select & 1) === 0 ? s.low[pin]! : s.high[pin]!;
  }

  write(offset: number, _width: number, value: number): void {
    const s = this.state;
    if (offset === IOAPIC_OFFSET.IOREGSEL) s.select = value & 0xff;
    else if (offset === IOAPIC_OFFSET.EOI) this.endOfInterrupt(value & 0xff, 0);
    else if (offset === IOAPIC_OFFSET.IOWIN) this.#writeSelected(value);
  }

  describe(offset: number): string {
    if (offset === IOAPIC_OFFSET.IOREGSEL) return "IOREGSEL";
    if (offset === IOAPIC_OFFSET.EOI) return "EOI";
    if (offset !== IOAPIC_OFFSET.IOWIN) return "reserved";
    const { select } = this.state;
    const pin = (select - IOAPIC_INDEX.TABLE) >> 1;
    if (pin >= 0 && pin < IOAPIC_PINS) return `RTE${pin}${(select & 1) === 0 ? "" : " high"}`;
    return ["IOAPICID", "IOAPICVER", "IOAPICARB"][select] ?? "reserved";
  }

  #writeSelected(value: number): void {
    const s = this.state;
    if (s.select === IOAPIC_INDEX.ID) s.id = s.arbitration = IOAPIC_ID.id.of(value);
    const pin = (s.select - IOAPIC_INDEX.TABLE) >> 1;
    if (pin < 0 || pin >= IOAPIC_PINS) return;
    if ((s.select & 1) === 1) s.high[pin] = value & RTE_WRITABLE[1];
    else {
      const was = this.#active(pin);
      const kept = s.low[pin]! & (REMOTE_IRR | PENDING);
      s.low[pin] = (value & RTE_WRITABLE[0]) | (isLevel(value) ? kept : 0);
      this.#inputChanged(pin, was, this.#causes[pin]!);
      return;
    }
    this.#serviceLevel(pin);
  }

  /** The pin's voltage is the one that its entry calls active. */
  #active(pin: number): boolean {
    const voltage = (this.state.asserted ^ this.#activeLow) >>> pin;
    return ((voltage ^ (this.state.low[pin]! >>> RTE.polarity.shift)) & 1) !== 0;
  }

  /** The line, the polarity or the trigger mode of a pin changed; `was`: it was active before. */
  #inputChanged(pin: number, was: boolean, cause: CauseId): void {
    const entry = this.state.low[pin]!;
    const rises = !was && this.#active(pin);
    if (rises) this.#causes[pin] = cause;
    if (isLevel(entry)) this.#serviceLevel(pin);
    else if (rises && (entry & MASKED) === 0) this.#send(pin, 0, cause);
  }

  /** A level-triggered pin sends while it is active, unmasked, and its last message has had its EOI. */
  #serviceLevel(pin: number): void {
    const { low } = this.state;
    const entry = low[pin]! & ~PENDING;
    if (!isLevel(entry) || (entry & REMOTE_IRR) !== 0) return;
    low[pin] = entry;
    if ((entry & MASKED) !== 0 || !this.#active(pin)) return;
    const accepted = this.#send(pin, 1, this.#causes[pin]!);
    low[pin]! |= accepted > 0 ? REMOTE_IRR : PENDING;
  }

  #send(pin: number, trigger: number, cause: CauseId): number {
    const entry = this.state.low[pin]!;
    const mode = RTE.deliveryMode.of(entry);
    if (mode === DELIVERY.remoteRead || mode === DELIVERY.startup) return 0;
    const message = this.#message;
    message.vector = entry & 0xff;
    message.deliveryMode = mode;
    message.trigger = trigger;
    message.level = 1;
    message.destinationMode = RTE.destinationMode.of(entry);
    message.destination = RTE.destination.of(this.state.high[pin]!);
    message.cause = cause;
    if (this.#trace !== null) {
      message.cause = this.#trace.emit(EVENT.ioapicSend, pin, message.vector, mode, message.destination, cause);
    }
    if (this.#remapping?.active === true) {
      const accepted = this.#remapping.fromIoApic(entry, this.state.high[pin]!, this.#requester, message.cause);
      if (accepted !== NOT_REMAPPED) return accepted;
    }
    return this.#bus.send(message);
  }
}

/** Level-triggered: only fixed and lowest-priority interrupts can be. */
function isLevel(entry: number): boolean {
  const mode = RTE.deliveryMode.of(entry);
  return (entry & LEVEL) !== 0 && (mode === DELIVERY.fixed || mode === DELIVERY.lowest);
}
