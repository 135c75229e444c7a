/** Answers to address resolution requests. RFC 826; RFC 5227, 2.1.1 (probes have no sender's protocol address and are answered as well). */
import { isGroup, macAt, type MacAddress, putMac } from "../ports/ethernet.ts";
import { get16, get32, put16, put32 } from "./bytes.ts";
import { isOurs, macOf } from "./plan.ts";

/** Fields of the packet for Ethernet and IPv4, offsets in bytes (RFC 826, "Packet format"). */
const ARP = { hardware: 0, protocol: 2, lengths: 4, operation: 6, sender: 8, senderIp: 14, target: 18, targetIp: 24 };
export const ARP_BYTES = 28;
const ETHERNET = 1;
const IPV4 = 0x0800;
/** Six bytes of hardware address, four of protocol address. */
const LENGTHS = 0x0604;
const REQUEST = 1;
const REPLY = 2;

export type ArpReply = { readonly packet: Uint8Array; readonly from: MacAddress; readonly to: MacAddress };

/** The reply to a request for an address of ours, else null. */
export function answerArp(packet: Uint8Array): ArpReply | null {
  if (packet.length < ARP_BYTES) return null;
  const fits =
    get16(packet, ARP.hardware) === ETHERNET &&
    get16(packet, ARP.protocol) === IPV4 &&
    get16(packet, ARP.lengths) === LENGTHS &&
    get16(packet, ARP.operation) === REQUEST;
  const asked = get32(packet, ARP.targetIp);
  const to = macAt(packet, ARP.sender);
  if (!fits || !isOurs(asked) || isGroup(to)) return null;
  const from = macOf(asked);
  const reply = packet.slice(0, ARP_BYTES);
  put16(reply, ARP.operation, REPLY);
  putMac(reply, ARP.sender, from);
  put32(reply, ARP.senderIp, asked);
  putMac(reply, ARP.target, to);
  put32(reply, ARP.targetIp, get32(packet, ARP.senderIp));
  return { packet: reply, from, to };
}
