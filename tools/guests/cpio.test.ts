/** "initramfs buffer format" (Documentation/driver-api/early-userspace/buffer-format.rst). */
import { expect, test } from "vitest";
import { cpio } from "./cpio.ts";

/** Reads an archive by the document: [name, mode, data, rdev major and minor] of each member. */
function read(bytes: Uint8Array): [string, number, string, number, number][] {
  const text = Buffer.from(bytes).toString("latin1");
  const members: [string, number, string, number, number][] = [];
  for (let at = 0; ; ) {
    expect(text.slice(at, at + 6)).toBe("070701");
    const field = (n: number): number => Number.parseInt(text.slice(at + 6 + n * 8, at + 14 + n * 8), 16);
    const [mode, size, nameSize] = [field(1), field(6), field(11)];
    const name = text.slice(at + 110, at + 110 + nameSize - 1);
    const data = Math.ceil((at + 110 + nameSize) / 4) * 4;
    if (name === "TRAILER!!!") return members;
    members.push([name, mode, text.slice(data, data + size), field(9), field(10)]);
    at = Math.ceil((data + size) / 4) * 4;
  }
}

test("members keep their name, type, permissions, contents and device numbers, whatever the lengths", () => {
  const archive = cpio([
    { kind: "directory", path: "bin" },
    { kind: "file", path: "bin/a", bytes: new TextEncoder().encode("12345"), mode: 0o755 },
    { kind: "link", path: "bin/bb", target: "a" },
    { kind: "device", path: "dev", major: 5, minor: 1 },
    { kind: "file", path: "empty", bytes: new Uint8Array() },
  ]);
  expect(read(archive)).toEqual([
    ["bin", 0o040755, "", 0, 0],
    ["bin/a", 0o100755, "12345", 0, 0],
    ["bin/bb", 0o120777, "a", 0, 0],
    ["dev", 0o020600, "", 5, 1],
    ["empty", 0o100644, "", 0, 0],
  ]);
  expect(archive.length % 512).toBe(0);
});
