/**
 * What all virtio functions on PCI have in common: identification, the capabilities and structures that they point to, device status and features,
 * queues, interrupts. VIRTIO 1.2, 2 and 4.1; non-transitional only (no legacy interface).
 *
 * How a device is written: extend {@link VirtioFunction}, say in the options which features, queues and configuration it has, and override
 *   - `queueNotified(queue)`: the driver rang the doorbell of a queue. This runs inside the guest's write: arm an alarm and do the work there, by
 *     `queue.take()`, `queue.push()`, `queue.complete()` (virtqueue.ts). {@link PacedQueue} does this for queues that are served in order.
 *   - `deviceReset()`: own state back to its beginning, alarms cancelled.
 *   - `driverReady()`, `queueReset(queue)`, `configChangedByDriver(offset, …)` where they matter.
 * Own state is `this.own`; `this.accepted(feature)` says what was negotiated; `this.changeConfig(…)` changes the device's configuration and tells the driver.
 *
 * Where things lie: BAR 0 (64-bit, not prefetchable, as reading the ISR changes it) has all structures at VIRTIO_BAR, BAR 2 the MSI-X table; queue n's
 * notification address is n × 4. Vectors: one per queue and one for configuration changes.
 *
 * Decisions: FEATURES_OK is refused without VIRTIO_F_VERSION_1 or with a feature that was not offered. ACCESS_PLATFORM is offered, as a board may have an
 * IOMMU; a driver that leaves it out is served, by whatever addresses the bus has. Doorbells before DRIVER_OK are kept until then. Registers of an enabled
 * queue, and sizes that are no power of two, are not writable. Not modelled: packed queues, shared memory regions, notification data, administration.
 */
import { assert } from "../../base/assert.ts";
import { onesOf } from "../../base/int.ts";
import type { CauseId } from "../../base/units.ts";
import { EVENT } from "../../ports/events.ts";
import type { Initiator } from "../../ports/initiator.ts";
import type { ResetKind, ResetPhase } from "../../ports/part.ts";
import type { Window } from "../../ports/window.ts";
import { EXTENDED_CONFIG_BYTES } from "../../pci/config-space.regs.ts";
import { PciFunction, type PciSlot } from "../../pci/function.ts";
import type { StateRecord } from "../../sim/state.ts";
import { commonName, CommonConfig, type CommonState, freshCommon } from "./common-config.ts";
import {
  COMMON_BYTES,
  NO_VECTOR,
  NOTIFY_MULTIPLIER,
  VENDOR_CAPABILITY,
  VIRTIO_BAR,
  VIRTIO_CAP,
  VIRTIO_CAP_BYTES,
  VIRTIO_CAP_LONG_BYTES,
  VIRTIO_CAP_TYPE,
  VIRTIO_DEVICE_BASE,
  VIRTIO_F,
  VIRTIO_ISR,
  VIRTIO_REVISION,
  VIRTIO_SUBSYSTEM,
  VIRTIO_VENDOR,
} from "./virtio.regs.ts";
import { freshQueue, type QueueState, Virtqueue, type VirtqueueHost } from "./virtqueue.ts";

const STRUCTURES_BAR = 0;
const MSIX_BAR = 2;
/** Features that the transport itself brings. */
const TRANSPORT_FEATURES = [
  VIRTIO_F.indirectDesc,
  VIRTIO_F.eventIndex,
  VIRTIO_F.version1,
  VIRTIO_F.accessPlatform,
  VIRTIO_F.ringReset,
];

export type VirtioOptions<D extends StateRecord> = {
  /** Device type (5). */
  readonly type: number;
  /** 24 bits: base class, sub-class, interface. */
  readonly classCode: number;
  /** Numbers of the device's own feature bits; those of the transport are added. */
  readonly features: readonly number[];
  /** Entries of each queue, powers of two: what the driver finds in queue_size. */
  readonly queues: readonly number[];
  /** What the device configuration holds after a reset; empty for a device without. */
  readonly config?: Uint8Array;
  /** The device's own state. */
  readonly own: D;
};

export type VirtioState<D extends StateRecord> = {
  common: CommonState;
  queues: QueueState[];
  /** ISR status. */
  isr: number;
  /** Doorbells that were rung before DRIVER_OK, by queue. */
  early: Uint8Array;
  config: Uint8Array;
  own: D;
};

