import { describe, expect, test } from "vitest";
import { HostError } from "../base/assert.ts";
import { parseBus, parseCaches } from "./bus-options.ts";
import { ValueError } from "./values.ts";

describe("--bus and --share", () => {
  test("bandwidth, policy and the cost of a burst, and every device's terms", () => {
    const bus = parseBus("bandwidth=16M,policy=weighted,turnaround=30ns", [
      "isa-dma,guaranteed=200K,burst=2",
      "edu 2,weight=3",
    ]);
    expect(bus).toMatchObject({ bandwidth: 16 * 1024 * 1024, policy: "weighted", turnaroundNs: 30 });
    expect([...bus!.terms]).toEqual([
      ["isa-dma", { guaranteed: 200 * 1024, burst: 2 }],
      ["edu 2", { weight: 3 }],
    ]);
    expect(parseBus("bandwidth=5000,policy=fixed", ["edu,priority=0"])!.terms.get("edu")).toEqual({ priority: 0 });
  });

  test("round-robin without turnaround is what nobody needs to say; without --bus there is none", () => {
    expect(parseBus("bandwidth=1M", [])).toMatchObject({ policy: "round-robin", turnaroundNs: 0 });
    expect(parseBus(undefined, [])).toBeNull();
  });

  test.each<[string | undefined, string[], RegExp]>([
    [undefined, ["edu,weight=1"], /no bus/],
    ["policy=fixed", [], /bandwidth=/],
    ["bandwidth=fast", [], /"fast" is no number of bytes/],
    ["bandwidth=0", [], /"0" must be at least 1/],
    ["bandwidth=1M,policy=fair", [], /must be fixed, round-robin, weighted/],
    ["bandwidth=1M,bandwidth=2M", [], /bandwidth once/],
    ["bandwidth=1M,speed=9", [], /no speed, but bandwidth/],
    ["bandwidth=1M", ["weight=1"], /begin with a name/],
    ["bandwidth=1M", ["edu,weight"], /weight once, as weight=value/],
    ["bandwidth=1M", ["edu,weight=1", "edu,weight=2"], /edu is given twice/],
    ["bandwidth=1M", ["edu,guaranteed=1K"], /only policy=weighted guarantees/],
  ])("--bus %s --share %s is refused in one line", (bus, shares, reason) => {
    let refusal: unknown;
    try {
      parseBus(bus, shares);
    } catch (error) {
      refusal = error;
    }
    expect(refusal instanceof HostError || refusal instanceof ValueError).toBe(true);
    expect((refusal as Error).message).toMatch(reason);
    expect((refusal as Error).message).not.toContain("\n");
  });
});

test("--caches has two kinds, and a store buffer lies in front of them", () => {
  expect(parseCaches("coherent", false)).toEqual({ coherent: true, storeBuffer: false });
  expect(parseCaches("noncoherent", true)).toEqual({ coherent: false, storeBuffer: true });
  expect(parseCaches(undefined, false)).toBeNull();
  expect(() => parseCaches(undefined, true)).toThrow(/add --caches/);
  expect(() => parseCaches("incoherent", false)).toThrow(/coherent or noncoherent/);
});
