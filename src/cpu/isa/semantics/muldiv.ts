/**
 * Multiplication and division (Intel SDM vol. 2: MUL, IMUL, DIV, IDIV). SF, ZF, AF and PF are undefined after a multiplication: here they follow the low
 * half of the product. A division leaves all flags as they were.
 */
import { c32, c64, type Ex, i32, i64 } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import { GP_SIZES, type InstructionSet, imm, type Rm, WIDE_SIZES } from "../define.ts";
import { auxOf, setFlags, signed64 } from "../flags.ts";
import type { Ops, Size } from "../ops.ts";

/** High 64 bits of the unsigned product, by 32-bit halves. */
function highProduct(o: Ops, a: Ex, b: Ex): Ex {
  const low = (x: Ex): Ex => i64.and(x, c64(0xffffffff));
  const high = (x: Ex): Ex => i64.shrU(x, c64(32));
  const [al, ah, bl, bh] = [o.let(low(a)), o.let(high(a)), o.let(low(b)), o.let(high(b))];
  const mid1 = o.let(i64.add(i64.mul(ah, bl), high(i64.mul(al, bl))));
  const mid2 = o.let(i64.add(i64.mul(al, bh), low(mid1)));
  return o.let(i64.add(i64.add(i64.mul(ah, bh), high(mid1)), high(mid2)));
}
/** High 64 bits of the signed product. */
function highSigned(o: Ops, a: Ex, b: Ex): Ex {
  const correction = i64.add(i64.and(i64.shrS(a, c64(63)), b), i64.and(i64.shrS(b, c64(63)), a));
  return o.let(i64.sub(highProduct(o, a, b), correction));
}

const RAX = 0;
const RDX = 2;

function setProductFlags(o: Ops, size: Size, low: Ex, overflow: Ex): void {
  const f = o.let(overflow);
  setFlags(o, size, low, auxOf(o, f, f));
}

/** One-operand MUL and IMUL: RDX:RAX (or AX) = RAX × E. */
function multiply(o: Ops, size: Size, e: Rm, signed: boolean): void {
  const b = e.read();
  const a = o.let(o.getGpr(RAX, size));
  if (size === 64) {
    const low = o.let(i64.mul(a, b));
    const high = signed ? highSigned(o, a, b) : highProduct(o, a, b);
    o.setGpr(RAX, 64, low);
    o.setGpr(RDX, 64, high);
    setProductFlags(o, 64, low, signed ? i64.ne(high, i64.shrS(low, c64(63))) : i64.ne(high, c64(0)));
  } else {
    const wide = signed ? i64.mul(signed64(a, size), signed64(b, size)) : i64.mul(i64.extendU(a), i64.extendU(b));
    const product = o.let(wide);
    const low = o.let(i32.wrap(product));
    if (size === 8) o.setGpr(RAX, 16, low);
    else {
      o.setGpr(RAX, size, low);
      o.setGpr(RDX, size, o.let(i32.wrap(i64.shrU(product, c64(size)))));
    }
    const fits = signed ? i64.eq(product, signed64(low, size)) : i64.eqz(i64.shrU(product, c64(size)));
    setProductFlags(o, size, low, i32.eqz(fits));
  }
  o.next();
}

/** Two- and three-operand IMUL: the low half only. */
function multiplyLow(o: Ops, size: Size, a: Ex, b: Ex): void {
  if (size === 64) {
    const low = o.let(i64.mul(a, b));
    const high = highSigned(o, a, b);
    o.setReg(L.REC.r1, 64, low);
    setProductFlags(o, 64, low, i64.ne(high, i64.shrS(low, c64(63))));
  } else {
    const product = o.let(i64.mul(signed64(a, size), signed64(b, size)));
    const low = o.let(i32.wrap(product));
    o.setReg(L.REC.r1, size, low);
    setProductFlags(o, size, low, i64.ne(product, signed64(low, size)));
  }
  o.next();
}

const divideError = (o: Ops): void => o.helper("divide_error");

