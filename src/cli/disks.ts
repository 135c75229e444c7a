/**
 * `--disk file[,if=ide][,ro][,snapshot][,bus=…,addr=…,id=…,queues=…]`, `--cdrom file`: disk images in files of the host. The machine reads them when it needs to (devices/disk-image.ts); what the guest writes goes
 * to the file when the guest flushes and when the run ends, in whatever way it ends. With `snapshot` the file is only read, and the guest can write; with
 * `ro` the guest cannot.
 *
 * Nothing keeps two runs from writing one image. Node has no advisory locks (flock, fcntl), so this would take a lock file, which a run that is killed leaves behind
 * and which a copy, a link or another name of the image goes round; within one run a file that is given twice is refused.
 */
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { HostError } from "../base/assert.ts";
import { KIB } from "../base/units.ts";
import { CHUNK, type DiskImage, type DiskImageOptions, type DiskSource } from "../devices/disk-image.ts";
import { reasonOf } from "./files.ts";

const USAGE = 64;
const UNUSABLE = 66;
const IO = 74;
const SECTOR = 512;

export type DiskOption = {
  /** The option that named it, when it was not `--disk`. */
  readonly option?: "--floppy" | "--cdrom";
  readonly path: string;
  readonly readOnly: boolean;
  readonly snapshot: boolean;
  /** On an IDE cable; else it is a virtio disk. */
  readonly ide?: true;
  /** What else was said of a virtio disk's function. */
  readonly keys?: ReadonlyMap<string, string>;
};

/** What `--disk` says; only the words at the end are options, so that a path may hold commas. Throws {@link HostError} with status 64. */
export function parseDisk(text: string): DiskOption {
  const words = text.split(",");
  const media: string[] = [];
  const keys = new Map<string, string>();
  let bus = "";
  while (words.length > 1) {
    const word = words.at(-1)!;
    const match = PLACING.exec(word);
    if (isOption(word)) media.push(word);
    else if (word === "if=ide" || word === "if=virtio") bus ||= word;
    else if (match !== null) keys.set(match[1]!, match[2]!);
    else break;
    words.pop();
  }
  const medium = parseMedium([...words, ...media].join(","), "--disk");
  if (bus !== "if=ide") return keys.size > 0 ? { ...medium, keys } : medium;
  const [wrong] = keys.keys();
  if (wrong !== undefined) throw new HostError(`--disk: a disk with if=ide has no ${wrong}`, USAGE);
  return { ...medium, ide: true };
}

/** The same for `--cdrom`, whose discs can only be read; null for a drive without one. */
export function parseCdrom(text: string): DiskOption | null {
  if (text === "none") return null;
  if (text === "") throw new HostError('--cdrom: "" names no file', USAGE);
  return { option: "--cdrom", path: text, readOnly: true, snapshot: false };
}

/** The same for `--floppy`. */
export function parseFloppy(text: string): DiskOption {
  return { option: "--floppy", ...parseMedium(text, "--floppy") };
}

/** Keys of a virtio disk's function, as `--device` has them. */
const PLACING = /^(bus|addr|id|queues)=(.+)$/;
const isOption = (word: string): boolean => word === "ro" || word === "snapshot";

function parseMedium(text: string, option: string): DiskOption {
  const words = text.split(",");
  const options = new Set<string>();
  while (words.length > 1 && isOption(words.at(-1)!)) options.add(words.pop()!);
  const path = words.join(",");
  if (path === "") throw new HostError(`${option}: "${text}" names no file`, USAGE);
  return { path, readOnly: options.has("ro"), snapshot: options.has("snapshot") };
}

/** One image. */
class HostDisk implements DiskSource {
  readonly name: string;
  readonly bytes: number;
  readonly readOnly: boolean;
  /** Device and inode. */
  readonly identity: string;
  readonly #writable: boolean;
  readonly #handle: number;
  readonly keys: ReadonlyMap<string, string>;

