/**
 * Interrupts of devices: who shares them, which CPU takes them, and how they move from one to another while they keep coming.
 *
 * Moving. Each CPU has its own vectors. To move an interrupt, it gets a vector on the new CPU, both places lead to its handlers, and then its source
 * is told the new place. A request that the old CPU accepted before may still wait there, so the old vector is kept until that CPU finds its IRR bit clear: an
 * IPI of the lowest class asks it to look, and a CPU comes to the lowest class only when nothing else waits. A pin of the I/O APIC keeps its vector
 * and changes its destination by one write: to mask it would lose an edge.
 */
import type { Vector } from "../base/units.ts";
import { DELIVERY } from "../ports/message.ts";
import type { PhysAddr } from "../base/units.ts";
import { load32, store32, type Task } from "../ports/task.ts";
import {
  describeInterrupt,
  type Handler,
  INTERRUPT_PRIORITY,
  type InterruptContext,
  type InterruptDescriptor,
  type InterruptPriority,
} from "./descriptor.ts";
import type { InterruptTable } from "./interrupt-table.ts";
import type { IoApicDriver } from "./io-apic.ts";
import type { LocalApicDriver } from "./local-apic.ts";
import { directComposer, type MessageComposer, type MessageTarget } from "./message.ts";
import type { PciFunction } from "./pci.ts";
import { KERNEL_VECTOR, type VectorAllocator } from "./vectors.ts";

/** Where interrupts come from, as their owner programs it. */
export interface IrqSource {
  /** Two requests for one source have one key. */
  readonly key: string;
  readonly level: boolean;
  /** A move keeps the vector. */
  readonly keepsVector: boolean;
  /** First routing, or a move to another vector. */
  route(target: MessageTarget): Task;
  /** Only the destination changes. */
  retarget(target: MessageTarget): Task;
  mask(): Task;
  unmask(): Task;
}

/** A pin of the I/O APIC. */
export function pinSource(ioApic: IoApicDriver, pin: number, level: boolean, activeLow: boolean): IrqSource {
  return {
    key: `pin ${pin}`,
    level,
    keepsVector: true,
    route: ({ vector, destination, ...route }) =>
      ioApic.configureIoApicEntry(pin, vector, destination, { level, activeLow, ...route }),
    retarget: ({ destination }) => ioApic.setDestination(pin, destination),
    mask: () => ioApic.mask(pin),
    unmask: () => ioApic.unmask(pin),
  };
}

/** The MSI capability of a PCI function. It cannot be masked: a move writes address and data while messages may come. */
export function msiSource(fn: PciFunction, composer: MessageComposer = directComposer): IrqSource {
  function* program(target: MessageTarget): Task {
    yield* fn.enableMsi(yield* composer.compose(fn.bdf, 0, target));
  }
  const nothing = function* (): Task {};
  return {
    key: `msi ${fn.bdf}`,
    level: false,
    keepsVector: true,
    route: program,
    retarget: program,
    mask: nothing,
    unmask: nothing,
  };
}

/** Offsets in an entry of an MSI-X table (PCI 3.0, 6.8.2.6). */
const ENTRY = { address: 0, addressHigh: 4, data: 8, control: 12 } as const;

/** One entry of an MSI-X table at `address`; masked, the function keeps a request as pending. */
export function msixSource(address: PhysAddr, requester = 0, index = 0, composer = directComposer): IrqSource {
  function* program(target: MessageTarget): Task {
    const message = yield* composer.compose(requester, index, target);
    yield* store32(address + ENTRY.control, 1);
    yield* store32(address + ENTRY.address, message.address);
    yield* store32(address + ENTRY.addressHigh, 0);
    yield* store32(address + ENTRY.data, message.data);
    // Reading back makes sure that the posted writes have arrived before the old vector is given up.
    yield* load32(address + ENTRY.control);
    yield* store32(address + ENTRY.control, 0);
  }
  return {
    key: `msix ${address}`,
    level: false,
    keepsVector: false,
    route: program,
    retarget: program,
    mask: () => write(1),
    unmask: () => write(0),
  };
  function* write(mask: number): Task {
    yield* store32(address + ENTRY.control, mask);
  }
}

export type IrqAction = { readonly name: string; readonly handler: Handler; readonly deviceId: number };

export type IrqOptions = {
  readonly name: string;
  readonly handler: Handler;
  readonly priority?: InterruptPriority;
  /** 0 when absent. */
  readonly cpu?: number;
  /** Others may ask for the same source if they say so, too. */
  readonly shared?: boolean;
  /** The hardware chooses, among all CPUs, one of the lowest priority. */
  readonly lowestPriority?: boolean;
  readonly nested?: boolean;
  readonly deviceId?: number;
};

/** So many interrupts in a row that nobody wanted, and a level-triggered source is masked: it would never end. */
const MOST_UNCLAIMED = 1000;

export class Irq {
  readonly source: IrqSource;
  readonly shared: boolean;
  readonly actions: IrqAction[] = [];
  /** Of the present place; statistics go along. */
  descriptor: InterruptDescriptor;
  /** −1: the hardware chooses. */
  cpu: number;
  moves = 0;
  /** Masked because nobody claimed it. */
  disabled = false;
  unclaimedInARow = 0;

  constructor(source: IrqSource, shared: boolean, cpu: number, descriptor: InterruptDescriptor) {
    this.source = source;
    this.shared = shared;
    this.cpu = cpu;
    this.descriptor = descriptor;
  }

  get name(): string {
    return this.actions.map(({ name }) => name).join(", ");
  }
  get vector(): Vector {
    return this.descriptor.number;
  }
}