/** DIV and IDIV of 8, 16 and 32 bits: the dividend fits 64 bits. */
function divideSmall(o: Ops, size: Size, e: Rm, signed: boolean): void {
  const divisor = e.read();
  o.f.if(i32.eqz(divisor), () => divideError(o));
  const low = o.let(o.getGpr(RAX, size === 8 ? 16 : size));
  const dividend = o.let(
    size === 8 ? (signed ? i64.extendS(i32.extend16s(low)) : i64.extendU(low)) : joinHalves(o, size, low, signed),
  );
  const by = o.let(signed ? signed64(divisor, size) : i64.extendU(divisor));
  if (signed && size === 32) {
    // The only quotient that does not fit an i64 would trap in WebAssembly.
    o.f.if(i32.and(i64.eq(dividend, c64(-(2n ** 63n))), i64.eq(by, c64(-1))), () => divideError(o));
  }
  const quotient = o.let(signed ? i64.divS(dividend, by) : i64.divU(dividend, by));
  const short = o.let(i32.wrap(quotient));
  const fits = signed ? i64.eq(quotient, signed64(short, size)) : i64.eqz(i64.shrU(quotient, c64(size)));
  o.f.if(i32.eqz(fits), () => divideError(o));
  const remainder = o.let(i32.wrap(signed ? i64.remS(dividend, by) : i64.remU(dividend, by)));
  if (size === 8) {
    o.setGpr(RAX, 8, short);
    o.setGpr(RAX, 8, remainder, 1);
  } else {
    o.setGpr(RAX, size, short);
    o.setGpr(RDX, size, remainder);
  }
  o.next();
}
function joinHalves(o: Ops, size: Size, low: Ex, signed: boolean): Ex {
  const high = o.getGpr(RDX, size);
  if (size === 32) return i64.or(i64.shl(i64.extendU(high), c64(32)), i64.extendU(low));
  const joined = i32.or(i32.shl(high, c32(16)), low);
  return signed ? i64.extendS(joined) : i64.extendU(joined);
}

/** 128 by 64 bits: inline when the dividend fits 64 bits, else in TypeScript. */
function divide64(o: Ops, e: Rm, signed: boolean): void {
  const divisor = e.read(64);
  o.f.if(i64.eqz(divisor), () => divideError(o));
  const low = o.let(o.getGpr(RAX, 64));
  const high = o.let(o.getGpr(RDX, 64));
  const simple = signed
    ? i32.and(
        i64.eq(high, i64.shrS(low, c64(63))),
        i32.eqz(i32.and(i64.eq(low, c64(-(2n ** 63n))), i64.eq(divisor, c64(-1)))),
      )
    : i64.eqz(high);
  o.f.if(i32.eqz(simple), () => {
    o.f.store64(o.cpu, L.ARG0, divisor);
    o.helper(signed ? "idiv128" : "div128");
  });
  o.setGpr(RAX, 64, o.let(signed ? i64.divS(low, divisor) : i64.divU(low, divisor)));
  o.setGpr(RDX, 64, o.let(signed ? i64.remS(low, divisor) : i64.remU(low, divisor)));
  o.next();
}

export function defineMulDiv(set: InstructionSet): void {
  set.define("mul_E", GP_SIZES, "both", (o, size, e) => multiply(o, size, e, false));
  set.define("imul_E", GP_SIZES, "both", (o, size, e) => multiply(o, size, e, true));
  set.define("imul_GE", WIDE_SIZES, "both", (o, size, e) => {
    const b = e.read();
    multiplyLow(o, size, o.let(o.getReg(L.REC.r1, size)), b);
  });
  set.define("imul_GEI", WIDE_SIZES, "both", (o, size, e) => multiplyLow(o, size, e.read(), imm(o, size)));
  for (const signed of [false, true]) {
    set.define(signed ? "idiv_E" : "div_E", GP_SIZES, "both", (o, size, e) =>
      size === 64 ? divide64(o, e, signed) : divideSmall(o, size, e, signed),
    );
  }
}
