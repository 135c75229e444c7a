/**
 * The list of everything that can be executed: a name, operand sizes, whether it has a ModRM operand, and what it means. Back ends walk this list; the
 * decoder's tables refer to it by name.
 */
import { assert } from "../../base/assert.ts";
import type { Ex } from "../emit/expr.ts";
import * as L from "../layout.ts";
import type { Ops, Rmw, Size } from "./ops.ts";
import { k } from "./ops.ts";

/** The ModRM (E) operand: a register, or memory. */
export class Rm {
  readonly size: Size;
  readonly memory: boolean;
  readonly #o: Ops;
  constructor(o: Ops, size: Size, memory: boolean) {
    this.#o = o;
    this.size = size;
    this.memory = memory;
  }
  /** Reads it, `size` bits unless told otherwise. */
  read(size: Size = this.size): Ex {
    const o = this.#o;
    return this.memory ? o.load(o.segment(), o.address(), size) : o.let(o.getReg(L.REC.r2, size));
  }
  /** Writes it without reading; `value` is a local or a constant. */
  write(value: Ex, size: Size = this.size): void {
    const o = this.#o;
    if (this.memory) o.store(o.segment(), o.address(), size, value);
    else o.setReg(L.REC.r2, size, value);
  }
  /** Reads it in order to write it. */
  modify(): Rmw {
    const o = this.#o;
    if (this.memory) return o.modify(o.segment(), o.address(), this.size);
    const address = o.let(o.regAddress(L.REC.r2));
    return { value: o.let(o.loadReg(address, this.size)), commit: v => o.storeReg(address, this.size, v) };
  }
}

/** Emits the whole instruction, with its continuation. */
export type Meaning = (o: Ops, size: Size, e: Rm) => void;

/** Which forms exist: only a register operand, only memory, both, or no ModRM operand at all. */
export type FormKind = "none" | "reg" | "mem" | "both";

export type Definition = {
  readonly name: string;
  readonly sizes: readonly Size[];
  readonly forms: FormKind;
  /** Touches memory (stack, strings) even without a memory operand, so 64-bit and legacy code need different handlers. */
  readonly implicit: boolean;
  readonly meaning: Meaning;
};

/** Forms of a handler: r: register or none; q: the same in legacy code when memory is touched; m: memory operand, 64-bit mode; l: memory operand, legacy. */
export type Variant = "r" | "q" | "m" | "l";

export class InstructionSet {
  readonly definitions = new Map<string, Definition>();
  readonly helperNames: string[] = [];

  define(name: string, sizes: readonly Size[], forms: FormKind, meaning: Meaning, implicit = false): void {
    assert(!this.definitions.has(name), `instruction ${name} is defined twice`);
    this.definitions.set(name, { name, sizes, forms, implicit, meaning });
  }

  /** An instruction carried out in TypeScript. A memory operand's address is left at SLOW_ADDRESS. */
  helper(name: string, forms: FormKind = "none"): void {
    this.helperId(name);
    this.define(
      name,
      [32],
      forms,
      (o, _size, e) => {
        if (e.memory) o.f.store64(o.cpu, L.SLOW_ADDRESS, o.address());
        o.helper(name);
      },
      false,
    );
  }

  /** Notes that the TypeScript helper `name` stands behind a meaning in generated code, for the cases that this leaves to it. */
  twin(...names: string[]): void {
    for (const name of names) this.helperId(name);
  }

  /** Number of a TypeScript helper: the place in {@link helperNames}, which is the order of definition. */
  helperId(name: string): number {
    let id = this.helperNames.indexOf(name);
    if (id < 0) id = this.helperNames.push(name) - 1;
    return id;
  }

  static variants(d: Definition): Variant[] {
    const out: Variant[] = [];
    if (d.forms !== "mem") out.push("r");
    if (d.forms !== "mem" && d.implicit) out.push("q");
    if (d.forms === "mem" || d.forms === "both") out.push("m", "l");
    return out;
  }
}

/** The immediate operand as a value of `size` bits. */
export function imm(o: Ops, size: Size): Ex {
  return size === 64 ? o.let(o.field64(L.REC.imm)) : o.let(o.field32(L.REC.imm));
}

export const zero = (size: Size): Ex => k(size, 0);
export const GP_SIZES: readonly Size[] = [8, 16, 32, 64];
export const WIDE_SIZES: readonly Size[] = [16, 32, 64];
