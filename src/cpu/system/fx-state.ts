/**
 * Saving and restoring floating-point and SSE state: FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XRSTOR, LDMXCSR, STMXCSR. Intel SDM vol. 1, sections 10.5 (FXSAVE
 * area), 13.4-13.8 (XSAVE area and instructions), vol. 2 for the instructions.
 *
 * XMM and MXCSR are saved whatever CR4.OSFXSR says (the manual leaves that to the implementation). XINUSE is always 1 for both components and XSAVEOPT
 * saves like XSAVE, both of which the manual allows. Not modelled: the compacted format (XRSTOR refuses it, as without CPUID XSAVEC), supervisor state.
 */
import { type CpuContext, DONE, EXC, type HelperTable, raise } from "../context.ts";
import type { X87 } from "../fpu/x87.ts";
import { X87_LAYOUT } from "../fpu/x87-state.ts";
import * as L from "../layout.ts";
import { type CpuState, MODE } from "../state.ts";
import { CR0, CR4 } from "./control-bits.ts";
import { OperandBlock } from "./fx-state-block.ts";
import type { MemoryPort } from "./helper-ports.ts";

/** Bits of MXCSR that exist, DAZ among them; told as MXCSR_MASK. */
export const MXCSR_MASK = 0xffff;
const FXSAVE_SIZE = 512;
const XSAVE_SIZE = 576;
const MXCSR_AT = 24;
const X87_AT = 32;
const XMM_AT = 160;
const XMM_BYTES = 16;
/** Offsets in the XSAVE header. */
const XSTATE_BV = 512;
const XCOMP_BV = 520;
const HEADER_CHECKED_TO = 536;
const X87_COMPONENT = 1;
const SSE_COMPONENT = 2;

class SavedState {
  readonly #ctx: CpuContext;
  readonly #s: CpuState;
  readonly #x87: X87;
  readonly #block: OperandBlock;

  constructor(ctx: CpuContext, memory: MemoryPort, x87: X87) {
    this.#ctx = ctx;
    this.#s = ctx.state;
    this.#x87 = x87;
    this.#block = new OperandBlock(ctx.state, memory);
  }

