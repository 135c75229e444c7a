/** Behaviours of the Intel SDM vol. 3A, chapter "Advanced Programmable Interrupt Controller (APIC)"; the section is named in each group. */
import { describe, expect, test } from "vitest";
import { EVENT } from "../ports/events.ts";
import { Line } from "../ports/line.ts";
import { DELIVERY } from "../ports/message.ts";
import { describePart } from "../ports/part.contract.ts";
import type { Window } from "../ports/window.ts";
import { ApicRig, messageOf } from "./apic-rig.testing.ts";
import type { LocalApic } from "./lapic.ts";
import { APIC_BASE, ICR, LVT_ENTRY, lapicRegisterName, SVR, VERSION } from "./lapic.regs.ts";
import type { LapicOptions } from "./lapic-core.ts";

/** One software-enabled xAPIC. */
function enabled(options: Partial<LapicOptions> = {}): { rig: ApicRig; apic: LocalApic } {
  const rig = new ApicRig(1, options);
  const apic = rig.lapics[0]!;
  apic.write(0xf0, 4, 0x1ff);
  return { rig, apic };
}
const fixed = (vector: number, trigger = 0) => messageOf({ vector, trigger, destination: 0 });
const EOI = 0xb0;

/** The register page as a window, and the MSRs as another, for the contract suite. */
const pageOf = (apic: LocalApic): Window => ({
  name: "page",
  size: 4096,
  minWidth: 1,
  maxWidth: 4,
  read: (offset, width) => apic.read(offset, width),
  write: (offset, width, value) => apic.write(offset, width, value),
});

describePart("local APIC", () => {
  const rig = new ApicRig(1);
  const apic = rig.lapics[0]!;
  const lint = [new Line("LINT0"), new Line("LINT1")];
  lint.forEach((line, pin) => {
    line.connect(apic, pin);
  });
  const send = (vector: number, mode: number, trigger: number) =>
    void rig.fabric.send(messageOf({ vector, trigger, deliveryMode: mode, destination: 0xff }));
  return {
    part: apic,
    windows: [pageOf(apic)],
    queue: rig.queue,
    inputs: lint,
    sent: () => rig.signals[0]!.count + rig.eois.length + rig.extInt.acknowledged,
    stimulate: rng => {
      const what = rng.below(12);
      if (what < 2) apic.write(0xf0, 4, 0x100 | rng.below(256));
      else if (what < 4) send(rng.below(256), rng.below(8), rng.below(2));
      else if (what < 6) apic.acknowledge();
      else if (what < 7) apic.writeMsr(0x800 + rng.below(64), rng.u32() & 0x7ff, 0);
      else if (what < 8) apic.writeMsr(0x6e0, rng.below(1000000), 0);
      else if (what < 9) apic.write(0x320, 4, rng.pick([0x30, 0x20031, 0x40032]));
      else if (what < 10) apic.write(0x380, 4, rng.below(5000));
      else if (rng.chance(1, 12)) apic.writeMsr(0x1b, rng.pick([0xfee00900, 0xfee00d00, 0xfee00100]), 0);
    },
  };
});

