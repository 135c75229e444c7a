/**
 * The common configuration structure: feature negotiation, device status, and the registers of the selected queue. VIRTIO 1.2, 4.1.4.3, 2.1, 2.2, 3.1.
 */
import type { Virtqueue } from "./virtqueue.ts";
import { COMMON, COMMON_WIDTHS, NO_VECTOR, VIRTIO_F, VIRTIO_STATUS } from "./virtio.regs.ts";

export type CommonState = {
  status: number;
  deviceFeatureSelect: number;
  driverFeatureSelect: number;
  /** What the driver accepted: bits 0 to 31 and 32 to 63. */
  driverFeatures: Uint32Array;
  configVector: number;
  generation: number;
  queueSelect: number;
};

export type CommonOptions = {
  /** Numbers of the feature bits that are offered. */
  readonly features: readonly number[];
  /** MSI-X vectors that there are. */
  readonly vectors: number;
  readonly ringReset: number;
  readonly reset: () => void;
  readonly ready: () => void;
  readonly queueReset: (queue: Virtqueue) => void;
};

export const freshCommon = (): CommonState => ({
  status: 0,
  deviceFeatureSelect: 0,
  driverFeatureSelect: 0,
  driverFeatures: new Uint32Array(2),
  configVector: NO_VECTOR,
  generation: 0,
  queueSelect: 0,
});

const { driverOk, featuresOk, needsReset } = VIRTIO_STATUS;
const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(COMMON).map(([name, offset]) => [offset, name]));

/** Start and width of the register that each byte lies in. */
const PLACES: readonly { readonly start: number; readonly width: number }[] = [...COMMON_WIDTHS]
  .sort(([a], [b]) => a - b)
  .flatMap(([start, width]) => Array.from({ length: width }, () => ({ start, width })));

/** Name of the register at `offset`. */
export const commonName = (offset: number): string => NAMES.get(PLACES[offset]?.start ?? -1) ?? "reserved";

export class CommonConfig {
  readonly #state: CommonState;
  readonly #queues: readonly Virtqueue[];
  readonly #options: CommonOptions;
  readonly #offered = new Uint32Array(2);

  constructor(state: CommonState, queues: readonly Virtqueue[], options: CommonOptions) {
    this.#state = state;
    this.#queues = queues;
    this.#options = options;
    for (const bit of options.features) this.#offered[bit >>> 5]! |= 1 << (bit & 31);
  }

  get live(): boolean {
    const { status } = this.#state;
    return driverOk.on(status) && !needsReset.on(status);
  }

  get needsReset(): boolean {
    return needsReset.on(this.#state.status);
  }

  get configVector(): number {
    return this.#state.configVector;
  }

  /** @param feature number of its bit */
  accepted(feature: number): boolean {
    const { status, driverFeatures } = this.#state;
    return featuresOk.on(status) && (driverFeatures[feature >>> 5]! & (1 << (feature & 31))) !== 0;
  }

  /** DEVICE_NEEDS_RESET. */
  fail(): void {
    this.#state.status |= needsReset.mask;
  }

  /** The generation is the only thing that a reset by the driver leaves: it may be compared with what was read before. */
  reset(): void {
    const s = this.#state;
    s.status = s.deviceFeatureSelect = s.driverFeatureSelect = s.queueSelect = 0;
    s.driverFeatures.fill(0);
    s.configVector = NO_VECTOR;
  }

  /** The machine is switched on. */
  powerOn(): void {
    this.#state.generation = 0;
  }

  /** 2.5.1: the value differs between two reads that saw different contents. */
  configChanged(): void {
    this.#state.generation = (this.#state.generation + 1) & 0xff;
  }

  // --- accesses ---------------------------------------------------------------------------------------------------------------------------------------

  /** Any width at any place: drivers use each register's own width (4.1.3.1), for others the bytes come together. */
  read(offset: number, width: number): number {
    const place = PLACES[offset];
    if (place !== undefined && place.start === offset && place.width === width) return this.#register(offset);
    let value = 0;
    for (let i = width - 1; i >= 0; i--) {
      const { start } = PLACES[offset + i] ?? { start: -1 };
      const byte = start < 0 ? 0 : (this.#register(start) >>> (8 * (offset + i - start))) & 0xff;
      value = value * 256 + byte;
    }
    return value;
  }

  /** A write of another width than the register's changes the bytes that it covers. */
  write(offset: number, width: number, value: number): void {
    for (let at = offset; at < offset + width; ) {
      const place = PLACES[at];
      if (place === undefined) return;
      const { start, width: whole } = place;
      const bytes = Math.min(start + whole, offset + width) - at;
      const mask = bytes === 4 ? 0xffffffff : 2 ** (8 * bytes) - 1;
      const part = (value >>> (8 * (at - offset))) & mask;
      if (bytes === whole) this.#set(start, part >>> 0);
      else {
        const shift = 8 * (at - start);
        this.#set(start, ((this.#register(start) & ~(mask << shift)) | (part << shift)) >>> 0);
      }
      at += bytes;
    }
  }

  #register(offset: number): number {
    const s = this.#state;
    switch (offset) {
      case COMMON.deviceFeatureSelect:
        return s.deviceFeatureSelect;
      case COMMON.deviceFeature:
        return this.#offered[s.deviceFeatureSelect] ?? 0;
      case COMMON.driverFeatureSelect:
        return s.driverFeatureSelect;
      case COMMON.driverFeature:
        return s.driverFeatures[s.driverFeatureSelect] ?? 0;
      case COMMON.configVector:
        return s.configVector;
      case COMMON.queueCount:
        return this.#queues.length;
      case COMMON.status:
        return s.status;
      case COMMON.generation:
        return s.generation;
      case COMMON.queueSelect:
        return s.queueSelect;
      default: {
        const queue = this.#queues[s.queueSelect];
        return queue === undefined ? (offset === COMMON.queueVector ? NO_VECTOR : 0) : queueRegister(queue, offset);
      }
    }
  }

  #set(offset: number, value: number): void {
    const s = this.#state;
    switch (offset) {
      case COMMON.deviceFeatureSelect:
        s.deviceFeatureSelect = value;
        return;
      case COMMON.driverFeatureSelect:
        s.driverFeatureSelect = value;
        return;
      case COMMON.driverFeature:
        if (!featuresOk.on(s.status) && s.driverFeatureSelect < 2) s.driverFeatures[s.driverFeatureSelect] = value;
        return;
      case COMMON.configVector:
        s.configVector = this.#vector(value);
        return;
      case COMMON.status:
        this.#setStatus(value);
        return;
      case COMMON.queueSelect:
        s.queueSelect = value;
        return;
      default: {
        const queue = this.#queues[s.queueSelect];
        if (queue !== undefined) this.#setQueue(queue, offset, value);
      }
    }
  }

