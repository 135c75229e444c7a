/**
 * Which event is taken at an instruction boundary. Intel SDM vol. 3A, table 6-2 "Priority Among Concurrent Events"; blocking: 6.7.1 (NMI), 6.8.1 (IF),
 * 6.8.3 (MOV SS, POP SS), vol. 2 "STI"; activity states: 8.4 (wait for SIPI), 6.15 "Double Fault" (shutdown), vol. 2 "HLT".
 *
 * Choices where the manual leaves freedom: the shadow of STI does not hold back NMIs; the shadow of MOV SS holds back debug traps until after the next
 * instruction and does not lose them. Hardware reset and machine checks do not come through here.
 */
import { ACTIVITY } from "../../ports/processor.ts";
import { PENDING } from "../layout.ts";
import { FLAG } from "../state.ts";

/** What to do at the boundary, in falling priority. */
export const TAKE = {
  none: 0,
  /** The T bit of a new task's TSS. */
  taskTrap: 1,
  smi: 2,
  init: 3,
  sipi: 4,
  /** Single step, data and I/O breakpoints of the previous instruction. */
  debugTrap: 5,
  nmi: 6,
  interrupt: 7,
} as const;

/** Kinds of SHADOW. */
export const SHADOW_KIND = { none: 0, sti: 1, movSs: 2 } as const;

const DEBUG_TASK = 0x8000;

/**
 * The event to be taken before the next instruction; instruction breakpoints come after all of these.
 * @param activity one of ACTIVITY
 * @param pending bits of PENDING
 * @param debugTrap conditions at DEBUG_TRAP
 * @param flags FLAG_OTHER
 * @param shadow one of SHADOW_KIND, as it covers this boundary
 * @param nmiBlocked not 0 between the delivery of an NMI and the next IRET
 */
export function nextEvent(
  activity: number,
  pending: number,
  debugTrap: number,
  flags: number,
  shadow: number,
  nmiBlocked: number,
): number {
  if (pending === 0) return TAKE.none;
  if (activity === ACTIVITY.waitForSipi) return (pending & PENDING.sipi) !== 0 ? TAKE.sipi : TAKE.none;
  const running = activity !== ACTIVITY.shutdown;
  const trap = running && (pending & PENDING.debugTrap) !== 0;
  if (trap && (debugTrap & DEBUG_TASK) !== 0) return TAKE.taskTrap;
  if ((pending & PENDING.smi) !== 0) return TAKE.smi;
  if ((pending & PENDING.init) !== 0) return TAKE.init;
  if (shadow === SHADOW_KIND.movSs) return TAKE.none;
  if (trap) return TAKE.debugTrap;
  if ((pending & PENDING.nmi) !== 0 && nmiBlocked === 0) return TAKE.nmi;
  const interruptible = running && (flags & FLAG.if) !== 0 && shadow === SHADOW_KIND.none;
  return interruptible && (pending & PENDING.intr) !== 0 ? TAKE.interrupt : TAKE.none;
}
