/** Decoded code: when it is made, found again, linked, and forgotten. A processor must never run what is not in memory any more. */
import { describe, expect, test } from "vitest";
import { PAGE } from "../base/units.ts";
import { ACTIVITY } from "../ports/processor.ts";
import * as L from "./layout.ts";
import { LongFixture, PLACE } from "./long-fixture.ts";
import { MODE } from "./state.ts";

const hex = (text: string): Uint8Array => Uint8Array.from(text.match(/[0-9a-f]{2}/g)!, b => Number.parseInt(b, 16));
/** mov ebx,n; hlt */
const answer = (n: number): Uint8Array => hex(`bb0${n}000000 f4`);

/** Runs from `rip` until HLT and returns RBX. */
function call(f: LongFixture, rip: number, budget = 100): number {
  f.s.setLo(L.ACTIVITY_OFFSET, ACTIVITY.running);
  f.rip = rip;
  f.go(budget);
  expect(f.cpu.activity).toBe(ACTIVITY.halted);
  return f.s.lo(L.GPR + L.REG.rbx * 8);
}

describe("tables", () => {
  const P = 0x10000;
  const host = (f: LongFixture, address: number): number => f.ram.base + address;

  test("one table per page and mode; it stays the same; an offset that was not decoded has no record", () => {
    const f = new LongFixture();
    const { code } = f.engine;
    const tables = [MODE.code16, MODE.code32, MODE.code64].map(mode => code.table(host(f, P), mode));
    expect(new Set(tables).size).toBe(3);
    expect(code.table(host(f, P + 5), MODE.code64)).toBe(tables[2]);
    expect(code.table(host(f, P + PAGE), MODE.code64)).not.toBe(tables[2]);
    for (const offset of [0, 1, 63, 64, 4095]) expect(code.find(tables[2]!, offset)).toBe(0);
  });

  test("straight-line code is decoded to its end: every instruction is found at its offset, and nothing between", () => {
    const f = new LongFixture();
    const { code } = f.engine;
    // nop; mov ebx,1; add eax,ebx; jmp back: the last one ends the block, the nop behind it is not part.
    f.load(P + 60, hex("90 bb01000000 01d8 ebf6 90"));
    const first = code.decode(host(f, P), MODE.code64, 60);
    const table = code.table(host(f, P), MODE.code64);
    const known = Array.from({ length: PAGE }, (_, n) => n).filter(n => code.find(table, n) !== 0);
    expect(known).toEqual([60, 61, 66, 68]);
    expect([60, 61, 66, 68].map(n => code.find(table, n) - first)).toEqual([0, 1, 2, 3].map(n => n * L.RECORD_SIZE));
    expect(known.map(n => f.s.u8[code.find(table, n) + L.REC.length])).toEqual([1, 5, 2, 2]);
    // The jump's target was known: linked at once.
    expect(f.s.lo(code.find(table, 68) + L.REC.target - f.s.base)).toBe(first);
  });

  test("a block that runs into known code is joined to it and does not copy it", () => {
    const f = new LongFixture();
    const { code } = f.engine;
    f.load(P, hex("90 90 90 f4"));
    const table = code.table(host(f, P), MODE.code64);
    code.decode(host(f, P), MODE.code64, 2);
    const third = code.find(table, 2);
    code.decode(host(f, P), MODE.code64, 0);
    expect(code.find(table, 2)).toBe(third);
    expect(f.s.lo(code.find(table, 1) + L.RECORD_SIZE + L.REC.target - f.s.base)).toBe(third);
  });

  test("an instruction over the end of the page is no part of it", () => {
    const f = new LongFixture();
    const { code } = f.engine;
    f.load(P + PAGE - 2, hex("90 bb01000000"));
    expect(code.decode(host(f, P), MODE.code64, PAGE - 1)).toBe(0);
    expect(code.decode(host(f, P), MODE.code64, PAGE - 2)).not.toBe(0);
    expect(code.find(code.table(host(f, P), MODE.code64), PAGE - 1)).toBe(0);
  });
});

