/**
 * The caches of a board: what stands between its processors and memory, and what bus masters see of it. Without `--caches` there are none, and nothing
 * here is made.
 */
import { CachedBus } from "../memory/cache/cached-bus.ts";
import { CacheHierarchy, COUNT, COUNTS } from "../memory/cache/hierarchy.ts";
import type { DmaCaches } from "../memory/bus-master.ts";
import type { Ram } from "../memory/ram.ts";
import type { CpuBus } from "../ports/cpu-bus.ts";
import type { Part } from "../ports/part.ts";
import type { EventQueue } from "../sim/event-queue.ts";

export type CacheSpec = {
  /** Bus masters look into the caches, unless an access says otherwise. */
  readonly coherent: boolean;
  /** Processors have store buffers. */
  readonly storeBuffer: boolean;
};

/** Lines that a processor's accesses asked for, by who had them; since the last reset. */
export type CacheCounts = { [column in keyof typeof COUNT]: number };

export class CacheBoard {
  /** Of the board, then of each processor. */
  readonly parts: Part[] = [];
  readonly dma: DmaCaches;
  readonly spec: CacheSpec;
  readonly #ram: Ram;
  readonly #queue: EventQueue;
  readonly #caches: CacheHierarchy;

  constructor(spec: CacheSpec, ram: Ram, cpus: number, queue: EventQueue) {
    this.spec = spec;
    this.#ram = ram;
    this.#queue = queue;
    this.#caches = new CacheHierarchy(ram, cpus);
    this.parts.push(this.#caches);
    const { snooped, unsnooped } = this.#caches;
    this.dma = { snooped, unsnooped, coherent: spec.coherent };
  }

  /** What processor `cpu` has instead of `bus`. */
  busOf(cpu: number, bus: CpuBus): CpuBus {
    const stores = this.spec.storeBuffer ? this.#queue : null;
    const cached = new CachedBus({ cpu, bus, ram: this.#ram, caches: this.#caches, stores });
    this.parts.push(cached);
    return cached;
  }

  /** Of processor `cpu`. */
  counts(cpu: number): CacheCounts {
    const { counts } = this.#caches.state;
    const of = (column: number): number => counts[cpu * COUNTS + column]!;
    return {
      l1: of(COUNT.l1),
      llc: of(COUNT.llc),
      otherCpu: of(COUNT.otherCpu),
      memory: of(COUNT.memory),
      writeBacks: of(COUNT.writeBacks),
      invalidated: of(COUNT.invalidated),
    };
  }
}
