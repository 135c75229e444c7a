/**
 * Every encoding of a vector instruction against the host's processor: random operands, all registers, flags, MXCSR, x87 state and memory afterwards.
 * RCP and RSQRT are left out: their results are each model's own (Intel SDM vol. 2, RCPPS). Skipped where gcc or an x86-64 host is missing.
 */
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
} from "../../fpu/oracle/host.testkit.ts";
import { X87_LAYOUT } from "../../fpu/x87-state.ts";
import * as L from "../../layout.ts";
import { ARITH_FLAGS } from "../../state.ts";
import { assemble, type Encoding, encodings, PAGE, VectorMachine } from "./sse.testkit.ts";

/** Cases per form of an encoding. */
const CASES = caseCount(10);
const OPERAND = 0x100;
const MEMORY = 128;

const oracle = HostOracle.create();
afterAll(() => oracle?.dispose());

type Form = { readonly e: Encoding; readonly rm: number; readonly wide: boolean };
const isString = (e: Encoding): boolean => e.row.name.startsWith("pcmpes") || e.row.name.startsWith("pcmpis");
const givesIndex = (e: Encoding): boolean => isString(e) && e.row.name.includes("stri");

function formsOf(e: Encoding): Form[] {
  const out: Form[] = [];
  const wides = e.row.size === "y" || e.row.size === "v" ? [false, true] : [false];
  for (const wide of wides) {
    if (e.row.only !== "mem") out.push({ e, rm: e.row.rm === "gpr" ? 0 : 1, wide });
    if (e.row.only !== "mem" && e.row.rm === "xmm") out.push({ e, rm: 0, wide });
    if (e.row.only !== "reg") out.push({ e, rm: -1, wide });
  }
  return out;
}

/** One test case: what goes in, for both sides. */
class Case {
  readonly bytes = new Uint8Array(RECORD);
  readonly view = new DataView(this.bytes.buffer);
  readonly form: Form;
  readonly code: readonly number[];
  readonly rdx: number;

