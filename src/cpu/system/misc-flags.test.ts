import { describe, expect, it } from "vitest";
import { DONE } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG } from "../state.ts";
import { CR4 } from "./control-bits.ts";
import { HelperFixture } from "./helper-fixture.ts";
import { flagHelpers } from "./misc-flags.ts";

const make = (f: HelperFixture) => {
  f.setGpr("rsp", 0x800);
  return flagHelpers(f.ctx, f.tlb, f.memory);
};
const flags = (f: HelperFixture, value: number): void => f.state.setLo(L.FLAG_OTHER, value | 2);
const other = (f: HelperFixture): number => f.state.int(L.FLAG_OTHER);

/** Rows of the tables "Decision Table for STI Results" and "for CLI Results": [PE, VM, IOPL, CPL, PVI/VME, VIP] → which flag is changed. */
type Row = [
  pe: 0 | 1,
  vm: 0 | 1,
  iopl: number,
  cpl: number,
  virtual: boolean,
  vip: boolean,
  result: "IF" | "VIF" | "GP",
];
const STI: Row[] = [
  [0, 0, 0, 0, false, false, "IF"],
  [1, 0, 3, 3, false, false, "IF"],
  [1, 0, 2, 1, false, false, "IF"],
  [1, 0, 1, 1, true, true, "IF"],
  [1, 0, 1, 2, true, false, "GP"],
  [1, 0, 0, 3, false, false, "GP"],
  [1, 0, 0, 3, true, false, "VIF"],
  [1, 0, 2, 3, true, true, "GP"],
  [1, 1, 3, 3, false, true, "IF"],
  [1, 1, 2, 3, true, false, "VIF"],
  [1, 1, 2, 3, true, true, "GP"],
  [1, 1, 2, 3, false, false, "GP"],
];

describe("CLI and STI (SDM vol. 2, decision tables)", () => {
  const setUp = ([pe, vm, iopl, cpl, virtual, vip]: Row, set: boolean): HelperFixture => {
    const f = new HelperFixture();
    if (!pe) f.real();
    else if (vm) f.vm86(iopl);
    else f.protected32(cpl);
    f.state.setLo(L.CR4, virtual ? CR4.vme | CR4.pvi : 0);
    flags(f, (iopl << 12) | (vm ? FLAG.vm : 0) | (vip ? FLAG.vip : 0) | (set ? FLAG.if | FLAG.vif : 0));
    return f;
  };

  it.each(STI)("STI: PE %i VM %i IOPL %i CPL %i virtual %s VIP %s → %s", (...row) => {
    const f = setUp(row, false);
    const before = other(f);
    const t = make(f);
    const fault = f.fault(() => t.sti!(f.record({ length: 1 })));
    expect(fault).toBe(row[6] === "GP" ? "#gp(0)" : "");
    expect(other(f)).toBe(row[6] === "GP" ? before : before | (row[6] === "IF" ? FLAG.if : FLAG.vif));
  });

  it.each(STI)("CLI: PE %i VM %i IOPL %i CPL %i virtual %s VIP %s", (...row) => {
    const f = setUp(row, true);
    const before = other(f);
    const t = make(f);
    // VIP only matters to STI.
    const virtual = row[4] && row[3] === 3 && row[2] < 3;
    const result = row[6] === "GP" && virtual ? "VIF" : row[6];
    const fault = f.fault(() => t.cli!(f.record({ length: 1 })));
    expect(fault).toBe(result === "GP" ? "#gp(0)" : "");
    expect(other(f)).toBe(result === "GP" ? before : before & ~(result === "IF" ? FLAG.if : FLAG.vif));
  });

  it("STI that sets IF casts a shadow over the next boundary (vol. 3A, 6.8.1), one that finds it set does not", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.state.setLo(L.COUNT, 77);
    expect(t.sti!(f.record({ length: 1 }))).toBe(DONE.next);
    expect([f.state.int(L.SHADOW), f.state.int(L.SHADOW_COUNT)]).toEqual([1, 77]);
    f.state.setLo(L.COUNT, 70);
    t.sti!(f.record({ length: 1 }));
    expect(f.state.int(L.SHADOW_COUNT)).toBe(77);
  });

  it("STI looks again when something waits", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.state.setLo(L.PENDING_OFFSET, L.PENDING.intr);
    expect(t.sti!(f.record({ length: 1 }))).toBe(DONE.changed);
    expect(f.rip).toBe(0x1001);
  });
});

