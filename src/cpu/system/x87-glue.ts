/**
 * The x87 unit as instructions: opcodes D8 to DF, FWAIT and EMMS, with the exceptions #NM and #MF, memory operands, and the record of the last
 * instruction. Intel SDM vol. 1, 8.1.8 to 8.1.10 (pointers and opcode), 8.7 (exception handling, 8.7.2 MS-DOS compatibility mode), vol. 3A 2.5 (EM, MP,
 * TS, NE).
 *
 * With CR0.NE = 0 a waiting instruction that meets a pending exception asserts FERR# and then executes, as processors do while IGNNE# is asserted. Not
 * modelled: the freeze before the interrupt arrives.
 */
import { type CpuContext, DONE, EXC, type HelperTable, raise } from "../context.ts";
import {
  isDefined,
  isWaiting,
  updatesPointers,
  type X87,
  X87_AX,
  X87_EFLAGS,
  X87_NO_STORE,
  X87_UD,
} from "../fpu/x87.ts";
import { ENV_PROTECTED16, ENV_PROTECTED32, ENV_REAL16, ENV_REAL32 } from "../fpu/x87-image.ts";
import type { MemForm } from "../fpu/x87-memory.ts";
import * as L from "../layout.ts";
import { type CpuState, FLAG, MODE } from "../state.ts";
import { CR0 } from "./control-bits.ts";
import { OperandBlock } from "./fx-state-block.ts";
import type { MemoryPort } from "./helper-ports.ts";

/** The longest operand that the memory port moves at once. */
const AT_ONCE = 64;

export class X87Instructions {
  readonly #s: CpuState;
  readonly #memory: MemoryPort;
  readonly #x87: X87;
  readonly #block: OperandBlock;
  readonly #ferr: (level: boolean) => void;

  /** @param ferr drives FERR#, for CR0.NE = 0 */
  constructor(s: CpuState, memory: MemoryPort, x87: X87, ferr: (level: boolean) => void) {
    this.#s = s;
    this.#memory = memory;
    this.#x87 = x87;
    this.#block = new OperandBlock(s, memory);
    this.#ferr = ferr;
  }

  execute(record: number): number {
    const s = this.#s;
    const encoding = s.u32[(record + L.REC.target) >>> 2]!;
    const opcode = (encoding >>> 8) & 0xff;
    const modrm = encoding & 0xff;
    if (!isDefined(opcode, modrm)) raise(EXC.ud);
    const cr0 = s.int(L.CR0);
    if (cr0 & (CR0.em | CR0.ts)) raise(EXC.nm);
    const before = this.#x87.pending();
    if (before && isWaiting(opcode, modrm)) this.#report();
    if (modrm >= 0xc0) this.#register(opcode, modrm);
    else this.#memoryForm(record, opcode, modrm);
    if (before && !(cr0 & CR0.ne) && !this.#x87.pending()) this.#ferr(false);
    return DONE.next;
  }

  /** An unmasked exception is pending. */
  #report(): void {
    if (this.#s.int(L.CR0) & CR0.ne) raise(EXC.mf);
    this.#ferr(true);
  }

  fwait(): number {
    const cr0 = this.#s.int(L.CR0);
    if (cr0 & CR0.mp && cr0 & CR0.ts) raise(EXC.nm);
    if (this.#x87.pending()) this.#report();
    return DONE.next;
  }

  emms(): number {
    const cr0 = this.#s.int(L.CR0);
    if (cr0 & CR0.em) raise(EXC.ud);
    if (cr0 & CR0.ts) raise(EXC.nm);
    if (this.#x87.pending()) this.#report();
    this.#x87.emms();
    return DONE.next;
  }

  #register(opcode: number, modrm: number): void {
    const s = this.#s;
    const x87 = this.#x87;
    // FCMOVcc reads the flags.
    if ((opcode === 0xda || opcode === 0xdb) && modrm < 0xe0) x87.eflags = s.eflags;
    const done = x87.exec(opcode, modrm);
    if (done === X87_UD) raise(EXC.ud);
    if (done === X87_EFLAGS) s.setArithmetic(x87.eflags & (FLAG.zf | FLAG.pf | FLAG.cf));
    else if (done === X87_AX) s.u16[(s.base + L.GPR + L.REG.rax * 8) >>> 1] = x87.ax;
    if (updatesPointers(opcode, modrm)) this.#noteInstruction(opcode, modrm);
  }

  #noteInstruction(opcode: number, modrm: number): void {
    const s = this.#s;
    this.#x87.noteInstruction(opcode, modrm, s.selector(L.SEG.cs), s.int(L.RIP + 4), s.int(L.RIP));
  }

  /** FDP is the offset in the segment; in 64-bit mode SLOW_ADDRESS has the base of FS or GS in it. */
  #noteOperand(record: number): void {
    const s = this.#s;
    const seg = s.u8[record + L.REC.seg]! >>> 3;
    let low = s.lo(L.SLOW_ADDRESS);
    let high = s.int(L.SLOW_ADDRESS + 4);
    if (s.int(L.CODE_MODE) === MODE.code64 && seg >= L.SEG.fs && seg <= L.SEG.gs) {
      const base = L.SEG_BASE + seg * 8;
      high = high - s.int(base + 4) - (low < s.lo(base) ? 1 : 0);
      low = low - s.lo(base);
    }
    this.#x87.noteOperand(seg <= L.SEG.gs ? s.selector(seg) : 0, high | 0, low | 0);
  }