  constructor(form: Form, rng: TestRng) {
    this.form = form;
    const { e } = form;
    const immediate = rng.below(4) === 0 ? rng.below(20) : rng.below(256);
    this.code = assemble(e, form.rm, form.wide, immediate);
    this.rdx = rng.below(40) - 20;
    this.bytes.set(this.#hostCode());
    this.view.setUint32(IN.mxcsr, this.#mxcsr(rng), true);
    this.view.setUint32(IN.eflags, (rng.u32() & ARITH_FLAGS) | 0x202, true);
    this.#fill(IN.rax, 8, rng, 0);
    if (isString(e)) this.view.setInt32(IN.rax, rng.below(40) - 20, true);
    this.#fpu(rng);
    const kind = isString(e) ? 4 : rng.below(4);
    this.#fill(IN.xmm0, 16, rng, kind);
    this.#fill(IN.xmm1, 16, rng, kind);
    this.#fill(IN.mem, MEMORY, rng, kind);
    if (rng.below(8) === 0) this.bytes.copyWithin(IN.xmm1, IN.xmm0, IN.xmm0 + 16);
  }

  #hostCode(): number[] {
    const { e } = this.form;
    const index = givesIndex(e) ? [0x89, 0xc8] : [];
    if (!isString(e)) return [...this.code, 0xc3];
    return [0x52, 0x6a, this.rdx & 255, 0x5a, ...this.code, 0x5a, ...index, 0xc3];
  }
  #mxcsr(rng: TestRng): number {
    const kind = rng.below(8);
    if (kind < 3) return 0x1fa0;
    if (kind === 3) return 0x1f80;
    if (kind === 4) return 0x1f80 | (rng.below(4) << 13);
    if (kind === 5) return (rng.u32() & 0xe07f) | 0x1f80;
    if (kind === 6) return 0x1fa0 | (rng.below(4) << 13);
    return rng.u32() & 0xffff;
  }
  /** Kinds: 0 bytes, 1 bytes at the edges, 2 singles, 3 doubles, 4 strings over few letters. */
  #fill(at: number, length: number, rng: TestRng, kind: number): void {
    for (let i = 0; i < length; i += 8) {
      if (kind === 3) {
        const [hi, lo] = randomF64(rng);
        this.view.setUint32(at + i, lo, true);
        this.view.setUint32(at + i + 4, hi, true);
      } else {
        for (let j = 0; j < 8; j += 4) this.view.setUint32(at + i + j, kind === 2 ? randomF32(rng) : rng.u32(), true);
        if (kind === 1) for (let j = 0; j < 8; j++) this.bytes[at + i + j] = rng.pick([0, 1, 0x7f, 0x80, 0xff, 0x10]);
        if (kind === 4) for (let j = 0; j < 8; j++) this.bytes[at + i + j] = rng.pick([0, 0, 97, 98, 98, 99, 0x80, 97]);
      }
    }
  }
  #fpu(rng: TestRng): void {
    const v = this.view;
    v.setUint16(IN.fpu, 0x37f, true);
    v.setUint16(IN.fpu + 4, rng.below(8) << 11, true);
    let tags = 0;
    for (let i = 0; i < 8; i++) tags |= rng.pick([0, 3]) << (i * 2);
    v.setUint16(IN.fpu + 8, tags, true);
    this.#fill(IN.fpu + 28, 80, rng, rng.below(4));
  }

  /** Puts the input into the machine. */
  load(m: VectorMachine): void {
    const s = m.state;
    s.setLo(L.MXCSR, this.view.getUint32(IN.mxcsr, true));
    s.eflags = this.view.getUint32(IN.eflags, true);
    s.setBig(L.GPR, this.view.getBigUint64(IN.rax, true));
    s.setNum(L.GPR + L.REG.rdx * 8, this.rdx);
    s.setNum(L.GPR + L.REG.rdi * 8, PAGE + OPERAND);
    m.xmm(0).set(this.bytes.subarray(IN.xmm0, IN.xmm0 + 16));
    m.xmm(1).set(this.bytes.subarray(IN.xmm1, IN.xmm1 + 16));
    m.ram(OPERAND, MEMORY).set(this.bytes.subarray(IN.mem, IN.mem + MEMORY));
    const top = (this.view.getUint16(IN.fpu + 4, true) >> 11) & 7;
    const x87 = m.area(L.X87, X87_LAYOUT.size);
    const words = new DataView(x87.buffer, x87.byteOffset, X87_LAYOUT.size);
    words.setUint16(X87_LAYOUT.controlWord, 0x37f, true);
    words.setUint16(X87_LAYOUT.statusWord, top << 11, true);
    words.setUint16(X87_LAYOUT.tagWord, this.view.getUint16(IN.fpu + 8, true), true);
    for (let i = 0; i < 8; i++)
      m.st((top + i) & 7).set(this.bytes.subarray(IN.fpu + 28 + i * 10, IN.fpu + 38 + i * 10));
  }

  /** Runs it and compares with the host's answer; returns what differs. */
  compare(m: VectorMachine, host: DataView, at: number): string[] {
    const signal = host.getUint32(at + OUT.signal, true);
    const outcome = m.run(this.code);
    const wanted = signal === 0 ? "done" : signal === SIGFPE ? "fault" : `signal ${signal}`;
    if (outcome !== wanted) return [`outcome ${outcome}, host ${wanted}`];
    const wrong: string[] = [];
    const check = (name: string, got: string | number | bigint, want: string | number | bigint): void => {
      if (got !== want) wrong.push(`${name} ${got.toString(16)}, host ${want.toString(16)}`);
    };
    check("mxcsr", m.state.lo(L.MXCSR), host.getUint32(at + OUT.mxcsr, true));
    if (signal !== 0) return wrong;
    const flags = host.getUint32(at + OUT.eflags, true) & ARITH_FLAGS;
    check("flags", m.state.eflags & ARITH_FLAGS, flags);
    const index = givesIndex(this.form.e);
    check("rax", m.state.big(index ? L.GPR + L.REG.rcx * 8 : L.GPR), host.getBigUint64(at + OUT.rax, true));
    const bytes = (from: number, n: number): string => hex(new Uint8Array(host.buffer, host.byteOffset + from, n));
    check("xmm0", hex(m.xmm(0)), bytes(at + OUT.xmm0, 16));
    check("xmm1", hex(m.xmm(1)), bytes(at + OUT.xmm1, 16));
    check("memory", hex(m.ram(OPERAND, MEMORY)), bytes(at + OUT.mem, MEMORY));
    const x87 = m.area(L.X87, X87_LAYOUT.size);
    const status = x87[X87_LAYOUT.statusWord]! | (x87[X87_LAYOUT.statusWord + 1]! << 8);
    const tags = x87[X87_LAYOUT.tagWord]! | (x87[X87_LAYOUT.tagWord + 1]! << 8);
    // The manual has CVTPI2PS enter the MMX state always; AMD's processors do not with a memory operand.
    if (this.form.e.row.name === "cvtpi2ps_xmm" && this.form.rm < 0) return wrong;
    check("status", status, host.getUint16(at + OUT.fpu + 4, true));
    check("tags", empties(tags), empties(host.getUint16(at + OUT.fpu + 8, true)));
    const top = (status >> 11) & 7;
    for (let i = 0; i < 8; i++) check(`st${i}`, hex(m.st((top + i) & 7)), bytes(at + OUT.fpu + 28 + i * 10, 10));
    return wrong;
  }
  /** The operands, for the report of a difference. */
  get operands(): string {
    const part = (at: number, n: number): string => hex(this.bytes.subarray(at, at + n));
    return `code ${hex(this.code)} mxcsr ${part(IN.mxcsr, 4)} rax ${part(IN.rax, 8)} xmm0 ${part(IN.xmm0, 16)} xmm1 ${part(IN.xmm1, 16)} mem ${part(IN.mem, 16)} rdx ${this.rdx}`;
  }
}

