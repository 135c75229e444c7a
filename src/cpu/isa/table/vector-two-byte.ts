/** Vector instructions of the map 0F (Intel SDM vol. 2, table A-3). The columns of {@link prefixed}: none, 66, F3, F2. */
import { byMod, group, type Node, type OpcodeMap } from "./node.ts";
import { both, IB, mmx, place, prefixed, xmm } from "./vector-rows.ts";

function moves(map: OpcodeMap): void {
  const u = (way: string, feature: string): Node => xmm(`movu_${way}_xmm`, feature);
  const a = (way: string, feature: string): Node => xmm(`mova_${way}_xmm`, feature);
  for (const [opcode, way] of [
    [0x10, "load"],
    [0x11, "store"],
  ] as const) {
    const ss = xmm(`movss_${way}_xmm`, "sse", { size: 32 });
    const sd = xmm(`movsd_${way}_xmm`, "sse2", { size: 64 });
    place(map, opcode, prefixed(u(way, "sse"), u(way, "sse2"), ss, sd));
  }
  const half = (name: string, feature: string): Node => xmm(`${name}_xmm`, feature, { size: 64, only: "mem" });
  const duplicate = (name: string): Node => xmm(`${name}_xmm`, "sse3");
  const low = byMod(half("movl_load", "sse"), xmm("movhlps_xmm", "sse"));
  const high = byMod(half("movh_load", "sse"), xmm("movlhps_xmm", "sse"));
  const ddup = xmm("movddup_xmm", "sse3", { size: 64 });
  place(map, 0x12, prefixed(low, half("movl_load", "sse2"), duplicate("movsldup"), ddup));
  place(map, 0x13, prefixed(half("movl_store", "sse"), half("movl_store", "sse2")));
  place(map, 0x16, prefixed(high, half("movh_load", "sse2"), duplicate("movshdup")));
  place(map, 0x17, prefixed(half("movh_store", "sse"), half("movh_store", "sse2")));
  place(map, 0x28, prefixed(a("load", "sse"), a("load", "sse2")));
  place(map, 0x29, prefixed(a("store", "sse"), a("store", "sse2")));
  place(map, 0x2b, byMod(prefixed(a("store", "sse"), a("store", "sse2")), null));
  const gpr = { size: "y", rm: "gpr" } as const;
  place(map, 0x6e, prefixed(mmx("movd_load_mmx", "mmx", gpr), xmm("movd_load_xmm", "sse2", gpr)));
  place(map, 0x6f, prefixed(mmx("movq_load_mmx", "mmx"), a("load", "sse2"), u("load", "sse2")));
  const movq = xmm("movq_load_xmm", "sse2", { size: 64 });
  place(map, 0x7e, prefixed(mmx("movd_store_mmx", "mmx", gpr), xmm("movd_store_xmm", "sse2", gpr), movq));
  place(map, 0x7f, prefixed(mmx("movq_store_mmx", "mmx"), a("store", "sse2"), u("store", "sse2")));
  const q2dq = xmm("movq2dq", "sse2", { rm: "mmx", only: "reg" });
  const dq2q = xmm("movdq2q", "sse2", { reg: "mmx", only: "reg" });
  place(map, 0xd6, prefixed(null, xmm("movq_store_xmm", "sse2", { size: 64 }), q2dq, dq2q));
  place(map, 0xe7, byMod(prefixed(mmx("movq_store_mmx", "sse"), a("store", "sse2")), null));
  place(map, 0xf0, prefixed(null, null, null, byMod(u("load", "sse3"), null)));
  const onlyReg = { only: "reg" } as const;
  place(map, 0xf7, prefixed(mmx("maskmovq", "sse", onlyReg), xmm("maskmovdqu", "sse2", onlyReg)));
}

