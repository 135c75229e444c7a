/**
 * What the report and the Perfetto trace say of bus masters in real runs, against every event of the run, kept whole and added up the slow way; and that neither
 * watching nor cutting a run changes it, with a modelled bus and with caches.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { MIB } from "../../src/base/units.ts";
import { DmaStats } from "../../src/check/dma-stats.ts";
import { InterruptStats } from "../../src/check/interrupt-stats.ts";
import { boardCounts } from "../../src/cli/board-counts.ts";
import { eventNames } from "../../src/cli/event-names.ts";
import { PerfettoTrace } from "../../src/export/perfetto.ts";
import { packets } from "../../src/export/perfetto-reader.testing.ts";
import { makeReport, type Report } from "../../src/export/report.ts";
import { reportText } from "../../src/export/report-text.ts";
import type { Exit } from "../../src/machine/exit.ts";
import { Pc } from "../../src/machine/pc.ts";
import type { PcOptions } from "../../src/machine/pc-options.ts";
import { parseDevice } from "../../src/machine/pci-devices.ts";
import { EVENT, EVENTS } from "../../src/ports/events.ts";
import { BUS_STATUS } from "../../src/ports/initiator.ts";
import { Rng } from "../../src/sim/rng.ts";

type Event = {
  time: number;
  kind: number;
  subject: number;
  a: number;
  b: number;
  c: number;
  id: number;
  cause: number;
};
type Guest = { name: string; file: string; cpus: number; memoryMiB: number; devices?: string[]; sound?: boolean };

const folder = new URL("../../guests/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL("manifest.json", folder), "utf8")) as Guest[];
const LIMIT = 400_000_000;
const BUS: PcOptions["bus"] = {
  policy: "weighted",
  bandwidth: 4 * MIB,
  turnaroundNs: 30,
  terms: new Map([["isa-dma", { guaranteed: 200_000, burst: 2 }]]),
};

function make(name: string, more: Partial<PcOptions> = {}): Pc {
  const { file, cpus, memoryMiB, devices = [], sound = false } = manifest.find(guest => guest.name === name)!;
  const bytes = new Uint8Array(readFileSync(new URL(file, folder)));
  return new Pc({
    cpus,
    memory: memoryMiB * MIB,
    image: { name: file, bytes, args: "" },
    devices: devices.map(parseDevice),
    onSound: sound ? () => {} : null,
    noReboot: true,
    ...more,
  });
}

function go(pc: Pc, until = LIMIT): Exit | null {
  let exit: Exit | null = null;
  while (exit === null && pc.retired < until) exit = pc.run(until);
  return exit;
}

type Watched = { pc: Pc; events: Event[]; report: Report; trace: ReturnType<typeof packets> };

function watch(name: string, more: Partial<PcOptions> = {}): Watched {
  const pc = make(name, more);
  const events: Event[] = [];
  const all = EVENTS.filter(({ group }) => !["mmio", "pio", "msr"].includes(group)).map(({ kind }) => kind);
  pc.trace.listen(
    {
      event: (time, kind, subject, a, b, c, id, cause) => {
        events.push({ time, kind, subject, a, b, c, id, cause });
      },
    },
    all,
  );
  const [stats, dma] = [new InterruptStats(pc.cpus.length), new DmaStats()];
  pc.trace.listen(stats, InterruptStats.KINDS);
  pc.trace.listen(dma, DmaStats.KINDS);
  const chunks: Uint8Array[] = [];
  const perfetto = new PerfettoTrace(eventNames(pc), chunk => chunks.push(chunk));
  pc.trace.listen(perfetto, PerfettoTrace.KINDS);
  const exit = go(pc)!;
  perfetto.finish();
  const facts = { instructions: pc.retired, virtualNs: pc.clock.now(), exit, stateHash: null, inputs: [], notes: [] };
  const report = makeReport({ ...facts, ...boardCounts(pc) }, stats, eventNames(pc), dma);
  return { pc, events, report, trace: packets(chunks) };
}

/** First event of the chain that led to `event`, as far as it consists of DMA. */
function beginning(events: readonly Event[], event: Event): Event {
  const byId = new Map(events.map(candidate => [candidate.id, candidate]));
  let at = event;
  for (;;) {
    const cause = byId.get(at.cause);
    if (cause === undefined) return at;
    at = cause;
  }
}

const sum = (events: readonly Event[]): number => events.reduce((total, { b }) => total + b, 0);

