/** Writes little-endian tables of growing length. */
export class TableWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  #grow(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.length, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }

  u8(...values: number[]): this {
    for (const value of values) {
      const at = this.#grow(1);
      this.#view.setUint8(at, value);
    }
    return this;
  }
  u16(...values: number[]): this {
    for (const value of values) {
      const at = this.#grow(2);
      this.#view.setUint16(at, value, true);
    }
    return this;
  }
  u32(...values: number[]): this {
    for (const value of values) {
      const at = this.#grow(4);
      this.#view.setUint32(at, value, true);
    }
    return this;
  }
  /** Numbers below 2^53. */
  u64(...values: number[]): this {
    for (const value of values) this.u32(value % 0x100000000, Math.floor(value / 0x100000000));
    return this;
  }
  bytes(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }
  /** UTF-8 with a terminating zero. */
  string(text: string): this {
    return this.bytes(new TextEncoder().encode(text)).u8(0);
  }
  align(unit: number): this {
    while (this.length % unit !== 0) this.u8(0);
    return this;
  }
  /** Replaces an earlier 32-bit word. */
  patch32(offset: number, value: number): this {
    this.#view.setUint32(offset, value, true);
    return this;
  }
  done(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }
}
