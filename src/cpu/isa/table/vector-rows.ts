/** Short forms for the rows of vector instructions. */
import { assert } from "../../../base/assert.ts";
import { byMod, byPrefix, type Node, type OpcodeMap, row } from "./node.ts";

type Options = Parameters<typeof row>[1];

/** XMM to XMM or 16 bytes of memory. */
export const xmm = (name: string, feature: string, options: Options = {}): Node =>
  row(name, { size: 128, reg: "xmm", rm: "xmm", fp: "sse", feature, ...options });
/** MMX to MMX or 8 bytes of memory. */
export const mmx = (name: string, feature: string, options: Options = {}): Node =>
  row(name, { size: 64, reg: "mmx", rm: "mmx", fp: "mmx", feature, ...options });
/** An immediate byte follows. */
export const IB: Options = { imm: "ib" };

/**
 * By mandatory prefix. Without its feature, an encoding with F3 or F2 is undefined: it never falls back to the one without prefix, as a plain row would
 * (see the decoder: that is for prefixes which older processors ignore).
 */
export function prefixed(
  none: Node | null,
  p66: Node | null = null,
  pf3: Node | null = null,
  pf2: Node | null = null,
): Node {
  const strict = (node: Node | null): Node | null => node && byMod(node, node);
  return byPrefix(none, p66, strict(pf3), strict(pf2));
}

/** Places `node` at `opcode`, which must be free. */
export function place(map: OpcodeMap, opcode: number, node: Node): void {
  assert(!map[opcode], `opcode ${opcode.toString(16)} of a vector instruction is taken`);
  map[opcode] = node;
}

/** No prefix: `name`_mmx, 66: `name`_xmm. */
export function both(
  map: OpcodeMap,
  opcode: number,
  name: string,
  features: readonly [mmx: string, xmm: string] = ["mmx", "sse2"],
  options: Options = {},
): void {
  place(map, opcode, prefixed(mmx(`${name}_mmx`, features[0], options), xmm(`${name}_xmm`, features[1], options)));
}
