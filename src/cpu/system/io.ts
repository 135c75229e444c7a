import { type CpuContext, DONE, EXC, type HelperTable, raise } from "../context.ts";
import * as L from "../layout.ts";
import { type CpuState, FLAG, MODE } from "../state.ts";
import type { DebugRegisters } from "./debug-registers.ts";
import type { MemoryPort, TlbPort } from "./helper-ports.ts";
import { addressSize, addToRegister, readAddress } from "./operands.ts";

const RAX = L.GPR;
const RCX = L.GPR + L.REG.rcx * 8;
const RDX = L.GPR + L.REG.rdx * 8;
const RSI = L.GPR + L.REG.rsi * 8;
const RDI = L.GPR + L.REG.rdi * 8;
/** Last byte of a TSS that has an I/O map base, and the field's offset. */
const TSS_MIN_LIMIT = 103;
const TSS_MAP_BASE = 102;
/** Types of a 32- or 64-bit TSS, available and busy, without the P and DPL bits. */
const TSS32 = 0x9;
const TSS32_BUSY = 0xb;

/** Bytes of the access: REC.aux, where 4 stands for "by operand size" too. */
function widthOf(s: CpuState, record: number): number {
  const width = s.u8[record + L.REC.aux]!;
  return width === 4 && s.u8[record + L.REC.prefix]! & L.PFX.opSize16 ? 2 : width;
}

export class PortIo {
  readonly #ctx: CpuContext;
  readonly #s: CpuState;
  readonly #tlb: TlbPort;
  readonly #memory: MemoryPort;
  readonly #debug: DebugRegisters;

  constructor(ctx: CpuContext, tlb: TlbPort, memory: MemoryPort, debug: DebugRegisters) {
    this.#ctx = ctx;
    this.#s = ctx.state;
    this.#tlb = tlb;
    this.#memory = memory;
    this.#debug = debug;
  }

  /** Raises #GP(0) unless `width` bytes at `port` may be accessed: CPL ≤ IOPL outside virtual-8086 mode, or the bitmap says so. */
  check(port: number, width: number): void {
    const flags = this.#s.int(L.FLAG_OTHER);
    if (this.#s.int(L.CPL) > ((flags >>> 12) & 3) || (flags & FLAG.vm) !== 0) this.#checkBitmap(port, width);
  }

  /** SDM vol. 1, 18.5.2. Two bytes are read, so that the last byte of the map must be followed by one more within the limit. */
  #checkBitmap(port: number, width: number): void {
    const s = this.#s;
    const attr = s.segAttr(L.SEG.tr);
    const type = attr & 0x1f;
    const limit = s.segLimit(L.SEG.tr);
    if (attr & L.ATTR_UNUSABLE || (type !== TSS32 && type !== TSS32_BUSY) || limit < TSS_MIN_LIMIT) raise(EXC.gp, 0);
    const tss = s.segBase(L.SEG.tr);
    const offset = this.#memory.read16(tss + TSS_MAP_BASE) + (port >>> 3);
    if (offset + 1 > limit) raise(EXC.gp, 0);
    const bits = this.#memory.read16(tss + offset) >>> (port & 7);
    if (bits & ((1 << width) - 1)) raise(EXC.gp, 0);
  }

  /** Reads a port that was checked; unsigned. */
  #read(port: number, width: number): number {
    const ctx = this.#ctx;
    const value = ctx.bus.portRead(port, width);
    if (this.#s.int(L.DR7) & 0xff) this.#breakpoint(port, width);
    return value;
  }

  /** Writes a port that was checked. True when the map of physical memory changed by it. */
  #write(port: number, width: number, value: number): boolean {
    const ctx = this.#ctx;
    const { bus } = ctx;
    const generation = bus.generation;
    bus.portWrite(port, width, value);
    if (this.#s.int(L.DR7) & 0xff) this.#breakpoint(port, width);
    if (bus.generation === generation) return false;
    this.#tlb.checkGeneration();
    return true;
  }

