/** A PCI function as a driver sees it, by configuration mechanism 1. PCI Local Bus Specification 3.0, 3.2.2.3.2 and 6.8. */
import type { Bdf, PhysAddr } from "../base/units.ts";
import { MSI, MSI_CONTROL, MSI_OFFSETS, MSIX, MSIX_CONTROL, MSIX_PLACE } from "../pci/capabilities.regs.ts";
import { BAR_MEMORY, BAR_TYPE, CAPABILITY, COMMAND, CONFIG, STATUS } from "../pci/config-space.regs.ts";
import { CONFIG_ADDRESS, MECHANISM1 } from "../pci/mechanism1.regs.ts";
import { portIn, portOut, type Task } from "../ports/task.ts";
import type { DeviceMessage } from "./message.ts";

const PORT = 0xcf8;

export class PciFunction {
  readonly bdf: Bdf;

  constructor(bus: number, device: number, fn = 0) {
    this.bdf = (bus << 8) | (device << 3) | fn;
  }

  *#select(offset: number): Task {
    const { bdf } = this;
    let address = CONFIG_ADDRESS.enable.mask;
    address = CONFIG_ADDRESS.bus.put(address, bdf >>> 8);
    address = CONFIG_ADDRESS.device.put(address, (bdf >>> 3) & 31);
    address = CONFIG_ADDRESS.function.put(address, bdf & 7);
    yield* portOut(PORT + MECHANISM1.address, 4, CONFIG_ADDRESS.register.put(address, offset >> 2));
  }

  *read(offset: number, width: 1 | 2 | 4): Task<number> {
    yield* this.#select(offset);
    return yield* portIn(PORT + MECHANISM1.data + (offset & 3), width);
  }

  *write(offset: number, width: 1 | 2 | 4, value: number): Task {
    yield* this.#select(offset);
    yield* portOut(PORT + MECHANISM1.data + (offset & 3), width, value);
  }

  /** Vendor in the low word, device in the high one; all ones when nothing is there. */
  *identity(): Task<number> {
    return yield* this.read(CONFIG.vendor, 4);
  }

  /** Address of memory BAR `index`, as firmware set it. */
  *memoryBar(index: number): Task<PhysAddr> {
    const low = yield* this.read(CONFIG.bar + 4 * index, 4);
    const wide = BAR_MEMORY.type.of(low) === BAR_TYPE.bits64;
    const high = wide ? yield* this.read(CONFIG.bar + 4 * index + 4, 4) : 0;
    return high * 4294967296 + ((low & BAR_MEMORY.base.mask) >>> 0);
  }

  /** Lets the function answer at its memory BARs and master the bus. */
  *enable(): Task {
    const command = yield* this.read(CONFIG.command, 2);
    yield* this.write(CONFIG.command, 2, command | COMMAND.memory.mask | COMMAND.busMaster.mask);
  }

  /** Offset of a capability, 0 when the function has none of the kind. */
  *findCapability(id: number): Task<number> {
    if (!STATUS.capabilities.on(yield* this.read(CONFIG.status, 2))) return 0;
    let at = (yield* this.read(CONFIG.capabilities, 1)) & 0xfc;
    for (let seen = 0; at !== 0 && seen < 48; seen++) {
      if ((yield* this.read(at, 1)) === id) return at;
      at = (yield* this.read(at + 1, 1)) & 0xfc;
    }
    return 0;
  }

  /** Programs MSI for one vector and switches it on. Throws RangeError when the function has no MSI. */
  *enableMsi(message: DeviceMessage): Task {
    const at = yield* this.findCapability(CAPABILITY.msi);
    if (at === 0) throw new RangeError(`function ${this.bdf.toString(16)} has no MSI`);
    const control = yield* this.read(at + MSI.control, 2);
    const wide = MSI_CONTROL.wide.on(control);
    yield* this.write(at + MSI.address, 4, message.address);
    if (wide) yield* this.write(at + MSI.addressHigh, 4, 0);
    yield* this.write(at + (wide ? MSI_OFFSETS.wide.data : MSI_OFFSETS.narrow.data), 2, message.data);
    yield* this.write(at + MSI.control, 2, MSI_CONTROL.enable.put(MSI_CONTROL.enabled.put(control, 0), 1));
  }

  /** Switches MSI-X on; all entries of its table, whose address this gives, are masked as reset left them. Throws RangeError without MSI-X. */
  *enableMsix(): Task<PhysAddr> {
    const at = yield* this.findCapability(CAPABILITY.msix);
    if (at === 0) throw new RangeError(`function ${this.bdf.toString(16)} has no MSI-X`);
    const place = yield* this.read(at + MSIX.table, 4);
    const control = yield* this.read(at + MSIX.control, 2);
    yield* this.write(at + MSIX.control, 2, MSIX_CONTROL.enable.put(control, 1));
    return (yield* this.memoryBar(MSIX_PLACE.bar.of(place))) + ((place & MSIX_PLACE.offset.mask) >>> 0);
  }
}
