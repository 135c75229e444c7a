/**
 * The device's side of a split virtqueue: descriptor table, available and used ring, indirect descriptors, suppression of notifications both ways by flags or
 * by event index. VIRTIO 1.2, 2.7. All memory is reached through the function's bus master.
 *
 * How a device uses it: {@link Virtqueue.take} gives the next chain; read and write it; {@link Virtqueue.push} says that it has been used;
 * {@link Virtqueue.complete} lets the driver see all that was pushed, and decides once whether to interrupt. Between push and complete any time may pass.
 *
 * Decisions: a ring that breaks the rules makes the device need a reset (2.1.2) and the queue is dead until then; memory that refuses an access to the rings
 * counts as that, too, but for a bus master that is cut: then there is just nothing to take. A chain longer than the queue is refused, also in an indirect
 * table (2.7.5.3.1).
 */
import { assert } from "../../base/assert.ts";
import type { CauseId } from "../../base/units.ts";
import { EVENT } from "../../ports/events.ts";
import { BUS_STATUS, type Initiator } from "../../ports/initiator.ts";
import { Chain, type ChainHost } from "./chain.ts";
import {
  AVAIL,
  AVAIL_FLAGS,
  DESCRIPTOR,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_FLAGS,
  MAX_QUEUE_SIZE,
  NO_VECTOR,
  USED,
} from "./virtio.regs.ts";

const WORD = 2 ** 32;
/** "the total length of all the buffers" of a chain (2.7.5.2). */
const MAX_CHAIN_BYTES = 2 ** 32;

/** What software and device know of a queue. */
export type QueueState = {
  size: number;
  enabled: boolean;
  vector: number;
  /** Addresses of descriptor table, available ring and used ring: low and high word each. */
  addresses: Uint32Array;
  /** Index in the available ring of the next chain to take, modulo 2^16. */
  taken: number;
  /** Index in the used ring of the next chain to push, modulo 2^16, and what the driver can see of it. */
  pushed: number;
  published: number;
  /** By place in the used ring, for what was pushed and not yet published: bytes that were moved, and the device's error code. */
  moved: Uint32Array;
  errors: Uint8Array;
  /** For a queue that is served in virtual time (paced-queue.ts): when each of these is given back, in ns, and how many wait for the modelled bus. */
  due: Float64Array;
  onBus: number;
};

/** What a queue needs of its function. */
export interface VirtqueueHost extends ChainHost {
  /** The driver is ready, and the device works. */
  readonly live: boolean;
  readonly indirect: boolean;
  readonly eventIndex: boolean;
  /** The driver broke a rule. */
  fail(reason: string): void;
  interruptFor(queue: Virtqueue, cause: CauseId): void;
  tell(kind: number, a: number, b: number, c: number, cause: CauseId): CauseId;
}

export function freshQueue(maxSize: number): QueueState {
  const moved = new Uint32Array(maxSize);
  const errors = new Uint8Array(maxSize);
  const due = new Float64Array(maxSize);
  const addresses = new Uint32Array(6);
  return {
    size: maxSize,
    enabled: false,
    vector: NO_VECTOR,
    addresses,
    taken: 0,
    pushed: 0,
    published: 0,
    moved,
    errors,
    due,
    onBus: 0,
  };
}

export class Virtqueue {
  readonly index: number;
  /** The most entries that the driver may ask for; a power of two. */
  readonly maxSize: number;
  readonly state: QueueState;
  /** Event id of the doorbell that was rung last. Observation only. */
  doorbell: CauseId = 0;
  readonly #host: VirtqueueHost;
  readonly #memory: Initiator;
  readonly #chain: Chain;
  readonly #word = new Uint8Array(8);
  /** Descriptors as they were fetched: one, or a whole indirect table. */
  readonly #table: Uint8Array;
  /** By place in the used ring: causes of what was pushed. Observation only. */
  readonly #causes: Float64Array;

  constructor(index: number, maxSize: number, state: QueueState, host: VirtqueueHost) {
    assert(maxSize > 0 && maxSize <= MAX_QUEUE_SIZE && (maxSize & (maxSize - 1)) === 0, `virtqueue of ${maxSize}`);
    this.index = index;
    this.maxSize = maxSize;
    this.state = state;
    this.#host = host;
    this.#memory = host.memory;
    this.#chain = this.newChain();
    this.#table = new Uint8Array(maxSize * DESCRIPTOR_BYTES);
    this.#causes = new Float64Array(maxSize);
  }

