/**
 * Remapping hardware on this board: `--iommu vtd[,key=value…]`, where the units lie, whom they see, and what firmware says of
 * them. One unit has everything; with `own=` another one has the named functions of bus 0, and the first one the rest.
 */
import { HostError } from "../base/assert.ts";
import { type Bdf, PAGE, type PhysAddr } from "../base/units.ts";
import { PHYSICAL_BITS } from "../cpu/system/control-bits.ts";
import { type RemappingFacts, type RemappingScope, SCOPE } from "../firmware/acpi/dmar.ts";
import { RemapRouter } from "../iommu/remap-router.ts";
import type { TableMemory } from "../iommu/table-memory.ts";
import { Vtd } from "../iommu/vtd.ts";
import { devfnOf } from "../pci/bus.ts";
import type { DmaRemapper } from "../ports/dma-remap.ts";
import type { InterruptRemapping } from "../ports/interrupt-remap.ts";
import { type AddressSpace, ADDRESS_LIMIT } from "../memory/address-space.ts";
import type { DmaCaches } from "../memory/bus-master.ts";
import type { MemoryCopy } from "../memory/ram.ts";
import { PAGE_KIND } from "../ports/cpu-bus.ts";
import type { MessageBus, MsiTarget } from "../ports/message.ts";
import type { Trace } from "../sim/trace.ts";

/** Register pages: of the unit for everything, and of the one for some functions. */
export const VTD_BASE = 0xfed90000;
export const VTD_OWN_BASE = 0xfed91000;
/** As whom the I/O APIC and the HPET send their messages; on no bus that PCI could have. */
export const IOAPIC_REQUESTER: Bdf = 0xf0f8;
export const HPET_REQUESTER: Bdf = 0xf078;

const USAGE = 64;
const KEYS: readonly string[] = ["width", "scalable", "intremap", "own"];
const LEVELS: { readonly [width: string]: number } = { "39": 3, "48": 4, "57": 5 };

/** What `--iommu` says. */
export type IommuSpec = {
  /** Levels of the largest second-level tables. */
  readonly levels: number;
  readonly scalable: boolean;
  readonly interrupts: boolean;
  /** Functions of bus 0 that have a unit of their own. */
  readonly own: readonly Bdf[];
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
    if (key === undefined || !KEYS.includes(key)) refuse(`vtd has no ${key}, but ${KEYS.join(", ")}`);
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
  const own = (keys.get("own")?.split("+") ?? []).map(place => {
    const [, device = "", fn = "0"] = /^([01]?[0-9a-f])(?:\.([0-7]))?$/i.exec(place) ?? [];
    return device === ""
      ? refuse(`own=${place}: device numbers of bus 0 as 3+4.1`)
      : devfnOf(parseInt(device, 16), Number(fn));
  });
  return { levels, scalable: flag("scalable", false), interrupts: flag("intremap", true), own };
}

/** Guest memory as a unit reads it: RAM, and ROM for reading; through the processors' caches where there are some. */
export class SpaceTableMemory implements TableMemory {
  low = 0;
  high = 0;
  readonly #space: AddressSpace;
  readonly #memory: MemoryCopy;
  readonly #bytes = new Uint8Array(8);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(space: AddressSpace, memory: MemoryCopy) {
    this.#space = space;
    this.#memory = memory;
  }

  #kind(address: PhysAddr): number {
    return address < ADDRESS_LIMIT ? this.#space.lookup(Math.floor(address / PAGE)) : PAGE_KIND.open;
  }

  read64(address: PhysAddr): boolean {
    const kind = this.#kind(address);
    if (kind !== PAGE_KIND.ram && kind !== PAGE_KIND.rom) return false;
    this.#space.readBlock(address, this.#bytes, 0, 8, this.#memory);
    this.low = this.#view.getUint32(0, true);
    this.high = this.#view.getUint32(4, true);
    return true;
  }

  write64(address: PhysAddr, low: number, high: number): boolean {
    if (this.#kind(address) !== PAGE_KIND.ram) return false;
    this.#view.setUint32(0, low, true);
    this.#view.setUint32(4, high, true);
    return this.#space.writeBlock(address, this.#bytes, 0, 8, this.#memory);
  }

  write32(address: PhysAddr, value: number): boolean {
    if (this.#kind(address) !== PAGE_KIND.ram) return false;
    this.#view.setUint32(0, value, true);
    return this.#space.writeBlock(address, this.#bytes, 0, 4, this.#memory);
  }
}

export type IommuSurroundings = {
  readonly space: AddressSpace;
  readonly bus: MessageBus;
  readonly msi: MsiTarget;
  readonly trace: Trace;
  /** Null: memory itself. On a machine whose devices do not look into them, tables are not looked up there either (ECAP.C). */
  readonly caches: DmaCaches | null;
};

/** The board's remapping hardware. */
export type Iommu = {
  /** The unit for everything comes first. */
  readonly units: readonly Vtd[];
  /** For bus masters: their addresses and their messages. */
  readonly remap: DmaRemapper;
  readonly msi: MsiTarget;
  /** For the I/O APIC. */
  readonly interrupts: InterruptRemapping;
};

export function makeIommu(spec: IommuSpec, { space, bus, msi, trace, caches }: IommuSurroundings): Iommu {
  const coherent = caches?.coherent ?? true;
  const copies = caches === null ? space.ram : coherent ? caches.snooped : caches.unsnooped;
  const make = (name: string, base: PhysAddr): Vtd => {
    const memory = new SpaceTableMemory(space, copies);
    const unit = new Vtd({ ...spec, name, coherent, hostBits: PHYSICAL_BITS, memory, bus, msi, trace });
    space.mapWindow(unit, base);
    return unit;
  };
  const all = make("vtd", VTD_BASE);
  const { dma: remap, interrupts } = all;
  if (spec.own.length === 0) return { units: [all], remap, msi: interrupts, interrupts };
  const own = make("vtd 2", VTD_OWN_BASE);
  const router = new RemapRouter([own, all], [spec.own]);
  return { units: [all, own], remap: router, msi: router, interrupts };
}

/** What firmware tells of it. @param hpet there is one */
export function remappingFacts(spec: IommuSpec, ioapicId: number, hpet: boolean): RemappingFacts {
  const scopes: RemappingScope[] = [{ type: SCOPE.ioApic, enumeration: ioapicId, requester: IOAPIC_REQUESTER }];
  if (hpet) scopes.push({ type: SCOPE.hpet, enumeration: 0, requester: HPET_REQUESTER });
  const own = spec.own.map(requester => ({ type: SCOPE.endpoint, enumeration: 0, requester }));
  return {
    hostBits: PHYSICAL_BITS,
    interruptRemapping: spec.interrupts,
    units: [
      ...(own.length > 0 ? [{ base: VTD_OWN_BASE, all: false, scopes: own }] : []),
      { base: VTD_BASE, all: true, scopes },
    ],
  };
}
