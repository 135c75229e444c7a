/**
 * Sections are those of the Intel 8237A datasheet unless another document is named; AT: IBM PC/AT Technical Reference.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { EVENT } from "../ports/events.ts";
import { describePart } from "../ports/part.contract.ts";
import type { Rng } from "../sim/rng.ts";
import { DmaRig } from "./dma-rig.testing.ts";
import { COPY_NS, GRANT_NS, TRANSFER_NS } from "./i8237-pair.ts";

// Mode register: bits 7-6 demand, single, block, cascade; 5 decrement; 4 autoinitialize; 3-2 verify, write, read.
const WRITE = 0x04;
const READ = 0x08;
const AUTO = 0x10;
const DOWN = 0x20;
const SINGLE = 0x40;
const BLOCK = 0x80;
const CASCADE = 0xc0;
const LONG = 1e9;

let rig: DmaRig;
beforeEach(() => {
  rig = new DmaRig().cascade();
});
const bytes = (at: number, length: number): number[] => [...rig.ram.bytes.subarray(at, at + length)];
/** What device `channel` gives. */
const given = (channel: number, length: number, from = 0): number[] =>
  Array.from({ length }, (_, i) => (channel * 29 + from + i) & 0xff);
const start = (channel: number, mode: number, address: number, transfers: number): void => {
  rig.program(channel, { mode, address, transfers });
  rig.unmask(channel);
};

describe("registers", () => {
  it("the byte pointer flip-flop chooses low and high byte in turn, and is cleared by its command (Clear First/Last Flip-Flop)", () => {
    rig.out(0xc, 0);
    rig.out(0, 0x34);
    rig.out(0, 0x12);
    expect([rig.in(0), rig.in(0), rig.in(0)]).toEqual([0x34, 0x12, 0x34]);
    rig.out(0xc, 0xff);
    expect(rig.in(0)).toBe(0x34);
  });

  it("each chip has a flip-flop of its own (AT)", () => {
    rig.out(0xc, 0);
    rig.out(0xd8, 0);
    rig.out(0, 0x11);
    rig.out(0xc4, 0x22);
    rig.out(0xc4, 0x33);
    rig.out(0, 0x44);
    expect(rig.address(0)).toBe(0x4411);
    expect(rig.address(5)).toBe(0x3322);
  });

  it("Master Clear: command, status, request, temporary and flip-flop are cleared, the mask is set; modes and addresses stay", () => {
    rig.program(0, { mode: BLOCK | WRITE, address: 0x1234, transfers: 5 });
    rig.out(8, 0x10);
    rig.out(0, 0x99);
    rig.out(0xd, 0);
    expect(rig.in(0)).toBe(0x99);
    rig.device(0).ask(5);
    rig.run(LONG);
    expect(rig.device(0).state.given).toBe(0);
    rig.unmask(0);
    rig.run(LONG);
    expect(rig.device(0).state.given).toBe(5);
  });

  it("page registers at 81, 82, 83, 87, 89, 8A, 8B, and the spare ones, keep what is written (AT, page register addresses)", () => {
    for (let i = 0; i < 16; i++) rig.out(0x80 + i, 0x30 + i);
    for (let i = 0; i < 16; i++) expect(rig.in(0x80 + i)).toBe(0x30 + i);
  });

  it("status: a terminal count stays until the register is read; requests show in bits 7-4 (Status Register)", () => {
    start(1, SINGLE | WRITE, 0x1000, 1);
    rig.device(1).ask(1);
    rig.device(3).ask(1);
    expect(rig.in(8)).toBe(0xa0);
    rig.run(LONG);
    expect(rig.in(8)).toBe(0x82);
    expect(rig.in(8)).toBe(0x80);
  });

  it("single mask, all mask and Clear Mask Register (Mask Register)", () => {
    for (const n of [0, 1, 2, 3]) rig.program(n, { mode: SINGLE | WRITE, address: 0x1000 * n, transfers: 100 });
    for (const n of [0, 1, 2, 3]) rig.device(n).ask(1);
    const ran = (): number[] => [0, 1, 2, 3].filter(n => rig.device(n).state.given > 0);
    rig.run(LONG);
    expect(ran()).toEqual([]);
    rig.out(0xf, 0b1011);
    rig.run(LONG);
    expect(ran()).toEqual([2]);
    rig.out(0xa, 1);
    rig.run(LONG);
    expect(ran()).toEqual([1, 2]);
    rig.out(0xe, 0);
    rig.run(LONG);
    expect(ran()).toEqual([0, 1, 2, 3]);
  });
});

