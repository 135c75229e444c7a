/** CONFIG_ADDRESS of configuration mechanism 1. PCI Local Bus Specification 3.0, 3.2.2.3.2, figure 3-2. */
import { layout } from "../base/layout.ts";

export const CONFIG_ADDRESS = layout("CONFIG_ADDRESS", 32, {
  register: [7, 2],
  function: [10, 8],
  device: [15, 11],
  bus: [23, 16],
  enable: 31,
});
/** Bits 30:24 and 1:0 are reserved and read as 0. */
export const CONFIG_ADDRESS_WRITABLE = 0x80fffffc;
/** Offsets in the window at port 0xCF8. */
export const MECHANISM1 = { address: 0, data: 4, bytes: 8 } as const;
