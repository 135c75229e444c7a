/**
 * SSE to SSE4.1 floating-point instructions with exact results and exceptions, on registers and operands in memory.
 *
 * Document: Intel SDM vol 1 sections 11.4, 11.5 (SIMD exceptions: all lanes report together, an unmasked exception
 * leaves the destination), vol 2 the instructions in SSE_OP. RCP* and RSQRT* give this model's own approximation within
 * the manual's bound. Not modelled: MXCSR.MM (misaligned SSE, AMD); alignment and memory faults are the CPU's.
 */
import { EQUAL, FloatEnv, LESS, PRE_COMPUTATION, ROUND_ZERO, UNORDERED } from "./float-env.ts";
import { addF32, compareF32, f32ToF64, f32ToInt, int32ToF32, int64ToF32, mulF32, subF32 } from "./softfloat-f32.ts";
import { addF64, compareF64, f64ToF32, f64ToInt, int32ToF64, int64ToF64, mulF64, subF64 } from "./softfloat-f64.ts";
import { laneF32, laneF64, reciprocal, reciprocalRoot, ROUND } from "./sse-lanes.ts";
import { SSE_OP } from "./sse-ops.ts";

const env = new FloatEnv();
/** Result words of the instruction in progress. */
const lanes = new Int32Array(4);
/** Exceptions of the finished steps of a dot product. */
let earlierFlags = 0;

/**
 * Executes one operation on 16-byte (scalar: 4- or 8-byte) operands at byte offsets dst (first operand, and destination)
 * and src of view; MXCSR is the 32-bit word at mxcsrOffset, whose sticky flags are updated.
 * Returns 1 if an unmasked exception must raise #XM (the destination is then unchanged), else 0; for compares to EFLAGS
 * the bits ZF, PF, CF shifted left by 8.
 */
export function sseOp(op: number, view: DataView, dst: number, src: number, imm: number, mxcsrOffset: number): number {
  const mxcsr = view.getUint32(mxcsrOffset, true);
  env.fromMxcsr(mxcsr);
  env.flags = 0;
  earlierFlags = 0;
  const family = op >>> 2;
  let words: number;
  let codes = 0;
  if (family <= ROUND) words = plain(family, op & 3, view, dst, src, imm);
  else if (op < SSE_OP.RCPPS) words = horizontal(op, view, dst, src, imm);
  else if (op < SSE_OP.COMISS) words = approximate(op, view, src);
  else if (op < SSE_OP.CVTPS2PD) {
    words = 0;
    codes = compareToFlags(op, view, dst, src);
  } else words = convert(op, view, src);
  const failed = stepFailed();
  if (earlierFlags !== 0) view.setUint32(mxcsrOffset, mxcsr | earlierFlags, true);
  if (failed) return 1;
  for (let i = 0; i < words; i++) view.setInt32(dst + i * 4, lanes[i]!, true);
  return codes << 8;
}

function setDouble(lane: number): void {
  lanes[lane * 2] = env.outLo;
  lanes[lane * 2 + 1] = env.outHi;
}

/** The families with PS, PD, SS, SD forms; returns the number of result words. */
function plain(family: number, kind: number, view: DataView, dst: number, src: number, imm: number): number {
  const double = (kind & 1) !== 0;
  const count = kind >= 2 ? 1 : double ? 2 : 4;
  for (let i = 0; i < count; i++) {
    if (double) {
      const a = dst + i * 8;
      const b = src + i * 8;
      laneF64(
        env,
        family,
        view.getInt32(a + 4, true),
        view.getInt32(a, true),
        view.getInt32(b + 4, true),
        view.getInt32(b, true),
        imm,
      );
      setDouble(i);
    } else {
      laneF32(env, family, view.getInt32(dst + i * 4, true), view.getInt32(src + i * 4, true), imm);
      lanes[i] = env.outLo;
    }
  }
  return double ? count * 2 : count;
}

/** RCP and RSQRT. */
function approximate(op: number, view: DataView, src: number): number {
  const count = (op & 2) !== 0 ? 1 : 4;
  for (let i = 0; i < count; i++) {
    const bits = view.getInt32(src + i * 4, true);
    lanes[i] = op < SSE_OP.RSQRTPS ? reciprocal(bits) : reciprocalRoot(bits);
  }
  return count;
}

