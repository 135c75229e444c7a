/**
 * What all PCI functions have in common: configuration space, BARs that put windows into the address spaces, a bus master's port that the bus master
 * bit cuts, the INTx pin, MSI and MSI-X, function level reset, D3hot. PCI Local Bus Specification 3.0, chapter 6; the further documents stand at
 * capabilities.regs.ts.
 *
 * A device extends this class, declares its BARs and capabilities in its constructor, and calls {@link PciFunction.setIntx} and
 * {@link PciFunction.message}. Everything but `state` follows from the registers, and is worked out again after each change and after a load.
 *
 * Decisions: while MSI or MSI-X is enabled the pin is low and the interrupt status bit 0 (6.8.1.3); a message that bus mastering or D3hot forbids is lost.
 */
import type { Bdf, CauseId, PhysAddr } from "../base/units.ts";
import type { BusShare, JoinBus } from "../ports/bus-share.ts";
import { BUS_STATUS, type BusStatus, type Initiator } from "../ports/initiator.ts";
import type { LinePin } from "../ports/line.ts";
import type { Part, ResetPhase } from "../ports/part.ts";
import type { BarSpace, MasterPort } from "../ports/pci.ts";
import type { StateRecord } from "../sim/state.ts";
import { Bar, type BarOptions } from "./bars.ts";
import type { BusBridge, BusFunction, PciBus } from "./bus.ts";
import { D0 } from "./capabilities.regs.ts";
import {
  COMMAND,
  CONFIG,
  CONFIG_BYTES,
  type ConfigField,
  HEADER_TYPE,
  STATUS,
  TYPE0_FIELDS,
} from "./config-space.regs.ts";
import { ConfigSpace } from "./config-space.ts";
import { Express, type ExpressOptions } from "./express.ts";
import { Msi, type MsiOptions } from "./msi.ts";
import { freshMsix, Msix, type MsixOptions, type MsixState } from "./msix.ts";
import { Power, type PowerOptions } from "./power.ts";

/** What the board gives to a function: its place, and ways out. */
export type PciSlot = {
  /** Name of the part. */
  readonly name: string;
  readonly bus: PciBus;
  readonly devfn: number;
  readonly memory: BarSpace;
  readonly io: BarSpace;
  /** Null for a function that never masters the bus. */
  readonly master: MasterPort | null;
  /** A driver of the line that pin 0 (INTA#) … 3 of this function leads to. */
  readonly pin: (pin: number) => LinePin;
  /** Absent where the bus is not modelled. */
  readonly joinBus?: JoinBus;
};

export type PciIdentity = {
  readonly vendor: number;
  readonly device: number;
  readonly revision?: number;
  /** 24 bits: base class, sub-class, interface. */
  readonly classCode: number;
  readonly subsystemVendor?: number;
  readonly subsystem?: number;
  /** Set in function 0 of a device with several. */
  readonly multifunction?: boolean;
  /** 0 for INTA#, … 3; null for none. */
  readonly interruptPin?: number | null;
  /** Bytes of configuration space, 256 when left out. */
  readonly configBytes?: number;
  readonly headerLayout?: number;
  readonly fields?: readonly ConfigField[];
};

export type PciState<D extends StateRecord> = {
  config: Uint8Array;
  /** The function wants its INTx pin asserted. */
  intx: boolean;
  msix: MsixState;
  /** The device's own. */
  device: D;
};

/** The bus master's port of a function: cut by bus master enable, and noting refusals in the status register. */
class FunctionMaster implements Initiator {
  enabled = false;
  readonly port: MasterPort;
  readonly #space: ConfigSpace;

  constructor(port: MasterPort, space: ConfigSpace) {
    this.port = port;
    this.#space = space;
  }

  get requester(): Bdf {
    return this.port.requester;
  }

  read(address: PhysAddr, into: Uint8Array, offset: number, length: number): BusStatus {
    if (this.enabled) return this.#note(this.port.read(address, into, offset, length));
    into.fill(0xff, offset, offset + length);
    return BUS_STATUS.disabled;
  }

  write(address: PhysAddr, from: Uint8Array, offset: number, length: number): BusStatus {
    return this.enabled ? this.#note(this.port.write(address, from, offset, length)) : BUS_STATUS.disabled;
  }

  copy(source: PhysAddr, target: PhysAddr, length: number, noSnoop: number): BusStatus {
    return this.enabled ? this.#note(this.port.copy(source, target, length, noSnoop)) : BUS_STATUS.disabled;
  }

  #note(status: BusStatus): BusStatus {
    const field =
      status === BUS_STATUS.masterAbort
        ? STATUS.receivedMasterAbort
        : status === BUS_STATUS.targetAbort
          ? STATUS.receivedTargetAbort
          : null;
    if (field !== null) this.#space.put(CONFIG.status, 2, this.#space.read(CONFIG.status, 2) | field.mask);
    return status;
  }
}

