/**
 * PS/2 keyboard. IBM Personal System/2 Hardware Interface Technical Reference (1990), "Keyboards": commands, answers, scan code sets 1 and 2.
 *
 * Not modelled: scan code set 3 (selecting it is refused with Resend) and with it the commands 0xFB to 0xFD; typematic repeat (its rate is kept); the half
 * second of the self test after a reset.
 */
import { HostError } from "../base/assert.ts";
import { hex } from "../base/int.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import { PS2, type Ps2Device } from "./ps2-device.ts";
import { SET1_BY_NAME, set2Of } from "./ps2-keys.ts";

const COMMAND = {
  leds: 0xed,
  echo: 0xee,
  scanCodeSet: 0xf0,
  identify: 0xf2,
  typematic: 0xf3,
  enable: 0xf4,
  disable: 0xf5,
  defaults: 0xf6,
  allTypematic: 0xf7,
  allMakeBreakTypematic: 0xfa,
  resend: 0xfe,
  reset: 0xff,
} as const;
const IDENTITY = [0xab, 0x83] as const;
/** 10.9 characters a second after 500 ms. */
const DEFAULT_TYPEMATIC = 0x2b;
const BUFFER_BYTES = 16;
const BREAK_PREFIX = 0xf0;
const PRINT_SCREEN = 0xe037;
const PAUSE = 0xe11d;

export type KeyboardState = {
  scanning: boolean;
  /** 1 or 2. */
  set: number;
  /** Scroll lock bit 0, num lock bit 1, caps lock bit 2. */
  leds: number;
  typematic: number;
  /** Command that waits for its parameter, 0 when none. */
  command: number;
  lastSent: number;
  /** Answers go before keys. */
  answers: number[];
  keys: number[];
};

export type KeyboardOptions = {
  readonly name?: string;
  /** The guest set the LEDs. */
  readonly onLeds?: (leds: number) => void;
};

export class Ps2Keyboard implements Part, Ps2Device {
  readonly name: string;
  readonly state: KeyboardState = {
    scanning: true,
    set: 2,
    leds: 0,
    typematic: DEFAULT_TYPEMATIC,
    command: 0,
    lastSent: 0,
    answers: [],
    keys: [],
  };
  readonly #options: KeyboardOptions;
  #listener: (() => void) | null = null;

  constructor(options: KeyboardOptions = {}) {
    this.#options = options;
    this.name = options.name ?? "ps2-keyboard";
  }

  reset(phase: ResetPhase, _kind: ResetKind): void {
    if (phase !== "enter") return;
    this.#defaults();
    const { state: s } = this;
    s.scanning = true;
    s.set = 2;
    s.leds = s.command = s.lastSent = 0;
    s.answers.length = 0;
  }

  onWaiting(listener: () => void): void {
    this.#listener = listener;
  }

  get waiting(): number {
    return this.state.answers.length + this.state.keys.length;
  }

  take(): number {
    const { state: s } = this;
    s.lastSent = s.answers.shift() ?? s.keys.shift() ?? 0;
    return s.lastSent;
  }

  /**
   * A key goes down or up. @param key a name such as `KeyA` or `Enter`, or a set 1 scan code (0xE0xx for extended keys; bit 7 set means up).
   * Throws {@link HostError} for a name or code that no key has.
   */
  key(key: string | number, down = true): void {
    const given = typeof key === "number" ? key : SET1_BY_NAME.get(key);
    if (given === undefined) throw new HostError(`keyboard: no key is called ${String(key)}`, 64);
    const code = given === PAUSE ? given : given & ~0x80;
    const isDown = down && code === given;
    if ((code & 0x7f) === 0 || (code > 0x7f && code >>> 8 !== 0xe0 && code !== PAUSE)) {
      throw new HostError(`keyboard: no key has scan code ${hex(given)}`, 64);
    }
    const { state: s } = this;
    if (!s.scanning) return;
    const bytes = this.#sequence(code, isDown);
    if (s.keys.length + bytes.length <= BUFFER_BYTES) s.keys.push(...bytes);
    else if (s.keys.length <= BUFFER_BYTES) {
      // "Overrun": once, in the place of what is lost.
      const overrun = s.set === 1 ? 0xff : 0x00;
      if (s.keys.at(-1) !== overrun) s.keys.push(overrun);
    }
    this.#listener?.();
  }

