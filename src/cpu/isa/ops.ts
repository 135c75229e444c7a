/**
 * The abstract emitter: the words in which the meaning of an instruction is written, once. A back end says where a field of the decoded instruction comes
 * from (the interpreter reads the record, a translator knows the constant) and how control goes on; everything else is here: operands, memory through the
 * TLB, lazy flags.
 *
 * Values of 8, 16 and 32 bits are i32 (8 and 16 zero-extended), of 64 bits i64, of 128 bits v128. An instruction must make its last access that can fault
 * before it changes anything: after a fault it is restarted.
 */
import { c32, c64, type Ex, i32, i64, TY, type Ty, v128 } from "../emit/expr.ts";
import type { FunctionBuilder, FunctionRef } from "../emit/wasm.ts";
import * as L from "../layout.ts";
import { tlbEntry } from "./tlb-entry.ts";

export type Size = 8 | 16 | 32 | 64 | 128;

/** Functions that generated code calls. */
export type Runtime = {
  readonly handlerType: number;
  readonly slowLoad: FunctionRef;
  readonly slowStore: FunctionRef;
  readonly slowRmw: FunctionRef;
  readonly commitRmw: FunctionRef;
  readonly probe: FunctionRef;
  readonly helper: FunctionRef;
  /** (cpu, operation of cpu/fpu/sse.ts, immediate): works on SCRATCH (destination) and SCRATCH + 16 (source); not 0: exception prepared. */
  readonly sseSlow: FunctionRef;
  /** Delivers an event in 64-bit mode if that is simple; see semantics/long-mode.ts. */
  readonly deliver: FunctionRef;
  /** (cpu, record): the instruction raised a fault; see semantics/long-mode.ts. */
  readonly fault: FunctionRef;
  /** (cpu, event, value, CPL before): generated code delivered or returned by itself; trace and TLB banks follow. */
  readonly told: FunctionRef;
  /** (cpu, port, width): the value. */
  readonly portIn: FunctionRef;
  /** (cpu, port, width, value): not 0 when the map of physical memory changed. */
  readonly portOut: FunctionRef;
  readonly goto64: FunctionRef;
  readonly gotoLegacy: FunctionRef;
  readonly helperId: (name: string) => number;
};

export const tyOf = (size: Size): Ty => (size === 128 ? TY.v128 : size === 64 ? TY.i64 : TY.i32);
/** Constant of the type that values of `size` have. */
export const k = (size: Size, value: number | bigint): Ex =>
  size === 64 ? c64(value) : c32(Number(BigInt.asIntN(32, BigInt(value))));

/** A value that can be read and written once each, in this order. */
export type Operand = { readonly get: () => Ex; readonly set: (value: Ex) => void };

/** A read–modify–write in memory: the old value, and what stores the new one. */
export type Rmw = { readonly value: Ex; readonly commit: (value: Ex) => void };

export abstract class Ops {
  readonly f: FunctionBuilder;
  readonly rt: Runtime;
  readonly cpu: Ex;
  readonly rec: Ex;
  /** 16- and 32-bit code: segmented addresses, 32-bit linear addresses. */
  readonly legacy: boolean;

  constructor(f: FunctionBuilder, rt: Runtime, legacy: boolean) {
    this.f = f;
    this.rt = rt;
    this.cpu = f.param(0);
    this.rec = f.param(1);
    this.legacy = legacy;
  }

  /** Fields of the decoded instruction. */
  abstract field8(offset: number): Ex;
  abstract field16(offset: number): Ex;
  abstract field32(offset: number): Ex;
  abstract field64(offset: number): Ex;
  /** Goes on behind this instruction. */
  abstract next(): void;
  /** Goes on with the next record as part of the same instruction. */
  abstract continueWithin(): void;
  /** Runs this instruction again: it counts as retired, RIP stays. */
  abstract repeat(): void;
  /** Takes a direct branch inside the page, to the record known as this one's target; `rip` is its address, wrapped. */
  abstract jumpTarget(rip: Ex): void;
  /** Goes on at a record that is known always. */
  abstract follow(): void;

