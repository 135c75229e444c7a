/** Every SSE floating-point operation against the host's processor (Intel SDM vol 2). */
import { afterAll, describe, expect, it } from "vitest";
import {
  caseCount,
  HostOracle,
  IN,
  OUT,
  RECORD,
  randomF32,
  randomF64,
  SIGFPE,
  TestRng,
} from "./oracle/host.testkit.ts";
import { sseOp } from "./sse.ts";
import { SSE_OP } from "./sse-ops.ts";

const oracle = HostOracle.create();
afterAll(() => oracle?.dispose());

type Name = keyof typeof SSE_OP;
type Source = "f32" | "f64" | "i32" | "i64";
/** Where the result goes: XMM0, RAX, MM0 or EFLAGS; and where the source is: XMM1 or memory at [rdi]. */
interface Form {
  readonly name: Name;
  readonly code: readonly number[];
  readonly source: Source;
  readonly to: "xmm" | "gpr" | "mm" | "eflags";
  readonly memory: boolean;
  readonly immediate: boolean;
}

const PREFIX: Record<string, number[]> = { PS: [], PD: [0x66], SS: [0xf3], SD: [0xf2] };

function form(name: Name, code: number[], source: Source, more: Partial<Form> = {}): Form {
  return { name, code, source, to: "xmm", memory: false, immediate: false, ...more };
}

/** XMM0, XMM1 as ModRM; XMM0, [rdi]; a register destination 0. */
const REG = 0xc1;
const MEM = 0x07;

/** Families with the four forms PS, PD, SS, SD: opcode, and whether an immediate follows. */
const FOUR_FORMS: [string, number, boolean][] = [
  ["ADD", 0x58, false],
  ["MUL", 0x59, false],
  ["SUB", 0x5c, false],
  ["MIN", 0x5d, false],
  ["DIV", 0x5e, false],
  ["MAX", 0x5f, false],
  ["SQRT", 0x51, false],
  ["CMP", 0xc2, true],
];

