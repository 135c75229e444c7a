/** Intel SDM vol. 3A, section "APIC Timer". The bus clock is 1 GHz: one count is one nanosecond times the divider. */
import { describe, expect, test } from "vitest";
import { ApicRig, TICKS_PER_NS } from "./apic-rig.testing.ts";
import type { LocalApic } from "./lapic.ts";
import { dividerOf } from "./lapic-timer.ts";

const DIVIDE_BY_1 = 0xb;
function timer(lvt: number): { rig: ApicRig; apic: LocalApic } {
  const rig = new ApicRig(1);
  const apic = rig.lapics[0]!;
  apic.write(0xf0, 4, 0x1ff);
  apic.write(0x3e0, 4, DIVIDE_BY_1);
  apic.write(0x320, 4, lvt);
  return { rig, apic };
}
const current = (apic: LocalApic) => apic.read(0x390, 4);

test("divide configuration 0, 1, 2, 3, 8, 9, A, B divides by 2, 4, 8, 16, 32, 64, 128, 1", () => {
  expect([0, 1, 2, 3, 8, 9, 0xa, 0xb].map(dividerOf)).toEqual([2, 4, 8, 16, 32, 64, 128, 1]);
});

describe("one-shot", () => {
  test("counts down from the initial count and fires at zero, once", () => {
    const { rig, apic } = timer(0x40);
    apic.write(0x380, 4, 1000);
    expect(current(apic)).toBe(1000);
    rig.pass(1);
    expect(current(apic)).toBe(999);
    rig.pass(998);
    expect([current(apic), rig.signals[0]!.level]).toEqual([1, false]);
    rig.pass(1);
    expect([current(apic), rig.signals[0]!.level]).toEqual([0, true]);
    expect(apic.acknowledge()).toBe(0x40);
    apic.eoi();
    rig.pass(100000);
    expect(rig.signals[0]!.level).toBe(false);
    expect(apic.read(0x380, 4)).toBe(1000);
  });
  test("the divider: by 16 a count takes 16 ns", () => {
    const { rig, apic } = timer(0x40);
    apic.write(0x3e0, 4, 3);
    apic.write(0x380, 4, 10);
    rig.pass(15);
    expect(current(apic)).toBe(10);
    rig.pass(1);
    expect(current(apic)).toBe(9);
    rig.pass(143);
    expect(rig.signals[0]!.level).toBe(false);
    rig.pass(1);
    expect(rig.signals[0]!.level).toBe(true);
  });
  test("writing 0 stops it, writing again restarts it", () => {
    const { rig, apic } = timer(0x40);
    apic.write(0x380, 4, 100);
    rig.pass(50);
    apic.write(0x380, 4, 100);
    rig.pass(99);
    expect(rig.signals[0]!.level).toBe(false);
    apic.write(0x380, 4, 0);
    rig.pass(1000);
    expect([current(apic), rig.signals[0]!.level]).toEqual([0, false]);
  });
  test("masked it counts and fires nothing, also not later", () => {
    const { rig, apic } = timer(0x10040);
    apic.write(0x380, 4, 100);
    rig.pass(60);
    expect(current(apic)).toBe(40);
    rig.pass(60);
    apic.write(0x320, 4, 0x40);
    rig.pass(1000);
    expect(rig.signals[0]!.level).toBe(false);
  });
  test("a new divider goes on with the present count", () => {
    const { rig, apic } = timer(0x40);
    apic.write(0x380, 4, 100);
    rig.pass(40);
    apic.write(0x3e0, 4, 0);
    expect(current(apic)).toBe(60);
    rig.pass(119);
    expect(rig.signals[0]!.level).toBe(false);
    rig.pass(1);
    expect(rig.signals[0]!.level).toBe(true);
  });
});

describe("periodic", () => {
  test("reloads and fires every period", () => {
    const { rig, apic } = timer(0x2_0040);
    apic.write(0x380, 4, 100);
    for (let i = 0; i < 5; i++) {
      rig.pass(99);
      expect([rig.signals[0]!.level, current(apic)]).toEqual([false, 1]);
      rig.pass(1);
      expect([rig.signals[0]!.level, current(apic)]).toEqual([true, 100]);
      apic.acknowledge();
      apic.eoi();
    }
  });
  test("after a jump over several periods it fires once and keeps its phase", () => {
    const { rig, apic } = timer(0x2_0040);
    apic.write(0x380, 4, 100);
    rig.clock.advanceTo(350);
    rig.queue.runDue();
    expect(apic.acknowledge()).toBe(0x40);
    expect([rig.queue.nextDeadline(), current(apic)]).toEqual([400, 50]);
  });
  test("read in the middle of a slice after the deadline, the count has been reloaded", () => {
    const { rig, apic } = timer(0x2_0040);
    apic.write(0x380, 4, 100);
    let elapsed = 0;
    rig.clock.enter({ elapsed: () => elapsed });
    const counts = [99, 100, 101, 199, 200].map(ns => {
      elapsed = ns;
      return current(apic);
    });
    rig.clock.leave();
    expect(counts).toEqual([1, 100, 99, 1, 100]);
  });
});

