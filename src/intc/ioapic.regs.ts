/**
 * Registers of the I/O APIC. Document: Intel 82093AA data sheet (290566), sections 3.1 and 3.2; version 0x20 and the EOI register: Intel I/O Controller Hub
 * 9 data sheet (316972), section "Advanced Programmable Interrupt Controller (APIC)".
 */
import { layout } from "../base/layout.ts";

/** Offsets in the page. */
export const IOAPIC_OFFSET = { IOREGSEL: 0x00, IOWIN: 0x10, EOI: 0x40 } as const;
/** Indices behind IOREGSEL. */
export const IOAPIC_INDEX = { ID: 0, VERSION: 1, ARBITRATION: 2, TABLE: 0x10 } as const;
export const IOAPIC_PINS = 24;
/** Maximum redirection entry 23, version 0x20. */
export const IOAPIC_VERSION = 0x0017_0020;

export const IOAPIC_ID = layout("IOAPICID", 32, { id: [27, 24] });
export const RTE = layout("RTE", 64, {
  vector: [7, 0],
  deliveryMode: [10, 8],
  destinationMode: 11,
  deliveryStatus: 12,
  polarity: 13,
  remoteIrr: 14,
  trigger: 15,
  mask: 16,
  extendedDestination: [55, 48],
  destination: [63, 56],
});
/** Writable bits of the two words of an entry. */
export const RTE_WRITABLE = [0x0001_afff, 0xffff_0000] as const;
