import { describe, expect, it } from "vitest";
import { describePart } from "../ports/part.contract.ts";
import { DebugConsolePort, ExitPort, PostCodePort } from "./debug-ports.ts";

describe("port 0x80", () => {
  it("can be read back and tells each code", () => {
    const codes: number[] = [];
    const port = new PostCodePort(code => codes.push(code));
    port.write(0, 1, 0x55);
    port.write(0, 1, 0xaa);
    expect(port.read(0, 1)).toBe(0xaa);
    expect(codes).toEqual([0x55, 0xaa]);
  });
});

describe("port 0xE9", () => {
  it("passes bytes on and reads 0xE9", () => {
    let text = "";
    const port = new DebugConsolePort(byte => {
      text += String.fromCharCode(byte);
    });
    for (const c of "ok\n") port.write(0, 1, c.charCodeAt(0));
    expect(text).toBe("ok\n");
    expect(port.read(0, 1)).toBe(0xe9);
  });
});

describe("port 0xF4 (QEMU isa-debug-exit: status (value << 1) | 1)", () => {
  it.each([
    [1, 0x10, 33],
    [2, 0x1234, 0x2469],
    [4, 0x0000_0000, 1],
    [4, 0xffff_ffff, 0x1_ffff_ffff],
  ])("takes %i bytes: %i gives %i", (width, value, status) => {
    const seen: number[] = [];
    new ExitPort(s => seen.push(s)).write(0, width, value);
    expect(seen).toEqual([status]);
  });
});

const counted = (): { sent: () => number; hear: () => void } => {
  let n = 0;
  return { sent: () => n, hear: () => void n++ };
};
describePart("POST code port", () => {
  const { sent, hear } = counted();
  const part = new PostCodePort(hear);
  return { part, windows: [part], sent };
});
describePart("debug console", () => {
  const { sent, hear } = counted();
  const part = new DebugConsolePort(hear);
  return { part, windows: [part], sent };
});
describePart("exit port", () => {
  const { sent, hear } = counted();
  const part = new ExitPort(hear);
  return { part, windows: [part], sent };
});
