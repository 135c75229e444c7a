import { expect, test } from "vitest";
import { EVENT } from "../ports/events.ts";
import { BUS_STATUS } from "../ports/initiator.ts";
import type { EventNames } from "./names.ts";
import { PerfettoTrace } from "./perfetto.ts";
import { BEGIN, END, INSTANT, packets } from "./perfetto-reader.testing.ts";

const names: EventNames = {
  line: index => `L${index}`,
  pin: pin => `P${pin}`,
  irq: irq => `I${irq}`,
  address: () => "",
  port: () => "",
  msr: () => "",
  device: requester => `disk ${requester}`,
};

function record(feed: (trace: PerfettoTrace) => void) {
  const chunks: Uint8Array[] = [];
  const trace = new PerfettoTrace(names, chunk => chunks.push(chunk));
  feed(trace);
  trace.finish();
  return packets(chunks);
}

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

test("a line that is high from the start has a slice from 0; a fall that nobody saw rise ends nothing", () => {
  const { events } = record(trace => {
    trace.highFromTheStart(0);
    trace.event(5, EVENT.lineLevel, 0, 0, 0, 0, 1, 0);
    trace.event(6, EVENT.lineLevel, 9, 0, 0, 0, 2, 0);
  });
  expect(events.map(({ time, type, track }) => [time, type, track])).toEqual([
    [0, BEGIN, "L0"],
    [5, END, "L0"],
  ]);
});

test("one flow joins the doorbell, the descriptor, the transfer, the completion, the line and the handler, on tracks of device and queue", () => {
  const { events, tracks } = record(trace => {
    trace.event(10, EVENT.doorbell, 0x18, 2, 7, 0, 1, 0);
    trace.event(20, EVENT.descriptor, 0x18, 2, 0x5000, 512, 2, 1);
    trace.event(30, EVENT.dmaWrite, 0x18, 0x9000, 512, BUS_STATUS.iommuFault, 3, 2);
    trace.event(40, EVENT.completion, 0x18, 2, 512, 0, 4, 2);
    trace.event(40, EVENT.lineLevel, 16, 1, 0, 0, 5, 4);
    trace.event(50, EVENT.interrupt, 0, 0x31, 0, 0, 6, 5);
  });
  expect(events.map(({ track, name }) => [track, name])).toEqual([
    ["queue 2", "doorbell 0x07"],
    ["queue 2", "descriptor 0x5000, 512 bytes"],
    ["disk 24", "write IOMMU fault"],
    ["queue 2", "done, 512 bytes"],
    ["L16", "high"],
    ["CPU 0 handlers", "vector 0x31"],
  ]);
  expect(events.every(({ flows }) => flows.length === 1 && flows[0] === 1)).toBe(true);
  const queue = [...tracks.values()].find(({ name }) => name === "queue 2")!;
  expect(tracks.get(queue.parent)!.name).toBe("disk 24");
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

test("what remapping hardware did lies on the track of the device, in the flow of the request; invalidations have a track of their own", () => {
  const { events, tracks } = record(trace => {
    trace.event(10, EVENT.doorbell, 0x1000, 0, 1, 0, 1, 0);
    trace.event(20, EVENT.iommuMiss, 0x1000, 0x5000, 3, 1, 2, 1);
    trace.event(20, EVENT.iommuFault, 0x1000, 0x5000, 6, 1, 3, 2);
    trace.event(30, EVENT.irqRemap, 0x1000, 7, 0x41, 1, 4, 1);
    trace.event(40, EVENT.iommuInvalidate, 0, 0x12, 3, 0x6000, 5, 0);
  });
  expect(events.map(({ track, name, flows }) => [track, name, flows])).toEqual([
    ["queue 0", "doorbell 0x01", [1]],
    ["disk 4096", "IOTLB miss", [1]],
    ["disk 4096", "IOMMU fault 0x06", [1]],
    ["disk 4096", "remapped to 0x41", [1]],
    ["invalidations", "invalidate 0x12", [5]],
  ]);
  expect([...tracks.values()].some(({ name }) => name.startsWith("CPU") && name !== "CPUs")).toBe(false);
});