describe("transfers", () => {
  it("a write transfer moves count + 1 bytes to memory and ends with TC and the mask bit set (Word Count, Mask Register)", () => {
    start(2, SINGLE | WRITE, 0x12340, 4);
    rig.device(2).ask(100);
    rig.run(LONG);
    expect(bytes(0x1233f, 6)).toEqual([0, ...given(2, 4), 0]);
    expect(rig.device(2).state).toMatchObject({ given: 4, ends: 1 });
    expect([rig.count(2), rig.address(2)]).toEqual([0xffff, 0x2344]);
  });

  it("a read transfer moves memory to the device", () => {
    rig.ram.bytes.set([9, 8, 7, 6], 0x20000);
    start(3, SINGLE | READ, 0x20000, 3);
    rig.device(3).ask(100);
    rig.run(LONG);
    expect(rig.device(3).taken).toEqual([9, 8, 7]);
  });

  it("verify steps address and count, reaches TC, and moves nothing (Transfer Types)", () => {
    start(1, SINGLE, 0x3000, 8);
    rig.device(1).ask(100);
    rig.run(LONG);
    expect(bytes(0x3000, 8)).toEqual(new Array(8).fill(0));
    expect(rig.device(1).state).toMatchObject({ verified: 8, given: 0, ends: 1 });
    expect(rig.address(1)).toBe(0x3008);
  });

  it.each([SINGLE, BLOCK, 0])("address decrement, mode %i", service => {
    start(1, service | WRITE | DOWN, 0x3007, 8);
    rig.device(1).ask(100);
    rig.run(LONG);
    expect(bytes(0x3000, 8)).toEqual(given(1, 8).reverse());
    expect(rig.address(1)).toBe(0x2fff);
  });

  it("16-bit channels count words and place the address on A16-A1 (AT)", () => {
    start(6, SINGLE | WRITE, 0x35600, 3);
    rig.device(6).ask(100);
    rig.run(LONG);
    expect(bytes(0x355ff, 8)).toEqual([0, ...given(6, 6), 0]);
    expect(rig.address(6)).toBe((0x5600 + 0x10000 + 6) >> 1);
  });

  it("16-bit channels, decrement: words keep their bytes in order", () => {
    start(5, BLOCK | WRITE | DOWN, 0x20010, 2);
    rig.device(5).ask(100);
    rig.run(LONG);
    const [a, b, c, d] = given(5, 4);
    expect(bytes(0x2000e, 4)).toEqual([c, d, a, b]);
  });

  it.each([SINGLE, BLOCK])("the address wraps at 64 KiB without a carry into the page (AT), mode %i", service => {
    start(0, service | WRITE, 0x2fffe, 4);
    rig.device(0).ask(100);
    rig.run(LONG);
    expect(bytes(0x2fffe, 3)).toEqual([...given(0, 2), 0]);
    expect(bytes(0x20000, 3)).toEqual([...given(0, 2, 2), 0]);
  });

  it("and at 128 KiB on 16-bit channels, in both directions (AT)", () => {
    start(7, BLOCK | WRITE, 0x3fffe, 2);
    rig.device(7).ask(100);
    rig.run(LONG);
    expect([...bytes(0x3fffe, 2), ...bytes(0x20000, 3), ...bytes(0x40000, 1)]).toEqual([...given(7, 4), 0, 0]);
    start(7, BLOCK | WRITE | DOWN, 0x40000, 2);
    rig.device(7).ask(100);
    rig.run(LONG);
    expect([...bytes(0x40000, 2), ...bytes(0x5fffe, 2)]).toEqual(given(7, 4, 4));
  });

  it("Autoinitialize: address and count come back from the base registers, and the channel is not masked", () => {
    start(2, SINGLE | WRITE | AUTO, 0x4000, 3);
    rig.device(2).ask(7);
    rig.run(LONG);
    expect(rig.device(2).state).toMatchObject({ given: 7, ends: 2 });
    expect(bytes(0x4000, 4)).toEqual([(58 + 6) & 0xff, 58 + 4, 58 + 5, 0]);
    expect([rig.address(2), rig.count(2)]).toEqual([0x4001, 1]);
  });
});

