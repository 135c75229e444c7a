import { describe, expect, test } from "vitest";
import {
  c32,
  c64,
  type Ex,
  f32,
  f64,
  i32,
  i64,
  select,
  TY,
  type Ty,
  v128,
  vbin,
  vextract,
  vreplace,
  vshift,
  vshuffle,
  vsplat,
  vtest,
} from "./expr.ts";
import { FunctionBuilder, ModuleBuilder, type Signature } from "./wasm.ts";

const { i32: I, i64: J, f64: D } = TY;
type Made = { readonly exports: Record<string, (...args: never[]) => unknown>; readonly memory: DataView };

/** Builds, compiles and links what `fill` adds. */
function make(
  fill: (m: ModuleBuilder) => void,
  imports: Record<string, (...args: number[]) => unknown> = {},
  tableSize = 8,
): Made {
  const m = new ModuleBuilder(1, tableSize);
  fill(m);
  const memory = new WebAssembly.Memory({ initial: 1 });
  const table = new WebAssembly.Table({ element: "anyfunc", initial: tableSize });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(m.finish()), { env: { memory, table, ...imports } });
  return { exports: instance.exports as Made["exports"], memory: new DataView(memory.buffer) };
}

/** One function. */
function fn(signature: Signature, body: (f: FunctionBuilder) => void): (...args: (number | bigint)[]) => unknown {
  const { exports } = make(m => {
    const f = new FunctionBuilder(signature);
    body(f);
    m.export("f", m.add(f));
  });
  return exports.f as (...args: (number | bigint)[]) => unknown;
}

/** A function that returns one expression of its parameters. */
const of = (params: readonly Ty[], result: Ty, e: (...p: Ex[]) => Ex) =>
  fn({ params, result }, f => {
    f.return(e(...params.map((_, i) => f.param(i))));
    f.unreachable();
  });

const WORDS = [
  0,
  1,
  -1,
  2,
  31,
  32,
  33,
  63,
  64,
  127,
  128,
  -128,
  -129,
  0x7fff,
  0x8000,
  0x12345678,
  2 ** 31 - 1,
  -(2 ** 31),
];
const LONGS = [
  ...WORDS.map(BigInt),
  2n ** 32n,
  -(2n ** 32n),
  2n ** 62n,
  2n ** 63n - 1n,
  -(2n ** 63n),
  0x123456789abcdefn,
];

describe("constants (core specification 5.2.2, LEB128)", () => {
  const edges: bigint[] = [];
  for (let bits = 0n; bits < 63n; bits++)
    for (const d of [-1n, 0n, 1n]) edges.push((1n << bits) + d, -(1n << bits) + d);
  edges.push(2n ** 63n - 1n, -(2n ** 63n), -(2n ** 63n) + 1n);

  test("i64 at every power of two and its neighbours", () => {
    const { exports } = make(m => {
      for (const [n, value] of edges.entries()) {
        const f = new FunctionBuilder({ params: [], result: J });
        f.return(c64(value));
        f.unreachable();
        m.export(`f${n}`, m.add(f));
      }
    });
    expect(edges.map((_, n) => exports[`f${n}`]!())).toEqual(edges);
  });

  test("i32 likewise, and wrapped when it is wider", () => {
    const values = edges.map(Number).filter(n => Math.abs(n) <= 2 ** 33);
    const { exports } = make(m => {
      for (const [n, value] of values.entries()) {
        const f = new FunctionBuilder({ params: [], result: I });
        f.return(c32(value));
        f.unreachable();
        m.export(`f${n}`, m.add(f));
      }
    });
    expect(values.map((_, n) => exports[`f${n}`]!())).toEqual(values.map(n => n | 0));
  });

  test("an i64 beyond 64 bits wraps", () => {
    expect(c64(2n ** 63n).k).toBe(-(2n ** 63n));
    expect(c64(-1).k).toBe(-1n);
  });
});

