/**
 * The two floating-point formats as generated code tests them, and the way to the slow path.
 *
 * A fast path runs WebAssembly's own arithmetic only where the result and MXCSR come out bit for bit the same: operands are zeros or normal numbers, so that
 * no invalid, denormal or divide-by-zero exception can arise; the result is a normal number above the smallest one (or an exact zero), so that neither
 * overflow nor underflow can; rounding is to nearest, and the precision flag is set already and masked, so that it does not matter whether the result is
 * exact. Then no WebAssembly operation can give a NaN that anybody sees. Everything else goes to cpu/fpu/sse.ts. Intel SDM vol. 1, sections 11.5 and 4.8.
 */
import { c32, c64, type Ex, f32, f64, i32, i64, v128 } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import type { Rm } from "../define.ts";
import type { Ops } from "../ops.ts";
import { xmmLow, xmmSource } from "./sse-operands.ts";
import { f32x4, f64x2, fill32, fill64, i32x4, i64x2, scalar } from "./sse-wasm.ts";

/** Rounding to nearest, no DAZ or FTZ, all exceptions masked, precision flag set. */
const FAST_MXCSR = 0x1fa0;
/** All of MXCSR but the other five sticky flags. */
const FAST_MASK = 0xffe0;
export const mxcsr = (o: Ops): Ex => i32.load(o.cpu, L.MXCSR);
export const mxcsrIsFast = (o: Ops): Ex => i32.eq(i32.and(mxcsr(o), c32(FAST_MASK)), c32(FAST_MXCSR));
/** The precision exception is masked and its flag is set already, and the given further bits are 0. */
export const inexactIsFree = (o: Ops, zeroBits = 0): Ex =>
  i32.eq(i32.and(mxcsr(o), c32(0x1020 | zeroBits)), c32(0x1020));
/** MXCSR.RC. */
export const RC_BITS = 0x6000;

type Arithmetic<T> = { readonly add: T; readonly sub: T; readonly mul: T; readonly div: T };
type Op1 = (a: Ex) => Ex;
type Op2 = (a: Ex, b: Ex) => Ex;

/** Binary32 or binary64, one lane (as integer bits) and all lanes of a vector. */
export type Format = {
  readonly size: 32 | 64;
  readonly t: typeof i32 | typeof i64;
  readonly k: (double: bigint, single: number) => Ex;
  readonly toFloat: Op1;
  readonly toBits: Op1;
  readonly ops: Arithmetic<Op2> & { readonly sqrt: Op1 };
  readonly eq: Op2;
  readonly lt: Op2;
  readonly lanes: Arithmetic<Op2> & {
    readonly sqrt: Op1;
    readonly eq: Op2;
    readonly lt: Op2;
    readonly pmin: Op2;
    readonly pmax: Op2;
    readonly compare: typeof i32x4 | typeof i64x2;
    readonly k: (high: number, single: number) => Ex;
  };
};

export const SINGLE: Format = {
  size: 32,
  t: i32,
  k: (_double, single) => c32(single),
  toFloat: f32.reinterpret,
  toBits: i32.reinterpret,
  ops: f32,
  eq: scalar.f32Eq,
  lt: scalar.f32Lt,
  lanes: { ...f32x4, compare: i32x4, k: (_high, single) => fill32(single) },
};
export const DOUBLE: Format = {
  size: 64,
  t: i64,
  k: double => c64(double),
  toFloat: f64.reinterpret,
  toBits: i64.reinterpret,
  ops: f64,
  eq: scalar.f64Eq,
  lt: scalar.f64Lt,
  lanes: { ...f64x2, compare: i64x2, k: high => fill64(high, high === MIN_HIGH - 1 ? -1 : 0) },
};

const MIN_DOUBLE = 0x0010000000000000n;
const INF_DOUBLE = 0x7ff0000000000000n;
const MIN_HIGH = 0x00100000;
const MIN_SINGLE = 0x00800000;
const INF_SINGLE = 0x7f800000;

