/** Bits of the control registers and EFER. Intel SDM vol. 3A, section 2.5 and figure 2-7; table "IA32_EFER MSR Information". */
import type { CpuModel, FeatureName } from "../model.ts";

export const CR0 = {
  pe: 1,
  mp: 2,
  em: 4,
  ts: 8,
  et: 0x10,
  ne: 0x20,
  wp: 0x10000,
  am: 0x40000,
  nw: 0x20000000,
  cd: 0x40000000,
  /** Bit 31, as the signed word that JavaScript's operators give. */
  pg: 0x80000000 | 0,
} as const;

export const CR4 = {
  vme: 1,
  pvi: 2,
  tsd: 4,
  de: 8,
  pse: 0x10,
  pae: 0x20,
  mce: 0x40,
  pge: 0x80,
  pce: 0x100,
  osfxsr: 0x200,
  osxmmexcpt: 0x400,
  umip: 0x800,
  fsgsbase: 0x10000,
  pcide: 0x20000,
  osxsave: 0x40000,
  smep: 0x100000,
  smap: 0x200000,
} as const;

export const EFER = { sce: 1, lme: 0x100, lma: 0x400, nxe: 0x800 } as const;

/** Which feature makes a bit of CR4 writable. CR4.PCE always is. */
const CR4_NEEDS: readonly (readonly [number, FeatureName])[] = [
  [CR4.vme | CR4.pvi, "vme"],
  [CR4.tsd, "tsc"],
  [CR4.de, "de"],
  [CR4.pse, "pse"],
  [CR4.pae, "pae"],
  [CR4.mce, "mce"],
  [CR4.pge, "pge"],
  [CR4.osfxsr, "fxsr"],
  [CR4.osxmmexcpt, "sse"],
  [CR4.umip, "umip"],
  [CR4.fsgsbase, "fsgsbase"],
  [CR4.pcide, "pcid"],
  [CR4.osxsave, "xsave"],
  [CR4.smep, "smep"],
  [CR4.smap, "smap"],
];

/** The bits of CR4 that may be 1 on this model. */
export function cr4Allowed(model: CpuModel): number {
  let mask: number = CR4.pce;
  for (const [bits, feature] of CR4_NEEDS) if (model.has(feature)) mask |= bits;
  return mask;
}

/**
 * MAXPHYADDR (bits from here on are reserved in paging entries, CR3 and MTRRs; at most 44, as pages are kept in 32 bits) and the width of linear
 * addresses, as CPUID leaf 0x80000008 tells them.
 */
export const PHYSICAL_BITS = 40;
export const LINEAR_BITS = 48;