describe("register words of the manual", () => {
  test("version 0x01060014: version 0x14, entries 0 to 6, EOI broadcast suppression (Local APIC Version Register)", () => {
    const { apic } = enabled();
    expect(apic.read(0x30, 4)).toBe(0x01060014);
    expect(VERSION.maxLvt.of(0x01060014)).toBe(6);
    expect(VERSION.eoiBroadcastSuppression.mask).toBe(0x0100_0000);
  });
  test("field positions of SVR, ICR, LVT and IA32_APIC_BASE", () => {
    expect([SVR.enable.mask, SVR.suppressEoiBroadcast.mask]).toEqual([0x100, 0x1000]);
    expect([ICR.level.mask, ICR.trigger.mask, ICR.destinationMode.mask]).toEqual([0x4000, 0x8000, 0x800]);
    expect([ICR.destination.word, ICR.destination.shift]).toEqual([1, 24]);
    expect([LVT_ENTRY.remoteIrr.mask, LVT_ENTRY.mask.mask, LVT_ENTRY.timerMode.shift]).toEqual([0x4000, 0x10000, 17]);
    expect([APIC_BASE.bsp.mask, APIC_BASE.extd.mask, APIC_BASE.enable.mask]).toEqual([0x100, 0x400, 0x800]);
  });
  test("registers have the manual's names (Local APIC Register Address Map)", () => {
    expect([0x80, 0x130, 0x2f0, 0x350, 0x3f0, 0x40].map(lapicRegisterName)).toEqual([
      "TPR",
      "ISR3",
      "LVT CMCI",
      "LVT LINT0",
      "self IPI",
      "reserved",
    ]);
  });
  test("state after power-up (Local APIC State After Power-Up or Reset)", () => {
    const apic = new ApicRig(2).lapics[1]!;
    expect(apic.read(0x20, 4)).toBe(0x0100_0000);
    expect(apic.read(0xf0, 4)).toBe(0xff);
    expect(apic.read(0xe0, 4)).toBe(0xffff_ffff);
    for (const zero of [0x80, 0x90, 0xa0, 0xd0, 0x280, 0x300, 0x310, 0x380, 0x390, 0x3e0]) {
      expect([zero, apic.read(zero, 4)]).toEqual([zero, 0]);
    }
    for (const lvt of [0x2f0, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370]) expect(apic.read(lvt, 4)).toBe(0x10000);
    for (let offset = 0x100; offset < 0x280; offset += 16) expect(apic.read(offset, 4)).toBe(0);
    expect(apic.readMsr(0x1b)).toBe(true);
    expect([apic.msrLow, apic.msrHigh]).toEqual([0xfee00800, 0]);
    expect([apic.mmioPage, apic.bsp, apic.globallyEnabled]).toEqual([0xfee00, false, true]);
  });
});

