/**
 * PS/2 mouse, with a wheel for those who knock. IBM Personal System/2 Hardware Interface Technical Reference (1990), "Auxiliary Device: Mouse";
 * the wheel's identities 3 and 4 (sample rates 200-100-80, 200-200-80) are Microsoft's IntelliMouse convention.
 *
 * Not modelled: the sample rate as a pace (a packet follows as soon as the one before it was taken), the time of the self test.
 */
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import { PS2, type Ps2Device } from "./ps2-device.ts";

const COMMAND = {
  scaling1: 0xe6,
  scaling2: 0xe7,
  resolution: 0xe8,
  status: 0xe9,
  stream: 0xea,
  read: 0xeb,
  endWrap: 0xec,
  wrap: 0xee,
  remote: 0xf0,
  identify: 0xf2,
  sampleRate: 0xf3,
  enable: 0xf4,
  disable: 0xf5,
  defaults: 0xf6,
  resend: 0xfe,
  reset: 0xff,
} as const;
const RATES: readonly number[] = [10, 20, 40, 60, 80, 100, 200];
const PACKET_ALWAYS = 0x08;
/** Movement of one packet, 9 bits signed, and of the wheel. */
const FARTHEST = 255;
const WHEEL_FARTHEST = 7;
const QUEUE_BYTES = 16;

/** Buttons as in a packet. */
export const MOUSE_BUTTON = { left: 1, right: 2, middle: 4, fourth: 8, fifth: 16 } as const;

export type MouseState = {
  reporting: boolean;
  remote: boolean;
  wrap: boolean;
  scaling2: boolean;
  resolution: number;
  rate: number;
  /** The last three sample rates, for the wheel's knock. */
  knock: number[];
  /** 0 standard, 3 wheel, 4 wheel and five buttons. */
  identity: number;
  /** Movement and buttons that no packet has told yet. */
  dx: number;
  dy: number;
  dz: number;
  buttons: number;
  toldButtons: number;
  command: number;
  lastSent: number;
  queue: number[];
};

export class Ps2Mouse implements Part, Ps2Device {
  readonly name: string;
  readonly state: MouseState = {
    reporting: false,
    remote: false,
    wrap: false,
    scaling2: false,
    resolution: 2,
    rate: 100,
    knock: [0, 0, 0],
    identity: 0,
    dx: 0,
    dy: 0,
    dz: 0,
    buttons: 0,
    toldButtons: 0,
    command: 0,
    lastSent: 0,
    queue: [],
  };
  #listener: (() => void) | null = null;

  constructor(name = "ps2-mouse") {
    this.name = name;
  }

  reset(phase: ResetPhase, _kind: ResetKind): void {
    if (phase !== "enter") return;
    this.#defaults();
    const { state: s } = this;
    s.identity = s.buttons = s.toldButtons = s.command = s.lastSent = 0;
    s.knock = [0, 0, 0];
    s.wrap = false;
    s.queue.length = 0;
  }

  onWaiting(listener: () => void): void {
    this.#listener = listener;
  }

  get waiting(): number {
    return this.state.queue.length;
  }

  take(): number {
    const { state: s } = this;
    s.lastSent = s.queue.shift() ?? 0;
    if (s.queue.length === 0) this.#stream();
    return s.lastSent;
  }

  /** The mouse moved (dx right, dy up, dz wheel towards the user), or its buttons ({@link MOUSE_BUTTON}) changed. */
  mouse(dx: number, dy: number, buttons: number, dz = 0): void {
    const { state: s } = this;
    s.dx += Math.trunc(dx);
    s.dy += Math.trunc(dy);
    s.dz += Math.trunc(dz);
    s.buttons = buttons & 0x1f;
    if (s.queue.length === 0) this.#stream();
    this.#listener?.();
  }

  send(byte: number): void {
    const { state: s } = this;
    const waitingFor = s.command;
    s.command = 0;
    if (s.wrap && byte !== COMMAND.endWrap && byte !== COMMAND.reset) {
      if (s.queue.length < QUEUE_BYTES) s.queue.push(byte);
    } else if (waitingFor !== 0) this.#parameter(waitingFor, byte);
    else this.#command(byte);
    this.#listener?.();
  }

