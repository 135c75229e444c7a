/**
 * The interrupt descriptor table in memory, and behind it the table of who handles what. Gates: Intel SDM vol. 3A, figure 6-8 "64-Bit IDT Gate
 * Descriptors". The document's gates have a 32-bit address and separate bytes for type and privilege level; a real one scatters 64 bits of offset over
 * 16 bytes and holds type, DPL and P in one.
 */
import { layout } from "../base/layout.ts";
import type { PhysAddr, Vector } from "../base/units.ts";
import { loadIdt, SELECTOR, store32, type Task } from "../ports/task.ts";
import { checkVector, type InterruptDescriptor, VECTORS } from "./descriptor.ts";

export const GATE = layout("IDT gate", 128, {
  offsetLow: [15, 0],
  selector: [31, 16],
  ist: [34, 32],
  type: [43, 40],
  dpl: [46, 45],
  present: 47,
  offsetMiddle: [63, 48],
  offsetHigh: [95, 64],
});
/** Types: an interrupt gate clears IF, a trap gate does not. */
export const GATE_TYPE = { interrupt: 0xe, trap: 0xf } as const;
export const GATE_BYTES = 16;

export type GateInit = {
  /** Address of the handler's first operation. */
  readonly address: number;
  readonly type?: number;
  /** Lowest privilege that may call the gate by INT n. */
  readonly privilegeLevel?: number;
  /** 0: the present stack, or RSP0; 1 to 7: that entry of the interrupt stack table. */
  readonly ist?: number;
  readonly present?: boolean;
  readonly selector?: number;
};

/** The first three words of a gate; the fourth is reserved and 0. */
export function gateWords(gate: GateInit): [number, number, number] {
  const { address, type = GATE_TYPE.interrupt, privilegeLevel = 0, ist = 0, present = true } = gate;
  const { selector = SELECTOR.kernelCode } = gate;
  if (ist < 0 || ist > 7 || privilegeLevel < 0 || privilegeLevel > 3) throw new RangeError("no such IST or DPL");
  const low = address % 4294967296;
  const first = GATE.selector.put(GATE.offsetLow.put(0, low & 0xffff), selector);
  const second = GATE.ist.put(GATE.type.put(GATE.dpl.put(0, privilegeLevel), type), ist);
  const present1 = GATE.present.put(second, present ? 1 : 0);
  return [first, GATE.offsetMiddle.put(present1, low >>> 16), Math.floor(address / 4294967296)];
}

export class InterruptTable {
  readonly base: PhysAddr;
  readonly limit = VECTORS * GATE_BYTES - 1;
  readonly #everywhere: (InterruptDescriptor | null)[] = new Array<InterruptDescriptor | null>(VECTORS).fill(null);
  readonly #onCpu: (InterruptDescriptor | null)[];

  /** @param base where the table lies: 4096 bytes */
  constructor(base: PhysAddr, cpus: number) {
    this.base = base;
    this.#onCpu = new Array<InterruptDescriptor | null>(VECTORS * cpus).fill(null);
  }

  /** Writes one gate: the half without the present bit last. */
  *writeGate(vector: Vector, gate: GateInit): Task {
    checkVector(vector);
    const [first, second, third] = gateWords(gate);
    const at = this.base + vector * GATE_BYTES;
    yield* store32(at, first);
    yield* store32(at + 8, third);
    yield* store32(at + 12, 0);
    yield* store32(at + 4, second);
  }

  /** The document's `initialize_interrupt_table`: a gate for every vector. `entryOf` says where entry code lies. */
  *initialise(entryOf: (vector: Vector) => GateInit): Task {
    for (let vector = 0; vector < VECTORS; vector++) yield* this.writeGate(vector, entryOf(vector));
  }

  /** LIDT. The document passes the table's size; the register holds size − 1. */
  *load(): Task {
    yield* loadIdt(this.base, this.limit);
  }

  /** The document's `install_interrupt_handler`; on one CPU only when `cpu` is given. Throws RangeError for a number that is no vector. */
  install(descriptor: InterruptDescriptor, cpu = -1): void {
    checkVector(descriptor.number);
    if (cpu < 0) this.#everywhere[descriptor.number] = descriptor;
    else this.#onCpu[cpu * VECTORS + descriptor.number] = descriptor;
  }

  /** The default handler has the vector again. */
  remove(vector: Vector, cpu = -1): void {
    checkVector(vector);
    if (cpu < 0) this.#everywhere[vector] = null;
    else this.#onCpu[cpu * VECTORS + vector] = null;
  }

  /** Who handles `vector` on `cpu`; null: the default handler. */
  lookUp(cpu: number, vector: Vector): InterruptDescriptor | null {
    return this.#onCpu[cpu * VECTORS + vector] ?? this.#everywhere[vector]!;
  }

  /** All descriptors that are installed, each once. */
  installed(): InterruptDescriptor[] {
    const all = [...this.#everywhere, ...this.#onCpu].filter(descriptor => descriptor !== null);
    return [...new Set(all)];
  }
}
