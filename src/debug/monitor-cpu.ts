/** One processor's tables and control registers as text, for `monitor info`, `gdt`, `idt`, `vtop` and `xp`. Intel SDM vol. 3A, 3.4.5 and 6.11, 6.14.1. */
import { PAGE } from "../base/units.ts";
import type { X86Cpu } from "../cpu/cpu.ts";
import * as L from "../cpu/layout.ts";
import { FLAG } from "../cpu/state.ts";
import { CR0, CR4, EFER } from "../cpu/system/control-bits.ts";
import { ACTIVITY } from "../ports/processor.ts";
import { readMemory } from "./memory.ts";
import { hexOfAddress, hexOfBytes } from "./packets.ts";
import { entryFlags, peek, walk } from "./page-tables.ts";

const hex = (value: number | bigint, digits = 1): string =>
  `0x${BigInt.asUintN(64, BigInt(value)).toString(16).padStart(digits, "0")}`;
const MAX_DESCRIPTORS = 64;
const SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs"] as const;

const ACTIVITY_NAMES: { readonly [activity: number]: string } = {
  [ACTIVITY.running]: "running",
  [ACTIVITY.halted]: "halted",
  [ACTIVITY.waitForSipi]: "waiting for a start-up IPI",
  [ACTIVITY.shutdown]: "shut down",
};
export const activityText = (cpu: X86Cpu): string => ACTIVITY_NAMES[cpu.activity]!;

/** Which of the manual's modes of operation. */
export function modeText(cpu: X86Cpu): string {
  const s = cpu.ctx.state;
  if (!s.protectedMode) return "real mode";
  if (s.vm86) return "virtual-8086 mode";
  const bits = 16 << s.codeMode;
  if (s.longMode) return s.codeMode === 2 ? "64-bit mode" : `compatibility mode (${bits}-bit code)`;
  return `protected mode (${bits}-bit code)`;
}

const names = (masks: { readonly [name: string]: number }, value: number): string =>
  Object.entries(masks)
    .filter(([, mask]) => (value & mask) === mask)
    .map(([name]) => name.toUpperCase())
    .join(" ");

export function infoText(cpu: X86Cpu): string[] {
  const s = cpu.ctx.state;
  const segment = (name: string, n: number): string =>
    `${name.padEnd(5)}${hex(s.selector(n), 4)}  base ${hex(s.num(L.SEG_BASE + n * 8))}  limit ${hex(s.segLimit(n))}  attr ${hex(s.segAttr(n) & 0xffff, 4)}`;
  const { iopl: _, ...flags } = FLAG;
  return [
    `CPU ${cpu.index}: ${activityText(cpu)}, ${modeText(cpu)}, CPL ${s.cpl}, ${cpu.retired} instructions retired`,
    `rip  ${hex(s.num(L.RIP))}  eflags ${hex(s.eflags)} (${names(flags, s.eflags)}, IOPL ${(s.eflags >>> 12) & 3})`,
    `cr0  ${hex(s.big(L.CR0))} (${names(CR0, s.int(L.CR0))})`,
    `cr2  ${hex(s.big(L.CR2))}`,
    `cr3  ${hex(s.big(L.CR3))}`,
    `cr4  ${hex(s.big(L.CR4))} (${names(CR4, s.int(L.CR4))})`,
    `cr8  ${hex(cpu.ctx.apic.readCr8())}`,
    `efer ${hex(s.big(L.EFER))} (${names(EFER, s.int(L.EFER))})`,
    ...SEGMENTS.map((name, n) => segment(name, n)),
    segment("ldtr", L.SEG.ldtr),
    segment("tr", L.SEG.tr),
    `gdtr base ${hex(s.num(L.GDTR_BASE))} limit ${hex(s.lo(L.GDTR_LIMIT), 4)}`,
    `idtr base ${hex(s.num(L.IDTR_BASE))} limit ${hex(s.lo(L.IDTR_LIMIT), 4)}`,
    `dr6  ${hex(s.lo(L.DR6))}  dr7 ${hex(s.lo(L.DR7))}${[0, 1, 2, 3].map(n => `  dr${n} ${hex(s.big(L.DR + n * 8))}`).join("")}`,
    `pending ${names(L.PENDING, s.int(L.PENDING_OFFSET)).toLowerCase() || "nothing"}, interrupt shadow ${["none", "STI", "MOV SS"][s.int(L.SHADOW)] ?? "?"}, NMIs ${s.int(L.NMI_BLOCKED) === 1 ? "blocked" : "open"}`,
  ];
}

/** A table's words of 8 bytes; shorter where memory ends. */
function tableWords(cpu: X86Cpu, base: number, limit: number): bigint[] {
  const bytes = readMemory(cpu, base, Math.min(limit + 1, 0x10000), false) ?? new Uint8Array(0);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: Math.floor(bytes.length / 8) }, (_, i) => view.getBigUint64(i * 8, true));
}

const SYSTEM_TYPES: { readonly [type: number]: string } = {
  1: "available 16-bit TSS",
  2: "LDT",
  3: "busy 16-bit TSS",
  4: "16-bit call gate",
  5: "task gate",
  6: "16-bit interrupt gate",
  7: "16-bit trap gate",
  9: "available TSS",
  11: "busy TSS",
  12: "call gate",
  14: "interrupt gate",
  15: "trap gate",
};

