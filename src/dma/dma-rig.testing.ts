/** For tests: a pair of 8237A with memory, and a device per channel. */
import { AddressSpace } from "../memory/address-space.ts";
import { BusMaster } from "../memory/bus-master.ts";
import { Ram } from "../memory/ram.ts";
import type { JoinBus } from "../ports/bus-share.ts";
import type { DmaChannel, DmaClient } from "../ports/dma-request.ts";
import type { LinePin } from "../ports/line.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import { Trace } from "../sim/trace.ts";
import { I8237Pair } from "./i8237-pair.ts";
import { PAGE_REGISTER } from "./i8237.regs.ts";

export const RIG_RAM = 0x80000;

/** Asks as often as it has credit; gives rising bytes and keeps what it is given. */
export class RigDevice implements DmaClient {
  readonly state = { credit: 0, given: 0, ends: 0, verified: 0, held: false };
  readonly taken: number[] = [];
  readonly #width: number;
  readonly #dreq: LinePin;
  readonly #channel: DmaChannel;
  readonly #seed: number;
  readonly #log: (text: string) => void;

  constructor(channel: DmaChannel, log: (text: string) => void = () => {}) {
    this.#width = channel.number < 4 ? 1 : 2;
    this.#seed = channel.number * 29;
    this.#channel = channel;
    this.#dreq = channel.attach(this);
    this.#log = text => log(`${channel.number} ${text}`);
  }

  /** Asks for `transfers`; Infinity: for ever, 0: no longer. */
  ask(transfers: number): void {
    this.#channel.settle();
    this.state.credit = transfers;
    this.#dreq.set(transfers > 0);
  }

  burst(): number {
    return this.state.credit;
  }

  dmaRead(into: Uint8Array, offset: number, length: number): void {
    for (let i = 0; i < length; i++) into[offset + i] = this.#seed + this.state.given++;
    this.#done(length / this.#width);
  }

  dmaWrite(from: Uint8Array, offset: number, length: number): void {
    for (let i = 0; i < length; i++) this.taken.push(from[offset + i]!);
    this.#done(length / this.#width);
  }

  dmaVerify(transfers: number): void {
    this.state.verified += transfers;
    this.#done(transfers);
  }

  terminalCount(): void {
    this.state.ends++;
    this.#log("tc");
  }

  acknowledge(level: boolean): void {
    this.state.held = level;
    this.#log(level ? "dack" : "no dack");
  }

  #done(transfers: number): void {
    this.#log(`${transfers}`);
    this.state.credit = Math.max(0, this.state.credit - transfers);
    if (this.state.credit === 0) this.#dreq.set(false);
  }
}

export type Block = {
  readonly mode: number;
  readonly address: number;
  /** Transfers, not the count. */
  readonly transfers: number;
};

export class DmaRig {
  readonly queue = new EventQueue(new Clock());
  readonly trace = new Trace(this.queue.clock);
  readonly ram = new Ram(new ArrayBuffer(RIG_RAM), 0, RIG_RAM);
  readonly pair: I8237Pair;
  /** By channel; the cascade has none. */
  readonly devices: (RigDevice | null)[];
  /** What the devices saw, in order. */
  readonly log: string[] = [];

  /** @param joinBus of a modelled bus */
  constructor(joinBus: ((queue: EventQueue) => JoinBus) | null = null) {
    const space = new AddressSpace(this.ram);
    space.mapRam("RAM", 0, RIG_RAM, 0);
    const { trace, queue } = this;
    const master = new BusMaster(0xf8, { space, msi: { msi: () => {} }, trace, remap: null } as never);
    this.pair = new I8237Pair({ queue, master, ...(joinBus === null ? {} : { joinBus: joinBus(queue) }) });
    this.devices = this.pair.channels.map(channel =>
      channel.number === 4 ? null : new RigDevice(channel, text => this.log.push(text)),
    );
    for (const phase of ["enter", "hold", "exit"] as const) this.pair.reset(phase, "power");
  }

  device(channel: number): RigDevice {
    return this.devices[channel]!;
  }

  /** Channel 4 as the cascade, unmasked, as a BIOS leaves it. */
  cascade(): this {
    this.out(0xd6, 0xc0);
    this.out(0xd4, 0);
    return this;
  }

  out(port: number, value: number): void {
    const { lowWindow, highWindow, pageWindow } = this.pair;
    if (port < 0x10) lowWindow.write(port, 1, value);
    else if (port < 0xc0) pageWindow.write(port - 0x80, 1, value);
    else highWindow.write(port - 0xc0, 1, value);
  }

  in(port: number): number {
    const { lowWindow, highWindow, pageWindow } = this.pair;
    if (port < 0x10) return lowWindow.read(port, 1);
    if (port < 0xc0) return pageWindow.read(port - 0x80, 1);
    return highWindow.read(port - 0xc0, 1);
  }

  /** Port of a register of `channel`'s controller. */
  port(channel: number, register: number): number {
    return channel < 4 ? register : 0xc0 + 2 * register;
  }

  /** Programs a channel the usual way; leaves it masked. */
  program(channel: number, { mode, address, transfers }: Block): void {
    const n = channel & 3;
    const units = channel < 4 ? address : address >> 1;
    this.out(this.port(channel, 0xa), 4 | n);
    this.out(this.port(channel, 0xc), 0);
    this.out(this.port(channel, 0xb), mode | n);
    for (const value of [units & 0xff, (units >> 8) & 0xff]) this.out(this.port(channel, 2 * n), value);
    for (const value of [(transfers - 1) & 0xff, (transfers - 1) >> 8]) this.out(this.port(channel, 2 * n + 1), value);
    this.out(0x80 + PAGE_REGISTER[channel]!, (address >> 16) & (channel < 4 ? 0xff : 0xfe));
  }

  unmask(channel: number): void {
    this.out(this.port(channel, 0xa), channel & 3);
  }

  /** Current count of a channel. */
  count(channel: number): number {
    return this.#word(channel, 2 * (channel & 3) + 1);
  }

  address(channel: number): number {
    return this.#word(channel, 2 * (channel & 3));
  }

  #word(channel: number, register: number): number {
    this.out(this.port(channel, 0xc), 0);
    const low = this.in(this.port(channel, register));
    return low | (this.in(this.port(channel, register)) << 8);
  }

  run(ns: number): void {
    const { queue } = this;
    const end = queue.clock.now() + ns;
    while (queue.nextDeadline() <= end) {
      queue.clock.advanceTo(Math.max(queue.clock.now(), queue.nextDeadline()));
      queue.runDue();
    }
    queue.clock.advanceTo(end);
  }
}
