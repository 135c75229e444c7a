/**
 * Random programs of registers and requests, against a slow model that advances clock by clock and moves byte by byte; the pair is saved and loaded into a
 * fresh one every now and then.
 */
import { describe, expect, it } from "vitest";
import { FUZZ_STEPS } from "../../test/fuzz-steps.ts";
import { Rng } from "../sim/rng.ts";
import { loadState, saveState } from "../sim/state.ts";
import { DmaRig, RIG_RAM } from "./dma-rig.testing.ts";

const CLOCK_NS = 250;

type Channel = {
  mode: number;
  base: number;
  baseCount: number;
  now: number;
  left: number;
  masked: boolean;
  soft: boolean;
  tc: boolean;
};
type Device = { credit: number; given: number; taken: number[]; ends: number; verified: number };

class SlowChip {
  command = 0;
  temporary = 0;
  second = false;
  lowest = 3;
  readonly channels: Channel[] = [0, 1, 2, 3].map(() => ({
    ...{ mode: 0, base: 0, baseCount: 0, now: 0, left: 0, masked: true, soft: false, tc: false },
  }));

  /** @param dreq who holds DREQ */
  first(dreq: (n: number) => boolean): number {
    if (this.command & 4) return -1;
    const order = [0, 1, 2, 3].map(i => (this.command & 0x10 ? (this.lowest + 1 + i) % 4 : i));
    return order.find(n => this.asks(n, dreq)) ?? -1;
  }

  asks(n: number, dreq: (n: number) => boolean): boolean {
    const { soft, masked } = this.channels[n]!;
    return (this.command & 4) === 0 && (soft || (dreq(n) && !masked));
  }

  end(n: number): void {
    const channel = this.channels[n]!;
    channel.soft = false;
    if (channel.mode & 0x10) {
      channel.now = channel.base;
      channel.left = channel.baseCount;
    } else channel.masked = true;
  }
}

/** Clock by clock. */
class SlowDma {
  readonly memory = new Uint8Array(RIG_RAM);
  readonly pages = new Uint8Array(16);
  readonly chips = [new SlowChip(), new SlowChip()] as const;
  readonly devices: Device[] = Array.from({ length: 8 }, () => ({
    credit: 0,
    given: 0,
    taken: [],
    ends: 0,
    verified: 0,
  }));
  /** Served channel, clocks until its bus is granted, clocks of its present transfer. */
  owner = -1;
  hold = 0;
  clocks = 0;
  moved = false;
  /** The device asked when the bus was granted. */
  listens = false;
  dack = false;

