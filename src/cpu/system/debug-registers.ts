/**
 * Debug registers: MOV to and from DR0-DR7, and what code and I/O breakpoints match. Intel SDM vol. 3B, section 18.2. Data breakpoints are watched by the
 * memory management unit, which is told when a register changes.
 *
 * Not modelled: RTM and bus-lock bits (DR6 bits 11 and 16 read 1), the LE and GE flags (breakpoints are always exact).
 */
import { type CpuContext, DONE, EXC, type HelperTable, raise } from "../context.ts";
import * as L from "../layout.ts";
import type { CpuState } from "../state.ts";
import { CR4, EFER } from "./control-bits.ts";
import { requireCpl0 } from "./operands.ts";

/** DR6: B0-B3, BD, BS, BT may be 0 or 1; bit 12 is 0, the others are 1. */
export const DR6_WRITABLE = 0xe00f;
export const DR6_ONES = 0xffff0ff0 | 0;
export const DR6 = { bd: 0x2000, bs: 0x4000, bt: 0x8000 } as const;
/** DR7: bits 11, 12, 14, 15 are 0, bit 10 is 1. */
export const DR7_WRITABLE = 0xffff23ff | 0;
export const DR7_ONES = 0x400;
const DR7_GD = 0x2000;
/** L0 … G3. */
const DR7_ENABLES = 0xff;

/** R/W field of a breakpoint. */
const KIND = { execute: 0, write: 1, io: 2, readWrite: 3 } as const;

export class DebugRegisters {
  readonly #s: CpuState;

  constructor(s: CpuState) {
    this.#s = s;
  }

  /** True when an instruction breakpoint is enabled: every instruction's address has to be compared. */
  get codeArmed(): boolean {
    return this.#armed(KIND.execute);
  }

  #armed(kind: number): boolean {
    const dr7 = this.#s.int(L.DR7);
    if ((dr7 & DR7_ENABLES) === 0) return false;
    for (let n = 0; n < 4; n++) if (this.#enabled(dr7, n) && ((dr7 >>> (16 + n * 4)) & 3) === kind) return true;
    return false;
  }

  #enabled(dr7: number, n: number): boolean {
    return ((dr7 >>> (n * 2)) & 3) !== 0;
  }

  /** Breakpoint address as a number: signed in IA-32e mode, else unsigned 32 bits. */
  #address(n: number): number {
    const s = this.#s;
    return s.lo(L.EFER) & EFER.lma ? s.num(L.DR + n * 8) : s.lo(L.DR + n * 8);
  }

  /** B0-B3 of the enabled instruction breakpoints at linear address `linear`; 0 for none. The caller minds EFLAGS.RF. */
  matchCode(linear: number): number {
    const dr7 = this.#s.int(L.DR7);
    if ((dr7 & DR7_ENABLES) === 0) return 0;
    let hit = 0;
    for (let n = 0; n < 4; n++) {
      if (!this.#enabled(dr7, n) || ((dr7 >>> (16 + n * 4)) & 3) !== KIND.execute) continue;
      if (this.#address(n) === linear) hit |= 1 << n;
    }
    return hit;
  }

  /** B0-B3 of the enabled I/O breakpoints that an access of `width` bytes at `port` touches. Needs CR4.DE. */
  matchPort(port: number, width: number): number {
    const s = this.#s;
    const dr7 = s.int(L.DR7);
    if ((dr7 & DR7_ENABLES) === 0 || !(s.int(L.CR4) & CR4.de)) return 0;
    let hit = 0;
    for (let n = 0; n < 4; n++) {
      if (!this.#enabled(dr7, n) || ((dr7 >>> (16 + n * 4)) & 3) !== KIND.io) continue;
      const lengthCode = (dr7 >>> (18 + n * 4)) & 3;
      const length = lengthCode === 2 ? 8 : lengthCode + 1;
      const from = Math.floor(this.#address(n) / length) * length;
      if (port < from + length && from < port + width) hit |= 1 << n;
    }
    return hit;
  }

  /** Register `number` (0-3, 6, 7) as stored. */
  static offset(number: number): number {
    return number < 4 ? L.DR + number * 8 : number === 6 ? L.DR6 : L.DR7;
  }

  /** Power-on and INIT values (SDM vol. 3A, table 9-1). */
  reset(): void {
    for (let n = 0; n < 4; n++) this.#s.set64(L.DR + n * 8, 0, 0);
    this.#s.set64(L.DR6, DR6_ONES, 0);
    this.#s.set64(L.DR7, DR7_ONES, 0);
  }
}

/**
 * Checks of a MOV with a debug register; returns 0-3, 6 or 7. General detect (DR7.GD) raises #DB with DR6.BD before the move; GD is cleared as on every
 * entry to the #DB handler, so that the handler can work.
 */
function checkedNumber(s: CpuState, record: number): number {
  let number = s.u8[record + L.REC.aux]!;
  if (number > 7) raise(EXC.ud);
  if (number === 4 || number === 5) {
    if (s.int(L.CR4) & CR4.de) raise(EXC.ud);
    number += 2;
  }
  requireCpl0(s);
  const dr7 = s.int(L.DR7);
  if (dr7 & DR7_GD) {
    s.setLo(L.DR6, s.int(L.DR6) | DR6.bd);
    s.setLo(L.DR7, dr7 & ~DR7_GD);
    raise(EXC.db);
  }
  return number;
}

/** @param changed called after DR0-DR3 or DR7 were written: data breakpoints may have changed */
export function debugRegisterHelpers(ctx: CpuContext, changed: () => void): HelperTable {
  const s = ctx.state;
  return {
    mov_from_dr: record => {
      const from = DebugRegisters.offset(checkedNumber(s, record));
      s.set64(s.u8[record + L.REC.r2]!, s.lo(from), s.codeMode === 2 ? s.hi(from) : 0);
      return DONE.next;
    },
    mov_to_dr: record => {
      const number = checkedNumber(s, record);
      const from = s.u8[record + L.REC.r2]!;
      const low = s.lo(from);
      const high = s.codeMode === 2 ? s.hi(from) : 0;
      if (number < 4) s.set64(L.DR + number * 8, low, high);
      else {
        if (high !== 0) raise(EXC.gp, 0);
        if (number === 6) {
          s.set64(L.DR6, (low & DR6_WRITABLE) | DR6_ONES, 0);
          return DONE.next;
        }
        s.set64(L.DR7, (low & DR7_WRITABLE) | DR7_ONES, 0);
      }
      changed();
      ctx.advance(record);
      return DONE.changed;
    },
  };
}
