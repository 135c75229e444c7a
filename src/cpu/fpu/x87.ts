/**
 * The x87 floating-point unit of one CPU: register forms, control, pending exceptions, MMX aliasing.
 *
 * Document: Intel SDM vol 1 chapter 8, vol 2 (the F* instructions; appendix A for opcodes D8 to DF).
 * Memory is the caller's: see memForm, execLoad, execStore and commitStore. Undocumented aliases that processors accept
 * (FCOM2, FCOMP3, FCOMP5, FXCH4, FXCH7, FSTP1, FSTP8, FSTP9, FFREEP, and FNENI, FNDISI, FNSETPM as no-operations) are
 * accepted too. Not modelled: the 8087's and 80287's projective infinity and interrupt enable.
 */
import type { FloatEnv } from "./float-env.ts";
import { f2xm1, fcos, fpatan, fptan, fsin, fyl2x, fyl2xp1, loadConstant } from "./transcendental.ts";
import {
  arithRegister,
  ADD,
  changeSign,
  COM,
  COMP,
  compareRegister,
  compareToFlags,
  examine,
  extract,
  MUL,
  remainderTop,
  scaleTop,
  test,
  unary,
} from "./x87-arith.ts";
import { loadFxsave, storeFxsave } from "./x87-image.ts";
import { type MemForm, memFormOf, X87Memory } from "./x87-memory.ts";
import { C1, C2, ES, X87_LAYOUT, X87State } from "./x87-state.ts";

/** Done. */
export const X87_OK = 0;
/** The encoding is invalid: raise #UD. */
export const X87_UD = 1;
/** Done; ZF, PF, CF are to be taken from `eflags`, and OF, SF, AF cleared. */
export const X87_EFLAGS = 2;
/** Done; AX is to be set to `ax`. */
export const X87_AX = 3;
/** A store without data, because an unmasked exception prevents it: write nothing, but do commitStore. */
export const X87_NO_STORE = 4;

/** One x87. All state is in the view; `eflags` and `ax` only pass values between the CPU and one instruction. */
export class X87 {
  /** In: EFLAGS for FCMOVcc. Out, after X87_EFLAGS: ZF, PF, CF. */
  eflags = 0;
  /** Out, after X87_AX. */
  ax = 0;
  readonly state: X87State;
  private readonly memory: X87Memory;

  /** base: byte offset in view of X87_LAYOUT.size bytes that hold the whole state. */
  constructor(view: DataView, base: number) {
    this.state = new X87State(view, base);
    this.memory = new X87Memory(this.state);
  }

  /** FNINIT; the register contents are left. */
  init(): void {
    this.state.init();
  }

  /** True if an unmasked exception waits for the next waiting instruction, WAIT, or MMX instruction (#MF). */
  pending(): boolean {
    return (this.state.fsw & ES) !== 0;
  }

  /** Records the address and opcode of a non-control instruction (see updatesPointers); ip as two words. */
  noteInstruction(opcode: number, modrm: number, cs: number, ipHi: number, ipLo: number): void {
    const { view, base } = this.state;
    view.setUint16(base + X87_LAYOUT.opcode, ((opcode & 7) << 8) | modrm, true);
    view.setUint16(base + X87_LAYOUT.codeSelector, cs, true);
    view.setInt32(base + X87_LAYOUT.instructionPointer, ipLo, true);
    view.setInt32(base + X87_LAYOUT.instructionPointer + 4, ipHi, true);
  }

  /** Records the address of a memory operand. */
  noteOperand(ds: number, dpHi: number, dpLo: number): void {
    const { view, base } = this.state;
    view.setUint16(base + X87_LAYOUT.dataSelector, ds, true);
    view.setInt32(base + X87_LAYOUT.dataPointer, dpLo, true);
    view.setInt32(base + X87_LAYOUT.dataPointer + 4, dpHi, true);
  }

  /** What the memory form does, or undefined for an invalid encoding. */
  memForm(opcode: number, reg: number): MemForm | undefined {
    return memFormOf(opcode, reg);
  }

  /** Executes a loading memory form on bytes read from `at` in `bytes`; format as in x87-image.ts for environments. */
  execLoad(opcode: number, reg: number, bytes: DataView, at: number, format: number): void {
    this.memory.load(opcode, reg, bytes, at, format);
  }

  /**
   * First half of a storing memory form: puts the bytes to store at `at` in `out` and changes no state, so that the
   * memory write may fault. Returns X87_OK or X87_NO_STORE.
   */
  execStore(opcode: number, reg: number, out: DataView, at: number, format: number): number {
    return this.memory.store(opcode, reg, out, at, format) ? X87_OK : X87_NO_STORE;
  }

