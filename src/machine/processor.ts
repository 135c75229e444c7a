/**
 * The one place where the machine makes its processors.
 */
import { Engine, engineBytes } from "../cpu/engine.ts";
import { X86Cpu } from "../cpu/cpu.ts";
import { startProcessor } from "../cpu/start.ts";
import { CpuModel, type Vendor } from "../cpu/model.ts";
import type { EntryState } from "../firmware/boot-plan.ts";
import { HostError } from "../base/assert.ts";
import type { Ram } from "../memory/ram.ts";
import type { CpuBus } from "../ports/cpu-bus.ts";
import type { LocalApicPort, TimestampCounter } from "../ports/cpu-port.ts";
import type { Processor } from "../ports/processor.ts";
import type { Clock } from "../sim/clock.ts";
import type { Trace } from "../sim/trace.ts";

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
  /** One line each about what the user should know at the end (instructions that are not built). */
  notes(): readonly string[];
  /** One line: the chain of exceptions that ended in shutdown. */
  shutdownReason(): string;
}

/** Bytes in front of guest RAM that the engine needs, and where in them its map of code pages lies (−1: it has none there). */
export function engineArea(cpus: number, _ramBytes: number): { bytes: number; codePages: number } {
  return { bytes: engineBytes(cpus), codePages: -1 };
}

/** One engine for all processors that share a memory. */
const engines = new WeakMap<WebAssembly.Memory, { engine: Engine; model: CpuModel }>();

function engineOf(options: ProcessorOptions): { engine: Engine; model: CpuModel } {
  const known = engines.get(options.memory);
  if (known !== undefined) return known;
  const { vendor, features, memory, cpus, ram } = options;
  if (vendor !== "GenuineIntel" && vendor !== "AuthenticAMD") {
    throw new HostError(`unknown CPU vendor "${vendor}": GenuineIntel and AuthenticAMD are possible`, 64);
  }
  const model = new CpuModel(vendor satisfies Vendor, features);
  const engine = new Engine(memory, cpus, ram, model);
  ram.onInvalidate(page => engine.written(page, 0, 4096));
  const made = { engine, model };
  engines.set(memory, made);
  return made;
}

class BoardCpu extends X86Cpu implements BoardProcessor {
  get tsc(): TimestampCounter {
    return this.units.tsc;
  }
  start(entry: EntryState): void {
    startProcessor(this, entry);
  }
  notes(): readonly string[] {
    return [...this.ctx.notBuilt].map(
      ([name, count]) => `instruction not built: ${name}, met ${count} times by CPU ${this.index}`,
    );
  }
  shutdownReason(): string {
    return `CPU ${this.index} shut down: ${this.units.exceptions.chain.describe()}`;
  }
}

export function createProcessor(options: ProcessorOptions): BoardProcessor {
  const { engine, model } = engineOf(options);
  return new BoardCpu({ ...options, engine, model });
}
