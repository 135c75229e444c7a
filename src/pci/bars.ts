/**
 * Base address registers. PCI Local Bus Specification 3.0, 6.2.5: I/O, 32-bit and 64-bit memory, prefetchable or not; sizing by writing all-ones, for the
 * bits below the size are wired to 0. Not modelled: the expansion ROM, memory below 1 MiB (type 01, obsolete).
 */
import { assert } from "../base/assert.ts";
import type { BarSpace, Placement } from "../ports/pci.ts";
import type { Window } from "../ports/window.ts";
import { BAR_MEMORY, BAR_TYPE, CONFIG } from "./config-space.regs.ts";
import type { ConfigSpace } from "./config-space.ts";

export type BarKind = "io" | "memory32" | "memory64";
export type BarOptions = {
  readonly kind: BarKind;
  readonly prefetchable?: boolean;
  /** Its size must be a power of two: at least 4 ports or 16 bytes. */
  readonly window: Window;
};

/** Where a BAR's range may lie: what the bridges above let through. */
export type Decodes = (io: boolean, base: number, size: number) => boolean;

const IO_LIMIT = 0x10000;
const MEMORY_LIMIT = 2 ** 52;

export class Bar {
  /** 0 … 5. */
  readonly index: number;
  readonly kind: BarKind;
  readonly window: Window;
  readonly #space: ConfigSpace;
  readonly #placement: Placement;
  readonly #offset: number;
  /** Where the window answers at present, −1 for nowhere; follows from the registers. */
  #base = -1;

  constructor(index: number, options: BarOptions, space: ConfigSpace, addresses: BarSpace) {
    const { kind, window } = options;
    const { size } = window;
    assert(2 ** Math.log2(size) === size && Number.isInteger(Math.log2(size)), `${window.name}: BAR of ${size} bytes`);
    assert(size >= (kind === "io" ? 4 : 16) && size <= 2 ** 31, `${window.name}: BAR of ${size} bytes`);
    assert(index + (kind === "memory64" ? 1 : 0) < 6, `${window.name}: there is no BAR ${index}`);
    this.index = index;
    this.kind = kind;
    this.window = window;
    this.#space = space;
    this.#offset = CONFIG.bar + 4 * index;
    this.#placement = addresses.claim(window);
    const type = BAR_MEMORY.type.put(0, kind === "memory64" ? BAR_TYPE.bits64 : BAR_TYPE.bits32);
    const value = kind === "io" ? 1 : type | (options.prefetchable === true ? BAR_MEMORY.prefetchable.mask : 0);
    const writable = (~(size - 1) & (kind === "io" ? ~3 : ~15)) >>> 0;
    space.define({ name: `BAR ${index}`, offset: this.#offset, size: 4, value, writable });
    if (kind === "memory64")
      space.define({ name: `BAR ${index} high`, offset: this.#offset + 4, size: 4, writable: 0xffffffff });
  }

  /** What the register says, whether it is decoded or not. */
  get base(): number {
    const low = this.#space.read(this.#offset, 4);
    if (this.kind === "io") return (low & ~3) >>> 0;
    const high = this.kind === "memory64" ? this.#space.read(this.#offset + 4, 4) : 0;
    return high * 2 ** 32 + ((low & ~15) >>> 0);
  }

  /** Where the window answers, −1 for nowhere. */
  get mapped(): number {
    return this.#base;
  }

  /** Puts the window where the registers say. @param enabled the command register's bit for this kind of space */
  update(enabled: boolean, decodes: Decodes): void {
    const { base } = this;
    const io = this.kind === "io";
    const fits = base + this.window.size <= (io ? IO_LIMIT : MEMORY_LIMIT);
    const wanted = enabled && fits && decodes(io, base, this.window.size) ? base : -1;
    if (wanted === this.#base) return;
    this.#base = wanted;
    if (wanted < 0) this.#placement.remove();
    else this.#placement.place(wanted);
  }
}
