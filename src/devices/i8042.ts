/**
 * PS/2 keyboard controller (8042) with a keyboard and an auxiliary device. IBM Personal System/2 Hardware Interface Technical Reference (1990), "Keyboard and
 * Auxiliary Device Controller".
 *
 * One output buffer serves the controller's own answers, the keyboard and the mouse, in this order; a byte appears a short time after the buffer
 * was read. An interrupt line is high while a byte of its kind is in the buffer. Commands are executed in the instant of the write, so the
 * input buffer is never seen full. Not modelled: passwords, polling of the input port (0xC1, 0xC2), diagnostic dumps, line errors.
 */
import type { Ns } from "../base/units.ts";
import type { LinePin } from "../ports/line.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { Alarm, EventQueue } from "../sim/event-queue.ts";
import { I8042_ANSWER, I8042_COMMAND, I8042_CONTROL, I8042_OUTPUT_PORT, I8042_STATUS } from "./i8042.regs.ts";
import type { Ps2Device } from "./ps2-device.ts";
import { translateSet2 } from "./ps2-keys.ts";

const COMMAND = I8042_COMMAND;
/** Until the controller's own answer is in the buffer. */
const ANSWER_DELAY: Ns = 10_000;
/** Until a device's byte has come over the serial link; shorter than the real link's 0.9 ms. */
const BYTE_DELAY: Ns = 100_000;
/** Keyboard on with interrupt and translation, mouse off, POST passed: what a PC's firmware leaves. */
const RESET_CONTROL = 0x65;
const CONTROL_BITS = 0x77;
const RAM_BYTES = 32;
/** Marks an answer that appears as the mouse's (command 0xD3). */
const AS_AUXILIARY = 0x100;
const BREAK_PREFIX = 0xf0;
/** Clock and data lines idle. */
const LINES_IDLE = 0xcc;
const NOT_INHIBITED_INPUT = 0x80;

export type I8042State = {
  /** Controller RAM; byte 0 is the command byte. */
  ram: Uint8Array;
  /** Output buffer. */
  output: number;
  full: boolean;
  /** The byte in the buffer is the mouse's. */
  auxiliary: boolean;
  /** Bits `notReset` and `a20` of the output port. */
  outputPort: number;
  /** Controller command that waits for its data byte, 0 when none. */
  command: number;
  /** The last write went to port 0x64. */
  commandWritten: boolean;
  /** A break prefix was taken from the keyboard: the next byte is translated with bit 7 set. */
  breakPrefix: boolean;
  /** Answers that wait for the buffer. */
  answers: number[];
};

export type I8042Options = {
  readonly name?: string;
  readonly queue: EventQueue;
  /** IRQ 1 and IRQ 12. */
  readonly keyboardIrq: LinePin | null;
  readonly mouseIrq: LinePin | null;
  readonly keyboard: Ps2Device;
  readonly mouse: Ps2Device;
  /** The A20 bit of the output port was written (or reset). */
  readonly a20: (enabled: boolean) => void;
  /** The reset line was pulsed. Called in the middle of a port write. */
  readonly resetRequest: () => void;
};

export class I8042 implements Part {
  readonly name: string;
  readonly state: I8042State = {
    ram: new Uint8Array(RAM_BYTES),
    output: 0,
    full: false,
    auxiliary: false,
    outputPort: I8042_OUTPUT_PORT.notReset.mask | I8042_OUTPUT_PORT.a20.mask,
    command: 0,
    commandWritten: false,
    breakPrefix: false,
    answers: [],
  };
  /** Port 0x60. */
  readonly dataPort: Window;
  /** Port 0x64. */
  readonly commandPort: Window;
  readonly #options: I8042Options;
  readonly #alarm: Alarm;

