import { describe, expect, it } from "vitest";
import { DONE } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG } from "../state.ts";
import { CR4, EFER } from "./control-bits.ts";
import { HelperFixture } from "./helper-fixture.ts";
import { syscallHelpers } from "./syscall.ts";

const make = (f: HelperFixture) => {
  const s = f.state;
  // Kernel CS 0x10, user base 0x23 (RPL bits must not matter for CS of SYSCALL).
  s.set64(L.MSR.star, 0xdead0000, 0x00230010);
  s.setBig(L.MSR.lstar, 0xffff_8000_0010_0000n);
  s.setBig(L.MSR.cstar, 0xffff_8000_0020_0000n);
  s.set64(L.MSR.sfmask, 0x47700, 0);
  s.setLo(L.MSR.sysenterCs, 0x10);
  s.setBig(L.MSR.sysenterEsp, 0xffff_8000_0000_7000n);
  s.setBig(L.MSR.sysenterEip, 0xffff_8000_0030_0000n);
  return syscallHelpers(f.ctx, f.tlb, f.seg);
};
const seg = (f: HelperFixture, n: number) => [
  f.state.selector(n),
  f.state.segAttr(n),
  f.state.segBase(n),
  f.state.segLimit(n),
];

describe("SYSCALL (SDM vol. 2B)", () => {
  it("saves RIP and RFLAGS, masks flags, loads flat CS and SS, CPL 0", () => {
    const f = new HelperFixture().long64(3);
    const t = make(f);
    const s = f.state;
    s.setNum(L.RIP, 0x7fff_ffff_f000);
    s.eflags = 0x246 | FLAG.df | FLAG.ac | FLAG.tf;
    expect(t.syscall!(f.record({ length: 2 }))).toBe(DONE.changed);
    expect(f.gpr("rcx")).toBe(0x7fff_ffff_f002n);
    expect(f.gpr("r11")).toBe(0x246n | BigInt(FLAG.df | FLAG.ac | FLAG.tf));
    expect(s.big(L.RIP)).toBe(0xffff_8000_0010_0000n);
    expect(s.eflags).toBe(0x46);
    expect(seg(f, L.SEG.cs)).toEqual([0x10, 0xa09b, 0, 0xffffffff]);
    expect(seg(f, L.SEG.ss)).toEqual([0x18, 0xc093, 0, 0xffffffff]);
    expect(s.cpl).toBe(0);
    expect(f.tlb.log).toEqual(["bank"]);
    expect(f.log).toEqual([]);
  });

  it("is #UD without EFER.SCE, and on Intel outside 64-bit mode", () => {
    const f = new HelperFixture().long64(3);
    const t = make(f);
    f.state.setLo(L.EFER, EFER.lme | EFER.lma);
    expect(f.fault(() => t.syscall!(f.record({})))).toBe("#ud");
    f.state.setLo(L.EFER, EFER.lme | EFER.lma | EFER.sce);
    f.state.setLo(L.CODE_MODE, 1);
    expect(f.fault(() => t.syscall!(f.record({})))).toBe("#ud");
    expect(f.fault(() => t.sysret!(f.record({})))).toBe("#ud");
  });

  it("on AMD enters at CSTAR from compatibility mode (APM vol. 3)", () => {
    const f = new HelperFixture("AuthenticAMD").long64(3);
    const t = make(f);
    f.state.setLo(L.CODE_MODE, 1);
    f.state.setNum(L.RIP, 0x8000);
    t.syscall!(f.record({ length: 2 }));
    expect(f.state.big(L.RIP)).toBe(0xffff_8000_0020_0000n);
    expect(f.gpr("rcx")).toBe(0x8002n);
    expect(f.log).toEqual(["recompute"]);
  });

  it("on AMD in legacy mode takes EIP from STAR and clears IF, VM, RF", () => {
    const f = new HelperFixture("AuthenticAMD").protected32(3);
    const t = make(f);
    f.state.setLo(L.EFER, EFER.sce);
    f.state.eflags = 0x202 | FLAG.rf | FLAG.df;
    f.setGpr("r11", 99);
    t.syscall!(f.record({ length: 2 }));
    expect(f.state.big(L.RIP)).toBe(0xdead0000n);
    expect(f.gpr("rcx")).toBe(0x1002n);
    expect(f.gpr("r11")).toBe(99n);
    expect(f.state.eflags).toBe(2 | FLAG.df);
    expect(seg(f, L.SEG.cs)).toEqual([0x10, 0xc09b, 0, 0xffffffff]);
  });
});

