/**
 * Remapping hardware on this board: `--iommu vtd[,key=value…]`, where the unit lies, whom it sees, and what firmware says of it.
 */
import { HostError } from "../base/assert.ts";
import { type Bdf, PAGE, type PhysAddr } from "../base/units.ts";
import { PHYSICAL_BITS } from "../cpu/system/control-bits.ts";
import { type RemappingFacts, type RemappingScope, SCOPE } from "../firmware/acpi/dmar.ts";
import type { TableMemory } from "../iommu/table-memory.ts";
import { Vtd } from "../iommu/vtd.ts";
import { type AddressSpace, ADDRESS_LIMIT } from "../memory/address-space.ts";
import { PAGE_KIND } from "../ports/cpu-bus.ts";
import type { MessageBus, MsiTarget } from "../ports/message.ts";
import type { Trace } from "../sim/trace.ts";

/** Register page of the unit. */
export const VTD_BASE = 0xfed90000;
/** As whom the I/O APIC and the HPET send their messages; on no bus that PCI could have. */
export const IOAPIC_REQUESTER: Bdf = 0xf0f8;
export const HPET_REQUESTER: Bdf = 0xf078;

const USAGE = 64;
const LEVELS: { readonly [width: string]: number } = { "39": 3, "48": 4, "57": 5 };

/** What `--iommu` says. */
export type IommuSpec = {
  /** Levels of the largest second-level tables. */
  readonly levels: number;
  readonly scalable: boolean;
  readonly interrupts: boolean;
};

/** Throws {@link HostError} with status 64. */
export function parseIommu(text: string): IommuSpec {
  const [name, ...pairs] = text.split(",");
  const refuse = (why: string): never => {
    throw new HostError(`--iommu: ${why}`, USAGE);
  };
  if (name !== "vtd") refuse(`there is no ${name}, only vtd`);
  const keys = new Map<string, string>();
  for (const pair of pairs) {
    const [key, value] = pair.split("=", 2);
    if (key === undefined || !["width", "scalable", "intremap"].includes(key))
      refuse(`vtd has no ${key}, but width, scalable, intremap`);
    if (value === undefined || keys.has(key!)) refuse(`${pair}: give each key once, as key=value`);
    keys.set(key!, value!);
  }
  const flag = (key: string, otherwise: boolean): boolean => {
    const value = keys.get(key);
    if (value !== undefined && value !== "on" && value !== "off") refuse(`${key}=${value}: on or off`);
    return value === undefined ? otherwise : value === "on";
  };
  const width = keys.get("width") ?? "48";
  const levels = LEVELS[width] ?? refuse(`width=${width}: 39, 48 or 57`);
  return { levels, scalable: flag("scalable", false), interrupts: flag("intremap", true) };
}

/** Guest memory as a unit reads it: RAM, and ROM for reading. */
export class SpaceTableMemory implements TableMemory {
  low = 0;
  high = 0;
  readonly #space: AddressSpace;

  constructor(space: AddressSpace) {
    this.#space = space;
  }

  #kind(address: PhysAddr): number {
    return address < ADDRESS_LIMIT ? this.#space.lookup(Math.floor(address / PAGE)) : PAGE_KIND.open;
  }

  read64(address: PhysAddr): boolean {
    const kind = this.#kind(address);
    if (kind !== PAGE_KIND.ram && kind !== PAGE_KIND.rom) return false;
    this.low = this.#space.read(address, 4);
    this.high = this.#space.read(address + 4, 4);
    return true;
  }

  write64(address: PhysAddr, low: number, high: number): boolean {
    if (this.#kind(address) !== PAGE_KIND.ram) return false;
    this.#space.writePair(address, 8, low, high);
    return true;
  }

  write32(address: PhysAddr, value: number): boolean {
    if (this.#kind(address) !== PAGE_KIND.ram) return false;
    this.#space.write(address, 4, value);
    return true;
  }
}

export type IommuSurroundings = {
  readonly space: AddressSpace;
  readonly bus: MessageBus;
  readonly msi: MsiTarget;
  readonly trace: Trace;
};

export function makeIommu(spec: IommuSpec, { space, bus, msi, trace }: IommuSurroundings): Vtd {
  const memory = new SpaceTableMemory(space);
  const unit = new Vtd({ ...spec, hostBits: PHYSICAL_BITS, memory, bus, msi, trace });
  space.mapWindow(unit, VTD_BASE);
  return unit;
}

/** What firmware tells of it. @param hpet there is one */
export function remappingFacts(spec: IommuSpec, ioapicId: number, hpet: boolean): RemappingFacts {
  const scopes: RemappingScope[] = [{ type: SCOPE.ioApic, enumeration: ioapicId, requester: IOAPIC_REQUESTER }];
  if (hpet) scopes.push({ type: SCOPE.hpet, enumeration: 0, requester: HPET_REQUESTER });
  return {
    hostBits: PHYSICAL_BITS,
    interruptRemapping: spec.interrupts,
    units: [{ base: VTD_BASE, all: true, scopes }],
  };
}
