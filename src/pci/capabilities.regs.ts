/**
 * Capabilities. Power management: PCI Bus Power Management Interface Specification 1.2, chapter 3. MSI and MSI-X: PCI Local Bus Specification 3.0, 6.8.1 and
 * 6.8.2. PCI Express: PCI Express Base Specification 3.0, 7.8.
 */
import { layout } from "../base/layout.ts";

// --- power management ---------------------------------------------------------------------------------------------------------------------------------

export const POWER_BYTES = 8;
/** Offsets in the capability. */
export const POWER = { capabilities: 2, control: 4 } as const;
export const POWER_CAPABILITIES = layout("PMC", 16, { version: [2, 0], d1: 9, d2: 10, pme: [15, 11] });
export const POWER_CONTROL = layout("PMCSR", 16, { state: [1, 0], noSoftReset: 3, pmeEnable: 8, pmeStatus: 15 });
export const D0 = 0;
export const D3HOT = 3;

// --- MSI ----------------------------------------------------------------------------------------------------------------------------------------------

export const MSI = { control: 2, address: 4, addressHigh: 8 } as const;
export const MSI_CONTROL = layout("MSI control", 16, {
  enable: 0,
  /** log2 of the vectors that the function can use, and of those that it was given. */
  capable: [3, 1],
  enabled: [6, 4],
  wide: 7,
  maskable: 8,
});
/** Offsets of data, mask and pending bits, and the length, for 32 and 64-bit addresses (6.8.1, figure 6-9). */
export const MSI_OFFSETS = {
  narrow: { data: 8, mask: 0x0c, pending: 0x10, bytes: 0x0a, maskableBytes: 0x14 },
  wide: { data: 0x0c, mask: 0x10, pending: 0x14, bytes: 0x0e, maskableBytes: 0x18 },
} as const;

// --- MSI-X --------------------------------------------------------------------------------------------------------------------------------------------

export const MSIX_BYTES = 12;
export const MSIX = { control: 2, table: 4, pending: 8 } as const;
export const MSIX_CONTROL = layout("MSI-X control", 16, { last: [10, 0], functionMask: 14, enable: 15 });
/** Table or PBA: offset and BAR. */
export const MSIX_PLACE = layout("MSI-X offset", 32, { bar: [2, 0], offset: [31, 3] });
export const MSIX_MAX_VECTORS = 2048;
/** Bytes of an entry, and its words. */
export const MSIX_ENTRY_BYTES = 16;
export const MSIX_ENTRY = { address: 0, addressHigh: 1, data: 2, control: 3 } as const;
export const MSIX_VECTOR_CONTROL = layout("MSI-X vector control", 32, { mask: 0 });

// --- PCI Express --------------------------------------------------------------------------------------------------------------------------------------

export const EXPRESS_BYTES = 0x3c;
export const EXPRESS = {
  capabilities: 0x02,
  deviceCapabilities: 0x04,
  deviceControl: 0x08,
  deviceStatus: 0x0a,
  linkCapabilities: 0x0c,
  linkControl: 0x10,
  linkStatus: 0x12,
  rootControl: 0x1c,
  rootStatus: 0x20,
  deviceCapabilities2: 0x24,
  deviceControl2: 0x28,
} as const;
export const EXPRESS_CAPABILITIES = layout("PCI Express capabilities", 16, { version: [3, 0], type: [7, 4], slot: 8 });
/** Device/port types (table 7-13). */
export const EXPRESS_TYPE = { endpoint: 0, rootPort: 4, integratedEndpoint: 9 } as const;
export const DEVICE_CAPABILITIES = layout("device capabilities", 32, {
  maxPayload: [2, 0],
  extendedTag: 5,
  roleBasedErrors: 15,
  functionReset: 28,
});
export const DEVICE_CONTROL = layout("device control", 16, {
  errors: [3, 0],
  relaxedOrdering: 4,
  maxPayload: [7, 5],
  extendedTag: 8,
  phantom: 9,
  auxPower: 10,
  noSnoop: 11,
  maxReadRequest: [14, 12],
  functionReset: 15,
});
/** Correctable, non-fatal, fatal error and unsupported request, cleared by writing 1. */
export const DEVICE_STATUS_CLEARS = 0x000f;
export const LINK_CAPABILITIES = layout("link capabilities", 32, { speed: [3, 0], width: [9, 4], port: [31, 24] });
export const LINK_STATUS = layout("link status", 16, { speed: [3, 0], width: [9, 4] });
/** ASPM control, read completion boundary, common clock, extended synch. */
export const LINK_CONTROL_WRITABLE = 0x00cb;
/** SERR on errors (3 bits) and PME interrupt. */
export const ROOT_CONTROL_WRITABLE = 0x000f;
/** Completion timeout value and its disable bit. */
export const DEVICE_CONTROL2_WRITABLE = 0x001f;
