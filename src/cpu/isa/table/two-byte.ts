/** The two-byte opcode map 0F xx, without vector instructions (Intel SDM vol. 2, table A-3). */
import { byMod, byMode, byPrefix, byRm, emptyMap, group, type Node, type OpcodeMap, row } from "./node.ts";

type Options = Parameters<typeof row>[1];
const helper = (name: string, options: Options = {}): Node => row(name, { operands: "none", size: 32, ...options });
/** A helper with a ModRM operand. */
const modrm = (name: string, options: Options = {}): Node => row(name, { size: 32, ...options });

function system(map: OpcodeMap): void {
  map[0x00] = group(
    row("sldt"),
    row("str"),
    row("lldt", { size: 16 }),
    row("ltr", { size: 16 }),
    row("verr", { size: 16 }),
    row("verw", { size: 16 }),
  );
  map[0x01] = group(
    byMod(
      modrm("sgdt"),
      byRm([null, helperRm("vmcall"), helperRm("vmlaunch"), helperRm("vmresume"), helperRm("vmxoff")]),
    ),
    byMod(
      modrm("sidt"),
      byRm([
        byPrefix(helperRm("monitor")),
        byPrefix(helperRm("mwait")),
        byPrefix(helperRm("clac", "smap")),
        byPrefix(helperRm("stac", "smap")),
      ]),
    ),
    byMod(row("lgdt"), byRm([byPrefix(helperRm("xgetbv", "xsave")), byPrefix(helperRm("xsetbv", "xsave"))])),
    byMod(row("lidt"), null),
    row("smsw"),
    null,
    row("lmsw", { size: 16 }),
    byMod(modrm("invlpg"), byRm([byMode(helperRm("swapgs"), null), helperRm("rdtscp", "rdtscp")])),
  );
  map[0x02] = row("lar");
  map[0x03] = row("lsl");
  map[0x05] = byMode(helper("syscall", { size: "v", ends: true }), helper("syscall", { size: "v", ends: true }));
  map[0x06] = helper("clts");
  map[0x07] = helper("sysret", { size: "v", ends: true });
  map[0x08] = helper("invd");
  map[0x09] = helper("wbinvd");
  map[0x0b] = helper("ud2");
  map[0x0d] = row("nop", { size: 32 });
  map[0x1f] = row("nop", { size: 32 });
  for (const opcode of [0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e]) map[opcode] = row("nop", { size: 32 });
  map[0x20] = row("mov_from_cr", { size: "q", reg: "raw", modIgnored: true });
  map[0x21] = row("mov_from_dr", { size: "q", reg: "raw", modIgnored: true });
  map[0x22] = row("mov_to_cr", { size: "q", reg: "raw", modIgnored: true });
  map[0x23] = row("mov_to_dr", { size: "q", reg: "raw", modIgnored: true });
  map[0x30] = helper("wrmsr");
  map[0x31] = helper("rdtsc");
  map[0x32] = helper("rdmsr");
  map[0x33] = helper("rdpmc");
  map[0x34] = helper("sysenter", { size: "v", ends: true });
  map[0x35] = helper("sysexit", { size: "v", ends: true });
  map[0xa2] = helper("cpuid");
  map[0xaa] = helper("rsm", { ends: true });
  map[0x77] = byPrefix(helper("emms"));
  map[0x0a] = null;
  map[0xff] = modrm("ud0");
  map[0xb9] = modrm("ud1");
}
function helperRm(name: string, feature?: string): Node {
  return row(name, feature === undefined ? { size: 32, rm: "raw" } : { size: 32, rm: "raw", feature });
}

function control(map: OpcodeMap): void {
  for (let code = 0; code < 16; code++) {
    map[0x40 + code] = row(`cmov${code}_GE`);
    map[0x80 + code] = row(`j${code}`, { operands: "none", size: "f64", imm: "relz" });
    map[0x90 + code] = row(`set${code}_E`, { size: 8 });
  }
  map[0xa0] = row("push_sreg", { operands: "none", size: "z64", aux: 4 });
  map[0xa1] = row("pop_sreg", { operands: "none", size: "z64", aux: 4 });
  map[0xa8] = row("push_sreg", { operands: "none", size: "z64", aux: 5 });
  map[0xa9] = row("pop_sreg", { operands: "none", size: "z64", aux: 5 });
}

