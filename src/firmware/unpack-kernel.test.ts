/** "The Linux/x86 Boot Protocol": payload_offset and payload_length, formats of the payload. */
import { spawnSync } from "node:child_process";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { HostError } from "../base/assert.ts";
import { unpackKernel } from "./unpack-kernel.ts";

const ELF = new Uint8Array(300_000);
for (let i = 0; i < ELF.length; i++) ELF[i] = (i >> 8) & 15;
ELF.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);

const sized = (packed: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(packed.length + 4);
  bytes.set(packed);
  new DataView(bytes.buffer).setUint32(packed.length, ELF.length, true);
  return bytes;
};

/** A bzImage around a payload at offset 0x10 of its protected-mode part; zeros end it: there is no checksum. */
function bzImage(payload: Uint8Array): Uint8Array {
  const size = Math.ceil((0x20 + payload.length) / 16) * 16;
  const bytes = new Uint8Array(1024 + size);
  const view = new DataView(bytes.buffer);
  view.setUint8(0x1f1, 1);
  view.setUint32(0x1f4, size / 16, true);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint16(0x200, 0x6aeb, true);
  bytes.set(new TextEncoder().encode("HdrS"), 0x202);
  view.setUint16(0x206, 0x020f, true);
  view.setUint8(0x211, 1);
  view.setUint16(0x236, 1, true);
  view.setUint32(0x248, 0x10, true);
  view.setUint32(0x24c, payload.length, true);
  view.setUint32(0x258, 0x1000000, true);
  view.setUint32(0x260, 0x800000, true);
  bytes.set(payload, 1024 + 0x10);
  return bytes;
}

const image = (payload: Uint8Array) => ({ name: "vmlinuz", bytes: bzImage(payload), args: "" });
const same = (bytes: Uint8Array | undefined): boolean => bytes !== undefined && Buffer.compare(bytes, ELF) === 0;
const tool = (command: string, ...args: string[]): Uint8Array | null => {
  const { error, stdout } = spawnSync(command, args, { input: ELF, maxBuffer: 1 << 26 });
  return error === undefined ? new Uint8Array(stdout) : null;
};

test("gzip, which knows its own size", () => {
  expect(same(unpackKernel(image(new Uint8Array(gzipSync(ELF)))).unpacked)).toBe(true);
});

const lz4 = tool("lz4", "-l", "-9", "-c");
test.runIf(lz4 !== null)("LZ4, with its size behind it", () => {
  expect(same(unpackKernel(image(sized(lz4!))).unpacked)).toBe(true);
});

const zstd = tool("zstd", "-22", "--ultra", "-c");
test.runIf(zstd !== null)("ZSTD, with its size behind it", () => {
  expect(same(unpackKernel(image(sized(zstd!))).unpacked)).toBe(true);
});

const xz = tool("xz", "--check=crc32", "--x86", "--lzma2=dict=32MiB", "-c");
test.runIf(xz !== null)("XZ with the x86 filter, with its size behind it", () => {
  expect(same(unpackKernel(image(sized(xz!))).unpacked)).toBe(true);
});

test("other formats are left to the kernel's own decompressor", () => {
  const bzip2 = image(sized(new TextEncoder().encode("BZh91AY&SY")));
  expect(unpackKernel(bzip2)).toBe(bzip2);
});

/** Linux' own: CRC32 with polynomial 0x04C11DB7 (reflected), started with ones, not inverted at the end. */
function checksum(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return crc >>> 0;
}

describe.runIf(lz4 !== null)('"The Image Checksum" stands for LZ4, which has none', () => {
  const bytes = bzImage(sized(lz4 ?? ELF));
  const view = new DataView(bytes.buffer);
  // A PE header with optional header magic 0x20B, as of a kernel with an EFI stub.
  view.setUint32(0x3c, 0x40, true);
  view.setUint32(0x40, 0x4550, true);
  view.setUint16(0x40 + 24, 0x20b, true);
  view.setUint32(bytes.length - 4, checksum(bytes.subarray(0, -4)), true);
  const unpacked = (change: number, also = new Uint8Array(0)): boolean => {
    const copy = Uint8Array.of(...bytes, ...also);
    if (change !== 0) copy[change]! ^= 1;
    return same(unpackKernel({ name: "vmlinuz", bytes: copy, args: "" }).unpacked);
  };

  test("whole; and signed: the PE checksum, the certificate table's entry and the certificates behind it are changed", () => {
    expect(unpacked(0)).toBe(true);
    expect(unpacked(0, new Uint8Array(999).fill(7))).toBe(true);
    // "Optional Header": CheckSum at 64, Certificate Table at 144 for PE32+.
    for (const at of [64, 67, 144, 151]) expect(unpacked(0x40 + 24 + at)).toBe(true);
  });

  test("a bit that is wrong anywhere else, even where it unpacks to something", () => {
    for (const at of [0x40 + 24 + 63, 0x40 + 24 + 68, 0x40 + 24 + 143, 0x40 + 24 + 152, 0x180, 0x401]) {
      expect(() => unpacked(at), `byte ${at}`).toThrow(/^vmlinuz: is damaged: its checksum is wrong \([^\n]+\)$/);
    }
  });
});

test("what is no bzImage is left alone", () => {
  const other = { name: "kernel", bytes: ELF, args: "" };
  expect(unpackKernel(other)).toBe(other);
});

describe("damage is told in one line", () => {
  const damaged: [string, Uint8Array][] = [["gzip", new Uint8Array(gzipSync(ELF)).fill(0xff, 200, 260)]];
  if (lz4 !== null) damaged.push(["LZ4", sized(lz4.slice().fill(0, 200, 260))]);
  if (xz !== null) damaged.push(["XZ", sized(xz.slice().fill(0, 200, 210))]);
  if (zstd !== null) damaged.push(["ZSTD", sized(zstd.subarray(0, zstd.length - 50))]);
  test.each(damaged)("%s", (_name, payload) => {
    try {
      // Either it is noticed, or it is no executable any more.
      expect(same(unpackKernel(image(payload)).unpacked)).toBe(false);
    } catch (error) {
      expect(error).toBeInstanceOf(HostError);
      expect((error as HostError).message).toMatch(/^vmlinuz: is damaged: its kernel cannot be unpacked \([^\n]+\)$/);
    }
  });
});
