/** Puts a processor into the state in which a loader hands over: flat protected mode (multiboot) or real mode (boot sector). */
import type { X86Cpu } from "./cpu.ts";
import * as L from "./layout.ts";

/** Registers at the first instruction; see firmware/boot-plan.ts. */
export type Entry = {
  readonly mode: "protected" | "real";
  readonly eip: number;
  readonly eax: number;
  readonly ebx: number;
  readonly edx: number;
  readonly esp: number;
  readonly cs: number;
  readonly ds: number;
  readonly es: number;
  readonly ss: number;
  readonly gdtBase: number;
  readonly gdtLimit: number;
};

/** Attributes of accessed flat segments: code execute/read and data read/write, 32 bits, 4 GiB. */
const FLAT_CODE = 0xc09b;
const FLAT_DATA = 0xc093;

export function startProcessor(cpu: X86Cpu, entry: Entry): void {
  const s = cpu.ctx.state;
  const { rax, rbx, rdx, rsp } = L.REG;
  for (let n = 0; n < 16; n++) s.set64(n * 8, 0, 0);
  for (const [n, value] of [
    [rax, entry.eax],
    [rbx, entry.ebx],
    [rdx, entry.edx],
    [rsp, entry.esp],
  ] as const) {
    s.set64(n * 8, value, 0);
  }
  s.set64(L.RIP, entry.eip, 0);
  const isProtected = entry.mode === "protected";
  // Caches on, as firmware leaves them.
  s.set64(L.CR0, isProtected ? 0x11 : 0x10, 0);
  if (entry.gdtLimit !== 0) {
    s.setNum(L.GDTR_BASE, entry.gdtBase);
    s.setLo(L.GDTR_LIMIT, entry.gdtLimit);
  }
  if (!isProtected) s.setLo(L.IDTR_LIMIT, 0x3ff);
  const selectors = [entry.es, entry.cs, entry.ss, entry.ds, entry.ds, entry.ds];
  for (const [seg, selector] of selectors.entries()) {
    const base = isProtected ? 0 : selector << 4;
    s.setLo(L.SEG_SELECTOR + seg * 4, selector);
    s.set64(L.SEG_BASE + seg * 8, base, 0);
    if (seg < 4) s.setLo(L.SEG_HIDDEN_BASE + seg * 4, base);
    s.setLo(L.SEG_LIMIT + seg * 4, isProtected ? -1 : 0xffff);
    s.setLo(L.SEG_ATTR + seg * 4, isProtected ? (seg === L.SEG.cs ? FLAT_CODE : FLAT_DATA) : 0x93);
  }
  cpu.restored();
}
