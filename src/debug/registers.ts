/**
 * A processor's registers as a debugger numbers them, and the target description that tells it so (GDB manual, appendix "Target Descriptions", "i386
 * Features"). One description serves real, protected and long mode: the 64-bit set, whose upper halves are 0 elsewhere. Names of what the manual does not
 * name (control registers, k_gs_base, efer) are QEMU's, so that scripts for it work.
 *
 * Writing: general registers, RIP, RFLAGS, x87, SSE, CR2, CR3, CR8, FS, GS and kernel GS base always; selectors in real and virtual-8086 mode. CR0, CR4, EFER
 * and selectors in protected mode cannot be written: what hangs on them is more than a value.
 */
import type { X86Cpu } from "../cpu/cpu.ts";
import * as L from "../cpu/layout.ts";
import { FLAG } from "../cpu/state.ts";
import { CR0, CR4, EFER } from "../cpu/system/control-bits.ts";

/** Bytes of a register where they lie, or how to get at them. */
type Access = {
  read(cpu: X86Cpu, into: DataView): void;
  /** False: refused. The bytes differ from those there. */
  write(cpu: X86Cpu, from: DataView): boolean;
};
export type Register = Access & {
  readonly name: string;
  readonly bits: number;
  readonly type: string;
  /** Of the description: i386.core, i386.sse, i386.segments, or our own. */
  readonly feature: string;
  readonly group?: string;
};

const CORE = "org.gnu.gdb.i386.core";
const SSE = "org.gnu.gdb.i386.sse";
const SEGMENTS = "org.gnu.gdb.i386.segments";
const SYSTEM = "org.iretq.i386.system";

const GENERAL = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"] as const;
const SELECTORS = ["cs", "ss", "ds", "es", "fs", "gs"] as const;
const FLAGS_SETTABLE = ~(FLAG.vm | FLAG.vif | FLAG.vip);

/** A 64-bit field of the register area. */
const field = (offset: number, after: (cpu: X86Cpu) => void = () => {}): Access => ({
  read: (cpu, into) => into.setBigUint64(0, cpu.ctx.state.big(offset), true),
  write: (cpu, from) => {
    cpu.ctx.state.setBig(offset, from.getBigUint64(0, true));
    after(cpu);
    return true;
  },
});
const readOnly = (offset: number): Access => ({ ...field(offset), write: () => false });

const eflags: Access = {
  read: (cpu, into) => into.setUint32(0, cpu.ctx.state.eflags, true),
  write: (cpu, from) => {
    const s = cpu.ctx.state;
    const value = from.getInt32(0, true);
    if (((value ^ s.eflags) & ~FLAGS_SETTABLE) !== 0) return false;
    s.eflags = value & 0x3fffff;
    cpu.mmu.tlb.selectBank();
    return true;
  },
};

const selector = (seg: number): Access => ({
  read: (cpu, into) => into.setUint32(0, cpu.ctx.state.selector(seg), true),
  write: (cpu, from) => {
    const s = cpu.ctx.state;
    const value = from.getUint32(0, true);
    if ((s.protectedMode && !s.vm86) || value > 0xffff) return false;
    s.setLo(L.SEG_SELECTOR + seg * 4, value);
    s.set64(L.SEG_BASE + seg * 8, value << 4, 0);
    if (seg < 4) s.setLo(L.SEG_HIDDEN_BASE + seg * 4, value << 4);
    return true;
  },
});

const cr8: Access = {
  read: (cpu, into) => into.setUint32(0, cpu.ctx.apic.readCr8(), true),
  write: (cpu, from) => {
    if (from.getUint32(4, true) !== 0 || from.getUint32(0, true) > 15) return false;
    cpu.ctx.apic.writeCr8(from.getUint32(0, true));
    return true;
  },
};

/** ST(n), ten bytes. */
const st = (n: number): Access => ({
  read: (cpu, into) => {
    const x87 = cpu.units.x87.state;
    into.setInt32(0, x87.lo(n), true);
    into.setInt32(4, x87.hi(n), true);
    into.setUint16(8, x87.se(n), true);
  },
  write: (cpu, from) => {
    const x87 = cpu.units.x87.state;
    x87.write(n, from.getUint16(8, true), from.getInt32(4, true), from.getInt32(0, true));
    return true;
  },
});

