/** State of the processor when a loader hands over; for Linux: "The Linux/x86 Boot Protocol", chapter "64-bit Boot Protocol". */
import { expect, test } from "vitest";
import { CpuFixture } from "./cpu-fixture.ts";
import * as L from "./layout.ts";
import { startProcessor } from "./start.ts";

const GDT = 0x5000;
const TABLES = 0x8000;
const CODE = 0x100000;

test("long mode: 64-bit code runs through the loader's page tables with RSI as given and interrupts off", () => {
  const f = new CpuFixture();
  // Makes identity tables at 0x8000.
  f.longMode();
  f.cpu.reset("enter", "power");
  const entry = { mode: "long", eip: CODE, eax: 0, ebx: 0, edx: 0, esi: 0x91000, esp: 0x7000, cr3: TABLES } as const;
  startProcessor(f.cpu, { ...entry, cs: 0x10, ds: 0x18, es: 0x18, ss: 0x18, gdtBase: GDT, gdtLimit: 0x1f });
  // mov rax, rsi; mov rcx, cr0; mov rdx, cr4; mov ebx, cs; pushfq; pop rdi; sgdt [0x6000]; hlt
  const code = [0x48, 0x89, 0xf0, 0x0f, 0x20, 0xc1, 0x0f, 0x20, 0xe2, 0x8c, 0xcb, 0x9c, 0x5f];
  f.run(CODE, [...code, 0x0f, 0x01, 0x04, 0x25, 0x00, 0x60, 0x00, 0x00, 0xf4], 20);
  const { rax, rcx, rdx, rbx, rdi } = L.REG;
  expect(f.reg(rax)).toBe(0x91000n);
  // PG, PE; PAE.
  expect(f.reg(rcx) & 0x80000001n).toBe(0x80000001n);
  expect(f.reg(rdx)).toBe(0x20n);
  expect(f.reg(rbx)).toBe(0x10n);
  expect(f.reg(rdi) & 0x200n).toBe(0n);
  expect([...f.ram.bytes.subarray(0x6000, 0x600a)]).toEqual([0x1f, 0, 0, 0x50, 0, 0, 0, 0, 0, 0]);
});
