/**
 * What a PC's firmware does to PCI before it hands over: bus numbers, BARs, bridge windows, interrupt lines, PIRQ routes, all by configuration accesses
 * alone. PCI Local Bus Specification 3.0, 6.2.5.1 "Address Maps"; PCI BIOS Specification 2.1. What finds no room below 4 GiB stays at 0, for the operating
 * system.
 */
import { alignUp } from "../base/int.ts";
import { IDETIM, PIIX_IDE, PIIX_IDE_DEVICE, PIIX_IDE_VENDOR } from "../devices/piix-ide.regs.ts";
import type { Window } from "../ports/window.ts";
import { devfnOf, type PciBus } from "../pci/bus.ts";
import { BAR_IO, BAR_MEMORY, BAR_TYPE, BRIDGE, COMMAND, CONFIG, HEADER_TYPE } from "../pci/config-space.regs.ts";
import { BRIDGE_UNIT, PCI_ISA_IRQS, PCI_MEMORY, PCI_PLACE, PCI_PORTS, PIRQ_SETUP, routeThrough } from "./pci-map.ts";

const ABSENT = 0xffff;
const LAST_BUS = 0xff;
const BARS = { device: 6, bridge: 2 } as const;

/** Device and vendor as one doubleword. */
const PIIX_IDE_ID = PIIX_IDE_DEVICE * 0x10000 + PIIX_IDE_VENDOR;

type Bump = { next: number; readonly end: number };
type Need = { readonly offset: number; readonly io: boolean; readonly wide: boolean; readonly size: number };

/** Configuration accesses to one function. */
class Accessor {
  readonly devfn: number;
  readonly #root: PciBus;
  readonly #bus: number;

  constructor(root: PciBus, bus: number, devfn: number) {
    this.#root = root;
    this.#bus = bus;
    this.devfn = devfn;
  }

  read(offset: number, width: number): number {
    return this.#root.read(this.#bus, this.devfn, offset, width);
  }

  write(offset: number, width: number, value: number): void {
    this.#root.write(this.#bus, this.devfn, offset, width, value >>> 0);
  }

  /** Size of the BAR at `offset`, by writing all-ones; null when there is none. */
  bar(offset: number): Need | null {
    const old = this.read(offset, 4);
    this.write(offset, 4, 0xffffffff);
    const ones = this.read(offset, 4);
    this.write(offset, 4, old);
    const io = BAR_IO.io.on(ones);
    const wide = !io && BAR_MEMORY.type.of(ones) === BAR_TYPE.bits64;
    const mask = (ones & (io ? BAR_IO.base.mask : BAR_MEMORY.base.mask)) >>> 0;
    if (mask === 0) return wide ? { offset, io, wide, size: 2 ** 32 } : null;
    return { offset, io, wide, size: (~mask >>> 0) + 1 };
  }
}

class Setup {
  readonly #root: PciBus;
  readonly #memory: Bump = { next: PCI_MEMORY.base, end: PCI_MEMORY.end };
  readonly #ports: Bump = { next: PCI_PORTS.base, end: PCI_PORTS.end };
  #lastBus = 0;

  constructor(root: PciBus) {
    this.#root = root;
  }

  /** @param path device numbers of the bridges above */
  bus(bus: number, path: readonly number[]): void {
    for (let device = 0; device < 32; device++) {
      const count = this.#isThere(bus, devfnOf(device, 0)) ? this.#functionsOf(bus, device) : 0;
      for (let fn = 0; fn < count; fn++) {
        if (this.#isThere(bus, devfnOf(device, fn))) this.#function(bus, devfnOf(device, fn), [...path, device]);
      }
    }
  }

  #isThere(bus: number, devfn: number): boolean {
    return this.#root.read(bus, devfn, CONFIG.vendor, 2) !== ABSENT;
  }