describe("modes and time", () => {
  const ONE = GRANT_NS + TRANSFER_NS;

  it("single: the bus is released after each transfer, and asked for again while DREQ is held (Single Transfer Mode)", () => {
    start(1, SINGLE | WRITE, 0, 100);
    rig.device(1).ask(100);
    rig.run(ONE - 1);
    expect(rig.count(1)).toBe(99);
    rig.run(1);
    expect(rig.count(1)).toBe(98);
    rig.run(3 * ONE);
    expect(rig.count(1)).toBe(95);
  });

  it("single: others get their turn between transfers (Single Transfer Mode)", () => {
    rig.out(8, 0x10);
    start(0, SINGLE | WRITE, 0, 100);
    start(1, SINGLE | WRITE, 0x100, 100);
    rig.device(0).ask(100);
    rig.device(1).ask(100);
    rig.run(6 * ONE);
    expect([rig.count(0), rig.count(1)]).toEqual([96, 96]);
  });

  it("a register read in the middle of a block shows exactly the transfers that are through by then", () => {
    start(1, BLOCK | WRITE, 0x5000, 1000);
    rig.device(1).ask(1000);
    rig.run(GRANT_NS + 10 * TRANSFER_NS - 1);
    expect(rig.count(1)).toBe(999 - 9);
    rig.run(1);
    expect([rig.count(1), rig.address(1)]).toEqual([999 - 10, 0x500a]);
    expect(bytes(0x5000, 11)).toEqual([...given(1, 10), 0]);
    rig.run(990 * TRANSFER_NS - 1);
    expect(rig.in(8) & 2).toBe(0);
    rig.run(1);
    expect(rig.in(8) & 2).toBe(2);
  });

  it("block: DREQ need only be held until DACK (Block Transfer Mode)", () => {
    start(1, BLOCK | WRITE, 0x5000, 50);
    rig.device(1).ask(1);
    rig.run(LONG);
    expect(rig.device(1).state.ends + Number(rig.in(8) & 2)).toBeGreaterThan(1);
    expect(rig.count(1)).toBe(0xffff);
  });

  it("demand: goes on while DREQ is held, pauses with it, and keeps its count (Demand Transfer Mode)", () => {
    start(1, WRITE, 0x5000, 50);
    rig.device(1).ask(20);
    rig.run(GRANT_NS + 20 * TRANSFER_NS);
    expect([rig.count(1), rig.address(1)]).toEqual([29, 0x5014]);
    rig.run(LONG);
    expect(rig.count(1)).toBe(29);
    rig.device(1).ask(100);
    rig.run(GRANT_NS + 30 * TRANSFER_NS);
    expect(rig.count(1)).toBe(0xffff);
    expect(bytes(0x5000, 51)).toEqual([...given(1, 50), 0]);
  });

  it("nobody interrupts a block, not even a channel of higher priority", () => {
    start(3, BLOCK | WRITE, 0x6000, 10);
    start(0, SINGLE | WRITE, 0x7000, 10);
    rig.device(3).ask(10);
    rig.run(GRANT_NS + TRANSFER_NS);
    rig.device(0).ask(1);
    rig.run(LONG);
    expect(rig.log).toEqual(["3 1", "3 9", "3 tc", "0 1"]);
  });

  it("until the bus is granted a higher channel may still come first", () => {
    start(3, SINGLE | WRITE, 0x6000, 10);
    start(0, SINGLE | WRITE, 0x7000, 10);
    rig.device(3).ask(1);
    rig.run(GRANT_NS - 1);
    rig.device(0).ask(1);
    rig.run(LONG);
    expect(rig.log).toEqual(["0 1", "3 1"]);
  });

  it("a request that is withdrawn before its DACK is not served", () => {
    start(2, SINGLE | WRITE, 0x6000, 10);
    rig.device(2).ask(1);
    rig.run(ONE - 1);
    rig.device(2).ask(0);
    rig.run(LONG);
    expect(rig.log).toEqual([]);
  });

  it("controller disable stops everything (Command Register, bit 2)", () => {
    start(2, SINGLE | WRITE, 0x6000, 10);
    rig.out(8, 4);
    rig.device(2).ask(10);
    rig.run(LONG);
    expect(rig.count(2)).toBe(9);
    rig.out(8, 0);
    rig.run(LONG);
    expect(rig.count(2)).toBe(0xffff);
  });
});

