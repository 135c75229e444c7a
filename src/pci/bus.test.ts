import { describe, expect, it } from "vitest";
import { FUZZ_STEPS } from "../../test/fuzz-steps.ts";
import { FUZZ_TIMEOUT } from "../../test/fuzz-part.ts";
import { describePart } from "../ports/part.contract.ts";
import { Line } from "../ports/line.ts";
import { BUS_STATUS } from "../ports/initiator.ts";
import type { Window } from "../ports/window.ts";
import { Rng } from "../sim/rng.ts";
import { dump, SampleFunction, TestBoard } from "./board.testing.ts";
import type { BusFunction } from "./bus.ts";
import { PCIEXBAR, PIRQ_REGISTERS, PIRQ_ROUTE } from "./chipset.regs.ts";
import { Ecam } from "./ecam.ts";
import { HostBridge } from "./host-bridge.ts";
import { IsaBridge } from "./isa-bridge.ts";
import { CONFIG_ADDRESS } from "./mechanism1.regs.ts";
import { Mechanism1 } from "./mechanism1.ts";
import { RootPort } from "./root-port.ts";
import { placeName, swizzle, walk } from "./topology.ts";

const reset = (...parts: { reset(phase: "enter" | "hold" | "exit"): void }[]): void => {
  for (const phase of ["enter", "hold", "exit"] as const) for (const part of parts) part.reset(phase);
};

/** A sample function at 00:03.0, a root port at 00:1c.0, and another function behind it. */
function tree() {
  const board = new TestBoard();
  const near = new SampleFunction(board.slot("near", 3));
  const port = new RootPort(board.slot("port", 0x1c), { port: 1 });
  const far = new SampleFunction(board.slot("far", 0, port.secondaryBus));
  const mechanism = new Mechanism1({ root: board.root });
  reset(near, port, far, mechanism);
  const config = (address: number, width = 4): number => {
    mechanism.window.write(0, 4, address >>> 0);
    return mechanism.window.read(4 + (address & 3), width);
  };
  return { board, near, port, far, mechanism, config };
}

/** Opens the root port for memory 0xE0000000 - 0xE01FFFFF and ports 0xD000 - 0xDFFF, bus 5. */
function open(port: RootPort): void {
  port.configWrite(0x18, 4, 0x00050500);
  port.configWrite(0x20, 4, 0xe010_e000);
  port.configWrite(0x1c, 2, 0xd0d0);
  port.configWrite(4, 2, 7);
}

describe("configuration mechanism 1 (PCI 3.0, 3.2.2.3.2)", () => {
  it("pins CONFIG_ADDRESS", () => {
    const { register, function: fn, device, bus, enable } = CONFIG_ADDRESS;
    expect([register, fn, device, bus, enable].map(f => f.mask)).toEqual([0xfc, 0x700, 0xf800, 0xff0000, 0x80000000]);
  });
  it("selects bus, device, function and doubleword; byte lanes follow the port", () => {
    const { config } = tree();
    expect(config(0x80001800)).toBe(0x10f01af4);
    expect(config(0x80001802, 2)).toBe(0x10f0);
    expect(config(0x80001803, 1)).toBe(0x10);
  });
  it("nobody there: all-ones, and writes vanish (6.1)", () => {
    const { config, mechanism } = tree();
    expect(config(0x80002000)).toBe(0xffffffff);
    expect(config(0x80001900, 2)).toBe(0xffff);
    expect(config(0x80050000)).toBe(0xffffffff);
    mechanism.window.write(4, 4, 0);
    expect(config(0x00001800)).toBe(0xffffffff);
  });
  it("latches full doublewords only, and reserved bits read 0", () => {
    const { mechanism, near } = tree();
    const { window } = mechanism;
    window.write(0, 4, 0xffffffff);
    expect(window.read(0, 4)).toBe(0x80fffffc);
    window.write(0, 4, 0x80001804);
    window.write(0, 2, 0);
    window.write(3, 1, 0);
    expect([window.read(0, 4), window.read(0, 2), window.read(1, 1)]).toEqual([0x80001804, 0xffff, 0xff]);
    window.write(5, 1, 4);
    expect(near.configRead(4, 2)).toBe(0x400);
  });
  it("narrow accesses reach the register that lies under it", () => {
    const behind: number[] = [];
    const window: Window = {
      name: "reset",
      size: 1,
      minWidth: 1,
      maxWidth: 1,
      read: () => 0x5a,
      write: (_offset, _width, value) => void behind.push(value),
    };
    const mechanism = new Mechanism1({ root: new TestBoard().root, behind: { offset: 1, window } });
    mechanism.window.write(1, 1, 6);
    mechanism.window.write(0, 2, 0x0e00);
    mechanism.window.write(0, 4, 0x80001234);
    expect(behind).toEqual([6, 0x0e]);
    expect([1, 2].map(width => mechanism.window.read(width & 1, width))).toEqual([0x5a, 0x5aff]);
  });
});

