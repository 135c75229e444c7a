/** What a debugger reads is what the processor itself would read: with its stores that wait in its store buffer (Intel SDM vol. 3A, 9.2.3.4 and 12.10). */
import { expect, test } from "vitest";
import { X86Cpu } from "../cpu/cpu.ts";
import { Pc } from "../machine/pc.ts";
import { readMemory, writeMemory } from "./memory.ts";

const LOAD = 0x100000;
const PLACE = 0x300000;

/** A raw multiboot 1 image at 1 MiB, entered at 0x100020 in 32-bit protected mode without paging. */
function machine(...code: number[]): { pc: Pc; cpu: X86Cpu } {
  const bytes = new Uint8Array(32 + code.length);
  const words = [0x1badb002, 0x10000, -(0x1badb002 + 0x10000), LOAD, LOAD, 0, 0, LOAD + 32];
  const view = new DataView(bytes.buffer);
  words.forEach((word, i) => {
    view.setInt32(i * 4, word | 0, true);
  });
  bytes.set(code, 32);
  const caches = { coherent: true, storeBuffer: true };
  const pc = new Pc({ cpus: 1, memory: 16 << 20, image: { name: "stores", bytes, args: "" }, caches });
  const cpu = pc.cpus[0];
  if (!(cpu instanceof X86Cpu)) throw new Error("no x86 processor");
  return { pc, cpu };
}

/** mov dword [300000h],44332211h; mov byte [300002h],99h; jmp $ */
const STORES = [
  ...[0xc7, 0x05, 0, 0, 0x30, 0, 0x11, 0x22, 0x33, 0x44],
  ...[0xc6, 0x05, 2, 0, 0x30, 0, 0x99],
  ...[0xeb, 0xfe],
];
const inRam = (pc: Pc): number[] => [...pc.ram.bytes.slice(PLACE, PLACE + 6)];
const seen = (cpu: X86Cpu, from: number, length: number): number[] => [...readMemory(cpu, from, length, true)!];

test("stores that wait are read, the youngest over the older ones, wherever the look begins; and they go on waiting", () => {
  const { pc, cpu } = machine(...STORES);
  pc.run(2);
  const hash = pc.stateHash();
  expect(inRam(pc)).toEqual([0, 0, 0, 0, 0, 0]);
  expect(seen(cpu, PLACE - 1, 7)).toEqual([0, 0x11, 0x22, 0x99, 0x44, 0, 0]);
  expect(seen(cpu, PLACE + 2, 1)).toEqual([0x99]);
  expect(seen(cpu, PLACE + 3, 3)).toEqual([0x44, 0, 0]);
  expect(seen(cpu, PLACE - 8, 8)).toEqual(new Array(8).fill(0));
  expect([pc.stateHash(), inRam(pc)]).toEqual([hash, [0, 0, 0, 0, 0, 0]]);
});

test("what the user writes comes after them", () => {
  const { pc, cpu } = machine(...STORES);
  pc.run(2);
  expect(writeMemory(pc, cpu, PLACE + 1, Uint8Array.of(0xee), true)).toBe(true);
  expect(seen(cpu, PLACE, 4)).toEqual([0x11, 0xee, 0x99, 0x44]);
  pc.run(20_000);
  expect(inRam(pc)).toEqual([0x11, 0xee, 0x99, 0x44, 0, 0]);
});