  #dreq =
    (first: number) =>
    (n: number): boolean => {
      if (first + n !== 4) return this.devices[first + n]!.credit > 0;
      const serving = this.owner >= 0 && this.owner < 4 && this.#lowMayGoOn();
      return serving || this.chips[0].first(this.#dreq(0)) >= 0;
    };
  #chip = (channel: number): SlowChip => this.chips[channel < 4 ? 0 : 1];
  #service(channel: number): number {
    if (channel === 0 && this.chips[0].command & 1) return 2;
    return this.#chip(channel).channels[channel & 3]!.mode >> 6;
  }
  #lowMayGoOn(): boolean {
    const low = this.chips[0];
    if (low.asks(this.owner, this.#dreq(0))) return true;
    return (low.command & 4) === 0 && !low.channels[this.owner]!.masked && this.#service(this.owner) === 2;
  }
  #winner(): number {
    const top = this.chips[1].first(this.#dreq(4));
    if (top !== 0) return top < 0 ? -1 : 4 + top;
    return this.#service(4) === 3 ? this.chips[0].first(this.#dreq(0)) : 4;
  }
  #mayGoOn(): boolean {
    if (this.owner < 4) {
      return this.chips[1].asks(0, this.#dreq(4)) && this.#service(4) === 3 && this.#lowMayGoOn();
    }
    const chip = this.chips[1];
    const n = this.owner - 4;
    if (chip.asks(n, this.#dreq(4))) return true;
    return (chip.command & 4) === 0 && !chip.channels[n]!.masked && this.#service(this.owner) === 2;
  }

  look(): void {
    if (this.owner >= 0) {
      const waits = this.hold > 0;
      if (waits ? this.#winner() === this.owner : this.#mayGoOn()) return;
      const { hold } = this;
      this.#release();
      this.owner = this.#winner();
      this.hold = waits ? hold : 2;
    } else {
      this.owner = this.#winner();
      this.hold = 2;
    }
    this.clocks = 0;
  }

  #release(): void {
    if (this.moved || this.dack) {
      const chip = this.#chip(this.owner);
      if (chip.command & 0x10) chip.lowest = this.owner & 3;
      if (this.owner < 4 && this.chips[1].command & 0x10) this.chips[1].lowest = 0;
    }
    this.moved = this.dack = false;
    this.owner = -1;
  }

  clock(): void {
    if (this.owner < 0) return;
    if (this.hold > 0) {
      this.hold--;
      if (this.hold === 0) this.listens = this.devices[this.owner]!.credit > 0;
      if (this.hold === 0 && this.#service(this.owner) === 3) this.dack = true;
      return;
    }
    if (this.#service(this.owner) === 3) {
      this.dack = true;
      return;
    }
    this.clocks++;
    const copies = this.owner === 0 && (this.chips[0].command & 1) !== 0;
    if (this.clocks < (copies ? 10 : 5)) return;
    this.clocks = 0;
    const { owner } = this;
    const single = this.#service(owner) === 1;
    this.moved = true;
    const last = copies ? this.#copy() : this.#transfer();
    if (last || single || !this.#mayGoOn()) {
      this.#release();
      this.owner = this.#winner();
      this.hold = 2;
    }
  }

  #at(channel: number, address: number): number {
    const page = this.pages[[7, 3, 1, 2, 15, 11, 9, 10][channel]!]!;
    return channel < 4 ? (page << 16) | address : ((page & 0xfe) << 16) | (address << 1);
  }
  #load = (at: number): number => (at < RIG_RAM ? this.memory[at]! : 0xff);
  #store(at: number, byte: number): void {
    if (at < RIG_RAM) this.memory[at] = byte;
  }

  #transfer(): boolean {
    const { owner } = this;
    const channel = this.#chip(owner).channels[owner & 3]!;
    const device = this.devices[owner]!;
    const asks = this.listens;
    const at = this.#at(owner, channel.now);
    const kind = (channel.mode >> 2) & 3;
    for (let i = 0; i < (owner < 4 ? 1 : 2); i++) {
      if (kind === 1) this.#store(at + i, asks ? owner * 29 + device.given++ : 0xff);
      else if (kind === 2 && asks) device.taken.push(this.#load(at + i));
    }
    if ((kind === 0 || kind === 3) && asks) device.verified++;
    if (asks && device.credit > 0) device.credit--;
    channel.now = (channel.now + (channel.mode & 0x20 ? 0xffff : 1)) & 0xffff;
    channel.left = (channel.left - 1) & 0xffff;
    if (channel.left !== 0xffff) return false;
    channel.tc = true;
    if (asks) device.ends++;
    this.#chip(owner).end(owner & 3);
    return true;
  }

  #copy(): boolean {
    const chip = this.chips[0];
    const [from, to] = chip.channels as [Channel, Channel];
    const byte = this.#load(this.#at(0, from.now));
    this.#store(this.#at(1, to.now), byte);
    chip.temporary = byte;
    if ((chip.command & 2) === 0) from.now = (from.now + (from.mode & 0x20 ? 0xffff : 1)) & 0xffff;
    to.now = (to.now + (to.mode & 0x20 ? 0xffff : 1)) & 0xffff;
    from.left = (from.left - 1) & 0xffff;
    to.left = (to.left - 1) & 0xffff;
    if (to.left !== 0xffff) return false;
    chip.end(0);
    chip.end(1);
    to.tc = true;
    // The device that asked on channel 0 hears of the end.
    if (this.listens) this.devices[0]!.ends++;
    return true;
  }

  in(port: number): number {
    if (port >= 0x80 && port < 0x90) return this.pages[port - 0x80]!;
    const chip = this.chips[port < 0x10 ? 0 : 1];
    const register = port < 0x10 ? port : (port - 0xc0) >> 1;
    if (register < 8) {
      const channel = chip.channels[register >> 1]!;
      const word = register % 2 === 0 ? channel.now : channel.left;
      chip.second = !chip.second;
      return chip.second ? word % 256 : word >> 8;
    }
    if (register === 13) return chip.temporary;
    if (register !== 8) return 0xff;
    let status = 0;
    chip.channels.forEach((channel, n) => {
      if (channel.tc) status |= 1 << n;
      if (channel.soft || this.#dreq(port < 0x10 ? 0 : 4)(n)) status |= 16 << n;
      channel.tc = false;
    });
    return status;
  }

  out(port: number, value: number): void {
    if (port >= 0x80 && port < 0x90) {
      this.pages[port - 0x80] = value;
      return;
    }
    const chip = this.chips[port < 0x10 ? 0 : 1];
    const register = port < 0x10 ? port : (port - 0xc0) >> 1;
    const served = this.owner >= 0 && this.#chip(this.owner) === chip;
    if (served && (register === 8 || (register === 11 && (value & 3) === (this.owner & 3)))) this.#release();
    this.#register(chip, register, value);
    this.look();
  }

  #register(chip: SlowChip, register: number, value: number): void {
    const addressed = chip.channels[value & 3]!;
    if (register < 8) {
      const channel = chip.channels[register >> 1]!;
      const put = (word: number): number => (chip.second ? (word % 256) + 256 * value : (word >> 8) * 256 + value);
      if (register % 2 === 0) [channel.base, channel.now] = [put(channel.base), put(channel.now)];
      else [channel.baseCount, channel.left] = [put(channel.baseCount), put(channel.left)];
      chip.second = !chip.second;
    } else if (register === 8) chip.command = value;
    else if (register === 9) addressed.soft = (value & 4) !== 0;
    else if (register === 10) addressed.masked = (value & 4) !== 0;
    else if (register === 11) addressed.mode = value;
    else if (register === 12) chip.second = false;
    else if (register === 13) {
      chip.command = chip.temporary = 0;
      chip.second = false;
      for (const channel of chip.channels) [channel.masked, channel.soft, channel.tc] = [true, false, false];
    } else
      chip.channels.forEach((channel, n) => {
        channel.masked = register === 15 && ((value >> n) & 1) !== 0;
      });
  }
}

class Duel {
  rig = new DmaRig();
  readonly slow = new SlowDma();
  readonly #rng: Rng;

