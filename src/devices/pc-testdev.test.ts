import { describe, expect, it } from "vitest";
import { FUZZ_TIMEOUT, fuzzPart } from "../../test/fuzz-part.ts";
import { Line } from "../ports/line.ts";
import { describePart } from "../ports/part.contract.ts";
import { PcTestdev, TESTDEV_LINES } from "./pc-testdev.ts";

function make() {
  const lines = Array.from({ length: TESTDEV_LINES }, (_, i) => new Line(`irq${i}`, i));
  const part = new PcTestdev(lines.map(line => line.pin()));
  const windows = [part.irqPorts, part.wordPorts, part.bytePorts, part.flushPort, part.memory];
  return { part, lines, windows, outputs: lines };
}

describe("pc-testdev (QEMU hw/misc/pc-testdev.c)", () => {
  it("drives interrupt line n by port 0x2000 + n, and holds it", () => {
    const { part, lines } = make();
    part.irqPorts.write(9, 1, 1);
    part.irqPorts.write(23, 1, 0x80);
    expect(lines.map((l, i) => (l.level ? i : -1)).filter(i => i >= 0)).toEqual([9, 23]);
    part.irqPorts.write(9, 1, 0);
    expect(lines[9]!.level).toBe(false);
  });
  it("keeps a word that is written in parts, and shows it at both places", () => {
    const { part } = make();
    part.wordPorts.write(0, 4, 0x12345678);
    part.wordPorts.write(2, 1, 0xaa);
    part.bytePorts.write(1, 1, 0xbb);
    expect(part.wordPorts.read(0, 4)).toBe(0x12aabb78);
    expect(part.wordPorts.read(2, 2)).toBe(0x12aa);
    expect(part.bytePorts.read(3, 1)).toBe(0x12);
  });
  it("has 64 KiB that read as written", () => {
    const { part } = make();
    part.memory.write(0xfffc, 4, 0xdeadbeef);
    expect([part.memory.size, part.memory.read(0xfffc, 4), part.memory.read(0xfffe, 2)]).toEqual([
      0x10000, 0xdeadbeef, 0xdead,
    ]);
  });
});

describePart("pc-testdev", make);

describe("pc-testdev fuzz", () => {
  it(
    "shows the same word at both of its windows",
    () => {
      fuzzPart(make, "pc-testdev", { maxAdvance: 0 }, ({ part }) => {
        expect(part.bytePorts.read(3, 1)).toBe(part.wordPorts.read(0, 4) >>> 24);
      });
    },
    FUZZ_TIMEOUT,
  );
});