const hex = (bytes: Iterable<number>): string => [...bytes].map(b => b.toString(16).padStart(2, "0")).join("");
const empties = (tags: number): number => tags & (tags >> 1) & 0x5555;

/** Runs cases on both sides; gives one line to `out` per form that differs. */
function compareAll(machine: VectorMachine, cases: readonly Case[], out: Map<string, string>): void {
  const input = new Uint8Array(cases.length * RECORD);
  for (const [i, c] of cases.entries()) input.set(c.bytes, i * RECORD);
  const host = oracle!.run(input);
  for (const [i, c] of cases.entries()) {
    machine.fastMemory(i % 2 === 0);
    c.load(machine);
    const wrong = c.compare(machine, host, i * RECORD);
    const { e, rm, wide } = c.form;
    const name = `${e.row.name} ${rm < 0 ? "memory" : `register ${rm}`}${wide ? " wide" : ""}`;
    if (wrong.length > 0 && !out.has(name)) out.set(name, `${name}: ${wrong.join("; ")} (${c.operands})`);
  }
}

function differences(list: readonly Encoding[], seed: number): string[] {
  const rng = new TestRng(seed);
  const machine = new VectorMachine();
  const out = new Map<string, string>();
  let cases: Case[] = [];
  for (const form of list.flatMap(formsOf)) {
    for (let i = 0; i < CASES; i++) cases.push(new Case(form, rng));
    if (cases.length < 5000) continue;
    compareAll(machine, cases, out);
    cases = [];
  }
  compareAll(machine, cases, out);
  return [...out.values()];
}

describe.skipIf(oracle === undefined)("vector instructions on the host's processor", () => {
  const all = encodings().filter(e => !/^(rcp|rsqrt)/.test(e.row.name));
  for (const map of [1, 2, 3] as const) {
    it(`agree: map 0F${map === 1 ? "" : map === 2 ? " 38" : " 3A"} (SDM vol. 2, chapters 3 and 4)`, () => {
      expect(
        differences(
          all.filter(e => e.map === map),
          0x5eed + map,
        ),
      ).toEqual([]);
    }, 600_000);
  }
});
