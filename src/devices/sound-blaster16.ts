/**
 * The Sound Blaster 16 at port 0x220 (Creative, "Sound Blaster Series Hardware Programming Guide"): the DSP's ports, the mixer, and the lines that the
 * mixer's set-up registers choose: interrupt 2 (9), 5, 7 or 10, a channel of 8 bits and one of 16. After power on these are 5, 1 and 5.
 *
 * Not there: FM synthesizer (its ports read all-ones, so that its timers are not found), MPU-401, joystick port, CD interface.
 */
import type { CauseId } from "../base/units.ts";
import type { DmaChannel, DmaClient } from "../ports/dma-request.ts";
import type { LinePin } from "../ports/line.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { EventQueue } from "../sim/event-queue.ts";
import { type DspCard, type DspState, Sb16Dsp } from "./sb16-dsp.ts";
import { type MixerState, Sb16Mixer } from "./sb16-mixer.ts";
import { MIXER, SB, SB_CHANNELS, SB_STATUS } from "./sb16.regs.ts";

const OPEN = 0xff;
const IRQ_SETUP = 0x02;
const DMA_SETUP = 0x22;
const NARROW_BITS = 0x0b;
const WIDE_BITS = 0xe0;

export type SoundBlasterOptions = {
  readonly queue: EventQueue;
  /** By bit of the interrupt set-up register, see SB_IRQS. */
  readonly irqs: readonly LinePin[];
  /** All channels of the DMA, by number. */
  readonly channels: readonly DmaChannel[];
  /** Hears every frame: signed 16-bit samples and the rate at which they are played. */
  readonly onFrame: (left: number, right: number, rate: number) => void;
};

export type SoundBlasterState = {
  interruptSetup: number;
  dmaSetup: number;
  interruptStatus: number;
  dsp: DspState;
  mixer: MixerState;
};

export class SoundBlaster16 implements Part, DmaClient, DspCard {
  readonly name = "sound-blaster";
  readonly state: SoundBlasterState;
  /** 16 ports. */
  readonly window: Window;
  readonly #options: SoundBlasterOptions;
  readonly #dsp: Sb16Dsp;
  readonly #mixer = new Sb16Mixer();
  /** By bit of the DMA set-up register. */
  readonly #dreq: readonly (LinePin | null)[];
  /** Observation only: the block of DMA that the interrupt is about. */
  #cause: CauseId = 0;

  constructor(options: SoundBlasterOptions) {
    this.#options = options;
    this.#dsp = new Sb16Dsp(options.queue, this);
    this.#dreq = SB_CHANNELS.map(number => (number < 0 ? null : options.channels[number]!.attach(this)));
    this.state = {
      ...{ interruptSetup: IRQ_SETUP, dmaSetup: DMA_SETUP, interruptStatus: 0 },
      dsp: this.#dsp.state,
      mixer: this.#mixer.state,
    };
    this.window = {
      name: this.name,
      size: 16,
      minWidth: 1,
      maxWidth: 1,
      read: offset => this.#read(offset),
      write: (offset, _width, value) => this.#write(offset, value),
      describe: describePort,
    };
  }

  reset(phase: ResetPhase, _kind: ResetKind): void {
    if (phase === "enter") {
      const s = this.state;
      s.interruptSetup = IRQ_SETUP;
      s.dmaSetup = DMA_SETUP;
      s.interruptStatus = 0;
      this.#dsp.clear();
      this.#mixer.state.address = 0;
      this.#mixer.reset();
    } else if (phase === "hold") this.#drive();
  }

