/**
 * A network of the simulation's own at the other end of a wire: a gateway (10.0.2.2) that leases addresses and lends files, and a name server (10.0.2.3).
 * Nothing leaves the machine: what is meant for elsewhere is answered with "network unreachable". The documents stand at the protocols' files; Ethernet
 * II framing is IEEE Std 802.3-2018, 3.2.6, and RFC 894.
 *
 * Decisions: it answers to the station that a frame came from and never asks for one, so it needs no ARP table; answers take no time of their own, the wire
 * has its pace. Each network interface has a network of its own, as with QEMU's "-netdev user": nothing is shared, so that what one interface
 * does never shifts what another one sees. A reset of the machine does not reach it. Of IPv6 it only says that there is none (router-advertisement.ts).
 */
import type { CauseId } from "../base/units.ts";
import {
  BROADCAST_MAC,
  ETHERNET_HEADER,
  ETHERNET_MTU,
  type EthernetPort,
  type EthernetStation,
  isGroup,
  type MacAddress,
  MIN_FRAME,
  macAt,
  putMac,
} from "../ports/ethernet.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import { type Alarm, type EventQueue, PRIORITY } from "../sim/event-queue.ts";
import { answerArp } from "./arp.ts";
import { get16, type Ipv4Address, put16 } from "./bytes.ts";
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpServer, type DhcpState } from "./dhcp.ts";
import { answerDns, type Names } from "./dns.ts";
import { answerIcmp, ICMP, icmpError, REASSEMBLY_TIME, UNREACHABLE } from "./icmp.ts";
import { BROADCAST_IP, IPV4_HEADER, type Ipv4Packet, parseIpv4, PROTOCOL, writeIpv4Header } from "./ipv4.ts";
import { isGuest, isOurs, isStation, macOf, PLAN } from "./plan.ts";
import { Reassembly, type ReassemblyState } from "./reassembly.ts";
import { ALL_ROUTERS_MAC, answerSolicitation } from "./router-advertisement.ts";
import { refuseTcp } from "./tcp.ts";
import { type Files, TFTP_PORT, TftpServer, type TftpState } from "./tftp.ts";
import { type Datagram, makeUdp, parseUdp } from "./udp.ts";

/** RFC 894 and RFC 826. */
export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;
const TYPE_OFFSET = 12;
const DNS_PORT = 53;
/** Payload of a fragment, bytes; a multiple of 8. */
const FRAGMENT_BYTES = ETHERNET_MTU - IPV4_HEADER;
const CLASS_D = 0xe0000000;

/** Names that everybody may ask for; the top-level domain is reserved (RFC 6761, 6.2). */
const OWN_NAMES: Names = new Map([
  ["gateway.test", PLAN.gateway],
  ["dns.test", PLAN.dns],
]);

export type UserNetworkOptions = {
  readonly name: string;
  readonly queue: EventQueue;
  readonly port: EthernetPort;
  /** Files that TFTP lends, by name without a slash at the beginning. */
  readonly files?: Files;
  /** Name of the file that DHCP tells clients to start. */
  readonly bootFile?: string;
  /** Further names, in lower case. */
  readonly names?: Names;
};

export type UserNetworkState = { packetId: number; fragments: ReassemblyState; dhcp: DhcpState; tftp: TftpState };

export class UserNetwork implements Part, EthernetStation {
  readonly name: string;
  readonly state: UserNetworkState;
  readonly #port: EthernetPort;
  readonly #queue: EventQueue;
  readonly #names: Names;
  readonly #fragments = new Reassembly();
  readonly #dhcp: DhcpServer;
  readonly #tftp: TftpServer;
  readonly #timer: Alarm;
  readonly #frame = new Uint8Array(ETHERNET_HEADER + ETHERNET_MTU);
  /** Of what is being answered; observation only. */
  #cause: CauseId = 0;

