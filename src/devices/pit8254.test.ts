import { beforeEach, describe, expect, it } from "vitest";
import { Line } from "../ports/line.ts";
import { describePart } from "../ports/part.contract.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import { Rng } from "../sim/rng.ts";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import { PIT, PIT_CONTROL, PIT_HZ, PIT_READ_BACK, PIT_STATUS } from "./pit8254.regs.ts";
import { Pit8254 } from "./pit8254.ts";

/** First whole ns at which `pulse` clock pulses have passed. */
const timeOf = (pulse: number): number =>
  Number((BigInt(pulse) * 1_000_000_000n + BigInt(PIT_HZ - 1)) / BigInt(PIT_HZ));

let clock: Clock;
let queue: EventQueue;
let line: Line;
let pit: Pit8254;
let edges: [pulse: number, level: boolean][];

function build(): void {
  clock = new Clock();
  queue = new EventQueue(clock);
  line = new Line("irq0");
  edges = [];
  line.connect({ lineChanged: (_pin, level) => edges.push([pulseNow(), level]) }, 0);
  pit = new Pit8254({ queue, irq: line.pin() });
}
const pulseNow = (): number => Number((BigInt(clock.now()) * BigInt(PIT_HZ)) / 1_000_000_000n);

/** Runs alarms up to clock pulse `pulse`. */
function runTo(pulse: number): void {
  const end = timeOf(pulse);
  while (queue.nextDeadline() <= end) {
    clock.advanceTo(queue.nextDeadline());
    queue.runDue();
  }
  clock.advanceTo(end);
}
const out = (offset: number, value: number): void => pit.window.write(offset, 1, value);
const inb = (offset: number): number => pit.window.read(offset, 1);
function program(channel: number, mode: number, count: number, bcd = 0): void {
  out(PIT.control, (channel << 6) | 0x30 | (mode << 1) | bcd);
  out(channel, count & 0xff);
  out(channel, count >>> 8);
}
function readCount(channel: number): number {
  out(PIT.control, channel << 6);
  const low = inb(channel);
  return low | (inb(channel) << 8);
}
const readStatus = (channel: number): number => {
  out(PIT.control, 0xe0 | (2 << channel));
  return inb(channel);
};

beforeEach(build);

describe("8254 layouts", () => {
  it("pins the words of the datasheet (control word, read-back command, status byte)", () => {
    // Counter 0, both bytes, mode 3, binary is the word that every BIOS writes.
    expect([PIT_CONTROL.select, PIT_CONTROL.access, PIT_CONTROL.mode, PIT_CONTROL.bcd].map(f => f.of(0x36))).toEqual([
      0, 3, 3, 0,
    ]);
    // Read-back: 11 in D7-D6, COUNT# D5, STATUS# D4, CNT2-CNT0 D3-D1.
    expect([PIT_READ_BACK.command, PIT_READ_BACK.counters].map(f => f.of(0xc2))).toEqual([3, 1]);
    expect(PIT_READ_BACK.noCount.mask).toBe(0x20);
    expect(PIT_READ_BACK.noStatus.mask).toBe(0x10);
    expect([PIT_STATUS.out.mask, PIT_STATUS.nullCount.mask]).toEqual([0x80, 0x40]);
  });
});

describe("8254 mode 0 (datasheet: interrupt on terminal count)", () => {
  it("raises OUT N+1 clock pulses after the count was written", () => {
    runTo(100);
    program(0, 0, 4);
    edges.length = 0;
    expect(line.level).toBe(false);
    runTo(200);
    expect(edges).toEqual([[105, true]]);
  });
  it("continues from a new count, and OUT goes low with it", () => {
    program(0, 0, 4);
    edges.length = 0;
    runTo(50);
    out(0, 3);
    expect(line.level).toBe(false);
    out(0, 0);
    runTo(60);
    expect(edges.map(e => e[0])).toEqual([5, 50, 54]);
  });
  it("stops counting while only the first byte of a new count is written", () => {
    program(0, 0, 10);
    edges.length = 0;
    runTo(5);
    out(0, 2);
    runTo(100);
    expect(line.level).toBe(false);
    out(0, 0);
    runTo(200);
    expect(edges).toEqual([[103, true]]);
  });
  it("does not count while GATE is low", () => {
    pit.setGate(2, true);
    program(2, 0, 10);
    runTo(4);
    expect(readCount(2)).toBe(7);
    pit.setGate(2, false);
    runTo(1000);
    expect(readCount(2)).toBe(7);
    pit.setGate(2, true);
    runTo(1006);
    expect(pit.out(2)).toBe(false);
    runTo(1007);
    expect(pit.out(2)).toBe(true);
  });
  it("wraps to FFFF after zero and goes on counting (9999 in BCD)", () => {
    program(2, 0, 2);
    pit.setGate(2, true);
    runTo(4);
    expect(readCount(2)).toBe(0xffff);
    program(2, 0, 2, 1);
    runTo(8);
    expect(readCount(2)).toBe(0x9999);
  });
});

