/**
 * The virtio entropy device: fills buffers with random bytes, of a generator that is seeded with the machine, so that runs repeat. VIRTIO 1.2, 5.4.
 *
 * Decisions. Time: a buffer takes 1 µs and 10 ns per byte. A buffer gets up to 4096 bytes. Only switching the machine on begins the sequence again.
 */
import type { Ns } from "../../base/units.ts";
import { BUS_STATUS } from "../../ports/initiator.ts";
import type { ResetKind, ResetPhase } from "../../ports/part.ts";
import type { PciSlot } from "../../pci/function.ts";
import type { EventQueue } from "../../sim/event-queue.ts";
import type { Rng, RngState } from "../../sim/rng.ts";
import type { Chain } from "./chain.ts";
import { PacedQueue } from "./paced-queue.ts";
import { VirtioFunction } from "./transport.ts";
import { VIRTIO_TYPE } from "./virtio.regs.ts";
import type { Virtqueue } from "./virtqueue.ts";

const CLASS_OTHER = 0x00ff00;
const QUEUE_SIZE = 8;
const FETCH_NS = 500;
const REQUEST_NS = 1000;
const BYTE_NS = 10;
const LIMIT = 4096;

export type VirtioRngOptions = {
  readonly events: EventQueue;
  /** A generator of its own. */
  readonly rng: Rng;
};

export class VirtioRng extends VirtioFunction<{ rng: RngState }> {
  readonly #rng: Rng;
  readonly #start: RngState;
  readonly #paced: PacedQueue;
  readonly #bytes = new Uint8Array(LIMIT);

  constructor(slot: PciSlot, { events, rng }: VirtioRngOptions) {
    const own = { rng: rng.state };
    super(slot, { type: VIRTIO_TYPE.entropy, classCode: CLASS_OTHER, features: [], queues: [QUEUE_SIZE], own });
    this.#rng = rng;
    this.#start = { ...rng.state };
    const serve = (chain: Chain, queue: Virtqueue): Ns => this.#serve(chain, queue);
    const name = `${slot.name} requests`;
    this.#paced = new PacedQueue(this.queues[0]!, { events, name, fetchNs: FETCH_NS, batch: 1, serve });
  }

  override reset(phase: ResetPhase, kind: ResetKind = "power"): void {
    super.reset(phase, kind);
    if (phase === "enter" && kind === "power") Object.assign(this.own.rng, this.#start);
  }

  protected override queueNotified(): void {
    this.#paced.notified();
  }

  protected override queueReset(): void {
    this.#paced.cancel();
  }

  protected override deviceReset(): void {
    this.#paced.cancel();
  }

  /** 5.4.6.1: "MUST place one or more random bytes into the buffer". */
  #serve(chain: Chain, queue: Virtqueue): Ns {
    if (chain.readable > 0 || chain.writable === 0) {
      this.needReset("a buffer that is not to be written");
      return 0;
    }
    const length = Math.min(chain.writable, LIMIT);
    for (let i = 0; i < length; i += 4) {
      const word = this.#rng.u32();
      for (let byte = 0; byte < 4; byte++) this.#bytes[i + byte] = word >>> (8 * byte);
    }
    const status = chain.write(0, this.#bytes, 0, length);
    queue.push(chain, status === BUS_STATUS.ok ? length : 0, status);
    return REQUEST_NS + length * BYTE_NS;
  }
}
