/**
 * The one place where the machine makes its processors.
 */
import type { CpuBus } from "../ports/cpu-bus.ts";
import type { LocalApicPort, TimestampCounter } from "../ports/cpu-port.ts";
import type { Processor } from "../ports/processor.ts";
import type { Ram } from "../memory/ram.ts";
import type { EntryState } from "../firmware/boot-plan.ts";
import type { Clock } from "../sim/clock.ts";
import type { Trace } from "../sim/trace.ts";
import { HostError } from "../base/assert.ts";

export type ProcessorOptions = {
  readonly index: number;
  readonly cpus: number;
  /** The bootstrap processor starts running, the others wait for a start-up IPI. */
  readonly bsp: boolean;
  /** Holds the engine's area, from 0 to `engineBytes`, and then guest RAM. */
  readonly memory: WebAssembly.Memory;
  readonly engineBytes: number;
  readonly ram: Ram;
  readonly bus: CpuBus;
  readonly apic: LocalApicPort;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly vendor: string;
  /** `+name` or `-name`. */
  readonly features: readonly string[];
};

/** A processor with what only the board asks of it. */
export interface BoardProcessor extends Processor {
  readonly tsc: TimestampCounter;
  /** Called after a reset, on the bootstrap processor only: it starts in this state instead of at the reset vector. */
  start(entry: EntryState): void;
  /** After a triple fault: what led to it, in one line. */
  shutdownReason(): string;
  /** One line each about what the user should know at the end (instructions that are not built). */
  notes(): readonly string[];
}

/** Bytes in front of guest RAM that the engine needs, and where in them its map of code pages lies (−1: it has none there). */
export function engineArea(cpus: number, _ramBytes: number): { bytes: number; codePages: number } {
  return { bytes: cpus * 65536, codePages: -1 };
}

export function createProcessor(options: ProcessorOptions): BoardProcessor {
  throw new HostError(`CPU ${options.index}: the x86 engine is not built in yet`, 70);
}
