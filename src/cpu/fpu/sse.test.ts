/** What the SSE slow path promises apart from numbers: destinations, #XM, sticky flags, approximations. */
import { describe, expect, it } from "vitest";
import { TestRng } from "./oracle/host.testkit.ts";
import { sseOp } from "./sse.ts";
import { SSE_OP } from "./sse-ops.ts";

const view = new DataView(new ArrayBuffer(64));
const DST = 0;
const SRC = 16;
const MXCSR = 32;

function floats(at: number, values: number[]): void {
  values.forEach((v, i) => {
    view.setFloat32(at + i * 4, v, true);
  });
}
function read(at: number): number[] {
  return [0, 4, 8, 12].map(i => view.getFloat32(at + i, true));
}
function run(op: number, imm = 0, mxcsr = 0x1f80): number {
  view.setUint32(MXCSR, mxcsr, true);
  return sseOp(op, view, DST, SRC, imm, MXCSR);
}

describe("SSE operations", () => {
  it("packed: every lane; scalar: the lowest lane only", () => {
    floats(DST, [1, 2, 3, 4]);
    floats(SRC, [10, 20, 30, 40]);
    expect(run(SSE_OP.ADDPS)).toBe(0);
    expect(read(DST)).toEqual([11, 22, 33, 44]);
    expect(run(SSE_OP.SUBSS)).toBe(0);
    expect(read(DST)).toEqual([1, 22, 33, 44]);
  });

  it("an unmasked exception in one lane leaves the destination and returns 1; flags are sticky (11.5)", () => {
    floats(DST, [1, 1, 1, 1]);
    floats(SRC, [3, 0, 1, 1]);
    expect(run(SSE_OP.DIVPS, 0, 0x1f80 & ~0x200)).toBe(1);
    expect(read(DST)).toEqual([1, 1, 1, 1]);
    // ZE only: an unmasked pre-computation exception keeps the inexact quotient 1/3 from being computed.
    expect(view.getUint32(MXCSR, true)).toBe(0x1d84);
    expect(run(SSE_OP.DIVPS, 0, 0x1f81)).toBe(0);
    expect(read(DST)).toEqual([Math.fround(1 / 3), Number.POSITIVE_INFINITY, 1, 1]);
    expect(view.getUint32(MXCSR, true)).toBe(0x1f81 | 0x24);
  });

  it("COMISS returns ZF, PF, CF (vol 2 COMISS) and changes no register", () => {
    const flags = (a: number, b: number) => {
      floats(DST, [a, 9, 9, 9]);
      floats(SRC, [b, 9, 9, 9]);
      const result = run(SSE_OP.COMISS);
      expect(read(DST).slice(1)).toEqual([9, 9, 9]);
      return result;
    };
    expect(flags(2, 1)).toBe(0);
    expect(flags(1, 2)).toBe(0x0100);
    expect(flags(2, 2)).toBe(0x4000);
    expect(flags(2, Number.NaN)).toBe(0x4500);
    expect(view.getUint32(MXCSR, true)).toBe(0x1f81);
  });

  it("CMPPS predicates 0 to 7 (vol 2 CMPPS)", () => {
    const rows = [
      [0, 0, -1, 0],
      [-1, 0, 0, 0],
      [-1, 0, -1, 0],
      [0, 0, 0, -1],
      [-1, -1, 0, -1],
      [0, -1, -1, -1],
      [0, -1, 0, -1],
      [-1, -1, -1, 0],
    ];
    rows.forEach((row, predicate) => {
      floats(DST, [1, 2, 2, Number.NaN]);
      floats(SRC, [2, 1, 2, 1]);
      run(SSE_OP.CMPPS, predicate);
      expect([0, 4, 8, 12].map(i => view.getInt32(DST + i, true))).toEqual(row);
    });
  });

  it("ROUNDSS takes its mode from the immediate or MXCSR, and bit 3 keeps PE away", () => {
    const round = (imm: number, mxcsr: number) => {
      floats(SRC, [2.5]);
      run(SSE_OP.ROUNDSS, imm, mxcsr);
      return [view.getFloat32(DST, true), view.getUint32(MXCSR, true) & 0x3f];
    };
    expect(round(0, 0x5f80)).toEqual([2, 0x20]);
    expect(round(2, 0x1f80)).toEqual([3, 0x20]);
    expect(round(4, 0x5f80)).toEqual([3, 0x20]);
    expect(round(0xa, 0x1f80)).toEqual([3, 0]);
  });

  it("DPPS sums selected products and broadcasts them", () => {
    floats(DST, [1, 2, 3, 4]);
    floats(SRC, [10, 100, 1000, 10000]);
    run(SSE_OP.DPPS, 0x59);
    expect(read(DST)).toEqual([3010, 0, 0, 3010].map((v, i) => (i === 0 || i === 3 ? v : 0)));
  });

  it("HADDPS and ADDSUBPS pair lanes as the manual draws them", () => {
    floats(DST, [1, 2, 3, 4]);
    floats(SRC, [10, 20, 30, 40]);
    run(SSE_OP.HADDPS);
    expect(read(DST)).toEqual([3, 7, 30, 70]);
    run(SSE_OP.ADDSUBPS);
    expect(read(DST)).toEqual([-7, 27, 0, 110]);
  });

  it("CVTPD2PS clears the upper half, CVTSD2SI writes 4 or 8 bytes", () => {
    floats(DST, [1, 2, 3, 4]);
    view.setFloat64(SRC, -1.5, true);
    view.setFloat64(SRC + 8, 7, true);
    run(SSE_OP.CVTPD2PS);
    expect(read(DST)).toEqual([-1.5, 7, 0, 0]);
    view.setBigUint64(DST, 0x1111111122222222n, true);
    run(SSE_OP.CVTSD2SI32);
    expect(view.getBigUint64(DST, true)).toBe(0x11111111fffffffen);
    run(SSE_OP.CVTSD2SI64);
    expect(view.getBigInt64(DST, true)).toBe(-2n);
  });
});

