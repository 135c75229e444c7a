/**
 * The registers of host bridge and ISA bridge that this board has. Intel 3 Series Express Chipset Family data sheet (316966), chapter 5: PCIEXBAR; Intel ICH9
 * data sheet (316972), chapter 13: LPC interface bridge.
 */
import { layout } from "../base/layout.ts";

/** 82G33 and its ICH9. */
export const HOST_BRIDGE_ID = 0x29c0;
export const ISA_BRIDGE_ID = 0x2918;
export const INTEL = 0x8086;

/** PCI Express register range base address: 64 bits at 0x60. */
export const PCIEXBAR = 0x60;
export const PCIEXBAR_FIELDS = layout("PCIEXBAR", 32, { enable: 0, length: [2, 1], base: [31, 28] });

/** Registers of the LPC bridge. */
export const LPC = { pmBase: 0x40, acpiControl: 0x44, pirqA: 0x60, serialIrq: 0x64, pirqE: 0x68 } as const;
export const LPC_ACPI_CONTROL = layout("ACPI_CNTL", 8, { sciSelect: [2, 0], enable: 7 });
/** PIRQx_ROUT: which ISA interrupt the PIRQ is, unless the disable bit is set. */
export const PIRQ_ROUTE = layout("PIRQ_ROUT", 8, { irq: [3, 0], disable: 7 });
export const PIRQ_RESET = 0x80;
export const PIRQ_COUNT = 8;
/** Offset of the route register of PIRQ A to H. */
export const PIRQ_REGISTERS: readonly number[] = Array.from({ length: PIRQ_COUNT }, (_, i) =>
  i < 4 ? LPC.pirqA + i : LPC.pirqE + i - 4,
);
/** ISA interrupts that a PIRQ can be; the others are reserved. */
export const PIRQ_IRQS: readonly number[] = [3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15];
