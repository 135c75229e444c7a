/**
 * The report of a run, as data: what `--report` writes as JSON and the table at the end shows. Documented in README.md; a change of meaning or the
 * removal of a field raises {@link REPORT_VERSION}, new fields do not.
 */
import type { AccessCounts, DmaStats, FailureCounts } from "../check/dma-stats.ts";
import type { Histogram } from "../check/histogram.ts";
import type { InterruptStats, VectorStats } from "../check/interrupt-stats.ts";
import { bdfText, type EventNames, exceptionName, LVT_NAMES } from "./names.ts";

export const REPORT_VERSION = 1;

/** Spans of virtual time in ns; p50 and p99 are exact to 1/16. */
export type Spread = { count: number; min: number; p50: number; p99: number; max: number };

export type InterruptReport = {
  vector: number;
  /** Sources by falling count: `serial (I/O APIC pin 4)`, `local timer`, `IPI`, `MSI of edu (00:03.0)`, … */
  sources: { name: string; count: number; perCpu: number[] }[];
  count: number;
  perCpu: number[];
  /** From raising to the first instruction of the handler. */
  latencyNs: Spread;
  /** From the first instruction of the handler to its IRET. */
  handlerNs: Spread;
  eois: number;
  /** Requests that fell together with one that was pending already. */
  coalesced: number;
  /** Accepted by a local APIC and never taken. */
  unhandled: number;
};

export type QueueReport = {
  /** Queue or channel of the device. */
  queue: number;
  doorbells: number;
  descriptors: number;
  completions: number;
  /** Completions that told of an error. */
  errors: number;
  /** Bytes that completions told of. */
  bytes: number;
  /** From the doorbell (or the descriptor, where there was none) to the completion. */
  latencyNs: Spread;
};

export type DmaReport = {
  /** `00:03.0`. */
  requester: string;
  /** What the board calls it. */
  name: string;
  /** Accesses that succeeded, and their bytes. */
  reads: AccessCounts;
  writes: AccessCounts;
  /** Accesses that did not, by how they ended. */
  failures: FailureCounts;
  queues: QueueReport[];
};

/** Of one unit, since the machine was made. */
export type IommuReport = {
  name: string;
  iotlbHits: number;
  iotlbMisses: number;
  /** DMA requests that were refused. */
  faults: number;
  remappedInterrupts: number;
  postedInterrupts: number;
  blockedInterrupts: number;
  /** Of the refused and blocked: found the log full, and are counted as overflow. */
  faultsNotRecorded: number;
};

/** Lines that a processor's accesses asked for, by who had them, since the last reset. */
export type CacheReport = {
  cpu: number;
  l1: number;
  lastLevel: number;
  otherCpu: number;
  memory: number;
  writeBacks: number;
  /** Lines that it lost because another processor or a device wrote. */
  invalidated: number;
};

/** The arbiter's account since the last reset. */
export type BusReport = {
  policy: string;
  /** Bytes per second. */
  bandwidth: number;
  shares: {
    name: string;
    /** Bytes per second that it was promised. */
    guaranteed: number;
    bytes: number;
    bursts: number;
    /** Time that it waited for its bursts. */
    waitedNs: number;
  }[];
};

export type Report = {
  version: number;
  instructions: number;
  virtualNs: number;
  exit: { kind: string; status: number; detail: string };
  /** Over the whole machine; only when asked for. */
  stateHash: string | null;
  interrupts: InterruptReport[];
  exceptions: { vector: number; name: string; count: number }[];
  softwareInterrupts: { vector: number; count: number }[];
  spurious: { localApic: number; pic: number };
  nmis: number;
  unhandled: number;
  /** Bus masters that did anything, by requester id. */
  dma: DmaReport[];
  /** Units of the remapping hardware; empty without any. */
  iommu: IommuReport[];
  /** By processor; empty without `--caches`. */
  caches: CacheReport[];
  /** Null without `--bus`. */
  bus: BusReport | null;
  /** What the user typed, and when it entered the machine. */
  inputs: { instructions: number; virtualNs: number; bytes: number[] }[];
  /** Plain sentences about what the user should know. */
  notes: string[];
};

/** What the machine's own counters say. */
export type BoardCounts = Pick<Report, "iommu" | "caches" | "bus">;
export type ReportFacts = Pick<Report, "instructions" | "virtualNs" | "exit" | "stateHash" | "inputs" | "notes"> &
  Partial<BoardCounts>;

const spread = (histogram: Histogram): Spread => ({
  count: histogram.count,
  min: histogram.count === 0 ? 0 : histogram.min,
  p50: histogram.quantile(0.5),
  p99: histogram.quantile(0.99),
  max: histogram.max,
});

function sourceName(source: VectorStats["sources"][number], names: EventNames): string {
  switch (source.kind) {
    case "pin":
      return `${names.pin(source.number)} (I/O APIC pin ${source.number})`;
    case "pic":
      return `${names.irq(source.number)} (8259 irq ${source.number})`;
    case "lvt":
      return `local ${LVT_NAMES[source.number] ?? "APIC"}`;
    case "ipi":
      return "IPI";
    case "msi":
      return `MSI of ${names.device(source.number)}`;
    default:
      return "unknown";
  }
}

const counts = (values: Float64Array): { vector: number; count: number }[] =>
  [...values].flatMap((count, vector) => (count > 0 ? [{ vector, count }] : []));

const dmaReports = (stats: DmaStats, names: EventNames): DmaReport[] =>
  stats.requesters().map(({ requester, reads, writes, failures, queues }) => ({
    requester: bdfText(requester),
    name: names.device(requester),
    reads: { ...reads },
    writes: { ...writes },
    failures: { ...failures },
    queues: queues.map(({ latency, ...counted }) => ({ ...counted, latencyNs: spread(latency) })),
  }));

/** @param dma null: nobody counted, and the report has no bus masters */
export function makeReport(
  facts: ReportFacts,
  stats: InterruptStats,
  names: EventNames,
  dma: DmaStats | null = null,
): Report {
  const interrupts = stats.vectors().map(v => ({
    vector: v.vector,
    sources: v.sources.map(source => ({
      name: sourceName(source, names),
      count: source.count,
      perCpu: [...source.perCpu],
    })),
    count: v.count,
    perCpu: [...v.perCpu],
    latencyNs: spread(v.latency),
    handlerNs: spread(v.handler),
    eois: v.eois,
    coalesced: v.coalesced,
    unhandled: v.pending,
  }));
  return {
    version: REPORT_VERSION,
    ...facts,
    interrupts,
    exceptions: counts(stats.exceptions).map(e => ({ ...e, name: exceptionName(e.vector) })),
    softwareInterrupts: counts(stats.softwareInterrupts),
    spurious: { localApic: stats.spuriousApic, pic: stats.spuriousPic },
    nmis: stats.nmis,
    unhandled: stats.unhandled(),
    dma: dma === null ? [] : dmaReports(dma, names),
    iommu: facts.iommu ?? [],
    caches: facts.caches ?? [],
    bus: facts.bus ?? null,
  };
}

/** The JSON file, indented, with a newline at its end. */
export const reportJson = (report: Report): string => `${JSON.stringify(report, null, 2)}\n`;