  /** Second half, after the bytes are in memory: status, pop, and what FNSTENV and FNSAVE do to the state. */
  commitStore(): void {
    this.memory.commit();
  }

  /** Executes a register form (modrm 0xC0 to 0xFF). */
  exec(opcode: number, modrm: number): number {
    const reg = (modrm >>> 3) & 7;
    const i = modrm & 7;
    switch (opcode) {
      case 0xd8:
        return this.arith(reg, i, 0, false);
      case 0xd9:
        return this.execD9(reg, i, modrm);
      case 0xda:
        return this.execDa(reg, i, modrm);
      case 0xdb:
        return this.execDb(reg, i, modrm);
      case 0xdc:
        return this.arith(reg, i, i, false);
      case 0xdd:
        return this.execDd(reg, i);
      case 0xde:
        return this.execDe(reg, i, modrm);
      case 0xdf:
        return this.execDf(reg, i, modrm);
      default:
        return X87_UD;
    }
  }

  private arith(reg: number, i: number, dest: number, pop: boolean): number {
    if (reg === COM || reg === COMP) compareRegister(this.state, i, true, reg === COMP ? 1 : 0);
    else arithRegister(this.state, reg, i, dest, pop);
    return X87_OK;
  }

  private execD9(reg: number, i: number, modrm: number): number {
    switch (reg) {
      case 0:
        this.loadRegister(i);
        return X87_OK;
      case 1:
        this.exchange(i);
        return X87_OK;
      case 2:
        return i === 0 ? X87_OK : X87_UD;
      case 3:
        // FSTP1 differs from FSTP: an empty ST(0) is popped without a stack fault.
        this.state.fsw &= ~C1;
        if (!this.state.isEmpty(0)) this.storeRegister(i, true);
        else this.state.pop();
        return X87_OK;
      case 4:
        return this.execD9E0(modrm);
      case 5:
        if (i === 7) return X87_UD;
        this.constant(i);
        return X87_OK;
      default:
        this.execD9F0(modrm);
        return X87_OK;
    }
  }

  private execD9E0(modrm: number): number {
    if (modrm === 0xe0 || modrm === 0xe1) changeSign(this.state, modrm === 0xe1);
    else if (modrm === 0xe4) test(this.state);
    else if (modrm === 0xe5) examine(this.state);
    else return X87_UD;
    return X87_OK;
  }

  private execD9F0(modrm: number): void {
    const s = this.state;
    switch (modrm) {
      case 0xf0:
        this.function1(f2xm1);
        break;
      case 0xf1:
        this.function2(fyl2x);
        break;
      case 0xf2:
        this.trigonometric(fptan, false, true);
        break;
      case 0xf3:
        this.function2(fpatan);
        break;
      case 0xf4:
        extract(s);
        break;
      case 0xf5:
        remainderTop(s, true);
        break;
      case 0xf6:
      case 0xf7:
        // FDECSTP, FINCSTP
        s.fsw &= ~C1;
        s.top = s.top + (modrm === 0xf7 ? 1 : -1);
        break;
      case 0xf8:
        remainderTop(s, false);
        break;
      case 0xf9:
        this.function2(fyl2xp1);
        break;
      case 0xfa:
        unary(s, true);
        break;
      case 0xfb:
        this.trigonometric(fsin, true, false);
        break;
      case 0xfc:
        unary(s, false);
        break;
      case 0xfd:
        scaleTop(s);
        break;
      case 0xfe:
        this.trigonometric(fsin, false, false);
        break;
      default:
        this.trigonometric(fcos, false, false);
        break;
    }
  }

  private execDa(reg: number, i: number, modrm: number): number {
    if (reg < 4) {
      this.conditionalMove(reg, i, false);
      return X87_OK;
    }
    if (modrm !== 0xe9) return X87_UD;
    compareRegister(this.state, 1, false, 2);
    return X87_OK;
  }

  private execDb(reg: number, i: number, modrm: number): number {
    if (reg < 4) {
      this.conditionalMove(reg, i, true);
      return X87_OK;
    }
    if (reg === 5 || reg === 6) {
      this.eflags = compareToFlags(this.state, i, reg === 6, false);
      return X87_EFLAGS;
    }
    if (modrm === 0xe2) this.state.fsw &= 0x7f00;
    else if (modrm === 0xe3) this.state.init();
    else if (modrm !== 0xe0 && modrm !== 0xe1 && modrm !== 0xe4) return X87_UD;
    return X87_OK;
  }

  private execDd(reg: number, i: number): number {
    switch (reg) {
      case 0:
        this.state.fsw &= ~C1;
        this.state.setTag(i, 3);
        return X87_OK;
      case 1:
        this.exchange(i);
        return X87_OK;
      case 2:
      case 3:
        this.storeRegister(i, reg === 3);
        return X87_OK;
      case 4:
      case 5:
        compareRegister(this.state, i, false, reg === 5 ? 1 : 0);
        return X87_OK;
      default:
        return X87_UD;
    }
  }

