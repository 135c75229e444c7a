/**
 * SYSCALL and SYSRET between 64-bit code on both sides, and PUSHF, in generated code (Intel SDM vol. 2; vol. 3A, 5.8.8). Everything else, and every refusal,
 * is left to system/syscall.ts and system/misc-flags.ts.
 */
import { c32, c64, type Ex, i32, i64 } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import { ARITH_FLAGS, FLAG } from "../../state.ts";
import { type InstructionSet, WIDE_SIZES } from "../define.ts";
import type { Ops } from "../ops.ts";
import { flagsImage, go, loadArithmetic } from "./long-mode.ts";

const RCX = L.GPR + L.REG.rcx * 8;
const R11 = L.GPR + L.REG.r11 * 8;
const SCE = 1;
/** Attributes as in system/syscall.ts. */
const CODE64 = 0xa09b;
const DATA32 = 0xc093;
const DPL3 = 0x60;
const SYSRET_FLAGS = 0x3c7fd7;

/** Replaces all flags by `image` (a local). */
function setFlags(o: Ops, image: Ex): void {
  loadArithmetic(o, image);
  o.f.store32(o.cpu, L.FLAG_OTHER, i32.or(i32.and(image, c32(~ARITH_FLAGS)), c32(2)));
}

/** CS and SS flat at privilege `level`. */
function setFlat(o: Ops, cs: Ex, ss: Ex, level: 0 | 3): void {
  const { f, cpu } = o;
  for (const [seg, selector, attr] of [
    [L.SEG.cs, cs, CODE64],
    [L.SEG.ss, ss, DATA32],
  ] as const) {
    f.store32(cpu, L.SEG_SELECTOR + seg * 4, selector);
    f.store32(cpu, L.SEG_HIDDEN_BASE + seg * 4, c32(0));
    f.store32(cpu, L.SEG_LIMIT + seg * 4, c32(-1));
    f.store32(cpu, L.SEG_ATTR + seg * 4, c32(level === 0 ? attr : attr | DPL3));
  }
  f.store32(cpu, L.CPL, c32(level));
}

function syscall(o: Ops): void {
  const { f, cpu } = o;
  f.if(i32.eqz(i32.and(i32.load(cpu, L.EFER), c32(SCE))), () => o.helper("syscall"));
  const cpl = o.let(i32.load(cpu, L.CPL));
  const image = flagsImage(o);
  f.store64(cpu, RCX, o.nextRip());
  f.store64(cpu, R11, i64.extendU(image));
  f.store64(cpu, L.RIP, i64.load(cpu, L.MSR.lstar));
  setFlags(o, o.let(i32.and(image, i32.not(i32.or(i32.load(cpu, L.MSR.sfmask), c32(FLAG.rf))))));
  const selector = o.let(i32.load16u(cpu, L.MSR.star + 4));
  setFlat(o, i32.and(selector, c32(0xfffc)), i32.and(i32.add(selector, c32(8)), c32(0xffff)), 0);
  go(o, 0, c32(0), cpl);
}

function sysret(o: Ops): void {
  const { f, cpu } = o;
  const rip = o.let(i64.load(cpu, RCX));
  const canonical = i64.eq(i64.shrS(i64.shl(rip, c64(16)), c64(16)), rip);
  const cpl = o.let(i32.load(cpu, L.CPL));
  const allowed = i32.and(i32.and(i32.load(cpu, L.EFER), c32(SCE)), i32.eqz(i32.or(cpl, i32.load(cpu, L.MODEL_AMD))));
  f.if(i32.eqz(i32.and(allowed, canonical)), () => o.helper("sysret"));
  f.store64(cpu, L.RIP, rip);
  setFlags(o, o.let(i32.or(i32.and(i32.load(cpu, R11), c32(SYSRET_FLAGS)), c32(2))));
  const selector = o.let(i32.load16u(cpu, L.MSR.star + 6));
  const plus = (n: number): Ex => i32.or(i32.and(i32.add(selector, c32(n)), c32(0xffff)), c32(3));
  setFlat(o, plus(16), plus(8), 3);
  go(o, 0, c32(0), cpl);
}

export function defineFastCalls(set: InstructionSet): void {
  set.twin("syscall", "sysret", "pushf");
  set.define("syscall", WIDE_SIZES, "none", o => (o.legacy ? o.helper("syscall") : syscall(o)), true);
  set.define(
    "sysret",
    WIDE_SIZES,
    "none",
    (o, size) => (o.legacy || size !== 64 ? o.helper("sysret") : sysret(o)),
    true,
  );
  set.define(
    "pushf",
    WIDE_SIZES,
    "none",
    (o, size) => {
      o.f.if(i32.and(i32.load(o.cpu, L.FLAG_OTHER), c32(FLAG.vm)), () => o.helper("pushf"));
      const image = o.let(i32.and(flagsImage(o), c32(~(FLAG.vm | FLAG.rf))));
      o.push(size, size === 64 ? o.let(i64.extendU(image)) : image);
      o.next();
    },
    true,
  );
}
