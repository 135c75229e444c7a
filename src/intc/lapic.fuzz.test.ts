/**
 * Random programs on four local APICs and their fabric, against a slow, obvious model: sets of vectors instead of bitmaps, a timer that really ticks every
 * nanosecond. Compared: what each CPU is told, every acknowledged vector, all registers every few steps. The rig is saved and loaded at random steps.
 * Invariants checked beside the model: an acknowledge takes exactly the highest request and only above all in service; one acknowledge, one vector.
 */
import { expect, test } from "vitest";
import { FUZZ_STEPS } from "../../test/fuzz-steps.ts";
import { assert } from "../base/assert.ts";
import type { InterruptMessage } from "../ports/message.ts";
import { Rng } from "../sim/rng.ts";
import { hashState, loadState, saveState } from "../sim/state.ts";
import { ApicRig, messageOf } from "./apic-rig.testing.ts";

const COUNT = 4;
const IDS = [0, 1, 0x12, 0x25];
const LVT_OFFSETS = [0x2f0, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370];
const LVT_BITS = [0x107ff, 0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff];
const top = (set: Set<number>) => (set.size === 0 ? -1 : Math.max(...set));
const classOf = (vector: number) => (vector < 0 ? -1 : Math.floor(vector / 16));

/** One local APIC by the words of the manual. */
class SlowApic {
  mode: "off" | "xapic" | "x2apic" = "xapic";
  irr = new Set<number>();
  isr = new Set<number>();
  tmr = new Set<number>();
  tpr = 0;
  svr = 0xff;
  ldr = 0;
  dfr = 0xffffffff;
  lvt = [0x10000, 0x10000, 0x10000, 0x10000, 0x10000, 0x10000, 0x10000];
  esr = 0;
  errors = new Set<number>();
  lint = [false, false];
  extInt = false;
  told = { nmi: 0, smi: 0, init: 0, startup: 0 };
  timer = { initial: 0, divide: 0, count: 0, part: 0 };
  id: number;
  readonly initialId: number;
  readonly fabric: SlowFabric;
  constructor(id: number, fabric: SlowFabric) {
    this.id = this.initialId = id;
    this.fabric = fabric;
  }

