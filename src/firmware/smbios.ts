/**
 * The tables of the System Management BIOS Reference Specification 3.0 (DMTF DSP0134): who made this computer, its processors and memory. Operating systems
 * print the names and look them up in lists of quirks.
 *
 * There are the structures that the specification requires (6.2), but for cache and slots, of which this board has nothing to tell.
 */
import { KIB, MIB, type PhysAddr } from "../base/units.ts";
import { checksum } from "./acpi/tables.ts";
import type { BoardFacts } from "./board-facts.ts";
import { TableWriter } from "./table-writer.ts";

const MAKER = "iretq";
const PRODUCT = "x86-64 PC";
const VERSION = "1.0";
/** Month, day, year. From 2023 on, Linux ignores what the memory map says of a host bridge's windows, and says so. */
const RELEASED = "01/01/2020";
/** Segment where the firmware begins. */
const BIOS_SEGMENT = 0xf000;
/** Structure types (chapter 7). */
const TYPE = {
  bios: 0,
  system: 1,
  chassis: 3,
  processor: 4,
  memoryArray: 16,
  memoryDevice: 17,
  memoryMapping: 19,
  boot: 32,
  end: 127,
} as const;
/** Handles: structure types times this, and a number. */
const HANDLES = 0x100;
const NO_HANDLE = { cache: 0xffff, memoryError: 0xfffe } as const;
const HEADER_BYTES = 4;
/** "Other" and "unknown" in most lists of values. */
const OTHER = 1;
const UNKNOWN = 2;
const NONE = 3;
/** BIOS characteristics not supported (7.1.1 bit 3); ACPI (7.1.2.1 bit 0); the table describes a virtual machine (7.1.2.2 bit 4). */
const BIOS = { characteristics: 1 << 3, acpi: 1 << 0, virtual: 1 << 4 } as const;
/** 7.2 Wake-up type: power switch. 7.4.1 state "safe", 7.5.1 central processor, 7.5.5 socket populated and CPU enabled, 7.5.9 64-bit capable. */
const WAKE_POWER_SWITCH = 6;
const SAFE = 3;
const CENTRAL_PROCESSOR = 3;
const POPULATED_AND_ENABLED = 0x41;
const CAPABLE_OF_64_BITS = 1 << 2;
/** 7.17: on the system board, system memory. 7.18: DIMM, RAM, detail "other"; from here on, sizes stand in the extended field. */
const ON_BOARD = 3;
const SYSTEM_MEMORY = 3;
const DIMM = 9;
const RAM = 7;
const DETAIL_OTHER = 1 << 1;
const LARGE_MIB = 0x7fff;

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** One structure: header, formatted area, strings (6.1). Strings are given by number from 1 in the order in which they are asked for. */
class Structure {
  readonly out = new TableWriter();
  readonly #strings: string[] = [];

  constructor(type: number, length: number, handle: number) {
    this.out.u8(type, length).u16(handle);
  }

  /** The number of a string. */
  text(text: string): number {
    return this.#strings.push(text);
  }

  done(): Uint8Array {
    for (const text of this.#strings) this.out.string(text);
    if (this.#strings.length === 0) this.out.u8(0);
    return this.out.u8(0).done();
  }
}

/** Entry point of the 64-bit kind (5.2.2), 24 bytes. */
export function smbiosEntry(table: PhysAddr, bytes: number): Uint8Array {
  const out = new TableWriter().bytes(ascii("_SM3_")).u8(0, 24, 3, 0, 0, 1, 0).u32(bytes).u64(table).done();
  out[5] = checksum(out);
  return out;
}

/** All structures, one behind the other. */
export function smbiosTable(board: BoardFacts): Uint8Array {
  const out = new TableWriter();
  const add = (type: number, length: number, number: number, fill: (structure: Structure) => void): number => {
    const handle = type * HANDLES + number;
    const structure = new Structure(type, length, handle);
    fill(structure);
    out.bytes(structure.done());
    return handle;
  };
  add(TYPE.bios, 24, 0, s => {
    s.out.u8(s.text(MAKER), s.text(VERSION)).u16(BIOS_SEGMENT).u8(s.text(RELEASED), 0);
    s.out.u64(BIOS.characteristics).u8(BIOS.acpi, BIOS.virtual, 1, 0, 0xff, 0xff);
  });
  add(TYPE.system, 27, 0, s => {
    s.out.u8(s.text(MAKER), s.text(PRODUCT), s.text(VERSION), 0).bytes(new Uint8Array(16)).u8(WAKE_POWER_SWITCH, 0, 0);
  });
  add(TYPE.chassis, 21, 0, s => {
    s.out.u8(s.text(MAKER), OTHER, s.text(VERSION), 0, 0, SAFE, SAFE, SAFE, UNKNOWN).u32(0).u8(0, 0, 0, 0);
  });
  board.apicIds.forEach((_, n) => {
    add(TYPE.processor, 48, n, s => processor(s, n, board));
  });
  const array = add(TYPE.memoryArray, 23, 0, s => memoryArray(s, board));
  add(TYPE.memoryDevice, 40, 0, s => memoryDevice(s, board, array));
  board.ram.forEach(({ base, length }, n) => {
    add(TYPE.memoryMapping, 31, n, s => {
      s.out.u32(base / KIB, (base + length) / KIB - 1);
      s.out.u16(array).u8(1).u64(0, 0);
    });
  });
  add(TYPE.boot, 11, 0, s => s.out.u32(0).u16(0).u8(0));
  add(TYPE.end, HEADER_BYTES, 0, () => {});
  return out.done();
}

/** 7.5: one core of one thread in each socket. */
function processor(s: Structure, n: number, board: BoardFacts): void {
  s.out.u8(s.text(`CPU ${n}`), CENTRAL_PROCESSOR, UNKNOWN, s.text(MAKER)).u32(board.signature, board.features);
  s.out.u8(s.text(PRODUCT), 0).u16(0, 0, 0).u8(POPULATED_AND_ENABLED, OTHER);
  s.out.u16(NO_HANDLE.cache, NO_HANDLE.cache, NO_HANDLE.cache).u8(0, 0, 0, 1, 1, 1);
  s.out.u16(CAPABLE_OF_64_BITS, UNKNOWN, 1, 1, 1);
}

const bytesOf = (board: BoardFacts): number => board.ram.reduce((sum, { length }) => sum + length, 0);

function memoryArray(s: Structure, board: BoardFacts): void {
  s.out.u8(ON_BOARD, SYSTEM_MEMORY, NONE).u32(Math.ceil(bytesOf(board) / KIB));
  s.out.u16(NO_HANDLE.memoryError, 1).u64(0);
}

function memoryDevice(s: Structure, board: BoardFacts, array: number): void {
  const size = Math.floor(bytesOf(board) / MIB);
  s.out.u16(array, NO_HANDLE.memoryError, 64, 64, Math.min(size, LARGE_MIB)).u8(DIMM, 0, s.text("DIMM 0"), 0, RAM);
  s.out.u16(DETAIL_OTHER, 0).u8(s.text(MAKER), 0, 0, 0, 0);
  s.out.u32(size >= LARGE_MIB ? size : 0).u16(0, 0, 0, 0);
}
