import { beforeEach, describe, expect, it } from "vitest";
import { SampleFunction, type SampleOptions, TestBoard } from "./board.testing.ts";
import { EXPRESS_BYTES, MSI_CONTROL, MSI_OFFSETS, MSIX_CONTROL, POWER_CONTROL } from "./capabilities.regs.ts";
import { msixBarBytes } from "./msix.ts";

let board: TestBoard;
let fn: SampleFunction;
const MSI_BASE = 0xfee00000;
const data = (): number[] => board.messages.map(message => message.data);

function build(options: SampleOptions): void {
  board = new TestBoard();
  fn = new SampleFunction(board.slot("sample", 3), options);
  for (const phase of ["enter", "hold", "exit"] as const) fn.reset(phase);
  fn.configWrite(4, 2, 6);
}

describe("layouts (PCI 3.0, 6.8.1.3, 6.8.2.3; PCI PM 1.2, 3.2.4; PCIe 7.8)", () => {
  it("pins literal words", () => {
    const { enable, capable, enabled, wide, maskable } = MSI_CONTROL;
    expect([enable, capable, enabled, wide, maskable].map(f => f.mask)).toEqual([1, 0xe, 0x70, 0x80, 0x100]);
    expect([MSIX_CONTROL.last, MSIX_CONTROL.functionMask, MSIX_CONTROL.enable].map(f => f.mask)).toEqual([
      0x7ff, 0x4000, 0x8000,
    ]);
    expect([MSI_OFFSETS.narrow.data, MSI_OFFSETS.wide.data, MSI_OFFSETS.wide.maskableBytes]).toEqual([8, 12, 24]);
    expect([POWER_CONTROL.state.mask, POWER_CONTROL.noSoftReset.mask, EXPRESS_BYTES]).toEqual([3, 8, 60]);
  });
});

describe("MSI (PCI 3.0, 6.8.1)", () => {
  const at = (): number => fn.capability(0x05);
  const enable = (log: number): void => fn.configWrite(at() + 2, 2, 1 | (log << 4));
  beforeEach(() => {
    build({ messages: "msi", vectors: 8 });
    fn.configWrite(at() + 4, 4, MSI_BASE | 0x1000);
    fn.configWrite(at() + 0x0c, 2, 0x4157);
  });

  it("says how many vectors, 64 bits, per-vector masks", () => {
    expect(fn.configRead(at() + 2, 2)).toBe(0x0186);
    build({ messages: "msi-narrow", vectors: 1 });
    expect(fn.configRead(at() + 2, 2)).toBe(0x0000);
  });
  it("is a memory write of the data, from the function, while enabled", () => {
    fn.vector(0);
    expect(board.messages).toEqual([]);
    enable(0);
    fn.vector(0);
    expect(board.messages).toEqual([{ address: 0xfee01000, data: 0x4157, requester: 0x18 }]);
  });
  it("uses as many low-order bits of the data as it was given vectors, and folds the rest", () => {
    enable(2);
    for (const vector of [0, 1, 2, 3, 4, 7]) fn.vector(vector);
    expect(data()).toEqual([0x4154, 0x4155, 0x4156, 0x4157, 0x4154, 0x4157]);
    board.messages.length = 0;
    enable(5);
    fn.vector(7);
    expect(data()).toEqual([0x4157]);
  });
  it("needs the bus master bit, for it is a memory write", () => {
    enable(0);
    fn.configWrite(4, 2, 2);
    fn.vector(0);
    expect(board.messages).toEqual([]);
  });
  it("prohibits the pin while it is enabled (6.8.1.3)", () => {
    fn.intx(true);
    expect(board.lines[0]!.level).toBe(true);
    enable(0);
    expect([board.lines[0]!.level, fn.configRead(6, 2) & 8]).toEqual([false, 0]);
    fn.configWrite(at() + 2, 2, 0);
    expect(board.lines[0]!.level).toBe(true);
  });
  it("a masked vector is pending, and sent once when it is unmasked (6.8.1.6, 6.8.1.7)", () => {
    enable(3);
    fn.configWrite(at() + 0x10, 4, 0xffffffff);
    expect(fn.configRead(at() + 0x10, 4)).toBe(0xff);
    for (const vector of [2, 5, 5]) fn.vector(vector);
    expect([board.messages.length, fn.configRead(at() + 0x14, 4)]).toEqual([0, 0x24]);
    fn.withdraw(2);
    expect(fn.configRead(at() + 0x14, 4)).toBe(0x20);
    fn.configWrite(at() + 0x10, 4, 0x04);
    expect(data()).toEqual([0x4155]);
    expect(fn.configRead(at() + 0x14, 4)).toBe(0);
  });
  it("to an address that is no interrupt address it writes memory", () => {
    fn.configWrite(at() + 4, 4, 0x2000);
    enable(0);
    fn.vector(0);
    expect(board.space.read(0x2000, 4)).toBe(0x00004157);
  });
  it("has 64-bit addresses: the high word counts", () => {
    fn.configWrite(at() + 8, 4, 1);
    enable(0);
    fn.vector(0);
    expect(board.messages).toEqual([]);
    expect(fn.configRead(6, 2) & 0x2000).toBe(0x2000);
  });
});