  forget(): void {
    this.irr.clear();
    this.isr.clear();
    this.tmr.clear();
    this.tpr = this.ldr = this.esr = 0;
    this.svr = 0xff;
    this.dfr = 0xffffffff;
    this.lvt.fill(0x10000);
    this.errors.clear();
    this.extInt = false;
    this.timer = { initial: 0, divide: 0, count: 0, part: 0 };
  }
  get on(): boolean {
    return (this.svr & 0x100) !== 0;
  }
  get physical(): number {
    return this.mode === "x2apic" ? this.initialId : this.id;
  }
  get ppr(): number {
    return classOf(this.tpr) >= classOf(top(this.isr)) ? this.tpr : classOf(top(this.isr)) * 16;
  }
  deliveryMode(entry: number): number {
    return entry === 1 || entry === 6 ? 0 : Math.floor(this.lvt[entry]! / 256) % 8;
  }
  pin(n: number): boolean {
    const low = this.mode !== "off" && (this.lvt[4 + n]! & 0x2000) !== 0;
    return low ? !this.lint[n]! : this.lint[n]!;
  }
  get extAsked(): boolean {
    if (this.mode === "off") return this.lint[0]!;
    return this.extInt || [0, 1].some(n => (this.lvt[4 + n]! & 0x10700) === 0x700 && this.pin(n));
  }
  get intr(): boolean {
    return this.extAsked || classOf(top(this.irr)) > classOf(this.ppr);
  }
  matchesLogical(destination: number, wide: boolean): boolean {
    if (destination === (wide ? 0xffffffff : 0xff)) return true;
    if (this.mode === "x2apic") {
      const [cluster, members] = [Math.floor(destination / 65536), destination % 65536];
      return cluster === Math.floor(this.initialId / 16) && Math.floor(members / 2 ** (this.initialId % 16)) % 2 === 1;
    }
    if (destination > 255) return false;
    const own = Math.floor(this.ldr / 2 ** 24);
    const model = Math.floor(this.dfr / 2 ** 28);
    if (model === 15) return (own & destination) !== 0;
    return model === 0 && own >> 4 === destination >> 4 && (own & destination & 15) !== 0;
  }
  matches(m: InterruptMessage): boolean {
    if (m.destinationMode === 1) return this.matchesLogical(m.destination, m.wide);
    return m.destination === (m.wide ? 0xffffffff : 0xff) || m.destination === this.physical;
  }
  receive(mode: number, vector: number, level: boolean): boolean {
    if (this.mode === "off") return false;
    if (mode === 2) this.told.smi++;
    else if (mode === 4) this.told.nmi++;
    else if (mode === 5) this.told.init++;
    else if (mode === 6) this.told.startup++;
    else if (mode === 7) {
      if (!this.on) return false;
      this.extInt = true;
    } else if (mode <= 1) return this.request(vector, level);
    else return false;
    return true;
  }
  request(vector: number, level: boolean): boolean {
    if (!this.on) return false;
    if (vector < 16) {
      this.error(6);
      return false;
    }
    this.irr.add(vector);
    if (level) this.tmr.add(vector);
    else this.tmr.delete(vector);
    return true;
  }
  error(bit: number): void {
    const first = this.errors.size === 0;
    this.errors.add(bit);
    if (first) this.fire(6);
  }
  fire(entry: number): void {
    const value = this.lvt[entry]!;
    if ((value & 0x10000) !== 0) return;
    if (entry === 3) this.lvt[3] = value | 0x10000;
    const mode = this.deliveryMode(entry);
    if (mode === 0) this.request(value & 255, false);
    if (mode === 2) this.told.smi++;
    if (mode === 4) this.told.nmi++;
    if (mode === 5 && (entry === 4 || entry === 5)) this.told.init++;
  }
  levelPin(): void {
    const value = this.lvt[4]!;
    const fixedLevel = (value & 0x8000) !== 0 && this.deliveryMode(4) === 0;
    if (!fixedLevel || (value & 0x14000) !== 0 || !this.pin(0)) return;
    if (this.request(value & 255, true)) this.lvt[4] = this.lvt[4]! | 0x4000;
  }
  setLint(n: number, high: boolean): void {
    const was = this.pin(n);
    this.lint[n] = high;
    const rises = !was && this.pin(n);
    if (this.mode === "off") {
      if (rises && n === 1) this.told.nmi++;
    } else if (n === 0 && (this.lvt[4]! & 0x8000) !== 0 && this.deliveryMode(4) === 0) this.levelPin();
    else if (rises) this.fire(4 + n);
  }
  acknowledge(): number {
    if (this.extAsked) {
      this.extInt = false;
      return 0x99;
    }
    const vector = top(this.irr);
    if (classOf(vector) <= classOf(this.ppr)) return this.svr & 255;
    this.irr.delete(vector);
    this.isr.add(vector);
    return vector;
  }
  eoi(): void {
    const vector = top(this.isr);
    if (vector < 0) return;
    this.isr.delete(vector);
    if (!this.tmr.has(vector)) return;
    if ((this.svr & 0x1000) === 0) this.fabric.eois.push(vector);
    if ((this.lvt[4]! & 0x4000) !== 0 && (this.lvt[4]! & 255) === vector) {
      this.lvt[4] = this.lvt[4]! & ~0x4000;
      this.levelPin();
    }
  }
  /** One nanosecond. */
  tick(): void {
    const t = this.timer;
    if (t.count === 0) return;
    const divider = [2, 4, 8, 16, 0, 0, 0, 0, 32, 64, 128, 1][t.divide]!;
    if (++t.part < divider) return;
    t.part = 0;
    if (--t.count > 0) return;
    if ((this.lvt[1]! & 0x20000) !== 0) t.count = t.initial;
    this.fire(1);
  }
  writeLvt(entry: number, value: number): void {
    const remote = entry === 4 || entry === 5 ? this.lvt[entry]! & 0x4000 : 0;
    let next = (value & LVT_BITS[entry]!) | ((value & 0x8000) !== 0 ? remote : 0);
    if (!this.on) next |= 0x10000;
    this.lvt[entry] = next;
    if (entry === 4) this.levelPin();
  }
  writeSvr(value: number): void {
    this.svr = value & 0x13ff;
    if (!this.on) this.lvt = this.lvt.map(v => v | 0x10000);
  }
  sendIcr(low: number, destination: number): void {
    const [mode, vector, shorthand] = [(low >> 8) & 7, low & 255, (low >> 18) & 3];
    if (mode <= 1 && vector < 16) {
      this.error(5);
      return;
    }
    if ((shorthand === 1 || shorthand === 2) && ![0, 2, 4].includes(mode)) return;
    if (mode === 3 || mode === 7 || (mode === 5 && (low & 0xc000) === 0x8000)) return;
    this.fabric.ipi(this, shorthand, {
      ...messageOf({ vector, deliveryMode: mode, destinationMode: (low >> 11) & 1 }),
      destination,
      wide: this.mode === "x2apic",
    });
  }
}

