/**
 * Every encoding of the opcode tables, found by walking them: a row that is added is tested without a change here. What is left out is named with its
 * reason, so that a test can show that nothing else is.
 */
import type { OpcodeMaps } from "../../src/cpu/isa/decoder.ts";
import type { Node, Row } from "../../src/cpu/isa/table/node.ts";

/** One way to write a row. */
export type Encoding = {
  readonly row: Row;
  /** 0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A. */
  readonly map: number;
  readonly opcode: number;
  /** Mandatory prefix; 0: none may be there; −1: not chosen by prefix. */
  readonly prefix: number;
  /** Fixed fields of ModRM, −1 where free. */
  readonly reg: number;
  readonly rm: number;
  /** Operand kinds that ModRM may name. */
  readonly memory: boolean;
  readonly register: boolean;
};

type Place = Omit<Encoding, "row">;

function walk(node: Node | null, at: Place, long: boolean, out: Encoding[]): void {
  if (node === null) return;
  switch (node.kind) {
    case "row": {
      const memory = at.memory && node.only !== "reg";
      const register = at.register && node.only !== "mem";
      if (memory || register) out.push({ ...at, row: node, memory, register });
      return;
    }
    case "group":
      for (const [reg, n] of node.by.entries()) walk(n, { ...at, reg }, long, out);
      return;
    case "rm":
      for (let rm = 0; rm < 8; rm++) walk(node.by[rm] ?? node.otherwise, { ...at, rm }, long, out);
      return;
    case "mod":
      walk(node.memory, { ...at, register: false }, long, out);
      walk(node.register, { ...at, memory: false }, long, out);
      return;
    case "prefix":
      for (const [prefix, n] of [
        [0, node.none],
        [0x66, node.p66],
        [0xf3, node.pf3],
        [0xf2, node.pf2],
      ] as const)
        walk(n, { ...at, prefix }, long, out);
      return;
    case "mode":
      walk(long ? node.long : node.legacy, at, long, out);
  }
}

/** Encodings that exist in 64-bit (`long`) or 32-bit code. */
export function encodingsOf(maps: OpcodeMaps, long: boolean): Encoding[] {
  const out: Encoding[] = [];
  for (const [map, nodes] of maps.entries()) {
    for (const [opcode, node] of nodes.entries()) {
      walk(node, { map, opcode, prefix: -1, reg: -1, rm: -1, memory: true, register: true }, long, out);
    }
  }
  return out.filter(e => !(long && e.row.no64));
}

/** Rows that a user program on the host cannot show, or whose result is not the instruction's alone. */
export const LEFT_OUT: readonly [RegExp, string][] = [
  [
    /^(sldt|str|lldt|ltr|verr|verw|lar|lsl|sgdt|sidt|lgdt|lidt|smsw|lmsw|invlpg|arpl)$/,
    "descriptor tables of the host",
  ],
  [/^(vmcall|vmlaunch|vmresume|vmxoff|monitor|mwait|clac|stac|xgetbv|xsetbv|swapgs)$/, "system instruction"],
  [/^(syscall|sysret|sysenter|sysexit|clts|invd|wbinvd|rsm|hlt|cli|sti|wrmsr|rdmsr|rdpmc)$/, "system instruction"],
  [/^(mov_(from|to)_(cr|dr)|in_imm|in_dx|out_imm|out_dx|ins|outs)$/, "system instruction"],
  [/^(mov_sreg|pop_sreg|les|lds|lss|lfs|lgs|(rd|wr)(fs|gs)base)$/, "segment registers of the host"],
  [/^(call_far|jmp_far|ret_far|iret|int3|int_n|int1|call_far_m|jmp_far_m)$/, "control transfer through the system"],
  [/^(cpuid|rdtsc|rdtscp)$/, "the host's own answer"],
  [/^(x87|fwait|emms|fxsave|fxrstor|xsave|xrstor|xsaveopt)$/, "x87 state: tested in src/cpu/fpu"],
  [/^(rcp|rsqrt)[ps]s_xmm$/, "approximation, each model's own"],
  [/^clflush$/, "no visible effect but faults"],
];

/** Why a row is not compared; "" when it is. */
export function leftOut(row: Pick<Row, "name">): string {
  return LEFT_OUT.find(([names]) => names.test(row.name))?.[1] ?? "";
}

/**
 * Encodings that the host answers in its own way: 0F 0D with a register is #UD on AMD's processors and a reserved NOP on Intel's, which we are; GS of a
 * 32-bit program belongs to its threads.
 */
export function hostDiffers(e: Encoding, long: boolean): boolean {
  if (e.map !== 1) return false;
  return (e.opcode === 0x0d && e.register) || (e.opcode === 0xa8 && !long);
}

/** For reports: `0F AF imul_GE`. */
export function describe(e: Encoding): string {
  const hex = (n: number): string => n.toString(16).toUpperCase().padStart(2, "0");
  const map = ["", "0F ", "0F 38 ", "0F 3A "][e.map]!;
  const operand = e.memory ? (e.register ? "" : " m") : " r";
  return `${e.prefix > 0 ? `${hex(e.prefix)} ` : ""}${map}${hex(e.opcode)}${e.reg >= 0 ? ` /${e.reg}` : ""}${operand} ${e.row.name}`;
}
