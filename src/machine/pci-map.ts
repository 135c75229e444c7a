/**
 * Where PCI lies in this board, and which way its interrupts go, as data. The firmware's tables (_PRT, MCFG, host bridge resources, $PIR) are derived from
 * these facts.
 */
import { KIB, MIB } from "../base/units.ts";
import { PIRQ_COUNT, PIRQ_REGISTERS } from "../pci/chipset.regs.ts";
import { swizzle } from "../pci/topology.ts";

/** Memory-mapped configuration space of buses 0 to 255. */
export const ECAM = { base: 0xb0000000, size: 256 * MIB } as const;
/** Ranges that the host bridge hands on to PCI, besides what the board's own parts have in them. */
export const PCI_MEMORY = { base: 0xc0000000, end: 0xfec00000 } as const;
export const PCI_PORTS = { base: 0xc000, end: 0x10000 } as const;

/** Places on bus 0, device and function. */
export const PCI_PLACE = {
  hostBridge: { device: 0, fn: 0 },
  /** Root ports are functions 0 to 5 of this device. */
  rootPorts: { device: 0x1c, fn: 0 },
  isaBridge: { device: 0x1f, fn: 0 },
} as const;
export const MAX_ROOT_PORTS = 6;
/** Devices of bus 0 that are free for whoever wants one. */
export const FREE_DEVICES = { first: 1, last: 0x1b } as const;

/** I/O APIC input, and number of the line, of PIRQ A; the others follow. */
export const PIRQ_FIRST_LINE = 16;
/** Those inputs of the I/O APIC rest at the high voltage: PCI's interrupts are active-low and level-triggered (PCI 3.0, 2.2.6). */
export const PIRQ_ACTIVE_LOW = ((1 << PIRQ_COUNT) - 1) << PIRQ_FIRST_LINE;

/** Where an interrupt pin of a device on bus 0 goes. */
export type PciRoute = {
  /** Device number on bus 0. */
  readonly device: number;
  /** 0 for INTA# … 3. */
  readonly pin: number;
  /** 0 for PIRQ A … 7. */
  readonly pirq: number;
  /** Global system interrupt, with an I/O APIC. */
  readonly gsi: number;
  /** Offset in the ISA bridge's configuration space of the register that says which ISA interrupt it is with the 8259 pair. */
  readonly register: number;
  /** The ISA interrupt that firmware chooses there. */
  readonly irq: number;
};

/** ISA interrupt of each PIRQ, as firmware routes them. */
const FIRMWARE_IRQS: readonly number[] = [10, 10, 11, 11, 10, 10, 11, 11];
const DEVICES = 32;
const PINS = 4;

/** PIRQ of a pin on bus 0: neighbours differ, and all eight are used. */
const pirqOf = (device: number, pin: number): number => (device + pin) % PIRQ_COUNT;

/** All pins of bus 0. */
export const PCI_ROUTES: readonly PciRoute[] = Array.from({ length: DEVICES * PINS }, (_, i) => {
  const device = Math.floor(i / PINS);
  const pin = i % PINS;
  const pirq = pirqOf(device, pin);
  return {
    device,
    pin,
    pirq,
    gsi: PIRQ_FIRST_LINE + pirq,
    register: PIRQ_REGISTERS[pirq]!,
    irq: FIRMWARE_IRQS[pirq]!,
  };
});

/** Route of a pin on bus 0. */
export const routeOf = (device: number, pin: number): PciRoute => PCI_ROUTES[device * PINS + pin]!;

/** Route of a pin behind bridges; `path` are the device numbers from bus 0 down to the device itself. */
export function routeThrough(path: readonly number[], pin: number): PciRoute {
  let at = pin;
  for (let i = path.length - 1; i > 0; i--) at = swizzle(path[i]!, at);
  return routeOf(path[0]!, at);
}

/** Registers and ISA interrupts of PIRQ A to H, for the firmware that sets them. */
export const PIRQ_SETUP: readonly { readonly register: number; readonly irq: number }[] = PIRQ_REGISTERS.map(
  (register, i) => ({ register, irq: FIRMWARE_IRQS[i]! }),
);
/** ISA interrupts that PCI uses: level-triggered at the 8259 pair. */
export const PCI_ISA_IRQS: readonly number[] = [...new Set(FIRMWARE_IRQS)];
/** Granularity of a bridge's windows (PCI-to-PCI Bridge 1.2, 3.2.5.6 and 3.2.5.8). */
export const BRIDGE_UNIT = { memory: MIB, ports: 4 * KIB } as const;
