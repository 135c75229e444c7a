/** For tests: a board that tables can tell about. */
import type { BoardFacts } from "./board-facts.ts";

export const BOARD: BoardFacts = {
  ram: [
    { base: 0, length: 0xb0000000 },
    { base: 0x100000000, length: 0x10000000 },
  ],
  apicIds: [0, 1, 2, 3],
  signature: 0x106a5,
  features: 0x0789abfd,
  lapicBase: 0xfee00000,
  ioapicBase: 0xfec00000,
  ioapicId: 0,
  hpet: { base: 0xfed00000, id: 0x8086a201 },
  pmTimer: true,
  overrides: [
    { irq: 0, input: 2, level: false },
    { irq: 9, input: 9, level: true },
  ],
  isaInputs: [
    [0, 2],
    [1, 1],
    [4, 4],
    [9, 9],
  ],
  sci: 9,
  pmBase: 0x600,
  smiCommand: 0xb2,
  resetPort: 0xcf9,
  pci: {
    ecamBase: 0xb0000000,
    lastBus: 255,
    memory: { base: 0xc0000000, end: 0xfec00000 },
    configPort: 0xcf8,
    routes: [
      { device: 0, pin: 0, gsi: 16, irq: 10 },
      { device: 3, pin: 1, gsi: 20, irq: 11 },
    ],
  },
  isaDevices: [{ name: "COM1", id: "PNP0501", uid: 1, ports: [[0x3f8, 8]], irq: 4 }],
};
