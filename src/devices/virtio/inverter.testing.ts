/** For tests: a virtio function that does the simplest thing that reads and writes. */
import { BUS_STATUS } from "../../ports/initiator.ts";
import type { PciSlot } from "../../pci/function.ts";
import type { EventQueue } from "../../sim/event-queue.ts";
import type { Chain } from "./chain.ts";
import { type PacedOptions, PacedQueue } from "./paced-queue.ts";
import { VirtioFunction } from "./transport.ts";

export const SIZE = 16;

/** Copies what it reads, each byte inverted, to the writable part, as far as that reaches. */
export class Inverter extends VirtioFunction<{ served: number }> {
  readonly paced: PacedQueue;
  /** How long a chain takes. */
  chainNs = 1000;
  readonly chains: { head: number; bytes: number[] }[] = [];

  constructor(slot: PciSlot, events: EventQueue, batch = 4, join?: NonNullable<PacedOptions["join"]>) {
    super(slot, { type: 60, classCode: 0x00ff00, features: [], queues: [SIZE, 8], own: { served: 0 } });
    const serve = (chain: Chain): number => this.serve(chain);
    this.paced = new PacedQueue(this.queues[0]!, {
      ...{ events, name: "inverter", fetchNs: 100, batch, serve },
      ...(join === undefined ? {} : { join }),
    });
  }

  serve(chain: Chain): number {
    this.own.served++;
    const bytes = new Uint8Array(chain.readable);
    chain.read(0, bytes, 0, bytes.length);
    this.chains.push({ head: chain.head, bytes: [...bytes] });
    const length = Math.min(chain.readable, chain.writable);
    const status = chain.write(
      0,
      bytes.map(byte => ~byte),
      0,
      length,
    );
    this.queues[0]!.push(chain, status === BUS_STATUS.ok ? length : 0, status);
    return this.chainNs;
  }

  protected override queueNotified(): void {
    this.paced.notified();
  }
  protected override deviceReset(): void {
    this.own.served = 0;
    this.paced.cancel();
  }
}