  constructor(seed: string) {
    this.#rng = new Rng(seed);
    this.out(0xd6, 0xc0);
    this.out(0xd4, 0);
  }

  out(port: number, value: number): void {
    this.rig.out(port, value);
    this.slow.out(port, value);
  }

  same(port: number): void {
    expect(this.rig.in(port), `port ${port.toString(16)}`).toBe(this.slow.in(port));
  }

  step(): void {
    const rng = this.#rng;
    const what = rng.below(10);
    const channel = rng.pick([0, 1, 2, 3, 5, 6, 7]);
    if (what < 2) this.#program(channel);
    else if (what === 2) this.#anyPort();
    else if (what === 3) this.same(rng.pick([0, 1, 2, 3, 4, 5, 6, 7, 8, 13, 0xc4, 0xc6, 0xca, 0xce, 0xd0]));
    else if (what < 6) this.#ask(channel, rng.pick([0, 1, 1, 2, 5, 17, 1000]));
    else this.#time(rng.pick([1, 2, 5, 7, 40, 300]));
  }

  #program(channel: number): void {
    const rng = this.#rng;
    const at = (register: number): number => (channel < 4 ? register : 0xc0 + 2 * register);
    const n = channel & 3;
    this.out(at(11), rng.pick([0x40, 0x80, 0, 0x40, 0x80, 0, 0xc0]) | (rng.below(16) << 2) | n);
    this.out(at(12), 0);
    for (const value of [rng.pick([0xf8, 0, rng.below(256)]), rng.pick([0xff, 0, 0x12])]) this.out(at(2 * n), value);
    for (const value of [rng.pick([0, 3, rng.below(256)]), 0]) this.out(at(2 * n + 1), value);
    this.out(0x80 + [7, 3, 1, 2, 15, 11, 9, 10][channel]!, rng.below(10));
    if (rng.chance(3, 4)) this.out(at(10), n);
    if (rng.chance(1, 6)) this.out(at(9), 4 | n);
  }

