/**
 * What a BIOS leaves in memory for guests that start in real mode: interrupt vectors, the BIOS data area, and in the ROM's place a few bytes of code for
 * each interrupt (IBM PC/AT Technical Reference, "System BIOS"; Ralf Brown's Interrupt List for names). The code does no work: a service saves all
 * registers on the caller's stack, tells the board where (machine/bios-services.ts, which changes them there), and returns. Not here: the hardware's
 * keyboard handler, which only empties the controller (keys come through the serial port), disks, video memory.
 */
import { KIB } from "../base/units.ts";
import type { LoadPiece } from "./boot-plan.ts";
import { EBDA } from "./e820.ts";
import { TableWriter } from "./table-writer.ts";

export const ROM_SEGMENT = 0xf000;
/** Where IBM's BIOS has its dummy interrupt handler: F000:FF53. */
const DUMMY = 0xff53;
const CODE = 0xf000;
/** Where a processor of old begins: F000:FFF0. Guests jump there to boot again. */
const RESET_VECTOR = 0xfff0;

/** Two ports of 16 bits: SS is written to the first, then SP to the second, which carries out the service. Reading that one gives what is left to do. */
export const BIOS_PORT = 0xb8;
/** What a service says through the second port: it is done, or to be called again, at once or when an interrupt has come. */
export const BIOS_STATUS = { done: 0, again: 1, wait: 2 } as const;
/** What lies on the caller's stack then, from SS:SP up: offsets in bytes. */
export const BIOS_FRAME = {
  ...{ es: 0, ds: 2, edi: 4, esi: 8, ebp: 12, ebx: 20, edx: 24, ecx: 28, eax: 32 },
  ...{ vector: 36, ip: 38, cs: 40, flags: 42, size: 44 },
} as const;

/** Vectors whose services the board carries out. */
export const SERVED = [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x1a] as const;
const TIMER = 0x08;
const KEYBOARD = 0x09;
const NO_BOOT = 0x18;
const BOOTSTRAP = 0x19;

/** BIOS data area, from 0040:0000. */
export const BDA = { base: 0x400, memory: 0x413, mode: 0x449, cursor: 0x450, ticks: 0x46c, midnight: 0x470 } as const;
const BDA_BYTES = 0x100;

/** Saves, calls, restores; see {@link BIOS_FRAME}. Entered with the vector pushed. */
const SERVICE = [
  ...[0x66, 0x60, 0x1e, 0x06], // pushad; push ds; push es
  ...[0x8c, 0xd0, 0xe7, BIOS_PORT], // again: mov ax, ss; out BIOS_PORT, ax
  ...[0x89, 0xe0, 0xe7, BIOS_PORT + 2], // mov ax, sp; out BIOS_PORT + 2, ax
  ...[0xe4, BIOS_PORT + 2, 0x84, 0xc0, 0x75, 0x08], // in al, BIOS_PORT + 2; test al, al; jnz more
  ...[0x07, 0x1f, 0x66, 0x61, 0x83, 0xc4, 0x02, 0xcf], // pop es; pop ds; popad; add sp, 2; iret
  ...[0xa8, BIOS_STATUS.wait, 0x74, 0x05], // more: test al, wait; jz spin
  ...[0xfb, 0xf4, 0xfa, 0xeb, 0xe1], // sti; hlt; cli; jmp again
  ...[0xfb, 0x90, 0xfa, 0xeb, 0xdc], // spin: sti; nop; cli; jmp again
];

