import { describe, expect, test } from "vitest";
import { EXC } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG, MODE } from "../state.ts";
import { Mmu } from "./mmu.ts";
import { DEVICE, Fixture, faultOf, RAM_BASE } from "./mmu-fixture.ts";

const P = 1;
const W = 2;
const U = 4;
const G = 0x100;
const CR4_SMEP = 1 << 20;
const CR4_SMAP = 1 << 21;
const CR4_PGE = 1 << 7;

function long(cr4 = 0): { f: Fixture; mmu: Mmu } {
  const f = new Fixture();
  f.longPaging(cr4);
  f.state.setLo(L.CODE_MODE, MODE.code64);
  const mmu = new Mmu(f.ctx, f.onCodeWrite);
  return { f, mmu };
}
function setCpl(f: Fixture, mmu: Mmu, cpl: number): void {
  f.state.setLo(L.CPL, cpl);
  mmu.tlb.selectBank();
}
function error(mmu: Mmu, linear: number, access: number, user: boolean): number {
  return mmu.translate(linear, access, user) ? -1 : mmu.faultError;
}
/** What generated code computes: does the fast path hit? (DESIGN: tag equals the page of the last byte.) */
function fast(f: Fixture, linear: number, size: number, write: boolean): boolean {
  const s = f.state;
  const vpn = Math.floor(linear / 4096) | 0;
  const e = s.int(L.DTLB_BASE) + ((vpn + (vpn >>> 9)) & (L.DTLB_ENTRIES - 1)) * L.DTLB_ENTRY + (write ? 8 : 0);
  const page = Math.floor((linear + size - 1) / 4096) * 4096;
  return s.i32[(e + 4) >>> 2]! * 2 ** 32 + s.u32[e >>> 2]! === page;
}
function address(f: Fixture, linear: number): void {
  f.state.setNum(L.SLOW_ADDRESS, linear);
}

describe("page walk, 4-level (SDM vol. 3A, 4.5-4.8)", () => {
  test("a 4 KiB page at both ends of the canonical range", () => {
    const { f, mmu } = long();
    for (const linear of [0x7ffffffff000, -0x800000000000, -4096, 0x401000]) {
      f.map(linear, 0x55000, P | W | U);
      expect(mmu.translate(linear + 0x123, 0, true)).toBe(true);
      expect(mmu.physical).toBe(0x55123);
    }
  });
  test("2 MiB and 1 GiB pages add the rest of the address", () => {
    const { f, mmu } = long();
    f.poke(0x1000, 0x2007, 0);
    f.poke(0x2000, 0x3007, 0, 0xc0000087, 1);
    f.poke(0x3008, 0x00600087, 0);
    expect(mmu.translate(0x2abcde, 0, true)).toBe(true);
    expect(mmu.physical).toBe(0x6abcde);
    expect(mmu.translate(0x40000000 + 0x12345678, 0, true)).toBe(true);
    expect(mmu.physical).toBe(0x1_c0000000 + 0x12345678);
  });
  test("error code bits P, W/R, U/S (4.7)", () => {
    const { f, mmu } = long();
    f.map(0x5000, 0x55000, P);
    expect(error(mmu, 0x6000, 0, false)).toBe(0);
    expect(error(mmu, 0x6000, 1, true)).toBe(6);
    expect(error(mmu, 0x5000, 0, true)).toBe(5);
    expect(error(mmu, 0x5000, 1, true)).toBe(7);
    expect(error(mmu, 0x5000, 1, false)).toBe(3);
    f.state.setLo(L.CR0, 0x80000011);
    expect(error(mmu, 0x5000, 1, false)).toBe(-1);
  });
  test("execute disable and the I/D bit; NX is reserved while EFER.NXE is 0", () => {
    const { f, mmu } = long();
    f.map(0x5000, 0x55000, P | W | U, true);
    expect(error(mmu, 0x5000, 2, true)).toBe(0x15);
    expect(error(mmu, 0x6000, 2, true)).toBe(0x14);
    f.state.setLo(L.EFER, 0x501);
    expect(error(mmu, 0x5000, 0, true)).toBe(0xd);
    expect(error(mmu, 0x5000, 2, true)).toBe(0xd);
  });
  test("reserved physical bits and misaligned large pages set RSVD", () => {
    const { f, mmu } = long();
    f.map(0x5000, 2 ** 40, P | W | U);
    expect(error(mmu, 0x5000, 0, false)).toBe(9);
    f.poke(0x3008, 0x00602087, 0);
    expect(error(mmu, 0x200000, 1, true)).toBe(0xf);
  });
  test("SMEP refuses supervisor fetches of user pages, SMAP data unless AC (4.6.1)", () => {
    const { f, mmu } = long(CR4_SMEP | CR4_SMAP);
    f.map(0x5000, 0x55000, P | W | U);
    mmu.tlb.selectBank();
    expect(error(mmu, 0x5000, 2, false)).toBe(0x11);
    expect(error(mmu, 0x5000, 0, false)).toBe(1);
    expect(faultOf(() => mmu.read32(0x5000))).toEqual([EXC.pf, 1]);
    f.state.setLo(L.FLAG_OTHER, 2 | FLAG.ac);
    mmu.tlb.selectBank();
    expect(error(mmu, 0x5000, 0, false)).toBe(-1);
    // An implicit supervisor access ignores AC.
    expect(faultOf(() => mmu.read32(0x5000))).toEqual([EXC.pf, 1]);
  });
  test("accessed everywhere on a read, dirty in the last entry on a write, nothing on a fault (4.8)", () => {
    const { f, mmu } = long();
    f.map(0x5000, 0x55000, P | U);
    const leaf = 0x4000 + 5 * 8;
    expect(mmu.translate(0x5000, 1, true)).toBe(false);
    expect(f.peek(leaf)).toBe(0x55005);
    expect(f.peek(0x1000)).toBe(0x2007);
    mmu.translate(0x5000, 0, true);
    expect([0x1000, 0x2000, 0x3000, leaf].map(a => f.peek(a) & 0x60)).toEqual([0x20, 0x20, 0x20, 0x20]);
    f.map(0x5000, 0x55000, P | U | W);
    mmu.translate(0x5000, 1, true);
    expect(f.peek(leaf) & 0x60).toBe(0x60);
    expect(f.peek(0x3000) & 0x60).toBe(0x20);
  });
});

