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
import { crc32, unpackXz, XZ_MAGIC } from "./xz.ts";

const GZIP_MAGIC = 0x8b1f;
const ZSTD_MAGIC = 0xfd2fb528;
/** The kernel's build puts the unpacked size behind everything but gzip, which has one of its own. */
const SIZE_BYTES = 4;
/** More than any kernel: a damaged size must not ask the host for gigabytes. */
const MAX_BYTES = 1 << 29;

/** Places in a PE file: the header's in the file, the others in the header. */
const PE = {
  offsetAt: 0x3c,
  magic: 0x4550,
  optional: 24,
  wide: 0x20b,
  checksum: 88,
  certificates32: 152,
  certificates64: 168,
};
/** The header lies in the boot sector. */
const SETUP_BYTES = 0x1f0 - 176;

/** What LZ4 and ZSTD unpack may be wrong unnoticed. */
function hasOwnChecksum(payload: Uint8Array): boolean {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  return view.getUint16(0, true) === GZIP_MAGIC || view.getUint32(0, true) === XZ_MAGIC;
}

/** The image with its kernel unpacked beside it, or as it was. Throws {@link HostError} with status 66 when it is damaged. */
export function unpackKernel(image: BootFile): BootFile {
  if (!isBzImage(image.bytes)) return image;
  const { payload, fileBytes } = parseSetup(image);
  if (payload.length < 8) return image;
  let unpacked: Uint8Array | null;
  try {
    unpacked = unpack(payload);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HostError(`${image.name}: is damaged: its kernel cannot be unpacked (${reason})`, 66);
  }
  if (unpacked !== null && !hasOwnChecksum(payload)) checkSum(image, fileBytes);
  // Kernels before 5.x could hold a flat binary.
  return unpacked === null || !isElf(unpacked) ? image : { ...image, unpacked };
}

/**
 * "The Image Checksum": a CRC32 without final inversion over everything up to its own end, which gives 0. Linux 6.16 has no checksum any more; there,
 * zeros end the file. Signing for Secure Boot comes after it and changes two fields of the PE header (PE Format, "Optional Header").
 */
function checkSum(image: BootFile, fileBytes: number): void {
  const bytes = image.bytes.slice(0, fileBytes);
  const view = new DataView(bytes.buffer);
  if (fileBytes > image.bytes.length || view.getUint32(fileBytes - 4, true) === 0) return;
  const pe = view.getUint32(PE.offsetAt, true);
  if (pe < SETUP_BYTES && view.getUint32(pe, true) === PE.magic) {
    const wide = view.getUint16(pe + PE.optional, true) === PE.wide;
    bytes.fill(0, pe + PE.checksum, pe + PE.checksum + 4);
    const certificates = pe + (wide ? PE.certificates64 : PE.certificates32);
    bytes.fill(0, certificates, certificates + 8);
  }
  if (~crc32(bytes, 0, fileBytes) >>> 0 === 0) return;
  throw new HostError(`${image.name}: is damaged: its checksum is wrong (--no-unpack starts it all the same)`, 66);
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
