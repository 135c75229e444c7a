/**
 * The services of a PC's BIOS for guests that start in real mode (Ralf Brown's Interrupt List; ACPI 6.5, 15.1 for INT 15h E820h; IBM PC/AT Technical
 * Reference): what a ROM would do in many instructions, done at once when the stub of firmware/bios-rom.ts tells where the caller's registers lie. It
 * works on the board as a BIOS does, by ports and memory; it does not know the processor. Not here: disks (INT 13h says that there are none), the
 * printer, APM, tapes, the move of extended memory.
 */
import type { PhysAddr } from "../base/units.ts";
import { KIB, MIB } from "../base/units.ts";
import { BDA, BIOS_PORT, BIOS_STATUS } from "../firmware/bios-rom.ts";
import type { MemoryFacts } from "../firmware/boot-plan.ts";
import { e820, e820Bytes } from "../firmware/e820.ts";
import type { PortSpace } from "../memory/port-space.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import type { Window } from "../ports/window.ts";
import type { Clock } from "../sim/clock.ts";
import { BiosConsole } from "./bios-console.ts";
import { BiosFrame, type BiosMemory } from "./bios-frame.ts";
import { PciBios } from "./bios-pci.ts";
import { PORT } from "./memory-map.ts";

const SMAP = 0x534d4150;
const E820_BYTES = 20;
/** Answers in AH. */
const NOT_SUPPORTED = 0x86;
const BAD_COMMAND = 0x01;
const A20_BIT = 0x02;
/** CMOS registers of the clock, in BCD. */
const RTC = { seconds: 0x00, minutes: 0x02, hours: 0x04, day: 0x07, month: 0x08, year: 0x09, century: 0x32 } as const;

type BiosOptions = {
  readonly memory: BiosMemory;
  readonly ports: PortSpace;
  readonly clock: Clock;
  readonly facts: MemoryFacts;
};

export class BiosServices implements Part, Window {
  readonly name = "bios";
  readonly size = 4;
  readonly minWidth = 1;
  readonly maxWidth = 2;
  readonly state;
  readonly #memory: BiosMemory;
  readonly #ports: PortSpace;
  readonly #clock: Clock;
  readonly #map: ReturnType<typeof e820>;
  readonly #facts: MemoryFacts;
  readonly #frame: BiosFrame;
  readonly #terminal: BiosConsole;
  readonly #pci: PciBios;

  constructor({ memory, ports, clock, facts }: BiosOptions) {
    this.#memory = memory;
    this.#ports = ports;
    this.#clock = clock;
    this.#facts = facts;
    this.#map = e820(facts);
    this.#frame = new BiosFrame(memory);
    this.#terminal = new BiosConsole(ports, memory);
    this.#pci = new PciBios(ports);
    // `waitUntil`: instant in ns at which a wait ends, or -1.
    this.state = { stack: 0, status: BIOS_STATUS.done as number, waitUntil: -1, terminal: this.#terminal.state };
  }

  reset(phase: ResetPhase, _kind: ResetKind): void {
    if (phase !== "enter") return;
    this.state.stack = 0;
    this.state.status = BIOS_STATUS.done;
    this.state.waitUntil = -1;
    this.#terminal.reset();
  }

  read(offset: number, _width: number): number {
    return offset === 2 ? this.state.status : 0;
  }

  /** SS, then SP, which carries out the service. */
  write(offset: number, width: number, value: number): void {
    if (width !== 2) return;
    if (offset === 0) this.state.stack = value;
    else this.#call(this.state.stack * 16 + value);
  }

  describe(offset: number): string {
    return offset < 2 ? "stack" : "call";
  }

  #call(frame: PhysAddr): void {
    const r = this.#frame;
    r.load(frame);
    this.state.status = this.#service(r);
    r.store();
  }

