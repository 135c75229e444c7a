/** The legacy paths through several chips: MultiProcessor Specification 1.4, section 3.6.2; 82093AA data sheet, ExtINT; 8259A data sheet. */
import { describe, expect, test } from "vitest";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import { ApicFabric } from "./apic-fabric.ts";
import { NotedSignals } from "./apic-rig.testing.ts";
import { IoApic } from "./ioapic.ts";
import { LocalApic } from "./lapic.ts";
import { NmiGate } from "./nmi-gate.ts";
import { PicPair } from "./pic-pair.ts";

/** Two CPUs, wired like a PC: INTR to every LINT0 and to pin 0 of the I/O APIC, the NMI gate to every LINT1. */
function board() {
  const queue = new EventQueue(new Clock());
  const fabric = new ApicFabric();
  const pic = new PicPair();
  const gate = new NmiGate();
  const signals = [new NotedSignals(), new NotedSignals()];
  const lapics = signals.map((s, index) => {
    const lapic = new LocalApic({
      index,
      apicId: index,
      bsp: index === 0,
      queue,
      trace: null,
      signals: s,
      tsc: { nsUntil: () => 0 },
      bus: fabric,
      extInt: pic,
    });
    fabric.attach(lapic);
    pic.connectIntr(lapic, 0);
    gate.connect(lapic, 1);
    return lapic;
  });
  const io = new IoApic({ bus: fabric });
  fabric.attachEoiListener(io);
  pic.connectIntr(io, 0);
  for (const [window, base, cascade] of [
    [pic.masterWindow, 0x20, 4],
    [pic.slaveWindow, 0x28, 2],
  ] as const) {
    window.write(0, 1, 0x11);
    for (const value of [base, cascade, 1]) window.write(1, 1, value);
  }
  return { pic, gate, io, signals, bsp: lapics[0]!, ap: lapics[1]! };
}

/** As firmware programs it: software-enabled, LINT0 ExtINT, LINT1 NMI. */
function enterVirtualWireMode(apic: LocalApic): void {
  apic.write(0xf0, 4, 0x1ff);
  apic.write(0x350, 4, 0x8700);
  apic.write(0x360, 4, 0x8400);
}

describe("virtual wire mode via the local APIC", () => {
  test("an 8259 interrupt reaches the bootstrap processor only, with the 8259's vector", () => {
    const { pic, bsp, signals } = board();
    enterVirtualWireMode(bsp);
    pic.lineChanged(12, true, 0);
    expect(signals.map(s => s.level)).toEqual([true, false]);
    expect(bsp.acknowledge()).toBe(0x2c);
    expect(bsp.lastExtInt).toBe(true);
    expect(signals[0]!.level).toBe(false);
  });
  test("a withdrawn request is the 8259's spurious interrupt", () => {
    const { pic, bsp } = board();
    enterVirtualWireMode(bsp);
    pic.lineChanged(3, true, 0);
    pic.lineChanged(3, false, 0);
    expect([bsp.acknowledge(), bsp.lastExtInt, bsp.lastSpurious]).toEqual([0x27, true, true]);
  });
  test("without it, as after power-up, nothing arrives", () => {
    const { pic, signals } = board();
    pic.lineChanged(0, true, 0);
    expect(signals.map(s => s.level)).toEqual([false, false]);
  });
  test("the NMI gate arrives by LINT1", () => {
    const { gate, bsp, signals } = board();
    enterVirtualWireMode(bsp);
    gate.lineChanged(0, true, 0);
    expect(signals.map(s => s.events)).toEqual([["nmi"], []]);
  });
});

describe("virtual wire mode via the I/O APIC", () => {
  test("pin 0 as ExtINT: one acknowledge per request, two that wait are two", () => {
    const { pic, io, ap, signals } = board();
    ap.write(0xf0, 4, 0x1ff);
    io.write(0, 4, 0x11);
    io.write(0x10, 4, 0x0100_0000);
    io.write(0, 4, 0x10);
    io.write(0x10, 4, 0x700);
    pic.lineChanged(5, true, 0);
    pic.lineChanged(1, true, 0);
    expect(signals.map(s => s.level)).toEqual([false, true]);
    expect(ap.acknowledge()).toBe(0x21);
    expect(signals[1]!.level).toBe(false);
    pic.masterWindow.write(0, 1, 0x20);
    expect(ap.acknowledge()).toBe(0x25);
    expect(signals[1]!.level).toBe(false);
  });
});

describe("PIC mode: the local APIC globally disabled", () => {
  test("INTR and NMI pass straight through", () => {
    const { pic, gate, bsp, signals } = board();
    bsp.writeMsr(0x1b, 0xfee00100, 0);
    pic.lineChanged(4, true, 0);
    expect(signals[0]!.level).toBe(true);
    expect(bsp.acknowledge()).toBe(0x24);
    gate.lineChanged(0, true, 0);
    expect(signals[0]!.events).toEqual(["nmi"]);
  });
});
