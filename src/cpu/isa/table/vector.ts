/** Vector instructions in the maps 0F, 0F 38 and 0F 3A (Intel SDM vol. 2, tables ). */
import { exists } from "../../../base/assert.ts";
import type { OpcodeMap } from "./node.ts";
import { addSse4Rows } from "./vector-sse4.ts";
import { addTwoByteRows } from "./vector-two-byte.ts";

/** Adds rows to the maps numbered 1 (0F), 2 (0F 38) and 3 (0F 3A). */
export function addVectorRows(maps: readonly OpcodeMap[]): void {
  const map = (n: number): OpcodeMap => exists(maps[n], `opcode map ${n}`);
  addTwoByteRows(map(1));
  addSse4Rows(map(2), map(3));
}
