/**
 * A debugger's stops: exactly at instruction boundaries, invisible to the guest (GDB manual, "Setting Breakpoints", "Setting Watchpoints"; the guest's own
 * debug registers are SDM vol. 3B, 18.2), and without effect on how a run goes on.
 */
import { describe, expect, test } from "vitest";
import { CpuFixture } from "./cpu-fixture.ts";
import type { Step } from "./cpu.ts";
import * as L from "./layout.ts";

const CODE = 0x10000;
const bytes = (hex: string): Uint8Array =>
  Uint8Array.from(hex.replaceAll(" ", "").match(/../g) ?? [], byte => Number.parseInt(byte, 16));

function machine(hex: string, address = CODE): CpuFixture {
  const f = new CpuFixture();
  f.longMode();
  f.load(address, bytes(hex));
  f.s.setNum(L.RIP, address);
  return f;
}
const rip = (f: CpuFixture): number => f.s.num(L.RIP);
/** inc rax; inc rbx; inc rcx; jmp back to the first: 3 bytes each but the jump. */
const LOOP = "48ffc0 48ffc3 48ffc1 ebf5";
const registers = (f: CpuFixture): string => Buffer.from(f.cpu.state.registers as Uint8Array).toString("hex");

describe("code stops", () => {
  test("a run ends before the instruction at the stop, in the middle of straight-line code", () => {
    const f = machine(LOOP);
    f.cpu.stops.addCode(CODE + 6);
    expect(f.cpu.run(100)).toBe(2);
    expect(rip(f)).toBe(CODE + 6);
    expect([f.reg(0), f.reg(3), f.reg(1)]).toEqual([1n, 1n, 0n]);
  });

  test("a direct branch to the stop ends the run there, even when it was taken before the stop was set", () => {
    const f = machine(LOOP);
    expect(f.cpu.run(9)).toBe(9);
    f.cpu.stops.addCode(CODE);
    expect(f.cpu.run(100)).toBe(3);
    expect(rip(f)).toBe(CODE);
  });

  test("an instruction that was seen stopped is no stop again; the next time round it is", () => {
    const f = machine(LOOP);
    f.cpu.stops.addCode(CODE + 3);
    expect(f.cpu.run(100)).toBe(1);
    f.cpu.stops.seen(0, CODE + 3, f.cpu.retired);
    expect(f.cpu.run(100)).toBe(4);
    expect(rip(f)).toBe(CODE + 3);
  });

  test("without having been seen it stops again at once, with nothing retired", () => {
    const f = machine(LOOP);
    f.cpu.stops.addCode(CODE + 3);
    f.cpu.run(100);
    expect(f.cpu.run(100)).toBe(0);
  });

  test("a stop that nobody wants, and one taken away, change nothing: registers, counts, memory", () => {
    const plain = machine(LOOP);
    plain.cpu.run(1000);
    const stopped = machine(LOOP);
    const { stops } = stopped.cpu;
    stops.onCode = () => false;
    stops.addCode(CODE + 3);
    let left = 500;
    left -= stopped.cpu.run(left);
    expect(left).toBe(0);
    stops.removeCode(CODE + 3);
    expect(stops.armed).toBe(false);
    expect(stopped.cpu.run(500)).toBe(500);
    expect(registers(stopped)).toBe(registers(plain));
    expect(Buffer.compare(stopped.ram.bytes, plain.ram.bytes)).toBe(0);
  });

  test("an instruction that crosses a page can be a stop", () => {
    // movabs rax, imm64 (10 bytes) from 0x10ffb on; then inc rbx.
    const f = machine("48b81122334455667788 48ffc3 f4", 0x10ffb);
    f.s.setNum(L.RIP, 0x10ffb);
    f.cpu.stops.addCode(0x10ffb);
    expect(f.cpu.run(10)).toBe(0);
    f.cpu.stops.seen(0, 0x10ffb, f.cpu.retired);
    f.cpu.stops.addCode(0x11005);
    expect(f.cpu.run(10)).toBe(1);
    expect(f.reg(0)).toBe(0x8877665544332211n);
    expect(rip(f)).toBe(0x11005);
  });

  test("memory at the stop reads as it is", () => {
    // mov eax,[CODE]; hlt
    const f = machine("8b042500000100 f4");
    f.cpu.stops.addCode(CODE + 7);
    f.cpu.run(10);
    expect(f.reg(0)).toBe(0x00_25_04_8bn);
  });

  test("code that changes under the stop stops all the same", () => {
    // mov byte [CODE+0x1f],0x90 (8 bytes, the same 64-byte line as the code); nop; inc rax; jmp to the first.
    const f = machine("c604251f00010090 90 48ffc0 ebf2");
    f.cpu.stops.addCode(CODE + 9);
    for (let lap = 0; lap < 3; lap++) {
      expect(f.cpu.run(100)).toBe(lap === 0 ? 2 : 4);
      expect(rip(f)).toBe(CODE + 9);
      f.cpu.stops.seen(0, CODE + 9, f.cpu.retired);
    }
  });

  test("the same physical code at another linear address is no stop", () => {
    const f = machine(LOOP);
    // The 2 MiB page at 1 GiB - 2 MiB leads to physical 0, too.
    f.ram.bytes.set([0x87, 0, 0, 0], 0x8000 + 0x2000 + 511 * 8);
    const alias = 0x3fe00000 + CODE;
    f.cpu.stops.addCode(CODE + 3);
    f.s.setNum(L.RIP, alias);
    expect(f.cpu.run(40)).toBe(40);
    f.s.setNum(L.RIP, CODE);
    expect(f.cpu.run(40)).toBe(1);
  });
});

