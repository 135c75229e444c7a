/**
 * The second-level walk with all its caches against a slow and obvious model: random tables with random permissions, levels, large pages and reserved
 * bits, changed under the unit's feet. VT-d specification 3.6, 6.2, 9.8.
 *
 * The model knows, of each entry, every value that it has had since the last invalidation of everything. Any walk through such values is a result that the
 * caches may give; right after an invalidation that covers the address only today's values count.
 */
import { expect, test } from "vitest";
import { Rng } from "../sim/rng.ts";
import { DOMAIN, REG, VtdRig } from "./vtd-rig.testing.ts";

const STEPS = process.env.IRETQ_NIGHTLY === "1" ? 400_000 : 15_000;
const HOST_BITS = 40n;
const MEMORY_BYTES = 16n << 20n;
const PAGES = 14;
const INDICES = [0, 1, 511];

/** What a walk gives: the host address, or `!` and the reason. */
type Outcome = string;

class Model {
  readonly #rig: VtdRig;
  /** By address of the entry: earlier values. */
  readonly earlier = new Map<number, bigint[]>();

  constructor(rig: VtdRig) {
    this.#rig = rig;
  }

  set(at: number, value: bigint): void {
    const values = this.earlier.get(at) ?? [];
    values.push(this.#rig.memory.get(at));
    this.earlier.set(at, values);
    this.#rig.memory.put(at, value);
  }

  /** All outcomes for `iova`; without `stale`, the only one. */
  outcomes(table: bigint, level: number, iova: bigint, access: number, stale: boolean, rights = 3n): Set<Outcome> {
    const at = table + 8n * ((iova >> BigInt(12 + 9 * (level - 1))) & 511n);
    if (at + 8n > MEMORY_BYTES) return new Set(["!7"]);
    const entry = this.#rig.memory.get(Number(at));
    const values = stale ? [entry, ...(this.earlier.get(Number(at)) ?? [])] : [entry];
    const found = new Set<Outcome>();
    for (const value of values)
      for (const outcome of this.#one(value, level, iova, access, stale, rights)) found.add(outcome);
    return found;
  }

  #one(entry: bigint, level: number, iova: bigint, access: number, stale: boolean, rights: bigint): Set<Outcome> {
    const denied = (has: bigint): Set<Outcome> => new Set([access & 2 && !(has & 2n) ? "!5" : "!6"]);
    if ((entry & 3n) === 0n) return denied(0n);
    const leaf = level === 1 || (level <= 3 && (entry & 0x80n) !== 0n);
    const size = 1n << BigInt(12 + 9 * (level - 1));
    let reserved = ((1n << 52n) - 1n) & ~((1n << HOST_BITS) - 1n);
    reserved |= 1n << 62n;
    if (level > 3) reserved |= 0x80n;
    if (leaf && level > 1) reserved |= (size - 1n) & ~0xfffn;
    if ((entry & reserved) !== 0n) return new Set(["!12"]);
    const both = rights & entry;
    if ((both & BigInt(access)) !== BigInt(access) || both === 0n) return denied(both);
    const address = entry & ((1n << HOST_BITS) - 1n) & ~0xfffn;
    if (leaf) return new Set([String(address + (iova & (size - 1n)))]);
    return this.outcomes(address, level - 1, iova, access, stale, both);
  }
}

/** An entry that is often good, and else wrong in some way. */
function randomEntry(rng: Rng, tables: readonly number[]): bigint {
  if (rng.chance(1, 8)) return 0n;
  const rights = BigInt(rng.chance(3, 4) ? 3 : rng.below(4));
  const large = rng.chance(1, 4) ? 0x80n : 0n;
  let address = BigInt(rng.chance(7, 8) ? rng.pick(tables) : rng.below(1 << 28) * 4096);
  if (large !== 0n && rng.chance(7, 8)) address = BigInt(rng.below(1 << 10)) << 30n;
  const spoilt = rng.chance(1, 24) ? 1n << BigInt(rng.pick([12, 40, 45, 51, 62])) : 0n;
  const ignored = BigInt(rng.below(16)) << 52n;
  return address | large | rights | ignored | spoilt;
}

function randomIova(rng: Rng, levels: number): number {
  let iova = rng.below(4096);
  for (let level = 1; level <= levels; level++) iova += rng.pick(INDICES) * 2 ** (12 + 9 * (level - 1));
  // Bus masters here have 52 bits.
  return iova % 2 ** 52;
}

test.each([3, 4, 5])("%i levels: what the caches give is what some walk since the last invalidation gave", levels => {
  const rng = new Rng(`walk ${levels}`);
  const rig = new VtdRig({ levels: 5 });
  const model = new Model(rig);
  const tables = Array.from({ length: PAGES }, () => rig.table());
  const top = tables[0]!;
  rig.context(BigInt(top) | 1n, (BigInt(DOMAIN) << 8n) | BigInt(levels - 2));
  rig.enable();
  for (const table of tables) for (const index of INDICES) rig.memory.put(table + 8 * index, randomEntry(rng, tables));
  const outcome = (iova: number, access: number): Outcome => {
    const host = rig.translate(iova, access);
    const reasons = rig.faults();
    return host >= 0 ? String(host) : `!${reasons[0]}`;
  };
  const seen = { ok: 0, fault: 0, stale: 0 };
  for (let step = 0; step < STEPS; step++) {
    const what = rng.below(16);
    const iova = randomIova(rng, levels);
    if (what < 4) {
      const at = rng.pick(tables) + 8 * rng.pick(INDICES);
      model.set(at, randomEntry(rng, tables));
      continue;
    }
    let exact = model.earlier.size === 0;
    if (what === 4) {
      const granularity = rng.chance(1, 2) ? 1n : 2n;
      rig.write64(REG.IOTLB, (1n << 63n) | (granularity << 60n) | (BigInt(DOMAIN) << 32n));
      model.earlier.clear();
      exact = true;
    } else if (what === 5) {
      rig.write64(REG.IVA, BigInt(iova - (iova % 4096)) + BigInt(rng.below(19)));
      rig.write64(REG.IOTLB, (1n << 63n) | (3n << 60n) | (BigInt(DOMAIN) << 32n));
      exact = true;
    }
    const access = rng.below(3) + 1;
    const found = outcome(iova, access);
    const allowed = model.outcomes(BigInt(top), levels, BigInt(iova), access, !exact);
    if (!allowed.has(found)) expect({ step, iova: iova.toString(16), access, found, allowed }).toBe("allowed");
    if (found.startsWith("!")) seen.fault++;
    else seen.ok++;
    if (!model.outcomes(BigInt(top), levels, BigInt(iova), access, false).has(found)) seen.stale++;
  }
  // The test means something only when all of these happened.
  expect(Math.min(seen.ok, seen.fault)).toBeGreaterThan(STEPS / 20);
  expect(seen.stale).toBeGreaterThan(STEPS / 500);
});
