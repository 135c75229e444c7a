/**
 * A program of random instructions that never ends: chunks of 64 bytes at CPL 3; every exception leads to a handler at CPL 0 that gives the registers
 * usable values and goes to the next chunk. For tests that run the same program in two ways.
 */
import { CpuFixture } from "../../src/cpu/cpu-fixture.ts";
import { isa } from "../../src/cpu/engine.ts";
import * as L from "../../src/cpu/layout.ts";
import { CpuModel } from "../../src/cpu/model.ts";
import type { Rng } from "../../src/sim/rng.ts";
import { loadState, saveState } from "../../src/sim/state.ts";
import { type Encoding, encodingsOf } from "./encodings.ts";
import { generate } from "./generate.ts";
import { IN } from "./records.ts";

const RAM = 0x300000;
const IDT = 0x10000;
const TSS = 0x11000;
const HANDLER = 0x12000;
const STACK = 0x14000;
const TABLES = 0x8000;
export const CHUNKS = 0x200000;
const CHUNK = 64;
const COUNT = 256;
const DATA = 0x210000;
const CS3 = 0x33;
const SS3 = 0x2b;

const u32 = (n: number): number[] => [n & 255, (n >>> 8) & 255, (n >>> 16) & 255, n >>> 24];

/** Counts the exception, sets registers, returns to chunk `count & 255`. */
function handlerCode(): number[] {
  return [
    ...[0x48, 0xff, 0x04, 0x25, ...u32(STACK)], // inc qword [STACK]
    ...[0x8b, 0x04, 0x25, ...u32(STACK)], // mov eax, [STACK]
    ...[0x25, ...u32(COUNT - 1)], // and eax, 255
    ...[0xc1, 0xe0, 6], // shl eax, 6
    ...[0x05, ...u32(CHUNKS)], // add eax, CHUNKS
    ...[0xbc, ...u32(STACK)], // mov esp, STACK
    ...[0x6a, SS3], // push SS3
    ...[0x68, ...u32(DATA + 0x1000)], // push DATA + 0x1000
    ...[0x68, ...u32(0x202)], // push 0x202
    ...[0x6a, CS3], // push CS3
    0x50, // push rax
    ...[0xbb, ...u32(DATA + 0x800)], // mov ebx, …
    ...[0xbd, ...u32(DATA + 0x1800)], // mov ebp, …
    ...[0xbe, ...u32(DATA + 0x400)], // mov esi, …
    ...[0xbf, ...u32(CHUNKS + 0x1400)], // mov edi, …: into the code, which so changes itself
    ...[0xb9, ...u32(5)], // mov ecx, 5
    ...[0x48, 0xcf], // iretq
  ];
}

/** Instructions of the tables, or plain bytes, until a chunk is full. */
function chunk(encodings: readonly Encoding[], rng: Rng): number[] {
  const view = new DataView(new ArrayBuffer(IN.size));
  const out: number[] = [];
  while (out.length < CHUNK) {
    if (rng.chance(1, 16)) out.push(rng.u32() & 255);
    generate(rng.pick(encodings), 64, rng, view, 0);
    for (let i = 0; i < 15; i++) {
      const byte = view.getUint8(IN.code + i);
      // What follows the instruction is INT3.
      if (byte === 0xcc && i > 1) break;
      out.push(byte);
    }
  }
  return out.slice(0, CHUNK);
}

function pageTables(f: CpuFixture): void {
  const v = new DataView(f.engine.buffer, f.ram.base, f.ram.bytes.length);
  const user = 7;
  v.setUint32(TABLES, (TABLES + 0x1000) | user, true);
  v.setUint32(TABLES + 0x1000, (TABLES + 0x2000) | user, true);
  v.setUint32(TABLES + 0x2000, (TABLES + 0x3000) | user, true);
  v.setUint32(TABLES + 0x2008, (TABLES + 0x4000) | user, true);
  for (const page of [IDT, TSS, HANDLER, STACK - 0x1000, STACK])
    v.setUint32(TABLES + 0x3000 + (page >>> 12) * 8, page | 3, true);
  for (let page = CHUNKS; page < CHUNKS + COUNT * CHUNK; page += 4096)
    v.setUint32(TABLES + 0x4000 + ((page >>> 12) & 511) * 8, page | user, true);
  for (const page of [DATA, DATA + 0x1000]) v.setUint32(TABLES + 0x4000 + ((page >>> 12) & 511) * 8, page | user, true);
}

