/**
 * Makes the interpreter: one WebAssembly module with a handler for every form of every instruction, placed in the shared function table.
 */
import { c32, c64, i32, i64, TY } from "../emit/expr.ts";
import { FunctionBuilder, type FunctionRef, ModuleBuilder, type Signature } from "../emit/wasm.ts";
import { Rm } from "../isa/define.ts";
import type { Isa } from "../isa/instruction-set.ts";
import type { Runtime } from "../isa/ops.ts";
import { DELIVER, deliverBody, emitFault } from "../isa/semantics/long-mode.ts";
import { tlbEntry } from "../isa/tlb-entry.ts";
import * as L from "../layout.ts";
import { dispatch, InterpOps } from "./interp-ops.ts";
import { WALKED, walkBody } from "./walk.ts";

const { i32: I, i64: J } = TY;
const HANDLER: Signature = { params: [I, I], result: I };
const GOTO: Signature = { params: [I, J], result: I };
/** (cpu, segment, bytes), the address at SLOW_ADDRESS: 0, or 1 for a fault. */
const SLOW: Signature = { params: [I, I, I], result: I };

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
  /** (cpu, physical page, offset | width << 16): the value. */
  deviceLoad(cpu: number, page: number, place: number): number;
  deviceStore(cpu: number, page: number, place: number, value: number): void;
  probe(cpu: number, segment: number, size: number): number;
  helper(cpu: number, id: number, record: number): number;
  sseSlow(cpu: number, operation: number, immediate: number): number;
  portIn(cpu: number, port: number, width: number): number;
  portOut(cpu: number, port: number, width: number, value: number): number;
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
  if (legacy) {
    // The last addresses of 4 GiB lead to the segment's first page where that begins below the segment.
    const limit = i64.extendU(i32.load(cpu, L.SEG_LIMIT + L.SEG.cs * 4));
    f.if(i64.gtU(rip, limit), () => {
      f.store64(cpu, L.RIP, rip);
      f.return(c32(L.EXIT.lookup));
    });
  }
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

/**
 * An access that missed the direct way. In 64-bit code one to four bytes of a device page that the TLB knows go straight to the device; everything else
 * to the memory management unit.
 */
function slowBody(general: FunctionRef, device: FunctionRef, walk: FunctionRef, write: boolean): FunctionBuilder {
  const f = new FunctionBuilder(SLOW);
  const [cpu, segment, bytes] = [f.param(0), f.param(1), f.param(2)];
  const address = f.let(i64.load(cpu, L.SLOW_ADDRESS));
  const offset = f.let(i32.and(i32.wrap(address), c32(0xfff)));
  const small = i32.and(i32.leU(bytes, c32(4)), i32.leU(i32.add(offset, bytes), c32(4096)));
  f.if(i32.and(small, i32.eq(i32.load(cpu, L.CODE_MODE), c32(2))), () => {
    const entry = tlbEntry(f, i32.load(cpu, L.DTLB_BASE), address);
    const tag = i64.load(entry, write ? L.DTLB.tagWrite : L.DTLB.tagRead);
    f.if(i64.eq(tag, i64.or(i64.and(address, c64(-4096)), c64(L.DEVICE_TAG))), () => {
      const page = i32.load(entry, L.DTLB.physical);
      const place = i32.or(offset, i32.shl(bytes, c32(16)));
      if (write) f.do(f.call(device, cpu, page, place, i32.load(cpu, L.SLOW_DATA)), false);
      else f.store32(cpu, L.SLOW_DATA, f.call(device, cpu, page, place));
      f.return(c32(0));
    });
  });
  // A page that the TLB does not know yet, but that generated code can look up by itself.
  const inside = i32.leU(i32.add(offset, bytes), c32(4096));
  const long = i32.eq(i32.load(cpu, L.CODE_MODE), c32(2));
  const canonical = i64.eq(i64.shrS(i64.shl(address, c64(16)), c64(16)), address);
  const walked = f.local(I);
  f.if(i32.and(i32.and(inside, long), canonical), () => f.set(walked, f.call(walk, cpu, address, c32(write ? 1 : 0))));
  f.if(i32.eq(walked, c32(WALKED.notPresent)), () => f.return(c32(1)));
  f.if(walked, () => {
    const entry = tlbEntry(f, i32.load(cpu, L.DTLB_BASE), address);
    const host = f.let(i32.add(i32.wrap(address), i32.load(entry, L.DTLB.addend)));
    const data = i32.add(cpu, c32(L.SLOW_DATA));
    if (!write) {
      f.memoryCopy(data, host, bytes);
      f.return(c32(0));
      return;
    }
    f.if(i64.ne(i64.load(entry, L.DTLB.tagWrite), c64(L.NO_TAG)), () => {
      f.memoryCopy(host, data, bytes);
      f.return(c32(0));
    });
  });
  f.returnCall(general, cpu, segment, bytes);
  f.unreachable();
  return f;
}

/** Bytes of the module. It imports `env.memory`, `env.table` and InterpreterImports, and fills the table from 0 on. */
export function buildInterpreter(isa: Isa, memoryPages: number): Uint8Array<ArrayBuffer> {
  const m = new ModuleBuilder(memoryPages, isa.handlers.handlers.length);
  const outer = {
    load: m.importFunction("slowLoad", SLOW),
    store: m.importFunction("slowStore", SLOW),
    deviceLoad: m.importFunction("deviceLoad", SLOW),
    deviceStore: m.importFunction("deviceStore", { params: [I, I, I, I], result: null }),
  };
  const imports = {
    slowRmw: m.importFunction("slowRmw", SLOW),
    commitRmw: m.importFunction("commitRmw", { params: [I], result: null }),
    probe: m.importFunction("probe", { params: [I, I, I], result: I }),
    helper: m.importFunction("helper", { params: [I, I, I], result: I }),
    sseSlow: m.importFunction("sseSlow", { params: [I, I, I], result: I }),
    portIn: m.importFunction("portIn", SLOW),
    portOut: m.importFunction("portOut", { params: [I, I, I, I], result: I }),
    told: m.importFunction("told", { params: [I, I, I, I], result: null }),
  };
  const rt: Runtime = {
    ...imports,
    handlerType: m.type(HANDLER),
    slowLoad: m.declare(SLOW),
    slowStore: m.declare(SLOW),
    deliver: m.declare(DELIVER),
    fault: m.declare(HANDLER),
    goto64: m.declare(GOTO),
    gotoLegacy: m.declare(GOTO),
    helperId: name => isa.set.helperId(name),
  };
  const walk = m.add(walkBody());
  m.define(rt.slowLoad, slowBody(outer.load, outer.deviceLoad, walk, false));
  m.define(rt.slowStore, slowBody(outer.store, outer.deviceStore, walk, true));
  m.define(rt.deliver, deliverBody());
  m.export("deliver", rt.deliver);
  const fault = new FunctionBuilder(HANDLER);
  emitFault(new InterpOps(fault, rt, false));
  m.define(rt.fault, fault);
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