describe("a write to code", () => {
  const P = 0x10000;
  const decoded = (f: LongFixture, offset: number): boolean => {
    const { code } = f.engine;
    return code.find(code.table(f.ram.base + P, MODE.code64), offset) !== 0;
  };

  test("beside its instructions changes nothing; into any byte of them, also in the next line, forgets the page", () => {
    for (const [offset, length, hit] of [
      [0x300, 64, false],
      [0x13f, 1, false],
      [0x1c0, 4, false],
      [0x13c, 4, false],
      [0x13c, 8, false],
      [0x17c, 1, false],
      [0x17c, 2, true],
      [0x17d, 1, true],
      [0x180, 1, true],
      [0x183, 1, true],
      [0x184, 1, false],
      [0x1bf, 100, false],
      [0x140, 0x3d, false],
      [0x140, 0x3e, true],
      [0, PAGE, true],
    ] as const) {
      const f = new LongFixture();
      // mov eax,imm32 at 0x17e reaches into the line at 0x180.
      f.load(P + 0x17d, hex("90 b801000000 f4"));
      f.engine.code.decode(f.ram.base + P, MODE.code64, 0x17d);
      expect(f.ram.codePages[P / PAGE]).toBe(1);
      expect(f.engine.code.written(P / PAGE, offset, length)).toBe(hit);
      expect([decoded(f, 0x17d), f.ram.codePages[P / PAGE]]).toEqual([!hit, hit ? 0 : 1]);
    }
  });

  test.each([
    ["NOP", "90"],
    ["MOV with a 32-bit address, in 64-bit code", "67c700 78563412"],
    ["LEA with a 32-bit address", "67488d4410 20"],
    ["MOV from an address beyond 2 GiB of RIP", "8b05 ffffff7f"],
    ["POP to a 32-bit address", "678f4008"],
    ["MOV with SIB, displacement and immediate", "48c78424 78563412 04030201"],
    ["MOV with an immediate of 64 bits", "48b8 0807060504030201"],
    ["15 bytes", "6666666666666666 48c7c0 04030201"],
    ["more than 15 bytes", "666666666666666666666666666666", "90"],
    ["REP MOVSB", "f3a4"],
    ["a jump", "eb10"],
    ["UD2", "0f0b"],
    ["an opcode that is not defined, with what follows", "0f0a", "00"],
    ["LOCK where it must not be", "f089c0"],
    ["VEX, with what follows", "c5", "f8"],
  ])("%s: each of its bytes counts, and none beside it", (_name, text, more = "") => {
    const bytes = hex(text);
    const at = 0x13b;
    const f = new LongFixture();
    // HLT ends what does not end by itself.
    f.load(P + at, [...bytes, ...(more === "" ? [0xf4] : hex(more))]);
    for (let offset = at - 16; offset < at + 32; offset++) {
      for (const length of [1, 2, 8]) {
        f.engine.code.drop();
        f.engine.code.decode(f.ram.base + P, MODE.code64, at);
        const end = at + bytes.length + (decoded(f, at + bytes.length) ? 1 : 0);
        const hit = offset < end && offset + length > at;
        expect([offset, length, f.engine.code.written(P / PAGE, offset, length)]).toEqual([offset, length, hit]);
      }
    }
  });

  test("to data between instructions leaves the code decoded, and the code sees it", () => {
    const f = new LongFixture();
    // add byte [rip+18],1; mov bl,[rip+12]; dec ecx; jnz start; hlt; … data at P+32 in the same line
    f.load(P, hex("800519000000 01 8a1d13000000 ffc9 75ef f4"));
    f.s.set64(L.GPR + L.REG.rbx * 8, 0, 0);
    f.s.setNum(L.GPR + L.REG.rcx * 8, 50);
    expect(call(f, P, 1000)).toBe(50);
    const record = f.engine.code.find(f.engine.code.table(f.ram.base + P, MODE.code64), 0);
    f.s.setNum(L.GPR + L.REG.rcx * 8, 50);
    expect(call(f, P, 1000)).toBe(100);
    expect(f.engine.code.find(f.engine.code.table(f.ram.base + P, MODE.code64), 0)).toBe(record);
    expect(record).not.toBe(0);
  });

  test("in lines 31, 32 and 63 is noticed", () => {
    for (const line of [0, 31, 32, 63]) {
      const f = new LongFixture();
      f.load(P + line * 64, hex("f4"));
      f.engine.code.decode(f.ram.base + P, MODE.code64, line * 64);
      for (const other of [0, 1, 30, 31, 32, 33, 62, 63]) {
        if (other !== line) expect(f.engine.code.written(P / PAGE, other * 64, 64)).toBe(false);
      }
      expect(f.engine.code.written(P / PAGE, line * 64 + 1, 1)).toBe(false);
      expect(f.engine.code.written(P / PAGE, line * 64, 1)).toBe(true);
    }
  });

  test("forgets the code of all modes", () => {
    const f = new LongFixture();
    f.load(P, hex("f4"));
    for (const mode of [0, 1, 2]) f.engine.code.decode(f.ram.base + P, mode, 0);
    f.engine.code.written(P / PAGE, 0, 1);
    for (const mode of [0, 1, 2]) expect(f.engine.code.find(f.engine.code.table(f.ram.base + P, mode), 0)).toBe(0);
  });

  test("by the code itself: the very next instruction, and one of a loop that ran before, are taken anew (vol. 3A, 8.1.3)", () => {
    const f = new LongFixture();
    // inc byte [rip+1]; mov ebx,3 (its immediate is what was incremented); dec ecx; jnz start; hlt
    f.load(P, hex("fe0501000000 bb03000000 ffc9 75f1 f4"));
    f.s.setNum(L.GPR + L.REG.rcx * 8, 4);
    expect(call(f, P)).toBe(7);
    // Through generated code that writes directly once the page holds no decoded code.
    f.s.setNum(L.GPR + L.REG.rcx * 8, 3);
    expect(call(f, P)).toBe(10);
  });

  test("over a page border: an instruction that straddles is taken anew whichever half is written", () => {
    for (const place of [P + PAGE - 1, P + PAGE]) {
      const f = new LongFixture();
      // mov ebx,0x00000101 from PAGE-2: its opcode and low byte in one page, the rest in the next.
      f.load(P + PAGE - 2, hex("bb01010000 f4"));
      f.load(0x14000, hex("c60702 ffe0"));
      f.s.setNum(L.GPR, P + PAGE - 2);
      f.s.setNum(L.GPR + L.REG.rdi * 8, place);
      expect(call(f, P + PAGE - 2)).toBe(0x101);
      expect(call(f, P + PAGE - 2)).toBe(0x101);
      // mov byte [rdi],2; jmp rax
      expect(call(f, 0x14000)).toBe(place === P + PAGE ? 0x201 : 0x102);
    }
  });

  test("by a bus master ends nothing but is seen by the next run", () => {
    const f = new LongFixture();
    f.load(P, answer(1));
    expect(call(f, P)).toBe(1);
    f.load(P, answer(2));
    f.engine.written(P / PAGE, 0, 6);
    expect(call(f, P)).toBe(2);
  });
});

