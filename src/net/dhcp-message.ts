/** Messages of BOOTP and DHCP as bytes. RFC 951, 3; RFC 2131, 2 and 4.1 (layout, overload); RFC 2132 (options); RFC 3396 (an option in several pieces). */
import { type MacAddress, macAt, putMac } from "../ports/ethernet.ts";
import { ascii, get16, get32, type Ipv4Address, put16, put32 } from "./bytes.ts";

/** Offsets of the fields in bytes (RFC 2131, figure 1). */
export const BOOTP = {
  operation: 0,
  hardwareType: 1,
  hardwareLength: 2,
  hops: 3,
  transaction: 4,
  seconds: 8,
  flags: 10,
  clientAddress: 12,
  yourAddress: 16,
  serverAddress: 20,
  relayAddress: 24,
  hardwareAddress: 28,
  serverName: 44,
  bootFile: 108,
  cookie: 236,
  options: 240,
} as const;
const BOOT_REQUEST = 1;
const BOOT_REPLY = 2;
const ETHERNET = 1;
const MAC_BYTES = 6;
const BROADCAST_FLAG = 0x8000;
/** RFC 2131, 3: 99, 130, 83, 99. */
const MAGIC_COOKIE = 0x63825363;
/** RFC 1542, 2.1: a BOOTP message has 300 bytes at least, and some clients want them. */
const MIN_BYTES = 300;
const BOOT_FILE_BYTES = 128;

export const OPTION = {
  pad: 0,
  subnetMask: 1,
  router: 3,
  nameServer: 6,
  broadcastAddress: 28,
  requestedAddress: 50,
  leaseTime: 51,
  overload: 52,
  messageType: 53,
  serverId: 54,
  parameterList: 55,
  message: 56,
  renewalTime: 58,
  rebindingTime: 59,
  clientId: 61,
  serverName: 66,
  bootFileName: 67,
  /** Options of iPXE's own, as options inside of this one (ipxe.org, "DHCP site-specific options"). */
  ipxe: 175,
  end: 255,
} as const;
/** Values of the option `messageType` (RFC 2132, 9.6). */
export const DHCP = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, release: 7, inform: 8 } as const;

export type DhcpRequest = {
  /** As it came, for the fields that a reply repeats. */
  readonly bytes: Uint8Array;
  readonly station: MacAddress;
  readonly clientAddress: Ipv4Address;
  readonly relayAddress: Ipv4Address;
  /** The client cannot take unicast before it has an address. */
  readonly broadcast: boolean;
  readonly options: ReadonlyMap<number, Uint8Array>;
};

/** A request of an Ethernet station; null for anything else. Without the cookie it has no options: BOOTP's vendor field is free for others. */
export function parseRequest(bytes: Uint8Array): DhcpRequest | null {
  const fits =
    bytes.length >= BOOTP.cookie &&
    bytes[BOOTP.operation] === BOOT_REQUEST &&
    bytes[BOOTP.hardwareType] === ETHERNET &&
    bytes[BOOTP.hardwareLength] === MAC_BYTES;
  if (!fits) return null;
  const options = new Map<number, Uint8Array>();
  if (bytes.length >= BOOTP.options && get32(bytes, BOOTP.cookie) === MAGIC_COOKIE) {
    readOptions(bytes.subarray(BOOTP.options), options);
    const overload = options.get(OPTION.overload)?.[0] ?? 0;
    if ((overload & 1) !== 0) readOptions(bytes.subarray(BOOTP.bootFile, BOOTP.cookie), options);
    if ((overload & 2) !== 0) readOptions(bytes.subarray(BOOTP.serverName, BOOTP.bootFile), options);
  }
  return {
    bytes,
    station: macAt(bytes, BOOTP.hardwareAddress),
    clientAddress: get32(bytes, BOOTP.clientAddress),
    relayAddress: get32(bytes, BOOTP.relayAddress),
    broadcast: (get16(bytes, BOOTP.flags) & BROADCAST_FLAG) !== 0,
    options,
  };
}

/** An option that the field cuts off ends the list. */
function readOptions(field: Uint8Array, options: Map<number, Uint8Array>): void {
  for (let at = 0; at < field.length; ) {
    const code = field[at++]!;
    if (code === OPTION.pad) continue;
    const length = field[at++];
    if (code === OPTION.end || length === undefined || at + length > field.length) return;
    const before = options.get(code) ?? new Uint8Array(0);
    options.set(code, Uint8Array.from([...before, ...field.subarray(at, at + length)]));
    at += length;
  }
}

/** The 32-bit number that an option holds, null when it is not there or is no such number. */
export function number32({ options }: DhcpRequest, code: number): number | null {
  const value = options.get(code);
  return value?.length === 4 ? get32(value, 0) : null;
}

export type DhcpOption = readonly [code: number, value: Uint8Array];
export const option32 = (code: number, value: number): DhcpOption => {
  const bytes = new Uint8Array(4);
  put32(bytes, 0, value);
  return [code, bytes];
};

export type ReplyFields = {
  readonly clientAddress: Ipv4Address;
  readonly yourAddress: Ipv4Address;
  readonly serverAddress: Ipv4Address;
  /** 127 characters at most count. */
  readonly bootFile: string;
  readonly options: readonly DhcpOption[];
};

/** The reply to `request`, with transaction, flags and station repeated. */
export function makeReply(request: DhcpRequest, fields: ReplyFields): Uint8Array {
  const length = fields.options.reduce((sum, [, value]) => sum + 2 + value.length, BOOTP.options + 1);
  const bytes = new Uint8Array(Math.max(length, MIN_BYTES));
  bytes[BOOTP.operation] = BOOT_REPLY;
  bytes[BOOTP.hardwareType] = ETHERNET;
  bytes[BOOTP.hardwareLength] = MAC_BYTES;
  put32(bytes, BOOTP.transaction, get32(request.bytes, BOOTP.transaction));
  put16(bytes, BOOTP.flags, get16(request.bytes, BOOTP.flags));
  put32(bytes, BOOTP.clientAddress, fields.clientAddress);
  put32(bytes, BOOTP.yourAddress, fields.yourAddress);
  put32(bytes, BOOTP.serverAddress, fields.serverAddress);
  put32(bytes, BOOTP.relayAddress, request.relayAddress);
  putMac(bytes, BOOTP.hardwareAddress, request.station);
  bytes.set(ascii(fields.bootFile).subarray(0, BOOT_FILE_BYTES - 1), BOOTP.bootFile);
  put32(bytes, BOOTP.cookie, MAGIC_COOKIE);
  let at: number = BOOTP.options;
  for (const [code, value] of fields.options) {
    bytes[at] = code;
    bytes[at + 1] = value.length;
    bytes.set(value, at + 2);
    at += 2 + value.length;
  }
  bytes[at] = OPTION.end;
  return bytes;
}
