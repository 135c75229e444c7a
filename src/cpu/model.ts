/**
 * Which processor this is: vendor, family and features, as CPUID tells them and as the rest of the CPU obeys them.
 * Default: an Intel Nehalem-like model without XSAVE, with x2APIC, TSC-deadline and invariant TSC (what Debian's kernels need: shared facts).
 */
import { HostError } from "../base/assert.ts";

export type Vendor = "GenuineIntel" | "AuthenticAMD";

/** Family, model and stepping as in CPUID.1:EAX, and in EDX after a reset. */
export const SIGNATURE = { GenuineIntel: 0x000106a5, AuthenticAMD: 0x00800f12 } as const;

/** Every feature name that `--cpu-feature` takes: [CPUID leaf, subleaf, register, bit, on by default]. */
export const FEATURES = {
  fpu: [1, 0, "edx", 0, true],
  vme: [1, 0, "edx", 1, true],
  de: [1, 0, "edx", 2, true],
  pse: [1, 0, "edx", 3, true],
  tsc: [1, 0, "edx", 4, true],
  msr: [1, 0, "edx", 5, true],
  pae: [1, 0, "edx", 6, true],
  mce: [1, 0, "edx", 7, true],
  cx8: [1, 0, "edx", 8, true],
  apic: [1, 0, "edx", 9, true],
  sep: [1, 0, "edx", 11, true],
  mtrr: [1, 0, "edx", 12, true],
  pge: [1, 0, "edx", 13, true],
  mca: [1, 0, "edx", 14, true],
  cmov: [1, 0, "edx", 15, true],
  pat: [1, 0, "edx", 16, true],
  pse36: [1, 0, "edx", 17, true],
  clflush: [1, 0, "edx", 19, true],
  mmx: [1, 0, "edx", 23, true],
  fxsr: [1, 0, "edx", 24, true],
  sse: [1, 0, "edx", 25, true],
  sse2: [1, 0, "edx", 26, true],
  sse3: [1, 0, "ecx", 0, true],
  monitor: [1, 0, "ecx", 3, true],
  ssse3: [1, 0, "ecx", 9, true],
  cx16: [1, 0, "ecx", 13, true],
  pcid: [1, 0, "ecx", 17, false],
  sse41: [1, 0, "ecx", 19, true],
  sse42: [1, 0, "ecx", 20, true],
  x2apic: [1, 0, "ecx", 21, true],
  movbe: [1, 0, "ecx", 22, false],
  popcnt: [1, 0, "ecx", 23, true],
  tscDeadline: [1, 0, "ecx", 24, true],
  xsave: [1, 0, "ecx", 26, false],
  fsgsbase: [7, 0, "ebx", 0, true],
  smep: [7, 0, "ebx", 7, true],
  erms: [7, 0, "ebx", 9, true],
  smap: [7, 0, "ebx", 20, true],
  clflushopt: [7, 0, "ebx", 23, true],
  clwb: [7, 0, "ebx", 24, true],
  umip: [7, 0, "ecx", 2, true],
  lahf64: [0x80000001, 0, "ecx", 0, true],
  abm: [0x80000001, 0, "ecx", 5, false],
  syscall: [0x80000001, 0, "edx", 11, true],
  nx: [0x80000001, 0, "edx", 20, true],
  pdpe1gb: [0x80000001, 0, "edx", 26, true],
  rdtscp: [0x80000001, 0, "edx", 27, true],
  lm: [0x80000001, 0, "edx", 29, true],
  invtsc: [0x80000007, 0, "edx", 8, true],
} as const satisfies { [name: string]: readonly [number, number, "eax" | "ebx" | "ecx" | "edx", number, boolean] };

export type FeatureName = keyof typeof FEATURES;

export class CpuModel {
  readonly vendor: Vendor;
  readonly features: ReadonlySet<FeatureName>;

  /** @param changes names with a leading + or −, as after `--cpu-feature`. Throws HostError (64) for an unknown name. */
  constructor(vendor: Vendor = "GenuineIntel", changes: readonly string[] = []) {
    const on = new Set<FeatureName>();
    for (const [name, row] of Object.entries(FEATURES)) if (row[4]) on.add(name as FeatureName);
    for (const change of changes) {
      const name = change.slice(1) as FeatureName;
      if (!/^[+-]/.test(change) || !(name in FEATURES)) {
        throw new HostError(
          `unknown CPU feature "${change}": write +name or -name, with one of ${Object.keys(FEATURES).join(" ")}`,
          64,
        );
      }
      if (change.startsWith("+")) on.add(name);
      else on.delete(name);
    }
    this.vendor = vendor;
    this.features = on;
  }

  has(name: FeatureName): boolean {
    return this.features.has(name);
  }
}
