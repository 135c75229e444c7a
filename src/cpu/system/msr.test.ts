import { beforeEach, describe, expect, it } from "vitest";
import { EVENT } from "../../ports/events.ts";
import { DONE } from "../context.ts";
import * as L from "../layout.ts";
import { EFER } from "./control-bits.ts";
import { HelperFixture } from "./helper-fixture.ts";
import { MSR_INDEX as I } from "./msr-index.ts";
import { Msrs, msrHelpers } from "./msr.ts";
import { Tsc } from "./msr-tsc.ts";

const make = (f: HelperFixture) => {
  const tsc = new Tsc(f.ctx);
  const msrs = new Msrs(f.ctx, f.tlb, tsc);
  msrs.reset();
  const table = msrHelpers(f.ctx, msrs);
  const write = (index: number, value: bigint): string => {
    f.setGpr("rcx", index);
    f.setGpr("rax", value & 0xffffffffn);
    f.setGpr("rdx", value >> 32n);
    return f.fault(() => table.wrmsr!(f.record({})));
  };
  const read = (index: number): bigint | string => {
    f.setGpr("rcx", index);
    const fault = f.fault(() => table.rdmsr!(f.record({})));
    return fault === "" ? (f.gpr("rdx") << 32n) | f.gpr("rax") : fault;
  };
  return { tsc, msrs, table, write, read };
};