describe("arithmetic agrees with JavaScript, computed and folded", () => {
  const words: Record<string, (a: number, b: number) => number> = {
    add: (a, b) => a + b,
    sub: (a, b) => a - b,
    mul: Math.imul,
    and: (a, b) => a & b,
    or: (a, b) => a | b,
    xor: (a, b) => a ^ b,
    shl: (a, b) => a << b,
    shrS: (a, b) => a >> b,
    shrU: (a, b) => a >>> b,
    rotl: (a, b) => (a << b) | (b & 31 ? a >>> (32 - (b & 31)) : 0),
    rotr: (a, b) => (a >>> b) | (b & 31 ? a << (32 - (b & 31)) : 0),
    eq: (a, b) => Number(a === b),
    ne: (a, b) => Number(a !== b),
    ltS: (a, b) => Number(a < b),
    gtS: (a, b) => Number(a > b),
    leS: (a, b) => Number(a <= b),
    geS: (a, b) => Number(a >= b),
    ltU: (a, b) => Number(a >>> 0 < b >>> 0),
    gtU: (a, b) => Number(a >>> 0 > b >>> 0),
    leU: (a, b) => Number(a >>> 0 <= b >>> 0),
    geU: (a, b) => Number(a >>> 0 >= b >>> 0),
  };
  test.each(Object.keys(words))("i32.%s", name => {
    const op = i32[name as "add"];
    const run = of([I, I], I, op);
    for (const a of WORDS) {
      for (const b of WORDS) {
        const expected = words[name]!(a, b) | 0;
        expect(run(a, b)).toBe(expected);
        const { k } = op(c32(a), c32(b));
        if (k !== undefined) expect(k).toBe(expected);
      }
    }
  });

  const u = (x: bigint): bigint => BigInt.asUintN(64, x);
  const bool = (x: boolean): bigint => BigInt(x);
  const longs: Record<string, (a: bigint, b: bigint) => bigint> = {
    add: (a, b) => a + b,
    sub: (a, b) => a - b,
    mul: (a, b) => a * b,
    and: (a, b) => a & b,
    or: (a, b) => a | b,
    xor: (a, b) => a ^ b,
    shl: (a, b) => a << (b & 63n),
    shrS: (a, b) => a >> (b & 63n),
    shrU: (a, b) => u(a) >> (b & 63n),
    rotl: (a, b) => (a << (b & 63n)) | (u(a) >> ((64n - (b & 63n)) & 63n)),
    rotr: (a, b) => (u(a) >> (b & 63n)) | (a << ((64n - (b & 63n)) & 63n)),
  };
  test.each(Object.keys(longs))("i64.%s", name => {
    const op = i64[name as "add"];
    const run = of([J, J], J, op);
    for (const a of LONGS) {
      for (const b of LONGS) {
        const expected = BigInt.asIntN(64, longs[name]!(a, b));
        expect(run(a, b)).toBe(expected);
        const { k } = op(c64(a), c64(b));
        if (k !== undefined) expect(k).toBe(expected);
      }
    }
  });

  const tests: Record<string, (a: bigint, b: bigint) => bigint> = {
    eq: (a, b) => bool(a === b),
    ne: (a, b) => bool(a !== b),
    ltS: (a, b) => bool(a < b),
    gtS: (a, b) => bool(a > b),
    leS: (a, b) => bool(a <= b),
    geS: (a, b) => bool(a >= b),
    ltU: (a, b) => bool(u(a) < u(b)),
    gtU: (a, b) => bool(u(a) > u(b)),
    leU: (a, b) => bool(u(a) <= u(b)),
    geU: (a, b) => bool(u(a) >= u(b)),
  };
  test.each(Object.keys(tests))("i64.%s", name => {
    const run = of([J, J], I, i64[name as "eq"]);
    for (const a of LONGS) for (const b of LONGS) expect(run(a, b)).toBe(Number(tests[name]!(a, b)));
  });

  test("division and remainder", () => {
    const [ds, du, rs, ru] = [i64.divS, i64.divU, i64.remS, i64.remU].map(op => of([J, J], J, op));
    const [ws, wu, vs, vu] = [i32.divS, i32.divU, i32.remS, i32.remU].map(op => of([I, I], I, op));
    expect([ds!(-7n, 2n), rs!(-7n, 2n), du!(-7n, 2n), ru!(-7n, 10n)]).toEqual([-3n, -1n, 2n ** 63n - 4n, 9n]);
    expect([ws!(-7, 2), vs!(-7, 2), wu!(-7, 2), vu!(-7, 10)]).toEqual([-3, -1, 2 ** 31 - 4, 9]);
    expect(() => ds!(1n, 0n)).toThrow(/zero/);
  });

  test("counts, tests for zero, widening, narrowing, complement", () => {
    const one = (from: Ty, to: Ty, op: (a: Ex) => Ex) => of([from], to, op);
    const bits = (n: bigint, w: number): string => BigInt.asUintN(w, n).toString(2).padStart(w, "0");
    for (const n of LONGS) {
      const text = bits(n, 64);
      expect(one(J, J, i64.popcnt)(n)).toBe(BigInt(text.replaceAll("0", "").length));
      expect(one(J, J, i64.clz)(n)).toBe(BigInt(text.indexOf("1") < 0 ? 64 : text.indexOf("1")));
      expect(one(J, J, i64.ctz)(n)).toBe(BigInt(text.lastIndexOf("1") < 0 ? 64 : 63 - text.lastIndexOf("1")));
      expect(one(J, I, i64.eqz)(n)).toBe(Number(n === 0n));
      expect(one(J, I, i32.wrap)(n)).toBe(Number(BigInt.asIntN(32, n)));
      expect(one(J, J, i64.extend8s)(n)).toBe(BigInt.asIntN(8, n));
      expect(one(J, J, i64.extend16s)(n)).toBe(BigInt.asIntN(16, n));
      expect(one(J, J, i64.extend32s)(n)).toBe(BigInt.asIntN(32, n));
      expect(one(J, J, i64.not)(n)).toBe(~n);
    }
    for (const n of WORDS) {
      const text = bits(BigInt(n), 32);
      expect(one(I, I, i32.popcnt)(n)).toBe(text.replaceAll("0", "").length);
      expect(one(I, I, i32.clz)(n)).toBe(Math.clz32(n));
      expect(one(I, I, i32.ctz)(n)).toBe(text.lastIndexOf("1") < 0 ? 32 : 31 - text.lastIndexOf("1"));
      expect(one(I, I, i32.eqz)(n)).toBe(Number(n === 0));
      expect(one(I, J, i64.extendS)(n)).toBe(BigInt(n));
      expect(one(I, J, i64.extendU)(n)).toBe(BigInt(n >>> 0));
      expect(one(I, I, i32.extend8s)(n)).toBe((n << 24) >> 24);
      expect(one(I, I, i32.extend16s)(n)).toBe((n << 16) >> 16);
      expect(one(I, I, i32.not)(n)).toBe(~n);
    }
  });

  test("floating point", () => {
    expect(of([D, D], D, f64.div)(1 as never, 3 as never)).toBe(1 / 3);
    expect(of([D], D, f64.sqrt)(2 as never)).toBe(Math.SQRT2);
    expect(
      of([J, J], J, (a, b) => i64.reinterpret(f64.add(f64.reinterpret(a), f64.reinterpret(b))))(
        0x3ff0000000000000n,
        0x4000000000000000n,
      ),
    ).toBe(0x4008000000000000n);
    expect(
      of([I, I], I, (a, b) => i32.reinterpret(f32.mul(f32.reinterpret(a), f32.reinterpret(b))))(0x40000000, 0x40400000),
    ).toBe(0x40c00000);
  });

  test("select: with a value and with a constant", () => {
    const run = of([I, J, J], J, (c, a, b) => select(c, a, b));
    expect([run(0, 5n, 6n), run(1, 5n, 6n), run(-8, 5n, 6n)]).toEqual([6n, 5n, 5n]);
    const [a, b] = [c64(1), c64(2)];
    expect([select(c32(3), a, b), select(c32(0), a, b)]).toEqual([a, b]);
  });

  test("operands of the wrong type are a mistake of the model", () => {
    expect(() => i32.add(c32(1), c64(1))).toThrow(/wrong type/);
    expect(() => i64.add(c32(1), c64(1))).toThrow(/not i64/);
    expect(() => i64.load(c64(1))).toThrow(/no i32/);
    expect(() => i64.extendU(c64(1))).toThrow(/wrong type/);
    expect(() => select(c64(1), c32(1), c32(1))).toThrow(/select/);
    expect(() => vshuffle(v128.zero(), v128.zero(), [0])).toThrow(/16 lanes/);
  });
});

