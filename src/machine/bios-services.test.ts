/**
 * BIOS services as Ralf Brown's Interrupt List names them; ACPI 6.5, 15.1 (INT 15h E820h); PCI BIOS Specification 2.1. The services are called as the
 * stubs of firmware/bios-rom.ts do it, with the caller's registers on a stack; one boot sector calls them as guests do.
 */
import { describe, expect, test } from "vitest";
import { MIB } from "../base/units.ts";
import { Pc } from "./pc.ts";

/** `hex` and zeros, up to the signature. */
function bootSector(hex = ""): Uint8Array {
  const bytes = new Uint8Array(512);
  bytes.set(hex.match(/../g)?.map(byte => Number.parseInt(byte, 16)) ?? []);
  bytes.set([0x55, 0xaa], 510);
  return bytes;
}

const STACK = 0x8000;
const BUFFER = 0x9000;
/** Where the stub has pushed them: ES, DS, eight registers in PUSHAD's order, vector, IP, CS, FLAGS. */
const AT = {
  es: 0,
  ds: 2,
  edi: 4,
  esi: 8,
  ebp: 12,
  ebx: 20,
  edx: 24,
  ecx: 28,
  eax: 32,
  vector: 36,
  flags: 42,
} as const;
type Registers = Partial<Record<"eax" | "ebx" | "ecx" | "edx" | "esi" | "edi" | "es", number>>;

class Board {
  text = "";
  readonly pc: Pc;

  constructor(memory = 64, code = "") {
    this.pc = new Pc({
      cpus: 1,
      memory: memory * MIB,
      image: { name: "boot", bytes: bootSector(code), args: "" },
      devices: [],
      onSerial: byte => {
        this.text += String.fromCharCode(byte);
      },
    });
  }

  bytes(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.pc.space.readBlock(address, bytes, 0, length);
    return bytes;
  }

  u32(address: number): number {
    return new DataView(this.bytes(address, 4).buffer).getUint32(0, true);
  }

  /** Calls a service; carry and zero are set before. */
  call(vector: number, registers: Registers) {
    const frame = new Uint8Array(44);
    const view = new DataView(frame.buffer);
    view.setUint16(AT.vector, vector, true);
    view.setUint16(AT.flags, 0x0041, true);
    for (const [name, value] of Object.entries(registers)) {
      if (name === "es") view.setUint16(AT.es, value, true);
      else view.setUint32(AT[name as "eax"], value, true);
    }
    this.pc.space.writeBlock(STACK, frame, 0, frame.length);
    this.pc.ports.write(0xb8, 2, (STACK >> 4) - 0x10);
    this.pc.ports.write(0xba, 2, 0x100);
    this.pc.space.readBlock(STACK, frame, 0, frame.length);
    const get = (at: number): number => view.getUint32(at, true);
    const flags = view.getUint16(AT.flags, true);
    return {
      ...{ eax: get(AT.eax), ebx: get(AT.ebx), ecx: get(AT.ecx), edx: get(AT.edx), edi: get(AT.edi) },
      ...{ carry: (flags & 1) !== 0, zero: (flags & 0x40) !== 0, status: this.pc.ports.read(0xba, 1) },
    };
  }
}

describe("INT 11h, 12h, 13h", () => {
  const board = new Board();
  test("equipment: a text screen of 80 columns and one serial port; KiB below the extended BIOS data; no disk", () => {
    expect(board.call(0x11, {}).eax & 0x0e30).toBe(0x0220);
    expect(board.call(0x12, {}).eax).toBe(639);
    expect(board.call(0x13, { eax: 0x0201, edx: 0x80 })).toMatchObject({ eax: 0x0101, carry: true });
  });
});

