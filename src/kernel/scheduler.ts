/**
 * Tasks and a preemptive scheduler: one queue per CPU, round robin, slices counted by the local APIC's timer. A switch happens on the kernel stack of
 * the task that leaves: its registers and the address at which it goes on are pushed there, and RSP goes into its task's word in memory; a task that was
 * preempted has its whole interrupt context below on the same stack. Each task stays on its CPU.
 */
import { assert } from "../base/assert.ts";
import type { Ns, PhysAddr } from "../base/units.ts";
import {
  cli,
  type CodeSpace,
  halt,
  interruptReturn,
  load64,
  pause,
  push,
  readClock,
  readSpecial,
  type Routine,
  SELECTOR,
  SPECIAL,
  sti,
  store64,
  SWITCH_FRAME_BYTES,
  switchTo,
  type Task,
  thisCpu,
} from "../ports/task.ts";
import type { PageMap } from "../ports/page-map.ts";
import { type Arena, makeStack, type Stack } from "./memory.ts";
import { FLAG_IF } from "./spin-lock.ts";

export const TASK_STATE = { ready: 0, running: 1, waiting: 2, done: 3 } as const;

export class KernelTask {
  readonly id: number;
  readonly name: string;
  readonly cpu: number;
  /** Null: the stack that the CPU started on. */
  readonly stack: Stack | null;
  /** Where RSP lies while the task does not run: 8 bytes. */
  readonly rspAt: PhysAddr;
  state: number = TASK_STATE.ready;
  /** When a sleeper is to be woken; Infinity when it waits for something else. */
  wakeAt: Ns = Number.POSITIVE_INFINITY;
  switches = 0;

  constructor(id: number, name: string, cpu: number, stack: Stack | null, rspAt: PhysAddr) {
    this.id = id;
    this.name = name;
    this.cpu = cpu;
    this.stack = stack;
    this.rspAt = rspAt;
  }
}

/** Tasks that wait for something. */
export class WaitQueue {
  readonly waiting: KernelTask[] = [];
}

class PerCpu {
  readonly queue: KernelTask[] = [];
  readonly sleepers: KernelTask[] = [];
  current: KernelTask;
  idle: KernelTask | null = null;
  needsSwitch = false;
  constructor(boot: KernelTask) {
    this.current = boot;
  }
}

export type SchedulerParts = {
  readonly cpus: number;
  readonly arena: Arena;
  readonly map: PageMap;
  readonly code: CodeSpace;
  readonly stackBytes: number;
  /** Address of a CPU's TSS. */
  readonly tssOf: (cpu: number) => PhysAddr;
  /** Makes another CPU look at its queue. */
  readonly kick: (cpu: number) => Task;
};

/** RSP0 in a 64-bit TSS. */
export const TSS_RSP0 = 4;
/** Stack of a user-mode task. */
const USER_STACK = 4096;

export class Scheduler {
  readonly tasks: KernelTask[] = [];
  readonly #p: SchedulerParts;
  readonly #perCpu: PerCpu[];
  #switches = 0;
  readonly #exit: number;

