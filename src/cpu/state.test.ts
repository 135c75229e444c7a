/** EFLAGS as TypeScript sees them and as generated code does: the same, for every combination of the six arithmetic flags. */
import { describe, expect, test } from "vitest";
import { CpuFixture } from "./cpu-fixture.ts";
import * as L from "./layout.ts";
import { ARITH_FLAGS, CpuState, FLAG } from "./state.ts";

const SIX = [FLAG.cf, FLAG.pf, FLAG.af, FLAG.zf, FLAG.sf, FLAG.of];
const combinations = Array.from({ length: 64 }, (_, n) =>
  SIX.reduce((flags, bit, i) => (n & (1 << i) ? flags | bit : flags), 0),
);

/** Condition codes 0-15 (SDM vol. 1, appendix B, table B-1). */
const CONDITIONS: readonly ((cf: boolean, pf: boolean, zf: boolean, sf: boolean, of: boolean) => boolean)[] = [
  (_cf, _pf, _zf, _sf, of) => of,
  (_cf, _pf, _zf, _sf, of) => !of,
  cf => cf,
  cf => !cf,
  (_cf, _pf, zf) => zf,
  (_cf, _pf, zf) => !zf,
  (cf, _pf, zf) => cf || zf,
  (cf, _pf, zf) => !cf && !zf,
  (_cf, _pf, _zf, sf) => sf,
  (_cf, _pf, _zf, sf) => !sf,
  (_cf, pf) => pf,
  (_cf, pf) => !pf,
  (_cf, _pf, _zf, sf, of) => sf !== of,
  (_cf, _pf, _zf, sf, of) => sf === of,
  (_cf, _pf, zf, sf, of) => zf || sf !== of,
  (_cf, _pf, zf, sf, of) => !zf && sf === of,
];

describe("arithmetic flags", () => {
  test("set and read back, with all other flags on and off", () => {
    const s = new CpuState(new ArrayBuffer(0x1000), 0);
    for (const flags of combinations) {
      for (const others of [0, FLAG.if | FLAG.df | FLAG.iopl | FLAG.id | FLAG.ac, 0x3ffd00 & ~ARITH_FLAGS]) {
        s.eflags = flags | others;
        expect(s.eflags).toBe(flags | others | 2);
        expect(s.int(L.FLAG_OTHER) & ARITH_FLAGS).toBe(0);
        s.setArithmetic(s.eflags ^ ARITH_FLAGS);
        expect(s.eflags).toBe((flags ^ ARITH_FLAGS) | others | 2);
      }
    }
  });

  test("every condition of SETcc, for every combination, and PUSHF, LAHF (SDM vol. 1, table B-1)", () => {
    const f = new CpuFixture();
    f.longMode();
    for (const flags of combinations) {
      // setcc cl for all sixteen, each shifted into rbx: setcc cl; lea rbx,[rcx+rbx*2]; then lahf, pushfq; pop rdx.
      const code: number[] = [];
      for (let cc = 0; cc < 16; cc++) code.push(0x0f, 0x90 + cc, 0xc1, 0x48, 0x8d, 0x1c, 0x59);
      code.push(0x9f, 0x9c, 0x5a);
      f.s.set64(L.GPR + L.REG.rcx * 8, 0, 0);
      f.s.set64(L.GPR + L.REG.rbx * 8, 0, 0);
      f.s.setNum(L.GPR + L.REG.rsp * 8, 0x20000);
      f.s.eflags = flags;
      expect(f.run(0x10000, code, 35)).toBe(35);
      const held = CONDITIONS.map(holds =>
        holds(
          ...([FLAG.cf, FLAG.pf, FLAG.zf, FLAG.sf, FLAG.of].map(bit => (flags & bit) !== 0) as [
            boolean,
            boolean,
            boolean,
            boolean,
            boolean,
          ]),
        ),
      );
      expect(f.reg(L.REG.rbx).toString(2).padStart(16, "0")).toBe(held.map(Number).join(""));
      expect(f.reg(L.REG.rdx)).toBe(BigInt(flags | 2));
      expect((f.s.lo(L.GPR) >>> 8) & 0xff).toBe((flags & 0xd5) | 2);
      expect(f.s.eflags).toBe(flags | 2);
    }
  });

  test("the flags of a sum as generated code keeps them are folded rightly: all sums of eight-bit numbers near the edges", () => {
    const f = new CpuFixture();
    f.longMode();
    const values = [0, 1, 2, 7, 8, 15, 16, 0x70, 0x7f, 0x80, 0x81, 0xf0, 0xfe, 0xff];
    for (const a of values) {
      for (const b of values) {
        f.s.set64(L.GPR, a, 0);
        f.s.set64(L.GPR + L.REG.rcx * 8, b, 0);
        // add al,cl
        f.run(0x10000, [0x00, 0xc8], 1);
        const sum = a + b;
        const signed = ((a << 24) >> 24) + ((b << 24) >> 24);
        let expected = 2;
        if (sum > 0xff) expected |= FLAG.cf;
        if ((a & 15) + (b & 15) > 15) expected |= FLAG.af;
        if ((sum & 0xff) === 0) expected |= FLAG.zf;
        if ((sum & 0x80) !== 0) expected |= FLAG.sf;
        if (signed !== (signed << 24) >> 24) expected |= FLAG.of;
        if ((sum & 0xff).toString(2).replaceAll("0", "").length % 2 === 0) expected |= FLAG.pf;
        expect(f.s.eflags).toBe(expected);
      }
    }
  });
});

describe("registers as numbers", () => {
  test("signed 64-bit numbers are exact to 2^53, and BigInts to the last bit", () => {
    const s = new CpuState(new ArrayBuffer(0x2000), 0x1000);
    for (const n of [
      0,
      1,
      -1,
      2 ** 31,
      -(2 ** 31),
      2 ** 32,
      -(2 ** 32),
      2 ** 47 - 1,
      -(2 ** 47),
      2 ** 53 - 1,
      -(2 ** 53) + 1,
    ]) {
      s.setNum(L.RIP, n);
      expect(s.num(L.RIP)).toBe(n);
      expect(s.big(L.RIP)).toBe(BigInt.asUintN(64, BigInt(n)));
      expect([s.lo(L.RIP), s.hi(L.RIP)]).toEqual([
        Number(BigInt.asUintN(32, BigInt(n))),
        Number(BigInt.asUintN(32, BigInt(n) >> 32n)),
      ]);
    }
    s.setBig(L.RIP, 0xfedcba9876543210n);
    expect([s.big(L.RIP), s.lo(L.RIP), s.hi(L.RIP), s.int(L.RIP)]).toEqual([
      0xfedcba9876543210n,
      0x76543210,
      0xfedcba98,
      0x76543210,
    ]);
    expect(CpuState.gpr(15)).toBe(0x78);
  });
});
