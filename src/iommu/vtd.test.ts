/**
 * VT-d Architecture Specification (rev. 4.0): registers (11.4), context and second-level translation in legacy mode (3.4, 9.3, 9.8), fault logging (7.3).
 */
import { describe, expect, test } from "vitest";
import { describePart } from "../ports/part.contract.ts";
import type { TableMemory } from "./table-memory.ts";
import { CONTEXT_TABLE, DEVICE, DOMAIN, Messages, REG, ROOT_TABLE, VtdRig } from "./vtd-rig.testing.ts";
import { Vtd } from "./vtd.ts";

const FAULT = -1;
const READ = 1;
const WRITE = 2;
const RW = 3n;

/** Memory in which every quadword is a function of its address, often something like a table entry. */
class PatternMemory implements TableMemory {
  low = 0;
  high = 0;
  read64(address: number): boolean {
    const mix = Math.imul((address % 2 ** 32) ^ 0x5bd1e995, 0x9e3779b1) >>> 0;
    this.low = ((mix & 0x00ff_f000) | 0x83 | (mix >>> 28 === 0 ? 0x800 : 0)) >>> 0;
    this.high = mix >>> 29 === 0 ? mix : 0;
    return mix % 31 !== 0;
  }
  write64(): boolean {
    return true;
  }
  write32(): boolean {
    return true;
  }
}

describePart("VT-d unit", () => {
  const bus = new Messages();
  let plain = 0;
  const memory = new PatternMemory();
  const msi = { msi: () => void plain++ };
  const unit = new Vtd({ hostBits: 40, levels: 5, scalable: true, interrupts: true, memory, bus, msi });
  return {
    part: unit,
    windows: [unit],
    sent: () => bus.sent.length + plain,
    stimulate: rng => {
      if (rng.chance(1, 8)) unit.write(REG.GCMD, 4, rng.u32());
      if (rng.chance(1, 8)) unit.write(REG.FSTS, 4, 0xff);
      unit.dma.translate(rng.below(64), rng.below(2 ** 21) * 4096, 1 + rng.below(3), 4, 0);
      if (rng.chance(1, 3)) unit.interrupts.msi(0xfee00010 | (rng.below(512) << 5), 0, rng.below(64), 0);
    },
  };
});

describe("registers", () => {
  test("GCMD sets status bits: one-shot commands leave theirs set, switches follow (11.4.4, 11.4.5)", () => {
    const rig = new VtdRig();
    expect(rig.read(REG.GSTS)).toBe(0);
    rig.command(30);
    expect(rig.read(REG.GSTS)).toBe(0x4000_0000);
    rig.command(31, true);
    expect(rig.read(REG.GSTS)).toBe(0xc000_0000);
    rig.off(31);
    expect(rig.read(REG.GSTS)).toBe(0x4000_0000);
    expect(rig.read(REG.GCMD)).toBe(0);
  });

  test("the root table pointer counts from the set-root-table command on (11.4.6)", () => {
    const rig = new VtdRig();
    const top = rig.translated();
    rig.map(top, 0x5000, 0x9000n | RW);
    rig.write64(REG.RTADDR, 0x8000n);
    expect(rig.translate(0x5010, READ)).toBe(0x9010);
    rig.command(30);
    expect(rig.translate(0x5010, READ, 0x0100)).toBe(FAULT);
    expect(rig.faults()).toEqual([0x1]);
  });

  test("table addresses have all bits of the host's, and no more", () => {
    const rig = new VtdRig();
    rig.enable((0xffff_ffffn << 32n) | BigInt(ROOT_TABLE));
    expect(rig.read64(REG.RTADDR)).toBe((0xffn << 32n) | BigInt(ROOT_TABLE));
    expect(rig.translate(0, READ)).toBe(FAULT);
    rig.write64(REG.IRTA, (0xffff_ffffn << 32n) | 7n);
    rig.command(24);
    rig.command(25, true);
    expect(rig.read64(REG.IRTA)).toBe((0xffn << 32n) | 7n);
    rig.unit.interrupts.msi(0xfee00010, 0, DEVICE, 0);
    rig.write64(REG.IQA, 0xffff_ffffn << 32n);
    expect(rig.read64(REG.IQA)).toBe(0xffn << 32n);
    expect(rig.faults()).toEqual([8, 0x23]);
  });

  test("unknown offsets read 0, read-only registers keep their values", () => {
    const rig = new VtdRig();
    for (const at of [0x00, 0x08, 0x0c, 0x10, 0x14, 0x1c, 0x80, 0xb0, 0x400]) {
      const before = rig.read(at);
      rig.write(at, 0xffff_ffff);
      expect(rig.read(at)).toBe(before);
    }
    expect(rig.read(0x0)).toBe(0x30);
    for (const at of [0x48, 0x58, 0xc0, 0xe0, 0x100, 0x600, 0xffc]) expect(rig.read(at)).toBe(0);
  });
});

