/**
 * What a loader hands to the machine: which bytes go where, and what the bootstrap processor holds when it starts. Plain data, so that a platform reset
 * can do the same again.
 */
import type { PhysAddr } from "../base/units.ts";
import type { EntryState } from "../ports/entry-state.ts";

export type { EntryState } from "../ports/entry-state.ts";

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
  /** The guest starts in real mode and expects a BIOS: the plan holds its stubs (bios-rom.ts), the board the part that they call. */
  readonly bios?: boolean;
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

/**
 * How a Linux kernel can be started: in 64-bit mode, in 32-bit protected mode, in real mode ("The Linux/x86 Boot Protocol"), or by Xen's "x86/HVM direct
 * boot ABI".
 */
export const LINUX_ENTRIES = ["linux64", "linux32", "linux16", "pvh"] as const;
export type LinuxEntry = (typeof LINUX_ENTRIES)[number];

/** What only Linux kernels are given. */
export type LinuxFacts = {
  readonly initrd: BootFile | null;
  /** Address of ACPI's root pointer; 0: none. */
  readonly rsdp: PhysAddr;
  /** Without it, the first one in the list above that the kernel has; PVH only on demand. */
  readonly entry?: LinuxEntry | null;
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