describe("MSI-X (PCI 3.0, 6.8.2)", () => {
  const BAR = 0xe0000000;
  const at = (): number => fn.capability(0x11);
  const control = (value: number): void => fn.configWrite(at() + 2, 2, value);
  const write = (offset: number, value: number): void => board.space.write(BAR + offset, 4, value >>> 0);
  const read = (offset: number): number => board.space.read(BAR + offset, 4);
  const set = (vector: number, masked: boolean): void => {
    write(16 * vector, MSI_BASE | ((vector & 0xff) << 12));
    write(16 * vector + 4, 0);
    write(16 * vector + 8, 0x100 + vector);
    write(16 * vector + 12, masked ? 1 : 0);
  };
  beforeEach(() => {
    build({ messages: "msix", vectors: 2048 });
    fn.configWrite(0x20, 4, BAR);
  });

  it("2048 vectors: table size is N − 1, the table in the lower half of its BAR, the PBA in the upper one", () => {
    expect(msixBarBytes(2048)).toBe(65536);
    expect(fn.configRead(at() + 2, 2)).toBe(2047);
    expect([fn.configRead(at() + 4, 4), fn.configRead(at() + 8, 4)]).toEqual([0x00000004, 0x00008004]);
    fn.configWrite(0x20, 4, 0xffffffff);
    expect(fn.configRead(0x20, 4)).toBe(0xffff0000);
  });
  it("after a reset every vector is masked (6.8.2.9)", () => {
    for (const vector of [0, 1, 2047]) expect(read(16 * vector + 12)).toBe(1);
    control(0x8000);
    fn.vector(2047);
    expect(board.messages).toEqual([]);
    expect(read(0x8000 + 2047 / 8 - ((2047 / 8) % 4))).toBe(0x80000000);
  });
  it("each vector has its own address and data", () => {
    for (const vector of [0, 9, 2047]) set(vector, false);
    control(0x8000);
    for (const vector of [9, 2047, 0]) fn.vector(vector);
    expect(board.messages.map(({ address, data: word }) => [address, word])).toEqual([
      [0xfee09000, 0x109],
      [0xfeeff000, 0x8ff],
      [0xfee00000, 0x100],
    ]);
  });
  it("vector mask: pending, replayed once at unmasking", () => {
    set(33, true);
    control(0x8000);
    fn.vector(33);
    fn.vector(33);
    expect([board.messages.length, read(0x8004)]).toEqual([0, 2]);
    write(0x8004, 0);
    expect(read(0x8004)).toBe(2);
    write(16 * 33 + 12, 0xfffffffe);
    expect([data(), read(0x8004), read(16 * 33 + 12)]).toEqual([[0x121], 0, 0]);
  });
  it("function mask: everything is pending, and goes in order when it falls", () => {
    for (const vector of [3, 40, 5]) set(vector, vector === 5);
    control(0xc000);
    for (const vector of [40, 5, 3]) fn.vector(vector);
    expect(board.messages).toEqual([]);
    control(0x8000);
    expect(data()).toEqual([0x103, 0x128]);
    expect([read(0x8000), read(0x8004)]).toEqual([0x20, 0]);
    fn.withdraw(5);
    write(16 * 5 + 12, 0);
    expect(data()).toEqual([0x103, 0x128]);
  });
  it("nothing happens while it is disabled, and the pin may be used", () => {
    set(0, false);
    fn.vector(0);
    expect([board.messages.length, read(0x8000)]).toEqual([0, 0]);
    fn.intx(true);
    expect(board.lines[0]!.level).toBe(true);
    control(0x8000);
    expect(board.lines[0]!.level).toBe(false);
  });
});
