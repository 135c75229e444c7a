/**
 * `--tftp folder[,bootfile=name]`: a folder of the host whose files the simulated network lends by TFTP, and the one that DHCP tells clients to start. A file is
 * read when the guest asks for it first and kept, so that it is the same for the whole run. Names that lead out of the folder, also by a link, are not
 * there.
 */
import { readFileSync, realpathSync, statSync } from "node:fs";
import { join, sep } from "node:path";
import { HostError } from "../base/assert.ts";
import type { NetworkOptions } from "../machine/networks.ts";
import { reasonOf } from "./files.ts";

const USAGE = 64;
const UNUSABLE = 66;
const IO = 74;
/** Field "file" of a DHCP message, without its NUL (RFC 2131, 2). */
const LONGEST_NAME = 127;

export type TftpOption = {
  readonly folder: string;
  /** Empty for none. */
  readonly bootFile: string;
};

/** Only the last word is an option, so that a path may hold commas. Throws {@link HostError} with status 64. */
export function parseTftp(text: string): TftpOption {
  const found = /^(.*),bootfile=([^,]*)$/s.exec(text);
  const folder = found?.[1] ?? text;
  const bootFile = found?.[2] ?? "";
  if (folder === "") throw new HostError(`--tftp: "${text}" names no folder`, USAGE);
  if (found !== null && !/^[!-~]{1,127}$/.test(bootFile))
    throw new HostError(`--tftp: bootfile=${bootFile} is no name of 1 to ${LONGEST_NAME} plain characters`, USAGE);
  return { folder, bootFile };
}

/** What the networks offer. Throws {@link HostError} with status 66 when the folder or the boot file is not there. */
export function hostFiles({ folder, bootFile }: TftpOption): NetworkOptions {
  const files = new FolderFiles(folder);
  if (bootFile !== "" && files.get(bootFile.replace(/^\/+/, "")) === undefined)
    throw new HostError(`--tftp: ${folder} has no file ${bootFile}`, UNUSABLE);
  return { files, bootFile };
}

class FolderFiles {
  readonly #root: string;
  readonly #known = new Map<string, Uint8Array | undefined>();

  constructor(folder: string) {
    try {
      this.#root = realpathSync(folder);
      if (statSync(this.#root).isDirectory()) return;
    } catch (error) {
      throw new HostError(`--tftp: ${folder}: ${reasonOf(error)}`, UNUSABLE);
    }
    throw new HostError(`--tftp: ${folder}: is no folder`, UNUSABLE);
  }

  get(name: string): Uint8Array | undefined {
    if (!this.#known.has(name)) this.#known.set(name, this.#read(name));
    return this.#known.get(name);
  }

  #read(name: string): Uint8Array | undefined {
    const path = this.#find(name);
    if (path === null) return undefined;
    try {
      return new Uint8Array(readFileSync(path));
    } catch (error) {
      throw new HostError(`cannot read ${path}: ${reasonOf(error)}`, IO);
    }
  }

  /** The file's true path; null when there is no ordinary file of that name inside the folder. */
  #find(name: string): string | null {
    if (name.includes("\0")) return null;
    try {
      const path = realpathSync(join(this.#root, name));
      const inside = path.startsWith(this.#root.endsWith(sep) ? this.#root : this.#root + sep);
      return inside && statSync(path).isFile() ? path : null;
    } catch {
      return null;
    }
  }
}