describe("legacy-mode translation", () => {
  test("4 KiB pages through four levels; the offset stays", () => {
    const rig = new VtdRig();
    const top = rig.translated();
    rig.map(top, 0x7f12_3456_7000, 0xab_c000n | RW);
    expect(rig.translate(0x7f12_3456_7abc, READ)).toBe(0xabcabc);
    expect(rig.translate(0x7f12_3456_7abc, WRITE)).toBe(0xabcabc);
    expect(rig.faults()).toEqual([]);
  });

  test.each([
    [2, 0x3fe0_0000, 0x12_3456],
    [3, 0x40_0000_0000, 0x2345_6789],
  ])("pages of level %i are 2 MiB and 1 GiB (9.8, PS)", (level, iova, offset) => {
    const rig = new VtdRig();
    const top = rig.translated();
    rig.map(top, iova, 0xc0_4000_0000n | 0x80n | RW, level);
    expect(rig.translate(iova + offset, READ)).toBe(0xc0_4000_0000 + offset);
    expect(rig.unit.dma.span).toBe(4);
    rig.translate(iova, READ, DEVICE, 0x10_0000);
    expect(rig.unit.dma.span).toBe(0x10_0000);
  });

  test.each([
    [3, 1, 0x7f_ffff_f000],
    [4, 2, 0xffff_ffff_f000],
    [5, 3, 0xf_ffff_ffff_f000],
  ])("%i levels: the last page of the width, and not one further (AW %i)", (levels, width, last) => {
    const rig = new VtdRig({ levels: 5 });
    const top = rig.table();
    rig.context(BigInt(top) | 1n, (BigInt(DOMAIN) << 8n) | BigInt(width));
    rig.enable();
    rig.map(top, last, 0x5000n | RW, 1, levels);
    expect(rig.translate(last + 5, READ)).toBe(0x5005);
    expect(rig.translate(last + 4096, READ)).toBe(FAULT);
    expect(rig.faults()).toEqual([0x4]);
  });

  test("permissions of all levels count together: reason 5 for writes, 6 for reads (7.1.3, LGN.2 and LGN.3)", () => {
    const rig = new VtdRig();
    const top = rig.translated();
    rig.map(top, 0x1000, 0x5000n | 1n);
    rig.map(top, 0x2000, 0x5000n | 2n);
    rig.map(top, 0x3000, 0x5000n);
    rig.map(top, 0x40_0000, 0x6000n | RW);
    rig.map(top, 0x40_0000, (rig.memory.get(rig.map(top, 0x40_0000, 0n, 2)) & ~3n) | BigInt(rig.table()) | 1n, 2);
    rig.map(top, 0x40_0000, 0x6000n | RW);
    const wanted: [number, number, number][] = [
      [0x1000, WRITE, 5],
      [0x2000, READ, 6],
      [0x3000, READ, 6],
      [0x3000, WRITE, 5],
      [0x40_0000, WRITE, 5],
      [0x2000, READ | WRITE, 6],
      [0x1000, READ | WRITE, 5],
    ];
    for (const [iova, access, reason] of wanted) {
      expect(rig.translate(iova, access)).toBe(FAULT);
      expect(rig.faults()).toEqual([reason]);
    }
    expect(rig.translate(0x40_0000, READ)).toBe(0x6000);
    expect([rig.translate(0x1000, READ), rig.translate(0x2000, WRITE)]).toEqual([0x5000, 0x5000]);
  });

  test("a zero-length read needs any permission (CAP.ZLR)", () => {
    const rig = new VtdRig();
    const top = rig.translated();
    rig.map(top, 0x2000, 0x5000n | 2n);
    expect(rig.translate(0x2000, 0, DEVICE, 0)).toBe(0x5000);
    expect(rig.translate(0x3000, 0, DEVICE, 0)).toBe(FAULT);
    expect(rig.faults()).toEqual([6]);
  });

  test.each([
    ["address above the host's", 1, (1n << 40n) | RW],
    ["TM without device TLBs", 1, (1n << 62n) | RW],
    ["low address bits of a 2 MiB page", 2, 0x80n | 0x1000n | RW],
    ["low address bits of a 1 GiB page", 3, 0x80n | 0x20_0000n | RW],
    ["a page of 512 GiB", 4, 0x80n | RW],
    ["address above the host's in a table pointer", 3, (1n << 51n) | RW],
  ])("reserved: %s (reason Ch)", (_, level, entry) => {
    const rig = new VtdRig();
    const top = rig.translated();
    rig.map(top, 0x1000, entry, level);
    expect(rig.translate(0x1000, READ)).toBe(FAULT);
    expect(rig.faults()).toEqual([0xc]);
  });

  test("ignored bits are ignored: 2, 6:3, 10:8, SNP, 61:52, 63 (9.8)", () => {
    const rig = new VtdRig();
    const top = rig.translated();
    rig.map(top, 0x1000, 0x5000n | 0xf7cn | (0x3ffn << 52n) | (1n << 63n) | RW);
    expect(rig.translate(0x1000, READ)).toBe(0x5000);
  });

  test("a table where no memory answers is reason 7; context table 9, root table 8", () => {
    const rig = new VtdRig();
    const top = rig.translated();
    rig.map(top, 0x1000, 0x8000_0000n | RW, 2);
    rig.translate(0x1000, READ);
    rig.memory.put(ROOT_TABLE + 16, 0x8000_0001n);
    rig.translate(0x1000, READ, 0x0100);
    rig.enable(0x8000_0000n);
    rig.translate(0x1000, READ, 0x0200);
    expect(rig.faults()).toEqual([7, 9, 8]);
  });

  test("root and context entries: not present, reserved bits, invalid types and widths (reasons 1, 2, 3, Ah, Bh)", () => {
    const rig = new VtdRig();
    rig.enable();
    const check = (low: bigint, high: bigint): number[] => {
      rig.context(low, high);
      expect(rig.translate(0, READ)).toBe(FAULT);
      return rig.faults();
    };
    rig.translate(0, READ);
    expect(rig.faults()).toEqual([1]);
    rig.memory.put(ROOT_TABLE, 0x2003n);
    rig.translate(0, READ);
    rig.memory.put(ROOT_TABLE, 0x2001n);
    rig.memory.put(ROOT_TABLE + 8, 1n);
    rig.translate(0, READ);
    expect(rig.faults()).toEqual([0xa, 0xa]);
    rig.memory.put(ROOT_TABLE + 8, 0n);
    expect(check(0n, 2n)).toEqual([2]);
    expect(check(0x10n | 1n, 2n)).toEqual([0xb]);
    expect(check(1n, 2n | 0x80n)).toEqual([0xb]);
    expect(check(1n, 2n | (1n << 24n))).toEqual([0xb]);
    expect(check(1n, 2n | (1n << 63n))).toEqual([0xb]);
    expect(check(1n | (1n << 40n), 2n)).toEqual([0xb]);
    expect(check(0xdn, 2n)).toEqual([3]);
    // Translation type 1 asks for device TLBs, which are not there; widths 0, 3 (57 bits) and 4 are not supported.
    expect(check(0x5n, 2n)).toEqual([3]);
    for (const width of [0n, 3n, 4n, 7n]) expect(check(1n, width)).toEqual([3]);
  });

  test("pass-through: addresses stay, up to the guest address width (9.3, TT 10b)", () => {
    const rig = new VtdRig();
    rig.context(0x9n, 2n);
    rig.enable();
    expect(rig.translate(0x1234_5678, WRITE, DEVICE, 1 << 20)).toBe(0x1234_5678);
    expect(rig.unit.dma.span).toBe(1 << 20);
    expect(rig.translate(2 ** 48, READ)).toBe(FAULT);
    expect(rig.faults()).toEqual([4]);
  });

  test("a request with PASID is refused (reason 31h), and one in abort mode (30h)", () => {
    const rig = new VtdRig();
    rig.translated();
    expect(rig.translate(0, READ | 16 | (5 << 5))).toBe(FAULT);
    rig.enable(BigInt(ROOT_TABLE) | 0xc00n);
    expect(rig.translate(0, READ)).toBe(FAULT);
    expect(rig.faults()).toEqual([0x31, 0x30]);
  });

  test("a run ends where the next page, though cached and next in memory, forbids the access (9.8: R and W of its own entry)", () => {
    const rig = new VtdRig();
    const top = rig.translated();
    rig.map(top, 0x5000, 0x9000n | RW);
    rig.map(top, 0x6000, 0xa000n | RW);
    rig.map(top, 0x7000, 0xb000n | 1n);
    rig.enable();
    for (const page of [0x5000, 0x6000, 0x7000]) expect(rig.translate(page, READ)).toBe(page + 0x4000);
    rig.translate(0x5010, READ, DEVICE, 0x3000);
    expect(rig.unit.dma.span).toBe(0x2ff0);
    rig.translate(0x5010, WRITE, DEVICE, 0x3000);
    expect(rig.unit.dma.span).toBe(0x1ff0);
  });

  test("what lies together in memory is one run; it ends where the pages part", () => {
    const rig = new VtdRig();
    const top = rig.translated();
    for (let page = 0; page < 16; page++) rig.map(top, 0x10_0000 + page * 4096, BigInt(0x40_0000 + page * 4096) | RW);
    rig.map(top, 0x11_0000, 0x80_0000n | RW);
    for (let page = 0; page < 17; page++) rig.translate(0x10_0000 + page * 4096, READ);
    expect(rig.translate(0x10_0010, READ, DEVICE, 1 << 20)).toBe(0x40_0010);
    expect(rig.unit.dma.span).toBe(0x1_0000 - 0x10);
    expect(rig.translate(0x10_0010, READ, DEVICE, 0x2000)).toBe(0x40_0010);
    expect(rig.unit.dma.span).toBe(0x2000);
  });
});