  let(value: Ex): Ex {
    return this.f.let(value);
  }

  // --- registers -------------------------------------------------------------------------------------------------------------------------------

  /** Address of the register whose byte offset is in the given record field. */
  regAddress(field: number): Ex {
    return i32.add(this.cpu, this.field8(field));
  }
  loadReg(address: Ex, size: Size, offset = 0): Ex {
    if (size === 8) return i32.load8u(address, offset);
    if (size === 16) return i32.load16u(address, offset);
    if (size === 32) return i32.load(address, offset);
    return i64.load(address, offset);
  }
  /** 32-bit writes clear the upper half; 8- and 16-bit writes leave the rest. */
  storeReg(address: Ex, size: Size, value: Ex, offset = 0): void {
    if (size === 8) this.f.store8(address, offset, value);
    else if (size === 16) this.f.store16(address, offset, value);
    else if (size === 32) this.f.store64(address, offset, i64.extendU(value));
    else this.f.store64(address, offset, value);
  }
  getReg(field: number, size: Size): Ex {
    return this.loadReg(this.regAddress(field), size);
  }
  setReg(field: number, size: Size, value: Ex): void {
    this.storeReg(this.regAddress(field), size, value);
  }
  /** A register by number (RAX 0 …); `high` is the second byte (AH). */
  getGpr(n: number, size: Size, high = 0): Ex {
    return this.loadReg(this.cpu, size, L.GPR + n * 8 + high);
  }
  setGpr(n: number, size: Size, value: Ex, high = 0): void {
    this.storeReg(this.cpu, size, value, L.GPR + n * 8 + high);
  }
  getXmm(field: number): Ex {
    return v128.load(this.regAddress(field), L.XMM);
  }
  setXmm(field: number, value: Ex): void {
    this.f.storeV128(this.regAddress(field), L.XMM, value);
  }

  // --- memory ----------------------------------------------------------------------------------------------------------------------------------

  /** Number of the segment of the memory operand. */
  segment(): Ex {
    return i32.shrU(this.field8(L.REC.seg), c32(3));
  }

  /** Effective address of the memory operand: in 64-bit mode the linear address, else the offset in its segment (zero-extended). */
  address(): Ex {
    return this.let(
      this.legacy
        ? i64.extendU(this.offset32())
        : i64.add(this.offset64(), i64.load(i32.add(this.cpu, this.field8(L.REC.seg)), L.SEG_BASE)),
    );
  }
  /** Offset of the memory operand, 64-bit mode (what LEA gives). */
  offset64(): Ex {
    const base = i64.load(this.regAddress(L.REC.r2));
    const index = i64.load(this.regAddress(L.REC.index));
    const scaled = i64.shl(index, i64.extendU(this.field8(L.REC.scale)));
    return i64.add(i64.add(base, scaled), i64.extendS(this.field32(L.REC.disp)));
  }
  /** Offset of the memory operand, legacy modes. */
  offset32(): Ex {
    const base = i32.load(this.regAddress(L.REC.r2));
    const index = i32.load(this.regAddress(L.REC.index));
    const sum = i32.add(i32.add(base, i32.shl(index, this.field8(L.REC.scale))), this.field32(L.REC.disp));
    return i32.and(sum, this.field32(L.REC.mask));
  }

