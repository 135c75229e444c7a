/**
 * For tests: a driver of a virtio function on a {@link TestBoard}, written from the driver's sentences in VIRTIO 1.2 (3.1.1, 2.7.13, 2.7.14), without the
 * device's code. It finds the structures through the capabilities, and keeps its rings in the board's memory.
 */
import type { Part } from "../../ports/part.ts";
import { Clock } from "../../sim/clock.ts";
import { EventQueue } from "../../sim/event-queue.ts";
import type { Rng } from "../../sim/rng.ts";
import { TestBoard } from "../../pci/board.testing.ts";
import { BUS_STATUS, type Initiator } from "../../ports/initiator.ts";
import type { PciSlot } from "../../pci/function.ts";
import type { Window } from "../../ports/window.ts";
import type { VirtioFunction } from "./transport.ts";

export const BAR0 = 0xe0000000;
export const BAR2 = 0xe1000000;
export const VERSION_1 = 32;

export type Piece = { readonly address: number; readonly length: number; readonly write: boolean };

/** A board with a queue of events, and one function on it that software can reach. */
export class VirtioRig<F extends VirtioFunction> {
  readonly board = new TestBoard();
  readonly queue = new EventQueue(new Clock());
  readonly part: F;

  constructor(make: (slot: PciSlot, queue: EventQueue) => F) {
    this.part = make(this.board.slot("virtio", 4), this.queue);
    const whole: Part = this.part;
    for (const phase of ["enter", "hold", "exit"] as const) whole.reset(phase, "power");
    this.enable();
  }

  /** BARs and command register: memory and bus master. */
  enable(command = 6): void {
    this.part.configWrite(0x10, 4, BAR0);
    this.part.configWrite(0x14, 4, 0);
    this.part.configWrite(0x18, 4, BAR2);
    this.part.configWrite(4, 2, command);
  }

  /** Runs for `ns`. */
  run(ns = 1_000_000): void {
    const { queue } = this;
    const end = queue.clock.now() + ns;
    while (queue.nextDeadline() <= end) {
      queue.clock.advanceTo(queue.nextDeadline());
      queue.runDue();
    }
    queue.clock.advanceTo(end);
  }

  /** INTA# of device 4 is line A. */
  get pin(): boolean {
    return this.board.lines[0]!.level;
  }

  /** Offset of the virtio capability of a kind (its byte 3), 0 for none. */
  capability(kind: number): number {
    const { part } = this;
    for (let at = part.configRead(0x34, 1); at !== 0; at = part.configRead(at + 1, 1)) {
      if (part.configRead(at, 1) === 9 && part.configRead(at + 3, 1) === kind) return at;
    }
    return 0;
  }

  /** Offset of a capability by its id. */
  pciCapability(id: number): number {
    const { part } = this;
    let at = part.configRead(0x34, 1);
    while (at !== 0 && part.configRead(at, 1) !== id) at = part.configRead(at + 1, 1);
    return at;
  }
}

export class Driver {
  readonly #rig: VirtioRig<VirtioFunction>;
  readonly common: number;
  readonly notifyBase: number;
  readonly isr: number;
  readonly config: number;
  readonly #multiplier: number;

  constructor(rig: VirtioRig<VirtioFunction>) {
    this.#rig = rig;
    const place = (kind: number): number => {
      const at = rig.capability(kind);
      return at === 0 ? 0 : BAR0 + rig.part.configRead(at + 8, 4);
    };
    this.common = place(1);
    this.notifyBase = place(2);
    this.isr = place(3);
    this.config = place(4);
    this.#multiplier = rig.part.configRead(rig.capability(2) + 16, 4);
  }

  read(offset: number, width: number): number {
    return this.#rig.board.space.read(this.common + offset, width);
  }
  write(offset: number, width: number, value: number): void {
    this.#rig.board.space.write(this.common + offset, width, value);
  }
  get status(): number {
    return this.read(20, 1);
  }
  set status(value: number) {
    this.write(20, 1, value);
  }

  /** Features that the device offers, as 64 bits. */
  offered(): bigint {
    this.write(0, 4, 0);
    const low = this.read(4, 4);
    this.write(0, 4, 1);
    return (BigInt(this.read(4, 4)) << 32n) | BigInt(low);
  }

  /** 3.1.1, steps 1 to 6. True when the device keeps FEATURES_OK. */
  negotiate(features: readonly number[]): boolean {
    this.status = 0;
    this.status = 1;
    this.status = 3;
    let wanted = 0n;
    for (const bit of features) wanted |= 1n << BigInt(bit);
    this.write(8, 4, 0);
    this.write(12, 4, Number(wanted & 0xffffffffn));
    this.write(8, 4, 1);
    this.write(12, 4, Number(wanted >> 32n));
    this.status = 11;
    return (this.status & 8) !== 0;
  }

  ready(): void {
    this.status = 15;
  }