describe("SYSRET (SDM vol. 2B)", () => {
  const ready = (vendor: "GenuineIntel" | "AuthenticAMD" = "GenuineIntel") => {
    const f = new HelperFixture(vendor);
    const t = make(f);
    f.setGpr("rcx", 0x40_1000);
    f.setGpr("r11", 0xffff_ffff_ffff_ffffn);
    return { f, t, s: f.state };
  };

  it("with REX.W returns to 64-bit code at CPL 3", () => {
    const { f, t, s } = ready();
    expect(t.sysret!(f.record({ prefix: L.PFX.opSize64 }))).toBe(DONE.changed);
    expect(f.rip).toBe(0x40_1000);
    expect(seg(f, L.SEG.cs)).toEqual([0x33, 0xa0fb, 0, 0xffffffff]);
    expect(seg(f, L.SEG.ss)).toEqual([0x2b, 0xc0f3, 0, 0xffffffff]);
    expect(s.cpl).toBe(3);
    // RFLAGS ← (R11 AND 3C7FD7H) OR 2.
    expect(s.eflags).toBe(0x3c7fd7);
    expect(f.log).toEqual([]);
  });

  it("without REX.W returns to 32-bit code", () => {
    const { f, t } = ready();
    f.setGpr("rcx", 0xffff_ffff_0040_1000n);
    t.sysret!(f.record({}));
    expect(f.rip).toBe(0x40_1000);
    expect(seg(f, L.SEG.cs)).toEqual([0x23, 0xc0fb, 0, 0xffffffff]);
    expect(seg(f, L.SEG.ss)[0]).toBe(0x2b);
    expect(f.log).toEqual(["recompute"]);
  });

  it("checks CPL, and on Intel that RCX is canonical", () => {
    const { f, t, s } = ready();
    f.setGpr("rcx", 0x8000_0000_0000n);
    expect(f.fault(() => t.sysret!(f.record({ prefix: L.PFX.opSize64 })))).toBe("#gp(0)");
    s.setLo(L.CPL, 3);
    f.setGpr("rcx", 0);
    expect(f.fault(() => t.sysret!(f.record({ prefix: L.PFX.opSize64 })))).toBe("#gp(0)");
  });

  it("on AMD leaves SS's attributes and does not check RCX (APM vol. 3)", () => {
    const { f, t, s } = ready("AuthenticAMD");
    s.setLo(L.SEG_ATTR + L.SEG.ss * 4, L.ATTR_UNUSABLE);
    f.setGpr("rcx", 0x8000_0000_0000n);
    expect(f.fault(() => t.sysret!(f.record({ prefix: L.PFX.opSize64 })))).toBe("");
    expect(s.selector(L.SEG.ss)).toBe(0x2b);
    expect(s.segAttr(L.SEG.ss)).toBe(L.ATTR_UNUSABLE);
  });
});

