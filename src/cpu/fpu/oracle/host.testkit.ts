/**
 * For tests only: executes single instructions on the host's processor through harness.c, and makes operands.
 *
 * The harness is compiled by gcc into a temporary directory. Where gcc is absent, or the host is not an x86-64 Linux,
 * `HostOracle.create()` returns undefined and the tests that need it skip themselves visibly.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Bytes of an input record and of an output record. */
export const RECORD = 304;
/** Offsets in an input record. */
export const IN = { code: 0, mxcsr: 16, eflags: 20, rax: 24, fpu: 32, xmm0: 144, xmm1: 160, mem: 176 } as const;
/** Offsets in an output record. */
export const OUT = { signal: 0, mxcsr: 4, eflags: 8, rax: 16, fpu: 32, xmm0: 144, xmm1: 160, mem: 176 } as const;
/**
 * Cases of a comparison with the host: `count`, times ORACLE_SCALE if that is set (a nightly run sets 100), in which
 * case the random operands are different ones too.
 */
const scale = Math.max(1, Number(process.env.ORACLE_SCALE ?? 1));
export function caseCount(count: number): number {
  return count * scale;
}

export const SIGILL = 4;
export const SIGFPE = 8;

export class HostOracle {
  private readonly directory: string;
  private readonly program: string;

  private constructor(directory: string) {
    this.directory = directory;
    this.program = join(directory, "harness");
  }

  static create(): HostOracle | undefined {
    if (process.arch !== "x64" || process.platform !== "linux") return undefined;
    const oracle = new HostOracle(mkdtempSync(join(tmpdir(), "fpu-oracle-")));
    const source = join(dirname(fileURLToPath(import.meta.url)), "harness.c");
    const gcc = spawnSync("gcc", ["-O1", "-mno-red-zone", "-o", oracle.program, source], { encoding: "utf8" });
    if (gcc.status === 0) return oracle;
    oracle.dispose();
    if (gcc.error === undefined) throw new Error(`harness.c does not compile:\n${gcc.stderr}`);
    return undefined;
  }

  /** Runs input records; the answer has as many output records. */
  run(input: Uint8Array): DataView {
    const { status, stdout } = spawnSync(this.program, { input, maxBuffer: input.length + 4096 });
    if (status !== 0 || stdout.length !== input.length) {
      throw new Error(`the harness failed: status ${status}, ${stdout?.length} of ${input.length} bytes`);
    }
    return new DataView(stdout.buffer, stdout.byteOffset, stdout.length);
  }

