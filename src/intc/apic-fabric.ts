/**
 * What joins local APICs, I/O APICs and MSIs: finds the local APICs that a message addresses. Document: Intel SDM vol. 3A, chapter "Advanced Programmable
 * Interrupt Controller (APIC)", sections "Determining IPI Destination", "Broadcast/Self Delivery Mode", "Lowest Priority Delivery Mode", "Interrupt
 * Destination in x2APIC Mode" and "Message Address Register Format".
 *
 * Decisions:
 * - Lowest priority (delivery mode 1, or an MSI's redirection hint) goes to the addressed, software-enabled local APIC with the lowest processor priority
 *   (PPR); of equals, to the first at or after a rotating position in order of index, which then moves behind the one chosen. The position is state.
 * - An 8-bit destination 0xFF means everybody, whatever modes the receivers are in; a 32-bit one 0xFFFFFFFF likewise.
 * - A level-triggered message that de-asserts does nothing.
 * - With two local APICs of one id both get what is sent to it.
 */
import { assert } from "../base/assert.ts";
import type { CauseId, Vector } from "../base/units.ts";
import { DELIVERY, type EoiListener, type InterruptMessage, type MessageBus, SHORTHAND } from "../ports/message.ts";
import type { Part, ResetPhase } from "../ports/part.ts";
import type { ApicBus } from "./apic-bus.ts";
import type { LocalApic } from "./lapic.ts";

export type ApicFabricState = { rotor: number };

/** Ids below this are found by one look; every xAPIC id is. */
const DIRECT_IDS = 256;

export class ApicFabric implements MessageBus, ApicBus, Part {
  readonly name = "apic-fabric";
  readonly state: ApicFabricState = { rotor: 0 };
  readonly #members: LocalApic[] = [];
  readonly #listeners: EoiListener[] = [];
  /** Local APIC by physical id; derived. */
  readonly #direct: (LocalApic | null)[] = new Array<LocalApic | null>(DIRECT_IDS).fill(null);
  /** Some id is too large for the table, or not unique. */
  #indirect = false;
  #stale = true;

  /** Local APICs are attached in order of their index. */
  attach(lapic: LocalApic): void {
    assert(lapic.index === this.#members.length, `fabric: ${lapic.name} attached out of order`);
    this.#members.push(lapic);
    this.#stale = true;
  }

  /** Every I/O APIC. */
  attachEoiListener(listener: EoiListener): void {
    this.#listeners.push(listener);
  }

  reset(phase: ResetPhase): void {
    if (phase === "enter") this.state.rotor = 0;
    this.#stale = true;
  }

  restored(): void {
    this.#stale = true;
  }

  membersChanged(): void {
    this.#stale = true;
  }

  send(message: InterruptMessage): number {
    if (message.trigger === 1 && message.level === 0) return 0;
    if (message.redirectionHint === 1 || message.deliveryMode === DELIVERY.lowest) return this.#arbitrate(message);
    return message.destinationMode === 0 ? this.#sendPhysical(message) : this.#sendLogical(message);
  }

  sendIpi(from: number, shorthand: number, message: InterruptMessage): number {
    if (shorthand === SHORTHAND.none) return this.send(message);
    if (shorthand === SHORTHAND.self) return deliver(this.#members[from]!, message);
    const except = shorthand === SHORTHAND.others ? from : -1;
    if (message.deliveryMode === DELIVERY.lowest) return this.#arbitrate(message, except, true);
    return this.#sendAll(message, except);
  }

  broadcastEoi(vector: Vector, cause: CauseId): void {
    for (let i = 0; i < this.#listeners.length; i++) this.#listeners[i]!.endOfInterrupt(vector, cause);
  }

  #sendPhysical(message: InterruptMessage): number {
    const { destination } = message;
    if (this.#stale) this.#rebuild();
    if (isBroadcast(message)) return this.#sendAll(message, -1);
    if (!this.#indirect) {
      const lapic = destination < DIRECT_IDS ? this.#direct[destination]! : null;
      return lapic === null ? 0 : deliver(lapic, message);
    }
    let accepted = 0;
    for (let i = 0; i < this.#members.length; i++) {
      const lapic = this.#members[i]!;
      if (lapic.apicId === destination) accepted += deliver(lapic, message);
    }
    return accepted;
  }

  #sendLogical(message: InterruptMessage): number {
    let accepted = 0;
    for (let i = 0; i < this.#members.length; i++) {
      const lapic = this.#members[i]!;
      if (lapic.matchesLogical(message.destination, message.wide)) accepted += deliver(lapic, message);
    }
    return accepted;
  }

  #sendAll(message: InterruptMessage, except: number): number {
    let accepted = 0;
    for (let i = 0; i < this.#members.length; i++) if (i !== except) accepted += deliver(this.#members[i]!, message);
    return accepted;
  }

  /** Lowest priority: one of the addressed. */
  #arbitrate(message: InterruptMessage, except = -1, everybody = false): number {
    const count = this.#members.length;
    let best: LocalApic | null = null;
    let bestPriority = 256;
    for (let i = 0; i < count; i++) {
      const index = (this.state.rotor + i) % count;
      const lapic = this.#members[index]!;
      if (index === except || !lapic.globallyEnabled || !lapic.softwareEnabled) continue;
      if (!everybody && !addresses(message, lapic)) continue;
      const priority = lapic.arbitrationPriority;
      if (priority < bestPriority) {
        best = lapic;
        bestPriority = priority;
      }
    }
    if (best === null) return 0;
    this.state.rotor = (best.index + 1) % count;
    return deliver(best, message);
  }

  #rebuild(): void {
    this.#stale = false;
    this.#direct.fill(null);
    this.#indirect = false;
    for (const lapic of this.#members) {
      if (!lapic.globallyEnabled) continue;
      const id = lapic.apicId;
      if (id >= DIRECT_IDS || this.#direct[id] !== null) this.#indirect = true;
      else this.#direct[id] = lapic;
    }
  }
}

const isBroadcast = (message: InterruptMessage): boolean => message.destination === (message.wide ? 0xffff_ffff : 0xff);

function addresses(message: InterruptMessage, lapic: LocalApic): boolean {
  if (message.destinationMode === 1) return lapic.matchesLogical(message.destination, message.wide);
  return isBroadcast(message) || lapic.apicId === message.destination;
}

/** Hands the message to one local APIC: 1 when it accepts. A globally disabled one is not on the bus. */
function deliver(lapic: LocalApic, message: InterruptMessage): number {
  if (!lapic.globallyEnabled) return 0;
  return lapic.receive(message.deliveryMode, message.vector, message.trigger === 1, message.cause) ? 1 : 0;
}
