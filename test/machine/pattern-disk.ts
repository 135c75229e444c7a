/** Disks with contents that say where they came from, for the tests beside this file. */
import { createHash } from "node:crypto";
import type { DiskSource } from "../../src/devices/disk-image.ts";

/** Bytes of which no two sectors are alike. @param factor odd; another one gives another disk */
export function pattern(bytes: number, factor = 0x9e3779b1): Uint8Array {
  const words = new Uint32Array(bytes / 4);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1, factor);
  return new Uint8Array(words.buffer);
}

export const sourceOf = (bytes: Uint8Array): DiskSource => ({
  name: "pattern",
  bytes: bytes.length,
  read: (position, into, offset, length) => into.set(bytes.subarray(position, position + length), offset),
});

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
