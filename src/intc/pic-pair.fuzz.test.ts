/**
 * Random programs against a slow, obvious model of two 8259As: arrays of levels in priority order, no bit tricks. Compared after every step: INTR, every
 * register read, every vector. At random steps the pair is saved and loaded into a fresh one, which goes on.
 */
import { expect, test } from "vitest";
import { FUZZ_STEPS } from "../../test/fuzz-steps.ts";
import { Rng } from "../sim/rng.ts";
import { hashState, loadState, saveState } from "../sim/state.ts";
import { PicPair } from "./pic-pair.ts";

/** One chip, level by level, in the words of the data sheet. */
class SlowChip {
  line = new Array<boolean>(8).fill(false);
  irr = new Array<boolean>(8).fill(false);
  isr = new Array<boolean>(8).fill(false);
  imr = new Array<boolean>(8).fill(false);
  gone = new Array<boolean>(8).fill(false);
  elcr = new Array<boolean>(8).fill(false);
  order = [0, 1, 2, 3, 4, 5, 6, 7];
  words: number[] = [];
  pending: ("icw2" | "icw3" | "icw4")[] = [];
  ready = false;
  icw = { one: 0, two: 0, three: 0, four: 0 };
  special = false;
  aeoiRotate = false;
  pollNext = false;
  readIsr = false;

  isLevel = (l: number) => (this.icw.one & 8) !== 0 || this.elcr[l]!;
  cascaded = (l: number) => (this.icw.one & 2) === 0 && ((this.icw.three >> l) & 1) === 1;

  next(): number | null {
    if (!this.ready) return null;
    for (const l of this.order) {
      const asks = this.irr[l]! && !this.imr[l]!;
      const blocks = this.isr[l]! && !(this.special && this.imr[l]!);
      if (asks && !blocks) return l;
      if (blocks) return asks && (this.icw.four & 0x10) !== 0 && this.cascaded(l) ? l : null;
    }
    return null;
  }
  int(): boolean {
    return this.ready && (this.next() !== null || this.gone.some((g, l) => g && !this.imr[l]!));
  }
  set(l: number, high: boolean): void {
    if (high === this.line[l]) return;
    const [was, asked] = [this.int(), this.next()];
    this.line[l] = high;
    this.irr[l] = high;
    if (!high && was && asked !== null && this.next() === null) this.gone[l] = true;
  }
  bottom(l: number): void {
    while (this.order[7] !== l) this.order.push(this.order.shift()!);
  }
  take(): number | null {
    const l = this.next();
    this.gone.fill(false);
    if (l === null) return null;
    if (!this.isLevel(l)) this.irr[l] = false;
    if ((this.icw.four & 2) === 0) this.isr[l] = true;
    else if (this.aeoiRotate) this.bottom(l);
    return l;
  }
  vector(l: number): number {
    if ((this.icw.four & 1) === 1) return Math.floor(this.icw.two / 8) * 8 + l;
    return (this.icw.one & 4) !== 0
      ? Math.floor(this.icw.one / 32) * 32 + l * 4
      : Math.floor(this.icw.one / 64) * 64 + l * 8;
  }
  read(a0: number): number {
    const byte = (bits: boolean[]) => bits.reduce((sum, b, l) => sum + (b ? 2 ** l : 0), 0);
    if (this.pollNext) {
      this.pollNext = false;
      const l = this.take();
      return l === null ? 0 : 128 + l;
    }
    return byte(a0 === 1 ? this.imr : this.readIsr ? this.isr : this.irr);
  }
  levelsAsk(): void {
    for (let l = 0; l < 8; l++) if (this.isLevel(l) && this.line[l]) this.irr[l] = true;
  }
  write(a0: number, value: number): void {
    if (a0 === 0 && (value & 0x10) !== 0) this.icw1(value);
    else if (a0 === 0 && (value & 0x08) !== 0) {
      if ((value & 0x40) !== 0) this.special = (value & 0x20) !== 0;
      if ((value & 0x02) !== 0) this.readIsr = (value & 0x01) !== 0;
      this.pollNext = (value & 0x04) !== 0;
    } else if (a0 === 0) this.ocw2(value);
    else {
      const word = this.pending.shift();
      if (word === "icw2") this.icw.two = value;
      else if (word === "icw3") this.icw.three = value;
      else if (word === "icw4") this.icw.four = value & 0x1f;
      else this.imr = this.imr.map((_, l) => ((value >> l) & 1) === 1);
      if (word !== undefined && this.pending.length === 0) this.ready = true;
    }
  }
  icw1(value: number): void {
    for (const bits of [this.irr, this.isr, this.imr, this.gone]) bits.fill(false);
    this.icw = { one: value, two: this.icw.two, three: 0, four: 0 };
    this.order = [0, 1, 2, 3, 4, 5, 6, 7];
    this.special = this.aeoiRotate = this.pollNext = this.readIsr = this.ready = false;
    this.pending = ["icw2"];
    if ((value & 2) === 0) this.pending.push("icw3");
    if ((value & 1) === 1) this.pending.push("icw4");
    this.levelsAsk();
  }
  ocw2(value: number): void {
    const [command, named] = [value >> 5, value & 7];
    const served = this.order.find(l => this.isr[l]! && !(this.special && this.imr[l]!));
    if (command === 0) this.aeoiRotate = false;
    if (command === 4) this.aeoiRotate = true;
    if (command === 6) this.bottom(named);
    const target = command === 1 || command === 5 ? served : command === 3 || command === 7 ? named : undefined;
    if (target === undefined) return;
    this.isr[target] = false;
    if (command >= 5) this.bottom(target);
  }
}