describe("changing between one-shot and periodic (kvm-unit-tests apic.c, test_apic_change_mode)", () => {
  test("keeps counting, and takes the new mode at zero", () => {
    const { rig, apic } = timer(0x40);
    apic.write(0x380, 4, 1000);
    rig.pass(600);
    apic.write(0x320, 4, 0x2_0040);
    expect(current(apic)).toBe(400);
    rig.pass(500);
    expect(current(apic)).toBe(900);
    apic.write(0x320, 4, 0x40);
    rig.pass(900);
    expect(current(apic)).toBe(0);
    rig.pass(5000);
    expect(current(apic)).toBe(0);
  });
  test("a count that has ended stays at zero", () => {
    const { rig, apic } = timer(0x40);
    apic.write(0x380, 4, 10);
    rig.pass(20);
    apic.write(0x320, 4, 0x2_0040);
    rig.pass(100);
    expect(current(apic)).toBe(0);
  });
});

describe("TSC-deadline (TSC-Deadline Mode)", () => {
  const deadline = (rig: ApicRig, apic: LocalApic, ns: number) => {
    const tsc = (rig.clock.now() + ns) * TICKS_PER_NS;
    expect(apic.writeMsr(0x6e0, tsc >>> 0, Math.floor(tsc / 0x1_0000_0000))).toBe(true);
  };
  const value = (apic: LocalApic) => {
    expect(apic.readMsr(0x6e0)).toBe(true);
    return apic.msrHigh * 0x1_0000_0000 + apic.msrLow;
  };
  test("fires when the TSC reaches the value, then the MSR reads 0", () => {
    const { rig, apic } = timer(0x4_0040);
    rig.pass(10_000_000_000);
    deadline(rig, apic, 500);
    expect(value(apic)).toBe(10_000_000_500 * TICKS_PER_NS);
    rig.pass(499);
    expect(rig.signals[0]!.level).toBe(false);
    rig.pass(1);
    expect(rig.signals[0]!.level).toBe(true);
    expect(value(apic)).toBe(0);
  });
  test("a value in the past fires at once, 0 disarms", () => {
    const { rig, apic } = timer(0x4_0040);
    rig.pass(1000);
    deadline(rig, apic, -10);
    rig.pass(0);
    expect(apic.acknowledge()).toBe(0x40);
    apic.eoi();
    deadline(rig, apic, 100);
    apic.writeMsr(0x6e0, 0, 0);
    rig.pass(1000);
    expect(rig.signals[0]!.level).toBe(false);
  });
  test("initial-count writes are ignored and current count reads 0", () => {
    const { rig, apic } = timer(0x4_0040);
    apic.write(0x380, 4, 100);
    expect([apic.read(0x380, 4), current(apic)]).toEqual([0, 0]);
    rig.pass(1000);
    expect(rig.signals[0]!.level).toBe(false);
  });
  test("in another mode the MSR ignores writes and reads 0", () => {
    const { rig, apic } = timer(0x40);
    deadline(rig, apic, 100);
    expect(value(apic)).toBe(0);
    rig.pass(1000);
    expect(rig.signals[0]!.level).toBe(false);
  });
  test("changing to or from this mode disarms", () => {
    const { rig, apic } = timer(0x4_0040);
    deadline(rig, apic, 100);
    apic.write(0x320, 4, 0x40);
    rig.pass(200);
    apic.write(0x380, 4, 100);
    apic.write(0x320, 4, 0x4_0040);
    rig.pass(200);
    expect(rig.signals[0]!.level).toBe(false);
  });
  test("a write to the TSC moves the deadline", () => {
    const { rig, apic } = timer(0x4_0040);
    deadline(rig, apic, 1000);
    rig.tscOffset = 500 * TICKS_PER_NS;
    apic.tscChanged();
    rig.pass(499);
    expect(rig.signals[0]!.level).toBe(false);
    rig.pass(1);
    expect(rig.signals[0]!.level).toBe(true);
  });
  test("the farthest value does not fire in a year", () => {
    const { rig, apic } = timer(0x4_0040);
    apic.writeMsr(0x6e0, 0xffff_ffff, 0xffff_ffff);
    rig.pass(365 * 86400e9);
    expect(rig.signals[0]!.level).toBe(false);
  });
  test("without the feature mode bit 18 stays 0 and the MSR raises #GP", () => {
    const apic = new ApicRig(1, { tscDeadline: false }).lapics[0]!;
    apic.write(0x320, 4, 0x5_0040);
    expect(apic.read(0x320, 4)).toBe(0x1_0040);
    expect([apic.readMsr(0x6e0), apic.writeMsr(0x6e0, 0, 0)]).toEqual([false, false]);
  });
});
