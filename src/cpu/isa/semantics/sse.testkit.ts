/**
 * For tests only: executes single vector instructions through the decoder and the generated handlers, on a processor's area in a memory of its own.
 * Guest memory is one page at linear address PAGE.
 */
import { sseOp } from "../../fpu/sse.ts";
import { buildInterpreter } from "../../interp/module.ts";
import * as L from "../../layout.ts";
import { CpuModel } from "../../model.ts";
import { CpuState } from "../../state.ts";
import { Decoder, type OpcodeMaps } from "../decoder.ts";
import { InstructionSet } from "../define.ts";
import { HandlerIndex } from "../handlers.ts";
import { emptyMap, type Node, type Row } from "../table/node.ts";
import { twoByteMap } from "../table/two-byte.ts";
import { addVectorRows } from "../table/vector.ts";
import { defineVector } from "./sse.ts";

/** Linear address of the only page of guest memory. */
export const PAGE = 0x5000;
export const CPU = 0x10000;
export const RECORDS = 0x2000;
const RAM = 0x30000;

/** How an instruction ended: normally, with an exception prepared by the floating-point part, or in a helper (its name). */
export type Outcome = "done" | "fault" | string;

/** One encoding of a row: its bytes without operands' choice. */
export type Encoding = {
  readonly row: Row;
  readonly map: 1 | 2 | 3;
  readonly prefix: number;
  readonly opcode: number;
  readonly group: number;
};

function walk(node: Node | null, at: Omit<Encoding, "row">, only: Row["only"], out: Encoding[]): void {
  if (node === null) return;
  if (node.kind === "row") {
    const row = only === undefined || node.only !== undefined ? node : { ...node, only };
    out.push({ ...at, row });
  } else if (node.kind === "group") for (const [group, n] of node.by.entries()) walk(n, { ...at, group }, only, out);
  else if (node.kind === "mod") {
    walk(node.memory, at, "mem", out);
    walk(node.register, at, "reg", out);
  } else if (node.kind === "prefix") {
    walk(node.none, at, only, out);
    walk(node.p66, { ...at, prefix: 0x66 }, only, out);
    walk(node.pf3, { ...at, prefix: 0xf3 }, only, out);
    walk(node.pf2, { ...at, prefix: 0xf2 }, only, out);
  }
}

export function vectorMaps(): OpcodeMaps {
  const maps: OpcodeMaps = [emptyMap(), emptyMap(), emptyMap(), emptyMap()];
  addVectorRows(maps);
  return maps;
}

/** Every encoding that the vector tables add. */
export function encodings(): Encoding[] {
  const out: Encoding[] = [];
  const maps = vectorMaps();
  for (const map of [1, 2, 3] as const)
    for (const [opcode, node] of maps[map].entries()) walk(node, { map, prefix: 0, opcode, group: 0 }, undefined, out);
  return out;
}

/** Code bytes: register operands 0 (reg) and `rm`, or the memory operand [rdi] for `rm` −1. */
export function assemble(e: Encoding, rm: number, wide: boolean, immediate: number): number[] {
  const reg = e.group;
  const map = e.map === 1 ? [0x0f] : e.map === 2 ? [0x0f, 0x38] : [0x0f, 0x3a];
  const modrm = (rm < 0 ? 7 : 0xc0 | rm) | (reg << 3);
  const code = [...(e.prefix ? [e.prefix] : []), ...(wide ? [0x48] : []), ...map, e.opcode, modrm];
  return e.row.imm === "ib" ? [...code, immediate & 255] : code;
}

export class VectorMachine {
  readonly memory = new WebAssembly.Memory({ initial: 4 });
  readonly state = new CpuState(this.memory.buffer, CPU);
  readonly view = new DataView(this.memory.buffer);
  readonly bytes = new Uint8Array(this.memory.buffer);
  readonly set = new InstructionSet();
  /** Number of calls of the floating-point slow path. */
  slowCalls = 0;
  #decoder: Decoder;
  readonly execute: (cpu: number, record: number) => number;
  #stopped: Outcome = "done";

