/**
 * Driver of one channel of an Intel I/OAT engine: a ring of descriptors, completion write-back, an MSI-X vector, errors. Documents: devices/ioat.regs.ts.
 *
 * The ring and the word that the engine writes are coherent memory. Of a request only the last descriptor asks for completion and interrupt, so it costs
 * one doorbell, one interrupt and one write that lets the next one through. An error halts the engine: the driver reads and clears it, resets the channel
 * and begins a new chain.
 */
import {
  IOAT,
  IOAT_CHANNEL,
  IOAT_CHANNEL_BYTES,
  IOAT_COMMAND,
  IOAT_CONTROL,
  IOAT_DESCRIPTOR,
  IOAT_DESCRIPTOR_BYTES,
  IOAT_DESCRIPTOR_CONTROL,
  IOAT_DEVICE,
  IOAT_INTERRUPT,
  IOAT_STATUS,
  IOAT_VENDOR,
} from "../../devices/ioat.regs.ts";
import { load8, load32, store8, store16, store32, store64, type Task } from "../../ports/task.ts";
import {
  type ChannelStatus,
  DmaChannel,
  type DmaController,
  type DmaDescriptor,
  TRANSFER_MODE,
} from "../dma/channel.ts";
import { DIRECTION, readBarrier, writeBarrier } from "../dma/coherence.ts";
import { type BusSegment, type CoherentBuffer, type DmaDevice, type Segment, throwOnError } from "../dma/device.ts";
import { DmaError, demand } from "../dma/errors.ts";
import { Completion } from "../dma/wait.ts";
import { msixSource } from "../irq.ts";
import type { Kernel } from "../kernel.ts";
import { directComposer, type MessageComposer } from "../message.ts";
import type { PciFunction } from "../pci.ts";

const WORD = 2 ** 32;
const STATUS_MASK = 7;
const RING = 64;
const CONTROL = IOAT_CONTROL.errorCompletion.mask | IOAT_CONTROL.errorInterrupt.mask | IOAT_CONTROL.abortOnError.mask;

export type IoatDriverOptions = {
  /** Descriptors of the ring; 64 when absent. */
  readonly ring?: number;
  readonly cpu?: number;
  readonly composer?: MessageComposer;
};

/** A copy from the `from` list to the `to` list as steps that each have one source and one destination. Throws EINVAL when the lengths differ. */
export function pairSegments(from: readonly BusSegment[], to: readonly BusSegment[], most: number): DmaDescriptor[] {
  const sum = (list: readonly BusSegment[]): number => list.reduce((all, { bytes }) => all + bytes, 0);
  demand(sum(from) === sum(to), `${sum(from)} bytes into ${sum(to)}`);
  const steps: DmaDescriptor[] = [];
  let [i, j, inFrom, inTo] = [0, 0, 0, 0];
  while (i < from.length && j < to.length) {
    const bytes = Math.min(from[i]!.bytes - inFrom, to[j]!.bytes - inTo, most);
    steps.push({ source: from[i]!.bus + inFrom, destination: to[j]!.bus + inTo, bytes });
    inFrom += bytes;
    inTo += bytes;
    if (inFrom === from[i]!.bytes) [i, inFrom] = [i + 1, 0];
    if (inTo === to[j]!.bytes) [j, inTo] = [j + 1, 0];
  }
  return steps;
}

export class IoatDriver implements DmaController {
  readonly modes = [TRANSFER_MODE.scatterGather];
  readonly channel = new DmaChannel(0, this);
  interrupts = 0;
  readonly #fn: PciFunction;
  readonly #dma: DmaDevice;
  readonly #options: IoatDriverOptions;
  readonly #size: number;
  #end: Completion | null = null;
  #registers = 0;
  #capacity = 0;
  #ring: CoherentBuffer | null = null;
  #completion: CoherentBuffer | null = null;
  /** Slot of the next descriptor, first and last slot of the present request, and what was counted out, modulo 2^16. */
  #next = 0;
  #first = 0;
  #last = 0;
  #counted = 0;

