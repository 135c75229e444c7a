/**
 * What the report and the Perfetto trace of real runs say, against every event of the run, kept whole and evaluated the slow way; and, for the demonstration,
 * against what its source does, counted by hand.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { MIB } from "../../src/base/units.ts";
import { InterruptStats } from "../../src/check/interrupt-stats.ts";
import { eventNames } from "../../src/cli/event-names.ts";
import { PerfettoTrace } from "../../src/export/perfetto.ts";
import { BEGIN, END, packets } from "../../src/export/perfetto-reader.testing.ts";
import { type InterruptReport, makeReport, type Report } from "../../src/export/report.ts";
import { Pc } from "../../src/machine/pc.ts";
import { EVENT, EVENTS } from "../../src/ports/events.ts";

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
type Guest = { name: string; file: string; cpus: number; memoryMiB: number; testDevices: boolean };

const folder = new URL("../../guests/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL("manifest.json", folder), "utf8")) as Guest[];
const LIMIT = 100_000_000;

/** Runs a guest with all three listeners. Single accesses are left out: nothing here needs them. */
function watch(name: string): { events: Event[]; report: Report; trace: Uint8Array[] } {
  const guest = manifest.find(candidate => candidate.name === name)!;
  const { file, cpus, memoryMiB, testDevices } = guest;
  const bytes = new Uint8Array(readFileSync(new URL(file, folder)));
  const pc = new Pc({
    cpus,
    memory: memoryMiB * MIB,
    image: { name: file, bytes, args: "" },
    testDevices,
    noReboot: true,
  });
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
  const stats = new InterruptStats(cpus);
  pc.trace.listen(stats, InterruptStats.KINDS);
  const chunks: Uint8Array[] = [];
  const perfetto = new PerfettoTrace(eventNames(pc), chunk => chunks.push(chunk));
  for (const line of pc.lines) if (line.level) perfetto.highFromTheStart(line.index);
  pc.trace.listen(perfetto, PerfettoTrace.KINDS);
  let exit = null;
  while (exit === null && pc.retired < LIMIT) exit = pc.run(LIMIT);
  perfetto.finish();
  const facts = { instructions: pc.retired, virtualNs: pc.clock.now(), exit: exit!, stateHash: null };
  return { events, report: makeReport({ ...facts, inputs: [], notes: [] }, stats, eventNames(pc)), trace: chunks };
}

/** The first event of the chain that led to `event`. A level-triggered input that is sent again begins with the EOI that found its line high. */
function beginning(events: readonly Event[], event: Event): Event {
  const byId = new Map(events.map(candidate => [candidate.id, candidate]));
  let at = event;
  for (;;) {
    if (at.kind === EVENT.ioapicSend) {
      const { id, subject } = at;
      const before = events
        .filter(e => (e.kind === EVENT.ioapicSend || e.kind === EVENT.ioapicEoi) && e.subject === subject && e.id < id)
        .at(-1);
      if (before?.kind === EVENT.ioapicEoi && before.b === 1) return before;
    }
    const cause = byId.get(at.cause);
    if (cause === undefined) return at;
    at = cause;
  }
}

/** The wire, pin, timer or sender of a chain, as the report calls it. */
function sourceOf(events: readonly Event[], event: Event): string {
  const byId = new Map(events.map(candidate => [candidate.id, candidate]));
  for (let at: Event | undefined = event; at !== undefined; at = byId.get(at.cause)) {
    if (at.kind === EVENT.picAck || at.kind === EVENT.picRequest) return `(8259 irq ${at.subject})`;
    if (at.kind === EVENT.ioapicSend) return `(I/O APIC pin ${at.subject})`;
    if (at.kind === EVENT.lvtFire) return "local ";
    if (at.kind === EVENT.ipiSend) return "IPI";
    if (at.kind === EVENT.msi) return "MSI";
  }
  return "unknown";
}

