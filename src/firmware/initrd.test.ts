/** "initramfs buffer format" (Documentation/driver-api/early-userspace/buffer-format.rst). */
import { expect, test } from "vitest";
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
  check(`${ARCHIVE}\x28\xb5\x2f\xfdpacked`);
  check("\x1f\x8bpacked");
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
