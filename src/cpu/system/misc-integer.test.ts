import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as L from "../layout.ts";
import { FLAG } from "../state.ts";
import { HelperFixture } from "./helper-fixture.ts";
import { integerHelpers } from "./misc-integer.ts";

const make = (f: HelperFixture) => integerHelpers(f.ctx, f.tlb, f.memory);
const CF = FLAG.cf;
const AF = FLAG.af;

/** AX, flags before → after one decimal instruction. */
function decimal(name: "daa" | "das" | "aaa" | "aas" | "aam" | "aad", ax: number, flags = 0, imm = 10) {
  const f = new HelperFixture().protected32();
  const t = make(f);
  f.setGpr("rax", 0x1234_0000 + ax);
  f.state.eflags = 2 | flags;
  t[name]!(f.record({ imm }));
  expect(f.gpr("rax") >> 16n).toBe(0x1234n);
  return { ax: Number(f.gpr("rax") & 0xffffn), flags: f.state.eflags & (CF | AF | FLAG.sf | FLAG.zf | FLAG.pf) };
}

describe("decimal adjustment (SDM vol. 2A)", () => {
  it("the manual's examples of DAA and DAS", () => {
    // ADD AL, BL with AL = 79H, BL = 35H gives AEH, AF 0, CF 0; DAA: 14H, CF 1, AF 1.
    expect(decimal("daa", 0xae).ax).toBe(0x14);
    expect(decimal("daa", 0xae).flags & (CF | AF)).toBe(CF | AF);
    // DAA on AL = 2EH: 34H with AF.
    expect(decimal("daa", 0x2e).ax).toBe(0x34);
    expect(decimal("daa", 0x2e).flags & (CF | AF)).toBe(AF);
    // SUB AL, BL with AL = 35H, BL = 47H gives EEH, CF 1, AF 1; DAS: 88H, CF 1, AF 1, SF 1.
    expect(decimal("das", 0xee, CF | AF).ax).toBe(0x88);
    expect(decimal("das", 0xee, CF | AF).flags & (CF | AF | FLAG.sf)).toBe(CF | AF | FLAG.sf);
  });

  it("DAA after ADD and DAS after SUB give packed decimal sums and differences", () => {
    const bcd = (n: number): number => (Math.floor(n / 10) << 4) | (n % 10);
    const digits = fc.integer({ min: 0, max: 99 });
    fc.assert(
      fc.property(digits, digits, (a, b) => {
        const x = bcd(a);
        const y = bcd(b);
        const half = (x & 15) + (y & 15) > 15 ? AF : 0;
        const sum = decimal("daa", (x + y) & 0xff, half | (x + y > 255 ? CF : 0));
        expect([sum.ax, sum.flags & CF]).toEqual([bcd((a + b) % 100), a + b > 99 ? CF : 0]);
        const borrow = (x & 15) < (y & 15) ? AF : 0;
        const difference = decimal("das", (x - y) & 0xff, borrow | (x < y ? CF : 0));
        expect([difference.ax, difference.flags & CF]).toEqual([bcd((a - b + 100) % 100), a < b ? CF : 0]);
      }),
    );
  });

  it("AAA and AAS adjust AX and clear the high nibble of AL", () => {
    expect(decimal("aaa", 0x000b)).toMatchObject({ ax: 0x0101 });
    expect(decimal("aaa", 0x00ff).ax).toBe(0x0205);
    expect(decimal("aaa", 0x0035).ax).toBe(0x0005);
    expect(decimal("aaa", 0x0035).flags & (CF | AF)).toBe(0);
    expect(decimal("aaa", 0x0031, AF).ax).toBe(0x0107);
    expect(decimal("aas", 0x020e).ax).toBe(0x0108);
    expect(decimal("aas", 0x0203, AF).ax).toBe(0x000d);
    expect(decimal("aas", 0x0203, AF).flags & (CF | AF)).toBe(CF | AF);
  });

  it("AAM divides AL, AAD joins AH and AL; base 0 is #DE", () => {
    expect(decimal("aam", 0x0063)).toMatchObject({ ax: 0x0909 });
    expect(decimal("aam", 0xff00)).toMatchObject({ ax: 0, flags: FLAG.zf | FLAG.pf });
    expect(decimal("aad", 0x0909).ax).toBe(0x63);
    expect(decimal("aad", 0x1234, 0, 16).ax).toBe((0x12 * 16 + 0x34) & 0xff);
    const f = new HelperFixture().protected32();
    expect(f.fault(() => make(f).aam!(f.record({ imm: 0 })))).toBe("#de");
  });

  it("SALC spreads CF over AL", () => {
    const f = new HelperFixture().protected32();
    const t = make(f);
    f.setGpr("rax", 0x1200);
    f.state.eflags = 3;
    t.salc!(0);
    expect(f.gpr("rax")).toBe(0x12ffn);
    f.state.eflags = 2;
    t.salc!(0);
    expect(f.gpr("rax")).toBe(0x1200n);
  });
});

