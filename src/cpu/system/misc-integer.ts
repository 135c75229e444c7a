/**
 * Integer instructions that are too rare for generated code: decimal adjustments, SALC, MOVBE, CMPXCHG8B, CMPXCHG16B, BOUND, ENTER. Intel SDM vol. 2.
 * Undefined flags: OF of the decimal adjustments is cleared, and AAA and AAS set SF, ZF and PF by AL.
 */
import { type CpuContext, DONE, EXC, type HelperTable, raise } from "../context.ts";
import * as L from "../layout.ts";
import { type CpuState, FLAG } from "../state.ts";
import type { MemoryPort, TlbPort } from "./helper-ports.ts";
import { HelperStack } from "./misc-stack.ts";
import { operandSize, writeRegister } from "./operands.ts";

const RAX = L.GPR;
const RBX = L.GPR + L.REG.rbx * 8;
const RCX = L.GPR + L.REG.rcx * 8;
const RDX = L.GPR + L.REG.rdx * 8;
const RBP = L.GPR + L.REG.rbp * 8;
const RSP = L.GPR + L.REG.rsp * 8;

const bitCount = (byte: number): number => {
  let n = 0;
  for (; byte !== 0; byte >>>= 1) n += byte & 1;
  return n;
};
/** SF, ZF and PF of a byte. */
const byteFlags = (al: number): number =>
  (al & 0x80 ? FLAG.sf : 0) | (al === 0 ? FLAG.zf : 0) | (bitCount(al) & 1 ? 0 : FLAG.pf);

/** Decimal adjustments work on AX and the flags. */
class Decimal {
  readonly #s: CpuState;
  constructor(s: CpuState) {
    this.#s = s;
  }
  get #ax(): number {
    return this.#s.u16[(this.#s.base + RAX) >>> 1]!;
  }
  set #ax(value: number) {
    this.#s.u16[(this.#s.base + RAX) >>> 1] = value;
  }
  #finish(ax: number, carries: number): number {
    this.#ax = ax;
    this.#s.setArithmetic(carries | byteFlags(ax & 0xff));
    return DONE.next;
  }

  /** DAA (sign 1) and DAS (sign −1). */
  packed(sign: number): number {
    const flags = this.#s.eflags;
    const ax = this.#ax;
    const old = ax & 0xff;
    const carry = (flags & FLAG.cf) !== 0;
    let al = old;
    let carries = 0;
    if ((old & 0xf) > 9 || flags & FLAG.af) {
      al += sign * 6;
      // DAS keeps the borrow of this step even when the next is not done.
      if (carry || (sign < 0 && al < 0)) carries |= FLAG.cf;
      carries |= FLAG.af;
    }
    if (old > 0x99 || carry) {
      al += sign * 0x60;
      carries |= FLAG.cf;
    } else if (sign > 0) carries &= ~FLAG.cf;
    return this.#finish((ax & 0xff00) | (al & 0xff), carries);
  }

  /** AAA (sign 1) and AAS (sign −1): AX ± 106H when a digit overflowed. */
  unpacked(sign: number): number {
    const flags = this.#s.eflags;
    const ax = this.#ax;
    const adjust = (ax & 0xf) > 9 || (flags & FLAG.af) !== 0;
    let result = ax;
    if (adjust) result = sign > 0 ? ax + 0x106 : ((ax - 6) & 0xffff) - 0x100;
    return this.#finish(result & 0xff0f, adjust ? FLAG.af | FLAG.cf : 0);
  }

  multiply(base: number): number {
    if (base === 0) raise(EXC.de);
    const al = this.#ax & 0xff;
    return this.#finish((Math.floor(al / base) << 8) | (al % base), 0);
  }

  divide(base: number): number {
    const ax = this.#ax;
    return this.#finish(((ax & 0xff) + (ax >>> 8) * base) & 0xff, 0);
  }
}

function decimalHelpers(ctx: CpuContext): HelperTable {
  const s = ctx.state;
  const decimal = new Decimal(s);
  return {
    daa: () => decimal.packed(1),
    das: () => decimal.packed(-1),
    aaa: () => decimal.unpacked(1),
    aas: () => decimal.unpacked(-1),
    aam: record => decimal.multiply(s.u8[record + L.REC.imm]!),
    aad: record => decimal.divide(s.u8[record + L.REC.imm]!),
    salc: () => {
      s.u8[s.base + RAX] = s.int(L.FLAG_AUX) < 0 ? 0xff : 0;
      return DONE.next;
    },
  };
}