  dispose(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A small reproducible generator (a 32-bit permuted congruential one). */
export class TestRng {
  private state: number;
  constructor(seed: number) {
    this.state = seed >>> 0;
  }
  u32(): number {
    this.state = (Math.imul(this.state, 747796405) + 2891336453) >>> 0;
    const word = Math.imul((this.state >>> ((this.state >>> 28) + 4)) ^ this.state, 277803737) >>> 0;
    return ((word >>> 22) ^ word) >>> 0;
  }
  below(n: number): number {
    return Math.floor((this.u32() / 4294967296) * n);
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

type F80Words = readonly [se: number, hi: number, lo: number];

const F80_EDGES: readonly F80Words[] = [
  [0, 0, 0],
  [0, 0, 1],
  [0, 0x7fffffff, 0xffffffff],
  [0, 0x80000000, 0],
  [0, 0x80000000, 1],
  [1, 0x80000000, 0],
  [0x7ffe, 0xffffffff, 0xffffffff],
  [0x7ffe, 0xffffff00, 0],
  [0x7fff, 0x80000000, 0],
  [0x7fff, 0xc0000000, 0],
  [0x7fff, 0xc0001234, 0x56789abc],
  [0x7fff, 0x80000001, 0],
  [0x7fff, 0xa0000000, 0x1000],
  [0x7fff, 0, 0],
  [0x7fff, 0x40000000, 1],
  [0x3fff, 0x12345678, 0],
  [0x3fff, 0x80000000, 0],
  [0x3fff, 0x80000000, 1],
  [0x3ffe, 0xffffffff, 0xffffffff],
  [0x4000, 0x80000000, 0],
  [0x3ffe, 0x80000000, 0],
  [0x403e, 0x80000000, 0],
  [0x403e, 0x80000000, 1],
  [0x403d, 0xffffffff, 0xfffffffe],
  [0x401e, 0x80000000, 0],
  [0x401d, 0xffffffff, 0],
  [0x400e, 0x80000000, 0],
  [0x400d, 0xffff0000, 0],
  [0x3c01, 0x80000000, 0],
  [0x3c00, 0xffffffff, 0xfffffc00],
  [0x3f81, 0x80000000, 0],
  [0x3f80, 0xffffff80, 0],
  [0x3f80, 0xffffffff, 0],
  [0x43fe, 0xffffffff, 0xfffff800],
  [0x43fe, 0xffffffff, 0xfffffc00],
  [0x407e, 0xffffff00, 0],
  [0x407e, 0xffffff80, 0],
];

/** An 80-bit operand: an edge value, or a random one, often near 1 in exponent and sparse in significand. */
export function randomF80(rng: TestRng): F80Words {
  const sign = rng.below(2) << 15;
  const kind = rng.below(16);
  if (kind < 3) {
    const edge = rng.pick(F80_EDGES);
    return [edge[0] | sign, edge[1], edge[2]];
  }
  let hi = (rng.u32() | 0x80000000) >>> 0;
  let lo = rng.u32();
  const shape = rng.below(6);
  if (shape === 0) lo = 0;
  if (shape === 1) lo = rng.pick([0, 0x400, 0x800, 0xc00, 0x80000000, 0x7fffffff, 0xffffffff]);
  if (shape === 2) {
    hi = (0x80000000 | (rng.below(256) << 23)) >>> 0;
    lo = 0;
  }
  if (shape === 3) hi = (hi & 0xffffff80) >>> 0;
  let exponent: number;
  if (kind < 9) exponent = 0x3fff - 4 + rng.below(9);
  else if (kind < 12) exponent = 0x3fff - 80 + rng.below(161);
  else if (kind === 12) exponent = rng.below(80);
  else if (kind === 13) exponent = 0x7ffe - rng.below(80);
  else if (kind === 14) exponent = rng.pick([0x3f81, 0x3c01, 0x43fe, 0x407e]) - 30 + rng.below(40);
  else exponent = rng.below(0x7fff);
  if (exponent === 0) hi = (hi & 0x7fffffff) >>> 0;
  return [exponent | sign, hi, lo];
}

/** A binary32 operand: special, denormal, near a boundary, or ordinary. */
export function randomF32(rng: TestRng): number {
  const sign = (rng.below(2) << 31) >>> 0;
  const kind = rng.below(12);
  let fraction = rng.u32() & 0x7fffff;
  if (rng.below(3) === 0) fraction &= rng.pick([0x700000, 0x7fff00, 0x000001, 0x400000, 0x7ff000]);
  if (rng.below(12) === 0) fraction = rng.pick([0, 1, 0x7fffff, 0x400000]);
  let exponent: number;
  if (kind < 5) exponent = 127 - 4 + rng.below(9);
  else if (kind === 5) exponent = rng.below(256);
  else if (kind === 6) exponent = rng.below(30);
  else if (kind === 7) exponent = 254 - rng.below(30);
  else if (kind === 8) exponent = 0;
  else if (kind === 9) exponent = 255;
  else exponent = 127 - 70 + rng.below(140);
  return (sign | (exponent << 23) | fraction) >>> 0;
}

/** A binary64 operand as [hi, lo]: special, denormal, near a boundary, or ordinary. */
export function randomF64(rng: TestRng): readonly [hi: number, lo: number] {
  const sign = (rng.below(2) << 31) >>> 0;
  const kind = rng.below(14);
  let top = rng.u32() & 0xfffff;
  let lo = rng.u32();
  const shape = rng.below(6);
  if (shape === 0) lo = 0;
  if (shape === 1) lo &= 0xe0000000;
  if (shape === 2) lo = rng.pick([0, 1, 0xffffffff, 0x10000000, 0x08000000, 0x18000000]);
  if (rng.below(10) === 0) top = rng.pick([0, 0x80000, 0xfffff, 1]);
  let exponent: number;
  if (kind < 5) exponent = 1023 - 4 + rng.below(9);
  else if (kind === 5) exponent = rng.below(2048);
  else if (kind === 6) exponent = rng.below(60);
  else if (kind === 7) exponent = 2046 - rng.below(60);
  else if (kind === 8) exponent = 0;
  else if (kind === 9) exponent = 2047;
  else if (kind === 10) exponent = 1023 + rng.pick([-126, -149, 127, 31, 63]) - 3 + rng.below(6);
  else exponent = 1023 - 70 + rng.below(140);
  return [(sign | (exponent << 20) | top) >>> 0, lo >>> 0];
}
