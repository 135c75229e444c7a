/**
 * A floppy disk drive with at most one disk, as its controller sees it through the cable: head position, track 0, write protection, disk change, and
 * the sectors that pass under the heads (82077AA datasheet, section 2.1.7 "Digital input register" for DSKCHG; 5.1 for ID fields and marks).
 *
 * A raw image holds sectors in the standard layout: cylinder, head and size in every ID field as they are, sectors 1 to n in order, the first at the
 * index hole. Other layouts cannot be kept: what {@link FloppyDrive.format} is told otherwise is lost. The marks of deleted data are kept while the machine
 * lives. Rotation is one for all drives and follows virtual time; a disk is at speed as soon as its motor is on. Not modelled: bad sectors, ejecting.
 */
import type { Ns } from "../base/units.ts";
import type { BlockMedium } from "../ports/block.ts";
import type { Part, ResetKind, ResetPhase } from "../ports/part.ts";
import { type FloppyFormat, floppyFormat, HEADS, SECTOR_BYTES } from "./floppy-media.ts";

/** The head stops at the innermost position. */
const EXTRA_CYLINDERS = 3;
const CYLINDERS = 80;

export type FloppyDriveState = {
  cylinder: number;
  /** DSKCHG: a disk came or went since the last step. */
  changed: boolean;
  /** One bit per sector: deleted data address mark. */
  deleted: Uint8Array;
};

export class FloppyDrive implements Part {
  readonly name: string;
  readonly state: FloppyDriveState;
  readonly medium: BlockMedium | null;
  /** Of the disk; null without one. */
  readonly format: FloppyFormat | null;

  /**
   * Throws {@link HostError} when no floppy disk has the medium's size.
   * @param number 0 … 3
   * @param source what people call the medium
   */
  constructor(number: number, medium: BlockMedium | null, source = medium?.name ?? "") {
    this.name = `floppy-drive-${number}`;
    this.medium = medium;
    this.format = medium === null ? null : floppyFormat(source, medium.bytes);
    this.state = { cylinder: 0, changed: true, deleted: new Uint8Array(medium === null ? 0 : medium.bytes / 4096) };
  }

  reset(phase: ResetPhase, kind: ResetKind): void {
    if (phase !== "enter" || kind !== "power") return;
    this.state.cylinder = 0;
    this.state.changed = true;
    this.state.deleted.fill(0);
  }

  get track0(): boolean {
    return this.state.cylinder === 0;
  }

  get writeProtected(): boolean {
    return this.medium?.readOnly ?? false;
  }

  /** One step pulse. It ends the disk change when there is a disk. */
  step(inward: boolean): void {
    const s = this.state;
    const last = (this.format?.cylinders ?? CYLINDERS) - 1 + EXTRA_CYLINDERS;
    s.cylinder = inward ? Math.min(last, s.cylinder + 1) : Math.max(0, s.cylinder - 1);
    if (this.medium !== null) s.changed = false;
  }

  /** There is something to read on the present track at this rate. */
  formatted(rate: number, mfm: boolean): boolean {
    return mfm && this.format !== null && this.format.rate === rate && this.state.cylinder < this.format.cylinders;
  }

  /** Time of a sector with its gaps. */
  get slotNs(): Ns {
    const { turnNs, sectors } = this.format!;
    return turnNs / sectors;
  }

  /** From `now` to the next index hole; a whole turn when it has just passed. */
  toIndex(now: Ns): Ns {
    const { turnNs } = this.format!;
    return turnNs - (now % turnNs);
  }

  /** From `now` to the beginning of the next pass of sector `number` (1 …), rounded up; 0 when it is just there. */
  toSector(now: Ns, number: number): Ns {
    const { turnNs } = this.format!;
    const at = Math.ceil((number - 1) * this.slotNs);
    return (at - (now % turnNs) + turnNs) % turnNs;
  }

  /** Number of the sector whose beginning comes next. */
  nextSector(now: Ns): number {
    const { turnNs, sectors } = this.format!;
    return (Math.ceil((now % turnNs) / this.slotNs) % sectors) + 1;
  }

  #index(head: number, sector: number): number {
    const { sectors } = this.format!;
    return (this.state.cylinder * HEADS + head) * sectors + sector - 1;
  }

  read(head: number, sector: number, into: Uint8Array): void {
    this.medium!.read(this.#index(head, sector) * SECTOR_BYTES, into, 0, SECTOR_BYTES);
  }

  /** @param deleted the kind of mark that goes before the data */
  write(head: number, sector: number, from: Uint8Array, deleted: boolean): void {
    const index = this.#index(head, sector);
    this.medium!.write(index * SECTOR_BYTES, from, 0, SECTOR_BYTES);
    const { deleted: marks } = this.state;
    const bit = 1 << (index & 7);
    marks[index >> 3] = deleted ? marks[index >> 3]! | bit : marks[index >> 3]! & ~bit;
  }

  isDeleted(head: number, sector: number): boolean {
    const index = this.#index(head, sector);
    return (this.state.deleted[index >> 3]! & (1 << (index & 7))) !== 0;
  }
}
