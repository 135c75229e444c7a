/**
 * Intel I/OAT ("QuickData"): a DMA engine that copies memory, as a PCI function. Documents: see ioat.regs.ts. Copy, fill, XOR, P+Q and
 * their validation, completion write-back, suspend, abort, reset, errors; MSI-X with a vector per channel, MSI, INTx.
 *
 * Not modelled: P+Q of more than 8 sources, direct cache access, CRC, interrupt coalescing (the delay register reads 0: not supported), descriptor prefetch settings.
 *
 * Decisions: with MSI-X and the vector-per-channel bit a channel's interrupt is its vector; otherwise it sets the channel's attention bit, and vector 0 (or
 * the pin) tells while the enable bit is set; reading INTRCTRL clears that bit and reading ATTNSTATUS its bits.
 */
import { HostError } from "../base/assert.ts";
import type { CauseId } from "../base/units.ts";
import { BUS_STATUS, type BusStatus } from "../ports/initiator.ts";
import type { MasterPort } from "../ports/pci.ts";
import type { Window } from "../ports/window.ts";
import { PciFunction, type PciSlot } from "../pci/function.ts";
import type { Msix } from "../pci/msix.ts";
import type { EventQueue } from "../sim/event-queue.ts";
import {
  IOAT,
  IOAT_BYTES,
  IOAT_CAPABILITY,
  IOAT_CHANNEL,
  IOAT_CHANNEL_BYTES,
  IOAT_CLASS,
  IOAT_DEVICE,
  IOAT_INTERRUPT,
  IOAT_MSIX_PENDING,
  IOAT_MSIX_TABLE,
  IOAT_VENDOR,
  IOAT_VERSION,
} from "./ioat.regs.ts";
import { IoatChannel, type IoatChannelState, type IoatHost } from "./ioat-channel.ts";

/** log2 of the greatest transfer: 1 MiB. */
const CAPACITY_LOG2 = 20;
const MAX_CHANNELS = 8;
const USAGE = 64;

export type IoatOptions = {
  readonly queue: EventQueue;
  /** 1 … 8; 1 when left out. */
  readonly channels?: number;
};

export type IoatState = {
  interruptControl: number;
  generalControl: number;
  attention: number;
  channels: IoatChannelState[];
};

export class Ioat extends PciFunction<IoatState> implements IoatHost {
  readonly window: Window;
  readonly capacity = 2 ** CAPACITY_LOG2;
  readonly #channels: readonly IoatChannel[];
  readonly #port: MasterPort | null;
  copyFailedReading = false;
  readonly #msix: Msix;

  /** Throws {@link HostError} (64) for an impossible number of channels. */
  constructor(slot: PciSlot, options: IoatOptions) {
    const { queue, channels = 1 } = options;
    if (!(Number.isInteger(channels) && channels >= 1 && channels <= MAX_CHANNELS))
      throw new HostError(`device ioat: channels=${channels}, 1 to ${MAX_CHANNELS} are possible`, USAGE);
    const device: IoatState = { interruptControl: 0, generalControl: 0, attention: 0, channels: [] };
    super(
      slot,
      {
        vendor: IOAT_VENDOR,
        device: IOAT_DEVICE,
        classCode: IOAT_CLASS,
        interruptPin: 0,
        subsystemVendor: IOAT_VENDOR,
      },
      device,
    );
    this.#port = slot.master;
    this.#channels = Array.from(
      { length: channels },
      (_, i) =>
        new IoatChannel(
          i,
          this,
          fire => queue.alarm(`${this.name} channel ${i}`, fire),
          done => this.joinBus(i, done),
        ),
    );
    for (const channel of this.#channels) device.channels.push(channel.state);
    this.addPowerManagement();
    this.addMsi({ vectors: 1, wide: true, maskable: false });
    this.#msix = this.addMsix({ vectors: channels, bar: 0, table: IOAT_MSIX_TABLE, pending: IOAT_MSIX_PENDING });
    this.addExpress({ type: "integratedEndpoint" });
    this.window = {
      name: this.name,
      size: IOAT_BYTES,
      minWidth: 1,
      maxWidth: 4,
      read: (offset, width) => this.#read(offset, width),
      write: (offset, width, value) => this.#write(offset, width, value),
      describe: offset => this.#describe(offset),
    };
    this.addBar(0, { kind: "memory64", window: this.window });
  }

