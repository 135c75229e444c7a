import fc from "fast-check";
import { expect, test } from "vitest";
import { RandomChoice } from "../sim/choice.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import { Rng } from "../sim/rng.ts";
import { hashState } from "../sim/state.ts";
import { CpuWires } from "./cpu-wires.ts";
import { FakeProcessor, type FakeProgram } from "./fake-processor.ts";
import { Scheduler, type SchedulerOptions, STOP } from "./scheduler.ts";

function make(programs: FakeProgram[], options: SchedulerOptions = {}) {
  const clock = new Clock();
  const queue = new EventQueue(clock);
  const cpus = programs.map((program, index) => new FakeProcessor(index, program));
  const scheduler = new Scheduler(cpus, clock, queue, options);
  const wires = cpus.map((cpu, index) => {
    const wire = new CpuWires(index);
    wire.connect(cpu, { nsUntil: () => 0 }, scheduler);
    return wire;
  });
  scheduler.reset();
  return { clock, queue, cpus, scheduler, wires };
}
const work: FakeProgram = () => {};

test("one CPU: one instruction is one nanosecond", () => {
  const { clock, scheduler } = make([work]);
  expect(scheduler.run(12345)).toBe(STOP.bound);
  expect(clock.now()).toBe(12345);
  expect(scheduler.state.retired).toBe(12345);
});

test("a round of n slices of S instructions lasts S ns, and each CPU retires one instruction per ns", () => {
  const { clock, scheduler, cpus } = make([work, work, work], { slice: 100 });
  scheduler.run(300);
  expect(clock.now()).toBe(100);
  expect(cpus.map(cpu => cpu.retired)).toEqual([100, 100, 100]);
  scheduler.run(3_000_000);
  expect(clock.now()).toBe(1_000_000);
});

test("time never runs backwards in the order of execution, and a CPU sees it move inside its slice", () => {
  const seen: number[] = [];
  const note: FakeProgram = cpu => {
    seen.push(machine.clock.now());
    if (cpu.retired % 7 === 0) machine.clock.now();
  };
  const machine = make([note, note, note], { slice: 10 });
  machine.scheduler.run(3000);
  for (let i = 1; i < seen.length; i++) expect(seen[i]! - seen[i - 1]!).toBeOneOf([0, 1]);
  expect(seen[9]).toBe(3);
  expect(seen[2999]).toBe(999);
});

test("an alarm runs at exactly its instruction boundary and the slice goes on", () => {
  const order: number[] = [];
  const machine = make([work, work], { slice: 1000 });
  const alarm = machine.queue.alarm("t", () => {
    order.push(machine.clock.now(), machine.cpus[0]!.retired, machine.cpus[1]!.retired);
  });
  alarm.armAt(123);
  machine.scheduler.run(2000);
  expect(order).toEqual([123, 246, 0]);
  expect(machine.cpus.map(cpu => cpu.retired)).toEqual([1000, 1000]);
});

test("an alarm armed in the middle of a slice cuts it at its deadline", () => {
  const fired: number[] = [];
  const machine = make([
    cpu => {
      if (cpu.retired === 500) alarm.armIn(37);
    },
  ]);
  const alarm = machine.queue.alarm("t", () => fired.push(machine.clock.now()));
  machine.scheduler.run(100_000);
  expect(fired).toEqual([537]);
});

test("when all CPUs wait, the clock jumps to the next alarm, which wakes one", () => {
  const machine = make([cpu => cpu.halt(), cpu => cpu.halt()]);
  const alarm = machine.queue.alarm("t", () => machine.wires[1]!.intr(true));
  alarm.armAt(1_000_000);
  expect(machine.scheduler.run(Number.POSITIVE_INFINITY)).toBe(STOP.idle);
  expect(machine.cpus.map(cpu => cpu.retired)).toEqual([1, 2]);
  expect(machine.cpus[1]!.state.interrupts).toBe(1);
  expect(machine.clock.now()).toBe(1_000_001);
});

test("waking a waiting CPU ends the slice of the one that woke it at that instruction, and the woken one runs next", () => {
  const machine = make([
    cpu => {
      if (cpu.retired === 2000) machine.wires[1]!.nmi(0);
    },
    cpu => {
      if (cpu.retired < 5) cpu.halt();
    },
  ]);
  machine.scheduler.run(2002);
  expect(machine.cpus.map(cpu => cpu.retired)).toEqual([2001, 1]);
  machine.scheduler.run(2003);
  expect(machine.cpus.map(cpu => cpu.retired)).toEqual([2001, 2]);
});

