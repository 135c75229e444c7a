/**
 * The DHCP server, which serves BOOTP clients as well. RFC 2131, 4.1 and 4.3; RFC 1534 (BOOTP clients); RFC 6842 (the client's identifier comes back).
 *
 * Decisions: an address that was offered is kept for a minute; a lease lasts a day or what the client asks for, if less; a client gets its old address again as
 * long as nobody else needed it, everybody else the lowest that is free; all parameters are always told. Not modelled: relay agents, whose
 * messages are dropped; authentication; rapid commit; checking an address before it is offered.
 */
import type { Ns } from "../base/units.ts";
import { BROADCAST_MAC, isGroup, type MacAddress } from "../ports/ethernet.ts";
import { ascii, type Ipv4Address } from "./bytes.ts";
import {
  DHCP,
  type DhcpOption,
  type DhcpRequest,
  makeReply,
  number32,
  OPTION,
  option32,
  parseRequest,
} from "./dhcp-message.ts";
import { BROADCAST_IP } from "./ipv4.ts";
import { isGuest, isStation, PLAN } from "./plan.ts";

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;
const SECOND: Ns = 1e9;
const OFFER_NS: Ns = 60 * SECOND;
/** Seconds. */
export const LEASE_TIME = 86400;
const MIN_LEASE_TIME = 60;
/** iPXE's option 176, "no-pxedhcp": no other server will tell what to start, so there is none to wait for. */
const IPXE_NO_PROXY = Uint8Array.of(176, 1, 1);
/** Every option value fits into one piece. */
const MAX_OPTION = 255;

export type Lease = {
  /** Option 61 or hardware address in hexadecimal; nobody's when the address was found to be in use. */
  client: string;
  address: number;
  /** Only offered so far. */
  offered: boolean;
  /** From then on others may have the address, ns. */
  expires: number;
};
export type DhcpState = { leases: Lease[] };

export type DhcpReply = { readonly message: Uint8Array; readonly station: MacAddress; readonly address: Ipv4Address };

export class DhcpServer {
  readonly state: DhcpState = { leases: [] };
  readonly #now: () => Ns;
  readonly #bootFile: string;

  /** @param bootFile name of the file that a client without a disk loads from here by TFTP, empty for none */
  constructor(now: () => Ns, bootFile: string) {
    this.#now = now;
    this.#bootFile = bootFile;
  }

  clear(): void {
    this.state.leases.length = 0;
  }

  answer(message: Uint8Array): DhcpReply | null {
    const request = parseRequest(message);
    if (request === null || request.relayAddress !== 0 || isGroup(request.station)) return null;
    const type = request.options.get(OPTION.messageType);
    if (type === undefined) return this.#bootp(request);
    switch (type[0]) {
      case DHCP.discover:
        return this.#discover(request);
      case DHCP.request:
        return this.#request(request);
      case DHCP.inform:
        return this.#inform(request);
      case DHCP.decline:
        this.#decline(request);
        return null;
      case DHCP.release:
        this.#release(request);
        return null;
      default:
        return null;
    }
  }

