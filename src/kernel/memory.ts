/**
 * Where a kernel's own things lie in RAM. Addresses are handed out once, upwards; the DMA API's zones (dma/memory.ts) come from here, too.
 */
import { alignUp } from "../base/int.ts";
import { MIB, PAGE, type PhysAddr } from "../base/units.ts";
import type { PageMap } from "../ports/page-map.ts";

export class Arena {
  #next: PhysAddr;
  /** First address that is not the kernel's. */
  readonly end: PhysAddr;

  constructor(end: PhysAddr, begin: PhysAddr = MIB) {
    this.#next = begin;
    this.end = end;
  }

  /** Throws RangeError when memory is used up. */
  take(bytes: number, alignment = 16): PhysAddr {
    const at = alignUp(this.#next, alignment);
    if (at + bytes > this.end) throw new RangeError(`out of memory: ${bytes} bytes`);
    this.#next = at + bytes;
    return at;
  }

  /** Bytes that are left. */
  get free(): number {
    return this.end - this.#next;
  }
}

/** A stack with a page below it that is not there. */
export type Stack = {
  readonly name: string;
  /** Address of the guard page. */
  readonly guard: PhysAddr;
  /** Lowest address. */
  readonly bottom: PhysAddr;
  /** RSP when it is empty. */
  readonly top: PhysAddr;
};

export function makeStack(arena: Arena, map: PageMap, name: string, bytes: number): Stack {
  const size = alignUp(bytes, PAGE);
  const guard = arena.take(size + PAGE, PAGE);
  map.unmap(guard);
  return { name, guard, bottom: guard + PAGE, top: guard + PAGE + size };
}

export const isGuardOf = (stack: Stack, address: number): boolean =>
  address >= stack.guard && address < stack.guard + PAGE;