describe("watches", () => {
  /** mov dword [0x20000],7; mov eax,[0x20000]; inc dword [0x20000]; mov [0x20004],eax; hlt: 11, 7, 7, 7 bytes. */
  const ACCESSES = "c7042500000200 07000000 8b042500000200 ff042500000200 89042504000200 f4";
  const ends = [11, 18, 25, 32].map(offset => CODE + offset);

  function stopsOf(read: boolean, write: boolean, from = 0x20000): number[] {
    const f = machine(ACCESSES);
    const { stops } = f.cpu;
    stops.onData = () => f.cpu.stop();
    stops.addWatch({ from, length: 4, read, write });
    const at: number[] = [];
    while (f.cpu.activity === 0 && at.length < 10) if (f.cpu.run(10) > 0 && f.cpu.activity === 0) at.push(rip(f));
    return at;
  }

  test("a write watch stops behind every instruction that writes there", () => {
    expect(stopsOf(false, true)).toEqual([ends[0], ends[2]]);
  });
  test("a read watch stops behind reads and read-modify-writes", () => {
    expect(stopsOf(true, false)).toEqual([ends[1], ends[2]]);
  });
  test("an access watch stops behind both", () => {
    expect(stopsOf(true, true)).toEqual([ends[0], ends[1], ends[2]]);
  });
  test("an access that only overlaps the last byte counts", () => {
    expect(stopsOf(false, true, 0x20003)).toEqual([ends[0], ends[2], ends[3]]);
  });

  test("watched or not, a run is the same: registers, memory, chunks of repeated instructions", () => {
    // mov edi,0x20000; mov ecx,5000; xor eax,eax; rep stosb; inc rbx; hlt
    const code = "bf00000200 b988130000 31c0 f3aa 48ffc3 f4";
    const plain = machine(code);
    const counted = plain.cpu.run(1000);
    const watched = machine(code);
    let hits = 0;
    watched.cpu.stops.onData = () => hits++;
    const watch = { from: 0x20100, length: 8, read: true, write: true };
    watched.cpu.stops.addWatch(watch);
    expect(watched.cpu.run(1000)).toBe(counted);
    expect(hits).toBe(8);
    expect(registers(watched)).toBe(registers(plain));
    watched.cpu.stops.removeWatch(watch);
    expect(watched.cpu.stops.watching).toBe(false);
  });

  test("setting a watch and taking it away keeps the TLB's entries, and accesses are direct again", () => {
    const f = machine("8b042500000200 ebf7");
    f.cpu.run(10);
    const tlb = f.cpu.mmu.tlb;
    const direct = tlb.direct(tlb.bank, 0x20000, 4, false);
    expect(direct).toBeGreaterThan(0);
    const watch = { from: 0x20000, length: 4, read: true, write: false };
    f.cpu.stops.addWatch(watch);
    expect(tlb.direct(tlb.bank, 0x20000, 4, false)).toBe(-1);
    expect(tlb.find(tlb.bank, 0x20000)).toBeGreaterThan(0);
    f.cpu.stops.removeWatch(watch);
    expect(tlb.direct(tlb.bank, 0x20000, 4, false)).toBe(direct);
  });
});

describe("steps", () => {
  function steps(f: CpuFixture, budget = 100): { step: Step | null; retired: number } {
    let step: Step | null = null;
    f.cpu.onStep = told => {
      step = told;
    };
    const retired = f.cpu.run(budget);
    f.cpu.onStep = null;
    return { step, retired };
  }

  test("one instruction retires, whatever the budget", () => {
    const f = machine(LOOP);
    expect(steps(f)).toEqual({ step: { done: true, interrupted: null }, retired: 1 });
    expect(rip(f)).toBe(CODE + 3);
  });

  test("HLT is one, too", () => {
    const f = machine("f4");
    expect(steps(f).step).toEqual({ done: true, interrupted: null });
    expect(rip(f)).toBe(CODE + 1);
  });
});
