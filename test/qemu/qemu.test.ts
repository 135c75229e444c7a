/** The behaviour guests on QEMU: every check passes there, or is a listed difference with its reason in the manual. */
import { describe, expect, it } from "vitest";
import { judge, qemuIsInstalled, readDifferences, readManifest, runOnQemu } from "./run-qemu.ts";

const differences = readDifferences();
const guests = readManifest().filter(entry => entry.kind !== "bench");

describe("the list of differences", () => {
  it("names existing guests and gives a reason for each", () => {
    const names = new Set(guests.map(entry => entry.name));
    for (const difference of differences) {
      expect(names, difference.guest).toContain(difference.guest);
      expect(difference.reason.length, difference.check).toBeGreaterThan(20);
    }
  });
});

describe.skipIf(!qemuIsInstalled())("guests under QEMU", () => {
  for (const entry of guests) {
    it(`${entry.name}: ${entry.description}`, async () => {
      const run = await runOnQemu(entry);
      expect(judge(entry, run, differences)).toEqual([]);
    });
  }
});