describe("RDMSR and WRMSR (SDM vol. 2B)", () => {
  let f: HelperFixture;
  let m: ReturnType<typeof make>;
  beforeEach(() => {
    f = new HelperFixture();
    m = make(f);
  });

  it("raise #GP(0) when CPL is not 0", () => {
    f.state.setLo(L.CPL, 3);
    expect(m.read(I.efer)).toBe("#gp(0)");
    expect(m.write(I.tsc, 0n)).toBe("#gp(0)");
  });

  it("raise #GP(0) for an MSR that is not there", () => {
    for (const index of [0x0, 0x48, 0x140, 0xc1, 0x400, 0xc0011029, 0xc0010015, 0x12345678]) {
      expect(m.read(index), index.toString(16)).toBe("#gp(0)");
      expect(m.write(index, 0n), index.toString(16)).toBe("#gp(0)");
    }
  });

  it("zero-extend EAX and EDX of the result", () => {
    f.setGpr("rax", -1n);
    f.setGpr("rdx", -1n);
    f.setGpr("rcx", I.star);
    f.state.set64(L.MSR.star, 0x11111111, 0x22222222);
    m.table.rdmsr!(f.record({}));
    expect(f.gpr("rax")).toBe(0x11111111n);
    expect(f.gpr("rdx")).toBe(0x22222222n);
  });

  it("tell the trace which MSR and value", () => {
    const events: number[][] = [];
    f.trace.listen({ event: (_t, kind, _s, a, b, c) => events.push([kind, a, b, c]) }, [EVENT.msrRead, EVENT.msrWrite]);
    m.write(I.tscAux, 5n);
    m.read(I.tscAux);
    m.read(0x48);
    expect(events).toEqual([
      [EVENT.msrWrite, I.tscAux, 5, 0],
      [EVENT.msrRead, I.tscAux, 5, 0],
    ]);
  });

  it.each([I.lstar, I.cstar, I.fsBase, I.gsBase, I.kernelGsBase, I.sysenterEsp, I.sysenterEip])(
    "0x%s takes canonical addresses only",
    index => {
      for (const value of [0n, 0x7fff_ffff_ffffn, 0xffff_8000_0000_0000n, 0xffff_ffff_ffff_ffffn]) {
        expect(m.write(index, value)).toBe("");
        expect(m.read(index)).toBe(value);
      }
      for (const value of [0x8000_0000_0000n, 0xffff_7fff_ffff_ffffn, 1n << 63n]) {
        expect(m.write(index, value)).toBe("#gp(0)");
      }
    },
  );

  it("IA32_FS_BASE and GS_BASE are the segment bases (vol. 3A, 3.4.4.1)", () => {
    m.write(I.fsBase, 0xffff_8000_1234_5678n);
    m.write(I.gsBase, 0x1000n);
    expect(f.state.segBase(L.SEG.fs)).toBe(-0x7fff_edcb_a988);
    expect(f.state.segBase(L.SEG.gs)).toBe(0x1000);
  });

  it("IA32_FMASK and IA32_TSC_AUX have 32 bits", () => {
    expect(m.write(I.sfmask, 0x1_0000_0000n)).toBe("#gp(0)");
    expect(m.write(I.tscAux, 0x1_0000_0000n)).toBe("#gp(0)");
    expect(m.write(I.sfmask, 0xffff_ffffn)).toBe("");
  });

  it("IA32_TSC_AUX is absent without RDTSCP", () => {
    const n = make(new HelperFixture("GenuineIntel", ["-rdtscp"]));
    expect(n.read(I.tscAux)).toBe("#gp(0)");
  });

  it("what the APIC owns goes to the APIC, and its refusal is #GP(0)", () => {
    expect(m.read(I.apicBase)).toBe(0xfee00900n);
    f.apic.msrs.set(0x802, [7, 0]);
    expect(m.read(0x802)).toBe(7n);
    expect(m.read(0x803)).toBe("#gp(0)");
    expect(m.write(I.tscDeadline, 0x1_2345_6789n)).toBe("");
    expect(f.apic.msrs.get(I.tscDeadline)).toEqual([0x23456789, 1]);
  });

  it("a write of IA32_APIC_BASE drops translations", () => {
    f.setGpr("rcx", I.apicBase);
    f.setGpr("rax", 0xfee00d00);
    f.setGpr("rdx", 0);
    expect(m.table.wrmsr!(f.record({ length: 2 }))).toBe(DONE.changed);
    expect(f.rip).toBe(0x1002);
    expect(f.tlb.log).toEqual(["all"]);
  });

  it("without x2APIC and TSC-deadline their MSRs and the EXTD bit are #GP(0)", () => {
    const g = new HelperFixture("GenuineIntel", ["-x2apic", "-tscDeadline"]);
    const n = make(g);
    g.apic.msrs.set(0x802, [7, 0]);
    g.apic.msrs.set(I.tscDeadline, [7, 0]);
    expect(n.read(0x802)).toBe("#gp(0)");
    expect(n.write(0x80b, 0n)).toBe("#gp(0)");
    expect(n.read(I.tscDeadline)).toBe("#gp(0)");
    expect(n.write(I.apicBase, 0xfee00d00n)).toBe("#gp(0)");
    expect(n.write(I.apicBase, 0xfee00900n)).toBe("");
  });

  it("IA32_PAT: reset value and reserved types (vol. 3A, 11.12.2)", () => {
    expect(m.read(0x277)).toBe(0x0007040600070406n);
    expect(m.write(0x277, 0x0001040500060707n)).toBe("");
    for (const bad of [2n, 3n, 8n, 0x80n])
      for (const byte of [0n, 8n, 32n, 56n]) expect(m.write(0x277, bad << byte)).toBe("#gp(0)");
  });

  it("IA32_FEATURE_CONTROL: writing after the lock is #GP(0) (vol. 4)", () => {
    expect(m.read(I.featureControl)).toBe(0n);
    expect(m.write(I.featureControl, 4n)).toBe("#gp(0)");
    expect(m.write(I.featureControl, 1n)).toBe("");
    expect(m.write(I.featureControl, 1n)).toBe("#gp(0)");
  });

  it("IA32_BIOS_SIGN_ID keeps its revision when it is written", () => {
    const before = m.read(I.biosSignId);
    expect(m.write(I.biosSignId, 0n)).toBe("");
    expect(m.read(I.biosSignId)).toBe(before);
    expect((before as bigint) >> 32n).not.toBe(0n);
  });

  it("machine-check capability: no banks, read-only", () => {
    expect(m.read(I.mcgCap)).toBe(0n);
    expect(m.write(I.mcgCap, 0n)).toBe("#gp(0)");
    expect(m.write(I.mcgStatus, 8n)).toBe("#gp(0)");
    expect(m.read(0x17b)).toBe("#gp(0)");
  });

  it("MISC_ENABLE: read-only bits stay, reserved ones are #GP(0)", () => {
    const before = m.read(I.miscEnable) as bigint;
    expect(before & 0x1800n).toBe(0x1800n);
    expect(m.write(I.miscEnable, 0n)).toBe("");
    expect(m.read(I.miscEnable)).toBe(0x1800n);
    expect(m.write(I.miscEnable, 2n)).toBe("#gp(0)");
    expect(m.write(I.miscEnable, 1n << 35n)).toBe("#gp(0)");
  });

  it("AMD has its own MSRs and lacks Intel's", () => {
    const n = make(new HelperFixture("AuthenticAMD"));
    expect(n.read(0xc0010015)).toBe(1n << 24n);
    expect(n.write(0xc0010010, 0x40000n)).toBe("");
    expect(n.read(0xc0010010)).toBe(0x40000n);
    for (const index of [0x3a, 0x1a0, 0xce, 0x34, 0x3b, 0xc0010000]) expect(n.read(index)).toBe("#gp(0)");
    expect(n.write(I.sysenterEip, 0x1_2345_6789n)).toBe("");
    expect(n.read(I.sysenterEip)).toBe(0x23456789n);
  });
});