describe("acceptance and priorities (Interrupt Acceptance for Fixed Interrupts; Task and Processor Priorities)", () => {
  test("a fixed interrupt sets IRR; the acknowledge moves it to ISR; EOI clears it", () => {
    const { rig, apic } = enabled();
    expect(rig.fabric.send(fixed(0x51))).toBe(1);
    expect(rig.signals[0]!.level).toBe(true);
    expect(apic.read(0x220, 4)).toBe(1 << 0x11);
    expect(apic.acknowledge()).toBe(0x51);
    expect([apic.read(0x220, 4), apic.read(0x120, 4)]).toEqual([0, 1 << 0x11]);
    expect(rig.signals[0]!.level).toBe(false);
    apic.write(EOI, 4, 0);
    expect(apic.read(0x120, 4)).toBe(0);
  });
  test("the higher vector first; one of the same class waits, one of a higher class nests", () => {
    const { rig, apic } = enabled();
    for (const vector of [0x41, 0x62, 0x61]) rig.fabric.send(fixed(vector));
    expect(apic.acknowledge()).toBe(0x62);
    expect(rig.signals[0]!.level).toBe(false);
    rig.fabric.send(fixed(0x6f));
    expect(rig.signals[0]!.level).toBe(false);
    rig.fabric.send(fixed(0x70));
    expect(rig.signals[0]!.level).toBe(true);
    expect(apic.acknowledge()).toBe(0x70);
    apic.eoi();
    apic.eoi();
    expect(apic.acknowledge()).toBe(0x6f);
  });
  test("a vector requested twice before its acknowledge comes once; once more while in service comes again", () => {
    const { rig, apic } = enabled();
    rig.fabric.send(fixed(0x33));
    rig.fabric.send(fixed(0x33));
    expect(apic.acknowledge()).toBe(0x33);
    rig.fabric.send(fixed(0x33));
    expect(rig.signals[0]!.level).toBe(false);
    apic.eoi();
    expect(apic.acknowledge()).toBe(0x33);
    apic.eoi();
    expect(rig.signals[0]!.level).toBe(false);
  });
  test("TPR blocks its own class and below; PPR is TPR or the class in service", () => {
    const { rig, apic } = enabled();
    apic.write(0x80, 4, 0x55);
    expect(apic.read(0xa0, 4)).toBe(0x55);
    rig.fabric.send(fixed(0x5f));
    expect(rig.signals[0]!.level).toBe(false);
    rig.fabric.send(fixed(0x60));
    expect(rig.signals[0]!.level).toBe(true);
    expect(apic.acknowledge()).toBe(0x60);
    expect(apic.read(0xa0, 4)).toBe(0x60);
    apic.eoi();
    apic.write(0x80, 4, 0x4f);
    expect(apic.acknowledge()).toBe(0x5f);
  });
  test("CR8 is TPR[7:4]; writing it clears TPR[3:0] (Interaction of Task Priorities between CR8 and APIC)", () => {
    const { apic } = enabled();
    apic.write(0x80, 4, 0x37);
    expect(apic.readCr8()).toBe(3);
    apic.writeCr8(9);
    expect(apic.read(0x80, 4)).toBe(0x90);
  });
  test("APR: TPR when it is the highest, else the highest class of TPR, ISRV and IRRV", () => {
    const { rig, apic } = enabled();
    apic.write(0x80, 4, 0x45);
    expect(apic.read(0x90, 4)).toBe(0x45);
    rig.fabric.send(fixed(0x73));
    expect(apic.read(0x90, 4)).toBe(0x70);
  });
  test("TMR tells level from edge, at acceptance", () => {
    const { rig, apic } = enabled();
    rig.fabric.send(fixed(0x44, 1));
    expect(apic.read(0x1a0, 4)).toBe(1 << 4);
    rig.fabric.send(fixed(0x44, 0));
    expect(apic.read(0x1a0, 4)).toBe(0);
  });
  test("an acknowledge with nothing to give returns the spurious vector and sets no ISR bit (Spurious Interrupt)", () => {
    const { rig, apic } = enabled();
    apic.write(0xf0, 4, 0x1ef);
    rig.fabric.send(fixed(0x40));
    apic.write(0x80, 4, 0xf0);
    expect(apic.acknowledge()).toBe(0xef);
    expect([apic.lastSpurious, apic.lastExtInt]).toEqual([true, false]);
    for (let i = 0; i < 8; i++) expect(apic.read(0x100 + 16 * i, 4)).toBe(0);
    apic.write(0x80, 4, 0);
    expect(apic.acknowledge()).toBe(0x40);
    expect(apic.lastSpurious).toBe(false);
  });
});

describe("EOI (Signaling Interrupt Servicing Completion)", () => {
  test("of a level-triggered interrupt is broadcast, of an edge-triggered one is not", () => {
    const { rig, apic } = enabled();
    rig.fabric.send(fixed(0x50, 0));
    apic.acknowledge();
    apic.eoi();
    expect(rig.eois).toEqual([]);
    rig.fabric.send(fixed(0x50, 1));
    apic.acknowledge();
    apic.eoi();
    expect(rig.eois).toEqual([0x50]);
  });
  test("is not broadcast with SVR bit 12 set", () => {
    const { rig, apic } = enabled();
    apic.write(0xf0, 4, 0x11ff);
    rig.fabric.send(fixed(0x50, 1));
    apic.acknowledge();
    apic.eoi();
    expect(rig.eois).toEqual([]);
    expect(apic.read(0x120, 4)).toBe(0);
  });
  test("with nothing in service does nothing", () => {
    const { rig, apic } = enabled();
    apic.write(EOI, 4, 0);
    expect(rig.eois).toEqual([]);
  });
});