describe("PUSHF and POPF (SDM vol. 2)", () => {
  const pop = (f: HelperFixture, t: ReturnType<typeof make>, image: number, prefix = 0): string => {
    f.memory.view.setUint32(f.state.lo(L.GPR + L.REG.rsp * 8), image, true);
    return f.fault(() => t.popf!(f.record({ prefix, length: 1 })));
  };
  const ALL = 0xffffffff;

  it("PUSHF stores the flags without VM and RF, in the operand size", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.state.eflags = 0x3f7fd7;
    f.memory.bytes.fill(0xaa, 0x700, 0x900);
    t.pushf!(f.record({ prefix: L.PFX.opSize64 }));
    expect(f.gpr("rsp")).toBe(0x7f8n);
    expect(f.memory.view.getBigUint64(0x7f8, true)).toBe(0x3c7fd7n);
    t.pushf!(f.record({ prefix: L.PFX.opSize16 }));
    expect(f.gpr("rsp")).toBe(0x7f6n);
    expect(f.memory.view.getUint16(0x7f6, true)).toBe(0x7fd7);
    f.protected32();
    t.pushf!(f.record({}));
    expect(f.gpr("rsp")).toBe(0x7f2n);
    expect(f.memory.view.getUint32(0x7f2, true)).toBe(0x3c7fd7);
  });

  it("RSP carries and borrows across 4 GiB", () => {
    const f = new HelperFixture();
    const t = make(f);
    const host = f.memory.bytes.byteOffset;
    f.tlb.direct = (_bank, linear) => host + (linear & 0xfff);
    f.setGpr("rsp", 0x7_0000_0004n);
    t.pushf!(f.record({ prefix: L.PFX.opSize64 }));
    expect(f.gpr("rsp")).toBe(0x6_ffff_fffcn);
    t.popf!(f.record({ prefix: L.PFX.opSize64 }));
    expect(f.gpr("rsp")).toBe(0x7_0000_0004n);
  });

  it("wraps SP at 64 KiB on a 16-bit stack", () => {
    const f = new HelperFixture().real();
    const t = make(f);
    f.setGpr("rsp", 0x1234_0000);
    t.pushf!(f.record({ prefix: L.PFX.opSize16 }));
    expect(f.gpr("rsp")).toBe(0x1234_fffen);
    t.popf!(f.record({ prefix: L.PFX.opSize16 }));
    expect(f.gpr("rsp")).toBe(0x1234_0000n);
  });

  it("CPL 0: all but VM, VIF, VIP can change; RF is cleared", () => {
    const f = new HelperFixture().protected32();
    const t = make(f);
    flags(f, FLAG.rf | FLAG.vif);
    expect(pop(f, t, ALL & ~FLAG.vif)).toBe("");
    expect(f.state.eflags).toBe(0x247fd7 | FLAG.vif);
    expect(f.gpr("rsp")).toBe(0x804n);
  });

  it("16-bit POPF leaves the upper half", () => {
    const f = new HelperFixture().protected32();
    const t = make(f);
    flags(f, FLAG.ac | FLAG.id);
    expect(pop(f, t, 0x3000, L.PFX.opSize16)).toBe("");
    expect(f.state.eflags).toBe(FLAG.ac | FLAG.id | 0x3002);
    expect(f.gpr("rsp")).toBe(0x802n);
  });

  it.each([
    [3, 0, 0],
    [3, 3, FLAG.if],
    [1, 1, FLAG.if],
    [2, 1, 0],
  ])("CPL %i, IOPL %i: IOPL stays, IF changes only when CPL ≤ IOPL", (cpl, iopl, changes) => {
    const f = new HelperFixture().protected32(cpl);
    const t = make(f);
    flags(f, iopl << 12);
    expect(pop(f, t, ALL)).toBe("");
    expect(f.state.eflags & (FLAG.if | FLAG.iopl)).toBe(changes | (iopl << 12));
    expect(f.state.eflags & FLAG.tf).toBe(FLAG.tf);
  });

  it("virtual-8086 mode, IOPL 3: IF changes, IOPL stays", () => {
    const f = new HelperFixture().vm86(3);
    const t = make(f);
    expect(pop(f, t, FLAG.if, L.PFX.opSize16)).toBe("");
    expect(other(f)).toBe(FLAG.vm | FLAG.iopl | FLAG.if | 2);
  });

  it("virtual-8086 mode, IOPL < 3: #GP(0) without VME or with 32 bits; else IF is VIF (vol. 3A, 20.3)", () => {
    const f = new HelperFixture().vm86(0);
    const t = make(f);
    expect(pop(f, t, 0, L.PFX.opSize16)).toBe("#gp(0)");
    expect(f.fault(() => t.pushf!(f.record({ prefix: L.PFX.opSize16 })))).toBe("#gp(0)");
    f.vm86(0, CR4.vme);
    expect(pop(f, t, 0)).toBe("#gp(0)");
    expect(f.fault(() => t.pushf!(f.record({})))).toBe("#gp(0)");
    expect(pop(f, t, FLAG.tf, L.PFX.opSize16)).toBe("#gp(0)");
    expect(pop(f, t, FLAG.if | 0x3000 | 1, L.PFX.opSize16)).toBe("");
    expect(f.state.eflags).toBe(FLAG.vm | FLAG.vif | 3);
    t.pushf!(f.record({ prefix: L.PFX.opSize16 }));
    expect(f.memory.view.getUint16(0x800, true)).toBe(0x3203);
    f.state.setLo(L.FLAG_OTHER, other(f) | FLAG.vip);
    expect(pop(f, t, FLAG.if, L.PFX.opSize16)).toBe("#gp(0)");
    expect(pop(f, t, 0, L.PFX.opSize16)).toBe("");
    expect(other(f) & FLAG.vif).toBe(0);
  });

  it("looks again when IF comes with something waiting, or TF", () => {
    const f = new HelperFixture();
    const t = make(f);
    const run = (image: number): number => {
      f.memory.view.setUint32(0x800, image, true);
      f.setGpr("rsp", 0x800);
      return t.popf!(f.record({ prefix: L.PFX.opSize64, length: 1 }));
    };
    expect(run(FLAG.if)).toBe(DONE.next);
    expect(run(FLAG.tf)).toBe(DONE.changed);
    f.state.setLo(L.PENDING_OFFSET, L.PENDING.intr);
    expect(run(FLAG.if)).toBe(DONE.changed);
    expect(run(0)).toBe(DONE.next);
  });

  it("a change of AC chooses the TLB bank anew", () => {
    const f = new HelperFixture().protected32(3);
    const t = make(f);
    expect(pop(f, t, FLAG.ac)).toBe("");
    expect(pop(f, t, FLAG.ac)).toBe("");
    expect(f.tlb.log).toEqual(["bank"]);
  });

  it("with the page in the TLB, the stack is accessed at once, unless alignment is checked or rSP is not canonical", () => {
    const f = new HelperFixture();
    const t = make(f);
    const host = f.memory.bytes.byteOffset;
    const asked: number[] = [];
    f.tlb.direct = (_bank, linear) => {
      asked.push(linear);
      return host + linear;
    };
    f.state.eflags = 0x246;
    t.pushf!(f.record({ prefix: L.PFX.opSize64 }));
    expect(f.memory.view.getBigUint64(0x7f8, true)).toBe(0x246n);
    f.memory.view.setBigUint64(0x7f8, 0xffff_ffff_0000_0003n, true);
    t.popf!(f.record({ prefix: L.PFX.opSize64 }));
    expect(f.state.eflags).toBe(3);
    expect(asked).toEqual([0x7f8, 0x7f8]);
    f.tlb.strict = true;
    t.pushf!(f.record({ prefix: L.PFX.opSize64 }));
    f.tlb.strict = false;
    f.setGpr("rsp", 0x1_0000_0000_0800n);
    f.fault(() => t.pushf!(f.record({ prefix: L.PFX.opSize64 })));
    f.setGpr("rsp", -(2n ** 47n));
    f.fault(() => t.pushf!(f.record({ prefix: L.PFX.opSize64 })));
    expect(asked).toHaveLength(2);
  });

  it("a stack fault changes nothing", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.memory.faultAt = 0x700;
    expect(pop(f, t, 1)).toBe("#pf(0)");
    expect(f.fault(() => t.pushf!(f.record({})))).toBe("#pf(2)");
  });
});

describe("STAC, CLAC, SAHF (SDM vol. 2)", () => {
  it("STAC and CLAC change AC at CPL 0; else and without SMAP #UD", () => {
    const f = new HelperFixture();
    const t = make(f);
    expect(t.stac!(0)).toBe(DONE.next);
    expect(other(f) & FLAG.ac).toBe(FLAG.ac);
    t.clac!(0);
    expect(other(f) & FLAG.ac).toBe(0);
    expect(f.tlb.log).toEqual(["bank", "bank"]);
    f.long64(3);
    expect(f.fault(() => t.stac!(0))).toBe("#ud");
    const g = new HelperFixture("GenuineIntel", ["-smap"]);
    const u = make(g);
    expect(g.fault(() => u.clac!(0))).toBe("#ud");
  });

  it("SAHF loads SF ZF AF PF CF from AH and keeps OF", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.state.eflags = 2 | FLAG.of | FLAG.if;
    f.setGpr("rax", 0xff00);
    t.sahf!(0);
    expect(f.state.eflags).toBe(2 | FLAG.of | FLAG.if | 0xd5);
    f.setGpr("rax", 0);
    t.sahf!(0);
    expect(f.state.eflags).toBe(2 | FLAG.of | FLAG.if);
  });
});