export abstract class PciFunction<D extends StateRecord = StateRecord> implements Part, BusFunction {
  readonly name: string;
  readonly state: PciState<D>;
  readonly bridge: BusBridge | null = null;
  protected readonly space: ConfigSpace;
  /** Null for a function that never masters the bus. */
  protected readonly master: Initiator | null;
  readonly #slot: PciSlot;
  readonly #pin: LinePin | null;
  readonly #master: FunctionMaster | null;
  readonly #bars: Bar[] = [];
  readonly #word = new Uint8Array(4);
  readonly #decodes = (io: boolean, base: number, size: number): boolean => this.#slot.bus.decodes(io, base, size);
  #msi: Msi | null = null;
  #msix: Msix | null = null;
  #power: Power | null = null;
  #express: Express | null = null;

  constructor(slot: PciSlot, identity: PciIdentity, device: D) {
    this.name = slot.name;
    this.#slot = slot;
    this.space = new ConfigSpace(identity.configBytes ?? CONFIG_BYTES, identity.fields ?? TYPE0_FIELDS);
    this.state = { config: this.space.bytes, intx: false, msix: freshMsix(0), device };
    this.#master = slot.master === null ? null : new FunctionMaster(slot.master, this.space);
    this.master = this.#master;
    const pin = identity.interruptPin ?? null;
    this.#pin = pin === null ? null : slot.pin(pin);
    const { layout, multifunction } = HEADER_TYPE;
    const header = layout.put(identity.multifunction === true ? multifunction.mask : 0, identity.headerLayout ?? 0);
    const preset = (offset: number, size: number, value: number): void => this.space.preset(offset, size, value);
    preset(CONFIG.vendor, 2, identity.vendor);
    preset(CONFIG.device, 2, identity.device);
    preset(CONFIG.revision, 1, identity.revision ?? 0);
    preset(CONFIG.classCode, 3, identity.classCode);
    preset(CONFIG.headerType, 1, header);
    preset(CONFIG.interruptPin, 1, pin === null ? 0 : pin + 1);
    if (header % 128 === 0) {
      preset(CONFIG.subsystemVendor, 2, identity.subsystemVendor ?? 0);
      preset(CONFIG.subsystem, 2, identity.subsystem ?? 0);
    }
    slot.bus.attach(slot.devfn, this);
  }

  // --- for the constructor of a device --------------------------------------------------------------------------------------------------------------

