/**
 * SSE4.1 instructions that are neither arithmetic nor rearrangement of whole vectors, and those on general registers that came with SSE4.2 and later (Intel
 * SDM vol. 2: BLEND*, PBLEND*, PTEST, PHMINPOSUW, MPSADBW, PINSR*, PEXTR*, EXTRACTPS, INSERTPS, CRC32, MOVBE).
 */
import { c32, c64, type Ex, i32, i64, TY, v128, vshuffle } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import { type InstructionSet, type Rm, WIDE_SIZES } from "../define.ts";
import type { Ops, Size } from "../ops.ts";
import { setOrder } from "./sse-fp.ts";
import { absoluteDifference } from "./sse-int.ts";
import { defineXmm, imm8, widen, xmmSource } from "./sse-operands.ts";
import { bitselect, dwords, i8x16, i16x8, i32x4, i64x2, IOTA, words } from "./sse-wasm.ts";

/** Lane masks from the bits of the immediate. */
const bitsOf16 = (imm: Ex): Ex => {
  const bits = words(1, 2, 4, 8, 16, 32, 64, 128);
  return i16x8.eq(v128.and(i16x8.splat(imm), bits), bits);
};
const bitsOf32 = (imm: Ex, ...bits: number[]): Ex => {
  const lanes = dwords(...bits);
  return i32x4.eq(v128.and(i32x4.splat(imm), lanes), lanes);
};

function defineBlends(set: InstructionSet): void {
  defineXmm(set, "pblendw", (a, b, o) => bitselect(b, a, bitsOf16(imm8(o))));
  defineXmm(set, "blendps", (a, b, o) => bitselect(b, a, bitsOf32(imm8(o), 1, 2, 4, 8)));
  defineXmm(set, "blendpd", (a, b, o) => bitselect(b, a, bitsOf32(imm8(o), 1, 1, 2, 2)));
  // By the sign bits of XMM0.
  const mask = (o: Ops): Ex => v128.load(o.cpu, L.XMM);
  defineXmm(set, "pblendvb", (a, b, o) => bitselect(b, a, i8x16.shrS(mask(o), c32(7))));
  defineXmm(set, "blendvps", (a, b, o) => bitselect(b, a, i32x4.shrS(mask(o), c32(31))));
  defineXmm(set, "blendvpd", (a, b, o) => bitselect(b, a, i64x2.shrS(mask(o), c32(63))));
}

function defineTest(set: InstructionSet): void {
  set.define("ptest_xmm", [128], "both", (o, _size, e) => {
    o.requireVector("sse");
    const b = xmmSource(o, e);
    const a = o.let(o.getXmm(L.REC.r1));
    setOrder(o, i32.eqz(v128.anyTrue(v128.and(b, a))), c32(0), i32.eqz(v128.anyTrue(v128.andnot(b, a))));
    o.next();
  });
}

/** The smallest of eight words and its place: place and word are packed into one number, the word on top. */
function smallestWord(o: Ops, source: Ex): Ex {
  const low = v128.or(i32x4.shl(i32x4.extendLowU(source), c32(3)), dwords(0, 1, 2, 3));
  const high = v128.or(i32x4.shl(i32x4.extendHighU(source), c32(3)), dwords(4, 5, 6, 7));
  const four = o.let(i32x4.minU(low, high));
  const two = o.let(i32x4.minU(four, vshuffle(four, four, [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7])));
  const one = i32x4.minU(two, vshuffle(two, two, [4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]));
  const packed = o.let(i32x4.extract(one, 0));
  return widen(i32.or(i32.shrU(packed, c32(3)), i32.shl(i32.and(packed, c32(7)), c32(16))), 32);
}

/** Eight sums of four absolute differences: a sliding window of the destination against one block of four source bytes. */
function slidingSums(o: Ops, a: Ex, b: Ex): Ex {
  const imm = imm8(o);
  const window = o.let(i32.and(imm, c32(4)));
  const block = o.let(i32.shl(i32.and(imm, c32(3)), c32(2)));
  let sum = v128.zero();
  for (let i = 0; i < 4; i++) {
    const bytes = o.let(i8x16.swizzle(a, i8x16.add(IOTA, i8x16.splat(i32.add(window, c32(i))))));
    const other = o.let(i8x16.swizzle(b, i8x16.splat(i32.add(block, c32(i)))));
    sum = o.let(i16x8.add(sum, i16x8.extendLowU(absoluteDifference(bytes, other))));
  }
  return sum;
}

/** Address of element `lane` (taken modulo the number of elements) of the XMM register in `field`. */
function elementAddress(o: Ops, field: number, bytes: 1 | 2 | 4 | 8): Ex {
  const lane = i32.and(o.field32(L.REC.imm), c32(16 / bytes - 1));
  return i32.add(o.regAddress(field), i32.mul(lane, c32(bytes)));
}

/** Writes an element to memory, or zero-extended to a general register. */
function writeElement(o: Ops, e: Rm, bytes: 1 | 2 | 4 | 8): void {
  const size = (bytes * 8) as Size;
  const value = o.let(o.loadReg(elementAddress(o, L.REC.r1, bytes), size, L.XMM));
  if (e.memory) o.store(o.segment(), o.address(), size, value);
  else o.setReg(L.REC.r2, bytes === 8 ? 64 : 32, value);
  o.next();
}
function insertElement(o: Ops, e: Rm, bytes: 1 | 4 | 8): void {
  const value = e.read((bytes * 8) as Size);
  o.f.storeSize(bytes, elementAddress(o, L.REC.r1, bytes), L.XMM, value);
  o.next();
}

