/**
 * How fast scripted cores are, one row per process: operations, self-interrupts, and interrupts of a device that the handler asks for again. Beside each row, in
 * the same process and in turns, the generators that it cannot do without, driven by a plain loop. scripted-rows.ts bundles this file, because tsx keeps the
 * names of functions at a cost of its own, and runs it:
 *
 *     node scripted.mjs ROW        prints [million per second, million per second of the generators alone]
 *
 * CPU time of the process, so that what else the host does counts little; each the best of some pieces, behind one that warms up.
 */
import { exists } from "../src/base/assert.ts";
import { MIB } from "../src/base/units.ts";
import { compute, Kernel, store32, type Task } from "../src/kernel/index.ts";
import { scenario, ScriptedMachine } from "../src/machine/scenario.ts";

const EOI = 0xfee000b0;
const PIECES = 6;
const VECTOR = 0x60;
const PERIOD_NS = 100;

/** Runs CPU 0's `main` on a kernel until it switches the machine off. */
function run(main: (kernel: Kernel, machine: ScriptedMachine) => Task): void {
  const { pc } = new ScriptedMachine(
    scenario({ memory: 8 * MIB }, machine => {
      const kernel = new Kernel(machine);
      kernel.start(function* () {
        yield* main(kernel, machine);
        yield* kernel.powerOff();
      });
    }),
  );
  while (pc.run(pc.retired + 1e9) === null);
}

/** Rates of pieces of `count` things, each between two calls of `mark`; the first is not looked at. */
class Pieces {
  best = 0;
  readonly #count: number;
  #marks = 0;
  #before = process.cpuUsage();

  constructor(count: number) {
    this.#count = count;
  }

  mark(): void {
    const { user, system } = process.cpuUsage(this.#before);
    if (++this.#marks > 2) this.best = Math.max(this.best, this.#count / (user + system));
    this.#before = process.cpuUsage();
  }
}

/** What a core does with a generator, without anything that an operation does. */
function drive(task: Task): void {
  while (task.next(0).done !== true);
}

type Row = { readonly count: number; readonly here: (pieces: Pieces) => void; readonly alone: () => void };

/** Interrupts that the CPU sends to itself; the handler is only its EOI. */
function selfInterrupts(pieces: Pieces, count: number): void {
  run(function* ({ table, apic, machine: { code } }) {
    const address = code.place(function* bare(): Task {
      yield* store32(EOI, 0);
    });
    yield* table.writeGate(VECTOR, { address });
    const { a, c } = apic.sendToSelf(VECTOR);
    for (let piece = 0; piece <= PIECES; piece++) {
      pieces.mark();
      for (let i = 0; i < count; i++) yield* store32(a, c);
    }
    pieces.mark();
  });
}

/** The same through the kernel's entry code: registers saved, nesting, statistics. */
function kernelInterrupts(pieces: Pieces, count: number): void {
  run(function* (kernel) {
    kernel.install({
      number: VECTOR,
      handler: function* () {
        yield* compute(1);
      },
    });
    for (let piece = 0; piece <= PIECES; piece++) {
      pieces.mark();
      for (let i = 0; i < count; i++) yield* kernel.apic.sendToSelf(VECTOR);
    }
    pieces.mark();
  });
}

/** A device's alarm sends a message, whose handler arms the alarm: two events a round. */
function pingPong(pieces: Pieces, count: number): void {
  run(function* ({ table, machine: { code } }, machine) {
    let rounds = 0;
    let piece = 0;
    const alarm = machine.pc.queue.alarm("ping", () => machine.message(0xfee00000, VECTOR));
    const address = code.place(function* pong(): Task {
      if (rounds++ % (count / 2) === 0) {
        pieces.mark();
        piece++;
      }
      if (piece <= PIECES + 1) alarm.armIn(PERIOD_NS);
      yield* store32(EOI, 0);
    });
    yield* table.writeGate(VECTOR, { address });
    alarm.armIn(PERIOD_NS);
    while (piece <= PIECES + 1) yield* compute(1_000_000);
  });
}

function* handlers(operations: number): Task {
  for (let i = 0; i < operations; i++) yield* store32(EOI, i);
}

const ROWS: Readonly<Record<string, Row>> = {
  yields: {
    count: 4_000_000,
    here: pieces =>
      run(function* () {
        for (let piece = 0; piece <= PIECES; piece++) {
          pieces.mark();
          for (let i = 0; i < 4_000_000; i++) yield* compute(1);
        }
        pieces.mark();
      }),
    alone: () => drive(handlers(4_000_000)),
  },
  "self-int": {
    count: 200_000,
    here: pieces => selfInterrupts(pieces, 200_000),
    alone: () => {
      const main = handlers(200_000);
      while (main.next(0).done !== true) drive(handlers(1));
    },
  },
  "kernel-int": {
    count: 100_000,
    here: pieces => kernelInterrupts(pieces, 100_000),
    alone: () => {
      const main = handlers(100_000);
      while (main.next(0).done !== true) drive(entry());
    },
  },
  "ping-pong": {
    count: 400_000,
    here: pieces => pingPong(pieces, 400_000),
    alone: () => {
      for (let i = 0; i < 200_000; i++) drive(handlers(1));
    },
  },
};

/** Ten operations of entry code around a handler of one. */
function* entry(): Task {
  for (let i = 0; i < 5; i++) yield* store32(EOI, i);
  yield* handlers(1);
  for (let i = 0; i < 5; i++) yield* store32(EOI, i);
}

const { count, here, alone } = exists(ROWS[process.argv[2] ?? ""] ?? null, "which row?");
const machine = new Pieces(count);
here(machine);
const generators = new Pieces(count);
for (let piece = 0; piece <= PIECES; piece++) {
  generators.mark();
  alone();
}
generators.mark();
console.log(JSON.stringify([machine.best, generators.best]));
