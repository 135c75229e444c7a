import { describe, expect, test } from "vitest";
import { HostError } from "../base/assert.ts";
import { MIB } from "../base/units.ts";
import { VirtioConsole } from "../devices/virtio/virtio-console.ts";
import { dump } from "../pci/board.testing.ts";
import { walk } from "../pci/topology.ts";
import { FakeProcessor } from "./fake-processor.ts";
import { PORT } from "./memory-map.ts";
import { Pc } from "./pc.ts";
import { addressOf, parseDevice } from "./pci-devices.ts";
import { ECAM, PCI_ROUTES, routeOf, routeThrough } from "./pci-map.ts";

const image = (() => {
  const bytes = new Uint8Array(512).fill(0x90);
  bytes.set([0x55, 0xaa], 510);
  return { name: "sector", bytes, args: "" };
})();

/** A board whose CPUs do nothing. */
function board(...devices: string[]): Pc {
  return new Pc({
    cpus: 1,
    memory: 4 * MIB,
    image,
    devices: devices.map(parseDevice),
    makeProcessor: given => new FakeProcessor(given.index, () => {}, !given.bsp),
  });
}
function config(pc: Pc, address: number, width = 4): number {
  pc.ports.write(PORT.pciConfig, 4, (0x80000000 + (address & ~3)) >>> 0);
  return pc.ports.read(PORT.pciConfig + 4 + (address & 3), width);
}
const EDU = 0x0800;

describe("interrupt routes", () => {
  test("are the lines 16 to 23, every pin of every device of bus 0, and all of them are used", () => {
    expect(PCI_ROUTES).toHaveLength(128);
    expect(new Set(PCI_ROUTES.map(({ gsi }) => gsi))).toEqual(new Set([16, 17, 18, 19, 20, 21, 22, 23]));
    for (const { device, pin, pirq, gsi, register } of PCI_ROUTES) {
      expect(gsi).toBe(16 + pirq);
      expect(register).toBe(pirq < 4 ? 0x60 + pirq : 0x68 + pirq - 4);
      expect(routeOf(device, pin)).toMatchObject({ device, pin });
    }
  });
  test("behind a bridge the pin is swizzled (PCI-to-PCI Bridge 1.2, 9.1)", () => {
    expect(routeThrough([0x1c, 3], 2)).toEqual(routeOf(0x1c, 1));
    expect(routeThrough([0x1c], 2)).toEqual(routeOf(0x1c, 2));
  });
});

describe("what firmware leaves", () => {
  test("bridges and devices have their places, BARs and interrupt lines", () => {
    const pc = board("edu", "edu,addr=0a");
    expect(walk(pc.pci.root).map(({ bus, devfn }) => [bus, devfn >> 3])).toEqual([
      [0, 0],
      [0, 1],
      [0, 0x0a],
      [0, 0x1f],
    ]);
    expect(dump(pc.pci.root)[0]).toBe("00:00.0 0600: 8086:29c0");
    expect([config(pc, EDU + 0x10), config(pc, (0x0a << 11) + 0x10)]).toEqual([0xc0000000, 0xc0100000]);
    expect([config(pc, EDU + 4, 2), config(pc, EDU + 0x3c, 2)]).toEqual([3, 0x010a]);
    expect(config(pc, EDU + 0x3c, 1)).toBe(routeOf(1, 0).irq);
    expect(pc.space.read(0xc0000000, 4)).toBe(0x010000ed);
    // The PIRQs go to interrupts 10 and 11, which are level-triggered.
    expect(config(pc, (0x1f << 11) + 0x60)).toBe(0x0b0b0a0a);
    expect(pc.ports.read(PORT.elcr + 1, 1)).toBe(0x0c);
  });
  test("behind root ports: bus numbers, windows of a megabyte, requests that pass", () => {
    const pc = board("root-port", "root-port,id=x", "edu,bus=x");
    expect(walk(pc.pci.root).map(({ bus, devfn, fn }) => [bus, devfn, fn.name])).toEqual([
      [0, 0, "host bridge"],
      [0, 0xe0, "root port 1"],
      [0, 0xe1, "root port 2"],
      [0, 0xf8, "isa bridge"],
      [2, 0, "edu"],
    ]);
    // Subordinate, secondary, primary.
    expect([config(pc, 0xe018, 4) & 0xffffff, config(pc, 0xe118, 4) & 0xffffff]).toEqual([0x010100, 0x020200]);
    // Function 0 says that there are others (PCI 3.0, 6.2.1, header type).
    expect([config(pc, 0xe00e, 1), config(pc, 0xe10e, 1)]).toEqual([0x81, 0x01]);
    // Nothing behind the first one: its windows are shut, the base above the limit.
    expect([config(pc, 0xe020, 4), config(pc, 0xe120, 4)]).toEqual([0x0000fff0, 0xc000c000]);
    expect(pc.space.read(0xc0000000, 4)).toBe(0x010000ed);
    expect(pc.space.read(ECAM.base + (2 << 20), 4)).toBe(0x11e81234);
  });
});

