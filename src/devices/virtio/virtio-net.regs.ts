/** Features, configuration, packet header and control commands of the network device. VIRTIO 1.2, 5.1. */
import { layout } from "../../base/layout.ts";

/** Numbers of the feature bits (5.1.3). */
export const NET_F = {
  csum: 0,
  guestCsum: 1,
  mtu: 3,
  mac: 5,
  mergeableBuffers: 15,
  status: 16,
  controlQueue: 17,
  controlRx: 18,
  controlVlan: 19,
  controlRxExtra: 20,
  controlMacAddress: 23,
  speedDuplex: 63,
} as const;

/** struct virtio_net_config (5.1.4): offsets in bytes. Status, pairs and MTU are 16 bits wide, the speed 32. */
export const NET_CONFIG = { mac: 0, status: 6, maxPairs: 8, mtu: 10, speed: 12, duplex: 16 } as const;
export const NET_CONFIG_BYTES = 17;
export const NET_STATUS = layout("network status", 16, { linkUp: 0, announce: 1 });
export const FULL_DUPLEX = 1;

/** struct virtio_net_hdr (5.1.6): flags and gso_type are bytes, the rest 16-bit words. */
export const NET_HEADER = {
  flags: 0,
  gsoType: 1,
  headerLength: 2,
  gsoSize: 4,
  csumStart: 6,
  csumOffset: 8,
  buffers: 10,
} as const;
export const NET_HEADER_BYTES = 12;
export const NET_HEADER_FLAGS = layout("packet flags", 8, { needsCsum: 0, dataValid: 1, rscInfo: 2 });

/** Classes and commands of the control queue (5.1.6.5). */
export const NET_CONTROL = { rx: 0, mac: 1, vlan: 2 } as const;
export const NET_RX = {
  promiscuous: 0,
  allMulticast: 1,
  allUnicast: 2,
  noMulticast: 3,
  noUnicast: 4,
  noBroadcast: 5,
} as const;
export const NET_MAC = { tableSet: 0, addressSet: 1 } as const;
export const NET_VLAN = { add: 0, remove: 1 } as const;
export const NET_ACK = { ok: 0, error: 1 } as const;
