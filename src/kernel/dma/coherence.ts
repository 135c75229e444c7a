/**
 * Caches and devices kept apart by software, and memory barriers: the document's `flush_dma_coherence`, `invalidate_dma_coherence` and
 * `synchronize_dma_operation`, in the instructions that x86 has. CLFLUSH writes a line back and drops it (Intel SDM vol. 2, "CLFLUSH"), and no
 * instruction drops one line without writing it back. So a buffer that a device is to fill must have no dirty lines when the device begins: they would
 * be written over its data later.
 *
 * Where devices look into the caches (`coherent`) only the barriers are left. Cache instructions take the CPU's addresses, never those on the bus.
 */
import type { PhysAddr } from "../../base/units.ts";
import { CACHE_OP, cacheOperation, FENCE, fence, type Task } from "../../ports/task.ts";

/** Who writes: the CPU, the device, or both. */
export const DIRECTION = { toDevice: 0, fromDevice: 1, bidirectional: 2 } as const;
export type Direction = (typeof DIRECTION)[keyof typeof DIRECTION];

/** A piece of memory and what a device does with it. */
export type DmaRegion = { readonly address: PhysAddr; readonly bytes: number; readonly direction: Direction };

/** What a synchronization is about: a channel, with all pieces of its transfer, as they were when it was configured. */
export interface Synchronized {
  readonly regions: readonly DmaRegion[];
}

/** The document's `memory_barrier`: loads and stores before it are done before those behind it (MFENCE). */
export function* memoryBarrier(): Task {
  yield* fence(FENCE.full);
}
/** Before reading what a device has written after it said so (LFENCE). */
export function* readBarrier(): Task {
  yield* fence(FENCE.load);
}
/** Descriptors before the word that hands them over (SFENCE). */
export function* writeBarrier(): Task {
  yield* fence(FENCE.store);
}

export class DmaCoherence {
  /** Devices look into the caches, or there are none. */
  readonly coherent: boolean;
  /** Lazy invalidations of remapping hardware that a transfer must not overtake; null: none are kept. */
  readonly #flushRemapping: (() => Task) | null;

  constructor(coherent = true, flushRemapping: (() => Task) | null = null) {
    this.coherent = coherent;
    this.#flushRemapping = flushRemapping;
  }

  /** The document's `flush_dma_coherence`: memory gets what the caches have of the range. */
  *flushDmaCoherence(address: PhysAddr, bytes: number): Task {
    if (!this.coherent) yield* cacheOperation(CACHE_OP.flush, address, bytes);
    yield* memoryBarrier();
    if (this.#flushRemapping !== null) yield* this.#flushRemapping();
  }

  /** The document's `invalidate_dma_coherence`: the caches have nothing of the range any more. */
  *invalidateDmaCoherence(address: PhysAddr, bytes: number): Task {
    if (!this.coherent) yield* cacheOperation(CACHE_OP.flush, address, bytes);
    yield* memoryBarrier();
  }

  /** Before a device's turn: the first half of the document's `synchronize_dma_operation`, for one piece. */
  *forDevice({ address, bytes, direction }: DmaRegion): Task {
    if (direction === DIRECTION.fromDevice) yield* this.invalidateDmaCoherence(address, bytes);
    else yield* this.flushDmaCoherence(address, bytes);
  }

  /** After it: the second half. */
  *forCpu({ address, bytes, direction }: DmaRegion): Task {
    if (direction !== DIRECTION.toDevice) yield* this.invalidateDmaCoherence(address, bytes);
    yield* memoryBarrier();
  }

  /** The document's `synchronize_dma_operation`. */
  *synchronizeDmaOperation({ regions }: Synchronized, preTransfer: boolean): Task {
    for (const region of regions) {
      if (preTransfer) yield* this.forDevice(region);
      else yield* this.forCpu(region);
    }
  }
}