test("an interrupt pin reaches its input of the I/O APIC as a low voltage, and the 8259 by its PIRQ", () => {
  const pc = board("edu");
  pc.ports.write(PORT.picSlave + 1, 1, 0xfb);
  // Level, active low, vector 0x51, input 17.
  pc.space.write(0xfec00000, 4, 0x10 + 2 * 17);
  pc.space.write(0xfec00010, 4, 0xa051);
  const remoteIrr = (): boolean => (pc.space.read(0xfec00010, 4) & 0x4000) !== 0;
  expect([routeOf(1, 0).gsi, remoteIrr()]).toEqual([17, false]);
  pc.space.write(0xc0000060, 4, 1);
  expect(remoteIrr()).toBe(true);
  pc.ports.write(PORT.picSlave, 1, 0x0a);
  expect(pc.ports.read(PORT.picSlave, 1)).toBe(1 << (10 - 8));
  pc.space.write(0xc0000064, 4, 1);
  expect(pc.ports.read(PORT.picSlave, 1)).toBe(0);
});

test("port 0xCF9 is reached by bytes, CONFIG_ADDRESS by doublewords", () => {
  const pc = board();
  expect(config(pc, 0)).toBe(0x29c08086);
  pc.ports.write(PORT.resetControl, 1, 0x02);
  expect(pc.ports.read(PORT.resetControl, 1)).toBe(0x02);
  expect(pc.ports.read(PORT.pciConfig, 4)).toBe(0x80000000);
});

test("a snapshot brings BARs, bus numbers and running transfers with it", () => {
  const devices = ["root-port", "edu,bus=rp0", "edu"];
  const a = board(...devices);
  pcMoves(a);
  const b = board(...devices);
  b.load(a.save());
  expect(b.stateHash()).toBe(a.stateHash());
  expect(b.space.read(0xd0000000, 4)).toBe(0x010000ed);
  expect(b.space.read(0xc0000000, 4)).toBe(a.space.read(0xc0000000, 4));
  for (const pc of [a, b]) pc.run(5_000_000);
  expect(b.space.read(0xd0000098, 4)).toBe(0);
  expect(b.stateHash()).toBe(a.stateHash());
});

function pcMoves(pc: Pc): void {
  config(pc, EDU + 0x10);
  pc.ports.write(PORT.pciConfig + 4, 4, 0xd0000000);
  config(pc, EDU + 4);
  pc.ports.write(PORT.pciConfig + 4, 2, 6);
  pc.space.write(0xd0000080, 4, 0x1000);
  pc.space.write(0xd0000088, 4, 0x40000);
  pc.space.write(0xd0000090, 4, 16);
  pc.space.write(0xd0000098, 4, 1);
}

