/** A snapshot holds the TLBs: a guest that forgot an INVLPG goes on with the same stale translation (Intel SDM vol. 3A, 4.10.2.3). */
import { expect, it } from "vitest";
import { CpuFixture } from "./cpu-fixture.ts";
import * as L from "./layout.ts";

const CODE = 0x100000;
const PAGE_TABLE = 0x21000;
const LINEAR = 0x40000000;
/** mov rax, [rsi]; mov rbx, [rsi] */
const PROGRAM = [0x48, 0x8b, 0x06, 0x48, 0x8b, 0x1e];

/** A fixture with LINEAR mapped to 0x300000, whose first load has run; then the entry was changed to 0x301000 without INVLPG. */
function staleFixture(): CpuFixture {
  const f = new CpuFixture();
  f.longMode();
  const v = new DataView(f.engine.buffer, f.ram.base);
  v.setUint32(0x9000 + 8, 0x20000 | 7, true);
  v.setUint32(0x20000, PAGE_TABLE | 7, true);
  v.setUint32(PAGE_TABLE, 0x300000 | 7, true);
  v.setUint32(0x300000, 0x11, true);
  v.setUint32(0x301000, 0x22, true);
  f.s.setNum(L.REG.rsi * 8, LINEAR);
  f.run(CODE, PROGRAM, 1);
  v.setUint32(PAGE_TABLE, 0x301000 | 7, true);
  return f;
}

/** A second processor with the registers and memory of `f`, and its caches if wanted. */
function copyOf(f: CpuFixture, caches: boolean): CpuFixture {
  const copy = new CpuFixture();
  copy.ram.bytes.set(f.ram.bytes);
  copy.s.u8.set(f.s.u8.subarray(f.s.base, f.s.base + L.SAVED_SIZE), copy.s.base);
  copy.cpu.restored();
  if (caches) copy.cpu.loadCaches(f.cpu.saveCaches());
  return copy;
}

it("a loaded processor translates with the saved TLB, as the one that went on does", () => {
  const f = staleFixture();
  const loaded = copyOf(f, true);
  f.cpu.run(1);
  loaded.cpu.run(1);
  expect([f.reg(0), f.reg(3)]).toEqual([0x11n, 0x11n]);
  expect([loaded.reg(0), loaded.reg(3)]).toEqual([0x11n, 0x11n]);
});

it("without the caches it would see the new entry", () => {
  const cold = copyOf(staleFixture(), false);
  cold.cpu.run(1);
  expect(cold.reg(3)).toBe(0x22n);
});

it("dropping the code cache keeps translations", () => {
  const f = staleFixture();
  f.engine.code.drop();
  f.cpu.run(1);
  expect(f.reg(3)).toBe(0x11n);
});
