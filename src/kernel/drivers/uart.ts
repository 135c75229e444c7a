/** Driver of a 16550A serial port: received bytes by interrupt, FIFO on; sending waits for the holding register. PC16550D data sheet, section 8. */
import { UART, UART_FCR, UART_IER, UART_IIR, UART_LCR, UART_LSR, UART_MCR } from "../../devices/uart16550.regs.ts";
import { in8, out8, pause, type Task } from "../../ports/task.ts";
import type { IrqSource } from "../irq.ts";
import type { Kernel } from "../kernel.ts";

const COM1 = { port: 0x3f8, irq: 4 } as const;
/** Divisor for 115 200 bits a second. */
const DIVISOR = 1;
/** Low bits of IIR that tell the source. */
const IIR_MASK = 0x0f;

export class UartDriver {
  /** Bytes that came, in order. */
  readonly received: number[] = [];
  interrupts = 0;
  readonly #port: number;
  readonly #onReceive: (byte: number) => void;

  constructor(onReceive: (byte: number) => void = () => {}, port: number = COM1.port) {
    this.#port = port;
    this.#onReceive = onReceive;
  }

  /** 8 bits, no parity, FIFO with a trigger level of 1 byte, receive interrupts on. */
  *start(kernel: Kernel, source: IrqSource = kernel.isaSource(COM1.irq), cpu = 0): Task {
    const port = this.#port;
    yield* out8(port + UART.lcr, UART_LCR.dlab.mask | 3);
    yield* out8(port + UART.data, DIVISOR);
    yield* out8(port + UART.ier, 0);
    yield* out8(port + UART.lcr, 3);
    yield* out8(
      port + UART.iirFcr,
      UART_FCR.enable.mask | UART_FCR.clearReceiver.mask | UART_FCR.clearTransmitter.mask,
    );
    yield* kernel.irqs.request(source, { name: "serial", handler: () => this.#handle(), cpu });
    yield* out8(port + UART.mcr, UART_MCR.dtr.mask | UART_MCR.rts.mask | UART_MCR.out2.mask);
    yield* out8(port + UART.ier, UART_IER.receivedData.mask | UART_IER.lineStatus.mask);
  }

  /** Everything that the chip tells of. An edge-triggered line stays high until IIR says "none", so this must not stop earlier. */
  *#handle(): Task<boolean> {
    const port = this.#port;
    let mine = false;
    for (;;) {
      const cause = (yield* in8(port + UART.iirFcr)) & IIR_MASK;
      if (cause === UART_IIR.none) return mine;
      mine = true;
      this.interrupts++;
      if (cause === UART_IIR.lineStatus) yield* in8(port + UART.lsr);
      else if (cause === UART_IIR.receivedData || cause === UART_IIR.timeout) yield* this.#drain();
      else if (cause === UART_IIR.modemStatus) yield* in8(port + UART.msr);
    }
  }

  *#drain(): Task {
    const port = this.#port;
    while (UART_LSR.dataReady.on(yield* in8(port + UART.lsr))) {
      const byte = yield* in8(port + UART.data);
      this.received.push(byte);
      this.#onReceive(byte);
    }
  }

  *write(text: string): Task {
    const port = this.#port;
    for (const character of text) {
      while (!UART_LSR.holdingEmpty.on(yield* in8(port + UART.lsr))) yield* pause();
      yield* out8(port + UART.data, character.charCodeAt(0) & 0xff);
    }
  }
}
