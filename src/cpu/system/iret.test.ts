import { describe, expect, test } from "vitest";
import { EVENT } from "../../ports/events.ts";
import { DONE, EXC } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG, MODE } from "../state.ts";
import { faultOf } from "./mmu-fixture.ts";
import { AT, SEL, SystemFixture } from "./segmentation-fixture.ts";

const { opSize16, opSize64 } = L.PFX;
const iret = (f: SystemFixture, prefix = 0): [number, number] | null => faultOf(() => f.run("iret", { prefix }));

function put64(f: SystemFixture, ...words: number[]): void {
  words.forEach((word, i) => {
    f.poke(f.rsp + i * 8, word, Math.floor(word / 2 ** 32));
  });
}

describe("IRETQ in 64-bit mode (SDM vol. 2, IRET; vol. 3A, 6.14.3)", () => {
  function kernel(): SystemFixture {
    const f = new SystemFixture().longMode(0);
    f.rip = 0x9000;
    f.rsp = 0x7fd8;
    return f;
  }
  test("to privilege 3: SS:RSP, flags, CPL; data segments that are too privileged become null; NMIs are unblocked", () => {
    const f = kernel();
    f.state.setLo(L.NMI_BLOCKED, 1);
    // With a breakpoint armed RF must be there for the next instruction.
    f.state.setLo(L.DR7, 1);
    f.seg.loadData(L.SEG.es, SEL.data3, EXC.gp, 0);
    put64(f, 0x1234_00005002, SEL.long3, 0x3202 | FLAG.cf | FLAG.rf, 0x7fff_00007008, SEL.data3);
    expect(f.run("iret", { prefix: opSize64 })).toBe(DONE.changed);
    expect([f.rip, f.rsp, f.state.cpl]).toEqual([0x1234_00005002, 0x7fff_00007008, 3]);
    expect(f.state.eflags).toBe(0x3202 | FLAG.cf | FLAG.rf);
    expect([L.SEG.cs, L.SEG.ss, L.SEG.es, L.SEG.ds].map(seg => f.state.selector(seg))).toEqual([
      SEL.long3,
      SEL.data3,
      SEL.data3,
      0,
    ]);
    expect(f.state.int(L.NMI_BLOCKED)).toBe(0);
    expect(f.state.int(L.DTLB_BASE)).toBe(f.state.base + L.DTLB_OFFSET + L.BANK.user * L.DTLB_ENTRIES * L.DTLB_ENTRY);
  });
  test("to the same privilege SS:RSP are popped all the same; SS may be null", () => {
    const f = kernel();
    put64(f, 0x5000, SEL.long0, 2, 0x6000, 0);
    expect(iret(f, opSize64)).toBe(null);
    expect([f.rip, f.rsp, f.state.selector(L.SEG.ss)]).toEqual([0x5000, 0x6000, 0]);
  });
  test("to compatibility mode: ESP and a 32-bit code mode", () => {
    const f = kernel();
    put64(f, 0x5000, SEL.code3, 2, 0x1_00006000, SEL.data3);
    expect(iret(f, opSize64)).toBe(null);
    expect([f.rip, f.rsp, f.state.codeMode]).toEqual([0x5000, 0x6000, MODE.code32]);
  });
  test("IRETD pops 32-bit words", () => {
    const f = kernel();
    f.poke(f.rsp, 0x5000, SEL.long3, 0x202, 0x6000, SEL.data3);
    expect(iret(f)).toBe(null);
    expect([f.rip, f.rsp, f.state.cpl]).toEqual([0x5000, 0x6000, 3]);
  });
  test.each([
    ["null CS", [0x5000, 0, 2, 0, SEL.data3], EXC.gp, 0],
    ["CS beyond the GDT", [0x5000, 0x83, 2, 0, SEL.data3], EXC.gp, 0x80],
    ["CS names a data segment", [0x5000, SEL.data3, 2, 0, SEL.data3], EXC.gp, SEL.data3 & ~3],
    ["RPL and DPL differ", [0x5000, SEL.long0 | 3, 2, 0, SEL.data3], EXC.gp, SEL.long0],
    ["null SS for privilege 3", [0x5000, SEL.long3, 2, 0, 3], EXC.gp, 0],
    ["SS of another privilege", [0x5000, SEL.long3, 2, 0, SEL.data0], EXC.gp, SEL.data0],
    ["SS names code", [0x5000, SEL.long3, 2, 0, SEL.code3], EXC.gp, SEL.code3 & ~3],
    ["RIP not canonical", [2 ** 47, SEL.long3, 2, 0, SEL.data3], EXC.gp, 0],
  ] as const)("%s: error code, and nothing changed but NMI blocking (vol. 3A, 6.7.1)", (_, words, vector, error) => {
    const f = kernel();
    f.state.setLo(L.NMI_BLOCKED, 1);
    put64(f, ...words);
    const before = f.state.u8.slice(0x1000, 0x1000 + L.NMI_BLOCKED);
    expect(iret(f, opSize64)).toEqual([vector, error]);
    expect(f.state.u8.slice(0x1000, 0x1000 + L.NMI_BLOCKED)).toEqual(before);
    expect(f.state.int(L.NMI_BLOCKED)).toBe(0);
  });
  test("code segment not present: #NP; stack segment not present: #SS", () => {
    const f = kernel();
    f.descriptor(AT.gdt + 0x70, 0, 0xfffff, 0xa07b);
    f.descriptor(AT.gdt + 0x78, 0, 0xfffff, 0xc073);
    put64(f, 0x5000, 0x73, 2, 0, SEL.data3);
    expect(iret(f, opSize64)).toEqual([EXC.np, 0x70]);
    put64(f, 0x5000, SEL.long3, 2, 0, 0x7b);
    expect(iret(f, opSize64)).toEqual([EXC.ss, 0x78]);
  });
  test("NT is #GP(0) in IA-32e mode; privilege may not fall", () => {
    const f = kernel();
    put64(f, 0x5000, SEL.long0, 2, 0x6000, 0);
    f.state.setLo(L.FLAG_OTHER, 2 | FLAG.nt);
    expect(iret(f, opSize64)).toEqual([EXC.gp, 0]);
    const u = new SystemFixture().longMode(3);
    u.rsp = 0x7000;
    put64(u, 0x5000, SEL.long0, 2, 0x6000, SEL.data0);
    expect(iret(u, opSize64)).toEqual([EXC.gp, SEL.long0]);
  });
  test("at privilege 3 IOPL never changes, IF only when IOPL is 3; 16-bit returns leave RF, AC, ID", () => {
    const u = new SystemFixture().longMode(3);
    u.rsp = 0x7000;
    put64(u, 0x5000, SEL.long3, 0x3202 | FLAG.ac | FLAG.vif, 0x7000, SEL.data3);
    expect(iret(u, opSize64)).toBe(null);
    expect(u.state.eflags).toBe(2 | FLAG.ac);
    u.state.eflags = 0x3002;
    expect(iret(u, opSize64)).toBe(null);
    expect(u.state.eflags).toBe(0x3202 | FLAG.ac);
  });
  test("the trace hears of it", () => {
    const f = kernel();
    const seen: number[] = [];
    f.trace.listen({ event: (_t, kind, _s, a) => seen.push(kind, a) }, [EVENT.iret]);
    put64(f, 0x5000, SEL.long3, 2, 0x6000, SEL.data3);
    iret(f, opSize64);
    expect(seen).toEqual([EVENT.iret, 3]);
  });
});

