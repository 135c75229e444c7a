/**
 * The test device that guests written for QEMU's `-device pc-testdev` expect (hw/misc/pc-testdev.c says what is where):
 *
 * - ports 0x2000 + n (one byte): interrupt line n goes high (not 0) or low (0);
 * - ports 0xE0-0xE3: a 32-bit word that is read and written in 1, 2 or 4 bytes; 0xE8-0xEB: the same word, byte by byte;
 * - port 0xE4 (4 bytes): "flush page", makes the host forget its mapping of the page; nothing to do here;
 * - 64 KiB of memory-mapped bytes at 0xFF000000 that read as they were written.
 */
import { KIB } from "../base/units.ts";
import type { LinePin } from "../ports/line.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";

/** Interrupt lines that the device drives. */
export const TESTDEV_LINES = 24;
const MEMORY_BYTES = 64 * KIB;
const WORD_BYTES = 4;

export type PcTestdevState = { word: Uint8Array; memory: Uint8Array };

const readLittle = (bytes: Uint8Array, offset: number, width: number): number => {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 256 + bytes[offset + i]!;
  return value;
};
const writeLittle = (bytes: Uint8Array, offset: number, width: number, value: number): void => {
  for (let i = 0; i < width; i++) bytes[offset + i] = value >>> (8 * i);
};

export class PcTestdev implements Part {
  readonly name = "pc-testdev";
  readonly state: PcTestdevState = { word: new Uint8Array(WORD_BYTES), memory: new Uint8Array(MEMORY_BYTES) };
  /** Ports 0x2000-0x2017. */
  readonly irqPorts: Window;
  /** Ports 0xE0-0xE3. */
  readonly wordPorts: Window;
  /** Ports 0xE4-0xE7. */
  readonly flushPort: Window;
  /** Ports 0xE8-0xEB. */
  readonly bytePorts: Window;
  /** 0xFF000000, 64 KiB. */
  readonly memory: Window;
  readonly #lines: readonly (LinePin | null)[];

  /** @param lines pins on the interrupt lines 0 … 23; null where the board has none */
  constructor(lines: readonly (LinePin | null)[]) {
    this.#lines = lines;
    const bytes = (name: string, store: Uint8Array, maxWidth: 1 | 4): Window => ({
      name,
      size: store.length,
      minWidth: 1,
      maxWidth,
      read: (offset, width) => readLittle(store, offset, width),
      write: (offset, width, value) => writeLittle(store, offset, width, value),
    });
    this.wordPorts = bytes("pc-testdev word", this.state.word, 4);
    this.bytePorts = bytes("pc-testdev bytes", this.state.word, 1);
    this.memory = bytes("pc-testdev memory", this.state.memory, 4);
    this.flushPort = {
      name: "pc-testdev flush",
      size: 4,
      minWidth: 4,
      maxWidth: 4,
      narrowWrites: "drop",
      read: () => 0,
      write: () => {},
    };
    this.irqPorts = {
      name: "pc-testdev irq",
      size: TESTDEV_LINES,
      minWidth: 1,
      maxWidth: 1,
      read: () => 0,
      write: (offset, _width, value) => this.#lines[offset]?.set((value & 0xff) !== 0),
      describe: offset => `pc-testdev irq ${offset}`,
    };
  }

  reset(phase: ResetPhase, _kind: ResetKind): void {
    if (phase === "enter") {
      this.state.word.fill(0);
      this.state.memory.fill(0);
    } else if (phase === "hold") for (const pin of this.#lines) pin?.deassert();
  }
}
