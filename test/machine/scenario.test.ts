/**
 * Kernels in TypeScript on scripted cores, whole machines: nesting, balancing, tasks, deferred work, drivers, mixed machines, and that a run repeats.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MIB } from "../../src/base/units.ts";
import {
  Balancer,
  COST_TABLES,
  compute,
  FRAME,
  GPR,
  halt,
  int,
  type InterruptContext,
  type InterruptPriority,
  type Irq,
  Kernel,
  KERNEL_VECTOR,
  KeyboardDriver,
  load32,
  load64,
  msixSource,
  RtcDriver,
  readClock,
  readRegister,
  requestThreaded,
  restoreContext,
  SAVED_GPR,
  SELECTOR,
  saveContext,
  savedSpecial,
  startHpet,
  startLocalTimer,
  startPit,
  store32,
  type Task,
  thisCpu,
  UartDriver,
  writeRegister,
} from "../../src/kernel/index.ts";
import { scenario, ScriptedMachine } from "../../src/machine/scenario.ts";
import { type Run, runScenario } from "../../src/machine/scenario.testing.ts";
import { EVENT } from "../../src/ports/events.ts";
import type { Window } from "../../src/ports/window.ts";
import { Rng } from "../../src/sim/rng.ts";

/** A kernel on `cpus` CPUs whose CPU 0 runs `main` and then switches the machine off. */
function kernelRun(
  cpus: number,
  main: (kernel: Kernel, machine: ScriptedMachine) => Task,
  outside: (machine: ScriptedMachine) => void = () => {},
  kinds: readonly number[] = [],
  stackBytes = 16384,
): { run: Run; kernel: Kernel } {
  let kernel!: Kernel;
  const run = runScenario(
    { cpus },
    machine => {
      kernel = new Kernel(machine, { stackBytes });
      kernel.start(function* () {
        yield* kernel.waitForAll();
        yield* main(kernel, machine);
        yield* kernel.powerOff();
      });
      outside(machine);
    },
    kinds,
  );
  return { run, kernel };
}

// --- nesting ------------------------------------------------------------------------------------------------------------------------------------------