describe.each([
  ["pci", "edu (00:01.0)"],
  ["sound", "isa bridge (00:1f.0)"],
])("guest %s", (guest, name) => {
  const { events, report, trace } = watch(guest);
  const master = report.dma.find(candidate => candidate.name === name)!;
  const requester = events.find(({ kind }) => kind === EVENT.completion)!.subject;
  const of = (kind: number) => events.filter(event => event.kind === kind && event.subject === requester);

  test("bytes, accesses and failures of the bus master are those of its accesses", () => {
    for (const [got, kind] of [
      [master.reads, EVENT.dmaRead],
      [master.writes, EVENT.dmaWrite],
    ] as const) {
      const good = of(kind).filter(({ c }) => c === BUS_STATUS.ok);
      expect(got).toEqual({ accesses: good.length, bytes: sum(good) });
    }
    const accesses = [...of(EVENT.dmaRead), ...of(EVENT.dmaWrite)];
    const failed = (status: number) => accesses.filter(({ c }) => c === status).length;
    expect(master.failures).toEqual({
      masterAborts: failed(BUS_STATUS.masterAbort),
      targetAborts: failed(BUS_STATUS.targetAbort),
      iommuFaults: failed(BUS_STATUS.iommuFault),
      disabled: failed(BUS_STATUS.disabled),
    });
    expect(accesses.length).toBeGreaterThan(1);
  });

  test("per queue: doorbells, descriptors, completions, bytes, and the time from the first to the last", () => {
    expect(master.queues.length).toBeGreaterThan(0);
    for (const queue of master.queues) {
      const mine = (kind: number) => of(kind).filter(({ a }) => a === queue.queue);
      const completions = mine(EVENT.completion);
      expect(queue).toMatchObject({
        doorbells: mine(EVENT.doorbell).length,
        descriptors: mine(EVENT.descriptor).length,
        completions: completions.length,
        errors: completions.filter(({ c }) => c !== 0).length,
        bytes: sum(completions),
      });
      const times = completions.map(event => event.time - beginning(events, event).time);
      if (times.length > 0) expect(queue.latencyNs.max).toBe(Math.max(...times));
    }
  });

  test("in the trace one flow goes from the doorbell or descriptor over the completion to a handler", () => {
    const flowsOf = (track: RegExp, what: RegExp) =>
      trace.events.filter(event => track.test(event.track) && what.test(event.name)).flatMap(event => event.flows);
    const begun = new Set(flowsOf(/^queue/, /^(doorbell|descriptor)/));
    const done = flowsOf(/^queue/, /^done/).filter(flow => begun.has(flow));
    const handled = new Set(flowsOf(/handlers/, /^vector/));
    expect(done.length).toBeGreaterThan(0);
    expect(done.filter(flow => handled.has(flow)).length).toBeGreaterThan(0);
    const device = [...trace.tracks.values()].find(track => track.name === name)!;
    expect(trace.tracks.get(device.parent)!.name).toBe("Devices");
  });

  test("the table has a row for the bus master and one for each of its queues", () => {
    const lines = reportText(report);
    expect(lines.filter(line => line.startsWith(name)).length).toBe(1 + master.queues.length);
  });
});

test("an interrupt by message has the name of its sender", () => {
  const { report } = watch("pci");
  expect(report.interrupts.flatMap(({ sources }) => sources.map(source => source.name))).toContain(
    "MSI of edu (00:01.0)",
  );
});

test("a machine without devices that master the bus has no lines about them", () => {
  const { report } = watch("ipi");
  expect(report).toMatchObject({ dma: [], iommu: [], caches: [], bus: null });
  expect(reportText(report).join("\n")).not.toMatch(/DMA|queue|bus|IOTLB/);
});

test("on a bus the shares have had what the masters moved, and the report says so", () => {
  const { report } = watch("pci", { bus: BUS });
  const edu = report.dma.find(({ name }) => name.startsWith("edu"))!;
  const share = report.bus!.shares.find(({ name }) => name === "edu")!;
  expect(share.bytes).toBeGreaterThan(0);
  expect(share.bytes).toBe(edu.reads.bytes + edu.writes.bytes);
  expect(reportText(report)).toContain("bus: weighted, 4.00 MiB/s");
});

test("with caches every processor's lines are counted", () => {
  const { report } = watch("ipi", { caches: { coherent: true, storeBuffer: false } });
  expect(report.caches.map(({ cpu }) => cpu)).toEqual(report.caches.map((_, i) => i));
  for (const { l1, memory } of report.caches) {
    expect(l1).toBeGreaterThan(memory);
    expect(memory).toBeGreaterThan(0);
  }
  expect(reportText(report).filter(line => /^CPU \d/.test(line)).length).toBe(report.caches.length);
});

const MACHINES: [string, string, Partial<PcOptions>][] = [
  ["pci", "a bus", { bus: BUS }],
  ["sound", "a bus", { bus: BUS }],
  ["dma", "a bus", { bus: BUS }],
  ["pci", "a bus and caches", { bus: BUS, caches: { coherent: true, storeBuffer: true } }],
];

describe.each(MACHINES)("%s on a machine with %s", (guest, what, more) => {
  let output = "";
  const plain = make(guest, { ...more, onSerial: byte => void (output += String.fromCharCode(byte)) });
  const exit = go(plain);
  const hash = plain.stateHash();

  test("the guest finds its devices good", () => {
    expect(output.split(/\r?\n/).filter(line => line.startsWith("FAIL"))).toEqual([]);
    expect(exit?.status).toBe(1);
  });

  test("it is the same run when it is watched", () => {
    expect(watch(guest, more).pc.stateHash()).toBe(hash);
  });

  test("it is the same run when it is cut while somebody waits for the bus, saved and loaded", () => {
    const first = make(guest, more);
    const waiting = () => first.bus!.arbiter.state.shares.some(({ pending }) => pending > 0);
    const step = 500 + new Rng(`${guest} ${what}`).below(500);
    while (!waiting() && first.retired < plain.retired) first.run(first.retired + step);
    expect(waiting()).toBe(true);
    const second = make(guest, more);
    second.load(first.save());
    go(second);
    expect(second.stateHash()).toBe(hash);
  });
});
