/**
 * Decodes one instruction into a record (layout REC). Intel SDM vol. 2, chapter 2 (instruction format) and appendix A (opcode maps).
 * Not modelled: VEX and EVEX encodings (#UD), and the operand-size prefix on near branches in 64-bit mode (ignored, as Intel processors do).
 */
import { exists } from "../../base/assert.ts";
import * as L from "../layout.ts";
import type { CpuModel, FeatureName } from "../model.ts";
import { readAddress } from "./address.ts";
import type { HandlerIndex } from "./handlers.ts";
import type { Size } from "./ops.ts";
import type { Node, OpcodeMap, RegClass, Row } from "./table/node.ts";

/** The opcode maps: one-byte, 0F, 0F 38, 0F 3A. */
export type OpcodeMaps = readonly [OpcodeMap, OpcodeMap, OpcodeMap, OpcodeMap];

/** How decoding one instruction ended. */
export const DECODED = {
  ok: 0,
  /** More bytes are needed than were given: the instruction crosses the page. */
  more: 1,
} as const;

const MAX_LENGTH = 15;
const SEGMENT_PREFIX: { readonly [byte: number]: number } = { 38: 0, 46: 1, 54: 2, 62: 3, 100: 4, 101: 5 };

/** Thrown inside the decoder only. */
const NEED_MORE = { decoder: "need more" };
const VECTOR_PREFIXES: ReadonlySet<number> = new Set([0x62, 0xc4, 0xc5]);
const UNDEFINED = { decoder: "undefined" };
const INVALID = { decoder: "undefined by the manual in this mode or form" };
const TOO_LONG = { decoder: "too long" };

export class Decoder {
  // Prefixes and fields of the instruction being decoded, for readAddress and the record.
  mode = 0;
  rex = 0;
  hasRex = false;
  opSize16 = false;
  addressSize: 16 | 32 | 64 = 32;
  segment = -1;
  modrm = 0;
  // The memory operand, filled by readAddress.
  base = L.ZERO;
  index = L.ZERO;
  scale = 0;
  disp = 0;
  ripRelative = false;
  stackBase = false;

  /** Length of the last instruction in bytes. */
  length = 0;
  /** The last instruction ends its block. */
  ends = false;
  /** Records written: 1, or 2 when an address computation precedes. */
  records = 1;
  /** Offset (from the page) of the target of a direct branch inside the page, −1 if there is none. */
  target = -1;

  readonly #bytes = new Uint8Array(16);
  #available = 0;
  #position = 0;
  #repe = false;
  #repne = false;
  #lock = false;
  #prefix66 = false;
  #map = 0;
  #opcode = 0;
  #immediate = 0;
  #immediateHigh = 0;
  readonly #view: DataView;
  readonly #maps: OpcodeMaps;
  readonly #handlers: HandlerIndex;
  readonly #model: CpuModel;

  constructor(view: DataView, maps: OpcodeMaps, handlers: HandlerIndex, model: CpuModel) {
    this.#view = view;
    this.#maps = maps;
    this.#handlers = handlers;
    this.#model = model;
  }

  /** Where the caller puts up to 15 bytes of code. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /**
   * Decodes the instruction in `bytes` (`available` of them) for code mode `mode`, at `offset` in its page, and writes its record(s) at `record`.
   * Undefined encodings give a record that raises #UD.
   */
  decode(available: number, mode: number, offset: number, record: number): number {
    this.#begin(available, mode);
    try {
      const row = this.#readOpcode();
      this.#write(row, offset, record);
    } catch (stop) {
      if (stop === NEED_MORE) return DECODED.more;
      if (stop !== UNDEFINED && stop !== INVALID && stop !== TOO_LONG) throw stop;
      this.length = Math.max(1, this.#position);
      this.ends = true;
      this.records = 1;
      this.target = -1;
      const plain = stop === INVALID && !this.#isVectorPrefix();
      this.#writeHelper(stop === TOO_LONG ? "gp0" : plain ? "ud2" : "undefined", offset, record);
    }
    return DECODED.ok;
  }

  /** C4, C5 and 62 where they are not LES, LDS and BOUND: VEX and EVEX, instructions that are not built. */
  #isVectorPrefix(): boolean {
    return this.#map === 0 && VECTOR_PREFIXES.has(this.#opcode);
  }

