/**
 * The bundled guests on machines with modelled caches: they must not notice (a PC's caches are coherent), and it is the same run every time.
 */
import { expect, test } from "vitest";
import { Rng } from "../../src/sim/rng.ts";
import { guests, Run } from "./guest-run.ts";

test.each(guests)("$name: the caches of a PC do not show", guest => {
  // Store buffers where somebody could see them, and where code and page tables are written.
  const storeBuffer = guest.cpus > 1 || /paging|32|code/.test(guest.name);
  const run = new Run(guest, { caches: { coherent: true, storeBuffer } }).go();
  expect(run.output.split(/\r?\n/).filter(line => line.startsWith("FAIL"))).toEqual([]);
  expect(run.exit?.status).toBe(guest.status);
});

test.each(guests.filter(guest => guest.cpus > 1))("$name: saved and loaded, it is the same run", guest => {
  const spec = { caches: { coherent: true, storeBuffer: true } };
  const first = new Run(guest, spec).go();
  const second = new Run(guest, spec).go(new Rng(guest.name).below(first.pc.retired) + 1);
  const third = new Run(guest, spec);
  third.pc.load(second.pc.save());
  third.go();
  second.go();
  expect(second.pc.stateHash()).toBe(first.pc.stateHash());
  expect(third.pc.stateHash()).toBe(first.pc.stateHash());
});
