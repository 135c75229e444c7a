/**
 * Unpacks LZMA2 ("The .xz File Format" 1.1.0, 5.3.1 "LZMA2"; Igor Pavlov's "LZMA specification" for what a chunk holds). The dictionary is the output
 * itself, which is kept whole. What is packed is not trusted: every distance and length is checked. Not read: LZMA without chunks.
 */

/** "Control byte" of a chunk: end, uncompressed chunks, and from 0x80 on compressed ones. */
const END = 0;
const RAW_DICTIONARY_RESET = 1;
const RAW = 2;
const PACKED = 0x80;
/** Bits 6:5 of a packed chunk's control byte, from which on these are made new. */
const RESET_STATE = 1;
const NEW_PROPERTIES = 2;
const RESET_DICTIONARY = 3;

const PROBABILITY_BITS = 11;
const HALF = 1 << (PROBABILITY_BITS - 1);
const MOVE_BITS = 5;
const STATES = 12;
const POSITION_STATES = 16;
const MATCH_MIN = 2;
/** First state that follows something else than a literal. */
const AFTER_LITERAL = 7;

/** Probabilities, one behind the other. A length coder: two choices, low and middle trees for each position state, high tree. */
const LENGTH = { choice: 0, choice2: 1, low: 2, middle: 2 + POSITION_STATES * 8, high: 2 + POSITION_STATES * 16 };
const LENGTH_SIZE = LENGTH.high + 256;
const PROBABILITY = (() => {
  let next = 0;
  const take = (count: number): number => {
    next += count;
    return next - count;
  };
  return {
    isMatch: take(STATES * POSITION_STATES),
    isRep: take(STATES),
    isRep0: take(STATES),
    isRep1: take(STATES),
    isRep2: take(STATES),
    isRep0Long: take(STATES * POSITION_STATES),
    slot: take(4 * 64),
    special: take(128),
    align: take(16),
    matchLength: take(LENGTH_SIZE),
    repLength: take(LENGTH_SIZE),
    literal: take(0x300 << 4),
    count: next,
  };
})();

export class Lzma2 {
  readonly #packed: Uint8Array;
  readonly #out: Uint8Array;
  readonly #dictionary: number;
  readonly #p = new Uint16Array(PROBABILITY.count);
  /** Next byte to read, and the end of the present chunk. */
  #at: number;
  #chunkEnd = 0;
  /** Next byte to write, where the present chunk's output ends, and where the dictionary begins. */
  #to: number;
  #limit = 0;
  #oldest: number;
  #range = 0;
  #code = 0;
  #state = 0;
  #rep0 = 0;
  #rep1 = 0;
  #rep2 = 0;
  #rep3 = 0;
  #literalContext = 0;
  #literalMask = 0;
  #positionMask = 0;

  /**
   * @param at where the first chunk begins in `packed`
   * @param to where its output goes in `out`
   * @param dictionary bytes that a match may reach back
   */
  constructor(packed: Uint8Array, at: number, out: Uint8Array, to: number, dictionary: number) {
    this.#packed = packed;
    this.#at = at;
    this.#out = out;
    this.#to = to;
    this.#oldest = to;
    this.#dictionary = dictionary;
  }

  /** Unpacks all chunks; returns where the input and the output end. Throws an Error that says what is wrong. */
  run(): { readonly at: number; readonly to: number } {
    // "the first chunk must reset the dictionary", and the first packed one must bring properties.
    let needed: number = RESET_DICTIONARY;
    for (;;) {
      const control = this.#next();
      if (control === END) return { at: this.#at, to: this.#to };
      if (control < PACKED) {
        if (control > RAW || (control === RAW && needed === RESET_DICTIONARY)) throw new Error("a bad LZMA2 chunk");
        if (control === RAW_DICTIONARY_RESET) {
          this.#oldest = this.#to;
          needed = NEW_PROPERTIES;
        }
        this.#raw();
        continue;
      }
      const reset = (control >> 5) & 3;
      if (reset < needed) throw new Error("a bad LZMA2 chunk");
      needed = 0;
      this.#chunk(((control & 31) << 16) + this.#next16() + 1, reset);
    }
  }

  #next(): number {
    if (this.#at >= this.#packed.length) throw new Error("the packed data are cut off");
    return this.#packed[this.#at++]!;
  }

  #next16(): number {
    const high = this.#next();
    return (high << 8) | this.#next();
  }