describe("control", () => {
  test("nested blocks and loops: every branch leads to its own label, through any depth of ifs", () => {
    // The model is the same text in JavaScript.
    const model = (n: number): number => {
      let sum = 0;
      outer: for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) {
          if (j === i) continue outer;
          if (i > 2) {
            if (j === 2) break outer;
            sum += 100;
          }
          sum += i * 10 + j;
        }
        sum += 1000;
      }
      return sum;
    };
    const run = fn({ params: [I], result: I }, f => {
      const n = f.param(0);
      const [sum, i, j] = [f.local(I), f.local(I), f.local(I)];
      const add = (local: Ex, e: Ex): void => f.set(local, i32.add(local, e));
      f.block(leaveAll => {
        f.set(i, c32(0));
        f.loop(outer => {
          f.if(i32.geS(i, n), () => leaveAll());
          f.block(nextRow => {
            f.set(j, c32(0));
            f.loop(inner => {
              f.if(
                i32.ltS(j, n),
                () => {
                  nextRow(i32.eq(j, i));
                  f.if(i32.gtS(i, c32(2)), () => {
                    f.if(i32.eq(j, c32(2)), () => leaveAll());
                    add(sum, c32(100));
                  });
                  add(sum, i32.add(i32.mul(i, c32(10)), j));
                  add(j, c32(1));
                  inner();
                },
                () => add(sum, c32(1000)),
              );
            });
          });
          add(i, c32(1));
          outer();
        });
      });
      f.return(sum);
      f.unreachable();
    });
    for (let n = 0; n < 8; n++) expect(run(n)).toBe(model(n));
  });

  test("a branch out of forty blocks", () => {
    const run = fn({ params: [I], result: I }, f => {
      const depth = f.local(I);
      const nest = (level: number, outermost: ((c?: Ex) => void) | null): void =>
        f.block(leave => {
          const out = outermost ?? leave;
          if (level < 40) nest(level + 1, out);
          else out(f.param(0));
          f.set(depth, i32.add(depth, c32(1)));
        });
      nest(1, null);
      f.return(depth);
      f.unreachable();
    });
    expect([run(0), run(1)]).toEqual([40, 0]);
  });

  test("an if with a constant condition emits only the branch that is taken", () => {
    const both = (condition: Ex): unknown =>
      fn({ params: [], result: I }, f => {
        const r = f.local(I);
        f.if(
          condition,
          () => f.set(r, c32(1)),
          () => f.set(r, c32(2)),
        );
        f.return(r);
        f.unreachable();
      })();
    expect([both(c32(7)), both(c32(0))]).toEqual([1, 2]);
  });

  test("tail calls, direct and through the table, do not grow the stack", () => {
    const TWO: Signature = { params: [I, J], result: J };
    const { exports } = make(m => {
      const type = m.type(TWO);
      const [even, odd] = [m.declare(TWO), m.declare(TWO)];
      const make = (other: typeof even, slot: number): FunctionBuilder => {
        const f = new FunctionBuilder(TWO);
        f.if(i32.eqz(f.param(0)), () => f.return(f.param(1)));
        const next = [i32.sub(f.param(0), c32(1)), i64.add(f.param(1), c64(slot))] as const;
        f.if(i32.and(f.param(0), c32(2)), () => f.returnCall(other, ...next));
        f.returnCallIndirect(type, c32(slot), ...next);
        f.unreachable();
        return f;
      };
      m.define(even, make(odd, 5));
      m.define(odd, make(even, 4));
      m.elements(4, [even, odd]);
      m.export("run", even);
    });
    expect((exports.run as unknown as (n: number, s: bigint) => bigint)(1_000_000, 0n)).toBe(4_500_000n);
  });

  test("calls: of imports, of functions defined later, through the table; their results as values", () => {
    const seen: number[][] = [];
    const { exports } = make(
      m => {
        const twice = m.importFunction("twice", { params: [I], result: I });
        const note = m.importFunction("note", { params: [I, I], result: null });
        const type = m.type({ params: [I], result: I });
        const later = m.declare({ params: [I], result: I });
        const f = new FunctionBuilder({ params: [I], result: I });
        const a = f.let(f.call(twice, f.param(0)));
        f.do(f.call(note, a, c32(9)), false);
        f.do(f.call(twice, c32(1)), true);
        f.return(i32.add(f.call(later, a), f.callIndirect(type, I, c32(0), c32(-3))));
        f.unreachable();
        m.export("f", m.add(f));
        const g = new FunctionBuilder({ params: [I], result: I });
        g.return(i32.add(g.param(0), c32(1)));
        g.unreachable();
        m.define(later, g);
        m.elements(0, [later]);
      },
      { twice: n => n! * 2, note: (...args) => void seen.push(args) },
    );
    expect((exports.f as unknown as (n: number) => number)(20)).toBe(41 - 2);
    expect(seen).toEqual([[40, 9]]);
  });

  test("locals of many types, first used in any order, start as zero", () => {
    const run = fn({ params: [J], result: J }, f => {
      const [a, b, c, d] = [f.local(I), f.local(J), f.local(I), f.local(TY.v128)];
      f.set(b, i64.add(f.param(0), i64.extendU(a)));
      f.set(c, i32.add(c, c32(2)));
      f.set(d, vreplace(30, d, 1, b));
      f.return(i64.add(vextract(29, J, d, 1), i64.add(vextract(29, J, d, 0), i64.extendU(c))));
      f.unreachable();
    });
    expect(run(40n)).toBe(42n);
  });

  test("mistakes are refused: imports behind functions, two bodies, none, wrong arguments, an assignment to a value", () => {
    const none: Signature = { params: [], result: null };
    const m = new ModuleBuilder(1, 1);
    const ref = m.declare(none);
    expect(() => m.importFunction("late", none)).toThrow(/imports come first/);
    expect(() => m.finish()).toThrow(/no body/);
    m.define(ref, new FunctionBuilder(none));
    expect(() => m.define(ref, new FunctionBuilder(none))).toThrow(/twice/);
    const f = new FunctionBuilder({ params: [I], result: I });
    expect(() => f.call(ref, c32(1))).toThrow(/wrong number/);
    expect(() => f.set(c32(1), c32(2))).toThrow(/no local/);
    expect(() => f.set(f.param(0), c64(2))).toThrow(/no local of that type/);
    f.block(() => expect(() => f.finish()).toThrow(/still open/));
  });

  test("more than 127 functions, types and bytes: sizes of several LEB128 digits", () => {
    const { exports } = make(
      m => {
        for (let n = 0; n < 300; n++) {
          const f = new FunctionBuilder({ params: new Array<Ty>(n % 140).fill(I), result: I });
          let e: Ex = c32(n);
          for (let i = 0; i < n; i++) e = i32.xor(i32.popcnt(e), c32(i));
          f.return(e);
          f.unreachable();
          m.export(`f${n}`, m.add(f));
        }
      },
      {},
      300,
    );
    const model = (n: number): number => {
      let e = n;
      for (let i = 0; i < n; i++) e = e.toString(2).replaceAll("0", "").length ^ i;
      return e;
    };
    expect([0, 1, 127, 128, 299].map(n => exports[`f${n}`]!())).toEqual([0, 1, 127, 128, 299].map(model));
  });
});