function forms(): Form[] {
  const list: Form[] = [];
  for (const [base, opcode, immediate] of FOUR_FORMS) {
    for (const kind of ["PS", "PD", "SS", "SD"]) {
      const source = kind.endsWith("D") ? "f64" : "f32";
      list.push(form(`${base}${kind}` as Name, [...PREFIX[kind]!, 0x0f, opcode, REG], source, { immediate }));
    }
  }
  for (const [kind, opcode] of [
    ["PS", 0x08],
    ["PD", 0x09],
    ["SS", 0x0a],
    ["SD", 0x0b],
  ] as const) {
    const source = kind.endsWith("D") ? "f64" : "f32";
    list.push(form(`ROUND${kind}` as Name, [0x66, 0x0f, 0x3a, opcode, REG], source, { immediate: true }));
  }
  for (const [base, opcode] of [
    ["HADD", 0x7c],
    ["HSUB", 0x7d],
    ["ADDSUB", 0xd0],
  ] as const) {
    list.push(form(`${base}PS` as Name, [0xf2, 0x0f, opcode, REG], "f32"));
    list.push(form(`${base}PD` as Name, [0x66, 0x0f, opcode, REG], "f64"));
  }
  list.push(form("DPPS", [0x66, 0x0f, 0x3a, 0x40, REG], "f32", { immediate: true }));
  list.push(form("DPPD", [0x66, 0x0f, 0x3a, 0x41, REG], "f64", { immediate: true }));
  list.push(form("COMISS", [0x0f, 0x2f, REG], "f32", { to: "eflags" }));
  list.push(form("COMISD", [0x66, 0x0f, 0x2f, REG], "f64", { to: "eflags" }));
  list.push(form("UCOMISS", [0x0f, 0x2e, REG], "f32", { to: "eflags" }));
  list.push(form("UCOMISD", [0x66, 0x0f, 0x2e, REG], "f64", { to: "eflags" }));
  list.push(form("CVTPS2PD", [0x0f, 0x5a, REG], "f32"));
  list.push(form("CVTPD2PS", [0x66, 0x0f, 0x5a, REG], "f64"));
  list.push(form("CVTSS2SD", [0xf3, 0x0f, 0x5a, REG], "f32"));
  list.push(form("CVTSD2SS", [0xf2, 0x0f, 0x5a, REG], "f64"));
  list.push(form("CVTPI2PS", [0x0f, 0x2a, MEM], "i32", { memory: true }));
  list.push(form("CVTPI2PD", [0x66, 0x0f, 0x2a, MEM], "i32", { memory: true }));
  list.push(form("CVTDQ2PS", [0x0f, 0x5b, REG], "i32"));
  list.push(form("CVTDQ2PD", [0xf3, 0x0f, 0xe6, REG], "i32"));
  list.push(form("CVTPS2PI", [0x0f, 0x2d, REG], "f32", { to: "mm" }));
  list.push(form("CVTTPS2PI", [0x0f, 0x2c, REG], "f32", { to: "mm" }));
  list.push(form("CVTPD2PI", [0x66, 0x0f, 0x2d, REG], "f64", { to: "mm" }));
  list.push(form("CVTTPD2PI", [0x66, 0x0f, 0x2c, REG], "f64", { to: "mm" }));
  list.push(form("CVTPS2DQ", [0x66, 0x0f, 0x5b, REG], "f32"));
  list.push(form("CVTTPS2DQ", [0xf3, 0x0f, 0x5b, REG], "f32"));
  list.push(form("CVTPD2DQ", [0xf2, 0x0f, 0xe6, REG], "f64"));
  list.push(form("CVTTPD2DQ", [0x66, 0x0f, 0xe6, REG], "f64"));
  for (const [kind, prefix] of [
    ["SS", 0xf3],
    ["SD", 0xf2],
  ] as const) {
    const source = kind === "SD" ? "f64" : "f32";
    const to = "gpr";
    list.push(form(`CVTSI2${kind}32`, [prefix, 0x0f, 0x2a, MEM], "i32", { memory: true }));
    list.push(form(`CVTSI2${kind}64`, [prefix, 0x48, 0x0f, 0x2a, MEM], "i64", { memory: true }));
    list.push(form(`CVT${kind}2SI32`, [prefix, 0x0f, 0x2d, REG], source, { to }));
    list.push(form(`CVT${kind}2SI64`, [prefix, 0x48, 0x0f, 0x2d, REG], source, { to }));
    list.push(form(`CVTT${kind}2SI32`, [prefix, 0x0f, 0x2c, REG], source, { to }));
    list.push(form(`CVTT${kind}2SI64`, [prefix, 0x48, 0x0f, 0x2c, REG], source, { to }));
  }
  return list;
}

function fillOperand(view: DataView, at: number, rng: TestRng, source: Source): void {
  for (let i = 0; i < 4; i++) {
    if (source === "f32") view.setUint32(at + i * 4, randomF32(rng), true);
    else if (source === "i32" || source === "i64") {
      view.setUint32(at + i * 4, rng.below(3) === 0 ? rng.pick([0, 1, 0x80000000, 0x7fffffff, -1]) : rng.u32(), true);
    } else if (i < 2) {
      const [hi, lo] = randomF64(rng);
      view.setUint32(at + i * 8, lo, true);
      view.setUint32(at + i * 8 + 4, hi, true);
    }
  }
}

function fill(view: DataView, at: number, rng: TestRng, f: Form): void {
  const imm = rng.u32() & 0xff & (f.name.startsWith("CMP") ? 7 : f.name.startsWith("ROUND") ? 15 : 0xff);
  [...f.code, ...(f.immediate ? [imm] : []), 0xc3].forEach((byte, i) => {
    view.setUint8(at + IN.code + i, byte);
  });
  const masks = rng.below(4) === 0 ? rng.below(64) : 63;
  const mode = rng.below(3) === 0 ? rng.pick([0x8000, 0x40, 0x8040]) : 0;
  const sticky = rng.below(4) === 0 ? rng.below(64) : 0;
  view.setUint32(at + IN.mxcsr, (masks << 7) | ((rng.below(2) * rng.below(4)) << 13) | mode | sticky, true);
  view.setUint32(at + IN.eflags, 0x202, true);
  view.setUint32(at + IN.fpu, 0xffff037f, true);
  view.setUint32(at + IN.fpu + 4, 0xffff0000, true);
  view.setUint32(at + IN.fpu + 8, 0xffffffff, true);
  fillOperand(view, at + IN.xmm0, rng, f.source === "i32" || f.source === "i64" ? "f64" : f.source);
  fillOperand(view, at + IN.xmm1, rng, f.source);
  if (rng.below(8) === 0) for (let i = 0; i < 16; i++) view.setUint8(at + IN.xmm1 + i, view.getUint8(at + IN.xmm0 + i));
  fillOperand(view, at + IN.mem, rng, f.source);
}

