/**
 * The PC as a debugger's target: registers, memory, run control and monitor commands put together. Needs x86 processors.
 */
import { HostError } from "../base/assert.ts";
import type { Ns } from "../base/units.ts";
import { X86Cpu } from "../cpu/cpu.ts";
import type { EventNames } from "../export/names.ts";
import type { Exit } from "../machine/exit.ts";
import type { Pc } from "../machine/pc.ts";
import { EventRing } from "./event-ring.ts";
import { readMemory, writeMemory } from "./memory.ts";
import { activityText } from "./monitor-cpu.ts";
import { monitor, type MonitorContext } from "./monitor.ts";
import { readRegister, REGISTER_SIZES, TARGET_XML, writeRegister } from "./registers.ts";
import { RunControl, type RunListener } from "./run-control.ts";
import { type Action, type DebugTarget, STEP_FLAG } from "./target.ts";

export class PcTarget implements DebugTarget {
  readonly xml = TARGET_XML;
  readonly registerSizes = REGISTER_SIZES;
  readonly run: (untilRetired: number, untilNs: Ns) => Exit | null;
  physical = false;
  /** The debugger asked for the end of the run; it has detached. */
  killed = false;
  detached = false;
  readonly #pc: Pc;
  readonly #cpus: readonly X86Cpu[];
  readonly #control: RunControl;
  readonly #monitor: MonitorContext;

  /** @param listener hears of stops; it may change its mind about whom to tell */
  constructor(pc: Pc, names: EventNames, listener: RunListener) {
    this.#pc = pc;
    this.#cpus = pc.cpus.map(x86);
    this.#control = new RunControl(pc, this.#cpus, listener);
    this.run = (untilRetired, untilNs) => this.#control.run(untilRetired, untilNs);
    const events = new EventRing();
    pc.trace.listen(events, EventRing.KINDS);
    const control = this.#control;
    this.#monitor = {
      ...{ pc, cpus: this.#cpus, names, events, chosen: null },
      get stoppedCpu() {
        return control.current;
      },
      get keepsOut() {
        return (control.stepFlags & STEP_FLAG.noIrq) !== 0;
      },
      set keepsOut(on) {
        control.stepFlags = on ? control.stepFlags | STEP_FLAG.noIrq : control.stepFlags & ~STEP_FLAG.noIrq;
      },
      reset: () => {
        pc.requestReset();
        // No instruction is due: only the reset happens.
        pc.run(pc.retired);
      },
    };
  }

  get standing(): boolean {
    return this.#control.standing;
  }
  get cpuCount(): number {
    return this.#cpus.length;
  }
  get current(): number {
    return this.#control.current;
  }
  get stepFlags(): number {
    return this.#control.stepFlags;
  }
  set stepFlags(flags: number) {
    this.#control.stepFlags = flags;
  }

  readRegister(cpu: number, register: number): Uint8Array {
    return readRegister(this.#cpus[cpu]!, register);
  }

  writeRegister(cpu: number, register: number, bytes: Uint8Array): boolean {
    const written = writeRegister(this.#cpus[cpu]!, register, bytes);
    // The interrupt flag may have let a sleeper wake.
    this.#pc.scheduler.woken(cpu);
    return written;
  }

  readMemory(cpu: number, address: number, length: number): Uint8Array | null {
    return readMemory(this.#cpus[cpu]!, address, length, this.physical);
  }

  writeMemory(cpu: number, address: number, bytes: Uint8Array): boolean {
    return writeMemory(this.#pc, this.#cpus[cpu]!, address, bytes, this.physical);
  }

  addStop(kind: number, address: number, length: number): boolean {
    return this.#control.add(kind, address, length);
  }
  removeStop(kind: number, address: number, length: number): boolean {
    return this.#control.remove(kind, address, length);
  }
  resume(actions: readonly Action[]): void {
    this.#monitor.chosen = null;
    this.#control.resume(actions);
  }
  interrupt(): void {
    this.#control.interrupt();
  }

  threadInfo(cpu: number): string {
    return `CPU ${cpu} ${activityText(this.#cpus[cpu]!)}`;
  }

  monitor(line: string): string {
    return monitor(this.#monitor, line);
  }

  /** A debugger has connected. */
  attach(): void {
    this.detached = false;
    this.physical = false;
    this.#control.attach();
  }
  detach(): void {
    this.detached = true;
    this.#control.detach();
  }
  kill(): void {
    this.killed = true;
  }
}

function x86(cpu: unknown): X86Cpu {
  if (cpu instanceof X86Cpu) return cpu;
  throw new HostError("--gdb needs a machine with x86 processors", 64);
}
