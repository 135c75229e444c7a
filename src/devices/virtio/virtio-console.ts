/**
 * The virtio console: one port (hvc0), characters both ways, emergency write. VIRTIO 1.2, 5.3.
 *
 * Decisions. Time: a buffer takes 1 µs and 10 ns per character; what was typed reaches the driver after 1 µs, if it has given a buffer. Typed characters
 * that nobody takes wait without bound. A reset of the function forgets them. Not modelled: further ports and their control queues, the size of the screen.
 */
import type { CauseId, Ns } from "../../base/units.ts";
import { BUS_STATUS } from "../../ports/initiator.ts";
import type { PciSlot } from "../../pci/function.ts";
import type { Alarm, EventQueue } from "../../sim/event-queue.ts";
import type { Chain } from "./chain.ts";
import { PacedQueue } from "./paced-queue.ts";
import { VirtioFunction } from "./transport.ts";
import { VIRTIO_TYPE } from "./virtio.regs.ts";
import { CONSOLE_CONFIG, CONSOLE_CONFIG_BYTES, CONSOLE_F, CONSOLE_QUEUE } from "./virtio-console.regs.ts";
import type { Virtqueue } from "./virtqueue.ts";

const CLASS_COMMUNICATION = 0x078000;
const QUEUE_SIZE = 64;
const BATCH = 8;
const FETCH_NS = 500;
const REQUEST_NS = 1000;
const BYTE_NS = 10;
/** Characters that move in one piece. */
const PIECE = 4096;

export type VirtioConsoleOptions = {
  readonly events: EventQueue;
  /** A character left the port. */
  readonly onOutput: (byte: number) => void;
};

export class VirtioConsole extends VirtioFunction<{ input: number[] }> {
  readonly #onOutput: (byte: number) => void;
  readonly #transmit: PacedQueue;
  readonly #receive: Alarm;
  readonly #bytes = new Uint8Array(PIECE);
  /** Observation only. */
  #inputCause: CauseId = 0;

  constructor(slot: PciSlot, { events, onOutput }: VirtioConsoleOptions) {
    super(slot, {
      type: VIRTIO_TYPE.console,
      classCode: CLASS_COMMUNICATION,
      features: [CONSOLE_F.emergencyWrite],
      queues: [QUEUE_SIZE, QUEUE_SIZE],
      config: new Uint8Array(CONSOLE_CONFIG_BYTES),
      own: { input: [] },
    });
    this.#onOutput = onOutput;
    const serve = (chain: Chain, queue: Virtqueue): Ns => this.#send(chain, queue);
    const name = `${slot.name} transmit`;
    const queue = this.queues[CONSOLE_QUEUE.transmit]!;
    this.#transmit = new PacedQueue(queue, { events, name, fetchNs: FETCH_NS, batch: BATCH, serve });
    this.#receive = events.alarm(`${slot.name} receive`, () => this.#deliver());
  }

  /** Characters typed at the other end, now. */
  receive(bytes: Iterable<number>, cause: CauseId = 0): void {
    for (const byte of bytes) this.own.input.push(byte & 0xff);
    this.#inputCause = cause;
    this.#expect();
  }

  protected override queueNotified(queue: Virtqueue): void {
    if (queue.index === CONSOLE_QUEUE.transmit) this.#transmit.notified();
    else this.#expect();
  }

  protected override driverReady(): void {
    this.#expect();
  }

  protected override queueReset(queue: Virtqueue): void {
    if (queue.index === CONSOLE_QUEUE.transmit) this.#transmit.cancel();
    else this.#receive.cancel();
  }

  protected override deviceReset(): void {
    this.own.input.length = 0;
    this.#transmit.cancel();
    this.#receive.cancel();
  }

  /** "a single character" in the low byte, also before the driver is ready (5.3.4, 5.3.6). */
  protected override configWrittenByDriver(offset: number, _width: number, value: number): void {
    if (offset === CONSOLE_CONFIG.emergencyWrite) this.#onOutput(value & 0xff);
  }

  #send(chain: Chain, queue: Virtqueue): Ns {
    const bytes = this.#bytes;
    let error: number = BUS_STATUS.ok;
    for (let done = 0; done < chain.readable && error === BUS_STATUS.ok; ) {
      const part = Math.min(PIECE, chain.readable - done);
      error = chain.read(done, bytes, 0, part);
      if (error === BUS_STATUS.ok) for (let i = 0; i < part; i++) this.#onOutput(bytes[i]!);
      done += part;
    }
    queue.push(chain, 0, error);
    return REQUEST_NS + chain.readable * BYTE_NS;
  }

  #expect(): void {
    if (this.own.input.length > 0 && this.live && !this.#receive.armed) this.#receive.armIn(REQUEST_NS);
  }

  /** As many buffers as there are, or as are needed. */
  #deliver(): void {
    const { input } = this.own;
    const queue = this.queues[CONSOLE_QUEUE.receive]!;
    let sent = 0;
    while (sent < input.length) {
      const chain = queue.take();
      if (chain === null) break;
      if (this.#inputCause !== 0) chain.cause = this.#inputCause;
      const length = Math.min(chain.writable, input.length - sent, PIECE);
      for (let i = 0; i < length; i++) this.#bytes[i] = input[sent + i]!;
      const status = chain.write(0, this.#bytes, 0, length);
      queue.push(chain, status === BUS_STATUS.ok ? length : 0, status);
      if (status === BUS_STATUS.ok) sent += length;
    }
    input.splice(0, sent);
    queue.complete();
  }
}
