/** Driver of the PS/2 keyboard behind its controller: scan codes by interrupt. IBM PS/2 Technical Reference, "Keyboard and Auxiliary Device Controller". */
import { I8042_COMMAND, I8042_CONTROL, I8042_STATUS } from "../../devices/i8042.regs.ts";
import { in8, out8, pause, type Task } from "../../ports/task.ts";
import type { Kernel } from "../kernel.ts";

const DATA = 0x60;
const STATUS = 0x64;
const KEYBOARD_IRQ = 1;

export class KeyboardDriver {
  /** Scan codes that came, in order (set 1, as the controller translates them). */
  readonly scanCodes: number[] = [];
  readonly #onKey: (scanCode: number) => void;

  constructor(onKey: (scanCode: number) => void = () => {}) {
    this.#onKey = onKey;
  }

  *start(kernel: Kernel, cpu = 0): Task {
    // What firmware left in the buffer would keep the line from rising.
    while (I8042_STATUS.outputFull.on(yield* in8(STATUS))) yield* in8(DATA);
    yield* kernel.irqs.request(kernel.isaSource(KEYBOARD_IRQ), {
      name: "keyboard",
      handler: () => this.#handle(),
      cpu,
    });
    yield* out8(STATUS, I8042_COMMAND.writeRam);
    while (I8042_STATUS.inputFull.on(yield* in8(STATUS))) yield* pause();
    yield* out8(DATA, I8042_CONTROL.keyboardInterrupt.mask | I8042_CONTROL.system.mask | I8042_CONTROL.translate.mask);
  }

  *#handle(): Task<boolean> {
    let mine = false;
    for (;;) {
      const status = yield* in8(STATUS);
      if (!I8042_STATUS.outputFull.on(status) || I8042_STATUS.auxiliaryFull.on(status)) return mine;
      mine = true;
      const code = yield* in8(DATA);
      this.scanCodes.push(code);
      this.#onKey(code);
    }
  }
}
