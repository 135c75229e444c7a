/** Intel SDM vol. 3A, section "Extended XAPIC (x2APIC)". */
import { describe, expect, test } from "vitest";
import { DELIVERY } from "../ports/message.ts";
import { ApicRig, messageOf } from "./apic-rig.testing.ts";
import type { LocalApic } from "./lapic.ts";

const XAPIC = 0xfee00900;
const X2APIC = 0xfee00d00;
const DISABLED = 0xfee00100;

function inX2(count = 1, ids: readonly number[] = [0, 1, 2, 3]): { rig: ApicRig; apic: LocalApic } {
  const rig = new ApicRig(count, {}, ids);
  for (const apic of rig.lapics) {
    apic.writeMsr(0x1b, apic.bsp ? X2APIC : X2APIC & ~0x100, 0);
    apic.writeMsr(0x80f, 0x1ff, 0);
  }
  return { rig, apic: rig.lapics[0]! };
}
function read(apic: LocalApic, msr: number): number {
  expect([msr, apic.readMsr(msr)]).toEqual([msr, true]);
  return apic.msrLow;
}

describe("state transitions (x2APIC State Transitions)", () => {
  const states = { disabled: [DISABLED], xapic: [], x2apic: [X2APIC] } as const;
  const legal: Record<keyof typeof states, number[]> = {
    disabled: [DISABLED, XAPIC],
    xapic: [DISABLED, XAPIC, X2APIC],
    x2apic: [DISABLED, X2APIC],
  };
  for (const from of Object.keys(states) as (keyof typeof states)[]) {
    for (const to of [DISABLED, XAPIC, X2APIC, 0xfee00500]) {
      const works = legal[from].includes(to);
      test(`from ${from}, writing 0x${to.toString(16)} ${works ? "is legal" : "raises #GP"}`, () => {
        const apic = new ApicRig(1).lapics[0]!;
        for (const value of states[from]) expect(apic.writeMsr(0x1b, value, 0)).toBe(true);
        const before = read(apic, 0x1b);
        expect(apic.writeMsr(0x1b, to, 0)).toBe(works);
        expect(read(apic, 0x1b)).toBe(works ? to : before);
      });
    }
  }
  test("reserved bits 7:0 and 9, and bits above MAXPHYADDR, raise #GP", () => {
    const apic = new ApicRig(1, { physicalAddressBits: 36 }).lapics[0]!;
    for (let bit = 0; bit < 8; bit++) expect(apic.writeMsr(0x1b, XAPIC | (1 << bit), 0)).toBe(false);
    expect(apic.writeMsr(0x1b, XAPIC | 0x200, 0)).toBe(false);
    expect(apic.writeMsr(0x1b, XAPIC, 0x10)).toBe(false);
    expect(apic.writeMsr(0x1b, XAPIC, 0xf)).toBe(true);
  });
  test("EXTD is reserved without the feature", () => {
    expect(new ApicRig(1, { x2apic: false }).lapics[0]!.writeMsr(0x1b, X2APIC, 0)).toBe(false);
  });
  test("disabling loses the registers", () => {
    const { apic } = inX2();
    apic.writeMsr(0x808, 0x20, 0);
    apic.writeMsr(0x1b, DISABLED, 0);
    apic.writeMsr(0x1b, XAPIC, 0);
    expect([apic.read(0x80, 4), apic.read(0xf0, 4)]).toEqual([0, 0xff]);
  });
  test("going to x2APIC keeps what is pending and takes the page away", () => {
    const rig = new ApicRig(1);
    const apic = rig.lapics[0]!;
    apic.write(0xf0, 4, 0x1ff);
    rig.fabric.send(messageOf({ vector: 0x77 }));
    apic.writeMsr(0x1b, X2APIC, 0);
    expect([apic.mmioPage, apic.x2apic]).toEqual([-1, true]);
    expect(apic.acknowledge()).toBe(0x77);
  });
  test("INIT keeps x2APIC mode", () => {
    const { apic } = inX2();
    apic.initReset();
    expect(apic.x2apic).toBe(true);
    expect(read(apic, 0x80f)).toBe(0xff);
  });
});

