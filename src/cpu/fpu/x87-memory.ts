/**
 * Memory forms of the x87 instructions: what each reads or writes, loads, and stores in two halves.
 *
 * Document: Intel SDM vol 2 FLD, FST, FILD, FIST, FISTTP, FBLD, FBSTP, FIADD and its kin, FLDCW, FLDENV, FRSTOR, FNSTCW,
 * FNSTSW, FNSTENV, FNSAVE; appendix A (escape opcodes). The CPU does every memory access; a store is computed first
 * and takes effect on the state only when committed, so that a page fault leaves the state as it was.
 */
import { IE, PE, ROUND_ZERO } from "./float-env.ts";
import { convertFormat, fromDecimal, toDecimal, toInteger } from "./softfloat-convert.ts";
import { F32, F64, F80, packDefaultNan } from "./softfloat-round.ts";
import { setInt64, UNSUPPORTED, Unpacked, unpackF32, unpackF64 } from "./softfloat-unpack.ts";
import { arithOperand, COM, COMP, compareOperand } from "./x87-arith.ts";
import { environmentSize, loadEnvironment, loadRegisters, storeEnvironment, storeRegisters } from "./x87-image.ts";
import { C1, SF, type X87State } from "./x87-state.ts";

/** Kinds of memory operand. */
export type MemKind = "f32" | "f64" | "f80" | "i16" | "i32" | "i64" | "bcd" | "word" | "environment" | "state";

/** What a memory form does. */
export interface MemForm {
  readonly kind: MemKind;
  /** Bytes accessed; for "environment" and "state" with a 32-bit operand size. */
  readonly size: number;
  /** Bytes accessed with a 16-bit operand size. */
  readonly size16: number;
  readonly isStore: boolean;
  /** True for arithmetic and compares on the operand, false for plain loads and stores. */
  readonly isArith: boolean;
}

const SIZES = { f32: 4, f64: 8, f80: 10, i16: 2, i32: 4, i64: 8, bcd: 10, word: 2, environment: 28, state: 108 };

function form(kind: MemKind, isStore: boolean, isArith = false): MemForm {
  const size = SIZES[kind];
  return { kind, size, size16: size > 10 ? size - 14 : size, isStore, isArith };
}

function arithRow(kind: MemKind): MemForm[] {
  return new Array<MemForm>(8).fill(form(kind, false, true));
}

const L = false;
const S = true;

/** Rows D8 to DF, columns the reg field. FISTTP, FIST and FISTP are stores of an integer kind. */
const FORMS: readonly (readonly (MemForm | undefined)[])[] = [
  arithRow("f32"),
  [
    form("f32", L),
    undefined,
    form("f32", S),
    form("f32", S),
    form("environment", L),
    form("word", L),
    form("environment", S),
    form("word", S),
  ],
  arithRow("i32"),
  [
    form("i32", L),
    form("i32", S),
    form("i32", S),
    form("i32", S),
    undefined,
    form("f80", L),
    undefined,
    form("f80", S),
  ],
  arithRow("f64"),
  [
    form("f64", L),
    form("i64", S),
    form("f64", S),
    form("f64", S),
    form("state", L),
    undefined,
    form("state", S),
    form("word", S),
  ],
  arithRow("i16"),
  [
    form("i16", L),
    form("i16", S),
    form("i16", S),
    form("i16", S),
    form("bcd", L),
    form("i64", L),
    form("bcd", S),
    form("i64", S),
  ],
];

/** The memory form of an opcode 0xD8 to 0xDF and reg field, or undefined if the encoding is invalid. */
export function memFormOf(opcode: number, reg: number): MemForm | undefined {
  return FORMS[opcode - 0xd8]?.[reg];
}

/** What commit does besides setting status and tags. */
const AFTER_NOTHING = 0;
const AFTER_MASK = 1;
const AFTER_INIT = 2;

/** Memory forms over one x87 state. Between store and commit it holds the staged status; that is not machine state. */
export class X87Memory {
  private readonly s: X87State;
  private readonly operand = new Unpacked();
  private stagedStatus = 0;
  private stagedPop = false;
  private after = AFTER_NOTHING;

  constructor(state: X87State) {
    this.s = state;
  }

  /** Executes a loading form (arithmetic, compare, FLD, FILD, FBLD, FLDCW, FLDENV, FRSTOR). */
  load(opcode: number, reg: number, bytes: DataView, at: number, format: number): void {
    const f = memFormOf(opcode, reg)!;
    switch (f.kind) {
      case "word":
        this.s.fcw = bytes.getUint16(at, true);
        return;
      case "environment":
        loadEnvironment(this.s, format, bytes, at);
        return;
      case "state":
        loadEnvironment(this.s, format, bytes, at);
        loadRegisters(this.s, bytes, at + environmentSize(format));
        return;
      case "f80":
      case "bcd":
        this.loadTenBytes(f.kind === "bcd", bytes, at);
        return;
      default:
        this.unpackOperand(f.kind, bytes, at);
        if (!f.isArith) this.loadOperand();
        else if (reg === COM || reg === COMP) compareOperand(this.s, this.operand, true, reg === COMP ? 1 : 0);
        else arithOperand(this.s, reg, this.operand);
    }
  }

