import { beforeEach, describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import { Line } from "../ports/line.ts";
import { describePart } from "../ports/part.contract.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import type { Rng } from "../sim/rng.ts";
import { PM, PM1_CONTROL, PM1_STATUS } from "./acpi-pm.regs.ts";
import { AcpiPm } from "./acpi-pm.ts";

function make(timerBits: 0 | 24 | 32 = 24) {
  const queue = new EventQueue(new Clock());
  const sci = new Line("irq9");
  const told: string[] = [];
  const part = new AcpiPm({
    queue,
    sci: sci.pin(),
    timerBits,
    powerOff: () => told.push("off"),
    smiCommand: value => told.push(`smi ${value}`),
  });
  return {
    part,
    queue,
    sci,
    told,
    windows: [part.window, part.smiPort],
    outputs: [sci],
    sent: () => told.length,
    stimulate: (rng: Rng) => {
      if (rng.chance(1, 4)) part.powerButton();
      else part.raiseGpe(rng.below(64));
    },
  };
}

let rig: ReturnType<typeof make>;
beforeEach(() => {
  rig = make();
});
const outw = (offset: number, value: number): void => rig.part.window.write(offset, 2, value);
const inw = (offset: number): number => rig.part.window.read(offset, 2);
const timer = (): number => rig.part.window.read(PM.timer, 4);
function runTo(ns: number): void {
  const { queue } = rig;
  while (queue.nextDeadline() <= ns) {
    queue.clock.advanceTo(queue.nextDeadline());
    queue.runDue();
  }
  queue.clock.advanceTo(ns);
}
const SECOND = 1_000_000_000;
/** First ns at which the 24-bit timer's top bit changes for the nth time: n × 2^23 / 3579545 s. */
const carryTime = (n: number): number => Number((BigInt(n) * (1n << 23n) * 1_000_000_000n + 3_579_544n) / 3_579_545n);

describe("ACPI PM layouts (ACPI 6.4, 4.8.3)", () => {
  it("pins the bits of the specification", () => {
    const { timer: tmr, busMaster, global, powerButton, sleepButton, rtc, wake } = PM1_STATUS;
    expect([tmr, busMaster, global, powerButton, sleepButton, rtc, wake].map(f => f.mask)).toEqual([
      0x1, 0x10, 0x20, 0x100, 0x200, 0x400, 0x8000,
    ]);
    const { sciEnable, busMasterReload, globalRelease, sleepType, sleepEnable } = PM1_CONTROL;
    expect([sciEnable, busMasterReload, globalRelease, sleepType, sleepEnable].map(f => f.mask)).toEqual([
      0x1, 0x2, 0x4, 0x1c00, 0x2000,
    ]);
  });
});

describe("PM timer (4.8.3.3)", () => {
  it("counts 3579545 a second and wraps at 24 bits", () => {
    runTo(SECOND);
    expect(timer()).toBe(3_579_545);
    runTo(5 * SECOND);
    expect(timer()).toBe((5 * 3_579_545) % 2 ** 24);
  });
  it("wraps at 32 bits when configured so", () => {
    rig = make(32);
    runTo(5 * SECOND);
    expect(timer()).toBe(5 * 3_579_545);
    runTo(1200 * SECOND);
    expect(timer()).toBe((1200 * 3_579_545) % 2 ** 32);
  });
  it("sets TMR_STS whenever the top bit changes, and interrupts when enabled", () => {
    rig.part.smiPort.write(0, 1, 0xf1);
    outw(PM.enable, 1);
    runTo(carryTime(1) - 1);
    expect(rig.sci.level).toBe(false);
    runTo(carryTime(1));
    expect(rig.sci.level).toBe(true);
    outw(PM.status, 1);
    expect(rig.sci.level).toBe(false);
    runTo(carryTime(2));
    expect(rig.sci.level).toBe(true);
  });
  it("sets TMR_STS without an alarm while nobody listens", () => {
    expect(rig.queue.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
    runTo(carryTime(1));
    expect(inw(PM.status)).toBe(1);
  });
});

describe("ACPI events and SCI", () => {
  it("interrupts only in ACPI mode; 0xF1 and 0xF0 to the SMI command port switch it", () => {
    outw(PM.enable, 0x100);
    rig.part.powerButton();
    expect([inw(PM.status), rig.sci.level]).toEqual([0x100, false]);
    rig.part.smiPort.write(0, 1, 0xf1);
    expect([inw(PM.control), rig.sci.level]).toEqual([1, true]);
    rig.part.smiPort.write(0, 1, 0xf0);
    expect([inw(PM.control), rig.sci.level]).toEqual([0, false]);
  });
  it("clears status bits that are written with 1", () => {
    rig.part.powerButton();
    outw(PM.status, 0x0001);
    expect(inw(PM.status)).toBe(0x100);
    rig.part.window.write(PM.status + 1, 1, 0x01);
    expect(inw(PM.status)).toBe(0);
  });
  it("has general purpose events with status and enable halves", () => {
    rig.part.smiPort.write(0, 1, 0xf1);
    rig.part.raiseGpe(9);
    expect(rig.part.window.read(PM.gpe + 1, 1)).toBe(2);
    rig.part.window.write(PM.gpe + 8 + 1, 1, 2);
    expect(rig.sci.level).toBe(true);
    rig.part.window.write(PM.gpe + 1, 1, 2);
    expect(rig.sci.level).toBe(false);
  });
});

describe("power off (PM1 control, 4.8.3.2.1)", () => {
  it.each([
    ["SLP_TYP 5", 0x3400],
    ["SLP_TYP 0, as QEMU's PIIX4 wants it", 0x2000],
  ])("%s with SLP_EN powers off", (_name, value) => {
    outw(PM.control, value);
    expect(rig.told).toEqual(["off"]);
    expect(inw(PM.control) & 0x2000).toBe(0);
  });
  it("does nothing without SLP_EN or for another sleep type", () => {
    outw(PM.control, 0x1400);
    outw(PM.control, 0x2400);
    expect(rig.told).toEqual([]);
  });
});

describePart("ACPI PM", make);

describe("ACPI PM fuzz", () => {
  it(
    "has SCI high exactly while an enabled event is pending in ACPI mode",
    () => {
      fuzzPart(make, "acpi pm", { maxAdvance: 4_000_000_000 }, ({ part, sci }) => {
        const { status, enable, control, gpeStatus, gpeEnable } = part.state;
        const event = (status & enable) !== 0 || gpeStatus.some((byte, i) => (byte & gpeEnable[i]!) !== 0);
        expect(sci.level).toBe(event && (control & 1) === 1);
      });
    },
    FUZZ_TIMEOUT,
  );
});

describe("ACPI 4.8.3.3: a block without PM timer", () => {
  it("reads 0, never carries, and asks for no time", () => {
    rig = make(0);
    rig.part.window.write(PM.enable, 2, PM1_STATUS.timer.mask);
    rig.part.smiPort.write(0, 1, 0xf1);
    expect(rig.queue.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
    runTo(10 * SECOND);
    expect([timer(), inw(PM.status) & PM1_STATUS.timer.mask, rig.sci.level]).toEqual([0, 0, false]);
  });
});
