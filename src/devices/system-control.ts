/**
 * System control: port 0x61 (speaker, timer 2 gate, NMI sources), port 0x92 (fast A20 and INIT), port 0xCF9 (reset control). Intel 82371AB (PIIX4)
 * datasheet, see system-control.regs.ts. SERR# and IOCHK# are latched here and drive the NMI line; the mask of port 0x70 lies behind it.
 *
 * Not modelled: the lock bits of port 0x92; power cycling by the full reset bit (it resets the system like a hard reset).
 */
import { onesOf } from "../base/int.ts";
import type { LinePin } from "../ports/line.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { EventQueue } from "../sim/event-queue.ts";
import { PIT_HZ } from "./pit8254.regs.ts";
import { PORT_61, PORT_92, REFRESH_PULSES, RESET_CONTROL } from "./system-control.regs.ts";
import { Oscillator } from "./ticks.ts";

const CLOCK = new Oscillator(PIT_HZ);
const CONTROL_BITS = 0x0f;

export type SystemControlState = {
  /** Bits 3:0 of port 0x61. */
  control: number;
  serr: boolean;
  iochk: boolean;
  port92: number;
  resetControl: number;
};

export type SystemControlOptions = {
  readonly name?: string;
  readonly queue: EventQueue;
  /** The board's NMI line. */
  readonly nmi: LinePin;
  /** GATE of timer 2. */
  readonly timer2Gate: (level: boolean) => void;
  /** OUT of timer 2. */
  readonly timer2Out: () => boolean;
  /** The fast A20 bit was written (or reset). */
  readonly a20: (enabled: boolean) => void;
  /** `init`: the processors get INIT; `system`: platform reset. Called in the middle of a port write. */
  readonly resetRequest: (kind: "init" | "system") => void;
  readonly speaker?: (on: boolean) => void;
};

export class SystemControl implements Part {
  readonly name: string;
  readonly state: SystemControlState = {
    control: 0,
    serr: false,
    iochk: false,
    port92: PORT_92.fastA20.mask,
    resetControl: 0,
  };
  /** Port 0x61. */
  readonly port61: Window;
  /** Port 0x92. */
  readonly port92: Window;
  /** Port 0xCF9. */
  readonly portCf9: Window;
  readonly #options: SystemControlOptions;

  constructor(options: SystemControlOptions) {
    this.#options = options;
    this.name = options.name ?? "system-control";
    const port = (name: string, read: () => number, write: (value: number) => void): Window => ({
      name,
      size: 1,
      minWidth: 1,
      maxWidth: 1,
      read: () => read(),
      write: (_offset, width, value) => write(value & onesOf(width)),
      describe: () => name,
    });
    this.port61 = port("NMI status and control", this.#read61, this.#write61);
    this.port92 = port("port 92", () => this.state.port92, this.#write92);
    this.portCf9 = port("reset control", () => this.state.resetControl, this.#writeCf9);
  }

  reset(phase: ResetPhase, _kind: ResetKind): void {
    const { state } = this;
    if (phase === "enter") {
      state.control = 0;
      state.serr = state.iochk = false;
      // A20 as every firmware of the last decades leaves it.
      state.port92 = PORT_92.fastA20.mask;
      state.resetControl = 0;
    } else if (phase === "hold") {
      this.#options.timer2Gate(false);
      this.#options.a20(true);
      this.#options.speaker?.(false);
      this.#sync();
    }
  }

  /** A PCI system error: latched unless disabled. */
  raiseSerr(): void {
    if (!PORT_61.serrDisable.on(this.state.control)) this.state.serr = true;
    this.#sync();
  }

  /** An ISA channel check: latched unless disabled. */
  raiseIochk(): void {
    if (!PORT_61.iochkDisable.on(this.state.control)) this.state.iochk = true;
    this.#sync();
  }

  #sync(): void {
    this.#options.nmi.set(this.state.serr || this.state.iochk);
  }

  #read61 = (): number => {
    let value = this.state.control;
    const refreshes = Math.floor(CLOCK.ticksAt(this.#options.queue.clock.now()) / REFRESH_PULSES);
    if (refreshes % 2 === 1) value |= PORT_61.refreshToggle.mask;
    if (this.#options.timer2Out()) value |= PORT_61.timer2Out.mask;
    if (this.state.iochk) value |= PORT_61.iochkStatus.mask;
    if (this.state.serr) value |= PORT_61.serrStatus.mask;
    return value;
  };

  #write61 = (value: number): void => {
    this.state.control = value & CONTROL_BITS;
    if (PORT_61.serrDisable.on(value)) this.state.serr = false;
    if (PORT_61.iochkDisable.on(value)) this.state.iochk = false;
    this.#options.timer2Gate(PORT_61.timer2Gate.on(value));
    this.#options.speaker?.(PORT_61.speakerData.on(value));
    this.#sync();
  };

  #write92 = (value: number): void => {
    const before = this.state.port92;
    this.state.port92 = value & (PORT_92.fastInit.mask | PORT_92.fastA20.mask);
    this.#options.a20(PORT_92.fastA20.on(value));
    // The reset is made by the bit's change from 0 to 1.
    if (PORT_92.fastInit.on(value) && !PORT_92.fastInit.on(before)) this.#options.resetRequest("init");
  };

  #writeCf9 = (value: number): void => {
    const { hardReset, resetCpu, fullReset } = RESET_CONTROL;
    const before = this.state.resetControl;
    this.state.resetControl = value & (hardReset.mask | resetCpu.mask | fullReset.mask);
    // "RCPU transitions from 0 to 1": the type comes from the bits as they are now.
    if (!resetCpu.on(value) || resetCpu.on(before)) return;
    this.#options.resetRequest(hardReset.on(value) ? "system" : "init");
  };
}
