/**
 * The digital sound processor of the Sound Blaster 16, version 4.05 (Creative, "Sound Blaster Series Hardware Programming Guide", chapters 2, 3 and 6):
 * commands, sample rates, and transfers by DMA in single-cycle and auto-initialise mode, 8 and 16 bits, mono and stereo, signed and not.
 *
 * Decisions: every sample is fetched when it is due, at the pace of its rate; when its DMA comes later than the next one is due, the sound stalls, and nothing
 * is made up for. Commands take no time. The speaker's state is only told, as on a version 4 DSP. Recording gives silence. A new transfer ends the one before
 * it. ADPCM and MIDI commands take their parameters and do nothing. Not modelled: 16-bit sound through an 8-bit channel, high-speed mode as something
 * that needs a reset.
 */
import type { Ns } from "../base/units.ts";
import type { Alarm, EventQueue } from "../sim/event-queue.ts";
import { parametersOf, SB_MODE, SB_READY, SB_TRANSFER, SB_VERSION } from "./sb16.regs.ts";

/** From the end of the reset pulse to the ready byte. */
const RESET_NS = 100_000;
const SECOND: Ns = 1_000_000_000;
const COPYRIGHT = "COPYRIGHT (C) CREATIVE TECHNOLOGY LTD, 1992.\0";
const DEFAULT_RATE = 11025;
const [LOWEST_RATE, HIGHEST_RATE] = [5000, 45000];
/** Samples that are written one by one: bounds of the rate that they are taken for. */
const [SLOWEST_DIRECT, FASTEST_DIRECT] = [1000, 48000];
const OUT = 48;

/** What the DSP tells its card. */
export interface DspCard {
  /** A sample is due on the 8-bit (false) or 16-bit channel, or no longer. */
  request(wide: boolean, level: boolean): void;
  interrupt(wide: boolean): void;
  /** A frame for the converter: signed 16-bit samples, and the rate of frames per second. */
  frame(left: number, right: number, rate: number): void;
}

export type DspState = {
  resetting: boolean;
  command: number;
  parameters: Uint8Array;
  parameterBytes: number;
  /** Bytes for the host. */
  out: Uint8Array;
  outBytes: number;
  lastRead: number;
  test: number;
  speaker: boolean;
  /** Frames per second, or (by time constant) samples of all channels per second: 1 000 000 / (256 − constant). */
  rate: number;
  constant: number;
  byConstant: boolean;
  blockSize: number;
  /** Transfer in progress. */
  active: boolean;
  paused: boolean;
  wide: boolean;
  input: boolean;
  stereo: boolean;
  signed: boolean;
  autoInitialize: boolean;
  /** Silence without DMA (command 80h). */
  silence: boolean;
  /** Samples of this block after the present one. */
  left: number;
  blockSamples: number;
  /** Sample `samples` since `began` is due next. */
  began: Ns;
  samples: number;
  /** DREQ is up. */
  asking: boolean;
  /** The left sample of a frame that waits for the right one. */
  half: boolean;
  leftSample: number;
  lastDirect: Ns;
};

const fresh = (): DspState => ({
  ...{ resetting: false, command: -1, parameters: new Uint8Array(3), parameterBytes: 0 },
  ...{ out: new Uint8Array(OUT), outBytes: 0, lastRead: 0, test: 0, speaker: false },
  ...{ rate: DEFAULT_RATE, constant: 0, byConstant: false, blockSize: 0 },
  ...{ active: false, paused: false, wide: false, input: false, stereo: false, signed: false, autoInitialize: false },
  ...{ silence: false, left: 0, blockSamples: 0, began: 0, samples: 0, asking: false },
  ...{ half: false, leftSample: 0, lastDirect: 0 },
});

export class Sb16Dsp {
  readonly state = fresh();
  readonly #card: DspCard;
  readonly #queue: EventQueue;
  readonly #ready: Alarm;
  readonly #sample: Alarm;

  constructor(queue: EventQueue, card: DspCard) {
    this.#card = card;
    this.#queue = queue;
    this.#ready = queue.alarm("sound reset", () => this.#push(SB_READY));
    this.#sample = queue.alarm("sound sample", () => this.#due());
  }

  /** Power-on state; drives nothing. */
  clear(): void {
    const { parameters, out } = this.state;
    Object.assign(this.state, fresh(), { parameters: parameters.fill(0), out: out.fill(0) });
    this.#ready.cancel();
    this.#sample.cancel();
  }

