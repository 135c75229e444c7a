/**
 * Moves of vector data (Intel SDM vol. 2: MOVAPS, MOVUPS, MOVDQA, MOVDQU, LDDQU, MOVNT*, MOVSS, MOVSD, MOVLPS, MOVHPS, MOVLHPS, MOVHLPS, MOVDDUP, MOVSLDUP,
 * MOVSHDUP, MOVD, MOVQ, MASKMOVDQU). Non-temporal hints mean nothing here.
 */
import { c32, c64, type Ex, i32, i64, TY, vshuffle } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import type { InstructionSet } from "../define.ts";
import type { Ops } from "../ops.ts";
import { getLow, setLow, widen, xmmLow, xmmLowVector, xmmSource, xmmStore } from "./sse-operands.ts";
import { i8x16, i64x2 } from "./sse-wasm.ts";

/** 16-byte moves, aligned (MOVAPS, MOVDQA) and not (MOVUPS, MOVDQU, LDDQU). */
function defineWholes(set: InstructionSet): void {
  for (const [name, aligned] of [
    ["mova", true],
    ["movu", false],
  ] as const) {
    set.define(`${name}_load_xmm`, [128], "both", (o, _size, e) => {
      o.requireVector("sse");
      o.setXmm(L.REC.r1, xmmSource(o, e, aligned));
      o.next();
    });
    set.define(`${name}_store_xmm`, [128], "both", (o, _size, e) => {
      o.requireVector("sse");
      xmmStore(o, e, o.let(o.getXmm(L.REC.r1)), aligned);
      o.next();
    });
  }
  const duplicates = {
    movsldup: [0, 1, 2, 3, 0, 1, 2, 3, 8, 9, 10, 11, 8, 9, 10, 11],
    movshdup: [4, 5, 6, 7, 4, 5, 6, 7, 12, 13, 14, 15, 12, 13, 14, 15],
  };
  for (const [name, lanes] of Object.entries(duplicates)) {
    set.define(`${name}_xmm`, [128], "both", (o, _size, e) => {
      o.requireVector("sse");
      const source = xmmSource(o, e);
      o.setXmm(L.REC.r1, o.let(vshuffle(source, source, lanes)));
      o.next();
    });
  }
  set.define("movddup_xmm", [64], "both", (o, _size, e) => {
    o.requireVector("sse");
    o.setXmm(L.REC.r1, o.let(i64x2.splat(xmmLow(o, e, 64))));
    o.next();
  });
}

/** MOVSS and MOVSD: from memory the rest is cleared, between registers it stays. */
function defineScalars(set: InstructionSet): void {
  for (const [name, size] of [
    ["movss", 32],
    ["movsd", 64],
  ] as const) {
    set.define(`${name}_load_xmm`, [size], "both", (o, _size, e) => {
      o.requireVector("sse");
      const value = xmmLow(o, e, size);
      if (e.memory) o.setXmm(L.REC.r1, o.let(widen(value, size)));
      else setLow(o, L.REC.r1, size, value);
      o.next();
    });
    set.define(`${name}_store_xmm`, [size], "both", (o, _size, e) => {
      o.requireVector("sse");
      const value = o.let(getLow(o, L.REC.r1, size));
      if (e.memory) o.store(o.segment(), o.address(), size, value);
      else setLow(o, L.REC.r2, size, value);
      o.next();
    });
  }
}

