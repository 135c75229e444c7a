/**
 * What the interrupts of a run did: for every vector where it came from, how often, on which CPUs, how long from raising to the handler, how long in the
 * handler, how many EOIs; besides exceptions, spurious interrupts, NMIs, and interrupts that nobody ever took.
 *
 * Latency counts from the first event of the chain of causes (the line rose, the timer fired, the IPI was sent, the message was written) to the instant
 * at which the CPU enters the handler. A level-triggered interrupt that is sent again after its EOI starts anew at that EOI. Time in a handler
 * counts to the IRET that matches by nesting; a kernel that leaves a handler by switching stacks is charged until some IRET.
 *
 * Costs some 20 ns per event; nothing is allocated per event but the first of a source.
 */
import type { CauseId, Ns, Vector } from "../base/units.ts";
import { EVENT } from "../ports/events.ts";
import type { TraceListener } from "../sim/trace.ts";
import { Histogram } from "./histogram.ts";

/** Kinds of sources, as encoded with a number in {@link InterruptSource}. */
export type SourceKind = "pin" | "pic" | "lvt" | "ipi" | "msi" | "unknown";
const KINDS: readonly SourceKind[] = ["unknown", "pin", "pic", "lvt", "ipi", "msi"];
const KIND = { unknown: 0, pin: 1, pic: 2, lvt: 3, ipi: 4, msi: 5 } as const;
/** Source code = kind × 65536 + number (I/O APIC pin, 8259 input, LVT entry, requester of a message). */
const sourceCode = (kind: number, number: number): number => kind * 0x10000 + number;

export type InterruptSource = {
  readonly kind: SourceKind;
  /** Of the I/O APIC pin, 8259 input or LVT entry; bus, device and function of a message's sender; else 0. */
  readonly number: number;
  readonly count: number;
  readonly perCpu: readonly number[];
};

export type VectorStats = {
  readonly vector: Vector;
  readonly sources: readonly InterruptSource[];
  /** Times a CPU took it. */
  readonly count: number;
  readonly perCpu: readonly number[];
  readonly latency: Histogram;
  readonly handler: Histogram;
  readonly eois: number;
  /** Requests that fell together with one that was pending already. */
  readonly coalesced: number;
  /** Accepted and never taken by the end. */
  readonly pending: number;
};

/** Chains of causes are remembered this far back; a power of two. */
const RING = 1 << 12;
const RING_MASK = RING - 1;
/** A power of two. */
const MAX_NESTING = 64;
const NMI_VECTOR = 2;

class PerVector {
  count = 0;
  eois = 0;
  coalesced = 0;
  accepted = 0;
  takenFromApic = 0;
  readonly perCpu: Uint32Array;
  readonly latency = new Histogram();
  readonly handler = new Histogram();
  /** By source code: how often on each CPU. */
  readonly sources = new Map<number, Uint32Array>();
  readonly #cpus: number;

  constructor(cpus: number) {
    this.#cpus = cpus;
    this.perCpu = new Uint32Array(cpus);
  }

  countSource(code: number, cpu: number): void {
    let perCpu = this.sources.get(code);
    if (perCpu === undefined) {
      perCpu = new Uint32Array(this.#cpus);
      this.sources.set(code, perCpu);
    }
    perCpu[cpu]!++;
  }
}

export class InterruptStats implements TraceListener {
  /** The kinds that this listener wants. */
  static readonly KINDS: readonly number[] = [
    EVENT.lineLevel,
    EVENT.picRequest,
    EVENT.picAck,
    EVENT.picEoi,
    EVENT.ioapicSend,
    EVENT.ioapicEoi,
    EVENT.msi,
    EVENT.lapicAccept,
    EVENT.lapicEoi,
    EVENT.lvtFire,
    EVENT.ipiSend,
    EVENT.interrupt,
    EVENT.nmi,
    EVENT.exception,
    EVENT.softwareInterrupt,
    EVENT.iret,
  ];

