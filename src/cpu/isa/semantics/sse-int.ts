/**
 * Packed integer arithmetic, logic, comparison and shifts, on XMM and MMX registers (Intel SDM vol. 2: PADD*, PSUB*, PMUL*, PMADD*, PAVG*, PSAD*, PMIN*,
 * PMAX*, PCMPEQ*, PCMPGT*, PAND, PANDN, POR, PXOR, PSLL*, PSRL*, PSRA*, PABS*, PSIGN*, PHADD*, PHSUB*).
 */
import { c32, c64, type Ex, i32, i64, select, v128, vshuffle } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import type { InstructionSet } from "../define.ts";
import type { Ops } from "../ops.ts";
import {
  type Binary,
  defineBoth,
  defineXmm,
  enterMmx,
  getMmx,
  imm8,
  mmxSource,
  requireMmx,
  setMmx,
  xmmSource,
} from "./sse-operands.ts";
import { fill16, i8x16, i16x8, i32x4, i64x2 } from "./sse-wasm.ts";

/** Operations whose lanes do not touch each other: one WebAssembly instruction each. */
const LANEWISE: { readonly [name: string]: Binary } = {
  paddb: i8x16.add,
  paddw: i16x8.add,
  paddd: i32x4.add,
  paddq: i64x2.add,
  paddsb: i8x16.addSatS,
  paddsw: i16x8.addSatS,
  paddusb: i8x16.addSatU,
  paddusw: i16x8.addSatU,
  psubb: i8x16.sub,
  psubw: i16x8.sub,
  psubd: i32x4.sub,
  psubq: i64x2.sub,
  psubsb: i8x16.subSatS,
  psubsw: i16x8.subSatS,
  psubusb: i8x16.subSatU,
  psubusw: i16x8.subSatU,
  pmullw: i16x8.mul,
  pmaddwd: i32x4.dot,
  pavgb: i8x16.avgrU,
  pavgw: i16x8.avgrU,
  pminub: i8x16.minU,
  pminsw: i16x8.minS,
  pmaxub: i8x16.maxU,
  pmaxsw: i16x8.maxS,
  pcmpeqb: i8x16.eq,
  pcmpeqw: i16x8.eq,
  pcmpeqd: i32x4.eq,
  pcmpgtb: i8x16.gtS,
  pcmpgtw: i16x8.gtS,
  pcmpgtd: i32x4.gtS,
  pand: v128.and,
  pandn: (a, b) => v128.andnot(b, a),
  por: v128.or,
  pxor: v128.xor,
};

/** SSE4 operations: XMM only. */
const LANEWISE_XMM: { readonly [name: string]: Binary } = {
  pminsb: i8x16.minS,
  pminsd: i32x4.minS,
  pminuw: i16x8.minU,
  pminud: i32x4.minU,
  pmaxsb: i8x16.maxS,
  pmaxsd: i32x4.maxS,
  pmaxuw: i16x8.maxU,
  pmaxud: i32x4.maxU,
  pmulld: i32x4.mul,
  pcmpeqq: i64x2.eq,
  pcmpgtq: i64x2.gtS,
};

/** Byte lanes 2 and 3 of each 32-bit lane of two vectors. */
const HIGH_WORDS = [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31];
/** 32-bit lanes 0 and 2 in the places 0 and 1. */
const EVEN_DWORDS = [0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11];
const evenDwords = (a: Ex): Ex => vshuffle(a, a, EVEN_DWORDS);
/** Low halves of two vectors side by side. */
const LOW_HALVES = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
export const joinLow = (a: Ex, b: Ex): Ex => vshuffle(a, b, LOW_HALVES);

export const absoluteDifference = (a: Ex, b: Ex): Ex => v128.or(i8x16.subSatU(a, b), i8x16.subSatU(b, a));

const psadbw: Binary = (a, b, o) => {
  const quads = o.let(i32x4.extaddU(i16x8.extaddU(absoluteDifference(a, b))));
  return i64x2.shrU(i64x2.add(i64x2.shl(quads, c32(32)), quads), c32(32));
};

/** Unsigned bytes of a times signed bytes of b, neighbours added with saturation. */
const pmaddubsw: Binary = (a, b) => {
  const even = i16x8.mul(v128.and(a, fill16(0xff)), i16x8.shrS(i16x8.shl(b, c32(8)), c32(8)));
  const odd = i16x8.mul(i16x8.shrU(a, c32(8)), i16x8.shrS(b, c32(8)));
  return i16x8.addSatS(even, odd);
};

/** WebAssembly saturates −1 × −1 to 0x7FFF, the processor gives 0x8000. */
const pmulhrsw: Binary = (a, b) => {
  const minimum = fill16(0x8000);
  return v128.xor(i16x8.q15mulrSatS(a, b), v128.and(i16x8.eq(a, minimum), i16x8.eq(b, minimum)));
};

function defineMultiply(set: InstructionSet): void {
  defineBoth(set, "pmulhw", (a, b) => vshuffle(i32x4.extmulLowS(a, b), i32x4.extmulHighS(a, b), HIGH_WORDS));
  defineBoth(set, "pmulhuw", (a, b) => vshuffle(i32x4.extmulLowU(a, b), i32x4.extmulHighU(a, b), HIGH_WORDS));
  defineBoth(set, "pmuludq", (a, b) => i64x2.extmulLowU(evenDwords(a), evenDwords(b)));
  defineXmm(set, "pmuldq", (a, b) => i64x2.extmulLowS(evenDwords(a), evenDwords(b)));
  defineBoth(set, "psadbw", psadbw);
  defineBoth(set, "pmaddubsw", pmaddubsw);
  defineBoth(set, "pmulhrsw", pmulhrsw);
}

