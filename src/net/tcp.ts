/** Every connection is refused: what a closed port says. RFC 9293, 3.1 (header), 3.10.7.1 (CLOSED state). */
import { get16, get32, put16, put32 } from "./bytes.ts";
import { checksum, pseudoHeader } from "./checksum.ts";
import { type Ipv4Packet, PROTOCOL } from "./ipv4.ts";

const TCP = { source: 0, destination: 2, sequence: 4, acknowledgment: 8, offset: 12, flags: 13, checksum: 16 } as const;
const HEADER = 20;
const FLAG = { fin: 1, syn: 2, rst: 4, ack: 16 } as const;

/** The reset that answers a segment; null for a reset and for what is no segment. */
export function refuseTcp({ source, destination, payload }: Ipv4Packet): Uint8Array | null {
  if (payload.length < HEADER) return null;
  const dataOffset = (payload[TCP.offset]! >>> 4) * 4;
  if (dataOffset < HEADER || dataOffset > payload.length) return null;
  if (checksum(payload, pseudoHeader(source, destination, PROTOCOL.tcp, payload.length)) !== 0) return null;
  const flags = payload[TCP.flags]!;
  if ((flags & FLAG.rst) !== 0) return null;
  const reset = new Uint8Array(HEADER);
  put16(reset, TCP.source, get16(payload, TCP.destination));
  put16(reset, TCP.destination, get16(payload, TCP.source));
  reset[TCP.offset] = (HEADER / 4) << 4;
  if ((flags & FLAG.ack) !== 0) {
    reset[TCP.flags] = FLAG.rst;
    put32(reset, TCP.sequence, get32(payload, TCP.acknowledgment));
  } else {
    // SYN and FIN take a sequence number each.
    const length =
      payload.length - dataOffset + ((flags & FLAG.syn) !== 0 ? 1 : 0) + ((flags & FLAG.fin) !== 0 ? 1 : 0);
    reset[TCP.flags] = FLAG.rst | FLAG.ack;
    put32(reset, TCP.acknowledgment, (get32(payload, TCP.sequence) + length) >>> 0);
  }
  put16(reset, TCP.checksum, checksum(reset, pseudoHeader(destination, source, PROTOCOL.tcp, HEADER)));
  return reset;
}
