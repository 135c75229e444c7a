/** System Management BIOS Reference Specification 3.0 (DMTF DSP0134). Offsets and values are those of its tables. */
import { describe, expect, test } from "vitest";
import { BOARD } from "./board.testing.ts";
import type { BoardFacts } from "./board-facts.ts";
import { firmwareTables } from "./firmware-tables.ts";
import { smbiosTable } from "./smbios.ts";

type Structure = { type: number; handle: number; bytes: Uint8Array; view: DataView; strings: string[] };

/** Walks the table as 6.1.3 says: the formatted area has its length in its second byte, the strings end with two zeros. */
function structures(table: Uint8Array): Structure[] {
  const found: Structure[] = [];
  for (let at = 0; at < table.length; ) {
    const length = table[at + 1]!;
    const bytes = table.slice(at, at + length);
    const view = new DataView(bytes.buffer);
    const strings: string[] = [];
    at += length;
    while (table[at] !== 0) {
      const end = table.indexOf(0, at);
      strings.push(new TextDecoder().decode(table.subarray(at, end)));
      at = end + 1;
    }
    // Two zeros where there are no strings, one more behind the last string.
    if (strings.length === 0) expect(table[++at]).toBe(0);
    at++;
    found.push({ type: bytes[0]!, handle: view.getUint16(2, true), bytes, view, strings });
  }
  return found;
}

const of = (board: BoardFacts = BOARD): Structure[] => structures(smbiosTable(board));
const typed = (type: number, board?: BoardFacts): Structure[] => of(board).filter(s => s.type === type);
const only = (type: number, board?: BoardFacts): Structure => {
  const [first, second] = typed(type, board);
  expect(second).toBeUndefined();
  return first!;
};
const text = ({ bytes, strings }: Structure, offset: number): string | undefined => strings[bytes[offset]! - 1];

test("5.2.2 the 64-bit entry point: anchor, sum 0, length 24, version 3.0, revision 1, size and address of the table", () => {
  const { pieces } = firmwareTables(BOARD);
  const table = pieces.find(piece => piece.what === "SMBIOS")!;
  const { bytes, address } = pieces.find(piece => piece.what === "SMBIOS entry point")!;
  expect(new TextDecoder().decode(bytes.subarray(0, 5))).toBe("_SM3_");
  expect([bytes.length, bytes[6], bytes[7], bytes[8], bytes[10]]).toEqual([24, 24, 3, 0, 1]);
  expect(bytes.reduce((sum, byte) => sum + byte, 0) & 0xff).toBe(0);
  const view = new DataView(bytes.buffer);
  expect([view.getUint32(12, true), view.getUint32(16, true)]).toEqual([table.bytes.length, table.address]);
  // "located on a 16-byte boundary" between F0000 and FFFFF.
  expect([address % 16, address >>> 16]).toEqual([0, 15]);
});

describe("chapter 7", () => {
  test("handles are unique, type 127 is last, lengths are those of version 3.0", () => {
    const all = of();
    expect(new Set(all.map(s => s.handle)).size).toBe(all.length);
    expect(all.at(-1)!.type).toBe(127);
    const lengths = new Map(all.map(s => [s.type, s.bytes.length]));
    expect([...lengths]).toEqual([
      [0, 0x18],
      [1, 0x1b],
      [3, 0x15],
      [4, 0x30],
      [16, 0x17],
      [17, 0x28],
      [19, 0x1f],
      [32, 0x0b],
      [127, 4],
    ]);
  });
  test("7.1 BIOS: vendor, version, segment, month/day/year, ACPI, a virtual machine", () => {
    const bios = only(0);
    expect([text(bios, 4), text(bios, 5), text(bios, 8)]).toEqual(["iretq", "1.0", "01/01/2020"]);
    expect([bios.view.getUint16(6, true), bios.bytes[0x12], bios.bytes[0x13]]).toEqual([0xf000, 1, 0x10]);
  });
  test("7.2 and 7.4 system and chassis are named", () => {
    expect([text(only(1), 4), text(only(1), 5), text(only(3), 4)]).toEqual(["iretq", "x86-64 PC", "iretq"]);
  });
  test("7.5 a processor each: central, its CPUID, populated and enabled, one core, 64 bits", () => {
    const processors = typed(4);
    expect(processors.map(s => text(s, 4))).toEqual(["CPU 0", "CPU 1", "CPU 2", "CPU 3"]);
    const { bytes, view } = processors[3]!;
    expect([bytes[5], view.getUint32(8, true), view.getUint32(12, true)]).toEqual([3, 0x106a5, 0x0789abfd]);
    expect([bytes[0x18], bytes[0x23], bytes[0x24], bytes[0x25], view.getUint16(0x26, true)]).toEqual([
      0x41, 1, 1, 1, 4,
    ]);
    expect(view.getUint16(0x1a, true)).toBe(0xffff);
  });
  test("7.17 and 7.18 memory: its size in KiB and MiB, one device of the array", () => {
    const array = only(16);
    expect([array.bytes[4], array.bytes[5], array.view.getUint32(7, true)]).toEqual([3, 3, 3 * 1024 * 1024]);
    expect(array.view.getUint16(0xd, true)).toBe(1);
    const device = only(17);
    expect([device.view.getUint16(4, true), device.view.getUint16(0xc, true)]).toEqual([array.handle, 3072]);
    expect(text(device, 0x10)).toBe("DIMM 0");
    const small = only(17, { ...BOARD, ram: [{ base: 0, length: 16 << 20 }] });
    expect(small.view.getUint16(0xc, true)).toBe(16);
  });
  test("7.20 its ranges: first and last KiB", () => {
    const ranges = typed(19).map(({ view }) => [view.getUint32(4, true), view.getUint32(8, true)]);
    expect(ranges).toEqual([
      [0, 0xb0000000 / 1024 - 1],
      [0x100000000 / 1024, 0x110000000 / 1024 - 1],
    ]);
  });
});
