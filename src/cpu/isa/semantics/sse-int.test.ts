/** Packed integer instructions against a model that works lane by lane on numbers (Intel SDM vol. 2, the "Operation" section of each instruction). */
import { describe, expect, it } from "vitest";
import { TestRng } from "../../fpu/oracle/host.testkit.ts";
import { VectorMachine } from "./sse.testkit.ts";

const machine = new VectorMachine();
const rng = new TestRng(0x1a4e5);

type Width = 8 | 16 | 32;
type Lane = (a: number, b: number) => number;

const toLanes = (bytes: Uint8Array, width: Width, signed: boolean): number[] => {
  const out: number[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let i = 0; i < bytes.length; i += width / 8) {
    const u = width === 8 ? view.getUint8(i) : width === 16 ? view.getUint16(i, true) : view.getUint32(i, true);
    out.push(signed && u >= 2 ** (width - 1) ? u - 2 ** width : u);
  }
  return out;
};
const toBytes = (lanes: readonly number[], width: Width): Uint8Array => {
  const out = new Uint8Array((lanes.length * width) / 8);
  const view = new DataView(out.buffer);
  lanes.forEach((n, i) => {
    if (width === 8) view.setUint8(i, n);
    else if (width === 16) view.setUint16(i * 2, n, true);
    else view.setUint32(i * 4, n, true);
  });
  return out;
};
const clamp = (n: number, low: number, high: number): number => Math.max(low, Math.min(high, n));
const s8 = (n: number): number => clamp(n, -128, 127);
const u8 = (n: number): number => clamp(n, 0, 255);
const s16 = (n: number): number => clamp(n, -32768, 32767);
const u16 = (n: number): number => clamp(n, 0, 65535);
const add: Lane = (a, b) => a + b;
const sub: Lane = (a, b) => a - b;

/** Name, opcode in the map 0F, lane width, signed lanes, and what becomes of a pair of lanes. */
const LANEWISE: readonly (readonly [string, number, Width, boolean, Lane])[] = [
  ["PADDB", 0xfc, 8, false, add],
  ["PADDW", 0xfd, 16, false, add],
  ["PADDD", 0xfe, 32, false, add],
  ["PSUBB", 0xf8, 8, false, sub],
  ["PSUBW", 0xf9, 16, false, sub],
  ["PSUBD", 0xfa, 32, false, sub],
  ["PADDSB", 0xec, 8, true, (a, b) => s8(a + b)],
  ["PADDSW", 0xed, 16, true, (a, b) => s16(a + b)],
  ["PADDUSB", 0xdc, 8, false, (a, b) => u8(a + b)],
  ["PADDUSW", 0xdd, 16, false, (a, b) => u16(a + b)],
  ["PSUBSB", 0xe8, 8, true, (a, b) => s8(a - b)],
  ["PSUBSW", 0xe9, 16, true, (a, b) => s16(a - b)],
  ["PSUBUSB", 0xd8, 8, false, (a, b) => u8(a - b)],
  ["PSUBUSW", 0xd9, 16, false, (a, b) => u16(a - b)],
  ["PMULLW", 0xd5, 16, true, (a, b) => a * b],
  ["PMULHW", 0xe5, 16, true, (a, b) => (a * b) >> 16],
  ["PMULHUW", 0xe4, 16, false, (a, b) => Math.floor((a * b) / 65536)],
  ["PAVGB", 0xe0, 8, false, (a, b) => (a + b + 1) >> 1],
  ["PAVGW", 0xe3, 16, false, (a, b) => (a + b + 1) >> 1],
  ["PMINUB", 0xda, 8, false, Math.min],
  ["PMAXUB", 0xde, 8, false, Math.max],
  ["PMINSW", 0xea, 16, true, Math.min],
  ["PMAXSW", 0xee, 16, true, Math.max],
  ["PCMPEQB", 0x74, 8, false, (a, b) => (a === b ? -1 : 0)],
  ["PCMPEQW", 0x75, 16, false, (a, b) => (a === b ? -1 : 0)],
  ["PCMPEQD", 0x76, 32, false, (a, b) => (a === b ? -1 : 0)],
  ["PCMPGTB", 0x64, 8, true, (a, b) => (a > b ? -1 : 0)],
  ["PCMPGTW", 0x65, 16, true, (a, b) => (a > b ? -1 : 0)],
  ["PCMPGTD", 0x66, 32, true, (a, b) => (a > b ? -1 : 0)],
  ["PAND", 0xdb, 8, false, (a, b) => a & b],
  ["PANDN", 0xdf, 8, false, (a, b) => ~a & b],
  ["POR", 0xeb, 8, false, (a, b) => a | b],
  ["PXOR", 0xef, 8, false, (a, b) => a ^ b],
];

