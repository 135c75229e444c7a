/**
 * The board's modelled bus: who shares it, on which terms. Without `--bus` there is none, nothing here is made, and every device keeps its own pace.
 *
 * Shares are called as the part that holds them (`edu`, `virtio-blk 2`, an id), with `channel N` behind it for a part that has several (`ioat channel 0`);
 * the ISA bus's DMA, whatever its channel, is `isa-dma`. Terms given to a part go for each of its channels that has none of its own.
 */
import { HostError } from "../base/assert.ts";
import { type ArbiterPolicy, BusArbiter, type ShareState } from "../dma/arbiter.ts";
import type { BusShare, BusTerms, JoinBus } from "../ports/bus-share.ts";
import type { EventQueue } from "../sim/event-queue.ts";

export { ARBITER_POLICIES } from "../dma/arbiter.ts";

const USAGE = 64;
/** Who moves bytes for ISA's devices. */
export const ISA_SHARE = "isa-dma";

export type ShareTerms = Omit<BusTerms, "name">;

export type BusSpec = {
  readonly policy: ArbiterPolicy;
  /** Bytes per second. */
  readonly bandwidth: number;
  /** Of every burst, in ns. */
  readonly turnaroundNs: number;
  /** By the name of a share, or of the part that holds it. */
  readonly terms: ReadonlyMap<string, ShareTerms>;
};

export type ShareAccount = Pick<ShareState, "bytes" | "bursts" | "waited"> & {
  readonly name: string;
  readonly guaranteed: number;
};

export class ArbiterBoard {
  readonly arbiter: BusArbiter;
  readonly spec: BusSpec;
  readonly #shares: { readonly name: string; readonly guaranteed: number }[] = [];
  readonly #used = new Set<string>();
  readonly #queue: EventQueue;
  #promised = 0;

  constructor(spec: BusSpec, queue: EventQueue) {
    const { policy, bandwidth, turnaroundNs } = spec;
    this.spec = spec;
    this.#queue = queue;
    this.arbiter = new BusArbiter("bus", { queue, policy, bandwidth, turnaroundNs });
  }

  /** How `part` gets its shares. Throws {@link HostError} when more is guaranteed than there is. */
  joinOf(part: string): JoinBus {
    return (channel, done) => this.#join(part, channel === null ? part : `${part} channel ${channel}`, done);
  }

  #join(part: string, name: string, done: () => void): BusShare {
    const { terms, bandwidth } = this.spec;
    this.#used.add(part).add(name);
    const own = terms.get(name) ?? terms.get(part) ?? {};
    const { guaranteed = 0 } = own;
    this.#promised += guaranteed;
    if (this.#promised > bandwidth)
      throw new HostError(
        `--share: ${this.#promised} bytes per second are guaranteed with ${name}, the bus moves ${bandwidth}`,
        USAGE,
      );
    this.#shares.push({ name, guaranteed });
    return this.arbiter.share({ name, ...own }, done);
  }

  /** When everybody has joined: throws {@link HostError} for terms of somebody who is not there. */
  check(): void {
    for (const name of this.spec.terms.keys()) {
      if (this.#used.has(name)) continue;
      const names = this.#shares.map(share => share.name).join(", ");
      throw new HostError(`--share: nobody on this bus is called ${name}: there are ${names}`, USAGE);
    }
  }

  /** Since the last reset, in the order in which they joined. Who waits at this instant has waited until now. */
  accounts(): ShareAccount[] {
    const { shares, holder } = this.arbiter.state;
    const now = this.#queue.clock.now();
    return this.#shares.map((share, i) => {
      const { bytes, bursts, waited, pending, since } = shares[i]!;
      const waiting = pending > 0 && holder !== i ? now - since : 0;
      return { ...share, bytes, bursts, waited: waited + waiting };
    });
  }
}
