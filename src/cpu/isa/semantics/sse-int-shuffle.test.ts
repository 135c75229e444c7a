/** Shuffles whose immediate is known when code is generated (as a translator knows it) do what those do that read it from the record. */
import { describe, expect, it } from "vitest";
import { c32, type Ex, TY } from "../../emit/expr.ts";
import { FunctionBuilder, ModuleBuilder, type Signature } from "../../emit/wasm.ts";
import { TestRng } from "../../fpu/oracle/host.testkit.ts";
import { InterpOps } from "../../interp/interp-ops.ts";
import * as L from "../../layout.ts";
import { InstructionSet, Rm } from "../define.ts";
import type { Runtime, Size } from "../ops.ts";
import { defineVector } from "./sse.ts";

const I = TY.i32;
const HANDLER: Signature = { params: [I, I], result: I };
const CPU = 0x1000;
const RECORD = 0x100;

/** A back end that knows the immediate and the registers, and ends after one instruction. */
class ConstantOps extends InterpOps {
  readonly #imm: number;
  constructor(f: FunctionBuilder, rt: Runtime, imm: number) {
    super(f, rt, false);
    this.#imm = imm;
  }
  override field8(offset: number): Ex {
    return c32(offset === L.REC.r2 ? 16 : 0);
  }
  override field32(offset: number): Ex {
    return offset === L.REC.imm ? c32(this.#imm) : super.field32(offset);
  }
  override next(): void {
    this.f.return(c32(0));
  }
}

const set = new InstructionSet();
defineVector(set);
const memory = new WebAssembly.Memory({ initial: 1 });
const bytes = new Uint8Array(memory.buffer);

/** Code of one instruction as a function of (cpu, record); with `imm` it is built in. */
function compile(name: string, imm: number | undefined): () => void {
  const m = new ModuleBuilder(1, 1);
  const three: Signature = { params: [I, I, I], result: I };
  // The others are not needed by register forms.
  const some: Partial<Runtime> = {
    handlerType: m.type(HANDLER),
    helper: m.importFunction("none", three),
    sseSlow: m.importFunction("none", three),
    fault: m.importFunction("fault", HANDLER),
    helperId: () => 0,
  };
  const rt = some as Runtime;
  const f = new FunctionBuilder(HANDLER);
  const o = imm === undefined ? new InterpOps(f, rt, false) : new ConstantOps(f, rt, imm);
  const definition = set.definitions.get(name)!;
  const size = definition.sizes[0] as Size;
  definition.meaning(o, size, new Rm(o, size, false));
  f.unreachable();
  m.export("run", m.add(f));
  const table = new WebAssembly.Table({ element: "anyfunc", initial: 1 });
  const env = { memory, table, none: () => 0, fault: () => expect.unreachable() };
  const instance = new WebAssembly.Instance(new WebAssembly.Module(m.finish()), { env });
  const run = instance.exports.run as (cpu: number, record: number) => number;
  return () => run(CPU, RECORD);
}

/** Runs and returns XMM0, XMM1 and MM0. */
function result(run: () => void, input: Uint8Array): number[] {
  bytes.set(input, CPU + L.XMM);
  bytes.set(input, CPU + L.X87);
  run();
  return [...bytes.slice(CPU + L.XMM, CPU + L.XMM + 32), ...bytes.slice(CPU + L.X87, CPU + L.X87 + 8)];
}

describe("a constant immediate", () => {
  const names = [
    "pshufd_xmm",
    "pshuflw_xmm",
    "pshufhw_xmm",
    "pshufw_mmx",
    "shufps_xmm",
    "palignr_xmm",
    "psrlw_imm_xmm",
  ];
  it.each([...names, "cmpps_xmm", "pcmpistrm_xmm", "blendps_xmm", "insertps_xmm"])("of %s gives the same", name => {
    const rng = new TestRng(3);
    const general = compile(name, undefined);
    for (const imm of [0, 1, 0x1b, 0x4e, 0x88, 0xb1, 0xd8, 0xe4, 0xff, rng.below(256), rng.below(256)]) {
      const input = Uint8Array.from({ length: 32 }, () => rng.below(256));
      const view = new DataView(memory.buffer);
      bytes[RECORD + L.REC.r2] = 16;
      view.setInt32(RECORD + L.REC.imm, (imm << 24) >> 24, true);
      view.setInt32(CPU + L.COUNT, 0, true);
      expect(result(compile(name, imm), input), `immediate ${imm}`).toEqual(result(general, input));
    }
  });
});
