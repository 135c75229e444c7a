/**
 * One bus: who sits at which device and function number, and how a configuration access finds its way. PCI Local Bus Specification 3.0, 3.2.2.3: type 0
 * accesses select a device on this bus, type 1 accesses are for a bus behind a bridge; a bridge takes what lies between its secondary and its subordinate
 * bus number (PCI-to-PCI Bridge 1.2, 3.1.2.1). Nobody there: reads give all-ones, writes vanish (PCI 3.0, 6.1).
 */
import { assert } from "../base/assert.ts";
import { onesOf } from "../base/int.ts";

/** How a bus sees a bridge from above, and a function the bridge above it. */
export interface BusBridge {
  readonly secondaryBus: PciBus;
  /** Bus numbers that software has given. */
  readonly secondary: number;
  readonly subordinate: number;
  /** Lets accesses to this range through to the secondary side. */
  forwards(io: boolean, base: number, size: number): boolean;
  /** Lets memory accesses of functions below through to memory. */
  readonly forwardsMasters: boolean;
}

/** What a bus knows of a function. */
export interface BusFunction {
  readonly name: string;
  readonly bridge: BusBridge | null;
  configRead(offset: number, width: number): number;
  configWrite(offset: number, width: number, value: number): void;
  configName(offset: number): string;
  /** Something above has changed: bus number, windows, bus mastering. */
  upstreamChanged(): void;
  /** Reset of the bus (the secondary bus reset bit of the bridge above). */
  busReset(): void;
}

export const deviceOf = (devfn: number): number => devfn >> 3;
export const functionOf = (devfn: number): number => devfn & 7;
export const devfnOf = (device: number, fn: number): number => (device << 3) | fn;

export class PciBus {
  /** The bridge that leads here; null for the root. */
  readonly above: BusBridge | null;
  readonly #functions: (BusFunction | null)[] = new Array<BusFunction | null>(256).fill(null);

  constructor(above: BusBridge | null) {
    this.above = above;
  }

  /** 0 for the root, else what software has given. */
  get number(): number {
    return this.above === null ? 0 : this.above.secondary;
  }

  attach(devfn: number, fn: BusFunction): void {
    assert(devfn >= 0 && devfn < 256 && this.#functions[devfn] === null, `${fn.name}: place ${devfn} is taken`);
    this.#functions[devfn] = fn;
  }

  /** The function at `devfn` of this bus. */
  at(devfn: number): BusFunction | null {
    return this.#functions[devfn]!;
  }

  /** Everybody on this bus, by device and function number. */
  functions(): { readonly devfn: number; readonly fn: BusFunction }[] {
    return this.#functions.flatMap((fn, devfn) => (fn === null ? [] : [{ devfn, fn }]));
  }

  /** Who answers to bus `bus`, device and function `devfn`. */
  find(bus: number, devfn: number): BusFunction | null {
    if (bus === this.number) return this.#functions[devfn]!;
    for (const fn of this.#functions) {
      const bridge = fn === null ? null : fn.bridge;
      if (bridge !== null && bridge.secondary !== 0 && bus >= bridge.secondary && bus <= bridge.subordinate)
        return bridge.secondaryBus.find(bus, devfn);
    }
    return null;
  }

  read(bus: number, devfn: number, offset: number, width: number): number {
    return this.find(bus, devfn)?.configRead(offset, width) ?? onesOf(width);
  }

  write(bus: number, devfn: number, offset: number, width: number, value: number): void {
    this.find(bus, devfn)?.configWrite(offset, width, value);
  }

  /** All bridges above let this range through. */
  decodes(io: boolean, base: number, size: number): boolean {
    return this.above === null || this.above.forwards(io, base, size);
  }

  /** All bridges above let bus masters through. */
  get masters(): boolean {
    return this.above === null || this.above.forwardsMasters;
  }

  changed(): void {
    for (const fn of this.#functions) fn?.upstreamChanged();
  }

  reset(): void {
    for (const fn of this.#functions) fn?.busReset();
  }
}