function shuffles(map: OpcodeMap): void {
  const floats = (opcode: number, ps: string, pd: string, options = {}): void =>
    place(map, opcode, prefixed(xmm(ps, "sse", options), xmm(pd, "sse2", options)));
  floats(0x14, "unpcklps_xmm", "punpcklqdq_xmm");
  floats(0x15, "unpckhps_xmm", "punpckhqdq_xmm");
  floats(0x54, "andps_xmm", "andps_xmm");
  floats(0x55, "andnps_xmm", "andnps_xmm");
  floats(0x56, "orps_xmm", "orps_xmm");
  floats(0x57, "xorps_xmm", "xorps_xmm");
  floats(0xc6, "shufps_xmm", "shufpd_xmm", IB);
  const mask = { reg: "gpr", size: 32, only: "reg" } as const;
  floats(0x50, "movmskps_xmm", "movmskpd_xmm", mask);
  place(map, 0xd7, prefixed(mmx("pmovmskb_mmx", "sse", mask), xmm("pmovmskb_xmm", "sse2", mask)));
  const words = ["punpcklbw", "punpcklwd", "punpckldq", "packsswb", "pcmpgtb", "pcmpgtw", "pcmpgtd", "packuswb"];
  for (const [i, name] of words.entries()) both(map, 0x60 + i, name);
  for (const [i, name] of ["punpckhbw", "punpckhwd", "punpckhdq", "packssdw"].entries()) both(map, 0x68 + i, name);
  place(map, 0x6c, prefixed(null, xmm("punpcklqdq_xmm", "sse2")));
  place(map, 0x6d, prefixed(null, xmm("punpckhqdq_xmm", "sse2")));
  place(
    map,
    0x70,
    prefixed(
      mmx("pshufw_mmx", "sse", IB),
      xmm("pshufd_xmm", "sse2", IB),
      xmm("pshufhw_xmm", "sse2", IB),
      xmm("pshuflw_xmm", "sse2", IB),
    ),
  );
  const insert = { rm: "gpr", size: 32, ...IB } as const;
  place(map, 0xc4, prefixed(mmx("pinsrw_mmx", "sse", insert), xmm("pinsrw_xmm", "sse2", insert)));
  const extract = { reg: "gpr", size: 32, only: "reg", ...IB } as const;
  place(map, 0xc5, prefixed(mmx("pextrw_reg_mmx", "sse", extract), xmm("pextrw_reg_xmm", "sse2", extract)));
}

/** Shifts by an immediate, selected by ModRM.reg. */
function shifts(map: OpcodeMap): void {
  const options = { ...IB, only: "reg" } as const;
  const shift = (name: string): Node =>
    prefixed(mmx(`${name}_imm_mmx`, "mmx", options), xmm(`${name}_imm_xmm`, "sse2", options));
  const bytes = (name: string): Node => prefixed(null, xmm(`${name}_imm_xmm`, "sse2", options));
  place(map, 0x71, group(null, null, shift("psrlw"), null, shift("psraw"), null, shift("psllw"), null));
  place(map, 0x72, group(null, null, shift("psrld"), null, shift("psrad"), null, shift("pslld"), null));
  place(map, 0x73, group(null, null, shift("psrlq"), bytes("psrldq"), null, null, shift("psllq"), bytes("pslldq")));
}

/** 0F D0-FF: opcode, name, and the feature that brought the MMX form where it is later than MMX. */
const INTEGER: readonly (readonly [number, string, string?])[] = [
  [0x74, "pcmpeqb"],
  [0x75, "pcmpeqw"],
  [0x76, "pcmpeqd"],
  [0xd1, "psrlw"],
  [0xd2, "psrld"],
  [0xd3, "psrlq"],
  [0xd4, "paddq", "sse2"],
  [0xd5, "pmullw"],
  [0xd8, "psubusb"],
  [0xd9, "psubusw"],
  [0xda, "pminub", "sse"],
  [0xdb, "pand"],
  [0xdc, "paddusb"],
  [0xdd, "paddusw"],
  [0xde, "pmaxub", "sse"],
  [0xdf, "pandn"],
  [0xe0, "pavgb", "sse"],
  [0xe1, "psraw"],
  [0xe2, "psrad"],
  [0xe3, "pavgw", "sse"],
  [0xe4, "pmulhuw", "sse"],
  [0xe5, "pmulhw"],
  [0xe8, "psubsb"],
  [0xe9, "psubsw"],
  [0xea, "pminsw", "sse"],
  [0xeb, "por"],
  [0xec, "paddsb"],
  [0xed, "paddsw"],
  [0xee, "pmaxsw", "sse"],
  [0xef, "pxor"],
  [0xf1, "psllw"],
  [0xf2, "pslld"],
  [0xf3, "psllq"],
  [0xf4, "pmuludq", "sse2"],
  [0xf5, "pmaddwd"],
  [0xf6, "psadbw", "sse"],
  [0xf8, "psubb"],
  [0xf9, "psubw"],
  [0xfa, "psubd"],
  [0xfb, "psubq", "sse2"],
  [0xfc, "paddb"],
  [0xfd, "paddw"],
  [0xfe, "paddd"],
];

