/**
 * Reassembly of fragmented datagrams with a table of 8-byte blocks. RFC 791, 3.2, "An Example Reassembly Procedure"; RFC 1122, 3.3.2 (time limit, what is
 * said about a datagram that never became whole).
 *
 * Of data that arrives twice the later copy counts, as RFC 791 says. A fifth datagram at a time drives out the oldest. Fragments that contradict others
 * (beyond the end, another end) or end inside a block without being the last are dropped.
 */
import type { Ns } from "../base/units.ts";
import type { MacAddress } from "../ports/ethernet.ts";
import { put16 } from "./bytes.ts";
import { IPV4, IPV4_MAX, type Ipv4Packet, parseIpv4, sealHeader } from "./ipv4.ts";

const SLOTS = 4;
const BLOCK = 8;
/** RFC 1122, 3.3.2: "recommended to be a fixed value … between 60 and 120 seconds". */
export const REASSEMBLY_NS: Ns = 60e9;
const MAX_HEADER = 60;
/** Data that an ICMP error quotes, bytes. */
const QUOTED = 8;

export type SlotState = {
  source: number;
  destination: number;
  protocol: number;
  id: number;
  /** Station that sent the first fragment to arrive. */
  station: number;
  deadline: number;
  /** Length of the data, −1 before the last fragment is there. */
  length: number;
  /** Length of the first fragment's header, 0 before it is there. */
  headerLength: number;
  header: Uint8Array;
  data: Uint8Array;
  /** A bit per block that is there. */
  blocks: Uint8Array;
};
/** In the order of their first arrival. */
export type ReassemblyState = { slots: SlotState[] };

/** A datagram that was given up although its first fragment had come. */
export type Expired = { readonly packet: Ipv4Packet; readonly station: MacAddress };

export class Reassembly {
  readonly state: ReassemblyState = { slots: [] };

  clear(): void {
    this.state.slots.length = 0;
  }

  /** When the oldest datagram is given up, ns; Infinity when there is none. */
  get deadline(): Ns {
    return this.state.slots[0]?.deadline ?? Number.POSITIVE_INFINITY;
  }

  /** The whole datagram when `packet` completes one (or is one), else null. */
  take(packet: Ipv4Packet, station: MacAddress, now: Ns): Ipv4Packet | null {
    if (!packet.more && packet.offset === 0) return packet;
    const { length } = packet.payload;
    const end = packet.offset + length;
    if (length === 0 || (packet.more && length % BLOCK !== 0) || end > IPV4_MAX - packet.header.length) return null;
    const slot = this.#slotOf(packet, station, now);
    if (slot.length >= 0 && (end > slot.length || (!packet.more && end !== slot.length))) return null;
    if (!packet.more && slot.length < 0 && blocksSeen(slot) * BLOCK > end) return null;
    if (!packet.more) slot.length = end;
    slot.data.set(packet.payload, packet.offset);
    for (let block = packet.offset / BLOCK; block * BLOCK < end; block++) slot.blocks[block >> 3]! |= 1 << (block & 7);
    if (packet.offset === 0) {
      slot.header.set(packet.header);
      slot.headerLength = packet.header.length;
    }
    if (!isWhole(slot)) return null;
    this.state.slots.splice(this.state.slots.indexOf(slot), 1);
    return assemble(slot, slot.length);
  }

  /** Gives up what is due at `now`. */
  expire(now: Ns): Expired[] {
    const expired: Expired[] = [];
    while (this.deadline <= now) {
      const slot = this.state.slots.shift()!;
      const packet = slot.headerLength > 0 ? assemble(slot, QUOTED) : null;
      if (packet !== null) expired.push({ packet, station: slot.station });
    }
    return expired;
  }

  #slotOf(packet: Ipv4Packet, station: MacAddress, now: Ns): SlotState {
    const { slots } = this.state;
    const { source, destination, protocol, id } = packet;
    const found = slots.find(
      s => s.id === id && s.source === source && s.destination === destination && s.protocol === protocol,
    );
    if (found !== undefined) return found;
    if (slots.length === SLOTS) slots.shift();
    const slot: SlotState = {
      source,
      destination,
      protocol,
      id,
      station,
      deadline: now + REASSEMBLY_NS,
      length: -1,
      headerLength: 0,
      header: new Uint8Array(MAX_HEADER),
      data: new Uint8Array(IPV4_MAX + 1),
      blocks: new Uint8Array((IPV4_MAX + 1) / BLOCK / 8),
    };
    slots.push(slot);
    return slot;
  }
}

const has = (slot: SlotState, block: number): boolean => (slot.blocks[block >> 3]! & (1 << (block & 7))) !== 0;

/** Number of the block behind the last one that is there. */
function blocksSeen(slot: SlotState): number {
  let block = slot.blocks.length * 8;
  while (block > 0 && !has(slot, block - 1)) block--;
  return block;
}

function isWhole(slot: SlotState): boolean {
  if (slot.length < 0 || slot.headerLength === 0) return false;
  for (let block = 0; block * BLOCK < slot.length; block++) if (!has(slot, block)) return false;
  return true;
}

/** The first fragment's header with the whole datagram's length, and the data. */
function assemble(slot: SlotState, length: number): Ipv4Packet | null {
  const total = slot.headerLength + length;
  // The first fragment may have had a longer header than the one that was measured by.
  if (total > IPV4_MAX) return null;
  const bytes = new Uint8Array(total);
  const header = bytes.subarray(0, slot.headerLength);
  header.set(slot.header.subarray(0, slot.headerLength));
  bytes.set(slot.data.subarray(0, length), slot.headerLength);
  put16(bytes, IPV4.totalLength, total);
  put16(bytes, IPV4.flagsOffset, 0);
  sealHeader(header);
  return parseIpv4(bytes);
}