  #bootp(request: DhcpRequest): DhcpReply | null {
    const lease = this.#allocate(request);
    if (lease === null) return null;
    lease.offered = false;
    lease.expires = Number.POSITIVE_INFINITY;
    return this.#reply(request, lease.address, []);
  }

  #discover(request: DhcpRequest): DhcpReply | null {
    const lease = this.#allocate(request);
    if (lease === null) return null;
    if (lease.offered) lease.expires = this.#now() + OFFER_NS;
    return this.#reply(request, lease.address, [type(DHCP.offer), ...leaseOptions(request)]);
  }

  /** RFC 2131, 4.3.2. */
  #request(request: DhcpRequest): DhcpReply | null {
    const server = number32(request, OPTION.serverId);
    const requested = number32(request, OPTION.requestedAddress);
    const lease = this.#leaseOf(request);
    if (server !== null && server !== PLAN.gateway) {
      // Another server's offer was taken.
      if (lease?.offered === true) this.#forget(lease);
      return null;
    }
    const wanted = requested ?? request.clientAddress;
    if (wanted === 0) return null;
    const selecting = server !== null;
    if (lease === undefined && !selecting && isStation(wanted)) return null;
    if (lease === undefined || lease.address !== wanted) return this.#refuse(request);
    lease.offered = false;
    lease.expires = this.#now() + leaseTime(request) * SECOND;
    return this.#reply(request, lease.address, [type(DHCP.ack), ...leaseOptions(request)]);
  }

  /** RFC 2131, 4.3.5: parameters, but no lease. */
  #inform(request: DhcpRequest): DhcpReply | null {
    return isGuest(request.clientAddress) ? this.#reply(request, 0, [type(DHCP.ack)]) : null;
  }

  /** RFC 2131, 4.3.3: somebody uses the address. */
  #decline(request: DhcpRequest): void {
    const lease = this.#leaseOf(request);
    if (lease === undefined || lease.address !== number32(request, OPTION.requestedAddress)) return;
    lease.client = "";
    lease.offered = false;
    lease.expires = this.#now() + LEASE_TIME * SECOND;
  }

  /** RFC 2131, 4.3.4: others may have the address, but the client gets it again if it asks first. */
  #release(request: DhcpRequest): void {
    const lease = this.#leaseOf(request);
    if (lease !== undefined && lease.address === request.clientAddress) lease.expires = this.#now();
  }

  // --- leases -------------------------------------------------------------------------------------------------------------------------------------------

  #leaseOf(request: DhcpRequest): Lease | undefined {
    const client = clientKey(request);
    return this.state.leases.find(lease => lease.client === client);
  }

  #forget(lease: Lease): void {
    this.state.leases.splice(this.state.leases.indexOf(lease), 1);
  }

  /** The client's lease, or a fresh one: RFC 2131, 4.3.1, in its order. Null when all addresses are taken. */
  #allocate(request: DhcpRequest): Lease | null {
    const own = this.#leaseOf(request);
    if (own !== undefined) {
      // Nobody else may get it while the client thinks about it.
      if (own.expires <= this.#now()) own.offered = true;
      return own;
    }
    const wanted = number32(request, OPTION.requestedAddress);
    const address = wanted !== null && this.#free(wanted) ? wanted : this.#lowestFree();
    if (address === null) return null;
    const former = this.state.leases.find(lease => lease.address === address);
    if (former !== undefined) this.#forget(former);
    const lease: Lease = { client: clientKey(request), address, offered: true, expires: this.#now() + OFFER_NS };
    this.state.leases.push(lease);
    return lease;
  }

  #lowestFree(): Ipv4Address | null {
    for (let address = PLAN.firstLease; address <= PLAN.lastLease; address++) if (this.#free(address)) return address;
    return null;
  }

  #free(address: Ipv4Address): boolean {
    if (address < PLAN.firstLease || address > PLAN.lastLease) return false;
    const now = this.#now();
    return !this.state.leases.some(lease => lease.address === address && lease.expires > now);
  }

  // --- replies ------------------------------------------------------------------------------------------------------------------------------------------

  /** To whom: RFC 2131, 4.1. */
  #reply(request: DhcpRequest, yourAddress: Ipv4Address, first: readonly DhcpOption[]): DhcpReply | null {
    const { clientAddress, broadcast, station } = request;
    if (clientAddress !== 0 && !isGuest(clientAddress)) return null;
    const message = makeReply(request, {
      clientAddress,
      yourAddress,
      serverAddress: this.#bootFile === "" ? 0 : PLAN.gateway,
      bootFile: this.#bootFile,
      options: [...first, ...this.#parameters(request)],
    });
    if (clientAddress !== 0) return { message, station, address: clientAddress };
    if (broadcast) return { message, station: BROADCAST_MAC, address: BROADCAST_IP };
    return { message, station, address: yourAddress };
  }

  #refuse(request: DhcpRequest): DhcpReply {
    const text: DhcpOption = [OPTION.message, ascii("that address is not yours")];
    const options = [type(DHCP.nak), option32(OPTION.serverId, PLAN.gateway), text, ...identifier(request)];
    const message = makeReply(request, { clientAddress: 0, yourAddress: 0, serverAddress: 0, bootFile: "", options });
    return { message, station: BROADCAST_MAC, address: BROADCAST_IP };
  }

  #parameters(request: DhcpRequest): DhcpOption[] {
    const isDhcp = request.options.has(OPTION.messageType);
    const asked = request.options.get(OPTION.parameterList) ?? new Uint8Array(0);
    const bootFile = ascii(this.#bootFile).subarray(0, MAX_OPTION);
    return [
      ...(isDhcp ? [option32(OPTION.serverId, PLAN.gateway)] : []),
      option32(OPTION.subnetMask, PLAN.mask),
      option32(OPTION.router, PLAN.gateway),
      option32(OPTION.nameServer, PLAN.dns),
      option32(OPTION.broadcastAddress, PLAN.broadcast),
      ...(bootFile.length > 0 && asked.includes(OPTION.bootFileName)
        ? [[OPTION.bootFileName, bootFile] as DhcpOption]
        : []),
      ...(asked.includes(OPTION.ipxe) ? [[OPTION.ipxe, IPXE_NO_PROXY] as DhcpOption] : []),
      ...identifier(request),
    ];
  }
}

const type = (value: number): DhcpOption => [OPTION.messageType, Uint8Array.of(value)];

function identifier({ options }: DhcpRequest): DhcpOption[] {
  const id = options.get(OPTION.clientId);
  return id === undefined || id.length > MAX_OPTION ? [] : [[OPTION.clientId, id]];
}

function clientKey(request: DhcpRequest): string {
  const id = request.options.get(OPTION.clientId);
  if (id !== undefined) return `id ${Array.from(id, byte => byte.toString(16).padStart(2, "0")).join("")}`;
  return `mac ${request.station.toString(16).padStart(12, "0")}`;
}

/** Seconds. */
function leaseTime(request: DhcpRequest): number {
  const asked = number32(request, OPTION.leaseTime) ?? LEASE_TIME;
  return Math.min(LEASE_TIME, Math.max(MIN_LEASE_TIME, asked));
}

/** RFC 2131, 4.4.5: renewal after half of the time, rebinding after seven eighths. */
function leaseOptions(request: DhcpRequest): DhcpOption[] {
  const time = leaseTime(request);
  return [
    option32(OPTION.leaseTime, time),
    option32(OPTION.renewalTime, Math.floor(time / 2)),
    option32(OPTION.rebindingTime, Math.floor((time * 7) / 8)),
  ];
}