  #anyPort(): void {
    const rng = this.#rng;
    const register = rng.pick([8, 9, 10, 11, 14, 15, 8, 13]);
    const value = register === 8 ? rng.pick([0, 0x10, 1, 3, 4, 0x11, 0]) : rng.below(256);
    if (rng.chance(1, 2)) this.out(register, value);
    else this.out(0xc0 + 2 * register, register === 8 ? value & 0x14 : value);
    // Seldom does the second controller stay without its cascade.
    if (rng.chance(7, 8)) {
      this.out(0xd6, 0xc0);
      this.out(0xd4, 0);
    }
  }

  /** A device may stop asking, but not take back a part of what it promised. */
  #ask(channel: number, wanted: number): void {
    const credit = wanted === 0 ? 0 : Math.max(wanted, this.slow.devices[channel]!.credit);
    this.rig.device(channel).ask(credit);
    this.slow.devices[channel]!.credit = credit;
    this.slow.look();
  }

  #time(clocks: number): void {
    this.rig.run(clocks * CLOCK_NS);
    for (let i = 0; i < clocks; i++) this.slow.clock();
  }

  /** Into a fresh pair, devices and memory with it. */
  reload(): void {
    const { rig } = this;
    const fresh = new DmaRig();
    loadState(fresh.pair.state, saveState(rig.pair.state));
    fresh.queue.clock.state.now = rig.queue.clock.now();
    fresh.queue.load(rig.queue.save());
    fresh.ram.bytes.set(rig.ram.bytes);
    rig.devices.forEach((device, n) => {
      if (device === null) return;
      loadState(fresh.device(n).state, saveState(device.state));
      fresh.device(n).taken.push(...device.taken);
      loadState(fresh.pair.channels[n]!.dreq.state, saveState(rig.pair.channels[n]!.dreq.state));
    });
    for (const { dreq } of fresh.pair.channels) dreq.restored();
    this.rig = fresh;
  }

  /** Everything that is due has happened in both. */
  compare(): void {
    const { rig, slow } = this;
    rig.pair.settle();
    rig.devices.forEach((device, n) => {
      if (device === null) return;
      const { given, taken, ends, verified, credit } = slow.devices[n]!;
      const { held: _, ...state } = device.state;
      expect(JSON.stringify({ n, ...state })).toBe(JSON.stringify({ n, credit, given, ends, verified }));
      expect(device.taken).toEqual(taken);
      device.taken.length = taken.length = 0;
      expect(device.state.held).toBe(slow.dack && slow.owner === n);
    });
    expect(Buffer.compare(rig.ram.bytes, slow.memory)).toBe(0);
    for (const chip of [0, 1]) {
      for (let register = 0; register < 8; register++) this.same(chip === 0 ? register : 0xc0 + 2 * register);
      for (let register = 0; register < 8; register++) this.same(chip === 0 ? register : 0xc0 + 2 * register);
    }
  }
}

describe("the pair of 8237A against a slow model", () => {
  it("random registers, requests and time: the same memory, data and registers", { timeout: 1_800_000 }, () => {
    const steps = FUZZ_STEPS / 2;
    const perDuel = 4000;
    for (let seed = 0; seed < steps / perDuel; seed++) {
      const duel = new Duel(`dma ${seed}`);
      for (let i = 1; i <= perDuel; i++) {
        try {
          duel.step();
          if (i % 50 === 0) duel.compare();
          if (i % 700 === 0) duel.reload();
        } catch (error) {
          throw new Error(`seed ${seed}, step ${i}: ${(error as Error).message}`);
        }
      }
    }
  });
});
