/**
 * A BIOS' screen and keyboard, INT 10h and INT 16h (Ralf Brown's Interrupt List), both on the first serial port: there is no display card. Characters go
 * out as they come; a move of the cursor becomes what a terminal understands (ECMA-48). Not here: graphics, colours, scrolling windows, what is on the
 * screen.
 */
import { BDA, BIOS_STATUS } from "../firmware/bios-rom.ts";
import type { PortSpace } from "../memory/port-space.ts";
import type { BiosFrame, BiosMemory } from "./bios-frame.ts";
import { PORT } from "./memory-map.ts";

const TEXT_MODE = 3;
const COLUMNS = 80;
const ROWS = 25;
const CR = 13;
const LF = 10;
const BS = 8;
const BELL = 7;
/** Registers of the 16550A, from its first port. */
const UART = { data: 0, interruptEnable: 1, lineStatus: 5 } as const;
const DATA_READY = 0x01;

/** A PC's keys by scan code, unshifted and shifted (set 1); a dot stands for a key without a character. */
const KEYS = "..1234567890-=\b\tqwertyuiop[]\r.asdfghjkl;'`.\\zxcvbnm,./... ";
const SHIFTED = '..!@#$%^&*()_+\b\tQWERTYUIOP{}\r.ASDFGHJKL:"~.|ZXCVBNM<>?... ';
const ESCAPE = 27;

/** Scan code in the upper byte, character in the lower. */
function keyOf(character: number): number {
  if (character === ESCAPE) return 0x0100 | ESCAPE;
  const text = character === 127 ? "\b" : String.fromCharCode(character === LF ? CR : character);
  const code = text === "." ? KEYS.lastIndexOf(",") + 1 : Math.max(KEYS.indexOf(text), SHIFTED.indexOf(text));
  return (Math.max(0, code) << 8) | text.charCodeAt(0);
}

export class BiosConsole {
  /** `key`: read from the port and not taken yet, or -1. `held`: character written without moving the cursor, or -1. */
  readonly state = { row: 0, column: 0, key: -1, held: -1 };
  readonly #ports: PortSpace;
  readonly #memory: BiosMemory;
  readonly #two = new Uint8Array(2);

  constructor(ports: PortSpace, memory: BiosMemory) {
    this.#ports = ports;
    this.#memory = memory;
  }

  reset(): void {
    Object.assign(this.state, { row: 0, column: 0, key: -1, held: -1 });
  }

  // --- INT 10h ------------------------------------------------------------------------------------------------------------------------------------

  video(r: BiosFrame): void {
    switch (r.ah) {
      case 0x02:
        this.#moveTo(r.dx >> 8, r.dx & 0xff);
        break;
      case 0x03:
        r.dx = (this.state.row << 8) | this.state.column;
        // A cursor in the lower lines of its character.
        r.cx = 0x0607;
        break;
      case 0x08:
        r.ax = 0x0720;
        break;
      case 0x09:
      case 0x0a:
        this.#writeHere(r.al, r.cx);
        break;
      case 0x0e:
        this.teletype(r.al);
        break;
      case 0x0f:
        r.ax = (COLUMNS << 8) | TEXT_MODE;
        r.bx &= 0x00ff;
        break;
      case 0x13:
        this.#writeString(r);
        break;
    }
    this.#two.set([this.state.column, this.state.row]);
    this.#memory.writeBlock(BDA.cursor, this.#two, 0, 2);
  }

  /** Writes a character and moves the cursor behind it. */
  teletype(character: number): void {
    const { state } = this;
    state.held = -1;
    if (character === CR) state.column = 0;
    else if (character === LF) state.row = Math.min(ROWS - 1, state.row + 1);
    else if (character === BS) state.column = Math.max(0, state.column - 1);
    else if (character !== BELL) this.#advance();
    this.#send(character);
  }

  #advance(): void {
    const { state } = this;
    state.column++;
    if (state.column < COLUMNS) return;
    state.column = 0;
    state.row = Math.min(ROWS - 1, state.row + 1);
  }

  /** The cursor stays; what is written shows when somebody moves it on, so that a program that writes and then moves reads well in a log. */
  #writeHere(character: number, count: number): void {
    if (count === 1) this.state.held = character;
  }

  #writeString(r: BiosFrame): void {
    this.#moveTo(r.dx >> 8, r.dx & 0xff);
    // Bit 1 of AL: each character has an attribute behind it.
    const step = (r.al & 2) !== 0 ? 2 : 1;
    for (let i = 0; i < r.cx; i++) {
      this.#memory.readBlock(r.es * 16 + ((r.bp + i * step) & 0xffff), this.#two, 0, 1);
      this.teletype(this.#two[0]!);
    }
  }

  #moveTo(row: number, column: number): void {
    const { state } = this;
    const { held } = state;
    if (held >= 0 && row === state.row && column === state.column + 1) {
      this.teletype(held);
      return;
    }
    if (row === state.row && column === state.column) return;
    state.held = -1;
    if (column === 0 && row === state.row + 1) this.#text("\r\n");
    else if (column === 0 && row === state.row) this.#text("\r");
    else this.#text(`\x1b[${row + 1};${column + 1}H`);
    state.row = row;
    state.column = column;
  }

  #text(text: string): void {
    for (let i = 0; i < text.length; i++) this.#send(text.charCodeAt(i));
  }

  #send(byte: number): void {
    this.#ports.write(PORT.com1 + UART.data, 1, byte);
  }

  // --- INT 16h ------------------------------------------------------------------------------------------------------------------------------------

  /** Returns one of {@link BIOS_STATUS}. */
  keyboard(r: BiosFrame): number {
    switch (r.ah & ~0x10) {
      case 0x00:
        if (!this.#look()) return BIOS_STATUS.wait;
        r.ax = this.state.key;
        this.state.key = -1;
        return BIOS_STATUS.done;
      case 0x01: {
        const ready = this.#look();
        r.zero = !ready;
        if (ready) r.ax = this.state.key;
        return BIOS_STATUS.done;
      }
      case 0x02:
        r.al = 0;
        return BIOS_STATUS.done;
      case 0x05: {
        const full = this.#look();
        if (!full) this.state.key = r.cx;
        r.al = full ? 1 : 0;
        return BIOS_STATUS.done;
      }
      default:
        return BIOS_STATUS.done;
    }
  }

  /** True when there is a key. A guest that drives the port itself, by interrupts, keeps what comes. */
  #look(): boolean {
    const { state } = this;
    if (state.key >= 0) return true;
    const port = PORT.com1;
    if (this.#ports.read(port + UART.interruptEnable, 1) !== 0) return false;
    if ((this.#ports.read(port + UART.lineStatus, 1) & DATA_READY) === 0) return false;
    state.key = keyOf(this.#ports.read(port + UART.data, 1));
    return true;
  }
}
