/**
 * The PCI part of the board: host bridge, ISA bridge, root ports, what the user adds, both ways to configuration space, and the lines.
 */
import { HostError } from "../base/assert.ts";
import { hex } from "../base/int.ts";
import { type AddressSpace, Region } from "../memory/address-space.ts";
import { BusMaster, type BusPath } from "../memory/bus-master.ts";
import type { PortSpace } from "../memory/port-space.ts";
import type { BlockMedium } from "../ports/block.ts";
import type { LinePin } from "../ports/line.ts";
import type { Part } from "../ports/part.ts";
import type { BarSpace } from "../ports/pci.ts";
import type { Window } from "../ports/window.ts";
import { devfnOf, deviceOf, PciBus } from "../pci/bus.ts";
import { Ecam } from "../pci/ecam.ts";
import type { PciSlot } from "../pci/function.ts";
import { HostBridge } from "../pci/host-bridge.ts";
import { IsaBridge } from "../pci/isa-bridge.ts";
import { Mechanism1 } from "../pci/mechanism1.ts";
import { RootPort } from "../pci/root-port.ts";
import type { EventQueue } from "../sim/event-queue.ts";
import { IdeBoard, type IdeOptions } from "./ide-board.ts";
import type { ArbiterBoard } from "./arbiter-board.ts";
import { PORT } from "./memory-map.ts";
import { type NetworkOptions, Networks } from "./networks.ts";
import { addressOf, type DeviceSpec, type DeviceWorld, makeDevice, makeDisk, ROOT_PORT } from "./pci-devices.ts";
import { ECAM, FREE_DEVICES, MAX_ROOT_PORTS, PCI_PLACE, routeThrough } from "./pci-map.ts";

const USAGE = 64;
/** Offset of the reset control register under CONFIG_ADDRESS. */
const RESET_CONTROL_OFFSET = PORT.resetControl - PORT.pciConfig;

export type PciBoardOptions = {
  readonly space: AddressSpace;
  readonly ports: PortSpace;
  readonly queue: EventQueue;
  readonly path: BusPath;
  /** Null: the bus is not modelled. */
  readonly arbiter?: ArbiterBoard | null;
  /** A new driver on a line of the board. */
  readonly pin: (line: number) => LinePin;
  readonly resetControl: Window;
  readonly devices: readonly DeviceSpec[];
  /** A virtio block device each. */
  readonly disks?: readonly BlockMedium[];
  /** What each of them says of its function: `bus`, `addr`, `id`, `queues`. */
  readonly diskKeys?: readonly DeviceSpec["keys"][];
  /** See {@link DeviceWorld}. */
  readonly seed?: number;
  readonly onOutput?: (byte: number) => void;
  readonly network?: NetworkOptions;
  /** Drives on a PIIX4 IDE controller, which is there when one is asked for or has drives. */
  readonly ide?: IdeOptions;
};

/** BARs below everything else that lies in memory: the first one that was claimed wins among them. */
class MemoryBars implements BarSpace {
  readonly #space: AddressSpace;
  #claimed = 0;

  constructor(space: AddressSpace) {
    this.#space = space;
  }

  claim(window: Window): ReturnType<BarSpace["claim"]> {
    const region = new Region(window.name, window.size, -1 - this.#claimed++, -1, true, window);
    return {
      place: base => this.#space.remap(region, base),
      remove: () => {
        if (region.mapped) this.#space.unmap(region);
      },
    };
  }
}

export class PciBoard {
  readonly root = new PciBus(null);
  readonly config: Mechanism1;
  readonly isaBridge: IsaBridge;
  readonly networks: Networks;
  readonly ide: IdeBoard;
  /** Where the user's keys go when a console has asked for them. */
  typeKeys: ((bytes: Iterable<number>) => void) | null = null;
  /** In the order of their making, bridges before what lies behind them. */
  readonly parts: Part[] = [];
  readonly #options: PciBoardOptions;
  readonly #memory: MemoryBars;
  readonly #rootPorts = new Map<string, RootPort>();

