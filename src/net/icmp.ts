/** Control messages: echo, and errors about datagrams that nobody takes. RFC 792; RFC 1122, 3.2.2 (about what no error may be sent). */
import { put16 } from "./bytes.ts";
import { checksum } from "./checksum.ts";
import { type Ipv4Packet, PROTOCOL } from "./ipv4.ts";

export const ICMP = { echoReply: 0, unreachable: 3, echo: 8, timeExceeded: 11 } as const;
/** Codes of "destination unreachable". */
export const UNREACHABLE = { network: 0, host: 1, protocol: 2, port: 3 } as const;
/** Code of "time exceeded" about fragments. */
export const REASSEMBLY_TIME = 1;
const HEADER = 8;
const CHECKSUM = 2;
/** Data of the datagram that an error quotes behind its header, bytes. */
const QUOTED = 8;
/** Types that only errors have, besides source quench (4), redirect (5) and parameter problem (12). */
const ERRORS: readonly number[] = [ICMP.unreachable, 4, 5, ICMP.timeExceeded, 12];

/** The reply to an echo request, else null. */
export function answerIcmp(message: Uint8Array): Uint8Array | null {
  if (message.length < HEADER || message[0] !== ICMP.echo || message[1] !== 0 || checksum(message) !== 0) return null;
  const reply = message.slice();
  reply[0] = ICMP.echoReply;
  return seal(reply);
}

/** An error message about a packet; null when there must be none. */
export function icmpError(type: number, code: number, about: Ipv4Packet): Uint8Array | null {
  const { header, payload, protocol, offset } = about;
  if (offset !== 0 || (protocol === PROTOCOL.icmp && (payload.length === 0 || ERRORS.includes(payload[0]!))))
    return null;
  const quoted = payload.subarray(0, QUOTED);
  const message = new Uint8Array(HEADER + header.length + quoted.length);
  message[0] = type;
  message[1] = code;
  message.set(header, HEADER);
  message.set(quoted, HEADER + header.length);
  return seal(message);
}

function seal(message: Uint8Array): Uint8Array {
  put16(message, CHECKSUM, 0);
  put16(message, CHECKSUM, checksum(message));
  return message;
}
