/**
 * A scripted core: a processor of the machine whose program is a TypeScript generator. It sits behind its local APIC and on the bus as the x86 core does,
 * and tells the trace the same events. What it carries out are the operations of ports/task.ts; what happens between them (priorities, shadows, gates,
 * stacks, frames) follows the manual as for the x86 core: system/interrupt-window.ts chooses, delivery.ts delivers.
 *
 * Time. An operation has its effect in its first nanosecond and lasts as long as the cost table says; one nanosecond is one retired instruction. Nothing
 * is taken while it lasts; `compute` alone may be interrupted at every nanosecond and goes on where it was.
 *
 * Not modelled: descriptor tables, machine code, SYSCALL, single steps and breakpoint registers, SMM (SMIs are told and forgotten), the I/O permission
 * map (IOPL is 0: ports are for the kernel), stale translations. A generator cannot be copied, so a machine with such a core has no snapshots: run it
 * again from the start.
 */
import { HostError } from "../../base/assert.ts";
import type { CpuBus } from "../../ports/cpu-bus.ts";
import type { LocalApicPort, TimestampCounter } from "../../ports/cpu-port.ts";
import { EVENT } from "../../ports/events.ts";
import { PageMap } from "../../ports/page-map.ts";
import type { ResetKind, ResetPhase } from "../../ports/part.ts";
import { ACTIVITY, type Activity, type Processor } from "../../ports/processor.ts";
import type { RamView } from "../../ports/ram-view.ts";
import { type CostTable, halt, OP, type Request, type Routine, sti, type Task } from "../../ports/task.ts";
import type { Clock } from "../../sim/clock.ts";
import type { Trace } from "../../sim/trace.ts";
import { EXC, GuestFault } from "../context.ts";
import { PENDING } from "../layout.ts";
import { FLAG } from "../state.ts";
import { KIND } from "../system/delivery-kind.ts";
import { nextEvent, TAKE } from "../system/interrupt-window.ts";
import { Activation, ENDING, type ScriptedCode } from "./code-space.ts";
import { ScriptedDelivery } from "./delivery.ts";
import { ScriptedMemory } from "./memory.ts";
import { Operations } from "./operations.ts";
import { newState, resetState, type ScriptedState } from "./state.ts";

/** Events taken at one boundary before time passes. */
const MOST_AT_ONCE = 64;
/** Steps of a program in a row that take no time. */
const MOST_FREE = 1_000_000;
const FETCH = 0x10;

export type ScriptedParts = {
  readonly index: number;
  readonly bus: CpuBus;
  readonly ram: RamView;
  readonly apic: LocalApicPort;
  readonly clock: Clock;
  readonly trace: Trace;
  readonly code: ScriptedCode;
  readonly costs: CostTable;
  /** What the core runs; null: nothing until somebody starts it. Asked for at every reset and start-up. */
  readonly program: () => Routine | null;
  /** False: it waits for a start-up IPI after a reset. */
  readonly startsAtReset: boolean;
};

export class ScriptedCore implements Processor {
  readonly name: string;
  readonly index: number;
  readonly state: ScriptedState = newState();
  /** TSC: one tick a nanosecond. */
  readonly tsc: TimestampCounter;
  readonly memory: ScriptedMemory;
  readonly delivery: ScriptedDelivery;
  current: Activation;
  readonly #p: ScriptedParts;
  readonly #operations: Operations;
  #nmiCause = 0;
  #budget = 0;
  #left = 0;
  #stopAsked = false;
  /** `pending` before the program was asked for its next operation. */
  #pendingBefore = 0;

  constructor(parts: ScriptedParts) {
    this.index = parts.index;
    this.name = `cpu${parts.index}`;
    this.#p = parts;
    this.current = nobody();
    const { clock } = parts;
    this.tsc = { nsUntil: (low, high) => high * 4294967296 + low - clock.now() };
    this.memory = new ScriptedMemory(parts);
    this.delivery = new ScriptedDelivery(this, this.memory, parts.code, parts.trace, parts.costs.interruptEntry);
    this.#operations = new Operations(this, parts);
  }

  // --- Part -------------------------------------------------------------------------------------------------------------------------------------

  reset(phase: ResetPhase, _kind: ResetKind): void {
    if (phase !== "enter") return;
    this.#nmiCause = 0;
    this.#restart(this.#p.startsAtReset && this.#p.program() !== null ? ACTIVITY.running : ACTIVITY.waitForSipi);
    this.state.retired = 0;
  }