  #defaults(): void {
    const { state: s } = this;
    s.reporting = s.remote = s.scaling2 = false;
    s.resolution = 2;
    s.rate = 100;
    s.dx = s.dy = s.dz = 0;
  }

  #stream(): void {
    const { state: s } = this;
    if (!s.reporting || s.remote || s.wrap) return;
    if (s.dx === 0 && s.dy === 0 && s.dz === 0 && s.buttons === s.toldButtons) return;
    this.#packet(s.scaling2);
  }

  #packet(scale: boolean): void {
    const { state: s } = this;
    const cut = (value: number, limit: number): number => Math.max(-limit, Math.min(limit, value));
    const [dx, dy, dz] = [cut(s.dx, FARTHEST), cut(s.dy, FARTHEST), cut(s.dz, WHEEL_FARTHEST)];
    s.dx -= dx;
    s.dy -= dy;
    s.dz = s.identity === 0 ? 0 : s.dz - dz;
    s.toldButtons = s.buttons;
    const [x, y] = scale ? [cut(scaled(dx), FARTHEST), cut(scaled(dy), FARTHEST)] : [dx, dy];
    s.queue.push(PACKET_ALWAYS | (s.buttons & 7) | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0), x & 0xff, y & 0xff);
    if (s.identity === 3) s.queue.push(dz & 0xff);
    if (s.identity === 4) s.queue.push((dz & 0x0f) | ((s.buttons & 0x18) << 1));
  }

  #answer(...bytes: number[]): void {
    this.state.queue.push(...bytes);
  }

  #command(byte: number): void {
    const { state: s } = this;
    if (byte === COMMAND.resend) {
      if (s.queue.length < QUEUE_BYTES) s.queue.unshift(s.lastSent);
      return;
    }
    // "The mouse stops what it is sending when the system sends a command."
    s.queue.length = 0;
    this.#answer(PS2.ack);
    switch (byte) {
      case COMMAND.scaling1:
      case COMMAND.scaling2:
        s.scaling2 = byte === COMMAND.scaling2;
        break;
      case COMMAND.resolution:
      case COMMAND.sampleRate:
        s.command = byte;
        break;
      case COMMAND.status:
        this.#answer(this.#status(), s.resolution, s.rate);
        break;
      case COMMAND.stream:
      case COMMAND.remote:
        s.remote = byte === COMMAND.remote;
        break;
      case COMMAND.read:
        this.#packet(false);
        break;
      case COMMAND.wrap:
      case COMMAND.endWrap:
        s.wrap = byte === COMMAND.wrap;
        break;
      case COMMAND.identify:
        this.#answer(s.identity);
        break;
      case COMMAND.enable:
      case COMMAND.disable:
        s.reporting = byte === COMMAND.enable;
        break;
      case COMMAND.defaults:
        this.#defaults();
        break;
      case COMMAND.reset:
        this.#defaults();
        s.wrap = false;
        s.identity = 0;
        this.#answer(PS2.testPassed, s.identity);
        break;
      default:
        s.queue.length = 0;
        this.#answer(PS2.resend);
    }
  }

  #status(): number {
    const { remote, reporting, scaling2, buttons } = this.state;
    const bit = (on: boolean, mask: number): number => (on ? mask : 0);
    return (
      bit(remote, 0x40) |
      bit(reporting, 0x20) |
      bit(scaling2, 0x10) |
      bit((buttons & MOUSE_BUTTON.left) !== 0, 4) |
      bit((buttons & MOUSE_BUTTON.middle) !== 0, 2) |
      bit((buttons & MOUSE_BUTTON.right) !== 0, 1)
    );
  }

  #parameter(command: number, value: number): void {
    const { state: s } = this;
    s.queue.length = 0;
    const good = command === COMMAND.resolution ? value <= 3 : RATES.includes(value);
    this.#answer(good ? PS2.ack : PS2.resend);
    if (!good) return;
    if (command === COMMAND.resolution) s.resolution = value;
    else {
      s.rate = value;
      s.knock = [s.knock[1]!, s.knock[2]!, value];
      const knock = s.knock.join("-");
      if (knock === "200-100-80" && s.identity === 0) s.identity = 3;
      if (knock === "200-200-80") s.identity = 4;
    }
  }
}

/** 2:1 scaling: 0 1 1 3 6 9, then twice the count. */
function scaled(count: number): number {
  const size = Math.abs(count);
  return Math.sign(count) * ([0, 1, 1, 3, 6, 9][size] ?? 2 * size);
}
