/**
 * Conversions between integers and floating-point formats (Intel SDM vol. 2: CVT*). An integer result outside the range is the slow path's (the integer
 * indefinite and the invalid exception).
 */
import { c32, c64, type Ex, f64, i32, i64, TY, v128 } from "../../emit/expr.ts";
import { SSE_OP } from "../../fpu/sse-ops.ts";
import * as L from "../../layout.ts";
import type { InstructionSet } from "../define.ts";
import { type Ops, tyOf } from "../ops.ts";
import {
  allLanes,
  callSlow,
  DOUBLE,
  inexactIsFree,
  magnitude,
  magnitudes,
  mxcsrIsFast,
  RC_BITS,
  SINGLE,
  slowToXmm,
  surelyNormal,
  surelyNormalLanes,
  usable,
  usableLanes,
  zeroLanes,
} from "./sse-fp-format.ts";
import { enterMmx, getMmx64, requireMmx, setLow, setMmx64, xmmLow, xmmLowVector, xmmSource } from "./sse-operands.ts";
import { cf64, f32x4, f64x2, fill32, fill64, i32x4, i64x2, scalar } from "./sse-wasm.ts";

const opNamed = (name: string): number => SSE_OP[name.toUpperCase() as keyof typeof SSE_OP];

/** CVTSI2SS and CVTSI2SD. */
function defineFromInteger(set: InstructionSet): void {
  for (const [name, n] of [
    ["cvtsi2ss", SINGLE],
    ["cvtsi2sd", DOUBLE],
  ] as const) {
    const double = n === DOUBLE;
    set.define(`${name}_xmm`, [32, 64], "both", (o, size, e) => {
      o.requireVector("sse");
      const source = e.read(size);
      const wide = size === 64;
      const convert = double
        ? wide
          ? scalar.f64FromI64
          : scalar.f64FromI32
        : wide
          ? scalar.f32FromI64
          : scalar.f32FromI32;
      const fast = (): void => setLow(o, L.REC.r1, n.size, o.let(n.toBits(convert(source))));
      if (double && !wide) fast();
      else {
        // Small enough to be exact.
        const limit = double ? 2 ** 53 : 2 ** 24;
        const exact = wide
          ? i64.leU(i64.add(source, c64(limit)), c64(limit * 2))
          : i32.leU(i32.add(source, c32(limit)), c32(limit * 2));
        const op = opNamed(`${name}${size}`);
        o.f.if(i32.or(exact, mxcsrIsFast(o)), fast, () => slowToXmm(o, op, source));
      }
      o.next();
    });
  }
}

/** CVT(T)SS2SI and CVT(T)SD2SI. */
function defineToInteger(set: InstructionSet): void {
  for (const truncate of [false, true]) {
    for (const [kind, n] of [
      ["ss", SINGLE],
      ["sd", DOUBLE],
    ] as const) {
      const name = `cvt${truncate ? "t" : ""}${kind}2si`;
      set.define(`${name}_xmm`, [32, 64], "both", (o, size, e) => {
        o.requireVector("sse");
        const bits = xmmLow(o, e, n.size);
        const x = o.let(n === SINGLE ? scalar.f64Promote(n.toFloat(bits)) : f64.reinterpret(bits));
        const whole = o.let((truncate ? scalar.f64Trunc : scalar.f64Nearest)(x));
        // The doubles next outside the range of the integer.
        const [low, high] = size === 64 ? [-(2 ** 63) - 2048, 2 ** 63] : [-(2 ** 31) - 1, 2 ** 31];
        const inRange = i32.and(scalar.f64Lt(cf64(low), whole), scalar.f64Lt(whole, cf64(high)));
        const free = i32.or(scalar.f64Eq(whole, x), inexactIsFree(o, truncate ? 0 : RC_BITS));
        const result = o.f.local(tyOf(size));
        o.f.if(
          i32.and(inRange, free),
          () => o.f.set(result, size === 64 ? scalar.i64FromF64Sat(whole) : scalar.i32FromF64Sat(whole)),
          () => {
            callSlow(o, opNamed(`${name}${size}`), bits, null);
            o.f.set(result, o.loadReg(o.cpu, size, L.SCRATCH));
          },
        );
        o.setReg(L.REC.r1, size, result);
        o.next();
      });
    }
  }
}

/** Stores `result` when `ok` holds (both evaluated before), else runs the slow operation. */
function finish(o: Ops, ok: Ex, result: Ex, op: number, source: Ex): void {
  o.f.if(
    ok,
    () => o.setXmm(L.REC.r1, result),
    () => slowToXmm(o, op, source),
  );
  o.next();
}

function defineScalarFormats(set: InstructionSet): void {
  set.define("cvtss2sd_xmm", [32], "both", (o, _size, e) => {
    o.requireVector("sse");
    const source = xmmLow(o, e, 32);
    o.f.if(
      usable(SINGLE, magnitude(o, SINGLE, source), true),
      () => setLow(o, L.REC.r1, 64, o.let(i64.reinterpret(scalar.f64Promote(SINGLE.toFloat(source))))),
      () => slowToXmm(o, SSE_OP.CVTSS2SD, source),
    );
    o.next();
  });
  set.define("cvtsd2ss_xmm", [64], "both", (o, _size, e) => {
    o.requireVector("sse");
    const source = xmmLow(o, e, 64);
    const abs = magnitude(o, DOUBLE, source);
    const result = o.f.local(TY.i32);
    const ok = o.f.local(TY.i32);
    o.f.if(i32.and(mxcsrIsFast(o), usable(DOUBLE, abs)), () => {
      o.f.set(result, i32.reinterpret(scalar.f32Demote(f64.reinterpret(source))));
      o.f.set(ok, i32.or(surelyNormal(SINGLE, magnitude(o, SINGLE, result)), i64.eqz(abs)));
    });
    o.f.if(
      ok,
      () => setLow(o, L.REC.r1, 32, result),
      () => slowToXmm(o, SSE_OP.CVTSD2SS, source),
    );
    o.next();
  });
}

