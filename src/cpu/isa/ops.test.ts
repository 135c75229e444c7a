/** Memory accesses of generated code at the places where one entry of the TLB is not enough. */
import { describe, expect, test } from "vitest";
import { LongFixture } from "../long-fixture.ts";
import * as L from "../layout.ts";

const CODE = 0x10000;
const reg = (n: number): number => L.GPR + n * 8;

/** Maps `linear` (4 KiB) to `physical` with tables made as needed from 0x100000 on. */
function mapper(f: LongFixture): (linear: number, physical: number) => void {
  let free = 0x100000;
  const { memory } = f;
  return (linear, physical) => {
    let table = 0x8000;
    for (const shift of [39, 30, 21]) {
      const at = table + (Math.floor(linear / 2 ** shift) & 511) * 8;
      const entry = memory.getUint32(at, true);
      if ((entry & 0x81) !== 1) {
        memory.setUint32(at, free | 0x67, true);
        free += 0x1000;
      }
      table = memory.getUint32(at, true) & ~0xfff;
    }
    memory.setUint32(table + (Math.floor(linear / 4096) & 511) * 8, physical | 0x67, true);
  };
}

describe("an access over a page border goes to both pages, wherever these lie", () => {
  // Borders at which the numbers of the two pages differ in many bits, so that both may share a slot of the TLB.
  const borders = [
    0x1000,
    0x200000,
    0x400000,
    0x1ff000,
    2 ** 20,
    2 ** 29,
    2 ** 30,
    3 * 2 ** 29,
    2 ** 38 + 2 ** 29,
    -(2 ** 29),
    -(2 ** 31),
  ].map(n => n + (n > 0 ? 2 ** 40 : 0));
  test.each(borders)("at %i", border => {
    for (const warm of ["first", "second", "both", "none"]) {
      const f = new LongFixture();
      const map = mapper(f);
      // Not next to each other in memory, and other pages in front of them.
      map(border - 4096, 0x600000);
      map(border, 0x400000);
      f.memory.setUint32(0x600ffc, 0x44332211, true);
      f.memory.setUint32(0x400000, 0x88776655, true);
      f.memory.setUint32(0x3ffffc, 0xdeadbeef, true);
      f.memory.setUint32(0x601000, 0xdeadbeef, true);
      f.cpu.restored();
      f.s.setNum(reg(L.REG.rsi), border - 4);
      // mov [rsi-8],eax or mov [rsi+8],eax or both: pages in the TLB, also for writing; mov rbx,[rsi]; not rbx; mov [rsi],rbx
      const touch = {
        first: [0x89, 0x46, 0xf8],
        second: [0x89, 0x46, 0x08],
        both: [0x89, 0x46, 0xf8, 0x89, 0x46, 0x08],
        none: [],
      }[warm]!;
      const code = [...touch, 0x48, 0x8b, 0x1e, 0x48, 0xf7, 0xd3, 0x48, 0x89, 0x1e];
      f.load(CODE, code);
      f.rip = CODE;
      const count = touch.length / 3 + 3;
      expect(f.go(count)).toBe(count);
      expect(BigInt.asUintN(64, ~f.reg(L.REG.rbx))).toBe(0x8877665544332211n);
      expect([f.memory.getUint32(0x600ffc, true), f.memory.getUint32(0x400000, true)]).toEqual([
        ~0x44332211 >>> 0,
        ~0x88776655 >>> 0,
      ]);
      expect([f.memory.getUint32(0x3ffffc, true), f.memory.getUint32(0x601000, true)]).toEqual([
        0xdeadbeef, 0xdeadbeef,
      ]);
    }
  });
});