describe("--device", () => {
  test("name and keys", () => {
    const spec = parseDevice("edu,dma_mask=0xffffffff,addr=1b,id=teacher");
    expect([spec.name, spec.keys.get("dma_mask"), addressOf(spec)]).toEqual(["edu", "0xffffffff", 0x1b]);
  });
  test.each([
    ["ude", /no device is called "ude": there are root-port, edu/],
    ["edu,mask=1", /device edu has no mask/],
    ["edu,dma_mask", /write dma_mask=value/],
    ["edu,dma_mask=x", /no number/],
    ["edu,addr=99", /no device number/],
    ["edu,addr=1f", /addr=1f is taken/],
    ["edu,bus=rp9", /there is no root port rp9/],
    ["root-port,addr=2", /a place of its own/],
  ])("%s is refused in one line with status 64", (text, message) => {
    const attempt = () => board(text);
    expect(attempt).toThrow(HostError);
    expect(attempt).toThrow(message);
  });
  test("places run out", () => {
    expect(() => board(...new Array<string>(28).fill("edu"))).toThrow(/no place is left/);
    expect(() => board("root-port", "edu,bus=rp0", "edu,bus=rp0")).toThrow(/no place is left/);
    expect(() => board(...new Array<string>(7).fill("root-port"))).toThrow(/at most 6/);
    expect(() => board("edu,id=a", "edu,id=a")).toThrow(/id a is taken/);
  });
});

describe("disks and consoles", () => {
  const source = { name: "zeros", bytes: 1 << 16, read: () => {} };
  const withDisks = (...disks: Record<string, string>[]): Pc =>
    new Pc({
      ...{ cpus: 1, memory: 4 * MIB, image },
      devices: ["root-port,id=rp", "edu"].map(parseDevice),
      disks: disks.map(keys => ({ source, keys: new Map(Object.entries(keys)) })),
      makeProcessor: given => new FakeProcessor(given.index, () => {}, !given.bsp),
    });
  const BLOCK = 0x10421af4;

  test("a disk goes where its keys say, with so many queues (VIRTIO 1.2, 5.2.4), and is called by its id", () => {
    const pc = withDisks({}, { addr: "2", queues: "3" }, { bus: "rp", id: "behind" });
    // The one that has a wish comes first; edu and the disk without one take the next places.
    expect([config(pc, EDU), config(pc, 0x1000), config(pc, 0x1800)]).toEqual([0x11e81234, BLOCK, BLOCK]);
    expect(walk(pc.pci.root).some(({ bus, devfn }) => bus === 1 && devfn === 0)).toBe(true);
    expect(pc.parts.some(({ name }) => name === "behind")).toBe(true);
    // num_queues lies at 34 of the device configuration, in the fourth page of BAR 0.
    const bar = config(pc, 0x1010) & ~15;
    const offset = [...Array(64).keys()]
      .map(n => config(pc, 0x1000 + 4 * n))
      .findIndex(w => ((w >>> 24) & 255) === 4 && (w & 255) === 9);
    const device = config(pc, 0x1000 + 4 * offset + 8);
    expect(pc.space.read((bar >>> 0) + device + 34, 2)).toBe(3);
  });
  test("what a disk cannot have is one line", () => {
    expect(() => withDisks({ queues: "0" })).toThrow(new HostError("--disk: queues=0: there can be 1 to 64", 64));
    expect(() => withDisks({ queues: "65" })).toThrow("there can be 1 to 64");
    expect(() => withDisks({ queues: "x" })).toThrow("queues=x is no number");
    expect(() => withDisks({ bus: "none" })).toThrow("there is no root port none");
    expect(() => withDisks({ addr: "0" })).toThrow("the place addr=0 is taken");
  });
  test("a console takes the keys when input=on says so; two of them are one too many", () => {
    const typed = (...devices: string[]): number[] => {
      const pc = board(...devices);
      pc.type([65, 66]);
      const made = pc.parts.find(part => part instanceof VirtioConsole);
      return made instanceof VirtioConsole ? made.state.device.own.input : [];
    };
    expect(typed("virtio-console,input=on")).toEqual([65, 66]);
    expect(typed("virtio-console,input=off")).toEqual([]);
    expect(typed("virtio-console")).toEqual([]);
    expect(() => board("virtio-console,input=on", "virtio-console,input=on")).toThrow("two want the keys");
    expect(() => board("virtio-console,input=yes")).toThrow("input=yes is neither on nor off");
  });
});
