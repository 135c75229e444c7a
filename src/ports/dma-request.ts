/**
 * The wires of one channel of the ISA bus's DMA: DREQ, DACK, TC and the data that goes with DACK (IBM PC/AT Technical Reference, "I/O channel"; Intel
 * 8237A datasheet, "Pin description"). A device holds DREQ as a {@link LinePin}; the controller hears the line and answers with DACK, during which the device
 * takes or gives data and may be told the terminal count. `true` means asserted, whatever the polarity on the bus.
 *
 * A transfer is atomic: DACK, the data and TC come as one call at its end. Only in cascade mode, where the acknowledged device itself is the bus master,
 * DACK is a level.
 */
import { assert } from "../base/assert.ts";
import type { CauseId } from "../base/units.ts";
import { Line, type LinePin } from "./line.ts";

/** The device's side: what it does while its DACK is active. Lengths are in bytes; a channel of 16 bits moves pairs of them. */
export interface DmaClient {
  /**
   * How many transfers DREQ stays asserted for at least when nothing else happens; absent: 1. The controller may then move them with one call, at the
   * end of the time that they take one by one.
   */
  burst?(): number;
  /** DACK with IOR: the device puts `length` bytes of data into `into` from `offset`. */
  dmaRead(into: Uint8Array, offset: number, length: number): void;
  /** DACK with IOW: the device takes `length` bytes. */
  dmaWrite(from: Uint8Array, offset: number, length: number): void;
  /** DACK without a command (verify), `transfers` times. */
  dmaVerify?(transfers: number): void;
  /** TC while DACK is active: the transfer that was just made was the last one. */
  terminalCount(cause: CauseId): void;
  /** Cascade mode: while `level` is true, the bus is the device's that asks on this channel. */
  acknowledge?(level: boolean): void;
}

/** One channel's wires. */
export class DmaChannel {
  /** 0 … 7. */
  readonly number: number;
  readonly dreq: Line;
  /** For a device that promises bursts, before it looks at what they change: the transfers whose time is over are made now. */
  readonly settle: () => void;
  /** Observation only: what told of the block that is being moved. */
  cause: CauseId = 0;
  readonly #clients: { client: DmaClient; dreq: LinePin }[] = [];
  /** During a transfer only, so it is no state. */
  #acknowledged: DmaClient | null = null;

  /**
   * @param index the board's number of the DREQ line
   * @param settle see {@link DmaChannel.settle}
   */
  constructor(number: number, index = 0, settle: () => void = () => {}) {
    this.number = number;
    this.settle = settle;
    this.dreq = new Line(`DREQ ${number}`, index);
  }

  /** A device on this channel; the pin that it gets drives DREQ. */
  attach(client: DmaClient): LinePin {
    assert(this.#clients.length < 8, `DMA channel ${this.number}: too many devices`);
    const dreq = this.dreq.pin();
    this.#clients.push({ client, dreq });
    return dreq;
  }

  /** Who takes notice of DACK: number of the first device that asks; −1 when none does (a request by software). */
  asking(): number {
    for (let i = 0; i < this.#clients.length; i++) if (this.#clients[i]!.dreq.level) return i;
    return -1;
  }

  /** See {@link DmaClient.burst}. */
  burst(): number {
    const client = this.#clients[this.asking()]?.client;
    return client?.burst === undefined ? 1 : Math.max(1, client.burst());
  }

  /** DACK goes active: until {@link end} the transfers are with this device, also when it drops DREQ. @param device an answer of {@link asking} */
  begin(device: number): void {
    this.#acknowledged = this.#clients[device]?.client ?? null;
  }

  /** Transfer to memory: nobody drives the data lines when no device asks, and they read all-ones. */
  read(into: Uint8Array, offset: number, length: number): void {
    const client = this.#acknowledged;
    if (client === null) into.fill(0xff, offset, offset + length);
    else client.dmaRead(into, offset, length);
  }

  /** Transfer from memory. */
  write(from: Uint8Array, offset: number, length: number): void {
    this.#acknowledged?.dmaWrite(from, offset, length);
  }

  verify(transfers: number): void {
    this.#acknowledged?.dmaVerify?.(transfers);
  }

  /** DACK goes inactive. @param terminalCount TC was active during the last transfer */
  end(terminalCount: boolean, cause: CauseId): void {
    const client = this.#acknowledged;
    this.#acknowledged = null;
    if (terminalCount) client?.terminalCount(cause);
  }

  /** DACK as a level, in cascade mode: all devices see it. */
  cascade(level: boolean): void {
    for (let i = 0; i < this.#clients.length; i++) this.#clients[i]!.client.acknowledge?.(level);
  }
}
