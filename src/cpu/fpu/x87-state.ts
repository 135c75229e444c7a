/**
 * The x87 state as a view on memory: registers, stack, tags, control and status words, last-instruction pointers.
 *
 * Document: Intel SDM vol 1 sections 8.1.2 (data registers), 8.1.3 (status word), 8.1.5 (control word), 8.1.7 (tag word),
 * 8.1.8 (pointers), 8.1.9 (opcode), 8.5.1 (stack faults), 9.2 and 9.3 (MMX registers).
 *
 * The tag word in the state is 16 bits, but of each register's tag only "empty" (3) or "not empty" (0) counts; which of
 * valid, zero and special it is, is worked out from the register when an image is stored, as processors do.
 */
import { FloatEnv, IE } from "./float-env.ts";
import { type Unpacked, unpackF80 } from "./softfloat-unpack.ts";

/** Byte offsets in the x87 state. A physical register is 16 bytes: significand lo, hi, sign and exponent, 6 spare. */
export const X87_LAYOUT = {
  registers: 0,
  registerStride: 16,
  controlWord: 128,
  statusWord: 130,
  tagWord: 132,
  opcode: 134,
  instructionPointer: 136,
  dataPointer: 144,
  codeSelector: 152,
  dataSelector: 154,
  size: 160,
} as const;

/** Stack fault, status word bit 6. */
export const SF = 0x40;
/** Exception summary, status word bit 7. */
export const ES = 0x80;
/** Condition codes of the status word. */
export const C0 = 0x100;
export const C1 = 0x200;
export const C2 = 0x400;
export const C3 = 0x4000;
/** Busy, status word bit 15; on processors since the 80387 a copy of ES. */
export const BUSY = 0x8000;

const { controlWord, statusWord, tagWord } = X87_LAYOUT;

/** Registers and words of one x87. Register numbers are relative to TOP unless called physical. */
export class X87State {
  readonly view: DataView;
  readonly base: number;
  /** Environment of the operation in progress. */
  readonly env = new FloatEnv();

  /** base: byte offset of the state in the view; X87_LAYOUT.size bytes from there belong to it. */
  constructor(view: DataView, base: number) {
    this.view = view;
    this.base = base;
  }

  get fcw(): number {
    return this.view.getUint16(this.base + controlWord, true);
  }
  /** Bit 6 always reads as 1, bits 7 and 13 to 15 as 0. Updates the exception summary. */
  set fcw(value: number) {
    this.view.setUint16(this.base + controlWord, (value & 0x1f7f) | 0x40, true);
    this.updateSummary();
  }

  get fsw(): number {
    return this.view.getUint16(this.base + statusWord, true);
  }
  /** ES and B follow from the flags and the masks, whatever is written to them. */
  set fsw(value: number) {
    const pending = (value & ~this.fcw & 0x3f) !== 0;
    this.view.setUint16(this.base + statusWord, pending ? value | ES | BUSY : value & ~(ES | BUSY), true);
  }

  private updateSummary(): void {
    const value = this.fsw;
    this.fsw = value;
  }

  get ftw(): number {
    return this.view.getUint16(this.base + tagWord, true);
  }
  set ftw(value: number) {
    this.view.setUint16(this.base + tagWord, value, true);
  }

  get top(): number {
    return (this.fsw >>> 11) & 7;
  }
  set top(value: number) {
    this.view.setUint16(this.base + statusWord, (this.fsw & ~0x3800) | ((value & 7) << 11), true);
  }

  /** Byte offset of ST(i) in the view. */
  at(i: number): number {
    return this.base + ((this.top + i) & 7) * X87_LAYOUT.registerStride;
  }

  isEmpty(i: number): boolean {
    return ((this.ftw >>> (((this.top + i) & 7) * 2)) & 3) === 3;
  }

  setTag(i: number, tag: number): void {
    const shift = ((this.top + i) & 7) * 2;
    this.ftw = (this.ftw & ~(3 << shift)) | (tag << shift);
  }

  /** Writes ST(i) and marks it not empty. */
  write(i: number, se: number, hi: number, lo: number): void {
    const { view, base } = this;
    const r = (this.top + i) & 7;
    const at = base + r * X87_LAYOUT.registerStride;
    view.setInt32(at, lo, true);
    view.setInt32(at + 4, hi, true);
    view.setUint16(at + 8, se, true);
    const tags = this.ftw;
    const tag = 3 << (r * 2);
    if ((tags & tag) !== 0) this.ftw = tags & ~tag;
  }

