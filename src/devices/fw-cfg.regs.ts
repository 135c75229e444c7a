/**
 * QEMU firmware configuration device. QEMU documentation, docs/specs/fw_cfg.rst, "Guest-side Hardware Interface" and "Guest-side DMA Interface"; key
 * numbers as in Linux's include/uapi/linux/qemu_fw_cfg.h.
 */
import { layout } from "../base/layout.ts";

/** Selector keys. */
export const FW_CFG_KEY = {
  signature: 0x00,
  id: 0x01,
  ramSize: 0x03,
  cpus: 0x05,
  maxCpus: 0x0f,
  fileDirectory: 0x19,
  firstFile: 0x20,
} as const;

/** Bit 14 asks for writing (ignored), bit 15 for the architecture's own items. */
export const FW_CFG_WRITE_BIT = 0x4000;

/** Item 1: feature bitmap. */
export const FW_CFG_FEATURES = layout("fw_cfg id", 32, { traditional: 0, dma: 1 });

/** Control field of a DMA access; the selector is in the upper half. */
export const FW_CFG_DMA = layout("fw_cfg DMA control", 32, {
  error: 0,
  read: 1,
  skip: 2,
  select: 3,
  write: 4,
  selector: [31, 16],
});

/** Bytes of a file's entry in the directory, and of the name in it (with its NUL). */
export const FW_CFG_FILE_ENTRY = 64;
export const FW_CFG_FILE_NAME = 56;