  #begin(outBytes: number, inBytes: number): void {
    if (this.#at + inBytes > this.#packed.length) throw new Error("the packed data are cut off");
    if (this.#to + outBytes > this.#out.length) throw new Error("more bytes than announced");
    this.#chunkEnd = this.#at + inBytes;
    this.#limit = this.#to + outBytes;
  }

  #raw(): void {
    const size = this.#next16() + 1;
    this.#begin(size, size);
    this.#out.set(this.#packed.subarray(this.#at, this.#chunkEnd), this.#to);
    this.#at = this.#chunkEnd;
    this.#to = this.#limit;
  }

  #chunk(size: number, reset: number): void {
    const packedSize = this.#next16() + 1;
    if (reset >= NEW_PROPERTIES) this.#setProperties(this.#next());
    this.#begin(size, packedSize);
    if (reset === RESET_DICTIONARY) this.#oldest = this.#to;
    if (reset >= RESET_STATE) {
      this.#p.fill(HALF);
      this.#state = 0;
      this.#rep0 = this.#rep1 = this.#rep2 = this.#rep3 = 0;
    }
    // "The first byte is always 0": the range coder's carry.
    if (this.#next() !== 0) throw new Error("a bad range coder header");
    this.#range = 0xffffffff;
    this.#code = ((this.#next16() << 16) | this.#next16()) >>> 0;
    while (this.#to < this.#limit) this.#symbol();
    if (this.#at !== this.#chunkEnd || this.#code !== 0) throw new Error("a chunk does not end where it should");
  }

  /** "lc/lp/pb": (pb * 5 + lp) * 9 + lc. */
  #setProperties(byte: number): void {
    const lc = byte % 9;
    const lp = Math.floor(byte / 9) % 5;
    const pb = Math.floor(byte / 45);
    if (pb > 4 || lc + lp > 4) throw new Error("bad LZMA properties");
    this.#literalContext = lc;
    this.#literalMask = (1 << lp) - 1;
    this.#positionMask = (1 << pb) - 1;
  }

  // --- the range decoder --------------------------------------------------------------------------------------------------------------------------

  #bit(index: number): 0 | 1 {
    const p = this.#p;
    const probability = p[index]!;
    const bound = (this.#range >>> PROBABILITY_BITS) * probability;
    let bit: 0 | 1;
    if (this.#code < bound) {
      this.#range = bound;
      p[index] = probability + (((1 << PROBABILITY_BITS) - probability) >>> MOVE_BITS);
      bit = 0;
    } else {
      this.#range -= bound;
      this.#code -= bound;
      p[index] = probability - (probability >>> MOVE_BITS);
      bit = 1;
    }
    if (this.#range < 0x1000000) this.#shift();
    return bit;
  }

  #shift(): void {
    // Beyond the end there are zeros, and the check at the chunk's end fails.
    const byte = this.#at < this.#chunkEnd ? this.#packed[this.#at]! : 0;
    this.#at++;
    this.#range = (this.#range << 8) >>> 0;
    this.#code = ((this.#code << 8) | byte) >>> 0;
  }

  /** `count` bits of equal probability, the highest first. */
  #direct(count: number): number {
    let value = 0;
    for (; count > 0; count--) {
      this.#range >>>= 1;
      const one = this.#code >= this.#range;
      if (one) this.#code -= this.#range;
      value = (value << 1) | (one ? 1 : 0);
      if (this.#range < 0x1000000) this.#shift();
    }
    return value >>> 0;
  }

  #tree(base: number, bits: number): number {
    let node = 1;
    for (let i = 0; i < bits; i++) node = (node << 1) | this.#bit(base + node);
    return node - (1 << bits);
  }