describe("memory", () => {
  const addresses = [0, 1, 2, 3, 4, 5, 6, 7, 8, 127, 129];
  test("stores of every width from both types, loads with either sign, at any alignment, with offsets of several digits", () => {
    for (const offset of [0, 127, 128, 16384, 60000]) {
      const { exports, memory } = make(m => {
        const f = new FunctionBuilder({ params: [I, J], result: null });
        const [at, v] = [f.param(0), f.param(1)];
        f.store64(at, offset, v);
        f.storeSize(4, at, offset + 16, v);
        f.storeSize(2, at, offset + 32, v);
        f.storeSize(1, at, offset + 48, v);
        f.store32(at, offset + 64, i32.wrap(v));
        f.store16(at, offset + 80, i32.wrap(v));
        f.store8(at, offset + 96, i32.wrap(v));
        m.export("store", m.add(f));
        const g = new FunctionBuilder({ params: [I, I], result: J });
        const from = g.param(0);
        const values = [
          i64.load(from, offset),
          i64.load32s(from, offset),
          i64.load32u(from, offset),
          i64.load16u(from, offset),
          i64.load8u(from, offset),
          ...[i32.load, i32.load16s, i32.load16u, i32.load8s, i32.load8u].map(load => i64.extendS(load(from, offset))),
        ];
        for (const [n, value] of values.entries()) g.if(i32.eq(g.param(1), c32(n)), () => g.return(value));
        g.unreachable();
        m.export("load", m.add(g));
      });
      const { store, load } = exports as unknown as {
        store(a: number, v: bigint): void;
        load(a: number, n: number): bigint;
      };
      for (const at of addresses) {
        const v = 0xf1e2d3c4b5a69788n;
        store(at, BigInt.asIntN(64, v));
        const place = at + offset;
        expect(memory.getBigUint64(place, true)).toBe(v);
        expect(Array.from({ length: 6 }, (_, i) => memory.getBigUint64(place + 16 + i * 16, true))).toEqual([
          0xb5a69788n,
          0x9788n,
          0x88n,
          0xb5a69788n,
          0x9788n,
          0x88n,
        ]);
        const low = [
          memory.getInt32(place, true),
          memory.getInt16(place, true),
          memory.getUint16(place, true),
          memory.getInt8(place),
          memory.getUint8(place),
        ];
        const expected = [
          BigInt.asIntN(64, v),
          BigInt(low[0]!),
          BigInt(low[0]! >>> 0),
          BigInt(low[2]!),
          BigInt(low[4]!),
          ...low.map(BigInt),
        ];
        expect(expected.map((_, n) => load(at, n))).toEqual(expected);
        new Uint8Array(memory.buffer).fill(0);
      }
    }
  });

  test("copy (also onto itself) and fill", () => {
    const { exports, memory } = make(m => {
      for (const [name, body] of [
        ["copy", (f: FunctionBuilder) => f.memoryCopy(f.param(0), f.param(1), f.param(2))],
        ["fill", (f: FunctionBuilder) => f.memoryFill(f.param(0), f.param(1), f.param(2))],
      ] as const) {
        const f = new FunctionBuilder({ params: [I, I, I], result: null });
        body(f);
        m.export(name, m.add(f));
      }
    });
    const { copy, fill } = exports as unknown as Record<"copy" | "fill", (a: number, b: number, n: number) => void>;
    const bytes = new Uint8Array(memory.buffer);
    fill!(10, 0x1ab, 3);
    expect([...bytes.subarray(8, 15)]).toEqual([0, 0, 0xab, 0xab, 0xab, 0, 0]);
    bytes.set([1, 2, 3, 4, 5], 20);
    copy!(22, 20, 5);
    expect([...bytes.subarray(20, 27)]).toEqual([1, 2, 1, 2, 3, 4, 5]);
  });
});

