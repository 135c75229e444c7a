/**
 * What the firmware's tables tell about the board, as data: the machine derives it from its maps, so that the tables cannot say anything else than
 * what is built.
 */
import type { ApicId, PhysAddr } from "../base/units.ts";

/** An ISA interrupt that does not go to the I/O APIC input of its number, or not edge-triggered (ACPI 6.5, 5.2.12.5). */
export type InterruptOverride = {
  readonly irq: number;
  readonly input: number;
  readonly level: boolean;
};

/** A device of the ISA bus that an operating system does not find by itself. */
export type IsaDevice = {
  /** Four characters. */
  readonly name: string;
  /** Plug-and-play id, such as `PNP0501`. */
  readonly id: string;
  readonly uid?: number;
  /** First port and number of ports of each range. */
  readonly ports: readonly (readonly [number, number])[];
  readonly irq: number | null;
};

/** Where PCI lies, and where the interrupt pins of bus 0 go. */
export type PciFacts = {
  readonly ecamBase: PhysAddr;
  /** Last bus that it shows. */
  readonly lastBus: number;
  /** Memory that the host bridge hands on: first address and the one behind the last. */
  readonly memory: { readonly base: PhysAddr; readonly end: PhysAddr };
  /** First of the eight ports of configuration mechanism 1. */
  readonly configPort: number;
  /** `pin` 0 for INTA#; `gsi` with the I/O APIC, `irq` with the 8259 pair. */
  readonly routes: readonly {
    readonly device: number;
    readonly pin: number;
    readonly gsi: number;
    readonly irq: number;
  }[];
};

/** `id`: low word of its capabilities register. */
export type HpetFacts = { readonly base: PhysAddr; readonly id: number };

export type BoardFacts = {
  /** Where RAM lies, by ascending address, whole pages. */
  readonly ram: readonly { readonly base: PhysAddr; readonly length: number }[];
  /** By processor; the first one is the bootstrap processor. */
  readonly apicIds: readonly ApicId[];
  /** CPUID.1:EAX and EDX. */
  readonly signature: number;
  readonly features: number;
  readonly lapicBase: PhysAddr;
  readonly ioapicBase: PhysAddr;
  readonly ioapicId: number;
  /** Null on a board without. */
  readonly hpet: HpetFacts | null;
  /** Whether the power management block has its timer. */
  readonly pmTimer: boolean;
  readonly overrides: readonly InterruptOverride[];
  /** ISA interrupts that reach the I/O APIC, with their inputs. */
  readonly isaInputs: readonly (readonly [number, number])[];
  readonly sci: number;
  /** First port of the power management block, the SMI command port and the reset control register. */
  readonly pmBase: number;
  readonly smiCommand: number;
  readonly resetPort: number;
  readonly pci: PciFacts;
  readonly isaDevices: readonly IsaDevice[];
};
