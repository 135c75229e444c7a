/**
 * virtio network device with one pair of queues and a control queue. VIRTIO 1.2, 5.1. It is the station at one end of an Ethernet link.
 *
 * Sending: half a microsecond after the doorbell the device fetches up to four packets, and gives each back when its last bit has left. Receiving: a frame is
 * written to memory when it has arrived; the driver hears of it half a microsecond later, together with what arrived meanwhile. A frame for which there
 * are no buffers is lost and counted. A control command takes a microsecond.
 *
 * Offered: a checksum that the device fills in (CSUM), mergeable receive buffers, link status, filters by address and VLAN, another address, the speed, and
 * the MTU if it is set. Not modelled: GUEST_CSUM (received checksums are left to the driver), segmentation offload either way, several pairs of queues,
 * announcements, RSS and hashes, coalescing parameters.
 */
import { assert } from "../../base/assert.ts";
import type { CauseId, Ns } from "../../base/units.ts";
import {
  ETHERNET_HEADER,
  type EthernetPort,
  type EthernetStation,
  MAX_FRAME,
  type MacAddress,
  putMac,
} from "../../ports/ethernet.ts";
import { BUS_STATUS } from "../../ports/initiator.ts";
import type { PciSlot } from "../../pci/function.ts";
import { type Alarm, type EventQueue, PRIORITY } from "../../sim/event-queue.ts";
import type { Chain } from "./chain.ts";
import { freshFilter, NetFilter, type NetFilterState } from "./net-filter.ts";
import { PacedQueue } from "./paced-queue.ts";
import { VirtioFunction } from "./transport.ts";
import { VIRTIO_TYPE } from "./virtio.regs.ts";
import {
  FULL_DUPLEX,
  NET_ACK,
  NET_CONFIG,
  NET_CONFIG_BYTES,
  NET_F,
  NET_HEADER,
  NET_HEADER_BYTES,
  NET_HEADER_FLAGS,
  NET_STATUS,
} from "./virtio-net.regs.ts";
import type { Virtqueue } from "./virtqueue.ts";

const CLASS_ETHERNET = 0x020000;
const [RX, TX, CONTROL] = [0, 1, 2] as const;
const QUEUE_ENTRIES = 256;
const CONTROL_ENTRIES = 64;
const FETCH_NS: Ns = 500;
const RX_NS: Ns = 500;
const CONTROL_NS: Ns = 1000;
/** Packets that are fetched at once; the wire has room for as many of the longest. */
const TX_BATCH = 4;
/** Buffers that one frame may be spread over. */
const MAX_MERGED = 16;
/** Class, command, two tables of MAC addresses and more. */
const MAX_COMMAND = 4096;
const COMMAND_HEAD = 2;
/** A VLAN tag does not count as payload. */
const TAG_BYTES = 4;

/** Codes in the trace's completion events. */
export const NET_ERROR = { none: 0, memory: 1, malformed: 2, lost: 3 } as const;

export type VirtioNetState = {
  filter: NetFilterState;
  /** Frames: given to the driver, lost for want of buffers, not let in, sent, not sent. */
  received: number;
  dropped: number;
  filtered: number;
  sent: number;
  unsent: number;
};

export type VirtioNetOptions = {
  readonly queue: EventQueue;
  readonly port: EthernetPort;
  readonly mac: MacAddress;
  /** Bytes of payload that the driver shall send and will get at most; without it the driver chooses. */
  readonly mtu?: number;
};

export class VirtioNet extends VirtioFunction<VirtioNetState> implements EthernetStation {
  readonly #port: EthernetPort;
  readonly #mac: MacAddress;
  readonly #longest: number;
  readonly #clockQueue: EventQueue;
  readonly #filter: NetFilter;
  readonly #transmit: PacedQueue;
  readonly #control: PacedQueue;
  readonly #received: Alarm;
  readonly #chains: readonly Chain[];
  /** Header and frame, in either direction. */
  readonly #packet = new Uint8Array(NET_HEADER_BYTES + MAX_FRAME);
  readonly #command = new Uint8Array(MAX_COMMAND);
  readonly #acknowledgment = new Uint8Array(1);

