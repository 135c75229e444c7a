/** PCI BIOS Specification 2.1, real mode: INT 1Ah with AH = B1h, over configuration mechanism 1. Not here: special cycles, interrupt routing options. */
import type { PortSpace } from "../memory/port-space.ts";
import type { BiosFrame } from "./bios-frame.ts";
import { PORT } from "./memory-map.ts";

/** Return codes (chapter "Function List"). */
const CODE = { successful: 0x00, unsupported: 0x81, badVendor: 0x83, notFound: 0x86, badRegister: 0x87 } as const;
const FUNCTION = { present: 0x01, findDevice: 0x02, findClass: 0x03, read: 0x08, write: 0x0b } as const;
const SIGNATURE = 0x20494350;
const VERSION = 0x0210;
/** "Hardware mechanism": configuration mechanism 1. */
const MECHANISM_1 = 0x01;
const ENABLE = 0x80000000;
/** Places in configuration space. */
const HEADER = { type: 0x0e, subordinate: 0x1a } as const;
const MULTIFUNCTION = 0x80;
const NO_VENDOR = 0xffff;

export class PciBios {
  readonly #ports: PortSpace;

  constructor(ports: PortSpace) {
    this.#ports = ports;
  }

  call(r: BiosFrame): void {
    const code = this.#call(r);
    r.ah = code;
    r.carry = code !== CODE.successful;
  }

  #call(r: BiosFrame): number {
    const { al } = r;
    switch (al) {
      case FUNCTION.present:
        r.al = MECHANISM_1;
        r.bx = VERSION;
        r.cl = this.#lastBus();
        r.edx = SIGNATURE;
        // There is no entry for protected mode.
        r.edi = 0;
        return CODE.successful;
      case FUNCTION.findDevice: {
        if (r.dx === NO_VENDOR) return CODE.badVendor;
        const id = ((r.cx << 16) | r.dx) >>> 0;
        return this.#find(r, at => this.#read(at, 0, 4) === id);
      }
      case FUNCTION.findClass: {
        const wanted = r.ecx & 0xffffff;
        return this.#find(r, at => this.#read(at, 8, 4) >>> 8 === wanted);
      }
    }
    // Bytes, words and double words of reading, then of writing.
    const writes = al >= FUNCTION.write;
    const width = 1 << (al - (writes ? FUNCTION.write : FUNCTION.read));
    if (al < FUNCTION.read || width > 4) return CODE.unsupported;
    const register = r.di;
    if (register > 0xff || register % width !== 0) return CODE.badRegister;
    if (writes) this.#write(r.bx, register, width, width === 4 ? r.ecx : width === 2 ? r.cx : r.cl);
    else if (width === 4) r.ecx = this.#read(r.bx, register, 4);
    else if (width === 2) r.cx = this.#read(r.bx, register, 2);
    else r.cl = this.#read(r.bx, register, 1);
    return CODE.successful;
  }

  /** Finds the function that is number SI of those that fit, in ascending order. Its bus, device and function go to BX. */
  #find(r: BiosFrame, fits: (at: number) => boolean): number {
    let left = r.si;
    for (let bus = 0, last = this.#lastBus(); bus <= last; bus++) {
      for (const at of this.#functions(bus)) {
        if (!fits(at) || left-- > 0) continue;
        r.bx = at;
        return CODE.successful;
      }
    }
    return CODE.notFound;
  }

  /** Every function on a bus, by bus and devfn. Functions besides the first exist where the first one's header type says so. */
  *#functions(bus: number): Generator<number> {
    for (let at = bus << 8; at < (bus + 1) << 8; at++) {
      if ((at & 7) !== 0 && (this.#read(at & ~7, HEADER.type, 1) & MULTIFUNCTION) === 0) continue;
      if (this.#read(at, 0, 2) !== NO_VENDOR) yield at;
    }
  }

  /** The bridges of bus 0 tell the last bus behind them. */
  #lastBus(): number {
    let last = 0;
    for (const at of this.#functions(0)) {
      const isBridge = (this.#read(at, HEADER.type, 1) & ~MULTIFUNCTION) === 1;
      if (isBridge) last = Math.max(last, this.#read(at, HEADER.subordinate, 1));
    }
    return last;
  }

  /** @param at bus and devfn, as in BX */
  #select(at: number, register: number): number {
    this.#ports.write(PORT.pciConfig, 4, (ENABLE | (at << 8) | (register & 0xfc)) >>> 0);
    return PORT.pciConfig + 4 + (register & 3);
  }

  #read(at: number, register: number, width: number): number {
    return this.#ports.read(this.#select(at, register), width);
  }

  #write(at: number, register: number, width: number, value: number): void {
    this.#ports.write(this.#select(at, register), width, value);
  }
}
