/**
 * The guest `coherence` on every kind of machine: without caches, with caches that devices snoop, with caches that they do not; with and without store
 * buffers. It is told which, and expects each mistake to show where it must and nowhere else. Told wrongly, it fails: its expectations are not empty.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { CacheSpec } from "../../src/machine/cache-board.ts";
import type { Exit } from "../../src/machine/exit.ts";
import { Pc } from "../../src/machine/pc.ts";
import { parseDevice } from "../../src/machine/pci-devices.ts";
import { Rng } from "../../src/sim/rng.ts";

const image = new Uint8Array(readFileSync(new URL("../../guests/coherence.elf", import.meta.url)));
const LIMIT = 100_000_000;
const MIB = 1 << 20;

class Run {
  readonly pc: Pc;
  output = "";
  exit: Exit | null = null;

  constructor(args: string, caches: CacheSpec | null) {
    this.pc = new Pc({
      cpus: 4,
      memory: 64 * MIB,
      image: { name: "coherence.elf", bytes: image, args },
      devices: [parseDevice("ioat")],
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

  failures(): string[] {
    return this.output.split(/\r?\n/).filter(line => line.startsWith("FAIL"));
  }
}

type Kind = readonly [name: string, args: string, caches: CacheSpec | null];
const KINDS: readonly Kind[] = [
  ["without caches", "machine=1", null],
  ["coherent", "machine=2", { coherent: true, storeBuffer: false }],
  ["non-coherent", "machine=3", { coherent: false, storeBuffer: false }],
  ["coherent, store buffers", "machine=2 buffers=1", { coherent: true, storeBuffer: true }],
  ["non-coherent, store buffers", "machine=3 buffers=1", { coherent: false, storeBuffer: true }],
];

test.each(KINDS)("%s: each mistake shows where it must, and each remedy helps", (_name, args, caches) => {
  const first = new Run(args, caches).go();
  expect(first.failures()).toEqual([]);
  expect(first.output).toContain("END 24 passed, 0 failed");
  expect(first.exit?.status).toBe(1);
  const hash = first.pc.stateHash();
  const second = new Run(args, caches).go(new Rng(args).below(first.pc.retired) + 1);
  const third = new Run(args, caches);
  third.pc.load(second.pc.save());
  third.go();
  second.go();
  expect([second.pc.stateHash(), third.pc.stateHash()]).toEqual([hash, hash]);
  expect(second.output).toBe(first.output);
});

test("told that it is another machine, the guest fails in just the cases that differ", () => {
  const coherent = new Run("machine=3", { coherent: true, storeBuffer: false }).go();
  expect(coherent.failures()).toEqual([
    "FAIL a device reads what is dirty in a cache: not flushed (got 0x22, want 0x11)",
    "FAIL the processor reads a line that a device has overwritten: not invalidated (got 0x22, want 0x11)",
    "FAIL CLWB does not invalidate (got 0x22, want 0x11)",
    "FAIL a dirty line is written back over what a device wrote (got 0x22, want 0x33)",
  ]);
  const unordered = new Run("machine=1", { coherent: true, storeBuffer: true }).go();
  expect(unordered.failures().map(line => line.slice(0, 36))).toEqual([
    "FAIL store buffering without store b",
    "FAIL the same with No Snoop (got 0x1",
    "FAIL the same with No Snoop (got 0x1",
    "FAIL the same with No Snoop (got 0x3",
    "FAIL a write-combining buffer that n",
  ]);
});