  /** The program is there: starts what a reset found without one. */
  begin(): void {
    const s = this.state;
    if (s.activity === ACTIVITY.waitForSipi && this.#p.startsAtReset && this.#p.program() !== null)
      this.#restart(ACTIVITY.running, s.pending & PENDING.intr);
  }

  /** Registers as after INIT; a running core begins its program. */
  #restart(activity: Activity, pending = 0): void {
    resetState(this.state, { retired: this.state.retired, activity, pending });
    this.memory.map = new PageMap();
    const program = this.#p.program();
    this.current = activity === ACTIVITY.running && program !== null ? beginning(program) : nobody();
  }

  // --- CpuSignals -------------------------------------------------------------------------------------------------------------------------------

  intr(level: boolean): void {
    if (level) this.state.pending |= PENDING.intr;
    else this.state.pending &= ~PENDING.intr;
  }

  nmi(cause: number): void {
    this.#nmiCause = cause;
    this.state.pending |= PENDING.nmi;
  }

  smi(cause: number): void {
    this.#p.trace.emit(EVENT.smi, this.index, 0, 0, 0, cause);
  }

  init(cause: number): void {
    this.#p.trace.emit(EVENT.init, this.index, 0, 0, 0, cause);
    this.state.pending |= PENDING.init;
  }

  startup(vector: number, cause: number): void {
    const s = this.state;
    // As for the x86 core: one that is about to take an INIT will wait (SDM vol. 3A, 9.4.3).
    if (s.activity !== ACTIVITY.waitForSipi && (s.pending & PENDING.init) === 0) return;
    this.#p.trace.emit(EVENT.sipi, this.index, vector, 0, 0, cause);
    s.sipiVector = vector;
    s.pending |= PENDING.sipi;
  }

  // --- Processor --------------------------------------------------------------------------------------------------------------------------------

  get activity(): Activity {
    const { activity, pending } = this.state;
    if (activity === ACTIVITY.running || pending === 0) return activity as Activity;
    return this.#wakes() ? ACTIVITY.running : (activity as Activity);
  }

  get deaf(): boolean {
    const { activity } = this;
    if (activity === ACTIVITY.halted) return (this.state.flags & FLAG.if) === 0;
    return activity === ACTIVITY.waitForSipi;
  }

