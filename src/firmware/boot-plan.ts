/**
 * What a loader hands to the machine: which bytes go where, and what the bootstrap processor holds when it starts. Plain data, so that a platform reset
 * can do the same again.
 */
import type { PhysAddr } from "../base/units.ts";

/** Registers of the bootstrap processor at its first instruction. What is not named here is as after power-on, with IF = 0 and A20 open. */
export type EntryState = {
  /** `protected`: flat 32-bit segments 0 … 4 GiB, paging off. `real`: 16-bit real mode. `long`: 64-bit mode, paging on through `cr3`. */
  readonly mode: "protected" | "real" | "long";
  /** Offset in the code segment. */
  readonly eip: number;
  readonly eax: number;
  readonly ebx: number;
  readonly edx: number;
  readonly esp: number;
  /** 0 unless given. */
  readonly esi?: number;
  /** Address of the PML4 table, in long mode. */
  readonly cr3?: PhysAddr;
  /** Segment selectors. In protected mode their descriptors lie in the GDT. */
  readonly cs: number;
  readonly ds: number;
  readonly es: number;
  readonly ss: number;
  /** Where the descriptors of the selectors above lie; limit 0 when there is none (real mode). */
  readonly gdtBase: PhysAddr;
  readonly gdtLimit: number;
};

/** A piece of memory to be filled: `bytes` and then zeros up to `size`. */
export type LoadPiece = {
  readonly what: string;
  readonly address: PhysAddr;
  readonly bytes: Uint8Array;
  /** Bytes in memory, at least `bytes.length`. */
  readonly size: number;
};

export type BootPlan = {
  readonly kind: "multiboot1" | "multiboot2" | "flat" | "linux";
  readonly pieces: readonly LoadPiece[];
  readonly entry: EntryState;
};

/** A file with the words that stand behind it on its command line. */
export type BootFile = {
  /** Last component of its path. */
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly args: string;
  /** The executable inside a compressed kernel, when the host has unpacked it (see unpack-kernel.ts). */
  readonly unpacked?: Uint8Array;
};

/** What only Linux kernels are given. */
export type LinuxFacts = {
  readonly initrd: BootFile | null;
  /** Address of ACPI's root pointer; 0: none. */
  readonly rsdp: PhysAddr;
};

/** What the loaders must know of the board. */
export type MemoryFacts = {
  /** Bytes of RAM below the hole for devices, from address 0. */
  readonly lowBytes: number;
  /** Bytes of RAM from 4 GiB on. */
  readonly highBytes: number;
  /** Ranges that are neither RAM nor free, above the RAM below 4 GiB. */
  readonly reserved?: readonly { readonly base: number; readonly length: number }[];
};
