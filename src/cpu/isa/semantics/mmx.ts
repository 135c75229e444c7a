/**
 * MMX moves and the moves between MMX and XMM registers (Intel SDM vol. 2: MOVD, MOVQ, MOVNTQ, MASKMOVQ, MOVQ2DQ, MOVDQ2Q). The packed operations are with
 * their XMM forms.
 */
import { c32, i32, i64 } from "../../emit/expr.ts";
import * as L from "../../layout.ts";
import type { InstructionSet } from "../define.ts";
import { maskedStore } from "./sse-move.ts";
import { enterMmx, getLow, getMmx, getMmx64, requireMmx, setMmx64, widen } from "./sse-operands.ts";
import { i8x16 } from "./sse-wasm.ts";

function defineMoves(set: InstructionSet): void {
  set.define("movd_load_mmx", [32, 64], "both", (o, size, e) => {
    requireMmx(o);
    const value = e.read(size);
    enterMmx(o);
    setMmx64(o, L.REC.r1, size === 64 ? value : i64.extendU(value));
    o.next();
  });
  set.define("movd_store_mmx", [32, 64], "both", (o, size, e) => {
    requireMmx(o);
    e.write(o.let(o.loadReg(o.regAddress(L.REC.r1), size, L.X87)), size);
    enterMmx(o);
    o.next();
  });
  set.define("movq_load_mmx", [64], "both", (o, _size, e) => {
    requireMmx(o);
    const value = e.memory ? e.read(64) : o.let(getMmx64(o, L.REC.r2));
    enterMmx(o);
    setMmx64(o, L.REC.r1, value);
    o.next();
  });
  set.define("movq_store_mmx", [64], "both", (o, _size, e) => {
    requireMmx(o);
    const value = o.let(getMmx64(o, L.REC.r1));
    if (e.memory) e.write(value, 64);
    enterMmx(o);
    if (!e.memory) setMmx64(o, L.REC.r2, value);
    o.next();
  });
}

export function defineMmxMoves(set: InstructionSet): void {
  defineMoves(set);
  set.define("movq2dq", [64], "reg", o => {
    o.requireVector("sse");
    requireMmx(o);
    enterMmx(o);
    o.setXmm(L.REC.r1, o.let(widen(getMmx64(o, L.REC.r2), 64)));
    o.next();
  });
  set.define("movdq2q", [64], "reg", o => {
    o.requireVector("sse");
    requireMmx(o);
    enterMmx(o);
    setMmx64(o, L.REC.r1, o.let(getLow(o, L.REC.r2, 64)));
    o.next();
  });
  set.define(
    "maskmovq",
    [64],
    "reg",
    o => {
      requireMmx(o);
      o.f.store64(o.cpu, L.SCRATCH, getMmx64(o, L.REC.r1));
      maskedStore(o, o.let(i32.and(i8x16.bitmask(getMmx(o, L.REC.r2)), c32(0xff))));
      enterMmx(o);
      o.next();
    },
    true,
  );
}