describe("CMPXCHG8B and CMPXCHG16B (SDM vol. 2A)", () => {
  it("equal: stores ECX:EBX and sets ZF, keeping the other flags", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.memory.view.setBigUint64(0x100, 0x1111_2222_3333_4444n, true);
    f.setGpr("rax", 0xaaaa_0000_3333_4444n);
    f.setGpr("rdx", 0x1111_2222);
    f.setGpr("rbx", 0x5555_6666);
    f.setGpr("rcx", 0x7777_8888);
    f.state.eflags = 2 | CF | FLAG.of | FLAG.pf;
    t.cmpxchg8b!(f.memoryRecord(0x100));
    expect(f.memory.view.getBigUint64(0x100, true)).toBe(0x7777_8888_5555_6666n);
    expect(f.state.eflags).toBe(2 | CF | FLAG.of | FLAG.pf | FLAG.zf);
    expect(f.gpr("rax")).toBe(0xaaaa_0000_3333_4444n);
  });

  it("unequal: loads EDX:EAX, zero-extended, and clears ZF", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.memory.view.setBigUint64(0x100, 0x1111_2222_3333_4444n, true);
    f.setGpr("rax", -1n);
    f.setGpr("rdx", -1n);
    f.state.eflags = 2 | FLAG.zf;
    t.cmpxchg8b!(f.memoryRecord(0x100));
    expect([f.gpr("rax"), f.gpr("rdx")]).toEqual([0x3333_4444n, 0x1111_2222n]);
    expect(f.state.eflags).toBe(2);
    expect(f.memory.view.getBigUint64(0x100, true)).toBe(0x1111_2222_3333_4444n);
  });

  it("need a writable destination even when they do not exchange", () => {
    const f = new HelperFixture();
    f.memory.readOnlyFrom = 0x100;
    expect(f.fault(() => make(f).cmpxchg8b!(f.memoryRecord(0x100)))).toBe("#pf(2)");
  });

  it("CMPXCHG16B: 16 bytes, aligned or #GP(0)", () => {
    const f = new HelperFixture();
    const t = make(f);
    f.memory.view.setBigUint64(0x100, 1n, true);
    f.memory.view.setBigUint64(0x108, 2n, true);
    f.setGpr("rax", 1);
    f.setGpr("rdx", 3);
    t.cmpxchg16b!(f.memoryRecord(0x100, { prefix: L.PFX.opSize64 }));
    expect([f.gpr("rax"), f.gpr("rdx"), f.state.eflags & FLAG.zf]).toEqual([1n, 2n, 0]);
    f.setGpr("rbx", -5n);
    f.setGpr("rcx", -6n);
    t.cmpxchg16b!(f.memoryRecord(0x100, { prefix: L.PFX.opSize64 }));
    expect([f.memory.view.getBigInt64(0x100, true), f.memory.view.getBigInt64(0x108, true)]).toEqual([-5n, -6n]);
    expect(f.state.eflags & FLAG.zf).toBe(FLAG.zf);
    expect(f.fault(() => t.cmpxchg16b!(f.memoryRecord(0x108)))).toBe("#gp(0)");
  });
});