describe("software disable (Local APIC State After It Has Been Software Disabled)", () => {
  test("fixed interrupts are not accepted; INIT, NMI, SMI and SIPI are", () => {
    const rig = new ApicRig(1);
    expect(rig.fabric.send(fixed(0x50))).toBe(0);
    for (const deliveryMode of [DELIVERY.init, DELIVERY.nmi, DELIVERY.smi, DELIVERY.startup]) {
      expect(rig.fabric.send(messageOf({ deliveryMode, vector: 0x9a }))).toBe(1);
    }
    expect(rig.signals[0]!.events).toEqual(["init", "nmi", "smi", "startup 154"]);
  });
  test("pending interrupts are held and still offered", () => {
    const { rig, apic } = enabled();
    rig.fabric.send(fixed(0x50));
    apic.write(0xf0, 4, 0xff);
    expect(rig.signals[0]!.level).toBe(true);
    expect(apic.acknowledge()).toBe(0x50);
  });
  test("all LVT mask bits are set and attempts to clear them are ignored", () => {
    const { apic } = enabled();
    apic.write(0x350, 4, 0x700);
    expect(apic.read(0x350, 4)).toBe(0x700);
    apic.write(0xf0, 4, 0xff);
    expect(apic.read(0x350, 4)).toBe(0x10700);
    apic.write(0x350, 4, 0x700);
    expect(apic.read(0x350, 4)).toBe(0x10700);
    apic.write(0xf0, 4, 0x1ff);
    expect(apic.read(0x350, 4)).toBe(0x10700);
  });
  test("IPIs can still be sent", () => {
    const rig = new ApicRig(2);
    rig.lapics[1]!.write(0xf0, 4, 0x1ff);
    rig.lapics[0]!.write(0x310, 4, 0x0100_0000);
    rig.lapics[0]!.write(0x300, 4, 0x4051);
    expect(rig.lapics[1]!.acknowledge()).toBe(0x51);
  });
});

describe("errors (Error Handling)", () => {
  test("sending an illegal vector: bit 5, visible after ESR was written", () => {
    const { apic } = enabled();
    apic.write(0x300, 4, 0x4_000f);
    expect(apic.read(0x280, 4)).toBe(0);
    apic.write(0x280, 4, 0);
    expect(apic.read(0x280, 4)).toBe(0x20);
    apic.write(0x280, 4, 0);
    expect(apic.read(0x280, 4)).toBe(0);
  });
  test("receiving an illegal vector: bit 6, and no IRR bit below 16", () => {
    const { rig, apic } = enabled();
    expect(rig.fabric.send(fixed(0x0f))).toBe(0);
    apic.write(0x280, 4, 0);
    expect([apic.read(0x280, 4), apic.read(0x200, 4)]).toEqual([0x40, 0]);
  });
  test("a reserved register: bit 7, reads 0", () => {
    const { apic } = enabled();
    expect(apic.read(0x40, 4)).toBe(0);
    apic.write(0x280, 4, 0);
    expect(apic.read(0x280, 4)).toBe(0x80);
    apic.write(0x3f0, 4, 1);
    apic.write(0x280, 4, 0);
    expect(apic.read(0x280, 4)).toBe(0x80);
  });
  test("a lowest-priority IPI where it is not supported: bit 4 only, also with an illegal vector", () => {
    const { apic } = enabled({ lowestPriorityIpi: false });
    apic.write(0x300, 4, 0x4101);
    apic.write(0x280, 4, 0);
    expect(apic.read(0x280, 4)).toBe(0x10);
  });
  test("an error fires the LVT error entry once until ESR is written again", () => {
    const { rig, apic } = enabled();
    apic.write(0x370, 4, 0xfe);
    apic.read(0x40, 4);
    expect(apic.acknowledge()).toBe(0xfe);
    apic.eoi();
    apic.read(0x40, 4);
    expect(rig.signals[0]!.level).toBe(false);
    apic.write(0x280, 4, 0);
    apic.read(0x40, 4);
    expect(apic.acknowledge()).toBe(0xfe);
  });
  test("an illegal vector from the local vector table is a received one", () => {
    const { rig, apic } = enabled();
    apic.write(0x320, 4, 0x05);
    apic.write(0x380, 4, 10);
    rig.pass(100);
    apic.write(0x280, 4, 0);
    expect(apic.read(0x280, 4)).toBe(0x40);
  });
});

