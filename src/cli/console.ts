/**
 * The user's terminal: the guest's serial output on stdout, everything else on stderr, keys from stdin when that is a terminal. Ctrl-A x leaves, Ctrl-A
 * Ctrl-A types a Ctrl-A.
 */
import { reasonOf } from "./files.ts";

const FLUSH_BYTES = 4096;
const ESCAPE = 0x01;
const LEAVE = 0x78;
const PROGRESS_MS = 250;

export class Console {
  /** True when keys go to the guest. */
  readonly interactive = process.stdin.isTTY === true;
  /** The user asked to leave. */
  left = false;
  /** Why stdout or stderr is of no use any more, or null. */
  failure: string | null = null;
  readonly #keys: number[] = [];
  readonly #buffer = new Uint8Array(FLUSH_BYTES);
  readonly #showsProgress = process.stderr.isTTY === true && !["", "dumb"].includes(process.env.TERM ?? "");
  #used = 0;
  #escape = false;
  #progressShown = false;
  #lastProgress = 0;
  #atLineStart = true;
  #wake: (() => void) | null = null;

  open(): void {
    process.stdout.on("error", this.#broken("standard output"));
    process.stderr.on("error", this.#broken("standard error"));
    process.on("SIGINT", this.#leave);
    process.on("SIGTERM", this.#leave);
    if (!this.interactive) return;
    process.stdin.setRawMode(true);
    // The terminal went away.
    process.stdin.on("error", this.#leave);
    process.stdin.on("data", this.#typed);
    process.stdin.resume();
  }

  close(): void {
    this.flush();
    this.#hideProgress();
    process.off("SIGINT", this.#leave);
    process.off("SIGTERM", this.#leave);
    if (!this.interactive) return;
    process.stdin.setRawMode(false);
    process.stdin.off("data", this.#typed);
    process.stdin.pause();
  }

  readonly #leave = (): void => {
    this.left = true;
    this.#wake?.();
  };
  #broken(stream: string): (error: unknown) => void {
    return error => {
      this.failure ??= `cannot write to ${stream}: ${reasonOf(error)}`;
      this.#wake?.();
    };
  }
  readonly #typed = (data: Buffer): void => {
    for (const byte of data) {
      if (this.#escape) {
        this.#escape = false;
        if (byte === LEAVE) this.left = true;
        else if (byte === ESCAPE) this.#keys.push(byte);
      } else if (byte === ESCAPE) this.#escape = true;
      else this.#keys.push(byte);
    }
    this.#wake?.();
  };

  /** Keys typed since the last call. */
  takeKeys(): number[] {
    return this.#keys.splice(0);
  }

  /** Resolves when keys were typed, the user leaves, or after `ms`. */
  async wait(ms: number): Promise<void> {
    if (this.#keys.length > 0 || this.left || this.failure !== null) return;
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = null;
  }

  /** Lets the host's events (keys, signals, closed pipes) in. */
  async breathe(): Promise<void> {
    await new Promise(resolve => setImmediate(resolve));
  }

  /** A byte of the guest's output. */
  put(byte: number): void {
    this.#buffer[this.#used++] = byte;
    if (this.#used === FLUSH_BYTES) this.flush();
  }

  flush(): void {
    if (this.#used === 0 || this.failure !== null) return;
    this.#hideProgress();
    this.#atLineStart = this.#buffer[this.#used - 1] === 0x0a;
    process.stdout.write(this.#buffer.slice(0, this.#used));
    this.#used = 0;
  }

  /** Resolves when everything written has arrived or {@link failure} says why it cannot. */
  async settle(): Promise<void> {
    this.flush();
    for (const stream of [process.stdout, process.stderr]) {
      if (stream.writableLength === 0) continue;
      await new Promise<void>(resolve => stream.write("", () => resolve()));
    }
    // Errors are told at the next turn of the event loop.
    await this.breathe();
  }

  /** A line for people. */
  line(text: string): void {
    this.flush();
    this.#hideProgress();
    if (!this.#atLineStart && process.stdout.isTTY === true) process.stdout.write("\r\n");
    this.#atLineStart = true;
    process.stderr.write(`${text}\n`);
  }

  /** Shows how far the run is, on a terminal, now and then. */
  progress(hostMs: number, text: () => string): void {
    if (!this.#showsProgress || !this.#atLineStart || hostMs - this.#lastProgress < PROGRESS_MS) return;
    this.#lastProgress = hostMs;
    this.#progressShown = true;
    process.stderr.write(`\r\x1b[K${text()}`);
  }

  #hideProgress(): void {
    if (this.#progressShown) process.stderr.write("\r\x1b[K");
    this.#progressShown = false;
  }
}
