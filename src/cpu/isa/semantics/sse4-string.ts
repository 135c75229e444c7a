/**
 * The string comparisons of SSE4.2 (Intel SDM vol. 2, section 4.1: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM). Memory operands need no alignment.
 *
 * Bits of the immediate: 0 words instead of bytes; 1 signed; 3:2 equal any, ranges, equal each, equal ordered; 5:4 polarity; 6 last index or lane masks.
 * Results per element are kept as the bits of an i32, element 0 in bit 0.
 */
import { c32, c64, type Ex, i32, i64, select, TY, v128 } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import type { InstructionSet } from "../define.ts";
import type { Ops, Size } from "../ops.ts";
import { imm8, widen, xmmSource } from "./sse-operands.ts";
import { i8x16, i16x8, words } from "./sse-wasm.ts";

/** The elements of one width. */
const ELEMENTS = {
  1: { ...i8x16, count: 16, load: i32.load8u, signBit: 0x80 },
  2: { ...i16x8, count: 8, load: i32.load16u, signBit: 0x8000 },
} as const;
type Width = keyof typeof ELEMENTS;

/** One comparison in the making: `a` is the first operand (the set, ranges or needle), `b` the second (the text). */
class Comparison {
  readonly o: Ops;
  readonly imm: Ex;
  readonly a: Ex;
  readonly b: Ex;
  /** Elements per operand. */
  readonly count: Ex;
  /** Valid elements of `a` and `b`; locals. */
  readonly lengthA: Ex;
  readonly lengthB: Ex;
  /** One bit per element; a local. */
  readonly result: Ex;

  constructor(o: Ops, a: Ex, b: Ex) {
    this.o = o;
    this.imm = imm8(o);
    this.a = a;
    this.b = b;
    this.count = o.let(i32.shrU(c32(16), i32.and(this.imm, c32(1))));
    this.lengthA = o.f.local(TY.i32);
    this.lengthB = o.f.local(TY.i32);
    this.result = o.f.local(TY.i32);
    o.f.storeV128(o.cpu, L.SCRATCH, a);
  }

  /** Runs `body` for the width that the immediate asks for. */
  byWidth(body: (width: Width) => void): void {
    this.o.f.if(
      i32.and(this.imm, c32(1)),
      () => body(2),
      () => body(1),
    );
  }

  /** Lengths end at the first zero element. */
  implicitLengths(): void {
    this.byWidth(width => {
      const t = ELEMENTS[width];
      const zeros = (v: Ex): Ex => i32.ctz(i32.or(t.bitmask(t.eq(v, v128.zero())), c32(1 << t.count)));
      this.o.f.set(this.lengthA, zeros(this.a));
      this.o.f.set(this.lengthB, zeros(this.b));
    });
  }
  /** Lengths are the magnitudes of rAX and rDX, at most the number of elements. */
  explicitLengths(size: Size): void {
    const length = (register: number): Ex => {
      const value = this.o.let(signExtended(this.o.getGpr(register, size), size));
      const sign = i64.shrS(value, c64(63));
      const size64 = this.o.let(i64.sub(i64.xor(value, sign), sign));
      const limit = i64.extendU(this.count);
      return i32.wrap(select(i64.ltU(size64, limit), size64, limit));
    };
    this.o.f.set(this.lengthA, length(L.REG.rax));
    this.o.f.set(this.lengthB, length(L.REG.rdx));
  }

  /** Bits below a length. */
  valid(length: Ex): Ex {
    return i32.sub(i32.shl(c32(1), length), c32(1));
  }

  /** Element `index` (i32) of `a` in all lanes. */
  broadcast(width: Width, index: Ex, flip: Ex | null): Ex {
    const t = ELEMENTS[width];
    const value = t.load(i32.add(this.o.cpu, i32.mul(index, c32(width))), L.SCRATCH);
    return t.splat(flip ? i32.xor(value, flip) : value);
  }
  /** Runs `body` with a counter from 0 in steps of `step`, while counter + `step` ≤ lengthA. */
  overA(step: number, body: (index: Ex) => void): void {
    const { f } = this.o;
    const index = f.local(TY.i32);
    f.set(index, c32(0));
    f.block(leave => {
      f.loop(again => {
        leave(i32.gtU(i32.add(index, c32(step)), this.lengthA));
        body(index);
        f.set(index, i32.add(index, c32(step)));
        again();
      });
    });
  }

  equalAny(width: Width): void {
    const t = ELEMENTS[width];
    this.overA(1, index => {
      const equal = t.bitmask(t.eq(this.broadcast(width, index, null), this.b));
      this.o.f.set(this.result, i32.or(this.result, equal));
    });
    this.o.f.set(this.result, i32.and(this.result, this.valid(this.lengthB)));
  }

  /** Pairs of `a` are lower and upper bounds. Unsigned elements are compared as signed ones with the top bit flipped. */
  ranges(width: Width): void {
    const { o } = this;
    const t = ELEMENTS[width];
    const flip = o.let(select(i32.and(this.imm, c32(2)), c32(0), c32(t.signBit)));
    const text = o.let(v128.xor(this.b, t.splat(flip)));
    this.overA(2, index => {
      const above = t.geS(text, this.broadcast(width, index, flip));
      const below = t.leS(text, this.broadcast(width, i32.add(index, c32(1)), flip));
      o.f.set(this.result, i32.or(this.result, t.bitmask(v128.and(above, below))));
    });
    o.f.set(this.result, i32.and(this.result, this.valid(this.lengthB)));
  }

