/** Fetching instructions: limits, canonical addresses, pages, devices. Intel SDM vol. 3A, 3.3.7.1, 4.7, 5.3; vol. 2, 2.3.11 (15 bytes). */
import { describe, expect, test } from "vitest";
import { EVENT } from "../ports/events.ts";
import { CpuFixture } from "./cpu-fixture.ts";
import * as L from "./layout.ts";
import { LongFixture } from "./long-fixture.ts";

const DEVICE = 0x1000000;

/** Exceptions as [vector, error code, RIP]. */
function faults(f: CpuFixture): number[][] {
  const out: number[][] = [];
  f.cpu.ctx.trace.listen({ event: (_t, _k, _s, a, b, c) => void out.push([a, b, c]) }, [EVENT.exception]);
  return out;
}
/** NOPs at 0x14000 for every exception. */
function long(): [LongFixture, number[][]] {
  const f = new LongFixture();
  f.load(0x14000, new Uint8Array(64).fill(0x90));
  for (let vector = 0; vector < 32; vector++) f.gate(vector, 0x14000);
  return [f, faults(f)];
}

describe("64-bit mode", () => {
  test("running into the non-canonical half: #GP(0) with the address that comes next", () => {
    const [f, seen] = long();
    // The last page below 2^47 leads to 0x50000: PML4, PDPT, PD and PT entries 0xFF, 0x1FF, 0x1FF, 0x1FF, tables at 0x60000.
    for (const [at, to] of [
      [0x8000 + 255 * 8, 0x60067],
      [0x60000 + 511 * 8, 0x61067],
      [0x61000 + 511 * 8, 0x62067],
      [0x62000 + 511 * 8, 0x50067],
    ] as const)
      f.memory.setUint32(at, to, true);
    f.load(0x50ffe, [0x90, 0x90]);
    f.rip = 2 ** 47 - 2;
    f.go(3);
    expect(seen).toEqual([[13, 0, 2 ** 47]]);
    expect(f.rip).toBe(0x14001);
  });

  test("a page that is absent, not executable, or the supervisor's: #PF with I/D and P by cause (4.7)", () => {
    // NXE is set: instruction fetches have error bit 4.
    const cases: [number, number, number, number][] = [
      [0x66, 0, 0, 0x10],
      [0x67, 0x80000000, 0, 0x11],
      [0x63, 0, 3, 0x15],
    ];
    for (const [flags, high, cpl, error] of cases) {
      const [f, seen] = long();
      f.map(0x50000, 0x50000, flags);
      f.memory.setUint32(0x7000 + 0x50 * 8 + 4, high, true);
      f.memory.setUint32(0x6004, 0x20000, true);
      f.s.setLo(L.CPL, cpl);
      f.cpu.restored();
      f.rip = 0x50010;
      f.go(1);
      expect(seen).toEqual([[14, error, 0x50010]]);
      expect(f.s.num(L.CR2)).toBe(0x50010);
    }
  });

  test("an instruction over a page border whose second page is absent: CR2 is the second page, RIP the instruction; the first byte alone does not fault", () => {
    const [f, seen] = long();
    f.map(0x51000, 0x51000, 0x66);
    // nop; mov eax,imm32
    f.load(0x50ffc, [0x90, 0xb8, 1, 2]);
    f.rip = 0x50ffc;
    f.go(2);
    expect(seen).toEqual([[14, 0x10, 0x50ffd]]);
    expect(f.s.num(L.CR2)).toBe(0x51000);
    // An instruction that ends with the page does not need the next one.
    const [g, none] = long();
    g.map(0x51000, 0x51000, 0x66);
    g.load(0x50ffb, [0xb8, 1, 2, 3, 4]);
    g.rip = 0x50ffb;
    expect(g.go(1)).toBe(1);
    expect([none, g.s.lo(L.GPR)]).toEqual([[], 0x04030201]);
  });

  test("an instruction over a page border runs as one, whatever lies next in memory, and every time", () => {
    const [f] = long();
    f.map(0x51000, 0x70000);
    for (let cut = 1; cut < 10; cut++) {
      // mov rax,imm64; jmp rcx, split behind `cut` bytes
      const code = [0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0xe1];
      f.load(0x51000 - cut, code.slice(0, cut));
      f.load(0x51000, new Uint8Array(16).fill(0xcc));
      f.load(0x70000, code.slice(cut));
      f.engine.written(0x50, 0xff0, 16);
      f.engine.written(0x70, 0, 16);
      f.rip = 0x51000 - cut;
      f.s.setNum(L.GPR + L.REG.rcx * 8, 0x51000 - cut);
      f.s.set64(L.GPR, 0, 0);
      expect(f.go(7)).toBe(7);
      expect([f.reg(0), f.rip]).toEqual([0x0807060504030201n, 0x51000 - cut + 10]);
    }
  });

  test("15 bytes over a page border: whole, and anew when a bus master or another processor has changed either page (vol. 3A, 12.6)", () => {
    const [f] = long();
    f.map(0x51000, 0x70000);
    // eight times 66, mov rax,imm32; jmp rcx
    const code = [...new Array<number>(8).fill(0x66), 0x48, 0xc7, 0xc0, 1, 2, 3, 4, 0xff, 0xe1];
    const put = (at: number, bytes: number[]): void => {
      f.load(at, bytes);
      f.engine.written(at >>> 12, at & 0xfff, bytes.length);
    };
    for (let cut = 1; cut < 15; cut++) {
      const start = 0x51000 - cut;
      put(start, code.slice(0, cut));
      put(0x51000, new Array<number>(16).fill(0xcc));
      put(0x70000, code.slice(cut));
      f.s.setNum(L.GPR + L.REG.rcx * 8, start);
      const seen: bigint[] = [];
      for (const last of [4, 5, 6]) {
        put(0x70000 + 14 - cut, [last]);
        if (cut > 11) put(start + 11, [last]);
        for (let n = 0; n < 2; n++) {
          f.s.set64(L.GPR, 0, 0);
          f.rip = start;
          expect([f.go(1), f.rip]).toEqual([1, start + 15]);
          seen.push(f.reg(0));
        }
      }
      const value = (last: number): bigint => BigInt(last) * 0x1000000n + 0x30200n + (cut > 11 ? BigInt(last) : 1n);
      expect(seen).toEqual([4, 4, 5, 5, 6, 6].map(value));
    }
  });

  test("more than 15 bytes: #GP(0); 15 are an instruction", () => {
    for (const prefixes of [14, 15]) {
      const [f, seen] = long();
      f.load(0x50000, [...new Array<number>(prefixes).fill(0x66), 0x90]);
      f.rip = 0x50000;
      f.go(1);
      expect(seen).toEqual(prefixes === 14 ? [] : [[13, 0, 0x50000]]);
    }
  });

  test("code in a device is read anew each time, one instruction at a time, and counts exactly", () => {
    const [f] = long();
    let reads = 0;
    // inc eax; dec ecx; jnz start; jmp rbx
    const code = [0xff, 0xc0, 0xff, 0xc9, 0x75, 0xfa, 0xff, 0xe3];
    f.bus.read = (address, width) => {
      expect(width).toBe(1);
      reads++;
      return code[address - DEVICE] ?? 0x90;
    };
    f.load(0x50000, [0x90, 0xf4]);
    f.s.set64(L.GPR, 0, 0);
    f.s.setNum(L.GPR + L.REG.rcx * 8, 3);
    f.s.setNum(L.GPR + L.REG.rbx * 8, 0x50000);
    f.rip = DEVICE;
    expect(f.go(100)).toBe(3 * 3 + 1 + 2);
    expect(f.s.lo(L.GPR)).toBe(3);
    expect(reads).toBeGreaterThan(10);
    // The device may change its mind.
    code[1] = 0xc8;
    f.s.setLo(L.ACTIVITY_OFFSET, 0);
    f.s.setNum(L.GPR + L.REG.rcx * 8, 3);
    f.rip = DEVICE;
    f.go(100);
    expect(f.reg(0)).toBe(0n);
  });
});

