/**
 * Rearranging lanes (Intel SDM vol. 2: PUNPCK*, PACK*, UNPCK*, PSHUF*, SHUF*, PALIGNR, PSLLDQ, PSRLDQ, PMOVSX*, PMOVZX*). Shuffles by an immediate compute
 * a vector of byte numbers; when the immediate is a known constant they are one WebAssembly shuffle.
 */
import { c32, type Ex, i32, i64, select, v128, vshuffle } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import type { InstructionSet } from "../define.ts";
import type { Ops } from "../ops.ts";
import { joinLow } from "./sse-int.ts";
import {
  defineBoth,
  defineMmx,
  defineXmm,
  enterMmx,
  getMmx,
  imm8,
  requireMmx,
  setMmx,
  xmmLowVector,
  xmmSource,
} from "./sse-operands.ts";
import { dwords, fill8, fill16, fill32, i8x16, i16x8, i32x4, i64x2, IOTA, words } from "./sse-wasm.ts";

/** Lanes of `width` bytes of two vectors interleaved, from byte `from` on. */
function interleave(width: number, from: number): number[] {
  const lanes: number[] = [];
  for (let at = from; lanes.length < 16; at += width) {
    for (let i = 0; i < width; i++) lanes.push((at + i) & 15);
    for (let i = 0; i < width; i++) lanes.push(16 + ((at + i) & 15));
  }
  return lanes;
}

function defineUnpack(set: InstructionSet): void {
  for (const [suffix, width] of [
    ["bw", 1],
    ["wd", 2],
    ["dq", 4],
  ] as const) {
    const low = (a: Ex, b: Ex): Ex => vshuffle(a, b, interleave(width, 0));
    defineXmm(set, `punpckl${suffix}`, low);
    defineMmx(set, `punpckl${suffix}`, low, 32);
    defineBoth(
      set,
      `punpckh${suffix}`,
      (a, b) => vshuffle(a, b, interleave(width, 8)),
      (a, b) => vshuffle(a, b, interleave(width, 4)),
    );
  }
  defineXmm(set, "punpcklqdq", joinLow);
  defineXmm(set, "punpckhqdq", (a, b) => vshuffle(a, b, interleave(8, 8)));
}

function definePack(set: InstructionSet): void {
  for (const [name, narrow] of [
    ["packsswb", i8x16.narrowS],
    ["packuswb", i8x16.narrowU],
    ["packssdw", i16x8.narrowS],
  ] as const) {
    defineBoth(set, name, narrow, (a, b, o) => {
      const both = o.let(joinLow(a, b));
      return narrow(both, both);
    });
  }
  defineXmm(set, "packusdw", i16x8.narrowU);
}

/** Two bits of `imm` for each of four 32-bit lanes: lane i is (imm >> 2i) & 3. */
function pairsOfBits(imm: Ex): Ex {
  const products = i32x4.mul(i32x4.splat(imm), dwords(64, 16, 4, 1));
  return v128.and(i32x4.shrU(products, c32(6)), fill32(3));
}
/** Byte numbers that choose 32-bit lanes by the immediate. */
function dwordIndex(imm: Ex): Ex {
  return i32x4.add(i32x4.mul(pairsOfBits(imm), fill32(0x04040404)), fill32(0x03020100));
}
/** Byte numbers that choose among words 0 to 3 (or 4 to 7) by the immediate; the other four stay. */
function wordIndex(imm: Ex, high: boolean): Ex {
  const scale = [64, 16, 4, 1];
  const none = [0, 0, 0, 0];
  const products = i16x8.mul(i16x8.splat(imm), words(...(high ? [...none, ...scale] : [...scale, ...none])));
  const lanes = v128.and(i16x8.shrU(products, c32(6)), fill16(3));
  const still = high ? [0x0100, 0x0302, 0x0504, 0x0706] : [0x0908, 0x0b0a, 0x0d0c, 0x0f0e];
  const first = high ? [0x0908, 0x0908, 0x0908, 0x0908] : [0x0100, 0x0100, 0x0100, 0x0100];
  return i16x8.add(i16x8.mul(lanes, fill16(0x0202)), words(...(high ? [...still, ...first] : [...first, ...still])));
}
/** Byte numbers for a constant immediate. */
function constantLanes(imm: number, width: 2 | 4, first: number): number[] {
  const lanes = Array.from({ length: 16 }, (_, i) => i);
  for (let i = 0; i < 4; i++)
    for (let j = 0; j < width; j++) lanes[first + i * width + j] = first + ((imm >> (2 * i)) & 3) * width + j;
  return lanes;
}

function defineShuffles(set: InstructionSet): void {
  const shuffles = {
    pshufd: { width: 4, first: 0, index: dwordIndex },
    pshuflw: { width: 2, first: 0, index: (imm: Ex): Ex => wordIndex(imm, false) },
    pshufhw: { width: 2, first: 8, index: (imm: Ex): Ex => wordIndex(imm, true) },
  } as const;
  const shuffle = (name: keyof typeof shuffles, a: Ex, imm: Ex): Ex => {
    const { width, first, index } = shuffles[name];
    return typeof imm.k === "number"
      ? vshuffle(a, a, constantLanes(imm.k, width, first))
      : i8x16.swizzle(a, index(imm));
  };
  for (const name of ["pshufd", "pshuflw", "pshufhw"] as const)
    defineXmm(set, name, (_a, b, o) => shuffle(name, b, imm8(o)));
  defineMmx(set, "pshufw", (_a, b, o) => shuffle("pshuflw", b, imm8(o)));
  // Bit 7 of a byte number gives zero; of the others only the low bits count.
  defineBoth(
    set,
    "pshufb",
    (a, b) => i8x16.swizzle(a, v128.and(b, fill8(0x8f))),
    (a, b) => i8x16.swizzle(a, v128.and(b, fill8(0x87))),
  );
}

