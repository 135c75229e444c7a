/**
 * One channel of an I/OAT engine: follows a chain of descriptors as far as software has counted it out; what they say is done in
 * ioat-operations.ts. Documents: see ioat.regs.ts.
 *
 * Work is done in batches of up to eight descriptors: their contents are fetched when a batch begins, its time is that of its descriptors together, and at its
 * end they are carried out in order. So what a descriptor says is what memory held when its batch began, and interrupts of a batch come at its end.
 *
 * Decisions. A descriptor costs 100 ns and its bytes the pace of 8 GB/s. Writing the chain address starts counting anew. A channel with an error that is not
 * masked stays halted until software has cleared it; from then on the descriptor that failed counts as done, as drivers that go on behind it expect. While the interrupt is disabled (that is, until software re-arms) one more is kept pending. An access
 * that ends in a master abort or in the IOMMU is a data error, an address beyond 52 bits an address error. On a modelled bus a batch takes the 100 ns of its
 * descriptors and then its time on the bus, for the descriptors and for each byte that is read and each that is written.
 */
import type { CauseId } from "../base/units.ts";
import type { BusShare } from "../ports/bus-share.ts";
import { EVENT } from "../ports/events.ts";
import { BUS_STATUS } from "../ports/initiator.ts";
import type { Alarm } from "../sim/event-queue.ts";
import {
  IOAT_CHANNEL,
  IOAT_COMMAND,
  IOAT_CONTROL,
  IOAT_DESCRIPTOR_BYTES,
  IOAT_DESCRIPTOR_CONTROL,
  IOAT_ERROR,
  IOAT_STATUS,
} from "./ioat.regs.ts";
import {
  hasExtension,
  IOAT_ADDRESS_LIMIT,
  type IoatMemory,
  IoatOperations,
  isNull,
  sourcesOf,
  transfersOf,
} from "./ioat-operations.ts";

/** What a channel needs of its function. */
export interface IoatHost extends IoatMemory {
  /** The channel has an interrupt. */
  raise(channel: number, cause: CauseId): void;
  tell(kind: number, a: number, b: number, c: number, cause: CauseId): CauseId;
}

const BATCH = 8;
const DESCRIPTOR_NS = 100;
const BYTES_PER_NS = 8;
const WORD = 2 ** 32;
const COUNT_MASK = 0xffff;
const CONTROL_WRITABLE =
  IOAT_CONTROL.errorCompletion.mask |
  IOAT_CONTROL.abortOnError.mask |
  IOAT_CONTROL.errorInterrupt.mask |
  IOAT_CONTROL.snoop.mask |
  IOAT_CONTROL.inUse.mask |
  IOAT_CONTROL.completionDca.mask |
  IOAT_CONTROL.priority.mask;

export type IoatChannelState = {
  control: number;
  /** Descriptors that software has counted out, and how many of them were fetched, modulo 2^16. */
  count: number;
  fetched: number;
  /** One of {@link IOAT_STATUS}. */
  status: number;
  chainLow: number;
  chainHigh: number;
  completionLow: number;
  completionHigh: number;
  error: number;
  errorMask: number;
  /** Address of the last completed descriptor. */
  doneLow: number;
  doneHigh: number;
  /** Address of the descriptor whose error is not cleared yet; −1 for none. */
  failed: number;
  /** Where the next descriptor lies. */
  next: number;
  /** The next descriptor is the first of its chain. */
  first: boolean;
  interruptPending: boolean;
  suspending: boolean;
  /** Descriptors (with extensions: slots) of the batch, their addresses, and their contents. */
  batch: number;
  addresses: Float64Array;
  contents: Uint8Array;
  /** 1: the slot is the second half of the descriptor before it. */
  extension: Uint8Array;
};

export const freshChannel = (): IoatChannelState => ({
  control: 0,
  count: 0,
  fetched: 0,
  status: IOAT_STATUS.halted,
  chainLow: 0,
  chainHigh: 0,
  completionLow: 0,
  completionHigh: 0,
  error: 0,
  errorMask: 0,
  doneLow: 0,
  doneHigh: 0,
  failed: -1,
  next: 0,
  first: true,
  interruptPending: false,
  suspending: false,
  batch: 0,
  addresses: new Float64Array(BATCH),
  contents: new Uint8Array(BATCH * IOAT_DESCRIPTOR_BYTES),
  extension: new Uint8Array(BATCH),
});