function exchangeHelpers(ctx: CpuContext, memory: MemoryPort): HelperTable {
  const s = ctx.state;
  const setZero = (zero: boolean): number => {
    const flags = s.eflags;
    s.setArithmetic(zero ? flags | FLAG.zf : flags & ~FLAG.zf);
    return DONE.next;
  };
  return {
    /** The destination is written in any case. */
    cmpxchg8b: record => {
      if (memory.slowRmw(s.u8[record + L.REC.seg]! >>> 3, 8) !== 0) memory.throwFault();
      const equal = s.lo(L.SLOW_DATA) === s.lo(RAX) && s.hi(L.SLOW_DATA) === s.lo(RDX);
      if (equal) s.set64(L.SLOW_DATA, s.lo(RBX), s.lo(RCX));
      else {
        s.set64(RAX, s.lo(L.SLOW_DATA), 0);
        s.set64(RDX, s.hi(L.SLOW_DATA), 0);
      }
      memory.commitRmw();
      return setZero(equal);
    },
    cmpxchg16b: record => {
      if (s.lo(L.SLOW_ADDRESS) & 15) raise(EXC.gp, 0);
      if (memory.slowRmw(s.u8[record + L.REC.seg]! >>> 3, 16) !== 0) memory.throwFault();
      const high = L.SLOW_DATA + 8;
      const equal =
        s.lo(L.SLOW_DATA) === s.lo(RAX) &&
        s.hi(L.SLOW_DATA) === s.hi(RAX) &&
        s.lo(high) === s.lo(RDX) &&
        s.hi(high) === s.hi(RDX);
      if (equal) {
        s.set64(L.SLOW_DATA, s.lo(RBX), s.hi(RBX));
        s.set64(high, s.lo(RCX), s.hi(RCX));
      } else {
        s.set64(RAX, s.lo(L.SLOW_DATA), s.hi(L.SLOW_DATA));
        s.set64(RDX, s.lo(high), s.hi(high));
      }
      memory.commitRmw();
      return setZero(equal);
    },
  };
}

const swap32 = (v: number): number => ((v & 0xff) << 24) | ((v & 0xff00) << 8) | ((v >>> 8) & 0xff00) | (v >>> 24);

function moveHelpers(ctx: CpuContext, memory: MemoryPort): HelperTable {
  const s = ctx.state;
  const check = (): void => {
    if (!ctx.model.has("movbe")) raise(EXC.ud);
  };
  /** Reverses the bytes of memory.lo and hi. */
  const swap = (size: number): void => {
    const { lo, hi } = memory;
    if (size === 8) {
      memory.lo = swap32(hi) >>> 0;
      memory.hi = swap32(lo) >>> 0;
    } else if (size === 4) memory.lo = swap32(lo) >>> 0;
    else memory.lo = ((lo & 0xff) << 8) | ((lo >>> 8) & 0xff);
  };
  return {
    movbe_GE: record => {
      check();
      const size = operandSize(s, record);
      memory.loadOperand(record, size);
      swap(size);
      writeRegister(s, s.u8[record + L.REC.r1]!, size, memory.lo, memory.hi);
      return DONE.next;
    },
    movbe_EG: record => {
      check();
      const size = operandSize(s, record);
      const from = s.u8[record + L.REC.r1]!;
      memory.lo = s.lo(from);
      memory.hi = s.hi(from);
      swap(size);
      memory.storeOperand(record, size);
      return DONE.next;
    },
    /** Signed index in a register, signed bounds in memory: lower, then upper. */
    bound: record => {
      const size = operandSize(s, record);
      const register = s.u8[record + L.REC.r1]!;
      memory.loadOperand(record, size * 2);
      const shift = size === 2 ? 16 : 0;
      const index = (s.int(register) << shift) >> shift;
      const lower = size === 2 ? (memory.lo << 16) >> 16 : memory.lo | 0;
      const upper = size === 2 ? memory.lo >> 16 : memory.hi | 0;
      if (index < lower || index > upper) raise(EXC.br);
      return DONE.next;
    },
  };
}

/** ENTER: saves rBP, copies `level` − 1 frame pointers, makes room. rSP and rBP change only when nothing can fault any more. */
function enter(s: CpuState, memory: MemoryPort, stack: HelperStack, record: number): number {
  const size = operandSize(s, record);
  const imm = s.lo(record - s.base + L.REC.imm);
  const level = (imm >>> 16) & 31;
  let depth = -size;
  stack.write(depth, size, s.lo(RBP), s.hi(RBP));
  // The frame pointer: rSP after the first push, with operand size 32 all of ESP even where the stack is one of 16 bits.
  stack.address(RSP, depth);
  const above = stack.width === 2 ? s.lo(RSP) & 0xffff0000 : 0;
  const low = (s.lo(L.SLOW_ADDRESS) | above) >>> 0;
  const high = s.hi(L.SLOW_ADDRESS);
  for (let i = 1; i < level; i++) {
    stack.address(RBP, -i * size);
    memory.loadAt(L.SEG.ss, size);
    depth -= size;
    stack.write(depth, size, memory.lo, memory.hi);
  }
  if (level > 0) {
    depth -= size;
    stack.write(depth, size, low, high);
  }
  depth -= imm & 0xffff;
  stack.address(RSP, depth);
  if (memory.probeWrite(L.SEG.ss, size) !== 0) memory.throwFault();
  const width = stack.width;
  writeRegister(s, RBP, width === 8 ? 8 : size, low, high);
  stack.move(depth);
  return DONE.next;
}

export function integerHelpers(ctx: CpuContext, tlb: TlbPort, memory: MemoryPort): HelperTable {
  const s = ctx.state;
  const stack = new HelperStack(s, tlb, memory);
  return {
    ...decimalHelpers(ctx),
    ...exchangeHelpers(ctx, memory),
    ...moveHelpers(ctx, memory),
    enter: record => enter(s, memory, stack, record),
  };
}