  #functionsOf(bus: number, device: number): number {
    const type = this.#root.read(bus, devfnOf(device, 0), CONFIG.headerType, 1);
    return HEADER_TYPE.multifunction.on(type) ? 8 : 1;
  }

  #function(bus: number, devfn: number, path: readonly number[]): void {
    const fn = new Accessor(this.#root, bus, devfn);
    const isBridge = HEADER_TYPE.layout.of(fn.read(CONFIG.headerType, 1)) === 1;
    this.#bars(fn, isBridge ? BARS.bridge : BARS.device);
    const pin = fn.read(CONFIG.interruptPin, 1);
    if (pin !== 0) fn.write(CONFIG.interruptLine, 1, routeThrough(path, pin - 1).irq);
    const decode = COMMAND.io.mask | COMMAND.memory.mask;
    if (isBridge) this.#bridge(fn, bus, path);
    if (fn.read(CONFIG.vendor, 4) === PIIX_IDE_ID) openIde(fn);
    fn.write(CONFIG.command, 2, fn.read(CONFIG.command, 2) | decode | (isBridge ? COMMAND.busMaster.mask : 0));
  }

  #bars(fn: Accessor, count: number): void {
    const needs: Need[] = [];
    for (let i = 0; i < count; i++) {
      const need = fn.bar(CONFIG.bar + 4 * i);
      if (need === null) continue;
      needs.push(need);
      if (need.wide) i++;
    }
    // The largest first: fewer gaps.
    needs.sort((a, b) => b.size - a.size || a.offset - b.offset);
    for (const { offset, io, size } of needs) {
      const space = io ? this.#ports : this.#memory;
      const base = alignUp(space.next, size);
      if (base + size > space.end) continue;
      fn.write(offset, 4, base);
      space.next = base + size;
    }
  }

  /** Everything behind the bridge gets one range of each kind; the prefetchable window stays shut. */
  #bridge(fn: Accessor, bus: number, path: readonly number[]): void {
    const secondary = ++this.#lastBus;
    fn.write(BRIDGE.primary, 1, bus);
    fn.write(BRIDGE.secondary, 1, secondary);
    fn.write(BRIDGE.subordinate, 1, LAST_BUS);
    const memory = open(this.#memory, BRIDGE_UNIT.memory);
    const ports = open(this.#ports, BRIDGE_UNIT.ports);
    this.bus(secondary, path);
    fn.write(BRIDGE.subordinate, 1, this.#lastBus);
    const [memoryFirst, memoryLast] = close(this.#memory, BRIDGE_UNIT.memory, memory);
    fn.write(BRIDGE.memoryBase, 2, (memoryFirst >>> 16) & 0xfff0);
    fn.write(BRIDGE.memoryLimit, 2, (memoryLast >>> 16) & 0xfff0);
    const [portsFirst, portsLast] = close(this.#ports, BRIDGE_UNIT.ports, ports);
    fn.write(BRIDGE.ioBase, 1, (portsFirst >>> 8) & 0xf0);
    fn.write(BRIDGE.ioLimit, 1, (portsLast >>> 8) & 0xf0);
    fn.write(BRIDGE.prefetchBase, 2, 0xfff0);
    fn.write(BRIDGE.prefetchLimit, 2, 0);
  }
}

/** Both channels answer at their ports. */
function openIde(fn: Accessor): void {
  for (const offset of [PIIX_IDE.timing, PIIX_IDE.timing + 2]) fn.write(offset, 2, IDETIM.decode.mask);
}

function open(space: Bump, unit: number): number {
  space.next = Math.min(alignUp(space.next, unit), space.end);
  return space.next;
}

/** First and last address of a window; the first above the last when nothing lies in it. */
function close(space: Bump, unit: number, first: number): [number, number] {
  if (space.next === first) return [0xfffffff0, 0];
  space.next = Math.min(alignUp(space.next, unit), space.end);
  return [first, space.next - 1];
}

/** @param elcr the edge/level control registers of the 8259 pair */
export function setUpPci(root: PciBus, elcr: Window): void {
  new Setup(root).bus(0, []);
  const { device, fn } = PCI_PLACE.isaBridge;
  for (const { register, irq } of PIRQ_SETUP) root.write(0, devfnOf(device, fn), register, 1, irq);
  const level = PCI_ISA_IRQS.reduce((bits, irq) => bits | (1 << irq), elcr.read(0, 1) | (elcr.read(1, 1) << 8));
  elcr.write(0, 1, level & 0xff);
  elcr.write(1, 1, level >> 8);
}