describe("legacy modes (5.3)", () => {
  /** 32-bit code with IDT at 0x4000, handlers at 0x14000, code segment of `base` and `limit`. */
  function legacy(base: number, limit: number): [CpuFixture, number[][]] {
    const f = new CpuFixture();
    f.protectedMode();
    const v = new DataView(f.engine.buffer, f.ram.base);
    v.setUint32(0x5008, 0x0000ffff, true);
    v.setUint32(0x500c, 0x00cf9b00, true);
    for (let vector = 0; vector < 32; vector++) {
      v.setUint32(0x4000 + vector * 8, 0x00084000, true);
      v.setUint32(0x4004 + vector * 8, 0x00018e00, true);
    }
    f.load(0x14000, new Uint8Array(64).fill(0x90));
    f.s.setNum(L.GDTR_BASE, 0x5000);
    f.s.setNum(L.IDTR_BASE, 0x4000);
    f.s.setNum(L.GPR + L.REG.rsp * 8, 0x20000);
    f.s.set64(L.SEG_BASE + 8, base, 0);
    f.s.setLo(L.SEG_HIDDEN_BASE + 4, base);
    f.s.setLo(L.SEG_LIMIT + 4, limit);
    f.cpu.restored();
    return [f, faults(f)];
  }

  test("an instruction at the limit runs; behind it, or reaching over it, is #GP(0) of that instruction", () => {
    const [f, seen] = legacy(0x50000, 0x105);
    // nop; mov eax,imm32 up to and with byte 0x105
    expect(f.run(0x50100, [0x90, 0xb8, 1, 2, 3, 4, 0x90], 0)).toBe(0);
    f.s.setNum(L.RIP, 0x100);
    f.cpu.run(2);
    expect([seen, f.s.lo(L.GPR)]).toEqual([[], 0x04030201]);
    f.cpu.run(1);
    expect(seen).toEqual([[13, 0, 0x106]]);
    const [g, cut] = legacy(0x50000, 0x104);
    g.load(0x50100, [0x90, 0xb8, 1, 2, 3, 4]);
    g.s.setNum(L.RIP, 0x100);
    g.cpu.run(2);
    expect(cut).toEqual([[13, 0, 0x101]]);
  });

  test("a limit that is moved over code that was decoded already still holds", () => {
    const [f, seen] = legacy(0x50000, 0xfffff);
    f.load(0x50100, [0x90, 0x90, 0x90, 0x90]);
    f.s.setNum(L.RIP, 0x100);
    f.cpu.run(4);
    f.s.setLo(L.SEG_LIMIT + 4, 0x101);
    f.cpu.restored();
    f.s.setNum(L.RIP, 0x100);
    f.cpu.run(3);
    expect(seen).toEqual([[13, 0, 0x102]]);
  });

  test("a segment base that is not on a page border: the same code, also over page borders", () => {
    for (const base of [0x50001, 0x50800, 0x50fff]) {
      const [f, seen] = legacy(base, 0xffffffff);
      // call +0; pop ebx (its offset); mov ecx,1000; dec ecx; jnz; inc eax …
      const code = [
        0xe8,
        0,
        0,
        0,
        0,
        0x5b,
        0xb9,
        10,
        0,
        0,
        0,
        0x49,
        0x75,
        0xfd,
        ...new Array<number>(4096).fill(0x40),
        0xf4,
      ];
      f.load(base + 0x100, code);
      f.s.setNum(L.RIP, 0x100);
      f.s.set64(L.GPR, 0, 0);
      expect(f.cpu.run(100_000)).toBe(3 + 20 + 4096 + 1);
      expect([seen, f.s.lo(L.GPR), f.s.lo(L.GPR + L.REG.rbx * 8)]).toEqual([[], 4096, 0x105]);
    }
  });

  test("the last addresses of 4 GiB lie beyond the limit, also where they lead to the segment's own first page", () => {
    const [f, seen] = legacy(0x50800, 0xffff);
    // inc ebx at 0x507f0, below the segment, decoded by a run there; jmp eax in the same page.
    f.load(0x507f0, [0x43, 0x43, 0xf4]);
    f.load(0x50800, [0xff, 0xe0]);
    f.s.set64(L.SEG_BASE + 8, 0x50000, 0);
    f.cpu.restored();
    f.s.setNum(L.RIP, 0x7f0);
    f.cpu.run(2);
    f.s.set64(L.SEG_BASE + 8, 0x50800, 0);
    f.cpu.restored();
    f.s.setLo(L.GPR + L.REG.rbx * 8, 0);
    f.s.setLo(L.GPR, 0xfffffff0);
    f.s.setNum(L.RIP, 0);
    f.cpu.run(2);
    expect([seen.map(([vector]) => vector), f.s.lo(L.GPR + L.REG.rbx * 8)]).toEqual([[13], 0]);
  });
});

