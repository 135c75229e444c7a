/**
 * Wires the units of one processor together and gathers the TypeScript helpers that generated code calls by number.
 */
import { PAGE } from "../base/units.ts";
import { type CpuContext, EXC, type Helper, type HelperTable, raise } from "./context.ts";
import { divideHelpers } from "./divide.ts";
import { Events } from "./events.ts";
import { raiseFpTrap } from "./fp-trap.ts";
import { X87 } from "./fpu/x87.ts";
import * as L from "./layout.ts";
import { MODE } from "./state.ts";
import { ControlRegisters, controlRegisterHelpers } from "./system/control-registers.ts";
import { Cpuid, cpuidHelpers } from "./system/cpuid.ts";
import { DebugRegisters, debugRegisterHelpers } from "./system/debug-registers.ts";
import { Delivery } from "./system/delivery.ts";
import { Exceptions } from "./system/exceptions.ts";
import { farHelpers } from "./system/far-transfer.ts";
import { ioHelpers, PortIo } from "./system/io.ts";
import { fxStateHelpers } from "./system/fx-state.ts";
import { iretHelpers } from "./system/iret.ts";
import { segmentationHelpers } from "./system/load-segment.ts";
import { miscHelpers } from "./system/misc.ts";
import { Mmu } from "./system/mmu.ts";
import { Msrs, msrHelpers } from "./system/msr.ts";
import { Tsc, tscHelpers } from "./system/msr-tsc.ts";
import { Segmentation } from "./system/segmentation.ts";
import { syscallHelpers } from "./system/syscall.ts";
import { TaskSwitch } from "./system/task-switch.ts";
import { x87Helpers } from "./system/x87-glue.ts";

export type CpuUnits = {
  readonly mmu: Mmu;
  readonly seg: Segmentation;
  readonly tasks: TaskSwitch;
  readonly delivery: Delivery;
  readonly exceptions: Exceptions;
  readonly events: Events;
  readonly debug: DebugRegisters;
  readonly tsc: Tsc;
  readonly msrs: Msrs;
  readonly control: ControlRegisters;
  readonly cpuid: Cpuid;
  readonly io: PortIo;
  readonly x87: X87;
  readonly ferr: (level: boolean) => void;
  /** After the registers were reset at power-on. */
  reset(): void;
};

type UnitOptions = { readonly cpus: number; readonly bsp: boolean; readonly ferr?: (level: boolean) => void };

export function createUnits(
  ctx: CpuContext,
  options: UnitOptions,
  onCodeWrite: (page: number, offset: number, length: number) => void,
): CpuUnits {
  const mmu = new Mmu(ctx, onCodeWrite);
  const seg = new Segmentation(ctx, mmu);
  const tasks = new TaskSwitch(ctx, mmu, seg);
  const delivery = new Delivery(ctx, mmu, seg, tasks);
  const exceptions = new Exceptions(ctx, delivery);
  const events = new Events(ctx, mmu, seg, delivery, exceptions, options.bsp);
  const debug = new DebugRegisters(ctx.state);
  const tsc = new Tsc(ctx);
  const msrs = new Msrs(ctx, mmu.tlb, tsc);
  const control = new ControlRegisters(ctx, mmu.tlb, seg, mmu);
  const cpuid = new Cpuid(ctx, options.cpus, ctx.index);
  const io = new PortIo(ctx, mmu.tlb, mmu, debug);
  const x87 = new X87(ctx.state.view, ctx.state.base + L.X87);
  const { ferr = () => {} } = options;
  const reset = (): void => {
    msrs.reset();
    // Power-up values (SDM vol. 3A, table 9-1): control word 0040H, everything else 0 by the reset of the registers.
    x87.state.fcw = 0x40;
  };
  return { mmu, seg, tasks, delivery, exceptions, events, debug, tsc, msrs, control, cpuid, io, x87, ferr, reset };
}

/** Bytes that an encoding's name needs behind a prefix for vectors: the rest of the prefix, opcode and ModRM. */
const BEHIND_VECTOR_PREFIX: { readonly [byte: number]: number } = { 196: 4, 197: 3, 98: 5 };
/** A guest that meets more different ones than this has a larger problem. */
const MAX_NOTES = 1000;

/**
 * Notes an encoding that the decoder does not know: code width and the bytes it had read (for VEX and EVEX up to ModRM), as "64:0f38f6c1". Whether the manual leaves it undefined or it is
 * an instruction that is not built, whoever prints the report finds out with a disassembler.
 */
function unknownEncoding(ctx: CpuContext, mmu: Mmu, record: number): never {
  const s = ctx.state;
  const read = s.u8[record + L.REC.length]!;
  const linear = s.codeMode === MODE.code64 ? s.num(L.RIP) : (s.num(L.RIP) + s.segBase(L.SEG.cs)) >>> 0;
  // What was not fetched yet is looked at only where that cannot fault.
  const here = (linear + read - 1) % PAGE;
  const room = PAGE - 1 - (here < 0 ? here + PAGE : here);
  let behind = 0;
  let bytes = "";
  for (let i = 0; i < read + Math.min(behind, room); i++) {
    const byte = mmu.read8(linear + i);
    if (i >= read - 2 && i < read) behind = Math.max(behind - 1, BEHIND_VECTOR_PREFIX[byte] ?? 0);
    bytes += byte.toString(16).padStart(2, "0");
  }
  notBuilt(ctx, `${16 << s.codeMode}:${bytes}`);
}

function notBuilt(ctx: CpuContext, name: string): never {
  const count = ctx.notBuilt.get(name) ?? 0;
  if (count > 0 || ctx.notBuilt.size < MAX_NOTES) ctx.notBuilt.set(name, count + 1);
  raise(EXC.ud);
}

function ownHelpers(ctx: CpuContext, mmu: Mmu): HelperTable {
  return {
    gp0: () => raise(EXC.gp, 0),
    undefined: record => unknownEncoding(ctx, mmu, record),
    sse_trap: () => raiseFpTrap(ctx.state, true),
    mmx_trap: () => raiseFpTrap(ctx.state, false),
    ...divideHelpers(ctx),
  };
}

/** The helpers in the order of `names`. A name without a helper is an instruction that is not built: #UD, and a note in the report. */
export function cpuHelpers(ctx: CpuContext, u: CpuUnits, names: readonly string[]): Helper[] {
  const table: HelperTable = {
    ...ownHelpers(ctx, u.mmu),
    ...segmentationHelpers(ctx, u.mmu, u.seg),
    ...controlRegisterHelpers(ctx, u.control, u.mmu),
    ...debugRegisterHelpers(ctx, () => u.mmu.debugChanged()),
    ...msrHelpers(ctx, u.msrs),
    ...tscHelpers(ctx, u.tsc),
    ...cpuidHelpers(ctx, u.cpuid),
    ...syscallHelpers(ctx, u.mmu.tlb, u.seg),
    ...ioHelpers(ctx, u.io),
    ...miscHelpers(ctx, u.mmu.tlb, u.mmu, u.delivery),
    ...fxStateHelpers(ctx, u.mmu, u.x87),
    ...x87Helpers(ctx, u.mmu, u.x87, u.ferr),
    ...iretHelpers(ctx, u.mmu, u.seg, u.tasks),
    ...farHelpers(ctx, u.mmu, u.seg, u.tasks),
  };
  return names.map(name => table[name] ?? (() => notBuilt(ctx, name)));
}
