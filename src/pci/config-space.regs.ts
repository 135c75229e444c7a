/**
 * Configuration headers. PCI Local Bus Specification 3.0, chapter 6 (figures 6-1 to 6-3, tables 6-1 and 6-2); type 1 header: PCI-to-PCI Bridge Architecture
 * Specification 1.2, chapter 3; the bits that differ on PCI Express: PCI Express Base Specification 3.0, 7.5.
 */
import { layout } from "../base/layout.ts";

/** Bytes of a conventional function's configuration space, and of an express function's. */
export const CONFIG_BYTES = 256;
export const EXTENDED_CONFIG_BYTES = 4096;

/** Offsets of the fields that both headers have. */
export const CONFIG = {
  vendor: 0x00,
  device: 0x02,
  command: 0x04,
  status: 0x06,
  revision: 0x08,
  classCode: 0x09,
  cacheLine: 0x0c,
  latency: 0x0d,
  headerType: 0x0e,
  bist: 0x0f,
  bar: 0x10,
  subsystemVendor: 0x2c,
  subsystem: 0x2e,
  capabilities: 0x34,
  interruptLine: 0x3c,
  interruptPin: 0x3d,
  /** First byte behind the header. */
  end: 0x40,
  extended: 0x100,
} as const;

/** Offsets of a type 1 header. */
export const BRIDGE = {
  primary: 0x18,
  secondary: 0x19,
  subordinate: 0x1a,
  ioBase: 0x1c,
  ioLimit: 0x1d,
  secondaryStatus: 0x1e,
  memoryBase: 0x20,
  memoryLimit: 0x22,
  prefetchBase: 0x24,
  prefetchLimit: 0x26,
  prefetchBaseHigh: 0x28,
  prefetchLimitHigh: 0x2c,
  control: 0x3e,
} as const;

export const COMMAND = layout("command", 16, {
  io: 0,
  memory: 1,
  busMaster: 2,
  specialCycles: 3,
  memoryWriteInvalidate: 4,
  vgaSnoop: 5,
  parityResponse: 6,
  serr: 8,
  fastBackToBack: 9,
  interruptDisable: 10,
});
export const STATUS = layout("status", 16, {
  interrupt: 3,
  capabilities: 4,
  mhz66: 5,
  fastBackToBack: 7,
  masterDataParity: 8,
  devsel: [10, 9],
  signaledTargetAbort: 11,
  receivedTargetAbort: 12,
  receivedMasterAbort: 13,
  signaledSystemError: 14,
  detectedParity: 15,
});
export const HEADER_TYPE = layout("header type", 8, { layout: [6, 0], multifunction: 7 });
/** Bridge control (PCI-to-PCI Bridge 1.2, 3.2.5.18). */
export const BRIDGE_CONTROL = layout("bridge control", 16, { parityResponse: 0, serr: 1, secondaryReset: 6 });

/** Low bits of a BAR (PCI 3.0, 6.2.5.1). */
export const BAR_IO = layout("I/O BAR", 32, { io: 0, base: [31, 2] });
export const BAR_MEMORY = layout("memory BAR", 32, { io: 0, type: [2, 1], prefetchable: 3, base: [31, 4] });
/** Values of the type field. */
export const BAR_TYPE = { bits32: 0, bits64: 2 } as const;

/** Capability ids (PCI Code and ID Assignment). */
export const CAPABILITY = { power: 0x01, msi: 0x05, subsystem: 0x0d, express: 0x10, msix: 0x11 } as const;
/** Header of a capability in extended configuration space (PCIe 7.9.1). */
export const EXTENDED_CAPABILITY = layout("extended capability", 32, {
  id: [15, 0],
  version: [19, 16],
  next: [31, 20],
});

/** One field of a configuration space: what it holds after a reset and what writes do to it. */
export type ConfigField = {
  readonly name: string;
  readonly offset: number;
  /** Bytes, 1 to 4. */
  readonly size: number;
  readonly value?: number;
  /** Bits that take what is written. */
  readonly writable?: number;
  /** Bits that a written 1 clears. */
  readonly clears?: number;
};

