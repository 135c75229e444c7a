/** Integer helpers on plain numbers. Shift counts here are checked by range of use: all values are 32 bits or split words. */

/** Wraps to unsigned 32 bits. */
export const u32 = (value: number): number => value >>> 0;
/** Sign-extends the low `bits` (1 … 32) of `value`. */
export const sext = (value: number, bits: number): number => (value << (32 - bits)) >> (32 - bits);
/** All-ones value of an access of `size` bytes (1, 2 or 4): what an open bus reads. */
export const onesOf = (size: number): number => (size === 1 ? 0xff : size === 2 ? 0xffff : 0xffffffff);
/** Rounds `value` up to a multiple of `unit`, a power of two; works above 2^32. */
export const alignUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;
/** Rounds `value` down to a multiple of `unit`; works above 2^32. */
export const alignDown = (value: number, unit: number): number => Math.floor(value / unit) * unit;
/** Index of the highest set bit of a 32-bit word, −1 for zero. */
export const highestBit = (word: number): number => 31 - Math.clz32(word);
/** Index of the lowest set bit of a 32-bit word, −1 for zero. */
export const lowestBit = (word: number): number => (word === 0 ? -1 : 31 - Math.clz32(word & -word));
/** `0x`-prefixed hexadecimal with at least `digits` digits. */
export const hex = (value: number, digits = 1): string => `0x${value.toString(16).padStart(digits, "0")}`;
