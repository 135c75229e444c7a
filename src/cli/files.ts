/**
 * Files of the host: every failure becomes one line and a status.
 */
import { closeSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { basename, resolve } from "node:path";
import { HostError } from "../base/assert.ts";
import type { BootFile } from "../firmware/boot-plan.ts";

const REASONS: { readonly [code: string]: string } = {
  ENOENT: "no such file or directory",
  EACCES: "permission denied",
  EISDIR: "is a directory",
  ENOSPC: "no space left on device",
  EPIPE: "nobody reads it any more",
  ENOTDIR: "not a directory",
  EROFS: "read-only file system",
  EEXIST: "exists already",
  EPERM: "operation not permitted",
  EIO: "input/output error",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "too many symbolic links",
  ERR_FS_FILE_TOO_LARGE: "is too large",
};

/** What the system said, in words. */
export function reasonOf(error: unknown): string {
  const code = (error as { code?: string } | null)?.code ?? "";
  return REASONS[code] ?? (code === "" ? String(error) : code);
}

/** Reads an image or a module; status 66 when that fails. */
export function readBootFile(path: string, args: string): BootFile {
  try {
    return { name: basename(path), bytes: new Uint8Array(readFileSync(path)), args };
  } catch (error) {
    throw new HostError(`${path}: ${reasonOf(error)}`, 66);
  }
}

/** One name for each file, however its path is written. */
function identityOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return resolve(path);
  return stat.isFile() ? `${stat.dev}:${stat.ino}` : "";
}

/** Refuses (status 64) to write over a file that is read, or to write two outputs to one file. Both maps: what it is → its path. */
export function keepApart(inputs: readonly (readonly [string, string])[], outputs: typeof inputs): void {
  const seen = new Map<string, string>();
  try {
    for (const [what, path] of inputs) seen.set(identityOf(path), what);
    for (const [what, path] of outputs) {
      const identity = identityOf(path);
      if (identity !== "" && seen.has(identity))
        throw new HostError(`${what}: ${path} is also ${seen.get(identity)}`, 64);
      seen.set(identity, what);
    }
  } catch (error) {
    // What cannot even be looked at fails with its reason when it is opened.
    if (error instanceof HostError) throw error;
  }
}

/** A file that is written piece by piece; opened at once, so that a bad path is known before the run. Status 74 on failure. */
export class OutputFile {
  readonly #path: string;
  readonly #handle: number;

  constructor(path: string) {
    this.#path = path;
    try {
      this.#handle = openSync(path, "w");
    } catch (error) {
      throw this.#failure(error);
    }
  }

  write(bytes: Uint8Array): void {
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#handle, bytes, done);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  close(): void {
    try {
      closeSync(this.#handle);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #failure(error: unknown): HostError {
    return new HostError(`cannot write ${this.#path}: ${reasonOf(error)}`, 74);
  }
}