/** Opcode in the map 0F, and the whole operation on 8 or 16 bytes. */
type Whole = (a: Uint8Array, b: Uint8Array) => Uint8Array;
const words = (f: (a: number[], b: number[]) => number[], from: Width, to: Width, signed: boolean): Whole => {
  return (a, b) => toBytes(f(toLanes(a, from, signed), toLanes(b, from, signed)), to);
};
const pack = (from: Width, saturate: (n: number) => number): Whole =>
  words((a, b) => [...a, ...b].map(saturate), from, (from / 2) as Width, true);
const interleave = (width: Width, high: boolean): Whole =>
  words(
    (a, b) => {
      const half = a.length / 2;
      const from = high ? half : 0;
      return a.slice(from, from + half).flatMap((n, i) => [n, b[from + i]!]);
    },
    width,
    width,
    false,
  );
const shift = (width: Width, signed: boolean, run: (a: number, count: number) => number): Whole => {
  return (a, b) => {
    const count = new DataView(b.buffer, b.byteOffset).getBigUint64(0, true);
    const n = count > 64n ? 64 : Number(count);
    return toBytes(
      toLanes(a, width, signed).map(lane => run(lane, n)),
      width,
    );
  };
};
const WHOLE: readonly (readonly [string, number, Whole])[] = [
  ["PACKSSWB", 0x63, pack(16, s8)],
  ["PACKUSWB", 0x67, pack(16, u8)],
  ["PACKSSDW", 0x6b, pack(32, s16)],
  ["PUNPCKLBW", 0x60, interleave(8, false)],
  ["PUNPCKLWD", 0x61, interleave(16, false)],
  ["PUNPCKLDQ", 0x62, interleave(32, false)],
  ["PUNPCKHBW", 0x68, interleave(8, true)],
  ["PUNPCKHWD", 0x69, interleave(16, true)],
  ["PUNPCKHDQ", 0x6a, interleave(32, true)],
  ["PSRLW", 0xd1, shift(16, false, (a, n) => Math.floor(a / 2 ** n))],
  ["PSRLD", 0xd2, shift(32, false, (a, n) => Math.floor(a / 2 ** n))],
  ["PSLLW", 0xf1, shift(16, false, (a, n) => (n > 15 ? 0 : a << n))],
  ["PSLLD", 0xf2, shift(32, false, (a, n) => (n > 31 ? 0 : a << n))],
  ["PSRAW", 0xe1, shift(16, true, (a, n) => a >> Math.min(n, 15))],
  ["PSRAD", 0xe2, shift(32, true, (a, n) => a >> Math.min(n, 31))],
  ["PMADDWD", 0xf5, words((a, b) => pairs(a).map(([x, y], i) => x * b[2 * i]! + y * b[2 * i + 1]!), 16, 32, true)],
  [
    "PSADBW",
    0xf6,
    (a, b) => {
      const out = new Uint8Array(a.length);
      for (let from = 0; from < a.length; from += 8) {
        let sum = 0;
        for (let i = from; i < from + 8; i++) sum += Math.abs(a[i]! - b[i]!);
        new DataView(out.buffer).setUint16(from, sum, true);
      }
      return out;
    },
  ],
];
function pairs(list: readonly number[]): [number, number][] {
  const out: [number, number][] = [];
  for (let i = 0; i < list.length; i += 2) out.push([list[i]!, list[i + 1]!]);
  return out;
}

const EDGES = [0, 1, 2, 15, 16, 0x7f, 0x80, 0x81, 0xfe, 0xff];
function randomBytes(length: number): Uint8Array {
  const edges = rng.below(2) === 0;
  return Uint8Array.from({ length }, () => (edges ? rng.pick(EDGES) : rng.below(256)));
}
/** A shift count is small half of the time. */
function randomSource(length: number): Uint8Array {
  const out = randomBytes(length);
  if (rng.below(2) === 0) return out;
  out.fill(0, 1, 8);
  out[0] = rng.below(70);
  return out;
}