describe("SYSENTER and SYSEXIT (SDM vol. 2B)", () => {
  it("SYSENTER in IA-32e mode goes to 64-bit code at CPL 0", () => {
    const f = new HelperFixture().long64(3);
    const t = make(f);
    f.state.setLo(L.CODE_MODE, 1);
    f.state.eflags = 0x202 | FLAG.rf | FLAG.df;
    expect(t.sysenter!(f.record({}))).toBe(DONE.changed);
    expect(f.state.big(L.RIP)).toBe(0xffff_8000_0030_0000n);
    expect(f.gpr("rsp")).toBe(0xffff_8000_0000_7000n);
    expect(f.state.eflags).toBe(2 | FLAG.df);
    expect(seg(f, L.SEG.cs)).toEqual([0x10, 0xa09b, 0, 0xffffffff]);
    expect(seg(f, L.SEG.ss)).toEqual([0x18, 0xc093, 0, 0xffffffff]);
    expect(f.log).toEqual(["recompute"]);
  });

  it("SYSENTER in protected mode goes to 32-bit code", () => {
    const f = new HelperFixture().protected32(3);
    const t = make(f);
    t.sysenter!(f.record({}));
    expect(f.state.big(L.RIP)).toBe(0x0030_0000n);
    expect(f.gpr("rsp")).toBe(0x7000n);
    expect(seg(f, L.SEG.cs)[1]).toBe(0xc09b);
  });

  it("#GP(0) in real mode and with a null SYSENTER_CS", () => {
    const f = new HelperFixture().real();
    const t = make(f);
    expect(f.fault(() => t.sysenter!(f.record({})))).toBe("#gp(0)");
    f.protected32();
    f.state.setLo(L.MSR.sysenterCs, 3);
    expect(f.fault(() => t.sysenter!(f.record({})))).toBe("#gp(0)");
    expect(f.fault(() => t.sysexit!(f.record({})))).toBe("#gp(0)");
  });

  it("SYSEXIT takes CS +16, +24 for 32 bits and +32, +40 for 64; ECX is the stack, EDX the target", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.setGpr("rcx", 0x7fff_0000_1000n);
    f.setGpr("rdx", 0x40_2000);
    t.sysexit!(f.record({ prefix: L.PFX.opSize64 }));
    expect([f.gpr("rsp"), f.rip]).toEqual([0x7fff_0000_1000n, 0x40_2000]);
    expect([seg(f, L.SEG.cs)[0], seg(f, L.SEG.cs)[1], seg(f, L.SEG.ss)[0]]).toEqual([0x33, 0xa0fb, 0x3b]);
    f.long64();
    t.sysexit!(f.record({}));
    expect(f.gpr("rsp")).toBe(0x1000n);
    expect([seg(f, L.SEG.cs)[0], seg(f, L.SEG.cs)[1], seg(f, L.SEG.ss)[0]]).toEqual([0x23, 0xc0fb, 0x2b]);
  });

  it("SYSEXIT checks CPL and, with REX.W, canonical RCX and RDX", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.setGpr("rdx", 0x8000_0000_0000n);
    expect(f.fault(() => t.sysexit!(f.record({ prefix: L.PFX.opSize64 })))).toBe("#gp(0)");
    f.long64(3);
    expect(f.fault(() => t.sysexit!(f.record({})))).toBe("#gp(0)");
  });

  it("are #UD on AMD in IA-32e mode", () => {
    const f = new HelperFixture("AuthenticAMD");
    const t = make(f);
    expect(f.fault(() => t.sysenter!(f.record({})))).toBe("#ud");
    f.protected32();
    expect(f.fault(() => t.sysenter!(f.record({})))).toBe("");
  });
});

describe("SWAPGS, RDFSBASE and relatives (SDM vol. 2B)", () => {
  it("SWAPGS exchanges GS base and KERNEL_GS_BASE, in 64-bit mode at CPL 0", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.state.setBig(L.SEG_BASE + L.SEG.gs * 8, 0x1234_5678_9abcn);
    f.state.setBig(L.MSR.kernelGsBase, 0xffff_8888_0000_0000n);
    expect(t.swapgs!(0)).toBe(DONE.next);
    expect(f.state.big(L.SEG_BASE + L.SEG.gs * 8)).toBe(0xffff_8888_0000_0000n);
    expect(f.state.big(L.MSR.kernelGsBase)).toBe(0x1234_5678_9abcn);
    f.state.setLo(L.CPL, 3);
    expect(f.fault(() => t.swapgs!(0))).toBe("#gp(0)");
    f.state.setLo(L.CODE_MODE, 1);
    expect(f.fault(() => t.swapgs!(0))).toBe("#ud");
  });

  it("base instructions need CR4.FSGSBASE, move 32 or 64 bits, and want canonical bases", () => {
    const f = new HelperFixture().long64(3);
    const t = make(f);
    const r = (prefix: number) => f.record({ r2: L.REG.rbx, prefix });
    expect(f.fault(() => t.rdfsbase!(r(0)))).toBe("#ud");
    f.state.setLo(L.CR4, CR4.pae | CR4.fsgsbase);
    f.setGpr("rbx", 0xffff_9000_8000_7000n);
    t.wrgsbase!(r(L.PFX.opSize64));
    expect(f.state.big(L.SEG_BASE + L.SEG.gs * 8)).toBe(0xffff_9000_8000_7000n);
    t.wrfsbase!(r(0));
    expect(f.state.big(L.SEG_BASE + L.SEG.fs * 8)).toBe(0x8000_7000n);
    t.rdgsbase!(r(0));
    expect(f.gpr("rbx")).toBe(0x8000_7000n);
    t.rdgsbase!(r(L.PFX.opSize64));
    expect(f.gpr("rbx")).toBe(0xffff_9000_8000_7000n);
    f.setGpr("rbx", 0x8000_0000_0000n);
    expect(f.fault(() => t.wrfsbase!(r(L.PFX.opSize64)))).toBe("#gp(0)");
  });
});