describe("BOUND and MOVBE (SDM vol. 2)", () => {
  it("BOUND raises #BR outside the signed bounds, which are included", () => {
    const f = new HelperFixture().protected32();
    const t = make(f);
    f.memory.view.setInt32(0x100, -5, true);
    f.memory.view.setInt32(0x104, 5, true);
    const check = (index: number, prefix = 0): string => {
      f.setGpr("rbx", index);
      return f.fault(() => t.bound!(f.memoryRecord(0x100, { r1: L.REG.rbx, prefix })));
    };
    expect([-6, -5, 0, 5, 6].map(i => check(i))).toEqual(["#br", "", "", "", "#br"]);
    f.memory.view.setInt16(0x100, -2, true);
    f.memory.view.setInt16(0x102, 1, true);
    expect([-3, -2, 0x10001, 2].map(i => check(i, L.PFX.opSize16))).toEqual(["#br", "", "", "#br"]);
  });

  it("MOVBE reverses bytes, when the model has it", () => {
    const f = new HelperFixture("GenuineIntel", ["+movbe"]);
    const t = make(f);
    f.memory.view.setBigUint64(0x100, 0x0102030405060708n, true);
    const load = (prefix: number): bigint => {
      f.setGpr("rbx", -1n);
      t.movbe_GE!(f.memoryRecord(0x100, { r1: L.REG.rbx, prefix }));
      return f.gpr("rbx");
    };
    expect([load(L.PFX.opSize16), load(0), load(L.PFX.opSize64)]).toEqual([
      0xffff_ffff_ffff_0807n,
      0x08070605n,
      0x0807060504030201n,
    ]);
    t.movbe_EG!(f.memoryRecord(0x200, { r1: L.REG.rbx, prefix: L.PFX.opSize64 }));
    expect(f.memory.view.getBigUint64(0x200, true)).toBe(0x0102030405060708n);
    const g = new HelperFixture();
    expect(g.fault(() => make(g).movbe_GE!(g.memoryRecord(0x100)))).toBe("#ud");
  });
});

describe("ENTER (SDM vol. 2A)", () => {
  const run = (f: HelperFixture, alloc: number, level: number, prefix = 0): string =>
    f.fault(() => make(f).enter!(f.record({ imm: alloc | (level << 16), prefix })));

  it("level 0 is PUSH rBP; MOV rBP, rSP; SUB rSP, n", () => {
    const f = new HelperFixture();
    f.setGpr("rsp", 0x800);
    f.setGpr("rbp", 0xffff_8000_1234_5678n);
    expect(run(f, 0x20, 0, L.PFX.opSize64)).toBe("");
    expect([f.gpr("rsp"), f.gpr("rbp")]).toEqual([0x7d8n, 0x7f8n]);
    expect(f.memory.view.getBigUint64(0x7f8, true)).toBe(0xffff_8000_1234_5678n);
  });

  it("level 3 copies two frame pointers and adds its own", () => {
    const f = new HelperFixture().protected32();
    f.setGpr("rsp", 0x800);
    f.setGpr("rbp", 0x900);
    f.memory.view.setUint32(0x8fc, 0xaaaa, true);
    f.memory.view.setUint32(0x8f8, 0xbbbb, true);
    expect(run(f, 8, 3)).toBe("");
    expect([0x7fc, 0x7f8, 0x7f4, 0x7f0].map(at => f.memory.view.getUint32(at, true))).toEqual([
      0x900, 0xaaaa, 0xbbbb, 0x7fc,
    ]);
    expect([f.gpr("rsp"), f.gpr("rbp")]).toEqual([0x7e8n, 0x7fcn]);
  });

  it("level is taken modulo 32; 16 bits leave the upper half of EBP", () => {
    const f = new HelperFixture().real();
    f.setGpr("rsp", 0xdead_0800n);
    f.setGpr("rbp", 0xbeef_0900n);
    expect(run(f, 0, 32, L.PFX.opSize16)).toBe("");
    expect([f.gpr("rsp"), f.gpr("rbp")]).toEqual([0xdead_07fen, 0xbeef_07fen]);
  });

  it("a new stack top that cannot be written faults with rSP and rBP as they were", () => {
    const f = new HelperFixture();
    f.setGpr("rsp", 0x800);
    f.memory.readOnlyFrom = 0x900;
    f.setGpr("rsp", 0x904);
    expect(run(f, 0, 0, L.PFX.opSize64)).toBe("#pf(2)");
  });
});
