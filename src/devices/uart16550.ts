/**
 * 16550A UART: a serial port with FIFOs. National Semiconductor PC16550D datasheet (June 1995). The host's side is `receive` and `onTransmit`.
 *
 * A byte takes its real time on the wire (start, data, parity and stop bits at the programmed rate) unless `instantTransmit` is set. The interrupt
 * output reaches its line through the PC's gate, MCR.OUT2. The gate follows the register bit in loopback too, as super I/O chips do; the pin of the
 * discrete chip would be inactive there.
 *
 * Not modelled: DMA signalling (RXRDY, TXRDY), transmitted breaks, the half to one and a half bit times between a write and the transmitter's
 * start, the delay of the empty indication is a whole character instead of one less its stop bit. A divisor of 0, which stops the real chip, counts as 1.
 */
import type { Ns } from "../base/units.ts";
import type { LinePin } from "../ports/line.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { Alarm, EventQueue } from "../sim/event-queue.ts";
import {
  UART,
  UART_FCR,
  UART_FIFO_BYTES,
  UART_IER,
  UART_IIR,
  UART_LCR,
  UART_LSR,
  UART_MCR,
  UART_MSR,
  UART_TRIGGER,
} from "./uart16550.regs.ts";

const { parity, framing, breakInterrupt, overrun } = UART_LSR;
const CHARACTER_ERRORS = parity.mask | framing.mask | breakInterrupt.mask;
const DELTAS = 0x0f;
/** CTS, DSR and DCD: a terminal is connected. */
const CONNECTED = UART_MSR.cts.mask | UART_MSR.dsr.mask | UART_MSR.dcd.mask;
const FIFO_MASK = UART_FIFO_BYTES - 1;
const NAMES = ["data", "IER", "IIR/FCR", "LCR", "MCR", "LSR", "MSR", "scratch"] as const;

export type UartState = {
  ier: number;
  /** Enable and trigger bits of the FCR. */
  fcr: number;
  lcr: number;
  mcr: number;
  scratch: number;
  divisor: number;
  /** Overrun and the errors of the characters that reached the top of the FIFO, until LSR is read. */
  errors: number;
  /** Modem inputs in MSR bits 7:4, and the deltas in 3:0. */
  inputs: number;
  deltas: number;
  received: Uint8Array;
  receivedErrors: Uint8Array;
  receivedHead: number;
  receivedCount: number;
  timeout: boolean;
  queued: Uint8Array;
  queuedHead: number;
  queuedCount: number;
  /** Byte in the transmitter's shift register, −1 when idle. */
  shifting: number;
  /** The transmitter FIFO is empty but its indication waits for the shift register. */
  emptyDelayed: boolean;
  /** Two bytes were in the transmitter FIFO at once since it was last empty. */
  sawTwo: boolean;
  /** The transmitter-empty interrupt is pending. */
  emptyPending: boolean;
};

export type UartOptions = {
  readonly name: string;
  readonly queue: EventQueue;
  readonly irq: LinePin | null;
  /** A byte left the transmitter. */
  readonly onTransmit?: (byte: number) => void;
  /** Bytes leave in the instant they are written. */
  readonly instantTransmit?: boolean;
  /** DTR or RTS changed. */
  readonly onModemControl?: (dtr: boolean, rts: boolean) => void;
};

export class Uart16550 implements Part {
  readonly name: string;
  readonly window: Window;
  readonly state: UartState = {
    ier: 0,
    fcr: 0,
    lcr: 0,
    mcr: 0,
    scratch: 0,
    divisor: 1,
    errors: 0,
    inputs: CONNECTED,
    deltas: 0,
    received: new Uint8Array(UART_FIFO_BYTES),
    receivedErrors: new Uint8Array(UART_FIFO_BYTES),
    receivedHead: 0,
    receivedCount: 0,
    timeout: false,
    queued: new Uint8Array(UART_FIFO_BYTES),
    queuedHead: 0,
    queuedCount: 0,
    shifting: -1,
    emptyDelayed: false,
    sawTwo: false,
    emptyPending: false,
  };
  readonly #options: UartOptions;
  readonly #instant: boolean;
  readonly #shiftAlarm: Alarm;
  readonly #timeoutAlarm: Alarm;

