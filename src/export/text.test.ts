import { describe, expect, test } from "vitest";
import { HostError } from "../base/assert.ts";
import { DmaStats } from "../check/dma-stats.ts";
import { InterruptStats } from "../check/interrupt-stats.ts";
import { EVENT, EVENTS } from "../ports/events.ts";
import { BUS_STATUS } from "../ports/initiator.ts";
import { bdfText, type EventNames } from "./names.ts";
import { type BoardCounts, makeReport, type ReportFacts, reportJson } from "./report.ts";
import { reportText, timeText } from "./report-text.ts";
import { parseLogSelection, TextLog } from "./text-log.ts";

const names: EventNames = {
  line: index => (index === 4 ? "serial" : `L${index}`),
  pin: pin => (pin === 4 ? "serial" : `P${pin}`),
  irq: irq => `I${irq}`,
  address: address => (address === 0xfed00010 ? "hpet.configuration" : ""),
  port: port => (port === 0x71 ? "rtc.data" : ""),
  device: bdfText,
  msr: index => (index === 0xc0000080 ? "IA32_EFER" : ""),
};
const facts: ReportFacts = {
  instructions: 2_500_000,
  virtualNs: 1_250_000,
  exit: { kind: "power-off", status: 0, detail: "off" },
  stateHash: "00112233445566778899aabbccddeeff",
  inputs: [],
  notes: ["a note"],
};

describe("text log", () => {
  const line = (...event: Parameters<TextLog["event"]>): string => {
    const lines: string[] = [];
    new TextLog(names, text => lines.push(text)).event(...event);
    return lines[0]!.trim();
  };

  test("registers have names, not numbers", () => {
    expect(line(7, EVENT.mmioWrite, 1, 0xfed00010, 4, 3, 9, 0)).toBe(
      "7 cpu1 mmio-write hpet.configuration (0xfed00010) size=4 value=0x03 #9",
    );
    expect(line(7, EVENT.portRead, 0, 0x71, 1, 0xff, 9, 0)).toContain("in rtc.data (0x71)");
    expect(line(7, EVENT.portRead, 0, 0x99, 1, 0xff, 9, 0)).toContain("in 0x99");
  });

  test("what caused an event is told by its number", () => {
    expect(line(12, EVENT.ioapicSend, 4, 0x34, 0, 1, 8, 7)).toBe(
      "12 ioapic pin 4 (serial) ioapic-send vector=0x34 fixed destination=0x01 #8 <- #7",
    );
  });

  test("exceptions have their names, addresses of the upper half 64 bits, absent error codes nothing", () => {
    expect(line(1, EVENT.exception, 0, 14, 2, -4096, 1, 0)).toBe(
      "1 cpu0 exception #PF page fault error=0x02 rip=0xfffffffffffff000 #1",
    );
    expect(line(1, EVENT.exception, 0, 6, -1, 0x1000, 1, 0)).not.toContain("error");
  });

  test("every event of the catalogue can be shown", () => {
    for (const { kind } of EVENTS) expect(line(1, kind, 0, 1, 1, 1, 1, 0)).not.toContain("undefined");
  });

  test("groups, single events and everything can be chosen; anything else is refused with status 64", () => {
    expect(parseLogSelection("exc")).toEqual([EVENT.exception, EVENT.softwareInterrupt]);
    expect(parseLogSelection("eoi, halt")).toEqual([EVENT.lapicEoi, EVENT.halt]);
    expect(parseLogSelection("all").length).toBe(EVENTS.length);
    expect(() => parseLogSelection("irq,nonsense")).toThrow(HostError);
  });
});

