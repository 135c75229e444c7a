/**
 * Spreads interrupts over CPUs by the time that their handlers took since it last looked: from the busiest CPU to the idlest, the interrupt whose load is
 * nearest to half of the difference, until the loads are even or no move makes them more even.
 */
import type { Ns } from "../base/units.ts";
import type { Task } from "../ports/task.ts";
import type { Irq, IrqManager } from "./irq.ts";

/** Loads that differ by less than this part of the mean are even. */
const EVEN = 0.02;

export class Balancer {
  readonly #irqs: IrqManager;
  readonly #cpus: number;
  readonly #before = new Map<Irq, Ns>();

  constructor(irqs: IrqManager, cpus: number) {
    this.#irqs = irqs;
    this.#cpus = cpus;
  }

  /** Nanoseconds in handlers since the last {@link rebalance}. */
  loadOf(irq: Irq): Ns {
    return irq.descriptor.statistics.handlerNs - (this.#before.get(irq) ?? 0);
  }

  /** The same, of all interrupts of each CPU. */
  loads(): Ns[] {
    const loads = new Array<Ns>(this.#cpus).fill(0);
    for (const irq of this.#irqs.irqs) if (irq.cpu >= 0) loads[irq.cpu]! += this.loadOf(irq);
    return loads;
  }

  /** Moves what should be moved; gives the number of moves. */
  *rebalance(): Task<number> {
    const moves = this.#plan();
    for (const irq of this.#irqs.irqs) this.#before.set(irq, irq.descriptor.statistics.handlerNs);
    for (const { irq, cpu } of moves) yield* this.#irqs.move(irq, cpu);
    return moves.length;
  }

  #plan(): { irq: Irq; cpu: number }[] {
    const loads = this.loads();
    const mean = loads.reduce((sum, load) => sum + load, 0) / this.#cpus;
    const movable = this.#irqs.irqs.filter(({ cpu, source }) => cpu >= 0 && !source.keepsVector);
    const places = new Map(movable.map(irq => [irq, irq.cpu]));
    for (let turn = 0; turn < movable.length; turn++) {
      const busiest = loads.indexOf(Math.max(...loads));
      const idlest = loads.indexOf(Math.min(...loads));
      const difference = loads[busiest]! - loads[idlest]!;
      if (difference <= EVEN * mean) break;
      let best: Irq | null = null;
      for (const irq of movable) {
        const load = this.loadOf(irq);
        if (places.get(irq) !== busiest || load <= 0 || load >= difference) continue;
        if (best === null || Math.abs(load - difference / 2) < Math.abs(this.loadOf(best) - difference / 2)) best = irq;
      }
      if (best === null) break;
      places.set(best, idlest);
      loads[busiest]! -= this.loadOf(best);
      loads[idlest]! += this.loadOf(best);
    }
    return [...places].filter(([irq, cpu]) => irq.cpu !== cpu).map(([irq, cpu]) => ({ irq, cpu }));
  }
}