function descriptorText(low: bigint, next: bigint | undefined, long: boolean): string {
  const bits = (high: number, from: number): number =>
    Number((low >> BigInt(from)) & ((1n << BigInt(high - from + 1)) - 1n));
  const type = bits(43, 40);
  const dpl = `DPL ${bits(46, 45)}${bits(47, 47) === 1 ? "" : " not present"}`;
  let base = BigInt(bits(39, 16)) | (BigInt(bits(63, 56)) << 24n);
  const scaled = bits(15, 0) | (bits(51, 48) << 16);
  const limit = bits(55, 55) === 1 ? scaled * PAGE + PAGE - 1 : scaled;
  if (bits(44, 44) === 0) {
    if (long && next !== undefined) base |= (next & 0xffffffffn) << 32n;
    return `${SYSTEM_TYPES[type] ?? `system type ${type}`} base ${hex(base)} limit ${hex(limit)} ${dpl}`;
  }
  const size = bits(53, 53) === 1 ? "64-bit" : bits(54, 54) === 1 ? "32-bit" : "16-bit";
  const kind =
    (type & 8) !== 0
      ? `${size} code${(type & 2) !== 0 ? " readable" : ""}${(type & 4) !== 0 ? " conforming" : ""}`
      : `data${(type & 2) !== 0 ? " writable" : ""}${(type & 4) !== 0 ? " expand-down" : ""}`;
  return `${kind} base ${hex(base)} limit ${hex(limit)} ${dpl}`;
}

export function gdtText(cpu: X86Cpu): string[] {
  const s = cpu.ctx.state;
  const words = tableWords(cpu, s.num(L.GDTR_BASE), s.lo(L.GDTR_LIMIT));
  const lines: string[] = [];
  for (let i = 0; i < words.length && lines.length < MAX_DESCRIPTORS; i++) {
    const word = words[i]!;
    if (word === 0n) continue;
    lines.push(`${hex(i * 8, 4)}  ${descriptorText(word, words[i + 1], s.longMode)}`);
    // In IA-32e mode system descriptors take two places.
    if (s.longMode && ((word >> 44n) & 1n) === 0n) i++;
  }
  return [`GDT at ${hex(s.num(L.GDTR_BASE))}, limit ${hex(s.lo(L.GDTR_LIMIT), 4)}`, ...lines];
}

function gateText(low: bigint, high: bigint, long: boolean): string {
  const bits = (from: number, count: number): bigint => (low >> BigInt(from)) & ((1n << BigInt(count)) - 1n);
  const type = Number(bits(40, 4));
  const offset = bits(0, 16) | (bits(48, 16) << 16n) | (long ? (high & 0xffffffffn) << 32n : 0n);
  const ist = long && bits(32, 3) !== 0n ? ` IST ${bits(32, 3)}` : "";
  const present = bits(47, 1) === 1n ? "" : " not present";
  return `${hex(bits(16, 16), 4)}:${hex(offset)} ${SYSTEM_TYPES[type] ?? `type ${type}`} DPL ${bits(45, 2)}${ist}${present}`;
}

/** All gates that are not zero, or that of one vector; in real mode the interrupt vector table. */
export function idtText(cpu: X86Cpu, only: number | null): string[] {
  const s = cpu.ctx.state;
  const base = s.num(L.IDTR_BASE);
  const limit = s.lo(L.IDTR_LIMIT);
  const words = tableWords(cpu, base, limit);
  const line = (vector: number): string | null => {
    const name = `${hex(vector, 2)}  `;
    if (!s.protectedMode) {
      const word = words[vector >> 1];
      if (word === undefined) return null;
      const far = Number((word >> (vector & 1 ? 32n : 0n)) & 0xffffffffn);
      return far === 0 ? null : `${name}${hex(far >>> 16, 4)}:${hex(far & 0xffff, 4)}`;
    }
    const low = words[s.longMode ? vector * 2 : vector];
    const high = s.longMode ? words[vector * 2 + 1] : 0n;
    return low === undefined || high === undefined || (low | high) === 0n
      ? null
      : name + gateText(low, high, s.longMode);
  };
  const wanted = only === null ? Array.from({ length: 256 }, (_, n) => n) : [only];
  const lines = wanted.map(line).filter(text => text !== null);
  const head = `${s.protectedMode ? "IDT" : "interrupt vector table"} at ${hex(base)}, limit ${hex(limit, 4)}`;
  return [head, ...(lines.length === 0 ? ["no such gate"] : lines)];
}

/** The way from a linear address to a physical one, entry by entry. */
export function vtopText(cpu: X86Cpu, linear: number): string[] {
  const { levels, physical, pageSize } = walk(cpu, linear);
  const lines = levels.map(
    ({ name, address, entry }) => `${name.padEnd(6)}at ${hex(address)}: ${hex(entry, 16)} ${entryFlags(entry)}`,
  );
  const size =
    pageSize >= 2 ** 30 ? `${pageSize / 2 ** 30} GiB` : pageSize >= 2 ** 20 ? `${pageSize / 2 ** 20} MiB` : "4 KiB";
  const how = levels.length === 0 ? "paging is off" : `page of ${size}`;
  const end = physical === null ? "is not mapped" : `is physical ${hex(physical)} (${how})`;
  return [...lines, `0x${hexOfAddress(linear)} ${end}`];
}

/** Physical memory as lines of 16 bytes. */
export function xpText(cpu: X86Cpu, address: number, count: number): string[] {
  const lines: string[] = [];
  for (let done = 0; done < count; done += 16) {
    const bytes = peek(cpu, address + done, Math.min(16, count - done));
    if (bytes === null) {
      lines.push(`${hex(address + done, 8)}: not memory`);
      break;
    }
    lines.push(`${hex(address + done, 8)}: ${hexOfBytes(bytes).replace(/(..)(?=.)/g, "$1 ")}`);
  }
  return lines;
}