  /** Another chain object for this queue, for devices that hold several chains at a time (see {@link Virtqueue.take}). */
  newChain(): Chain {
    return new Chain(this.#host, this.maxSize);
  }

  /** Back to the state after a reset of the device or of this queue. */
  reset(): void {
    const s = this.state;
    s.size = this.maxSize;
    s.enabled = false;
    s.vector = NO_VECTOR;
    s.addresses.fill(0);
    s.taken = s.pushed = s.published = 0;
    s.moved.fill(0);
    s.errors.fill(0);
    s.due.fill(0);
    s.onBus = 0;
    this.doorbell = 0;
  }

  /** The driver has enabled it, and the device works. */
  get live(): boolean {
    return this.#host.live && this.state.enabled;
  }

  /** Chains that were pushed and that the driver cannot see yet. */
  get unpublished(): number {
    return (this.state.pushed - this.state.published) & 0xffff;
  }

  /** Bytes that were moved for the first `count` of these. */
  bytesOf(count: number): number {
    const { moved, published, size } = this.state;
    let bytes = 0;
    for (let i = 0; i < count; i++) bytes += moved[(published + i) & (size - 1)]!;
    return bytes;
  }

  /**
   * The next chain that the driver has made available; null when there is none or the device does not work. With null the driver has been asked to notify
   * when it adds one. The object holds until the next call; `into` (of {@link Virtqueue.newChain}) is filled instead, if given. Its cause is the doorbell;
   * a device that fills buffers with what came from outside sets {@link Chain.cause} to that.
   */
  take(into: Chain = this.#chain): Chain | null {
    if (!this.live) return null;
    this.#host.setCause(this.doorbell);
    const chain = this.#next(into);
    this.#host.setCause(0);
    return chain;
  }

  #next(chain: Chain): Chain | null {
    const s = this.state;
    const available = this.#word16(this.#driver(AVAIL.index));
    if (available < 0) return null;
    const waiting = (available - s.taken) & 0xffff;
    if (waiting === 0) {
      this.doorbell = 0;
      this.#askForNotification();
      return null;
    }
    // What the driver has made available and has not got back must fit, too.
    const out = (available - s.published) & 0xffff;
    if (waiting > s.size || out > s.size) return this.#fail(`${Math.max(waiting, out)} chains in a queue of ${s.size}`);
    const slot = s.taken & (s.size - 1);
    const head = this.#word16(this.#driver(AVAIL.ring + slot * AVAIL.entryBytes));
    if (head < 0) return null;
    if (head >= s.size) return this.#fail(`descriptor ${head} in a queue of ${s.size}`);
    chain.begin(head);
    if (!this.#walk(chain, head)) return null;
    s.taken = (s.taken + 1) & 0xffff;
    const bytes = chain.readable + chain.writable;
    const at = this.#address(0) + head * DESCRIPTOR_BYTES;
    chain.cause = this.#host.tell(EVENT.descriptor, this.index, at, bytes, this.doorbell);
    return chain;
  }

  /** The last `count` chains taken count as not taken: they come again. None of them may have been pushed. */
  putBack(count = 1): void {
    this.state.taken = (this.state.taken - count) & 0xffff;
  }

  /**
   * The device has used `chain`, and wrote the first `written` bytes of its writable part (2.7.8.2). The driver sees it after {@link Virtqueue.complete}.
   * @param error 0, or the device's own code, for the trace
   */
  push(chain: Chain, written: number, error = 0): void {
    const s = this.state;
    assert(written <= chain.writable, "virtqueue: more was written than there is room");
    if (!this.live) return;
    const slot = s.pushed & (s.size - 1);
    s.moved[slot] = Math.min(chain.moved, WORD - 1);
    s.errors[slot] = error;
    this.#causes[slot] = chain.cause;
    const word = this.#word;
    put32(word, 0, chain.head);
    put32(word, 4, written);
    this.#host.setCause(chain.cause);
    this.#write(this.#device(USED.ring + slot * USED.entryBytes), 8);
    this.#host.setCause(0);
    s.pushed = (s.pushed + 1) & 0xffff;
  }

  /** Publishes the first `count` that were pushed, and interrupts once if the driver wants that (2.7.7.2). Nothing when nothing was pushed. */
  complete(count = this.unpublished): void {
    const s = this.state;
    const host = this.#host;
    if (count === 0 || !this.live) return;
    let cause: CauseId = 0;
    for (let i = 0; i < count; i++) {
      const slot = (s.published + i) & (s.size - 1);
      cause = host.tell(EVENT.completion, this.index, s.moved[slot]!, s.errors[slot]!, this.#causes[slot]!);
    }
    const before = s.published;
    s.published = (before + count) & 0xffff;
    host.setCause(cause);
    put32(this.#word, 0, s.published);
    if (this.#write(this.#device(USED.index), 2) && this.#wantsInterrupt(before, s.published))
      host.interruptFor(this, cause);
    host.setCause(0);
  }

  /** 2.7.7.2: with an event index, when the entry that it names has just been passed; else unless the flag forbids. */
  #wantsInterrupt(before: number, now: number): boolean {
    const { size } = this.state;
    if (!this.#host.eventIndex) {
      const flags = this.#word16(this.#driver(AVAIL.flags));
      return flags >= 0 && !AVAIL_FLAGS.noInterrupt.on(flags);
    }
    const event = this.#word16(this.#driver(AVAIL.ring + size * AVAIL.entryBytes));
    return event >= 0 && ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
  }

  /**
   * avail_event (2.7.10.2): "notify me when you add the next one". The flag of the other way is never set, so there is nothing to do then. No processor
   * can add a chain between the look at the ring and this write, as nothing else runs meanwhile.
   */
  #askForNotification(): void {
    if (!this.#host.eventIndex) return;
    const { size, taken } = this.state;
    put32(this.#word, 0, taken);
    this.#write(this.#device(USED.ring + size * USED.entryBytes), 2);
  }

  // --- descriptors ------------------------------------------------------------------------------------------------------------------------------------

  /** 2.7.5. Descriptors of the table are fetched one by one, an indirect table at once. */
  #walk(chain: Chain, head: number): boolean {
    const { size } = this.state;
    const table = this.#table;
    const base = this.#address(0);
    for (let index = head, n = 0; ; n++) {
      if (n === size) return this.#fail("a chain of descriptors has no end") !== null;
      if (!this.#read(base + index * DESCRIPTOR_BYTES, table, DESCRIPTOR_BYTES)) return false;
      const flags = get16(table, DESCRIPTOR.flags);
      if (DESCRIPTOR_FLAGS.indirect.on(flags)) return this.#walkIndirect(chain, flags);
      if (!this.#piece(chain, 0, flags)) return false;
      if (!DESCRIPTOR_FLAGS.next.on(flags)) return true;
      index = get16(table, DESCRIPTOR.next);
      if (index >= size) return this.#fail(`descriptor ${index} in a queue of ${size}`) !== null;
    }
  }

  /** 2.7.5.3. The write flag of the descriptor that leads here is ignored. */
  #walkIndirect(chain: Chain, outer: number): boolean {
    const table = this.#table;
    const address = get64(table, DESCRIPTOR.address);
    const bytes = get32(table, DESCRIPTOR.length);
    if (!this.#host.indirect) return this.#fail("an indirect descriptor was not agreed on") !== null;
    if (DESCRIPTOR_FLAGS.next.on(outer)) return this.#fail("an indirect descriptor has a next one") !== null;
    const entries = bytes / DESCRIPTOR_BYTES;
    if (entries === 0 || entries > this.state.size || !Number.isInteger(entries))
      return this.#fail(`an indirect table of ${bytes} bytes`) !== null;
    if (!this.#read(address, table, bytes)) return false;
    for (let index = 0, n = 0; ; n++) {
      if (n === entries) return this.#fail("a chain of descriptors has no end") !== null;
      const at = index * DESCRIPTOR_BYTES;
      const flags = get16(table, at + DESCRIPTOR.flags);
      if (DESCRIPTOR_FLAGS.indirect.on(flags)) return this.#fail("an indirect table in an indirect table") !== null;
      if (!this.#piece(chain, at, flags)) return false;
      if (!DESCRIPTOR_FLAGS.next.on(flags)) return true;
      index = get16(table, at + DESCRIPTOR.next);
      if (index >= entries) return this.#fail(`descriptor ${index} in a table of ${entries}`) !== null;
    }
  }

  #piece(chain: Chain, at: number, flags: number): boolean {
    const address = get64(this.#table, at + DESCRIPTOR.address);
    const length = get32(this.#table, at + DESCRIPTOR.length);
    if (chain.count >= this.state.size || !chain.add(address, length, DESCRIPTOR_FLAGS.write.on(flags)))
      return this.#fail("a chain that is too long, or that has a readable buffer behind a writable one") !== null;
    if (chain.readable + chain.writable > MAX_CHAIN_BYTES)
      return this.#fail("a chain of more than 2^32 bytes") !== null;
    return true;
  }

  // --- memory -------------------------------------------------------------------------------------------------------------------------------------------

  #address(which: number): number {
    const { addresses } = this.state;
    return addresses[2 * which + 1]! * WORD + addresses[2 * which]!;
  }

  #driver(offset: number): number {
    return this.#address(1) + offset;
  }

  #device(offset: number): number {
    return this.#address(2) + offset;
  }

  /** A little-endian word, −1 when it cannot be read. */
  #word16(address: number): number {
    return this.#read(address, this.#word, 2) ? get16(this.#word, 0) : -1;
  }

  #read(address: number, into: Uint8Array, length: number): boolean {
    return this.#accepted(this.#memory.read(address, into, 0, length), address);
  }

  #write(address: number, length: number): boolean {
    return this.#accepted(this.#memory.write(address, this.#word, 0, length), address);
  }

  #accepted(status: number, address: number): boolean {
    if (status === BUS_STATUS.ok) return true;
    if (status !== BUS_STATUS.disabled) this.#fail(`memory refuses an access at 0x${address.toString(16)}`);
    return false;
  }

  #fail(reason: string): null {
    this.#host.fail(`queue ${this.index}: ${reason}`);
    return null;
  }
}

const get16 = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8);
const get32 = (bytes: Uint8Array, at: number): number => (get16(bytes, at) | (get16(bytes, at + 2) << 16)) >>> 0;
const get64 = (bytes: Uint8Array, at: number): number => get32(bytes, at + 4) * WORD + get32(bytes, at);

function put32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}