  #wakes(): boolean {
    const { activity, pending, nmiBlocked, flags } = this.state;
    if ((pending & PENDING.init) !== 0) return true;
    if (activity === ACTIVITY.waitForSipi) return (pending & PENDING.sipi) !== 0;
    if ((pending & PENDING.nmi) !== 0 && nmiBlocked === 0) return true;
    return activity === ACTIVITY.halted && (pending & PENDING.intr) !== 0 && (flags & FLAG.if) !== 0;
  }

  get retired(): number {
    return this.state.retired;
  }

  get progress(): number {
    return this.#budget - this.#left;
  }

  stop(): void {
    this.#stopAsked = true;
  }

  run(budget: number): number {
    const s = this.state;
    this.#budget = budget;
    this.#left = budget;
    this.#stopAsked = false;
    let free = 0;
    for (;;) {
      if (s.pending !== 0 && s.stall === 0) this.#takeEvents();
      if (this.#stopAsked || this.#left === 0 || s.activity !== ACTIVITY.running) break;
      const before = this.#left;
      this.#step();
      if (this.#left !== before) free = 0;
      else if (++free > MOST_FREE)
        throw new HostError(`CPU ${this.index}: ${this.current.describe()} goes on without taking time`, 66);
    }
    const done = this.#budget - this.#left;
    this.#budget = 0;
    this.#left = 0;
    s.retired += done;
    return done;
  }

  // --- one step ---------------------------------------------------------------------------------------------------------------------------------

  #step(): void {
    const s = this.state;
    if (s.stall > 0) {
      const ns = Math.min(s.stall, this.#left);
      s.stall -= ns;
      this.#left -= ns;
      return;
    }
    const at = this.current;
    let { request } = at;
    if (request === null) {
      if (at.generator === null) {
        this.#fetchNothing();
        return;
      }
      this.#pendingBefore = s.pending;
      const next = at.generator.next(at.result);
      if (next.done === true) {
        this.#ended(at);
        return;
      }
      request = next.value;
      if (request.op === OP.compute) {
        at.request = request;
        at.left = request.a;
      }
    }
    if (request.op === OP.compute) this.#compute(at);
    else this.#carryOut(at, request);
  }

  /** As much of a compute as may be done before something could be taken. */
  #compute(at: Activation): void {
    const s = this.state;
    let ns = Math.min(at.left, this.#left);
    // The program itself, since it was last here, may have made something happen that ends the run or wants to be taken.
    if ((s.shadow !== 0 || this.#stopAsked || s.pending !== this.#pendingBefore) && ns > 0) {
      ns = 1;
      s.shadow = 0;
      this.#pendingBefore = s.pending;
    }
    at.left -= ns;
    this.#left -= ns;
    if (at.left > 0) return;
    at.request = null;
    at.result = 0;
  }

  #carryOut(at: Activation, request: Request): void {
    const s = this.state;
    const { shadow } = s;
    this.memory.cost = 0;
    try {
      const result = this.#operations.perform(request, at);
      at.request = null;
      at.result = result;
      const cost = this.memory.cost;
      if (cost > 1) s.stall += cost - 1;
      this.#left--;
      if (shadow !== 0) s.shadow = 0;
    } catch (fault) {
      if (!(fault instanceof GuestFault)) throw fault;
      // It has done nothing, and will run again.
      at.request = request;
      this.delivery.take(fault.vector, KIND.fault, fault.error, fault.address);
    }
  }

  /** There is no routine at this address: the fetch faults, and that takes time, lest the handler be such an address, too. */
  #fetchNothing(): void {
    this.#left--;
    const user = this.state.cpl === 3 ? 4 : 0;
    this.delivery.take(EXC.pf, KIND.fault, FETCH | user, this.current.address);
  }

  /** A routine came to its end. */
  #ended(at: Activation): void {
    at.request = this.#operations.endOf(at);
    if (at.request === null) {
      at.generator = idle();
      at.result = 0;
    }
  }

  // --- events -----------------------------------------------------------------------------------------------------------------------------------

  /** At a boundary: takes everything that may be taken now. */
  #takeEvents(): void {
    const s = this.state;
    for (let taken = 0; taken < MOST_AT_ONCE; taken++) {
      if ((s.pending & PENDING.init) !== 0) {
        this.#init();
        continue;
      }
      const event = nextEvent(s.activity, s.pending, 0, s.flags, s.shadow, s.nmiBlocked);
      if (event === TAKE.none) return;
      if (event === TAKE.sipi) {
        s.pending &= ~PENDING.sipi;
        this.#startUp();
        continue;
      }
      this.#wake();
      if (event === TAKE.nmi) {
        s.pending &= ~PENDING.nmi;
        this.delivery.cause = this.#nmiCause;
        this.delivery.take(EXC.nmi, KIND.nmi, -1, 0);
      } else this.#acknowledge();
      if (s.stall > 0) return;
    }
    // An interrupt that its own acknowledge raises again, through gates that leave IF set, would go on for ever.
    if (this.#left > 0) this.#left--;
  }

  #acknowledge(): void {
    const { apic } = this.#p;
    const vector = apic.acknowledge();
    this.delivery.extInt = apic.lastExtInt;
    this.delivery.spurious = apic.lastSpurious;
    this.delivery.cause = apic.lastCause;
    this.delivery.take(vector, KIND.external, -1, 0);
  }

  #wake(): void {
    const s = this.state;
    if (s.activity === ACTIVITY.running) return;
    s.activity = ACTIVITY.running;
    this.#p.trace.emit(EVENT.wake, this.index, 0, 0, 0, 0);
  }

  #init(): void {
    const s = this.state;
    // INTR is a level: it stays what the local APIC drives, which may change it now.
    const pending = s.pending & (PENDING.sipi | PENDING.intr);
    const { sipiVector } = s;
    this.#restart(ACTIVITY.waitForSipi, pending);
    s.sipiVector = sipiVector;
    this.#p.apic.initReset();
  }

  #startUp(): void {
    const s = this.state;
    const { pending, sipiVector } = s;
    if (this.#p.program() === null)
      throw new HostError(
        `CPU ${this.index} was started by a start-up IPI, and the scenario gives it nothing to run`,
        66,
      );
    this.#restart(ACTIVITY.running, pending);
    s.sipiVector = sipiVector;
    this.#p.trace.emit(EVENT.wake, this.index, 0, 0, 0, 0);
  }
}

const beginning = (program: Routine): Activation =>
  new Activation(program(), ENDING.idle, program.name === "" ? "main" : program.name);

/** What a core that waits for its start runs. */
const nobody = (): Activation => new Activation(null, ENDING.idle, "nothing");

/** What a program does when it has come to its end: interrupts go on. */
function* idle(): Task {
  for (;;) {
    yield* sti();
    yield* halt();
  }
}