class SlowFabric {
  apics: SlowApic[] = [];
  eois: number[] = [];
  turn = 0;
  send(m: InterruptMessage): number {
    if (m.trigger === 1 && m.level === 0) return 0;
    return this.deliver(m, apic => apic.matches(m));
  }
  ipi(from: SlowApic, shorthand: number, m: InterruptMessage): void {
    const who = [(a: SlowApic) => a.matches(m), (a: SlowApic) => a === from, () => true, (a: SlowApic) => a !== from];
    this.deliver(m, who[shorthand]!);
  }
  deliver(m: InterruptMessage, who: (apic: SlowApic) => boolean): number {
    let receivers = this.apics.filter(who);
    if (m.deliveryMode === 1 || m.redirectionHint === 1) {
      receivers = receivers.filter(a => a.mode !== "off" && a.on);
      const inTurn = (a: SlowApic) => (this.apics.indexOf(a) - this.turn + COUNT) % COUNT;
      receivers.sort((a, b) => a.ppr - b.ppr || inTurn(a) - inTurn(b));
      receivers = receivers.slice(0, 1);
      if (receivers.length > 0) this.turn = (this.apics.indexOf(receivers[0]!) + 1) % COUNT;
    }
    return receivers.map(a => a.receive(m.deliveryMode, m.vector, m.trigger === 1)).filter(Boolean).length;
  }
}

