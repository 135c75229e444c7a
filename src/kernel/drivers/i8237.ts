/**
 * Driver of the two 8237A of a PC/AT: channels 0 to 3 move bytes, 5 to 7 words, 4 is the cascade. Intel 8237A datasheet; IBM PC/AT Technical Reference,
 * "DMA controllers". The controller has no interrupt: the device on the channel has one, and its driver asks here what was moved.
 *
 * Reading a status register clears the terminal counts of all its channels, and the byte pointer is one for all of them: both are kept under a lock, and
 * what a read tells of other channels is remembered for them.
 */
import { DMA_BIT, DMA_MODE, DMA_REG, DMA_STATUS, PAGE_REGISTER, SERVICE, TRANSFER } from "../../dma/i8237.regs.ts";
import { in8, out8, type Task } from "../../ports/task.ts";
import { type ChannelStatus, type DmaChannel, type DmaController, TRANSFER_MODE } from "../dma/channel.ts";
import { DIRECTION } from "../dma/coherence.ts";
import { demand } from "../dma/errors.ts";
import type { Kernel } from "../kernel.ts";
import { SpinLock } from "../spin-lock.ts";

const LOW = 0x00;
const HIGH = 0xc0;
const PAGES = 0x80;
const CASCADE = 4;
/** Longest block in transfers. */
const COUNT = 0x10000;
const ISA_LIMIT = 2 ** 24;
const SERVICE_OF = { [TRANSFER_MODE.single]: SERVICE.single, [TRANSFER_MODE.block]: SERVICE.block } as const;

export class I8237Driver implements DmaController {
  readonly modes = [TRANSFER_MODE.single, TRANSFER_MODE.block, TRANSFER_MODE.cascade];
  readonly #lock: SpinLock;
  /** Terminal counts that a read of the status register has cleared there, a bit per channel. */
  #terminal = 0;

  constructor(kernel: Kernel) {
    this.#lock = new SpinLock(kernel.arena.take(4, 64));
  }

  /** Address of a register of the chip that channel `number` is on. */
  #port(number: number, register: number): number {
    return number < CASCADE ? LOW + register : HIGH + 2 * register;
  }

  *#write(number: number, register: number, value: number): Task {
    yield* out8(this.#port(number, register), value);
  }

  /** Bytes of a transfer. */
  static width(number: number): 1 | 2 {
    return number < CASCADE ? 1 : 2;
  }

  /** Masks the channel and loads mode, address, page and count. Throws EINVAL for what 24 bits, the page or the count cannot hold. */
  *program(channel: DmaChannel): Task {
    const { number, mode } = channel;
    demand(number >= 0 && number <= 7, `there is no channel ${number}`);
    demand(number !== CASCADE || mode === TRANSFER_MODE.cascade, "channel 4 is the cascade of the first controller");
    const flags = yield* this.#lock.acquire();
    try {
      yield* this.#write(number, DMA_REG.singleMask, DMA_BIT.set.put(number & 3, 1));
      this.#terminal &= ~(1 << number);
      if (mode === TRANSFER_MODE.cascade)
        yield* this.#write(number, DMA_REG.mode, DMA_MODE.mode.put(number & 3, SERVICE.cascade));
      else yield* this.#programBlock(channel, mode === TRANSFER_MODE.block ? SERVICE_OF[1] : SERVICE_OF[0]);
    } finally {
      yield* this.#lock.release(flags);
    }
  }

  *#programBlock({ number, direction, descriptors }: DmaChannel, service: number): Task {
    const width = I8237Driver.width(number);
    const { source, destination, bytes } = descriptors[0]!;
    const toDevice = direction === DIRECTION.toDevice;
    const address = toDevice ? source : destination;
    const block = COUNT * width;
    demand(address >= 0 && address + bytes <= ISA_LIMIT, `address ${address.toString(16)} is beyond 24 bits`);
    demand(address % width === 0 && bytes % width === 0, "a channel of 16 bits moves words");
    demand(
      (address % block) + bytes <= block,
      `${bytes} bytes at ${address.toString(16)} cross a page of the controller`,
    );
    // Seen from memory: a "write" transfer writes memory.
    const mode = DMA_MODE.transfer.put(number & 3, toDevice ? TRANSFER.read : TRANSFER.write);
    yield* this.#write(number, DMA_REG.mode, DMA_MODE.mode.put(mode, service));
    const place = width === 1 ? address & 0xffff : (address >> 1) & 0xffff;
    yield* this.#writePair(number, 2 * (number & 3), place);
    yield* out8(PAGES + PAGE_REGISTER[number]!, width === 1 ? address >> 16 : (address >> 16) & 0xfe);
    yield* this.#writePair(number, 2 * (number & 3) + 1, bytes / width - 1);
  }

  *#writePair(number: number, register: number, value: number): Task {
    yield* this.#write(number, DMA_REG.clearFlipFlop, 0);
    yield* this.#write(number, register, value & 0xff);
    yield* this.#write(number, register, value >> 8);
  }

  /** Unmasks the channel: its device's requests are heard. */
  *start({ number }: DmaChannel): Task {
    yield* this.#write(number, DMA_REG.singleMask, number & 3);
  }

  *stop({ number }: DmaChannel): Task {
    yield* this.#write(number, DMA_REG.singleMask, DMA_BIT.set.put(number & 3, 1));
  }

  /** A request by software, which only block mode carries to its end (datasheet, "Request register"). */
  *request({ number }: DmaChannel): Task {
    yield* this.#write(number, DMA_REG.request, DMA_BIT.set.put(number & 3, 1));
  }

  /** Complete at the terminal count. */
  *status(channel: DmaChannel): Task<ChannelStatus> {
    const { number, bytes } = channel;
    const flags = yield* this.#lock.acquire();
    const first = number & CASCADE;
    const seen = DMA_STATUS.terminalCount.of(yield* in8(this.#port(number, DMA_REG.status)));
    this.#terminal |= seen << first;
    const complete = ((this.#terminal >> number) & 1) !== 0;
    yield* this.#write(number, DMA_REG.clearFlipFlop, 0);
    const at = this.#port(number, 2 * (number & 3) + 1);
    const low = yield* in8(at);
    const left = (((low | ((yield* in8(at)) << 8)) + 1) & 0xffff) * I8237Driver.width(number);
    yield* this.#lock.release(flags);
    return { mine: true, complete, error: 0, transferred: complete ? bytes : bytes - left };
  }
}