describe("faults (7.3)", () => {
  test("a record: page address, source, type, reason, F (11.4.14)", () => {
    const rig = new VtdRig();
    rig.translated();
    rig.translate(0x12_3456_7abc, READ);
    expect(rig.read(REG.FSTS)).toBe(0x2);
    const record = [0, 4, 8, 12].map(word => rig.read(REG.FRCD + word));
    expect(record).toEqual([0x3456_7000, 0x12, DEVICE, 0xc000_0006]);
    rig.translate(0x5000, WRITE);
    expect(rig.read(REG.FRCD + 16 + 12)).toBe(0x8000_0005);
    rig.write(REG.FRCD + 12, 0x8000_0000);
    expect(rig.read(REG.FSTS)).toBe(0x2);
    rig.write(REG.FRCD + 28, 0x8000_0000);
    expect(rig.read(REG.FSTS)).toBe(0);
  });

  test("eight faults are recorded; the ninth sets overflow, and nothing more is recorded until that is cleared", () => {
    const rig = new VtdRig();
    rig.translated();
    for (let n = 0; n < 8; n++) rig.translate(n << 12, READ);
    expect(rig.read(REG.FSTS)).toBe(0x2);
    rig.translate(8 << 12, READ);
    expect(rig.read(REG.FSTS)).toBe(0x3);
    rig.write(REG.FRCD + 12, 0x8000_0000);
    rig.translate(9 << 12, READ);
    expect(rig.read(REG.FRCD + 12) >>> 31).toBe(0);
    rig.write(REG.FSTS, 1);
    rig.translate(10 << 12, READ);
    expect(rig.read(REG.FRCD)).toBe(10 << 12);
    expect(rig.unit.dma.counts).toMatchObject({ faults: 11, lost: 2 });
  });

  test("status bits go one by one, by writing 1 to them", () => {
    const rig = new VtdRig();
    rig.translated();
    for (let n = 0; n < 9; n++) rig.translate(n << 12, READ);
    rig.queue()(0xfn);
    expect(rig.read(REG.FSTS)).toBe(0x13);
    rig.write(REG.FSTS, 0x10);
    expect(rig.read(REG.FSTS) & 1).toBe(1);
    rig.write(REG.FSTS, 0);
    rig.write(REG.FSTS, 2);
    expect(rig.read(REG.FSTS) & 3).toBe(3);
    rig.write(REG.FSTS, 1);
    expect(rig.read(REG.FSTS) & 3).toBe(2);
  });

  test("the record index is that of the first pending record", () => {
    const rig = new VtdRig();
    rig.translated();
    for (let n = 0; n < 3; n++) rig.translate(n << 12, READ);
    rig.faults();
    rig.translate(0x9000, READ);
    rig.translate(0xa000, READ);
    expect(rig.read(REG.FSTS)).toBe(0x302);
  });

  test("the fault event is sent once for all that is pending; masked, it waits in IP (7.4)", () => {
    const rig = new VtdRig();
    rig.translated();
    expect(rig.read(REG.FECTL)).toBe(0x8000_0000);
    rig.write(REG.FEDATA, 0x4031);
    rig.write(REG.FEADDR, 0xfee0_2000);
    rig.translate(0x1000, READ);
    expect(rig.read(REG.FECTL)).toBe(0xc000_0000);
    expect(rig.bus.sent).toEqual([]);
    rig.write(REG.FECTL, 0);
    expect(rig.read(REG.FECTL)).toBe(0);
    expect(rig.bus.sent).toMatchObject([{ vector: 0x31, destination: 2, deliveryMode: 0, trigger: 0, wide: false }]);
    rig.translate(0x2000, READ);
    expect(rig.bus.sent.length).toBe(1);
    rig.faults();
    rig.translate(0x3000, READ);
    expect(rig.bus.sent.length).toBe(2);
  });

  test("the event's registers keep what there is of them: data 15:0, address 31:2, all of the upper address (11.4.10 to 11.4.12)", () => {
    const rig = new VtdRig();
    for (const at of [REG.FEDATA, REG.FEADDR, REG.FEUADDR, REG.IEDATA, REG.IEADDR]) rig.write(at, 0xffff_ffff);
    expect([REG.FEDATA, REG.FEADDR, REG.FEUADDR].map(at => rig.read(at))).toEqual([0xffff, 0xffff_fffc, 0xffff_ffff]);
    expect([REG.IEDATA, REG.IEADDR].map(at => rig.read(at))).toEqual([0xffff, 0xffff_fffc]);
  });

  test("dealing with everything while masked takes the pending event back", () => {
    const rig = new VtdRig();
    rig.translated();
    rig.translate(0x1000, READ);
    rig.faults();
    expect(rig.read(REG.FECTL)).toBe(0x8000_0000);
    rig.write(REG.FECTL, 0);
    expect(rig.bus.sent).toEqual([]);
  });

  test("in x2APIC mode the event's destination has 32 bits (FEUADDR), and it is not remapped", () => {
    const rig = new VtdRig();
    rig.translated();
    rig.remapping(true);
    rig.write(REG.FEDATA, 0x31);
    rig.write(REG.FEADDR, 0xfee1_2000);
    rig.write(REG.FEUADDR, 0x0345_6700);
    rig.write(REG.FECTL, 0);
    rig.translate(0x1000, READ);
    expect(rig.bus.sent).toMatchObject([{ vector: 0x31, destination: 0x0345_6712, wide: true }]);
  });

  test("fault processing disable silences what is qualified, not what is found before (9.3, FPD)", () => {
    const rig = new VtdRig();
    rig.context(0x3n | BigInt(rig.table()), 2n);
    rig.enable();
    expect(rig.translate(0x1000, READ)).toBe(FAULT);
    rig.context(0x2n, 2n, DEVICE + 1);
    expect(rig.translate(0x1000, READ, DEVICE + 1)).toBe(FAULT);
    expect(rig.faults()).toEqual([]);
    expect(rig.unit.dma.counts).toMatchObject({ faults: 2, silent: 2 });
    rig.memory.put(CONTEXT_TABLE + 16 * 0x20, 0x3n);
    rig.translate(0x1000, READ, 0x0120);
    expect(rig.faults()).toEqual([1]);
  });

  test("records and their status outlive a system reset, not a power-on one", () => {
    const rig = new VtdRig();
    rig.translated();
    rig.translate(0x1000, READ);
    rig.unit.reset("enter", "system");
    expect([rig.read(REG.FSTS), rig.read(REG.GSTS)]).toEqual([2, 0]);
    rig.unit.reset("enter", "power");
    expect(rig.read(REG.FSTS)).toBe(0);
  });
});