/** Entry to IRET of every handler of `vector`: a list of open entries per CPU. */
function handlerTimes(events: readonly Event[], vector: number): number[] {
  const entries: number[] = [EVENT.interrupt, EVENT.nmi, EVENT.exception, EVENT.softwareInterrupt];
  const open: Event[][] = [];
  const spans: number[] = [];
  for (const event of events) {
    const stack = (open[event.subject] ??= []);
    if (entries.includes(event.kind)) stack.push(event);
    if (event.kind !== EVENT.iret) continue;
    const entry = stack.pop();
    if (entry?.kind === EVENT.interrupt && entry.c === 0 && entry.a === vector) spans.push(event.time - entry.time);
  }
  return spans;
}

function expectSpread(got: InterruptReport["latencyNs"], values: readonly number[]): void {
  const sorted = [...values].sort((x, y) => x - y);
  expect(got.count).toBe(sorted.length);
  if (sorted.length === 0) return;
  expect([got.min, got.max]).toEqual([sorted[0], sorted.at(-1)]);
  for (const [value, share] of [
    [got.p50, 0.5],
    [got.p99, 0.99],
  ] as const) {
    const exact = sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1]!;
    expect(value).toBeLessThanOrEqual(exact);
    expect(value).toBeGreaterThanOrEqual(exact - exact / 16);
  }
}

describe.each(["demo", "ioapic", "pic", "lapic", "ipi", "msi", "nmi", "hpet", "uart", "shadows", "x2apic"])(
  "%s",
  name => {
    const { events, report, trace } = watch(name);
    const of = (kind: number) => events.filter(event => event.kind === kind);
    const taken = of(EVENT.interrupt).filter(event => event.c === 0);

    test("every vector: count, spread over CPUs, sources, latency, time in handler, EOIs", () => {
      expect(report.interrupts.filter(i => i.count > 0).map(i => i.vector)).toEqual(
        [...new Set(taken.map(event => event.a))].sort((x, y) => x - y),
      );
      for (const interrupt of report.interrupts) {
        const mine = taken.filter(event => event.a === interrupt.vector);
        expect(interrupt.count).toBe(mine.length);
        expect(interrupt.perCpu).toEqual(
          interrupt.perCpu.map((_, cpu) => mine.filter(event => event.subject === cpu).length),
        );
        expectSpread(
          interrupt.latencyNs,
          mine.map(event => event.time - beginning(events, event).time),
        );
        expectSpread(interrupt.handlerNs, handlerTimes(events, interrupt.vector));
        for (const source of interrupt.sources) {
          const label = /\(.*\)|^local |^IPI|^MSI|^unknown/.exec(source.name)![0];
          expect(mine.filter(event => sourceOf(events, event) === label).length).toBeGreaterThanOrEqual(source.count);
        }
        expect(interrupt.sources.reduce((sum, source) => sum + source.count, 0)).toBe(mine.length);
        const lapicEois = of(EVENT.lapicEoi).filter(event => event.a === interrupt.vector).length;
        // The vector of an 8259 input is what its last acknowledge gave.
        const picEois = of(EVENT.picEoi).filter(
          eoi =>
            of(EVENT.picAck)
              .filter(ack => ack.subject === eoi.subject && ack.b === 0 && ack.id < eoi.id)
              .at(-1)?.a === interrupt.vector,
        ).length;
        expect(interrupt.eois).toBe(lapicEois + picEois);
      }
    });

    test("exceptions, INT n, NMIs, spurious interrupts and those never taken", () => {
      const total = (list: readonly { count: number }[]): number => list.reduce((sum, { count }) => sum + count, 0);
      expect(total(report.exceptions)).toBe(of(EVENT.exception).length);
      for (const { vector, count } of report.exceptions)
        expect(count).toBe(of(EVENT.exception).filter(event => event.a === vector).length);
      expect(total(report.softwareInterrupts)).toBe(of(EVENT.softwareInterrupt).length);
      expect(report.nmis).toBe(of(EVENT.nmi).length);
      expect(report.spurious).toEqual({
        localApic: of(EVENT.interrupt).filter(event => event.c !== 0 && event.b === 0).length,
        pic: of(EVENT.picAck).filter(event => event.b !== 0).length,
      });
      const accepted = of(EVENT.lapicAccept).filter(event => event.c === 0);
      const left = [...new Set(accepted.map(event => event.a))].reduce((sum, vector) => {
        const all = accepted.filter(event => event.a === vector).length;
        return sum + Math.max(0, all - taken.filter(event => event.a === vector && event.b === 0).length);
      }, 0);
      expect(report.unhandled).toBe(left);
    });

    test("the Perfetto trace: time never goes back, slices nest, flows lead from the source through the handler to the EOI", () => {
      const { events: shown } = packets(trace);
      const last = new Map<string, number>();
      const depth = new Map<string, number>();
      for (const { track, time, type } of shown) {
        expect(time).toBeGreaterThanOrEqual(last.get(track) ?? 0);
        last.set(track, time);
        depth.set(track, (depth.get(track) ?? 0) + (type === BEGIN ? 1 : type === END ? -1 : 0));
        expect(depth.get(track)).toBeGreaterThanOrEqual(0);
      }
      const handlers = shown.filter(event => event.type === BEGIN && /^vector /.test(event.name));
      expect(handlers.length).toBe(taken.length);
      const flowsBefore = new Set<number>();
      for (const event of shown) {
        // Whoever takes an interrupt goes on with a flow that somebody else has begun.
        if (handlers.includes(event)) expect(flowsBefore).toContain(event.flows[0]);
        for (const end of event.ends) expect(flowsBefore).toContain(end);
        for (const flow of event.flows) flowsBefore.add(flow);
      }
      const ended = shown.filter(event => event.ends.length > 0).length;
      const eois = report.interrupts.reduce((sum, interrupt) => sum + interrupt.eois, 0);
      expect(ended).toBeLessThanOrEqual(eois);
      expect(ended).toBeGreaterThanOrEqual(Math.min(eois, taken.length));
    });
  },
);