/** `op xmm0, xmm1` and `op mm0, mm1` give what the model gives. */
function check(opcode: number, model: Whole): void {
  for (let i = 0; i < 40; i++) {
    const [a, b] = [randomBytes(16), randomSource(16)];
    machine.xmm(0).set(a);
    machine.xmm(1).set(b);
    expect(machine.run([0x66, 0x0f, opcode, 0xc1])).toBe("done");
    expect([...machine.xmm(0)], `of ${a} and ${b}`).toEqual([...model(a, b)]);
    const [c, d] = [a.slice(0, 8), b.slice(0, 8)];
    machine.st(0).set(c);
    machine.st(1).set(d);
    expect(machine.run([0x0f, opcode, 0xc1])).toBe("done");
    expect([...machine.st(0).subarray(0, 8)], `of ${c} and ${d}`).toEqual([...model(c, d)]);
  }
}

describe("packed integers, XMM and MMX (SDM vol. 2)", () => {
  it.each(LANEWISE)("%s works lane by lane", (_name, opcode, width, signed, lane) => {
    check(
      opcode,
      words((a, b) => a.map((n, i) => lane(n, b[i]!)), width, width, signed),
    );
  });
  it.each(WHOLE)("%s", (_name, opcode, model) => check(opcode, model));
});

/** Runs `code` on XMM0 and XMM1 and returns XMM0. */
function run(code: readonly number[], a: Uint8Array, b: Uint8Array): number[] {
  machine.xmm(0).set(a);
  machine.xmm(1).set(b);
  expect(machine.run(code)).toBe("done");
  return [...machine.xmm(0)];
}

describe("shuffles by an immediate (SDM vol. 2)", () => {
  const dword = (bytes: Uint8Array, lane: number): number[] => [...bytes.subarray(lane * 4, lane * 4 + 4)];
  it("PSHUFD takes each doubleword that two bits of the immediate name", () => {
    for (let imm = 0; imm < 256; imm++) {
      const [a, b] = [randomBytes(16), randomBytes(16)];
      const wanted = [0, 2, 4, 6].flatMap(at => dword(b, (imm >> at) & 3));
      expect(run([0x66, 0x0f, 0x70, 0xc1, imm], a, b)).toEqual(wanted);
    }
  });
  it("SHUFPS takes two doublewords of the destination, then two of the source", () => {
    for (let imm = 0; imm < 256; imm++) {
      const [a, b] = [randomBytes(16), randomBytes(16)];
      const wanted = [0, 2, 4, 6].flatMap(at => dword(at < 4 ? a : b, (imm >> at) & 3));
      expect(run([0x0f, 0xc6, 0xc1, imm], a, b)).toEqual(wanted);
    }
  });
  it("PSHUFLW and PSHUFHW leave the other half", () => {
    for (let imm = 0; imm < 256; imm++) {
      const [a, b] = [randomBytes(16), randomBytes(16)];
      const chosen = (first: number): number[] =>
        [0, 2, 4, 6].flatMap(at => {
          const from = first + ((imm >> at) & 3) * 2;
          return [b[from]!, b[from + 1]!];
        });
      expect(run([0xf2, 0x0f, 0x70, 0xc1, imm], a, b)).toEqual([...chosen(0), ...b.subarray(8)]);
      expect(run([0xf3, 0x0f, 0x70, 0xc1, imm], a, b)).toEqual([...b.subarray(0, 8), ...chosen(8)]);
    }
  });
  it("PALIGNR, PSRLDQ and PSLLDQ move bytes in, zeros beyond the operands", () => {
    for (let imm = 0; imm < 256; imm++) {
      const [a, b] = [randomBytes(16), randomBytes(16)];
      const both = [...b, ...a];
      const at = (list: ArrayLike<number>, i: number): number => list[i] ?? 0;
      const lanes = Array.from({ length: 16 }, (_, i) => i);
      expect(run([0x66, 0x0f, 0x3a, 0x0f, 0xc1, imm], a, b)).toEqual(lanes.map(i => at(both, i + imm)));
      expect(run([0x66, 0x0f, 0x73, 0xd8, imm], a, b)).toEqual(lanes.map(i => at(a, i + imm)));
      expect(run([0x66, 0x0f, 0x73, 0xf8, imm], a, b)).toEqual(lanes.map(i => (i < imm ? 0 : at(a, i - imm))));
    }
  });
  it("PSHUFB gives zero where bit 7 is set, else the byte that the low four bits name", () => {
    for (let i = 0; i < 200; i++) {
      const [a, b] = [randomBytes(16), randomBytes(16)];
      const wanted = [...b].map(n => (n & 0x80 ? 0 : a[n & 15]!));
      expect(run([0x66, 0x0f, 0x38, 0x00, 0xc1], a, b)).toEqual(wanted);
    }
  });
});