describe("links", () => {
  const [P1, P2] = [0x10000, 0x12000];

  test("a branch keeps no way into code that was written since", () => {
    const f = new LongFixture();
    f.load(P1, hex("eb3e"));
    f.load(P1 + 0x40, answer(1));
    expect([call(f, P1), call(f, P1)]).toEqual([1, 1]);
    f.load(P1 + 0x40, answer(2));
    f.engine.written(P1 / PAGE, 0x40, 6);
    expect([call(f, P1), call(f, P1)]).toEqual([2, 2]);
  });

  test("only the branch that was taken is linked, not an instruction at which an earlier run ended", () => {
    const f = new LongFixture();
    // P1: nop; jne +0x40; jmp rax. P2: jmp rcx. Both pages have an answer at 0x40.
    f.load(P1, hex("90 753d ffe0"));
    f.load(P1 + 0x40, answer(1));
    f.load(P2, hex("ffe1"));
    f.load(P2 + 0x40, answer(2));
    f.load(P2 + 0x80, answer(3));
    f.s.setNum(L.GPR, P2);
    f.s.setNum(L.GPR + L.REG.rcx * 8, P2 + 0x80);
    expect(call(f, P2)).toBe(3);
    // A run that ends right before the jne, then one that does not take it and jumps inside P2 to the same offset.
    f.s.setLo(L.ACTIVITY_OFFSET, ACTIVITY.running);
    f.s.eflags = 0x42;
    f.rip = P1;
    expect(f.go(1)).toBe(1);
    f.s.setNum(L.GPR + L.REG.rcx * 8, P2 + 0x40);
    expect(call(f, P1 + 1)).toBe(2);
    f.s.eflags = 2;
    expect(call(f, P1)).toBe(1);
  });

  test("a branch is not linked to the code of another page that its own linear page leads to meanwhile", () => {
    const f = new LongFixture();
    const S = 0x50000;
    // X (P1): nop; jmp +0x40. S leads to X, then, without INVLPG, to Y (P2).
    f.load(P1, hex("90 eb3d"));
    f.load(P1 + 0x40, answer(1));
    f.load(P2 + 0x40, answer(2));
    f.map(S, P1);
    f.rip = S;
    expect(f.go(1)).toBe(1);
    f.map(S, P2);
    expect(call(f, S + 1)).toBeGreaterThan(0);
    expect(call(f, P1)).toBe(1);
  });

  test("two linear pages of one physical page run the same code at their own addresses", () => {
    const f = new LongFixture();
    // lea rbx,[rip-7]; jmp +; … hlt
    f.load(P1, hex("488d1df9ffffff eb37"));
    f.load(P1 + 0x40, hex("f4"));
    f.map(0x50000, P1);
    f.map(0x51000, P1);
    expect([call(f, 0x50000), call(f, 0x51000), call(f, P1)]).toEqual([0x50000, 0x51000, P1]);
  });
});