describe("the instruction pointer wraps at 64 KiB in 16-bit code (vol. 2, JMP: tempEIP AND 0000FFFFH)", () => {
  const { rax, rbx, rcx, rsp } = L.REG;
  /** The segment begins inside a page, so that its first and its last bytes share pages with what lies beside it. */
  const BASE = 0x12340;
  const get = (f: CpuFixture, n: number): number => f.s.lo(L.GPR + n * 8);

  /** Real mode with CS at `base`; where the segment does not reach, before and behind it, is decoded code that sets CX. */
  function real(base = BASE): CpuFixture {
    const f = new CpuFixture();
    f.realMode();
    for (const place of [BASE - 0x100, BASE + 0x10000]) {
      f.load(place, new Uint8Array(0x100).fill(0x41));
      for (let at = 0; at < 0x100; at += 40) runIn(f, place - 0x100, 0x100 + at, 30);
    }
    f.s.setNum(L.GPR + rcx * 8, 1);
    f.s.setNum(L.GPR + rsp * 8, 0x8000);
    segment(f, base);
    return f;
  }
  function put(f: CpuFixture, address: number, bytes: ArrayLike<number>): void {
    f.load(address, bytes);
    f.engine.written(address >>> 12, address & 0xfff, bytes.length);
  }
  function segment(f: CpuFixture, base: number): void {
    f.s.set64(L.SEG_BASE + 8, base, 0);
    f.s.setLo(L.SEG_HIDDEN_BASE + 4, base);
    f.cpu.restored();
  }
  function runIn(f: CpuFixture, base: number, ip: number, count: number): void {
    segment(f, base);
    f.s.setNum(L.RIP, ip);
    f.cpu.run(count);
  }

  // ECX is 1 and ZF is clear where they begin.
  const BRANCHES: readonly (readonly [string, (distance: number) => number[]])[] = [
    ["JMP rel8", d => [0xeb, d & 255]],
    ["JNZ rel8", d => [0x75, d & 255]],
    ["JMP rel16", d => [0xe9, (d - 1) & 255, ((d - 1) >> 8) & 255]],
    ["CALL rel16", d => [0xe8, (d - 1) & 255, ((d - 1) >> 8) & 255]],
    ["LOOP", d => [0xe2, d & 255]],
    ["JCXZ", d => [0xe3, d & 255]],
  ];
  describe.each(BRANCHES)("%s", (name, bytes) => {
    const start = (f: CpuFixture): void => {
      f.s.eflags = 2;
      f.s.setNum(L.GPR + rcx * 8, name === "LOOP" ? 2 : name === "JCXZ" ? 0 : 1);
    };

    test("back below 0: near the end of the segment, every time", () => {
      const f = real();
      put(f, BASE, bytes(-16));
      // inc bx; inc bx
      put(f, BASE + 0xfff2, [0x43, 0x43]);
      for (let round = 1; round <= 3; round++) {
        start(f);
        f.s.setNum(L.RIP, 0);
        f.cpu.run(3);
        expect([get(f, rbx), f.s.num(L.RIP)]).toEqual([2 * round, 0xfff4]);
      }
    });

    test("ahead over FFFFH: near its beginning, every time", () => {
      const f = real();
      put(f, BASE + 0xfff0, bytes(0x1e));
      put(f, BASE + 0x10, [0x43, 0x43]);
      for (let round = 1; round <= 3; round++) {
        start(f);
        f.s.setNum(L.RIP, 0xfff0);
        f.cpu.run(3);
        expect([get(f, rbx), f.s.num(L.RIP)]).toEqual([2 * round, 0x12]);
      }
    });

    test("a run that ends right behind the branch has the pointer wrapped", () => {
      const f = real();
      put(f, BASE, bytes(-16));
      start(f);
      f.s.setNum(L.RIP, 0);
      f.cpu.run(1);
      expect(f.s.num(L.RIP)).toBe(0xfff2);
    });
  });

  test("with a 32-bit operand it does not wrap: beyond the limit, #GP (vol. 2, JMP)", () => {
    const f = real();
    const seen = faults(f);
    // jmp dword -32
    put(f, BASE, [0x66, 0xe9, ...[0xe0, 0xff, 0xff, 0xff]]);
    f.s.setNum(L.RIP, 0);
    f.cpu.run(2);
    expect(seen.map(([vector]) => vector)).toEqual([13]);
  });

  test("running on over FFFFH is #GP, as is an instruction that reaches over it (vol. 3B, 23.31.1)", () => {
    for (const base of [BASE, 0x20000]) {
      for (const code of [[0x43], [0xb8]]) {
        const f = real(base);
        const seen = faults(f);
        put(f, base + 0xffff, code);
        put(f, base + 0x10000, [0x01, 0x02]);
        f.s.setNum(L.RIP, 0xffff);
        f.cpu.run(2);
        expect(seen[0]![0]).toBe(13);
        expect([get(f, rbx), get(f, rax)]).toEqual([code[0] === 0x43 ? 1 : 0, 0]);
      }
    }
  });
});