/** Bytes `count` to `count` + 15 of high:low. */
function align(o: Ops, high: Ex, low: Ex, count: Ex): Ex {
  const index = o.let(i8x16.add(IOTA, i8x16.splat(count)));
  return v128.or(i8x16.swizzle(low, index), i8x16.swizzle(high, i8x16.sub(index, fill8(16))));
}
const atMost = (count: Ex, limit: number): Ex => select(i32.gtU(count, c32(limit)), c32(limit), count);

function defineByteShifts(set: InstructionSet): void {
  defineBoth(
    set,
    "palignr",
    (a, b, o) => align(o, a, b, atMost(imm8(o), 32)),
    (a, b, o) => i8x16.swizzle(joinLow(b, a), i8x16.add(IOTA, i8x16.splat(atMost(imm8(o), 16)))),
  );
  for (const [name, move] of [
    ["psrldq", i8x16.add],
    ["pslldq", i8x16.sub],
  ] as const) {
    set.define(`${name}_imm_xmm`, [128], "reg", o => {
      o.requireVector("sse");
      const index = move(IOTA, i8x16.splat(atMost(imm8(o), 16)));
      o.setXmm(L.REC.r2, o.let(i8x16.swizzle(o.getXmm(L.REC.r2), index)));
      o.next();
    });
  }
}

function defineFloatShuffles(set: InstructionSet): void {
  defineXmm(set, "unpcklps", (a, b) => vshuffle(a, b, interleave(4, 0)));
  defineXmm(set, "unpckhps", (a, b) => vshuffle(a, b, interleave(4, 8)));
  defineXmm(set, "shufps", (a, b, o) => {
    const index = o.let(dwordIndex(imm8(o)));
    const low = i8x16.swizzle(a, index);
    return vshuffle(low, i8x16.swizzle(b, index), [0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31]);
  });
  defineXmm(set, "shufpd", (a, b, o) => {
    const imm = imm8(o);
    const choose = (v: Ex, bit: number): Ex => select(i32.and(imm, c32(bit)), i64x2.extract(v, 1), i64x2.extract(v, 0));
    return i64x2.replace(i64x2.splat(choose(a, 1)), 1, choose(b, 2));
  });
}

/** PMOVSX and PMOVZX: the source is as short as the result needs. */
function defineExtensions(set: InstructionSet): void {
  const bw = { s: i16x8.extendLowS, z: i16x8.extendLowU };
  const wd = { s: i32x4.extendLowS, z: i32x4.extendLowU };
  const dq = { s: i64x2.extendLowS, z: i64x2.extendLowU };
  const steps = { bw: [bw], bd: [bw, wd], bq: [bw, wd, dq], wd: [wd], wq: [wd, dq], dq: [dq] } as const;
  const bits = { bw: 64, bd: 32, bq: 16, wd: 64, wq: 32, dq: 64 } as const;
  for (const kind of ["bw", "bd", "bq", "wd", "wq", "dq"] as const) {
    for (const sign of ["s", "z"] as const) {
      set.define(`pmov${sign}x${kind}_xmm`, [128], "both", (o, _size, e) => {
        o.requireVector("sse");
        const size = bits[kind];
        let value: Ex;
        if (!e.memory) value = xmmSource(o, e);
        else if (size === 16) value = i64x2.splat(i64.extendU(o.load(o.segment(), o.address(), 16)));
        else value = xmmLowVector(o, e, size);
        for (const step of steps[kind]) value = step[sign](value);
        o.setXmm(L.REC.r1, o.let(value));
        o.next();
      });
    }
  }
}

/** PINSRW and PEXTRW of the 0F map; the SSE4 forms are in sse4.ts. */
function defineWords(set: InstructionSet): void {
  set.define("pextrw_reg_xmm", [32], "reg", o => {
    o.requireVector("sse");
    const lane = i32.and(o.field32(L.REC.imm), c32(7));
    const address = i32.add(o.regAddress(L.REC.r2), i32.shl(lane, c32(1)));
    o.setReg(L.REC.r1, 32, o.let(i32.load16u(address, L.XMM)));
    o.next();
  });
  set.define("pextrw_reg_mmx", [32], "reg", o => {
    requireMmx(o);
    const lane = i32.and(o.field32(L.REC.imm), c32(3));
    const address = i32.add(o.regAddress(L.REC.r2), i32.shl(lane, c32(1)));
    enterMmx(o);
    o.setReg(L.REC.r1, 32, o.let(i32.load16u(address, L.X87)));
    o.next();
  });
  set.define("pinsrw_xmm", [32], "both", (o, _size, e) => {
    o.requireVector("sse");
    const value = e.read(16);
    const lane = i32.and(o.field32(L.REC.imm), c32(7));
    o.f.store16(i32.add(o.regAddress(L.REC.r1), i32.shl(lane, c32(1))), L.XMM, value);
    o.next();
  });
  set.define("pinsrw_mmx", [32], "both", (o, _size, e) => {
    requireMmx(o);
    const value = e.read(16);
    const lane = i32.and(o.field32(L.REC.imm), c32(3));
    enterMmx(o);
    o.f.store16(i32.add(o.regAddress(L.REC.r1), i32.shl(lane, c32(1))), L.X87, value);
    setMmx(o, L.REC.r1, o.let(getMmx(o, L.REC.r1)));
    o.next();
  });
}

export function defineVectorShuffle(set: InstructionSet): void {
  defineUnpack(set);
  definePack(set);
  defineShuffles(set);
  defineByteShifts(set);
  defineFloatShuffles(set);
  defineExtensions(set);
  defineWords(set);
}
