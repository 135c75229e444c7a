/**
 * The hash at any instruction count is the same whether the machine came there in one go, in pieces, or through snapshots loaded into fresh machines that
 * have decoded nothing: not only at the end of a run (guests.test.ts), but at every stop on the way.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { MIB } from "../../src/base/units.ts";
import { Pc } from "../../src/machine/pc.ts";
import type { PcOptions } from "../../src/machine/pc-options.ts";
import { Rng } from "../../src/sim/rng.ts";

const folder = new URL("../../guests/", import.meta.url);
const STOPS = 7;

/** A machine with a guest; seeds draw the lengths of slices. */
function machine(file: string, options: Partial<PcOptions>): Pc {
  const bytes = new Uint8Array(readFileSync(new URL(file, folder)));
  return new Pc({
    cpus: 1,
    memory: 32 * MIB,
    image: { name: file, bytes, args: "" },
    testDevices: true,
    noReboot: true,
    ...options,
  });
}
/** To exactly `until` instructions, or the end. */
function go(pc: Pc, until: number): void {
  while (pc.retired < until && pc.run(until) === null);
}

test.each<[string, Partial<PcOptions>, number]>([
  ["demo.elf", { cpus: 2 }, 400_000],
  ["ipi.elf", { cpus: 4, seed: 5 }, 300_000],
  ["paging.elf", { cpus: 1 }, 300_000],
  ["paging32.elf", { cpus: 1 }, 300_000],
  ["realmode.bin", { cpus: 1 }, 100_000],
])("%s %j: at random stops a cold machine has the hash of the warm one", (file, options, span) => {
  const rng = new Rng(file);
  const probe = machine(file, options);
  go(probe, span);
  const end = probe.retired;
  const stops = Array.from({ length: STOPS }, () => 1 + rng.below(end)).sort((a, b) => a - b);
  const warm = machine(file, options);
  let cold = machine(file, options);
  for (const stop of stops) {
    go(warm, stop);
    go(cold, stop);
    const hash = warm.stateHash();
    expect([stop, cold.stateHash()]).toEqual([stop, hash]);
    const next = machine(file, options);
    next.load(cold.save());
    expect([stop, next.stateHash()]).toEqual([stop, hash]);
    cold = next;
  }
  go(cold, end);
  expect(cold.stateHash()).toBe(probe.stateHash());
});
