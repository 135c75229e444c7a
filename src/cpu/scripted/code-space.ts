/**
 * Where the routines of scripted cores lie. No memory is there: an address in this range names a function, which an IDT gate or a new task's stack holds,
 * or the point at which a suspended activation goes on, which saved frames hold. So a frame that was overwritten leads elsewhere, or nowhere, as on a
 * real machine.
 *
 * | range                         | an address names                                                                     |
 * | ----------------------------- | ------------------------------------------------------------------------------------ |
 * | {@link ROUTINES} + 16 n       | the first operation of routine n                                                     |
 * | {@link SUSPENDED} + 16 n      | a suspended activation: its next operation, or the one that faulted                  |
 * | {@link SUSPENDED} + 16 n + 1  | the same, behind the operation that faulted, which is skipped and gives 0            |
 */
import { assert } from "../../base/assert.ts";
import { hex } from "../../base/int.ts";
import type { CodeSpace, Request, Routine } from "../../ports/task.ts";

export const ROUTINES = 0x7000_0000_0000;
export const SUSPENDED = 0x7100_0000_0000;
const STEP = 16;
const MOST = 0x1000_0000;
/** Remainder by STEP: the low bits, since `%` of such large numbers is a slow division. */
const inStep = (address: number): number => address & (STEP - 1);

/** What follows when a routine comes to its end. */
export const ENDING = { idle: 0, interruptReturn: 1, return: 2 } as const;

/** One call of a routine: a task, a handler, a system call. */
export class Activation {
  readonly name: string;
  /** Null: nothing lies at the address, its fetch faults. */
  generator: Generator<Request, void, number> | null;
  /** Not finished yet: a compute with something left, or an operation that faulted. */
  request: Request | null = null;
  /** Nanoseconds of the compute that are left. */
  left = 0;
  /** What the last operation gave. */
  result = 0;
  /** One of {@link ENDING}. */
  ending: number;
  /** Address at which it goes on; 0 before anybody asked. */
  address = 0;
  suspended = false;
  /** Vector that started it, −1 for none. */
  vector = -1;
  /** Whom it interrupted. */
  over: Activation | null = null;

  constructor(generator: Generator<Request, void, number> | null, ending: number, name: string) {
    this.generator = generator;
    this.ending = ending;
    this.name = name;
  }

  /** `vector 0x50 (disk) over vector 0x30 (timer) over main`. */
  describe(most = 12): string {
    const parts: string[] = [];
    let at: Activation | null = this;
    for (; at !== null && parts.length < most; at = at.over)
      parts.push(at.vector >= 0 ? `vector ${hex(at.vector)} (${at.name})` : at.name);
    if (at !== null) parts.push("…");
    return parts.join(" over ");
  }
}

export class ScriptedCode implements CodeSpace {
  readonly #routines: { readonly routine: Routine; readonly name: string }[] = [];
  readonly #addresses = new Map<Routine, number>();
  readonly #activations: (Activation | null)[] = [];
  readonly #free: number[] = [];

  place(routine: Routine, name = routine.name): number {
    const known = this.#addresses.get(routine);
    if (known !== undefined) return known;
    const address = ROUTINES + STEP * this.#routines.length;
    assert(this.#routines.length < MOST, "code space: too many routines");
    this.#routines.push({ routine, name: name === "" ? `routine ${this.#routines.length}` : name });
    this.#addresses.set(routine, address);
    return address;
  }

  nameAt(address: number): string {
    const entry = this.#entryAt(address);
    if (entry !== null) return entry.name;
    return this.suspendedAt(address)?.describe() ?? hex(address);
  }

  #entryAt(address: number): { readonly routine: Routine; readonly name: string } | null {
    const offset = address - ROUTINES;
    if (offset < 0 || offset >= STEP * this.#routines.length || inStep(offset) !== 0) return null;
    return this.#routines[offset / STEP]!;
  }

  /** A new activation of the routine at `address`, null when there is none. */
  start(address: number, ending: number): Activation | null {
    const entry = this.#entryAt(address);
    return entry === null ? null : new Activation(entry.routine(), ending, entry.name);
  }

  /** The address at which `activation` will go on. */
  addressOf(activation: Activation): number {
    if (activation.address !== 0) return activation.address;
    const slot = this.#free.pop() ?? this.#activations.length;
    this.#activations[slot] = activation;
    activation.address = SUSPENDED + STEP * slot;
    return activation.address;
  }

  /** The suspended activation that `address` names, null when it names none. */
  suspendedAt(address: number): Activation | null {
    const offset = address - SUSPENDED;
    if (offset < 0 || offset >= STEP * this.#activations.length || inStep(offset) > 1) return null;
    const activation = this.#activations[Math.floor(offset / STEP)]!;
    return activation?.suspended === true ? activation : null;
  }

  /** Whether `address` wants the operation that faulted to be skipped. */
  static skips(address: number): boolean {
    return inStep(address) === 1;
  }

  /** `activation` came to its end: its address may be given to another. */
  finish(activation: Activation): void {
    if (activation.address === 0 || activation.generator === null) return;
    const slot = (activation.address - SUSPENDED) / STEP;
    this.#activations[slot] = null;
    this.#free.push(slot);
    activation.address = 0;
  }

  /** Forgets all activations, for a reset of the machine. */
  clear(): void {
    this.#activations.length = 0;
    this.#free.length = 0;
  }
}