class SlowPair {
  master = new SlowChip();
  slave = new SlowChip();
  link(): void {
    this.master.set(2, this.slave.int());
  }
  set(irq: number, high: boolean): void {
    if (irq === 2) return;
    (irq < 8 ? this.master : this.slave).set(irq & 7, high);
    this.link();
  }
  acknowledge(): { vector: number; spurious: boolean } {
    const l = this.master.take();
    let result = { vector: this.master.vector(l ?? 7), spurious: l === null };
    if (l !== null && this.master.cascaded(l)) {
      result = { vector: 0xff, spurious: false };
      if (l === 2 && (this.slave.icw.three & 7) === 2) {
        const s = this.slave.take();
        this.slaveWentLow();
        result = { vector: this.slave.vector(s ?? 7), spurious: s === null };
      }
    }
    this.link();
    return result;
  }
  /** INT of the slave is low after its acknowledge, whatever follows. The master's INT is low then too, so nothing counts as gone away. */
  slaveWentLow(): void {
    this.master.line[2] = this.master.irr[2] = false;
  }
}

const ICW1_WORDS = [0x11, 0x11, 0x11, 0x13, 0x19, 0x10, 0x15];

/** A write that is likely to mean something. */
function randomWrite(rng: Rng): [a0: number, value: number] {
  const what = rng.below(100);
  if (what < 1) return [0, rng.pick(ICW1_WORDS)];
  if (what < 25) return [1, rng.pick([0x20, 4, 2, 1, 3, 0x11, 0x13, 0, 0, rng.below(256)])];
  if (what < 40) return [0, 8 | rng.pick([0x02, 0x03, 0x04, 0x60, 0x40, rng.below(256) & 0x67])];
  return [0, (rng.pick([1, 1, 1, 3, 5, 7, 6, 0, 4, 2]) << 5) | rng.below(8)];
}

function initialise(pic: PicPair, model: SlowPair, rng: Rng): void {
  for (const [window, chip, id] of [
    [pic.masterWindow, model.master, 4],
    [pic.slaveWindow, model.slave, 2],
  ] as const) {
    const words: [number, number][] = [
      [0, rng.pick([0x11, 0x11, 0x19])],
      [1, rng.below(32) * 8],
      [1, rng.chance(1, 20) ? rng.below(256) : id],
      [1, rng.pick([1, 1, 1, 3, 0x11, 0x13, 0])],
    ];
    for (const [a0, value] of words) {
      window.write(a0, 1, value);
      chip.write(a0, value);
      model.link();
    }
  }
}

test(`a pair of 8259As agrees with the slow model over ${FUZZ_STEPS} random steps`, () => {
  const rng = new Rng("pic fuzz");
  let pic = new PicPair();
  const model = new SlowPair();
  const elcr = [0, 0];
  for (let step = 0; step < FUZZ_STEPS; step++) {
    const place = `step ${step}`;
    const what = rng.below(100);
    const second = rng.chance(1, 2);
    const [window, chip] = second ? [pic.slaveWindow, model.slave] : [pic.masterWindow, model.master];
    if (what < 40) {
      const [irq, high] = [rng.below(16), rng.chance(1, 2)];
      const old = (irq < 8 ? model.master : model.slave).line[irq & 7];
      if (irq !== 2 && high !== old) pic.lineChanged(irq, high, 0);
      model.set(irq, high);
    } else if (what < 60) {
      if (pic.state.intr || rng.chance(1, 8)) {
        const expected = model.acknowledge();
        const vector = pic.acknowledge();
        if (vector !== expected.vector || pic.lastSpurious !== expected.spurious)
          expect({ place, vector, spurious: pic.lastSpurious }).toEqual({ place, ...expected });
      }
    } else if (what < 70) {
      const a0 = rng.below(2);
      const polled = chip.pollNext;
      const [value, expected] = [window.read(a0, 1), chip.read(a0)];
      if (polled && second && model.master.line[2]) {
        model.master.set(2, false);
      }
      model.link();
      if (value !== expected) expect({ place, value }).toEqual({ place, value: expected });
    } else if (what < 71) initialise(pic, model, rng);
    else if (what < 72) {
      const value = rng.below(256);
      elcr[second ? 1 : 0] = value & (second ? 0xde : 0xf8);
      pic.elcrWindow.write(second ? 1 : 0, 1, value);
      chip.elcr = chip.elcr.map((_, l) => ((elcr[second ? 1 : 0]! >> l) & 1) === 1);
      chip.levelsAsk();
      model.link();
    } else {
      const [a0, value] = randomWrite(rng);
      window.write(a0, 1, value);
      chip.write(a0, value);
      model.link();
    }
    if (pic.state.intr !== model.master.int()) {
      expect({ place, intr: pic.state.intr }).toEqual({ place, intr: model.master.int() });
    }
    if (rng.chance(1, 500)) {
      const copy = new PicPair();
      loadState(copy.state, saveState(pic.state));
      expect(hashState(copy.state)).toBe(hashState(pic.state));
      pic = copy;
    }
  }
}, 3_600_000);