describe("report", () => {
  const stats = new InterruptStats(2);
  stats.event(100, EVENT.lineLevel, 4, 1, 0, 0, 1, 0);
  stats.event(100, EVENT.ioapicSend, 4, 0x34, 0, 0, 2, 1);
  stats.event(101, EVENT.lapicAccept, 1, 0x34, 0, 0, 3, 2);
  stats.event(115, EVENT.interrupt, 1, 0x34, 0, 0, 4, 3);
  stats.event(130, EVENT.iret, 1, 0, 0, 0, 5, 0);
  stats.event(140, EVENT.exception, 0, 14, 0, 0, 6, 0);
  stats.event(141, EVENT.nmi, 0, 0, 0, 0, 7, 0);
  const report = makeReport(facts, stats, names);

  test("the JSON has the documented fields", () => {
    const json = JSON.parse(reportJson(report));
    expect(json).toMatchObject({
      version: 1,
      instructions: 2_500_000,
      virtualNs: 1_250_000,
      exit: { kind: "power-off", status: 0, detail: "off" },
      stateHash: "00112233445566778899aabbccddeeff",
      exceptions: [{ vector: 14, name: "#PF page fault", count: 1 }],
      nmis: 1,
      unhandled: 0,
      notes: ["a note"],
    });
    expect(json.interrupts).toEqual([
      {
        vector: 0x34,
        sources: [{ name: "serial (I/O APIC pin 4)", count: 1, perCpu: [0, 1] }],
        count: 1,
        perCpu: [0, 1],
        latencyNs: { count: 1, min: 15, p50: 15, p99: 15, max: 15 },
        handlerNs: { count: 1, min: 15, p50: 15, p99: 15, max: 15 },
        eois: 0,
        coalesced: 0,
        unhandled: 0,
      },
    ]);
  });

  test("a message has the name of its sender", () => {
    const messages = new InterruptStats(1);
    messages.event(1, EVENT.msi, 0x18, 0x41, 0, 0, 1, 0);
    messages.event(1, EVENT.lapicAccept, 0, 0x41, 0, 0, 2, 1);
    messages.event(2, EVENT.interrupt, 0, 0x41, 0, 0, 3, 2);
    const [vector] = makeReport(facts, messages, names).interrupts;
    expect(vector!.sources).toEqual([{ name: `MSI of ${names.device(0x18)}`, count: 1, perCpu: [1] }]);
  });

  test("the table has a row per vector in aligned columns", () => {
    const lines = reportText(report);
    expect(lines[0]).toBe("off; 2.5 M instructions, 1.25 ms of virtual time");
    const head = lines.findIndex(text => text.trim().startsWith("vector"));
    expect(lines[head + 1]).toContain("serial (I/O APIC pin 4)");
    expect(lines[head + 1]!.length).toBe(lines[head]!.length);
    expect(lines.join("\n")).toContain("#PF page fault: 1");
    expect(lines).toContain("note: a note");
  });

  test("of many CPUs only those are shown that took any", () => {
    const [interrupt] = report.interrupts;
    const perCpu = Array.from({ length: 64 }, () => 0);
    perCpu[3] = 1;
    perCpu[40] = 7;
    const few = reportText({ ...report, interrupts: [{ ...interrupt!, perCpu }] });
    expect(few.join("\n")).toMatch(/ 3:1 40:7 /);
    const all = reportText({ ...report, interrupts: [{ ...interrupt!, perCpu: perCpu.map(() => 2) }] });
    expect(all.join("\n")).toMatch(/ 0:2 1:2 2:2 3:2 \+60 CPUs /);
  });

  test("merged interrupts and those never taken are told with their vectors", () => {
    const [interrupt] = report.interrupts;
    const interrupts = [interrupt!, { ...interrupt!, vector: 0x41, coalesced: 3, unhandled: 1 }];
    const text = reportText({ ...report, interrupts, unhandled: 1 }).join("\n");
    expect(text).toContain("merged with one that waited: 3 (0x41)   accepted and never taken: 1 (0x41)");
  });

  test("few instructions are counted one by one", () => {
    expect(reportText({ ...report, instructions: 99_999 })[0]).toContain("; 99999 instructions, ");
    expect(reportText({ ...report, instructions: 100_000 })[0]).toContain("; 0.1 M instructions, ");
  });

  test("times have three digits and a fitting unit", () => {
    expect([0, 999, 1000, 1_250_000, 30_100_000_000].map(timeText)).toEqual([
      "0 ns",
      "999 ns",
      "1.00 us",
      "1.25 ms",
      "30.1 s",
    ]);
  });
});