function definePackedFormats(set: InstructionSet): void {
  set.define("cvtps2pd_xmm", [64], "both", (o, _size, e) => {
    o.requireVector("sse");
    const source = xmmLowVector(o, e, 64);
    // The upper lanes are zeros here, which are usable.
    const ok = o.let(allLanes(SINGLE, usableLanes(SINGLE, magnitudes(o, SINGLE, source), true)));
    finish(o, ok, o.let(f64x2.promoteLowF32(source)), SSE_OP.CVTPS2PD, source);
  });
  set.define("cvtpd2ps_xmm", [128], "both", (o, _size, e) => {
    o.requireVector("sse");
    const source = xmmSource(o, e);
    const abs = magnitudes(o, DOUBLE, source);
    const result = o.let(f32x4.demoteF64(source));
    // A result of zero is exact only from a zero.
    const normal = i64x2.extendLowS(surelyNormalLanes(SINGLE, magnitudes(o, SINGLE, result)));
    const exact = v128.or(normal, zeroLanes(DOUBLE, abs));
    const ok = allLanes(DOUBLE, v128.and(usableLanes(DOUBLE, abs), exact));
    finish(o, o.let(i32.and(ok, mxcsrIsFast(o))), result, SSE_OP.CVTPD2PS, source);
  });
  set.define("cvtdq2ps_xmm", [128], "both", (o, _size, e) => {
    o.requireVector("sse");
    const source = xmmSource(o, e);
    finish(o, o.let(mxcsrIsFast(o)), o.let(f32x4.convertI32(source)), SSE_OP.CVTDQ2PS, source);
  });
  set.define("cvtdq2pd_xmm", [64], "both", (o, _size, e) => {
    o.requireVector("sse");
    o.setXmm(L.REC.r1, o.let(f64x2.convertLowI32(xmmLowVector(o, e, 64))));
    o.next();
  });
}

/** To four or two 32-bit integers in an XMM register: rounded by MXCSR, or truncated. */
function definePackedToInteger(set: InstructionSet): void {
  for (const truncate of [false, true]) {
    const t = truncate ? "t" : "";
    const free = (o: Ops): Ex => inexactIsFree(o, truncate ? 0 : RC_BITS);
    set.define(`cvt${t}ps2dq_xmm`, [128], "both", (o, _size, e) => {
      o.requireVector("sse");
      const source = xmmSource(o, e);
      const below = i32x4.ltS(magnitudes(o, SINGLE, source), fill32(0x4f000000));
      const ok = o.let(i32.and(allLanes(SINGLE, below), free(o)));
      const result = o.let(i32x4.truncSatF32(truncate ? source : f32x4.nearest(source)));
      finish(o, ok, result, opNamed(`cvt${t}ps2dq`), source);
    });
    set.define(`cvt${t}pd2dq_xmm`, [128], "both", (o, _size, e) => {
      o.requireVector("sse");
      const source = xmmSource(o, e);
      // Below 2147483647.0, so that rounding stays in range.
      const below = i64x2.ltS(magnitudes(o, DOUBLE, source), fill64(0x41dfffff, 0xffc00000 | 0));
      const ok = o.let(i32.and(allLanes(DOUBLE, below), free(o)));
      const result = o.let(i32x4.truncSatF64(truncate ? source : f64x2.nearest(source)));
      finish(o, ok, result, opNamed(`cvt${t}pd2dq`), source);
    });
  }
}

/** Between MMX and XMM registers. The MMX register side makes them MMX instructions too. */
function defineMmxConversions(set: InstructionSet): void {
  set.define("cvtpi2ps_xmm", [64], "both", (o, _size, e) => {
    o.requireVector("sse");
    requireMmx(o);
    const source = e.memory ? e.read(64) : o.let(getMmx64(o, L.REC.r2));
    callSlow(o, SSE_OP.CVTPI2PS, source, o.getXmm(L.REC.r1));
    enterMmx(o);
    o.setXmm(L.REC.r1, v128.load(o.cpu, L.SCRATCH));
    o.next();
  });
  // Exact. With a memory operand the x87 is left alone.
  set.define("cvtpi2pd_xmm", [64], "both", (o, _size, e) => {
    o.requireVector("sse");
    if (!e.memory) requireMmx(o);
    const source = e.memory ? e.read(64) : o.let(getMmx64(o, L.REC.r2));
    if (!e.memory) enterMmx(o);
    o.setXmm(L.REC.r1, o.let(f64x2.convertLowI32(i64x2.splat(source))));
    o.next();
  });
  for (const t of ["", "t"]) {
    for (const kind of ["ps", "pd"] as const) {
      const name = `cvt${t}${kind}2pi`;
      set.define(`${name}_xmm`, [kind === "ps" ? 64 : 128], "both", (o, _size, e) => {
        o.requireVector("sse");
        requireMmx(o);
        callSlow(o, opNamed(name), kind === "ps" ? xmmLow(o, e, 64) : xmmSource(o, e), null);
        enterMmx(o);
        setMmx64(o, L.REC.r1, o.let(i64.load(o.cpu, L.SCRATCH)));
        o.next();
      });
    }
  }
}

export function defineVectorConversions(set: InstructionSet): void {
  defineFromInteger(set);
  defineToInteger(set);
  defineScalarFormats(set);
  definePackedFormats(set);
  definePackedToInteger(set);
  defineMmxConversions(set);
}
