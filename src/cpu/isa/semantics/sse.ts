/** All vector instructions, MMX to SSE4.2. What each group covers is said at the head of its file. */
import type { InstructionSet } from "../define.ts";
import { defineMmxMoves } from "./mmx.ts";
import { defineVectorFloat } from "./sse-fp.ts";
import { defineVectorConversions } from "./sse-fp-convert.ts";
import { defineVectorInteger } from "./sse-int.ts";
import { defineVectorShuffle } from "./sse-int-shuffle.ts";
import { defineVectorMove } from "./sse-move.ts";
import { defineSse4 } from "./sse4.ts";
import { defineSse4Strings } from "./sse4-string.ts";

export function defineVector(set: InstructionSet): void {
  defineVectorMove(set);
  defineMmxMoves(set);
  defineVectorInteger(set);
  defineVectorShuffle(set);
  defineVectorFloat(set);
  defineVectorConversions(set);
  defineSse4(set);
  defineSse4Strings(set);
}