describe("when the space is used up", () => {
  test("everything is dropped, nothing is lost, and the count stays exact", () => {
    const f = new LongFixture();
    // 300 pages of NOPs need far more than there is: 40 MiB for records of 32 bytes and tables.
    const [start, pages] = [0x100000, 300];
    f.load(start, new Uint8Array(pages * PAGE).fill(0x90));
    f.load(start + pages * PAGE, hex("bb05000000 f4"));
    const before = f.engine.code.table(f.ram.base + start, MODE.code64);
    expect(call(f, start, 10_000_000)).toBe(5);
    expect(f.before).toBe(pages * PAGE + 2);
    // The first page's table has gone.
    expect(f.engine.code.find(f.engine.code.table(f.ram.base + start, MODE.code64), 0)).toBe(0);
    expect(f.ram.codePages[start / PAGE]).toBe(0);
    expect(before).toBeGreaterThan(0);
    expect(call(f, start, 10_000_000)).toBe(5);
  });

  test("drop forgets every page's mark and every record, also of instructions over a page border", () => {
    const f = new LongFixture();
    f.load(0x10ffe, hex("bb01010000 f4"));
    expect(call(f, 0x10ffe)).toBe(0x101);
    expect([f.ram.codePages[0x10], f.ram.codePages[0x11]]).toEqual([1, 1]);
    f.engine.code.drop();
    expect(f.ram.codePages.every(mark => mark === 0)).toBe(true);
    f.load(0x11000, hex("02"));
    expect(call(f, 0x10ffe)).toBe(0x201);
    expect(PLACE.pages).toBeLessThan(0x10000);
  });
});