function compareToFlags(op: number, view: DataView, dst: number, src: number): number {
  const signalling = op < SSE_OP.UCOMISS;
  const order =
    (op & 1) !== 0
      ? compareF64(
          env,
          view.getInt32(dst + 4, true),
          view.getInt32(dst, true),
          view.getInt32(src + 4, true),
          view.getInt32(src, true),
          signalling,
        )
      : compareF32(env, view.getInt32(dst, true), view.getInt32(src, true), signalling);
  return order === UNORDERED ? 0x45 : order === EQUAL ? 0x40 : order === LESS ? 0x01 : 0;
}

function horizontal(op: number, view: DataView, dst: number, src: number, imm: number): number {
  if (op === SSE_OP.DPPS) dotSingles(view, dst, src, imm);
  else if (op === SSE_OP.DPPD) dotDoubles(view, dst, src, imm);
  else if ((op & 1) !== 0) pairsOfDoubles(op, view, dst, src);
  else pairsOfSingles(op, view, dst, src);
  return 4;
}

/** HADDPS, HSUBPS, ADDSUBPS. */
function pairsOfSingles(op: number, view: DataView, dst: number, src: number): void {
  const across = op < SSE_OP.ADDSUBPS;
  for (let i = 0; i < 4; i++) {
    const from = i < 2 ? dst : src;
    const a = across ? view.getInt32(from + (i & 1) * 8, true) : view.getInt32(dst + i * 4, true);
    const b = across ? view.getInt32(from + (i & 1) * 8 + 4, true) : view.getInt32(src + i * 4, true);
    const subtract = across ? op === SSE_OP.HSUBPS : (i & 1) === 0;
    if (subtract) subF32(env, a, b);
    else addF32(env, a, b);
    lanes[i] = env.outLo;
  }
}

/** HADDPD, HSUBPD, ADDSUBPD. */
function pairsOfDoubles(op: number, view: DataView, dst: number, src: number): void {
  const across = op < SSE_OP.ADDSUBPS;
  for (let i = 0; i < 2; i++) {
    const a = across ? (i === 0 ? dst : src) : dst + i * 8;
    const b = across ? a + 8 : src + i * 8;
    const aHi = view.getInt32(a + 4, true);
    const aLo = view.getInt32(a, true);
    const bHi = view.getInt32(b + 4, true);
    const bLo = view.getInt32(b, true);
    const subtract = across ? op === SSE_OP.HSUBPD : i === 0;
    if (subtract) subF64(env, aHi, aLo, bHi, bLo);
    else addF64(env, aHi, aLo, bHi, bLo);
    setDouble(i);
  }
}

/**
 * Ends a step (the whole of most instructions; each layer of products or sums of a dot product): collects its flags,
 * and tells whether one of them is unmasked, after which nothing further is computed. An unmasked pre-computation
 * exception in any lane keeps all lanes of the step from computing (SDM vol 1 section 11.5.3).
 */
function stepFailed(): boolean {
  let flags = env.flags;
  const unmasked = ~env.masks;
  if ((flags & unmasked & PRE_COMPUTATION) !== 0) flags &= PRE_COMPUTATION;
  earlierFlags |= flags;
  env.flags = 0;
  return (earlierFlags & unmasked) !== 0;
}

/** DPPS: (p0 + p1) + (p2 + p3), each product and sum rounded; unselected products are +0. */
function dotSingles(view: DataView, dst: number, src: number, imm: number): void {
  for (let i = 0; i < 4; i++) {
    lanes[i] = 0;
    if (((imm >>> (4 + i)) & 1) === 0) continue;
    mulF32(env, view.getInt32(dst + i * 4, true), view.getInt32(src + i * 4, true));
    lanes[i] = env.outLo;
  }
  if (stepFailed()) return;
  addF32(env, lanes[0]!, lanes[1]!);
  const low = env.outLo;
  addF32(env, lanes[2]!, lanes[3]!);
  if (stepFailed()) return;
  addF32(env, low, env.outLo);
  for (let i = 0; i < 4; i++) lanes[i] = ((imm >>> i) & 1) !== 0 ? env.outLo : 0;
}

/** DPPD: p0 + p1. */
function dotDoubles(view: DataView, dst: number, src: number, imm: number): void {
  for (let i = 0; i < 2; i++) {
    lanes[i * 2] = 0;
    lanes[i * 2 + 1] = 0;
    if (((imm >>> (4 + i)) & 1) === 0) continue;
    const a = dst + i * 8;
    const b = src + i * 8;
    mulF64(env, view.getInt32(a + 4, true), view.getInt32(a, true), view.getInt32(b + 4, true), view.getInt32(b, true));
    setDouble(i);
  }
  if (stepFailed()) return;
  addF64(env, lanes[1]!, lanes[0]!, lanes[3]!, lanes[2]!);
  for (let i = 0; i < 2; i++) {
    const kept = ((imm >>> i) & 1) !== 0 ? -1 : 0;
    lanes[i * 2] = env.outLo & kept;
    lanes[i * 2 + 1] = env.outHi & kept;
  }
}