  /** Writes the environment's 80-bit result to ST(i). */
  writeResult(i: number): void {
    this.write(i, this.env.outSe, this.env.outHi, this.env.outLo);
  }

  writeDefaultNan(i: number): void {
    this.write(i, 0xffff, 0xc0000000 | 0, 0);
  }

  se(i: number): number {
    return this.view.getUint16(this.at(i) + 8, true);
  }
  hi(i: number): number {
    return this.view.getInt32(this.at(i) + 4, true);
  }
  lo(i: number): number {
    return this.view.getInt32(this.at(i), true);
  }

  unpack(u: Unpacked, i: number): void {
    const at = this.at(i);
    unpackF80(u, this.view.getUint16(at + 8, true), this.view.getInt32(at + 4, true), this.view.getInt32(at, true));
  }

  /** Decrements TOP; the new ST(0) keeps its contents and tag until written. */
  push(): void {
    this.top = this.top - 1;
  }

  /** Empties ST(0) and increments TOP. */
  pop(): void {
    this.setTag(0, 3);
    this.top = this.top + 1;
  }

  /** Starts an arithmetic instruction: C1 cleared, environment taken from the control word. */
  begin(): void {
    this.fsw &= ~C1;
    const env = this.env;
    env.fromControlWord(this.fcw);
    env.flags = 0;
    env.noResult = 0;
    env.roundedUp = 0;
  }

  /** Takes over the environment's flags and C1; true if the instruction delivers its result. */
  deliver(): boolean {
    const env = this.env;
    if (env.flags !== 0 || env.roundedUp !== 0) {
      this.fsw |= env.flags | (env.roundedUp !== 0 && env.noResult === 0 ? C1 : 0);
    }
    return env.noResult === 0;
  }

  /** Raises a stack underflow; true if invalid operation is masked, so that the masked response is due. */
  underflow(): boolean {
    this.fsw = (this.fsw & ~C1) | IE | SF;
    return (this.fcw & IE) !== 0;
  }

  /** Raises a stack overflow; true if invalid operation is masked. */
  overflow(): boolean {
    this.fsw |= IE | SF | C1;
    return (this.fcw & IE) !== 0;
  }

  /** Sets C3, C2 and C0, given as their status word bits; C1 is left. */
  setCodes(codes: number): void {
    this.fsw = (this.fsw & ~(C0 | C2 | C3)) | codes;
  }

  /** The state after FNINIT (SDM vol 2 FINIT). Register contents stay. */
  init(): void {
    const { view, base } = this;
    view.setUint16(base + statusWord, 0, true);
    this.fcw = 0x37f;
    this.ftw = 0xffff;
    for (let offset = X87_LAYOUT.opcode; offset < X87_LAYOUT.size; offset += 2) view.setUint16(base + offset, 0, true);
  }

  /** Tag of physical register r as an image shows it: 0 valid, 1 zero, 2 special, 3 empty. */
  private fullTag(r: number): number {
    if (((this.ftw >>> (r * 2)) & 3) === 3) return 3;
    const at = this.base + r * X87_LAYOUT.registerStride;
    const exponent = this.view.getUint16(at + 8, true) & 0x7fff;
    const hi = this.view.getInt32(at + 4, true);
    if (exponent === 0) return (hi | this.view.getInt32(at, true)) === 0 ? 1 : 2;
    return exponent === 0x7fff || hi >= 0 ? 2 : 0;
  }

  /** The 16-bit tag word as FSTENV stores it. */
  fullTagWord(): number {
    let tags = 0;
    for (let r = 7; r >= 0; r--) tags = (tags << 2) | this.fullTag(r);
    return tags;
  }

  /** Sets the tags from a 16-bit tag word as FLDENV loads it. */
  loadTagWord(tags: number): void {
    let kept = 0;
    for (let r = 0; r < 8; r++) if (((tags >>> (r * 2)) & 3) === 3) kept |= 3 << (r * 2);
    this.ftw = kept;
  }

  /** One bit for each physical register, set if not empty (FXSAVE). */
  get abridgedTags(): number {
    let bits = 0;
    for (let r = 0; r < 8; r++) if (((this.ftw >>> (r * 2)) & 3) !== 3) bits |= 1 << r;
    return bits;
  }
  set abridgedTags(bits: number) {
    let tags = 0;
    for (let r = 0; r < 8; r++) if (((bits >>> r) & 1) === 0) tags |= 3 << (r * 2);
    this.ftw = tags;
  }
}
