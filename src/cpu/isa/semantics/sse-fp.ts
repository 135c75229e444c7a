/**
 * Floating-point arithmetic and comparison (Intel SDM vol. 2: ADD*, SUB*, MUL*, DIV*, SQRT*, MIN*, MAX*, CMP*, COMIS*, UCOMIS*, HADD*, HSUB*, ADDSUB*, DP*,
 * RCP*, RSQRT*, ROUND*). Fast paths as sse-fp-format.ts explains.
 */
import { c32, type Ex, i32, i64, TY, v128, vshuffle } from "../../emit/expr.ts";
import { SSE_OP } from "../../fpu/sse-ops.ts";
import * as L from "../../layout.ts";
import type { InstructionSet } from "../define.ts";
import { type Ops, tyOf } from "../ops.ts";
import {
  allLanes,
  callSlow,
  DOUBLE,
  type Format,
  floatSource,
  inexactIsFree,
  magnitude,
  magnitudes,
  mxcsr,
  mxcsrIsFast,
  SINGLE,
  slowToXmm,
  surelyNormal,
  surelyNormalLanes,
  usable,
  usableLanes,
  zeroLanes,
} from "./sse-fp-format.ts";
import { getLow, imm8, setLow } from "./sse-operands.ts";
import { fill64, i32x4, scalar } from "./sse-wasm.ts";

const KINDS = [
  { kind: "ps", n: SINGLE, packed: true },
  { kind: "pd", n: DOUBLE, packed: true },
  { kind: "ss", n: SINGLE, packed: false },
  { kind: "sd", n: DOUBLE, packed: false },
] as const;
type Kind = (typeof KINDS)[number];
const opOf = (name: string, kind: string): number => SSE_OP[`${name}${kind}`.toUpperCase() as keyof typeof SSE_OP];

type ArithmeticName = "add" | "sub" | "mul" | "div" | "sqrt";

/** When a result of zero is exact. Sums of normal numbers never underflow to zero; of products, only those with a factor of zero are. */
function zeroIsExact(name: ArithmeticName, zero: Ex, aZero: () => Ex, bZero: () => Ex, and: Op2, or: Op2): Ex {
  if (name === "mul") return and(zero, or(aZero(), bZero()));
  if (name === "div") return and(zero, aZero());
  return zero;
}
type Op2 = (a: Ex, b: Ex) => Ex;

/** `result` and `ok` (locals) for one lane, given as bits. */
function scalarArithmetic(o: Ops, n: Format, name: ArithmeticName, a: Ex, b: Ex, result: Ex, ok: Ex): void {
  const absA = name === "sqrt" ? null : magnitude(o, n, a);
  const absB = magnitude(o, n, b);
  const inputs = absA ? i32.and(usable(n, absA), usable(n, absB)) : usable(n, absB);
  o.f.if(i32.and(mxcsrIsFast(o), inputs), () => {
    const value = name === "sqrt" ? n.ops.sqrt(n.toFloat(b)) : n.ops[name](n.toFloat(a), n.toFloat(b));
    o.f.set(result, n.toBits(value));
    const abs = magnitude(o, n, result);
    const zero = zeroIsExact(
      name,
      n.t.eqz(abs),
      () => n.t.eqz(absA ?? absB),
      () => n.t.eqz(absB),
      i32.and,
      i32.or,
    );
    o.f.set(ok, i32.or(surelyNormal(n, abs), zero));
  });
}

/** The same for all lanes. */
function packedArithmetic(o: Ops, n: Format, name: ArithmeticName, a: Ex, b: Ex, result: Ex, ok: Ex): void {
  const absA = name === "sqrt" ? null : magnitudes(o, n, a);
  const absB = magnitudes(o, n, b);
  const inputs = absA ? v128.and(usableLanes(n, absA), usableLanes(n, absB)) : usableLanes(n, absB);
  o.f.if(i32.and(mxcsrIsFast(o), allLanes(n, inputs)), () => {
    o.f.set(result, name === "sqrt" ? n.lanes.sqrt(b) : n.lanes[name](a, b));
    const abs = magnitudes(o, n, result);
    const zero = zeroIsExact(
      name,
      zeroLanes(n, abs),
      () => zeroLanes(n, absA ?? absB),
      () => zeroLanes(n, absB),
      v128.and,
      v128.or,
    );
    o.f.set(ok, allLanes(n, v128.or(surelyNormalLanes(n, abs), zero)));
  });
}

/**
 * Defines an instruction whose `fast` sets `result` and, when that is right, `ok`; otherwise operation `op` runs in TypeScript. `immediate`: one follows.
 */