test("the demonstration, counted from its source", () => {
  const { report } = watch("demo");
  const row = (vector: number): unknown => {
    const { count, perCpu, eois, sources, unhandled, coalesced } = report.interrupts.find(i => i.vector === vector)!;
    return [sources.map(source => source.name).join(), count, perCpu.join("/"), eois, unhandled, coalesced];
  };
  // Five ticks of channel 0; one key; a byte each of the message and one interrupt to say that it is done.
  expect(row(0x30)).toEqual(["timer (I/O APIC pin 2)", 5, "5/0", 5, 0, 0]);
  expect(row(0x31)).toEqual(["keyboard (I/O APIC pin 1)", 1, "1/0", 1, 0, 0]);
  const message = "  (this line was sent by interrupts: the UART asks for each byte)\r\n";
  const bytes = message.length + 1;
  expect(row(0x34)).toEqual(["serial (I/O APIC pin 4)", bytes, `${bytes}/0`, bytes, 0, 0]);
  // Vector 50 to itself, and again from inside its handler; E0 from there, too.
  expect(row(0x50)).toEqual(["IPI", 2, "2/0", 2, 0, 0]);
  expect(row(0xe0)).toEqual(["IPI", 1, "1/0", 1, 0, 0]);
  // CPU 0 to CPU 1, a broadcast to both, CPU 0 to itself.
  expect(row(0x60)).toEqual(["IPI", 4, "2/2", 4, 0, 0]);
  // Five ticks of each CPU's own timer.
  expect(row(0xb0)).toEqual(["local timer", 10, "5/5", 10, 0, 0]);
  expect(report.nmis).toBe(2);
  expect(report.spurious).toEqual({ localApic: 0, pic: 1 });
  expect(report.exceptions).toEqual([{ vector: 14, name: "#PF page fault", count: 1 }]);
  expect(report.softwareInterrupts.find(({ vector }) => vector === 0x80)?.count).toBe(3);
  expect(report.unhandled).toBe(0);
});
