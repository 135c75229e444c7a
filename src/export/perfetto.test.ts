import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { expect, test } from "vitest";
import { EVENT } from "../ports/events.ts";
import type { EventNames } from "./names.ts";
import { PerfettoTrace } from "./perfetto.ts";

const names: EventNames = {
  line: index => `L${index}`,
  pin: pin => `P${pin}`,
  irq: irq => `I${irq}`,
  address: () => "",
  port: () => "",
  msr: () => "",
};

type Message = Map<number, (number | Uint8Array)[]>;

/** Any protobuf message as its fields: a decoder that shares nothing with the writer but the wire format. */
function decode(bytes: Uint8Array): Message {
  const reader = new BinaryReader(bytes);
  const fields: Message = new Map();
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    let value: number | Uint8Array;
    if (wire === WireType.Varint) value = Number(reader.uint64());
    else if (wire === WireType.Bit64) value = Number(reader.fixed64());
    else value = reader.bytes();
    fields.set(field, [...(fields.get(field) ?? []), value]);
  }
  return fields;
}
const text = (value: unknown): string => new TextDecoder().decode(value as Uint8Array);

/** The packets of a trace with names resolved, by Perfetto's field numbers (trace_packet.proto, track_event.proto, track_descriptor.proto). */
function packets(chunks: Uint8Array[]) {
  const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let end = 0;
  for (const chunk of chunks) {
    all.set(chunk, end);
    end += chunk.length;
  }
  const tracks = new Map<number, { name: string; parent: number }>();
  const interned = new Map<number, string>();
  const events: { time: number; type: number; track: string; name: string; flows: number[]; ends: number[] }[] = [];
  for (const packet of (decode(all).get(1) ?? []).map(value => decode(value as Uint8Array))) {
    const descriptor = packet.get(60)?.[0];
    if (descriptor !== undefined) {
      const fields = decode(descriptor as Uint8Array);
      const parent = (fields.get(5)?.[0] ?? 0) as number;
      tracks.set(fields.get(1)![0] as number, { name: text(fields.get(2)![0]), parent });
    }
    for (const data of packet.get(12) ?? []) {
      for (const entry of decode(data as Uint8Array).get(2) ?? []) {
        const fields = decode(entry as Uint8Array);
        interned.set(fields.get(1)![0] as number, text(fields.get(2)![0]));
      }
    }
    const event = packet.get(11)?.[0];
    if (event === undefined) continue;
    const fields = decode(event as Uint8Array);
    events.push({
      time: packet.get(8)![0] as number,
      type: fields.get(9)![0] as number,
      track: tracks.get(fields.get(11)![0] as number)!.name,
      name: interned.get((fields.get(10)?.[0] ?? 0) as number) ?? "",
      flows: (fields.get(47) ?? []) as number[],
      ends: (fields.get(48) ?? []) as number[],
    });
  }
  return { tracks, events };
}

function record(feed: (trace: PerfettoTrace) => void) {
  const chunks: Uint8Array[] = [];
  const trace = new PerfettoTrace(names, chunk => chunks.push(chunk));
  feed(trace);
  trace.finish();
  return packets(chunks);
}

const BEGIN = 1;
const END = 2;
const INSTANT = 3;

test("one flow joins the line, the I/O APIC, the local APIC, the handler and the EOI", () => {
  const { events } = record(trace => {
    trace.event(100, EVENT.lineLevel, 4, 1, 0, 0, 1, 0);
    trace.event(101, EVENT.ioapicSend, 4, 0x34, 0, 0, 2, 1);
    trace.event(102, EVENT.lapicAccept, 1, 0x34, 1, 0, 3, 2);
    trace.event(200, EVENT.interrupt, 1, 0x34, 0, 0, 4, 3);
    trace.event(250, EVENT.lapicEoi, 1, 0x34, 0, 0, 5, 3);
    trace.event(260, EVENT.iret, 1, 0, 0, 0, 6, 0);
    trace.event(300, EVENT.lineLevel, 4, 0, 0, 0, 7, 0);
  });
  expect(events).toEqual([
    { time: 100, type: BEGIN, track: "L4", name: "high", flows: [1], ends: [] },
    { time: 101, type: INSTANT, track: "pin 4 P4", name: expect.stringContaining("0x34"), flows: [1], ends: [] },
    { time: 102, type: INSTANT, track: "local APIC 1", name: "accept 0x34", flows: [1], ends: [] },
    { time: 200, type: BEGIN, track: "CPU 1 handlers", name: "vector 0x34", flows: [1], ends: [] },
    { time: 250, type: INSTANT, track: "local APIC 1", name: "EOI 0x34", flows: [], ends: [1] },
    { time: 260, type: END, track: "CPU 1 handlers", name: "", flows: [], ends: [] },
    { time: 300, type: END, track: "L4", name: "", flows: [], ends: [] },
  ]);
});

test("every track has a parent that names its group", () => {
  const { tracks } = record(trace => {
    trace.event(1, EVENT.picRequest, 3, 0, 0, 0, 1, 0);
    trace.event(1, EVENT.halt, 0, 0, 0, 0, 2, 0);
  });
  const path = (name: string): string => {
    const track = [...tracks.values()].find(candidate => candidate.name === name)!;
    return `${tracks.get(track.parent)!.name}/${name}`;
  };
  expect(path("irq 3 I3")).toBe("8259/irq 3 I3");
  expect(path("CPU 0")).toBe("CPUs/CPU 0");
});

test("an IRET without a handler and a wake-up without a halt end nothing", () => {
  const { events } = record(trace => {
    trace.event(1, EVENT.iret, 0, 0, 0, 0, 1, 0);
    trace.event(2, EVENT.wake, 0, 0, 0, 0, 2, 0);
  });
  expect(events).toEqual([]);
});

test("a long trace leaves in pieces and reads as one", () => {
  const chunks: Uint8Array[] = [];
  const trace = new PerfettoTrace(names, chunk => chunks.push(chunk));
  for (let i = 0; i < 10_000; i++) trace.event(i, EVENT.lvtFire, 0, 1, 0x20, 0, i + 1, 0);
  trace.finish();
  expect(chunks.length).toBeGreaterThan(2);
  expect(packets(chunks).events.length).toBe(10_000);
});
