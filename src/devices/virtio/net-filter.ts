/**
 * Which frames a virtio network device lets in: by address and by VLAN, as the driver told it through the control queue. VIRTIO 1.2, 5.1.6.5.1 to 5.1.6.5.3.
 *
 * Decisions: after a reset everything is let in, for drivers that have no control queue. A table that is too long lets all addresses of its kind in, which the
 * driver has to expect anyway (filtering is best effort). Frames are filtered by VLAN only when that was negotiated.
 */
import { BROADCAST_MAC, isGroup, type MacAddress, macAt } from "../../ports/ethernet.ts";
import { NET_ACK, NET_CONTROL, NET_MAC, NET_RX, NET_VLAN } from "./virtio-net.regs.ts";

/** Addresses of each kind that are remembered. */
const TABLE_ENTRIES = 64;
const MAC_BYTES = 6;
const VLANS = 4096;
/** Tag protocol identifier (IEEE 802.1Q, table 9-1), and where it and the tag lie in a frame. */
const TAG_TYPE = 0x8100;
const TYPE_OFFSET = 12;
const TAG_OFFSET = 14;

export type NetFilterState = {
  /** The device's own address. */
  mac: number;
  /** A bit per command of class RX. */
  modes: number;
  unicast: Float64Array;
  multicast: Float64Array;
  /** Entries in use; more than fit into the table: all are let in. */
  unicastCount: number;
  multicastCount: number;
  /** A bit per VLAN that is let in. */
  vlans: Uint8Array;
};

export const freshFilter = (mac: MacAddress): NetFilterState => ({
  mac,
  modes: 1 << NET_RX.promiscuous,
  unicast: new Float64Array(TABLE_ENTRIES),
  multicast: new Float64Array(TABLE_ENTRIES),
  unicastCount: 0,
  multicastCount: 0,
  vlans: new Uint8Array(VLANS / 8),
});

/** What was negotiated. */
export type FilterFeatures = {
  readonly rx: boolean;
  readonly rxExtra: boolean;
  readonly vlan: boolean;
  readonly macAddress: boolean;
};

export class NetFilter {
  readonly state: NetFilterState;

  constructor(state: NetFilterState) {
    this.state = state;
  }

  reset(mac: MacAddress): void {
    const s = this.state;
    s.mac = mac;
    s.modes = 1 << NET_RX.promiscuous;
    s.unicast.fill(0);
    s.multicast.fill(0);
    s.vlans.fill(0);
    s.unicastCount = s.multicastCount = 0;
  }

  /** @param byVlan that was negotiated */
  lets(frame: Uint8Array, length: number, byVlan: boolean): boolean {
    const s = this.state;
    if (byVlan && length >= TAG_OFFSET + 2 && word(frame, TYPE_OFFSET) === TAG_TYPE) {
      const vlan = word(frame, TAG_OFFSET) % VLANS;
      if ((s.vlans[vlan >> 3]! & (1 << (vlan & 7))) === 0) return false;
    }
    if (this.#mode(NET_RX.promiscuous)) return true;
    const address = macAt(frame, 0);
    if (address === BROADCAST_MAC) return !this.#mode(NET_RX.noBroadcast);
    if (isGroup(address)) {
      if (this.#mode(NET_RX.noMulticast)) return false;
      return this.#mode(NET_RX.allMulticast) || isIn(s.multicast, s.multicastCount, address);
    }
    if (this.#mode(NET_RX.noUnicast)) return false;
    return this.#mode(NET_RX.allUnicast) || address === s.mac || isIn(s.unicast, s.unicastCount, address);
  }

  #mode(bit: number): boolean {
    return (this.state.modes & (1 << bit)) !== 0;
  }

  /** Carries out a command: its class, its number, its data. Returns the acknowledgment. */
  command(kind: number, command: number, data: Uint8Array, features: FilterFeatures): number {
    const done =
      (kind === NET_CONTROL.rx && this.#rx(command, data, features)) ||
      (kind === NET_CONTROL.mac && this.#mac(command, data, features)) ||
      (kind === NET_CONTROL.vlan && features.vlan && this.#vlan(command, data));
    return done ? NET_ACK.ok : NET_ACK.error;
  }

  #rx(command: number, data: Uint8Array, features: FilterFeatures): boolean {
    const possible =
      (features.rx && command <= NET_RX.allMulticast) ||
      (features.rxExtra && command >= NET_RX.allUnicast && command <= NET_RX.noBroadcast);
    if (!possible || data.length !== 1 || data[0]! > 1) return false;
    const { modes } = this.state;
    this.state.modes = data[0] === 1 ? modes | (1 << command) : modes & ~(1 << command);
    return true;
  }

  #mac(command: number, data: Uint8Array, features: FilterFeatures): boolean {
    if (command === NET_MAC.addressSet && features.macAddress && data.length === MAC_BYTES) {
      this.state.mac = macAt(data, 0);
      return true;
    }
    return command === NET_MAC.tableSet && features.rx && this.#tables(data);
  }

  /** Two tables, unicast and multicast, each a 32-bit number of entries and the entries. */
  #tables(data: Uint8Array): boolean {
    const unicast = tableEnd(data, 0);
    const end = unicast < 0 ? -1 : tableEnd(data, unicast);
    if (end !== data.length) return false;
    const s = this.state;
    s.unicastCount = fill(s.unicast, data.subarray(4, unicast));
    s.multicastCount = fill(s.multicast, data.subarray(unicast + 4));
    return true;
  }

  #vlan(command: number, data: Uint8Array): boolean {
    const vlan = data.length === 2 ? data[0]! | (data[1]! << 8) : VLANS;
    if (vlan >= VLANS || (command !== NET_VLAN.add && command !== NET_VLAN.remove)) return false;
    const { vlans } = this.state;
    const bit = 1 << (vlan & 7);
    vlans[vlan >> 3] = command === NET_VLAN.add ? vlans[vlan >> 3]! | bit : vlans[vlan >> 3]! & ~bit;
    return true;
  }
}

const word = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;

function isIn(table: Float64Array, count: number, address: MacAddress): boolean {
  if (count > TABLE_ENTRIES) return true;
  for (let i = 0; i < count; i++) if (table[i] === address) return true;
  return false;
}

/** Where the table that begins at `at` ends, −1 when it does not fit. */
function tableEnd(data: Uint8Array, at: number): number {
  if (at + 4 > data.length) return -1;
  const entries = data[at]! + data[at + 1]! * 2 ** 8 + data[at + 2]! * 2 ** 16 + data[at + 3]! * 2 ** 24;
  const end = at + 4 + entries * MAC_BYTES;
  return end <= data.length ? end : -1;
}

/** Returns how many entries there are, also when the table does not hold them. */
function fill(table: Float64Array, entries: Uint8Array): number {
  const count = entries.length / MAC_BYTES;
  table.fill(0);
  for (let i = 0; i < Math.min(count, TABLE_ENTRIES); i++) table[i] = macAt(entries, i * MAC_BYTES);
  return count;
}
