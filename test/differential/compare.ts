/** Compares the two results of a case, and reports a difference so that it can be run again. */
import { Decoder as Disassembler, Formatter, FormatterSyntax } from "iced-x86";
import { FLAG } from "../../src/cpu/state.ts";
import { type Executed, undefinedFlags, undefinedResult } from "./defined-flags.ts";
import { type Bits, codeBase, IN, OUT, RETIRED, START, WINDOW_BYTES } from "./records.ts";

const GPR = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"];
const hex = (bytes: Uint8Array): string => [...bytes].map(b => b.toString(16).padStart(2, "0")).join("");

/** One case with its two results. */
export type Outcome = {
  readonly executed: Executed;
  readonly input: DataView;
  readonly from: number;
  readonly host: DataView;
  readonly ours: DataView;
  readonly to: number;
};

const bytesOf = (v: DataView, at: number, length: number): Uint8Array =>
  new Uint8Array(v.buffer, v.byteOffset + at, length);

/** EFLAGS bits that are compared: all but RF, which the host shows after faults only. */
const COMPARED = ~FLAG.rf;

/** Undefined flags in which we differ from the host, for information. */
export function undefinedDifference(o: Outcome): number {
  const flags = o.host.getUint32(o.to + OUT.flags, true) ^ o.ours.getUint32(o.to + OUT.flags, true);
  return flags & undefinedFlags(o.executed);
}

/**
 * What the manual leaves open, and where the host was seen to go its own way: the MMX state after a CVTxx2PI or MASKMOVQ that faults, and for AMD's
 * processors after CVTPI2PS and CVTPI2PD with a memory operand; which of two bad operands CMPS reports, and which byte of its operand MASKMOV does; the
 * registers that POPA has loaded before it faults, and whether it touches the value that it skips; whether BOUND reads its bounds one after the other;
 * and which comes first when a CALL has both a target that is not canonical and a stack that faults (the manual's pseudocode: the target; AMD: the stack).
 */
const OPEN: readonly [RegExp, from: number, to: number, faultsOnly: boolean][] = [
  [/^cvt(t?p[sd]2pi|pi2p[sd])_/, OUT.status, OUT.stray, false],
  [/^maskmovq$/, OUT.status, OUT.stray, true],
  [/^(cmps|popa|maskmov.*)$/, OUT.cr2, OUT.vector, true],
  [/^(bound|call_E)$/, OUT.cr2, OUT.vector, true],
  [/^(bound|call_E)$/, OUT.vector, OUT.status, true],
  [/^popa$/, OUT.gpr, OUT.rip, true],
];

/** Whether the bytes of a part of the result are the same, or may differ. */
function agrees(o: Outcome, from: number, to: number): boolean {
  if (same(o, from, to - from)) return true;
  const fault = o.host.getUint32(o.to + OUT.vector, true) !== RETIRED;
  return OPEN.some(
    ([names, a, b, faultsOnly]) => a === from && b === to && (fault || !faultsOnly) && names.test(o.executed.name),
  );
}

function same(o: Outcome, at: number, length: number): boolean {
  for (let i = at; i < at + length; i += 4)
    if (o.host.getUint32(o.to + i, true) !== o.ours.getUint32(o.to + i, true)) return false;
  return true;
}

/** What differs, in words; empty when nothing defined does. */
export function differences(o: Outcome): string[] {
  const vector = o.host.getUint32(o.to + OUT.vector, true);
  const oursRetired = o.ours.getUint32(o.to + OUT.vector, true) === RETIRED;
  // Whether a mask of zeros can fault is left to the implementation (Intel SDM vol. 2, MASKMOVQ, MASKMOVDQU).
  if (vector !== RETIRED && oursRetired && o.executed.name.startsWith("maskmov")) return [];
  const retired = vector === RETIRED && oursRetired;
  const free = retired ? undefinedFlags(o.executed) : o.executed.free;
  const flags = o.host.getUint32(o.to + OUT.flags, true) ^ o.ours.getUint32(o.to + OUT.flags, true);
  if (retired && undefinedResult(o.executed)) return same(o, OUT.rip, 8) ? [] : describe(o, 0);
  const equal =
    agrees(o, OUT.gpr, OUT.rip) &&
    same(o, OUT.rip, OUT.flags - OUT.rip) &&
    agrees(o, OUT.cr2, OUT.vector) &&
    agrees(o, OUT.vector, OUT.status) &&
    agrees(o, OUT.status, OUT.stray) &&
    same(o, OUT.stray, OUT.size - OUT.stray) &&
    (flags & COMPARED & ~free) === 0;
  return equal ? [] : describe(o, free);
}

