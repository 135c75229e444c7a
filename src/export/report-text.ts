/**
 * The report as a table for people.
 */
import { dmaText } from "./dma-text.ts";
import { hexOf } from "./names.ts";
import type { InterruptReport, Report, Spread } from "./report.ts";
import { table, timeText } from "./text-table.ts";

export { timeText } from "./text-table.ts";

const HEAD = ["vector", "source", "count", "per CPU", "latency min", "p50", "p99", "max", "handler p50", "EOIs"];
/** Columns that hold words. */
const LEFT = new Set([1, 3]);
const MAX_CPUS_SHOWN = 8;
const MAX_PAIRS_SHOWN = 4;
/** Below this, instructions are shown one by one. */
const SMALL = 100_000;

function spreadCells(latency: Spread): string[] {
  if (latency.count === 0) return ["-", "-", "-", "-"];
  return [latency.min, latency.p50, latency.p99, latency.max].map(timeText);
}

/** `5/0/3` for a few CPUs; for many only those that took any: `0:5 17:3`. */
function spreadOverCpus(perCpu: readonly number[]): string {
  if (perCpu.length <= MAX_CPUS_SHOWN) return perCpu.join("/");
  const some = perCpu.flatMap((count, cpu) => (count > 0 ? [`${cpu}:${count}`] : []));
  const more = some.length > MAX_PAIRS_SHOWN ? ` +${some.length - MAX_PAIRS_SHOWN} CPUs` : "";
  return some.slice(0, MAX_PAIRS_SHOWN).join(" ") + more;
}

function row(interrupt: InterruptReport): string[] {
  const { perCpu, sources } = interrupt;
  const first = sources[0]?.name ?? "-";
  return [
    hexOf(interrupt.vector),
    sources.length > 1 ? `${first} +${sources.length - 1}` : first,
    String(interrupt.count),
    spreadOverCpus(perCpu),
    ...spreadCells(interrupt.latencyNs),
    interrupt.handlerNs.count === 0 ? "-" : timeText(interrupt.handlerNs.p50),
    String(interrupt.eois),
  ];
}

/** ` (0x31, 0x40)`: the vectors for which `count` is not 0. */
function vectorsWith(report: Report, count: (interrupt: InterruptReport) => number): string {
  const vectors = report.interrupts.filter(interrupt => count(interrupt) > 0).map(({ vector }) => hexOf(vector));
  return ` (${vectors.join(", ")})`;
}

/** Lines without their ends. */
export function reportText(report: Report): string[] {
  const lines: string[] = [];
  const { instructions } = report;
  const count = instructions < SMALL ? String(instructions) : `${(instructions / 1e6).toFixed(1)} M`;
  lines.push(`${report.exit.detail}; ${count} instructions, ${timeText(report.virtualNs)} of virtual time`);
  if (report.interrupts.length > 0) lines.push("", ...table([HEAD, ...report.interrupts.map(row)], LEFT));
  const facts: string[] = [];
  for (const { name, count } of report.exceptions) facts.push(`${name}: ${count}`);
  for (const { vector, count } of report.softwareInterrupts) facts.push(`INT ${hexOf(vector)}: ${count}`);
  if (report.nmis > 0) facts.push(`NMI: ${report.nmis}`);
  const { localApic, pic } = report.spurious;
  if (localApic + pic > 0) facts.push(`spurious: ${localApic} local APIC, ${pic} 8259`);
  const coalesced = report.interrupts.reduce((sum, interrupt) => sum + interrupt.coalesced, 0);
  if (coalesced > 0) facts.push(`merged with one that waited: ${coalesced}${vectorsWith(report, i => i.coalesced)}`);
  if (report.unhandled > 0)
    facts.push(`accepted and never taken: ${report.unhandled}${vectorsWith(report, i => i.unhandled)}`);
  if (facts.length > 0) lines.push("", facts.join("   "));
  lines.push(...dmaText(report));
  for (const note of report.notes) lines.push(`note: ${note}`);
  if (report.stateHash !== null) lines.push(`state hash ${report.stateHash}`);
  return lines;
}
