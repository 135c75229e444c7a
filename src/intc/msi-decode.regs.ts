/**
 * Layout of a message-signalled interrupt on the bus. Document: Intel SDM vol. 3A, chapter "Advanced Programmable Interrupt Controller (APIC)", section
 * "Message Signalled Interrupts", figures "Layout of the MSI Message Address Register" and "Layout of the MSI Message Data Register".
 */
import { layout } from "../base/layout.ts";

export const MSI_ADDRESS = layout("MSI address", 32, {
  destinationMode: 2,
  redirectionHint: 3,
  destination: [19, 12],
  base: [31, 20],
});
export const MSI_DATA = layout("MSI data", 32, { vector: [7, 0], deliveryMode: [10, 8], level: 14, trigger: 15 });
/** Value of the address's bits 31:20. */
export const MSI_BASE = 0xfee;
