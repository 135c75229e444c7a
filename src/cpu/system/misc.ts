/**
 * The remaining rare instructions, from the misc-* files, and the software interrupts: INT n, INT3, INTO, INT1. Intel SDM vol. 2; how they are delivered
 * is the delivery's affair.
 */
import { type CpuContext, DONE, EXC, type HelperTable } from "../context.ts";
import * as L from "../layout.ts";
import { FLAG } from "../state.ts";
import { type DeliveryPort, type MemoryPort, SOFTWARE_INT, type TlbPort } from "./helper-ports.ts";
import { flagHelpers } from "./misc-flags.ts";
import { integerHelpers } from "./misc-integer.ts";
import { systemHelpers } from "./misc-system.ts";
import { descriptorTableHelpers } from "./misc-tables.ts";

function interruptHelpers(ctx: CpuContext, delivery: DeliveryPort): HelperTable {
  const s = ctx.state;
  const deliver = (record: number, vector: number, kind: number): number => {
    delivery.softwareInterrupt(vector, kind, ctx.nextRip(record));
    return DONE.changed;
  };
  return {
    int_n: record => deliver(record, s.u8[record + L.REC.imm]!, SOFTWARE_INT.intN),
    int3: record => deliver(record, EXC.bp, SOFTWARE_INT.int3),
    int1: record => deliver(record, EXC.db, SOFTWARE_INT.int1),
    into: record => (s.eflags & FLAG.of ? deliver(record, EXC.of, SOFTWARE_INT.into) : DONE.next),
  };
}

export function miscHelpers(ctx: CpuContext, tlb: TlbPort, memory: MemoryPort, delivery: DeliveryPort): HelperTable {
  return {
    ...flagHelpers(ctx, tlb, memory),
    ...descriptorTableHelpers(ctx, memory),
    ...systemHelpers(ctx, tlb, memory),
    ...integerHelpers(ctx, tlb, memory),
    ...interruptHelpers(ctx, delivery),
  };
}
