/** A kernel with DMA memory on a scripted machine, for tests: what its main task does, and what came of it. */
import { type Event, type Run, runScenario } from "../../machine/scenario.testing.ts";
import type { ScenarioOptions, ScriptedMachine } from "../../machine/scenario.ts";
import { MIB, type PhysAddr } from "../../base/units.ts";
import type { Initiator } from "../../ports/initiator.ts";
import { load8, store8, type Task } from "../../ports/task.ts";
import { Kernel } from "../kernel.ts";
import { DmaCoherence } from "./coherence.ts";
import { DmaDevice, type DmaDeviceOptions } from "./device.ts";
import { DmaMemory } from "./memory.ts";

export type { Event };

export class DmaRig {
  readonly machine: ScriptedMachine;
  readonly kernel: Kernel;
  readonly memory: DmaMemory;

  constructor(machine: ScriptedMachine) {
    this.machine = machine;
    this.kernel = new Kernel(machine);
    this.memory = new DmaMemory(this.kernel.arena, { bytes: 8 * MIB });
  }

  /** Devices look into the caches of this machine. */
  get coherent(): boolean {
    return this.machine.pc.caches?.dma.coherent ?? true;
  }

  device(options: Partial<DmaDeviceOptions> = {}): DmaDevice {
    const { memory, kernel } = this;
    return new DmaDevice({ memory, coherence: new DmaCoherence(this.coherent), map: kernel.map, ...options });
  }

  /** A bus master without a device. */
  master(requester: number): Initiator {
    return this.machine.pc.busMaster(requester);
  }
}

/** Runs `main` on CPU 0 of a machine with 48 MiB, and switches off. */
export function dmaRun(
  options: ScenarioOptions,
  main: (rig: DmaRig) => Task,
  kinds: readonly number[] = [],
): { run: Run; rig: DmaRig } {
  let rig!: DmaRig;
  const run = runScenario(
    { cpus: 1, memory: 48 * MIB, ...options },
    machine => {
      rig = new DmaRig(machine);
      rig.kernel.start(function* () {
        yield* main(rig);
        yield* rig.kernel.powerOff();
      });
    },
    kinds,
  );
  return { run, rig };
}

export function* fill(address: PhysAddr, bytes: ArrayLike<number>): Task {
  for (let i = 0; i < bytes.length; i++) yield* store8(address + i, bytes[i]!);
}

export function* readBytes(address: PhysAddr, count: number): Task<number[]> {
  const bytes: number[] = [];
  for (let i = 0; i < count; i++) bytes.push(yield* load8(address + i));
  return bytes;
}

/** `count` bytes that differ from their neighbours and by `seed`. */
export const pattern = (count: number, seed = 1): number[] =>
  Array.from({ length: count }, (_, i) => (i * 7 + (i >> 8) * 13 + seed * 31 + 5) & 0xff);

/** The error code that a task ends with; null when it ends well. */
export function* codeOf(task: Task<unknown>): Task<string | null> {
  try {
    yield* task;
    return null;
  } catch (error) {
    if (error instanceof Error && "code" in error) return String(error.code);
    throw error;
  }
}