  constructor(slot: PciSlot, { queue, port, mac, mtu = 0 }: VirtioNetOptions) {
    const { csum, mac: hasMac, mergeableBuffers, status, controlQueue, controlRx, controlRxExtra } = NET_F;
    const own = { filter: freshFilter(mac), received: 0, dropped: 0, filtered: 0, sent: 0, unsent: 0 };
    super(slot, {
      type: VIRTIO_TYPE.net,
      classCode: CLASS_ETHERNET,
      features: [
        ...[csum, hasMac, mergeableBuffers, status, controlQueue, controlRx, controlRxExtra],
        ...[NET_F.controlVlan, NET_F.controlMacAddress, NET_F.speedDuplex, ...(mtu > 0 ? [NET_F.mtu] : [])],
      ],
      queues: [QUEUE_ENTRIES, QUEUE_ENTRIES, CONTROL_ENTRIES],
      config: configOf(mac, mtu, port),
      own,
    });
    assert(mtu + ETHERNET_HEADER + TAG_BYTES <= MAX_FRAME, `${slot.name}: an MTU of ${mtu}`);
    this.#port = port;
    this.#mac = mac;
    this.#longest = mtu > 0 ? mtu + ETHERNET_HEADER + TAG_BYTES : MAX_FRAME;
    this.#clockQueue = queue;
    this.#filter = new NetFilter(own.filter);
    this.#transmit = new PacedQueue(this.queues[TX]!, {
      events: queue,
      name: `${slot.name} tx`,
      fetchNs: FETCH_NS,
      batch: TX_BATCH,
      serve: (chain, to) => this.#send(chain, to),
    });
    this.#control = new PacedQueue(this.queues[CONTROL]!, {
      events: queue,
      name: `${slot.name} control`,
      fetchNs: FETCH_NS,
      batch: 1,
      serve: (chain, to) => this.#carryOut(chain, to),
    });
    this.#received = queue.alarm(`${slot.name} rx`, () => this.queues[RX]!.complete(), PRIORITY.device);
    this.#chains = Array.from({ length: MAX_MERGED }, () => this.queues[RX]!.newChain());
    port.connect(this);
  }

  // --- life -----------------------------------------------------------------------------------------------------------------------------------------

  protected override deviceReset(): void {
    const s = this.own;
    this.#filter.reset(this.#mac);
    s.received = s.dropped = s.filtered = s.sent = s.unsent = 0;
    this.#transmit.cancel();
    this.#control.cancel();
    this.#received.cancel();
    this.deviceConfig[NET_CONFIG.status] = linkStatus(this.#port.linkUp);
  }

  protected override queueReset(queue: Virtqueue): void {
    if (queue.index === TX) this.#transmit.cancel();
    else if (queue.index === CONTROL) this.#control.cancel();
    else this.#received.cancel();
  }

  protected override queueNotified(queue: Virtqueue): void {
    if (queue.index === TX) this.#transmit.notified();
    else if (queue.index === CONTROL && this.accepted(NET_F.controlQueue)) this.#control.notified();
    // New receive buffers: the next frame finds them.
  }

  linkChanged(up: boolean): void {
    this.changeConfig(NET_CONFIG.status, 2, linkStatus(up));
  }

  // --- sending (5.1.6.2) ----------------------------------------------------------------------------------------------------------------------------

  /** Returns how long the packet keeps the wire busy. */
  #send(chain: Chain, queue: Virtqueue): Ns {
    const busyUntil = Math.max(this.#clockQueue.clock.now(), this.#port.idleAt);
    const error = this.#sendPacket(chain);
    if (error === NET_ERROR.none) this.own.sent++;
    else this.own.unsent++;
    queue.push(chain, 0, error);
    return Math.max(0, this.#port.idleAt - busyUntil);
  }

  #sendPacket(chain: Chain): number {
    const length = chain.readable - NET_HEADER_BYTES;
    if (length < ETHERNET_HEADER || length > MAX_FRAME) return NET_ERROR.malformed;
    const packet = this.#packet;
    if (chain.read(0, packet, 0, chain.readable) !== BUS_STATUS.ok) return NET_ERROR.memory;
    const frame = packet.subarray(NET_HEADER_BYTES, NET_HEADER_BYTES + length);
    if (packet[NET_HEADER.gsoType] !== 0) return NET_ERROR.malformed;
    if (NET_HEADER_FLAGS.needsCsum.on(packet[NET_HEADER.flags]!)) {
      if (!this.accepted(NET_F.csum)) return NET_ERROR.malformed;
      const start = little16(packet, NET_HEADER.csumStart);
      if (!fillChecksum(frame, start, start + little16(packet, NET_HEADER.csumOffset))) return NET_ERROR.malformed;
    }
    return this.#port.send(frame, length, chain.cause) ? NET_ERROR.none : NET_ERROR.lost;
  }

  // --- receiving (5.1.6.3, 5.1.6.4) -----------------------------------------------------------------------------------------------------------------

  receive(frame: Uint8Array, length: number, cause: CauseId): void {
    if (!this.live) return;
    const s = this.own;
    if (length > this.#longest || !this.#filter.lets(frame, length, this.accepted(NET_F.controlVlan))) {
      s.filtered++;
      return;
    }
    const count = this.#takeBuffers(NET_HEADER_BYTES + length);
    if (count === 0) {
      s.dropped++;
      return;
    }
    s.received++;
    const packet = this.#packet;
    packet.fill(0, 0, NET_HEADER_BYTES);
    packet[NET_HEADER.buffers] = count;
    packet.set(frame.subarray(0, length), NET_HEADER_BYTES);
    this.#fill(count, NET_HEADER_BYTES + length, cause);
    if (!this.#received.armed) this.#received.armIn(RX_NS);
  }

  /** Takes buffers for `bytes`, all or none, and returns their number. Without MRG_RXBUF one must be enough. */
  #takeBuffers(bytes: number): number {
    const queue = this.queues[RX]!;
    const most = this.accepted(NET_F.mergeableBuffers) ? MAX_MERGED : 1;
    let room = 0;
    for (let taken = 0; taken < most; taken++) {
      const chain = queue.take(this.#chains[taken]!);
      if (chain === null) {
        queue.putBack(taken);
        return 0;
      }
      room += chain.writable;
      if (room >= bytes) return taken + 1;
    }
    queue.putBack(most);
    return 0;
  }

  #fill(count: number, bytes: number, cause: CauseId): void {
    for (let i = 0, at = 0; i < count; i++) {
      const chain = this.#chains[i]!;
      const part = Math.min(bytes - at, chain.writable);
      if (cause !== 0) chain.cause = cause;
      const ok = chain.write(0, this.#packet, at, part) === BUS_STATUS.ok;
      this.queues[RX]!.push(chain, ok ? part : 0, ok ? NET_ERROR.none : NET_ERROR.memory);
      at += part;
    }
  }

  // --- control queue (5.1.6.5) ----------------------------------------------------------------------------------------------------------------------

  #carryOut(chain: Chain, queue: Virtqueue): Ns {
    const { readable, writable } = chain;
    const whole =
      writable > 0 &&
      readable >= COMMAND_HEAD &&
      readable <= MAX_COMMAND &&
      chain.read(0, this.#command, 0, readable) === BUS_STATUS.ok;
    this.#acknowledgment[0] = whole ? this.#obey(readable) : NET_ACK.error;
    const told = writable > 0 && chain.write(0, this.#acknowledgment, 0, 1) === BUS_STATUS.ok;
    queue.push(chain, told ? 1 : 0, whole ? NET_ERROR.none : NET_ERROR.malformed);
    return CONTROL_NS;
  }

  #obey(length: number): number {
    const [kind, command] = [this.#command[0]!, this.#command[1]!];
    const answer = this.#filter.command(kind, command, this.#command.subarray(COMMAND_HEAD, length), {
      rx: this.accepted(NET_F.controlRx),
      rxExtra: this.accepted(NET_F.controlRxExtra),
      vlan: this.accepted(NET_F.controlVlan),
      macAddress: this.accepted(NET_F.controlMacAddress),
    });
    // The driver knows what it has just set: no interrupt.
    putMac(this.deviceConfig, NET_CONFIG.mac, this.own.filter.mac);
    return answer;
  }
}