function defineWithFast(
  set: InstructionSet,
  name: string,
  { n, packed }: Omit<Kind, "kind">,
  op: number,
  fast: (o: Ops, a: Ex, b: Ex, result: Ex, ok: Ex, imm: Ex) => void,
  immediate = false,
): void {
  set.define(`${name}_xmm`, [packed ? 128 : n.size], "both", (o, _size, e) => {
    o.requireVector("sse");
    const b = floatSource(o, e, n, packed);
    const a = o.let(packed ? o.getXmm(L.REC.r1) : getLow(o, L.REC.r1, n.size));
    const result = o.f.local(packed ? TY.v128 : tyOf(n.size));
    const ok = o.f.local(TY.i32);
    const imm = immediate ? imm8(o) : c32(0);
    fast(o, a, b, result, ok, imm);
    o.f.if(
      ok,
      () => (packed ? o.setXmm(L.REC.r1, result) : setLow(o, L.REC.r1, n.size, result)),
      () => slowToXmm(o, op, b, imm),
    );
    o.next();
  });
}

function defineArithmetic(set: InstructionSet): void {
  for (const kind of KINDS) {
    for (const name of ["add", "sub", "mul", "div", "sqrt"] as const) {
      const run = kind.packed ? packedArithmetic : scalarArithmetic;
      defineWithFast(set, `${name}${kind.kind}`, kind, opOf(name, kind.kind), (o, a, b, result, ok) =>
        run(o, kind.n, name, a, b, result, ok),
      );
    }
    // The second operand is the result when both are zeros; of NaNs the slow path takes care.
    for (const name of ["min", "max"] as const) {
      defineWithFast(set, `${name}${kind.kind}`, kind, opOf(name, kind.kind), (o, a, b, result, ok) => {
        const { n, packed } = kind;
        if (packed) {
          o.f.set(result, name === "min" ? n.lanes.pmin(b, a) : n.lanes.pmax(b, a));
          o.f.set(ok, allLanes(n, ordered(o, n, a, b)));
          return;
        }
        o.f.set(ok, orderedScalar(o, n, a, b));
        const [x, y] = name === "min" ? [a, b] : [b, a];
        o.f.if(
          n.lt(n.toFloat(x), n.toFloat(y)),
          () => o.f.set(result, a),
          () => o.f.set(result, b),
        );
      });
    }
  }
}

/** Lanes in which both operands are ordered and no exception can arise. */
const ordered = (o: Ops, n: Format, a: Ex, b: Ex): Ex =>
  v128.and(usableLanes(n, magnitudes(o, n, a), true), usableLanes(n, magnitudes(o, n, b), true));
const orderedScalar = (o: Ops, n: Format, a: Ex, b: Ex): Ex =>
  o.let(i32.and(usable(n, magnitude(o, n, a), true), usable(n, magnitude(o, n, b), true)));

/**
 * The predicate in bits 2:0 (SDM vol. 2, CMPPS, table 3-1) for ordered operands: which of "equal" and "less" make it true, and whether it is negated.
 */
function predicate(o: Ops, imm: Ex): { equal: Ex; less: Ex; not: Ex } {
  return {
    equal: o.let(i32.and(i32.not(imm), c32(1))),
    less: o.let(i32.and(i32.xor(imm, i32.shrU(imm, c32(1))), c32(1))),
    not: o.let(i32.and(i32.shrU(imm, c32(2)), c32(1))),
  };
}

function defineCompare(set: InstructionSet): void {
  for (const kind of KINDS) {
    const { n, packed } = kind;
    defineWithFast(
      set,
      `cmp${kind.kind}`,
      kind,
      opOf("cmp", kind.kind),
      (o, a, b, result, ok, imm) => {
        const { equal, less, not } = predicate(o, imm);
        if (packed) {
          const all = (bit: Ex): Ex => i32x4.splat(i32.sub(c32(0), bit));
          const eq = v128.and(n.lanes.eq(a, b), all(equal));
          o.f.set(result, v128.xor(v128.or(eq, v128.and(n.lanes.lt(a, b), all(less))), all(not)));
          o.f.set(ok, allLanes(n, ordered(o, n, a, b)));
          return;
        }
        const [x, y] = [n.toFloat(a), n.toFloat(b)];
        const bit = i32.xor(i32.or(i32.and(n.eq(x, y), equal), i32.and(n.lt(x, y), less)), not);
        const mask = i32.sub(c32(0), bit);
        o.f.set(result, n.size === 64 ? i64.extendS(mask) : mask);
        o.f.set(ok, orderedScalar(o, n, a, b));
      },
      true,
    );
  }
  for (const { kind, n, packed } of KINDS) {
    if (packed) continue;
    for (const name of ["comi", "ucomi"]) {
      set.define(`${name}${kind}_xmm`, [n.size], "both", (o, _size, e) => {
        o.requireVector("sse");
        const b = floatSource(o, e, n, false);
        const a = o.let(getLow(o, L.REC.r1, n.size));
        o.f.if(
          orderedScalar(o, n, a, b),
          () => setOrder(o, n.eq(n.toFloat(a), n.toFloat(b)), c32(0), n.lt(n.toFloat(a), n.toFloat(b))),
          () => {
            const status = callSlow(o, opOf(name, kind), b, o.getXmm(L.REC.r1));
            const bit = (at: number): Ex => i32.and(i32.shrU(status, c32(8 + at)), c32(1));
            setOrder(o, bit(6), bit(2), bit(0));
          },
        );
        o.next();
      });
    }
  }
}

