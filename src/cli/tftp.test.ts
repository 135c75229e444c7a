/** `--tftp folder[,bootfile=name]`: what may be lent, and the refusals. */
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hostFiles, parseTftp } from "./tftp.ts";

const folder = mkdtempSync(join(tmpdir(), "iretq-tftp-"));
mkdirSync(join(folder, "lent/sub"), { recursive: true });
const lent = join(folder, "lent");
writeFileSync(join(folder, "secret"), "secret");
writeFileSync(join(lent, "kernel"), "kernel");
writeFileSync(join(lent, "sub/initrd"), "initrd");
symlinkSync(join(folder, "secret"), join(lent, "out"));
symlinkSync("kernel", join(lent, "in"));

test("folder, folder and boot file; commas belong to the folder's name", () => {
  expect(parseTftp("a")).toEqual({ folder: "a", bootFile: "" });
  expect(parseTftp("a,b,bootfile=c/d")).toEqual({ folder: "a,b", bootFile: "c/d" });
});

test.each([
  ["", '--tftp: "" names no folder'],
  [",bootfile=x", '--tftp: ",bootfile=x" names no folder'],
  ["a,bootfile=", "--tftp: bootfile= is no name of 1 to 127 plain characters"],
  ["a,bootfile=b c", "--tftp: bootfile=b c is no name of 1 to 127 plain characters"],
  [`a,bootfile=${"x".repeat(128)}`, /no name of 1 to 127 plain characters$/],
])("%s is refused with one line", (text, message) => {
  expect(() => parseTftp(text)).toThrow(message);
});

describe("files", () => {
  const { files } = hostFiles({ folder: lent, bootFile: "" });
  const text = (name: string): string | null => {
    const bytes = files!.get(name);
    return bytes === undefined ? null : new TextDecoder().decode(bytes);
  };

  test("are those of the folder and below it", () => {
    expect(["kernel", "sub/initrd", "in"].map(text)).toEqual(["kernel", "initrd", "kernel"]);
  });

  test("outside, through links, folders and nonsense are not there", () => {
    expect(["../secret", "sub/../../secret", "out", "sub", "", ".", "none", "a\0b"].map(text)).toEqual(
      Array(8).fill(null),
    );
  });

  test("stay as they were when the guest first asked", () => {
    writeFileSync(join(lent, "late"), "one");
    expect(text("late")).toBe("one");
    writeFileSync(join(lent, "late"), "two");
    expect(text("late")).toBe("one");
  });
});

test("a folder or a boot file that is not there: status 66, one line", () => {
  const none = join(folder, "none");
  expect(() => hostFiles({ folder: none, bootFile: "" })).toThrow(`--tftp: ${none}: no such file or directory`);
  const plain = join(folder, "secret");
  expect(() => hostFiles({ folder: plain, bootFile: "" })).toThrow(`--tftp: ${plain}: is no folder`);
  expect(() => hostFiles({ folder: lent, bootFile: "x" })).toThrow(`--tftp: ${lent} has no file x`);
  expect(hostFiles({ folder: lent, bootFile: "/kernel" }).bootFile).toBe("/kernel");
});
