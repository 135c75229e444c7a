/**
 * CPUID. Intel SDM vol. 2A, CPUID (table 3-8); AMD64 APM vol. 3, appendix E, for vendor AMD. The model says which features; here is how they are told.
 *
 * Clocks. The TSC runs at 1 GHz and the local APIC timer counts at 1 GHz before its divider. An operating system takes leaf 0x15's core crystal as the
 * APIC timer's input clock and multiplies it by EBX/EAX for the TSC; hence a crystal of 1 GHz and a ratio of 1/1. Leaf 0x16: 1000 MHz, bus 100 MHz.
 *
 * Topology: one package of n cores, one thread each; APIC ids 0 … n − 1.
 */
import { type CpuContext, DONE, type HelperTable } from "../context.ts";
import * as L from "../layout.ts";
import { type CpuModel, FEATURES, type FeatureName, SIGNATURE } from "../model.ts";
import { CR4, LINEAR_BITS, PHYSICAL_BITS } from "./control-bits.ts";
import { AMD_L1, AMD_L3_EDX, CACHE_LINE, deterministicCache, L2_ECX, LEAF2 } from "./cpuid-caches.ts";
import { MISC_ENABLE } from "./msr-index.ts";

type Register = "eax" | "ebx" | "ecx" | "edx";
type FeatureRow = readonly [number, number, Register, number, boolean];

const BRAND = "iretq virtual CPU";
const EXTENDED = 0x80000000;
/** Core crystal clock, TSC and APIC timer clock: see the head comment. */
const CRYSTAL_HZ = 1_000_000_000;
const CORE_MHZ = 1000;
const BUS_MHZ = 100;
/** Family 6, model 0x1A, stepping 5: Nehalem. Family 0x17, model 1, stepping 2: Zen. */
const MAX_BASIC = { GenuineIntel: 0x16, AuthenticAMD: 0xd } as const;
const MAX_EXTENDED = { GenuineIntel: 0x80000008, AuthenticAMD: 0x8000001e } as const;
/** Leaf 1 EDX bits that AMD repeats in leaf 0x80000001 EDX. */
const AMD_REPEATED_EDX = 0x0183f3ff;

const word = (text: string, at: number): number => {
  let value = 0;
  for (let i = 3; i >= 0; i--) value = (value << 8) | (text.charCodeAt(at + i) || 0);
  return value;
};

/** Number of bits that tell `count` ids apart. */
const bitsFor = (count: number): number => (count <= 1 ? 0 : 32 - Math.clz32(count - 1));

/** What CPUID answers on one processor. */
export class Cpuid {
  readonly #ctx: CpuContext;
  readonly #model: CpuModel;
  readonly #amd: boolean;
  readonly #cpus: number;
  readonly #apicId: number;
  /** EAX, EBX, ECX, EDX of the last {@link query}. */
  readonly out = new Uint32Array(4);

  /** @param cpus processors in the machine @param apicId initial APIC id of this one */
  constructor(ctx: CpuContext, cpus: number, apicId: number) {
    this.#ctx = ctx;
    this.#model = ctx.model;
    this.#amd = ctx.model.vendor === "AuthenticAMD";
    this.#cpus = cpus;
    this.#apicId = apicId;
  }

  /** Fills {@link out}. Leaf and subleaf unsigned. */
  query(leaf: number, subleaf: number): void {
    const { vendor } = this.#model;
    const maxBasic = this.#maxBasic();
    this.out.fill(0);
    if (leaf >= EXTENDED && leaf <= MAX_EXTENDED[vendor]) this.#extended(leaf, subleaf);
    else if (leaf <= maxBasic) this.#basic(leaf, subleaf, maxBasic);
    // "If a value entered for EAX is higher than the maximum … the data for the highest basic information leaf is returned"; AMD: zeros.
    else if (!this.#amd) this.#basic(maxBasic, subleaf, maxBasic);
  }

  #maxBasic(): number {
    const limited = !this.#amd && (this.#ctx.state.lo(L.MSR.miscEnable) & MISC_ENABLE.limitCpuid) !== 0;
    return limited ? 3 : MAX_BASIC[this.#model.vendor];
  }

  #set(a: number, b: number, c: number, d: number): void {
    this.out[0] = a;
    this.out[1] = b;
    this.out[2] = c;
    this.out[3] = d;
  }