describe("IRET in protected mode (SDM vol. 2, IRET)", () => {
  function kernel(): SystemFixture {
    const f = new SystemFixture().protectedMode(0);
    f.rip = 0x9000;
    f.rsp = 0x7000;
    return f;
  }
  test("same privilege pops EIP, CS, EFLAGS only", () => {
    const f = kernel();
    f.poke(0x7000, 0x5000, SEL.code0, 0x46, 0xdead, 0xdead);
    expect(iret(f)).toBe(null);
    expect([f.rip, f.rsp, f.state.eflags, f.state.selector(L.SEG.ss)]).toEqual([0x5000, 0x700c, 0x46, SEL.data0]);
  });
  test("outer privilege pops ESP and SS too", () => {
    const f = kernel();
    f.poke(0x7000, 0x5000, SEL.code3, 0x202, 0x6000, SEL.data3);
    // A conforming segment stays, whatever its privilege.
    f.seg.loadData(L.SEG.fs, SEL.conforming0, EXC.gp, 0);
    expect(iret(f)).toBe(null);
    expect(f.state.selector(L.SEG.fs)).toBe(SEL.conforming0);
    expect([f.rip, f.rsp, f.state.cpl, f.state.selector(L.SEG.ss), f.state.selector(L.SEG.ds)]).toEqual([
      0x5000,
      0x6000,
      3,
      SEL.data3,
      0,
    ]);
  });
  test("16-bit operands", () => {
    const f = kernel();
    f.poke16(0x7000, 0x5000);
    f.poke16(0x7002, SEL.code0);
    f.poke16(0x7004, 0x46);
    f.state.eflags = 2 | FLAG.ac;
    expect(iret(f, opSize16)).toBe(null);
    expect([f.rip, f.rsp, f.state.eflags]).toEqual([0x5000, 0x7006, 0x46 | FLAG.ac]);
  });
  test("EIP beyond the limit is #GP(0); a short stack #SS(0)", () => {
    const f = kernel();
    f.descriptor(AT.gdt + 0x70, 0, 0xfff, 0x409b);
    f.poke(0x7000, 0x1000, 0x70, 2);
    expect(iret(f)).toEqual([EXC.gp, 0]);
    f.state.setLo(L.SEG_LIMIT + L.SEG.ss * 4, 0x700a);
    expect(iret(f)).toEqual([EXC.ss, 0]);
    f.state.setLo(L.SEG_LIMIT + L.SEG.ss * 4, 0x7010);
    f.poke(0x7000, 0x1000, SEL.code3, 2);
    expect(iret(f)).toEqual([EXC.ss, 0]);
  });
  test("to virtual-8086 mode: ES, DS, FS, GS follow SS; CPL 3 (vol. 3A, 20.2.5)", () => {
    const f = kernel();
    f.poke(0x7000, 0x50, 0x1000, FLAG.vm | 0x3202, 0xfff0, 0x2000, 1, 2, 3, 4);
    expect(iret(f)).toBe(null);
    expect([f.rip, f.rsp, f.state.cpl, f.state.eflags]).toEqual([0x50, 0xfff0, 3, FLAG.vm | 0x3202]);
    const { cs, ss, es, ds, fs, gs } = L.SEG;
    expect([cs, ss, es, ds, fs, gs].map(seg => f.state.selector(seg))).toEqual([0x1000, 0x2000, 1, 2, 3, 4]);
    expect([f.state.segBase(cs), f.state.codeMode]).toEqual([0x10000, MODE.code16]);
    f.state.eflags = 2;
    f.protectedMode(3);
    f.rsp = 0x7000;
    f.poke(0x7000, 0x5000, SEL.code3, FLAG.vm | 2);
    expect(iret(f)).toBe(null);
    expect(f.state.vm86).toBe(false);
  });
});

