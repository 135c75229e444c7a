/**
 * `--sb16 file`: what the Sound Blaster plays, as a WAV file. Its header is written again at the end, when its lengths are known.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { HostError } from "../base/assert.ts";
import { WavStream } from "../export/wav.ts";
import { reasonOf } from "./files.ts";

const IO = 74;

export class SoundFile {
  readonly #path: string;
  readonly #handle: number;
  readonly #stream: WavStream;
  #position = 0;

  /** Opened at once, so that a bad path is known before the run. Throws {@link HostError} with status 74. */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#handle = openSync(path, "w");
    } catch (error) {
      throw this.#failure(error);
    }
    this.#stream = new WavStream(bytes => {
      this.#write(bytes, this.#position);
      this.#position += bytes.length;
    });
  }

  readonly onFrame = (left: number, right: number, rate: number): void => this.#stream.frame(left, right, rate);

  finish(): void {
    this.#write(this.#stream.finish(), 0);
    closeSync(this.#handle);
  }

  #write(bytes: Uint8Array, position: number): void {
    try {
      for (let done = 0; done < bytes.length; )
        done += writeSync(this.#handle, bytes, done, bytes.length - done, position + done);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #failure(error: unknown): HostError {
    return new HostError(`cannot write ${this.#path}: ${reasonOf(error)}`, IO);
  }
}
