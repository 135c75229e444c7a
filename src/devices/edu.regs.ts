/**
 * QEMU's educational PCI device. QEMU documentation, docs/specs/edu.rst: "PCI specs", "MMIO area spec", "DMA controller".
 */
import { layout } from "../base/layout.ts";
import { MIB } from "../base/units.ts";

export const EDU_VENDOR = 0x1234;
export const EDU_DEVICE = 0x11e8;
/** Region 0. */
export const EDU_BYTES = MIB;
/** 0xRRrr00ED: version 1.0. */
export const EDU_IDENTIFICATION = 0x010000ed;

/** Offsets of the registers. The DMA registers have 64 bits. */
export const EDU = {
  identification: 0x00,
  liveness: 0x04,
  factorial: 0x08,
  status: 0x20,
  interruptStatus: 0x24,
  interruptRaise: 0x60,
  interruptAcknowledge: 0x64,
  dmaSource: 0x80,
  dmaDestination: 0x88,
  dmaCount: 0x90,
  dmaCommand: 0x98,
} as const;

export const EDU_STATUS = layout("edu status", 32, { computing: 0, interruptAfter: 7 });
export const EDU_DMA = layout("edu DMA command", 32, { start: 0, toRam: 1, interruptAfter: 2 });
/** What the device itself puts into the interrupt status register: the factorial's bit as in QEMU's device, the DMA's as documented. */
export const EDU_INTERRUPT = { factorial: 0x001, dma: 0x100 } as const;

/** The device's buffer, as its DMA addresses it. */
export const EDU_BUFFER = { base: 0x40000, size: 4096 } as const;
/** "The device supports only 28 bits (256 MiB) by default." */
export const EDU_DMA_MASK = 2 ** 28 - 1;
