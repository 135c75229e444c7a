/**
 * 1. The first interrupt. A key is pressed; the keyboard controller raises its line, the I/O APIC sends a message, the local APIC of CPU 0 offers
 * it, and the handler below runs between two nanoseconds of what the CPU was doing.
 *
 *     iretq run examples/1-first-interrupt.ts --log line,irq
 */
import { scenario } from "iretq";
import { compute, Kernel, KeyboardDriver, UartDriver } from "iretq/kernel";

export default scenario({ cpus: 1 }, machine => {
  const kernel = new Kernel(machine);
  const keyboard = new KeyboardDriver();
  const serial = new UartDriver();

  // What CPU 0 does: a generator; every operation is `yield*` of something.
  kernel.start(function* main() {
    yield* serial.start(kernel);
    yield* keyboard.start(kernel);
    // Work that knows nothing of keyboards. The interrupt comes somewhere in the middle of it.
    while (keyboard.scanCodes.length < 2) yield* compute(1_000_000);
    for (const code of keyboard.scanCodes) yield* serial.write(`scan code 0x${code.toString(16)}\n`);
    yield* kernel.powerOff();
  });

  // The world outside: somebody presses A and lets it go.
  machine.at(3_000_000, () => machine.pc.keyboard.key("KeyA"));
  machine.at(80_000_000, () => machine.pc.keyboard.key("KeyA", false));
});
