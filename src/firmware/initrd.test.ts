/** "initramfs buffer format" (Documentation/driver-api/early-userspace/buffer-format.rst). */
import { spawnSync } from "node:child_process";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { checkInitrd } from "./initrd.ts";

/** One member by the document: 13 fields of 8 digits behind the magic, name, data, each padded to 4 bytes. */
function member(name: string, data: string): string {
  const hex = (n: number): string => n.toString(16).padStart(8, "0");
  const fields = [0, 0o100644, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length + 1, 0];
  const head = `070701${fields.map(hex).join("")}${name}\0`;
  const pad = (text: string): string => text.padEnd(Math.ceil(text.length / 4) * 4, "\0");
  return pad(head) + pad(data);
}

const ARCHIVE = member("init", "#!/bin/sh\n") + member("TRAILER!!!", "");
const check = (text: string): void =>
  checkInitrd({ name: "initrd.img", bytes: Uint8Array.from(text, c => c.charCodeAt(0)), args: "" });

test("a whole archive, several with zeros between and behind, and a compressed one behind them are taken", () => {
  check(ARCHIVE);
  check(`${ARCHIVE}${"\0".repeat(300)}${ARCHIVE}${"\0".repeat(77)}`);
  check(`${ARCHIVE}BZh9packed`);
});

test("one that ends anywhere before its trailer is refused in one line", () => {
  const end = ARCHIVE.indexOf("TRAILER!!!") + "TRAILER!!!".length;
  for (let length = 6; length < end; length++) {
    expect(() => check(ARCHIVE.slice(0, length)), `${length} bytes`).toThrow(/^initrd\.img: truncated: [^\n]+$/);
  }
});

test("one that is overwritten in the middle is refused", () => {
  expect(() => check(`${member("init", "x")}garbage${ARCHIVE}`)).toThrow(/truncated/);
});

/** What a packer makes of half a megabyte, in blocks of all kinds; null where it is not installed. */
const CONTENT = Buffer.concat([
  Buffer.from(ARCHIVE),
  Buffer.alloc(300_000),
  Buffer.from(Uint8Array.from({ length: 200_000 }, (_, i) => Math.imul(i * i, 0x9e3779b1) >>> 24)),
]);
function packed(command: string, ...args: string[]): Buffer | null {
  const { error, stdout } = spawnSync(command, args, { input: CONTENT, maxBuffer: 1 << 26 });
  return error === undefined ? stdout : null;
}
const gzipNamed = Buffer.concat([
  Buffer.from([0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3, 0x61, 0]),
  gzipSync(CONTENT).subarray(10),
]);

describe.each<[string, Buffer | null]>([
  ["gzip", gzipSync(CONTENT)],
  ["gzip with a file name", gzipNamed],
  ["zstd", packed("zstd", "-c")],
  ["zstd without checksum", packed("zstd", "-19", "--no-check", "-c")],
  ["xz", packed("xz", "--check=crc32", "-c")],
  [
    "xz with SHA-256, in blocks, without padding of the kernel's kind",
    packed("xz", "--check=sha256", "--block-size=90000", "--x86", "--lzma2=preset=1", "-c"),
  ],
  ["lz4", packed("lz4", "-l", "-c")],
])("packed with %s", (name, bytes) => {
  const checkBytes = (...parts: Uint8Array[]): void =>
    checkInitrd({ name: "initrd.img", bytes: new Uint8Array(Buffer.concat(parts)), args: "" });
  const microcode = Buffer.from(`${ARCHIVE}${"\0".repeat(100)}`);

  test.runIf(bytes !== null)("whole: by itself, behind another archive, with zeros behind it", () => {
    checkBytes(bytes!);
    checkBytes(microcode, bytes!, Buffer.alloc(512));
  });

  test.runIf(bytes !== null)("cut off anywhere, it is refused in one line", () => {
    for (const part of [0.02, 0.1, 0.5, 0.9, 0.999]) {
      const length = Math.max(20, Math.floor(bytes!.length * part));
      expect(() => checkBytes(microcode, bytes!.subarray(0, length)), `${length} bytes`).toThrow(
        /^initrd\.img: truncated: [^\n]+$/,
      );
    }
    // LZ4's legacy frame has no end mark.
    if (name !== "lz4") expect(() => checkBytes(bytes!.subarray(0, -1))).toThrow(/truncated/);
  });

  // Where gzip ends is not known without unpacking it.
  if (name.startsWith("gzip")) return;
  test.runIf(bytes !== null)("an archive behind it is looked at, too", () => {
    expect(() => checkBytes(bytes!, Buffer.from(ARCHIVE.slice(0, 200)))).toThrow(/truncated/);
  });
});