describe("enhanced configuration access (PCIe 7.2.2, table 7-1)", () => {
  it("bus in bits 27:20, device 19:15, function 14:12, register 11:0", () => {
    const { board, port } = tree();
    const ecam = new Ecam(board.root);
    expect(ecam.read(3 << 15, 4)).toBe(0x10f01af4);
    open(port);
    expect(ecam.read(5 << 20, 4)).toBe(0x10f01af4);
    expect(ecam.read((3 << 15) | 0x100, 4)).toBe(0);
    expect(ecam.read((3 << 15) | (1 << 12), 4)).toBe(0xffffffff);
    ecam.write((3 << 15) | 0x3c, 1, 0x55);
    expect(ecam.read((3 << 15) | 0x3c, 2)).toBe(0x0255);
    expect(ecam.describe(5 << 20)).toBe("pci ecam 05:00.0 far.vendor");
  });
});

describe("a bridge (PCI-to-PCI Bridge 1.2, chapters 3 and 4)", () => {
  it("is an ICH9 root port with a type 1 header and the capabilities PCI Express, MSI, subsystem, power", () => {
    const { port } = tree();
    expect([port.configRead(0, 4), port.configRead(8, 4)]).toEqual([0x29408086, 0x06040002]);
    expect([port.configRead(0x0e, 1), port.configRead(0x34, 1)]).toEqual([1, 0x40]);
    expect([0x40, 0x80, 0x90, 0xa0].map(at => port.configRead(at, 2))).toEqual([0x8010, 0x9005, 0xa00d, 0x0001]);
    // Version 2, root port, no slot.
    expect(port.configRead(0x42, 2)).toBe(0x0042);
  });
  it("forwards configuration accesses from secondary to subordinate bus", () => {
    const { port, config, far } = tree();
    expect(config(0x80050000)).toBe(0xffffffff);
    open(port);
    expect(config(0x80050000)).toBe(0x10f01af4);
    expect(config(0x80050800)).toBe(0xffffffff);
    expect(config(0x80060000)).toBe(0xffffffff);
    expect(far.dma.requester).toBe(0x0500);
  });
  it("lets memory and ports through inside its windows, while its own bits allow", () => {
    const { board, port, far } = tree();
    open(port);
    far.configWrite(4, 2, 7);
    far.configWrite(0x10, 4, 0xe0180000);
    far.configWrite(0x14, 4, 0xd040);
    board.space.write(0xe0180000, 4, 0x1234);
    board.ports.write(0xd040, 1, 0x56);
    expect([far.state.device.memory[0], far.state.device.ports[0]]).toEqual([0x34, 0x56]);
    far.configWrite(0x10, 4, 0xe0200000);
    expect(board.space.read(0xe0200000, 4)).toBe(0xffffffff);
    far.configWrite(0x10, 4, 0xe0180000);
    port.configWrite(4, 2, 4);
    expect([board.space.read(0xe0180000, 4), board.ports.read(0xd040, 1)]).toEqual([0xffffffff, 0xff]);
    port.configWrite(4, 2, 7);
    port.configWrite(0x22, 2, 0xdff0);
    expect(board.space.read(0xe0180000, 4)).toBe(0xffffffff);
    // The prefetchable window has 64 bits.
    port.configWrite(0x28, 4, 2);
    port.configWrite(0x2c, 4, 2);
    port.configWrite(0x24, 4, 0x10f01000);
    far.configWrite(0x18, 4, 0x10000000);
    far.configWrite(0x1c, 4, 2);
    board.space.write(0x2_1000_0000, 4, 9);
    expect(far.state.device.wide[0]).toBe(9);
  });
  it("cuts bus masters below while its bus master bit is clear", () => {
    const { port, far } = tree();
    open(port);
    far.configWrite(4, 2, 4);
    expect(far.dma.write(0x1000, Uint8Array.of(1), 0, 1)).toBe(BUS_STATUS.ok);
    port.configWrite(4, 2, 3);
    expect(far.dma.write(0x1000, Uint8Array.of(1), 0, 1)).toBe(BUS_STATUS.disabled);
  });
  it("secondary bus reset resets what lies behind, and nothing else", () => {
    const { near, port, far } = tree();
    open(port);
    for (const fn of [near, far]) fn.configWrite(0x3c, 1, 7);
    port.configWrite(0x3e, 2, 0x40);
    expect([near.configRead(0x3c, 1), far.configRead(0x3c, 1)]).toEqual([7, 0]);
    expect(port.configRead(0x19, 1)).toBe(5);
  });
});

