/**
 * One processor's registers, seen from TypeScript: typed views over the bytes of cpu/layout.ts. 64-bit values are pairs of 32-bit words; addresses are
 * numbers (see base/units.ts). Generated code uses the same bytes.
 *
 * Arithmetic flags are kept lazily, as the result of the last instruction that set them plus a word of carries; {@link CpuState.eflags} folds them.
 */
import * as L from "./layout.ts";

/** EFLAGS bits (Intel SDM vol. 1, section 3.4.3). */
export const FLAG = {
  cf: 1 << 0,
  pf: 1 << 2,
  af: 1 << 4,
  zf: 1 << 6,
  sf: 1 << 7,
  tf: 1 << 8,
  if: 1 << 9,
  df: 1 << 10,
  of: 1 << 11,
  iopl: 3 << 12,
  nt: 1 << 14,
  rf: 1 << 16,
  vm: 1 << 17,
  ac: 1 << 18,
  vif: 1 << 19,
  vip: 1 << 20,
  id: 1 << 21,
} as const;
/** CF, PF, AF, ZF, SF, OF. */
export const ARITH_FLAGS = FLAG.cf | FLAG.pf | FLAG.af | FLAG.zf | FLAG.sf | FLAG.of;

/** Code modes as stored at CODE_MODE. */
export const MODE = { code16: 0, code32: 1, code64: 2 } as const;

const parityEven = (byte: number): boolean => {
  byte ^= byte >>> 4;
  byte ^= byte >>> 2;
  byte ^= byte >>> 1;
  return (byte & 1) === 0;
};

export class CpuState {
  /** Byte offset of this processor's area in the shared memory. */
  readonly base: number;
  readonly view: DataView;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f64: Float64Array;

  constructor(buffer: ArrayBuffer | SharedArrayBuffer, base: number) {
    this.base = base;
    this.view = new DataView(buffer);
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.f64 = new Float64Array(buffer);
  }

  /** Unsigned low 32 bits of the 8-byte field at `offset`; of any 4-byte field too. */
  lo(offset: number): number {
    return this.u32[(this.base + offset) >>> 2]!;
  }
  /** Unsigned high 32 bits of the 8-byte field at `offset`. */
  hi(offset: number): number {
    return this.u32[(this.base + offset + 4) >>> 2]!;
  }
  /** Signed low word. */
  int(offset: number): number {
    return this.i32[(this.base + offset) >>> 2]!;
  }
  setLo(offset: number, value: number): void {
    this.i32[(this.base + offset) >>> 2] = value | 0;
  }
  set64(offset: number, low: number, high: number): void {
    const i = (this.base + offset) >>> 2;
    this.i32[i] = low | 0;
    this.i32[i + 1] = high | 0;
  }
  /** The 64-bit field as a signed number; exact for canonical addresses (|value| ≤ 2^53). */
  num(offset: number): number {
    const i = (this.base + offset) >>> 2;
    return this.i32[i + 1]! * 4294967296 + this.u32[i]!;
  }
  /** Stores an integer number (|value| < 2^53) as 64 bits, two's complement. */
  setNum(offset: number, value: number): void {
    const i = (this.base + offset) >>> 2;
    const high = Math.floor(value / 4294967296);
    this.i32[i] = (value - high * 4294967296) | 0;
    this.i32[i + 1] = high | 0;
  }
  /** The 64-bit field as a BigInt, unsigned. For cold paths, tests and debuggers. */
  big(offset: number): bigint {
    return (BigInt(this.hi(offset)) << 32n) | BigInt(this.lo(offset));
  }
  setBig(offset: number, value: bigint): void {
    this.set64(offset, Number(value & 0xffffffffn), Number((value >> 32n) & 0xffffffffn));
  }

  /** Byte offset of general register `n`. */
  static gpr(n: number): number {
    return L.GPR + n * 8;
  }

  get cpl(): number {
    return this.int(L.CPL);
  }
  get codeMode(): number {
    return this.int(L.CODE_MODE);
  }
  get longMode(): boolean {
    return (this.lo(L.EFER) & 0x400) !== 0;
  }
  get protectedMode(): boolean {
    return (this.lo(L.CR0) & 1) !== 0;
  }
  get vm86(): boolean {
    return (this.int(L.FLAG_OTHER) & FLAG.vm) !== 0;
  }

  selector(seg: number): number {
    return this.int(L.SEG_SELECTOR + seg * 4);
  }
  segAttr(seg: number): number {
    return this.int(L.SEG_ATTR + seg * 4);
  }
  /** Limit in bytes, unsigned. */
  segLimit(seg: number): number {
    return this.lo(L.SEG_LIMIT + seg * 4);
  }
  /** Base as a signed number. */
  segBase(seg: number): number {
    return this.num(L.SEG_BASE + seg * 8);
  }

  /** EFLAGS, all 32 bits. */
  get eflags(): number {
    const aux = this.int(L.FLAG_AUX);
    const low = this.int(L.FLAG_RESULT);
    const high = this.int(L.FLAG_RESULT + 4);
    let flags = this.int(L.FLAG_OTHER) | 2;
    if (aux < 0) flags |= FLAG.cf;
    if (((aux >>> 31) ^ (aux >>> 30)) & 1) flags |= FLAG.of;
    if (aux & 8) flags |= FLAG.af;
    if ((low | high) === 0) flags |= FLAG.zf;
    if (high >>> 31 !== (aux & 1)) flags |= FLAG.sf;
    if (parityEven((low ^ (aux >>> 8)) & 0xff)) flags |= FLAG.pf;
    return flags;
  }
  set eflags(flags: number) {
    this.setArithmetic(flags);
    this.setLo(L.FLAG_OTHER, (flags & ~ARITH_FLAGS) | 2);
  }
  /** Sets CF, PF, AF, ZF, SF, OF from `flags`; leaves the others. The canonical lazy form of these six bits. */
  setArithmetic(flags: number): void {
    const zero = (flags & FLAG.zf) !== 0;
    const carry = flags & FLAG.cf;
    const overflow = (flags >>> 11) & 1;
    let aux = (carry << 31) | ((carry ^ overflow) << 30);
    if (flags & FLAG.af) aux |= 8;
    if (flags & FLAG.sf) aux |= 1;
    const parity = (flags & FLAG.pf) !== 0;
    if (parity !== zero) aux |= 0x100;
    this.set64(L.FLAG_RESULT, zero ? 0 : 1, 0);
    this.setLo(L.FLAG_AUX, aux);
  }
}
