/** Numbers in network byte order (RFC 1700, "Data Notation"), and the text of IPv4 addresses. Offsets in bytes; the caller has checked that they lie inside. */
import { assert } from "../base/assert.ts";

/** An IPv4 address, 32 bits; the first byte of the dotted text is the highest. */
export type Ipv4Address = number;

export const get16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
export const get32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;

export function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function put32(bytes: Uint8Array, at: number, value: number): void {
  put16(bytes, at, value >>> 16);
  put16(bytes, at + 2, value);
}

/** The address that dotted decimal text says. */
export function ipv4(text: string): Ipv4Address {
  const parts = text.split(".").map(Number);
  assert(parts.length === 4 && parts.every(part => part >= 0 && part <= 255), `IPv4 address ${text}`);
  return parts.reduce((address, part) => address * 256 + part, 0);
}

export const ipv4Text = (address: Ipv4Address): string =>
  [24, 16, 8, 0].map(shift => (address >>> shift) & 0xff).join(".");

/** The bytes of a text in ASCII. */
export const ascii = (text: string): Uint8Array => Uint8Array.from(text, character => character.charCodeAt(0) & 0x7f);

/** Bytes `from` … `to` − 1 as text, a character per byte. */
export function textAt(bytes: Uint8Array, from: number, to: number): string {
  let text = "";
  for (let i = from; i < to; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}
