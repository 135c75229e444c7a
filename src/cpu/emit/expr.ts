/**
 * WebAssembly expressions as values. An {@link Ex} is a typed piece of stack code that pushes one value; building one has no effect by itself. Use
 * `FunctionBuilder.let` before using a value twice. Constants are folded, so that the same semantics applied to constants give short code.
 * Encoding: WebAssembly Core Specification 2.0, chapter 5 (binary format).
 */
import { assert } from "../../base/assert.ts";

export const TY = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
export type Ty = (typeof TY)[keyof typeof TY];

export class Ex {
  readonly ty: Ty;
  readonly code: readonly number[];
  /** The value, when it is a constant (i32 as signed number, i64 as signed BigInt). */
  readonly k: number | bigint | undefined;
  constructor(ty: Ty, code: readonly number[], k?: number | bigint) {
    this.ty = ty;
    this.code = code;
    this.k = k;
  }
}

/** Unsigned LEB128. */
export function leb(value: number): number[] {
  const out: number[] = [];
  do {
    let byte = value & 0x7f;
    value = Math.floor(value / 128);
    if (value > 0) byte |= 0x80;
    out.push(byte);
  } while (value > 0);
  return out;
}

/** Signed LEB128 of a BigInt. */
export function sleb(value: bigint): number[] {
  const out: number[] = [];
  for (;;) {
    const byte = Number(value & 0x7fn);
    value >>= 7n;
    if ((value === 0n && !(byte & 0x40)) || (value === -1n && byte & 0x40)) {
      out.push(byte);
      return out;
    }
    out.push(byte | 0x80);
  }
}

export const c32 = (value: number): Ex => new Ex(TY.i32, [0x41, ...sleb(BigInt(value | 0))], value | 0);
export const c64 = (value: number | bigint): Ex => {
  const k = BigInt.asIntN(64, BigInt(value));
  return new Ex(TY.i64, [0x42, ...sleb(k)], k);
};

const un =
  (from: Ty, to: Ty, ...op: number[]) =>
  (a: Ex): Ex => {
    assert(a.ty === from, `expression: operand of 0x${op[0]!.toString(16)} has the wrong type`);
    return new Ex(to, [...a.code, ...op]);
  };

type Fold<T> = (a: T, b: T) => T;
const bin =
  (from: Ty, to: Ty, op: number, fold?: Fold<number>) =>
  (a: Ex, b: Ex): Ex => {
    assert(a.ty === from && b.ty === from, `expression: operands of 0x${op.toString(16)} have the wrong type`);
    if (fold && typeof a.k === "number" && typeof b.k === "number") return c32(fold(a.k, b.k));
    return new Ex(to, [...a.code, ...b.code, op]);
  };
const bin64 =
  (op: number, fold?: Fold<bigint>) =>
  (a: Ex, b: Ex): Ex => {
    assert(a.ty === TY.i64 && b.ty === TY.i64, `expression: operands of 0x${op.toString(16)} are not i64`);
    if (fold && typeof a.k === "bigint" && typeof b.k === "bigint") return c64(fold(a.k, b.k));
    return new Ex(TY.i64, [...a.code, ...b.code, op]);
  };

/** A load: address expression (i32) plus constant offset. Alignment hints are 0: all guest accesses may be unaligned. */
const load =
  (ty: Ty, ...op: number[]) =>
  (address: Ex, offset = 0): Ex => {
    assert(address.ty === TY.i32 && offset >= 0, "expression: load address is no i32");
    return new Ex(ty, [...address.code, ...op, 0, ...leb(offset)]);
  };

const { i32: I, i64: J, f32: F, f64: D, v128: V } = TY;

export const i32 = {
  load: load(I, 0x28),
  load8s: load(I, 0x2c),
  load8u: load(I, 0x2d),
  load16s: load(I, 0x2e),
  load16u: load(I, 0x2f),
  eqz: un(I, I, 0x45),
  eq: bin(I, I, 0x46, (a, b) => (a === b ? 1 : 0)),
  ne: bin(I, I, 0x47, (a, b) => (a !== b ? 1 : 0)),
  ltS: bin(I, I, 0x48),
  ltU: bin(I, I, 0x49),
  gtS: bin(I, I, 0x4a),
  gtU: bin(I, I, 0x4b),
  leS: bin(I, I, 0x4c),
  leU: bin(I, I, 0x4d),
  geS: bin(I, I, 0x4e),
  geU: bin(I, I, 0x4f),
  clz: un(I, I, 0x67),
  ctz: un(I, I, 0x68),
  popcnt: un(I, I, 0x69),
  add: bin(I, I, 0x6a, (a, b) => a + b),
  sub: bin(I, I, 0x6b, (a, b) => a - b),
  mul: bin(I, I, 0x6c),
  divS: bin(I, I, 0x6d),
  divU: bin(I, I, 0x6e),
  remS: bin(I, I, 0x6f),
  remU: bin(I, I, 0x70),
  and: bin(I, I, 0x71, (a, b) => a & b),
  or: bin(I, I, 0x72, (a, b) => a | b),
  xor: bin(I, I, 0x73, (a, b) => a ^ b),
  shl: bin(I, I, 0x74, (a, b) => a << (b & 31)),
  shrS: bin(I, I, 0x75, (a, b) => a >> (b & 31)),
  shrU: bin(I, I, 0x76, (a, b) => a >>> (b & 31)),
  rotl: bin(I, I, 0x77),
  rotr: bin(I, I, 0x78),
  wrap: un(J, I, 0xa7),
  extend8s: un(I, I, 0xc0),
  extend16s: un(I, I, 0xc1),
  not: (a: Ex): Ex => i32.xor(a, c32(-1)),
  reinterpret: un(F, I, 0xbc),
} as const;

