/**
 * Code that is written while it runs, and instructions that cross a page. Self-modifying code on a processor of today is seen at the next instruction
 * (Intel SDM vol. 3A, 8.1.3 asks for a branch in between; 11.6 says that processors from the P6 family on check themselves).
 */
import { beforeEach, describe, expect, it } from "vitest";
import { CpuFixture } from "../../src/cpu/cpu-fixture.ts";
import * as L from "../../src/cpu/layout.ts";

const CODE = 0x20000;
const OTHER = 0x22000;
const { rax, rbx, rcx, rsi, rdi, rsp } = L.REG;
const u32 = (n: number): number[] => [n & 255, (n >>> 8) & 255, (n >>> 16) & 255, n >>> 24];
/** INC EAX; its last byte becomes 0xC3 in INC EBX. */
const INC_EAX = [0xff, 0xc0];
const INC_EBX_LAST = 0xc3;
/** MOV BYTE [address], value. */
const store8 = (address: number, value: number): number[] => [0xc6, 0x04, 0x25, ...u32(address), value];
const LENGTH_STORE8 = 8;

// Code that a test puts into memory itself lies where none was decoded before.
let f: CpuFixture;
const set = (n: number, value: number): void => f.s.setNum(L.GPR + n * 8, value);
const get = (n: number): number => Number(f.reg(n));

beforeEach(() => {
  f = new CpuFixture(undefined, 0x100000);
  f.longMode();
  set(rax, 0);
  set(rbx, 0);
});

describe("code that was written is seen at the next instruction (SDM vol. 3A, 11.6)", () => {
  it("the next instruction, by a store", () => {
    f.run(CODE, [...store8(CODE + LENGTH_STORE8 + 1, INC_EBX_LAST), ...INC_EAX], 2);
    expect([get(rax), get(rbx)]).toEqual([0, 1]);
  });

  it("the next instruction, on a second pass over code that is decoded", () => {
    // inc eax is changed by the pass after it ran: store [patch] = dl; patch: inc e?x; dec ecx; jnz.
    const code = [0x88, 0x14, 0x25, ...u32(CODE + 8), ...INC_EAX, 0xff, 0xc9, 0x75, 0xf3];
    f.load(CODE, code);
    set(L.REG.rdx, 0xc0);
    set(rcx, 3);
    f.run(CODE, code, 4);
    expect([get(rax), get(rbx)]).toEqual([1, 0]);
    set(L.REG.rdx, INC_EBX_LAST);
    f.cpu.run(8);
    expect([get(rax), get(rbx)]).toEqual([1, 2]);
  });

  it("an instruction in the same page that ran before", () => {
    // inc eax; store8(CODE + 1); jmp back: the second time inc ebx.
    const code = [...INC_EAX, ...store8(CODE + 1, INC_EBX_LAST), 0xeb, 0xf4];
    f.run(CODE, code, 4);
    expect([get(rax), get(rbx)]).toEqual([1, 1]);
  });

  for (const [name, opcode, step, length] of [
    ["MOVSB", 0xa4, 1, 4],
    ["MOVSQ", 0xa5, 8, 3],
  ] as const) {
    it(`instructions behind a REP ${name} that writes over them`, () => {
      const text = opcode === 0xa5 ? [0xf3, 0x48, 0xa5] : [0xf3, 0xa4];
      const target = CODE + text.length;
      f.load(CODE, [...text, ...new Array(length * step).fill(0x90), ...INC_EAX]);
      const source = new Array(length * step).fill(0x90);
      source.splice(0, 2, 0xff, INC_EBX_LAST);
      f.load(OTHER, source);
      set(rsi, OTHER);
      set(rdi, target);
      set(rcx, length);
      f.s.setNum(L.RIP, CODE);
      // Decoded once before.
      f.cpu.run(1);
      while (f.s.num(L.RIP) === CODE) f.cpu.run(1);
      f.cpu.run(1);
      expect([get(rax), get(rbx), f.s.num(L.RIP)]).toEqual([0, 1, target + 2]);
    });
  }

  it("code in another page that was called before", () => {
    f.load(OTHER, [...INC_EAX, 0xc3]);
    const call = (at: number): number[] => [0xe8, ...u32((OTHER - (at + 5)) | 0)];
    const code = [...call(CODE), ...store8(OTHER + 1, INC_EBX_LAST), ...call(CODE + 5 + LENGTH_STORE8)];
    set(rsp, 0x30000);
    f.run(CODE, code, 7);
    expect([get(rax), get(rbx)]).toEqual([1, 1]);
  });

  it("by PUSH, CMPXCHG, XADD, a store of 16 bytes, and one that begins in the page before", () => {
    const writers: [number[], () => void][] = [
      [[0x50], () => set(rsp, CODE + 0x108)],
      [[0x48, 0x0f, 0xb1, 0x03], () => set(rbx, CODE + 0x100)],
      [[0x48, 0x0f, 0xc1, 0x03], () => set(rbx, CODE + 0x100)],
      [[0x0f, 0x11, 0x03], () => set(rbx, CODE + 0x100)],
    ];
    for (const [bytes, prepare] of writers) {
      f.load(CODE + 0x100, [0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90]);
      f.s.setNum(L.RIP, CODE + 0x100);
      f.engine.written(CODE >>> 12, 0x100, 8);
      f.cpu.run(2);
      prepare();
      // What is written changes the first two bytes to JMP +0x10.
      f.s.setBig(L.GPR, 0x10ebn);
      f.s.setBig(L.XMM, 0x10ebn);
      if (bytes.includes(0xb1)) {
        f.s.setBig(L.GPR, 0x9090909090909090n);
        f.s.setBig(L.GPR + rcx * 8, 0x10ebn);
        bytes[3] = 0x0b;
      }
      if (bytes.includes(0xc1)) f.s.setBig(L.GPR, BigInt.asUintN(64, 0x10ebn - 0x9090909090909090n));
      f.run(CODE + 0x200, bytes, 1);
      f.s.setNum(L.RIP, CODE + 0x100);
      f.cpu.run(1);
      expect(f.s.num(L.RIP), `writer ${bytes.join()}`).toBe(CODE + 0x112);
    }
    // Eight bytes across the boundary: the last four are code.
    f.load(CODE + 0x1000, [0x90, 0x90, 0x90, 0x90]);
    f.s.setNum(L.RIP, CODE + 0x1000);
    f.cpu.run(2);
    f.s.setBig(L.GPR, 0x000010eb_00000000n);
    set(rbx, CODE + 0xffc);
    f.run(OTHER, [0x48, 0x89, 0x03], 1);
    f.s.setNum(L.RIP, CODE + 0x1000);
    f.cpu.run(1);
    expect(f.s.num(L.RIP)).toBe(CODE + 0x1012);
  });

  it("the part of an instruction that lies in the second page", () => {
    // mov eax, 0x11111111 with two bytes of its immediate in the next page.
    f.run(CODE + 0xffd, [0xb8, 0x11, 0x11, 0x11, 0x11], 1);
    expect(get(rax)).toBe(0x11111111);
    f.run(OTHER, store8(CODE + 0x1000, 0x22), 1);
    f.s.setNum(L.RIP, CODE + 0xffd);
    f.cpu.run(1);
    expect(get(rax)).toBe(0x11221111);
    f.run(OTHER + 0x100, store8(CODE + 0xffe, 0x33), 1);
    f.s.setNum(L.RIP, CODE + 0xffd);
    f.cpu.run(1);
    expect(get(rax)).toBe(0x11221133);
  });
});