const linkStatus = (up: boolean): number => (up ? NET_STATUS.linkUp.mask : 0);

function configOf(mac: MacAddress, mtu: number, port: EthernetPort): Uint8Array {
  const config = new Uint8Array(NET_CONFIG_BYTES);
  putMac(config, NET_CONFIG.mac, mac);
  config[NET_CONFIG.status] = linkStatus(port.linkUp);
  config[NET_CONFIG.maxPairs] = 1;
  for (let i = 0; i < 2; i++) config[NET_CONFIG.mtu + i] = mtu >>> (8 * i);
  for (let i = 0; i < 4; i++) config[NET_CONFIG.speed + i] = port.megabits >>> (8 * i);
  config[NET_CONFIG.duplex] = FULL_DUPLEX;
  return config;
}

const little16 = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8);

/**
 * Puts the Internet checksum (RFC 1071) of everything from `start` on at `place`, where the sum of the pseudo header lies already. A sum of 0 goes out as all
 * ones, which is the same to TCP and what UDP wants (RFC 768). False when it does not lie inside.
 */
function fillChecksum(frame: Uint8Array, start: number, place: number): boolean {
  if (place + 2 > frame.length) return false;
  let sum = 0;
  for (let i = start; i < frame.length; i++) sum += (i - start) % 2 === 0 ? frame[i]! << 8 : frame[i]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  const value = sum === 0xffff ? 0xffff : ~sum & 0xffff;
  frame[place] = value >>> 8;
  frame[place + 1] = value;
  return true;
}