describe("local vector table (Local Vector Table; Valid Interrupt Vectors)", () => {
  test("LINT1 as NMI is edge-sensitive", () => {
    const { rig, apic } = enabled();
    apic.write(0x360, 4, 0x400);
    apic.lineChanged(1, true, 0);
    apic.lineChanged(1, false, 0);
    apic.lineChanged(1, true, 0);
    expect(rig.signals[0]!.events).toEqual(["nmi", "nmi"]);
  });
  test("a masked edge is lost", () => {
    const { rig, apic } = enabled();
    apic.lineChanged(1, true, 0);
    apic.write(0x360, 4, 0x400);
    expect(rig.signals[0]!.events).toEqual([]);
  });
  test("LINT0 fixed and level: remote IRR from acceptance to EOI, again while the pin stays active", () => {
    const { rig, apic } = enabled();
    apic.write(0x350, 4, 0x8061);
    apic.lineChanged(0, true, 0);
    expect(apic.read(0x350, 4)).toBe(0xc061);
    expect(apic.acknowledge()).toBe(0x61);
    apic.eoi();
    expect(apic.acknowledge()).toBe(0x61);
    apic.lineChanged(0, false, 0);
    apic.eoi();
    expect(apic.read(0x350, 4)).toBe(0x8061);
    expect(rig.signals[0]!.level).toBe(false);
  });
  test("LINT0 level asks when it is unmasked", () => {
    const { apic } = enabled();
    apic.write(0x350, 4, 0x18061);
    apic.lineChanged(0, true, 0);
    apic.write(0x350, 4, 0x8061);
    expect(apic.acknowledge()).toBe(0x61);
  });
  test("polarity bit: active low", () => {
    const { apic, rig } = enabled();
    apic.lineChanged(0, true, 0);
    apic.write(0x350, 4, 0xa061);
    expect(rig.signals[0]!.level).toBe(false);
    apic.lineChanged(0, false, 0);
    expect(apic.acknowledge()).toBe(0x61);
  });
  test("LINT0 fixed and edge", () => {
    const { apic, rig } = enabled();
    apic.write(0x350, 4, 0x0062);
    apic.lineChanged(0, true, 0);
    expect(apic.acknowledge()).toBe(0x62);
    apic.eoi();
    expect(rig.signals[0]!.level).toBe(false);
  });
  test("thermal, CMCI and performance entries deliver their mode; the performance entry masks itself", () => {
    const { rig, apic } = enabled();
    apic.write(0x330, 4, 0xf9);
    apic.write(0x2f0, 4, 0x200);
    apic.write(0x340, 4, 0x400);
    apic.fireLocal(2, 0);
    apic.fireLocal(0, 0);
    apic.fireLocal(3, 0);
    apic.fireLocal(3, 0);
    expect(apic.acknowledge()).toBe(0xf9);
    expect(rig.signals[0]!.events).toEqual(["smi", "nmi"]);
    expect(apic.read(0x340, 4)).toBe(0x10400);
  });
  test("writable bits of each entry; delivery status and remote IRR are read-only", () => {
    const { apic } = enabled();
    const expected = [
      [0x2f0, 0x107ff],
      [0x320, 0x700ff],
      [0x330, 0x107ff],
      [0x340, 0x107ff],
      [0x350, 0x1a7ff],
      [0x360, 0x1a7ff],
      [0x370, 0x100ff],
    ] as const;
    for (const [offset, bits] of expected) {
      apic.write(offset, 4, 0xffff_ffff);
      expect([offset, apic.read(offset, 4)]).toEqual([offset, bits]);
    }
  });
});

