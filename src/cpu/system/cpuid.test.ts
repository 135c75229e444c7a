import { describe, expect, it } from "vitest";
import * as L from "../layout.ts";
import { CR4 } from "./control-bits.ts";
import { Cpuid, cpuidHelpers } from "./cpuid.ts";
import { HelperFixture } from "./helper-fixture.ts";
import { MISC_ENABLE_RESET } from "./msr-index.ts";

const make = (f: HelperFixture, cpus = 4, id = 2) => {
  f.state.setLo(L.MSR.miscEnable, f.ctx.model.vendor === "GenuineIntel" ? MISC_ENABLE_RESET : 0);
  const cpuid = new Cpuid(f.ctx, cpus, id);
  return (leaf: number, sub = 0): [number, number, number, number] => {
    cpuid.query(leaf, sub);
    return [...cpuid.out] as [number, number, number, number];
  };
};
const text = (words: readonly number[]): string => {
  const bytes = new Uint8Array(new Uint32Array(words).buffer);
  return String.fromCharCode(...bytes).replace(/\0+$/, "");
};
const bit = (word: number, n: number): number => (word >>> n) & 1;

describe("CPUID (SDM vol. 2A)", () => {
  it("leaf 0: highest leaf, vendor in EBX EDX ECX", () => {
    for (const vendor of ["GenuineIntel", "AuthenticAMD"] as const) {
      const q = make(new HelperFixture(vendor));
      const [a, b, c, d] = q(0);
      expect(a).toBe(vendor === "GenuineIntel" ? 0x16 : 0xd);
      expect(text([b, d, c])).toBe(vendor);
    }
  });

  it("leaf 1: signature, APIC id, CLFLUSH line, features that the model has", () => {
    const q = make(new HelperFixture("GenuineIntel", ["-sse42", "+pcid"]));
    const [a, b, c, d] = q(1);
    // Family 6, model 0x1A.
    expect((a >>> 8) & 0xf).toBe(6);
    expect(((a >>> 12) & 0xf0) | ((a >>> 4) & 0xf)).toBe(0x1a);
    expect(b >>> 24).toBe(2);
    expect((b >>> 16) & 0xff).toBe(4);
    expect((b >>> 8) & 0xff).toBe(8);
    expect(bit(c, 20)).toBe(0);
    expect(bit(c, 17)).toBe(1);
    expect(bit(c, 21)).toBe(1);
    expect(bit(c, 31)).toBe(0);
    expect(bit(d, 28)).toBe(1);
    expect(bit(d, 25)).toBe(1);
  });

  it("the APIC bit follows the APIC's global enable, OSXSAVE follows CR4", () => {
    const f = new HelperFixture("GenuineIntel", ["+xsave"]);
    const q = make(f);
    expect(bit(q(1)[3], 9)).toBe(1);
    expect(bit(q(1)[2], 27)).toBe(0);
    f.apic.globallyEnabled = false;
    f.state.setLo(L.CR4, CR4.osxsave);
    expect(bit(q(1)[3], 9)).toBe(0);
    expect(bit(q(1)[2], 27)).toBe(1);
  });

  it("the MONITOR bit follows MISC_ENABLE[18]; limit CPUID makes the highest leaf 3", () => {
    const f = new HelperFixture();
    const q = make(f);
    expect(bit(q(1)[2], 3)).toBe(1);
    f.state.setLo(L.MSR.miscEnable, 1 << 22);
    expect(bit(q(1)[2], 3)).toBe(0);
    expect(q(0)[0]).toBe(3);
  });

  it("SYSCALL is told only in 64-bit mode by Intel, always by AMD", () => {
    for (const [vendor, outside] of [
      ["GenuineIntel", 0],
      ["AuthenticAMD", 1],
    ] as const) {
      const f = new HelperFixture(vendor);
      const q = make(f);
      expect(bit(q(0x80000001)[3], 11)).toBe(1);
      f.protected32();
      expect(bit(q(0x80000001)[3], 11)).toBe(outside);
    }
  });

  it("leaf 4: 32K L1D, 32K L1I, 256K L2, 8M L3 shared by all, then the end", () => {
    const q = make(new HelperFixture(), 4);
    const size = ([, b, c]: readonly number[]): number =>
      ((b! >>> 22) + 1) * (((b! >>> 12) & 0x3ff) + 1) * ((b! & 0xfff) + 1) * (c! + 1);
    expect([0, 1, 2, 3].map(i => [q(4, i)[0] & 0x1f, (q(4, i)[0] >>> 5) & 7, size(q(4, i))])).toEqual([
      [1, 1, 32768],
      [2, 1, 32768],
      [3, 2, 262144],
      [3, 3, 8388608],
    ]);
    expect(q(4, 4)[0] & 0x1f).toBe(0);
    expect((q(4, 0)[0] >>> 14) & 0xfff).toBe(0);
    expect((q(4, 3)[0] >>> 14) & 0xfff).toBe(3);
    expect(q(4, 0)[0] >>> 26).toBe(3);
  });

  it("leaf 0xB: one thread per core, then the cores, then the end; x2APIC id in EDX", () => {
    const q = make(new HelperFixture(), 6, 5);
    expect(q(0xb, 0)).toEqual([0, 1, 0x100, 5]);
    expect(q(0xb, 1)).toEqual([3, 6, 0x201, 5]);
    expect(q(0xb, 2)).toEqual([0, 0, 2, 5]);
  });

  it("leaf 0xA: no performance monitoring; leaf 6: ARAT; leaf 5: MONITOR, no C-states", () => {
    const q = make(new HelperFixture());
    expect(q(0xa)).toEqual([0, 0, 0, 0]);
    expect(q(6)).toEqual([4, 0, 0, 0]);
    expect(q(5)).toEqual([64, 64, 3, 0]);
  });

  it("leaf 0x15 and 0x16 give 1 GHz", () => {
    const q = make(new HelperFixture());
    const [a, b, c] = q(0x15);
    expect((c * b) / a).toBe(1e9);
    expect(q(0x16).slice(0, 3)).toEqual([1000, 1000, 100]);
  });

  it("leaf 0xD only with XSAVE: x87 and SSE, 576 bytes", () => {
    expect(make(new HelperFixture())(0xd)).toEqual([0, 0, 0, 0]);
    expect(make(new HelperFixture("GenuineIntel", ["+xsave"]))(0xd)).toEqual([3, 576, 576, 0]);
  });

  it("the brand string", () => {
    const q = make(new HelperFixture());
    expect(text([...q(0x80000002), ...q(0x80000003), ...q(0x80000004)])).toBe("iretq virtual CPU");
  });

  it("leaf 0x80000008: 40 physical bits, 48 linear; 0x80000007: invariant TSC", () => {
    const q = make(new HelperFixture());
    expect(q(0x80000008)[0]).toBe(0x3028);
    expect(q(0x80000007)[3]).toBe(0x100);
  });

  it("a leaf above the highest gives the highest basic leaf (Intel) or zeros (AMD)", () => {
    const q = make(new HelperFixture());
    for (const leaf of [0x17, 0x40000000, 0x80000009, 0xffffffff]) expect(q(leaf)).toEqual(q(0x16));
    const amd = make(new HelperFixture("AuthenticAMD"));
    for (const leaf of [0xe, 0x40000000, 0x8000001f]) expect(amd(leaf)).toEqual([0, 0, 0, 0]);
  });

  it("AMD: repeats leaf 1 EDX, core count, caches and topology leaves", () => {
    const q = make(new HelperFixture("AuthenticAMD"), 4, 3);
    const mask = 0x0183f3ff;
    expect(q(0x80000001)[3] & mask).toBe(q(1)[3] & mask);
    expect(q(0x80000008)[2]).toBe(0x2003);
    expect(q(0x8000001e)).toEqual([3, 3, 0, 0]);
    expect(q(0x8000001d, 3)[0] & 0xff).toBe(0x63);
    expect((q(0x8000001d, 3)[0] >>> 14) & 0xfff).toBe(3);
    expect(bit(q(0x80000001)[2], 2)).toBe(0);
  });

  it("the instruction zero-extends its four results", () => {
    const f = new HelperFixture();
    for (const r of ["rax", "rbx", "rcx", "rdx"] as const) f.setGpr(r, 0xffff_ffff_0000_0000n);
    cpuidHelpers(f.ctx, new Cpuid(f.ctx, 1, 0)).cpuid!(0);
    expect(f.gpr("rax")).toBe(0x16n);
    expect(f.gpr("rbx")).toBe(0x756e6547n);
    expect(f.gpr("rdx")).toBe(0x49656e69n);
    expect(f.gpr("rcx")).toBe(0x6c65746en);
  });
});