describe("IRET in virtual-8086 and real-address mode", () => {
  function v86(iopl: number, cr4 = 0): SystemFixture {
    const f = new SystemFixture().protectedMode(3);
    f.state.setLo(L.CR4, cr4);
    f.state.eflags = 2 | FLAG.vm | (iopl << 12);
    for (let seg = 0; seg < 6; seg++) f.seg.setVm86(seg, 0);
    f.seg.recompute();
    f.rsp = 0x7000;
    return f;
  }
  function put16(f: SystemFixture, ...words: number[]): void {
    words.forEach((word, i) => {
      f.poke16(0x7000 + i * 2, word);
    });
  }
  test("IOPL 3: IOPL and VM stay (vol. 3A, 20.2.7); IOPL < 3: #GP(0)", () => {
    const f = v86(3);
    put16(f, 0x50, 0x1234, 0x0302);
    expect(iret(f, opSize16)).toBe(null);
    expect([f.rip, f.rsp, f.state.selector(L.SEG.cs), f.state.eflags]).toEqual([
      0x50,
      0x7006,
      0x1234,
      0x3302 | FLAG.vm,
    ]);
    expect(iret(v86(0), opSize16)).toEqual([EXC.gp, 0]);
  });
  test("VME with IOPL < 3: IF of the image goes to VIF; #GP(0) for TF, or for IF while VIP (20.3.2)", () => {
    const f = v86(0, 1);
    put16(f, 0x50, 0x1234, 0x0202);
    expect(iret(f, opSize16)).toBe(null);
    expect(f.state.eflags).toBe(2 | FLAG.vm | FLAG.vif);
    const g = v86(0, 1);
    put16(g, 0x50, 0x1234, 0x0302);
    expect(iret(g, opSize16)).toEqual([EXC.gp, 0]);
    put16(g, 0x50, 0x1234, 0x0202);
    g.state.eflags |= FLAG.vip;
    expect(iret(g, opSize16)).toEqual([EXC.gp, 0]);
    expect(iret(g)).toEqual([EXC.gp, 0]);
  });
  test("real-address mode", () => {
    const f = new SystemFixture();
    f.rsp = 0x7000;
    put16(f, 0x50, 0x1234, 0x3246);
    expect(iret(f, opSize16)).toBe(null);
    expect([f.rip, f.rsp, f.state.segBase(L.SEG.cs), f.state.eflags]).toEqual([0x50, 0x7006, 0x12340, 0x3246]);
  });
});
