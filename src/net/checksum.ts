/** The Internet checksum: the ones' complement of the ones' complement sum of 16-bit words. RFC 1071; RFC 768 for the pseudo header of UDP and TCP. */
import type { Ipv4Address } from "./bytes.ts";

/** Sum of words, not yet folded; an odd last byte counts as the high half of a word. Up to 64 KiB and a start below 2^20 stay exact. */
export function sumWords(bytes: Uint8Array, start = 0): number {
  const even = bytes.length & ~1;
  let sum = start;
  for (let i = 0; i < even; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  return even === bytes.length ? sum : sum + (bytes[even]! << 8);
}

/** Checksum of `bytes` behind what `start` sums up; 0 when `bytes` contain a right checksum. */
export function checksum(bytes: Uint8Array, start = 0): number {
  let sum = sumWords(bytes, start);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Source, destination, protocol and length (bytes) of what UDP and TCP sum up in front of their header. */
export function pseudoHeader(source: Ipv4Address, destination: Ipv4Address, protocol: number, length: number): number {
  return (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol + length;
}
