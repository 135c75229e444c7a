/**
 * Ports through which a guest talks to whoever debugs it: POST codes (0x80), the debug console (0xE9, as Bochs introduced it) and the exit port (0xF4,
 * as QEMU's isa-debug-exit documents it: the process ends with status (value << 1) | 1).
 */
import { onesOf } from "../base/int.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";

/** Port 0x80: the last byte written can be read back. */
export class PostCodePort implements Part, Window {
  readonly name = "post-code";
  readonly size = 1;
  readonly minWidth = 1;
  readonly maxWidth = 1;
  readonly state = { code: 0 };
  readonly #onCode: ((code: number) => void) | undefined;

  constructor(onCode?: (code: number) => void) {
    this.#onCode = onCode;
  }

  reset(phase: ResetPhase, _kind: ResetKind): void {
    if (phase === "enter") this.state.code = 0;
  }

  read(_offset: number, _width: number): number {
    return this.state.code;
  }

  write(_offset: number, _width: number, value: number): void {
    this.state.code = value & 0xff;
    this.#onCode?.(this.state.code);
  }
}

/** Port 0xE9: each byte written goes to the host; reading gives 0xE9, by which a guest knows that the port is there. */
export class DebugConsolePort implements Part, Window {
  readonly name = "debug-console";
  readonly size = 1;
  readonly minWidth = 1;
  readonly maxWidth = 1;
  readonly state = {};
  readonly #onByte: (byte: number) => void;

  constructor(onByte: (byte: number) => void) {
    this.#onByte = onByte;
  }

  reset(_phase: ResetPhase, _kind: ResetKind): void {}

  read(_offset: number, _width: number): number {
    return 0xe9;
  }

  write(_offset: number, _width: number, value: number): void {
    this.#onByte(value & 0xff);
  }
}

/** Port 0xF4, four bytes: a write of 1, 2 or 4 bytes ends the run. Reads give 0. */
export class ExitPort implements Part, Window {
  readonly name = "exit-port";
  readonly size = 4;
  readonly minWidth = 1;
  readonly maxWidth = 4;
  readonly state = {};
  readonly #onExit: (status: number) => void;

  /** @param onExit hears `value * 2 + 1` (always odd, may exceed 255). Called in the middle of a port write. */
  constructor(onExit: (status: number) => void) {
    this.#onExit = onExit;
  }

  reset(_phase: ResetPhase, _kind: ResetKind): void {}

  read(_offset: number, _width: number): number {
    return 0;
  }

  write(_offset: number, width: number, value: number): void {
    this.#onExit(((value & onesOf(width)) >>> 0) * 2 + 1);
  }
}