describe("nested interrupts (Intel SDM vol. 3A, Task and Processor Priorities: a class is the vector's upper four bits)", () => {
  /** Lines of each priority; one of the highest, so that only masked spans can hold it up. */
  const LINES = [
    { line: 3, level: 0 },
    { line: 5, level: 0 },
    { line: 6, level: 1 },
    { line: 7, level: 1 },
    { line: 10, level: 2 },
    { line: 11, level: 2 },
    { line: 14, level: 3 },
  ];
  const ROUNDS = 6;
  const ROUND_NS = 400_000;
  const BEGIN = 3_000_000;

  /** Every line rises once a round, at the given offset; a handler of level n works for `work[n]`. */
  function nested(offsets: readonly number[], work: readonly number[]) {
    const handled = LINES.map(() => 0);
    /** Instants of each handler's first and last operation, in the order in which they happened. */
    const first: number[] = [];
    const last: number[] = [];
    const run = runScenario(
      { costs: COST_TABLES.desktop },
      machine => {
        const kernel = new Kernel(machine);
        kernel.start(function* () {
          for (const [i, { line, level }] of LINES.entries()) {
            function* handler(): Task {
              first.push(yield* readClock());
              yield* compute(work[level]!);
              handled[i]!++;
              last.push(yield* readClock());
            }
            const priority = level as InterruptPriority;
            yield* kernel.irqs.request(kernel.isaSource(line), { name: `line ${line}`, handler, priority });
          }
          while ((yield* readClock()) < BEGIN + ROUNDS * ROUND_NS) yield* compute(10_000);
          yield* kernel.powerOff();
        });
        for (const [i, { line }] of LINES.entries()) {
          const pin = machine.line(line);
          for (let round = 0; round < ROUNDS; round++)
            machine.at(BEGIN + round * ROUND_NS + offsets[round * LINES.length + i]!, () => pin.pulse());
        }
      },
      [EVENT.interrupt, EVENT.iret, EVENT.lineLevel],
    );
    return { run, handled, first, last };
  }

  function check({ run, handled, first, last }: ReturnType<typeof nested>): number {
    expect(run.exit.kind).toBe("power-off");
    expect(handled).toEqual(LINES.map(() => ROUNDS));
    const inside: number[] = [];
    let deepest = 0;
    for (const { kind, a } of run.events) {
      if (kind === EVENT.interrupt) {
        if (inside.length > 0) expect(a >> 4).toBeGreaterThan(inside.at(-1)! >> 4);
        inside.push(a);
        deepest = Math.max(deepest, inside.length);
      } else if (kind === EVENT.iret) inside.pop();
    }
    // Interrupts are off from a handler's delivery to its first operation, and from its last one to its IRET.
    let masked = 0;
    const entered = run.events.filter(({ kind }) => kind === EVENT.interrupt);
    const returned = run.events.filter(({ kind }) => kind === EVENT.iret);
    for (const { time } of entered) masked = Math.max(masked, Math.min(...first.filter(at => at >= time)) - time);
    for (const { time } of returned) masked = Math.max(masked, time - Math.max(...last.filter(at => at <= time)));
    const rises = run.events.filter(({ kind, subject, a }) => kind === EVENT.lineLevel && subject === 14 && a === 1);
    const taken = entered.filter(({ a }) => a >> 4 >= 12);
    expect(taken).toHaveLength(ROUNDS);
    for (const [i, { time }] of taken.entries()) expect(time - rises[i]!.time).toBeLessThanOrEqual(masked);
    return deepest;
  }

  test("four levels at random times: nobody is interrupted by his own class or a lower one, every edge is handled once, the highest waits for masked spans only", () => {
    const offsets = fc.array(fc.nat(30_000), { minLength: ROUNDS * LINES.length, maxLength: ROUNDS * LINES.length });
    const work = fc.array(fc.integer({ min: 1, max: 12_000 }), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(offsets, work, (at, ns) => {
        check(nested(at, ns));
      }),
      { numRuns: 25 },
    );
  });

  test("low, normal, high and critical in this order nest four deep; each goes on where it was", () => {
    const offsets = Array.from({ length: ROUNDS }, () => [0, 90_000, 3000, 100_000, 6000, 110_000, 9000]).flat();
    const result = nested(offsets, [12_000, 12_000, 12_000, 5000]);
    expect(check(result)).toBe(4);
  });
});

// --- balancing ----------------------------------------------------------------------------------------------------------------------------------------

const TABLE = 0xd0000000;
const SOURCES = 64;

