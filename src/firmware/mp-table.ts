/**
 * The tables of the MultiProcessor Specification 1.4 (Intel 242016-006), chapter 4: floating pointer and configuration table, for operating systems
 * without ACPI. Virtual-wire mode (no IMCR). PCI bus 0 and an ISA bus; pins behind bridges follow from bus 0. The I/O APIC input that hears the 8259 pair has no entry: firmware
 * leaves the pair on LINT0, and kernels complain where the table names an ExtINT that is not programmed.
 */
import type { PhysAddr } from "../base/units.ts";
import { checksum } from "./acpi/tables.ts";
import type { BoardFacts } from "./board-facts.ts";
import { TableWriter } from "./table-writer.ts";

const SPEC_REVISION = 4;
/** Entry types (table 4-3). */
const ENTRY = { processor: 0, bus: 1, ioapic: 2, ioInterrupt: 3, localInterrupt: 4 } as const;
/** Interrupt types (table 4-11). */
const INT = { vectored: 0, nmi: 1, extInt: 3 } as const;
const LAPIC_VERSION = 0x14;
const IOAPIC_VERSION = 0x20;
/** PCI buses have the numbers that PCI gives them; ISA's lies behind all that a board with root ports counts. */
const PCI_BUS = 0;
const ISA_BUS = 32;
const ALL_LAPICS = 0xff;
/** Polarity active high, trigger mode level (4.3.4, flags PO and EL). */
const LEVEL_HIGH = 0x000d;
const LENGTH_AT = 4;
const CHECKSUM_AT = 7;
const COUNT_AT = 34;
/** Ids of 255 and more have no place in this table. */
const LAST_ID = 254;

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Floating pointer structure (4.1), 16 bytes. */
export function mpFloatingPointer(table: PhysAddr): Uint8Array {
  const bytes = new TableWriter().bytes(ascii("_MP_")).u32(table).u8(1, SPEC_REVISION, 0, 0, 0, 0, 0, 0).done();
  bytes[10] = checksum(bytes);
  return bytes;
}

/** Configuration table (4.2, 4.3). */
export function mpTable(board: BoardFacts): Uint8Array {
  const out = new TableWriter().bytes(ascii("PCMP")).u16(0).u8(SPEC_REVISION, 0);
  out.bytes(ascii("IRETQ   ")).bytes(ascii("IRETQ PC    ")).u32(0).u16(0, 0).u32(board.lapicBase).u16(0).u8(0, 0);
  let count = 0;
  board.apicIds.forEach((id, n) => {
    if (id > LAST_ID) return;
    count++;
    // Enabled; the first one is the bootstrap processor.
    out.u8(ENTRY.processor, id, LAPIC_VERSION, n === 0 ? 3 : 1).u32(board.signature, board.features, 0, 0);
  });
  out.u8(ENTRY.bus, PCI_BUS).bytes(ascii("PCI   "));
  out.u8(ENTRY.bus, ISA_BUS).bytes(ascii("ISA   "));
  out.u8(ENTRY.ioapic, board.ioapicId, IOAPIC_VERSION, 1).u32(board.ioapicBase);
  count += 3;
  const interrupt = (kind: number, type: number, flags: number, irq: number, apic: number, input: number): void => {
    count++;
    out.u8(kind, type).u16(flags).u8(ISA_BUS, irq, apic, input);
  };
  const level = new Set(board.overrides.filter(o => o.level).map(o => o.irq));
  for (const [irq, input] of board.isaInputs) {
    interrupt(ENTRY.ioInterrupt, INT.vectored, level.has(irq) ? LEVEL_HIGH : 0, irq, board.ioapicId, input);
  }
  for (const { device, pin, gsi } of board.pci.routes) {
    // "Source bus IRQ" of PCI (D.3): device in bits 6:2, pin in 1:0.
    count++;
    out
      .u8(ENTRY.ioInterrupt, INT.vectored)
      .u16(0)
      .u8(PCI_BUS, (device << 2) | pin, board.ioapicId, gsi);
  }
  interrupt(ENTRY.localInterrupt, INT.extInt, 0, 0, ALL_LAPICS, 0);
  interrupt(ENTRY.localInterrupt, INT.nmi, 0, 0, ALL_LAPICS, 1);
  const bytes = out.done();
  const view = new DataView(bytes.buffer);
  view.setUint16(LENGTH_AT, bytes.length, true);
  view.setUint16(COUNT_AT, count, true);
  bytes[CHECKSUM_AT] = checksum(bytes);
  return bytes;
}
