/** Puts a processor into the state in which a loader hands over: flat protected mode (multiboot), real mode (boot sector), 64-bit mode (Linux). */
import type { EntryState } from "../ports/entry-state.ts";
import type { X86Cpu } from "./cpu.ts";
import * as L from "./layout.ts";

/** Attributes of accessed flat segments: code execute/read and data read/write, 32 bits, 4 GiB. */
const FLAT_CODE = 0xc09b;
const FLAT_DATA = 0xc093;
/** 64-bit code: L instead of D. */
const LONG_CODE = 0xa09b;
const CR0 = { real: 0x10, protected: 0x11, long: 0x80000011 } as const;
/** PAE. */
const LONG_CR4 = 0x20;
/** LME and LMA. */
const LONG_EFER = 0x500;

export function startProcessor(cpu: X86Cpu, entry: EntryState): void {
  const s = cpu.ctx.state;
  const { rax, rbx, rdx, rsp, rsi } = L.REG;
  for (let n = 0; n < 16; n++) s.set64(n * 8, 0, 0);
  for (const [n, value] of [
    [rax, entry.eax],
    [rbx, entry.ebx],
    [rdx, entry.edx],
    [rsp, entry.esp],
    [rsi, entry.esi ?? 0],
  ] as const) {
    s.set64(n * 8, value, 0);
  }
  s.set64(L.RIP, entry.eip, 0);
  const { mode } = entry;
  const isProtected = mode !== "real";
  // Caches on, as firmware leaves them.
  s.set64(L.CR0, CR0[mode] | 0, 0);
  if (mode === "long") {
    s.set64(L.CR3, entry.cr3 ?? 0, 0);
    s.set64(L.CR4, LONG_CR4, 0);
    s.set64(L.EFER, LONG_EFER, 0);
  }
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
    s.setLo(L.SEG_ATTR + seg * 4, attributes(mode, seg === L.SEG.cs));
  }
  cpu.restored();
}

function attributes(mode: EntryState["mode"], code: boolean): number {
  if (mode === "real") return 0x93;
  if (!code) return FLAT_DATA;
  return mode === "long" ? LONG_CODE : FLAT_CODE;
}
