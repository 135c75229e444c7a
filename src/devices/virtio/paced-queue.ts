/**
 * Serves a queue in order and in virtual time, one chain after the other. Some time after the doorbell the device fetches what is there, up to `batch` chains,
 * and works on it; each goes back to the driver when its own time is over, those of the same instant together, with one interrupt at most. Then the device looks
 * at the ring again, so that up to `batch` are always under way. On a modelled bus a chain goes back when its bytes have had their time on the bus, too.
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
  /** Chains that are under way at a time. */
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
    this.#share = options.join?.(() => this.#giveBack(queue.state.onBus)) ?? null;
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
    const count = this.#over();
    const bytes = this.#share === null ? 0 : this.#queue.bytesOf(count);
    if (bytes === 0) {
      this.#giveBack(count);
      return;
    }
    this.#queue.state.onBus = count;
    this.#share!.request(bytes);
  }

  #giveBack(count: number): void {
    if (!this.#queue.live) return;
    this.#queue.complete(count);
    this.#fetch();
    this.#expect();
  }

  /** The device begins with a chain when it has done with the one before it. */
  #fetch(): void {
    const queue = this.#queue;
    const { batch, serve, events } = this.#options;
    const { state } = queue;
    const mask = state.size - 1;
    const now = events.clock.now();
    let end = queue.unpublished > 0 ? Math.max(now, state.due[(state.pushed - 1) & mask]!) : now;
    while (queue.unpublished < batch) {
      const chain = queue.take();
      if (chain === null) return;
      const slot = state.pushed & mask;
      end += serve(chain, queue);
      state.due[slot] = end;
    }
  }

  /** Waits for the next chain to be over. */
  #expect(): void {
    if (this.#queue.unpublished === 0) return;
    const { due, published, size } = this.#queue.state;
    this.#alarm.armAt(Math.max(due[published & (size - 1)]!, this.#options.events.clock.now()));
  }

  /** Chains whose time is over. */
  #over(): number {
    const { due, published, size } = this.#queue.state;
    const { unpublished } = this.#queue;
    const now = this.#options.events.clock.now();
    let count = 0;
    while (count < unpublished && due[(published + count) & (size - 1)]! <= now) count++;
    return count;
  }
}
