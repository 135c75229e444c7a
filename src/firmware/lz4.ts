/**
 * Unpacks LZ4 as Linux kernels are packed: the legacy frame ("LZ4 Frame Format Description", chapter "Legacy frame") around blocks ("LZ4 Block Format
 * Description"). No published package reads that frame, and their block decoders trust their input; this one checks every length.
 */

/** First word of a legacy frame. */
export const LZ4_LEGACY_MAGIC = 0x184c2102;
/** "The block size is fixed to 8 MB" before compression; only the last one is smaller. */
const BLOCK_BYTES = 8 << 20;
const MIN_MATCH = 4;
/** A length of 15 in the token goes on in the next bytes. */
const LONG = 15;

/** What `packed` holds, in `size` bytes. Throws an Error that says what is wrong with it. */
export function unpackLz4(packed: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(size);
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  if (packed.length < 4 || view.getUint32(0, true) !== LZ4_LEGACY_MAGIC) throw new Error("no LZ4 legacy frame");
  let to = 0;
  for (let at = 4; at < packed.length; ) {
    if (at + 4 > packed.length) throw new Error("a block's length is cut off");
    const length = view.getUint32(at, true);
    at += 4;
    if (at + length > packed.length) throw new Error("the last block is cut off");
    to = unpackBlock(packed, at, at + length, out, to, Math.min(size, to + BLOCK_BYTES));
    at += length;
  }
  if (to !== size) throw new Error(`${to} bytes instead of ${size}`);
  return out;
}

/** Unpacks one block to `out` from `to` on, at most up to `limit`; returns where it ends. Blocks do not refer to earlier ones. */
function unpackBlock(packed: Uint8Array, at: number, end: number, out: Uint8Array, to: number, limit: number): number {
  const start = to;
  const long = (length: number): number => {
    if (length !== LONG) return length;
    for (;;) {
      const more = at < end ? packed[at++]! : -1;
      if (more < 0) throw new Error("a length is cut off");
      length += more;
      if (more !== 255) return length;
    }
  };
  while (at < end) {
    const token = packed[at++]!;
    const literals = long(token >> 4);
    if (at + literals > end || to + literals > limit) throw new Error("literals do not fit");
    out.set(packed.subarray(at, at + literals), to);
    at += literals;
    to += literals;
    // "The last sequence … ends right after the literals."
    if (at === end) return to;
    if (at + 2 > end) throw new Error("an offset is cut off");
    const offset = packed[at]! | (packed[at + 1]! << 8);
    at += 2;
    const length = long(token & 15) + MIN_MATCH;
    if (offset === 0 || offset > to - start || to + length > limit) throw new Error("a match lies outside its block");
    // A match may overlap what it makes.
    if (offset >= length) out.copyWithin(to, to - offset, to - offset + length);
    else for (let i = 0; i < length; i++) out[to + i] = out[to + i - offset]!;
    to += length;
  }
  throw new Error("a block ends in a match");
}