describe("RCPPS and RSQRTPS", () => {
  const one = (op: number, bits: number) => {
    view.setUint32(SRC, bits, true);
    run(op);
    expect(view.getUint32(MXCSR, true)).toBe(0x1f80);
    return view.getUint32(DST, true);
  };

  it("have a relative error of at most 1.5 * 2^-12", () => {
    const rng = new TestRng(31);
    for (let n = 0; n < 5000; n++) {
      const bits = (rng.u32() & 0x807fffff) | ((1 + rng.below(250)) << 23);
      view.setInt32(SRC, bits, true);
      const x = view.getFloat32(SRC, true);
      run(SSE_OP.RCPSS);
      expect(Math.abs(view.getFloat32(DST, true) * x - 1)).toBeLessThanOrEqual(1.5 * 2 ** -12);
      view.setInt32(SRC, bits & 0x7fffffff, true);
      run(SSE_OP.RSQRTSS);
      expect(Math.abs(view.getFloat32(DST, true) * Math.sqrt(Math.abs(x)) - 1)).toBeLessThanOrEqual(1.5 * 2 ** -12);
    }
  });

  it("treat denormals as zeros, flush tiny results, raise nothing (vol 2 RCPPS, RSQRTPS)", () => {
    expect(one(SSE_OP.RCPSS, 0x80000001)).toBe(0xff800000);
    expect(one(SSE_OP.RCPSS, 0x7f7fffff)).toBe(0);
    expect(one(SSE_OP.RCPSS, 0xff800000)).toBe(0x80000000);
    expect(one(SSE_OP.RCPSS, 0x7f800001)).toBe(0x7fc00001);
    expect(one(SSE_OP.RSQRTSS, 0x80000000)).toBe(0xff800000);
    expect(one(SSE_OP.RSQRTSS, 0xbf800000)).toBe(0xffc00000);
    expect(one(SSE_OP.RSQRTSS, 0xff800000)).toBe(0xffc00000);
    expect(one(SSE_OP.RSQRTSS, 0x7f800000)).toBe(0);
    expect(one(SSE_OP.RSQRTSS, 0x40800000)).toBe(0x3f000000);
  });
});
