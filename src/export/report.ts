/**
 * The report of a run, as data: what `--report` writes as JSON and the table at the end shows. Documented in README.md; a change of meaning or the
 * removal of a field raises {@link REPORT_VERSION}, new fields do not.
 */
import type { InterruptStats, VectorStats } from "../check/interrupt-stats.ts";
import { type EventNames, exceptionName, LVT_NAMES } from "./names.ts";

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
  /** What the user typed, and when it entered the machine. */
  inputs: { instructions: number; virtualNs: number; bytes: number[] }[];
  /** Plain sentences about what the user should know. */
  notes: string[];
};

export type ReportFacts = Pick<Report, "instructions" | "virtualNs" | "exit" | "stateHash" | "inputs" | "notes">;

const spread = (histogram: VectorStats["latency"]): Spread => ({
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

export function makeReport(facts: ReportFacts, stats: InterruptStats, names: EventNames): Report {
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
  };
}

/** The JSON file, indented, with a newline at its end. */
export const reportJson = (report: Report): string => `${JSON.stringify(report, null, 2)}\n`;
