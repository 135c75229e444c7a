/** For tests: a bus with memory, ports and lines around it, and a function that has everything. */
import { AddressSpace, Region } from "../memory/address-space.ts";
import { BusMaster } from "../memory/bus-master.ts";
import { PortSpace } from "../memory/port-space.ts";
import { Ram } from "../memory/ram.ts";
import { Line } from "../ports/line.ts";
import type { BarSpace } from "../ports/pci.ts";
import type { Window } from "../ports/window.ts";
import { Clock } from "../sim/clock.ts";
import { Trace } from "../sim/trace.ts";
import { devfnOf, PciBus } from "./bus.ts";
import { EXTENDED_CONFIG_BYTES } from "./config-space.regs.ts";
import { PciFunction, type PciSlot } from "./function.ts";
import type { Msix } from "./msix.ts";
import { placeName, swizzle, walk } from "./topology.ts";

export const RAM_BYTES = 0x100000;

export type SentMessage = { readonly address: number; readonly data: number; readonly requester: number };

/** What a board gives, with four interrupt lines A to D. */
export class TestBoard {
  readonly space = new AddressSpace(new Ram(new ArrayBuffer(RAM_BYTES), 0, RAM_BYTES));
  readonly ports = new PortSpace();
  readonly trace = new Trace(new Clock());
  readonly root = new PciBus(null);
  readonly lines = ["A", "B", "C", "D"].map((name, i) => new Line(`INT${name}`, i));
  readonly messages: SentMessage[] = [];
  readonly #memory: BarSpace;

  constructor() {
    const { space } = this;
    space.mapRam("RAM", 0, RAM_BYTES, 0);
    let claimed = 0;
    this.#memory = {
      claim: window => {
        const region = new Region(window.name, window.size, -1 - claimed++, -1, true, window);
        return {
          place: base => space.remap(region, base),
          remove: () => {
            if (region.mapped) space.unmap(region);
          },
        };
      },
    };
  }

  slot(name: string, device: number, bus: PciBus = this.root): PciSlot {
    const msi = {
      msi: (address: number, data: number, requester: number) => void this.messages.push({ address, data, requester }),
    };
    return {
      name,
      bus,
      devfn: devfnOf(device, 0),
      memory: this.#memory,
      io: this.ports,
      master: new BusMaster(devfnOf(device, 0), { space: this.space, msi, trace: this.trace, remap: null }),
      pin: pin => this.lines[swizzle(device, pin)]!.pin(),
    };
  }
}

/** Bytes that keep what is written. */
export function scratch(name: string, store: Uint8Array): Window {
  return {
    name,
    size: store.length,
    minWidth: 1,
    maxWidth: 4,
    read: (offset, width) => {
      let value = 0;
      for (let i = width - 1; i >= 0; i--) value = value * 256 + store[offset + i]!;
      return value;
    },
    write: (offset, width, value) => {
      for (let i = 0; i < width; i++) store[offset + i] = value >>> (8 * i);
    },
  };
}

export type SampleOptions = {
  readonly messages?: "msi" | "msi-narrow" | "msix" | "none";
  readonly vectors?: number;
  readonly noSoftReset?: boolean;
};

type SampleState = { memory: Uint8Array; wide: Uint8Array; ports: Uint8Array };

/** 256 bytes of 32-bit memory at BAR 0, 32 ports at BAR 1, 4 KiB of prefetchable 64-bit memory at BAR 2, MSI-X at BAR 4; INTB#. */
export class SampleFunction extends PciFunction<SampleState> {
  readonly msix: Msix | null = null;

  constructor(slot: PciSlot, options: SampleOptions = {}) {
    super(
      slot,
      {
        vendor: 0x1af4,
        device: 0x10f0,
        revision: 3,
        classCode: 0x088000,
        subsystemVendor: 0x1af4,
        subsystem: 0x1100,
        interruptPin: 1,
        configBytes: EXTENDED_CONFIG_BYTES,
      },
      { memory: new Uint8Array(256), wide: new Uint8Array(4096), ports: new Uint8Array(32) },
    );
    const { memory, wide, ports } = this.state.device;
    this.addBar(0, { kind: "memory32", window: scratch(`${slot.name} memory`, memory) });
    this.addBar(1, { kind: "io", window: scratch(`${slot.name} ports`, ports) });
    this.addBar(2, { kind: "memory64", prefetchable: true, window: scratch(`${slot.name} wide`, wide) });
    this.addPowerManagement({ noSoftReset: options.noSoftReset === true });
    const { messages = "msi", vectors = 4 } = options;
    if (messages === "msi") this.addMsi({ vectors, wide: true, maskable: true });
    if (messages === "msi-narrow") this.addMsi({ vectors, wide: false, maskable: false });
    if (messages === "msix") {
      this.msix = this.addMsix({ vectors, bar: 4 });
      this.addBar(4, { kind: "memory32", window: this.msix.window });
    }
    this.addExpress({ type: "endpoint", functionReset: true });
  }

  /** The device's own interrupt. */
  intx(level: boolean): void {
    this.setIntx(level);
  }
  vector(index: number): void {
    this.message(index);
  }
  withdraw(index: number): void {
    this.withdrawMessage(index);
  }
  get dma() {
    return this.master!;
  }

  protected override resetDevice(): void {
    const { memory, wide, ports } = this.state.device;
    memory.fill(0);
    wide.fill(0);
    ports.fill(0);
  }

  /** Offset of a capability, by walking the list as software does. */
  capability(id: number): number {
    let at = this.configRead(0x34, 1);
    for (let i = 0; i < 48 && at !== 0; i++) {
      if (this.configRead(at, 1) === id) return at;
      at = this.configRead(at + 1, 1);
    }
    return 0;
  }
}

/** One line per function, and its first 64 bytes, as lspci -x prints them. */
export function dump(root: PciBus): string[] {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0");
  return walk(root).flatMap(({ bus, devfn, fn }) => {
    const classCode = hex(fn.configRead(0x0a, 2), 4);
    const ids = `${hex(fn.configRead(0, 2), 4)}:${hex(fn.configRead(2, 2), 4)}`;
    const rows = [0, 0x10, 0x20, 0x30].map(row => {
      const bytes = Array.from({ length: 16 }, (_, i) => hex(fn.configRead(row + i, 1), 2));
      return `${hex(row, 2)}: ${bytes.join(" ")}`;
    });
    return [`${placeName(bus, devfn)} ${classCode}: ${ids}`, ...rows];
  });
}
