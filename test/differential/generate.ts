/**
 * Makes a random case for an encoding: bytes, registers, flags and memory, such that memory operands lie in the data pages (or on purpose at a boundary, on
 * no page, at a non-canonical address) and branches lead to INT3.
 */
import type { Rng } from "../../src/sim/rng.ts";
import { type MemoryOperand, type Registers, solveAddress } from "./addressing.ts";
import type { Executed } from "./defined-flags.ts";
import type { Encoding } from "./encodings.ts";
import {
  type Bits,
  CODE,
  CODE_BYTES,
  codeBase,
  DATA,
  DATA_BYTES,
  dataBase,
  IN,
  OPTION,
  START,
  WINDOW,
  WINDOW_BYTES,
} from "./records.ts";
import { edge32, edge64, type Filling, fill } from "./values.ts";

const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7];
/** Its segment prefix. */
const GS = 0x65;
const ARITHMETIC = 0x8d5;
const DF = 0x400;

/** Longer ones raise #GP. */
const MAX_LENGTH = 15;
const STACK = /^(push|pop|enter|leave|call|ret)/;
const STRING = /^(movs|cmps|stos|lods|scas)$/;
const SHIFT = /^(rol|ror|rcl|rcr|shl|shr|sar|shld|shrd)_/;
const INDIRECT = /^(jmp|call)_E$/;

/** One case being made. */
class CaseMaker implements Registers {
  readonly #e: Encoding;
  readonly #rng: Rng;
  readonly #bits: Bits;
  readonly #long: boolean;
  readonly #view: DataView;
  readonly #at: number;
  #addressSize: 16 | 32 | 64;
  #opSize16 = false;
  #rexW = false;
  #operand: MemoryOperand | null = null;
  #rmRegister = -1;
  #regField = 0;
  #segmentPrefix = -1;
  readonly #prefixes: number[] = [];
  /** Address of the memory operand, −1 where there is none in the data pages. */
  #address = -1;

  constructor(e: Encoding, bits: Bits, rng: Rng, view: DataView, at: number) {
    this.#e = e;
    this.#rng = rng;
    this.#bits = bits;
    this.#long = bits === 64;
    this.#view = view;
    this.#at = at;
    this.#addressSize = bits;
  }

