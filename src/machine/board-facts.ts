/**
 * What the firmware tells about this board, derived from the maps that the board is built by.
 */
import { MIB } from "../base/units.ts";
import { HPET_TIMERS, hpetId } from "../devices/hpet.regs.ts";
import type { BoardFacts, IsaDevice } from "../firmware/board-facts.ts";
import { IRQ, IRQ_LINES } from "./irq-map.ts";
import { ECAM, PCI_MEMORY, PCI_ROUTES } from "./pci-map.ts";
import { HIGH_RAM_BASE, HPET_BASE, IOAPIC_BASE, LAPIC_BASE, PORT, splitRam } from "./memory-map.ts";

const ISA_DEVICES: readonly IsaDevice[] = [
  {
    name: "PIC",
    id: "PNP0000",
    ports: [
      [PORT.picMaster, 2],
      [PORT.picSlave, 2],
      [PORT.elcr, 2],
    ],
    irq: null,
  },
  {
    name: "DMAC",
    id: "PNP0200",
    ports: [
      [PORT.dmaLow, 16],
      [PORT.dmaPages + 1, 15],
      [PORT.dmaHigh, 32],
    ],
    irq: null,
  },
  { name: "TMR", id: "PNP0100", ports: [[PORT.pit, 4]], irq: IRQ.timer },
  { name: "RTC", id: "PNP0B00", ports: [[PORT.rtc, 2]], irq: IRQ.rtc },
  {
    name: "KBD",
    id: "PNP0303",
    ports: [
      [PORT.keyboardData, 1],
      [PORT.keyboardCommand, 1],
    ],
    irq: IRQ.keyboard,
  },
  { name: "MOU", id: "PNP0F13", ports: [], irq: IRQ.mouse },
  { name: "COM1", id: "PNP0501", uid: 1, ports: [[PORT.com1, 8]], irq: IRQ.serial1 },
  { name: "FPU", id: "PNP0C04", ports: [], irq: IRQ.coprocessor },
];

/** What a board may be built without. */
export const OPTIONAL_PARTS = ["hpet", "pm-timer"] as const;
export type OptionalPart = (typeof OPTIONAL_PARTS)[number];

export type BoardOptions = {
  readonly cpus: number;
  /** Bytes of RAM. */
  readonly memory: number;
  /** CPUID.1:EAX and EDX. */
  readonly processor: { readonly signature: number; readonly features: number };
  readonly without?: readonly OptionalPart[];
};

/** Throws {@link HostError} with status 64 for an impossible size of memory. */
export function boardFacts({ cpus, memory, processor, without = [] }: BoardOptions): BoardFacts {
  const { low, high } = splitRam(memory);
  const isa = IRQ_LINES.filter(line => line.pic >= 0);
  return {
    ram: [{ base: 0, length: low }, ...(high > 0 ? [{ base: HIGH_RAM_BASE, length: high }] : [])],
    apicIds: Array.from({ length: cpus }, (_, n) => n),
    ...processor,
    lapicBase: LAPIC_BASE,
    ioapicBase: IOAPIC_BASE,
    ioapicId: 0,
    hpet: without.includes("hpet") ? null : { base: HPET_BASE, id: hpetId(HPET_TIMERS) },
    pmTimer: !without.includes("pm-timer"),
    overrides: isa
      .filter(({ irq, ioapic }) => irq !== ioapic || irq === IRQ.acpi)
      .map(({ irq, ioapic }) => ({ irq, input: ioapic, level: irq === IRQ.acpi })),
    isaInputs: isa.map(({ irq, ioapic }) => [irq, ioapic] as const),
    sci: IRQ.acpi,
    pmBase: PORT.acpi,
    smiCommand: PORT.smiCommand,
    resetPort: PORT.resetControl,
    pci: {
      ecamBase: ECAM.base,
      lastBus: ECAM.size / MIB - 1,
      memory: PCI_MEMORY,
      configPort: PORT.pciConfig,
      routes: PCI_ROUTES,
    },
    isaDevices: ISA_DEVICES,
  };
}
