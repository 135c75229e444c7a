/**
 * Cases of two instructions: one that sets flags, one that reads or keeps them. Flags are kept lazily between instructions, so a case of one instruction,
 * which begins and ends with all flags folded, does not see what the second makes of the first's.
 */
import type { Rng } from "../../src/sim/rng.ts";
import { FLAG } from "../../src/cpu/state.ts";
import { type Executed, undefinedFlags } from "./defined-flags.ts";
import type { Encoding } from "./encodings.ts";
import { generate } from "./generate.ts";
import { type Bits, IN } from "./records.ts";

const SETS = new RegExp(
  "^((add|or|adc|sbb|and|sub|xor|cmp|test|xadd|cmpxchg|rol|ror|rcl|rcr|shl|shr|sar|shld|shrd)_|(inc|dec|neg)_E$|popcnt|" +
    "(clc|stc|cmc|sahf)$|(ptest|u?comis[sd]|pcmp[ei]str[im])_xmm$)",
);
const READS = /^((set|cmov)\d+_|(adc|sbb)_|(inc|dec|not)_E$|(lahf|cmc|clc|stc|sahf)$)/;
/** Shifts by one place: their count does not depend on what went before. */
const BY_ONE = /^(rol|ror|rcl|rcr|shl|shr|sar)_EI$/;

/** The encodings with register operands only: no address depends on the first instruction. */
const registerForms = (all: readonly Encoding[], wanted: (e: Encoding) => boolean): Encoding[] =>
  all.filter(e => wanted(e) && e.register).map(e => ({ ...e, memory: false }));

export class Pairs {
  readonly #setters: readonly Encoding[];
  readonly #readers: readonly Encoding[];
  readonly #bits: Bits;

  constructor(all: readonly Encoding[], bits: Bits) {
    this.#bits = bits;
    this.#setters = registerForms(all, e => SETS.test(e.row.name));
    this.#readers = registerForms(all, e => READS.test(e.row.name) || (BY_ONE.test(e.row.name) && e.row.imm === "one"));
  }

  /** Writes a case at `at`. */
  make(rng: Rng, view: DataView, at: number): Executed {
    for (;;) {
      const second = generate(rng.pick(this.#readers), this.#bits, rng, view, at);
      const code = new Uint8Array(view.buffer, view.byteOffset + at + IN.code, 16);
      const tail = code.slice(0, second.length);
      const first = generate(rng.pick(this.#setters), this.#bits, rng, view, at);
      const free = undefinedFlags(first);
      // An undefined flag must not be read; only LAHF reads AF.
      if ((free & ~FLAG.af) !== 0 || (free !== 0 && second.name === "lahf")) continue;
      if (first.length + second.length > 15) continue;
      code.set(tail, first.length);
      return { ...second, length: first.length + second.length, free };
    }
  }
}
