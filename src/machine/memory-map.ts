/**
 * Where everything lies in physical memory and port space, as data. The firmware's tables are derived from these facts.
 */
import { HostError } from "../base/assert.ts";
import { GIB, KIB, MIB, PAGE } from "../base/units.ts";

/** RAM below this lies at its own address, RAM above it at 4 GiB: the hole holds PCI (see pci-map.ts) and the devices. */
export const LOW_RAM_LIMIT = 2816 * MIB;
export const HIGH_RAM_BASE = 4 * GIB;
/** Video memory and option ROMs of a display card, which this PC has not: an open bus. */
export const VIDEO_HOLE = { base: 0xa0000, size: 128 * KIB } as const;

/** Where every processor has its local APIC after a reset. */
export const LAPIC_BASE = 0xfee00000;
export const IOAPIC_BASE = 0xfec00000;
export const HPET_BASE = 0xfed00000;
export const TESTDEV_BASE = 0xff000000;

export const MIN_RAM = 2 * MIB;
/** A 32-bit WebAssembly memory ends at 4 GiB, and the engine needs room in it, too. */
export const MAX_RAM = 3.5 * GIB;

/** First port of each part. */
export const PORT = {
  dmaLow: 0x00,
  picMaster: 0x20,
  pit: 0x40,
  keyboardData: 0x60,
  systemControl: 0x61,
  keyboardCommand: 0x64,
  rtc: 0x70,
  postCode: 0x80,
  dmaPages: 0x80,
  fastA20: 0x92,
  picSlave: 0xa0,
  dmaHigh: 0xc0,
  testWord: 0xe0,
  testFlush: 0xe4,
  testBytes: 0xe8,
  debugConsole: 0xe9,
  exit: 0xf4,
  soundBlaster: 0x220,
  floppy: 0x3f0,
  com1: 0x3f8,
  elcr: 0x4d0,
  fwCfg: 0x510,
  fwCfgDma: 0x514,
  acpi: 0x600,
  pciConfig: 0xcf8,
  /** Lies under CONFIG_ADDRESS of PCI. */
  resetControl: 0xcf9,
  smiCommand: 0xb2,
  testIrq: 0x2000,
} as const;

/** Channels of ISA DMA. */
export const DMA_CHANNEL = { floppy: 2 } as const;

/** Bytes of RAM below and above the hole. Throws {@link HostError} for sizes that this PC cannot have. */
export function splitRam(bytes: number): { low: number; high: number } {
  if (bytes < MIN_RAM || bytes % PAGE !== 0) {
    throw new HostError(`memory of ${bytes} bytes: give at least ${MIN_RAM / MIB}M and whole pages`, 64);
  }
  if (bytes > MAX_RAM)
    throw new HostError(`memory of ${bytes / MIB}M: at most ${MAX_RAM / MIB}M fit into WebAssembly`, 64);
  const low = Math.min(bytes, LOW_RAM_LIMIT);
  return { low, high: bytes - low };
}
