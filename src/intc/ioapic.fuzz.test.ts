/**
 * Random register accesses and line changes on the I/O APIC: against a slow model pin by pin, and joined to local APICs against invariants of the whole
 * journey (no edge lost, remote IRR exactly while the vector is on its way or in service).
 */
import { expect, test } from "vitest";
import { FUZZ_STEPS } from "../../test/fuzz-steps.ts";
import { assert } from "../base/assert.ts";
import type { InterruptMessage } from "../ports/message.ts";
import { Rng } from "../sim/rng.ts";
import { hashState, loadState, saveState } from "../sim/state.ts";
import { ApicRig } from "./apic-rig.testing.ts";
import { IoApic } from "./ioapic.ts";

const PINS = 24;
const ACTIVE_LOW = 0x00ff_0000;

/** One pin in the words of the data sheet. */
class SlowPin {
  asserted = false;
  readonly restsHigh: boolean;
  entry = { vector: 0, mode: 0, logical: false, low: false, remote: false, level: false, masked: true, pending: false };
  high = 0;
  constructor(restsHigh: boolean) {
    this.restsHigh = restsHigh;
  }
  get voltage(): boolean {
    return this.restsHigh ? !this.asserted : this.asserted;
  }
  get active(): boolean {
    return this.entry.low ? !this.voltage : this.voltage;
  }
  get levelTriggered(): boolean {
    return this.entry.level && this.entry.mode <= 1;
  }
}

class SlowIoApic {
  pins = Array.from({ length: PINS }, (_, i) => new SlowPin(((ACTIVE_LOW >> i) & 1) === 1));
  sent: string[] = [];
  accepts = 1;
  id = 0;
  select = 0;

  send(pin: SlowPin): boolean {
    const { vector, mode, logical } = pin.entry;
    if (mode === 3 || mode === 6) return false;
    this.sent.push([vector, mode, logical ? 1 : 0, Math.floor(pin.high / 2 ** 24), pin.levelTriggered ? 1 : 0].join());
    return this.accepts > 0;
  }
  look(pin: SlowPin): void {
    if (!pin.levelTriggered || pin.entry.remote) return;
    pin.entry.pending = false;
    if (pin.entry.masked || !pin.active) return;
    if (this.send(pin)) pin.entry.remote = true;
    else pin.entry.pending = true;
  }
  changed(pin: SlowPin, change: () => void): void {
    const before = pin.active;
    change();
    if (pin.levelTriggered) this.look(pin);
    else {
      pin.entry.remote = pin.entry.pending = false;
      if (!before && pin.active && !pin.entry.masked) this.send(pin);
    }
  }
  eoi(vector: number): void {
    for (const pin of this.pins) {
      if (!pin.levelTriggered || pin.entry.vector !== vector || !(pin.entry.remote || pin.entry.pending)) continue;
      pin.entry.remote = false;
      this.look(pin);
    }
  }
  write(value: number): void {
    if (this.select === 0) this.id = Math.floor(value / 2 ** 24) % 16;
    const pin = this.pins[Math.floor((this.select - 16) / 2)];
    if (pin === undefined) return;
    if (this.select % 2 === 1) {
      pin.high = Math.floor(value / 65536) * 65536;
      this.look(pin);
      return;
    }
    const bit = (n: number) => Math.floor(value / 2 ** n) % 2 === 1;
    this.changed(pin, () => {
      const { remote, pending } = pin.entry;
      pin.entry = {
        ...{ vector: value % 256, mode: Math.floor(value / 256) % 8, logical: bit(11), low: bit(13), level: bit(15) },
        ...{ masked: bit(16), remote, pending },
      };
    });
  }
  read(): number {
    if (this.select === 0 || this.select === 2) return this.id * 2 ** 24;
    if (this.select === 1) return 0x00170020;
    const pin = this.pins[Math.floor((this.select - 16) / 2)];
    if (pin === undefined) return 0;
    if (this.select % 2 === 1) return pin.high;
    const e = pin.entry;
    const flags: [boolean, number][] = [
      [e.logical, 11],
      [e.pending, 12],
      [e.low, 13],
      [e.remote, 14],
      [e.level, 15],
      [e.masked, 16],
    ];
    return e.vector + e.mode * 256 + flags.reduce((sum, [on, n]) => sum + (on ? 2 ** n : 0), 0);
  }
}

const textOf = (m: InterruptMessage) => [m.vector, m.deliveryMode, m.destinationMode, m.destination, m.trigger].join();

