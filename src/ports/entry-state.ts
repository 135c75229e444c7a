/** How a loader wants the bootstrap processor to start: what firmware decides and the processor does. */
import type { PhysAddr } from "../base/units.ts";

/** Registers of the bootstrap processor at its first instruction. What is not named here is as after power-on, with IF = 0 and A20 open. */
export type EntryState = {
  /** `protected`: flat 32-bit segments 0 … 4 GiB, paging off. `real`: 16-bit real mode. `long`: 64-bit mode, paging on through `cr3`. */
  readonly mode: "protected" | "real" | "long";
  /** Offset in the code segment. */
  readonly eip: number;
  readonly eax: number;
  readonly ebx: number;
  readonly edx: number;
  readonly esp: number;
  /** 0 unless given. */
  readonly esi?: number;
  /** Address of the PML4 table, in long mode. */
  readonly cr3?: PhysAddr;
  /** Segment selectors. In protected mode their descriptors lie in the GDT. */
  readonly cs: number;
  readonly ds: number;
  readonly es: number;
  readonly ss: number;
  /** Where the descriptors of the selectors above lie; limit 0 when there is none (real mode). */
  readonly gdtBase: PhysAddr;
  readonly gdtLimit: number;
};
