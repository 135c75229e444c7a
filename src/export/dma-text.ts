/**
 * The report's part about bus masters, remapping hardware, caches and the shared bus, as tables for people. What a machine does not have, or what did nothing,
 * has no lines.
 */
import type { BusReport, CacheReport, DmaReport, IommuReport, Report, Spread } from "./report.ts";
import { bytesText, table, timeText } from "./text-table.ts";

const MASTER_HEAD = ["DMA", "read", "written", "accesses", "failed"];
const QUEUE_HEAD = [
  ...["queue or channel", "doorbells", "descriptors", "completions", "errors", "bytes"],
  ...["latency p50", "p99", "max"],
];
const BUS_HEAD = ["share of the bus", "bytes", "part", "bursts", "waited", "guaranteed"];
const CACHE_HEAD = ["caches", "L1 hits", "last level", "other CPU", "memory", "write-backs", "lost to others"];
const FIRST = new Set([0]);
const MASTER_WORDS = new Set([0, 4]);
const SECOND_NS = 1e9;

const FAILURES: readonly [keyof DmaReport["failures"], string][] = [
  ["masterAborts", "master abort"],
  ["targetAborts", "target abort"],
  ["iommuFaults", "IOMMU fault"],
  ["disabled", "bus master disabled"],
];

function failuresText(failures: DmaReport["failures"]): string {
  const some = FAILURES.flatMap(([key, name]) => (failures[key] > 0 ? [`${failures[key]} ${name}`] : []));
  return some.length === 0 ? "-" : some.join(", ");
}

const latencyCells = ({ count, p50, p99, max }: Spread): string[] =>
  count === 0 ? ["-", "-", "-"] : [p50, p99, max].map(timeText);

function masters(dma: readonly DmaReport[]): string[] {
  const moving = dma.map(({ name, reads, writes, failures }) => [
    name,
    bytesText(reads.bytes),
    bytesText(writes.bytes),
    String(reads.accesses + writes.accesses),
    failuresText(failures),
  ]);
  const queues = dma.flatMap(({ name, queues }) =>
    queues.map(queue => [
      `${name} ${queue.queue}`,
      ...[queue.doorbells, queue.descriptors, queue.completions, queue.errors].map(String),
      bytesText(queue.bytes),
      ...latencyCells(queue.latencyNs),
    ]),
  );
  const lines = ["", ...table([MASTER_HEAD, ...moving], MASTER_WORDS)];
  if (queues.length > 0) lines.push("", ...table([QUEUE_HEAD, ...queues], FIRST));
  return lines;
}

function unitText(unit: IommuReport): string {
  const { iotlbHits, iotlbMisses, remappedInterrupts, postedInterrupts, blockedInterrupts } = unit;
  const facts = [`IOTLB ${iotlbHits} hits, ${iotlbMisses} misses`, `faults: ${unit.faults}`];
  const notRecorded = unit.faultsNotRecorded > 0 ? ` (${unit.faultsNotRecorded} not recorded)` : "";
  facts.push(`interrupts: ${remappedInterrupts} remapped, ${postedInterrupts} posted, ${blockedInterrupts} blocked`);
  return `${unit.name}: ${facts.join("; ")}${notRecorded}`;
}

function cacheRows(caches: readonly CacheReport[]): string[] {
  const rows = caches.map(cache => [
    `CPU ${cache.cpu}`,
    ...[cache.l1, cache.lastLevel, cache.otherCpu, cache.memory, cache.writeBacks, cache.invalidated].map(String),
  ]);
  return ["", ...table([CACHE_HEAD, ...rows], FIRST)];
}

/** `part` is of what the bus could have moved in the whole run. */
function busRows({ policy, bandwidth, shares }: BusReport, virtualNs: number): string[] {
  const could = (bandwidth * virtualNs) / SECOND_NS;
  const rows = shares
    .filter(({ bursts }) => bursts > 0)
    .map(({ name, bytes, bursts, waitedNs, guaranteed }) => [
      name,
      bytesText(bytes),
      could > 0 ? `${((100 * bytes) / could).toFixed(1)} %` : "-",
      String(bursts),
      timeText(waitedNs),
      guaranteed === 0 ? "-" : `${bytesText(guaranteed)}/s`,
    ]);
  const lines = ["", `bus: ${policy}, ${bytesText(bandwidth)}/s`];
  if (rows.length > 0) lines.push(...table([BUS_HEAD, ...rows], FIRST));
  return lines;
}

/** Lines without their ends. */
export function dmaText(report: Report): string[] {
  const { dma, iommu, caches, bus, virtualNs } = report;
  const lines: string[] = [];
  if (dma.length > 0) lines.push(...masters(dma));
  if (iommu.length > 0) lines.push("", ...iommu.map(unitText));
  if (caches.length > 0) lines.push(...cacheRows(caches));
  if (bus !== null) lines.push(...busRows(bus, virtualNs));
  return lines;
}
