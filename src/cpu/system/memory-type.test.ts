import { beforeEach, describe, expect, test } from "vitest";
import { MEMORY_TYPE } from "../../ports/cpu-bus.ts";
import * as L from "../layout.ts";
import { CpuState } from "../state.ts";
import { CR0 } from "./control-bits.ts";
import { effectiveType, mtrrType, patIndex } from "./memory-type.ts";
import { writeMtrr } from "./mtrr.ts";

const { uncached: UC, writeCombining: WC, writeThrough: WT, writeProtected: WP, writeBack: WB } = MEMORY_TYPE;
const UCM = MEMORY_TYPE.uncachedMinus;

let s: CpuState;
const write = (index: number, low: number, high = 0): void => expect(writeMtrr(s, index, low >>> 0, high)).toBe(true);
beforeEach(() => {
  s = new CpuState(new ArrayBuffer(L.CPU_SIZE), 0);
  // E and FE, default write-back.
  write(0x2ff, 0xc06);
});

describe("MTRRs (Intel SDM vol. 3A, 12.11)", () => {
  test("disabled: everything is uncached", () => {
    write(0x2ff, 0x006);
    expect(mtrrType(s, 0x12345)).toBe(UC);
  });

  test("fixed ranges: 64 KiB from 0, 16 KiB from 0x80000, 4 KiB from 0xC0000, each byte of an MSR one range", () => {
    write(0x250, 0x06060406, 0x06060606);
    write(0x259, 0x00000001, 0x00000000);
    write(0x268, 0x00000005, 0x04000000);
    expect([0x0f, 0x10, 0x1f, 0x20].map(page => mtrrType(s, page))).toEqual([WB, WT, WT, WB]);
    expect([0xa0, 0xa3, 0xa4].map(page => mtrrType(s, page))).toEqual([WC, WC, UC]);
    expect([0xc0, 0xc1, 0xc7].map(page => mtrrType(s, page))).toEqual([WP, UC, WT]);
  });

  test("with FE clear the first megabyte follows the variable ranges and the default", () => {
    write(0x2ff, 0x806);
    expect(mtrrType(s, 0xa0)).toBe(WB);
  });

  test("a variable range holds where (address & mask) = (base & mask), above 4 GiB too", () => {
    write(0x200, 0xc0000000 | UC);
    write(0x201, 0xc0000800, 0xf);
    write(0x202, WC, 2);
    write(0x203, 0xfff00800, 0xf);
    expect([0xbffff, 0xc0000, 0xfffff, 0x100000].map(page => mtrrType(s, page))).toEqual([WB, UC, UC, WB]);
    expect([0x1fffff, 0x200000, 0x2000ff, 0x200100].map(page => mtrrType(s, page))).toEqual([WB, WC, WC, WB]);
  });

  test("of overlapping ranges uncached wins, and write-through over write-back (12.11.4.1)", () => {
    for (const [n, type] of [
      [0, WB],
      [1, WT],
    ] as const) {
      write(0x200 + 2 * n, 0x1000000 | type);
      write(0x201 + 2 * n, 0xff000800, 0xf);
    }
    expect(mtrrType(s, 0x1000)).toBe(WT);
    write(0x204, 0x1000000 | UC);
    write(0x205, 0xfffff800, 0xf);
    expect([mtrrType(s, 0x1000), mtrrType(s, 0x1001)]).toEqual([UC, WT]);
  });
});

describe("the PAT (12.12)", () => {
  test("PWT is bit 3, PCD bit 4, PAT bit 7 of a 4-KiB page's entry and bit 12 of a larger one's", () => {
    expect([0, 0x08, 0x10, 0x18, 0x80, 0x98].map(entry => patIndex(entry, false))).toEqual([0, 1, 2, 3, 4, 7]);
    expect([0x80, 0x1000, 0x1018].map(entry => patIndex(entry, true))).toEqual([0, 4, 7]);
  });

  /** Table 12-7: MTRR type, PAT type, effective type. */
  const TABLE: readonly [number, number, number][] = [
    [UC, UC, UC],
    [UC, UCM, UC],
    [UC, WC, WC],
    [UC, WT, UC],
    [UC, WB, UC],
    [UC, WP, UC],
    [WC, UC, UC],
    [WC, UCM, WC],
    [WC, WC, WC],
    [WC, WT, UC],
    [WC, WB, WC],
    [WC, WP, UC],
    [WT, UC, UC],
    [WT, UCM, UC],
    [WT, WC, WC],
    [WT, WT, WT],
    [WT, WB, WT],
    [WT, WP, WP],
    [WB, UC, UC],
    [WB, UCM, UC],
    [WB, WC, WC],
    [WB, WT, WT],
    [WB, WB, WB],
    [WB, WP, WP],
    [WP, UC, UC],
    [WP, UCM, WC],
    [WP, WC, WC],
    [WP, WT, WT],
    [WP, WB, WP],
    [WP, WP, WP],
  ];
  test.each(TABLE)("MTRR type %i with PAT type %i is %i (table 12-7)", (mtrr, pat, effective) => {
    write(0x2ff, 0xc00 | mtrr);
    write(0x277, 0x06060606, (pat << 16) | 0x06000606);
    expect(effectiveType(s, 0x10000, 6)).toBe(effective);
  });

  test("with paging off the MTRRs decide alone; with CR0.CD everything is uncached (12.5.1)", () => {
    write(0x277, 0, 0);
    expect(effectiveType(s, 0x10000, -1)).toBe(WB);
    s.set64(L.CR0, CR0.cd, 0);
    expect(effectiveType(s, 0x10000, -1)).toBe(UC);
  });
});