  /** The next code byte. */
  next8(): number {
    if (this.#position >= MAX_LENGTH) throw TOO_LONG;
    if (this.#position >= this.#available) throw NEED_MORE;
    return this.#bytes[this.#position++]!;
  }
  next16(): number {
    const low = this.next8();
    return low | (this.next8() << 8);
  }
  /** Signed 32 bits. */
  next32(): number {
    const low = this.next16();
    return low | (this.next16() << 16);
  }

  #begin(available: number, mode: number): void {
    this.#available = available;
    this.#position = 0;
    this.mode = mode;
    this.rex = 0;
    this.hasRex = false;
    this.opSize16 = mode === 0;
    this.addressSize = mode === 0 ? 16 : mode === 1 ? 32 : 64;
    this.segment = -1;
    this.#repe = false;
    this.#repne = false;
    this.#lock = false;
    this.base = L.ZERO;
    this.index = L.ZERO;
    this.scale = 0;
    this.disp = 0;
    this.ripRelative = false;
    this.stackBase = false;
    this.ends = false;
    this.target = -1;
    this.#immediate = 0;
    this.#immediateHigh = 0;
    this.modrm = 0;
    this.#prefix66 = false;
  }

  #readPrefixes(): number {
    for (;;) {
      const byte = this.next8();
      if (byte === 0x66) {
        this.opSize16 = this.mode !== 0;
        this.#prefix66 = true;
      } else if (byte === 0x67) this.addressSize = this.mode === 1 ? 16 : 32;
      else if (byte === 0xf0) this.#lock = true;
      else if (byte === 0xf2) {
        this.#repne = true;
        this.#repe = false;
      } else if (byte === 0xf3) {
        this.#repe = true;
        this.#repne = false;
      } else if (SEGMENT_PREFIX[byte] !== undefined) {
        // ES, CS, SS and DS prefixes are ignored in 64-bit mode.
        const segment = SEGMENT_PREFIX[byte];
        if (this.mode !== 2 || segment >= 4) this.segment = segment;
      } else if (this.mode === 2 && (byte & 0xf0) === 0x40) {
        const following = this.next8();
        // A REX prefix counts only directly before the opcode.
        this.#position--;
        if (!isPrefix(following)) {
          this.rex = byte & 15;
          this.hasRex = true;
          return this.next8();
        }
      } else return byte;
    }
  }