  constructor(parts: SchedulerParts) {
    this.#p = parts;
    this.#perCpu = Array.from({ length: parts.cpus }, (_, cpu) => {
      const boot = this.#newTask(`boot ${cpu}`, cpu, null);
      boot.state = TASK_STATE.running;
      return new PerCpu(boot);
    });
    this.#exit = parts.code.place(() => this.exit(), "exit");
  }

  get switches(): number {
    return this.#switches;
  }

  current(cpu: number): KernelTask {
    return this.#perCpu[cpu]!.current;
  }

  #newTask(name: string, cpu: number, stack: Stack | null): KernelTask {
    const task = new KernelTask(this.tasks.length, name, cpu, stack, this.#p.arena.take(8, 8));
    this.tasks.push(task);
    return task;
  }

  /** Called once on each CPU: from here on it has somebody to run when nobody wants to. */
  *start(cpu: number): Task {
    this.#perCpu[cpu]!.idle = yield* this.#make(`idle ${cpu}`, cpu, () => this.#idle(cpu));
  }

  /** A new task on `cpu`, ready to run. */
  *create(name: string, cpu: number, routine: Routine): Task<KernelTask> {
    const task = yield* this.#make(name, cpu, routine);
    yield* this.#enqueue(task);
    return task;
  }

  /** A task whose routine runs at privilege level 3 on a stack of its own; it must end by a system call. */
  *createUser(name: string, cpu: number, routine: Routine): Task<KernelTask> {
    const { arena, code } = this.#p;
    const top = arena.take(USER_STACK, USER_STACK) + USER_STACK;
    const entry = code.place(routine, name);
    return yield* this.create(name, cpu, function* enterUser(): Task {
      yield* cli();
      yield* push(SELECTOR.userData);
      yield* push(top);
      yield* push(FLAG_IF | 2);
      yield* push(SELECTOR.userCode);
      yield* push(entry);
      yield* interruptReturn();
    });
  }

  /** Prepares a stack as {@link switchTo} leaves one: six registers, where to go on, and where to return to. */
  *#make(name: string, cpu: number, routine: Routine): Task<KernelTask> {
    const { arena, map, code, stackBytes } = this.#p;
    const stack = makeStack(arena, map, `stack of ${name}`, stackBytes);
    const task = this.#newTask(name, cpu, stack);
    const begin = code.place(function* begin(): Task {
      yield* sti();
      yield* routine();
    }, name);
    yield* store64(stack.top - 8, this.#exit);
    yield* store64(stack.top - 16, begin);
    for (let at = 16 + 8; at < 16 + SWITCH_FRAME_BYTES; at += 8) yield* store64(stack.top - at, 0);
    yield* store64(task.rspAt, stack.top - 8 - SWITCH_FRAME_BYTES);
    return task;
  }

  *#enqueue(task: KernelTask): Task {
    const perCpu = this.#perCpu[task.cpu]!;
    task.state = TASK_STATE.ready;
    task.wakeAt = Number.POSITIVE_INFINITY;
    perCpu.queue.push(task);
    perCpu.needsSwitch ||= perCpu.current === perCpu.idle;
    if ((yield* thisCpu()) !== task.cpu) yield* this.#p.kick(task.cpu);
  }

  *#idle(cpu: number): Task {
    const perCpu = this.#perCpu[cpu]!;
    for (;;) {
      yield* cli();
      if (perCpu.queue.length > 0) yield* this.#switch(cpu);
      yield* sti();
      yield* halt();
    }
  }

  // --- switching --------------------------------------------------------------------------------------------------------------------------------

  /** Interrupts are off. The next task of this CPU runs; comes back when somebody switches to the present one. */
  *#switch(cpu: number): Task {
    const perCpu = this.#perCpu[cpu]!;
    perCpu.needsSwitch = false;
    const from = perCpu.current;
    if (from.state === TASK_STATE.running) {
      from.state = TASK_STATE.ready;
      if (from !== perCpu.idle) perCpu.queue.push(from);
    }
    const to = perCpu.queue.shift() ?? perCpu.idle;
    assert(to !== null, `CPU ${cpu}: nothing to run; call scheduler.start()`);
    to.state = TASK_STATE.running;
    if (to === from) return;
    perCpu.current = to;
    to.switches++;
    this.#switches++;
    if (to.stack !== null) yield* store64(this.#p.tssOf(cpu) + TSS_RSP0, to.stack.top);
    yield* switchTo(from.rspAt, yield* load64(to.rspAt));
  }

  /** At the end of the outermost interrupt, with interrupts off: switches if it is time to. */
  *preempt(cpu: number): Task {
    if (this.wantsSwitch(cpu)) yield* this.#switch(cpu);
  }

  /** {@link preempt} would do something. */
  wantsSwitch(cpu: number): boolean {
    const perCpu = this.#perCpu[cpu]!;
    return perCpu.needsSwitch && perCpu.idle !== null;
  }

  /** From the timer's handler: wakes sleepers, and ends the present task's slice. */
  *tick(cpu: number): Task {
    const perCpu = this.#perCpu[cpu]!;
    if (perCpu.sleepers.length > 0) {
      const now = yield* readClock();
      for (const task of perCpu.sleepers.filter(({ wakeAt }) => wakeAt <= now)) {
        perCpu.sleepers.splice(perCpu.sleepers.indexOf(task), 1);
        yield* this.#enqueue(task);
      }
    }
    if (perCpu.queue.length > 0) perCpu.needsSwitch = true;
  }

  // --- what tasks call --------------------------------------------------------------------------------------------------------------------------

  /** Lets others run. */
  *yield(): Task {
    yield* this.#leave(task => {
      task.state = TASK_STATE.running;
    });
  }

  /** Waits at least `ns`: until the first tick after that. */
  *sleep(ns: Ns): Task {
    const until = (yield* readClock()) + ns;
    yield* this.#leave((task, perCpu) => {
      task.state = TASK_STATE.waiting;
      task.wakeAt = until;
      perCpu.sleepers.push(task);
    });
  }

  /** Waits in `queue` unless `ready()`, which is asked with interrupts off. */
  *wait(queue: WaitQueue, ready: () => boolean): Task {
    while (!ready())
      yield* this.#leave(task => {
        if (ready()) return;
        task.state = TASK_STATE.waiting;
        queue.waiting.push(task);
      });
  }

  /** Wakes all who wait; may be called by handlers. */
  *wakeAll(queue: WaitQueue): Task {
    for (const task of queue.waiting.splice(0)) yield* this.#enqueue(task);
  }

  /** Waits until `task` is done. */
  *join(task: KernelTask): Task {
    while (task.state !== TASK_STATE.done) {
      yield* this.yield();
      yield* pause();
    }
  }

  /** Ends the present task. */
  *exit(): Task {
    yield* this.#leave(task => {
      task.state = TASK_STATE.done;
    });
  }

  *#leave(become: (task: KernelTask, perCpu: PerCpu) => void): Task {
    const flags = yield* readSpecial(SPECIAL.flags);
    yield* cli();
    const cpu = yield* thisCpu();
    const perCpu = this.#perCpu[cpu]!;
    become(perCpu.current, perCpu);
    yield* this.#switch(cpu);
    if ((flags & FLAG_IF) !== 0) yield* sti();
  }
}
