/**
 * 3. Priorities. The upper four bits of a vector are its class; while a handler runs, the local APIC lets only higher classes through. Four devices ask
 * one after the other, each while the one before is being served: low, normal, high, critical.
 *
 *     iretq run examples/3-nested-priorities.ts --costs desktop --trace nested.pftrace
 */
import { scenario } from "iretq";
import { COST_TABLES, compute, type InterruptPriority, Kernel, readClock, type Task, UartDriver } from "iretq/kernel";

const DEVICES = [
  { line: 5, name: "low" },
  { line: 10, name: "normal" },
  { line: 11, name: "high" },
  { line: 14, name: "critical" },
];

export default scenario({ cpus: 1, costs: COST_TABLES.desktop }, machine => {
  const kernel = new Kernel(machine);
  const serial = new UartDriver();
  const log: string[] = [];

  kernel.start(function* main() {
    yield* serial.start(kernel);
    for (const [level, { line, name }] of DEVICES.entries()) {
      function* handler(): Task {
        log.push(`${yield* readClock()} ns: ${"  ".repeat(kernel.nesting(0).length - 1)}${name} begins`);
        yield* compute(20_000);
        log.push(`${yield* readClock()} ns: ${"  ".repeat(kernel.nesting(0).length - 1)}${name} ends`);
      }
      yield* kernel.irqs.request(kernel.isaSource(line), { name, handler, priority: level as InterruptPriority });
    }
    yield* compute(2_000_000);
    for (const text of log) yield* serial.write(`${text}\n`);
    yield* kernel.powerOff();
  });

  for (const [i, { line }] of DEVICES.entries()) {
    const wire = machine.line(line);
    machine.at(1_000_000 + i * 5_000, () => wire.pulse());
  }
});
