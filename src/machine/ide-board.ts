/**
 * The IDE drives of the board: disks and CD-ROM drives on the four places of a PIIX4's cables. Disks take the first free places, primary 0 first; CD-ROM
 * drives the first free ones from secondary 0 on, then whatever is left, as in most PCs.
 */
import { HostError } from "../base/assert.ts";
import { DiskImage, type DiskImageOptions } from "../devices/disk-image.ts";
import { type IdeDrive, PiixIde } from "../devices/piix-ide.ts";
import type { LinePin } from "../ports/line.ts";
import type { PciSlot } from "../pci/function.ts";
import type { EventQueue } from "../sim/event-queue.ts";

const USAGE = 64;
const PLACES = 4;
/** Secondary 0, secondary 1, primary 1, primary 0. */
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
};

export class IdeBoard {
  /** In the order of the options: disks, then the discs of CD-ROM drives that have one. */
  readonly images: DiskImage[] = [];
  readonly #options: IdeBoardOptions;
  readonly #drives: (IdeDrive | null)[] = new Array<IdeDrive | null>(PLACES).fill(null);
  #made = false;

  /** Throws {@link HostError} with status 64 for too many drives. */
  constructor(options: IdeBoardOptions) {
    this.#options = options;
    const { disks = [], cdroms = [] } = options.ide;
    const count = disks.length + cdroms.length;
    if (count > PLACES) throw new HostError(`${count} IDE drives: there is room for ${PLACES}`, USAGE);
    disks.forEach((disk, n) => {
      this.#drives[n] = { kind: "disk", medium: this.#image(`ide disk ${n}`, disk) };
    });
    cdroms.forEach((disc, n) => {
      const place = CD_ORDER.find(one => this.#drives[one] === null)!;
      const medium = disc === null ? null : this.#image(`cd-rom ${n}`, { ...disc, readOnly: true });
      this.#drives[place] = { kind: "cd", medium };
    });
  }

  #image(name: string, options: Omit<DiskImageOptions, "name">): DiskImage {
    const image = new DiskImage({ name, ...options });
    this.images.push(image);
    return image;
  }

  /** A controller is wanted for the drives, and nobody has made one. */
  get wanted(): boolean {
    return !this.#made && this.#drives.some(drive => drive !== null);
  }

  make(slot: PciSlot): PiixIde {
    if (this.#made) throw new HostError("device piix-ide: there can be one, its ports are fixed", USAGE);
    this.#made = true;
    const { queue, pin } = this.#options;
    return new PiixIde(slot, { queue, isaPin: pin, drives: this.#drives });
  }
}
