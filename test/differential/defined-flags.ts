/**
 * Which flags and results an instruction leaves undefined: Intel SDM vol. 2, "Flags Affected" of each instruction. There the host may differ from us, and
 * processors differ among themselves.
 */
import { FLAG } from "../../src/cpu/state.ts";

const { cf, pf, af, zf, sf, of } = FLAG;

/** Flags that are undefined whatever the operands are. */
const ALWAYS: readonly [RegExp, number, string][] = [
  [/^(and|or|xor|test)_/, af, "AND, OR, XOR, TEST: the state of AF is undefined"],
  [/^i?mul_/, sf | zf | af | pf, "MUL, IMUL: SF, ZF, AF and PF are undefined"],
  [/^i?div_/, cf | of | sf | zf | af | pf, "DIV, IDIV: CF, OF, SF, ZF, AF and PF are undefined"],
  [/^bt[src]?_/, of | sf | af | pf, "BT, BTS, BTR, BTC: OF, SF, AF and PF are undefined"],
  [/^bs[fr]_/, cf | of | sf | af | pf, "BSF, BSR: CF, OF, SF, AF and PF are undefined"],
  [/^(tz|lz)cnt_/, of | sf | af | pf, "TZCNT, LZCNT: OF, SF, PF and AF are undefined"],
  [/^da[as]$/, of, "DAA, DAS: OF is undefined"],
  [/^aa[as]$/, of | sf | zf | pf, "AAA, AAS: OF, SF, ZF and PF are undefined"],
  [/^aa[md]$/, of | af | cf, "AAM, AAD: OF, AF and CF are undefined"],
];

/** What a case is, as far as flags depend on it. */
export type Executed = {
  readonly name: string;
  /** Bytes of code. */
  readonly length: number;
  /** Of the operand, in bits. */
  readonly size: number;
  /** Of a shift, as encoded. */
  readonly count: number;
  /** Flags that an instruction before has left undefined. */
  readonly free: number;
};

const SHIFT = /^(rol|ror|rcl|rcr|shl|shr|sar|shld|shrd)_/;

/** Flags that are undefined after `x` has retired. */
export function undefinedFlags(x: Executed): number {
  return x.free | ownUndefinedFlags(x);
}
function ownUndefinedFlags(x: Executed): number {
  const always = ALWAYS.find(([names]) => names.test(x.name));
  if (always) return always[1];
  const shift = SHIFT.exec(x.name)?.[1];
  if (shift === undefined) return 0;
  const count = x.count & (x.size === 64 ? 63 : 31);
  // With a masked count of 0 no flag is affected; OF is defined for 1-bit shifts and rotates only.
  if (count === 0) return 0;
  let flags = count === 1 ? 0 : of;
  if (!/^r/.test(shift)) flags |= af;
  // SHL, SHR: CF is undefined where the count is greater than or equal to the size of the destination.
  if ((shift === "shl" || shift === "shr") && count >= x.size) flags |= cf;
  // SHLD, SHRD with a count greater than the operand size: flags are undefined.
  if ((shift === "shld" || shift === "shrd") && count > x.size) flags |= cf | of | sf | zf | af | pf;
  return flags;
}

/** The destination is undefined: SHLD and SHRD with a count above the operand size, BSWAP of 16 bits. */
export function undefinedResult(x: Executed): boolean {
  if (/^sh[lr]d_/.test(x.name)) return (x.count & (x.size === 64 ? 63 : 31)) > x.size;
  return x.name === "bswap_E" && x.size === 16;
}