  #features(leaf: number, subleaf: number, register: Register): number {
    let bits = 0;
    for (const [name, row] of Object.entries(FEATURES) as [FeatureName, FeatureRow][]) {
      if (row[0] === leaf && row[1] === subleaf && row[2] === register && this.#model.has(name)) bits |= 1 << row[3];
    }
    return bits;
  }

  #basic(leaf: number, subleaf: number, maxBasic: number): void {
    switch (leaf) {
      case 0: {
        const vendor = this.#model.vendor;
        this.#set(maxBasic, word(vendor, 0), word(vendor, 8), word(vendor, 4));
        break;
      }
      case 1:
        this.#leaf1();
        break;
      case 2:
        if (!this.#amd) this.#set(...LEAF2);
        break;
      case 4:
        if (!this.#amd) deterministicCache(this.out, subleaf, this.#idSpace(), this.#idSpace() - 1);
        break;
      // MONITOR: line size; EMX and interrupt-break supported, no C-states told, so that kernels idle with HLT.
      case 5:
        if (this.#monitor()) this.#set(CACHE_LINE, CACHE_LINE, 3, 0);
        break;
      // ARAT: the APIC timer never stops.
      case 6:
        this.#set(4, 0, 0, 0);
        break;
      case 7:
        if (subleaf === 0)
          this.#set(0, this.#features(7, 0, "ebx"), this.#features(7, 0, "ecx"), this.#features(7, 0, "edx"));
        break;
      case 0xb:
        this.#topology(subleaf);
        break;
      case 0xd:
        this.#xsave(subleaf);
        break;
      case 0x15:
        this.#set(1, 1, CRYSTAL_HZ, 0);
        break;
      case 0x16:
        this.#set(CORE_MHZ, CORE_MHZ, BUS_MHZ, 0);
        break;
      // 3, 8, 9, 0xA (no performance monitoring), 0xC, 0xE-0x14: nothing.
    }
  }

  /** Size of the APIC id space of the package, a power of two. */
  #idSpace(): number {
    return 1 << bitsFor(this.#cpus);
  }

  #monitor(): boolean {
    const enabled = this.#amd || (this.#ctx.state.lo(L.MSR.miscEnable) & MISC_ENABLE.monitor) !== 0;
    return this.#model.has("monitor") && enabled;
  }

  #leaf1(): void {
    let ecx = this.#features(1, 0, "ecx");
    if (!this.#monitor()) ecx &= ~(1 << 3);
    // OSXSAVE shows CR4.
    if (this.#ctx.state.int(L.CR4) & CR4.osxsave) ecx |= 1 << 27;
    const threads = this.#amd ? this.#cpus : this.#idSpace();
    this.#set(
      SIGNATURE[this.#model.vendor],
      ((CACHE_LINE / 8) << 8) | (Math.min(threads, 255) << 16) | (this.#apicId << 24),
      ecx,
      this.#leaf1Edx(),
    );
  }

  #leaf1Edx(): number {
    let edx = this.#features(1, 0, "edx");
    // The APIC bit follows IA32_APIC_BASE's enable.
    if (!this.#ctx.apic.globallyEnabled) edx &= ~(1 << 9);
    return this.#cpus > 1 ? edx | (1 << 28) : edx;
  }

  #topology(subleaf: number): void {
    if (subleaf === 0) this.#set(0, 1, 0x100, this.#apicId);
    else if (subleaf === 1) this.#set(bitsFor(this.#cpus), this.#cpus, 0x201, this.#apicId);
    else this.#set(0, 0, subleaf & 0xff, this.#apicId);
  }

  /** x87 and SSE: 512 bytes of legacy region and 64 of header. */
  #xsave(subleaf: number): void {
    if (!this.#model.has("xsave")) return;
    if (subleaf === 0) this.#set(3, 576, 576, 0);
    // XSAVEOPT.
    else if (subleaf === 1) this.#set(1, 0, 0, 0);
  }

  #extended(leaf: number, subleaf: number): void {
    switch (leaf) {
      case 0x80000000: {
        const { vendor } = this.#model;
        if (!this.#amd) this.#set(MAX_EXTENDED[vendor], 0, 0, 0);
        else this.#set(MAX_EXTENDED[vendor], word(vendor, 0), word(vendor, 8), word(vendor, 4));
        break;
      }
      case 0x80000001:
        this.#leaf80000001();
        break;
      case 0x80000002:
      case 0x80000003:
      case 0x80000004: {
        const at = (leaf - 0x80000002) * 16;
        this.#set(word(BRAND, at), word(BRAND, at + 4), word(BRAND, at + 8), word(BRAND, at + 12));
        break;
      }
      case 0x80000005:
        if (this.#amd) this.#set(...AMD_L1);
        break;
      case 0x80000006:
        this.#set(0, 0, L2_ECX, this.#amd ? AMD_L3_EDX : 0);
        break;
      case 0x80000007:
        this.#set(0, 0, 0, this.#features(leaf, 0, "edx"));
        break;
      case 0x80000008: {
        const cores = this.#amd ? (this.#cpus - 1) | (bitsFor(this.#cpus) << 12) : 0;
        this.#set(PHYSICAL_BITS | (LINEAR_BITS << 8), 0, cores, 0);
        break;
      }
      case 0x8000001d:
        deterministicCache(this.out, subleaf, this.#cpus, 0);
        break;
      // Extended APIC id; core id, one thread per core; node 0 of 1.
      case 0x8000001e:
        this.#set(this.#apicId, this.#apicId & 0xff, 0, 0);
        break;
      // 0x8000000A: no SVM. The rest: nothing.
    }
  }

  #leaf80000001(): void {
    let ecx = this.#features(EXTENDED + 1, 0, "ecx");
    let edx = this.#features(EXTENDED + 1, 0, "edx");
    const s = this.#ctx.state;
    if (this.#amd) {
      edx |= this.#leaf1Edx() & AMD_REPEATED_EDX;
      // TOPOEXT (leaves 0x8000001D and 1E), CmpLegacy.
      ecx |= (1 << 22) | (this.#cpus > 1 ? 2 : 0);
      this.#set(SIGNATURE.AuthenticAMD, 0, ecx, edx);
      return;
    }
    // "Intel processors support SYSCALL and SYSRET only in 64-bit mode. This feature flag is always enumerated as 0 outside 64-bit mode."
    if (s.codeMode !== 2) edx &= ~(1 << 11);
    if (s.hi(L.MSR.miscEnable) & MISC_ENABLE.xdDisableHigh) edx &= ~(1 << 20);
    this.#set(0, 0, ecx, edx);
  }
}

export function cpuidHelpers(ctx: CpuContext, cpuid: Cpuid): HelperTable {
  const s = ctx.state;
  const { rax, rbx, rcx, rdx } = L.REG;
  return {
    cpuid: () => {
      cpuid.query(s.lo(L.GPR + rax * 8), s.lo(L.GPR + rcx * 8));
      s.set64(L.GPR + rax * 8, cpuid.out[0]!, 0);
      s.set64(L.GPR + rbx * 8, cpuid.out[1]!, 0);
      s.set64(L.GPR + rcx * 8, cpuid.out[2]!, 0);
      s.set64(L.GPR + rdx * 8, cpuid.out[3]!, 0);
      return DONE.next;
    },
  };
}
