/**
 * Descriptor-table registers and selectors: LGDT, LIDT, SGDT, SIDT, SLDT, STR, MOV r/m, Sreg. Intel SDM vol. 2; UMIP in vol. 3A, 2.5.
 */
import { type CpuContext, DONE, EXC, type HelperTable, raise } from "../context.ts";
import * as L from "../layout.ts";
import { type CpuState, MODE } from "../state.ts";
import { CR4 } from "./control-bits.ts";
import type { MemoryPort } from "./helper-ports.ts";
import { hasMemory, isCanonical, operandSize, requireCpl0, writeRegister } from "./operands.ts";

/** #GP(0) outside CPL 0 when CR4.UMIP is set. */
function checkUmip(s: CpuState): void {
  if (s.int(L.CR4) & CR4.umip) requireCpl0(s);
}

function tableHelpers(ctx: CpuContext, memory: MemoryPort): HelperTable {
  const s = ctx.state;
  const data = s.base + L.SLOW_DATA;
  const load = (record: number, base: number, limit: number): number => {
    requireCpl0(s);
    const long = s.int(L.CODE_MODE) === MODE.code64;
    memory.loadOperand(record, long ? 10 : 6);
    let low = s.view.getUint32(data + 2, true);
    const high = long ? s.view.getUint32(data + 6, true) : 0;
    if (long && !isCanonical(high)) raise(EXC.gp, 0);
    // With 16-bit operand size the base has 24 bits.
    if (!long && operandSize(s, record) === 2) low &= 0xffffff;
    s.set64(base, low, high);
    s.setLo(limit, s.view.getUint16(data, true));
    return DONE.next;
  };
  const store = (record: number, base: number, limit: number): number => {
    checkUmip(s);
    const long = s.int(L.CODE_MODE) === MODE.code64;
    const low = s.lo(base);
    const size = s.lo(limit);
    // Up to 8 bytes travel in lo and hi.
    memory.lo = ((low << 16) | (size & 0xffff)) >>> 0;
    memory.hi = low >>> 16;
    if (long) {
      s.view.setUint16(data, size, true);
      s.view.setUint32(data + 2, low, true);
      s.view.setUint32(data + 6, s.hi(base), true);
    }
    memory.storeOperand(record, long ? 10 : 6);
    return DONE.next;
  };
  return {
    lgdt: record => load(record, L.GDTR_BASE, L.GDTR_LIMIT),
    lidt: record => load(record, L.IDTR_BASE, L.IDTR_LIMIT),
    sgdt: record => store(record, L.GDTR_BASE, L.GDTR_LIMIT),
    sidt: record => store(record, L.IDTR_BASE, L.IDTR_LIMIT),
  };
}

function selectorHelpers(ctx: CpuContext, memory: MemoryPort): HelperTable {
  const s = ctx.state;
  /** To a register with the operand size, zero-extended; to memory always 16 bits. */
  const give = (record: number, selector: number): number => {
    if (hasMemory(s, record)) {
      memory.lo = selector & 0xffff;
      memory.hi = 0;
      memory.storeOperand(record, 2);
    } else writeRegister(s, s.u8[record + L.REC.r2]!, operandSize(s, record), selector & 0xffff, 0);
    return DONE.next;
  };
  const system = (record: number, seg: number): number => {
    if (!s.protectedMode || s.vm86) raise(EXC.ud);
    checkUmip(s);
    return give(record, s.selector(seg));
  };
  return {
    sldt: record => system(record, L.SEG.ldtr),
    str: record => system(record, L.SEG.tr),
    mov_from_sreg: record => {
      const seg = s.u8[record + L.REC.aux]! & 7;
      if (seg > L.SEG.gs) raise(EXC.ud);
      return give(record, s.selector(seg));
    },
  };
}

export function descriptorTableHelpers(ctx: CpuContext, memory: MemoryPort): HelperTable {
  return { ...tableHelpers(ctx, memory), ...selectorHelpers(ctx, memory) };
}