describe("INT 15h", () => {
  const board = new Board();
  const SMAP = 0x534d4150;

  test("E820h: the map entry by entry, EBX 0 after the last; no other signature, no smaller buffer", () => {
    const map: number[][] = [];
    let ebx = 0;
    do {
      const r = board.call(0x15, { eax: 0xe820, edx: SMAP, ecx: 20, ebx, es: BUFFER >> 4 });
      expect([r.eax, r.ecx, r.carry]).toEqual([SMAP, 20, false]);
      map.push([board.u32(BUFFER), board.u32(BUFFER + 8), board.u32(BUFFER + 16)]);
      ebx = r.ebx;
    } while (ebx !== 0 && map.length < 30);
    expect(map).toContainEqual([0, 0x9fc00, 1]);
    expect(map).toContainEqual([MIB, 63 * MIB, 1]);
    expect(map).toContainEqual([0xf0000, 0x10000, 2]);
    expect(board.call(0x15, { eax: 0xe820, edx: 1, ecx: 20 }).carry).toBe(true);
    expect(board.call(0x15, { eax: 0xe820, edx: SMAP, ecx: 19 }).carry).toBe(true);
    expect(board.call(0x15, { eax: 0xe820, edx: SMAP, ecx: 20, ebx: map.length }).carry).toBe(true);
  });

  test("E801h: KiB from 1 to 16 MiB, units of 64 KiB above; 88h: KiB above 1 MiB", () => {
    expect(board.call(0x15, { eax: 0xe801 })).toMatchObject({
      eax: 0x3c00,
      ebx: 0x300,
      ecx: 0x3c00,
      edx: 0x300,
      carry: false,
    });
    expect(board.call(0x15, { eax: 0x8800 })).toMatchObject({ eax: 63 * 1024, carry: false });
    expect(new Board(8).call(0x15, { eax: 0xe801 })).toMatchObject({ eax: 7 * 1024, ebx: 0 });
  });

  test("24xxh: A20 is closed, open, told", () => {
    expect(board.call(0x15, { eax: 0x2400 }).carry).toBe(false);
    expect(board.call(0x15, { eax: 0x2402 })).toMatchObject({ eax: 0, carry: false });
    board.call(0x15, { eax: 0x2401 });
    expect(board.call(0x15, { eax: 0x2402 }).eax).toBe(1);
  });

  test("86h waits CX:DX microseconds: called again until they are over", () => {
    const waiting = new Board(64, "ebfe");
    expect(waiting.call(0x15, { eax: 0x8600, ecx: 0, edx: 50 }).status).toBe(1);
    while (waiting.pc.clock.now() < 49_000) waiting.pc.run(Number.POSITIVE_INFINITY, 49_000);
    expect(waiting.call(0x15, { eax: 0x8600, ecx: 0, edx: 50 }).status).toBe(1);
    while (waiting.pc.clock.now() < 50_000) waiting.pc.run(Number.POSITIVE_INFINITY, 50_000);
    expect(waiting.call(0x15, { eax: 0x8600, ecx: 0, edx: 50 })).toMatchObject({ status: 0, carry: false });
  });

  test("what is not there: AH = 86h and carry", () => {
    expect(board.call(0x15, { eax: 0x5300 })).toMatchObject({ eax: 0x8600, carry: true });
  });
});

describe("INT 10h on a terminal", () => {
  test("0Eh writes and moves the cursor, which 03h tells and 0040:0050 holds", () => {
    const board = new Board();
    for (const character of "Hi\r\nx") board.call(0x10, { eax: 0x0e00 | character.charCodeAt(0) });
    expect(board.text).toBe("Hi\r\nx");
    expect(board.call(0x10, { eax: 0x0300 }).edx).toBe(0x0101);
    expect([...board.bytes(0x450, 2)]).toEqual([1, 1]);
    expect(board.call(0x10, { eax: 0x0f00 }).eax).toBe(0x5003);
  });

  test("09h leaves the cursor; written once more by 0Eh, or moved over by 02h, the character shows once", () => {
    const board = new Board();
    board.call(0x10, { eax: 0x0941, ecx: 1 });
    board.call(0x10, { eax: 0x0e41 });
    board.call(0x10, { eax: 0x0942, ecx: 1 });
    board.call(0x10, { eax: 0x0200, edx: 0x0002 });
    expect(board.text).toBe("AB");
    board.call(0x10, { eax: 0x0200, edx: 0x0509 });
    expect(board.text).toBe("AB\x1b[6;10H");
  });
});