  private execDe(reg: number, i: number, modrm: number): number {
    if (reg === ADD || reg === MUL || reg > COMP) return this.arith(reg, i, i, true);
    if (reg === COM) compareRegister(this.state, i, true, 1);
    else if (modrm === 0xd9) compareRegister(this.state, 1, true, 2);
    else return X87_UD;
    return X87_OK;
  }

  private execDf(reg: number, i: number, modrm: number): number {
    switch (reg) {
      case 0:
        this.state.fsw &= ~C1;
        this.state.setTag(i, 3);
        this.state.pop();
        return X87_OK;
      case 1:
        this.exchange(i);
        return X87_OK;
      case 2:
      case 3:
        this.storeRegister(i, true);
        return X87_OK;
      case 4:
        if (modrm !== 0xe0) return X87_UD;
        this.ax = this.state.fsw;
        return X87_AX;
      case 5:
      case 6:
        this.eflags = compareToFlags(this.state, i, reg === 6, true);
        return X87_EFLAGS;
      default:
        return X87_UD;
    }
  }

  /** FLD ST(i). */
  private loadRegister(i: number): void {
    const s = this.state;
    s.fsw &= ~C1;
    if (s.isEmpty(i) || !s.isEmpty(7)) {
      if (s.isEmpty(i) ? s.underflow() : s.overflow()) {
        s.push();
        s.writeDefaultNan(0);
      }
    } else {
      const se = s.se(i);
      const hi = s.hi(i);
      const lo = s.lo(i);
      s.push();
      s.write(0, se, hi, lo);
    }
  }

  /** FST ST(i) and FSTP ST(i). */
  private storeRegister(i: number, pop: boolean): void {
    const s = this.state;
    if (s.isEmpty(0)) {
      if (!s.underflow()) return;
      s.writeDefaultNan(i);
    } else {
      s.fsw &= ~C1;
      s.write(i, s.se(0), s.hi(0), s.lo(0));
    }
    if (pop) s.pop();
  }

  /** FXCH ST(i). An empty register is first given the default NaN, if invalid operation is masked. */
  private exchange(i: number): void {
    const s = this.state;
    s.fsw &= ~C1;
    if (s.isEmpty(0) || s.isEmpty(i)) {
      if (!s.underflow()) return;
      if (s.isEmpty(0)) s.writeDefaultNan(0);
      if (s.isEmpty(i)) s.writeDefaultNan(i);
    }
    const se = s.se(0);
    const hi = s.hi(0);
    const lo = s.lo(0);
    s.write(0, s.se(i), s.hi(i), s.lo(i));
    s.write(i, se, hi, lo);
  }

  /** FCMOVcc: condition 0 B, 1 E, 2 BE, 3 U on CF, ZF, CF or ZF, PF. */
  private conditionalMove(condition: number, i: number, negated: boolean): void {
    const s = this.state;
    if (s.isEmpty(0) || s.isEmpty(i)) {
      if (s.underflow()) s.writeDefaultNan(0);
      return;
    }
    const mask = condition === 0 ? 0x01 : condition === 1 ? 0x40 : condition === 2 ? 0x41 : 0x04;
    if (((this.eflags & mask) !== 0) !== negated) s.write(0, s.se(i), s.hi(i), s.lo(i));
  }

  /** FLD1 (0), FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ (6). */
  private constant(index: number): void {
    const s = this.state;
    s.fsw &= ~C1;
    if (!s.isEmpty(7)) {
      if (!s.overflow()) return;
      s.push();
      s.writeDefaultNan(0);
      return;
    }
    s.begin();
    loadConstant(s.env, index);
    s.push();
    s.writeResult(0);
  }

  /** ST(0) = f(ST(0)). */
  private function1(f: (env: FloatEnv, se: number, hi: number, lo: number) => void): void {
    const s = this.state;
    if (s.isEmpty(0)) {
      if (s.underflow()) s.writeDefaultNan(0);
      return;
    }
    s.begin();
    f(s.env, s.se(0), s.hi(0), s.lo(0));
    if (s.deliver()) s.writeResult(0);
  }

  /** ST(1) = f(ST(1), ST(0)), pop. */
  private function2(
    f: (env: FloatEnv, ySe: number, yHi: number, yLo: number, xSe: number, xHi: number, xLo: number) => void,
  ): void {
    const s = this.state;
    if (s.isEmpty(0) || s.isEmpty(1)) {
      if (!s.underflow()) return;
      s.writeDefaultNan(1);
      s.pop();
      return;
    }
    s.begin();
    f(s.env, s.se(1), s.hi(1), s.lo(1), s.se(0), s.hi(0), s.lo(0));
    if (s.deliver()) {
      s.writeResult(1);
      s.pop();
    }
  }