  /** Elements at the same place; two invalid ones are equal. */
  equalEach(width: Width): void {
    const { o } = this;
    const t = ELEMENTS[width];
    const a = o.let(this.valid(this.lengthA));
    const b = o.let(this.valid(this.lengthB));
    const equal = i32.and(t.bitmask(t.eq(this.a, this.b)), i32.and(a, b));
    const neither = i32.xor(i32.or(a, b), c32((1 << t.count) - 1));
    o.f.set(this.result, i32.or(equal, neither));
  }

  /** Places of `b` where `a` begins; what lies behind the last element of `b` counts as a match. */
  equalOrdered(width: Width): void {
    const { o } = this;
    const t = ELEMENTS[width];
    const full = c32((1 << t.count) - 1);
    const valid = o.let(this.valid(this.lengthB));
    o.f.set(this.result, full);
    this.overA(1, index => {
      const equal = i32.and(t.bitmask(t.eq(this.broadcast(width, index, null), this.b)), valid);
      const beyond = i32.not(i32.shrU(full, index));
      o.f.set(this.result, i32.and(this.result, i32.or(i32.shrU(equal, index), beyond)));
    });
    o.f.set(this.result, i32.and(this.result, full));
  }

  /** Aggregation, then polarity. */
  compare(): void {
    const { o } = this;
    o.f.set(this.result, c32(0));
    const kind = o.let(i32.and(i32.shrU(this.imm, c32(2)), c32(3)));
    this.byWidth(width => {
      const cases = [this.equalAny, this.ranges, this.equalEach, this.equalOrdered];
      for (const [i, run] of cases.entries()) o.f.if(i32.eq(kind, c32(i)), () => run.call(this, width));
    });
    o.f.if(i32.and(this.imm, c32(0x10)), () => {
      const elements = select(i32.and(this.imm, c32(0x20)), this.lengthB, this.count);
      o.f.set(this.result, i32.xor(this.result, this.valid(elements)));
    });
  }

  /** CF: any; ZF: `b` ends here; SF: `a` ends here; OF: element 0; AF and PF 0. The lazy form is that of CpuState.setArithmetic. */
  setFlags(): void {
    const { o } = this;
    const carry = o.let(i32.ne(this.result, c32(0)));
    const zero = o.let(i32.ltU(this.lengthB, this.count));
    const overflow = i32.and(this.result, c32(1));
    const top = i32.or(i32.shl(carry, c32(31)), i32.shl(i32.xor(carry, overflow), c32(30)));
    const sign = i32.ltU(this.lengthA, this.count);
    o.f.store32(o.cpu, L.FLAG_AUX, o.let(i32.or(i32.or(top, sign), i32.shl(zero, c32(8)))));
    o.f.store64(o.cpu, L.FLAG_RESULT, i64.extendU(i32.xor(zero, c32(1))));
  }

  /** Index of the first or last result, the number of elements if there is none. */
  index(): Ex {
    const first = i32.ctz(i32.or(this.result, i32.shl(c32(1), this.count)));
    const last = select(this.result, i32.sub(c32(31), i32.clz(this.result)), this.count);
    return this.o.let(select(i32.and(this.imm, c32(0x40)), last, first));
  }
  /** The result as bits, or as lane masks, in XMM0. */
  storeMask(): void {
    const { o } = this;
    const put = (value: Ex): void => o.f.storeV128(o.cpu, L.XMM, o.let(value));
    o.f.if(
      i32.and(this.imm, c32(0x40)),
      () =>
        this.byWidth(width => {
          const spread = o.let(i16x8.splat(this.result));
          const wordBits = words(1, 2, 4, 8, 16, 32, 64, 128);
          const byteBits = v128.bytes([1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128]);
          const halves = v128.bytes([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
          if (width === 2) put(i16x8.eq(v128.and(spread, wordBits), wordBits));
          else put(i8x16.eq(v128.and(i8x16.swizzle(spread, halves), byteBits), byteBits));
        }),
      () => put(widen(this.result, 32)),
    );
  }
}

const signExtended = (value: Ex, size: Size): Ex => (size === 64 ? value : i64.extendS(value));

export function defineSse4Strings(set: InstructionSet): void {
  for (const explicit of [true, false]) {
    for (const index of [true, false]) {
      const name = `pcmp${explicit ? "e" : "i"}str${index ? "i" : "m"}_xmm`;
      set.define(name, explicit ? [32, 64] : [32], "both", (o, size, e) => {
        o.requireVector("sse");
        const b = xmmSource(o, e, false);
        const comparison = new Comparison(o, o.let(o.getXmm(L.REC.r1)), b);
        if (explicit) comparison.explicitLengths(size);
        else comparison.implicitLengths();
        comparison.compare();
        comparison.setFlags();
        if (index) o.setGpr(L.REG.rcx, 32, comparison.index());
        else comparison.storeMask();
        o.next();
      });
    }
  }
}
