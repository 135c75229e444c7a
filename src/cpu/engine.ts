/**
 * What all processors of a machine share: the WebAssembly memory with registers, TLBs, decoded code and guest RAM, the function table, the interpreter's
 * instance and the cache of decoded code.
 *
 * Memory: [first page unused][processors][decoded code][map of code pages][guest RAM …].
 */
import { assert } from "../base/assert.ts";
import { alignUp } from "../base/int.ts";
import { MIB, PAGE } from "../base/units.ts";
import type { RamView } from "../ports/ram-view.ts";
import { CodeCache } from "./code-cache.ts";
import { GuestFault } from "./context.ts";
import { DebugStops } from "./debug-stops.ts";
import type { X86Cpu } from "./cpu.ts";
import { buildInterpreter, type InterpreterExports, type InterpreterImports } from "./interp/module.ts";
import { Decoder } from "./isa/decoder.ts";
import { createIsa, type Isa } from "./isa/instruction-set.ts";
import * as L from "./layout.ts";
import type { CpuModel } from "./model.ts";

const FIRST_CPU = PAGE;
const CODE_SPACE = 40 * MIB;
const WASM_PAGE = 65536;

/** Where in the memory the map of pages with decoded code lies. */
export const codePagesOffset = (cpus: number): number => FIRST_CPU + cpus * L.CPU_SIZE + CODE_SPACE;

/** Bytes at the start of the memory that the engine needs for `cpus` processors and `ramBytes` of guest RAM, which comes behind. */
export function engineBytes(cpus: number, ramBytes: number): number {
  return alignUp(codePagesOffset(cpus) + ramBytes / PAGE, WASM_PAGE);
}

let sharedIsa: Isa | null = null;
/** The instruction set is the same for every machine; made once. */
export function isa(): Isa {
  sharedIsa ??= createIsa();
  return sharedIsa;
}

/** A module made ahead of time (see tools/build.mjs), to start faster; must come from the same sources. */
let prebuilt: Uint8Array<ArrayBuffer> | null = null;
export function usePrebuiltInterpreter(bytes: Uint8Array<ArrayBuffer>): void {
  prebuilt = bytes;
}
/** The interpreter's module. Its smallest memory is one page, so that one module fits every machine. */
export function interpreterBytes(): Uint8Array<ArrayBuffer> {
  const { set } = isa();
  const known = set.helperNames.length;
  const bytes = buildInterpreter(isa(), 1);
  // Generated code calls helpers by number: every name must be known before, so that a module made ahead of time means the same.
  assert(set.helperNames.length === known, `engine: helper ${set.helperNames[known]} is used but not declared`);
  return bytes;
}
let compiled: WebAssembly.Module | null = null;

export class Engine {
  readonly buffer: ArrayBuffer;
  readonly memory: WebAssembly.Memory;
  readonly ram: RamView;
  readonly code: CodeCache;
  readonly decoder: Decoder;
  readonly exports: InterpreterExports;
  /** Where a debugger wants processors to stop. To be changed only while none runs. */
  readonly stops = new DebugStops();
  readonly #cpus: X86Cpu[] = [];
  #current: X86Cpu | null = null;

