/**
 * Instructions that stop, flush or hint: HLT, PAUSE, MONITOR, MWAIT, INVLPG, INVD, WBINVD, CLFLUSH, CLFLUSHOPT, and those that this processor does not
 * have (#UD). Intel SDM vol. 2.
 *
 * MWAIT is a hint: it ends at once, which the manual allows at any time ("implementation-dependent events"). On a machine
 * without caches flushes and fences only check their operand.
 */
import { EVENT } from "../../ports/events.ts";
import { ACTIVITY } from "../../ports/processor.ts";
import { type CpuContext, DONE, EXC, type Helper, type HelperTable, raise } from "../context.ts";
import * as L from "../layout.ts";
import { MODE } from "../state.ts";
import type { MemoryPort, TlbPort } from "./helper-ports.ts";
import { MISC_ENABLE } from "./msr-index.ts";
import { addressSize, isCanonical, requireCpl0 } from "./operands.ts";

const RAX = L.GPR;
const RCX = L.GPR + L.REG.rcx * 8;

/** Defined encodings of features that the model never has. */
const ABSENT = [
  "rsm",
  "ud0",
  "ud1",
  "ud2",
  "vmcall",
  "vmlaunch",
  "vmresume",
  "vmxoff",
  "vmxon",
  "vmptrld",
  "vmptrst",
  "vmclear",
  "vmread",
  "vmwrite",
  "getsec",
  "invpcid",
  "rdrand",
  "rdseed",
] as const;

function cacheHelpers(ctx: CpuContext, tlb: TlbPort, memory: MemoryPort): HelperTable {
  const s = ctx.state;
  const caches = ctx.bus.caches ?? null;
  const flush = (record: number): number => {
    const address = memory.operandPhysical(record);
    caches?.flush(address);
    return DONE.next;
  };
  return {
    invd: () => {
      requireCpl0(s);
      caches?.invalidateAll();
      return DONE.next;
    },
    wbinvd: () => {
      requireCpl0(s);
      caches?.writeBackAndInvalidateAll();
      return DONE.next;
    },
    /** MFENCE and SFENCE; LFENCE waits for nothing here. */
    fence: () => {
      caches?.fence();
      return DONE.next;
    },
    /** The address is that of the operand's first byte; in 64-bit mode one that is not canonical is ignored. */
    invlpg: record => {
      requireCpl0(s);
      const seg = s.u8[record + L.REC.seg]! >>> 3;
      if (s.int(L.CODE_MODE) !== MODE.code64) tlb.flushPage((s.segBase(seg) + s.lo(L.SLOW_ADDRESS)) >>> 0);
      else if (isCanonical(s.hi(L.SLOW_ADDRESS))) tlb.flushPage(s.num(L.SLOW_ADDRESS));
      // Straight-line code goes on unless its own page went away.
      if (s.int(L.CODE_MODE) === MODE.code64 && tlb.knowsCode(s.num(L.RIP))) return DONE.next;
      ctx.advance(record);
      return DONE.changed;
    },
    clflush: record => {
      if (!ctx.model.has("clflush")) raise(EXC.ud);
      return flush(record);
    },
    clflushopt: record => {
      if (!ctx.model.has("clflushopt")) raise(EXC.ud);
      return flush(record);
    },
    clwb: record => {
      if (!ctx.model.has("clwb")) raise(EXC.ud);
      const address = memory.operandPhysical(record);
      caches?.writeBack(address);
      return DONE.next;
    },
  };
}

function waitHelpers(ctx: CpuContext, memory: MemoryPort): HelperTable {
  const s = ctx.state;
  const checkMonitor = (): void => {
    const enabled = ctx.model.vendor === "AuthenticAMD" || (s.lo(L.MSR.miscEnable) & MISC_ENABLE.monitor) !== 0;
    if (!ctx.model.has("monitor") || !enabled || s.int(L.CPL) !== 0) raise(EXC.ud);
  };
  return {
    hlt: record => {
      requireCpl0(s);
      s.setLo(L.ACTIVITY_OFFSET, ACTIVITY.halted);
      ctx.trace.emit(EVENT.halt, ctx.index, 0, 0, 0, 0);
      ctx.advance(record);
      return DONE.changed;
    },
    pause: () => DONE.next,
    monitor: record => {
      checkMonitor();
      if (s.lo(RCX) !== 0) raise(EXC.gp, 0);
      const seg = s.u8[record + L.REC.seg]! >>> 3;
      const size = addressSize(s, record);
      const low = size === 2 ? s.lo(RAX) & 0xffff : s.lo(RAX);
      s.set64(L.SLOW_ADDRESS, low, size === 8 ? s.hi(RAX) : 0);
      if (s.int(L.CODE_MODE) === MODE.code64 && seg >= L.SEG.fs && seg <= L.SEG.gs) {
        s.setNum(L.SLOW_ADDRESS, s.num(L.SLOW_ADDRESS) + s.segBase(seg));
      }
      memory.loadAt(seg, 1);
      s.set64(L.MONITOR_ADDRESS, s.lo(L.SLOW_ADDRESS), s.hi(L.SLOW_ADDRESS));
      s.setLo(L.MONITOR_ARMED, 1);
      return DONE.next;
    },
    mwait: () => {
      checkMonitor();
      // ECX bit 0: interrupts end the wait even when masked. The other extensions are reserved.
      if (s.lo(RCX) > 1) raise(EXC.gp, 0);
      s.setLo(L.MONITOR_ARMED, 0);
      return DONE.next;
    },
  };
}

export function systemHelpers(ctx: CpuContext, tlb: TlbPort, memory: MemoryPort): HelperTable {
  const absent: { [name: string]: Helper } = {};
  for (const name of ABSENT) absent[name] = () => raise(EXC.ud);
  return { ...cacheHelpers(ctx, tlb, memory), ...waitHelpers(ctx, memory), ...absent };
}
