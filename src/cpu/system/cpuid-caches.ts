/**
 * Caches and TLBs as CPUID tells them (leaf 2 and 4 of Intel, 0x80000005, 0x80000006 and 0x8000001D of AMD): Intel SDM vol. 2A, CPUID, tables 3-8 and
 * 3-12; AMD APM vol. 3, appendix E. They only inform: nothing is cached.
 */

type Cache = {
  readonly level: number;
  /** 1 data, 2 instruction, 3 unified. */
  readonly kind: number;
  readonly ways: number;
  readonly sets: number;
  readonly shared: boolean;
};

/** Line size in bytes. */
export const CACHE_LINE = 64;

/** 32 KiB + 32 KiB, 256 KiB, 8 MiB. */
export const CACHES: readonly Cache[] = [
  { level: 1, kind: 1, ways: 8, sets: 64, shared: false },
  { level: 1, kind: 2, ways: 4, sets: 128, shared: false },
  { level: 2, kind: 3, ways: 8, sets: 512, shared: false },
  { level: 3, kind: 3, ways: 16, sets: 8192, shared: true },
];

/**
 * One cache in the form that Intel's leaf 4 and AMD's leaf 0x8000001D share, into `out` [EAX, EBX, ECX, EDX]. EAX bits 31:26 (cores per package − 1)
 * are Intel's only.
 */
export function deterministicCache(out: Uint32Array, index: number, cpus: number, coresField: number): void {
  const cache = CACHES[index];
  out.fill(0);
  if (cache === undefined) return;
  const sharing = cache.shared ? cpus - 1 : 0;
  // Bit 8: self-initialising.
  out[0] = cache.kind | (cache.level << 5) | (1 << 8) | (sharing << 14) | (coresField << 26);
  out[1] = (CACHE_LINE - 1) | ((cache.ways - 1) << 22);
  out[2] = cache.sets - 1;
  // Bit 1: inclusive of the lower levels.
  out[3] = cache.shared ? 2 : 0;
}

/** Leaf 2: 0x01 one call; TLB descriptors 5A 03 55 B2 CA, 64-byte prefetch F0, and FF: for caches see leaf 4. */
export const LEAF2 = [0x55035a01, 0x00f0b2ff, 0, 0x000000ca] as const;

/** Leaf 0x80000005 of AMD: L1 TLBs (2M and 4K: 64 entries, fully associative), L1D 32 KiB 8-way, L1I 32 KiB 4-way, 64-byte lines. */
export const AMD_L1 = [0xff40ff40, 0xff40ff40, 0x20080140, 0x20040140] as const;
/** Leaf 0x80000006: no L2 TLBs told, L2 256 KiB 8-way (code 6); AMD adds L3 8 MiB 16-way (code 8), in units of 512 KiB. */
export const L2_ECX = 0x01006040;
export const AMD_L3_EDX = (16 << 18) | (8 << 12) | (1 << 8) | CACHE_LINE;