function descriptors(f: CpuFixture): void {
  const { s } = f;
  const v = new DataView(f.engine.buffer, f.ram.base, f.ram.bytes.length);
  // GDT behind the IDT: null, null, null, null, null, SS3, CS3; and the kernel's at 8 and 16.
  const gdt = IDT + 0x800;
  const put = (selector: number, high: number): void => {
    v.setUint32(gdt + (selector & ~7), 0xffff, true);
    v.setUint32(gdt + (selector & ~7) + 4, high, true);
  };
  put(8, 0xaf9b00);
  put(16, 0xcf9300);
  put(SS3, 0xcff300);
  put(CS3, 0xaffb00);
  s.set64(L.GDTR_BASE, gdt, 0);
  s.setLo(L.GDTR_LIMIT, 0x3f);
  s.set64(L.IDTR_BASE, IDT, 0);
  s.setLo(L.IDTR_LIMIT, 32 * 16 - 1);
  for (let n = 0; n < 32; n++) {
    v.setUint32(IDT + n * 16, (8 << 16) | (HANDLER & 0xffff), true);
    v.setUint32(IDT + n * 16 + 4, (HANDLER & 0xffff0000) | (n === 3 || n === 4 ? 0xee01 : 0x8e01), true);
  }
  // IST 1: the stack below its counter.
  v.setUint32(TSS + 0x24, STACK - 16, true);
  s.set64(L.SEG_BASE + L.SEG.tr * 8, TSS, 0);
  s.setLo(L.SEG_SELECTOR + L.SEG.tr * 4, 0x38);
  s.setLo(L.SEG_ATTR + L.SEG.tr * 4, 0x8b);
  s.setLo(L.SEG_LIMIT + L.SEG.tr * 4, 0x67);
}

function segments(f: CpuFixture): void {
  const { s } = f;
  for (const [seg, selector, attributes] of [
    [L.SEG.cs, CS3, 0xa0fb],
    [L.SEG.ss, SS3, 0xc0f3],
    [L.SEG.ds, SS3, 0xc0f3],
    [L.SEG.es, SS3, 0xc0f3],
  ] as const) {
    s.setLo(L.SEG_SELECTOR + seg * 4, selector);
    s.setLo(L.SEG_ATTR + seg * 4, attributes);
    s.setLo(L.SEG_LIMIT + seg * 4, -1);
  }
  s.setLo(L.CPL, 3);
  s.set64(L.CR3, TABLES, 0);
  s.setLo(L.CR4, 0x620);
  s.setLo(L.EFER, 0xd01);
  s.setLo(L.CR0, 0x80050033 | 0);
}

/** A processor at the first instruction of the program. */
export function streamFixture(rng: Rng): CpuFixture {
  const f = emptyFixture();
  f.longMode();
  pageTables(f);
  descriptors(f);
  segments(f);
  f.load(HANDLER, handlerCode());
  const encodings = encodingsOf(isa().maps, true);
  for (let n = 0; n < COUNT; n++) f.load(CHUNKS + n * CHUNK, chunk(encodings, rng));
  for (let i = 0; i < 0x2000; i++) f.ram.bytes[DATA + i] = rng.chance(1, 2) ? 0 : rng.u32();
  f.s.set64(L.GPR + L.REG.rsp * 8, DATA + 0x1000, 0);
  f.s.eflags = 0x202;
  f.s.setNum(L.RIP, CHUNKS);
  f.cpu.restored();
  return f;
}

const registersOf = (f: CpuFixture): Uint8Array => f.cpu.state.registers as Uint8Array;

function emptyFixture(): CpuFixture {
  return new CpuFixture(new CpuModel(), RAM);
}

/** A processor of its own with the registers and the memory of another, as after saving and loading. */
export function loadedFrom(other: CpuFixture): CpuFixture {
  const f = emptyFixture();
  loadState(f.cpu.state, saveState(other.cpu.state));
  f.ram.bytes.set(other.ram.bytes);
  f.cpu.restored();
  return f;
}

/** How many exceptions the program has had. */
export const exceptionsOf = (f: CpuFixture): number => new DataView(f.engine.buffer, f.ram.base).getUint32(STACK, true);

/** Where two processors differ; empty when registers and memory are the same. */
export function stateDifference(a: CpuFixture, b: CpuFixture): string[] {
  const out: string[] = [];
  const find = (what: string, x: Uint8Array, y: Uint8Array): void => {
    if (Buffer.compare(x, y) === 0) return;
    const at = x.findIndex((byte, i) => byte !== y[i]);
    const hex = (bytes: Uint8Array): string => Buffer.from(bytes.subarray(at & ~7, (at & ~7) + 8)).toString("hex");
    out.push(`${what} at ${(at & ~7).toString(16)}: ${hex(x)} and ${hex(y)}`);
  };
  find("registers", registersOf(a), registersOf(b));
  find("memory", a.ram.bytes, b.ram.bytes);
  return out;
}
