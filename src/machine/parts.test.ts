import { expect, test } from "vitest";
import { describePart } from "../ports/part.contract.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import type { Rng } from "../sim/rng.ts";
import { A20Gate } from "./a20-gate.ts";
import { SeededChoice } from "./seeded-choice.ts";
import { SerialFeed } from "./serial-feed.ts";

describePart("A20 gate", () => {
  const part = new A20Gate(() => {});
  return { part, stimulate: (rng: Rng) => part.set(rng.chance(1, 2)) };
});

describePart("serial feed", () => {
  const queue = new EventQueue(new Clock());
  let sent = 0;
  const part = new SerialFeed(queue, () => sent++);
  return { part, queue, sent: () => sent, stimulate: (rng: Rng) => part.push([rng.below(256)]) };
});

describePart("seeded choice", () => {
  const part = new SeededChoice(5);
  return { part, stimulate: (rng: Rng) => void part.choose(rng.below(9) + 1, "test") };
});

test("the A20 gate obeys whoever wrote last and opens at a reset", () => {
  const seen: boolean[] = [];
  const gate = new A20Gate(open => seen.push(open));
  gate.set(false);
  gate.reset("enter");
  gate.reset("hold");
  expect(seen).toEqual([false, true]);
});

test("choices with a seed stay in range and repeat", () => {
  const draw = (seed: number): number[] => {
    const choice = new SeededChoice(seed);
    return Array.from({ length: 100 }, () => choice.choose(4, "x"));
  };
  expect(draw(1)).toEqual(draw(1));
  expect(draw(1)).not.toEqual(draw(2));
  expect(new Set(draw(1))).toEqual(new Set([0, 1, 2, 3]));
});