class Pair {
  rig = new ApicRig(COUNT, {}, IDS);
  readonly model = new SlowFabric();
  readonly rng: Rng;
  constructor(rng: Rng) {
    this.rng = rng;
    this.model.apics = IDS.map(id => new SlowApic(id, this.model));
  }
  /** Writes register `offset` of one APIC by whichever way its mode allows; false when there is none. */
  put(cpu: number, offset: number, value: number): boolean {
    const [apic, slow] = [this.rig.lapics[cpu]!, this.model.apics[cpu]!];
    if (slow.mode === "xapic") apic.write(offset, 4, value);
    return slow.mode === "xapic" || (slow.mode === "x2apic" && apic.writeMsr(0x800 + offset / 16, value, 0));
  }
  register(cpu: number): void {
    const { rng } = this;
    const slow = this.model.apics[cpu]!;
    const what = rng.below(24);
    if (what < 6) {
      if (this.put(cpu, 0xb0, 0)) slow.eoi();
    } else if (what < 8) {
      const tpr = rng.chance(1, 2) ? 0 : rng.below(256);
      if (this.put(cpu, 0x80, tpr)) slow.tpr = tpr;
    } else if (what < 10) {
      const svr = rng.below(256) | (rng.chance(1, 6) ? 0 : 0x100) | (rng.chance(1, 4) ? 0x1000 : 0);
      if (this.put(cpu, 0xf0, svr)) slow.writeSvr(svr);
    } else if (what < 14) {
      const entry = rng.below(7);
      const timerMode = entry === 1 ? rng.below(2) << 17 : 0;
      const bits = rng.below(256) | (rng.pick([0, 0, 2, 4, 5, 7]) << 8) | (rng.below(8) << 13) | timerMode;
      const value = bits & LVT_BITS[entry]! & (rng.chance(3, 4) ? ~0x10000 : ~0);
      if (this.put(cpu, LVT_OFFSETS[entry]!, value)) slow.writeLvt(entry, value);
    } else if (what < 15) {
      if (this.put(cpu, 0x280, 0)) {
        slow.esr = [...slow.errors].reduce((sum, bit) => sum + 2 ** bit, 0);
        slow.errors.clear();
      }
    } else if (what < 17) {
      const initial = rng.below(60);
      if (this.put(cpu, 0x380, initial)) slow.timer = { ...slow.timer, initial, count: initial, part: 0 };
    } else if (what < 18) {
      const divide = rng.pick([0, 1, 2, 3, 8, 11]);
      if (this.put(cpu, 0x3e0, divide)) slow.timer = { ...slow.timer, divide, part: 0 };
    } else this.xapicOnly(cpu, what);
  }
  xapicOnly(cpu: number, what: number): void {
    const { rng } = this;
    const slow = this.model.apics[cpu]!;
    if (slow.mode !== "xapic") return;
    if (what < 20) {
      const ldr = rng.below(256) * 2 ** 24;
      this.put(cpu, 0xd0, ldr);
      slow.ldr = ldr;
    } else if (what < 21) {
      const dfr = rng.pick([0, 0xf, 0xf, 0x5]) * 2 ** 28;
      this.put(cpu, 0xe0, dfr);
      slow.dfr = dfr + 0x0fffffff;
    } else if (what < 22) {
      const id = rng.below(6);
      this.put(cpu, 0x20, id * 2 ** 24);
      slow.id = id;
    } else if (what < 23) {
      this.rig.lapics[cpu]!.read(rng.pick([0x00, 0x40, 0x290, 0x3f0, 0x400]), 4);
      slow.error(7);
    }
  }
  ipi(cpu: number): void {
    const { rng } = this;
    const [apic, slow] = [this.rig.lapics[cpu]!, this.model.apics[cpu]!];
    const low =
      (rng.chance(1, 20) ? rng.below(16) : rng.below(256)) |
      (rng.pick([0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7]) << 8) |
      (rng.below(2) << 11) |
      (rng.below(4) << 14) |
      (rng.below(4) << 18);
    const destination = rng.chance(1, 4) ? rng.pick([0xff, 0xffffffff]) : rng.pick([...IDS, rng.below(256), 0x10004]);
    if (slow.mode === "x2apic") {
      assert(apic.writeMsr(0x830, low, destination), "ICR write refused");
      slow.sendIcr(low, destination);
    } else if (slow.mode === "xapic") {
      apic.write(0x310, 4, (destination % 256) * 2 ** 24);
      apic.write(0x300, 4, low);
      slow.sendIcr(low, destination % 256);
    }
  }
  message(): void {
    const { rng } = this;
    const m = messageOf({
      vector: rng.chance(1, 30) ? rng.below(16) : rng.below(256),
      deliveryMode: rng.pick([0, 0, 0, 1, 1, 2, 3, 4, 7]),
      trigger: rng.below(2),
      level: rng.chance(9, 10) ? 1 : 0,
      destinationMode: rng.below(2),
      destination: rng.chance(1, 5) ? 0xff : rng.pick([...IDS, rng.below(256)]),
      redirectionHint: rng.chance(1, 5) ? 1 : 0,
    });
    const [accepted, expected] = [this.rig.fabric.send(m), this.model.send(m)];
    assert(accepted === expected, `message accepted by ${accepted}, expected ${expected}`);
  }
  base(cpu: number): void {
    const [apic, slow] = [this.rig.lapics[cpu]!, this.model.apics[cpu]!];
    const next = this.rng.pick(["off", "xapic", "xapic", "x2apic"] as const);
    const bits = { off: 0, xapic: 0x800, x2apic: 0xc00 }[next];
    const legal = !(slow.mode === "off" && next === "x2apic") && !(slow.mode === "x2apic" && next === "xapic");
    const done = apic.writeMsr(0x1b, 0xfee00000 + bits, 0);
    assert(done === legal, `from ${slow.mode} to ${next}: ${done}`);
    if (!legal) return;
    if (next === "off" && slow.mode !== "off") {
      slow.forget();
      slow.id = slow.initialId;
    }
    slow.mode = next;
  }
  acknowledge(cpu: number): void {
    const [apic, slow] = [this.rig.lapics[cpu]!, this.model.apics[cpu]!];
    const { irr, isr } = apic.state.bank;
    const bits = (set: Uint32Array) => set.reduce((n, w) => n + w.toString(2).split("1").length - 1, 0);
    const before = [bits(irr), bits(isr)];
    const [vector, expected] = [apic.acknowledge(), slow.acknowledge()];
    assert(vector === expected, `acknowledge gave ${vector}, expected ${expected}`);
    const moved = apic.lastExtInt || apic.lastSpurious ? 0 : 1;
    assert(bits(irr) === before[0]! - moved && bits(isr) === before[1]! + moved, "one acknowledge, one vector");
  }
  pass(): void {
    const ns = this.rng.below(40);
    this.rig.pass(ns);
    for (let i = 0; i < ns; i++) for (const slow of this.model.apics) slow.tick();
  }
  step(): void {
    const cpu = this.rng.below(COUNT);
    const what = this.rng.below(100);
    if (what < 35) this.register(cpu);
    else if (what < 50) this.ipi(cpu);
    else if (what < 68) this.message();
    else if (what < 84) {
      if (this.model.apics[cpu]!.intr || this.rng.chance(1, 10)) this.acknowledge(cpu);
    } else if (what < 90) this.pass();
    else if (what < 96) {
      const [pin, high] = [this.rng.below(2), this.rng.chance(1, 2)];
      if (this.model.apics[cpu]!.lint[pin] === high) return;
      this.rig.lapics[cpu]!.lineChanged(pin, high, 0);
      this.model.apics[cpu]!.setLint(pin, high);
    } else if (what < 97) this.base(cpu);
    else if (what < 98) {
      this.rig.lapics[cpu]!.initReset();
      this.model.apics[cpu]!.forget();
    } else {
      const entry = this.rng.pick([0, 2, 3]);
      if (this.model.apics[cpu]!.mode === "off") return;
      this.rig.lapics[cpu]!.fireLocal(entry, 0);
      this.model.apics[cpu]!.fire(entry);
    }
  }
  /** INTR of all CPUs, and with `all` every register. */
  compare(all: boolean): void {
    for (let cpu = 0; cpu < COUNT; cpu++) {
      const [slow, signals] = [this.model.apics[cpu]!, this.rig.signals[cpu]!];
      assert(signals.level === slow.intr, `CPU ${cpu}: INTR is ${signals.level}`);
      if (!all) continue;
      const told = { nmi: 0, smi: 0, init: 0, startup: 0 };
      for (const event of signals.events) told[event.split(" ")[0] as keyof typeof told]++;
      signals.events.length = 0;
      expect({ cpu, told }).toEqual({ cpu, told: slow.told });
      slow.told = { nmi: 0, smi: 0, init: 0, startup: 0 };
      if (slow.mode !== "off") expect({ cpu, ...registersOf(this, cpu) }).toEqual({ cpu, ...modelRegisters(slow) });
    }
    if (!all) return;
    expect(this.rig.eois).toEqual(this.model.eois);
    this.rig.eois.length = this.model.eois.length = 0;
  }
  /** Saves everything, loads it into a fresh rig, and goes on there. */
  reload(): void {
    this.compare(true);
    const old = this.rig;
    const fresh = new ApicRig(COUNT, {}, IDS);
    for (let i = 0; i < COUNT; i++) {
      loadState(fresh.lapics[i]!.state, saveState(old.lapics[i]!.state));
      fresh.lapics[i]!.restored();
      assert(hashState(fresh.lapics[i]!.state) === hashState(old.lapics[i]!.state), "hash differs after a load");
      assert(fresh.signals[i]!.count === 0, "a load told the CPU something");
      fresh.signals[i]!.level = old.signals[i]!.level;
    }
    loadState(fresh.fabric.state, saveState(old.fabric.state));
    fresh.clock.state.now = old.clock.state.now;
    fresh.queue.load(old.queue.save());
    this.rig = fresh;
  }
}