  get(n: number): bigint {
    return this.#view.getBigUint64(this.#at + IN.gpr + n * 8, true);
  }
  set(n: number, value: bigint): void {
    this.#view.setBigUint64(this.#at + IN.gpr + n * 8, this.#long ? value : value & 0xffffffffn, true);
  }
  #setNumber(n: number, value: number): void {
    this.set(n, BigInt.asUintN(64, BigInt(value)));
  }

  make(): Executed {
    this.#fillState();
    this.#choosePrefixes();
    this.#prepareStack();
    if (STRING.test(this.#e.row.name)) this.#prepareString();
    if (this.#e.row.operands === "modrm") this.#chooseOperands();
    this.#prepareSpecial();
    const code = this.#encode();
    const count = this.#shiftCount(code.at(-1)!);
    return { name: this.#e.row.name, length: code.length, size: this.#size(), count, free: 0 };
  }

  /** Operand size in bits. */
  #size(): number {
    const { size } = this.#e.row;
    if (typeof size === "number") return size;
    return this.#rexW ? 64 : this.#opSize16 ? 16 : 32;
  }
  #shiftCount(immediate: number): number {
    if (this.#e.row.imm === "one") return 1;
    return this.#e.row.imm === "ib" ? immediate : Number(this.get(RCX) & 0xffn);
  }

  // --- state ------------------------------------------------------------------------------------------------------------------------------------

  #filling(): Filling {
    const { name, fp } = this.#e.row;
    const rng = this.#rng;
    if (STRING.test(name) || /^pcmp[ei]str/.test(name)) return rng.chance(3, 4) ? "letters" : "bytes";
    if (fp === undefined) return rng.chance(3, 4) ? "words" : "bytes";
    return rng.pick(["words", "bytes", "singles", "doubles", "singles", "doubles"] as const);
  }

  #fillState(): void {
    const view = this.#view;
    const rng = this.#rng;
    const at = this.#at;
    const kind = this.#filling();
    for (let n = 0; n < 16; n++) {
      const [low, high] = n < 8 || this.#long ? edge64(rng) : [0, 0];
      view.setUint32(at + IN.gpr + n * 8, low, true);
      view.setUint32(at + IN.gpr + n * 8 + 4, this.#long ? high : 0, true);
    }
    view.setUint32(at + IN.flags, (rng.u32() & (rng.chance(1, 3) ? ARITHMETIC | DF : ARITHMETIC)) | 0x202, true);
    view.setUint32(at + IN.flags + 4, 0, true);
    const mxcsr = rng.chance(1, 2) ? 0x1f80 : rng.chance(1, 2) ? 0x1f80 | (rng.u32() & 0xe03f) : rng.u32() & 0xffff;
    view.setUint32(at + IN.mxcsr, this.#e.row.fp === undefined ? 0x1f80 : mxcsr, true);
    view.setUint32(at + IN.options, this.#bits === 16 ? OPTION.code16 | OPTION.es : 0, true);
    fill(view, at + IN.xmm, this.#long ? 256 : 128, kind, rng);
    if (!this.#long) new Uint8Array(view.buffer, view.byteOffset + at + IN.xmm + 128, 128).fill(0);
    for (let i = 0; i < 8; i++) {
      fill(view, at + IN.st + i * 16, 8, kind, rng);
      view.setUint32(at + IN.st + i * 16 + 8, rng.pick([0, 0x3fff, 0xffff]), true);
      view.setUint32(at + IN.st + i * 16 + 12, 0, true);
    }
    fill(view, at + IN.data, WINDOW_BYTES, kind, rng);
  }

  // --- prefixes ---------------------------------------------------------------------------------------------------------------------------------

  #choosePrefixes(): void {
    const { row, prefix, map } = this.#e;
    const rng = this.#rng;
    const branch = row.imm === "rel8" || row.imm === "relz" || row.size === "f64" || row.size === "addr";
    if (prefix > 0) this.#prefixes.push(prefix);
    // On near branches in 64-bit mode processors differ: Intel's ignore 66, AMD's obey.
    const mayResize = prefix !== 0 && prefix !== 0x66 && row.fp === undefined && !(this.#long && branch);
    if (mayResize && rng.chance(1, branch ? 8 : 3)) this.#prefixes.push(0x66);
    this.#opSize16 = this.#prefixes.includes(0x66) !== (this.#bits === 16);
    if (rng.chance(1, 8)) {
      this.#prefixes.push(0x67);
      this.#addressSize = this.#bits === 32 ? 16 : 32;
    }
    this.#repeatPrefix();
    const hasMemory = row.operands === "modrm" || row.imm === "moffs" || STRING.test(row.name) || row.name === "xlat";
    // FS is the data area's own segment in 32-bit code; in 64-bit code it belongs to the host's threads.
    if (this.#bits === 32 && this.#addressSize === 16 && hasMemory && rng.chance(15, 16)) this.#segmentPrefix = 0x64;
    else if (rng.chance(1, 12)) this.#segmentPrefix = rng.pick([0x26, 0x2e, 0x36, 0x3e]);
    // FS belongs to the host's threads; GS begins at the data area.
    else if (this.#long && hasMemory && rng.chance(1, 10)) this.#segmentPrefix = GS;
    // Whether MASKMOV with a mask of zeros faults is left to the implementation (Intel SDM vol. 2, MASKMOVQ): CS cannot be written.
    if (this.#segmentPrefix === 0x2e && row.name.startsWith("maskmov")) this.#segmentPrefix = 0x3e;
    if (this.#segmentPrefix >= 0 && !(branch && map === 0)) this.#prefixes.push(this.#segmentPrefix);
    else this.#segmentPrefix = -1;
    this.#rexW = this.#long && typeof row.size === "string" && rng.chance(1, 2);
  }

  #repeatPrefix(): void {
    const { row, prefix, map } = this.#e;
    const rng = this.#rng;
    const string = STRING.test(row.name);
    // A repeat prefix on LOOPcc is reserved (Intel SDM vol. 2, 2.1.1); AMD's processors let it choose the sense of ZF.
    const reserved = row.name === "nop" || row.name.startsWith("loop");
    const ignored = map === 0 && prefix === -1 && !reserved && rng.chance(1, 32);
    if ((string && rng.chance(2, 3)) || ignored) this.#prefixes.push(rng.pick([0xf2, 0xf3]));
  }

  // --- operands ---------------------------------------------------------------------------------------------------------------------------------

  /** Base of the segment of memory operands. */
  get #operandBase(): number {
    return this.#addressSize === 16 || this.#segmentPrefix === GS ? DATA : dataBase(this.#bits);
  }
  /** Sets a pointer into the stack segment. */
  #setStackPointer(n: number, address: number): void {
    const offset = address - dataBase(this.#bits);
    // Above SP lies what a 16-bit stack must not look at.
    this.#setNumber(n, this.#bits === 16 ? (edge32(this.#rng) & ~0xffff) | offset : offset);
  }
  /** Where the stack pointer points to, from the start of the window. */
  get #stackOffset(): number {
    const pointer = this.get(RSP);
    return Number(this.#bits === 16 ? pointer & 0xffffn : pointer) + dataBase(this.#bits) - WINDOW;
  }

  #prepareStack(): void {
    const rng = this.#rng;
    if (!STACK.test(this.#e.row.name)) return;
    let sp = WINDOW + 64 + rng.below(128);
    if (rng.chance(1, 2)) sp &= ~7;
    if (rng.chance(1, 16)) sp = rng.chance(1, 2) ? DATA + rng.below(40) : DATA + DATA_BYTES - rng.below(40);
    this.#setStackPointer(RSP, sp);
    if (/^(enter|leave)$/.test(this.#e.row.name)) {
      this.#setStackPointer(RBP, rng.chance(1, 16) ? DATA + rng.below(64) : WINDOW + 32 + rng.below(192));
    }
  }

  #targetAddress(): number {
    const rng = this.#rng;
    const align = this.#e.row.fp === "sse" || this.#e.row.name === "cmpxchg8b" ? rng.chance(7, 8) : rng.chance(1, 3);
    if (rng.chance(20, 24)) {
      const at = WINDOW + 32 + rng.below(WINDOW_BYTES - 96);
      return align ? at & ~15 : at;
    }
    if (rng.chance(1, 2)) return DATA + DATA_BYTES - rng.below(20);
    return rng.pick([DATA - rng.below(20), 0x220000 + rng.below(4096), 0x220000]);
  }

  #chooseOperands(): void {
    const { row, reg, rm, memory, register } = this.#e;
    const rng = this.#rng;
    this.#regField = reg >= 0 ? reg : rng.below(this.#long ? 16 : 8);
    if (row.name === "mov_from_sreg") this.#regField = rng.chance(15, 16) ? rng.below(5) : 6 + rng.below(2);
    const useMemory = memory && (!register || rng.chance(1, 2));
    if (!useMemory) {
      do this.#rmRegister = rm >= 0 ? rm : rng.below(this.#long ? 16 : 8);
      while (INDIRECT.test(row.name) && this.#rmRegister === RSP);
      return;
    }
    this.#address = this.#targetAddress();
    let target = BigInt(this.#address);
    if (this.#long && this.#addressSize === 64 && rng.chance(1, 64)) target = 0x8000_0000_0000n + BigInt(rng.u32());
    target -= BigInt(this.#operandBase);
    if (this.#addressSize === 16) target &= 0xffffn;
    const fixed = STACK.test(row.name) ? [RSP] : [];
    this.#operand = solveAddress(rng, this, { target, addressSize: this.#addressSize, long: this.#long, fixed });
  }

  /** Puts a value where the ModRM operand is; false when its address is not in the window. */
  #setOperand(value: bigint, bytes: number): boolean {
    if (this.#rmRegister >= 0) {
      this.set(this.#rmRegister, value);
      return true;
    }
    const offset = this.#address - WINDOW;
    if (offset < 0 || offset + 8 > WINDOW_BYTES) return false;
    if (bytes === 8) this.#view.setBigUint64(this.#at + IN.data + offset, value, true);
    else this.#view.setUint32(this.#at + IN.data + offset, Number(value & 0xffffffffn), true);
    return true;
  }

  #addresses(n: number): boolean {
    return this.#operand?.registers.includes(n) ?? false;
  }

  #prepareString(): void {
    const rng = this.#rng;
    const pointer = (): number => {
      if (rng.chance(1, 12)) return rng.pick([DATA, DATA + DATA_BYTES - 40]) + rng.below(40);
      return WINDOW + 16 + rng.below(WINDOW_BYTES - 32);
    };
    const bits = this.#addressSize;
    if (this.#segmentPrefix === 0x64) this.#view.setUint32(this.#at + IN.options, OPTION.es, true);
    const base = this.#operandBase;
    const put = (n: number, value: number): void => {
      const low = (1n << BigInt(bits)) - 1n;
      const garbage = rng.chance(1, 2) ? 0n : this.get(n) & ~low;
      this.set(n, garbage | (BigInt(value) & low));
    };
    put(RSI, pointer() - base);
    put(RDI, pointer() - (this.#segmentPrefix === GS ? 0 : base));
    put(RCX, rng.pick([0, 1, 2, 3, rng.below(20), rng.below(20), rng.below(100)]));
    if (rng.chance(3, 4)) this.set(RAX, 0x6161616161616161n);
  }

  // --- what single instructions need ------------------------------------------------------------------------------------------------------------

  #prepareSpecial(): void {
    const { name } = this.#e.row;
    if (/^i?div_E$/.test(name)) this.#prepareDivision();
    else if (/^bt[src]?_EG$/.test(name) && this.#operand) this.#prepareBitString();
    else if (/^cmpxchg/.test(name)) this.#prepareExchange();
    else if (INDIRECT.test(name)) this.#prepareIndirect();
    else if (/^ret/.test(name)) this.#putOnStack(BigInt(this.#landing()));
    else if (name === "popf") this.#maskFlagsOnStack();
    else if (name === "ldmxcsr")
      this.#setOperand(BigInt(this.#rng.u32() & (this.#rng.chance(1, 2) ? 0xffff : 0xfdffff)), 4);
    else if (/^(loop|jcxz)/.test(name) && this.#rng.chance(3, 4)) this.set(RCX, BigInt(this.#rng.below(3)));
    else if (SHIFT.test(name) && !this.#addresses(RCX)) this.#setNumber(RCX, this.#rng.below(72));
    else if (name === "xlat") this.#prepareTranslation();
    else if (name.startsWith("maskmov"))
      this.#setNumber(RDI, WINDOW + 32 + this.#rng.below(WINDOW_BYTES - 64) - this.#operandBase);
    else if (/^pcmpestr/.test(name)) this.#prepareLengths();
  }

  #prepareDivision(): void {
    const rng = this.#rng;
    if (this.#addresses(RDX) || rng.chance(1, 4)) return;
    const high = rng.pick([0, 0, -1, rng.below(100), -rng.below(100)]);
    if (this.#e.row.size !== 8) this.#setNumber(RDX, high);
    else if (!this.#addresses(RAX)) this.#setNumber(RAX, ((high & 0xff) << 8) | (edge32(rng) & 0xff));
  }

  /** A bit offset that stays near the operand. */
  #prepareBitString(): void {
    const rng = this.#rng;
    do this.#regField = rng.below(this.#long ? 16 : 8);
    while (this.#addresses(this.#regField));
    const offset = rng.below(1024) - 512;
    this.#setNumber(this.#regField, offset);
    if (!this.#rexW && rng.chance(1, 2))
      this.set(this.#regField, (this.get(this.#regField) & 0xffffffffn) | (0xabcdn << 32n));
  }

  /** Half of the comparisons find equal values. */
  #prepareExchange(): void {
    const rng = this.#rng;
    if (rng.chance(1, 2) || this.#addresses(RAX) || this.#addresses(RDX)) return;
    const double = this.#e.row.name === "cmpxchg8b";
    const value = this.get(RAX);
    if (double) {
      const pair = this.#rexW ? 8 : 4;
      this.#setOperand(value, pair);
      const address = this.#address;
      this.#address += pair;
      this.#setOperand(this.get(RDX), pair);
      this.#address = address;
    } else this.#setOperand(value, 8);
  }

  /** An offset in the code segment that leads to the code pages, or on no page, that is not in the instruction. */
  #landing(): number {
    const rng = this.#rng;
    const base = codeBase(this.#bits);
    if (rng.chance(1, 12)) return rng.pick([CODE + 0x2000, CODE + 0x8000, CODE + 0xfff0]) - base + rng.below(4);
    const at = CODE + rng.below(CODE_BYTES);
    return (at >= START - 1 && at < START + 16 ? START + 16 : at) - base;
  }
  #prepareIndirect(): void {
    const rng = this.#rng;
    if (this.#long && rng.chance(1, 32) && this.#setOperand(0x8000_0000_0000n, 8)) return;
    if (!this.#setOperand(BigInt(this.#landing()), this.#long ? 8 : 4)) this.#address = -1;
  }
  #putOnStack(value: bigint): void {
    const offset = this.#stackOffset;
    if (offset >= 0 && offset + 8 <= WINDOW_BYTES) this.#view.setBigUint64(this.#at + IN.data + offset, value, true);
  }
  /** TF would step the host, AC stop it; NT and ID would outlive the case. */
  #maskFlagsOnStack(): void {
    const offset = this.#stackOffset;
    if (offset < 0 || offset + 8 > WINDOW_BYTES) {
      this.#setStackPointer(RSP, WINDOW + 64);
      this.#maskFlagsOnStack();
      return;
    }
    const at = this.#at + IN.data + offset;
    this.#view.setUint32(at, this.#view.getUint32(at, true) & 0x00db_be_ff & ~0x240000, true);
  }
  #prepareTranslation(): void {
    const target = BigInt(this.#targetAddress()) - (this.get(RAX) & 0xffn);
    if (this.#addressSize === 64) this.set(RBX, target);
    else {
      const low = (1n << BigInt(this.#addressSize)) - 1n;
      const relative = target - BigInt(this.#operandBase);
      this.set(RBX, (this.get(RBX) & ~low) | (relative & low));
    }
  }
  #prepareLengths(): void {
    const rng = this.#rng;
    if (!this.#addresses(RAX)) this.#setNumber(RAX, rng.below(40) - 20);
    if (!this.#addresses(RDX)) this.#setNumber(RDX, rng.below(40) - 20);
  }

  // --- bytes ------------------------------------------------------------------------------------------------------------------------------------

  #encode(): readonly number[] {
    const { map, opcode, row } = this.#e;
    const rng = this.#rng;
    const lockable = row.lock && this.#operand !== null;
    if (lockable ? rng.chance(1, 4) : rng.chance(1, 128)) this.#prefixes.push(0xf0);
    for (let i = this.#prefixes.length - 1; i > 0; i--) {
      const j = rng.below(i + 1);
      [this.#prefixes[i], this.#prefixes[j]] = [this.#prefixes[j]!, this.#prefixes[i]!];
    }
    const bytes = [...this.#prefixes];
    let rex = this.#rexW ? 8 : 0;
    if (this.#regField >= 8) rex |= 4;
    if (this.#operand) rex |= this.#operand.rex;
    else if (this.#rmRegister >= 8) rex |= 1;
    if (row.operands === "opreg" && this.#long && rng.chance(1, 3)) rex |= 1;
    if (rex !== 0 || (this.#long && rng.chance(1, 4))) bytes.push(0x40 | rex);
    if (map > 0) bytes.push(0x0f);
    if (map > 1) bytes.push(map === 2 ? 0x38 : 0x3a);
    bytes.push(opcode);
    let patch = -1;
    if (row.operands === "modrm") patch = this.#encodeModrm(bytes);
    this.#encodeImmediate(bytes);
    if (patch >= 0 && this.#operand!.relative) {
      const disp = (this.#operand!.disp - START - bytes.length) | 0;
      for (let i = 0; i < 4; i++) bytes[patch + i] = (disp >>> (8 * i)) & 0xff;
    }
    const at = this.#at + IN.code;
    for (let i = 0; i < 16; i++) this.#view.setUint8(at + i, bytes[i] ?? 0xcc);
    return bytes;
  }

  /** Returns where the displacement lies, −1 when there is none of 4 bytes. */
  #encodeModrm(bytes: number[]): number {
    const reg = (this.#regField & 7) << 3;
    const operand = this.#operand;
    if (operand === null) {
      bytes.push(0xc0 | reg | (this.#rmRegister & 7));
      return -1;
    }
    bytes.push(operand.modrm | reg);
    if (operand.sib !== null) bytes.push(operand.sib);
    const at = bytes.length;
    for (let i = 0; i < operand.dispBytes; i++) bytes.push((operand.disp >>> (8 * i)) & 0xff);
    return operand.dispBytes === 4 ? at : -1;
  }

  #push(bytes: number[], value: number, count: number): void {
    for (let i = 0; i < count; i++) bytes.push(i < 4 ? (value >>> (8 * i)) & 0xff : value < 0 ? 0xff : 0);
  }

  #encodeImmediate(bytes: number[]): void {
    const rng = this.#rng;
    const { row } = this.#e;
    const word = this.#opSize16 && !this.#rexW ? 2 : 4;
    switch (row.imm) {
      case "ib":
        this.#push(bytes, rng.chance(1, 2) ? edge32(rng) : rng.below(256), 1);
        break;
      case "iw":
        this.#push(bytes, edge32(rng), 2);
        break;
      case "iz":
        this.#push(bytes, edge32(rng), word);
        break;
      case "iv":
        if (this.#rexW) for (const half of edge64(rng)) this.#push(bytes, half, 4);
        else this.#push(bytes, edge32(rng), word);
        break;
      case "iw_ib":
        this.#push(bytes, rng.chance(1, 2) ? rng.below(64) : rng.below(2048), 2);
        this.#push(bytes, rng.chance(3, 4) ? rng.below(6) : rng.below(256), 1);
        break;
      case "moffs": {
        const address = this.#targetAddress() - this.#operandBase;
        this.#push(bytes, address, this.#addressSize / 8);
        break;
      }
      case "rel8":
      case "relz": {
        const count = row.imm === "rel8" ? 1 : word;
        const start = START - codeBase(this.#bits);
        const next = start + bytes.length + count;
        let distance = row.imm === "rel8" ? (rng.u32() << 24) >> 24 : this.#landing() - next;
        if (next + distance >= start && next + distance < next) distance = 0;
        this.#push(bytes, distance, count);
      }
    }
  }
}

/** Writes a case for `e` at `at`; tells what it is. */
export function generate(e: Encoding, bits: Bits, rng: Rng, view: DataView, at: number): Executed {
  for (;;) {
    const executed = new CaseMaker(e, bits, rng, view, at).make();
    if (executed.length <= MAX_LENGTH) return executed;
  }
}