describe("topology", () => {
  it("pin p of device d is pin (p + d) mod 4 of the bridge (PCI-to-PCI Bridge 1.2, table 9-1)", () => {
    expect([0, 1, 2, 3].map(pin => swizzle(0, pin))).toEqual([0, 1, 2, 3]);
    expect([0, 1, 2, 3].map(pin => swizzle(5, pin))).toEqual([1, 2, 3, 0]);
  });
  it("is walked bus by bus", () => {
    const { board, port } = tree();
    const names = (): string[] => walk(board.root).map(({ bus, devfn }) => placeName(bus, devfn));
    expect(names()).toEqual(["00:03.0", "00:1c.0"]);
    open(port);
    expect(names()).toEqual(["00:03.0", "00:1c.0", "05:00.0"]);
    expect(dump(board.root)[0]).toBe("00:03.0 0880: 1af4:10f0");
  });
});

describe("host bridge (316966, 5.1)", () => {
  it("is a 82G33 whose PCIEXBAR says where the configuration window is", () => {
    const bridge = new HostBridge(new TestBoard().slot("host", 0), 0xb0000000);
    bridge.configWrite(PCIEXBAR, 4, 0);
    expect([bridge.configRead(0, 4), bridge.configRead(0x0a, 2)]).toEqual([0x29c08086, 0x0600]);
    expect([bridge.configRead(0x60, 4), bridge.configRead(0x64, 4)]).toEqual([0xb0000001, 0]);
  });
});

describe("ISA bridge (316972, 13.1)", () => {
  function make() {
    const pirqs = Array.from({ length: 8 }, (_, i) => new Line(`PIRQ${i}`, 16 + i));
    const isa = Array.from({ length: 16 }, (_, i) => new Line(`IRQ${i}`, i));
    const part = new IsaBridge(new TestBoard().slot("isa", 0x1f), { pmBase: 0x600, isaPin: irq => isa[irq]!.pin() });
    pirqs.forEach((line, i) => {
      line.connect(part, i);
    });
    reset(part);
    return { part, pirqs, isa };
  }
  const high = (lines: readonly Line[]): number[] => lines.filter(line => line.level).map(line => line.index);

  it("is an ICH9 whose PIRQ registers lie at 60-63h and 68-6Bh and start disabled", () => {
    const { part } = make();
    expect([part.configRead(0, 4), part.configRead(0x0a, 2), part.configRead(0x40, 4)]).toEqual([
      0x29188086, 0x0601, 0x601,
    ]);
    expect(PIRQ_REGISTERS).toEqual([0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6a, 0x6b]);
    expect([part.configRead(0x60, 4), part.configRead(0x68, 4)]).toEqual([0x80808080, 0x80808080]);
    expect([PIRQ_ROUTE.irq.mask, PIRQ_ROUTE.disable.mask]).toEqual([0x0f, 0x80]);
  });
  it("a PIRQ asserts the ISA interrupt that its register names, shared with others, and none while disabled", () => {
    const { part, pirqs, isa } = make();
    const pins = pirqs.map(line => line.pin());
    pins[0]!.assert();
    expect(high(isa)).toEqual([]);
    part.configWrite(0x60, 1, 11);
    expect(high(isa)).toEqual([11]);
    part.configWrite(0x6b, 1, 11);
    pins[7]!.assert();
    pins[0]!.deassert();
    expect(high(isa)).toEqual([11]);
    part.configWrite(0x6b, 1, 5);
    expect(high(isa)).toEqual([5]);
    part.configWrite(0x6b, 1, 0x85);
    expect(high(isa)).toEqual([]);
  });
  it("reserved interrupts 0, 1, 2, 8 and 13 are never asserted", () => {
    const { part, pirqs, isa } = make();
    pirqs[3]!.pin().assert();
    for (const irq of [0, 1, 2, 8, 13]) {
      part.configWrite(0x63, 1, irq);
      expect(high(isa)).toEqual([]);
    }
  });
  describePart("ISA bridge", () => {
    const { part, pirqs, isa } = make();
    const windows = [configWindow(part)];
    const stimulate = (rng: Rng): void => part.configWrite(rng.pick([0x60, 0x68]), 4, rng.u32());
    return { part, windows, inputs: pirqs, outputs: isa, stimulate };
  });
});