  private unpackOperand(kind: MemKind, bytes: DataView, at: number): void {
    const u = this.operand;
    if (kind === "f32") {
      unpackF32(u, bytes.getInt32(at, true), false);
    } else if (kind === "f64") {
      unpackF64(u, bytes.getInt32(at + 4, true), bytes.getInt32(at, true), false);
    } else if (kind === "i64") {
      setInt64(u, bytes.getInt32(at + 4, true), bytes.getInt32(at, true));
    } else {
      const value = kind === "i16" ? bytes.getInt16(at, true) : bytes.getInt32(at, true);
      setInt64(u, value >> 31, value);
    }
  }

  /** Makes room for a load: false if the stack was full, with the masked response already given. */
  private room(): boolean {
    const s = this.s;
    s.begin();
    if (s.isEmpty(7)) return true;
    if (s.overflow()) {
      s.push();
      s.writeDefaultNan(0);
    }
    return false;
  }

  private loadOperand(): void {
    const s = this.s;
    if (!this.room()) return;
    convertFormat(s.env, F80, this.operand, true);
    // Only an unmasked invalid operand is not loaded; an unmasked denormal one is.
    if (!s.deliver() && (s.env.flags & IE) !== 0) return;
    s.push();
    s.writeResult(0);
  }

  /** FLD m80 copies any pattern unchanged; FBLD converts exactly. */
  private loadTenBytes(decimal: boolean, bytes: DataView, at: number): void {
    const s = this.s;
    if (!this.room()) return;
    const env = s.env;
    if (decimal) {
      fromDecimal(env, bytes, at);
    } else {
      env.outLo = bytes.getInt32(at, true);
      env.outHi = bytes.getInt32(at + 4, true);
      env.outSe = bytes.getUint16(at + 8, true);
    }
    s.push();
    s.writeResult(0);
  }

  /** Computes a storing form into `out`; false if an unmasked exception prevents the store. */
  store(opcode: number, reg: number, out: DataView, at: number, format: number): boolean {
    const f = memFormOf(opcode, reg)!;
    const s = this.s;
    this.stagedStatus = s.fsw;
    this.stagedPop = false;
    this.after = AFTER_NOTHING;
    if (f.kind === "word") {
      out.setUint16(at, opcode === 0xd9 ? s.fcw : s.fsw, true);
      return true;
    }
    if (f.kind === "environment") {
      storeEnvironment(s, format, out, at);
      this.after = AFTER_MASK;
      return true;
    }
    if (f.kind === "state") {
      storeEnvironment(s, format, out, at);
      storeRegisters(s, out, at + environmentSize(format));
      this.after = AFTER_INIT;
      return true;
    }
    return this.storeValue(reg, f.kind, out, at);
  }

  private storeValue(reg: number, kind: MemKind, out: DataView, at: number): boolean {
    const s = this.s;
    const env = s.env;
    env.fromControlWord(s.fcw);
    env.flags = 0;
    env.noResult = 0;
    env.roundedUp = 0;
    const truncate = reg === 1;
    const pops = reg !== 2;
    let fault = 0;
    if (s.isEmpty(0)) {
      fault = SF;
      this.operand.cls = UNSUPPORTED; // raises IE and gives the indefinite of every kind
    } else {
      s.unpack(this.operand, 0);
    }
    this.convertStore(kind, truncate, out, at);
    if (env.noResult !== 0) env.flags &= ~PE; // nothing was stored, so nothing was rounded
    const c1 = env.roundedUp !== 0 && env.noResult === 0 ? C1 : 0;
    this.stagedStatus = (s.fsw & ~C1) | env.flags | fault | c1;
    this.stagedPop = pops && env.noResult === 0;
    return env.noResult === 0;
  }

  private convertStore(kind: MemKind, truncate: boolean, out: DataView, at: number): void {
    const s = this.s;
    const env = s.env;
    const u = this.operand;
    switch (kind) {
      case "f32":
        convertFormat(env, F32, u, false);
        out.setInt32(at, env.outLo, true);
        return;
      case "f64":
        convertFormat(env, F64, u, false);
        out.setInt32(at, env.outLo, true);
        out.setInt32(at + 4, env.outHi, true);
        return;
      case "f80":
        this.storeExtended(out, at);
        return;
      case "bcd":
        toDecimal(env, u, out, at);
        return;
      default: {
        const bits = kind === "i16" ? 16 : kind === "i32" ? 32 : 64;
        toInteger(env, bits, u, truncate ? ROUND_ZERO : env.rounding);
        if (bits === 16) out.setUint16(at, env.outLo, true);
        else out.setInt32(at, env.outLo, true);
        if (bits === 64) out.setInt32(at + 4, env.outHi, true);
      }
    }
  }

  /** FSTP m80 copies any pattern unchanged; only an empty register is invalid. */
  private storeExtended(out: DataView, at: number): void {
    const s = this.s;
    const env = s.env;
    if (s.isEmpty(0)) {
      env.flags |= IE;
      if ((env.masks & IE) === 0) env.noResult = 1;
      packDefaultNan(env, F80);
    } else {
      env.outSe = s.se(0);
      env.outHi = s.hi(0);
      env.outLo = s.lo(0);
    }
    out.setInt32(at, env.outLo, true);
    out.setInt32(at + 4, env.outHi, true);
    out.setUint16(at + 8, env.outSe, true);
  }

  /** Makes a computed store take effect on the state. */
  commit(): void {
    const s = this.s;
    s.fsw = this.stagedStatus;
    if (this.stagedPop) s.pop();
    if (this.after === AFTER_MASK) s.fcw |= 0x3f;
    else if (this.after === AFTER_INIT) s.init();
    this.after = AFTER_NOTHING;
    this.stagedPop = false;
  }
}
