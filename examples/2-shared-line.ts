/**
 * 2. Two devices on one level-triggered line. The line stays high while either of them asks, so each handler looks at its own device and says
 * whether it was the one; an EOI while the line is still high makes the I/O APIC send again.
 *
 *     iretq run examples/2-shared-line.ts --log line,irq
 */
import { scenario } from "iretq";
import { compute, Kernel, type Task, UartDriver } from "iretq/kernel";

/** I/O APIC pin of the first of PCI's four lines: active low, level-triggered. */
const PIN = 16;

export default scenario({ cpus: 1 }, machine => {
  const kernel = new Kernel(machine);
  const serial = new UartDriver();
  const wires = [machine.line(PIN), machine.line(PIN)];
  const served = [0, 0];

  function* handler(device: number): Task<boolean> {
    const wire = wires[device]!;
    // A real driver reads its device's status register here.
    if (!wire.level) return false;
    yield* compute(2_000);
    served[device]!++;
    wire.deassert();
    return true;
  }

  kernel.start(function* main() {
    yield* serial.start(kernel);
    for (const device of [0, 1]) {
      const options = { name: `device ${device}`, shared: true, handler: () => handler(device) };
      yield* kernel.irqs.request(kernel.pinSource(PIN), options);
    }
    yield* compute(5_000_000);
    yield* serial.write(`device 0 was served ${served[0]} times, device 1 ${served[1]} times\n`);
    yield* kernel.powerOff();
  });

  machine.at(1_000_000, () => wires[0]!.assert());
  // Both at once: one interrupt, both are served.
  machine.at(2_000_000, () => {
    for (const wire of wires) wire.assert();
  });
  // The second one asks while the first is being served.
  machine.at(3_000_000, () => wires[0]!.assert());
  machine.at(3_001_000, () => wires[1]!.assert());
});