  readonly exceptions = new Float64Array(256);
  readonly softwareInterrupts = new Float64Array(256);
  spuriousApic = 0;
  spuriousPic = 0;
  nmis = 0;
  readonly #cpus: number;
  readonly #vectors: (PerVector | null)[] = new Array<PerVector | null>(256).fill(null);
  /** By id modulo RING: whose entry it is, when its chain began, what its source is. */
  readonly #ids = new Float64Array(RING);
  readonly #began = new Float64Array(RING);
  readonly #source = new Int32Array(RING);
  /** By CPU and vector, of what a local APIC has accepted: it may wait for longer than the chains are remembered. */
  readonly #waitingIds: Float64Array;
  readonly #waitingBegan: Float64Array;
  readonly #waitingSource: Int32Array;
  /** Nesting of handlers by CPU: vector (−1 for exceptions and INT n) and time of entry. */
  readonly #depth: Int32Array;
  readonly #stackVector: Int32Array;
  readonly #stackTime: Float64Array;
  /** By I/O APIC input: when an EOI found its line still high, −1 when it is not sent again. */
  readonly #again = new Float64Array(256).fill(-1);
  /** Vector that each 8259 input last gave. */
  readonly #picVector = new Int32Array(16).fill(-1);

  constructor(cpus: number) {
    this.#cpus = cpus;
    this.#waitingIds = new Float64Array(cpus * 256);
    this.#waitingBegan = new Float64Array(cpus * 256);
    this.#waitingSource = new Int32Array(cpus * 256);
    this.#depth = new Int32Array(cpus);
    this.#stackVector = new Int32Array(cpus * MAX_NESTING);
    this.#stackTime = new Float64Array(cpus * MAX_NESTING);
  }

  event(time: Ns, kind: number, subject: number, a: number, b: number, c: number, id: CauseId, cause: CauseId): void {
    // The most frequent ones first.
    switch (kind) {
      case EVENT.interrupt:
        this.#taken(time, subject, a, b, c, cause);
        return;
      case EVENT.iret:
        this.#leave(subject, time);
        return;
      case EVENT.lapicAccept:
        this.#chain(id, cause, time, KIND.unknown);
        this.#accepted(subject, a, c, id);
        return;
      case EVENT.lapicEoi:
        if (a >= 0) this.#of(a).eois++;
        return;
      case EVENT.exception:
        this.exceptions[a & 255]!++;
        this.#enter(subject, -1, time);
        return;
      case EVENT.softwareInterrupt:
        this.softwareInterrupts[a & 255]!++;
        this.#enter(subject, -1, time);
        return;
      case EVENT.ipiSend:
        this.#remember(id, time, sourceCode(KIND.ipi, 0));
        return;
      case EVENT.lvtFire:
        this.#chain(id, cause, time, sourceCode(KIND.lvt, a));
        return;
      case EVENT.lineLevel:
        this.#remember(id, time, KIND.unknown);
        return;
      case EVENT.ioapicSend:
        this.#sent(id, cause, time, subject & 255);
        return;
      case EVENT.picRequest:
        this.#chain(id, cause, time, sourceCode(KIND.pic, subject));
        return;
      case EVENT.ioapicEoi:
        this.#again[subject & 255] = b !== 0 ? time : -1;
        return;
      case EVENT.msi:
        this.#remember(id, time, sourceCode(KIND.msi, subject & 0xffff));
        return;
      case EVENT.picAck:
        this.#chain(id, cause, time, sourceCode(KIND.pic, subject));
        if (b === 0) this.#picVector[subject & 15] = a;
        else this.spuriousPic++;
        return;
      case EVENT.picEoi:
        if (this.#picVector[subject & 15]! >= 0) this.#of(this.#picVector[subject & 15]!).eois++;
        return;
      case EVENT.nmi:
        this.nmis++;
        this.#enter(subject, NMI_VECTOR, time);
        return;
    }
  }

  #of(vector: Vector): PerVector {
    return (this.#vectors[vector & 255] ??= new PerVector(this.#cpus));
  }

  /** A chain of causes begins here. */
  #remember(id: CauseId, time: Ns, source: number): void {
    const slot = id & RING_MASK;
    this.#ids[slot] = id;
    this.#began[slot] = time;
    this.#source[slot] = source;
  }

