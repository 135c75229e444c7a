/**
 * Chooses a memory operand for a wanted address: form, registers, scale and displacement at random, and solves for the base register (Intel SDM vol. 2,
 * tables 2-1 to 2-3).
 */
import type { Rng } from "../../src/sim/rng.ts";
import { edge32 } from "./values.ts";

const RSP = 4;
const RBP = 5;

/** Registers of a case, as far as address solving needs them. */
export type Registers = { get(n: number): bigint; set(n: number, value: bigint): void };

export type MemoryOperand = {
  /** mod and rm; the reg field is 0. */
  modrm: number;
  sib: number | null;
  /** REX.X (2) and REX.B (1). */
  rex: number;
  disp: number;
  dispBytes: 0 | 1 | 2 | 4;
  /** `disp` is to be made relative to the end of the instruction. */
  relative: boolean;
  /** Registers that take part. */
  registers: number[];
};

export type AddressWish = {
  readonly target: bigint;
  readonly addressSize: 16 | 32 | 64;
  readonly long: boolean;
  /** Registers whose value must stay. */
  readonly fixed: readonly number[];
};

const signed8 = (n: number): number => (n << 24) >> 24;
const mask = (bits: number): bigint => (1n << BigInt(bits)) - 1n;

/** Sets the low `bits` of a register, leaves what is above. */
function setLow(r: Registers, n: number, bits: number, value: bigint): void {
  r.set(n, (r.get(n) & ~mask(bits)) | (value & mask(bits)));
}

/** Inverse of an odd number modulo 2^64. */
function inverse(n: bigint): bigint {
  let x = n;
  for (let i = 0; i < 6; i++) x = (x * (2n - n * x)) & mask(64);
  return x;
}

const PAIRS16 = [
  [3, 6],
  [3, 7],
  [5, 6],
  [5, 7],
  [6, -1],
  [7, -1],
  [5, -1],
  [3, -1],
] as const;

function solve16(rng: Rng, r: Registers, wish: AddressWish): MemoryOperand {
  const mod = rng.below(3);
  const rm = rng.below(8);
  const operand: MemoryOperand = {
    modrm: (mod << 6) | rm,
    sib: null,
    rex: 0,
    disp: 0,
    dispBytes: 0,
    relative: false,
    registers: [],
  };
  if (mod === 0 && rm === 6) return { ...operand, disp: Number(wish.target & 0xffffn), dispBytes: 2 };
  const [base, index] = PAIRS16[rm]!;
  if (mod === 1) operand.disp = signed8(edge32(rng));
  if (mod === 2) operand.disp = edge32(rng) & 0xffff;
  const rest = wish.target - BigInt(operand.disp) - (index < 0 ? 0n : r.get(index));
  setLow(r, base, 16, rest);
  return { ...operand, dispBytes: mod as 0 | 1 | 2, registers: index < 0 ? [base] : [base, index] };
}

/** A displacement of the size that `mod` says. */
function displacement(rng: Rng, mod: number): number {
  return mod === 0 ? 0 : mod === 1 ? signed8(edge32(rng)) : edge32(rng) | 0;
}

/** Index without base: the displacement takes what the scale leaves. */
function solveIndexOnly(rng: Rng, r: Registers, wish: AddressWish, index: number, scale: number): MemoryOperand {
  const bits = wish.addressSize;
  let disp = BigInt(edge32(rng) | 0);
  const factor = 1n << BigInt(scale);
  disp += (((wish.target - disp) % factor) + factor) % factor;
  disp = BigInt.asIntN(32, disp);
  const quotient = ((wish.target - disp) & mask(bits)) >> BigInt(scale);
  // Bits that the scale shifts out do not matter.
  setLow(r, index, bits, quotient | (BigInt(rng.u32()) << BigInt(bits - scale)));
  return {
    modrm: 4,
    sib: (scale << 6) | ((index & 7) << 3) | 5,
    rex: index >= 8 ? 2 : 0,
    disp: Number(disp),
    dispBytes: 4,
    relative: false,
    registers: [index],
  };
}

/** A displacement alone: RIP-relative, or absolute. */
function solvePlain(rng: Rng, wish: AddressWish): MemoryOperand {
  const disp = Number(BigInt.asIntN(32, wish.target));
  const relative = wish.long && rng.chance(3, 4);
  const modrm = wish.long && !relative ? 4 : 5;
  const sib = modrm === 4 ? 0x25 : null;
  return { modrm, sib, rex: 0, disp, dispBytes: 4, relative, registers: [] };
}

function solveBase(rng: Rng, r: Registers, wish: AddressWish, base: number, index: number): MemoryOperand | null {
  const bits = wish.addressSize;
  let mod = rng.below(3);
  if ((base & 7) === RBP && mod === 0) mod = 1;
  const scale = rng.below(4);
  let disp = displacement(rng, mod);
  if (wish.fixed.includes(base)) {
    if (base === index) return null;
    const offset = index < 0 ? 0n : r.get(index) << BigInt(scale);
    const needed = BigInt.asIntN(bits, wish.target - r.get(base) - offset);
    mod = 2;
    disp = Number(BigInt.asIntN(32, needed));
    if (BigInt(disp) !== needed) return null;
  } else if (base === index) {
    const sum = wish.target - BigInt(disp);
    if (scale === 0) {
      if ((sum & 1n) !== 0n) return null;
      setLow(r, base, bits, (sum & mask(bits)) >> 1n);
    } else setLow(r, base, bits, sum * inverse(1n + (1n << BigInt(scale))));
  } else setLow(r, base, bits, wish.target - BigInt(disp) - (index < 0 ? 0n : r.get(index) << BigInt(scale)));
  const needsSib = index >= 0 || (base & 7) === RSP || rng.chance(1, 8);
  const rm = needsSib ? 4 : base & 7;
  return {
    modrm: (mod << 6) | rm,
    sib: needsSib ? (scale << 6) | (((index < 0 ? RSP : index) & 7) << 3) | (base & 7) : null,
    rex: (base >= 8 ? 1 : 0) | (index >= 8 ? 2 : 0),
    disp,
    dispBytes: mod === 0 ? 0 : mod === 1 ? 1 : 4,
    relative: false,
    registers: index < 0 ? [base] : [base, index],
  };
}

/** A memory operand at `wish.target`; may change registers that are not fixed. */
export function solveAddress(rng: Rng, r: Registers, wish: AddressWish): MemoryOperand {
  if (wish.addressSize === 16) return solve16(rng, r, wish);
  const count = wish.long ? 16 : 8;
  const near = BigInt.asIntN(32, wish.target) === wish.target;
  for (;;) {
    const form = rng.below(8);
    if (form === 0 && near) return solvePlain(rng, wish);
    let index = form < 4 ? rng.below(count) : -1;
    if (index === RSP) index = -1;
    if (form === 1) {
      if (index < 0 || wish.fixed.includes(index)) continue;
      return solveIndexOnly(rng, r, wish, index, rng.below(4));
    }
    const operand = solveBase(rng, r, wish, rng.below(count), index);
    if (operand !== null) return operand;
  }
}
