/**
 * The enhanced configuration access mechanism: 4 KiB of memory per function, 1 MiB per bus. PCI Express Base Specification 3.0, 7.2.2, table 7-1. Where
 * the window lies is told to the guest in ACPI's MCFG and in PCIEXBAR of the host bridge. Holds no state.
 */
import { MIB } from "../base/units.ts";
import type { Window } from "../ports/window.ts";
import type { PciBus } from "./bus.ts";
import { placeName } from "./topology.ts";

const BUSES = 256;
const BUS_SHIFT = 20;
const FUNCTION_SHIFT = 12;

export class Ecam implements Window {
  readonly name = "pci ecam";
  readonly size = BUSES * MIB;
  readonly minWidth = 1;
  readonly maxWidth = 4;
  readonly #root: PciBus;

  constructor(root: PciBus) {
    this.#root = root;
  }

  read(offset: number, width: number): number {
    return this.#root.read(offset >>> BUS_SHIFT, (offset >>> FUNCTION_SHIFT) & 0xff, offset & 0xfff, width);
  }

  write(offset: number, width: number, value: number): void {
    this.#root.write(offset >>> BUS_SHIFT, (offset >>> FUNCTION_SHIFT) & 0xff, offset & 0xfff, width, value);
  }

  describe(offset: number): string {
    const bus = offset >>> BUS_SHIFT;
    const devfn = (offset >>> FUNCTION_SHIFT) & 0xff;
    const fn = this.#root.find(bus, devfn);
    return `pci ecam ${placeName(bus, devfn)} ${fn === null ? "absent" : fn.configName(offset & 0xfff)}`;
  }
}
