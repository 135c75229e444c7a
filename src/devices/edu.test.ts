import { beforeEach, describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import { describePart } from "../ports/part.contract.ts";
import type { Window } from "../ports/window.ts";
import { TestBoard } from "../pci/board.testing.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import type { Rng } from "../sim/rng.ts";
import { EDU, EDU_BUFFER, EDU_DMA, EDU_IDENTIFICATION, EDU_STATUS } from "./edu.regs.ts";
import { Edu, factorial } from "./edu.ts";

const BASE = 0xe0000000;

function make(dmaMask?: number) {
  const queue = new EventQueue(new Clock());
  const board = new TestBoard();
  const part = new Edu(board.slot("edu", 4), { queue, ...(dmaMask === undefined ? {} : { dmaMask }) });
  const config: Window = {
    name: "config",
    size: 256,
    minWidth: 1,
    maxWidth: 4,
    read: (offset, width) => part.configRead(offset, width),
    write: (offset, width, value) => part.configWrite(offset, width, value),
  };
  const stimulate = (rng: Rng): void => {
    const offset = rng.pick([0x04, 0x08, 0x20, 0x60, 0x64, 0x80, 0x88, 0x90, 0x98]);
    const value = rng.pick([rng.below(8), 0x40000, 100, rng.below(4096), 0x80, rng.u32()]);
    part.window.write(offset, 4, value);
    if (rng.chance(1, 4)) part.configWrite(4, 2, rng.pick([0, 6, 6, 0x406]));
    if (rng.chance(1, 8)) part.configWrite(0x44, 4, 0xfee00000);
    if (rng.chance(1, 8)) part.configWrite(0x42, 2, rng.below(2));
  };
  const windows = [part.window, config];
  return { part, queue, board, windows, outputs: board.lines, sent: () => board.messages.length, stimulate };
}

let rig: ReturnType<typeof make>;
const write = (offset: number, value: number): void => rig.board.space.write(BASE + offset, 4, value >>> 0);
const read = (offset: number): number => rig.board.space.read(BASE + offset, 4);
/** Runs for `ns`. */
function run(ns: number): void {
  const { queue } = rig;
  const end = queue.clock.now() + ns;
  while (queue.nextDeadline() <= end) {
    queue.clock.advanceTo(queue.nextDeadline());
    queue.runDue();
  }
  queue.clock.advanceTo(end);
}
function build(dmaMask?: number): void {
  rig = make(dmaMask);
  for (const phase of ["enter", "hold", "exit"] as const) rig.part.reset(phase);
  rig.part.configWrite(0x10, 4, BASE);
  rig.part.configWrite(4, 2, 6);
}
beforeEach(() => build());
/** Device 4, INTA#: (4 + 0) mod 4. */
const pin = (): boolean => rig.board.lines[0]!.level;

describe("edu: PCI specs and MMIO area (QEMU docs/specs/edu.rst)", () => {
  it("pins the registers of the document", () => {
    expect(Object.values(EDU)).toEqual([0, 4, 8, 0x20, 0x24, 0x60, 0x64, 0x80, 0x88, 0x90, 0x98]);
    expect([EDU_STATUS.computing, EDU_STATUS.interruptAfter].map(f => f.mask)).toEqual([1, 0x80]);
    expect([EDU_DMA.start, EDU_DMA.toRam, EDU_DMA.interruptAfter].map(f => f.mask)).toEqual([1, 2, 4]);
    expect([EDU_BUFFER.base, EDU_BUFFER.size]).toEqual([0x40000, 4096]);
  });
  it("is 1234:11e8 with 1 MB of memory, INTA# and MSI", () => {
    expect(rig.part.configRead(0, 4)).toBe(0x11e81234);
    rig.part.configWrite(0x10, 4, 0xffffffff);
    expect(rig.part.configRead(0x10, 4)).toBe(0xfff00000);
    expect([rig.part.configRead(0x3d, 1), rig.part.configRead(0x34, 1), rig.part.configRead(0x40, 1)]).toEqual([
      1, 0x40, 5,
    ]);
  });
  it("identifies itself as 0xRRrr00ED, and inverts", () => {
    expect(read(EDU.identification)).toBe(EDU_IDENTIFICATION);
    expect(EDU_IDENTIFICATION & 0xffff).toBe(0x00ed);
    write(EDU.liveness, 0x0f0f1234);
    expect(read(EDU.liveness)).toBe(0xf0f0edcb);
  });
});

describe("edu: factorial", () => {
  it("is the factorial modulo 2^32 for every value", () => {
    for (let n = 0; n < 60; n++) {
      let product = 1n;
      for (let i = 2n; i <= BigInt(n); i++) product *= i;
      expect(factorial(n)).toBe(Number(product & 0xffffffffn));
    }
    expect(factorial(0xffffffff)).toBe(0);
  });
  it("is there when the status bit has fallen", () => {
    write(EDU.factorial, 12);
    expect(read(EDU.status)).toBe(1);
    write(EDU.factorial, 3);
    run(1119);
    expect(read(EDU.status)).toBe(1);
    run(1);
    expect([read(EDU.status), read(EDU.factorial)]).toEqual([0, 479001600]);
    expect(pin()).toBe(false);
  });
  it("interrupts at its end when asked to", () => {
    write(EDU.status, 0xffffffff);
    expect(read(EDU.status)).toBe(0x80);
    write(EDU.factorial, 5);
    run(10_000);
    expect([read(EDU.factorial), read(EDU.interruptStatus), pin()]).toEqual([120, 1, true]);
  });
});

describe("edu: IRQ controller", () => {
  it("raises by OR, and lowers when everything has been acknowledged", () => {
    write(EDU.interruptRaise, 0x11);
    write(EDU.interruptRaise, 0x100);
    expect([read(EDU.interruptStatus), pin()]).toEqual([0x111, true]);
    write(EDU.interruptAcknowledge, 0x101);
    expect([read(EDU.interruptStatus), pin()]).toEqual([0x10, true]);
    write(EDU.interruptAcknowledge, 0x10);
    expect([read(EDU.interruptStatus), pin()]).toEqual([0, false]);
  });
  it("sends messages instead of the pin while MSI is enabled", () => {
    rig.part.configWrite(0x44, 4, 0xfee00000);
    rig.part.configWrite(0x4c, 2, 0x41);
    rig.part.configWrite(0x42, 2, 1);
    write(EDU.interruptRaise, 1);
    write(EDU.interruptRaise, 1);
    expect(rig.board.messages.map(m => [m.address, m.data])).toEqual([
      [0xfee00000, 0x41],
      [0xfee00000, 0x41],
    ]);
    expect(pin()).toBe(false);
  });
});

describe("edu: DMA controller", () => {
  const bytes = Uint8Array.from({ length: 100 }, (_, i) => 255 - i);
  const transfer = (from: number, to: number, count: number, command: number): void => {
    write(EDU.dmaSource, from);
    write(EDU.dmaDestination, to);
    write(EDU.dmaCount, count);
    write(EDU.dmaCommand, command);
  };
  const memory = (address: number, length: number): number[] =>
    Array.from({ length }, (_, i) => rig.board.space.read(address + i, 1));

  it("moves a block to the buffer and back, and each way takes its time", () => {
    rig.board.space.writeBlock(0x1000, bytes, 0, 100);
    transfer(0x1000, 0x40000, 100, 1);
    expect(read(EDU.dmaCommand)).toBe(1);
    run(1749);
    expect(read(EDU.dmaCommand)).toBe(1);
    run(1);
    expect(read(EDU.dmaCommand)).toBe(0);
    transfer(0x40000, 0x2000, 100, 3 | 4);
    run(1750);
    expect(memory(0x2000, 101)).toEqual([...bytes, 0]);
    expect([read(EDU.interruptStatus), pin(), read(EDU.dmaCommand)]).toEqual([0x100, true, 6]);
  });
  it("its registers take no writes meanwhile, and a command without the start bit does nothing", () => {
    transfer(0x1000, 0x40000, 100, 2);
    expect(read(EDU.dmaCommand)).toBe(0);
    transfer(0x1000, 0x40000, 100, 1);
    write(EDU.dmaSource, 0x5000);
    write(EDU.dmaCount, 1);
    expect([read(EDU.dmaSource), read(EDU.dmaCount)]).toEqual([0x1000, 100]);
  });
  it("has 28 address bits, or those of its mask", () => {
    rig.board.space.writeBlock(0x1000, bytes, 0, 100);
    transfer(0xf0001000, 0x40000, 100, 1);
    run(5000);
    expect(rig.part.state.device.buffer[1]).toBe(254);
    build(0xffffffff);
    transfer(0xf0001000, 0x40000, 100, 1);
    run(5000);
    expect([rig.part.state.device.buffer[1], rig.part.configRead(6, 2) & 0x2000]).toEqual([0xff, 0x2000]);
  });
  it("64-bit registers: the low half clears the high one", () => {
    write(EDU.dmaSource, 1);
    write(EDU.dmaSource + 4, 2);
    expect([read(EDU.dmaSource), read(EDU.dmaSource + 4)]).toEqual([1, 2]);
    write(EDU.dmaSource, 3);
    expect([read(EDU.dmaSource), read(EDU.dmaSource + 4)]).toEqual([3, 0]);
  });
  it("moves nothing outside its buffer", () => {
    for (const [to, count] of [
      [0x3ffff, 4],
      [0x40ffd, 4],
      [0x40000, 4097],
      [0x40000, 0xffffffff],
    ] as const) {
      rig.board.space.writeBlock(0x1000, bytes, 0, 100);
      transfer(0x1000, to, count, 1 | 4);
      run(5000);
      expect([read(EDU.dmaCommand), read(EDU.interruptStatus)]).toEqual([4, 0x100]);
      expect(rig.part.state.device.buffer.every(byte => byte === 0)).toBe(true);
    }
  });
  it("a bus master that is cut moves nothing to memory", () => {
    transfer(0x40000, 0x2000, 4, 3);
    rig.board.space.write(0x2000, 4, 0x11111111);
    rig.part.configWrite(4, 2, 2);
    run(5000);
    expect(rig.board.space.read(0x2000, 4)).toBe(0x11111111);
  });
});

describePart("edu", make);

it(
  "fuzz: the pin is high exactly while an unacknowledged reason, the command register and MSI allow it",
  () => {
    fuzzPart(make, "edu", { maxAdvance: 20_000 }, ({ part, board }) => {
      const { interrupts } = part.state.device;
      const disabled = (part.configRead(4, 2) & 0x400) !== 0;
      const msi = (part.configRead(0x42, 2) & 1) !== 0;
      expect(board.lines[0]!.level).toBe(interrupts !== 0 && !disabled && !msi);
    });
  },
  FUZZ_TIMEOUT,
);