  protected override resetDevice(): void {
    Object.assign(this.state.device, { interruptControl: 0, generalControl: 0, attention: 0 });
    for (const channel of this.#channels) channel.reset();
  }

  // --- for the channels -----------------------------------------------------------------------------------------------------------------------------

  read(address: number, into: Uint8Array, offset: number, length: number, cause: CauseId, noSnoop: boolean): BusStatus {
    this.dmaCause = cause;
    this.#port!.noSnoop = noSnoop;
    return this.master!.read(address, into, offset, length);
  }

  write(
    address: number,
    from: Uint8Array,
    offset: number,
    length: number,
    cause: CauseId,
    noSnoop: boolean,
  ): BusStatus {
    this.dmaCause = cause;
    this.#port!.noSnoop = noSnoop;
    return this.master!.write(address, from, offset, length);
  }

  copy(source: number, target: number, length: number, cause: CauseId, noSnoop: number): BusStatus {
    this.dmaCause = cause;
    const status = this.dmaCopy(source, target, length, noSnoop);
    this.copyFailedReading = status === BUS_STATUS.disabled || this.#port!.copyFailedReading;
    return status;
  }

  override tell(kind: number, a: number, b: number, c: number, cause: CauseId): CauseId {
    return super.tell(kind, a, b, c, cause);
  }

  raise(channel: number, cause: CauseId): void {
    const s = this.state.device;
    if (this.#msix.enabled && IOAT_INTERRUPT.vectorPerChannel.on(s.interruptControl)) {
      if (IOAT_INTERRUPT.enable.on(s.interruptControl)) this.message(channel, cause);
      return;
    }
    s.attention |= 1 << channel;
    this.#announce(cause);
  }

  /** Attention that is enabled goes to the pin, or as a message. */
  #announce(cause: CauseId): void {
    const s = this.state.device;
    const wanted = s.attention !== 0 && IOAT_INTERRUPT.enable.on(s.interruptControl);
    this.setIntx(wanted, cause);
    if (wanted) this.message(0, cause);
  }

  // --- registers ------------------------------------------------------------------------------------------------------------------------------------

  #channelAt(offset: number): IoatChannel | null {
    return this.#channels[Math.floor(offset / IOAT_CHANNEL_BYTES) - 1] ?? null;
  }

  #isMsix(offset: number): boolean {
    return offset >= IOAT_MSIX_TABLE && offset < IOAT_MSIX_PENDING + IOAT_MSIX_PENDING - IOAT_MSIX_TABLE;
  }

  #read(offset: number, width: number): number {
    if (this.#isMsix(offset)) return width === 4 ? this.#msix.read(offset) : 0;
    const channel = this.#channelAt(offset);
    if (channel !== null) return readPart(at => channel.read(at), offset % IOAT_CHANNEL_BYTES, width);
    return offset < IOAT_CHANNEL_BYTES ? this.#readGeneral(offset, width) : 0;
  }

  #write(offset: number, width: number, value: number): void {
    if (this.#isMsix(offset)) {
      if (width === 4) this.#msix.write(offset, value);
      return;
    }
    this.#channelAt(offset)?.write(offset % IOAT_CHANNEL_BYTES, value);
    const s = this.state.device;
    if (offset === IOAT.generalControl) s.generalControl = value & 1;
    else if (offset === IOAT.interruptControl) {
      const { enable, vectorPerChannel } = IOAT_INTERRUPT;
      s.interruptControl = value & (enable.mask | vectorPerChannel.mask);
      this.#announce(0);
    }
  }

  #readGeneral(offset: number, width: number): number {
    let value = 0;
    for (let i = 0; i < width; i++) value += this.#byte(offset + i) * 2 ** (8 * i);
    return value;
  }

  /** Registers of all channels, byte by byte; reading some of them has an effect. */
  #byte(offset: number): number {
    const s = this.state.device;
    switch (offset) {
      case IOAT.channelCount:
        return this.#channels.length;
      case IOAT.transferCapacity:
        return CAPACITY_LOG2;
      case IOAT.generalControl:
        return s.generalControl;
      case IOAT.interruptControl:
        return this.#takeInterruptControl();
      case IOAT.attention: {
        const bits = s.attention;
        s.attention = 0;
        this.#announce(0);
        return bits;
      }
      case IOAT.version:
        return IOAT_VERSION;
      case IOAT.capability:
        return IOAT_CAPABILITY.fill.mask;
      case IOAT.capability + 1:
        return (IOAT_CAPABILITY.xor.mask | IOAT_CAPABILITY.pq.mask) >>> 8;
      default:
        return 0;
    }
  }

  #takeInterruptControl(): number {
    const s = this.state.device;
    const { enable, status, interrupt } = IOAT_INTERRUPT;
    const waiting = s.attention !== 0 ? status.mask | (enable.on(s.interruptControl) ? interrupt.mask : 0) : 0;
    const value = s.interruptControl | waiting;
    s.interruptControl &= ~enable.mask;
    this.setIntx(false);
    return value;
  }

  #describe(offset: number): string {
    const channel = Math.floor(offset / IOAT_CHANNEL_BYTES) - 1;
    if (this.#isMsix(offset)) return this.#msix.window.describe!(offset);
    const name = (names: object, at: number): string =>
      Object.entries(names).find(([, where]) => where === at)?.[0] ?? "reserved";
    return channel < 0
      ? `ioat ${name(IOAT, offset)}`
      : `ioat ${channel} ${name(IOAT_CHANNEL, offset % IOAT_CHANNEL_BYTES)}`;
  }
}

/** A register that is wider than the access: its low or high bytes. */
function readPart(read: (offset: number) => number, offset: number, width: number): number {
  const limit = 2 ** (8 * width);
  const base = offset - (offset % (offset < 8 ? 2 : 4));
  return Math.floor(read(base) / 2 ** (8 * (offset - base))) % limit;
}
