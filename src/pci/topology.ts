/**
 * Walks over the tree of buses, and the interrupt pins' way through it. PCI-to-PCI Bridge Architecture Specification 1.2, 9.1: behind a bridge, pin p of
 * device d is pin (p + d) mod 4 of the bridge.
 */
import { hex } from "../base/int.ts";
import { type BusFunction, deviceOf, functionOf, type PciBus } from "./bus.ts";

/** Pins A to D are 0 to 3 here (1 to 4 in the configuration space). */
export const swizzle = (device: number, pin: number): number => (pin + device) & 3;

export type Found = { readonly bus: number; readonly devfn: number; readonly fn: BusFunction };

/** Every function that software could find now, by bus, device and function number. */
export function walk(root: PciBus): Found[] {
  const found: Found[] = [];
  const visit = (bus: PciBus): void => {
    for (const { devfn, fn } of bus.functions()) {
      found.push({ bus: bus.number, devfn, fn });
      if (fn.bridge !== null && fn.bridge.secondary !== 0) visit(fn.bridge.secondaryBus);
    }
  };
  visit(root);
  return found.sort((a, b) => a.bus - b.bus || a.devfn - b.devfn);
}

/** `00:1f.0`. */
export function placeName(bus: number, devfn: number): string {
  const two = (value: number): string => hex(value, 2).slice(2);
  return `${two(bus)}:${two(deviceOf(devfn))}.${functionOf(devfn)}`;
}
