/**
 * The one place where the machine makes its x86 processors, and starts the first one in the state that a boot loader prescribes.
 */
import { exists } from "../base/assert.ts";
import { PAGE } from "../base/units.ts";
import { CpuModel, FEATURES, SIGNATURE, type FeatureName, type Vendor } from "../cpu/model.ts";
import { startProcessor } from "../cpu/start.ts";
import { X86Cpu } from "../cpu/cpu.ts";
import { codePagesOffset, Engine, engineBytes } from "../cpu/engine.ts";
import type { Ram } from "../memory/ram.ts";
import type { EntryState } from "../ports/entry-state.ts";
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
  readonly ram: Ram;
  readonly bus: CpuBus;
  readonly apic: LocalApicPort;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly vendor: Vendor;
  /** `+name` or `-name`. */
  readonly features: readonly string[];
  /** The x87 unit's FERR#, which the board brings to IRQ 13. */
  readonly ferr: (level: boolean) => void;
};

/** A processor with what only the board asks of it. */
export interface BoardProcessor extends Processor {
  readonly tsc: TimestampCounter;
  /** Called after a reset, on the bootstrap processor only: it starts in this state instead of at the reset vector. */
  start(entry: EntryState): void;
  /** Called after a reset, on every processor: MSRs as firmware leaves them, [index, low word, high word]. */
  presetMsrs(values: readonly (readonly [number, number, number])[]): void;
  /** After a triple fault: what led to it, in one line. */
  shutdownReason(): string;
  /**
   * Encodings that the decoder does not know, with how often they were met: `64:0f38f6c1` (width of the code, bytes), or the name of an instruction
   * that is not built.
   */
  readonly notBuilt: ReadonlyMap<string, number>;
  /** Why the machine cannot be saved and loaded; absent when it can. */
  readonly unsaved?: string;
}

/** Bytes in front of guest RAM that the engine needs, and where in them its map of pages with decoded code lies. */
export function engineArea(cpus: number, ramBytes: number): { bytes: number; codePages: number } {
  return { bytes: engineBytes(cpus, ramBytes), codePages: codePagesOffset(cpus) };
}

/** CPUID.1:EAX and EDX of such a processor, for the firmware's tables. */
export function processorFacts(vendor: Vendor, changes: readonly string[]): { signature: number; features: number } {
  const model = new CpuModel(vendor, changes);
  let features = 0;
  for (const [name, [leaf, , register, bit]] of Object.entries(FEATURES)) {
    if (leaf === 1 && register === "edx" && model.has(name as FeatureName)) features |= 1 << bit;
  }
  return { signature: SIGNATURE[vendor], features: features >>> 0 };
}

/** A maker of the processors of one machine, which share one engine. */
export function processorMaker(): (options: ProcessorOptions) => BoardProcessor {
  let shared: { engine: Engine; model: CpuModel } | null = null;
  return options => {
    if (shared === null) {
      const { memory, cpus, ram, vendor, features } = options;
      const model = new CpuModel(vendor, features);
      const engine = new Engine(memory, cpus, ram, model);
      ram.onInvalidate(page => engine.written(page, 0, PAGE));
      shared = { engine, model };
    }
    return createProcessor(options, exists(shared, "no engine"));
  };
}

function createProcessor(options: ProcessorOptions, shared: { engine: Engine; model: CpuModel }): BoardProcessor {
  const { index, bus, ram, apic, clock, trace, cpus, bsp, ferr } = options;
  return new PcProcessor({ index, bus, ram, apic, clock, trace, cpus, bsp, ferr, ...shared });
}

class PcProcessor extends X86Cpu implements BoardProcessor {
  get tsc(): TimestampCounter {
    return this.units.tsc;
  }

  start(entry: EntryState): void {
    startProcessor(this, entry);
  }

  presetMsrs(values: readonly (readonly [number, number, number])[]): void {
    // A model without MTRRs refuses them.
    for (const [index, low, high] of values) this.units.msrs.write(index, low, high);
  }

  shutdownReason(): string {
    return `CPU ${this.index} shut down after a triple fault: ${this.units.exceptions.chain.describe()}`;
  }

  get notBuilt(): ReadonlyMap<string, number> {
    return this.ctx.notBuilt;
  }
}