describe("page walk, 32-bit and PAE (SDM vol. 3A, 4.3, 4.4)", () => {
  function legacy(cr4: number): { f: Fixture; mmu: Mmu } {
    const f = new Fixture();
    f.state.setLo(L.CR0, 0x80010011);
    f.state.setLo(L.CR3, 0x1000);
    f.state.setLo(L.CR4, cr4);
    return { f, mmu: new Mmu(f.ctx, f.onCodeWrite) };
  }
  test("32-bit: directory index 31:22, table index 21:12", () => {
    const { f, mmu } = legacy(0);
    f.poke(0x1000 + 0x300 * 4, 0x2007);
    f.poke(0x2000 + 0x123 * 4, 0x77007);
    expect(mmu.translate(0xc0123456, 0, true)).toBe(true);
    expect(mmu.physical).toBe(0x77456);
  });
  test("PSE: 4 MiB pages; PSE-36: bits 20:13 are address bits 39:32; bit 21 is reserved", () => {
    const { f, mmu } = legacy(0x10);
    f.poke(0x1000, 0x00c00087 | (0x12 << 13), 0x00e00087);
    expect(mmu.translate(0x234567, 0, true)).toBe(true);
    expect(mmu.physical).toBe(0x12_00e34567);
    expect(error(mmu, 0x400000, 0, true)).toBe(0xd);
  });
  test("PAE uses the PDPTEs that were loaded, not those in memory (4.4.1)", () => {
    const { f, mmu } = legacy(0x20);
    f.state.setLo(L.CR3, 0x1020);
    f.poke(0x1020 + 8, 0x2001, 0);
    f.poke(0x2000, 0x3007, 0);
    f.poke(0x3000 + 8, 0x66007, 0);
    expect(error(mmu, 0x40001000, 0, false)).toBe(0);
    mmu.loadPdptes();
    f.poke(0x1020 + 8, 0, 0);
    expect(mmu.translate(0x40001234, 0, true)).toBe(true);
    expect(mmu.physical).toBe(0x66234);
  });
  test("a present PDPTE with a reserved bit raises #GP(0) and keeps the old ones", () => {
    const { f, mmu } = legacy(0x20);
    f.poke(0x1000, 0x2001, 0, 0, 0, 0, 0, 0, 0);
    mmu.loadPdptes();
    f.poke(0x1000, 0, 0, 0x3007, 0);
    expect(faultOf(() => mmu.loadPdptes())).toEqual([EXC.gp, 0]);
    expect(f.state.lo(L.PDPTE)).toBe(0x2001);
  });
});