/** One half of a register to or from memory or another register's half. */
function defineHalves(set: InstructionSet): void {
  for (const [name, offset] of [
    ["movl", 0],
    ["movh", 8],
  ] as const) {
    set.define(`${name}_load_xmm`, [64], "mem", (o, _size, e) => {
      o.requireVector("sse");
      setLow(o, L.REC.r1, 64, e.read(64), offset);
      o.next();
    });
    set.define(`${name}_store_xmm`, [64], "mem", (o, _size, e) => {
      o.requireVector("sse");
      e.write(o.let(i64.load(o.regAddress(L.REC.r1), L.XMM + offset)), 64);
      o.next();
    });
  }
  set.define("movhlps_xmm", [128], "reg", o => {
    o.requireVector("sse");
    setLow(o, L.REC.r1, 64, o.let(i64.load(o.regAddress(L.REC.r2), L.XMM + 8)));
    o.next();
  });
  set.define("movlhps_xmm", [128], "reg", o => {
    o.requireVector("sse");
    setLow(o, L.REC.r1, 64, o.let(getLow(o, L.REC.r2, 64)), 8);
    o.next();
  });
}

/** MOVD, MOVQ. */
function defineLows(set: InstructionSet): void {
  set.define("movd_load_xmm", [32, 64], "both", (o, size, e) => {
    o.requireVector("sse");
    o.setXmm(L.REC.r1, o.let(widen(e.read(size), size)));
    o.next();
  });
  set.define("movd_store_xmm", [32, 64], "both", (o, size, e) => {
    o.requireVector("sse");
    e.write(o.let(getLow(o, L.REC.r1, size)), size);
    o.next();
  });
  set.define("movq_load_xmm", [64], "both", (o, _size, e) => {
    o.requireVector("sse");
    o.setXmm(L.REC.r1, xmmLowVector(o, e, 64));
    o.next();
  });
  set.define("movq_store_xmm", [64], "both", (o, _size, e) => {
    o.requireVector("sse");
    const value = o.let(getLow(o, L.REC.r1, 64));
    if (e.memory) o.store(o.segment(), o.address(), 64, value);
    else o.setXmm(L.REC.r2, o.let(widen(value, 64)));
    o.next();
  });
}

/** DS:[rDI] (or another segment): address of the masked stores, in the form that `store` wants. */
function diAddress(o: Ops): Ex {
  const rdi = o.let(o.getGpr(L.REG.rdi, 64));
  if (o.legacy) return o.let(i64.and(rdi, i64.extendU(o.field32(L.REC.mask))));
  const address = o.f.local(TY.i64);
  o.f.if(
    i32.and(o.field8(L.REC.prefix), c32(L.PFX.addrSize64)),
    () => o.f.set(address, rdi),
    () => o.f.set(address, i64.and(rdi, c64(0xffffffff))),
  );
  return o.let(i64.add(address, i64.load(i32.add(o.cpu, o.field8(L.REC.seg)), L.SEG_BASE)));
}

/**
 * Stores those of the first `count` bytes at cpu + SCRATCH whose bit in `mask` is set, byte by byte: an unselected byte is not accessed. A fault in the
 * middle leaves earlier bytes written, as the restarted instruction writes them again.
 */
export function maskedStore(o: Ops, mask: Ex): void {
  const base = diAddress(o);
  const left = o.f.local(TY.i32);
  o.f.set(left, mask);
  o.f.block(leave => {
    leave(i32.eqz(left));
    o.f.loop(again => {
      const byte = o.let(i32.ctz(left));
      const value = o.let(i32.load8u(i32.add(o.cpu, byte), L.SCRATCH));
      const moved = i64.add(base, i64.extendU(byte));
      const address = o.let(o.legacy ? i64.and(moved, i64.extendU(o.field32(L.REC.mask))) : moved);
      o.store(o.segment(), address, 8, value);
      o.f.set(left, i32.and(left, i32.sub(left, c32(1))));
      again(left);
    });
  });
}

export function defineVectorMove(set: InstructionSet): void {
  defineWholes(set);
  defineScalars(set);
  defineHalves(set);
  defineLows(set);
  set.define(
    "maskmovdqu",
    [128],
    "reg",
    o => {
      o.requireVector("sse");
      o.f.storeV128(o.cpu, L.SCRATCH, o.getXmm(L.REC.r1));
      maskedStore(o, o.let(i8x16.bitmask(o.getXmm(L.REC.r2))));
      o.next();
    },
    true,
  );
}
