import { expect, test } from "vitest";
import { ModelBug } from "../base/assert.ts";
import { Clock } from "./clock.ts";

test("time stands still until it is moved, and never runs backwards", () => {
  const clock = new Clock();
  expect(clock.now()).toBe(0);
  clock.advanceTo(10);
  clock.advanceTo(10);
  expect(clock.now()).toBe(10);
  expect(() => clock.advanceTo(9)).toThrow(ModelBug);
});

test("inside a slice its engine moves time; the end of the slice keeps it", () => {
  const clock = new Clock();
  clock.advanceTo(100);
  let elapsed = 0;
  clock.enter({ elapsed: () => elapsed });
  expect(clock.now()).toBe(100);
  elapsed = 7;
  expect(clock.now()).toBe(107);
  expect(clock.state.now).toBe(100);
  clock.leave();
  expect([clock.now(), clock.state.now]).toEqual([107, 107]);
});

test("two slices at once, or a jump inside a slice, are mistakes of the model", () => {
  const clock = new Clock();
  const progress = { elapsed: () => 0 };
  clock.enter(progress);
  expect(() => clock.enter(progress)).toThrow(ModelBug);
  expect(() => clock.advanceTo(5)).toThrow(ModelBug);
  clock.leave();
  clock.advanceTo(5);
  clock.enter(progress);
});
