/**
 * The bundled guests on the whole machine: every check says PASS, the run ends as it should, and it is the same run every time, traced or not, also when it
 * is saved and loaded in the middle.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { MIB } from "../../src/base/units.ts";
import { InterruptStats } from "../../src/check/interrupt-stats.ts";
import type { Exit } from "../../src/machine/exit.ts";
import { Pc } from "../../src/machine/pc.ts";
import { parseDevice } from "../../src/machine/pci-devices.ts";
import { Rng } from "../../src/sim/rng.ts";

type Guest = {
  readonly name: string;
  readonly file: string;
  readonly kind: "demo" | "behaviour" | "bench";
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly testDevices: boolean;
  /** Needs a Sound Blaster. */
  readonly sound?: boolean;
  /** As after `--device`. */
  readonly devices?: readonly string[];
  readonly status: number;
};

const folder = new URL("../../guests/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL("manifest.json", folder), "utf8")) as Guest[];
const guests = manifest.filter(guest => guest.kind !== "bench");
/** Nobody needs more; a guest that hangs fails instead of holding everything up. */
const LIMIT = 400_000_000;

class Run {
  readonly pc: Pc;
  output = "";
  exit: Exit | null = null;

  constructor(guest: Guest, traced = false) {
    const bytes = new Uint8Array(readFileSync(new URL(guest.file, folder)));
    this.pc = new Pc({
      cpus: guest.cpus,
      memory: guest.memoryMiB * MIB,
      image: { name: guest.file, bytes, args: "" },
      testDevices: guest.testDevices,
      onSound: guest.sound === true ? () => {} : null,
      devices: (guest.devices ?? []).map(parseDevice),
      onSerial: byte => {
        this.output += String.fromCharCode(byte);
      },
    });
    if (traced) this.pc.trace.listen(new InterruptStats(guest.cpus), InterruptStats.KINDS);
  }

  /** To the end, or to `until` instructions. */
  go(until = LIMIT): this {
    while (this.exit === null && this.pc.retired < until) this.exit = this.pc.run(until);
    return this;
  }
}

test.each(guests)("$name: every check passes and the run ends as it should", guest => {
  const run = new Run(guest).go();
  expect(run.output.split(/\r?\n/).filter(line => line.startsWith("FAIL"))).toEqual([]);
  expect(run.exit?.status).toBe(guest.status);
});

test.each(guests)("$name: traced, and saved and loaded at a random instruction, it is the same run", guest => {
  const first = new Run(guest).go();
  const hash = first.pc.stateHash();
  const second = new Run(guest, true).go(new Rng(guest.name).below(first.pc.retired) + 1);
  const third = new Run(guest);
  third.pc.load(second.pc.save());
  third.go();
  second.go();
  expect(second.pc.stateHash()).toBe(hash);
  expect(third.pc.stateHash()).toBe(hash);
  expect(second.output).toBe(first.output);
  expect(third.exit).toEqual(first.exit);
});