describe("INT 10h, more of it", () => {
  const type = (board: Board, text: string): void => {
    for (const character of text) board.call(0x10, { eax: 0x0e00 | character.charCodeAt(0) });
  };
  const cursor = (board: Board) => board.call(0x10, { eax: 0x0300 }).edx;

  test("a line has 80 columns and the screen 25 rows; backspace goes back, not beyond the first column; a bell does not move", () => {
    const board = new Board();
    type(board, "x".repeat(79));
    expect(cursor(board)).toBe(79);
    type(board, "x");
    expect(cursor(board)).toBe(0x0100);
    type(board, "ab\b\x07");
    expect(cursor(board)).toBe(0x0101);
    type(board, "\b\b\b");
    expect(cursor(board)).toBe(0x0100);
    type(board, "\n".repeat(40));
    expect(cursor(board)).toBe(0x1800);
  });

  test("03h tells the cursor's lines, 08h a blank, 0Fh mode 3 of 80 columns and page 0 and leaves BL", () => {
    const board = new Board();
    expect(board.call(0x10, { eax: 0x0300 }).ecx).toBe(0x0607);
    expect(board.call(0x10, { eax: 0x0800 }).eax).toBe(0x0720);
    expect(board.call(0x10, { eax: 0x0f00, ebx: 0xabcd })).toMatchObject({ eax: 0x5003, ebx: 0x00cd });
  });

  test("13h writes a string at a place; with bit 1 of AL there are attributes between", () => {
    const board = new Board();
    board.pc.space.writeBlock(BUFFER, new TextEncoder().encode("A1B2"), 0, 4);
    board.call(0x10, { eax: 0x1301, ecx: 4, edx: 0, es: BUFFER >> 4 });
    board.call(0x10, { eax: 0x1303, ecx: 2, edx: 0x0100, es: BUFFER >> 4 });
    expect(board.text).toBe("A1B2\r\nAB");
  });

  test("09h of many characters, which clears a line, shows nothing", () => {
    const board = new Board();
    board.call(0x10, { eax: 0x0920, ecx: 80 });
    board.call(0x10, { eax: 0x0200, edx: 0x0001 });
    expect(board.text).toBe("\x1b[1;2H");
  });
});

describe("INT 16h from the serial port", () => {
  const after = (board: Board, keys: number[]): number[] => {
    board.pc.typeSerial(keys);
    const end = board.pc.clock.now() + 5e6;
    while (board.pc.clock.now() < end) board.pc.run(Number.POSITIVE_INFINITY, end);
    return keys.map(() => board.call(0x16, { eax: 0x0000 }).eax);
  };

  test("scan codes of set 1 beside the characters, also of what terminals send for backspace, Enter and Escape", () => {
    const board = new Board(64, "ebfe");
    expect(after(board, [0x7f, 0x0a, 0x1b, 0x61, 0x21, 0x2e, 0x20])).toEqual([
      ...[0x0e08, 0x1c0d, 0x011b, 0x1e61, 0x0221, 0x342e, 0x3920],
    ]);
  });

  test("05h puts a key there, once; 02h: no shift keys", () => {
    const board = new Board(64, "ebfe");
    expect(board.call(0x16, { eax: 0x0500, ecx: 0x1234 }).eax & 255).toBe(0);
    expect(board.call(0x16, { eax: 0x0500, ecx: 0x5678 }).eax & 255).toBe(1);
    expect(board.call(0x16, { eax: 0x0000 }).eax).toBe(0x1234);
    expect(board.call(0x16, { eax: 0x02ff }).eax & 255).toBe(0);
  });

  test("a guest that drives the port by interrupts keeps what comes", () => {
    const board = new Board(64, "ebfe");
    board.pc.ports.write(0x3f9, 1, 0x01);
    board.pc.typeSerial([0x41]);
    board.pc.run(Number.POSITIVE_INFINITY, 5e6);
    expect(board.call(0x16, { eax: 0x0100 }).zero).toBe(true);
    expect(board.pc.ports.read(0x3f8, 1)).toBe(0x41);
  });

  test("01h says whether there is a key, 00h takes it, or waits with HLT", () => {
    const board = new Board(64, "ebfe");
    expect(board.call(0x16, { eax: 0x0100 }).zero).toBe(true);
    expect(board.call(0x16, { eax: 0x0000 }).status).toBe(2);
    board.pc.typeSerial([0x41, 0x0d]);
    while (board.pc.clock.now() < 1e6) board.pc.run(Number.POSITIVE_INFINITY, 1e6);
    // Scan code set 1: A is 1Eh, Enter 1Ch.
    expect(board.call(0x16, { eax: 0x0100 })).toMatchObject({ eax: 0x1e41, zero: false });
    expect(board.call(0x16, { eax: 0x0000 })).toMatchObject({ eax: 0x1e41, status: 0 });
    expect(board.call(0x16, { eax: 0x1000 })).toMatchObject({ eax: 0x1c0d, status: 0 });
    expect(board.call(0x16, { eax: 0x1100 }).zero).toBe(true);
  });
});

