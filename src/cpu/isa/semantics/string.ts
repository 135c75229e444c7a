/**
 * String instructions (Intel SDM vol. 2: MOVS, STOS, LODS, SCAS, CMPS and the REP prefixes).
 *
 * A repeated instruction retires once per *chunk*: up to the end of the page of either operand. RIP stays on it until the count is 0, so interrupts are
 * taken between chunks, as real processors take them between iterations. Where a chunk ends depends on addresses and on what lies there (one element at a
 * time when an operand is not RAM), never on the state of a cache, so that every tier and a loaded snapshot count the same.
 */
import { c32, c64, type Ex, i32, i64, TY } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import { FLAG } from "../../state.ts";
import type { InstructionSet } from "../define.ts";
import type { Ops, Size } from "../ops.ts";
import { subtract } from "./arith.ts";

type StringName = "movs" | "stos" | "lods" | "scas" | "cmps";
const STRINGS: readonly StringName[] = ["movs", "stos", "lods", "scas", "cmps"];
const readsSource = (name: StringName): boolean => name === "movs" || name === "lods" || name === "cmps";
const usesDestination = (name: StringName): boolean => name !== "lods";
const compares = (name: StringName): boolean => name === "scas" || name === "cmps";

const { rsi, rdi, rcx } = L.REG;

/** One string instruction with its address size. */
class StringOp {
  readonly o: Ops;
  readonly name: StringName;
  readonly size: Size;
  readonly addressSize: Size;

  constructor(o: Ops, name: StringName, size: Size, addressSize: Size) {
    this.o = o;
    this.name = name;
    this.size = size;
    this.addressSize = addressSize;
  }

  /** A pointer or counter register as i64. */
  register(n: number): Ex {
    const value = this.o.getGpr(n, this.addressSize);
    return this.o.let(this.addressSize === 64 ? value : i64.extendU(value));
  }
  setRegister(n: number, value: Ex): void {
    this.o.setGpr(n, this.addressSize, this.addressSize === 64 ? value : i32.wrap(value));
  }
  sourceSegment(): Ex {
    return this.o.segment();
  }
  destinationSegment(): Ex {
    return c32(L.SEG.es);
  }
  /** Address as `load` wants it: linear in 64-bit mode (FS and GS have a base), offset in legacy modes. */
  sourceAddress(pointer: Ex): Ex {
    const o = this.o;
    return o.let(o.legacy ? pointer : i64.add(pointer, i64.load(i32.add(o.cpu, o.field8(L.REC.seg)), L.SEG_BASE)));
  }
  /** Bytes to step: ± operand size by DF. */
  step(): Ex {
    const down = i32.and(i32.load(this.o.cpu, L.FLAG_OTHER), c32(FLAG.df));
    const bytes = this.size / 8;
    return this.o.let(i64.extendS(i32.sub(c32(bytes), i32.shrU(i32.mul(down, c32(bytes * 2)), c32(10)))));
  }
  moved(pointer: Ex, step: Ex): Ex {
    const sum = i64.add(pointer, step);
    if (this.addressSize === 64) return sum;
    return i64.and(sum, c64(this.addressSize === 32 ? 0xffffffff : 0xffff));
  }

  /** One element: accesses, then registers and flags. */
  element(step: Ex): void {
    const { o, name, size } = this;
    const si = readsSource(name) ? this.register(rsi) : null;
    const di = usesDestination(name) ? this.register(rdi) : null;
    const source = si ? o.load(this.sourceSegment(), this.sourceAddress(si), size) : null;
    if (name === "movs") o.store(this.destinationSegment(), di!, size, source!);
    else if (name === "stos") o.store(this.destinationSegment(), di!, size, o.let(o.getGpr(0, size)));
    else if (name === "lods") o.setGpr(0, size, source!);
    else {
      const destination = o.load(this.destinationSegment(), di!, size);
      subtract(o, size, source ?? o.let(o.getGpr(0, size)), destination);
    }
    if (si) this.setRegister(rsi, o.let(this.moved(si, step)));
    if (di) this.setRegister(rdi, o.let(this.moved(di, step)));
  }

