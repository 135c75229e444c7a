/**
 * Files of the host: every failure becomes one line and a status.
 */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { basename } from "node:path";
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
