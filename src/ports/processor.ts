/**
 * A processor as the machine's scheduler sees it: something that retires an exact number of instructions, or waits.
 */
import type { CpuSignals } from "./cpu-port.ts";
import type { Part } from "./part.ts";

/** What a processor is doing. */
export const ACTIVITY = { running: 0, halted: 1, waitForSipi: 2, shutdown: 3 } as const;
export type Activity = (typeof ACTIVITY)[keyof typeof ACTIVITY];

export interface Processor extends CpuSignals, Part {
  readonly index: number;
  /** One of {@link ACTIVITY}; a halted processor with something to take counts as running. */
  readonly activity: Activity;
  /** It waits, and no maskable interrupt can end that: halted with interrupts off, or waiting for a start-up IPI. Absent: not known. */
  readonly deaf?: boolean;
  /**
   * Retires exactly `budget` (≥ 1) instructions unless it stops earlier (HLT, shutdown, {@link stop}); taking an interrupt or an exception retires none.
   * Returns how many were retired.
   */
  run(budget: number): number;
  /** Instructions retired so far in the `run` that is going on. */
  readonly progress: number;
  /** Ends the `run` that is going on at the end of the present instruction. */
  stop(): void;
  /** Instructions retired since power on. */
  readonly retired: number;
}
