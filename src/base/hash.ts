/**
 * A 128-bit hash of machine state: four multiply-and-rotate lanes over 32-bit words. Not cryptographic; it tells two runs apart.
 * The same in every JavaScript engine (integer operations only).
 */

const rotl = (x: number, n: number): number => (x << n) | (x >>> (32 - n));

/** Accumulates words and bytes; `digest()` may be called once. */
export class Hasher {
  #a = 0x243f6a88 | 0;
  #b = 0x85a308d3 | 0;
  #c = 0x13198a2e | 0;
  #d = 0x03707344 | 0;
  #count = 0;

  /** Adds one 32-bit word. */
  word(value: number): void {
    const a = Math.imul(this.#a ^ value, 0x9e3779b1);
    this.#a = this.#b;
    this.#b = this.#c;
    this.#c = this.#d ^ rotl(a, 13);
    this.#d = (rotl(a, 17) + value) | 0;
    this.#count++;
  }

  /** Adds a number exactly (any double). */
  number(value: number): void {
    if (Number.isInteger(value) && Math.abs(value) <= Number.MAX_SAFE_INTEGER) {
      this.word(value | 0);
      this.word(Math.floor(value / 0x100000000) | 0);
    } else {
      scratch[0] = value;
      this.word(0x7ff8_0001);
      this.word(scratchWords[0]!);
      this.word(scratchWords[1]!);
    }
  }

  /** Adds a string by its UTF-16 code units, length first. */
  string(value: string): void {
    this.word(value.length);
    for (let i = 0; i < value.length; i++) this.word(value.charCodeAt(i));
  }

  /** Adds bytes, length first; fastest for arrays whose offset in their buffer is a multiple of 4. */
  bytes(value: Uint8Array): void {
    this.word(value.length);
    const whole = value.length >>> 2;
    // The hash must not depend on where in memory the bytes lie.
    const { buffer, byteOffset } = value.byteOffset % 4 === 0 ? value : value.slice();
    this.words(new Int32Array(buffer, byteOffset, whole));
    for (let i = whole * 4; i < value.length; i++) this.word(value[i]!);
  }

  /** Adds 32-bit words four at a time, one lane each. */
  words(value: Int32Array): void {
    let a = this.#a;
    let b = this.#b;
    let c = this.#c;
    let d = this.#d;
    const n = value.length & ~3;
    for (let i = 0; i < n; i += 4) {
      a = (rotl(Math.imul(a ^ value[i]!, 0x9e3779b1), 13) + d) | 0;
      b = (rotl(Math.imul(b ^ value[i + 1]!, 0x85ebca77), 15) + a) | 0;
      c = (rotl(Math.imul(c ^ value[i + 2]!, 0xc2b2ae3d), 17) + b) | 0;
      d = (rotl(Math.imul(d ^ value[i + 3]!, 0x27d4eb2f), 19) + c) | 0;
    }
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#d = d;
    this.#count += n;
    for (let i = n; i < value.length; i++) this.word(value[i]!);
  }

  /** 32 hexadecimal digits. */
  digest(): string {
    for (let i = 0; i < 8; i++) this.word(Math.imul(this.#count + i, 0x165667b1));
    return [this.#a, this.#b, this.#c, this.#d].map(x => (x >>> 0).toString(16).padStart(8, "0")).join("");
  }
}

const scratch = new Float64Array(1);
const scratchWords = new Int32Array(scratch.buffer);