describe("data TLB as generated code sees it", () => {
  test("a first read opens the read path, a first write the write path with the dirty bit", () => {
    const { f, mmu } = long();
    f.map(0x5000, 0x55000, P | W | U);
    f.poke(0x55010, 0xcafe0001);
    address(f, 0x5010);
    expect(fast(f, 0x5010, 4, false)).toBe(false);
    expect(mmu.slowLoad(L.SEG.ds, 4)).toBe(0);
    expect(f.state.lo(L.SLOW_DATA)).toBe(0xcafe0001);
    expect(fast(f, 0x5010, 4, false)).toBe(true);
    expect(fast(f, 0x5010, 4, true)).toBe(false);
    f.state.set64(L.SLOW_DATA, 0x11223344, 0);
    expect(mmu.slowStore(L.SEG.ds, 2)).toBe(0);
    expect(f.peek(0x55010)).toBe(0xcafe3344);
    expect(f.peek(0x4000 + 5 * 8) & 0x40).toBe(0x40);
    expect(fast(f, 0x5010, 4, true)).toBe(true);
    expect(fast(f, 0x5ffd, 4, true)).toBe(false);
  });
  test("negative addresses get sign-extended tags and a working addend", () => {
    const { f, mmu } = long();
    const linear = -0x7fff_fff0_0000 + 0x3000;
    f.map(linear, 0x66000, P | W | U);
    f.poke(0x66020, 77);
    address(f, linear + 0x20);
    expect(mmu.slowLoad(L.SEG.ds, 4)).toBe(0);
    expect(fast(f, linear + 0x20, 4, false)).toBe(true);
    const host = mmu.tlb.direct(mmu.tlb.bank, linear + 0x20, 4, false);
    expect(host).toBe(RAM_BASE + 0x66020);
  });
  test("addresses that differ in bits 47:44 only do not share an entry", () => {
    const { f, mmu } = long();
    f.map(0x5000, 0x55000, P | W | U);
    address(f, 0x5000);
    expect(mmu.slowLoad(L.SEG.ds, 4)).toBe(0);
    address(f, 0x5000 + 2 ** 44);
    expect(mmu.slowLoad(L.SEG.ds, 4)).toBe(1);
    expect(fast(f, 0x5000 + 2 ** 44, 4, false)).toBe(false);
  });
  test("INVLPG drops a page; CR3 drops all but global pages; flushAll drops these too (4.10.4.1)", () => {
    const { f, mmu } = long(CR4_PGE);
    f.map(0x5000, 0x55000, P | W | U | G);
    f.map(0x6000, 0x56000, P | W | U);
    const touch = (): void => {
      for (const a of [0x5000, 0x6000]) {
        address(f, a);
        mmu.slowLoad(L.SEG.ds, 4);
      }
    };
    touch();
    mmu.tlb.flushNonGlobal();
    expect([fast(f, 0x5000, 1, false), fast(f, 0x6000, 1, false)]).toEqual([true, false]);
    touch();
    mmu.tlb.flushPage(0x5432);
    expect([fast(f, 0x5000, 1, false), fast(f, 0x6000, 1, false)]).toEqual([false, true]);
    touch();
    mmu.tlb.flushAll();
    expect([fast(f, 0x5000, 1, false), fast(f, 0x6000, 1, false)]).toEqual([false, false]);
  });
  test("more pages than the log holds are flushed all the same", () => {
    const { f, mmu } = long();
    for (let i = 0; i < 300; i++) {
      f.map(i * 4096, 0x100000, P | W | U);
      address(f, i * 4096);
      expect(mmu.slowLoad(L.SEG.ds, 1)).toBe(0);
    }
    mmu.tlb.flushNonGlobal();
    for (let i = 0; i < 300; i++) expect(fast(f, i * 4096, 1, false)).toBe(false);
  });
  test("INVLPG of any address in a large page drops all its pieces", () => {
    const { f, mmu } = long();
    f.poke(0x1000, 0x2007, 0);
    f.poke(0x2000, 0x3007, 0);
    f.poke(0x3000 + 8, 0x00200087, 0);
    for (const a of [0x200000, 0x203000]) {
      address(f, a);
      mmu.slowLoad(L.SEG.ds, 1);
    }
    mmu.tlb.flushPage(0x2ff000);
    expect([fast(f, 0x200000, 1, false), fast(f, 0x203000, 1, false)]).toEqual([false, false]);
  });
  test("a changed map of physical memory drops everything", () => {
    const { f, mmu } = long();
    f.map(0x5000, 0x55000, P | W | U);
    mmu.read32(0x5000);
    f.bus.generation++;
    expect(mmu.tlb.checkGeneration()).toBe(true);
    expect(fast(f, 0x5000, 1, false)).toBe(false);
  });
  test("a page with decoded code is written on the slow path, which tells the hook; afterwards it may become fast again", () => {
    const { f, mmu } = long();
    f.map(0x5000, 0x55000, P | W | U);
    mmu.write32(0x5000, 1);
    expect(fast(f, 0x5000, 4, true)).toBe(true);
    f.ram.codePages[0x55] = 1;
    mmu.tlb.purgeWritable(0x55);
    expect([fast(f, 0x5000, 4, false), fast(f, 0x5000, 4, true)]).toEqual([true, false]);
    mmu.write32(0x5010, 0xabcd);
    expect(f.codeWrites).toEqual([[0x55, 0x10, 4]]);
    expect(f.peek(0x55010)).toBe(0xabcd);
    f.ram.codePages[0x55] = 0;
    mmu.write32(0x5010, 2);
    expect(fast(f, 0x5010, 4, true)).toBe(true);
  });
  test("user, supervisor and SMAP accesses do not share entries", () => {
    const { f, mmu } = long(CR4_SMAP);
    f.map(0x5000, 0x55000, P | W | U);
    setCpl(f, mmu, 3);
    address(f, 0x5000);
    expect(mmu.slowLoad(L.SEG.ds, 4)).toBe(0);
    expect(fast(f, 0x5000, 4, false)).toBe(true);
    setCpl(f, mmu, 0);
    expect(fast(f, 0x5000, 4, false)).toBe(false);
    expect(mmu.slowLoad(L.SEG.ds, 4)).toBe(1);
    expect([mmu.faultVector, mmu.faultError, mmu.faultAddress]).toEqual([EXC.pf, 1, 0x5000]);
  });
});

