/** The one-byte opcode map (Intel SDM vol. 2, table A-2). */
import { byMod, byMode, emptyMap, group, type Node, type OpcodeMap, row } from "./node.ts";

const helper = (name: string, options: Parameters<typeof row>[1] = {}): Node =>
  row(name, { operands: "none", size: 32, ...options });

const ALU = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"];
const SHIFT = ["rol", "ror", "rcl", "rcr", "shl", "shr", "shl", "sar"];
const SEGMENTS = ["es", "cs", "ss", "ds"];

function arithmetic(map: OpcodeMap): void {
  for (const [i, name] of ALU.entries()) {
    const base = i * 8;
    const lock = name !== "cmp";
    map[base] = row(`${name}_EG`, { size: 8, lock });
    map[base + 1] = row(`${name}_EG`, { lock });
    map[base + 2] = row(`${name}_GE`, { size: 8 });
    map[base + 3] = row(`${name}_GE`);
    map[base + 4] = row(`${name}_EI`, { operands: "acc", size: 8, imm: "ib" });
    map[base + 5] = row(`${name}_EI`, { operands: "acc", imm: "iz" });
  }
  const immediate = (options: Parameters<typeof row>[1]): Node =>
    group(...ALU.map(name => row(`${name}_EI`, { ...options, lock: name !== "cmp" })));
  map[0x80] = immediate({ size: 8, imm: "ib" });
  map[0x81] = immediate({ imm: "iz" });
  map[0x82] = byMode(null, immediate({ size: 8, imm: "ib" }));
  map[0x83] = immediate({ imm: "ib" });
  const shifts = (suffix: string, options: Parameters<typeof row>[1]): Node =>
    group(...SHIFT.map(name => row(`${name}_${suffix}`, options)));
  map[0xc0] = shifts("EI", { size: 8, imm: "ib" });
  map[0xc1] = shifts("EI", { imm: "ib" });
  map[0xd0] = shifts("EI", { size: 8, imm: "one" });
  map[0xd1] = shifts("EI", { imm: "one" });
  map[0xd2] = shifts("EC", { size: 8 });
  map[0xd3] = shifts("EC", {});
  for (const [opcode, size] of [
    [0xf6, 8],
    [0xf7, "v"],
  ] as const) {
    const test = row("test_EI", { size, imm: size === 8 ? "ib" : "iz" });
    map[opcode] = group(
      test,
      test,
      row("not_E", { size, lock: true }),
      row("neg_E", { size, lock: true }),
      row("mul_E", { size }),
      row("imul_E", { size }),
      row("div_E", { size }),
      row("idiv_E", { size }),
    );
  }
  map[0xfe] = group(row("inc_E", { size: 8, lock: true }), row("dec_E", { size: 8, lock: true }));
  for (let r = 0; r < 8; r++) {
    map[0x40 + r] = row("inc_E", { operands: "opreg", no64: true });
    map[0x48 + r] = row("dec_E", { operands: "opreg", no64: true });
  }
  map[0x69] = row("imul_GEI", { imm: "iz" });
  map[0x6b] = row("imul_GEI", { imm: "ib" });
  map[0x84] = row("test_EG", { size: 8 });
  map[0x85] = row("test_EG");
  map[0xa8] = row("test_EI", { operands: "acc", size: 8, imm: "ib" });
  map[0xa9] = row("test_EI", { operands: "acc", imm: "iz" });
  for (const [opcode, name] of [
    [0x27, "daa"],
    [0x2f, "das"],
    [0x37, "aaa"],
    [0x3f, "aas"],
  ] as const)
    map[opcode] = helper(name, { no64: true });
  map[0xd4] = helper("aam", { no64: true, imm: "ib" });
  map[0xd5] = helper("aad", { no64: true, imm: "ib" });
}

function moves(map: OpcodeMap): void {
  map[0x86] = row("xchg_EG", { size: 8, lock: true });
  map[0x87] = row("xchg_EG", { lock: true });
  map[0x88] = row("mov_EG", { size: 8 });
  map[0x89] = row("mov_EG");
  map[0x8a] = row("mov_GE", { size: 8 });
  map[0x8b] = row("mov_GE");
  map[0x8c] = row("mov_from_sreg", { reg: "raw" });
  map[0x8d] = row("lea", { only: "mem" });
  map[0x8e] = row("mov_sreg", { reg: "raw" });
  map[0x90] = row("nop", { operands: "none", size: 32 });
  for (let r = 1; r < 8; r++) map[0x90 + r] = row("xchg_EG", { operands: "opreg" });
  map[0x98] = row("cbw", { operands: "none" });
  map[0x99] = row("cwd", { operands: "none" });
  map[0x9e] = helper("sahf");
  map[0x9f] = row("lahf", { operands: "none", size: 32 });
  map[0xa0] = row("mov_AO", { operands: "none", size: 8, imm: "moffs" });
  map[0xa1] = row("mov_AO", { operands: "none", imm: "moffs" });
  map[0xa2] = row("mov_OA", { operands: "none", size: 8, imm: "moffs" });
  map[0xa3] = row("mov_OA", { operands: "none", imm: "moffs" });
  for (let r = 0; r < 8; r++) {
    map[0xb0 + r] = row("mov_EI", { operands: "opreg", size: 8, imm: "ib" });
    map[0xb8 + r] = row("mov_EI", { operands: "opreg", imm: "iv" });
  }
  map[0xc6] = group(row("mov_EI", { size: 8, imm: "ib" }));
  map[0xc7] = group(row("mov_EI", { imm: "iz" }));
  map[0xd7] = row("xlat", { operands: "none", size: 8 });
  map[0x63] = byMode(row("movsx32_GE"), row("arpl", { size: 16 }));
  map[0xc4] = byMode(null, byMod(row("les", { aux: 0 }), null));
  map[0xc5] = byMode(null, byMod(row("lds", { aux: 3 }), null));
}