/** ZF, PF, CF (each 0 or 1); OF, SF and AF become 0. The lazy form is that of CpuState.setArithmetic. */
export function setOrder(o: Ops, zero: Ex, parity: Ex, carry: Ex): void {
  const z = o.let(zero);
  const aux = i32.and(i32.sub(c32(0), carry), c32(0xc0000000 | 0));
  o.f.store32(o.cpu, L.FLAG_AUX, o.let(i32.or(aux, i32.shl(i32.xor(z, parity), c32(8)))));
  o.f.store64(o.cpu, L.FLAG_RESULT, i64.extendU(i32.xor(z, c32(1))));
}

const EVEN_SINGLES = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const ODD_SINGLES = EVEN_SINGLES.map(lane => lane + 4);
const LOW_DOUBLES = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
const HIGH_DOUBLES = LOW_DOUBLES.map(lane => lane + 8);

/** HADD, HSUB, ADDSUB: additions of rearranged operands; a subtraction is the addition of the number with the other sign. */
function defineHorizontal(set: InstructionSet): void {
  for (const kind of KINDS) {
    if (!kind.packed) continue;
    const single = kind.n === SINGLE;
    const even = single ? EVEN_SINGLES : LOW_DOUBLES;
    const odd = single ? ODD_SINGLES : HIGH_DOUBLES;
    for (const name of ["add", "sub"] as const) {
      defineWithFast(set, `h${name}${kind.kind}`, kind, opOf(`h${name}`, kind.kind), (o, a, b, result, ok) => {
        const x = o.let(vshuffle(a, b, even));
        packedArithmetic(o, kind.n, name, x, o.let(vshuffle(a, b, odd)), result, ok);
      });
    }
    defineWithFast(set, `addsub${kind.kind}`, kind, opOf("addsub", kind.kind), (o, a, b, result, ok) => {
      const signs = single
        ? fill64(0, 0x80000000 | 0)
        : v128.bytes([0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0]);
      packedArithmetic(o, kind.n, "add", a, o.let(v128.xor(b, signs)), result, ok);
    });
  }
}

/** ROUND with all four modes worked out; bits 1:0 of the immediate choose, or MXCSR.RC when bit 2 is set. Bit 3 keeps the precision flag out. */
function roundScalar(o: Ops, n: Format, b: Ex, result: Ex, ok: Ex, imm: Ex): void {
  const x = o.let(n.toFloat(b));
  const double = n.size === 64;
  const mode = o.f.local(TY.i32);
  o.f.if(
    i32.and(imm, c32(4)),
    () => o.f.set(mode, i32.and(i32.shrU(mxcsr(o), c32(13)), c32(3))),
    () => o.f.set(mode, i32.and(imm, c32(3))),
  );
  const modes = double
    ? [scalar.f64Nearest, scalar.f64Floor, scalar.f64Ceil, scalar.f64Trunc]
    : [scalar.f32Nearest, scalar.f32Floor, scalar.f32Ceil, scalar.f32Trunc];
  for (const [i, round] of modes.entries()) o.f.if(i32.eq(mode, c32(i)), () => o.f.set(result, n.toBits(round(x))));
  const quiet = i32.or(i32.and(imm, c32(8)), inexactIsFree(o));
  const exact = double ? i64.eq(result, b) : i32.eq(result, b);
  const free = i32.ne(i32.or(quiet, exact), c32(0));
  o.f.set(ok, i32.and(free, usable(n, magnitude(o, n, b), true)));
}

/** Those without a fast path. */
function defineSlow(set: InstructionSet, name: string, n: Format, packed: boolean, op: number): void {
  set.define(`${name}_xmm`, [packed ? 128 : n.size], "both", (o, _size, e) => {
    o.requireVector("sse");
    slowToXmm(o, op, floatSource(o, e, n, packed), imm8(o));
    o.next();
  });
}

export function defineVectorFloat(set: InstructionSet): void {
  defineArithmetic(set);
  defineCompare(set);
  defineHorizontal(set);
  for (const kind of KINDS) {
    const op = opOf("round", kind.kind);
    if (kind.packed) defineSlow(set, `round${kind.kind}`, kind.n, true, op);
    else
      defineWithFast(
        set,
        `round${kind.kind}`,
        kind,
        op,
        (o, _a, b, result, ok, imm) => roundScalar(o, kind.n, b, result, ok, imm),
        true,
      );
  }
  defineSlow(set, "dpps", SINGLE, true, SSE_OP.DPPS);
  defineSlow(set, "dppd", DOUBLE, true, SSE_OP.DPPD);
  for (const [name, n, packed] of [
    ["rcpps", SINGLE, true],
    ["rcpss", SINGLE, false],
    ["rsqrtps", SINGLE, true],
    ["rsqrtss", SINGLE, false],
  ] as const)
    defineSlow(set, name, n, packed, SSE_OP[name.toUpperCase() as keyof typeof SSE_OP]);
}