/** Counts ticks of 1/18.2 s since midnight, of which a day has 0x1800B0. */
const TIMER_CODE = [
  ...[0x1e, 0x66, 0x50, 0x31, 0xc0, 0x8e, 0xd8], // push ds; push eax; xor ax, ax; mov ds, ax
  ...[0x66, 0xff, 0x06, 0x6c, 0x04], // inc dword [0x46c]
  ...[0x66, 0x81, 0x3e, 0x6c, 0x04, 0xb0, 0x00, 0x18, 0x00, 0x72, 0x0e], // cmp dword [0x46c], 0x1800b0; jb +14
  ...[0x66, 0xc7, 0x06, 0x6c, 0x04, 0, 0, 0, 0, 0xc6, 0x06, 0x70, 0x04, 0x01], // mov dword [0x46c], 0; mov byte [0x470], 1
  ...[0xcd, 0x1c, 0xb0, 0x20, 0xe6, 0x20], // int 0x1c; mov al, 0x20; out 0x20, al
  ...[0x66, 0x58, 0x1f, 0xcf], // pop eax; pop ds; iret
];
/** push ax; in al, 0x60; mov al, 0x20; out 0x20, al; pop ax; iret. */
const KEYBOARD_CODE = [0x50, 0xe4, 0x60, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf];
/** End of interrupt for the first and for both controllers. */
const MASTER_CODE = [0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf];
const SLAVE_CODE = [0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf];
/** cli; hlt; jmp. */
const STOP_CODE = [0xfa, 0xf4, 0xeb, 0xfd];
/** mov dx, 0xcf9; mov al, 6; out dx, al; and wait for the reset. */
const REBOOT_CODE = [0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, ...STOP_CODE];
const IRET = 0xcf;

/** Everything below and above the image that a BIOS would have left. */
export function biosPieces(): LoadPiece[] {
  const code = new TableWriter();
  const vectors = new Map<number, number>();
  const put = (bytes: readonly number[], ...numbers: readonly number[]): number => {
    const offset = CODE + code.length;
    code.u8(...bytes).align(4);
    for (const number of numbers) vectors.set(number, offset);
    return offset;
  };
  const service = put(SERVICE);
  // push vector; jmp service.
  for (const vector of SERVED) put([0x6a, vector, 0xe9, ...relative(service, CODE + code.length + 5)], vector);
  put(TIMER_CODE, TIMER);
  put(KEYBOARD_CODE, KEYBOARD);
  put(MASTER_CODE, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f);
  put(SLAVE_CODE, 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77);
  put(STOP_CODE, NO_BOOT);
  const reboot = put(REBOOT_CODE, BOOTSTRAP);
  const table = new TableWriter();
  for (let i = 0; i < 256; i++) table.u16(vectors.get(i) ?? DUMMY, ROM_SEGMENT);
  const start = new TableWriter().u8(0xea).u16(reboot, ROM_SEGMENT);
  const rom = (what: string, offset: number, bytes: Uint8Array): LoadPiece =>
    piece(what, ROM_SEGMENT * 16 + offset, bytes);
  return [
    piece("interrupt vectors", 0, table.done()),
    piece("BIOS data", BDA.base, biosData()),
    piece("extended BIOS data", EBDA, Uint8Array.of(1)),
    rom("BIOS services", CODE, code.done()),
    rom("dummy handler", DUMMY, Uint8Array.of(IRET)),
    rom("reset vector", RESET_VECTOR, start.done()),
  ];
}

const piece = (what: string, address: number, bytes: Uint8Array): LoadPiece => ({
  what,
  address,
  bytes,
  size: bytes.length,
});

const relative = (target: number, from: number): number[] => [(target - from) & 0xff, ((target - from) >> 8) & 0xff];

/** One serial port, no parallel ones, no drives, a text screen of 80 × 25, memory up to the extended BIOS data. */
function biosData(): Uint8Array {
  const bytes = new Uint8Array(BDA_BYTES);
  const view = new DataView(bytes.buffer);
  const words: readonly (readonly [number, number])[] = [
    [0x00, 0x3f8],
    [0x0e, EBDA >> 4],
    // Equipment: 80 × 25 colour text, one serial port.
    [0x10, 0x0220],
    [BDA.memory - BDA.base, EBDA / KIB],
    // Keyboard buffer: head, tail, start, end; and the same of a 101-key keyboard.
    ...([
      [0x1a, 0x1e],
      [0x1c, 0x1e],
      [0x80, 0x1e],
      [0x82, 0x3e],
      [0x96, 0x10],
    ] as const),
    // Video: mode, columns, bytes per page, port of the controller, rows - 1, height of a character.
    ...([
      [0x49, 0x03],
      [0x4a, 80],
      [0x4c, 0x1000],
      [0x63, 0x3d4],
      [0x84, 24],
      [0x85, 16],
    ] as const),
  ];
  for (const [offset, value] of words) view.setUint16(offset, value, true);
  return bytes;
}