function stack(map: OpcodeMap): void {
  for (let r = 0; r < 8; r++) {
    map[0x50 + r] = row("push_E", { operands: "opreg", size: "z64" });
    map[0x58 + r] = row("pop_E", { operands: "opreg", size: "z64" });
  }
  for (const [n] of SEGMENTS.entries()) {
    map[0x06 + n * 8] = row("push_sreg", { operands: "none", size: "z64", aux: n, no64: true });
    if (n !== 1) map[0x07 + n * 8] = row("pop_sreg", { operands: "none", size: "z64", aux: n, no64: true });
  }
  map[0x60] = row("pusha", { operands: "none", no64: true });
  map[0x61] = row("popa", { operands: "none", no64: true });
  map[0x68] = row("push_I", { operands: "none", size: "z64", imm: "iz" });
  map[0x6a] = row("push_I", { operands: "none", size: "z64", imm: "ib" });
  map[0x8f] = group(row("pop_E", { size: "z64" }));
  map[0x9c] = row("pushf", { operands: "none", size: "z64" });
  map[0x9d] = row("popf", { operands: "none", size: "z64" });
  map[0xc8] = row("enter", { operands: "none", size: "z64", imm: "iw_ib" });
  map[0xc9] = row("leave", { operands: "none", size: "z64" });
}

function control(map: OpcodeMap): void {
  for (let code = 0; code < 16; code++)
    map[0x70 + code] = row(`j${code}`, { operands: "none", size: "f64", imm: "rel8" });
  map[0xe0] = row("loopne", { operands: "none", size: "addr", imm: "rel8" });
  map[0xe1] = row("loope", { operands: "none", size: "addr", imm: "rel8" });
  map[0xe2] = row("loop", { operands: "none", size: "addr", imm: "rel8" });
  map[0xe3] = row("jcxz", { operands: "none", size: "addr", imm: "rel8" });
  map[0xe8] = row("call", { operands: "none", size: "f64", imm: "relz", ends: true });
  map[0xe9] = row("jmp", { operands: "none", size: "f64", imm: "relz", ends: true });
  map[0xeb] = row("jmp", { operands: "none", size: "f64", imm: "rel8", ends: true });
  map[0xc2] = row("ret_I", { operands: "none", size: "f64", imm: "iw", ends: true });
  map[0xc3] = row("ret", { operands: "none", size: "f64", ends: true });
  map[0x9a] = helper("call_far", { size: "v", imm: "far", no64: true, ends: true });
  map[0xea] = helper("jmp_far", { size: "v", imm: "far", no64: true, ends: true });
  map[0xca] = helper("ret_far", { size: "v", imm: "iw", ends: true });
  map[0xcb] = helper("ret_far", { size: "v", ends: true });
  map[0xcf] = helper("iret", { size: "v", ends: true });
  map[0xcc] = helper("int3", { ends: true });
  map[0xcd] = helper("int_n", { imm: "ib", ends: true });
  map[0xce] = helper("into", { no64: true });
  map[0xf1] = helper("int1", { ends: true });
  map[0x62] = byMode(null, byMod(row("bound"), null));
  map[0xff] = group(
    row("inc_E", { lock: true }),
    row("dec_E", { lock: true }),
    row("call_E", { size: "f64", ends: true }),
    byMod(row("call_far_m", { ends: true }), null),
    row("jmp_E", { size: "f64", ends: true }),
    byMod(row("jmp_far_m", { ends: true }), null),
    row("push_E", { size: "z64" }),
  );
}

function system(map: OpcodeMap): void {
  for (const [opcode, name] of [
    [0xf5, "cmc"],
    [0xf8, "clc"],
    [0xf9, "stc"],
    [0xfc, "cld"],
    [0xfd, "std"],
  ] as const)
    map[opcode] = helper(name);
  map[0xfa] = helper("cli");
  map[0xfb] = helper("sti");
  map[0xf4] = helper("hlt", { ends: true });
  map[0x9b] = helper("fwait");
  map[0xd6] = helper("salc", { no64: true });
  map[0xe4] = helper("in_imm", { size: 8, imm: "ib", aux: 1 });
  map[0xe5] = helper("in_imm", { size: "v", imm: "ib", aux: 4 });
  map[0xe6] = helper("out_imm", { size: 8, imm: "ib", aux: 1 });
  map[0xe7] = helper("out_imm", { size: "v", imm: "ib", aux: 4 });
  map[0xec] = helper("in_dx", { size: 8, aux: 1 });
  map[0xed] = helper("in_dx", { size: "v", aux: 4 });
  map[0xee] = helper("out_dx", { size: 8, aux: 1 });
  map[0xef] = helper("out_dx", { size: "v", aux: 4 });
  map[0x6c] = helper("ins", { aux: 1 });
  map[0x6d] = helper("ins", { size: "v", aux: 4 });
  map[0x6e] = helper("outs", { aux: 1 });
  map[0x6f] = helper("outs", { size: "v", aux: 4 });
  for (const [opcode, name] of [
    [0xa4, "movs"],
    [0xa6, "cmps"],
    [0xaa, "stos"],
    [0xac, "lods"],
    [0xae, "scas"],
  ] as const) {
    map[opcode] = row(name, { operands: "none", size: 8 });
    map[opcode + 1] = row(name, { operands: "none" });
  }
  for (let n = 0; n < 8; n++) map[0xd8 + n] = row("x87", { size: "v", reg: "raw", rm: "raw" });
}

export function oneByteMap(): OpcodeMap {
  const map = emptyMap();
  arithmetic(map);
  moves(map);
  stack(map);
  control(map);
  system(map);
  return map;
}
