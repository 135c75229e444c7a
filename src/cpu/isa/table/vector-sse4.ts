/** The maps 0F 38 and 0F 3A: SSSE3, SSE4.1, SSE4.2, CRC32 and MOVBE (Intel SDM vol. 2, tables ). */
import { byMod, type Node, type OpcodeMap, row } from "./node.ts";
import { both, IB, mmx, place, prefixed, xmm } from "./vector-rows.ts";

const SSSE3 = ["ssse3", "ssse3"] as const;

function addMap38(map: OpcodeMap): void {
  const ssse3 = ["pshufb", "phaddw", "phaddd", "phaddsw", "pmaddubsw", "phsubw", "phsubd", "phsubsw"];
  ssse3.push("psignb", "psignw", "psignd", "pmulhrsw");
  for (const [i, name] of ssse3.entries()) both(map, i, name, SSSE3);
  for (const [i, name] of ["pabsb", "pabsw", "pabsd"].entries()) both(map, 0x1c + i, name, SSSE3);
  const sse41 = (opcode: number, name: string, options = {}): void =>
    place(map, opcode, prefixed(null, xmm(`${name}_xmm`, "sse41", options)));
  for (const [i, kind] of ["bw", "bd", "bq", "wd", "wq", "dq"].entries()) {
    sse41(0x20 + i, `pmovsx${kind}`);
    sse41(0x30 + i, `pmovzx${kind}`);
  }
  sse41(0x10, "pblendvb");
  sse41(0x14, "blendvps");
  sse41(0x15, "blendvpd");
  sse41(0x17, "ptest");
  sse41(0x28, "pmuldq");
  sse41(0x29, "pcmpeqq");
  sse41(0x2a, "mova_load", { only: "mem" });
  sse41(0x2b, "packusdw");
  const minMax = ["pminsb", "pminsd", "pminuw", "pminud", "pmaxsb", "pmaxsd", "pmaxuw", "pmaxud", "pmulld"];
  for (const [i, name] of minMax.entries()) sse41(0x38 + i, name);
  sse41(0x41, "phminposuw");
  place(map, 0x37, prefixed(null, xmm("pcmpgtq_xmm", "sse42")));
  const load = byMod(row("movbe_load", { feature: "movbe" }), null);
  const store = byMod(row("movbe_store", { feature: "movbe" }), null);
  const crc8 = row("crc32b", { size: "y", rm8: true, feature: "sse42" });
  place(map, 0xf0, prefixed(load, load, null, crc8));
  place(map, 0xf1, prefixed(store, store, null, row("crc32", { feature: "sse42" })));
}

function addMap3a(map: OpcodeMap): void {
  const sse41 = (opcode: number, name: string, options = {}): void =>
    place(map, opcode, prefixed(null, xmm(`${name}_xmm`, "sse41", { ...IB, ...options })));
  sse41(0x08, "roundps");
  sse41(0x09, "roundpd");
  sse41(0x0a, "roundss", { size: 32 });
  sse41(0x0b, "roundsd", { size: 64 });
  sse41(0x0c, "blendps");
  sse41(0x0d, "blendpd");
  sse41(0x0e, "pblendw");
  place(map, 0x0f, prefixed(mmx("palignr_mmx", "ssse3", IB), xmm("palignr_xmm", "ssse3", IB)));
  const gpr = { rm: "gpr", size: 32 } as const;
  sse41(0x14, "pextrb", gpr);
  sse41(0x15, "pextrw", gpr);
  sse41(0x16, "pextrd", { rm: "gpr", size: "y" });
  sse41(0x17, "extractps", gpr);
  sse41(0x20, "pinsrb", gpr);
  sse41(0x21, "insertps");
  sse41(0x22, "pinsrd", { rm: "gpr", size: "y" });
  sse41(0x40, "dpps");
  sse41(0x41, "dppd");
  sse41(0x42, "mpsadbw");
  const string = (name: string): Node => xmm(`${name}_xmm`, "sse42", { ...IB, size: "y" });
  for (const [i, name] of ["pcmpestrm", "pcmpestri", "pcmpistrm", "pcmpistri"].entries())
    place(map, 0x60 + i, prefixed(null, string(name)));
}

export function addSse4Rows(map38: OpcodeMap, map3a: OpcodeMap): void {
  addMap38(map38);
  addMap3a(map3a);
}
