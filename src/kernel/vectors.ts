/**
 * Which vectors are free on which CPU. The upper four bits of a vector are its priority class in the local APIC (Intel SDM vol. 3A, "Task and Processor
 * Priorities"), so a descriptor's priority decides in which classes its vector is looked for.
 */
import type { Vector } from "../base/units.ts";
import { checkVector, INTERRUPT_PRIORITY, type InterruptPriority } from "./descriptor.ts";

/** First and last class of each priority. Class 15 is the kernel's own: IPIs and the spurious vector. */
export const PRIORITY_CLASSES: readonly (readonly [number, number])[] = [
  [3, 5],
  [6, 8],
  [9, 11],
  [12, 14],
];
/** Vectors that the kernel keeps for itself. */
export const KERNEL_VECTOR = {
  systemCall: 0x80,
  /** Lowest class that can interrupt at all: what it cleans up must have been served before. */
  moveCleanup: 0x20,
  reschedule: 0xf1,
  call: 0xf2,
  timer: 0xf8,
  spurious: 0xff,
} as const;
const RESERVED = new Set<number>(Object.values(KERNEL_VECTOR));

/** The priority that a vector has by its class. */
export function priorityOf(vector: Vector): InterruptPriority {
  const level = PRIORITY_CLASSES.findIndex(([, last]) => vector >> 4 <= last);
  return (level < 0 ? INTERRUPT_PRIORITY.critical : level) as InterruptPriority;
}

export class VectorAllocator {
  readonly #used: Uint8Array[];

  constructor(cpus: number) {
    this.#used = Array.from({ length: cpus }, () => new Uint8Array(256));
  }

  /** A free vector of that priority on `cpu`, `wanted` if it can be had. Throws RangeError when there is none. */
  allocate(cpu: number, priority: InterruptPriority, wanted = -1): Vector {
    const used = this.#of(cpu);
    const [first, last] = PRIORITY_CLASSES[priority]!;
    const fits = (vector: number): boolean =>
      vector >> 4 >= first && vector >> 4 <= last && used[vector] === 0 && !RESERVED.has(vector);
    if (wanted >= 0 && fits(wanted)) return this.#take(used, wanted);
    // Neighbours in different classes first: two requests of one class can wait at a time in old local APICs (SDM, "Interrupt Acceptance for Fixed Interrupts").
    for (let low = 0; low < 16; low++)
      for (let level = first; level <= last; level++)
        if (fits(level * 16 + low)) return this.#take(used, level * 16 + low);
    throw new RangeError(`no vector of priority ${priority} is free on CPU ${cpu}`);
  }

  /** The same vector on all CPUs. */
  allocateEverywhere(priority: InterruptPriority): Vector {
    const [first, last] = PRIORITY_CLASSES[priority]!;
    for (let low = 0; low < 16; low++) {
      for (let level = first; level <= last; level++) {
        const vector = level * 16 + low;
        if (RESERVED.has(vector) || this.#used.some(used => used[vector] !== 0)) continue;
        for (const used of this.#used) used[vector] = 1;
        return vector;
      }
    }
    throw new RangeError(`no vector of priority ${priority} is free on all CPUs`);
  }

  /** Takes a vector of the caller's choice on all CPUs. Throws RangeError when it is used. */
  reserve(vector: Vector): void {
    checkVector(vector);
    if (this.#used.some(used => used[vector] !== 0)) throw new RangeError(`vector ${vector} is used already`);
    for (const used of this.#used) used[vector] = 1;
  }

  free(cpu: number, vector: Vector): void {
    checkVector(vector);
    this.#of(cpu)[vector] = 0;
  }

  isUsed(cpu: number, vector: Vector): boolean {
    return this.#of(cpu)[vector] !== 0;
  }

  #take(used: Uint8Array, vector: Vector): Vector {
    used[vector] = 1;
    return vector;
  }

  #of(cpu: number): Uint8Array {
    const used = this.#used[cpu];
    if (used === undefined) throw new RangeError(`there is no CPU ${cpu}`);
    return used;
  }
}