describe("INT 1Ah", () => {
  const board = new Board();

  test("B101h: PCI BIOS 2.1 over mechanism 1", () => {
    const r = board.call(0x1a, { eax: 0xb101, edi: 5 });
    expect(r).toMatchObject({ eax: 0x0001, ebx: 0x0210, edx: 0x20494350, edi: 0, carry: false });
    expect(r.ecx & 0xff).toBe(0);
  });

  test("B102h and B103h find functions by index; B108h to B10Dh read and write their configuration", () => {
    // The host bridge: Q35's 8086:29C0, class 060000.
    expect(board.call(0x1a, { eax: 0xb102, edx: 0x8086, ecx: 0x29c0 })).toMatchObject({
      ebx: 0,
      eax: 0x0002,
      carry: false,
    });
    expect(board.call(0x1a, { eax: 0xb103, ecx: 0x060000 })).toMatchObject({ ebx: 0, carry: false });
    // The ISA bridge is function 0 of device 31.
    expect(board.call(0x1a, { eax: 0xb103, ecx: 0x060100 }).ebx).toBe(31 << 3);
    expect(board.call(0x1a, { eax: 0xb102, edx: 0x8086, ecx: 0x29c0, esi: 1 })).toMatchObject({
      eax: 0x8602,
      carry: true,
    });
    expect(board.call(0x1a, { eax: 0xb102, edx: 0xffff, ecx: 0 })).toMatchObject({ eax: 0x8302, carry: true });
    expect(board.call(0x1a, { eax: 0xb109, edi: 2 })).toMatchObject({ ecx: 0x29c0, carry: false });
    expect(board.call(0x1a, { eax: 0xb10a, edi: 0 }).ecx).toBe(0x29c08086);
    expect(board.call(0x1a, { eax: 0xb108, edi: 1 }).ecx).toBe(0x80);
    board.call(0x1a, { eax: 0xb10b, ebx: 31 << 3, edi: 0x3c, ecx: 0x5a });
    expect(board.call(0x1a, { eax: 0xb109, edi: 1 })).toMatchObject({ eax: 0x8709, carry: true });
    expect(board.call(0x1a, { eax: 0xb10f })).toMatchObject({ carry: true });
  });

  test("02h and 04h: the clock's time and date in BCD", () => {
    const { ecx, edx } = board.call(0x1a, { eax: 0x0400 });
    expect((ecx >> 8) & 0xff).toBe(0x20);
    expect([(edx >> 8) & 0xff, edx & 0xff].every(value => value >= 1 && value <= 0x31)).toBe(true);
    expect(board.call(0x1a, { eax: 0x0200 }).carry).toBe(false);
  });
});

test("a boot sector writes by INT 10h, waits for a tick of INT 1Ah with HLT, reads a key by INT 16h, and powers off", () => {
  const board = new Board(
    64,
    // mov si, text; loop: lodsb; test al, al; jz +; mov ah, 0Eh; int 10h; jmp loop; sti; ah = 0; int 1Ah; mov bx, dx;
    // tick: hlt; int 1Ah; cmp dx, bx; je tick; ah = 0; int 16h; mov ah, 0Eh; int 10h; out 604h, 2000h; hlt; "BIOS "
    "be307cac84c07406b40ecd10ebf5b034fbb400cd1a89d3f4b400cd1a39da74f7b400cd16b40ecd10ba0406b80020eff442494f5320",
  );
  let exit = board.pc.run(Number.POSITIVE_INFINITY, 200e6);
  // A tick lasts 54.9 ms; then it waits for the key.
  expect([exit, board.text]).toEqual([null, "BIOS "]);
  board.pc.typeSerial([0x6b]);
  exit = board.pc.run(Number.POSITIVE_INFINITY, 400e6);
  expect([exit?.kind, board.text]).toEqual(["power-off", "BIOS k"]);
});
