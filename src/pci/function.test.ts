import { beforeEach, describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import { BUS_STATUS } from "../ports/initiator.ts";
import { describePart } from "../ports/part.contract.ts";
import type { Window } from "../ports/window.ts";
import type { Rng } from "../sim/rng.ts";
import { RAM_BYTES, SampleFunction, type SampleOptions, scratch, TestBoard } from "./board.testing.ts";

const ALL = 0xffffffff;
let board: TestBoard;
let fn: SampleFunction;

function build(options: SampleOptions = {}): void {
  board = new TestBoard();
  fn = new SampleFunction(board.slot("sample", 3), options);
  for (const phase of ["enter", "hold", "exit"] as const) fn.reset(phase);
}
beforeEach(() => build());

const read = (offset: number, width = 4): number => fn.configRead(offset, width);
const write = (offset: number, value: number, width = 4): void => fn.configWrite(offset, width, value >>> 0);
const command = (value: number): void => write(4, value, 2);

describe("identification (PCI 3.0, 6.2.1)", () => {
  it("has the words of a type 0 header", () => {
    expect(read(0x00)).toBe(0x10f01af4);
    expect(read(0x08)).toBe(0x08800003);
    expect(read(0x2c)).toBe(0x11001af4);
    // Interrupt pin 2 is INTB#, line unknown.
    expect(read(0x3c, 2)).toBe(0x0200);
    expect(read(0x0e, 1)).toBe(0);
  });
});

describe("base address registers (PCI 3.0, 6.2.5.1)", () => {
  it("tell size and kind to software that writes all-ones", () => {
    for (let bar = 0; bar < 6; bar++) write(0x10 + 4 * bar, ALL);
    expect(read(0x10)).toBe(0xffffff00);
    expect(read(0x14)).toBe(0xffffffe1);
    // 64-bit (type 10b), prefetchable.
    expect([read(0x18), read(0x1c)]).toEqual([0xfffff00c, ALL]);
    expect([read(0x20), read(0x24)]).toEqual([0, 0]);
  });
  it("put the window into memory while the memory space bit is set", () => {
    write(0x10, 0xe0000000);
    expect(board.space.read(0xe0000000, 4)).toBe(ALL);
    command(2);
    board.space.write(0xe0000010, 4, 0x12345678);
    expect(board.space.read(0xe0000010, 4)).toBe(0x12345678);
    write(0x10, 0xe1000000);
    expect(board.space.read(0xe0000010, 4)).toBe(ALL);
    expect(board.space.read(0xe1000010, 4)).toBe(0x12345678);
    command(0);
    expect(board.space.read(0xe1000010, 4)).toBe(ALL);
  });
  it("put the window into port space while the I/O space bit is set", () => {
    write(0x14, 0xc020);
    command(2);
    expect(board.ports.read(0xc020, 1)).toBe(0xff);
    command(1);
    board.ports.write(0xc024, 2, 0xabcd);
    expect(board.ports.read(0xc024, 4)).toBe(0x0000abcd);
    expect(board.ports.read(0xc040, 1)).toBe(0xff);
  });
  it("reach above 4 GiB with 64 bits, and end where addresses end", () => {
    write(0x1c, 0x12);
    write(0x18, 0x3000_0000);
    command(2);
    board.space.write(0x12_3000_0ffc, 4, 7);
    expect(board.space.read(0x12_3000_0ffc, 4)).toBe(7);
    write(0x1c, ALL);
    expect(board.space.read(0x12_3000_0ffc, 4)).toBe(ALL);
  });
  it("lie behind RAM and behind a function that was there first", () => {
    write(0x10, 0);
    command(2);
    board.space.write(0x10, 4, 5);
    expect(fn.state.device.memory[0x10]).toBe(0);
    const second = new SampleFunction(board.slot("second", 4));
    second.configWrite(4, 2, 2);
    for (const f of [fn, second]) f.configWrite(0x10, 4, 0xe0000000);
    board.space.write(0xe0000000, 4, 9);
    expect([fn.state.device.memory[0], second.state.device.memory[0]]).toEqual([9, 0]);
    command(0);
    board.space.write(0xe0000000, 4, 8);
    expect(second.state.device.memory[0]).toBe(8);
  });
  it("never take a port from the board's own parts", () => {
    board.ports.map(scratch("board", Uint8Array.of(1, 2, 3, 4)), 0x64);
    write(0x14, 0x60);
    command(1);
    fn.state.device.ports.fill(0xaa);
    expect(board.ports.read(0x60, 4)).toBe(0xaaaaaaaa);
    expect(board.ports.read(0x62, 4)).toBe(0x0201aaaa);
    expect(board.ports.read(0x66, 4)).toBe(0xaaaa0403);
  });
});

describe("command and status (PCI 3.0, 6.2.2 and 6.2.3)", () => {
  const bytes = Uint8Array.of(1, 2, 3, 4);
  it("without the bus master bit no access leaves the function", () => {
    const into = new Uint8Array(4);
    expect(fn.dma.write(0x1000, bytes, 0, 4)).toBe(BUS_STATUS.disabled);
    expect(fn.dma.read(0x1000, into, 0, 4)).toBe(BUS_STATUS.disabled);
    expect([...into]).toEqual([255, 255, 255, 255]);
    command(4);
    expect(fn.dma.write(0x1000, bytes, 0, 4)).toBe(BUS_STATUS.ok);
    expect(fn.dma.read(0x1000, into, 0, 4)).toBe(BUS_STATUS.ok);
    expect([...into]).toEqual([1, 2, 3, 4]);
    expect(fn.dma.requester).toBe(3 << 3);
  });
  it("an access that nobody answers sets received master abort; writing 1 clears it", () => {
    command(4);
    for (const address of [RAM_BYTES + 0x1000, 2 ** 52 - 4, 2 ** 60]) {
      expect(fn.dma.write(address, bytes, 0, 4)).toBe(BUS_STATUS.masterAbort);
      expect(read(6, 2) & 0x2000).toBe(0x2000);
      write(6, 0x2000, 2);
      expect(read(6, 2) & 0x2000).toBe(0);
    }
  });
  it("the pin follows the function, through the swizzle, and interrupt disable silences it but not the status bit", () => {
    // Device 3, INTB#: (3 + 1) mod 4.
    const line = board.lines[0]!;
    fn.intx(true);
    expect([line.level, read(6, 2) & 8]).toEqual([true, 8]);
    command(0x400);
    expect([line.level, read(6, 2) & 8]).toEqual([false, 8]);
    command(0);
    expect(line.level).toBe(true);
    fn.intx(false);
    expect([line.level, read(6, 2) & 8]).toEqual([false, 0]);
  });
});

describe("power management (PCI PM 1.2, 3.2.4 and 5.4.1)", () => {
  const pmcsr = (): number => fn.capability(0x01) + 4;
  it("has a capability of 8 bytes, version 3, without PME", () => {
    expect(read(fn.capability(0x01) + 2, 2)).toBe(0x0003);
  });
  it("D3hot leaves only configuration accesses", () => {
    write(0x10, 0xe0000000);
    command(0x407 & ~0x400);
    fn.intx(true);
    write(pmcsr(), 3, 2);
    expect(read(pmcsr(), 2)).toBe(3);
    expect(board.space.read(0xe0000000, 4)).toBe(ALL);
    expect(board.lines[0]!.level).toBe(false);
    expect(fn.dma.write(0x1000, Uint8Array.of(1), 0, 1)).toBe(BUS_STATUS.disabled);
    expect(read(0)).toBe(0x10f01af4);
  });
  it("the way back to D0 resets a function without No_Soft_Reset", () => {
    write(0x10, 0xe0000000);
    command(7);
    write(pmcsr(), 3, 2);
    write(pmcsr(), 0, 2);
    expect([read(0x10), read(4, 2), read(pmcsr(), 2)]).toEqual([0, 0, 0]);
  });
  it("and keeps everything in one with it (bit 3)", () => {
    build({ noSoftReset: true });
    write(0x10, 0xe0000000);
    command(7);
    fn.state.device.memory[5] = 6;
    write(pmcsr(), 3, 2);
    write(pmcsr(), 0, 2);
    expect([read(0x10), read(4, 2), read(pmcsr(), 2)]).toEqual([0xe0000000, 7, 8]);
    expect(board.space.read(0xe0000005, 1)).toBe(6);
  });
  it("a write of an unsupported state is ignored", () => {
    for (const state of [1, 2]) {
      write(pmcsr(), state, 2);
      expect(read(pmcsr(), 2)).toBe(0);
    }
    write(pmcsr(), 3, 2);
    write(pmcsr(), 1, 2);
    expect(read(pmcsr(), 2)).toBe(3);
  });
});

describe("PCI Express (PCIe 7.8, 6.6.2)", () => {
  it("pins version 2, endpoint, function level reset capable", () => {
    const at = fn.capability(0x10);
    expect(read(at + 2, 2)).toBe(0x0002);
    expect(read(at + 4)).toBe(0x10008000);
    // 2.5 GT/s, one lane.
    expect([read(at + 0x0c) & 0x3ff, read(at + 0x12, 2)]).toEqual([0x11, 0x11]);
  });
  it("a function level reset clears registers and device, lowers the pin, and reads back 0", () => {
    const control = fn.capability(0x10) + 8;
    write(0x10, 0xe0000000);
    command(7);
    fn.intx(true);
    fn.state.device.memory[1] = 1;
    write(control, 0x8020, 2);
    expect(read(control, 2) & 0x8000).toBe(0);
    expect([read(0x10), read(4, 2)]).toEqual([0, 0]);
    expect(fn.state.device.memory[1]).toBe(0);
    expect(board.lines[0]!.level).toBe(false);
    expect(board.space.read(0xe0000000, 4)).toBe(ALL);
    // Maximum payload size survives.
    expect((read(control, 2) >> 5) & 7).toBe(1);
  });
});

function fixture(options: SampleOptions) {
  const rig = new TestBoard();
  const part = new SampleFunction(rig.slot("sample", 3), options);
  const config: Window = {
    name: "config",
    size: 4096,
    minWidth: 1,
    maxWidth: 4,
    read: (offset, width) => part.configRead(offset, width),
    write: (offset, width, value) => part.configWrite(offset, width, value),
  };
  const interesting = [0x04, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x44, part.capability(5) + 2, part.capability(0x11) + 2];
  const stimulate = (rng: Rng): void => {
    switch (rng.below(5)) {
      case 0:
        part.intx(rng.chance(1, 2));
        break;
      case 1:
        part.vector(rng.below(options.vectors ?? 4));
        break;
      case 2:
        part.withdraw(rng.below(options.vectors ?? 4));
        break;
      case 3:
        part.dma.write(rng.below(0x10000) * 4, Uint8Array.of(1, 2, 3, 4), 0, 4);
        break;
      default:
        part.configWrite(rng.pick(interesting) & ~3, 4, rng.pick([rng.u32(), rng.below(8), 0xfee00000, 0x10006]));
    }
  };
  const windows = part.msix === null ? [config] : [config, part.msix.window];
  return { part, rig, windows, outputs: rig.lines, sent: () => rig.messages.length, stimulate };
}

describePart("PCI function with MSI", () => fixture({ messages: "msi", vectors: 8 }));
describePart("PCI function with MSI-X", () => fixture({ messages: "msix", vectors: 70 }));

for (const messages of ["msi", "msix"] as const)
  it(
    `fuzz, ${messages}: windows lie where the registers say, the pin is what the rules say`,
    () => {
      fuzzPart(
        () => fixture({ messages, vectors: 8 }),
        `pci ${messages}`,
        { maxAdvance: 0 },
        ({ part, rig }) => {
          const word = part.configRead(4, 4);
          const powered = (part.configRead(part.capability(1) + 4, 1) & 3) === 0;
          const base = (part.configRead(0x10, 4) & 0xffffff00) >>> 0;
          const found = rig.space.regions().find(region => region.name === "sample memory");
          expect(found?.base ?? null).toBe((word & 2) !== 0 && powered ? base : null);
          const id = messages === "msi" ? 5 : 0x11;
          const enable = messages === "msi" ? 1 : 0x8000;
          const on = (part.configRead(part.capability(id) + 2, 2) & enable) !== 0;
          const wanted = part.state.intx && !on;
          expect((word & 0x80000) !== 0).toBe(wanted);
          expect(rig.lines[0]!.level).toBe(wanted && powered && (word & 0x400) === 0);
        },
      );
    },
    FUZZ_TIMEOUT,
  );
