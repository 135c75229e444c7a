/**
 * A processor's way to everything outside itself: physical memory that is not RAM, and I/O ports. RAM it reaches directly through its TLB.
 */
import type { PhysAddr } from "../base/units.ts";

/** What lies at a physical page, for a TLB fill. */
export const PAGE_KIND = { ram: 0, rom: 1, window: 2, open: 3 } as const;

/** Memory types, with the encoding of MTRRs and the PAT (Intel SDM vol. 3A, tables 12-8 and 12-10). */
export const MEMORY_TYPE = {
  uncached: 0,
  writeCombining: 1,
  writeThrough: 4,
  writeProtected: 5,
  writeBack: 6,
  /** In the PAT only: uncached, unless the MTRR says write-combining. */
  uncachedMinus: 7,
} as const;

/** Caches that a processor manages. */
export interface CpuCaches {
  /** Page `page` (address / 4096) was translated with this effective memory type. */
  pageType(page: number, type: number): void;
  /** A store of `bytes` begins, whose pieces of up to 4 bytes follow: others see all of them or none. */
  begin(bytes: number): void;
  /** CLFLUSH, CLFLUSHOPT. */
  flush(address: PhysAddr): void;
  /** CLWB. */
  writeBack(address: PhysAddr): void;
  /** WBINVD. */
  writeBackAndInvalidateAll(): void;
  /** INVD. */
  invalidateAll(): void;
  /** Before a page walk: stores that wait become visible. */
  settle(): void;
  /** An instruction comes from the page of RAM at this offset; may be called more often than that, but not less. */
  fetched(ramOffset: number): void;
  /** For a debugger: `bytes` were copied from RAM at `ramOffset`; puts the processor's own waiting stores over them. Changes nothing else. */
  overlay(ramOffset: number, bytes: Uint8Array): void;
  /** All stores become visible: MFENCE, SFENCE, locked and serializing instructions. */
  fence(): void;
}

export interface CpuBus {
  /**
   * Looks up a physical 4 KiB page (address / 4096). Returns one of {@link PAGE_KIND}; for RAM and ROM `pageOffset` then holds the byte offset of that
   * page in the shared memory buffer. A page that is not wholly one thing is a `window`: every access goes through read and write.
   */
  lookup(page: number): number;
  readonly pageOffset: number;
  /** 1, 2 or 4 bytes that do not cross a page, any alignment; unsigned result; all-ones where nothing answers. */
  read(address: PhysAddr, width: number): number;
  write(address: PhysAddr, width: number, value: number): void;
  /** 1, 2 or 4 bytes at any port, any alignment. */
  portRead(port: number, width: number): number;
  portWrite(port: number, width: number, value: number): void;
  /** Every physical address from 1 MiB up to this one is RAM, at the offset in RAM that equals the address. Absent or 0: none is. */
  readonly plainRamEnd?: number;
  /** Grows whenever the result of `lookup` may have changed (a BAR moved, A20 changed): cached translations are stale then. */
  readonly generation: number;
  /** Not null: loads and stores of RAM, too, must come through read and write. */
  readonly caches?: CpuCaches | null;
}