export class IoatChannel {
  readonly state: IoatChannelState;
  readonly #index: number;
  readonly #host: IoatHost;
  readonly #batchEnd: Alarm;
  /** Null: the bus is not modelled. */
  readonly #share: BusShare | null;
  readonly #operations: IoatOperations;
  readonly #word = new Uint8Array(8);
  readonly #wordView = new DataView(this.#word.buffer);
  /** Observation only: the doorbell, and the descriptors of the batch. */
  #doorbell: CauseId = 0;
  readonly #causes = new Float64Array(BATCH);
  /** Grows when the batch is dropped: a descriptor may write to the channel's own registers. */
  #dropped = 0;

  /** @param join gives a share of the modelled bus, which tells `done`; null where there is none */
  constructor(
    index: number,
    host: IoatHost,
    makeAlarm: (fire: () => void) => Alarm,
    join: (done: () => void) => BusShare | null = () => null,
  ) {
    this.#index = index;
    this.#host = host;
    this.state = freshChannel();
    this.#operations = new IoatOperations(host, this.state.contents);
    this.#batchEnd = makeAlarm(() => this.#work());
    this.#share = join(() => this.#endBatch());
  }

  reset(): void {
    const { addresses, contents, extension } = this.state;
    addresses.fill(0);
    contents.fill(0);
    extension.fill(0);
    Object.assign(this.state, freshChannel(), { addresses, contents, extension });
    this.#batchEnd.cancel();
    this.#share?.cancel();
    this.#doorbell = 0;
    this.#dropped++;
  }

  // --- registers ------------------------------------------------------------------------------------------------------------------------------------

  /** @param offset from the channel's first register; 16-bit values at `control` and `count`, 8 bits at `command` */
  read(offset: number): number {
    const s = this.state;
    switch (offset) {
      case IOAT_CHANNEL.control:
        return s.control;
      case IOAT_CHANNEL.compatibility:
        return 2;
      case IOAT_CHANNEL.count:
        return s.count;
      case IOAT_CHANNEL.statusLow:
        return (s.doneLow | s.status) >>> 0;
      case IOAT_CHANNEL.statusHigh:
        return s.doneHigh;
      case IOAT_CHANNEL.chainLow:
        return s.chainLow;
      case IOAT_CHANNEL.chainHigh:
        return s.chainHigh;
      case IOAT_CHANNEL.completionLow:
        return s.completionLow;
      case IOAT_CHANNEL.completionHigh:
        return s.completionHigh;
      case IOAT_CHANNEL.currentLow:
        return (s.batch > 0 ? s.addresses[0]! : s.next) % WORD;
      case IOAT_CHANNEL.currentHigh:
        return Math.floor((s.batch > 0 ? s.addresses[0]! : s.next) / WORD);
      case IOAT_CHANNEL.error:
        return s.error;
      case IOAT_CHANNEL.errorMask:
        return s.errorMask;
      default:
        // The command register reads 0: a reset is over at once.
        return 0;
    }
  }

  write(offset: number, value: number): void {
    const s = this.state;
    switch (offset) {
      case IOAT_CHANNEL.control:
        this.#writeControl(value);
        return;
      case IOAT_CHANNEL.command:
        this.#command(value);
        return;
      case IOAT_CHANNEL.count:
        s.count = value & COUNT_MASK;
        this.#doorbell = this.#host.tell(EVENT.doorbell, this.#index, s.count, 0, 0);
        this.#start();
        return;
      case IOAT_CHANNEL.chainLow:
        s.chainLow = value;
        this.#newChain();
        return;
      case IOAT_CHANNEL.chainHigh:
        s.chainHigh = value;
        this.#newChain();
        return;
      case IOAT_CHANNEL.completionLow:
        s.completionLow = (value & ~7) >>> 0;
        return;
      case IOAT_CHANNEL.completionHigh:
        s.completionHigh = value;
        return;
      case IOAT_CHANNEL.error:
        s.error = (s.error & ~value) >>> 0;
        if ((s.error & ~s.errorMask) === 0 && s.failed >= 0) this.#passOver();
        return;
      case IOAT_CHANNEL.errorMask:
        s.errorMask = value;
        return;
    }
  }

