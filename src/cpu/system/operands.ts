/**
 * Registers and sizes of an instruction's record, for helpers. Intel SDM vol. 1, section 3.4.1.1: in 64-bit mode a 32-bit result is zero-extended, an 8-
 * or 16-bit result leaves the other bits alone. The same is done in the legacy modes, where the upper halves cannot be seen.
 */
import { EXC, raise } from "../context.ts";
import * as L from "../layout.ts";
import type { CpuState } from "../state.ts";

/** Bytes of the operand: 2, 4 or 8. */
export function operandSize(s: CpuState, record: number): number {
  const prefix = s.u8[record + L.REC.prefix]!;
  return prefix & L.PFX.opSize64 ? 8 : prefix & L.PFX.opSize16 ? 2 : 4;
}

/** Bytes of an address: 2, 4 or 8. */
export function addressSize(s: CpuState, record: number): number {
  const prefix = s.u8[record + L.REC.prefix]!;
  return prefix & L.PFX.addrSize64 ? 8 : prefix & L.PFX.addrSize16 ? 2 : 4;
}

export function hasMemory(s: CpuState, record: number): boolean {
  return (s.u8[record + L.REC.prefix]! & L.PFX.memory) !== 0;
}

/** Writes `size` (2, 4 or 8) bytes to the general register at `offset` in the processor's area. */
export function writeRegister(s: CpuState, offset: number, size: number, low: number, high: number): void {
  if (size === 8) s.set64(offset, low, high);
  else if (size === 4) s.set64(offset, low, 0);
  else s.u16[(s.base + offset) >>> 1] = low;
}

/** A register as an address or count of `size` bytes: unsigned for 2 and 4, signed (exact when canonical) for 8. */
export function readAddress(s: CpuState, offset: number, size: number): number {
  return size === 8 ? s.num(offset) : size === 4 ? s.lo(offset) : s.lo(offset) & 0xffff;
}

/** Adds `delta` to a register, wrapping at `size` bytes. */
export function addToRegister(s: CpuState, offset: number, size: number, delta: number): void {
  if (size !== 8) {
    writeRegister(s, offset, size, s.lo(offset) + delta, 0);
    return;
  }
  const sum = s.lo(offset) + delta;
  s.set64(offset, sum, s.hi(offset) + Math.floor(sum / 4294967296));
}

/** True when bits 63:47 of an address with this high word are equal (4-level paging, 48-bit linear addresses). */
export function isCanonical(high: number): boolean {
  return (high << 16) >> 16 === (high | 0);
}

/** #GP(0) unless CPL is 0. */
export function requireCpl0(s: CpuState): void {
  if (s.int(L.CPL) !== 0) raise(EXC.gp, 0);
}
