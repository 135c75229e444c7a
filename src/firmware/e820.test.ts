import { expect, test } from "vitest";
import { GIB, MIB } from "../base/units.ts";
import { E820, e820, e820Bytes } from "./e820.ts";

test("ranges ascend and do not overlap; usable bytes are RAM only (ACPI 6.5, 15.1)", () => {
  for (const facts of [
    { lowBytes: 2 * MIB, highBytes: 0 },
    { lowBytes: 3 * GIB, highBytes: 512 * MIB },
  ]) {
    const map = e820(facts);
    for (let i = 1; i < map.length; i++)
      expect(map[i]!.base).toBeGreaterThanOrEqual(map[i - 1]!.base + map[i - 1]!.length);
    const usable = map.filter(entry => entry.type === E820.usable);
    for (const { base, length } of usable) {
      const low = base + length <= facts.lowBytes;
      const high = base >= 4 * GIB && base + length <= 4 * GIB + facts.highBytes;
      expect(low || high).toBe(true);
    }
    const missing = facts.lowBytes + facts.highBytes - usable.reduce((sum, { length }) => sum + length, 0);
    // All but the EBDA, the video hole and the firmware's area below 1 MiB.
    expect(missing).toBe(MIB - 0x9fc00);
  }
});

test("a packed record is base 64, length 64, type 32, little endian (QEMU docs, fw_cfg etc/e820)", () => {
  expect([...e820Bytes([{ base: 0x1_2345_6789, length: 0x2_0000_0001, type: 2 }])]).toEqual([
    0x89, 0x67, 0x45, 0x23, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0,
  ]);
});
