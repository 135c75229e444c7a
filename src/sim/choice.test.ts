import { describe, expect, test } from "vitest";
import { ModelBug } from "../base/assert.ts";
import { type Choice, ExhaustiveChoice, firstChoice, RandomChoice, ReplayChoice } from "./choice.ts";
import { Rng } from "./rng.ts";

/** Runs `program` with every sequence of choices; returns what each run gave. */
function all<T>(program: (choice: Choice) => T): T[] {
  const results: T[] = [];
  const choice = new ExhaustiveChoice();
  while (choice.next()) results.push(program(choice));
  expect(choice.next()).toBe(false);
  return results;
}

describe("exhaustive", () => {
  test("a fixed shape gives the product, each sequence once, in the order of counting", () => {
    const results = all(c => [c.choose(2, "a"), c.choose(3, "b"), c.choose(4, "c")].join(""));
    const expected: string[] = [];
    for (let a = 0; a < 2; a++) for (let b = 0; b < 3; b++) for (let c = 0; c < 4; c++) expected.push(`${a}${b}${c}`);
    expect(results).toEqual(expected);
  });

  test("the shape may depend on what was chosen before: all permutations of five", () => {
    const results = all(c => {
      const items = ["a", "b", "c", "d", "e"];
      let out = "";
      while (items.length > 0) out += items.splice(c.choose(items.length, "next"), 1)[0];
      return out;
    });
    expect([results.length, new Set(results).size, results[0], results.at(-1)]).toEqual([120, 120, "abcde", "edcba"]);
  });

  test("no choice is one run", () => {
    expect(all(() => 1)).toEqual([1]);
    expect(all(c => c.choose(1, "only"))).toEqual([0]);
  });

  test("nothing to choose from, or a program that is not a function of its choices, is a mistake of the model", () => {
    const choice = new ExhaustiveChoice();
    choice.next();
    expect(() => choice.choose(0, "x")).toThrow(ModelBug);
    choice.choose(2, "x");
    choice.next();
    expect(() => choice.choose(3, "x")).toThrow(/had 2 alternatives before, now 3/);
  });
});

test("what was drawn at random can be replayed; behind the end comes the first alternative", () => {
  const random = new RandomChoice(new Rng("c"));
  const sizes = [2, 5, 1, 7, 3, 9, 4];
  const drawn = sizes.map(n => random.choose(n, "x"));
  expect(random.taken).toEqual(drawn);
  const replay = new ReplayChoice(random.taken);
  expect(sizes.map(n => replay.choose(n, "x"))).toEqual(drawn);
  expect([replay.choose(3, "x"), replay.choose(3, "x")]).toEqual([0, 0]);
});

test("a recording of another program is noticed", () => {
  expect(() => new ReplayChoice([4]).choose(4, "slice length")).toThrow(/slice length has 4 alternatives/);
});

test("the default is the first alternative", () => {
  expect(firstChoice.choose(9, "x")).toBe(0);
});
