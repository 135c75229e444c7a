/**
 * Sound as a WAV stream: 16 bits, stereo (RIFF, "Multimedia Programming Interface and Data Specifications 1.0", Waveform Audio File Format). The first frame
 * decides the rate of the file; frames of other rates are held or left out to fit. Times without sound leave no trace.
 */
const HEADER_BYTES = 44;
const FRAME_BYTES = 4;
const CHANNELS = 2;
const BITS = 16;
const CHUNK_FRAMES = 8192;
const PCM = 1;
const DEFAULT_RATE = 44100;

/** Header of a file with `frames` frames. */
export function wavHeader(rate: number, frames: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  const text = (at: number, word: string): void => bytes.set(new TextEncoder().encode(word), at);
  const data = frames * FRAME_BYTES;
  text(0, "RIFF");
  view.setUint32(4, HEADER_BYTES - 8 + data, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, PCM, true);
  view.setUint16(22, CHANNELS, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * FRAME_BYTES, true);
  view.setUint16(32, FRAME_BYTES, true);
  view.setUint16(34, BITS, true);
  text(36, "data");
  view.setUint32(40, data, true);
  return bytes;
}

export class WavStream {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #chunk = new Int16Array(CHUNK_FRAMES * CHANNELS);
  #filled = 0;
  #rate = 0;
  #frames = 0;
  /** Output frames still owed, times the input's rate. */
  #owed = 0;
  #owedRate = 0;

  /** @param write takes the stream piece by piece; the header comes first, with lengths of 0 */
  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
  }

  /** One frame that is played for 1 / `rate` s. */
  frame(left: number, right: number, rate: number): void {
    if (this.#rate === 0) {
      this.#rate = rate;
      this.#write(wavHeader(rate, 0));
    }
    if (this.#owedRate !== rate) {
      this.#owedRate = rate;
      this.#owed = 0;
    }
    for (this.#owed += this.#rate; this.#owed >= rate; this.#owed -= rate) this.#put(left, right);
  }

  #put(left: number, right: number): void {
    this.#chunk[this.#filled++] = left;
    this.#chunk[this.#filled++] = right;
    this.#frames++;
    if (this.#filled === this.#chunk.length) this.#flush();
  }

  #flush(): void {
    const bytes = new Uint8Array(this.#filled * 2);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < this.#filled; i++) view.setInt16(2 * i, this.#chunk[i]!, true);
    this.#filled = 0;
    this.#write(bytes);
  }

  /** Writes what is left. Returns the header that belongs at the beginning. */
  finish(): Uint8Array {
    if (this.#rate === 0) {
      this.#rate = DEFAULT_RATE;
      this.#write(wavHeader(DEFAULT_RATE, 0));
    }
    if (this.#filled > 0) this.#flush();
    return wavHeader(this.#rate, this.#frames);
  }
}
