/**
 * Page walks exist in generated code for the usual cases and in system/page-walk.ts for all. Which one runs must not be seen: faults, registers, accessed
 * and dirty flags, and the TLB's contents are compared for random tables, most of whose entries are good.
 */
import { expect, test } from "vitest";
import { EVENT } from "../../ports/events.ts";
import { Rng } from "../../sim/rng.ts";
import * as L from "../layout.ts";
import { LongFixture } from "../long-fixture.ts";
import { ENTRY } from "../system/tlb.ts";

const CODE = 0x10000;
const HANDLER = 0x14000;
const TABLES = 0x200000;
const TABLES_END = TABLES + 0x10000;
const DATA = 0x300000;
const REG = (n: number): number => L.GPR + n * 8;

class Subject extends LongFixture {
  readonly told: number[][] = [];
  readonly #quick: boolean;
  walks = 0;
  constructor(quick: boolean) {
    super();
    this.#quick = quick;
    this.cpu.ctx.trace.listen({ event: (_t, _k, _s, a, b, c) => void this.told.push([a, b, c]) }, [EVENT.exception]);
    this.load(CODE, new Uint8Array(0x1000).fill(0x90));
    this.load(HANDLER, new Uint8Array(0x1000).fill(0x90));
    for (let vector = 0; vector < 32; vector++) this.gate(vector, HANDLER);
    const { walker } = this.cpu.mmu;
    const walk = walker.walk.bind(walker);
    walker.walk = (...args) => {
      this.walks++;
      return walk(...args);
    };
  }
  /** After restored(). */
  settle(): void {
    if (!this.#quick) this.s.set64(L.WALK_LIMIT, 0, 0);
  }
}

const rare = (rng: Rng): boolean => rng.chance(1, 16);

/** One entry: mostly present and usable. */
function entry(rng: Rng, address: number, leaf: boolean): bigint {
  let e = BigInt(address) | 0x27n;
  if (leaf && rng.chance(1, 2)) e |= 0x40n;
  if (leaf && rng.chance(1, 3)) e |= 0x100n;
  for (const bit of [0n, 1n, 2n, 5n]) if (rng.chance(1, leaf ? 5 : 24)) e ^= 1n << bit;
  if (rare(rng)) e |= 1n << BigInt(rng.pick([7, 39, 40, 45, 51, 52, 62, 63]));
  return e;
}

/** Fills four tables of each level, which lead to each other, and 64 pages of data; a few large pages. */
function tables(rng: Rng, f: LongFixture): void {
  const put = (table: number, index: number, e: bigint): void =>
    f.memory.setBigUint64(TABLES + table * 4096 + index * 8, e, true);
  const table = (n: number): number => TABLES + n * 4096;
  // The fixture's own tables for the lowest 512 GiB; ours from index 1 and 511 on.
  for (const index of [1, 2, 255, 256, 511])
    f.memory.setBigUint64(0x100000 + index * 8, entry(rng, table(1 + rng.below(2)), false), true);
  for (let t = 1; t < 3; t++) {
    for (const index of [0, 1, 511])
      put(t, index, rare(rng) ? entry(rng, 0, true) | 0x80n : entry(rng, table(3 + rng.below(2)), false));
  }
  for (let t = 3; t < 5; t++) {
    for (const index of [0, 1, 511])
      put(
        t,
        index,
        rng.chance(1, 4)
          ? entry(rng, 0x200000 * rng.below(4), true) | 0x80n
          : entry(rng, table(5 + rng.below(2)), false),
      );
  }
  for (let t = 5; t < 7; t++) {
    for (const index of [0, 1, 2, 510, 511]) {
      const to = rare(rng) ? rng.pick([0x1000000, 0xa0000, 0xff000, 0xfff000, TABLES]) : DATA + 4096 * rng.below(64);
      put(t, index, entry(rng, to, true));
    }
  }
}

/** mov [rsi],al · mov al,[rsi] · 2, 4, 8 bytes · add [rsi],eax · push [rsi] · movdqu xmm0,[rsi] */
const CODES = [
  [0x88, 0x06],
  [0x8a, 0x06],
  [0x66, 0x89, 0x06],
  [0x66, 0x8b, 0x06],
  [0x89, 0x06],
  [0x8b, 0x06],
  [0x48, 0x89, 0x06],
  [0x48, 0x8b, 0x06],
  [0x01, 0x06],
  [0xff, 0x36],
  [0xf3, 0x0f, 0x6f, 0x06],
  [0xf3, 0x0f, 0x7f, 0x06],
] as const;

function address(rng: Rng): number {
  const pml4 = rng.pick([1, 2, 255, 256, 511]);
  const parts = [rng.pick([0, 1, 511]), rng.pick([0, 1, 511]), rng.pick([0, 1, 2, 510, 511])] as const;
  const page = (pml4 > 255 ? pml4 - 512 : pml4) * 2 ** 39 + parts[0] * 2 ** 30 + parts[1] * 2 ** 21 + parts[2] * 4096;
  return page + (rng.chance(1, 3) ? 4096 - rng.below(16) : rng.below(4080));
}

function arrange(seed: number, f: Subject): void {
  const rng = new Rng(seed);
  f.cpu.reset("enter", "power");
  f.longMode();
  f.markTables();
  // The root above 1 MiB, with the fixture's tables below.
  f.memory.setUint32(0x100000, f.memory.getUint32(0x8000, true), true);
  tables(rng, f);
  const { s } = f;
  s.setNum(L.GDTR_BASE, 0x5000);
  s.setLo(L.GDTR_LIMIT, 0x4f);
  s.setNum(L.IDTR_BASE, 0x4000);
  s.setLo(L.IDTR_LIMIT, 0xfff);
  s.setNum(L.SEG_BASE + L.SEG.tr * 8, 0x6000);
  s.setLo(L.SEG_LIMIT + L.SEG.tr * 4, 0x67);
  f.memory.setUint32(0x6004, 0x20000, true);
  s.setLo(L.CR3, 0x100000);
  s.setLo(L.CR0, rare(rng) ? 0x80000011 : 0x80010011);
  s.setLo(L.CR4, 0x620 | (rng.chance(1, 3) ? 0x200000 : 0) | (rng.chance(1, 2) ? 0x80 : 0));
  s.setLo(L.EFER, rare(rng) ? 0x501 : 0xd01);
  const user = rng.chance(1, 2);
  s.setLo(L.CPL, user ? 3 : 0);
  s.eflags = 2 | (rng.chance(1, 4) ? 0x40000 : 0);
  s.setNum(REG(L.REG.rsp), 0x1f000);
  f.told.length = 0;
  f.cpu.restored();
  f.settle();
  // Several accesses, so that entries are met in the TLB, too.
  for (let n = 0; n < 6; n++) {
    f.load(CODE, rng.pick(CODES));
    f.engine.written(CODE / 4096, 0, 16);
    s.set64(REG(L.REG.rax), rng.u32(), rng.u32());
    s.setNum(REG(L.REG.rsi), rng.chance(1, 3) && n > 0 ? s.num(REG(L.REG.rsi)) : address(rng));
    f.rip = CODE;
    f.cpu.run(1);
    if (f.rip < CODE || f.rip > CODE + 16) {
      // A handler: back to the code, at the privilege of before.
      s.setLo(L.CPL, user ? 3 : 0);
      s.setNum(REG(L.REG.rsp), 0x1f000);
      f.cpu.mmu.tlb.selectBank();
    }
  }
}

/** The data TLB. Where an entry is no memory, its addend means nothing. */
function contents(f: Subject): Uint8Array {
  const bytes = f.s.u8.slice(f.s.base + L.DTLB_OFFSET, f.s.base + L.ITLB_OFFSET);
  const words = new Int32Array(bytes.buffer);
  for (let i = 0; i < words.length; i += L.DTLB_ENTRY / 4) {
    if ((words[i + L.DTLB.flags / 4]! & (ENTRY.ram | ENTRY.rom)) === 0) words[i + L.DTLB.addend / 4] = 0;
  }
  return bytes;
}

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

test("generated page walks and those in TypeScript agree in faults, memory, and what the TLB holds", () => {
  const [quick, slow] = [new Subject(true), new Subject(false)];
  const clean = quick.ram.bytes.slice(0, 0x400000);
  const data = quick.ram.bytes;
  for (let i = DATA; i < DATA + 64 * 4096; i++) clean[i] = (i * 31 + (i >>> 12)) & 0xff;
  for (let seed = 0; seed < 300; seed++) {
    for (const f of [quick, slow]) {
      f.ram.bytes.set(clean);
      arrange(seed, f);
    }
    if (JSON.stringify(quick.told) !== JSON.stringify(slow.told)) expect([seed, quick.told]).toEqual([seed, slow.told]);
    if (!same(quick.registers, slow.registers)) {
      const at = quick.registers.findIndex((byte, i) => byte !== slow.registers[i]);
      expect.unreachable(`seed ${seed}: byte 0x${at.toString(16)} of the registers differs`);
    }
    if (!same(data.subarray(0, TABLES_END + 0x200000), slow.ram.bytes.subarray(0, TABLES_END + 0x200000))) {
      const at = data.findIndex((byte, i) => byte !== slow.ram.bytes[i]);
      expect.unreachable(`seed ${seed}: memory differs at 0x${at.toString(16)}`);
    }
    const [a, b] = [contents(quick), contents(slow)];
    if (!same(a, b)) {
      const at = a.findIndex((byte, i) => byte !== b[i]);
      expect.unreachable(
        `seed ${seed}: the TLB differs at entry ${Math.floor(at / L.DTLB_ENTRY)}, byte ${at % L.DTLB_ENTRY}`,
      );
    }
  }
  // Generated code really did walk (most of the others are for instruction fetches).
  expect(slow.walks - quick.walks).toBeGreaterThan(300);
});