describe("priority and cascade", () => {
  const order = (): string => rig.log.map(entry => entry[0]).join("");

  it("fixed: channel 0 first, then 1 to 3, then 5 to 7 behind the cascade (Priority; AT)", () => {
    for (const n of [7, 5, 3, 2, 6, 1, 0]) start(n, SINGLE | WRITE, 0x10000 * n, 100);
    for (const n of [7, 5, 3, 2, 6, 1, 0]) rig.device(n).ask(2);
    rig.run(LONG);
    expect(order()).toBe("00112233556677");
  });

  it("rotating: the channel that was served comes last (Priority, Rotating)", () => {
    rig.out(8, 0x10);
    for (const n of [0, 1, 2, 3]) start(n, SINGLE | WRITE, 0x1000 * n, 100);
    for (const n of [0, 1, 2, 3]) rig.device(n).ask(2);
    rig.run(LONG);
    expect(order()).toBe("01230123");
    rig.log.length = 0;
    rig.device(1).ask(1);
    rig.run(LONG);
    for (const n of [0, 1, 2, 3]) rig.device(n).ask(1);
    rig.run(LONG);
    expect(order()).toBe("12301");
  });

  it("rotating in the second controller: channels 0 to 3 take one place together", () => {
    rig.out(0xd0, 0x10);
    for (const n of [0, 1, 5]) start(n, SINGLE | WRITE, 0x10000 * n, 100);
    for (const n of [0, 1, 5]) rig.device(n).ask(2);
    rig.run(LONG);
    expect(order()).toBe("050511");
  });

  it("without channel 4 unmasked and in cascade mode channels 0 to 3 get no bus (AT)", () => {
    start(1, SINGLE | WRITE, 0x1000, 10);
    rig.out(0xd4, 4);
    rig.device(1).ask(1);
    rig.run(LONG);
    expect(rig.log).toEqual([]);
    expect(rig.in(0xd0) & 0x10).toBe(0x10);
    rig.out(0xd4, 0);
    rig.run(LONG);
    expect(rig.log).toEqual(["1 1"]);
  });

  it("cascade mode: DACK is a level while DREQ is held, and no other channel gets the bus (Cascade Mode)", () => {
    rig.out(0xd6, CASCADE | 2);
    rig.out(0xd4, 2);
    start(7, SINGLE | WRITE, 0x1000, 10);
    rig.device(6).ask(1);
    rig.run(GRANT_NS - 1);
    expect(rig.device(6).state.held).toBe(false);
    rig.run(1);
    expect(rig.device(6).state.held).toBe(true);
    rig.device(7).ask(1);
    rig.run(LONG);
    expect(rig.log).toEqual(["6 dack"]);
    rig.device(6).ask(0);
    rig.run(LONG);
    expect(rig.log).toEqual(["6 dack", "6 no dack", "7 1"]);
  });
});

