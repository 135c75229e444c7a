import { beforeEach, describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../../test/fuzz-part.ts";
import { describePart } from "../../ports/part.contract.ts";
import type { Part } from "../../ports/part.ts";
import type { PciSlot } from "../../pci/function.ts";
import { RootPort } from "../../pci/root-port.ts";
import { hashState } from "../../sim/state.ts";
import { BAR0, Driver, fixture, VERSION_1, VirtioRig } from "./driver.testing.ts";
import { VirtioFunction } from "./transport.ts";
import {
  COMMON,
  COMMON_WIDTHS,
  DESCRIPTOR,
  NO_VECTOR,
  USED,
  VIRTIO_F,
  VIRTIO_ISR,
  VIRTIO_STATUS,
} from "./virtio.regs.ts";
import type { Virtqueue } from "./virtqueue.ts";

/** Bit 3 is its own feature; 8 bytes of configuration of which the last two can be written. */
class Probe extends VirtioFunction<{ rung: number[] }> {
  readonly calls: string[] = [];

  constructor(slot: PciSlot) {
    const config = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    super(slot, { type: 18, classCode: 0x00ff00, features: [3], queues: [8, 256], config, own: { rung: [] } });
  }
  change(offset: number, width: number, value: number): void {
    this.changeConfig(offset, width, value);
  }
  breakDown(): void {
    this.needReset("a reason");
  }
  has(feature: number): boolean {
    return this.accepted(feature);
  }
  protected override queueNotified(queue: Virtqueue): void {
    this.own.rung.push(queue.index);
  }
  protected override deviceReset(): void {
    this.own.rung.length = 0;
    this.calls.push("reset");
  }
  protected override driverReady(): void {
    this.calls.push("ready");
  }
  protected override queueReset(queue: Virtqueue): void {
    this.calls.push(`queue ${queue.index} reset`);
  }
  protected override configWrittenByDriver(offset: number, width: number, value: number): void {
    for (let i = 0; i < width; i++) if (offset + i >= 6) this.deviceConfig[offset + i] = value >>> (8 * i);
  }
}

let rig: VirtioRig<Probe>;
let driver: Driver;
beforeEach(() => {
  rig = new VirtioRig(slot => new Probe(slot));
  driver = new Driver(rig);
});
const config = (offset: number, width: number): number => rig.part.configRead(offset, width);
const isr = (): number => rig.board.space.read(driver.isr, 1);
function ready(features: readonly number[] = [VERSION_1]): void {
  driver.negotiate(features);
  driver.ready();
}

describe("virtio on PCI: registers of the specification", () => {
  it("pins struct virtio_pci_common_cfg (VIRTIO 1.2, 4.1.4.3)", () => {
    const offsets = [0, 4, 8, 12, 16, 18, 20, 21, 22, 24, 26, 28, 30, 32, 36, 40, 44, 48, 52, 56, 58];
    expect(Object.values(COMMON)).toEqual(offsets);
    const widths = [4, 4, 4, 4, 2, 2, 1, 1, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 2, 2];
    expect([...COMMON_WIDTHS.values()]).toEqual(widths);
  });
  it("pins status bits (2.1), feature bits (6), ISR bits (4.1.4.5) and the rings (2.7)", () => {
    const { acknowledge, driver: d, driverOk, featuresOk, needsReset, failed } = VIRTIO_STATUS;
    expect([acknowledge, d, driverOk, featuresOk, needsReset, failed].map(f => f.mask)).toEqual([1, 2, 4, 8, 64, 128]);
    expect(Object.values(VIRTIO_F)).toEqual([28, 29, 32, 33, 34, 35, 36, 37, 38, 39, 40]);
    expect([VIRTIO_ISR.queue.mask, VIRTIO_ISR.config.mask, NO_VECTOR]).toEqual([1, 2, 0xffff]);
    expect(Object.values(DESCRIPTOR)).toEqual([0, 4, 8, 12, 14]);
    expect([USED.index, USED.ring, USED.entryBytes]).toEqual([2, 4, 8]);
  });
});

describe("virtio on PCI: discovery (4.1.2, 4.1.4)", () => {
  it("is 1AF4:1040 + type with revision 1 and a subsystem id of at least 0x40", () => {
    expect([config(0, 2), config(2, 2), config(8, 1), config(0x2e, 2) >= 0x40]).toEqual([0x1af4, 0x1052, 1, true]);
  });
  it("has the capabilities, each with type, BAR, offset and length, inside a 64-bit memory BAR", () => {
    const found = [1, 2, 3, 4, 5].map(kind => {
      const at = rig.capability(kind);
      return [config(at + 2, 1), config(at + 4, 1), config(at + 12, 4)];
    });
    expect(found).toEqual([
      [16, 0, 60],
      [20, 0, 0x1000],
      [16, 0, 1],
      [16, 0, 8],
      [20, 0, 0],
    ]);
    // Type 10b: 64 bits; not prefetchable.
    expect(config(0x10, 4) & 15).toBe(4);
    expect(driver.notifyBase % 2).toBe(0);
  });
  it("has power management, MSI-X with a vector per queue and one for the configuration, and Express as an integrated endpoint", () => {
    expect(rig.pciCapability(1)).not.toBe(0);
    expect(config(rig.pciCapability(0x11) + 2, 2) & 0x7ff).toBe(2);
    expect((config(rig.pciCapability(0x10) + 2, 2) >> 4) & 15).toBe(9);
  });
  it("is an express endpoint behind a root port", () => {
    const { board } = rig;
    const port = new RootPort(board.slot("port", 5), { port: 1 });
    const probe = new Probe(board.slot("behind", 0, port.secondaryBus));
    let at = probe.configRead(0x34, 1);
    while (probe.configRead(at, 1) !== 0x10) at = probe.configRead(at + 1, 1);
    expect((probe.configRead(at + 2, 2) >> 4) & 15).toBe(0);
  });
  it("a device without configuration has no capability for it", () => {
    class Bare extends VirtioFunction {
      constructor(slot: PciSlot) {
        super(slot, { type: 4, classCode: 0, features: [], queues: [8], own: {} });
      }
      protected override queueNotified(): void {}
      protected override deviceReset(): void {}
    }
    expect(new VirtioRig(slot => new Bare(slot)).capability(4)).toBe(0);
  });
});

describe("virtio: features and status (2.1, 2.2, 3.1.1)", () => {
  it("offers its own features and those of the transport; selectors behind 63 show nothing", () => {
    const bits = [3, 28, 29, 32, 33, 40].reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
    expect(driver.offered()).toBe(bits);
    driver.write(0, 4, 2);
    expect(driver.read(4, 4)).toBe(0);
  });
  it("keeps FEATURES_OK for a subset with VERSION_1", () => {
    expect(driver.negotiate([3, VERSION_1])).toBe(true);
    expect([rig.part.has(3), rig.part.has(29), rig.part.has(32)]).toEqual([true, false, true]);
  });
  it.each([
    ["without VERSION_1", [3]],
    ["with a feature that was not offered", [4, VERSION_1]],
    ["with packed rings", [34, VERSION_1]],
  ])("refuses FEATURES_OK %s, and then DRIVER_OK too", (_, features) => {
    expect(driver.negotiate(features)).toBe(false);
    driver.ready();
    expect([driver.status & 4, rig.part.live]).toEqual([0, false]);
  });
  it("features cannot be changed after FEATURES_OK", () => {
    driver.negotiate([VERSION_1]);
    driver.write(8, 4, 0);
    driver.write(12, 4, 8);
    expect([driver.read(12, 4), rig.part.has(3)]).toEqual([0, false]);
  });
  it("status bits cannot be cleared one by one; 0 resets", () => {
    ready();
    driver.status = 1;
    expect(driver.status).toBe(15);
    driver.status = 0;
    expect(driver.status).toBe(0);
  });
  it("the driver is told ready once", () => {
    rig.part.calls.length = 0;
    ready();
    driver.ready();
    expect(rig.part.calls.filter(call => call === "ready")).toHaveLength(1);
  });
  it("a reset forgets queues, vectors and features, withdraws the interrupt, and leaves the function as new", () => {
    const fresh = new VirtioRig(slot => new Probe(slot));
    ready([3, VERSION_1]);
    driver.write(16, 2, 1);
    driver.write(22, 2, 1);
    driver.write(24, 2, 16);
    driver.write(32, 4, 0x1000);
    driver.write(28, 2, 1);
    driver.notify(1);
    rig.part.breakDown();
    expect(rig.pin).toBe(true);
    driver.status = 0;
    expect([rig.pin, driver.read(16, 2)]).toEqual([false, 0xffff]);
    expect(hashState(rig.part.state)).toBe(hashState(fresh.part.state));
  });
  it("DEVICE_NEEDS_RESET is the device's to set, and tells a driver that was ready (2.1.2)", () => {
    driver.status = 0x41;
    expect(driver.status).toBe(1);
    rig.part.breakDown();
    expect([driver.status, rig.pin]).toEqual([0x41, false]);
    driver.status = 0;
    ready();
    rig.part.breakDown();
    rig.part.breakDown();
    expect([driver.status, rig.pin, isr(), rig.pin, rig.part.failure]).toEqual([0x4f, true, 2, false, "a reason"]);
  });
  it("function level reset and the way from D3hot reset the device, too", () => {
    ready();
    const control = rig.pciCapability(0x10) + 8;
    rig.part.configWrite(control, 2, 0x8000);
    rig.enable();
    expect(driver.status).toBe(0);
    ready();
    const power = rig.pciCapability(1) + 4;
    rig.part.configWrite(power, 2, 3);
    rig.part.configWrite(power, 2, 0);
    rig.enable();
    expect(driver.status).toBe(0);
  });
});

describe("virtio: queues (4.1.4.3)", () => {
  it("shows the largest size, takes powers of two up to it, and 0 for a queue that there is not", () => {
    expect(driver.read(18, 2)).toBe(2);
    driver.write(22, 2, 1);
    expect(driver.read(24, 2)).toBe(256);
    for (const size of [0, 3, 512, 100]) driver.write(24, 2, size);
    expect(driver.read(24, 2)).toBe(256);
    driver.write(24, 2, 32);
    expect(driver.read(24, 2)).toBe(32);
    driver.write(22, 2, 2);
    expect([driver.read(24, 2), driver.read(28, 2)]).toEqual([0, 0]);
  });
  it("keeps 64-bit addresses, and an enabled queue's registers do not change", () => {
    driver.write(22, 2, 0);
    for (let offset = 32; offset < 56; offset += 4) driver.write(offset, 4, 0x11111110 + offset);
    driver.write(28, 2, 1);
    driver.write(32, 4, 0);
    driver.write(24, 2, 4);
    driver.write(28, 2, 0);
    const words = [32, 36, 40, 44, 48, 52].map(offset => driver.read(offset, 4) - 0x11111110);
    expect([words, driver.read(24, 2), driver.read(28, 2)]).toEqual([[32, 36, 40, 44, 48, 52], 8, 1]);
  });
  it("a vector that there is not reads back as NO_VECTOR (4.1.5.1.2)", () => {
    for (const [value, back] of [
      [2, 2],
      [3, 0xffff],
      [0, 0],
      [0xffff, 0xffff],
    ]) {
      driver.write(16, 2, value!);
      driver.write(26, 2, value!);
      expect([driver.read(16, 2), driver.read(26, 2)]).toEqual([back, back]);
    }
  });
  it("each queue has its own notification address, and bells that ring too early are kept for DRIVER_OK", () => {
    driver.negotiate([VERSION_1]);
    driver.notify(1);
    expect(rig.part.state.device.own.rung).toEqual([]);
    driver.ready();
    expect(rig.part.state.device.own.rung).toEqual([1]);
    driver.status = 0;
    driver.notify(1);
    driver.status = 0;
    ready();
    expect(rig.part.state.device.own.rung).toEqual([]);
    driver.notify(1);
    driver.notify(0);
    rig.board.space.write(driver.notifyBase + 8, 2, 2);
    rig.board.space.write(driver.notifyBase + 2, 2, 1);
    expect(rig.part.state.device.own.rung).toEqual([1, 0]);
  });
  it("queue_reset resets one queue, if VIRTIO_F_RING_RESET was negotiated (2.6.1)", () => {
    ready([VERSION_1]);
    driver.write(22, 2, 1);
    driver.write(28, 2, 1);
    driver.write(58, 2, 1);
    expect(driver.read(28, 2)).toBe(1);
    driver.status = 0;
    ready([VERSION_1, 40]);
    driver.write(28, 2, 1);
    driver.write(22, 2, 1);
    driver.write(28, 2, 1);
    driver.write(58, 2, 1);
    expect([driver.read(28, 2), driver.read(58, 2), rig.part.calls.at(-1)]).toEqual([0, 0, "queue 1 reset"]);
    driver.write(22, 2, 0);
    expect(driver.read(28, 2)).toBe(1);
  });
  it("registers can be reached in pieces and together", () => {
    driver.write(22, 1, 1);
    expect(driver.read(24, 1)).toBe(0);
    expect(driver.read(25, 1)).toBe(1);
    driver.write(20, 4, 0x0000_0001);
    expect([driver.status, driver.read(22, 2)]).toEqual([1, 0]);
    driver.write(32, 2, 0x1234);
    driver.write(34, 2, 0x5678);
    expect(driver.read(32, 4)).toBe(0x56781234);
    expect(driver.read(16, 4)).toBe(0x0002ffff);
    expect(driver.read(60, 4)).toBe(0);
  });
});

describe("virtio: configuration and its interrupts (2.5, 4.1.5.4)", () => {
  const read = (offset: number, width: number): number => rig.board.space.read(driver.config + offset, width);

  it("is read in any width, and 0 behind its end", () => {
    expect([read(0, 1), read(0, 2), read(4, 4), read(8, 4)]).toEqual([1, 0x0201, 0x08070605, 0]);
  });
  it("a change raises the generation and interrupts by the pin; reading the ISR takes both away", () => {
    ready();
    const before = driver.read(21, 1);
    rig.part.change(0, 4, 0xaabbccdd);
    expect([read(0, 4), driver.read(21, 1)]).toEqual([0xaabbccdd, (before + 1) & 0xff]);
    expect([rig.pin, isr(), rig.pin, isr()]).toEqual([true, 2, false, 0]);
  });
  it("with MSI-X the configuration's vector is used, and the ISR and the pin are not", () => {
    ready();
    driver.useMsix(3);
    rig.part.change(0, 1, 9);
    expect(rig.board.messages).toEqual([]);
    driver.write(16, 2, 2);
    rig.part.change(0, 1, 10);
    expect(rig.board.messages.map(({ data }) => data)).toEqual([0x42]);
    expect([rig.pin, isr()]).toEqual([false, 0]);
  });
  it("nobody is told before the driver is ready", () => {
    rig.part.change(0, 1, 9);
    expect([rig.pin, isr()]).toEqual([false, 0]);
  });
  it("the device decides what the driver may write; a reset brings the first contents back", () => {
    rig.board.space.write(driver.config + 4, 4, 0xffffffff);
    expect(read(4, 4)).toBe(0xffff0605);
    driver.status = 0;
    expect(read(4, 4)).toBe(0x08070605);
  });
});

describe("virtio: configuration access capability (4.1.4.9)", () => {
  const access = (bar: number, offset: number, length: number): number => {
    const at = rig.capability(5);
    rig.part.configWrite(at + 4, 1, bar);
    rig.part.configWrite(at + 8, 4, offset);
    rig.part.configWrite(at + 12, 4, length);
    return at + 16;
  };
  it("reads and writes the structures, also while the BAR is not decoded", () => {
    rig.part.configWrite(4, 2, 0);
    const data = access(0, driver.common - BAR0 + 20, 1);
    rig.part.configWrite(data, 1, 1);
    expect(rig.part.configRead(data, 1)).toBe(1);
    rig.part.configWrite(access(0, driver.common - BAR0 + 22, 2), 2, 1);
    expect(rig.part.configRead(access(0, driver.common - BAR0 + 24, 2), 2)).toBe(256);
    expect(rig.part.configRead(access(0, driver.config - BAR0, 4), 4)).toBe(0x04030201);
  });
  it("reaches the MSI-X table, too, and nothing by other BARs, lengths and places", () => {
    rig.part.configWrite(access(2, 8, 4), 4, 0x77);
    expect(rig.board.space.read(0xe1000008, 4)).toBe(0x77);
    for (const [bar, offset, length] of [
      [1, 0, 4],
      [0, 20, 3],
      [0, 19, 2],
      [0, 0x4000, 4],
      [2, 0, 2],
    ] as const) {
      rig.part.configWrite(access(bar, offset, length), 4, 0x11111111);
      expect(driver.status).toBe(0);
    }
  });
});

describePart("virtio transport", () => fixture(new VirtioRig(slot => new Probe(slot))));

it(
  "fuzz: the pin is high exactly while the ISR is not 0 and the command register and MSI-X allow it",
  () => {
    const make = () => {
      const own = new VirtioRig(slot => new Probe(slot));
      return { ...fixture(own, [29]), own };
    };
    const [msixControl, powerControl] = [rig.pciCapability(0x11) + 2, rig.pciCapability(1) + 4];
    fuzzPart(make, "virtio transport", { maxAdvance: 20_000 }, ({ own: { part, board } }) => {
      const msix = (part.configRead(msixControl, 2) & 0x8000) !== 0;
      const powered = (part.configRead(powerControl, 2) & 3) === 0;
      const disabled = (part.configRead(4, 2) & 0x400) !== 0;
      const { isr: status } = part.state.device;
      expect(board.lines[0]!.level).toBe(status !== 0 && !disabled && !msix && powered);
    });
  },
  FUZZ_TIMEOUT,
);

it("a platform reset is a reset of the device", () => {
  ready();
  const part: Part = rig.part;
  for (const phase of ["enter", "hold", "exit"] as const) part.reset(phase, "system");
  rig.enable();
  expect(driver.status).toBe(0);
});