function convert(op: number, view: DataView, src: number): number {
  if (op < SSE_OP.CVTPI2PS) return convertFloats(op, view, src);
  if (op < SSE_OP.CVTPS2PI) return fromPackedIntegers(op, view, src);
  if (op < SSE_OP.CVTSI2SS32) return toPackedIntegers(op, view, src);
  if (op < SSE_OP.CVTSS2SI32) return fromScalarInteger(op, view, src);
  return toScalarInteger(op, view, src);
}

/** CVTPS2PD, CVTPD2PS, CVTSS2SD, CVTSD2SS. */
function convertFloats(op: number, view: DataView, src: number): number {
  const count = op < SSE_OP.CVTSS2SD ? 2 : 1;
  const widen = (op & 1) === 0;
  for (let i = 0; i < count; i++) {
    if (widen) {
      f32ToF64(env, view.getInt32(src + i * 4, true));
      setDouble(i);
    } else {
      f64ToF32(env, view.getInt32(src + i * 8 + 4, true), view.getInt32(src + i * 8, true));
      lanes[i] = env.outLo;
    }
  }
  if (count === 1) return widen ? 2 : 1;
  if (!widen) {
    lanes[2] = 0;
    lanes[3] = 0;
  }
  return 4;
}

/** CVTPI2PS, CVTPI2PD, CVTDQ2PS, CVTDQ2PD. */
function fromPackedIntegers(op: number, view: DataView, src: number): number {
  const toDouble = (op & 1) !== 0;
  const count = op === SSE_OP.CVTDQ2PS ? 4 : 2;
  for (let i = 0; i < count; i++) {
    const value = view.getInt32(src + i * 4, true);
    if (toDouble) {
      int32ToF64(env, value);
      setDouble(i);
    } else {
      int32ToF32(env, value);
      lanes[i] = env.outLo;
    }
  }
  return toDouble ? 4 : count;
}

/** CVT(T)PS2PI, CVT(T)PD2PI, CVT(T)PS2DQ, CVT(T)PD2DQ. */
function toPackedIntegers(op: number, view: DataView, src: number): number {
  const rounding = op >= SSE_OP.CVTTPS2PI ? ROUND_ZERO : env.rounding;
  const fromDouble = (op & 1) !== 0;
  const toXmm = (op & 2) !== 0;
  const count = toXmm && !fromDouble ? 4 : 2;
  for (let i = 0; i < count; i++) {
    if (fromDouble) f64ToInt(env, 32, view.getInt32(src + i * 8 + 4, true), view.getInt32(src + i * 8, true), rounding);
    else f32ToInt(env, 32, view.getInt32(src + i * 4, true), rounding);
    lanes[i] = env.outLo;
  }
  if (!toXmm) return 2;
  if (fromDouble) {
    lanes[2] = 0;
    lanes[3] = 0;
  }
  return 4;
}

/** CVTSI2SS, CVTSI2SD. */
function fromScalarInteger(op: number, view: DataView, src: number): number {
  const lo = view.getInt32(src, true);
  const wide = (op & 2) !== 0;
  const hi = wide ? view.getInt32(src + 4, true) : lo >> 31;
  if ((op & 1) === 0) {
    int64ToF32(env, hi, lo);
    lanes[0] = env.outLo;
    return 1;
  }
  int64ToF64(env, hi, lo);
  setDouble(0);
  return 2;
}

/** CVT(T)SS2SI, CVT(T)SD2SI. */
function toScalarInteger(op: number, view: DataView, src: number): number {
  const rounding = op >= SSE_OP.CVTTSS2SI32 ? ROUND_ZERO : env.rounding;
  const bits = (op & 2) !== 0 ? 64 : 32;
  const lo = view.getInt32(src, true);
  if ((op & 1) !== 0) f64ToInt(env, bits, view.getInt32(src + 4, true), lo, rounding);
  else f32ToInt(env, bits, lo, rounding);
  setDouble(0);
  return bits === 64 ? 2 : 1;
}