/** Floating-point arithmetic with the four forms PS, PD, SS, SD. */
const ARITHMETIC: readonly (readonly [number, string])[] = [
  [0x51, "sqrt"],
  [0x58, "add"],
  [0x59, "mul"],
  [0x5c, "sub"],
  [0x5d, "min"],
  [0x5e, "div"],
  [0x5f, "max"],
  [0xc2, "cmp"],
];

function floats(map: OpcodeMap): void {
  for (const [opcode, name] of ARITHMETIC) {
    const options = name === "cmp" ? IB : {};
    const form = (kind: string, feature: string, size: 32 | 64 | 128): Node =>
      xmm(`${name}${kind}_xmm`, feature, { ...options, size });
    place(
      map,
      opcode,
      prefixed(form("ps", "sse", 128), form("pd", "sse2", 128), form("ss", "sse", 32), form("sd", "sse2", 64)),
    );
  }
  for (const [opcode, name] of [
    [0x52, "rsqrt"],
    [0x53, "rcp"],
  ] as const)
    place(map, opcode, prefixed(xmm(`${name}ps_xmm`, "sse"), null, xmm(`${name}ss_xmm`, "sse", { size: 32 })));
  for (const [opcode, name] of [
    [0x7c, "hadd"],
    [0x7d, "hsub"],
    [0xd0, "addsub"],
  ] as const)
    place(map, opcode, prefixed(null, xmm(`${name}pd_xmm`, "sse3"), null, xmm(`${name}ps_xmm`, "sse3")));
  for (const [opcode, name] of [
    [0x2e, "ucomi"],
    [0x2f, "comi"],
  ] as const)
    place(map, opcode, prefixed(xmm(`${name}ss_xmm`, "sse", { size: 32 }), xmm(`${name}sd_xmm`, "sse2", { size: 64 })));
}

function conversions(map: OpcodeMap): void {
  const x = (name: string, options = {}, feature = "sse2"): Node => xmm(`${name}_xmm`, feature, options);
  const fromMmx = { rm: "mmx" } as const;
  const toMmx = { reg: "mmx" } as const;
  const fromGpr = { rm: "gpr", size: "y" } as const;
  const toGpr = { reg: "gpr", size: "y" } as const;
  place(
    map,
    0x2a,
    prefixed(
      x("cvtpi2ps", fromMmx, "sse"),
      x("cvtpi2pd", fromMmx),
      x("cvtsi2ss", fromGpr, "sse"),
      x("cvtsi2sd", fromGpr),
    ),
  );
  for (const [opcode, t] of [
    [0x2c, "t"],
    [0x2d, ""],
  ] as const)
    place(
      map,
      opcode,
      prefixed(
        x(`cvt${t}ps2pi`, toMmx, "sse"),
        x(`cvt${t}pd2pi`, toMmx),
        x(`cvt${t}ss2si`, toGpr, "sse"),
        x(`cvt${t}sd2si`, toGpr),
      ),
    );
  place(map, 0x5a, prefixed(x("cvtps2pd"), x("cvtpd2ps"), x("cvtss2sd"), x("cvtsd2ss")));
  place(map, 0x5b, prefixed(x("cvtdq2ps"), x("cvtps2dq"), x("cvttps2dq")));
  place(map, 0xe6, prefixed(null, x("cvttpd2dq"), x("cvtdq2pd"), x("cvtpd2dq")));
}

export function addTwoByteRows(map: OpcodeMap): void {
  moves(map);
  shuffles(map);
  shifts(map);
  for (const [opcode, name, feature] of INTEGER) both(map, opcode, name, [feature ?? "mmx", "sse2"]);
  floats(map);
  conversions(map);
}