  constructor(options: UartOptions) {
    this.#options = options;
    this.#instant = options.instantTransmit ?? false;
    this.name = options.name;
    this.#shiftAlarm = options.queue.alarm(`${this.name}.shift`, () => this.#shifted());
    this.#timeoutAlarm = options.queue.alarm(`${this.name}.timeout`, () => this.#timedOut());
    this.window = {
      name: this.name,
      size: 8,
      minWidth: 1,
      maxWidth: 1,
      read: offset => this.#read(offset),
      write: (offset, _width, value) => this.#write(offset, value),
      describe: offset => `${this.name} ${NAMES[offset] ?? ""}`,
    };
  }

  /** Master reset (table I) leaves the divisor and the scratch register alone; power on does not. */
  reset(phase: ResetPhase, kind: ResetKind): void {
    const { state: s } = this;
    if (phase === "enter") {
      this.#shiftAlarm.cancel();
      this.#timeoutAlarm.cancel();
      s.ier = s.fcr = s.lcr = s.mcr = s.errors = s.deltas = 0;
      for (const fifo of [s.received, s.receivedErrors, s.queued]) fifo.fill(0);
      s.receivedHead = s.receivedCount = s.queuedHead = s.queuedCount = 0;
      s.shifting = -1;
      s.timeout = s.emptyDelayed = s.sawTwo = s.emptyPending = false;
      if (kind === "power") {
        // 115200 baud: software that never sets a rate expects to be heard.
        s.divisor = 1;
        s.scratch = 0;
        s.inputs = CONNECTED;
      }
    } else if (phase === "hold") {
      this.#options.onModemControl?.(false, false);
      this.#sync();
    }
  }

  /** Time of one character on the wire in ns, at the programmed rate and format. */
  get characterTime(): Ns {
    const { lcr, divisor } = this.state;
    const data = 5 + UART_LCR.wordLength.of(lcr);
    const stopHalves = UART_LCR.twoStopBits.on(lcr) ? (data === 5 ? 3 : 4) : 2;
    const halves = 2 * (1 + data + UART_LCR.parityEnable.of(lcr)) + stopHalves;
    // halves / 2 × 16 × divisor / 1843200 Hz, in ns: 8e9 / 1843200 = 78125 / 18.
    return Math.ceil((halves * Math.max(divisor, 1) * 78_125) / 18);
  }

  /** Bytes that can be received before an overrun. */
  get roomToReceive(): number {
    return (this.#fifos ? UART_FIFO_BYTES : 1) - this.state.receivedCount;
  }

  /** A character arrives now. @param errors bits of LSR that it has: parity, framing, break */
  receive(byte: number, errors = 0): void {
    // In loopback the serial input is disconnected (8.8).
    if (UART_MCR.loop.on(this.state.mcr)) return;
    this.#arrived(byte & 0xff, errors & CHARACTER_ERRORS);
    this.#sync();
  }

  /** Levels of the modem inputs. */
  setModemInputs(inputs: { cts: boolean; dsr: boolean; ri: boolean; dcd: boolean }): void {
    const before = this.#modemLines();
    const { cts, dsr, ri, dcd } = UART_MSR;
    this.state.inputs =
      (inputs.cts ? cts.mask : 0) |
      (inputs.dsr ? dsr.mask : 0) |
      (inputs.ri ? ri.mask : 0) |
      (inputs.dcd ? dcd.mask : 0);
    this.#noteModemChange(before);
    this.#sync();
  }

  get #fifos(): boolean {
    return UART_FCR.enable.on(this.state.fcr);
  }