export const i64 = {
  load: load(J, 0x29),
  load8u: load(J, 0x31),
  load16u: load(J, 0x33),
  load32s: load(J, 0x34),
  load32u: load(J, 0x35),
  eqz: un(J, I, 0x50),
  eq: bin(J, I, 0x51),
  ne: bin(J, I, 0x52),
  ltS: bin(J, I, 0x53),
  ltU: bin(J, I, 0x54),
  gtS: bin(J, I, 0x55),
  gtU: bin(J, I, 0x56),
  leS: bin(J, I, 0x57),
  leU: bin(J, I, 0x58),
  geS: bin(J, I, 0x59),
  geU: bin(J, I, 0x5a),
  clz: un(J, J, 0x79),
  ctz: un(J, J, 0x7a),
  popcnt: un(J, J, 0x7b),
  add: bin64(0x7c, (a, b) => a + b),
  sub: bin64(0x7d, (a, b) => a - b),
  mul: bin64(0x7e),
  divS: bin64(0x7f),
  divU: bin64(0x80),
  remS: bin64(0x81),
  remU: bin64(0x82),
  and: bin64(0x83, (a, b) => a & b),
  or: bin64(0x84, (a, b) => a | b),
  xor: bin64(0x85, (a, b) => a ^ b),
  shl: bin64(0x86),
  shrS: bin64(0x87),
  shrU: bin64(0x88),
  rotl: bin64(0x89),
  rotr: bin64(0x8a),
  extendS: un(I, J, 0xac),
  extendU: un(I, J, 0xad),
  extend8s: un(J, J, 0xc2),
  extend16s: un(J, J, 0xc3),
  extend32s: un(J, J, 0xc4),
  not: (a: Ex): Ex => i64.xor(a, c64(-1)),
  reinterpret: un(D, J, 0xbd),
} as const;

export const f32 = {
  load: load(F, 0x2a),
  add: bin(F, F, 0x92),
  sub: bin(F, F, 0x93),
  mul: bin(F, F, 0x94),
  div: bin(F, F, 0x95),
  sqrt: un(F, F, 0x91),
  reinterpret: un(I, F, 0xbe),
} as const;

export const f64 = {
  load: load(D, 0x2b),
  add: bin(D, D, 0xa0),
  sub: bin(D, D, 0xa1),
  mul: bin(D, D, 0xa2),
  div: bin(D, D, 0xa3),
  sqrt: un(D, D, 0x9f),
  reinterpret: un(J, D, 0xbf),
} as const;

/** SIMD opcode (prefix 0xFD). */
const simd = (op: number): number[] => [0xfd, ...leb(op)];
/** A unary / binary operation on vectors by its SIMD opcode number. */
export const vun = (op: number): ((a: Ex) => Ex) => un(V, V, ...simd(op));
export const vbin =
  (op: number) =>
  (a: Ex, b: Ex): Ex => {
    assert(a.ty === V && b.ty === V, "expression: operands are not vectors");
    return new Ex(V, [...a.code, ...b.code, ...simd(op)]);
  };
/** A vector shift by a scalar count (i32, taken modulo the lane width). */
export const vshift =
  (op: number) =>
  (a: Ex, count: Ex): Ex => {
    assert(a.ty === V && count.ty === I, "expression: vector shift takes a vector and an i32");
    return new Ex(V, [...a.code, ...count.code, ...simd(op)]);
  };
/** An operation from a vector to an i32 (any_true, bitmask …). */
export const vtest = (op: number): ((a: Ex) => Ex) => un(V, I, ...simd(op));
/** Lane access: extract (to `ty`) and replace. */
export const vextract = (op: number, ty: Ty, a: Ex, lane: number): Ex => new Ex(ty, [...a.code, ...simd(op), lane]);
export const vreplace = (op: number, a: Ex, lane: number, value: Ex): Ex =>
  new Ex(V, [...a.code, ...value.code, ...simd(op), lane]);
/** i8x16.shuffle with 16 constant lane numbers (0-31). */
export const vshuffle = (a: Ex, b: Ex, lanes: readonly number[]): Ex => {
  assert(lanes.length === 16, "shuffle takes 16 lanes");
  return new Ex(V, [...a.code, ...b.code, ...simd(13), ...lanes]);
};
/** Splat of a scalar by SIMD opcode (i8x16 15, i16x8 16, i32x4 17, i64x2 18). */
export const vsplat = (op: number, a: Ex): Ex => new Ex(V, [...a.code, ...simd(op)]);
export const v128 = {
  load: load(V, ...simd(0)),
  load64zero: load(V, ...simd(93)),
  load32zero: load(V, ...simd(92)),
  not: vun(77),
  and: vbin(78),
  andnot: vbin(79),
  or: vbin(80),
  xor: vbin(81),
  anyTrue: vtest(83),
  zero: (): Ex => new Ex(V, [...simd(12), ...new Array<number>(16).fill(0)]),
  bytes: (bytes: readonly number[]): Ex => new Ex(V, [...simd(12), ...bytes]),
} as const;

/** `condition ? a : b`, both evaluated. */
export function select(condition: Ex, a: Ex, b: Ex): Ex {
  assert(a.ty === b.ty && condition.ty === TY.i32, "expression: select");
  if (typeof condition.k === "number") return condition.k ? a : b;
  return new Ex(a.ty, [...a.code, ...b.code, ...condition.code, 0x1b]);
}