  /** @param features changes of the CPU model, as after `--cpu-feature`. */
  constructor(features: readonly string[] = ["+movbe"]) {
    for (const name of ["undefined", "ud2", "gp0"]) this.set.helper(name);
    this.set.define("ea32", [64], "mem", o => o.next());
    defineVector(this.set);
    const maps: OpcodeMaps = [emptyMap(), twoByteMap(), emptyMap(), emptyMap()];
    addVectorRows(maps);
    const handlers = new HandlerIndex(this.set);
    this.#decoder = new Decoder(this.view, maps, handlers, new CpuModel("GenuineIntel", features));
    const bytes = buildInterpreter({ set: this.set, maps, handlers }, 4);
    const table = new WebAssembly.Table({ element: "anyfunc", initial: handlers.handlers.length });
    const env: Record<string, WebAssembly.ImportValue> = {
      memory: this.memory,
      table,
      slowLoad: (_cpu: number, _segment: number, size: number) => this.#slow(size, true),
      slowStore: (_cpu: number, _segment: number, size: number) => this.#slow(size, false),
      helper: (_cpu: number, id: number) => this.#stop(this.set.helperNames[id]!),
      sseSlow: (cpu: number, operation: number, immediate: number) => {
        this.slowCalls++;
        return sseOp(operation, this.view, cpu + L.SCRATCH, cpu + L.SCRATCH + 16, immediate, cpu + L.MXCSR);
      },
    };
    const module = new WebAssembly.Module(bytes);
    // What the interpreter imports for other instructions is never called here.
    for (const { name, kind } of WebAssembly.Module.imports(module)) if (kind === "function") env[name] ??= () => 1;
    const instance = new WebAssembly.Instance(module, { env });
    this.execute = instance.exports.execute as (cpu: number, record: number) => number;
    this.state.setLo(L.DTLB_BASE, CPU + L.DTLB_OFFSET);
    this.fastMemory(false);
  }

  /** With `on`, the page is in the TLB; else every access takes the slow path. */
  fastMemory(on: boolean): void {
    const s = this.state;
    for (let i = 0; i < L.DTLB_ENTRIES; i++) {
      const at = L.DTLB_OFFSET + i * L.DTLB_ENTRY;
      s.setNum(at + L.DTLB.tagRead, L.NO_TAG);
      s.setNum(at + L.DTLB.tagWrite, L.NO_TAG);
    }
    if (!on) return;
    const vpn = PAGE >>> 12;
    const at = L.DTLB_OFFSET + ((vpn + (vpn >>> 9)) & (L.DTLB_ENTRIES - 1)) * L.DTLB_ENTRY;
    s.setNum(at + L.DTLB.tagRead, PAGE);
    s.setNum(at + L.DTLB.tagWrite, PAGE);
    s.setLo(at + L.DTLB.addend, RAM - PAGE);
  }

  /** Guest memory at an offset in the page. */
  ram(offset: number, length: number): Uint8Array {
    return this.bytes.subarray(RAM + offset, RAM + offset + length);
  }
  area(offset: number, length: number): Uint8Array {
    return this.bytes.subarray(CPU + offset, CPU + offset + length);
  }
  xmm(n: number): Uint8Array {
    return this.area(L.XMM + n * 16, 16);
  }
  /** The ten bytes of a physical x87 register. */
  st(n: number): Uint8Array {
    return this.area(L.X87 + n * 16, 10);
  }

  /** Executes one instruction, in 64-bit code unless told otherwise. */
  run(code: readonly number[], mode = 2): Outcome {
    this.#stopped = "done";
    this.#decoder.bytes.set(code);
    if (this.#decoder.decode(code.length, mode, 0, RECORDS) !== 0) throw new Error("the code is too short");
    this.state.setLo(L.COUNT, this.#decoder.records);
    const exit = this.execute(CPU, RECORDS);
    if (exit === L.EXIT.fault && this.#stopped === "done") return "fault";
    return this.#stopped;
  }
  get length(): number {
    return this.#decoder.length;
  }

  #stop(name: string): number {
    this.#stopped = name === "ud2" ? "undefined" : name;
    return L.EXIT.fault;
  }
  #slow(size: number, load: boolean): number {
    const at = this.state.num(L.SLOW_ADDRESS) - PAGE;
    if (at < 0 || at + size > 4096) return this.#stop("page fault");
    const ram = this.ram(at, size);
    const data = this.area(L.SLOW_DATA, size);
    if (load) data.set(ram);
    else ram.set(data);
    return 0;
  }
}