/** Page tables with pages of 4 KiB for the first 2 MiB, made over those of the fixture. */
const PAGES = 0x10000;
const page = (linear: number, entry: number): void => {
  const v = new DataView(f.engine.buffer, f.ram.base, f.ram.bytes.length);
  v.setUint32(PAGES + (linear >>> 12) * 8, entry, true);
  f.cpu.mmu.tlb.flushAll();
};
function smallPages(): void {
  const v = new DataView(f.engine.buffer, f.ram.base, f.ram.bytes.length);
  for (let n = 0; n < 256; n++) v.setUint32(PAGES + n * 8, (n << 12) | 3, true);
  v.setUint32(0xa000, PAGES | 3, true);
  f.cpu.mmu.tlb.flushAll();
}

describe("an instruction that crosses a page", () => {
  let fault: [vector: number, error: number, address: number] | null;
  beforeEach(() => {
    smallPages();
    fault = null;
    f.cpu.units.events.exception = (vector, error, address) => {
      fault = [vector, error, address];
      f.cpu.stop();
    };
  });
  // mov qword [rbx + rcx*8 + 0x1000], 0x11: 12 bytes.
  const MOV = [0x48, 0xc7, 0x84, 0xcb, ...u32(0x1000), ...u32(0x11)];
  const END = CODE + 0x1000;

  it("raises #PF at the second page when that is not present, and runs when it is (SDM vol. 3A, 4.7)", () => {
    for (let first = 1; first < MOV.length; first++) {
      const start = END - first;
      fault = null;
      page(END, 0);
      f.load(start, MOV);
      set(rbx, 0x30000);
      set(rcx, 1);
      expect(f.run(start, MOV, 1)).toBe(0);
      // The I/D flag: NX is on.
      expect(fault, `${first} bytes in the first page`).toEqual([14, 0x10, END]);
      expect(f.s.num(L.RIP)).toBe(start);
      page(END, END | 3);
      f.ram.bytes.fill(0, 0x31000, 0x31100);
      f.s.setNum(L.RIP, start);
      expect(f.cpu.run(1)).toBe(1);
      expect([f.ram.bytes[0x31008], f.s.num(L.RIP)]).toEqual([0x11, start + MOV.length]);
    }
  });

  it("takes its bytes from two pages that are not neighbours in memory", () => {
    f.load(CODE + 0xffd, [0xb8, 0x11, 0x22]);
    f.load(OTHER, [0x33, 0x44]);
    page(END, OTHER | 3);
    f.s.setNum(L.RIP, CODE + 0xffd);
    f.cpu.run(1);
    expect(get(rax)).toBe(0x44332211);
    // Now another second page: what was decoded before does not count.
    f.load(OTHER + 0x1000, [0x55, 0x66]);
    page(END, (OTHER + 0x1000) | 3);
    f.s.setNum(L.RIP, CODE + 0xffd);
    f.cpu.run(1);
    expect(get(rax)).toBe(0x66552211);
  });

  it("is changed through another linear address of the same memory", () => {
    const alias = 0x80000;
    page(alias, CODE | 3);
    f.run(CODE, INC_EAX, 1);
    f.run(OTHER, store8(alias + 1, INC_EBX_LAST), 1);
    f.s.setNum(L.RIP, CODE);
    f.cpu.run(1);
    expect([get(rax), get(rbx)]).toEqual([1, 1]);
  });
});