describe("registers (x2APIC Register Address Space; Reserved Bit Checking)", () => {
  test("outside x2APIC mode the MSRs raise #GP", () => {
    const apic = new ApicRig(1).lapics[0]!;
    for (let msr = 0x800; msr < 0x900; msr++) {
      expect([msr, apic.readMsr(msr), apic.writeMsr(msr, 0, 0)]).toEqual([msr, false, false]);
    }
  });
  test("exactly the registers of the address map can be read and written", () => {
    const { apic } = inX2();
    const readable: number[] = [];
    const writable: number[] = [];
    for (let msr = 0x800; msr < 0x900; msr++) {
      if (apic.readMsr(msr)) readable.push(msr - 0x800);
      if (msr !== 0x830 && apic.writeMsr(msr, msr === 0x83f ? 0x20 : 0, 0)) writable.push(msr - 0x800);
    }
    const arrays = Array.from({ length: 24 }, (_, i) => 0x10 + i);
    const lvt = [0x32, 0x33, 0x34, 0x35, 0x36, 0x37];
    expect(readable).toEqual([2, 3, 8, 0xa, 0xd, 0xf, ...arrays, 0x28, 0x2f, 0x30, ...lvt, 0x38, 0x39, 0x3e]);
    expect(writable).toEqual([8, 0xb, 0xf, 0x28, 0x2f, ...lvt, 0x38, 0x3e, 0x3f]);
  });
  test("setting a reserved bit raises #GP and changes nothing", () => {
    const { apic } = inX2();
    const reserved: [number, number][] = [
      [0x808, 0x100],
      [0x80b, 1],
      [0x80f, 0x400],
      [0x80f, 0x2000],
      [0x828, 1],
      [0x830, 1 << 12],
      [0x830, 1 << 20],
      [0x832, 1 << 8],
      [0x832, 1 << 19],
      [0x835, 1 << 11],
      [0x837, 1 << 17],
      [0x83e, 4],
      [0x83f, 0x100],
    ];
    for (const [msr, value] of reserved) expect([msr, apic.writeMsr(msr, value, 0)]).toEqual([msr, false]);
    for (const msr of [0x808, 0x80b, 0x80f, 0x828, 0x832, 0x838, 0x83f]) {
      expect([msr, apic.writeMsr(msr, 0, 1)]).toEqual([msr, false]);
    }
    expect(read(apic, 0x80f)).toBe(0x1ff);
  });
  test("the id has 32 bits; LDR is cluster id and bit, derived from it", () => {
    for (const [id, ldr] of [
      [0, 0x0000_0001],
      [5, 0x0000_0020],
      [0x13, 0x0001_0008],
      [0x1234_567f, 0x4567_8000],
    ] as const) {
      const { apic } = inX2(1, [id]);
      expect(read(apic, 0x802)).toBe(id);
      expect(read(apic, 0x80d)).toBe(ldr);
      expect(apic.writeMsr(0x80d, 0, 0)).toBe(false);
    }
  });
});

describe("interrupts (ICR Operation in x2APIC Mode; SELF IPI Register; Interrupt Destination in x2APIC Mode)", () => {
  test("one WRMSR sends; the destination is the upper word; reading gives both back", () => {
    const { rig, apic } = inX2(3, [0, 0x100, 0x1_0002]);
    expect(apic.writeMsr(0x830, 0x4051, 0x100)).toBe(true);
    expect(rig.lapics[1]!.acknowledge()).toBe(0x51);
    expect(apic.writeMsr(0x830, 0x4052, 0x1_0002)).toBe(true);
    expect(rig.lapics[2]!.acknowledge()).toBe(0x52);
    expect(read(apic, 0x830)).toBe(0x4052);
    expect(apic.msrHigh).toBe(0x1_0002);
  });
  test("0xFFFFFFFF is everybody, physical and logical", () => {
    for (const low of [0x4051, 0x4851]) {
      const { rig, apic } = inX2(3);
      apic.writeMsr(0x830, low, 0xffff_ffff);
      expect(rig.lapics.map(a => a.acknowledge())).toEqual([0x51, 0x51, 0x51]);
    }
  });
  test("logical: cluster in the upper half, members as bits in the lower", () => {
    const { rig, apic } = inX2(4, [0x00, 0x11, 0x12, 0x21]);
    apic.writeMsr(0x830, 0x4851, 0x0001_0006);
    expect(rig.signals.map(s => s.level)).toEqual([false, true, true, false]);
  });
  test("SELF IPI is a fixed edge interrupt to itself; an illegal vector is a send error", () => {
    const { apic } = inX2();
    expect(apic.writeMsr(0x83f, 0x66, 0)).toBe(true);
    expect(apic.acknowledge()).toBe(0x66);
    expect(apic.writeMsr(0x83f, 0x0f, 0)).toBe(true);
    apic.writeMsr(0x828, 0, 0);
    expect(read(apic, 0x828)).toBe(0x20);
  });
  test("an 8-bit destination of an MSI or an I/O APIC finds x2APIC ids and clusters below 256", () => {
    const { rig } = inX2(2, [0, 5]);
    expect(rig.fabric.send(messageOf({ vector: 0x31, destination: 5 }))).toBe(1);
    expect(rig.lapics[1]!.acknowledge()).toBe(0x31);
    expect(rig.fabric.send(messageOf({ vector: 0x41, destination: 0x20, destinationMode: 1 }))).toBe(1);
    expect(rig.lapics[1]!.acknowledge()).toBe(0x41);
    expect(rig.fabric.send(messageOf({ vector: 0x51, destination: 0xff, deliveryMode: DELIVERY.nmi }))).toBe(2);
  });
  test("EOI by MSR 0x80B with 0", () => {
    const { rig, apic } = inX2();
    rig.fabric.send(messageOf({ vector: 0x51, trigger: 1 }));
    apic.acknowledge();
    expect(apic.writeMsr(0x80b, 0, 0)).toBe(true);
    expect(rig.eois).toEqual([0x51]);
  });
});