describe("bus masters in the report", () => {
  const dma = new DmaStats();
  dma.event(100, EVENT.doorbell, 0x18, 1, 1, 0, 1, 0);
  dma.event(200, EVENT.descriptor, 0x18, 1, 0x5000, 4096, 2, 1);
  dma.event(300, EVENT.dmaWrite, 0x18, 0x9000, 4096, BUS_STATUS.ok, 3, 2);
  dma.event(300, EVENT.dmaRead, 0x18, 0x9000, 16, BUS_STATUS.ok, 4, 2);
  dma.event(300, EVENT.dmaRead, 0x18, 0x9000, 16, BUS_STATUS.iommuFault, 5, 2);
  dma.event(2600, EVENT.completion, 0x18, 1, 4096, 3, 6, 2);
  const counts: BoardCounts = {
    iommu: [
      {
        name: "vtd",
        iotlbHits: 5,
        iotlbMisses: 2,
        faults: 3,
        remappedInterrupts: 7,
        postedInterrupts: 1,
        blockedInterrupts: 4,
        faultsNotRecorded: 6,
      },
    ],
    caches: [{ cpu: 0, l1: 10, lastLevel: 3, otherCpu: 2, memory: 5, writeBacks: 1, invalidated: 8 }],
    bus: {
      policy: "weighted",
      bandwidth: 4_194_304,
      shares: [
        { name: "edu", guaranteed: 2048, bytes: 1024, bursts: 16, waitedNs: 1500 },
        { name: "idle", guaranteed: 0, bytes: 0, bursts: 0, waitedNs: 0 },
      ],
    },
  };
  const report = makeReport({ ...facts, ...counts }, new InterruptStats(1), names, dma);
  /** Cells of the lines that begin with `first`. */
  const rows = (first: string): string[][] =>
    reportText(report)
      .filter(line => line.startsWith(first))
      .map(line => line.split(/ {2,}/));

  test("the JSON has the documented fields", () => {
    const json = JSON.parse(reportJson(report));
    expect(json).toMatchObject(counts);
    expect(json.dma).toEqual([
      {
        requester: "00:03.0",
        name: "00:03.0",
        reads: { accesses: 1, bytes: 16 },
        writes: { accesses: 1, bytes: 4096 },
        failures: { masterAborts: 0, targetAborts: 0, iommuFaults: 1, disabled: 0 },
        queues: [
          {
            queue: 1,
            doorbells: 1,
            descriptors: 1,
            completions: 1,
            errors: 1,
            bytes: 4096,
            latencyNs: { count: 1, min: 2500, p50: expect.any(Number), p99: expect.any(Number), max: 2500 },
          },
        ],
      },
    ]);
  });

  test("a row per bus master and one per queue", () => {
    expect(rows("00:03.0")).toEqual([
      ["00:03.0", "16", "4.00 KiB", "2", "1 IOMMU fault"],
      ["00:03.0 1", "1", "1", "1", "1", "4.00 KiB", expect.stringMatching(/ us$/), expect.any(String), "2.50 us"],
    ]);
  });

  test("remapping hardware, caches and the bus say what they counted; who never had the bus has no row", () => {
    const lines = reportText(report);
    expect(lines).toContain(
      "vtd: IOTLB 5 hits, 2 misses; faults: 3; interrupts: 7 remapped, 1 posted, 4 blocked (6 not recorded)",
    );
    expect(rows("CPU 0")).toEqual([["CPU 0", "10", "3", "2", "5", "1", "8"]]);
    expect(lines).toContain("bus: weighted, 4.00 MiB/s");
    // 1 KiB of the 5.12 KiB that 1.25 ms are worth.
    expect(rows("edu")).toEqual([["edu", "1.00 KiB", "19.5 %", "16", "1.50 us", "2.00 KiB/s"]]);
    expect(rows("idle")).toEqual([]);
  });
});