  /** Condition that `bytes` at `address` can be accessed directly, and the host address if so. */
  #lookup(segment: Ex, address: Ex, bytes: number, write: boolean): { hit: Ex; host: Ex } {
    return this.span(segment, address, c64(bytes - 1), write);
  }

  /** Whether the bytes from `address` to `address + more` lie in one page of RAM that may be accessed at once, and where. */
  span(segment: Ex, address: Ex, more: Ex, write: boolean): { hit: Ex; host: Ex } {
    const plus = (a: Ex): Ex => (more.k === 0n ? a : i64.add(a, more));
    const slotOf = (offset: number): Ex => i64.load(i32.add(this.cpu, i32.shl(segment, c32(3))), offset);
    const linear = this.legacy ? this.let(i64.and(i64.add(address, slotOf(L.SEG_BASE)), c64(0xffffffff))) : address;
    const entry = tlbEntry(this.f, i32.load(this.cpu, L.DTLB_BASE), linear);
    const tag = i64.load(entry, write ? L.DTLB.tagWrite : L.DTLB.tagRead);
    let hit = i64.eq(tag, i64.and(plus(linear), c64(-4096)));
    if (this.legacy) hit = i32.and(hit, i64.leS(plus(address), slotOf(write ? L.SEG_WRITE_TOP : L.SEG_READ_TOP)));
    return { hit, host: i32.add(i32.wrap(linear), i32.load(entry, L.DTLB.addend)) };
  }

  /** Not 0 when the byte at `address` is known to be RAM that may be read. */
  isRam(segment: Ex, address: Ex): Ex {
    return this.#lookup(segment, address, 1, false).hit;
  }

  /** Loads `size` bits. */
  load(segment: Ex, address: Ex, size: Size): Ex {
    const bytes = size / 8;
    const result = this.f.local(tyOf(size));
    const { hit, host } = this.#lookup(segment, address, bytes, false);
    this.f.if(
      hit,
      () => this.f.set(result, this.#loadHost(host, 0, size)),
      () => {
        this.f.store64(this.cpu, L.SLOW_ADDRESS, address);
        this.f.if(this.f.call(this.rt.slowLoad, this.cpu, segment, c32(bytes)), () => this.fault());
        this.f.set(result, this.#loadHost(this.cpu, L.SLOW_DATA, size));
      },
    );
    return result;
  }
  #loadHost(host: Ex, offset: number, size: Size): Ex {
    return size === 128 ? v128.load(host, offset) : this.loadReg(host, size, offset);
  }
  #storeHost(host: Ex, offset: number, size: Size, value: Ex): void {
    if (size === 128) this.f.storeV128(host, offset, value);
    else this.f.storeSize(size / 8, host, offset, value);
  }

  /** Stores `size` bits; `value` must be a local or a constant. */
  store(segment: Ex, address: Ex, size: Size, value: Ex): void {
    const bytes = size / 8;
    const { hit, host } = this.#lookup(segment, address, bytes, true);
    this.f.if(
      hit,
      () => this.#storeHost(host, 0, size, value),
      () => {
        this.f.store64(this.cpu, L.SLOW_ADDRESS, address);
        this.#storeHost(this.cpu, L.SLOW_DATA, size, value);
        this.f.if(this.f.call(this.rt.slowStore, this.cpu, segment, c32(bytes)), () => this.fault());
      },
    );
  }

  /** Loads with the right to write; the commit cannot fault. */
  modify(segment: Ex, address: Ex, size: Size): Rmw {
    const bytes = size / 8;
    const host = this.f.local(TY.i32);
    const lookup = this.#lookup(segment, address, bytes, true);
    this.f.if(
      lookup.hit,
      () => this.f.set(host, lookup.host),
      () => {
        this.f.store64(this.cpu, L.SLOW_ADDRESS, address);
        this.f.if(this.f.call(this.rt.slowRmw, this.cpu, segment, c32(bytes)), () => this.fault());
        this.f.set(host, i32.add(this.cpu, c32(L.SLOW_DATA)));
      },
    );
    const value = this.let(this.#loadHost(host, 0, size));
    return {
      value,
      commit: v => {
        this.#storeHost(host, 0, size, v);
        this.f.if(i32.eq(host, i32.add(this.cpu, c32(L.SLOW_DATA))), () =>
          this.f.do(this.f.call(this.rt.commitRmw, this.cpu), false),
        );
      },
    };
  }

  /** The instruction raises the exception that a TypeScript part has prepared. */
  fault(): void {
    this.f.returnCall(this.rt.fault, this.cpu, this.rec);
  }

  /** Hands the instruction to a TypeScript helper. */
  helper(name: string): void {
    const id = this.rt.helperId(name);
    this.f.store64(this.cpu, L.RIP, this.rip());
    const status = this.let(this.f.call(this.rt.helper, this.cpu, c32(id), this.rec));
    this.f.if(status, () => {
      this.f.store32(this.cpu, L.RECORD, this.rec);
      this.f.return(status);
    });
    this.next();
  }

  /** Vector instructions start with this: #UD or #NM when the operating system has not allowed them. */
  requireVector(kind: "sse" | "mmx"): void {
    const trap = i32.load(this.cpu, L.FP_TRAP);
    this.f.if(i32.and(trap, c32(kind === "sse" ? 1 : 2)), () => this.helper(kind === "sse" ? "sse_trap" : "mmx_trap"));
  }

  // --- instruction pointer, stack ---------------------------------------------------------------------------------------------------------------

  /** Address of this instruction. */
  rip(): Ex {
    return i64.add(i64.load(this.cpu, L.RIP_PAGE), i64.extendU(this.field16(L.REC.offset)));
  }
  /** Address of the next instruction, not wrapped. */
  nextRip(): Ex {
    return i64.add(this.rip(), i64.extendU(this.field8(L.REC.length)));
  }
  /** Wraps an instruction pointer to the operand size (legacy modes). */
  wrapRip(rip: Ex, size: Size): Ex {
    return size === 16 ? i64.and(rip, c64(0xffff)) : size === 32 ? i64.and(rip, c64(0xffffffff)) : rip;
  }
  /** Goes to any address. RECORD must not be needed any more. */
  goto(rip: Ex): void {
    this.f.returnCall(this.legacy ? this.rt.gotoLegacy : this.rt.goto64, this.cpu, rip);
  }
  /** In 64-bit mode a near branch to a non-canonical address is a #GP(0) of the branch. */
  checkCanonical(rip: Ex): void {
    if (this.legacy) return;
    const extended = i64.shrS(i64.shl(rip, c64(16)), c64(16));
    this.f.if(i64.ne(extended, rip), () => this.helper("gp0"));
  }

  stackSegment(): Ex {
    return c32(L.SEG.ss);
  }
  /** Address (offset in SS) of the stack pointer moved by `delta` bytes. */
  stackAddress(delta: number): Ex {
    const sp = i64.load(this.cpu, L.GPR + L.REG.rsp * 8);
    const moved = delta === 0 ? sp : i64.add(sp, c64(delta));
    return this.let(this.legacy ? i64.and(moved, i64.load(this.cpu, L.STACK_MASK)) : moved);
  }
  /** Makes `address` (from stackAddress) the stack pointer. */
  setStack(address: Ex): void {
    if (!this.legacy) {
      this.f.store64(this.cpu, L.GPR + L.REG.rsp * 8, address);
      return;
    }
    const sp = i64.load(this.cpu, L.GPR + L.REG.rsp * 8);
    const mask = i64.load(this.cpu, L.STACK_MASK);
    this.f.store64(
      this.cpu,
      L.GPR + L.REG.rsp * 8,
      i64.or(i64.and(i64.and(sp, i64.not(mask)), c64(0xffffffff)), address),
    );
  }
  /** Pushes a value of `size` bits; `value` is a local or a constant. */
  push(size: Size, value: Ex): void {
    const address = this.stackAddress(-size / 8);
    this.store(this.stackSegment(), address, size, value);
    this.setStack(address);
  }
  /** Reads the top of the stack; the pointer moves when `commit` is called. */
  pop(size: Size): { value: Ex; commit: () => void } {
    const value = this.load(this.stackSegment(), this.stackAddress(0), size);
    return { value, commit: () => this.setStack(this.stackAddress(size / 8)) };
  }
}