describe("8254 mode 1 (hardware retriggerable one-shot)", () => {
  it("pulses OUT low for N clock pulses after the trigger, and starts again when retriggered", () => {
    program(2, 1, 5);
    runTo(20);
    expect(pit.out(2)).toBe(true);
    pit.setGate(2, true);
    expect(pit.out(2)).toBe(true);
    const seen: boolean[] = [];
    for (let p = 21; p <= 27; p++) {
      runTo(p);
      seen.push(pit.out(2));
    }
    expect(seen).toEqual([false, false, false, false, false, true, true]);
    pit.setGate(2, false);
    pit.setGate(2, true);
    runTo(30);
    pit.setGate(2, false);
    pit.setGate(2, true);
    runTo(35);
    expect(pit.out(2)).toBe(false);
    runTo(36);
    expect(pit.out(2)).toBe(true);
  });
});

describe("8254 mode 2 (rate generator)", () => {
  it("goes low for one pulse, first N pulses after the count was written, then every N", () => {
    program(0, 2, 4);
    edges.length = 0;
    runTo(13);
    expect(edges).toEqual([
      [4, false],
      [5, true],
      [8, false],
      [9, true],
      [12, false],
      [13, true],
    ]);
  });
  it("takes a new count at the end of the present period", () => {
    program(0, 2, 5);
    runTo(2);
    out(0, 3);
    out(0, 0);
    edges.length = 0;
    runTo(13);
    expect(edges.filter(e => !e[1]).map(e => e[0])).toEqual([5, 8, 11]);
  });
  it("is held high by a low GATE and restarted by its rising edge", () => {
    pit.setGate(2, true);
    program(2, 2, 3);
    runTo(3);
    expect(pit.out(2)).toBe(false);
    pit.setGate(2, false);
    expect(pit.out(2)).toBe(true);
    runTo(50);
    expect(pit.out(2)).toBe(true);
    pit.setGate(2, true);
    runTo(52);
    expect(pit.out(2)).toBe(true);
    runTo(53);
    expect(pit.out(2)).toBe(false);
  });
  it("keeps its frequency over an hour to the nanosecond", () => {
    program(0, 2, 0);
    // The 65536-pulse period that a BIOS uses: pulse 65536 k of the crystal, after exactly that many periods.
    const k = 65_545;
    runTo(k * 0x10000 - 1);
    const before = edges.length;
    runTo(k * 0x10000);
    expect(edges.slice(before)).toEqual([[k * 0x10000, false]]);
    expect(clock.now()).toBe(timeOf(k * 0x10000));
  });
});

describe("8254 mode 3 (square wave)", () => {
  it("divides an even count into equal halves and counts by two", () => {
    program(0, 3, 4);
    edges.length = 0;
    runTo(9);
    expect(edges).toEqual([
      [3, false],
      [5, true],
      [7, false],
      [9, true],
    ]);
  });
  it("is high for (N+1)/2 and low for (N-1)/2 pulses when N is odd", () => {
    program(0, 3, 5);
    edges.length = 0;
    runTo(14);
    expect(edges).toEqual([
      [4, false],
      [6, true],
      [9, false],
      [11, true],
      [14, false],
    ]);
  });
  it("reads the counts that the datasheet describes for 4 (4 2 4 2) and 5 (4 2 0 4 2)", () => {
    const counts = (n: number): number[] => {
      build();
      program(0, 3, n);
      const seen: number[] = [];
      for (let p = 1; p <= 7; p++) {
        runTo(p);
        seen.push(readCount(0));
      }
      return seen;
    };
    expect(counts(4)).toEqual([4, 2, 4, 2, 4, 2, 4]);
    expect(counts(5)).toEqual([4, 2, 0, 4, 2, 4, 2]);
  });
});