function defineElements(set: InstructionSet): void {
  const wide = (size: Size): 4 | 8 => (size === 64 ? 8 : 4);
  set.define("pextrb_xmm", [32], "both", (o, _size, e) => {
    o.requireVector("sse");
    writeElement(o, e, 1);
  });
  set.define("pextrw_xmm", [32], "both", (o, _size, e) => {
    o.requireVector("sse");
    writeElement(o, e, 2);
  });
  set.define("pextrd_xmm", [32, 64], "both", (o, size, e) => {
    o.requireVector("sse");
    writeElement(o, e, wide(size));
  });
  set.define("extractps_xmm", [32], "both", (o, _size, e) => {
    o.requireVector("sse");
    writeElement(o, e, 4);
  });
  set.define("pinsrb_xmm", [32], "both", (o, _size, e) => {
    o.requireVector("sse");
    insertElement(o, e, 1);
  });
  set.define("pinsrd_xmm", [32, 64], "both", (o, size, e) => {
    o.requireVector("sse");
    insertElement(o, e, wide(size));
  });
  // Bits 7:6 choose the source lane (of a register), 5:4 the destination lane, 3:0 clear lanes.
  set.define("insertps_xmm", [32], "both", (o, _size, e) => {
    o.requireVector("sse");
    const imm = imm8(o);
    let value: Ex;
    if (e.memory) value = o.load(o.segment(), o.address(), 32);
    else value = o.let(i32.load(i32.add(o.regAddress(L.REC.r2), i32.shl(i32.shrU(imm, c32(6)), c32(2))), L.XMM));
    const lane = i32.and(i32.shrU(imm, c32(4)), c32(3));
    const chosen = i32x4.eq(i32x4.splat(lane), dwords(0, 1, 2, 3));
    const inserted = bitselect(i32x4.splat(value), o.getXmm(L.REC.r1), chosen);
    o.setXmm(L.REC.r1, o.let(v128.andnot(inserted, bitsOf32(imm, 1, 2, 4, 8))));
    o.next();
  });
}

/** The polynomial 0x11EDC6F41, bits reflected. */
const CRC32C = 0x82f63b78 | 0;

/** Feeds the low `bits` bits of `value` (i32) into the local `crc`. */
function crcStep(o: Ops, crc: Ex, value: Ex, bits: number): void {
  o.f.set(crc, i32.xor(crc, bits === 8 ? i32.and(value, c32(0xff)) : value));
  const left = o.f.local(TY.i32);
  o.f.set(left, c32(bits / 8));
  o.f.loop(again => {
    for (let i = 0; i < 8; i++) {
      const odd = i32.sub(c32(0), i32.and(crc, c32(1)));
      o.f.set(crc, i32.xor(i32.shrU(crc, c32(1)), i32.and(odd, c32(CRC32C))));
    }
    o.f.set(left, i32.sub(left, c32(1)));
    again(left);
  });
}

function defineCrc(set: InstructionSet): void {
  const define = (name: string, sizes: readonly Size[], from: (size: Size) => Size): void =>
    set.define(name, sizes, "both", (o, size, e) => {
      const source = e.read(from(size));
      const crc = o.f.local(TY.i32);
      o.f.set(crc, o.getReg(L.REC.r1, 32));
      if (from(size) === 64) {
        crcStep(o, crc, i32.wrap(source), 32);
        crcStep(o, crc, i32.wrap(i64.shrU(source, c64(32))), 32);
      } else crcStep(o, crc, source, from(size));
      o.setReg(L.REC.r1, 32, crc);
      o.next();
    });
  define("crc32b", [32, 64], () => 8);
  define("crc32", WIDE_SIZES, size => size);
}

/** Bytes in the other order. */
function swapped(o: Ops, value: Ex, size: Size): Ex {
  const vector = o.let(i64x2.splat(size === 64 ? value : i64.extendU(value)));
  const reversed = vshuffle(vector, vector, [7, 6, 5, 4, 3, 2, 1, 0, 7, 6, 5, 4, 3, 2, 1, 0]);
  const moved = i64.shrU(i64x2.extract(reversed, 0), c64(64 - size));
  return o.let(size === 64 ? moved : i32.wrap(moved));
}

function defineMovbe(set: InstructionSet): void {
  set.define("movbe_load", WIDE_SIZES, "mem", (o, size, e) => {
    o.setReg(L.REC.r1, size, swapped(o, e.read(size), size));
    o.next();
  });
  set.define("movbe_store", WIDE_SIZES, "mem", (o, size, e) => {
    e.write(swapped(o, o.let(o.getReg(L.REC.r1, size)), size), size);
    o.next();
  });
}

export function defineSse4(set: InstructionSet): void {
  defineBlends(set);
  defineTest(set);
  defineXmm(set, "phminposuw", (_a, b, o) => smallestWord(o, b));
  defineXmm(set, "mpsadbw", (a, b, o) => slidingSums(o, a, b));
  defineElements(set);
  defineCrc(set);
  defineMovbe(set);
}
