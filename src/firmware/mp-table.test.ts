/** MultiProcessor Specification 1.4 (Intel 242016-006), chapter 4. */
import { expect, test } from "vitest";
import { BOARD } from "./board.testing.ts";
import { firmwareTables } from "./firmware-tables.ts";
import { mpFloatingPointer, mpTable } from "./mp-table.ts";

const table = mpTable(BOARD);
const view = new DataView(table.buffer);
const sum = (bytes: Uint8Array): number => bytes.reduce((a, b) => a + b, 0) & 0xff;
const SIZES = [20, 8, 8, 8, 8];

/** Entries by type, each as its bytes. */
const entries: number[][] = [];
for (let at = 44; at < table.length; at += SIZES[table[at]!]!)
  entries.push([...table.slice(at, at + SIZES[table[at]!]!)]);
const ofType = (type: number): number[][] => entries.filter(e => e[0] === type);

test("4.1 the floating pointer: _MP_, address, one paragraph, revision 1.4, sum 0, no default configuration, no IMCR", () => {
  const bytes = mpFloatingPointer(0xf1234);
  expect(new TextDecoder().decode(bytes.subarray(0, 4))).toBe("_MP_");
  expect(new DataView(bytes.buffer).getUint32(4, true)).toBe(0xf1234);
  expect([bytes.length, bytes[8], bytes[9], sum(bytes), bytes[11], bytes[12]]).toEqual([16, 1, 4, 0, 0, 0]);
});

test("4.1 it lies on 16 bytes in the BIOS area, where it is looked for", () => {
  const piece = firmwareTables(BOARD).pieces.find(p => p.what === "MP floating pointer")!;
  expect(piece.address % 16).toBe(0);
  expect(piece.address).toBeGreaterThanOrEqual(0xf0000);
});

test("4.2 the header: PCMP, length, revision, sum 0, entry count, local APIC address", () => {
  expect(new TextDecoder().decode(table.subarray(0, 4))).toBe("PCMP");
  expect(view.getUint16(4, true)).toBe(table.length);
  expect([table[6], sum(table)]).toEqual([4, 0]);
  expect(view.getUint16(34, true)).toBe(entries.length);
  expect(view.getUint32(36, true)).toBe(0xfee00000);
});

test("4.3 entries are sorted by type", () => {
  const types = entries.map(e => e[0]!);
  expect(types).toEqual([...types].sort((a, b) => a - b));
});

test("4.3.1 processors: APIC ids, enabled, one bootstrap processor, signature and features of CPUID", () => {
  expect(ofType(0).map(e => [e[1], e[3]])).toEqual([
    [0, 3],
    [1, 1],
    [2, 1],
    [3, 1],
  ]);
  expect(ofType(0)[0]!.slice(4, 12)).toEqual([0xa5, 0x06, 0x01, 0x00, 0xfd, 0xab, 0x89, 0x07]);
});

test("4.3.2 and 4.3.3: PCI bus 0, an ISA bus, an enabled I/O APIC at its address", () => {
  expect(ofType(1)).toEqual([
    [1, 0, 0x50, 0x43, 0x49, 0x20, 0x20, 0x20],
    [1, 32, 0x49, 0x53, 0x41, 0x20, 0x20, 0x20],
  ]);
  expect(ofType(2)).toEqual([[2, 0, 0x20, 1, 0, 0, 0xc0, 0xfe]]);
});

test("4.3.4 interrupts: the timer on input 2, the SCI level-triggered and active high", () => {
  expect(ofType(3)).toEqual([
    [3, 0, 0, 0, 32, 0, 0, 2],
    [3, 0, 0, 0, 32, 1, 0, 1],
    [3, 0, 0, 0, 32, 4, 0, 4],
    [3, 0, 0x0d, 0, 32, 9, 0, 9],
    // D.3: PCI device in bits 6:2, pin in bits 1:0; level-triggered and active low, as PCI is.
    [3, 0, 0, 0, 0, 0, 0, 16],
    [3, 0, 0, 0, 0, (3 << 2) | 1, 0, 20],
  ]);
});

test("4.3.5 local interrupts: ExtINT on LINT0, NMI on LINT1 of all", () => {
  expect(ofType(4)).toEqual([
    [4, 3, 0, 0, 32, 0, 0xff, 0],
    [4, 1, 0, 0, 32, 0, 0xff, 1],
  ]);
});
