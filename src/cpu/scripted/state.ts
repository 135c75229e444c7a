/** Registers of a scripted core, in one plain record. What its generators hold is not here: nobody can read that. */
import { ACTIVITY } from "../../ports/processor.ts";
import { SELECTOR } from "../../ports/task.ts";
import { FLAG } from "../state.ts";

export type ScriptedState = {
  /** One of ACTIVITY. */
  activity: number;
  /** Bits of PENDING (cpu/layout.ts). */
  pending: number;
  /** RFLAGS. */
  flags: number;
  /** One of SHADOW_KIND, covering the next boundary. */
  shadow: number;
  nmiBlocked: number;
  cpl: number;
  cs: number;
  ss: number;
  /** DS, ES, FS, GS. */
  segments: number[];
  tr: number;
  ldtr: number;
  cr2: number;
  /** DR0 to DR7: kept, and do nothing. */
  debug: number[];
  idtBase: number;
  idtLimit: number;
  taskBase: number;
  taskLimit: number;
  rsp: number;
  /** Two words for each general register; RSP's are not used. */
  gpr: Uint32Array;
  /** Nanoseconds that the last operation, or the entry of a handler, still lasts: nothing is taken meanwhile. */
  stall: number;
  retired: number;
  sipiVector: number;
};

/** Bit 1 is always set (Intel SDM vol. 1, figure 3-8). */
export const FLAGS_FIXED = 2;
/** What IRET and writes may change. */
export const FLAGS_WRITABLE = 0x00247fd5 & ~(FLAG.vm | FLAG.iopl);

export const newState = (): ScriptedState => ({
  activity: ACTIVITY.waitForSipi,
  pending: 0,
  flags: FLAGS_FIXED,
  shadow: 0,
  nmiBlocked: 0,
  cpl: 0,
  cs: SELECTOR.kernelCode,
  ss: SELECTOR.kernelData,
  segments: [0, 0, 0, 0],
  tr: 0,
  ldtr: 0,
  cr2: 0,
  debug: [0, 0, 0, 0, 0, 0, 0xffff0ff0, 0x400],
  idtBase: 0,
  idtLimit: 0,
  taskBase: 0,
  taskLimit: 0,
  rsp: 0,
  gpr: new Uint32Array(32),
  stall: 0,
  retired: 0,
  sipiVector: 0,
});

/** As after power-on or INIT, but for what survives these. */
export function resetState(s: ScriptedState, keep: { retired: number; activity: number; pending: number }): void {
  s.gpr.fill(0);
  const { gpr } = s;
  Object.assign(s, newState(), { gpr, ...keep });
}