  #readOpcode(): Row {
    let opcode = this.#readPrefixes();
    this.#map = 0;
    if (opcode === 0x0f) {
      opcode = this.next8();
      this.#map = 1;
      if (opcode === 0x38 || opcode === 0x3a) {
        this.#map = opcode === 0x38 ? 2 : 3;
        opcode = this.next8();
      }
    }
    this.#opcode = opcode;
    const row = this.#resolve(this.#maps[this.#map]![opcode] ?? null);
    if (row === null) throw UNDEFINED;
    if (row.no64 && this.mode === 2) throw INVALID;
    if (row.operands === "modrm") this.#peekModrm();
    return row;
  }

  #modrmRead = false;
  #peekModrm(): number {
    if (!this.#modrmRead) {
      this.modrm = this.next8();
      this.#modrmRead = true;
    }
    return this.modrm;
  }

  /** Walks from a node to its row. Reads ModRM when a choice depends on it. */
  #resolve(node: Node | null): Row | null {
    this.#modrmRead = false;
    while (node !== null && node.kind !== "row") {
      if (node.kind === "group") node = node.by[(this.#peekModrm() >> 3) & 7] ?? null;
      else if (node.kind === "mod") node = this.#peekModrm() >= 0xc0 ? node.register : node.memory;
      else if (node.kind === "rm") node = node.by[this.#peekModrm() & 7] ?? node.otherwise;
      else if (node.kind === "mode") node = this.mode === 2 ? node.long : node.legacy;
      else {
        const chosen: Node | null = this.#repe
          ? node.pf3
          : this.#repne
            ? node.pf2
            : this.#prefix66
              ? node.p66
              : node.none;
        // Without the feature, the prefix is ignored (TZCNT runs as BSF).
        const missing =
          chosen !== null &&
          chosen.kind === "row" &&
          chosen.feature !== undefined &&
          !this.#model.has(chosen.feature as FeatureName);
        node = missing && (this.#repe || this.#repne) ? node.none : chosen;
      }
    }
    if (node?.feature !== undefined && !this.#model.has(node.feature as FeatureName)) return null;
    return node;
  }

  #operandSize(row: Row): Size {
    const wide = (this.rex & 8) !== 0;
    const plain: Size = wide ? 64 : this.opSize16 ? 16 : 32;
    if (typeof row.size === "number") return row.size;
    if (row.size === "v") return plain;
    if (row.size === "addr") return this.addressSize;
    if (row.size === "y") return wide ? 64 : 32;
    if (row.size === "q") return this.mode === 2 ? 64 : 32;
    if (this.mode !== 2) return plain;
    return row.size === "z64" && this.opSize16 && !wide ? 16 : 64;
  }

  #write(row: Row, offset: number, record: number): void {
    const size = this.#operandSize(row);
    const memory = row.operands === "modrm" && this.modrm < 0xc0 && row.modIgnored !== true;
    if (memory) readAddress(this);
    else if (row.imm === "moffs") this.stackBase = false;
    if ((row.only === "mem" && !memory) || (row.only === "reg" && memory)) throw INVALID;
    if (this.#lock && !(row.lock && memory)) throw INVALID;
    this.#readImmediate(row, size);
    this.length = this.#position;
    this.ends = row.ends;
    this.records = 1;
    const name = this.#nameOf(row, offset);
    let main = record;
    if (memory && this.mode === 2 && (this.addressSize === 32 || this.#ripOverflows(offset))) {
      // POP to memory counts from the stack pointer after the pop (Intel SDM vol. 2, POP).
      if (row.name === "pop_E" && this.base === L.REG.rsp * 8) this.disp += size / 8;
      this.#writeMicro(offset, record);
      main += L.RECORD_SIZE;
      this.records = 2;
    }
    const v = this.#view;
    v.setUint16(
      main + L.REC.handler,
      this.#handlers.find(name, size, memory || row.imm === "moffs" || name === "xlat", this.mode === 2),
      true,
    );
    this.#writeRegisters(row, main, memory);
    this.#writeCommon(row, main, size, memory, offset);
  }

  #ripOverflows(offset: number): boolean {
    return this.ripRelative && this.disp + offset + this.length > 0x7fffffff;
  }

  /** A record that computes an address into EA_TEMP for the instruction behind it. */
  #writeMicro(offset: number, record: number): void {
    const v = this.#view;
    v.setUint16(
      record + L.REC.handler,
      this.#handlers.find(this.addressSize === 32 ? "ea32" : "ea64", 64, true, true),
      true,
    );
    v.setUint16(record + L.REC.offset, offset, true);
    v.setUint8(record + L.REC.length, this.length);
    v.setUint8(record + L.REC.r2, this.base);
    v.setUint8(record + L.REC.index, this.index);
    v.setUint8(record + L.REC.scale, this.scale);
    const rip = this.ripRelative ? offset + this.length : 0;
    v.setBigInt64(record + L.REC.imm, BigInt(this.disp) + BigInt(rip), true);
    this.base = L.EA_TEMP;
    this.index = L.ZERO;
    this.scale = 0;
    this.disp = 0;
    this.ripRelative = false;
  }

  /** Full name of the handler: branches and strings come in several. */
  #nameOf(row: Row, offset: number): string {
    if (row.imm === "rel8" || row.imm === "relz") {
      const target = offset + this.length + this.#immediate;
      this.#immediate = target;
      this.#immediateHigh = target < 0 ? -1 : 0;
      const truncates = this.mode === 1 && this.opSize16;
      const inPage = target >= 0 && target < 4096 && !truncates;
      if (inPage) this.target = target;
      return `${row.name}_${inPage ? "in" : "out"}`;
    }
    const string =
      this.#map === 0 &&
      ((this.#opcode >= 0xa4 && this.#opcode <= 0xa7) || (this.#opcode >= 0xaa && this.#opcode <= 0xaf));
    if (!string) return this.#map === 0 && this.#opcode === 0x90 && this.rex & 1 ? "xchg_EG" : this.#nameByRex(row);
    const compares = row.name === "cmps" || row.name === "scas";
    const repeat = this.#repne ? (compares ? "_repne" : "_repe") : this.#repe ? "_repe" : "";
    return `${row.name}${repeat}_a${this.addressSize}`;
  }
  /** CMPXCHG8B becomes CMPXCHG16B by REX.W. */
  #nameByRex(row: Row): string {
    if (row.name === "cmpxchg8b" && this.rex & 8) {
      if (!this.#model.has("cx16")) throw UNDEFINED;
      return "cmpxchg16b";
    }
    return row.name;
  }

  #readImmediate(row: Row, size: Size): void {
    let value = 0;
    let high: number | null = null;
    switch (row.imm) {
      case "":
        return;
      case "one":
        value = 1;
        break;
      case "ib":
      case "rel8":
        value = (this.next8() << 24) >> 24;
        break;
      case "iw":
        value = this.next16();
        break;
      case "iz":
        value = size === 16 ? (this.next16() << 16) >> 16 : this.next32();
        break;
      case "relz":
        value = size === 16 ? (this.next16() << 16) >> 16 : this.next32();
        break;
      case "iv":
        if (size === 16) value = this.next16();
        else {
          value = this.next32();
          if (size === 64) high = this.next32();
        }
        break;
      case "iw_ib":
        value = this.next16();
        value |= this.next8() << 16;
        break;
      case "far":
        value = this.opSize16 ? this.next16() : this.next32();
        high = this.next16();
        break;
      case "moffs":
        value = this.addressSize === 16 ? this.next16() : this.next32();
        high = this.addressSize === 64 ? this.next32() : 0;
        break;
    }
    this.#immediate = value;
    this.#immediateHigh = high ?? (value < 0 ? -1 : 0);
  }

  #registerByte(number: number, kind: RegClass, byte: boolean): number {
    if (kind === "xmm") return number * L.XMM_SCALE;
    if (kind === "mmx") return (number & 7) * 16;
    if (byte && !this.hasRex && number >= 4 && number < 8) return (number - 4) * 8 + 1;
    return number * 8;
  }

  #writeRegisters(row: Row, record: number, memory: boolean): void {
    const v = this.#view;
    const reg = ((this.modrm >> 3) & 7) | ((this.rex & 4) << 1);
    const rm = (this.modrm & 7) | ((this.rex & 1) << 3);
    let r1 = 0;
    let r2 = 0;
    if (row.operands === "modrm") {
      if (row.reg !== "raw") r1 = this.#registerByte(reg, row.reg, row.reg8);
      if (!memory) r2 = row.rm === "raw" ? 0 : this.#registerByte(rm, row.rm, row.rm8 || row.size === 8);
    } else if (row.operands === "opreg")
      r2 = this.#registerByte((this.#opcode & 7) | ((this.rex & 1) << 3), "gpr", row.size === 8);
    if (this.#map === 0 && this.#opcode === 0x90 && this.rex & 1) r2 = L.REG.r8 * 8;
    v.setUint8(record + L.REC.r1, r1);
    v.setUint8(record + L.REC.r2, memory ? this.base : r2);
    v.setUint8(record + L.REC.index, this.index);
    v.setUint8(record + L.REC.scale, this.scale);
    // The bare register number keeps 3 bits for segments, 4 for control and debug registers.
    v.setUint8(record + L.REC.aux, row.aux ?? reg);
  }

  #writeCommon(row: Row, record: number, size: Size, memory: boolean, offset: number): void {
    const v = this.#view;
    const segment = this.segment >= 0 ? this.segment : this.stackBase ? L.SEG.ss : L.SEG.ds;
    v.setUint16(record + L.REC.offset, offset, true);
    v.setUint8(record + L.REC.seg, segment * 8);
    v.setUint8(record + L.REC.length, this.length);
    let prefix = memory ? L.PFX.memory : 0;
    if (this.#lock) prefix |= L.PFX.lock;
    if (this.#repe) prefix |= L.PFX.repe;
    if (this.#repne) prefix |= L.PFX.repne;
    if (size === 16) prefix |= L.PFX.opSize16;
    if (size === 64) prefix |= L.PFX.opSize64;
    if (this.addressSize === 16) prefix |= L.PFX.addrSize16;
    if (this.addressSize === 64) prefix |= L.PFX.addrSize64;
    v.setUint8(record + L.REC.prefix, prefix);
    v.setInt32(record + L.REC.disp, this.ripRelative ? this.disp + offset + this.length : this.disp, true);
    v.setInt32(record + L.REC.imm, this.#immediate, true);
    v.setInt32(record + L.REC.imm + 4, this.#immediateHigh, true);
    const branch = row.imm === "rel8" || row.imm === "relz";
    v.setUint32(record + L.REC.target, branch ? 0 : (this.#map << 16) | (this.#opcode << 8) | this.modrm, true);
    const wide = branch ? !this.opSize16 : this.addressSize !== 16;
    v.setUint32(record + L.REC.mask, wide ? 0xffffffff : 0xffff, true);
  }

  /** A record that calls a helper without operands. */
  #writeHelper(name: string, offset: number, record: number): void {
    const v = this.#view;
    for (let i = 0; i < L.RECORD_SIZE; i += 4) v.setUint32(record + i, 0, true);
    v.setUint16(record + L.REC.handler, exists(this.#handlers.find(name, 32, false, true), name), true);
    v.setUint16(record + L.REC.offset, offset, true);
    v.setUint8(record + L.REC.length, this.length);
    v.setUint32(record + L.REC.target, (this.#map << 16) | (this.#opcode << 8) | this.modrm, true);
  }
}

function isPrefix(byte: number): boolean {
  return (
    byte === 0x66 ||
    byte === 0x67 ||
    byte === 0xf0 ||
    byte === 0xf2 ||
    byte === 0xf3 ||
    SEGMENT_PREFIX[byte] !== undefined ||
    (byte & 0xf0) === 0x40
  );
}
