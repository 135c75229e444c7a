import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HostError } from "../base/assert.ts";
import { hashState, loadState, type StateRecord, type StateValue, saveState } from "./state.ts";

const sample = () => ({
  count: 3,
  on: true,
  name: "x",
  nothing: null as StateValue,
  regs: Uint32Array.of(1, 2, 0xffffffff),
  nested: { low: -5, deep: { value: 0.5 } },
  list: [{ a: 1 }, { a: 2 }] as { a: number }[],
});

describe("save and load", () => {
  test("a saved record is a deep copy", () => {
    const state = sample();
    const saved = saveState(state);
    expect(saved).toEqual(state);
    state.regs[0] = 9;
    state.nested.deep.value = 9;
    state.list[1]!.a = 9;
    expect(saved).toEqual(sample());
  });

  test("a view on a larger buffer is copied without the rest of the buffer", () => {
    const buffer = new ArrayBuffer(1024);
    expect(saveState({ v: new Uint8Array(buffer, 8, 4) }).v.buffer.byteLength).toBe(4);
  });

  test("loading writes in place: records, typed arrays and list elements keep their identity", () => {
    const state = sample();
    const { regs, nested, list } = state;
    const { deep } = nested;
    const first = list[0];
    const other = sample();
    other.regs.set([7, 8, 9]);
    other.nested.deep.value = 42;
    other.list = [{ a: 5 }, { a: 6 }, { a: 7 }];
    loadState(state, saveState(other));
    expect(state).toEqual(other);
    expect([state.regs === regs, state.nested === nested, state.nested.deep === deep]).toEqual([true, true, true]);
    expect([state.list === list, state.list[0] === first]).toEqual([true, true]);
    state.list[2]!.a = 100;
    expect(other.list[2]!.a).toBe(7);
  });

  test("lists shrink and grow; null and a value take each other's place", () => {
    const state: StateRecord = { list: [1, 2, 3], slot: null, full: 5 };
    loadState(state, { list: [9], slot: { a: 1 }, full: null });
    expect(state).toEqual({ list: [9], slot: { a: 1 }, full: null });
  });

  test.each<[string, StateRecord, RegExp]>([
    ["a key is missing", { a: 1 }, /state\.b is missing/],
    ["a key is unknown", { a: 1, b: 2, c: 3 }, /state\.c is unknown/],
  ])("%s: refused by name", (_, saved, message) => {
    expect(() => loadState({ a: 1, b: 2 }, saved)).toThrow(message);
    expect(() => loadState({ a: 1, b: 2 }, saved)).toThrow(HostError);
  });

  test.each<[string, StateValue, StateValue]>([
    ["another length", Uint8Array.of(1, 2), Uint8Array.of(1)],
    ["another kind of array", Uint8Array.of(1, 2), Uint16Array.of(1, 2)],
    ["a list for a typed array", Uint8Array.of(1, 2), [1, 2]],
    ["a typed array for a list", [1, 2], Uint8Array.of(1, 2)],
    ["a record for a list", [1, 2], { 0: 1, 1: 2 }],
    ["a list for a record", { a: 1 }, [1]],
    ["a number for a record", { a: 1 }, 5],
    ["a record for a number", 5, { a: 1 }],
    ["a string for a number", 5, "5"],
    ["a number for a boolean", true, 1],
    ["another shape deep inside", { x: [{ y: Uint8Array.of(1) }] }, { x: [{ y: Uint8Array.of(1, 2) }] }],
  ])("%s does not fit: HostError", (_, target, saved) => {
    expect(() => loadState({ part: target }, { part: saved })).toThrow(HostError);
    expect(() => loadState({ part: target }, { part: saved })).toThrow(/part/);
  });
});

describe("hash", () => {
  test("does not depend on the order in which keys were made", () => {
    expect(hashState({ a: 1, b: { c: 2, d: 3 } })).toBe(hashState({ b: { d: 3, c: 2 }, a: 1 }));
  });

  test("depends on every key, value and place", () => {
    const values: StateValue[] = [
      { a: 1, b: 2 },
      { a: 2, b: 1 },
      { a: 1, c: 2 },
      { a: 1, b: 2, c: null },
      { a: [1, 2] },
      { a: [2, 1] },
      { a: [1], b: [2] },
      { a: true },
      { a: false },
      { a: "1" },
      { a: 1.25 },
      { a: Uint8Array.of(1, 0, 0, 0) },
      { a: Uint8Array.of(0, 1, 0, 0) },
    ];
    expect(new Set(values.map(hashState)).size).toBe(values.length);
  });

  test("a typed array has the hash of its bytes, wherever they lie", () => {
    const buffer = new ArrayBuffer(64);
    for (const at of [0, 1, 2, 3, 5]) {
      const view = new Uint8Array(buffer, at, 13);
      view.set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
      expect(hashState({ view })).toBe(hashState({ view: Uint8Array.from(view) }));
    }
  });

  test("save and load keep it, for any state", () => {
    const leaf = fc.oneof(fc.integer(), fc.double(), fc.boolean(), fc.string(), fc.constant(null), fc.uint8Array());
    const { value } = fc.letrec<{ value: StateValue }>(tie => ({
      value: fc.oneof(
        { maxDepth: 3 },
        leaf,
        fc.array(tie("value"), { maxLength: 4 }),
        fc.dictionary(fc.stringMatching(/^[a-z]{1,3}$/), tie("value"), { maxKeys: 4 }),
      ),
    }));
    fc.assert(
      fc.property(value, v => {
        const state: StateRecord = { v };
        const target = saveState(state);
        loadState(target, saveState(state));
        expect(hashState(target)).toBe(hashState(state));
      }),
      { numRuns: 200, seed: 1 },
    );
  });
});