  constructor(options: PciBoardOptions) {
    this.#options = options;
    const { space, ports, resetControl } = options;
    this.#memory = new MemoryBars(space);
    this.networks = new Networks(options.queue, options.network ?? {}, part => void this.parts.push(part));
    const { queue, pin, ide = {} } = options;
    this.ide = new IdeBoard({ queue, pin, ide, add: part => void this.parts.push(part) });
    this.config = new Mechanism1({ root: this.root, behind: { offset: RESET_CONTROL_OFFSET, window: resetControl } });
    this.parts.push(this.config);
    ports.map(this.config.window, PORT.pciConfig);
    space.mapWindow(new Ecam(this.root), ECAM.base);
    const { hostBridge, isaBridge } = PCI_PLACE;
    this.#add(new HostBridge(this.#slot("host bridge", this.root, [hostBridge.device], hostBridge.fn), ECAM.base));
    this.isaBridge = this.#add(
      new IsaBridge(this.#slot("isa bridge", this.root, [isaBridge.device], isaBridge.fn), {
        pmBase: PORT.acpi,
        isaPin: options.pin,
      }),
    );
    const rootPorts = options.devices.filter(spec => spec.name === ROOT_PORT);
    rootPorts.forEach((spec, i) => {
      this.#addRootPort(spec, i, rootPorts.length > 1);
    });
    // Those that say where they want to be come first.
    const others = options.devices.filter(spec => spec.name !== ROOT_PORT);
    const { disks = [], diskKeys = [] } = options;
    const blocks = disks.map((_, i): DeviceSpec => ({ name: "virtio-blk", keys: diskKeys[i] ?? new Map() }));
    const addDisks = (placed: boolean): void =>
      blocks.forEach((spec, i) => {
        if ((addressOf(spec) !== null) === placed) this.#addDisk(spec, disks[i]!, i);
      });
    for (const spec of others) if (addressOf(spec) !== null) this.#addDevice(spec);
    addDisks(true);
    for (const spec of others) if (addressOf(spec) === null) this.#addDevice(spec);
    if (this.ide.wanted) this.#addDevice({ name: "piix-ide", keys: new Map() });
    addDisks(false);
  }

  #add<T extends Part>(part: T): T {
    this.parts.push(part);
    return part;
  }

  /** @param path device numbers from bus 0 down */
  #slot(name: string, bus: PciBus, path: readonly number[], fn: number): PciSlot {
    const { ports, pin, arbiter = null } = this.#options;
    const devfn = devfnOf(path[path.length - 1]!, fn);
    return {
      name,
      bus,
      devfn,
      memory: this.#memory,
      io: ports,
      master: new BusMaster(devfn, this.#options.path),
      pin: index => pin(routeThrough(path, index).gsi),
      ...(arbiter === null ? {} : { joinBus: arbiter.joinOf(name) }),
    };
  }

  #addRootPort(spec: DeviceSpec, index: number, multifunction: boolean): void {
    if (index >= MAX_ROOT_PORTS) throw new HostError(`device root-port: at most ${MAX_ROOT_PORTS} are possible`, USAGE);
    const { device, fn } = PCI_PLACE.rootPorts;
    const id = spec.keys.get("id") ?? `rp${index}`;
    if (this.#rootPorts.has(id)) throw new HostError(`device root-port: two are called ${id}`, USAGE);
    if (addressOf(spec) !== null || spec.keys.has("bus"))
      throw new HostError("device root-port: it has a place of its own, leave out addr and bus", USAGE);
    const slot = this.#slot(`root port ${index + 1}`, this.root, [device], fn + index);
    const multi = multifunction && index === 0;
    this.#rootPorts.set(id, this.#add(new RootPort(slot, { port: index + 1, multifunction: multi })));
  }

  #addDevice(spec: DeviceSpec): void {
    this.#add(makeDevice(spec, this.#slotOf(spec), this.#world));
  }

  #addDisk(spec: DeviceSpec, medium: BlockMedium, index: number): void {
    this.#add(makeDisk(medium, index, this.#slotOf(spec), spec, this.#world));
  }

  #slotOf(spec: DeviceSpec): PciSlot {
    const id = spec.keys.get("bus");
    const above = id === undefined ? null : (this.#rootPorts.get(id) ?? null);
    if (id !== undefined && above === null)
      throw new HostError(`device ${spec.name}: there is no root port ${id}, add --device root-port,id=${id}`, USAGE);
    const bus = above === null ? this.root : above.secondaryBus;
    const device = this.#place(spec, bus, above === null);
    const path = above === null ? [device] : [PCI_PLACE.rootPorts.device, device];
    return this.#slot(this.#name(spec), bus, path, 0);
  }

  get #world(): DeviceWorld {
    const { queue, seed = 0, onOutput = () => {} } = this.#options;
    const takeKeys = (type: (bytes: Iterable<number>) => void): void => {
      if (this.typeKeys !== null) throw new HostError("device virtio-console: two want the keys, by input=on", USAGE);
      this.typeKeys = type;
    };
    return { queue, seed, onOutput, takeKeys, networks: this.networks, ide: this.ide };
  }

  /** `edu`, `edu 2`, … or what the user says. */
  #name({ name, keys }: DeviceSpec): string {
    const taken = new Set(this.parts.map(part => part.name));
    const id = keys.get("id");
    if (id !== undefined && taken.has(id)) throw new HostError(`device ${name}: the id ${id} is taken`, USAGE);
    if (id !== undefined) return id;
    let n = 1;
    while (taken.has(n === 1 ? name : `${name} ${n}`)) n++;
    return n === 1 ? name : `${name} ${n}`;
  }

  /** Behind a root port there is device 0 only (PCIe 7.3.1). */
  #place(spec: DeviceSpec, bus: PciBus, onRoot: boolean): number {
    const [first, last] = onRoot ? [FREE_DEVICES.first, FREE_DEVICES.last] : [0, 0];
    const used = new Set(bus.functions().map(({ devfn }) => deviceOf(devfn)));
    const wanted = addressOf(spec);
    if (wanted !== null && (wanted < first || wanted > last || used.has(wanted)))
      throw new HostError(`device ${spec.name}: the place addr=${hex(wanted).slice(2)} is taken`, USAGE);
    if (wanted !== null) return wanted;
    for (let device = first; device <= last; device++) if (!used.has(device)) return device;
    throw new HostError(`device ${spec.name}: no place is left on its bus`, USAGE);
  }
}
