/**
 * Operands of vector instructions: XMM and MMX registers, memory with its alignment rule, and what every such instruction does first.
 * Intel SDM vol. 1, section 10.4 (alignment), 9.5.1 and vol. 3A, section 12.2 (MMX registers are the x87's: TOP = 0, all tags valid, exponent all ones).
 */
import { c32, type Ex, i32, i64, v128 } from "../../emit/expr.ts";
import { ES, X87_LAYOUT } from "../../fpu/x87-state.ts";
import * as L from "../../layout.ts";
import type { InstructionSet, Rm } from "../define.ts";
import type { Ops, Size } from "../ops.ts";
import { i64x2 } from "./sse-wasm.ts";

const STATUS = L.X87 + X87_LAYOUT.statusWord;
const TAGS = L.X87 + X87_LAYOUT.tagWord;
/** TOP in the x87 status word. */
const TOP_MASK = 0x3800;

/** A vector operation on two operands: `a` is the destination's old value, `b` the source; both are locals. */
export type Binary = (a: Ex, b: Ex, o: Ops) => Ex;

/** The 8-bit immediate, zero-extended. */
export const imm8 = (o: Ops): Ex => o.let(i32.and(o.field32(L.REC.imm), c32(0xff)));

/** #GP(0) unless the memory operand at `address` is aligned on 16 bytes. */
export function checkAligned(o: Ops, address: Ex): void {
  let low = i32.wrap(address);
  if (o.legacy) low = i32.add(low, i32.load(i32.add(o.cpu, o.field8(L.REC.seg)), L.SEG_BASE));
  o.f.if(i32.and(low, c32(15)), () => o.helper("gp0"));
}

/** The 16-byte source operand (register r2 or memory). */
export function xmmSource(o: Ops, e: Rm, aligned = true): Ex {
  if (!e.memory) return o.let(o.getXmm(L.REC.r2));
  const address = o.address();
  if (aligned) checkAligned(o, address);
  return o.load(o.segment(), address, 128);
}

/** Stores a local of 16 bytes to the operand that ModRM.rm names. */
export function xmmStore(o: Ops, e: Rm, value: Ex, aligned = true): void {
  if (!e.memory) {
    o.setXmm(L.REC.r2, value);
    return;
  }
  const address = o.address();
  if (aligned) checkAligned(o, address);
  o.store(o.segment(), address, 128, value);
}

/** The low `size` bits of the source, XMM register or memory, as an integer. Memory needs no alignment. */
export function xmmLow(o: Ops, e: Rm, size: Size): Ex {
  return e.memory ? o.load(o.segment(), o.address(), size) : o.let(getLow(o, L.REC.r2, size));
}

/** The low `size` bits of an XMM register. */
export const getLow = (o: Ops, field: number, size: Size): Ex => o.loadReg(o.regAddress(field), size, L.XMM);

/** Writes 32 or 64 bits of an XMM register (at byte `offset` of it) and leaves the rest. */
export function setLow(o: Ops, field: number, size: 32 | 64, value: Ex, offset = 0): void {
  o.f.storeSize(size / 8, o.regAddress(field), L.XMM + offset, value);
}

/** The low 64 or 32 bits of the source with zeros above, as a vector. */
export function xmmLowVector(o: Ops, e: Rm, size: 32 | 64): Ex {
  if (e.memory) return o.let(widen(o.load(o.segment(), o.address(), size), size));
  const address = o.regAddress(L.REC.r2);
  return o.let(size === 64 ? v128.load64zero(address, L.XMM) : v128.load32zero(address, L.XMM));
}

/** A 32- or 64-bit integer as the low lane of a vector of zeros. */
export const widen = (value: Ex, size: Size): Ex =>
  i64x2.replace(v128.zero(), 0, size === 64 ? value : i64.extendU(value));

// --- MMX -----------------------------------------------------------------------------------------------------------------------------------------

/** #UD, #NM, or what WAIT does when an unmasked x87 exception waits: #MF, or (CR0.NE = 0) the external signal, and the instruction runs. */
export function requireMmx(o: Ops): void {
  o.requireVector("mmx");
  o.f.if(i32.and(i32.load16u(o.cpu, STATUS), c32(ES)), () => {
    const wait = c32(o.rt.helperId("fwait"));
    o.f.store64(o.cpu, L.RIP, o.rip());
    const status = o.let(o.f.call(o.rt.helper, o.cpu, wait, o.rec));
    o.f.if(status, () => {
      o.f.store32(o.cpu, L.RECORD, o.rec);
      o.f.return(status);
    });
  });
}

/** What every MMX instruction does to the x87 (except EMMS). After the last access that can fault. */
export function enterMmx(o: Ops): void {
  o.f.store16(o.cpu, STATUS, i32.and(i32.load16u(o.cpu, STATUS), c32(0xffff & ~TOP_MASK)));
  o.f.store16(o.cpu, TAGS, c32(0));
}

/** An MMX register as 64 bits. */
export const getMmx64 = (o: Ops, field: number): Ex => i64.load(o.regAddress(field), L.X87);
/** An MMX register in the low half of a vector. */
export const getMmx = (o: Ops, field: number): Ex => v128.load64zero(o.regAddress(field), L.X87);
export function setMmx64(o: Ops, field: number, value: Ex): void {
  const address = o.let(o.regAddress(field));
  o.f.store64(address, L.X87, value);
  o.f.store16(address, L.X87 + 8, c32(0xffff));
}
export function setMmx(o: Ops, field: number, value: Ex): void {
  setMmx64(o, field, i64x2.extract(value, 0));
}

/** The MMX source operand in the low half of a vector; `size` 32: PUNPCKL reads only 4 bytes of memory. */
export function mmxSource(o: Ops, e: Rm, size: 32 | 64 = 64): Ex {
  if (!e.memory) return o.let(getMmx(o, L.REC.r2));
  return o.let(widen(o.load(o.segment(), o.address(), size), size));
}

// --- Shapes of definitions -----------------------------------------------------------------------------------------------------------------------

/** `name_xmm`: destination = operation(destination, source of 16 aligned bytes). */
export function defineXmm(set: InstructionSet, name: string, operation: Binary): void {
  set.define(`${name}_xmm`, [128], "both", (o, _size, e) => {
    o.requireVector("sse");
    const b = xmmSource(o, e);
    const a = o.let(o.getXmm(L.REC.r1));
    o.setXmm(L.REC.r1, o.let(operation(a, b, o)));
    o.next();
  });
}

/** `name_mmx`: the same on MMX registers; operands and result are the low halves. */
export function defineMmx(set: InstructionSet, name: string, operation: Binary, memorySize: 32 | 64 = 64): void {
  set.define(`${name}_mmx`, [64], "both", (o, _size, e) => {
    requireMmx(o);
    const b = mmxSource(o, e, memorySize);
    const a = o.let(getMmx(o, L.REC.r1));
    const result = o.let(operation(a, b, o));
    enterMmx(o);
    setMmx(o, L.REC.r1, result);
    o.next();
  });
}

/** Both. `mmx` where the low half of the wide operation is not the narrow operation. */
export function defineBoth(set: InstructionSet, name: string, operation: Binary, mmx: Binary = operation): void {
  defineXmm(set, name, operation);
  defineMmx(set, name, mmx);
}
