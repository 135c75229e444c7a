/**
 * Finds room for what a loader brings, and refuses what does not fit: one place that knows which addresses are RAM and which are taken.
 */
import { HostError } from "../base/assert.ts";
import { alignDown, alignUp, hex } from "../base/int.ts";
import { GIB, MIB, PAGE, type PhysAddr } from "../base/units.ts";
import type { LoadPiece, MemoryFacts } from "./boot-plan.ts";
import { EBDA } from "./e820.ts";

/** Below this, guests put their trampolines. */
const LOWEST_TABLE = 0x10000;
const RESERVED = [{ base: EBDA, end: MIB }];

export class LayoutPlan {
  readonly pieces: LoadPiece[] = [];
  readonly #facts: MemoryFacts;
  readonly #image: string;

  /** @param image name of the kernel's file, for error messages */
  constructor(facts: MemoryFacts, image: string) {
    this.#facts = facts;
    this.#image = image;
  }

  /** Puts a piece where it asks to be. */
  place(what: string, address: PhysAddr, bytes: Uint8Array, size = bytes.length): void {
    const end = address + size;
    const inLow = end <= this.#facts.lowBytes;
    const inHigh = address >= 4 * GIB && end <= 4 * GIB + this.#facts.highBytes;
    if (!inLow && !inHigh) {
      const place = `${what} wants ${hex(address)} to ${hex(end - 1)}`;
      const needs = `which needs ${Math.ceil(end / MIB)}M, there are ${Math.floor(this.#facts.lowBytes / MIB)}M`;
      throw new HostError(`${this.#image}: too large for memory: ${place}, ${needs}`, 66);
    }
    for (const reserved of RESERVED) {
      if (address < reserved.end && end > reserved.base) {
        throw new HostError(`${this.#image}: ${what} at ${hex(address)} lies over the hole for video and firmware`, 66);
      }
    }
    for (const piece of this.pieces) {
      if (address < piece.address + piece.size && end > piece.address) {
        throw new HostError(`${this.#image}: ${what} at ${hex(address)} lies over ${piece.what}`, 66);
      }
    }
    this.pieces.push({ what, address, bytes, size });
  }

  /** First page behind everything placed above 1 MiB. */
  top(): PhysAddr {
    let top = MIB;
    for (const piece of this.pieces) {
      if (piece.address + piece.size <= this.#facts.lowBytes) top = Math.max(top, piece.address + piece.size);
    }
    return alignUp(top, PAGE);
  }

  /** Room for small tables: the highest free place below the EBDA, where trampolines seldom are; above the kernel when that is taken. */
  roomForTables(size: number): PhysAddr {
    let address = alignDown(EBDA - size, 16);
    for (let tries = 0; tries <= this.pieces.length && address >= LOWEST_TABLE; tries++) {
      const taken = this.pieces.find(piece => address + size > piece.address && address < piece.address + piece.size);
      if (taken === undefined) return address;
      address = alignDown(taken.address - size, 16);
    }
    return this.top();
  }
}