describe("software requests and memory-to-memory", () => {
  it("a request bit is served although the channel is masked, and cleared by TC (Request Register)", () => {
    rig.program(3, { mode: BLOCK | WRITE, address: 0x8000, transfers: 4 });
    rig.out(9, 4 | 3);
    expect(rig.in(8) & 0x80).toBe(0x80);
    rig.run(LONG);
    expect(bytes(0x8000, 5)).toEqual([255, 255, 255, 255, 0]);
    expect(rig.in(8)).toBe(8);
  });

  /** Channel 0 from `from`, channel 1 to `to`, then the request. */
  function copy(from: number, to: number, length: number, modes: [number, number] = [BLOCK, BLOCK], command = 1): void {
    rig.program(0, { mode: modes[0] | READ, address: from, transfers: length });
    rig.program(1, { mode: modes[1] | WRITE, address: to, transfers: length });
    rig.out(8, command);
    rig.out(9, 4);
  }

  it("memory-to-memory: a block from channel 0's address to channel 1's; the last byte stays in the temporary register", () => {
    rig.ram.bytes.set([1, 2, 3, 4, 5], 0x10100);
    copy(0x10100, 0x2fffe, 5);
    rig.run(GRANT_NS + 2 * COPY_NS);
    expect([rig.count(1), rig.in(0xd)]).toEqual([2, 2]);
    rig.run(LONG);
    expect([...bytes(0x2fffe, 3), ...bytes(0x20000, 4)]).toEqual([1, 2, 0, 3, 4, 5, 0]);
    expect(rig.in(0xd)).toBe(5);
    expect(rig.in(8)).toBe(2);
  });

  it("with address hold one byte fills the block (Command Register, bit 1)", () => {
    rig.ram.bytes.set([7, 8], 0x100);
    copy(0x100, 0x200, 300, [BLOCK, BLOCK], 3);
    rig.run(LONG);
    expect(bytes(0x1ff, 302)).toEqual([0, ...new Array(300).fill(7), 0]);
    expect(rig.address(0)).toBe(0x100);
  });

  it("opposite directions turn the block; overlapping blocks are copied byte after byte", () => {
    rig.ram.bytes.set([1, 2, 3, 4], 0x100);
    copy(0x100, 0x203, 4, [BLOCK, BLOCK | DOWN]);
    rig.run(LONG);
    expect(bytes(0x200, 4)).toEqual([4, 3, 2, 1]);
    copy(0x100, 0x101, 6);
    rig.run(LONG);
    expect(bytes(0x100, 8)).toEqual([1, 1, 1, 1, 1, 1, 1, 0]);
  });
});

describe("events", () => {
  it("a descriptor when a channel is let go, a completion at TC, with address and bytes", () => {
    const seen: number[][] = [];
    const listener = { event: (...e: number[]) => void seen.push(e.slice(1, 6)) };
    rig.trace.listen(listener as never, [EVENT.descriptor, EVENT.completion, EVENT.dmaWrite]);
    start(6, BLOCK | WRITE, 0x20010, 8);
    rig.device(6).ask(8);
    rig.run(LONG);
    expect(seen).toEqual([
      [EVENT.descriptor, 0xf8, 6, 0x20010, 16],
      [EVENT.dmaWrite, 0xf8, 0x20010, 16, 0],
      [EVENT.completion, 0xf8, 6, 16, 0],
    ]);
  });
});

describePart("8237A pair", () => {
  const fixture = new DmaRig();
  const { pair, queue } = fixture;
  const stimulate = (rng: Rng): void => {
    const n = rng.pick([0, 1, 2, 3, 5, 6, 7]);
    if (rng.chance(1, 3)) fixture.cascade();
    fixture.program(n, { mode: rng.below(256) & 0xfc, address: rng.below(0x80000), transfers: 1 + rng.below(40) });
    fixture.unmask(n);
  };
  const windows = [pair.lowWindow, pair.highWindow, pair.pageWindow];
  const inputs = pair.channels.filter(({ number }) => number !== 4).map(({ dreq }) => dreq);
  return { part: pair, queue, windows, inputs, stimulate };
});