describe("IA32_EFER (SDM vol. 3A, 2.2.1; 9.8.5)", () => {
  it("reserved bits and absent features raise #GP(0)", () => {
    const m = make(new HelperFixture());
    for (const bit of [1, 9, 12, 13, 14, 15, 32, 63])
      expect(m.write(I.efer, 0x501n | (1n << BigInt(bit)))).toBe("#gp(0)");
    const n = make(new HelperFixture("GenuineIntel", ["-nx", "-syscall"]));
    expect(n.write(I.efer, 0xd00n)).toBe("#gp(0)");
    expect(n.write(I.efer, 0x501n)).toBe("#gp(0)");
  });

  it("LME cannot change while paging is on", () => {
    const f = new HelperFixture();
    const m = make(f);
    expect(m.write(I.efer, 1n)).toBe("#gp(0)");
    f.protected32();
    expect(m.write(I.efer, 0x100n)).toBe("");
    expect(m.read(I.efer)).toBe(0x100n);
  });

  it("LMA is kept: Intel ignores what is written, AMD refuses a change (APM vol. 2, 3.1.7)", () => {
    const f = new HelperFixture();
    const m = make(f);
    expect(m.write(I.efer, 0x101n)).toBe("");
    expect(m.read(I.efer)).toBe(0x501n);
    expect(make(new HelperFixture("AuthenticAMD")).write(I.efer, 0x101n)).toBe("#gp(0)");
  });

  it("a change of NXE flushes and looks again, other changes do not", () => {
    const f = new HelperFixture();
    const m = make(f);
    m.write(I.efer, 0x500n);
    expect(f.tlb.log).toEqual([]);
    f.setGpr("rax", 0xd00);
    expect(m.table.wrmsr!(f.record({}))).toBe(DONE.changed);
    expect(f.tlb.log).toEqual(["all"]);
    expect(f.state.lo(L.EFER) & EFER.nxe).toBe(EFER.nxe);
  });
});

describe("MTRRs (SDM vol. 3A, 11.11)", () => {
  let m: ReturnType<typeof make>;
  beforeEach(() => {
    m = make(new HelperFixture());
  });

  it("MTRRCAP: 8 variable ranges, fixed ranges, WC; read-only", () => {
    expect(m.read(0xfe)).toBe(0x508n);
    expect(m.write(0xfe, 0x508n)).toBe("#gp(0)");
  });

  it("MTRR_DEF_TYPE: type, FE, E", () => {
    expect(m.read(0x2ff)).toBe(0n);
    expect(m.write(0x2ff, 0xc06n)).toBe("");
    expect(m.read(0x2ff)).toBe(0xc06n);
    for (const bad of [2n, 3n, 7n, 0x100n, 0x1000n, 1n << 32n]) expect(m.write(0x2ff, bad)).toBe("#gp(0)");
  });

  it("variable ranges: reserved bits, types, MAXPHYADDR 40", () => {
    for (let i = 0; i < 8; i++) {
      expect(m.write(0x200 + 2 * i, 0xff_c000_0006n)).toBe("");
      expect(m.write(0x201 + 2 * i, 0xff_e000_0800n)).toBe("");
      expect(m.read(0x200 + 2 * i)).toBe(0xff_c000_0006n);
      expect(m.read(0x201 + 2 * i)).toBe(0xff_e000_0800n);
    }
    for (const bad of [2n, 0x106n, 1n << 40n]) expect(m.write(0x200, bad)).toBe("#gp(0)");
    for (const bad of [1n, 0x400n, 1n << 40n]) expect(m.write(0x201, bad)).toBe("#gp(0)");
    expect(m.read(0x210)).toBe("#gp(0)");
  });

  it("the 11 fixed-range registers hold 8 types each", () => {
    const all = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];
    all.forEach((index, i) => {
      expect(m.write(index, 0x0606060606060600n | BigInt([0, 1, 4, 5, 6][i % 5]!))).toBe("");
    });
    all.forEach((index, i) => {
      expect(m.read(index)).toBe(0x0606060606060600n | BigInt([0, 1, 4, 5, 6][i % 5]!));
      expect(m.write(index, 7n << 56n)).toBe("#gp(0)");
      expect(m.write(index, 2n)).toBe("#gp(0)");
    });
  });
});