  /**
   * FSIN, FCOS; FSINCOS (withCosine pushes the cosine); FPTAN (withOne pushes 1.0, or the same NaN). An operand of 2^63
   * or more in magnitude sets C2 and changes nothing.
   */
  private trigonometric(
    f: (env: FloatEnv, se: number, hi: number, lo: number) => boolean,
    withCosine: boolean,
    withOne: boolean,
  ): void {
    const s = this.state;
    const pushes = withCosine || withOne;
    s.fsw &= ~(C1 | C2);
    if (s.isEmpty(0) || (pushes && !s.isEmpty(7))) {
      if (s.isEmpty(0) ? s.underflow() : s.overflow()) {
        s.writeDefaultNan(0);
        if (pushes) s.push();
        if (pushes) s.writeDefaultNan(0);
      }
      return;
    }
    s.begin();
    const env = s.env;
    const se = s.se(0);
    const hi = s.hi(0);
    const lo = s.lo(0);
    const inRange = f(env, se, hi, lo);
    if (!inRange) s.fsw |= C2;
    if (!inRange || !s.deliver()) return;
    s.writeResult(0);
    if (!pushes) return;
    s.push();
    if (withCosine) {
      fcos(env, se, hi, lo);
      env.roundedUp = 0; // C1 stays as the sine set it
      s.deliver();
    } else if ((env.outSe & 0x7fff) !== 0x7fff) {
      env.outSe = 0x3fff;
      env.outHi = 0x80000000 | 0;
      env.outLo = 0;
    }
    s.writeResult(0);
  }

  /** To be called by every MMX instruction except EMMS: TOP = 0, all registers valid (SDM vol 1 section 9.5.1). */
  enterMmx(): void {
    this.state.top = 0;
    this.state.ftw = 0;
  }

  /** To be called after a write to MMn: sign and exponent of the aliased register become ones (section 9.2). */
  mmxWritten(register: number): void {
    const at = this.state.base + (register & 7) * X87_LAYOUT.registerStride;
    this.state.view.setUint16(at + 8, 0xffff, true);
  }

  /** EMMS. */
  emms(): void {
    this.state.ftw = 0xffff;
  }

  /** Writes the x87 part of an FXSAVE image at `at`; MXCSR and XMM are the caller's. wide: REX.W form. */
  fxsave(wide: boolean, out: DataView, at: number): void {
    storeFxsave(this.state, wide, out, at);
  }

  /** Reads the x87 part of an FXSAVE image. */
  fxrstor(wide: boolean, bytes: DataView, at: number): void {
    loadFxsave(this.state, wide, bytes, at);
  }
}

/**
 * Whether an encoding is an instruction. To be asked first: the #UD of an invalid encoding comes before the #MF of a
 * pending exception.
 */
export function isDefined(opcode: number, modrm: number): boolean {
  const reg = (modrm >>> 3) & 7;
  if (modrm < 0xc0) return memFormOf(opcode, reg) !== undefined;
  switch (opcode) {
    case 0xd9:
      if (reg === 2) return modrm === 0xd0;
      if (reg === 4) return modrm === 0xe0 || modrm === 0xe1 || modrm === 0xe4 || modrm === 0xe5;
      return modrm !== 0xef;
    case 0xda:
      return reg < 4 || modrm === 0xe9;
    case 0xdb:
      return reg < 4 || reg === 5 || reg === 6 || modrm <= 0xe4;
    case 0xdd:
      return reg < 6;
    case 0xde:
      return reg !== 3 || modrm === 0xd9;
    case 0xdf:
      return reg !== 7 && (reg !== 4 || modrm === 0xe0);
    default:
      return true;
  }
}

/** Whether an instruction waits for (and reports) a pending exception before it executes: all but FN*. */
export function isWaiting(opcode: number, modrm: number): boolean {
  const reg = (modrm >>> 3) & 7;
  if (modrm >= 0xc0) {
    if (opcode === 0xdb) return reg !== 4;
    return !(opcode === 0xdf && modrm === 0xe0);
  }
  return !((opcode === 0xd9 && reg >= 6) || (opcode === 0xdd && reg >= 6));
}

/** Whether an instruction records its address, operand address and opcode: all but the control instructions. */
export function updatesPointers(opcode: number, modrm: number): boolean {
  const reg = (modrm >>> 3) & 7;
  if (modrm >= 0xc0) return !(opcode === 0xdb && reg === 4) && !(opcode === 0xdf && modrm === 0xe0);
  return !((opcode === 0xd9 && reg >= 4) || (opcode === 0xdd && (reg === 4 || reg >= 6)));
}
