import { describe, expect, it } from "vitest";
import { DONE, GuestFault } from "../context.ts";
import * as L from "../layout.ts";
import { CR4 } from "./control-bits.ts";
import { DebugRegisters, debugRegisterHelpers } from "./debug-registers.ts";
import { HelperFixture } from "./helper-fixture.ts";

const make = (f: HelperFixture) => {
  const debug = new DebugRegisters(f.state);
  debug.reset();
  const calls: string[] = [];
  const table = debugRegisterHelpers(f.ctx, () => calls.push("changed"));
  const write = (number: number, value: bigint | number): string => {
    f.setGpr("rbx", value);
    return f.fault(() => table.mov_to_dr!(f.record({ aux: number, r2: L.REG.rbx })));
  };
  const read = (number: number): bigint => {
    table.mov_from_dr!(f.record({ aux: number, r2: L.REG.rbx }));
    return f.gpr("rbx");
  };
  return { debug, calls, table, write, read };
};

describe("MOV with debug registers (SDM vol. 2B, vol. 3B 18.2)", () => {
  it("DR6 and DR7 start as FFFF0FF0H and 400H (vol. 3A, table 9-1)", () => {
    const m = make(new HelperFixture());
    expect([m.read(6), m.read(7)]).toEqual([0xffff0ff0n, 0x400n]);
  });

  it("reserved bits of DR6 and DR7 keep their values", () => {
    const m = make(new HelperFixture());
    m.write(6, 0);
    expect(m.read(6)).toBe(0xffff0ff0n);
    m.write(6, 0xffffffffn);
    expect(m.read(6)).toBe(0xffffefffn);
    m.write(7, 0);
    expect(m.read(7)).toBe(0x400n);
    m.write(7, 0xffffdfffn);
    expect(m.read(7)).toBe(0xffff07ffn);
  });

  it("bits 63:32 of DR6 and DR7 must be 0; DR0 to DR3 have 64", () => {
    const m = make(new HelperFixture());
    expect(m.write(6, 1n << 32n)).toBe("#gp(0)");
    expect(m.write(7, 1n << 63n)).toBe("#gp(0)");
    expect(m.write(3, 0xffff_8000_0000_1000n)).toBe("");
    expect(m.read(3)).toBe(0xffff_8000_0000_1000n);
  });

  it("DR4 and DR5 are DR6 and DR7 unless CR4.DE; DR8 to DR15 are #UD", () => {
    const f = new HelperFixture();
    const m = make(f);
    m.write(5, 0x401);
    expect(m.read(7)).toBe(0x401n);
    expect(m.read(4)).toBe(m.read(6));
    f.state.setLo(L.CR4, CR4.pae | CR4.de);
    expect(m.write(4, 0)).toBe("#ud");
    expect(m.write(5, 0)).toBe("#ud");
    for (let n = 8; n < 16; n++) expect(m.write(n, 0)).toBe("#ud");
  });

  it("need CPL 0", () => {
    const m = make(new HelperFixture().long64(3));
    expect(m.write(0, 0)).toBe("#gp(0)");
  });

  it("DR7.GD raises #DB before the access, with DR6.BD, and is cleared for the handler (18.2.4)", () => {
    const f = new HelperFixture();
    const m = make(f);
    m.write(7, 0x2400);
    let vector = -1;
    try {
      m.table.mov_to_dr!(f.record({ aux: 0, r2: L.REG.rbx }));
    } catch (e) {
      if (e instanceof GuestFault) vector = e.vector;
    }
    expect(vector).toBe(1);
    expect(f.state.lo(L.DR6)).toBe(0xffff2ff0);
    expect(f.state.lo(L.DR7)).toBe(0x400);
    expect(f.state.big(L.DR)).toBe(0n);
  });

  it("writes tell who watches data, and look again", () => {
    const f = new HelperFixture();
    const m = make(f);
    for (const n of [0, 1, 2, 3, 7]) expect(m.table.mov_to_dr!(f.record({ aux: n, r2: L.REG.rax }))).toBe(DONE.changed);
    expect(m.calls).toHaveLength(5);
    expect(m.table.mov_to_dr!(f.record({ aux: 6, r2: L.REG.rax }))).toBe(DONE.next);
  });
});

describe("breakpoints (SDM vol. 3B, 18.2.4)", () => {
  it("an instruction breakpoint matches its address while L or G is set", () => {
    const f = new HelperFixture();
    const { debug, write } = make(f);
    write(1, 0xffff_8000_0000_1000n);
    write(2, 0x4000);
    expect(debug.codeArmed).toBe(false);
    write(7, 0x400 | (1 << 2) | (1 << 5));
    expect(debug.codeArmed).toBe(true);
    expect(debug.matchCode(-0x7fff_ffff_f000)).toBe(2);
    expect(debug.matchCode(0x4000)).toBe(4);
    expect(debug.matchCode(0x4001)).toBe(0);
    write(7, 0x400 | (1 << 2) | (1 << 20));
    expect(debug.codeArmed).toBe(false);
    expect(debug.matchCode(-0x7fff_ffff_f000)).toBe(0);
  });

  it("an I/O breakpoint covers its aligned length, with CR4.DE only", () => {
    const f = new HelperFixture();
    const { debug, write } = make(f);
    write(0, 0x3fa);
    write(7, 0x400 | 1 | (2 << 16) | (3 << 18));
    expect(debug.matchPort(0x3f8, 1)).toBe(0);
    f.state.setLo(L.CR4, CR4.pae | CR4.de);
    expect([0x3f7, 0x3f8, 0x3fb, 0x3fc].map(p => debug.matchPort(p, 1))).toEqual([0, 1, 1, 0]);
    expect(debug.matchPort(0x3f6, 4)).toBe(1);
    expect(debug.matchPort(0x3f6, 2)).toBe(0);
  });
});