  constructor(options: UserNetworkOptions) {
    const { name, queue, port, files = new Map(), bootFile = "", names = new Map() } = options;
    this.name = name;
    this.#queue = queue;
    this.#port = port;
    this.#names = new Map([...OWN_NAMES, ...names]);
    const now = () => queue.clock.now();
    this.#dhcp = new DhcpServer(now, bootFile);
    this.#tftp = new TftpServer({
      files,
      now,
      send: ({ station, address, port: to }, from, data) =>
        this.#sendUdp(station, PLAN.gateway, address, { source: from, destination: to, data }),
    });
    this.state = {
      packetId: 0,
      fragments: this.#fragments.state,
      dhcp: this.#dhcp.state,
      tftp: this.#tftp.state,
    };
    this.#timer = queue.alarm(`${name} timer`, () => this.#expire(), PRIORITY.device);
    port.connect(this);
  }

  reset(phase: ResetPhase, kind: ResetKind): void {
    if (phase !== "enter" || kind !== "power") return;
    this.state.packetId = 0;
    this.#fragments.clear();
    this.#dhcp.clear();
    this.#tftp.clear();
    this.#timer.cancel();
  }

  linkChanged(_up: boolean): void {}

  receive(frame: Uint8Array, length: number, cause: CauseId): void {
    if (length < ETHERNET_HEADER) return;
    const [to, from] = [macAt(frame, 0), macAt(frame, 6)];
    const ours = to === macOf(PLAN.gateway) || to === macOf(PLAN.dns);
    const type = get16(frame, TYPE_OFFSET);
    const toRouters = to === ALL_ROUTERS_MAC && type === ETHERTYPE.ipv6;
    if ((to !== BROADCAST_MAC && !ours && !toRouters) || isGroup(from)) return;
    this.#cause = cause;
    const payload = frame.subarray(ETHERNET_HEADER, length);
    if (type === ETHERTYPE.arp) this.#arp(payload);
    else if (type === ETHERTYPE.ipv4) this.#ipv4(payload, from, to === BROADCAST_MAC);
    else if (toRouters) this.#ipv6(payload, from);
    this.#cause = 0;
    this.#setTimer();
  }

  #arp(packet: Uint8Array): void {
    const reply = answerArp(packet);
    if (reply === null) return;
    this.#frame.set(reply.packet, ETHERNET_HEADER);
    this.#send(reply.to, reply.from, ETHERTYPE.arp, reply.packet.length);
  }

  #ipv6(packet: Uint8Array, from: MacAddress): void {
    const router = macOf(PLAN.gateway);
    const reply = answerSolicitation(packet, from, router);
    if (reply === null) return;
    this.#frame.set(reply.packet, ETHERNET_HEADER);
    this.#send(reply.to, router, ETHERTYPE.ipv6, reply.packet.length);
  }

  // --- IPv4 in --------------------------------------------------------------------------------------------------------------------------------------

  /** @param broadcast the frame was: then only a broadcast may be in it (RFC 1122, 3.3.6) */
  #ipv4(bytes: Uint8Array, from: MacAddress, broadcast: boolean): void {
    const packet = parseIpv4(bytes);
    if (packet === null) return;
    const { source, destination } = packet;
    const toAll = destination === BROADCAST_IP || destination === PLAN.broadcast;
    const known = isGuest(source);
    if ((!known && source !== 0) || (broadcast && !toAll)) return;
    if (toAll || isOurs(destination)) {
      const whole = this.#fragments.take(packet, from, this.#queue.clock.now());
      if (whole !== null) this.#deliver(whole, from, toAll);
    } else if (known && destination < CLASS_D) {
      const code = isStation(destination) ? UNREACHABLE.host : UNREACHABLE.network;
      this.#sendError(from, PLAN.gateway, ICMP.unreachable, code, packet);
    }
  }

  /** A whole datagram for an address of ours or for all. A station without an address can do no more than ask for one. */
  #deliver(packet: Ipv4Packet, from: MacAddress, toAll: boolean): void {
    const { source, destination, protocol } = packet;
    if (protocol === PROTOCOL.udp) {
      this.#udp(packet, from, toAll);
      return;
    }
    if (toAll || source === 0) return;
    if (protocol === PROTOCOL.icmp) {
      const reply = answerIcmp(packet.payload);
      if (reply !== null) this.#sendIpv4(from, destination, source, PROTOCOL.icmp, reply);
    } else if (protocol === PROTOCOL.tcp) {
      const reset = refuseTcp(packet);
      if (reset !== null) this.#sendIpv4(from, destination, source, PROTOCOL.tcp, reset);
    } else this.#sendError(from, destination, ICMP.unreachable, UNREACHABLE.protocol, packet);
  }

  #udp(packet: Ipv4Packet, from: MacAddress, toAll: boolean): void {
    const datagram = parseUdp(packet);
    if (datagram === null) return;
    const { source: address, destination: own } = packet;
    const { source: port, destination, data } = datagram;
    const gateway = own !== PLAN.dns;
    if (gateway && destination === DHCP_SERVER_PORT) this.#answerDhcp(data);
    else if (toAll || address === 0) return;
    else if (gateway && destination === TFTP_PORT) this.#tftp.request({ station: from, address, port }, data);
    else if (gateway && this.#tftp.owns(destination))
      this.#tftp.packet({ station: from, address, port }, destination, data);
    else if (!gateway && destination === DNS_PORT) {
      const response = answerDns(data, this.#names);
      if (response !== null) this.#sendUdp(from, own, address, { source: DNS_PORT, destination: port, data: response });
    } else this.#sendError(from, own, ICMP.unreachable, UNREACHABLE.port, packet);
  }

  #answerDhcp(message: Uint8Array): void {
    const reply = this.#dhcp.answer(message);
    if (reply === null) return;
    const ports = { source: DHCP_SERVER_PORT, destination: DHCP_CLIENT_PORT };
    this.#sendUdp(reply.station, PLAN.gateway, reply.address, { ...ports, data: reply.message });
  }

  // --- out ------------------------------------------------------------------------------------------------------------------------------------------

  #sendError(station: MacAddress, from: Ipv4Address, type: number, code: number, about: Ipv4Packet): void {
    const message = icmpError(type, code, about);
    if (message !== null) this.#sendIpv4(station, from, about.source, PROTOCOL.icmp, message);
  }

  #sendUdp(station: MacAddress, from: Ipv4Address, to: Ipv4Address, datagram: Datagram): void {
    this.#sendIpv4(station, from, to, PROTOCOL.udp, makeUdp(from, to, datagram));
  }

  /** In as many fragments as it needs. */
  #sendIpv4(station: MacAddress, from: Ipv4Address, to: Ipv4Address, protocol: number, payload: Uint8Array): void {
    const id = this.state.packetId;
    this.state.packetId = (id + 1) & 0xffff;
    const heading = { source: from, destination: to, protocol, id };
    const packet = this.#frame.subarray(ETHERNET_HEADER);
    for (let offset = 0; offset === 0 || offset < payload.length; offset += FRAGMENT_BYTES) {
      const piece = payload.subarray(offset, offset + FRAGMENT_BYTES);
      writeIpv4Header(packet, heading, offset, piece.length, offset + piece.length < payload.length);
      packet.set(piece, IPV4_HEADER);
      this.#send(station, macOf(from), ETHERTYPE.ipv4, IPV4_HEADER + piece.length);
    }
  }

  /** Sends what lies in the frame behind the header, padded to the least length. */
  #send(to: MacAddress, from: MacAddress, type: number, length: number): void {
    const frame = this.#frame;
    putMac(frame, 0, to);
    putMac(frame, 6, from);
    put16(frame, TYPE_OFFSET, type);
    const end = ETHERNET_HEADER + length;
    if (end < MIN_FRAME) frame.fill(0, end, MIN_FRAME);
    this.#port.send(frame, Math.max(end, MIN_FRAME), this.#cause);
  }

  // --- time -----------------------------------------------------------------------------------------------------------------------------------------

  #setTimer(): void {
    const deadline = Math.min(this.#fragments.deadline, this.#tftp.deadline);
    if (deadline !== this.#timer.deadline) this.#timer.armAt(deadline);
  }

  #expire(): void {
    const now = this.#queue.clock.now();
    for (const { packet, station } of this.#fragments.expire(now)) {
      if (isOurs(packet.destination) && packet.source !== 0)
        this.#sendError(station, packet.destination, ICMP.timeExceeded, REASSEMBLY_TIME, packet);
    }
    this.#tftp.expire(now);
    this.#setTimer();
  }
}