describe("slow path", () => {
  test("an access that crosses pages checks both before it writes", () => {
    const { f, mmu } = long();
    f.map(0x5000, 0x55000, P | W | U);
    f.map(0x6000, 0x70000, P | U);
    f.poke(0x55ffc, 0x44332211);
    f.poke(0x70000, 0x88776655);
    address(f, 0x5ffd);
    expect(mmu.slowLoad(L.SEG.ds, 8)).toBe(0);
    expect([f.state.lo(L.SLOW_DATA), f.state.hi(L.SLOW_DATA) & 0xff]).toEqual([0x55443322, 0x66]);
    f.state.set64(L.SLOW_DATA, -1, -1);
    expect(mmu.slowStore(L.SEG.ds, 8)).toBe(1);
    expect([mmu.faultError, mmu.faultAddress]).toEqual([3, 0x6000]);
    expect(f.peek(0x55ffc)).toBe(0x44332211);
    expect(mmu.probeWrite(L.SEG.ds, 3)).toBe(0);
    expect(mmu.probeWrite(L.SEG.ds, 4)).toBe(1);
  });
  test("non-canonical addresses raise #GP(0), #SS(0) in the stack segment (SDM vol. 1, 3.3.7.1)", () => {
    const { f, mmu } = long();
    f.state.set64(L.SLOW_ADDRESS, 0, 0x8000);
    expect(mmu.slowLoad(L.SEG.ds, 4)).toBe(1);
    expect([mmu.faultVector, mmu.faultError]).toEqual([EXC.gp, 0]);
    expect(mmu.slowStore(L.SEG.ss, 4)).toBe(1);
    expect(mmu.faultVector).toBe(EXC.ss);
    f.state.set64(L.SLOW_ADDRESS, 0xfffffffe, 0x7fff);
    expect(mmu.slowLoad(L.SEG.ds, 4)).toBe(1);
    expect(mmu.faultVector).toBe(EXC.gp);
  });
  test("device accesses reach the bus in pieces of at most 4 bytes; the own APIC answers first", () => {
    const { f, mmu } = long();
    f.map(0x5000, DEVICE, P | W | U);
    f.map(0x6000, 0xfee00000, P | W | U);
    address(f, 0x5010);
    expect(mmu.slowLoad(L.SEG.ds, 8)).toBe(0);
    f.state.set64(L.SLOW_DATA, 0x55aa, 0);
    expect(mmu.slowStore(L.SEG.ds, 2)).toBe(0);
    expect(f.bus.log).toEqual([
      ["r", DEVICE + 0x10, 4],
      ["r", DEVICE + 0x14, 4],
      ["w", DEVICE + 0x10, 2, 0x55aa],
    ]);
    f.bus.log.length = 0;
    f.apic.regs[0x20] = 0x77;
    address(f, 0x6080);
    expect(mmu.slowLoad(L.SEG.ds, 4)).toBe(0);
    expect(f.state.lo(L.SLOW_DATA)).toBe(0x77);
    f.state.set64(L.SLOW_DATA, 0x99, 0);
    mmu.slowStore(L.SEG.ds, 4);
    expect(f.apic.regs[0x20]).toBe(0x99);
    expect(f.bus.log).toEqual([]);
    const before = f.bus.lookups;
    mmu.slowLoad(L.SEG.ds, 4);
    expect(f.bus.lookups).toBe(before);
  });
  test("a read-modify-write needs write permission and commits to the same place", () => {
    const { f, mmu } = long();
    f.map(0x5000, 0x55000, P | U);
    address(f, 0x5004);
    expect(mmu.slowRmw(L.SEG.ds, 4)).toBe(1);
    expect(mmu.faultError).toBe(3);
    f.map(0x5000, 0x55000, P | U | W);
    f.poke(0x55004, 41);
    expect(mmu.slowRmw(L.SEG.ds, 4)).toBe(0);
    f.state.setLo(L.SLOW_DATA, f.state.lo(L.SLOW_DATA) + 1);
    mmu.commitRmw();
    expect(f.peek(0x55004)).toBe(42);
  });
  test("alignment is checked only with CR0.AM, EFLAGS.AC and CPL 3 (6.15, #AC)", () => {
    const { f, mmu } = long();
    f.map(0x5000, 0x55000, P | W | U);
    f.state.setLo(L.FLAG_OTHER, 2 | FLAG.ac);
    f.state.setLo(L.CR0, 0x80050011);
    setCpl(f, mmu, 3);
    address(f, 0x5002);
    expect(mmu.slowLoad(L.SEG.ds, 2)).toBe(0);
    expect(fast(f, 0x5002, 2, false)).toBe(false);
    expect(mmu.slowLoad(L.SEG.ds, 4)).toBe(1);
    expect([mmu.faultVector, mmu.faultError]).toEqual([EXC.ac, 0]);
    setCpl(f, mmu, 0);
    expect(mmu.slowLoad(L.SEG.ds, 4)).toBe(0);
  });
  test("data breakpoints are gathered in DEBUG_TRAP (vol. 3B, 18.2.4-18.2.5)", () => {
    const { f, mmu } = long();
    f.map(0x5000, 0x55000, P | W | U);
    mmu.write32(0x5000, 1);
    f.state.setNum(L.DR, 0x5010);
    f.state.setNum(L.DR + 8, 0x5020);
    // DR0: write, 4 bytes, local; DR1: read or write, 2 bytes, global.
    f.state.setLo(L.DR7, 1 | (0xd << 16) | 8 | (0x7 << 20));
    mmu.debugChanged();
    const hit = (linear: number, size: number, write: boolean): number => {
      f.state.setLo(L.DEBUG_TRAP, 0);
      address(f, linear);
      expect(fast(f, linear, size, write)).toBe(false);
      expect(write ? mmu.slowStore(L.SEG.ds, size) : mmu.slowLoad(L.SEG.ds, size)).toBe(0);
      return f.state.int(L.DEBUG_TRAP);
    };
    expect(hit(0x5010, 4, false)).toBe(0);
    expect(hit(0x5013, 1, true)).toBe(1);
    expect(hit(0x500c, 4, true)).toBe(0);
    expect(hit(0x501f, 2, false)).toBe(2);
    expect(hit(0x5008, 32, true)).toBe(3);
    expect(f.state.int(L.PENDING_OFFSET) & L.PENDING.debugTrap).toBe(L.PENDING.debugTrap);
  });
});

