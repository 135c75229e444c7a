/**
 * The Internet Protocol's datagrams and fragments as they lie in frames. RFC 791; RFC 1122, 3.2.1 (what a host drops silently).
 *
 * Options are skipped, not acted upon. Type of service is ignored and sent as 0.
 */
import { get16, get32, type Ipv4Address, put16, put32 } from "./bytes.ts";
import { checksum } from "./checksum.ts";

export const IPV4_HEADER = 20;
/** Total length at most (RFC 791, 3.1), bytes. */
export const IPV4_MAX = 65535;
export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const;
export const BROADCAST_IP: Ipv4Address = 0xffffffff;

/** Fields of the header, offsets in bytes (RFC 791, figure 4). */
export const IPV4 = {
  versionLength: 0,
  totalLength: 2,
  id: 4,
  flagsOffset: 6,
  timeToLive: 8,
  protocol: 9,
  checksum: 10,
  source: 12,
  destination: 16,
} as const;
const VERSION = 4;
const MORE_FRAGMENTS = 0x2000;
const OFFSET_MASK = 0x1fff;
/** The default of RFC 1700, "IP TIME TO LIVE PARAMETER". */
const TIME_TO_LIVE = 64;

/** What a frame carries: views into it, valid as long as the frame is. */
export type Ipv4Packet = {
  readonly source: Ipv4Address;
  readonly destination: Ipv4Address;
  readonly protocol: number;
  readonly id: number;
  /** More fragments follow. */
  readonly more: boolean;
  /** Place of the payload in its datagram, bytes. */
  readonly offset: number;
  readonly header: Uint8Array;
  readonly payload: Uint8Array;
};

/** The packet at the beginning of `bytes` (the rest is padding of the frame); null for one that must be dropped silently. */
export function parseIpv4(bytes: Uint8Array): Ipv4Packet | null {
  if (bytes.length < IPV4_HEADER || bytes[IPV4.versionLength]! >>> 4 !== VERSION) return null;
  const headerLength = (bytes[IPV4.versionLength]! & 15) * 4;
  const total = get16(bytes, IPV4.totalLength);
  if (headerLength < IPV4_HEADER || total < headerLength || total > bytes.length) return null;
  const header = bytes.subarray(0, headerLength);
  if (checksum(header) !== 0) return null;
  const flagsOffset = get16(bytes, IPV4.flagsOffset);
  return {
    source: get32(bytes, IPV4.source),
    destination: get32(bytes, IPV4.destination),
    protocol: bytes[IPV4.protocol]!,
    id: get16(bytes, IPV4.id),
    more: (flagsOffset & MORE_FRAGMENTS) !== 0,
    offset: (flagsOffset & OFFSET_MASK) * 8,
    header,
    payload: bytes.subarray(headerLength, total),
  };
}

export type Ipv4Heading = {
  readonly source: Ipv4Address;
  readonly destination: Ipv4Address;
  readonly protocol: number;
  readonly id: number;
};

/** Writes the header of a fragment with `length` bytes of payload at byte `offset` of its datagram. */
export function writeIpv4Header(into: Uint8Array, heading: Ipv4Heading, offset: number, length: number, more: boolean) {
  into[IPV4.versionLength] = (VERSION << 4) | (IPV4_HEADER / 4);
  into[1] = 0;
  put16(into, IPV4.totalLength, IPV4_HEADER + length);
  put16(into, IPV4.id, heading.id);
  put16(into, IPV4.flagsOffset, (more ? MORE_FRAGMENTS : 0) | (offset / 8));
  into[IPV4.timeToLive] = TIME_TO_LIVE;
  into[IPV4.protocol] = heading.protocol;
  put32(into, IPV4.source, heading.source);
  put32(into, IPV4.destination, heading.destination);
  sealHeader(into.subarray(0, IPV4_HEADER));
}

/** Puts the right checksum into a header. */
export function sealHeader(header: Uint8Array): void {
  put16(header, IPV4.checksum, 0);
  put16(header, IPV4.checksum, checksum(header));
}
