/**
 * Instructions on system flags: CLI, STI, PUSHF, POPF, STAC, CLAC, SAHF. Intel SDM vol. 2 (tables of CLI, STI and POPF), vol. 3A 20.2 and 20.3 (virtual
 * interrupt flag), vol. 3A 4.6 (AC with SMAP).
 */
import { type CpuContext, DONE, EXC, type HelperTable, raise } from "../context.ts";
import * as L from "../layout.ts";
import { type CpuState, FLAG } from "../state.ts";
import { CR0, CR4 } from "./control-bits.ts";
import type { MemoryPort, TlbPort } from "./helper-ports.ts";
import { HelperStack } from "./misc-stack.ts";
import { operandSize } from "./operands.ts";

/** What POPF may change at any privilege: CF PF AF ZF SF TF DF OF NT; with 32 bits and more also AC and ID. */
const POPF_COMMON = FLAG.cf | FLAG.pf | FLAG.af | FLAG.zf | FLAG.sf | FLAG.tf | FLAG.df | FLAG.of | FLAG.nt;
const POPF_WIDE = FLAG.ac | FLAG.id;
/** SHADOW value of STI: it covers the boundary behind it (see load-segment.ts for MOV SS). */
export const SHADOW_STI = 1;

const iopl = (s: CpuState): number => (s.int(L.FLAG_OTHER) >>> 12) & 3;

class SystemFlags {
  readonly #ctx: CpuContext;
  readonly #s: CpuState;
  readonly #tlb: TlbPort;
  readonly #memory: MemoryPort;
  readonly #stack: HelperStack;

  constructor(ctx: CpuContext, tlb: TlbPort, memory: MemoryPort) {
    this.#ctx = ctx;
    this.#s = ctx.state;
    this.#tlb = tlb;
    this.#memory = memory;
    this.#stack = new HelperStack(ctx.state, tlb, memory);
  }

  /** Which flag CLI and STI work on: IF, or VIF with VME in virtual-8086 mode or PVI at CPL 3. Raises #GP(0) when neither. */
  #interruptFlag(): number {
    const s = this.#s;
    const level = iopl(s);
    const cr4 = s.int(L.CR4);
    if (s.vm86) {
      if (level === 3) return FLAG.if;
      if (cr4 & CR4.vme) return FLAG.vif;
    } else {
      const cpl = s.int(L.CPL);
      if (!(s.int(L.CR0) & CR0.pe) || cpl <= level) return FLAG.if;
      if (cpl === 3 && cr4 & CR4.pvi) return FLAG.vif;
    }
    return raise(EXC.gp, 0);
  }

  cli(): number {
    const s = this.#s;
    s.setLo(L.FLAG_OTHER, s.int(L.FLAG_OTHER) & ~this.#interruptFlag());
    return DONE.next;
  }

  /** When IF goes from 0 to 1, interrupts are held off for one more instruction. */
  sti(record: number): number {
    const s = this.#s;
    const flag = this.#interruptFlag();
    const old = s.int(L.FLAG_OTHER);
    if (flag === FLAG.vif && old & FLAG.vip) raise(EXC.gp, 0);
    s.setLo(L.FLAG_OTHER, old | flag);
    if (flag === FLAG.vif || old & FLAG.if) return DONE.next;
    s.setLo(L.SHADOW, SHADOW_STI);
    s.setLo(L.SHADOW_COUNT, s.int(L.COUNT) + s.int(L.DEBT));
    if (s.int(L.PENDING_OFFSET) === 0) return DONE.next;
    this.#ctx.advance(record);
    return DONE.changed;
  }

  pushf(record: number): number {
    const s = this.#s;
    const size = operandSize(s, record);
    let image = s.eflags & ~(FLAG.vm | FLAG.rf);
    if (s.vm86 && iopl(s) < 3) {
      if (!(s.int(L.CR4) & CR4.vme) || size !== 2) raise(EXC.gp, 0);
      // The program sees its virtual interrupt flag, and IOPL 3.
      image = (image & ~FLAG.if) | FLAG.iopl | (image & FLAG.vif ? FLAG.if : 0);
    }
    this.#stack.push(size, image, 0);
    return DONE.next;
  }

  /** POPF in virtual-8086 mode with IOPL < 3: IF of the image goes to VIF. Returns the new flags. */
  #popVirtual(old: number, image: number, size: number): number {
    if (!(this.#s.int(L.CR4) & CR4.vme) || size !== 2) raise(EXC.gp, 0);
    if (image & FLAG.tf || (image & FLAG.if && old & FLAG.vip)) raise(EXC.gp, 0);
    const kept = old & ~(POPF_COMMON | FLAG.vif);
    return kept | (image & POPF_COMMON) | (image & FLAG.if ? FLAG.vif : 0);
  }

  popf(record: number): number {
    const s = this.#s;
    const size = operandSize(s, record);
    const old = s.eflags;
    const virtual = s.vm86 && iopl(s) < 3;
    if (virtual && (!(s.int(L.CR4) & CR4.vme) || size !== 2)) raise(EXC.gp, 0);
    this.#stack.peek(size);
    const image = this.#memory.lo;
    let flags: number;
    if (virtual) flags = this.#popVirtual(old, image, size);
    else {
      const cpl = s.int(L.CPL);
      let mask = POPF_COMMON;
      if (cpl === 0) mask |= FLAG.if | FLAG.iopl;
      else if (cpl <= iopl(s)) mask |= FLAG.if;
      if (size !== 2) mask |= POPF_WIDE;
      flags = (old & ~mask) | (image & mask);
      if (size !== 2) flags &= ~FLAG.rf;
    }
    this.#stack.move(size);
    s.eflags = flags;
    if ((flags ^ old) & FLAG.ac) this.#tlb.selectBank();
    const interrupts = (flags & FLAG.if) !== 0 && s.int(L.PENDING_OFFSET) !== 0;
    if (!interrupts && !(flags & FLAG.tf)) return DONE.next;
    this.#ctx.advance(record);
    return DONE.changed;
  }

  /** STAC and CLAC. */
  accessFlag(set: boolean): number {
    const s = this.#s;
    if (!this.#ctx.model.has("smap") || s.int(L.CPL) !== 0) raise(EXC.ud);
    const flags = s.int(L.FLAG_OTHER);
    s.setLo(L.FLAG_OTHER, set ? flags | FLAG.ac : flags & ~FLAG.ac);
    this.#tlb.selectBank();
    return DONE.next;
  }
}

export function flagHelpers(ctx: CpuContext, tlb: TlbPort, memory: MemoryPort): HelperTable {
  const flags = new SystemFlags(ctx, tlb, memory);
  const s = ctx.state;
  const lahf64 = ctx.model.has("lahf64");
  return {
    cli: () => flags.cli(),
    sti: record => flags.sti(record),
    pushf: record => flags.pushf(record),
    popf: record => flags.popf(record),
    stac: () => flags.accessFlag(true),
    clac: () => flags.accessFlag(false),
    sahf: () => {
      if (s.codeMode === 2 && !lahf64) raise(EXC.ud);
      const ah = s.u8[s.base + L.GPR + L.REG.rax * 8 + 1]!;
      s.setArithmetic((s.eflags & FLAG.of) | (ah & (FLAG.sf | FLAG.zf | FLAG.af | FLAG.pf | FLAG.cf)));
      return DONE.next;
    },
  };
}
