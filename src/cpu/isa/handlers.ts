/** Numbers of handlers in the function table: a definition, an operand size and a variant give one. */
import { ModelBug } from "../../base/assert.ts";
import { type Definition, InstructionSet, type Variant } from "./define.ts";
import type { Size } from "./ops.ts";

export type Handler = { readonly definition: Definition; readonly size: Size; readonly variant: Variant };

export class HandlerIndex {
  readonly handlers: Handler[] = [];
  readonly #index = new Map<string, number>();
  readonly #set: InstructionSet;

  constructor(set: InstructionSet) {
    this.#set = set;
    for (const definition of set.definitions.values()) {
      for (const size of definition.sizes) {
        for (const variant of InstructionSet.variants(definition)) {
          this.#index.set(`${definition.name}/${size}/${variant}`, this.handlers.length);
          this.handlers.push({ definition, size, variant });
        }
      }
    }
  }

  /** Table index for an instruction. A definition of one size takes any. Throws ModelBug when the opcode table names something that does not exist. */
  find(name: string, size: Size, memory: boolean, mode64: boolean): number {
    const definition = this.#set.definitions.get(name);
    if (definition === undefined) throw new ModelBug(`opcode table: ${name} is not defined`);
    const operandSize = definition.sizes.length === 1 ? definition.sizes[0]! : size;
    const memoryForm = memory && definition.forms !== "none" && definition.forms !== "reg";
    const variant: Variant = memoryForm ? (mode64 ? "m" : "l") : definition.implicit && !mode64 ? "q" : "r";
    const index = this.#index.get(`${name}/${operandSize}/${variant}`);
    if (index === undefined) throw new ModelBug(`opcode table: ${name} has no form ${operandSize}/${variant}`);
    return index;
  }
}