/** Without the sign. A local. */
export const magnitude = (o: Ops, n: Format, bits: Ex): Ex =>
  o.let(n.t.and(bits, n.k(0x7fffffffffffffffn, 0x7fffffff)));
/** A normal number or zero (with `infinity`, or that), by its magnitude. */
export function usable(n: Format, abs: Ex, infinity = false): Ex {
  const one = infinity ? 1 : 0;
  const span = n.k(INF_DOUBLE - MIN_DOUBLE + BigInt(one), INF_SINGLE - MIN_SINGLE + one);
  return i32.or(n.t.ltU(n.t.sub(abs, n.k(MIN_DOUBLE, MIN_SINGLE)), span), n.t.eqz(abs));
}
/** A finite number greater than the smallest normal one: a result that certainly did not underflow or overflow. */
export function surelyNormal(n: Format, abs: Ex): Ex {
  const span = n.k(INF_DOUBLE - MIN_DOUBLE - 1n, INF_SINGLE - MIN_SINGLE - 1);
  return n.t.ltU(n.t.sub(abs, n.k(MIN_DOUBLE + 1n, MIN_SINGLE + 1)), span);
}

/** The same tests on all lanes of a vector; results are lane masks. */
export const magnitudes = (o: Ops, n: Format, a: Ex): Ex =>
  o.let(v128.and(a, n.size === 64 ? fill64(0x7fffffff, -1) : fill32(0x7fffffff)));
export const zeroLanes = (n: Format, abs: Ex): Ex => n.lanes.compare.eq(abs, v128.zero());
export function usableLanes(n: Format, abs: Ex, infinity = false): Ex {
  const { compare, k } = n.lanes;
  const top = infinity
    ? v128.not(compare.gtS(abs, k(0x7ff00000, INF_SINGLE)))
    : compare.ltS(abs, k(0x7ff00000, INF_SINGLE));
  return v128.and(top, v128.or(compare.gtS(abs, k(MIN_HIGH - 1, MIN_SINGLE - 1)), zeroLanes(n, abs)));
}
export function surelyNormalLanes(n: Format, abs: Ex): Ex {
  const { compare, k } = n.lanes;
  return v128.and(compare.ltS(abs, k(0x7ff00000, INF_SINGLE)), compare.gtS(abs, k(MIN_HIGH, MIN_SINGLE)));
}
export const allLanes = (n: Format, mask: Ex): Ex => n.lanes.compare.allTrue(mask);

// --- Slow path -----------------------------------------------------------------------------------------------------------------------------------

/**
 * Runs operation `op` of cpu/fpu/sse-ops.ts on the destination register r1 and `source` (an integer of 32 or 64 bits, or a vector). Leaves the instruction
 * with a fault when one was prepared; else returns the status: flags of a comparison shifted left by 8. The result is at SCRATCH.
 */
export function callSlow(o: Ops, op: number, source: Ex, destination: Ex | null, imm: Ex = c32(0)): Ex {
  if (destination) o.f.storeV128(o.cpu, L.SCRATCH, destination);
  if (source.ty === v128.zero().ty) o.f.storeV128(o.cpu, L.SCRATCH + 16, source);
  else o.f.storeSize(source.ty === c64(0).ty ? 8 : 4, o.cpu, L.SCRATCH + 16, source);
  const status = o.let(o.f.call(o.rt.sseSlow, o.cpu, c32(op), imm));
  o.f.if(i32.and(status, c32(0xff)), () => o.fault());
  return status;
}
/** The same, with the result going to XMM register r1. */
export function slowToXmm(o: Ops, op: number, source: Ex, imm?: Ex): void {
  callSlow(o, op, source, o.getXmm(L.REC.r1), imm);
  o.setXmm(L.REC.r1, v128.load(o.cpu, L.SCRATCH));
}

/** The source of a scalar (one lane) or packed (16 aligned bytes) operation. */
export const floatSource = (o: Ops, e: Rm, n: Format, packed: boolean): Ex =>
  packed ? xmmSource(o, e) : xmmLow(o, e, n.size);