  constructor(options: I8042Options) {
    this.#options = options;
    this.name = options.name ?? "i8042";
    this.state.ram[0] = RESET_CONTROL;
    this.#alarm = options.queue.alarm(this.name, () => this.#deliver());
    options.keyboard.onWaiting(() => this.#schedule());
    options.mouse.onWaiting(() => this.#schedule());
    const port = (name: string, read: () => number, write: (value: number) => void): Window => ({
      name,
      size: 1,
      minWidth: 1,
      maxWidth: 1,
      read: () => read(),
      write: (_offset, _width, value) => write(value & 0xff),
      describe: () => name,
    });
    this.dataPort = port("8042 data", this.#readData, this.#writeData);
    this.commandPort = port("8042 status/command", () => this.#status(), this.#writeCommand);
  }

  reset(phase: ResetPhase, _kind: ResetKind): void {
    const { state: s } = this;
    if (phase === "enter") {
      this.#alarm.cancel();
      s.ram.fill(0);
      s.ram[0] = RESET_CONTROL;
      s.output = s.command = 0;
      s.full = s.auxiliary = s.commandWritten = s.breakPrefix = false;
      s.outputPort = I8042_OUTPUT_PORT.notReset.mask | I8042_OUTPUT_PORT.a20.mask;
      s.answers.length = 0;
    } else if (phase === "hold") {
      this.#options.a20(true);
      this.#sync();
    }
  }

  get #control(): number {
    return this.state.ram[0]!;
  }

  #setControl(value: number): void {
    this.state.ram[0] = value & CONTROL_BITS;
  }

  #status(): number {
    const { full, auxiliary, commandWritten } = this.state;
    let status = I8042_STATUS.notInhibited.mask;
    if (full) status |= I8042_STATUS.outputFull.mask;
    if (full && auxiliary) status |= I8042_STATUS.auxiliaryFull.mask;
    if (I8042_CONTROL.system.on(this.#control)) status |= I8042_STATUS.system.mask;
    if (commandWritten) status |= I8042_STATUS.command.mask;
    return status;
  }

  #readData = (): number => {
    this.state.full = false;
    this.#sync();
    return this.state.output;
  };

  #writeData = (value: number): void => {
    const { state: s } = this;
    const { command } = s;
    s.commandWritten = false;
    s.command = 0;
    if (command !== 0) this.#commandData(command, value);
    else {
      // Sending to the keyboard turns its interface on.
      this.#setControl(this.#control & ~I8042_CONTROL.keyboardDisable.mask);
      this.#options.keyboard.send(value);
    }
    this.#sync();
  };

  #writeCommand = (value: number): void => {
    this.state.commandWritten = true;
    this.state.command = 0;
    this.#runCommand(value);
    this.#sync();
  };