describe("one page as code of several kinds", () => {
  /** GDT at 0x3000: 0x08 flat 32-bit code, 0x18 16-bit code with base 0x10000, 0x20 32-bit code of 0x10104 bytes. */
  function segments(): CpuFixture {
    const f = new CpuFixture();
    f.protectedMode();
    const descriptor = (index: number, low: number, high: number): void => {
      new DataView(f.ram.bytes.buffer, f.ram.base).setUint32(0x3000 + index * 8, low, true);
      new DataView(f.ram.bytes.buffer, f.ram.base).setUint32(0x3004 + index * 8, high, true);
    };
    descriptor(1, 0x0000ffff, 0x00cf9b00);
    descriptor(3, 0x0000ffff, 0x00009b01);
    descriptor(4, 0x00000103, 0x00419b00);
    f.s.setNum(L.GDTR_BASE, 0x3000);
    f.s.setLo(L.GDTR_LIMIT, 0x27);
    return f;
  }

  test("the same bytes decode anew when a far jump changes the default operand size (vol. 3A, 3.4.5)", () => {
    const f = segments();
    // mov eax,0x12345678; jmp 0x18:0x100. In 16-bit code: mov ax,0x5678; xor al,0x12.
    f.load(0x10100, [0xb8, 0x78, 0x56, 0x34, 0x12, 0xea, 0x00, 0x01, 0x00, 0x00, 0x18, 0x00]);
    f.s.set64(L.RIP, 0x10100, 0);
    f.cpu.run(4);
    expect(f.s.lo(L.GPR)).toBe(0x1234566a);
  });

  test("a smaller limit holds for a page that ran before with a larger one (5.3)", () => {
    const f = segments();
    const seen = faults(f);
    // nop; nop; jmp 0x20:0x10102: its limit ends behind the second byte of the jump's target.
    f.load(0x10100, [0x90, 0x90, 0x90, 0x90, 0x90, 0xea, 0x02, 0x01, 0x01, 0x00, 0x20, 0x00]);
    f.s.set64(L.RIP, 0x10100, 0);
    f.cpu.run(12);
    expect(seen[0]).toEqual([13, 0, 0x10104]);
  });
});