  /** A chain goes on; `source` 0 keeps the one that it has. */
  #chain(id: CauseId, cause: CauseId, time: Ns, source: number): void {
    const from = cause & RING_MASK;
    if (cause === 0 || this.#ids[from] !== cause) this.#remember(id, time, source);
    else this.#remember(id, this.#began[from]!, source === 0 ? this.#source[from]! : source);
  }

  /** An I/O APIC input sent its message, for the first time or again after its EOI. */
  #sent(id: CauseId, cause: CauseId, time: Ns, pin: number): void {
    const source = sourceCode(KIND.pin, pin);
    if (this.#again[pin]! >= 0) this.#remember(id, this.#again[pin]!, source);
    else this.#chain(id, cause, time, source);
    this.#again[pin] = -1;
  }

  #accepted(cpu: number, vector: Vector, coalesced: number, id: CauseId): void {
    const stats = this.#of(vector);
    if (coalesced !== 0) {
      stats.coalesced++;
      return;
    }
    stats.accepted++;
    const slot = cpu * 256 + (vector & 255);
    this.#waitingIds[slot] = id;
    this.#waitingBegan[slot] = this.#began[id & RING_MASK]!;
    this.#waitingSource[slot] = this.#source[id & RING_MASK]!;
  }

  #taken(time: Ns, cpu: number, vector: Vector, extInt: number, spurious: number, cause: CauseId): void {
    if (spurious !== 0) {
      if (extInt === 0) this.spuriousApic++;
      this.#enter(cpu, -1, time);
      return;
    }
    const stats = this.#of(vector);
    stats.count++;
    stats.perCpu[cpu]!++;
    if (extInt === 0) stats.takenFromApic++;
    const slot = cause & RING_MASK;
    const waiting = cpu * 256 + vector;
    if (cause !== 0 && this.#waitingIds[waiting] === cause) {
      stats.latency.add(time - this.#waitingBegan[waiting]!);
      stats.countSource(this.#waitingSource[waiting]!, cpu);
    } else if (cause !== 0 && this.#ids[slot] === cause) {
      stats.latency.add(time - this.#began[slot]!);
      stats.countSource(this.#source[slot]!, cpu);
    } else stats.countSource(extInt !== 0 ? sourceCode(KIND.pic, 0) : KIND.unknown, cpu);
    this.#enter(cpu, vector, time);
  }

  #enter(cpu: number, vector: number, time: Ns): void {
    const depth = this.#depth[cpu]!++;
    const slot = cpu * MAX_NESTING + (depth & (MAX_NESTING - 1));
    this.#stackVector[slot] = vector;
    this.#stackTime[slot] = time;
  }

  #leave(cpu: number, time: Ns): void {
    if (this.#depth[cpu] === 0) return;
    const depth = --this.#depth[cpu]!;
    const slot = cpu * MAX_NESTING + (depth & (MAX_NESTING - 1));
    const vector = this.#stackVector[slot]!;
    if (vector >= 0) this.#of(vector).handler.add(time - this.#stackTime[slot]!);
  }

  /** Everything that external interrupts did, by vector. */
  vectors(): VectorStats[] {
    const result: VectorStats[] = [];
    this.#vectors.forEach((stats, vector) => {
      if (stats === null || (stats.count === 0 && stats.accepted === 0)) return;
      const sources: InterruptSource[] = [];
      for (const [code, perCpu] of stats.sources) {
        const count = perCpu.reduce((sum, n) => sum + n, 0);
        sources.push({ kind: KINDS[code >>> 16]!, number: code & 0xffff, count, perCpu: [...perCpu] });
      }
      sources.sort((x, y) => y.count - x.count || KINDS.indexOf(x.kind) - KINDS.indexOf(y.kind) || x.number - y.number);
      const { count, latency, handler, eois, coalesced } = stats;
      const pending = Math.max(0, stats.accepted - stats.takenFromApic);
      result.push({ vector, sources, count, perCpu: [...stats.perCpu], latency, handler, eois, coalesced, pending });
    });
    return result;
  }

  /** Interrupts that were accepted and never taken. */
  unhandled(): number {
    return this.vectors().reduce((sum, { pending }) => sum + pending, 0);
  }
}