  #runCommand(command: number): void {
    const { state: s } = this;
    if (command >= COMMAND.pulseOutputPort) {
      if ((command & I8042_OUTPUT_PORT.notReset.mask) === 0) this.#options.resetRequest();
      return;
    }
    if (command >> 5 === COMMAND.readRam >> 5) this.#answer(s.ram[command & (RAM_BYTES - 1)]!);
    else if (command >> 5 === COMMAND.writeRam >> 5) s.command = command;
    else this.#namedCommand(command);
  }

  #namedCommand(command: number): void {
    const { state: s } = this;
    const { keyboardDisable, auxiliaryDisable, system } = I8042_CONTROL;
    switch (command) {
      case COMMAND.testPassword:
        this.#answer(I8042_ANSWER.noPassword);
        break;
      case COMMAND.disableAuxiliary:
        this.#setControl(this.#control | auxiliaryDisable.mask);
        break;
      case COMMAND.enableAuxiliary:
        this.#setControl(this.#control & ~auxiliaryDisable.mask);
        break;
      case COMMAND.disableKeyboard:
        this.#setControl(this.#control | keyboardDisable.mask);
        break;
      case COMMAND.enableKeyboard:
        this.#setControl(this.#control & ~keyboardDisable.mask);
        break;
      case COMMAND.testAuxiliary:
      case COMMAND.testKeyboard:
        this.#answer(I8042_ANSWER.interfaceGood);
        break;
      case COMMAND.selfTest:
        this.#setControl(this.#control | system.mask);
        this.#answer(I8042_ANSWER.selfTestPassed);
        break;
      case COMMAND.readInputPort:
        this.#answer(NOT_INHIBITED_INPUT);
        break;
      case COMMAND.readOutputPort:
        this.#answer(this.#readOutputPort());
        break;
      case COMMAND.readTestInputs:
        this.#answer(0);
        break;
      case COMMAND.disableA20:
      case COMMAND.enableA20:
        this.#setA20(command === COMMAND.enableA20);
        break;
      case COMMAND.writeOutputPort:
      case COMMAND.writeKeyboardBuffer:
      case COMMAND.writeAuxiliaryBuffer:
      case COMMAND.writeAuxiliary:
        s.command = command;
    }
  }

  #commandData(command: number, value: number): void {
    switch (command) {
      case COMMAND.writeRam:
        this.#setControl(value);
        break;
      case COMMAND.writeOutputPort:
        this.#setA20(I8042_OUTPUT_PORT.a20.on(value));
        if (!I8042_OUTPUT_PORT.notReset.on(value)) this.#options.resetRequest();
        break;
      case COMMAND.writeKeyboardBuffer:
        this.#answer(value);
        break;
      case COMMAND.writeAuxiliaryBuffer:
        this.#answer(value | AS_AUXILIARY);
        break;
      case COMMAND.writeAuxiliary:
        this.#setControl(this.#control & ~I8042_CONTROL.auxiliaryDisable.mask);
        this.#options.mouse.send(value);
        break;
      default:
        this.state.ram[command & (RAM_BYTES - 1)] = value;
    }
  }

  #readOutputPort(): number {
    const { full, auxiliary, outputPort } = this.state;
    const { keyboardInterrupt, auxiliaryInterrupt } = I8042_OUTPUT_PORT;
    const interrupts = full ? (auxiliary ? auxiliaryInterrupt.mask : keyboardInterrupt.mask) : 0;
    return outputPort | interrupts | LINES_IDLE;
  }

  #setA20(on: boolean): void {
    this.state.outputPort = I8042_OUTPUT_PORT.a20.put(this.state.outputPort, on ? 1 : 0);
    this.#options.a20(on);
  }

  #answer(value: number): void {
    // A guest that never reads cannot fill the host's memory.
    if (this.state.answers.length < RAM_BYTES) this.state.answers.push(value);
  }

  get #keyboardReady(): boolean {
    return this.#options.keyboard.waiting > 0 && !I8042_CONTROL.keyboardDisable.on(this.#control);
  }

  get #mouseReady(): boolean {
    return this.#options.mouse.waiting > 0 && !I8042_CONTROL.auxiliaryDisable.on(this.#control);
  }

  /** Arms the alarm when the buffer is free and somebody has a byte for it. */
  #schedule(): void {
    const { full, answers } = this.state;
    if (full || (answers.length === 0 && !this.#keyboardReady && !this.#mouseReady)) {
      this.#alarm.cancel();
      return;
    }
    const delay = answers.length > 0 ? ANSWER_DELAY : BYTE_DELAY;
    const deadline = this.#options.queue.clock.now() + delay;
    if (this.#alarm.deadline > deadline) this.#alarm.armAt(deadline);
  }

  /** The next byte reaches the output buffer. */
  #deliver(): void {
    const answer = this.state.answers.shift();
    if (answer !== undefined) this.#put(answer & 0xff, (answer & AS_AUXILIARY) !== 0);
    else if (this.#keyboardReady) this.#putFromKeyboard(this.#options.keyboard.take());
    else if (this.#mouseReady) this.#put(this.#options.mouse.take(), true);
    this.#sync();
  }

  /** Translation turns the set 2 break prefix into bit 7 of the code that follows. */
  #putFromKeyboard(byte: number): void {
    const { state: s } = this;
    if (!I8042_CONTROL.translate.on(this.#control)) {
      this.#put(byte, false);
      s.breakPrefix = false;
    } else if (byte === BREAK_PREFIX) s.breakPrefix = true;
    else {
      this.#put(translateSet2(byte) | (s.breakPrefix ? 0x80 : 0), false);
      s.breakPrefix = false;
    }
  }

  #put(byte: number, auxiliary: boolean): void {
    Object.assign(this.state, { output: byte, full: true, auxiliary });
  }

  #sync(): void {
    const { full, auxiliary } = this.state;
    const { keyboardInterrupt, auxiliaryInterrupt } = I8042_CONTROL;
    this.#options.keyboardIrq?.set(full && !auxiliary && keyboardInterrupt.on(this.#control));
    this.#options.mouseIrq?.set(full && auxiliary && auxiliaryInterrupt.on(this.#control));
    this.#schedule();
  }
}