  /** Elements until one operand reaches the end of its page; at least 1. */
  chunk(step: Ex): Ex {
    const { o, name } = this;
    const shift = Math.log2(this.size / 8);
    const room = (linear: Ex): Ex => {
      const offset = o.let(i32.and(i32.wrap(linear), c32(0xfff)));
      const up = i32.shrU(i32.sub(c32(0x1000), offset), c32(shift));
      const down = i32.add(i32.shrU(offset, c32(shift)), c32(1));
      const room = o.f.local(TY.i32);
      o.f.if(
        i64.gtS(step, c64(0)),
        () => o.f.set(room, up),
        () => o.f.set(room, down),
      );
      return room;
    };
    const count = o.f.local(TY.i32);
    o.f.set(count, c32(0x7fffffff));
    const limit = (n: Ex): void => o.f.if(i32.ltU(n, count), () => o.f.set(count, n));
    const left = this.register(rcx);
    o.f.if(i64.ltU(left, c64(0x7fffffff)), () => o.f.set(count, i32.wrap(left)));
    if (readsSource(name)) limit(room(this.#linear(this.sourceSegment(), this.sourceAddress(this.register(rsi)))));
    if (usesDestination(name)) limit(room(this.#linear(this.destinationSegment(), this.register(rdi))));
    // Single steps and data breakpoints trap after each iteration.
    const watched = i32.or(
      i32.and(i32.load(o.cpu, L.FLAG_OTHER), c32(FLAG.tf)),
      i32.and(i32.load(o.cpu, L.DR7), c32(0xff)),
    );
    o.f.if(i32.or(i32.eqz(count), watched), () => o.f.set(count, c32(1)));
    return count;
  }
  #linear(segment: Ex, address: Ex): Ex {
    const o = this.o;
    return o.legacy ? i64.add(address, i64.load(i32.add(o.cpu, i32.shl(segment, c32(3))), L.SEG_BASE)) : address;
  }

  /** Not RAM: one element at a time. `probe` tells whether an operand's page is RAM; faults are left to the element itself. */
  limitToRam(count: Ex): void {
    const { o, name, size } = this;
    const check = (segment: Ex, address: Ex): void => {
      o.f.if(i32.eqz(o.isRam(segment, address)), () => {
        o.f.store64(o.cpu, L.SLOW_ADDRESS, address);
        o.f.if(i32.eqz(o.f.call(o.rt.probe, o.cpu, segment, c32(size / 8))), () => o.f.set(count, c32(1)));
      });
    };
    o.f.if(i32.gtU(count, c32(1)), () => {
      if (readsSource(name)) check(this.sourceSegment(), this.sourceAddress(this.register(rsi)));
      if (usesDestination(name)) check(this.destinationSegment(), this.register(rdi));
    });
  }

  /** MOVS and STOS upwards in plain RAM: the whole chunk in one go, all but its last element, which the loop does. */
  atOnce(count: Ex, step: Ex): void {
    const { o, name, size } = this;
    const shift = Math.log2(size / 8);
    o.f.if(i32.and(i32.gtU(count, c32(4)), i64.gtS(step, c64(0))), () => {
      const bytes = o.let(i32.shl(i32.sub(count, c32(1)), c32(shift)));
      const more = o.let(i64.extendU(i32.sub(bytes, c32(1))));
      const di = this.register(rdi);
      const to = o.span(this.destinationSegment(), di, more, true);
      const toHost = o.let(to.host);
      const toHit = o.let(to.hit);
      const finish = (): void => {
        if (name === "movs") this.setRegister(rsi, o.let(i64.add(this.register(rsi), i64.extendU(bytes))));
        this.setRegister(rdi, o.let(i64.add(di, i64.extendU(bytes))));
        this.setRegister(rcx, o.let(i64.sub(this.register(rcx), i64.extendU(i32.sub(count, c32(1))))));
        o.f.set(count, c32(1));
      };
      if (name === "stos") {
        o.f.if(toHit, () => {
          this.fill(toHost, bytes);
          finish();
        });
        return;
      }
      const from = o.span(this.sourceSegment(), this.sourceAddress(this.register(rsi)), more, false);
      const fromHost = o.let(from.host);
      // A destination that begins inside the source repeats what was copied before: element by element.
      const apart = i32.geU(i32.sub(toHost, fromHost), bytes);
      o.f.if(i32.and(i32.and(toHit, from.hit), apart), () => {
        o.f.memoryCopy(toHost, fromHost, bytes);
        finish();
      });
    });
  }
  /** Stores the accumulator over and over. */
  fill(host: Ex, bytes: Ex): void {
    const { o, size } = this;
    const value = o.let(o.getGpr(0, size));
    if (size === 8) {
      o.f.memoryFill(host, value, bytes);
      return;
    }
    const at = o.f.local(TY.i32);
    o.f.set(at, host);
    const end = o.let(i32.add(host, bytes));
    o.f.loop(again => {
      o.f.storeSize(size / 8, at, 0, value);
      o.f.set(at, i32.add(at, c32(size / 8)));
      again(i32.ltU(at, end));
    });
  }

  /** REP: `until` is the value of ZF that ends SCAS and CMPS (0: REPE, 1: REPNE). */
  repeat(until: 0 | 1): void {
    const { o } = this;
    o.f.if(i64.eqz(this.register(rcx)), () => o.next());
    const step = this.step();
    const count = this.chunk(step);
    this.limitToRam(count);
    if (this.name === "movs" || this.name === "stos") {
      // The first element makes the TLB know both pages; the rest can go at once.
      o.f.if(i32.gtU(count, c32(5)), () => {
        this.element(step);
        this.setRegister(rcx, o.let(i64.sub(this.register(rcx), c64(1))));
        o.f.set(count, i32.sub(count, c32(1)));
        this.atOnce(count, step);
      });
    }
    const done = o.f.local(TY.i32);
    o.f.loop(again => {
      this.element(step);
      this.setRegister(rcx, o.let(i64.sub(this.register(rcx), c64(1))));
      o.f.set(count, i32.sub(count, c32(1)));
      if (compares(this.name)) {
        const zero = i64.eqz(i64.load(o.cpu, L.FLAG_RESULT));
        o.f.set(done, until ? zero : i32.eqz(zero));
        o.f.if(done, () => o.f.set(count, c32(0)));
      }
      again(count);
    });
    if (compares(this.name)) o.f.if(done, () => o.next());
    o.f.if(i64.eqz(this.register(rcx)), () => o.next());
    o.repeat();
  }
}

export function defineStrings(set: InstructionSet): void {
  const sizes: readonly Size[] = [8, 16, 32, 64];
  for (const name of STRINGS) {
    for (const addressSize of [16, 32, 64] as const) {
      const define = (suffix: string, emit: (s: StringOp) => void): void =>
        set.define(
          `${name}${suffix}_a${addressSize}`,
          sizes,
          "none",
          (o, size) => {
            // 64-bit addresses exist only in 64-bit mode, 16-bit ones only outside.
            if (o.legacy ? addressSize === 64 : addressSize === 16) o.f.unreachable();
            else emit(new StringOp(o, name, size, addressSize));
          },
          true,
        );
      define("", s => {
        s.element(s.step());
        s.o.next();
      });
      define("_repe", s => s.repeat(0));
      if (compares(name)) define("_repne", s => s.repeat(1));
    }
  }
}
