/**
 * Memory type range registers and the PAT MSR, as storage with the checks of the manual: Intel SDM vol. 3A, sections "Memory Type Range Registers" (11.11)
 * and "Page Attribute Table" (11.12). 8 variable ranges, the fixed ranges, WC.
 *
 * What the types do to caching: memory-type.ts, on machines with caches. Elsewhere all memory behaves as write-back RAM or as uncached devices by what lies there.
 */
import * as L from "../layout.ts";
import type { CpuState } from "../state.ts";
import { PHYSICAL_BITS } from "./control-bits.ts";

export const MTRR_VARIABLE = 8;
/** IA32_MTRRCAP: VCNT 8, FIX (bit 8), WC (bit 10). */
export const MTRR_CAP = MTRR_VARIABLE | 0x100 | 0x400;

const MTRRCAP = 0xfe;
const PHYS_BASE0 = 0x200;
const DEF_TYPE = 0x2ff;
const PAT = 0x277;
/** Fixed-range MSRs in the order of their storage: 64K_00000, 16K_80000, 16K_A0000, 4K_C0000 … 4K_F8000. */
const FIXED = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];

/** High word: bits of an address above MAXPHYADDR. */
const HIGH_RESERVED = ~((1 << (PHYSICAL_BITS - 32)) - 1);

/** UC, WC, WT, WP, WB. */
const isMtrrType = (type: number): boolean => type <= 1 || (type >= 4 && type <= 6);
/** The same and UC−. */
const isPatType = (type: number): boolean => type <= 1 || (type >= 4 && type <= 7);

function allBytes(word: number, ok: (byte: number) => boolean): boolean {
  return ok(word & 0xff) && ok((word >>> 8) & 0xff) && ok((word >>> 16) & 0xff) && ok(word >>> 24);
}

/** Storage offset of an MTRR or the PAT in the processor's area, −1 when `index` is none of them. MTRRCAP has none. */
export function mtrrOffset(index: number): number {
  if (index > DEF_TYPE) return -1;
  if (index >= PHYS_BASE0 && index < PHYS_BASE0 + 2 * MTRR_VARIABLE) {
    return L.MSR.mtrrVariable + (index - PHYS_BASE0) * 8;
  }
  if (index === DEF_TYPE) return L.MSR.mtrrDefType;
  if (index === PAT) return L.MSR.pat;
  const fixed = FIXED.indexOf(index);
  return fixed < 0 ? -1 : L.MSR.mtrrFixed + fixed * 8;
}

/** Writes an MTRR or the PAT. False: #GP(0), nothing was written. `index` is one that {@link mtrrOffset} knows, or MTRRCAP (read-only). */
export function writeMtrr(s: CpuState, index: number, low: number, high: number): boolean {
  const offset = mtrrOffset(index);
  if (index === MTRRCAP || offset < 0 || !mtrrValueOk(index, low, high)) return false;
  s.set64(offset, low, high);
  return true;
}

function mtrrValueOk(index: number, low: number, high: number): boolean {
  if (index === PAT) return allBytes(low, isPatType) && allBytes(high, isPatType);
  // Type in bits 7:0, FE bit 10, E bit 11.
  if (index === DEF_TYPE) return high === 0 && (low & ~0xcff) === 0 && isMtrrType(low & 0xff);
  if (index >= PHYS_BASE0 && index < PHYS_BASE0 + 2 * MTRR_VARIABLE) {
    if ((high & HIGH_RESERVED) !== 0) return false;
    // PHYSMASK: V bit 11, 10:0 reserved. PHYSBASE: type in 7:0, 11:8 reserved.
    return index & 1 ? (low & 0x7ff) === 0 : (low & 0xf00) === 0 && isMtrrType(low & 0xff);
  }
  return allBytes(low, isMtrrType) && allBytes(high, isMtrrType);
}
