/** Puts together what can be decoded and what it means. */
import { InstructionSet } from "./define.ts";
import { HandlerIndex } from "./handlers.ts";
import type { OpcodeMaps } from "./decoder.ts";
import { defineArithmetic } from "./semantics/arith.ts";
import { defineBits } from "./semantics/bits.ts";
import { defineBranches } from "./semantics/branch.ts";
import { defineFastCalls } from "./semantics/fast-call.ts";
import { defineControlReads, defineFlagControl } from "./semantics/flag-control.ts";
import { defineFlow } from "./semantics/flow.ts";
import { defineLongMode } from "./semantics/long-mode.ts";
import { defineMove } from "./semantics/move.ts";
import { defineMulDiv } from "./semantics/muldiv.ts";
import { definePorts } from "./semantics/port.ts";
import { defineShifts } from "./semantics/shift.ts";
import { defineVector } from "./semantics/sse.ts";
import { defineStack } from "./semantics/stack.ts";
import { defineStrings } from "./semantics/string.ts";
import { emptyMap, type Node, type Row } from "./table/node.ts";
import { oneByteMap } from "./table/one-byte.ts";
import { twoByteMap } from "./table/two-byte.ts";
import { addVectorRows } from "./table/vector.ts";

/** All rows below a node. */
export function rowsOf(node: Node | null): Row[] {
  if (node === null) return [];
  switch (node.kind) {
    case "row":
      return [node];
    case "group":
      return node.by.flatMap(rowsOf);
    case "rm":
      return [...node.by.flatMap(rowsOf), ...rowsOf(node.otherwise)];
    case "mod":
      return [...rowsOf(node.memory), ...rowsOf(node.register)];
    case "prefix":
      return [node.none, node.p66, node.pf3, node.pf2].flatMap(rowsOf);
    case "mode":
      return [...rowsOf(node.long), ...rowsOf(node.legacy)];
  }
}

/** Rows whose handler's name is completed by the decoder. */
const completed = (row: Row): boolean =>
  row.imm === "rel8" || row.imm === "relz" || /^(movs|cmps|stos|lods|scas)$/.test(row.name);

export type Isa = { readonly set: InstructionSet; readonly maps: OpcodeMaps; readonly handlers: HandlerIndex };

/** The whole instruction set. Rows without a meaning of their own are carried out by the TypeScript helper of the same name. */
export function createIsa(): Isa {
  const set = new InstructionSet();
  for (const define of [
    defineFlow,
    defineFlagControl,
    defineControlReads,
    definePorts,
    defineLongMode,
    defineFastCalls,
    defineArithmetic,
    defineShifts,
    defineMulDiv,
    defineBits,
    defineMove,
    defineStack,
    defineBranches,
    defineStrings,
    defineVector,
  ]) {
    define(set);
  }
  const maps: OpcodeMaps = [oneByteMap(), twoByteMap(), emptyMap(), emptyMap()];
  addVectorRows(maps);
  for (const map of maps) {
    for (const row of map.flatMap(rowsOf)) {
      if (!completed(row) && !set.definitions.has(row.name)) set.helper(row.name, "both");
    }
  }
  return { set, maps, handlers: new HandlerIndex(set) };
}
