/**
 * What firmware/bios-rom.ts leaves, run on a board: IBM PC/AT Technical Reference, "System BIOS" (interrupt handlers, data area at 40:0), "ROM Listing"
 * (timer); Ralf Brown's Interrupt List.
 */
import { describe, expect, test } from "vitest";
import { MIB } from "../base/units.ts";
import { Pc } from "./pc.ts";

const MS = 1e6;

/** Code at 7C00h, in hexadecimal. */
function board(hex: string): Pc {
  const bytes = new Uint8Array(512);
  bytes.set((hex.match(/../g) ?? []).map(byte => Number.parseInt(byte, 16)));
  bytes.set([0x55, 0xaa], 510);
  const image = { name: "boot", bytes, args: "" };
  return new Pc({ cpus: 1, memory: 16 * MIB, image, testDevices: true, noReboot: true });
}
function memory(pc: Pc, address: number, length: number): number {
  const bytes = new Uint8Array(length);
  pc.space.readBlock(address, bytes, 0, length);
  return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
}
const SLEEP = "fbf4ebfd";

describe("INT 08h", () => {
  // xor ax,ax; mov ds,ax; mov dword [46Ch],n; hook 1Ch; int 8; cli; hlt. The hook: inc word [0:600h]; iret.
  const tick = (count: number): Pc => {
    const n = [0, 8, 16, 24].map(shift => ((count >>> shift) & 255).toString(16).padStart(2, "0")).join("");
    const pc = board(`31c08ed866c7066c04${n}c7067000207cc70672000000cd08faf4909090ff060006cf`);
    pc.run(Number.POSITIVE_INFINITY, MS);
    return pc;
  };

  test.each([
    [0x10, 0x11, 0],
    [0x1800ae, 0x1800af, 0],
    [0x1800af, 0, 1],
  ])("at tick %i the next is %i; a day has 1800B0h, and its end is noted at 40:70", (before, after, midnight) => {
    const pc = tick(before);
    expect([memory(pc, 0x46c, 4), memory(pc, 0x470, 1)]).toEqual([after, midnight]);
  });

  test("calls INT 1Ch", () => {
    expect(memory(tick(5), 0x600, 2)).toBe(1);
  });
});

describe("interrupts that nobody else handles", () => {
  test.each([1, 3, 4, 5, 6, 9, 10, 11, 12, 14, 15])("input %i: ended on both controllers", input => {
    const pc = board(SLEEP);
    pc.run(Number.POSITIVE_INFINITY, MS);
    pc.ports.write(0x21, 1, ~(1 << (input < 8 ? input : 2)) & 0xff);
    pc.ports.write(0xa1, 1, input < 8 ? 0xff : ~(1 << (input - 8)) & 0xff);
    const before = pc.retired;
    pc.ports.write(0x2000 + input, 1, 1);
    pc.run(Number.POSITIVE_INFINITY, 2 * MS);
    pc.ports.write(0x2000 + input, 1, 0);
    expect(pc.retired).toBeGreaterThan(before + 3);
    // OCW3: read the in-service register.
    for (const port of [0x20, 0xa0]) {
      pc.ports.write(port, 1, 0x0b);
      expect(pc.ports.read(port, 1)).toBe(0);
    }
  });

  test("a key is taken out of the keyboard controller", () => {
    const pc = board(SLEEP);
    pc.run(Number.POSITIVE_INFINITY, MS);
    pc.ports.write(0x21, 1, 0xfd);
    // Command byte: interrupt for the keyboard; then a byte as if it came from there.
    pc.ports.write(0x64, 1, 0x60);
    pc.ports.write(0x60, 1, 0x01);
    pc.ports.write(0x64, 1, 0xd2);
    pc.ports.write(0x60, 1, 0x1e);
    pc.run(Number.POSITIVE_INFINITY, 50 * MS);
    expect(pc.ports.read(0x64, 1) & 1).toBe(0);
  });
});

describe("ways to begin anew, or not", () => {
  test.each([
    ["INT 19h", "cd19"],
    ["a jump to F000:FFF0", "eaf0ff00f0"],
  ])("%s resets the machine", (_name, code) => {
    expect(board(code).run(Number.POSITIVE_INFINITY, MS)?.kind).toBe("reset");
  });

  test("INT 18h: no boot device; nothing goes on, although the timer ticks", () => {
    const pc = board("cd18");
    expect(pc.run(Number.POSITIVE_INFINITY, 100 * MS)).toBeNull();
    const { retired } = pc;
    expect(pc.run(Number.POSITIVE_INFINITY, 300 * MS)).toBeNull();
    expect([pc.retired, memory(pc, 0x46c, 4)]).toEqual([retired, 0]);
  });
});

describe("what lies in memory", () => {
  const pc = board(SLEEP);
  const word = (offset: number): number => memory(pc, 0x400 + offset, 2);

  test("data area: COM1 at 3F8h, no other port; extended data of 1 KiB at 639 KiB; text of 80 × 25; an empty keyboard buffer", () => {
    expect([0, 2, 4, 6, 8, 10, 12].map(word)).toEqual([0x3f8, 0, 0, 0, 0, 0, 0]);
    expect([word(0x0e), word(0x13), memory(pc, 639 * 1024, 1)]).toEqual([(639 * 1024) / 16, 639, 1]);
    expect([word(0x49) & 255, word(0x4a), word(0x63), word(0x84) & 255, word(0x85)]).toEqual([3, 80, 0x3d4, 24, 16]);
    expect([word(0x1a), word(0x1c), word(0x80), word(0x82)]).toEqual([0x1e, 0x1e, 0x1e, 0x3e]);
  });

  test("vectors without a service lead to an IRET at F000:FF53", () => {
    for (const vector of [0x00, 0x05, 0x1b, 0x1c, 0x60, 0xff]) expect(memory(pc, vector * 4, 4)).toBe(0xf000ff53);
    expect(memory(pc, 0xfff53, 1)).toBe(0xcf);
  });
});
