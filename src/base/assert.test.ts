import { expect, test } from "vitest";
import { assert, exists, HostError, ModelBug, unreachable } from "./assert.ts";

test("an assertion that holds says nothing; one that fails is a ModelBug with its message", () => {
  expect(() => assert(true, "fine")).not.toThrow();
  expect(() => assert(false, "lapic: two vectors")).toThrow(ModelBug);
  expect(() => assert(false, "lapic: two vectors")).toThrow("lapic: two vectors");
});

test("exists passes on everything that is there, also 0, false and the empty string", () => {
  expect([exists(0, ""), exists(false, ""), exists("", "")]).toEqual([0, false, ""]);
  expect(() => exists(undefined, "no engine")).toThrow(new ModelBug("no engine"));
  expect(() => exists(null, "no engine")).toThrow(ModelBug);
});

test("unreachable names the value", () => {
  expect(() => unreachable("x" as never, "kind")).toThrow("kind: x");
});

test("a HostError carries the exit status and is no ModelBug", () => {
  const error = new HostError("cannot read a.elf", 66);
  expect([error.status, error.message, error.name, error instanceof ModelBug]).toEqual([
    66,
    "cannot read a.elf",
    "HostError",
    false,
  ]);
});
