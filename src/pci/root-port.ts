/**
 * A PCI Express root port without hot-plug: a type 1 header with a bus of its own behind it. PCI-to-PCI Bridge Architecture Specification 1.2, chapters 3
 * and 4; PCI Express Base Specification 3.0, 7.5.1 and 7.8. Identification and layout are those of Intel's ICH9 (data sheet 316972, chapter 19).
 *
 * Decisions: a range is let through when it lies wholly inside one window; configuration accesses also pass in D3hot. Not modelled: ISA and VGA address bits (they cannot be set), slot registers,
 * errors and PME; the port itself never interrupts.
 */
import { type BusBridge, PciBus } from "./bus.ts";
import {
  BRIDGE,
  BRIDGE_CONTROL,
  CAPABILITY,
  COMMAND,
  EXTENDED_CONFIG_BYTES,
  TYPE1_FIELDS,
} from "./config-space.regs.ts";
import { PciFunction, type PciSlot } from "./function.ts";

const INTEL = 0x8086;
/** ICH9 PCI Express root port 1; port n has 2 (n − 1) more. */
const ICH9_ROOT_PORT = 0x2940;
const CLASS_BRIDGE_PCI = 0x060400;
const MIB_SHIFT = 20;
const IO_UNIT = 0x1000;
const HIGH = 2 ** 32;
/** Offsets of the capabilities as in ICH9. */
const AT = { express: 0x40, msi: 0x80, subsystem: 0x90, power: 0xa0 } as const;
const SUBSYSTEM_BYTES = 8;

export type RootPortOptions = {
  /** 1 … 6. */
  readonly port: number;
  readonly multifunction?: boolean;
};

type RootPortState = { secondaryReset: boolean };

export class RootPort extends PciFunction<RootPortState> implements BusBridge {
  override readonly bridge: BusBridge;
  readonly secondaryBus: PciBus;

  constructor(slot: PciSlot, options: RootPortOptions) {
    super(
      slot,
      {
        vendor: INTEL,
        device: ICH9_ROOT_PORT + 2 * (options.port - 1),
        revision: 2,
        classCode: CLASS_BRIDGE_PCI,
        interruptPin: (options.port - 1) & 3,
        configBytes: EXTENDED_CONFIG_BYTES,
        headerLayout: 1,
        fields: TYPE1_FIELDS,
        ...(options.multifunction === undefined ? {} : { multifunction: options.multifunction }),
      },
      { secondaryReset: false },
    );
    this.addExpress({ type: "rootPort", port: options.port, at: AT.express });
    this.addMsi({ vectors: 1, wide: false, maskable: false, at: AT.msi });
    this.space.addCapability(CAPABILITY.subsystem, SUBSYSTEM_BYTES, AT.subsystem);
    this.addPowerManagement({ noSoftReset: true, at: AT.power });
    this.bridge = this;
    this.secondaryBus = new PciBus(this);
  }

  get secondary(): number {
    return this.space.read(BRIDGE.secondary, 1);
  }

  get subordinate(): number {
    return this.space.read(BRIDGE.subordinate, 1);
  }

  get forwardsMasters(): boolean {
    return this.powered && COMMAND.busMaster.on(this.command) && this.slotBus.masters;
  }

  forwards(io: boolean, base: number, size: number): boolean {
    if (!this.powered || !(io ? COMMAND.io : COMMAND.memory).on(this.command)) return false;
    const windows = io ? [this.#ioWindow()] : [this.#memoryWindow(), this.#prefetchableWindow()];
    return windows.some(([first, end]) => base >= first && base + size <= end) && this.slotBus.decodes(io, base, size);
  }

  protected override resetDevice(): void {
    this.state.device.secondaryReset = false;
  }

  /** The rising edge of the secondary bus reset bit resets everybody behind. */
  protected override configWritten(): void {
    const wanted = BRIDGE_CONTROL.secondaryReset.on(this.space.read(BRIDGE.control, 2));
    if (wanted && !this.state.device.secondaryReset) this.secondaryBus.reset();
    this.state.device.secondaryReset = wanted;
  }

  // First address of a window and the first one behind it (3.2.5.6 to 3.2.5.10).

  #ioWindow(): [number, number] {
    const base = this.space.read(BRIDGE.ioBase, 1) >> 4;
    const limit = this.space.read(BRIDGE.ioLimit, 1) >> 4;
    return [base * IO_UNIT, (limit + 1) * IO_UNIT];
  }

  #memoryWindow(): [number, number] {
    const base = this.space.read(BRIDGE.memoryBase, 2) >> 4;
    const limit = this.space.read(BRIDGE.memoryLimit, 2) >> 4;
    return [base * 2 ** MIB_SHIFT, (limit + 1) * 2 ** MIB_SHIFT];
  }

  #prefetchableWindow(): [number, number] {
    const { space } = this;
    const base =
      space.read(BRIDGE.prefetchBaseHigh, 4) * HIGH + (space.read(BRIDGE.prefetchBase, 2) >> 4) * 2 ** MIB_SHIFT;
    const limit =
      space.read(BRIDGE.prefetchLimitHigh, 4) * HIGH + (space.read(BRIDGE.prefetchLimit, 2) >> 4) * 2 ** MIB_SHIFT;
    return [base, limit + 2 ** MIB_SHIFT];
  }
}