test("a CPU that waits for its start-up IPI takes part from that IPI on", () => {
  const machine = make([
    cpu => {
      if (cpu.retired === 10) machine.wires[1]!.init(0);
      if (cpu.retired === 30) machine.wires[1]!.startup(0x9a, 0);
    },
    work,
  ]);
  machine.cpus[1]!.init(0);
  machine.scheduler.reset();
  machine.scheduler.run(31);
  expect(machine.cpus[1]!.state.sipi).toBe(0x9a);
  machine.scheduler.run(32);
  expect(machine.cpus.map(cpu => cpu.retired)).toEqual([31, 1]);
});

test("a request stops at the end of its instruction; a triple fault stops the run", () => {
  const machine = make([
    cpu => {
      if (cpu.retired === 99) machine.scheduler.requestStop();
      if (cpu.retired === 199) cpu.shutdown();
    },
  ]);
  expect(machine.scheduler.run(1000)).toBe(STOP.request);
  expect(machine.scheduler.state.retired).toBe(100);
  expect(machine.scheduler.run(1000)).toBe(STOP.shutdown);
  expect(machine.scheduler.state.retired).toBe(200);
});

test("virtual time bounds a run exactly, also while everybody waits", () => {
  const machine = make([work, work]);
  machine.scheduler.run(Number.POSITIVE_INFINITY, 777);
  expect(machine.clock.now()).toBe(777);
  const idle = make([cpu => cpu.halt()]);
  idle.queue.alarm("far", () => {}).armAt(1e9);
  expect(idle.scheduler.run(Number.POSITIVE_INFINITY, 5000)).toBe(STOP.bound);
  expect(idle.clock.now()).toBe(5000);
});

/** CPUs that work, halt, wake one another and arm alarms, driven by a generator per CPU. */
function busy(cpus: number, seed: number, options: SchedulerOptions = {}) {
  const log: number[] = [];
  const rngs = Array.from({ length: cpus }, (_, i) => new Rng(seed * 100 + i));
  const program: FakeProgram = cpu => {
    const rng = rngs[cpu.index]!;
    switch (rng.below(40)) {
      case 0:
        return cpu.halt();
      case 1:
        return machine.wires[rng.below(cpus)]!.intr(true);
      case 2:
        return alarms[rng.below(alarms.length)]!.armIn(rng.below(300));
      case 3:
        log.push(cpu.index, machine.clock.now());
        return;
    }
  };
  const machine = make(Array(cpus).fill(program), options);
  const alarms = [0, 1, 2].map(i =>
    machine.queue.alarm(`a${i}`, () => {
      log.push(-i, machine.clock.now());
      machine.wires[i % cpus]!.intr(true);
      alarms[i]!.armIn(250 + i);
    }),
  );
  for (const alarm of alarms) alarm.armIn(100);
  const fingerprint = () =>
    hashState({ log, cpus: machine.cpus.map(cpu => cpu.state), s: machine.scheduler.state, q: machine.queue.save() });
  return { machine, fingerprint };
}

test("cutting a run anywhere changes nothing", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.nat(1000),
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 30 }),
      (cpus, seed, cuts) => {
        const options = () => ({ slice: 50, choice: new RandomChoice(new Rng(seed)) });
        const whole = busy(cpus, seed, options());
        const total = cuts.reduce((a, b) => a + b, 0);
        whole.machine.scheduler.run(total);
        const pieces = busy(cpus, seed, options());
        let until = 0;
        for (const cut of cuts) pieces.machine.scheduler.run((until += cut));
        expect(pieces.machine.scheduler.state.retired).toBe(total);
        expect(pieces.fingerprint()).toBe(whole.fingerprint());
      },
    ),
  );
});

test("slice lengths are drawn: another seed gives another order, the same seed the same", () => {
  const run = (seed: number): string => {
    const { machine, fingerprint } = busy(3, 5, { slice: 40, choice: new RandomChoice(new Rng(seed)) });
    machine.scheduler.run(20_000);
    return fingerprint();
  };
  expect(run(1)).toBe(run(1));
  expect(run(1)).not.toBe(run(2));
});
