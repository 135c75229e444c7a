/**
 * Every encoding of the opcode tables on the host's processor and here: random operands, all registers, flags, MXCSR, memory and exceptions afterwards.
 * Flags that the manual leaves undefined may differ. 45 000 cases; with IRETQ_NIGHTLY set 2.6 million; IRETQ_SEED chooses other ones.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isa } from "../../src/cpu/engine.ts";
import { FLAG } from "../../src/cpu/state.ts";
import { Rng } from "../../src/sim/rng.ts";
import { describeInput, differences, type Outcome, undefinedDifference } from "./compare.ts";
import type { Executed } from "./defined-flags.ts";
import { Emulator } from "./emulator.ts";
import { describe as nameOf, type Encoding, encodingsOf, hostDiffers, LEFT_OUT, leftOut } from "./encodings.ts";
import { generate } from "./generate.ts";
import { Host } from "./host.ts";
import { Pairs } from "./pairs.ts";
import { type Bits, IN, OUT, RETIRED } from "./records.ts";

const NIGHTLY = process.env.IRETQ_NIGHTLY !== undefined;
const SEED = process.env.IRETQ_SEED ?? "differential";
const CASES: { readonly [bits in Bits]: number } = NIGHTLY
  ? { 64: 1_000_000, 32: 400_000, 16: 300_000 }
  : { 64: 20_000, 32: 5_000, 16: 5_000 };
const BATCH = 5000;
/** Differences that are described in full. */
const SHOWN = 8;

const PAIRS = NIGHTLY ? 300_000 : 5_000;

/** Runs the cases of one code size and gathers what differs. */
class Run {
  readonly encodings: readonly Encoding[];
  /** Per encoding, how often the host did not raise #UD. */
  readonly exercised: Uint32Array;
  readonly failures = new Map<string, string>();
  /** Per instruction, how often an undefined flag differed. */
  readonly undefinedFlags = new Map<string, number>();
  failed = 0;
  readonly #bits: Bits;
  readonly #host: Host;
  readonly #emulator: Emulator;
  readonly #pairs: Pairs;
  readonly #input = new DataView(new ArrayBuffer(BATCH * IN.size));
  readonly #ours = new DataView(new ArrayBuffer(BATCH * OUT.size));

  constructor(bits: Bits, host: Host) {
    this.#bits = bits;
    this.#host = host;
    this.#emulator = new Emulator(bits);
    const long = bits === 64;
    this.encodings = encodingsOf(isa().maps, long).filter(e => leftOut(e.row) === "" && !hostDiffers(e, long));
    this.#pairs = new Pairs(this.encodings, bits);
    this.exercised = new Uint32Array(this.encodings.length);
  }

  /** Cases of one instruction each, of all encodings in turn. */
  batch(number: number): void {
    this.#run(number, 1, (rng, n, at) => {
      const encoding = this.encodings[n % this.encodings.length]!;
      return generate(encoding, this.#bits, rng, this.#input, at);
    });
  }
  /** Cases of two instructions. */
  pairs(number: number): void {
    this.#run(number, 2, (rng, _n, at) => this.#pairs.make(rng, this.#input, at));
  }

  #run(number: number, instructions: number, make: (rng: Rng, n: number, at: number) => Executed): void {
    const rng = new Rng(`${SEED}/${this.#bits}/${instructions}/${number}`);
    const input = this.#input;
    const executed: Executed[] = [];
    for (let i = 0; i < BATCH; i++) executed.push(make(rng, number * BATCH + i, i * IN.size));
    const bytes = this.#host.run(new Uint8Array(input.buffer));
    const host = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let i = 0; i < BATCH; i++) {
      const [from, to] = [i * IN.size, i * OUT.size];
      // Now and then through the slow path of memory accesses.
      if (rng.chance(1, 16)) this.#emulator.flush();
      this.#emulator.run(input, from, this.#ours, to, instructions);
      const outcome = { executed: executed[i]!, input, from, host, ours: this.#ours, to };
      const n = number * BATCH + i;
      if (instructions === 1) this.#note(n % this.encodings.length, outcome);
      this.#judge(`case ${n} of ${instructions} in ${this.#bits}-bit code`, outcome);
    }
  }

  /** What is learnt from a case of one instruction. */
  #note(index: number, o: Outcome): void {
    const vector = o.host.getUint32(o.to + OUT.vector, true);
    if (vector !== 6) this.exercised[index]!++;
    const free = vector === RETIRED ? undefinedDifference(o) : 0;
    if (free !== 0) this.#countFlags(o.executed.name, free);
  }

  #judge(where: string, o: Outcome): void {
    const found = differences(o);
    if (found.length === 0) return;
    this.failed++;
    const { name } = o.executed;
    if (this.failures.has(name) || this.failures.size >= SHOWN) return;
    const text = `${name} (seed "${SEED}", ${where})\n  ${found.join("\n  ")}\n  ${describeInput(o, this.#bits)}`;
    this.failures.set(name, text);
  }

  #countFlags(name: string, flags: number): void {
    for (const [flag, bit] of Object.entries(FLAG)) {
      if ((flags & bit) === 0) continue;
      const key = `${name} ${flag.toUpperCase()}`;
      this.undefinedFlags.set(key, (this.undefinedFlags.get(key) ?? 0) + 1);
    }
  }

  /** What differed since the last report; "" for nothing. */
  report(): string {
    const text = this.failed === 0 ? "" : `${this.failed} cases differ\n${[...this.failures.values()].join("\n")}`;
    this.failed = 0;
    this.failures.clear();
    return text;
  }
}

for (const bits of [64, 32, 16] as const) {
  const { host, why } = Host.create(bits);
  describe.skipIf(host === null)(`${bits}-bit code against the host's processor${host ? "" : `: ${why}`}`, () => {
    let run: Run;
    beforeAll(() => {
      run = new Run(bits, host!);
    });
    afterAll(() => {
      host!.dispose();
      if (NIGHTLY) console.info("undefined flags that differ from the host:", Object.fromEntries(run.undefinedFlags));
    });

    it(`agrees in ${CASES[bits]} cases (Intel SDM vol. 2, chapters 3 and 4)`, { timeout: 3_600_000 }, () => {
      for (let n = 0; n * BATCH < CASES[bits]; n++) run.batch(n);
      expect(run.report()).toBe("");
    });

    it(`agrees in ${PAIRS} cases of two instructions, the second reading or keeping flags of the first`, () => {
      for (let n = 0; n * BATCH < PAIRS; n++) run.pairs(n);
      expect(run.report()).toBe("");
    }, 3_600_000);

    it("has run every encoding of the tables that is not left out by name", () => {
      const missing = run.encodings.filter((e, i) => run.exercised[i] === 0 && !/^ud[012]$/.test(e.row.name));
      expect(missing.map(nameOf)).toEqual([]);
    });
  });
}

describe("what is left out", () => {
  it("exists, each name of it", () => {
    const rows = [true, false].flatMap(long => encodingsOf(isa().maps, long)).map(e => e.row.name);
    for (const [names] of LEFT_OUT) {
      for (const name of rows.filter(n => names.test(n))) expect(leftOut({ name })).not.toBe("");
      expect(rows.some(name => names.test(name))).toBe(true);
    }
  });
});
