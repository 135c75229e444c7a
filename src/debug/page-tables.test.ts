/** Page tables looked at: the same answer as the processor's walker gives, and not a bit of memory or TLB changed. SDM vol. 3A, 4.3 (32-bit), 4.5 (4-level). */
import { describe, expect, test } from "vitest";
import { CpuFixture } from "../cpu/cpu-fixture.ts";
import * as L from "../cpu/layout.ts";
import { ACCESS } from "../cpu/system/page-walk.ts";
import { entryFlags, peek, walk } from "./page-tables.ts";

const TABLES = 0x8000;

function put(f: CpuFixture, address: number, low: number, high = 0): void {
  const view = new DataView(f.engine.buffer, f.ram.base);
  view.setInt32(address, low, true);
  if (high !== 0) view.setInt32(address + 4, high, true);
}

describe("4-level paging", () => {
  test("a 2 MiB page, then a 4 KiB page below its own table", () => {
    const f = new CpuFixture();
    f.longMode();
    expect(walk(f.cpu, 0x212345)).toMatchObject({ physical: 0x212345, pageSize: 2 << 20 });
    // PDE 3 (linear 0x600000) leads to a table at 0x10000, whose entry 5 leads to 0x77000, not executable.
    put(f, TABLES + 0x2000 + 3 * 8, 0x10000 | 7);
    put(f, TABLES + 0x2000 + 3 * 8 + 4, 0);
    put(f, 0x10000 + 5 * 8, 0x77000 | 3, 0x80000000 | 0);
    const found = walk(f.cpu, 0x605abc);
    expect([found.physical, found.pageSize]).toEqual([0x77abc, 4096]);
    expect(found.levels.map(({ name, address }) => `${name} ${address.toString(16)}`)).toEqual([
      "PML4E 8000",
      "PDPTE 9000",
      "PDE a018",
      "PTE 10028",
    ]);
    expect(entryFlags(found.levels[3]!.entry)).toBe("NX W P");
  });

  test("what is not present is nowhere, and so is an address that is not canonical", () => {
    const f = new CpuFixture();
    f.longMode();
    put(f, TABLES + 0x2000 + 8, 0);
    expect(walk(f.cpu, 0x200000).physical).toBeNull();
    expect(walk(f.cpu, -0x1000).physical).toBeNull();
    expect(walk(f.cpu, 2 ** 47).physical).toBeNull();
  });

  test("the processor's walk comes to the same place, and sets the accessed flags that looking left alone", () => {
    const f = new CpuFixture();
    f.longMode();
    const before = f.ram.bytes.slice(TABLES, TABLES + 0x3000);
    for (let n = 0; n < 512; n++) expect(walk(f.cpu, n * 0x200000 + n).physical).toBe(n * 0x200000 + n);
    expect(Buffer.compare(f.ram.bytes.slice(TABLES, TABLES + 0x3000), before)).toBe(0);
    expect(f.cpu.mmu.tlb.find(f.cpu.mmu.tlb.bank, 0)).toBe(-1);
    expect(f.cpu.mmu.translate(0x600123, ACCESS.read, false)).toBe(true);
    expect(f.cpu.mmu.physical).toBe(walk(f.cpu, 0x600123).physical);
    expect(Buffer.compare(f.ram.bytes.slice(TABLES, TABLES + 0x3000), before)).not.toBe(0);
  });
});

describe("elsewhere", () => {
  test("without paging a linear address is physical", () => {
    const f = new CpuFixture();
    f.protectedMode();
    expect(walk(f.cpu, 0xb8000)).toEqual({ levels: [], physical: 0xb8000, pageSize: 4096 });
  });

  test("32-bit paging: 4 KiB pages, and 4 MiB pages with address bits 39:32 in bits 20:13 (table 4-4)", () => {
    const f = new CpuFixture();
    f.protectedMode();
    f.s.set64(L.CR3, 0x20000, 0);
    f.s.setLo(L.CR4, 0x210);
    f.s.setLo(L.CR0, 0x80000011 | 0);
    put(f, 0x20000 + 4, 0x21000 | 3);
    put(f, 0x21000 + 2 * 4, 0x5000 | 3);
    put(f, 0x20000 + 8, 0x00c00000 | (3 << 13) | 0x83);
    expect(walk(f.cpu, 0x402678)).toMatchObject({ physical: 0x5678, pageSize: 4096 });
    expect(walk(f.cpu, 0x8abcde)).toMatchObject({ physical: 3 * 2 ** 32 + 0xcabcde, pageSize: 4 << 20 });
  });

  test("memory is read to the end of its page; devices are not read", () => {
    const f = new CpuFixture();
    f.longMode();
    f.load(0x5ffe, [1, 2, 3]);
    expect(peek(f.cpu, 0x5ffe, 10)).toEqual(Uint8Array.of(1, 2));
    expect(peek(f.cpu, f.ram.bytes.length, 4)).toBeNull();
  });
});
