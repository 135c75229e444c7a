/**
 * The static ACPI tables (ACPI 6.5, 5.2 "ACPI System Description Tables"; HPET: IA-PC HPET Specification 1.0a, 3.2.4), each as bytes with its checksum.
 */
import { ACPI_DISABLE, ACPI_ENABLE, PM } from "../../devices/acpi-pm.regs.ts";
import { RTC } from "../../devices/rtc.regs.ts";
import type { PhysAddr } from "../../base/units.ts";
import type { BoardFacts, HpetFacts } from "../board-facts.ts";
import { TableWriter } from "../table-writer.ts";

const OEM = "IRETQ ";
const OEM_TABLE = "IRETQPC ";
const CREATOR = "IRTQ";
const CHECKSUM_AT = 9;
const LENGTH_AT = 4;

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The byte that makes the sum of all 0. */
export const checksum = (bytes: Uint8Array): number => -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;

/** A table: the common header (5.2.6) and its body. */
export function table(signature: string, revision: number, body: (out: TableWriter) => void): Uint8Array {
  const out = new TableWriter().bytes(ascii(signature)).u32(0).u8(revision, 0);
  out.bytes(ascii(OEM)).bytes(ascii(OEM_TABLE)).u32(1).bytes(ascii(CREATOR)).u32(1);
  body(out);
  const bytes = out.patch32(LENGTH_AT, out.length).done();
  bytes[CHECKSUM_AT] = checksum(bytes);
  return bytes;
}

/** Root system description pointer, revision 2, 36 bytes (5.2.5.3); without an RSDT. */
export function rsdp(xsdt: PhysAddr): Uint8Array {
  const bytes = new TableWriter()
    .bytes(ascii("RSD PTR "))
    .u8(0)
    .bytes(ascii(OEM))
    .u8(2)
    .u32(0, 36)
    .u64(xsdt)
    .u32(0)
    .done();
  bytes[8] = checksum(bytes.subarray(0, 20));
  bytes[32] = checksum(bytes);
  return bytes;
}

/** 5.2.8. */
export function xsdt(tables: readonly PhysAddr[]): Uint8Array {
  return table("XSDT", 1, out => out.u64(...tables));
}

/** Firmware ACPI control structure, version 2 (5.2.10): memory that firmware and operating system share. It has no checksum. */
export function facs(): Uint8Array {
  return new TableWriter()
    .bytes(ascii("FACS"))
    .u32(64)
    .bytes(new Uint8Array(24))
    .u8(2)
    .bytes(new Uint8Array(31))
    .done();
}

/** Generic address structure (5.2.3.2): I/O space, access size 1 byte, 2 words, 3 double words. */
type Register = { readonly port: number; readonly bytes: number; readonly access: number };
const gas = (out: TableWriter, { port, bytes, access }: Register): void => {
  out.u8(1, bytes * 8, 0, access).u64(port);
};
const NO_REGISTER = new Uint8Array(12);

/** Fixed feature flags (table 5.10): WBINVD works, C1 on all processors, no fixed sleep button, reset register. */
const FADT_FLAGS = (1 << 0) | (1 << 2) | (1 << 5) | (1 << 10);
/** IA-PC boot flags (table 5.11): legacy devices, 8042, no VGA. */
const BOOT_FLAGS = (1 << 0) | (1 << 1) | (1 << 2);
/** Full reset through the reset control register. */
const RESET_VALUE = 0x06;
/** Latencies that say: no C2, no C3. */
const NO_C2 = 0x0fff;
const GPE_BLOCK_BYTES = 16;

/** Fixed ACPI description table, revision 6.5 (5.2.9). */
export function fadt(board: BoardFacts, dsdtAt: PhysAddr, facsAt: PhysAddr): Uint8Array {
  const { pmBase, sci, smiCommand, resetPort } = board;
  const event = { port: pmBase + PM.status, bytes: 4, access: 2 };
  const control = { port: pmBase + PM.control, bytes: 2, access: 2 };
  const timer = board.pmTimer ? { port: pmBase + PM.timer, bytes: 4, access: 3 } : null;
  const gpe = { port: pmBase + PM.gpe, bytes: GPE_BLOCK_BYTES, access: 1 };
  return table("FACP", 6, out => {
    out.u32(facsAt, dsdtAt).u8(0, 0).u16(sci);
    out.u32(smiCommand).u8(ACPI_ENABLE, ACPI_DISABLE, 0, 0);
    out.u32(event.port, 0, control.port, 0, 0, timer?.port ?? 0, gpe.port, 0);
    out.u8(event.bytes, control.bytes, 0, timer?.bytes ?? 0, gpe.bytes, 0, 0, 0);
    out.u16(NO_C2, NO_C2, 0, 0).u8(0, 0, 0, 0, RTC.century);
    out.u16(BOOT_FLAGS).u8(0).u32(FADT_FLAGS);
    gas(out, { port: resetPort, bytes: 1, access: 1 });
    out.u8(RESET_VALUE).u16(0).u8(5);
    out.u64(0, dsdtAt);
    gas(out, event);
    out.bytes(NO_REGISTER);
    gas(out, control);
    out.bytes(NO_REGISTER).bytes(NO_REGISTER);
    if (timer === null) out.bytes(NO_REGISTER);
    else gas(out, timer);
    gas(out, gpe);
    out.bytes(NO_REGISTER).bytes(NO_REGISTER).bytes(NO_REGISTER).u64(0);
  });
}

/** MPS INTI flags (table 5.26): level-triggered, active high; 0: as the bus does. */
const LEVEL_HIGH = 0x000d;
const ALL_PROCESSORS = 0xff;
/** Ids from here on need an entry of the x2APIC kind (5.2.12.12). */
const FIRST_X2APIC_ID = 255;

/** Multiple APIC description table (5.2.12). */
export function madt(board: BoardFacts): Uint8Array {
  return table("APIC", 5, out => {
    // PCAT_COMPAT: there is an 8259 pair as well.
    out.u32(board.lapicBase, 1);
    board.apicIds.forEach((id, n) => {
      if (id < FIRST_X2APIC_ID) out.u8(0, 8, n, id).u32(1);
      else out.u8(9, 16).u16(0).u32(id, 1, n);
    });
    out.u8(1, 12, board.ioapicId, 0).u32(board.ioapicBase, 0);
    for (const { irq, input, level } of board.overrides)
      out
        .u8(2, 10, 0, irq)
        .u32(input)
        .u16(level ? LEVEL_HIGH : 0);
    // NMI on LINT1 of every processor.
    out.u8(4, 6, ALL_PROCESSORS).u16(0).u8(1);
  });
}

/** The least periodic interval, in ticks, that does not lose interrupts. */
const HPET_MIN_TICK = 100;

/** HPET description table. */
export function hpet({ base, id }: HpetFacts): Uint8Array {
  return table("HPET", 1, out => {
    out.u32(id);
    // In memory space, 64 bits wide.
    out.u8(0, 64, 0, 0).u64(base);
    out.u8(0).u16(HPET_MIN_TICK).u8(0);
  });
}

/** Memory-mapped configuration space, for segment 0 (PCI Firmware Specification 3.0, 4.1.2). */
export function mcfg({ pci }: BoardFacts): Uint8Array {
  return table("MCFG", 1, out => out.u32(0, 0).u64(pci.ecamBase).u16(0).u8(0, pci.lastBus).u32(0));
}
