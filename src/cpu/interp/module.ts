/**
 * Makes the interpreter: one WebAssembly module with a handler for every form of every instruction, placed in the shared function table.
 */
import { c32, c64, i32, i64, TY } from "../emit/expr.ts";
import { FunctionBuilder, ModuleBuilder, type Signature } from "../emit/wasm.ts";
import { Rm } from "../isa/define.ts";
import type { Isa } from "../isa/instruction-set.ts";
import type { Runtime } from "../isa/ops.ts";
import { DELIVER, deliverBody } from "../isa/semantics/long-mode.ts";
import * as L from "../layout.ts";
import { dispatch, InterpOps } from "./interp-ops.ts";

const { i32: I, i64: J } = TY;
const HANDLER: Signature = { params: [I, I], result: I };
const GOTO: Signature = { params: [I, J], result: I };

/** Entry points of the interpreter. */
export type InterpreterExports = {
  /** Runs from the instruction at RIP; returns one of EXIT. */
  enter(cpu: number): number;
  /** Runs from a record. */
  execute(cpu: number, record: number): number;
  /** Delivers an event in 64-bit mode if that is simple; the return address is at ARG0. 0: nothing was done. */
  deliver(cpu: number, vector: number, checkDpl: number, error: number, image: number): number;
};

/** What the module calls. `cpu` is the base of the processor's area. */
export type InterpreterImports = {
  slowLoad(cpu: number, segment: number, size: number): number;
  slowStore(cpu: number, segment: number, size: number): number;
  slowRmw(cpu: number, segment: number, size: number): number;
  commitRmw(cpu: number): void;
  probe(cpu: number, segment: number, size: number): number;
  helper(cpu: number, id: number, record: number): number;
  sseSlow(cpu: number, operation: number, immediate: number): number;
  told(cpu: number, event: number, value: number, cplBefore: number): void;
};

/** Finds the record of an address through the code TLB and runs it; leaves with EXIT.lookup when it is not there. */
function gotoBody(handlerType: number, legacy: boolean): FunctionBuilder {
  const f = new FunctionBuilder(GOTO);
  const cpu = f.param(0);
  const rip = f.param(1);
  const linear = legacy ? f.let(i64.and(i64.add(rip, i64.load(cpu, L.SEG_BASE + L.SEG.cs * 8)), c64(0xffffffff))) : rip;
  const low = f.let(i32.wrap(linear));
  const slot = i32.shl(i32.and(i32.shrU(low, c32(12)), c32(L.ITLB_ENTRIES - 1)), c32(4));
  const entry = f.let(i32.add(i32.load(cpu, L.ITLB_BASE), slot));
  f.if(i64.eq(i64.load(entry), i64.and(linear, c64(-4096))), () => {
    const line = i32.load(i32.add(i32.load(entry, 8), i32.shl(i32.and(i32.shrU(low, c32(6)), c32(63)), c32(2))));
    const record = f.let(i32.load(i32.add(line, i32.shl(i32.and(low, c32(63)), c32(2)))));
    f.if(record, () => {
      f.store64(cpu, L.RIP_PAGE, i64.sub(rip, i64.and(linear, c64(0xfff))));
      dispatch(f, handlerType, cpu, record);
    });
  });
  f.store64(cpu, L.RIP, rip);
  f.return(c32(L.EXIT.lookup));
  f.unreachable();
  return f;
}

/** Bytes of the module. It imports `env.memory`, `env.table` and InterpreterImports, and fills the table from 0 on. */
export function buildInterpreter(isa: Isa, memoryPages: number): Uint8Array<ArrayBuffer> {
  const m = new ModuleBuilder(memoryPages, isa.handlers.handlers.length);
  const rt: Runtime = {
    handlerType: m.type(HANDLER),
    slowLoad: m.importFunction("slowLoad", { params: [I, I, I], result: I }),
    slowStore: m.importFunction("slowStore", { params: [I, I, I], result: I }),
    slowRmw: m.importFunction("slowRmw", { params: [I, I, I], result: I }),
    commitRmw: m.importFunction("commitRmw", { params: [I], result: null }),
    probe: m.importFunction("probe", { params: [I, I, I], result: I }),
    helper: m.importFunction("helper", { params: [I, I, I], result: I }),
    sseSlow: m.importFunction("sseSlow", { params: [I, I, I], result: I }),
    told: m.importFunction("told", { params: [I, I, I, I], result: null }),
    deliver: m.declare(DELIVER),
    goto64: m.declare(GOTO),
    gotoLegacy: m.declare(GOTO),
    helperId: name => isa.set.helperId(name),
  };
  m.define(rt.deliver, deliverBody());
  m.export("deliver", rt.deliver);
  m.define(rt.goto64, gotoBody(rt.handlerType, false));
  m.define(rt.gotoLegacy, gotoBody(rt.handlerType, true));

  const enter = new FunctionBuilder({ params: [I], result: I });
  const cpu = enter.param(0);
  enter.if(i32.eq(i32.load(cpu, L.CODE_MODE), c32(2)), () => enter.returnCall(rt.goto64, cpu, i64.load(cpu, L.RIP)));
  enter.returnCall(rt.gotoLegacy, cpu, i64.load(cpu, L.RIP));
  m.export("enter", m.add(enter));
  const execute = new FunctionBuilder(HANDLER);
  dispatch(execute, rt.handlerType, execute.param(0), execute.param(1));
  m.export("execute", m.add(execute));

  const refs = isa.handlers.handlers.map(({ definition, size, variant }) => {
    const f = new FunctionBuilder(HANDLER);
    const o = new InterpOps(f, rt, variant === "l" || variant === "q");
    definition.meaning(o, size, new Rm(o, size, variant === "m" || variant === "l"));
    f.unreachable();
    return m.add(f);
  });
  m.elements(0, refs);
  return m.finish();
}