  protected addBar(index: number, options: BarOptions): Bar {
    const bar = new Bar(index, options, this.space, options.kind === "io" ? this.#slot.io : this.#slot.memory);
    this.#bars.push(bar);
    return bar;
  }

  protected addMsi(options: MsiOptions): Msi {
    const send = (low: number, high: number, data: number, cause: CauseId): void => this.#send(low, high, data, cause);
    this.#msi = new Msi(this.space, options, send);
    return this.#msi;
  }

  /** The table's window is `window` of what is returned; the device puts it into a BAR. */
  protected addMsix(options: MsixOptions): Msix {
    const send = (low: number, high: number, data: number, cause: CauseId): void => this.#send(low, high, data, cause);
    this.state.msix = freshMsix(options.vectors);
    this.#msix = new Msix(this.name, this.space, this.state.msix, options, send);
    this.#msix.reset();
    return this.#msix;
  }

  protected addPowerManagement(options: PowerOptions = {}): void {
    this.#power = new Power(this.space, options);
  }

  protected addExpress(options: ExpressOptions): void {
    this.#express = new Express(this.space, options);
  }

  // --- for a device ------------------------------------------------------------------------------------------------------------------------------------

  /** MSI or MSI-X is on: interrupts are messages, and the pin is not used. */
  get messageMode(): boolean {
    return this.#msi?.enabled === true || this.#msix?.enabled === true;
  }

  /** The device has (no longer) a reason to assert its pin. */
  protected setIntx(level: boolean, cause: CauseId = 0): void {
    this.state.intx = level;
    this.#driveIntx(cause);
  }

  /** An interrupt by MSI-X or MSI, whichever is on; nothing when neither is. */
  protected message(vector: number, cause: CauseId = 0): void {
    if (this.#msix?.enabled === true) this.#msix.deliver(vector, cause);
    else this.#msi?.deliver(vector, cause);
  }

  /** Tells who listens (kinds of ports/events.ts, group dma); returns the id to pass on as the cause of what follows. */
  protected tell(kind: number, a: number, b: number, c: number, cause: CauseId = 0): CauseId {
    const port = this.#master?.port;
    return port === undefined ? cause : port.trace.emit(kind, port.requester, a, b, c, cause);
  }

  /**
   * For the constructor: a share of the modelled bus; null where the board has none, and the device keeps its own pace.
   * @param done all that was asked for has had its time
   */
  protected joinBus(channel: number | null, done: () => void): BusShare | null {
    return this.#slot.joinBus?.(channel, done) ?? null;
  }

  /** Whether its accesses go anywhere at present: bus master enable, power, bridges. */
  protected get masters(): boolean {
    return this.#master?.enabled === true;
  }

  /** Memory to memory: see {@link MasterPort.copy}. */
  protected dmaCopy(source: PhysAddr, target: PhysAddr, length: number, noSnoop: number): BusStatus {
    return this.#master!.copy(source, target, length, noSnoop);
  }

  /** What the following accesses of the bus master are caused by; 0 for nothing that is known. */
  protected set dmaCause(cause: CauseId) {
    if (this.#master !== null) this.#master.port.cause = cause;
  }

  /** The reason for a pending message has gone. */
  protected withdrawMessage(vector: number): void {
    if (this.#msix?.enabled === true) this.#msix.withdraw(vector);
    else this.#msi?.withdraw(vector);
  }

  /** The bus that this function sits on. */
  protected get slotBus(): PciBus {
    return this.#slot.bus;
  }

  protected get command(): number {
    return this.space.read(CONFIG.command, 2);
  }

  /** D0: only then does a function answer to anything but configuration accesses. */
  protected get powered(): boolean {
    return this.#power === null || this.#power.state === D0;
  }

  /** Puts the device's own state to its values after a reset; touches nobody. */
  protected abstract resetDevice(): void;

  /** After a write by software, when everything here has been worked out. */
  protected configWritten(_offset: number, _width: number): void {}

  // --- configuration accesses ----------------------------------------------------------------------------------------------------------------------------

  configRead(offset: number, width: number): number {
    return this.space.read(offset, width);
  }

  configWrite(offset: number, width: number, value: number): void {
    this.#power?.beforeWrite();
    this.space.write(offset, width, value);
    const fromD3 = this.#power?.afterWrite() === true;
    if (fromD3 || this.#express?.takeFunctionReset() === true) this.#functionReset();
    this.#derive(0);
    this.configWritten(offset, width);
    if (!this.powered) return;
    this.#msi?.written();
    this.#msix?.written();
  }

  configName(offset: number): string {
    return `${this.name}.${this.space.describe(offset)}`;
  }

  upstreamChanged(): void {
    this.#derive(0);
  }

  busReset(): void {
    this.bridge?.secondaryBus.reset();
    this.#resetState();
    this.#derive(0);
  }

  // --- life ----------------------------------------------------------------------------------------------------------------------------------------------

  reset(phase: ResetPhase): void {
    if (phase === "enter") this.#resetState();
    else if (phase === "hold") this.#derive(0);
  }

  restored(): void {
    this.#place();
  }

  /** Function level reset (PCIe 6.6.2), or the reset that ends D3hot. */
  #functionReset(): void {
    const restore = this.#express?.keep();
    this.#resetState();
    restore?.();
  }

  #resetState(): void {
    this.space.reset();
    this.state.intx = false;
    this.#msix?.reset();
    this.resetDevice();
  }

  /** Brings everything outside in line with the registers. */
  #derive(cause: CauseId): void {
    this.#place();
    this.#driveIntx(cause);
    this.bridge?.secondaryBus.changed();
  }

  /** Windows and bus mastering. */
  #place(): void {
    const { command, powered } = this;
    const { bus, devfn } = this.#slot;
    for (const bar of this.#bars) {
      const field = bar.kind === "io" ? COMMAND.io : COMMAND.memory;
      bar.update(powered && field.on(command), this.#decodes);
    }
    if (this.#master === null) return;
    this.#master.enabled = powered && COMMAND.busMaster.on(command) && bus.masters;
    this.#master.port.requester = (bus.number << 8) | devfn;
  }

  #driveIntx(cause: CauseId): void {
    const wanted = this.state.intx && !this.messageMode;
    const status = this.space.read(CONFIG.status, 1);
    this.space.put(CONFIG.status, 1, STATUS.interrupt.put(status, wanted ? 1 : 0));
    this.#pin?.set(wanted && this.powered && !COMMAND.interruptDisable.on(this.command), cause);
  }

  /** A message is a memory write, and obeys bus master enable like any other. */
  #send(low: number, high: number, data: number, cause: CauseId): void {
    if (this.#master === null) return;
    const word = this.#word;
    for (let i = 0; i < 4; i++) word[i] = data >>> (8 * i);
    const { port } = this.#master;
    const before = port.cause;
    port.cause = cause;
    this.#master.write(high * 2 ** 32 + low, word, 0, 4);
    port.cause = before;
  }
}