describe("ExtINT and virtual wire (Local Vector Table; Interrupt Acknowledge)", () => {
  test("LINT0 as ExtINT: INTR follows the pin whatever TPR says, the vector is the 8259's, no ISR bit", () => {
    const { rig, apic } = enabled();
    apic.write(0x80, 4, 0xff);
    apic.write(0x350, 4, 0x700);
    apic.lineChanged(0, true, 0);
    expect(rig.signals[0]!.level).toBe(true);
    expect(apic.read(0x350, 4)).toBe(0x1700);
    expect(apic.acknowledge()).toBe(0x99);
    expect([apic.lastExtInt, apic.lastSpurious]).toEqual([true, false]);
    for (let i = 0; i < 8; i++) expect(apic.read(0x100 + 16 * i, 4)).toBe(0);
    apic.lineChanged(0, false, 0);
    expect(rig.signals[0]!.level).toBe(false);
  });
  test("an ExtINT message waits until it is acknowledged", () => {
    const { rig, apic } = enabled();
    rig.fabric.send(messageOf({ deliveryMode: DELIVERY.extInt }));
    expect(rig.signals[0]!.level).toBe(true);
    expect(apic.acknowledge()).toBe(0x99);
    expect(rig.signals[0]!.level).toBe(false);
  });
  test("globally disabled: LINT0 is INTR and LINT1 is NMI (Enabling or Disabling the Local APIC)", () => {
    const { rig, apic } = enabled();
    expect(apic.writeMsr(0x1b, 0xfee00100, 0)).toBe(true);
    expect([apic.globallyEnabled, apic.mmioPage]).toEqual([false, -1]);
    apic.lineChanged(0, true, 0);
    apic.lineChanged(1, true, 0);
    expect(rig.signals[0]!.level).toBe(true);
    expect(apic.acknowledge()).toBe(0x99);
    expect(rig.signals[0]!.events).toEqual(["nmi"]);
    expect(rig.fabric.send(messageOf({ deliveryMode: DELIVERY.nmi, destination: 0xff }))).toBe(0);
  });
});

describe("interprocessor interrupts (Interrupt Command Register)", () => {
  const four = () => {
    const rig = new ApicRig(4);
    for (const apic of rig.lapics) apic.write(0xf0, 4, 0x1ff);
    return rig;
  };
  const waiting = (rig: ApicRig) => rig.signals.map(s => (s.level ? 1 : 0));
  test("shorthands: self, all including self, all excluding self (Destination Shorthand)", () => {
    for (const [low, expected] of [
      [0x4_4051, [0, 1, 0, 0]],
      [0x8_4051, [1, 1, 1, 1]],
      [0xc_4051, [1, 0, 1, 1]],
    ] as const) {
      const rig = four();
      rig.lapics[1]!.write(0x300, 4, low);
      expect(waiting(rig)).toEqual(expected);
    }
  });
  test("INIT and SIPI to all others; INIT level de-assert does nothing", () => {
    const rig = four();
    rig.lapics[0]!.write(0x300, 4, 0xc_4500);
    rig.lapics[0]!.write(0x300, 4, 0xc_8500);
    rig.lapics[0]!.write(0x300, 4, 0xc_4608);
    expect(rig.signals.map(s => s.events)).toEqual([
      [],
      ["init", "startup 8"],
      ["init", "startup 8"],
      ["init", "startup 8"],
    ]);
  });
  test("NMI and SMI need no legal vector", () => {
    const rig = four();
    rig.lapics[0]!.write(0x310, 4, 0x0200_0000);
    rig.lapics[0]!.write(0x300, 4, 0x4400);
    rig.lapics[0]!.write(0x300, 4, 0x4200);
    expect(rig.signals[2]!.events).toEqual(["nmi", "smi"]);
  });
  test("shorthand self takes no INIT, start-up or lowest priority (table of valid combinations)", () => {
    const rig = four();
    for (const low of [0x4_4500, 0x4_4608, 0x4_4151]) rig.lapics[0]!.write(0x300, 4, low);
    expect(rig.signals[0]!.count).toBe(0);
  });
  test("fixed IPIs are edge-triggered whatever bit 15 says", () => {
    const rig = four();
    rig.lapics[0]!.write(0x310, 4, 0x0300_0000);
    rig.lapics[0]!.write(0x300, 4, 0xc051);
    expect(rig.lapics[3]!.read(0x1a0, 4)).toBe(0);
    expect(rig.lapics[3]!.acknowledge()).toBe(0x51);
  });
  test("delivery status always reads idle, the other fields as written", () => {
    const rig = four();
    rig.lapics[0]!.write(0x310, 4, 0x02ff_ffff);
    rig.lapics[0]!.write(0x300, 4, 0xffff_ffff & ~0x700);
    expect([rig.lapics[0]!.read(0x300, 4), rig.lapics[0]!.read(0x310, 4)]).toEqual([0x000c_c8ff, 0x0200_0000]);
  });
});