  #read(offset: number): number {
    const { state: s } = this;
    const divisorLatch = UART_LCR.dlab.on(s.lcr);
    switch (offset) {
      case UART.data:
        return divisorLatch ? s.divisor & 0xff : this.#readData();
      case UART.ier:
        return divisorLatch ? s.divisor >>> 8 : s.ier;
      case UART.iirFcr:
        return this.#readIir();
      case UART.lcr:
        return s.lcr;
      case UART.mcr:
        return s.mcr;
      case UART.lsr:
        return this.#readLsr();
      case UART.msr:
        return this.#readMsr();
      default:
        return s.scratch;
    }
  }

  #write(offset: number, value: number): void {
    const { state: s } = this;
    const divisorLatch = UART_LCR.dlab.on(s.lcr);
    if (offset === UART.data) {
      if (divisorLatch) s.divisor = (s.divisor & 0xff00) | value;
      else this.#transmit(value);
    } else if (offset === UART.ier) {
      if (divisorLatch) s.divisor = (s.divisor & 0xff) | (value << 8);
      else this.#writeIer(value);
    } else if (offset === UART.iirFcr) this.#writeFcr(value);
    else if (offset === UART.lcr) s.lcr = value;
    else if (offset === UART.mcr) this.#writeMcr(value);
    else if (offset === UART.scratch) s.scratch = value;
    this.#sync();
  }

  #readData(): number {
    const { state: s } = this;
    // The buffer keeps the last character.
    if (s.receivedCount === 0) return s.received[(s.receivedHead - 1) & FIFO_MASK]!;
    const byte = s.received[s.receivedHead]!;
    s.receivedHead = (s.receivedHead + 1) & FIFO_MASK;
    s.receivedCount--;
    s.timeout = false;
    if (s.receivedCount > 0) s.errors |= s.receivedErrors[s.receivedHead]!;
    this.#armTimeout();
    this.#sync();
    return byte;
  }

  #readIir(): number {
    const cause = this.#cause();
    if (cause === UART_IIR.transmitterEmpty) {
      this.state.emptyPending = false;
      this.#sync();
    }
    return cause | (this.#fifos ? UART_IIR.fifosEnabled : 0);
  }

  #readLsr(): number {
    const { state: s } = this;
    let value = s.errors;
    if (s.receivedCount > 0) value |= UART_LSR.dataReady.mask;
    if (this.#holdingEmpty) value |= UART_LSR.holdingEmpty.mask;
    if (s.queuedCount === 0 && s.shifting < 0) value |= UART_LSR.transmitterEmpty.mask;
    if (this.#fifos && this.#errorInFifo()) value |= UART_LSR.fifoError.mask;
    s.errors = 0;
    if (s.receivedCount > 0) s.receivedErrors[s.receivedHead] = 0;
    this.#sync();
    return value;
  }

  #errorInFifo(): boolean {
    const { state: s } = this;
    for (let i = 0; i < s.receivedCount; i++) {
      if (s.receivedErrors[(s.receivedHead + i) & FIFO_MASK] !== 0) return true;
    }
    return false;
  }

  #readMsr(): number {
    const value = this.#modemLines() | this.state.deltas;
    this.state.deltas = 0;
    this.#sync();
    return value;
  }

  #writeIer(value: number): void {
    const { state: s } = this;
    const before = s.ier;
    s.ier = value & 0x0f;
    // Enabling the interrupt while the holding register is empty raises it.
    if (UART_IER.transmitterEmpty.on(s.ier) && !UART_IER.transmitterEmpty.on(before) && this.#holdingEmpty) {
      s.emptyPending = true;
    }
  }

  #writeFcr(value: number): void {
    const { state: s } = this;
    const changed = UART_FCR.enable.on(value ^ s.fcr);
    const enabled = UART_FCR.enable.on(value);
    // "This bit must be a 1 when other FCR bits are written to or they will not be programmed."
    s.fcr = enabled ? value & (UART_FCR.enable.mask | UART_FCR.trigger.mask) : 0;
    if (changed || (enabled && UART_FCR.clearReceiver.on(value))) {
      s.receivedHead = s.receivedCount = 0;
      s.received.fill(0);
      s.receivedErrors.fill(0);
      s.timeout = false;
      this.#timeoutAlarm.cancel();
    }
    if (changed || (enabled && UART_FCR.clearTransmitter.on(value))) {
      const wasEmpty = this.#holdingEmpty;
      s.queuedHead = s.queuedCount = 0;
      s.emptyDelayed = false;
      if (!wasEmpty) this.#becameEmpty();
    }
  }

  #writeMcr(value: number): void {
    const before = this.#modemLines();
    const changed = value ^ this.state.mcr;
    this.state.mcr = value & 0x1f;
    this.#noteModemChange(before);
    const { dtr, rts, loop } = UART_MCR;
    if (dtr.on(changed) || rts.on(changed) || loop.on(changed)) {
      const open = !loop.on(value);
      this.#options.onModemControl?.(open && dtr.on(value), open && rts.on(value));
    }
  }

  /** MSR bits 7:4; in loopback the modem control outputs come back: RTS→CTS, DTR→DSR, OUT1→RI, OUT2→DCD (8.8). */
  #modemLines(): number {
    const { mcr, inputs } = this.state;
    if (!UART_MCR.loop.on(mcr)) return inputs;
    const { cts, dsr, ri, dcd } = UART_MSR;
    return (
      (UART_MCR.rts.on(mcr) ? cts.mask : 0) |
      (UART_MCR.dtr.on(mcr) ? dsr.mask : 0) |
      (UART_MCR.out1.on(mcr) ? ri.mask : 0) |
      (UART_MCR.out2.on(mcr) ? dcd.mask : 0)
    );
  }

  #noteModemChange(before: number): void {
    const after = this.#modemLines();
    const { cts, dsr, ri, dcd } = UART_MSR;
    this.state.deltas |= ((before ^ after) & (cts.mask | dsr.mask | dcd.mask)) >>> 4;
    // Only the trailing edge of the ring indicator counts.
    this.state.deltas |= (before & ~after & ri.mask) >>> 4;
    this.state.deltas &= DELTAS;
  }

  #arrived(byte: number, errors: number): void {
    const { state: s } = this;
    if (s.receivedCount === (this.#fifos ? UART_FIFO_BYTES : 1)) {
      s.errors |= overrun.mask;
      // With FIFOs the new character is lost in the shift register; without, it replaces the old one.
      if (this.#fifos) return;
      s.receivedCount = 0;
    }
    const at = (s.receivedHead + s.receivedCount) & FIFO_MASK;
    s.received[at] = byte;
    s.receivedErrors[at] = errors;
    if (s.receivedCount++ === 0) s.errors |= errors;
    if (!s.timeout) this.#armTimeout();
  }

  /** Four character times without a new character or a read. */
  #armTimeout(): void {
    if (this.#fifos && this.state.receivedCount > 0) this.#timeoutAlarm.armIn(4 * this.characterTime);
    else this.#timeoutAlarm.cancel();
  }

  #timedOut(): void {
    this.state.timeout = this.#fifos && this.state.receivedCount > 0;
    this.#sync();
  }

  get #holdingEmpty(): boolean {
    return this.state.queuedCount === 0 && !this.state.emptyDelayed;
  }

  #becameEmpty(): void {
    this.state.sawTwo = false;
    this.state.emptyPending = true;
  }

  #transmit(byte: number): void {
    const { state: s } = this;
    s.emptyPending = false;
    // The line drops even when the register empties again at once: an edge-triggered controller needs the edge.
    this.#sync();
    if (this.#instant) {
      this.#sent(byte);
      this.#becameEmpty();
      return;
    }
    if (!this.#fifos) s.queuedCount = 0;
    if (s.queuedCount === UART_FIFO_BYTES) return;
    s.queued[(s.queuedHead + s.queuedCount++) & FIFO_MASK] = byte;
    if (s.queuedCount >= 2) s.sawTwo = true;
    this.#feed();
  }

  /** Moves the next byte into an idle shift register. */
  #feed(): void {
    const { state: s } = this;
    if (s.shifting >= 0 || s.queuedCount === 0) return;
    s.shifting = s.queued[s.queuedHead]!;
    s.queuedHead = (s.queuedHead + 1) & FIFO_MASK;
    s.queuedCount--;
    this.#shiftAlarm.armIn(this.characterTime);
    if (s.queuedCount > 0) return;
    // 8.11: the indication is delayed by a character when the FIFO never held two bytes.
    s.emptyDelayed = this.#fifos && !s.sawTwo;
    if (!s.emptyDelayed) this.#becameEmpty();
  }

  #shifted(): void {
    const { state: s } = this;
    const byte = s.shifting;
    s.shifting = -1;
    this.#sent(byte);
    if (s.queuedCount > 0) this.#feed();
    else if (s.emptyDelayed) {
      s.emptyDelayed = false;
      this.#becameEmpty();
    }
    this.#sync();
  }

  #sent(byte: number): void {
    if (UART_MCR.loop.on(this.state.mcr)) this.#arrived(byte, 0);
    else this.#options.onTransmit?.(byte);
  }

  /** IIR bits 3:0: the pending interrupt of the highest priority (table IV). */
  #cause(): number {
    const { ier, errors, receivedCount, timeout, emptyPending, deltas, fcr } = this.state;
    const level = this.#fifos ? UART_TRIGGER[UART_FCR.trigger.of(fcr)]! : 1;
    if (UART_IER.lineStatus.on(ier) && errors !== 0) return UART_IIR.lineStatus;
    if (UART_IER.receivedData.on(ier) && receivedCount >= level) return UART_IIR.receivedData;
    if (UART_IER.receivedData.on(ier) && timeout) return UART_IIR.timeout;
    if (UART_IER.transmitterEmpty.on(ier) && emptyPending) return UART_IIR.transmitterEmpty;
    if (UART_IER.modemStatus.on(ier) && deltas !== 0) return UART_IIR.modemStatus;
    return UART_IIR.none;
  }

  #sync(): void {
    this.#options.irq?.set(this.#cause() !== UART_IIR.none && UART_MCR.out2.on(this.state.mcr));
  }
}
