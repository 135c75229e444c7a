/** Who has which address in the simulated network; the same addresses as QEMU's user-mode network, so that guests' images fit both. */
import type { MacAddress } from "../ports/ethernet.ts";
import { type Ipv4Address, ipv4 } from "./bytes.ts";

export const PLAN = {
  network: ipv4("10.0.2.0"),
  mask: ipv4("255.255.255.0"),
  /** All stations of this network. */
  broadcast: ipv4("10.0.2.255"),
  /** Router, DHCP server, TFTP server. */
  gateway: ipv4("10.0.2.2"),
  /** Name server. */
  dns: ipv4("10.0.2.3"),
  /** Addresses to lease. */
  firstLease: ipv4("10.0.2.15"),
  lastLease: ipv4("10.0.2.254"),
} as const;

/** Locally administered, and telling the address. */
const MAC_PREFIX = 0x5255 * 2 ** 32;

/** An address of the network itself has this MAC address. */
export const macOf = (address: Ipv4Address): MacAddress => MAC_PREFIX + address;
/** The gateway or the name server. */
export const isOurs = (address: Ipv4Address): boolean => address === PLAN.gateway || address === PLAN.dns;
/** A station's address in this network: neither the network itself nor all of it. */
export const isStation = (address: Ipv4Address): boolean =>
  (address & PLAN.mask) >>> 0 === PLAN.network && address !== PLAN.network && address !== PLAN.broadcast;
/** An address that somebody else in this network may have. */
export const isGuest = (address: Ipv4Address): boolean => isStation(address) && !isOurs(address);