  notify(index: number): void {
    this.write(22, 2, index);
    const at = this.notifyBase + this.read(30, 2) * this.#multiplier;
    this.#rig.board.space.write(at, 2, index);
  }

  /** Enables MSI-X: vector n has data 0x40 + n. */
  useMsix(vectors: number): void {
    const { board, part } = this.#rig;
    for (let i = 0; i < vectors; i++) {
      board.space.write(BAR2 + 16 * i, 4, 0xfee00000);
      board.space.write(BAR2 + 16 * i + 8, 4, 0x40 + i);
      board.space.write(BAR2 + 16 * i + 12, 4, 0);
    }
    part.configWrite(this.#rig.pciCapability(0x11) + 2, 2, 0x8000);
  }
}

/** A split queue from the driver's side. Its rings take up to 32 bytes per entry and some more at `base`. */
export class DriverQueue {
  readonly index: number;
  readonly size: number;
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  /** Descriptors that are in nobody's hands. */
  readonly free: number[] = [];
  readonly #driver: Driver;
  readonly #space: TestBoard["space"];
  readonly #chains = new Map<number, number[]>();
  #availIndex = 0;
  #usedIndex = 0;

  constructor(
    rig: VirtioRig<VirtioFunction>,
    driver: Driver,
    index: number,
    options: { base: number; size?: number; origin?: number },
  ) {
    this.#driver = driver;
    this.#space = rig.board.space;
    this.index = index;
    driver.write(22, 2, index);
    if (options.size !== undefined) driver.write(24, 2, options.size);
    this.size = driver.read(24, 2);
    this.desc = options.base;
    this.avail = this.desc + 16 * this.size;
    this.used = Math.ceil((this.avail + 6 + 2 * this.size) / 4) * 4;
    for (let at = this.desc; at < this.used + 6 + 8 * this.size; at++) this.#space.write(at, 1, 0);
    for (let i = 0; i < this.size; i++) this.free.push(i);
    const { origin = 0 } = options;
    this.#availIndex = this.#usedIndex = origin;
    this.#space.write(this.avail + 2, 2, origin);
    this.#space.write(this.used + 2, 2, origin);
    this.#space.write(this.used + 4 + 8 * this.size, 2, origin);
    for (const [offset, address] of [
      [32, this.desc],
      [40, this.avail],
      [48, this.used],
    ] as const) {
      driver.write(offset, 4, address);
      driver.write(offset + 4, 4, 0);
    }
  }

  enable(vector = 0xffff): void {
    this.#driver.write(22, 2, this.index);
    this.#driver.write(26, 2, vector);
    this.#driver.write(28, 2, 1);
  }

  writeDescriptor(at: number, piece: { address: number; length: number }, flags: number, next: number): void {
    this.#space.write(at, 4, piece.address >>> 0);
    this.#space.write(at + 4, 4, Math.floor(piece.address / 2 ** 32));
    this.#space.write(at + 8, 4, piece.length);
    this.#space.write(at + 12, 2, flags);
    this.#space.write(at + 14, 2, next);
  }

  /**
   * 2.7.13: puts a chain into free descriptors and into the available ring, not yet visible. The last `indirect` pieces go to a table at `table`.
   * Returns its head, −1 when there are too few descriptors.
   */
  add(pieces: readonly Piece[], table = 0, indirect = 0): number {
    const direct = pieces.length - indirect;
    const needed = direct + (indirect > 0 ? 1 : 0);
    if (needed > this.free.length) return -1;
    const taken = this.free.splice(0, needed);
    for (let i = 0; i < direct; i++) {
      const more = i + 1 < needed;
      const flags = (more ? 1 : 0) | (pieces[i]!.write ? 2 : 0);
      this.writeDescriptor(this.desc + 16 * taken[i]!, pieces[i]!, flags, more ? taken[i + 1]! : 0xffff);
    }
    if (indirect > 0) {
      this.writeDescriptor(this.desc + 16 * taken[direct]!, { address: table, length: 16 * indirect }, 4, 0xffff);
      for (let i = 0; i < indirect; i++) {
        const { write } = pieces[direct + i]!;
        const more = i + 1 < indirect;
        this.writeDescriptor(table + 16 * i, pieces[direct + i]!, (more ? 1 : 0) | (write ? 2 : 0), more ? i + 1 : 0);
      }
    }
    this.offer(taken[0]!);
    this.#chains.set(taken[0]!, taken);
    return taken[0]!;
  }

  /** Puts a head into the available ring. */
  offer(head: number): void {
    this.#space.write(this.avail + 4 + 2 * (this.#availIndex % this.size), 2, head);
    this.#availIndex = (this.#availIndex + 1) & 0xffff;
  }

  /** Makes everything added visible. */
  publish(index = this.#availIndex): void {
    this.#space.write(this.avail + 2, 2, index);
  }

  /** Everything added becomes visible, and the doorbell is rung. */
  kick(): void {
    this.publish();
    this.#driver.notify(this.index);
  }

