/**
 * The bundled guests on machines with modelled caches: they must not notice (a PC's caches are coherent), and it is the same run every time.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { MIB } from "../../src/base/units.ts";
import type { CacheSpec } from "../../src/machine/cache-board.ts";
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
  readonly devices?: readonly string[];
  readonly status: number;
};

const folder = new URL("../../guests/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL("manifest.json", folder), "utf8")) as Guest[];
const LIMIT = 400_000_000;

class Run {
  readonly pc: Pc;
  output = "";
  exit: Exit | null = null;

  constructor(guest: Guest, caches: CacheSpec) {
    const bytes = new Uint8Array(readFileSync(new URL(guest.file, folder)));
    this.pc = new Pc({
      cpus: guest.cpus,
      memory: guest.memoryMiB * MIB,
      image: { name: guest.file, bytes, args: "" },
      testDevices: guest.testDevices,
      devices: (guest.devices ?? []).map(parseDevice),
      caches,
      onSerial: byte => {
        this.output += String.fromCharCode(byte);
      },
    });
  }

  go(until = LIMIT): this {
    while (this.exit === null && this.pc.retired < until) this.exit = this.pc.run(until);
    return this;
  }
}

const guests = manifest.filter(guest => guest.kind !== "bench");

test.each(guests)("$name: the caches of a PC do not show", guest => {
  // Store buffers where somebody could see them, and where code and page tables are written.
  const storeBuffer = guest.cpus > 1 || /paging|32|code/.test(guest.name);
  const run = new Run(guest, { coherent: true, storeBuffer }).go();
  expect(run.output.split(/\r?\n/).filter(line => line.startsWith("FAIL"))).toEqual([]);
  expect(run.exit?.status).toBe(guest.status);
});

test.each(guests.filter(guest => guest.cpus > 1))("$name: saved and loaded, it is the same run", guest => {
  const spec = { coherent: true, storeBuffer: true };
  const first = new Run(guest, spec).go();
  const second = new Run(guest, spec).go(new Rng(guest.name).below(first.pc.retired) + 1);
  const third = new Run(guest, spec);
  third.pc.load(second.pc.save());
  third.go();
  second.go();
  expect(second.pc.stateHash()).toBe(first.pc.stateHash());
  expect(third.pc.stateHash()).toBe(first.pc.stateHash());
});