  constructor(fn: PciFunction, dma: DmaDevice, options: IoatDriverOptions = {}) {
    this.#fn = fn;
    this.#dma = dma;
    this.#options = options;
    this.#size = options.ring ?? RING;
    demand(this.#size >= 2, `a ring of ${this.#size} descriptors`);
  }

  /** Throws EIO when there is no such engine, ENOMEM. */
  *begin(kernel: Kernel): Task {
    if ((yield* this.#fn.identity()) !== IOAT_DEVICE * 65536 + IOAT_VENDOR)
      throw new DmaError("EIO", "there is no I/OAT engine");
    this.#end = new Completion(kernel);
    yield* this.#fn.enable();
    const base = yield* this.#fn.memoryBar(0);
    this.#registers = base + IOAT_CHANNEL_BYTES;
    this.#capacity = 2 ** (yield* load8(base + IOAT.transferCapacity));
    this.#ring = yield* this.#dma.allocateCoherent(this.#size * IOAT_DESCRIPTOR_BYTES);
    this.#completion = yield* this.#dma.allocateCoherent(8);
    for (let slot = 0; slot < this.#size; slot++)
      yield* store64(this.#slot(slot).address + IOAT_DESCRIPTOR.next, this.#slot(slot + 1).bus);
    const { cpu = 0, composer = directComposer } = this.#options;
    const table = yield* this.#fn.enableMsix();
    const source = msixSource(table, this.#fn.bdf, 0, composer);
    yield* kernel.irqs.request(source, { name: "ioat", handler: () => this.#handle(), cpu });
    yield* this.#newChain();
    yield* store8(base + IOAT.interruptControl, IOAT_INTERRUPT.enable.mask | IOAT_INTERRUPT.vectorPerChannel.mask);
  }

  #slot(number: number): { address: number; bus: number } {
    const offset = (number % this.#size) * IOAT_DESCRIPTOR_BYTES;
    return { address: this.#ring!.address + offset, bus: this.#ring!.bus + offset };
  }

  /** Resets the channel and tells it where ring and completion word are. */
  *#newChain(): Task {
    const at = this.#registers;
    yield* store8(at + IOAT_CHANNEL.command, IOAT_COMMAND.reset.mask);
    const { address, bus } = this.#completion!;
    yield* store64(address, 0);
    yield* store32(at + IOAT_CHANNEL.completionLow, bus % WORD);
    yield* store32(at + IOAT_CHANNEL.completionHigh, Math.floor(bus / WORD));
    yield* store32(at + IOAT_CHANNEL.chainLow, this.#ring!.bus % WORD);
    yield* store32(at + IOAT_CHANNEL.chainHigh, Math.floor(this.#ring!.bus / WORD));
    yield* store16(at + IOAT_CHANNEL.control, CONTROL | IOAT_CONTROL.interruptDisable.mask);
    this.#next = this.#counted = 0;
  }

  // --- a controller -----------------------------------------------------------------------------------------------------------------------------

  /** Throws EINVAL for more descriptors than the ring has room for, or one that is longer than the engine can. */
  *program({ descriptors }: DmaChannel): Task {
    demand(descriptors.length < this.#size, `${descriptors.length} descriptors in a ring of ${this.#size}`);
    this.#first = this.#next;
    for (const [i, { source, destination, bytes }] of descriptors.entries()) {
      demand(bytes <= this.#capacity, `${bytes} bytes in one descriptor`);
      const { address } = this.#slot(this.#first + i);
      const { interrupt, completion } = IOAT_DESCRIPTOR_CONTROL;
      yield* store32(address + IOAT_DESCRIPTOR.size, bytes);
      yield* store32(
        address + IOAT_DESCRIPTOR.control,
        i === descriptors.length - 1 ? interrupt.mask | completion.mask : 0,
      );
      yield* store64(address + IOAT_DESCRIPTOR.source, source);
      yield* store64(address + IOAT_DESCRIPTOR.destination, destination);
    }
  }

  /** The doorbell: how many descriptors there are. */
  *start({ descriptors }: DmaChannel): Task {
    this.#last = (this.#first + descriptors.length - 1) % this.#size;
    this.#next = (this.#last + 1) % this.#size;
    this.#counted = (this.#counted + descriptors.length) & 0xffff;
    yield* writeBarrier();
    yield* store16(this.#registers + IOAT_CHANNEL.count, this.#counted);
  }

  *stop(): Task {
    yield* store8(this.#registers + IOAT_CHANNEL.command, IOAT_COMMAND.abort.mask);
    yield* this.#newChain();
  }

  /** The completion word tells all; registers are read only after an error. */
  *status({ descriptors, bytes }: DmaChannel): Task<ChannelStatus> {
    const at = this.#registers;
    const word = yield* load32(this.#completion!.address);
    yield* readBarrier();
    if ((word & STATUS_MASK) === IOAT_STATUS.halted) {
      const error = yield* load32(at + IOAT_CHANNEL.error);
      const done = this.#doneOf(word, descriptors);
      yield* store32(at + IOAT_CHANNEL.error, error);
      yield* this.#newChain();
      return { mine: true, complete: false, error, transferred: done };
    }
    // Lets the next interrupt through; one that came meanwhile was kept.
    yield* store16(at + IOAT_CHANNEL.control, CONTROL | IOAT_CONTROL.interruptDisable.mask);
    const complete = this.#slotOf(word) === this.#last;
    return { mine: true, complete, error: 0, transferred: complete ? bytes : this.#doneOf(word, descriptors) };
  }

  /** Slot of the descriptor that a completion word names, −1 before there was one. */
  #slotOf(word: number): number {
    const address = (word & ~(IOAT_DESCRIPTOR_BYTES - 1)) >>> 0;
    return address === 0 ? -1 : (address - (this.#ring!.bus % WORD)) / IOAT_DESCRIPTOR_BYTES;
  }

  /** Bytes of the present request that are done. */
  #doneOf(word: number, descriptors: readonly DmaDescriptor[]): number {
    const slot = this.#slotOf(word);
    const steps = slot < 0 ? 0 : (slot - this.#first + 1 + this.#size) % this.#size;
    return steps > descriptors.length ? 0 : descriptors.slice(0, steps).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  *#handle(): Task<boolean> {
    this.interrupts++;
    return yield* this.channel.handleInterrupt();
  }

  // --- copies -----------------------------------------------------------------------------------------------------------------------------------

  /** Copies one list of buffers into another and waits for it. Throws EINVAL, EBUSY, ENOMEM, EIO. */
  *copy(from: readonly Segment[], to: readonly Segment[]): Task {
    const dma = this.#dma;
    const source = yield* dma.mapSg(from, DIRECTION.toDevice);
    try {
      const target = yield* dma.mapSg(to, DIRECTION.fromDevice);
      try {
        yield* this.#run(pairSegments(source.segments, target.segments, this.#capacity), [
          ...source.regions,
          ...target.regions,
        ]);
      } finally {
        yield* dma.unmapSg(target);
      }
    } finally {
      yield* dma.unmapSg(source);
    }
  }

  *#run(steps: readonly DmaDescriptor[], regions: DmaChannel["regions"]): Task {
    const end = this.#end!;
    end.begin();
    const onCompletion = (_: DmaChannel, result: number): Task => end.complete(result);
    yield* this.channel.configureScatterGatherDma(steps, { regions, onCompletion });
    yield* this.channel.startDmaTransfer();
    throwOnError(yield* end.wait(), `copy: CHANERR ${this.channel.errorFlags.toString(16)}`);
  }
}
