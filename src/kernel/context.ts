/**
 * The processor context in memory: the document's `processor_context_t` in 64-bit mode. What an interrupt saves by itself (RIP, CS, RFLAGS, RSP, SS) lies
 * highest, below it an error code if there is one, then the general registers as entry code pushes them, then the rest, which few interrupts need:
 *
 * | offset from its end | what                                                                   |
 * | ------------------- | ---------------------------------------------------------------------- |
 * | 0x88                | SS, RSP, RFLAGS, CS, RIP: 5 × 8 bytes, by the processor                |
 * | 0x10 … 0x80         | RAX … R15 without RSP: 15 × 8 bytes, {@link pushAll}                   |
 *
 * {@link saveContext} pushes under them: DS, ES, FS, GS, CR0, CR2, CR3, CR4, CR8, DR0 to DR3, DR6, DR7, TR, LDTR. CR2 must be saved before anything can fault
 * again; CR3 is put back only when it changed, since a write drops translations.
 */
import type { PhysAddr } from "../base/units.ts";
import {
  GPR,
  load64,
  pop,
  push,
  readRegister,
  readSpecial,
  reserve,
  SPECIAL,
  type Task,
  writeSpecial,
} from "../ports/task.ts";

/** Order of the registers that {@link saveContext} pushes: the first lies highest. */
export const SAVED_SPECIALS = [
  ["ds", SPECIAL.ds],
  ["es", SPECIAL.es],
  ["fs", SPECIAL.fs],
  ["gs", SPECIAL.gs],
  ["cr0", SPECIAL.cr0],
  ["cr2", SPECIAL.cr2],
  ["cr3", SPECIAL.cr3],
  ["cr4", SPECIAL.cr4],
  ["cr8", SPECIAL.cr8],
  ["dr0", SPECIAL.dr0],
  ["dr1", SPECIAL.dr0 + 1],
  ["dr2", SPECIAL.dr0 + 2],
  ["dr3", SPECIAL.dr0 + 3],
  ["dr6", SPECIAL.dr0 + 6],
  ["dr7", SPECIAL.dr7],
  ["tr", SPECIAL.tr],
  ["ldtr", SPECIAL.ldtr],
] as const;
export type SavedSpecial = (typeof SAVED_SPECIALS)[number][0];
export const SPECIALS_BYTES = SAVED_SPECIALS.length * 8;
/** Registers that may be written back: not those that describe the machine, nor CR3, which is the scheduler's affair. */
const RESTORED = new Set<SavedSpecial>([
  "ds",
  "es",
  "fs",
  "gs",
  "cr2",
  "cr8",
  "dr0",
  "dr1",
  "dr2",
  "dr3",
  "dr6",
  "dr7",
]);

/** Offsets in the general registers as `pushAll` leaves them. */
export const SAVED_GPR = {
  r15: 0,
  r14: 8,
  r13: 16,
  r12: 24,
  r11: 32,
  r10: 40,
  r9: 48,
  r8: 56,
  rdi: 64,
  rsi: 72,
  rbp: 80,
  rbx: 88,
  rdx: 96,
  rcx: 104,
  rax: 112,
} as const;
/** Offsets in the frame that the processor pushed. */
export const FRAME = { rip: 0, cs: 8, flags: 16, rsp: 24, ss: 32 } as const;

/** The document's `save_interrupt_context`, for what entry code has not pushed: gives the address of the context. */
export function* saveContext(): Task<PhysAddr> {
  for (const [, register] of SAVED_SPECIALS) yield* push(yield* readSpecial(register));
  return yield* readRegister(GPR.rsp);
}

/** The document's `restore_interrupt_context`: RSP is where {@link saveContext} left it. */
export function* restoreContext(): Task {
  for (const [name, register] of SAVED_SPECIALS.toReversed()) {
    if (RESTORED.has(name)) yield* writeSpecial(register, yield* pop());
    else yield* reserve(-8);
  }
}

/** One register of a context that {@link saveContext} made. */
export function* savedSpecial(context: PhysAddr, name: SavedSpecial): Task<number> {
  const index = SAVED_SPECIALS.findIndex(([known]) => known === name);
  return yield* load64(context + SPECIALS_BYTES - 8 * (index + 1));
}
