/**
 * A channel of a DMA controller: the document's `dma_channel_t`, `configure_scatter_gather_dma`, `start_dma_transfer` and
 * `dma_completion_interrupt_handler`. What the document writes to registers of its own making is a {@link DmaController}'s: the 8237A, an I/OAT engine, an
 * IDE bus master.
 *
 * A transfer is configured, synchronized for the device, started; its interrupt leads to {@link DmaChannel.handleInterrupt}, which calls back with 0 or
 * −EIO. What was configured stays as it was: addresses that count up while hardware runs are no base for cache operations afterwards.
 */
import type { Task } from "../../ports/task.ts";
import type { Direction, DmaRegion, Synchronized } from "./coherence.ts";
import type { BusSegment } from "./device.ts";
import { DmaError, demand, ERRNO } from "./errors.ts";

/** The document's `dma_mode_t`. */
export const TRANSFER_MODE = { single: 0, block: 1, cascade: 2, scatterGather: 3 } as const;
export type TransferMode = (typeof TRANSFER_MODE)[keyof typeof TRANSFER_MODE];

/** One step of a scatter-gather transfer, with addresses on the bus. Of a device that has one side only, the other is −1. */
export type DmaDescriptor = { readonly source: number; readonly destination: number; readonly bytes: number };

/** What a controller says about a channel when it is asked. */
export type ChannelStatus = {
  /** It has something to say about this channel at all: false when another device has pulled a shared line. */
  readonly mine: boolean;
  readonly complete: boolean;
  /** Of the hardware's own making; 0 for none. */
  readonly error: number;
  /** Bytes since the start. */
  readonly transferred: number;
};

/** The registers behind a channel. */
export interface DmaController {
  readonly modes: readonly TransferMode[];
  /** All but the start. Throws EINVAL for what the hardware cannot do. */
  program(channel: DmaChannel): Task;
  start(channel: DmaChannel): Task;
  stop(channel: DmaChannel): Task;
  /** Reads the status and acknowledges what it has read, and only that. */
  status(channel: DmaChannel): Task<ChannelStatus>;
}

/** @param status 0, or −EIO */
export type CompletionCallback = (channel: DmaChannel, status: number) => Task | undefined;

/** What a transfer is about. */
export type TransferSetup = {
  readonly regions: readonly DmaRegion[];
  readonly onCompletion?: CompletionCallback;
};

export class DmaChannel implements Synchronized {
  readonly number: number;
  readonly controller: DmaController;
  mode: TransferMode = TRANSFER_MODE.single;
  direction: Direction = 0;
  active = false;
  /** The transfer: one piece in the modes of old controllers, a list otherwise. */
  descriptors: readonly DmaDescriptor[] = [];
  regions: readonly DmaRegion[] = [];
  bytesTransferred = 0;
  /** Of the last transfer, as the hardware says them. */
  errorFlags = 0;
  #configured = false;
  #onCompletion: CompletionCallback | null = null;

  constructor(number: number, controller: DmaController) {
    this.number = number;
    this.controller = controller;
  }

  /** Bytes of the transfer. */
  get bytes(): number {
    return this.descriptors.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  get remainingCount(): number {
    return this.bytes - this.bytesTransferred;
  }

  /** One piece, in single or block mode. Throws EBUSY, EINVAL. */
  *configure(mode: TransferMode, direction: Direction, { bus, bytes }: BusSegment, setup: TransferSetup): Task {
    demand(mode !== TRANSFER_MODE.scatterGather, "a list is configured by configureScatterGatherDma");
    const piece = direction === 0 ? { source: bus, destination: -1, bytes } : { source: -1, destination: bus, bytes };
    yield* this.#configure(mode, direction, [piece], setup);
  }

  /** Cascade mode: the device on this channel is the bus master itself. */
  *configureCascade(): Task {
    yield* this.#configure(TRANSFER_MODE.cascade, 0, [], { regions: [] });
  }

  /** The document's `configure_scatter_gather_dma`. Throws EBUSY while the channel is active, EINVAL for an empty list or a controller without lists. */
  *configureScatterGatherDma(
    descriptors: readonly DmaDescriptor[],
    setup: TransferSetup,
    direction: Direction = 0,
  ): Task {
    demand(descriptors.length > 0, "a transfer without a descriptor");
    yield* this.#configure(TRANSFER_MODE.scatterGather, direction, descriptors, setup);
  }

  *#configure(
    mode: TransferMode,
    direction: Direction,
    descriptors: readonly DmaDescriptor[],
    { regions, onCompletion }: TransferSetup,
  ): Task {
    if (this.active) throw new DmaError("EBUSY", `channel ${this.number} is active`);
    demand(this.controller.modes.includes(mode), `the controller of channel ${this.number} has no such mode`);
    demand(
      descriptors.every(({ bytes }) => Number.isInteger(bytes) && bytes > 0),
      "a descriptor without bytes",
    );
    this.#configured = false;
    Object.assign(this, { mode, direction, descriptors, regions, bytesTransferred: 0, errorFlags: 0 });
    this.#onCompletion = onCompletion ?? null;
    yield* this.controller.program(this);
    this.#configured = true;
  }

  /** The document's `start_dma_transfer`. Throws EBUSY while it is active, EINVAL when nothing was configured since. */
  *startDmaTransfer(): Task {
    if (this.active) throw new DmaError("EBUSY", `channel ${this.number} is active`);
    demand(this.#configured, `channel ${this.number} has no transfer to start`);
    this.#configured = false;
    // Before the register: the interrupt may come in the next nanosecond.
    this.active = true;
    yield* this.controller.start(this);
  }

  /** Takes the transfer away from the hardware; nobody is called back. */
  *stop(): Task {
    yield* this.controller.stop(this);
    this.active = false;
  }

  /** The document's `dma_completion_interrupt_handler`. False: the interrupt was not this channel's. */
  *handleInterrupt(): Task<boolean> {
    const { mine, complete, error, transferred } = yield* this.controller.status(this);
    if (!mine) return false;
    if (!this.active) return true;
    this.bytesTransferred = transferred;
    if (error !== 0) {
      this.errorFlags = error;
      this.active = false;
      yield* this.#callBack(-ERRNO.EIO);
    } else if (complete) {
      this.active = false;
      yield* this.#callBack(0);
    }
    return true;
  }

  *#callBack(status: number): Task {
    const task = this.#onCompletion?.(this, status);
    if (task !== undefined) yield* task;
  }
}