export class IrqManager {
  readonly irqs: Irq[] = [];
  readonly #cpus: number;
  readonly #table: InterruptTable;
  readonly #vectors: VectorAllocator;
  readonly #apic: LocalApicDriver;
  /** By CPU: places that it has to look at before they are given up. */
  readonly #left: { irq: Irq; vector: Vector }[][];

  constructor(cpus: number, table: InterruptTable, vectors: VectorAllocator, apic: LocalApicDriver) {
    this.#cpus = cpus;
    this.#table = table;
    this.#vectors = vectors;
    this.#apic = apic;
    this.#left = Array.from({ length: cpus }, () => []);
    table.install(
      describeInterrupt({
        number: KERNEL_VECTOR.moveCleanup,
        handler: context => this.#cleanUp(context.cpu),
        description: "vectors that were left",
        priority: INTERRUPT_PRIORITY.low,
      }),
    );
  }

  /** Gives a source a vector and a handler. Throws RangeError when it has one already and both do not share. */
  *request(source: IrqSource, options: IrqOptions): Task<Irq> {
    const { name, handler, deviceId = 0, shared = false } = options;
    const action = { name, handler, deviceId };
    const known = this.irqs.find(irq => irq.source.key === source.key);
    if (known !== undefined) {
      if (!known.shared || !shared)
        throw new RangeError(`${source.key} belongs to ${known.name}, which does not share it`);
      known.actions.push(action);
      return known;
    }
    const { priority = INTERRUPT_PRIORITY.normal, lowestPriority = false, nested = true, cpu = 0 } = options;
    const number = lowestPriority ? this.#vectors.allocateEverywhere(priority) : this.#vectors.allocate(cpu, priority);
    const irq: Irq = new Irq(
      source,
      shared,
      lowestPriority ? -1 : cpu,
      describeInterrupt({
        number,
        handler: context => this.#handle(irq, context),
        priority,
        edgeTriggered: !source.level,
        deviceId,
        description: name,
        nested,
      }),
    );
    irq.actions.push(action);
    this.irqs.push(irq);
    this.#table.install(irq.descriptor, irq.cpu);
    yield* source.route(this.#target(irq));
    return irq;
  }

  /** Takes one handler away; the last one masks the source and frees the vector. */
  *release(irq: Irq, handler: Handler): Task {
    const at = irq.actions.findIndex(action => action.handler === handler);
    if (at < 0) throw new RangeError(`no such handler of ${irq.name}`);
    irq.actions.splice(at, 1);
    if (irq.actions.length > 0) return;
    yield* irq.source.mask();
    this.#table.remove(irq.vector, irq.cpu);
    for (let cpu = 0; cpu < this.#cpus; cpu++) if (irq.cpu < 0 || irq.cpu === cpu) this.#vectors.free(cpu, irq.vector);
    this.irqs.splice(this.irqs.indexOf(irq), 1);
  }

  #target(irq: Irq): MessageTarget {
    if (irq.cpu >= 0) return { vector: irq.vector, destination: irq.cpu };
    const destination = (1 << Math.min(this.#cpus, 8)) - 1;
    return { vector: irq.vector, destination, deliveryMode: DELIVERY.lowest, logical: true };
  }

  /** All who share it are asked; a level-triggered line stays high until each has been served. */
  *#handle(irq: Irq, context: InterruptContext): Task<boolean> {
    let claimed = false;
    for (const action of irq.actions) if ((yield* action.handler(context)) !== false) claimed = true;
    if (claimed) irq.unclaimedInARow = 0;
    else {
      irq.descriptor.statistics.unclaimed++;
      if (++irq.unclaimedInARow >= MOST_UNCLAIMED && irq.source.level) {
        yield* irq.source.mask();
        irq.disabled = true;
      }
    }
    return claimed;
  }

  // --- affinity ---------------------------------------------------------------------------------------------------------------------------------

  /** Moves an interrupt to another CPU while it may be in flight. Throws RangeError when that CPU has no vector for it. */
  *move(irq: Irq, cpu: number): Task {
    if (irq.cpu < 0) throw new RangeError(`${irq.name} goes where the hardware chooses`);
    if (irq.cpu === cpu) return;
    const from = { cpu: irq.cpu, vector: irq.vector };
    const wanted = irq.source.keepsVector ? from.vector : -1;
    const number = this.#vectors.allocate(cpu, irq.descriptor.priority, wanted);
    if (wanted >= 0 && number !== wanted) {
      this.#vectors.free(cpu, number);
      throw new RangeError(`vector ${wanted} of ${irq.name} is used on CPU ${cpu}`);
    }
    irq.descriptor = { ...irq.descriptor, number };
    irq.cpu = cpu;
    irq.moves++;
    this.#table.install(irq.descriptor, cpu);
    yield* irq.source.retarget(this.#target(irq));
    this.#left[from.cpu]!.push({ irq, vector: from.vector });
    yield* this.#apic.sendIpi(from.cpu, KERNEL_VECTOR.moveCleanup);
  }

  /** On the CPU that interrupts have left: gives up the vectors that do not wait here any more. */
  *#cleanUp(cpu: number): Task {
    const left = this.#left[cpu]!;
    for (let count = left.length; count > 0; count--) {
      const place = left.shift()!;
      if (yield* this.#apic.requested(place.vector)) {
        left.push(place);
        yield* this.#apic.sendIpi(cpu, KERNEL_VECTOR.moveCleanup);
        continue;
      }
      this.#table.remove(place.vector, cpu);
      this.#vectors.free(cpu, place.vector);
    }
  }
}