  send(byte: number): void {
    const { state: s } = this;
    const waitingFor = s.command;
    s.command = 0;
    // A command instead of the parameter ends the old command.
    if (waitingFor !== 0 && byte < COMMAND.leds) this.#parameter(waitingFor, byte);
    else this.#command(byte);
    this.#listener?.();
  }

  #sequence(code: number, down: boolean): number[] {
    if (code === PAUSE) return down ? this.#pause() : [];
    // Print Screen comes with a shift of its own around it.
    if (code === PRINT_SCREEN) {
      const [shift, key] = [this.#one(0xe02a, down), this.#one(PRINT_SCREEN, down)];
      return down ? [...shift, ...key] : [...key, ...shift];
    }
    return this.#one(code, down);
  }

  #one(code: number, down: boolean): number[] {
    const prefix = code > 0xff ? [0xe0] : [];
    const make = code & 0x7f;
    if (this.state.set === 1) return [...prefix, down ? make : make | 0x80];
    return down ? [...prefix, set2Of(make)] : [...prefix, BREAK_PREFIX, set2Of(make)];
  }

  /** Pause sends make and break at once and nothing when it is released. */
  #pause(): number[] {
    if (this.state.set === 1) return [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5];
    return [0xe1, 0x14, 0x77, 0xe1, BREAK_PREFIX, 0x14, BREAK_PREFIX, 0x77];
  }

  #defaults(): void {
    this.state.typematic = DEFAULT_TYPEMATIC;
    this.state.keys.length = 0;
  }

  #answer(...bytes: number[]): void {
    this.state.answers.push(...bytes);
  }

  #command(byte: number): void {
    const { state: s } = this;
    if (byte === COMMAND.resend) {
      if (s.answers.length < BUFFER_BYTES) s.answers.unshift(s.lastSent);
      return;
    }
    // A new command discards what was not fetched of the old answers.
    s.answers.length = 0;
    switch (byte) {
      case COMMAND.echo:
        this.#answer(PS2.echo);
        break;
      case COMMAND.leds:
      case COMMAND.scanCodeSet:
      case COMMAND.typematic:
        s.command = byte;
        this.#answer(PS2.ack);
        break;
      case COMMAND.identify:
        this.#answer(PS2.ack, ...IDENTITY);
        break;
      case COMMAND.enable:
      case COMMAND.disable:
      case COMMAND.defaults:
        this.#defaults();
        if (byte !== COMMAND.defaults) s.scanning = byte === COMMAND.enable;
        this.#answer(PS2.ack);
        break;
      case COMMAND.reset:
        this.#defaults();
        s.scanning = true;
        s.set = 2;
        this.#setLeds(0);
        this.#answer(PS2.ack, PS2.testPassed);
        break;
      default: {
        const known = byte >= COMMAND.allTypematic && byte <= COMMAND.allMakeBreakTypematic;
        this.#answer(known ? PS2.ack : PS2.resend);
        break;
      }
    }
  }

  #parameter(command: number, value: number): void {
    const { state: s } = this;
    if (command === COMMAND.leds) this.#setLeds(value & 7);
    else if (command === COMMAND.typematic) s.typematic = value & 0x7f;
    else if (value > 2) {
      this.#answer(PS2.resend);
      return;
    }
    this.#answer(PS2.ack);
    if (command !== COMMAND.scanCodeSet) return;
    if (value === 0) this.#answer(s.set);
    else s.set = value;
  }

  #setLeds(leds: number): void {
    this.state.leds = leds;
    this.#options.onLeds?.(leds);
  }
}