export abstract class VirtioFunction<D extends StateRecord = StateRecord> extends PciFunction<VirtioState<D>> {
  /** By index. */
  readonly queues: readonly Virtqueue[];
  /** BAR 0. */
  readonly structures: Window;
  /** BAR 2. */
  readonly msixWindow: Window;
  readonly #common: CommonConfig;
  readonly #initialConfig: Uint8Array;
  readonly #vectors: number;
  /** Offset of the configuration access capability. */
  readonly #access: number;
  /** Why the device needs a reset; empty when it does not. For people. */
  #failure = "";

  constructor(slot: PciSlot, options: VirtioOptions<D>) {
    const { type, classCode, queues, config = new Uint8Array(0), own } = options;
    const identity = {
      vendor: VIRTIO_VENDOR,
      device: VIRTIO_DEVICE_BASE + type,
      revision: VIRTIO_REVISION,
      classCode,
      subsystemVendor: VIRTIO_VENDOR,
      subsystem: VIRTIO_SUBSYSTEM,
      interruptPin: 0,
      configBytes: EXTENDED_CONFIG_BYTES,
    };
    const states = queues.map(freshQueue);
    const early = new Uint8Array(queues.length);
    super(slot, identity, { common: freshCommon(), queues: states, isr: 0, early, config: config.slice(), own });
    assert(this.master !== null, `${slot.name}: a virtio function masters the bus`);
    assert(queues.length * NOTIFY_MULTIPLIER <= VIRTIO_BAR.pageBytes, `${slot.name}: ${queues.length} queues`);
    assert(config.length <= VIRTIO_BAR.pageBytes, `${slot.name}: configuration of ${config.length} bytes`);
    this.#initialConfig = config;
    this.#vectors = queues.length + 1;
    const host = this.#makeHost(this.master);
    this.queues = states.map((state, i) => new Virtqueue(i, queues[i]!, state, host));
    this.#common = new CommonConfig(this.state.device.common, this.queues, {
      features: [...options.features, ...TRANSPORT_FEATURES],
      vectors: this.#vectors,
      ringReset: VIRTIO_F.ringReset,
      reset: () => this.#deviceReset(),
      ready: () => this.#ready(),
      queueReset: queue => this.queueReset(queue),
    });
    this.structures = {
      name: `${slot.name} structures`,
      size: VIRTIO_BAR.bytes,
      minWidth: 1,
      maxWidth: 4,
      read: (offset, width) => this.#read(offset, width),
      write: (offset, width, value) => this.#write(offset, width, value),
      describe: offset => this.#describe(offset),
    };
    this.addBar(STRUCTURES_BAR, { kind: "memory64", window: this.structures });
    const msix = this.addMsix({ vectors: this.#vectors, bar: MSIX_BAR });
    this.msixWindow = msix.window;
    this.addBar(MSIX_BAR, { kind: "memory32", window: msix.window });
    this.addPowerManagement();
    this.addExpress({ type: slot.bus.above === null ? "integratedEndpoint" : "endpoint", functionReset: true });
    this.#access = this.#addCapabilities();
  }

  // --- for a device -----------------------------------------------------------------------------------------------------------------------------------

  /** The device's own part of the state. */
  protected get own(): D {
    return this.state.device.own;
  }

  /** The feature was offered, accepted, and the negotiation is over. */
  protected accepted(feature: number): boolean {
    return this.#common.accepted(feature);
  }

  /** The driver has said DRIVER_OK, and the device does not need a reset. */
  get live(): boolean {
    return this.#common.live;
  }

  /** What the driver did wrong when the device needs a reset, else empty. */
  get failure(): string {
    return this.#failure;
  }

  /** The driver rang the doorbell of `queue`. Called inside the guest's write, and only while the device is live. */
  protected abstract queueNotified(queue: Virtqueue): void;

  /** Puts the device's own state to its beginning and cancels its alarms; touches nobody. Queues and configuration have been reset already. */
  protected abstract deviceReset(): void;

  /** DRIVER_OK was set. */
  protected driverReady(): void {}

  /** The driver has reset this queue alone (2.6.1); it is reset already. */
  protected queueReset(_queue: Virtqueue): void {}

  /** The driver wrote the device configuration. What it may change, the device puts into `state.device.config` itself; by default nothing. */
  protected configWrittenByDriver(_offset: number, _width: number, _value: number): void {}

  /** What the device configuration holds at present. */
  protected get deviceConfig(): Uint8Array {
    return this.state.device.config;
  }

  /** Changes the device configuration: little endian, `width` of 1, 2 or 4 bytes. Tells the driver, if there is one (4.1.5.4). */
  protected changeConfig(offset: number, width: number, value: number, cause: CauseId = 0): void {
    const { config } = this.state.device;
    for (let i = 0; i < width; i++) config[offset + i] = value >>> (8 * i);
    this.#common.configChanged();
    if (this.live) this.#configInterrupt(cause);
  }

  /** The driver broke a rule: nothing goes on until it resets the device (2.1.2). @param reason for people */
  protected needReset(reason: string): void {
    if (this.#common.needsReset) return;
    const told = this.live;
    this.#failure = reason;
    this.#common.fail();
    if (told) this.#configInterrupt(0);
  }

  // --- reset and readiness ----------------------------------------------------------------------------------------------------------------------------

  override reset(phase: ResetPhase, kind: ResetKind = "power"): void {
    super.reset(phase);
    if (phase === "enter" && kind === "power") this.#common.powerOn();
  }

  protected override resetDevice(): void {
    this.#deviceReset();
  }

  /** All but the PCI function itself: a 0 was written to device_status, or the function is reset. */
  #deviceReset(): void {
    const s = this.state.device;
    this.#common.reset();
    for (const queue of this.queues) queue.reset();
    s.isr = 0;
    s.early.fill(0);
    s.config.set(this.#initialConfig);
    this.#failure = "";
    this.deviceReset();
  }

  #ready(): void {
    this.driverReady();
    const { early } = this.state.device;
    for (const queue of this.queues) {
      if (early[queue.index] === 0) continue;
      early[queue.index] = 0;
      this.queueNotified(queue);
    }
  }

  #makeHost(memory: Initiator): VirtqueueHost {
    const self = this;
    return {
      memory,
      get live() {
        return self.#common.live;
      },
      get indirect() {
        return self.#common.accepted(VIRTIO_F.indirectDesc);
      },
      get eventIndex() {
        return self.#common.accepted(VIRTIO_F.eventIndex);
      },
      fail: reason => self.needReset(reason),
      interruptFor: (queue, cause) => self.#queueInterrupt(queue.state.vector, cause),
      tell: (kind, a, b, c, cause) => self.tell(kind, a, b, c, cause),
      setCause: cause => {
        self.dmaCause = cause;
      },
    };
  }

  // --- interrupts (4.1.5.3, 4.1.5.4) ------------------------------------------------------------------------------------------------------------------

  #queueInterrupt(vector: number, cause: CauseId): void {
    if (!this.messageMode) this.#pin(VIRTIO_ISR.queue.mask, cause);
    else if (vector !== NO_VECTOR) this.message(vector, cause);
  }

  #configInterrupt(cause: CauseId): void {
    const vector = this.#common.configVector;
    if (!this.messageMode) this.#pin(VIRTIO_ISR.config.mask, cause);
    else if (vector !== NO_VECTOR) this.message(vector, cause);
  }

  #pin(bit: number, cause: CauseId): void {
    this.state.device.isr |= bit;
    this.setIntx(true, cause);
  }

  // --- structures in BAR 0 ----------------------------------------------------------------------------------------------------------------------------

  #read(offset: number, width: number): number {
    const place = offset % VIRTIO_BAR.pageBytes;
    switch (offset - place) {
      case VIRTIO_BAR.common:
        return this.#common.read(place, width);
      case VIRTIO_BAR.isr:
        return place === 0 ? this.#readIsr() : 0;
      case VIRTIO_BAR.device:
        return little(this.state.device.config, place, width);
      default:
        return 0;
    }
  }

  #write(offset: number, width: number, value: number): void {
    const place = offset % VIRTIO_BAR.pageBytes;
    switch (offset - place) {
      case VIRTIO_BAR.common: {
        this.#common.write(place, width, value);
        // A reset takes the reason for the pin away.
        if (this.state.intx && this.state.device.isr === 0) this.setIntx(false);
        return;
      }
      case VIRTIO_BAR.device:
        if (place + width <= this.state.device.config.length) this.configWrittenByDriver(place, width, value);
        return;
      case VIRTIO_BAR.notify:
        if (place % NOTIFY_MULTIPLIER === 0) this.#notify(place / NOTIFY_MULTIPLIER, value);
    }
  }

  /** "Reading … resets it to 0 and causes the device to de-assert the interrupt" (4.1.4.5). */
  #readIsr(): number {
    const { isr } = this.state.device;
    this.state.device.isr = 0;
    if (isr !== 0) this.setIntx(false);
    return isr;
  }

  #notify(index: number, value: number): void {
    const queue = this.queues[index];
    if (queue === undefined) return;
    queue.doorbell = this.tell(EVENT.doorbell, index, value, 0);
    if (this.live) this.queueNotified(queue);
    else if (!this.#common.needsReset) this.state.device.early[index] = 1;
  }

  #describe(offset: number): string {
    const place = offset % VIRTIO_BAR.pageBytes;
    switch (offset - place) {
      case VIRTIO_BAR.common:
        return `${this.name} ${commonName(place)}`;
      case VIRTIO_BAR.isr:
        return `${this.name} ISR status`;
      case VIRTIO_BAR.device:
        return `${this.name} configuration +${place}`;
      default:
        return `${this.name} notify ${Math.floor(place / NOTIFY_MULTIPLIER)}`;
    }
  }

  // --- capabilities (4.1.4) ---------------------------------------------------------------------------------------------------------------------------

  /** Returns where the configuration access capability lies. */
  #addCapabilities(): number {
    const { pageBytes } = VIRTIO_BAR;
    const { common, notify, isr, device, pciAccess } = VIRTIO_CAP_TYPE;
    this.#capability(common, VIRTIO_BAR.common, COMMON_BYTES, VIRTIO_CAP_BYTES);
    const at = this.#capability(notify, VIRTIO_BAR.notify, pageBytes, VIRTIO_CAP_LONG_BYTES);
    this.space.define({ name: "notify multiplier", offset: at + VIRTIO_CAP.extra, size: 4, value: NOTIFY_MULTIPLIER });
    this.#capability(isr, VIRTIO_BAR.isr, 1, VIRTIO_CAP_BYTES);
    const { length } = this.#initialConfig;
    if (length > 0) this.#capability(device, VIRTIO_BAR.device, length, VIRTIO_CAP_BYTES);
    const access = this.#capability(pciAccess, 0, 0, VIRTIO_CAP_LONG_BYTES);
    const writable = 0xffffffff;
    const { bar, offset, bytes, extra } = VIRTIO_CAP;
    this.space.define({ name: "access BAR", offset: access + bar, size: 1, writable: 0xff });
    this.space.define({ name: "access offset", offset: access + offset, size: 4, writable });
    this.space.define({ name: "access length", offset: access + bytes, size: 4, writable });
    this.space.define({ name: "access data", offset: access + extra, size: 4, writable });
    return access;
  }

  #capability(type: number, offset: number, length: number, bytes: number): number {
    const at = this.space.addCapability(VENDOR_CAPABILITY, bytes);
    this.space.define({ name: "virtio capability length", offset: at + VIRTIO_CAP.length, size: 1, value: bytes });
    this.space.define({ name: "virtio structure type", offset: at + VIRTIO_CAP.type, size: 1, value: type });
    this.space.define({ name: "virtio BAR", offset: at + VIRTIO_CAP.bar, size: 1, value: STRUCTURES_BAR });
    this.space.define({ name: "virtio offset", offset: at + VIRTIO_CAP.offset, size: 4, value: offset });
    this.space.define({ name: "virtio length", offset: at + VIRTIO_CAP.bytes, size: 4, value: length });
    return at;
  }

  // --- configuration access capability (4.1.4.9) ----------------------------------------------------------------------------------------------------------

  override configRead(offset: number, width: number): number {
    if (this.#touchesData(offset, width)) {
      const access = this.#window();
      if (access !== null)
        this.space.put(this.#access + VIRTIO_CAP.extra, 4, access.window.read(access.at, access.width));
    }
    return super.configRead(offset, width);
  }

  override configWrite(offset: number, width: number, value: number): void {
    super.configWrite(offset, width, value);
    const access = this.#touchesData(offset, width) ? this.#window() : null;
    if (access === null) return;
    const data = this.space.read(this.#access + VIRTIO_CAP.extra, 4);
    access.window.write(access.at, access.width, (data & onesOf(access.width)) >>> 0);
  }

  #touchesData(offset: number, width: number): boolean {
    const data = this.#access + VIRTIO_CAP.extra;
    return offset < data + 4 && offset + width > data;
  }

  /** Where the capability leads to at present; null when the driver has put nothing sensible there. */
  #window(): { window: Window; at: number; width: number } | null {
    const bar = this.space.read(this.#access + VIRTIO_CAP.bar, 1);
    const at = this.space.read(this.#access + VIRTIO_CAP.offset, 4);
    const width = this.space.read(this.#access + VIRTIO_CAP.bytes, 4);
    const window = bar === STRUCTURES_BAR ? this.structures : bar === MSIX_BAR ? this.msixWindow : null;
    if (window === null || (width !== 1 && width !== 2 && width !== 4)) return null;
    const fits = width >= window.minWidth && at % width === 0 && at + width <= window.size;
    return fits ? { window, at, width } : null;
  }
}

/** 0 behind the end. */
function little(bytes: Uint8Array, offset: number, width: number): number {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 256 + (bytes[offset + i] ?? 0);
  return value;
}
