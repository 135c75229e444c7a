/**
 * What the bus masters of a run did: for every requester and queue the doorbells, descriptors and completions, how long a piece of work took, and how many
 * bytes went to and from memory in how many accesses, by how they ended.
 *
 * Latency counts from the first event of the chain of causes (the doorbell, or the descriptor where there was none) to the completion. Accesses that carry
 * no queue are counted for the requester as a whole. Costs some 20 ns per event; nothing is allocated per event but for a requester or queue seen first.
 */
import type { Bdf, CauseId, Ns } from "../base/units.ts";
import { EVENT } from "../ports/events.ts";
import { BUS_STATUS } from "../ports/initiator.ts";
import type { TraceListener } from "../sim/trace.ts";
import { Histogram } from "./histogram.ts";

/** Accesses in one direction. */
export type AccessCounts = {
  /** Those that succeeded. */
  accesses: number;
  /** Of those that succeeded. */
  bytes: number;
};

/** Accesses that did not succeed, by {@link BUS_STATUS}. */
export type FailureCounts = { masterAborts: number; targetAborts: number; iommuFaults: number; disabled: number };

export type QueueStats = {
  readonly queue: number;
  doorbells: number;
  descriptors: number;
  completions: number;
  /** Completions that told of an error. */
  errors: number;
  /** Bytes that completions told of. */
  bytes: number;
  readonly latency: Histogram;
};

export type RequesterStats = {
  readonly requester: Bdf;
  readonly reads: AccessCounts;
  readonly writes: AccessCounts;
  readonly failures: FailureCounts;
  readonly queues: QueueStats[];
};

/** Chains of causes are remembered this far back; a power of two. */
const RING = 1 << 12;
const RING_MASK = RING - 1;

class Requester implements RequesterStats {
  readonly requester: Bdf;
  readonly reads: AccessCounts = { accesses: 0, bytes: 0 };
  readonly writes: AccessCounts = { accesses: 0, bytes: 0 };
  readonly failures: FailureCounts = { masterAborts: 0, targetAborts: 0, iommuFaults: 0, disabled: 0 };
  readonly queues: QueueStats[] = [];

  constructor(requester: Bdf) {
    this.requester = requester;
  }

  access(counts: AccessCounts, bytes: number, status: number): void {
    if (status === BUS_STATUS.ok) {
      counts.accesses++;
      counts.bytes += bytes;
    } else if (status === BUS_STATUS.masterAbort) this.failures.masterAborts++;
    else if (status === BUS_STATUS.targetAbort) this.failures.targetAborts++;
    else if (status === BUS_STATUS.iommuFault) this.failures.iommuFaults++;
    else this.failures.disabled++;
  }

  queue(number: number): QueueStats {
    // Few queues: a search costs less than a table.
    for (let i = 0; i < this.queues.length; i++) if (this.queues[i]!.queue === number) return this.queues[i]!;
    const latency = new Histogram();
    const stats = { queue: number, doorbells: 0, descriptors: 0, completions: 0, errors: 0, bytes: 0, latency };
    this.queues.push(stats);
    return stats;
  }
}

export class DmaStats implements TraceListener {
  /** The kinds that this listener wants. */
  static readonly KINDS: readonly number[] = [
    EVENT.dmaRead,
    EVENT.dmaWrite,
    EVENT.doorbell,
    EVENT.descriptor,
    EVENT.completion,
  ];

  readonly #requesters: Requester[] = [];
  #last: Requester | null = null;
  /** By id modulo RING: whose entry it is, and when its chain began. */
  readonly #ids = new Float64Array(RING);
  readonly #began = new Float64Array(RING);

  event(time: Ns, kind: number, subject: number, a: number, b: number, c: number, id: CauseId, cause: CauseId): void {
    const requester = this.#of(subject);
    switch (kind) {
      case EVENT.dmaRead:
        requester.access(requester.reads, b, c);
        return;
      case EVENT.dmaWrite:
        requester.access(requester.writes, b, c);
        return;
      case EVENT.doorbell:
        requester.queue(a).doorbells++;
        this.#remember(id, time);
        return;
      case EVENT.descriptor:
        requester.queue(a).descriptors++;
        this.#remember(id, this.#beginning(cause, time));
        return;
      case EVENT.completion: {
        const queue = requester.queue(a);
        queue.completions++;
        queue.bytes += b;
        if (c !== 0) queue.errors++;
        queue.latency.add(time - this.#beginning(cause, time));
        return;
      }
    }
  }

  #of(requester: Bdf): Requester {
    if (this.#last !== null && this.#last.requester === requester) return this.#last;
    let found = this.#requesters.find(one => one.requester === requester);
    if (found === undefined) {
      found = new Requester(requester);
      this.#requesters.push(found);
    }
    this.#last = found;
    return found;
  }

  #remember(id: CauseId, began: Ns): void {
    this.#ids[id & RING_MASK] = id;
    this.#began[id & RING_MASK] = began;
  }

  #beginning(cause: CauseId, otherwise: Ns): Ns {
    const slot = cause & RING_MASK;
    return cause !== 0 && this.#ids[slot] === cause ? this.#began[slot]! : otherwise;
  }

  /** By requester id, queues by number. */
  requesters(): RequesterStats[] {
    const sorted = [...this.#requesters].sort((x, y) => x.requester - y.requester);
    for (const { queues } of sorted) queues.sort((x, y) => x.queue - y.queue);
    return sorted;
  }
}