describe("8254 modes 4 and 5 (strobes)", () => {
  it("strobes low for one pulse N+1 pulses after the count was written (mode 4), once", () => {
    program(0, 4, 3);
    edges.length = 0;
    runTo(200_000);
    expect(edges).toEqual([
      [4, false],
      [5, true],
    ]);
  });
  it("strobes N+1 pulses after the trigger (mode 5)", () => {
    program(2, 5, 3);
    runTo(10);
    pit.setGate(2, true);
    runTo(13);
    expect(pit.out(2)).toBe(true);
    runTo(14);
    expect(pit.out(2)).toBe(false);
    runTo(15);
    expect(pit.out(2)).toBe(true);
  });
});

describe("8254 read operations (datasheet: read operations)", () => {
  it("holds a latched count until it is read and ignores a second latch", () => {
    program(0, 2, 1000);
    runTo(11);
    out(PIT.control, 0);
    runTo(50);
    out(PIT.control, 0);
    expect(inb(0) | (inb(0) << 8)).toBe(990);
    expect(inb(0)).toBe(951 & 0xff);
  });
  it("read-back latches count and status of several counters; status is read first", () => {
    program(0, 2, 1000);
    program(2, 0, 7);
    runTo(11);
    out(PIT.control, 0xc0 | 0x02 | 0x08);
    expect(inb(0)).toBe(0x80 | 0x34);
    expect(inb(0) | (inb(0) << 8)).toBe(990);
    expect(inb(2)).toBe(0x30);
  });
  it("shows null count from the write until the transfer (null count operation)", () => {
    out(PIT.control, 0x34);
    expect(PIT_STATUS.nullCount.on(readStatus(0))).toBe(true);
    out(0, 10);
    out(0, 0);
    expect(PIT_STATUS.nullCount.on(readStatus(0))).toBe(true);
    runTo(1);
    expect(PIT_STATUS.nullCount.on(readStatus(0))).toBe(false);
    out(0, 20);
    out(0, 0);
    runTo(9);
    expect(PIT_STATUS.nullCount.on(readStatus(0))).toBe(true);
    runTo(11);
    expect(PIT_STATUS.nullCount.on(readStatus(0))).toBe(false);
  });
  it("reads one byte when programmed so, and counts in BCD", () => {
    out(PIT.control, 0x10 | 0x04);
    out(0, 100);
    runTo(11);
    expect([inb(0), inb(0)]).toEqual([90, 90]);
    out(PIT.control, 0x20 | 0x04 | 1);
    out(0, 0x12);
    runTo(12 + 1);
    expect(inb(0)).toBe(0x11);
  });
  it("returns all-ones from the control port", () => {
    expect(inb(PIT.control)).toBe(0xff);
  });
});

