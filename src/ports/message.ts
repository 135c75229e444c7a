/**
 * Interrupt messages: what travels between I/O APIC, MSI decode, interrupt remapping and local APICs. Intel SDM vol. 3A, chapter "Advanced Programmable
 * Interrupt Controller (APIC)", sections on the ICR and on the message address and data registers.
 *
 * A message object is lent for the duration of the call: a sender may own one and reuse it, so a receiver copies what it keeps.
 */
import type { Bdf, CauseId, Vector } from "../base/units.ts";

/** Delivery modes, with the 3-bit encoding that ICR, RTE, LVT and MSI data share. */
export const DELIVERY = { fixed: 0, lowest: 1, smi: 2, remoteRead: 3, nmi: 4, init: 5, startup: 6, extInt: 7 } as const;
export const DELIVERY_NAMES = ["fixed", "lowest", "SMI", "remote-read", "NMI", "INIT", "SIPI", "ExtINT"] as const;

/** Destination shorthands of the ICR. */
export const SHORTHAND = { none: 0, self: 1, all: 2, others: 3 } as const;

/** One interrupt message. Fields are numbers so that objects stay of one shape. */
export class InterruptMessage {
  vector: Vector = 0;
  /** One of {@link DELIVERY}. */
  deliveryMode = 0;
  /** 0 edge, 1 level. */
  trigger = 0;
  /** 1 assert, 0 de-assert (INIT level de-assert only). */
  level = 1;
  /** 0 physical, 1 logical. */
  destinationMode = 0;
  /** 8-bit (xAPIC, MSI) or 32-bit (x2APIC) destination. */
  destination = 0;
  /** Redirection hint of an MSI address: choose one of the addressed CPUs. */
  redirectionHint = 0;
  /** True when `destination` has 32 bits with x2APIC meaning. */
  wide = false;
  cause: CauseId = 0;
}

/** Where messages go: the bus between I/O APICs, MSIs and local APICs. */
export interface MessageBus {
  /** Delivers; returns the number of local APICs that accepted it (0: nobody was addressed). */
  send(message: InterruptMessage): number;
}

/** Where a bus master's write to 0xFEExxxxx goes: decode, perhaps remapping. */
export interface MsiTarget {
  /** @param address physical address (0xFEExxxxx) @param data 32-bit data @param requester who wrote */
  msi(address: number, data: number, requester: Bdf, cause: CauseId): void;
}

/** Hears EOI broadcasts of level-triggered interrupts: every I/O APIC. */
export interface EoiListener {
  endOfInterrupt(vector: Vector, cause: CauseId): void;
}
