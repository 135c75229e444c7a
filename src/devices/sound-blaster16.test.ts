/** Chapters are those of Creative's "Sound Blaster Series Hardware Programming Guide". */
import { beforeEach, describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import { FUZZ_STEPS } from "../../test/fuzz-steps.ts";
import { DmaRig } from "../dma/dma-rig.testing.ts";
import { Line } from "../ports/line.ts";
import type { Part } from "../ports/part.ts";
import { describePart } from "../ports/part.contract.ts";
import type { Rng } from "../sim/rng.ts";
import { SoundBlaster16 } from "./sound-blaster16.ts";

const LONG = 5e9;

class SoundRig {
  readonly dma = new DmaRig().cascade();
  readonly irqs = [9, 5, 7, 10].map(irq => new Line(`IRQ ${irq}`, irq));
  readonly frames: [number, number, number, number][] = [];
  readonly card: SoundBlaster16;

  constructor() {
    const { queue, pair } = this.dma;
    this.card = new SoundBlaster16({
      queue,
      irqs: this.irqs.map(line => line.pin()),
      channels: pair.channels,
      onFrame: (left, right, rate) => void this.frames.push([left, right, rate, queue.clock.now()]),
    });
    for (const phase of ["enter", "hold", "exit"] as const) this.card.reset(phase, "power");
  }
  out(port: number, value: number): void {
    this.card.window.write(port, 1, value);
  }
  in(port: number): number {
    return this.card.window.read(port, 1);
  }
  dsp(...bytes: number[]): void {
    for (const byte of bytes) {
      expect(this.in(0xc) & 0x80).toBe(0);
      this.out(0xc, byte);
    }
  }
  answer(): number[] {
    const bytes: number[] = [];
    while (this.in(0xe) & 0x80) bytes.push(this.in(0xa));
    return bytes;
  }
  mixer(register: number, value?: number): number {
    this.out(4, register);
    if (value !== undefined) this.out(5, value);
    return this.in(5);
  }
  /** Bytes at `address`, and a channel that goes round them. */
  buffer(channel: number, address: number, bytes: readonly number[], auto: boolean): void {
    this.dma.ram.bytes.set(bytes, address);
    const transfers = channel < 4 ? bytes.length : bytes.length / 2;
    this.dma.program(channel, { mode: 0x48 | (auto ? 0x10 : 0), address, transfers });
    this.dma.unmask(channel);
  }
  get irq(): boolean {
    return this.irqs[1]!.level;
  }
  get samples(): number[][] {
    return this.frames.map(([left, right]) => [left, right]);
  }
}

let rig: SoundRig;
beforeEach(() => {
  rig = new SoundRig();
});

describe("DSP", () => {
  it("after a reset pulse AAh comes within 100 µs (chapter 2)", () => {
    rig.out(6, 1);
    rig.dma.run(3000);
    rig.out(6, 0);
    expect(rig.in(0xe) & 0x80).toBe(0);
    rig.dma.run(100_000);
    expect(rig.answer()).toEqual([0xaa]);
  });

  it("version 4.05, identification by complement, test register, copyright (chapter 6: E1h, E0h, E4h, E8h, E3h)", () => {
    rig.dsp(0xe1);
    expect(rig.answer()).toEqual([4, 5]);
    rig.dsp(0xe0, 0x35);
    expect(rig.answer()).toEqual([0xca]);
    rig.dsp(0xe4, 0x77, 0xe8);
    expect(rig.answer()).toEqual([0x77]);
    rig.dsp(0xe3);
    expect(String.fromCharCode(...rig.answer())).toMatch(/^COPYRIGHT \(C\) CREATIVE TECHNOLOGY LTD, 1992\.\0$/);
  });

  it("speaker status (D1h, D3h, D8h)", () => {
    rig.dsp(0xd8, 0xd1, 0xd8, 0xd3, 0xd8);
    expect(rig.answer()).toEqual([0, 0xff, 0]);
  });

  it("direct output: a sample each, unsigned (10h)", () => {
    rig.dsp(0x10, 0x80);
    rig.dma.run(125_000);
    rig.dsp(0x10, 0xff, 0x10, 0x00);
    expect(rig.samples).toEqual([
      [0, 0],
      [0x7f00, 0x7f00],
      [-0x8000, -0x8000],
    ]);
    expect(rig.frames[1]![2]).toBe(8000);
  });

  it("F2h and F3h raise the interrupt; 2xEh and 2xFh take back the 8-bit and the 16-bit one (chapters 3, 6)", () => {
    rig.dsp(0xf2, 0xf3);
    expect([rig.irq, rig.mixer(0x82)]).toEqual([true, 3]);
    rig.in(0xe);
    expect([rig.irq, rig.mixer(0x82)]).toEqual([true, 2]);
    rig.in(0xf);
    expect([rig.irq, rig.mixer(0x82)]).toEqual([false, 0]);
  });
});

describe("transfers", () => {
  it("8-bit mono, single cycle, time constant: 256 − 1 000 000 / rate (14h, 40h)", () => {
    rig.buffer(1, 0x1000, [0x00, 0x80, 0xff, 0x40], false);
    rig.dsp(0x40, 131, 0x14, 3, 0);
    rig.dma.run(4 * 125_000 + 1000);
    expect(rig.irq).toBe(false);
    rig.dma.run(1000);
    expect([rig.irq, rig.mixer(0x82)]).toEqual([true, 1]);
    expect(rig.samples).toEqual([-32768, 0, 0x7f00, -0x4000].map(sample => [sample, sample]));
    const times = rig.frames.map(frame => frame[3]);
    expect([times[1]! - times[0]!, times[3]! - times[2]!]).toEqual([125_000, 125_000]);
    rig.dma.run(LONG);
    expect(rig.frames.length).toBe(4);
  });

  it("16-bit stereo signed, auto-initialise, at a given rate: an interrupt per block, frames without drift (B6h, 41h)", () => {
    const bytes = Array.from({ length: 64 }, (_, i) => (i % 2 === 0 ? i : i % 4 === 1 ? 0x10 : 0xf0));
    rig.buffer(5, 0x20000, bytes, true);
    rig.dsp(0x41, 0xac, 0x44, 0xb6, 0x30, 15, 0);
    const began = rig.dma.queue.clock.now();
    let interrupts = 0;
    for (let i = 0; i < 100_000 && interrupts < 100; i++) {
      rig.dma.run(rig.dma.queue.nextDeadline() - rig.dma.queue.clock.now());
      if (!rig.irq) continue;
      expect(rig.mixer(0x82)).toBe(2);
      rig.in(0xf);
      interrupts++;
    }
    expect(rig.frames.length).toBe(800);
    expect(rig.samples[0]).toEqual([0x1000, 0xf002 - 0x10000]);
    expect(rig.samples[17]).toEqual([0x1004, 0xf006 - 0x10000]);
    // 1600 samples at 88200 a second, and the transfer itself.
    expect(rig.frames[799]![3] - began).toBe(Math.floor((1600 * 1e9) / 88200) + 1750);
  });

  it("samples keep their times over seconds (41h)", () => {
    rig.buffer(1, 0x1000, new Array(100).fill(1), true);
    rig.dsp(0x41, 7000 >> 8, 7000 & 0xff, 0x48, 99, 0, 0x1c);
    const began = rig.dma.queue.clock.now();
    rig.dma.run(2.5e9);
    // 15000 samples are two seconds and a thousand sevenths of a thousandth; the transfer takes 1.75 µs.
    expect(rig.frames[14_999]![3] - began).toBe(2_142_857_142 + 1750);
    expect(rig.card.state.dsp.samples).toBeLessThan(7000);
  });

  it("unsigned and signed, 8 and 16 bits (modes of Bxh and Cxh)", () => {
    rig.buffer(1, 0x1000, [0x01, 0xff], false);
    rig.dsp(0x41, 0x56, 0x22, 0xc0, 0x10, 1, 0);
    rig.dma.run(LONG);
    rig.in(0xe);
    rig.buffer(5, 0x2000, [0x34, 0x12, 0x00, 0x80], false);
    rig.dsp(0xb0, 0x00, 1, 0);
    rig.dma.run(LONG);
    expect(rig.samples.map(([left]) => left)).toEqual([0x100, -0x100, 0x1234 - 0x8000, 0]);
  });

  it("auto-initialise with a block size, and its end at the end of a block (48h, 1Ch, DAh)", () => {
    rig.buffer(1, 0x1000, [1, 2, 3, 4], true);
    rig.dsp(0x40, 156, 0x48, 3, 0, 0x1c);
    rig.dma.run(600_000);
    rig.dsp(0xda);
    rig.dma.run(LONG);
    expect(rig.frames.length).toBe(8);
  });

  it("pause and continue (D0h, D4h; D5h, D6h)", () => {
    rig.buffer(1, 0x1000, new Array(100).fill(9), false);
    rig.dsp(0x40, 156, 0x14, 99, 0);
    rig.dma.run(1_050_000);
    rig.dsp(0xd0);
    rig.dma.run(LONG);
    expect([rig.frames.length, rig.dma.count(1)]).toEqual([10, 89]);
    rig.dsp(0xd5, 0xd6);
    rig.dma.run(LONG);
    expect(rig.frames.length).toBe(10);
    rig.dsp(0xd4);
    rig.dma.run(LONG);
    expect(rig.frames.length).toBe(100);
  });

  it("recording gives silence (24h, B8h)", () => {
    rig.dma.program(1, { mode: 0x44, address: 0x3000, transfers: 4 });
    rig.dma.unmask(1);
    rig.dsp(0x24, 3, 0);
    rig.dma.run(LONG);
    expect([...rig.dma.ram.bytes.subarray(0x3000, 0x3005)]).toEqual([0x80, 0x80, 0x80, 0x80, 0]);
    expect(rig.irq).toBe(true);
  });

  it("silence for a time, then an interrupt (80h)", () => {
    rig.dsp(0x40, 156, 0x80, 9, 0);
    rig.dma.run(10 * 100_000 - 1);
    expect(rig.irq).toBe(false);
    rig.dma.run(1);
    expect(rig.irq).toBe(true);
  });

  it("without its channel the sound stalls, and goes on when there is one", () => {
    rig.dsp(0x40, 156, 0x14, 3, 0);
    rig.dma.run(LONG);
    expect(rig.frames).toEqual([]);
    rig.buffer(1, 0x1000, [1, 2, 3, 4], false);
    rig.dma.run(LONG);
    expect(rig.frames.length).toBe(4);
  });
});

describe("mixer", () => {
  it("registers keep the bits that they have; a write to register 0 resets them (chapter 4)", () => {
    expect([0x30, 0x32, 0x3c, 0x3d, 0x3e, 0x44].map(register => rig.mixer(register))).toEqual([
      ...[0xc0, 0xc0, 0x1f, 0x15, 0x0b, 0x80],
    ]);
    expect(rig.mixer(0x30, 0xff)).toBe(0xf8);
    expect(rig.mixer(0x22)).toBe(0xfc);
    expect(rig.mixer(0x22, 0x5a)).toBe(0x5a);
    expect([rig.mixer(0x30), rig.mixer(0x31)]).toEqual([0x50, 0xa0]);
    rig.mixer(0, 0);
    expect(rig.mixer(0x30)).toBe(0xc0);
    expect(rig.mixer(0x60, 1)).toBe(0xff);
  });

  it("interrupt and DMA set-up choose the lines (registers 80h, 81h)", () => {
    expect([rig.mixer(0x80) & 0xf, rig.mixer(0x81)]).toEqual([2, 0x22]);
    rig.mixer(0x80, 8);
    rig.mixer(0x81, 0x48);
    rig.buffer(3, 0x1000, [1, 2], false);
    rig.dsp(0x14, 1, 0);
    rig.dma.run(LONG);
    expect(rig.irqs.map(line => line.level)).toEqual([false, false, false, true]);
    expect(rig.frames.length).toBe(2);
  });
});

function surroundings() {
  const made = new SoundRig();
  const { card, dma, irqs } = made;
  const parts: readonly Part[] = [dma.pair, card];
  const part: Part = {
    name: "sound and its DMA",
    state: Object.fromEntries(parts.map(one => [one.name, one.state])),
    reset: (phase, kind) => {
      for (const one of parts) one.reset(phase, kind);
    },
  };
  const stimulate = (rng: Rng): void => {
    const channel = rng.pick([1, 5]);
    made.buffer(channel, 0x1000, new Array(16).fill(rng.below(256)), rng.chance(1, 2));
    for (const byte of rng.pick([[0xb6, 0x30, 7, 0], [0xc0, 0, 3, 0], [0x41, 0x56, 0x22], [0xd0], [0x48, 3, 0, 0x1c]]))
      made.out(0xc, byte);
  };
  const outputs = [...irqs, ...dma.pair.channels.map(({ dreq }) => dreq)];
  return { made, part, queue: dma.queue, windows: [card.window], outputs, sent: () => made.frames.length, stimulate };
}

describePart("Sound Blaster 16", surroundings);

it("random commands, registers and time: it answers, and asks only while something plays", {
  timeout: FUZZ_TIMEOUT,
}, () => {
  const steps = FUZZ_STEPS / 10;
  fuzzPart(surroundings, "SB16", { maxAdvance: 10e6, steps }, ({ made }) => {
    const { dsp, interruptStatus } = made.card.state;
    if (dsp.asking) expect([dsp.active, dsp.paused]).toEqual([true, false]);
    expect(made.irqs.some(line => line.level) && interruptStatus === 0).toBe(false);
    made.frames.length = 0;
  });
});
