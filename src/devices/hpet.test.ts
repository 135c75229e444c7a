import { beforeEach, describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import { Line } from "../ports/line.ts";
import { describePart } from "../ports/part.contract.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import { Rng } from "../sim/rng.ts";
import { HPET, HPET_CAPABILITIES, HPET_CONFIGURATION, HPET_TIMER_CONFIG } from "./hpet.regs.ts";
import { Hpet } from "./hpet.ts";

function make() {
  const queue = new EventQueue(new Clock());
  const lines = Array.from({ length: 24 }, (_, i) => new Line(`gsi${i}`, i));
  const legacyIrq0 = new Line("irq0");
  const legacyIrq8 = new Line("irq8");
  const told: string[] = [];
  const part = new Hpet({
    queue,
    pin: input => lines[input]?.pin() ?? null,
    legacyIrq0: legacyIrq0.pin(),
    legacyIrq8: legacyIrq8.pin(),
    legacyReplacement: on => told.push(`legacy ${on}`),
    msi: { msi: (address, data) => void told.push(`msi ${address.toString(16)} ${data.toString(16)}`) },
  });
  const outputs = [...lines, legacyIrq0, legacyIrq8];
  const stimulate = (rng: Rng): void => {
    // Most of the window is reserved: aim at registers, with values near the counter.
    const offset = rng.pick([0x10, 0x10, 0x20, 0xf0, 0x100, 0x108, 0x10c, 0x120, 0x128, 0x140, 0x148]);
    const near = part.window.read(0xf0, 4) + rng.below(5000);
    part.window.write(offset, 4, rng.pick([rng.below(0x10000), rng.below(4) | 1, near >>> 0, rng.u32()]));
  };
  const windows = [part.window];
  return { part, queue, lines, legacyIrq0, legacyIrq8, told, outputs, windows, sent: () => told.length, stimulate };
}

let rig: ReturnType<typeof make>;
let rises: [time: number, name: string][];
const write = (offset: number, value: number): void => rig.part.window.write(offset, 4, value >>> 0);
const read = (offset: number): number => rig.part.window.read(offset, 4);
const write64 = (offset: number, value: bigint): void => {
  write(offset, Number(value & 0xffffffffn));
  write(offset + 4, Number(value >> 32n));
};
const read64 = (offset: number): bigint => (BigInt(read(offset + 4)) << 32n) | BigInt(read(offset));
/** Runs `ticks` ticks of 10 ns. */
function run(ticks: number): void {
  const { queue } = rig;
  const end = queue.clock.now() + ticks * 10;
  while (queue.nextDeadline() <= end) {
    queue.clock.advanceTo(queue.nextDeadline());
    queue.runDue();
  }
  queue.clock.advanceTo(end);
}
function build(): void {
  rig = make();
  rises = [];
  for (const line of rig.outputs) {
    line.connect(
      {
        lineChanged: (_pin, level) => {
          if (level) rises.push([rig.queue.clock.now() / 10, line.name]);
        },
      },
      0,
    );
  }
}
beforeEach(build);

const config = (n: number): number => HPET.timers + 0x20 * n;
const comparator = (n: number): number => config(n) + 8;
const { level, interruptEnable, periodic, valueSet, mode32, fsbEnable, route } = HPET_TIMER_CONFIG;
const routed = (input: number, ...fields: { mask: number }[]): number =>
  route.put(0, input) | fields.reduce((word, f) => word | f.mask, interruptEnable.mask);
const ENABLE = 1;
const LEGACY = 2;

describe("HPET layouts and capabilities (IA-PC HPET 1.0a, 2.3.4 to 2.3.8)", () => {
  it("pins the bits of the specification", () => {
    expect([HPET_CONFIGURATION.enable.mask, HPET_CONFIGURATION.legacy.mask]).toEqual([1, 2]);
    expect([level, interruptEnable, periodic, valueSet, mode32, route, fsbEnable].map(f => f.mask)).toEqual([
      0x2, 0x4, 0x8, 0x40, 0x100, 0x3e00, 0x4000,
    ]);
    // The literal capability word of Intel's ICH: 8086A201h has three timers, 64 bits, legacy, revision 1.
    expect(HPET_CAPABILITIES.lastTimer.of(0x8086a201)).toBe(2);
  });
  it("tells three 64-bit timers, legacy routing and a period of 10 ns", () => {
    expect(read(0)).toBe(0x8086a201);
    expect(read(4)).toBe(10_000_000);
    expect(read(config(0))).toBe(0x8030);
    expect(read(config(0) + 4)).toBe(0x00ff0104);
    expect(read64(comparator(0))).toBe(0xffffffffffffffffn);
  });
});

describe("HPET main counter (2.3.7)", () => {
  it("counts 100 ticks a microsecond while enabled, and holds while halted", () => {
    run(1000);
    expect(read64(HPET.counter)).toBe(0n);
    write(HPET.configuration, ENABLE);
    run(250);
    expect(read64(HPET.counter)).toBe(250n);
    write(HPET.configuration, 0);
    run(1000);
    expect(read64(HPET.counter)).toBe(250n);
    write64(HPET.counter, 0xffff_fffen);
    write(HPET.configuration, ENABLE);
    run(4);
    expect(read64(HPET.counter)).toBe(0x1_0000_0002n);
  });
  it("wraps after 64 bits", () => {
    write64(HPET.counter, 0xffff_ffff_ffff_ffffn);
    write(HPET.configuration, ENABLE);
    run(2);
    expect(read64(HPET.counter)).toBe(1n);
  });
});

describe("HPET one-shot timers (2.3.9.2.1)", () => {
  it("makes an edge at the match, once, on the routed input", () => {
    write(config(0), routed(16));
    write64(comparator(0), 500n);
    write(HPET.configuration, ENABLE);
    run(10_000);
    expect(rises).toEqual([[500, "gsi16"]]);
    expect(read(HPET.status)).toBe(0);
  });
  it("does not interrupt for a comparator in the past", () => {
    write(config(0), routed(16));
    write(HPET.configuration, ENABLE);
    run(1000);
    write64(comparator(0), 999n);
    run(100_000);
    expect(rises).toEqual([]);
    write64(comparator(0), 200_000n);
    run(200_000);
    expect(rises).toEqual([[200_000, "gsi16"]]);
  });
  it("in 32-bit mode matches again when the low half wraps", () => {
    write(config(1), routed(17, mode32));
    write64(HPET.counter, 0x7_0000_0000n);
    write(comparator(1), 100);
    write(HPET.configuration, ENABLE);
    run(2 ** 32 + 200);
    expect(rises).toEqual([
      [100, "gsi17"],
      [2 ** 32 + 100, "gsi17"],
    ]);
  });
  it("routes only to inputs that its capability mask allows", () => {
    write(config(0), routed(16));
    write(config(0), routed(5));
    expect(route.of(read(config(0)))).toBe(16);
  });
  it("makes no interrupt while disabled", () => {
    write(config(0), route.put(0, 16));
    write64(comparator(0), 10n);
    write(HPET.configuration, ENABLE);
    run(100);
    expect(rises).toEqual([]);
  });
});

describe("HPET level-triggered timers (2.3.6, 2.3.8)", () => {
  it("holds the line until its status bit is written with 1", () => {
    write(config(2), routed(18, level));
    write64(comparator(2), 50n);
    write(HPET.configuration, ENABLE);
    run(60);
    expect(rig.lines[18]!.level).toBe(true);
    expect(read(HPET.status)).toBe(4);
    write(HPET.status, 3);
    expect(rig.lines[18]!.level).toBe(true);
    write(HPET.status, 4);
    expect([rig.lines[18]!.level, read(HPET.status)]).toEqual([false, 0]);
  });
  it("sets the status bit without an interrupt while INT_ENB is 0", () => {
    write(config(0), route.put(level.mask, 16));
    write64(comparator(0), 50n);
    write(HPET.configuration, ENABLE);
    run(60);
    expect([read(HPET.status), rig.lines[16]!.level]).toEqual([1, false]);
  });
});

describe("HPET periodic timers (2.3.9.2.2)", () => {
  it("with VAL_SET one write sets accumulator and period, and VAL_SET clears itself", () => {
    write(config(0), routed(16, periodic, valueSet, mode32));
    expect(valueSet.on(read(config(0)))).toBe(true);
    write(comparator(0), 1000);
    expect(valueSet.on(read(config(0)))).toBe(false);
    write(HPET.configuration, ENABLE);
    run(3500);
    expect(rises.map(r => r[0])).toEqual([1000, 2000, 3000]);
    expect(read(comparator(0))).toBe(4000);
  });
  it("without VAL_SET a write sets the period only (what Linux writes second)", () => {
    write(HPET.configuration, ENABLE);
    run(100);
    write(config(0), routed(16, periodic, valueSet, mode32));
    write(comparator(0), 700);
    write(comparator(0), 300);
    run(1600 - 100);
    expect(rises.map(r => r[0])).toEqual([700, 1000, 1300, 1600]);
  });
  it("takes 64-bit periods in two halves", () => {
    write(config(0), routed(16, periodic, valueSet));
    write64(comparator(0), 0x1_0000_0000n);
    write(HPET.configuration, ENABLE);
    run(2 * 2 ** 32);
    expect(rises.map(r => r[0])).toEqual([2 ** 32, 2 * 2 ** 32]);
    expect(read64(comparator(0))).toBe(0x3_0000_0000n);
  });
  it("interrupts at most every 128 ticks, and the accumulator keeps up", () => {
    write(config(0), routed(16, periodic, valueSet, mode32));
    write(comparator(0), 3);
    write(HPET.configuration, ENABLE);
    run(1000);
    expect(rises.length).toBeLessThanOrEqual(1000 / 128 + 1);
    expect(read(comparator(0))).toBe(1002);
  });
  it("keeps its phase over an hour", () => {
    write(config(0), routed(16, periodic, valueSet));
    write(comparator(0), 99_999_999);
    write(comparator(0) + 4, 0);
    write(HPET.configuration, ENABLE);
    run(3600 * 99_999_999);
    expect(rises.length).toBe(3600);
    expect(rises.at(-1)![0]).toBe(3600 * 99_999_999);
  });
});

describe("HPET legacy replacement (2.3.5) and FSB delivery (2.3.10)", () => {
  it("takes IRQ 0 and 8 only while both bits are set, and tells the board", () => {
    write(config(0), routed(16));
    write(config(1), routed(17));
    write64(comparator(0), 10n);
    write64(comparator(1), 20n);
    write(HPET.configuration, LEGACY);
    expect(rig.told).toEqual([]);
    write(HPET.configuration, ENABLE | LEGACY);
    run(100);
    expect(rig.told).toEqual(["legacy true"]);
    expect(rises).toEqual([
      [10, "irq0"],
      [20, "irq8"],
    ]);
    write(HPET.configuration, ENABLE);
    expect([rig.legacyIrq0.level, rig.legacyIrq8.level]).toEqual([false, false]);
    expect(rig.told).toEqual(["legacy true", "legacy false"]);
  });
  it("sends a message instead of driving a line", () => {
    write(config(0), routed(16, fsbEnable));
    write(config(0) + 0x10, 0x4041);
    write(config(0) + 0x14, 0xfee01000);
    write64(comparator(0), 10n);
    write(HPET.configuration, ENABLE);
    run(100);
    expect(rig.told).toEqual(["msi fee01000 4041"]);
    expect(rises).toEqual([]);
  });
});

describe("HPET against a comparator that looks at every tick", () => {
  it("has the same interrupts and accumulators", () => {
    const rng = new Rng("hpet");
    for (let round = 0; round < 150; round++) {
      build();
      const narrow = rng.chance(1, 2);
      const isPeriodic = rng.chance(1, 2);
      const mask = narrow ? 0xffffffffn : 0xffffffffffffffffn;
      let counter = rng.pick([0n, 0xffff_ff00n, 0xffff_ffff_ffff_f800n, 0x1_2345_0000n]) + BigInt(rng.below(100));
      const period = BigInt(128 + rng.below(700));
      let target = (counter + BigInt(rng.below(1000))) & mask;
      write64(HPET.counter, counter);
      write(config(0), routed(16, ...(narrow ? [mode32] : []), ...(isPeriodic ? [periodic, valueSet] : [])));
      write64(comparator(0), target);
      if (isPeriodic) {
        write(comparator(0), Number(period));
        write(comparator(0) + 4, 0);
      }
      write(HPET.configuration, ENABLE);
      const expected: number[] = [];
      const ticks = 5000;
      for (let tick = 0; tick <= ticks; tick++, counter = (counter + 1n) & 0xffffffffffffffffn) {
        if ((counter & mask) !== target) continue;
        expected.push(tick);
        if (isPeriodic) target = (target + period) & mask;
      }
      for (let gone = 0; gone < ticks; ) {
        const hop = Math.min(1 + rng.below(1500), ticks - gone);
        run(hop);
        gone += hop;
        if (rng.chance(1, 2)) read(comparator(0));
      }
      expect(rises.map(r => r[0])).toEqual(expected);
      expect(read64(comparator(0))).toBe(target);
    }
  });
});

describePart("HPET", make);

describe("HPET fuzz", () => {
  it(
    "drives a line only for a timer that is enabled, and status bits only exist for its timers",
    () => {
      fuzzPart(make, "hpet", { maxAdvance: 100_000 }, ({ part, outputs }) => {
        expect(part.state.status).toBeLessThan(8);
        const drivers = part.state.timers.filter(t => interruptEnable.on(t.config) && !fsbEnable.on(t.config)).length;
        expect(outputs.filter(line => line.level).length).toBeLessThanOrEqual(drivers);
        for (const timer of part.state.timers) {
          if (mode32.on(timer.config)) expect([timer.comparatorHigh, timer.periodHigh]).toEqual([0, 0]);
        }
      });
    },
    FUZZ_TIMEOUT,
  );
});
