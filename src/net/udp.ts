/** User datagrams. RFC 768; RFC 1122, 4.1.3.4 (checksum). */
import { get16, type Ipv4Address, put16 } from "./bytes.ts";
import { checksum, pseudoHeader } from "./checksum.ts";
import { type Ipv4Packet, PROTOCOL } from "./ipv4.ts";

const UDP = { source: 0, destination: 2, length: 4, checksum: 6 } as const;
const HEADER = 8;

export type Datagram = { readonly source: number; readonly destination: number; readonly data: Uint8Array };

/** The datagram in a packet; null for one that must be dropped silently. */
export function parseUdp({ source, destination, payload }: Ipv4Packet): Datagram | null {
  if (payload.length < HEADER) return null;
  const length = get16(payload, UDP.length);
  if (length < HEADER || length > payload.length) return null;
  const datagram = payload.subarray(0, length);
  // A checksum of 0 says that the sender made none.
  const summed = get16(datagram, UDP.checksum) !== 0;
  if (summed && checksum(datagram, pseudoHeader(source, destination, PROTOCOL.udp, length)) !== 0) return null;
  return {
    source: get16(datagram, UDP.source),
    destination: get16(datagram, UDP.destination),
    data: datagram.subarray(HEADER),
  };
}

/** The datagram as the payload of a packet from `from` to `to`. */
export function makeUdp(from: Ipv4Address, to: Ipv4Address, datagram: Datagram): Uint8Array {
  const bytes = new Uint8Array(HEADER + datagram.data.length);
  put16(bytes, UDP.source, datagram.source);
  put16(bytes, UDP.destination, datagram.destination);
  put16(bytes, UDP.length, bytes.length);
  bytes.set(datagram.data, HEADER);
  const sum = checksum(bytes, pseudoHeader(from, to, PROTOCOL.udp, bytes.length));
  // "If the computed checksum is zero, it is transmitted as all ones."
  put16(bytes, UDP.checksum, sum === 0 ? 0xffff : sum);
  return bytes;
}