function configWindow(fn: BusFunction): Window {
  return {
    name: `${fn.name} config`,
    size: 256,
    minWidth: 1,
    maxWidth: 4,
    read: (offset, width) => fn.configRead(offset, width),
    write: (offset, width, value) => fn.configWrite(offset, width, value),
  };
}

describePart("configuration mechanism 1", () => {
  // Functions are parts of their own: nobody is on this bus.
  const part = new Mechanism1({ root: new TestBoard().root });
  const stimulate = (rng: Rng): void => part.window.write(0, 4, (0x80000000 + rng.below(0x100)) >>> 0);
  return { part, windows: [part.window], stimulate };
});

describePart("host bridge", () => {
  const part = new HostBridge(new TestBoard().slot("host", 0), 0xb0000000);
  return { part, windows: [configWindow(part)] };
});

describePart("root port", () => {
  const board = new TestBoard();
  const part = new RootPort(board.slot("port", 0x1c), { port: 2 });
  const stimulate = (rng: Rng): void => part.configWrite(0x3e, 2, rng.below(0x80));
  return { part, windows: [configWindow(part)], outputs: board.lines, stimulate };
});

/** A model of its own: what the rules say of a range behind the bridge, bit by bit from both headers. */
function visible(port: RootPort, far: SampleFunction): boolean {
  const word = (fn: BusFunction, at: number, width = 4): number => fn.configRead(at, width);
  const base = BigInt((word(far, 0x10) & ~0xff) >>> 0);
  const last = base + 0xffn;
  const d0 = (fn: BusFunction, pmcsr: number): boolean => (word(fn, pmcsr, 1) & 3) === 0;
  const on = (fn: BusFunction): boolean => (word(fn, 4, 2) & 2) !== 0;
  if (!on(port) || !on(far) || !d0(port, 0xa4) || !d0(far, far.capability(1) + 4)) return false;
  const unit = (at: number): bigint => BigInt(word(port, at, 2) >> 4) << 20n;
  const high = (at: number): bigint => BigInt(word(port, at)) << 32n;
  const inside = (first: bigint, end: bigint): boolean => base >= first && last <= end;
  if (inside(unit(0x20), unit(0x22) | 0xfffffn)) return true;
  return inside(unit(0x24) | high(0x28), unit(0x26) | high(0x2c) | 0xfffffn);
}

it(
  "fuzz: a window behind a bridge answers exactly where both headers say",
  () => {
    const { board, port, far } = tree();
    const rng = new Rng("bridge");
    // Few values, so that ranges meet.
    const addresses = [0xe0000000, 0xe0100000, 0xe01fff00, 0xe0200000, 0xfff00000, 0x100, 0];
    const pick = (): number => rng.pick(addresses);
    let seen = 0;
    for (let i = 0; i < FUZZ_STEPS / 10; i++) {
      const window = (pick() >>> 16) & 0xfff0;
      switch (rng.below(8)) {
        case 0:
          port.configWrite(rng.pick([0x20, 0x22, 0x24, 0x26]), 2, window);
          break;
        case 1:
          port.configWrite(rng.pick([0x28, 0x2c]), 4, rng.chance(3, 4) ? 0 : rng.below(3));
          break;
        case 2:
          port.configWrite(4, 2, rng.pick([0, 6, 7, 7, 7]));
          break;
        case 3:
          far.configWrite(4, 2, rng.pick([0, 6, 7, 7, 7]));
          break;
        case 4:
          rng.pick([port, far]).configWrite(4, 2, 7);
          break;
        case 5:
          if (rng.chance(1, 4)) port.configWrite(0xa4, 2, rng.pick([0, 3]));
          if (rng.chance(1, 4)) far.configWrite(far.capability(1) + 4, 2, rng.pick([0, 3]));
          break;
        case 6:
          if (rng.chance(1, 8)) port.configWrite(0x3e, 2, rng.below(0x80));
          else open(port);
          break;
        default:
          far.configWrite(0x10, 4, pick());
      }
      const base = (far.configRead(0x10, 4) & ~0xff) >>> 0;
      const region = board.space.regions().find(({ name }) => name === "far memory");
      const wanted = visible(port, far);
      expect(region?.base ?? null).toBe(wanted ? base : null);
      if (wanted) seen++;
    }
    expect(seen).toBeGreaterThan(FUZZ_STEPS / 200);
  },
  FUZZ_TIMEOUT,
);