  /** Returns one of {@link BIOS_STATUS}. */
  #service(r: BiosFrame): number {
    switch (r.vector) {
      case 0x10:
        this.#terminal.video(r);
        break;
      case 0x11:
        r.ax = this.#word(BDA.base + 0x10);
        break;
      case 0x12:
        r.ax = this.#word(BDA.memory);
        break;
      case 0x13:
        r.unsupported(BAD_COMMAND);
        break;
      case 0x14:
        this.#serial(r);
        break;
      case 0x15:
        return this.#system(r);
      case 0x16:
        return this.#terminal.keyboard(r);
      case 0x17:
        // "time out": there is no printer.
        r.ah = 0x01;
        break;
      case 0x1a:
        if (r.ah === 0xb1) this.#pci.call(r);
        else this.#time(r);
        break;
    }
    return BIOS_STATUS.done;
  }

  #word(address: PhysAddr): number {
    const bytes = new Uint8Array(2);
    this.#memory.readBlock(address, bytes, 0, 2);
    return bytes[0]! | (bytes[1]! << 8);
  }

  // --- INT 14h: the serial port -------------------------------------------------------------------------------------------------------------------

  #serial(r: BiosFrame): void {
    const read = (offset: number): number => this.#ports.read(PORT.com1 + offset, 1);
    const function_ = r.ah;
    if (function_ === 0x01) this.#ports.write(PORT.com1, 1, r.al);
    // Without a byte, "time out".
    if (function_ === 0x02 && (read(5) & 1) === 0) {
      r.ah = 0x80;
      return;
    }
    if (function_ === 0x02) r.al = read(0);
    r.ah = read(5);
    if (function_ === 0x00 || function_ === 0x03) r.al = read(6);
  }

  // --- INT 15h: the system ------------------------------------------------------------------------------------------------------------------------

  #system(r: BiosFrame): number {
    const above16 = Math.max(0, this.#facts.lowBytes - 16 * MIB) / (64 * KIB);
    const to16 = Math.min(15 * MIB, this.#facts.lowBytes - MIB) / KIB;
    r.carry = false;
    switch (r.ax) {
      case 0xe820:
        this.#memoryMap(r);
        return BIOS_STATUS.done;
      case 0xe801:
        r.ax = r.cx = to16;
        r.bx = r.dx = above16;
        return BIOS_STATUS.done;
      case 0x2400:
      case 0x2401:
        this.#setA20(r.al === 1);
        r.ah = 0;
        return BIOS_STATUS.done;
      case 0x2402:
        r.ax = (this.#ports.read(PORT.fastA20, 1) & A20_BIT) !== 0 ? 1 : 0;
        return BIOS_STATUS.done;
      case 0x2403:
        // By port 0x92 and by the keyboard controller.
        r.bx = 3;
        r.ah = 0;
        return BIOS_STATUS.done;
    }
    if (r.ah === 0x88) r.ax = Math.min(0xfc00, (this.#facts.lowBytes - MIB) / KIB);
    else if (r.ah === 0x86) return this.#wait(r);
    else r.unsupported(NOT_SUPPORTED);
    return BIOS_STATUS.done;
  }

  #setA20(open: boolean): void {
    const control = this.#ports.read(PORT.fastA20, 1);
    this.#ports.write(PORT.fastA20, 1, open ? control | A20_BIT : control & ~A20_BIT);
  }

  /** One entry for each call; EBX says which, and 0 after the last. */
  #memoryMap(r: BiosFrame): void {
    const index = r.ebx;
    const entry = this.#map[index];
    if (r.edx !== SMAP || r.ecx < E820_BYTES || entry === undefined) {
      r.unsupported(NOT_SUPPORTED);
      return;
    }
    this.#memory.writeBlock(r.es * 16 + r.di, e820Bytes([entry]), 0, E820_BYTES);
    r.eax = SMAP;
    r.ecx = E820_BYTES;
    r.ebx = index + 1 < this.#map.length ? index + 1 : 0;
  }

  /** AH = 86h: CX:DX microseconds. */
  #wait(r: BiosFrame): number {
    const now = this.#clock.now();
    const { state } = this;
    if (state.waitUntil < 0) state.waitUntil = now + (r.cx * 65536 + r.dx) * 1000;
    if (now < state.waitUntil) return BIOS_STATUS.again;
    state.waitUntil = -1;
    return BIOS_STATUS.done;
  }

  // --- INT 1Ah: time ------------------------------------------------------------------------------------------------------------------------------

  #time(r: BiosFrame): void {
    r.carry = false;
    const bytes = new Uint8Array(5);
    switch (r.ah) {
      case 0x00:
        this.#memory.readBlock(BDA.ticks, bytes, 0, 5);
        r.dx = bytes[0]! | (bytes[1]! << 8);
        r.cx = bytes[2]! | (bytes[3]! << 8);
        r.al = bytes[4]!;
        // Reading clears the mark of midnight.
        this.#memory.writeBlock(BDA.midnight, new Uint8Array(1), 0, 1);
        break;
      case 0x01:
        bytes.set([r.dx & 0xff, r.dx >> 8, r.cx & 0xff, r.cx >> 8, 0]);
        this.#memory.writeBlock(BDA.ticks, bytes, 0, 5);
        break;
      case 0x02:
        r.cx = (this.#cmos(RTC.hours) << 8) | this.#cmos(RTC.minutes);
        r.dx = this.#cmos(RTC.seconds) << 8;
        break;
      case 0x04:
        r.cx = (this.#cmos(RTC.century) << 8) | this.#cmos(RTC.year);
        r.dx = (this.#cmos(RTC.month) << 8) | this.#cmos(RTC.day);
        break;
      default:
        r.carry = true;
    }
  }

  #cmos(register: number): number {
    this.#ports.write(PORT.rtc, 1, register);
    return this.#ports.read(PORT.rtc + 1, 1);
  }
}

/** First port of the window. */
export const BIOS_WINDOW = BIOS_PORT;

/** As a BIOS starts the board: counter 0 ticks in mode 3 over 65536, inputs 0 to 2 of the first controller are open, the serial port keeps what comes. */
export function startBiosDevices(ports: PortSpace): void {
  ports.write(PORT.pit + 3, 1, 0x36);
  ports.write(PORT.pit, 1, 0);
  ports.write(PORT.pit, 1, 0);
  ports.write(PORT.picMaster + 1, 1, 0xf8);
  // 8 data bits; FIFO on.
  ports.write(PORT.com1 + 3, 1, 0x03);
  ports.write(PORT.com1 + 2, 1, 0x01);
}
