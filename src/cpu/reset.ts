/** Register values after power-on and after INIT (Intel SDM vol. 3A, table 9-1). */
import { ACTIVITY } from "../ports/processor.ts";
import * as L from "./layout.ts";
import { type CpuModel, SIGNATURE } from "./model.ts";
import type { CpuState } from "./state.ts";

function resetSegment(s: CpuState, seg: number, selector: number, base: number, attr: number): void {
  s.setLo(L.SEG_SELECTOR + seg * 4, selector);
  s.set64(L.SEG_BASE + seg * 8, base, 0);
  if (seg < 4) s.setLo(L.SEG_HIDDEN_BASE + seg * 4, base);
  s.setLo(L.SEG_LIMIT + seg * 4, 0xffff);
  s.setLo(L.SEG_ATTR + seg * 4, attr);
}

/**
 * `power`: everything. `init`: what INIT resets; the x87 and SSE registers, the time-stamp counter, MTRRs and most other MSRs stay.
 * A processor that is not the bootstrap processor then waits for a start-up IPI.
 */
export function resetRegisters(s: CpuState, model: CpuModel, kind: "power" | "init", bsp: boolean): void {
  if (kind === "power") s.u8.fill(0, s.base, s.base + L.SAVED_SIZE);
  const keptCaching = kind === "init" ? s.int(L.CR0) & 0x60000000 : 0x60000000;
  for (let n = 0; n < 16; n++) s.set64(n * 8, 0, 0);
  s.set64(L.GPR + L.REG.rdx * 8, SIGNATURE[model.vendor], 0);
  s.eflags = 2;
  s.set64(L.RIP, 0xfff0, 0);
  for (let seg = 0; seg < 6; seg++) resetSegment(s, seg, 0, 0, 0x93);
  resetSegment(s, L.SEG.cs, 0xf000, 0xffff0000 | 0, 0x93);
  resetSegment(s, L.SEG.ldtr, 0, 0, 0x82);
  resetSegment(s, L.SEG.tr, 0, 0, 0x8b);
  s.set64(L.CR0, keptCaching | 0x10, 0);
  for (const offset of [L.CR2, L.CR3, L.CR4, L.EFER]) s.set64(offset, 0, 0);
  if (kind === "power") s.set64(L.XCR0, 1, 0);
  for (let n = 0; n < 4; n++) s.set64(L.DR + n * 8, 0, 0);
  s.set64(L.DR6, 0xffff0ff0, 0);
  s.set64(L.DR7, 0x400, 0);
  for (const [base, limit] of [
    [L.GDTR_BASE, L.GDTR_LIMIT],
    [L.IDTR_BASE, L.IDTR_LIMIT],
  ] as const) {
    s.set64(base, 0, 0);
    s.setLo(limit, 0xffff);
  }
  s.setLo(L.CPL, 0);
  s.setLo(L.NMI_BLOCKED, 0);
  s.setLo(L.SHADOW, 0);
  s.setLo(L.DEBUG_TRAP, 0);
  s.setLo(L.PENDING_OFFSET, 0);
  s.setLo(L.MONITOR_ARMED, 0);
  if (kind === "power") s.setLo(L.MXCSR, 0x1f80);
  s.setLo(L.ACTIVITY_OFFSET, bsp ? ACTIVITY.running : ACTIVITY.waitForSipi);
}