describe("PIT on the board", () => {
  it("is quiet after a reset: OUT 0 high, no alarm, and no edge when a rate generator is programmed", () => {
    for (const phase of ["enter", "hold", "exit"] as const) pit.reset(phase, "power");
    expect([line.level, queue.nextDeadline()]).toEqual([true, Number.POSITIVE_INFINITY]);
    edges.length = 0;
    program(0, 2, 100);
    runTo(99);
    expect(edges).toEqual([]);
  });
  it("drops its line and makes no alarms while it is disconnected", () => {
    program(0, 3, 100);
    runTo(10);
    expect(line.level).toBe(true);
    pit.setIrqConnected(false);
    expect(line.level).toBe(false);
    expect(queue.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
    runTo(1010);
    edges.length = 0;
    pit.setIrqConnected(true);
    runTo(1100);
    expect(edges.map(e => e[0])).toEqual([1010, 1051]);
  });
});

/** The datasheet word by word, one clock pulse at a time. Independent of the model: it steps, the model computes. */
class SlowCounter {
  mode = 3;
  bcd = false;
  gate = true;
  out = true;
  count = 0;
  element = 0;
  loadNext = false;
  counting = false;
  done = false;
  half = 0;

  control(mode: number, bcd: boolean): void {
    this.mode = mode;
    this.bcd = bcd;
    this.out = mode !== 0;
    this.count = 0;
    this.loadNext = this.counting = false;
  }
  write(raw: number): void {
    const digits = raw.toString(16);
    this.count = this.bcd ? Number(digits) || 10_000 : raw || 65_536;
    if (this.mode === 0) this.out = false;
    if (this.mode === 0 || this.mode === 4) this.loadNext = true;
    if ((this.mode === 2 || this.mode === 3) && !this.counting) this.loadNext = true;
  }
  setGate(level: boolean): void {
    if (level && !this.gate && this.count > 0 && [1, 2, 3, 5].includes(this.mode)) this.loadNext = true;
    if (!level && (this.mode === 2 || this.mode === 3)) this.out = true;
    this.gate = level;
  }
  private load(): void {
    this.element = this.count;
    this.counting = true;
    this.done = false;
    this.half = Math.ceil(this.count / 2);
  }
  pulse(): void {
    if (this.mode >= 4) this.out = true;
    if (this.loadNext) {
      this.loadNext = false;
      this.load();
      if (this.mode === 1) this.out = false;
      if (this.mode === 2 || this.mode === 3) this.out = true;
      return;
    }
    if (!this.counting) return;
    if (!this.gate && this.mode !== 1 && this.mode !== 5) return;
    if (this.mode === 2) {
      if (this.element === 1) this.load();
      else this.element--;
      this.out = this.element !== 1;
    } else if (this.mode === 3) {
      if (--this.half === 0) {
        this.out = !this.out;
        this.load();
        this.half = this.out ? Math.ceil(this.count / 2) : Math.floor(this.count / 2);
      }
    } else {
      const top = this.bcd ? 10_000 : 65_536;
      this.element = (this.element - 1 + top) % top;
      if (this.element === 0 && !this.done) {
        this.done = true;
        this.out = this.mode < 4;
      }
    }
  }
}

describe("8254 against a counter stepped pulse by pulse", () => {
  it("has the same OUT, count and line level after random programs", () => {
    for (let seed = 0; seed < 300; seed++) {
      build();
      const rng = new Rng(seed);
      const slow = new SlowCounter();
      let pulse = 0;
      const channel = rng.chance(1, 2) ? 0 : 2;
      if (channel === 2) pit.setGate(2, true);
      for (let step = 0; step < 60; step++) {
        const what = rng.below(10);
        if (what < 2) {
          const mode = rng.below(6);
          const bcd = rng.chance(1, 4);
          out(PIT.control, (channel << 6) | 0x30 | (mode << 1) | (bcd ? 1 : 0));
          slow.control(mode, bcd);
        } else if (what < 5) {
          let raw = rng.chance(1, 8) ? 0 : 2 + rng.below(8);
          if (rng.chance(1, 8)) raw = 0x1000 + rng.below(10) * 16 + rng.below(10);
          // In mode 0 the first byte alone stops the counter; both arrive in the same instant here.
          out(channel, raw & 0xff);
          out(channel, raw >>> 8);
          slow.write(raw);
        } else if (what < 7) {
          const gate = rng.chance(2, 3);
          pit.setGate(channel, gate);
          slow.setGate(gate);
        } else {
          const span = rng.chance(1, 10) ? rng.below(70_000) : rng.below(20);
          for (let i = 0; i < span; i++) slow.pulse();
          pulse += span;
          runTo(pulse);
        }
        expect(pit.out(channel)).toBe(slow.out);
        if (channel === 0) expect(line.level).toBe(slow.out);
        if (slow.counting && slow.mode !== 3) {
          const top = slow.bcd ? 10_000 : 65_536;
          expect(readCount(channel)).toBe(Number.parseInt(String(slow.element % top), slow.bcd ? 16 : 10));
        }
      }
    }
  });
});

function makeFixture() {
  const itsQueue = new EventQueue(new Clock());
  const irq = new Line("irq0");
  const part = new Pit8254({ queue: itsQueue, irq: irq.pin() });
  return {
    part,
    queue: itsQueue,
    windows: [part.window],
    outputs: [irq],
    stimulate: (rng: Rng) => {
      if (rng.chance(1, 2)) part.setGate(rng.below(3), rng.chance(1, 2));
      else part.setIrqConnected(rng.chance(3, 4));
    },
  };
}

describePart("PIT", makeFixture);

describe("PIT fuzz", () => {
  it(
    "keeps elements in range and line level equal to OUT",
    () => {
      fuzzPart(makeFixture, "pit", { maxAdvance: 300_000 }, ({ part, outputs }) => {
        expect(outputs[0]!.level).toBe(part.state.irqConnected && part.state.counters[0]!.out);
        for (const c of part.state.counters) {
          expect(c.element >= 0 && c.element <= 0x10000 && Number.isInteger(c.element)).toBe(true);
          expect(c.nullCount || c.count > 0).toBe(true);
        }
      });
    },
    FUZZ_TIMEOUT,
  );
});