  #read(offset: number): number {
    switch (offset) {
      case SB.mixerAddress:
        return this.#mixer.state.address;
      case SB.mixerData:
        return this.#readMixer();
      case SB.read:
        return this.#dsp.read();
      case SB.write:
        return 0x7f;
      case SB.readStatus:
        this.#acknowledge(SB_STATUS.dma8.mask);
        return this.#dsp.dataWaits ? OPEN : 0x7f;
      case SB.acknowledge16:
        this.#acknowledge(SB_STATUS.dma16.mask);
        return OPEN;
      default:
        return OPEN;
    }
  }

  #write(offset: number, value: number): void {
    switch (offset) {
      case SB.mixerAddress:
        this.#mixer.state.address = value;
        return;
      case SB.mixerData:
        this.#writeMixer(value);
        return;
      case SB.reset:
        if (value & 1) this.#acknowledge(OPEN);
        this.#dsp.writeReset(value);
        return;
      case SB.write:
        this.#dsp.write(value);
        return;
      default:
    }
  }

  #readMixer(): number {
    const s = this.state;
    switch (s.mixer.address) {
      case MIXER.interruptSetup:
        return 0xf0 | s.interruptSetup;
      case MIXER.dmaSetup:
        return s.dmaSetup;
      case MIXER.interruptStatus:
        return s.interruptStatus;
      default:
        return this.#mixer.read();
    }
  }

  #writeMixer(value: number): void {
    const s = this.state;
    switch (s.mixer.address) {
      case MIXER.reset:
        this.#mixer.reset();
        return;
      case MIXER.interruptSetup:
        s.interruptSetup = value & 0x0f;
        this.#drive();
        return;
      case MIXER.dmaSetup:
        s.dmaSetup = value & (NARROW_BITS | WIDE_BITS);
        this.#drive();
        return;
      default:
        this.#mixer.write(value);
    }
  }

  /** Outputs follow the state. */
  #drive(): void {
    const s = this.state;
    const { irqs } = this.#options;
    for (let bit = 0; bit < irqs.length; bit++)
      irqs[bit]!.set(s.interruptStatus !== 0 && (s.interruptSetup & (1 << bit)) !== 0, this.#cause);
    const chosen = s.dsp.asking ? s.dmaSetup & (s.dsp.wide ? WIDE_BITS : NARROW_BITS) : 0;
    for (let bit = 0; bit < this.#dreq.length; bit++) this.#dreq[bit]?.set((chosen & (1 << bit)) !== 0);
  }

  #acknowledge(bits: number): void {
    if ((this.state.interruptStatus & bits) === 0) return;
    this.state.interruptStatus &= ~bits;
    this.#drive();
  }

  // --- for the DSP --------------------------------------------------------------------------------------------------------------------------------

  request(): void {
    this.#drive();
  }

  interrupt(wide: boolean): void {
    this.state.interruptStatus |= wide ? SB_STATUS.dma16.mask : SB_STATUS.dma8.mask;
    const bit = Math.log2(this.state.dmaSetup & (wide ? WIDE_BITS : NARROW_BITS));
    this.#cause = this.#options.channels[SB_CHANNELS[bit] ?? -1]?.cause ?? 0;
    this.#drive();
    this.#cause = 0;
  }

  frame(left: number, right: number, rate: number): void {
    this.#options.onFrame(left, right, rate);
  }

  // --- DMA ----------------------------------------------------------------------------------------------------------------------------------------

  dmaWrite(from: Uint8Array, offset: number, length: number): void {
    const step = this.state.dsp.wide ? 2 : 1;
    for (let i = 0; i < length; i += step) this.#dsp.play(from[offset + i]!, from[offset + i + step - 1]!);
  }

  dmaRead(into: Uint8Array, offset: number, length: number): void {
    const step = this.state.dsp.wide ? 2 : 1;
    for (let i = 0; i < length; i += step) {
      const word = this.#dsp.record();
      into[offset + i] = word;
      if (step === 2) into[offset + i + 1] = word >> 8;
    }
  }

  /** The card counts by itself. */
  terminalCount(): void {}
}

function describePort(offset: number): string {
  for (const [name, at] of Object.entries(SB)) if (at === offset) return `sound ${name}`;
  return "sound (FM, not there)";
}
