/**
 * Serves a queue in order and in virtual time: some time after the doorbell the device fetches what is there, and after the time that the work takes the
 * driver gets it back, with one interrupt at most for all of it; then the device looks at the ring again. On a modelled bus the driver gets it back when
 * its bytes have had their time on the bus, too.
 */
import type { Ns } from "../../base/units.ts";
import type { BusShare } from "../../ports/bus-share.ts";
import type { Alarm, EventQueue } from "../../sim/event-queue.ts";
import type { Chain } from "./chain.ts";
import type { Virtqueue } from "./virtqueue.ts";

export type PacedOptions = {
  readonly events: EventQueue;
  /** Unique in the machine. */
  readonly name: string;
  /** From the doorbell to the first look at the ring. */
  readonly fetchNs: Ns;
  /** Chains that are taken before the first of them is given back. */
  readonly batch: number;
  /** Does what a chain asks for and pushes it. Returns how long that takes. */
  readonly serve: (chain: Chain, queue: Virtqueue) => Ns;
  /** Gives a share of the modelled bus, which tells `done`; null where there is none. Left out: the device does not ask for the bus. */
  readonly join?: (done: () => void) => BusShare | null;
};

export class PacedQueue {
  readonly #queue: Virtqueue;
  readonly #options: PacedOptions;
  readonly #alarm: Alarm;
  readonly #share: BusShare | null;

  constructor(queue: Virtqueue, options: PacedOptions) {
    this.#queue = queue;
    this.#options = options;
    this.#alarm = options.events.alarm(options.name, () => this.#timeOver());
    this.#share = options.join?.(() => this.#work()) ?? null;
  }

  /** The doorbell was rung. */
  notified(): void {
    const onBus = this.#share !== null && this.#share.pending > 0;
    if (!this.#alarm.armed && !onBus) this.#alarm.armIn(this.#options.fetchNs);
  }

  /** The queue or the device is reset. */
  cancel(): void {
    this.#alarm.cancel();
    this.#share?.cancel();
  }

  #timeOver(): void {
    const bytes = this.#share === null ? 0 : this.#queue.unpublishedBytes;
    if (bytes > 0) this.#share!.request(bytes);
    else this.#work();
  }

  #work(): void {
    const queue = this.#queue;
    const { batch, serve } = this.#options;
    queue.complete();
    let time = 0;
    let taken = 0;
    for (; taken < batch; taken++) {
      const chain = queue.take();
      if (chain === null) break;
      time += serve(chain, queue);
    }
    if (taken > 0) this.#alarm.armIn(time);
  }
}
