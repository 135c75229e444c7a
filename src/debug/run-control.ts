/**
 * Who runs and who stops under a debugger. The rule: no command changes the run. Breakpoints, watches and steps only cut it, at instruction boundaries, and
 * going on goes on; so a run that was looked at ends in the same state as one that was not. What does change it is the user's: writing registers or
 * memory, and stepping a processor out of its turn.
 *
 * - All processors stop together. A breakpoint stops before its instruction, a watch behind the instruction that touched the data.
 * - "Step CPU n, the others go" lets the machine run in its own order until n has retired an instruction, or has entered the handler of an exception.
 * - "Step CPU n, the others stand" (gdb does this to get off a breakpoint, and with `set scheduler-locking`) takes a turn for n if it is not n's already.
 *   At a breakpoint it is. Others that were told to stand while n goes on go, too.
 * - When an interrupt is taken instead of (or behind) the stepped instruction, its handler either runs whole, with the step ending where it returns to (the
 *   default, as on QEMU), or the step ends at its first instruction. Nothing is masked, nothing is late.
 * - A repeated string instruction steps by chunks, see cpu/isa/semantics/string.ts. A CPU that waits goes on waiting in a step.
 */
import type { Ns } from "../base/units.ts";
import type { Step, X86Cpu } from "../cpu/cpu.ts";
import type { DebugStops, Watch } from "../cpu/debug-stops.ts";
import type { Exit } from "../machine/exit.ts";
import type { Pc } from "../machine/pc.ts";
import { type Action, SIGNAL, STEP_FLAG, STOP_KIND, type StopReason } from "./target.ts";

/** Instructions of a turn that a step takes out of order. */
const TURN = 1000;
const X86_LIMIT = 2 ** 32;

/** What ended the present piece of the run. */
type Event =
  | { readonly kind: "code"; readonly cpu: number; readonly linear: number }
  | { readonly kind: "data"; readonly cpu: number; readonly watch: Watch }
  | { readonly kind: "step"; readonly cpu: number; readonly step: Step }
  /** The handler that a step leaves alone is back. */
  | { readonly kind: "back" };

/** A step that waits for a handler to come back to `linear` with the stack pointer `sp`. */
type Outside = { readonly cpu: number; readonly linear: number; readonly sp: bigint; readonly done: boolean };

type WatchKind = "watch" | "rwatch" | "awatch";

export interface RunListener {
  /** Keys may come that wake a machine with nothing left to do. */
  readonly hasKeys: boolean;
  stopped(reason: StopReason): void;
  /** The machine is at an end that the user may want to look at; it stopped, and going on ends the run. */
  say(text: string): void;
}

export class RunControl {
  standing = true;
  stepFlags: number = STEP_FLAG.enable | STEP_FLAG.noIrq | STEP_FLAG.noTimer;
  /** Processor of the last stop. */
  current = 0;
  readonly #pc: Pc;
  readonly #cpus: readonly X86Cpu[];
  readonly #stops: DebugStops;
  readonly #listener: RunListener;
  /** The user's breakpoints: kinds by address. */
  readonly #code = new Map<number, Set<number>>();
  readonly #data = new Map<string, { watch: Watch; kind: WatchKind }>();
  #attached = false;
  #event: Event | null = null;
  #outside: Outside | null = null;
  /** An end of the run that the user was told of, with the instructions retired by then. */
  #told = "";

  constructor(pc: Pc, cpus: readonly X86Cpu[], listener: RunListener) {
    this.#pc = pc;
    this.#cpus = cpus;
    this.#stops = cpus[0]!.stops;
    this.#listener = listener;
    this.#stops.onCode = (cpu, linear) => this.#atCode(cpu, linear);
    this.#stops.onData = (cpu, watch) => this.#note({ kind: "data", cpu, watch });
  }

  // --- breakpoints -------------------------------------------------------------------------------------------------------------------------------

  /** @param kind one of {@link STOP_KIND} */
  add(kind: number, address: number, length: number): boolean {
    if (kind === STOP_KIND.software || kind === STOP_KIND.hardware) {
      const kinds = this.#code.get(address) ?? new Set();
      if (kinds.size === 0) this.#stops.addCode(address);
      this.#code.set(address, kinds.add(kind));
      return true;
    }
    const key = `${kind} ${address} ${length}`;
    if (this.#data.has(key)) return true;
    if (length < 1 || !Number.isSafeInteger(address) || length > X86_LIMIT) return false;
    const watch = { from: address, length, read: kind !== STOP_KIND.write, write: kind !== STOP_KIND.read };
    const name = kind === STOP_KIND.write ? "watch" : kind === STOP_KIND.read ? "rwatch" : "awatch";
    this.#stops.addWatch(watch);
    this.#data.set(key, { watch, kind: name });
    return true;
  }

  remove(kind: number, address: number, length: number): boolean {
    if (kind === STOP_KIND.software || kind === STOP_KIND.hardware) {
      const kinds = this.#code.get(address);
      if (kinds?.delete(kind) !== true) return false;
      if (kinds.size > 0) return true;
      this.#code.delete(address);
      this.#stops.removeCode(address);
      return true;
    }
    const key = `${kind} ${address} ${length}`;
    const found = this.#data.get(key);
    if (found === undefined) return false;
    this.#data.delete(key);
    this.#stops.removeWatch(found.watch);
    return true;
  }

  /** Takes everything away that stops the machine. */
  clear(): void {
    for (const address of this.#code.keys()) this.#stops.removeCode(address);
    for (const { watch } of this.#data.values()) this.#stops.removeWatch(watch);
    this.#code.clear();
    this.#data.clear();
    this.#endSteps();
  }

  // --- going on and stopping -----------------------------------------------------------------------------------------------------------------------

  resume(actions: readonly Action[]): void {
    this.standing = false;
    actions.forEach((action, cpu) => {
      if (action === "step") this.#step(cpu);
    });
    const alone = actions.indexOf("step");
    if (alone >= 0 && !actions.includes("go") && actions.lastIndexOf("step") === alone) this.#takeTurn(alone);
  }

  #step(cpu: number): void {
    this.#cpus[cpu]!.onStep = step => this.#note({ kind: "step", cpu, step });
  }

  /** Makes it CPU n's turn, if n has something to do. */
  #takeTurn(cpu: number): void {
    const order = this.#pc.scheduler.state;
    if (order.runnable[cpu] === 0 || (order.current === cpu && order.sliceLeft > 0)) return;
    order.current = cpu;
    order.sliceLeft = TURN;
  }

  interrupt(): void {
    if (!this.standing) this.#stop(this.#whoseTurn(), SIGNAL.interrupt, "signal", 0);
  }

  /** The processor that runs, or would. */
  #whoseTurn(): number {
    const { current, runnable } = this.#pc.scheduler.state;
    return runnable[current] !== 0 ? current : Math.max(0, runnable.indexOf(1));
  }

