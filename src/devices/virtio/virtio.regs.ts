/**
 * Registers and memory structures of virtio devices on PCI. "Virtual I/O Device (VIRTIO) Version 1.2" (OASIS): 2.1 and 2.2 (status, features), 2.7 (split
 * virtqueues), 4.1.4 (structures on PCI), 6 (reserved feature bits). All words are little endian (1.4).
 */
import { layout } from "../../base/layout.ts";

// --- identification (4.1.2) -----------------------------------------------------------------------------------------------------------------------

export const VIRTIO_VENDOR = 0x1af4;
/** Device id of type n is this and n (4.1.2.1). */
export const VIRTIO_DEVICE_BASE = 0x1040;
/** "SHOULD have a PCI Revision ID of 1 or higher", and a subsystem id of 0x40 or higher (4.1.2.1). */
export const VIRTIO_REVISION = 1;
export const VIRTIO_SUBSYSTEM = 0x1100;
/** Device types (5). */
export const VIRTIO_TYPE = { net: 1, block: 2, console: 3, entropy: 4 } as const;

// --- status and features --------------------------------------------------------------------------------------------------------------------------

/** Device status field (2.1). */
export const VIRTIO_STATUS = layout("device status", 8, {
  acknowledge: 0,
  driver: 1,
  driverOk: 2,
  featuresOk: 3,
  needsReset: 6,
  failed: 7,
});

/** Numbers of the feature bits that belong to the transport and the queues (6). */
export const VIRTIO_F = {
  indirectDesc: 28,
  eventIndex: 29,
  version1: 32,
  accessPlatform: 33,
  ringPacked: 34,
  inOrder: 35,
  orderPlatform: 36,
  srIov: 37,
  notificationData: 38,
  notifConfigData: 39,
  ringReset: 40,
} as const;

// --- capabilities (4.1.4) -------------------------------------------------------------------------------------------------------------------------

/** Capability id: vendor specific. */
export const VENDOR_CAPABILITY = 0x09;
/** Bytes of struct virtio_pci_cap, and of the two kinds that have another doubleword. */
export const VIRTIO_CAP_BYTES = 16;
export const VIRTIO_CAP_LONG_BYTES = 20;
/** Offsets in the capability. `extra` is the notify multiplier, or the data of the configuration access capability. */
export const VIRTIO_CAP = { length: 2, type: 3, bar: 4, id: 5, offset: 8, bytes: 12, extra: 16 } as const;
/** Values of cfg_type. */
export const VIRTIO_CAP_TYPE = { common: 1, notify: 2, isr: 3, device: 4, pciAccess: 5 } as const;

/** Where the structures lie in their BAR, and how long they are. A decision of this model. */
export const VIRTIO_BAR = {
  bytes: 0x4000,
  common: 0x0000,
  isr: 0x1000,
  device: 0x2000,
  notify: 0x3000,
  pageBytes: 0x1000,
} as const;
/** Bytes from one queue's notification address to the next: "an even power of 2" (4.1.4.4.1). */
export const NOTIFY_MULTIPLIER = 4;

// --- common configuration (4.1.4.3) ---------------------------------------------------------------------------------------------------------------

export const COMMON_BYTES = 60;
/** Offsets. The three addresses are 64 bits wide, `…High` their upper halves. */
export const COMMON = {
  deviceFeatureSelect: 0,
  deviceFeature: 4,
  driverFeatureSelect: 8,
  driverFeature: 12,
  configVector: 16,
  queueCount: 18,
  status: 20,
  generation: 21,
  queueSelect: 22,
  queueSize: 24,
  queueVector: 26,
  queueEnable: 28,
  queueNotifyOffset: 30,
  queueDescriptors: 32,
  queueDescriptorsHigh: 36,
  queueDriver: 40,
  queueDriverHigh: 44,
  queueDevice: 48,
  queueDeviceHigh: 52,
  queueNotifyData: 56,
  queueReset: 58,
} as const;
/** Width of each register in bytes, by its offset; a 64-bit field is two of 4. */
export const COMMON_WIDTHS: ReadonlyMap<number, number> = new Map(
  Object.entries(COMMON).map(([name, offset]) => {
    if (name === "status" || name === "generation") return [offset, 1];
    return [offset, offset >= COMMON.configVector && offset < COMMON.queueDescriptors ? 2 : offset >= 56 ? 2 : 4];
  }),
);
/** Of config_msix_vector and queue_msix_vector: no vector (4.1.5.1.2). */
export const NO_VECTOR = 0xffff;
/** ISR status (4.1.4.5). */
export const VIRTIO_ISR = layout("ISR status", 8, { queue: 0, config: 1 });

// --- split virtqueues (2.7) -----------------------------------------------------------------------------------------------------------------------

/** Largest Queue Size (2.7). */
export const MAX_QUEUE_SIZE = 32768;
/** Descriptor: le64 addr, le32 len, le16 flags, le16 next (2.7.5). */
export const DESCRIPTOR_BYTES = 16;
export const DESCRIPTOR = { address: 0, addressHigh: 4, length: 8, flags: 12, next: 14 } as const;
export const DESCRIPTOR_FLAGS = layout("descriptor flags", 16, { next: 0, write: 1, indirect: 2 });
/** Available ring: le16 flags, idx, ring[size], used_event (2.7.6). */
export const AVAIL = { flags: 0, index: 2, ring: 4, entryBytes: 2 } as const;
export const AVAIL_FLAGS = layout("available flags", 16, { noInterrupt: 0 });
/** Used ring: le16 flags, idx, ring[size] of { le32 id, le32 len }, avail_event (2.7.8). */
export const USED = { flags: 0, index: 2, ring: 4, entryBytes: 8 } as const;
export const USED_FLAGS = layout("used flags", 16, { noNotify: 0 });