/** Control registers of the x87, 32 bits each; the tag word in its full form. */
const X87_WORDS: readonly (readonly [
  string,
  (cpu: X86Cpu) => number,
  ((cpu: X86Cpu, value: number) => void) | null,
])[] = [
  [
    "fctrl",
    cpu => cpu.units.x87.state.fcw,
    (cpu, value) => {
      cpu.units.x87.state.fcw = value;
    },
  ],
  [
    "fstat",
    cpu => cpu.units.x87.state.fsw,
    (cpu, value) => {
      cpu.units.x87.state.fsw = value;
    },
  ],
  ["ftag", cpu => cpu.units.x87.state.fullTagWord(), (cpu, value) => cpu.units.x87.state.loadTagWord(value)],
  ["fiseg", cpu => pointerWord(cpu, 152, 2), null],
  ["fioff", cpu => pointerWord(cpu, 136, 4), null],
  ["foseg", cpu => pointerWord(cpu, 154, 2), null],
  ["fooff", cpu => pointerWord(cpu, 144, 4), null],
  ["fop", cpu => pointerWord(cpu, 134, 2), null],
];

function pointerWord(cpu: X86Cpu, offset: number, size: number): number {
  const { view, base } = cpu.units.x87.state;
  return size === 2 ? view.getUint16(base + offset, true) : view.getUint32(base + offset, true);
}

const x87Word = (get: (cpu: X86Cpu) => number, set: ((cpu: X86Cpu, value: number) => void) | null): Access => ({
  read: (cpu, into) => into.setUint32(0, get(cpu), true),
  write: (cpu, from) => {
    if (set === null || from.getUint32(0, true) > 0xffff) return false;
    set(cpu, from.getUint32(0, true));
    return true;
  },
});

const xmm = (n: number): Access => ({
  read: (cpu, into) => {
    for (let i = 0; i < 2; i++) into.setBigUint64(i * 8, cpu.ctx.state.big(L.XMM + n * 16 + i * 8), true);
  },
  write: (cpu, from) => {
    for (let i = 0; i < 2; i++) cpu.ctx.state.setBig(L.XMM + n * 16 + i * 8, from.getBigUint64(i * 8, true));
    return true;
  },
});

const mxcsr: Access = {
  read: (cpu, into) => into.setUint32(0, cpu.ctx.state.lo(L.MXCSR), true),
  write: (cpu, from) => {
    if (from.getUint32(0, true) > 0xffff) return false;
    cpu.ctx.state.setLo(L.MXCSR, from.getUint32(0, true));
    return true;
  },
};

const numbered = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);
const segBase = (seg: number): Access => field(L.SEG_BASE + seg * 8);
const reg = (name: string, bits: number, type: string, feature: string, access: Access, group = ""): Register => ({
  name,
  bits,
  type,
  feature,
  ...(group === "" ? {} : { group }),
  ...access,
});

/** By register number. */
export const REGISTERS: readonly Register[] = [
  ...GENERAL.map(name => {
    const pointer = name === "rbp" || name === "rsp";
    return reg(name, 64, pointer ? "data_ptr" : "int64", CORE, field(L.GPR + L.REG[name] * 8));
  }),
  ...numbered(8).map(n => reg(`r${n + 8}`, 64, "int64", CORE, field(L.GPR + (n + 8) * 8))),
  reg("rip", 64, "code_ptr", CORE, field(L.RIP)),
  reg("eflags", 32, "i386_eflags", CORE, eflags),
  ...SELECTORS.map(name => reg(name, 32, "int32", CORE, selector(L.SEG[name]))),
  ...numbered(8).map(n => reg(`st${n}`, 80, "i387_ext", CORE, st(n))),
  ...X87_WORDS.map(([name, get, set]) => reg(name, 32, "int", CORE, x87Word(get, set), "float")),
  ...numbered(16).map(n => reg(`xmm${n}`, 128, "vec128", SSE, xmm(n))),
  reg("mxcsr", 32, "i386_mxcsr", SSE, mxcsr, "vector"),
  reg("fs_base", 64, "int64", SEGMENTS, segBase(L.SEG.fs)),
  reg("gs_base", 64, "int64", SEGMENTS, segBase(L.SEG.gs)),
  reg("k_gs_base", 64, "int64", SYSTEM, field(L.MSR.kernelGsBase), "system"),
  reg("cr0", 64, "cr0", SYSTEM, readOnly(L.CR0), "system"),
  reg("cr2", 64, "int64", SYSTEM, field(L.CR2), "system"),
  reg(
    "cr3",
    64,
    "int64",
    SYSTEM,
    field(L.CR3, cpu => cpu.mmu.tlb.flushNonGlobal()),
    "system",
  ),
  reg("cr4", 64, "cr4", SYSTEM, readOnly(L.CR4), "system"),
  reg("cr8", 64, "int64", SYSTEM, cr8, "system"),
  reg("efer", 64, "efer", SYSTEM, readOnly(L.EFER), "system"),
];