function describe(o: Outcome, free: number): string[] {
  const out: string[] = [];
  const line = (name: string, at: number, length: number): void => {
    if (!same(o, at, length & ~3)) {
      const show = (v: DataView): string =>
        hex(
          bytesOf(v, o.to + at, length)
            .slice()
            .reverse(),
        );
      out.push(`${name}: host ${show(o.host)}, ours ${show(o.ours)}`);
    }
  };
  for (let n = 0; n < 16; n++) line(GPR[n] ?? `r${n}`, OUT.gpr + n * 8, 8);
  line("rip", OUT.rip, 8);
  const mine = (v: DataView): number => v.getUint32(o.to + OUT.flags, true) & COMPARED & ~free;
  if (mine(o.host) !== mine(o.ours)) {
    out.push(`flags: host ${flagNames(mine(o.host))}, ours ${flagNames(mine(o.ours))}`);
  }
  for (const [name, at, length] of [
    ["vector", OUT.vector, 4],
    ["error", OUT.error, 4],
    ["cr2", OUT.cr2, 8],
    ["mxcsr", OUT.mxcsr, 4],
    ["x87 tags and status", OUT.status, 4],
    ["memory outside the window", OUT.stray, 4],
  ] as const)
    line(name, at, length);
  for (let n = 0; n < 16; n++) line(`xmm${n}`, OUT.xmm + n * 16, 16);
  for (let n = 0; n < 8; n++) line(`st${n}`, OUT.st + n * 16, 16);
  for (let n = 0; n < WINDOW_BYTES; n += 16) line(`window+${n.toString(16)}`, OUT.data + n, 16);
  return out;
}

function flagNames(flags: number): string {
  const names = Object.entries(FLAG).filter(([, bit]) => (flags & bit) !== 0);
  return names.map(([name]) => name.toUpperCase()).join(" ") || "none";
}

/** The instruction in words, by an independent disassembler. */
export function disassemble(code: Uint8Array, bits: Bits): string {
  const decoder = new Disassembler(bits, code, 0);
  decoder.ip = BigInt(START - codeBase(bits));
  const instruction = decoder.decode();
  const formatter = new Formatter(FormatterSyntax.Nasm);
  const text = formatter.format(instruction);
  for (const object of [formatter, instruction, decoder]) object.free();
  return text;
}

/** Everything that is needed to understand a case. */
export function describeInput(o: Outcome, bits: Bits): string {
  const code = bytesOf(o.input, o.from + IN.code, 15);
  const parts = [`${hex(code)} ${disassemble(code, bits)}`];
  for (let n = 0; n < (bits === 64 ? 16 : 8); n++) {
    const value = o.input.getBigUint64(o.from + IN.gpr + n * 8, true);
    parts.push(`${GPR[n] ?? `r${n}`} ${value.toString(16)}`);
  }
  parts.push(`flags ${flagNames(o.input.getUint32(o.from + IN.flags, true))}`);
  parts.push(`mxcsr ${o.input.getUint32(o.from + IN.mxcsr, true).toString(16)}`);
  for (let n = 0; n < (bits === 64 ? 16 : 8); n++)
    parts.push(
      `xmm${n} ${hex(
        bytesOf(o.input, o.from + IN.xmm + n * 16, 16)
          .slice()
          .reverse(),
      )}`,
    );
  parts.push(`window ${hex(bytesOf(o.input, o.from + IN.data, WINDOW_BYTES))}`);
  return parts.join("\n  ");
}