describe("segment checks in legacy modes (SDM vol. 3A, 5.3, 5.4)", () => {
  function flat(): {
    f: Fixture;
    mmu: Mmu;
    fault: (seg: number, at: number, size: number, write: boolean) => number[];
  } {
    const f = new Fixture();
    f.state.setLo(L.CR0, 0x11);
    f.state.setLo(L.CODE_MODE, MODE.code32);
    const mmu = new Mmu(f.ctx, f.onCodeWrite);
    const fault = (seg: number, at: number, size: number, write: boolean): number[] => {
      address(f, at);
      const result = write ? mmu.slowStore(seg, size) : mmu.slowLoad(seg, size);
      return result === 0 ? [] : [mmu.faultVector, mmu.faultError];
    };
    return { f, mmu, fault };
  }
  function segment(f: Fixture, seg: number, base: number, limit: number, attr: number): void {
    f.state.setNum(L.SEG_BASE + seg * 8, base);
    f.state.setLo(L.SEG_LIMIT + seg * 4, limit);
    f.state.setLo(L.SEG_ATTR + seg * 4, attr);
  }
  test("limits of expand-up segments; base is added", () => {
    const { f, fault } = flat();
    segment(f, L.SEG.ds, 0x10000, 0xfff, 0x4093);
    segment(f, L.SEG.ss, 0x10000, 0xfff, 0x4093);
    f.poke(0x10ffc, 0xfeed);
    expect(fault(L.SEG.ds, 0xffc, 4, false)).toEqual([]);
    expect(f.state.lo(L.SLOW_DATA)).toBe(0xfeed);
    expect(fault(L.SEG.ds, 0xffd, 4, false)).toEqual([EXC.gp, 0]);
    expect(fault(L.SEG.ss, 0xffd, 4, true)).toEqual([EXC.ss, 0]);
  });
  test("expand-down: valid offsets lie above the limit, up to 0xFFFF or 0xFFFFFFFF by the B flag", () => {
    const { f, fault } = flat();
    segment(f, L.SEG.ds, 0, 0xfff, 0x0097);
    expect(fault(L.SEG.ds, 0xfff, 1, true)).toEqual([EXC.gp, 0]);
    expect(fault(L.SEG.ds, 0x1000, 4, true)).toEqual([]);
    expect(fault(L.SEG.ds, 0xfffd, 4, true)).toEqual([EXC.gp, 0]);
    segment(f, L.SEG.ds, 0, 0xfff, 0x4097);
    expect(fault(L.SEG.ds, 0xfffd, 4, true)).toEqual([]);
  });
  test("read-only data, execute-only code, null selectors", () => {
    const { f, fault } = flat();
    segment(f, L.SEG.ds, 0, 0xfffff, 0x4091);
    expect(fault(L.SEG.ds, 0, 4, false)).toEqual([]);
    expect(fault(L.SEG.ds, 0, 4, true)).toEqual([EXC.gp, 0]);
    segment(f, L.SEG.cs, 0, 0xfffff, 0x4099);
    expect(fault(L.SEG.cs, 0, 4, false)).toEqual([EXC.gp, 0]);
    segment(f, L.SEG.cs, 0, 0xfffff, 0x409b);
    expect(fault(L.SEG.cs, 0, 4, false)).toEqual([]);
    expect(fault(L.SEG.cs, 0, 4, true)).toEqual([EXC.gp, 0]);
    segment(f, L.SEG.es, 0, 0xfffff, 0x4093 | L.ATTR_UNUSABLE);
    expect(fault(L.SEG.es, 0, 4, false)).toEqual([EXC.gp, 0]);
  });
});
