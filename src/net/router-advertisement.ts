/**
 * What this network says of IPv6: there is a router, but none to send anything through, and no prefix. RFC 4861, 4.1, 4.2, 6.1.1 and 6.2.6 (router discovery); RFC
 * 4443, 2.3 (checksum); RFC 4291, 2.5.6 and appendix A (link-local addresses); RFC 2464, 7 (groups on Ethernet). Without an answer a host asks again and again,
 * and one that waits for the end of that, as iPXE does, waits for many seconds.
 *
 * Decisions: the answer comes at once (the delay of 6.2.6 may be 0), to the host itself when it has an address, else to all nodes.
 * Not modelled: everything else of IPv6, which is not answered; unsolicited advertisements.
 */
import type { MacAddress } from "../ports/ethernet.ts";
import { put16, put32 } from "./bytes.ts";
import { checksum, sumWords } from "./checksum.ts";

const HEADER = 40;
const SOURCE = 8;
const DESTINATION = 24;
const ADDRESS_BYTES = 16;
const NEXT_HEADER = 6;
const HOP_LIMIT = 7;
const ICMPV6 = 58;
const TYPE = { routerSolicitation: 133, routerAdvertisement: 134 } as const;
const SOLICITATION_BYTES = 8;
const ADVERTISEMENT_BYTES = 16;
const SOURCE_LINK_LAYER = 1;
/** "A packet from another link would have a smaller one" (6.1.1). */
const MAX_HOPS = 255;

/** ff02::2, on Ethernet. */
export const ALL_ROUTERS_MAC: MacAddress = 0x333300000002;
const ALL_NODES_MAC: MacAddress = 0x333300000001;
const ALL_NODES = Uint8Array.of(0xff, 2, ...Array<number>(13).fill(0), 1);

export type Advertisement = { readonly to: MacAddress; readonly packet: Uint8Array };

/** The answer to an IPv6 packet from station `from` when it is a router solicitation, else null. `router`: who answers. */
export function answerSolicitation(bytes: Uint8Array, from: MacAddress, router: MacAddress): Advertisement | null {
  if (!isSolicitation(bytes)) return null;
  const source = bytes.subarray(SOURCE, SOURCE + ADDRESS_BYTES);
  const unspecified = source.every(byte => byte === 0);
  // Version 6; lifetime 0: no default router; no flags: nothing by DHCPv6 either; no options: no prefix.
  const packet = new Uint8Array(HEADER + ADVERTISEMENT_BYTES);
  packet[0] = 0x60;
  put16(packet, 4, ADVERTISEMENT_BYTES);
  packet[NEXT_HEADER] = ICMPV6;
  packet[HOP_LIMIT] = MAX_HOPS;
  packet.set(linkLocal(router), SOURCE);
  packet.set(unspecified ? ALL_NODES : source, DESTINATION);
  packet[HEADER] = TYPE.routerAdvertisement;
  put16(packet, HEADER + 2, checksum(packet.subarray(HEADER), pseudoHeader(packet, ADVERTISEMENT_BYTES)));
  return { to: unspecified ? ALL_NODES_MAC : from, packet };
}

/** A valid one, by 6.1.1. */
function isSolicitation(bytes: Uint8Array): boolean {
  if (bytes.length < HEADER + SOLICITATION_BYTES || bytes[0]! >> 4 !== 6) return false;
  const length = (bytes[4]! << 8) | bytes[5]!;
  if (length < SOLICITATION_BYTES || HEADER + length > bytes.length) return false;
  if (bytes[NEXT_HEADER] !== ICMPV6 || bytes[HOP_LIMIT] !== MAX_HOPS) return false;
  const message = bytes.subarray(HEADER, HEADER + length);
  if (message[0] !== TYPE.routerSolicitation || message[1] !== 0) return false;
  if (checksum(message, pseudoHeader(bytes, length)) !== 0) return false;
  const unspecified = bytes.subarray(SOURCE, SOURCE + ADDRESS_BYTES).every(byte => byte === 0);
  for (let at = SOLICITATION_BYTES; at < length; ) {
    // Units of 8 bytes.
    const size = (message[at + 1] ?? 0) * 8;
    if (size === 0 || at + size > length || (unspecified && message[at] === SOURCE_LINK_LAYER)) return false;
    at += size;
  }
  return true;
}

/** fe80:: and the modified EUI-64 of the station. */
function linkLocal(mac: MacAddress): Uint8Array {
  const address = new Uint8Array(ADDRESS_BYTES);
  const [high, low] = [Math.floor(mac / 2 ** 24), mac % 2 ** 24];
  put16(address, 0, 0xfe80);
  put32(address, 8, ((high << 8) | 0xff) ^ 0x02000000);
  put32(address, 12, (0xfe << 24) | low);
  return address;
}

/** Sum of what ICMPv6 adds in front of its message (RFC 8200, 8.1). */
const pseudoHeader = (packet: Uint8Array, length: number): number =>
  sumWords(packet.subarray(SOURCE, HEADER), length + ICMPV6);
