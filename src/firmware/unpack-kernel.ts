/**
 * Unpacks the kernel inside a bzImage on the host, which saves the guest a hundred million instructions or more. Payload formats: "The Linux/x86 Boot
 * Protocol", field payload_offset. Kernels packed with LZMA, bzip2 or LZO, which no distribution uses any more, are left to their own decompressor.
 */
import { decompress as unzstd } from "fzstd";
import { gunzipSync } from "fflate";
import { HostError } from "../base/assert.ts";
import type { BootFile } from "./boot-plan.ts";
import { isElf } from "./elf.ts";
import { isBzImage, parseSetup } from "./linux-header.ts";
import { LZ4_LEGACY_MAGIC, unpackLz4 } from "./lz4.ts";
import { unpackXz, XZ_MAGIC } from "./xz.ts";

const GZIP_MAGIC = 0x8b1f;
const ZSTD_MAGIC = 0xfd2fb528;
/** The kernel's build puts the unpacked size behind everything but gzip, which has one of its own. */
const SIZE_BYTES = 4;
/** More than any kernel: a damaged size must not ask the host for gigabytes. */
const MAX_BYTES = 1 << 29;

/** The image with its kernel unpacked beside it, or as it was. Throws {@link HostError} with status 66 when it is damaged. */
export function unpackKernel(image: BootFile): BootFile {
  if (!isBzImage(image.bytes)) return image;
  const { payload } = parseSetup(image);
  if (payload.length < 8) return image;
  let unpacked: Uint8Array | null;
  try {
    unpacked = unpack(payload);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HostError(`${image.name}: is damaged: its kernel cannot be unpacked (${reason})`, 66);
  }
  // Kernels before 5.x could hold a flat binary.
  return unpacked === null || !isElf(unpacked) ? image : { ...image, unpacked };
}

function unpack(payload: Uint8Array): Uint8Array | null {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  if (view.getUint16(0, true) === GZIP_MAGIC) return gunzipSync(payload);
  const packed = payload.subarray(0, payload.length - SIZE_BYTES);
  const size = view.getUint32(packed.length, true);
  const magic = view.getUint32(0, true);
  if (![LZ4_LEGACY_MAGIC, ZSTD_MAGIC, XZ_MAGIC].includes(magic)) return null;
  if (size > MAX_BYTES) throw new Error(`it would have ${size} bytes`);
  if (magic === LZ4_LEGACY_MAGIC) return unpackLz4(packed, size);
  if (magic === XZ_MAGIC) return unpackXz(packed, size);
  const bytes = unzstd(packed);
  if (bytes.length !== size) throw new Error(`${bytes.length} bytes instead of ${size}`);
  return bytes;
}