function integer(map: OpcodeMap): void {
  map[0xa3] = row("bt_EG");
  map[0xab] = row("bts_EG", { lock: true });
  map[0xb3] = row("btr_EG", { lock: true });
  map[0xbb] = row("btc_EG", { lock: true });
  const bits = (name: string, lock = true): Node => row(`${name}_EI`, { imm: "ib", lock });
  map[0xba] = group(null, null, null, null, bits("bt", false), bits("bts"), bits("btr"), bits("btc"));
  map[0xa4] = row("shld_EI", { imm: "ib" });
  map[0xa5] = row("shld_EC");
  map[0xac] = row("shrd_EI", { imm: "ib" });
  map[0xad] = row("shrd_EC");
  map[0xaf] = row("imul_GE");
  map[0xb0] = row("cmpxchg_EG", { size: 8, lock: true });
  map[0xb1] = row("cmpxchg_EG", { lock: true });
  map[0xb2] = byMod(row("lss", { aux: 2 }), null);
  map[0xb4] = byMod(row("lfs", { aux: 4 }), null);
  map[0xb5] = byMod(row("lgs", { aux: 5 }), null);
  map[0xb6] = row("movzx8_GE", { rm8: true });
  map[0xb7] = row("movzx16_GE");
  map[0xbe] = row("movsx8_GE", { rm8: true });
  map[0xbf] = row("movsx16_GE");
  map[0xb8] = byPrefix(null, null, row("popcnt_GE", { feature: "popcnt" }), null);
  // No BMI: an F3 prefix does not make BSF a TZCNT (SDM vol. 2, "TZCNT").
  map[0xbc] = row("bsf_GE");
  map[0xbd] = byPrefix(row("bsr_GE"), row("bsr_GE"), row("lzcnt_GE", { feature: "abm" }), row("bsr_GE"));
  map[0xc0] = row("xadd_EG", { size: 8, lock: true });
  map[0xc1] = row("xadd_EG", { lock: true });
  map[0xc3] = byPrefix(byMod(row("mov_EG", { size: "y" }), null));
  map[0xc7] = group(
    null,
    byMod(row("cmpxchg8b", { lock: true }), null),
    null,
    null,
    null,
    null,
    byMod(null, null),
    byMod(null, null),
  );
  for (let r = 0; r < 8; r++) map[0xc8 + r] = row("bswap_E", { operands: "opreg" });
  map[0xae] = stateGroup();
}

/** 0F AE: a prefix makes another instruction or #UD of each (Intel SDM vol. 2, table A-6, group 15). */
function stateGroup(): Node {
  const base = (name: string): Node => byPrefix(null, null, row(name, { size: "y", feature: "fsgsbase" }));
  /** MFENCE, SFENCE. */
  const orders = byPrefix(row("fence", { size: 32, rm: "raw" }));
  const fence = byPrefix(row("nop", { size: 32, rm: "raw" }));
  const xsave = (name: string): Node => byPrefix(row(name, { size: "y", feature: "xsave" }));
  return group(
    byMod(byPrefix(row("fxsave", { size: "y" })), base("rdfsbase")),
    byMod(byPrefix(row("fxrstor", { size: "y" })), base("rdgsbase")),
    byMod(byPrefix(row("ldmxcsr", { size: 32 })), base("wrfsbase")),
    byMod(byPrefix(row("stmxcsr", { size: 32 })), base("wrgsbase")),
    byMod(xsave("xsave"), null),
    byMod(xsave("xrstor"), fence),
    byMod(
      byPrefix(row("xsaveopt", { size: "y", feature: "xsave" }), row("clwb", { size: 8, feature: "clwb" })),
      orders,
    ),
    byMod(byPrefix(row("clflush", { size: 8 }), row("clflush", { size: 8, feature: "clflushopt" })), orders),
  );
}

export function twoByteMap(): OpcodeMap {
  const map = emptyMap();
  system(map);
  control(map);
  integer(map);
  return map;
}
