/**
 * The effective memory type of a page: Intel SDM vol. 3A, 12.5.2.2 "Selecting Memory Types for Pentium III and More Recent Processor Families" (table 12-7),
 * 12.11.4 "Range Size and Alignment Requirement" with 12.11.4.1 "MTRR Precedences", 12.12 "Page Attribute Table". Asked only on machines with caches.
 */
import { MEMORY_TYPE } from "../../ports/cpu-bus.ts";
import * as L from "../layout.ts";
import type { CpuState } from "../state.ts";
import { CR0 } from "./control-bits.ts";
import { MTRR_VARIABLE } from "./mtrr.ts";

const { uncached: UC, writeCombining: WC, writeThrough: WT, writeProtected: WP, writeBack: WB } = MEMORY_TYPE;

/** By MTRR type, then PAT type 0 … 7 (2 and 3 are reserved): table 12-7. */
const COMBINED: { readonly [mtrr: number]: readonly number[] } = {
  [UC]: [UC, WC, UC, UC, UC, UC, UC, UC],
  [WC]: [UC, WC, UC, UC, UC, UC, WC, WC],
  [WT]: [UC, WC, UC, UC, WT, WP, WT, UC],
  [WP]: [UC, WC, UC, UC, WT, WP, WP, WC],
  [WB]: [UC, WC, UC, UC, WT, WP, WB, UC],
};

const FIXED_ENABLE = 0x400;
const ENABLE = 0x800;
const VALID = 0x800;
/** Pages of 4 KiB in 1 MiB, and where the ranges of 16 KiB and 4 KiB begin. */
const FIXED_END = 0x100;
const FIXED_16K = 0x80;
const FIXED_4K = 0xc0;

/** Bits of a paging entry that select a PAT entry: PWT, PCD, and PAT, which is bit 7 of a 4-KiB page's entry and bit 12 of a larger one's. */
export function patIndex(entry: number, large: boolean): number {
  return ((entry >>> 3) & 3) | (large ? (entry >>> 10) & 4 : (entry >>> 5) & 4);
}

/** @param pat index into the PAT, −1 with paging off (then the MTRRs decide alone) */
export function effectiveType(s: CpuState, page: number, pat: number): number {
  if ((s.int(L.CR0) & CR0.cd) !== 0) return UC;
  const mtrr = mtrrType(s, page);
  if (pat < 0) return mtrr;
  return COMBINED[mtrr]![s.u8[s.base + L.MSR.pat + pat]! & 7]!;
}

/** What the MTRRs say of physical page `page`. */
export function mtrrType(s: CpuState, page: number): number {
  const def = s.lo(L.MSR.mtrrDefType);
  if ((def & ENABLE) === 0) return UC;
  if (page < FIXED_END && (def & FIXED_ENABLE) !== 0) return s.u8[s.base + L.MSR.mtrrFixed + fixedIndex(page)]!;
  let found = -1;
  for (let n = 0; n < MTRR_VARIABLE; n++) {
    const at = L.MSR.mtrrVariable + n * 16;
    if ((s.lo(at + 8) & VALID) === 0 || !covers(s, at, page)) continue;
    found = found < 0 ? s.lo(at) & 0xff : preferred(found, s.lo(at) & 0xff);
  }
  return found < 0 ? def & 0xff : found;
}

/** Fixed ranges as bytes in the order of their MSRs: 8 of 64 KiB, 16 of 16 KiB, 64 of 4 KiB. */
function fixedIndex(page: number): number {
  if (page < FIXED_16K) return page >>> 4;
  if (page < FIXED_4K) return 8 + ((page - FIXED_16K) >>> 2);
  return 24 + (page - FIXED_4K);
}

/** Base and mask at `at` hold for the page: (page & mask) = (base & mask). */
function covers(s: CpuState, at: number, page: number): boolean {
  const low = (page << 12) >>> 0;
  const high = Math.floor(page / 0x100000);
  const maskLow = s.lo(at + 8) & 0xfffff000;
  return ((low ^ s.lo(at)) & maskLow) === 0 && ((high ^ s.lo(at + 4)) & s.lo(at + 12)) === 0;
}

/** Of two overlapping ranges: uncached wins, then write-through over write-back; the rest is undefined, and uncached here. */
function preferred(one: number, other: number): number {
  if (one === other) return one;
  if ((one === WT && other === WB) || (one === WB && other === WT)) return WT;
  return UC;
}
