/**
 * WebAssembly's vector and floating-point operations by name (WebAssembly Core Specification 2.0, section 5.4.8 and appendix "Index of Instructions"), for
 * the vector instructions' semantics. Lane 0 is the lowest, as in an XMM register.
 */
import { Ex, TY, type Ty, v128, vbin, vextract, vreplace, vshift, vsplat, vtest, vun } from "../../emit/expr.ts";

const { i32: I, i64: J, f32: F, f64: D } = TY;

export const i8x16 = {
  swizzle: vbin(14),
  splat: (a: Ex): Ex => vsplat(15, a),
  eq: vbin(35),
  gtS: vbin(39),
  leS: vbin(41),
  geS: vbin(43),
  abs: vun(96),
  bitmask: vtest(100),
  narrowS: vbin(101),
  narrowU: vbin(102),
  shrS: vshift(108),
  add: vbin(110),
  addSatS: vbin(111),
  addSatU: vbin(112),
  sub: vbin(113),
  subSatS: vbin(114),
  subSatU: vbin(115),
  minS: vbin(118),
  minU: vbin(119),
  maxS: vbin(120),
  maxU: vbin(121),
  avgrU: vbin(123),
} as const;

export const i16x8 = {
  splat: (a: Ex): Ex => vsplat(16, a),
  eq: vbin(45),
  gtS: vbin(49),
  leS: vbin(51),
  geS: vbin(53),
  extaddU: vun(125),
  abs: vun(128),
  q15mulrSatS: vbin(130),
  bitmask: vtest(132),
  narrowS: vbin(133),
  narrowU: vbin(134),
  extendLowS: vun(135),
  extendLowU: vun(137),
  shl: vshift(139),
  shrS: vshift(140),
  shrU: vshift(141),
  add: vbin(142),
  addSatS: vbin(143),
  addSatU: vbin(144),
  sub: vbin(145),
  subSatS: vbin(146),
  subSatU: vbin(147),
  mul: vbin(149),
  minS: vbin(150),
  minU: vbin(151),
  maxS: vbin(152),
  maxU: vbin(153),
  avgrU: vbin(155),
} as const;

export const i32x4 = {
  splat: (a: Ex): Ex => vsplat(17, a),
  extract: (a: Ex, lane: number): Ex => vextract(27, I, a, lane),
  eq: vbin(55),
  ltS: vbin(57),
  gtS: vbin(59),
  extaddU: vun(127),
  abs: vun(160),
  allTrue: vtest(163),
  bitmask: vtest(164),
  extendLowS: vun(167),
  extendLowU: vun(169),
  extendHighU: vun(170),
  shl: vshift(171),
  shrS: vshift(172),
  shrU: vshift(173),
  add: vbin(174),
  sub: vbin(177),
  mul: vbin(181),
  minS: vbin(182),
  minU: vbin(183),
  maxS: vbin(184),
  maxU: vbin(185),
  dot: vbin(186),
  extmulLowS: vbin(188),
  extmulHighS: vbin(189),
  extmulLowU: vbin(190),
  extmulHighU: vbin(191),
  /** Signed, saturating. */
  truncSatF32: vun(248),
  /** The upper two lanes become 0. */
  truncSatF64: vun(252),
} as const;

export const i64x2 = {
  splat: (a: Ex): Ex => vsplat(18, a),
  extract: (a: Ex, lane: number): Ex => vextract(29, J, a, lane),
  replace: (a: Ex, lane: number, value: Ex): Ex => vreplace(30, a, lane, value),
  allTrue: vtest(195),
  bitmask: vtest(196),
  extendLowS: vun(199),
  extendLowU: vun(201),
  shl: vshift(203),
  shrS: vshift(204),
  shrU: vshift(205),
  add: vbin(206),
  sub: vbin(209),
  eq: vbin(214),
  ltS: vbin(216),
  gtS: vbin(217),
  extmulLowS: vbin(220),
  extmulLowU: vbin(222),
} as const;

export const f32x4 = {
  eq: vbin(65),
  lt: vbin(67),
  demoteF64: vun(94),
  nearest: vun(106),
  sqrt: vun(227),
  add: vbin(228),
  sub: vbin(229),
  mul: vbin(230),
  div: vbin(231),
  /** b < a ? b : a. */
  pmin: vbin(234),
  /** a < b ? b : a. */
  pmax: vbin(235),
  convertI32: vun(250),
} as const;

export const f64x2 = {
  eq: vbin(71),
  lt: vbin(73),
  promoteLowF32: vun(95),
  nearest: vun(148),
  sqrt: vun(239),
  add: vbin(240),
  sub: vbin(241),
  mul: vbin(242),
  div: vbin(243),
  pmin: vbin(246),
  pmax: vbin(247),
  convertLowI32: vun(254),
} as const;

const op1 =
  (to: Ty, ...code: number[]) =>
  (a: Ex): Ex =>
    new Ex(to, [...a.code, ...code]);
const op2 =
  (to: Ty, ...code: number[]) =>
  (a: Ex, b: Ex): Ex =>
    new Ex(to, [...a.code, ...b.code, ...code]);

/** Scalar operations that emit/expr.ts has no name for. */
export const scalar = {
  f32Eq: op2(I, 0x5b),
  f32Lt: op2(I, 0x5d),
  f64Eq: op2(I, 0x61),
  f64Lt: op2(I, 0x63),
  f32Ceil: op1(F, 0x8d),
  f32Floor: op1(F, 0x8e),
  f32Trunc: op1(F, 0x8f),
  f32Nearest: op1(F, 0x90),
  f64Ceil: op1(D, 0x9b),
  f64Floor: op1(D, 0x9c),
  f64Trunc: op1(D, 0x9d),
  f64Nearest: op1(D, 0x9e),
  f32FromI32: op1(F, 0xb2),
  f32FromI64: op1(F, 0xb4),
  f32Demote: op1(F, 0xb6),
  f64FromI32: op1(D, 0xb7),
  f64FromI64: op1(D, 0xb9),
  f64Promote: op1(D, 0xbb),
  i32FromF64Sat: op1(I, 0xfc, 2),
  i64FromF64Sat: op1(J, 0xfc, 6),
} as const;

/** A double constant. */
export function cf64(value: number): Ex {
  return new Ex(D, [0x44, ...new Uint8Array(new Float64Array([value]).buffer)]);
}

/** `mask ? a : b`, bit by bit. */
export const bitselect = (a: Ex, b: Ex, mask: Ex): Ex =>
  new Ex(TY.v128, [...a.code, ...b.code, ...mask.code, 0xfd, 82]);

/** Vector constants by lanes. */
export const words = (...lanes: number[]): Ex => v128.bytes(lanes.flatMap(n => [n & 255, (n >> 8) & 255]));
export const dwords = (...lanes: number[]): Ex =>
  v128.bytes(lanes.flatMap(n => [n & 255, (n >> 8) & 255, (n >> 16) & 255, (n >> 24) & 255]));
export const fill8 = (byte: number): Ex => v128.bytes(new Array<number>(16).fill(byte & 255));
export const fill16 = (word: number): Ex => words(...new Array<number>(8).fill(word));
export const fill32 = (dword: number): Ex => dwords(...new Array<number>(4).fill(dword));
/** The same 64 bits twice, as high and low word. */
export const fill64 = (high: number, low: number): Ex => dwords(low, high, low, high);
/** 0, 1 … 15. */
export const IOTA: Ex = v128.bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