  /** A tree whose bits come lowest first. */
  #reverseTree(base: number, bits: number): number {
    let node = 1;
    let value = 0;
    for (let i = 0; i < bits; i++) {
      const bit = this.#bit(base + node);
      node = (node << 1) | bit;
      value |= bit << i;
    }
    return value;
  }

  #length(base: number, positionState: number): number {
    if (this.#bit(base + LENGTH.choice) === 0) return MATCH_MIN + this.#tree(base + LENGTH.low + positionState * 8, 3);
    if (this.#bit(base + LENGTH.choice2) === 0) {
      return MATCH_MIN + 8 + this.#tree(base + LENGTH.middle + positionState * 8, 3);
    }
    return MATCH_MIN + 16 + this.#tree(base + LENGTH.high, 8);
  }

  // --- literals and matches -----------------------------------------------------------------------------------------------------------------------

  #symbol(): void {
    // Positions count from the dictionary's reset, as the encoder's do.
    const positionState = (this.#to - this.#oldest) & this.#positionMask;
    const state = this.#state;
    if (this.#bit(PROBABILITY.isMatch + state * POSITION_STATES + positionState) === 0) {
      this.#literal();
      return;
    }
    if (this.#bit(PROBABILITY.isRep + state) === 0) {
      this.#rep3 = this.#rep2;
      this.#rep2 = this.#rep1;
      this.#rep1 = this.#rep0;
      this.#state = state < AFTER_LITERAL ? 7 : 10;
      const length = this.#length(PROBABILITY.matchLength, positionState);
      this.#rep0 = this.#distance(length);
      this.#copy(length);
      return;
    }
    if (this.#repeated(state, positionState)) {
      this.#state = state < AFTER_LITERAL ? 9 : 11;
      this.#copy(1);
      return;
    }
    this.#state = state < AFTER_LITERAL ? 8 : 11;
    this.#copy(this.#length(PROBABILITY.repLength, positionState));
  }

  /** Brings the distance that is used again to the front; true for a match of a single byte. */
  #repeated(state: number, positionState: number): boolean {
    if (this.#bit(PROBABILITY.isRep0 + state) === 0) {
      return this.#bit(PROBABILITY.isRep0Long + state * POSITION_STATES + positionState) === 0;
    }
    let distance = this.#rep1;
    if (this.#bit(PROBABILITY.isRep1 + state) === 1) {
      distance = this.#rep2;
      if (this.#bit(PROBABILITY.isRep2 + state) === 1) {
        distance = this.#rep3;
        this.#rep3 = this.#rep2;
      }
      this.#rep2 = this.#rep1;
    }
    this.#rep1 = this.#rep0;
    this.#rep0 = distance;
    return false;
  }

  #literal(): void {
    const out = this.#out;
    const to = this.#to;
    const position = to - this.#oldest;
    const before = position > 0 ? out[to - 1]! : 0;
    const lc = this.#literalContext;
    const context = ((position & this.#literalMask) << lc) + (before >> (8 - lc));
    const base = PROBABILITY.literal + 0x300 * context;
    let node = 1;
    if (this.#state >= AFTER_LITERAL) {
      // The byte that a repeated match would bring steers as long as it is right.
      if (this.#rep0 >= position) throw new Error("a match reaches behind the beginning");
      let match = out[to - this.#rep0 - 1]!;
      while (node < 0x100) {
        const expected = (match >> 7) & 1;
        match <<= 1;
        const bit = this.#bit(base + ((1 + expected) << 8) + node);
        node = (node << 1) | bit;
        if (bit !== expected) break;
      }
    }
    while (node < 0x100) node = (node << 1) | this.#bit(base + node);
    out[to] = node;
    this.#to = to + 1;
    this.#state = this.#state < 4 ? 0 : this.#state < 10 ? this.#state - 3 : this.#state - 6;
  }

  #distance(length: number): number {
    const slot = this.#tree(PROBABILITY.slot + Math.min(length - MATCH_MIN, 3) * 64, 6);
    if (slot < 4) return slot;
    const bits = (slot >> 1) - 1;
    const base = ((2 | (slot & 1)) << bits) >>> 0;
    if (slot < 14) return base + this.#reverseTree(PROBABILITY.special + base - slot, bits);
    // Upper bits without a model, then four with one.
    const upper = this.#direct(bits - 4) * 16;
    return base + upper + this.#reverseTree(PROBABILITY.align, 4);
  }

  #copy(length: number): void {
    const distance = this.#rep0 + 1;
    const to = this.#to;
    if (distance > to - this.#oldest || distance > this.#dictionary) throw new Error("a match reaches too far back");
    if (to + length > this.#limit) throw new Error("a match goes beyond its chunk");
    const out = this.#out;
    // A match may overlap what it makes.
    for (let i = to, end = to + length; i < end; i++) out[i] = out[i - distance]!;
    this.#to = to + length;
  }
}
