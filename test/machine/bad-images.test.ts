/**
 * Kernels and initrds that cannot work, by the built command: one line that names the cause, and status 66. Debian's kernel comes from what
 * `npm run guests` fetches, and what needs it is left out without it.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "iretq-images-"));
const command = join(root, ".cache/command-images/iretq.js");
const KERNEL = join(root, ".cache/linux/vmlinuz");
const INITRD = join(root, ".cache/linux/initrd-check.img");
const cached = existsSync(KERNEL) && existsSync(INITRD);

beforeAll(() => {
  execFileSync("node", [join(root, "tools/build.mjs"), ".cache/command-images"]);
});

const file = (name: string, bytes: Uint8Array): string => {
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
};

/** The line without "iretq: ", when that and status 66 are all there is. */
function refusal(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync("node", [command, "run", ...args], { encoding: "utf8" });
  expect([status, stdout]).toEqual([66, ""]);
  expect(stderr).toMatch(/^iretq: [^\n]+\n$/);
  return stderr.slice("iretq: ".length, -1);
}

/** "The Linux/x86 Boot Protocol": version 2.15, 1 + 1 setup sectors, 8 MiB from 16 MiB on; what `xloadflags` says is the caller's. */
function bzImage(extraLoadFlags: number): Uint8Array {
  const bytes = new Uint8Array(2048);
  const view = new DataView(bytes.buffer);
  view.setUint8(0x1f1, 1);
  view.setUint32(0x1f4, 1024 / 16, true);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint16(0x200, 0x6aeb, true);
  bytes.set(new TextEncoder().encode("HdrS"), 0x202);
  view.setUint16(0x206, 0x020f, true);
  view.setUint8(0x211, 1);
  view.setUint32(0x22c, 0x7fffffff, true);
  view.setUint16(0x236, extraLoadFlags, true);
  view.setUint32(0x238, 2047, true);
  view.setUint32(0x258, 0x1000000, true);
  view.setUint32(0x260, 0x800000, true);
  return bytes;
}

describe("any kernel", () => {
  const wide = file("bzImage64", bzImage(1));

  test("whose header is cut off", () => {
    expect(refusal(file("cut", bzImage(1).subarray(0, 0x240)))).toBe(
      "cut: truncated: a Linux kernel's header does not end within 576 bytes",
    );
  });

  test("that is cut off behind its header", () => {
    expect(refusal(file("short", bzImage(1).subarray(0, 1700)))).toBe(
      "short: truncated: its header tells of 2048 bytes, the file has 1700",
    );
  });

  test("in 16 MiB of memory", () => {
    expect(refusal(wide, "--memory", "16M")).toBe(
      "bzImage64: too large for memory: the kernel needs 24M, there are 16M",
    );
  });

  test("with an initrd that does not fit beside it", () => {
    const large = file("large.img", Buffer.concat([Buffer.from("BZh9"), Buffer.alloc(9 << 20, 1)]));
    expect(refusal(wide, "--initrd", large, "--memory", "32M")).toBe(
      "bzImage64: too large for memory: kernel and initrd need 34M, there are 32M",
    );
  });

  test("with a gzip initrd that is cut off", () => {
    const packed = gzipSync(Buffer.alloc(100_000, "initramfs"));
    const cut = file("cut.img", packed.subarray(0, packed.length - 30));
    expect(refusal(wide, "--initrd", cut)).toMatch(
      /^cut\.img: truncated: the initrd's \d+ bytes end inside its archive$/,
    );
  });

  test("that has not the entry that is asked for: a 32-bit kernel has no 64-bit one", () => {
    const narrow = file("bzImage32", bzImage(0));
    expect(refusal(narrow, "--entry", "linux64")).toBe(
      "bzImage32: has no entry of the kind linux64, it has linux32 and linux16",
    );
    expect(refusal(narrow, "--entry", "pvh")).toBe("bzImage32: is packed: its PVH entry cannot be reached");
  });

  test("whose entry has no such name", () => {
    const { status, stderr } = spawnSync("node", [command, "run", wide, "--entry", "uefi"], { encoding: "utf8" });
    expect(status).toBe(64);
    expect(stderr).toMatch(/^iretq: --entry: [^\n]*must be auto, linux64, linux32, linux16, pvh\n$/);
  });
});

describe.runIf(cached)("Debian's kernel", () => {
  const kernel = cached ? new Uint8Array(readFileSync(KERNEL)) : new Uint8Array();

  test("with a bit that is wrong in its payload", () => {
    const bytes = kernel.slice();
    bytes[bytes.length >> 1]! ^= 1;
    expect(refusal(file("vmlinuz-bit", bytes))).toMatch(/^vmlinuz-bit: is damaged: /);
  });

  test("with a page of zeros in its payload", () => {
    expect(refusal(file("vmlinuz-page", kernel.slice().fill(0, 0x400000, 0x401000)))).toMatch(
      /^vmlinuz-page: is damaged: its (kernel cannot be unpacked|checksum is wrong) \([^)]+\)$/,
    );
  });

  test("that is cut off", () => {
    expect(refusal(file("vmlinuz-cut", kernel.subarray(0, 5_000_000)))).toMatch(/^vmlinuz-cut: truncated: /);
  });

  test("in 16 MiB of memory", () => {
    expect(refusal(KERNEL, "--memory", "16M")).toMatch(
      /^vmlinuz: too large for memory: the kernel needs \d+M, there are 16M$/,
    );
  });

  test("with an initrd that is cut off", () => {
    const initrd = readFileSync(INITRD);
    const cut = file("initrd-cut.img", initrd.subarray(0, initrd.length >> 1));
    expect(refusal(KERNEL, "--initrd", cut)).toMatch(/^initrd-cut\.img: truncated: /);
  });
});
