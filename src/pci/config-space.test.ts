import { describe, expect, it } from "vitest";
import { Rng } from "../sim/rng.ts";
import {
  BRIDGE_CONTROL,
  CAPABILITY,
  COMMAND,
  CONFIG,
  HEADER_TYPE,
  STATUS,
  TYPE0_FIELDS,
  TYPE1_FIELDS,
} from "./config-space.regs.ts";
import { ConfigSpace } from "./config-space.ts";

describe("layouts of the headers (PCI 3.0, figures 6-1 to 6-3; PCI-to-PCI Bridge 1.2, figure 3-1)", () => {
  it("pins the offsets", () => {
    const { vendor, command, status, classCode, headerType, bar, capabilities, interruptLine, interruptPin } = CONFIG;
    expect([vendor, command, status, classCode, headerType, bar]).toEqual([0, 4, 6, 9, 0xe, 0x10]);
    expect([capabilities, interruptLine, interruptPin]).toEqual([0x34, 0x3c, 0x3d]);
    expect(TYPE1_FIELDS.filter(f => f.offset >= 0x18 && f.offset < 0x30).map(f => [f.offset, f.size])).toEqual([
      [0x18, 1],
      [0x19, 1],
      [0x1a, 1],
      [0x1c, 1],
      [0x1d, 1],
      [0x1e, 2],
      [0x20, 2],
      [0x22, 2],
      [0x24, 2],
      [0x26, 2],
      [0x28, 4],
      [0x2c, 4],
    ]);
  });
  it("pins command, status and bridge control bits", () => {
    expect([COMMAND.io, COMMAND.memory, COMMAND.busMaster, COMMAND.interruptDisable].map(f => f.mask)).toEqual([
      1, 2, 4, 0x400,
    ]);
    expect([STATUS.interrupt, STATUS.capabilities, STATUS.receivedMasterAbort].map(f => f.mask)).toEqual([
      8, 0x10, 0x2000,
    ]);
    expect(BRIDGE_CONTROL.secondaryReset.mask).toBe(0x40);
    expect(HEADER_TYPE.multifunction.mask).toBe(0x80);
    expect([CAPABILITY.power, CAPABILITY.msi, CAPABILITY.express, CAPABILITY.msix]).toEqual([1, 5, 0x10, 0x11]);
  });
});

describe("configuration space", () => {
  it("ids take no writes, the command register only the bits that PCI Express leaves (PCIe 7.5.1.1)", () => {
    const space = new ConfigSpace(256, TYPE0_FIELDS);
    space.preset(CONFIG.vendor, 4, 0x11e81234);
    for (let offset = 0; offset < 256; offset += 4) space.write(offset, 4, 0xffffffff);
    expect(space.read(0, 4)).toBe(0x11e81234);
    expect(space.read(CONFIG.command, 2)).toBe(0x0547);
    expect(space.read(CONFIG.interruptLine, 2)).toBe(0x00ff);
  });
  it("status bits are cleared by writing 1 and kept by writing 0 (PCI 3.0, 6.2.3)", () => {
    const space = new ConfigSpace(256, TYPE0_FIELDS);
    space.put(CONFIG.status, 2, 0xf910);
    space.write(CONFIG.status, 2, 0x2000);
    expect(space.read(CONFIG.status, 2)).toBe(0xd910);
    space.write(CONFIG.status + 1, 1, 0xff);
    expect(space.read(CONFIG.status, 2)).toBe(0x0010);
  });
  it("all registers can be accessed in bytes, words and doublewords (PCI 3.0, 6.1)", () => {
    const space = new ConfigSpace(256, [{ name: "x", offset: 0x40, size: 4, writable: 0xffffffff }]);
    space.write(0x40, 4, 0x44332211);
    space.write(0x42, 1, 0x99);
    expect([space.read(0x40, 4), space.read(0x42, 2), space.read(0x43, 1)]).toEqual([0x44992211, 0x4499, 0x44]);
  });
  it("reserved bytes read 0 and swallow writes; behind the end there is nobody", () => {
    const space = new ConfigSpace(256, TYPE0_FIELDS);
    space.write(0x80, 4, 0xffffffff);
    expect(space.read(0x80, 4)).toBe(0);
    space.write(0x100, 4, 0);
    expect([space.read(0x100, 4), space.read(0xfff, 1)]).toEqual([0xffffffff, 0xff]);
  });
  it("capabilities form a list in the order of their making; the status bit says that there is one (6.7)", () => {
    const space = new ConfigSpace(256, TYPE0_FIELDS);
    expect(STATUS.capabilities.on(space.read(CONFIG.status, 2))).toBe(false);
    const first = space.addCapability(CAPABILITY.power, 8);
    const second = space.addCapability(CAPABILITY.msi, 0x0e);
    const third = space.addCapability(CAPABILITY.msix, 12);
    expect([first, second, third]).toEqual([0x40, 0x48, 0x58]);
    expect(space.read(CONFIG.capabilities, 1)).toBe(0x40);
    expect([space.read(0x40, 2), space.read(0x48, 2), space.read(0x58, 2)]).toEqual([0x4801, 0x5805, 0x0011]);
    expect(STATUS.capabilities.on(space.read(CONFIG.status, 2))).toBe(true);
    expect(() => space.addCapability(CAPABILITY.power, 8, 0x40)).toThrow(/no room/);
  });
  it("extended capabilities start at 0x100: id, version, next (PCIe 7.9.1)", () => {
    const space = new ConfigSpace(4096, TYPE0_FIELDS);
    expect(space.read(0x100, 4)).toBe(0);
    space.addExtendedCapability(0x0001, 2, 0x48);
    space.addExtendedCapability(0x0010, 1, 0x40);
    expect([space.read(0x100, 4), space.read(0x148, 4)]).toEqual([0x14820001, 0x00010010]);
  });
  it("is what a bit by bit model is, under any writes", () => {
    const rng = new Rng("config model");
    const space = new ConfigSpace(256, TYPE1_FIELDS);
    const model = new Map<number, boolean>();
    const kind = (bit: number): "rw" | "w1c" | "ro" => {
      for (const { offset, size, writable = 0, clears = 0 } of TYPE1_FIELDS) {
        const at = bit - 8 * offset;
        if (at < 0 || at >= 8 * size) continue;
        if ((writable >>> at) % 2 === 1) return "rw";
        if ((clears >>> at) % 2 === 1) return "w1c";
      }
      return "ro";
    };
    for (let bit = 0; bit < 512; bit++) model.set(bit, ((space.bytes[bit >> 3]! >> (bit & 7)) & 1) === 1);
    for (let step = 0; step < 2000; step++) {
      const width = rng.pick([1, 2, 4]);
      const offset = rng.below(64) & ~(width - 1);
      const value = rng.u32();
      space.write(offset, width, value);
      for (let i = 0; i < 8 * width; i++) {
        const bit = 8 * offset + i;
        const one = (value >>> i) % 2 === 1;
        if (kind(bit) === "rw") model.set(bit, one);
        else if (kind(bit) === "w1c" && one) model.set(bit, false);
      }
      const at = rng.below(512);
      expect(((space.bytes[at >> 3]! >> (at & 7)) & 1) === 1, `bit ${at}`).toBe(model.get(at));
    }
  });
});
