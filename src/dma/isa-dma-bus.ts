/**
 * Bus cycles of one 8237A of a PC/AT: the page register file in front of its 16 address bits, the width of its channels, and memory behind a bus master
 * (IBM PC/AT Technical Reference, system board, "DMA controllers"). On channels of 8 bits the page is A23-A16; on channels of 16 bits the chip's address is
 * A16-A1 and the page, without its bit 0, A23-A17. No carry goes from the address into the page, so a block wraps at 64 KiB or 128 KiB.
 *
 * Decision: in a memory-to-memory transfer each of the two addresses has the page of its channel (an AT, where no DACK selects a page then, is of no use
 * here). A bus that answers nothing reads all-ones; ISA has no errors to tell.
 */
import type { DmaChannel } from "../ports/dma-request.ts";
import type { MasterPort } from "../ports/pci.ts";
import type { DmaMover } from "./i8237.ts";
import { PAGE_REGISTER } from "./i8237.regs.ts";

const BLOCK = 0x10000;

export type IsaDmaBusOptions = {
  readonly master: MasterPort;
  /** All eight. */
  readonly channels: readonly DmaChannel[];
  readonly pages: Uint8Array;
  /** Number of the chip's channel 0: 0 or 4. */
  readonly first: number;
  /** Bytes that a transfer moves. */
  readonly width: 1 | 2;
};

export class IsaDmaBus implements DmaMover {
  readonly copies: boolean;
  readonly #options: IsaDmaBusOptions;
  readonly #bytes: Uint8Array;

  constructor(options: IsaDmaBusOptions) {
    this.#options = options;
    // The second chip's channel 0 is the cascade.
    this.copies = options.first === 0;
    this.#bytes = new Uint8Array(BLOCK * options.width);
  }

  /** Address on the bus of the chip's address, and so of the byte or word there. */
  place(channel: number, address: number): number {
    const { pages, first, width } = this.#options;
    const page = pages[PAGE_REGISTER[first + channel]!]!;
    return width === 1 ? page * BLOCK + address : (page & 0xfe) * BLOCK + 2 * address;
  }

  #channel(channel: number): DmaChannel {
    return this.#options.channels[this.#options.first + channel]!;
  }

  toMemory(channel: number, address: number, step: number, transfers: number): void {
    const { width, master } = this.#options;
    this.#channel(channel).read(this.#bytes, 0, transfers * width);
    for (let done = 0; done < transfers; ) {
      const at = (address + step * done) & 0xffff;
      const count = Math.min(transfers - done, runOf(at, step));
      if (step < 0) this.#reverse(done, count);
      const lowest = step < 0 ? at - (count - 1) : at;
      master.write(this.place(channel, lowest), this.#bytes, done * width, count * width);
      done += count;
    }
  }

  fromMemory(channel: number, address: number, step: number, transfers: number): void {
    const { width, master } = this.#options;
    for (let done = 0; done < transfers; ) {
      const at = (address + step * done) & 0xffff;
      const count = Math.min(transfers - done, runOf(at, step));
      const lowest = step < 0 ? at - (count - 1) : at;
      master.read(this.place(channel, lowest), this.#bytes, done * width, count * width);
      if (step < 0) this.#reverse(done, count);
      done += count;
    }
    this.#channel(channel).write(this.#bytes, 0, transfers * width);
  }

  verify(channel: number, transfers: number): void {
    this.#channel(channel).verify(transfers);
  }

  copy(from: number, fromStep: number, to: number, toStep: number, transfers: number): number {
    for (let done = 0; done < transfers; ) {
      const source = (from + fromStep * done) & 0xffff;
      const target = (to + toStep * done) & 0xffff;
      const count = Math.min(transfers - done, runOf(source, fromStep), runOf(target, toStep));
      done += this.#copyRun(source, fromStep, target, toStep, count);
    }
    return this.#bytes[0]!;
  }

  /** Copies without a wrap; leaves the last byte at 0 of the buffer. Returns how many, which is 1 where the order of bytes could be seen. */
  #copyRun(source: number, fromStep: number, target: number, toStep: number, count: number): number {
    const { master } = this.#options;
    const bytes = this.#bytes;
    const first = this.place(0, fromStep < 0 ? source - (count - 1) : source);
    const into = this.place(1, toStep < 0 ? target - (count - 1) : target);
    const read = fromStep === 0 ? 1 : count;
    const overlap = first < into + count && into < first + read;
    const length = overlap ? 1 : count;
    if (length === 1) {
      master.read(this.place(0, source), bytes, 0, 1);
      master.write(this.place(1, target), bytes, 0, 1);
      return 1;
    }
    master.read(first, bytes, 0, read);
    if (fromStep === 0) bytes.fill(bytes[0]!, 1, count);
    else if (fromStep !== toStep) this.#reverse(0, count);
    master.write(into, bytes, 0, count);
    bytes[0] = bytes[toStep < 0 ? 0 : count - 1]!;
    return count;
  }

  /** Turns the order of the bytes or words of a stretch of the buffer. */
  #reverse(start: number, count: number): void {
    const { width } = this.#options;
    const stretch = this.#bytes.subarray(start * width, (start + count) * width).reverse();
    if (width === 1) return;
    for (let i = 0; i < stretch.length; i += 2) {
      const low = stretch[i]!;
      stretch[i] = stretch[i + 1]!;
      stretch[i + 1] = low;
    }
  }
}

/** Transfers from `address` to the wrap. */
const runOf = (address: number, step: number): number =>
  step === 0 ? BLOCK : step > 0 ? BLOCK - address : address + 1;