  /** Layout of an environment: by operand size, and by whether selectors mean something. */
  #format(narrow: boolean): number {
    const s = this.#s;
    if (!s.protectedMode || s.vm86) return narrow ? ENV_REAL16 : ENV_REAL32;
    return narrow ? ENV_PROTECTED16 : ENV_PROTECTED32;
  }

  #memoryForm(record: number, opcode: number, modrm: number): void {
    const s = this.#s;
    const reg = (modrm >>> 3) & 7;
    const form = this.#x87.memForm(opcode, reg) ?? raise(EXC.ud);
    const narrow = (s.u8[record + L.REC.prefix]! & L.PFX.opSize16) !== 0;
    const size = narrow ? form.size16 : form.size;
    const noted = updatesPointers(opcode, modrm);
    if (form.isStore) this.#store(record, opcode, reg, size, this.#format(narrow), form);
    else this.#load(record, opcode, reg, size, this.#format(narrow));
    if (noted) {
      this.#noteInstruction(opcode, modrm);
      this.#noteOperand(record);
    }
  }

  #load(record: number, opcode: number, reg: number, size: number, format: number): void {
    const s = this.#s;
    if (size > AT_ONCE) {
      this.#block.load(record, size);
      this.#x87.execLoad(opcode, reg, this.#block.view, 0, format);
    } else {
      this.#memory.loadOperand(record, size);
      this.#x87.execLoad(opcode, reg, s.view, s.base + L.SLOW_DATA, format);
    }
  }

  /** The bytes are computed, then written, and only then the state changes: a fault leaves it as it was. */
  #store(record: number, opcode: number, reg: number, size: number, format: number, form: MemForm): void {
    const s = this.#s;
    const memory = this.#memory;
    if (form.kind === "state") {
      this.#block.probe(record, size);
      this.#x87.execStore(opcode, reg, this.#block.view, 0, format);
      this.#block.store(record, 0, size);
    } else if (this.#x87.execStore(opcode, reg, s.view, s.base + L.SLOW_DATA, format) !== X87_NO_STORE) {
      memory.lo = s.lo(L.SLOW_DATA);
      memory.hi = s.hi(L.SLOW_DATA);
      memory.storeOperand(record, size);
    }
    this.#x87.commitStore();
  }
}

export function x87Helpers(
  ctx: CpuContext,
  memory: MemoryPort,
  x87: X87,
  ferr: (level: boolean) => void = () => {},
): HelperTable {
  const unit = new X87Instructions(ctx.state, memory, x87, ferr);
  return {
    x87: record => unit.execute(record),
    fwait: () => unit.fwait(),
    emms: () => unit.emms(),
  };
}
