/**
 * The IDE drives of the board: disks and CD-ROM drives on the four places of a PIIX4's cables. Disks take the first free places, primary 0 first; CD-ROM
 * drives the first free ones from secondary 0 on, then whatever is left, as in most PCs. `--device piix-ide,disk=BYTES,cd=BYTES` adds blank ones, which
 * are kept in memory.
 */
import { HostError } from "../base/assert.ts";
import { DiskImage, type DiskImageOptions } from "../devices/disk-image.ts";
import { type IdeDrive, PiixIde } from "../devices/piix-ide.ts";
import type { LinePin } from "../ports/line.ts";
import type { Part } from "../ports/part.ts";
import type { PciSlot } from "../pci/function.ts";
import type { EventQueue } from "../sim/event-queue.ts";

const USAGE = 64;
const SECTOR = 512;
/** Primary 0 and 1 are 0 and 1, the secondary ones 2 and 3. */
const DISK_ORDER = [0, 1, 2, 3] as const;
const CD_ORDER = [2, 3, 1, 0] as const;

export type IdeOptions = {
  readonly disks?: readonly Omit<DiskImageOptions, "name">[];
  /** Null: the tray is empty. */
  readonly cdroms?: readonly (Omit<DiskImageOptions, "name"> | null)[];
};

export type IdeBoardOptions = {
  readonly queue: EventQueue;
  /** A new driver on an interrupt line. */
  readonly pin: (irq: number) => LinePin;
  readonly ide: IdeOptions;
  /** A new part of the machine. */
  readonly add: (part: Part) => void;
};

/** Bytes that are all 0. */
const blank = (bytes: number): Omit<DiskImageOptions, "name"> => ({
  source: { name: "blank", bytes, read: (_position, into, offset, length) => into.fill(0, offset, offset + length) },
});

export class IdeBoard {
  /** In the order of the options: disks, then the discs of CD-ROM drives that have one. */
  readonly images: DiskImage[] = [];
  readonly #options: IdeBoardOptions;
  readonly #drives: (IdeDrive | null)[] = new Array<IdeDrive | null>(DISK_ORDER.length).fill(null);
  #made = false;

  /** Throws {@link HostError} with status 64 for too many drives. */
  constructor(options: IdeBoardOptions) {
    this.#options = options;
    const { disks = [], cdroms = [] } = options.ide;
    for (const disk of disks) this.#addDisk(disk);
    for (const disc of cdroms) this.#addCd(disc);
  }

  #addDisk(disk: Omit<DiskImageOptions, "name">): void {
    const place = this.#free(DISK_ORDER);
    this.#drives[place] = { kind: "disk", medium: this.#image(`ide disk ${place}`, disk) };
  }

  #addCd(disc: Omit<DiskImageOptions, "name"> | null): void {
    const place = this.#free(CD_ORDER);
    const medium = disc === null ? null : this.#image(`ide disc ${place}`, { ...disc, readOnly: true });
    this.#drives[place] = { kind: "cd", medium };
  }

  #free(order: readonly number[]): number {
    const place = order.find(one => this.#drives[one] === null);
    if (place === undefined) throw new HostError(`IDE: there is room for ${order.length} drives`, USAGE);
    return place;
  }

  #image(name: string, options: Omit<DiskImageOptions, "name">): DiskImage {
    const image = new DiskImage({ name, ...options });
    this.images.push(image);
    this.#options.add(image);
    return image;
  }

  /** A controller is wanted for the drives, and nobody has made one. */
  get wanted(): boolean {
    return !this.#made && this.#drives.some(drive => drive !== null);
  }

  /** @param disk bytes of a blank disk @param cd bytes of a blank disc; 0 for none */
  make(slot: PciSlot, disk: number, cd: number): PiixIde {
    if (this.#made) throw new HostError("device piix-ide: there can be one, its ports are fixed", USAGE);
    this.#made = true;
    if ((disk !== 0 && disk < SECTOR) || (cd !== 0 && cd < SECTOR))
      throw new HostError(`device piix-ide: a disk has at least ${SECTOR} bytes`, USAGE);
    if (disk > 0) this.#addDisk(blank(disk));
    if (cd > 0) this.#addCd(blank(cd));
    const { queue, pin } = this.#options;
    return new PiixIde(slot, { queue, isaPin: pin, drives: this.#drives });
  }
}