  #writeControl(value: number): void {
    const s = this.state;
    const kept = s.control & IOAT_CONTROL.interruptDisable.mask;
    s.control = (value & CONTROL_WRITABLE) | (IOAT_CONTROL.interruptDisable.on(value) ? 0 : kept);
    if (IOAT_CONTROL.interruptDisable.on(s.control) || !s.interruptPending) return;
    s.interruptPending = false;
    this.#interrupt(0);
  }

  /** The descriptor that failed is the last one that was done. */
  #passOver(): void {
    const s = this.state;
    s.doneLow = s.failed % WORD;
    s.doneHigh = Math.floor(s.failed / WORD);
    s.failed = -1;
  }

  #newChain(): void {
    const s = this.state;
    s.next = s.chainHigh * WORD + s.chainLow;
    s.first = true;
    s.count = s.fetched = 0;
  }

  #command(value: number): void {
    const s = this.state;
    if (IOAT_COMMAND.reset.on(value)) this.reset();
    else if (IOAT_COMMAND.abort.on(value)) {
      this.#batchEnd.cancel();
      this.#share?.cancel();
      this.#dropped++;
      s.batch = 0;
      s.status = IOAT_STATUS.halted;
      this.#complete();
    } else if (IOAT_COMMAND.suspend.on(value)) {
      if (s.batch > 0) s.suspending = true;
      else if (s.status !== IOAT_STATUS.halted) s.status = IOAT_STATUS.suspended;
    }
  }

  // --- batches --------------------------------------------------------------------------------------------------------------------------------------

  /** Goes on when there is work and nothing forbids it. */
  #start(): void {
    const s = this.state;
    if (s.batch > 0 || (s.error & ~s.errorMask) !== 0) return;
    if (s.fetched === s.count) {
      if (s.status === IOAT_STATUS.active) s.status = IOAT_STATUS.idle;
      return;
    }
    s.status = IOAT_STATUS.active;
    let time = 0;
    while (s.batch < BATCH && s.fetched !== s.count) {
      const error = this.#fetch();
      // Descriptors that came before the bad one are carried out first; it will be met again.
      if (error !== 0 && s.batch === 0) {
        this.#halt(error, this.#doorbell);
        return;
      }
      if (error !== 0) break;
      time += this.#timeOf(s.batch - 1);
    }
    this.#batchEnd.armIn(Math.ceil(time));
  }

  /** One descriptor into the batch. Returns an error bit or 0. */
  #fetch(): number {
    const s = this.state;
    const address = s.next;
    const { chainAddress, descriptor, nextAddress } = IOAT_ERROR;
    if (address % IOAT_DESCRIPTOR_BYTES !== 0) return s.first ? chainAddress.mask : descriptor.mask;
    const at = s.batch * IOAT_DESCRIPTOR_BYTES;
    const ok =
      address < IOAT_ADDRESS_LIMIT &&
      this.#host.read(address, s.contents, at, IOAT_DESCRIPTOR_BYTES, this.#doorbell, false) === BUS_STATUS.ok;
    if (!ok) return s.first ? chainAddress.mask : nextAddress.mask;
    s.first = false;
    s.addresses[s.batch] = address;
    const isExtension = s.batch > 0 && this.#hasExtension(s.batch - 1);
    s.extension[s.batch] = isExtension ? 1 : 0;
    s.fetched = (s.fetched + 1) & COUNT_MASK;
    s.next = this.#operations.next(s.batch);
    const size = this.#operations.size(s.batch);
    if (!isExtension)
      this.#causes[s.batch] = this.#host.tell(EVENT.descriptor, this.#index, address, size, this.#doorbell);
    s.batch++;
    return 0;
  }

  /** The next 64 bytes belong to it. */
  #hasExtension(slot: number): boolean {
    return this.state.extension[slot] === 0 && hasExtension(this.#operations.control(slot));
  }

  /** In ns, as far as the bus does not decide. */
  #timeOf(slot: number): number {
    if (this.state.extension[slot] !== 0) return 0;
    return (
      DESCRIPTOR_NS +
      (this.#share === null ? (this.#size(slot) * sourcesOf(this.#operations.control(slot))) / BYTES_PER_NS : 0)
    );
  }

  /** Bytes that a descriptor moves; 0 when it moves none. */
  #size(slot: number): number {
    const size = this.#operations.size(slot);
    return size <= this.#host.capacity && !isNull(this.#operations.control(slot)) ? size : 0;
  }

  /** Bytes that go over the bus: the descriptor itself, what is read, what is written. */
  #busBytes(slot: number): number {
    if (this.state.extension[slot] !== 0) return IOAT_DESCRIPTOR_BYTES;
    return IOAT_DESCRIPTOR_BYTES + this.#size(slot) * transfersOf(this.#operations.control(slot));
  }

  /** The batch's own time is over. */
  #work(): void {
    if (this.#share === null) {
      this.#endBatch();
      return;
    }
    let bytes = 0;
    for (let slot = 0; slot < this.state.batch; slot++) bytes += this.#busBytes(slot);
    this.#share.request(bytes);
  }

  #endBatch(): void {
    const s = this.state;
    const { batch } = s;
    for (let slot = 0; slot < batch; slot++) {
      const extended = this.#hasExtension(slot);
      // Its second half is not there yet: it is the first of the next batch.
      if (extended && slot + 1 === batch) {
        this.#takeBack(slot);
        break;
      }
      const cause = this.#causes[slot]!;
      const dropped = this.#dropped;
      const error = this.#operations.carryOut(slot, cause);
      if (dropped !== this.#dropped) return;
      const size = this.#operations.size(slot);
      const done = this.#host.tell(EVENT.completion, this.#index, error === 0 ? size : 0, error, cause);
      if (error !== 0) {
        s.batch = 0;
        s.failed = s.addresses[slot]!;
        this.#halt(error, done);
        return;
      }
      this.#finish(slot, slot + (extended ? 2 : 1) === batch, done);
      if (s.status === IOAT_STATUS.halted) break;
      if (extended) slot++;
    }
    s.batch = 0;
    if (s.status === IOAT_STATUS.halted) return;
    if (s.suspending) {
      s.suspending = false;
      s.status = IOAT_STATUS.suspended;
    } else this.#start();
  }

  /** A descriptor whose extension was not counted out, or did not fit into the batch. */
  #takeBack(slot: number): void {
    const s = this.state;
    s.next = s.addresses[slot]!;
    s.fetched = (s.fetched - 1) & COUNT_MASK;
    // Alone in its batch: software has counted out half a descriptor.
    if (slot === 0) this.#halt(IOAT_ERROR.count.mask, this.#doorbell);
  }

  /** A descriptor has been carried out. */
  #finish(slot: number, last: boolean, cause: CauseId): void {
    const s = this.state;
    const control = this.#operations.control(slot);
    s.doneLow = s.addresses[slot]! % WORD;
    s.doneHigh = Math.floor(s.addresses[slot]! / WORD);
    if (last && s.fetched === s.count) s.status = IOAT_STATUS.idle;
    if (IOAT_DESCRIPTOR_CONTROL.completion.on(control)) this.#complete(cause);
    if (IOAT_DESCRIPTOR_CONTROL.interrupt.on(control)) this.#interrupt(cause);
  }

  #halt(error: number, cause: CauseId): void {
    const s = this.state;
    s.error = (s.error | error) >>> 0;
    s.status = IOAT_STATUS.halted;
    s.suspending = false;
    if (IOAT_CONTROL.errorCompletion.on(s.control)) this.#complete(cause);
    if (IOAT_CONTROL.errorInterrupt.on(s.control)) this.#interrupt(cause);
  }

  /** The status register as it is now, to where software wants it. */
  #complete(cause: CauseId = 0): void {
    const s = this.state;
    this.#wordView.setUint32(0, (s.doneLow | s.status) >>> 0, true);
    this.#wordView.setUint32(4, s.doneHigh, true);
    const address = s.completionHigh * WORD + s.completionLow;
    const ok =
      address < IOAT_ADDRESS_LIMIT && this.#host.write(address, this.#word, 0, 8, cause, false) === BUS_STATUS.ok;
    if (ok) return;
    s.error = (s.error | IOAT_ERROR.completionAddress.mask) >>> 0;
    s.status = IOAT_STATUS.halted;
  }

  #interrupt(cause: CauseId): void {
    const s = this.state;
    if (IOAT_CONTROL.interruptDisable.on(s.control)) {
      s.interruptPending = true;
      return;
    }
    s.control |= IOAT_CONTROL.interruptDisable.mask;
    this.#host.raise(this.#index, cause);
  }
}