  constructor({ path, readOnly, snapshot, keys = new Map() }: DiskOption) {
    this.name = path;
    this.keys = keys;
    this.readOnly = readOnly;
    this.#writable = !readOnly && !snapshot;
    try {
      this.#handle = openSync(path, this.#writable ? "r+" : "r");
    } catch (error) {
      const hint = this.#writable && isDenied(error) ? "; it can be used with ,ro or ,snapshot" : "";
      throw new HostError(`${path}: ${reasonOf(error)}${hint}`, UNUSABLE);
    }
    const stat = fstatSync(this.#handle);
    this.bytes = stat.size;
    this.identity = `${stat.dev}:${stat.ino}`;
    const fault = stat.isDirectory()
      ? "is a directory"
      : !stat.isFile()
        ? "is no ordinary file"
        : stat.size < SECTOR
          ? `has ${stat.size} bytes, a disk has at least ${SECTOR}`
          : null;
    if (fault === null) return;
    closeSync(this.#handle);
    throw new HostError(`${path}: ${fault}`, UNUSABLE);
  }

  read(position: number, into: Uint8Array, offset: number, length: number): void {
    for (let done = 0; done < length; ) {
      const count = this.#readOnce(position + done, into, offset + done, length - done);
      if (count === 0) throw this.#truncated();
      done += count;
    }
  }

  #readOnce(position: number, into: Uint8Array, offset: number, length: number): number {
    try {
      return readSync(this.#handle, into, offset, length, position);
    } catch (error) {
      throw new HostError(`cannot read ${this.name}: ${reasonOf(error)}`, IO);
    }
  }

  /** What the guest wrote goes to the file, durably. What cannot be written stays with the image. */
  writeBack(image: DiskImage): void {
    if (!this.#writable || image.dirtyChunks === 0) return;
    try {
      image.writeBack((position, bytes) => {
        for (let done = 0; done < bytes.length; )
          done += writeSync(this.#handle, bytes, done, bytes.length - done, position + done);
      });
      fdatasyncSync(this.#handle);
    } catch (error) {
      const lost = Math.ceil((image.dirtyChunks * CHUNK) / KIB);
      const detail = lost > 0 ? ` (${lost} KiB of what the guest wrote are not in it)` : "";
      throw new HostError(`cannot write ${this.name}: ${reasonOf(error)}${detail}`, IO);
    }
    if (fstatSync(this.#handle).size < this.bytes) throw this.#truncated();
  }

  close(): void {
    closeSync(this.#handle);
  }

  #truncated(): HostError {
    return new HostError(`${this.name}: was truncated while the machine ran`, IO);
  }
}

const isDenied = (error: unknown): boolean =>
  ["EACCES", "EROFS", "EPERM"].includes((error as { code?: string } | null)?.code ?? "");

/** All disks of a run. */
export class HostDisks {
  readonly #disks: HostDisk[] = [];

  /** Opens all files. Throws {@link HostError}: 66 for a file that is no disk, 64 for one that is given twice. */
  constructor(options: readonly DiskOption[]) {
    try {
      for (const option of options) {
        const disk = new HostDisk(option);
        this.#disks.push(disk);
        if (this.#disks.some(other => other !== disk && other.identity === disk.identity))
          throw new HostError(`${option.option ?? "--disk"}: ${option.path} is given twice`, USAGE);
      }
    } catch (error) {
      this.#close();
      throw error;
    }
  }

  /** For the board, in the order of the options. */
  get media(): readonly (Omit<DiskImageOptions, "name"> & Pick<HostDisk, "keys">)[] {
    return this.#disks.map(disk => ({
      source: disk,
      readOnly: disk.readOnly,
      keys: disk.keys,
      onFlush: (image: DiskImage) => disk.writeBack(image),
    }));
  }

  /** The run is over: everything that the guest wrote goes to the files. Every disk is tried; throws for the first that fails. */
  finish(images: readonly DiskImage[]): void {
    let failure: unknown = null;
    this.#disks.forEach((disk, i) => {
      try {
        disk.writeBack(images[i]!);
      } catch (error) {
        failure ??= error;
      }
    });
    this.#close();
    if (failure !== null) throw failure;
  }

  #close(): void {
    for (const disk of this.#disks) disk.close();
    this.#disks.length = 0;
  }
}

/** For {@link keepApart}: files that are only read, and those that are written. */
export function diskFiles(options: readonly DiskOption[]): Record<"read" | "written", (readonly [string, string])[]> {
  const named = (written: boolean): (readonly [string, string])[] =>
    options
      .filter(({ readOnly, snapshot }) => written === !(readOnly || snapshot))
      .map(({ option = "--disk", path }) => [option, path] as const);
  return { read: named(false), written: named(true) };
}
