/** Framing by the GDB manual, "Remote Serial Protocol", "Overview": literal packets. */
import { describe, expect, test } from "vitest";
import { addressOf, framed, hexOfAddress, PacketReader, textOf } from "./packets.ts";

const bytes = (text: string): Uint8Array => Uint8Array.from(text, c => c.charCodeAt(0));

function heard(text: string): string[] {
  const log: string[] = [];
  const reader = new PacketReader({
    packet: payload => log.push(`packet ${payload}`),
    interrupt: () => log.push("interrupt"),
    resend: () => log.push("resend"),
    acknowledge: good => log.push(good ? "+" : "-"),
  });
  // A byte at a time: packets come in any pieces.
  for (const byte of bytes(text)) reader.push(Uint8Array.of(byte));
  return log;
}

describe("packets that arrive", () => {
  test("$payload#checksum, the checksum being the sum of the payload's bytes modulo 256 in two hexadecimal digits", () => {
    expect(heard("$g#67")).toEqual(["+", "packet g"]);
    expect(heard("$m100000,4#ee")).toEqual(["+", "packet m100000,4"]);
  });
  test("a wrong checksum, or one that is no number, is refused", () => {
    expect(heard("$g#68")).toEqual(["-"]);
    expect(heard("$g#zz")).toEqual(["-"]);
  });
  test("acknowledgements between packets are no packets; - asks for the last packet again", () => {
    expect(heard("+$g#67+-")).toEqual(["+", "packet g", "resend"]);
  });
  test("the byte 0x03 outside a packet is the interrupt, inside it is data", () => {
    expect(heard("\x03")).toEqual(["interrupt"]);
    expect(heard("$X\x03#5b")).toEqual(["+", "packet X\x03"]);
  });
  test("} escapes: the next byte XOR 0x20", () => {
    // '#' is 0x23, as "}\x03"; '}' is 0x7d, as "}]".
    expect(heard("$X}\x03}]#b2")).toEqual(["+", "packet X#}"]);
  });
  test("a packet that broke off is forgotten where the next begins", () => {
    expect(heard("$gar$g#67")).toEqual(["+", "packet g"]);
  });
});

describe("packets to send", () => {
  test("carry their checksum", () => {
    expect(textOf(framed("OK"))).toBe("$OK#9a");
    expect(textOf(framed(""))).toBe("$#00");
  });
  test("escape $ # } and *, and the checksum counts the escaped bytes", () => {
    expect(textOf(framed("#"))).toBe("$}\x03#80");
    expect(textOf(framed("*"))).toBe("$}\x0a#87");
  });
});

test("addresses are signed numbers: the upper half of canonical addresses is negative", () => {
  expect(addressOf("ffffffff81000000")).toBe(-0x7f000000);
  expect(addressOf("100000")).toBe(0x100000);
  expect(addressOf("")).toBeNaN();
  expect(addressOf("12g")).toBeNaN();
  expect(hexOfAddress(-0x7f000000)).toBe("ffffffff81000000");
});