describe("vectors", () => {
  /** Runs `op` on two vectors of 16 bytes; returns the bytes of the result. */
  function vector(op: (a: Ex, b: Ex) => Ex, a: readonly number[], b: readonly number[]): number[] {
    const { exports, memory } = make(m => {
      const f = new FunctionBuilder({ params: [], result: null });
      f.storeV128(c32(0), 32, op(f.let(v128.load(c32(0))), v128.load(c32(8), 8)));
      m.export("f", m.add(f));
    });
    const bytes = new Uint8Array(memory.buffer);
    bytes.set(a, 0);
    bytes.set(b, 16);
    exports.f!();
    return [...bytes.subarray(32, 48)];
  }
  const a = Array.from({ length: 16 }, (_, i) => 0x10 + i);
  const b = Array.from({ length: 16 }, (_, i) => 0xf0 - i * 3);

  test("shuffle takes lanes of both operands in any order", () => {
    for (const lanes of [
      Array.from({ length: 16 }, (_, i) => i),
      Array.from({ length: 16 }, (_, i) => 31 - i),
      Array.from({ length: 16 }, (_, i) => (i * 7 + 5) & 31),
    ]) {
      expect(vector((x, y) => vshuffle(x, y, lanes), a, b)).toEqual(lanes.map(n => [...a, ...b][n]));
    }
  });

  test("bitwise operations, constants, partial loads, lane access, splats, tests", () => {
    expect(vector(v128.and, a, b)).toEqual(a.map((x, i) => x & b[i]!));
    expect(vector(v128.andnot, a, b)).toEqual(a.map((x, i) => x & ~b[i]! & 0xff));
    expect(vector(v128.or, a, b)).toEqual(a.map((x, i) => x | b[i]!));
    expect(vector(v128.xor, a, b)).toEqual(a.map((x, i) => x ^ b[i]!));
    expect(vector(x => v128.not(x), a, b)).toEqual(a.map(x => ~x & 0xff));
    expect(vector(() => v128.bytes(b), a, a)).toEqual(b);
    expect(vector(() => v128.zero(), a, a)).toEqual(new Array(16).fill(0));
    expect(vector(() => v128.load64zero(c32(0)), a, b)).toEqual([...a.slice(0, 8), ...new Array(8).fill(0)]);
    expect(vector(() => v128.load32zero(c32(1), 1), a, b)).toEqual([...a.slice(2, 6), ...new Array(12).fill(0)]);
    // i8x16.splat, i32x4.splat; i32x4.extract_lane, i32x4.replace_lane; i8x16.add; i16x8.shl; v128.any_true.
    expect(vector(() => vsplat(15, c32(0x1ab)), a, b)).toEqual(new Array(16).fill(0xab));
    expect(vector(x => vsplat(17, vextract(27, I, x, 2)), a, b)).toEqual([0, 1, 2, 3].flatMap(() => a.slice(8, 12)));
    expect(vector(x => vreplace(28, x, 3, c32(-1)), a, b)).toEqual([...a.slice(0, 12), 255, 255, 255, 255]);
    expect(vector(vbin(110), a, b)).toEqual(a.map((x, i) => (x + b[i]!) & 0xff));
    expect(vector(x => vshift(139)(x, c32(17)), a, b)).toEqual(
      a.map((x, i) => (i & 1 ? (x << 1) | (a[i - 1]! >> 7) : x << 1) & 0xff),
    );
    expect(vector((x, y) => vsplat(15, i32.add(vtest(83)(x), v128.anyTrue(v128.xor(y, y)))), a, b)).toEqual(
      new Array(16).fill(1),
    );
  });
});