  /** #GP(0) unless the operand is aligned to `unit` bytes (of the linear address; segment bases count in legacy modes). */
  #checkAligned(record: number, unit: number): void {
    const s = this.#s;
    let address = s.lo(L.SLOW_ADDRESS);
    if (s.int(L.CODE_MODE) !== MODE.code64) address += s.lo(L.SEG_BASE + s.u8[record + L.REC.seg]!);
    if (address & (unit - 1)) raise(EXC.gp, 0);
  }

  /** Bytes of XMM registers that the mode can see. */
  #xmmBytes(): number {
    return (this.#s.int(L.CODE_MODE) === MODE.code64 ? 16 : 8) * XMM_BYTES;
  }
  #wide(record: number): boolean {
    return (this.#s.u8[record + L.REC.prefix]! & L.PFX.opSize64) !== 0;
  }

  #copyXmmOut(): void {
    const s = this.#s;
    this.#block.bytes.set(s.u8.subarray(s.base + L.XMM, s.base + L.XMM + this.#xmmBytes()), XMM_AT);
  }
  #copyXmmIn(): void {
    const s = this.#s;
    s.u8.set(this.#block.bytes.subarray(XMM_AT, XMM_AT + this.#xmmBytes()), s.base + L.XMM);
  }
  #putMxcsr(): void {
    this.#block.view.setUint32(MXCSR_AT, this.#s.lo(L.MXCSR), true);
    this.#block.view.setUint32(MXCSR_AT + 4, MXCSR_MASK, true);
  }
  /** MXCSR of the image; #GP(0) when it has a reserved bit. */
  #imageMxcsr(): number {
    const value = this.#block.view.getUint32(MXCSR_AT, true);
    if (value & ~MXCSR_MASK) raise(EXC.gp, 0);
    return value;
  }

  #checkFx(record: number): void {
    const s = this.#s;
    if (!this.#ctx.model.has("fxsr")) raise(EXC.ud);
    if (s.int(L.CR0) & (CR0.em | CR0.ts)) raise(EXC.nm);
    this.#checkAligned(record, 16);
  }

  fxsave(record: number): number {
    this.#checkFx(record);
    const block = this.#block;
    block.probe(record, FXSAVE_SIZE);
    this.#x87.fxsave(this.#wide(record), block.view, 0);
    this.#putMxcsr();
    this.#copyXmmOut();
    // Bytes 416-511 are reserved or the program's own.
    block.store(record, 0, XMM_AT + this.#xmmBytes());
    return DONE.next;
  }

  fxrstor(record: number): number {
    this.#checkFx(record);
    this.#block.load(record, FXSAVE_SIZE);
    const mxcsr = this.#imageMxcsr();
    this.#x87.fxrstor(this.#wide(record), this.#block.view, 0);
    this.#s.setLo(L.MXCSR, mxcsr);
    this.#copyXmmIn();
    return DONE.next;
  }

  /** Checks of the XSAVE family; returns the requested-feature bitmap. */
  #checkX(record: number): number {
    const s = this.#s;
    if (!this.#ctx.model.has("xsave") || !(s.int(L.CR4) & CR4.osxsave)) raise(EXC.ud);
    if (s.int(L.CR0) & CR0.ts) raise(EXC.nm);
    this.#checkAligned(record, 64);
    return s.lo(L.XCR0) & s.lo(L.GPR + L.REG.rax * 8);
  }

  xsave(record: number): number {
    const components = this.#checkX(record);
    const block = this.#block;
    block.probe(record, XSAVE_SIZE);
    // The header is read for the XSTATE_BV bits that were not asked for.
    block.load(record, XSAVE_SIZE);
    block.view.setUint32(XSTATE_BV, block.view.getUint32(XSTATE_BV, true) | components, true);
    if (components & X87_COMPONENT) {
      this.#x87.fxsave(this.#wide(record), block.view, 0);
      block.store(record, 0, MXCSR_AT);
      block.store(record, X87_AT, XMM_AT);
    }
    if (components & SSE_COMPONENT) {
      this.#putMxcsr();
      this.#copyXmmOut();
      block.store(record, MXCSR_AT, X87_AT);
      block.store(record, XMM_AT, XMM_AT + this.#xmmBytes());
    }
    block.store(record, XSTATE_BV, XSTATE_BV + 8);
    return DONE.next;
  }

  xrstor(record: number): number {
    const components = this.#checkX(record);
    const s = this.#s;
    const block = this.#block;
    block.load(record, XSAVE_SIZE);
    const present = block.view.getUint32(XSTATE_BV, true);
    if (present & ~s.lo(L.XCR0) || block.view.getUint32(XSTATE_BV + 4, true) !== 0) raise(EXC.gp, 0);
    for (let at = XCOMP_BV; at < HEADER_CHECKED_TO; at++) if (block.bytes[at] !== 0) raise(EXC.gp, 0);
    // MXCSR comes from the image with SSE requested, even when the image's XMM are in their initial state.
    const mxcsr = components & SSE_COMPONENT ? this.#imageMxcsr() : s.lo(L.MXCSR);
    if (components & X87_COMPONENT) {
      if (present & X87_COMPONENT) this.#x87.fxrstor(this.#wide(record), block.view, 0);
      else this.#initX87();
    }
    if (components & SSE_COMPONENT) {
      s.setLo(L.MXCSR, mxcsr);
      if (!(present & SSE_COMPONENT)) block.bytes.fill(0, XMM_AT, XMM_AT + this.#xmmBytes());
      this.#copyXmmIn();
    }
    return DONE.next;
  }

  /** The initial configuration of the x87 component: as after FNINIT, registers 0. */
  #initX87(): void {
    const s = this.#s;
    this.#x87.init();
    const from = s.base + L.X87 + X87_LAYOUT.registers;
    s.u8.fill(0, from, from + 8 * X87_LAYOUT.registerStride);
  }
}

/** #UD or #NM when SSE instructions may not run (SDM vol. 3A, table 2-2 and 13.1). */
function checkSse(s: CpuState): void {
  if (s.int(L.CR0) & CR0.em || !(s.int(L.CR4) & CR4.osfxsr)) raise(EXC.ud);
  if (s.int(L.CR0) & CR0.ts) raise(EXC.nm);
}

export function fxStateHelpers(ctx: CpuContext, memory: MemoryPort, x87: X87): HelperTable {
  const s = ctx.state;
  const saved = new SavedState(ctx, memory, x87);
  return {
    fxsave: record => saved.fxsave(record),
    fxrstor: record => saved.fxrstor(record),
    xsave: record => saved.xsave(record),
    xsaveopt: record => saved.xsave(record),
    xrstor: record => saved.xrstor(record),
    ldmxcsr: record => {
      checkSse(s);
      memory.loadOperand(record, 4);
      if (memory.lo & ~MXCSR_MASK) raise(EXC.gp, 0);
      s.setLo(L.MXCSR, memory.lo);
      return DONE.next;
    },
    stmxcsr: record => {
      checkSse(s);
      memory.lo = s.lo(L.MXCSR);
      memory.hi = 0;
      memory.storeOperand(record, 4);
      return DONE.next;
    },
  };
}
