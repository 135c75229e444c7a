/**
 * What the rare-instruction helpers need of their neighbours in the processor, as small interfaces: so that each can be tested with a few lines of
 * fake, and so that no helper imports another.
 */

/** The TLBs, as far as instructions flush them or change privilege. */
export interface TlbPort {
  /** Chooses the bank for the present CPL, EFLAGS.AC and CR4.SMAP. Cheap. */
  selectBank(): void;
  flushAll(): void;
  /** All but global pages. */
  flushNonGlobal(): void;
  flushPage(linear: number): void;
  /** Whether the code TLB still knows the page of an address. */
  knowsCode(linear: number): boolean;
  /** Drops everything when the map of physical memory changed since the last look. True when it did. */
  checkGeneration(): boolean;
  /** The bank of the present privilege, and whether alignment is checked now. */
  readonly bank: number;
  readonly strict: boolean;
  /** Byte offset in the memory buffer of `size` bytes at a canonical linear address that may be accessed there at once, else −1. */
  direct(bank: number, linear: number, size: number, write: boolean): number;
}

/** Derived state of the segment registers: code mode, fast limits, stack mask. */
export interface SegmentationPort {
  recompute(): void;
}

/** Reloads the four PDPTEs of legacy PAE paging from CR3; raises #GP(0) when one has a reserved bit set, and then keeps the old ones. */
export interface PdpteLoader {
  loadPdptes(): void;
}

/**
 * Guest memory with every check, as `Mmu` has it. Values of 1 to 8 bytes travel in `lo` and `hi` (unsigned), longer ones (up to 64 bytes) in SLOW_DATA.
 * What faults raises the guest's exception and has written nothing; methods that return a number return 1 for a fault that `throwFault` raises.
 */
export interface MemoryPort {
  lo: number;
  hi: number;
  /** The memory operand of the instruction at `record`: its effective address is at SLOW_ADDRESS. */
  loadOperand(record: number, size: number): void;
  storeOperand(record: number, size: number): void;
  /** The same for segment `seg` and the address at SLOW_ADDRESS (offset in the segment; linear in 64-bit mode). */
  loadAt(seg: number, size: number): void;
  storeAt(seg: number, size: number): void;
  /** Whether `size` (≤ 4096) bytes at SLOW_ADDRESS can be written. */
  probeWrite(seg: number, size: number): number;
  /** Read-modify-write of up to 64 bytes: checks for writing, reads to SLOW_DATA; commitRmw then writes SLOW_DATA back. */
  slowRmw(seg: number, size: number): number;
  commitRmw(): void;
  /** Physical address of the memory operand's first byte, which must be readable. */
  operandPhysical(record: number): number;
  throwFault(): never;
  /** An implicit supervisor read at a linear address (the TSS). */
  read16(linear: number): number;
}

/** INT n, INT3, INTO, INT1: delivery through the IDT with the rules of software interrupts. `nextRip` is what the frame will hold. */
export const SOFTWARE_INT = { intN: 0, int3: 1, into: 2, int1: 3 } as const;
export interface DeliveryPort {
  softwareInterrupt(vector: number, kind: number, nextRip: number): void;
}