  /** Without event index: NO_INTERRUPT. */
  setFlags(flags: number): void {
    this.#space.write(this.avail, 2, flags);
  }
  setUsedEvent(index: number): void {
    this.#space.write(this.avail + 4 + 2 * this.size, 2, index & 0xffff);
  }
  get availEvent(): number {
    return this.#space.read(this.used + 4 + 8 * this.size, 2);
  }
  get availIndex(): number {
    return this.#availIndex;
  }
  get usedIndex(): number {
    return this.#space.read(this.used + 2, 2);
  }
  /** Chains that came back and were not fetched yet. */
  get seen(): number {
    return this.#usedIndex;
  }

  /** 2.7.14: the next used chain, null when there is none. Its descriptors are free again. */
  fetch(): { head: number; written: number } | null {
    if (this.#usedIndex === this.usedIndex) return null;
    const at = this.used + 4 + 8 * (this.#usedIndex % this.size);
    this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
    const head = this.#space.read(at, 4);
    this.free.push(...(this.#chains.get(head) ?? []));
    this.#chains.delete(head);
    return { head, written: this.#space.read(at + 4, 4) };
  }
}

/** The configuration space of a part as a window, for the contract and for fuzzing. */
export function configWindow(part: VirtioFunction): Window {
  return {
    name: "config",
    size: 256,
    minWidth: 1,
    maxWidth: 4,
    read: (offset, width) => part.configRead(offset, width),
    write: (offset, width, value) => part.configWrite(offset, width, value),
  };
}

/** A part together with the memory of its board, so that a copy finds the same rings. */
function withMemory(rig: VirtioRig<VirtioFunction>): Part {
  const { board } = rig;
  const part: Part = rig.part;
  const ram = board.space.ram.bytes;
  return {
    name: part.name,
    state: { part: part.state, ram },
    reset: (phase, kind) => {
      part.reset(phase, kind);
      if (phase === "enter") ram.fill(0);
    },
    restored: () => part.restored?.(),
  };
}

const RINGS = 0x10000;
const RING_BYTES = 0x2000;

/** A step of a driver that keeps all its books in memory: sets the function up, or offers chains that are sometimes wrong. */
function drive(rig: VirtioRig<VirtioFunction>, rng: Rng, features: readonly number[]): void {
  const { part, board } = rig;
  const { space } = board;
  const driver = new Driver(rig);
  if (rng.chance(1, 10)) {
    // Out of D3hot first: there all registers read ones, and a queue of 65 535 entries would be laid out.
    part.configWrite(rig.pciCapability(1) + 4, 2, 0);
    rig.enable();
    driver.negotiate([VERSION_1, ...features]);
    part.queues.forEach((_, i) => {
      new DriverQueue(rig, driver, i, {
        base: RINGS + i * RING_BYTES,
        size: Math.min(16, part.queues[i]!.maxSize),
      }).enable(i);
    });
    driver.ready();
    return;
  }
  const index = rng.below(part.queues.length);
  const { size, addresses } = part.queues[index]!.state;
  const [desc, avail] = [addresses[0]!, addresses[2]!];
  const head = rng.below(size);
  const pieces = 1 + rng.below(3);
  for (let i = 0; i < pieces; i++) {
    const at = desc + 16 * ((head + i) % size);
    const write = rng.chance(1, 2) ? 2 : 0;
    space.write(at, 4, 0x20000 + rng.below(0x1000));
    space.write(at + 4, 4, 0);
    space.write(at + 8, 4, rng.pick([1, 8, 16, 512, 1024]));
    space.write(at + 12, 4, (i + 1 < pieces ? 1 : 0) | write | (((head + i + 1) % size) << 16));
  }
  const next = space.read(avail + 2, 2);
  space.write(avail + 4 + 2 * (next % size), 2, head);
  space.write(avail + 2, 2, (next + 1) & 0xffff);
  if (addresses[0]! !== 0) part.structures.write(0x3000 + 4 * index, 2, index);
  if (rng.chance(1, 4)) part.structures.read(0x1000, 1);
}

/** What the contract of a part needs. @param features that the driver accepts */
export function fixture<F extends VirtioFunction>(rig: VirtioRig<F>, features: readonly number[] = []) {
  const { part, queue, board } = rig;
  return {
    part: withMemory(rig),
    queue,
    windows: [part.structures, part.msixWindow, configWindow(part)],
    outputs: board.lines,
    sent: () => board.messages.length,
    stimulate: (rng: Rng) => drive(rig, rng, features),
  };
}

/** A bus master that refuses what lies in a range. */
export function refusing(master: Initiator, from: number, to: number): Initiator {
  const inside = (address: number, length: number): boolean => address < to && address + length > from;
  return {
    requester: master.requester,
    read: (address, into, offset, length) =>
      inside(address, length) ? BUS_STATUS.targetAbort : master.read(address, into, offset, length),
    write: (address, from_, offset, length) =>
      inside(address, length) ? BUS_STATUS.targetAbort : master.write(address, from_, offset, length),
  };
}