/** Lanes of one width, as far as the horizontal and sign operations need them. */
const LANES = {
  b: { t: i8x16, top: 7 },
  w: { t: i16x8, top: 15 },
  d: { t: i32x4, top: 31 },
} as const;

function defineSign(set: InstructionSet): void {
  for (const [letter, { t, top }] of Object.entries(LANES)) {
    defineBoth(set, `pabs${letter}`, (_a, b) => t.abs(b));
    defineBoth(set, `psign${letter}`, (a, b, o) => {
      const negative = o.let(t.shrS(b, c32(top)));
      const signed = t.sub(v128.xor(a, negative), negative);
      return v128.andnot(signed, t.eq(b, v128.zero()));
    });
  }
}

/** Even and odd lanes of `width` bytes of two vectors, in order. */
function parity(width: number, odd: boolean): number[] {
  const lanes: number[] = [];
  for (let at = odd ? width : 0; at < 32; at += width * 2) for (let i = 0; i < width; i++) lanes.push(at + i);
  return lanes;
}

function defineHorizontal(set: InstructionSet): void {
  const pairs: readonly (readonly [string, number, (a: Ex, b: Ex) => Ex])[] = [
    ["phaddw", 2, i16x8.add],
    ["phaddd", 4, i32x4.add],
    ["phaddsw", 2, i16x8.addSatS],
    ["phsubw", 2, i16x8.sub],
    ["phsubd", 4, i32x4.sub],
    ["phsubsw", 2, i16x8.subSatS],
  ];
  for (const [name, width, operation] of pairs) {
    const across = (a: Ex, b: Ex): Ex =>
      operation(vshuffle(a, b, parity(width, false)), vshuffle(a, b, parity(width, true)));
    defineBoth(set, name, across, (a, b, o) => {
      const both = o.let(joinLow(a, b));
      return across(both, both);
    });
  }
}

type Shift = {
  readonly width: 16 | 32 | 64;
  readonly arithmetic: boolean;
  readonly run: (a: Ex, count: Ex) => Ex;
};
const SHIFTS: { readonly [name: string]: Shift } = {
  psrlw: { width: 16, arithmetic: false, run: i16x8.shrU },
  psrld: { width: 32, arithmetic: false, run: i32x4.shrU },
  psrlq: { width: 64, arithmetic: false, run: i64x2.shrU },
  psllw: { width: 16, arithmetic: false, run: i16x8.shl },
  pslld: { width: 32, arithmetic: false, run: i32x4.shl },
  psllq: { width: 64, arithmetic: false, run: i64x2.shl },
  psraw: { width: 16, arithmetic: true, run: i16x8.shrS },
  psrad: { width: 32, arithmetic: true, run: i32x4.shrS },
};

/** Shifts by a count that may exceed the lanes' width; WebAssembly takes counts modulo the width. */
function shifted(o: Ops, shift: Shift, a: Ex, count: Ex, inRange: Ex): Ex {
  if (shift.arithmetic) return shift.run(a, select(inRange, count, c32(shift.width - 1)));
  return select(inRange, shift.run(a, count), o.let(v128.zero()));
}

function defineShifts(set: InstructionSet): void {
  for (const [name, shift] of Object.entries(SHIFTS)) {
    defineBoth(set, name, (a, b, o) => {
      const count = o.let(i64x2.extract(b, 0));
      return shifted(o, shift, a, o.let(i32.wrap(count)), o.let(i64.ltU(count, c64(shift.width))));
    });
    set.define(`${name}_imm_xmm`, [128], "reg", o => {
      o.requireVector("sse");
      const count = imm8(o);
      const inRange = o.let(i32.ltU(count, c32(shift.width)));
      o.setXmm(L.REC.r2, o.let(shifted(o, shift, o.let(o.getXmm(L.REC.r2)), count, inRange)));
      o.next();
    });
    set.define(`${name}_imm_mmx`, [64], "reg", o => {
      requireMmx(o);
      const count = imm8(o);
      const inRange = o.let(i32.ltU(count, c32(shift.width)));
      const result = o.let(shifted(o, shift, o.let(getMmx(o, L.REC.r2)), count, inRange));
      enterMmx(o);
      setMmx(o, L.REC.r2, result);
      o.next();
    });
  }
}

/** Moves the sign bits of lanes to a general register. */
function defineMasks(set: InstructionSet): void {
  const masks = { pmovmskb: i8x16.bitmask, movmskps: i32x4.bitmask, movmskpd: i64x2.bitmask };
  for (const [name, bitmask] of Object.entries(masks)) {
    set.define(`${name}_xmm`, [32], "reg", (o, _size, e) => {
      o.requireVector("sse");
      o.setReg(L.REC.r1, 32, o.let(bitmask(xmmSource(o, e))));
      o.next();
    });
  }
  set.define("pmovmskb_mmx", [32], "reg", (o, _size, e) => {
    requireMmx(o);
    const mask = o.let(i32.and(i8x16.bitmask(mmxSource(o, e)), c32(0xff)));
    enterMmx(o);
    o.setReg(L.REC.r1, 32, mask);
    o.next();
  });
}

export function defineVectorInteger(set: InstructionSet): void {
  for (const [name, operation] of Object.entries(LANEWISE)) defineBoth(set, name, operation);
  for (const [name, operation] of Object.entries(LANEWISE_XMM)) defineXmm(set, name, operation);
  // Bitwise operations on floating-point registers; the kind of number does not matter.
  for (const name of ["and", "andn", "or", "xor"]) defineXmm(set, `${name}ps`, LANEWISE[`p${name}`]!);
  defineMultiply(set);
  defineSign(set);
  defineHorizontal(set);
  defineShifts(set);
  defineMasks(set);
}
