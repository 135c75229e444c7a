/**
 * SYSCALL, SYSRET and PUSHF: generated code and the TypeScript helpers give the same registers and memory for random states. Which of the two carries an
 * instruction out depends on flags and privilege only, but both must mean the same (Intel SDM vol. 2, "SYSCALL", "SYSRET", "PUSHF").
 */
import { expect, test } from "vitest";
import { Rng } from "../../../sim/rng.ts";
import { CpuFixture } from "../../cpu-fixture.ts";
import { isa } from "../../engine.ts";
import * as L from "../../layout.ts";
import { FLAG } from "../../state.ts";

const CODE = 0x100000;
const STACK = 0x180000;
/** Where the helper's record is made: the page below the first processor is unused. */
const RECORD = 0x100;
const FLAGS = FLAG.cf | FLAG.pf | FLAG.af | FLAG.zf | FLAG.sf | FLAG.of | FLAG.df | FLAG.iopl | FLAG.id | FLAG.ac;

/** A ring-0 machine with random flags, STAR, SFMASK, RCX and R11. */
function randomFixture(rng: Rng): CpuFixture {
  const f = new CpuFixture();
  f.longMode();
  const s = f.s;
  s.set64(L.MSR.star, 0, ((rng.below(0x10000) & 0xfff8) << 16) | (rng.below(0x10000) & 0xfff8));
  s.set64(L.MSR.lstar, CODE + 0x40, 0);
  s.set64(L.MSR.sfmask, rng.u32() & 0x7fd5, 0);
  s.set64(L.REG.rcx * 8, CODE + 0x40, 0);
  s.set64(L.REG.r11 * 8, rng.u32() & FLAGS & ~FLAG.ac, rng.u32());
  s.setNum(L.REG.rsp * 8, STACK);
  s.eflags = (rng.u32() & FLAGS) | 2;
  // SYSRET's ring 3 needs nothing but its registers: the code is not run.
  f.cpu.restored();
  return f;
}

/** Everything architectural that these instructions touch. */
function seen(f: CpuFixture): unknown {
  const s = f.s;
  const words = (offset: number, count: number): number[] =>
    Array.from({ length: count }, (_, i) => s.lo(offset + i * 4));
  return {
    gpr: words(0, 32),
    rip: s.num(L.RIP),
    eflags: s.eflags,
    selectors: words(L.SEG_SELECTOR, 6),
    attributes: words(L.SEG_ATTR, 6),
    limits: words(L.SEG_LIMIT, 6),
    hidden: words(L.SEG_HIDDEN_BASE, 4),
    cpl: s.cpl,
    banks: words(L.DTLB_BASE, 2),
    stack: [...f.ram.bytes.subarray(STACK - 16, STACK)],
  };
}

test.each([
  ["syscall", [0x0f, 0x05], 0],
  ["sysret", [0x48, 0x0f, 0x07], L.PFX.opSize64],
  ["pushf", [0x9c], L.PFX.opSize64],
] as const)("%s in generated code is what its helper does", (name, code, prefix) => {
  for (let seed = 0; seed < 8; seed++) {
    const generated = randomFixture(new Rng(seed));
    const helped = randomFixture(new Rng(seed));
    generated.run(CODE, code, 1);
    const s = helped.s;
    s.setNum(L.RIP, CODE);
    s.u8[RECORD + L.REC.length] = code.length;
    s.u8[RECORD + L.REC.prefix] = prefix;
    helped.load(CODE, code);
    helped.cpu.helpers[isa().set.helperNames.indexOf(name)]!(RECORD);
    if (name === "pushf") s.setNum(L.RIP, CODE + 1);
    expect(seen(generated)).toEqual(seen(helped));
  }
});