test(`the I/O APIC agrees with the slow model over ${FUZZ_STEPS} random steps`, () => {
  const rng = new Rng("ioapic fuzz");
  const model = new SlowIoApic();
  const sent: string[] = [];
  const bus = {
    send: (message: InterruptMessage) => {
      sent.push(textOf(message));
      return model.accepts;
    },
  };
  let io = new IoApic({ bus, activeLow: ACTIVE_LOW });
  for (let step = 0; step < FUZZ_STEPS; step++) {
    const what = rng.below(100);
    if (what < 40) {
      const [pin, level] = [rng.below(PINS), rng.chance(1, 2)];
      const slow = model.pins[pin]!;
      if (slow.asserted !== level) io.lineChanged(pin, level, 0);
      if (slow.asserted !== level) model.changed(slow, () => void (slow.asserted = level));
    } else if (what < 75) {
      if (rng.chance(2, 3)) {
        model.select = rng.chance(9, 10) ? 0x10 + rng.below(48) : rng.below(256);
        io.write(0, 4, model.select);
      }
      const value = (rng.u32() & ~0x107ff) | rng.below(16) | (rng.pick([0, 0, 0, 1, rng.below(8)]) << 8);
      const masked = (value | (rng.chance(1, 4) ? 0x10000 : 0)) >>> 0;
      io.write(0x10, 4, masked);
      model.write(masked);
    } else if (what < 90) {
      const vector = rng.below(16);
      if (rng.chance(1, 2)) io.endOfInterrupt(vector, 0);
      else io.write(0x40, 4, vector);
      model.eoi(vector);
    } else if (what < 98) {
      model.select = rng.below(72);
      io.write(0, 4, model.select);
      const [value, expected] = [io.read(0x10), model.read()];
      if (value !== expected) expect({ step, select: model.select, value }).toEqual({ value: expected });
    } else model.accepts = rng.chance(2, 3) ? 1 : 0;
    if (sent.length > 0 || model.sent.length > 0) {
      if (sent.join(" ") !== model.sent.join(" ")) expect({ step, sent }).toEqual({ step, sent: model.sent });
      sent.length = model.sent.length = 0;
    }
    if (rng.chance(1, 500)) {
      const copy = new IoApic({ bus, activeLow: ACTIVE_LOW });
      loadState(copy.state, saveState(io.state));
      for (let pin = 0; pin < PINS; pin++) copy.lineRestored(pin, model.pins[pin]!.asserted);
      assert(sent.length === 0 && hashState(copy.state) === hashState(io.state), `step ${step}: load`);
      io = copy;
    }
  }
}, 3_600_000);

/** Every pin its own vector: edge pins 0–11, level pins 12–23, to one of two CPUs. */
const vectorOf = (pin: number) => 0x30 + 8 * pin;

test(`journeys from pin to EOI keep their invariants over ${FUZZ_STEPS} random steps`, () => {
  const rng = new Rng("journey fuzz");
  const apics = new ApicRig(2);
  for (const apic of apics.lapics) apic.write(0xf0, 4, 0x1ff);
  const io = new IoApic({ bus: apics.fabric });
  apics.fabric.attachEoiListener(io);
  const pins = Array.from({ length: PINS }, () => ({ high: false, masked: true, owed: 0 }));
  const program = (pin: number, masked: boolean) => {
    io.write(0, 4, 0x10 + 2 * pin);
    io.write(0x10, 4, vectorOf(pin) | (pin >= 12 ? 0x8000 : 0) | (masked ? 0x10000 : 0));
    pins[pin]!.masked = masked;
  };
  for (let pin = 0; pin < PINS; pin++) {
    io.write(0, 4, 0x11 + 2 * pin);
    io.write(0x10, 4, (pin & 1) * 2 ** 24);
  }
  const has = (cpu: number, set: "irr" | "isr", vector: number) =>
    ((apics.lapics[cpu]!.state.bank[set][vector >> 5]! >>> (vector & 31)) & 1) === 1;
  for (let step = 0; step < FUZZ_STEPS; step++) {
    const [pin, cpu, what] = [rng.below(PINS), rng.below(2), rng.below(10)];
    const state = pins[pin]!;
    if (what < 4) {
      state.high = !state.high;
      io.lineChanged(pin, state.high, 0);
      // Promise of an edge: one acknowledge after it, of this pin's vector.
      if (state.high && !state.masked && pin < 12) state.owed = 1;
    } else if (what < 5) program(pin, rng.chance(1, 3));
    else if (what < 8) {
      if (!apics.signals[cpu]!.level) continue;
      const vector = apics.lapics[cpu]!.acknowledge();
      const source = (vector - 0x30) / 8;
      assert(Number.isInteger(source) && (source & 1) === cpu, `step ${step}: vector ${vector} on CPU ${cpu}`);
      pins[source]!.owed = 0;
    } else apics.lapics[cpu]!.eoi();
    for (let p = 0; p < PINS; p++) {
      const [vector, target] = [vectorOf(p), p & 1];
      const [requested, inService] = [has(target, "irr", vector), has(target, "isr", vector)];
      assert(!has(1 - target, "irr", vector), `step ${step}: pin ${p} reached the wrong CPU`);
      if (p < 12) assert(pins[p]!.owed === 0 || requested, `step ${step}: the edge of pin ${p} is lost`);
      else {
        const remote = (io.state.low[p]! & 0x4000) !== 0;
        assert(remote === (requested || inService), `step ${step}: remote IRR of pin ${p} is ${remote}`);
        assert(remote || pins[p]!.masked || !pins[p]!.high, `step ${step}: level of pin ${p} waits unseen`);
      }
    }
  }
}, 3_600_000);