describe("INIT reset (Local APIC State After an INIT Reset)", () => {
  test("as after power-up, but the id and IA32_APIC_BASE stay", () => {
    const { rig, apic } = enabled();
    apic.writeMsr(0x1b, 0xfed00900, 0);
    apic.write(0x20, 4, 0x0500_0000);
    apic.write(0x80, 4, 0x20);
    rig.fabric.send(messageOf({ vector: 0x80, destination: 5 }));
    apic.initReset();
    expect([apic.read(0x20, 4), apic.read(0x80, 4), apic.read(0xf0, 4)]).toEqual([0x0500_0000, 0, 0xff]);
    expect(apic.mmioPage).toBe(0xfed00);
    expect(rig.signals[0]!.level).toBe(false);
  });
});

describe("accesses to the xAPIC page", () => {
  test("the page moves with IA32_APIC_BASE (Relocating the Local APIC Registers)", () => {
    const { apic } = enabled();
    expect(apic.writeMsr(0x1b, 0x80000900, 0x12)).toBe(true);
    expect(apic.mmioPage).toBe(0x12_8000_0);
  });
  test("narrow reads give bytes of the register, narrow writes nothing, bytes 4 to 15 read 0", () => {
    const { apic } = enabled();
    expect([apic.read(0x32, 1), apic.read(0x30, 2), apic.read(0x32, 2), apic.read(0x34, 4)]).toEqual([
      6, 0x14, 0x106, 0,
    ]);
    apic.write(0x80, 1, 0x40);
    expect(apic.read(0x80, 4)).toBe(0);
  });
});

test("events: acceptance, EOI and IPI carry the cause on to the acknowledge", () => {
  const { rig, apic } = enabled();
  const seen: string[] = [];
  const ids: number[] = [];
  rig.trace.listen(
    {
      event: (_t, kind, _s, a, _b, _c, id, cause) => {
        seen.push(`${kind}:${a}:${cause}`);
        ids.push(id);
      },
    },
    [EVENT.lapicAccept, EVENT.lapicEoi, EVENT.ipiSend],
  );
  apic.write(0x300, 4, 0x4_0055);
  expect(seen).toEqual([`${EVENT.ipiSend}:${0x55}:0`, `${EVENT.lapicAccept}:${0x55}:${ids[0]}`]);
  apic.acknowledge();
  expect(apic.lastCause).toBe(ids[1]);
  apic.eoi();
  expect(seen[2]).toBe(`${EVENT.lapicEoi}:${0x55}:${ids[1]}`);
});
