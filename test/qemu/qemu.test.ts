/**
 * The behaviour guests on QEMU: every check passes there, or is a listed difference with its reason in the manual; and whatever is checked there is
 * checked and passes here, too.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MIB } from "../../src/base/units.ts";
import { Pc } from "../../src/machine/pc.ts";
import { parseDevice } from "../../src/machine/pci-devices.ts";
import {
  compareWithQemu,
  type GuestEntry,
  guestsDirectory,
  judge,
  qemuIsInstalled,
  readDifferences,
  readManifest,
  runOnQemu,
} from "./run-qemu.ts";

const differences = readDifferences();
const guests = readManifest().filter(entry => entry.kind !== "bench");

/** Serial output of a guest on our own machine. */
function runHere(entry: GuestEntry): string[] {
  let output = "";
  const pc = new Pc({
    cpus: entry.cpus,
    memory: entry.memoryMiB * MIB,
    image: { name: entry.file, bytes: new Uint8Array(readFileSync(join(guestsDirectory, entry.file))), args: "" },
    testDevices: entry.testDevices,
    onSound: entry.sound === true ? () => {} : null,
    devices: (entry.devices ?? []).map(parseDevice),
    onSerial: byte => {
      output += String.fromCharCode(byte);
    },
  });
  while (pc.run(pc.retired + 1_000_000) === null && pc.retired < 100_000_000);
  return output.split(/\r?\n/);
}

describe("the list of differences", () => {
  it("names existing guests and gives a reason for each", () => {
    const names = new Set(guests.map(entry => entry.name));
    for (const difference of differences) {
      expect(names, difference.guest).toContain(difference.guest);
      expect(difference.reason.length, difference.check).toBeGreaterThan(20);
    }
  });
});

describe.skipIf(!qemuIsInstalled())("guests under QEMU and here", () => {
  for (const entry of guests) {
    // QEMU runs on host time, which a loaded host withholds now and then; our own side is the same in every try.
    it(`${entry.name}: ${entry.description}`, { retry: 2 }, async () => {
      const run = await runOnQemu(entry);
      expect(judge(entry, run, differences)).toEqual([]);
      expect(compareWithQemu(run.lines, runHere(entry))).toEqual([]);
    });
  }
});