  // --- the host's side ----------------------------------------------------------------------------------------------------------------------------

  /** Reset port: a 1 and then a 0 (chapter 2, "Resetting the DSP"). */
  writeReset(value: number): void {
    const { resetting } = this.state;
    if (value & 1) {
      this.clear();
      this.#ask(false);
      this.state.resetting = true;
    } else if (resetting) {
      this.state.resetting = false;
      this.#ready.armIn(RESET_NS);
    }
  }

  read(): number {
    const s = this.state;
    if (s.outBytes === 0) return s.lastRead;
    s.lastRead = s.out[0]!;
    s.out.copyWithin(0, 1, s.outBytes--);
    return s.lastRead;
  }

  get dataWaits(): boolean {
    return this.state.outBytes > 0;
  }

  #push(...bytes: number[]): void {
    const s = this.state;
    for (const byte of bytes) if (s.outBytes < OUT) s.out[s.outBytes++] = byte;
  }

  write(value: number): void {
    const s = this.state;
    if (s.resetting) return;
    if (s.command < 0) {
      s.command = value;
      s.parameterBytes = 0;
    } else s.parameters[s.parameterBytes++] = value;
    if (s.parameterBytes < parametersOf(s.command)) return;
    const { command } = s;
    s.command = -1;
    this.#execute(command);
  }

  // --- commands -----------------------------------------------------------------------------------------------------------------------------------

  #execute(command: number): void {
    const s = this.state;
    const [first, second, third] = [s.parameters[0]!, s.parameters[1]!, s.parameters[2]!];
    if (command >= 0xb0 && command < 0xd0) {
      const input = SB_TRANSFER.input.on(command);
      const autoInitialize = SB_TRANSFER.autoInitialize.on(command);
      const [stereo, signed] = [SB_MODE.stereo.on(first), SB_MODE.signed.on(first)];
      this.#start({ wide: command < 0xc0, input, autoInitialize, stereo, signed }, second | (third << 8));
      return;
    }
    const old = OLD_TRANSFERS[command];
    if (old !== undefined) {
      const [input, autoInitialize, own] = old;
      const length = own ? first | (second << 8) : s.blockSize;
      this.#start({ wide: false, input, autoInitialize, stereo: false, signed: false }, length);
      return;
    }
    switch (command) {
      case 0x10:
        this.#direct(first);
        return;
      case 0x20:
        this.#push(0x80);
        return;
      case 0x40:
        s.constant = first;
        s.byConstant = true;
        this.#repace();
        return;
      case 0x41:
      case 0x42:
        s.rate = Math.min(HIGHEST_RATE, Math.max(LOWEST_RATE, (first << 8) | second));
        s.byConstant = false;
        this.#repace();
        return;
      case 0x48:
        s.blockSize = first | (second << 8);
        return;
      case 0x80:
        this.#start(
          { wide: false, input: false, autoInitialize: false, stereo: false, signed: false },
          first | (second << 8),
        );
        s.silence = true;
        return;
      case 0xf2:
      case 0xf3:
        this.#card.interrupt(command === 0xf3);
        return;
      default:
        if (!this.#control(command)) this.#tell(command, first);
    }
  }

  /** Pause, continue, end of auto-initialise mode, speaker. */
  #control(command: number): boolean {
    const s = this.state;
    switch (command) {
      case 0xd0:
      case 0xd5:
        if (s.active && s.wide === (command === 0xd5)) this.#pause();
        return true;
      case 0xd4:
      case 0xd6:
        if (s.active && s.paused && s.wide === (command === 0xd6)) this.#go();
        return true;
      case 0xd9:
      case 0xda:
        if (s.wide === (command === 0xd9)) s.autoInitialize = false;
        return true;
      case 0x45:
      case 0x47:
        if (s.active && s.wide === (command === 0x47)) s.autoInitialize = true;
        return true;
      case 0xd1:
      case 0xd3:
        s.speaker = command === 0xd1;
        return true;
      default:
        return false;
    }
  }

  #tell(command: number, first: number): void {
    const s = this.state;
    switch (command) {
      case 0xd8:
        this.#push(s.speaker ? 0xff : 0);
        return;
      case 0xe0:
        this.#push(~first & 0xff);
        return;
      case 0xe1:
        this.#push(...SB_VERSION);
        return;
      case 0xe3:
        this.#push(...Array.from(COPYRIGHT, letter => letter.charCodeAt(0)));
        return;
      case 0xe4:
        s.test = first;
        return;
      case 0xe8:
        this.#push(s.test);
        return;
      default:
    }
  }

  /** One sample by the processor's hand: it lasts until the next one. */
  #direct(value: number): void {
    const s = this.state;
    const now = this.#queue.clock.now();
    const rate = Math.round(SECOND / Math.max(1, now - s.lastDirect));
    s.lastDirect = now;
    const sample = (value - 128) * 256;
    this.#card.frame(sample, sample, Math.min(FASTEST_DIRECT, Math.max(SLOWEST_DIRECT, rate)));
  }

  // --- transfers ----------------------------------------------------------------------------------------------------------------------------------

  #start(kind: Pick<DspState, "wide" | "input" | "autoInitialize" | "stereo" | "signed">, length: number): void {
    const s = this.state;
    this.#ask(false);
    Object.assign(s, kind, { active: true, silence: false, half: false, left: length, blockSamples: length });
    this.#go();
  }

  /** The next sample is due one period from now. */
  #go(): void {
    const s = this.state;
    s.paused = false;
    s.began = this.#queue.clock.now();
    s.samples = 1;
    this.#arm();
  }

  /** A new rate in the middle of a transfer counts from here. */
  #repace(): void {
    const s = this.state;
    if (!s.active || s.paused) return;
    s.began = this.#queue.clock.now();
    s.samples = s.asking ? 0 : 1;
    if (!s.asking) this.#arm();
  }

  #pause(): void {
    this.state.paused = true;
    this.#ask(false);
    this.#sample.cancel();
  }

  get #channels(): number {
    return this.state.stereo ? 2 : 1;
  }

  /** When sample `n` since `began` is due. */
  #dueAt(n: number): Ns {
    const s = this.state;
    if (s.byConstant) return s.began + n * (256 - s.constant) * 1000;
    return s.began + Math.floor((n * SECOND) / (s.rate * this.#channels));
  }

  get #frameRate(): number {
    const s = this.state;
    return s.byConstant ? Math.round(1e6 / (256 - s.constant) / this.#channels) : s.rate;
  }

  #arm(): void {
    const s = this.state;
    const now = this.#queue.clock.now();
    if (this.#dueAt(s.samples) < now) {
      s.began = now;
      s.samples = 0;
    }
    this.#sample.armAt(this.#dueAt(s.samples));
  }

  #due(): void {
    if (this.state.silence) this.#moved();
    else this.#ask(true);
  }

  #ask(level: boolean): void {
    const s = this.state;
    if (s.asking === level) return;
    s.asking = level;
    this.#card.request(s.wide, level);
  }

  /** A sample came by DMA. */
  play(low: number, high: number): void {
    const s = this.state;
    if (!s.active || s.input) return;
    const word = s.wide ? low | (high << 8) : low << 8;
    const sample = (((s.signed ? word : word ^ 0x8000) & 0xffff) << 16) >> 16;
    if (!s.stereo) this.#card.frame(sample, sample, this.#frameRate);
    else if (s.half) this.#card.frame(s.leftSample, sample, this.#frameRate);
    else s.leftSample = sample;
    s.half = s.stereo && !s.half;
    this.#moved();
  }

  /** A sample goes to memory: silence. Returns its bytes as a word. */
  record(): number {
    const s = this.state;
    if (s.active && s.input) this.#moved();
    return s.signed ? 0 : s.wide ? 0x8000 : 0x80;
  }

  #moved(): void {
    const s = this.state;
    this.#ask(false);
    s.samples++;
    // Every second anew, or the products would leave what numbers can hold.
    if (!s.byConstant && s.samples === s.rate * this.#channels) {
      s.began += SECOND;
      s.samples = 0;
    }
    if (s.left-- > 0) {
      this.#arm();
      return;
    }
    if (s.autoInitialize) {
      s.left = s.blockSamples;
      this.#arm();
    } else {
      s.active = s.silence = false;
      s.left = 0;
    }
    this.#card.interrupt(s.wide);
  }
}

/** Commands of earlier versions: records, auto-initialises, has its own length (else that of command 48h). Mono, unsigned. */
const OLD_TRANSFERS: { readonly [command: number]: readonly [boolean, boolean, boolean] } = {
  20: [false, false, true],
  28: [false, true, false],
  36: [true, false, true],
  44: [true, true, false],
  144: [false, true, false],
  145: [false, false, false],
  152: [true, true, false],
  153: [true, false, false],
};
