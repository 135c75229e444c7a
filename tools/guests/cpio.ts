/**
 * Writes cpio archives of the "new ASCII" format (newc), as Linux takes them for an initramfs (Documentation/driver-api/early-userspace/buffer-format.rst).
 * The same entries always give the same bytes: no times, owner 0, inode numbers in order.
 */
const MAGIC = "070701";
const TYPE = { directory: 0o040000, file: 0o100000, link: 0o120000, device: 0o020000 } as const;
const ALIGNMENT = 4;
/** Archives end on a whole block, as cpio writes them. */
const BLOCK = 512;
const END = "TRAILER!!!";

export type Entry =
  | { readonly kind: "directory"; readonly path: string; readonly mode?: number }
  | { readonly kind: "file"; readonly path: string; readonly bytes: Uint8Array; readonly mode?: number }
  | { readonly kind: "link"; readonly path: string; readonly target: string }
  | { readonly kind: "device"; readonly path: string; readonly major: number; readonly minor: number };

const DEFAULT_MODE = { directory: 0o755, file: 0o644, link: 0o777, device: 0o600 } as const;

const padding = (length: number, unit: number): Buffer => Buffer.alloc((unit - (length % unit)) % unit);

function record(
  path: string,
  fields: { ino: number; mode: number; nlink: number; rdev: [number, number] },
  data: Uint8Array,
): Buffer {
  const name = Buffer.from(`${path}\0`);
  const { ino, mode, nlink, rdev } = fields;
  const numbers = [ino, mode, 0, 0, nlink, 0, data.length, 0, 0, rdev[0], rdev[1], name.length, 0];
  const header = MAGIC + numbers.map(n => n.toString(16).toUpperCase().padStart(8, "0")).join("");
  const head = Buffer.concat([Buffer.from(header), name]);
  return Buffer.concat([head, padding(head.length, ALIGNMENT), data, padding(data.length, ALIGNMENT)]);
}

/** Paths are relative (`bin/busybox`); a directory must come before what lies in it. */
export function cpio(entries: readonly Entry[]): Uint8Array {
  const parts = entries.map((entry, i) => {
    const permissions = ("mode" in entry ? entry.mode : undefined) ?? DEFAULT_MODE[entry.kind];
    const data = entry.kind === "file" ? entry.bytes : Buffer.from(entry.kind === "link" ? entry.target : "");
    const rdev: [number, number] = entry.kind === "device" ? [entry.major, entry.minor] : [0, 0];
    const nlink = entry.kind === "directory" ? 2 : 1;
    return record(entry.path, { ino: i + 1, mode: TYPE[entry.kind] | permissions, nlink, rdev }, data);
  });
  parts.push(record(END, { ino: 0, mode: 0, nlink: 1, rdev: [0, 0] }, new Uint8Array(0)));
  const all = Buffer.concat(parts);
  return new Uint8Array(Buffer.concat([all, padding(all.length, BLOCK)]));
}
