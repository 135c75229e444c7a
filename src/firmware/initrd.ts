/**
 * Looks whether an initrd is whole ("initramfs buffer format", Documentation/driver-api/early-userspace/buffer-format.rst): cpio archives of the newc
 * format follow each other, packed or not, with zeros in between. A kernel only says that it cannot mount a root file system; here the cause is known.
 */
import { HostError } from "../base/assert.ts";
import type { BootFile } from "./boot-plan.ts";
import { Cut, packedEnd } from "./packed-end.ts";

const MAGICS = ["070701", "070702"];
const HEADER_BYTES = 110;
/** Places of the fields in the header: 8 hexadecimal digits each. */
const SIZE_AT = 54;
const NAME_SIZE_AT = 94;
const ALIGNMENT = 4;
const TRAILER = "TRAILER!!!\0";

const align = (offset: number): number => Math.ceil(offset / ALIGNMENT) * ALIGNMENT;

/** End of a packed archive, the file's end when that is unknown, null when it is cut off. */
function endOf(bytes: Uint8Array, at: number): number | null {
  try {
    return packedEnd(bytes, at) ?? bytes.length;
  } catch (error) {
    if (error instanceof Cut) return null;
    throw error;
  }
}

/** Throws {@link HostError} with status 66 when an archive ends before its trailer. */
export function checkInitrd({ name, bytes }: BootFile): void {
  const text = (at: number, length: number): string => String.fromCharCode(...bytes.subarray(at, at + length));
  const cut = (): never => {
    throw new HostError(`${name}: truncated: the initrd's ${bytes.length} bytes end inside its archive`, 66);
  };
  let inside = false;
  for (let at = 0; at < bytes.length; ) {
    if (!inside && bytes[at] === 0) {
      at++;
      continue;
    }
    if (!MAGICS.includes(text(at, MAGICS[0]!.length))) {
      // Something else: packed, when it stands by itself.
      if (inside) cut();
      at = endOf(bytes, at) ?? cut();
      continue;
    }
    if (at + HEADER_BYTES > bytes.length) cut();
    const size = Number.parseInt(text(at + SIZE_AT, 8), 16);
    const nameSize = Number.parseInt(text(at + NAME_SIZE_AT, 8), 16);
    const data = align(at + HEADER_BYTES + nameSize);
    if (!(data + size <= align(bytes.length))) cut();
    inside = text(at + HEADER_BYTES, nameSize) !== TRAILER;
    at = align(data + size);
  }
  if (inside) cut();
}