export const REGISTER_SIZES: readonly number[] = REGISTERS.map(({ bits }) => bits / 8);

export function readRegister(cpu: X86Cpu, n: number): Uint8Array {
  const bytes = new Uint8Array(REGISTER_SIZES[n]!);
  REGISTERS[n]!.read(cpu, new DataView(bytes.buffer));
  return bytes;
}

/** False: refused. A debugger that writes all registers to change one writes the others as they are, which is always possible. */
export function writeRegister(cpu: X86Cpu, n: number, bytes: Uint8Array): boolean {
  const before = readRegister(cpu, n);
  if (before.every((byte, i) => byte === bytes[i])) return true;
  return REGISTERS[n]!.write(cpu, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

// --- the description --------------------------------------------------------------------------------------------------------------------------------

const EFLAGS: { readonly [name: string]: number } = {
  ...{
    CF: 0,
    PF: 2,
    AF: 4,
    ZF: 6,
    SF: 7,
    TF: 8,
    IF: 9,
    DF: 10,
    OF: 11,
    NT: 14,
    RF: 16,
    VM: 17,
    AC: 18,
    VIF: 19,
    VIP: 20,
    ID: 21,
  },
};
const MXCSR: { readonly [name: string]: number } = {
  ...{ IE: 0, DE: 1, ZE: 2, OE: 3, UE: 4, PE: 5, DAZ: 6, IM: 7, DM: 8, ZM: 9, OM: 10, UM: 11, PM: 12, FZ: 15 },
};

/** Bit numbers of masks. */
const bitsOf = (masks: { readonly [name: string]: number }): { [name: string]: number } =>
  Object.fromEntries(Object.entries(masks).map(([name, mask]) => [name.toUpperCase(), 31 - Math.clz32(mask)]));

function flagsType(id: string, size: number, bits: { readonly [name: string]: number }): string[] {
  const fields = Object.entries(bits).map(([name, bit]) => `<field name="${name}" start="${bit}" end="${bit}"/>`);
  return [`<flags id="${id}" size="${size}">`, ...fields, "</flags>"];
}

const VECTOR = [
  '<vector id="v4f" type="ieee_single" count="4"/>',
  '<vector id="v2d" type="ieee_double" count="2"/>',
  '<vector id="v16i8" type="int8" count="16"/>',
  '<vector id="v8i16" type="int16" count="8"/>',
  '<vector id="v4i32" type="int32" count="4"/>',
  '<vector id="v2i64" type="int64" count="2"/>',
  '<union id="vec128">',
  ...["v4_float:v4f", "v2_double:v2d", "v16_int8:v16i8", "v8_int16:v8i16", "v4_int32:v4i32", "v2_int64:v2i64"].map(
    pair => `<field name="${pair.split(":")[0]}" type="${pair.split(":")[1]}"/>`,
  ),
  '<field name="uint128" type="uint128"/>',
  "</union>",
];

/** What a feature declares before its registers. */
const TYPES: { readonly [feature: string]: readonly string[] } = {
  [CORE]: flagsType("i386_eflags", 4, { "": 1, ...EFLAGS }),
  [SSE]: [...VECTOR, ...flagsType("i386_mxcsr", 4, MXCSR)],
  [SYSTEM]: [
    ...flagsType("cr0", 8, bitsOf(CR0)),
    ...flagsType("cr4", 8, bitsOf(CR4)),
    ...flagsType("efer", 8, bitsOf(EFER)),
  ],
};

function featureText(feature: string): string[] {
  const registers = REGISTERS.map((register, number) => ({ ...register, number })).filter(r => r.feature === feature);
  return [
    `<feature name="${feature}">`,
    ...(TYPES[feature] ?? []),
    ...registers.map(({ name, bits, type, number, group }) => {
      const where = group === undefined ? "" : ` group="${group}"`;
      return `<reg name="${name}" bitsize="${bits}" type="${type}" regnum="${number}"${where}/>`;
    }),
    "</feature>",
  ];
}

/** target.xml. */
export const TARGET_XML: string = [
  '<?xml version="1.0"?>',
  '<!DOCTYPE target SYSTEM "gdb-target.dtd">',
  '<target version="1.0">',
  "<architecture>i386:x86-64</architecture>",
  ...[CORE, SSE, SEGMENTS, SYSTEM].flatMap(featureText),
  "</target>",
].join("\n");