/** What software may write of the command register: on PCI Express the other bits are wired to 0 (PCIe 7.5.1.1). */
const COMMAND_WRITABLE =
  COMMAND.io.mask |
  COMMAND.memory.mask |
  COMMAND.busMaster.mask |
  COMMAND.parityResponse.mask |
  COMMAND.serr.mask |
  COMMAND.interruptDisable.mask;
/** Bits 8 and 11 to 15 (PCI 3.0, table 6-2). */
const STATUS_CLEARS =
  STATUS.masterDataParity.mask |
  STATUS.signaledTargetAbort.mask |
  STATUS.receivedTargetAbort.mask |
  STATUS.receivedMasterAbort.mask |
  STATUS.signaledSystemError.mask |
  STATUS.detectedParity.mask;

const COMMON: readonly ConfigField[] = [
  { name: "vendor", offset: CONFIG.vendor, size: 2 },
  { name: "device", offset: CONFIG.device, size: 2 },
  { name: "command", offset: CONFIG.command, size: 2, writable: COMMAND_WRITABLE },
  { name: "status", offset: CONFIG.status, size: 2, clears: STATUS_CLEARS },
  { name: "revision", offset: CONFIG.revision, size: 1 },
  { name: "class", offset: CONFIG.classCode, size: 3 },
  { name: "cache line", offset: CONFIG.cacheLine, size: 1, writable: 0xff },
  { name: "latency", offset: CONFIG.latency, size: 1 },
  { name: "header type", offset: CONFIG.headerType, size: 1 },
  { name: "capabilities", offset: CONFIG.capabilities, size: 1 },
  { name: "interrupt line", offset: CONFIG.interruptLine, size: 1, writable: 0xff },
  { name: "interrupt pin", offset: CONFIG.interruptPin, size: 1 },
];

/** A device: BARs are added by whoever has them. */
export const TYPE0_FIELDS: readonly ConfigField[] = [
  ...COMMON,
  { name: "subsystem vendor", offset: CONFIG.subsystemVendor, size: 2 },
  { name: "subsystem", offset: CONFIG.subsystem, size: 2 },
];

/** A bridge with 16-bit I/O and 64-bit prefetchable addresses. */
export const TYPE1_FIELDS: readonly ConfigField[] = [
  ...COMMON,
  { name: "primary bus", offset: BRIDGE.primary, size: 1, writable: 0xff },
  { name: "secondary bus", offset: BRIDGE.secondary, size: 1, writable: 0xff },
  { name: "subordinate bus", offset: BRIDGE.subordinate, size: 1, writable: 0xff },
  { name: "I/O base", offset: BRIDGE.ioBase, size: 1, writable: 0xf0 },
  { name: "I/O limit", offset: BRIDGE.ioLimit, size: 1, writable: 0xf0 },
  { name: "secondary status", offset: BRIDGE.secondaryStatus, size: 2, clears: STATUS_CLEARS },
  { name: "memory base", offset: BRIDGE.memoryBase, size: 2, writable: 0xfff0 },
  { name: "memory limit", offset: BRIDGE.memoryLimit, size: 2, writable: 0xfff0 },
  { name: "prefetchable base", offset: BRIDGE.prefetchBase, size: 2, value: 1, writable: 0xfff0 },
  { name: "prefetchable limit", offset: BRIDGE.prefetchLimit, size: 2, value: 1, writable: 0xfff0 },
  { name: "prefetchable base high", offset: BRIDGE.prefetchBaseHigh, size: 4, writable: 0xffffffff },
  { name: "prefetchable limit high", offset: BRIDGE.prefetchLimitHigh, size: 4, writable: 0xffffffff },
  {
    name: "bridge control",
    offset: BRIDGE.control,
    size: 2,
    writable: BRIDGE_CONTROL.parityResponse.mask | BRIDGE_CONTROL.serr.mask | BRIDGE_CONTROL.secondaryReset.mask,
  },
];