function hex(view: DataView, at: number, length: number): string {
  let s = "";
  for (let i = length - 1; i >= 0; i--)
    s += view
      .getUint8(at + i)
      .toString(16)
      .padStart(2, "0");
  return s;
}

/** Memory of the model: dst at 0, src at 16, MXCSR at 32. */
const ours = new DataView(new ArrayBuffer(64));

/** Runs one record on the model and returns a difference from the host's answer as text, or undefined. */
function difference(input: DataView, host: DataView, at: number, f: Form): string | undefined {
  const bytes = new Uint8Array(ours.buffer);
  const record = new Uint8Array(input.buffer, input.byteOffset + at, RECORD);
  bytes.set(record.subarray(IN.xmm0, IN.xmm0 + 16), 0);
  const from = f.memory ? IN.mem : IN.xmm1;
  bytes.set(record.subarray(from, from + 16), 16);
  ours.setUint32(32, input.getUint32(at + IN.mxcsr, true), true);
  const imm = f.immediate ? input.getUint8(at + f.code.length) : 0;
  const result = sseOp(SSE_OP[f.name], ours, 0, 16, imm, 32);
  const raised = host.getUint32(at + OUT.signal, true) === SIGFPE;
  const context = () =>
    `${f.name} imm ${imm} mxcsr ${hex(input, at + IN.mxcsr, 4)} a ${hex(input, at + IN.xmm0, 16)} b ${hex(input, at + from, 16)}` +
    `\n  host  ${raised ? "#XM" : ""} mxcsr ${hex(host, at + OUT.mxcsr, 4)} ${hex(host, at + OUT.xmm0, 16)} rax ${hex(host, at + OUT.rax, 8)} eflags ${hex(host, at + OUT.eflags, 4)}` +
    `\n  model ${result & 1 ? "#XM" : ""} mxcsr ${hex(ours, 32, 4)} ${hex(ours, 0, 16)} ${result}`;
  if (host.getUint32(at + OUT.mxcsr, true) !== ours.getUint32(32, true) || raised !== ((result & 1) !== 0))
    return context();
  if (raised) return hex(ours, 0, 16) === hex(input, at + IN.xmm0, 16) ? undefined : context();
  if (f.to === "eflags") {
    return (host.getUint32(at + OUT.eflags, true) & 0x8d5) === result >>> 8 ? undefined : context();
  }
  const length = f.to === "xmm" ? 16 : f.to === "mm" || f.name.endsWith("64") ? 8 : 4;
  const where = f.to === "xmm" ? OUT.xmm0 : f.to === "mm" ? OUT.fpu + 28 : OUT.rax;
  return hex(host, at + where, length) === hex(ours, 0, length) ? undefined : context();
}

describe.skipIf(oracle === undefined)("SSE floating point against the host's processor", () => {
  it.each(forms())("$name gives the host's results, flags and #XM", f => {
    const count = caseCount(2000);
    const rng = new TestRng(SSE_OP[f.name] + 1000);
    const buffer = new Uint8Array(count * RECORD);
    const input = new DataView(buffer.buffer);
    for (let n = 0; n < count; n++) fill(input, n * RECORD, rng, f);
    const host = oracle!.run(buffer);
    const found: string[] = [];
    for (let n = 0; n < count; n++) {
      const d = difference(input, host, n * RECORD, f);
      if (d !== undefined) found.push(d);
    }
    expect(`${found.length} differences\n${found.slice(0, 3).join("\n")}`).toBe("0 differences\n");
  });
});
