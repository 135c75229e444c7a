/**
 * The bundled guests on the whole machine: every check says PASS, the run ends as it should, and it is the same run every time, traced or not, also when it
 * is saved and loaded in the middle.
 */
import { expect, test } from "vitest";
import { Rng } from "../../src/sim/rng.ts";
import { guests, Run } from "./guest-run.ts";

test.each(guests)("$name: every check passes and the run ends as it should", guest => {
  const run = new Run(guest).go();
  expect(run.output.split(/\r?\n/).filter(line => line.startsWith("FAIL"))).toEqual([]);
  expect(run.exit?.status).toBe(guest.status);
});

test.each(guests)("$name: traced, and saved and loaded at a random instruction, it is the same run", guest => {
  const first = new Run(guest).go();
  const hash = first.pc.stateHash();
  const second = new Run(guest, { traced: true }).go(new Rng(guest.name).below(first.pc.retired) + 1);
  const third = new Run(guest);
  third.pc.load(second.pc.save());
  third.go();
  second.go();
  expect(second.pc.stateHash()).toBe(hash);
  expect(third.pc.stateHash()).toBe(hash);
  expect(second.output).toBe(first.output);
  expect(third.exit).toEqual(first.exit);
});
