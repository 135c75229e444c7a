/**
 * An Ethernet link as its two stations see it: a network interface, a switch, a simulated network, another machine. IEEE Std 802.3-2018, clauses 3 and 4.
 *
 * A frame is what lies between the start-of-frame delimiter and the frame check sequence: destination, source, type, data. Preamble, check sequence and gap
 * cost time on the wire and are never seen. Frames are lent for the length of a call; who wants to keep one copies it.
 */
import { assert } from "../base/assert.ts";
import type { CauseId, Ns } from "../base/units.ts";

/** An address of 48 bits as an integer; the first byte on the wire is the highest. */
export type MacAddress = number;

export const BROADCAST_MAC: MacAddress = 0xffffffffffff;
/** Two addresses and the type (802.3, 3.1.1), bytes. */
export const ETHERNET_HEADER = 14;
/** Payload of an ordinary frame, bytes (802.3, 3.2.7). */
export const ETHERNET_MTU = 1500;
/** 64 bytes less the check sequence (802.3, 4.4.2: minFrameSize 512 bits); shorter frames take as long on the wire as this one. */
export const MIN_FRAME = 60;
/** The longest frame that any link here carries: a jumbo frame of 9000 bytes of payload with a VLAN tag. */
export const MAX_FRAME = 9018;
/** Preamble and delimiter 8, check sequence 4, gap 12 (802.3, 4.4.2), bytes. */
export const FRAME_OVERHEAD = 24;

/** The group bit: the first one on the wire (802.3, 3.2.3). */
export const isGroup = (address: MacAddress): boolean => Math.floor(address / 2 ** 40) % 2 === 1;

/** `52:54:00:12:34:56` */
export function macText(address: MacAddress): string {
  const digits = address.toString(16).padStart(12, "0");
  return digits.match(/../g)!.join(":");
}

/** The address that `text` says in six pairs of hexadecimal digits between colons or dashes; null when it says none. */
export function parseMac(text: string): MacAddress | null {
  return /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text) ? Number.parseInt(text.replaceAll(/[:-]/g, ""), 16) : null;
}

/** The address that lies at `offset`. */
export function macAt(bytes: Uint8Array, offset: number): MacAddress {
  let address = 0;
  for (let i = 0; i < 6; i++) address = address * 256 + bytes[offset + i]!;
  return address;
}

export function putMac(bytes: Uint8Array, offset: number, address: MacAddress): void {
  assert(address >= 0 && address <= BROADCAST_MAC, `MAC address ${address}`);
  for (let i = 5, rest = address; i >= 0; i--, rest = Math.floor(rest / 256)) bytes[offset + i] = rest % 256;
}

/** Who is at an end of a link. */
export interface EthernetStation {
  /** The last bit of a frame has arrived: bytes 0 … `length` − 1 of `frame`, lent for the call. */
  receive(frame: Uint8Array, length: number, cause: CauseId): void;
  /** The link came up or went down. Not called for what a reset or a load changes. */
  linkChanged(up: boolean): void;
}

/** One end of a link, as its station holds it. */
export interface EthernetPort {
  readonly linkUp: boolean;
  /** Speed in Mbit/s. */
  readonly megabits: number;
  /** When the last bit of all that was sent here has left, ns; in the past when the transmitter is idle. */
  readonly idleAt: Ns;
  /** Once, when the machine is built. */
  connect(station: EthernetStation): void;
  /**
   * Takes a copy of bytes 0 … `length` − 1 of `frame` behind those that wait. False when the frame is lost: the link is down, its queue is full, or nothing
   * of this length is a frame.
   */
  send(frame: Uint8Array, length: number, cause: CauseId): boolean;
}

/** Watches a link and never touches it (a capture). */
export interface EthernetListener {
  /** @param from end that sent the frame, 0 or 1. `time`: its first bit left, ns. The bytes are lent for the call. */
  frame(time: Ns, from: number, frame: Uint8Array, length: number): void;
}