  /** 4.1.5.1.2: a vector that there is not reads back as NO_VECTOR. */
  #vector(value: number): number {
    return value < this.#options.vectors ? value : NO_VECTOR;
  }

  /** 2.1, 3.1.1. Bits are only added; 0 resets. */
  #setStatus(value: number): void {
    const s = this.#state;
    if (value === 0) {
      this.#options.reset();
      return;
    }
    const before = s.status;
    let after = before | (value & ~needsReset.mask);
    if (featuresOk.on(after) && !featuresOk.on(before) && !this.#featuresFit()) after &= ~featuresOk.mask;
    // 3.1.1, step 8 comes after step 5: without agreement there is no driver to be ready.
    if (driverOk.on(after) && !featuresOk.on(after)) after &= ~driverOk.mask;
    s.status = after;
    if (driverOk.on(after) && !driverOk.on(before) && this.live) this.#options.ready();
  }

  #featuresFit(): boolean {
    const { driverFeatures } = this.#state;
    const foreign = driverFeatures.some((word, i) => (word & ~this.#offered[i]!) !== 0);
    return !foreign && (driverFeatures[1]! & (1 << (VIRTIO_F.version1 - 32))) !== 0;
  }

  #setQueue(queue: Virtqueue, offset: number, value: number): void {
    const s = queue.state;
    switch (offset) {
      case COMMON.queueVector:
        s.vector = this.#vector(value);
        return;
      case COMMON.queueReset:
        if (value === 1 && this.accepted(this.#options.ringReset)) {
          queue.reset();
          this.#options.queueReset(queue);
        }
        return;
    }
    if (s.enabled) return;
    if (offset === COMMON.queueEnable) s.enabled = value === 1;
    else if (offset === COMMON.queueSize) {
      if (value > 0 && value <= queue.maxSize && (value & (value - 1)) === 0) s.size = value;
    } else if (offset >= COMMON.queueDescriptors && offset <= COMMON.queueDeviceHigh)
      s.addresses[(offset - COMMON.queueDescriptors) >> 2] = value;
  }
}

function queueRegister(queue: Virtqueue, offset: number): number {
  const s = queue.state;
  switch (offset) {
    case COMMON.queueSize:
      return s.size;
    case COMMON.queueVector:
      return s.vector;
    case COMMON.queueEnable:
      return s.enabled ? 1 : 0;
    case COMMON.queueNotifyOffset:
      return queue.index;
    case COMMON.queueNotifyData:
    case COMMON.queueReset:
      // Notification data is not offered; a queue's reset is over at once.
      return 0;
    default:
      return s.addresses[(offset - COMMON.queueDescriptors) >> 2]!;
  }
}
