/**
 * What the user says about the ways to memory: `--bus KEY=VALUE,…`, `--share NAME,KEY=VALUE,…`, `--caches`, `--store-buffer`. Every refusal is one line.
 */
import * as v from "valibot";
import { HostError } from "../base/assert.ts";
import { ARBITER_POLICIES, type BusSpec, type ShareTerms } from "../machine/arbiter-board.ts";
import type { CacheSpec } from "../machine/cache-board.ts";
import { Count, Duration, parseValue, PositiveCount, Size } from "./values.ts";

const USAGE = 64;
const Policy = v.picklist(ARBITER_POLICIES, `must be ${ARBITER_POLICIES.join(", ")}`);
const Caches = v.picklist(["coherent", "noncoherent"], "must be coherent or noncoherent");
/** Bytes, with a unit or without. */
const Bytes = v.union([PositiveCount, Size], "is no number of bytes such as 64, 200K or 16M");
const BUS_KEYS = ["bandwidth", "policy", "turnaround"];
const SHARE_KEYS = ["guaranteed", "weight", "burst", "priority"];

const refuse = (text: string): never => {
  throw new HostError(text, USAGE);
};

/** `key=value` each, every key once. */
function keysOf(option: string, pairs: readonly string[], known: readonly string[]): Map<string, string> {
  const keys = new Map<string, string>();
  for (const pair of pairs) {
    const [key = "", value = ""] = pair.split("=", 2);
    if (!known.includes(key)) refuse(`${option}: there is no ${key || "empty key"}, but ${known.join(", ")}`);
    if (value === "" || keys.has(key)) refuse(`${option}: give ${key} once, as ${key}=value`);
    keys.set(key, value);
  }
  return keys;
}

/** A number for a key; undefined when it is left out. */
function valueFor<T>(option: string, keys: Map<string, string>, key: string, schema: v.GenericSchema<unknown, T>) {
  const text = keys.get(key);
  return text === undefined ? undefined : parseValue(schema, `${option} ${key}`, text);
}

function parseShare(text: string): [string, ShareTerms] {
  const [name = "", ...pairs] = text.split(",");
  if (name === "" || name.includes("="))
    refuse(`--share: "${text}" does not begin with a name, such as ioat or isa-dma`);
  const keys = keysOf("--share", pairs, SHARE_KEYS);
  const terms: { -readonly [key in keyof ShareTerms]: ShareTerms[key] } = {};
  const guaranteed = valueFor("--share", keys, "guaranteed", Bytes);
  const weight = valueFor("--share", keys, "weight", PositiveCount);
  const burst = valueFor("--share", keys, "burst", Bytes);
  const priority = valueFor("--share", keys, "priority", Count);
  if (guaranteed !== undefined) terms.guaranteed = guaranteed;
  if (weight !== undefined) terms.weight = weight;
  if (burst !== undefined) terms.burst = burst;
  if (priority !== undefined) terms.priority = priority;
  return [name, terms];
}

/** Null without `--bus`. Throws {@link HostError} with status 64, or what {@link parseValue} throws. */
export function parseBus(text: string | undefined, shares: readonly string[]): BusSpec | null {
  if (text === undefined) {
    return shares.length > 0 ? refuse("--share: there is no bus to share, add --bus bandwidth=16M") : null;
  }
  const keys = keysOf("--bus", text.split(","), BUS_KEYS);
  const bandwidth =
    valueFor("--bus", keys, "bandwidth", Bytes) ?? refuse("--bus: say how much it moves, bandwidth=16M");
  const policy = valueFor("--bus", keys, "policy", Policy) ?? "round-robin";
  const turnaroundNs = valueFor("--bus", keys, "turnaround", Duration) ?? 0;
  const terms = new Map<string, ShareTerms>();
  for (const share of shares) {
    const [name, own] = parseShare(share);
    if (terms.has(name)) refuse(`--share: ${name} is given twice`);
    if (own.guaranteed !== undefined && policy !== "weighted")
      refuse(`--share: only policy=weighted guarantees anything, the bus has ${policy}`);
    terms.set(name, own);
  }
  return { bandwidth, policy, turnaroundNs, terms };
}

/** Null without `--caches`. */
export function parseCaches(text: string | undefined, storeBuffer: boolean): CacheSpec | null {
  if (text === undefined) {
    return storeBuffer ? refuse("--store-buffer: it lies in front of caches, add --caches coherent") : null;
  }
  return { coherent: parseValue(Caches, "--caches", text) === "coherent", storeBuffer };
}
