/**
 * For tests: hexadecimal text to bytes, a slow checksum, an independent strict reader of frames, and makers of frames, none of which uses the code that it tests.
 */

/** The bytes that pairs of hexadecimal digits say; anything else between them is for the eye. */
export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text.replaceAll(/[^0-9a-f]/gi, "").match(/../g) ?? [], pair => Number.parseInt(pair, 16));
}

export const hexOf = (bytes: Iterable<number>): string =>
  Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");

/** Ones' complement addition word by word, with the carry brought around at once (RFC 1071, 1). */
export function slowSum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
    if (sum >= 65536) sum -= 65535;
  }
  return sum;
}

const must = (condition: boolean, what: string): void => {
  if (!condition) throw new Error(`malformed: ${what}`);
};

const word = (bytes: readonly number[], at: number): number => {
  must(at + 1 < bytes.length, `no word at ${at} of ${bytes.length}`);
  return bytes[at]! * 256 + bytes[at + 1]!;
};
const long = (bytes: readonly number[], at: number): number => word(bytes, at) * 65536 + word(bytes, at + 2);
export const dotted = (bytes: readonly number[], at: number): string => bytes.slice(at, at + 4).join(".");
export const macFrom = (bytes: readonly number[], at: number): string =>
  bytes
    .slice(at, at + 6)
    .map(byte => byte.toString(16).padStart(2, "0"))
    .join(":");

export type SeenFrame = {
  readonly to: string;
  readonly from: string;
  readonly type: number;
  /** Behind the Ethernet header, without padding. */
  readonly bytes: readonly number[];
  /** Of IPv4. */
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly id: number;
  readonly offset: number;
  readonly more: boolean;
  readonly payload: readonly number[];
};

/** Reads a frame that a correct sender made; throws an error that says what is wrong with it. */
export function readFrame(frame: Uint8Array): SeenFrame {
  const all = [...frame];
  must(all.length >= 60 && all.length <= 1514, `frame of ${all.length} bytes`);
  const type = word(all, 12);
  must((all[6]! & 1) === 0, "sent by a group");
  const head = { to: macFrom(all, 0), from: macFrom(all, 6), type };
  const none = { source: "", destination: "", protocol: -1, id: 0, offset: 0, more: false, payload: [] };
  const bytes = all.slice(14);
  if (type === 0x0806) {
    must(long(bytes, 0) === 0x00010800 && word(bytes, 4) === 0x0604, "ARP of other kinds");
    must(
      bytes.slice(28).every(byte => byte === 0),
      "padding is not zero",
    );
    return { ...head, ...none, bytes: bytes.slice(0, 28) };
  }
  if (type === 0x86dd) {
    must(bytes[0] === 0x60 && all.length === 54 + word(bytes, 4), "IPv6 header");
    return { ...head, ...none, bytes };
  }
  must(type === 0x0800, `type ${type.toString(16)}`);
  must(bytes[0] === 0x45, "header with options");
  const total = word(bytes, 2);
  must(total >= 20 && total <= bytes.length, `total length ${total}`);
  must(all.length === Math.max(60, 14 + total), "frame longer than its packet");
  must(
    bytes.slice(total).every(byte => byte === 0),
    "padding is not zero",
  );
  must(slowSum(bytes.slice(0, 20)) === 65535, "header checksum");
  must(bytes[8]! > 0, "time to live");
  must((word(bytes, 6) & 0xc000) === 0, "reserved flag");
  const more = (word(bytes, 6) & 0x2000) !== 0;
  must(!more || (total - 20) % 8 === 0, "fragment ends inside a block");
  return {
    ...head,
    bytes: bytes.slice(0, total),
    source: dotted(bytes, 12),
    destination: dotted(bytes, 16),
    protocol: bytes[9]!,
    id: word(bytes, 4),
    offset: (word(bytes, 6) & 0x1fff) * 8,
    more,
    payload: bytes.slice(20, total),
  };
}

export type SeenDatagram = { readonly from: number; readonly to: number; readonly data: readonly number[] };

/** What is in a whole IPv4 datagram; throws when a checksum or a length is wrong. */
export function readPayload(frame: Pick<SeenFrame, "source" | "destination" | "protocol" | "payload">): SeenDatagram {
  const { source, destination, protocol, payload } = frame;
  if (protocol === 1) {
    must(payload.length >= 8, "short ICMP message");
    must(slowSum(payload) === 65535, "ICMP checksum");
    return { from: payload[0]!, to: payload[1]!, data: payload.slice(4) };
  }
  const length = [payload.length >> 8, payload.length & 255];
  const pseudo = [...source.split("."), ...destination.split("."), 0, protocol, ...length].map(Number);
  must(slowSum([...pseudo, ...payload]) === 65535, "checksum of UDP or TCP");
  if (protocol === 17) must(word(payload, 4) === payload.length && word(payload, 6) !== 0, "UDP length or no checksum");
  else must(protocol === 6 && payload[12] === 0x50, `protocol ${protocol}`);
  return { from: word(payload, 0), to: word(payload, 2), data: payload.slice(protocol === 17 ? 8 : 20) };
}

export const GUEST_MAC = "52 54 00 12 34 56";
export const GATEWAY_MAC = "52 55 0a 00 02 02";
export const DNS_MAC = "52 55 0a 00 02 03";
export const GUEST_IP = "0a 00 02 0f";

const hex16 = (value: number): string => value.toString(16).padStart(4, "0");
const sumText = (bytes: Uint8Array): string => hex16(65535 - slowSum([...bytes]));

/** An IPv4 frame from the guest. Addresses and payload in hexadecimal; `flags` holds the fragment's place, too. */
export function ipFrame(
  to: string,
  destination: string,
  protocol: number,
  payload: string,
  { flags = 0, id = 7, source = destination === "ff ff ff ff" ? "00 00 00 00" : GUEST_IP } = {},
): Uint8Array {
  const data = bytesOf(payload);
  const proto = protocol.toString(16).padStart(2, "0");
  const head = `4500 ${hex16(20 + data.length)} ${hex16(id)} ${hex16(flags)} 40 ${proto}`;
  const sum = sumText(bytesOf(`${head} 0000 ${source} ${destination}`));
  return bytesOf(`${to} ${GUEST_MAC} 0800 ${head} ${sum} ${source} ${destination} ${payload}`);
}

/** A UDP frame from the guest without a checksum of its data. */
export function udpFrame(to: string, destination: string, ports: readonly [number, number], data: string): Uint8Array {
  const length = 8 + bytesOf(data).length;
  return ipFrame(to, destination, 17, `${hex16(ports[0])} ${hex16(ports[1])} ${hex16(length)} 0000 ${data}`);
}

/** An ICMP echo request's bytes with a right checksum. */
export function echoRequest(data: string): string {
  const rest = `1234 0001 ${data}`;
  return `0800 ${sumText(bytesOf(`0800 0000 ${rest}`))} ${rest}`;
}