describe("protected memory (11.4.17)", () => {
  const PLMBASE = 0x68;
  test("while translation is off, both regions are closed, silently, and a run ends before them", () => {
    const rig = new VtdRig();
    for (const [i, value] of [0x0020_0fff, 0x005f_ffff, 0x4000_0000, 2, 0x401f_ffff, 2].entries())
      rig.write(PLMBASE + 4 * i, value);
    expect([rig.read(PLMBASE), rig.read(PLMBASE + 4)]).toEqual([0x0020_0000, 0x0040_0000]);
    expect(rig.unit.dma.active).toBe(false);
    rig.write(REG.PMEN, 0x8000_0000);
    expect(rig.read(REG.PMEN)).toBe(0x8000_0001);
    expect(rig.unit.dma.active).toBe(true);
    const open = (at: number): boolean => rig.translate(at, READ) === at;
    expect([0x1f_fffc, 0x20_0000, 0x5f_fffc, 0x60_0000].map(open)).toEqual([true, false, false, true]);
    expect([0x2_3fff_fffc, 0x2_4000_0000, 0x2_401f_fffc, 0x2_4020_0000].map(open)).toEqual([true, false, false, true]);
    rig.translate(0x1f_f000, READ, DEVICE, 0x10000);
    expect(rig.unit.dma.span).toBe(0x1000);
    expect(rig.read(REG.FSTS)).toBe(0);
  });

  test("with translation on they are closed for pass-through", () => {
    const rig = new VtdRig();
    rig.context(0x9n, 2n);
    rig.enable();
    rig.write(PLMBASE, 0x20_0000);
    rig.write(PLMBASE + 4, 0x20_0000);
    rig.write(REG.PMEN, 0x8000_0000);
    expect([rig.translate(0x20_0000, READ), rig.translate(0x40_0000, READ)]).toEqual([FAULT, 0x40_0000]);
  });
});