/** A device with an MSI-X table of 64 entries at TABLE: address, high address, data, mask (PCI 3.0, 6.8.2.9). Pending while masked. */
class MessageSources implements Window {
  readonly name = "sources";
  readonly size = SOURCES * 16;
  readonly minWidth = 4;
  readonly maxWidth = 4;
  readonly #words = new Uint32Array(SOURCES * 4);
  readonly #pending = new Uint8Array(SOURCES);
  readonly #machine: ScriptedMachine;
  /** Messages that had to reach a handler. */
  readonly raised = new Array<number>(SOURCES).fill(0);
  constructor(machine: ScriptedMachine) {
    this.#machine = machine;
    for (let i = 0; i < SOURCES; i++) this.#words[4 * i + 3] = 1;
    machine.pc.space.mapWindow(this, TABLE);
  }
  read(offset: number): number {
    return this.#words[offset >> 2]!;
  }
  write(offset: number, _width: number, value: number): void {
    this.#words[offset >> 2] = value;
    const i = offset >> 4;
    if ((offset & 15) !== 12 || (value & 1) !== 0 || this.#pending[i] === 0) return;
    this.#pending[i] = 0;
    this.#send(i);
  }
  fire(i: number): void {
    this.raised[i]!++;
    if ((this.#words[4 * i + 3]! & 1) !== 0) this.#pending[i] = 1;
    else this.#send(i);
  }
  #send(i: number): void {
    this.#machine.message(this.#words[4 * i]!, this.#words[4 * i + 2]!);
  }
}

describe("balancing", () => {
  /** 64 sources on 8 CPUs, source i every `unit` × (8 + i) ns unless its last interrupt is not handled yet. */
  function sources(
    unit: number,
    work: number,
    end: number,
    main: (kernel: Kernel, irqs: Irq[]) => Task,
  ): { handled: number[]; raised: number[]; perCpu: number[][]; run: Run; kernel: Kernel } {
    const handled = new Array<number>(SOURCES).fill(0);
    const perCpu: number[][] = [];
    let device!: MessageSources;
    const { run, kernel } = kernelRun(
      8,
      function* (k) {
        const irqs: Irq[] = [];
        for (let i = 0; i < SOURCES; i++) {
          function* handler(): Task {
            handled[i]!++;
            yield* compute(work);
          }
          const priority = (i & 3) as InterruptPriority;
          irqs.push(yield* k.irqs.request(msixSource(TABLE + 16 * i), { name: `source ${i}`, handler, priority }));
        }
        yield* main(k, irqs);
        while ((yield* readClock()) < end + 1_000_000) yield* compute(1000);
      },
      machine => {
        device = new MessageSources(machine);
        for (let i = 0; i < SOURCES; i++) {
          const period = unit * (8 + i);
          machine.every(1_000_000 + period, period, Math.floor((end - 1_000_000) / period) - 1, () => {
            if (handled[i] === device.raised[i]) device.fire(i);
          });
        }
      },
    );
    return { handled, raised: device.raised, perCpu, run, kernel };
  }

  test("64 vectors with skewed rates, all on CPU 0 at first, end within 10 % of even load on 8 CPUs", () => {
    let loads: number[] = [];
    const { handled, raised } = sources(4000, 300, 22_000_000, function* (kernel) {
      const balancer = new Balancer(kernel.irqs, 8);
      for (let round = 0; round < 3; round++) {
        yield* compute(4_000_000);
        yield* balancer.rebalance();
      }
      // What counts is what the handlers themselves did from here on.
      const before = kernel.irqs.irqs.map(irq => irq.descriptor.statistics.handlerNs);
      yield* compute(8_000_000);
      loads = new Array<number>(8).fill(0);
      for (const [i, irq] of kernel.irqs.irqs.entries())
        loads[irq.cpu]! += irq.descriptor.statistics.handlerNs - before[i]!;
    });
    expect(handled).toEqual(raised);
    const mean = loads.reduce((sum, load) => sum + load, 0) / 8;
    expect(mean).toBeGreaterThan(0);
    for (const load of loads) expect(Math.abs(load - mean) / mean).toBeLessThanOrEqual(0.1);
  });

  test("10 000 moves under way: no interrupt is lost or handled twice, and the vectors that were left are free again", () => {
    const rng = new Rng("moves");
    const { handled, raised, kernel } = sources(300, 40, 16_000_000, function* (k, irqs) {
      for (let moves = 0; moves < 10_000; ) {
        const irq = rng.pick(irqs);
        const cpu = rng.below(8);
        if (cpu === irq.cpu) continue;
        yield* k.irqs.move(irq, cpu);
        yield* compute(rng.below(800));
        moves++;
      }
    });
    expect(handled).toEqual(raised);
    expect(Math.min(...handled)).toBeGreaterThan(100);
    expect(kernel.unexpected).toBe(0);
    expect(kernel.irqs.irqs.reduce((sum, { moves }) => sum + moves, 0)).toBe(10_000);
    let used = 0;
    for (let cpu = 0; cpu < 8; cpu++) for (let v = 0x30; v < 0xf0; v++) if (kernel.vectors.isUsed(cpu, v)) used++;
    expect(used).toBe(SOURCES);
  });

  test("lowest-priority delivery: the hardware passes over a CPU whose task priority is high", () => {
    const taken = [0, 0, 0, 0];
    kernelRun(
      4,
      function* (kernel) {
        function* handler({ cpu }: InterruptContext): Task {
          taken[cpu]!++;
          yield* compute(100);
        }
        yield* kernel.apic.setTaskPriority(0xe0);
        const source = kernel.isaSource(5);
        yield* kernel.irqs.request(source, { name: "line", handler, lowestPriority: true });
        yield* compute(2_000_000);
      },
      machine => {
        const pin = machine.line(5);
        machine.every(1_000_000, 10_000, 30, () => pin.pulse());
      },
    );
    expect(taken[0]).toBe(0);
    expect(taken.slice(1)).toEqual([10, 10, 10]);
  });
});

// --- shared level-triggered lines ---------------------------------------------------------------------------------------------------------------------

test("two devices share a level-triggered line: both are asked until the line is low, and each is served once a request", () => {
  const served = [0, 0];
  const asked = [0, 0];
  const { kernel } = kernelRun(
    1,
    function* (k, machine) {
      const pins = [machine.line(18), machine.line(18)];
      for (const i of [0, 1]) {
        function* handler(): Task<boolean> {
          asked[i]!++;
          if (!pins[i]!.level) return false;
          yield* compute(500);
          served[i]!++;
          pins[i]!.deassert();
          return true;
        }
        yield* k.irqs.request(k.pinSource(18), { name: `device ${i}`, handler, shared: true });
      }
      machine.pc.queue
        .alarm("test", () => {
          for (const pin of pins) pin.assert();
        })
        .armIn(1000);
      yield* compute(100_000);
      pins[1]!.assert();
      yield* compute(100_000);
    },
    () => {},
  );
  expect(served).toEqual([1, 2]);
  expect(asked[0]).toBe(asked[1]);
  expect(kernel.irqs.irqs[0]!.disabled).toBe(false);
});

test("a level-triggered line that nobody claims is masked in the end instead of keeping the CPU for ever", () => {
  const { run, kernel } = kernelRun(
    1,
    function* (k) {
      function* handler(): Task<boolean> {
        yield* compute(10);
        return false;
      }
      yield* k.irqs.request(k.pinSource(18), { name: "not mine", handler, shared: true });
      yield* compute(3_000_000);
    },
    machine => {
      const pin = machine.line(18);
      machine.at(1_000_000, () => pin.assert());
    },
  );
  expect(run.exit.kind).toBe("power-off");
  expect(kernel.irqs.irqs[0]!.disabled).toBe(true);
});

// --- contexts -----------------------------------------------------------------------------------------------------------------------------------------

test("the context of an interrupted task lies on the kernel stack as the processor and the entry code laid it out, and is restored", () => {
  const seen: number[] = [];
  let entry = 0;
  let after: number[] = [];
  kernelRun(1, function* (kernel) {
    function* handler({ registers, frame }: InterruptContext): Task {
      const context = yield* saveContext();
      seen.push(yield* load64(registers + SAVED_GPR.rbx), yield* load64(registers + SAVED_GPR.r15));
      seen.push(yield* load64(frame + FRAME.cs), (yield* load64(frame + FRAME.flags)) & 0x200);
      seen.push(yield* load64(frame + FRAME.rsp), yield* load64(frame + FRAME.ss));
      seen.push(yield* savedSpecial(context, "tr"), context);
      yield* writeRegister(GPR.rbx, 1);
      yield* writeRegister(GPR.r15, 2);
      yield* restoreContext();
    }
    kernel.install({ number: 0x40, handler, nested: false });
    yield* writeRegister(GPR.rbx, 0xb0b);
    yield* writeRegister(GPR.r15, 0xffffffff, 0x80000000);
    entry = yield* readRegister(GPR.rsp);
    yield* writeRegister(GPR.r15, 0xf15);
    yield* kernel.apic.sendToSelf(0x40);
    yield* compute(10);
    after = [yield* readRegister(GPR.rbx), yield* readRegister(GPR.r15), yield* readRegister(GPR.rsp)];
  });
  // 5 words of frame, 15 of general registers, 17 further ones: RSP was aligned to 16 before.
  const context = entry - 8 * (5 + 15 + 17);
  expect(seen).toEqual([0xb0b, 0xf15, SELECTOR.kernelCode, 0x200, entry, SELECTOR.kernelData, SELECTOR.task, context]);
  expect(after).toEqual([0xb0b, 0xf15, entry]);
});

test("a handler that lets itself be interrupted for ever overflows its stack: the guard page stops it, and the error holds the chain", () => {
  const { run, kernel } = kernelRun(
    1,
    function* (k) {
      // The mistake: EOI at the beginning, so that the same class may interrupt again, and more work than time.
      function* handler(): Task {
        yield* k.useStack(200);
        yield* k.apic.endOfInterrupt();
        yield* k.apic.sendToSelf(0x50);
        yield* compute(100);
        yield* k.dropStack(200);
      }
      k.install({ number: 0x50, handler, description: "eager" });
      yield* k.apic.sendToSelf(0x50);
      yield* compute(1_000_000);
    },
    () => {},
    [],
    4096,
  );
  expect(run.exit.status).toBe((0x23 << 1) | 1);
  expect(kernel.panicText).toMatch(
    /^kernel stack of CPU 0 overflowed at 0x[0-9a-f]+; in vector 0x50 \(eager\) over vector 0x50 \(eager\)/,
  );
  // A frame of 40 bytes, 15 registers, 200 bytes of its own, rounded up to 16: 368 a handler, so 11 fit into 4096.
  expect(kernel.panicText!.split("over vector")).toHaveLength(11);
  expect(run.machine.notes[0]).toContain("kernel panic: kernel stack of CPU 0 overflowed");
});

// --- tasks --------------------------------------------------------------------------------------------------------------------------------------------

describe("tasks", () => {
  test("the timer shares the CPU out among tasks that never give it up, and each keeps its registers", () => {
    const progress = [0, 0, 0];
    const wrong: number[] = [];
    const { kernel } = kernelRun(1, function* (k) {
      yield* k.scheduler.start(0);
      for (const i of [0, 1, 2]) {
        yield* k.scheduler.create(`busy ${i}`, 0, function* () {
          yield* writeRegister(GPR.rbx, 100 + i);
          yield* writeRegister(GPR.r8, 200 + i);
          for (let round = 0; round < 100; round++) {
            yield* compute(10_000);
            if ((yield* readRegister(GPR.rbx)) !== 100 + i || (yield* readRegister(GPR.r8)) !== 200 + i) wrong.push(i);
            progress[i]!++;
          }
        });
      }
      yield* startLocalTimer(k, 50_000);
      yield* k.scheduler.sleep(1_500_000);
      expect(Math.min(...progress)).toBeGreaterThan(40);
      expect(Math.max(...progress) - Math.min(...progress)).toBeLessThanOrEqual(6);
      yield* k.scheduler.sleep(2_000_000);
    });
    expect(progress).toEqual([100, 100, 100]);
    expect(wrong).toEqual([]);
    expect(kernel.scheduler.switches).toBeGreaterThan(60);
  });

  test("a task on another CPU is woken by an IPI; a sleeper wakes at the first tick behind its time", () => {
    const log: string[] = [];
    let slept = 0;
    kernelRun(2, function* (kernel) {
      const { scheduler } = kernel;
      yield* scheduler.start(0);
      yield* scheduler.start(1);
      yield* startLocalTimer(kernel, 100_000);
      const other = yield* scheduler.create("other", 1, function* () {
        log.push(`on CPU ${yield* thisCpu()}`);
        yield* compute(1000);
      });
      const before = yield* readClock();
      yield* scheduler.sleep(250_000);
      slept = (yield* readClock()) - before;
      yield* scheduler.join(other);
    });
    expect(log).toEqual(["on CPU 1"]);
    expect(slept).toBeGreaterThanOrEqual(250_000);
    expect(slept).toBeLessThan(360_000);
  });

  test("a user-mode task enters the kernel by INT 0x80 on its kernel stack and cannot do what only the kernel may", () => {
    const seen: number[] = [];
    let privileged = 0;
    const { run } = kernelRun(
      1,
      function* (kernel) {
        const { scheduler } = kernel;
        yield* scheduler.start(0);
        kernel.systemCalls.register(1, function* (a, b, _c, { frame }) {
          seen.push(a, b, (yield* load64(frame + FRAME.cs)) & 3);
          return a + b;
        });
        kernel.systemCalls.register(60, function* () {
          yield* scheduler.exit();
          return 0;
        });
        // The handler of #GP skips the operation: RIP + 1 in the frame.
        kernel.install({
          number: 13,
          handler: function* ({ frame }) {
            privileged++;
            yield* store32(frame + FRAME.rip, (yield* load32(frame + FRAME.rip)) + 1);
          },
        });
        const task = yield* scheduler.createUser("user", 0, function* () {
          yield* writeRegister(GPR.rax, 1);
          yield* writeRegister(GPR.rdi, 40);
          yield* writeRegister(GPR.rsi, 2);
          yield* int(0x80);
          seen.push(yield* readRegister(GPR.rax));
          yield* halt();
          yield* int(0x20);
          yield* writeRegister(GPR.rax, 60);
          yield* int(0x80);
        });
        yield* scheduler.join(task);
      },
      () => {},
      [EVENT.cpl],
    );
    expect(seen).toEqual([40, 2, 3, 42]);
    // HLT at level 3, and a gate whose DPL is 0 (SDM vol. 3A, 6.12.1.1).
    expect(privileged).toBe(2);
    expect(run.events.map(({ a }) => a)).toEqual([3, 0, 3, 0, 3, 0, 3, 0]);
  });
});

// --- deferred work ------------------------------------------------------------------------------------------------------------------------------------

describe("deferred work", () => {
  test("a soft interrupt runs behind the outermost handler, with interrupts on, and another interrupt gets in", () => {
    const log: string[] = [];
    kernelRun(1, function* (kernel) {
      kernel.softIrqs.register(3, function* () {
        log.push("soft begins");
        yield* kernel.apic.sendToSelf(0x60);
        yield* compute(100);
        log.push("soft ends");
      });
      kernel.install({
        number: 0x50,
        handler: function* ({ cpu }) {
          log.push("handler");
          kernel.softIrqs.raise(cpu, 3);
          yield* kernel.apic.sendToSelf(0x70);
          yield* compute(100);
          log.push("handler ends");
        },
      });
      for (const number of [0x60, 0x70])
        kernel.install({
          number,
          handler: function* () {
            log.push(`0x${number.toString(16)}`);
            yield* compute(1);
          },
        });
      yield* kernel.apic.sendToSelf(0x50);
      yield* compute(1000);
    });
    expect(log).toEqual(["handler", "0x70", "handler ends", "soft begins", "0x60", "soft ends"]);
  });

  test("a threaded handler of a level-triggered line: masked until its task is done, other tasks' interrupts go on meanwhile", () => {
    let done = 0;
    let taken = 0;
    let others = 0;
    kernelRun(
      1,
      function* (kernel, machine) {
        yield* kernel.scheduler.start(0);
        yield* startLocalTimer(kernel, 10_000);
        const pin = machine.line(19);
        const { irq } = yield* requestThreaded(kernel, kernel.pinSource(19), { name: "slow" }, function* () {
          yield* compute(50_000);
          done++;
          pin.deassert();
        });
        kernel.install({
          number: 0x40,
          handler: function* () {
            others++;
            yield* compute(1);
          },
        });
        machine.pc.queue.alarm("raise", () => pin.assert()).armIn(1000);
        for (let i = 0; i < 10; i++) {
          yield* compute(20_000);
          yield* kernel.apic.sendToSelf(0x40);
        }
        taken = irq.descriptor.statistics.count;
      },
      () => {},
    );
    expect(done).toBe(1);
    expect(taken).toBe(1);
    expect(others).toBe(10);
  });
});

// --- drivers ------------------------------------------------------------------------------------------------------------------------------------------

describe("drivers, on the same device models that a kernel image drives", () => {
  test("UART: bytes come by interrupt, text goes out", () => {
    const uart = new UartDriver();
    const { run } = kernelRun(
      1,
      function* (kernel) {
        yield* uart.start(kernel);
        while (uart.received.length < 5) yield* compute(100_000);
        yield* uart.write("world");
      },
      machine => machine.at(3_000_000, () => machine.type("hello")),
    );
    expect(String.fromCharCode(...uart.received)).toBe("hello");
    expect(run.serial).toBe("world");
  });

  test("keyboard: make and break code of A, set 1 (1E, 9E)", () => {
    const keyboard = new KeyboardDriver();
    kernelRun(
      1,
      function* (kernel) {
        yield* keyboard.start(kernel);
        while (keyboard.scanCodes.length < 2) yield* compute(100_000);
      },
      machine => {
        machine.at(3_000_000, () => machine.pc.keyboard.key("KeyA"));
        machine.at(5_000_000, () => machine.pc.keyboard.key("KeyA", false));
      },
    );
    expect(keyboard.scanCodes).toEqual([0x1e, 0x9e]);
  });

  test("RTC: 1024 Hz for an eighth of a second, and the date that the board begins with", () => {
    const rtc = new RtcDriver();
    let time = { year: 0, month: 0, day: 0, hours: 0, minutes: 0, seconds: 0 };
    kernelRun(1, function* (kernel) {
      yield* rtc.start(kernel);
      time = yield* rtc.time();
      yield* rtc.setPeriodic(6);
      yield* compute(125_000_000);
      yield* rtc.setPeriodic(0);
    });
    expect(Math.abs(rtc.periodic - 128)).toBeLessThanOrEqual(1);
    expect(time.month).toBeGreaterThanOrEqual(1);
    expect(time.month).toBeLessThanOrEqual(12);
  });

  test("8254, HPET and local timer at 1 kHz count the same 20 ms", () => {
    const counts = [0, 0, 0];
    kernelRun(1, function* (kernel) {
      const count = (i: number) =>
        function* (): Task {
          counts[i]!++;
          yield* compute(1);
        };
      yield* startPit(kernel, 1_000_000, count(0));
      yield* startHpet(kernel, 1_000_000, 23, count(1));
      kernel.install({ number: KERNEL_VECTOR.timer, handler: count(2) });
      yield* startLocalTimer(kernel, 1_000_000);
      yield* compute(20_500_000);
    });
    for (const count of counts) expect(Math.abs(count - 20)).toBeLessThanOrEqual(1);
  });

  test("8259 pair: an interrupt by ExtINT, its EOIs to both chips, and a spurious IRQ 7", () => {
    let taken = 0;
    let kernel!: Kernel;
    const run = runScenario(
      {},
      machine => {
        kernel = new Kernel(machine, { pic: 0x40 });
        const k = kernel;
        k.start(function* () {
          function* handler(): Task {
            taken++;
            yield* compute(10);
          }
          for (const irq of [7, 14])
            k.install({ number: k.pic.vectorOf(irq), handler, controller: "8259", edgeTriggered: true });
          yield* k.pic.unmask(7);
          yield* k.pic.unmask(14);
          // LINT0 was left in virtual-wire mode by firmware.
          yield* compute(2_000_000);
          yield* k.powerOff();
        });
        // An edge-triggered input must stay high until it is acknowledged (8259A data sheet, "Edge and Level Triggered Modes").
        const disk = machine.line(14);
        for (const at of [1_000_000, 1_010_000]) {
          machine.at(at, () => disk.assert());
          machine.at(at + 2000, () => disk.deassert());
        }
        const seven = machine.line(7);
        machine.at(1_020_000, () => seven.pulse());
      },
      [EVENT.picEoi, EVENT.interrupt],
    );
    expect(run.exit.kind).toBe("power-off");
    expect(taken).toBe(2);
    expect(kernel.spurious).toBe(1);
    // b: by ExtINT. Vectors 0x40 + 14 twice, and the master's input 7.
    const taking = run.events.filter(({ kind }) => kind === EVENT.interrupt).map(({ a, b }) => [a, b]);
    expect(taking).toEqual([
      [0x4e, 1],
      [0x4e, 1],
      [0x47, 1],
    ]);
    const ends = run.events.filter(({ kind }) => kind === EVENT.picEoi).map(({ subject }) => subject);
    expect(ends).toEqual([14, 2, 14, 2]);
  });
});

// --- several processors, mixed machines, repetition ---------------------------------------------------------------------------------------------------

test("an application processor that waits is started by INIT and start-up IPIs, and answers an IPI", () => {
  let woken = 0;
  const run = runScenario(
    { cpus: 2, waitForSipi: true },
    machine => {
      const kernel = new Kernel(machine, { x2apic: true });
      kernel.start(function* () {
        kernel.install({
          number: 0x50,
          handler: function* ({ cpu }) {
            woken += cpu;
            yield* compute(1);
          },
        });
        yield* kernel.apic.startProcessor(1, 8);
        yield* kernel.waitForAll();
        yield* kernel.apic.sendIpi(1, 0x50);
        yield* compute(10_000);
        yield* kernel.powerOff();
      });
    },
    [EVENT.sipi, EVENT.init],
  );
  expect(run.exit.kind).toBe("power-off");
  expect(woken).toBe(1);
  expect(run.events.map(({ kind, subject, a }) => [kind, subject, a])).toEqual([
    [EVENT.init, 1, 0],
    [EVENT.sipi, 1, 8],
  ]);
});

/** 16-bit code at 0x8000 for an x86 core: writes 0x5A to [0x9000], sends IPI 0x50 to APIC 0 through a 32-bit address, halts. */
const X86_CODE = [
  ...[0xc6, 0x06, 0x00, 0x10, 0x5a], // mov byte [0x1000], 0x5a (DS = 0x800)
  ...[0xf4], // hlt
  ...[0xeb, 0xfd], // jmp to the hlt
];

test("a mixed machine: a scripted kernel starts an x86 core by IPIs, which runs machine code in the same memory", () => {
  let seen = 0;
  const make = () =>
    runScenario({ cpus: 2, x86: [1] }, machine => {
      const kernel = new Kernel(machine);
      machine.setProgram(0, function* () {
        yield* kernel.boot(0);
        // CS starts at 0x800 with base 0x8000 (SDM vol. 3A, 9.4.3); DS is 0: the byte lands at 0x1000.
        for (const [i, byte] of X86_CODE.entries()) yield* store32(0x8000 + i, byte);
        yield* kernel.apic.startProcessor(1, 8);
        seen = (yield* load32(0x1000)) & 0xff;
        yield* kernel.powerOff();
      });
    });
  const one = make();
  expect(one.exit.kind).toBe("power-off");
  expect(seen).toBe(0x5a);
  expect(make().hash).toBe(one.hash);
});

const busy = (machine: ScriptedMachine): void => {
  const kernel = new Kernel(machine);
  kernel.start(function* () {
    yield* kernel.waitForAll();
    function* handler(): Task {
      yield* compute(137);
    }
    const irq = yield* kernel.irqs.request(kernel.isaSource(5), { name: "line", handler });
    for (let i = 0; i < 50; i++) {
      yield* compute(1000);
      yield* kernel.irqs.move(irq, i % 3 === irq.cpu ? (irq.cpu + 1) % 3 : i % 3);
    }
    yield* kernel.powerOff();
  });
  const pin = machine.line(5);
  machine.every(900_000, 777, 200, () => pin.pulse());
};

test("the same scenario gives the same state and the same events twice, traced or not, however the run is cut", () => {
  const kinds = [EVENT.interrupt, EVENT.iret, EVENT.lapicAccept, EVENT.lapicEoi, EVENT.mmioWrite];
  const traced = runScenario({ cpus: 3 }, busy, kinds);
  const again = runScenario({ cpus: 3 }, busy, kinds);
  expect(traced.exit.kind).toBe("power-off");
  expect(again.events).toEqual(traced.events);
  expect(again.hash).toBe(traced.hash);
  expect(runScenario({ cpus: 3 }, busy).hash).toBe(traced.hash);
  const cut = new ScriptedMachine(scenario({ cpus: 3, memory: 8 * MIB }, busy));
  const rng = new Rng("cuts");
  while (cut.pc.run(cut.pc.retired + 1 + rng.below(700)) === null);
  expect(cut.pc.stateHash()).toBe(traced.hash);
});

test("saved at a random instant and loaded by repeating the way there, it ends in the same state; typing is part of the way", () => {
  const make = (setUp = busy): ScriptedMachine => new ScriptedMachine(scenario({ cpus: 3, memory: 8 * MIB }, setUp));
  const finish = (machine: ScriptedMachine): string => {
    while (machine.pc.run(machine.pc.retired + 1_000_000) === null);
    return machine.pc.stateHash();
  };
  const first = make();
  first.pc.run(new Rng("places").below(2_000_000));
  first.type("x");
  first.pc.run(first.pc.retired + 12_345);
  const place = first.save();
  const second = make();
  second.load(place);
  expect(second.pc.stateHash()).toBe(first.pc.stateHash());
  expect(finish(second)).toBe(finish(first));
  // Without what was typed it is another run.
  expect(() => make().load({ ...place, typed: [] })).toThrow(/^the snapshot does not fit/);
  expect(() => make(machine => machine.setProgram(0, function* () {})).load(place)).toThrow(
    "the snapshot does not fit",
  );
  expect(() => second.load(place)).toThrow("only before its machine has run");
});

test("a machine with a scripted core is not saved or loaded like one without: one line says so", () => {
  const { machine } = runScenario({}, m => m.setProgram(0, function* () {}));
  expect(() => machine.pc.save()).toThrow(/^a machine with scripted cores cannot be saved/);
});