function registersOf(pair: Pair, cpu: number) {
  const apic = pair.rig.lapics[cpu]!;
  const get = (offset: number) => {
    if (apic.mmioPage >= 0) return apic.read(offset, 4);
    assert(apic.readMsr(0x800 + offset / 16), "register cannot be read");
    return apic.msrLow;
  };
  const set = (offset: number) => {
    const members: number[] = [];
    for (let v = 0; v < 256; v++) if ((get(offset + (v >> 5) * 16) >>> (v & 31)) & 1) members.push(v);
    return members;
  };
  return {
    sets: [set(0x200), set(0x100), set(0x180)],
    plain: [get(0x80), get(0xa0), get(0xf0), get(0x280), get(0x380), get(0x390), get(0x3e0)],
    lvt: LVT_OFFSETS.map(get),
  };
}

function modelRegisters(slow: SlowApic) {
  const sorted = (set: Set<number>) => [...set].sort((a, b) => a - b);
  const waits = (entry: number) => (slow.lvt[entry]! & 0x10700) === 0x700 && slow.pin(entry - 4);
  return {
    sets: [sorted(slow.irr), sorted(slow.isr), sorted(slow.tmr)],
    plain: [slow.tpr, slow.ppr, slow.svr, slow.esr, slow.timer.initial, slow.timer.count, slow.timer.divide],
    lvt: slow.lvt.map((value, entry) => value + ((entry === 4 || entry === 5) && waits(entry) ? 0x1000 : 0)),
  };
}

test(`four local APICs and their fabric agree with the slow model over ${FUZZ_STEPS} random steps`, () => {
  const pair = new Pair(new Rng("lapic fuzz"));
  for (let step = 0; step < FUZZ_STEPS; step++) {
    try {
      pair.step();
      pair.compare(step % 64 === 0);
      if (pair.rng.chance(1, 2000)) pair.reload();
    } catch (error) {
      throw new Error(`step ${step}`, { cause: error });
    }
  }
}, 3_600_000);