  constructor(memory: WebAssembly.Memory, cpus: number, ram: RamView, model: CpuModel) {
    this.memory = memory;
    this.buffer = memory.buffer;
    this.ram = ram;
    const { maps, handlers } = isa();
    this.decoder = new Decoder(new DataView(this.buffer), maps, handlers, model);
    const start = FIRST_CPU + cpus * L.CPU_SIZE;
    assert(start + CODE_SPACE <= this.buffer.byteLength, "engine: the memory is too small");
    this.code = new CodeCache(this.buffer, start, start + CODE_SPACE, ram, this.decoder, handlers);
    this.code.onCodePage = page => {
      for (const cpu of this.#cpus) cpu.mmu.tlb.purgeWritable(page);
    };
    // Translations stay: only the tables that they lead to are others.
    this.code.onDrop = () => {
      const places = this.#cpus.map(cpu => cpu.mmu.tlb.codePlaces(table => this.code.placeOf(table)));
      return () => {
        for (const [i, cpu] of this.#cpus.entries())
          cpu.mmu.tlb.setCodePlaces(places[i]!, place => this.code.tableOf(place));
      };
    };
    this.#connectStops();
    this.exports = this.#instantiate();
  }

  #connectStops(): void {
    const { stops, code } = this;
    code.stopOffsets = stops.offsets;
    stops.offsetsChanged = () => code.forgetTapped();
    stops.pageChanged = (page, on) => {
      for (const cpu of this.#cpus) cpu.mmu.tlb.changeCodeTable(page, table => code.tapped(table, on));
    };
    stops.watchesChanged = () => {
      for (const cpu of this.#cpus) cpu.mmu.watchesChanged();
    };
  }

  #instantiate(): InterpreterExports {
    compiled ??= new WebAssembly.Module(prebuilt ?? interpreterBytes());
    const table = new WebAssembly.Table({ element: "anyfunc", initial: isa().handlers.handlers.length });
    const imports = this.#imports();
    const instance = new WebAssembly.Instance(compiled, { env: { memory: this.memory, table, ...imports } });
    return instance.exports as unknown as InterpreterExports;
  }

  /** Base of processor `index` in the memory. */
  static base(index: number): number {
    return FIRST_CPU + index * L.CPU_SIZE;
  }

  /** Makes `cpu` known; called by its constructor. */
  attach(cpu: X86Cpu): void {
    this.#cpus.push(cpu);
  }

  /** From now on generated code runs for `cpu`. */
  enterCpu(cpu: X86Cpu): void {
    this.#current = cpu;
  }

  /** Bytes of guest RAM were written by a processor or a bus master. */
  written(ramPage: number, offset: number, length: number): void {
    if (this.code.written(ramPage, offset, length)) this.#current?.ctx.stop();
  }

  #imports(): InterpreterImports {
    return {
      slowLoad: (_cpu, segment, size) => {
        const cpu = this.#current!;
        return cpu.mmu.slowLoad(segment, size) === 0 ? 0 : cpu.noteMmuFault();
      },
      slowStore: (_cpu, segment, size) => {
        const cpu = this.#current!;
        return cpu.mmu.slowStore(segment, size) === 0 ? 0 : cpu.noteMmuFault();
      },
      slowRmw: (_cpu, segment, size) => {
        const cpu = this.#current!;
        return cpu.mmu.slowRmw(segment, size) === 0 ? 0 : cpu.noteMmuFault();
      },
      deviceLoad: (_cpu, page, place) => this.#current!.mmu.deviceLoad(page >>> 0, place & 0xfff, place >>> 16),
      deviceStore: (_cpu, page, place, value) =>
        this.#current!.mmu.deviceStore(page >>> 0, place & 0xfff, place >>> 16, value),
      commitRmw: () => this.#current!.mmu.commitRmw(),
      probe: (_cpu, segment, size) => this.#current!.probeRam(segment, size),
      helper: (_cpu, id, record) => this.#helper(id, record),
      portIn: (_cpu, port, width) => this.#current!.ctx.bus.portRead(port, width),
      portOut: (_cpu, port, width, value) => this.#current!.portOut(port, width, value),
      told: (_cpu, event, value, before) => this.#current!.told(event, value, before),
      sseSlow: (_cpu, operation, immediate) => this.#current!.sseSlow(operation, immediate),
    };
  }

  /** Runs a TypeScript helper: 0 to go on in sequence, else the reason to leave generated code. */
  #helper(id: number, record: number): number {
    const cpu = this.#current!;
    try {
      return cpu.helpers[id]!(record) === 0 ? 0 : L.EXIT.changed;
    } catch (fault) {
      if (!(fault instanceof GuestFault)) throw fault;
      return cpu.noteFault(fault);
    }
  }
}
