/**
 * How fast scripted cores are: yields, self-interrupts, and interrupts of a device that the handler asks for again, per second of one host core
 * (the process' own time, so that what else the host does does not count).
 *
 *     npx esbuild bench/scripted.ts --bundle --platform=node --format=esm --external:iced-x86 --outfile=out/scripted.mjs && node out/scripted.mjs
 *
 * Bundled, because tsx keeps the names of functions at a cost of its own.
 */
import { MIB } from "../src/base/units.ts";
import { compute, Kernel, store32, type Task } from "../src/kernel/index.ts";
import { scenario, ScriptedMachine } from "../src/machine/scenario.ts";

const COUNT = 1_000_000;
const EOI = 0xfee000b0;

/** Runs CPU 0's `main` on a kernel and says how many of `count` things happened in a second. */
function measure(what: string, count: number, main: (kernel: Kernel, machine: ScriptedMachine) => Task): void {
  let began = 0;
  let ended = 0;
  const { pc } = new ScriptedMachine(
    scenario({ memory: 8 * MIB }, machine => {
      const kernel = new Kernel(machine);
      kernel.start(function* () {
        began = process.cpuUsage().user;
        yield* main(kernel, machine);
        ended = process.cpuUsage().user;
        yield* kernel.powerOff();
      });
    }),
  );
  while (pc.run(pc.retired + 1e9) === null);
  const rate = (count / (ended - began)) * 1e6;
  console.log(`${what}: ${(rate / 1e6).toFixed(2)} million/s`);
}

measure("yields", 20 * COUNT, function* () {
  for (let i = 0; i < 20 * COUNT; i++) yield* compute(1);
});

/** The bare core: a handler that is only its EOI. */
measure("self-interrupts, bare handler", COUNT, function* ({ table, apic, machine }) {
  const address = machine.code.place(function* bare(): Task {
    yield* store32(EOI, 0);
  });
  yield* table.writeGate(0x60, { address });
  const { a, c } = apic.sendToSelf(0x60);
  for (let i = 0; i < COUNT; i++) yield* store32(a, c);
});

measure("self-interrupts through the kernel's entry code, nested, with statistics", COUNT, function* (kernel) {
  kernel.install({
    number: 0x60,
    handler: function* () {
      yield* compute(1);
    },
  });
  for (let i = 0; i < COUNT; i++) yield* kernel.apic.sendToSelf(0x60);
});

/** Two events a round: the device's alarm, and the interrupt of its message. */
measure("device ping-pong, events", 2 * COUNT, function* ({ table, machine: { code } }, machine) {
  let left = COUNT;
  const alarm = machine.pc.queue.alarm("ping", () => machine.message(0xfee00000, 0x60));
  const address = code.place(function* pong(): Task {
    if (--left > 0) alarm.armIn(100);
    yield* store32(EOI, 0);
  });
  yield* table.writeGate(0x60, { address });
  alarm.armIn(100);
  while (left > 0) yield* compute(1_000_000);
});
