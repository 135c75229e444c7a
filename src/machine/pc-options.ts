/**
 * What a PC can be made with.
 */
import type { Vendor } from "../cpu/model.ts";
import type { DiskImageOptions } from "../devices/disk-image.ts";
import type { BootFile, LinuxEntry } from "../firmware/boot-plan.ts";
import type { OptionalPart } from "./board-facts.ts";
import type { BusSpec } from "./arbiter-board.ts";
import type { CacheSpec } from "./cache-board.ts";
import type { IdeOptions } from "./ide-board.ts";
import type { IommuSpec } from "./iommu-board.ts";
import type { NetworkOptions } from "./networks.ts";
import type { DeviceSpec } from "./pci-devices.ts";
import type { BoardProcessor, ProcessorOptions } from "./processor.ts";
import type { SoundListener } from "./isa-board.ts";

export const MAX_CPUS = 64;

export type PcOptions = {
  /** 1 … 64. */
  readonly cpus: number;
  /** Bytes of RAM. */
  readonly memory: number;
  /** Null: nothing is loaded, and CPU 0 must know by itself what to run (scenario.ts). */
  readonly image: BootFile | null;
  readonly modules?: readonly BootFile[];
  /** For Linux only. */
  readonly initrd?: BootFile | null;
  /** How a Linux kernel is entered; without it, the loader decides. */
  readonly entry?: LinuxEntry | null;
  readonly vendor?: Vendor;
  /** `+name` and `-name`. */
  readonly features?: readonly string[];
  /** Draws the free choices (slice lengths); without it the first alternative is taken everywhere. */
  readonly seed?: number;
  /** Instructions per slice. */
  readonly slice?: number;
  readonly testDevices?: boolean;
  /** Remapping hardware before DMA and interrupts. */
  readonly iommu?: IommuSpec | null;
  /** Parts that this board does not have. */
  readonly without?: readonly OptionalPart[];
  /** PCI functions to add. */
  readonly devices?: readonly DeviceSpec[];
  /** What the networks of `net=user` interfaces offer. */
  readonly network?: NetworkOptions;
  /** A virtio block device each. */
  readonly disks?: readonly (Omit<DiskImageOptions, "name"> & { readonly keys?: DeviceSpec["keys"] })[];
  /** A floppy disk drive each. */
  readonly floppies?: readonly Omit<DiskImageOptions, "name">[];
  /** Disks and CD-ROM drives on an IDE controller. */
  readonly ide?: IdeOptions;
  /** A Sound Blaster 16 is there, and this hears what it plays. */
  readonly onSound?: SoundListener | null;
  /** A platform reset ends the run (kind `reset`, status 0) instead of booting again. */
  readonly noReboot?: boolean;
  /** Caches between processors, devices and memory; none when left out. */
  readonly caches?: CacheSpec | null;
  /** A bus that devices share and wait for; when left out each moves its bytes at its own pace. */
  readonly bus?: BusSpec | null;
  /** A byte left the serial port. */
  readonly onSerial?: (byte: number) => void;
  /** A byte was written to the debug console, port 0xE9. */
  readonly onDebug?: (byte: number) => void;
  /** For tests of the board alone. */
  readonly makeProcessor?: (options: ProcessorOptions) => BoardProcessor;
};