  /** I/O breakpoints are traps: reported after the instruction. */
  #breakpoint(port: number, width: number): void {
    const hit = this.#debug.matchPort(port, width);
    if (hit === 0) return;
    const s = this.#s;
    s.setLo(L.DEBUG_TRAP, s.int(L.DEBUG_TRAP) | hit);
    this.#ctx.post(L.PENDING.debugTrap);
  }

  in(port: number, width: number): number {
    this.check(port, width);
    const s = this.#s;
    const value = this.#read(port, width);
    if (width === 4) s.set64(RAX, value, 0);
    else if (width === 2) s.u16[(s.base + RAX) >>> 1] = value;
    else s.u8[s.base + RAX] = value;
    return DONE.next;
  }

  out(record: number, port: number, width: number): number {
    this.check(port, width);
    const low = this.#s.lo(RAX);
    const value = width === 4 ? low : width === 2 ? low & 0xffff : low & 0xff;
    if (!this.#write(port, width, value)) return DONE.next;
    this.#ctx.advance(record);
    return DONE.changed;
  }

  /** Puts the address of the string element at `register` into SLOW_ADDRESS: an offset, or in 64-bit mode a linear address. */
  #address(register: number, size: number, seg: number): void {
    const s = this.#s;
    const low = size === 2 ? s.lo(register) & 0xffff : s.lo(register);
    const high = size === 8 ? s.hi(register) : 0;
    if (s.int(L.CODE_MODE) !== MODE.code64 || seg > L.SEG.gs) {
      s.set64(L.SLOW_ADDRESS, low, high);
      return;
    }
    const base = L.SEG_BASE + seg * 8;
    const sum = low + s.lo(base);
    s.set64(L.SLOW_ADDRESS, sum, high + s.hi(base) + (sum > 0xffffffff ? 1 : 0));
  }

  /** INS: port DX to ES:rDI. The destination is checked before the port is read, as the read may have effects. */
  ins(record: number): number {
    const s = this.#s;
    const size = addressSize(s, record);
    if (this.#nothingLeft(record, size)) return DONE.next;
    const width = widthOf(s, record);
    const port = s.lo(RDX) & 0xffff;
    this.check(port, width);
    this.#address(RDI, size, L.SEG.es);
    const memory = this.#memory;
    if (memory.probeWrite(L.SEG.es, width) !== 0) memory.throwFault();
    memory.lo = this.#read(port, width);
    memory.hi = 0;
    memory.storeAt(L.SEG.es, width);
    return this.#step(record, RDI, size, width);
  }

  /** OUTS: DS:rSI (or the overriding segment) to port DX. */
  outs(record: number): number {
    const s = this.#s;
    const size = addressSize(s, record);
    if (this.#nothingLeft(record, size)) return DONE.next;
    const width = widthOf(s, record);
    const port = s.lo(RDX) & 0xffff;
    this.check(port, width);
    const seg = s.u8[record + L.REC.seg]! >>> 3;
    this.#address(RSI, size, seg);
    this.#memory.loadAt(seg, width);
    const moved = this.#write(port, width, this.#memory.lo);
    const done = this.#step(record, RSI, size, width);
    if (!moved || done === DONE.changed) return done;
    this.#ctx.advance(record);
    return DONE.changed;
  }

  #repeats(record: number): boolean {
    return (this.#s.u8[record + L.REC.prefix]! & (L.PFX.repe | L.PFX.repne)) !== 0;
  }

  #nothingLeft(record: number, size: number): boolean {
    if (!this.#repeats(record)) return false;
    const s = this.#s;
    return readAddress(s, RCX, size) === 0;
  }

  /** Moves the index register and counts down; stays on the instruction while elements are left. */
  #step(record: number, index: number, size: number, width: number): number {
    const s = this.#s;
    addToRegister(s, index, size, s.int(L.FLAG_OTHER) & FLAG.df ? -width : width);
    if (!this.#repeats(record)) return DONE.next;
    addToRegister(s, RCX, size, -1);
    return readAddress(s, RCX, size) === 0 ? DONE.next : DONE.changed;
  }
}

export function ioHelpers(ctx: CpuContext, io: PortIo): HelperTable {
  const s = ctx.state;
  return {
    in_imm: record => io.in(s.u8[record + L.REC.imm]!, widthOf(s, record)),
    in_dx: record => io.in(s.lo(RDX) & 0xffff, widthOf(s, record)),
    out_imm: record => io.out(record, s.u8[record + L.REC.imm]!, widthOf(s, record)),
    out_dx: record => io.out(record, s.lo(RDX) & 0xffff, widthOf(s, record)),
    ins: record => io.ins(record),
    outs: record => io.outs(record),
  };
}