  /** Runs as {@link Pc.run} does, until something stops it. */
  run(untilRetired: number, untilNs: Ns): Exit | null {
    const exit = this.#pc.run(untilRetired, untilNs);
    const event = this.#event;
    this.#event = null;
    if (exit !== null) return this.#ended(exit);
    if (event !== null) this.#happened(event);
    return null;
  }

  /** A machine that hangs or has shut down is what people have debuggers for: it stops once before that ends the run. */
  #ended(exit: Exit): Exit | null {
    const told = `${exit.kind} ${this.#pc.retired}`;
    const worthALook = exit.kind === "triple-fault" || (exit.kind === "idle" && !this.#listener.hasKeys);
    if (!this.#attached || !worthALook || this.#told === told) return exit;
    this.#told = told;
    this.#listener.say(exit.detail);
    const signal = exit.kind === "idle" ? SIGNAL.interrupt : SIGNAL.segv;
    this.#stop(this.#whoseTurn(), signal, "signal", 0);
    return null;
  }

  /** Asks for a stop at the end of the present instruction. The first reason counts, but a step tells less than anything else. */
  #note(event: Event): void {
    if (this.#event === null || this.#event.kind === "step") this.#event = event;
    this.#pc.pause();
  }

  #atCode(cpu: number, linear: number): boolean {
    const outside = this.#outside;
    const back = outside !== null && outside.cpu === cpu && outside.linear === linear && outside.sp === this.#sp(cpu);
    if (back) this.#note({ kind: "back" });
    else if (this.#code.has(linear)) this.#note({ kind: "code", cpu, linear });
    else return false;
    return true;
  }

  #sp(cpu: number): bigint {
    return readStackPointer(this.#cpus[cpu]!);
  }

  #happened(event: Event): void {
    switch (event.kind) {
      case "code": {
        const hard = this.#code.get(event.linear)!.has(STOP_KIND.hardware);
        this.#stop(event.cpu, SIGNAL.trap, hard ? "hwbreak" : "swbreak", 0);
        break;
      }
      case "data": {
        const found = [...this.#data.values()].find(({ watch }) => watch === event.watch)!;
        this.#stop(event.cpu, SIGNAL.trap, found.kind, event.watch.from);
        break;
      }
      case "step":
        this.#stepped(event.cpu, event.step);
        break;
      case "back":
        this.#backFromHandler();
    }
  }

  #stepped(cpu: number, { done, interrupted }: Step): void {
    if (interrupted === null || (this.stepFlags & STEP_FLAG.noIrq) === 0) {
      this.#stop(cpu, SIGNAL.trap, "signal", 0);
      return;
    }
    this.#endSteps();
    this.#outside = { cpu, linear: interrupted.linear, sp: interrupted.sp, done };
    this.#stops.addCode(interrupted.linear);
  }

  #backFromHandler(): void {
    const { cpu, linear, done } = this.#outside!;
    this.#endSteps();
    if (done) {
      this.#stop(cpu, SIGNAL.trap, "signal", 0);
      return;
    }
    this.#stops.seen(cpu, linear, this.#cpus[cpu]!.retired);
    this.#step(cpu);
  }

  #endSteps(): void {
    for (const cpu of this.#cpus) cpu.onStep = null;
    if (this.#outside !== null) this.#stops.removeCode(this.#outside.linear);
    this.#outside = null;
  }

  #stop(index: number, signal: number, why: StopReason["why"], address: number): void {
    this.#endSteps();
    this.standing = true;
    this.current = index;
    const cpu = this.#cpus[index]!;
    this.#stops.seen(index, cpu.linearRip, cpu.retired);
    this.#listener.stopped({ cpu: index, signal, why, address });
  }

  /** The debugger came: the machine stands still. */
  attach(): void {
    this.#attached = true;
    this.standing = true;
    this.current = this.#whoseTurn();
  }

  /** The debugger went: the machine goes on as if it had never been there. */
  detach(): void {
    this.clear();
    this.#attached = false;
    this.standing = false;
  }
}

const RSP = 4 * 8;
const readStackPointer = (cpu: X86Cpu): bigint => cpu.ctx.state.big(RSP);
