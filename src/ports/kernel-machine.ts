/**
 * What a kernel in TypeScript knows of its machine before it has looked: what firmware would tell it.
 */
import type { PhysAddr } from "../base/units.ts";
import type { CodeSpace, CostTable, Routine } from "./task.ts";

export interface KernelMachine {
  /** Scripted cores are 0 to this − 1, or all CPUs of the machine. */
  readonly cpus: number;
  readonly code: CodeSpace;
  readonly costs: CostTable;
  /** RAM from 1 MiB to here is free for the kernel. */
  readonly memoryEnd: PhysAddr;
  readonly ioApic: PhysAddr;
  readonly hpet: PhysAddr;
  /** I/O APIC inputs whose lines rest at the high voltage (PCI), a bit each. */
  readonly activeLowPins: number;
  /** I/O APIC input of ISA interrupt n. */
  pinOfIrq(irq: number): number;
  /** What CPU `cpu` runs from its start on. */
  setProgram(cpu: number, program: Routine): void;
  /** A sentence for the report. */
  note(text: string): void;
}
